"""Errors carried forward: what follows correctly from an earlier wrong step is told as such."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from graphengine.check import Checker, Report, checker
from graphengine.derivation import FormulaDerivation
from tests.check.derivations import NoSurvey

SPECS = Path(__file__).parents[2] / "specs"


@cache
def lecture() -> Checker:
    return Checker(SPECS / "softmax_regression.yaml")


@pytest.fixture(autouse=True)
def _first_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "Survey", NoSurvey)


def report(claims: Mapping[str, str], let: Mapping[str, str] | None = None) -> Report:
    return lecture().check(FormulaDerivation(claims, let or {}))


def standings(found: Report) -> dict[str, str]:
    return {claim.claim: claim.standing for claim in found.claims}


def kinds(found: Report, claim: str) -> list[str]:
    return [mistake.kind for mistake in found[claim].mistakes]


def test_a_wrong_local_jacobian_is_wrong_once_and_carried_into_the_totals() -> None:
    found = report(
        {
            "p/s": "D",
            "J/s": "u @ D",
            "J/b": "u @ D",
            "J/W": "outer(u @ D, x) + 2 * lam * W",
            "J/x": "(u @ D) @ W",
            "z/x": "W",
        },
        {"D": "diag(p * (1 - p))", "u": "-y / (y @ p)"},
    )
    assert standings(found) == {
        "p/s": "wrong",
        "J/s": "right given p/s (carried)",
        "J/b": "right given J/s (carried)",
        "J/W": "right given J/s (carried)",
        "J/x": "right given J/s (carried)",
        "z/x": "right",
    }
    assert kinds(found, "p/s") == ["diagonal_only"]
    assert found["J/s"].verdict == "wrong"  # as it stands it is no derivative of the graph
    assert found["J/s"].mistakes == ()
    assert found["J/s"].what == "it follows from the claim of p/s"
    assert (found.first, found.verdict, found.exit_status) == ("p/s", "wrong", 1)


def test_a_wrong_total_is_carried_into_the_totals_below_it() -> None:
    found = report({"J/W": "outer(y - p, x) + 2 * lam * W", "J/x": "(y - p) @ W", "J/s": "y - p"})
    assert standings(found) == {
        "J/W": "right given J/s (carried)",
        "J/x": "right given J/s (carried)",
        "J/s": "wrong",
    }
    assert found.first == "J/s"
    assert [claim.claim for claim in found.claims] == ["J/W", "J/x", "J/s"]  # the author's order


def test_what_does_not_follow_from_the_wrong_step_but_is_right_is_right() -> None:
    found = report({"J/s": "y - p", "J/b": "p - y", "r/W": "2 * W"})
    assert standings(found) == {"J/s": "wrong", "J/b": "right", "r/W": "right"}


def test_two_wrong_steps_are_both_needed() -> None:
    found = report(
        {"l/p": "v", "p/s": "D", "J/s": "v @ D", "J/W": "outer(v @ D, x) + 2 * lam * W"},
        {"v": "y / (y @ p)", "D": "-outer(p, p)"},
    )
    assert kinds(found, "l/p") == ["sign"]
    assert kinds(found, "p/s") == ["missing_path"]
    assert found["J/s"].carried
    assert set(found["J/s"].given) == {"l/p", "p/s"}
    assert found["J/W"].given == ("J/s",)


def test_a_step_that_needs_one_of_two_wrong_ones_names_that_one() -> None:
    found = report({"r/W": "W", "p/s": "diag(p)", "J/W": "outer(p - y, x) + lam * W"})
    assert found["J/W"].carried
    assert found["J/W"].given == ("r/W",)


@pytest.mark.parametrize(
    ("formula", "kind"),
    [
        ("outer(y - p, x)", "missing_regulariser"),
        ("outer(y - p, x) + lam * W", "regulariser_scale"),
        ("outer(y - p, x) + 2 * W", "factor"),
    ],
)
def test_a_step_from_a_wrong_one_with_a_mistake_of_its_own(formula: str, kind: str) -> None:
    found = report({"J/s": "y - p", "J/W": formula})
    result = found["J/W"]
    assert not result.carried
    assert result.given == ("J/s",)
    assert result.standing == "wrong, also given J/s"
    assert kinds(found, "J/W") == [kind]
    assert kinds(report({"J/W": formula}), "J/W") != [kind]  # by itself it has two mistakes


def test_a_mistake_that_explains_the_claim_by_itself_needs_no_earlier_one() -> None:
    found = report({"r/W": "W", "J/W": "outer(p - y, x)"})
    assert standings(found)["J/W"] == "wrong"
    assert kinds(found, "J/W") == ["missing_regulariser"]


def test_the_same_mistake_in_two_claims_counts_once() -> None:
    found = report({"J/b": "y - p", "J/x": "(y - p) @ W"})  # neither lies on the way of the other
    assert found["J/b"].standing == "wrong"
    assert found["J/x"].carried
    assert found["J/x"].given == ("J/b",)
    assert found["J/x"].what.startswith("the same mistake as in J/b: the sign is wrong")


def test_another_mistake_in_a_second_claim_is_a_mistake_again() -> None:
    found = report({"J/b": "y - p", "J/x": "p @ W"})
    assert standings(found) == {"J/b": "wrong", "J/x": "wrong"}
    assert kinds(found, "J/x") == ["missing_path"]


def test_the_regulariser_missed_twice_is_not_one_mistake() -> None:
    """Its place is the node of the graph, but each claim leaves it out anew."""
    found = report({"r/W": "W", "J/r": "2 * lam", "J/W": "outer(p - y, x) + 2 * lam * W"})
    assert standings(found) == {"r/W": "wrong", "J/r": "wrong", "J/W": "right"}


def test_what_is_unknown_is_carried_too() -> None:
    odd = "p - y + 1 / s**2"
    found = report({"J/s": odd, "J/b": odd, "J/x": f"({odd}) @ W"})
    assert kinds(found, "J/s") == ["unknown"]
    assert found["J/b"].carried
    assert found["J/x"].carried


def test_of_two_wrong_totals_the_nearer_one_is_named() -> None:
    found = report({"J/s": "p - y + 1 / s**2", "J/z": "p - y + x[0]", "J/x": "(p - y + x[0]) @ W"})
    assert kinds(found, "J/z") == ["unknown"]
    assert found["J/x"].given == ("J/z",)


def test_a_jacobian_of_two_far_nodes_is_carried() -> None:
    found = report(
        {"z/W": "kron(x, eye(C))", "s/W": "kron(x, eye(C))", "p/W": "A @ kron(x, eye(C))"},
        {"A": "diag(p) - outer(p, p)"},
    )
    assert kinds(found, "z/W") == ["kronecker_order"]
    assert found["s/W"].carried
    assert found["p/W"].carried


def test_a_claim_is_not_excused_by_a_later_one() -> None:
    """The gradient below does not stand in for the one above it."""
    found = report({"J/W": "outer(y - p, x) + 2 * lam * W", "J/s": "p - y", "J/b": "y - p"})
    assert standings(found)["J/s"] == "right"
    assert not {"J/W"} & set(found["J/b"].given) or found.first == "J/W"
    assert sum(not claim.carried for claim in found.claims if claim.verdict == "wrong") == 1


def test_order_of_the_claims_does_not_matter() -> None:
    claims = {
        "p/s": "diag(p)",
        "J/s": "-y / (y @ p) @ diag(p)",
        "J/W": "outer(-y, x) + 2 * lam * W",
        "J/x": "y @ W",
    }
    forward = report(claims)
    backward = report(dict(reversed(claims.items())))
    assert standings(forward) == standings(backward)
    assert forward.first == backward.first == "p/s"
