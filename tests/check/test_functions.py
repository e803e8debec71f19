"""Verdicts on gradients, Jacobians and Hessians of plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der, rosen_hess
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import graphengine as ge
from graphengine.check.functions import slopes as slopes_module
from graphengine.errors import CheckError, TooLargeError
from tests.check.functions import Array, Layers, layers

X = np.array([-1.2, 1.0, 0.7, -0.4, 0.2, 1.6])


# --- right -------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [X, np.ones(4), np.zeros(4), np.arange(1, 6)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
def test_rosenbrock_is_right_at_every_scale(x: Array, scale: float) -> None:
    report = ge.check_gradient(lambda x: scale * rosen(x), lambda x: scale * rosen_der(x), x)
    assert report.verdict == "right", report
    assert report["f/x"].points == 3
    assert report["f/x"].reference == "differences"


@given(layers(), st.sampled_from(["differences", "complex step"]))
def test_smooth_functions_raise_no_alarm(case: Layers, method: Any) -> None:
    if case.name == "softplus":
        method = "differences"  # logaddexp takes no complex numbers
    report = ge.check_jacobian(case.fun, case.jac, case.x, method=method)
    assert report.verdict == "right", report


@given(layers(), st.data())
def test_one_entry_with_the_other_sign_is_found(case: Layers, data: st.DataObject) -> None:
    matrix = case.jac(case.x)
    row = data.draw(st.integers(0, matrix.shape[0] - 1))
    col = data.draw(st.integers(0, matrix.shape[1] - 1))
    # what an entry contributes must not drown in the rounding of the value
    seen = abs(matrix[row, col] * case.x[col]) > 1e-10 * abs(case.fun(case.x)[row])
    matrix[row, col] *= -1
    result = ge.check_jacobian(case.fun, lambda _: matrix, case.x, points=1)["J/x"]
    if seen and matrix[row, col]:
        assert result.verdict == "wrong"
        assert result.worst is not None
        assert result.worst.index == (row, col)
        assert result.relative_error == pytest.approx(2.0, rel=1e-4)


def test_least_squares_residuals_gradient_and_hessian_agree() -> None:
    rng = np.random.default_rng(0)
    t, y = np.linspace(0.1, 2, 15), rng.normal(size=15)

    def residuals(x: Array, t: Array, y: Array) -> Array:
        return x[0] * np.exp(-x[1] * t) + x[2] - y

    def jac(x: Array, t: Array, y: Array) -> Array:
        decay = np.exp(-x[1] * t)
        return np.column_stack([decay, -x[0] * t * decay, np.ones_like(t)])

    def cost(x: Array, t: Array, y: Array) -> Any:
        return 0.5 * np.sum(residuals(x, t, y) ** 2)

    def grad(x: Array, t: Array, y: Array) -> Array:
        return jac(x, t, y).T @ residuals(x, t, y)

    def hess(x: Array, t: Array, y: Array) -> Array:
        matrix = jac(x, t, y).T @ jac(x, t, y)
        r, decay = residuals(x, t, y), np.exp(-x[1] * t)
        matrix[0, 1] -= r @ (t * decay)
        matrix[1, 0] -= r @ (t * decay)
        matrix[1, 1] += r @ (x[0] * t * t * decay)
        return matrix

    x, args = [1.5, 0.8, -0.3], (t, y)
    assert ge.check_jacobian(residuals, jac, x, args=args).verdict == "right"
    assert ge.check_gradient(cost, grad, x, args=args).verdict == "right"
    for given_grad in (None, grad):
        report = ge.check_hessian(cost, hess, x, args=args, grad=given_grad)
        assert report.verdict == "right", report
        gauss_newton = lambda x, t, y: jac(x, t, y).T @ jac(x, t, y)  # noqa: E731 (one line)
        report = ge.check_hessian(cost, gauss_newton, x, args=args, grad=given_grad)
        assert report.verdict == "wrong"
    assert ge.check_hessian(grad, hess, x, args=args).verdict == "right"
    assert ge.check_hessian(cost, hess, x, args=args, method="complex step").verdict == "right"


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of np.matrix
@pytest.mark.parametrize(
    "form",
    [np.asarray, np.matrix, sp.csr_array, sp.coo_matrix, sp.dia_array, aslinearoperator, list],
    ids=lambda form: form.__name__,
)
def test_every_form_of_a_matrix_is_read(form: Callable[[Array], Any]) -> None:
    jac = lambda x: form(rosen_hess(x))  # noqa: E731 (one line)
    assert ge.check_jacobian(rosen_der, jac, X).verdict == "right"
    assert ge.check_hessian(rosen, jac, X, grad=rosen_der).verdict == "right"
    wrong = ge.check_jacobian(rosen_der, lambda x: form(-rosen_hess(x)), X)
    assert [mistake.kind for mistake in wrong["J/x"].mistakes] == ["sign"]


def test_values_and_derivatives_in_one_function() -> None:
    assert ge.check_gradient(lambda x: (rosen(x), rosen_der(x)), True, X).verdict == "right"
    pair = lambda x: (rosen_der(x), rosen_hess(x))  # noqa: E731 (one line)
    assert ge.check_jacobian(pair, True, X).verdict == "right"
    both = lambda x: (rosen(x), rosen_der(x))  # noqa: E731 (one line)
    assert ge.check_hessian(both, rosen_hess, X, grad=True).verdict == "right"


def test_equal_seeds_give_equal_reports() -> None:
    reports = [str(ge.check_gradient(rosen, rosen_der, X, seed=5)) for _ in range(2)]
    assert reports[0] == reports[1]
    assert reports[0] != str(ge.check_gradient(rosen, rosen_der, X, seed=6))


def test_x_is_not_changed_and_extra_points_are_reported() -> None:
    x = X.copy()
    report = ge.check_gradient(rosen, rosen_der, x, points=4)
    assert np.array_equal(x, X)
    assert report.notes[0].count("near x") == 3
    assert ge.check_gradient(rosen, rosen_der, x, points=1).notes[0].startswith("x: right")


# --- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: rosen(x.astype(np.float32)),
        lambda x: float(rosen(x.astype(np.float32))),
        lambda x: round(rosen(x), 5),
        lambda x: rosen(x) + 1e12,
        lambda x: rosen(x) + 1e-9 * (hash(x.tobytes()) % 1000),
    ],
    ids=["single", "single in disguise", "rounded", "offset", "rough"],
)
def test_imprecise_functions_have_wider_bars_and_raise_no_alarm(fun: Callable[..., Any]) -> None:
    assert ge.check_gradient(fun, rosen_der, X).verdict != "wrong"
    report = ge.check_gradient(fun, lambda x: -rosen_der(x), X)
    assert report.verdict == "wrong", "what is off by far is still seen"
    assert report["f/x"].mistakes[0].kind == "sign"


def test_a_derivative_in_single_precision_is_right() -> None:
    report = ge.check_gradient(rosen, lambda x: rosen_der(x).astype(np.float32), X)
    assert report.verdict == "right", report


def test_rounded_values_need_their_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    fun, grad = (lambda x: round(0.001 * x[0], 7)), (lambda x: np.array([0.001]))
    assert ge.check_gradient(fun, grad, [1.0]).verdict != "wrong"
    monkeypatch.setattr(slopes_module, "_stairs", lambda high, low, here: np.zeros(high.shape[1:]))
    monkeypatch.setattr(slopes_module, "_noise", lambda odd, *_: np.zeros(odd.shape[1:]))
    assert ge.check_gradient(fun, grad, [1.0]).verdict == "wrong", "a false alarm"


def test_a_small_entry_beside_a_large_one_is_judged_where_it_can_be_seen() -> None:
    fun = lambda x: 1e5 * x[0] + 1e-4 * x[1]  # noqa: E731 (one line)
    assert ge.check_gradient(fun, lambda x: [1e5, 1e-4], [1.0, 1.0]).verdict == "right"
    for claimed in (0.0, 2e-4, -1e-4):
        report = ge.check_gradient(fun, lambda x, c=claimed: [1e5, c], [1.0, 1.0])
        assert report.verdict == "wrong", report
    hidden = ge.check_gradient(lambda x: 1e16 * x[0] + x[1], lambda x: [1e16, 500.0], [1.0, 1.0])
    assert hidden.verdict == "wrong"
    hidden = ge.check_gradient(lambda x: 1e16 * x[0] + x[1], lambda x: [1e16, 30.0], [1.0, 1.0])
    assert hidden.verdict == "undecided"
    assert "cannot resolve entry [1]" in hidden["f/x"].what


def test_claims_that_cancel_are_allowed_their_rounding() -> None:
    matrix = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    report = ge.check_jacobian(lambda x: x.copy(), lambda x: matrix.T @ matrix, np.ones(8))
    assert report.verdict == "right", report


@pytest.mark.parametrize("power", [3, 6, 9])
def test_functions_that_vary_over_short_distances_raise_no_alarm(power: int) -> None:
    k = 10.0**power
    for fun, slope in (
        (lambda x: np.sin(k * x), lambda x: k * np.cos(k * x)),
        (lambda x: np.tanh(k * x), lambda x: k / np.cosh(np.minimum(k * np.abs(x), 300)) ** 2),
        (lambda x: np.exp(-((k * x) ** 2)), lambda x: -2 * k * k * x * np.exp(-((k * x) ** 2))),
    ):
        for x in ([0.0], [0.3 / k]):
            report = ge.check_jacobian(fun, lambda x, s=slope: np.diag(s(x)), x, points=1)
            assert report.verdict != "wrong", report


# --- undecided ---------------------------------------------------------------------------------


def test_a_kink_is_undecided_between_the_slopes_and_wrong_outside() -> None:
    fun = lambda x: float(np.abs(x).sum())  # noqa: E731 (one line)
    x = np.array([0.0, 1.0, -2.0])
    result = ge.check_gradient(fun, np.sign, x)["f/x"]
    assert result.verdict == "undecided"
    assert "kink at x: entry [0], slopes -1 and 1" in result.what
    for claimed, kind in ((3.0, "unknown"), (np.nan, "unknown")):
        grad = lambda x, c=claimed: np.where(x == 0, c, np.sign(x))  # noqa: E731 (one line)
        result = ge.check_gradient(fun, grad, x)["f/x"]
        assert (result.verdict, result.mistakes[0].kind) == ("wrong", kind)


def test_both_sides_of_a_tie_get_all() -> None:
    fun = lambda x: max(2 * x[0], x[0]) + x[1]  # noqa: E731 (one line)

    def both(x: Array) -> Array:
        return np.array([2.0 * (x[0] >= 0) + (x[0] <= 0), 1.0])

    result = ge.check_gradient(fun, both, [0.0, 1.0])["f/x"]
    assert (result.verdict, result.mistakes[0].kind) == ("wrong", "tie")
    assert "their sum 3" in result.what

    largest = lambda x: float(np.max(x))  # noqa: E731 (one line)
    result = ge.check_gradient(largest, lambda x: 1.0 * (x == x.max()), [1.0, 1.0, 0.5])["f/x"]
    assert (result.verdict, result.mistakes[0].kind) == ("wrong", "tie")
    assert result.relative_error == pytest.approx(0.5)
    shared = lambda x: (x == x.max()) / np.sum(x == x.max())  # noqa: E731 (one line)
    assert ge.check_gradient(largest, shared, [1.0, 1.0, 0.5]).verdict == "undecided"


def test_kinks_of_the_slope_are_no_kinks_of_the_function() -> None:
    fun, grad = (lambda x: np.maximum(x, 0) @ np.maximum(x, 0)), (lambda x: 2 * np.maximum(x, 0))
    assert ge.check_gradient(fun, grad, [0.0, 1.0, -1.0]).verdict == "right"
    hess = lambda x: np.diag(2.0 * (x > 0))  # noqa: E731 (one line)
    for given_grad in (None, grad):
        report = ge.check_hessian(fun, hess, [0.0, 1.0, -1.0], grad=given_grad)
        assert report.verdict == "undecided", report
        assert ge.check_hessian(fun, hess, [0.5, 1.0, -1.0], grad=given_grad).verdict == "right"


@pytest.mark.parametrize(
    ("fun", "grad", "x", "says"),
    [
        (lambda x: np.log(x).sum(), lambda x: 1 / x, [-1.0, 1.0], "fun(x) is not finite"),
        (
            lambda x: np.sqrt(x).sum(),
            lambda x: 0.5 / np.sqrt(x),
            [0.0, 1.0],
            "cannot resolve entry [0]: fun is not finite on both sides",
        ),
        (lambda x: float(np.sum(x > 0)), np.zeros_like, [0.0, 1.0], "cannot resolve entry [0]"),
        (
            lambda x, rng=np.random.default_rng(0): rosen(x) + rng.normal(),  # noqa: B008 (a state)
            rosen_der,
            [0.5, 1.0],
            "fun(x) gives another value when it is called again",
        ),
    ],
    ids=["not finite", "one side", "jump", "random"],
)
def test_where_nothing_can_be_said_the_report_says_why(
    fun: Callable[..., Any], grad: Callable[..., Any], x: list[float], says: str
) -> None:
    result = ge.check_gradient(fun, grad, x)["f/x"]
    assert result.verdict == "undecided"
    assert says in result.what


def test_a_domain_with_an_edge_near_x_is_no_obstacle() -> None:
    for fun, grad, x in (
        (lambda x: np.log(x).sum(), lambda x: 1 / x, [1e-3, 1.0]),
        (lambda x: math.log(x[0] - 1), lambda x: [1 / (x[0] - 1)], [1.01]),
        (lambda x: math.sqrt(1 - x[0]), lambda x: [-0.5 / math.sqrt(1 - x[0])], [0.99]),
    ):
        assert ge.check_gradient(fun, grad, x).verdict == "right"


def test_complex_step_is_not_believed_where_it_does_not_hold() -> None:
    report = ge.check_jacobian(np.abs, lambda x: np.diag(np.sign(x)), X, method="complex step")
    assert report.verdict == "undecided"
    assert "complex step gives other slopes" in report["J/x"].what
    report = ge.check_gradient(
        lambda x: math.exp(x[0]), lambda x: [1.0], [0.0], method="complex step"
    )
    assert report.verdict == "undecided"
    assert "complex step cannot be used" in report["f/x"].what


def test_a_gradient_that_is_none_leaves_its_hessian_undecided() -> None:
    twisted = lambda x: np.array([x[1], -x[0]])  # noqa: E731 (one line)
    result = ge.check_hessian(twisted, lambda x: np.zeros((2, 2)), [1.0, 2.0])["hessian"]
    assert result.verdict == "undecided"
    assert "not symmetric" in result.what
    other = ge.check_hessian(rosen, rosen_hess, X, grad=lambda x: 2 * rosen_der(x))["hessian"]
    assert other.verdict == "undecided"
    assert "grad is not the gradient of fun" in other.what


# --- errors ------------------------------------------------------------------------------------


def test_functions_that_raise_are_errors_of_the_claim() -> None:
    def fails(x: Array) -> Any:
        raise RuntimeError("no licence")

    for fun, grad in ((fails, rosen_der), (rosen, fails)):
        result = ge.check_gradient(fun, grad, X)["f/x"]
        assert result.verdict == "error"
        assert result.what.endswith("raises RuntimeError: no licence")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ge.check_gradient(rosen, rosen_der, [1.0, np.nan]), "x: expected finite numbers"),
        (lambda: ge.check_gradient(rosen, rosen_der, np.eye(2)), "x: expected a vector"),
        (lambda: ge.check_gradient(rosen, rosen_der, []), "x: expected at least one number"),
        (lambda: ge.check_gradient(rosen, rosen_der, ["a"]), "x: expected real numbers"),
        (lambda: ge.check_gradient(rosen_der, rosen_der, X), "fun(x): expected one number"),
        (lambda: ge.check_gradient(rosen, True, X), "fun(x): expected a pair"),
        (lambda: ge.check_gradient(rosen, "2-point", X), "grad: expected a function"),
        (lambda: ge.check_gradient("rosen", rosen_der, X), "fun: expected a function"),
        (lambda: ge.check_gradient(rosen, lambda x: "text", X), "the derivative: expected real"),
        (lambda: ge.check_gradient(rosen, lambda x: [[1], [1, 2]], X), "the derivative: expected"),
        (lambda: ge.check_gradient(lambda x: 1j, rosen_der, X), "fun(x): expected real numbers"),
        (lambda: ge.check_jacobian(rosen_hess, rosen_hess, X), "fun(x): expected a number or a v"),
        (lambda: ge.check_gradient(rosen, rosen_der, X, points=0), "at least 1 point"),
        (lambda: ge.check_gradient(rosen, rosen_der, X, method="exact"), "method='exact'"),
        (lambda: ge.check_gradient(rosen, rosen_der, X, directions=0), "directions=0"),
        (lambda: ge.check_hessian(lambda x: x**2, rosen_hess, [1.0]), "which may be a function or"),
        (lambda: ge.check_hessian(lambda x: x[:2], rosen_hess, X), "expected one number, or a gr"),
        (
            lambda: ge.check_hessian(rosen, rosen_hess, X, grad=rosen),
            "expected a gradient of shape",
        ),
        (lambda: ge.check_hessian(rosen, rosen_hess, X, directions=2), "expected the gradient as"),
    ],
)
def test_arguments_that_make_no_check_possible(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(CheckError) as caught:
        call()
    assert message in str(caught.value)


def test_what_is_too_large_says_what_to_do() -> None:
    with pytest.raises(TooLargeError, match="give the gradient too"):
        ge.check_hessian(rosen, rosen_hess, np.ones(300))
    big = LinearOperator((3000, 3000), matvec=lambda v: v.sum() * np.ones(3000), dtype=float)
    with pytest.raises(TooLargeError, match="directions"):
        ge.check_jacobian(lambda x: x.sum() * np.ones(3000), lambda x: big, np.ones(3000), points=1)
