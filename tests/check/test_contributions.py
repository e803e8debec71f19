"""The sizes of contributions, and runs with rounding errors, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

import graphengine as ge
from graphengine.check.contributions import Contributions, Rounded, matrix
from graphengine.errors import TooLargeError
from graphengine.run import Run

EPS = float(np.finfo(float).eps)


def test_contributions_of_paths_that_cancel_add_up() -> None:
    g = ge.Graph()
    x, a, b = g.input("x"), g.input("a"), g.input("b")
    left, right = g.node("left", a * x), g.node("right", b * x)
    g.result("J", left - right)
    values = {"x": 3.0, "a": 2.0, "b": 1.999}
    assert float(matrix(g.run(values), g["J"], g["x"])[0, 0]) == pytest.approx(0.001)
    assert float(matrix(Contributions(g, values), g["J"], g["x"])[0, 0]) == pytest.approx(3.999)


def test_contributions_of_one_parent_taken_twice_add_up() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    g.node("y", x - x)
    J = g.result("J", ge.sum(g["y"]))
    values = {"x": [1.0, 2.0]}
    assert np.array_equal(matrix(g.run(values), g["y"], x), np.zeros((2, 2)))
    assert np.array_equal(matrix(Contributions(g, values), g["y"], x), 2 * np.eye(2))
    assert np.array_equal(matrix(Contributions(g, values), J, x), np.full((1, 2), 2.0))


def test_terms_of_one_rule_add_up_without_sign() -> None:
    g = ge.Graph()
    s = g.input("s", (3,))
    p = g.node("p", ge.softmax(s))
    W = g.constant("W", np.array([[1.0, -2.0, 0.5], [-3.0, 0.25, 4.0]]))
    z = g.node("z", W @ p)
    w = g.constant("w", [1.0, -1.0])
    J = g.result("J", w @ z)
    values = {"s": np.array([0.3, -1.0, 2.0])}
    at = g.run(values).value("p")
    block = np.diag(at) + np.outer(at, at)
    sizes = Contributions(g, values)
    assert np.allclose(matrix(sizes, p, s), block)
    assert np.allclose(matrix(sizes, z, s), np.abs(W.value) @ block)
    assert np.allclose(matrix(sizes, J, s), np.abs(w.value) @ np.abs(W.value) @ block)
    assert np.array_equal(matrix(sizes, J, J), [[1.0]])


def test_matrix_is_the_runs_jacobian_and_keeps_its_limit() -> None:
    g = ge.Graph()
    W, x = g.parameter("W", (3, 2)), g.input("x", (2,))
    z = g.node("z", W @ x)
    J = g.result("J", ge.sum(z**2))
    values = {"W": np.arange(6.0).reshape(3, 2) - 2, "x": [0.5, -1.5]}
    run = g.run(values)
    assert np.array_equal(matrix(run, z, W), run.jacobian("z", "W").toarray())
    assert np.array_equal(matrix(run, J, W), run.gradient("W").reshape(1, 6))
    with pytest.raises(TooLargeError):
        matrix(Run(g, values, limit=10), z, W)


# --- rounding ------------------------------------------------------------------------------------


def _rounded(g: ge.Graph, values: dict[str, object], seed: int = 0) -> Rounded:
    return Rounded(g, values, np.random.default_rng(seed))  # type: ignore[arg-type]


def test_rounded_values_are_off_by_a_few_units_and_only_where_rounding_happens() -> None:
    g = ge.Graph()
    x, y = g.input("x", (50,)), g.input("y", (2,), kind="one_hot")
    c = g.constant("c", 0.1)
    h = g.node("h", ge.tanh(x) * c)
    g.node("same", ge.reshape(h, (5, 10)))
    g.node("one", ge.sum(y * 0.5) + 0.5)
    values = {"x": np.linspace(-2.3, 2.1, 50), "y": [0.0, 1.0]}
    exact, off = g.run(values), _rounded(g, values)
    for name, most in (("x", 5), ("c", 5), ("h", 20)):
        gap = np.abs(off.value(name) - exact.value(name)) / np.abs(exact.value(name))
        assert 0 < np.max(gap) <= most * EPS
    assert np.array_equal(off.value("y"), [0.0, 1.0])
    assert np.array_equal(off.value("same").ravel(), off.value("h"))  # moved, not rounded
    assert off.value("one") != 1.0  # computed, so rounded though it came out whole


def test_what_is_copied_stays_equal_to_what_it_was_copied_from() -> None:
    g = ge.Graph()
    x = g.input("x", (6,))
    z = g.node("z", ge.sin(x))
    g.node("m", ge.max(z))
    g.node("h", ge.relu(z))
    g.node("larger", ge.maximum(z, -z))
    g.node("mask", ge.greater(z, 0.0))
    off = _rounded(g, {"x": np.linspace(-2.0, 1.9, 6)})
    z_off = off.value("z")
    assert np.sum(off.value("m") == z_off) == 1
    assert np.array_equal(off.value("h"), np.maximum(z_off, 0))
    assert np.array_equal(off.value("larger"), np.abs(z_off))
    assert np.array_equal(off.value("mask"), z_off > 0)


def test_rounding_shows_where_a_slope_is_lost() -> None:
    g = ge.Graph()
    z = g.input("z")
    g.result("J", ge.sigmoid(z))
    values = {"z": 37.5}  # 1 − σ(z) is 5e-17, below the spacing of numbers near 1
    moved = [_rounded(g, values, seed).gradient("z") for seed in range(4)]
    assert np.std(moved) > 0.1 * np.exp(-37.5)
    assert not off_by_much(g, {"z": 0.5})


def off_by_much(g: ge.Graph, values: dict[str, object]) -> bool:
    exact = g.run(values).gradient("z")  # type: ignore[arg-type]
    return any(
        abs(_rounded(g, values, seed).gradient("z") - exact) > 40 * EPS * abs(exact)
        for seed in range(4)
    )


def test_equal_generators_round_equally() -> None:
    g = ge.Graph()
    g.result("J", ge.sum(ge.exp(g.input("x", (4,)))))
    values = {"x": [0.1, 0.2, 0.3, 0.4]}
    one, other, third = (_rounded(g, values, seed).value("J") for seed in (1, 1, 2))
    assert one == other
    assert one != third
