"""Contenders that many problems have: this package, and the libraries that differentiate.

A problem gives its formula in each library's own words, and its values as a mapping whose first
entries are those that are differentiated by.  A call that is timed converts nothing: each library
holds the values in its own form.  All give the value and the gradients.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

import graphengine as ge
from benchmarks.problem import REUSE, Contender, LeftOut
from graphengine import lecture

Array = Any
Values = Mapping[str, Array]
Formula = Callable[..., Any]


def threads() -> int:
    """How many threads this run may have."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def one_thread() -> bool:
    """Whether code by hand may call SciPy's BLAS beside NumPy's.

    With several threads each brings its own, and those of one spin while the other computes.
    """
    return threads() == 1


def left_out(contender: Contender, why: str) -> Contender:
    """The contender at a size where it is not measured, for a reason that was."""

    def make() -> Any:
        raise LeftOut(why)

    return Contender(contender.name, make, contender.read, contender.needs)


# --- this package -------------------------------------------------------------------------


def ours(
    build: Callable[[], ge.Graph], values: Values, wrt: Sequence[str], *, fused: bool = False
) -> Iterator[Contender]:
    """The graph run, compiled, and by the lecture's passes; ``fused``: in compiled loops, too."""
    yield Contender("run", partial(_run, build, values, wrt))
    yield Contender("compiled", partial(_compiled, build, values, wrt))
    yield Contender(REUSE, partial(_compiled, build, values, wrt, reuse=True))
    if fused:
        make = partial(_compiled, build, values, wrt, reuse=True, fused=True)
        yield Contender("compiled, fused", make, needs=("numba",))
    yield Contender("lecture", partial(_lecture, build, values, wrt))


def _run(build: Callable[[], ge.Graph], values: Values, wrt: Sequence[str]) -> Any:
    graph = build()
    result = graph.result_node.name

    def call() -> list[Array]:
        run = graph.run(values)
        return [run.value(result), *(run.gradient(name) for name in wrt)]

    return call


def _compiled(
    build: Callable[[], ge.Graph], values: Values, wrt: Sequence[str], **options: bool
) -> Any:
    start = time.perf_counter()
    graph = build()
    built = time.perf_counter()
    function = graph.compile(wrt=list(wrt), **options)
    compiled = time.perf_counter()
    args = [values[node.name] for node in graph.starts if node.value is None]
    call: Any = partial(function, *args)
    call.facts = {"nodes": len(graph), "build": built - start, "compile": compiled - built}
    return call


def _lecture(build: Callable[[], ge.Graph], values: Values, wrt: Sequence[str]) -> Any:
    graph = build()
    dag, result = graph.dag, graph.result_node.name
    for name, value in values.items():
        dag.nodes[name]["value"] = value
    shapes = [np.shape(values[name]) for name in wrt]

    def call() -> list[Array]:
        lecture.EvaluateGraphFn(dag)
        lecture.PerformBackPass(dag)
        gradients = [dag.nodes[name]["Grad"] for name in wrt]
        rows = [grad.toarray() if hasattr(grad, "toarray") else grad for grad in gradients]
        found = [np.reshape(row, shape) for row, shape in zip(rows, shapes, strict=True)]
        return [np.reshape(dag.nodes[result]["value"], ()), *found]

    return call


# --- the peers ----------------------------------------------------------------------------


def _flat(result: tuple[Any, Sequence[Any]]) -> list[Array]:
    value, gradients = result
    return [np.asarray(part) for part in (value, *gradients)]


def autograd(formula: Formula, values: Values, count: int, name: str = "autograd") -> Contender:
    """``formula(numpy, *values)`` by tracing at each call."""

    def make() -> Any:
        import autograd.numpy as anp
        from autograd import value_and_grad

        function = value_and_grad(partial(formula, anp), argnum=tuple(range(count)))
        return partial(function, *values.values())

    return Contender(name, make, _flat, ("autograd",))


def jax(formula: Formula, values: Values, count: int, name: str = "JAX") -> Contender:
    """``formula(jax.numpy, *values)``, jitted."""

    def make() -> Any:
        jax = jax_in_double()
        function = jax.jit(jax.value_and_grad(partial(formula, jax.numpy), tuple(range(count))))
        args = [jax.numpy.asarray(value) for value in values.values()]
        return lambda: jax.block_until_ready(function(*args))

    return Contender(name, make, _flat, ("jax",))


def jax_in_double() -> Any:
    """The module; it computes in single precision unless told."""
    import jax

    jax.config.update("jax_enable_x64", val=True)
    return jax


def torch(formula: Formula, values: Values, count: int) -> Iterator[Contender]:
    """``formula(torch, *values)``: eager, by ``torch.func``, and compiled."""
    yield Contender("torch", partial(_torch_eager, formula, values, count), _flat, ("torch",))
    yield Contender("torch.func", partial(_torch_func, formula, values, count), _flat, ("torch",))
    make = partial(_torch_compiled, formula, values, count)
    yield Contender("torch.compile", make, _flat, ("torch",))


def torch_with_threads() -> Any:
    """The module, with the threads of this run."""
    import torch

    torch.set_num_threads(threads())
    return torch


def _tensors(module: Any, values: Values) -> list[Any]:
    return [module.tensor(value, dtype=module.float64) for value in values.values()]


def _torch_eager(formula: Formula, values: Values, count: int, *, compiled: bool = False) -> Any:
    module = torch_with_threads()
    args = _tensors(module, values)
    wrt = [arg.requires_grad_() for arg in args[:count]]
    forward = partial(formula, module)
    if compiled:
        forward = module.compile(forward, fullgraph=True, dynamic=False)

    def call() -> Any:
        value = forward(*args)
        return value.detach(), module.autograd.grad(value, wrt)

    return call


def _torch_func(formula: Formula, values: Values, count: int) -> Any:
    module = torch_with_threads()
    function = module.func.grad_and_value(partial(formula, module), tuple(range(count)))
    args = _tensors(module, values)

    def call() -> Any:
        gradients, value = function(*args)
        return value, gradients

    return call


def _torch_compiled(formula: Formula, values: Values, count: int) -> Any:
    return _torch_eager(formula, values, count, compiled=True)


def pytensor(formula: Formula, values: Values, count: int) -> Iterator[Contender]:
    """``formula(pytensor.tensor, *variables)``, by way of C and of numba."""
    for name, linker in (("pytensor", "cvm"), ("pytensor, numba", "numba")):
        make = partial(_pytensor, formula, values, count, linker)
        yield Contender(name, make, needs=("pytensor", "numba")[: 1 + (linker == "numba")])


def _pytensor(formula: Formula, values: Values, count: int, linker: str) -> Any:
    import pytensor
    from pytensor import tensor as pt
    from pytensor.compile.mode import Mode, get_mode

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 200_000))  # it walks graphs by recursion
    given = [np.asarray(value, dtype=float) for value in values.values()]
    variables = [pt.tensor(one, shape=np.shape(values[one])) for one in values]
    value = formula(pt, *variables)
    gradients = pytensor.grad(value, variables[:count])
    inputs = [pytensor.In(one, borrow=True) for one in variables]
    outputs = [pytensor.Out(one, borrow=True) for one in (value, *gradients)]
    mode = get_mode("NUMBA") if linker == "numba" else Mode(linker, "fast_run")
    function = pytensor.function(inputs, outputs, mode=mode, trust_input=True)
    return partial(function, *given)


def casadi(
    formula: Formula, values: Values, count: int, *, kind: str = "MX", **options: Any
) -> Contender:
    """``formula(casadi, *symbols)``, run on memory that it shares with NumPy.

    CasADi stores columns: a matrix is given as its transpose's memory, and read so.  A vector is a
    column.  ``kind`` "SX" is for scalar expressions, and ``options`` are those of its functions.
    """
    name = "CasADi, gcc" if options.get("jit") else "CasADi"

    def make() -> Any:
        import casadi

        sizes = {one: np.shape(value) for one, value in values.items()}
        symbol = getattr(casadi, kind).sym
        symbols = [symbol(one, *(shape or (1,))) for one, shape in sizes.items()]
        value = formula(casadi, *symbols)
        gradients = [casadi.gradient(value, one) for one in symbols[:count]]
        function = casadi.Function("f", symbols, [value, *gradients], options)
        return on_shared_memory(function, list(values.values()), list(sizes.values())[:count])

    return Contender(name, make, needs=("casadi",))


GCC = {
    "jit": True,
    "compiler": "shell",
    "jit_options": {"flags": ["-O2", "-march=native"], "compiler": "gcc"},
}
"""CasADi's options for functions by way of C."""


def on_shared_memory(function: Any, given: Sequence[Array], shapes: Sequence[Any]) -> Any:
    """A call without conversions: CasADi reads and writes NumPy's memory."""
    buffer, trigger = function.buffer()
    held = [np.asfortranarray(value, dtype=float).ravel(order="F") for value in given]
    for place, value in enumerate(held):
        buffer.set_arg(place, memoryview(value))
    filled = [np.zeros(1), *(np.zeros(int(np.prod(shape))) for shape in shapes)]
    for place, part in enumerate(filled):
        buffer.set_res(place, memoryview(part))
    results = [filled[0].reshape(())]
    for part, shape in zip(filled[1:], shapes, strict=True):
        results.append(part.reshape(shape, order="F"))

    def call(_kept: Any = (held, filled, buffer)) -> Any:
        trigger()
        return results

    return call
