"""Which mistake was made, by the numbers alone: claim and numeric derivative at all points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphengine.check.functions.evidence import Evidence, Fit, factors, gathered, scaled
from graphengine.check.functions.partial import (
    added,
    listed,
    missing_or_extra,
    scaled_by_place,
    scaled_part,
)
from graphengine.check.functions.places import Place
from graphengine.check.functions.subjects import Subject
from graphengine.check.functions.transforms import transformed
from graphengine.check.report import Mistake
from graphengine.ops.base import Array

__all__ = ["diagnosed"]


def diagnosed(subject: Subject, places: Sequence[Place]) -> list[Fit]:
    """The explanations of a wrong claim, each of which reproduces it at all points where it is
    wrong; one of kind ``unknown`` where there is none.

    Explanations without a free number come first (a sign, a transpose), then those of some
    entries, then factors by row or column and sums; of each sort all that fit are given, and
    none of a later one.
    """
    evidence = gathered(subject, places)
    if kinked := _at_kinks(evidence, places):
        return [kinked]
    if not evidence.points:
        return [_unknown(evidence, places)]
    sorts: tuple[Callable[[Evidence], list[Fit]], ...] = (
        _whole,
        _some,
        scaled_by_place,
        lambda known: list(added(known)),
    )
    if evidence.form.claim != "hessian" and all(one.wrong.sum() == 1 for one in evidence.points):
        sorts = (_some, *sorts)  # one entry says nothing about the whole
    for sort in sorts:
        fits = sort(evidence)
        if fits:
            return fits
    return [_unknown(evidence, places)]


def _whole(evidence: Evidence) -> list[Fit]:
    """One factor for everything, or everything in another place."""
    scales, doubt = [], 0.0
    for point in evidence.points:
        scale, unsure = scaled(point.claimed, point.value, point.bar)
        doubt = max(doubt, unsure) if np.isfinite(unsure) else doubt
        bars = max(1.0, abs(scale)) * point.bar if np.isfinite(scale) else point.bar
        known = np.any(np.abs(point.value) > 10 * point.bar)
        scales.append(
            scale if scale and known and point.fits(scale * point.value, bars) else np.nan
        )
    several = max(np.count_nonzero(point.value) for point in evidence.points) > 1
    if np.isfinite(scales).all() and (several or len(scales) > 1):
        found = factors(evidence, scales, "everything is", doubt=doubt)
        steady = np.allclose(scales, scales[0], rtol=max(1e-5, doubt), atol=0)
        if steady or several:
            fits = [(mistake,) for mistake in found]
            return [*fits, *_without_factor(transformed(evidence))]
    return transformed(evidence)


def _without_factor(fits: Sequence[Fit]) -> list[Fit]:
    """The explanations that need no factor beside them."""
    return [fit for fit in fits if len(fit) == 1]


def _some(evidence: Evidence) -> list[Fit]:
    """Some entries missing, extra, or off by one factor."""
    fit = missing_or_extra(evidence)
    return [fit] if fit else scaled_part(evidence)


# --- kinks ----------------------------------------------------------------------------------------


def _at_kinks(evidence: Evidence, places: Sequence[Place]) -> Fit:
    """Both sides of a kink taken at once, where nothing else is wrong."""
    for place in places:
        found, judged = place.found, place.judged
        if found is None or judged is None:
            continue
        if judged.wrong.any() and not np.all(found.kink[judged.wrong]):
            continue
        if place.ties and not judged.wrong.any():
            tie = place.ties[0]
            names = " and ".join(f"x[{j}]" for j in tie.cols[:4])
            moved = (
                f"{names} tie: moved together they change the value by {tie.slope:.6g} each unit"
            )
            if _near(tie.claimed, tie.all):
                says = f"{moved}, and the claim adds up to {tie.claimed:.6g}: each gets all of it"
                return (evidence.mistake("tie", says),)
            says = f"{moved}, and the claim adds up to {tie.claimed:.6g}"
            return (evidence.mistake("unknown", says),)
        if judged.wrong.any():
            k = int(np.flatnonzero(judged.wrong)[0])
            index = evidence.form.at(int(found.rows[k]), int(found.cols[k]))
            left, right, claimed = found.left[k], found.right[k], place.values[k]
            sides = f"the slopes at the kink in {index} are {left:.6g} and {right:.6g}"
            both = _both(
                place.values[judged.wrong], found.left[judged.wrong], found.right[judged.wrong]
            )
            if both:
                says = f"{sides}; claimed is their sum {claimed:.6g}: both sides get all"
                return (evidence.mistake("tie", says),)
            says = f"{sides}; claimed is {claimed:.6g}, which is not between them"
            return (evidence.mistake("unknown", says),)
    return ()


def _both(claimed: Array, left: Array, right: Array) -> bool:
    size = np.abs(left) + np.abs(right)
    return bool(np.all(np.abs(claimed - left - right) <= 1e-5 * size))


def _near(one: float, two: float) -> bool:
    return abs(one - two) <= 1e-5 * max(abs(one), abs(two))


# --- none -----------------------------------------------------------------------------------------


def _unknown(evidence: Evidence, places: Sequence[Place]) -> Fit:
    """The worst entry, and where the wrong ones are."""
    place = next((one for one in places if one.judged is not None and one.judged.wrong.any()), None)
    if place is None or place.judged is None or place.found is None:
        lost = next((one.lost for one in places if one.lost.size), np.zeros(0, dtype=np.intp))
        says = f"row {lost[0]} has entries beside the declared pattern" if lost.size else "wrong"
        return (Mistake("pattern_missing" if lost.size else "unknown", evidence.form.claim, says),)
    k, found = place.judged.worst(place.values, place.found), place.found
    index = evidence.form.at(int(found.rows[k]), int(found.cols[k]))
    says = f"entry {index}: claimed {place.values[k]:.6g}, right is {found.value[k]:.6g}"
    count, size = int(place.judged.wrong.sum()), place.values.size
    if count > 1 and evidence.points:
        part = (
            "all entries"
            if count == size
            else listed(evidence, evidence.points[0], evidence.points[0].wrong)
        )
        says += f"; wrong: {part}"
    if evidence.form.claim == "hessian" and (skew := _asymmetric(place)):
        says += f"; {skew}"
    return (evidence.mistake("unknown", says),)


def _asymmetric(place: Place) -> str:
    """Which entries of a claimed Hessian break its symmetry."""
    if place.claimed is None:
        return ""
    matrix = place.claimed.csr()
    gap = (matrix - matrix.T).tocoo()
    if not gap.nnz or np.max(np.abs(gap.data)) <= 1e-9 * np.max(np.abs(matrix.data)):
        return ""
    k = int(np.argmax(np.abs(gap.data)))
    i, j = (int(axis[k]) for axis in gap.coords)
    return f"it is not symmetric: [{i}, {j}] is {matrix[i, j]:.6g}, [{j}, {i}] {matrix[j, i]:.6g}"
