"""Random programs that repeat, with loops run as plain Python: what reads what, in any stride."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine import flat
from graphengine.flat import fused
from graphengine.graph import Graph, Node

from .programs import Array, by_run, plain, several

COUNT = 40
"""Programs for each shape."""


class Uncompiled:
    """Stands for numba: a loop is the function that its text says."""

    @staticmethod
    def njit(**options: Any) -> Callable[[Any], Any]:
        return lambda function: function


def _loop(name: str, text: str, signature: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"np": np, "math": math, "numba": Uncompiled}
    for helper in fused.TEXTS.values():
        exec(helper, namespace)
    exec(text, namespace)
    found = {key: namespace[key] for key in (name, f"{name}_far") if key in namespace}
    return {key: _with_numbers(function) for key, function in found.items()}


def _with_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Python's numbers for NumPy's, as numba returns them."""

    def called(*args: Any) -> Any:
        found = function(*args)
        return tuple(map(_plain, found)) if isinstance(found, tuple) else _plain(found)

    return called


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@pytest.fixture(autouse=True)
def _as_python(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Errors of a loop come out: nothing else computes its numbers."""
    monkeypatch.setattr(fused, "_compiled", _loop)
    monkeypatch.setattr(flat, "FAILED", ())
    with np.errstate(all="ignore"):
        yield


Body = Callable[[Node, Node, int], Node]

BODIES: list[Body] = [
    lambda a, b, k: 0.5 * a + b,
    lambda a, b, k: a - 0.5 * b,
    lambda a, b, k: ge.tanh(a) * b,
    lambda a, b, k: ge.tanh(a),
    lambda a, b, k: ge.sin(a) * ge.cos(a),
    lambda a, b, k: ge.exp(-a * a),
    lambda a, b, k: ge.maximum(a, b) * 0.7,
    lambda a, b, k: ge.where(a > b, 0.5 * a, b),
    lambda a, b, k: a * 0.3 + 1.1,
    lambda a, b, k: a * (0.5 + 0.01 * k),
    lambda a, b, k: ge.sqrt(a * a + b * b + 1.0),
]


def program(seed: int, shape: tuple[int, ...]) -> Graph:
    """One to four loops over what was made before, each a few calls from anywhere."""
    rng = np.random.default_rng(seed)
    g = Graph("repeats")
    made: list[Node] = [g.parameter("x", shape), g.parameter("y", shape)]
    made += [g.input(f"u{k}") for k in range(rng.choice([0, 2, 30]))]
    made += [made[0] * made[1], ge.tanh(made[0]), made[0] - made[1]][: rng.integers(4)]
    total: Node | float = 0.0
    for part in range(rng.integers(1, 5)):
        body = [
            (BODIES[rng.integers(len(BODIES))], rng.integers(0, 4, 2).tolist())
            for _ in range(rng.integers(1, 5))
        ]
        start, stride = int(rng.integers(4)), int(rng.choice([1, 1, 2, 3, -1, -2, -3]))
        items, state, last = list(made), made[-1], made[-1]
        for k in range(rng.integers(3, 26)):
            sources = (state, last, made[part % 2], items[(start + stride * k) % len(items)])
            for call, (one, other) in body:
                last = call(sources[one], sources[other], k)
                made.append(last)
                sources = (state, last, *sources[2:])
            state = last
        total = total + state * (0.3 + part)
    g.result("J", ge.sum(total) if shape else total)
    return g


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)], ids=str)
def test_random_programs_that_repeat(shape: tuple[int, ...]) -> None:
    for seed in range(COUNT):
        try:
            check(program(seed, shape), seed)
        except Exception as error:
            error.add_note(f"program {seed}")
            raise


def check(g: Graph, seed: int) -> None:
    """At two points and the first one again; a scale for all, as gradients may cancel."""
    rng = np.random.default_rng(seed)
    wrt = [x.name for x in g.starts if x.value is None]
    points: list[dict[str, Array]] = [
        {name: rng.normal(size=g[name].shape) for name in wrt} for _ in range(2)
    ]
    f = g.compile(wrt=wrt, fused=True, reuse=seed % 2 == 0)
    for values in (*points, points[0]):
        found = several(f(**{name: plain(values[name]) for name in f.inputs}))
        want = by_run(g, values, wrt)
        scale = max(1.0, *(float(np.max(np.abs(one))) for one in want))
        for what, got, one in zip(["J", *wrt], found, want, strict=True):
            assert np.shape(got) == one.shape, what
            assert np.max(np.abs(got - one)) <= 1e-11 * scale, what


def test_operands_that_come_to_what_is_given() -> None:
    """Arrays made in the loop one after another, then numbers that stand before them."""
    g = ge.Graph("to what is given")
    x = g.parameter("x", (5,))
    numbers = [g.input(f"u{k}") for k in range(8)]
    made = [x * 2.0, x + 1.0, x * x, x - 3.0, x * 5.0, x + 7.0]
    state: Node = x
    for one in [*numbers, *made][::-1]:
        state = (state * 0.5 + one) * x - 0.7
    g.result("J", ge.sum(state))
    check(g, 0)


@pytest.mark.parametrize("shape", [(), (5,)], ids=str)
def test_repeats_that_read_calls_without_repeats(shape: tuple[int, ...]) -> None:
    """What is kept of calls that stand alone has one place each, whatever loop came before."""
    g = ge.Graph("alone")
    x, y = g.parameter("x", shape), g.parameter("y", shape)
    made: list[Node] = [x * y, x - y, x / (2 + y * y), -y, x + 2, y * 3, x * x, 1 - x * 2]
    state: Node = x
    for _ in range(8):
        state = (0.5 * state + y) * x - 0.1
    for one in made:
        state = (state * 0.9 + one) * y
    g.result("J", ge.sum(state) if shape else state)
    check(g, 0)
