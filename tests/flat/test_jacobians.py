"""Compiled Jacobians: the same matrices as by the graph's run, from every op and random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from graphengine.errors import GraphError
from graphengine.flat import CompiledJacobian
from graphengine.graph import Graph
from graphengine.ops import OPS
from graphengine.ops.base import Op
from tests.strategies import Scene, scenes

from .programs import alone, around, examples, plain, same_matrix

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
