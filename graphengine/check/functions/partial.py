"""Mistakes in some entries, the others being right: missing, extra, of the other sign, scaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from graphengine.check.constants import named_factor
from graphengine.check.functions.evidence import CLOSE, Evidence, Fit, Point, factors, scaled
from graphengine.ops.base import Array

__all__ = ["added", "listed", "missing_or_extra", "scaled_by_place", "scaled_part"]

_SHOWN = 5


def listed(evidence: Evidence, point: Point, where: np.ndarray) -> str:
    """The entries of a point that are meant: ``[0, 2]``, ``x[3]``, ``columns 2 to 5``."""
    rows, cols = point.rows[where], point.cols[where]
    m, n = point.shape
    whole = _whole(cols, rows.size, m, n, "columns" if m > 1 else "entries")
    if evidence.form.rows > 1:
        whole = whole or _whole(rows, rows.size, n, m, "rows")
    if whole:
        return whole
    shown = ", ".join(
        evidence.form.at(i, j) for i, j in zip(rows[:_SHOWN], cols[:_SHOWN], strict=True)
    )
    more = rows.size - _SHOWN
    noun = "entry" if rows.size == 1 else "entries"
    return f"{noun} {shown}" + (f" and {more:,} more" if more > 0 else "")


def _whole(along: np.ndarray, count: int, each: int, size: int, word: str) -> str:
    """Whole columns (or rows) without a gap, at least two of them."""
    lines = np.unique(along)
    if lines.size < 2 or count != lines.size * each or lines[-1] - lines[0] + 1 != lines.size:
        return ""
    if lines.size == size:
        return ""
    return f"{word} {lines[0]} to {lines[-1]}"


def missing_or_extra(evidence: Evidence) -> Fit | None:
    """Entries that are 0 in the claim alone, entries that are 0 in truth alone, or both."""
    missing = [point.wrong & (point.claimed == 0) for point in evidence.points]
    extra = [
        point.wrong & np.isfinite(point.claimed) & (np.abs(point.value) <= point.bar) & ~gone
        for point, gone in zip(evidence.points, missing, strict=True)
    ]
    for point, gone, more in zip(evidence.points, missing, extra, strict=True):
        if not np.array_equal(gone | more, point.wrong):
            return None
    made: list[tuple[str, str]] = []
    point, gone = max(zip(evidence.points, missing, strict=True), key=lambda pair: pair[1].sum())
    if gone.any():
        made.append(_missing(evidence, point, gone))
    point, more = max(zip(evidence.points, extra, strict=True), key=lambda pair: pair[1].sum())
    if more.any():
        worst = int(np.argmax(np.where(more, np.abs(point.claimed), -1.0)))
        place = evidence.form.at(int(point.rows[worst]), int(point.cols[worst]))
        said = (
            f"{listed(evidence, point, more)} should be 0 ({place} is {point.claimed[worst]:.6g})"
        )
        made.append(("pattern_extra", said))
    return tuple(evidence.mistake(*one) for one in made)


def _missing(evidence: Evidence, point: Point, gone: np.ndarray) -> tuple[str, str]:
    """How to name missing entries: what is treated as a constant, else single entries."""
    if not np.any(point.claimed):
        what = "gradient" if evidence.form.gradient else "matrix"
        return "treated_as_constant", f"the {what} is 0: the function is treated as a constant"
    nonzero = np.abs(point.value) > point.bar
    cols = np.unique(point.cols[gone])
    whole = not np.any(nonzero & ~gone & np.isin(point.cols, cols))
    if whole and (evidence.form.gradient or nonzero[gone].sum() > cols.size):
        shown = ", ".join(f"x[{j}]" for j in cols[:_SHOWN])
        more = f" and {cols.size - _SHOWN:,} more" if cols.size > _SHOWN else ""
        word = "is treated as a constant" if cols.size == 1 else "are treated as constants"
        return "treated_as_constant", f"{shown}{more} {word}: 0 is claimed for what is not"
    worst = int(np.argmax(np.where(gone, np.abs(point.value), -1.0)))
    place = evidence.form.at(int(point.rows[worst]), int(point.cols[worst]))
    verb = "is" if gone.sum() == 1 else "are"
    says = f"{listed(evidence, point, gone)} {verb} missing ({place} is {point.value[worst]:.6g})"
    return "pattern_missing", says


def scaled_part(evidence: Evidence) -> list[Fit]:
    """One factor for all wrong entries."""
    scales, doubt = [], 0.0
    for point in evidence.points:
        found = _common(point, point.wrong)
        if found is None:
            return []
        scales.append(found[0])
        doubt = max(doubt, found[1])
    if len(scales) < 2 and named_factor(scales, ()) is None:
        return []
    point = evidence.points[0]
    part = listed(evidence, point, point.wrong)
    negative = [_columns(one) for one in evidence.points]
    signs = [set(one.cols[(one.x < 0)[one.cols]]) for one in evidence.points]
    if negative == signs and all(negative):
        part = "what belongs to x < 0"
    one = point.wrong.sum() == 1
    steady = bool(np.all(np.abs(np.array(scales) / scales[0] - 1) < max(CLOSE, doubt)))
    if one and not steady:  # one number can always be written as a factor
        return []
    made = factors(
        evidence,
        scales,
        f"{part} {'is' if one or 'x < 0' in part else 'are'}",
        part=True,
        doubt=doubt,
    )
    return [(mistake,) for mistake in made]


def _columns(point: Point) -> set[int]:
    """The columns that are wrong as a whole (as far as their entries are not 0)."""
    whole = np.abs(point.value) > point.bar
    return set(point.cols[point.wrong]) - set(point.cols[~point.wrong & whole])


def _common(point: Point, where: np.ndarray) -> tuple[float, float] | None:
    """The factor between the claim and the right entries there, and its relative error; None
    where there is none.
    """
    value = point.value[where]
    if not np.isfinite(point.claimed).all():
        return None
    scale, doubt = scaled(point.claimed[where], value, point.bar[where])
    if not np.isfinite(scale):
        return None
    bars = max(1.0, abs(scale)) * point.bar
    seen = np.abs(value) > 10 * point.bar[where]
    fits = point.fits(scale * point.value, bars, where)
    return (scale, doubt) if scale and seen.any() and fits else None


def scaled_by_place(evidence: Evidence) -> list[Fit]:
    """A factor that depends on the column or the row alone: a scale, a chain factor, an index."""
    made: list[Fit] = []
    for axis in (1, 0) if evidence.form.rows > 1 else (1,):
        lines = [_by_line(point, axis) for point in evidence.points]
        found = [one for one in lines if one is not None]
        if len(found) < len(lines):
            continue
        word = "row" if axis == 0 else "entry" if evidence.form.gradient else "column"
        name = _of_line(evidence, found, axis)
        if name:
            says = f"each {word} is {name} times the right one"
            made.append((evidence.mistake("factor", says),))
    return made


def _by_line(point: Point, axis: int) -> Array | None:
    """The factor of each column (or row), NaN where it shows nothing; None where it is not one."""
    along = point.cols if axis else point.rows
    size = point.shape[axis]
    if size < 2 or not np.isfinite(point.claimed).all():
        return None
    seen = np.abs(point.value) > 1e3 * point.bar
    weights = point.value * seen
    below = np.bincount(along, weights * point.value, size)
    above = np.bincount(along, weights * point.claimed, size)
    with np.errstate(all="ignore"):
        scale = np.where(below > 0, above / below, np.nan)
    entries = np.nan_to_num(scale, nan=1.0)[along] * point.value
    bars = np.maximum(1.0, np.abs(np.nan_to_num(scale, nan=1.0)[along])) * point.bar
    return scale if point.fits(entries, bars) else None


def _of_line(evidence: Evidence, found: Sequence[Array], axis: int) -> str:
    """The name of factors by line: of the index, of x[j], of the value; "" where there is none."""
    first = found[0]
    known = ~np.isnan(first)
    if known.sum() < 2:
        return ""
    number = np.arange(first.size, dtype=float)
    names: list[tuple[str, Callable[[Point], Array]]] = []
    index = "j" if axis else "i"
    for text, values in ((f"({index} + 1)", number + 1), (index, number)):
        names.append((text, _constantly(values)))
    base = "x[j]" if axis else "the value"
    names += [
        (base, lambda point: point.x if axis else point.here),
        (f"2 {base}", lambda point: 2 * (point.x if axis else point.here)),
        (f"{base}²", lambda point: (point.x if axis else point.here) ** 2),
        (f"exp({base})", lambda point: np.exp(point.x if axis else point.here)),
    ]
    with np.errstate(all="ignore"):
        for text, values_of in names:
            for shown, power in ((text, 1.0), (f"1/{text}", -1.0)):
                if all(
                    _equal(scale, values_of(point) ** power)
                    for scale, point in zip(found, evidence.points, strict=True)
                ):
                    return shown
        if len(found) > 1 and all(_equal(first, other) for other in found):
            shown = ", ".join(f"{scale:.4g}" for scale in first[known][:6])
            return f"a number of its own ({shown}{', …' if known.sum() > 6 else ''})"
    return ""


def _constantly(values: Array) -> Callable[[Point], Array]:
    return lambda _: values


def _equal(scale: Array, other: Array) -> bool:
    known = ~np.isnan(scale) & ~np.isnan(other)
    gap = np.abs(scale - other)[known]
    return bool(known.any() and np.all(gap <= 10 * CLOSE * np.abs(other[known])))


def added(evidence: Evidence) -> Iterator[Fit]:
    """A gradient that differs from the right one by a multiple of x, of its signs, or of 1."""
    if not evidence.form.gradient:
        return
    for text, values_of, kinds in (
        ("x", lambda x: x, ("missing_regulariser", "regulariser_scale")),
        ("sign(x)", np.sign, ("missing_regulariser", "regulariser_scale")),
        ("1", np.ones_like, ("unknown",)),
    ):
        scales = [_multiple(point, values_of(point.x)) for point in evidence.points]
        known = [scale for scale in scales if scale is not None]
        if len(known) < max(2, len(scales)) or not np.allclose(known, known[0], rtol=1e-5, atol=0):
            continue
        point = evidence.points[0]
        part = "" if point.wrong.all() else f" in {listed(evidence, point, point.wrong)}"
        verb = "is missing" if known[0] < 0 else "is too much"
        says = f"{abs(known[0]):.6g} · {text} {verb}{part}"
        if kinds[0] != "unknown":
            says += ": a penalty that is left out, or has another factor"
        elif point.wrong.sum() < 3:
            continue
        ordered = kinds if known[0] < 0 else kinds[::-1]
        yield (evidence.mistake(ordered[0], says, *ordered[1:]),)


def _multiple(point: Point, values: Array) -> float | None:
    """The multiple of ``values`` that the wrong entries are off by; None where it is not one."""
    gap, known = (point.claimed - point.value)[point.wrong], values[point.cols][point.wrong]
    size = float(known @ known)
    if gap.size < 2 or not size or not np.isfinite(gap).all():
        return None
    scale = float(gap @ known) / size
    expected = point.value + scale * values[point.cols]
    return scale if scale and point.fits(expected, None, point.wrong) else None
