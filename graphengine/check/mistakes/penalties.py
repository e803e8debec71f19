"""Regularisers: which nodes of a graph are penalties, and what they are called (catalogue E)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphengine.check.mistakes.base import home
from graphengine.graph import Graph, Node

__all__ = ["averages", "penalty_name", "regularisers"]

_PENALTY_OPS = {
    "square",
    "power",
    "abs",
    "sum",
    "sum_of_squares",
    "norm",
    "multiply",
    "divide",
    "add",
    "alias",
    "mean",
    "dot",
    "vec",
    "getitem",
    "sqrt",
    "negative",
    "transpose",
    "reshape",
    "trace",
}


def regularisers(graph: Graph, of: Node, inside: Sequence[Node]) -> list[Node]:
    """The topmost numbers on the way that are made of parameters and constants alone, by ops that
    penalties use, in a graph whose ``of`` depends on data.
    """
    if of.size != 1:
        return []
    free: dict[Node, bool] = {}
    for node in graph.nodes[: of.number + 1]:
        if node.op is None:
            free[node] = node.role != "input"
        else:
            free[node] = node.op.name in _PENALTY_OPS and all(free[one] for one in node.parents)
    if all(node.role != "input" for node in graph.starts):
        return []
    top = []
    for node in inside:
        children = [graph[name] for name in graph.dag.successors(node.name)]
        if free[node] and node.size == 1 and any(not free.get(c, True) for c in children):
            top.append(node)
    return top


def penalty_name(node: Node, inside: Sequence[Node]) -> str:
    """The name of a regulariser, or of the one named node that it is a multiple of."""
    while not node.named:
        parents = [one for one in node.parents if one in inside]
        if len(parents) != 1 or parents[0].size != 1:
            return home(node).name
        node = parents[0]
    return node.name


def averages(graph: Graph) -> Iterator[tuple[float, object]]:
    """Each size of the graph and one over it, and the axis whose size it is."""
    seen: set[int] = set()
    for node in graph.nodes:
        for axis, size in enumerate(node.shape):
            if size > 1 and size not in seen:
                seen.add(size)
                yield 1 / size, (node.number, axis)
                yield float(size), (node.number, axis, "times")
