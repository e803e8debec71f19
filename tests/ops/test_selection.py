from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import graphengine as ge
from graphengine.errors import ShapeError
from graphengine.ops import OPS, function
from tests.ops.reference import dense, jacobian, margin, slopes, value

COMPARISONS = {
    "greater": (np.greater, ">"),
    "less": (np.less, "<"),
    "greater_equal": (np.greater_equal, ">="),
    "less_equal": (np.less_equal, "<="),
    "equal": (np.equal, "=="),
    "not_equal": (np.not_equal, "!="),
}
X, Y = [1.0, 2.0, 3.0, np.inf], [2.0, 2.0, 1.0, np.inf]


def test_maximum_gives_the_gradient_to_the_first_of_equal_ones():
    assert_array_equal(value("maximum", X, Y), np.maximum(X, Y))
    assert_array_equal(slopes("maximum", X, Y), [0.0, 1.0, 1.0, 1.0])
    assert_array_equal(slopes("maximum", X, Y, wrt=1), [1.0, 0.0, 0.0, 0.0])


def test_minimum_gives_the_gradient_to_the_first_of_equal_ones():
    assert_array_equal(value("minimum", X, Y), np.minimum(X, Y))
    assert_array_equal(slopes("minimum", X, Y), [1.0, 1.0, 0.0, 1.0])
    assert_array_equal(slopes("minimum", X, Y, wrt=1), [0.0, 0.0, 1.0, 0.0])


@pytest.mark.parametrize("name", ["maximum", "minimum", *COMPARISONS])
def test_the_margin_is_the_distance_of_the_two(name):
    assert margin(name, [1.0, 5.0], [1.5, 3.0]) == 0.5
    assert margin(name, [1.0, 5.0], 5.0) == 0.0
    assert margin(name, np.inf, np.inf) == 0.0
    assert margin(name, np.zeros(0), 1.0) == np.inf


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_what_is_not_a_number_shows(name):
    assert np.isnan(value(name, [np.nan, 1.0], [1.0, np.nan])).all()


def test_a_number_collects_the_gradient_of_all_entries():
    x = np.array([[-1.0, 2.0, 0.5], [0.0, -3.0, 4.0]])
    found = jacobian("maximum", x, 0.25, wrt=1)
    assert found.pull(np.array([[1.0, 10.0, 100.0], [1000.0, 1e4, 1e5]])) == 1 + 1000 + 1e4


# --- where --------------------------------------------------------------------------------


def test_where_takes_anything_but_0_for_true():
    condition = [0.0, 1.0, -2.0, -0.0, 0.5]
    assert_array_equal(value("where", condition, 1.0, 2.0), [2.0, 1.0, 1.0, 2.0, 1.0])
    x = np.arange(5.0)
    assert_array_equal(slopes("where", condition, x, x, wrt=1), [0, 1, 1, 0, 1])
    assert_array_equal(slopes("where", condition, x, x, wrt=2), [1, 0, 0, 1, 0])
    assert jacobian("where", condition, x, x, wrt=0).nnz == 0


def test_the_branch_not_taken_may_be_anything():
    condition, x, y = [1.0, 1.0, 0.0], [2.0, 3.0, np.nan], [np.nan, np.inf, 5.0]
    assert_array_equal(value("where", condition, x, y), [2.0, 3.0, 5.0])
    assert_array_equal(slopes("where", condition, x, y, wrt=1), [1.0, 1.0, 0.0])
    assert_array_equal(slopes("where", condition, x, y, wrt=2), [0.0, 0.0, 1.0])


def test_the_branch_not_taken_does_not_spoil_the_gradient():
    g = ge.Graph()
    x = g.parameter("x", (4,))
    g.result("J", ge.sum(ge.where(ge.greater(x, 0), ge.log(x), ge.sqrt(-x))))
    run = g.run({"x": [2.0, -4.0, 0.5, -1.0]})
    expected = [1 / 2.0, -1 / 4.0, 1 / 0.5, -1 / 2.0]
    assert_array_equal(run.gradient("x"), expected)
    assert_array_equal(run.jacobian("J", "x").toarray(), [expected])


def test_where_is_broadcast_from_all_three():
    condition, x, y = np.array([[1.0], [0.0]]), np.array([1.0, 2.0, 3.0]), np.array(9.0)
    assert_array_equal(value("where", condition, x, y), [[1.0, 2.0, 3.0], [9.0, 9.0, 9.0]])
    assert_array_equal(dense("where", condition, x, y, wrt=1), np.eye(6)[:, :3])
    assert_array_equal(dense("where", condition, x, y, wrt=2).ravel(), [0, 0, 0, 1, 1, 1])
    with pytest.raises(ShapeError, match="broadcast"):
        function("where")([1.0, 0.0], [1.0, 2.0, 3.0], 0.0)


# --- clip ---------------------------------------------------------------------------------


def test_clip_has_slope_1_on_the_closed_interval():
    x = [-3.0, -1.0, 0.5, 2.0, 2.5]
    assert_array_equal(value("clip", x, -1.0, 2.0), np.clip(x, -1.0, 2.0))
    assert_array_equal(slopes("clip", x, -1.0, 2.0), [0.0, 1.0, 1.0, 1.0, 0.0])
    assert_array_equal(dense("clip", x, -1.0, 2.0, wrt=1).ravel(), [1, 0, 0, 0, 0])
    assert_array_equal(dense("clip", x, -1.0, 2.0, wrt=2).ravel(), [0, 0, 0, 0, 1])


def test_clip_takes_an_infinite_bound():
    x = [-3.0, 1.0, 1e300]
    assert_array_equal(value("clip", x, 0.0, np.inf), [0.0, 1.0, 1e300])
    assert_array_equal(slopes("clip", x, 0.0, np.inf), [0.0, 1.0, 1.0])
    assert margin("clip", x, 0.0, np.inf) == 1.0


@given(numbers=st.lists(st.integers(-3, 3), min_size=3, max_size=3))
@settings(max_examples=60)
def test_clip_passes_the_whole_gradient_to_one_argument(numbers):
    x, low, high = ([float(n)] for n in numbers)
    assert value("clip", x, low, high) == np.clip(x, low, high)  # also for crossed bounds
    shares = [slopes("clip", x, low, high, wrt=k) for k in range(3)]
    assert sum(shares) == 1.0
    winner = (x, low, high)[int(np.argmax(shares))]
    assert winner == value("clip", x, low, high)


@given(numbers=st.lists(st.integers(-3, 3), min_size=3, max_size=3))
@settings(max_examples=60)
def test_the_margin_of_clip_is_0_only_where_two_arguments_meet(numbers):
    x, low, high = map(float, numbers)
    meets = x in (low, high) or low == high
    assert margin("clip", x, low, high) > 0 or meets
    if x in (low, high) and low < high:
        assert margin("clip", x, low, high) == 0


# --- comparisons --------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_ones_and_zeros_with_derivative_0(name):
    x, y = np.array([[1.0, 2.0, np.nan]]), np.array([[2.0], [1.0]])
    found = value(name, x, y)
    assert found.dtype == float
    assert_array_equal(found, COMPARISONS[name][0](x, y).astype(float))
    assert jacobian(name, x, y).nnz == jacobian(name, x, y, wrt=1).nnz == 0


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_look_at_real_parts(name):
    x, y = np.array([1.0 + 1e-30j, 2.0]), np.array([1.0, 2.0 + 1e-30j])
    assert_array_equal(OPS[name]().forward(x, y), value(name, x.real, y.real))


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_written_with_their_sign(name):
    g = ge.Graph()
    x, y = g.input("x"), g.input("y")
    sign = COMPARISONS[name][1]
    compare = function(name)
    assert g.node("a", compare(x + 1, y * 2)).formula == f"x + 1 {sign} y * 2"
    assert g.node("b", compare(compare(x, y), y) * x).formula == f"((x {sign} y) {sign} y) * x"
    assert g.node("c", ge.where(compare(x, y), x, y)).formula == f"where(x {sign} y, x, y)"


@pytest.mark.parametrize(
    ("name", "args", "wrt", "board"),
    [
        ("maximum", (X, Y), 0, "diag(x ≥ y)"),
        ("maximum", (X, Y), 1, "diag(y > x)"),
        ("minimum", (X, Y), 0, "diag(x ≤ y)"),
        ("minimum", (X, Y), 1, "diag(y < x)"),
        ("where", (X, X, Y), 0, "0"),
        ("where", (X, X, Y), 1, "diag(condition ≠ 0)"),
        ("where", (X, X, Y), 2, "diag(condition = 0)"),
        ("clip", (X, Y, Y), 0, "diag(low <= x <= high)"),
    ],
)
def test_what_is_written_on_the_board(name, args, wrt, board):
    assert str(jacobian(name, *args, wrt=wrt)) == board
