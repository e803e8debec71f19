"""Parameters as one vector, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphengine.errors import GraphError, ShapeError, ValuesError
from graphengine.graph import Graph


def test_pack_and_unpack(graph: Graph, values: dict[str, Any]) -> None:
    problem = graph.residual_problem(["a", "W"], values={**values, "a": 2})
    assert problem.size == 7
    back = problem.unpack(problem.x0)
    assert {name: array.shape for name, array in back.items()} == {"a": (), "W": (2, 3)}
    assert np.array_equal(back["W"], values["W"])
    assert back["a"] == 2
    back["W"][...] = 0.0  # a copy
    assert np.array_equal(problem.unpack(problem.x0)["W"], values["W"])


ERRORS: dict[str, tuple[Callable[[Graph, dict[str, Any]], Any], type[Exception], str]] = {
    "unknown name": (
        lambda g, v: g.residual_problem(["W", "bb"], values=v),
        GraphError,
        "graph 'layers': expected the name of a node, got 'bb'",
    ),
    "unknown node": (
        lambda g, v: g.residual_problem("W", "R", v),
        GraphError,
        "expected the name of a node, got 'R'",
    ),
    "twice": (
        lambda g, v: g.objective(["W", "W"], "J", v),
        GraphError,
        "wrt: expected each node once, got W, W",
    ),
    "none": (
        lambda g, v: g.residual_problem([], values=v),
        GraphError,
        "wrt: expected the names of one or more start nodes, got none",
    ),
    "computed": (
        lambda g, v: g.residual_problem("h", values=v),
        GraphError,
        "wrt 'h': expected a start node: an input, a parameter or a constant, got a computed node",
    ),
    "no number": (
        lambda g, v: g.objective("W", "r", v),
        ShapeError,
        r"objective 'r': expected a node with one entry, got shape \(5, 2\); residual_problem",
    ),
    "missing value": (
        lambda g, v: g.residual_problem("W", values={"X": v["X"], "a": 1}),
        ValuesError,
        "expected values for all start nodes that are not in wrt, got none for where, b; pass",
    ),
    "no values": (lambda g, v: g.objective("W", "J"), ValuesError, "got none for X, where, b, a"),
    "unknown value": (
        lambda g, v: g.residual_problem("W", values={**v, "w": 1}),
        ValuesError,
        "value of 'w': expected the name of a start node, got no such node; did you mean 'W'",
    ),
    "value of a computed node": (
        lambda g, v: g.residual_problem("W", values={**v, "h": 1}),
        ValuesError,
        "value of 'h': expected the name of a start node, got a computed node",
    ),
    "shape of a value": (
        lambda g, v: g.residual_problem("W", values={**v, "b": [1.0]}),
        ValuesError,
        r"value of 'b': expected shape \(4,\), got shape \(1,\)",
    ),
    "complex value": (
        lambda g, v: g.residual_problem("W", values={**v, "a": 1j}),
        ValuesError,
        "value of 'a': expected real numbers, got complex",
    ),
    "size of x": (
        lambda g, v: g.residual_problem(["W", "a"], values=v).fun(np.zeros(6)),
        ShapeError,
        r"x: expected a vector of 7 numbers \(W: 6, a: 1\), got shape \(6,\); pack",
    ),
    "shape of x": (
        lambda g, v: g.objective("b", "J", v).jac(np.zeros((4, 1))),
        ShapeError,
        r"x: expected a vector of 4 numbers \(b: 4\), got shape \(4, 1\)",
    ),
    "complex x": (
        lambda g, v: g.objective("b", "J", v).fun(np.zeros(4, complex)),
        ValuesError,
        "x: expected real numbers, got complex",
    ),
    "no x0": (
        lambda g, v: (
            g.residual_problem(["W", "b"], values={k: v[k] for k in ("X", "where", "a", "b")}).x0
        ),
        ValuesError,
        "the vector: expected values of W, b, got none for W",
    ),
    "pack: unknown": (
        lambda g, v: g.residual_problem(["W", "b"], values=v).pack({"W": 0, "B": 0}),
        ValuesError,
        "value of 'B': expected values of W, b, got one that is not in the vector; did",
    ),
    "pack: shape": (
        lambda g, v: g.residual_problem(["b"], values=v).pack({"b": 0}),
        ValuesError,
        r"value of 'b': expected shape \(4,\), got shape \(\)",
    ),
    "pack: text": (
        lambda g, v: g.residual_problem(["b"], values=v).pack({"b": "four"}),
        ValuesError,
        "value of 'b': expected real numbers",
    ),
    "time in wrt": (
        lambda g, v: g.residual_problem(["a"], values=v, time="a"),
        GraphError,
        "time 'a': expected a number that is not in wrt, got one of wrt",
    ),
    "time with a shape": (
        lambda g, v: g.residual_problem(["a"], values=v, time="b"),
        GraphError,
        r"time 'b': expected a number that is not in wrt, got shape \(4,\)",
    ),
    "computed time": (
        lambda g, v: g.residual_problem(["W"], values=v, time="J"),
        GraphError,
        "time 'J': expected a start node",
    ),
    "not a right-hand side": (
        lambda g, v: g.residual_problem("b", values=v).fun_ivp(0.0, np.zeros(4)),
        ShapeError,
        r"d\(b\)/dt: expected a right-hand side of 4 numbers, got 'r', which has 10",
    ),
    "positions that move": (
        lambda g, v: g.residual_problem(["where", "b"], values=v),
        GraphError,
        r"∂r/∂\(where, b\): expected Jacobian rules that can be traced",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_where_what_was_expected_and_what_came(
    name: str, graph: Graph, values: dict[str, Any]
) -> None:
    make, kind, says = ERRORS[name]
    with pytest.raises(kind, match=says):
        make(graph, values)
