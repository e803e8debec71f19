"""Names of graphs and nodes in the text of a program: none gets in the way, none is run."""

from __future__ import annotations

import ast
import keyword
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphengine as ge
from graphengine.errors import GraphEngineError, GraphError, ValuesError
from graphengine.graph import Graph

from .programs import agrees, alone, close

each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])

TAKEN = [
    *("np", "math", "scipy", "blas", "float", "bool", "abs", "int", "print", "range", "type"),
    *("ValueError", "TypeError", "ArithmeticError", "Exception", "base64", "zlib", "csr_array"),
    *("t1", "c1", "b1", "v1", "data1", "t2", "_FAILED", "_otherwise", "_size", "_csr", "_model1"),
    *("_matrix1", "_placed", "_times", "_unpacked", "grad_x", "grad_J", "self", "match", "case"),
    *(
        "_",
        "__",
        "__name__",
        "__builtins__",
        "__import__",
        "__debug",
        "x_2",
        "v__x",
        "__x",
        "e",
        "j",
    ),
]
"""Words that a program uses itself, or might."""


def graph_of(one: str, other: str, node: str, title: str) -> tuple[Graph, dict[str, Any]]:
    """A graph that needs constants, helpers, guards and errors, with these names in it."""
    g = ge.Graph(title)
    x, y = g.input(one, (3,)), g.parameter(other, (3,))
    table = np.linspace(1.0, 2.0, 3 * 40).reshape(40, 3)
    inside = g.node(node, ge.log(x) * y + ge.sum(ge.abs(table @ (x * y))) * ge.norm(y))
    g.result("result", ge.sum(inside * inside) + ge.sum((x / y)[1:]))
    return g, {one: np.array([0.5, 2.0, 3.0]), other: np.array([1.0, -2.0, 0.5])}


@each_kind
@pytest.mark.parametrize("name", TAKEN)
def test_a_name_that_programs_use_themselves(name: str, reuse: bool) -> None:
    """Of an input; of a node in between and of the graph."""
    for names in ((name, "y", "z", "g"), ("x", "y", name, name)):
        g, values = graph_of(*names)
        f = agrees(g, values, list(values), reuse=reuse)
        assert f.inputs == tuple(values)


@pytest.mark.parametrize("name", TAKEN)
def test_arguments_are_called_as_their_nodes(name: str) -> None:
    g, values = graph_of(name, "y", "z", "g")
    close(g.compile()(**values), g.run(values).value("result"))


def test_names_of_the_graph_and_of_its_nodes_may_be_one() -> None:
    g, values = graph_of("x", "y", "z", "x")
    close(g.compile()(**values), g.run(values).value("result"))


@pytest.mark.parametrize("name", TAKEN)
def test_errors_beside_such_names(name: str) -> None:
    g, values = graph_of(name, "y", "z", "g")
    f = g.compile()
    with pytest.raises(ValuesError, match="'y'"):
        f(values[name], "no")
    with pytest.raises(ValuesError, match=f"'{name}'"):
        f(np.zeros(7), values["y"])


@given(st.permutations(TAKEN))
def test_many_of_them_at_once(names: list[str]) -> None:
    g, values = graph_of(*names[:4])
    for reuse in (False, True):
        f = g.compile(wrt=list(values), outputs=[names[2], "result"], reuse=reuse)
        given_values = [values[name] for name in f.inputs]
        for program in (f, alone(f.source)):
            inside, value, *gradients = program(*given_values)
            run = g.run(values)
            close(inside, run.value(names[2]))
            close(value, run.value("result"))
            for got, start in zip(gradients, values, strict=True):
                close(got, run.gradient(start))


def test_names_that_differ_in_case_or_by_a_line_below() -> None:
    g = ge.Graph("x")
    nodes = [g.input(name) for name in ("x", "X", "x_", "_x", "x_2", "x_1", "x2")]
    g.result("J", sum(((k + 1) * node for k, node in enumerate(nodes[1:])), nodes[0] * 0.5))
    for reuse in (False, True):
        f = g.compile(wrt=nodes, reuse=reuse)
        assert f(*range(7)) == (91.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


# --- names that cannot be -----------------------------------------------------------------

HOSTILE = [
    *keyword.kwlist,
    *("σ", "λ", "θ", "ﬁ", "𝔁", "é", "ﬀ", "ª", "x²", "x′", "ｘ"),
    *("", " ", "x y", "x\n", "x\nimport os", "x;y", "x=1", "x, y", "x)", "x:", "1x", "x.1", "x-1"),
    *("x'", 'x"', "x\\", "#x", "x#", "x\0", "__import__('os')", "{x}", "x[0]", "f(x)", "%s", "*x"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_hostile_names_cannot_be_made(name: str) -> None:
    """The graph refuses them, whatever kind of node they are for."""
    g = ge.Graph("names")
    x = g.input("x", (2,))
    for make in (
        lambda: g.input(name, (2,)),
        lambda: g.parameter(name),
        lambda: g.constant(name, 1.0),
        lambda: g.node(name, x + 1),
        lambda: g.result(name, x + 1),
    ):
        with pytest.raises(GraphError):
            make()
    assert len([node for node in g.nodes if node.named]) == 1


@given(st.text(min_size=1, max_size=8))
def test_any_text_is_refused_or_harmless(name: str) -> None:
    g = ge.Graph("names")
    try:
        x = g.input(name, (2,))
    except GraphEngineError:
        return
    g.result("J_", ge.sum(x**2))
    assert g.compile(wrt=x)(**{name: [1.0, 2.0]})[0] == 5.0


TITLES = [
    "",
    "two words",
    "softmax – with a dash",
    'a """ b',
    "a ''' b",
    "a\nimport os\nb",
    "a\\",
    "a\\nb",
    "x(): pass\nraise SystemExit",
    "{x}",
    "class",
    "lambda",
    "None",
    "1st",
    "λ",
    "np",
    "a\0b",
    "a\u2028b",
    "a\rb",
    '"',
    "f(x)",
    "\ud800",
    "#",
]


@each_kind
@pytest.mark.parametrize("title", TITLES, ids=ascii)
def test_titles_are_text_alone(title: str, reuse: bool) -> None:
    """A graph's own name may be anything: it stands in the text, and is never run."""
    g, values = graph_of("x", "y", "z", title)
    f = agrees(g, values, ["y"], reuse=reuse)
    tree = ast.parse(str(f.source))
    called = [one for one in tree.body if isinstance(one, (ast.Expr, ast.Raise))]
    assert len(called) == 1  # the text's own title
    imports = [one for one in ast.walk(tree) if isinstance(one, (ast.Import, ast.ImportFrom))]
    modules = {alias.name for one in imports for alias in one.names}
    assert modules <= {"math", "base64", "zlib", "numpy", "scipy.special", "blas"}


def test_a_graph_that_is_called_as_a_helper() -> None:
    """Where arguments have other names inside, so has the function."""
    g = ge.Graph("cofactors")
    A = g.input("np", (2, 3, 3))
    g.result("J", ge.sum(ge.det(A)))
    values = {"np": np.random.default_rng(0).normal(size=(2, 3, 3))}
    for reuse in (False, True):
        agrees(g, values, ["np"], reuse=reuse)
