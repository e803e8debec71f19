"""Graphs on which neither forward nor reverse accumulation is good: a cross-country order is.

A library that accumulates forward carries a column for each number of the input, backward a row for
each number of the output; an explicit engine may eliminate the nodes in any order.  For the count
see A. Griewank, A. Walther, "Evaluating Derivatives", 2nd ed. (SIAM, 2008), chapters 9 and 10.

``OMP_NUM_THREADS=1 python -m benchmarks.jacobians.crosscountry`` prints multiplications and times.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import graphengine as ge
from benchmarks.jacobians import contenders as by
from benchmarks.jacobians.patterns import as_blocks, block_rows, dense_rows, multiply
from benchmarks.problem import HAND, REUSE, Contender, Problem
from benchmarks.timing import environment, shown

Array = Any
Values = Mapping[str, Array]


def maps_of(*sizes: int, seed: int = 0) -> list[Array]:
    """Matrices from each size to the next."""
    rng = np.random.default_rng(seed)
    pairs = zip(sizes[1:], sizes, strict=False)
    return [rng.normal(size=pair) / math.sqrt(pair[1]) for pair in pairs]


def named(maps: Sequence[Array]) -> dict[str, Array]:
    return {f"A{k}": A for k, A in enumerate(maps, start=1)}


def finished(left: Array, right: Array) -> tuple[Any, Callable[[], Any]]:
    """A dense Jacobian, and the call that fills it with the product of two thin matrices."""
    J = dense_rows(left.shape[0], right.shape[1])
    return J, multiply(left, right, J.data.reshape(J.shape))


# --- narrow waists ------------------------------------------------------------------------


def waists_graph(values: Values) -> ge.Graph:
    """A chain of dense maps with ``tanh``, wide at its ends and in between, narrow at waists."""
    graph = ge.Graph("waists")
    node = graph.parameter("x", len(values["x"]))
    for name, A in list(values.items())[1:]:
        node = ge.tanh(graph.input(name, A.shape) @ node)
    graph.result("y", node)
    return graph


def waists(np: Any, x: Any, *maps: Any) -> Any:
    for A in maps:
        x = np.tanh(A @ x)
    return x


def waists_plain(x: Array, *maps: Array) -> list[Array]:
    total = np.eye(len(x))
    for A in maps:
        x = np.tanh(A @ x)
        total = (1 - x**2)[:, None] * (A @ total)
    return [total]


def waists_by_hand(given: Array, *maps: Array) -> Any:
    """Each map into a waist times the map out of the waist before; the wide ends at last."""
    left, right = np.empty_like(maps[-1]), np.empty_like(maps[0])
    J, finish = finished(left, right)
    pairs = list(zip(maps[2:-1:2], maps[1:-1:2], strict=True))

    def call() -> list[Any]:
        x, slopes = given, []
        for A in maps:
            x = np.tanh(A @ x)
            slopes.append(1 - x * x)
        np.multiply(maps[0], slopes[0][:, None], out=right)
        last = maps[-1]
        for k, (into, out_of) in reversed(list(enumerate(pairs))):
            core = (into * slopes[2 * k + 1]) @ out_of
            last = last @ (slopes[2 * k + 2][:, None] * core)
        np.multiply(last, slopes[-1][:, None], out=left)
        finish()
        return [J]

    return call


# --- a diamond ----------------------------------------------------------------------------


def diamond_graph(values: Values) -> ge.Graph:
    """Two wide branches between two narrow nodes, wide at both ends."""
    graph = ge.Graph("diamond")
    x = graph.parameter("x", len(values["x"]))
    A, B, C, D, E = (graph.input(name, values[name].shape) for name in "ABCDE")
    s = graph.node("s", ge.tanh(A @ x))
    a, b = graph.node("a", ge.sin(B @ s)), graph.node("b", ge.cos(C @ s))
    t = graph.node("t", ge.tanh(D @ (a * b)))
    graph.result("y", ge.tanh(E @ t))
    return graph


def diamond(np: Any, x: Any, A: Any, B: Any, C: Any, D: Any, E: Any) -> Any:
    s = np.tanh(A @ x)
    return np.tanh(E @ np.tanh(D @ (np.sin(B @ s) * np.cos(C @ s))))


def diamond_plain(x: Array, A: Array, B: Array, C: Array, D: Array, E: Array) -> list[Array]:
    s = np.tanh(A @ x)
    a, b = B @ s, C @ s
    t = np.tanh(D @ (np.sin(a) * np.cos(b)))
    y = np.tanh(E @ t)
    s_x = (1 - s**2)[:, None] * A
    m_x = (np.cos(a) * np.cos(b))[:, None] * (B @ s_x)
    m_x -= (np.sin(a) * np.sin(b))[:, None] * (C @ s_x)
    return [(1 - y**2)[:, None] * (E @ ((1 - t**2)[:, None] * (D @ m_x)))]


def diamond_by_hand(x: Array, A: Array, B: Array, C: Array, D: Array, E: Array) -> Any:
    """From narrow node to narrow node through the wide branches first."""
    left, m, other = np.empty_like(E), np.empty_like(B), np.empty_like(C)
    J, finish = finished(left, A)

    def call() -> list[Any]:
        s = np.tanh(A @ x)
        a, b = B @ s, C @ s
        sin_a, cos_b = np.sin(a), np.cos(b)
        t = np.tanh(D @ (sin_a * cos_b))
        y = np.tanh(E @ t)
        np.multiply(B, (np.cos(a) * cos_b)[:, None], out=m)
        np.multiply(C, (sin_a * np.sin(b))[:, None], out=other)
        np.subtract(m, other, out=m)
        core = (1 - t * t)[:, None] * (D @ m) * (1 - s * s)
        np.multiply(E @ core, (1 - y * y)[:, None], out=left)
        finish()
        return [J]

    return call


# --- sparse layers and bottlenecks --------------------------------------------------------


@lru_cache
def neighbours(n: int) -> tuple[Array, Array]:
    """The positions after and before each one, periodic."""
    return np.roll(np.arange(n), -1), np.roll(np.arange(n), 1)


def step(u: Any) -> Any:
    """A step in time of the viscous Burgers equation on a periodic line, by differences."""
    after, before = neighbours(u.shape[0])
    right, left = u[after], u[before]
    return u + 0.1 * (right - 2 * u + left) - 0.05 * u * (right - left)


def step_slopes(u: Array) -> tuple[Array, Array, Array]:
    """Its slopes in the point itself, in the one after it and in the one before it."""
    after, before = neighbours(len(u))
    return 0.8 - 0.05 * (u[after] - u[before]), 0.1 - 0.05 * u, 0.1 + 0.05 * u


def step_times(u: Array, matrix: Array) -> Array:
    """The Jacobian of a step times a matrix."""
    after, before = neighbours(len(u))
    here, right, left = (slope[:, None] for slope in step_slopes(u))
    return here * matrix + right * matrix[after] + left * matrix[before]


def times_step(matrix: Array, u: Array, out: Array) -> None:
    """A matrix times the Jacobian of a step."""
    after, before = neighbours(len(u))
    here, right, left = step_slopes(u)
    np.multiply(matrix, here, out=out)
    out[:, after] += matrix * right
    out[:, before] += matrix * left


def modes_graph(values: Values) -> ge.Graph:
    """Steps of a field, each but the last projected to a few modes, as in reduced-order models."""
    graph = ge.Graph("steps on modes")
    u, M = graph.parameter("u", len(values["u"])), graph.input("M", values["M"].shape)
    graph.result("v", modes(None, u, M))
    return graph


def modes(_module: Any, u: Any, M: Any) -> Any:
    for _ in range(2):
        u = M @ (M.T @ step(u))
    return step(u)


def modes_plain(u: Array, M: Array) -> list[Array]:
    total = np.eye(len(u))
    for _ in range(2):
        total = M @ (M.T @ step_times(u, total))
        u = M @ (M.T @ step(u))
    return [step_times(u, total)]


def modes_by_hand(u: Array, M: Array) -> Any:
    """Modes to modes in the middle; the first and the last step beside the modes."""
    left, right = np.empty_like(M), np.empty_like(M.T, order="C")
    J, finish = finished(left, right)
    turned = np.empty_like(right)

    def call() -> list[Any]:
        np.copyto(turned, M.T)
        v = M @ (turned @ step(u))
        w = M @ (turned @ step(v))
        times_step(turned, u, right)
        np.matmul(step_times(w, M), turned @ step_times(v, M), out=left)
        finish()
        return [J]

    return call


# --- a batch ------------------------------------------------------------------------------


def batch_graph(values: Values) -> ge.Graph:
    """The chain through waists, of an example in each row: a block diagonal."""
    graph = ge.Graph("a batch through waists")
    node = graph.parameter("X", values["X"].shape)
    for name, A in list(values.items())[1:]:
        node = ge.tanh(node @ graph.input(name, A.shape).T)
    graph.result("Y", node)
    return graph


def batch(np: Any, X: Any, *maps: Any) -> Any:
    for A in maps:
        X = np.tanh(X @ A.T)
    return X


def batch_plain(X: Array, *maps: Array) -> list[Any]:
    total = np.eye(X.shape[1])
    for A in maps:
        X = np.tanh(X @ A.T)
        total = (1 - X**2)[:, :, None] * (A @ total)
    return [as_blocks(total)]


def batch_by_hand(given: Array, *maps: Array) -> Any:
    """As :func:`waists_by_hand`, with a matrix of waist by waist for each example."""
    N, d = given.shape
    J = block_rows(N, d, d)
    data = J.data.reshape(N, d, d)
    pairs = list(zip(maps[2:-1:2], maps[1:-1:2], strict=True))

    def call() -> list[Any]:
        X, slopes = given, []
        for A in maps:
            X = np.tanh(X @ A.T)
            slopes.append(1 - X * X)
        last = maps[-1]
        for k, (into, out_of) in reversed(list(enumerate(pairs))):
            core = (into * slopes[2 * k + 1][:, None, :]) @ out_of
            last = last @ (slopes[2 * k + 2][:, :, None] * core)
        last = slopes[-1][:, :, None] * last * slopes[0][:, None, :]
        np.matmul(last, maps[0], out=data)
        return [J]

    return call


# --- the problems -------------------------------------------------------------------------


def problem(
    name: str,
    size: str,
    values: Values,
    words: tuple[Callable[..., Any], ...],
    mapped: by.Mapped | None = None,
) -> Problem:
    """``words``: the graph, the function, its plain derivative and that by hand.

    By hand in the best order; ours in three orders; JAX in both directions.
    """
    build, function, plain, by_hand = words
    task = by.Task(partial(build, values), function, values, [next(iter(values))])

    def jax(mode: str) -> Contender:
        own = f"JAX {mode}"
        return by.jax(task, mode, own) if mapped is None else by.jax_mapped(mapped, mode, own)

    one_way = [
        Contender(f"{REUSE}, {order}", partial(by.compiled, task, order=order, reuse=True))
        for order in ("forward", "reverse")
    ]
    return Problem(
        name,
        size,
        lambda: plain(*values.values()),
        [
            Contender(HAND, lambda: by_hand(*values.values())),
            *by.ours(task, by_lecture=False),
            *one_way,
            jax("jacfwd"),
            jax("jacrev"),
        ],
        target=1.25,
    )


def waists_problem(*sizes: int) -> Problem:
    values = {"x": np.random.default_rng(1).normal(size=sizes[0]), **named(maps_of(*sizes))}
    words = (waists_graph, waists, waists_plain, waists_by_hand)
    return problem("waists", " → ".join(map(str, sizes)), values, words)


def diamond_problem(n: int, k: int) -> Problem:
    A, B, D, E = maps_of(n, k, n, k, n)
    C = maps_of(k, n, seed=2)[0]
    x = np.random.default_rng(1).normal(size=n)
    values = {"x": x, "A": A, "B": B, "C": C, "D": D, "E": E}
    words = (diamond_graph, diamond, diamond_plain, diamond_by_hand)
    return problem("diamond", f"{n} → {k} → ({n}, {n}) → {k} → {n}", values, words)


def modes_problem(n: int, k: int) -> Problem:
    rng = np.random.default_rng(1)
    values = {"u": rng.normal(size=n), "M": np.linalg.qr(rng.normal(size=(n, k)))[0]}
    words = (modes_graph, modes, modes_plain, modes_by_hand)
    return problem("modes", f"n = {n}, k = {k}", values, words)


def batch_problem(N: int, *sizes: int) -> Problem:
    values = {"X": np.random.default_rng(1).normal(size=(N, sizes[0])), **named(maps_of(*sizes))}
    axes = [0, *([None] * (len(sizes) - 1))]
    each = by.Mapped(batch, list(values.values()), axes, (0,), lambda found: [as_blocks(found[0])])
    words = (batch_graph, batch, batch_plain, batch_by_hand)
    return problem("batch", f"{N} × ({' → '.join(map(str, sizes))})", values, words, each)


def problems() -> Iterator[Problem]:
    yield waists_problem(1000, 5, 1000, 5, 1000, 5, 1000)
    yield diamond_problem(1000, 3)
    yield modes_problem(1000, 4)
    yield batch_problem(200, 64, 2, 64, 2, 64, 2, 64)


def small() -> Iterator[Problem]:
    yield waists_problem(6, 2, 7, 2, 6)
    yield diamond_problem(6, 2)
    yield modes_problem(7, 2)
    yield batch_problem(3, 6, 2, 5, 2, 6)


def main(rounds: int = 9) -> None:
    """Multiplications of the three orders, and times in one run."""
    from benchmarks.measuring import measure

    console = Console(width=120)
    for one in problems():
        title = f"{one.name}, {one.size}"
        table = Table("contender", "multiplications", "time", title=title, box=None)
        for row in measure(one, rounds=rounds):
            order = row.name.rpartition(", ")[2]
            count = row.facts.get(order, row.facts.get("multiplications"))
            told = shown(row.seconds) if row.status == "timed" else f"{row.status}: {row.why}"
            table.add_row(row.name, f"{count:,}" if count else "", told)
        console.print(table, "")


if __name__ == "__main__":
    os.environ.update(environment(1))  # for JAX, which is imported later
    main()
