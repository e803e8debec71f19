"""The table for RESULTS.md and the pictures: ``python -m benchmarks.report ONE.json [TWO.json …]``.

The files are those that ``python -m benchmarks --json`` and ``python -m benchmarks.growth --json``
wrote; records of growth are known by their ``amount``.  The pictures go to ``benchmarks/pictures``;
they need matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.problem import FUSED_BY_HAND, HAND, REUSE
from benchmarks.records import Record, Row, memory_text, peers, ratios, read, seconds_of
from benchmarks.timing import digits, shown

PICTURES = Path(__file__).parent / "pictures"

COLUMNS = (
    "problem",
    "hand-written",
    "compiled, reuse",
    "target",
    "compiled",
    "compiled, fused",
    "fused loop by hand",
    "run",
    "lecture",
    "best peer",
    "next peers",
)


def markdown(records: Sequence[Record]) -> str:
    """All problems with ratios to "hand-written"; a row each."""
    lines = [_line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line(_cells(record)) for record in records]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(record: Record) -> list[str]:
    rows, found = record["contenders"], ratios(record["contenders"])
    base = seconds_of(rows, HAND)
    best, *others = [_named(row, found) for row in peers(rows)] or [""]
    return [
        f"{record['name']}, {record['size']}",
        shown(base) if base else "",
        _bold(_ratio(found, REUSE)),
        _met(record, found),
        *(_ratio(found, name) for name in ("compiled", "compiled, fused", FUSED_BY_HAND)),
        *(_ratio(found, name) for name in ("run", "lecture")),
        best,
        "; ".join(others[:3]),
    ]


def _ratio(found: dict[str, float], name: str) -> str:
    return digits(found[name]) if name in found else ""


def _bold(text: str) -> str:
    return f"**{text}**" if text else ""


def _named(row: Row, found: dict[str, float]) -> str:
    return f"{row['name']} {_ratio(found, row['name'])}".strip()


def _met(record: Record, found: dict[str, float]) -> str:
    target = record["target"]
    if target is None:
        return ""
    if REUSE not in found:
        return f"{target:g}"
    return f"{target:g}{' ✓' if found[REUSE] <= target else ' –'}"


def left_out(records: Sequence[Record]) -> str:
    """Who was not timed, and why; a line each."""
    lines = [
        f"- {record['name']}, {record['size']}: {row['name']}, {row['status']}: {row['why']}"
        for record in records
        for row in record["contenders"]
        if row["status"] != "timed"
    ]
    return "\n".join(lines) + "\n" if lines else ""


def costs(records: Sequence[Record]) -> str:
    """What it costs to compile, and the memory, beside that of code by hand; a row each."""
    head = ("problem", "nodes", "build a node", "compile a node", "memory", "the same by hand")
    lines = [_line(head), _line(["---"] * len(head))]
    for record in records:
        rows = {row["name"]: row for row in record["contenders"] if row["status"] == "timed"}
        ours, hand = rows.get(REUSE), rows.get(HAND)
        if ours is None or not ours["facts"].get("nodes"):
            continue
        facts = ours["facts"]
        each = [shown(facts[part] / facts["nodes"]) for part in ("build", "compile")]
        sizes = [memory_text(row["peak"]) if row else "" for row in (ours, hand)]
        place = f"{record['name']}, {record['size']}"
        lines.append(_line([place, f"{facts['nodes']:,}", *each, *sizes]))
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pictures/--no-pictures", default=True, show_default=True)
def main(files: Sequence[Path], *, pictures: bool) -> None:
    records = [record for file in files for record in read(file)]
    table = [record for record in records if "amount" not in record]
    growing = [record for record in records if "amount" in record]
    for threads in sorted({record["threads"] for record in table}):
        chosen = [record for record in table if record["threads"] == threads]
        print(f"{threads} thread{'s' * (threads > 1)}, {chosen[0]['machine']}\n")
        print(markdown(chosen))
        print(costs(chosen))
        print(left_out(chosen))
    if pictures:
        from benchmarks import drawing  # needs matplotlib

        PICTURES.mkdir(exist_ok=True)
        for path in [*drawing.bars(table, PICTURES), *drawing.growth(growing, PICTURES)]:
            print(path)


if __name__ == "__main__":
    main()
