"""The numbers that a diagnosis goes by: claim, numeric derivative and error bars, at each point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from graphengine.check.constants import named_factor
from graphengine.check.functions.grouping import Indices
from graphengine.check.functions.matrices import Form
from graphengine.check.functions.places import Place
from graphengine.check.functions.subjects import Subject
from graphengine.check.report import Mistake
from graphengine.ops.base import Array

__all__ = ["Evidence", "Fit", "Point", "close", "factors", "gathered", "scaled"]

CLOSE = 1e-6
"""An explanation reproduces a claim when it is as near as this, or within the error bars."""
_UNKNOWN = 1e300
"""The error bar of an entry that says nothing."""

Fit = tuple[Mistake, ...]


@dataclass(frozen=True)
class Point:
    """One point: entries at ``rows`` and ``cols``, with what is claimed and measured there; those
    that are 0 in both are left out.
    """

    x: Array
    here: Array
    rows: Indices
    cols: Indices
    claimed: Array
    value: Array
    bar: Array
    wrong: np.ndarray
    shape: tuple[int, int]

    def matrix(self, entries: Array) -> Any:
        """Entries as a sparse matrix."""
        return sp.csr_array((entries, (self.rows, self.cols)), shape=self.shape)

    def fits(self, entries: Array, bars: Array | None = None, where: Any = slice(None)) -> bool:
        """Whether the claim is ``entries`` (one for each of its own)."""
        bars = self.bar if bars is None else bars
        return close(
            self.claimed[where], entries[where], np.broadcast_to(bars, entries.shape)[where]
        )


@dataclass(frozen=True)
class Evidence:
    """What is known of a wrong claim: the points where it is wrong, and sizes with their names."""

    form: Form
    points: tuple[Point, ...]
    sizes: tuple[tuple[str, int], ...]

    def mistake(self, kind: str, says: str, *same: str) -> Mistake:
        """A mistake at this claim."""
        claim = self.form.claim
        return Mistake(kind, claim, says, tuple((other, claim) for other in same))


def close(claimed: Array, expected: Array, bars: Array) -> bool:
    """Whether numbers are equal but for typing, rounding and their error bars."""
    with np.errstate(all="ignore"):
        room = CLOSE * np.maximum(np.abs(claimed), np.abs(expected)) + bars
        floor = 1e-11 * np.max(np.abs(expected), initial=0.0)
        return bool(np.all(np.abs(claimed - expected) <= room + floor))


def gathered(subject: Subject, places: Sequence[Place]) -> Evidence:
    """The evidence of places that have been judged."""
    points = []
    for place in places:
        found, judged = place.found, place.judged
        if found is None or judged is None:
            continue
        silent = (judged.kink | judged.hidden) & ~judged.wrong
        value = np.where(np.isfinite(found.value), found.value, 0.0)
        bar = np.where(silent | ~np.isfinite(judged.bar), _UNKNOWN, judged.bar)
        value = np.where(silent, place.values, value)
        said = (place.values != 0) | (np.abs(value) > bar) | (bar >= _UNKNOWN) | judged.wrong
        points.append(
            Point(
                place.x,
                subject.values(place.x),
                found.rows[said],
                found.cols[said],
                place.values[said],
                value[said],
                bar[said],
                judged.wrong[said],
                (subject.form.rows, subject.form.cols),
            )
        )
    return Evidence(subject.form, tuple(points), tuple(_sizes(subject)))


def _sizes(subject: Subject) -> Iterator[tuple[str, int]]:
    """Numbers that a mean may be taken over: lengths of x, of the values, and of the arguments."""
    yield "the length of x", subject.form.cols
    if subject.form.claim != "hessian":
        yield "the number of values", subject.form.rows
    for k, arg in enumerate(subject.values.called.args):
        for axis, size in enumerate(np.shape(arg) if isinstance(arg, np.ndarray) else ()):
            yield f"the size of axis {axis} of args[{k}]", size


def factors(
    evidence: Evidence,
    scales: Sequence[float],
    what: str,
    *,
    part: bool = False,
    doubt: float = 0.0,
) -> list[Mistake]:
    """What a factor with these values at the points may be, the simplest first.

    ``what`` is what it multiplies ("everything is"), ``part`` that this is not everything;
    ``doubt`` is how well the factor is known.
    """
    found, mistake = np.asarray(scales, dtype=float), evidence.mistake
    if not np.isfinite(found).all() or np.any(found == 0):
        return []
    if doubt > CLOSE:  # the nearest number with a meaning stands for those that may be it
        simple = _simple(evidence)
        near = simple[np.argmin(np.abs(simple / np.median(found) - 1))]
        if np.all(np.abs(found / near - 1) <= doubt):
            found = np.full(found.shape, near)
            scales = list(found)
    constant = bool(np.all(np.abs(found / found[0] - 1) < CLOSE))
    made = []
    factor = named_factor(scales, ())
    if factor is not None and factor.kind == "sign":
        return [mistake("sign", f"the sign: {what} −1 times the right one")]
    if constant:
        made = list(_of_sizes(evidence, float(found[0]), what, part=part))
    if factor is not None and not (made and _plain(factor.text)):
        shown = f"−{factor.text}" if factor.minus else factor.text
        made.insert(0, mistake("factor", f"{what} {shown} times the right one"))
    return made or list(_of_points(evidence, found, what))


def scaled(claimed: Array, value: Array, bar: Array) -> tuple[float, float]:
    """The factor that makes ``claimed`` of ``value``, and its relative error; not a number where
    there is nothing to go by.
    """
    clear = (bar < _UNKNOWN) & np.isfinite(claimed) & np.isfinite(value)
    claimed, value, bar = claimed[clear], value[clear], bar[clear]
    with np.errstate(all="ignore"):
        # what is known best counts most; typing and rounding limit how well that can be
        weight = 1 / np.maximum(bar, CLOSE * np.maximum(np.abs(value), np.abs(claimed)) / 100)
        weight = np.where(np.isfinite(weight), weight, 0.0)
        seen = float(np.sum((value * weight) ** 2))
        if not seen:
            return math.nan, math.nan
        return float(np.sum(claimed * value * weight**2)) / seen, 2 / math.sqrt(seen)


def _simple(evidence: Evidence) -> Array:
    """Numbers with a meaning, and their negatives."""
    base = [2.0, 3.0, 4.0, 10.0, 100.0, 1000.0, math.log(2), math.log(10), math.pi / 180]
    base += [float(size) for _, size in evidence.sizes] + [math.pi, 2 * math.pi]
    known = np.array([1.0, *base, *(1 / one for one in base)])
    return np.concatenate([known, -known])


def _plain(text: str) -> bool:
    """Whether a factor is a number without a meaning of its own."""
    try:
        float(text)
    except ValueError:
        return False
    return text.lstrip("-") not in {"2", "3", "4", "10", "100", "1000"}


def _of_sizes(evidence: Evidence, scale: float, what: str, *, part: bool) -> Iterator[Mistake]:
    seen: set[int] = set()
    for name, size in evidence.sizes:
        if size < 2 or size in seen or (part and "args" not in name):
            continue
        seen.add(size)
        for value, kind, text in (
            (
                float(size),
                "not_averaged",
                f"{size} times the right one: a mean over {name} is not taken",
            ),
            (
                1 / size,
                "mean_for_sum",
                f"1/{size} of the right one: a mean over {name} is taken for a sum",
            ),
            (1 / size**2, "averaged_twice", f"1/{size}² of the right one, the square of {name}"),
        ):
            if abs(scale / value - 1) < CLOSE:
                others = ("factor", "averaged_twice") if kind == "mean_for_sum" else ("factor",)
                yield evidence.mistake(kind, f"{what} {text}", *others)


def _of_points(evidence: Evidence, scales: Array, what: str) -> Iterator[Mistake]:
    """Factors that change with the point: norms of x, the function's own value."""
    if len(scales) < 2:
        return
    norms = np.array([np.linalg.norm(point.x) for point in evidence.points])
    known = {"‖x‖": norms, "‖x‖²": norms**2}
    if evidence.form.rows == 1:
        known["the function's value"] = np.array([point.here[0] for point in evidence.points])
    with np.errstate(all="ignore"):
        for name, values in known.items():
            for text, power in ((name, 1), (f"1 / {name}", -1)):
                for sign in (1, -1):
                    if np.all(np.abs(sign * scales / values**power - 1) < CLOSE):
                        shown = text if sign > 0 else f"−{text}"
                        yield evidence.mistake("factor", f"{what} the right one times {shown}")
                        return
    shown = ", ".join(f"{scale:.4g}" for scale in scales)
    yield evidence.mistake(
        "factor", f"{what} off by one common factor, which depends on x ({shown} at the points)"
    )
