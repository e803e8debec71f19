"""Reports: the table, JSON without what JSON does not have, notebooks, the exit status."""

from __future__ import annotations

import json
import math

import pytest
from rich.console import Console

from graphengine.check import ClaimResult, Coverage, Entry, Mistake, Report, Verdict, check
from graphengine.tables import WIDTH
from tests.check.derivations import least_squares

RIGHT = ClaimResult("J/b", "right", 3e-16, 5, Entry((0,), 1.0, 1.0), reference="complex step")
WRONG = ClaimResult(
    "J/W", "wrong", 0.31, 5, Entry((0, 2), 1.5, 0.75), sizes={"C": 3, "d": 4}, place="s.y:3:5"
)
SHAPE = ClaimResult(
    "z/x", "wrong", mistakes=(Mistake("shape", "z/x", "the shape is (4, 3), expected (3, 4)"),)
)
KINK = ClaimResult("J/h", "undecided", says="h = relu(a) is at a kink or a tie")
NAN = ClaimResult(
    "J/a", "wrong", math.inf, 5, Entry((), math.nan, -math.inf), reference="differences"
)
ERROR = ClaimResult("J/q", "error", says="file:3:4: expected a known name, got 'q'")


def _report(*claims: ClaimResult, **more: object) -> Report:
    points = ({"C": 3, "d": 4}, {"C": 5, "d": 2})
    return Report("softmax", claims, points=points, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ([RIGHT], "right"),
        ([RIGHT, KINK], "undecided"),
        ([RIGHT, KINK, ERROR], "error"),
        ([WRONG, ERROR, KINK, RIGHT], "wrong"),
    ],
)
def test_the_verdict_is_the_worst_and_sets_the_exit_status(
    claims: list[ClaimResult], verdict: Verdict
) -> None:
    report = _report(*claims)
    assert report.verdict == verdict
    assert report.exit_status == (verdict != "right")


def test_the_table() -> None:
    report = _report(RIGHT, WRONG, SHAPE, KINK, first="z/x", seed=7)
    assert str(report).splitlines() == [
        "softmax: 4 claims, 2 wrong, 1 undecided, 1 right; the first to look at: z/x",
        " claim  verdict      error  what",
        "─" * 89,
        " J/b    right      3.0e-16",
        " J/W    wrong         0.31  entry [0, 2]: claimed 1.5, right is 0.75 (C=3 d=4) [s.y:3:5]",
        " z/x    wrong            –  the shape is (4, 3), expected (3, 4)",
        " J/h    undecided        –  h = relu(a) is at a kink or a tie",
        "2 points (C=3 d=4; C=5 d=2), seed 7, tolerance 1e-07, reference checked by complex step",
    ]


def test_long_reasons_are_folded_into_the_width_and_brackets_stay() -> None:
    says = "the rule [of] " + "x" * 150 + " is suspect"
    lines = str(_report(ClaimResult("J/x", "undecided", says=says))).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "[of]" in str(lines)


def test_notes_and_a_generators_seed() -> None:
    text = str(_report(RIGHT, seed=None, notes=("constants keep their values",)))
    assert "seed" not in text
    assert text.endswith("constants keep their values")
    assert "softmax: 1 claim, right" in text


def test_json_has_the_fields_of_the_format() -> None:
    found = _report(WRONG, SHAPE).to_dict()
    assert found["spec"] == "softmax"
    assert found["verdict"] == "wrong"
    first, second = found["claims"]
    assert {key: first[key] for key in ("claim", "verdict", "relative_error", "points")} == {
        "claim": "J/W",
        "verdict": "wrong",
        "relative_error": 0.31,
        "points": 5,
    }
    assert first["worst"] == {"index": [0, 2], "claimed": 1.5, "reference": 0.75}
    assert first["mistakes"] == []
    assert first["place"] == "s.y:3:5"
    assert second["worst"] is None
    assert second["mistakes"] == [
        {"kind": "shape", "where": "z/x", "says": "the shape is (4, 3), expected (3, 4)"}
    ]
    assert found["points"] == [{"C": 3, "d": 4}, {"C": 5, "d": 2}]
    assert (found["seed"], found["tolerance"], found["first"]) == (0, 1e-7, None)


def test_json_has_no_nan_and_no_infinity() -> None:
    found = _report(NAN, RIGHT).to_dict()
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert found["claims"][0]["relative_error"] == "inf"
    assert found["claims"][0]["worst"] == {"index": [], "claimed": "nan", "reference": "-inf"}
    assert found["reference"] == "differences and complex step"
    assert "inf" in str(_report(NAN))


def test_a_notebook_gets_a_table_with_everything_escaped() -> None:
    says = "entry <b>[0]</b> & more"
    html = _report(ClaimResult("J/<W>", "wrong", 2.0, says=says), RIGHT)._repr_html_()
    assert "<table>" in html
    assert "J/&lt;W&gt;" in html
    assert "&lt;b&gt;[0]&lt;/b&gt; &amp; more" in html
    assert "2.00" in html
    assert html.count("<tr>") == 3


def test_rich_prints_it_too() -> None:
    console = Console(width=WIDTH, force_terminal=False)
    with console.capture() as captured:
        console.print(_report(RIGHT, WRONG))
    assert "entry [0, 2]: claimed 1.5" in captured.get()


# --- explanations -------------------------------------------------------------------------------

PATH = Mistake("missing_path", "r<-W", "the path is missing", (("factor", "r"),))
SIGN = Mistake("sign", "z<-W", "the sign is wrong")
UNKNOWN = Mistake("unknown", "W", "no known mistake")


def _wrong(*mistakes: Mistake, **more: object) -> ClaimResult:
    return ClaimResult("J/W", "wrong", 0.3, 5, Entry((0,), 1.5, 0.75), mistakes, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "what", "certain", "standing"),
    [
        (_wrong(PATH), "the path is missing", True, "wrong"),
        (_wrong(PATH, SIGN), "the path is missing and the sign is wrong", True, "wrong"),
        (_wrong(PATH, sure=False), "perhaps: the path is missing", False, "wrong"),
        (
            _wrong(PATH, alternatives=((SIGN, SIGN),)),
            "either the path is missing; or the sign is wrong and the sign is wrong",
            False,
            "wrong",
        ),
        (_wrong(UNKNOWN), "no known mistake", False, "wrong"),
        (_wrong(), "entry [0]: claimed 1.5, right is 0.75", False, "wrong"),
        (
            _wrong(SIGN, given=("J/s", "p/s")),
            "the sign is wrong",
            True,
            "wrong, also given J/s and p/s",
        ),
        (
            _wrong(carried=True, given=("J/s",), says="it follows from the claim of J/s"),
            "it follows from the claim of J/s",
            False,
            "right given J/s (carried)",
        ),
        (_wrong(PATH, sizes={"C": 3}), "the path is missing (C=3)", True, "wrong"),
    ],
)
def test_an_explanation_in_a_sentence(
    result: ClaimResult, what: str, certain: bool, standing: str
) -> None:
    assert (result.what, result.certain, result.standing) == (what, certain, standing)
    found = result.to_dict()
    assert (found["says"], found["certain"], found["standing"]) == (what, certain, standing)
    assert found["verdict"] == "wrong"  # what follows from a wrong step is still not right
    assert _report(result).exit_status == 1
    assert standing in str(_report(result))
    assert result.standing in _report(result)._repr_html_()


def test_a_notebook_gets_the_graph_with_the_mistake_marked() -> None:
    report = check(least_squares(), {"J/W": "outer(e, x)", "J/e": "e"})
    shown = report._repr_html_()
    assert "<svg" in shown
    assert shown.count(report["J/W"].mistakes[0].says.replace("<-", "&lt;-")) >= 2  # row and mark
    assert "<svg" not in check(least_squares(), {"J/e": "e"})._repr_html_()


def test_json_of_an_explanation() -> None:
    result = _wrong(PATH, alternatives=((SIGN, UNKNOWN),), given=("p/s",), sure=True)
    found = json.loads(json.dumps(result.to_dict()))
    assert found["mistakes"] == [
        {
            "kind": "missing_path",
            "where": "r<-W",
            "says": "the path is missing",
            "same_as": [{"kind": "factor", "where": "r"}],
        }
    ]
    assert [[one["kind"] for one in fit] for fit in found["alternatives"]] == [["sign", "unknown"]]
    assert "same_as" not in found["alternatives"][0][0]
    assert (found["given"], found["carried"]) == (["p/s"], False)


def test_the_coverage_of_claims_adds_up() -> None:
    seen = Coverage(3, 4, ("a is hidden",))
    report = _report(
        ClaimResult("J/b", "right", 0.0, coverage=seen),
        ClaimResult("J/W", "right", 0.0, coverage=Coverage(5, 6, ("b is hidden",))),
    )
    assert report.coverage == Coverage(8, 10, ("a is hidden", "b is hidden"))
    assert str(report).endswith("8 of 10 known mistakes would show")
    assert report.to_dict()["coverage"]["hidden"] == ["a is hidden", "b is hidden"]
    assert report.to_dict()["claims"][0]["coverage"]["visible"] == 3
    assert str(Coverage(1, 1)) == "1 of 1 known mistake would show"
    assert "would show" not in str(_report(RIGHT))


def test_claims_are_found_by_name() -> None:
    report = _report(RIGHT, WRONG)
    assert report["J/W"] is WRONG
    with pytest.raises(KeyError, match="J/x"):
        report["J/x"]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (0.0, "0"),
        (3e-16, "3.0e-16"),
        (0.5, "0.50"),
        (12.3, "12.30"),
        (4e7, "4.0e+07"),
        (math.inf, "inf"),
    ],
)
def test_errors_are_short(error: float, shown: str) -> None:
    assert f" {shown}" in str(_report(ClaimResult("J/x", "right", error)))
