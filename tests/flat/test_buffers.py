"""Programs in buffers: no call writes over what another still reads, wherever the arrays lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

import graphengine as ge
from graphengine.graph import Graph, Node

from .programs import Array, by_run, close, several


def drawn(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Random values for all start nodes."""
    rng = np.random.default_rng(seed)
    return {x.name: rng.normal(size=x.shape) for x in graph.starts if x.value is None}


def again_and_again(graph: Graph, wrt: list[str]) -> None:
    """At two points and the first one again: what a call leaves in buffers shows in the next."""
    f = graph.compile(wrt=wrt, reuse=True)
    for seed in (0, 1, 0):
        values = drawn(graph, seed)
        for got, want in zip(several(f(**values)), by_run(graph, values, wrt), strict=True):
            close(got, want)


def jacobian_in_place(graph: Graph, of: str, wrt: str) -> None:
    """The same of a Jacobian."""
    jf = graph.compile_jacobian(of, wrt, reuse=True)
    for seed in (0, 1, 0):
        values = drawn(graph, seed)
        given: Mapping[str, Array] = {name: values[name] for name in jf.inputs}
        want = graph.run(values).jacobian(of, wrt)
        off = abs(jf(**given) - want).max()
        assert off <= 1e-12 * abs(want).max(), off


def test_reshapes_of_transposes_are_copies() -> None:
    """NumPy copies some and shows others as they lie, in a buffer that is free after them."""
    g = ge.Graph("transposed")
    x = g.parameter("x", (4, 3))
    w = ge.reshape(ge.square(x).T, (3, 2, 2))
    g.result("J", ge.sum(ge.sin(w) * ge.cos(w)))
    again_and_again(g, ["x"])


def test_reshapes_of_arrays_with_a_long_axis_inside() -> None:
    g = ge.Graph("long axis inside")
    x = g.parameter("x", (1200, 3))
    w = ge.reshape(ge.square(x), (12, 100, 3))
    g.result("J", ge.sum(ge.sin(w) * ge.cos(w)))
    again_and_again(g, ["x"])


LITTLE: dict[str, Callable[[Node], Node]] = {
    "a sum": lambda y: ge.sum(y[:1], axis=1, keepdims=True),
    "one of two": lambda y: ge.concatenate([y[:1, :1], y[:1, :1]], axis=0)[np.array([1])],
    "a product": lambda y: y[:1] @ y[:, :1],
}


@pytest.mark.parametrize("name", LITTLE)
def test_large_arrays_times_one_entry(name: str) -> None:
    g = ge.Graph("times one entry")
    x, y = g.parameter("x", (64, 64)), g.parameter("y", (3, 3))
    g.result("J", ge.sum(ge.sin(x * LITTLE[name](y))))
    again_and_again(g, ["x", "y"])


def test_rows_of_a_table_among_the_numbers_of_a_matrix() -> None:
    """Many short rows: in a buffer their long axis would lie inside, in a matrix it does not."""
    g = ge.Graph("picked")
    x, y = g.parameter("x", (1000, 2)), g.parameter("y", (1000, 2))
    g.node("z", x * ge.exp(y)[np.arange(1000) * 7 % 1000])
    jacobian_in_place(g, "z", "x")


def test_matrices_filled_column_by_column_from_reshapes() -> None:
    g = ge.Graph("by columns")
    x = g.parameter("x", (1000, 3))
    g.node("z", ge.max(x[:, :, None] * np.ones((1, 3)), axis=2))
    jacobian_in_place(g, "z", "x")


# --- products on top of matrices ----------------------------------------------------------

ON_TOP: dict[str, Callable[[Node, Node, Node], Node]] = {
    "outer": lambda A, u, B: A + ge.outer(u, u),
    "a multiple and outer": lambda A, u, B: 0.9 * A + ge.outer(u, A @ u),
    "a multiple of what is needed": lambda A, u, B: (0.9 * A + ge.outer(u, u)) * A,
    "outer of what is turned": lambda A, u, B: 0.9 * ge.exp(A).T + ge.outer(u, u[::-1]),
    "a product": lambda A, u, B: ge.tanh(A) + B @ B.T,
    "a multiple and a product": lambda A, u, B: 0.5 * ge.tanh(A) + B @ A[:3],
    "a product with itself": lambda A, u, B: (ge.tanh(A) + ge.tanh(A) @ ge.tanh(A)) @ A,
    "turned factors": lambda A, u, B: ge.sin(A) + ge.tanh(B.T).T @ ge.cos(B).T,
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize("name", ON_TOP)
def test_products_on_top_of_matrices(
    name: str, n: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BLAS adds them in place, to large matrices block by block; with several threads, which
    SciPy's would have beside NumPy's, NumPy adds them.
    """
    for library in ("OPENBLAS", "MKL"):
        monkeypatch.delenv(f"{library}_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    g = ge.Graph("on top")
    A, u, B = g.parameter("A", (n, n)), g.parameter("u", (n,)), g.parameter("B", (n, 3))
    out = g.node("out", ON_TOP[name](A, u, B))
    g.result("J", ge.sum(ge.tanh(out) * A))
    f = g.compile(outputs=["out", "J"], wrt=["A", "u", "B"], reuse=True)
    for seed in (0, 1, 0):
        values = drawn(g, seed)
        run = g.run(values)
        want = [run.value("out"), run.value("J"), *map(run.gradient, ("A", "u", "B"))]
        for got, one in zip(f(**{x: values[x] for x in f.inputs}), want, strict=True):
            close(got, one)
    assert ("blas." in str(f.source)) is (threads == 1)
