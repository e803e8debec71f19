"""Shapes of claims, and how far off their numbers are."""

from __future__ import annotations

import numpy as np
import pytest

import graphengine as ge
from graphengine.check.claims import (
    ROUNDING,
    TOLERANCE,
    accepted,
    as_matrix,
    compare,
    order,
    shape_mistake,
)
from graphengine.jacobian import Layout
from graphengine.ops.base import Array, Shape

# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "wrt", "layout", "shapes"),
    [
        ((), (3, 4), "numerator", {(3, 4), (12,), (1, 12)}),
        ((), (3, 4), "denominator", {(3, 4), (12,), (12, 1)}),
        ((), (5,), "numerator", {(5,), (1, 5)}),
        ((), (), "numerator", {(), (1,), (1, 1)}),
        ((1,), (5,), "numerator", {(5,), (1, 5)}),
        ((3,), (), "numerator", {(3,), (3, 1)}),
        ((3,), (), "denominator", {(3,), (1, 3)}),
        ((3,), (4,), "numerator", {(3, 4)}),
        ((3,), (4,), "denominator", {(4, 3)}),
        ((3,), (3, 4), "numerator", {(3, 12), (3, 3, 4)}),
        ((3,), (3, 4), "denominator", {(12, 3), (3, 4, 3)}),
        ((2, 3), (4, 5), "numerator", {(6, 20), (2, 3, 4, 5)}),
        ((2, 3), (4, 5), "denominator", {(20, 6), (4, 5, 2, 3)}),
    ],
)
def test_accepted_shapes(of: Shape, wrt: Shape, layout: Layout, shapes: set[Shape]) -> None:
    assert set(accepted(of, wrt, layout)) == shapes


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
@pytest.mark.parametrize(
    ("of", "wrt"),
    [((), (3, 4)), ((3,), ()), ((3,), (4,)), ((3,), (3, 4)), ((2, 3), (4, 5)), ((1,), (1, 1))],
)
def test_every_accepted_shape_is_the_same_matrix(of: Shape, wrt: Shape, layout: Layout) -> None:
    m, n = int(np.prod(of)), int(np.prod(wrt))
    matrix = np.arange(1.0, m * n + 1).reshape(m, n)
    for shape in accepted(of, wrt, layout):
        written = (matrix if layout == "numerator" else matrix.T).reshape(shape)
        found = as_matrix(written, of, wrt, layout)
        assert found is not None
        assert np.array_equal(found, matrix)


@pytest.mark.parametrize(
    ("got", "of", "wrt", "layout"),
    [
        ((4, 3), (), (3, 4), "numerator"),
        ((5, 1), (), (5,), "numerator"),
        ((1, 5), (), (5,), "denominator"),
        ((), (), (3,), "numerator"),
        ((12, 3), (3,), (3, 4), "numerator"),
        ((3,), (3,), (4,), "numerator"),
    ],
)
def test_other_shapes_are_none_of_it(got: Shape, of: Shape, wrt: Shape, layout: Layout) -> None:
    assert as_matrix(np.zeros(got), of, wrt, layout) is None


def test_a_shape_mistake_says_what_was_expected_and_whether_it_is_transposed() -> None:
    mistake = shape_mistake("J/W", (4, 3), (), (3, 4), "numerator")
    assert (mistake.kind, mistake.where) == ("shape", "W")
    assert shape_mistake("z/x", (4, 3), (3,), (4,), "numerator").where == "z<-x"
    assert mistake.says == (
        "the shape is (4, 3), expected (3, 4) (or (12,), (1, 12)): exactly the transposed one"
    )
    assert (
        "exactly the transposed one" in shape_mistake("z/x", (4, 3), (3,), (4,), "numerator").says
    )
    assert "exactly the transposed one" in shape_mistake("J/x", (5, 1), (), (5,), "numerator").says
    other = shape_mistake("z/W", (3, 4, 3), (3,), (3, 4), "numerator").says
    assert other.endswith("the one of the other layout, this derivation is in numerator layout")
    plain = shape_mistake("J/x", (4,), (), (5,), "numerator").says
    assert plain == "the shape is (4,), expected (5,) (or (1, 5))"
    assert shape_mistake("z/x", (7, 7), (3,), (4,), "numerator").says.endswith("expected (3, 4)")


# --- numbers ------------------------------------------------------------------------------------


def _error(claimed: object, reference: object, sizes: object = None, **more: object) -> float:
    c, r = (np.atleast_2d(np.asarray(a, dtype=float)) for a in (claimed, reference))
    s = np.abs(r) if sizes is None else np.atleast_2d(np.asarray(sizes, dtype=float))
    return compare(c, r, s, tolerance=TOLERANCE, **more).error  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1.0, 1e8, 1e300])
def test_the_error_is_relative_at_every_scale(scale: float) -> None:
    r = np.array([[1.0, -2.0, 0.5]]) * scale
    assert _error(r, r) == 0
    assert _error(2 * r, r) == pytest.approx(0.5)
    assert _error(-r, r) == pytest.approx(2)
    assert _error(0 * r, r) == pytest.approx(1)
    assert _error(r * (1 + 1e-5), r) == pytest.approx(1e-5, rel=1e-4)
    assert _error(r * (1 + 4e-16), r) < TOLERANCE


def test_a_small_entry_beside_large_ones_counts_as_much() -> None:
    r = np.array([[1e3, 1e-2]])
    assert _error([[1e3, 2e-2]], r) == pytest.approx(0.5)


def test_where_contributions_cancel_their_rounding_is_allowed_and_no_more() -> None:
    r, sizes = [[1e-9]], [[1.0]]
    assert _error([[1e-9 + 1e-15]], r, sizes) < TOLERANCE  # 1e-6 of the entry, 1e-15 of the sum
    assert _error([[2e-9]], r, sizes) > TOLERANCE  # 100 % wrong
    assert _error([[1e-9 + 2 * ROUNDING]], r, sizes) > TOLERANCE


def test_a_zero_is_zero_up_to_the_rounding_of_its_neighbours() -> None:
    r = np.array([[1.0, 0.0]])
    assert _error([[1.0, 5e-16]], r) < TOLERANCE
    assert _error([[1.0, 1e-12]], r) > TOLERANCE
    assert _error([[0.0, 0.0]], [[0.0, 0.0]]) == 0
    assert _error([[0.0, 1e-30]], [[0.0, 0.0]]) == 1


def test_what_should_not_be_there_is_as_wrong_as_what_is_missing() -> None:
    assert _error([[1.0, 0.5]], [[1.0, 0.0]]) == 1
    assert _error([[1.0, 0.0]], [[1.0, 0.5]]) == 1


def test_of_equally_wrong_entries_the_largest_is_shown() -> None:
    found = compare(
        np.zeros((2, 3)),
        np.array([[0.1, 3.0, 0.2], [0.0, 1.0, 2.0]]),
        np.ones((2, 3)),
        tolerance=1e-7,
    )
    assert found.worst is not None
    assert found.worst.index == (0, 1)


def test_measured_rounding_is_allowed() -> None:
    assert _error([[1.001]], [[1.0]]) > TOLERANCE
    assert _error([[1.001]], [[1.0]], noise=np.array([[2e-3]])) <= TOLERANCE


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_infinitely_wrong(bad: float) -> None:
    found = compare(
        np.array([[1.0, bad]]), np.ones((1, 2)), np.ones((1, 2)), tolerance=TOLERANCE, shape=(2,)
    )
    assert found.error == np.inf
    assert found.worst is not None
    assert found.worst.index == (1,)
    assert np.array_equal(found.worst.claimed, bad, equal_nan=True)


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
def test_the_worst_entry_has_its_index_in_the_claim_as_written(layout: Layout) -> None:
    of, wrt = (2,), (3, 4)
    reference = np.arange(1.0, 25).reshape(2, 12)
    for shape in accepted(of, wrt, layout):
        written: Array = (reference if layout == "numerator" else reference.T).reshape(shape).copy()
        index = tuple(n - 1 if k else 1 for k, n in enumerate(shape))
        right = float(written[index])
        written[index] = -7.0
        matrix = as_matrix(written, of, wrt, layout)
        assert matrix is not None
        found = compare(
            matrix, reference, reference, tolerance=TOLERANCE, shape=shape, layout=layout
        )
        assert found.worst is not None
        assert found.worst.index == index
        assert (found.worst.claimed, found.worst.reference) == (-7.0, right)


def test_claims_without_entries_are_right() -> None:
    empty = np.zeros((0, 3))
    found = compare(empty, empty, empty, tolerance=TOLERANCE)
    assert (found.error, found.worst) == (0.0, None)


# --- order --------------------------------------------------------------------------------------


def test_local_jacobians_come_first_then_node_gradients_backwards_then_totals() -> None:
    g = ge.Graph()
    x, W, b = g.input("x", (2,)), g.parameter("W", (3, 2)), g.parameter("b", (3,))
    z = g.node("z", W @ x)
    s = g.node("s", ge.tanh(z) + b)
    p = g.node("p", ge.softmax(s))
    loss = g.node("loss", -ge.log(p[0]))
    g.result("J", 2.0 * loss + ge.sum(W**2))
    given = ["J/W", "J/z", "J/x", "p/s", "J/s", "z/W", "s/z", "J/loss", "J/p", "s/x"]
    found = ["/".join(pair) for pair in order(g, [tuple(c.split("/")) for c in given])]  # type: ignore[misc]
    assert found == [
        *("z/W", "s/z", "p/s", "J/loss"),
        *("J/p", "J/s", "J/z"),
        *("J/W", "J/x", "s/x"),
    ]
