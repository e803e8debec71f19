"""Text that other programs can read, and files that are never half written."""

from __future__ import annotations

import contextlib
import re
import uuid
from pathlib import Path

__all__ = ["PARTIAL", "legal", "printable", "write_whole"]

PARTIAL = ".graphengine-*.partial"
"""Pattern of the names of files that are being written; one that stays was interrupted."""
_ILLEGAL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal(text: str) -> str:
    r"""``text`` with � for what XML 1.0 and UTF-8 cannot hold: control characters, surrogates.

    >>> legal("a\x00b\ud800c")
    'a�b�c'
    """
    return _ILLEGAL.sub("\ufffd", text)


def printable(text: str) -> str:
    r"""``text`` on one line, with an escape for what is not to be printed.

    >>> print(printable("a\nb\x1b"))
    a\nb\x1b
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 under another name, then give it its own: ``path`` is what it was
    before or all of ``text``.  Raises :class:`OSError`.
    """
    partial = path.with_name(PARTIAL.replace("*", uuid.uuid4().hex))
    try:
        partial.write_text(text, "utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):  # it is there only where something failed
            partial.unlink(missing_ok=True)
