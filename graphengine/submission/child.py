"""A child process with a time limit, killed with all that it started; what it prints is bounded."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["run_limited"]

PRINTED_LIMIT = 64 << 10
"""Bytes of what the child prints that are kept."""
_POSIX = os.name == "posix"
_MARK = "GRAPHENGINE_CHILD"
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL")
_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


def run_limited(command: Sequence[str], folder: Path, time_limit: float) -> tuple[str, str]:
    """Run ``command`` in ``folder``; how it ended before its time (or ""), and what it printed.

    It has a session of its own, a short environment, one thread for linear algebra and no input.
    When it ends, or at the limit, its process group is killed and, on Linux, every process that
    inherited its mark in the environment.
    """
    mark = uuid.uuid4().hex
    process = subprocess.Popen(  # noqa: S603 (the caller's own program)
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            **{f"{name}_NUM_THREADS": "1" for name in _THREADS},
            **dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP"), str(folder)),
            _MARK: mark,
        },
        start_new_session=True,
    )
    printed: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(process, printed), daemon=True)
    reader.start()
    ending = ""
    try:
        code = process.wait(time_limit)
        if code < 0:
            ending = f"was killed by {signal.Signals(-code).name}"
        elif code > 0:
            ending = f"ended with status {code}"
    except subprocess.TimeoutExpired:
        ending = f"passed the time limit of {time_limit:g} s"
    finally:
        _kill(process, mark)
        reader.join(2.0)
    return ending, b"".join(printed)[:PRINTED_LIMIT].decode("utf-8", "replace")


def _drain(process: subprocess.Popen[bytes], printed: list[bytes]) -> None:
    """Read what is printed to its end, and keep the first of it."""
    kept = 0
    assert process.stdout is not None
    with contextlib.suppress(OSError, ValueError), process.stdout as stream:
        while part := stream.read1(65536):  # type: ignore[attr-defined]  # a buffered reader
            if kept < PRINTED_LIMIT:
                printed.append(part)
                kept += len(part)


def _kill(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the child and all that it started: its group, and what carries its mark."""
    if _POSIX:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    for _ in range(50):
        found = list(_marked(mark))
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            break
        time.sleep(0.02)
    process.wait()


def _marked(mark: str) -> Iterator[int]:
    """Processes that have inherited the mark, wherever they went (Linux)."""
    wanted = f"{_MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)
