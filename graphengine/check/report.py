"""What a check found: plain data, which prints itself as a table, as JSON and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rich.console import Group, RenderableType
from rich.text import Text

from graphengine.check.page import page, short
from graphengine.errors import plural
from graphengine.graph import Graph
from graphengine.tables import as_text, table

__all__ = ["ClaimResult", "Coverage", "Entry", "Mistake", "Report", "Verdict"]

Verdict: TypeAlias = Literal["right", "undecided", "error", "wrong"]

_SEVERITY: Mapping[Verdict, int] = {"right": 0, "undecided": 1, "error": 2, "wrong": 3}


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry of a claim that is furthest off; ``index`` counts in the claim's own shape."""

    index: tuple[int, ...]
    claimed: float
    reference: float

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON has it."""
        return {
            "index": list(self.index),
            "claimed": _number(self.claimed),
            "reference": _number(self.reference),
        }


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake that explains a wrong claim: its kind, the node or edge, one sentence.

    ``same_as`` holds the kind and place of other mistakes that give the same numbers everywhere.
    """

    kind: str
    where: str
    says: str
    same_as: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The mistake as JSON has it."""
        made: dict[str, Any] = {"kind": self.kind, "where": self.where, "says": self.says}
        if self.same_as:
            made["same_as"] = [{"kind": kind, "where": where} for kind, where in self.same_as]
        return made


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the known mistakes that can be made on the way would show at the points.

    ``hidden`` says which would not: their numbers differ from the right ones nowhere there.
    """

    visible: int = 0
    total: int = 0
    hidden: tuple[str, ...] = ()

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.visible + other.visible, self.total + other.total, self.hidden + other.hidden
        )

    def __str__(self) -> str:
        return f"{self.visible} of {plural(self.total, 'known mistake')} would show"

    def to_dict(self) -> dict[str, Any]:
        """The coverage as JSON has it."""
        return {"visible": self.visible, "total": self.total, "hidden": list(self.hidden)}


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The verdict on one claim.

    ``relative_error`` is the largest over all points and entries (None where no numbers could be
    compared), ``points`` counts the points that decided, ``sizes`` are those of the point of the
    ``worst`` entry, or of the point that ``mistakes`` speak of, ``says`` is a sentence on why there
    is no plain verdict, ``place`` is where the claim stands in its file, and ``reference`` is what
    the graph's Jacobian was checked against.

    ``mistakes`` explain a wrong claim, taken together; ``alternatives`` are other explanations with
    the same numbers at all points; ``sure`` is False where the explanation is far-fetched.
    ``given`` names earlier claims of the author's whose own values were put in place of the
    reference: the claim follows from them where ``carried``, else ``mistakes`` are its own beside
    them.
    """

    claim: str
    verdict: Verdict
    relative_error: float | None = None
    points: int = 0
    worst: Entry | None = None
    mistakes: tuple[Mistake, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    says: str = ""
    place: str = ""
    reference: str = ""
    alternatives: tuple[tuple[Mistake, ...], ...] = ()
    given: tuple[str, ...] = ()
    carried: bool = False
    sure: bool = True
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def standing(self) -> str:
        """The verdict as a reader sees it: ``right given p/s (carried)``."""
        if self.carried:
            return f"right given {' and '.join(self.given)} (carried)"
        if self.given:
            return f"{self.verdict}, also given {' and '.join(self.given)}"
        return self.verdict

    @property
    def certain(self) -> bool:
        """Whether exactly one explanation was found, and no far-fetched one."""
        known = bool(self.mistakes) and self.mistakes[0].kind != "unknown"
        return known and self.sure and not self.alternatives

    @property
    def what(self) -> str:
        """The verdict's reason in a sentence; nothing where the claim is right."""
        says = self.says
        if self.carried:
            return says
        if self.mistakes:
            fits = [self.mistakes, *self.alternatives]
            told = [" and ".join(mistake.says for mistake in fit) for fit in fits]
            says = told[0] if len(told) == 1 else "either " + "; or ".join(told)
            says = says if self.sure else f"perhaps: {says}"
        elif not says and self.verdict == "wrong" and self.worst is not None:
            index = ", ".join(map(str, self.worst.index))
            says = (
                f"entry [{index}]: claimed {self.worst.claimed:.6g}, "
                f"right is {self.worst.reference:.6g}"
            )
        return f"{says} ({_sizes(self.sizes)})" if says and self.sizes else says

    @property
    def told(self) -> str:
        """:attr:`what`, and where the claim stands in its file unless it is right."""
        in_a_file = self.place.count(":") >= 2 and self.verdict != "right"
        return f"{self.what} [{self.place}]".strip() if in_a_file else self.what

    def to_dict(self) -> dict[str, Any]:
        """The claim as JSON has it."""
        return {
            "claim": self.claim,
            "verdict": self.verdict,
            "relative_error": _number(self.relative_error),
            "points": self.points,
            "worst": None if self.worst is None else self.worst.to_dict(),
            "mistakes": [mistake.to_dict() for mistake in self.mistakes],
            "alternatives": [[one.to_dict() for one in fit] for fit in self.alternatives],
            "given": list(self.given),
            "carried": self.carried,
            "certain": self.certain,
            "standing": self.standing,
            "sizes": dict(self.sizes),
            "says": self.what,
            "place": self.place,
            "reference": self.reference,
            "coverage": self.coverage.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.  ``claims`` stand in the author's order.

    ``first`` names the first claim that is not right in the order of the graph (local Jacobians,
    then gradients of nodes from the result down, then those of start nodes); ``points`` holds
    the sizes at each point; ``seed`` is None where the caller brought a generator; ``graph`` is
    there for the picture.

    >>> report = Report("demo", (ClaimResult("J/x", "right", 2e-16, 5),), points=({"d": 3},))
    >>> report.verdict, report.exit_status
    ('right', 0)
    >>> print(report)
    demo: 1 claim, right
     claim  verdict    error  what
    ───────────────────────────────
     J/x    right    2.0e-16
    1 point (d=3), seed 0, tolerance 1e-07
    """

    spec: str
    claims: tuple[ClaimResult, ...]
    path: str = ""
    first: str = ""
    points: tuple[Mapping[str, int], ...] = ()
    seed: int | None = 0
    tolerance: float = 1e-7
    notes: tuple[str, ...] = ()
    graph: Graph | None = field(default=None, compare=False, repr=False)

    @property
    def verdict(self) -> Verdict:
        """The worst of the claims' verdicts: wrong, then error, then undecided, then right."""
        return max((claim.verdict for claim in self.claims), key=_SEVERITY.__getitem__)

    @property
    def exit_status(self) -> int:
        """0 when all claims are right, 1 otherwise."""
        return int(self.verdict != "right")

    @property
    def reference(self) -> str:
        """What the graph's Jacobians were checked against."""
        used = dict.fromkeys(claim.reference for claim in self.claims if claim.reference)
        return " and ".join(used)

    @property
    def coverage(self) -> Coverage:
        """The coverage of all claims together."""
        return sum((claim.coverage for claim in self.claims), start=Coverage())

    @property
    def summary(self) -> str:
        """One line: how many claims, how many of each verdict, the first that is not right."""
        counts = {
            verdict: sum(claim.verdict == verdict for claim in self.claims)
            for verdict in ("wrong", "error", "undecided", "right")
        }
        found = [
            verdict if count == len(self.claims) else f"{count} {verdict}"
            for verdict, count in counts.items()
            if count
        ]
        line = f"{self.spec}: {plural(len(self.claims), 'claim')}, {', '.join(found)}"
        return f"{line}; the first to look at: {self.first}" if self.first else line

    def __getitem__(self, claim: str) -> ClaimResult:
        """The result for one claim (``report["J/W"]``); KeyError where there is none."""
        for result in self.claims:
            if result.claim == claim:
                return result
        raise KeyError(claim)

    # --- showing it -----------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What ``graphengine check --json`` prints; numbers that are not finite become text."""
        return {
            "spec": self.spec,
            "path": self.path,
            "verdict": self.verdict,
            "summary": self.summary,
            "first": self.first or None,
            "claims": [claim.to_dict() for claim in self.claims],
            "points": [dict(sizes) for sizes in self.points],
            "seed": self.seed,
            "tolerance": self.tolerance,
            "reference": self.reference,
            "coverage": self.coverage.to_dict(),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return as_text(self.__rich__())

    def __rich__(self) -> RenderableType:
        rows = [
            (claim.claim, claim.standing, short(claim.relative_error), claim.told)
            for claim in self.claims
        ]
        lines: Sequence[str] = (self.made_with, *self.notes)
        return Group(
            Text(self.summary),
            table(("claim", "verdict", "error", "what"), rows, right=("error",)),
            *map(Text, lines),
        )

    def _repr_html_(self) -> str:
        return page(self)

    @property
    def made_with(self) -> str:
        """Points, seed, tolerance, reference and coverage in a line."""
        shown = [_sizes(sizes) for sizes in self.points if sizes]
        parts = [plural(len(self.points), "point") + (f" ({'; '.join(shown)})" if shown else "")]
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        parts.append(f"tolerance {self.tolerance:g}")
        if self.reference:
            parts.append(f"reference checked by {self.reference}")
        if self.coverage.total:
            parts.append(str(self.coverage))
        return ", ".join(parts)


def _sizes(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{letter}={size}" for letter, size in sizes.items())


def _number(value: float | None) -> float | str | None:
    """A number as JSON has it: those that are not finite become text."""
    return value if value is None or math.isfinite(value) else str(value)
