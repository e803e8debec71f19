"""Workers in processes of their own: one that dies costs its submission, and is replaced."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from graphengine.errors import CheckError
from graphengine.grading.folder import Submission
from graphengine.grading.scoring import Grade
from graphengine.submission.child import MARK, kill_marked
from graphengine.submission.scratch import remove_tree

__all__ = ["Answer", "Failure", "answers"]

START_LIMIT = 120.0
"""Seconds in which a worker must be ready."""
_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
_SOURCES = Path(__file__).parents[2]


@dataclass(frozen=True)
class Failure:
    """Why there is no grade after so many seconds; ``doubtful`` where the worker died."""

    how: str
    seconds: float
    doubtful: bool = True


Answer = tuple[Submission, Grade | Failure]
"""A submission and its grade, or why there is none."""


def answers(
    submissions: Sequence[Submission], options: Mapping[str, Any], jobs: int, time_limit: float
) -> Generator[Answer, None, None]:
    """The grades of submissions as they are found, by ``jobs`` workers at a time.

    A submission that has none after ``time_limit`` seconds is given up.  One whose worker died is
    tried once more at the end, by itself: another one may have done it.  ``options`` are those of
    :class:`~graphengine.grading.worker.Judge`.

    Raises :class:`CheckError` when workers do not start.
    """
    doubtful: list[Submission] = []
    with contextlib.closing(_parallel(submissions, options, jobs, time_limit)) as first:
        for submission, found in first:
            if isinstance(found, Failure) and found.doubtful:
                doubtful.append(submission)
            else:
                yield submission, found
    with contextlib.closing(_parallel(doubtful, options, 1, time_limit)) as again:
        yield from again


def _parallel(
    submissions: Sequence[Submission], options: Mapping[str, Any], jobs: int, time_limit: float
) -> Generator[Answer, None, None]:
    todo = deque(submissions)
    done: queue.SimpleQueue[Answer | BaseException | None] = queue.SimpleQueue()
    lanes = [_Lane(todo, done, options, time_limit) for _ in range(min(jobs, len(todo)))]
    for lane in lanes:
        lane.start()
    try:
        running = len(lanes)
        while running:
            found = done.get()
            if found is None:
                running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found
    finally:
        todo.clear()
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join()


class _Lane(threading.Thread):
    """Takes submissions from a queue, one worker at a time."""

    def __init__(
        self,
        todo: deque[Submission],
        done: queue.SimpleQueue[Answer | BaseException | None],
        options: Mapping[str, Any],
        time_limit: float,
    ) -> None:
        super().__init__(daemon=True)
        self.todo, self.done, self.options, self.time_limit = todo, done, options, time_limit
        self.worker: _Worker | None = None
        self.stopped = False

    def run(self) -> None:
        """Answer for submissions until there are no more."""
        try:
            while not self.stopped and self.todo:
                with contextlib.suppress(IndexError):  # another lane took the last one
                    submission = self.todo.popleft()
                    self.done.put((submission, self._ask(submission)))
        except BaseException as error:  # noqa: BLE001 (it is raised where the answers are read)
            self.done.put(error)
        finally:
            self._drop()
            self.done.put(None)

    def _ask(self, submission: Submission) -> Grade | Failure:
        if self.worker is None:
            self.worker = _Worker(self.options)
        if self.stopped:
            return Failure("was stopped", 0.0)
        answer = self.worker.ask(submission, self.time_limit)
        if self.worker.ended:
            self._drop()
        return answer

    def _drop(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.close()

    def stop(self) -> None:
        """End what is being done."""
        self.stopped = True
        worker = self.worker
        if worker is not None:
            worker.kill()


class _Worker:
    """A process that runs :mod:`graphengine.grading.worker`, in a session and a folder of its
    own.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = Path(tempfile.mkdtemp(prefix="graphengine-"))
        self.ended = False
        paths = [str(_SOURCES), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "graphengine.grading.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                **{f"{name}_NUM_THREADS": "1" for name in _THREADS},
                **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.folder)),
                "PYTHONPATH": os.pathsep.join(path for path in paths if path),
                "PYTHONIOENCODING": "utf-8",
                MARK: self.mark,
            },
            start_new_session=True,  # Ctrl-C is for the one who asks
        )
        answer = self._exchange(dict(options), START_LIMIT)
        if not isinstance(answer, dict):
            self.close()
            raise CheckError("a worker", expected="a process that starts", got=f"it {answer.how}")

    def ask(self, submission: Submission, time_limit: float) -> Grade | Failure:
        """The grade of a submission; a failure where the worker did not live to give it."""
        start = perf_counter()
        request = {
            "name": submission.name,
            "path": str(submission.path),
            "content": submission.content,
        }
        answer = self._exchange(request, time_limit)
        if isinstance(answer, Failure):
            return answer
        try:
            self.ended = answer["last"] is not False
            return Grade.from_dict(answer["grade"])
        except (KeyError, TypeError):
            return self._died("answered with something else", perf_counter() - start)

    def _exchange(self, request: dict[str, Any], time_limit: float) -> dict[str, Any] | Failure:
        """A request's answer; a failure where there is none, and then the process is no more.

        The token tells the answer from what somebody else may have written.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        token, start = uuid.uuid4().hex, perf_counter()
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(time_limit, give_up)
        timer.start()
        try:
            text = json.dumps({**request, "token": token}) + "\n"
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if late.is_set():
            self.ended = True
            how = f"passed the time limit of {time_limit:g} s"
            return Failure(how, perf_counter() - start, doubtful=False)
        try:
            answer = json.loads(line)
            if answer["token"] == token:
                return dict(answer)
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        how = "answered with something else" if line else ""
        return self._died(how, perf_counter() - start)

    def _died(self, how: str, seconds: float) -> Failure:
        self.ended = True
        if not how:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5.0)
            code = self.process.poll()
            known = {one.value: one.name for one in signal.Signals}
            how = f"ended with status {code}"
            if code is not None and code < 0:
                how = f"was killed by {known.get(-code, f'signal {-code}')}"
        self.kill()
        return Failure(how, seconds)

    def kill(self) -> None:
        """Kill the process and what carries its mark."""
        with contextlib.suppress(OSError):
            self.process.kill()
        kill_marked(self.mark)

    def close(self) -> None:
        """End the process, and remove its folder."""
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        self.process.wait()
        remove_tree(self.folder)
