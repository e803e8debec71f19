"""Graphs as functions of one vector: the numbers, and whose arrays they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import graphengine as ge
from graphengine.errors import ValuesError
from graphengine.graph import Graph

from .reference import Array, by_run, numbers

each_kind = pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "fresh"])


# --- residuals ----------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("wrt", [["W", "b", "a"], ["a", "b"], ["b"], ["a"], ["X", "W"]], ids=str)
def test_residual_and_jacobian(
    graph: Graph, values: dict[str, Any], wrt: list[str], reuse: bool
) -> None:
    problem = graph.residual_problem(wrt, values=values, reuse=reuse)
    assert problem.wrt == tuple(wrt)
    for seed in range(3):  # later calls use what the first one left
        now = {**values, **{name: numbers(seed, *np.shape(values[name])) for name in wrt}}
        x = problem.pack({name: now[name] for name in wrt})
        assert np.array_equal(x, np.concatenate([np.ravel(now[name]) for name in wrt]))
        residual, jacobian = by_run(graph, now, "r", wrt)
        assert problem.fun(x) == pytest.approx(residual, rel=1e-14)
        found = problem.jac(x)
        assert isinstance(found, sp.csr_array)
        assert found.has_canonical_format
        sp.csr_array((found.data, found.indices, found.indptr), found.shape).check_format()
        assert found.toarray() == pytest.approx(jacobian, rel=1e-13)


@each_kind
def test_dense(graph: Graph, values: dict[str, Any], reuse: bool) -> None:
    problem = graph.residual_problem(["W", "a"], values=values, dense=True, reuse=reuse)
    found = problem.jac(problem.x0)
    assert isinstance(found, np.ndarray)
    assert found == pytest.approx(by_run(graph, values, "r", ["W", "a"])[1], rel=1e-13)


def test_another_node_and_one_of_wrt(graph: Graph, values: dict[str, Any]) -> None:
    problem = graph.residual_problem(["b", "W"], "W", values=values)
    assert np.array_equal(problem.fun(problem.x0), values["W"].ravel())
    assert np.array_equal(problem.jac(problem.x0).toarray(), np.eye(6, 10, 4))
    J = graph.residual_problem("a", graph["J"], values)
    assert J.fun(J.x0).shape == (1,)
    assert J.jac(J.x0).shape == (1, 1)


def test_a_parameter_without_influence_has_empty_columns(
    graph: Graph, values: dict[str, Any]
) -> None:
    problem = graph.residual_problem(["b", "W"], "h", values=values)
    found = problem.jac(problem.x0)
    assert found.shape == (10, 10)
    assert found[:, :4].nnz == 0
    assert problem.gauss_newton(problem.x0).matrix.diagonal()[:4].tolist() == [0.0] * 4


def test_constants_may_be_parameters() -> None:
    g = ge.Graph("scaled")
    c, x = g.constant("c", [1.0, 2.0]), g.input("x", (2,))
    g.result("r", c * x)
    problem = g.residual_problem("c", values={"x": [3.0, 4.0]})
    assert problem.x0.tolist() == [1.0, 2.0]
    assert problem.fun([5.0, 6.0]).tolist() == [15.0, 24.0]
    assert g.residual_problem("c", values={"x": [3, 4], "c": [7, 8]}).x0.tolist() == [7.0, 8.0]


def test_the_graph_itself_stays(graph: Graph, values: dict[str, Any]) -> None:
    before = len(graph), graph["X"].role, graph.result_node.name
    graph.residual_problem(["W"], "h", values=values)
    assert (len(graph), graph["X"].role, graph.result_node.name) == before


def test_the_plan_is_shown(graph: Graph, values: dict[str, Any]) -> None:
    plan = graph.residual_problem(["W", "b"], values=values).plan
    assert plan.wrt == ("W", "b")
    assert plan.entries == (30, 10)


# --- whose arrays -------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("wrt", [["W", "b", "a"], ["W"]], ids=str)
def test_what_is_returned_is_new_and_may_be_changed(
    graph: Graph, values: dict[str, Any], wrt: list[str], reuse: bool
) -> None:
    """Also the entries that are the same at all points, such as ∂r/∂b."""
    problem = graph.residual_problem(wrt, values=values, reuse=reuse)
    objective = graph.objective(wrt, "J", values, reuse=reuse)
    x = problem.x0

    def arrays() -> list[Array]:
        square = problem.gauss_newton(x)
        found = [problem.fun(x), problem.jac(x).data, square.matrix.data, square.gradient]
        return [*found, objective.jac(x), objective.fun_and_jac(x)[1]]

    kept, first = [array.copy() for array in arrays()], arrays()
    for array in first:
        np.multiply(array, -7.0, out=array)
    second = arrays()
    for array, other, old in zip(second, first, kept, strict=True):
        assert np.array_equal(array, old)
        assert not np.shares_memory(array, other)
        assert not np.shares_memory(array, x)
    problem.fun(2 * x)
    objective.fun(2 * x)
    for array, old in zip(second, kept, strict=True):
        assert np.array_equal(array, old)


def test_positions_are_shared_and_read_only(graph: Graph, values: dict[str, Any]) -> None:
    problem = graph.residual_problem(["W", "b"], values=values)
    one, two = problem.jac(problem.x0), problem.jac(2 * problem.x0)
    assert one.indices is two.indices
    with pytest.raises(ValueError, match="read-only"):
        one.indices[0] = 1
    copied = one.copy()
    copied.indices[0] = copied.indices[0]


# --- what compiled code gives up ----------------------------------------------------------


def test_at_a_pole_the_run_computes() -> None:
    """A division by zero in numbers: infinities, as everywhere in the engine; then on."""
    g = ge.Graph("pole")
    a, b = g.parameter("a"), g.parameter("b")
    g.result("r", ge.stack([1 / a, b, a * b]))
    problem = g.residual_problem(["a", "b"])
    for number in (0.0, 2.0, 0.0):  # the pattern is not learnt at the pole
        run = g.run({"a": number, "b": 3.0})
        jacobian = np.hstack([run.jacobian("r", name).toarray() for name in "ab"])
        x = np.array([number, 3.0])
        assert np.array_equal(problem.fun(x), run.value("r"))
        assert np.array_equal(problem.jac(x).toarray(), jacobian)
        square = problem.gauss_newton(x).matrix.toarray()
        assert (
            square[0, 0] == np.inf
            if number == 0
            else square == pytest.approx(jacobian.T @ jacobian)
        )
    objective = g.objective(["a", "b"], g.node("J", 1 / a + b))
    assert objective.fun([0.0, 1.0]) == np.inf
    assert objective.jac([0.0, 1.0]).tolist() == [-np.inf, 1.0]


def test_infinities_in_arrays_are_squared_without_a_word() -> None:
    g = ge.Graph("infinite")
    a = g.parameter("a", (40,))
    g.result("r", ge.log(a) + a[::-1])
    x = np.arange(40.0)
    problem = g.residual_problem("a")
    assert problem.gauss_newton(x).matrix[0, 0] == np.inf
    assert np.isfinite(problem.gauss_newton(x + 1).matrix.data).all()


# --- time ---------------------------------------------------------------------------------


def test_time() -> None:
    g = ge.Graph("driven")
    t, y, k = g.input("t"), g.input("y", (2,)), g.input("k")
    g.result("dy", ge.stack([y[1], -k * ge.sin(y[0]) + ge.cos(t) * y[0]]))
    problem = g.residual_problem("y", values={"k": 9.0, "y": [1.0, 0.0]}, time="t")
    for now in (0.0, 1.0, np.float64(2.0)):
        assert problem.fun_ivp(now, [1.0, 3.0]) == pytest.approx([3.0, np.cos(now) - 9 * np.sin(1)])
        want = [[0, 1], [np.cos(now) - 9 * np.cos(1), 0]]
        assert problem.jac_ivp(now, [1.0, 3.0]).toarray() == pytest.approx(np.array(want))
    with pytest.raises(ValuesError, match="value of 't': expected the time, got none; fun_ivp"):
        problem.fun(problem.x0)
    still = g.residual_problem("y", values={"k": 9.0, "t": 1.0})
    assert np.array_equal(still.fun_ivp(5.0, [1.0, 3.0]), problem.fun_ivp(1.0, [1.0, 3.0]))
