"""Gradescope's results.json: its schema, what is in it, and that it is there whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from graphengine import check as checks
from graphengine.cli import main
from graphengine.grading import ClaimGrade, Grade, results
from graphengine.grading.gradescope import results_text, written
from tests.grading.test_points_and_rubric import GRADED

VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["score", "tests"],
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "number", "minimum": 0},
        "output": {"type": "string"},
        "output_format": FORMAT,
        "test_output_format": FORMAT,
        "test_name_format": FORMAT,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["score", "max_score", "status", "name"],
                "properties": {
                    "score": {"type": "number"},
                    "max_score": {"type": "number", "minimum": 0},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string"},
                    "name_format": FORMAT,
                    "number": {"type": "string"},
                    "output": {"type": "string"},
                    "output_format": FORMAT,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}
"""https://gradescope-autograders.readthedocs.io/en/latest/specs/"""


def valid(data: dict[str, Any]) -> dict[str, Any]:
    jsonschema.validate(data, SCHEMA)
    if data["tests"]:
        assert data["score"] == pytest.approx(sum(test["score"] for test in data["tests"]))
    return data


def test_a_test_case_for_each_claim() -> None:
    claims = (
        ClaimGrade("J/b", "right", 1.0, 1.0),
        ClaimGrade(
            "J/W", "wrong", 0.5, 2.0, "wrong: \x00 the sign", "sign", "J", place="a.yaml:3:5"
        ),
        ClaimGrade("J/x", "carried", 3.0, 3.0, "right given J/W (carried)"),
        ClaimGrade("J/s", "right", 0.0, 0.0, counts=False),
        ClaimGrade("J/z", "missing", 0.0, 0.0, "this claim is missing", counts=False),
    )
    data = valid(results(Grade("anna", 4.5, 6.0, claims, seconds=0.12345)))
    assert (data["score"], data["execution_time"]) == (4.5, 0.123)
    assert data["output"] == "4.5 of 6 points: 3 claims, 1 right, 1 wrong, 1 carried"
    status = [test["status"] for test in data["tests"]]
    assert status == ["passed", "failed", "passed", "passed", "failed"]
    assert data["tests"][1]["output"] == "wrong: � the sign\na.yaml:3:5\n0.5 of 2 points"
    assert [test["number"] for test in data["tests"]] == ["1", "2", "3", "4", "5"]


def test_text_of_any_kind_is_utf8() -> None:
    grade = Grade("anna", 0.0, 1.0, error="surrogate \udcff, bell \x07, ∂")
    data = valid(json.loads(results_text(grade).encode("utf-8")))
    assert data["output"] == "0 of 1 points: surrogate �, bell �, ∂"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(GRADED, "utf-8")
    return path


def checked(spec: Path, text: str | None) -> tuple[int, dict[str, Any]]:
    submission, out = spec.with_name("anna.yaml"), spec.with_name("results.json")
    if text is not None:
        submission.write_text(text, "utf-8")
    args = ["check", str(spec), str(submission), "--gradescope", str(out)]
    status = CliRunner().invoke(main, args).exit_code
    return status, valid(json.loads(out.read_text("utf-8")))


def test_of_a_check(spec: Path) -> None:
    right = "derivation: {claims: {J/h: 2 * h, J/W: 'outer(2 * h * (1 - h**2), x)'}}\n"
    status, data = checked(spec, right)
    assert (status, data["score"], [t["max_score"] for t in data["tests"]]) == (0, 3.5, [2, 1.5])
    status, data = checked(spec, right.replace("2 * h,", "-2 * h,"))
    assert (status, data["score"]) == (1, 2.5)  # half of 2 for a sign, by the rubric
    assert "anna.yaml:1:23" in data["tests"][0]["output"]


@pytest.mark.parametrize("text", [None, "", "[" * 5000, "derivation: {claims: {J/q: 1}}"])
def test_of_what_cannot_be_read(spec: Path, text: str | None) -> None:
    status, data = checked(spec, text)
    assert (status, data["score"], data["tests"]) == (2, 0.0, [])
    assert "anna.yaml" in data["output"]


def test_of_a_spec_that_cannot_be_read(spec: Path) -> None:
    spec.write_text("graphengine: 2\n", "utf-8")
    status, data = checked(spec, "derivation: {claims: {J/h: 1}}")
    assert (status, data["score"]) == (2, 0.0)
    assert "spec.yaml:1:1: expected the key 'nodes'" in data["output"]


def test_of_a_failure_inside(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(checks.Checker, "check", fails)
    status, data = checked(spec, "derivation: {claims: {J/h: 1}}")
    assert (status, data["output"]) == (1, "ZeroDivisionError: inside")


def test_of_a_process_that_dies(tmp_path: Path) -> None:
    code = (
        "import os, pathlib\n"
        "from graphengine.grading.gradescope import written\n"
        "path = pathlib.Path('results.json')\n"
        "with written('anna', to_junit=None, to_gradescope=path): os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == 9
    data = valid(json.loads((tmp_path / "results.json").read_text("utf-8")))
    assert (data["score"], data["output"]) == (0.0, "the check did not finish")


def test_an_interruption_is_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(KeyboardInterrupt), written("anna", to_junit=None, to_gradescope=path):
        raise KeyboardInterrupt
    assert json.loads(path.read_text("utf-8"))["output"] == "KeyboardInterrupt"


def test_a_place_that_cannot_be_written(spec: Path) -> None:
    args = ["check", str(spec), str(spec), "--gradescope", str(spec / "no" / "results.json")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    assert "results.json: " in result.output
    assert "Traceback" not in result.output
