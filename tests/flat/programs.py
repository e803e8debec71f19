"""Compiled programs beside the graph's own run, the lecture's passes, and their text by itself."""

from __future__ import annotations

import ast
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import graphengine as ge
from graphengine import lecture
from graphengine.graph import Graph, Node
from graphengine.ops import OPS, function
from graphengine.ops.base import Op

Array = NDArray[Any]
Values = Mapping[str, Any]


def alone(source: object) -> Callable[..., Any]:
    """The function that a text defines, run with nothing but itself."""
    text = str(source)
    names = [one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)]
    namespace: dict[str, Any] = {"__name__": "alone"}
    exec(compile(text, "flat code", "exec"), namespace)
    found: Callable[..., Any] = namespace[names[-1]]
    return found


def plain(value: Any) -> Any:
    """A number as Python's own: programs of numbers alone compute with them as they come."""
    return float(value) if np.ndim(value) == 0 else value


def several(found: Any) -> tuple[Any, ...]:
    """What a program returns, as a tuple."""
    return found if isinstance(found, tuple) else (found,)


def close(got: Any, want: Array, what: str = "", rtol: float = 1e-12) -> None:
    """Shapes and numbers are equal, to 1e-12 of the largest; so are infinities and nan."""
    assert np.shape(got) == want.shape, what
    assert type(got) is float or isinstance(got, np.ndarray), f"{what}: {type(got)}"
    assert np.asarray(got).dtype == np.float64, what
    finite = np.isfinite(want)
    assert np.array_equal(np.isfinite(got), finite), f"{what}: {got} for {want}"
    assert np.array_equal(np.asarray(got)[~finite], want[~finite], equal_nan=True), what
    scale = np.max(np.abs(want[finite]), initial=0.0)
    off = np.max(np.abs(np.asarray(got)[finite] - want[finite]), initial=0.0)
    assert off <= rtol * scale, f"{what}: off by {off} of {scale}"


def same_matrix(got: Any, want: Any) -> None:
    """Equal to 1e-12 of the largest entry, and in order."""
    assert got.format == "csr"
    assert got.shape == want.shape
    assert got.has_canonical_format
    found, wanted = got.toarray(), want.toarray()
    finite = np.isfinite(wanted)
    assert np.array_equal(found[~finite], wanted[~finite], equal_nan=True)
    scale = np.max(np.abs(wanted[finite]), initial=0.0)
    assert np.max(np.abs(found[finite] - wanted[finite]), initial=0.0) <= 1e-12 * scale


def by_run(graph: Graph, values: Values, wrt: Sequence[str | Node]) -> list[Array]:
    """The result and the gradients by the graph's own run."""
    run = graph.run(values)
    return [run.value(graph.result_node), *(run.gradient(node) for node in wrt)]


def by_lecture(graph: Graph, values: Values, wrt: Sequence[str]) -> list[Array]:
    """The same by the lecture's passes: each gradient is a row on its node."""
    dag = graph.dag
    for name, value in values.items():
        dag.nodes[name]["value"] = value
    lecture.EvaluateGraphFn(dag)
    if wrt:
        lecture.PerformBackPass(dag)
    value = np.asarray(dag.nodes[graph.result_node.name]["value"])
    rows = [np.asarray(dag.nodes[name]["Grad"]) for name in wrt]
    return [value, *(row.reshape(graph[name].shape) for row, name in zip(rows, wrt, strict=True))]


def agrees(graph: Graph, values: Values, wrt: Sequence[str], *, reuse: bool) -> Any:
    """Compile, and hold the function and its text to the two references; returns the function.

    Called twice, so that what the first call leaves in buffers would show in the second.
    """
    kept = {name: np.array(value) for name, value in values.items()}
    f = graph.compile(wrt=wrt, reuse=reuse)
    want, lectured = by_run(graph, values, wrt), by_lecture(graph, values, wrt)
    names = [graph.result_node.name, *(f"gradient of {name}" for name in wrt)]
    given = [plain(values[name]) for name in f.inputs]
    for program in (f, f, alone(f.source)):
        with np.errstate(all="ignore"):
            found = several(program(*given))
        assert len(found) == len(want)
        for what, got, one, other in zip(names, found, want, lectured, strict=True):
            close(got, one, what)
            close(got, other, what)
    for name, value in kept.items():
        assert np.array_equal(values[name], value, equal_nan=True), f"{name} has changed"
    return f


def examples(name: str) -> list[tuple[Op, list[Array]]]:
    """An op's own examples."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    found = OPS[name].examples(rng)
    return [(op, [np.array(arg, float) for arg in args]) for op, args in found]


def around(op: Op, args: Sequence[Array]) -> tuple[Graph, dict[str, Array], list[str]]:
    """A graph whose result is the sum of weights times an op's value, and what may be moved."""
    graph = ge.Graph(f"around {op.name}")
    nodes = [graph.parameter(f"x{k}", arg.shape) for k, arg in enumerate(args)]
    out = graph.node("out", graph.add(op, nodes))
    weights = np.random.default_rng(3).normal(size=out.shape)
    graph.result("J", function("sum")(out * weights))
    values = {node.name: arg for node, arg in zip(nodes, args, strict=True)}
    free = [f"x{k}" for k in range(len(args)) if op.argument(k) not in op.fixed]
    return graph, values, free
