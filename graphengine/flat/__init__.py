"""Flat code: a graph's value, gradients and Jacobians as straight lists of NumPy statements.

``graph.compile(wrt=[...])`` gives a function for the value and the gradients,
``graph.compile_jacobian(of, wrt)`` one for full sparse Jacobians.  Both are written by running the
ops' own rules on arrays without numbers (:mod:`graphengine.tracing`); what needs no numbers is
done once.  (Flat code: lecture.md, section 3.)
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import scipy
from scipy.linalg import blas, lapack
from scipy.sparse import csr_array

from graphengine.errors import GraphError, ValuesError
from graphengine.flat.buffers import BufferedWriter
from graphengine.flat.filling import Fill
from graphengine.flat.fused import FusedWriter, loops
from graphengine.flat.lowering import simplified
from graphengine.flat.plans import Plan, plan
from graphengine.flat.program import Program, Writer
from graphengine.flat.recording import Recorded, gradients, nodes_of
from graphengine.flat.source import Source, array

if TYPE_CHECKING:
    from graphengine.elimination import Order
    from graphengine.graph import Graph, Node

__all__ = ["Compiled", "CompiledJacobian", "compile_graph", "compile_jacobian"]

FAILED = (ArithmeticError, ValueError, TypeError, LookupError, RuntimeWarning)
"""What Python's numbers and wrong inputs raise, and NumPy's numbers where warnings are errors: the
graph's own run then gives infinities, or says what is wrong."""


SHARED = 10_000
"""Up to so many characters graphs with the same program share its code and its globals: Python
makes both faster the more often they are used."""


_LIBRARIES: dict[str, Any] = {
    "np": np,
    "math": math,
    "scipy": scipy,
    "blas": blas,
    "lapack": lapack,
    "_FAILED": FAILED,
    "_array": array,
}
"""What all programs call."""


class Compiled(Protocol):
    """What :meth:`graphengine.Graph.compile` returns: a function with its text."""

    source: Source
    """The text of the program, which runs by itself (``str(f.source)``)."""
    inputs: tuple[str, ...]
    """The start nodes whose values it takes, in their order."""

    def __call__(self, *args: Any, **values: Any) -> Any:
        """The outputs, then the gradients; one value where there is one."""


class CompiledJacobian(Compiled, Protocol):
    """What :meth:`graphengine.Graph.compile_jacobian` returns: a function with its plan."""

    plan: Plan
    """The order of elimination, and what other orders would have cost."""


def compile_graph(
    graph: Graph,
    wrt: str | Node | Iterable[str | Node],
    outputs: str | Node | Iterable[str | Node] | None = None,
    of: str | Node | None = None,
    *,
    reuse: bool = False,
    fused: bool = False,
) -> Compiled:
    """See :meth:`graphengine.Graph.compile`."""
    top = graph.result_node if of is None else graph[of]
    shown = [top] if outputs is None else nodes_of(graph, outputs, "outputs")
    sources = nodes_of(graph, wrt, "wrt")
    recorded = gradients(graph, shown, top, sources)

    def otherwise(values: dict[str, Any]) -> Any:
        run = graph.run(values)
        found: list[Any] = [run.value(node) for node in shown]
        found += [run.gradient(node, top) for node in sources]
        return _one_or_all([float(one) if one.ndim == 0 else one.copy() for one in found])

    program = _program(recorded, graph.name, reuse=reuse, fused=fused)
    return cast("Compiled", _function(program, recorded, graph, otherwise))


def compile_jacobian(
    graph: Graph,
    of: str | Node,
    wrt: str | Node | Sequence[str | Node],
    *,
    order: Order = "auto",
    reuse: bool = False,
    fused: bool = False,
) -> CompiledJacobian:
    """See :meth:`graphengine.Graph.compile_jacobian`."""
    top = graph[of]
    sources = nodes_of(graph, wrt, "wrt")
    if not sources:
        raise GraphError(f"Jacobian of {top.name!r}", expected="one node or more", got="none")
    made, recorded, fills = plan(graph, top, sources, order)
    alone = not isinstance(wrt, (list, tuple))

    def otherwise(values: dict[str, Any]) -> Any:
        run = graph.run(values)
        found = [run.jacobian(top, node) for node in sources]
        return found[0] if alone else tuple(found)

    program = _program(recorded, graph.name, reuse=reuse, fused=fused)
    _matrices(program, fills, alone=alone, reuse=reuse)
    found = cast("CompiledJacobian", _function(program, recorded, graph, otherwise))
    found.plan = made
    return found


def _program(recorded: Recorded, name: str, *, reuse: bool, fused: bool) -> Program:
    program = simplified(recorded, reuse=reuse or fused)
    if fused:
        return FusedWriter(program, name, reuse=reuse).write()
    return (BufferedWriter if reuse else Writer)(program, name).write()


def _matrices(program: Program, fills: Sequence[Fill], *, alone: bool, reuse: bool) -> None:
    """Let the program return matrices in place of their data."""
    shown = []
    for k, (fill, data) in enumerate(zip(fills, program.results, strict=True), start=1):
        model = fill.model
        for part in (model.indptr, model.indices):
            part.setflags(write=False)  # shared by all results
        program.constants[f"_model{k}"] = model
        if reuse:
            program.setup.append(f"_matrix{k} = _csr(_model{k}, {data})")
            shown.append(f"_matrix{k}")
        else:
            shown.append(f"_csr(_model{k}, {data})")
    program.functions["_csr"] = _csr
    program.returned = shown[0] if alone else "(" + "".join(one + ", " for one in shown) + ")"


def _csr(model: csr_array, data: Any) -> csr_array:
    """The matrix with these numbers; its constructor's checks would cost more than they do."""
    made = csr_array.__new__(csr_array)
    made.__dict__.update(model.__dict__)
    made.data = data
    return made


def _one_or_all(found: list[Any]) -> Any:
    return found[0] if len(found) == 1 else tuple(found)


def _function(
    program: Program,
    recorded: Recorded,
    graph: Graph,
    otherwise: Callable[[dict[str, Any]], Any],
) -> Any:
    """The program as a function; what fails in it is handed to ``otherwise``."""
    names = tuple(recorded.inputs)

    def instead(*args: Any) -> Any:
        if program.witness and any(type(arg) is not float for arg in args):
            numbers = [_as_float(arg) for arg in args]
            if None not in numbers:
                return compiled(*numbers)
        return otherwise(_for_run(graph, names, args))

    own = {**program.constants, **program.functions, **loops(program)}
    text = program.function(guarded=True)
    if not own and not program.setup and len(text) <= SHARED:
        compiled: Any = _maker(text, program.name)(instead)
    else:
        namespace = {**_LIBRARIES, **own, "_otherwise": instead}
        if program.setup:
            exec("\n".join(program.setup), namespace)  # noqa: S102 (the text is the project's own)
        exec(text, namespace)  # noqa: S102 (the same)
        compiled = namespace[program.name]
    compiled.source, compiled.inputs = Source(program, graph.name), names
    return compiled


@lru_cache(maxsize=256)
def _maker(text: str, name: str) -> Callable[[Callable[..., Any]], Any]:
    """What makes the functions of one text, which differ in what is done ``_otherwise`` alone."""
    namespace = dict(_LIBRARIES)
    inside = textwrap.indent(text, "    ")
    exec(f"def _made(_otherwise):\n{inside}\n    return {name}\n", namespace)  # noqa: S102 (the same)
    return cast("Callable[[Callable[..., Any]], Any]", namespace["_made"])


def _as_float(given: Any) -> float | None:
    """A number of another kind as a float; None for what is no number."""
    whole = isinstance(given, (int, float, np.integer, np.floating))
    if whole or (isinstance(given, np.ndarray) and given.shape == () and given.dtype.kind in "fiu"):
        return float(given)
    return None


def _for_run(graph: Graph, names: Sequence[str], args: Sequence[Any]) -> dict[str, Any]:
    """Values for all start nodes: those that the program does not need are zeros."""
    given = {name: arg for name, arg in zip(names, args, strict=True) if arg is not None}
    missing = [name for name in names if name not in given]
    if missing:
        raise ValuesError(
            f"graph {graph.name!r}",
            expected="values for all inputs and parameters",
            got=f"none for {', '.join(missing)}",
        )
    for node in graph.starts:
        if node.value is None and node.name not in given:
            given[node.name] = np.zeros(node.shape)
    return given
