"""Right numbers in wrong places: matrices transposed, cut, doubled, shifted, reordered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphengine.check.functions.evidence import CLOSE, Evidence, Fit, Point, close, factors, scaled
from graphengine.check.functions.grouping import Indices
from graphengine.check.report import Mistake
from graphengine.ops.base import Array

__all__ = ["transformed"]

_UNKNOWN = 1e300
_MAX_ORDERS = 24
_SAMPLE = 64

Moved: TypeAlias = tuple[Indices, Indices, Array]
"""Where entries go (rows, cols), and what they are multiplied by (0: they are lost)."""
Move: TypeAlias = Callable[[Indices, Indices], Moved]


class Transform(NamedTuple):
    """A change of the right matrix.

    ``move`` tells where each entry goes; ``edges`` that places which nothing goes to are unknown.
    """

    mistake: Mistake
    move: Move
    edges: bool = False


def transformed(evidence: Evidence) -> list[Fit]:
    """The transforms that make the claim of the right matrix, alone or with a common factor."""
    alone: list[Fit] = []
    times: list[Fit] = []
    for transform in _transforms(evidence):
        scales, doubt = _scales(evidence, transform)
        if not scales:
            continue
        if np.all(np.abs(np.array(scales) - 1) < max(CLOSE, doubt)):
            alone.append((transform.mistake,))
        else:
            named = factors(evidence, scales, "what is there is", doubt=doubt)[:1]
            times += [(transform.mistake, *named)] if named else []
    fits = alone or times
    cut = [fit for fit in fits if fit[0].kind == "diagonal_only"]
    return cut or fits  # where only the diagonal is left, so is one triangle of it


def _scales(evidence: Evidence, transform: Transform) -> tuple[list[float], float]:
    """The factor at each point with which the transform gives the claim (none: it does not), and
    the largest relative error of one.
    """
    scales, doubt = [], 0.0
    for point in evidence.points:
        found = _scale(point, transform)
        if found is None:
            return [], 0.0
        scales.append(found[0])
        doubt = max(doubt, found[1])
    return scales, doubt


def _scale(point: Point, transform: Transform) -> tuple[float, float] | None:
    m, n = point.shape
    rows, cols, times = transform.move(point.rows, point.cols)
    keep = (times != 0) & (rows >= 0) & (rows < m) & (cols >= 0) & (cols < n)
    keys, own = rows[keep] * n + cols[keep], point.rows * n + point.cols
    if not transform.edges and not _may_fit(point, keys, own, (times * point.value)[keep]):
        return None
    places = np.union1d(keys, own)
    value, bar = np.zeros(places.size), np.zeros(places.size)
    reached = np.zeros(places.size, dtype=bool)
    at = np.searchsorted(places, keys)
    np.add.at(value, at, (times * point.value)[keep])
    np.add.at(bar, at, np.minimum(np.abs(times) * point.bar, _UNKNOWN)[keep])
    reached[at] = True
    claimed = np.zeros(places.size)
    here = np.searchsorted(places, own)
    claimed[here] = point.claimed
    bar[here] = np.maximum(bar[here], np.where(point.bar >= _UNKNOWN, _UNKNOWN, 0.0))
    if transform.edges:
        bar[~reached] = _UNKNOWN
    clear = bar < _UNKNOWN
    if not np.isfinite(claimed).all() or not np.any(np.abs(value[clear]) > bar[clear]):
        return None
    scale, doubt = scaled(claimed, value, bar)
    if not scale or not np.isfinite(scale):
        return None
    fits = close(claimed, scale * value, np.maximum(1.0, abs(scale)) * bar)
    return (scale, doubt) if fits else None


def _may_fit(point: Point, keys: Indices, own: Indices, moved: Array) -> bool:
    """Whether a few of the claim's entries are what the transform brings to their places: one
    factor times it, or else the whole need not be compared.
    """
    if own.size <= 4 * _SAMPLE:
        return True
    shown = np.flatnonzero((point.claimed != 0) & (point.bar < _UNKNOWN))[:: own.size // _SAMPLE]
    shown = shown[np.argsort(own[shown])]
    wanted, value = own[shown], np.zeros(shown.size)
    at = np.minimum(np.searchsorted(wanted, keys), max(wanted.size - 1, 0))
    hit = wanted[at] == keys if wanted.size else np.zeros(keys.size, dtype=bool)
    np.add.at(value, at[hit], moved[hit])
    # the bars of the sample's sources are not known here: those of the right matrix as a whole
    bar = np.full(shown.size, np.max(point.bar, where=point.bar < _UNKNOWN, initial=0.0))
    scale, _ = scaled(point.claimed[shown], value, bar)
    if not np.isfinite(scale):
        return not np.any(point.claimed[shown])
    return close(point.claimed[shown], scale * value, max(1.0, abs(scale)) * bar)


def _transforms(evidence: Evidence) -> Iterator[Transform]:
    form, mistake = evidence.form, evidence.mistake
    m, n = form.rows, form.cols
    if m == n and n > 1:
        yield from _square(evidence)
    if m > 1 and n > 1 and m != n:
        for name, move in (
            ("column by column for row by row", lambda i, j: np.divmod(i + j * m, n)),
            ("row by row for column by column", lambda i, j: np.divmod(i * n + j, m)[::-1]),
        ):
            says = f"the entries of the matrix are laid out {name}"
            yield Transform(mistake("reordered", says), _plain(move))
    for step in (1, -1):
        word = "behind" if step > 0 else "before"
        if n > 1:
            place = "place" if form.gradient else "column"
            says = f"every entry stands one {place} {word} its own"
            yield Transform(mistake("shifted", says), _shift(0, step))
        if m > 1:
            says = f"every entry stands one row {word} its own"
            yield Transform(mistake("shifted", says), _shift(step, 0))
    yield from _orders(evidence)


def _plain(move: Callable[[Indices, Indices], tuple[Indices, Indices]]) -> Move:
    """A move that multiplies nothing."""
    return lambda i, j: (*move(i, j), np.ones(i.size))


def _shift(down: int, right: int) -> Move:
    return _plain(lambda i, j: (i + down, j + right))


def _times(weight: Callable[[Indices, Indices], Any]) -> Move:
    """A move to the same place, times something that depends on the place."""
    return lambda i, j: (i, j, np.asarray(weight(i, j), dtype=float))


def _along(steps: Callable[[Indices], Indices]) -> Move:
    """A move along each diagonal (of number column − row) by so many places."""
    return _plain(lambda i, j: (i - steps(j - i), j - steps(j - i)))


def _twice_within(keep: Callable[[Indices, Indices], Any]) -> Move:
    return _times(lambda i, j: np.where(i == j, 1.0, 2.0 * keep(i, j)))


def _doubled(where: Callable[[Indices, Indices], Any]) -> Move:
    return _times(lambda i, j: 1.0 + where(i, j))


def _square(evidence: Evidence) -> Iterator[Transform]:
    mistake, hessian = evidence.mistake, evidence.form.claim == "hessian"
    if not hessian:
        says = "transposed: rows belong to the values, columns to x"
        yield Transform(mistake("jacobian_transposed", says), _plain(lambda i, j: (j, i)))
    says = "the diagonal is there and nothing beside it"
    yield Transform(mistake("diagonal_only", says), _times(np.equal))
    for word, other, keep in (
        ("lower", "upper", np.greater_equal),
        ("upper", "lower", np.less_equal),
    ):
        says = f"the {word} triangle is there and the {other} one is missing"
        yield Transform(mistake("pattern_missing", says), _times(keep))
        if hessian:
            says = f"both triangles are added up in the {word} one"
            yield Transform(
                mistake("double_counted", says),
                _twice_within(keep),
            )
    says = "what is beside the diagonal is there and the diagonal is missing"
    yield Transform(mistake("pattern_missing", says), _times(np.not_equal))
    if hessian:
        for where, twice in (("beside the diagonal", np.not_equal), ("on the diagonal", np.equal)):
            says = f"what is {where} is counted twice (both triangles are added to each other)"
            yield Transform(mistake("double_counted", says), _doubled(twice))
    for name, along in (
        ("its number (stored by rows, read by columns)", lambda k: k),
        ("its number (stored by columns, read by rows)", lambda k: -k),
        ("one to the end", lambda k: -np.sign(np.abs(k))),
        ("one to the start", lambda k: np.sign(np.abs(k))),
    ):
        says = f"each diagonal beside the main one is moved along itself by {name}"
        yield Transform(
            mistake("shifted", says),
            _along(along),
            edges=True,
        )


# --- orders ---------------------------------------------------------------------------------------


def _orders(evidence: Evidence) -> Iterator[Transform]:
    """Columns or rows in another order: those with a name, else whatever order fits."""
    columns = "entries" if evidence.form.gradient else "columns"
    for axis, count, word in ((1, evidence.form.cols, columns), (0, evidence.form.rows, "rows")):
        if count < 2:
            continue
        named = list(_named_orders(count))
        if not any(_scales(evidence, _order(evidence, *one, axis, word))[0] for one in named):
            order = _matched(evidence, axis)
            if order is not None:
                kind, says = "reordered", _described(order)
                named.append((kind, says, order))
        for one in named:
            yield _order(evidence, *one, axis, word)


def _order(
    evidence: Evidence, kind: str, says: str, order: Indices, axis: int, word: str
) -> Transform:
    def move(i: Indices, j: Indices) -> tuple[Indices, Indices]:
        return (i, order[j]) if axis else (order[i], j)

    return Transform(evidence.mistake(kind, f"the {word} {says}"), _plain(move))


def _named_orders(count: int) -> Iterator[tuple[str, str, Indices]]:
    """Orders as where each entry goes: reversed, and those of a matrix read the other way."""
    number = np.arange(count)
    yield "reordered", "are in reversed order", number[::-1]
    divisors = [k for k in range(2, int(np.sqrt(count)) + 1) if count % k == 0][-_MAX_ORDERS:]
    for a in dict.fromkeys([*divisors, *(count // k for k in divisors)]):
        b = count // a
        order = number.reshape(b, a).T.ravel()  # entry p·b + q of an a × b matrix goes to q·a + p
        if a == b:
            says = f"are those of a {a} × {a} matrix, transposed"
            yield "transposed", says, order
        else:
            says = f"are those of a {a} × {b} matrix, column by column for row by row"
            yield "reordered", says, order


def _matched(evidence: Evidence, axis: int) -> Indices | None:
    """Where the rows or columns of the right matrix stand in the claim; None: nowhere, or all at
    their places.  They are recognised by their products with random numbers at all points.
    """
    rng = np.random.default_rng(0)
    size = evidence.form.cols if axis else evidence.form.rows
    claimed, right = np.zeros(size), np.zeros(size)
    for point in evidence.points:
        if not np.isfinite(point.claimed).all() or np.any(point.bar >= _UNKNOWN):
            return None
        along, across = (point.cols, point.rows) if axis else (point.rows, point.cols)
        weights = rng.uniform(0.5, 1.5, point.shape[1 - axis])[across]
        weights /= np.max(np.abs(point.value), initial=0.0) or 1.0
        claimed += np.bincount(along, weights * point.claimed, size)
        right += np.bincount(along, weights * point.value, size)
    order = np.empty(size, dtype=np.intp)
    order[np.argsort(right, kind="stable")] = np.argsort(claimed, kind="stable")
    return None if np.array_equal(order, np.arange(size)) else order


def _described(order: Indices) -> str:
    """What an order does, in a few words."""
    size = order.size
    if np.array_equal(order, np.roll(np.arange(size), -int(order[0]))):
        first = size - int(order[0])
        return f"[0:{first}] and [{first}:{size}] have changed places"
    moved = np.flatnonzero(order != np.arange(size))
    if moved.size == 2:
        return f"{moved[0]} and {moved[1]} have changed places"
    shown = ", ".join(f"{j} → {order[j]}" for j in moved[:6])
    return f"are in another order: {shown}" + (", …" if moved.size > 6 else "")
