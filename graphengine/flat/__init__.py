"""Flat code: a graph's value and gradients as one straight list of NumPy statements.

``graph.compile(wrt=[...])`` gives a function; its text is ``source``.  (Flat code: lecture.md,
section 3.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from graphengine.flat.program import Program, Writer
from graphengine.flat.recording import gradients, nodes_of

if TYPE_CHECKING:
    from graphengine.graph import Graph, Node

__all__ = ["Compiled", "compile_graph"]

FAILED = (ArithmeticError, ValueError, TypeError, LookupError)
"""What Python's numbers and wrong inputs raise: the graph's own run then gives infinities, or says
what is wrong."""


class Compiled:
    """A graph's value and gradients as a function; see :meth:`graphengine.Graph.compile`."""

    def __init__(
        self, graph: Graph, outputs: Sequence[Node], of: Node, wrt: Sequence[Node], program: Program
    ) -> None:
        self.graph, self.outputs, self.of, self.wrt = graph, outputs, of, wrt
        self.program = program
        self.inputs = tuple(program.inputs)
        namespace: dict[str, Any] = {"np": np, "math": math, "scipy": scipy}
        namespace |= {**program.constants, **program.functions}
        namespace |= {"_FAILED": FAILED, "_otherwise": self._otherwise}
        exec("\n".join(program.setup), namespace)  # noqa: S102 (the text is the project's own)
        exec(program.function(guarded=True), namespace)  # noqa: S102 (the same)
        self.function = namespace[program.name]

    def __call__(self, *args: Any, **values: Any) -> Any:
        """The outputs, then the gradients; one value where there is one."""
        return self.function(*args, **values)

    def _otherwise(self, *args: Any) -> Any:
        names = [node.name for node in self.graph.starts if node.value is None]
        run = self.graph.run(dict(zip(names, args, strict=True)))
        found: list[Any] = [run.value(node) for node in self.outputs]
        found += [run.gradient(node, self.of) for node in self.wrt]
        plain = [float(one) if one.ndim == 0 else one.copy() for one in found]
        return plain[0] if len(plain) == 1 else tuple(plain)


def compile_graph(
    graph: Graph,
    wrt: str | Node | Iterable[str | Node],
    outputs: str | Node | Iterable[str | Node] | None = None,
    of: str | Node | None = None,
    *,
    reuse: bool = False,
) -> Compiled:
    """See :meth:`graphengine.Graph.compile`."""
    top = graph.result_node if of is None else graph[of]
    shown = [top] if outputs is None else nodes_of(graph, outputs, "outputs")
    sources = nodes_of(graph, wrt, "wrt")
    recorded = gradients(graph, shown, top, sources)
    program = Writer(recorded, graph.name).write()
    return Compiled(graph, shown, top, sources, program)
