"""Kinks where several entries of x tie: what moving them together shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from graphengine.check.functions.columns import Columns, Found
from graphengine.check.functions.entries import BARS, Judged
from graphengine.ops.base import Array

__all__ = ["Tie", "ties"]

_ROWS = 20


class Tie(NamedTuple):
    """Columns that tie in a row; moved together they change it by ``slope``, not by ``claimed``.

    ``all`` is what they change it by when each gets its larger one-sided slope.
    """

    row: int
    cols: tuple[int, ...]
    claimed: float
    slope: float
    all: float


def ties(
    columns: Columns, found: Found, values: Array, verdict: Judged, digits: float
) -> tuple[Tie, ...]:
    """The ties that the claim resolves wrongly.

    max(x[0], x[1]) at x[0] = x[1] has a kink along each, where any slope between the one-sided
    ones is as good as another.  Along both together it has none, and there the claim must add up.
    """
    made = []
    for row in np.unique(found.rows[verdict.kink])[:_ROWS]:
        here = verdict.kink & (found.rows == row)
        for part in _tied(columns.x, found.cols, here):
            cols = found.cols[part]
            step = np.full(columns.x.size, np.max(found.step[part]))
            slopes = columns.slopes([cols], step, rows=np.array([row]))
            slope, error = slopes.value[0, 0] / step[0], slopes.error[0, 0] / step[0]
            claimed = float(np.sum(values[part]))
            larger = np.where(
                np.abs(found.right[part]) > np.abs(found.left[part]),
                found.right[part],
                found.left[part],
            )
            room = BARS * error + 1e-6 * abs(slope) + 64 * digits * np.sum(np.abs(larger))
            if not slopes.kink[0, 0] and np.isfinite(error) and abs(claimed - slope) > room:
                made.append(
                    Tie(
                        int(row),
                        tuple(map(int, cols)),
                        claimed,
                        float(slope),
                        float(np.sum(larger)),
                    )
                )
                break
    return tuple(made)


def _tied(x: Array, cols: Array, here: Array) -> Iterator[Array]:
    """The entries of a row with equal x, for each value that several have; then all of them."""
    entries = np.flatnonzero(here)
    if entries.size < 2:
        return
    groups = [entries[x[cols[entries]] == value] for value in np.unique(x[cols[entries]])]
    yield from (group for group in groups if group.size > 1)
    if len(groups) > 1:
        yield entries
