"""P3: the full Jacobian of ``z = tanh(W x + b)`` with respect to ``W``: ``diag(1 − z²) ⊗ xᵀ``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dgemv

import graphengine as ge
from benchmarks.jacobians import contenders as by
from benchmarks.jacobians.patterns import block_rows, outer_products
from benchmarks.problem import HAND, Contender, Growth, Problem

SHORT = 512
"""Rows up to this length are filled faster by BLAS than by NumPy, by trying."""


def values_of(C: int, d: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(C, d)) / math.sqrt(d), rng.normal(size=C)
    return {"W": W, "b": b, "x": rng.normal(size=d)}


def graph_of(C: int, d: int) -> ge.Graph:
    graph = ge.Graph("a layer")
    W, b, x = graph.parameter("W", (C, d)), graph.parameter("b", (C,)), graph.input("x", (d,))
    graph.result("z", ge.tanh(W @ x + b))
    return graph


def function(np: Any, W: Any, b: Any, x: Any) -> Any:
    return np.tanh(W @ x + b)


# --- by hand ------------------------------------------------------------------------------


def plain(W: Any, b: Any, x: Any) -> list[Any]:
    """The derivative as on paper."""
    z = np.tanh(W @ x + b)
    return [sp.csr_array(sp.kron(sp.diags_array(1 - z**2), x[None]))]


def by_hand(W: Any, b: Any, x: Any) -> Any:
    """The pattern once; the outer product straight into ``data``."""
    C, d = W.shape
    J = block_rows(C, 1, d)
    data, z, slope = J.data.reshape(C, d), np.empty(C), np.empty(C)
    column, result = slope[:, None], [J]
    fill = outer_products(slope[None], x[None], data[None])

    def short() -> list[Any]:
        np.copyto(z, b)
        dgemv(1.0, W.T, x, 1.0, z, trans=1, overwrite_y=1)
        np.tanh(z, out=z)
        np.multiply(z, z, out=z)
        np.subtract(1, z, out=slope)
        fill()
        return result

    def long() -> list[Any]:
        np.dot(W, x, out=z)
        np.add(z, b, out=z)
        np.tanh(z, out=z)
        np.multiply(z, z, out=z)
        np.subtract(1, z, out=slope)
        # With a buffer longer than a row NumPy copies the factors into it first.
        before = np.setbufsize(64)
        np.multiply(column, x, out=data)
        np.setbufsize(before)
        return result

    return short if d <= SHORT else long


def loop_by_hand(W: Any, b: Any, x: Any) -> Any:
    """The same arithmetic in one loop over the rows, compiled."""
    import numba

    # Sums may be taken in another order (several at a time, as BLAS takes them).
    @numba.njit(fastmath={"reassoc", "contract", "nsz"})  # type: ignore[untyped-decorator]
    def fill(W: Any, b: Any, x: Any, data: Any) -> None:
        C, d = W.shape
        for i in range(C):
            total = b[i]
            for j in range(d):
                total += W[i, j] * x[j]
            z = math.tanh(total)
            slope = 1 - z * z
            for j in range(d):
                data[i, j] = slope * x[j]

    C, d = W.shape
    J = block_rows(C, 1, d)
    data, result = J.data.reshape(C, d), [J]

    def call() -> list[Any]:
        fill(W, b, x, data)
        return result

    return call


# --- in the peers' words ------------------------------------------------------------------


def with_casadi(ca: Any, W: Any, b: Any, x: Any) -> Any:
    return ca.tanh(ca.mtimes(W, x) + b)


def with_sparsediffpy(values: Any) -> Any:
    """``tanh(xᵀ Wᵀ + bᵀ)``, which the engine does faster than ``tanh(W x + b)``."""

    def formula(engine: Any, count: int, turned: Any) -> Any:
        b, x = values["b"], values["x"]
        product = engine.make_left_matmul(None, turned, "dense", x, 1, len(x))
        shift = engine.make_parameter(1, len(b), -1, count, b)
        return engine.make_tanh(engine.make_add(product, shift))

    return formula


# --- the problem --------------------------------------------------------------------------


def problem(C: int, d: int) -> Problem:
    values = values_of(C, d)
    task = by.Task(lambda: graph_of(C, d), function, values, ["W"])
    return Problem(
        "P3",
        f"{C} × {d}",
        lambda: plain(**values),
        [
            Contender(HAND, lambda: by_hand(**values)),
            *by.ours(task, fused=True),
            Contender("fused loop by hand", lambda: loop_by_hand(**values), needs=("numba",)),
            by.autograd(task),
            by.jax(task, "jacrev"),
            by.torch_func(task, "jacrev"),
            by.sparsejac(task, "jacrev", lambda: plain(**values)),
            by.asdex(task),
            by.casadi(task, with_casadi),
            by.sparsediffpy(task, with_sparsediffpy(values), turned=["W"]),
        ],
        target=1.25,
    )


def problems() -> Iterator[Problem]:
    yield problem(64, 256)
    yield problem(256, 1024)


def small() -> Iterator[Problem]:
    yield problem(3, 4)
    yield problem(2, SHORT + 1)


def growth() -> Growth:
    """Rows of 64 numbers each."""
    return Growth(
        "P3", "nonzeros", [32, 320, 3_200, 32_000], lambda n: problem(n, 64), lambda n: 64 * n
    )
