"""Joins of traced arrays and entries picked by position, against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from graphengine.tracing import Tape, Traced, Untraceable, placed, taken

from .interpreter import Array, calls, evaluate, inputs_of, same


def array(*shape: int) -> Array:
    return np.arange(math.prod(shape), dtype=float).reshape(shape)


def whole(x: Any) -> Any:
    return x.astype(np.intp)


# --- joins --------------------------------------------------------------------------------


@given(st.data(), npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
def test_concatenated(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    other = list(shape)
    other[axis] = data.draw(st.integers(0, 3))
    a, b = array(*shape), array(*other)
    same(lambda a, b: np.concatenate([a, b, a], axis=axis), a, b)
    same(lambda a: np.concatenate((a, b), axis), a)
    same(lambda a, b: np.concatenate([a, b], axis=None), a, b)


@given(st.data(), npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
def test_stacked(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    a, b = array(*shape), array(*shape) + 0.5
    same(lambda a, b: np.stack([a, b, a], axis), a, b)
    same(lambda a: np.stack([b, a], axis=axis), a)


def test_the_type_of_a_join_is_the_widest() -> None:
    same(lambda a: np.concatenate([a > 0, whole(a)]), array(3))
    same(lambda a: np.concatenate([a > 0, a > 1]), array(3))
    same(lambda a: np.concatenate([a, [1, 2]]), array(3))
    same(lambda a: np.stack([a > 0, a]), array(3))


# --- entries by position ------------------------------------------------------------------


@given(st.data(), npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
def test_taken(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    size = math.prod(shape) if axis is None else shape[axis]
    sizes = npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
    at = data.draw(npst.arrays(np.intp, sizes, elements=st.integers(-size, size - 1)))
    same(lambda x: np.take(x, at, axis), array(*shape))
    same(lambda x: x.take(at.tolist(), axis=axis), array(*shape)) if at.size else None
    same(lambda x, k: np.take(x, whole(k), axis=axis), array(*shape), at)
    if axis is not None:
        same(lambda k: taken(array(*shape), whole(k), axis), at)
        same(lambda x: taken(x, at, axis), array(*shape))


@given(st.data(), npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
def test_taken_along_an_axis(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = [data.draw(st.sampled_from([1, n])) for n in shape]
    sizes[axis] = data.draw(st.integers(0, 3))
    elements = st.integers(-shape[axis], shape[axis] - 1)
    at = data.draw(npst.arrays(np.intp, tuple(sizes), elements=elements))
    same(lambda x: np.take_along_axis(x, at, axis), array(*shape))
    same(lambda x, k: np.take_along_axis(x, whole(k), axis=axis), array(*shape), at)
    same(lambda x: np.take_along_axis(x > 2, at, axis), array(*shape))
    same(lambda x: np.take_along_axis(x, np.array([0]), None), array(*shape))


@given(st.data(), npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
def test_repeated(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    size = math.prod(shape) if axis is None else shape[axis]
    counts = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    for repeats in (0, 1, 2, counts):
        same(lambda x, n=repeats: np.repeat(x, n, axis), array(*shape))
    same(lambda x: x.repeat(2, axis=axis), array(*shape))


def test_counted() -> None:
    places, weights = np.array([0, 2, 2, 4]), array(4)
    same(lambda w: np.bincount(places, w, 3), weights)  # longer than it must be at least
    same(lambda w: np.bincount(places, weights=w, minlength=7), weights)
    same(lambda p: np.bincount(whole(p), minlength=5), places)
    same(lambda p, w: np.bincount(whole(p), w, 5), places, weights)
    same(lambda w: np.bincount(np.zeros(0, int), w, 2), np.zeros(0))


def test_placed() -> None:
    values = array(2, 3)
    for shape, key in (
        ((4, 3), (slice(1, None, 2), slice(None))),
        ((2, 5), (slice(None), slice(-1, 1, -1))),
        ((2, 3), (slice(None, None, -1), slice(0, 3))),
    ):
        same(lambda x, shape=shape, key=key: placed(x, shape, key), values)


# --- what arrays say of themselves ---------------------------------------------------------


def test_shapes_and_sizes_are_numbers() -> None:
    x = Tape().input("x", (2, 3))
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1), len(x)) == ((2, 3), 2, 6, 3, 2)
    assert (x.shape, x.ndim, x.size, x.dtype) == ((2, 3), 2, 6, np.float64)
    assert not np.iscomplexobj(x)
    with pytest.raises(TypeError):
        len(Tape().input("x", ()))
    assert len(x.tape.steps) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.concatenate([x, np.ones((3, 3))], axis=1),
        lambda x: np.concatenate([x, np.ones(3)]),
        lambda x: np.concatenate([x, x], axis=2),
        lambda x: np.concatenate([x, x], dtype=np.float32),
        lambda x: np.stack([x, np.ones(3)]),
        lambda x: np.stack([x, x], axis=4),
        lambda x: np.take(x, [0], mode="clip"),
        lambda x: np.take(x, [0], out=np.zeros(1)),
        lambda x: np.take(x, [7]),
        lambda x: np.take(x, x),
        lambda x: np.take(x, [0], axis=5),
        lambda x: np.take_along_axis(x, x, 0),
        lambda x: np.take_along_axis(x, np.array([0]), 0),
        lambda x: np.repeat([1, 2], x[0]),
        lambda x: np.repeat(x, whole(x[0]), axis=1),
        lambda x: np.repeat(x, [1, 2, 3], axis=0),
        lambda x: np.repeat(x, 2, axis=2),
        lambda x: np.diag(x[None]),
        lambda x: np.diagonal(x, axis1=0, axis2=0),
        lambda x: np.diagonal(x[0]),
        lambda x: np.vstack([x, x]),
        lambda x: np.pad(x, 1),
        np.sort,
        np.unique,
        np.nonzero,
        lambda x: np.copyto(np.zeros((2, 3)), x),
    ],
)
def test_what_is_not_known_is_left_to_the_op(wrong: Callable[[Traced], Any]) -> None:
    with pytest.raises(Untraceable):
        wrong(Tape().input("x", (2, 3)))


def test_one_table_serves_several_calls() -> None:
    """Equal small tables are one argument: the calls with them are one call."""
    (x,), inputs = inputs_of(Tape(), array(4))
    assert np.take(x, np.array([2, 0]), 0) is x[[2, 0]]
    assert calls(np.take(x, [2, 0], 0) + x[np.array([2, 0])]) == ["getitem", "add"]
    evaluate(x.tape, inputs)
