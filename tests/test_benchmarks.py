"""The speed bench: answers are right at small sizes, and the frame keeps its word."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks import measuring, running, timing
from benchmarks.problem import HAND, REUSE, Contender, LeftOut, Problem, modules, problems
from benchmarks.running import Way

MODULES = list(modules())
SMALL = [problem for module in MODULES for problem in module.small()]
NUMBERED = [(number, problem) for number, problem in enumerate(SMALL)]

SAME_FORMULA = {"torch.compile", "pytensor, numba", "CasADi, gcc"}
"""Compilers of what a contender of another name gives, too; they take seconds for each problem."""


def cases(*, ours: bool) -> list[Any]:
    return list(_cases(ours=ours))


def _cases(*, ours: bool) -> Iterator[Any]:
    for number, problem in NUMBERED:
        for contender in problem.contenders:
            if contender.is_ours is ours and contender.name not in SAME_FORMULA:
                name = f"{problem.name}-{number}-{contender.name}"
                yield pytest.param(problem, contender, id=name)


def right(problem: Problem, contender: Contender) -> None:
    row = measuring.Row(contender.name)
    call = measuring.prepared(contender, list(problem.reference()), row)
    assert (row.status, row.why) in {("timed", ""), *excused(row)}
    if call is not None:  # buffers that are filled again give the same again
        assert measuring.worst(contender.read(call()), problem.reference()) <= measuring.TOLERANCE


def excused(row: measuring.Row) -> set[tuple[str, str]]:
    return {(row.status, row.why)} if row.status in {"absent", "left out"} else set()


# --- the problems -------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "contender"), cases(ours=True))
def test_ours_and_code_by_hand_are_right(problem: Problem, contender: Contender) -> None:
    right(problem, contender)


@pytest.mark.filterwarnings("ignore")  # peers warn about what they will remove some day
@pytest.mark.parametrize(("problem", "contender"), cases(ours=False))
def test_peers_are_right_where_they_are_installed(problem: Problem, contender: Contender) -> None:
    if missing := [name for name in contender.needs if find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    limit = sys.getrecursionlimit()
    try:
        right(problem, contender)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_code_by_hand_for_several_threads_is_right(
    threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)  # read when it is made; no library reads it now
    for problem in SMALL:
        right(problem, problem.contenders[0])


def test_each_problem_is_found_by_its_name_and_size() -> None:
    names = Counter((problem.name, problem.size) for problem in problems())
    assert set(names.values()) == {1}
    assert measuring.find("P6", "1,000 nodes").size == "1,000 nodes"


def test_each_problem_has_the_contenders_that_the_table_is_about() -> None:
    for problem in [*SMALL, *problems()]:
        names = [contender.name for contender in problem.contenders]
        assert names[0] == HAND
        assert {REUSE, "compiled", "run"} <= set(names)
        assert len(names) == len(set(names))
        assert problem.target > 1


def test_growths_cover_three_decades() -> None:
    found = measuring.growths()
    assert {"P6", "P7"} <= set(found)
    for one in found.values():
        amounts = [one.amount(size) for size in one.sizes]
        assert amounts == sorted(amounts)
        assert amounts[-1] >= 1_000 * amounts[0] * 0.9


# --- comparing ----------------------------------------------------------------------------


def test_difference_is_relative_to_the_largest_entry() -> None:
    assert measuring.difference([1.0, 200.0], [1.0, 100.0]) == 1.0
    assert measuring.difference([0.0, 0.5], [0.0, 0.0]) == 0.5
    assert measuring.difference(3.0, np.array(3.0)) == 0.0
    assert measuring.difference(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0


def test_difference_of_sparse_and_dense() -> None:
    dense = np.array([[0.0, 2.0], [4.0, 0.0]])
    assert measuring.difference(sp.csr_array(dense), dense) == 0.0
    assert measuring.difference(sp.csr_array(dense), 2 * dense) == 0.5


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([1.0, 2.0], [[1.0, 2.0]]),
        ([math.nan], [1.0]),
        (sp.csr_array(np.eye(2)), sp.csr_array(np.eye(3))),
    ],
)
def test_other_shapes_and_nan_are_never_right(found: Any, expected: Any) -> None:
    assert measuring.difference(found, expected) == math.inf


def test_worst_wants_as_many_arrays() -> None:
    assert measuring.worst([1.0], [1.0, 2.0]) == math.inf
    assert measuring.worst([1.0, 3.0], [1.0, 2.0]) == 0.5
    assert measuring.worst([], []) == 0.0


# --- measuring ----------------------------------------------------------------------------


def contender(name: str, result: Any, **more: Any) -> Contender:
    return Contender(name, lambda: lambda: result, **more)


def raising(error: Exception) -> Any:
    def make() -> Any:
        raise error

    return make


BY_HAND = contender(HAND, [2.0, np.ones(3)])
SAMPLE = Problem(
    "P0",
    "small",
    lambda: [2.0, np.ones(3)],
    [
        BY_HAND,
        contender("right", [2.0, np.ones(3) + 1e-12]),
        contender("wrong", [2.0, np.ones(3) + 1e-6]),
        contender("short", [2.0]),
        contender("absent", [2.0, np.ones(3)], needs=("no_such_module",)),
        Contender("failing", raising(ZeroDivisionError("of no\nuse"))),
        Contender("too slow", raising(LeftOut("it takes minutes"))),
    ],
    target=1.1,
)


def test_only_right_answers_are_timed() -> None:
    rows = {row.name: row for row in measuring.measure(SAMPLE, rounds=2)}
    assert {name for name, row in rows.items() if row.status == "timed"} == {HAND, "right"}
    assert rows["wrong"].status == "wrong"
    assert rows["wrong"].why == "relative difference 1.0e-06"
    assert rows["short"].status == "wrong"
    assert (rows["absent"].status, rows["absent"].why) == ("absent", "no_such_module")
    assert (rows["failing"].status, rows["failing"].why) == ("failed", "ZeroDivisionError: of no")
    assert (rows["too slow"].status, rows["too slow"].why) == ("left out", "it takes minutes")
    assert rows[HAND].seconds > 0
    assert rows[HAND].rounds == 2
    assert math.isnan(rows["wrong"].seconds)


def test_memory_is_of_ours_and_code_by_hand() -> None:
    def make() -> Any:
        held = np.ones(100_000)
        return lambda: [float((held + 1.0)[0])]

    problem = Problem("P0", "big", lambda: [2.0], [Contender(HAND, make)], target=1.1)
    (row,) = measuring.measure(problem, rounds=1)
    assert 800_000 <= row.kept < 900_000
    assert 1_600_000 <= row.peak < 1_700_000
    rows = {one.name: one for one in measuring.measure(SAMPLE, rounds=1)}
    assert rows["right"].kept == -1


def test_a_choice_of_contenders() -> None:
    fused = contender("fused loop by hand", [])
    jax = contender("JAX", [])
    assert measuring.wanted(jax, ())
    assert not measuring.wanted(jax, ["ours"])
    assert measuring.wanted(jax, ["ours", "JAX"])
    assert measuring.wanted(fused, ["ours"])
    assert measuring.wanted(contender(f"{HAND}, backwards", []), ["ours"])
    assert measuring.wanted(contender("lecture", []), ["ours"])


def test_those_named_as_failed_are_not_made() -> None:
    problem = Problem(
        "P0", "", SAMPLE.reference, [BY_HAND, Contender("JAX", raising(AssertionError()))], 1.1
    )
    rows = measuring.measure(problem, rounds=1, without={"JAX": "not ready after 3 s"})
    assert (rows[1].status, rows[1].why) == ("failed", "not ready after 3 s")


def test_facts_of_a_call_are_kept() -> None:
    def make() -> Any:
        def call() -> Any:
            return [2.0, np.ones(3)]

        call.facts = {"nodes": 7}  # type: ignore[attr-defined]
        return call

    problem = Problem("P0", "", SAMPLE.reference, [Contender(HAND, make)], 1.1)
    assert measuring.measure(problem, rounds=1)[0].facts == {"nodes": 7}


def test_a_slow_contender_is_called_twice_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "SLOW", -1.0)
    calls: list[int] = []

    def call() -> Any:
        calls.append(1)
        return [1.0]

    problem = Problem("P0", "", lambda: [1.0], [Contender(HAND, lambda: call)], 1.1)
    (row,) = measuring.measure(problem, rounds=9)
    assert (row.rounds, row.repeats) == (2, 1)
    assert len(calls) == 3  # the first one is checked
    assert row.kept == -1


# --- timing -------------------------------------------------------------------------------


def test_turns_are_as_many_calls_as_said() -> None:
    calls: Counter[str] = Counter()
    seconds = timing.in_turns(
        {name: lambda name=name: calls.update([name]) for name in ("fast", "slow")},
        {"fast": 5},
        rounds=3,
    )
    assert calls == {"fast": 3 * (1 + 5), "slow": 1}
    assert [len(found) for found in seconds.values()] == [3, 1]


def test_repeats_fill_the_least_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def call() -> None:
        now[0] += 1e-5

    count = timing.repeats_of(call)
    assert 1e-3 <= count * 1e-5 <= 3e-3
    assert timing.repeats_of(lambda: now.__setitem__(0, now[0] + 1.0)) == 1


def test_threads_are_set_before_libraries_are_loaded() -> None:
    one, two = timing.environment(1), timing.environment(2)
    assert one["OMP_NUM_THREADS"] == one["OPENBLAS_NUM_THREADS"] == "1"
    assert "multi_thread_eigen=false" in one["XLA_FLAGS"]
    assert "multi_thread_eigen=true" in two["XLA_FLAGS"]
    assert two["NUMBA_NUM_THREADS"] == "2"
    assert one["JAX_ENABLE_X64"] == "1"


# --- processes ----------------------------------------------------------------------------


def test_a_problem_is_measured_in_a_process_of_its_own() -> None:
    (row,) = running.rows_of("P6", "", Way(rounds=1, only=[HAND]), grown=12)
    assert (row["name"], row["status"], row["rounds"]) == (HAND, "timed", 1)
    assert row["error"] <= 1e-9
    assert row["seconds"] > 0


def test_a_process_that_ends_with_an_error_says_so() -> None:
    (row,) = running.rows_of("P6", "no such size", Way(rounds=1))
    assert (row["name"], row["status"]) == ("all", "failed")
    assert row["why"].startswith("exit status 1:")


def test_a_contender_that_crashes_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = []

    def process(task: str, way: Way, progress: Path) -> str:
        tasks.append(json.loads(task))
        if not tasks[-1]["without"]:
            progress.write_text("torch", encoding="utf-8")
            return "exit status -11: "
        Path(tasks[-1]["out"]).write_text('[{"name": "run"}]', encoding="utf-8")
        return ""

    monkeypatch.setattr(running, "_process", process)
    assert running.rows_of("P1", "N = 1", Way()) == [{"name": "run"}]
    assert [task["without"] for task in tasks] == [{}, {"torch": "exit status -11: "}]


def test_a_contender_that_hangs_is_stopped() -> None:
    way = Way(rounds=1, only=["run"], limit=0.0)
    (row,) = running.rows_of("P6", "", way, grown=100_000)
    assert (row["name"], row["status"], row["why"]) == ("run", "failed", "not ready after 0 s")
