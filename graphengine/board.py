"""What is written on the board for a graph at one point: its nodes, its edges, their Jacobians."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from graphengine.errors import GraphEngineError, GraphError
from graphengine.jacobian import Jacobian, Layout
from graphengine.node import Node
from graphengine.ops.base import Array
from graphengine.run import Run

__all__ = ["EdgeRow", "NodeRow", "edge_jacobians", "edge_rows", "node_rows", "notation", "short"]


class NodeRow(NamedTuple):
    """One node: what it is, its value, and the gradient of the result with respect to it."""

    name: str
    formula: str
    shape: tuple[int, ...]
    value: Array
    gradient: Array | None


class EdgeRow(NamedTuple):
    """One edge: the Jacobian of ``child`` with respect to ``parent``."""

    child: str
    parent: str
    notation: str
    shape: tuple[int, int]
    nonzeros: int


def node_rows(run: Run, wrt: Iterable[str] | None = None, *, every: bool = False) -> list[NodeRow]:
    """The named nodes (all of them with ``every``), or the result and those named in ``wrt``.

    The gradient is None where the result has more than one entry, or there is no result.
    """
    graph = run.graph
    try:
        top = graph.result_node
    except GraphEngineError:
        top = None
    kept = None if wrt is None else {*(graph[name] for name in wrt), top}
    return [
        NodeRow(
            node.name,
            node.formula or node.role,
            node.shape,
            run.value(node),
            run.gradient(node) if top is not None and top.size == 1 else None,
        )
        for node in graph
        if (every or node.named if kept is None else node in kept)
    ]


def edge_rows(run: Run, layout: Layout = "numerator", *, every: bool = False) -> list[EdgeRow]:
    """The edges between named nodes, in the order of the children.

    Unnamed nodes in between belong to the edge: its Jacobian is their product.  With ``every``
    each edge of the graph has a row of its own.
    """
    rows = []
    for child in run.graph:
        if child.op is None or not (every or child.named):
            continue
        for parent, jacobian in edge_jacobians(run, child, every=every).items():
            shape = jacobian.shape if layout == "numerator" else jacobian.shape[::-1]
            text = jacobian.text(layout=layout)
            rows.append(EdgeRow(child.name, parent.name, text, shape, jacobian.nnz))
    return rows


def edge_jacobians(run: Run, child: Node, *, every: bool = False) -> dict[Node, Jacobian]:
    """The Jacobians of ``child`` with respect to its parents, with the nodes' names in them.

    Unnamed parents are passed through to the named ones (not with ``every``).
    """
    found: dict[Node, Jacobian] = {}
    inner: dict[Node, Jacobian] = {child: Jacobian.identity(child.shape)}
    while inner:
        node = max(inner, key=lambda one: one.number)  # children before their parents
        above = inner.pop(node)
        for place, arg in enumerate(node.args):
            if not isinstance(arg, Node):
                continue
            local = run.rule(node, place).named(node.called)
            part = local if node is child else above.compose(local, run.limit)
            into = found if every or arg.named or arg.op is None else inner
            into[arg] = into[arg] + part if arg in into else part
    return dict(sorted(found.items(), key=lambda one: one[0].number))


def notation(
    run: Run,
    child: str | Node,
    parent: str | Node,
    *,
    layout: Layout = "numerator",
    latex: bool = False,
) -> str:
    """The Jacobian of an edge as it is written on the board, with the nodes' own names.

    An edge leads from a node to one of its parents, or through unnamed nodes to a named one.
    Raises :class:`GraphError` where there is no such edge.

    >>> import graphengine as ge
    >>> g = ge.Graph()
    >>> x, W = g.input("x", (2,)), g.parameter("W", (3, 2))
    >>> z, r = g.node("z", W @ x), g.node("r", ge.sum(W**2))
    >>> run = g.run({"x": [1.0, 2.0], "W": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]})
    >>> notation(run, "z", "W"), notation(run, "z", "x", layout="denominator")
    ('I₃ ⊗ xᵀ', 'Wᵀ')
    >>> notation(run, "r", "W")
    '2 vec(W)ᵀ'
    """
    node, source = run.graph[child], run.graph[parent]
    edges = edge_jacobians(run, node, every=source in node.parents)
    if source not in edges:
        raise GraphError(
            f"edge {node.name} <- {source.name}",
            expected=f"a parent of {node.name!r} ({', '.join(p.name for p in edges) or 'none'})",
            got=repr(source.name),
        )
    jacobian = edges[source]
    return jacobian.latex(layout=layout) if latex else jacobian.text(layout=layout)


def short(array: Array, width: int = 40) -> str:
    """An array on one line of at most ``width`` characters.

    >>> import numpy as np
    >>> short(np.array([[1.0, 0.25], [3.0, 4.0]])), short(np.arange(1000.0), 30)
    ('[[1, 0.25], [3, 4]]', '[0, 1, 2, …, 997, 998, 999]')
    """
    if array.ndim == 0:
        return f"{float(array) + 0.0:.6g}"
    if array.size <= 64:
        whole = _nested(array.tolist())
        if len(whole) <= width:
            return whole
    flat = array.ravel()
    for count in (3, 2, 1):
        ends = [f"{value + 0.0:.3g}" for value in (*flat[:count], *flat[-count:])]
        text = "[" * array.ndim + ", ".join(ends[:count]) + ", …, " + ", ".join(ends[count:])
        text += "]" * array.ndim
        if len(text) <= width:
            break
    return text


def _nested(values: Any) -> str:
    if isinstance(values, Sequence):
        return "[" + ", ".join(map(_nested, values)) + "]"
    return _number(values)


def _number(value: float) -> str:
    return f"{value + 0.0:.4g}"  # + 0.0: no minus before a zero
