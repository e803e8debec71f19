"""Folders for programs that may leave anything in them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["remove_tree", "scratch_folder"]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, removed at the end as far as that is possible."""
    folder = Path(tempfile.mkdtemp(prefix="graphengine-"))
    try:
        yield folder
    finally:
        remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, however deep, as far as that is possible.

    Folders within folders are first moved up, so that neither recursion nor the length of paths
    nor the number of open files sets a bound.  Links are removed and not followed.
    """
    waiting = [folder]
    while waiting:
        inner = waiting.pop()
        with contextlib.suppress(OSError):
            inner.chmod(stat.S_IRWXU)
            for entry in list(os.scandir(inner)):
                if entry.is_dir(follow_symlinks=False):
                    higher = folder / uuid.uuid4().hex
                    Path(entry.path).rename(higher)
                    waiting.append(higher)
                else:
                    Path(entry.path).unlink()
            if inner != folder:
                inner.rmdir()
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
