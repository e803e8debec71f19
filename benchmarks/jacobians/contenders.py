"""Contenders for Jacobians that many problems have: this package, and the libraries' own ways.

A problem gives its function once, in words that NumPy, autograd, JAX and torch share (the module is
the first argument), and what CasADi and sparsediffpy need in theirs.  A call that is timed
converts nothing: each library holds the values in its own form, and results are read afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

import graphengine as ge
from benchmarks.contenders import torch_with_threads
from benchmarks.jacobians.patterns import Shape, as_matrix, at_most_matrix, by_column, parted
from benchmarks.problem import REUSE, Contender
from graphengine import lecture

Array = Any
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Task:
    """``∂function/∂wrt`` at the values, as a graph and as a function of arrays."""

    build: Callable[[], ge.Graph]
    function: Callable[..., Any]
    """``function(module, *values)``, in the order of ``values``, is the graph's result."""
    values: Values
    wrt: Sequence[str]

    @property
    def places(self) -> tuple[int, ...]:
        """Where ``wrt`` stand among the values."""
        return tuple(list(self.values).index(name) for name in self.wrt)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of ``wrt``."""
        return [np.shape(self.values[name]) for name in self.wrt]

    def value(self) -> Array:
        """The function's value, by NumPy."""
        return self.function(np, *self.values.values())

    def flat(self, module: Any) -> Callable[[Any], Any]:
        """The function of one vector, all ``wrt`` one after another, with a vector as value."""
        ends = np.cumsum([0, *map(math.prod, self.shapes)]).tolist()
        fixed = {
            name: module.asarray(value)
            for name, value in self.values.items()
            if name not in self.wrt
        }

        def function(x: Any) -> Any:
            parts = zip(self.wrt, ends[:-1], ends[1:], self.shapes, strict=True)
            given = {name: x[low:high].reshape(shape) for name, low, high, shape in parts}
            args = [given[name] if name in given else fixed[name] for name in self.values]
            return self.function(module, *args).reshape(-1)

        return function

    def vector(self) -> Array:
        """All ``wrt``, one after another."""
        return np.concatenate([np.ravel(self.values[name]) for name in self.wrt])


# --- this package -------------------------------------------------------------------------


def ours(task: Task, *, fused: bool = False, by_lecture: bool = True) -> Iterator[Contender]:
    """The graph run, compiled, and by the lecture's passes; ``fused``: in compiled loops, too."""
    yield Contender("run", partial(_run, task))
    yield Contender("compiled", partial(compiled, task))
    yield Contender(REUSE, partial(compiled, task, reuse=True))
    if fused:
        make = partial(compiled, task, reuse=True, fused=True)
        yield Contender("compiled, fused", make, needs=("numba",))
    if by_lecture:
        yield Contender("lecture", partial(_lecture, task))


def _run(task: Task) -> Any:
    graph = task.build()
    of = graph.result_node.name

    def call() -> list[Any]:
        run = graph.run(task.values)
        return [run.jacobian(of, name) for name in task.wrt]

    return call


def compiled(task: Task, **options: Any) -> Any:
    start = time.perf_counter()
    graph = task.build()
    built = time.perf_counter()
    function = graph.compile_jacobian(graph.result_node.name, list(task.wrt), **options)
    compiled = time.perf_counter()
    call: Any = partial(function, **task.values)
    call.facts = {
        "nodes": len(graph),
        "build": built - start,
        "compile": compiled - built,
        "multiplications": function.plan.multiplications,
        "forward": function.plan.forward,
        "reverse": function.plan.reverse,
    }
    return call


def _lecture(task: Task) -> Any:
    dag = task.build().dag
    for name, value in task.values.items():
        dag.nodes[name]["value"] = value

    def call() -> list[Any]:
        lecture.EvaluateGraphFn(dag)
        lecture.PerformBackPass(dag)
        return [dag.nodes[name]["Grad"] for name in task.wrt]

    return call


# --- dense Jacobians ----------------------------------------------------------------------


def autograd(task: Task) -> Contender:
    """Row by row, tracing at each call."""

    def make() -> Any:
        import autograd.numpy as anp
        from autograd import jacobian

        function = partial(task.function, anp)
        given = list(task.values.values())
        each = [partial(jacobian(function, place), *given) for place in task.places]
        return lambda: [part() for part in each]

    return Contender("autograd", make, partial(_matrices, task), ("autograd",))


def jax_in_double() -> Any:
    """The module, in double precision."""
    import jax

    jax.config.update("jax_enable_x64", val=True)
    return jax


def jax(task: Task, mode: str, name: str = "JAX") -> Contender:
    """``jacrev`` or ``jacfwd`` (``mode``), jitted."""

    def make() -> Any:
        module = jax_in_double()
        function = partial(task.function, module.numpy)
        jitted = module.jit(getattr(module, mode)(function, task.places))
        args = [module.numpy.asarray(value) for value in task.values.values()]
        return lambda: module.block_until_ready(jitted(*args))

    return Contender(name, make, partial(_matrices, task), ("jax",))


def torch_func(task: Task, mode: str) -> Contender:
    """``torch.func.jacrev`` or ``jacfwd`` (``mode``)."""

    def make() -> Any:
        module = torch_with_threads()
        function = partial(task.function, module)
        found = getattr(module.func, mode)(function, task.places)
        args = [module.asarray(value) for value in task.values.values()]
        return lambda: found(*args)

    return Contender("torch.func", make, partial(_matrices, task), ("torch",))


def _as_given(*args: Any) -> Sequence[Any]:
    return args


@dataclass(frozen=True)
class Mapped:
    """A function of one example, to be mapped over the examples of a batch."""

    function: Callable[..., Any]
    """``function(module, *args)``."""
    args: Sequence[Array]
    axes: Sequence[int | None]
    """Along which axis of each argument the examples lie."""
    wrt: tuple[int, ...]
    read: Callable[[Any], Sequence[Any]]
    gathered: Callable[..., Sequence[Any]] = _as_given
    """What the examples are made of, from ``args``, within what is timed."""


def jax_mapped(one: Mapped, mode: str, name: str = "JAX") -> Contender:
    """``vmap`` of ``jacrev`` or ``jacfwd`` (``mode``), jitted."""

    def make() -> Any:
        module = jax_in_double()
        jacobian = getattr(module, mode)(partial(one.function, module.numpy), one.wrt)
        mapped = module.vmap(jacobian, tuple(one.axes))
        jitted = module.jit(lambda *args: mapped(*one.gathered(*args)))
        args = [module.numpy.asarray(arg) for arg in one.args]
        return lambda: module.block_until_ready(jitted(*args))

    return Contender(name, make, one.read, ("jax",))


def torch_mapped(one: Mapped, mode: str) -> Contender:
    """``vmap`` of ``jacrev`` or ``jacfwd`` (``mode``)."""

    def make() -> Any:
        module = torch_with_threads()
        jacobian = getattr(module.func, mode)(partial(one.function, module), one.wrt)
        mapped = module.func.vmap(jacobian, tuple(one.axes))
        args = [module.asarray(arg) for arg in one.args]
        return lambda: mapped(*one.gathered(*args))

    return Contender("torch.func", make, one.read, ("torch",))


def _matrices(task: Task, result: Sequence[Any]) -> list[Array]:
    rows = np.size(task.value())
    return [as_matrix(part, rows) for part in result]


# --- sparse Jacobians by colouring --------------------------------------------------------


def sparsejac(task: Task, mode: str, pattern: Callable[[], Sequence[Any]]) -> Contender:
    """``pattern`` gives Jacobians with the right pattern: this library wants it from the user."""

    def make() -> Any:
        import sparsejac
        from jax.experimental.sparse import BCOO

        module = jax_in_double()
        whole = sp.coo_array(sp.hstack([sp.csr_array(part) for part in pattern()]))
        at = module.numpy.asarray(np.stack(whole.coords, axis=1))
        sparsity = BCOO((module.numpy.ones(len(at)), at), shape=whole.shape)
        found = getattr(sparsejac, mode)(task.flat(module.numpy), sparsity)
        jitted, x = module.jit(found), module.numpy.asarray(task.vector())
        return lambda: module.block_until_ready(jitted(x))

    return Contender("sparsejac", make, partial(_from_bcoo, task), ("sparsejac", "jax"))


def asdex(task: Task, mode: str | None = None) -> Contender:
    """The pattern found and coloured by the library."""

    def make() -> Any:
        import asdex

        module = jax_in_double()
        x = module.numpy.asarray(task.vector())
        jitted = module.jit(asdex.jacobian(task.flat(module.numpy), x, mode=mode))
        return lambda: module.block_until_ready(jitted(x))

    return Contender("asdex", make, partial(_from_bcoo, task), ("asdex", "jax"))


def _from_bcoo(task: Task, result: Any) -> list[sp.csr_array]:
    rows, columns = np.asarray(result.indices).T
    whole = sp.coo_array((np.asarray(result.data), (rows, columns)), shape=result.shape)
    return parted(whole, task.shapes)


# --- engines with a symbolic graph --------------------------------------------------------


def casadi(
    task: Task, formula: Callable[..., Any], symbols: str = "MX", **options: Any
) -> Contender:
    """``formula(casadi, *symbols)``, on ``SX`` or ``MX``.

    A vector is a column, and so is an array with more than two axes, its entries in C order.
    """
    name = "CasADi, gcc" if options.get("jit") else "CasADi"
    held: list[Any] = []

    def make() -> Any:
        import casadi

        kind = getattr(casadi, symbols)
        given = {
            one: kind.sym(one, *(at_most_matrix(np.shape(value)) or (1,)))
            for one, value in task.values.items()
        }
        out = casadi.vec(formula(casadi, *given.values()))
        parts = [casadi.jacobian(out, given[one]) for one in task.wrt]
        function = casadi.Function("numbers", list(given.values()), parts, options)
        held[:] = [function.sparsity_out(place) for place in range(len(parts))]
        given = [_column(value) for value in task.values.values()]
        return run_on_shared_memory(function, given, [pattern.nnz() for pattern in held])

    def read(result: Sequence[Array]) -> list[Any]:
        of, wrt = _at_most_matrices(task)
        return [
            by_column(_csc(pattern, data), of, [shape])[0]
            for pattern, data, shape in zip(held, result, wrt, strict=True)
        ]

    return Contender(name, make, read, ("casadi",))


def _at_most_matrices(task: Task) -> tuple[Shape, list[Shape]]:
    return at_most_matrix(np.shape(task.value())), [at_most_matrix(one) for one in task.shapes]


def _column(value: Array) -> Array:
    """The entries in the order in which the engines count them."""
    value = np.asarray(value, dtype=float)
    return np.array(value.reshape(at_most_matrix(value.shape)).ravel(order="F"))


def run_on_shared_memory(function: Any, given: Sequence[Array], sizes: Sequence[int]) -> Any:
    """A call without conversions: CasADi reads and writes NumPy's memory."""
    buffer, trigger = function.buffer()
    filled = [np.zeros(size) for size in sizes]
    for place, value in enumerate(given):
        buffer.set_arg(place, memoryview(value))
    for place, part in enumerate(filled):
        buffer.set_res(place, memoryview(part))

    def call(_kept: Any = (given, buffer)) -> list[Array]:
        trigger()
        return filled

    return call


def _csc(pattern: Any, data: Array) -> sp.csc_array:
    starts, rows = (np.array(part, dtype=np.int32) for part in (pattern.colind(), pattern.row()))
    return sp.csc_array((data, rows, starts), shape=pattern.shape)


def sparsediffpy(
    task: Task, formula: Callable[..., Any], turned: Collection[str] = (), *, result: bool = False
) -> Contender:
    """``formula(engine, count, *variables)``: the function of variables, ``count`` numbers in all.

    The engine counts entries column by column.  A vector is a column, and so is an array with more
    than two axes, its entries in C order.  The variables of ``turned`` are transposes, and so is
    the function's value where ``result``.
    """
    held: list[Any] = []
    arrays = {name: np.asarray(task.values[name], dtype=float) for name in task.wrt}
    given = [array.T if name in turned else array for name, array in arrays.items()]
    # What is turned has its entries in C order, as a vector has.
    shapes = [
        np.shape(array.ravel() if name in turned else array) for name, array in arrays.items()
    ]

    def make() -> Any:
        from sparsediffpy import _sparsediffengine as engine

        x = np.concatenate([_column(array) for array in given])
        ends = np.cumsum([0, *(array.size for array in given)]).tolist()
        variables = [
            engine.make_variable(*(*at_most_matrix(array.shape), 1)[:2], start, len(x))
            for array, start in zip(given, ends[:-1], strict=True)
        ]
        out = formula(engine, len(x), *variables)
        problem = engine.make_problem(engine.make_sum(variables[0], -1), [out], 0)
        engine.problem_init_jacobian(problem)
        engine.problem_init_jacobian_coo(problem)
        engine.problem_constraint_forward(problem, x)
        engine.problem_eval_jacobian_vals(problem)
        held[:] = engine.get_jacobian_sparsity_coo(problem)

        def call() -> Array:
            engine.problem_constraint_forward(problem, x)
            return engine.problem_eval_jacobian_vals(problem)

        return call

    def read(data: Array) -> list[Any]:
        rows, columns, shape = held
        found = sp.coo_array((data, (rows, columns)), shape=shape)
        of = shape[:1] if result else at_most_matrix(np.shape(task.value()))
        return by_column(found, of, [at_most_matrix(one) for one in shapes])

    return Contender("sparsediffpy", make, read, ("sparsediffpy",))
