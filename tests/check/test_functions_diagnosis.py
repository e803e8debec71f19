"""What is said of wrong gradients, Jacobians and Hessians of plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import rosen, rosen_der, rosen_hess
from scipy.sparse.linalg import LinearOperator

import graphengine as ge
from graphengine.check.report import ClaimResult
from tests.check.functions import Array

Change: TypeAlias = Callable[[Array], Array]
X = np.array([-1.2, 1.0, 0.7, -0.4, 0.2, 1.6])
N = 9
A = np.random.default_rng(3).normal(size=(N, N))
Y = 0.3 * np.random.default_rng(4).normal(size=N)


def layer(x: Array) -> Array:
    return np.tanh(A @ x)


def layer_jac(x: Array) -> Array:
    return (1 - np.tanh(A @ x) ** 2)[:, None] * A


def certain(result: ClaimResult, *kinds: str) -> None:
    """Wrong, and explained by these kinds and nothing else."""
    assert result.verdict == "wrong", result
    assert [mistake.kind for mistake in result.mistakes] == list(kinds), result.what
    assert not result.alternatives
    assert all(mistake.where == result.claim for mistake in result.mistakes)


# --- gradients --------------------------------------------------------------------------------


def only(*places: int) -> Array:
    return np.isin(np.arange(X.size), places)


GRADIENTS: list[tuple[str, Callable[[Array, Array], Array], str]] = [
    ("sign", lambda g, x: -g, "everything is −1 times"),
    ("factor", lambda g, x: 2 * g, "everything is 2 times"),
    ("factor", lambda g, x: g / 2, "1/2 times"),
    ("factor", lambda g, x: -2 * g, "−2 times"),
    ("factor", lambda g, x: g * np.log(2), "log(2)"),
    ("factor", lambda g, x: g / np.log(10), "1/log(10)"),
    ("factor", lambda g, x: g * np.pi / 180, "degrees"),
    ("factor", lambda g, x: 1000 * g, "1000"),
    ("factor", lambda g, x: 1.37 * g, "1.37"),
    ("not_averaged", lambda g, x: 6 * g, "the length of x"),
    ("mean_for_sum", lambda g, x: g / 6, "the length of x"),
    ("averaged_twice", lambda g, x: g / 36, "the length of x"),
    ("factor", lambda g, x: g * np.linalg.norm(x), "‖x‖"),
    ("factor", lambda g, x: g / rosen(x), "1 / the function's value"),
    ("factor", lambda g, x: g * np.exp(x[0]), "one common factor, which depends on x"),
    ("factor", lambda g, x: g * np.arange(1, 7), "each entry is (j + 1) times"),
    ("factor", lambda g, x: g / x, "each entry is 1/x[j] times"),
    ("factor", lambda g, x: g * np.exp(x), "each entry is exp(x[j]) times"),
    ("sign", lambda g, x: np.where(x < 0, -g, g), "what belongs to x < 0 is −1 times"),
    ("sign", lambda g, x: np.where(only(3), -g, g), "entry [3] is −1 times"),
    ("sign", lambda g, x: np.where(only(2, 3, 4), -g, g), "entries 2 to 4"),
    ("factor", lambda g, x: np.where(only(3, 4, 5), 2 * g, g), "entries 3 to 5 are 2 times"),
    ("reordered", lambda g, x: g[::-1], "reversed"),
    ("reordered", lambda g, x: np.roll(g, 2), "[0:4] and [4:6] have changed places"),
    ("reordered", lambda g, x: g[[0, 2, 1, 3, 4, 5]], "1 and 2 have changed places"),
    ("reordered", lambda g, x: g[[3, 0, 5, 1, 2, 4]], "another order: 0 → 1, 1 → 3"),
    ("reordered", lambda g, x: g.reshape(2, 3).T.ravel(), "a 2 × 3 matrix"),
    ("shifted", lambda g, x: np.append(0, g[:-1]), "one place behind"),
    ("shifted", lambda g, x: np.append(g[1:], 0), "one place before"),
    ("treated_as_constant", lambda g, x: 0 * g, "the gradient is 0"),
    ("treated_as_constant", lambda g, x: g * ~only(3), "x[3] is treated as a constant"),
    ("missing_regulariser", lambda g, x: g - 0.3 * x, "0.3 · x is missing"),
    ("missing_regulariser", lambda g, x: g - 0.3 * np.sign(x), "0.3 · sign(x) is missing"),
    ("regulariser_scale", lambda g, x: g + 0.3 * x, "0.3 · x is too much"),
    ("regulariser_scale", lambda g, x: g + 0.3 * x * only(0, 1, 2), "entries 0 to 2"),
    ("unknown", lambda g, x: g + np.sin(5 * x), "claimed"),
    ("unknown", lambda g, x: g + only(3) * x**3, "entry [3]: claimed"),
    ("unknown", lambda g, x: np.where(only(2), np.nan, g), "entry [2]: claimed nan"),
]


@pytest.mark.parametrize(
    ("kind", "change", "says"), GRADIENTS, ids=[f"{one[0]}: {one[2]}" for one in GRADIENTS]
)
@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_mistakes_in_gradients(
    kind: str, change: Callable[[Array, Array], Array], says: str, scale: float
) -> None:
    fun = lambda x: scale * rosen(x)  # noqa: E731 (one line)
    if "regulariser" in kind or kind == "unknown" or "the function's value" in says:
        fun, scale = rosen, 1.0
    result = ge.check_gradient(fun, lambda x: change(scale * rosen_der(x), x), X)["f/x"]
    certain(result, kind)
    assert says in result.what


def test_a_transposed_parameter_matrix() -> None:
    target = np.arange(9.0).reshape(3, 3)
    fun = lambda x: np.sum(np.sin(x.reshape(3, 3)) * target)  # noqa: E731 (one line)
    grad = lambda x: (np.cos(x.reshape(3, 3)) * target).T.ravel()  # noqa: E731 (one line)
    result = ge.check_gradient(fun, grad, Y)["f/x"]
    certain(result, "transposed")
    assert "3 × 3 matrix, transposed" in result.what


def test_a_mean_over_the_arguments_is_named_by_them() -> None:
    data = np.random.default_rng(0).normal(size=(40, 6))
    fun = lambda x, data: np.mean(np.sin(data @ x))  # noqa: E731 (one line)
    grad = lambda x, data: data.T @ np.cos(data @ x)  # noqa: E731 (one line)
    result = ge.check_gradient(fun, grad, X, args=(data,))["f/x"]
    certain(result, "not_averaged")
    assert "axis 0 of args[0]" in result.what


def test_what_two_mistakes_explain_alike_has_alternatives() -> None:
    result = ge.check_gradient(rosen, lambda x: 2 * rosen_der(x), [0.3, -0.8])["f/x"]
    assert [result.mistakes[0].kind, *(fit[0].kind for fit in result.alternatives)] == [
        "factor",
        "not_averaged",
    ]


@pytest.mark.parametrize("shape", [(6, 1), (1, 6), (5,), (), (6, 6)])
def test_shapes_come_before_numbers(shape: tuple[int, ...]) -> None:
    result = ge.check_gradient(rosen, lambda x: np.full(shape, np.nan), X)["f/x"]
    certain(result, "shape")
    assert f"the shape is {shape}, expected (6,)" in result.what


# --- Jacobians --------------------------------------------------------------------------------

JACOBIANS: list[tuple[tuple[str, ...], Change, str]] = [
    (("sign",), lambda J: -J, "everything"),
    (("jacobian_transposed",), lambda J: J.T, "rows belong to the values"),
    (("jacobian_transposed", "sign"), lambda J: -J.T, "−1 times"),
    (("jacobian_transposed", "factor"), lambda J: 2 * J.T, "2 times"),
    (("diagonal_only",), lambda J: np.diag(np.diag(J)), "nothing beside it"),
    (("pattern_missing",), np.tril, "the upper one is missing"),
    (("pattern_missing",), lambda J: J - np.diag(np.diag(J)), "the diagonal is missing"),
    (("reordered",), lambda J: J[:, ::-1], "the columns are in reversed order"),
    (("reordered",), lambda J: J[::-1], "the rows are in reversed order"),
    (("reordered",), lambda J: np.hstack([J[:, 6:], J[:, :6]]), "changed places"),
    (("reordered",), lambda J: J[[3, 0, 5, 1, 2, 4, 8, 6, 7]], "the rows are in another order"),
    (("transposed",), lambda J: J[:, np.arange(9).reshape(3, 3).T.ravel()], "3 × 3 matrix"),
    (("shifted",), lambda J: np.hstack([np.zeros((N, 1)), J[:, :-1]]), "one column behind"),
    (("shifted",), lambda J: np.vstack([J[1:], np.zeros((1, N))]), "one row before"),
    (("sign",), lambda J: np.where(np.arange(N)[:, None] > 5, -J, J), "rows 6 to 8"),
    (("factor",), lambda J: np.where(np.isin(np.arange(N), [2, 3]), 2 * J, J), "columns 2 to 3"),
    (("factor",), lambda J: J * np.arange(1, N + 1), "each column is (j + 1) times"),
    (("factor",), lambda J: J * np.arange(1, N + 1)[:, None], "each row is (i + 1) times"),
    (("treated_as_constant",), lambda J: J * (np.arange(N) != 4), "x[4] is treated"),
    (("unknown",), lambda J: J + 0.5 * (np.arange(81) == 30).reshape(9, 9), "entry [3, 3]"),
]


@pytest.mark.parametrize(("kinds", "change", "says"), JACOBIANS)
def test_mistakes_in_jacobians(kinds: tuple[str, ...], change: Change, says: str) -> None:
    for form in (np.asarray, sp.csr_array):
        result = ge.check_jacobian(layer, lambda x, f=form: f(change(layer_jac(x))), Y)["J/x"]
        certain(result, *kinds)
        assert says in result.what


def test_a_matrix_laid_out_in_the_other_order() -> None:
    B = A[:3, :4]
    fun, jac = (lambda x: np.sin(B @ x)), (lambda x: np.cos(B @ x)[:, None] * B)
    for change, says in (
        (lambda J: J.T.reshape(3, 4), "column by column for row by row"),
        (lambda J: J.reshape(4, 3).T, "row by row for column by column"),
    ):
        result = ge.check_jacobian(fun, lambda x, c=change: c(jac(x)), Y[:4])["J/x"]
        certain(result, "reordered")
        assert says in result.what
    result = ge.check_jacobian(fun, lambda x: jac(x).T, Y[:4])["J/x"]
    certain(result, "shape")
    assert "exactly the transposed one" in result.what


@pytest.mark.parametrize("shift", [1, -1])
def test_bands_stored_by_rows_and_read_by_columns(shift: int) -> None:
    def fun(x: Array) -> Array:
        u = np.concatenate([[0.0], x, [0.0]])
        return np.sin(u[:-2]) - x**2 + np.exp(u[2:])

    def jac(x: Array, moved: int = 0) -> Any:
        below, above = np.cos(x), np.exp(x)  # of column j: rows j + 1 and j − 1
        data = np.array([np.roll(below, moved), -2 * x, np.roll(above, -moved)])
        return sp.dia_array((data, [-1, 0, 1]), shape=(x.size, x.size))

    x = np.linspace(-1, 2, 12)
    assert ge.check_jacobian(fun, jac, x).verdict == "right"
    result = ge.check_jacobian(fun, lambda x: jac(x, shift), x)["J/x"]
    certain(result, "shifted")
    assert "along itself" in result.what


def test_entries_beside_the_pattern_and_entries_too_many() -> None:
    fun = lambda x: np.array([x[0] * x[1], x[1] * x[2], x[2] ** 2, x[3] + x[0]])  # noqa: E731

    def jac(x: Array) -> Array:
        return np.array(
            [
                [x[1], x[0], 0, 0],
                [0, x[2], x[1], 0],
                [0, 0, 2 * x[2], 0],
                [1.0, 0, 0, 1.0],
            ]
        )

    def check(*changes: tuple[int, int, float]) -> ClaimResult:
        def changed(x: Array) -> Any:
            matrix = jac(x)
            for row, col, value in changes:
                matrix[row, col] = value
            return sp.csr_array(matrix)

        return ge.check_jacobian(fun, changed, X[:4])["J/x"]

    result = check((1, 2, 0.0))
    certain(result, "pattern_missing")
    assert "entry [1, 2] is missing" in result.what
    result = check((2, 0, 3.0))
    certain(result, "pattern_extra")
    assert "entry [2, 0] should be 0 ([2, 0] is 3)" in result.what
    certain(check((1, 2, 0.0), (0, 1, 0.0), (3, 1, 3.0)), "pattern_missing", "pattern_extra")


# --- Hessians ---------------------------------------------------------------------------------

HESSIANS: list[tuple[str, Change, str]] = [
    ("sign", lambda H: -H, "everything"),
    ("pattern_missing", np.tril, "the lower triangle is there"),
    ("pattern_missing", np.triu, "the upper triangle is there"),
    ("diagonal_only", lambda H: np.diag(np.diag(H)), "nothing beside it"),
    ("double_counted", lambda H: 2 * H - np.diag(np.diag(H)), "beside the diagonal is counted"),
    ("double_counted", lambda H: H + np.diag(np.diag(H)), "on the diagonal is counted twice"),
    ("double_counted", lambda H: np.tril(H) + np.tril(H, -1), "in the lower one"),
    ("unknown", lambda H: H + 3 * np.eye(6, k=1), "not symmetric"),
]


@pytest.mark.parametrize(("kind", "change", "says"), HESSIANS)
def test_mistakes_in_hessians(kind: str, change: Change, says: str) -> None:
    for options in ({}, {"grad": rosen_der}):
        result = ge.check_hessian(rosen, lambda x: change(rosen_hess(x)), X, **options)["hessian"]
        certain(result, kind)
        assert says in result.what


# --- side effects and operators ---------------------------------------------------------------


def test_an_array_that_is_used_again() -> None:
    buffer = np.zeros(6)

    def grad(x: Array) -> Array:
        buffer[:] = rosen_der(x)
        return buffer

    for points in (1, 3):
        result = ge.check_gradient(rosen, grad, X, points=points)["f/x"]
        certain(result, "unknown")
        assert "grad returns the same array at each call" in result.what

    matrix = sp.csr_array(rosen_hess(X))

    def jac(x: Array) -> Any:
        matrix.data[:] = sp.csr_array(rosen_hess(x)).data
        return matrix

    assert "same array" in ge.check_jacobian(rosen_der, jac, X)["J/x"].what

    def values(x: Array) -> Array:
        buffer[:] = rosen_der(x)
        return buffer

    assert "fun returns the same" in ge.check_jacobian(values, rosen_hess, X)["J/x"].what
    constant = rosen_hess(X)
    linear = ge.check_jacobian(lambda x: constant @ x, lambda x: constant, X)
    assert linear.verdict == "right", "the same array with the same numbers is no mistake"


def test_x_changed_in_place() -> None:
    def grad(x: Array) -> Array:
        found = rosen_der(x)
        x += 1
        return found

    def fun(x: Array) -> float:
        value = rosen(x)
        x *= 2
        return value

    x = X.copy()
    for functions, name in (((rosen, grad), "grad"), ((fun, rosen_der), "fun")):
        result = ge.check_gradient(*functions, x)["f/x"]
        certain(result, "unknown")
        assert f"{name} changes x in place" in result.what
    assert np.array_equal(x, X)
    both = ge.check_gradient(rosen, lambda x: -grad(x), x)["f/x"]
    assert [mistake.kind for mistake in both.mistakes] == ["unknown", "sign"]


def test_gradients_that_add_up_or_change() -> None:
    total = np.zeros(6)

    def adds(x: Array) -> Array:
        total[:] += rosen_der(x)
        return total

    certain(ge.check_gradient(rosen, adds, X)["f/x"], "double_counted")
    rng = np.random.default_rng(0)
    changing = ge.check_gradient(rosen, lambda x: rosen_der(x) * rng.normal(), X)["f/x"]
    certain(changing, "unknown")
    assert "another result when it is called again" in changing.what


def operator(x: Array, forth: Change, back: Change) -> LinearOperator:
    J = layer_jac(x)
    return LinearOperator(
        (N, N), matvec=lambda v: forth(J) @ v, rmatvec=lambda v: back(J) @ v, dtype=float
    )


@pytest.mark.parametrize(
    ("forth", "back", "kind", "says"),
    [
        (lambda J: -J, lambda J: -J.T, "sign", "everything"),
        (lambda J: J, lambda J: -J.T, "sign", "rmatvec is not the product with the transpose"),
        (lambda J: J, lambda J: J, "jacobian_transposed", "with the matrix itself"),
        (lambda J: J, lambda J: J.T + 1e-3 * np.eye(N), "unknown", "rmatvec is not"),
        (lambda J: J.T, lambda J: J, "jacobian_transposed", "rows belong"),
    ],
)
def test_linear_operators(forth: Change, back: Change, kind: str, says: str) -> None:
    result = ge.check_jacobian(layer, lambda x: operator(x, forth, back), Y)["J/x"]
    certain(result, kind)
    assert says in result.what


def test_an_operator_that_is_not_linear_and_one_that_forgets() -> None:
    bent = lambda x: LinearOperator((N, N), matvec=np.abs, dtype=float)  # noqa: E731
    assert "not linear" in ge.check_jacobian(layer, bent, Y)["J/x"].what
    state: dict[str, Array] = {}

    def jac(x: Array) -> LinearOperator:
        state["J"] = layer_jac(x)
        return LinearOperator(
            (N, N), matvec=lambda v: state["J"] @ v, rmatvec=lambda v: state["J"].T @ v, dtype=float
        )

    result = ge.check_jacobian(layer, jac, Y)["J/x"]
    certain(result, "unknown")
    assert "what was kept from one call changes" in result.what
