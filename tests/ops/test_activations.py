from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from graphengine.check.reference import complex_step
from graphengine.errors import OpError, ShapeError
from graphengine.ops import OPS, function
from tests.ops.reference import dense, exact, exact_slope, jacobian, margin, slopes, value

EVERYWHERE = [-1000.0, -40.0, -3.0, -1.0, -1e-10, 0.0, 1e-10, 0.5, 1.0, 3.0, 40.0, 1000.0]


def logistic(x):
    return 1 / (1 + mp.exp(-x))


SMOOTH = {
    "tanh": mp.tanh,
    "sigmoid": logistic,
    "softplus": lambda x: mp.log(1 + mp.exp(x)),
    "swish": lambda x: x * logistic(x),
    "gelu": lambda x: x * mp.ncdf(x),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_values_are_those_of_mpmath_also_where_they_are_small(name):
    points = [x for x in EVERYWHERE if name != "gelu" or abs(x) < 100]
    expected = [exact(SMOOTH[name], x) for x in points]
    rtol = 1e-12 if name == "gelu" else 1e-14  # exp(-x²/2) at -40 loses three digits
    assert_allclose(value(name, points), expected, rtol=rtol)


@pytest.mark.parametrize("name", SMOOTH)
def test_slopes_are_those_of_mpmath(name):
    points = [x for x in EVERYWHERE if name != "gelu" or abs(x) < 100]
    expected = [exact_slope(SMOOTH[name], x) for x in points]
    assert_allclose(slopes(name, points), expected, rtol=1e-12, atol=2e-16)


@pytest.mark.parametrize("name", ["softplus", "swish", "gelu"])
def test_slopes_keep_their_digits_below_0(name):
    points = [-36.0, -20.0, -5.0]
    expected = [exact_slope(SMOOTH[name], x) for x in points]
    assert_allclose(slopes(name, points), expected, rtol=1e-12)


@pytest.mark.parametrize("name", [*SMOOTH, "relu", "leaky_relu", "elu"])
@given(x=st.floats(-50, 50).filter(lambda x: abs(x) > 1e-9))
@settings(max_examples=25)
def test_the_complex_step_gives_the_slope(name, x):
    found = complex_step(OPS[name]().forward, np.array([x]), np.ones(1))
    assert_allclose(slopes(name, [x]), found, rtol=1e-12, atol=1e-15)


def test_scipy_agrees_in_every_layout():
    x = np.random.default_rng(0).normal(size=(4, 6)) * 5
    for view in (x, x[::2, ::-3], x.T, x[0, 0], np.zeros((0, 3))):
        before = np.array(view)
        assert_allclose(value("sigmoid", view), scipy.special.expit(view), rtol=1e-15)
        assert_allclose(value("softplus", view), np.logaddexp(0, view), rtol=1e-14)
        erf = scipy.special.erf(view / np.sqrt(2))
        assert_allclose(value("gelu", view), 0.5 * view * (1 + erf), atol=1e-15)
        assert_array_equal(view, before)


def test_far_from_0_everything_is_finite_and_right():
    x = [-1000.0, 1000.0]
    assert_array_equal(value("sigmoid", x), [0.0, 1.0])
    assert_array_equal(value("softplus", x), [0.0, 1000.0])
    assert_array_equal(slopes("softplus", x), [0.0, 1.0])
    assert_array_equal(value("swish", x), [0.0, 1000.0])
    assert_array_equal(slopes("swish", x), [0.0, 1.0])
    assert_array_equal(value("gelu", x), [0.0, 1000.0])
    assert_array_equal(slopes("gelu", x), [0.0, 1.0])
    assert_array_equal(value("elu", x), [-1.0, 1000.0])
    assert_array_equal(slopes("elu", x), [0.0, 1.0])


# --- kinks --------------------------------------------------------------------------------


def test_relu_has_slope_0_at_0():
    x = [-2.0, -0.0, 0.0, 1e-300, 3.0]
    assert_array_equal(value("relu", x), np.maximum(x, 0))
    assert_array_equal(slopes("relu", x), [0.0, 0.0, 0.0, 1.0, 1.0])
    assert margin("relu", [-2.0, 0.25, 3.0]) == 0.25


def test_relu_shows_what_is_not_a_number():
    assert np.isnan(value("relu", np.nan))
    assert np.isnan(value("leaky_relu", np.nan))
    assert np.isnan(value("elu", np.nan))


def test_leaky_relu_has_the_slope_of_the_left_at_0():
    x = [-2.0, 0.0, 3.0]
    assert_allclose(value("leaky_relu", x), [-0.02, 0.0, 3.0])
    assert_array_equal(slopes("leaky_relu", x), [0.01, 0.01, 1.0])
    assert_array_equal(slopes("leaky_relu", x, slope=0.3), [0.3, 0.3, 1.0])
    assert_array_equal(value("leaky_relu", x, slope=2.0), [-4.0, 0.0, 3.0])
    assert margin("leaky_relu", x, slope=0.3) == 0.0
    assert margin("leaky_relu", x, slope=1.0) == np.inf


def test_prelu_learns_its_slope():
    x, slope = [-2.0, 0.0, 3.0], [0.25, 0.5, -1.0]
    assert_array_equal(value("prelu", x, slope), [-0.5, 0.0, 3.0])
    assert_array_equal(slopes("prelu", x, slope), [0.25, 0.5, 1.0])
    assert_array_equal(slopes("prelu", x, slope, wrt=1), [-2.0, 0.0, 0.0])
    assert margin("prelu", x, slope) == 0.0


def test_prelu_adds_up_where_one_slope_serves_many():
    x = np.array([[-2.0, 1.0, -0.5], [3.0, -4.0, -1.0]])
    one = jacobian("prelu", x, 0.1, wrt=1)
    assert_array_equal(one.toarray().ravel(), np.minimum(x, 0).ravel())
    each = jacobian("prelu", x, [0.1, 0.2, 0.3], wrt=1)
    assert_array_equal(each.pull(np.ones((2, 3))), [-2.0, -4.0, -1.5])


def test_elu_has_slope_alpha_at_0():
    x = [-2.0, 0.0, 3.0]
    assert_allclose(value("elu", x), [np.expm1(-2.0), 0.0, 3.0], rtol=1e-15)
    assert_allclose(slopes("elu", x), [np.exp(-2.0), 1.0, 1.0], rtol=1e-15)
    assert_allclose(value("elu", x, alpha=0.5), [0.5 * np.expm1(-2.0), 0.0, 3.0], rtol=1e-15)
    assert_allclose(slopes("elu", x, alpha=0.5), [0.5 * np.exp(-2.0), 0.5, 1.0], rtol=1e-15)
    assert margin("elu", x, alpha=0.5) == 0.0
    assert margin("elu", x) == np.inf


def test_elu_with_alpha_1_is_smooth_at_0_for_the_complex_step_too():
    assert complex_step(OPS["elu"]().forward, np.zeros(1), np.ones(1)) == 1.0


# --- maxout -------------------------------------------------------------------------------


def test_maxout_gives_the_gradient_to_the_first_of_equal_ones():
    z = [1.0, 5.0, 2.0, 0.0], [3.0, 5.0, 2.0, 0.0], [2.0, 4.0, 2.0, 1.0]
    assert_array_equal(value("maxout", *z), [3.0, 5.0, 2.0, 1.0])
    assert_array_equal(slopes("maxout", *z, wrt=0), [0.0, 1.0, 1.0, 0.0])
    assert_array_equal(slopes("maxout", *z, wrt=1), [1.0, 0.0, 0.0, 0.0])
    assert_array_equal(slopes("maxout", *z, wrt=2), [0.0, 0.0, 0.0, 1.0])


def test_the_margin_of_maxout_is_that_of_the_two_largest():
    assert margin("maxout", [1.0, 5.0], [3.0, 4.5], [2.75, 1.0]) == 0.25
    assert margin("maxout", [1.0, 5.0], 5.0) == 0.0
    assert margin("maxout", [1.0, 5.0]) == np.inf


def test_maxout_is_broadcast():
    z = np.array([[1.0], [3.0]]), np.array([2.0, 2.5])
    assert_array_equal(value("maxout", *z), [[2.0, 2.5], [3.0, 3.0]])
    assert_array_equal(dense("maxout", *z), [[0, 0], [0, 0], [0, 1], [0, 1]])
    assert_array_equal(dense("maxout", *z, wrt=1), [[1, 0], [0, 1], [0, 0], [0, 0]])
    with pytest.raises(ShapeError, match="broadcast"):
        function("maxout")([[1.0, 2.0], [1.0, 2.0, 3.0]])


def test_maxout_takes_a_list_and_returns_an_array_of_its_own():
    z = np.array([1.0, 2.0])
    found = function("maxout")([z])
    found[0] = 9.0
    assert z[0] == 1.0
    with pytest.raises(OpError, match="at least 1"):
        function("maxout")([])


@pytest.mark.parametrize(
    ("name", "parameters", "board"),
    [
        ("tanh", {}, "diag(1 − out²)"),
        ("sigmoid", {}, "diag(out (1 − out))"),
        ("softplus", {}, "diag(sigmoid(x))"),
        ("swish", {}, "diag(out + sigmoid(x) (1 − out))"),
        ("gelu", {}, "diag(Phi(x) + x phi(x))"),
        ("relu", {}, "diag(x > 0)"),
        ("leaky_relu", {"slope": 0.2}, "diag(where(x > 0, 1, 0.2))"),
        ("elu", {}, "diag(where(x > 0, 1, exp(x)))"),
        ("elu", {"alpha": 0.5}, "diag(where(x > 0, 1, 0.5 exp(x)))"),
    ],
)
def test_what_is_written_on_the_board(name, parameters, board):
    assert str(jacobian(name, [0.3, 0.6], **parameters)) == board


# --- the lecture --------------------------------------------------------------------------


def test_the_lecture_s_derivatives():
    """S1 and S4: σ' = σ (1 − σ), tanh' = 1 − tanh², softplus' = σ; S3 (d): swish = z σ(z)."""
    z = np.linspace(-4, 4, 9)
    s = 1 / (1 + np.exp(-z))
    assert_allclose(slopes("sigmoid", z), s * (1 - s), rtol=1e-14)
    assert_allclose(slopes("tanh", z), 1 - np.tanh(z) ** 2, rtol=1e-14)
    assert_allclose(slopes("softplus", z), s, rtol=1e-14)
    assert_allclose(slopes("swish", z), s + z * s * (1 - s), rtol=1e-14)


def test_the_lecture_s_unit():
    """S2: σ at w = (2, −3, −3), x = (−1, −2) is 0.73, with slope 0.2 in the score."""
    score = 2.0 * -1.0 + -3.0 * -2.0 - 3.0
    assert round(float(value("sigmoid", score)), 2) == 0.73
    assert round(float(dense("sigmoid", score)[0, 0]), 2) == 0.20
