from __future__ import annotations

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import graphengine as ge
from graphengine.errors import ShapeError
from graphengine.ops import function
from tests.ops.reference import dense, exact, jacobian, margin, value

NAMES = ["sum", "mean", "max", "min", "prod", "norm", "sum_of_squares", "logsumexp", "var"]
AXES = [None, 0, 1, -1, (0, 2), (2, 0), (0, 1, 2), ()]


def numpy_value(name, x, axis, keepdims):
    if name == "norm":
        return np.sqrt(np.sum(x**2, axis=axis, keepdims=keepdims))
    if name == "sum_of_squares":
        return np.sum(x**2, axis=axis, keepdims=keepdims)
    if name == "logsumexp":
        return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))
    return getattr(np, name)(x, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", NAMES)
def test_numpy_agrees_over_all_axes_and_layouts(name, axis, keepdims):
    whole = np.random.default_rng(0).normal(size=(4, 3, 8))
    for x in (whole, whole[::2, :, ::-3], whole.transpose(2, 0, 1), np.asfortranarray(whole)):
        before = x.copy()
        found = value(name, x, axis=axis, keepdims=keepdims)
        assert_allclose(found, numpy_value(name, x, axis, keepdims), rtol=1e-13, atol=1e-14)
        assert_array_equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_is_reduced_over_no_axis(name):
    expected = {"norm": 2.5, "sum_of_squares": 6.25, "var": 0.0}.get(name, -2.5)
    assert value(name, -2.5) == expected
    slope = {"norm": -1.0, "sum_of_squares": -5.0, "var": 0.0}.get(name, 1.0)
    assert dense(name, -2.5) == [[slope]]


# --- nothing to reduce --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max", "min", "mean", "var"])
def test_nothing_has_no_extremes_and_no_mean(name):
    with pytest.raises(ShapeError, match=r"1 or more entries to reduce, got 0 \(shape \(3, 0\)"):
        function(name)(np.zeros((3, 0)), axis=1)
    assert value(name, np.zeros((3, 0)), axis=0).shape == (0,)
    assert dense(name, np.zeros((3, 0)), axis=0).shape == (0, 0)


def test_sums_and_products_of_nothing():
    nothing = np.zeros((2, 0))
    results = {"sum": 0.0, "prod": 1.0, "norm": 0.0, "sum_of_squares": 0.0, "logsumexp": -np.inf}
    for name, expected in results.items():
        assert_array_equal(value(name, nothing, axis=1), [expected, expected])
        assert dense(name, nothing, axis=1).shape == (2, 0)
        assert margin(name, nothing, axis=1) == np.inf


def test_variance_wants_more_entries_than_ddof():
    with pytest.raises(ShapeError, match="3 or more entries to reduce, got 2"):
        function("var")([1.0, 2.0], ddof=2)


@pytest.mark.parametrize(("axis", "text"), [(2, "from -2 to 1"), ((0, -2), "each axis once")])
def test_axes_that_are_not_there_are_refused(axis, text):
    with pytest.raises(ShapeError, match=text):
        function("sum")(np.zeros((2, 3)), axis=axis)


# --- ties ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "sign"), [("max", 1.0), ("min", -1.0)])
def test_the_first_of_equal_entries_has_the_whole_gradient(name, sign):
    x = sign * np.array([[1.0, 3.0, 3.0], [3.0, 2.0, 0.0]])
    assert_array_equal(dense(name, x), [[0, 1, 0, 0, 0, 0]])
    assert_array_equal(dense(name, x, axis=0), np.eye(6)[[3, 1, 2]])
    assert_array_equal(dense(name, x, axis=1), np.eye(6)[[1, 3]])
    assert_array_equal(dense(name, np.zeros((2, 3)), axis=1, keepdims=True), np.eye(6)[[0, 3]])


def test_the_first_is_the_first_in_c_order_whatever_the_order_of_the_axes():
    x = np.zeros((2, 2, 2))
    x[1, 0, 0] = x[0, 1, 1] = x[0, 0, 1] = 5.0
    for axes in itertools.permutations((0, 1, 2)):
        assert np.flatnonzero(dense("max", x, axis=axes)) == 1  # (0, 0, 1) comes first
    for axes in ((0, 2), (2, 0)):
        assert_array_equal(dense("max", x, axis=axes), np.eye(8)[[1, 3]])


@given(x=st.lists(st.integers(-2, 2), min_size=12, max_size=12), axis=st.sampled_from(AXES))
@settings(max_examples=60)
def test_the_winner_is_that_of_argmax_and_argmin(x, axis):
    x = np.array(x, dtype=float).reshape(2, 3, 2)
    axes = tuple(range(3)) if axis is None else axis if isinstance(axis, tuple) else (axis % 3,)
    kept = [range(n) if k not in axes else [0] for k, n in enumerate(x.shape)]
    for name, arg in (("max", np.argmax), ("min", np.argmin)):
        matrix = dense(name, x, axis=axis)
        for row, at in enumerate(itertools.product(*kept)):
            part = x[tuple(slice(None) if k in axes else i for k, i in enumerate(at))]
            where = list(at)
            for k, i in zip(sorted(axes), np.unravel_index(arg(part), part.shape), strict=True):
                where[k] = int(i)
            assert np.flatnonzero(matrix[row]) == np.ravel_multi_index(where, x.shape)


def test_the_margin_is_the_lead_of_the_winner():
    x = [[1.0, 5.0, 4.5], [2.0, -1.0, -3.0]]
    assert margin("max", x) == 0.5
    assert margin("max", x, axis=1) == 0.5
    assert margin("max", x, axis=0) == 1.0
    assert margin("min", x, axis=1) == 2.0
    assert margin("max", [1.0, 3.0, 3.0]) == 0.0
    assert margin("max", x, axis=()) == np.inf
    assert margin("max", [2.0]) == np.inf


# --- products -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "others"),
    [
        ([2.0, -3.0, 5.0], [-15.0, 10.0, -6.0]),
        ([2.0, 0.0, 5.0], [0.0, 10.0, 0.0]),
        ([0.0, 3.0, 0.0], [0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]),
        ([0.0, 7.0], [7.0, 0.0]),
        ([0.0], [1.0]),
        ([1e-200, 1e-200, 1e300], [1e100, 1e100, 0.0]),
    ],
)
def test_the_slope_of_a_product_is_the_product_of_the_others(x, others):
    assert_allclose(dense("prod", x), [others], rtol=1e-15)


@given(x=st.lists(st.integers(-2, 2), min_size=12, max_size=12), axis=st.sampled_from(AXES))
@settings(max_examples=60)
def test_products_with_zeros_over_any_axes(x, axis):
    x = np.array(x, dtype=float).reshape(2, 3, 2)
    matrix = dense("prod", x, axis=axis)
    for column in range(12):
        changed = x.copy()
        changed.flat[column] += 1.0  # a product is linear in each entry
        difference = value("prod", changed, axis=axis) - value("prod", x, axis=axis)
        assert_array_equal(matrix[:, column], difference.ravel())


# --- norms --------------------------------------------------------------------------------


def test_the_gradient_of_the_norm_at_0_is_0():
    assert value("norm", [0.0, 0.0, 0.0]) == 0.0
    assert_array_equal(dense("norm", [0.0, 0.0, 0.0]), [[0.0, 0.0, 0.0]])
    rows = [[0.0, 0.0], [3.0, -4.0]]
    assert_array_equal(dense("norm", rows, axis=1), [[0, 0, 0, 0], [0, 0, 0.6, -0.8]])
    assert margin("norm", rows, axis=1) == 0.0
    assert margin("norm", rows) == 5.0


def test_the_squared_norm_has_gradient_0_at_0():
    g = ge.Graph()
    x = g.parameter("x", (3,))
    g.result("J", ge.norm(x) ** 2)
    assert_array_equal(g.run({"x": [0.0, 0.0, 0.0]}).gradient("x"), [0.0, 0.0, 0.0])


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e200, 1e307])
def test_the_norm_neither_overflows_nor_vanishes(scale):
    x = np.array([3.0, 0.0, -4.0]) * scale
    assert_allclose(value("norm", x), np.abs(x[2]) / 0.8, rtol=1e-3 if scale < 1e-300 else 1e-15)
    rtol = 1e-3 if scale < 1e-300 else 1e-15  # few digits are left of subnormal numbers
    assert_allclose(dense("norm", x), [[0.6, 0.0, -0.8]], rtol=rtol)


# --- variance -----------------------------------------------------------------------------


def test_the_variance_of_a_constant_is_exactly_0():
    x = np.full((3, 7), 0.1) * np.array([[1.0], [3.0], [1e9]])
    assert_array_equal(value("var", x, axis=1), [0.0, 0.0, 0.0])
    assert not dense("var", x, axis=1).any()


def test_the_standard_deviation_of_a_constant_has_gradient_0():
    g = ge.Graph()
    x = g.parameter("x", (3,))
    g.result("J", ge.sqrt(ge.var(x)))
    run = g.run({"x": [0.1, 0.1, 0.1]})
    assert run.value("J") == 0.0
    assert_array_equal(run.gradient("x"), [0.0, 0.0, 0.0])
    assert_array_equal(run.jacobian("J", "x").toarray(), [[0.0, 0.0, 0.0]])


@pytest.mark.parametrize("ddof", [0, 1, 2])
def test_variance_with_ddof(ddof):
    x = np.random.default_rng(0).normal(size=(5, 4))
    assert_allclose(value("var", x, ddof=ddof), np.var(x, ddof=ddof), rtol=1e-13)
    assert_allclose(value("var", x, axis=0, ddof=ddof), np.var(x, axis=0, ddof=ddof), rtol=1e-13)
    expected = 2 * (x - x.mean()) / (20 - ddof)
    assert_allclose(dense("var", x, ddof=ddof), expected.reshape(1, 20), rtol=1e-12)


def test_a_large_mean_does_not_spoil_the_variance():
    x = 1e9 + np.array([4.0, 7.0, 13.0, 16.0])
    assert value("var", x, ddof=1) == 30.0
    assert_array_equal(dense("var", x, ddof=1), [[-4.0, -2.0, 2.0, 4.0]])


# --- log-sum-exp --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [
        [1000.0, 999.0, -1000.0],
        [-1000.0, -1001.0, -1002.5],
        [0.1, 0.2, 0.3],
        [1000.0, 1000.0, 1000.0],
        [-np.inf, 1.0, 2.0],
        [-np.inf, -1000.0, -np.inf],
    ],
)
def test_log_sum_exp_far_from_0(x):
    expected = exact(lambda *a: mp.log(mp.fsum(map(mp.exp, a))), *x)
    assert_allclose(value("logsumexp", x), expected, rtol=1e-15)
    probabilities = [exact(lambda *a, k=k: mp.exp(a[k] - expected), *x) for k in range(3)]
    assert_allclose(dense("logsumexp", x), [probabilities], rtol=1e-12)


def test_log_sum_exp_of_nothing_but_minus_infinity():
    x = [[-np.inf, -np.inf], [-np.inf, 3.0]]
    assert_array_equal(value("logsumexp", x, axis=1), [-np.inf, 3.0])
    assert_array_equal(dense("logsumexp", x, axis=1), [[0, 0, 0, 0], [0, 0, 0, 1]])
    assert value("logsumexp", [np.inf, 0.0]) == np.inf


@given(x=st.lists(st.floats(-1000, 1000), min_size=1, max_size=6))
@settings(max_examples=60)
def test_log_sum_exp_and_its_gradient_are_scipy_s(x):
    expected = scipy.special.logsumexp(x)
    assert_allclose(value("logsumexp", x), expected, rtol=1e-14, atol=1e-14)
    assert_allclose(dense("logsumexp", x), [scipy.special.softmax(x)], rtol=1e-9, atol=1e-300)


# --- the lecture and the board ------------------------------------------------------------


def test_the_lecture_s_penalty():
    """S0: r = Σ W², ∂r/∂vec(W) = 2 vec(W)ᵀ."""
    W = np.arange(6.0).reshape(2, 3)
    found = jacobian("sum_of_squares", W)
    assert str(found) == "2 vec(x)ᵀ"
    assert_array_equal(found.toarray(), [[0, 2, 4, 6, 8, 10]])


def test_the_mean_over_a_batch_is_the_mean_of_the_gradients():
    """S0: the mini-batch takes the mean over the examples."""
    assert_allclose(dense("mean", np.zeros((4, 3)), axis=0), np.tile(np.eye(3) / 4, 4))
    assert math.isclose(dense("mean", np.zeros(8)).sum(), 1.0)


@pytest.mark.parametrize(
    ("name", "board"),
    [
        ("sum", "1₂ᵀ"),
        ("mean", "0.5 1₂ᵀ"),
        ("sum_of_squares", "2 xᵀ"),
        ("norm", "(x / out)ᵀ"),
        ("var", "(x − mean(x))ᵀ"),
        ("prod", "(out / x)ᵀ"),
        ("max", "(x = out)ᵀ"),
        ("min", "(x = out)ᵀ"),
        ("logsumexp", "exp(x − out)ᵀ"),
    ],
)
def test_what_is_written_on_the_board(name, board):
    assert str(jacobian(name, [0.3, 0.6])) == board
