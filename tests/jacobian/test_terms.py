"""Terms: how rules are bound to shapes, and how rearrangements and matrices become terms."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphengine.errors import RuleError, ValuesError
from graphengine.jacobian.terms import (
    Factor,
    Index,
    Rule,
    Side,
    Term,
    bind,
    compact,
    distinct,
    flat_positions,
    fresh,
    from_entries,
    from_matrix,
    from_positions,
    index,
    key_of,
    real,
    structure,
    term,
)
from tests.strategies import (
    dense_of_positions,
    dense_of_rule,
    dense_of_term,
    positions,
    rules,
    shapes,
    whole_numbers,
)


def single(rule: Rule, out_shape: Any, in_shape: Any, **named: Any) -> Term:
    (part,) = rule
    return bind(part, out_shape, in_shape, named)


# --- writing rules ------------------------------------------------------------------------


def test_rules_add_subtract_and_scale() -> None:
    a, b = term("i <- i"), term("i <- j", W="ij")
    total = 2.0 * a - b + -a
    assert [(one.subscripts, one.coef) for one in total] == [
        ("i <- i", 2.0),
        ("i <- j", -1.0),
        ("i <- i", -1.0),
    ]
    assert isinstance(total, Rule)
    assert a == term("i <- i")


@pytest.mark.parametrize("other", [(), (1,), 3, "i <- i"])
def test_a_rule_adds_to_rules_alone(other: object) -> None:
    with pytest.raises(TypeError):
        term("i <- i") + other


def test_an_argument_may_have_any_name() -> None:
    rule = term("i <- i", subscripts="i", self="i")
    assert [factor[0] for factor in rule[0].factors] == ["subscripts", "self"]
    array = np.array([2.0, 3.0])
    part = single(rule, (2,), (2,), subscripts=array, self=array)
    assert np.array_equal(dense_of_term(part), np.diag([4.0, 9.0]))


def test_a_name_in_place_of_an_array_keeps_its_own_text() -> None:
    rule = term("i <- j", ("out", "i", ""), ("x", "j", "{x}**2"))
    part = single(rule, (2,), (3,), out=np.ones(2), x=np.arange(3.0))
    assert [factor.text for factor in part.factors] == ["{out}", "{x}**2"]


# --- binding ------------------------------------------------------------------------------


@given(st.data())
def test_bound_term_means_what_the_subscripts_say(data: st.DataObject) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    rule = data.draw(rules(out_shape, in_shape))
    part = bind(rule[0], out_shape, in_shape, {})
    assert np.array_equal(dense_of_term(part), dense_of_rule(rule, out_shape, in_shape))
    assert 1 not in part.out.view + part.into.view
    assert set(part.labels) <= set(part.sizes)
    assert part.entries == np.prod([part.sizes[label] for label in part.labels])


@pytest.mark.parametrize(
    ("subscripts", "out_shape", "in_shape"),
    [
        ("... <- ...", (2, 3, 4), (3, 1)),
        ("... <- ...", (2, 3), ()),
        ("...i <- i...", (3, 2), (2, 3)),
        ("a...b <- ...", (2, 3, 4), (3,)),
        ("... <- ...j", (2, 3), (3, 4)),
    ],
)
def test_dots_are_aligned_from_the_right(subscripts: str, out_shape: Any, in_shape: Any) -> None:
    rng = np.random.default_rng(0)
    rule = term(subscripts, (whole_numbers(rng, *out_shape[-1:]), "...", ""))
    if "i" in subscripts or "b" in subscripts:
        rule = term(subscripts)
    part = single(rule, out_shape, in_shape)
    assert np.array_equal(dense_of_term(part), dense_of_rule(rule, out_shape, in_shape))


def test_axes_of_size_one_carry_no_label() -> None:
    part = single(term("i1 <- 1j", W="ij"), (3, 1), (1, 2), W=np.arange(6.0).reshape(3, 2))
    assert (part.out.view, part.into.view) == ((3,), (2,))
    assert np.array_equal(dense_of_term(part), np.arange(6.0).reshape(3, 2))


def test_factors_are_float64_without_copying_where_they_are() -> None:
    array = np.arange(3.0)
    part = single(term("i <- i", x="i"), (3,), (3,), x=array)
    assert part.factors[0].array is array
    part = single(term("i <- i", x="i"), (3,), (3,), x=np.arange(3, dtype=np.int32))
    assert part.factors[0].array.dtype == np.float64


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (term("i <- i"), r"one size for label 'i', got 2 and 3"),
        (term("i <- j", x="i"), r"one size for label 'i', got 2 and 3"),
        (term("... <- ..."), r"one size for label '...', got 2 and 3"),
        (term("ij <- j"), r"subscript 'ij': expected 2 axes, got 1"),
        (term(" <- j"), r"subscript '': expected 0 axes, got 1"),
        (term("ab... <- j"), r"subscript 'ab...': expected 2 axes, got 1"),
        (term("i <- j", x="ij"), r"subscript 'ij': expected 2 axes, got 1"),
        (term("i -> j"), r"expected 'out <- in', got no '<-'"),
        (term("1 <- j"), r"expected size 1 on the axis '1', got size 2"),
        (term("i <- 1"), r"expected size 1 on the axis '1', got size 3"),
        (term("i <- j", z="i"), r"factors named x, or arrays, got 'z'"),
        (term("i <- j", (["a", "b"], "i", "")), r"real numbers, got <U1"),
    ],
)
def test_rules_that_do_not_fit(rule: Rule, says: str) -> None:
    with pytest.raises(RuleError, match=says):
        single(rule, (2,), (3,), x=np.ones(3))


def test_real_takes_numbers_alone() -> None:
    array = np.arange(3.0)
    assert real(array, "") is array
    for given_values in ([1, 0], (True, False), np.array([1, 0], dtype=np.float32)):
        found = real(given_values, "")
        assert found.dtype == np.float64
        assert np.array_equal(found, [1.0, 0.0])
    with pytest.raises(RuleError, match="here: expected real numbers, got complex128"):
        real(1j, "here")
    with pytest.raises(ValuesError, match="unequal length"):
        real([[1], [2, 3]], "here", ValuesError)


# --- factors ------------------------------------------------------------------------------


def test_a_repeated_label_takes_the_diagonal() -> None:
    array = np.arange(18.0).reshape(3, 2, 3)
    factor = distinct(Factor(array, (7, 5, 7), "x"))
    assert (factor.labels, factor.text) == ((7, 5), "x")
    assert np.array_equal(factor.array, [[array[i, j, i] for j in range(2)] for i in range(3)])
    plain = Factor(array, (7, 5, 6))
    assert distinct(plain) is plain


# --- positions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ([], range(0)),
        ([4], range(4, 5)),
        ([0, 1, 2], range(3)),
        ([5, 3, 1], range(5, -1, -2)),
        ([1, 0], range(1, -1, -1)),
        ([2, 4, 6], range(2, 8, 2)),
    ],
)
def test_compact_finds_ranges(at: list[int], found: range) -> None:
    assert compact(np.array(at, dtype=np.intp)) == found
    assert list(found) == at


@pytest.mark.parametrize("at", [[0, 0], [0, 2, 1], [3, 3, 3], [0, 1, 3]])
def test_compact_leaves_other_tables(at: list[int]) -> None:
    array = np.array(at)
    assert compact(array) is array


def test_index_is_pure_for_the_identity() -> None:
    assert index(3, range(4), 4) == Index(3)
    assert index(3, range(4), 5) == Index(3, range(4))
    table = np.array([1, 0, 0])
    assert index(3, table, 3).at is table


@given(st.data())
def test_term_of_a_rearrangement(data: st.DataObject) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    where = data.draw(positions(out_shape, in_shape))
    part = from_positions(where, in_shape)
    assert np.array_equal(dense_of_term(part), dense_of_positions(where, in_shape))
    assert part.entries == where.size
    assert part.factors == ()


def grid(*shape: int) -> Any:
    return np.arange(int(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize(
    ("where", "in_shape", "out_axes", "into_axes"),
    [
        (grid(4, 6)[1:3, ::-2], (4, 6), [0, 1], [(0, range(1, 3)), (1, range(5, -1, -2))]),
        (grid(4, 6).T, (4, 6), [0, 1], [(1, None), (0, None)]),
        (np.diagonal(grid(4, 4)), (4, 4), [0], [(0, None), (0, None)]),
        (grid(4, 6)[2], (4, 6), [0], [(1, range(2, 3)), (0, None)]),
        (grid(4, 6)[:, [5, 0, 0]], (4, 6), [0, 1], [(0, None), (1, "table")]),
        (grid(2, 3, 4).reshape(6, 4), (2, 3, 4), [0], [(0, None)]),
        (np.broadcast_to(grid(3), (2, 3)), (3,), [0, 1], [(1, None)]),
        (grid(4, 6)[[0, 1], [2, 5]], (4, 6), [0], [(0, range(2)), (0, range(2, 8, 3))]),
        (np.roll(grid(2, 3).ravel(), 1).reshape(2, 3), (2, 3), [0], [(0, "table")]),
        (grid(2, 3).T.reshape(2, 3), (2, 3), [0], [(0, "table")]),
    ],
)
def test_rearrangements_keep_their_structure(
    where: Any, in_shape: Any, out_axes: Any, into_axes: Any
) -> None:
    part = from_positions(where, in_shape)
    assert [i.label for i in part.out.axes] == out_axes
    assert all(i.at is None for i in part.out.axes)
    found = [
        (i.label, i.at if i.at is None or isinstance(i.at, range) else "table")
        for i in part.into.axes
    ]
    assert found == into_axes
    assert np.array_equal(dense_of_term(part), dense_of_positions(where, in_shape))


@pytest.mark.parametrize(("out_shape", "in_shape"), [((0,), (3,)), ((0, 2), (0, 2)), ((0,), (0,))])
def test_rearrangement_of_nothing(out_shape: Any, in_shape: Any) -> None:
    part = from_positions(np.zeros(out_shape, dtype=np.intp), in_shape)
    assert part.entries == 0


# --- matrices -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (3, 1), (1, 1)])
def test_terms_of_matrices(shape: tuple[int, int]) -> None:
    matrix = whole_numbers(np.random.default_rng(1), *shape)
    part = from_matrix(matrix, "M")
    assert np.array_equal(dense_of_term(part).reshape(shape), matrix)
    assert part.factors[0].text == "M"
    rows, cols = np.nonzero(matrix)
    part = from_entries(shape, rows, cols, matrix[rows, cols])
    assert np.array_equal(dense_of_term(part).reshape(shape), matrix)


def test_a_diagonal_given_as_entries_is_pure() -> None:
    part = from_entries((3, 3), np.arange(3), np.arange(3), np.ones(3))
    assert part.out.axes == part.into.axes == (Index(0),)


# --- sides --------------------------------------------------------------------------------


def test_flat_positions_stack_rows() -> None:
    side = Side((3, 4), (Index(8, range(2, -1, -1)), Index(9, np.array([1, 1]))))
    assert np.array_equal(flat_positions(side, (8, 9)), [[9, 9], [5, 5], [1, 1]])
    assert np.array_equal(flat_positions(side, (9, 8)), [[9, 5, 1], [9, 5, 1]])
    diagonal = Side((3, 3), (Index(8), Index(8)))
    assert np.array_equal(flat_positions(diagonal, (8,)), [0, 4, 8])
    assert np.array_equal(flat_positions(Side((), ()), ()), 0)


@given(st.data())
def test_transposed_and_scaled(data: st.DataObject) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    part = bind(data.draw(rules(out_shape, in_shape))[0], out_shape, in_shape, {})
    assert np.array_equal(dense_of_term(part.transposed), dense_of_term(part).T)
    assert np.array_equal(dense_of_term(part.scaled(-2.0)), -2.0 * dense_of_term(part))


# --- structure ----------------------------------------------------------------------------


@given(st.data())
def test_fresh_labels_change_nothing(data: st.DataObject) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    part = bind(data.draw(rules(out_shape, in_shape))[0], out_shape, in_shape, {})
    other = fresh(itertools.count(500_000), part)
    assert not set(part.sizes) & set(other.sizes)
    assert np.array_equal(dense_of_term(other), dense_of_term(part))
    assert structure([other]) == structure([part])
    assert hash(structure([other])) == hash(structure([part]))


def test_structure_tells_places_apart_and_numbers_not() -> None:
    x = np.array([1.0, 2.0, 3.0])
    one = single(term("i <- j", (x, "j", "")), (3,), (3,))
    assert structure([one]) == structure([single(term("a <- b"), (3,), (3,)).scaled(3.0)])
    others = [
        single(term("i <- i"), (3,), (3,)),
        single(term("i <- "), (3,), ()),
        single(term("i <- j"), (3,), (2,)),
        from_positions(np.array([0, 1, 1]), (3,)),
        from_positions(np.array([0, 2, 1]), (3,)),
        from_positions(np.array([2, 1, 0]), (3,)),
        from_positions(np.array([0, 1]), (3,)),
        single(term("ij <- ij"), (3, 3), (3, 3)),
        single(term("ji <- ij"), (3, 3), (3, 3)),
    ]
    keys = [structure([part]) for part in (one, *others)]
    assert len(set(keys)) == len(keys)


def test_keys_of_positions() -> None:
    assert key_of(None) is None
    assert key_of(range(3)) == range(3)
    table = np.array([2, 0])
    assert key_of(table) == key_of(table.copy()) != key_of(np.array([0, 2]))
