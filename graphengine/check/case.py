"""A wrong claim with all that is needed to explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from graphengine.check.backward import NOTHING, Flow, Given
from graphengine.check.claims import compare
from graphengine.check.trust import Place, Reference
from graphengine.derivation import Claim
from graphengine.ops.base import Array

__all__ = ["NEAR", "Case", "Matrices", "close"]

NEAR = 1e-6
"""Condensed numbers that agree to this are looked at in full."""

LEAST = 3
"""Of so many places with little work that one is looked at first where most mistakes show."""

Matrices: TypeAlias = Sequence[Array]
"""A claim as matrices ``size of × size wrt``, one for each place."""


@dataclass(frozen=True)
class Case:
    """One wrong claim: its numbers at the places that decide, and the references there."""

    claim: Claim
    layout: str
    places: Sequence[Place]
    arrays: Sequence[Array]
    references: Sequence[Reference]
    tolerance: float
    noise: Mapping[int, Array]

    def flow(self, k: int, given: Sequence[Given] = ()) -> Flow:
        """The backward pass at place ``k``, perhaps with the author's own values in it."""
        return self.places[k].flow(self.claim.of, self.claim.wrt, given[k] if given else NOTHING)

    def agrees(self, k: int, claimed: Array, found: Array | None) -> bool:
        """Whether ``claimed`` has the numbers of ``found`` at place ``k``."""
        if found is None or found.shape != claimed.shape or not np.isfinite(found).all():
            return False
        reference = self.references[k]
        if reference.matrix.shape != found.shape:
            return False
        sizes = np.maximum(reference.contributions, np.abs(found))
        noise = self.noise.get(k, 0.0)
        found_ = compare(claimed, found, sizes, tolerance=self.tolerance, noise=noise)
        return found_.error <= self.tolerance

    def near(self, claimed: Array, found: Array) -> bool:
        """Whether ``claimed`` has the numbers of ``found``, whatever it is the derivative of."""
        sizes = np.abs(found)
        return compare(claimed, found, sizes, tolerance=self.tolerance).error <= self.tolerance

    @cached_property
    def telling(self) -> Sequence[int]:
        """The places with the least work, first of them that where most mistakes show."""
        least = sorted(range(len(self.places)), key=lambda k: self.places[k].work)[:LEAST]
        shown = [_shown(self.flow(k)) for k in least]
        best = least[int(np.argmax(shown))]
        return [best, *(k for k in least if k != best)]

    @property
    def first(self) -> int:
        """The place where mistakes are looked for."""
        return self.telling[0]


def _shown(flow: Flow) -> int:
    """How many different changes of the derivative the known mistakes make."""
    return len({tuple(float(f"{number:.6g}") for number in effect) for _, effect in flow.effects})


def close(effect: Array, wanted: Array, flow: Flow) -> bool:
    """Whether a change of the condensed derivative is the one that is wanted."""
    size = float(np.max(np.abs(flow.value), initial=0.0))
    gap = float(np.max(np.abs(effect - wanted), initial=0.0))
    return gap <= NEAR * float(np.max(np.abs(wanted), initial=0.0)) + 1e-12 * size
