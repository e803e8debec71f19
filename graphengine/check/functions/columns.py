"""Numeric columns of a Jacobian: differences of a function along groups of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from graphengine.check.functions.calls import Raised, Values
from graphengine.check.functions.slopes import STEPS, Slopes, slopes
from graphengine.check.reference import Method
from graphengine.ops.base import Array

__all__ = ["Columns", "Found", "reach"]

Indices = NDArray[np.intp]
_BATCH = 200_000
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Found:
    """Entries of the numeric Jacobian.

    ``step`` is how far the entry's column was moved (times :data:`STEPS`), ``size`` what the
    slope of the entry's row is along its largest column moved so far: what ``value * step`` is
    compared with to tell whether an entry matters.  ``noise`` is how far the row's values are off.
    """

    rows: Indices
    cols: Indices
    value: Array
    error: Array
    left: Array
    right: Array
    kink: NDArray[np.bool_]
    step: Array
    size: Array
    noise: Array


def reach(x: Array) -> Array:
    """How far to move each entry of x, to change the function by an amount that can be measured.

    By its own size, or by the largest entry's, either of which may set the scale of the function:
    the geometric mean of the two.
    """
    largest = float(np.max(np.abs(x))) or 1.0
    return np.where(x == 0, largest, np.sqrt(np.abs(x) * largest))


class Columns:
    """Slopes of ``values`` at x along sums of columns, each moved by its own random step.

    The steps differ from column to column, so that entries in the wrong column of a group do not
    pass for those in the right one.
    """

    def __init__(
        self, values: Values, x: Array, rng: np.random.Generator, method: Method = "differences"
    ) -> None:
        self.values, self.x, self.rng, self.method = values, x, rng, method
        self.here = values(x)
        self.step = self.steps(reach(x))

    def steps(self, sizes: Array) -> Array:
        """Random steps of about these sizes."""
        return np.asarray(sizes * self.rng.uniform(0.7, 1.4, self.x.size))

    def other_steps(self, number: int) -> Array:
        """Steps by each entry's own size (0), by that of the largest (1), by 1 (2)."""
        sizes = np.abs(self.x)
        largest = float(np.max(sizes)) or 1.0
        smallest = float(np.min(sizes, where=sizes > 0, initial=largest))
        own = np.where(sizes == 0, smallest, sizes)
        return self.steps((own, np.full(self.x.size, largest), np.ones(self.x.size))[number])

    def slopes(
        self,
        groups: Sequence[Indices],
        step: Array | None = None,
        rows: Indices | slice = slice(None),
    ) -> Slopes:
        """The slopes of some components along each group of columns, (groups, components)."""
        step = self.step if step is None else step
        count = self.here[rows].size
        width = max(1, _BATCH // max(count, 1))
        parts = [
            self._batch(groups[start : start + width], step, rows)
            for start in range(0, len(groups), width)
        ]
        joined = (
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Slopes)
        )
        return Slopes(*joined)

    def _batch(self, groups: Sequence[Indices], step: Array, rows: Indices | slice) -> Slopes:
        if self.method == "complex step":
            return self._complex(groups, step, rows)
        here = self.here[rows]
        high = np.empty((len(STEPS), len(groups), here.size))
        low = np.empty_like(high)
        for k, group in enumerate(groups):
            moved = self.x.copy()
            for level, h in enumerate(STEPS):
                moved[group] = self.x[group] + h * step[group]
                high[level, k] = self.values.or_nan(moved)[rows]
                moved[group] = self.x[group] - h * step[group]
                low[level, k] = self.values.or_nan(moved)[rows]
        return slopes(high, low, here, self.values.jitter[rows])

    def _complex(
        self, groups: Sequence[Indices], step: Array, rows: Indices | slice = slice(None)
    ) -> Slopes:
        value = np.empty((len(groups), self.here[rows].size))
        for k, group in enumerate(groups):
            moved = self.x.astype(complex)
            moved[group] += 1j * _TINY * step[group]
            value[k] = self.values.complex(moved)[rows].imag / _TINY
        error = np.where(np.isfinite(value), 64 * np.finfo(float).eps * np.abs(value), np.inf)
        kink, noise = np.zeros(value.shape, bool), np.zeros(value.shape)
        return Slopes(value, error, value, value, kink, np.abs(value), noise)

    def across(self, groups: Sequence[Indices], step: Array) -> tuple[Array, Array]:
        """What values change by when each group is moved by its steps to both sides, (groups,
        components), and how far x really moved.
        """
        high, low = self.x + step, self.x - step
        change = np.empty((len(groups), self.here.size))
        for k, group in enumerate(groups):
            moved = self.x.copy()
            moved[group] = high[group]
            above = self.values.or_nan(moved)
            moved[group] = low[group]
            with np.errstate(all="ignore"):
                change[k] = above - self.values.or_nan(moved)
        return change, high - low

    def trouble(self) -> str:
        """Why complex step cannot be used here; nothing where it can.

        It is compared with differences along one direction, since it silently gives 0 through
        absolute values, real parts and comparisons.
        """
        whole = [np.arange(self.x.size)]
        try:
            exact = self._complex(whole, self.step)
        except Raised as error:
            return f"complex step cannot be used: {error}"
        plain = Columns(self.values, self.x, self.rng)
        found = plain.slopes(whole, self.step)
        gap = np.abs(exact.value - found.value)
        off = (gap > 10 * found.error + 1e-6 * np.abs(found.value)) & np.isfinite(found.error)
        if np.any(off | found.kink):
            return (
                f"complex step gives other slopes than differences: {self.values.name} does not "
                "continue to complex arguments (an absolute value, a real part, a comparison)"
            )
        return ""


def merged(one: Found, two: Found) -> Found:
    """The better of two measurements of the same entries.

    Where they contradict each other the one with the smaller step is nearer to the limit that a
    derivative is; where that one is too vague to tell, the error is infinite, and larger steps
    cannot mend that.  A kink that the other does not see is none.
    """
    with np.errstate(all="ignore"):
        apart = np.abs(one.value - two.value)
        torn = np.isfinite(apart) & (apart > 3 * (one.error + two.error))
        second = np.where(one.kink == two.kink, two.error < one.error, one.kink)
        finer = two.step < one.step
        second = np.where(torn, finer, second & (finer | np.isfinite(one.error)))
        second &= np.isfinite(two.error)
        made = Found(
            *(
                np.where(second, getattr(two, field.name), getattr(one, field.name))
                for field in fields(Found)
            )
        )
        vague = torn & (made.error > 0.1 * apart)
    return replace(
        made,
        error=np.where(vague, np.inf, made.error),
        size=one.size * made.step / one.step,  # what rounding is measured by stays as it was
    )
