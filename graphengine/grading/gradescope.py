"""Gradescope's ``results.json``.

The format is that of https://gradescope-autograders.readthedocs.io/en/latest/specs/: a score, and
a test case for each claim.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from graphengine.check.report import Report
from graphengine.errors import GraphEngineError
from graphengine.formats.junit import junit, junit_of_error
from graphengine.formats.output import legal, write_whole
from graphengine.grading.scoring import ClaimGrade, Grade, failed, graded, number
from graphengine.spec import Spec

__all__ = ["described", "results", "results_text", "written"]

UNFINISHED = "the check did not finish"


def results(grade: Grade) -> dict[str, Any]:
    """A grade as Gradescope reads it.

    >>> results(Grade("anna", 0.0, 2.0, error="anna.yaml:1:1: expected YAML"))["output"]
    '0 of 2 points: anna.yaml:1:1: expected YAML'
    """
    return {
        "score": grade.score,
        "execution_time": round(grade.seconds, 3),
        "output": legal(grade.summary),
        "output_format": "text",
        "visibility": "visible",
        "tests": [_test(place + 1, claim) for place, claim in enumerate(grade.claims)],
    }


def results_text(grade: Grade) -> str:
    """:func:`results` as the text of the file."""
    return json.dumps(results(grade), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _test(place: int, claim: ClaimGrade) -> dict[str, Any]:
    right = claim.score >= claim.max_score if claim.counts else claim.standing == "right"
    part = f"{number(claim.score)} of {number(claim.max_score)} points"
    lines = [claim.says or claim.standing, claim.place, part if claim.counts else "not asked for"]
    return {
        "score": claim.score,
        "max_score": claim.max_score,
        "status": "passed" if right else "failed",
        "name": legal(claim.claim),
        "number": str(place),
        "output": legal("\n".join(line for line in lines if line)),
        "output_format": "text",
        "visibility": "visible",
    }


def described(error: BaseException) -> str:
    """An error in a line: its text, and its class unless it is one of this package's own."""
    text = " ".join(str(error).split())
    own = isinstance(error, GraphEngineError)
    return text if own else ": ".join(filter(None, [type(error).__name__, text]))


@contextmanager
def written(
    name: str, *, to_junit: Path | None, to_gradescope: Path | None
) -> Iterator[Callable[[Spec, Report], None]]:
    """Files for other programs about one check, which the body reports by the function it gets.

    Gradescope's file is there whatever happens: with score 0 and the error where the check fails,
    and where the process dies with what was written before it started.
    """
    start = perf_counter()

    def write(grade: Grade, xml: str) -> None:
        if to_gradescope is not None:
            write_whole(to_gradescope, results_text(grade))
        if to_junit is not None and xml:
            write_whole(to_junit, xml)

    def done(spec: Spec, report: Report) -> None:
        seconds = perf_counter() - start
        write(graded(name, spec, report, seconds), junit(report, seconds=seconds))

    write(failed(name, None, UNFINISHED), "")
    try:
        yield done
    except BaseException as error:
        text = described(error)
        write(failed(name, None, text, perf_counter() - start), junit_of_error(name, text))
        raise
