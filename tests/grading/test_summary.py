"""All grades as a table for spreadsheets, and in a few lines."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from graphengine.grading import ClaimGrade, Grade, Grading, grades_csv

ANNA = Grade(
    "anna",
    1.5,
    3.0,
    (
        ClaimGrade("J/h", "right", 1.0, 1.0),
        ClaimGrade("J/W", "wrong", 0.5, 2.0, "wrong", "sign", "J<-h", certain=True),
        ClaimGrade("h/x", "wrong", 0.0, 0.0, "wrong", "factor", "h", counts=False),
    ),
    seconds=0.25,
    first="J/W",
)
BEN = Grade("=cmd()", 0.0, 3.0, error='ben.py:1:1: expected "x",\ngot\x00 y')
CARA = Grade(
    "cara",
    0.0,
    3.0,
    (ClaimGrade("J/h", "missing", 0.0, 1.0), ClaimGrade("J/b", "wrong", 0, 2, kind="tie")),
)


def test_a_line_for_each() -> None:
    text = grades_csv([ANNA, BEN, CARA])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == "name,score,max,J/h,J/W,J/b,mistake,where,error,seconds"
    assert rows[0] == {
        "name": "anna",
        "score": "1.5",
        "max": "3",
        "J/h": "right",
        "J/W": "wrong",
        "J/b": "",
        "mistake": "sign",
        "where": "J<-h",
        "error": "",
        "seconds": "0.250",
    }
    assert rows[1]["name"] == "'=cmd()"
    assert rows[1]["error"] == 'ben.py:1:1: expected "x", got� y'
    assert (rows[2]["J/h"], rows[2]["mistake"]) == ("missing", "tie?")


def test_a_summary() -> None:
    found = Grading((ANNA, BEN, CARA), Path("out"), kept=2, passed_over=tuple("abcdefg"))
    lines = str(found).splitlines()
    assert lines[0].split() == ["claim", "right", "wrong", "missing"]
    assert lines[2].split() == ["J/h", "1", "0", "1"]
    assert lines[-5:] == [
        "3 submissions, mean score 0.5 of 3",
        "2 of them graded before",
        "1 could not be judged",
        f"see {Path('out/grades.csv')} and {Path('out/gradescope')}",
        "passed over, no submissions: a, b, c, d, e and 2 more",
    ]


def test_of_nothing_that_could_be_judged() -> None:
    assert str(Grading((BEN,), Path("out"))).startswith("1 submission, mean score 0 of 3\n")
