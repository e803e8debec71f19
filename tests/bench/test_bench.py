"""What the check reaches on derivations as people write them: see README.md here."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml

from graphengine.check import Checker
from graphengine.check.mistakes import arguments, base, chain, layouts, slopes
from graphengine.derivation import FormulaDerivation
from graphengine.spec import load
from tests.bench import cases

by_file = pytest.mark.parametrize("file", cases.FILES, ids=lambda file: file.stem)
alone_or_not = pytest.mark.parametrize("whole", [False, True], ids=["alone", "whole"])


@cache
def outcomes(file: Path, *, whole: bool) -> tuple[tuple[cases.Case, str, str], ...]:
    """Each wrong case of a file with its verdict, and what was made of its mistakes.

    Each is judged by itself, or inside a ``whole`` derivation.
    """
    found = []
    for case in cases.sampled(file):
        report = cases.report(file, cases.whole(file, case) if whole else case)
        found.append((case, report[case.claim].verdict, cases.outcome(report, case)))
    return tuple(found)


# --- verdicts -----------------------------------------------------------------------------


@by_file
def test_right_forms_are_right(file: Path) -> None:
    together = list(cases.right_together(file))
    assert len(together) >= 3, "claims are written in three forms"
    for case in together if cases.EVERY == 1 else together[:3]:
        report = cases.report(file, case)
        assert report.verdict == "right", f"{case.name}: {case.claims}\n{report}"


@alone_or_not
@by_file
def test_wrong_claims_are_not_right(file: Path, *, whole: bool) -> None:
    for case, verdict, _ in outcomes(file, whole=whole):
        assert verdict in {"wrong", "error"}, f"{case.name}: {case.claims}"


@by_file
def test_errors_are_carried_forward(file: Path) -> None:
    for case in cases.carried(file):
        report = cases.report(file, case)
        for claim in case.wrong:
            assert report[claim].verdict == "wrong"
        for claim, given in case.follows.items():
            assert report[claim].carried, f"{case.name}: {claim} given {given}\n{report}"


@by_file
def test_verdicts_do_not_depend_on_scale(file: Path, tmp_path: Path) -> None:
    """The result times a tiny number, in every other file a huge one, with all claims about it."""
    size = (1e-8, 1e8)[cases.FILES.index(file) % 2]
    path = cases.spec_path(file)
    read = yaml.safe_load(path.read_text("utf-8"))
    top = read.get("result")
    if top is None:
        pytest.skip("the graph has no result")
    read["nodes"]["scaled_"] = f"{size!r} * {top}"
    read["result"] = "scaled_"
    for key in ("derivation", "values", "points"):
        read.pop(key, None)
    written = tmp_path / "scaled.yaml"
    written.write_text(yaml.safe_dump(read, sort_keys=False), "utf-8")
    checker = Checker(load(written), points=3, coverage=False)

    def scaled(case: cases.Case) -> FormulaDerivation:
        """The claims about the result."""
        claims = {
            claim.replace(f"{top}/", "scaled_/"): f"{size!r} * ({form})"
            for claim, form in case.claims.items()
            if claim.startswith(f"{top}/")
        }
        return FormulaDerivation(claims, case.let, functions=cases.spec_of(file).functions)

    made = [scaled(case) for case in cases.right_together(file)]
    for derivation in made[:1] if made[0].claims else ():
        report = checker.check(derivation)
        assert report.verdict == "right", str(report)
    wrong = [case for case in cases.wrong(file) if case.claim.startswith(f"{top}/")]
    for case in wrong[:1]:
        name = case.claim.replace(f"{top}/", "scaled_/")
        assert checker.check(scaled(case))[name].verdict != "right", case.claims


# --- diagnoses ----------------------------------------------------------------------------


def counts(*, pairs: bool, whole: bool) -> Counter[str]:
    """How many diagnoses of single mistakes, or of pairs, came out how."""
    return Counter(
        outcome
        for file in cases.FILES
        for case, _, outcome in outcomes(file, whole=whole)
        if (len(case.mistakes) > 1) == pairs
    )


@alone_or_not
def test_single_mistakes_are_named(*, whole: bool) -> None:
    found = counts(pairs=False, whole=whole)
    assert found["right"] >= 0.96 * found.total(), found


@alone_or_not
def test_pairs_of_mistakes_are_named(*, whole: bool) -> None:
    found = counts(pairs=True, whole=whole)
    assert found["right"] >= 0.90 * found.total(), found


@alone_or_not
def test_wrong_diagnoses_are_not_stated_as_certain(*, whole: bool) -> None:
    found = counts(pairs=False, whole=whole) + counts(pairs=True, whole=whole)
    assert found["false"] < 0.01 * found.total(), found


NEEDED = [
    (slopes.wrong_slope, "wrong_slope", "activations"),
    (arguments.wrong_argument, "wrong_argument", "two_link_arm"),
    (chain.diagonal_only, "diagonal_only", "softmax_regression"),
    (chain.missing_path, "missing_path", "rnn"),
    (layouts.transposed, "transposed", "gaussian_likelihood"),
]


@pytest.mark.parametrize(
    ("generator", "kind", "name"), NEEDED, ids=[one[0].__name__ for one in NEEDED]
)
def test_without_a_mistake_in_the_catalogue_the_bench_falls(
    generator: base.Catalogued, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cases.HERE / f"{name}.yaml"
    chosen = [
        case
        for case in cases.wrong(file)
        if len(case.mistakes) == 1 and kind in case.mistakes[0][0]
    ][:6]

    def named() -> list[bool]:
        checker = Checker(cases.spec_of(file), coverage=False)
        known = cases.spec_of(file).functions
        made = [FormulaDerivation(case.claims, case.let, functions=known) for case in chosen]
        pairs = zip(made, chosen, strict=True)
        return [cases.outcome(checker.check(one), case) == "right" for one, case in pairs]

    before = named()
    kept = [one for one in base.LINKS if one is not generator]
    assert len(kept) == len(base.LINKS) - 1
    monkeypatch.setattr("graphengine.check.mistakes.catalogue.LINKS", kept)
    assert sum(named()) < sum(before)
