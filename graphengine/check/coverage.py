"""Mutation coverage: which known mistakes would show at the points of a check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from graphengine.check.backward import Flow
from graphengine.check.mistakes import Mutant
from graphengine.check.report import Coverage
from graphengine.check.trust import Place
from graphengine.ops.base import Array

__all__ = ["Survey", "telling"]

VISIBLE = 1e-6
"""A mistake shows where it changes the derivative by this part of it."""


class Survey:
    """Which of the mistakes that can be made on the way from ``wrt`` to ``of`` show at points.

    A mistake shows at a point where it changes the condensed derivative.  Mistakes that change no
    Jacobian at any of the points are none: an identity left out, the mean over one example.
    """

    def __init__(self, of: str, wrt: str) -> None:
        self.of, self.wrt = of, wrt
        self._hidden: dict[tuple[object, ...], Mutant] = {}
        self._visible: set[tuple[object, ...]] = set()
        self._idle: dict[tuple[object, ...], Mutant] = {}

    def at(self, places: Sequence[Place]) -> Coverage:
        """The coverage with these points added; at each only what is still hidden is looked at."""
        usable = [place for place in places if not place.drawn.troubles]
        for place in sorted(usable, key=lambda one: one.work):
            if self._visible and not self._hidden and not self._idle:
                break
            flow = place.flow(self.of, self.wrt)
            if not np.isfinite(flow.value).all():
                continue
            size = VISIBLE * float(np.max(np.abs(flow.value), initial=0.0))
            found = list(self._still_hidden(flow))
            if not found:
                continue
            effects = np.array([effect for _, effect in found]).reshape(len(found), -1)
            shows = (np.max(np.abs(effects), axis=1, initial=0.0) > size).tolist()
            for (mutant, _), visible in zip(found, shows, strict=True):
                if visible:
                    self._visible.add(mutant.key)
                    self._hidden.pop(mutant.key, None)
                    self._idle.pop(mutant.key, None)
                elif mutant.by_sign or not place.catalogue.changes_nothing(mutant):
                    self._hidden[mutant.key] = mutant
                    self._idle.pop(mutant.key, None)
                elif mutant.key in self._idle:
                    del self._idle[mutant.key]  # idle at two points: it is no mistake here
                else:
                    self._idle[mutant.key] = mutant
        return self.coverage

    def _still_hidden(self, flow: Flow) -> Iterator[tuple[Mutant, Array]]:
        if not self._visible:
            yield from flow.effects
            return
        for mutant in [*self._hidden.values(), *self._idle.values()]:
            here = flow.same(mutant)
            effect = flow.effect(here) if here is not None else None
            if here is not None and effect is not None:
                yield here, effect

    @property
    def coverage(self) -> Coverage:
        """What is known so far."""
        hidden = tuple(f"∂{self.of}/∂{self.wrt}: {one.says}" for one in self._hidden.values())
        return Coverage(len(self._visible), len(self._visible) + len(hidden), hidden)


def telling(places: Sequence[Place], candidates: Sequence[Place], count: int) -> list[Place]:
    """``count`` of the candidates: those where nodes have signs not met at ``places``."""
    chosen: list[Place] = []
    left = list(candidates)
    seen = set().union(*map(_signs, places))
    for _ in range(min(count, len(left))):
        best = max(left, key=lambda one: len(_signs(one) - seen))
        left.remove(best)
        chosen.append(best)
        seen |= _signs(best)
    return chosen


def _signs(place: Place) -> set[tuple[int, int]]:
    """Which nodes have negative entries at a point, and which positive ones."""
    found = set()
    for node in place.graph.nodes:
        value = place.run.value(node)
        found |= {(node.number, -1)} if np.any(value < 0) else set()
        found |= {(node.number, 1)} if np.any(value > 0) else set()
    return found
