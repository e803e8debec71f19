from __future__ import annotations

import pytest

from graphengine import catalogue
from graphengine.check.mistakes import kinds as mistakes
from graphengine.graph import KINDS
from graphengine.ops import OPS


def test_each_op_has_one_row_with_its_parameters() -> None:
    rows = {row.call.partition("(")[0]: row for row in catalogue.functions()}
    assert set(OPS) <= set(rows)
    assert rows["sum"].call == "sum(x, axis=None, keepdims=False)"
    assert rows["concatenate"].call.startswith("concatenate([")
    assert all(row.about for row in rows.values())


def test_kinds_are_all_there() -> None:
    table = catalogue.markdown()["kinds"]
    assert all(f"`{kind}`" in table for kind in KINDS)


def test_filled_replaces_what_stands_in_a_block_and_nothing_else() -> None:
    text = "before\n<!-- kinds -->\nold\n<!-- end kinds -->\nafter\n"
    made = catalogue.filled(text)
    assert made.startswith("before\n<!-- kinds -->\n| kind |")
    assert made.endswith("<!-- end kinds -->\nafter\n")
    assert "old" not in made
    assert catalogue.filled(made) == made


def test_blocks_that_run_checks_are_made_only_where_a_text_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "PAGE", {"mistakes": lambda: "made", "rows": pytest.fail})
    text = "<!-- mistakes -->\nold\n<!-- end mistakes -->\n"
    assert catalogue.filled(text) == "<!-- mistakes -->\nmade\n<!-- end mistakes -->\n"


def test_an_example_is_told_by_running_it() -> None:
    found = catalogue.examined(mistakes.KINDS["shifted"].example)
    assert found.verdict == "wrong"
    again = catalogue.examined(mistakes.KINDS["diagonal_only"].example)
    assert again.mistakes[0].where == "p<-s"
