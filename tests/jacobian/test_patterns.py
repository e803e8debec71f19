"""Patterns of CSR matrices: right places, computed once, never handed out."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from graphengine.errors import TooLargeError
from graphengine.jacobian import Jacobian, patterns, term
from graphengine.jacobian.contraction import DEFAULT_LIMIT
from graphengine.jacobian.patterns import (
    PatternCache,
    bytes_needed,
    matrix,
    sparse_product,
)
from graphengine.jacobian.terms import Term, bind, from_positions
from tests.strategies import Case, cases, dense_of_term, positions, rules, shapes


def bound(subscripts: str, out_shape: Any, in_shape: Any, *factors: Any) -> Term:
    (part,) = term(subscripts, *factors)
    return bind(part, out_shape, in_shape, {})


@given(st.data())
def test_places_are_those_of_the_entries(data: st.DataObject) -> None:
    """Every entry stands where the definition puts it, also when its number is zero."""
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    if data.draw(st.booleans()):
        part = bind(data.draw(rules(out_shape, in_shape))[0], out_shape, in_shape, {})
    else:
        part = from_positions(data.draw(positions(out_shape, in_shape)), in_shape)
    ones = Term(part.out, part.into, {k: part.sizes[k] for k in part.labels})
    expected = dense_of_term(ones) != 0
    pattern = PatternCache().get(expected.shape, [part], DEFAULT_LIMIT)
    found = sp.csr_array(
        (np.ones(len(pattern.model.indices)), pattern.model.indices, pattern.model.indptr),
        shape=expected.shape,
    )
    assert found.has_canonical_format
    assert np.array_equal(found.toarray() != 0, expected)


@pytest.mark.parametrize(
    ("part", "direct"),
    [
        (bound("i <- ij", (3,), (3, 4)), True),
        (bound("ik <- ij", (3, 5), (3, 4)), True),
        (bound("ik <- jk", (3, 5), (4, 5)), True),
        (bound("i <- i", (3,), (3,)), True),
        (bound("ij <- ji", (3, 4), (4, 3)), True),
        (bound("i <- jk", (3,), (4, 5)), True),
        (bound("<- ", (), ()), True),
        (bound("i <- ii", (3,), (3, 3)), True),
        (from_positions(np.arange(10)[2:8:2], (10,)), True),
        (from_positions(np.array([5, 0, 0, 7]), (10,)), True),
        (from_positions(np.array([0, 5, 7]), (10,)).transposed, True),
        (from_positions(np.array([0, 1, 7]), (10,)).transposed, True),
        (bound("ii <- i", (3, 3), (3,)), False),
        (from_positions(np.arange(10)[::-1], (10,)).transposed, False),
        (from_positions(np.array([5, 0, 7]), (10,)).transposed, False),
        (bound("<- ii", (), (3, 3)), False),
    ],
)
def test_entries_in_the_order_of_csr_are_written_directly(part: Term, direct: bool) -> None:
    dense = dense_of_term(part)
    pattern = PatternCache().get(dense.shape, [part], DEFAULT_LIMIT)
    assert (pattern.slots is None) == direct
    assert np.array_equal(pattern.fill([part], DEFAULT_LIMIT).toarray(), dense)


def test_columns_that_stand_twice_are_added() -> None:
    rows = Jacobian.of(term("i <- ij"), (2,), (2, 2)) @ Jacobian.rearrangement(
        np.array([[0, 0], [1, 0]]), (2,)
    )
    found = rows.tocsr()
    assert np.array_equal(found.toarray(), [[2.0, 0.0], [1.0, 1.0]])
    assert found.nnz == 3


# --- the cache ----------------------------------------------------------------------------


def test_patterns_are_made_once_for_each_structure() -> None:
    cache = PatternCache()
    first = bound("i <- ij", (3,), (3, 4), (np.arange(4.0), "j", ""))
    second = bound("a <- ab", (3,), (3, 4), (np.ones(4), "b", "")).scaled(2.0)
    assert cache.get((3, 12), [first], DEFAULT_LIMIT) is cache.get((3, 12), [second], DEFAULT_LIMIT)
    assert cache.get((3, 12), [first, second], DEFAULT_LIMIT) is not cache.get(
        (3, 12), [first], DEFAULT_LIMIT
    )
    other = bound("i <- ij", (3,), (3, 5))
    assert cache.get((3, 15), [other], DEFAULT_LIMIT) is not cache.get(
        (3, 12), [first], DEFAULT_LIMIT
    )


def test_patterns_used_longest_ago_are_dropped() -> None:
    parts = [bound("i <- j", (2,), (n,)) for n in (3, 4, 5)]
    sizes = [
        PatternCache().get((2, n), [p], DEFAULT_LIMIT).nbytes
        for n, p in zip((3, 4, 5), parts, strict=True)
    ]
    cache = PatternCache(limit=sum(sizes) - 1)
    first, second = (
        cache.get((2, n), [p], DEFAULT_LIMIT) for n, p in zip((3, 4), parts[:2], strict=True)
    )
    assert cache.get((2, 3), parts[:1], DEFAULT_LIMIT) is first  # now the second is the older one
    cache.get((2, 5), parts[2:], DEFAULT_LIMIT)
    assert cache.get((2, 3), parts[:1], DEFAULT_LIMIT) is first
    assert cache.get((2, 4), parts[1:2], DEFAULT_LIMIT) is not second


def test_a_pattern_larger_than_the_cache_is_not_held() -> None:
    part = bound("i <- j", (2,), (3,))
    cache = PatternCache(limit=10)
    assert cache.get((2, 3), [part], DEFAULT_LIMIT) is not cache.get((2, 3), [part], DEFAULT_LIMIT)


def test_bytes_of_a_pattern() -> None:
    direct = PatternCache().get((2, 3), [bound("i <- j", (2,), (3,))], DEFAULT_LIMIT)
    assert direct.nbytes == 6 * 4 + 3 * 4
    two = PatternCache().get(
        (3, 3), [bound("i <- j", (3,), (3,)), bound("i <- i", (3,), (3,))], DEFAULT_LIMIT
    )
    assert two.nbytes == 9 * 4 + 4 * 4 + 12 * 8


@given(cases())
def test_the_cached_pattern_is_never_handed_out(case: Case) -> None:
    jacobian = case.jacobian
    if not jacobian.terms:
        return
    pattern = patterns.patterns.get(jacobian.shape, jacobian.terms, DEFAULT_LIMIT)
    found = jacobian.tocsr()
    assert not np.shares_memory(found.indices, pattern.model.indices)
    assert not np.shares_memory(found.indptr, pattern.model.indptr)
    for factor in itertools.chain(*(part.factors for part in jacobian.terms)):
        assert not np.shares_memory(found.data, factor.array)


# --- index types and limits ---------------------------------------------------------------


def test_indices_are_32_bit_until_they_do_not_fit() -> None:
    entries = bound("i <- j", (3,), (4,))
    assert bytes_needed((3, 4), [entries]) == 12 * 12 + 4 * 4
    wide = 2**31
    assert bytes_needed((3, wide - 1), [entries]) == 12 * 12 + 4 * 4
    assert bytes_needed((3, wide), [entries]) == 12 * 16 + 4 * 8
    many = bound("i <- j", (2**16,), (2**15,))
    assert bytes_needed((2**16, 2**15), [many]) == 2**31 * 16 + (2**16 + 1) * 8
    assert bytes_needed((5, 7), []) == 6 * 4


def test_columns_beyond_32_bits_get_wide_indices() -> None:
    columns = 2**33
    part = from_positions(np.array([5, columns - 1]), (columns,))
    found = matrix((2,), (columns,), [part], DEFAULT_LIMIT)
    assert found.shape == (2, columns)
    assert list(found.indices) == [5, columns - 1]
    assert found.indices.dtype == np.int64


def test_matrix_of_no_terms() -> None:
    found = matrix((2, 2), (3,), (), DEFAULT_LIMIT)
    assert (found.shape, found.nnz, found.dtype) == ((4, 3), 0, np.float64)
    with pytest.raises(TooLargeError):
        matrix((10**9,), (3,), (), DEFAULT_LIMIT)


def test_sparse_product() -> None:
    rng = np.random.default_rng(2)
    a, b = (sp.random_array(s, density=0.4, rng=rng).tocsr() for s in ((6, 5), (5, 7)))
    found = sparse_product(a, b, DEFAULT_LIMIT)
    assert np.allclose(found.toarray(), a.toarray() @ b.toarray(), rtol=1e-15)
    most = int(sum(b.indptr[k + 1] - b.indptr[k] for k in a.indices))
    limit = min(most, 42) * 12
    assert sparse_product(a, b, limit).nnz == found.nnz
    with pytest.raises(TooLargeError):
        sparse_product(a, b, limit - 1)


def test_stored_zeros_of_a_sparse_product_meet_infinity() -> None:
    a = sp.csr_array((np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    b = sp.csr_array(np.array([[np.inf, 1.0], [2.0, 3.0]]))
    assert np.array_equal(sparse_product(a, b, DEFAULT_LIMIT).toarray(), [[2.0, 3.0]])
    assert (a.nnz, b.nnz) == (2, 4)  # the operands are as they were
