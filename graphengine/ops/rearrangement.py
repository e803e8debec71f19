"""Ops that move entries: their Jacobian is found by running them on positions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphengine.jacobian import Rule, term
from graphengine.ops.base import Array, Example, Op, Shape, Written, numbers


class Alias(Op):
    """``x`` under a second name."""

    name = "alias"
    family = "rearrangement"

    def forward(self, x: Array) -> Array:
        """The value itself."""
        return x

    def shape(self, x: Shape) -> Shape:
        """The same shape."""
        return x

    def d_x(self, out: Array, x: Array) -> Rule:
        """The identity."""
        return term("... <- ...")

    def written(self, *args: Written) -> Written:
        """``x``."""
        return args[0]

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a number."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls(), (numbers(rng),)
