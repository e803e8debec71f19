"""``graphengine grade`` on real folders: what it writes, hostile submissions, interruption."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import graphengine as ge
from graphengine.cli import main
from graphengine.errors import CheckError, SpecError
from graphengine.grading import grade
from graphengine.grading import pool as pools
from graphengine.grading.journal import fingerprint
from graphengine.grading.progress import progress_bar
from tests.grading.test_gradescope import valid
from tests.grading.test_points_and_rubric import GRADED

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc")

RIGHT = "derivation: {claims: {J/h: 2 * h, J/W: 'outer(2 * h * (1 - h**2), x)'}}\n"
SIGN = "derivation: {claims: {J/h: -2 * h, J/W: 'outer(2 * h * (1 - h**2), x)'}}\n"
PYTHON = """\
import numpy as np
def dJ_dh(h): return 2 * h
def dJ_dW(dJ_dh, h, x): return np.outer(dJ_dh * (1 - h**2), x)
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(GRADED, "utf-8")
    return path


def fill(spec: Path, files: dict[str, str | bytes]) -> Path:
    folder = spec.with_name("submissions")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return folder


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["grade", *map(str, args)])


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def without_time(out: Path) -> list[dict[str, str]]:
    return [{**row, "seconds": ""} for row in rows(out).values()]


class TestWhatIsWritten:
    def test_tables_and_files(self, spec: Path, tmp_path: Path) -> None:
        files: dict[str, str | bytes] = {
            "anna.yaml": RIGHT,
            "ben.yml": SIGN,
            "cara.py": PYTHON,
            "dora/homework 3.yaml": "derivation: {claims: {J/h: 2 * h, h/x: W}}\n",
            "emil.yaml": "derivation: {claims: {J/q: 2}}\n",
        }
        folder, out = fill(spec, files), tmp_path / "out"
        result = call(spec, folder, "-o", out, "--jobs", "2")
        assert result.exit_code == 0, result.output
        assert "5 submissions, mean score 2.3 of 3.5" in result.output
        found = rows(out)
        scores = {name: (row["score"], row["J/h"], row["J/W"]) for name, row in found.items()}
        assert scores == {
            "anna": ("3.5", "right", "right"),
            "ben": ("2.5", "wrong", "right"),
            "cara": ("3.5", "right", "right"),
            "dora": ("2", "right", "missing"),
            "emil": ("0", "", ""),
        }
        assert (found["ben"]["mistake"], found["anna"]["mistake"]) == ("sign", "")
        assert re.match(
            r"emil\.yaml:1:\d+: expected a claim about two nodes", found["emil"]["error"]
        )
        for name, row in found.items():
            data = valid(json.loads((out / "gradescope" / f"{name}.json").read_text("utf-8")))
            assert data["score"] == float(row["score"])
            assert str(tmp_path) not in json.dumps(data)

        # the same verdicts as a check of each by itself
        for name in ("anna.yaml", "ben.yml", "cara.py"):
            report = ge.check(ge.load(spec), folder / name)
            row = found[name.partition(".")[0]]
            assert [row[claim.claim] for claim in report.claims] == [
                c.verdict for c in report.claims
            ]

        # and the same grades in another order, on one core, with links to the files
        folder.joinpath("aaa.yaml").symlink_to(folder / "ben.yml")
        again = grade(spec, folder, tmp_path / "again", jobs=1)
        assert again.grades[0].score == 2.5
        assert without_time(tmp_path / "again")[1:] == without_time(out)

    def test_only_what_has_changed_is_graded_again(self, spec: Path, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        code = f"open({str(ran)!r}, 'a').write('x')\ndef dJ_dh(h): return 2 * h\n"
        folder, out = fill(spec, {"anna.py": code, "ben.yaml": RIGHT}), tmp_path / "out"
        calls: list[tuple[int, int]] = []
        assert grade(spec, folder, out, progress=lambda *n: calls.append(n)).kept == 0
        assert calls == [(0, 2), (1, 2), (2, 2)]
        count = len(ran.read_text())
        assert count >= 1
        kept = (out / "grades.csv").read_bytes()
        (out / "gradescope" / "anna.json").unlink()
        (out / ".graphengine-0.partial").write_text("half")
        assert grade(spec, folder, out).kept == 2
        assert (out / "grades.csv").read_bytes() == kept
        assert (out / "gradescope" / "anna.json").exists()
        assert not (out / ".graphengine-0.partial").exists()
        fill(spec, {"ben.yaml": SIGN})
        assert grade(spec, folder, out).kept == 1
        assert len(ran.read_text()) == count
        assert rows(out)["ben"]["score"] == "2.5"

    def test_the_data_of_a_spec_counts(self, spec: Path, tmp_path: Path) -> None:
        spec.write_text(GRADED + "values: {x: {file: data.npz}}\n", "utf-8")
        seen = set()
        for values in ([1.0, 2.0], [1.0, 3.0], [1.0, 2.0]):
            np.savez(tmp_path / "data.npz", x=values)
            seen.add(fingerprint(ge.load(spec), {"seed": 0}))
        assert len(seen) == 2
        assert fingerprint(ge.load(spec), {"seed": 1}) not in seen
        spec.write_text(spec.read_text("utf-8").replace("J/h: 2,", "J/h: 3,"), "utf-8")
        assert fingerprint(ge.load(spec), {"seed": 0}) not in seen

    def test_out_may_be_the_folder_itself(self, spec: Path) -> None:
        folder = fill(spec, {"anna.yaml": RIGHT})
        for kept in (0, 1):
            found = grade(spec, folder, folder)
            assert ([one.name for one in found.grades], found.kept) == (["anna"], kept)


class TestRefusals:
    def test_arguments(self, spec: Path, tmp_path: Path) -> None:
        folder = fill(spec, {"anna.yaml": RIGHT})
        for bad in ({"jobs": 0}, {"time_limit": 0}, {"time_limit": float("nan")}, {"points": 0}):
            with pytest.raises(CheckError):
                grade(spec, folder, tmp_path / "out", **bad)  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists()

    def test_files(self, spec: Path, tmp_path: Path) -> None:
        folder = fill(spec, {"anna.yaml": RIGHT})
        assert call(spec, tmp_path / "nowhere").exit_code == 2
        assert call(tmp_path / "nowhere.yaml", folder).exit_code == 2
        result = call(spec, folder, "-o", spec)
        assert (result.exit_code, "Traceback" in result.output) == (2, False)
        spec.write_text("points: 3\n", "utf-8")
        with pytest.raises(SpecError):
            grade(spec, folder, tmp_path / "out")

    def test_workers_that_do_not_start(
        self, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = fill(spec, {"anna.yaml": RIGHT})
        monkeypatch.setattr(pools.sys, "executable", "/bin/false")
        with pytest.raises(CheckError, match="a process that starts, got it ended with status 1"):
            grade(spec, folder, tmp_path / "out")


# --- hostile submissions ------------------------------------------------------------------

HEAD = "import ctypes, os, signal, subprocess, sys, time\n"


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def hostile(marks: Path) -> dict[str, str | bytes]:
    """Submissions that cost themselves, and their errors."""
    sleeper = (
        "import os, time; "
        f"open({str(marks / 'left')!r}, 'w').write(str(os.getpid())); "
        "time.sleep(99)"
    )
    left = f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", {sleeper!r}], {{}})
    os._exit(0)
while not os.path.exists({str(marks / "left")!r}): time.sleep(0.01)
"""
    forge = """
text = '{"token": "x", "grade": {"name": "forge", "score": 99, "max_score": 1, "claims": []}}\\n'
for fd in os.listdir(f"/proc/{os.getppid()}/fd"):
    target = f"/proc/{os.getppid()}/fd/{fd}"
    if os.readlink(target).startswith("pipe:"):
        try:
            with open(os.open(target, os.O_WRONLY | os.O_NONBLOCK), "w") as file: file.write(text)
        except OSError: pass
"""
    forks = """
for _ in range(90):
    if os.fork() == 0: time.sleep(60)
time.sleep(60)
"""
    body = {
        "crash": "os._exit(3)",
        "crash_quietly": "os._exit(0)",
        "exit": "sys.exit(0)",
        "segfault": "ctypes.string_at(0)",
        "loop": "while True: pass",
        "sleep": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)",
        "memory": "x = bytearray(1 << 40)",
        "forks": forks,
        "left": left,
        "kills": "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)",
        "stops": "os.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)",
        "forge": forge,
        "deep_folders": "for _ in range(1200):\n    os.mkdir('d')\n    os.chdir('d')",
        "signal": "os.kill(os.getpid(), 40)",
    }
    claims = "\ndef dJ_dh(h): return 2 * h\n"
    return {
        **{f"x_{name}.py": HEAD + text + claims for name, text in body.items()},
        "y_brackets.yaml": "[" * 100_000,
        "y_tower.yaml": "derivation: {claims: {J/h: 9**9**9**9**9 * h}}\n",
        "y_large.yaml": "derivation: {claims: {J/h: 'ones(99999, 99999) @ ones(99999, 99999)'}}\n",
        "y_number.yaml": f"derivation: {{claims: {{J/h: {'9' * 10_000} * h}}}}\n",
        "y_bytes.yaml": bytes(range(256)) * 100,
        "y_empty.yaml": "",
        "y_deep.yaml": f"derivation: {{claims: {{J/h: {'(' * 5000}h{')' * 5000}}}}}\n",
        "z_right.yaml": RIGHT,
        "z_right_too.py": PYTHON,
    }


@LINUX
def test_hostile_submissions_cost_themselves_alone(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    folder, out = fill(spec, hostile(marks)), tmp_path / "out"
    start = time.monotonic()
    grade(spec, folder, out, jobs=2, time_limit=5.0)
    assert time.monotonic() - start < 90
    found = rows(out)
    for name in ("z_right", "z_right_too"):
        assert (found[name]["score"], found[name]["error"]) == ("3.5", ""), name
    for name, row in found.items():
        if name.startswith("y_"):
            assert (row["score"], bool(row["error"] or row["J/h"] == "error")) == ("0", True), name
    ends = {
        "x_crash": "status 3",
        "x_segfault": "SIGSEGV",
        "x_loop": "time limit of 2.5 s",
        "x_sleep": "time limit of 2.5 s",
        "x_memory": "MemoryError",
        "x_forks": "more than 64 processes",
        "x_signal": "signal 40",
        "x_exit": "SystemExit",
    }
    for name, end in ends.items():
        data = json.loads((out / "gradescope" / f"{name}.json").read_text("utf-8"))
        assert end in data["tests"][0]["output"], name
        assert data["score"] == 0
    assert "was killed by SIGKILL" in found["x_kills"]["error"]
    assert "time limit of 5 s" in found["x_stops"]["error"]
    assert float(found["x_forge"]["score"]) <= 2.0
    assert float(found["x_stops"]["seconds"]) >= 5.0
    assert found["x_crash_quietly"]["score"] == "0"
    assert found["x_deep_folders"]["J/h"] == "right"
    assert not list(temporary.iterdir())
    assert not alive(int((marks / "left").read_text()))
    assert not processes_of(folder)


def processes_of(folder: Path) -> list[str]:
    """Processes that have a mark of their worker's, or whose folder is one of these runs'."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if "graphengine.grading.worker" in command and int(parent) == os.getpid():
            found.append(command)
    return found


# --- interruption -------------------------------------------------------------------------


@pytest.fixture
def slow(spec: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Six submissions, each of which writes down that it has run, and by whom; those after the
    second are slow until ``quick`` is there.
    """
    ran, quick = tmp_path / "ran", tmp_path / "quick"
    files: dict[str, str | bytes] = {
        f"s{k}.py": "import os, time\n"
        f"open({str(ran)!r}, 'a').write(f'{k} {{os.getppid()}}\\n')\n"
        f"time.sleep(0.2 if {k} < 2 or os.path.exists({str(quick)!r}) else 3)\n"
        "def dJ_dh(h): return 2 * h\n"
        for k in range(6)
    }
    folder, out = fill(spec, files), tmp_path / "out"
    command = [sys.executable, "-m", "graphengine", "grade", str(spec), str(folder)]
    command += ["-o", str(out), "--jobs", "1"]
    # what runs in the background of a shell ignores interrupts, and its children do
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    journal = out / "results.jsonl"
    end = time.monotonic() + 30
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    yield {
        "process": process,
        "spec": spec,
        "folder": folder,
        "out": out,
        "ran": ran,
        "quick": quick,
    }
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


@LINUX
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_continues(how: int, slow: dict[str, Any]) -> None:
    process, out, ran = slow["process"], slow["out"], slow["ran"]
    process.send_signal(how)
    _, printed = process.communicate(timeout=20)
    assert not (out / "grades.csv").exists()
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert printed == "interrupted; the same command continues from here\n"
    pids = {int(line.split()[1]) for line in ran.read_text().splitlines()}
    end = time.monotonic() + 10
    while any(map(alive, pids)):
        assert time.monotonic() < end, "a worker outlives the run"
        time.sleep(0.02)
    for path in (out / "gradescope").iterdir():
        valid(json.loads(path.read_text("utf-8")))
    journal = out / "results.jsonl"
    done = journal.read_bytes().count(b"\n")
    assert 2 <= done < 6
    with journal.open("ab") as file:
        file.write(b'{"key": "half a li')
    before = ran.read_text().splitlines()
    slow["quick"].touch()
    found = grade(slow["spec"], slow["folder"], out, jobs=1)
    assert found.kept == done
    assert [one.score for one in found.grades] == [2.0] * 6
    after = [line.split()[0] for line in ran.read_text().splitlines()[len(before) :]]
    assert len(set(after)) == 6 - done
    assert grade(slow["spec"], slow["folder"], out).kept == 6


# --- on a terminal ------------------------------------------------------------------------


def test_a_progress_bar_on_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for terminal in (False, True):
        console = Console(force_terminal=terminal, force_interactive=terminal, width=80)
        with progress_bar(console) as progress:
            progress(1, 3)
            progress(3, 3)
        assert ("3/3" in capsys.readouterr().out) is terminal
    with progress_bar() as progress:
        progress(1, 1)
    assert capsys.readouterr().err == ""
