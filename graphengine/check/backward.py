"""The backward pass of a check: the graph's own, with some Jacobians changed.

A mistake changes ``∂child/∂parent`` at one link; an author's own earlier claim takes the place of
the derivative that it is about.  Both are a :class:`Given`, and the pass is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from graphengine.check.mistakes import Catalogue, Mutant
from graphengine.check.reference import path
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Array

__all__ = ["Flow", "Given", "Step"]


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


class Flow:
    """``∂of/∂wrt`` at one point under changes; ``row`` and ``columns`` condense it to few numbers.

    ``row`` (of the size of ``of``) is multiplied from the left, ``columns`` (size of ``wrt`` × q)
    from the right: a change anywhere on the way is then a product of one pulled-back row with
    what was pushed forward (:meth:`effect`), without another pass.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        of: Node,
        wrt: Node,
        row: Array,
        columns: Array,
        given: Given = NOTHING,
    ) -> None:
        self.catalogue, self.of, self.wrt, self.given = catalogue, of, wrt, given
        self.row, self.columns = row, columns
        self.inside = path(catalogue.run.graph, of, wrt)
        self._right: dict[tuple[object, ...], Array] = {}

    @cached_property
    def bars(self) -> dict[Node, Array]:
        """``row`` pulled back to every node on the way."""
        return self._bars(self.row.reshape(1, -1))

    @cached_property
    def value(self) -> Array:
        """What the derivative condenses to."""
        found = self.bars.get(self.wrt)
        size = self.columns.shape[1]
        with np.errstate(all="ignore"):  # a derivative may be infinite
            return np.zeros(size) if found is None else np.asarray(found @ self.columns).reshape(-1)

    @cached_property
    def effects(self) -> list[tuple[Mutant, Array]]:
        """Every known mistake on the way that can be made here, and what it changes."""
        found = []
        for mutant in self.catalogue.between(self.of, self.wrt, self.inside):
            effect = self.effect(mutant)
            if effect is not None:
                found.append((mutant, effect))
        return found

    def claim(self, matrix: Array) -> Array:
        """What the claimed matrix condenses to."""
        with np.errstate(all="ignore"):
            return np.asarray(self.row.reshape(1, -1) @ matrix @ self.columns).reshape(-1)

    @cached_property
    def _by_key(self) -> dict[tuple[object, ...], Mutant]:
        inside = self.catalogue.between(self.of, self.wrt, self.inside)
        return {mutant.key: mutant for mutant in inside}

    def same(self, mutant: Mutant) -> Mutant | None:
        """The same mistake at this point; None where it cannot be made here."""
        found = None if "_by_key" in self.__dict__ else self._at_its_link(mutant)
        return found or self._by_key.get(mutant.key)

    def _at_its_link(self, mutant: Mutant) -> Mutant | None:
        """The same mistake, looked for where it is made alone."""
        child = self.catalogue.run.graph.nodes[mutant.changes[0].child.number]
        for link in (*self.catalogue.edges[child], *self.catalogue.ways.get(child, ())):
            if link.key == mutant.key[:3]:
                return next((one for one in self.catalogue.at(link) if one.key == mutant.key), None)
        return None

    # --- full passes ----------------------------------------------------------------------

    def matrix(self, mutants: Iterable[Mutant] = ()) -> Array | None:
        """``∂of/∂wrt`` under these mistakes; None where one of them does not exist here."""
        changed: dict[Node, list[tuple[Node, Jacobian, float]]] = {}
        for mutant in mutants:
            for change in mutant.changes:
                made = self.catalogue.made(change)
                if made is None:
                    return None
                parts = changed.setdefault(change.child, [])
                parts += [(change.parent, made, 1.0), (change.parent, change.right(), -1.0)]
        rows = self._bars(np.eye(self.of.size), changed)
        found = rows.get(self.wrt)
        return np.zeros((self.of.size, self.wrt.size)) if found is None else found

    def _bars(
        self,
        rows: Array,
        changed: Mapping[Node, Sequence[tuple[Node, Jacobian, float]]] | None = None,
    ) -> dict[Node, Array]:
        """The rows pulled back to every node on the way."""
        bars: dict[Node, Array] = {node: np.zeros((0, 0)) for node in (self.wrt, *self.inside)}
        bars[self.of] = rows
        for node in reversed(self.inside):
            if node in self.given.fixed:
                bars[node] = self._own(node, rows)
            if len(bars[node]):
                for parent, part in self._parts(node, bars[node], (changed or {}).get(node, ())):
                    if parent in bars:
                        bars[parent] = bars[parent] + part if len(bars[parent]) else part
        if self.wrt in self.given.fixed:
            bars[self.wrt] = self._own(self.wrt, rows)
        return {node: bar for node, bar in bars.items() if len(bar)}

    def _parts(
        self, node: Node, bar: Array, changed: Sequence[tuple[Node, Jacobian, float]]
    ) -> Iterator[tuple[Node, Array]]:
        """What ``node`` passes on to its parents, and what the changes add to that."""
        for link in self.catalogue.edges[node]:
            yield link.parent, pulled(bar, link.jacobian) if len(bar) == 1 else bar @ link.csr
        for parent, jacobian, sign in changed:
            yield parent, sign * pulled(bar, jacobian)
        for step in self.given.steps:
            if step.child is node:
                yield step.parent, bar @ step.difference

    def _own(self, node: Node, rows: Array) -> Array:
        return np.asarray(rows @ self.given.fixed[node])

    # --- one change -----------------------------------------------------------------------

    @cached_property
    def tangents(self) -> dict[Node, Array]:
        """What ``columns`` become at every node; nothing passes where a derivative is fixed."""
        found: dict[Node, Array] = {self.wrt: self.columns}
        for node in self.inside:
            total = np.zeros((node.size, self.columns.shape[1]))
            for link in self.catalogue.edges[node]:
                if link.parent in found and link.parent not in self.given.fixed:
                    total += link.csr @ found[link.parent]
            for step in self.given.steps:
                if step.child is node and step.parent in found:
                    total += step.difference @ found[step.parent]
            found[node] = total
        return {node: array for node, array in found.items() if node not in self.given.fixed}

    def effect(self, mutant: Mutant) -> Array | None:
        """What one mistake changes in the condensed derivative; None where it does not exist."""
        total = np.zeros(self.columns.shape[1])
        for change in mutant.changes:
            bar, tangent = self.bars.get(change.child), self.tangents.get(change.parent)
            if bar is None or tangent is None:
                continue
            made = self.catalogue.made(change)
            if made is None:
                return None
            total += (pulled(bar, made) @ tangent).reshape(-1)
            total -= self.right(change.child, change.parent, change.right)
        return total if np.isfinite(total).all() else None

    def right(self, child: Node, parent: Node, jacobian: Callable[[], Jacobian]) -> Array:
        """What passes through one Jacobian of the graph's own."""
        right = jacobian()
        key = (child, parent, id(right))
        if key not in self._right:
            self._right[key] = (pulled(self.bars[child], right) @ self.tangents[parent]).reshape(-1)
        return self._right[key]


def pulled(rows: Array, jacobian: Jacobian) -> Array:
    """Rows times a Jacobian."""
    if len(rows) == 1:
        return jacobian.pull(rows[0]).reshape(1, -1)
    return np.asarray(rows @ jacobian.tocsr())
