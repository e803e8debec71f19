"""Problems measured one after another, each in a process of its own that may be stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.timing import environment

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Way:
    """How to measure; ``limit`` is the time in seconds that one contender may take to get ready."""

    threads: int = 1
    rounds: int = 9
    only: Sequence[str] = ()
    limit: float = 300.0


def rows_of(name: str, size: str, way: Way, *, grown: int | None = None) -> list[dict[str, Any]]:
    """The rows of one problem (``grown``: of its growth, at that size).

    A contender that crashes, or does not get ready within the limit, is told as failed, and the
    others are measured without it.
    """
    without: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        out, progress = Path(folder, "rows.json"), Path(folder, "progress")
        while True:
            progress.write_text("", encoding="utf-8")
            task = {
                "name": name,
                "size": size,
                "grown": grown,
                "threads": way.threads,
                "rounds": way.rounds,
                "only": list(way.only),
                "without": without,
                "out": str(out),
                "progress": str(progress),
            }
            reason = _process(json.dumps(task), way, progress)
            if out.exists():  # if there is a reason, memory is missing
                found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
                return found
            culprit = progress.read_text(encoding="utf-8")
            if not culprit or culprit in without:
                return [{"name": culprit or "all", "status": "failed", "why": reason}]
            without[culprit] = reason


def _process(task: str, way: Way, progress: Path) -> str:
    """Run it; why it did not finish, or nothing."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.measuring", task],
            cwd=ROOT,
            env={**os.environ, **environment(way.threads)},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                waited = time.time() - progress.stat().st_mtime
                if progress.read_text(encoding="utf-8") and waited > way.limit:
                    return f"not ready after {way.limit:.0f} s"
        finally:
            process.kill()
            process.wait()
        if process.returncode == 0:
            return ""
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
        return f"exit status {process.returncode}: {' '.join(lines[-1:])[:200]}"
