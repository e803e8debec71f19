"""Reshape, transpose, broadcast and indexing of traced arrays, against NumPy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from graphengine.tracing import Tape, Traced, Untraceable

from .interpreter import Array, calls, same

SHAPES = [(), (1,), (3,), (0,), (2, 3), (1, 3), (3, 1), (1, 1), (0, 2), (2, 3, 4), (2, 1, 3)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def array(*shape: int) -> Array:
    return np.arange(math.prod(shape), dtype=float).reshape(shape)


def whole(x: Any) -> Any:
    """The array as positions, traced or not."""
    return x.astype(np.intp)


# --- the same entries in another order ----------------------------------------------------


@each_shape
def test_reshape_to_anything_of_that_size(shape: tuple[int, ...]) -> None:
    same(lambda x: x.reshape(-1), array(*shape)) if math.prod(shape) else None
    same(lambda x: np.reshape(x, (1, *shape, 1)), array(*shape))
    same(lambda x: x.reshape(shape[::-1]), array(*shape))
    same(lambda x: np.ravel(x).reshape(shape), array(*shape))
    same(lambda x: x.flatten() * 1, array(*shape))


@each_shape
def test_transposes(shape: tuple[int, ...]) -> None:
    same(lambda x: x.T, array(*shape))
    for axes in itertools.permutations(range(len(shape))):
        same(lambda x, axes=axes: x.transpose(axes), array(*shape))
        same(lambda x, axes=axes: np.transpose(x, axes), array(*shape))
        same(lambda x, axes=axes: x.transpose(*axes), array(*shape))
        negative = tuple(k - len(shape) for k in axes)
        same(lambda x, axes=negative: np.transpose(x, axes), array(*shape))
        same(lambda x, axes=axes: x.transpose(axes).T.reshape(-1, 1), np.ones((*shape, 2)[1:]))
    for one, other in itertools.product(range(-len(shape), len(shape)), repeat=2):
        same(lambda x, one=one, other=other: x.swapaxes(one, other), array(*shape))
    if len(shape) > 1:
        same(np.matrix_transpose, array(*shape))


@each_shape
def test_axes_of_size_one_come_and_go(shape: tuple[int, ...]) -> None:
    same(np.squeeze, array(*shape))
    same(lambda x: x.squeeze(), array(*shape))
    for axis in range(-len(shape) - 1, len(shape) + 1):
        same(lambda x, axis=axis: np.expand_dims(x, axis), array(*shape))
        same(lambda x, axis=axis: np.expand_dims(x, axis).squeeze(axis), array(*shape))
    same(lambda x: np.expand_dims(x, (0, -1)), array(*shape))


@each_shape
def test_broadcasts(shape: tuple[int, ...]) -> None:
    same(lambda x: np.broadcast_to(x, (2, *shape)), array(*shape))
    wider = tuple(5 if n == 1 else n for n in shape)
    same(lambda x: np.broadcast_to(x, wider), array(*shape))
    same(lambda x: np.broadcast_to(x, 4), array())


def test_what_changes_nothing_is_no_call() -> None:
    x = Tape().input("x", (2, 1, 3))
    assert x.reshape(2, 1, 3) is x
    assert x.reshape(-1).reshape(6).reshape(2, 1, 3) is x
    assert x.transpose(2, 0, 1).transpose(1, 2, 0) is x
    assert x.T.T is x
    assert np.broadcast_to(x, (2, 1, 3)) is x
    assert x[...] is x
    assert x[:, :] is x
    assert x[..., None].reshape(2, 1, 3) is x
    assert x.copy() is x
    assert np.copy(x) is x
    assert x.real is x
    assert np.real(x) is x
    assert x.astype(float) is x
    assert len(x.tape.steps) == 1 + 3 + 1  # reshapes that were seen through, a transpose


def test_calls_in_a_row_are_one() -> None:
    x = Tape().input("x", (2, 1, 3))
    assert calls(x.reshape(6).reshape(3, 2)) == ["reshape"]
    assert calls(x.transpose(2, 0, 1).transpose(0, 2, 1)) == ["transpose"]
    assert calls(x[:, None].reshape(6)) == calls(x[None]) == ["reshape"]
    assert calls(x.transpose(1, 0, 2)) == ["reshape"]  # the axis of size 1 alone changes its place


def test_what_looks_at_the_same_numbers_says_so() -> None:
    x = Tape().input("x", (3, 4))
    views = [x.T, x.reshape(-1), x[1:], x[:, None], np.diagonal(x), np.broadcast_to(x, (2, 3, 4))]
    assert all(view.step.view for view in views)
    fresh = [x[[0, 1]], x + 1, x.sum(axis=0), x @ x.T, x.astype(int)]
    assert not any(one.step.view for one in fresh)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.reshape(5),
        lambda x: x.reshape(-1, 4),
        lambda x: x.reshape(-1, -1),
        lambda x: x.reshape(6, order="F"),
        lambda x: np.ravel(x, "F"),
        lambda x: x.transpose(0),
        lambda x: x.transpose(0, 0),
        lambda x: x.transpose(0, 2),
        lambda x: np.swapaxes(x, 0, 2),
        lambda x: np.broadcast_to(x, (3, 3)),
        lambda x: np.broadcast_to(x, (3,)),
        lambda x: np.squeeze(x, 0),
        lambda x: np.expand_dims(x, 5),
        lambda x: x[5],
        lambda x: x[0, 0, 0],
        lambda x: x[[7]],
        lambda x: x["a"],
        lambda x: x[x > 0],
        lambda x: x[x],
    ],
)
def test_what_is_no_view_or_unknown_is_left_to_the_op(wrong: Callable[[Traced], Any]) -> None:
    with pytest.raises(Untraceable):
        wrong(Tape().input("x", (2, 3)))


# --- indexing -----------------------------------------------------------------------------


@given(st.data(), npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
def test_basic_indices(data: st.DataObject, shape: tuple[int, ...]) -> None:
    key = data.draw(npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    same(lambda x: x[key], array(*shape))


@given(st.data(), npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
def test_tables_of_positions(data: st.DataObject, shape: tuple[int, ...]) -> None:
    """Several tables at once, known or traced, with slices between them."""
    sizes = data.draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    tables = data.draw(npst.integer_array_indices(shape, result_shape=st.just(sizes)))
    key = [data.draw(st.sampled_from([table, slice(None, None, -1)])) for table in tables]
    same(lambda x: x[tuple(key)], array(*shape))
    wanted = [k for k, item in enumerate(key) if isinstance(item, np.ndarray)]

    def traced_tables(x: Any, *at: Any) -> Any:
        found = list(key)
        for k, table in zip(wanted, at, strict=True):
            found[k] = whole(table)
        return x[tuple(found)]

    same(traced_tables, array(*shape), *(key[k] for k in wanted))


def test_indices_as_people_write_them() -> None:
    x = array(3, 4)
    for key in (
        [0, 2],
        [],
        ([0, 2], [1, 1]),
        (slice(None), [3, 0]),
        ([[0], [1]], [[0, 2]]),
        np.array([True, False, True]),
        x > 5,
        np.int64(1),
        np.array(1),
        (slice(2, None, -2), None, -1),
        (Ellipsis, [0, 0]),
        (0, [1, 2]),
    ):
        same(lambda x, key=key: x[key], x)
    same(lambda x: x[()], array())


def test_one_entry_of_a_table_that_is_traced() -> None:
    same(lambda x, k: x[whole(k)], array(3, 4), 2.0)
    same(lambda x, k: x[:, whole(k)], array(3, 4), 2.0)
