"""The numeric Jacobian on the pattern that is claimed, and the entries missing from the pattern."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from graphengine.check.functions.columns import Columns, Found
from graphengine.check.functions.grouping import Indices, groups_of
from graphengine.check.functions.matrices import LIMIT, Matrix
from graphengine.check.functions.missing import Search
from graphengine.check.functions.steps import entries, with_other_steps

__all__ = ["Measured", "measured"]

_ROUNDS = 4
_MANY = 32
_SMALL = 2000


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


def measured(
    columns: Columns, claimed: Matrix, tolerance: float, beside: Indices | None = None
) -> Measured:
    """The numeric Jacobian where ``claimed`` has entries, and wherever else it is not 0.

    Each group of columns moves all its columns, so that every entry of the Jacobian shows in one
    of the sums: where a sum is not what the declared entries make of it, another weighting tells
    a wrong entry from a missing one, and the missing ones' columns are found by halving.
    Where a pattern has little to do with the Jacobian the columns are moved one by one.
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
        search = Search(columns, claimed, pattern, groups, tolerance)
        missing = search.missing()
        if not missing.any():
            break
        if attempt and missing.sum() > _MANY and _small(claimed.shape):
            return Measured(_all_entries(columns, claimed, tolerance), n, beside)
        new = np.setdiff1d(search.places(missing), np.union1d(keys, beside))
        if not new.size:
            lost = np.unique(np.nonzero(missing)[1])
            break
        beside = np.union1d(beside, new)
    return Measured(search.refined(), len(groups), beside, lost)


def _small(shape: tuple[int, int]) -> bool:
    """Whether all columns may be moved one by one."""
    return shape[1] <= _SMALL and shape[0] * shape[1] <= LIMIT


def _pattern(keys: Indices, shape: tuple[int, int]) -> Any:
    rows, cols = np.divmod(keys, shape[1])
    return sp.csr_array((np.ones(keys.size), (rows, cols)), shape=shape)


def _all_entries(columns: Columns, claimed: Matrix, tolerance: float) -> Found:
    """Every column on its own."""
    m, n = claimed.shape
    rows, cols = np.divmod(np.arange(m * n), n)
    groups = [np.array([column]) for column in range(n)]
    found = entries(columns.slopes(groups), columns.step, rows, cols, cols)
    return with_other_steps(columns, groups, found, cols, claimed, tolerance)
