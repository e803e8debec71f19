"""Ufuncs and ``where`` of traced arrays, against NumPy; which calls are written simpler."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from graphengine.tracing import Tape, Traced, Untraceable

from .interpreter import Array, calls, same

UNARY = [
    getattr(np, name)
    for name in (
        *("absolute", "arccos", "arcsinh", "arctan", "cbrt", "ceil", "cos", "cosh", "deg2rad"),
        *("exp", "exp2", "expm1", "floor", "isfinite", "isinf", "isnan", "log", "log10", "log1p"),
        *("logical_not", "negative", "positive", "reciprocal", "rint", "sign", "signbit", "sin"),
        *("sinh", "sqrt", "square", "tan", "tanh", "trunc"),
    )
] + [scipy.special.ndtr, scipy.special.gammaln, scipy.special.expit, scipy.special.erf]

BINARY = [
    getattr(np, name)
    for name in (
        *("add", "arctan2", "copysign", "divide", "equal", "floor_divide", "fmax", "fmin"),
        *("greater", "greater_equal", "heaviside", "hypot", "less", "less_equal", "logaddexp"),
        *("logical_and", "logical_or", "logical_xor", "maximum", "minimum", "multiply"),
        *("not_equal", "power", "remainder", "subtract"),
    )
] + [scipy.special.xlogy, scipy.special.xlog1py]

NUMBERS = np.array([-2.5, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0])


def named(function: Any) -> str:
    return str(function.__name__)


# --- values -------------------------------------------------------------------------------


@pytest.mark.parametrize("ufunc", UNARY, ids=named)
def test_of_one_argument(ufunc: np.ufunc) -> None:
    same(ufunc, NUMBERS)
    same(ufunc, NUMBERS[5])
    same(ufunc, np.zeros((0, 2)))
    same(lambda x: ufunc(ufunc(-x)), NUMBERS)
    if ufunc not in {np.negative, np.positive, np.sign}:  # they refuse truths
        same(lambda x: ufunc(x > 0), NUMBERS)


@pytest.mark.parametrize("ufunc", BINARY, ids=named)
@settings(max_examples=20)
@given(st.data(), npst.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3))
def test_of_two_arguments(
    ufunc: np.ufunc, data: st.DataObject, shapes: npst.BroadcastableShapes
) -> None:
    """Both traced, either of them, with themselves, and with numbers of Python."""
    x, y = (
        data.draw(npst.arrays(float, shape, elements=st.sampled_from(NUMBERS.tolist())))
        for shape in shapes.input_shapes
    )
    number = data.draw(st.sampled_from([-1, 0, 1, 2, -0.5, 2.0, True]))
    same(ufunc, x, y)
    same(lambda x: ufunc(x, y), x)
    same(lambda y: ufunc(x, y), y)
    same(lambda x: ufunc(x, x), x)
    same(lambda x: ufunc(x, number), x)
    same(lambda x: ufunc(number, x), x)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.divide, np.power], ids=named)
def test_types_are_those_of_numpy(ufunc: np.ufunc) -> None:
    """Truths and whole numbers among each other, with tables and with numbers of Python."""
    same(lambda x: ufunc(x > 0, x < 1), NUMBERS)
    same(lambda x: ufunc(x > 0, True), NUMBERS)
    same(lambda x: ufunc(x > 0, 2), NUMBERS)
    same(lambda x: ufunc(x > 0, 2.0), NUMBERS)
    same(lambda x: ufunc(x > 0, np.arange(7)), NUMBERS)
    same(lambda x: ufunc(x.astype(int), 1), NUMBERS)
    same(lambda x: ufunc(x.astype(int), 2), NUMBERS)
    same(lambda x: ufunc(x.astype(int), 1.0), NUMBERS)
    same(lambda x: ufunc(x, np.arange(1, 8)), np.abs(NUMBERS))


def test_operators_are_ufuncs() -> None:
    same(lambda x, y: (x + y) * (x - y) / (x**2 + 1) - (-x) ** y % 3, abs(NUMBERS), NUMBERS)
    same(lambda x, y: ((x > y) & (x >= 0)) | ~(x <= y) ^ (x != y), NUMBERS, NUMBERS[::-1])
    same(lambda x: 1 - x + (2 / (x + 9)) - abs(x) + 2**x, NUMBERS)
    same(lambda x: NUMBERS - x, NUMBERS)
    same(lambda x: [1.0, 2.0] * x[:2], NUMBERS)


def test_types_are_changed() -> None:
    for kind in (bool, int, float, np.float32, "int8"):
        same(lambda x, kind=kind: x.astype(kind), NUMBERS)
        same(lambda x, kind=kind: (x > 0).astype(kind, copy=False), NUMBERS)
    same(lambda x: x.astype(np.float32) * x, NUMBERS, rtol=1e-7)


@given(st.data(), npst.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3))
def test_where(data: st.DataObject, shapes: npst.BroadcastableShapes) -> None:
    mask, x, y = (
        data.draw(npst.arrays(float, shape, elements=st.sampled_from([-1.0, 0.0, 1.0, 2.0])))
        for shape in shapes.input_shapes
    )
    same(lambda m, x, y: np.where(m > 0, x, y), mask, x, y)
    same(lambda x, y: np.where(mask > 0, x, y), x, y)
    same(lambda m: np.where(m > 0, x, y), mask)
    same(lambda m, x: np.where(m, x, 1), mask, x)
    same(lambda m: np.where(m > 0, 1, 2), mask)
    same(lambda m: np.where(m > 0, True, 2.5), mask)


@pytest.mark.parametrize("condition", [True, False, np.array(1.0), np.array([True]), 0])
def test_where_of_a_known_condition(condition: Any) -> None:
    same(lambda x: np.where(condition, x, 1.0), NUMBERS)
    same(lambda x: np.where(condition, np.ones(7), x), NUMBERS)
    same(lambda x: np.where(condition, x > 0, x), NUMBERS)
    same(lambda x: np.where(condition, 2.0, x), 3.0)
    same(lambda x: np.where(condition, x, np.ones((2, 7))), NUMBERS)
    x = Tape().input("x", (7,))
    assert np.where(True, x, 1.0) is x
    assert np.where(False, np.ones(7), x) is x


# --- simpler calls ------------------------------------------------------------------------


def test_nothing_to_be_computed() -> None:
    x = Tape().input("x", (3,))
    for found in (x * 1, 1.0 * x, x * True, x / 1, x**1, x**1.0, x * np.ones(3), -1 * -x):
        assert found is x
    assert -1.0 * x is -x
    assert np.negative(-x) is x
    assert (-1) * (-1.0 * x) is x
    assert x * np.ones((2, 3)) is not x


def test_numbers_are_collected_in_front() -> None:
    x = Tape().input("x", (3,))
    for found in (6 * x, 2 * (3 * x), (x * 3) * 2, -2.0 * (-3 * x), -(-6.0 * x)):
        assert calls(found)[-1] == "multiply"
        assert len(calls(found)) == 1
        assert found.step.args == (6, x)
    assert calls(-(2 * x)) == calls(2 * -x) == ["multiply"]
    assert 0.5 * (2 * x) is x


def test_powers() -> None:
    x = Tape().input("x", (3,))
    assert x**2 is np.square(x)
    assert x**2.0 is np.square(x)
    assert calls(x**3) == ["power"]
    assert calls(x ** np.array([2.0, 1.0, 2.0])) == ["power"]
    assert x ** np.full(3, 2.0) is np.square(x)


def test_other_types_are_not_simplified() -> None:
    same(lambda x: (x > 0) * 1, NUMBERS)
    same(lambda x: (x > 0) * 1.0, NUMBERS)
    same(lambda x: 2.0 * (3 * (x > 0)), NUMBERS)
    same(lambda x: 0.5 * (2.0 * (x > 0)), NUMBERS)
    same(lambda x: x.astype(int) ** 2.0, NUMBERS)
    same(lambda x: x.astype(int) / 1, NUMBERS)
    same(lambda x: -(2 * x.astype(int)), NUMBERS)


def test_products_of_numbers_that_overflow_stay_apart() -> None:
    same(lambda x: 1e200 * (1e200 * x), np.array([1e-300, 0.0]))
    same(lambda x: 1e-200 * (1e-200 * x), np.array([1e300, 0.0]))
    same(lambda x: 1e-160 * (1e-160 * x), np.array([1.2345e30]))
    same(lambda x: 0.0 * (2.0 * x), np.array([math.inf, 1.0]))
    same(lambda x: math.inf * (0.0 * x), np.array([1.0]))


def test_repeats_that_the_call_makes_anyway_are_left_out() -> None:
    x = Tape().input("x", (3,))
    for wide in (np.broadcast_to(x, (2, 3)), x.reshape(1, 3), np.broadcast_to(x, (4, 2, 3))):
        y = x.tape.input(f"y{wide.ndim}", (4, 2, 3))
        assert (wide + y).step.args[0] is x
        assert (wide + y).shape == (4, 2, 3)
    both = np.broadcast_to(x, (2, 3)) + np.broadcast_to(2 * x, (2, 3))
    assert both.shape == (2, 3)
    assert [np.shape(arg) for arg in both.step.args] == [(3,), (2, 3)]
    assert (x + np.full(3, 7.0)).step.args == (x, 7.0)
    assert calls(x.reshape(3, 1) * x) == ["reshape", "multiply"]
    number = x.tape.input("n", ())
    assert (np.full(3, 7.0) + number).shape == (3,)


@given(st.data())
def test_repeats_of_any_kind_keep_their_numbers(data: st.DataObject) -> None:
    make = st.sampled_from(
        [
            lambda x: x,
            lambda x: np.broadcast_to(x, (2, 3)),
            lambda x: x.reshape(1, 3),
            lambda x: np.broadcast_to(x.sum(), (2, 3)),
            lambda x: np.broadcast_to(x[:, None].T, (2, 3)),
            lambda x: np.full((2, 1), 3.0),
            lambda x: np.full(3, -0.0),
            lambda x: np.array([-0.0, 0.0, 0.0]),
            lambda x: 2.0,
        ]
    )
    one, other, third = data.draw(make), data.draw(make), data.draw(make)
    numbers = np.array([0.5, -2.0, 0.0])
    for call in (np.add, np.multiply, np.divide, np.copysign):
        same(lambda x, call=call: call(one(x), other(x)) + 0 * x, numbers)
    same(lambda x: np.where(one(x) > 0, other(x), third(x)) + 0 * x, numbers)


def test_signs_of_zero_count() -> None:
    zeros: Array = np.array([0.0, -0.0])
    same(lambda x: np.copysign(x, zeros), np.ones(2))
    same(lambda x: x / zeros, np.ones(2))
    x = Tape().input("x", (2,))
    assert np.copysign(x, 0.0) is not np.copysign(x, -0.0)
    assert np.copysign(x, np.zeros(2)) is np.copysign(x, 0.0)


# --- what is left to the op ---------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x + np.array([1j, 2.0]),
        lambda x: x + "one",
        lambda x: x + None,
        lambda x: x == None,  # noqa: E711 (entry by entry)
        lambda x: x + np.ones(3),
        lambda x: np.where(x > 0),
        lambda x: np.where(x > 0, x, "one"),
        lambda x: np.add(x, x, out=np.zeros(2)),
        lambda x: np.add(x, x, where=[True, False]),
        lambda x: np.add(x, x, dtype=np.float32),
        lambda x: np.add.outer(x, x),
        lambda x: np.add.at(np.zeros(2), [0, 1], x),
        np.modf,
        lambda x: divmod(x, 2),
        np.invert,
        lambda x: -(x > 0),
        lambda x: x << 1,
        lambda x: np.clip(x, 0, 1),
        np.nan_to_num,
        np.vectorize(math.sin),
        scipy.special.softmax,
    ],
)
def test_what_is_not_known_is_left_to_the_op(wrong: Callable[[Traced], Any]) -> None:
    with pytest.raises(Untraceable):
        wrong(Tape().input("x", (2,)))


def test_in_place_changes_are_refused() -> None:
    x = Tape().input("x", (2,))
    with pytest.raises(Untraceable):
        x += 1
    with pytest.raises(Untraceable):
        x[0] = 1.0
    numbers = np.zeros(2)
    with pytest.raises(Untraceable):
        numbers += x
    with pytest.raises(ValueError, match="with a sequence") as error:  # NumPy's own text
        numbers[0] = x[0]
    assert isinstance(error.value.__cause__, Untraceable)
