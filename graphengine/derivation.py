"""Derivations: what somebody found by hand for ∂of/∂wrt, and its values at given points."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphengine.errors import FormulaError, GraphEngineError, SpecError, nearest
from graphengine.formula import Formula, build_within, parse
from graphengine.formula.budget import Budget
from graphengine.formula.evaluator import CONSTANTS, Value
from graphengine.formula.source import reserved
from graphengine.graph import Graph, Node, in_order
from graphengine.jacobian import DEFAULT_LIMIT, Layout
from graphengine.ops import OpFunction, functions
from graphengine.ops.base import Array

__all__ = ["Claim", "Derivation", "FormulaDerivation", "Found", "Point"]

Found: TypeAlias = "dict[str, Array | GraphEngineError]"


@dataclass(frozen=True)
class Claim:
    """That ∂of/∂wrt is what ``source`` says: formula text, or the name of a Python function.

    ``place`` is where it stands, as ``file:line:column``.
    """

    of: str
    wrt: str
    source: str
    place: str

    @property
    def name(self) -> str:
        """``J/W``."""
        return f"{self.of}/{self.wrt}"


class Point(NamedTuple):
    """A graph at one point: the sizes' letters, and the values of all its named nodes."""

    sizes: Mapping[str, int]
    graph: Graph
    values: Mapping[str, Array]


class Derivation(ABC):
    """Claims about the Jacobians of a graph, which can be evaluated at points.

    ``layout`` says how the claims write them: ``numerator`` (a row of ∂y/∂x for each y) or
    ``denominator`` (a column for each).
    """

    layout: Layout
    claims: tuple[Claim, ...]

    @abstractmethod
    def evaluate(self, points: Sequence[Point]) -> list[Found]:
        """The value of each claim at each point, by the claim's name.

        A claim that cannot be evaluated at a point has its error in place of a value, and the
        others still count.
        """


class FormulaDerivation(Derivation):
    """Claims as formulas of the nodes' values, the sizes and names given by ``let``.

    ``claims`` maps ``J/W`` to a formula, ``let`` names to formulas, which may use each other in
    any order.  ``places`` tells where the keys stand.  ``limit`` bounds the bytes of all arrays
    at one point.  Raises :class:`FormulaError` and :class:`SpecError`.

    >>> derivation = FormulaDerivation({"J/x": "2 * y"}, {"y": "x + x"})
    >>> g = Graph()
    >>> x = g.input("x", 2)
    >>> found = derivation.evaluate([Point({}, g, {"x": np.array([1.0, 3.0])})])
    >>> found[0]["J/x"]
    array([ 4., 12.])
    """

    def __init__(
        self,
        claims: Mapping[str, Formula | str],
        let: Mapping[str, Formula | str] | None = None,
        *,
        layout: Layout = "numerator",
        places: Mapping[str, str] | None = None,
        functions: Mapping[str, OpFunction] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.layout = layout
        self.let = {name: _formula(text) for name, text in (let or {}).items()}
        self.limit = limit
        self._functions = functions
        self._places = dict(places or {})
        found = [(named_claim(key, self.place(key), text), text) for key, text in claims.items()]
        self.claims = tuple(claim for claim, _ in found)
        self.formulas = {claim.name: _formula(text) for claim, text in found}
        self._order = self._let_in_order()

    @property
    def functions(self) -> Mapping[str, OpFunction]:
        """The functions that the formulas may use."""
        if self._functions is None:
            self._functions = functions()
        return self._functions

    def place(self, key: str) -> str:
        """Where a key of ``let`` or ``claims`` stands."""
        return self._places.get(key, key)

    def _let_in_order(self) -> list[str]:
        return in_order_placed(self.let, self.place, "name")

    # --- against a graph ------------------------------------------------------------------

    def check(self, graph: Graph, sizes: Iterable[str] = ()) -> None:
        """Raise unless all names are those of nodes of ``graph``, of ``sizes`` or of ``let``."""
        letters = set(sizes)
        for claim in self.claims:
            check_claim(claim, graph)
        for name in self.let:
            what = "a node" if name in graph else "a size" if name in letters else ""
            what = what or ("a function" if name in self.functions else "")
            if what:
                raise SpecError(
                    self.place(name),
                    expected="a new name",
                    got=f"{name!r}, which is {what}",
                    hint=f"write {name + '_'!r}",
                )
            if reserved(name):
                raise SpecError(
                    self.place(name), expected="a name", got=repr(name), hint=reserved(name)
                )
        known = [*graph.named, *self.let, *letters]
        for formula in (*self.let.values(), *self.formulas.values()):
            self._check_names(formula, known)

    def _check_names(self, formula: Formula, known: Sequence[str]) -> None:
        for node in formula.divisions():
            name = f"{node[0]}/{node[1]}"
            if name in self.formulas:
                raise FormulaError(
                    formula.at(node[2]),
                    expected="a formula",
                    got=f"{name}, which is a claim (and here a division)",
                    hint="give the claim's formula a name under let: and use that in both places",
                )
        for name, place in formula.places():
            if name not in known and name not in CONSTANTS:
                what = f"the function {name!r}" if name in self.functions else repr(name)
                raise FormulaError(
                    place, expected="a known name", got=what, hint=nearest(name, known)
                )

    # --- values ---------------------------------------------------------------------------

    def evaluate(self, points: Sequence[Point]) -> list[Found]:
        """See :meth:`Derivation.evaluate`; shapes and sizes are checked before arrays are made."""
        return [self._at(point) for point in points]

    def _at(self, point: Point) -> Found:
        scratch = Graph("derivation")
        budget = Budget(self.limit)
        names: dict[str, Any] = dict(point.sizes)
        for formula in (*self.let.values(), *self.formulas.values()):
            for name in formula.names:
                if name in point.values and name not in names:
                    names[name] = scratch.input(name, np.shape(point.values[name]))
        failed: dict[str, GraphEngineError] = {}

        def built(formula: Formula) -> Value | GraphEngineError:
            error = next((failed[name] for name in formula.names if name in failed), None)
            if error is not None:
                return error
            try:
                return build_within(formula, names, self.functions, graph=scratch, budget=budget)
            except GraphEngineError as found:
                return found

        for name in self._order:
            value = built(self.let[name])
            if isinstance(value, GraphEngineError):
                failed[name] = value
            else:
                names[name] = value
        values = {name: built(formula) for name, formula in self.formulas.items()}
        nodes = [value for value in values.values() if isinstance(value, Node)]
        known = _values(nodes, point.values)
        return {
            name: self._finished(self.formulas[name], value, known)
            for name, value in values.items()
        }

    def _finished(
        self,
        formula: Formula,
        value: Value | GraphEngineError,
        known: Mapping[Node, Array | GraphEngineError],
    ) -> Array | GraphEngineError:
        if isinstance(value, GraphEngineError):
            return value
        found = known[value] if isinstance(value, Node) else np.asarray(value, dtype=np.float64)
        if isinstance(found, GraphEngineError):
            return found.located(formula.at(formula.tree))
        return found


def in_order_placed(formulas: Mapping[str, Formula], place: Any, noun: str) -> list[str]:
    """The names of ``formulas`` in an order in which each uses only earlier ones.

    Raises :class:`SpecError` at the place of a name that depends on itself.
    """
    parents = {
        name: [other for other in formula.names if other in formulas]
        for name, formula in formulas.items()
    }
    try:
        return in_order(parents)
    except GraphEngineError as error:
        name = error.where.split("'")[1]
        raise SpecError(
            place(name),
            expected="no cycles",
            got=error.got,
            hint=f"a {noun} cannot depend on itself",
        ) from None


def check_claim(claim: Claim, graph: Graph) -> None:
    """Raise :class:`SpecError` unless the claim is about two nodes of ``graph``."""
    for name in (claim.of, claim.wrt):
        if name not in graph:
            of, wrt = claim.of[1:], claim.wrt[1:]
            plain = claim.of[:1] + claim.wrt[:1] == "dd" and of in graph and wrt in graph
            raise SpecError(
                claim.place,
                expected="a claim about two nodes",
                got=f"{claim.name!r}, where {name!r} is no node",
                hint=f"write {of}/{wrt}" if plain else nearest(name, graph.named),
            )


def _formula(given: Formula | str) -> Formula:
    return given if isinstance(given, Formula) else parse(given)


def named_claim(key: str, place: str, given: Formula | str) -> Claim:
    """The claim that ``key`` names as ``J/W``; :class:`SpecError` at ``place`` for other text."""
    found = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*/\s*([A-Za-z_]\w*)\s*", key, re.ASCII)
    if not found:
        plain = re.sub(r"[∂\s()]|vec|\.T$", "", key)
        simple = re.fullmatch(r"([A-Za-z_]\w*)/([A-Za-z_]\w*)", plain, re.ASCII)
        raise SpecError(
            place,
            expected="a claim's name as J/W (for ∂J/∂W)",
            got=repr(key[:60]),
            hint=f"write {plain}" if simple else "two names of nodes with / between them",
        )
    return Claim(found[1], found[2], given if isinstance(given, str) else given.text, place)


def _values(
    nodes: Iterable[Node], given: Mapping[str, Array]
) -> dict[Node, Array | GraphEngineError]:
    """The values of what ``nodes`` need; an op that fails has its error, and so what uses it."""
    needed: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            stack += node.parents
    found: dict[Node, Array | GraphEngineError] = {}
    for node in sorted(needed, key=lambda one: one.number):
        found[node] = _value(node, found, given)
    return found


def _value(
    node: Node, found: Mapping[Node, Array | GraphEngineError], given: Mapping[str, Array]
) -> Array | GraphEngineError:
    if node.op is None:
        return np.asarray(given[node.name], dtype=np.float64)
    args: list[Array] = []
    for arg in node.args:
        value = found[arg] if isinstance(arg, Node) else arg
        if isinstance(value, GraphEngineError):
            return value
        args.append(value)
    try:
        return node.op.value(*args)
    except GraphEngineError as error:
        return error
    except Exception as error:  # noqa: BLE001 (a caller's own op may raise anything)
        got = " ".join(str(error).split())[:120] or type(error).__name__
        return FormulaError(node.formula, expected="arguments that fit", got=got)
