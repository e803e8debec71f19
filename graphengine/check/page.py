"""A report as it shows itself in a notebook: a table, and the graph with the mistakes marked."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphengine.check.report import ClaimResult, Report

__all__ = ["page", "short"]

_COLOURS: Mapping[str, str] = {
    "right": "#1a7f37",
    "undecided": "#9a6700",
    "error": "#8250df",
    "wrong": "#cf222e",
}


def page(report: Report) -> str:
    """The report as HTML."""
    rows = "".join(map(_row, report.claims))
    head = "".join(
        f'<th style="text-align:left">{name}</th>' for name in ("claim", "verdict", "error", "what")
    )
    below = "<br>".join(map(html.escape, (report.made_with, *report.notes)))
    return (
        f"<div><p>{html.escape(report.summary)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"{_picture(report)}<p><small>{below}</small></p></div>"
    )


def _row(claim: ClaimResult) -> str:
    colour = _COLOURS["undecided" if claim.carried else claim.verdict]
    return (
        "<tr>"
        f'<td style="text-align:left"><code>{html.escape(claim.claim)}</code></td>'
        f'<td style="color:{colour};text-align:left"><b>{html.escape(claim.standing)}</b></td>'
        f"<td>{short(claim.relative_error)}</td>"
        f'<td style="text-align:left">{html.escape(claim.told)}</td>'
        "</tr>"
    )


def _picture(report: Report) -> str:
    """The graph with the node or edge of each mistake marked; nothing where there is none."""
    from graphengine.picture import svg  # noqa: PLC0415 (for notebooks alone)

    graph = report.graph
    if graph is None:
        return ""
    marks: dict[str, str] = {}
    for claim in report.claims:
        for mistake in () if claim.carried else claim.mistakes:
            names = mistake.where.split("<-")
            if all(name in graph and graph[name].named for name in names):
                told = f"{claim.claim}: {mistake.says}"
                before = marks.get(mistake.where)
                marks[mistake.where] = f"{before}; {told}" if before else told
    return f"<p>{svg(graph, marks)}</p>" if marks else ""


def short(error: float | None) -> str:
    """An error in a column: two digits, as a decimal number where that reads well.

    >>> short(0.4312), short(2e-12), short(None)
    ('0.43', '2.0e-12', '–')
    """
    if error is None:
        return "–"
    if error == 0 or not math.isfinite(error):
        return f"{error:g}"
    return f"{error:.2f}" if 0.01 <= error < 1000 else f"{error:.1e}"
