"""Factorisations that several solves share: the calls, and how they are done in their arrays.

A program asks for LAPACK's factors by the functions of this module, whose text stands in flat code.
With buffers the factor takes the place of the matrix, and solutions that of their right-hand sides;
those lie with one right-hand side in a row, so that LAPACK meets columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import lapack

from graphengine.flat.writing import ATOM, Text
from graphengine.tracing import Traced

if TYPE_CHECKING:
    from graphengine.flat.buffers import BufferedWriter

__all__ = [
    "IN_PLACE",
    "add_to_diagonal",
    "cholesky_inverse",
    "cholesky_solve",
    "factor_cholesky",
    "factor_lu",
    "gram",
    "invert_cholesky",
    "invert_lu",
    "lu",
    "lu_inverse",
    "lu_slogdet",
    "lu_solve",
    "solve_cholesky",
    "solve_lu",
    "solve_triangular",
    "triangular_solve",
]

# --- calls of fresh programs --------------------------------------------------------------
# NumPy's arrays have rows, LAPACK's columns: what is handed over is transposed, which copies
# nothing.


def cholesky_solve(right: Any, factor: Any) -> Any:
    """The solution of ``S x = right`` from the lower Cholesky factor of ``S``."""
    return lapack.dpotrs(factor.T, right, lower=0)[0]


def cholesky_inverse(factor: Any) -> Any:
    """The inverse of ``S`` from its lower Cholesky factor."""
    upper = lapack.dpotri(factor.T, lower=0)[0]
    whole = upper + upper.T
    np.fill_diagonal(whole, upper.diagonal())
    return whole


def triangular_solve(right: Any, factor: Any, trans: int) -> Any:
    """The solution of ``L x = right``, or with ``trans`` of ``Lᵀ x = right``; ``L`` is lower."""
    return lapack.dtrtrs(factor.T, right, lower=0, trans=1 - trans)[0]


def lu(matrix: Any) -> Any:
    """The LU factors of the transpose, and the exchanges of its rows."""
    factors, exchanges, failed = lapack.dgetrf(matrix.T)
    if failed:
        raise np.linalg.LinAlgError("singular matrix")
    return factors, exchanges


def lu_solve(right: Any, factors: Any, trans: int) -> Any:
    """The solution of ``A x = right``, or with ``trans`` of ``Aᵀ x = right``."""
    return lapack.dgetrs(*factors, right, trans=1 - trans)[0]


def lu_inverse(factors: Any) -> Any:
    """The inverse of ``A``."""
    return lapack.dgetri(*factors, lwork=64 * len(factors[1]))[0].T


def lu_slogdet(factors: Any) -> Any:
    """The sign and the logarithm of the determinant of ``A``."""
    diagonal = np.diagonal(factors[0])
    exchanged = np.count_nonzero(factors[1] != np.arange(len(diagonal)))
    sign = np.prod(np.sign(diagonal)) * (-1.0) ** exchanged
    return sign, np.log(np.abs(diagonal)).sum()


# --- calls in place -----------------------------------------------------------------------

IN_PLACE: set[Any] = set()
"""Calls that write their own statements: on the tape they are called as ``call(writer, x)``."""

WriteCall = Callable[["BufferedWriter", Traced], None]


def _in_place(write: WriteCall) -> WriteCall:
    IN_PLACE.add(write)
    return write


def _over_first(writer: BufferedWriter, x: Traced) -> str:
    """The array of ``x``, in which its first argument stands."""
    first = writer.operand(x.step.args[0]).text
    home = writer.home(x)
    if home != first:
        writer.line(f"np.copyto({home}, {first})", x)
    writer.texts[x.number] = Text(home, ATOM)
    return home


def _turned(writer: BufferedWriter, text: str) -> str:
    """The transpose, as LAPACK takes it."""
    return writer.hoisted(f"{text}.T")


def _raises(writer: BufferedWriter, x: Traced, condition: str, what: str) -> None:
    writer.line(f"if {condition}:", x)
    writer.line(f'    raise np.linalg.LinAlgError("{what}")', x)


@_in_place
def gram(writer: BufferedWriter, x: Traced) -> None:
    """``α A Aᵀ`` for a number and a matrix, the upper triangle alone."""
    number, matrix = x.step.args
    text, same = writer.turned(matrix)
    home = writer.home(x)
    writer.texts[x.number] = Text(home, ATOM)
    writer.line(
        f"blas.dsyrk({writer.operand(number).text}, {text}, trans={1 - same}, "
        f"c={_turned(writer, home)}, lower=1, overwrite_c=1)",
        x,
    )


@_in_place
def add_to_diagonal(writer: BufferedWriter, x: Traced) -> None:
    """``A + diag(d)`` for a matrix and a vector or a number."""
    diagonal = writer.hoisted(f'np.einsum("ii->i", {_over_first(writer, x)})')
    added = writer.operand(x.step.args[1]).text
    writer.line(f"np.add({diagonal}, {added}, out={diagonal})", x)


@_in_place
def factor_cholesky(writer: BufferedWriter, x: Traced) -> None:
    """The upper ``U`` with ``Uᵀ U = S``; what stands below it is zero where it is ``clean``."""
    home = _turned(writer, _over_first(writer, x))
    clean = x.step.params["clean"]
    call = f"lapack.dpotrf({home}, lower=1, overwrite_a=1, clean={clean})[1]"
    _raises(writer, x, call, "not positive definite")


@_in_place
def solve_cholesky(writer: BufferedWriter, x: Traced) -> None:
    """Rows ``S⁻¹ b`` of rows ``b`` and the upper factor of ``S``."""
    factor = _turned(writer, writer.operand(x.step.args[1]).text)
    home = _turned(writer, _over_first(writer, x))
    writer.line(f"lapack.dpotrs({factor}, {home}, lower=1, overwrite_b=1)", x)


@_in_place
def solve_triangular(writer: BufferedWriter, x: Traced) -> None:
    """Rows ``L⁻¹ b``, or with ``trans`` ``L⁻ᵀ b``, of rows ``b`` and the upper ``Lᵀ``."""
    factor = _turned(writer, writer.operand(x.step.args[1]).text)
    home = _turned(writer, _over_first(writer, x))
    trans = x.step.params["trans"]
    writer.line(f"lapack.dtrtrs({factor}, {home}, lower=1, trans={trans}, overwrite_b=1)", x)


@_in_place
def invert_cholesky(writer: BufferedWriter, x: Traced) -> None:
    """``S⁻¹`` from the upper factor of ``S``: LAPACK leaves one triangle, the other is copied."""
    home = _over_first(writer, x)
    turned = _turned(writer, home)
    below = writer.hoisted(f"np.tri({x.shape[0]}, k=-1, dtype=bool)")
    writer.line(f"lapack.dpotri({turned}, lower=1, overwrite_c=1)", x)
    writer.line(f"np.copyto({home}, {turned}, where={below})", x)


@_in_place
def factor_lu(writer: BufferedWriter, x: Traced) -> None:
    """The pair that :func:`lu` returns."""
    home = _turned(writer, _over_first(writer, x))
    exchanges, failed = writer.names.numbered("p"), writer.names.new("failed")
    writer.line(f"{exchanges}, {failed} = lapack.dgetrf({home}, overwrite_a=1)[1:]", x)
    _raises(writer, x, failed, "singular matrix")
    writer.texts[x.number] = Text(f"({home}, {exchanges})", ATOM)


@_in_place
def solve_lu(writer: BufferedWriter, x: Traced) -> None:
    """Rows ``A⁻¹ b``, or with ``trans`` ``A⁻ᵀ b``, of rows ``b`` and the factors of ``A``."""
    pair = writer.operand(x.step.args[1]).text[1:-1]
    home = _turned(writer, _over_first(writer, x))
    trans = 1 - x.step.params["trans"]
    writer.line(f"lapack.dgetrs({pair}, {home}, trans={trans}, overwrite_b=1)", x)


@_in_place
def invert_lu(writer: BufferedWriter, x: Traced) -> None:
    """``A⁻¹`` from the factors of ``A``."""
    factors, exchanges = writer.operand(x.step.args[0]).text[1:-1].split(", ")
    home = writer.home(x)
    turned = _turned(writer, home)
    if turned != factors:
        writer.line(f"np.copyto({turned}, {factors})", x)
    work = 64 * x.shape[0]
    writer.line(f"lapack.dgetri({turned}, {exchanges}, lwork={work}, overwrite_lu=1)", x)
    writer.texts[x.number] = Text(home, ATOM)
