"""Jacobian plans: what a full sparse Jacobian takes, found once for a graph and its shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphengine.elimination import (
    LONG,
    Edges,
    Order,
    Product,
    between,
    cheapest,
    eliminated,
    good_order,
    sizes_of,
)
from graphengine.errors import GraphEngineError, GraphError
from graphengine.flat.filling import Fill, filled
from graphengine.flat.recording import Recorded, TracedRun, leading_to
from graphengine.graph import Graph, Node
from graphengine.jacobian import DEFAULT_LIMIT, Jacobian
from graphengine.tracing import Untraceable

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """The order in which nodes are eliminated, and what other orders would have cost.

    ``str(plan)`` is a table: each product of two Jacobians with its multiplications and entries,
    then the totals of the chosen order, of forward and of reverse accumulation.
    """

    of: str
    wrt: tuple[str, ...]
    products: Sequence[Product]
    forward: int
    reverse: int
    entries: tuple[int, ...]
    """Of each Jacobian."""

    @property
    def multiplications(self) -> int:
        """Of the chosen order."""
        return sum(product.multiplications for product in self.products)

    def __str__(self) -> str:
        rows = [("eliminate", "product", "multiplications", "entries")]
        for node, child, parent, cost, entries in self.products:
            what = f"∂{child.name}/∂{node.name} · ∂{node.name}/∂{parent.name}"
            rows.append((node.name, what, f"{cost:,}", f"{entries:,}"))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
            for a, b, c, d in rows
        ]
        head = ", ".join(
            f"∂{self.of}/∂{name} ({n:,} entries)"
            for name, n in zip(self.wrt, self.entries, strict=True)
        )
        others = f"forward {self.forward:,}, reverse {self.reverse:,}"
        return "\n".join(
            [
                head,
                *lines,
                f"multiplications: {self.multiplications:,}; " + others,
            ]
        )


def plan(
    graph: Graph, top: Node, sources: Sequence[Node], order: Order
) -> tuple[Plan, Recorded, list[Fill]]:
    """The plan for ``∂top/∂source`` of all ``sources``, the program that computes the data of
    their matrices, and how these are filled.
    """
    run = TracedRun(graph, leading_to([top]))
    independent = not any(run.depends(one, other) for one in sources for other in sources)
    groups = [list(sources)] if independent else [[source] for source in sources]
    fills: list[Fill] = []
    results: list[Any] = []
    products: list[Product] = []
    forward = reverse = 0
    try:
        for group in groups:
            found = _accumulated(run, top, group, order)
            products += found.products
            forward, reverse = forward + found.forward, reverse + found.reverse
            for jacobian in found.jacobians:
                fill, values = filled(jacobian)
                full = run.tape.record(fill, values, {}, (fill.size,)) if values else fill()
                results.append(full)
                fills.append(fill)
    except Untraceable as reason:
        raise GraphError(
            f"∂{top.name}/∂({', '.join(node.name for node in sources)})",
            expected="Jacobian rules that can be traced, and constants as positions of entries",
            got=f"one that asks for numbers ({reason})",
            hint="run(...).jacobian(...) takes any rule; g.constant(name, positions) makes a table",
        ) from None
    made = Plan(
        top.name,
        tuple(node.name for node in sources),
        products,
        forward,
        reverse,
        tuple(fill.size for fill in fills),
    )
    return made, Recorded(run.tape, run.inputs, results, {}), fills


class _Accumulated(NamedTuple):
    products: Sequence[Product]
    forward: int
    reverse: int
    jacobians: Sequence[Jacobian]


def _accumulated(run: TracedRun, top: Node, sources: Sequence[Node], order: Order) -> _Accumulated:
    """The Jacobians by the chosen order, and what forward and reverse cost."""
    nodes = between(top, sources)
    inner = [node for node in nodes if node is not top]
    edges = run.edges(nodes, {*sources, *nodes})
    orders: dict[str, Any] = {"forward": inner, "reverse": inner[::-1]}
    try:
        if len(inner) > LONG:
            orders["auto"] = good_order(edges, inner)
            found = eliminated(edges, orders[order], DEFAULT_LIMIT)
            counts = {name: _count(edges, one) for name, one in orders.items()}
        else:
            orders["auto"] = cheapest(inner)
            tried = {name: eliminated(edges, one, DEFAULT_LIMIT) for name, one in orders.items()}
            counts = {name: one.multiplications for name, one in tried.items()}
            found = tried[min(counts, key=counts.__getitem__) if order == "auto" else order]
    except GraphEngineError as error:
        raise error.located(f"∂{top.name}/∂({', '.join(s.name for s in sources)})") from None
    jacobians = [
        Jacobian.identity(top.shape)
        if source is top
        else found.jacobians.get((top, source), Jacobian.zero(top.shape, source.shape))
        for source in sources
    ]
    return _Accumulated(found.products, counts["forward"], counts["reverse"], jacobians)


def _count(edges: Edges, order: Sequence[Node]) -> int:
    """Multiplications of a long order, by the sizes of the Jacobians alone."""
    return eliminated(sizes_of(edges), order, DEFAULT_LIMIT).multiplications
