"""A process that judges submissions one after another, and prepares what they share once.

A program of its own, ``python -P -m graphengine.grading.worker``, started by
:mod:`graphengine.grading.pool`.  Its input is lines of JSON: first the options, then a request for
each submission; its output a line for each.  When its input ends it kills what it has started,
and itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import IO, Any

from graphengine.check import Checker
from graphengine.derivation import Derivation
from graphengine.errors import CheckError, GraphEngineError
from graphengine.grading.folder import content_hash
from graphengine.grading.gradescope import described
from graphengine.grading.reaper import adopt_orphans, kill_descendants
from graphengine.grading.scoring import Grade, failed, graded
from graphengine.spec import Spec, load, load_derivation
from graphengine.submission import PythonDerivation

__all__ = ["Judge", "main", "serve"]

MEMORY_LIMIT = 4 << 30
"""Bytes of address space that a worker may have above what it starts with."""
MEMORY_KEPT = 1 << 30
"""A worker that holds more bytes than this between two submissions is replaced."""


class Judge:
    """Grades for submissions to one spec; what they share is prepared once.

    ``options`` has ``spec`` and ``folder`` (paths), ``seed``, ``points``, and ``run_limit``, the
    seconds for a run of a Python submission.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.spec: Spec = load(options["spec"])
        self.folder: str = os.path.join(options["folder"], "")  # noqa: PTH118 (with its separator)
        self.run_limit: float = options["run_limit"]
        self.checker = Checker(self.spec, points=options["points"], seed=options["seed"])
        if self.spec.derivation is not None:  # most submissions make its claims
            with contextlib.suppress(GraphEngineError):
                self.checker.check()

    def grade(self, name: str, path: Path, content: str) -> Grade:
        """The grade of the submission in a file, whose hash is ``content``."""
        start = perf_counter()
        try:
            report = self.checker.check(self._derivation(path, content))
            grade = graded(name, self.spec, report, perf_counter() - start)
        except GraphEngineError as error:
            grade = failed(name, self.spec, described(error), perf_counter() - start)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is this submission's alone)
            text = f"the check failed: {described(error)}"
            grade = failed(name, self.spec, text, perf_counter() - start)
        return self._local(grade)

    def _derivation(self, path: Path, content: str) -> Derivation:
        if content_hash(path) != content:
            raise CheckError(str(path), expected="the file as it was", got="another one")
        derivation = load_derivation(path, self.spec)
        if isinstance(derivation, PythonDerivation):
            derivation.time_limit = self.run_limit
        return derivation

    def _local(self, grade: Grade) -> Grade:
        """The grade with places as they stand in the folder, wherever that is."""

        def cut(text: str) -> str:
            return text.replace(self.folder, "")

        claims = [
            replace(claim, says=cut(claim.says), place=cut(claim.place)) for claim in grade.claims
        ]
        return replace(grade, claims=tuple(claims), error=cut(grade.error))


def serve(
    judge: Judge, requests: Iterable[str], answer: Callable[[Mapping[str, Any]], None]
) -> None:
    """Answer each request with a grade; ``last`` tells that this worker is to be replaced."""
    for line in requests:
        request = json.loads(line)
        path = Path(request["path"])
        grade = judge.grade(request["name"], path, request["content"])
        if path.suffix == ".py":
            kill_descendants()
        last = _resident() > MEMORY_KEPT
        answer({"token": request["token"], "grade": grade.to_dict(), "last": last})
        if last:
            return


def main() -> None:
    """Read the options, then requests, to the end of the input."""
    adopt_orphans()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # what a library prints is no answer
    lines = _Lines(sys.stdin)
    options = json.loads(next(lines))

    def answer(data: Mapping[str, Any]) -> None:
        out.write(json.dumps(data) + "\n")
        out.flush()

    judge = Judge(options)
    _limit_memory()
    answer({"token": options["token"]})
    serve(judge, lines, answer)


class _Lines:
    """Lines of the input, read ahead by a thread that ends this process when there are no more.

    Whoever asked is gone then: what is being done is of no use.
    """

    def __init__(self, source: IO[str]) -> None:
        self._source = source
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._source:
            self._lines.put(line)
        kill_descendants()
        os._exit(0)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        return self._lines.get()


def _limit_memory() -> None:
    """Bound the memory of this process, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 (not on Windows)

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        bound = _memory()[0] + MEMORY_LIMIT
        if hard == resource.RLIM_INFINITY or hard > bound:
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident() -> int:
    return _memory()[1]


def _memory() -> tuple[int, int]:
    """Bytes of address space and of memory that this process has (Linux; else zeros)."""
    with contextlib.suppress(OSError, ValueError):
        size, resident = Path("/proc/self/statm").read_text("ascii").split()[:2]
        page = os.sysconf("SC_PAGE_SIZE")
        return int(size) * page, int(resident) * page
    return 0, 0


if __name__ == "__main__":
    main()
