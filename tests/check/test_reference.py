"""Numeric derivatives against formulas, with error bars that hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import graphengine as ge
from graphengine.check.reference import (
    Along,
    complex_step,
    continues,
    differences,
    numeric_jacobian,
    path,
)
from graphengine.ops import OPS
from graphengine.ops.base import Elementwise, slope

Array = NDArray[np.float64]

CASES: list[tuple[str, Callable[[Array], Array], list[float], list[float], list[float]]] = [
    ("sin at 0", np.sin, [0.0], [2.0], [2.0]),
    ("exp", np.exp, [1.3], [1.0], [np.exp(1.3)]),
    ("log beside a large entry", np.log, [1e-3, 100.0], [1.0, 0.0], [1e3, 0.0]),
    ("near a pole", np.tan, [1.5], [1.0], [1 / np.cos(1.5) ** 2]),
    ("waves", lambda x: np.sin(50 * x), [1.0], [1.0], [50 * np.cos(50.0)]),
    ("small", lambda x: x**2, [1e-8], [1.0], [2e-8]),
    ("large", lambda x: 1e8 * np.exp(x / 1e8), [1e8], [1.0], [np.e]),
    ("small beside 1", lambda x: 1 + x, [1e-9], [1.0], [1.0]),
    ("beside a kink", lambda x: np.maximum(x, 0), [1e-3, -0.5], [1.0, 1.0], [1.0, 0.0]),
    ("very near a kink", lambda x: np.maximum(x, 0), [1e-5, -0.5], [1.0, 1.0], [1.0, 0.0]),
    ("1/x over six decades", lambda x: 1 / x, [1e-3, 1e3], [1.0, 0.0], [-1e6, 0.0]),
]


@pytest.mark.parametrize(
    ("fun", "at", "along", "right"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_differences_are_right_within_their_error_bar(
    fun: Callable[[Array], Array], at: list[float], along: list[float], right: list[float]
) -> None:
    value, error = differences(fun, np.array(at), np.array(along))
    size = np.max(np.abs(right))
    assert np.all(np.abs(value - right) <= error + 1e-15 * size)
    assert np.all(error <= 3e-5 * size)  # "small beside 1" loses nine digits, the others far fewer


def test_differences_say_that_they_do_not_settle() -> None:
    _, error = differences(lambda x: np.where(x > 0, np.nan, x), np.array([0.0]), np.array([1.0]))
    assert error[0] == np.inf
    noise = np.random.default_rng(0)
    _, error = differences(lambda x: np.asarray(noise.normal(size=x.shape)), np.ones(3), np.ones(3))
    assert np.all(error > 0.1)


def test_differences_of_a_constant_are_exactly_zero() -> None:
    value, error = differences(lambda x: np.full(2, 3.0), np.ones(3), np.ones(3))
    assert np.array_equal(value, np.zeros(2))
    assert np.array_equal(error, np.zeros(2))


def test_steps_that_are_lost_in_rounding_do_not_look_like_a_constant() -> None:
    value, error = differences(lambda x: 1.0 - np.exp(-x), np.array([25.0]), np.array([1.0]))
    assert abs(value[0] - np.exp(-25.0)) <= error[0]
    assert error[0] > 0


def test_differences_of_nothing_and_along_nothing_are_zero() -> None:
    value, error = differences(lambda x: x[:0], np.ones(3), np.ones(3))
    assert value.shape == error.shape == (0,)
    value, error = differences(np.exp, np.ones(3), np.zeros(3))
    assert np.array_equal(value, np.zeros(3))
    assert np.array_equal(error, np.zeros(3))


def test_complex_step_gives_full_precision() -> None:
    x = np.array([0.3, -1.2])
    found = complex_step(lambda z: np.exp(z) * np.sin(z), x, np.array([1.0, 2.0]))
    right = np.exp(x) * (np.sin(x) + np.cos(x)) * [1.0, 2.0]
    assert np.allclose(found, right, rtol=1e-15, atol=0)


@pytest.mark.parametrize("analytic", [True, False])
def test_numeric_jacobian_is_the_matrix_of_a_linear_map(analytic: bool) -> None:
    A = np.arange(6.0).reshape(2, 3) - 2.5
    matrix, error = numeric_jacobian(lambda x: A @ x, np.array([1.0, 0.0, -2.0]), analytic=analytic)
    assert np.allclose(matrix, A, rtol=1e-12, atol=1e-12)
    assert np.all(error < 1e-10)


# --- along a graph -------------------------------------------------------------------------------


def _graph() -> tuple[ge.Graph, ge.Run]:
    g = ge.Graph()
    x, W = g.input("x", (3,)), g.parameter("W", (2, 3))
    a = g.node("a", W @ x)
    h = g.node("h", ge.tanh(a))
    g.node("aside", ge.sum(x))
    g.result("J", ge.sum(h * h) + a[0] * x[1])
    rng = np.random.default_rng(3)
    return g, g.run({"x": rng.normal(size=3), "W": rng.normal(size=(2, 3))})


def test_path_holds_the_nodes_between_and_no_others() -> None:
    g, _ = _graph()
    names = [node.name for node in path(g, g["J"], g["a"])]
    assert names[-1] == "J"
    assert "h" in names
    assert not {"a", "x", "W", "aside"} & set(names)
    assert path(g, g["aside"], g["W"]) == ()
    assert path(g, g["a"], g["a"]) == ()


@pytest.mark.parametrize("method", ["complex step", "differences"])
@pytest.mark.parametrize("wrt", ["x", "W", "a", "h", "aside"])
def test_directional_derivatives_of_a_graph(wrt: str, method: str) -> None:
    g, run = _graph()
    direction = np.random.default_rng(5).normal(size=g[wrt].shape)
    found = Along(run, g["J"], g[wrt]).derivative(direction, method=method)  # type: ignore[arg-type]
    assert found.method == method
    exact = float(np.sum(run.gradient(wrt) * direction))
    assert np.allclose(found.value, exact, rtol=1e-10, atol=1e-12)
    assert np.all(np.abs(found.value - exact) <= found.error + 1e-13)


def test_complex_step_is_used_for_library_ops_and_differences_for_what_others_wrote() -> None:
    class Absolute(Elementwise):
        """A kink that complex step does not see."""

        name = "test_reference_absolute"

        def forward(self, x: Array) -> Array:
            return np.abs(x)

        def d_x(self, out: Array, x: Array) -> object:
            return slope(np.sign(x))

        @classmethod
        def examples(cls, rng: np.random.Generator) -> object:
            yield cls(), (np.array([1.0, -2.0]),)

    assert continues(OPS["tanh"]())
    assert not continues(Absolute())
    g = ge.Graph()
    x = g.input("x", (2,))
    g.result("J", ge.sum(g.add(Absolute(), (x,))))
    found = Along(g.run({"x": [1.0, -2.0]}), g["J"], x).derivative(np.array([1.0, 1.0]))
    assert found.method == "differences"
    assert abs(float(found.value)) <= float(found.error) + 1e-13  # 1 − 1
    assert float(found.error) < 1e-10


def test_what_the_ops_refuse_has_an_infinite_error() -> None:
    g = ge.Graph()
    label = g.input("label", (2,), kind="label")
    g.result("J", ge.sum(ge.one_hot(label, 3) @ np.arange(3.0)))
    run = g.run({"label": [2.0, 1.0]})
    for method in ("complex step", "differences"):
        found = Along(run, g["J"], label).derivative(np.ones(2), method=method)  # type: ignore[arg-type]
        assert np.all(np.isinf(found.error))
