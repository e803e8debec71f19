"""Programs with compiled loops: the same numbers as by the graph's run, however calls repeat.

A loop takes numba a second, so that there are few here, each for several things.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import graphengine as ge
from graphengine.errors import GraphEngineError
from graphengine.graph import Graph, Node

from .programs import Array, Values, alone, by_run, close, plain, same_matrix, several

STEPS = 40
FAR = 3e5
"""An argument that the loops' own sines do not take."""


def agree(g: Graph, points: Sequence[Values], wrt: Sequence[str]) -> str:
    """Fresh and in buffers, at the points and the first one again; the text of the program."""
    for reuse in (False, True):
        f = g.compile(wrt=wrt, fused=True, reuse=reuse)
        for values in (*points, points[0]):
            given = {name: plain(values[name]) for name in f.inputs}
            kept = {name: np.copy(value) for name, value in given.items()}
            found = several(f(**given))
            for what, got, want in zip(["J", *wrt], found, by_run(g, values, wrt), strict=True):
                close(got, want, what, rtol=1e-11)
            assert all(np.array_equal(given[name], kept[name]) for name in given)
    return str(f.source)


def drawn(g: Graph, seed: int, scale: float = 1.0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {x.name: scale * rng.normal(size=x.shape) for x in g.starts if x.value is None}


# --- numbers ------------------------------------------------------------------------------


def test_a_recurrence_with_an_input_in_each_step() -> None:
    """More numbers than a call takes one by one; the backward pass reads from the end."""
    g = ge.Graph("recurrence")
    w, h = g.parameter("w"), g.parameter("h")
    xs = [g.input(f"x{k}") for k in range(STEPS)]
    total: Node = h
    state: Node = h
    for x in xs:
        state = ge.tanh(w * state + x)
        total = total + state * state
    g.result("J", total)
    rng = np.random.default_rng(0)
    names = ["w", "h", *(x.name for x in xs)]
    points = [dict(zip(names, rng.normal(size=len(names)), strict=True)) for _ in range(2)]
    text = agree(g, points, names)
    assert "for k in range(" in text


def test_what_does_not_wait_is_computed_ahead() -> None:
    """Sines, also of arguments too large for the loop's own; numbers that differ in each step."""
    g = ge.Graph("waves")
    a, b = g.parameter("a"), g.parameter("b")
    total: Node = a
    for k in range(STEPS):
        wave = ge.sin((0.5 + k / 7) * b) * ge.exp(-0.1 * b)
        total = ge.where(total > wave, total * 0.9, total - k * 0.01) + wave
    g.result("J", total)
    points = [{"a": 0.3, "b": 1.2}, {"a": -0.5, "b": FAR}, {"a": 2.0, "b": -0.7}]
    agree(g, points, ["a", "b"])


def test_diamonds_of_numbers() -> None:
    """Two ways from each step to the next, and steps of two kinds by turns."""
    g = ge.Graph("diamonds")
    x, c = g.parameter("x"), g.parameter("c")
    state: Node = x
    for k in range(STEPS):
        left, right = ge.cos(state), state * c
        state = left * right + 0.5 * state if k % 2 else ge.sqrt(left * left + right * right + 1)
    g.result("J", state)
    agree(g, [{"x": 0.4, "c": 0.8}, {"x": -1.1, "c": 0.3}], ["x", "c"])


@pytest.mark.parametrize("shape", [(), (5,)], ids=["numbers", "arrays"])
def test_repeats_that_read_all_that_others_made(shape: tuple[int, ...]) -> None:
    """One after another, whatever made them: repeats of two kinds, and calls that do not repeat."""
    g = ge.Graph("read again")
    x, y = g.parameter("x", shape), g.parameter("y", shape)
    made: list[Node] = [x * y, ge.tanh(x), x - y, x / (2 + y * y), ge.exp(-x), -y, x + 2, y * 3]
    for _ in range(STEPS // 2):
        made.append(ge.maximum(made[-1], x) * 0.5)
        made.append(ge.cos(made[-1]) + y)
    total: Node = x
    for one in made:
        total = total * 0.9 + one
    for one in made[-1:7:-3]:
        total = total * 0.8 - one * y
    g.result("J", ge.sum(total))
    agree(g, [drawn(g, 0), drawn(g, 1)], ["x", "y"])


def test_infinite_numbers_are_those_of_a_run() -> None:
    g = ge.Graph("infinite")
    x, y = g.parameter("x"), g.parameter("y")
    total: Node = y
    for k in range(STEPS):
        total = total * 0.5 + ge.log(x + 0.1 * k) * y
    g.result("J", total)
    agree(g, [{"x": 1.0, "y": 2.0}, {"x": 0.0, "y": 1.5}], ["x", "y"])
    f = g.compile(wrt=["x"], fused=True)
    close(f(np.float32(1.0), 2)[0], by_run(g, {"x": 1.0, "y": 2.0}, [])[0])


# --- arrays -------------------------------------------------------------------------------


def test_a_long_chain_of_vectors() -> None:
    """In chunks that overlap at the end: 300 entries are no multiple of one."""
    g = ge.Graph("chain")
    w, b, h = (g.parameter(name, (300,)) for name in "wbh")
    state: Node = h
    for k in range(STEPS):
        state = ge.tanh(w * state + b) + 0.01 * k
    g.result("J", ge.sum(state * state))
    agree(g, [drawn(g, 0), drawn(g, 1)], ["w", "b", "h"])


def test_waves_of_arrays() -> None:
    """Sines of entries of which one is too large for the loop's own."""
    g = ge.Graph("waves")
    x, y = g.parameter("x", (7, 3)), g.parameter("y", (3,))
    s = g.parameter("s")
    out = ge.sin(x * y) * ge.cos(x - y) + s * ge.expm1(0.1 * x) + ge.log1p(x * x)
    g.result("J", ge.sum(ge.where(x > y, out, -out) * ge.exp(-x * x)))
    far = drawn(g, 1)
    far["x"][2, 1] = FAR
    agree(g, [drawn(g, 0), far], ["x", "y", "s"])


VIEWS: dict[str, Callable[[Node, Node], Node]] = {
    "turned and repeated": lambda x, y: x.T * y[:, None] + ge.exp(x).T * ge.diag(x @ x.T)[:1],
    "parts": lambda x, y: x[::-1, ::2].T * y[:2, None] + ge.tanh(x.T)[:2] * x[1, 0],
    "reshapes": lambda x, y: ge.reshape(x.T, (2, 2, 3)) * ge.reshape(x, (2, 2, 3)) + ge.sin(y[0]),
    "a table": lambda x, y: np.arange(12.0).reshape(4, 3) * ge.sin(x[:, np.array([2, 0, 1, 1])].T),
}


@pytest.mark.parametrize("name", VIEWS)
def test_arrays_that_lie_in_many_ways(name: str) -> None:
    g = ge.Graph("views")
    x, y = g.parameter("x", (3, 4)), g.parameter("y", (4,))
    out = VIEWS[name](x, y)
    g.result("J", ge.sum(ge.square(out) * ge.sigmoid(out)))
    other = {key: np.asfortranarray(value) for key, value in drawn(g, 1).items()}
    other["y"] = np.repeat(other["y"], 2)[::2]
    agree(g, [drawn(g, 0), other], ["x", "y"])


def test_jacobians_in_their_places() -> None:
    """Loops write the numbers where they belong, in long matrices column by column."""
    g = ge.Graph("places")
    x, W = g.parameter("x", (1000, 2)), g.parameter("W", (2,))
    g.node("z", ge.sum(ge.sin(x * W) * ge.exp(-x * x), axis=1) + ge.tanh(x[:, 0]))
    for reuse in (False, True):
        jf = g.compile_jacobian("z", ["x", "W"], fused=True, reuse=reuse)
        for seed in (0, 1, 0):
            values = drawn(g, seed)
            run = g.run(values)
            for name, got in zip(["x", "W"], jf(**values), strict=True):
                want = run.jacobian("z", name)
                assert abs(got - want).max() <= 1e-12 * abs(want).max()
    found = alone(jf.source)(**values)
    same_matrix(found[1], run.jacobian("z", "W"))


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    g = ge.Graph("plain")
    g.result("J", ge.sum(g.input("x", (2,)) ** 2))
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(GraphEngineError, match=r"fused=True.*pip install graphengine\[fast\]"):
        g.compile(wrt="x", fused=True)
