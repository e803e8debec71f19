"""Entries of the numeric Jacobian, and steps of other sizes for those that are in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from graphengine.check.functions.columns import Columns, Found, merged
from graphengine.check.functions.entries import judged
from graphengine.check.functions.grouping import Indices
from graphengine.check.functions.matrices import Matrix
from graphengine.check.functions.slopes import STEPS, Slopes
from graphengine.ops.base import Array

__all__ = ["claimed_at", "entries", "with_other_steps"]

_LOOSE = 1e-5
"""Of what is wider than this part of the entry other steps may make something narrower."""
_TRIES = 4
_CLEAR = 30.0
_EPS = float(np.finfo(float).eps)

Flags = NDArray[np.bool_]


def claimed_at(claimed: Matrix, rows: Indices, cols: Indices) -> tuple[Array, Flags]:
    """The claim's entries at these places, and which of them it states."""
    n = claimed.shape[1]
    if not claimed.values.size:
        return np.zeros(rows.size), np.zeros(rows.size, dtype=bool)
    stated, wanted = claimed.rows * n + claimed.cols, rows * n + cols
    at = np.minimum(np.searchsorted(stated, wanted), stated.size - 1)
    declared = stated[at] == wanted
    return np.where(declared, claimed.values[at], 0.0), declared


def entries(slopes: Slopes, step: Array, rows: Indices, cols: Indices, member: Indices) -> Found:
    """The entries at ``rows`` and ``cols``, whose columns are in the groups ``member``."""
    with np.errstate(all="ignore"):
        size = np.max(np.maximum(slopes.reach, np.abs(np.nan_to_num(slopes.value))), axis=0)
    moved = step[cols]
    at = member, rows
    return Found(
        rows,
        cols,
        slopes.value[at] / moved,
        slopes.error[at] / moved,
        slopes.left[at] / moved,
        slopes.right[at] / moved,
        slopes.kink[at],
        moved,
        size[rows],
        slopes.noise[at],
    )


def with_other_steps(
    columns: Columns,
    groups: Sequence[Indices],
    found: Found,
    member: Indices,
    claimed: Matrix,
    tolerance: float,
) -> Found:
    """The same, measured with other steps too where an entry is off or cannot be seen.

    First with steps over which the claimed slopes would change the values by about as much as
    they do change: a function that varies over much shorter distances than x suggests is then
    seen as it is.  Nothing is called wrong before that.
    """
    if columns.method == "complex step":
        return found
    values, _ = claimed_at(claimed, found.rows, found.cols)
    for number in range(_TRIES):
        verdict = judged(values, found, tolerance=tolerance, digits=claimed.digits)
        doubtful = verdict.wrong | verdict.hidden | verdict.kink
        with np.errstate(all="ignore"):
            loose = ~(found.error <= _LOOSE * np.maximum(np.abs(values), np.abs(found.value)))
        doubtful &= loose | (number == 0)
        if not doubtful.any():
            break
        if number == 0:
            step = _guided(columns, found, values, doubtful)
        else:
            step = columns.other_steps(number - 1)
        found = _again(columns, groups, found, member, np.unique(member[doubtful]), step)
    verdict = judged(values, found, tolerance=tolerance, digits=claimed.digits)
    if not verdict.wrong.any():
        return found
    return _confirmed(columns, groups, found, member, values, verdict.wrong)


def _confirmed(
    columns: Columns,
    groups: Sequence[Indices],
    found: Found,
    member: Indices,
    values: Array,
    wrong: Flags,
) -> Found:
    """The same, measured again where the smallest steps do not speak against the claim.

    A slope is a limit: the smallest step over which the claim and the measured value make changes
    that can be told apart is nearer to it than all that were measured before.  Where that is
    depends on the noise; what was measured as noise may be the function, at a finer scale.
    """
    digits = _EPS * np.abs(columns.here[found.rows])
    for noise, pick in product((found.noise, digits), (np.fmin, np.fmax)):
        if not wrong.any():
            break
        with np.errstate(all="ignore"):
            steps = _CLEAR * noise / np.abs(values - found.value)
        step = np.full(columns.x.size, np.nan)
        pick.at(step, found.cols, np.where(wrong & np.isfinite(steps), steps, np.nan))
        step = np.where(np.isfinite(step), np.maximum(step, 64 * _EPS * np.abs(columns.x)), 0.0)
        doubted = _doubted(columns, groups, found, member, values, step, noise) & wrong
        if doubted.any():
            found = replace(found, error=np.where(doubted, np.inf, found.error))
            finer = np.where(step > 0, 1e3 * step, columns.step)
            found = _again(columns, groups, found, member, np.unique(member[doubted]), finer)
            wrong = wrong & ~doubted
    return found


def _doubted(
    columns: Columns,
    groups: Sequence[Indices],
    found: Found,
    member: Indices,
    values: Array,
    step: Array,
    noise: Array,
) -> Flags:
    """Where differences over so small a step are clearly nearer to the claim, or near to neither.

    (Far from both they are noise.)
    """
    nearer, neither = np.ones((2, values.size), dtype=bool)
    for times in (1.0, 2.0):
        change, moved = columns.across(groups, times * step)
        with np.errstate(all="ignore"):
            length, gap = moved[found.cols], np.abs(values - found.value)
            shown = change[member, found.rows]
            clear = (10 * noise < gap * length) & ((shown != 0) | (noise >= found.noise))
            slope = shown / length
            nearer &= clear & (np.abs(slope - values) < 0.3 * gap)
            apart = np.abs(slope - found.value)
            neither &= clear & (apart > 0.3 * gap) & (apart < 3 * gap)
    return nearer | neither


def _guided(columns: Columns, found: Found, values: Array, doubtful: Flags) -> Array:
    """Steps over which the claimed (or measured) slopes make the changes that were measured."""
    here = np.abs(columns.here[found.rows])
    change = np.where(found.size > 0, STEPS[0] * found.size, here)
    with np.errstate(all="ignore"):
        steepest = np.nan_to_num(np.abs(values), nan=0.0, posinf=0.0)
        for slope in (found.value, found.left, found.right):
            steepest = np.fmax(steepest, np.where(np.isfinite(slope), np.abs(slope), 0.0))
        length = np.where(doubtful & (steepest > 0) & (change > 0), change / steepest, np.inf)
    step = columns.step.copy()
    np.minimum.at(step, found.cols, np.maximum(length, 1e-290))
    return columns.steps(step)


def _again(
    columns: Columns,
    groups: Sequence[Indices],
    found: Found,
    member: Indices,
    chosen: Indices,
    step: Array,
) -> Found:
    """The entries of the chosen groups measured with another step, and the better taken."""
    slopes = columns.slopes([groups[g] for g in chosen], step)
    place = np.full(len(groups), -1)
    place[chosen] = np.arange(chosen.size)
    here = place[member] >= 0
    part = Found(*(getattr(found, name)[here] for name in Found.__slots__))
    better = merged(part, entries(slopes, step, part.rows, part.cols, place[member[here]]))
    arrays = {name: getattr(found, name).copy() for name in Found.__slots__}
    for name, array in arrays.items():
        array[here] = getattr(better, name)
    return Found(**arrays)
