"""Where the numbers of a Jacobian go: one place for several, moved axes, numbers that stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphengine as ge
from graphengine.graph import Graph, Node

from .programs import alone, same_matrix

each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])
Formula = Callable[[Node, Node, Node, Node], Node]
TWICE = np.array([0, 2, 0])
ORDER = np.array([2, 0, 1])
STAYS = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [4.0, 5.0, 0.0]])

OF_A_VECTOR: dict[str, Formula] = {
    # W and V are matrices (3, 3); x, which is moved, and y are vectors (3,).
    "numbers that go to one place": lambda x, y, W, V: W @ x[TWICE],
    "a number for each entry": lambda x, y, W, V: ge.sum((x * y)[TWICE]),
    "more picked than there are": lambda x, y, W, V: ge.softmax(ge.repeat(x * y, 2, axis=0)),
    "sums so far": lambda x, y, W, V: ge.softmax(ge.cumsum(W @ x)),
    "a number for many": lambda x, y, W, V: ge.sum((x * y)[np.array([0, 2, 0, 1, 0])]),
    "rows and columns": lambda x, y, W, V: W @ x + x @ V,
    "under two shapes": lambda x, y, W, V: ge.vec(x[:, None] * W) + ge.vec(x[:, None] * V * V),
    "in other orders": lambda x, y, W, V: (W @ x)[ORDER] + V @ x[ORDER],
    "a diagonal in a full matrix": lambda x, y, W, V: W @ x + y * x,
    "what stays": lambda x, y, W, V: STAYS @ x + y * x,
    "what stays below": lambda x, y, W, V: STAYS @ x + W @ x + y * x,
    "what stays beside": lambda x, y, W, V: ge.concatenate([2 * x, y * x, STAYS @ x], axis=0),
    "parts on top of parts": lambda x, y, W, V: (
        ge.concatenate([W[:2] @ x, V[:1] @ x], axis=0) + y * x + x[ORDER] * y
    ),
    "a band": lambda x, y, W, V: x * y + ge.concatenate([x[1:] * y[:2], y[2:]], axis=0),
    "an outer product": lambda x, y, W, V: ge.outer(x, y) + ge.outer(y, x),
    "nothing": lambda x, y, W, V: y + 0.0 * (W @ y),
    "no rows": lambda x, y, W, V: (W @ x)[:0],
}


@each_kind
@pytest.mark.parametrize("name", OF_A_VECTOR)
def test_of_a_vector(name: str, reuse: bool) -> None:
    """At two points and the first one again: nothing is added to what a call left there."""
    g = ge.Graph("filled")
    x, y = g.parameter("x", (3,)), g.parameter("y", (3,))
    W, V = g.parameter("W", (3, 3)), g.parameter("V", (3, 3))
    g.node("z", OF_A_VECTOR[name](x, y, W, V))
    jf = g.compile_jacobian("z", ["x", "y"], reuse=reuse)
    for seed in (0, 1, 0):
        rng = np.random.default_rng(seed)
        values = {node.name: rng.normal(size=node.shape) for node in (x, y, W, V)}
        run = g.run(values)
        for program in (jf, alone(jf.source)):
            found = program(**{start: values[start] for start in jf.inputs})
            for start, got in zip("xy", found, strict=True):
                same_matrix(got, run.jacobian("z", start))


OF_A_MATRIX: dict[str, Callable[[Node, Node], Node]] = {
    "a product": lambda X, A: A @ X,
    "from the right": lambda X, A: X @ A,
    "of the transpose": lambda X, A: A @ X.T,
    "turned": lambda X, A: (A @ X).T,
    "both sides": lambda X, A: A @ X @ A + X,
    "twice": lambda X, A: X @ X,
    "sums of rows": lambda X, A: ge.sum(X * A, axis=0),
    "soft rows": lambda X, A: ge.softmax(A * X),
    "soft columns": lambda X, A: ge.softmax(A * X, axis=0),
    "a stack": lambda X, A: ge.stack([X, A * X, X], axis=1),
    "columns twice": lambda X, A: (A * X)[:, np.array([1, 1, 0])],
}


@each_kind
@pytest.mark.parametrize("order", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("name", OF_A_MATRIX)
def test_of_a_matrix(name: str, order: str, reuse: bool) -> None:
    g = ge.Graph("filled")
    X, A = g.parameter("X", (3, 3)), g.parameter("A", (3, 3))
    g.node("z", ge.tanh(OF_A_MATRIX[name](X, A)))
    jf = g.compile_jacobian("z", "X", order=order, reuse=reuse)  # type: ignore[arg-type]
    for seed in (0, 1, 0):
        rng = np.random.default_rng(seed)
        values = {"X": rng.normal(size=(3, 3)), "A": rng.normal(size=(3, 3))}
        found = jf(**{name: values[name] for name in jf.inputs})
        same_matrix(found, g.run(values).jacobian("z", "X"))


def test_fresh_matrices_share_their_pattern_alone() -> None:
    g = Graph("shared")
    x, y = g.parameter("x", (3,)), g.parameter("y", (3,))
    g.node("z", x * y + STAYS @ x)
    jf = g.compile_jacobian("z", "x")
    first = jf(np.ones(3), np.ones(3))
    kept = first.toarray()
    second = jf(np.ones(3), np.zeros(3))
    assert np.array_equal(first.toarray(), kept)
    assert not np.shares_memory(first.data, second.data)
    assert np.shares_memory(first.indices, second.indices)
    assert not first.indices.flags.writeable
    second.data[...] = np.nan
    assert np.array_equal(jf(np.ones(3), np.ones(3)).toarray(), kept)


def test_a_reused_matrix_is_filled_again() -> None:
    g = Graph("again")
    x, y = g.parameter("x", (3,)), g.parameter("y", (3,))
    g.node("z", x * y + STAYS @ x)
    jf = g.compile_jacobian("z", "x", reuse=True)
    first = jf(np.ones(3), np.ones(3))
    second = jf(np.ones(3), np.array([2.0, 3.0, 4.0]))
    assert first is second
    assert np.array_equal(second.toarray(), STAYS + np.diag([2.0, 3.0, 4.0]))


def _grid(n: int, *, edges: bool) -> Graph:
    """A field times its neighbours in two directions, with a frame of zeros or going round."""
    g = ge.Graph("grid")
    u = g.parameter("u", (n, n))
    if edges:
        down = ge.concatenate([u[1:], np.zeros((1, n))], axis=0)
        right = ge.concatenate([u[:, 1:], np.zeros((n, 1))], axis=1)
    else:
        round_ = np.roll(np.arange(n), -1)
        down, right = u[round_], u[:, round_]
    g.result("r", u * down + ge.exp(u) * right)
    return g


@each_kind
@pytest.mark.parametrize("edges", [False, True], ids=["round", "edges"])
@pytest.mark.parametrize("n", [4, 48])
def test_of_a_grid(n: int, edges: bool, reuse: bool) -> None:
    """Large ones are filled in parts, by views for the edges and for what is inside."""
    g = _grid(n, edges=edges)
    jf = g.compile_jacobian("r", "u", reuse=reuse)
    for seed in (0, 1, 0):
        values = {"u": np.random.default_rng(seed).normal(size=(n, n))}
        wanted = g.run(values).jacobian("r", "u")
        for program in (jf, alone(jf.source)):
            same_matrix(program(**values), wanted)


def test_edges_of_a_large_grid_need_no_table() -> None:
    assert "[c" in str(_grid(4, edges=True).compile_jacobian("r", "u").source)
    assert "[c" not in str(_grid(48, edges=True).compile_jacobian("r", "u").source)
