"""Matrix programs: fewer products and factors, the same numbers; LAPACK's refusals are errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphengine as ge
from graphengine.errors import OpError
from graphengine.graph import Graph, Node

from .programs import Array, by_run, close, several

each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])
N = 60
"""Products of so large matrices are worth another way."""


def agree(g: Graph, values: dict[str, Array], wrt: list[str], *, reuse: bool) -> str:
    """Hold a program to the graph's run, at two points and the first one again; its text."""
    f = g.compile(wrt=wrt, reuse=reuse)
    for factor in (1.0, 1.25, 1.0):
        given = {name: factor * value for name, value in values.items()}
        kept = {name: value.copy() for name, value in given.items()}
        found = several(f(**{name: given[name] for name in f.inputs}))
        for what, got, want in zip(["J", *wrt], found, by_run(g, given, wrt), strict=True):
            close(got, want, what, rtol=1e-11)
        assert all(np.array_equal(given[name], value) for name, value in kept.items())
    return str(f.source)


# --- products -----------------------------------------------------------------------------

STACKS: dict[str, Callable[[Node, Node, Node, Node], Node]] = {
    "u ((T v) M)": lambda T, v, M, u: u @ ((T @ v) @ M),
    "(v T) M": lambda T, v, M, u: (v @ T) @ M[:, :5],
    "(M (T v)) u": lambda T, v, M, u: (M @ (T @ v)) @ u,
    "(T v)ᵀ M": lambda T, v, M, u: (T @ v).T @ M,
}


@each_kind
@pytest.mark.parametrize("name", STACKS)
def test_stacks_times_vectors_are_no_matrix_products(name: str, reuse: bool) -> None:
    """A stack of matrices times a vector is a matrix, but not ``B C`` for two matrices."""
    g = ge.Graph("stacks")
    T, M = (
        g.constant("T", np.random.default_rng(1).normal(size=(N, N, N)) / N),
        g.parameter("M", (N, N)),
    )
    v, u = g.parameter("v", (N,)), g.parameter("u", (N,))
    g.result("J", ge.sum(ge.sin(STACKS[name](T, v, M, u))))
    rng = np.random.default_rng(0)

    values = {name: rng.normal(size=g[name].shape) for name in ("M", "v", "u")}
    agree(g, values, ["M", "v", "u"], reuse=reuse)


# --- factors ------------------------------------------------------------------------------


def gram(g: Graph, n: int = 6) -> tuple[Node, Node, Node]:
    """A positive definite matrix, the matrix that it is made of, and a vector."""
    X, y = g.parameter("X", (n, n)), g.parameter("y", (n,))
    return X @ X.T + 3 * np.eye(n), X, y


Formula = Callable[[Node, Node, Node], Node]

FACTORED: dict[str, tuple[Formula, list[str]]] = {
    "log det and a solve": (
        lambda K, X, y: ge.logdet_pd(K) + y @ ge.solve(K, y),
        ["dpotrf", "dpotrs", "log("],
    ),
    "by the factor": (
        lambda K, X, y: ge.sum(ge.solve(ge.cholesky(K).T, ge.solve(ge.cholesky(K), y)) ** 2),
        ["dpotrf", "dpotrs"],
    ),
    "inverse of the factor": (
        lambda K, X, y: ge.sum(ge.inv(ge.cholesky(K)).T @ ge.inv(ge.cholesky(K)) * X),
        ["dpotrf"],
    ),
    "inverse and log det": (
        lambda K, X, y: ge.logdet_pd(K) + ge.trace(ge.inv(K) @ X),
        ["dpotrf", "dpotri"],
    ),
    "log |det| and a solve": (
        lambda K, X, y: ge.logdet(X) + y @ ge.solve(X, y) + y @ ge.solve(X.T, y),
        ["dgetrf", "dgetrs"],
    ),
    "inverse of the transpose": (
        lambda K, X, y: ge.sum(ge.inv(X.T) * X) + ge.det(X) * 1e-3,
        ["dgetrf", "dgetri"],
    ),
    "log |det| of what is factored": (
        lambda K, X, y: ge.logdet(K) + ge.logdet_pd(K) + y @ ge.inv(K) @ y,
        ["dpotrf"],
    ),
    "many right-hand sides": (
        lambda K, X, y: (
            ge.sum(ge.solve(X, X.T[:, :2] + 1) * ge.sin(ge.solve(X, y))[:, None])
            + ge.sum(ge.solve(X, y[:, None] * np.ones((1, 2))) ** 2)
        ),
        ["dgetrf", "dgetrs"],
    ),
}


@each_kind
@pytest.mark.parametrize("name", FACTORED)
def test_solves_inverses_and_determinants_share_a_factor(name: str, reuse: bool) -> None:
    """One factorisation for the values and the gradients, in place where there are buffers."""
    g = ge.Graph("factored")
    formula, calls = FACTORED[name]
    g.result("J", formula(*gram(g)))
    rng = np.random.default_rng(2)
    values = {"X": rng.normal(size=(6, 6)) + 3 * np.eye(6), "y": rng.normal(size=6)}
    text = agree(g, values, ["X", "y"] if "y" in g.compile().inputs else ["X"], reuse=reuse)
    if reuse:
        assert text.count(f"lapack.{calls[0]}(") == 1
        assert all(call in text for call in calls)


@each_kind
@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (lambda A, y: ge.logdet_pd(A) + y @ ge.solve(A + A.T, y), "positive definite"),
        (lambda A, y: ge.logdet(A) + y @ ge.solve(A, y), "invertible matrix"),
        (lambda A, y: ge.sum(ge.inv(A)) + y @ ge.solve(A.T, y), "invertible matrix"),
    ],
    ids=["cholesky", "log det", "inverse"],
)
def test_matrices_that_have_no_factor(
    formula: Callable[[Node, Node], Node], said: str, reuse: bool
) -> None:
    """The error is that of the graph's run, and a later call is right again."""
    g = ge.Graph("refused")
    A, y = g.parameter("A", (3, 3)), g.parameter("y", (3,))
    g.result("J", formula(A, y))
    f = g.compile(wrt=["A", "y"], reuse=reuse)
    good = {"A": 2 * np.eye(3) + 0.1, "y": np.ones(3)}
    f(**good)
    bad = np.diag([1.0, 0.0, -1.0])
    with pytest.raises(OpError, match=said):
        f(bad, np.ones(3))
    with pytest.raises(OpError, match=said):
        g.run({"A": bad, "y": np.ones(3)})
    for got, want in zip(f(**good), by_run(g, good, ["A", "y"]), strict=True):
        close(got, want)


# --- sums, multiples, products of products ------------------------------------------------

SUMS: dict[str, Formula] = {
    "a twice": lambda A, B, v: ((A + B) + A) @ v,
    "a and away": lambda A, B, v: ((A + B) - A) @ v,
    "multiples": lambda A, B, v: (2.0 * (A + B) - B / 4.0 - 0.5 * (A + B)) @ v,
    "products twice": lambda A, B, v: (A @ B + (B - A @ B)) @ v,
    "minus first": lambda A, B, v: ((B - A) - B) @ v,
    "a long product": lambda A, B, v: A @ (B @ (A.T @ (B.T @ v))),
    "products first": lambda A, B, v: ((A @ B) @ A.T) @ v,
    "an outer product": lambda A, B, v: (A + ge.outer(v, v)) @ v + ge.outer(v, A @ v).T @ v,
    "diagonals": lambda A, B, v: (A + ge.diag(v)) @ (2 * np.eye(N) @ v) + ge.diag(v) @ (B @ v),
    "low rank and an inverse": lambda A, B, v: ge.inv(A[:, :2] @ B[:2] + 9 * np.eye(N)) @ v,
    "by an inverse from the right": lambda A, B, v: v @ ge.inv(A) @ (B @ v) * np.ones(1),
    "inverses in sums": lambda A, B, v: (ge.inv(A) + 0.5 * ge.inv(A.T) - B @ A) @ v,
    "a product with a solve": lambda A, B, v: ge.solve(A, B) @ v + ge.solve(A, B).T @ v,
}


@each_kind
@pytest.mark.parametrize("name", SUMS)
def test_products_by_their_parts(name: str, reuse: bool) -> None:
    g = ge.Graph("parts")
    A, B, v = g.parameter("A", (N, N)), g.parameter("B", (N, N)), g.parameter("v", (N,))
    g.result("J", ge.sum(ge.tanh(SUMS[name](A, B, v)) * np.linspace(0.5, 1.5, N)))
    rng = np.random.default_rng(4)
    values = {x: 0.5 * rng.normal(size=(N, N)) / N**0.5 + 2 * np.eye(N) for x in "AB"}
    agree(g, {**values, "v": rng.normal(size=N)}, ["A", "B", "v"], reuse=reuse)


def test_products_with_inverses_are_solves() -> None:
    g = ge.Graph("solved")
    A, v = g.parameter("A", (N, N)), g.parameter("v", (N,))
    g.result("J", ge.sum(ge.inv(A) @ (A @ v)) + ge.sum((2.0 * v) @ ge.inv(A).T))
    text = str(g.compile().source)
    code = [line.partition("#")[0] for line in text.splitlines()]
    assert not any("inv(" in line for line in code)
    assert "solve(" in text
