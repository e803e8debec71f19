"""Functions with derivatives found independently: by hand, on grids, and drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Layers(NamedTuple):
    """``f(x) = scale · (B v(A x / unit + c) + offset)`` with its Jacobian."""

    A: Array
    B: Array
    c: Array
    name: str
    unit: float
    scale: float
    offset: float
    x: Array

    def fun(self, x: Array) -> Array:
        return self.scale * (self.B @ OUTER[self.name][0](self._inner(x)) + self.offset)

    def jac(self, x: Array) -> Array:
        slope = OUTER[self.name][1](self._inner(x))
        return self.scale * (self.B * slope) @ self.A / self.unit

    def _inner(self, x: Array) -> Array:
        return self.A @ (x / self.unit) + self.c


OUTER: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "cube": (lambda z: z**3, lambda z: 3 * z**2),
    "bell": (lambda z: np.exp(-z * z), lambda z: -2 * z * np.exp(-z * z)),
    "rational": (lambda z: 1 / (1 + z * z), lambda z: -2 * z / (1 + z * z) ** 2),
    "root": (lambda z: np.sqrt(1 + z * z), lambda z: z / np.sqrt(1 + z * z)),
    "waves": (lambda z: np.sin(20 * z), lambda z: 20 * np.cos(20 * z)),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z: 1 / (1 + np.exp(-z))),
}
SCALES = [1.0, 1e-8, 1e8]


@st.composite
def layers(draw: st.DrawFn) -> Layers:
    """Smooth functions of one to four entries, at all scales."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, k, m = (draw(st.integers(1, 4)) for _ in range(3))
    unit, scale = draw(st.sampled_from(SCALES)), draw(st.sampled_from(SCALES))
    zeros = rng.random((k, n)) < draw(st.sampled_from([0.0, 0.5]))
    return Layers(
        np.where(zeros, 0.0, rng.normal(size=(k, n))),
        rng.normal(size=(m, k)),
        rng.normal(size=k),
        draw(st.sampled_from(sorted(OUTER))),
        unit,
        scale,
        draw(st.sampled_from([0.0, 1.0, 1e4])),
        unit * rng.uniform(0.2, 1.5, n) * rng.choice([-1.0, 1.0], n),
    )


def stencil(size: int) -> tuple[Callable[[Array], Array], Callable[[Array], Any]]:
    """Bratu's equation on a size × size grid: −Δu − 0.1 exp(u), with its sparse Jacobian."""
    inner = (slice(1, -1), slice(1, -1))

    def fun(x: Array) -> Array:
        u = np.zeros((size + 2, size + 2))
        u[inner] = x.reshape(size, size)
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        return (4 * u[inner] - around - 0.1 * np.exp(u[inner])).ravel()

    side = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(size, size))
    eye = sp.eye_array(size)
    laplace = sp.csr_array(sp.kron(side, eye) + sp.kron(eye, side))
    return fun, lambda x: sp.csr_array(laplace - 0.1 * sp.diags_array(np.exp(x)))


def without(matrix: Any, *entries: tuple[int, int]) -> Any:
    """A sparse matrix whose pattern lacks these entries."""
    parts = matrix.tocoo()
    rows, cols = parts.coords
    keep = np.ones(rows.size, dtype=bool)
    for row, col in entries:
        gone = (rows == row) & (cols == col)
        assert gone.sum() == 1
        keep &= ~gone
    return sp.csr_array((parts.data[keep], (rows[keep], cols[keep])), shape=matrix.shape)
