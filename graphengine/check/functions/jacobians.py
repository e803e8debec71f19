"""The numeric Jacobian on the pattern that is claimed, and the entries missing from the pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from graphengine.check.functions.columns import Columns, Found, merged
from graphengine.check.functions.entries import BARS, judged
from graphengine.check.functions.grouping import Indices, groups_of
from graphengine.check.functions.matrices import Matrix
from graphengine.check.functions.slopes import STEPS, Slopes
from graphengine.ops.base import Array

__all__ = ["Measured", "claimed_at", "measured"]

_ROUNDS = 4
_LOOSE = 1e-5
"""Of what is wider than this part of the entry other steps may make something narrower."""
_TRIES = 4
_CLEAR = 30.0
_EPS = float(np.finfo(float).eps)
_TRACED = 8
"""Rows with several missing entries in one group, whose columns are looked for one by one."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Measured:
    """The entries of the numeric Jacobian on the claimed pattern and those found beside it.

    ``beside`` are the keys (row · columns + column) of what was found beside the pattern;
    ``lost`` are rows with more of it, in columns that could not be told.
    """

    found: Found
    groups: int
    beside: Indices
    lost: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))


def claimed_at(claimed: Matrix, rows: Indices, cols: Indices) -> tuple[Array, Flags]:
    """The claim's entries at these places, and which of them it states."""
    n = claimed.shape[1]
    if not claimed.values.size:
        return np.zeros(rows.size), np.zeros(rows.size, dtype=bool)
    stated, wanted = claimed.rows * n + claimed.cols, rows * n + cols
    at = np.minimum(np.searchsorted(stated, wanted), stated.size - 1)
    declared = stated[at] == wanted
    return np.where(declared, claimed.values[at], 0.0), declared


def measured(
    columns: Columns, claimed: Matrix, tolerance: float, beside: Indices | None = None
) -> Measured:
    """The numeric Jacobian where ``claimed`` has entries, and wherever else it is not 0.

    Each group of columns moves all its columns, so that every entry of the Jacobian shows in one
    of the sums: where a sum is not what the declared entries make of it, another weighting tells
    a wrong entry from a missing one, and the missing ones' columns are found by halving.
    ``beside`` is what was found at another point.
    """
    n = claimed.shape[1]
    keys = claimed.rows * n + claimed.cols
    beside = np.zeros(0, dtype=np.intp) if beside is None else beside
    lost = beside[:0]
    for attempt in range(_ROUNDS):
        pattern = _pattern(np.union1d(keys, beside), claimed.shape)
        groups = groups_of(pattern, columns.rng if attempt else None)
        if len(groups) == n:
            return Measured(_all_entries(columns, claimed, tolerance), n, beside)
        search = _Search(columns, claimed, pattern, groups, tolerance)
        missing = search.missing()
        if not missing.any():
            break
        new = np.setdiff1d(search.places(missing), np.union1d(keys, beside))
        if not new.size:
            lost = np.unique(np.nonzero(missing)[1])
            break
        beside = np.union1d(beside, new)
    return Measured(search.refined(), len(groups), beside, lost)


def _pattern(keys: Indices, shape: tuple[int, int]) -> Any:
    rows, cols = np.divmod(keys, shape[1])
    return sp.csr_array((np.ones(keys.size), (rows, cols)), shape=shape)


def _all_entries(columns: Columns, claimed: Matrix, tolerance: float) -> Found:
    """Every column on its own."""
    m, n = claimed.shape
    rows, cols = np.divmod(np.arange(m * n), n)
    groups = [np.array([column]) for column in range(n)]
    found = _entries(columns.slopes(groups), columns.step, rows, cols, cols)
    return _with_other_steps(columns, groups, found, cols, claimed, tolerance)


def _entries(slopes: Slopes, step: Array, rows: Indices, cols: Indices, member: Indices) -> Found:
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


def _with_other_steps(
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
    better = merged(part, _entries(slopes, step, part.rows, part.cols, place[member[here]]))
    arrays = {name: getattr(found, name).copy() for name in Found.__slots__}
    for name, array in arrays.items():
        array[here] = getattr(better, name)
    return Found(**arrays)


class _Search:
    """The sums over groups of columns, and what they show that the claimed pattern does not."""

    def __init__(
        self,
        columns: Columns,
        claimed: Matrix,
        pattern: Any,
        groups: Sequence[Indices],
        tolerance: float,
    ) -> None:
        self.columns, self.claimed, self.groups, self.tolerance = (
            columns,
            claimed,
            groups,
            tolerance,
        )
        self.matrix = claimed.csr()
        entries = pattern.tocoo()
        self.rows, self.cols = (np.asarray(axis, dtype=np.intp) for axis in entries.coords)
        group = np.empty(claimed.shape[1], dtype=np.intp)
        for number, members in enumerate(groups):
            group[members] = number
        self.member = group[self.cols]
        self.slopes = columns.slopes(groups)

    def found(self) -> Found:
        """The entries of the pattern."""
        return _entries(self.slopes, self.columns.step, self.rows, self.cols, self.member)

    def refined(self) -> Found:
        """The same, with other steps where that helps."""
        return _with_other_steps(
            self.columns, self.groups, self.found(), self.member, self.claimed, self.tolerance
        )

    def missing(self) -> Flags:
        """The sums (groups, rows) that entries beside the pattern contribute to."""
        shown = _shown(self.slopes)
        shown[self.member, self.rows] = False
        found = self.found()
        values, _ = claimed_at(self.claimed, self.rows, self.cols)
        verdict = judged(values, found, tolerance=self.tolerance, digits=self.claimed.digits)
        off = verdict.wrong
        if off.any():
            again = self._weighted_otherwise(np.unique(self.member[off]))
            with np.errstate(all="ignore"):
                apart = np.abs(again.value - found.value)
                torn = apart > BARS * (again.error + found.error) + 1e-7 * np.abs(found.value)
            torn &= off & ~found.kink & ~again.kink
            shown[self.member[torn], self.rows[torn]] = True
        return shown

    def _weighted_otherwise(self, groups: Indices) -> Found:
        """The entries as other steps show them: others only where something is missing."""
        step = self.columns.steps(self.columns.step)
        slopes = self.columns.slopes([self.groups[g] for g in groups], step)
        place = np.zeros(len(self.groups), dtype=np.intp)
        place[groups] = np.arange(groups.size)
        return _entries(slopes, step, self.rows, self.cols, place[self.member])

    def places(self, missing: Flags) -> Indices:
        """The keys of entries that explain these sums."""
        keys: list[Indices] = []
        left: list[tuple[int, int]] = []
        for group in np.flatnonzero(missing.any(axis=1)):
            rows = np.flatnonzero(missing[group])
            cols = self._columns(int(group), rows)
            keys.append(rows[cols >= 0] * self.claimed.shape[1] + cols[cols >= 0])
            left += [(int(group), int(row)) for row in rows[cols < 0][:_TRACED]]
        for number, row in left[:_TRACED]:
            cols = np.array(self._halved(self.groups[number], row), dtype=np.intp)
            keys.append(row * self.claimed.shape[1] + cols)
        return np.unique(np.concatenate(keys))

    def _residual(self, parts: Sequence[Indices], rows: Indices) -> tuple[Array, Array]:
        """What some rows' sums over ``parts`` show beyond the claimed entries, and its error."""
        slopes = self.columns.slopes(parts, rows=rows)
        matrix = self.matrix[rows]
        expected = np.empty(slopes.value.shape)
        for k, part in enumerate(parts):
            step = np.zeros(self.claimed.shape[1])
            step[part] = self.columns.step[part]
            expected[k] = matrix @ step
        with np.errstate(all="ignore"):
            error = BARS * slopes.error + self.tolerance * np.abs(expected)
            return np.where(slopes.kink, slopes.right, slopes.value) - expected, error

    def _columns(self, group: int, rows: Indices) -> Indices:
        """The one column of a group that each row's residual comes from; −1 where it is not one.

        Column number c of the group is moved in the halves that the binary digits of c name.
        """
        members = self.groups[group]
        bits = max(1, (members.size - 1).bit_length())
        number = np.arange(members.size)
        parts = [members, *(members[(number >> bit) & 1 == 1] for bit in range(bits))]
        residual, error = self._residual(parts, rows)
        with np.errstate(all="ignore"):
            near = 0.1 * np.abs(residual[0]) + error[1:]
            there = np.abs(residual[1:] - residual[0]) <= near
            clear = (there != (np.abs(residual[1:]) <= near)).all(axis=0)
        code = np.sum(there << np.arange(bits)[:, None], axis=0)
        clear &= code < members.size
        return np.where(clear, members[np.minimum(code, members.size - 1)], -1)

    def _halved(self, members: Indices, row: int) -> list[int]:
        """All columns of ``members`` that move a row other than the claim says."""
        if members.size == 1:
            return [int(members[0])]
        parts = [half for half in np.array_split(members, 2) if half.size]
        residual, error = self._residual(parts, np.array([row]))
        with np.errstate(all="ignore"):
            off = np.abs(residual[:, 0]) > error[:, 0]
        return [col for k, half in enumerate(parts) if off[k] for col in self._halved(half, row)]


def _shown(slopes: Slopes) -> Flags:
    """The sums that are not 0."""
    with np.errstate(all="ignore"):
        sides = np.maximum(np.abs(slopes.left), np.abs(slopes.right))
        size = np.where(slopes.kink, sides, np.abs(slopes.value))
        return np.asarray(size > BARS * slopes.error)
