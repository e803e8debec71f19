"""Values, gradients and Jacobians of a graph at one point."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from graphengine.elimination import between, eliminated, good_order
from graphengine.errors import (
    GraphEngineError,
    GraphError,
    OpError,
    ShapeError,
    ValuesError,
    nearest,
)
from graphengine.jacobian import DEFAULT_LIMIT, Jacobian, Layout
from graphengine.node import Node
from graphengine.ops.base import FLOAT, Array, Op, as_value
from graphengine.tracing import as_array

if TYPE_CHECKING:
    from graphengine.graph import Graph

__all__ = ["Run", "evaluate"]


class Run:
    """The graph at one point: every node's value, and derivatives between any two nodes.

    Arrays that a run returns are read-only; the values given are copied.

    >>> import graphengine as ge
    >>> g = ge.Graph()
    >>> x = g.input("x", (2,))
    >>> J = g.result("J", ge.sum(x**2))
    >>> run = g.run({"x": [1.0, 2.0]})
    >>> float(run.value("J")), run.gradient("x")
    (5.0, array([2., 4.]))
    """

    _by_numbers = True
    """Whether the gradients of numbers are numbers, for which no Jacobian is made."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._by_numbers = cls.rule is Run.rule  # another rule makes other Jacobians

    def __init__(
        self, graph: Graph, values: Mapping[str, ArrayLike], *, limit: int | None = None
    ) -> None:
        self.graph = graph
        self.limit = DEFAULT_LIMIT if limit is None else limit
        self._values = evaluate(graph, values)
        self._gradients: dict[Node, dict[Node, Any]] = {}

    def value(self, node: str | Node) -> Array:
        """The value of a node."""
        return self._values[self._node(node).number]

    def gradient(self, wrt: str | Node, of: str | Node | None = None) -> Array:
        """``∂of/∂wrt`` in the shape of ``wrt``; ``of`` (the result by default) has one entry.

        Zeros for a node that does not influence ``of``.  No Jacobian is ever formed.
        """
        top = self._node(self.graph.result_node if of is None else of)
        if top.shape and top.size != 1:
            raise ShapeError(
                f"gradient of {top.name!r}",
                expected="a node with one entry",
                got=f"shape {top.shape}",
                hint=f"ask for run.jacobian({top.name!r}, …)",
            )
        node = self._node(wrt)
        if top not in self._gradients:
            self._gradients[top] = self._back_pass(top)
        found = self._gradients[top].get(node)
        if type(found) is np.ndarray:
            return found
        found = _locked(np.zeros(node.shape) if found is None else np.array(found))
        self._gradients[top][node] = found
        return found

    def local(self, child: str | Node, parent: str | Node) -> Jacobian:
        """The Jacobian of the edge: of a node with respect to one of its parents."""
        node, source = self._node(child), self._node(parent)
        places = [place for place, arg in enumerate(node.args) if arg is source]
        if not places or node.op is None:
            raise GraphError(
                f"edge {node.name} <- {source.name}",
                expected=f"a parent of {node.name!r} "
                f"({', '.join(p.name for p in node.parents) or 'it has none'})",
                got=repr(source.name),
                hint="run.jacobian goes between any two nodes",
            )
        return self._edge(node, places).named(node.called)

    def rule(self, node: Node, place: int) -> Jacobian:
        """The Jacobian of ``node`` with respect to its argument at ``place``."""
        assert node.op is not None
        try:
            return node.op.jacobian(place, self._values[node.number], self._arguments(node))
        except GraphEngineError as error:
            raise error.located(f"∂{node.name}/∂({node.op.argument(place)})") from None

    def structured(self, of: str | Node, wrt: str | Node) -> Jacobian:
        """``∂of/∂wrt`` between any two nodes, with the structure that it has.

        Contributions of all paths are added.  The nodes in between are eliminated in the order
        that is predicted to take fewest multiplications (:mod:`graphengine.elimination`).
        """
        return self._accumulated(self._node(of), self._node(wrt), named=True)

    def _accumulated(self, top: Node, source: Node, *, named: bool) -> Jacobian:
        if top is source:
            return Jacobian.identity(top.shape)
        nodes = between(top, [source])
        if not nodes:
            return Jacobian.zero(top.shape, source.shape)
        edges = self.edges(nodes, {source, *nodes}, named=named)
        try:
            order = good_order(edges, nodes[:-1])
            found: Jacobian = eliminated(edges, order, self.limit).jacobians[top, source]
        except GraphEngineError as error:
            raise error.located(f"∂{top.name}/∂{source.name}") from None
        return found

    def edges(
        self, nodes: Iterable[Node], reached: Container[Node], *, named: bool = False
    ) -> dict[tuple[Node, Node], Jacobian]:
        """The Jacobian of each of ``nodes`` with respect to each of its parents in ``reached``."""
        edges = {}
        for node in nodes:
            for parent in node.parents:
                if parent in reached:
                    places = [place for place, arg in enumerate(node.args) if arg is parent]
                    edge = self._edge(node, places)
                    edges[node, parent] = edge.named(node.called) if named else edge
        return edges

    def jacobian(
        self, of: str | Node, wrt: str | Node, layout: Layout = "numerator"
    ) -> sp.csr_array:
        """``∂of/∂vec(wrt)``: ``size of`` rows and ``size wrt`` columns (the transpose in
        denominator layout); zeros where there is no influence.

        Raises :class:`TooLargeError` above the run's ``limit`` (2 GiB unless given).
        """
        top, source = self._node(of), self._node(wrt)
        try:
            return self._accumulated(top, source, named=False).tocsr(layout, self.limit)
        except GraphEngineError as error:
            name = f"∂{top.name}/∂{source.name}"
            raise error if error.where.startswith(name) else error.located(name) from None

    # --- passes ---------------------------------------------------------------------------

    def _node(self, given: str | Node) -> Node:
        node = self.graph[given]
        if node.number >= len(self._values):
            raise GraphError(
                f"node {node.name!r}",
                expected="a node that the graph had when it was run",
                got="a newer one",
                hint="run the graph again",
            )
        return node

    def _arguments(self, node: Node) -> list[Array]:
        return _arguments(node, self._values)

    def _edge(self, node: Node, places: Sequence[int]) -> Jacobian:
        """The sum over the places at which ``node`` takes one parent."""
        total = self.rule(node, places[0])
        for place in places[1:]:
            total = total.plus(self.rule(node, place), self.limit)
        return total

    def _back_pass(self, top: Node, wanted: Container[Node] | None = None) -> dict[Node, Any]:
        """Gradients of ``top`` with respect to every node that it depends on, or those of them
        that are ``wanted``: arrays, and for nodes that are numbers Python's own.
        """
        gradients: dict[Node, Any] = {top: self._seed(top)}
        with np.errstate(all="ignore"):  # what is not finite shows in the result
            for node in reversed(self.graph.nodes[: top.number + 1]):
                row = gradients.get(node)
                if row is None or node.op is None:
                    continue
                args = self._arguments(node)
                for place, arg in enumerate(node.args):
                    if type(arg) is Node and (wanted is None or arg in wanted):
                        part = self._pulled(node, place, args, row)
                        known = gradients.get(arg)
                        gradients[arg] = part if known is None else self._sum(known, part)
        return gradients

    def _seed(self, top: Node) -> Any:
        """The gradient of ``top`` with respect to itself."""
        return 1.0 if self._by_numbers and not top.shape else _locked(np.ones(top.shape))

    @staticmethod
    def _sum(known: Any, part: Any) -> Any:
        """Two parts of a gradient added up."""
        return known + part if type(part) is float else _locked(as_array(known + part))

    def _pulled(self, node: Node, place: int, args: Sequence[Any], row: Any) -> Any:
        """The part of an argument's gradient that comes by way of ``node``, whose arguments have
        the values ``args``.
        """
        op = node.op
        if type(row) is float and not args[place].shape and op is not None:
            found = op.pull_number(place, self._values[node.number], args, row)
            if found is not None:
                return found
        return self._pulled_by_jacobian(node, place, row)

    def _pulled_by_jacobian(self, node: Node, place: int, row: Any) -> Any:
        arg = node.args[place]
        assert type(arg) is Node
        try:
            part = self.rule(node, place).pull(row, self.limit)
        except GraphEngineError as error:
            raise error.located(f"∂{node.name}/∂{arg.name}") from None
        return part.item() if self._by_numbers and not arg.shape else _locked(part)


def evaluate(graph: Graph, values: Mapping[str, ArrayLike]) -> list[Array]:
    """The value of every node, by its number; all arrays are read-only.

    Raises :class:`ValuesError` for missing, unknown and misshapen values.
    """
    _check_names(graph, values)
    found: list[Array] = []
    with np.errstate(all="ignore"):  # what is not finite shows in the result
        for node in graph.nodes:
            if node.op is not None:
                found.append(_computed(node, node.op, found))
            elif node.name in values:
                found.append(_given(node, values[node.name]))
            else:
                assert node.value is not None
                found.append(node.value)
    return found


def _check_names(graph: Graph, values: Mapping[str, ArrayLike]) -> None:
    """Refuse values of unknown nodes, and values that are missing."""
    names = {node.name: node for node in graph.starts}
    for name in values:
        if name not in names:
            raise ValuesError(
                f"value of {name!r}",
                expected="the name of a start node",
                got="a computed node" if name in graph else "no such node",
                hint=nearest(str(name), names),
            )
    missing = [name for name, node in names.items() if name not in values and node.value is None]
    if missing:
        raise ValuesError(
            f"graph {graph.name!r}",
            expected="values for all inputs and parameters",
            got=f"none for {', '.join(missing)}",
        )


def _given(node: Node, value: ArrayLike) -> Array:
    """The value of a start node, copied."""
    if type(value) is float and not node.shape:
        array = np.array(value)
    else:
        array = np.array(as_value(value, f"value of {node.name!r}"))
        if array.shape != node.shape:
            raise ValuesError(
                f"value of {node.name!r}",
                expected=f"shape {node.shape}",
                got=f"shape {array.shape}",
            )
    return _locked(array)


def _computed(node: Node, op: Op, found: Sequence[Array]) -> Array:
    """The value of an op; whoever calls this sees to NumPy's warnings."""
    args = [found[arg.number] if type(arg) is Node else arg for arg in node.args]
    try:
        value = np.asarray(op.forward(*args))
    except GraphEngineError as error:
        raise error.located(f"node {node.name!r}") from None
    if value.shape != node.shape:
        raise OpError(
            f"node {node.name!r}: {op.name}",
            expected=f"a value of shape {node.shape}, as its shape rule says",
            got=f"shape {value.shape}",
        )
    if value.dtype != FLOAT:
        value = as_value(value, f"node {node.name!r}")
    return _locked(value)


def _arguments(node: Node, values: Sequence[Array]) -> list[Array]:
    return [values[arg.number] if type(arg) is Node else arg for arg in node.args]


def _locked(array: Array) -> Array:
    if type(array) is np.ndarray:  # no traced one
        array.setflags(write=False)
    return array
