"""Activation functions of networks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphengine.jacobian import Rule
from graphengine.ops.base import Array, Elementwise, Example, numbers, slope


class Tanh(Elementwise):
    """``tanh(x)``."""

    name = "tanh"
    family = "activations"

    def forward(self, x: Array) -> Array:
        """The hyperbolic tangent."""
        return np.tanh(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(1 − out²)``."""
        return slope(1 - out**2, "1 - {out}**2")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Both signs, a number, saturated."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls(), (numbers(rng),)
        yield cls(), (np.array([-30.0, 0.0, 1e-9, 30.0]),)
