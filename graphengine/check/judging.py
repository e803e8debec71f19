"""The verdict on each claim of a derivation, from its values at several points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from graphengine.check.backward import Given, Step
from graphengine.check.case import Case
from graphengine.check.claims import Comparison, as_matrix, compare, order, shape_mistake
from graphengine.check.diagnosis import diagnose, follows
from graphengine.check.report import ClaimResult, Mistake
from graphengine.check.trust import ROUNDING_FACTOR, Place, Reference
from graphengine.derivation import Claim, Derivation, Point
from graphengine.errors import GraphEngineError, ShapeError
from graphengine.ops.base import Array, as_value

__all__ = ["judge"]

HIDDEN = 1e-3
"""Where rounding reaches this part of the derivative, agreement within it decides nothing."""
TIGHT = 1e-11
"""A claim that is right to this where a constant has its own tiny value has the number in place of
the constant's name, if it is wrong where the constant has another value."""
MOST_SHARED = 1e-9
"""Relative rounding seen in one entry that all entries of a claim are allowed."""
MOST_GIVEN = 4
"""So many of the author's earlier wrong claims are tried in all combinations."""

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

    What is wrong is then judged again with the author's own earlier values in place of the
    reference (an error carried forward), and explained: :func:`~graphengine.check.diagnosis`.
    """
    trial = _Trial(derivation, places, tolerance)
    results = trial.explained({claim.name: trial.verdict(claim) for claim in derivation.claims})
    return tuple(results[claim.name] for claim in derivation.claims)


class _Trial:
    """All claims of one derivation at all points; what is computed once is kept."""

    def __init__(self, derivation: Derivation, places: Sequence[Place], tolerance: float) -> None:
        self.derivation, self.places, self.tolerance = derivation, places, tolerance
        self._rounded: dict[int, Sequence[Values]] = {}
        self.values: Sequence[Values] = derivation.evaluate(
            [Point(place.drawn.sizes, place.graph, place.values()) for place in places]
        )

    def rounded(self, k: int) -> Sequence[Values]:
        """The values of the claims in the rounded runs of one point."""
        if k not in self._rounded:
            place = self.places[k]
            self._rounded[k] = self.derivation.evaluate(
                [Point(place.drawn.sizes, place.graph, place.values(r)) for r in place.rounded]
            )
        return self._rounded[k]

    # --- verdicts -------------------------------------------------------------------------

    def verdict(self, claim: Claim) -> ClaimResult:
        """The verdict on one claim by itself."""
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
                mistakes = (Mistake("shape", claim.wrt, str(array)),)
                shapes = isinstance(array, ShapeError)
                return replace(made, says=str(array), mistakes=mistakes if shapes else ())
            of, wrt = place.graph[claim.of], place.graph[claim.wrt]
            if as_matrix(array, of.shape, wrt.shape, layout) is None:
                mistake = shape_mistake(claim.name, array.shape, of.shape, wrt.shape, layout)
                return replace(made, verdict="wrong", mistakes=(mistake,))
            arrays.append(array)
        return self._by_numbers(claim, arrays)

    def _references(self, claim: Claim) -> list[Reference]:
        return [
            place.reference(place.graph[claim.of], place.graph[claim.wrt]) for place in self.places
        ]

    def _by_numbers(self, claim: Claim, arrays: Sequence[Array]) -> ClaimResult:
        references = self._references(claim)
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
        if self._written_out(found):
            found = {k: one for k, one in found.items() if not self.places[k].drawn.rescaled}
            why = "judged with the graph's own constants alone: the claim has numbers for them"
            made = replace(made, says=why)
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
        usable = sum(1 for place in self.places if not place.drawn.rescaled or not made.says)
        if 2 * len(found) < usable or not found:
            return replace(made, points=len(found), says=why)
        worst = max(found, key=lambda k: found[k].error)
        return self._result(replace(made, verdict="right"), found, worst)

    def _written_out(self, found: Mapping[int, Comparison]) -> bool:
        """Whether the claim is exact wherever constants have their own values, and only there."""
        moved = [one.error for k, one in found.items() if self.places[k].drawn.rescaled]
        own = [one.error for k, one in found.items() if not self.places[k].drawn.rescaled]
        return bool(moved and own) and max(moved) > self.tolerance and max(own) <= TIGHT

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
        for values in self.rounded(k):
            moved = _array(values, claim.name)
            if isinstance(moved, np.ndarray) and moved.shape == array.shape:
                with np.errstate(invalid="ignore"):
                    noise = np.maximum(noise, np.abs(self._matrix(claim, k, moved) - exact))
        noise = ROUNDING_FACTOR * _shared(np.where(np.isfinite(noise), noise, 0.0), exact)
        size = np.max(np.abs(reference.matrix), initial=0.0)
        hidden = bool(np.max(noise, initial=0.0) > HIDDEN * size)
        return self._compare(claim, k, array, reference, noise), hidden

    # --- explanations ---------------------------------------------------------------------

    def explained(self, results: Mapping[str, ClaimResult]) -> dict[str, ClaimResult]:
        """The results with what explains those that are wrong, in the order of the graph."""
        found = dict(results)
        claims = {claim.name: claim for claim in self.derivation.claims}
        wrong = [claim for claim in claims.values() if results[claim.name].verdict == "wrong"]
        told: list[ClaimResult] = []
        pairs = {(claim.of, claim.wrt): claim for claim in wrong}
        for pair in order(self.places[0].graph, pairs):
            claim = pairs[pair]
            earlier = [one for one in wrong if one is not claim]
            made = self._explained(claim, results[claim.name], earlier)
            found[claim.name] = _repeated(made, told)
            if not found[claim.name].carried:
                told.append(made)
        return found

    def _explained(
        self, claim: Claim, result: ClaimResult, earlier: Sequence[Claim]
    ) -> ClaimResult:
        case = self._case(claim)
        if case is None:
            return result
        matrices = self._matrices(claim, case)
        given = list(self._given(claim, case, earlier))
        if matrices is not None:
            for own in given:
                if follows(case, matrices, own):
                    names = own[0].names
                    says = f"it follows from the claim of {' and '.join(names)}"
                    return replace(result, given=names, carried=True, says=says)
        found = diagnose(case, matrices, given)
        if found is None:
            if matrices is None:
                return result
            return replace(result, mistakes=(self._unknown(claim, result),))
        return replace(
            result,
            sizes=case.places[case.first].drawn.sizes,  # those that the sentences speak of
            mistakes=found.mistakes,
            alternatives=found.alternatives,
            given=found.given.names,
            sure=found.sure,
        )

    def _unknown(self, claim: Claim, result: ClaimResult) -> Mistake:
        says = f"no known mistake; {replace(result, sizes={}).what}"
        return Mistake("unknown", claim.wrt, says)

    def _case(self, claim: Claim) -> Case | None:
        """The claim at the places whose reference can be used."""
        references = self._references(claim)
        arrays = [_array(values, claim.name) for values in self.values]
        usable = [
            k
            for k, reference in enumerate(references)
            if not reference.trouble and isinstance(arrays[k], np.ndarray)
        ]
        usable = [k for k in usable if np.isfinite(np.asarray(arrays[k])).all()]
        if not usable:
            return None
        return Case(
            claim,
            self.derivation.layout,
            [self.places[k] for k in usable],
            [np.asarray(arrays[k]) for k in usable],
            [references[k] for k in usable],
            self.tolerance,
            {},
        )

    def _matrices(self, claim: Claim, case: Case) -> list[Array] | None:
        found = []
        for place, array in zip(case.places, case.arrays, strict=True):
            of, wrt = place.graph[claim.of], place.graph[claim.wrt]
            matrix = as_matrix(array, of.shape, wrt.shape, self.derivation.layout)
            if matrix is None:
                return None
            found.append(matrix)
        return found

    def _given(
        self, claim: Claim, case: Case, earlier: Sequence[Claim]
    ) -> Iterator[Sequence[Given]]:
        """The author's own values that this claim may follow from: one, several, all of them."""
        inside = {node.name for node in case.flow(0).inside}
        usable: list[tuple[Claim, list[Array]]] = []
        for one in earlier:
            on_the_way = one.of in inside and (one.wrt in inside or one.wrt == claim.wrt)
            if not on_the_way or (one.of == claim.of and one.wrt == claim.wrt):
                continue
            own = self._case(one)
            matrices = self._matrices(one, own) if own is not None else None
            if own is None or matrices is None or list(own.places) != list(case.places):
                continue
            usable.append((one, matrices))
        graph = case.places[0].graph
        usable.sort(key=lambda pair: (graph[pair[0].wrt].number, pair[0].of != claim.of))
        if len(usable) > MOST_GIVEN:
            sets = [(one,) for one in usable] + [tuple(usable)]
        else:
            counts = range(1, len(usable) + 1)
            sets = [chosen for count in counts for chosen in combinations(usable, count)]
        for chosen in sets:
            yield [self._given_at(claim, case, k, chosen) for k in range(len(case.places))]

    def _given_at(
        self, claim: Claim, case: Case, k: int, chosen: Sequence[tuple[Claim, list[Array]]]
    ) -> Given:
        place = case.places[k]
        fixed, steps = {}, []
        for one, matrices in chosen:
            child, parent = place.graph[one.of], place.graph[one.wrt]
            if one.of == claim.of:
                fixed[parent] = matrices[k]
            else:
                right = place.reference(child, parent)
                if not right.trouble:
                    steps.append(Step(child, parent, matrices[k] - right.matrix))
        return Given(tuple(one.name for one, _ in chosen), fixed, tuple(steps))


def _shared(noise: Array, claimed: Array) -> Array:
    """Rounding that three runs saw in one entry may reach every other, up to a bound.

    Rounding is discrete: in some entries all three happen to see none of it.
    """
    sizes = np.where(np.isfinite(claimed), np.abs(claimed), 0.0)
    with np.errstate(all="ignore"):
        worst = np.max(np.where(sizes != 0, noise / sizes, 0.0), initial=0.0)
    return np.maximum(noise, min(float(worst), MOST_SHARED) * sizes)


def _repeated(result: ClaimResult, told: Sequence[ClaimResult]) -> ClaimResult:
    """The result as carried where its one mistake is that of an earlier claim."""
    if result.carried or len(result.mistakes) != 1 or result.mistakes[0].kind == "unknown":
        return result
    names = _names(result.mistakes[0])
    for other in told:
        if len(other.mistakes) == 1 and names & _names(other.mistakes[0]):
            says = f"the same mistake as in {other.claim}: {other.mistakes[0].says}"
            return replace(result, carried=True, given=(other.claim,), says=says)
    return result


def _names(mistake: Mistake) -> set[tuple[str, str]]:
    """The kinds and places of a mistake on edges of the graph, not on the claim as a whole."""
    names = {(mistake.kind, mistake.where), *mistake.same_as}
    return {name for name in names if "<-" in name[1]}


def _array(values: Values, name: str) -> Array | GraphEngineError:
    """A claim's value as an array, or the error in its place."""
    given = values.get(name)
    if isinstance(given, GraphEngineError):
        return given
    try:
        return as_value(given, f"claim {name}")
    except GraphEngineError as error:
        return error
