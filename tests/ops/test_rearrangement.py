"""Rearrangements: NumPy is the reference, and a Jacobian is rows of the identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphengine as ge
from graphengine.errors import OpError, ShapeError, TooLargeError
from graphengine.jacobian import Jacobian
from graphengine.ops import indexing, moving
from graphengine.ops.arithmetic import MatMul, Multiply
from graphengine.ops.base import ATOM, Op, Written
from graphengine.ops.linalg import Diag, Transpose
from graphengine.ops.rearrangement import (
    Alias,
    BroadcastTo,
    Concatenate,
    CumSum,
    GetItem,
    OneHot,
    Repeat,
    Reshape,
    Stack,
    SwapAxes,
    Take,
    Vec,
)
from graphengine.ops.reductions import Sum

X = Written("x", ATOM)


def jacobian(op: Op, x: np.ndarray, *rest: np.ndarray) -> Jacobian:
    return op.jacobian(0, op.value(x, *rest), (x, *rest))


def rows_of_identity(op: Op, shape: tuple[int, ...], *rest: np.ndarray) -> np.ndarray:
    size = math.prod(shape)
    positions = op.value(np.arange(float(size)).reshape(shape), *rest)
    return np.eye(size)[positions.astype(int).ravel()]


# --- x[...] -------------------------------------------------------------------------------


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Every mixture of numbers, slices, new axes, ..., index arrays and masks, right or not.

    No index arrays on an empty array: NumPy does not look at positions that pick nothing.
    """
    kinds = ["int", "slice", "slice", "None", "stop"] + ["table", "mask"] * (0 not in shape)
    broadcast = draw(hnp.array_shapes(max_dims=2, max_side=3))

    def table(size: int) -> st.SearchStrategy[np.ndarray]:
        own = tuple(draw(st.sampled_from([n, 1])) for n in broadcast)
        return hnp.arrays(np.intp, own, elements=st.integers(-size, max(size, 1) - 1))

    items: list[Any] = []
    axis = 0
    while axis < len(shape):
        size = shape[axis]
        kind = draw(st.sampled_from(kinds))
        if kind == "stop":
            break
        if kind == "None":
            items.append(None)
            continue
        if kind == "int":
            items.append(draw(st.integers(-size - 1, size)))
        elif kind == "slice":
            items.append(draw(st.slices(max(size, 1))))
        elif kind == "table":
            items.append(draw(table(size)))
        else:
            span = draw(st.integers(1, min(2, len(shape) - axis)))
            items.append(draw(hnp.arrays(np.bool_, shape[axis : axis + span])))
            axis += span - 1
        axis += 1
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), Ellipsis)
    return tuple(items)


@given(st.data())
def test_indexing_is_that_of_numpy(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    key = data.draw(indices(shape))
    x = np.arange(float(math.prod(shape))).reshape(shape)
    try:
        expected = np.asarray(x[key])
    except IndexError:
        with pytest.raises(ShapeError):
            GetItem(key).shape_of(shape)
        return
    op = GetItem(key)
    assert op.shape_of(shape) == expected.shape
    np.testing.assert_array_equal(op.value(x), expected)
    found = jacobian(op, x)
    np.testing.assert_array_equal(found.toarray(), rows_of_identity(op, shape))
    assert found.nnz == expected.size
    assert GetItem(op.key) == op
    assert hash(GetItem(op.key)) == hash(op)
    if not any(isinstance(item, np.ndarray) and item.size == 0 for item in key):
        again = eval(op.written(X).text, {"x": x})
        np.testing.assert_array_equal(again, expected)


def test_the_empty_axis_of_an_ellipsis_separates_index_arrays() -> None:
    x = np.zeros((2, 3, 4))
    i = [0, 1, 0, 1, 0]
    assert GetItem((slice(None), i, i)).shape(x.shape) == x[:, i, i].shape == (2, 5)
    assert GetItem((slice(None), i, ..., i)).shape(x.shape) == x[:, i, ..., i].shape == (5, 2)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (1.5, "got 1.5"),
        ("a", "got 'a'"),
        (True, "got True"),
        (np.False_, "got np.False_"),
        ([[0, 1], [2]], "unequal length"),
        (slice(0, 1.5), "a slice: expected whole numbers, got 1.5"),
        (slice(None, None, 0), "a step that is not 0"),
        ((..., ...), "at most once"),
        (np.zeros((0, 3), dtype=int), "arrays of whole numbers"),
    ],
)
def test_indices_that_numpy_has_not_either(key: object, message: str) -> None:
    with pytest.raises(OpError, match=message):
        GetItem(key)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, r"an index on axis 0, which has size 3, got 3; positions are -3 to 2"),
        ((0, -5), r"on axis 1, which has size 4, got -5"),
        ((slice(None), [0, 7]), r"on axis 1, which has size 4, got 7"),
        ((0, 0, 0), r"at most 2 indices, got 3"),
        ([True, False], r"a mask of shape \(3,\), got one of shape \(2,\)"),
        (([0, 1], [0, 1, 2]), r"shapes that broadcast"),
    ],
)
def test_indices_out_of_range_are_refused_when_the_graph_is_built(key: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        GetItem(key).shape_of((3, 4))


def test_an_empty_axis_has_no_positions() -> None:
    with pytest.raises(ShapeError, match="the axis is empty"):
        GetItem(0).shape_of((0,))


def test_an_index_of_one_item_is_itself() -> None:
    one = indexing.Slice(0, 2, None)
    assert indexing.freeze(one) == (one,)
    assert indexing.freeze([]) == indexing.freeze((np.zeros(0, dtype=int),))


# --- all rearrangements -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Alias(), (2, 3)),
        (Reshape((3, -1)), (2, 3)),
        (Reshape(()), (1,)),
        (Vec(), (2, 3)),
        (SwapAxes(0, 2), (2, 3, 4)),
        (Transpose((2, 0, 1)), (2, 3, 4)),
        (GetItem(([1, 1, 0], slice(None, None, -1))), (2, 3)),
        (BroadcastTo((2, 4, 3)), (4, 1)),
        (Repeat((1, 0, 2), axis=1), (2, 3)),
        (Diag(), (2, 3)),
        (Diag(), (3, 3)),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else str(value),
)
def test_rows_of_the_identity(op: Op, shape: tuple[int, ...]) -> None:
    x = np.arange(float(math.prod(shape))).reshape(shape)
    if isinstance(op, BroadcastTo):
        x, shape = x[:, :1], (4, 1)
    expected = rows_of_identity(op, shape)
    found = jacobian(op, x)
    row, column = np.arange(1.0, 1 + len(expected)), np.arange(2.0, 2 + expected.shape[1])
    np.testing.assert_array_equal(found.toarray(), expected)
    np.testing.assert_array_equal(found.pull(row).ravel(), row @ expected)
    np.testing.assert_array_equal(found.push(column).ravel(), expected @ column)
    assert found.nnz == len(expected)


def test_what_follows_an_axis_keeps_its_label() -> None:
    """Slices, swaps, gathers and stretches are not flat tables: one index for each axis."""
    x = np.zeros((3, 4, 5))
    cases = [
        jacobian(GetItem((slice(1, None), [0, 3, 3])), x),
        jacobian(SwapAxes(0, 2), x),
        jacobian(Take(axis=1), x, np.array([[1.0, 0.0], [3.0, 3.0]])),
        jacobian(Repeat(2, axis=2), x),
        jacobian(CumSum(axis=1), x),
        jacobian(Concatenate(axis=1), x, x),
        jacobian(Stack(axis=1), x, x),
        jacobian(BroadcastTo((2, 3, 4, 5)), x),
    ]
    assert all(len(part.into.axes) == 3 for case in cases for part in case.terms)


def test_patterns_are_found_once_for_an_op_and_a_shape() -> None:
    x = np.zeros((7, 5))
    first = jacobian(GetItem([6, 0, 6]), x)
    before = moving._moved.cache_info()
    assert jacobian(GetItem(np.array([6, 0, 6])), x) is first
    assert moving._moved.cache_info().hits == before.hits + 1


def test_a_large_pattern_is_not_held() -> None:
    x = np.zeros(2**17)
    before = moving._moved.cache_info()
    assert jacobian(GetItem(slice(None, None, -1)), x).nnz == x.size
    assert moving._moved.cache_info() == before


def test_the_work_is_that_of_the_output() -> None:
    """A corner of an array that no memory could hold."""
    x = np.broadcast_to(0.0, (10**6, 10**6))
    found = jacobian(GetItem((slice(-2, None), [3, 1])), x)
    (part,) = found.terms
    rows, cols = part.into.axes
    assert found.shape == (4, 10**12)
    assert rows.at == range(10**6 - 2, 10**6)
    assert isinstance(cols.at, range)
    assert list(cols.at) == [3, 1]


# --- parameters ---------------------------------------------------------------------------


def test_parameters_become_plain_whole_numbers() -> None:
    op = Reshape([np.int64(2), np.int32(3)])  # type: ignore[arg-type]  # as a user may write it
    assert op.new_shape == (2, 3)
    assert repr(op.new_shape) == "(2, 3)"
    assert Repeat(np.array([1, 2])).repeats == (1, 2)  # type: ignore[arg-type]  # the same
    assert hash(op) == hash(Reshape((2, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reshape((2, 1.5)), r"reshape: new_shape: expected whole numbers, got \(2, 1.5\)"),
        (lambda: Take(axis=(0, 1)), r"take: axis: expected a whole number, got \(0, 1\)"),
        (lambda: OneHot(None), "one_hot: classes: expected a whole number, got None"),
        (lambda: CumSum(axis="a"), "cumsum: axis: expected a whole number, got 'a'"),
    ],
)
def test_other_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(OpError, match=message):
        make()


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (Reshape((4, 2)), [(2, 3)], r"a shape of 6 entries, got \(4, 2\)"),
        (Reshape((-1, -1)), [(2, 3)], r"with one -1 at most"),
        (Reshape((4, -1)), [(2, 3)], r"got \(4, -1\)"),
        (Reshape((0, -1)), [(0, 3)], r"a shape of 0 entries"),
        (Reshape((-2, -3)), [(2, 3)], r"a shape of 6 entries"),
        (BroadcastTo((2, 4)), [(3,)], "shapes that broadcast"),
        (BroadcastTo(3), [(2, 3)], r"a shape that \(2, 3\) broadcasts to, got \(3,\)"),
        (BroadcastTo(-3), [()], "sizes from 0"),
        (SwapAxes(0, 2), [(2, 3)], "an axis from -2 to 1, got axis=2"),
        (Repeat((1, 2), axis=1), [(2, 3)], r"one count from 0, or 3, got repeats=\(1, 2\)"),
        (Repeat(-1), [(2, 3)], "repeats=-1"),
        (Repeat(1, axis=0), [()], "an axis from"),
        (Take(axis=2), [(2, 3), (4,)], "got axis=2"),
        (Take(), [(), (4,)], "an axis from"),
        (CumSum(axis=-3), [(2, 3)], "got axis=-3"),
        (Concatenate(), [(), ()], "an axis from"),
        (Concatenate(axis=1), [(2, 3), (3, 3)], "shapes that differ on axis 1 alone"),
        (Concatenate(), [(2, 3), (2,)], "shapes that differ on axis 0 alone"),
        (Stack(), [(2, 3), (3, 2)], r"one shape, got \(2, 3\) and \(3, 2\)"),
        (Stack(axis=3), [(2, 3)], "an axis from -3 to 2, got axis=3"),
        (OneHot(-1), [(2,)], "classes from 0"),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)
def test_shapes_that_do_not_go_together(op: Op, shapes: list[Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        op.shape_of(*shapes)


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Alias(), "x"),
        (Reshape((2, -1)), "reshape(x, [2, -1])"),
        (Reshape(6), "reshape(x, 6)"),
        (Vec(), "vec(x)"),
        (SwapAxes(0, -1), "swapaxes(x, 0, -1)"),
        (BroadcastTo((2, 3)), "broadcast_to(x, [2, 3])"),
        (Repeat(2), "repeat(x, 2)"),
        (Repeat((1, 2), axis=0), "repeat(x, [1, 2], axis=0)"),
        (CumSum(), "cumsum(x)"),
        (CumSum(axis=1), "cumsum(x, axis=1)"),
        (Concatenate(axis=1), "concatenate([x], axis=1)"),
        (Stack(), "stack([x])"),
        (OneHot(3), "one_hot(x, 3)"),
        (Transpose(), "x.T"),
        (Transpose((1, 0)), "transpose(x, axes=[1, 0])"),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)
def test_formula_text(op: Op, text: str) -> None:
    assert op.written(X).text == text


# --- take, one_hot ------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0.5, 4.0, -5.0, np.nan, np.inf])
def test_take_wants_whole_numbers_in_range(wrong: float) -> None:
    x, at = np.zeros((4, 2)), np.array([[0.0, 1.0], [wrong, 2.0]])
    message = rf"take: indices: expected whole numbers from -4 to 3, got {wrong:g} at \[1, 0\]"
    with pytest.raises(OpError, match=message):
        Take().value(x, at)
    with pytest.raises(OpError, match=r"indices"):
        Take().jacobian(0, np.zeros((2, 2, 2)), (x, at))


def test_one_hot_wants_labels_of_its_classes() -> None:
    with pytest.raises(
        OpError, match=r"one_hot: labels: expected whole numbers from 0 to 2, got 3$"
    ):
        ge.one_hot(3, 3)
    with pytest.raises(OpError, match=r"got -1 at \[1\]"):
        ge.one_hot([0, -1], 3)
    with pytest.raises(OpError, match=r"got 0.5 at \[0\]"):
        ge.one_hot([0.5], 3)
    with pytest.raises(OpError, match=r"got 0 at \[0\]"):
        ge.one_hot([0], 0)
    np.testing.assert_array_equal(ge.one_hot([[1], [0]], 2), [[[0, 1]], [[1, 0]]])


# --- cumsum -------------------------------------------------------------------------------


def test_cumsum_stores_no_zeros() -> None:
    x = np.ones((3, 5, 2))
    found = jacobian(CumSum(axis=1), x)
    matrix = found.tocsr()
    dense = np.kron(np.eye(3), np.kron(np.tril(np.ones((5, 5))), np.eye(2)))
    np.testing.assert_array_equal(matrix.toarray(), dense)
    assert found.nnz == matrix.nnz == 3 * 15 * 2
    row = np.arange(30.0).reshape(x.shape)
    np.testing.assert_array_equal(found.pull(row), row[:, ::-1].cumsum(axis=1)[:, ::-1])


def test_cumsum_along_a_long_axis() -> None:
    x = np.ones(1500)
    found = jacobian(CumSum(), x)
    assert found.nnz == 1500 * 1501 // 2
    np.testing.assert_array_equal(found.pull(np.ones(1500)), np.arange(1500.0, 0, -1))
    with pytest.raises(TooLargeError, match="the Jacobian of 100000 sums"):
        CumSum().jacobian(0, np.ones(100_000), (np.ones(100_000),))


# --- chains -------------------------------------------------------------------------------


def steps(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Op, int, list[np.ndarray | None]]:
    """An op that takes an array of ``shape`` among its arguments (None), and its place there."""
    ndim, size = len(shape), math.prod(shape)
    whole = st.integers(-3, 3).map(float)

    def array(*sizes: int) -> np.ndarray:
        return draw(hnp.arrays(np.float64, sizes, elements=whole))

    divisors = [n for n in range(1, size + 1) if size % n == 0]
    found: list[Any] = [
        lambda: (Reshape((draw(st.sampled_from(divisors)), -1)), 0, [None]),
        lambda: (Vec(), 0, [None]),
        lambda: (Sum(axis=draw(st.sampled_from([None, *range(ndim)]))), 0, [None]),
        lambda: (Multiply(), 0, [None, array(*shape)]),
        lambda: (BroadcastTo((2, *shape)), 0, [None]),
        lambda: (Stack(axis=0), 1, [array(*shape), None]),
    ]
    if ndim:
        axis = draw(st.integers(0, ndim - 1))
        n = shape[axis]
        at = draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=3))
        key = (slice(None),) * axis
        found += [
            lambda: (CumSum(axis=axis), 0, [None]),
            lambda: (Repeat(2, axis=axis), 0, [None]),
            lambda: (Take(axis=axis), 0, [None, np.array(at, dtype=float)]),
            lambda: (GetItem((*key, at)), 0, [None]),
            lambda: (
                GetItem((*key, draw(st.slices(n).filter(lambda s: len(range(n)[s]))))),
                0,
                [None],
            ),
            lambda: (Transpose(tuple(draw(st.permutations(range(ndim))))), 0, [None]),
            lambda: (Concatenate(axis=axis), 1, [array(*shape), None, array(*shape)]),
            lambda: (MatMul(), 0, [None, array(shape[-1], 2)]),
        ]
    if ndim > 1:
        found.append(lambda: (MatMul(), 1, [array(2, shape[-2]), None]))
    if ndim == 1 and size < 6:
        found.append(lambda: (Diag(), 0, [None]))
    return draw(st.sampled_from(found))()


@given(st.data())
def test_chains_compose_to_the_product_of_their_matrices(data: st.DataObject) -> None:
    x = data.draw(
        hnp.arrays(
            np.float64,
            hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
            elements=st.integers(-3, 3).map(float),
        )
    )
    total, dense = Jacobian.identity(x.shape), np.eye(x.size)
    names, parts = [], []
    for _ in range(data.draw(st.integers(2, 5))):
        op, place, given_args = steps(data.draw, x.shape)
        args = [x if arg is None else arg for arg in given_args]
        out = op.value(*args)
        if out.size > 60:
            continue
        local = op.jacobian(place, out, args)
        names.append(f"{op} on {x.shape}")
        parts.append(local)
        total, dense, x = local @ total, local.toarray() @ dense, out
    assert (total.out_shape, total.shape) == (x.shape, dense.shape)
    np.testing.assert_array_equal(total.toarray(), dense, err_msg=" then ".join(names))
    row = np.arange(1.0, x.size + 1)
    np.testing.assert_array_equal(total.pull(row).ravel(), row @ dense)
    np.testing.assert_array_equal(
        total.push(np.arange(dense.shape[1])).ravel(), dense @ np.arange(dense.shape[1])
    )
    backwards = Jacobian.identity(x.shape)
    for local in reversed(parts):
        backwards = backwards @ local
    np.testing.assert_array_equal(backwards.toarray(), dense, err_msg=" then ".join(names))


def test_a_graph_of_moves() -> None:
    """reshape → slice → matmul → concatenate, against central differences of its value."""
    rng = np.random.default_rng(5)
    g = ge.Graph("moves")
    x, W = g.input("x", (12,)), g.parameter("W", (3, 2))
    h = g.node("h", ge.reshape(x, (4, 3))[1:, ::-1] @ W)
    out = g.node("out", ge.concatenate([h, ge.cumsum(h, axis=0), h[[0, 0]]], axis=0))
    values = {"x": rng.normal(size=12), "W": rng.normal(size=(3, 2))}
    run = g.run(values)

    def value(point: np.ndarray) -> np.ndarray:
        k = point.reshape(4, 3)[1:, ::-1] @ values["W"]
        return np.concatenate([k, np.cumsum(k, axis=0), k[[0, 0]]]).ravel()

    assert out.shape == (8, 2)
    np.testing.assert_allclose(run.value("out").ravel(), value(values["x"]))
    expected = np.stack([value(column) for column in np.eye(12)], axis=1)  # it is linear
    np.testing.assert_allclose(run.jacobian("out", "x").toarray(), expected, atol=1e-14)
    assert run.jacobian("h", "x").nnz == 3 * 2 * 3  # one row of W's columns for each row
