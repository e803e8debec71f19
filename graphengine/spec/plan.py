"""What a spec says, as data: start nodes, formulas, sizes; and the graph that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphengine.derivation import in_order_placed
from graphengine.errors import FormulaError, GraphEngineError, SpecError
from graphengine.formula import Formula, build_within
from graphengine.formula.budget import Budget
from graphengine.formula.evaluator import Value
from graphengine.graph import Graph, Kind, Node, Role
from graphengine.jacobian import DEFAULT_LIMIT
from graphengine.ops import OpFunction
from graphengine.ops.base import Array, Shape

__all__ = ["Plan", "StartPlan"]


@dataclass(frozen=True)
class StartPlan:
    """A start node: its shape in letters and numbers, or its value if it is a constant."""

    name: str
    role: Role
    shape: tuple[int | Formula, ...] = ()
    kind: Kind = "real"
    value: Array | None = None
    place: str = ""

    def sized(self, sizes: Mapping[str, int]) -> Shape:
        """The shape at ``sizes``; :class:`SpecError` for a size that is no whole number from 0."""
        return tuple(
            whole(size, sizes, 0) if isinstance(size, Formula) else size for size in self.shape
        )


@dataclass(frozen=True)
class Plan:
    """All that a graph is made from; ``places`` tells where each name stands."""

    name: str
    about: str
    sizes: Mapping[str, int]
    starts: tuple[StartPlan, ...]
    nodes: Mapping[str, Formula]
    result: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)

    def build(
        self,
        sizes: Mapping[str, int],
        functions: Mapping[str, OpFunction],
        limit: int = DEFAULT_LIMIT,
    ) -> Graph:
        """The graph at ``sizes``, its nodes in an order in which parents come first.

        ``limit`` bounds the bytes of all values of the graph together.  Errors stand at the
        place of the formula that they are about.
        """
        graph = Graph(self.name, about=self.about)
        budget = Budget(limit)
        names: dict[str, Value] = dict(sizes)
        for start in self.starts:
            names[start.name] = _started(graph, start, sizes, budget)
        for name in in_order_placed(self.nodes, self._place, "node"):
            formula = self.nodes[name]
            made = build_within(formula, names, functions, graph=graph, budget=budget)
            if not isinstance(made, Node):
                raise FormulaError(
                    formula.at(formula.tree),
                    expected="a formula of nodes",
                    got="numbers alone",
                    hint=f"write them under constants: {name}: …",
                )
            names[name] = graph.node(name, made)
        if self.result is not None:
            graph.result(self.result)
        return graph

    def _place(self, name: str) -> str:
        return self.places.get(name, name)


def _started(graph: Graph, start: StartPlan, sizes: Mapping[str, int], budget: Budget) -> Node:
    if start.value is not None:
        return graph.constant(start.name, start.value)
    shape = start.sized(sizes)
    budget.array(lambda: f"{start.place}: {start.name}", shape)
    make = graph.input if start.role == "input" else graph.parameter
    return make(start.name, shape, kind=start.kind)


def whole(formula: Formula, sizes: Mapping[str, int], least: int) -> int:
    """The whole number that a formula of sizes stands for, ``least`` or more."""
    try:
        found = build_within(formula, sizes, {}, graph=Graph("sizes"), budget=Budget(0))
    except FormulaError:
        raise
    except GraphEngineError as error:
        raise SpecError(formula.at(formula.tree), expected="a size", got=error.got) from None
    if not isinstance(found, int) or found < least:
        raise SpecError(
            formula.at(formula.tree),
            expected=f"a whole number from {least}",
            got=f"{formula.text} = {found}",
        )
    return found
