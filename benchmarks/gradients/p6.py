"""P6: a chain of scalar functions, sin, doubling, tanh, halving, again and again.

The slope at 0 of the four together is 1: the gradient goes to 0 slowly, and stays far from the
smallest numbers even after 100,000 functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import cos, sin, tanh
from typing import Any

import numpy as np

import graphengine as ge
from benchmarks import contenders as by
from benchmarks.problem import FUSED_BY_HAND, HAND, Contender, Growth, Problem

BODY = 4
START = 0.8


def graph_of(nodes: int) -> ge.Graph:
    """A start node and a node for each function; ``nodes`` is divisible by four."""
    graph = ge.Graph("chain")
    graph.result("y", formula(ge, graph.input("x"), nodes))
    return graph


def formula(library: Any, x: Any, nodes: int) -> Any:
    """In the words of any library."""
    for _ in range(nodes // BODY):
        x = 0.5 * library.tanh(2.0 * library.sin(x))
    return x


# --- by hand ------------------------------------------------------------------------------


def plain(nodes: int) -> list[Any]:
    """The chain algorithm: slopes on the way up, their product on the way down."""
    x, slopes = START, []
    for place in range(nodes):
        match place % BODY:
            case 0:
                x, slope = sin(x), cos(x)
            case 1:
                x, slope = 2.0 * x, 2.0
            case 2:
                x = tanh(x)
                slope = 1.0 - x * x
            case _:
                x, slope = 0.5 * x, 0.5
        slopes.append(slope)
    g = 1.0
    for slope in reversed(slopes):
        g = g * slope
    return [x, g]


def hand(nodes: int) -> Any:
    """A chain has one input: the product of slopes can be taken on the way up, without a list."""

    def call() -> Any:
        x, g = START, 1.0
        for _ in range(nodes // BODY):
            g *= cos(x)
            x = tanh(2.0 * sin(x))
            g *= 2.0 * (1.0 - x * x) * 0.5
            x = 0.5 * x
        return x, g

    return call


def hand_backwards(nodes: int) -> Any:
    """As a backward pass: what the slopes need is kept on the way up."""

    def call() -> Any:
        x, cosines, tanhs = START, [], []
        for _ in range(nodes // BODY):
            cosines.append(cos(x))
            x = tanh(2.0 * sin(x))
            tanhs.append(x)
            x = 0.5 * x
        g = 1.0
        cosines.reverse()
        tanhs.reverse()
        for cosine, t in zip(cosines, tanhs, strict=True):
            g = g * 0.5 * (1.0 - t * t) * 2.0 * cosine
        return x, g

    return call


def fused(nodes: int) -> Any:
    """The loop of ``hand``, compiled."""
    import numba

    @numba.njit
    def loop(x: float) -> Any:
        g = 1.0
        for _ in range(nodes // BODY):
            g *= np.cos(x)
            x = np.tanh(2.0 * np.sin(x))
            g *= 2.0 * (1.0 - x * x) * 0.5
            x = 0.5 * x
        return x, g

    return partial(loop, START)


# --- the peers ----------------------------------------------------------------------------


def scanned(jnp: Any, x: Any, *, nodes: int) -> Any:
    """For JAX, rewritten as a loop over the four functions."""
    import jax

    def body(x: Any, _: Any) -> Any:
        return 0.5 * jnp.tanh(2.0 * jnp.sin(x)), None

    return jax.lax.scan(body, x, length=nodes // BODY)[0]


TOO_LONG = {
    "JAX": (10_000, "compiles 10,000 nodes in a minute; more were not tried"),
    "torch.compile": (1_000, "compiles 1,000 nodes in 40 s; more were not tried"),
    "pytensor": (1_000, "10,000 nodes ended in a segmentation fault after 22 minutes"),
    "pytensor, numba": (1_000, "compiles 1,000 nodes in 80 s; more were not tried"),
    "CasADi, gcc": (10_000, "gcc takes 50 s for 10,000 nodes; more were not tried"),
}
"""Up to how many nodes these are measured, and why."""


def feasible(nodes: int, contender: Contender) -> Contender:
    """The contender, left out of longer chains than it can do."""
    most, why = TOO_LONG.get(contender.name, (nodes, ""))
    return contender if nodes <= most else by.left_out(contender, why)


def problem(nodes: int) -> Problem:
    values = {"x": START}
    whole = partial(formula, nodes=nodes)
    peers = [
        by.autograd(whole, values, 1),
        by.jax(whole, values, 1),
        by.jax(partial(scanned, nodes=nodes), values, 1, "JAX, scan (rewritten)"),
        *by.torch(whole, values, 1),
        by.casadi(whole, values, 1, kind="SX"),
        by.casadi(whole, values, 1, kind="SX", **by.GCC),
        *by.pytensor(whole, values, 1),
    ]
    return Problem(
        "P6",
        f"{nodes:,} nodes",
        lambda: plain(nodes),
        [
            Contender(HAND, lambda: hand(nodes)),
            Contender(f"{HAND}, backwards", lambda: hand_backwards(nodes)),
            Contender(FUSED_BY_HAND, lambda: fused(nodes), needs=("numba",)),
            *by.ours(lambda: graph_of(nodes), values, ["x"], fused=True),
            *(feasible(nodes, peer) for peer in peers),
        ],
        target=1.5,
    )


def problems() -> Iterator[Problem]:
    yield problem(1_000)
    yield problem(10_000)
    yield problem(100_000)


def small() -> Iterator[Problem]:
    yield problem(12)


def growth() -> Growth:
    sizes = (12, 100, 1_000, 10_000, 100_000)
    return Growth("P6", "nodes", sizes, problem)
