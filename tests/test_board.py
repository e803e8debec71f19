from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine import board
from graphengine.errors import GraphError


@pytest.fixture
def run() -> ge.Run:
    g = ge.Graph("net")
    x = g.input("x", (2,))
    W = g.parameter("W", (3, 2))
    h = g.node("h", ge.tanh(W @ x))
    g.node("q", h * h)
    g.result("J", ge.sum(h) + ge.sum(W**2))
    return g.run({"x": [1.0, 2.0], "W": [[0.1, 0.2], [0.3, -0.4], [0.5, 0.6]]})


def test_all_nodes_stand_in_order_with_values_and_gradients(run: ge.Run) -> None:
    rows = board.node_rows(run, every=True)
    assert [row.name for row in rows] == [node.name for node in run.graph]
    assert [row.name for row in board.node_rows(run)] == ["x", "W", "h", "q", "J"]
    by_name = {row.name: row for row in rows}
    assert by_name["x"].formula == "input"
    assert by_name["h"].formula == "tanh(W @ x)"
    gradient = by_name["W"].gradient
    assert gradient is not None
    assert np.array_equal(gradient, run.gradient("W"))
    assert not np.any(by_name["q"].gradient)


def test_wrt_keeps_the_nodes_asked_for_and_the_result(run: ge.Run) -> None:
    assert [row.name for row in board.node_rows(run, ["W"])] == ["W", "J"]


def test_no_gradient_without_a_single_number_as_result() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    g.node("a", ge.tanh(x))
    g.node("b", x + 1)
    rows = board.node_rows(g.run({"x": [1.0, 2.0]}))
    assert [row.gradient for row in rows] == [None] * len(rows)
    h = ge.Graph()
    h.result("y", ge.tanh(h.input("x", (2,))))
    assert board.node_rows(h.run({"x": [1.0, 2.0]}))[0].gradient is None


def edges(run: ge.Run, **options: Any) -> dict[tuple[str, str], board.EdgeRow]:
    return {(row.child, row.parent): row for row in board.edge_rows(run, **options)}


def test_edges_have_the_notation_of_the_board(run: ge.Run) -> None:
    found = edges(run, every=True)
    edge = found["h.1", "W"]
    assert (edge.notation, edge.shape, edge.nonzeros) == ("I₃ ⊗ xᵀ", (3, 6), 6)
    assert found["h", "h.1"].notation == "diag(1 − h²)"
    assert found["J.2", "W"].notation == "2 diag(W)"
    flipped = edges(run, every=True, layout="denominator")
    assert (flipped["h.1", "W"].notation, flipped["h.1", "W"].shape) == ("I₃ ⊗ x", (6, 3))


def test_unnamed_nodes_belong_to_the_edge_that_they_are_on(run: ge.Run) -> None:
    found = edges(run)
    assert {child for child, _ in found} == {"h", "q", "J"}
    assert found["h", "W"].notation == "diag(1 − h²) ⊗ xᵀ"
    assert found["h", "x"].notation == "diag(1 − h²) W"
    assert found["J", "W"].notation == "2 vec(W)ᵀ"
    assert found["J", "h"].notation == "1₃ᵀ"


def test_edge_jacobians_chain_to_those_of_the_run(run: ge.Run) -> None:
    of_J = board.edge_jacobians(run, run.graph["J"])
    of_h = board.edge_jacobians(run, run.graph["h"])
    h, W = run.graph["h"], run.graph["W"]
    total = of_J[W] + of_J[h] @ of_h[W]
    assert np.allclose(total.toarray(), run.jacobian("J", "W").toarray(), rtol=1e-14)


def test_no_such_edge(run: ge.Run) -> None:
    with pytest.raises(GraphError, match=r"edge J <- x: expected a parent of 'J' \(W, h\)"):
        board.notation(run, "J", "x")


def test_latex(run: ge.Run) -> None:
    assert board.notation(run, "h.1", "W", latex=True) == r"I_{3} \otimes x^\top"


@pytest.mark.parametrize(
    ("array", "width", "expected"),
    [
        (np.array(1.5), 10, "1.5"),
        (np.array([]), 10, "[]"),
        (np.array([np.nan, np.inf]), 20, "[nan, inf]"),
        (np.arange(100.0).reshape(10, 10), 30, "[[0, 1, 2, …, 97, 98, 99]]"),
        (np.arange(100.0), 10, "[0, …, 99]"),
    ],
)
def test_short(array: np.ndarray, width: int, expected: str) -> None:
    assert board.short(array, width) == expected
