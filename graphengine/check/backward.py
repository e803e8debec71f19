"""The backward pass of a check: the graph's own, with some Jacobians changed.

A mistake changes ``∂child/∂parent`` at one link; an author's own earlier claim takes the place of
the derivative that it is about.  Both are a :class:`Given`, and the pass is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from graphengine.check.mistakes import Catalogue, Change, Mutant
from graphengine.check.sides import NOTHING, Above, Below, Given, Step
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Array

__all__ = ["NOTHING", "Flow", "Given", "Step"]


class Flow:
    """``∂of/∂wrt`` at one point under changes, condensed to few numbers.

    ``above`` has a row of the size of ``of``, which is multiplied from the left, ``below`` columns
    (size of ``wrt`` × q) that are multiplied from the right: a change anywhere on the way is then
    a product of one pulled-back row with what was pushed forward (:meth:`effect`), without another
    pass.  Both have the same ``given``.
    """

    def __init__(self, above: Above, below: Below) -> None:
        self.catalogue: Catalogue = above.catalogue
        self.above, self.below, self.given = above, below, above.given
        self.of, self.wrt = above.of, below.wrt
        self.row, self.columns = above.row, below.columns
        self.inside = self.catalogue.path(self.of, self.wrt)
        above.reach((self.wrt, *self.inside))
        below.reach(self.inside)
        self.reached = frozenset((self.wrt, *self.inside))

    @cached_property
    def value(self) -> Array:
        """What the derivative condenses to."""
        found = self.above.bars.get(self.wrt) if self.inside else None
        size = self.columns.shape[1]
        with np.errstate(all="ignore"):  # a derivative may be infinite
            return np.zeros(size) if found is None else np.asarray(found @ self.columns)

    @cached_property
    def effects(self) -> list[tuple[Mutant, Array]]:
        """Every known mistake on the way that can be made here, and what it changes."""
        found: list[tuple[Mutant, Array]] = []
        for link in self.catalogue.links(self.of, self.wrt):
            found += self.above.effects(link, self.below.tangents[link.parent])
        for mutant in self.catalogue.further(self.of, self.wrt):
            effect = self.effect(mutant)
            if effect is not None:
                found.append((mutant, effect))
        return found

    def claim(self, matrix: Array) -> Array:
        """What the claimed matrix condenses to."""
        with np.errstate(all="ignore"):
            return np.asarray(self.row.reshape(1, -1) @ matrix @ self.columns).reshape(-1)

    @cached_property
    def _further(self) -> dict[tuple[object, ...], Mutant]:
        found = self.catalogue.further(self.of, self.wrt)
        return {mutant.key: mutant for mutant in found}

    def same(self, mutant: Mutant) -> Mutant | None:
        """The same mistake at this point; None where it cannot be made here."""
        link = self.catalogue.link(self.of, self.wrt, mutant.key[:3])
        known = self.catalogue.known(link, mutant) if link is not None else None
        return known or self._further.get(mutant.key)

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
            yield link.parent, _pulled(bar, link.jacobian) if len(bar) == 1 else bar @ link.csr
        for parent, jacobian, sign in changed:
            yield parent, sign * _pulled(bar, jacobian)
        for step in self.given.steps:
            if step.child is node:
                yield step.parent, bar @ step.difference

    def _own(self, node: Node, rows: Array) -> Array:
        return np.asarray(rows @ self.given.fixed[node])

    # --- one change -----------------------------------------------------------------------

    def effect(self, mutant: Mutant) -> Array | None:
        """What one mistake changes in the condensed derivative; None where it does not exist."""
        total = np.zeros(self.columns.shape[1])
        for change in mutant.changes:
            if self.passes(change):
                with np.errstate(all="ignore"):
                    moved = self.above.moved(change)
                    effect = None if moved is None else moved @ self.below.tangents[change.parent]
                if effect is None or not np.isfinite(effect).all():
                    return None
                total += effect
        return total

    def passes(self, change: Change) -> bool:
        """Whether what a changed link does reaches both ends."""
        return change.child in self.above.bars and change.parent in self.reached


def _pulled(rows: Array, jacobian: Jacobian) -> Array:
    """Rows times a Jacobian."""
    if len(rows) == 1:
        return jacobian.pull(rows[0]).reshape(1, -1)
    return np.asarray(rows @ jacobian.tocsr())
