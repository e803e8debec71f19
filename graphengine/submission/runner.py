"""The child process of a Python submission: limits itself, runs the file, writes what it found.

A program of its own, started by :mod:`graphengine.submission` as ``python -I -B
runner.py FOLDER``; it imports nothing of this package.  In ``FOLDER`` stand
``job.json`` (what to call with what), ``submission.py`` and a ``point<k>.npz`` for each point; it
adds ``log.jsonl``, a line for each start and end of a call, and ``r<k>_<n>.npy`` for each value.
"""

from __future__ import annotations

import json
import math
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class Refused(Exception):
    """A returned value that is no array of real numbers."""


def limit(job: dict[str, Any]) -> None:
    """Bound memory, written files, processor time and core dumps, where the system can."""
    try:
        import resource  # noqa: PLC0415 (not on Windows)
    except ImportError:
        return
    for name, bound in [
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", job["output_limit"] + (1 << 20)),
        ("RLIMIT_CPU", math.ceil(job["time_limit"]) + 1),
        ("RLIMIT_AS", job["memory_limit"]),
    ]:
        if hasattr(resource, name):
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            known = [one for one in (bound, hard) if one != resource.RLIM_INFINITY]
            resource.setrlimit(kind, (min(known), min(known)))


def real_array(value: Any, bound: int) -> np.ndarray[Any, Any]:
    """What a function returned, as float64; sparse arrays are written out."""
    if value is None:
        raise Refused("None; is there a 'return'?")
    if hasattr(value, "toarray") and math.prod(getattr(value, "shape", ())) * 8 <= bound:
        value = value.toarray()
    try:
        array = np.asarray(value)
    except ValueError:
        raise Refused("lists of unequal length") from None
    if array.dtype.kind not in "fiub":
        kind = "complex numbers" if array.dtype.kind == "c" else f"a {type(value).__name__}"
        raise Refused(kind)
    if array.size * 8 > bound:
        raise Refused(f"an array of shape {array.shape}: more than {bound} bytes")
    return array.astype(np.float64)


def described(error: BaseException, source: str) -> dict[str, Any]:
    """An error and the line of the submission that it comes from."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == source
    ]
    text = "" if isinstance(error, Refused) else type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 (the submission's own class)
        message = ""
    text = ": ".join(part for part in (text, " ".join(message.split())) if part)
    return {
        "error": text[:300],
        "line": lines[-1] if lines else 0,
        "returned": isinstance(error, Refused),
    }


def main(folder: Path) -> None:
    """Run all calls at all points."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    limit(job)
    with (folder / "log.jsonl").open("w", encoding="utf-8") as log:

        def say(**line: Any) -> None:
            log.write(json.dumps(line) + "\n")
            log.flush()

        source = str(folder / "submission.py")
        try:
            found = runpy.run_path(source, run_name="submission")
        except BaseException as error:  # noqa: BLE001 (it may raise anything, SystemExit too)
            say(kind="file", **described(error, source))
            return
        for number, sizes in enumerate(job["points"]):
            with np.load(folder / f"point{number}.npz", allow_pickle=False) as file:
                nodes = {name.removeprefix("v_"): file[name] for name in file.files}
            Calls(folder, job, found, {**sizes, **nodes}, say).run(number)


class Calls:
    """The calls at one point; a function that fails also fails those that take its value."""

    def __init__(
        self,
        folder: Path,
        job: dict[str, Any],
        found: dict[str, Any],
        given: dict[str, Any],
        say: Callable[..., None],
    ) -> None:
        self.folder, self.job, self.found, self.given, self.say = folder, job, found, given, say
        self.values: dict[str, Any] = {}
        self.failed: dict[str, dict[str, Any]] = {}

    def run(self, number: int) -> None:
        """Make all calls, in their order."""
        for place, (name, arguments, claim) in enumerate(self.job["steps"]):
            self.say(kind="start", point=number, step=place)
            try:
                self.call(name, arguments)
                if claim and name in self.values:
                    array = real_array(self.values[name], self.job["output_limit"])
                    np.save(self.folder / f"r{number}_{place}.npy", array, allow_pickle=False)
            except BaseException as error:  # noqa: BLE001 (it may raise anything)
                self.failed[name] = described(error, str(self.folder / "submission.py"))
            self.say(kind="end", point=number, step=place, **self.failed.get(name, {}))

    def call(self, name: str, arguments: list[str]) -> None:
        """Call one function, unless one that it takes has failed."""
        before = next((self.failed[a] for a in arguments if a in self.failed), None)
        if before is not None:
            self.failed[name] = before
        else:
            self.values[name] = self.found[name](*map(self.own, arguments))

    def own(self, name: str) -> Any:
        """An argument's value, a copy where it could be changed in place."""
        value = self.values[name] if name in self.values else self.given[name]
        if isinstance(value, np.ndarray):
            return value.copy() if value.ndim else value[()]
        return value


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that the submission left behind are not waited for
