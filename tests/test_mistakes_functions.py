"""The mistakes of the page as they are made in plain functions, and in the rules of ops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import rosen, rosen_der, rosen_hess
from scipy.spatial.transform import Rotation

import graphengine as ge
from graphengine.check import Report
from graphengine.check.mistakes.kinds import KINDS
from graphengine.check.mistakes.rows import ROWS
from graphengine.ops import OPS
from tests.test_mistakes_page import named

A = np.array([[1.0, 2.0, 0.5], [0.3, -1.0, 2.0], [4.0, 1.0, 1.0]])
X3, X4, X6 = [1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]
ROTATED = Rotation.from_rotvec([0.3, 0.2, -0.5])


def gradient(fun: Any, grad: Any, x: Any) -> Report:
    return ge.check_gradient(fun, grad, x)


def jacobian(fun: Any, jac: Any, x: Any) -> Report:
    return ge.check_jacobian(fun, jac, x)


def ridge(weights: float, biases: float) -> Report:
    """Mean squares with a penalty on two weights and none on two biases, of which the claim takes
    these multiples.
    """
    B = np.column_stack([A, [1.0, -1.0, 2.0]])
    return gradient(
        lambda x: np.mean((B @ x) ** 2) + 0.1 * x[:2] @ x[:2],
        lambda x: 2 * B.T @ (B @ x) / 3 + 0.2 * x * [weights, weights, biases, biases],
        X4,
    )


def squares(x: Any) -> Any:
    return np.sum(x**2)


def written(*, add: bool) -> Callable[[Any], Any]:
    """The gradient of squares of a 3 × 2 matrix, every row of which is written to the last."""

    def grad(x: Any) -> Any:
        matrix, found = x.reshape(3, 2), np.zeros((3, 2))
        for row in matrix:
            found[2] = found[2] * add + 2 * row
        return found.ravel()

    return grad


def summed() -> Callable[[Any], Any]:
    """A gradient that adds to what it found before."""
    found = np.zeros(3)

    def grad(x: Any) -> Any:
        nonlocal found
        found = found + rosen_der(x)
        return found

    return grad


def cross(v: Any) -> Any:
    return np.cross(np.eye(3), v)


def bands(x: Any) -> Any:
    return x**2 - np.r_[0, x[:-1] ** 2] - np.r_[x[1:] ** 3, 0]


def convolved(x: Any) -> Any:
    return np.convolve(x, [1.0, 2.0, 4.0])


def quiet(x: Any, y: Any) -> Any:
    """x / y, without a warning where y is 0."""
    with np.errstate(all="ignore"):
        return x / y


def overflown(x: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.exp(x)


FUNCTIONS: list[tuple[int, Callable[[], Report], str]] = [
    (1, lambda: gradient(lambda x: np.mean(x**2), lambda x: 2 * x, X3), "factor"),
    (2, lambda: gradient(lambda x: np.mean(x**2), lambda x: 2 * x / 9, X3), "factor"),
    (3, lambda: gradient(lambda x: np.sum(x**2) / 3, lambda x: 2 * x / 6, X6), "factor"),
    (4, lambda: gradient(squares, lambda x: x, X3), "factor"),
    (5, lambda: gradient(rosen, lambda x: -rosen_der(x), X3), "sign"),
    (
        6,
        lambda: jacobian(
            lambda x: np.r_[A @ x, -np.sin(x)], lambda x: np.vstack([A, np.diag(np.cos(x))]), X3
        ),
        "sign",
    ),
    (7, lambda: gradient(squares, lambda x: 2 * np.abs(x), [1.0, -2.0, 3.0, -4.0]), "sign"),
    (
        8,
        lambda: gradient(
            lambda x: np.sum(np.sin(np.radians(x))), lambda x: np.cos(np.radians(x)), X3
        ),
        "factor",
    ),
    (9, lambda: gradient(lambda x: np.sum(x / [1, 2, 3, 4]), np.ones_like, X4), "factor"),
    (10, lambda: gradient(lambda x: squares(A @ x) / 2, lambda x: 2 * A.T @ A @ x, X3), "factor"),
    (11, lambda: jacobian(lambda x: A @ x, lambda x: A.T, X3), "jacobian_transposed"),
    (
        12,
        lambda: gradient(
            lambda x: np.arange(1, 7) @ x**2,
            lambda x: (2 * np.arange(1, 7) * x).reshape(2, 3).ravel("F"),
            X6,
        ),
        "reordered",
    ),
    (
        14,
        lambda: gradient(
            lambda x: np.array([1.0, 3.0]) @ x.reshape(2, 3) @ [2.0, 5.0, 7.0],
            lambda x: np.outer([2.0, 5.0, 7.0], [1.0, 3.0]).ravel(),
            X6,
        ),
        "reordered",
    ),
    (
        15,
        lambda: jacobian(lambda w: w.reshape(2, 3) @ X3, lambda w: np.kron([X3], np.eye(2)), X6),
        "reordered",
    ),
    (
        16,
        lambda: jacobian(
            lambda x: np.array([x[0] * x[1], x[2] ** 2, x[3] + x[0]]),
            lambda x: np.array([[0, 0, x[1], x[0]], [2 * x[2], 0, 0, 0], [0, 1, 1, 0]]),
            X4,
        ),
        "reordered",
    ),
    (17, lambda: gradient(squares, written(add=False), X6), "treated_as_constant"),
    (17, lambda: gradient(squares, written(add=True), X6), "unknown"),
    (18, lambda: gradient(rosen, lambda x: rosen_der(x)[:, None], X3), "shape"),
    (
        19,
        lambda: ge.check_hessian(
            rosen_der, lambda x: 2 * rosen_hess(x) - np.diag(np.diag(rosen_hess(x))), X3
        ),
        "double_counted",
    ),
    (20, KINDS["pattern_missing"].example.check, "pattern_missing"),  # type: ignore[union-attr]
    (
        21,
        lambda: jacobian(
            bands,
            lambda x: sp.diags_array([-2 * x[1:], 2 * x, -3 * x[:-1] ** 2], offsets=[-1, 0, 1]),
            X6,
        ),
        "shifted",
    ),
    (23, lambda: gradient(rosen, summed(), X3), "double_counted"),
    (28, lambda: gradient(lambda x: np.sum(A * x), lambda x: A, X3), "shape"),
    (
        31,
        lambda: gradient(lambda x: x[0] ** 2 + np.sin(x[1]), lambda x: [2 * x[0], 0.0], [1.0, 2.0]),
        "treated_as_constant",
    ),
    (
        32,
        lambda: gradient(lambda x: x[0] ** 2, lambda x: [2 * x[0], 1.0], [1.0, 2.0]),
        "pattern_extra",
    ),
    (34, lambda: gradient(rosen, lambda x: x, X3), "unknown"),
    (
        36,
        lambda: jacobian(
            lambda x: np.linalg.solve(A, np.sin(x)),
            lambda x: -np.linalg.solve(A, np.diag(np.cos(x))),
            X3,
        ),
        "sign",
    ),
    (43, KINDS["tie"].example.check, "tie"),  # type: ignore[union-attr]
    (
        44,
        lambda: gradient(
            lambda x: np.sum(np.abs(x)), lambda x: quiet(x, np.abs(x)), [1.0, -2.0, 0.0]
        ),
        "unknown",
    ),
    (
        45,
        lambda: gradient(
            lambda x: np.fmod(*x), lambda x: [1.0, -np.floor(x[0] / x[1])], [-7.3, 2.1]
        ),
        "factor",
    ),
    (
        46,
        lambda: gradient(lambda x: np.hypot(*x), lambda x: x[::-1] / np.hypot(*x), [3.0, 4.0]),
        "reordered",
    ),
    (
        47,
        lambda: gradient(lambda x: np.arctan2(*x), lambda x: x / np.hypot(*x), [3.0, 4.0]),
        "unknown",
    ),
    (49, lambda: gradient(np.prod, lambda x: quiet(np.prod(x), x), [3.0, 4.0, 0.0]), "unknown"),
    (
        50,
        lambda: gradient(
            lambda x: np.sum(np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
            lambda x: np.where(x > 0, 1.0, 0.0) + np.where(x > 0, 0.0, 1.0) * overflown(x),
            [3.0, 1000.0, -1.0],
        ),
        "unknown",
    ),
    (
        51,
        lambda: gradient(
            lambda x: 1 / (np.sqrt(x @ x) + 0.01), lambda x: -x / (x @ x) ** 1.5, [3.0, 1.0, -1.0]
        ),
        "factor",
    ),
    (56, lambda: ridge(0, 0), "missing_regulariser"),
    (57, lambda: ridge(0.5, 0), "regulariser_scale"),
    (58, lambda: ridge(1 / 3, 0), "regulariser_scale"),
    (59, lambda: ridge(1, 1), "regulariser_scale"),
    (66, lambda: gradient(squares, lambda x: np.full(3, 2 * x.sum()), X3), "unknown"),
    (
        67,
        lambda: jacobian(lambda x: x[1:] ** 2, lambda x: np.eye(2, 3) * 2 * x[1:, None], X3),
        "shifted",
    ),
    (
        68,
        lambda: gradient(
            lambda x: np.arange(6) @ np.repeat(x, 2) ** 2,
            lambda x: (2 * np.arange(6) * np.repeat(x, 2)).reshape(2, 3).sum(0),
            X3,
        ),
        "unknown",
    ),
    (69, lambda: gradient(squares, lambda x: (2 * x)[0:-0], X3), "shape"),
    (
        70,
        lambda: gradient(
            lambda x: squares(convolved(x)) / 2,
            lambda x: np.convolve(convolved(x), [1.0, 2.0, 4.0], "valid"),
            X4,
        ),
        "unknown",
    ),
    (
        72,
        lambda: jacobian(
            lambda w: (ROTATED * Rotation.from_rotvec(w)).apply(X3),
            lambda w: -cross(ROTATED.apply(X3)),
            [0.01, 0.02, -0.01],
        ),
        "unknown",
    ),
    (
        73,
        lambda: jacobian(
            lambda q: Rotation.from_quat(q).apply(X3),
            lambda q: -cross(Rotation.from_quat(q).apply(X3)),
            [0.1, 0.2, 0.3, 0.9],
        ),
        "shape",
    ),
]


@pytest.mark.parametrize(("row", "check", "kind"), FUNCTIONS)
def test_a_mistake_in_a_plain_function(row: int, check: Callable[[], Report], kind: str) -> None:
    found = check().claims[0]
    assert kind in named(found), str(found)
    assert kind in ROWS[row].function


def test_every_row_of_functions_has_its_case() -> None:
    shown = {(row, kind) for row, _, kind in FUNCTIONS}
    assert shown == {(number, kind) for number, row in ROWS.items() for kind in row.function}


CALLS = count()


@pytest.mark.parametrize(
    ("fun", "grad", "x", "verdict"),
    [
        (lambda x: float(np.float32(rosen(x))), rosen_der, X3, "right"),
        (lambda x: np.sum(np.maximum(0, x)), lambda x: x >= 0, [1.0, -2.0, 0.0], "undecided"),
        (lambda x: np.sum(np.maximum(0, x)), lambda x: x > 0, [1.0, -2.0, 0.0], "undecided"),
        (lambda x: rosen(x) + next(CALLS), rosen_der, X3, "undecided"),
    ],
    ids=["single precision", "right of a kink", "left of a kink", "noise"],
)
def test_what_is_no_mistake_is_never_wrong(fun: Any, grad: Any, x: Any, verdict: str) -> None:
    assert gradient(fun, lambda x: np.asarray(grad(x), dtype=float), x).verdict == verdict


# --- rules of ops ---------------------------------------------------------------------------------


class Ramp(ge.Elementwise):
    """``(j + 1) x_j``, whose rule forgets the coefficients."""

    name = "ramp"

    def forward(self, x: Any) -> Any:
        return np.arange(1, x.shape[-1] + 1) * x

    def d_x(self, out: Any, x: Any) -> Any:
        return ge.slope(np.ones(x.shape), "1")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Any]:
        yield cls(), (rng.normal(size=(2, 3)),)


RULES: list[tuple[int, str, str, Callable[..., Any]]] = [
    (46, "divide", "d_x", lambda self, out, x, y: ge.slope(-x / y**2, "")),
    (47, "arctan", "d_x", lambda self, out, x: ge.slope(x / np.sqrt(1 + x**2), "")),
    (65, "cholesky", "d_A", lambda self, out, A: ge.term("...ij <- ...ij", (A, "...ij", ""))),
]


def test_a_coefficient_forgotten_in_a_rule() -> None:
    assert ge.check_op(Ramp).verdict == "wrong"


@pytest.mark.parametrize(("row", "op", "rule", "wrong"), RULES)
def test_a_wrong_rule_is_found(
    row: int, op: str, rule: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OPS[op], rule, wrong)
    report = ge.check_op(OPS[op])
    assert report[f"{op}/{rule[2:]}"].verdict == "wrong"
    assert report[f"{op}/{rule[2:]}"].says.startswith("entry [")


def test_rows_of_ops_have_their_cases() -> None:
    assert {9, *(row for row, *_ in RULES)} == {n for n, row in ROWS.items() if row.op}
