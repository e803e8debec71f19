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

from graphengine.formula.budget import readable

__all__ = ["MARK", "kill_marked", "run_limited"]

PRINTED_LIMIT = 64 << 10
"""Bytes of what the child prints that are kept."""
PROCESS_LIMIT = 64
"""Processes that a child may have started and not ended (Linux)."""
MARK = "GRAPHENGINE_CHILD"
"""The variable of the environment by which processes are found again; what it holds in this
process is the start of the marks of its children."""
_POSIX = os.name == "posix"
_LOOK = 0.2
"""Seconds between two looks at what a child has started."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL")
_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


def run_limited(
    command: Sequence[str], folder: Path, time_limit: float, memory_limit: int = 2 << 30
) -> tuple[str, str]:
    """Run ``command`` in ``folder``; how it ended before its time (or ""), and what it printed.

    It has a session of its own, a short environment, one thread for linear algebra and no input.
    When it ends, or at a limit, its process group is killed and, on Linux, every process that
    inherited its mark in the environment.  There, :data:`PROCESS_LIMIT` and ``memory_limit``
    (bytes) bound all these processes together.
    """
    mark = os.environ.get(MARK, "") + uuid.uuid4().hex
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
            MARK: mark,
        },
        start_new_session=True,
    )
    printed: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(process, printed), daemon=True)
    reader.start()
    try:
        ending = _waited(process, mark, time_limit, memory_limit)
    finally:
        _kill(process, mark)
        reader.join(2.0)
    return ending, b"".join(printed)[:PRINTED_LIMIT].decode("utf-8", "replace")


def _waited(
    process: subprocess.Popen[bytes], mark: str, time_limit: float, memory_limit: int
) -> str:
    """Wait for the end of the child or of its limits; what ended it, or "" where it was done."""
    end = time.monotonic() + time_limit
    while (left := end - time.monotonic()) > 0:
        try:
            code = process.wait(min(left, _LOOK))
        except subprocess.TimeoutExpired:
            found = list(_marked(mark))
            if len(found) > PROCESS_LIMIT:
                return f"started more than {PROCESS_LIMIT} processes"
            if sum(map(_resident, found)) > memory_limit:
                return f"passed the memory limit of {readable(memory_limit)}"
            continue
        if code < 0:
            known = {one.value: one.name for one in signal.Signals}
            return f"was killed by {known.get(-code, f'signal {-code}')}"
        return f"ended with status {code}" if code else ""
    return f"passed the time limit of {time_limit:g} s"


def _resident(pid: int) -> int:
    """Bytes of memory that a process has for itself (Linux)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text("ascii").split()[:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


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
    kill_marked(mark)
    process.wait()


def kill_marked(start: str) -> None:
    """Kill all processes whose mark starts with ``start`` (Linux)."""
    assert start, "every child has a mark"
    for _ in range(50):
        found = list(_marked(start))
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.02)


def _marked(start: str) -> Iterator[int]:
    """Processes that have inherited a mark that starts so, wherever they went (Linux)."""
    wanted = f"\0{MARK}={start}".encode()
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if wanted in b"\0" + (entry / "environ").read_bytes():
                yield int(entry.name)
