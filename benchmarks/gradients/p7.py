"""P7: stacked diamonds, ``x' = p sin x + q x``, on numbers and on vectors.

A walk along all paths would take 2ⁿ steps.  As in P6, ``p + q = 1`` keeps the gradient of a long
stack far from the smallest numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import cos, sin
from typing import Any

import numpy as np

import graphengine as ge
from benchmarks import contenders as by
from benchmarks.problem import FUSED_BY_HAND, HAND, Contender, Growth, Problem

P, Q = 0.6, 0.4


def start_of(width: int) -> Any:
    return np.random.default_rng(0).normal(size=width) if width > 1 else 0.8


def graph_of(levels: int, width: int) -> ge.Graph:
    """Four nodes for each diamond."""
    graph = ge.Graph("diamonds")
    x = graph.input("x", (width,) if width > 1 else ())
    graph.result("y", formula(ge, x, levels=levels, width=width))
    return graph


def formula(library: Any, x: Any, *, levels: int, width: int) -> Any:
    """In the words of any library; the result of vectors is the sum of the last one."""
    for _ in range(levels):
        x = P * library.sin(x) + Q * x
    return library.sum(x) if width > 1 else x


# --- by hand ------------------------------------------------------------------------------


def plain(levels: int, width: int) -> list[Any]:
    """Forward with the values kept, then backward."""
    x, kept = np.asarray(start_of(width)), []
    for _ in range(levels):
        kept.append(x)
        x = P * np.sin(x) + Q * x
    g = np.ones_like(x)
    for value in reversed(kept):
        g = g * (P * np.cos(value) + Q)
    return [x.sum(), g]


def hand(levels: int) -> Any:
    """A number: the product of slopes is taken on the way up, without a list."""
    start = start_of(1)

    def call() -> Any:
        x, g = start, 1.0
        for _ in range(levels):
            g *= P * cos(x) + Q
            x = P * sin(x) + Q * x
        return x, g

    return call


def hand_backwards(levels: int) -> Any:
    """A number, as a backward pass."""
    start = start_of(1)

    def call() -> Any:
        x, kept = start, []
        for _ in range(levels):
            kept.append(x)
            x = P * sin(x) + Q * x
        g = 1.0
        for value in reversed(kept):
            g = g * (P * cos(value) + Q)
        return x, g

    return call


def hand_vector(levels: int, width: int) -> Any:
    """A vector: all in place."""
    start = start_of(width)
    x, g, s, c = (np.empty(width) for _ in range(4))

    def call() -> Any:
        np.copyto(x, start)
        g.fill(1.0)
        for _ in range(levels):
            np.cos(x, out=c)
            np.multiply(c, P, out=c)
            np.add(c, Q, out=c)
            np.multiply(g, c, out=g)
            np.sin(x, out=s)
            np.multiply(s, P, out=s)
            np.multiply(x, Q, out=x)
            np.add(x, s, out=x)
        return np.add.reduce(x), g

    return call


def fused(levels: int, width: int) -> Any:
    """The loop of ``hand``, compiled; of a vector with the entries innermost."""
    import numba

    @numba.njit
    def number(x: float) -> Any:
        g = 1.0
        for _ in range(levels):
            g *= P * np.cos(x) + Q
            x = P * np.sin(x) + Q * x
        return x, g

    @numba.njit
    def vector(start: Any, x: Any, g: Any) -> Any:
        x[:], g[:] = start, 1.0
        for _ in range(levels):
            for place in range(width):
                g[place] *= P * np.cos(x[place]) + Q
                x[place] = P * np.sin(x[place]) + Q * x[place]
        return x.sum(), g

    if width == 1:
        return partial(number, start_of(1))
    return partial(vector, start_of(width), np.empty(width), np.empty(width))


# --- the peers ----------------------------------------------------------------------------


def scanned(jnp: Any, x: Any, *, levels: int, width: int) -> Any:
    """For JAX, rewritten as a loop over the diamonds."""
    import jax

    def body(x: Any, _: Any) -> Any:
        return P * jnp.sin(x) + Q * x, None

    x = jax.lax.scan(body, x, length=levels)[0]
    return jnp.sum(x) if width > 1 else x


def with_casadi(ca: Any, x: Any, *, levels: int) -> Any:
    """On vectors, which are its matrices; a scalar graph mapped over the entries is slower."""
    x = formula(ca, x, levels=levels, width=1)
    return ca.sum1(x)


TOO_LONG = {
    "torch.compile": (18, "compiles 18 levels in 1 minute and 50 in 4; more were not tried"),
    "pytensor, numba": (200, "compiles 200 levels in 24 s; more were not tried"),
    "CasADi, gcc": (2_000, "more levels were not tried"),
    "pytensor": (2_000, "compiles 2,000 levels in 1 minute; more were not tried"),
}
"""Up to how many levels these are measured, and why."""


def feasible(levels: int, contender: Contender) -> Contender:
    """The contender, left out of higher stacks than it can do."""
    most, why = TOO_LONG.get(contender.name, (levels, ""))
    return contender if levels <= most else by.left_out(contender, why)


def problem(levels: int, width: int = 1) -> Problem:
    values = {"x": start_of(width)}
    whole = partial(formula, levels=levels, width=width)
    scan = partial(scanned, levels=levels, width=width)
    by_hand = [Contender(HAND, lambda: hand_vector(levels, width))]
    casadi = [by.casadi(partial(with_casadi, levels=levels), values, 1)]
    if width == 1:
        by_hand = [
            Contender(HAND, lambda: hand(levels)),
            Contender(f"{HAND}, backwards", lambda: hand_backwards(levels)),
        ]
        casadi = [
            by.casadi(whole, values, 1, kind="SX"),
            by.casadi(whole, values, 1, kind="SX", **by.GCC),
        ]
    peers = [
        by.autograd(whole, values, 1),
        by.jax(whole, values, 1),
        by.jax(scan, values, 1, "JAX, scan (rewritten)"),
        *by.torch(whole, values, 1),
        *casadi,
        *by.pytensor(whole, values, 1),
    ]
    return Problem(
        "P7",
        f"{levels:,} levels" + (f" on vectors of {width:,}" if width > 1 else ""),
        lambda: plain(levels, width),
        [
            *by_hand,
            Contender(FUSED_BY_HAND, lambda: fused(levels, width), needs=("numba",)),
            *by.ours(lambda: graph_of(levels, width), values, ["x"], fused=True),
            *(feasible(levels, peer) for peer in peers),
        ],
        target=1.5,
    )


def problems() -> Iterator[Problem]:
    for levels in (18, 200, 2_000):
        yield problem(levels)
    yield problem(200, 1_000)


def small() -> Iterator[Problem]:
    yield problem(3)
    yield problem(3, 4)


def growth() -> Growth:
    sizes = (3, 25, 250, 2_500, 25_000)
    return Growth("P7", "nodes", sizes, problem, lambda levels: 4 * levels)
