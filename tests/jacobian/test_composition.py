"""Composition of terms: what is unified symbolically, what is summed, what is left to sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphengine.errors import TooLargeError
from graphengine.jacobian.composition import compose, merge
from graphengine.jacobian.contraction import DEFAULT_LIMIT
from graphengine.jacobian.terms import (
    Index,
    Term,
    bind,
    from_entries,
    from_matrix,
    from_positions,
    structure,
    term,
)
from tests.strategies import (
    MIDDLES,
    Array,
    Shape,
    dense_of_term,
    positions,
    rules,
    shapes,
    whole_numbers,
)


def rule(subscripts: str, out_shape: Shape, in_shape: Shape, *factors: Any) -> Term:
    (part,) = term(subscripts, *factors)
    return bind(part, out_shape, in_shape, {})


def product(left: Term, right: Term) -> Term:
    """The one term of ``left @ right``, whose numbers are those of the matrices."""
    found = compose(left, right, DEFAULT_LIMIT)
    assert found is not None
    (part,) = found
    assert np.array_equal(dense_of_term(part), dense_of_term(left) @ dense_of_term(right))
    return part


@st.composite
def terms(draw: st.DrawFn, out_shape: Shape, in_shape: Shape) -> Term:
    if draw(st.booleans()):
        return bind(draw(rules(out_shape, in_shape))[0], out_shape, in_shape, {})
    if draw(st.booleans()):
        return from_positions(draw(positions(out_shape, in_shape)), in_shape)
    return from_positions(draw(positions(in_shape, out_shape)), out_shape).transposed


@settings(max_examples=200)
@given(st.data())
def test_product_of_two_terms(data: st.DataObject) -> None:
    middle = data.draw(st.sampled_from(MIDDLES))
    left = data.draw(terms(data.draw(shapes()), middle))
    other = data.draw(st.sampled_from([middle, *MIDDLES]))
    right = data.draw(terms(other, data.draw(shapes())))
    expected = dense_of_term(left) @ dense_of_term(right)
    found = compose(left, right, DEFAULT_LIMIT)
    if found is None:
        return  # a sparse product: tests/jacobian/test_jacobian.py has those numbers
    total: Array = sum((dense_of_term(part) for part in found), start=np.zeros(expected.shape))
    assert np.array_equal(total, expected)
    for part in found:
        assert 0 < part.entries <= expected.size
        assert set(part.sizes) == set(part.labels)  # nothing is left to be summed
        assert len({frozenset(f.labels) for f in part.factors}) == len(part.factors)


# --- labels that meet ---------------------------------------------------------------------


def test_kronecker_deltas_vanish() -> None:
    one, other = rule("ij <- ij", (2, 3), (2, 3)), rule("ji <- ij", (3, 2), (2, 3))
    part = product(other, one)
    assert structure([part]) == structure([other])
    assert part.factors == ()
    back = product(rule("ij <- ji", (2, 3), (3, 2)), other)
    assert structure([back]) == structure([one])


def test_a_label_that_nobody_carries_counts_its_values() -> None:
    part = product(rule("<- i", (), (5,)), rule("i <- ", (5,), ()))
    assert (part.coef, part.factors, part.sizes) == (5.0, (), {})


def test_a_summed_label_is_contracted() -> None:
    rng = np.random.default_rng(0)
    a, b = whole_numbers(rng, 4, 5), whole_numbers(rng, 5, 3)
    part = product(
        rule("i <- j", (4,), (5,), (a, "ij", "A")), rule("i <- j", (5,), (3,), (b, "ij", ""))
    )
    (factor,) = part.factors
    assert np.array_equal(factor.array, a @ b)


def test_factors_of_like_labels_are_multiplied_and_others_kept_apart() -> None:
    d, e, x = np.arange(1.0, 4.0), np.arange(2.0, 5.0), np.arange(5.0)
    slopes = product(
        rule("i <- i", (3,), (3,), (d, "i", "d")), rule("i <- i", (3,), (3,), (e, "i", "e"))
    )
    (factor,) = slopes.factors
    assert np.array_equal(factor.array, d * e)
    part = product(slopes, rule("i <- ij", (3,), (3, 5), (x, "j", "{x}")))
    assert sorted(f.array.size for f in part.factors) == [3, 5]
    assert [f.text for f in part.factors if f.array.size == 5] == ["{x}"]


def test_numbers_multiply() -> None:
    part = product(
        rule("<-", (), (), (np.array(3.0), "", "")).scaled(2.0), rule("<-", (), ()).scaled(-1.0)
    )
    assert part.coef == -2.0
    assert [float(f.array) for f in part.factors] == [3.0]
    part = product(part, rule("<-", (), (), (np.array(5.0), "", "")))
    assert [float(f.array) for f in part.factors] == [15.0]


# --- tables that meet ---------------------------------------------------------------------


def gather(table: Any, size: int) -> Term:
    return from_positions(np.asarray(table), (size,))


def test_slices_that_do_not_overlap_give_no_term() -> None:
    assert compose(gather([0, 1], 4), gather([2, 3], 4).transposed, DEFAULT_LIMIT) == ()
    rows = rule("<- i", (), (2,))
    nothing = compose(gather([0, 1], 4), gather([2, 3], 4).transposed, DEFAULT_LIMIT)
    assert nothing == ()
    single = product(rows, gather([0, 1], 4))
    assert compose(single, gather([2, 3], 4).transposed, DEFAULT_LIMIT) == ()
    whole = compose(single, product(gather([2, 3], 4).transposed, rows.transposed), DEFAULT_LIMIT)
    assert whole == ()


def test_overlapping_slices_keep_the_overlap() -> None:
    part = product(gather([0, 1, 2], 5), gather([1, 2, 3, 4], 5).transposed)
    assert part.out.axes == (Index(part.labels[0], range(1, 3)),)
    assert part.into.axes == (Index(part.labels[0], range(2)),)


def test_a_gather_meets_a_permutation() -> None:
    part = product(gather([3, 3, 0], 4), gather([2, 0, 3, 1], 4).transposed)
    assert part.entries == 3


def test_two_gathers_with_repeats_are_left_to_a_sparse_product() -> None:
    left, right = gather([0, 0, 1], 3), gather([0, 0, 2], 3).transposed
    assert compose(left, right, DEFAULT_LIMIT) is None


def test_a_table_applied_to_a_table() -> None:
    part = product(gather([2, 0, 0, 1], 3), gather([4, 1, 1], 5))
    (at,) = (i.at for i in part.into.axes)
    assert list(np.asarray(at)) == [1, 4, 4, 1]


@pytest.mark.parametrize("table", [[2, 1, 0], [0, 2, 1], [0, 1, 1]])
def test_the_diagonal_of_a_gather_keeps_what_agrees(table: list[int]) -> None:
    """Both axes of the middle follow one label, once as it is and once through a table."""
    diagonal = rule("<- ii", (), (3, 3))
    rows = from_positions(np.arange(9).reshape(3, 3)[table], (3, 3))
    part = compose(diagonal, rows, DEFAULT_LIMIT)
    assert part is not None
    total = sum(dense_of_term(one) for one in part)
    assert np.array_equal(total, dense_of_term(diagonal) @ dense_of_term(rows))


def test_two_tables_of_one_label_meet() -> None:
    columns = np.arange(16).reshape(4, 4)[[0, 1, 3], [1, 1, 3]]
    picked = from_positions(columns, (4, 4)).transposed  # one label on both axes, two tables
    diagonal = rule("<- ii", (), (4, 4))
    found = compose(diagonal, picked, DEFAULT_LIMIT)
    assert found is not None
    total = sum(dense_of_term(one) for one in found)
    assert np.array_equal(total, dense_of_term(diagonal) @ dense_of_term(picked))
    again = from_positions(np.arange(16).reshape(4, 4)[[3, 1, 0], [3, 1, 0]], (4, 4))
    found = compose(again, picked, DEFAULT_LIMIT)
    assert found is not None
    total = sum((dense_of_term(one) for one in found), start=np.zeros((3, 3)))
    assert np.array_equal(total, dense_of_term(again) @ dense_of_term(picked))


def test_gathered_factors_lose_their_text() -> None:
    x = np.arange(4.0)
    slopes = rule("i <- i", (4,), (4,), (x, "i", "{x}"))
    part = product(gather([2, 0, 0], 4), slopes)
    assert [f.text for f in part.factors] == [""]
    assert np.array_equal(part.factors[0].array, [2.0, 0.0, 0.0])
    turned = product(rule("i <- i", (4,), (4,)), slopes)
    assert [f.text for f in turned.factors] == ["{x}"]


# --- regrouped axes -----------------------------------------------------------------------


def test_a_pure_axis_is_split_where_the_other_side_has_two() -> None:
    rng = np.random.default_rng(4)
    x = whole_numbers(rng, 12)
    slopes = rule("i <- i", (12,), (12,), (x, "i", "{x}"))
    flat = from_positions(np.arange(12), (3, 4))
    inner = rule("ij <- ji", (3, 4), (4, 3))
    part = product(product(slopes, flat), inner)
    assert part.out.view == (3, 4)
    assert part.entries == 12
    assert [f.text for f in part.factors] == ["{x}"]
    assert all(i.at is None for i in part.out.axes + part.into.axes)


def test_an_axis_behind_a_table_is_split_into_two_tables() -> None:
    part = product(gather([11, 5, 5, 0], 12), rule("ij <- ji", (3, 4), (4, 3)))
    tables = [list(np.asarray(i.at)) for i in part.into.axes]
    assert tables == [[3, 1, 1, 0], [2, 1, 1, 0]]


def test_axes_without_common_grouping_are_left_to_a_sparse_product() -> None:
    left, right = rule("<- ij", (), (3, 6)), rule("ij <- ij", (2, 9), (2, 9))
    assert compose(left, right, DEFAULT_LIMIT) is None


def test_products_that_would_repeat_entries_are_left_to_a_sparse_product() -> None:
    rows, cols = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
    sparse = from_entries((3, 4), rows, cols, np.ones(12))
    assert compose(sparse, from_matrix(np.ones((4, 5))), DEFAULT_LIMIT) is None


# --- limits -------------------------------------------------------------------------------


def test_lookups_and_sums_above_the_limit_are_refused() -> None:
    left, right = gather(np.r_[np.zeros(50, int), 1], 100), from_matrix(np.ones((100, 30)))
    assert compose(left, right, 51 * 30 * 8) is not None
    with pytest.raises(TooLargeError):
        compose(left, right, 51 * 30 * 8 - 1)
    tall, wide = from_matrix(np.ones((50, 2))), from_matrix(np.ones((2, 50)))
    assert compose(tall, wide, 20_000) is not None
    with pytest.raises(TooLargeError):
        compose(tall, wide, 19_999)


# --- sums ---------------------------------------------------------------------------------


def test_merge_adds_terms_of_one_structure() -> None:
    rng = np.random.default_rng(5)
    a, b, c = (whole_numbers(rng, 3) for _ in range(3))
    parts = [
        rule("i <- j", (3,), (3,), (a, "i", "a"), (b, "j", "b")),
        rule("i <- i", (3,), (3,), (c, "i", "c")),
        rule("p <- q", (3,), (3,), (c, "q", "c")).scaled(-2.0),
    ]
    merged = merge(parts, DEFAULT_LIMIT)
    assert len(merged) == 2
    total = sum(dense_of_term(part) for part in merged)
    assert np.array_equal(total, np.outer(a, b) + np.diag(c) - 2 * np.ones((3, 1)) * c)
    assert merge([], DEFAULT_LIMIT) == ()
    assert merge(parts[:1], DEFAULT_LIMIT) == (parts[0],)


def test_merge_of_equal_factors_adds_coefficients() -> None:
    x = np.arange(3.0)
    parts = [rule("i <- ij", (2,), (2, 3), (x, "j", "{x}")).scaled(s) for s in (1.0, 2.0, -0.5)]
    (part,) = merge(parts, DEFAULT_LIMIT)
    assert part.coef == 2.5
    assert part.factors[0].array is x
    plain = [rule("i <- i", (3,), (3,)), rule("k <- k", (3,), (3,)).scaled(4.0)]
    (part,) = merge(plain, DEFAULT_LIMIT)
    assert (part.coef, part.factors) == (5.0, ())
    square = np.arange(9.0).reshape(3, 3)
    turned = [
        rule("i <- j", (3,), (3,), (square, "ij", "")),
        rule("i <- j", (3,), (3,), (square, "ji", "")),
    ]
    (part,) = merge(turned, DEFAULT_LIMIT)  # the same array, but not the same numbers
    assert np.array_equal(dense_of_term(part), square + square.T)


def test_a_sum_forgets_labels_that_it_has_summed() -> None:
    """The label that one factor sums over must not multiply a later product."""
    one = rule("<-", (), (), (np.array([1.0, 4.0]), "a", ""))
    (part,) = merge([one, one.scaled(0.5), rule("<-", (), ())], DEFAULT_LIMIT)
    assert part.sizes == {}
    assert dense_of_term(product(part, rule("<-", (), ()))) == 8.5


def test_sums_above_the_limit_are_refused() -> None:
    parts = [
        rule("i <- j", (50,), (50,), (np.ones(50), "j", "")),
        rule("i <- j", (50,), (50,), (np.ones(50), "i", "")),
    ]
    assert len(merge(parts, 20_000)) == 1
    with pytest.raises(TooLargeError):
        merge(parts, 19_999)
