"""Contraction: products of labelled arrays, summed over the labels that are not kept."""

from __future__ import annotations

import math
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphengine.errors import TooLargeError
from graphengine.jacobian.contraction import contract, expand, guard, human, times
from graphengine.jacobian.terms import Factor
from tests.strategies import coefs, seeds, whole_numbers

SIZES = {10: 2, 11: 3, 12: 1, 13: 4, 14: 2}


@given(
    st.lists(st.lists(st.sampled_from(sorted(SIZES)), unique=True, max_size=4), max_size=4),
    st.lists(st.sampled_from(sorted(SIZES)), unique=True, max_size=4),
    coefs,
    seeds,
)
def test_against_einsum(subsets: list[list[int]], keep: list[int], coef: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    operands = [
        Factor(whole_numbers(rng, *(SIZES[label] for label in labels)), tuple(labels))
        for labels in subsets
    ]
    found = contract(operands, tuple(keep), SIZES, coef=coef)
    letter = dict(zip(SIZES, string.ascii_letters, strict=False))
    ones = [np.ones(SIZES[label]) for label in keep]
    inputs = [*("".join(letter[k] for k in labels) for labels in subsets), *map(letter.get, keep)]
    text = ",".join(map(str, inputs)) + "->" + "".join(letter[k] for k in keep)
    arrays = [*(operand.array for operand in operands), *ones]
    expected = coef * (np.einsum(text, *arrays) if arrays else np.ones(()))
    assert found.shape == tuple(SIZES[label] for label in keep)
    assert np.array_equal(found, expected)


def test_sum_over_nothing_is_zero() -> None:
    sizes = {0: 2, 1: 0, 2: 3}
    left, right = Factor(np.ones((2, 0)), (0, 1)), Factor(np.ones((0, 3)), (1, 2))
    assert np.array_equal(contract([left, right], (0, 2), sizes), np.zeros((2, 3)))
    assert np.array_equal(contract([left], (0,), sizes), np.zeros(2))
    assert contract([left, right], (0, 1), sizes).shape == (2, 0)


def test_transposed_and_strided_operands() -> None:
    a, b = np.arange(24.0).reshape(4, 6)[::-1, ::2], np.asfortranarray(np.arange(6.0).reshape(3, 2))
    found = contract([Factor(a, (0, 1)), Factor(b.T, (2, 1))], (2, 0), {0: 4, 1: 3, 2: 2})
    assert np.array_equal(found, (a @ b).T)


def test_expand_repeats_without_copying() -> None:
    array = np.arange(3.0)
    found = expand(Factor(array, (1,)), (0, 1, 2), {0: 2, 1: 3, 2: 4})
    assert np.array_equal(found, np.broadcast_to(array[:, None], (2, 3, 4)))
    assert np.shares_memory(found, array)
    assert not found.flags.writeable


# --- zero times anything ------------------------------------------------------------------

SPECIAL = [0.0, 1.0, -2.0, math.inf, -math.inf, math.nan]


def product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


@given(st.integers(1, 3), st.integers(0, 3), st.integers(1, 3), st.integers(0, 2), seeds)
def test_zero_times_anything_is_zero(n: int, k: int, m: int, batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lead = (batch,) if batch else ()
    weights = [4, 4, 4, 1, 1, 1]
    odds = np.array(weights) / sum(weights)
    a, b = rng.choice(SPECIAL, (*lead, n, k), p=odds), rng.choice(SPECIAL, (*lead, k, m), p=odds)
    sizes, labels = {0: n, 1: k, 2: m, 3: batch}, (3,) if batch else ()
    found = contract(
        [Factor(a, (*labels, 0, 1)), Factor(b, (*labels, 1, 2))], (*labels, 0, 2), sizes
    )
    for at in np.ndindex(*lead, n, m):
        row, column = a[*at[:-1]], b[*at[:-2], :, at[-1]]
        expected = sum(product(x, y) for x, y in zip(row, column, strict=True))
        assert np.array_equal(found[at], expected, equal_nan=True)
    same = times(a, a)
    assert np.array_equal(same, np.vectorize(product, otypes=[float])(a, a), equal_nan=True)


def test_zero_coefficient_gives_zero() -> None:
    operand = Factor(np.array([math.inf, math.nan, 1.0]), (0,))
    assert np.array_equal(contract([operand], (0,), {0: 3}, coef=0.0), np.zeros(3))


def test_overflow_gives_infinity_without_warning() -> None:
    huge = np.full((2, 2), 1e200)
    found = contract([Factor(huge, (0, 1)), Factor(huge, (1, 2))], (0, 2), {0: 2, 1: 2, 2: 2})
    assert np.array_equal(found, np.full((2, 2), math.inf))


# --- limits -------------------------------------------------------------------------------


def test_products_above_the_limit_are_refused() -> None:
    sizes = {0: 100, 1: 100, 2: 3}
    left, right = Factor(np.ones((100, 3)), (0, 2)), Factor(np.ones((3, 100)), (2, 1))
    assert contract([left, right], (0, 1), sizes, limit=80_000).shape == (100, 100)
    with pytest.raises(TooLargeError, match=r"at most 78\.1 KiB, got 78\.1 KiB"):
        contract([left, right], (0, 1), sizes, limit=79_999)
    outer = [Factor(np.ones(100), (0,)), Factor(np.ones(100), (1,))]
    with pytest.raises(TooLargeError):
        contract(outer, (0, 1), sizes, limit=79_999)


def test_the_cheapest_pair_comes_first() -> None:
    """Three vectors and a matrix: never the outer product of two long ones."""
    n = 1000
    sizes = {0: n, 1: n, 2: n}
    vectors = [Factor(np.ones(n), (label,)) for label in (0, 1, 0)]
    assert contract(vectors, (1,), sizes, limit=8 * n)[0] == n
    chain = [
        Factor(np.ones((n, 2)), (0, 5)),
        Factor(np.ones((2, n)), (5, 1)),
        Factor(np.ones(n), (1,)),
    ]
    found = contract(chain, (0,), {**sizes, 5: 2}, limit=8 * n)
    assert np.array_equal(found, np.full(n, 2.0 * n))


def test_guard_names_the_size_and_the_way_out() -> None:
    guard(100, 100)
    with pytest.raises(TooLargeError) as error:
        guard(101 * 2**30, 2 * 2**30, "edge z <- W")
    assert str(error.value) == (
        "edge z <- W: expected at most 2 GiB, got 101 GiB; raise limit=, take a gradient or "
        "products (pull, push) instead, or ask for fewer rows or columns"
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1023 * 1024, "1023 KiB"),
        (3 * 2**40, "3 TiB"),
        (2**80, "1048576 EiB"),
    ],
)
def test_bytes_for_people(size: int, text: str) -> None:
    assert human(size) == text
