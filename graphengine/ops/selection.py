"""Choices and comparisons: maximum, where, clip, greater.

Numbers that are chosen pass their gradient on; the choice itself has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from graphengine.jacobian import Rule
from graphengine.ops.base import SUM, Array, Elementwise, Example, Written, numbers, slope
from graphengine.ops.elementwise import distance
from graphengine.tracing import as_array


class Pair(Elementwise):
    """A function of two arguments that has a kink or a jump where they are equal."""

    family = "selection"

    def margin(self, x: Array, y: Array) -> float:
        """The distance between the two."""
        return distance(x, y)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Equal shapes, broadcast both ways, numbers, size 1, empty; never equal numbers."""
        other = {"low": 0.3, "high": 2.1}
        yield cls(), (numbers(rng, 2, 3), numbers(rng, 2, 3, **other))
        yield cls(), (numbers(rng, 4, 1, 3), numbers(rng, 2, 1, **other))
        yield cls(), (numbers(rng), numbers(rng, 3, **other))
        yield cls(), (numbers(rng, 1), numbers(rng, 1, 1, **other))
        yield cls(), (numbers(rng, 0, 3), numbers(rng, 3, **other))
        yield cls(), (np.array([-1e6, 1.0, 1e6]), np.array([1e6, 1.0 + 1e-6, -1e6]))


# --- the larger, the smaller, one of two --------------------------------------------------


class Maximum(Pair):
    """The larger of ``x`` and ``y``, entry by entry, broadcast; of equal ones it is ``x``."""

    name = "maximum"

    def forward(self, x: Array, y: Array) -> Array:
        """The larger one."""
        return np.maximum(x, y)

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """1 where ``x >= y``."""
        return _mask(x >= y, "{x} >= {y}")

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """1 where ``y > x``."""
        return _mask(y > x, "{y} > {x}")


class Minimum(Pair):
    """The smaller of ``x`` and ``y``, entry by entry, broadcast; of equal ones it is ``x``."""

    name = "minimum"

    def forward(self, x: Array, y: Array) -> Array:
        """The smaller one."""
        return np.minimum(x, y)

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """1 where ``x <= y``."""
        return _mask(x <= y, "{x} <= {y}")

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """1 where ``y < x``."""
        return _mask(y < x, "{y} < {x}")


class Where(Elementwise):
    """``x`` where ``condition`` is not 0, else ``y``; broadcast.

    There is no derivative with respect to ``condition``.  The one that is not taken may be
    infinite or not a number, and so may its own slope: nothing of it reaches the gradient.
    """

    name = "where"
    family = "selection"
    fixed = frozenset({"condition"})

    def forward(self, condition: Array, x: Array, y: Array) -> Array:
        """One or the other."""
        return np.where(condition.real != 0, x, y)

    def d_x(self, out: Array, condition: Array, x: Array, y: Array) -> Rule:
        """1 where ``condition`` is not 0."""
        return _mask(condition != 0, "{condition} != 0")

    def d_y(self, out: Array, condition: Array, x: Array, y: Array) -> Rule:
        """1 where ``condition`` is 0."""
        return _mask(condition == 0, "{condition} == 0")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Equal shapes, each of the three broadcast, numbers, size 1, empty."""
        yield cls(), (np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), *_two(rng, 2, 3))
        yield cls(), (np.array([[0.0], [2.0]]), *_two(rng, 3))
        yield cls(), (np.array([-1.0, 0.0, 1.0]), numbers(rng, 2, 1), numbers(rng))
        yield cls(), (np.array(1.0), numbers(rng), numbers(rng, 4))
        yield cls(), (np.array([0.0]), *_two(rng, 1, 1))
        yield cls(), (np.zeros(3), *_two(rng, 0, 3))


class Clip(Elementwise):
    """``min(max(x, low), high)``: ``x`` kept between ``low`` and ``high``; broadcast.

    The slope in ``x`` is 1 from ``low`` to ``high``, both included, and 0 outside, where the
    bound that holds has the slope 1.
    """

    name = "clip"
    family = "selection"

    def forward(self, x: Array, low: Array, high: Array) -> Array:
        """``x`` within the bounds."""
        return np.minimum(np.maximum(x, low), high)

    def d_x(self, out: Array, x: Array, low: Array, high: Array) -> Rule:
        """1 where ``low <= x <= high``."""
        return _mask((low <= x) & (x <= high), "{low} <= {x} <= {high}")

    def d_low(self, out: Array, x: Array, low: Array, high: Array) -> Rule:
        """1 where ``x < low <= high``."""
        return _mask((x < low) & (low <= high), "{x} < {low} <= {high}")

    def d_high(self, out: Array, x: Array, low: Array, high: Array) -> Rule:
        """1 where ``high`` is less than the larger of ``x`` and ``low``."""
        return _mask(np.maximum(x, low) > high, "{high} < maximum({x}, {low})")

    def margin(self, x: Array, low: Array, high: Array) -> float:
        """The distance of ``x`` from the nearest bound, and of the bounds from each other."""
        return min(distance(x, low), distance(np.maximum(x, low), high))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Numbers as bounds, bounds for each column and row, crossed bounds, size 1, empty."""
        low, high = np.array(-0.7), np.array(1.1)
        yield cls(), (numbers(rng, 2, 3), low, high)
        yield cls(), (numbers(rng, 4, 3), np.array([-1.0, -0.3, 0.1]), np.array([[0.75]] * 4))
        yield cls(), (numbers(rng, 4), high, low)
        yield cls(), (np.array(0.3), low, high)
        yield cls(), (np.array([2.0]), low, high)
        yield cls(), (numbers(rng, 0, 2), low, high)
        yield cls(), (np.array([-1e6, 0.5, 1e6]), np.array(-1.0), np.array(np.inf))


# --- comparisons --------------------------------------------------------------------------


class Comparison(Pair):
    """1 where a comparison holds, else 0; broadcast.  The derivative is 0 everywhere."""

    compare: ClassVar[np.ufunc]
    sign: ClassVar[str]

    def forward(self, x: Array, y: Array) -> Array:
        """Ones and zeros; the real parts decide."""
        return as_array(self.compare(x.real, y.real), dtype=float)

    def d_x(self, out: Array, x: Array, y: Array) -> int:
        """No influence."""
        return 0

    def d_y(self, out: Array, x: Array, y: Array) -> int:
        """No influence."""
        return 0

    def written(self, *args: Written) -> Written:
        """``x > y``; it binds less tightly than arithmetic."""
        left, right = args
        return Written(f"{left.within(SUM)} {self.sign} {right.within(SUM)}", SUM - 1)


class Greater(Comparison):
    """1 where ``x > y``, else 0; broadcast.  The derivative is 0 everywhere."""

    name = "greater"
    compare, sign = np.greater, ">"


class Less(Comparison):
    """1 where ``x < y``, else 0; broadcast.  The derivative is 0 everywhere."""

    name = "less"
    compare, sign = np.less, "<"


class GreaterEqual(Comparison):
    """1 where ``x >= y``, else 0; broadcast.  The derivative is 0 everywhere."""

    name = "greater_equal"
    compare, sign = np.greater_equal, ">="


class LessEqual(Comparison):
    """1 where ``x <= y``, else 0; broadcast.  The derivative is 0 everywhere."""

    name = "less_equal"
    compare, sign = np.less_equal, "<="


class Equal(Comparison):
    """1 where ``x == y``, else 0; broadcast.  The derivative is 0 everywhere."""

    name = "equal"
    compare, sign = np.equal, "=="


class NotEqual(Comparison):
    """1 where ``x != y``, else 0; broadcast.  The derivative is 0 everywhere."""

    name = "not_equal"
    compare, sign = np.not_equal, "!="


# --- helpers ------------------------------------------------------------------------------


def _mask(condition: Any, text: str) -> Rule:
    """The slope that is 1 where ``condition`` holds and 0 elsewhere."""
    return slope(as_array(condition, dtype=float), text)


def _two(rng: np.random.Generator, *shape: int) -> tuple[Array, Array]:
    return numbers(rng, *shape), numbers(rng, *shape)
