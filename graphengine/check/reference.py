"""Numeric derivatives to check Jacobians against: complex step, and differences with an error bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.differentiate import derivative

__all__ = ["complex_step", "differences", "numeric_jacobian"]

Array: TypeAlias = NDArray[np.float64]
Function: TypeAlias = Callable[[NDArray[np.complex128] | Array], NDArray[np.complex128] | Array]


def complex_step(fun: Function, x: Array, direction: Array, step: float = 1e-30) -> Array:
    """``∂fun/∂x · direction`` to full precision, for a ``fun`` that continues to complex arguments.

    It silently gives 0 through ``abs``, real parts and comparisons: use it only where every
    operation is analytic.  (Squire and Trapp, 1998.)

    >>> complex_step(np.sin, np.array([0.0]), np.array([2.0]))
    array([2.])
    """
    return np.asarray(fun(x + 1j * step * direction)).imag / step


def differences(fun: Function, x: Array, direction: Array) -> tuple[Array, Array]:
    """``∂fun/∂x · direction`` by extrapolated central differences, and the error to expect.

    The error is infinite where the differences do not settle, and the step has the size of
    ``x``.

    >>> value, error = differences(np.sin, np.array([0.0]), np.array([2.0]))
    >>> bool(abs(value[0] - 2) <= error[0] + 1e-9)
    True
    """
    shape = np.shape(fun(x))
    size = int(np.prod(shape, dtype=np.int64))
    if size == 0:
        return np.zeros(shape), np.zeros(shape)

    def along(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        # Every row holds the same steps; row r wants entry r of the values.
        columns = [np.asarray(fun(x + t * direction)).reshape(size) for t in np.ravel(steps[0])]
        return np.stack(columns, axis=1).reshape(steps.shape)

    scale = 0.1 * max(float(np.max(np.abs(x), initial=0.0)), 0.1)
    with np.errstate(all="ignore"):
        found = derivative(
            along,
            np.zeros(size),
            initial_step=scale / max(float(np.max(np.abs(direction), initial=0.0)), 1e-300),
            preserve_shape=True,
            order=6,
            maxiter=8,
        )
    error = np.where(np.isfinite(found.df), np.abs(found.error), np.inf)
    return np.asarray(found.df).reshape(shape), error.reshape(shape)


def numeric_jacobian(fun: Function, x: Array, *, analytic: bool) -> tuple[Array, Array]:
    """``∂fun/∂x`` as a matrix ``size fun × size x``, column by column, with an error for each entry.

    By complex step where ``analytic``, by differences elsewhere.
    """
    rows = int(np.prod(np.shape(fun(x)), dtype=np.int64))
    matrix = np.zeros((rows, x.size))
    error = np.zeros((rows, x.size))
    for column in range(x.size):
        direction = np.zeros(x.size)
        direction[column] = 1.0
        direction = direction.reshape(x.shape)
        if analytic:
            found, bar = complex_step(fun, x, direction), np.zeros(rows)
        else:
            found, bar = differences(fun, x, direction)
        matrix[:, column], error[:, column] = found.reshape(rows), bar.reshape(rows)
    return matrix, error
