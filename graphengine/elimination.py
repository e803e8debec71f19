"""Jacobians between distant nodes: the nodes in between are eliminated one after another.

Eliminating a node adds, for each of its children and each of its parents, the product of the two
Jacobians to the child's Jacobian with respect to that parent: the chain rule, one node at a time.
From the inputs up this is forward accumulation, from the outputs down reverse accumulation; any
other order is a cross-country one (A. Griewank and A. Walther, "Evaluating Derivatives", 2008,
chapter 9), and gives the same Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from graphengine.jacobian import Jacobian

if TYPE_CHECKING:
    from graphengine.node import Node

__all__ = [
    "Edges",
    "Elimination",
    "Order",
    "Product",
    "between",
    "cheapest",
    "eliminated",
    "good_order",
    "multiplications",
    "sizes_of",
]

Order: TypeAlias = Literal["auto", "forward", "reverse"]
Edges: TypeAlias = "Mapping[tuple[Node, Node], Any]"
"""The Jacobian (or its :class:`Size`) of each child with respect to each parent, by
``(child, parent)``."""


class Product(NamedTuple):
    """``∂child/∂node · ∂node/∂parent``, what it cost, and how many entries it has."""

    node: Node
    child: Node
    parent: Node
    multiplications: int
    entries: int


@dataclass(frozen=True)
class Elimination:
    """The Jacobians that are left when all nodes in between are eliminated, and the way there."""

    jacobians: Edges
    products: Sequence[Product]

    @property
    def multiplications(self) -> int:
        """Multiplications of all products."""
        return sum(product.multiplications for product in self.products)


def eliminated(
    edges: Edges,
    order: Iterable[Node] | Callable[[_Left], Node | None],
    limit: int,
) -> Elimination:
    """What is left of ``edges`` without the nodes of ``order``: a sequence of nodes, or a function
    that picks the next one (None: no more).
    """
    left = _Left(edges)
    products: list[Product] = []
    if callable(order):
        while (node := order(left)) is not None:
            products += left.eliminate(node, limit)
    else:
        for node in order:
            products += left.eliminate(node, limit)
    return Elimination(left.edges, products)


class _Left:
    """The edges that are left, by child and by parent."""

    def __init__(self, edges: Edges) -> None:
        self.edges: dict[tuple[Node, Node], Any] = dict(edges)
        self.children: dict[Node, dict[Node, None]] = {}
        self.parents: dict[Node, dict[Node, None]] = {}
        for child, parent in edges:
            self.children.setdefault(parent, {})[child] = None
            self.parents.setdefault(child, {})[parent] = None

    def cost(self, node: Node) -> int:
        """Multiplications of eliminating ``node``."""
        return sum(
            multiplications(self.edges[child, node], self.edges[node, parent])
            for child in self.children.get(node, ())
            for parent in self.parents.get(node, ())
        )

    def eliminate(self, node: Node, limit: int) -> list[Product]:
        products = []
        for child in self.children.pop(node, {}):
            outer = self.edges.pop((child, node))
            del self.parents[child][node]
            for parent in self.parents.get(node, {}):
                inner = self.edges[node, parent]
                part = outer.compose(inner, limit)
                cost, entries = multiplications(outer, inner), part.nnz
                products.append(Product(node, child, parent, cost, entries))
                known = self.edges.get((child, parent))
                self.edges[child, parent] = part if known is None else known.plus(part, limit)
                self.children[parent][child] = None
                self.parents[child][parent] = None
        for parent in self.parents.pop(node, {}):
            del self.edges[node, parent]
            del self.children[parent][node]
        return products


def multiplications(outer: Jacobian | Size, inner: Jacobian | Size) -> int:
    """Of the product, taking the entries of both to be spread evenly over the middle.

    Exact for dense, diagonal, block diagonal and Kronecker forms.
    """
    middle = max(outer.shape[1], 1)
    return -(-_entries(outer) * _entries(inner) // middle)


def _entries(jacobian: Jacobian | Size) -> int:
    if isinstance(jacobian, Size):
        return jacobian.nnz
    return sum(part.entries for part in jacobian.terms)


class Size(NamedTuple):
    """Stands for a Jacobian whose products are only counted: its shape and its entries.

    A product has as many entries as it takes multiplications, up to a full matrix; a sum as many
    as the larger part.
    """

    shape: tuple[int, int]
    nnz: int

    def compose(self, inner: Size, limit: int) -> Size:
        """The size of the product."""
        del limit
        shape = self.shape[0], inner.shape[1]
        return Size(shape, min(shape[0] * shape[1], multiplications(self, inner)))

    def plus(self, other: Size, limit: int) -> Size:
        """The size of the sum."""
        del limit
        return Size(self.shape, max(self.nnz, other.nnz))


def sizes_of(edges: Edges) -> Edges:
    """The sizes of the Jacobians, for counting alone."""
    return {edge: Size(one.shape, _entries(one)) for edge, one in edges.items()}


def good_order(edges: Edges, nodes: Sequence[Node]) -> list[Node]:
    """The order in which to eliminate ``nodes`` (parents first): forward, reverse or, of a graph
    that is not too long, cheapest first; the one that is predicted to take fewest multiplications.
    """
    sizes = sizes_of(edges)
    orders = [list(reversed(nodes)), list(nodes)]
    if len(nodes) <= LONG:
        chosen: list[Node] = []
        pick = cheapest(nodes)

        def noted(left: _Left) -> Node | None:
            node = pick(left)
            if node is not None:
                chosen.append(node)
            return node

        eliminated(sizes, noted, 0)
        orders.append(chosen)
    return min(orders, key=lambda order: eliminated(sizes, order, 0).multiplications)


LONG = 300
"""Of longer chains of nodes the cheapest is not looked for before each step."""


def cheapest(nodes: Sequence[Node]) -> Callable[[_Left], Node | None]:
    """The order that eliminates the cheapest node next (Markowitz's rule, by multiplications)."""
    waiting = dict.fromkeys(nodes)
    costs: dict[Node, int] = {}

    def pick(left: _Left) -> Node | None:
        if not waiting:
            return None
        for node in waiting:
            if node not in costs:
                costs[node] = left.cost(node)
        best = min(waiting, key=costs.__getitem__)
        del waiting[best], costs[best]
        for neighbour in (*left.children.get(best, ()), *left.parents.get(best, ())):
            costs.pop(neighbour, None)
        return best

    return pick


def between(top: Node, sources: Iterable[Node]) -> list[Node]:
    """The nodes on paths from ``sources`` (left out) to ``top`` (included), parents first."""
    starts = set(sources)
    first = min(node.number for node in starts)
    nodes = top.graph.nodes[first : top.number + 1]
    influenced = set(starts)
    for node in nodes:
        if any(parent in influenced for parent in node.parents):
            influenced.add(node)
    if top not in influenced:
        return []
    needed = {top}
    for node in reversed(nodes):
        if node in needed and node not in starts:
            needed.update(parent for parent in node.parents if parent in influenced)
    return [node for node in nodes if node in needed and node not in starts]
