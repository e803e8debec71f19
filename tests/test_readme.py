"""The README runs: its Python, its spec, its tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import graphengine as ge
from graphengine import catalogue
from graphengine.spec import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_blocks_run_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "(1, 12)" in printed
    assert "(3, 12)" in printed
    (report,) = blocks("text")
    assert printed.startswith(report), "the README shows what the check prints"


def test_flat_code_and_plan_are_those_of_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    (code,), (plan,) = blocks("py"), blocks("txt")
    names: dict[str, object] = {"np": np}
    for block in blocks("python"):
        if "g = ge.Graph" in block or "g.compile" in block:
            exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert code in printed
    assert plan in printed


def test_the_rubric_loads_with_the_spec(tmp_path: Path) -> None:
    spec, rubric = blocks("yaml")
    path = tmp_path / "spec.yaml"
    path.write_text(spec + rubric, "utf-8")
    assert load(path).points == {"J/b": 2, "J/W": 3}


def test_the_spec_loads_and_its_claims_are_right(tmp_path: Path) -> None:
    block, _ = blocks("yaml")
    path = tmp_path / "spec.yaml"
    path.write_text(block, "utf-8")
    report = ge.check(load(path))
    assert report.exit_status == 0, str(report)
    assert len(report.claims) == 4


def test_tables_are_those_of_the_code() -> None:
    assert catalogue.filled(README) == README, "run: python -m graphengine.catalogue README.md"


def test_every_table_has_its_block() -> None:
    for name, made in catalogue.markdown().items():
        assert f"<!-- {name} -->" in README
        assert made.count("\n") > 5


def test_every_local_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_first_lines_say_what_it_is_for() -> None:
    assert "derived by" in README[:400]
    assert "Jacobian" in README[:400]
