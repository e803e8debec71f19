"""P8: a thousand tiny graphs, ``(x + y) z`` and ``σ(w₀x₀ + w₁x₁ + w₂)``, each at its own point.

Either all is done for each graph, building, compiling and one call; or the calls alone are timed.
In the second case this package calls a thousand compiled functions, and once more one function a
thousand times, as the peers do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, inf
from typing import Any

import numpy as np

import graphengine as ge
from benchmarks import contenders as by
from benchmarks.problem import HAND, ONE, REUSE, Contender, Problem
from graphengine import lecture

Point = Sequence[float]


# --- the two graphs -----------------------------------------------------------------------


def product(x: Any, y: Any, z: Any) -> Any:
    return (x + y) * z


def product_by_hand(x: float, y: float, z: float) -> tuple[float, ...]:
    total = x + y
    return total * z, z, z, total


def unit(sigmoid: Callable[[Any], Any], w0: Any, x0: Any, w1: Any, x1: Any, w2: Any) -> Any:
    return sigmoid(w0 * x0 + w1 * x1 + w2)


def unit_by_hand(w0: float, x0: float, w1: float, x1: float, w2: float) -> tuple[float, ...]:
    s = 1.0 / (1.0 + exp(-(w0 * x0 + w1 * x1 + w2)))
    slope = s * (1.0 - s)
    return s, slope * x0, slope * w0, slope * x1, slope * w1, slope


@dataclass(frozen=True)
class Tiny:
    """A graph: its names, its formula in a library's words, and its derivative by hand."""

    title: str
    names: tuple[str, ...]
    formula: Callable[[Any], Callable[..., Any]]
    by_hand: Callable[..., tuple[float, ...]]

    def graph(self) -> ge.Graph:
        graph = ge.Graph()
        graph.result("f", self.formula(ge)(*map(graph.input, self.names)))
        return graph

    def points(self, count: int) -> list[Point]:
        rng = np.random.default_rng(0)
        found: list[Point] = rng.normal(size=(count, len(self.names))).tolist()
        return found


def _sigmoid(library: Any) -> Callable[[Any], Any]:
    """Its own, where it has one."""
    own = getattr(library, "sigmoid", None)
    return own or (lambda x: 1.0 / (1.0 + library.exp(-x)))


PRODUCT = Tiny("(x + y) z", ("x", "y", "z"), lambda _: product, product_by_hand)
UNIT = Tiny(
    "σ(w₀x₀ + w₁x₁ + w₂)",
    ("w0", "x0", "w1", "x1", "w2"),
    lambda library: partial(unit, _sigmoid(library)),
    unit_by_hand,
)


def columns(results: Sequence[Sequence[Any]]) -> list[Any]:
    """The value and each gradient of all graphs."""
    rows = np.array([[float(part) for part in result] for result in results])
    return list(rows.T)


def pairs(results: Sequence[Any]) -> list[Any]:
    """The same where a result is a value and a sequence of gradients."""
    return columns([[value, *gradients] for value, gradients in results])


# --- this package -------------------------------------------------------------------------


def run(graph: ge.Graph, tiny: Tiny, point: Point) -> list[Any]:
    done = graph.run(dict(zip(tiny.names, point, strict=True)))
    return [done.value("f"), *map(done.gradient, tiny.names)]


def passes(graph: ge.Graph, tiny: Tiny, point: Point) -> list[Any]:
    dag = graph.dag
    for name, value in zip(tiny.names, point, strict=True):
        dag.nodes[name]["value"] = value
    lecture.EvaluateGraphFn(dag)
    lecture.PerformBackPass(dag)
    gradients = (dag.nodes[name]["Grad"] for name in tiny.names)
    return [dag.nodes["f"]["value"], *(grad.sum() for grad in gradients)]  # 1 × 1 each


def compiled(tiny: Tiny, points: Sequence[Point], *, build: bool, **options: bool) -> Any:
    names = list(tiny.names)
    if build:
        return lambda: [tiny.graph().compile(wrt=names, **options)(*point) for point in points]
    start = time.perf_counter()
    graphs = [tiny.graph() for _ in points]
    built = time.perf_counter()
    functions = [graph.compile(wrt=names, **options) for graph in graphs]
    done = time.perf_counter()
    each = list(zip(functions, points, strict=True))

    def call() -> Any:
        return [function(*point) for function, point in each]

    made: Any = call
    nodes = sum(map(len, graphs))
    made.facts = {"nodes": nodes, "build": built - start, "compile": done - built}
    return made


def one_function(tiny: Tiny, points: Sequence[Point]) -> Any:
    """What the peers do: one function, called at all points."""
    function = tiny.graph().compile(wrt=list(tiny.names))
    return lambda: [function(*point) for point in points]


def ours(tiny: Tiny, points: Sequence[Point], *, build: bool) -> Iterator[Contender]:
    for name, method in (("run", run), ("lecture", passes)):
        yield Contender(name, partial(_each, method, tiny, points, build=build), columns)
    for name, reuse in (("compiled", False), (REUSE, True)):
        make = partial(compiled, tiny, points, build=build, reuse=reuse)
        yield Contender(name, make, columns)
    if not build:
        yield Contender(ONE, partial(one_function, tiny, points), columns)


def _each(method: Any, tiny: Tiny, points: Sequence[Point], *, build: bool) -> Any:
    if build:
        return lambda: [method(tiny.graph(), tiny, point) for point in points]
    each = [(tiny.graph(), point) for point in points]
    return lambda: [method(graph, tiny, point) for graph, point in each]


# --- the peers ----------------------------------------------------------------------------


def with_autograd(tiny: Tiny, points: Sequence[Point], *, build: bool) -> Any:
    import autograd.numpy as anp
    from autograd import value_and_grad

    def made() -> Any:
        return value_and_grad(tiny.formula(anp), argnum=tuple(range(len(tiny.names))))

    if build:
        return lambda: [made()(*point) for point in points]
    function = made()
    return lambda: [function(*point) for point in points]


def with_jax(tiny: Tiny, points: Sequence[Point], *, build: bool) -> Any:
    """Built, it is not jitted: a thousand functions would take it minutes."""
    jax = by.jax_in_double()

    def made() -> Any:
        return jax.value_and_grad(tiny.formula(jax.nn), tuple(range(len(tiny.names))))

    if build:
        return lambda: jax.block_until_ready([made()(*point) for point in points])
    function = jax.jit(made())
    given = [list(map(jax.numpy.asarray, point)) for point in points]
    return lambda: jax.block_until_ready([function(*point) for point in given])


def with_torch(tiny: Tiny, points: Sequence[Point], *, kind: str) -> Any:
    """Eager, it builds its graph in each call; so does ``torch.func``."""
    torch = by.torch_with_threads()
    formula, count = tiny.formula(torch), len(tiny.names)
    given = [[torch.tensor(value, dtype=torch.float64) for value in point] for point in points]
    if kind == "func":
        function = torch.func.grad_and_value(formula, tuple(range(count)))
        return lambda: [function(*point)[::-1] for point in given]
    for point in given:
        for value in point:
            value.requires_grad_()
    forward = torch.compile(formula, fullgraph=True) if kind == "compile" else formula

    def one(point: Any) -> Any:
        value = forward(*point)
        return value.detach(), torch.autograd.grad(value, point)

    return lambda: [one(point) for point in given]


def with_casadi(tiny: Tiny, points: Sequence[Point], *, build: bool) -> Any:
    import casadi

    def made() -> Any:
        symbols = [casadi.SX.sym(name) for name in tiny.names]
        value = tiny.formula(casadi)(*symbols)
        outputs = [value, *(casadi.gradient(value, one) for one in symbols)]
        return casadi.Function("f", symbols, outputs)

    if build:
        return lambda: [made()(*point) for point in points]
    function, shapes = made(), [()] * len(tiny.names)
    calls = [by.on_shared_memory(function, point, shapes) for point in points]
    return lambda: [call() for call in calls]


def with_pytensor(tiny: Tiny, points: Sequence[Point], *, build: bool) -> Any:
    """Built, in Python: a thousand functions by way of C would take it minutes."""
    import pytensor
    from pytensor import tensor as pt
    from pytensor.compile.mode import Mode

    mode = Mode("py", None) if build else Mode("cvm", "fast_run")

    def made() -> Any:
        variables = [pt.dscalar(name) for name in tiny.names]
        value = tiny.formula(pt)(*variables)
        outputs = [value, *pytensor.grad(value, variables)]
        return pytensor.function(variables, outputs, mode=mode, trust_input=True)

    given = [list(map(np.asarray, point)) for point in points]
    if build:
        return lambda: [made()(*point) for point in given]
    function = made()
    return lambda: [function(*point) for point in given]


def peers(tiny: Tiny, points: Sequence[Point], *, build: bool) -> Iterator[Contender]:
    make = partial(with_autograd, tiny, points, build=build)
    yield Contender("autograd", make, pairs, ("autograd",))
    yield Contender("JAX", partial(with_jax, tiny, points, build=build), pairs, ("jax",))
    for name, kind in (("torch", "eager"), ("torch.func", "func"), ("torch.compile", "compile")):
        if not (build and kind == "compile"):
            yield Contender(name, partial(with_torch, tiny, points, kind=kind), pairs, ("torch",))
    make = partial(with_casadi, tiny, points, build=build)
    yield Contender("CasADi", make, columns, ("casadi",))
    make = partial(with_pytensor, tiny, points, build=build)
    yield Contender("pytensor", make, columns, ("pytensor",))


# --- the problem --------------------------------------------------------------------------


def problem(tiny: Tiny, count: int = 1_000, *, build: bool) -> Problem:
    points = tiny.points(count)
    by_hand = tiny.by_hand

    def hand() -> Any:
        return lambda: [by_hand(*point) for point in points]

    return Problem(
        "P8",
        f"{tiny.title}, {'build and differentiate' if build else 'call only'}",
        lambda: columns([by_hand(*point) for point in points]),
        [
            Contender(HAND, hand, columns),
            *ours(tiny, points, build=build),
            *peers(tiny, points, build=build),
        ],
        target=inf if build else 1.5,
    )


def problems() -> Iterator[Problem]:
    for tiny in (PRODUCT, UNIT):
        for build in (True, False):
            yield problem(tiny, build=build)


def small() -> Iterator[Problem]:
    for tiny in (PRODUCT, UNIT):
        for build in (True, False):
            yield problem(tiny, 3, build=build)
