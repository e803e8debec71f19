"""Fair timing: contenders in turns, a warm-up, medians."""

from __future__ import annotations

import gc
import math
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

SLOW = 5.0
"""Seconds of a call from which on a contender is called only twice in all."""

LEAST = 1e-3
"""Seconds that one measurement takes at least: faster calls are repeated within it."""


def medians(contenders: Mapping[str, Callable[[], Any]], rounds: int = 9) -> dict[str, float]:
    """Seconds of one call of each, in turns: the median of ``rounds`` after a warm-up."""
    for call in contenders.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def measured(call: Callable[[], Any], repeats: int = 1) -> float:
    """Seconds of one call, as the mean of ``repeats`` in a row."""
    start = time.perf_counter()
    for _ in repeat(None, repeats):
        call()
    return (time.perf_counter() - start) / repeats


def repeats_of(call: Callable[[], Any]) -> int:
    """How many calls in a row take :data:`LEAST`, by trying."""
    count = 1
    while (seconds := measured(call, count) * count) < LEAST:
        count = max(2 * count, min(100 * count, int(1.2 * count * LEAST / max(seconds, 1e-9))))
    return count


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the cyclic garbage collector out: its cost depends on what others have allocated."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_turns(
    calls: Mapping[str, Callable[[], Any]],
    repeats: Mapping[str, int],
    rounds: int,
    *,
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of one call of each, ``rounds`` times in turns, in another order each round.

    Before each measurement the contender is called once untimed, after ``pause`` seconds: idle
    threads of another contender's library may spin for a while.  A contender that is not in
    ``repeats`` is slow: it is called in the first round only, and that call is the measurement.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    for turn in range(rounds):
        shuffle(order)
        gc.collect()
        for name in order:
            call = calls[name]
            if name not in repeats:
                if turn == 0:
                    seconds[name].append(measured(call))
                continue
            if pause:
                time.sleep(pause)
            call()
            with no_collection():
                seconds[name].append(measured(call, repeats[name]))
    return seconds


def shown(seconds: float) -> str:
    """Seconds for people."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def digits(number: float) -> str:
    """Three digits at most, none of them after the point from 100 on."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def slope(amounts: Sequence[float], values: Sequence[float]) -> float:
    """The power with which the values grow: least squares on logarithms, the last 3 decades."""
    last = [
        (math.log(amount), math.log(value))
        for amount, value in zip(amounts, values, strict=True)
        if amount >= max(amounts) / 1_100
    ]
    middle = [sum(one) / len(last) for one in zip(*last, strict=True)]
    across = sum((x - middle[0]) ** 2 for x, _ in last)
    return sum((x - middle[0]) * (y - middle[1]) for x, y in last) / across


def today() -> str:
    """The date, for records."""
    return datetime.now(UTC).date().isoformat()


def machine() -> str:
    """The machine and the versions, on one line."""
    cpu = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            cpu = f"{len(names)} × {names[0].partition(':')[2].strip()}"
    parts = [f"{name} {version(name)}" for name in ("numpy", "scipy", "networkx")]
    return f"{cpu}, {platform.system()}, Python {platform.python_version()}, {', '.join(parts)}"


# --- threads ------------------------------------------------------------------------------


def environment(threads: int) -> dict[str, str]:
    """Variables that libraries read when they are loaded: ``threads`` threads, double precision."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM", "NUMEXPR")
    found = {f"{name}_NUM_THREADS": str(threads) for name in names}
    found["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
        f" intra_op_parallelism_threads={threads}"
    )
    return {**found, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}


def keep_to(threads: int) -> None:
    """Keep this process to as many processors as it may have threads, where the system can.

    A library that does not listen to the variables then has no more than the others.
    """
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(processors)  # two runs side by side need not share one
        os.sched_setaffinity(0, (processors + processors)[first : first + threads])
