"""The verdict on a claimed derivative from all points, as a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from graphengine.check.functions.calls import Raised
from graphengine.check.functions.diagnosis import diagnosed
from graphengine.check.functions.directions import along_directions
from graphengine.check.functions.effects import Watched
from graphengine.check.functions.entries import entry
from graphengine.check.functions.places import Place, looked_at, near
from graphengine.check.functions.subjects import Options, Subject
from graphengine.check.report import ClaimResult, Mistake, Report, Verdict
from graphengine.errors import plural
from graphengine.ops.base import Array

__all__ = ["checked"]


def checked(make: Callable[[], Subject], claim: str, x: Array, options: Options) -> Report:
    """The report on the subject that ``make`` makes; functions that raise are errors of it."""
    try:
        subject = make()
    except Raised as error:
        return _report("function", ClaimResult(claim, "error", says=str(error)), (), options, ())
    at_places, at_points = np.random.default_rng(options.seed).spawn(2)
    if subject.values.random:
        name = subject.values.name
        says = f"{name}(x) gives another value when it is called again: fix its seed, or its state"
        return _report(subject.spec, ClaimResult(claim, "undecided", says=says), (x,), options, ())
    watched = Watched(subject, x)
    points = [x, *near(subject, x, options.points - 1, at_points)]
    if options.directions is not None:
        result = along_directions(subject, points, at_places, options)
        count = plural(options.directions, "random direction")
        notes = [f"only {count} checked at each point, not each entry"]
    else:
        places = _places(subject, points, at_places, options)
        result = _result(subject, places, options)
        notes = _notes(places)
    if len(points) < options.points:
        notes.append("fewer points than asked for: none near x where the function is finite")
    effects = watched.mistakes(points[-1])
    if effects and result.verdict != "error":
        own = () if watched.changeable else result.mistakes  # nothing to explain in what changes
        result = replace(result, verdict="wrong", mistakes=(*effects, *own))
        if watched.changeable:
            result = replace(result, alternatives=(), relative_error=None, worst=None)
    return _report(subject.spec, result, points, options, notes)


def _places(
    subject: Subject, points: Sequence[Array], rng: np.random.Generator, options: Options
) -> list[Place]:
    places: list[Place] = []
    for point in points:
        beside = places[-1].beside if places else None
        places.append(looked_at(subject, point, rng, options, beside))
        if places[-1].error or places[-1].mistake is not None:
            break
    return places


def _report(
    spec: str, result: ClaimResult, points: Sequence[Array], options: Options, notes: Sequence[str]
) -> Report:
    return Report(
        spec,
        (result,),
        first="" if result.verdict == "right" else result.claim,
        points=tuple({} for _ in points),
        seed=options.seed if isinstance(options.seed, int) else None,
        tolerance=options.tolerance,
        notes=tuple(notes),
    )


# --- one verdict from several points ------------------------------------------------------------


def _result(subject: Subject, places: Sequence[Place], options: Options) -> ClaimResult:
    claim, verdicts = subject.form.claim, [place.verdict for place in places]
    verdict: Verdict = verdicts[0]
    for bad in ("error", "wrong"):
        if bad in verdicts:
            verdict = bad
    decided = [place for place in places if place.judged is not None]
    shown = next((place for place in places if place.verdict == verdict), places[0])
    if verdict in {"wrong", "right"} and decided:
        alike = [place for place in decided if place.verdict == verdict] or decided
        shown = max(alike, key=lambda place: place.relative_error or 0.0)
    if shown.error or shown.mistake is not None:
        own = () if shown.mistake is None else (shown.mistake,)
        return ClaimResult(claim, verdict, mistakes=own, says=shown.error)
    worst = None
    if shown.judged is not None and shown.found is not None and shown.values.size:
        k = shown.judged.worst(shown.values, shown.found)
        index = subject.form.index(int(shown.found.rows[k]), int(shown.found.cols[k]))
        worst = entry(index, shown.values[k], shown.found.value[k])
    mistakes: tuple[Mistake, ...] = ()
    alternatives: tuple[tuple[Mistake, ...], ...] = ()
    if verdict == "wrong":
        fits = diagnosed(subject, [place for place in decided if place.verdict == "wrong"])
        mistakes, alternatives = fits[0], tuple(fits[1:])
    return ClaimResult(
        claim,
        verdict,
        relative_error=shown.relative_error,
        points=len(decided),
        worst=worst,
        mistakes=mistakes,
        alternatives=alternatives,
        says=_why(subject, shown) if verdict == "undecided" else "",
        reference=options.method,
    )


def _why(subject: Subject, place: Place) -> str:
    """Why a point decides nothing."""
    if place.judged is None or place.found is None:
        return place.says
    kinks, hidden = np.flatnonzero(place.judged.kink), np.flatnonzero(place.judged.hidden)
    found, name = place.found, subject.values.name

    def at(k: int) -> str:
        return subject.form.at(int(found.rows[k]), int(found.cols[k]))

    parts = []
    if kinks.size:
        k = int(kinks[0])
        sides = f"slopes {found.left[k]:.6g} and {found.right[k]:.6g} on the two sides"
        if not np.isfinite(found.left[k]):
            sides = "second derivatives differ on the two sides"
        parts.append(f"{name} has a kink at x: entry {at(k)}, {sides}{_more(kinks.size)}")
    if hidden.size:
        k = int(hidden[np.argmax(found.error[hidden] * found.step[hidden])])
        bar = found.error[k]
        settled = f"their error is {bar:.2g}"
        if not np.isfinite(bar):
            settled = f"{name} is not finite on both sides, or they do not settle"
        parts.append(
            f"differences cannot resolve entry {at(k)}: {settled}, the claim is "
            f"{place.values[k]:.6g}{_more(hidden.size)}"
        )
    return "; ".join(parts)


def _more(count: int) -> str:
    return "" if count == 1 else f" (and {count - 1} more)"


def _notes(places: Sequence[Place]) -> list[str]:
    shown = []
    for k, place in enumerate(places):
        error = place.relative_error
        measured = "" if error is None else f", error {error:.1e}"
        shown.append(f"{'x' if k == 0 else f'near x ({k})'}: {place.verdict}{measured}")
    notes = ["; ".join(shown)]
    faint = sum(int(place.judged.faint.sum()) for place in places if place.judged is not None)
    if faint:
        entries = plural(faint, "entry") if faint == 1 else f"{faint:,} entries"
        notes.append(f"{entries} may be rounding of their row's largest, and were not told apart")
    first = next((place for place in places if place.found is not None), None)
    if first is not None and first.found is not None and first.groups < first.x.size:
        entries, columns = f"{first.found.rows.size:,}", f"{first.x.size:,}"
        notes.append(f"all {entries} entries of {columns} columns, moved in {first.groups} groups")
    return notes
