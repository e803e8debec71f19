"""The verdict on each claim of a derivation, from its values at several points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from graphengine.check.claims import Comparison, as_matrix, compare, shape_mistake
from graphengine.check.report import ClaimResult
from graphengine.check.trust import ROUNDING_FACTOR, Place, Reference
from graphengine.derivation import Claim, Derivation, Point
from graphengine.errors import GraphEngineError
from graphengine.ops.base import Array, as_value

__all__ = ["judge"]

HIDDEN = 1e-3
"""Where rounding reaches this part of the derivative, agreement within it decides nothing."""

Values = Mapping[str, Array | GraphEngineError]


def judge(
    derivation: Derivation, places: Sequence[Place], tolerance: float
) -> tuple[ClaimResult, ...]:
    """A verdict for each claim, in the author's order.

    ``error``: a claim has no value at some point, or names no node.  ``wrong``: its shape is not
    one that it may have, or an entry is off by more than the tolerance and rounding at a point
    where the reference can be trusted.  ``undecided``: the reference disagrees with numeric
    derivatives at some point; or at more than half of the points there is a kink, a value that
    is not finite, or rounding as large as the derivative.  Else ``right``.
    """
    trial = _Trial(derivation, places, tolerance)
    return tuple(trial.verdict(claim) for claim in derivation.claims)


class _Trial:
    """All claims of one derivation at all points; what is computed once is kept."""

    def __init__(self, derivation: Derivation, places: Sequence[Place], tolerance: float) -> None:
        self.derivation, self.places, self.tolerance = derivation, places, tolerance
        self.values: Sequence[Values] = derivation.evaluate(
            [Point(place.drawn.sizes, place.graph, place.values()) for place in places]
        )

    @cached_property
    def rounded(self) -> Sequence[Sequence[Values]]:
        """The values of the claims in the rounded runs of each point, all asked for at once."""
        found = iter(
            self.derivation.evaluate(
                [
                    Point(place.drawn.sizes, place.graph, place.values(run))
                    for place in self.places
                    for run in place.rounded
                ]
            )
        )
        return [[next(found) for _ in place.rounded] for place in self.places]

    def verdict(self, claim: Claim) -> ClaimResult:
        """The verdict on one claim."""
        made = ClaimResult(claim.name, "error", place=claim.place)
        missing = [node for node in (claim.of, claim.wrt) if node not in self.places[0].graph]
        if missing:
            return replace(made, says=f"the graph has no node {missing[0]!r}")
        arrays = []
        layout = self.derivation.layout
        for place, values in zip(self.places, self.values, strict=True):
            made = replace(made, sizes=place.drawn.sizes)
            array = _array(values, claim.name)
            if isinstance(array, GraphEngineError):
                return replace(made, says=str(array))
            of, wrt = place.graph[claim.of], place.graph[claim.wrt]
            if as_matrix(array, of.shape, wrt.shape, layout) is None:
                mistake = shape_mistake(claim.name, array.shape, of.shape, wrt.shape, layout)
                return replace(made, verdict="wrong", mistakes=(mistake,))
            arrays.append(array)
        return self._by_numbers(claim, arrays)

    def _by_numbers(self, claim: Claim, arrays: Sequence[Array]) -> ClaimResult:
        references = [
            place.reference(place.graph[claim.of], place.graph[claim.wrt]) for place in self.places
        ]
        method = " and ".join(dict.fromkeys(r.method for r in references if r.method))
        made = ClaimResult(claim.name, "undecided", place=claim.place, reference=method)
        doubt = next((r.trouble for r in references if r.method and r.trouble), "")
        if doubt:
            return replace(made, says=doubt)
        found = {
            k: self._compare(claim, k, array, reference)
            for k, (array, reference) in enumerate(zip(arrays, references, strict=True))
            if not reference.trouble
        }
        why = next((reference.trouble for reference in references if reference.trouble), "")
        for k in sorted(found, key=lambda k: -found[k].error):
            if found[k].error <= self.tolerance:
                break
            finer, hidden = self._with_rounding(claim, k, arrays[k], references[k])
            if finer.error > self.tolerance:
                return self._result(replace(made, verdict="wrong"), {**found, k: finer}, k)
            found[k] = finer
            if hidden:
                del found[k]
                why = f"rounding is as large as ∂{claim.of}/∂{claim.wrt} itself"
        if 2 * len(found) < len(self.places):
            return replace(made, points=len(found), says=why)
        worst = max(found, key=lambda k: found[k].error)
        return self._result(replace(made, verdict="right"), found, worst)

    def _result(
        self, made: ClaimResult, found: Mapping[int, Comparison], worst: int
    ) -> ClaimResult:
        return replace(
            made,
            relative_error=found[worst].error,
            points=len(found),
            worst=found[worst].worst,
            sizes=self.places[worst].drawn.sizes,
        )

    def _compare(
        self, claim: Claim, k: int, array: Array, reference: Reference, noise: Array | float = 0.0
    ) -> Comparison:
        return compare(
            self._matrix(claim, k, array),
            reference.matrix,
            reference.contributions,
            tolerance=self.tolerance,
            noise=noise,
            shape=array.shape,
            layout=self.derivation.layout,
        )

    def _matrix(self, claim: Claim, k: int, array: Array) -> Array:
        graph = self.places[k].graph
        of, wrt = graph[claim.of], graph[claim.wrt]
        matrix = as_matrix(array, of.shape, wrt.shape, self.derivation.layout)
        assert matrix is not None
        return matrix

    def _with_rounding(
        self, claim: Claim, k: int, array: Array, reference: Reference
    ) -> tuple[Comparison, bool]:
        """The comparison with measured rounding allowed, and whether that hides the derivative.

        The values of all nodes are put off by a few units in the last place: what the reference
        and the claim make of that is rounding which nobody can be blamed for.
        """
        place = self.places[k]
        of, wrt = place.graph[claim.of], place.graph[claim.wrt]
        noise = place.spread(of, wrt)
        exact = self._matrix(claim, k, array)
        for values in self.rounded[k]:
            moved = _array(values, claim.name)
            if isinstance(moved, np.ndarray) and moved.shape == array.shape:
                with np.errstate(invalid="ignore"):
                    noise = np.maximum(noise, np.abs(self._matrix(claim, k, moved) - exact))
        noise = ROUNDING_FACTOR * np.where(np.isfinite(noise), noise, 0.0)
        size = np.max(np.abs(reference.matrix), initial=0.0)
        hidden = bool(np.max(noise, initial=0.0) > HIDDEN * size)
        return self._compare(claim, k, array, reference, noise), hidden


def _array(values: Values, name: str) -> Array | GraphEngineError:
    """A claim's value as an array, or the error in its place."""
    given = values.get(name)
    if isinstance(given, GraphEngineError):
        return given
    try:
        return as_value(given, f"claim {name}")
    except GraphEngineError as error:
        return error
