"""Values and Jacobians of ops by name, and what mpmath says of a function and its slope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphengine.jacobian import Jacobian
from graphengine.ops import OPS
from graphengine.ops.base import Op

Array = NDArray[np.float64]
DIGITS = 1000
"""So many that ``exp(-1000)`` beside 1 is still seen."""


def value(name: str, *args: ArrayLike, **parameters: Any) -> Array:
    """The value of an op, its shape checked against the op's own rule."""
    op, arrays = _applied(name, args, parameters)
    found = op.value(*arrays)
    assert found.shape == op.shape_of(*(array.shape for array in arrays))
    return found


def jacobian(name: str, *args: ArrayLike, wrt: int = 0, **parameters: Any) -> Jacobian:
    """The Jacobian of an op with respect to the argument at place ``wrt``."""
    op, arrays = _applied(name, args, parameters)
    return op.jacobian(wrt, op.value(*arrays), arrays)


def dense(name: str, *args: ArrayLike, wrt: int = 0, **parameters: Any) -> Array:
    """:func:`jacobian` as a matrix."""
    return jacobian(name, *args, wrt=wrt, **parameters).toarray()


def slopes(name: str, *args: ArrayLike, wrt: int = 0, **parameters: Any) -> Array:
    """The diagonal of the Jacobian of an elementwise op of vectors; nothing stands beside it."""
    matrix = dense(name, *args, wrt=wrt, **parameters)
    diagonal = np.diagonal(matrix)
    beside = matrix[~np.eye(len(matrix), dtype=bool)]
    assert not beside.any()
    return diagonal


def margin(name: str, *args: ArrayLike, **parameters: Any) -> float:
    """The op's distance from its nearest kink or tie."""
    op, arrays = _applied(name, args, parameters)
    return op.margin(*arrays)


def _applied(
    name: str, args: tuple[ArrayLike, ...], parameters: dict[str, Any]
) -> tuple[Op, list[Array]]:
    return OPS[name](**parameters), [np.asarray(arg, dtype=float) for arg in args]


def exact(function: Callable[..., Any], *point: float) -> float:
    """``function`` at ``point`` by mpmath, rounded once."""
    with mp.workdps(DIGITS):
        return float(function(*map(mp.mpf, point)))


def exact_slope(function: Callable[..., Any], *point: float, wrt: int = 0) -> float:
    """The partial derivative of ``function`` at ``point`` by mpmath, rounded once."""

    def along(t: Any) -> Any:
        return function(*(t if k == wrt else mp.mpf(x) for k, x in enumerate(point)))

    with mp.workdps(DIGITS):
        return float(mp.diff(along, mp.mpf(point[wrt])))
