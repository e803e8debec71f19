"""Two mistakes at once: all pairs of known mistakes, compared at one point without another pass.

For changes ``a`` above ``b`` on one way, the derivative changes by the effect of each and by what
``a`` brings down to ``b``: a row for each ``a`` at every node, times a column for each ``b``.  That
is one matrix product for each node, for all pairs together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphengine.check.backward import Flow
from graphengine.check.mistakes import Mutant
from graphengine.check.mistakes.changes import Changed
from graphengine.graph import Node
from graphengine.ops.base import Array

__all__ = ["MOST_MUTANTS", "MOST_TRIED", "is_number", "pairs"]

Pair: TypeAlias = tuple[Mutant, Mutant]

_CUTS = {"missing_path", "treated_as_constant", "missing_regulariser"}
"""What leaves nothing of the derivative is no half of a pair."""
MOST_MUTANTS = 700
"""Of more mutants than this the likeliest are paired."""
MOST_TRIED = 60
"""So many pairs that agree at one point are compared at the others."""


def pairs(flows: Sequence[Flow], wanted: Sequence[Array], near: float) -> Iterator[Pair]:
    """Pairs of mistakes whose joint effect is ``wanted``, the likeliest first.

    Where the derivative is a single number, so that many pairs would agree by accident, further
    points are looked at before any pair is tried in full.
    """
    known = _known(flows, near)
    if not known:
        return
    fits = np.ones((len(known), len(known)), dtype=bool)
    for place, (flow, target) in enumerate(zip(flows, wanted, strict=True)):
        fits &= _agree(
            flow, [(one.mutants[place], one.effects[place]) for one in known], target, near
        )
        if np.count_nonzero(fits) <= 2 * MOST_TRIED:
            break
    else:
        changes = np.array([bool(np.any(one.effects)) for one in known])
        fits &= changes & changes[:, None]
    mutants = [one.mutants[0] for one in known]
    found = [
        (mutants[a].rank + mutants[b].rank, int(a), int(b))
        for a, b in np.argwhere(fits)
        if a < b and _apart(flows[0], mutants[a], mutants[b])
    ]
    for _, a, b in sorted(found)[:MOST_TRIED]:
        yield mutants[a], mutants[b]


class _Known(NamedTuple):
    """One mistake at all points that are looked at, and what it changes: NaN where it cannot be."""

    mutants: Sequence[Mutant]
    effects: Array


def _known(flows: Sequence[Flow], near: float) -> list[_Known]:
    """The likeliest mistakes that may be half of a pair, those with equal numbers once."""
    first, *further = flows
    whole = float(np.max(np.abs(first.value), initial=0.0))
    likely = sorted(first.effects, key=lambda pair: pair[0].rank)
    tables = [{mutant.key: (mutant, effect) for mutant, effect in flow.effects} for flow in further]
    kept: dict[object, list[_Known]] = {}
    count = 0
    for mutant, effect in likely:
        if mutant.kind in _CUTS and np.all(np.abs(effect + first.value) <= near * whole):
            continue
        nowhere = (mutant, np.full(effect.shape, np.nan))
        made = [(mutant, effect), *(table.get(mutant.key, nowhere) for table in tables)]
        one = _Known([m for m, _ in made], np.stack([e for _, e in made]))
        numbers = tuple(float(f"{number:.9g}") for number in one.effects.ravel())
        scale = is_number(mutant)
        alike = kept.setdefault(numbers if scale else (mutant.key[:3], numbers), [])
        links = {other.mutants[0].key[:3] for other in alike}
        if len(alike) < (2 if scale else 1) and mutant.key[:3] not in links:
            alike.append(one)
            count += 1
        if count == MOST_MUTANTS:
            break
    return [one for alike in kept.values() for one in alike]


def _apart(flow: Flow, one: Mutant, two: Mutant) -> bool:
    """Whether two mistakes change different steps: a step is not apart from the way it is on."""
    if one.key[:3] == two.key[:3]:
        return False
    for way, other in ((one, two), (two, one)):
        child, parent, place = way.key[:3]
        if isinstance(child, int) and isinstance(parent, int) and not isinstance(place, int):
            nodes = flow.catalogue.run.graph.nodes
            inside = flow.catalogue.path(nodes[child], nodes[parent])
            reached = {nodes[parent], *inside}
            if any(step.child in inside and step.parent in reached for step in other.changes):
                return False
    return True


def is_number(mutant: Mutant) -> bool:
    """Whether a mistake is a number at one link, which may as well be at another on the way."""
    made = mutant.changes[0].made
    return len(mutant.changes) == 1 and isinstance(made, Changed) and made.is_number


def _agree(
    flow: Flow, known: Sequence[tuple[Mutant, Array]], wanted: Array, near: float
) -> NDArray[np.bool_]:
    """Which pairs have the joint effect ``wanted`` at one point."""
    effects = np.stack([effect for _, effect in known])
    joint = effects[:, None, :] + effects[None, :, :]
    joint += _both_ways(flow, [mutant for mutant, _ in known])
    size = float(np.max(np.abs(wanted))) + 1e-6 * float(np.max(np.abs(flow.value)))
    return np.asarray(np.all(np.abs(joint - wanted) <= near * size, axis=2))


def _both_ways(flow: Flow, mutants: Sequence[Mutant]) -> Array:
    crossed = _crossed(flow, mutants)
    return np.asarray(crossed + np.swapaxes(crossed, 0, 1))


class _Moves(NamedTuple):
    """What one changed link does: the row it adds at its parent, the columns at its child."""

    number: int
    parent: Node
    row: Array
    columns: Array


def _moves(flow: Flow, mutants: Sequence[Mutant]) -> dict[Node, list[_Moves]]:
    """The changes of all mutants, by their child."""
    found: dict[Node, list[_Moves]] = {}
    for number, mutant in enumerate(mutants):
        for change in mutant.changes:
            if not flow.passes(change):
                continue
            with np.errstate(all="ignore"):
                row, columns = flow.above.moved(change), flow.below.raised(change)
            if row is not None and columns is not None:
                move = _Moves(number, change.parent, row, columns)
                found.setdefault(change.child, []).append(move)
    return found


def _crossed(flow: Flow, mutants: Sequence[Mutant]) -> Array:
    """What each mutant (first axis) brings down to each other one (second axis)."""
    count = len(mutants)
    total = np.zeros((count, count, flow.columns.shape[1]))
    moves = _moves(flow, mutants)
    rows: dict[Node, Array] = {node: np.zeros((count, node.size)) for node in flow.inside}
    for node in reversed(flow.inside):
        above = rows.pop(node)
        if node in flow.given.fixed:  # what comes from above ends here
            above = np.zeros_like(above)
        for move in moves.get(node, ()):
            total[:, move.number] += above @ move.columns
        for link in flow.catalogue.edges[node]:
            if link.parent in rows:
                rows[link.parent] += above @ link.csr
        for move in moves.get(node, ()):
            if move.parent in rows:
                rows[move.parent][move.number] += move.row
    return total
