"""The Jacobian against its definition: every fast path gives the dense matrix's numbers."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import graphengine as ge
from graphengine.errors import RuleError, ShapeError, TooLargeError, ValuesError
from graphengine.jacobian import Jacobian, term
from tests.strategies import Array, Case, cases, chains, random_like, rules, seeds, shapes, single


def assert_canonical(matrix: sp.csr_array) -> None:
    """Sorted columns without duplicates in each row, and 32-bit indices."""
    assert isinstance(matrix, sp.csr_array)
    assert matrix.data.dtype == np.float64
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.indptr[0] == 0
    assert matrix.indptr[-1] == len(matrix.indices) == len(matrix.data)
    for low, high in itertools.pairwise(matrix.indptr):
        assert np.all(np.diff(matrix.indices[low:high]) > 0)


# --- the definition -----------------------------------------------------------------------


@given(cases())
def test_matrix_is_the_definition(case: Case) -> None:
    jacobian, dense = case
    matrix = jacobian.tocsr()
    assert matrix.shape == jacobian.shape == dense.shape
    assert_canonical(matrix)
    assert np.array_equal(matrix.toarray(), dense)
    assert np.array_equal(jacobian.toarray(), dense)


@given(cases())
def test_transpose_and_layouts(case: Case) -> None:
    jacobian, dense = case
    assert (jacobian.T.out_shape, jacobian.T.in_shape) == (jacobian.in_shape, jacobian.out_shape)
    assert np.array_equal(jacobian.T.toarray(), dense.T)
    assert np.array_equal(jacobian.T.T.toarray(), dense)
    assert np.array_equal(jacobian.toarray("denominator"), dense.T)
    denominator = jacobian.tocsr("denominator")
    assert_canonical(denominator)
    assert np.array_equal(denominator.toarray(), dense.T)
    tensor = dense.reshape(jacobian.out_shape + jacobian.in_shape)
    assert np.array_equal(jacobian.tensor(), tensor)
    transposed = dense.T.reshape(jacobian.in_shape + jacobian.out_shape)
    assert np.array_equal(jacobian.tensor("denominator"), transposed)


@given(cases(), seeds)
def test_products_with_vectors(case: Case, seed: int) -> None:
    jacobian, dense = case
    row, column = random_like(seed, jacobian.out_shape), random_like(seed + 1, jacobian.in_shape)
    pulled, pushed = jacobian.pull(row), jacobian.push(column)
    assert (pulled.shape, pushed.shape) == (jacobian.in_shape, jacobian.out_shape)
    assert np.array_equal(pulled.ravel(), row.ravel() @ dense)
    assert np.array_equal(pushed.ravel(), dense @ column.ravel())
    assert np.sum(pulled * column) == np.sum(row * pushed)  # adjoint, exactly: whole numbers
    assert np.array_equal(jacobian.pull(row.ravel()), pulled)  # flat, and as one row
    assert np.array_equal(jacobian.push(column.reshape(1, -1)), pushed)


@given(cases(), seeds)
def test_products_are_linear(case: Case, seed: int) -> None:
    jacobian, _ = case
    a, b = random_like(seed, jacobian.out_shape), random_like(seed + 1, jacobian.out_shape)
    assert np.array_equal(jacobian.pull(2 * a - b), 2 * jacobian.pull(a) - jacobian.pull(b))
    assert not jacobian.pull(np.zeros(jacobian.out_shape)).any()


@given(st.data())
def test_sums_and_multiples(data: st.DataObject) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    a, b = (data.draw(single(out_shape, in_shape)) for _ in range(2))
    assert np.array_equal((a.jacobian + b.jacobian).toarray(), a.dense + b.dense)
    assert np.array_equal((a.jacobian - b.jacobian).toarray(), a.dense - b.dense)
    assert np.array_equal((-a.jacobian).toarray(), -a.dense)
    assert np.array_equal((2 * a.jacobian * 0.5).toarray(), a.dense)
    assert np.array_equal((a.jacobian + a.jacobian).toarray(), 2 * a.dense)
    assert not (a.jacobian - a.jacobian).toarray().any()
    three = a.jacobian + b.jacobian + a.jacobian
    assert np.array_equal(three.toarray(), 2 * a.dense + b.dense)


@settings(max_examples=150)
@given(chains(2))
def test_products_of_two(chain: list[Case]) -> None:
    a, b = chain
    product = a.jacobian @ b.jacobian
    assert (product.out_shape, product.in_shape) == (a.jacobian.out_shape, b.jacobian.in_shape)
    assert_canonical(product.tocsr())
    assert np.array_equal(product.toarray(), a.dense @ b.dense)
    assert np.array_equal(product.T.toarray(), (a.dense @ b.dense).T)
    assert np.array_equal((b.jacobian.T @ a.jacobian.T).toarray(), (a.dense @ b.dense).T)
    assert product.nnz >= product.tocsr().nnz


@settings(max_examples=100)
@given(chains(3), seeds)
def test_products_of_three(chain: list[Case], seed: int) -> None:
    a, b, c = (case.jacobian for case in chain)
    dense = chain[0].dense @ chain[1].dense @ chain[2].dense
    left, right = (a @ b) @ c, a @ (b @ c)
    row = random_like(seed, a.out_shape)
    for product in (left, right):
        assert np.array_equal(product.toarray(), dense)
        assert np.array_equal(product.pull(row).ravel(), row.ravel() @ dense)
        assert product.nnz >= product.tocsr().nnz


# --- patterns -----------------------------------------------------------------------------


@given(st.data())
def test_count_is_exact_for_one_term(data: st.DataObject) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    jacobian = Jacobian.of(data.draw(rules(out_shape, in_shape)), out_shape, in_shape)
    assert jacobian.nnz == jacobian.tocsr().nnz


@given(cases())
def test_count_and_bytes_are_upper_bounds(case: Case) -> None:
    jacobian, dense = case
    matrix = jacobian.tocsr()
    assert np.count_nonzero(dense) <= matrix.nnz <= jacobian.nnz
    taken = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    assert taken <= jacobian.nbytes


def test_count_of_terms_inside_others_is_exact() -> None:
    p = np.array([0.2, 0.3, 0.5])
    softmax = term("i <- i", out="i") - term("i <- j", ("out", "i", ""), ("out", "j", ""))
    jacobian = Jacobian.of(softmax, (3,), (3,), {"out": p})
    assert jacobian.nnz == jacobian.tocsr().nnz == 9
    batch = term("ni <- ni", out="ni") - term("ni <- nj", ("out", "ni", ""), ("out", "nj", ""))
    jacobian = Jacobian.of(batch, (4, 3), (4, 3), {"out": np.tile(p, (4, 1))})
    assert jacobian.nnz == jacobian.tocsr().nnz == 4 * 9
    crossing = Jacobian.of(term("i <- i") + term("i <- j", (p, "j", "")), (3,), (3,))
    assert crossing.nnz == crossing.tocsr().nnz == 9


def test_count_is_a_bound_where_entries_meet() -> None:
    gather = Jacobian.rearrangement(np.array([0, 0, 1]), (2,))
    summed = Jacobian.of(term("<- i"), (), (3,)) @ gather
    assert np.array_equal(summed.toarray(), [[2.0, 1.0]])
    assert summed.nnz >= summed.tocsr().nnz == 2
    rows, columns = (Jacobian.rearrangement(at, (4,)) for at in (np.arange(2), np.arange(1, 3)))
    assert (rows + columns).nnz == (rows + columns).tocsr().nnz == 4


@given(st.data())
def test_same_pattern_depends_on_places_alone(data: st.DataObject) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    a, b = (data.draw(cases(out_shape, in_shape)).jacobian for _ in range(2))
    mine, theirs = a.tocsr(), b.tocsr()
    same = np.array_equal(mine.indptr, theirs.indptr)
    same = same and np.array_equal(mine.indices, theirs.indices)
    assert a.same_pattern(b) == b.same_pattern(a) == same
    assert a.same_pattern(7 * a)


def test_same_pattern_of_one_rule_at_two_points() -> None:
    def at(x: list[float]) -> Jacobian:
        return Jacobian.of(term("i <- ij", x="j"), (3,), (3, 2), {"x": np.array(x)})

    assert at([1.0, 2.0]).same_pattern(at([0.0, -1.0]))
    assert not at([1.0, 2.0]).same_pattern(Jacobian.zero((3,), (3, 2)))
    assert not at([1.0, 2.0]).same_pattern(Jacobian.identity((3,)))
    assert np.array_equal(at([1.0, 2.0]).tocsr().indices, at([0.0, -1.0]).tocsr().indices)


@given(cases())
def test_results_are_independent(case: Case) -> None:
    jacobian, dense = case
    first = jacobian.tocsr()
    first.data += 1.0
    first.indices[:] = 0
    first.indptr[:] = 0
    second = jacobian.tocsr()
    second.data[::2] = 0.0
    second.eliminate_zeros()
    assert np.array_equal(jacobian.tocsr().toarray(), dense)
    array = jacobian.toarray()
    array += 1.0
    assert np.array_equal(jacobian.toarray(), dense)


@given(cases(), seeds)
def test_products_with_vectors_are_independent(case: Case, seed: int) -> None:
    jacobian, dense = case
    row = random_like(seed, jacobian.out_shape)
    kept = row.copy()
    pulled = jacobian.pull(row)
    pulled += 1.0  # may be changed, and changes nobody else's numbers
    assert np.array_equal(row, kept)
    assert np.array_equal(jacobian.toarray(), dense)


def test_read_only_and_strided_vectors() -> None:
    jacobian = Jacobian.of(term("i <- ij", x="j"), (3,), (3, 2), {"x": np.array([1.0, 2.0])})
    row = np.arange(6.0)[::-2]
    row.setflags(write=False)
    expected = np.outer([5.0, 3.0, 1.0], [1.0, 2.0])
    assert np.array_equal(jacobian.pull(row), expected)
    assert np.array_equal(jacobian.pull([5, 3, 1]), expected)
    assert np.array_equal(jacobian.push(np.asfortranarray(expected)), [25.0, 15.0, 5.0])


# --- making one ---------------------------------------------------------------------------


def test_plain_arrays_sparse_matrices_numbers_and_jacobians_are_rules() -> None:
    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
    for given_rule in (
        dense,
        dense.tolist(),
        dense.reshape(2, 3, 1),
        sp.csr_array(dense),
        sp.csc_matrix(dense),
        sp.coo_array(dense),
        Jacobian.of(dense, (2,), (3, 1)),
        dense.astype(np.float32),
        dense.astype(int),
    ):
        assert np.array_equal(Jacobian.of(given_rule, (2,), (3, 1)).toarray(), dense)
    for nothing in (0, 0.0, sp.csr_array((2, 3)), np.zeros((2, 3))):
        assert not Jacobian.of(nothing, (2,), (3,)).toarray().any()
    assert Jacobian.of(0, (2,), (3,)).terms == ()
    assert Jacobian.of(sp.csr_array((2, 3)), (2,), (3,)).nnz == 0


def test_sparse_duplicates_are_added_and_stored_zeros_kept() -> None:
    given_rule = sp.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    jacobian = Jacobian.of(given_rule, (2,), (2,))
    assert np.array_equal(jacobian.toarray(), [[0.0, 3.0], [0.0, 0.0]])
    assert jacobian.nnz == jacobian.tocsr().nnz == 2
    assert given_rule.nnz == 3  # the caller's matrix is as it was


def test_boolean_factors_count_as_numbers() -> None:
    mask = np.array([[True, True], [False, True]])
    rule = term("i <- j", (mask, "ik", ""), (mask, "kj", ""))
    expected = mask.astype(float) @ mask.astype(float)
    assert np.array_equal(Jacobian.of(rule, (2,), (2,)).toarray(), expected)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (np.zeros((3, 2)), "shape (2, 3)"),
        (np.zeros(6), "shape (2, 3)"),
        (sp.csr_array((3, 2)), "shape (2, 3)"),
        (1.0, "got shape ()"),
        ([[1.0], [2.0, 3.0]], "unequal length"),
        (np.zeros((2, 3), dtype=complex), "complex128"),
        (sp.csr_array(np.ones((2, 3), dtype=complex)), "complex128"),
        ("diag(x)", "real numbers"),
        (Jacobian.identity((2,)), "(2,) and (3,)"),
        (term("i <- i"), "3"),
        (term("ij <- i"), "2 axes"),
        (term("i"), "no '<-'"),
        (term("i <- j", W="ij"), "named x"),
        (term("1 <- j"), "size 1"),
    ],
)
def test_rules_that_do_not_fit_are_refused(rule: object, says: str) -> None:
    with pytest.raises(RuleError) as error:
        Jacobian.of(rule, (2,), (3,), {"x": np.ones(3)})
    assert says in str(error.value)


def test_unknown_factor_has_a_hint() -> None:
    with pytest.raises(RuleError, match="did you mean 'weights'"):
        Jacobian.of(term("i <- j", weight="ij"), (2,), (3,), {"weights": np.ones((2, 3))})


def test_empty_values_have_empty_jacobians() -> None:
    for out_shape, in_shape in [((0,), (3,)), ((3,), (0, 2)), ((0,), (0,)), ((2, 0), ())]:
        for jacobian in (
            Jacobian.of(term("... <- ..."), out_shape, in_shape),
            Jacobian.of(np.zeros((math.prod(out_shape), math.prod(in_shape))), out_shape, in_shape),
            Jacobian.zero(out_shape, in_shape),
        ):
            assert jacobian.shape == (math.prod(out_shape), math.prod(in_shape))
            assert jacobian.tocsr().shape == jacobian.shape
            assert jacobian.nnz == 0
            assert np.array_equal(jacobian.pull(np.ones(out_shape)), np.zeros(in_shape))
            assert np.array_equal(jacobian.push(np.ones(in_shape)), np.zeros(out_shape))
            assert (jacobian @ jacobian.T).toarray().shape == (jacobian.shape[0],) * 2
    empty = Jacobian.rearrangement(np.zeros((0, 2), dtype=np.intp), (3,))
    assert empty.tocsr().shape == (0, 3)


def test_summed_label_of_size_zero_gives_zero() -> None:
    a, b = np.ones((2, 0)), np.ones((0, 3))
    rule = term("i <- j", (a, "ik", ""), (b, "kj", ""))
    assert np.array_equal(Jacobian.of(rule, (2,), (3,)).toarray(), np.zeros((2, 3)))
    dense = Jacobian.of(a, (2,), (0,)) @ Jacobian.of(b, (0,), (3,))
    assert np.array_equal(dense.toarray(), np.zeros((2, 3)))


# --- errors -------------------------------------------------------------------------------


def test_shapes_that_do_not_meet() -> None:
    a, b = Jacobian.identity((2, 3)), Jacobian.identity((6,))
    with pytest.raises(ShapeError, match=r"a product of Jacobians.*\(2, 3\).*\(6,\)"):
        a @ b
    with pytest.raises(ShapeError, match=r"a sum of Jacobians.*\(2, 3\).*\(6,\)"):
        a + b
    with pytest.raises(ShapeError, match=r"pull: expected shape \(2, 3\) or flat, got shape"):
        a.pull(np.ones((3, 2)))
    with pytest.raises(ShapeError, match="push"):
        a.push(np.ones(5))
    with pytest.raises(ValuesError, match="complex"):
        a.pull(np.ones((2, 3)) * 1j)
    with pytest.raises(ValuesError, match="unequal"):
        a.pull([[1.0], [2.0, 3.0]])


@pytest.mark.parametrize("operate", ["__add__", "__sub__", "__matmul__", "__mul__"])
def test_operators_leave_other_types_to_others(operate: str) -> None:
    assert getattr(Jacobian.identity((2,)), operate)("x") is NotImplemented


# --- the limit ----------------------------------------------------------------------------


def refused(make: Any, *parts: str) -> None:
    """``make`` is refused before a megabyte is allocated, with a message that has ``parts``."""
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError) as error:
            make()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    for part in parts:
        assert part in str(error.value)


def test_a_matrix_above_the_limit_is_refused_before_it_is_made() -> None:
    million = 10**6
    ones = Jacobian.of(term("i <- j"), (million,), (million,))
    for make in (ones.tocsr, ones.toarray, ones.tensor, lambda: ones.tocsr("denominator")):
        refused(make, "at most 2 GiB", "got 14.6 TiB" if make == ones.tocsr else "TiB", "limit=")
    identity = Jacobian.identity((million,))
    refused(identity.toarray, "7.28 TiB", "at most 2 GiB", "pull, push")
    refused(lambda: identity.tocsr(limit=1000), "at most 1000 bytes", "15.3 MiB")
    assert identity.tocsr(limit=16 * million + 4).nnz == million


def test_the_limit_is_the_callers() -> None:
    jacobian = Jacobian.of(np.ones((20, 30)), (20,), (30,))
    needed = 600 * 12 + 21 * 4
    assert jacobian.nbytes == needed
    assert jacobian.tocsr(limit=needed).nnz == 600
    with pytest.raises(TooLargeError):
        jacobian.tocsr(limit=needed - 1)
    with pytest.raises(TooLargeError):
        jacobian.toarray(limit=4799)


def test_products_and_sums_above_the_limit_are_refused() -> None:
    n = 3000
    rng = np.random.default_rng(0)
    tall = Jacobian.of(rng.normal(size=(n, 2)), (n,), (2,))
    wide = Jacobian.of(rng.normal(size=(2, n)), (2,), (n,))
    refused(lambda: tall.compose(wide, limit=2**20), "1 MiB", "68.7 MiB")
    lazy = Jacobian.of(term("i <- j", (np.ones(n), "i", ""), (np.ones(n), "j", "")), (n,), (n,))
    full = Jacobian.of(term("i <- j", (np.arange(n), "j", "")), (n,), (n,))
    refused(lambda: lazy.plus(full, limit=2**20), "1 MiB", "68.7 MiB")
    at = np.zeros(10**4, dtype=np.intp)
    at[1:] = rng.integers(0, 100, 10**4 - 1)
    gather = Jacobian.rearrangement(at, (100,))
    dense = Jacobian.of(np.ones((100, 1000)), (100,), (1000,))
    refused(lambda: gather.compose(dense, limit=2**20), "1 MiB", "76.3 MiB")


def test_sparse_products_above_the_limit_are_refused() -> None:
    rows = np.repeat(np.arange(200), 2)
    many = Jacobian.of(sp.coo_array((np.ones(400), (rows, np.arange(400) % 4))), (200,), (4,))
    with pytest.raises(TooLargeError, match="at most 20 KiB"):
        many.compose(many.T, limit=20 * 1024)
    product = many.compose(many.T)
    assert np.array_equal(product.toarray(), many.toarray() @ many.toarray().T)


# --- zero times anything ------------------------------------------------------------------


def test_zero_gradient_stays_zero_behind_an_infinite_slope() -> None:
    slope = np.array([np.inf, 2.0, np.nan])
    diagonal = Jacobian.of(term("i <- i", (slope, "i", "")), (3,), (3,))
    assert np.array_equal(diagonal.pull([0.0, 1.0, 0.0]), [0.0, 2.0, 0.0])
    mask = Jacobian.of(term("i <- i", (np.array([0.0, 1.0, 0.0]), "i", "")), (3,), (3,))
    assert np.array_equal((mask @ diagonal).toarray(), np.diag([0.0, 2.0, 0.0]))
    assert np.array_equal((diagonal @ mask).toarray(), np.diag([0.0, 2.0, 0.0]))
    assert np.array_equal((0 * diagonal).toarray(), np.zeros((3, 3)))
    assert np.array_equal((0.0 * diagonal).pull(np.ones(3)), np.zeros(3))


def test_zero_gradient_stays_zero_behind_an_infinite_matrix() -> None:
    dense = np.array([[np.inf, -np.inf, np.nan], [1.0, 2.0, 3.0]])
    jacobian = Jacobian.of(dense, (2,), (3,))
    assert np.array_equal(jacobian.pull([0.0, 1.0]), [1.0, 2.0, 3.0])
    assert np.array_equal(jacobian.pull([1.0, 0.0]), [np.inf, -np.inf, np.nan], equal_nan=True)
    assert np.array_equal(jacobian.push([0.0, 0.0, 0.0]), [0.0, 0.0])
    rows = Jacobian.of(np.array([[0.0, 1.0], [0.0, 2.0]]), (2,), (2,))
    assert np.array_equal((rows @ jacobian).toarray(), [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])


def test_zero_gradient_stays_zero_in_sparse_products() -> None:
    slope = np.array([np.inf, 2.0, np.nan, 1.0])
    at = np.array([0, 0, 1, 1])
    left = Jacobian.of(
        sp.coo_array((np.array([0.0, 1.0, 0.0, 1.0]), (at, np.arange(4)))), (2,), (4,)
    )
    gather = Jacobian.of(sp.coo_array((slope, (np.arange(4), at))), (4,), (2,))
    assert np.array_equal((left @ gather).toarray(), [[2.0, 0.0], [0.0, 1.0]])
    scatter = Jacobian.of(sp.coo_array((np.zeros(4), (at, at * 0))), (2,), (1,))
    assert np.array_equal((scatter.T @ left).toarray(), np.zeros((1, 4)))


def test_infinite_slopes_of_both_signs_are_undefined_without_warning() -> None:
    row = Jacobian.of(term("<- i", (np.array([np.inf, -np.inf]), "i", "")), (), (2,))
    assert np.array_equal(row.pull(1.0), [np.inf, -np.inf])
    assert np.isnan(row.push([1.0, 1.0]))
    other = Jacobian.of(np.array([[-np.inf, -np.inf]]), (), (2,))
    assert np.array_equal((row + other).toarray(), [[np.nan, -np.inf]], equal_nan=True)
    column = Jacobian.of(np.ones((2, 1)), (2,), ())
    assert np.isnan((row @ column).toarray())
    apart = row + Jacobian.of(sp.csr_array(np.array([[-np.inf, 0.0]])), (), (2,))
    assert np.array_equal(apart.pull(1.0), [np.nan, -np.inf], equal_nan=True)


# --- structure ----------------------------------------------------------------------------


def stored(jacobian: Jacobian) -> int:
    """Numbers that the factors of all terms hold."""
    return sum(factor.array.size for part in jacobian.terms for factor in part.factors)


def test_diagonal_times_kronecker_keeps_its_two_factors() -> None:
    d, x = np.arange(1.0, 41.0), np.arange(1.0, 31.0)
    slope = Jacobian.of(term("i <- i", d="i"), (40,), (40,), {"d": d})
    linear = Jacobian.of(term("i <- ij", x="j"), (40,), (40, 30), {"x": x})
    product = slope @ linear
    assert len(product.terms) == 1
    assert stored(product) == 40 + 30
    assert product.nnz == 40 * 30
    assert np.array_equal(product.toarray(), np.diag(d) @ np.kron(np.eye(40), x))


def test_batch_of_network_outputs_stays_block_diagonal() -> None:
    n, d, h, c = 7, 5, 4, 3
    g = ge.Graph()
    X = g.input("X", (n, d))
    W1, W2 = g.parameter("W1", (d, h)), g.parameter("W2", (h, c))
    H = g.node("H", ge.tanh(X @ W1))
    g.node("P", ge.softmax(ge.tanh(H @ W2)))
    rng = np.random.default_rng(3)
    values = {
        "X": rng.normal(size=(n, d)),
        "W1": rng.normal(size=(d, h)),
        "W2": rng.normal(size=(h, c)),
    }
    run = g.run(values)
    outputs = run.structured("P", "H")
    assert max(part.entries for part in outputs.terms) == n * c * h
    assert outputs.nnz == outputs.tocsr().nnz == n * c * h
    assert stored(outputs) <= 2 * n * c * h
    inputs = run.structured("P", "X")
    assert max(part.entries for part in inputs.terms) == n * c * d
    assert run.jacobian("P", "X").nnz == n * c * d
    blocks = outputs.tensor()
    for one, other in itertools.product(range(n), repeat=2):
        if one != other:
            assert not blocks[one, :, other, :].any()
    P = run.value("P")
    Y = np.tanh(run.value("H") @ values["W2"])
    for one in range(n):
        p = P[one]
        hand = (np.diag(p) - np.outer(p, p)) @ np.diag(1 - Y[one] ** 2) @ values["W2"].T
        assert np.allclose(blocks[one, :, one, :], hand, rtol=1e-13, atol=1e-16)


def test_slices_of_slices_stay_slices() -> None:
    positions = np.arange(100)
    first = Jacobian.rearrangement(positions[5:85:2], (100,))
    second = Jacobian.rearrangement(np.arange(40)[::-3], (40,))
    product = second @ first
    (part,) = product.terms
    assert isinstance(part.into.axes[0].at, range)
    assert list(part.into.axes[0].at) == list(positions[5:85:2][::-3])


def test_reversed_twice_is_the_identity() -> None:
    reverse = Jacobian.rearrangement(np.arange(6)[::-1], (6,))
    twice = reverse @ reverse
    assert twice.same_pattern(Jacobian.identity((6,)))
    assert len((twice + Jacobian.identity((6,))).terms) == 1
    assert str(twice) == str(Jacobian.identity((6,)))


def test_disjoint_slices_do_not_meet() -> None:
    front = Jacobian.rearrangement(np.arange(3), (6,))
    back = Jacobian.rearrangement(np.arange(3, 6), (6,))
    product = front @ back.T
    assert product.terms == ()
    assert product.tocsr().nnz == 0
    assert str(product) == "0"
    ones = Jacobian.of(term("<- i"), (), (3,))
    assert (ones @ front @ back.T @ ones.T).toarray() == 0.0
    assert np.array_equal((front @ front.T).toarray(), np.eye(3))


def test_equal_terms_are_added_by_their_coefficients() -> None:
    x = np.array([1.0, 2.0])
    diagonal = Jacobian.of(term("i <- i", x="i"), (2,), (2,), {"x": x})
    doubled = diagonal + diagonal
    assert len(doubled.terms) == 1
    assert doubled.terms[0].coef == 2.0
    assert str(doubled) == "2 diag(x)"


# --- the table of the design --------------------------------------------------------------

RNG = np.random.default_rng(11)
A, B, W = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 5)), RNG.normal(size=(3, 4))
X, Y, D, P = (RNG.normal(size=n) for n in ((4,), (2, 2), (3,), (3,)))


def commutation(m: int, n: int) -> Array:
    """``K`` with ``K vec(A) = vec(Aᵀ)`` for ``A`` of ``m × n``."""
    K = np.zeros((m * n, m * n))
    for i, j in itertools.product(range(m), range(n)):
        K[j * m + i, i * n + j] = 1.0
    return K


@pytest.mark.parametrize(
    ("rule", "out_shape", "in_shape", "dense"),
    [
        (term("i <- i"), (3,), (3,), np.eye(3)),
        (term("i <- i", (D, "i", "d")), (3,), (3,), np.diag(D)),
        (term("i <- ij", (X, "j", "x")), (3,), (3, 4), np.kron(np.eye(3), X)),
        (term("i <- j", (W, "ij", "W")), (3,), (4,), W),
        (term("ik <- ij", (B, "jk", "B")), (3, 5), (3, 4), np.kron(np.eye(3), B.T)),
        (term("ik <- jk", (A, "ij", "A")), (3, 5), (4, 5), np.kron(A, np.eye(5))),
        (
            term("i <- i", (P, "i", "p")) - term("i <- j", (P, "i", "p"), (P, "j", "p")),
            (3,),
            (3,),
            np.diag(P) - np.outer(P, P),
        ),
        (2.0 * term("<- ij", (W, "ij", "W")), (), (3, 4), 2 * W.reshape(1, -1)),
        (
            -term("ij <- kl", (Y, "ik", "Y"), (Y, "lj", "Y")),
            (2, 2),
            (2, 2),
            -np.kron(Y, Y.T),
        ),
        (term("<- ii"), (), (3, 3), np.eye(3).reshape(1, -1)),
        (term("ji <- ij"), (4, 3), (3, 4), commutation(3, 4)),
        (term("... <- ..."), (2, 3), (3,), np.vstack([np.eye(3)] * 2)),
        (term("... <- ..."), (2, 3), (2, 1), np.kron(np.eye(2), np.ones((3, 1)))),
        (term("i <- ij"), (2,), (2, 3), np.kron(np.eye(2), np.ones(3))),
    ],
)
def test_rules_of_the_board(rule: Any, out_shape: Any, in_shape: Any, dense: Array) -> None:
    jacobian = Jacobian.of(rule, out_shape, in_shape)
    assert np.allclose(jacobian.toarray(), dense, rtol=1e-15, atol=0)
    assert jacobian.nnz == jacobian.tocsr().nnz


def test_denominator_tensor_of_the_lecture() -> None:
    """``∂z/∂W`` of ``z = W x`` is ``m × n × m``; slice ``k`` has ``xᵀ`` in row ``k`` alone."""
    m, n = 3, 4
    jacobian = Jacobian.of(term("i <- ij", (X, "j", "x")), (m,), (m, n))
    tensor = jacobian.tensor("denominator")
    assert tensor.shape == (m, n, m)
    for k in range(m):
        expected = np.zeros((m, n))
        expected[k] = X
        assert np.array_equal(tensor[:, :, k], expected)
