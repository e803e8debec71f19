"""Entries that a claimed pattern lacks: seen in the sums over groups of columns, and located."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphengine.check.functions.columns import Columns, Found
from graphengine.check.functions.entries import BARS, judged
from graphengine.check.functions.grouping import Indices
from graphengine.check.functions.matrices import Matrix
from graphengine.check.functions.slopes import Slopes
from graphengine.check.functions.steps import claimed_at, entries, with_other_steps
from graphengine.ops.base import Array

__all__ = ["Search"]

_TRACED = 8
"""Rows with several missing entries in one group, whose columns are looked for one by one."""

Flags = NDArray[np.bool_]


class Search:
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
        parts = pattern.tocoo()
        self.rows, self.cols = (np.asarray(axis, dtype=np.intp) for axis in parts.coords)
        group = np.empty(claimed.shape[1], dtype=np.intp)
        for number, members in enumerate(groups):
            group[members] = number
        self.member = group[self.cols]
        self.slopes = columns.slopes(groups)

    def found(self) -> Found:
        """The entries of the pattern."""
        return entries(self.slopes, self.columns.step, self.rows, self.cols, self.member)

    def refined(self) -> Found:
        """The same, with other steps where that helps."""
        return with_other_steps(
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
        return entries(slopes, step, self.rows, self.cols, place[self.member])

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
