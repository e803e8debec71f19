"""P2: a ReLU network 784-256-256-10, cross-entropy and an L2 penalty, the gradients in all weights.

One example as vectors, a batch as rows and the mean of losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg.blas import dgemm, dger

import graphengine as ge
from benchmarks import contenders as by
from benchmarks.problem import HAND, Contender, Problem

LAM = 1e-3
LAYERS = (1, 2, 3)
WRT = [f"{letter}{layer}" for layer in LAYERS for letter in "Wb"]
SIZES = (784, 256, 256, 10)


def values_of(N: int, sizes: Sequence[int]) -> dict[str, Any]:
    """Weights as they are drawn to start training; the examples are rows."""
    rng = np.random.default_rng(0)
    found = {}
    for layer, (inward, outward) in zip(LAYERS, pairwise(sizes), strict=True):
        found[f"W{layer}"] = rng.normal(size=(outward, inward)) * math.sqrt(2 / inward)
        found[f"b{layer}"] = 0.1 * rng.normal(size=outward)
    x, y = rng.normal(size=(N, sizes[0])), np.eye(sizes[-1])[rng.integers(sizes[-1], size=N)]
    return found | ({"x": x, "y": y} if N > 1 else {"x": x[0], "y": y[0]})


def graph_of(N: int, sizes: Sequence[int]) -> ge.Graph:
    """Layer by layer."""
    graph = ge.Graph("network")
    batch = (N,) if N > 1 else ()
    h = graph.input("x", (*batch, sizes[0]))
    penalty: Any = 0.0
    for layer, (inward, outward) in zip(LAYERS, pairwise(sizes), strict=True):
        W = graph.parameter(f"W{layer}", (outward, inward))
        b = graph.parameter(f"b{layer}", (outward,))
        a = graph.node(f"a{layer}", (h @ W.T if N > 1 else W @ h) + b)
        h = graph.node(f"h{layer}", ge.relu(a)) if layer < LAYERS[-1] else a
        penalty = ge.sum(W**2) + penalty
    y = graph.input("y", (*batch, sizes[-1]))
    loss = graph.node("l", ge.mean(ge.softmax_cross_entropy(h, y)))
    graph.result("J", loss + LAM * graph.node("r", penalty))
    return graph


# --- by hand ------------------------------------------------------------------------------


def plain(x: Any, y: Any, **weights: Any) -> list[Any]:
    """The derivative as on paper, on a batch (one example: a row)."""
    X, Y = np.atleast_2d(x), np.atleast_2d(y)
    N, inner, H = len(X), LAYERS[:-1], {0: X}
    for layer in inner:
        H[layer] = np.maximum(0, H[layer - 1] @ weights[f"W{layer}"].T + weights[f"b{layer}"])
    top = LAYERS[-1]
    S = H[top - 1] @ weights[f"W{top}"].T + weights[f"b{top}"]
    S = S - S.max(axis=1, keepdims=True)
    logs = S - np.log(np.exp(S).sum(axis=1, keepdims=True))
    penalty = sum(np.sum(weights[f"W{layer}"] ** 2) for layer in LAYERS)
    D, found = (np.exp(logs) - Y) / N, []
    for layer in reversed(LAYERS):
        W = weights[f"W{layer}"]
        found = [D.T @ H[layer - 1] + 2 * LAM * W, D.sum(axis=0), *found]
        D = (D @ W) * (H[layer - 1] > 0)
    return [-np.sum(Y * logs) / N + LAM * penalty, *found]


class Network:
    """Forward and backward in buffers; each layer's penalty is taken while it is in the cache."""

    def __init__(self, x: Any, y: Any, **weights: Any) -> None:
        self.X, self.Y = np.atleast_2d(x), np.atleast_2d(y)
        self.N = len(self.X)
        self.W = [weights[f"W{layer}"] for layer in LAYERS]
        self.b = [weights[f"b{layer}"] for layer in LAYERS]
        self.A = [np.empty((self.N, len(b))) for b in self.b]
        self.D = [np.empty((self.N, len(b))) for b in self.b]
        self.positive = [np.empty((self.N, len(b)), bool) for b in self.b]
        self.G = [np.empty_like(W) for W in self.W]
        self.g = [np.empty_like(b) for b in self.b]
        self.row, self.product = np.empty((self.N, 1)), np.empty_like(self.Y)
        self.inward = [self.X, *self.A[:-1]]
        if by.one_thread():
            self.penalised = self.in_blocks if self.N == 1 else self.on_top
        else:
            self.penalised = self.numpy_alone
            self.spare = [np.empty_like(W) for W in self.W]

    def __call__(self) -> list[Any]:
        J = self.forward()
        for layer in (2, 1, 0):
            D = self.D[layer]
            self.penalised(layer)
            np.add.reduce(D, axis=0, out=self.g[layer])
            if layer:
                below, positive = self.D[layer - 1], self.positive[layer - 1]
                self.times(D, self.W[layer], below)
                np.greater(self.A[layer - 1], 0, out=positive)
                np.multiply(below, positive, out=below)
        G, g = self.G, self.g
        return [J, G[0], g[0], G[1], g[1], G[2], g[2]]

    def times(self, A: Any, B: Any, out: Any) -> None:
        """``A B``; for a row a product of a matrix and a vector."""
        if self.N == 1:
            np.dot(A[0], B, out=out[0])
        else:
            np.matmul(A, B, out=out)

    def forward(self) -> Any:
        """The value; the gradient in the scores is left in ``D[2]``."""
        penalty = 0.0
        for h, W, b, a in zip(self.inward, self.W, self.b, self.A, strict=True):
            self.times(h, W.T, a)
            flat = W.reshape(-1)
            penalty += np.dot(flat, flat)
            np.add(a, b, out=a)
            if a is not self.A[-1]:
                np.maximum(a, 0, out=a)
        S, D, row = self.A[-1], self.D[-1], self.row
        np.maximum.reduce(S, axis=1, keepdims=True, out=row)
        np.subtract(S, row, out=S)
        np.exp(S, out=D)
        np.add.reduce(D, axis=1, keepdims=True, out=row)
        np.divide(D, row, out=D)
        np.log(row, out=row)
        np.multiply(self.Y, S, out=self.product)  # the targets of a row add up to 1
        loss = np.add.reduce(row, axis=None) - np.add.reduce(self.product, axis=None)
        np.subtract(D, self.Y, out=D)
        np.divide(D, self.N, out=D)
        return loss / self.N + LAM * penalty

    # --- three ways to Dᵀ h + 2λW, each the fastest somewhere -----------------------------

    def in_blocks(self, layer: int, rows: int = 64) -> None:
        """One example: an outer product on top of ``2λW``, block by block in the cache."""
        W, G, h, D = self.W[layer], self.G[layer], self.inward[layer][0], self.D[layer][0]
        for start in range(0, len(W), rows):
            block = G[start : start + rows]
            np.multiply(W[start : start + rows], 2 * LAM, out=block)
            dger(1.0, h, D[start : start + rows], a=block.T, overwrite_a=1)

    def on_top(self, layer: int) -> None:
        """A batch: a matrix product on top of ``2λW``."""
        G, h, D = self.G[layer], self.inward[layer], self.D[layer]
        np.multiply(self.W[layer], 2 * LAM, out=G)
        dgemm(1.0, h.T, D.T, beta=1.0, c=G.T, trans_b=1, overwrite_c=1)

    def numpy_alone(self, layer: int) -> None:
        """Several threads: within NumPy's BLAS."""
        G, spare = self.G[layer], self.spare[layer]
        np.matmul(self.D[layer].T, self.inward[layer], out=G)
        np.add(G, np.multiply(self.W[layer], 2 * LAM, out=spare), out=G)


# --- in the peers' words ------------------------------------------------------------------


def with_numpy(np: Any, *args: Any) -> Any:
    """For autograd and JAX."""
    *weights, x, y = args
    h, penalty = x, 0.0
    for place in (0, 2, 4):
        W, b = weights[place : place + 2]
        a = h @ W.T + b if x.ndim > 1 else W @ h + b
        h, penalty = np.maximum(a, 0), penalty + np.sum(W**2)
    t = a - np.max(a, axis=-1, keepdims=True)
    logs = t - np.log(np.sum(np.exp(t), axis=-1, keepdims=True))
    return -np.sum(y * logs) / (len(x) if x.ndim > 1 else 1) + LAM * penalty


def with_torch(torch: Any, *args: Any) -> Any:
    *weights, x, y = args
    h, penalty = x, 0.0
    for place in (0, 2, 4):
        W, b = weights[place : place + 2]
        a = torch.nn.functional.linear(h, W, b)
        flat = W.reshape(-1)
        h, penalty = torch.relu(a), penalty + torch.dot(flat, flat)
    return torch.nn.functional.cross_entropy(a, y) + LAM * penalty


def with_pytensor(pt: Any, *args: Any) -> Any:
    *weights, x, y = args
    h, penalty = x, 0.0
    for place in (0, 2, 4):
        W, b = weights[place : place + 2]
        a = pt.dot(h, W.T) + b if x.ndim > 1 else pt.dot(W, h) + b
        h, penalty = pt.maximum(a, 0), penalty + pt.sum(W**2)
    loss = -pt.sum(y * pt.special.log_softmax(a, axis=-1))
    return loss / (x.shape[0] if x.ndim > 1 else 1) + LAM * penalty


def with_casadi(ca: Any, *args: Any) -> Any:
    """Its vectors are columns, so here a batch is one of columns, too."""
    *weights, x, y = args
    batch = 1 if x.shape[1] == 1 else x.shape[0]
    h, target = (x, y) if batch == 1 else (x.T, y.T)
    penalty = 0.0
    for place in (0, 2, 4):
        W, b = weights[place : place + 2]
        a = ca.mtimes(W, h) + ca.repmat(b, 1, batch)
        h, penalty = ca.fmax(a, 0), penalty + ca.sumsqr(W)
    logs = ca.log(ca.sum1(ca.exp(a)))  # no shift: CasADi has no largest entry of a column
    return (ca.sum2(logs) - ca.sum1(ca.sum2(target * a))) / batch + LAM * penalty


# --- the problem --------------------------------------------------------------------------


def problem(N: int, sizes: Sequence[int] = SIZES) -> Problem:
    values = values_of(N, sizes)
    return Problem(
        "P2",
        f"N = {N}",
        lambda: plain(**values),
        [
            Contender(HAND, lambda: Network(**values)),
            *by.ours(lambda: graph_of(N, sizes), values, WRT),
            by.autograd(with_numpy, values, 6),
            by.jax(with_numpy, values, 6),
            *by.torch(with_torch, values, 6),
            by.casadi(with_casadi, values, 6),
            *by.pytensor(with_pytensor, values, 6),
        ],
        target=1.10,
    )


def problems() -> Iterator[Problem]:
    yield problem(1)
    yield problem(128)


def small() -> Iterator[Problem]:
    yield problem(1, (5, 4, 3, 2))
    yield problem(6, (5, 4, 3, 2))
