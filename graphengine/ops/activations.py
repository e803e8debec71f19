"""Activation functions of networks.

At a kink the slope is the one from the left (``x <= 0``): 0 for the ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import ClassVar

import numpy as np
import scipy  # scipy.special is imported when it is first used: it takes longer than the rest

from graphengine.jacobian import Rule, term
from graphengine.ops.base import Array, Elementwise, Example, numbers, slope
from graphengine.ops.elementwise import Unary, distance
from graphengine.tracing import as_array


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow, and exact where it is small.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return as_array(np.exp(np.minimum(x, 0.0)) / (1.0 + np.exp(np.minimum(x, -x))))


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))`` without overflow, and exact where it is small.

    >>> softplus(np.array([-1000.0, 0.0, 1000.0]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    return as_array(np.maximum(x, 0.0) + np.log1p(np.exp(np.minimum(x, -x))))


class Activation(Unary):
    """A function that networks apply to each entry."""

    family = "activations"
    hard: ClassVar[tuple[float, ...]] = (-30.0, 1e-9, 30.0)


# --- smooth -------------------------------------------------------------------------------


class Tanh(Activation):
    """``tanh(x)``."""

    name = "tanh"

    def forward(self, x: Array) -> Array:
        """The hyperbolic tangent."""
        return np.tanh(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 − out²)``."""
        return slope(1.0 - np.square(out), "1 - {out}**2")


class Sigmoid(Activation):
    """``σ(x) = 1 / (1 + exp(-x))``, also far from 0."""

    name = "sigmoid"
    hard = (-1000.0, -30.0, 1e-9, 30.0, 1000.0)

    def forward(self, x: Array) -> Array:
        """The logistic function."""
        return sigmoid(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(out (1 − out))``."""
        return slope(out * (1.0 - out), "{out} * (1 - {out})")


class Softplus(Activation):
    """``log(1 + exp(x))``, also far from 0."""

    name = "softplus"
    hard = (-1000.0, -30.0, 1e-9, 30.0, 1000.0)

    def forward(self, x: Array) -> Array:
        """The smooth ReLU."""
        return softplus(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(σ(x))``."""
        return slope(sigmoid(x), "sigmoid({x})")


class Swish(Activation):
    """``x σ(x)``, also far from 0."""

    name = "swish"
    hard = (-1000.0, -30.0, 1e-9, 30.0, 1000.0)

    def forward(self, x: Array) -> Array:
        """``x`` times its logistic function."""
        return as_array(x * sigmoid(x))

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(out + σ(x) (1 − out))``, computed without the difference of large numbers."""
        gate = sigmoid(x)
        return slope(gate * (1.0 + x * (1.0 - gate)), "{out} + sigmoid({x}) * (1 - {out})")


class Gelu(Activation):
    """``x Φ(x)`` with the distribution function of the normal, ``Φ(x) = (1 + erf(x / √2)) / 2``.

    (Hendrycks and Gimpel, 2016: the exact form, not the one with tanh.)
    """

    name = "gelu"
    hard = (-8.0, 1e-9, 8.0)

    def forward(self, x: Array) -> Array:
        """``x`` times the normal distribution function, exact also where that is small."""
        return as_array(x * scipy.special.ndtr(x))

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(Φ(x) + x φ(x))``, where ``φ`` is the density of the normal."""
        density = np.exp(-0.5 * np.square(x)) / np.sqrt(2.0 * np.pi)
        return slope(scipy.special.ndtr(x) + x * density, "Phi({x}) + {x} * phi({x})")


# --- with a kink at 0 ---------------------------------------------------------------------


class Relu(Activation):
    """``max(0, x)``; the slope at 0 is 0."""

    name = "relu"
    hard = (-1000.0, -1e-6, 1e-6, 1000.0)

    def forward(self, x: Array) -> Array:
        """The positive part."""
        return np.maximum(x, 0.0)

    def d_x(self, out: Array, x: Array) -> Rule:
        """1 where ``x > 0``, else 0."""
        return slope(np.heaviside(x, 0.0), "{x} > 0")

    def margin(self, x: Array) -> float:
        """The distance from 0."""
        return distance(x)


class LeakyRelu(Activation):
    """``x`` where ``x > 0``, else ``slope * x``; the slope at 0 is ``slope``."""

    name = "leaky_relu"
    hard = (-1000.0, -1e-6, 1e-6, 1000.0)
    slope: float = 0.01

    def forward(self, x: Array) -> Array:
        """Two straight lines."""
        return np.where(x.real > 0, x, self.slope * x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """1 where ``x > 0``, else ``slope``."""
        return slope(np.where(x > 0, 1.0, self.slope), f"where({{x}} > 0, 1, {self.slope})")

    def margin(self, x: Array) -> float:
        """The distance from 0; with slope 1 there is no kink."""
        return np.inf if self.slope == 1 else distance(x)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of all functions, and steeper slopes."""
        yield from super().examples(rng)
        yield cls(slope=0.5), (numbers(rng, 3, 2),)
        yield cls(slope=-1.5), (numbers(rng, 3),)


class Elu(Activation):
    """``x`` where ``x > 0``, else ``alpha * (exp(x) - 1)``; the slope at 0 is ``alpha``.

    (Clevert, Unterthiner and Hochreiter, 2015.)
    """

    name = "elu"
    hard = (-1000.0, -1e-6, 1e-6, 1000.0)
    alpha: float = 1.0

    def forward(self, x: Array) -> Array:
        """A straight line, and an exponential below 0."""
        right = x.real > 0
        return np.where(right, x, self.alpha * np.expm1(np.where(right, 0.0, x)))

    def d_x(self, out: Array, x: Array) -> Rule:
        """1 where ``x > 0``, else ``alpha * exp(x)``."""
        array = np.where(x > 0, 1.0, self.alpha * np.exp(np.minimum(x, 0.0)))
        scale = "" if self.alpha == 1 else f"{self.alpha} * "
        return slope(array, f"where({{x}} > 0, 1, {scale}exp({{x}}))")

    def margin(self, x: Array) -> float:
        """The distance from 0; with alpha 1 there is no kink."""
        return np.inf if self.alpha == 1 else distance(x)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of all functions, and other values of alpha."""
        yield from super().examples(rng)
        yield cls(alpha=0.5), (numbers(rng, 3, 2),)
        yield cls(alpha=1.7), (numbers(rng, 3),)


class Prelu(Elementwise):
    """``x`` where ``x > 0``, else ``slope * x``, with a slope that is learnt, broadcast.

    At ``x = 0`` the slope in ``x`` is ``slope``, and the one in ``slope`` is 0.
    (He, Zhang, Ren and Sun, 2015.)
    """

    name = "prelu"
    family = "activations"

    def forward(self, x: Array, slope: Array) -> Array:
        """Two straight lines."""
        return np.where(x.real > 0, x, slope * x)

    def d_x(self, out: Array, x: Array, slope: Array) -> Rule:
        """1 where ``x > 0``, else ``slope``."""
        array = np.where(x > 0, 1.0, slope)
        return term("... <- ...", (array, "...", "where({x} > 0, 1, {slope})"))

    def d_slope(self, out: Array, x: Array, slope: Array) -> Rule:
        """``min(x, 0)``."""
        return term("... <- ...", (np.minimum(x, 0.0), "...", "minimum({x}, 0)"))

    def margin(self, x: Array, slope: Array) -> float:
        """The distance of ``x`` from 0."""
        return distance(x)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """One slope, one for each channel, one for each entry; numbers; size 1; empty; steep."""
        yield cls(), (numbers(rng, 2, 3), numbers(rng))
        yield cls(), (numbers(rng, 4, 3), numbers(rng, 3))
        yield cls(), (numbers(rng, 4, 1, 3), numbers(rng, 2, 1))
        yield cls(), (numbers(rng, 2), numbers(rng, 2))
        yield cls(), (numbers(rng), numbers(rng))
        yield cls(), (numbers(rng, 1), numbers(rng, 1, 1))
        yield cls(), (numbers(rng, 0, 3), numbers(rng, 3))
        yield cls(), (np.array([-1000.0, -1e-6, 1e-6, 1000.0]), np.array(0.25))


class Maxout(Elementwise):
    """``max(z1, z2, ...)`` entry by entry, broadcast; of equal ones the first has the slope 1.

    (Goodfellow and others, 2013.)
    """

    name = "maxout"
    family = "activations"

    def forward(self, *z: Array) -> Array:
        """The largest of the arguments."""
        return reduce(np.maximum, z) if len(z) > 1 else z[0].copy()

    def d_z(self, position: int, out: Array, *z: Array) -> Rule:
        """1 where this argument is the first of the largest ones."""
        wins = z[position] == out
        for earlier in z[:position]:
            wins = wins & (earlier != out)
        text = f"{{z{position + 1}}} == {{out}}"
        return slope(as_array(wins, dtype=float), text)

    def margin(self, *z: Array) -> float:
        """The distance between the largest and the next."""
        if len(z) == 1:
            return np.inf
        ranked = np.sort(np.stack(np.broadcast_arrays(*z)), axis=0)
        return distance(ranked[-1], ranked[-2])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Three arrays, two that are broadcast, one, numbers, size 1, empty."""
        yield cls(), tuple(numbers(rng, 2, 3, high=high) for high in (1.8, 1.9, 2.0))
        yield cls(), (numbers(rng, 3, 1), numbers(rng, 2, low=0.3, high=2.1))
        yield cls(), (numbers(rng, 2, 2),)
        yield cls(), (np.array(-0.5), np.array(0.5), np.array(0.25))
        yield cls(), (np.array([2.0]), np.array([[3.0]]))
        yield cls(), (np.zeros((0, 3)), np.ones(3))
