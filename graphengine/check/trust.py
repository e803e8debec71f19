"""The reference at a point, and whether it can be trusted there.

The reference is the graph's own Jacobian.  It is compared with numeric derivatives along random
directions before any claim is judged by it; where the two disagree nothing is called wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from graphengine.check.backward import NOTHING, Flow, Given
from graphengine.check.claims import ROUNDING, SPILL
from graphengine.check.contributions import Contributions, Rounded, matrix
from graphengine.check.mistakes import Catalogue
from graphengine.check.points import Drawn
from graphengine.check.reference import Along, Directional, complex_step, continues, differences
from graphengine.check.sides import Above, Below
from graphengine.errors import GraphEngineError
from graphengine.graph import Node
from graphengine.ops.base import Array, Op
from graphengine.run import Run

__all__ = ["ROUNDING_FACTOR", "Place", "Reference", "numeric_rule", "some_direction"]

CONDENSED = 4
"""A derivative is condensed to so many numbers before it is looked at in full."""
DIRECTIONS = 2
ROUNDED_RUNS = 3
ROUNDING_FACTOR = 16.0
"""So many times the spread of the rounded runs counts as rounding."""
UNSETTLED = 1e-2
"""An error bar above this part of the derivative verifies nothing."""


@dataclass(frozen=True)
class Reference:
    """``∂of/∂wrt`` as a matrix with the contributions to each entry, and how it was checked.

    ``trouble`` says why it cannot be used, and is empty where it can.
    """

    matrix: Array = field(default_factory=lambda: np.zeros((0, 0)))
    contributions: Array = field(default_factory=lambda: np.zeros((0, 0)))
    method: str = ""
    trouble: str = ""


class Place:
    """One drawn point with all that is needed to judge claims there, each made when first used."""

    def __init__(self, drawn: Drawn, rng: np.random.Generator, tolerance: float) -> None:
        self.drawn, self.graph, self.run = drawn, drawn.graph, drawn.run
        self.tolerance = tolerance
        self._seed = int(rng.integers(2**62))
        self._references: dict[tuple[Node, Node], Reference] = {}
        self._flows: dict[tuple[str, str, int], Flow] = {}
        self._above: dict[Node, Above] = {}
        self._below: dict[Node, Below] = {}
        self._spreads: dict[tuple[Node, Node], Array] = {}

    def rng(self, *key: int) -> np.random.Generator:
        """Random numbers that depend on the point and on ``key`` alone."""
        return np.random.default_rng([self._seed, *key])

    @cached_property
    def work(self) -> int:
        """How many numbers the graph has."""
        return sum(node.size for node in self.graph.nodes)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The mistakes that can be made in this graph at this point."""
        return Catalogue(self.run)

    def flow(self, of: str, wrt: str, given: Given = NOTHING) -> Flow:
        """The backward pass from ``of`` to ``wrt``, condensed along random directions."""
        known = self._flows.get((of, wrt, id(given)))
        if known is not None and known.given is given:
            return known
        top, source = self.graph[of], self.graph[wrt]
        if given is NOTHING:
            above = self._above.setdefault(top, Above(self.catalogue, top, self._row(top)))
            below = self._below.setdefault(
                source, Below(self.catalogue, source, self._columns(source))
            )
        else:
            above = Above(self.catalogue, top, self._row(top), given)
            below = Below(self.catalogue, source, self._columns(source), given)
            self._flows = {key: f for key, f in self._flows.items() if f.given is NOTHING}
        self._flows[of, wrt, id(given)] = made = Flow(above, below)
        return made

    def _row(self, of: Node) -> Array:
        if of.size == 1:
            return np.ones(1)
        return self.rng(2, of.number, 0).uniform(0.5, 1.5, of.size)

    def _columns(self, wrt: Node) -> Array:
        rng = self.rng(2, wrt.number, 1)
        columns = rng.uniform(0.5, 1.5, (wrt.size, CONDENSED if wrt.size > 1 else 1))
        return np.asarray(columns * rng.choice([-1.0, 1.0], columns.shape))

    def matrix(self, of: str, wrt: str) -> Array:
        """``∂of/∂wrt`` as the graph has it."""
        return matrix(self.run, self.graph[of], self.graph[wrt])

    def summed(self, of: str, wrt: str) -> Array:
        """The derivative of the sum of all entries of ``of``."""
        return np.asarray(self.matrix(of, wrt).sum(axis=0, keepdims=True))

    @cached_property
    def contributions(self) -> Contributions:
        """The run that adds up absolute values."""
        return Contributions(self.graph, self.drawn.values)

    @cached_property
    def rounded(self) -> tuple[Rounded, ...]:
        """Runs in which every value is off by a few units in the last place."""
        return tuple(
            Rounded(self.graph, self.drawn.values, self.rng(1, k)) for k in range(ROUNDED_RUNS)
        )

    def values(self, run: Run | None = None) -> dict[str, Array]:
        """The values of all named nodes, at this point or in one of the rounded runs."""
        run = run or self.run
        return {name: run.value(node) for name, node in self.graph.named.items()}

    def spread(self, of: Node, wrt: Node) -> Array:
        """How far rounding moves the reference, entry by entry."""
        if (of, wrt) not in self._spreads:
            exact = matrix(self.run, of, wrt)
            moved = [np.abs(matrix(run, of, wrt) - exact) for run in self.rounded]
            self._spreads[of, wrt] = np.asarray(np.max(moved, axis=0))
        return self._spreads[of, wrt]

    def reference(self, of: Node, wrt: Node) -> Reference:
        """The reference for ``∂of/∂wrt``, checked."""
        if (of, wrt) not in self._references:
            self._references[of, wrt] = self._checked(of, wrt)
        return self._references[of, wrt]

    def _checked(self, of: Node, wrt: Node) -> Reference:
        rng = self.rng(0, of.number, wrt.number)
        along = Along(self.run, of, wrt)
        trouble = self._trouble(along)
        if trouble:
            return Reference(trouble=trouble)
        try:
            exact = matrix(self.run, of, wrt)
            sizes = matrix(self.contributions, of, wrt)
        except GraphEngineError as error:
            return Reference(trouble=str(error))
        if not (np.isfinite(exact).all() and np.isfinite(sizes).all()):
            return Reference(trouble=f"∂{of.name}/∂{wrt.name} of the graph is not finite")
        method = ""
        for _ in range(DIRECTIONS):
            method, trouble = self._verify(along, exact, sizes, rng)
            if trouble:
                break
        return Reference(exact, sizes, method, trouble)

    def _trouble(self, along: Along) -> str:
        """The kink between the two, or the value that is not finite, that this point has."""
        if not self.drawn.troubles:
            return ""
        names = {node.name for node in along.between}
        if not np.isfinite(self.run.value(along.of)).all():
            names |= {along.of.name, *nx.ancestors(self.graph.dag, along.of.name)}
        return next((says for name, says in self.drawn.troubles.items() if name in names), "")

    # --- the reference against values alone -------------------------------------------------

    def _verify(
        self, along: Along, exact: Array, sizes: Array, rng: np.random.Generator
    ) -> tuple[str, str]:
        """Compare along one random direction: the method that was used, and the trouble."""
        direction = some_direction(self.run.value(along.wrt), rng)
        flat = direction.reshape(-1)
        given, size = exact @ flat, sizes @ np.abs(flat)
        allowed = self.tolerance * (np.abs(exact) @ np.abs(flat)) + ROUNDING * size
        allowed += SPILL * np.max(size, initial=0.0)
        found = along.derivative(direction)
        trouble = _disagreement(given, found, allowed, size)
        if trouble:
            allowed = allowed + ROUNDING_FACTOR * (self.spread(along.of, along.wrt) @ np.abs(flat))
            trouble = _disagreement(given, found, allowed, size)
        if trouble and found.method == "complex step":
            # an op may not continue to complex arguments though it says so
            second = along.derivative(direction, method="differences")
            if not _disagreement(given, second, allowed, size):
                return second.method, ""
        return found.method, trouble + self._suspect(along, rng) if trouble else ""

    def _suspect(self, along: Along, rng: np.random.Generator) -> str:
        """The first edge between the two whose own rule disagrees with the op's values."""
        reached = {along.wrt, *along.between}
        for node in along.between:
            assert node.op is not None
            args = [self.run.value(a) if isinstance(a, Node) else a for a in node.args]
            for place, arg in enumerate(node.args):
                if not isinstance(arg, Node) or arg not in reached:
                    continue
                direction = some_direction(args[place], rng)
                try:
                    found = numeric_rule(node.op, args, place, direction)
                except (GraphEngineError, TypeError, ValueError, IndexError):
                    continue  # labels and positions do not move by small steps
                given = self.run.rule(node, place).push(direction)
                gap = np.max(np.abs(given - found.value), initial=0.0)
                if gap > 1e-5 * np.max(np.abs(found.value), initial=0.0) + np.max(found.error):
                    return f"; the rule of {node.op.name!r} at {node.name} <- {arg.name} is suspect"
        return ""


def numeric_rule(op: Op, args: list[Array], place: int, direction: Array) -> Directional:
    """The derivative of one op along ``direction`` in one of its arguments, from values alone."""

    def value(x: Any) -> Any:
        return op.value(*args[:place], x, *args[place + 1 :])

    if continues(op):
        found = complex_step(value, args[place], direction)
        return Directional(found, np.zeros(found.shape), "complex step")
    return Directional(*differences(value, args[place], direction), "differences")


def some_direction(at: Array, rng: np.random.Generator) -> Array:
    """A direction of both signs that changes every entry of ``at`` by about its own size."""
    sizes = np.abs(at)
    sizes = np.where(sizes > 0, sizes, float(np.max(sizes, initial=0.0)) or 1.0)
    return np.asarray(sizes * rng.uniform(0.5, 1.0, at.shape) * rng.choice([-1.0, 1.0], at.shape))


def _disagreement(given: Array, found: Directional, allowed: Array, size: Array) -> str:
    """How a derivative along a direction differs from the numeric one; nothing where they agree.

    ``allowed`` is what they may differ by beside the error bar, ``size`` that of the contributions.
    """
    numeric, bar = found.value.reshape(-1), found.error.reshape(-1)
    if np.max(bar, initial=0.0) > UNSETTLED * np.max(size, initial=0.0):
        return "differences do not settle, so that the graph's Jacobian could not be verified"
    gap = np.abs(given - numeric)
    if np.all(gap <= allowed + bar):
        return ""
    worst = int(np.argmax(np.where(np.isfinite(gap), gap - allowed - bar, np.inf)))
    within = f" ± {bar[worst]:.1g}" if bar[worst] else ""
    return (
        f"the graph's Jacobian gives {given[worst]:.9g} along a random direction, "
        f"{found.method} {numeric[worst]:.9g}{within}"
    )
