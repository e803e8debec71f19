"""Sparse matrices whose pattern stands and whose numbers are filled; other layouts read as CSR."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dgemm

Array = Any
Shape = Sequence[int]


def with_rows(columns: Array, width: int) -> sp.csr_array:
    """The matrix whose row ``i`` has its entries at ``columns[i]`` (in order), all 0 so far.

    Its ``data`` is C-ordered: ``J.data.reshape(columns.shape)`` is a view with a row for each row.
    """
    rows, each = columns.shape
    indices = np.ascontiguousarray(columns, dtype=np.int32).reshape(-1)
    starts = np.arange(0, rows * each + 1, each, dtype=np.int32)
    return sp.csr_array((np.zeros(rows * each), indices, starts), shape=(rows, width))


def dense_rows(rows: int, width: int) -> sp.csr_array:
    """A matrix without structural zeros."""
    return with_rows(np.broadcast_to(np.arange(width), (rows, width)), width)


def block_rows(blocks: int, rows: int, columns: int) -> sp.csr_array:
    """A block diagonal of ``blocks`` dense blocks, ``rows`` × ``columns`` each."""
    at = np.arange(blocks * columns).reshape(blocks, 1, columns)
    whole = np.broadcast_to(at, (blocks, rows, columns))
    return with_rows(whole.reshape(-1, columns), blocks * columns)


def as_blocks(blocks: Array) -> sp.csr_array:
    """The block diagonal of a stack of dense blocks."""
    found = block_rows(*blocks.shape)
    found.data[...] = np.asarray(blocks).reshape(-1)
    return found


# --- filling ------------------------------------------------------------------------------


BLOCK = 50_000
"""Entries of a product of thin matrices that are written at a time, so that they stay in the cache:
BLAS goes over them more than once.
"""


def multiply(left: Array, right: Array, out: Array) -> Callable[[], Any]:
    """A call that fills ``out``, C-ordered, with ``left @ right`` by SciPy's BLAS.

    BLAS counts by columns: it multiplies the transposes, and nothing is copied.
    """
    rows, columns = out.shape
    each = max(1, BLOCK // columns) if left.shape[1] <= 16 else rows
    a, trans_a = _turned(right)
    parts = []
    for start in range(0, rows, each):
        b, trans_b = _turned(left[start : start + each])
        parts.append((b, out[start : start + each].T, trans_b))

    def fill() -> None:
        for b, c, trans_b in parts:
            dgemm(1.0, a, b, 0.0, c, trans_a=trans_a, trans_b=trans_b, overwrite_c=1)

    return fill


def _turned(matrix: Array) -> tuple[Array, int]:
    """The transpose for BLAS: as it lies in memory, and whether BLAS is to transpose that."""
    return (matrix.T, 0) if matrix.flags.c_contiguous else (matrix, 1)


def outer_products(left: Array, right: Array, out: Array) -> Callable[[], Any]:
    """A call that fills ``out[k]`` with ``outer(left[k], right[k])`` for each ``k``.

    A matrix product with one inner index runs at the speed of writing where ``out[k]`` stays in
    the cache; NumPy's product by broadcasting takes two to four times as long on short rows.
    """
    parts = [(b[:, None], a[:, None], c.T) for a, b, c in zip(left, right, out, strict=True)]

    def fill() -> None:
        for a, b, c in parts:
            dgemm(1.0, a, b, 0.0, c, trans_b=1, overwrite_c=1)

    return fill


# --- reading ------------------------------------------------------------------------------


def at_most_matrix(shape: Shape) -> Shape:
    """The shape, or that of a vector where it has more than two axes."""
    return tuple(shape) if len(shape) <= 2 else (math.prod(shape),)


def positions(shape: Shape) -> Array:
    """Where each entry, counted column by column, stands when it is counted row by row."""
    return np.arange(math.prod(shape)).reshape(shape).ravel(order="F")


def by_column(found: Any, of: Shape, wrt: Sequence[Shape]) -> list[sp.csr_array]:
    """One Jacobian for each of ``wrt``, from one whose entries are counted column by column.

    Its columns are those of all ``wrt``, one after another.
    """
    place = sp.coo_array(found)
    rows = positions(of)[place.coords[0]]
    each = [positions(shape) for shape in wrt]
    ends = np.cumsum([0, *map(len, each)])
    columns = np.concatenate([at + start for at, start in zip(each, ends[:-1], strict=True)])
    whole = sp.csr_array((place.data, (rows, columns[place.coords[1]])), shape=place.shape)
    return parted(whole, wrt)


def parted(whole: Any, wrt: Sequence[Shape]) -> list[sp.csr_array]:
    """The columns of a Jacobian with respect to several arrays, one after another."""
    ends = np.cumsum([0, *map(math.prod, wrt)])
    by_columns = sp.csc_array(whole)
    return [sp.csr_array(by_columns[:, low:high]) for low, high in itertools.pairwise(ends)]


def as_matrix(found: Any, rows: int) -> Array:
    """A dense Jacobian of any shape with one row for each entry of the function."""
    return np.asarray(found).reshape(rows, -1)
