"""A Checker is prepared once: its reports are those of check(), whatever was asked before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import Checker, Report, check, checker
from graphengine.derivation import FormulaDerivation
from graphengine.errors import CheckError
from graphengine.spec import load
from tests.check.derivations import ByFunctions, least_squares

SPECS = Path(__file__).parents[2] / "specs"
SOFTMAX = SPECS / "softmax_regression.yaml"
DERIVATIONS = (
    {"J/W": "outer(p - y, x) + 2 * lam * W", "p/s": "diag(p) - outer(p, p)"},
    {"J/W": "outer(p - y, x)", "p/s": "diag(p)"},
    {"p/s": "diag(p) - outer(p, p)", "J/W": "outer(x, p - y) + lam * W.T"},
    {"J/W": "p @ W", "p/s": "eye(3)"},
    {"J/b": "p - y"},
)


def text(report: Report) -> str:
    return json.dumps(report.to_dict()) + str(report)


def test_a_checker_says_what_check_says() -> None:
    spec = load(SOFTMAX)
    prepared = Checker(spec, points=3)
    for claims in DERIVATIONS[:3]:
        assert text(prepared.check(claims)) == text(check(spec, claims, points=3))
    assert text(prepared.check()) == text(check(spec, points=3))


def test_the_order_of_derivations_does_not_matter() -> None:
    forward, backward = Checker(SOFTMAX, points=2), Checker(SOFTMAX, points=2)
    one = [text(forward.check(claims)) for claims in DERIVATIONS]
    other = [text(backward.check(claims)) for claims in reversed(DERIVATIONS)]
    assert one == other[::-1]
    assert one == [text(forward.check(claims)) for claims in DERIVATIONS]


def test_equal_seeds_give_equal_reports_and_others_do_not() -> None:
    claims = DERIVATIONS[1]
    one, again, other = (Checker(SOFTMAX, points=2, seed=seed).check(claims) for seed in (5, 5, 6))
    assert text(one) == text(again)
    assert one["J/W"].worst != other["J/W"].worst
    assert [c.verdict for c in one.claims] == [c.verdict for c in other.claims]
    assert [c.mistakes[0].kind for c in one.claims] == [c.mistakes[0].kind for c in other.claims]


def test_a_generator_is_drawn_from_once() -> None:
    rng = np.random.default_rng(3)
    first = Checker(SOFTMAX, points=2, seed=rng)
    state = rng.bit_generator.state
    reports = [text(first.check(DERIVATIONS[1])) for _ in range(2)]
    assert rng.bit_generator.state == state
    assert reports[0] == reports[1]
    assert first.seed is None


def test_points_are_drawn_once_for_equal_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    draw = checker.good_points

    def counted(*args: object, **more: object) -> object:
        calls.append(more["claims"])
        return draw(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(checker, "good_points", counted)
    prepared = Checker(least_squares())
    for formula in ("e", "-e", "2 * e", "e[::-1]"):
        prepared.check({"J/e": formula})
    once = len(calls)
    assert once <= 2  # the points, and perhaps candidates for more
    prepared.check({"J/e": "e", "J/y": "e"})
    assert len(calls) > once


def test_old_preparations_are_let_go() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    for k in range(checker.MOST_KEPT + 2):
        g.node(f"n{k}", ge.sum(x) * (k + 1.0))
    prepared = Checker(g, points=1)
    reports = [
        text(prepared.check({f"n{k}/x": f"{k + 1} * ones(2)"}))
        for k in range(checker.MOST_KEPT + 2)
    ]
    assert len(prepared._prepared) <= checker.MOST_KEPT
    assert text(prepared.check({"n0/x": "1 * ones(2)"})) == reports[0]


def test_claims_about_nodes_that_are_not_there_do_not_spoil_the_others() -> None:
    derivation = ByFunctions({"q/x": lambda v: v.x, "J/e": lambda v: v.e})
    report = Checker(least_squares()).check(derivation)
    assert [claim.verdict for claim in report.claims] == ["error", "right"]
    assert report.first == "q/x"
    assert report["q/x"].coverage.total == 0


@pytest.mark.parametrize("points", [0, -1])
def test_what_makes_no_sense_is_refused_at_once(points: int) -> None:
    with pytest.raises(CheckError, match="at least 1 point"):
        Checker(least_squares(), points=points)


def test_a_derivation_is_not_changed() -> None:
    derivation = FormulaDerivation({"J/e": "g"}, {"g": "-e"})
    prepared = Checker(least_squares())
    assert text(prepared.check(derivation)) == text(prepared.check(derivation))


def test_references_and_passes_are_kept_for_the_next_derivation() -> None:
    """What 500 submissions cost is the judging, not the points, references and known mistakes."""
    spec = load(SOFTMAX)
    prepared = Checker(spec, points=2)
    prepared.check()
    assert len(prepared._prepared) == 1
    (kept,) = prepared._prepared.values()
    references = [len(place._references) for place in kept.places]
    flows = [len(place._flows) for place in kept.places]
    prepared.check()
    assert [len(place._references) for place in kept.places] == references
    assert [len(place._flows) for place in kept.places] == flows
