"""Grades for many submissions: points for claims, a folder at a time, on all cores.

:func:`grade` is what ``graphengine grade`` does.  :func:`graded` scores one report, and
:func:`results` is Gradescope's ``results.json`` for it.
"""

from __future__ import annotations

from graphengine.grading.gradescope import results
from graphengine.grading.run import TIME_LIMIT, grade
from graphengine.grading.scoring import ClaimGrade, Grade, graded
from graphengine.grading.summary import Grading, grades_csv

__all__ = [
    "TIME_LIMIT",
    "ClaimGrade",
    "Grade",
    "Grading",
    "grade",
    "graded",
    "grades_csv",
    "results",
]
