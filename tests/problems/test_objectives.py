"""Objectives: value and gradient of one vector, computed once at each point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.graph import Graph

from .reference import by_run, numbers

each_kind = pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "fresh"])


@each_kind
def test_value_and_gradient(graph: Graph, values: dict[str, Any], reuse: bool) -> None:
    wrt = ["b", "W", "a"]
    problem = graph.objective(wrt, "J", values, reuse=reuse)
    for seed in range(3):
        x = numbers(seed, problem.size)
        value, gradient = by_run(graph, {**values, **problem.unpack(x)}, "J", wrt)
        assert type(problem.fun(x)) is float
        assert problem.fun(x) == pytest.approx(value.item(), rel=1e-13)
        assert problem.jac(x) == pytest.approx(gradient[0], rel=1e-12)
        both = problem.fun_and_jac(x)
        assert both[0] == problem.fun(x)
        assert np.array_equal(both[1], problem.jac(x))


def test_an_objective_of_one_entry() -> None:
    g = ge.Graph("one entry")
    w = g.parameter("w", (1, 1))
    g.result("J", w**2)
    problem = g.objective("w", values={"w": [[3.0]]})
    assert problem.fun_and_jac(problem.x0) == (9.0, np.array([6.0]))


def counted(problem: Any) -> list[int]:
    """How often the compiled function of an objective is called."""
    calls, function = [0], problem.function

    def call(*args: Any) -> Any:
        calls[0] += 1
        return function(*args)

    call.inputs = function.inputs  # type: ignore[attr-defined]  # as compiled functions have
    problem.function = call
    return calls


def test_value_and_gradient_at_one_point_are_computed_once(
    graph: Graph, values: dict[str, Any]
) -> None:
    problem = graph.objective(["W"], "J", values)
    calls, x = counted(problem), problem.x0
    for ask in (problem.fun, problem.jac, problem.fun_and_jac, problem.fun):
        ask(x.copy())
    assert calls == [1]
    old = problem.fun(x)
    x[0] += 1.0  # in place, as solvers do
    assert problem.fun(x) != old
    assert calls == [2]
    x[1] = np.nan
    assert np.isnan(problem.fun(x))
    assert np.isnan(problem.jac(x)).any()
    assert calls == [3]


def test_zeros_of_both_signs_are_two_points() -> None:
    g = ge.Graph("signs")
    w = g.parameter("w", (1,))
    g.result("J", ge.sum(1 / w))
    problem = g.objective("w")
    assert [problem.fun([zero]) for zero in (0.0, -0.0, 0.0)] == [np.inf, -np.inf, np.inf]
