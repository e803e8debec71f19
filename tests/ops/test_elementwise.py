from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from graphengine.check.reference import complex_step
from graphengine.ops import OPS
from graphengine.ops.elementwise import distance
from tests.ops.reference import dense, exact, exact_slope, jacobian, margin, slopes, value

SMOOTH = {
    "exp": (mp.exp, [-700.0, -30.0, -1.0, 0.0, 1e-10, 1.0, 700.0]),
    "log": (mp.log, [1e-300, 1e-9, 0.5, 1.0 + 1e-9, 3.0, 1e300]),
    "log1p": (lambda x: mp.log(1 + x), [-1 + 1e-9, -0.5, 1e-300, 1e-15, 5.0, 1e300]),
    "expm1": (lambda x: mp.exp(x) - 1, [-700.0, -1.0, 1e-15, 1.0, 700.0]),
    "sqrt": (mp.sqrt, [1e-300, 0.5, 2.0, 1e300]),
    "square": (lambda x: x * x, [-1e150, -0.3, 0.0, 1e-150, 7.0]),
    "reciprocal": (lambda x: 1 / x, [-1e150, -1e-150, 0.3, 7.0]),
    "sin": (mp.sin, [-1e5, -30.0, 0.0, 1e-10, 0.5, 100.0]),
    "cos": (mp.cos, [-1e5, -30.0, 0.0, 1e-10, 0.5, 100.0]),
    "tan": (mp.tan, [-30.0, 0.0, 1e-10, 0.5, 1.57]),
    "arcsin": (mp.asin, [-1 + 1e-12, -0.5, 1e-10, 0.999]),
    "arccos": (mp.acos, [-1 + 1e-12, -0.5, 1e-10, 0.999]),
    "arctan": (mp.atan, [-1e10, -0.5, 0.0, 1e-10, 1e200]),
    "sinh": (mp.sinh, [-700.0, -1.0, 0.0, 1e-10, 700.0]),
    "cosh": (mp.cosh, [-700.0, -1.0, 0.0, 1e-10, 700.0]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_values_and_slopes_are_those_of_mpmath(name):
    function, points = SMOOTH[name]
    assert_allclose(value(name, points), [exact(function, x) for x in points], rtol=1e-14)
    assert_allclose(slopes(name, points), [exact_slope(function, x) for x in points], rtol=1e-14)


DOMAINS = {"log": (1e-6, 1e6), "sqrt": (1e-6, 1e6), "log1p": (-0.99, 1e6)} | dict.fromkeys(
    ["arcsin", "arccos"], (-0.99, 0.99)
)


@pytest.mark.parametrize("name", SMOOTH)
@given(data=st.data())
@settings(max_examples=25)
def test_the_complex_step_gives_the_slope(name, data):
    low, high = DOMAINS.get(name, (-20.0, 20.0))
    x = np.array([data.draw(st.floats(low, high).filter(lambda x: abs(x) > 1e-9))])
    found = complex_step(OPS[name]().forward, x, np.ones(1))
    assert_allclose(slopes(name, x), found, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", [*SMOOTH, "abs", "sign"])
def test_numpy_agrees_in_every_layout(name):
    rng = np.random.default_rng(0)
    whole = rng.uniform(0.1, 0.9, (4, 6))
    numpy_function = getattr(np, name)
    for x in (whole, whole[::2, ::-3], whole.T, whole[0, 0], np.zeros((0, 3)) + 0.5):
        before = np.array(x)
        assert_array_equal(value(name, x), numpy_function(x))
        assert_array_equal(x, before)
        assert dense(name, x).shape == (np.size(x), np.size(x))


def test_outside_the_domain_is_nan_and_at_its_edge_infinite():
    assert_array_equal(value("log", [-1.0, 0.0]), [np.nan, -np.inf])
    assert slopes("log", [0.0]) == np.inf
    assert_array_equal(value("sqrt", [-1.0, 0.0]), [np.nan, 0.0])
    assert slopes("sqrt", [0.0]) == np.inf
    assert slopes("log1p", [-1.0]) == np.inf
    assert_array_equal(value("arcsin", [-2.0, 1.0]), [np.nan, np.pi / 2])
    assert_array_equal(slopes("arcsin", [-1.0, 1.0]), [np.inf, np.inf])
    assert_array_equal(slopes("arccos", [-1.0, 1.0]), [-np.inf, -np.inf])
    assert value("reciprocal", 0.0) == np.inf


def test_abs_has_slope_0_at_0():
    x = [-2.0, -0.0, 0.0, 3.0]
    assert_array_equal(value("abs", x), np.abs(x))
    assert not np.signbit(value("abs", x)).any()
    assert_array_equal(slopes("abs", x), [-1.0, 0.0, 0.0, 1.0])
    assert margin("abs", [[-2.0, 0.25], [1.0, 3.0]]) == 0.25


def test_abs_and_sign_continue_to_complex_arguments():
    x, direction = np.array([-2.0, 3.0]), np.array([1.0, 2.0])
    assert_array_equal(complex_step(OPS["abs"]().forward, x, direction), [-1.0, 2.0])
    assert_array_equal(complex_step(OPS["sign"]().forward, x, direction), [0.0, 0.0])


def test_sign_has_derivative_0_everywhere():
    x = [-2.0, 0.0, 3.0]
    assert_array_equal(value("sign", x), [-1.0, 0.0, 1.0])
    assert jacobian("sign", x).nnz == 0
    assert margin("sign", x) == 0.0


def test_distance_counts_what_is_not_a_number_as_a_tie():
    assert distance(np.array([1.0, np.nan])) == 0.0
    assert distance(np.array([np.inf]), np.array([np.inf])) == 0.0
    assert distance(np.array([np.inf]), 1.0) == np.inf
    assert distance(np.array([[3.0], [5.0]]), np.array([2.5, 9.0])) == 0.5


def test_x_log_y_is_0_where_x_is_0():
    x, y = [0.0, 0.0, 0.0, 2.0], [0.0, 3.0, np.inf, 0.5]
    assert_array_equal(value("xlogy", x, y), scipy.special.xlogy(x, y))
    assert_array_equal(slopes("xlogy", x, y, wrt=1), [0.0, 0.0, 0.0, 4.0])
    assert_array_equal(slopes("xlogy", x, y), [-np.inf, np.log(3.0), np.inf, np.log(0.5)])


@pytest.mark.parametrize("wrt", [0, 1])
@pytest.mark.parametrize("point", [(2.0, 0.3), (-1e-9, 1e-300), (1e5, 1e300), (3.0, 1.0)])
def test_the_slopes_of_x_log_y_are_those_of_mpmath(wrt, point):
    def function(x, y):
        return x * mp.log(y)

    assert_allclose(value("xlogy", *point), exact(function, *point), rtol=1e-14)
    found = dense("xlogy", *point, wrt=wrt)
    assert_allclose(found, [[exact_slope(function, *point, wrt=wrt)]], rtol=1e-14)


def test_x_log_y_is_broadcast():
    x, y = np.array([[1.0], [2.0]]), np.array([0.5, 3.0, 4.0])
    assert value("xlogy", x, y).shape == (2, 3)
    log_y = np.log(y)
    expected = np.block([[log_y[:, None], np.zeros((3, 1))], [np.zeros((3, 1)), log_y[:, None]]])
    assert_allclose(dense("xlogy", x, y), expected, rtol=1e-15)
    assert_allclose(dense("xlogy", x, y, wrt=1), np.vstack([np.diag(1 / y), np.diag(2 / y)]))


@pytest.mark.parametrize(
    ("name", "board"),
    {
        "exp": "diag(out)",
        "log": "diag(1 / x)",
        "log1p": "diag(1 / (1 + x))",
        "expm1": "diag(exp(x))",
        "sqrt": "diag(1 / (2 out))",
        "square": "2 diag(x)",
        "reciprocal": "−diag(1 / x²)",
        "abs": "diag(sign(x))",
        "sign": "0",
        "sin": "diag(cos(x))",
        "cos": "−diag(sin(x))",
        "tan": "diag(1 + out²)",
        "arcsin": "diag(1 / sqrt(1 − x²))",
        "arccos": "−diag(1 / sqrt(1 − x²))",
        "arctan": "diag(1 / (1 + x²))",
        "sinh": "diag(cosh(x))",
        "cosh": "diag(sinh(x))",
    }.items(),
)
def test_what_is_written_on_the_board(name, board):
    assert str(jacobian(name, [0.3, 0.6])) == board


def test_the_lecture_s_sine_of_a_square():
    """S0: h(x) = sin(x²), h' = 2x cos(x²)."""
    x = np.array([-1.3, 0.0, 0.7])
    inner = value("square", x)
    chain = jacobian("sin", inner) @ jacobian("square", x)
    assert_allclose(chain.toarray(), np.diag(2 * x * np.cos(x**2)), rtol=1e-15)
