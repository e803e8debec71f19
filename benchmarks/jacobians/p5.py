"""P5: the Jacobians of a batch of outputs of a tanh network, in its weights and in its inputs.

``H = tanh(X W₁ᵀ + b₁)``, ``Y = H W₂ᵀ + b₂``, an example in each row of ``X``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

import graphengine as ge
from benchmarks.jacobians import contenders as by
from benchmarks.jacobians.patterns import (
    as_blocks,
    as_matrix,
    block_rows,
    dense_rows,
    multiply,
    outer_products,
    with_rows,
)
from benchmarks.problem import HAND, Contender, Growth, Problem

WRT = ["W1", "b1", "W2", "b2", "X"]


def values_of(N: int, d: int, h: int, K: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "W1": rng.normal(size=(h, d)) / math.sqrt(d),
        "b1": rng.normal(size=h),
        "W2": rng.normal(size=(K, h)) / math.sqrt(h),
        "b2": rng.normal(size=K),
        "X": rng.normal(size=(N, d)),
    }


def graph_of(N: int, d: int, h: int, K: int) -> ge.Graph:
    graph = ge.Graph("a tanh network")
    W1, b1 = graph.parameter("W1", (h, d)), graph.parameter("b1", (h,))
    W2, b2 = graph.parameter("W2", (K, h)), graph.parameter("b2", (K,))
    X = graph.input("X", (N, d))
    H = graph.node("H", ge.tanh(X @ W1.T + b1))
    graph.result("Y", H @ W2.T + b2)
    return graph


def function(np: Any, W1: Any, b1: Any, W2: Any, b2: Any, X: Any) -> Any:
    """Of a batch, or of one example."""
    return np.tanh(X @ W1.T + b1) @ W2.T + b2


# --- by hand ------------------------------------------------------------------------------


def plain(W1: Any, b1: Any, W2: Any, b2: Any, X: Any) -> list[Any]:
    """The derivatives as on paper: with ``G = W₂ diag(1 − h²)`` of each example."""
    H = np.tanh(X @ W1.T + b1)
    G = W2 * (1 - H**2)[:, None, :]
    rows, one = len(X) * len(b2), np.eye(len(b2))
    return [
        np.einsum("nkh,nd->nkhd", G, X).reshape(rows, -1),
        G.reshape(rows, -1),
        sp.csr_array(np.einsum("kl,nh->nklh", one, H).reshape(rows, -1)),
        sp.csr_array(np.tile(one, (len(X), 1))),
        as_blocks(G @ W1),
    ]


def by_hand(W1: Any, b1: Any, W2: Any, b2: Any, X: Any) -> Any:
    """``G`` is itself a result, and what the two large ones are made from."""
    (N, d), h, K = X.shape, len(b1), len(b2)
    own = np.arange(K)[:, None] * h + np.arange(h)
    results = [
        dense_rows(N * K, h * d),
        dense_rows(N * K, h),
        with_rows(np.tile(own, (N, 1)), K * h),
        with_rows(np.tile(np.arange(K)[:, None], (N, 1)), K),
        block_rows(N, K, d),
    ]
    results[3].data[...] = 1.0
    in_W1, in_b1, in_W2, _, in_X = (one.data for one in results)
    H, slope, G = np.empty((N, h)), np.empty((N, h)), in_b1.reshape(N, K, h)
    wide, spread, repeated = slope[:, None, :], in_W2.reshape(N, K, h), H[:, None, :]
    scores = multiply(X, W1.T, H)
    to_W1 = outer_products(in_b1.reshape(N, K * h), X, in_W1.reshape(N, K * h, d))
    to_X = multiply(in_b1.reshape(N * K, h), W1, in_X.reshape(N * K, d))

    def call() -> list[Any]:
        scores()
        np.add(H, b1, out=H)
        np.tanh(H, out=H)
        np.multiply(H, H, out=slope)
        np.subtract(1, slope, out=slope)
        # With a buffer longer than a row NumPy copies the factors into it first.
        before = np.setbufsize(32)
        np.multiply(W2, wide, out=G)
        np.setbufsize(before)
        np.copyto(spread, repeated)
        to_W1()
        to_X()
        return results

    return call


# --- in the peers' words ------------------------------------------------------------------


def read_mapped(result: Any) -> list[Any]:
    in_W1, in_b1, in_W2, in_b2, in_X = (np.asarray(part) for part in result)
    rows = in_b1.shape[0] * in_b1.shape[1]
    return [*(as_matrix(part, rows) for part in (in_W1, in_b1, in_W2, in_b2)), as_blocks(in_X)]


def with_casadi(ca: Any, W1: Any, b1: Any, W2: Any, b2: Any, X: Any) -> Any:
    N = X.shape[0]
    H = ca.tanh(ca.mtimes(X, W1.T) + ca.repmat(b1.T, N, 1))
    return ca.mtimes(H, W2.T) + ca.repmat(b2.T, N, 1)


def with_sparsediffpy(N: int, h: int, K: int) -> Any:
    """With an example in each column."""

    def formula(engine: Any, _count: int, W1: Any, b1: Any, W2: Any, b2: Any, X: Any) -> Any:
        scores = engine.make_add(engine.make_matmul(W1, X), engine.make_broadcast(b1, h, N))
        outputs = engine.make_matmul(W2, engine.make_tanh(scores))
        return engine.make_add(outputs, engine.make_broadcast(b2, K, N))

    return formula


# --- the problem --------------------------------------------------------------------------


def problem(N: int, d: int, h: int, K: int) -> Problem:
    values = values_of(N, d, h, K)
    task = by.Task(lambda: graph_of(N, d, h, K), function, values, WRT)
    each = by.Mapped(
        function, list(values.values()), [None, None, None, None, 0], (0, 1, 2, 3, 4), read_mapped
    )
    return Problem(
        "P5",
        f"N = {N}, {d}-{h}-{K}",
        lambda: plain(**values),
        [
            Contender(HAND, lambda: by_hand(**values)),
            *by.ours(task),
            by.autograd(task),
            by.jax_mapped(each, "jacrev"),
            by.torch_mapped(each, "jacrev"),
            by.sparsejac(task, "jacrev", lambda: plain(**values)),
            by.asdex(task),
            by.casadi(task, with_casadi),
            by.sparsediffpy(task, with_sparsediffpy(N, h, K), ["X"], result=True),
        ],
        target=1.25,
    )


def problems() -> Iterator[Problem]:
    yield problem(16, 32, 32, 10)
    yield problem(64, 64, 64, 10)


def small() -> Iterator[Problem]:
    yield problem(3, 4, 5, 2)


def growth() -> Growth:
    """A longer batch for a small network: nonzeros for each example."""
    d, h, K = 8, 8, 4
    each = K * (h * d + 2 * h + 1 + d)
    return Growth(
        "P5",
        "nonzeros",
        [4, 40, 400, 4_000],
        lambda n: problem(n, d, h, K),
        lambda n: n * each,
    )
