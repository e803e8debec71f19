"""What is written on the board for a graph at one point: its nodes, its edges, their Jacobians."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from graphengine.errors import GraphEngineError
from graphengine.node import Node
from graphengine.jacobian import Layout
from graphengine.ops.base import Array
from graphengine.run import Run

__all__ = ["EdgeRow", "NodeRow", "edge_rows", "node_rows", "notation", "short"]


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


def node_rows(run: Run, wrt: Iterable[str] | None = None) -> list[NodeRow]:
    """All nodes, or the result and those named in ``wrt``.

    The gradient is None where the result has more than one entry, or there is no result.
    """
    graph = run.graph
    try:
        top = graph.result_node
    except GraphEngineError:
        top = None
    kept = None if wrt is None else [*(graph[name] for name in wrt), top]
    return [
        NodeRow(
            node.name,
            node.formula or node.role,
            node.shape,
            run.value(node),
            run.gradient(node) if top is not None and top.size == 1 else None,
        )
        for node in graph
        if kept is None or node in kept
    ]


def edge_rows(run: Run, layout: Layout = "numerator") -> list[EdgeRow]:
    """All edges, in the order of the children."""
    rows = []
    for child in run.graph:
        for parent in child.parents:
            jacobian = run.local(child, parent)
            shape = jacobian.shape if layout == "numerator" else jacobian.shape[::-1]
            text = notation(run, child, parent, layout=layout)
            rows.append(EdgeRow(child.name, parent.name, text, shape, jacobian.nnz))
    return rows


def notation(
    run: Run,
    child: str | Node,
    parent: str | Node,
    *,
    layout: Layout = "numerator",
    latex: bool = False,
) -> str:
    """The Jacobian of an edge as it is written on the board, with the nodes' own names.

    >>> import graphengine as ge
    >>> g = ge.Graph()
    >>> x, W = g.input("x", (2,)), g.parameter("W", (3, 2))
    >>> z = g.node("z", W @ x)
    >>> run = g.run({"x": [1.0, 2.0], "W": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]})
    >>> notation(run, "z", "W"), notation(run, "z", "x", layout="denominator")
    ('I₃ ⊗ xᵀ', 'Wᵀ')
    """
    node, source = run.graph[child], run.graph[parent]
    names = _names(node)
    parts = []
    for place, arg in enumerate(node.args):
        if arg is source:
            jacobian = run.rule(node, place)
            parts.append(jacobian.latex(names, layout) if latex else jacobian.text(names, layout))
    return " + ".join(parts)


def _names(node: Node) -> dict[str, str]:
    """What the op's arguments are called in this graph; unnamed ones by their formula."""
    assert node.op is not None
    names = {"out": _called(node)}
    if not node.op.variadic:
        for argument, arg in zip(node.op.arguments, node.args, strict=True):
            names[argument] = _called(arg) if isinstance(arg, Node) else _number(arg)
    return names


def _called(node: Node) -> str:
    if node.named or not node.formula or len(node.formula) > 24:
        return node.name
    return node.formula


def _number(array: Array) -> str:
    return f"{float(array):.6g}" if array.ndim == 0 else "c"


def short(array: Array, width: int = 40) -> str:
    """An array on one line of at most ``width`` characters.

    >>> import numpy as np
    >>> short(np.array([[1.0, 0.25], [3.0, 4.0]])), short(np.arange(1000.0), 30)
    ('[[1, 0.25], [3, 4]]', '[0, 1, 2, …, 997, 998, 999]')
    """
    if array.ndim == 0:
        return f"{float(array):.6g}"
    if array.size <= 64:
        whole = _nested(array.tolist())
        if len(whole) <= width:
            return whole
    flat = array.ravel()
    for count in (3, 2, 1):
        ends = [f"{value:.4g}" for value in (*flat[:count], *flat[-count:])]
        text = "[" * array.ndim + ", ".join(ends[:count]) + ", …, " + ", ".join(ends[count:])
        text += "]" * array.ndim
        if len(text) <= width:
            break
    return text


def _nested(values: Any) -> str:
    if isinstance(values, Sequence):
        return "[" + ", ".join(map(_nested, values)) + "]"
    return f"{values:.4g}" if math.isfinite(values) else str(values)
