"""Compiled Jacobians: the same matrices as by the graph's run, from every op and random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import graphengine as ge
from graphengine.elimination import LONG, Order
from graphengine.errors import GraphError
from graphengine.flat import CompiledJacobian
from graphengine.graph import Graph
from graphengine.ops import OPS
from graphengine.ops.base import Op
from tests.strategies import Scene, scenes

from .programs import alone, around, examples, plain, same_matrix

ORDERS: tuple[Order, ...] = ("auto", "forward", "reverse")
each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])


def compiled(graph: Graph, op: Op, free: list[str], *, reuse: bool) -> CompiledJacobian | None:
    """None where the places of entries may depend on an argument without a derivative."""
    try:
        return graph.compile_jacobian("out", free, reuse=reuse)
    except GraphError:
        if op.fixed:
            return None
        raise


@each_kind
@pytest.mark.parametrize("name", OPS)
def test_every_op(name: str, reuse: bool) -> None:
    """With respect to all arguments at once, called twice, and by the text alone."""
    for op, args in examples(name):
        graph, values, free = around(op, args)
        if not free:
            continue
        jf = compiled(graph, op, free, reuse=reuse)
        if jf is None:
            continue
        run = graph.run(values)
        given_values = [plain(values[start]) for start in jf.inputs]
        for program in (jf, jf, alone(jf.source)):
            with np.errstate(all="ignore"):
                found = program(*given_values)
            for start, matrix in zip(free, found, strict=True):
                same_matrix(matrix, run.jacobian("out", start))


@given(scenes())
def test_random_graphs(scene: Scene) -> None:
    graph, values, top = scene
    starts = [node.name for node in graph.starts]
    run = graph.run(values)
    for reuse in (False, True):
        jf = graph.compile_jacobian(top, starts, reuse=reuse)
        given_values = [plain(values[start]) for start in jf.inputs]
        for program in (jf, jf, alone(jf.source)):
            for start, matrix in zip(starts, program(*given_values), strict=True):
                same_matrix(matrix, run.jacobian(top, start))


def test_with_respect_to_nothing() -> None:
    g = Graph("nothing")
    x = g.input("x", (2,))
    g.node("z", x * x)
    with pytest.raises(GraphError, match="expected one node or more"):
        g.compile_jacobian("z", [])


# --- plans --------------------------------------------------------------------------------


def two_layers() -> Graph:
    """3 entries, by way of 5 and 5, to 2."""
    g = Graph("layers")
    x, W, V = g.parameter("x", (3,)), g.parameter("W", (5, 3)), g.parameter("V", (2, 5))
    a = g.node("a", W @ x)
    h = g.node("h", ge.tanh(a))
    g.node("z", V @ h)
    return g


def test_what_orders_cost() -> None:
    """Forward multiplies 5 slopes by 5 rows of 3, then V by that; reverse V by the slopes first."""
    g = two_layers()
    forward, reverse = 5 * 3 + 2 * 5 * 3, 2 * 5 + 2 * 5 * 3
    plans = {order: g.compile_jacobian("z", "x", order=order).plan for order in ORDERS}
    assert plans["forward"].multiplications == forward
    assert plans["reverse"].multiplications == plans["auto"].multiplications == reverse
    for plan in plans.values():
        assert (plan.forward, plan.reverse) == (forward, reverse)
        assert (plan.of, plan.wrt, plan.entries) == ("z", ("x",), (6,))
    assert str(plans["auto"]).splitlines() == [
        "∂z/∂x (6 entries)",
        "eliminate  product        multiplications  entries",
        "h          ∂z/∂h · ∂h/∂a               10       10",
        "a          ∂z/∂a · ∂a/∂x               30        6",
        "multiplications: 40; forward 45, reverse 40",
    ]


def test_sources_of_which_one_depends_on_another() -> None:
    """Each has a plan of its own, as the nodes between differ; the totals are of both."""
    g = two_layers()
    jf = g.compile_jacobian("z", ["x", "h", "z", "W"])
    assert jf.plan.entries == (6, 10, 2, 30)
    rng = np.random.default_rng(0)
    values = {x.name: rng.normal(size=x.shape) for x in g.starts}
    for name, got in zip(["x", "h", "z", "W"], jf(**values), strict=True):
        same_matrix(got, g.run(values).jacobian("z", name))


def test_of_a_long_chain() -> None:
    """More nodes than are looked at one by one: forward or reverse, by the sizes."""
    g = Graph("chain")
    x, c = g.parameter("x"), g.input("c", (3,))
    state = x
    for _ in range(LONG + 10):
        state = ge.sin(state)
    g.node("z", state * c)
    jf = g.compile_jacobian("z", "x")
    assert jf.plan.multiplications == jf.plan.forward < jf.plan.reverse
    values = {"x": 0.5, "c": np.array([1.0, 2.0, 3.0])}
    same_matrix(jf(**values), g.run(values).jacobian("z", "x"))


def test_positions_that_are_not_known() -> None:
    """The error says what a plan needs; the run takes them."""
    g = Graph("positions")
    x, at = g.parameter("x", (3,)), g.input("at", (2,))
    g.node("z", ge.take(ge.square(x), at))
    with pytest.raises(GraphError, match=r"constants as positions.*run\(\.\.\.\)\.jacobian"):
        g.compile_jacobian("z", "x")
    assert g.run({"x": [1.0, 2.0, 3.0], "at": [2, 0]}).jacobian("z", "x").nnz == 2
