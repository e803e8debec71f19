"""A folder of submissions, graded: a table, and a file for Gradescope for each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from graphengine.check import Checker
from graphengine.errors import CheckError
from graphengine.formats.output import PARTIAL, write_whole
from graphengine.grading.folder import Submission, file_name, submissions
from graphengine.grading.gradescope import results_text
from graphengine.grading.journal import Journal, fingerprint
from graphengine.grading.pool import Failure, answers
from graphengine.grading.scoring import Grade, failed
from graphengine.grading.summary import Grading, grades_csv
from graphengine.spec import Spec, load

__all__ = ["TIME_LIMIT", "cores", "grade"]

TIME_LIMIT = 20.0
"""Seconds for a submission; one run of a Python submission has half of them."""


def grade(
    spec: str | Path,
    folder: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    points: int = 5,
    jobs: int | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Grading:
    """Grade the submissions in ``folder`` to a spec file, on ``jobs`` processes (all cores).

    Writes ``grades.csv``, ``gradescope/<name>.json`` and ``results.jsonl`` into ``out``, which is
    made where there is none.  The last of them holds what has been found; a run that was
    interrupted continues from there, and so does one after some submissions have changed.
    ``seed`` and ``points`` are those of :func:`graphengine.check`, which gives the same verdicts;
    ``progress`` is told how many of how many submissions are done.

    Raises :class:`CheckError` for a folder without submissions, what reading the spec raises, and
    OSError for what cannot be written.
    """
    jobs = cores() if jobs is None else jobs
    if jobs < 1 or not 0 < time_limit < 1e6:
        raise CheckError(
            "grade",
            expected="at least 1 job and a time limit above 0",
            got=f"jobs={jobs}, time limit {time_limit:g} s",
        )
    loaded, folder, out = load(Path(spec)), Path(folder), Path(out)
    Checker(loaded, points=points, seed=seed)  # it says what is wrong with its arguments
    found, passed = submissions(folder, _not_submissions(loaded, out))
    (out / "gradescope").mkdir(parents=True, exist_ok=True)
    _clean(out)
    options = {"seed": seed, "points": points, "time_limit": time_limit}
    journal = Journal(out / "results.jsonl", fingerprint(loaded, options))
    grades = _known(found, journal, loaded, out)
    kept = len(grades)
    progress(kept, len(found))
    asked = {
        "spec": str(loaded.path),
        "folder": str(folder),
        "seed": seed,
        "points": points,
        "run_limit": time_limit / 2,
    }
    todo = [submission for submission in found if submission not in grades]
    with contextlib.closing(answers(todo, asked, jobs, time_limit)) as arriving:
        for submission, answer in arriving:
            found_now = _graded(submission, answer, loaded)
            _write(found_now, out)
            journal.add(submission, found_now)
            grades[submission] = found_now
            progress(len(grades), len(found))
    ordered = tuple(grades[submission] for submission in found)
    write_whole(out / "grades.csv", grades_csv(ordered))
    return Grading(ordered, out, kept, passed)


def _graded(submission: Submission, answer: Grade | Failure, spec: Spec) -> Grade:
    if isinstance(answer, Grade):
        return answer
    error = f"{submission.path.name}: the process that checked it {answer.how}"
    return failed(submission.name, spec, error, answer.seconds)


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _not_submissions(spec: Spec, out: Path) -> set[Path]:
    assert spec.path is not None
    return {path.resolve() for path in (spec.path, out, out / "gradescope")}


def _clean(out: Path) -> None:
    """Remove what an interrupted run was writing."""
    for folder in (out, out / "gradescope"):
        for path in folder.glob(PARTIAL):
            path.unlink(missing_ok=True)


def _known(
    found: Sequence[Submission], journal: Journal, spec: Spec, out: Path
) -> dict[Submission, Grade]:
    """The grades that need no check: of earlier runs, and of what cannot be read."""
    grades = {}
    for submission in found:
        known = journal.get(submission)
        if submission.error:
            known = failed(submission.name, spec, submission.error)
        if known is not None:
            grades[submission] = known
            _write(known, out)
    return grades


def _write(grade: Grade, out: Path) -> None:
    write_whole(out / "gradescope" / file_name(grade.name, ".json"), results_text(grade))
