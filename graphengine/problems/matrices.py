"""Sparse matrices whose pattern stays and whose numbers change: side by side, and squared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from graphengine.errors import TooLargeError
from graphengine.jacobian.contraction import DEFAULT_LIMIT, human
from graphengine.ops.base import Array

__all__ = ["Normal", "SideBySide"]

Table: TypeAlias = NDArray[np.int64]


class SideBySide:
    """Matrices with the same rows as one: where the numbers of each go, found once."""

    def __init__(self, parts: Sequence[sp.csr_array]) -> None:
        counts = [np.diff(part.indptr).astype(np.int64) for part in parts]
        indptr = _pointers(np.sum(counts, axis=0))
        indices = np.empty(indptr[-1], np.int64)
        start, offset = indptr[:-1], 0
        tables = []
        for part, count in zip(parts, counts, strict=True):
            table = np.arange(part.nnz) + np.repeat(start - part.indptr[:-1], count)
            indices[table] = part.indices + offset
            tables.append(table)
            start, offset = start + count, offset + part.shape[1]
        self._model = _model(indices, indptr, (parts[0].shape[0], offset))
        self._places = _columns(counts) or tables

    def __call__(self, parts: Sequence[sp.csr_array]) -> sp.csr_array:
        """The one matrix, with the numbers of ``parts``."""
        data = np.empty(len(self._model.indices))
        rows = self._model.shape[0]
        for part, places in zip(parts, self._places, strict=True):
            if isinstance(places, slice):
                data.reshape(rows, -1)[:, places] = part.data.reshape(rows, -1)
            else:
                data[places] = part.data
        return _with(self._model, data)


def _columns(counts: Sequence[Table]) -> list[slice]:
    """Where all rows have equally many entries, those of each matrix are columns of the data."""
    if any(len(count) == 0 or (count != count[0]).any() for count in counts):
        return []
    stops = np.cumsum([int(count[0]) for count in counts]).tolist()
    return list(map(slice, [0, *stops], stops)) if stops[-1] else []


# --- squares ------------------------------------------------------------------------------

FEW, MANY = 4, 32
"""Many blocks of few rows each are multiplied column by column, others by a matrix product."""


class _Blocks(NamedTuple):
    """Dense blocks of one size in a sparse matrix: rows with the same columns."""

    at: Table | slice
    """Where their numbers stand in the data."""
    columns: Table
    """Of each block."""
    rows: int
    """Of each block."""

    @property
    def pairs(self) -> int:
        """How many numbers the upper halves of the squares have."""
        count, width = self.columns.shape
        return int(count * width * (width + 1) // 2)

    def keys(self, n: int) -> Table:
        """The flat places of those numbers in a matrix of ``n`` columns."""
        first, second = np.triu_indices(self.columns.shape[1])
        columns = self.columns.T
        return (columns[first] * n + columns[second]).reshape(-1)

    def square(self, data: Array, out: Array) -> None:
        """Write the upper half of ``BᵀB`` of each block ``B``, a row for each pair of columns."""
        count, width = self.columns.shape
        blocks = data[self.at].reshape(count, self.rows, width)
        found = out.reshape(-1, count)
        if self.rows > FEW or count < MANY:
            product = blocks.transpose(0, 2, 1) @ blocks
            found[...] = product.transpose(1, 2, 0)[np.triu_indices(width)]
        else:
            _by_columns(np.ascontiguousarray(blocks.transpose(2, 1, 0)), found)


def _by_columns(columns: Array, found: Array) -> None:
    """The products of each column with itself and with those after it, summed over the rows."""
    width, rows, count = columns.shape
    space = np.empty((width, count))
    start = 0
    for k in range(width):
        part, more = found[start : start + width - k], space[k:]
        np.multiply(columns[k:, 0], columns[k, 0], out=part)
        for row in range(1, rows):
            np.multiply(columns[k:, row], columns[k, row], out=more)
            part += more
        start += width - k


class Normal:
    """``JᵀJ`` for matrices ``J`` of one pattern.

    Rows with the same columns are taken together as a dense block.  The numbers of the blocks'
    squares are added to their places in the upper half of the result, and copied to the lower one.
    (A product of two sparse matrices looks for the places each time.)
    """

    def __init__(self, matrix: sp.csr_array, *, reuse: bool) -> None:
        n = matrix.shape[1]
        self._blocks = list(_blocks(matrix))
        pairs = sum(one.pairs for one in self._blocks)
        needed = 8 * 8 * (pairs + n)  # so many arrays while the places are sorted
        if needed > DEFAULT_LIMIT:
            raise TooLargeError(
                "JᵀJ",
                expected=f"at most {human(DEFAULT_LIMIT)}",
                got=human(needed),
                hint="J alone is enough for least_squares(…, tr_solver='lsmr')",
            )
        keys = [one.keys(n) for one in self._blocks]
        upper, slots = np.unique(
            np.concatenate([*keys, np.arange(n) * (n + 1)]), return_inverse=True
        )
        self._slots, self._size = slots.reshape(-1)[:pairs], len(upper)
        self._numbers = np.empty(pairs) if reuse else None
        rows, columns = np.divmod(upper, max(n, 1))
        below = columns * n + rows
        places, order = np.unique(np.concatenate([upper, below]), return_index=True)
        self._halves = order % len(upper) if n else order
        rows, columns = np.divmod(places, max(n, 1))
        self._model = _model(columns, _pointers(np.bincount(rows, minlength=n)), (n, n))

    def __call__(self, matrix: sp.csr_array) -> sp.csr_array:
        """The product for the numbers of ``matrix``."""
        numbers = np.empty(len(self._slots)) if self._numbers is None else self._numbers
        start = 0
        with np.errstate(over="ignore", invalid="ignore"):  # infinities show in the result
            for one in self._blocks:
                one.square(matrix.data, numbers[start : start + one.pairs])
                start += one.pairs
        half = np.bincount(self._slots, numbers, minlength=self._size)
        return _with(self._model, half.take(self._halves))


def _blocks(matrix: sp.csr_array) -> Iterator[_Blocks]:
    """The blocks, those of one size together."""
    counts = np.diff(matrix.indptr)
    for width in np.unique(counts[counts > 0]):
        starts = matrix.indptr[:-1][counts == width].astype(np.int64)
        at = starts[:, None] + np.arange(width)
        columns, block, heights = np.unique(
            matrix.indices[at], axis=0, return_inverse=True, return_counts=True
        )
        order = np.argsort(block.reshape(-1), kind="stable")
        first = np.cumsum(heights) - heights
        for height in np.unique(heights):
            own = np.flatnonzero(heights == height)
            own = own[np.argsort(order[first[own]])]  # as they stand in the matrix
            rows = order[first[own][:, None] + np.arange(height)]
            yield _Blocks(_span(at[rows].reshape(-1)), columns[own].astype(np.int64), int(height))


def _span(at: Table) -> Table | slice:
    """Places that follow one another as a slice, which is a view."""
    start = int(at[0])
    follows = np.array_equal(at, np.arange(start, start + len(at)))
    return slice(start, start + len(at)) if follows else at


# --- matrices without their numbers -------------------------------------------------------


def _pointers(counts: Table) -> Table:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _model(indices: Table, indptr: Table, shape: tuple[int, int]) -> sp.csr_array:
    """A matrix to be copied, with the smallest type of positions that holds them."""
    largest = max(*shape, len(indices))
    kind = np.int32 if largest <= np.iinfo(np.int32).max else np.int64
    parts = indices.astype(kind), indptr.astype(kind)
    model = sp.csr_array((np.broadcast_to(0.0, len(indices)), *parts), shape=shape)
    model.has_canonical_format = True  # sorted, each place once
    for part in (model.indices, model.indptr):
        part.setflags(write=False)  # shared by all results
    return model


def _with(model: sp.csr_array, data: Any) -> sp.csr_array:
    """The matrix with these numbers; its constructor's checks would cost more than they do."""
    made = copy(model)
    made.data = data
    return made
