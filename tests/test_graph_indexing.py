"""Indexing and transposing nodes."""

from __future__ import annotations

import numpy as np
import pytest

import graphengine as ge
from graphengine.errors import GraphError, OpError, ShapeError
from graphengine.graph import Node


def graph() -> tuple[ge.Graph, Node, Node]:
    g = ge.Graph("g")
    return g, g.parameter("x", (3, 4)), g.input("k", (5,), kind="label")


VALUES = {"x": np.arange(12.0).reshape(3, 4), "k": np.array([2.0, 0.0, 0.0, 1.0, 2.0])}
LABELS = VALUES["k"].astype(int)


@pytest.mark.parametrize(
    ("key", "formula"),
    [
        (1, "x[1]"),
        ((slice(1, None), slice(None, None, 2)), "x[1:, ::2]"),
        ((..., None, -1), "x[..., None, -1]"),
        ([2, 0, 2], "x[[2, 0, 2]]"),
        (np.array([[0], [1]]), "x[[[0], [1]]]"),
        (([0, 1], [3, 0]), "x[[0, 1], [3, 0]]"),
        (np.array([True, False, True]), "x[[True, False, True]]"),
        (np.int64(2), "x[2]"),
        ((), "x[...]"),
    ],
)
def test_indexing_means_what_it_means_in_numpy(key: object, formula: str) -> None:
    g, x, _ = graph()
    picked = g.node("picked", x[key])
    run = g.run(VALUES)
    expected = VALUES["x"][key]
    assert picked.formula == formula
    assert picked.shape == expected.shape
    np.testing.assert_array_equal(run.value("picked"), expected)
    positions = np.arange(12).reshape(3, 4)[key].ravel()
    np.testing.assert_array_equal(run.jacobian("picked", "x").toarray(), np.eye(12)[positions])


def test_a_node_as_an_index_takes_along_its_axis() -> None:
    g, x, k = graph()
    rows, cols, last = g.node("rows", x[k]), g.node("cols", x[:, k]), g.node("last", x[..., k])
    run = g.run(VALUES)
    assert rows.formula == "take(x, k)"
    assert cols.formula == "take(x, k, axis=1)"
    assert last.formula == "take(x, k, axis=-1)"
    np.testing.assert_array_equal(run.value("rows"), VALUES["x"][LABELS])
    np.testing.assert_array_equal(run.value("cols"), VALUES["x"][:, LABELS])
    np.testing.assert_array_equal(run.value("last"), VALUES["x"][:, LABELS])
    assert run.jacobian("rows", "k").nnz == 0
    total = g.node("total", ge.sum(x[k] ** 2))
    counts = np.bincount(LABELS, minlength=3)[:, None]
    gradient = g.run(VALUES).gradient("x", of=total)
    np.testing.assert_array_equal(gradient, 2 * counts * VALUES["x"])


def test_an_array_of_floats_as_an_index_is_taken_too() -> None:
    _, x, _ = graph()
    assert x[:, np.array([1.0, 3.0])].formula == "take(x, [1, 3], axis=1)"


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        (lambda x, k: x[0, k], "beside a computed index"),
        (lambda x, k: x[k, k], "beside a computed index"),
        (lambda x, k: x[k, None], "beside a computed index"),
        (lambda x, k: x[ge.greater(k, 0.0)], "use where"),
        (lambda x, k: x[1.5], "got 1.5"),
    ],
)
def test_indices_that_cannot_be_are_refused(pick: object, message: str) -> None:
    _, x, k = graph()
    with pytest.raises(OpError, match=message):
        pick(x, k)  # type: ignore[operator]


def test_out_of_range_names_axis_and_size() -> None:
    _, x, _ = graph()
    with pytest.raises(ShapeError, match=r"index on axis 1, which has size 4, got 4"):
        x[:, 4]


def test_brackets_where_the_order_of_python_needs_them() -> None:
    _, x, _ = graph()
    assert (x + 1)[0].formula == "(x + 1)[0]"
    assert (x + 1).T.formula == "(x + 1).T"
    assert (-x.T[0]).formula == "-x.T[0]"


def test_transpose_and_ndim() -> None:
    g, x, _ = graph()
    g.node("t", x.T)
    run = g.run(VALUES)
    assert (x.T.shape, x.T.ndim, x[0].ndim, x[0, 0].ndim) == ((4, 3), 2, 1, 0)
    np.testing.assert_array_equal(run.value("t"), VALUES["x"].T)
    permutation = np.eye(12)[np.arange(12).reshape(3, 4).T.ravel()]
    np.testing.assert_array_equal(run.jacobian("t", "x").toarray(), permutation)


def test_a_loop_over_a_node_is_refused() -> None:
    _, x, _ = graph()
    with pytest.raises(GraphError, match="loop over its entries"):
        list(x)
    with pytest.raises(GraphError, match="loop over its entries"):
        sum(x)


def test_nodes_are_compared_as_in_numpy() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.node("m", (x > 1) * (x <= 3) + (x < -1) + (x <= 2) * 10 + (x >= 1) * 100)
    found = g.run({"x": [-2.0, 1.0, 3.0]}).value("m")
    assert np.array_equal(found, [11.0, 110.0, 101.0])
    assert g["m"].formula == "(x > 1) * (x <= 3) + (x < -1) + (x <= 2) * 10 + (x >= 1) * 100"
