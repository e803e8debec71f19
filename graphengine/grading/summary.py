"""All grades of a folder: as a table for spreadsheets, and in a few lines."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rich.console import Group, RenderableType
from rich.text import Text

from graphengine.errors import plural
from graphengine.formats.output import legal
from graphengine.grading.scoring import Grade, Standing, number
from graphengine.tables import as_text, table

__all__ = ["Grading", "grades_csv"]

_STANDINGS: tuple[Standing, ...] = get_args(Standing)


@dataclass(frozen=True)
class Grading:
    """What :func:`~graphengine.grading.grade` found: the grades in the order of the names, and the
    folder ``out`` where they stand.

    ``kept`` counts those that an earlier run had found; ``passed_over`` are names in the folder
    that are no submissions.
    """

    grades: tuple[Grade, ...]
    out: Path
    kept: int = 0
    passed_over: tuple[str, ...] = ()

    def __str__(self) -> str:
        return as_text(self.__rich__())

    def __rich__(self) -> RenderableType:
        lines = [f"{plural(len(self.grades), 'submission')}, {self._mean()}"]
        if self.kept:
            lines.append(f"{self.kept} of them graded before")
        errors = sum(bool(grade.error) for grade in self.grades)
        if errors:
            lines.append(f"{errors} could not be judged")
        lines.append(f"see {self.out / 'grades.csv'} and {self.out / 'gradescope'}")
        if self.passed_over:
            shown = ", ".join(self.passed_over[:5])
            lines.append(f"passed over, no submissions: {shown}{_more(self.passed_over)}")
        counts = {claim: Counter(self._standings(claim)) for claim in _claims(self.grades)}
        used = [one for one in _STANDINGS if any(found[one] for found in counts.values())]
        rows = [(claim, *(f"{found[one]}" for one in used)) for claim, found in counts.items()]
        tables = [table(("claim", *used), rows, right=used)] if rows else []
        return Group(*tables, *map(Text, lines))

    def _mean(self) -> str:
        scores = [grade.score for grade in self.grades]
        best = max((grade.max_score for grade in self.grades), default=0.0)
        return f"mean score {sum(scores) / max(len(scores), 1):.4g} of {number(best)}"

    def _standings(self, claim: str) -> list[Standing]:
        return [one.standing for grade in self.grades for one in grade.claims if one.claim == claim]


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""


def _claims(grades: Sequence[Grade]) -> list[str]:
    """The claims that count, in the order in which they are met."""
    claims = [one.claim for grade in grades for one in grade.claims if one.counts]
    return list(dict.fromkeys(claims))


def grades_csv(grades: Sequence[Grade]) -> str:
    """A line for each grade: name, score and the best possible one, the standing of each claim,
    kind and place of the first mistake, the error, the seconds it took.

    The kind has a question mark where other explanations fit as well.  Text that a spreadsheet
    would take for a formula has an apostrophe in front.
    """
    claims = _claims(grades)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["name", "score", "max", *claims, "mistake", "where", "error", "seconds"])
    for grade in grades:
        found = {one.claim: one.standing for one in grade.claims}
        mistake = grade.mistake
        kind = where = ""
        if mistake is not None:
            kind, where = mistake.kind + ("" if mistake.certain else "?"), mistake.where
        rows.writerow(
            [
                _text(grade.name),
                number(grade.score),
                number(grade.max_score),
                *(found.get(claim, "") for claim in claims),
                _text(kind),
                _text(where),
                _text(grade.error),
                f"{grade.seconds:.3f}",
            ]
        )
    return out.getvalue()


def _text(text: str) -> str:
    line = " ".join(legal(text).split())
    return f"'{line}" if line[:1] in "=+-@" and line else line
