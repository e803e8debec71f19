"""Matrix programs: fewer products and factors, the same numbers; LAPACK's refusals are errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphengine as ge
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
