"""What a run has found so far, in a file that a run which is interrupted leaves whole.

One line of JSON for each submission, only ever added to.  A line has the hash of all that the
grade depends on: the name, the file, what it holds, the spec with its data, the options and the
version of this package; when one of them changes, the line no longer counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphengine import __version__
from graphengine.files.yaml_text import read_text
from graphengine.grading.folder import Submission
from graphengine.grading.scoring import Grade
from graphengine.spec import Spec

__all__ = ["Journal", "fingerprint"]


def fingerprint(spec: Spec, options: Mapping[str, Any]) -> str:
    """The hash of a spec file, of the numbers that it takes from other files, and of options."""
    assert spec.path is not None
    found = hashlib.sha256()
    text = read_text(spec.path)
    found.update(json.dumps([__version__, text, dict(options)], sort_keys=True).encode())
    constants = {node.name: node.value for node in spec.graph.starts if node.value is not None}
    for name, value in sorted({**constants, **spec.values}.items()):
        found.update(json.dumps([name, value.shape]).encode())
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


class Journal:
    """The grades in a file, for submissions to one spec with one set of options."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint
        self._known: dict[str, Grade] = {}
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                self._remember(line)

    def _remember(self, line: bytes) -> None:
        """Take a line; one that was cut short when a run was killed does not count."""
        try:
            data = json.loads(line)
            self._known[data["key"]] = Grade.from_dict(data["grade"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return

    def key(self, submission: Submission) -> str:
        """The hash of all that the grade of a submission depends on."""
        parts = [
            submission.name,
            os.fsencode(submission.path.name).hex(),
            submission.content,
            self.fingerprint,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def get(self, submission: Submission) -> Grade | None:
        """The grade that an earlier run found, if nothing has changed since."""
        return self._known.get(self.key(submission))

    def add(self, submission: Submission, grade: Grade) -> None:
        """Write a grade behind the others, in one piece."""
        key = self.key(submission)
        self._known[key] = grade
        line = json.dumps({"key": key, "grade": grade.to_dict()}).encode() + b"\n"
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # the end of a line that was cut short
                    line = b"\n" + line
            file.write(line)
