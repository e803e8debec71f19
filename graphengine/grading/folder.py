"""The submissions in a folder: one file each, or one folder each with one file in it."""

from __future__ import annotations

import hashlib
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graphengine.errors import CheckError
from graphengine.files.yaml_text import MAX_BYTES
from graphengine.formats.output import printable

__all__ = ["SUFFIXES", "Submission", "content_hash", "file_name", "submissions"]

SUFFIXES = (".yaml", ".yml", ".py")
MAX_NAME = 150
"""Bytes of a file name that is made from a name."""
_AWKWARD = re.compile(r'[/\\:*?"<>|%\x00-\x1f\x7f]|^\.|[. ]$')


@dataclass(frozen=True)
class Submission:
    """One submission: its name, its file, and the hash of what it holds; or why it has none.

    No two names of a folder differ only in the case of letters.
    """

    name: str
    path: Path
    content: str = ""
    error: str = ""


def submissions(
    folder: Path, skip: Collection[Path] = ()
) -> tuple[list[Submission], tuple[str, ...]]:
    """The submissions in ``folder`` in the order of their names, and what was passed over.

    An entry is a file whose name ends in one of :data:`SUFFIXES`, or a folder with one such file.
    Hidden entries and those in ``skip`` (resolved paths) are nobody's; links that lead out of
    ``folder`` are refused.  A name is that of the file without its suffix, or of the folder;
    where two would be alike they keep the suffix.

    Raises :class:`CheckError` for a folder without submissions, and OSError for none.
    """
    root = folder.resolve()
    found: list[tuple[Path, Submission]] = []
    passed: list[str] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "__pycache__")) or _resolved(entry) in skip:
            continue
        if entry.suffix in SUFFIXES or entry.is_dir():
            found.append((entry, _entry(entry, root)))
        else:
            passed.append(printable(entry.name))
    if not found:
        raise CheckError(
            str(folder),
            expected=f"submissions ({', '.join(SUFFIXES)}, or folders with one each)",
            got="none",
        )
    names = _names([entry for entry, _ in found])
    made = [replace(one, name=name) for name, (_, one) in zip(names, found, strict=True)]
    return sorted(made, key=lambda one: one.name), tuple(passed)


def _resolved(path: Path) -> Path | None:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a circle of links, before and from Python 3.13
        return None


def _entry(entry: Path, root: Path) -> Submission:
    """The submission that an entry is; its name is still to be found."""
    try:
        return _one(entry, root)
    except OSError as error:
        return _refused(entry, "what can be read", (error.strerror or str(error)).lower())


def _one(entry: Path, root: Path) -> Submission:
    target = _resolved(entry)
    if target is None or not target.is_relative_to(root):
        return _refused(entry, "no link out of the folder", "one")
    if not entry.is_dir():
        return _read(entry)
    inside = sorted(
        one for one in entry.iterdir() if one.suffix in SUFFIXES and not one.name.startswith(".")
    )
    if len(inside) != 1:
        shown = ", ".join(printable(one.name) for one in inside[:5]) or "none"
        return _refused(entry, "one submission in a folder", shown)
    target = _resolved(inside[0])
    if target is None or not target.is_relative_to(root):
        return _refused(inside[0], "no link out of the folder", "one")
    return _read(inside[0])


def _read(path: Path) -> Submission:
    if not stat.S_ISREG(path.stat().st_mode):
        return _refused(path, "a file", "something else")
    return Submission("", path, content_hash(path))


def _refused(path: Path, expected: str, got: str) -> Submission:
    error = CheckError(printable(path.name), expected=expected, got=got)
    return Submission("", path, error=str(error))


def content_hash(path: Path) -> str:
    """The hash of a file's first bytes, more than a submission may have.  Raises OSError."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(MAX_BYTES + 2)).hexdigest()


# --- names --------------------------------------------------------------------------------


def _names(entries: Sequence[Path]) -> list[str]:
    """Names that stay different where the case of letters and accents are not told apart."""
    full = [printable(entry.name) for entry in entries]
    names = [printable(entry.name if entry.is_dir() else entry.stem) for entry in entries]
    while True:
        often = Counter(map(_folded, names))
        clashing = [k for k, name in enumerate(names) if often[_folded(name)] > 1]
        longer = [k for k in clashing if names[k] != full[k]]
        if not longer:
            break
        for k in longer:
            names[k] = full[k]
    return list(_numbered(names))


def _numbered(names: Sequence[str]) -> Iterator[str]:
    """The names, with a number after those that are still alike."""
    taken = set(map(_folded, names))
    seen: set[str] = set()
    for name in names:
        made, count = name, 1
        while _folded(made) in (seen if count == 1 else taken | seen):
            count += 1
            made = f"{name} ({count})"
        seen.add(_folded(made))
        yield made


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def file_name(name: str, suffix: str) -> str:
    """The name of a file for ``name``: characters that some system refuses are percent-encoded,
    and a long name is cut, with a part of its hash at the end.

    >>> file_name("a/b", ".json"), file_name("Ægir Þór", ".json")
    ('a%2Fb.json', 'Ægir Þór.json')
    """
    safe = _AWKWARD.sub(lambda found: f"%{ord(found[0]):02X}", name) or "%"
    if len(safe.encode("utf-8", "replace")) > MAX_NAME:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
        safe = safe.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore") + f"-{digest}"
    return safe + suffix
