"""Columns of a sparse matrix that can be differenced together, since no row has two of them.

(A. R. Curtis, M. J. D. Powell and J. K. Reid, IMA J. Appl. Math. 13, 1974, 117-119.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize._numdiff import group_columns

__all__ = ["SINGLE", "groups_of"]

SINGLE = 64
"""Up to this many columns each is moved on its own: nothing is gained by more."""

Indices = NDArray[np.intp]


def groups_of(pattern: Any, shuffled: np.random.Generator | None = None) -> list[Indices]:
    """The columns of a pattern (a CSR array) in groups, of which each row has one at most.

    Columns are taken in their order, which suits grids; where ``shuffled``, in random order, so
    that two that met in one grouping are mostly apart in the next.

    >>> import scipy.sparse as sp
    >>> tridiagonal = sp.diags_array([np.ones(99), np.ones(100), np.ones(99)], offsets=[-1, 0, 1])
    >>> len(groups_of(tridiagonal.tocsr()))
    3
    """
    n = pattern.shape[1]
    if n <= SINGLE or np.max(np.diff(pattern.indptr), initial=0) == n:
        return [np.array([column]) for column in range(n)]
    taken = np.arange(n) if shuffled is None else shuffled.permutation(n)
    member = np.asarray(group_columns(pattern, taken))
    order = np.argsort(member, kind="stable")
    bounds = np.searchsorted(member[order], np.arange(1, member.max() + 1))
    return [np.sort(part) for part in np.split(order, bounds)]
