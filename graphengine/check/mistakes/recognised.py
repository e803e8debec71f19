"""Known functions that a graph takes in several steps: a softmax written out, a sigmoid as
``1 / (1 + exp(-z))``, a cross-entropy of a softmax.

People derive them in one go, and make the mistakes of the known function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from graphengine.check.mistakes.base import COMPOSITE, Catalogued, Link, Mutant, place_name
from graphengine.errors import GraphEngineError
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.ops import OPS
from graphengine.ops.base import Array, Op, Shape
from graphengine.run import Run

__all__ = ["Known", "Recognised", "recognised"]

_OF_ENTRIES = ("sigmoid", "tanh", "softplus", "swish", "softmax", "log_softmax")
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
CLOSE = 1e-11
"""Values that differ by this part of the largest are those of one function."""


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


class Known:
    """The values of the known functions of each named node, computed once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._found: dict[tuple[Node, Shape], list[_Candidate]] = {}

    def of(self, parent: Node, shape: Shape) -> Sequence[_Candidate]:
        """The functions of a node whose value has this shape."""
        if (parent, shape) not in self._found:
            self._found[parent, shape] = list(self._made(parent, shape))
        return self._found[parent, shape]

    def _made(self, parent: Node, shape: Shape) -> Iterator[_Candidate]:
        x = self.run.value(parent)
        names: list[str] = []
        if shape == parent.shape:
            names += [name for name in _OF_ENTRIES if x.ndim or "softmax" not in name]
        if x.ndim and shape in ((), x.shape[:-1]):
            names += _OF_ROWS
        if x.ndim == 2 and x.shape[0] == x.shape[1] and shape in ((), x.shape):
            names += _OF_MATRICES
        for name in names:
            along = name in _OF_ROWS and x.ndim > 1 and shape != ()
            kind: Any = OPS[name]
            yield from _with_value(kind(axis=-1) if along else kind(), shape, (parent,), (x,))
        if shape in ((), x.shape[:-1], x.shape):
            for node in self.run.graph.starts:
                if node.shape == parent.shape and node.role == "input" and node is not parent:
                    values = x, self.run.value(node)
                    for name in _WITH_LABELS:
                        yield from _with_value(OPS[name](), shape, (parent, node), values)


def recognised(
    known: Known, child: Node, path: Callable[[Node, Node], Sequence[Node]]
) -> Iterator[Recognised]:
    """The known functions that ``child`` is of a named node before it, by their values.

    ``path`` gives the nodes between two.
    """
    if child.op is None or child.size == 0:
        return
    out = known.run.value(child)
    size = CLOSE * float(np.max(np.abs(out)))
    for parent in child.graph.named.values():
        if parent.number >= child.number:
            continue
        for op, given, value in known.of(parent, child.shape):
            if abs(value.flat[0] - out.flat[0]) > size or op.name == child.op.name:
                continue
            if np.max(np.abs(value - out)) <= size:
                between = path(child, parent)
                if between:
                    places = _places(parent, between)
                    yield Recognised(known.run, child, op, given, places)


def _with_value(
    op: Op, shape: Shape, given: tuple[Node, ...], values: tuple[Array, ...]
) -> Iterator[_Candidate]:
    try:
        if op.shape_of(*(x.shape for x in values)) != shape:
            return
        value = op.value(*values)
    except (GraphEngineError, ValueError, np.linalg.LinAlgError):
        return
    if np.isfinite(value).all():
        yield _Candidate(op, given, value)


def _places(parent: Node, between: Sequence[Node]) -> list[str]:
    """The steps between two nodes, the last first."""
    reached = {parent, *between}
    found = [
        place_name(node, arg)
        for node in reversed(between)
        for arg in node.parents
        if arg in reached
    ]
    return list(dict.fromkeys(found))[:MOST_PLACES]
