"""The speed bench: records, tables, pictures, and the commands."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import growth, measuring, records, report, timing
from benchmarks.problem import HAND, REUSE
from benchmarks.running import Way


def row(name: str, seconds: float, **more: Any) -> dict[str, Any]:
    found = measuring.Row(name, seconds=seconds, fastest=seconds, slowest=2 * seconds, rounds=9)
    return measuring.as_json(found) | {"made": 0.5, "first": 0.5} | more


def record(name: str = "P1", size: str = "N = 1", **more: Any) -> dict[str, Any]:
    failed = asdict(measuring.Row("asdex", "failed", "ValueError: no"))
    facts = {"nodes": 10, "build": 0.001, "compile": 0.02}
    return {
        "name": name,
        "size": size,
        "target": 1.1,
        "threads": 1,
        "machine": "a machine",
        "date": "2026-11-21",
        "contenders": [
            row(HAND, 0.002, peak=2048),
            row(REUSE, 0.0021, peak=4096, facts=facts),
            row("run", 0.25),
            row("torch", 0.008),
            row("JAX", 0.003),
            failed,
        ],
        **more,
    }


def test_json_holds_no_nan() -> None:
    text = json.dumps(measuring.as_json(measuring.Row("run")), allow_nan=False)
    assert json.loads(text)["seconds"] is None


def test_records_replace_their_like(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    for one in (record(), record("P2"), record(date="2027-01-01"), record(threads=2)):
        records.keep(path, one)
    found = [(one["name"], one["threads"], one["date"]) for one in records.read(path)]
    assert found == [("P1", 1, "2027-01-01"), ("P2", 1, "2026-11-21"), ("P1", 2, "2026-11-21")]
    records.keep(None, record())


def test_peers_are_those_of_other_libraries() -> None:
    assert [one["name"] for one in records.peers(record()["contenders"])] == ["JAX", "torch"]
    assert not records.is_peer(f"{HAND}, Woodbury")
    assert records.ratios(record()["contenders"])["JAX"] == 1.5
    assert records.ratios([row("JAX", 1.0)]) == {}


def test_memory_for_people() -> None:
    sizes = [records.memory_text(size) for size in (-1, 5, 2048, 3 * 2**20, 2**31)]
    assert sizes == ["", "5 B", "2 KiB", "3 MiB", "2 GiB"]


def test_the_table_has_ratios_and_the_best_peers() -> None:
    lines = report.markdown([record(), record("P2", target=1.01), record("P3", target=None)])
    _, _, first, second, third = lines.splitlines()
    assert first == (
        "| P1, N = 1 | 2 ms | **1.05** | 1.1 ✓ |  |  |  | 125 |  | JAX 1.5 | torch 4 |"
    )
    assert "| 1.01 – |" in second
    assert "| **1.05** |  |" in third


def test_the_table_without_ours_and_peers() -> None:
    lines = report.markdown([record(contenders=[row(HAND, 0.002)])])
    assert lines.splitlines()[-1] == "| P1, N = 1 | 2 ms |  | 1.1 |  |  |  |  |  |  |  |"


def test_those_left_out_are_told() -> None:
    assert report.left_out([record()]) == "- P1, N = 1: asdex, failed: ValueError: no\n"
    assert report.left_out([record(contenders=[])]) == ""


def test_costs_are_told_for_each_node() -> None:
    line = report.costs([record()]).splitlines()[-1]
    assert line == "| P1, N = 1 | 10 | 100 µs | 2 ms | 4 KiB | 2 KiB |"
    assert len(report.costs([record(contenders=[row(HAND, 0.002)])]).splitlines()) == 2


def test_the_slope_is_the_power_of_the_last_three_decades() -> None:
    amounts = [1, 10, 100, 1_000, 10_000]
    assert timing.slope(amounts, [5 * amount**2 for amount in amounts]) == pytest.approx(2)
    linear = [1e9, *(3 * amount for amount in amounts[1:])]  # what is smaller does not count
    assert timing.slope(amounts, linear) == pytest.approx(1)


def grown() -> list[dict[str, Any]]:
    return [
        record(
            "P6",
            f"{amount:,} nodes",
            unit="nodes",
            amount=amount,
            contenders=[
                row(HAND, 1e-6 * amount, peak=amount),
                row(REUSE, 2e-6 * amount, peak=9 * amount, built=10 * amount),
            ],
        )
        for amount in (10, 100, 1_000, 10_000)
    ]


def test_a_report_of_files_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(report, "PICTURES", tmp_path / "pictures")
    path = tmp_path / "records.json"
    for one in (record(), record(threads=2), *grown()):
        records.keep(path, one)
    done = CliRunner().invoke(report.main, [str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.count("**1.05**") == 2
    assert "2 threads, a machine" in done.output
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["growth_p6.png", "ratios_1.png", "ratios_2.png"]


def test_a_growth_for_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows_of(name: str, size: str, way: Way, *, grown: int | None = None) -> Any:
        return [row(HAND, 1.0), asdict(measuring.Row(REUSE, "failed", "too long"))]

    monkeypatch.setattr(growth, "rows_of", rows_of)
    path = tmp_path / "growth.json"
    args = ["P6", "--most", "100", "--json", str(path)]
    done = CliRunner().invoke(growth.main, args, catch_exceptions=False)
    assert "failed: too long" in done.output
    amounts = [one["amount"] for one in records.read(path)]
    assert len(amounts) > 1
    assert all(low < high <= 100 for low, high in pairwise(amounts))
    assert CliRunner().invoke(growth.main, ["P99"]).exit_code == 2


def test_the_command_measures_and_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rows_of(name: str, size: str, way: Way) -> Any:
        asked.append((name, size, way))
        return record()["contenders"]

    monkeypatch.setattr(command, "rows_of", rows_of)
    path = tmp_path / "records.json"
    args = ["P1", "--only", "ours;JAX", "--threads", "2", "--rounds", "7", "--json", str(path)]
    done = CliRunner().invoke(command.main, args, catch_exceptions=False)
    way = Way(2, 7, ("ours", "JAX"))
    assert asked == [("P1", "N = 1", way), ("P1", "N = 256", way)]
    assert "failed: ValueError: no" in done.output
    assert [one["size"] for one in records.read(path)] == ["N = 1", "N = 256"]
    assert CliRunner().invoke(command.main, ["P99"]).exit_code == 2
