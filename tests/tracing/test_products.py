"""Products and linear algebra of traced arrays, against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as npst

from graphengine.tracing import Tape, Traced, Untraceable

from .interpreter import Array, calls, same


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def regular(n: int, *stack: int) -> Array:
    """Matrices far from singular ones, positive definite."""
    half = random(*stack, n, n)
    return half @ np.matrix_transpose(half) + n * np.eye(n)


def beside(call: Callable[..., Any], a: Array, b: Array, rtol: float = 1e-13) -> None:
    """Both traced, and either of them."""
    same(call, a, b, rtol=rtol)
    same(lambda x: call(x, b), a, rtol=rtol)
    same(lambda x: call(a, x), b, rtol=rtol)


# --- products -----------------------------------------------------------------------------


@given(npst.mutually_broadcastable_shapes(signature="(n?,k),(k,m?)->(n?,m?)", max_side=3))
def test_matrix_products(shapes: npst.BroadcastableShapes) -> None:
    a, b = (random(*shape) for shape in shapes.input_shapes)
    beside(np.matmul, a, b)
    if a.ndim <= 2 and b.ndim <= 2:
        beside(np.dot, a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [((1, 3), (3, 4)), ((4, 3), (3, 1)), ((1, 3), (3, 1)), ((1, 1), (1, 4)), ((2, 0), (0, 3))],
)
def test_rows_and_columns(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    beside(np.matmul, random(*a), random(*b))


def test_a_row_times_a_matrix_is_a_product_with_a_vector() -> None:
    tape = Tape()
    x, W = tape.input("x", (1, 3)), tape.input("W", (3, 4))
    product = (x @ W).step.args[0]
    assert [np.shape(arg) for arg in product.step.args] == [(3,), (3, 4)]


def test_products_of_truths_and_whole_numbers() -> None:
    beside(lambda a, b: (a > 0) @ (b > 0), random(2, 3), random(3, 2))
    beside(lambda a, b: (9 * a).astype(int) @ (b > 0), random(2, 3), random(3, 2))
    beside(lambda a, b: np.kron(a > 0, b > 0), random(2, 3), random(3, 2))


def test_numbers_in_front_of_a_product_of_vectors() -> None:
    beside(lambda a, b: (2.0 * a) @ (b * -3.0), random(3), random(3))
    beside(lambda a, b: -a @ -b, random(3), random(3))
    beside(lambda a, b: a.sum() * a @ b, random(3), random(3))
    beside(lambda a, b: -(9 * a).astype(int) @ (2 * (9 * b).astype(int)), random(3), random(3))
    x = Tape().input("x", (3,))
    y = x.tape.input("y", (3,))
    assert x @ y is y @ x
    assert (2.0 * x) @ y is 2.0 * (x @ y)


@pytest.mark.parametrize("stack", [(3,), (1,), (2, 2)])
def test_stacks_of_small_products(stack: tuple[int, ...]) -> None:
    beside(np.matmul, random(*stack, 2, 3), random(*stack, 3, 4))
    beside(np.matmul, random(*stack, 2, 3), random(3, 4))
    beside(lambda a, b: (a > 0) @ (b > 0), random(*stack, 2, 3), random(*stack, 3, 2))


def test_outer_and_kronecker_products() -> None:
    for a, b in (((3,), (2,)), ((1,), (4,)), ((0,), (2,)), ((2, 2), (3,)), ((), (3,))):
        beside(np.outer, random(*a), random(*b))
    for a, b in (((3,), (2,)), ((2, 3), (1, 2)), ((2,), (2, 3)), ((2, 0), (1, 2)), ((), (3,))):
        beside(np.kron, random(*a), random(*b))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x @ np.ones(2),
        lambda x: x @ np.ones((2, 3)),
        lambda x: np.matmul(x, np.ones((3, 2)), dtype=np.float32),
        lambda x: np.matmul(x, 2.0),
        lambda x: np.dot(x, 2.0),
        lambda x: np.dot(x, np.ones((2, 3, 2))),
        lambda x: np.vecdot(x, x),
        lambda x: np.tensordot(x, x),
        lambda x: np.cross(x, x),
        lambda x: np.einsum("ij", x),
        lambda x: np.einsum("ij,jk", x, x.T),
        lambda x: np.einsum("ij,jk->ik", x, x),
        lambda x: np.einsum("ii->i", x),
        lambda x: np.einsum("ij->ik", x),
        lambda x: np.einsum("...j->...", x),
        lambda x: np.einsum("ij,ij->", x, x, dtype=np.float32),
        np.linalg.inv,
        np.linalg.det,
        np.linalg.slogdet,
        np.linalg.cholesky,
        np.linalg.svd,
        np.linalg.norm,
        lambda x: np.linalg.solve(x, x),
        lambda x: np.linalg.cholesky(x @ x.T, upper=True),
    ],
)
def test_what_is_not_known_is_left_to_the_op(wrong: Callable[[Traced], Any]) -> None:
    with pytest.raises(Untraceable):
        wrong(Tape().input("x", (2, 3)))


# --- sums of products ---------------------------------------------------------------------

SUMS: list[tuple[str, Sequence[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk,kl->li", [(2, 3), (3, 4), (4, 2)]),
    ("i,i->", [(3,), (3,)]),
    ("i,j->ji", [(3,), (2,)]),
    ("...ij,...j->...i", [(5, 2, 3), (3,)]),
    ("i...,...->...i", [(2, 4), (3, 4)]),
    ("i...j,j->i...", [(2, 4, 5, 3), (3,)]),
    ("ij,ij->ij", [(2, 3), (1, 3)]),
    ("ij,ij->j", [(1, 3), (2, 3)]),
    (" i j , j k -> i k ", [(2, 3), (3, 4)]),
    ("ii,i->i", [(3, 3), (3,)]),
    ("i,->i", [(3,), ()]),
    ("i,i->i", [(0,), (0,)]),
    ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("ijk->ki", [(2, 3, 4)]),
    ("ii->i", [(3, 3)]),
    ("ii->", [(3, 3)]),
    ("iji->ij", [(3, 2, 3)]),
    ("iji->ji", [(3, 2, 3)]),
    ("iiji->ij", [(3, 3, 2, 3)]),
    ("ijij->ji", [(3, 2, 3, 2)]),
    ("->", [()]),
]


@pytest.mark.parametrize(("text", "shapes"), SUMS)
def test_sums_of_products(text: str, shapes: Sequence[tuple[int, ...]]) -> None:
    arrays = [random(*shape) for shape in shapes]
    same(lambda *xs: np.einsum(text, *xs), *arrays, rtol=1e-13)
    same(lambda x: np.einsum(text, x, *arrays[1:]), arrays[0], rtol=1e-13)
    same(lambda *xs: np.einsum(text, *xs, optimize=True), *arrays, rtol=1e-13)


def test_sums_of_products_with_lists_of_labels() -> None:
    same(lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), random(2, 3), random(3, 4))
    same(lambda a: np.einsum(a, [0, 1, 0], [1, 0]), random(3, 2, 3))
    same(lambda a: np.einsum(a, [30, 0], [0, 30]), random(3, 2))


def test_diagonals_are_views() -> None:
    x = Tape().input("x", (3, 3))
    assert np.einsum("ii->i", x).step.view
    assert np.einsum("ii->i", x) is np.diagonal(x)


# --- linear algebra -----------------------------------------------------------------------


@pytest.mark.parametrize("stack", [(), (2,), (1,), (0,), (2, 1)])
@pytest.mark.parametrize("n", [3, 1, 0])
@pytest.mark.parametrize("call", [np.linalg.inv, np.linalg.cholesky, np.linalg.det])
def test_of_square_matrices(call: Callable[..., Any], n: int, stack: tuple[int, ...]) -> None:
    same(call, regular(n, *stack))


@pytest.mark.parametrize("stack", [(), (2,), (0,)])
def test_sign_and_logarithm_of_the_determinant(stack: tuple[int, ...]) -> None:
    flipped = regular(3, *stack)
    flipped[..., 0, :] *= -1
    for matrices in (regular(3, *stack), flipped):
        same(lambda A: np.linalg.slogdet(A)[0], matrices)
        same(lambda A: np.linalg.slogdet(A)[1], matrices)
        same(lambda A: np.linalg.slogdet(A).sign * np.linalg.slogdet(A).logabsdet, matrices)


@pytest.mark.parametrize(
    ("left", "right"),
    [((), (3,)), ((), (3, 2)), ((4,), (3,)), ((4,), (3, 2)), ((), (4, 3, 1)), ((2, 1), (5, 3, 0))],
)
def test_solutions(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    beside(np.linalg.solve, regular(3, *left), random(*right))


@given(npst.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=3))
def test_diagonals_and_traces(shape: tuple[int, ...]) -> None:
    x = random(*shape)
    for offset in (0, 1, -2):
        same(lambda x, k=offset: np.diagonal(x, k), x)
        same(lambda x, k=offset: np.trace(x, k), x, rtol=1e-12)
    same(lambda x: np.diagonal(x, axis1=-2, axis2=-1), x)
    same(lambda x: x.trace(axis1=-1, axis2=0), x, rtol=1e-12)


def test_matrices_of_a_diagonal_and_back() -> None:
    for k in (0, 1, -2):
        same(lambda x, k=k: np.diag(x, k), random(3))
        same(lambda x, k=k: np.diag(x, k), random(3, 4))
        same(lambda x, k=k: np.diag(x > 0, k), random(3))
    same(np.diag, random(0))


def test_the_pair_is_recorded_once() -> None:
    x = Tape().input("x", (3, 3))
    sign, log = np.linalg.slogdet(x)
    assert calls(log) == ["slogdet", "item"]
    assert calls(sign + log) == ["slogdet", "item", "item", "add"]
