"""Which claims count, and what part of its points each is given."""

from __future__ import annotations

from typing import Any

import pytest

import graphengine as ge
from graphengine.check import ClaimResult, Mistake, Report
from graphengine.derivation import FormulaDerivation
from graphengine.grading.scoring import Grade, failed, graded
from graphengine.spec import Rubric, Spec

SIGN = Mistake("sign", "J<-h", "the sign")
FACTOR = Mistake("factor", "J<-h", "a factor", same_as=(("double_counted", "h"),))
UNKNOWN = Mistake("unknown", "h", "no known mistake")


def spec(claims: tuple[str, ...] = (), **given: Any) -> Spec:
    g = ge.Graph("net")
    x = g.input("x", (2,))
    h = g.node("h", ge.tanh(x))
    g.result("J", ge.sum(h**2))
    own = FormulaDerivation(dict.fromkeys(claims, "x")) if claims else None
    return Spec.of(g, derivation=own, **given)


def report(*claims: ClaimResult) -> Report:
    return Report("net", claims)


def parts(rubric: Rubric, *claims: ClaimResult) -> list[float]:
    points = {claim.claim: 4.0 for claim in claims}
    made = spec(points=points, rubric=rubric)
    return [claim.score for claim in graded("anna", made, report(*claims)).claims]


J_h = ClaimResult("J/h", "right")
wrong = ClaimResult("J/h", "wrong", mistakes=(SIGN,))
carried = ClaimResult("J/x", "wrong", given=("J/h",), carried=True)


def test_right_and_carried_steps_count_and_nothing_else() -> None:
    assert parts(Rubric(), J_h, carried) == [4.0, 4.0]
    undecided = ClaimResult("J/x", "undecided")
    assert parts(Rubric(), wrong, undecided) == [0.0, 0.0]
    assert parts(Rubric(), ClaimResult("J/h", "error")) == [0.0]


@pytest.mark.parametrize(
    ("claim", "part"),
    [
        (wrong, 0.5),
        (ClaimResult("J/h", "wrong", mistakes=(SIGN,), given=("J/x",)), 0.5),
        (ClaimResult("J/h", "wrong", mistakes=(FACTOR,)), 0.75),  # cannot be told from 0.75's kind
        (ClaimResult("J/h", "wrong", mistakes=(SIGN, FACTOR)), 0.0),
        (ClaimResult("J/h", "wrong", mistakes=(SIGN,), alternatives=((FACTOR,),)), 0.0),
        (ClaimResult("J/h", "wrong", mistakes=(UNKNOWN,)), 0.0),
        (ClaimResult("J/h", "wrong", mistakes=(Mistake("transposed", "h", ""),)), 0.0),
        (ClaimResult("J/h", "wrong"), 0.0),
        (ClaimResult("J/h", "undecided"), 0.25),
        (ClaimResult("J/h", "wrong", given=("J/x",), carried=True), 0.125),
        (ClaimResult("J/h", "error"), 0.0),
        (ClaimResult("J/h", "right"), 1.0),
    ],
)
def test_a_rubric(claim: ClaimResult, part: float) -> None:
    mistakes = {"sign": 0.5, "factor": 0.25, "double_counted": 0.75}
    rubric = Rubric(carried=0.125, undecided=0.25, missing=0.0, mistakes=mistakes)  # type: ignore[arg-type]
    assert parts(rubric, claim) == [4.0 * part]


class TestTheClaimsThatCount:
    def test_those_with_points(self) -> None:
        made = spec(("J/h",), points={"J/x": 2, "h/x": 0.5})
        grade = graded("anna", made, report(ClaimResult("J/x", "right"), J_h))
        assert (grade.score, grade.max_score) == (2.0, 2.5)
        found = [(one.claim, one.standing, one.counts) for one in grade.claims]
        assert found == [("J/x", "right", True), ("h/x", "missing", True), ("J/h", "right", False)]
        assert grade.claims[-1].max_score == 0.0

    def test_else_those_of_the_spec(self) -> None:
        grade = graded("anna", spec(("J/h", "J/x")), report(J_h))
        assert (grade.score, grade.max_score) == (1.0, 2.0)

    def test_else_those_of_the_submission(self) -> None:
        grade = graded("anna", spec(), report(J_h, carried, ClaimResult("h/x", "wrong")))
        assert (grade.score, grade.max_score) == (2.0, 3.0)

    def test_a_part_for_what_is_missing(self) -> None:
        made = spec(points={"J/h": 1, "J/x": 2}, rubric=Rubric(missing=0.5))
        assert graded("anna", made, report(J_h)).score == 2.0


def test_tenths_add_up() -> None:
    made = spec(points={"J/h": 0.1, "J/x": 0.2}, rubric=Rubric(carried=1))
    grade = graded("anna", made, report(J_h, carried))
    assert (grade.score, grade.max_score) == (0.3, 0.3)


def test_a_failure_has_nothing_of_what_could_be_had() -> None:
    grade = failed("anna", spec(points={"J/h": 3}), "no YAML")
    assert (grade.score, grade.max_score, grade.claims) == (0.0, 3.0, ())
    assert grade.summary == "0 of 3 points: no YAML"
    assert failed("anna", None, "no spec").summary == "no spec"


def test_the_first_mistake_is_the_first_in_the_graph() -> None:
    later = ClaimResult("J/x", "wrong", mistakes=(FACTOR,))
    grade = graded("anna", spec(), Report("net", (later, wrong), first="J/h"))
    assert grade.mistake is not None
    assert grade.mistake.kind == "sign"
    plain = graded("anna", spec(), Report("net", (later, ClaimResult("J/h", "error")), first="J/h"))
    assert plain.mistake is not None
    assert plain.mistake.kind == "factor"
    assert graded("anna", spec(), report(J_h)).mistake is None


def test_a_grade_is_what_was_written() -> None:
    grade = graded("anna", spec(), report(wrong, carried), 1.5)
    assert Grade.from_dict(grade.to_dict()) == grade
    assert grade.summary == "1 of 2 points: 2 claims, 1 wrong, 1 carried"
    for bad in ({}, {"claims": [{"claim": "x"}]}, {**grade.to_dict(), "more": 1}):
        with pytest.raises((TypeError, KeyError)):
            Grade.from_dict(bad)
