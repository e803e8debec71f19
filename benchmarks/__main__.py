"""The speed bench: gradients and Jacobians beside hand-written NumPy and other libraries.

``python -m benchmarks P1 P6`` measures these problems, without names all.  Each problem has a
process of its own; each contender's answer is checked before it is timed.  Needs the ``bench``
extra for the peers; one that is not installed is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.problem import problems
from benchmarks.records import keep, memory_text, ratios, timed
from benchmarks.running import Way, rows_of
from benchmarks.timing import machine, shown, today


def table(name: str, size: str, target: float, rows: Sequence[dict[str, Any]]) -> Table:
    """One problem, for the terminal."""
    goal = f", target {target:g}" if target < float("inf") else ""
    found = Table(title=f"{name}, {size}{goal}", title_justify="left", box=None)
    for column in (
        "contender",
        "time",
        "ratio",
        "fastest to slowest",
        "first call",
        "kept",
        "peak",
    ):
        found.add_column(column, justify="left" if column == "contender" else "right")
    found.add_column("")
    against = ratios(rows)
    for row in sorted(rows, key=lambda row: row["seconds"] if timed(row) else float("inf")):
        if not timed(row):
            found.add_row(row["name"], *[""] * 6, f"{row['status']}: {row['why']}")
            continue
        found.add_row(
            row["name"],
            shown(row["seconds"]),
            f"{against[row['name']]:.3g}" if against else "",
            f"{shown(row['fastest'])} … {shown(row['slowest'])}",
            shown(row["made"] + row["first"]),
            *(memory_text(row[key]) for key in ("kept", "peak")),
            "measured twice" if row["rounds"] == 2 else "",
        )
    return found


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--only", default="", help='Names of contenders, by ";" apart; "ours" for our own.')
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--limit", default=300.0, show_default=True, help="Seconds to get ready.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Keep the record here.")
def main(
    names: Sequence[str], only: str, threads: int, rounds: int, limit: float, path: Path | None
) -> None:
    chosen = [one for one in problems() if not names or one.name in names]
    if missing := set(names) - {one.name for one in chosen}:
        raise click.UsageError(f"no problem {', '.join(sorted(missing))}")
    way = Way(threads, rounds, tuple(filter(None, only.split(";"))), limit)
    console = Console(width=150)
    console.print(f"{machine()}; {threads} thread{'s' * (threads > 1)}")
    for problem in chosen:
        rows = rows_of(problem.name, problem.size, way)
        console.print(table(problem.name, problem.size, problem.target, rows), "")
        record = {
            "name": problem.name,
            "size": problem.size,
            "target": problem.target if problem.target < float("inf") else None,
            "threads": threads,
            "machine": machine(),
            "date": today(),
            "contenders": rows,
        }
        keep(path, record)


if __name__ == "__main__":
    main()
