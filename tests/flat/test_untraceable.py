"""Somebody's own ops that look at numbers: compiled functions call them, and give the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import graphengine as ge
from graphengine.errors import GraphEngineError, GraphError
from graphengine.graph import Graph
from graphengine.jacobian import Rule, term
from graphengine.ops.base import Example, Op

from .programs import Array, by_lecture, by_run, close, several

each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])


class Own(Op):
    """Somebody's own op of one argument, entry by entry."""

    def shape(self, x: Any) -> Any:
        return x

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        yield cls(), (rng.normal(size=3),)


class Branching(Own):
    """The square of ``x`` where the sum is positive, else its sine: the value decides."""

    name = "branching"

    def forward(self, x: Array) -> Array:
        return x * x if x.sum() > 0 else np.sin(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        slope = 2 * x if x.sum() > 0 else np.cos(x)
        return term("... <- ...", (slope, "...", "slope"))


class Looping(Own):
    """A cube, filled in place entry by entry."""

    name = "looping"

    def forward(self, x: Array) -> Array:
        found = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            found[place] = x[place] ** 3
        return found

    def d_x(self, out: Array, x: Array) -> Any:
        matrix = np.zeros((x.size, x.size))
        for k, entry in enumerate(np.ravel(x)):
            matrix[k, k] = 3 * entry**2
        return matrix


class InPlace(Own):
    """Twice ``x``, by changing a copy."""

    name = "in_place"

    def forward(self, x: Array) -> Array:
        found = x.copy()
        found += x
        return found

    def d_x(self, out: Array, x: Array) -> Rule:
        return 2.0 * term("... <- ...")


class Library(Own):
    """What NumPy knows and tracing does not: sorted entries, a matrix exponential's diagonal."""

    name = "library"

    def forward(self, x: Array) -> Array:
        return np.exp(np.sort(x)) + np.linalg.norm(np.zeros(1)) + np.std(np.ones(3))

    def d_x(self, out: Array, x: Array) -> Any:
        matrix = np.zeros((x.size, x.size))
        order = np.argsort(x)
        matrix[np.arange(x.size), order] = np.exp(x[order])
        return matrix


class OfEntries(Own):
    """Python's own functions, entry by entry."""

    name = "of_entries"

    def forward(self, x: Array) -> Array:
        return np.array([math.atan(float(one)) for one in x.flat]).reshape(x.shape)

    def d_x(self, out: Array, x: Array) -> Rule:
        slope = np.vectorize(lambda one: 1 / (1 + one * one))(x)
        return term("... <- ...", (slope, "...", "slope"))


class ForwardAlone(Own):
    """The value can be traced, the rule cannot."""

    name = "forward_alone"

    def forward(self, x: Array) -> Array:
        return np.abs(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        assert isinstance(x, np.ndarray)
        return term("... <- ...", (np.array([1.0 if one > 0 else -1.0 for one in x]), "...", "s"))


class RuleAlone(Own):
    """The rule can be traced, the value cannot."""

    name = "rule_alone"

    def forward(self, x: Array) -> Array:
        return scipy.linalg.expm(np.diag(x)).diagonal().copy()

    def d_x(self, out: Array, x: Array) -> Rule:
        return term("... <- ...", out="...")


class AnArgument(Op):
    """``scale`` times ``x``, where a condition on the first decides the sign of the second."""

    name = "an_argument"
    fixed = frozenset({"sign"})
    scale: float = 1.0

    def shape(self, x: Any, sign: Any) -> Any:
        return x

    def forward(self, x: Array, sign: Array) -> Array:
        return self.scale * x if float(sign) > 0 else -self.scale * x

    def d_x(self, out: Array, x: Array, sign: Array) -> Rule:
        return (self.scale if float(sign) > 0 else -self.scale) * term("... <- ...")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        yield cls(), (rng.normal(size=3), np.array(1.0))


OWN = [Branching, Looping, InPlace, Library, OfEntries, ForwardAlone, RuleAlone]


def between(op: Op) -> tuple[Graph, dict[str, Array]]:
    """The op between two others, used twice."""
    g = ge.Graph(op.name)
    x, w = g.input("x", (3,)), g.parameter("w", (3,))
    inside = g.node("inside", op(ge.tanh(x * w)))
    g.result("J", ge.sum(inside * w) + ge.sum(op(inside + x)) / 3)
    return g, {"x": np.array([0.3, -1.2, 0.8]), "w": np.array([1.5, 0.4, -0.7])}


@each_kind
@pytest.mark.parametrize("own", OWN)
def test_the_same_numbers(own: type[Op], reuse: bool) -> None:
    g, values = between(own())
    f = g.compile(wrt=["x", "w"], reuse=reuse)
    for sign in (1.0, -1.0):
        moved = {name: sign * value for name, value in values.items()}
        want, lectured = by_run(g, moved, ["x", "w"]), by_lecture(g, moved, ["x", "w"])
        for _ in range(2):
            for got, one, other in zip(several(f(**moved)), want, lectured, strict=True):
                close(got, one)
                close(got, other)


@each_kind
@pytest.mark.parametrize("own", OWN)
def test_the_rest_of_the_program_is_flat(own: type[Op], reuse: bool) -> None:
    """Only what cannot be traced is called: the tanh before it stands in the text."""
    g, _ = between(own())
    assert "np.tanh(" in str(g.compile(wrt="w", reuse=reuse).source)


@each_kind
def test_parameters_and_fixed_arguments(reuse: bool) -> None:
    g = ge.Graph("two kinds")
    x, sign = g.input("x", (2,)), g.input("sign")
    one, two = AnArgument(scale=2.0)(x, sign), AnArgument(scale=3.0)(x, -sign)
    g.result("J", ge.sum(one * two) + ge.sum(one))
    f = g.compile(wrt=["x", "sign"], reuse=reuse)
    for given in ({"x": [1.0, -2.0], "sign": 1.0}, {"x": [1.0, -2.0], "sign": -1.0}):
        for got, want in zip(f(**given), by_run(g, given, ["x", "sign"]), strict=True):
            close(got, want)


@each_kind
def test_ops_of_numbers(reuse: bool) -> None:
    """An op that looks at numbers, in a graph of numbers alone."""
    g = ge.Graph("numbers")
    x = g.input("x")
    g.result("J", 2.0 * Branching()(x * x - 1.0) + x)
    f = g.compile(wrt="x", reuse=reuse)
    for x_value in (0.5, 3.0):
        for got, want in zip(f(x_value), by_run(g, {"x": x_value}, ["x"]), strict=True):
            close(got, want)


@each_kind
def test_fresh_results_of_such_ops(reuse: bool) -> None:
    g, values = between(Branching())
    f = g.compile(wrt=["x"], outputs=["inside"], reuse=reuse)
    kept = {name: value.copy() for name, value in values.items()}
    inside, grad = f(**values)
    again = f(**values)
    assert not any(
        np.shares_memory(one, value) for one in (inside, grad) for value in kept.values()
    )
    if not reuse:
        assert not np.shares_memory(inside, again[0])
        inside[...] = grad[...] = np.nan
    for got, want in zip(f(**values), again, strict=True):
        assert np.array_equal(got, want)
    assert all(np.array_equal(values[name], value) for name, value in kept.items())


class PassesOn(Own):
    """The argument itself, after a look at it."""

    name = "passes_on"

    def forward(self, x: Array) -> Array:
        return x if x.sum() > 0 else x[::-1][::-1]

    def d_x(self, out: Array, x: Array) -> Rule:
        assert bool(x.sum() > -1e9)
        return term("... <- ...")


@each_kind
def test_an_op_that_returns_its_argument(reuse: bool) -> None:
    """What is returned is not the input's own memory."""
    g = ge.Graph("passes on")
    x = g.input("x", (3,))
    out = g.node("out", PassesOn()(x))
    g.result("J", ge.sum(out))
    f = g.compile(wrt=["x", "out"], outputs=["out", "J"], reuse=reuse)
    values = np.array([1.0, 2.0, 3.0])
    out_value, J, grad_x, grad_out = f(values)
    assert np.array_equal(out_value, values)
    assert J == 6.0
    assert np.array_equal(grad_x, np.ones(3))
    assert not np.shares_memory(out_value, values)
    assert reuse or not np.shares_memory(grad_x, grad_out)


class Failing(Own):
    """Refuses negative entries with an error of its own."""

    name = "failing"

    def forward(self, x: Array) -> Array:
        if np.any(x < 0):
            raise GraphError("failing", expected="entries that are not negative", got="others")
        return np.sqrt(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        return term("... <- ...", (0.5 / out, "...", "slope"))


@each_kind
def test_errors_of_an_op_come_out(reuse: bool) -> None:
    g = ge.Graph("failing")
    x = g.input("x", (2,))
    g.result("J", ge.sum(Failing()(x)))
    f = g.compile(wrt="x", reuse=reuse)
    close(f([4.0, 1.0])[1], np.array([0.25, 0.5]))
    with pytest.raises(GraphEngineError, match="not negative"):
        f([4.0, -1.0])
    close(f([4.0, 1.0])[1], np.array([0.25, 0.5]))
