"""The user's functions, called with care: on copies, errors caught, side effects written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from graphengine.errors import CheckError
from graphengine.ops.base import Array

__all__ = ["Called", "Numbers", "Raised", "Values", "live", "point_of", "same"]

Numbers: TypeAlias = NDArray[np.float64] | NDArray[np.complex128]
ROUNDING = 1e-10
"""Two calls that differ by less than this differ by rounding (sums in another order)."""


class Raised(Exception):
    """A user's function raised, or returned what cannot be used at this point."""


class Called:
    """A user's function of x, for any arguments after x.

    Each call gets a copy of x; ``changes_x`` tells whether the function wrote into it.
    """

    def __init__(self, fun: Callable[..., Any], args: tuple[Any, ...], name: str) -> None:
        self.fun, self.args, self.name = fun, args, name
        self.changes_x = False

    def __call__(self, x: Numbers) -> Any:
        """What the function returns.  Raises :class:`Raised` where it raises."""
        given = x.copy()
        try:
            with np.errstate(all="ignore"):
                value = self.fun(given, *self.args)
        except Raised:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            named = type(error).__name__ + (f": {said}" if said else "")
            raise Raised(f"{self.name} raises {named}") from error
        if not np.array_equal(given, x, equal_nan=True):
            self.changes_x = True
        return value


class Values:
    """The values of a function of x as a flat array of m numbers.

    ``paired`` functions return (value, derivative).  Raises :class:`CheckError` for values that
    are no numbers, or have more than one axis.
    """

    def __init__(self, called: Called, x: Array, *, paired: bool = False) -> None:
        self.called, self.paired = called, paired
        self.name = called.name
        first = self.raw(x)
        self.shape = np.shape(first)
        kept = np.array(first)
        if len(self.shape) > 1:
            raise CheckError(
                f"{self.name}(x)",
                expected="a number or a vector",
                got=f"shape {self.shape}",
                hint="return the values flat, and a row of the Jacobian for each",
            )
        self.here = self._numbers(first)
        self.size = self.here.size
        self.jitter, self.random = self._repeated(x)
        self._shown = (first, kept)

    def raw(self, x: Numbers) -> Any:
        """The value as the function returns it."""
        value = self.called(x)
        if not self.paired:
            return value
        if not (isinstance(value, tuple) and len(value) == 2):
            raise CheckError(
                f"{self.name}(x)",
                expected="a pair (value, derivative), since the derivative is given as True",
                got=_kind(value),
                hint="return both, or give the derivative as a function",
            )
        return value[0]

    def __call__(self, x: Numbers) -> Array:
        """The m real values at x."""
        return np.asarray(self._numbers(self.raw(x)), dtype=float)

    def complex(self, x: Numbers) -> NDArray[np.complex128]:
        """The m values at a complex x."""
        found = np.asarray(self.raw(x))
        if found.size != self.size or found.dtype.kind not in "fciu":
            raise Raised(f"{self.name} of a complex x gives {_kind(found)}")
        return found.astype(complex).ravel()

    def or_nan(self, x: Numbers) -> Array:
        """The same; not a number where the function raises (outside its domain, say)."""
        try:
            return self(x)
        except Raised:
            return np.full(self.size, np.nan)

    def _numbers(self, value: Any) -> Array:
        if sp.issparse(value):
            value = value.toarray()
        found = np.asarray(value)
        if found.dtype.kind not in "fiub":
            raise CheckError(
                f"{self.name}(x)",
                expected="real numbers",
                got=_kind(value),
            )
        if found.shape != self.shape:
            raise Raised(f"{self.name} returns shape {self.shape} here and {found.shape} there")
        return np.array(found, dtype=float).ravel()

    def _repeated(self, x: Array) -> tuple[Array, bool]:
        """How far a second call is from the first, and whether that is more than rounding."""
        again = self(x)
        with np.errstate(all="ignore"):
            gap = np.abs(again - self.here)
        gap = np.where(np.isfinite(gap), gap, 0.0)
        return gap, not same(self.here, again)

    @property
    def reuses_its_array(self) -> bool:
        """Whether what the first call returned has changed since."""
        first, kept = self._shown
        return isinstance(first, np.ndarray) and not np.array_equal(first, kept, equal_nan=True)


def same(first: Array, second: Array) -> bool:
    """Whether two results of the same call differ by rounding at most."""
    if first.shape != second.shape:
        return False
    first, second = first.ravel(), second.ravel()
    with np.errstate(all="ignore"):
        gap = np.abs(first - second)
        scale = np.max(
            np.abs(np.concatenate([first, second])), initial=0.0, where=_finite(first, second)
        )
    equal = (first == second) | (np.isnan(first) & np.isnan(second))
    return bool(np.all(equal | (gap <= ROUNDING * scale)))


def _finite(first: Array, second: Array) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(np.concatenate([first, second])))


def live(value: Any) -> tuple[NDArray[Any], ...]:
    """The arrays that hold the numbers of what a user's function returned, not copied."""
    if sp.issparse(value):
        names = ("data", "row", "col", "indices", "indptr", "offsets")
        parts = (getattr(value, name, None) for name in names)
        return tuple(
            part for part in parts if isinstance(part, np.ndarray) and part.dtype != object
        )
    return (np.asarray(value),) if isinstance(value, np.ndarray) else ()  # no np.matrix


def point_of(x: Any) -> Array:
    """A fresh vector of floats for ``x``.  Raises :class:`CheckError` for what is none."""
    found = np.asarray(x)
    if found.dtype.kind not in "fiub":
        raise CheckError("x", expected="real numbers", got=_kind(x))
    if found.ndim > 1:
        raise CheckError(
            "x",
            expected="a vector",
            got=f"shape {found.shape}",
            hint="pass x.ravel() and reshape inside the function",
        )
    point = np.array(found, dtype=float).reshape(-1)
    if not point.size:
        raise CheckError("x", expected="at least one number", got="none")
    if not np.isfinite(point).all():
        bad = int(np.argmin(np.isfinite(point)))
        raise CheckError("x", expected="finite numbers", got=f"x[{bad}] = {point[bad]}")
    return point


def _kind(value: Any) -> str:
    """What a value is, in a few words."""
    if isinstance(value, LinearOperator):
        return "a LinearOperator"
    if isinstance(value, np.ndarray):
        return f"an array of type {value.dtype}"
    return f"a {type(value).__name__}"
