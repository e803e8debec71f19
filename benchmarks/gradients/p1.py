"""P1: softmax regression with an L2 penalty, the gradients in W and b (S0's example).

One example as vectors, a batch as a matrix with an example in each column and the mean of losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg.blas import daxpy, dger

import graphengine as ge
from benchmarks import contenders as by
from benchmarks.problem import HAND, Contender, Problem

LAM = 0.1


def values_of(N: int, C: int, d: int) -> dict[str, Any]:
    """Scores of a reasonable size; a batch as columns, one example as vectors."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(d, N)), rng.integers(C, size=N)
    y = np.ascontiguousarray(np.eye(C)[:, labels])
    W, b = rng.normal(size=(C, d)) / math.sqrt(d), rng.normal(size=C)
    batch = {"W": W, "b": b, "x": x, "y": y}
    return batch if N > 1 else {**batch, "x": x[:, 0].copy(), "y": y[:, 0].copy()}


def graph_of(N: int, C: int, d: int) -> ge.Graph:
    """As the lecture draws it."""
    graph = ge.Graph("softmax regression")
    W, b = graph.parameter("W", (C, d)), graph.parameter("b", (C,))
    x, y = graph.input("x", (d, N) if N > 1 else (d,)), graph.input("y", (C, N) if N > 1 else (C,))
    z = graph.node("z", W @ x)
    if N > 1:
        p = graph.node("p", ge.softmax(graph.node("s", z + b[:, None]), axis=0))
        loss = graph.node("l", ge.mean(-ge.log(ge.sum(y * p, axis=0))))
    else:
        p = graph.node("p", ge.softmax(graph.node("s", z + b)))
        loss = graph.node("l", -ge.log(y @ p))
    graph.result("J", loss + LAM * graph.node("r", ge.sum(W**2)))
    return graph


# --- by hand ------------------------------------------------------------------------------


def plain(W: Any, b: Any, x: Any, y: Any) -> list[Any]:
    """The derivative as on paper, on a batch (one example: a column)."""
    X, Y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    Z = W @ X + b[:, None]
    E = np.exp(Z - Z.max(axis=0))
    P = E / E.sum(axis=0)
    J = -np.log((Y * P).sum(axis=0)).mean() + LAM * np.sum(W**2)
    G = (P - Y) / X.shape[1]
    return [J, G @ X.T + 2 * LAM * W, G.sum(axis=1)]


def hand_one(W: Any, b: Any, x: Any, y: Any) -> Any:
    """One example: ``2λW`` is written once, and the outer product added to it."""
    s, p, g, G = np.empty_like(b), np.empty_like(b), np.empty_like(b), np.empty_like(W)
    within = by.one_thread()
    outer = None if within else np.empty_like(W)
    largest, total, dot = np.maximum.reduce, np.add.reduce, np.dot

    def call() -> Any:
        dot(W, x, out=s)
        np.add(s, b, out=s)
        np.subtract(s, largest(s), out=p)
        np.exp(p, out=p)
        np.divide(p, total(p), out=p)
        flat = W.reshape(-1)
        J = LAM * dot(flat, flat) - math.log(dot(y, p))
        np.subtract(p, y, out=g)
        np.multiply(W, 2 * LAM, out=G)
        if within:
            dger(1.0, x, g, a=G.T, overwrite_a=1)
        else:
            np.add(G, np.multiply(g[:, None], x, out=outer), out=G)
        return J, G, g

    return call


def hand_batch(W: Any, b: Any, x: Any, y: Any) -> Any:
    """A batch: two matrix products, the penalty added in place."""
    P, G = np.empty_like(y), np.empty_like(W)
    D, row, g = np.empty_like(y), np.empty(y.shape[1]), np.empty_like(b)
    column, N, within = b[:, None], y.shape[1], by.one_thread()
    penalty = None if within else np.empty_like(W)
    total = np.add.reduce

    def call() -> Any:
        np.matmul(W, x, out=P)
        np.add(P, column, out=P)
        np.maximum.reduce(P, axis=0, out=row)
        np.subtract(P, row, out=P)
        np.exp(P, out=P)
        total(P, axis=0, out=row)
        np.divide(P, row, out=P)
        np.multiply(y, P, out=D)
        total(D, axis=0, out=row)
        np.log(row, out=row)
        flat = W.reshape(-1)
        J = LAM * np.dot(flat, flat) - total(row) / N
        np.subtract(P, y, out=D)
        np.divide(D, N, out=D)
        total(D, axis=1, out=g)
        np.matmul(D, x.T, out=G)
        if within:
            daxpy(flat, G.reshape(-1), a=2 * LAM)
        else:
            np.add(G, np.multiply(W, 2 * LAM, out=penalty), out=G)
        return J, G, g

    return call


# --- in the peers' words ------------------------------------------------------------------


def with_numpy(np: Any, W: Any, b: Any, x: Any, y: Any) -> Any:
    """For autograd and JAX."""
    s = W @ x + (b if x.ndim == 1 else b[:, None])
    t = s - np.max(s, axis=0)
    logs = t - np.log(np.sum(np.exp(t), axis=0))
    N = 1 if x.ndim == 1 else x.shape[1]
    return -np.sum(y * logs) / N + LAM * np.sum(W**2)


def with_torch(torch: Any, W: Any, b: Any, x: Any, y: Any) -> Any:
    s = W @ x + b if x.ndim == 1 else torch.addmm(b[:, None], W, x)
    N = 1 if x.ndim == 1 else x.shape[1]
    flat = W.reshape(-1)
    return -torch.sum(y * torch.log_softmax(s, 0)) / N + LAM * torch.dot(flat, flat)


def with_pytensor(pt: Any, W: Any, b: Any, x: Any, y: Any) -> Any:
    s = pt.dot(W, x) + (b if x.ndim == 1 else b[:, None])
    N = 1 if x.ndim == 1 else x.shape[1]
    return -pt.sum(y * pt.special.log_softmax(s, axis=0)) / N + LAM * pt.sum(W**2)


def with_casadi(ca: Any, W: Any, b: Any, x: Any, y: Any) -> Any:
    N = x.shape[1]
    s = ca.mtimes(W, x) + (b if N == 1 else ca.repmat(b, 1, N))
    logs = ca.log(ca.sum1(ca.exp(s)))  # no shift: CasADi has no largest entry of a column
    return (ca.sum2(logs) - ca.sum1(ca.sum2(y * s))) / N + LAM * ca.sumsqr(W)


# --- the problem --------------------------------------------------------------------------


def problem(N: int, C: int = 10, d: int = 3072) -> Problem:
    values = values_of(N, C, d)
    by_hand = hand_one if N == 1 else hand_batch
    return Problem(
        "P1",
        f"N = {N}",
        lambda: plain(**values),
        [
            Contender(HAND, lambda: by_hand(**values)),
            *by.ours(lambda: graph_of(N, C, d), values, ["W", "b"]),
            by.autograd(with_numpy, values, 2),
            by.jax(with_numpy, values, 2),
            *by.torch(with_torch, values, 2),
            by.casadi(with_casadi, values, 2),
            *by.pytensor(with_pytensor, values, 2),
        ],
        target=1.10,
    )


def problems() -> Iterator[Problem]:
    yield problem(1)
    yield problem(256)


def small() -> Iterator[Problem]:
    yield problem(1, 3, 4)
    yield problem(5, 3, 4)
