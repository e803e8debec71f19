"""P9: the likelihood of a Gaussian-process latent-variable model (S3), the gradient in X.

``K = α X Xᵀ + I/β``, ``L = −(D/2) log|K| − ½ tr(K⁻¹ Y Yᵀ)``, by Cholesky.  The lecture calls X and
Y A and B.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg.blas import dsymm, dsyrk
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

import graphengine as ge
from benchmarks import contenders as by
from benchmarks.problem import HAND, Contender, Problem

ALPHA, BETA = 1.5, 2.0


def values_of(N: int, D: int, Q: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"X": rng.normal(size=(N, Q)), "Y": rng.normal(size=(N, D))}


def graph_of(N: int, D: int, Q: int) -> ge.Graph:
    """``tr(K⁻¹ Y Yᵀ) = Σ Y ⊙ K⁻¹Y``."""
    graph = ge.Graph("likelihood of a Gaussian process")
    X, Y = graph.parameter("X", (N, Q)), graph.input("Y", (N, D))
    K = graph.node("K", ALPHA * (X @ X.T) + np.eye(N) / BETA)
    L1 = graph.node("L1", -(D / 2) * ge.logdet_pd(K))
    L2 = graph.node("L2", -0.5 * ge.sum(Y * ge.solve(K, Y)))
    graph.result("L", L1 + L2)
    return graph


# --- by hand ------------------------------------------------------------------------------


def plain(X: Any, Y: Any) -> list[Any]:
    """The lecture's formulas."""
    N, D = Y.shape
    K, S = ALPHA * X @ X.T + np.eye(N) / BETA, Y @ Y.T
    inverse = np.linalg.inv(K)
    L = -D / 2 * np.linalg.slogdet(K)[1] - 0.5 * np.trace(inverse @ S)
    return [L, -ALPHA * D * inverse @ X + ALPHA * inverse @ S @ inverse @ X]


class Likelihood:
    """By one Cholesky factor of K: ``[A Z] = K⁻¹ [Y X]``, the gradient is ``α (A AᵀX − D Z)``."""

    def __init__(self, X: Any, Y: Any) -> None:
        self.X, self.Y = X, Y
        self.N, self.D = Y.shape
        self.K = np.empty((self.N, self.N), order="F")
        self.diagonal = self.K.reshape(-1, order="F")[:: self.N + 1]
        self.logs = np.empty(self.N)
        self.both = np.empty((self.N, self.D + X.shape[1]), order="F")
        self.A, self.Z = self.both[:, : self.D], self.both[:, self.D :]
        self.G = np.empty_like(X)

    def factor(self) -> float:
        """Leave the factor of K in its place; the logarithm of the determinant."""
        dsyrk(ALPHA, self.X.T, trans=1, c=self.K, lower=1, overwrite_c=1)
        np.add(self.diagonal, 1 / BETA, out=self.diagonal)
        dpotrf(self.K, lower=1, overwrite_a=1, clean=0)
        np.log(self.diagonal, out=self.logs)
        return 2 * float(np.add.reduce(self.logs))

    def __call__(self) -> Any:
        logdet = self.factor()
        X, D, A, Z, G = self.X, self.D, self.A, self.Z, self.G
        np.copyto(A, self.Y)
        np.copyto(Z, X)
        dpotrs(self.K, self.both, lower=1, overwrite_b=1)
        L = -D / 2 * logdet - 0.5 * np.vdot(self.Y, A)
        np.matmul(A, A.T @ X, out=G)
        np.multiply(Z, D, out=Z)
        np.subtract(G, Z, out=G)
        np.multiply(G, ALPHA, out=G)
        return L, G


class ByInverse(Likelihood):
    """The same with the inverse written down, as the lecture's formulas have it."""

    def __call__(self) -> Any:
        logdet = self.factor()
        X, Y, D, G = self.X, self.Y, self.D, self.G
        dpotri(self.K, lower=1, overwrite_c=1)
        A, Z = dsymm(ALPHA, self.K, Y, lower=1), dsymm(D, self.K, X, lower=1)
        L = -D / 2 * logdet - 0.5 / ALPHA * np.vdot(Y, A)
        np.matmul(A, A.T @ X, out=G)
        np.multiply(G, 1 / ALPHA, out=G)
        np.subtract(G, np.multiply(Z, ALPHA, out=Z), out=G)
        return L, G


def woodbury(X: Any, Y: Any) -> Any:
    """Another algorithm: K is a multiple of I and a product of rank Q; nothing N × N is made."""
    (N, D), Q = Y.shape, X.shape[1]

    def call() -> Any:
        products = X.T @ np.concatenate([Y, X], axis=1)
        M = products[:, D:] + np.eye(Q) / (ALPHA * BETA)
        factor = dpotrf(M, lower=1)[0]
        logdet = 2 * np.log(np.diag(factor)).sum() + Q * math.log(ALPHA * BETA) - N * math.log(BETA)
        W = dpotrs(factor, products, lower=1)[0]
        A, Z = BETA * (Y - X @ W[:, :D]), BETA * (X - X @ W[:, D:])
        L = -D / 2 * logdet - 0.5 * np.vdot(Y, A)
        return L, ALPHA * (A @ (A.T @ X) - D * Z)

    return call


# --- in the peers' words ------------------------------------------------------------------


# By LU, where that was faster than by a Cholesky factor, whose derivative costs them more.


def with_numpy(np: Any, X: Any, Y: Any) -> Any:
    """For autograd and JAX."""
    N, D = Y.shape
    K = ALPHA * (X @ X.T) + np.eye(N) / BETA
    return -D / 2 * np.linalg.slogdet(K)[1] - 0.5 * np.sum(Y * np.linalg.solve(K, Y))


def with_torch(torch: Any, X: Any, Y: Any) -> Any:
    N, D = Y.shape
    K = ALPHA * (X @ X.T) + torch.eye(N, dtype=X.dtype) / BETA
    return -D / 2 * torch.logdet(K) - 0.5 * torch.sum(Y * torch.linalg.solve(K, Y))


def with_pytensor(pt: Any, X: Any, Y: Any) -> Any:
    N, D = Y.type.shape
    K = ALPHA * pt.dot(X, X.T) + pt.eye(N) / BETA
    solved = pt.linalg.solve(K, Y, assume_a="pos")
    return -D / 2 * pt.linalg.slogdet(K)[1] - 0.5 * pt.sum(Y * solved)


def with_casadi(ca: Any, X: Any, Y: Any) -> Any:
    N, D = Y.shape
    K = ALPHA * ca.mtimes(X, X.T) + ca.MX.eye(N) / BETA
    return -D / 2 * ca.log(ca.det(K)) - 0.5 * ca.sum1(ca.sum2(Y * ca.solve(K, Y)))


# --- the problem --------------------------------------------------------------------------


def problem(N: int, D: int = 10, Q: int = 5) -> Problem:
    values = values_of(N, D, Q)
    return Problem(
        "P9",
        f"N = {N:,}",
        lambda: plain(**values),
        [
            Contender(HAND, lambda: Likelihood(**values)),
            Contender(f"{HAND}, explicit inverse", lambda: ByInverse(**values)),
            Contender(f"{HAND}, Woodbury", lambda: woodbury(**values)),
            *by.ours(lambda: graph_of(N, D, Q), values, ["X"]),
            by.autograd(with_numpy, values, 1),
            by.jax(with_numpy, values, 1),
            *by.torch(with_torch, values, 1),
            by.casadi(with_casadi, values, 1),
            *by.pytensor(with_pytensor, values, 1),
        ],
        target=1.10,
    )


def problems() -> Iterator[Problem]:
    yield problem(300)
    yield problem(1_000)


def small() -> Iterator[Problem]:
    yield problem(7, 3, 2)
