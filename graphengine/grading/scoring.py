"""Points for claims: which claims count, what each is worth, and what part of it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from graphengine.check.report import ClaimResult, Report
from graphengine.errors import plural
from graphengine.spec import Rubric, Spec

__all__ = ["ClaimGrade", "Grade", "Standing", "failed", "graded", "number"]

Standing: TypeAlias = Literal["right", "carried", "wrong", "undecided", "error", "missing"]


@dataclass(frozen=True, slots=True)
class ClaimGrade:
    """What one claim is given.  ``counts`` is False for claims that nobody asked for.

    ``says`` explains a verdict that is not right, ``kind`` and ``where`` are those of its first
    mistake, ``certain`` says whether no other explanation fits.
    """

    claim: str
    standing: Standing
    score: float
    max_score: float
    says: str = ""
    kind: str = ""
    where: str = ""
    certain: bool = False
    place: str = ""
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Grade:
    """What a submission is given; ``error`` says why there are no claims.

    ``first`` names the first claim that is not right, in the order of the graph.
    """

    name: str
    score: float
    max_score: float
    claims: tuple[ClaimGrade, ...] = ()
    error: str = ""
    seconds: float = 0.0
    first: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The grade as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Grade:
        """The grade that :meth:`to_dict` wrote; TypeError or KeyError for anything else."""
        claims = tuple(ClaimGrade(**claim) for claim in data["claims"])
        return cls(**{**data, "claims": claims})

    @property
    def mistake(self) -> ClaimGrade | None:
        """The claim with the first mistake that has a kind, if there is one."""
        known = [claim for claim in self.claims if claim.kind]
        return min(known, key=lambda claim: claim.claim != self.first, default=None)

    @property
    def summary(self) -> str:
        """One line: the score, how many claims of each standing, or the error."""
        total = f"{number(self.score)} of {number(self.max_score)} points"
        if self.error:
            return f"{total}: {self.error}" if self.max_score else self.error
        standings = [claim.standing for claim in self.claims if claim.counts]
        counts = {standing: standings.count(standing) for standing in dict.fromkeys(standings)}
        told = ", ".join(f"{count} {standing}" for standing, count in counts.items())
        return f"{total}: {plural(len(standings), 'claim')}{', ' if told else ''}{told}"


def graded(name: str, spec: Spec, report: Report, seconds: float = 0.0) -> Grade:
    """The grade that a report on a submission to ``spec`` is worth.

    The claims that count are those in the spec's ``points``, else those of its own derivation,
    1 point each, else the submission's own.

    >>> import graphengine as ge
    >>> g = ge.Graph("demo")
    >>> x = g.input("x", (2,))
    >>> J = g.result("J", ge.sum(x**2))
    >>> spec = Spec.of(g, points={"J/x": 3})
    >>> graded("anna", spec, Report("demo", (ClaimResult("J/x", "right"),))).score
    3.0
    """
    found = {claim.claim: claim for claim in report.claims}
    points = _points(spec) or dict.fromkeys(found, 1.0)
    counting = [_graded(claim, found.get(claim), points[claim], spec.rubric) for claim in points]
    others = [
        replace(_graded(claim, result, 0.0, spec.rubric), counts=False)
        for claim, result in found.items()
        if claim not in points
    ]
    return Grade(
        name,
        _total(claim.score for claim in counting),
        _total(points.values()),
        (*counting, *others),
        seconds=seconds,
        first=report.first,
    )


def failed(name: str, spec: Spec | None, error: str, seconds: float = 0.0) -> Grade:
    """The grade of a submission that could not be judged: nothing, of what could be had."""
    points = _points(spec) if spec is not None else {}
    return Grade(name, 0.0, _total(points.values()), error=error, seconds=seconds)


def number(value: float) -> str:
    """A score for people and for tables: ``2``, ``0.5``."""
    return f"{value:.10g}"


def _points(spec: Spec) -> dict[str, float]:
    if spec.points:
        return spec.points
    claims = spec.derivation.claims if spec.derivation is not None else ()
    return {claim.name: 1.0 for claim in claims}


def _graded(claim: str, result: ClaimResult | None, points: float, rubric: Rubric) -> ClaimGrade:
    if result is None:
        given = _total([points * rubric.missing])
        return ClaimGrade(claim, "missing", given, points, says="this claim is missing")
    first = result.mistakes[0] if result.mistakes else None
    standing: Standing = "carried" if result.carried else result.verdict
    says = "" if standing == "right" else ": ".join(filter(None, [result.standing, result.what]))
    return ClaimGrade(
        claim,
        standing,
        _total([points * _part(result, standing, rubric)]),
        points,
        says=says,
        kind=first.kind if first else "",
        where=first.where if first else "",
        certain=result.certain,
        place=result.place,
    )


def _part(result: ClaimResult, standing: Standing, rubric: Rubric) -> float:
    """The part of its points that a claim is given.

    Mistakes that give the same numbers everywhere cannot be told apart: the best one counts.
    """
    if standing == "right":
        return 1.0
    if standing == "carried":
        return rubric.carried
    if standing == "undecided":
        return rubric.undecided
    if standing == "wrong" and result.certain and len(result.mistakes) == 1:
        mistake = result.mistakes[0]
        kinds = {mistake.kind, *(kind for kind, _ in mistake.same_as)}
        return max((part for kind, part in rubric.mistakes.items() if kind in kinds), default=0.0)
    return 0.0


def _total(scores: Any) -> float:
    return round(float(sum(scores)), 10)
