"""Fair timing: contenders in turns, a warm-up, medians."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any


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


def shown(seconds: float) -> str:
    """Seconds for people."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


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
