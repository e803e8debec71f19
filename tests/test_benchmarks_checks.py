"""The benches of the check itself: checkers side by side, and a class to be graded."""

from __future__ import annotations

import pytest

from benchmarks import checkers, grading
from tests.bench import cases

FILE = cases.HERE / "logistic_unit.yaml"


def test_checkers_are_compared_on_the_same_cases() -> None:
    scores, counts = checkers.compare([FILE])
    ours = scores[checkers.OURS]
    assert len(ours.seconds) == counts["wrong"] + counts["right"] > 10
    assert (ours.detected, ours.alarms) == (counts["wrong"], 0)
    assert ours.named >= 0.9 * counts["wrong"] > 0
    for name, score in scores.items():
        assert len(score.seconds) == len(ours.seconds), name
        assert counts["wrong"] >= score.detected + sum(score.missed.values()) > 0, name


def test_what_each_says_is_shown() -> None:
    says = dict(checkers.example(checkers.installed()))
    assert "regulariser" in says.pop(checkers.OURS)
    assert says
    assert all(says.values())


def test_a_class_is_graded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["grading", "4"])
    grading.main()
    printed = capsys.readouterr().out
    assert "4 YAML submissions" in printed
    assert "| that could not be judged | 0 |" in printed
