"""The points of a check of functions: x itself, and some near it; what is found at each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from graphengine.check.functions.calls import Raised
from graphengine.check.functions.columns import Found
from graphengine.check.functions.entries import Judged, judged
from graphengine.check.functions.grouping import Indices
from graphengine.check.functions.matrices import Matrix, matrix_of, shape_mistake
from graphengine.check.functions.steps import claimed_at
from graphengine.check.functions.subjects import Options, Subject, finite
from graphengine.check.functions.ties import Tie, ties
from graphengine.check.report import Mistake, Verdict
from graphengine.ops.base import Array

__all__ = ["Place", "looked_at", "near"]

_RADII = (0.1, 0.1, 0.01, 0.001)
_SPREAD = 8.0
"""How much more than a few random changes of x show may be rounding."""


def near(subject: Subject, x: Array, count: int, rng: np.random.Generator) -> Iterator[Array]:
    """Points near x where the function is finite: entries are off by up to a tenth."""
    sizes = np.abs(x)
    zeros = float(np.median(sizes[sizes > 0])) if np.any(sizes) else 1.0
    reach = np.where(sizes > 0, sizes, zeros)
    for _ in range(count):
        for radius in _RADII:
            off = rng.uniform(0.3, 1.0, x.size) * rng.choice([-1.0, 1.0], x.size)
            point = x + radius * reach * off
            if finite(subject.values, point):
                yield point
                break


@dataclass(frozen=True)
class Place:
    """What was found at one point.

    ``values`` are the claim's entries where ``found`` has its own, ``declared`` whether the claim
    states them.  ``says`` is why nothing was decided here; ``error`` that the claim could not be
    evaluated.
    """

    x: Array
    says: str = ""
    error: str = ""
    mistake: Mistake | None = None
    claimed: Matrix | None = None
    found: Found | None = None
    judged: Judged | None = None
    values: Array = field(default_factory=lambda: np.zeros(0))
    declared: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    beside: Indices | None = None
    lost: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    ties: tuple[Tie, ...] = ()
    groups: int = 0

    @property
    def verdict(self) -> Verdict:
        """The verdict at this point alone."""
        if self.error:
            return "error"
        if self.mistake is not None:
            return "wrong"
        if self.says or self.judged is None:
            return "undecided"
        if self.judged.wrong.any() or self.lost.size or self.ties:
            return "wrong"
        return "undecided" if (self.judged.kink | self.judged.hidden).any() else "right"

    @property
    def relative_error(self) -> float | None:
        """The largest relative error of an entry."""
        if self.judged is None or not self.judged.error.size:
            return None if self.judged is None else 0.0
        tied = [
            abs(tie.claimed - tie.slope) / max(abs(tie.claimed), abs(tie.slope))
            for tie in self.ties
        ]
        return float(max(np.max(self.judged.error), *tied, 0.0))


def looked_at(
    subject: Subject,
    x: Array,
    rng: np.random.Generator,
    options: Options,
    beside: Indices | None = None,
) -> Place:
    """What the claim says at x, against the numeric derivative there."""
    place = Place(x)
    try:
        value = subject.claimed(x)
        mistake = shape_mistake(value, subject.form)
        if mistake is not None:
            return replace(place, mistake=mistake)
        claimed = matrix_of(value, subject.form)
    except Raised as error:
        return replace(place, error=str(error))
    if not finite(subject.values, x):
        return replace(place, says=f"{subject.values.name}(x) is not finite", claimed=claimed)
    try:
        measured, doubt = subject.measure(x, claimed, rng, options, beside)
    except Raised as error:
        return replace(place, says=str(error), claimed=claimed)
    if measured is None or doubt:
        return replace(place, says=doubt, claimed=claimed)
    found = measured.found
    values, declared = claimed_at(claimed, found.rows, found.cols)
    tolerance = options.tolerance
    verdict = judged(values, found, tolerance=tolerance, digits=claimed.digits)
    if (verdict.wrong | verdict.hidden).any():
        spread = _spread(subject, x, values, found, rng)
        verdict = judged(values, found, tolerance=tolerance, digits=claimed.digits, spread=spread)
    tied: tuple[Tie, ...] = ()
    if verdict.kink.any() and not subject.second:
        columns = subject.columns(x, rng, options.method)
        tied = ties(columns, found, values, verdict, claimed.digits)
    return replace(
        place,
        claimed=claimed,
        found=found,
        judged=verdict,
        values=values,
        declared=declared,
        beside=measured.beside,
        lost=measured.lost,
        ties=tied,
        groups=measured.groups,
    )


def _spread(
    subject: Subject, x: Array, values: Array, found: Found, rng: np.random.Generator
) -> Array:
    """How far the claim moves when x is off in its last digits: rounding, nobody's mistake."""
    spread = np.zeros(values.size)
    for _ in range(2):
        off = x * (1 + 4 * np.finfo(float).eps * rng.choice([-1.0, 1.0], x.size))
        try:
            value = subject.claimed(off)
            if shape_mistake(value, subject.form) is not None:
                continue
            moved, _ = claimed_at(matrix_of(value, subject.form), found.rows, found.cols)
        except Raised:
            continue
        with np.errstate(all="ignore"):
            spread = np.maximum(spread, np.nan_to_num(np.abs(moved - values), nan=0.0, posinf=0.0))
    return _SPREAD * spread
