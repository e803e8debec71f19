"""Products in which zero times infinity is zero: which are guarded, which need not be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphengine.tracing import Tape, Traced, guarded, warns

from .interpreter import Array, inputs_of, numbers

Slope = Callable[[Any], Any]


def product(left: Any, right: Any) -> Any:
    return guarded(left, right, left * right)


def is_guarded(slope: Slope, *, turned: bool = False) -> bool:
    """Whether a row times this slope is a guarded product."""
    tape = Tape()
    x, row = tape.input("x", (2, 3)), tape.input("row", (2, 3))
    found = product(slope(x), row) if turned else product(row, slope(x))
    return bool(found.step.call is not np.multiply)


def largest_off(x: Any) -> Any:
    """Exponentials that do not overflow."""
    return np.exp(x - np.max(x, axis=1, keepdims=True))


MAY_BE_INFINITE: dict[str, Slope] = {
    "1 / x": lambda x: 1 / x,
    "x / y": lambda x: (x + 1) / (2 * x),
    "reciprocal": np.reciprocal,
    "log": np.log,
    "log1p": np.log1p,
    "1 / sqrt x": lambda x: 1 / np.sqrt(x),
    "a power below zero": lambda x: x**-0.5,
    "powers, one below zero": lambda x: x ** np.array([2.0, -1.0, 0.0]),
    "a computed power": lambda x: x ** (x - 1),
    "a multiple": lambda x: -0.5 * (3 / x),
    "negative": lambda x: -np.log(x),
    "moved": lambda x: (1 / x).T.reshape(2, 3),
    "repeated": lambda x: np.broadcast_to(1 / x[0], (2, 3)),
    "picked": lambda x: (1 / x)[::-1, [0, 2, 1]],
    "a branch": lambda x: np.where(x > 0, 1 / x, 0.0),
    "the other branch": lambda x: np.where(x > 0, 0.0, np.log(x)),
    "times known numbers": lambda x: np.array([1.0, 2.0, 3.0]) * np.log(x) * [[2.0], [3.0]],
    "exp": np.exp,
    "expm1": np.expm1,
    "cosh": np.cosh,
    "a quotient of what grows": lambda x: np.exp(x) / (1 + np.exp(x)),
    "a high power": lambda x: x**400,
    "a sum": lambda x: x - 1 / x,
    "a product of traced factors": lambda x: x * np.log(x),
    "a matrix product": lambda x: np.log(x) @ np.ones((3, 3)),
    "cumulated": lambda x: np.cumsum(1 / x, axis=0),
    "joined": lambda x: np.concatenate([x[:1], np.log(x[:1])]),
    "an infinite constant": lambda x: np.minimum(x, math.inf),
    "a branch of an infinite number": lambda x: np.where(x > 0, x, -math.inf),
    "sinh of what is bounded from above": lambda x: np.sinh(np.minimum(x, 0.0)),
    "a divisor that may be zero in a branch": lambda x: 1 / np.where(x > 0, 1.0, x),
    "an exponential in a branch": lambda x: np.where(x > 0, 1.0, np.exp(x)),
    "exp of what is bounded from below": lambda x: np.exp(np.maximum(x, 0.0)),
    "a divisor that may be too small": lambda x: 1 / np.exp(x),
    "1 / softmax": lambda x: np.sum(largest_off(x), axis=1, keepdims=True) / largest_off(x),
    "less the largest of all, in rows": lambda x: x / np.sum(np.exp(x - x.max()), 1)[:, None],
    "a divisor of both signs": lambda x: 1 / np.sum(np.cosh(x) * [[1.0], [-1.0]], 0, keepdims=True),
    "a divisor with a zero in it": lambda x: 1 / (np.cosh(x) * [1.0, 0.0, 2.0]),
    "a divisor that is a sum": lambda x: 1 / (1 + x),
    "a divisor below zero": lambda x: 1 / (np.square(x) - 1.0),
    "a divisor that is never negative": lambda x: 1 / np.square(x),
    "a divisor that is moved by zero": lambda x: 1 / (0.0 + np.square(x)),
    "a divisor that sums nothing": lambda x: 1 / np.sum(np.cosh(x)[:, :0], axis=1, keepdims=True),
    "a divisor that is known": lambda x: x / np.array([1.0, 0.0, 2.0]),
}

ALWAYS_FINITE: dict[str, Slope] = {
    "a number": lambda x: 2.0,
    "the argument": lambda x: x,
    "a polynomial": lambda x: 3 * x**2 + x,
    "cosine": np.cos,
    "powers above zero": lambda x: x ** np.array([2.0, 0.0, 1.5]),
    "1 / cosh": lambda x: 1 / np.cosh(x),
    "1 / (1 + x²)": lambda x: 1 / (1 + x**2),
    "1 / (x² + 1)": lambda x: 1 / (np.square(x) + 1.0),
    "1 / (1 + |x|)²": lambda x: 1 / (1 + np.abs(x) * np.abs(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: largest_off(x) / np.sum(largest_off(x), axis=1, keepdims=True),
    "a power below zero of what is not zero": lambda x: (1 + x**2) ** -0.5 / (1 + x**2) ** -1.5,
    "a known number over what grows": lambda x: np.sqrt(2.0) / (1 + np.exp(x)),
    "softmax of all": lambda x: x / np.sum(np.exp(x - np.max(x))),
    "a mean": lambda x: x / (-2.0 * np.mean(np.cosh(x).T, axis=0)[:, None]),
    "1 / cosh²": lambda x: 1 / (np.cosh(x) * np.cosh(x)),
    "a divisor that is known": lambda x: x / np.array([1.0, -0.5, 2.0]),
    "a divisor that is picked": lambda x: 1 / np.cosh(x)[:, [0, 0, 1]],
    "a divisor of known factors": lambda x: 1 / (np.cosh(x) * [1.0, -1.0, 2.0]),
    "1 / sqrt(1 + x²)": lambda x: 1 / np.sqrt(1 + np.square(x)),
    "a branch": lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0.0))),
    "exp less the largest": largest_off,
    "a step of what is infinite": lambda x: np.heaviside(1 / x, 0.0) + np.tanh(1 / x),
    "a comparison with what is infinite": lambda x: (1 / x > 0).astype(float),
    "a divisor of branches": lambda x: 1 / np.where(x > 0, np.cosh(x), -2.0),
    "a comparison": lambda x: (x > 0).astype(float),
}


@pytest.mark.parametrize("name", MAY_BE_INFINITE)
def test_guarded(name: str) -> None:
    assert is_guarded(MAY_BE_INFINITE[name])
    assert is_guarded(MAY_BE_INFINITE[name], turned=True)


@pytest.mark.parametrize("name", ALWAYS_FINITE)
def test_not_guarded(name: str) -> None:
    assert not is_guarded(ALWAYS_FINITE[name])
    assert not is_guarded(ALWAYS_FINITE[name], turned=True)


def test_a_known_factor_without_zeros_needs_no_guard() -> None:
    x = Tape().input("x", (3,))
    assert product(2.0, 1 / x).step.call is np.multiply
    assert product(1 / x, np.array([1.0, -2.0, 3.0])).step.call is np.multiply
    assert product(1 / x, np.array([1.0, 0.0, 3.0])).step.call is not np.multiply


def test_numbers_need_no_guard() -> None:
    """Python's numbers raise an error where arrays become infinite."""
    x = Tape().input("x", ())
    for slope in (1 / x, np.exp(x), np.log(x), x**-2.0, 1 / x + np.cos(x)):
        assert product(x, slope).step.call is np.multiply


def test_numbers_that_may_be_infinite() -> None:
    """A constant, the sum of an array."""
    tape = Tape()
    x, array = tape.input("x", ()), tape.input("array", (3,))
    for slope in (np.where(x > 0, x, -math.inf), 2 * np.sum(1 / array), np.log(array)[1]):
        assert product(x, slope).step.call is not np.multiply


def test_a_gradient_that_comes_down_is_followed() -> None:
    """Also where the infinity has met no zero yet."""
    tape = Tape()
    x, row = tape.input("x", (3,)), tape.input("row", (3,))
    for first in (product(row, 1 / x), product(2.0, 1 / x)):
        for moved in (first, np.sum(first), first @ np.ones((3, 2)), first.reshape(3, 1)):
            assert product(moved, np.cos(x[:1])).step.call is not np.multiply


def test_long_chains_and_many_paths() -> None:
    """Each array is looked at once: of these paths there are 2 to the 3,000th."""
    x = Tape().input("x", (2,))
    y = np.cosh(x)
    for _ in range(3000):
        y = y * (y + y)
    assert product(x, 1 / y).step.call is np.multiply
    assert product(x, y).step.call is not np.multiply


CASES: list[tuple[Any, Any, Any]] = [
    ([0.0, 2.0, 0.0], [math.inf, 3.0, -math.inf], [0.0, 6.0, 0.0]),
    ([0.0, 1.0, math.inf], [math.nan, math.nan, 0.0], [0.0, math.nan, 0.0]),
    ([math.inf, -1.0], [math.inf, math.inf], [math.inf, -math.inf]),
    ([1e200, 0.0], [1e200, 1.0], [math.inf, 0.0]),
    ([1.0, 2.0], [3.0, -4.0], [3.0, -8.0]),
    ([[0.0], [1.0]], [math.inf, 2.0], [[0.0, 0.0], [math.inf, 2.0]]),
    ([math.inf, 1.0], [[0.0], [1.0]], [[0.0, 0.0], [math.inf, 1.0]]),
    ([], [], []),
]


@pytest.mark.parametrize(("left", "right", "want"), CASES)
def test_zero_times_anything_is_zero(left: Any, right: Any, want: Array) -> None:
    """The factors are written as quotients, so that the product is a guarded one."""
    arrays = np.asarray(left, float), np.asarray(right, float)
    traced, inputs = inputs_of(Tape(), *arrays)
    guardeds: list[Traced] = [
        product(traced[0], np.reciprocal(traced[1])),
        product(np.reciprocal(traced[0]), traced[1]),
    ]
    assert all(found.step.call is not np.multiply for found in guardeds)
    with np.errstate(all="ignore"):
        first = {**inputs, "x1": 1 / arrays[1]}
        second = {**inputs, "x0": 1 / arrays[0]}
    for found, given in zip(guardeds, (first, second), strict=True):
        assert_array_equal(numbers(found, given), want)
        assert numbers(found, given).dtype == float


# --- warnings -----------------------------------------------------------------------------

MAY_WARN: dict[str, Slope] = {
    "1 / x": lambda x: 1 / x,
    "log": np.log,
    "log2": np.log2,
    "sqrt": np.sqrt,
    "a power": lambda x: x**0.5,
    "exp": np.exp,
    "exp of what is bounded from above by much": lambda x: np.exp(np.minimum(x, 1e4)),
    "exp less the largest of others": lambda x: np.exp(x - np.max(2 * x, axis=1, keepdims=True)),
    "exp less the least": lambda x: np.exp(x - np.min(x, axis=1, keepdims=True)),
    "remainder": lambda x: x % x,
    "cosh": np.cosh,
    "huge constants": lambda x: (1e200 * x) * (-1e200 * x),
    "infinite constants": lambda x: x + np.array([0.0, -math.inf, 0.0]),
    "guarded": lambda x: product(x, 1 / x),
}

NEVER_WARN: dict[str, Slope] = {
    "sums and products": lambda x: (x + 1) * x - x @ x.T @ x,
    "comparisons": lambda x: np.where((x > 0) & ~np.isnan(x), x, -x),
    "tanh": lambda x: np.tanh(x) * np.sin(x),
    "softmax": lambda x: np.exp(x - np.max(x, axis=1, keepdims=True)),
    "softmax, guarded": lambda x: np.exp(x - np.where(x.max() > 0, x.max(), 0.0)),
    "exp of a minimum": lambda x: np.exp(np.minimum(x, 0.0)),
    "exp of −|x|": lambda x: np.exp(np.minimum(x, -x)),
    "a quotient": lambda x: x / (1.0 + np.square(x)),
    "a reduction": lambda x: x.sum(axis=0).reshape(3),
}


def may_warn(function: Slope) -> bool:
    tape = Tape()
    function(tape.input("x", (2, 3)))
    return any(warns(x) for x in tape.results if x.step.call is not None)


@pytest.mark.parametrize("name", MAY_WARN)
def test_what_may_warn(name: str) -> None:
    assert may_warn(MAY_WARN[name])


@pytest.mark.parametrize("name", NEVER_WARN)
def test_what_never_warns(name: str) -> None:
    """Nor does NumPy, of numbers of any sign, zeros among them: warnings are errors in tests."""
    assert not may_warn(NEVER_WARN[name])
    for x in ([[0.0, -0.0, 1.0], [-1.0, 700.0, -2.0]], [[1e5, -1e5, 0.0], [2e3, 2e3, 2e3]]):
        assert np.all(np.isfinite(NEVER_WARN[name](np.array(x))))


def test_numbers_of_python_never_warn() -> None:
    tape = Tape()
    x = tape.input("x", ())
    assert not warns(1 / x)
    assert not warns(np.log(x))
