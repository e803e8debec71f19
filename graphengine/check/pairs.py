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
from graphengine.graph import Node
from graphengine.ops.base import Array

__all__ = ["MOST_MUTANTS", "MOST_TRIED", "pairs"]

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
    first = flows[0]
    whole = float(np.max(np.abs(first.value), initial=0.0))
    known = [
        (mutant, effect)
        for mutant, effect in first.effects
        if not (mutant.kind in _CUTS and np.all(np.abs(effect + first.value) <= near * whole))
    ]
    known.sort(key=lambda pair: pair[0].rank)
    known = _distinct(known[: 4 * MOST_MUTANTS])[:MOST_MUTANTS]
    if not known:
        return
    mutants = [mutant for mutant, _ in known]
    fits = np.ones((len(mutants), len(mutants)), dtype=bool)
    changes = np.zeros(len(mutants), dtype=bool)
    for flow, target in zip(flows, wanted, strict=True):
        here = mutants if flow is first else [flow.same(mutant) for mutant in mutants]
        effects = _effects(flow, here)
        fits &= _agree(flow, here, effects, target, near)
        changes |= np.any(effects != 0, axis=1)
        if np.count_nonzero(fits) <= 2 * MOST_TRIED:
            break
    else:
        fits &= changes & changes[:, None]
    ranks = np.array([mutant.rank for mutant in mutants])
    found = [
        (int(ranks[a] + ranks[b]), int(a), int(b))
        for a, b in np.argwhere(fits)
        if a < b and mutants[a].key[:3] != mutants[b].key[:3]
    ]
    for _, a, b in sorted(found)[:MOST_TRIED]:
        yield mutants[a], mutants[b]


def _effects(flow: Flow, mutants: Sequence[Mutant | None]) -> Array:
    """What each mistake alone changes, in rows; NaN where it cannot be made."""
    effects = np.full((len(mutants), flow.columns.shape[1]), np.nan)
    for number, mutant in enumerate(mutants):
        effect = flow.effect(mutant) if mutant is not None else None
        if effect is not None:
            effects[number] = effect
    return effects


def _agree(
    flow: Flow, mutants: Sequence[Mutant | None], effects: Array, wanted: Array, near: float
) -> NDArray[np.bool_]:
    """Which pairs have the joint effect ``wanted`` at one point."""
    joint = effects[:, None, :] + effects[None, :, :] + _both_ways(flow, mutants)
    size = float(np.max(np.abs(wanted))) + 1e-6 * float(np.max(np.abs(flow.value)))
    return np.asarray(np.all(np.abs(joint - wanted) <= near * size, axis=2))


def _distinct(known: list[tuple[Mutant, Array]]) -> list[tuple[Mutant, Array]]:
    """One mutant of each place and effect: those with equal numbers at one link count once."""
    kept: dict[tuple[object, ...], tuple[Mutant, Array]] = {}
    for mutant, effect in known:
        key = (*mutant.key[:3], *np.round(effect / (np.max(np.abs(effect)) or 1.0), 9))
        key += (float(f"{np.max(np.abs(effect)):.9g}"),)
        kept.setdefault(key, (mutant, effect))
    return list(kept.values())


def _both_ways(flow: Flow, mutants: Sequence[Mutant | None]) -> Array:
    crossed = _crossed(flow, mutants)
    return np.asarray(crossed + np.swapaxes(crossed, 0, 1))


class _Moves(NamedTuple):
    """What one changed link does: the row it adds at its parent, the columns at its child."""

    number: int
    parent: Node
    row: Array
    columns: Array


def _moves(flow: Flow, mutants: Sequence[Mutant | None]) -> dict[Node, list[_Moves]]:
    """The changes of all mutants, by their child."""
    found: dict[Node, list[_Moves]] = {}
    for number, mutant in enumerate(mutants):
        for change in mutant.changes if mutant is not None else ():
            if not flow.passes(change):
                continue
            with np.errstate(all="ignore"):
                row, columns = flow.above.moved(change), flow.below.raised(change)
            if row is not None and columns is not None:
                move = _Moves(number, change.parent, row, columns)
                found.setdefault(change.child, []).append(move)
    return found


def _crossed(flow: Flow, mutants: Sequence[Mutant | None]) -> Array:
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
