"""Records of measurements, in JSON files: one for each problem, size and number of threads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.problem import BY_HAND, HAND, OURS

Record = dict[str, Any]
Row = dict[str, Any]


def keep(path: Path | None, record: Record) -> None:
    """Write the record to the file, in the place of an older one; those of others stay."""
    if path is None:
        return
    records = read(path) if path.exists() else []
    key = ("name", "size", "threads")
    same = [place for place, old in enumerate(records) if all(old[k] == record[k] for k in key)]
    if same:
        records[same[0]] = record
    else:
        records.append(record)
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> list[Record]:
    """The records of a file."""
    found: list[Record] = json.loads(path.read_text(encoding="utf-8"))
    return found


def timed(row: Row) -> bool:
    """Whether the contender was right, and timed."""
    return bool(row["status"] == "timed")


def seconds_of(rows: Iterable[Row], name: str) -> float | None:
    """The seconds of the contender of that name, if it was timed."""
    return next((row["seconds"] for row in rows if row["name"] == name and timed(row)), None)


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Seconds over those of "hand-written", by name."""
    base = seconds_of(rows, HAND)
    return {row["name"]: row["seconds"] / base for row in rows if timed(row)} if base else {}


def is_peer(name: str) -> bool:
    """Whether another library differentiates."""
    return name not in OURS and not name.startswith(BY_HAND)


def peers(rows: Sequence[Row]) -> list[Row]:
    """The peers that were timed, the fastest first."""
    found = [row for row in rows if timed(row) and is_peer(row["name"])]
    return sorted(found, key=lambda row: float(row["seconds"]))


def memory_text(count: int) -> str:
    """Bytes for people; nothing where they were not measured."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B" if count >= 0 else ""
