"""The text of a program: it stands by itself, is the same each time, and says what it computes."""

from __future__ import annotations

import ast
import builtins
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.graph import Graph
from graphengine.ops import OPS
from tests.lecture_specs import FOLDER, spec

from .programs import alone, around, close, examples

each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
MODULES = {"math", "base64", "zlib", "numpy", "scipy.special", "scipy.linalg"}


def source(graph: Graph, *, reuse: bool = False, **asked: Any) -> str:
    wrt = [node.name for node in graph.starts if node.value is None]
    return str(graph.compile(wrt=wrt, reuse=reuse, **asked).source)


@pytest.fixture
def regression() -> Graph:
    g = ge.Graph("ridge")
    X, y = g.constant("X", np.linspace(-1.0, 1.0, 40).reshape(8, 5)), g.input("y", (8,))
    w = g.parameter("w", (5,))
    r = g.node("r", X @ w - y)
    g.result("J", 0.5 * ge.sum(r**2) + 0.1 * ge.sum(w**2))
    return g


@each_kind
@pytest.mark.parametrize("name", NAMES)
def test_what_a_text_holds(name: str, reuse: bool) -> None:
    """Imports of NumPy's and SciPy's world, assignments, functions: nothing runs other text."""
    graph = spec(name).graph
    text = (
        source(graph, reuse=reuse) if graph.result_node.size == 1 else str(graph.compile().source)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = ast.parse(text)
    assert ast.get_docstring(tree)
    for one in ast.walk(tree):
        if isinstance(one, ast.Import):
            assert {alias.name for alias in one.names} <= MODULES
        elif isinstance(one, ast.ImportFrom):
            assert one.module in MODULES
        elif isinstance(one, ast.Name):
            assert one.id not in {"eval", "exec", "compile", "open", "getattr", "__import__"}
        elif isinstance(one, ast.Attribute):
            assert not one.attr.startswith("_") or one.attr == "__class__"
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    assert isinstance(functions[-1].body[-1], (ast.Return, ast.With))


def loaded(tree: ast.AST) -> set[str]:
    return {
        one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and type(one.ctx) is ast.Load
    }


@each_kind
@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_missing_and_none_is_idle(name: str, reuse: bool) -> None:
    """Every name that is read is written before; every line's result is read by another."""
    graph = spec(name).graph
    text = (
        source(graph, reuse=reuse) if graph.result_node.size == 1 else str(graph.compile().source)
    )
    tree = ast.parse(text)
    stored = {
        one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and type(one.ctx) is ast.Store
    }
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for one in ast.walk(tree)
        if isinstance(one, (ast.Import, ast.ImportFrom))
        for alias in one.names
    }
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    given = {arg.arg for one in functions for arg in one.args.args}
    defined = {one.name for one in functions}
    assert loaded(tree) <= stored | imported | given | defined | set(dir(builtins))
    assert stored | imported <= loaded(tree) | {"np"}
    assert defined - {functions[-1].name} <= loaded(tree)


@each_kind
def test_the_text_is_the_same_each_time(reuse: bool) -> None:
    for name in ("softmax_regression", "iris", "gates_sigmoid_chain"):
        graph = spec(name).graph
        f = graph.compile(wrt=[n.name for n in graph.starts if n.value is None], reuse=reuse)
        assert str(f.source) == str(f.source) == source(graph, reuse=reuse)


def test_comments_name_the_nodes_and_their_jacobians(regression: Graph) -> None:
    text = source(regression)
    lines = [line.strip() for line in text.splitlines()]
    assert "# r = X @ w - y" in lines
    assert any(line.startswith(("# ∂r/∂w", "# ∂r.1/∂w: X")) for line in lines)
    assert [line for line in lines if line.startswith("grad_w = ")]
    assert text.startswith('"""ridge: flat code."""\n')
    assert "def ridge(y=None, w=None):" in text


def test_the_text_runs_without_this_package(regression: Graph, tmp_path: Path) -> None:
    f = regression.compile(wrt=["w"])
    y, w = np.arange(8.0), np.linspace(0.0, 1.0, 5)
    want = f(y, w)
    call = f"print(repr(ridge({y.tolist()}, {w.tolist()})))"
    block = "import sys\nsys.modules['graphengine'] = None\n"
    path = tmp_path / "ridge.py"
    path.write_text(block + str(f.source) + "\n" + call + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(path)], capture_output=True, text=True, check=True
    )
    value, grad = eval(done.stdout, {"array": np.array})
    assert value == pytest.approx(want[0], rel=1e-15)
    assert grad == pytest.approx(want[1], rel=1e-7)  # as printed


@each_kind
def test_the_text_checks_shapes(regression: Graph, reuse: bool) -> None:
    program = alone(source(regression, reuse=reuse))
    with pytest.raises(ValueError, match=r"w: expected shape \(5,\), got \(4,\)"):
        program(np.zeros(8), np.zeros(4))


CONSTANTS: list[Any] = [
    [1.5, -0.0, 5e-324],
    [math.inf, -math.inf, 1.0],
    [1e308, -1e-308, 0.1],
    [[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]],
    np.linspace(0.0, 1.0, 300).reshape(100, 3) ** 7,
    np.where(np.arange(300).reshape(100, 3) % 7 == 0, math.inf, 0.1),
    np.zeros((0, 3)),
    np.ones((1, 1, 3)),
    -0.0,
    math.pi,
    -1e-300,
]


@each_kind
@pytest.mark.parametrize("value", CONSTANTS, ids=lambda c: str(np.shape(c)))
def test_constants_keep_every_bit(value: Any, reuse: bool) -> None:
    g = ge.Graph("constants")
    c, x = g.constant("c", value), g.input("x", (3,))
    g.result("z", ge.maximum(c, x))
    f = g.compile(reuse=reuse)
    x_value = np.full(3, -math.inf)
    want = g.run({"x": x_value}).value("z")
    for program in (f, alone(f.source)):
        got = program(x_value)
        assert got.shape == want.shape
        assert np.array_equal(got, want)
        assert np.array_equal(np.signbit(got), np.signbit(want))


@each_kind
@pytest.mark.parametrize("name", OPS)
def test_ops_are_written_out(name: str, reuse: bool) -> None:
    """The text of no op of the library leaves a call to the op itself."""
    for op, args in examples(name):
        graph, _, free = around(op, args)
        text = str(graph.compile(wrt=free, reuse=reuse).source)
        assert "an op without a text of its own" not in text, op


def test_helpers_come_with_the_text() -> None:
    """Functions that branch on numbers stand in the text, without their types."""
    g = ge.Graph("cofactors")
    A = g.input("A", (2, 3, 3))
    g.result("J", ge.sum(ge.det(A)))
    text = source(g)
    assert "def _cofactors(A):" in text
    matrices = np.random.default_rng(0).normal(size=(2, 3, 3))
    value, grad = alone(text)(matrices)
    close(value, g.run({"A": matrices}).value("J"))
    close(grad, g.run({"A": matrices}).gradient("A"))
