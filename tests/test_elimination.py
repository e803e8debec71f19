"""Orders of elimination beside brute force: sums over all paths, and all orders there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphengine as ge
from graphengine.elimination import (
    LONG,
    Size,
    between,
    cheapest,
    eliminated,
    good_order,
    multiplications,
    sizes_of,
)
from graphengine.graph import Graph, Node
from graphengine.jacobian import DEFAULT_LIMIT, Jacobian

from .strategies import Array, whole_numbers


class Dag(NamedTuple):
    """Vectors, parents first; the middle ones are to be eliminated."""

    sources: list[Node]
    middle: list[Node]
    tops: list[Node]
    matrices: Mapping[tuple[Node, Node], Array]

    @property
    def edges(self) -> dict[tuple[Node, Node], Jacobian]:
        return {
            (child, parent): Jacobian.of(matrix, child.shape, parent.shape)
            for (child, parent), matrix in self.matrices.items()
        }


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """One or two sources, up to four nodes between, one or two tops; any edges upwards."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = [draw(st.integers(1, 2)), draw(st.integers(0, 4)), draw(st.integers(1, 2))]
    graph = Graph("vectors")
    nodes = [
        graph.input(f"v{k}", (draw(st.sampled_from([1, 2, 3, 5])),)) for k in range(sum(counts))
    ]
    sources, middle = nodes[: counts[0]], nodes[counts[0] : counts[0] + counts[1]]
    tops = nodes[-counts[2] :]
    found = {}
    for parent, child in itertools.combinations(nodes, 2):
        inside = child not in sources and parent not in tops
        if inside and draw(st.integers(0, 3)):
            found[child, parent] = whole_numbers(rng, child.size, parent.size)
    return Dag(sources, middle, tops, found)


def over_paths(dag: Dag, top: Node, source: Node) -> Array | None:
    """The sum over all paths of the products of their matrices; None where there is no path."""
    if top is source:
        return np.eye(source.size)
    total = None
    for (child, parent), matrix in dag.matrices.items():
        below = over_paths(dag, parent, source) if child is top else None
        if below is not None:
            total = matrix @ below if total is None else total + matrix @ below
    return total


def dense_cost(dag: Dag, order: Sequence[Node]) -> int:
    """Multiplications with full matrices, by the definition of an elimination."""
    edges = set(dag.matrices)
    cost = 0
    for node in order:
        children = [child for child, parent in edges if parent is node]
        parents = [parent for child, parent in edges if child is node]
        for child, parent in itertools.product(children, parents):
            cost += child.size * node.size * parent.size
            edges.add((child, parent))
        edges = {edge for edge in edges if node not in edge}
    return cost


def orders(dag: Dag) -> Iterator[list[Node]]:
    return map(list, itertools.permutations(dag.middle))


# --- what is left -------------------------------------------------------------------------


@given(dags())
def test_every_order_gives_the_sums_over_all_paths(dag: Dag) -> None:
    want = {
        (top, source): found
        for top, source in itertools.product(dag.tops, dag.sources)
        if (found := over_paths(dag, top, source)) is not None
    }
    for order in orders(dag):
        found = eliminated(dag.edges, order, DEFAULT_LIMIT)
        assert found.jacobians.keys() == want.keys()
        for edge, matrix in want.items():
            assert np.array_equal(found.jacobians[edge].toarray(), matrix)


@given(dags())
def test_multiplications_of_full_matrices(dag: Dag) -> None:
    """Counted with the matrices themselves, and by their sizes alone."""
    for order in orders(dag):
        cost = dense_cost(dag, order)
        found = eliminated(dag.edges, order, DEFAULT_LIMIT)
        assert found.multiplications == cost
        assert eliminated(sizes_of(dag.edges), order, DEFAULT_LIMIT).multiplications == cost
        for product in found.products:
            assert product.entries == product.child.size * product.parent.size


# --- which order --------------------------------------------------------------------------


@given(dags())
def test_the_cheapest_node_is_next(dag: Dag) -> None:
    """No other node would have cost less, at any step."""
    pick = cheapest(dag.middle)
    chosen: list[Node] = []

    def noted(left: object) -> Node | None:
        node = pick(left)  # type: ignore[arg-type]  # what ``eliminated`` hands over
        chosen.extend([] if node is None else [node])
        return node

    eliminated(dag.edges, noted, DEFAULT_LIMIT)
    assert sorted(chosen, key=dag.middle.index) == dag.middle
    for k in range(len(chosen)):
        before = dense_cost(dag, chosen[:k])
        costs = [dense_cost(dag, [*chosen[:k], node]) - before for node in chosen[k:]]
        assert costs[0] == min(costs)


@given(dags())
def test_a_good_order(dag: Dag) -> None:
    """Never worse than forward and reverse; no order is better than the best."""
    found = good_order(dag.edges, dag.middle)
    assert sorted(found, key=dag.middle.index) == dag.middle
    cost = dense_cost(dag, found)
    assert cost <= min(dense_cost(dag, dag.middle), dense_cost(dag, dag.middle[::-1]))
    assert cost >= min(dense_cost(dag, order) for order in orders(dag))


def chain(sizes: Sequence[int]) -> Dag:
    graph = Graph("chain")
    nodes = [graph.input(f"v{k}", (n,)) for k, n in enumerate(sizes)]
    matrices = {
        (child, parent): np.ones((child.size, parent.size))
        for parent, child in itertools.pairwise(nodes)
    }
    return Dag(nodes[:1], nodes[1:-1], nodes[-1:], matrices)


@pytest.mark.parametrize(
    ("sizes", "forward", "reverse"),
    [
        ([2, 3, 4, 5], 2 * 3 * 4 + 2 * 4 * 5, 3 * 4 * 5 + 2 * 3 * 5),
        ([5, 4, 3, 2], 5 * 4 * 3 + 5 * 3 * 2, 4 * 3 * 2 + 5 * 4 * 2),
    ],
    ids=["narrow below", "narrow above"],
)
def test_orders_of_a_chain(sizes: Sequence[int], forward: int, reverse: int) -> None:
    dag = chain(sizes)
    good = good_order(dag.edges, dag.middle)
    for order, cost in (
        (dag.middle, forward),
        (dag.middle[::-1], reverse),
        (good, min(forward, reverse)),
    ):
        assert eliminated(dag.edges, order, DEFAULT_LIMIT).multiplications == cost


def test_from_the_middle() -> None:
    """Two halves that meet in one number: neither forward nor reverse is the best way."""
    dag = chain([9, 9, 1, 9, 9])
    first, narrow, last = dag.middle
    ends = eliminated(dag.edges, [first, last, narrow], DEFAULT_LIMIT).multiplications
    assert ends == 3 * 81 == min(dense_cost(dag, order) for order in orders(dag))
    assert eliminated(dag.edges, dag.middle, DEFAULT_LIMIT).multiplications == 2 * 81 + 729


def test_of_long_chains_forward_or_reverse() -> None:
    dag = chain([1, *[2] * (LONG + 1), 3])
    assert good_order(dag.edges, dag.middle) == dag.middle
    turned = chain([3, *[2] * (LONG + 1), 1])
    assert good_order(turned.edges, turned.middle) == turned.middle[::-1]


# --- counting -----------------------------------------------------------------------------


def test_multiplications_of_structured_jacobians() -> None:
    """Exact where the entries are spread evenly: one number for each, a block for each."""
    diagonal = Jacobian.of(ge.jacobian.term("i <- i", (np.ones(6), "i", "")), (6,), (6,))
    full = Jacobian.of(np.ones((4, 6)), (4,), (6,))
    assert multiplications(diagonal, diagonal) == 6
    assert multiplications(full, diagonal) == 24
    blocks = Jacobian.of(
        ge.jacobian.term("ij <- ik", (np.ones((2, 3, 3)), "ijk", "")), (2, 3), (2, 3)
    )
    assert multiplications(blocks, blocks) == 2 * 3 * 3 * 3
    assert multiplications(Jacobian.zero((4,), (6,)), diagonal) == 0
    assert multiplications(Jacobian.zero((4,), (0,)), Jacobian.zero((0,), (2,))) == 0


def test_sizes_of_products_and_sums() -> None:
    """A product is full at most; a sum has the entries of the larger part."""
    assert Size((5, 10), 10).compose(Size((10, 4), 20), 0) == Size((5, 4), 20)
    assert Size((5, 10), 50).compose(Size((10, 4), 40), 0) == Size((5, 4), 20)
    assert Size((5, 10), 7).plus(Size((5, 10), 9), 0) == Size((5, 10), 9)


# --- which nodes --------------------------------------------------------------------------


def test_nodes_between() -> None:
    g = Graph("between")
    x, y = g.input("x", (2,)), g.input("y", (2,))
    a = g.node("a", x * y)
    aside = g.node("aside", ge.exp(a))
    b = g.node("b", ge.sin(y))
    top = g.node("top", a + b)
    g.node("later", top + aside)
    assert between(top, [x]) == [a, top]
    assert between(top, [x, y]) == [a, b, top]
    assert between(top, [a, y]) == [b, top]  # not through a, which is a source
    assert between(b, [x]) == []
    assert between(x, [x]) == []
