"""P4: sparse Jacobians of two residuals on a square grid, by the five-point stencil.

*Bratu*: ``Δu + λ eᵘ`` with ``u = 0`` around, times the square of the mesh size (R. Glowinski,
H. Keller, L. Reinhart, "Continuation-conjugate gradient methods for the least squares solution of
nonlinear boundary value problems", SIAM J. Sci. Stat. Comput. 6, 1985).
*Brusselator*: two species with diffusion on a periodic grid (E. Hairer, G. Wanner, "Solving
Ordinary Differential Equations II", 1996, IV.10).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

import graphengine as ge
from benchmarks.jacobians import contenders as by
from benchmarks.problem import HAND, Contender, Growth, Problem

LAM = 6.0
A, B, ALPHA = 1.0, 3.4, 10.0

# One straight line of C: at -O2 it compiles five times as long and runs no faster, by trying.
IN_C = {
    "jit": True,
    "compiler": "shell",
    "jit_options": {"flags": ["-O1", "-march=native"], "compiler": "gcc"},
}

CACHED = 2**14
"""Points of a grid that are done at a time, so that all that belongs to them stays in the cache."""

DENSE = 64
"""The largest grid on which dense Jacobians are asked for: at 256² one takes 34 GB."""


# --- Bratu --------------------------------------------------------------------------------


def bratu_values(n: int) -> dict[str, Any]:
    return {"u": np.random.default_rng(0).normal(size=(n, n))}


def bratu_graph(n: int) -> ge.Graph:
    """With a frame of zeros around the grid."""
    graph = ge.Graph("Bratu")
    u = graph.parameter("u", (n, n))
    side, edge = (
        graph.constant("side", np.zeros((n, 1))),
        graph.constant("edge", np.zeros((1, n + 2))),
    )
    middle = ge.concatenate([side, u, side], axis=1)
    p = graph.node("p", ge.concatenate([edge, middle, edge], axis=0))
    around = graph.node("around", p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:])
    graph.result("r", around - 4 * u + LAM / (n + 1) ** 2 * ge.exp(u))
    return graph


def bratu(np: Any, u: Any) -> Any:
    n = len(u)
    side, edge = np.zeros((n, 1)), np.zeros((1, n + 2))
    p = np.concatenate([edge, np.concatenate([side, u, side], axis=1), edge], axis=0)
    around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return around - 4 * u + LAM / (n + 1) ** 2 * np.exp(u)


def laplacian(n: int, *, periodic: bool = False) -> sp.csr_array:
    """The sum of the four neighbours minus four times the middle."""
    ends = [1.0, 1.0] if periodic else []
    line = sp.diags_array(
        [np.ones(n - 1), np.ones(n - 1), *([1.0] for _ in ends)],
        offsets=[-1, 1, *((1 - n, n - 1) if periodic else ())],
        shape=(n, n),
    )
    one = sp.eye_array(n)
    found = sp.csr_array(sp.kron(line, one) + sp.kron(one, line) - 4 * sp.eye_array(n * n))
    found.sort_indices()
    return found


def bratu_plain(u: Any) -> list[Any]:
    n = len(u)
    return [laplacian(n) + sp.diags_array(LAM / (n + 1) ** 2 * np.exp(u).ravel(), format="csr")]


def bratu_by_hand(u: Any) -> Any:
    """Only the diagonal changes; sorted columns leave it at equal distances but for the edges."""
    n = len(u)
    J = laplacian(n)
    first, row = 4 * n - 2, 5 * n - 2  # entries of the grid's first row, and of one further in
    top, bottom = J.data[:first:4], J.data[first + (n - 2) * row + 1 :: 4]
    middle = J.data[first : first + (n - 2) * row].reshape(n - 2, row)[:, 1::5]
    e, factor, result = np.empty((n, n)), LAM / (n + 1) ** 2, [J]

    def call() -> list[Any]:
        np.exp(u, out=e)
        np.multiply(e, factor, out=e)
        np.subtract(e, 4, out=e)
        top[...] = e[0]
        middle[...] = e[1:-1]
        bottom[...] = e[-1]
        return result

    return call


def bratu_casadi(ca: Any, u: Any) -> Any:
    n, kind = u.shape[0], type(u)
    side, edge = kind(n, 1), kind(1, n)
    around = ca.vertcat(u[1:, :], edge) + ca.vertcat(edge, u[:-1, :])
    around += ca.horzcat(u[:, 1:], side) + ca.horzcat(side, u[:, :-1])
    return around - 4 * u + LAM / (n + 1) ** 2 * ca.exp(u)


def bratu_sparsediffpy(n: int) -> Any:
    def formula(engine: Any, count: int, u: Any) -> Any:
        column = engine.make_reshape(u, count, 1)
        spread = sparse_times(engine, laplacian(n), column)
        source = scaled(engine, count, LAM / (n + 1) ** 2, engine.make_exp(column))
        return engine.make_add(spread, source)

    return formula


# --- Brusselator --------------------------------------------------------------------------


def brusselator_values(n: int) -> dict[str, Any]:
    return {"w": np.random.default_rng(0).normal(size=(2, n, n))}


def brusselator_graph(n: int) -> ge.Graph:
    """The neighbours by tables of positions that go round."""
    graph = ge.Graph("Brusselator")
    w = graph.parameter("w", (2, n, n))
    after, before = np.roll(np.arange(n), -1), np.roll(np.arange(n), 1)
    around = w[:, after] + w[:, before] + w[:, :, after] + w[:, :, before]
    spread = graph.node("spread", ALPHA * n**2 * (around - 4 * w))
    u, v = graph.node("u", w[0]), graph.node("v", w[1])
    reaction = graph.node("reaction", u**2 * v)
    change = graph.node("change", ge.stack([A + reaction - (B + 1) * u, B * u - reaction]))
    graph.result("r", change + spread)
    return graph


def brusselator(np: Any, w: Any) -> Any:
    around = np.roll(w, 1, 1) + np.roll(w, -1, 1) + np.roll(w, 1, 2) + np.roll(w, -1, 2)
    u, v = w[0], w[1]
    reaction = u**2 * v
    change = np.stack([A + reaction - (B + 1) * u, B * u - reaction])
    return change + ALPHA * w.shape[1] ** 2 * (around - 4 * w)


def brusselator_plain(w: Any) -> list[Any]:
    n = w.shape[1]
    u, v = w.reshape(2, -1)
    spread = ALPHA * n**2 * laplacian(n, periodic=True)
    blocks = [
        [spread + sp.diags_array(2 * u * v - (B + 1)), sp.diags_array(u**2)],
        [sp.diags_array(B - 2 * u * v), spread - sp.diags_array(u**2)],
    ]
    return [sp.csr_array(sp.block_array(blocks))]


def brusselator_by_hand(w: Any) -> Any:
    """Two of the six numbers of each row change: ``data`` has a row for each row.

    The diagonal stands in the middle of its row, but for the edges of the grid, where a neighbour
    from the other side comes first or last.  Blocks of rows stay in the cache.
    """
    n = w.shape[1]
    J = brusselator_plain(np.ones_like(w))[0]
    J.sort_indices()
    data, places = J.data.reshape(2, n, n, 6), np.arange(J.nnz).reshape(2, n, n, 6)
    grid = np.arange(n * n).reshape(n, n)
    rim = np.concatenate([grid[0], grid[-1], grid[1:-1, 0], grid[1:-1, -1]])
    on = (J.indices == np.repeat(np.arange(2 * n * n), 6)).reshape(2, -1, 6)
    rims = [places.reshape(2, -1, 6)[k, rim][on[k, rim]] for k in (0, 1)]
    t, p, q, s = (np.empty((n, n)) for _ in range(4))
    p_flat, s_flat, flat = p.reshape(-1), s.reshape(-1), J.data
    low, high = -(B + 1) - 4 * ALPHA * n**2, -4 * ALPHA * n**2
    height = max(1, CACHED // n)
    blocks = []
    for start in range(0, n, height):
        rows, inner = slice(start, start + height), slice(max(start, 1), min(start + height, n - 1))
        parts = [part[rows] for part in (*w, t, p, q, s)]
        cross = [data[0, rows, :, 5], data[1, rows, :, 0]]
        diagonal = [data[0, inner, 1:-1, 2], data[1, inner, 1:-1, 3]]
        blocks.append((*parts, *cross, *diagonal, p[inner, 1:-1], s[inner, 1:-1]))
    result = [J]

    def call() -> list[Any]:
        for u, v, t, p, q, s, uv, vu, uu, vv, p_in, s_in in blocks:
            np.multiply(u, v, out=q)
            np.add(q, q, out=q)
            np.multiply(u, u, out=t)
            np.add(q, low, out=p)
            np.subtract(B, q, out=q)
            np.subtract(high, t, out=s)
            uv[...] = t
            uu[...] = p_in
            vu[...] = q
            vv[...] = s_in
        flat[rims[0]] = p_flat[rim]
        flat[rims[1]] = s_flat[rim]
        return result

    return call


def brusselator_casadi(ca: Any, w: Any) -> Any:
    n = round((w.shape[0] / 2) ** 0.5)
    both = ca.reshape(w, n * n, 2)
    grids = [ca.reshape(both[:, k], n, n).T for k in (0, 1)]
    u, v = grids
    reaction = u**2 * v
    change = [A + reaction - (B + 1) * u, B * u - reaction]
    out = []
    for grid, here in zip(grids, change, strict=True):
        around = ca.vertcat(grid[1:, :], grid[:1, :]) + ca.vertcat(grid[-1:, :], grid[:-1, :])
        around += ca.horzcat(grid[:, 1:], grid[:, :1]) + ca.horzcat(grid[:, -1:], grid[:, :-1])
        out.append(ca.vec((here + ALPHA * n**2 * (around - 4 * grid)).T))
    return ca.vertcat(*out)


def brusselator_sparsediffpy(n: int) -> Any:
    def formula(engine: Any, count: int, w: Any) -> Any:
        half = count // 2
        places = np.arange(count, dtype=np.int32)
        u, v = (engine.make_index(w, half, 1, part) for part in (places[:half], places[half:]))
        reaction = engine.make_multiply(engine.make_power(u, 2.0), v)
        source = engine.make_parameter(half, 1, -1, count, np.full(half, A))
        spread = ALPHA * n**2 * laplacian(n, periodic=True)
        of_u = sparse_times(engine, sp.csr_array(spread - (B + 1) * sp.eye_array(half)), u)
        gain = engine.make_add(engine.make_add(reaction, source), of_u)
        fed = engine.make_add(sparse_times(engine, spread, v), scaled(engine, count, B, u))
        return engine.make_vstack([gain, engine.make_add(fed, engine.make_neg(reaction))])

    return formula


def sparse_times(engine: Any, matrix: sp.csr_array, child: Any) -> Any:
    parts = (matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
    return engine.make_left_matmul(None, child, "sparse", *parts, *matrix.shape)


def scaled(engine: Any, count: int, factor: float, child: Any) -> Any:
    number = engine.make_parameter(1, 1, -1, count, np.array([factor]))
    return engine.make_param_scalar_mult(number, child)


# --- the problems -------------------------------------------------------------------------


def problem(which: str, n: int) -> Problem:
    if which == "Bratu":
        values, function, build = bratu_values(n), bratu, bratu_graph
        plain, by_hand = bratu_plain, bratu_by_hand
        casadi, engine = bratu_casadi, bratu_sparsediffpy
    else:
        values, function, build = brusselator_values(n), brusselator, brusselator_graph
        plain, by_hand = brusselator_plain, brusselator_by_hand
        casadi, engine = brusselator_casadi, brusselator_sparsediffpy
    task = by.Task(lambda: build(n), function, values, list(values))
    small = n <= DENSE
    dense = [by.autograd(task), by.jax(task, "jacfwd"), by.torch_func(task, "jacfwd")]
    # Straight lines longer than that of Bratu on 64² take gcc many minutes.
    in_c = n <= (DENSE if which == "Bratu" else 16) and shutil.which("gcc")
    return Problem(
        f"P4 {which}",
        f"{n}²",
        lambda: plain(**values),
        [
            Contender(HAND, lambda: by_hand(**values)),
            *by.ours(task),
            *(dense if small else []),
            by.sparsejac(task, "jacfwd", lambda: plain(**values)),
            by.asdex(task),
            by.casadi(task, casadi, "SX"),
            *([by.casadi(task, casadi, "SX", **IN_C)] if in_c else []),
            by.sparsediffpy(task, engine(n)),
        ],
        target=1.25,
    )


def problems() -> Iterator[Problem]:
    for which in ("Bratu", "Brusselator"):
        yield problem(which, 64)
        yield problem(which, 256)


def small() -> Iterator[Problem]:
    yield problem("Bratu", 4)
    yield problem("Brusselator", 5)


def growth() -> Growth:
    """Five nonzeros for each point but the edges."""
    return Growth(
        "P4 Bratu",
        "nonzeros",
        [16, 50, 160, 500, 1600],
        lambda n: problem("Bratu", n),
        lambda n: 5 * n**2 - 4 * n,
    )
