"""Known functions that a graph takes in several steps: a softmax written out, a sigmoid as
``1 / (1 + exp(-z))``, a cross-entropy of a softmax.

People derive them in one go, and make the mistakes of the known function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from graphengine.check.mistakes.base import COMPOSITE, Catalogued, Link, Mutant, place_name
from graphengine.errors import GraphEngineError
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.ops import OPS
from graphengine.ops.base import Array, Op
from graphengine.run import Run

__all__ = ["Recognised", "recognised"]

_OF_ENTRIES = ("sigmoid", "tanh", "softplus", "swish", "softmax")
_OF_ROWS = ("logsumexp", "norm", "sum_of_squares")
_OF_MATRICES = ("logdet", "inv", "det")
_WITH_LABELS = (
    "softmax_cross_entropy",
    "sigmoid_cross_entropy",
    "cross_entropy",
    "binary_cross_entropy",
    "squared_error",
)
MOST_PLACES = 6


class Recognised(Link):
    """The way from one node to another, taken together as an op of the library.

    ``places`` are the steps on that way, each a place where the mistake may have been made.
    """

    def __init__(
        self, run: Run, child: Node, op: Op, given: Sequence[Node], places: Sequence[str]
    ) -> None:
        self._op, self._given, self.places = op, given, places
        super().__init__(run, child, given[0], self._of_the_op, 0)

    def _of_the_op(self) -> Jacobian:
        return self._op.jacobian(0, self.out, self.args)

    def takes(self, generator: Catalogued) -> bool:
        """Only what is made where steps are taken together."""
        return generator in COMPOSITE

    def mutants(self, generator: Catalogued) -> list[Mutant]:
        """What a generator makes, at each of the places."""
        made = super().mutants(generator)
        others = [place for place in self.places if place != self.where]
        return made + [
            replace(mutant, key=(*mutant.key, place), where=place)
            for place in others
            for mutant in made
        ]

    @property
    def key(self) -> tuple[object, ...]:
        """The link's key, with the op's name."""
        return self.child.number, self.parent.number, self._op.name

    @property
    def op(self) -> Op:
        """The function that the steps are together."""
        return self._op

    @property
    def given(self) -> Sequence[Node]:
        """Its arguments."""
        return self._given

    @property
    def called(self) -> Mapping[str, str]:
        """What its arguments are called."""
        names = dict(zip(self._op.arguments, (node.name for node in self._given), strict=False))
        return {**names, "out": self.child.name}


class _Candidate(NamedTuple):
    op: Op
    given: tuple[Node, ...]
    value: Array


def recognised(
    run: Run, child: Node, path: Callable[[Node, Node], Sequence[Node]]
) -> Iterator[Recognised]:
    """The known functions that ``child`` is of a named node before it, by their values.

    ``path`` gives the nodes between two.
    """
    if child.op is None:
        return
    out = run.value(child)
    size = float(np.max(np.abs(out), initial=0.0))
    for parent in child.graph.named.values():
        if parent.number >= child.number:
            break
        for candidate in _candidates(run, child, parent):
            value = candidate.value
            fits = value.shape == out.shape and candidate.op.name != child.op.name
            if fits and np.allclose(value, out, rtol=1e-9, atol=1e-13 * size):
                between = path(child, parent)
                if between:
                    places = _places(parent, between)
                    yield Recognised(run, child, candidate.op, candidate.given, places)


def _candidates(run: Run, child: Node, parent: Node) -> Iterator[_Candidate]:
    x, shape = run.value(parent), child.shape
    names: list[str] = []
    if shape == parent.shape:
        names += [name for name in _OF_ENTRIES if x.ndim or name != "softmax"]
    if x.ndim and shape in ((), x.shape[:-1]):
        names += _OF_ROWS
    if x.ndim == 2 and x.shape[0] == x.shape[1] and shape in ((), x.shape):
        names += _OF_MATRICES
    for name in names:
        for op in _axes(name, shape, x):
            yield from _of(run, op, (parent,), (x,))
    if shape in ((), x.shape[:-1], x.shape):
        labels = [
            node
            for node in child.graph.starts
            if node.shape == parent.shape and node.role == "input" and node is not parent
        ]
        for name in _WITH_LABELS:
            for node in labels:
                yield from _of(run, OPS[name](), (parent, node), (x, run.value(node)))


def _axes(name: str, shape: tuple[int, ...], x: Array) -> Iterator[Op]:
    """The op for this shape of its value: along the last axis, or over all entries."""
    kind = OPS[name]
    if name in _OF_ROWS and x.ndim > 1 and shape:
        yield kind(axis=-1)  # type: ignore[call-arg]  # reductions have an axis
    else:
        yield kind()


def _of(
    run: Run, op: Op, given: tuple[Node, ...], values: tuple[Array, ...]
) -> Iterator[_Candidate]:
    try:
        with np.errstate(all="ignore"):
            value = op.value(*values)
    except (GraphEngineError, ValueError, np.linalg.LinAlgError):
        return
    if np.isfinite(value).all():
        yield _Candidate(op, given, value)


def _places(parent: Node, between: Sequence[Node]) -> list[str]:
    """The steps between two nodes, the last first."""
    reached = {parent, *between}
    found: list[str] = []
    for node in reversed(between):
        for arg in node.parents:
            if arg in reached:
                found.append(place_name(node, arg))
    return list(dict.fromkeys(found))[:MOST_PLACES]
