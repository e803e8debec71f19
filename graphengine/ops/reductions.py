"""Reductions over axes: sums, means, extremes, norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from graphengine.errors import ShapeError
from graphengine.jacobian import Rule, term
from graphengine.ops.base import (
    Array,
    Example,
    Op,
    Shape,
    axes_of,
    letters,
    numbers,
    positive,
)
from graphengine.ops.elementwise import distance
from graphengine.tracing import as_array, recorded


class Reduction(Op):
    """A function along axes: ``axis`` (None: all), which ``keepdims`` leaves with size 1."""

    family = "reductions"
    least: ClassVar[int] = 0
    """How many entries there must be to reduce."""
    axis: int | tuple[int, ...] | None = None
    keepdims: bool = False

    def shape(self, x: Shape) -> Shape:
        """The shape without the reduced axes, or with 1 in their place."""
        axes = axes_of(self.axis, len(x))
        count = math.prod(x[k] for k in axes)
        if count < self.needed:
            raise ShapeError(
                "",
                expected=f"{self.needed} or more entries to reduce",
                got=f"{count} (shape {x}, axis={self.axis})",
            )
        kept = (1 if k in axes else n for k, n in enumerate(x))
        return tuple(kept) if self.keepdims else tuple(n for k, n in enumerate(x) if k not in axes)

    @property
    def needed(self) -> int:
        """:attr:`least`, or what the parameters ask for."""
        return self.least

    def over(self, function: Callable[..., Any], x: Array) -> Array:
        """``function`` of ``x``, one of NumPy's reductions, along the op's axes."""
        return as_array(function(x, axis=self.axis, keepdims=self.keepdims))

    def labels(self, x: Array) -> tuple[str, str]:
        """Labels of the output and of the input."""
        into = letters(x.ndim)
        axes = axes_of(self.axis, x.ndim)
        mark = "1" if self.keepdims else ""
        return "".join(mark if k in axes else c for k, c in enumerate(into)), into

    def rule(self, x: Array, array: Array, text: str) -> Rule:
        """The rule whose one factor is ``array``, with an entry for each of ``x``."""
        out_labels, in_labels = self.labels(x)
        return term(f"{out_labels} <- {in_labels}", (array, in_labels, text))

    def kept(self, out: Array, x: Array) -> Array:
        """``out`` with the reduced axes in place, of size 1, so that it broadcasts to ``x``."""
        return out if self.keepdims else np.expand_dims(out, axes_of(self.axis, x.ndim))

    def dropped(self, kept: Array) -> Array:
        """The inverse of :meth:`kept`."""
        return kept if self.keepdims else np.squeeze(kept, axes_of(self.axis, kept.ndim))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """All axes, one, several, kept; a number; size 1; empty."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls(axis=0), (numbers(rng, 2, 3),)
        yield cls(axis=(0, -1), keepdims=True), (numbers(rng, 2, 3, 4),)
        yield cls(axis=1, keepdims=True), (numbers(rng, 3, 2),)
        yield cls(axis=(2, 0)), (numbers(rng, 2, 3, 2),)
        yield cls(), (numbers(rng),)
        yield cls(axis=-1), (numbers(rng, 4, 1),)
        yield cls(axis=0), (numbers(rng, 3, 0),)
        if cls.least == 0:
            yield cls(axis=1), (numbers(rng, 3, 0),)


# --- sums ---------------------------------------------------------------------------------


class Sum(Reduction):
    """``Σ x`` over ``axis`` (None: all)."""

    name = "sum"

    def forward(self, x: Array) -> Array:
        """The sum."""
        return self.over(np.sum, x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """Ones: ``1ᵀ``."""
        out_labels, in_labels = self.labels(x)
        return term(f"{out_labels} <- {in_labels}")


class Mean(Reduction):
    """The mean of ``x`` over ``axis`` (None: all)."""

    name = "mean"
    least = 1

    def forward(self, x: Array) -> Array:
        """The mean."""
        return self.over(np.mean, x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``(1/n) 1ᵀ``."""
        out_labels, in_labels = self.labels(x)
        return (out.size / max(x.size, 1)) * term(f"{out_labels} <- {in_labels}")


class SumOfSquares(Reduction):
    """``Σ x²`` over ``axis`` (None: all): the squared norm, the L2 penalty."""

    name = "sum_of_squares"

    def forward(self, x: Array) -> Array:
        """The sum of squares."""
        return self.over(np.sum, np.square(x))

    def d_x(self, out: Array, x: Array) -> Rule:
        """``2 xᵀ``, or ``2 vec(x)ᵀ``."""
        return 2.0 * self.rule(x, x, "{x}")


class Norm(Reduction):
    """``sqrt(Σ x²)`` over ``axis`` (None: all); the gradient at 0 is 0.

    Neither very large nor very small entries overflow or vanish in their squares.
    """

    name = "norm"

    def forward(self, x: Array) -> Array:
        """The Euclidean norm."""
        sizes = np.abs(x.real)
        scale = np.max(sizes, axis=self.axis, keepdims=True, initial=0.0)
        scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
        total = np.sum(np.square(x / scale), axis=self.axis, keepdims=True)
        return self.dropped(as_array(scale * np.sqrt(total)))

    def d_x(self, out: Array, x: Array) -> Rule:
        """``xᵀ / out``; 0 where ``out`` is 0."""
        whole = self.kept(out, x)
        return self.rule(x, x / np.where(whole == 0, 1.0, whole), "{x} / {out}")

    def margin(self, x: Array) -> float:
        """The smallest norm; nothing has no kink."""
        return distance(self.value(x)) if x.size else np.inf

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of all reductions, and rows of unlike sizes."""
        yield from super().examples(rng)
        yield cls(axis=1), (numbers(rng, 3, 2) * np.array([[1e-6], [1.0], [1e6]]),)


class Var(Reduction):
    """The variance over ``axis`` (None: all): ``Σ (x - mean)² / (n - ddof)``.

    That of a constant is exactly 0, and so is its gradient.
    """

    name = "var"
    least = 1
    ddof: int = 0

    @property
    def needed(self) -> int:
        """One more than ``ddof``."""
        return max(self.least, self.ddof + 1)

    def forward(self, x: Array) -> Array:
        """The variance, in two passes."""
        count = self._count(x)
        squares = np.square(self._deviation(x))
        return self.over(np.sum, squares) / count

    def d_x(self, out: Array, x: Array) -> Rule:
        """``2 / (n - ddof) (x - mean)ᵀ``."""
        return (2.0 / self._count(x)) * self.rule(x, self._deviation(x), "{x} - mean({x})")

    def _count(self, x: Array) -> int:
        return int(math.prod(x.shape[k] for k in axes_of(self.axis, x.ndim))) - self.ddof

    def _deviation(self, x: Array) -> Array:
        """``x`` less its mean; less its first entry before, which leaves nothing of a constant."""
        axes = axes_of(self.axis, x.ndim)
        first = tuple(slice(0, 1) if k in axes else slice(None) for k in range(x.ndim))
        moved = as_array(x - x[first])
        return as_array(moved - np.mean(moved, axis=self.axis, keepdims=True))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of all reductions; ``ddof``; a mean far larger than the deviations."""
        yield from super().examples(rng)
        yield cls(ddof=1), (numbers(rng, 5),)
        yield cls(axis=0, ddof=2), (numbers(rng, 4, 2),)
        yield cls(axis=1), (1e6 + numbers(rng, 2, 3),)


# --- products -----------------------------------------------------------------------------


class Prod(Reduction):
    """``Π x`` over ``axis`` (None: all)."""

    name = "prod"

    def forward(self, x: Array) -> Array:
        """The product."""
        return self.over(np.prod, x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """The product of the other entries: ``out / x`` where ``x`` is not 0.

        It is computed without a division, so that it holds for zeros too.
        """
        rows = _rows(x, axes_of(self.axis, x.ndim))
        return self.rule(x, _unrows(_others(rows), x, axes_of(self.axis, x.ndim)), "{out} / {x}")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of all reductions; no, one and two zeros in a row."""
        yield from super().examples(rng)
        yield cls(axis=1), (np.array([[2.0, -3.0, 0.5], [2.0, 0.0, 3.0], [0.0, 5.0, 0.0]]),)
        yield cls(axis=(0, 2)), (np.array([[[2.0, 0.0]], [[3.0, 4.0]]]),)


# --- extremes -----------------------------------------------------------------------------


class Extreme(Reduction):
    """The largest or the smallest entry; of equal ones the first, in C order, has the slope 1."""

    least = 1

    def winners(self, x: Array, sign: float) -> Rule:
        """1 at the first of the largest entries of ``sign · x``, else 0."""
        axes = axes_of(self.axis, x.ndim)
        rows = _rows(x, axes)
        places = np.argmax(rows, axis=1) if sign > 0 else np.argmin(rows, axis=1)
        mask = as_array(places[:, None] == np.arange(rows.shape[1]), dtype=float)
        return self.rule(x, _unrows(mask, x, axes), "{x} == {out}")

    def lead(self, x: Array, sign: float) -> float:
        """The distance between the largest entry of ``sign · x`` and the next."""
        rows = _rows(x, axes_of(self.axis, x.ndim)) * sign
        if rows.shape[1] < 2:
            return np.inf
        ranked = np.partition(rows, -2, axis=1)
        return distance(ranked[:, -1], ranked[:, -2])


class Max(Extreme):
    """The largest entry over ``axis`` (None: all).

    Of equal ones the first, in the order of the entries (C order), has the slope 1.
    """

    name = "max"

    def forward(self, x: Array) -> Array:
        """The largest entry."""
        return self.over(np.max, x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """1 at the first of the largest entries, else 0."""
        return self.winners(x, 1.0)

    def margin(self, x: Array) -> float:
        """The distance between the largest entry and the next."""
        return self.lead(x, 1.0)


class Min(Extreme):
    """The smallest entry over ``axis`` (None: all).

    Of equal ones the first, in the order of the entries (C order), has the slope 1.
    """

    name = "min"

    def forward(self, x: Array) -> Array:
        """The smallest entry."""
        return self.over(np.min, x)

    def d_x(self, out: Array, x: Array) -> Rule:
        """1 at the first of the smallest entries, else 0."""
        return self.winners(x, -1.0)

    def margin(self, x: Array) -> float:
        """The distance between the smallest entry and the next."""
        return self.lead(x, -1.0)


class LogSumExp(Reduction):
    """``log Σ exp(x)`` over ``axis`` (None: all), also far from 0.

    Entries of ``-inf`` count nothing; where all are ``-inf`` the value is ``-inf`` and the
    gradient 0.
    """

    name = "logsumexp"

    def forward(self, x: Array) -> Array:
        """The largest entry taken out before the exponential, and added after the logarithm."""
        shift = np.max(x.real, axis=self.axis, keepdims=True, initial=-np.inf)
        shift = np.where(np.isfinite(shift), shift, 0.0)
        total = np.sum(np.exp(x - shift), axis=self.axis, keepdims=True)
        return self.dropped(as_array(np.log(total) + shift))

    def d_x(self, out: Array, x: Array) -> Rule:
        """``softmax(x)ᵀ``, that is ``exp(x - out)ᵀ``."""
        whole = self.kept(out, x)
        return self.rule(x, np.exp(x - np.where(whole == -np.inf, 0.0, whole)), "exp({x} - {out})")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of all reductions, and entries of ±1000."""
        yield from super().examples(rng)
        yield cls(axis=1), (np.array([[-1000.0, -1000.5], [1000.0, 999.0], [-1000.0, 1000.0]]),)
        yield cls(), (1000.0 * positive(rng, 3),)


# --- helpers ------------------------------------------------------------------------------


@recorded(lambda rows: rows.shape)
def _others(rows: Array) -> Array:
    """The product of the other entries of each row."""
    others = np.ones(rows.shape)
    np.cumprod(rows[:, :-1], axis=1, out=others[:, 1:])
    others[:, :-1] *= np.cumprod(rows[:, :0:-1], axis=1)[:, ::-1]
    return others


def _rows(x: Array, axes: tuple[int, ...]) -> Array:
    """``x`` as a matrix: one row for each entry of the output, the reduced entries in C order."""
    kept, order = _order(x.ndim, axes)
    return x.transpose(order).reshape(
        math.prod(x.shape[k] for k in kept), math.prod(x.shape[k] for k in axes)
    )


def _unrows(rows: Array, x: Array, axes: tuple[int, ...]) -> Array:
    """The inverse of :func:`_rows`."""
    _, order = _order(x.ndim, axes)
    back = sorted(range(x.ndim), key=order.__getitem__)
    return rows.reshape([x.shape[k] for k in order]).transpose(back)


def _order(ndim: int, axes: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """The axes that are kept, and all axes with the reduced ones at the end."""
    kept = [k for k in range(ndim) if k not in axes]
    return kept, [*kept, *sorted(axes)]
