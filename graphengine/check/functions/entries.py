"""Each entry of a claim against its measured value: right, wrong, at a kink, or hidden by noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphengine.check.functions.columns import Found
from graphengine.check.functions.grouping import Indices
from graphengine.check.report import Entry
from graphengine.ops.base import Array

__all__ = ["BARS", "Judged", "judged"]

BARS = 4.0
"""How many error bars a right claim may be off: the bars are estimates."""
_DIRT = 64.0
"""What a claim may state for 0, in units of the last digit of its row's largest contribution:
zeros are often the difference of two products."""
_SPILL = 4.0
"""The same for entries that are not 0: what rounding may make of the smallest in a row."""
_FAINT = 8.0
"""Claims beside 0 that are smaller than this, in the same units, are not asked about where
differences cannot see them; the report counts them."""
_VISIBLE = 0.1
"""Of an entry whose error bars are wider than this part of it, differences say nothing."""
_MATTERS = 1e-3
"""A zero is believed where its error bars are narrower than this part of what its row makes of
other columns."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """One array for each property of the entries; ``bar`` is the error that was allowed.

    ``hidden`` entries cannot be resolved by differences, nor can ``faint`` ones, which are so
    small beside others in their row that they may be rounding.
    """

    error: Array
    bar: Array
    wrong: Flags
    kink: Flags
    hidden: Flags
    faint: Flags

    def worst(self, claimed: Array, found: Found) -> int:
        """The entry that is furthest off; of equals, the one with the largest difference."""
        with np.errstate(all="ignore"):
            gap = np.nan_to_num(np.abs(claimed - found.value), nan=np.inf)
        shown = np.where(self.wrong == np.any(self.wrong), self.error, -1.0)
        return int(np.argmax(np.where(shown >= np.max(shown), gap, -1.0)))


def judged(
    claimed: Array, found: Found, *, tolerance: float, digits: float, spread: Array | float = 0.0
) -> Judged:
    """The entries' verdicts.

    ``digits`` is the machine epsilon of the claim, ``spread`` how far the claim moves when x is
    off in its last digits.  An entry is wrong when it is off by more than ``tolerance`` of the
    larger number, by more than the error bars, and by more than rounding makes of its row's
    largest contribution.
    """
    with np.errstate(all="ignore"):
        gap = np.abs(claimed - found.value)
        larger = np.maximum(np.abs(claimed), np.abs(found.value))
        unit = digits * _largest(claimed * found.step, found.rows) / found.step
        bar = np.where(np.isfinite(found.error), BARS * found.error, np.inf) + spread
        tolerance = max(tolerance, 16 * digits)
        dirt = (np.abs(found.value) <= bar) & (np.abs(claimed) <= _DIRT * unit + bar)
        off = (gap > tolerance * larger) & (gap > bar) & ~dirt
        # rounding gives no exact 0, and does not double what it has left
        blurred = off & (claimed != 0) & (gap <= _SPILL * unit + spread)
        blind = (bar > _VISIBLE * larger) & (bar > 0)
        small = np.abs(claimed) <= _FAINT * unit
        idle = bar * found.step > _MATTERS * found.size
        idle &= (claimed != 0) | (found.value != 0)  # constant to the last digit
        unseen = np.where(small, idle, blind) | ~np.isfinite(found.error)
        hidden = np.where(off, blurred & (gap > _VISIBLE * larger), unseen)
        wrong = off & ~blurred
        outside = _outside(claimed, found, tolerance * larger + bar)
        error = np.where(gap == 0, 0.0, gap / np.maximum(larger, bar / tolerance))
        error = np.where(blurred | dirt, np.minimum(error, tolerance), error)
        error = np.where(wrong, gap / larger, error)
        between = np.where(outside, 1.0, 0.0)
    wrong = np.where(found.kink, outside, wrong)
    error = np.where(found.kink, between, np.nan_to_num(error, nan=0.0, posinf=np.inf))
    bad = ~np.isfinite(claimed)
    wrong = np.where(bad, np.isfinite(found.error) & (found.kink | ~idle), wrong)
    error = np.where(bad, np.where(wrong, np.inf, 0.0), error)
    kink = found.kink & ~wrong
    faint = small & (claimed != 0) & blind & ~wrong & ~kink
    return Judged(error, bar, wrong, kink, (hidden | bad) & ~wrong & ~kink, faint)


def _largest(contributions: Array, rows: Indices) -> Array:
    """The largest of the claimed contributions to each entry's row."""
    if not rows.size:
        return np.zeros(0)
    largest = np.zeros(int(np.max(rows)) + 1)
    sizes = np.abs(contributions)
    np.maximum.at(largest, rows, np.where(np.isfinite(sizes), sizes, 0.0))
    return np.asarray(largest[rows])


def _outside(claimed: Array, found: Found, allowed: Array) -> Flags:
    """Which claims at a kink are outside the interval of the one-sided slopes."""
    low, high = np.minimum(found.left, found.right), np.maximum(found.left, found.right)
    # the slopes on one side are known less well than those across: 1e-6 of the jump
    room = np.where(np.isfinite(allowed), allowed, 0.0) + 1e-6 * (high - low)
    return np.asarray((claimed < low - room) | (claimed > high + room))


def entry(index: tuple[int, ...], claimed: float, reference: float) -> Entry:
    """An entry for the report."""
    return Entry(index, float(claimed) + 0.0, float(reference) + 0.0)  # −0 is shown as 0
