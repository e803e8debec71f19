"""One worker: its answers, what it keeps from one submission to the next, and its start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import graphengine as ge
from graphengine.check import Checker
from graphengine.grading import worker
from graphengine.grading.folder import content_hash
from graphengine.grading.worker import Judge, serve
from tests.grading.test_points_and_rubric import GRADED

RIGHT = "derivation: {claims: {J/h: 2 * h}}\n"
OPTIONS = {"seed": 0, "points": 3, "run_limit": 5.0}


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    spec = tmp_path / "spec.yaml"
    spec.write_text(GRADED + "derivation: {claims: {J/h: 2 * h}}\n", "utf-8")
    return Judge({"spec": str(spec), "folder": str(tmp_path), **OPTIONS})


def requests(judge: Judge, files: Mapping[str, str]) -> Iterator[str]:
    for name, text in files.items():
        path = Path(judge.folder) / name
        path.write_text(text, "utf-8")
        request = {"name": name, "path": str(path), "content": content_hash(path), "token": name}
        yield json.dumps(request)


def answers(judge: Judge, files: Mapping[str, str]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    serve(judge, requests(judge, files), found.append)
    return found


def test_an_answer_for_each_request(judge: Judge) -> None:
    files = {"a.yaml": RIGHT, "b.yaml": RIGHT.replace("2 * h", "h * h * h")}
    found = answers(judge, files)
    assert [one["token"] for one in found] == list(files)
    assert [one["grade"]["score"] for one in found] == [2.0, 0.0]
    assert not any(one["last"] for one in found)
    assert found[1]["grade"]["claims"][0]["place"] == "b.yaml:1:23"


def test_python_submissions_have_the_limit_that_was_asked_for(judge: Judge) -> None:
    path = Path(judge.folder) / "c.py"
    path.write_text("def dJ_dh(h):\n    while True: pass\n", "utf-8")
    judge.run_limit = 0.5
    grade = judge.grade("c", path, content_hash(path))
    assert grade.score == 0
    assert "passed the time limit of 0.5 s" in grade.claims[0].says


def test_a_worker_that_holds_too_much_is_replaced(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MEMORY_KEPT", -1)
    (found,) = answers(judge, {"a.yaml": RIGHT, "b.yaml": RIGHT})
    assert found["last"] is True


def test_a_file_that_has_changed_since_is_refused(judge: Judge) -> None:
    path = Path(judge.folder) / "a.yaml"
    path.write_text(RIGHT, "utf-8")
    grade = judge.grade("a", path, "another hash")
    assert grade.error == "a.yaml: expected the file as it was, got another one"
    assert (grade.score, grade.max_score) == (0.0, 3.5)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep"), KeyError("inside")])
def test_a_failure_inside_is_that_submissions_alone(
    error: Exception, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(judge.checker, "check", fails)
        (found,) = answers(judge, {"a.yaml": RIGHT})
    assert found["grade"]["error"].startswith(f"the check failed: {type(error).__name__}")
    assert answers(judge, {"a.yaml": RIGHT})[0]["grade"]["score"] == 2.0


def test_the_same_grade_in_any_order_and_as_a_check_gives(judge: Judge) -> None:
    files = {f"{k}.yaml": RIGHT.replace("2", str(k)) for k in (-2, 2, 3)}
    files["more.yaml"] = "derivation: {claims: {J/W: 'outer(h, x)', h/x: W, J/h: 2 * h}}\n"

    def grades(names: list[str]) -> dict[str, Any]:
        found = answers(judge, {name: files[name] for name in names})
        return {one["token"]: {**one["grade"], "seconds": 0} for one in found}

    first = grades(list(files))
    judge.checker = Checker(judge.spec, points=3, seed=0)
    assert grades(list(files)[::-1]) == first
    for name, grade in first.items():
        report = ge.check(judge.spec, Path(judge.folder) / name, points=3, seed=0)
        verdicts = {claim.claim: claim.verdict for claim in report.claims}
        for claim in grade["claims"]:
            standing = claim["standing"].replace("carried", "wrong")
            assert standing == verdicts.get(claim["claim"], "missing")


def test_as_a_process(judge: Judge, tmp_path: Path) -> None:
    options = {"spec": str(judge.spec.path), "folder": str(tmp_path), **OPTIONS, "token": "first"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "graphengine.grading.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(options) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"token": "first"}
    for line in requests(judge, {"a.yaml": RIGHT}):
        process.stdin.write(line + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["grade"]["score"] == 2.0
    process.stdin.close()
    assert process.wait(10) == 0
    assert process.stdout.read() == ""
    process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc")
def test_descendants_are_killed() -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "from graphengine.grading.reaper import adopt_orphans, kill_descendants\n"
        "adopt_orphans()\n"
        "sleep = 'import time; print(1, flush=True); time.sleep(60)'\n"
        "inner = f'import subprocess, sys; subprocess.Popen([sys.executable, \"-c\", {sleep!r}])'\n"
        "one = subprocess.Popen([sys.executable, '-c', inner], start_new_session=True)\n"
        "one.wait()\n"
        "kill_descendants()\n"
        "print(open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read() == '')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.endswith("True\n")
