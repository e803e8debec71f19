"""Infinities and numbers that are none, in compiled functions as in the graph's own run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.graph import Graph, Node
from graphengine.jacobian import Rule, term
from graphengine.ops.base import Example, Op

from .programs import Array, by_run, close, several

each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])
INF = math.inf


def as_in_a_run(g: Graph, values: dict[str, Any], wrt: list[str], *, reuse: bool) -> None:
    f = g.compile(wrt=wrt, reuse=reuse)
    want = by_run(g, values, wrt)
    for _ in range(2):  # no warnings either: they are errors in tests
        found = several(f(**{name: values[name] for name in f.inputs}))
        for what, got, one in zip(["value", *wrt], found, want, strict=True):
            close(got, one, what)


Formula = Callable[..., Node]

FORMULAS: dict[str, Formula] = {
    "log(x)": lambda x, y: ge.log(x),
    "y / x": lambda x, y: y / x,
    "1 / x": lambda x, y: 1 / x,
    "sqrt(x)": lambda x, y: ge.sqrt(x),
    "x**0.5": lambda x, y: x**0.5,
    "x**-2": lambda x, y: x**-2,
    "x**y": lambda x, y: x**y,
    "exp(1000 x)": lambda x, y: ge.exp(1000 * x),
    "x**400": lambda x, y: (x + 1) ** 400 * (x + 10) ** 300,
    "x log x": lambda x, y: x * ge.log(x),
    "xlogy": ge.xlogy,
    "log1p(-x)": lambda x, y: ge.log1p(-x),
    "arctanh": lambda x, y: ge.log((1 + x) / (1 - x)),
    "norm": lambda x, y: ge.norm(x) * y,
    "log of a product": lambda x, y: ge.log(x * y),
    "where(x > 0, log(x), 0)": lambda x, y: ge.where(x > 0, ge.log(x), 0.0),
    "where(x > 0, y / x, y)": lambda x, y: ge.where(x > 0, y / x, y),
    "where(x > 0, sqrt(x), 0)": lambda x, y: ge.where(x > 0, ge.sqrt(x), 0.0),
    "where(x != 0, sin(x) / x, 1)": lambda x, y: ge.where(x != 0, ge.sin(x) / x, 1.0),
    "where(x < 1, 1 / (1 - x), y)": lambda x, y: ge.where(x < 1, 1 / (1 - x), y),
    "where(x > 0, x**-0.5, 0)": lambda x, y: ge.where(x > 0, x**-0.5, 0.0),
    "where(y > 0, y, exp(1000 x))": lambda x, y: ge.where(y > 0, y, ge.exp(1000 * x)),
    "where twice": lambda x, y: ge.where(x > 0, ge.log(ge.where(x > 0, x, 1.0)), y),
    "0 * log(x)": lambda x, y: 0.0 * ge.log(x),
    "sqrt of zero squared": lambda x, y: ge.sqrt(x * x) * 0.0 + y,
    "max(x, y) / x": lambda x, y: ge.maximum(x, y) / x,
    "relu(x) log": lambda x, y: ge.relu(x) * ge.log(ge.abs(x)),
    "abs(x)**0.5": lambda x, y: ge.abs(x) ** 0.5,
    "softmax": lambda x, y: ge.log(ge.softmax(1000 * x)) if x.ndim else ge.log(x * 0.0),
    "logsumexp": lambda x, y: ge.logsumexp(1000 * x) if x.ndim else ge.exp(1000 * x),
    "tan, cosh": lambda x, y: ge.cosh(1000 * x) * ge.sin(y),
}

POINTS = [-1.0, 0.0, -0.0, 1.0, 2.0]


@each_kind
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_of_arrays(name: str, reuse: bool) -> None:
    """Weights of the entries are computed from a third array, and one of them is zero."""
    g = ge.Graph("formulas")
    pairs = list(itertools.product(POINTS, [1.0, 0.0, -2.0]))
    x, y, w = (g.input(letter, (len(pairs),)) for letter in "xyw")
    g.result("J", ge.sum(ge.where(w > 0, FORMULAS[name](x, y) * w, 0.0)))
    xs, ys = (np.array(one) for one in zip(*pairs, strict=True))
    for weights in (np.ones(len(pairs)), np.zeros(len(pairs)), np.arange(len(pairs)) % 2.0):
        as_in_a_run(g, {"x": xs, "y": ys, "w": weights}, ["x", "y"], reuse=reuse)


@each_kind
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_of_each_entry(name: str, reuse: bool) -> None:
    """One point after the other, in arrays of two equal entries."""
    g = ge.Graph("formulas")
    x, y = g.input("x", (2,)), g.input("y", (2,))
    g.result("J", ge.sum(FORMULAS[name](x, y) * np.array([0.0, 2.0])))
    for one, other in itertools.product(POINTS, [1.0, 0.0, -2.0]):
        as_in_a_run(g, {"x": np.full(2, one), "y": np.full(2, other)}, ["x", "y"], reuse=reuse)


@each_kind
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_at_infinity(name: str, reuse: bool) -> None:
    g = ge.Graph("formulas")
    x, y = g.input("x", (2,)), g.input("y", (2,))
    g.result("J", ge.sum(FORMULAS[name](x, y) * np.array([0.0, 2.0])))
    for one, other in itertools.product([INF, -INF], [1.0, 0.0, INF]):
        as_in_a_run(g, {"x": np.full(2, one), "y": np.full(2, other)}, ["x", "y"], reuse=reuse)


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_of_numbers(name: str) -> None:
    """There are no buffers to reuse."""
    g = ge.Graph("formulas")
    x, y, w = g.input("x"), g.input("y"), g.input("w")
    g.result("J", FORMULAS[name](x, y) * w)
    for one, other, weight in itertools.product(POINTS, [1.0, 0.0, -2.0], [0.0, 2.0]):
        as_in_a_run(g, {"x": one, "y": other, "w": weight}, ["x", "y"], reuse=False)


@pytest.mark.parametrize("loud", [False, True], ids=["silent", "loud"])
@pytest.mark.parametrize("name", ["1 / x", "y / x", "exp(1000 x)", "arctanh"])
def test_numbers_of_numpy_as_those_of_python(name: str, loud: bool) -> None:
    """Where NumPy's numbers become infinite, whether it then says nothing or raises its warning."""
    g = ge.Graph("formulas")
    x, y, w = g.input("x"), g.input("y"), g.input("w")
    g.result("J", FORMULAS[name](x, y) * w)
    f = g.compile(wrt=["x", "y"])
    for numbers in itertools.product([1.0, 0.0], [1.0, 0.0], [0.0, 2.0]):
        given = {name: one for name, one in zip("xyw", numbers, strict=True) if name in f.inputs}
        with np.errstate(all="warn" if loud else "ignore"):  # warnings are errors in tests
            found = f(**{name: np.float64(one) for name, one in given.items()})
        for got, want in zip(found, f(**given), strict=True):
            close(got, np.asarray(want))


@each_kind
def test_sums_of_infinities(reuse: bool) -> None:
    g = ge.Graph("sums")
    x = g.input("x", (3,))
    g.result("J", ge.sum(ge.log(x)) - ge.sum(1 / x))
    for values in ([0.0, 1.0, INF], [0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]):
        as_in_a_run(g, {"x": np.array(values)}, ["x"], reuse=reuse)


@each_kind
def test_products_with_infinities(reuse: bool) -> None:
    """In a matrix product zero times infinity is zero as well, where it stands in a gradient."""
    g = ge.Graph("products")
    x, W = g.input("x", (3,)), g.parameter("W", (2, 3))
    g.result("J", ge.sum(ge.where(W @ ge.log(x) > -100, W @ ge.log(x), 0.0)))
    W_value = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    for values in ([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [1.0, 0.0, 2.0]):
        as_in_a_run(g, {"x": np.array(values), "W": W_value}, ["x", "W"], reuse=reuse)


@each_kind
def test_cross_entropy_of_a_certain_prediction(reuse: bool) -> None:
    """−Σ y log p, where p is zero and y is zero as well, and where it is not."""
    g = ge.Graph("cross-entropy")
    p, y = g.input("p", (3,)), g.input("y", (3,))
    g.result("J", -ge.sum(ge.xlogy(y, p)))
    for one in ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.2, 0.8, 0.0]):
        values = {"p": np.array([0.0, 1.0, 0.0]), "y": np.array(one)}
        as_in_a_run(g, values, ["p"], reuse=reuse)


@each_kind
def test_infinite_constants(reuse: bool) -> None:
    g = ge.Graph("constants")
    x = g.input("x", (3,))
    g.result("J", ge.sum(ge.minimum(x, np.array([INF, 1.0, -INF])) * np.array([0.0, 1.0, 0.0])))
    as_in_a_run(g, {"x": np.array([1.0, 0.5, 2.0])}, ["x"], reuse=reuse)
    h = ge.Graph("masks")
    s = h.input("s", (2, 2))
    h.result("J", ge.sum(ge.softmax(s + np.array([[0.0, -INF], [0.0, 0.0]]))[:, 0]))
    as_in_a_run(h, {"s": np.array([[1.0, 2.0], [3.0, 4.0]])}, ["s"], reuse=reuse)


class Log2(Op):
    """The logarithm to base 2: somebody's own op, of a ufunc that the library does not use."""

    name = "log_2"

    def shape(self, x: Any) -> Any:
        return x

    def forward(self, x: Array) -> Array:
        return np.log2(x)

    def d_x(self, out: Array, x: Array) -> Rule:
        return term("... <- ...", (np.cos(x), "...", "slope"))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        yield cls(), (np.ones(2),)


WARNING: dict[str, Formula] = {
    "exp(x − max(y))": lambda x, y: ge.exp(x - ge.max(y)),
    "exp(min(x, y))": lambda x, y: ge.exp(ge.minimum(x, y)),
    "sinh(x)": lambda x, y: ge.sinh(x),
    "log2": lambda x, y: Log2()(y),
    "(1e200 x)²": lambda x, y: (1e200 * x) * (1e200 * x),
    "softmax(x)": lambda x, y: ge.softmax(x),
    "sigmoid(x)": lambda x, y: ge.sigmoid(x) + ge.sigmoid(-x),
    "logsumexp(x)": lambda x, y: ge.logsumexp(x) * y,
    "log softmax(x)": lambda x, y: ge.where(y > 0, 0.0, ge.log(ge.softmax(x))),
}


@each_kind
@pytest.mark.parametrize("name", WARNING)
def test_large_numbers_give_no_warnings(name: str, reuse: bool) -> None:
    g = ge.Graph("large numbers")
    x, y = g.input("x", (3,)), g.input("y", (3,))
    g.result("J", ge.sum(WARNING[name](x, y)))
    for x_value in ([1000.0, 1.0, -1.0], [1e5, 1e5, 1e5], [-1000.0, 0.0, 1000.0]):
        for y_value in ([0.0, 1.0, 2.0], [2e3, 2e3, 2e3]):
            values = {"x": np.array(x_value), "y": np.array(y_value)}
            as_in_a_run(g, values, ["x"], reuse=reuse)
