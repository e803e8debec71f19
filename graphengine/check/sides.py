"""The two halves of a derivative: what comes down from one node, and what goes up from another.

All claims with the same ``of`` share the one, all with the same ``wrt`` the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from graphengine.check.mistakes import Catalogue, Change, Link, Mutant
from graphengine.check.mistakes.changes import pushed
from graphengine.graph import Node
from graphengine.ops.base import Array

__all__ = ["NOTHING", "Above", "Below", "Given", "Step"]

MOST_KEPT = 2_000_000
"""Numbers that the changed rows of one link may take when they are kept."""


class Step(NamedTuple):
    """An author's own ``∂child/∂parent`` less the right one, as a matrix."""

    child: Node
    parent: Node
    difference: Array


@dataclass(frozen=True)
class Given:
    """What is put in place of the graph's own derivatives: ``fixed`` holds ``∂of/∂node`` as rows,
    ``steps`` the differences of Jacobians between two nodes on the way.
    """

    names: tuple[str, ...] = ()
    fixed: Mapping[Node, Array] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()


NOTHING = Given()


class Above:
    """A row (of the size of ``of``) pulled back to the nodes before ``of``."""

    def __init__(self, catalogue: Catalogue, of: Node, row: Array, given: Given = NOTHING) -> None:
        self.catalogue, self.of, self.row, self.given = catalogue, of, row, given
        self.bars: dict[Node, Array] = {of: row.reshape(-1)}
        self._right: dict[tuple[object, ...], Array] = {}
        self._rows: dict[object, tuple[Sequence[Mutant], Sequence[int], Array]] = {}

    def reach(self, nodes: Sequence[Node]) -> None:
        """Pull the row back to ``nodes`` (all those on a way to ``of``, parents first)."""
        for node in reversed(nodes):
            if node in self.given.fixed:
                self.bars[node] = np.asarray(self.row.reshape(1, -1) @ self.given.fixed[node])[0]
            elif node not in self.bars:
                parts = list(self._parts(node))
                if parts:
                    self.bars[node] = np.asarray(sum(parts[1:], start=parts[0]))

    def _parts(self, node: Node) -> Iterator[Array]:
        for link in self.catalogue.users[node]:
            if link.child in self.bars:
                yield link.jacobian.pull(self.bars[link.child]).reshape(-1)
        for step in self.given.steps:
            if step.parent is node and step.child in self.bars:
                yield self.bars[step.child] @ step.difference

    def effects(self, link: Link, tangent: Array) -> Iterator[tuple[Mutant, Array]]:
        """What each mistake at one link changes in the row times ``tangent``."""
        mutants, places, rows = self._at(link)
        with np.errstate(all="ignore"):
            if rows is None:
                made = [self.moved(mutant.changes[0]) for mutant in mutants]
                none = np.full(tangent.shape[1], np.nan)
                product = np.stack([none if row is None else row @ tangent for row in made])
                places = range(len(mutants))
            else:
                product = rows @ tangent
            finite = np.isfinite(product.sum(axis=1)).tolist()
        for mutant, place in zip(mutants, places, strict=True):
            if finite[place]:
                yield mutant, product[place]

    def _at(self, link: Link) -> tuple[Sequence[Mutant], Sequence[int], Array | None]:
        """The mistakes at one link, and the rows that they add: None for more than are kept."""
        if link.key not in self._rows:
            mutants = self.catalogue.at(link)
            changes = {mutant.changes[0]: None for mutant in mutants}
            if len(changes) * link.parent.size > MOST_KEPT:
                return mutants, (), None
            with np.errstate(all="ignore"):
                made = {change: self.moved(change) for change in changes}
            kept = {change: row for change, row in made.items() if row is not None}
            order = {change: place for place, change in enumerate(kept)}
            usable = [mutant for mutant in mutants if mutant.changes[0] in order]
            rows = np.stack([*kept.values()]) if kept else np.zeros((0, link.parent.size))
            self._rows[link.key] = usable, [order[one.changes[0]] for one in usable], rows
        return self._rows[link.key]

    def moved(self, change: Change) -> Array | None:
        """What one changed link adds to the row at its parent; None where it does not exist."""
        bar, jacobian = self.bars[change.child], change.right()
        key = (change.child, change.parent, id(jacobian))
        if key not in self._right:
            self._right[key] = jacobian.pull(bar).reshape(-1)
        made = self.catalogue.pulled(change, bar, self._right[key])
        return None if made is None else made - self._right[key]


class Below:
    """Columns (size of ``wrt`` × q) pushed forward to the nodes after ``wrt``."""

    def __init__(
        self, catalogue: Catalogue, wrt: Node, columns: Array, given: Given = NOTHING
    ) -> None:
        self.catalogue, self.wrt, self.columns, self.given = catalogue, wrt, columns, given
        self.tangents = {wrt: np.zeros(columns.shape) if wrt in given.fixed else columns}
        self._right: dict[tuple[object, ...], Array] = {}

    def reach(self, nodes: Iterable[Node]) -> None:
        """Push the columns forward to ``nodes`` (all those on a way from ``wrt``, parents first);
        nothing passes on from where a derivative is fixed.
        """
        for node in nodes:
            if node in self.tangents:
                continue
            total = np.zeros((node.size, self.columns.shape[1]))
            for link in self.catalogue.edges[node]:
                if link.parent in self.tangents:
                    total += link.csr @ self.tangents[link.parent]
            for step in self.given.steps:
                if step.child is node and step.parent in self.tangents:
                    total += step.difference @ self.tangents[step.parent]
            fixed = node in self.given.fixed
            self.tangents[node] = np.zeros(total.shape) if fixed else total

    def raised(self, change: Change) -> Array | None:
        """What one changed link adds to the columns at its child; None where it does not exist."""
        columns, jacobian = self.tangents[change.parent], change.right()
        key = (change.child, change.parent, id(jacobian))
        if key not in self._right:
            self._right[key] = pushed(jacobian, columns)
        made = self.catalogue.pushed(change, columns, self._right[key])
        return None if made is None else made - self._right[key]
