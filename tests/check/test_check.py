"""check() on graphs, specs and files: what it takes, what it says, and that it says it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import Checker, check
from graphengine.check.checker import EXTRA_POINTS
from graphengine.derivation import Derivation, FormulaDerivation, Found, Point
from graphengine.errors import CheckError, GraphEngineError, SpecError
from graphengine.ops.base import Array
from graphengine.spec import load, load_derivation
from tests.check.derivations import ByFunctions, least_squares, softmax_regression

SPECS = Path(__file__).parents[2] / "specs"
SOFTMAX = SPECS / "softmax_regression.yaml"

SUBMISSION = """\
derivation:
  let: {g: p - y}
  claims:
    J/b: g
    J/W: outer(g, x) + lam * W
    p/s: diag(p)
"""


def test_a_spec_file_is_checked_with_its_own_derivation() -> None:
    report = check(SOFTMAX)
    assert report.verdict == "right"
    assert report.spec == "softmax regression"
    assert report.path == str(SOFTMAX)
    assert len(report.claims) == 15
    assert report.points[0] == {"C": 3, "d": 4}
    assert len({tuple(sizes.values()) for sizes in report.points}) == 5
    assert report.reference == "complex step"


def test_a_path_a_spec_and_its_parts_give_the_same_report() -> None:
    spec = load(SOFTMAX)
    reports = [check(given, points=2) for given in (str(SOFTMAX), spec, SOFTMAX)]
    reports.append(check(spec, spec.derivation, points=2))
    assert len({json.dumps(report.to_dict()) for report in reports}) == 1


def test_a_submission_is_judged_by_somebody_elses_spec(tmp_path: Path) -> None:
    path = tmp_path / "submission.yaml"
    path.write_text(SUBMISSION)
    report = check(SOFTMAX, path)
    assert {claim.claim: claim.verdict for claim in report.claims} == {
        "J/b": "right",
        "J/W": "wrong",
        "p/s": "wrong",
    }
    assert report.first == "p/s"
    assert report["J/W"].place.startswith(f"{path}:5")
    spec = load(SOFTMAX)
    assert check(spec, load_derivation(path, spec)).to_dict() == report.to_dict()


def test_a_python_submission(tmp_path: Path) -> None:
    path = tmp_path / "submission.py"
    path.write_text("def dJ_db(p, y):\n    return p - y\n\ndef dJ_dx(W, p, y):\n    return W @ p\n")
    report = check(SOFTMAX, path, points=2)
    assert report["J/b"].verdict == "right"
    assert report["J/x"].verdict in {"wrong", "error"}


def test_a_graph_is_checked_with_formulas_or_a_file(tmp_path: Path) -> None:
    g = least_squares()
    report = check(g, {"J/e": "e", "J/W": "-outer(e, x)", "J/x": "e @ W"})
    assert [claim.verdict for claim in report.claims] == ["right", "right", "wrong"]
    assert (report.spec, report.path, report.first) == ("least squares", "", "J/x")
    path = tmp_path / "submission.yaml"
    path.write_text("derivation:\n  claims:\n    J/e: e\n    J/x: -e @ W\n")
    assert check(g, path).verdict == "right"


def test_equal_seeds_give_equal_reports() -> None:
    claims = {"J/W": "outer(p - y, x) + lam * W", "p/s": "diag(p)"}
    one, other, third = (check(SOFTMAX, claims, points=2, seed=seed) for seed in (3, 3, 4))
    assert one.to_dict() == other.to_dict()
    assert str(one) == str(other)
    assert one["J/W"].worst != third["J/W"].worst
    assert (one.seed, third.seed) == (3, 4)
    first, again = (
        check(SOFTMAX, claims, points=2, seed=np.random.default_rng(3)) for _ in range(2)
    )
    assert first.seed is None
    assert first.claims == again.claims
    assert first["J/W"].verdict == "wrong"


def test_the_number_of_points_and_the_sizes_are_the_callers() -> None:
    claims = {"p/s": "diag(p) - outer(p, p)"}
    one = check(SOFTMAX, claims, points=1)
    assert 1 <= len(one.points) <= 1 + EXTRA_POINTS  # more where a mistake would hide
    assert 9 <= len(check(SOFTMAX, claims, points=9).points) <= 9 + EXTRA_POINTS
    fixed = check(SOFTMAX, claims, points=3, vary_sizes=False)
    assert set(map(str, fixed.points)) == {str({"C": 3, "d": 4})}


def test_a_claim_that_holds_at_the_specs_own_sizes_alone_is_not_right() -> None:
    claims = {"s/b": "eye(3)"}
    assert check(SOFTMAX, claims, vary_sizes=False).verdict == "right"
    report = check(SOFTMAX, claims)
    assert report.verdict == "wrong"
    assert "expected" in report["s/b"].what
    assert "C=" in report["s/b"].what


def test_a_formula_that_cannot_be_evaluated_at_other_sizes_is_an_error_there() -> None:
    report = check(SOFTMAX, {"J/b": "p * [1, 2, 3]", "s/b": "eye(C)"})
    assert [claim.verdict for claim in report.claims] == ["error", "right"]
    assert "C=" in report["J/b"].what


def test_denominator_layout_of_a_submission(tmp_path: Path) -> None:
    path = tmp_path / "submission.yaml"
    path.write_text("derivation:\n  layout: denominator\n  claims:\n    z/x: W.T\n    J/b: p - y\n")
    assert check(SOFTMAX, path).verdict == "right"


def test_json_reads_back() -> None:
    report = check(SOFTMAX, {"J/W": "W / 0", "z/x": "W.T", "J/b": "p - y"})
    text = json.dumps(report.to_dict(), allow_nan=False)
    found = json.loads(text)
    assert found == report.to_dict()
    assert [claim["verdict"] for claim in found["claims"]] == ["wrong", "wrong", "right"]
    assert found["claims"][0]["relative_error"] == "inf"
    assert found["claims"][1]["mistakes"][0]["kind"] == "jacobian_transposed"
    assert found["coverage"]["visible"] <= found["coverage"]["total"]


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [{"points": 0}, {"tolerance": 0.0}, {"tolerance": 1.0}, {"tolerance": float("nan")}]
)
def test_what_makes_no_sense_is_refused(more: dict[str, float]) -> None:
    with pytest.raises(CheckError, match="expected at least 1 point and a tolerance"):
        check(least_squares(), {"J/e": "e"}, **more)  # type: ignore[arg-type]


def test_without_a_derivation_there_is_nothing_to_judge() -> None:
    with pytest.raises(CheckError, match="expected a derivation with claims, got none"):
        check(least_squares())
    with pytest.raises(CheckError, match="derivation:"):
        check(least_squares(), ByFunctions({}))


def test_formulas_are_read_before_anything_is_judged() -> None:
    with pytest.raises(GraphEngineError, match="did you mean 'e'"):
        check(least_squares(), {"J/e": "ee"})
    with pytest.raises(SpecError, match="a claim about two nodes"):
        check(least_squares(), {"J/q": "e"})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises((GraphEngineError, OSError)):
        check(tmp_path / "none.yaml")


# --- as a part of the package -------------------------------------------------------------------


def test_the_function_and_the_package_of_one_name_both_work() -> None:
    assert "graphengine.check" in sys.modules
    report = ge.check(least_squares(), {"J/e": "e"})  # type: ignore[operator]  # package and function
    assert report.verdict == "right"
    assert sys.modules["graphengine.check"].points is not None


# --- detection on the specs ---------------------------------------------------------------------


class Changed(Derivation):
    """A derivation whose claims are all changed in one way."""

    def __init__(self, inner: Derivation, how: str) -> None:
        self.inner, self.how = inner, how
        self.layout, self.claims = inner.layout, inner.claims

    def evaluate(self, points: Sequence[Point]) -> list[Found]:
        return [
            {
                name: value if isinstance(value, GraphEngineError) else self.changed(value)
                for name, value in found.items()
            }
            for found in self.inner.evaluate(points)
        ]

    def changed(self, array: Array) -> Array:
        array = np.array(array, dtype=float)
        match self.how:
            case "sign":
                return -array
            case "factor":
                return array * 1.001
            case "one entry":
                worst = np.unravel_index(np.argmax(np.abs(array)), array.shape)
                array[worst] *= 1.01
                return array
            case _:
                return array + 1e-3 * np.max(np.abs(array), initial=0.0)


CHOSEN = ("iris", "relu_svm_net", "maxout", "hessian_logsumexp", "softmax_regression")


@cache
def checker(name: str) -> Checker:
    return Checker(SPECS / f"{name}.yaml", points=2)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, how) for name in CHOSEN for how in ("sign", "factor")),
        *((name, how) for name in CHOSEN[2:4] for how in ("one entry", "offset")),  # no slip
    ],
)
def test_every_changed_claim_of_a_spec_is_wrong(name: str, how: str) -> None:
    derivation = checker(name).source.derivation  # type: ignore[union-attr]  # a spec
    assert derivation is not None
    report = checker(name).check(Changed(derivation, how))
    for claim in report.claims:
        zero = claim.worst is not None and claim.worst.reference == claim.worst.claimed == 0
        assert claim.verdict == "wrong" or zero, (claim.claim, claim.what)
    assert report.verdict == "wrong"


# --- size ---------------------------------------------------------------------------------------


def test_own_sizes_of_3072_are_checked() -> None:
    g = softmax_regression(10, 3072)
    claims = FormulaDerivation({"J/b": "c * (p - y)", "J/W": "c * (outer(p - y, x) + 2*lam*W)"})
    report = check(g, claims)
    assert report.verdict == "right"
