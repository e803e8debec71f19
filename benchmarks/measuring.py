"""One problem in a process of its own: answers are checked, then the contenders timed in turns.

Run by ``python -m benchmarks``, which says what this process is to measure in a JSON text.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.problem import Contender, Growth, LeftOut, Problem, modules, problems
from benchmarks.timing import (
    SLOW,
    in_turns,
    keep_to,
    measured,
    no_collection,
    repeats_of,
)

TOLERANCE = 1e-9


@dataclass
class Row:
    """What was found about one contender; seconds are of one call."""

    name: str
    status: str = "timed"
    """Or ``absent``, ``left out``, ``failed``, ``wrong``."""
    why: str = ""
    seconds: float = math.nan
    fastest: float = math.nan
    slowest: float = math.nan
    rounds: int = 0
    repeats: int = 0
    error: float = math.nan
    made: float = math.nan
    """Seconds of ``make``, after the imports that it needs."""
    first: float = math.nan
    """Seconds of the first call."""
    kept: int = -1
    """Bytes that are held between calls, by :mod:`tracemalloc`; −1: not measured."""
    peak: int = -1
    """Bytes at the peak of a call, above what there was before ``make``."""
    built: int = -1
    """Bytes at the peak of ``make`` and the first call."""
    facts: dict[str, Any] = field(default_factory=dict)


def as_json(row: Row) -> dict[str, Any]:
    """JSON has no NaN: what was not measured is null."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in asdict(row).items()
    }


# --- comparing ----------------------------------------------------------------------------


def difference(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest expected entry; ``inf`` for other shapes."""
    if sp.issparse(found) or sp.issparse(expected):
        found, expected = sp.csr_array(found), sp.csr_array(expected)
    else:
        found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return math.inf
    if not math.prod(expected.shape):
        return 0.0
    gap = float(abs(found - expected).max())
    scale = float(abs(expected).max())
    return math.inf if math.isnan(gap) else gap if scale == 0 else gap / scale


def worst(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The worst :func:`difference` of any array."""
    if len(found) != len(expected):
        return math.inf
    return max(map(difference, found, expected), default=0.0)


def wanted(contender: Contender, only: Sequence[str]) -> bool:
    """Whether ``only`` names it; the word "ours" stands for this package and code by hand."""
    return not only or contender.name in only or ("ours" in only and contender.is_ours)


def prepared(contender: Contender, expected: Sequence[Any], row: Row) -> Callable[[], Any] | None:
    """The contender's call, if it can be made and its answer is right."""
    absent = [name for name in contender.needs if find_spec(name) is None]
    if absent:
        row.status, row.why = "absent", ", ".join(absent)
        return None
    try:
        for name in contender.needs:
            importlib.import_module(name)
        start = time.perf_counter()
        call = contender.make()
        row.made = time.perf_counter() - start
        start = time.perf_counter()
        result = call()
        row.first = time.perf_counter() - start
        row.error = worst(contender.read(result), expected)
    except LeftOut as reason:
        row.status, row.why = "left out", str(reason)
        return None
    except Exception as error:  # noqa: BLE001 (whatever a peer raises is told in the table)
        row.status, row.why = "failed", f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return None
    row.facts = dict(getattr(call, "facts", {}))
    if row.error <= TOLERANCE:
        return call
    row.status, row.why = "wrong", f"relative difference {row.error:.1e}"
    return None


# --- measuring ----------------------------------------------------------------------------


def measure(
    problem: Problem,
    *,
    rounds: int,
    only: Sequence[str] = (),
    without: Mapping[str, str] | None = None,
    pause: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
    done: Callable[[list[Row]], None] = lambda _: None,
) -> list[Row]:
    """Check and time the contenders of a problem; ``without`` maps names to reasons.

    ``say`` is told who is at work, ``done`` what is known so far: memory is measured last, in calls
    that tracing makes slow.
    """
    expected = [part.copy() for part in map(_array, problem.reference())]
    chosen = [one for one in problem.contenders if wanted(one, only)]
    rows = {one.name: Row(one.name) for one in chosen}
    calls: dict[str, Callable[[], Any]] = {}
    repeats: dict[str, int] = {}
    for contender in chosen:
        row = rows[contender.name]
        if reason := (without or {}).get(contender.name):
            row.status, row.why = "failed", reason
            continue
        say(contender.name)
        call = prepared(contender, expected, row)
        if call is not None:
            calls[contender.name] = call
            if (seconds := measured(call)) > SLOW:
                row.seconds = seconds
            else:
                with no_collection():
                    repeats[contender.name] = repeats_of(call)
    say("")
    for name, seconds in in_turns(calls, repeats, rounds, pause=pause).items():
        found = [*seconds, rows[name].seconds] if name not in repeats else seconds
        _record(rows[name], found, repeats.get(name, 1))
    found = list(rows.values())
    done(found)
    for contender in chosen:
        if contender.name in repeats and contender.is_ours:
            say(contender.name)
            traced(contender, rows[contender.name])
            done(found)
    return found


def _array(part: Any) -> Any:
    return part if sp.issparse(part) else np.asarray(part)


def _record(row: Row, seconds: Sequence[float], repeats: int) -> None:
    row.seconds = statistics.median(seconds)
    row.fastest, row.slowest = min(seconds), max(seconds)
    row.rounds, row.repeats = len(seconds), repeats


def traced(contender: Contender, row: Row) -> None:
    """Memory above what there was before ``make``."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call = contender.make()
        call()  # the result is dropped; what stays is what the call needs
        gc.collect()
        kept, built = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    row.kept, row.peak, row.built = kept - before, peak - before, built - before


# --- the process --------------------------------------------------------------------------


def find(name: str, size: str) -> Problem:
    """The problem of that name and size."""
    return next(one for one in problems() if (one.name, one.size) == (name, size))


def growths() -> dict[str, Growth]:
    """What the problems that have one say about growth, by the problem's name."""
    found = [module.growth() for module in modules() if hasattr(module, "growth")]
    return {one.name: one for one in found}


def main(text: str) -> None:
    """Measure what ``text`` (JSON) asks for; write JSON to the file that it names."""
    task = json.loads(text)
    keep_to(task["threads"])
    warnings.simplefilter("ignore")  # peers warn about what they will remove some day
    name, grown = task["name"], task["grown"]
    progress = Path(task["progress"])

    def say(contender: str) -> None:
        progress.write_text(contender, encoding="utf-8")

    def done(rows: list[Row]) -> None:
        out = Path(task["out"])
        whole = out.with_suffix(".new")  # this process may be stopped at any time
        whole.write_text(json.dumps([as_json(row) for row in rows]), encoding="utf-8")
        whole.replace(out)

    measure(
        find(name, task["size"]) if grown is None else growths()[name].problem(grown),
        rounds=task["rounds"],
        only=task["only"],
        without=task["without"],
        pause=0.05 if task["threads"] > 1 else 0.0,
        say=say,
        done=done,
    )


if __name__ == "__main__":
    main(sys.argv[1])
