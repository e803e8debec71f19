"""P10: the Jacobian of an attention head ``O = softmax(Q Kᵀ / √d) V`` in ``Q``, ``K`` and ``V``."""

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

WRT = ["Q", "K", "V"]


def values_of(n: int, d: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(n, d)) for name in WRT}


def graph_of(n: int, d: int) -> ge.Graph:
    graph = ge.Graph("an attention head")
    Q, K, V = (graph.parameter(name, (n, d)) for name in WRT)
    P = graph.node("P", ge.softmax(Q @ K.T / math.sqrt(d)))
    graph.result("O", P @ V)
    return graph


def function(np: Any, Q: Any, K: Any, V: Any) -> Any:
    """Of all queries, or of one."""
    E = np.exp(Q @ K.T / math.sqrt(K.shape[1]))
    return (E / E.sum(-1, keepdims=True)) @ V


# --- by hand ------------------------------------------------------------------------------


def plain(Q: Any, K: Any, V: Any) -> list[Any]:
    """The derivatives as on paper: ``∂o_ia/∂s_ij = P_ij (V_ja − o_ia)`` with the scores ``s``."""
    n, d = Q.shape
    S = Q @ K.T / math.sqrt(d)
    E = np.exp(S - S.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1, keepdims=True)
    M = P[:, None, :] * (V.T - (P @ V)[:, :, None]) / math.sqrt(d)
    return [
        as_blocks(M @ K),
        np.einsum("iaj,ib->iajb", M, Q).reshape(n * d, n * d),
        sp.csr_array(sp.kron(P, np.eye(d))),
    ]


def by_hand(Q: Any, K: Any, V: Any) -> Any:
    """``M`` of :func:`plain` once; what is large straight into ``data``."""
    n, d = Q.shape
    own = np.arange(n) * d + np.arange(d)[:, None]
    results = [
        block_rows(n, d, d),
        dense_rows(n * d, n * d),
        with_rows(np.tile(own, (n, 1)), n * d),
    ]
    in_Q, in_K, in_V = (one.data for one in results)
    P, means, M = np.empty((n, n)), np.empty((n, d)), np.empty((n, d, n))
    row, turned, scale = np.empty((n, 1)), np.empty((d, n)), 1 / math.sqrt(d)
    wide, outputs, spread = P[:, None, :], means[:, :, None], in_V.reshape(n, d, n)
    scores, mix = multiply(Q, K.T, P), multiply(P, V, means)
    to_Q = multiply(M.reshape(n * d, n), K, in_Q.reshape(n * d, d))
    to_K = outer_products(M.reshape(n, d * n), Q, in_K.reshape(n, d * n, d))
    scaled = np.empty((n, n))
    weights = scaled[:, None, :]

    def call() -> list[Any]:
        scores()
        np.multiply(P, scale, out=P)
        np.maximum.reduce(P, axis=1, keepdims=True, out=row)
        np.subtract(P, row, out=P)
        np.exp(P, out=P)
        np.add.reduce(P, axis=1, keepdims=True, out=row)
        np.divide(P, row, out=P)
        mix()
        np.copyto(turned, V.T)
        np.multiply(P, scale, out=scaled)
        # With a buffer longer than a row NumPy copies the factors into it first.
        before = np.setbufsize(32)
        np.subtract(turned, outputs, out=M)
        np.multiply(M, weights, out=M)
        np.setbufsize(before)
        np.copyto(spread, wide)
        to_Q()
        to_K()
        return results

    return call


# --- in the peers' words ------------------------------------------------------------------


def read_mapped(result: Any) -> list[Any]:
    in_Q, in_K, in_V = (np.asarray(part) for part in result)
    rows = in_Q.shape[0] * in_Q.shape[1]
    return [as_blocks(in_Q), as_matrix(in_K, rows), as_matrix(in_V, rows)]


def with_casadi(ca: Any, Q: Any, K: Any, V: Any) -> Any:
    n, d = K.shape
    E = ca.exp(ca.mtimes(Q, K.T) / math.sqrt(d))
    return ca.mtimes(E / ca.repmat(ca.sum2(E), 1, n), V)


def with_sparsediffpy(n: int, d: int) -> Any:
    """With a query, a key and a value in each column."""

    def formula(engine: Any, count: int, Q: Any, K: Any, V: Any) -> Any:
        products = engine.make_matmul(engine.make_transpose(K), Q)
        root = engine.make_parameter(1, 1, -1, count, np.array([1 / math.sqrt(d)]))
        E = engine.make_exp(engine.make_param_scalar_mult(root, products))
        total = engine.make_power(engine.make_sum(E, 0), -1.0)
        return engine.make_matmul(V, engine.make_multiply(E, engine.make_broadcast(total, n, n)))

    return formula


# --- the problem --------------------------------------------------------------------------


def problem(n: int, d: int) -> Problem:
    values = values_of(n, d)
    task = by.Task(lambda: graph_of(n, d), function, values, WRT)
    each = by.Mapped(function, list(values.values()), [0, None, None], (0, 1, 2), read_mapped)
    return Problem(
        "P10",
        f"n = {n}, d = {d}",
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
            by.sparsediffpy(task, with_sparsediffpy(n, d), WRT, result=True),
        ],
        target=1.25,
    )


def problems() -> Iterator[Problem]:
    yield problem(64, 32)


def small() -> Iterator[Problem]:
    yield problem(5, 3)


def growth() -> Growth:
    """More queries, keys and values: nonzeros grow with the square."""
    d = 8

    def nonzeros(n: int) -> int:
        return n * d * (d + n * d + n)

    return Growth("P10", "nonzeros", [8, 25, 80, 256], lambda n: problem(n, d), nonzeros)
