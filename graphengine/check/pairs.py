"""Two mistakes at once: all pairs of known mistakes, compared at one point without another pass.

For changes ``a`` above ``b`` on one way, the derivative changes by the effect of each and by what
``a`` brings down to ``b``: a row for each ``a`` at every node, times a column for each ``b``.  That
is one matrix product for each node, for all pairs together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphengine.check.backward import Flow, pulled
from graphengine.check.mistakes import Mutant
from graphengine.graph import Node
from graphengine.ops.base import Array

__all__ = ["MOST_MUTANTS", "MOST_TRIED", "pairs"]

MOST_MUTANTS = 700
"""Of more mutants than this the likeliest are paired."""
MOST_TRIED = 60
"""So many pairs that agree at one point are compared at the others."""


def pairs(flow: Flow, wanted: Array, near: float) -> Iterator[tuple[Mutant, Mutant]]:
    """Pairs of mistakes whose joint effect is ``wanted``, the likeliest first."""
    known = [(m, e) for m, e in flow.effects if np.any(e != 0)]
    known.sort(key=lambda pair: pair[0].rank)
    known = _distinct(known[: 4 * MOST_MUTANTS])[:MOST_MUTANTS]
    if not known:
        return
    mutants = [mutant for mutant, _ in known]
    effects = np.stack([effect for _, effect in known])
    joint = effects[:, None, :] + effects[None, :, :] + _crossed(flow, mutants)
    size = float(np.max(np.abs(wanted))) + 1e-12 * float(np.max(np.abs(flow.value)))
    fits = np.all(np.abs(joint - wanted) <= near * size, axis=2)
    ranks = np.array([mutant.rank for mutant in mutants])
    found = [
        (int(ranks[a] + ranks[b]), int(a), int(b))
        for a, b in np.argwhere(fits)
        if a != b and mutants[a].key[:3] != mutants[b].key[:3]
    ]
    seen: set[tuple[int, int]] = set()
    for _, a, b in sorted(found)[: 2 * MOST_TRIED]:
        if (b, a) not in seen:
            seen.add((a, b))
            yield mutants[a], mutants[b]


def _distinct(known: list[tuple[Mutant, Array]]) -> list[tuple[Mutant, Array]]:
    """One mutant of each place and effect: those with equal numbers at one link count once."""
    kept: dict[tuple[object, ...], tuple[Mutant, Array]] = {}
    for mutant, effect in known:
        key = (*mutant.key[:3], *np.round(effect / (np.max(np.abs(effect)) or 1.0), 9))
        key += (float(f"{np.max(np.abs(effect)):.9g}"),)
        kept.setdefault(key, (mutant, effect))
    return list(kept.values())


def _crossed(flow: Flow, mutants: list[Mutant]) -> Array:
    """What each mutant (first axis) brings down to each other one (second axis)."""
    count, q = len(mutants), flow.columns.shape[1]
    total = np.zeros((count, count, q))
    rows: dict[Node, Array] = {}
    starts: dict[Node, list[tuple[int, Node, Array]]] = {}
    columns: dict[Node, list[tuple[int, Array]]] = {}
    for number, mutant in enumerate(mutants):
        for change in mutant.changes:
            made = flow.catalogue.made(change)
            bar, tangent = flow.bars.get(change.child), flow.tangents.get(change.parent)
            if made is None or bar is None or tangent is None:
                continue
            right = change.right()
            difference = pulled(bar, made) - pulled(bar, right)
            starts.setdefault(change.child, []).append((number, change.parent, difference))
            moved = np.stack(
                [made.push(column) - right.push(column) for column in tangent.T], axis=-1
            ).reshape(change.child.size, q)
            columns.setdefault(change.child, []).append((number, moved))
    reached = {flow.wrt, *flow.inside}

    def at(node: Node) -> Array:
        if node not in rows:
            rows[node] = np.zeros((count, node.size))
        return rows[node]

    for node in reversed(flow.inside):
        above = rows.pop(node, None)
        if above is not None:
            for number, moved in columns.get(node, ()):
                total[:, number] += above @ moved
            if node in flow.given.fixed:
                above = None
        for link in flow.catalogue.edges[node]:
            if above is not None and link.parent in reached:
                at(link.parent)[:] += above @ link.csr
        for number, parent, difference in starts.get(node, ()):
            if parent in reached:
                at(parent)[number] += difference[0]
    return total
