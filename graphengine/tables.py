"""Plain aligned tables, in colour only on a terminal."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["WIDTH", "as_text", "console", "table"]

WIDTH = 100
"""Columns of text where there is no terminal that says how many it has."""

_STYLES = {
    "right": "green",
    "wrong": "bold red",
    "undecided": "yellow",
    "error": "bold magenta",
}


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    title: str | None = None,
    right: Collection[str] = (),
) -> Table:
    """A table of text cells; the columns named in ``right`` are set flush right.

    Cells that are a verdict and nothing else have its colour.  Square brackets in cells mean
    themselves.

    >>> print(as_text(table(("node", "entries"), [("W", "12"), ("b", "3")], right=("entries",))))
     node  entries
    ───────────────
     W          12
     b           3
    """
    made = Table(
        title=None if title is None else Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        header_style="bold",
    )
    for column in columns:
        made.add_column(
            Text(column), justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(_cell(cell) for cell in row))
    return made


def _cell(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell, style=_STYLES.get(cell, ""))


def as_text(renderable: RenderableType, width: int = WIDTH, *, color: bool = False) -> str:
    """What is printed for ``renderable``, without spaces at the ends of lines."""
    out = io.StringIO()
    Console(
        file=out,
        width=width,
        force_terminal=color,
        force_jupyter=False,  # in a notebook too the text is returned, not shown
        color_system="standard" if color else None,
        legacy_windows=False,
        highlight=False,
        _environ={},
    ).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def console() -> Console:
    """The console on standard output: colour on a terminal alone, :data:`WIDTH` elsewhere."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=WIDTH)
