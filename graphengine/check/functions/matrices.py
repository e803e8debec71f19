"""What a user's function claims, in whatever form it came, as one sparse matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from graphengine.check.report import Mistake
from graphengine.errors import CheckError, TooLargeError
from graphengine.ops.base import Array, Shape

__all__ = ["LIMIT", "Form", "Matrix", "form_of", "matrix_of", "shape_mistake"]

LIMIT = 5_000_000
"""Entries of a matrix that are checked in full: each takes some 200 bytes meanwhile."""
_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class Form:
    """How derivatives are written: a gradient (one axis) or a matrix ``rows × cols``."""

    claim: str
    rows: int
    cols: int
    gradient: bool = False

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes that a claim may have, the usual one first."""
        m, n = self.rows, self.cols
        if self.gradient:
            return ((n,), ()) if n == 1 else ((n,),)
        return ((m, n), (n,)) if m == 1 else ((m, n),)

    def index(self, row: int, col: int) -> tuple[int, ...]:
        """An entry's index in the claim."""
        return (int(col),) if self.gradient else (int(row), int(col))

    def at(self, row: int, col: int) -> str:
        """An entry's index as text: ``[2]``, ``[0, 2]``."""
        return str(list(self.index(row, col)))


@dataclass(frozen=True, slots=True)
class Matrix:
    """The entries that a claim states, in the order of rows and then columns; others are 0.

    ``dense`` claims state all entries; ``digits`` is the machine epsilon of the numbers.
    """

    shape: tuple[int, int]
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    values: Array
    dense: bool
    digits: float
    what: str

    def csr(self) -> Any:
        """The claim as a SciPy matrix, with its zeros."""
        return sp.csr_array((self.values, (self.rows, self.cols)), shape=self.shape)


def form_of(value: Any) -> str:
    """``array``, ``sparse`` or ``operator``: what a derivative came as.

    Raises :class:`CheckError` for anything else.
    """
    if sp.issparse(value):
        found, kind = "sparse", value.dtype.kind
    elif isinstance(value, LinearOperator):
        found, kind = "operator", getattr(value.dtype, "kind", "f")
    else:
        found, kind = "array", np.asarray(value).dtype.kind if _regular(value) else "O"
    if kind not in "fiub":
        raise CheckError(
            "the derivative",
            expected="real numbers: an array, a sparse array or matrix, or a LinearOperator",
            got=f"a {type(value).__name__}" + (" of complex numbers" if kind == "c" else ""),
        )
    return found


def _regular(value: Any) -> bool:
    try:
        np.asarray(value)
    except ValueError:  # rows of unequal length
        return False
    return True


def shape_mistake(value: Any, form: Form) -> Mistake | None:
    """What is wrong with the shape of a derivative; None where nothing is."""
    got = tuple(value.shape) if form_of(value) != "array" else np.shape(value)
    if got in form.shapes:
        return None
    says = f"the shape is {got}, expected {' or '.join(map(str, form.shapes))}"
    if form.gradient and math.prod(got) == form.cols:
        says += ": a gradient has one axis (arrays with two broadcast silently against x)"
    elif not form.gradient and got == (form.cols, form.rows):
        says += ": exactly the transposed one (rows belong to the values, columns to x)"
    elif not form.gradient and got == (form.rows * form.cols,):
        says += ": the entries without their rows"
    return Mistake("shape", form.claim, says)


def matrix_of(value: Any, form: Form) -> Matrix:
    """The claim's entries; its shape must be one of the form's.

    An operator is multiplied by all basis vectors, in blocks.  Raises :class:`TooLargeError`
    above :data:`LIMIT` entries.
    """
    shape, what = (form.rows, form.cols), form_of(value)
    digits = _digits(value)
    if what == "array":
        _within(form.rows * form.cols, form)
        flat = np.array(value, dtype=float).reshape(-1)
        rows, cols = np.divmod(np.arange(flat.size), max(form.cols, 1))
        return Matrix(shape, rows, cols, flat, dense=True, digits=digits, what=what)
    found = (
        sp.csr_array(value, dtype=float, copy=True) if what == "sparse" else _applied(value, form)
    )
    _within(found.nnz, form)
    found = found.reshape(shape).tocsr()
    found.sum_duplicates()
    entries = found.tocoo()
    rows, cols = (np.asarray(axis, dtype=np.intp) for axis in entries.coords)
    return Matrix(shape, rows, cols, entries.data, dense=False, digits=digits, what=what)


def _digits(value: Any) -> float:
    dtype = getattr(value, "dtype", None)
    single = dtype is not None and np.dtype(dtype).kind == "f" and np.dtype(dtype).itemsize < 8
    return float(np.finfo(dtype).eps if single and dtype is not None else np.finfo(float).eps)


def _applied(operator: LinearOperator, form: Form) -> Any:
    """The matrix of an operator, by products with blocks of basis vectors; without its zeros."""
    width = max(1, min(form.cols, _BLOCK // max(form.rows, form.cols)))
    parts, entries = [], 0
    for start in range(0, form.cols, width):
        count = min(width, form.cols - start)
        basis = np.zeros((form.cols, count))
        basis[start + np.arange(count), np.arange(count)] = 1.0
        part = sp.csc_array(np.asarray(operator.matmat(basis), dtype=float))
        entries += part.nnz
        _within(entries, form)
        parts.append(part)
    return sp.hstack(parts, format="csr")


def _within(entries: int, form: Form) -> None:
    if entries > LIMIT:
        raise TooLargeError(
            f"claim {form.claim}",
            expected=f"at most {LIMIT:,} entries for a check in full",
            got=f"{entries:,}",
            hint="return a sparse array, or ask for random directions alone: directions=5",
        )
