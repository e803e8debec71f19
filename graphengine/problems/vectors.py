"""Parameters as one vector, and a graph in which everything else is fixed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from graphengine.errors import GraphError, ShapeError, ValuesError, nearest
from graphengine.flat.recording import leading_to, nodes_of
from graphengine.graph import Graph, Node
from graphengine.ops.base import Array, Shape, as_value

if TYPE_CHECKING:
    from graphengine.flat import Compiled

__all__ = ["FlatProblem", "Names", "Values"]

Names: TypeAlias = "str | Node | Iterable[str | Node]"
Values: TypeAlias = Mapping[str, ArrayLike]


class FlatProblem:
    """A graph whose parameters ``wrt`` are one vector, and whose other start nodes are fixed."""

    def __init__(
        self,
        graph: Graph,
        wrt: Names,
        of: str | Node | None,
        values: Values | None,
        time: str | Node | None = None,
    ) -> None:
        top = graph.result_node if of is None else graph[of]
        sources = [_start(node, "wrt") for node in nodes_of(graph, wrt, "wrt")]
        if not sources:
            raise GraphError("wrt", expected="the names of one or more start nodes", got="none")
        clock = [] if time is None else [_clock(_start(graph[time], "time"), sources)]
        given = _given(graph, values or {})
        self.graph = _settled(graph, top, [*sources, *clock], given)
        """A graph with the result ``of``, in which all that is fixed is constant."""
        self.of = top.name
        self._shapes = {node.name: node.shape for node in sources}
        stops = list(itertools.accumulate(node.size for node in sources))
        self._parts = dict(zip(self._shapes, map(slice, [0, *stops], stops), strict=True))
        self.size = stops[-1]
        """How many numbers the vector has."""
        known = {node.name: node.value for node in sources if node.value is not None}
        self._given = known | {name: given[name] for name in self._shapes if name in given}

    @property
    def wrt(self) -> tuple[str, ...]:
        """The parameters, in their order in the vector."""
        return tuple(self._shapes)

    @property
    def x0(self) -> Array:
        """The vector of the values that were given; :class:`ValuesError` where some were not."""
        return self.pack(self._given)

    def pack(self, values: Values) -> Array:
        """The vector of the parameters' values, each raveled in C order, one after another.

        Raises :class:`ValuesError` for missing, unknown and misshapen values.
        """
        for name in values:
            if name not in self._shapes:
                raise ValuesError(
                    f"value of {name!r}",
                    expected=f"values of {', '.join(self.wrt)}",
                    got="one that is not in the vector",
                    hint=nearest(str(name), self.wrt),
                )
        missing = [name for name in self.wrt if name not in values]
        if missing:
            raise ValuesError(
                "the vector",
                expected=f"values of {', '.join(self.wrt)}",
                got=f"none for {', '.join(missing)}",
            )
        parts = [_shaped(name, values[name], shape) for name, shape in self._shapes.items()]
        return np.concatenate([part.reshape(-1) for part in parts])

    def unpack(self, x: ArrayLike) -> dict[str, Array]:
        """The parameters' values by name, in their shapes: copies of parts of ``x``."""
        array = self.checked(x)
        return {name: self._part(array, name).copy() for name in self._shapes}

    def checked(self, x: ArrayLike) -> Array:
        """``x`` as a vector of real numbers; :class:`ShapeError` where its size is wrong."""
        array = as_value(x, "x")
        if array.shape != (self.size,):
            sizes = ", ".join(f"{name}: {math.prod(n)}" for name, n in self._shapes.items())
            raise ShapeError(
                "x",
                expected=f"a vector of {self.size} numbers ({sizes})",
                got=f"shape {array.shape}",
                hint="pack(values) makes one",
            )
        return array

    def arguments(self, function: Compiled, x: Array, t: float | None) -> list[Any]:
        """What a compiled function takes, in its order: parts of ``x``, and the time."""
        return [self._argument(x, name, t) for name in function.inputs]

    def _argument(self, x: Array, name: str, t: float | None) -> Any:
        if name not in self._parts:
            return _now(name, t)
        part = self._part(x, name)
        return part if part.shape else part.item()  # numbers as Python's own, which are faster

    def _part(self, x: Array, name: str) -> Array:
        return x[self._parts[name]].reshape(self._shapes[name])


def _now(name: str, t: float | None) -> float:
    if t is None:
        raise ValuesError(
            f"value of {name!r}",
            expected="the time",
            got="none",
            hint="fun_ivp(t, y) and jac_ivp(t, y) take it",
        )
    return float(t)


# --- which nodes, which values ------------------------------------------------------------


def _start(node: Node, what: str) -> Node:
    if node.role == "op":
        raise GraphError(
            f"{what} {node.name!r}",
            expected="a start node: an input, a parameter or a constant",
            got="a computed node",
        )
    return node


def _clock(node: Node, sources: Sequence[Node]) -> Node:
    """``node`` as the time."""
    if node in sources or node.shape:
        raise GraphError(
            f"time {node.name!r}",
            expected="a number that is not in wrt",
            got="one of wrt" if node in sources else f"shape {node.shape}",
        )
    return node


def _given(graph: Graph, values: Values) -> dict[str, Array]:
    names = {node.name: node for node in graph.starts}
    for name in values:
        if name not in names:
            raise ValuesError(
                f"value of {name!r}",
                expected="the name of a start node",
                got="a computed node" if name in graph else "no such node",
                hint=nearest(str(name), names),
            )
    return {name: _shaped(name, value, names[name].shape) for name, value in values.items()}


def _shaped(name: str, value: ArrayLike, shape: Shape) -> Array:
    array = as_value(value, f"value of {name!r}")
    if array.shape != shape:
        raise ValuesError(
            f"value of {name!r}", expected=f"shape {shape}", got=f"shape {array.shape}"
        )
    return array


def _settled(graph: Graph, top: Node, free: Sequence[Node], given: Mapping[str, Array]) -> Graph:
    """The graph with the result ``top``, and constants for all start nodes but ``free``: what
    follows from them alone is computed once, and tables of positions may be among them.
    """
    fixed = [node for node in graph.starts if node not in free]
    needed = leading_to([top])
    missing = [
        node.name
        for node in fixed
        if node in needed and node.value is None and node.name not in given
    ]
    if missing:
        raise ValuesError(
            f"graph {graph.name!r}",
            expected="values for all start nodes that are not in wrt",
            got=f"none for {', '.join(missing)}",
            hint="pass them as values={…}",
        )
    dag: nx.DiGraph[str] = nx.DiGraph(graph.dag)
    for node in free:
        dag.nodes[node.name]["role"] = "parameter"
        dag.nodes[node.name].pop("value", None)
    for node in fixed:
        if node.name in given:
            dag.nodes[node.name].update(role="constant", value=given[node.name])
    dag.graph["result"] = top.name
    return Graph.from_dag(dag)
