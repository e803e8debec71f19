"""The bench of derivations: right and wrong ones as people write them, read from YAML files.

A file beside this one belongs to the spec of its name, in ``specs`` or in ``graphs``.  See
``README.md`` here for the format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import islice, product
from pathlib import Path
from typing import Any

import yaml

from graphengine.check import Checker, Mistake, Report
from graphengine.derivation import FormulaDerivation
from graphengine.spec import Spec, load

HERE = Path(__file__).parent
SPECS = HERE.parent.parent / "specs"
FILES = sorted(HERE.glob("*.yaml"))

EVERY = 1 if os.environ.get("GRAPHENGINE_BENCH") == "all" else 16
"""A test run takes every sixteenth wrong case of a file, all of them where the variable says so."""

Wanted = tuple[frozenset[str], frozenset[str]]
"""The kinds and the places that name one mistake."""


@dataclass(frozen=True)
class Case:
    """One derivation, and what should be found in it."""

    file: str
    name: str
    claims: Mapping[str, str]
    let: Mapping[str, str]
    claim: str = ""
    mistakes: tuple[Wanted, ...] = ()
    row: Any = None


@dataclass(frozen=True)
class Carried(Case):
    """A derivation with a wrong step and later ones that follow from it."""

    wrong: Mapping[str, Wanted] = None  # type: ignore[assignment]  # always given
    follows: Mapping[str, Sequence[str]] = None  # type: ignore[assignment]  # always given


def spec_path(file: Path) -> Path:
    name = yaml.safe_load(file.read_text("utf-8"))["spec"]
    inside = HERE / "graphs" / f"{name}.yaml"
    return inside if inside.exists() else SPECS / f"{name}.yaml"


@cache
def data(file: Path) -> Mapping[str, Any]:
    return yaml.safe_load(file.read_text("utf-8"))


@cache
def spec_of(file: Path) -> Spec:
    return load(spec_path(file))


@lru_cache(maxsize=4)
def checker(file: Path, seed: int = 0) -> Checker:
    return Checker(spec_of(file), seed=seed, coverage=False)


def _many(given: Any) -> frozenset[str]:
    many = given if isinstance(given, list) else [given]
    return frozenset(str(one).replace(" ", "") for one in many)


def _wanted(given: Mapping[str, Any]) -> Wanted:
    return _many(given["kind"]), _many(given["where"])


def _texts(given: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (given or {}).items()}


def right(file: Path) -> Iterator[Case]:
    read = data(file)
    for claim, forms in (read.get("right") or {}).items():
        for k, form in enumerate(forms if isinstance(forms, list) else [forms]):
            yield Case(file.stem, f"{claim} #{k}", {claim: str(form)}, _texts(read.get("let")))


def right_together(file: Path) -> Iterator[Case]:
    """The first forms of all claims as one derivation, then the second ones, and so on."""
    forms: dict[str, list[str]] = {}
    for case in right(file):
        for claim, form in case.claims.items():
            forms.setdefault(claim, []).append(form)
    let = _texts(data(file).get("let"))
    for k in range(max(map(len, forms.values()))):
        claims = {claim: given[min(k, len(given) - 1)] for claim, given in forms.items()}
        yield Case(file.stem, f"right {k}", claims, let)


def wrong(file: Path) -> Iterator[Case]:
    read = data(file)
    for part in ("wrong", "pairs"):
        for k, one in enumerate(read.get(part) or ()):
            let = {**_texts(read.get("let")), **_texts(one.get("let"))}
            mistakes = one["mistakes"] if part == "pairs" else [one]
            yield Case(
                file.stem,
                f"{part} {k}: {one['claim']}",
                {one["claim"]: str(one["formula"])},
                let,
                claim=one["claim"],
                mistakes=tuple(_wanted(m) for m in mistakes),
                row=one.get("row"),
            )


def sampled(file: Path) -> Iterator[Case]:
    """Every sixteenth wrong case, beginning at another one in each file."""
    return islice(wrong(file), FILES.index(file) % EVERY, None, EVERY)


def carried(file: Path) -> Iterator[Carried]:
    read = data(file)
    for k, one in enumerate(read.get("carried") or ()):
        yield Carried(
            file.stem,
            f"carried {k}",
            _texts(one["claims"]),
            {**_texts(read.get("let")), **_texts(one.get("let"))},
            wrong={claim: _wanted(given) for claim, given in one["wrong"].items()},
            follows={
                claim: given if isinstance(given, list) else [given]
                for claim, given in one["follows"].items()
            },
        )


def report(file: Path, case: Case, **options: Any) -> Report:
    """The report on one case (only the names of ``let`` that it uses).

    Whether known mistakes show at the points is asked, for the sake of time, only where a wrong
    claim is taken for right: further points are then drawn, as in any check.
    """
    spec = spec_of(file)
    made = FormulaDerivation(case.claims, case.let, functions=spec.functions)
    made.check(spec.graph, spec.sizes)
    found = (checker(file) if not options else Checker(spec, **options)).check(made)
    if not options and case.mistakes and found[case.claim].verdict == "right":
        return Checker(spec).check(made)
    return found


def whole(file: Path, case: Case) -> Case:
    """The case inside a whole derivation: the file's claims in their first forms beside it.

    What the case has another intermediate result for is then wrong in them too.
    """
    first = next(iter(right_together(file)))
    return replace(case, claims={**first.claims, **case.claims})


# --- what counts as found ----------------------------------------------------------------------


def named(mistake: Any, wanted: Wanted) -> bool:
    """Whether one of the names of a mistake (equal numbers) is the one that is wanted."""
    names = [(mistake.kind, mistake.where), *mistake.same_as]
    return any(kind in wanted[0] and _place(where, wanted[1]) for kind, where in names)


def _place(where: str, wanted: frozenset[str]) -> bool:
    """Whether a place is one of those wanted: an edge also counts as a place of its child."""
    child, _, parent = where.partition("<-")
    for one in wanted:
        other, _, above = one.partition("<-")
        if child == other and (not parent or not above or parent == above):
            return True
    return False


def explains(fit: Sequence[Any], mistakes: Sequence[Wanted]) -> bool:
    """Whether an explanation names these mistakes, and no others.

    One that covers several places at once (two statistics taken for constants) may be told as
    one or as two.
    """
    return (
        bool(fit)
        and all(any(named(one, wanted) for wanted in mistakes) for one in fit)
        and all(any(named(one, wanted) for one in fit) for wanted in mistakes)
    )


def told(report: Report, claim: str) -> tuple[list[tuple[Mistake, ...]], bool]:
    """All that a report says went wrong on the way to a claim, the likeliest first, and whether it
    is certain: its own mistakes, and those of the author's claims that it is judged by.
    """
    result = report[claim]
    fits = [result.mistakes, *result.alternatives]
    certain = result.certain
    if result.carried and result.mistakes:
        return fits, certain  # the same mistake as there
    certain |= result.carried
    for given in result.given:
        theirs, sure = told(report, given)
        fits = [tuple(dict.fromkeys((*one, *two))) for one, two in product(fits, theirs)]
        certain &= sure
    return fits, certain


def outcome(report: Report, case: Case) -> str:
    """``right`` diagnosis, ``listed`` among alternatives, ``unknown``, ``guessed`` (another one,
    not stated as certain), or ``false``.
    """
    (first, *others), certain = told(report, case.claim)
    if explains(first, case.mistakes):
        return "right"
    if any(explains(fit, case.mistakes) for fit in others):
        return "listed"
    if not first or any(mistake.kind == "unknown" for mistake in first):
        return "unknown"
    return "false" if certain else "guessed"
