"""Regularisers: which nodes of a graph are penalties, and what they are called (catalogue E)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphengine.check.mistakes.base import Link, home
from graphengine.graph import Graph, Node
from graphengine.run import Run

_BENT = {"square", "power", "abs", "sum_of_squares", "norm", "dot", "multiply"}

__all__ = ["averages", "other_weights", "penalty_name", "regularisers"]

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
    bent: dict[Node, bool] = {}  # what is linear in a parameter is no penalty
    for node in graph.nodes[: of.number + 1]:
        if node.op is None:
            free[node] = node.role != "input"
        else:
            free[node] = node.op.name in _PENALTY_OPS and all(free[one] for one in node.parents)
        bent[node] = any(bent[one] for one in node.parents) or _bends(node)
    if all(node.role != "input" for node in graph.starts):
        return []
    top = []
    for node in inside:
        children = [graph[name] for name in graph.dag.successors(node.name)]
        penalty = free[node] and bent[node] and node.size == 1
        if penalty and any(not free.get(c, True) for c in children):
            top.append(node)
    return top


def _bends(node: Node) -> bool:
    """Whether an op is not linear in what is no constant of its arguments."""
    if node.op is None or node.op.name not in _BENT:
        return False
    return node.op.name != "multiply" or sum(one.role != "constant" for one in node.parents) != 1


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


def other_weights(run: Run, link: Link) -> Iterator[tuple[float, object]]:
    """What turns the constant that weighs a penalty into another one of the graph."""
    weights = [one for one in (*link.child.parents, *link.parent.parents) if one.role == "constant"]
    for own in weights:
        for other in run.graph.starts:
            if other.role == "constant" and other is not own and own.size == other.size == 1:
                value = float(run.value(own).reshape(()))
                if value:
                    scale = float(run.value(other).reshape(())) / value
                    yield scale, (own.number, other.number, "weight")
