"""Time and memory at sizes over some decades: ``python -m benchmarks.growth P6 --json FILE``.

Without names, all problems that say how they grow.  The pictures are drawn by
``python -m benchmarks.report``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import growths
from benchmarks.problem import HAND, REUSE
from benchmarks.records import keep, memory_text, timed
from benchmarks.running import Way, rows_of
from benchmarks.timing import machine, shown, today

CONTENDERS = ("run", "compiled", REUSE, "compiled, fused", HAND)


def table(records: Sequence[dict[str, Any]]) -> Table:
    """One problem at its sizes, for the terminal."""
    found = Table(
        title=f"{records[0]['name']}, {records[0]['unit']}", title_justify="left", box=None
    )
    for column in (
        "amount",
        "contender",
        "one call",
        "made",
        "kept",
        "peak of a call",
        "of making",
    ):
        found.add_column(column, justify="left" if column == "contender" else "right")
    found.add_column("")
    for record in records:
        for row in record["contenders"]:
            if timed(row):
                found.add_row(
                    f"{record['amount']:,}",
                    row["name"],
                    shown(row["seconds"]),
                    shown(row["made"] + row["first"]),
                    *(memory_text(row[key]) for key in ("kept", "peak", "built")),
                )
            else:
                note = f"{row['status']}: {row['why']}"
                found.add_row(f"{record['amount']:,}", row["name"], *[""] * 5, note)
    return found


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--most", default=10**9, help="Leave sizes out that amount to more.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Keep the record here.")
def main(names: Sequence[str], threads: int, rounds: int, most: int, path: Path | None) -> None:
    known = growths()
    if missing := set(names) - set(known):
        raise click.UsageError(f"no growth of {', '.join(sorted(missing))}; of {', '.join(known)}")
    console = Console(width=150)
    for name in names or known:
        growth, records = known[name], []
        for size in growth.sizes:
            if (amount := growth.amount(size)) > most:
                continue
            rows = rows_of(name, "", Way(threads, rounds, CONTENDERS), grown=size)
            record = {
                "name": name,
                "size": f"{amount:,} {growth.unit}",
                "unit": growth.unit,
                "amount": amount,
                "threads": threads,
                "machine": machine(),
                "date": today(),
                "contenders": rows,
            }
            records.append(record)
            keep(path, record)
        if records:
            console.print(table(records), "")


if __name__ == "__main__":
    main()
