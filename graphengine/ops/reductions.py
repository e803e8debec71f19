"""Reductions over axes: sums, means, extremes, norms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphengine.jacobian import Rule, term
from graphengine.ops.base import Array, Example, Op, Shape, axes_of, letters, numbers


class Reduction(Op):
    """A function along axes: ``axis`` (None: all), which ``keepdims`` leaves with size 1."""

    family = "reductions"
    axis: int | tuple[int, ...] | None = None
    keepdims: bool = False

    def shape(self, x: Shape) -> Shape:
        """The shape without the reduced axes, or with 1 in their place."""
        axes = axes_of(self.axis, len(x))
        kept = (1 if k in axes else n for k, n in enumerate(x))
        return tuple(kept) if self.keepdims else tuple(n for k, n in enumerate(x) if k not in axes)

    def labels(self, x: Array) -> tuple[str, str]:
        """Labels of the output and of the input."""
        into = letters(x.ndim)
        axes = axes_of(self.axis, x.ndim)
        mark = "1" if self.keepdims else ""
        return "".join(mark if k in axes else c for k, c in enumerate(into)), into

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """All axes, one, several, kept; a number; size 1."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls(axis=0), (numbers(rng, 2, 3),)
        yield cls(axis=(0, -1), keepdims=True), (numbers(rng, 2, 3, 4),)
        yield cls(axis=1, keepdims=True), (numbers(rng, 3, 2),)
        yield cls(), (numbers(rng),)
        yield cls(axis=-1), (numbers(rng, 4, 1),)


class Sum(Reduction):
    """``Σ x`` over ``axis`` (None: all)."""

    name = "sum"

    def forward(self, x: Array) -> Array:
        """The sum."""
        return np.sum(x, axis=self.axis, keepdims=self.keepdims)

    def d_x(self, out: Array, x: Array) -> Rule:
        """Ones: ``1ᵀ``."""
        out_labels, in_labels = self.labels(x)
        return term(f"{out_labels} <- {in_labels}")
