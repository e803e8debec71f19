"""Sums, products, extremes and means of traced arrays, against NumPy."""

from __future__ import annotations

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

REDUCTIONS = [np.sum, np.prod, np.max, np.min, np.mean, np.any, np.all]
each = pytest.mark.parametrize("reduce", REDUCTIONS, ids=lambda f: f.__name__)


def array(*shape: int) -> Array:
    return np.cos(np.arange(math.prod(shape), dtype=float)).reshape(shape)


@each
@given(st.data())
def test_any_axes_of_any_shape(reduce: Callable[..., Any], data: st.DataObject) -> None:
    smallest = 1 if reduce in {np.max, np.min, np.mean} else 0
    shape = data.draw(npst.array_shapes(min_dims=0, max_dims=3, min_side=smallest, max_side=3))
    few = st.sets(st.integers(-len(shape), len(shape) - 1), max_size=3) if shape else st.just(set())
    axes = data.draw(few.filter(lambda s: len({k % len(shape) for k in s}) == len(s)))
    axis = data.draw(st.sampled_from([tuple(axes), *list(axes)[:1], None]))
    keepdims = data.draw(st.booleans())
    same(lambda x: reduce(x, axis=axis, keepdims=keepdims), array(*shape))


@each
def test_of_truths_and_of_whole_numbers(reduce: Callable[..., Any]) -> None:
    for shape in ((2, 3), (1, 1), ()):
        same(lambda x: reduce(x > 0), array(*shape))
        same(lambda x: reduce((10 * x).astype(int), keepdims=True), array(*shape))


@each
def test_the_method_is_the_function(reduce: Callable[..., Any]) -> None:
    x = Tape().input("x", (2, 3))
    found = getattr(x, reduce.__name__)(1)
    assert found is reduce(x, axis=1)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum])
def test_reduce_of_a_ufunc_takes_the_first_axis(ufunc: Any) -> None:
    same(ufunc.reduce, array(2, 3))
    same(lambda x: ufunc.reduce(x, axis=None), array(2, 3))
    same(lambda x: ufunc.reduce(x, -1, keepdims=True), array(2, 3))
    same(lambda x: ufunc.reduce(x, initial=0.5), array(2, 3))


@pytest.mark.parametrize("initial", [0.0, 1.0, -math.inf, math.inf, -0.25, 0.25, 3])
@pytest.mark.parametrize("reduce", [np.sum, np.prod, np.max, np.min])
def test_a_first_value(reduce: Callable[..., Any], initial: float) -> None:
    for shape, axis in (((2, 3), 0), ((2, 0), 1), ((0,), None), ((1, 3), 0), ((), None)):
        same(lambda x, axis=axis: reduce(x, axis=axis, initial=initial), array(*shape))
        same(lambda x, axis=axis: reduce(x**2, axis=axis, initial=initial), array(*shape))


def test_what_is_there_already_is_no_call() -> None:
    x = Tape().input("x", (3, 1))
    assert calls(np.sum(x, axis=1)) == ["reshape"]
    assert np.sum(x, axis=1, keepdims=True) is x
    assert np.max(x, axis=()) is x
    assert np.mean(x, axis=1, keepdims=True) is x
    x = Tape().input("x", (3, 2))
    assert np.max(x, axis=0, initial=-np.inf) is np.max(x, axis=0)
    assert np.max(np.abs(x), axis=0, initial=0.0) is np.max(np.abs(x), axis=0)
    assert calls(np.max(x, axis=0, initial=0.0)) == ["max", "maximum"]


@given(st.data(), npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
def test_running_sums_and_places(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    for call in (np.cumsum, np.argmax, np.argmin):
        same(lambda x, call=call: call(x, axis=axis), array(*shape))
        same(lambda x, call=call: getattr(x, call.__name__)(axis), array(*shape))
    same(lambda x: np.cumsum(x > 0, axis=axis), array(*shape))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.sum(x, axis=2),
        lambda x: np.sum(x, axis=(0, 0)),
        lambda x: np.sum(x, where=[True, False, True]),
        lambda x: np.max(x, where=x > 0, initial=0.0),
        lambda x: np.sum(x, dtype=np.float32),
        lambda x: np.sum(x, out=np.zeros(())),
        lambda x: np.add.reduce(x, where=False),
        np.add.accumulate,
        lambda x: np.argmax(x, axis=0, keepdims=True),
        lambda x: np.argmax(x, axis=3),
        lambda x: np.cumsum(x, axis=0, dtype=int),
        np.std,
        np.median,
        lambda x: x.std(),
    ],
)
def test_what_is_not_known_is_left_to_the_op(wrong: Callable[[Traced], Any]) -> None:
    with pytest.raises(Untraceable):
        wrong(Tape().input("x", (2, 3)))
