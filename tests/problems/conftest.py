"""A residual with parameters of several shapes, and its reference: the graph's own run."""

from __future__ import annotations

from typing import Any

import pytest

import graphengine as ge
from graphengine.graph import Graph

from .reference import numbers


@pytest.fixture
def graph() -> Graph:
    """A residual of a matrix, a vector and a number, with data and a table of positions."""
    g = ge.Graph("layers")
    X, where = g.input("X", (5, 3)), g.input("where", (5,))
    W, b, a = g.parameter("W", (2, 3)), g.parameter("b", (4,)), g.parameter("a")
    h = g.node("h", ge.tanh(X @ W.T) * a)
    r = g.result("r", h + ge.take(b, where)[:, None])
    g.node("J", ge.sum(r**2) + 0.1 * ge.sum(W**2))
    g.node("unused", ge.inv(g.input("K", (2, 2))))
    return g


@pytest.fixture
def values() -> dict[str, Any]:
    return {
        "X": numbers(0, 5, 3),
        "where": [0, 3, 3, 1, 0],
        "W": numbers(1, 2, 3),
        "b": numbers(2, 4),
        "a": 1.5,
    }
