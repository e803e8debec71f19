"""A graph's forward and backward pass, written on a tape by the ops' own rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphengine.errors import GraphError, ShapeError
from graphengine.graph import Graph, Node
from graphengine.jacobian import DEFAULT_LIMIT, Jacobian
from graphengine.ops.base import Array, Op
from graphengine.run import Run
from graphengine.tracing import Tape, Traced, as_array, traced

__all__ = ["Part", "Recorded", "TracedRun", "gradients", "leading_to", "reached_from"]


class Part(NamedTuple):
    """What a section of the tape computes: a node's value, or its share in a parent's gradient."""

    node: Node
    parent: Node | None = None
    place: int = -1
    run: TracedRun | None = None

    def notation(self) -> str:
        """The Jacobian as on the board; found when the text is written: most programs are only
        run.
        """
        return "" if self.run is None else _notation(self.run, self.node, self.place)


@dataclass(frozen=True)
class Recorded:
    """A program: its inputs by name, what it returns, and what the nodes' values are called."""

    tape: Tape
    inputs: Mapping[str, Traced]
    results: Sequence[Any]
    names: Mapping[int, str]
    """Numbers on the tape with a name of their own: nodes' values and gradients."""


class TracedRun(Run):
    """A :class:`Run` on arrays without numbers: what it computes is written on a tape.

    The values of constants are known; those of the other start nodes are the program's inputs.
    """

    def __init__(self, graph: Graph, needed: Collection[Node]) -> None:
        self.graph, self.limit = graph, DEFAULT_LIMIT
        self.tape = Tape()
        self.inputs: dict[str, Traced] = {}
        self._values: list[Any] = []
        self._gradients: dict[Node, dict[Node, Array]] = {}
        for node in graph.nodes:
            self._values.append(self._value(node) if node in needed else None)

    def _value(self, node: Node) -> Any:
        if node.op is None:
            if node.value is not None:
                return node.value
            self.inputs[node.name] = self.tape.input(node.name, node.shape)
            return self.inputs[node.name]
        args = self._arguments(node)
        if not traced(*args):
            return node.op.value(*args)
        self.tape.section(Part(node))
        with np.errstate(all="ignore"):
            try:
                return as_array(node.op.forward(*args), np.float64)
            except Exception:  # noqa: BLE001 (an op's own code may do anything with its arguments)
                return self.tape.record(_Forward(node.op), args, {}, node.shape)

    def _pulled(self, node: Node, place: int, args: Sequence[Any], row: Any) -> Any:
        """The part of an argument's gradient that comes by way of ``node``."""
        op = node.op
        if not node.shape and not node.args[place].shape and op is not None:
            self._begin(node, place)
            if type(row) is np.ndarray:
                row = row.item()
            try:
                found = op.pull_number(place, self._values[node.number], args, row)
            except Exception:  # noqa: BLE001 (as above; the way by Jacobians says what is wrong)
                found = None
            if found is not None:
                return found
        return self._pulled_by_jacobian(node, place, row)

    def _seed(self, top: Node) -> Any:
        """The gradient of ``top`` with respect to itself."""
        return np.ones(top.shape) if top.shape else 1.0

    def _begin(self, node: Node, place: int) -> None:
        """What is recorded from now on is the share of ``node`` in its parent's gradient."""
        last = self.tape.sections[-1]
        if last is None or last.node is not node or last.place != place:
            parent = node.args[place]
            assert isinstance(parent, Node)
            self.tape.section(Part(node, parent, place, self))

    def depends(self, node: Node, source: Node) -> bool:
        """Whether ``node`` is computed from ``source``."""
        return node is not source and node in reached_from([source])

    def rule(self, node: Node, place: int) -> Jacobian:
        """The Jacobian of ``node`` with respect to its argument at ``place``."""
        self._begin(node, place)
        try:
            return super().rule(node, place)
        except Exception:  # noqa: BLE001 (as above; what is wrong shows when it is run)
            assert node.op is not None
            out, args = self._values[node.number], self._arguments(node)
            return _Opaque(node.op, place, out, args)  # type: ignore[return-value]  # pulls alike


def _notation(run: TracedRun, node: Node, place: int) -> str:
    try:
        return Run.rule(run, node, place).text(node.called)
    except Exception:  # noqa: BLE001 (an op that cannot be traced has no notation before it is run)
        return "…"


# --- ops that cannot be traced ------------------------------------------------------------


@dataclass(frozen=True)
class _Forward:
    """The call of an op's forward function."""

    op: Op

    def __call__(self, *args: Array) -> Array:
        return np.array(self.op.value(*map(np.asarray, args)))


@dataclass(frozen=True)
class _Pull:
    """The pull-back of a row through the Jacobian that an op gives at run time."""

    op: Op
    place: int

    def __call__(self, row: Array, out: Array, *args: Array) -> Array:
        arrays = [np.asarray(arg) for arg in args]
        return self.op.jacobian(self.place, np.asarray(out), arrays).pull(np.asarray(row))


@dataclass(frozen=True)
class _Opaque:
    """Stands for the Jacobian of an op whose rule cannot be traced."""

    op: Op
    place: int
    out: Any
    args: Sequence[Any]

    def pull(self, row: Any, limit: int = DEFAULT_LIMIT) -> Any:
        """The pull-back, as one call."""
        del limit
        given = (row, self.out, *self.args)
        tape = next(arg.tape for arg in given if isinstance(arg, Traced))
        return tape.record(_Pull(self.op, self.place), given, {}, np.shape(self.args[self.place]))


# --- which nodes --------------------------------------------------------------------------


def leading_to(tops: Iterable[Node]) -> set[Node]:
    """The nodes that these depend on, and they themselves."""
    found = set(tops)
    for node in reversed(next(iter(found)).graph.nodes if found else []):
        if node in found:
            found.update(node.parents)
    return found


def reached_from(sources: Iterable[Node]) -> set[Node]:
    """The nodes that depend on these, and they themselves."""
    found = set(sources)
    for node in next(iter(found)).graph.nodes if found else []:
        if any(isinstance(arg, Node) and arg in found for arg in node.args):
            found.add(node)
    return found


def gradients(graph: Graph, outputs: Sequence[Node], of: Node, wrt: Sequence[Node]) -> Recorded:
    """The program that computes ``outputs`` and the gradients of ``of`` with respect to ``wrt``."""
    if wrt and of.size != 1:
        raise ShapeError(
            f"gradient of {of.name!r}",
            expected="a node with one entry",
            got=f"shape {of.shape}",
            hint=f"compile_jacobian({of.name!r}, …) gives its Jacobian",
        )
    run = TracedRun(graph, leading_to([*outputs, *([of] if wrt else [])]))
    results: list[Any] = [run._values[node.number] for node in outputs]
    found = run._back_pass(of, reached_from(wrt)) if wrt else {}
    results += [as_array(found.get(node, np.zeros(node.shape))) for node in wrt]
    names = {}
    for prefix, known_as in (
        ("grad_", found),
        ("", dict(zip(graph.nodes, run._values, strict=True))),
    ):
        for node, value in known_as.items():
            if isinstance(value, Traced) and node.named:
                names[value.number] = prefix + node.name
    return Recorded(run.tape, run.inputs, results, names)


def nodes_of(graph: Graph, names: str | Node | Iterable[str | Node], what: str) -> list[Node]:
    """The nodes of these names; :class:`GraphError` where there is none."""
    given = [names] if isinstance(names, (str, Node)) else list(names)
    found = [graph[name] for name in given]
    if len(set(found)) < len(found):
        raise GraphError(what, expected="each node once", got=", ".join(n.name for n in found))
    return found
