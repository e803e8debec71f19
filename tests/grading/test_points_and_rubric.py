"""``points:`` and ``rubric:`` of a spec: read, written, refused (see also tests/bad)."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

import graphengine as ge
from graphengine.errors import SpecError
from graphengine.spec import Rubric, Spec, json_schema, load

SPEC = """\
graphengine: 1
name: net
sizes: {C: 3, d: 2}
inputs: {x: {shape: [d]}}
parameters: {W: {shape: [C, d]}}
nodes:
  h: tanh(W @ x)
  J: sum(h**2)
result: J
"""
GRADED = (
    SPEC
    + """\
points: {J/h: 2, J / W: 1.5}
rubric: {carried: 0.5, mistakes: {sign: 0.5, factor: 1}}
"""
)


@pytest.fixture
def graded(tmp_path: Path) -> Path:
    path = tmp_path / "graded.yaml"
    path.write_text(GRADED, "utf-8")
    return path


def test_they_are_read(graded: Path) -> None:
    spec = load(graded)
    assert spec.points == {"J/h": 2.0, "J/W": 1.5}
    assert spec.rubric == Rubric(carried=0.5, mistakes={"sign": 0.5, "factor": 1.0})
    assert (spec.rubric.undecided, spec.rubric.missing) == (0.0, 0.0)


def test_without_them_carried_steps_count_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text(SPEC, "utf-8")
    spec = load(path)
    assert spec.points == {}
    assert spec.rubric == Rubric(carried=1, undecided=0, missing=0, mistakes={})


def test_they_are_written_back(graded: Path) -> None:
    spec = load(graded)
    again = graded.with_name("again.yaml")
    spec.save(again)
    assert (load(again).points, load(again).rubric) == (spec.points, spec.rubric)
    load(again).save(graded)
    assert graded.read_text("utf-8") == again.read_text("utf-8")


def test_nothing_is_written_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text(SPEC, "utf-8")
    load(path).save(path)
    text = path.read_text("utf-8")
    assert "points" not in text
    assert "rubric" not in text


def test_of_a_graph_made_in_python(tmp_path: Path) -> None:
    g = ge.Graph("square")
    x = g.input("x", (2,))
    g.result("J", ge.sum(x**2))
    spec = Spec.of(g, points={"J/x": 4}, rubric=Rubric(missing=0.25))
    spec.save(tmp_path / "s.yaml")
    again = load(tmp_path / "s.yaml")
    assert again.points == {"J/x": 4.0}
    assert again.rubric.missing == 0.25
    with pytest.raises(SpecError, match="points of 'J/q': expected a claim about two nodes"):
        Spec.of(g, points={"J/q": 4})


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ({"points": {"J/W": 2}, "rubric": {"carried": 0.5, "mistakes": {"sign": 1}}}, True),
        ({"points": {"J/W": -2}}, False),
        ({"rubric": {"mistakes": {"sing": 1}}}, False),
        ({"rubric": {"undecided": 2}}, False),
    ],
)
def test_the_schema_for_editors_knows_them(text: dict[str, object], right: bool) -> None:
    checker = jsonschema.Draft202012Validator(json_schema())
    whole = {"graphengine": 1, "nodes": {"z": "x + 1"}, **text}
    assert checker.is_valid(whole) is right
