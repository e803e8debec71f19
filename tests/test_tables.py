"""Tables: aligned, plain where they are not on a terminal, cells taken literally."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.text import Text

from graphengine.tables import WIDTH, as_text, console, table


def test_columns_are_aligned_and_square_brackets_mean_themselves() -> None:
    made = table(
        ("claim", "error"), [("J/W[1]", "0.5"), ("p/s", "12.25")], title="a [b]", right=("error",)
    )
    assert as_text(made).splitlines() == [
        "a [b]",
        " claim   error",
        "───────────────",
        " J/W[1]    0.5",
        " p/s     12.25",
    ]


def test_verdicts_have_colour_where_colour_is_asked_for_and_nowhere_else() -> None:
    made = table(("verdict",), [("wrong",), ("right",), ("rightly so",), (Text("wrong"),)])
    plain, coloured = as_text(made), as_text(made, color=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31mwrong" in coloured
    assert "\x1b[32mright" in coloured
    assert "\x1b[32mrightly" not in coloured
    assert coloured.count("\x1b[1;31m") == 1  # a ready Text keeps its own style


def test_long_cells_are_folded_into_the_width() -> None:
    made = table(("a", "b"), [("x" * 70, "y" * 70), ("no spaces to break at", "z")])
    lines = as_text(made).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "".join(lines).count("x") == 70
    assert max(map(len, as_text(made, width=40).splitlines())) <= 40


def test_console_is_plain_and_wide_off_a_terminal() -> None:
    out = console()
    assert isinstance(out, Console)
    assert not out.is_terminal
    assert out.width == WIDTH


def test_console_is_the_terminals_own_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "57")
    monkeypatch.setenv("TERM", "xterm")
    out = console()
    assert out.is_terminal
    assert out.width == 57
