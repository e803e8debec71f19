"""Mutation coverage: which known mistakes would show at the points of a check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphengine.check.mistakes import Mutant, changes_nothing
from graphengine.check.report import Coverage
from graphengine.check.trust import Place

__all__ = ["coverage"]

VISIBLE = 1e-6
"""A mistake shows where it changes the derivative by this part of it."""


def coverage(places: Sequence[Place], of: str, wrt: str) -> Coverage:
    """How many of the mistakes that can be made on the way from ``wrt`` to ``of`` would show.

    A mistake shows at a point where it changes the condensed derivative.  Mistakes that change no
    Jacobian at any of the points are none: an identity left out, the mean over one example.
    """
    usable = [place for place in places if not place.drawn.troubles]
    seen: dict[tuple[object, ...], bool] = {}
    known: dict[tuple[object, ...], Mutant] = {}
    for place in sorted(usable, key=lambda one: sum(node.size for node in one.graph.nodes)):
        flow = place.flow(of, wrt)
        size = float(np.max(np.abs(flow.value), initial=0.0))
        if known and all(seen.values()):
            break
        for mutant, effect in flow.effects:
            shows = bool(np.max(np.abs(effect), initial=0.0) > VISIBLE * size)
            if not seen.get(mutant.key) and (shows or not changes_nothing(mutant)):
                known[mutant.key] = mutant
                seen[mutant.key] = shows
    hidden = tuple(f"∂{of}/∂{wrt}: {known[key].says}" for key, shown in seen.items() if not shown)
    return Coverage(sum(seen.values()), len(seen), hidden)
