"""Linear algebra against formulas that are worked out in another way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.check.reference import complex_step
from graphengine.errors import OpError, ShapeError
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Op
from graphengine.ops.linalg import (
    Cholesky,
    Det,
    Diag,
    Dot,
    Inv,
    Kron,
    LogDet,
    LogDetPD,
    MatVec,
    Outer,
    Solve,
    Trace,
    Transpose,
)
from graphengine.ops.matrices import definite, regular

Array = np.ndarray[Any, Any]


def jacobian(op: Op, position: int, *args: Array) -> Jacobian:
    return op.jacobian(position, op.value(*args), args)


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def symmetrizer(n: int) -> Array:
    """``vec(A) → vec((A + Aᵀ) / 2)``."""
    swapped = np.arange(n * n).reshape(n, n).T.ravel()
    return (np.eye(n * n) + np.eye(n * n)[swapped]) / 2


# --- what is written on the board ---------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "position", "shapes", "names", "text"),
    [
        (MatVec(), 0, [(3, 4), (4,)], {}, "I₃ ⊗ xᵀ"),
        (MatVec(), 1, [(3, 4), (4,)], {}, "W"),
        (MatVec(), 1, [(3, 4), (5, 4)], {}, "I₅ ⊗ W"),
        (Outer(), 0, [(3,), (2,)], {}, "I₃ ⊗ y"),
        (Outer(), 1, [(3,), (2,)], {}, "x ⊗ I₂"),
        (Dot(), 0, [(3,), (3,)], {}, "yᵀ"),
        (Transpose(), 0, [(2, 3)], {}, "K₃,₂"),
        (Trace(), 0, [(3, 3)], {}, "vec(I₃)ᵀ"),
        (Trace(), 0, [(4, 3, 3)], {}, "I₄ ⊗ vec(I₃)ᵀ"),
        (Inv(), 0, [(3, 3)], {"out": "Y"}, "−Y ⊗ Yᵀ"),
        (Inv(), 0, [(4, 3, 3)], {"out": "Y"}, "−blockdiag(Y ⊗ Yᵀ)"),
        (Det(), 0, [(3, 3)], {"A": "K", "out": "d"}, "vec(d inv(K)ᵀ)ᵀ"),
        (LogDet(), 0, [(3, 3)], {"A": "K"}, "vec(inv(K)ᵀ)ᵀ"),
        (LogDetPD(), 0, [(3, 3)], {"A": "K"}, "vec(inv(K))ᵀ"),
        (Solve(), 0, [(3, 3), (3,)], {"out": "x"}, "−inv(A) ⊗ xᵀ"),
        (Solve(), 1, [(3, 3), (3,)], {}, "inv(A)"),
        (Solve(), 1, [(3, 3), (3, 2)], {}, "inv(A) ⊗ I₂"),
        (Kron(), 0, [(3,), (2,)], {}, "I₃ ⊗ B"),
        (Kron(), 1, [(3,), (2,)], {}, "A ⊗ I₂"),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)
def test_on_the_board(
    op: Op, position: int, shapes: list[tuple[int, ...]], names: dict[str, str], text: str
) -> None:
    source = rng()
    args = [
        definite(source, shape[-1], *shape[:-2])
        if len(shape) > 1 and shape[-1] == shape[-2]
        else source.normal(size=shape)
        for shape in shapes
    ]
    assert jacobian(op, position, *args).text(names) == text


def test_a_matrix_that_is_not_symmetric_is_not_written_as_one() -> None:
    A = definite(rng(), 2) + np.array([[0.0, 0.1], [-0.1, 0.0]])
    assert jacobian(LogDetPD(), 0, A).text({}) == "vec(inv((A + Aᵀ) / 2))ᵀ"


# --- inverses and solutions ---------------------------------------------------------------


def test_inverse_is_minus_a_kronecker_product() -> None:
    A = regular(rng(), 4)
    Y = np.linalg.inv(A)
    found = jacobian(Inv(), 0, A)
    np.testing.assert_allclose(found.toarray(), -np.kron(Y, Y.T), rtol=1e-12)
    row = rng().normal(size=(4, 4))
    np.testing.assert_allclose(found.pull(row), -Y.T @ row @ Y.T, rtol=1e-12, atol=1e-14)


def test_solution_is_a_kronecker_product_too() -> None:
    A, b, B = regular(rng(), 3), rng().normal(size=3), rng().normal(size=(3, 2))
    Y, x, X = np.linalg.inv(A), np.linalg.solve(A, b), np.linalg.solve(A, B)
    np.testing.assert_allclose(jacobian(Solve(), 1, A, b).toarray(), Y, rtol=1e-12)
    np.testing.assert_allclose(jacobian(Solve(), 0, A, b).toarray(), -np.kron(Y, x), rtol=1e-12)
    np.testing.assert_allclose(
        jacobian(Solve(), 1, A, B).toarray(), np.kron(Y, np.eye(2)), rtol=1e-12
    )
    np.testing.assert_allclose(jacobian(Solve(), 0, A, B).toarray(), -np.kron(Y, X.T), rtol=1e-11)


def test_solve_agrees_with_the_inverse_times_the_right_side() -> None:
    g = ge.Graph("two ways")
    A, b = g.parameter("A", (3, 3)), g.input("b", (3,))
    g.node("x", ge.solve(A, b))
    g.node("y", ge.inv(A) @ b)
    run = g.run({"A": regular(rng(), 3), "b": [1.0, -2.0, 0.5]})
    for source in ("A", "b"):
        np.testing.assert_allclose(
            run.jacobian("x", source).toarray(), run.jacobian("y", source).toarray(), rtol=1e-11
        )


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 2), (2,)),
        ((4, 2, 2), (2,)),
        ((4, 2, 2), (4, 2, 3)),
        ((4, 2, 2), (2, 3)),
        ((2, 2), (4, 2, 3)),
        ((4, 1, 2, 2), (5, 2, 1)),
    ],
)
def test_solve_broadcasts_as_numpy_does(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    A = regular(rng(), 2, *shapes[0][:-2])
    b = rng().normal(size=shapes[1])
    expected = np.linalg.solve(A, b)
    assert Solve().shape_of(*shapes) == expected.shape
    np.testing.assert_array_equal(Solve().value(A, b), expected)


# --- determinants -------------------------------------------------------------------------


def cofactors_by_minors(A: Array) -> Array:
    n = len(A)
    found = np.zeros((n, n))
    for i, j in itertools.product(range(n), range(n)):
        minor = np.delete(np.delete(A, i, axis=0), j, axis=1)
        found[i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return found


@pytest.mark.parametrize(
    "A",
    [
        regular(np.random.default_rng(0), 4),
        regular(np.random.default_rng(1), 4, smallest=1e-9),
        np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]),
        np.outer([1.0, 2.0, -1.0], [3.0, 1.0, 1.0]),
        np.diag([0.0, 2.0, -3.0]),
        np.zeros((3, 3)),
        np.zeros((2, 2)),
        np.array([[0.0]]),
    ],
)
def test_the_gradient_of_a_determinant_is_its_cofactors(A: Array) -> None:
    found = jacobian(Det(), 0, A).tensor()
    np.testing.assert_allclose(found, cofactors_by_minors(A), rtol=1e-12, atol=1e-14 * 50)


def test_cofactors_of_what_floating_point_can_hardly_hold() -> None:
    entries = np.array([1e10] * 40 + [1e-10] * 40)  # condition 1e20, no pivot lost
    found = jacobian(Det(), 0, np.diag(entries)).tensor()
    np.testing.assert_allclose(np.diag(found), 1 / entries, rtol=1e-10)
    tiny = np.array([[1e-200, 1e-201], [0.0, 3e-200]])  # the determinant underflows
    assert Det().value(tiny) == 0
    found = jacobian(Det(), 0, tiny).tensor()
    np.testing.assert_allclose(found, [[3e-200, 0.0], [-1e-201, 1e-200]], rtol=1e-12, atol=1e-213)


def test_cofactors_of_a_stack_with_singular_matrices_among_it() -> None:
    A = np.stack([np.eye(2), [[1.0, 2.0], [2.0, 4.0]], [[2.0, 1.0], [0.0, 3.0]]])
    found = jacobian(Det(), 0, A).tensor()
    expected = [[[1, 0], [0, 1]], [[4, -2], [-2, 1]], [[3, 0], [-1, 2]]]
    for k in range(3):
        np.testing.assert_allclose(found[k, k], expected[k], atol=1e-14)


def test_cofactors_of_what_is_not_finite_are_not_numbers() -> None:
    A = np.stack([np.eye(2), [[np.nan, 1.0], [0.0, 1.0]]])
    found = jacobian(Det(), 0, A).tensor()
    np.testing.assert_array_equal(found[0, 0], np.eye(2))
    assert np.isnan(found[1, 1]).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_logdet_continues_to_complex_arguments_on_both_sides_of_zero(sign: float) -> None:
    A = regular(rng(), 3)
    A = A * np.array([sign * np.sign(np.linalg.det(A)), 1.0, 1.0])
    direction = rng().normal(size=(3, 3))
    assert np.sign(np.linalg.det(A)) == sign
    expected = complex_step(LogDet().forward, A, direction)
    np.testing.assert_allclose(jacobian(LogDet(), 0, A).push(direction), expected, rtol=1e-13)
    np.testing.assert_allclose(np.exp(LogDet().value(A)), abs(np.linalg.det(A)), rtol=1e-13)


def test_both_log_determinants_agree_where_both_hold() -> None:
    A = definite(rng(), 4, smallest=1e-7)
    np.testing.assert_allclose(LogDet().value(A), LogDetPD().value(A), rtol=1e-9)
    np.testing.assert_allclose(
        jacobian(LogDetPD(), 0, A).tensor(), jacobian(LogDet(), 0, A).tensor(), rtol=1e-8
    )


def test_log_determinants_do_not_overflow() -> None:
    A = 1e5 * np.eye(100)
    expected = 500 * np.log(10.0)
    np.testing.assert_allclose([LogDet().value(A), LogDetPD().value(A)], expected)


def test_likelihood_of_the_latent_variable_model() -> None:
    """``K = α A Aᵀ + β⁻¹ I``: ``∂ℒ₁/∂A = −αD K⁻¹A`` and ``∂ℒ₂/∂A = α K⁻¹ B Bᵀ K⁻¹ A``."""
    alpha, beta, D = 0.7, 2.0, 5
    g = ge.Graph("latent variables")
    A, B = g.parameter("A", (4, 2)), g.input("B", (4, D))
    K = g.node("K", alpha * A @ A.T + np.eye(4) / beta)
    g.node("L1", -D / 2 * ge.logdet_pd(K))
    g.node("L2", -0.5 * ge.trace(ge.solve(K, B) @ B.T))
    values = {"A": rng().normal(size=(4, 2)), "B": rng().normal(size=(4, D))}
    run = g.run(values)
    inverse = np.linalg.inv(run.value("K"))
    first = -alpha * D * inverse @ values["A"]
    second = alpha * inverse @ values["B"] @ values["B"].T @ inverse @ values["A"]
    np.testing.assert_allclose(run.gradient("A", of="L1"), first, rtol=1e-12)
    np.testing.assert_allclose(run.gradient("A", of="L2"), second, rtol=1e-12)


# --- Cholesky -----------------------------------------------------------------------------


@pytest.mark.parametrize("smallest", [0.5, 1e-6])
def test_the_derivative_of_the_cholesky_factor(smallest: float) -> None:
    """``dL`` is the one lower triangular matrix with ``dL Lᵀ + L dLᵀ = dS``."""
    A = definite(rng(), 4, smallest=smallest)
    A += np.triu(A, 1) - np.tril(A, -1)  # another A with the same symmetric part
    L = Cholesky().value(A)
    np.testing.assert_allclose(L @ L.T, (A + A.T) / 2, rtol=1e-12, atol=1e-14)
    dA = rng().normal(size=(4, 4))
    dL = jacobian(Cholesky(), 0, A).push(dA)
    np.testing.assert_allclose(dL @ L.T + L @ dL.T, (dA + dA.T) / 2, atol=1e-8 * smallest**-0.5)
    np.testing.assert_allclose(np.triu(dL, 1), 0, atol=1e-13)
    row = rng().normal(size=(4, 4))
    np.testing.assert_allclose(
        np.sum(jacobian(Cholesky(), 0, A).pull(row) * dA), np.sum(row * dL), rtol=1e-9
    )


def test_log_determinant_through_the_factor() -> None:
    g = ge.Graph("through the factor")
    A = g.parameter("A", (3, 3), kind="positive_definite")
    g.result("J", 2 * ge.sum(ge.log(ge.diag(ge.cholesky(A)))))
    value = definite(rng(), 3)
    run = g.run({"A": value})
    np.testing.assert_allclose(run.gradient("A"), np.linalg.inv(value), rtol=1e-12)
    np.testing.assert_allclose(run.value("J"), LogDetPD().value(value), rtol=1e-12)


# --- stacks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "make"),
    [
        (Inv(), regular),
        (Det(), regular),
        (LogDet(), regular),
        (LogDetPD(), definite),
        (Cholesky(), definite),
        (Trace(), regular),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)
def test_a_stack_is_block_diagonal(op: Op, make: Callable[..., Array]) -> None:
    A = make(rng(), 3, 5)
    found = jacobian(op, 0, A)
    blocks = [jacobian(op, 0, one) for one in A]
    assert found.nnz == sum(block.nnz for block in blocks)
    tensor = found.toarray().reshape(5, blocks[0].shape[0], 5, 9)
    for k, block in enumerate(blocks):
        np.testing.assert_allclose(tensor[k, :, k], block.toarray(), rtol=1e-12, atol=1e-15)


def test_what_follows_a_stack_stays_block_diagonal() -> None:
    g = ge.Graph("a batch of solutions")
    A, b = g.input("A", (6, 3, 3)), g.input("b", (6, 3))
    x = g.node("x", ge.solve(A, ge.reshape(b, (6, 3, 1))))
    g.node("y", ge.tanh(ge.reshape(x, (6, 3))) * 2)
    run = g.run({"A": regular(rng(), 3, 6), "b": rng().normal(size=(6, 3))})
    assert run.jacobian("y", "b").nnz == 6 * 9
    assert run.jacobian("y", "A").nnz == 6 * 27
    step = 1e-5
    base = {"A": run.value("A"), "b": run.value("b")}
    direction = rng().normal(size=(6, 3, 3))
    ends = [g.run({**base, "A": base["A"] + s * step * direction}).value("y") for s in (1, -1)]
    numeric = (ends[0] - ends[1]).ravel() / (2 * step)
    found = run.jacobian("y", "A") @ direction.ravel()
    np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-8)


# --- Kronecker products -------------------------------------------------------------------


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (3, 2)),
        ((3,), (2,)),
        ((3, 3), (4,)),
        ((2,), (3, 2)),
        ((), (2, 2)),
        ((2, 1, 2), (2, 3)),
        ((1, 1), (1, 1)),
    ],
)
def test_kron_is_that_of_numpy(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    A, B = (rng().normal(size=shape) for shape in shapes)
    assert Kron().shape_of(*shapes) == np.kron(A, B).shape
    np.testing.assert_array_equal(Kron().value(A, B), np.kron(A, B))
    by_a = [np.kron(unit.reshape(A.shape), B).ravel() for unit in np.eye(A.size)]
    by_b = [np.kron(A, unit.reshape(B.shape)).ravel() for unit in np.eye(B.size)]
    np.testing.assert_array_equal(jacobian(Kron(), 0, A, B).toarray(), np.stack(by_a, axis=1))
    np.testing.assert_array_equal(jacobian(Kron(), 1, A, B).toarray(), np.stack(by_b, axis=1))
    assert jacobian(Kron(), 0, A, B).nnz == A.size * B.size


def test_kron_composes() -> None:
    """``(A ⊗ B) vec(X)`` is ``vec(A X Bᵀ)``: both ways have one Jacobian."""
    g = ge.Graph("mixed product")
    A, B, X = g.parameter("A", (2, 3)), g.parameter("B", (4, 2)), g.parameter("X", (3, 2))
    g.node("y", ge.kron(A, B) @ ge.vec(X))
    g.node("z", ge.vec(A @ X @ B.T))
    source = rng()
    run = g.run({n.name: source.normal(size=n.shape) for n in (A, B, X)})
    np.testing.assert_allclose(run.value("y"), run.value("z"), rtol=1e-12)
    for name in "ABX":
        np.testing.assert_allclose(
            run.jacobian("y", name).toarray(), run.jacobian("z", name).toarray(), atol=1e-14
        )


# --- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ge.inv(np.ones((2, 2))),
            r"inv: expected an invertible matrix, got a singular one;",
        ),
        (lambda: ge.inv([np.eye(2), np.zeros((2, 2))]), r"a singular one at \[1\] of the stack"),
        (lambda: ge.solve(np.zeros((2, 2)), [1.0, 2.0]), "solve: expected an invertible matrix"),
        (lambda: ge.logdet(np.ones((3, 2, 2))), r"logdet: .* singular one at \[0\] of the stack"),
        (lambda: ge.cholesky(-np.eye(2)), "cholesky: .* smallest eigenvalue is -1;"),
        (
            lambda: ge.logdet_pd([[np.eye(2), np.diag([1.0, -3.0])]]),
            r"logdet_pd: .* smallest eigenvalue is -3 at \[0, 1\] of the stack",
        ),
        (lambda: ge.cholesky([[0.0, 5.0], [0.0, 1.0]]), "its symmetric part"),
    ],
)
def test_matrices_without_an_answer(call: Callable[[], object], message: str) -> None:
    with pytest.raises(OpError, match=message):
        call()


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (MatVec(), [(3, 4), (3,)], r"a matrix and a vector, \(C, d\) and \(d,\), got \(3, 4\)"),
        (MatVec(), [(4,), (4,)], "a matrix and a vector"),
        (MatVec(), [(3, 4), ()], "a matrix and a vector"),
        (MatVec(), [(2, 3, 4), (5, 4)], "shapes that broadcast"),
        (Outer(), [(3, 1), (2,)], r"two vectors, got \(3, 1\) and \(2,\)"),
        (Dot(), [(3, 2), (2,)], "two vectors"),
        (Dot(), [(3,), (2,)], "vectors of one length"),
        (Transpose((0,)), [(2, 3)], r"all 2 axes, got axes=\[0\]"),
        (Transpose((0, 0)), [(2, 3)], "each axis once"),
        (Transpose((0, 2)), [(2, 3)], "got axis=2"),
        (Diag(), [()], "a vector or a matrix"),
        (Diag(), [(2, 2, 2)], "a vector or a matrix"),
        (Trace(), [(2, 3)], "a square matrix, or a stack of them"),
        (Inv(), [(3,)], "a square matrix"),
        (Cholesky(), [(3, 2, 3)], "a square matrix"),
        (Solve(), [(3, 2), (3,)], "a square matrix"),
        (Solve(), [(3, 3), (2,)], r"a vector \(3,\) or columns \(3, k\), got \(2,\)"),
        (Solve(), [(3, 3), ()], r"got \(\)"),
        (Solve(), [(4, 3, 3), (4, 3)], r"a stack of vectors is solve\(A, b\[..., None\]\)"),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)
def test_shapes_that_do_not_go_together(op: Op, shapes: list[Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        op.shape_of(*shapes)


def test_what_is_not_finite_shows_in_the_result() -> None:
    A = np.array([[np.nan, 0.0], [0.0, 1.0]])
    for op in (Inv(), Det(), LogDet()):
        assert np.isnan(op.value(A)).any(), op.name
    with pytest.raises(OpError, match=r"smallest eigenvalue is -2 at \[1\]"):
        Cholesky().value(np.stack([A, np.diag([1.0, -2.0])]))
