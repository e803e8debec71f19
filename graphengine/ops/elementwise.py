"""Functions of one entry: exponentials, roots, trigonometry, and ``x log y``.

Outside the domain of a function the value is ``nan``, as in NumPy, without a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import scipy  # scipy.special is imported when it is first used: it takes longer than the rest

from graphengine.jacobian import Rule, term
from graphengine.ops.base import Array, Elementwise, Example, numbers, positive, slope
from graphengine.tracing import as_array


class Unary(Elementwise):
    """A function of one argument, entry by entry.

    The entries of its examples have sizes from 0.2 to ``largest`` and both signs, unless
    ``positive`` is set; ``hard`` holds the entries of one more example.
    """

    family = "elementwise"
    positive: ClassVar[bool] = False
    largest: ClassVar[float] = 2.0
    hard: ClassVar[tuple[float, ...]] = ()

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a number, size 1, empty, and hard entries."""
        draw = positive if cls.positive else numbers
        yield cls(), (draw(rng, 2, 3, high=cls.largest),)
        yield cls(), (draw(rng, high=cls.largest),)
        yield cls(), (draw(rng, 1, high=cls.largest),)
        yield cls(), (draw(rng, 0, 3, high=cls.largest),)
        if cls.hard:
            yield cls(), (np.array(cls.hard),)


def distance(x: Array, y: Array | float = 0.0) -> float:
    """The smallest ``|x − y|``: how far the nearest kink or tie is (infinite where there is none).

    What is not a number counts as a tie, and so do equal infinities.

    >>> distance(np.array([3.0, -0.5])), distance(np.zeros(0))
    (0.5, inf)
    """
    with np.errstate(invalid="ignore"):
        gaps = np.abs(np.subtract(x, y))
    return float(np.min(np.where(np.isnan(gaps), 0.0, gaps), initial=np.inf))


# --- exponentials and powers --------------------------------------------------------------


class Exp(Unary):
    """``exp(x)``."""

    name = "exp"
    hard = (-30.0, 1e-9, 30.0)

    def forward(self, x: Array) -> Array:
        """The exponential."""
        return np.exp(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(out)``."""
        return slope(out, "{out}")


class Log(Unary):
    """``log(x)``, the natural logarithm; at 0 it is ``-inf`` with slope ``inf``."""

    name = "log"
    positive = True
    hard = (1e-9, 1.0, 1e9)

    def forward(self, x: Array) -> Array:
        """The logarithm."""
        return np.log(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 / x)``."""
        return slope(1.0 / x, "1 / {x}")


class Log1p(Unary):
    """``log(1 + x)``, exact also for small ``x``; at −1 it is ``-inf`` with slope ``inf``."""

    name = "log1p"
    largest = 0.9
    hard = (-0.999, 1e-12, 1e6)

    def forward(self, x: Array) -> Array:
        """The logarithm of ``1 + x``."""
        return np.log1p(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 / (1 + x))``."""
        return slope(1.0 / (1.0 + x), "1 / (1 + {x})")


class Expm1(Unary):
    """``exp(x) - 1``, exact also for small ``x``."""

    name = "expm1"
    hard = (-30.0, 1e-12, 30.0)

    def forward(self, x: Array) -> Array:
        """The exponential less 1."""
        return np.expm1(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(exp(x))``: ``out + 1`` would lose small values."""
        return slope(np.exp(x), "exp({x})")


class Sqrt(Unary):
    """``sqrt(x)``; the slope at 0 is ``inf``."""

    name = "sqrt"
    positive = True
    hard = (1e-9, 1.0, 1e9)

    def forward(self, x: Array) -> Array:
        """The square root."""
        return np.sqrt(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 / (2 out))``."""
        return slope(0.5 / out, "1 / (2 * {out})")


class Square(Unary):
    """``x²``."""

    name = "square"

    def forward(self, x: Array) -> Array:
        """The square."""
        return np.square(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``2 diag(x)``."""
        return 2.0 * term("... <- ...", x="...")


class Reciprocal(Unary):
    """``1 / x``."""

    name = "reciprocal"
    hard = (-1e3, 1e-3, 1e3)

    def forward(self, x: Array) -> Array:
        """The reciprocal."""
        return np.reciprocal(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``-diag(1 / x²)``."""
        return -slope(np.square(out), "1 / {x}**2")


# --- sizes and signs ----------------------------------------------------------------------


class Abs(Unary):
    """``|x|``; the slope at 0 is 0."""

    name = "abs"
    hard = (-1e6, -1e-6, 1e-6, 1e6)

    def forward(self, x: Array) -> Array:
        """The absolute value, written so that it continues to complex arguments."""
        return np.where(np.signbit(x.real), -x, x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(sign(x))``."""
        return slope(np.sign(x), "sign({x})")

    def margin(self, x: Array) -> float:
        """The distance from 0."""
        return distance(x)


class Sign(Unary):
    """``-1``, ``0`` or ``1``: the sign of ``x``; the derivative is 0 everywhere, also at 0."""

    name = "sign"
    hard = (-1e6, -1e-6, 1e-6, 1e6)

    def forward(self, x: Array) -> Array:
        """The sign."""
        return as_array(np.sign(x.real))

    def d_x(self, out: Array, x: Array) -> int:
        """No influence."""
        return 0

    def margin(self, x: Array) -> float:
        """The distance from 0."""
        return distance(x)


# --- trigonometry -------------------------------------------------------------------------


class Sin(Unary):
    """``sin(x)``, ``x`` in radians."""

    name = "sin"
    hard = (-30.0, 1e-9, 30.0)

    def forward(self, x: Array) -> Array:
        """The sine."""
        return np.sin(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(cos(x))``."""
        return slope(np.cos(x), "cos({x})")


class Cos(Unary):
    """``cos(x)``, ``x`` in radians."""

    name = "cos"
    hard = (-30.0, 1e-9, 30.0)

    def forward(self, x: Array) -> Array:
        """The cosine."""
        return np.cos(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``-diag(sin(x))``."""
        return -slope(np.sin(x), "sin({x})")


class Tan(Unary):
    """``tan(x)``, ``x`` in radians."""

    name = "tan"
    largest = 1.4
    hard = (-30.0, 1e-9, 30.0)

    def forward(self, x: Array) -> Array:
        """The tangent."""
        return np.tan(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 + out²)``."""
        return slope(1.0 + np.square(out), "1 + {out}**2")


class Arcsin(Unary):
    """``arcsin(x)``, from −π/2 to π/2; the slope at −1 and 1 is ``inf``."""

    name = "arcsin"
    largest = 0.9
    hard = (-0.999999, 1e-9, 0.999)

    def forward(self, x: Array) -> Array:
        """The inverse sine."""
        return np.arcsin(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 / sqrt(1 - x²))``."""
        return slope(_arc_slope(x), "1 / sqrt(1 - {x}**2)")


class Arccos(Unary):
    """``arccos(x)``, from 0 to π; the slope at −1 and 1 is ``-inf``."""

    name = "arccos"
    largest = 0.9
    hard = (-0.999999, 1e-9, 0.999)

    def forward(self, x: Array) -> Array:
        """The inverse cosine."""
        return np.arccos(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``-diag(1 / sqrt(1 - x²))``."""
        return -slope(_arc_slope(x), "1 / sqrt(1 - {x}**2)")


def _arc_slope(x: Array) -> Array:
    """``1 / sqrt(1 - x²)``; as a product, ``1 - x²`` stays exact near 1."""
    return as_array(1.0 / np.sqrt((1.0 - x) * (1.0 + x)))


class Arctan(Unary):
    """``arctan(x)``, from −π/2 to π/2."""

    name = "arctan"
    hard = (-1e6, 1e-9, 1e6)

    def forward(self, x: Array) -> Array:
        """The inverse tangent."""
        return np.arctan(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 / (1 + x²))``."""
        return slope(1.0 / (1.0 + np.square(x)), "1 / (1 + {x}**2)")


class Sinh(Unary):
    """``sinh(x)``."""

    name = "sinh"
    hard = (-30.0, 1e-9, 30.0)

    def forward(self, x: Array) -> Array:
        """The hyperbolic sine."""
        return np.sinh(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(cosh(x))``."""
        return slope(np.cosh(x), "cosh({x})")


class Cosh(Unary):
    """``cosh(x)``."""

    name = "cosh"
    hard = (-30.0, 1e-9, 30.0)

    def forward(self, x: Array) -> Array:
        """The hyperbolic cosine."""
        return np.cosh(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(sinh(x))``."""
        return slope(np.sinh(x), "sinh({x})")


# --- two arguments ------------------------------------------------------------------------


class XLogY(Elementwise):
    """``x log y``, broadcast; where ``x = 0`` it is 0, whatever ``y`` is, with slope 0 in ``y``.

    The slope in ``x`` is ``log y``, which at ``y = 0`` is ``-inf``: so is the slope of
    ``x log x`` at 0.
    """

    name = "xlogy"
    family = "elementwise"

    def forward(self, x: Array, y: Array) -> Array:
        """``x`` times the logarithm of ``y``."""
        return as_array(scipy.special.xlogy(x, y))

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """``diag(log(y))``."""
        return slope(np.log(y), "log({y})")

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """``diag(x / y)``; 0 where ``x = 0``."""
        return slope(np.where(x == 0, 0.0, x / y), "{x} / {y}")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Equal shapes, broadcast both ways, numbers, size 1, empty, ``x = 0``."""
        yield cls(), (numbers(rng, 2, 3), positive(rng, 2, 3))
        yield cls(), (numbers(rng, 4, 1, 3), positive(rng, 2, 1))
        yield cls(), (numbers(rng), positive(rng, 3))
        yield cls(), (numbers(rng, 1), positive(rng, 1, 1))
        yield cls(), (numbers(rng, 0, 3), positive(rng, 3))
        yield cls(), (np.array([0.0, 0.0, 2.0]), np.array([1e-6, 1.0, 1e6]))
