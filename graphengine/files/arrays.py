"""Arrays from ``.npz``, ``.npy`` and ``.csv`` files beside a spec: nothing but numbers is read.

A path that leaves the spec's folder is refused, symbolic links included.  Sizes are known before
anything is read (also of what a ``.npz`` unpacks to), and nothing is ever unpickled.
"""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from graphengine.errors import SpecError, TooLargeError, nearest
from graphengine.formula.budget import MAX_AXES, readable
from graphengine.ops.base import Array

__all__ = ["MAX_DATA", "inside", "load_array", "load_npz", "read_npy"]

MAX_DATA = 1 << 30
"""Bytes of one array in a file."""
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    KeyError,
    TypeError,
    SyntaxError,
    MemoryError,
    OverflowError,
)
"""What reading a damaged file may raise in the standard library and NumPy."""


def inside(folder: Path, name: str, where: str) -> Path:
    """The file ``name`` in ``folder``; :class:`SpecError` (at ``where``) if it is outside of it."""
    hint = "data stands beside the spec or in a folder below it"
    if not name or "\\" in name or ":" in name or name.startswith(("/", "~")):
        raise SpecError(where, expected="a relative path with /", got=repr(name), hint=hint)
    try:
        base = folder.resolve()
        path = (base / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links
        raise SpecError(where, expected="a file", got=f"{name!r:.80}: {error}"[:160]) from None
    if ".." in Path(name).parts or not path.is_relative_to(base):
        raise SpecError(where, expected="a file in the spec's folder", got=repr(name), hint=hint)
    try:
        if not path.is_file():
            if path.exists():
                raise SpecError(where, expected="a file", got=f"{name!r}, which is none")
            there = path.parent.iterdir() if path.parent.is_dir() else ()
            names = [one.relative_to(base).as_posix() for one in there]
            got = f"{name!r}, which is not there"
            raise SpecError(where, expected="a file", got=got, hint=nearest(name, names))
    except OSError as error:
        got = error.strerror or "an error"
        raise SpecError(where, expected="a file that can be read", got=got.lower()) from None
    return path


def load_array(
    path: Path,
    where: str,
    *,
    key: str | None = None,
    name: str = "",
    columns: int | Sequence[int] | None = None,
    skip: int = 0,
) -> Array:
    """The array that a spec names: by ``key`` (else ``name``, else the only one) of an ``.npz``,
    of an ``.npy``, or of the ``columns`` of a ``.csv`` after ``skip`` lines.
    """
    suffix = path.suffix.lower()
    if key is not None and suffix != ".npz":
        raise SpecError(where, expected="key: for an .npz file", got=f"a {suffix or 'plain'} file")
    if (columns is not None or skip) and suffix != ".csv":
        raise SpecError(
            where, expected="columns: and skip: for a .csv file", got=f"a {suffix or 'plain'} file"
        )
    if suffix == ".npz":
        return _from_npz(path, where, key, name)
    if suffix == ".npy":
        found: Array = _guarded(path, where, lambda: _npy_file(path, where))
        return found
    if suffix == ".csv":
        return _csv(path, where, columns, skip)
    raise SpecError(where, expected="an .npz, .npy or .csv file", got=repr(path.name))


def load_npz(path: Path, where: str) -> dict[str, Array]:
    """All arrays of an ``.npz``, by name; their sizes together are bounded."""

    def read() -> dict[str, Array]:
        with zipfile.ZipFile(path) as archive:
            names = [one.removesuffix(".npy") for one in archive.namelist()]
            total = sum(info.file_size for info in archive.infolist())
            _bound(where, total)
            return {name: _member(archive, name, where) for name in names}

    found: dict[str, Array] = _guarded(path, where, read)
    return found


def _from_npz(path: Path, where: str, key: str | None, name: str) -> Array:
    def read() -> Array:
        with zipfile.ZipFile(path) as archive:
            names = [one.removesuffix(".npy") for one in archive.namelist()]
            wanted = key if key is not None else name
            if wanted not in names:
                if key is not None or len(names) != 1:
                    raise SpecError(
                        where,
                        expected=f"an array in {path.name} ({', '.join(names[:12])})",
                        got=repr(wanted),
                        hint=nearest(wanted, names) or "name it with key:",
                    )
                wanted = names[0]
            return _member(archive, wanted, where)

    found: Array = _guarded(path, where, read)
    return found


def _member(archive: zipfile.ZipFile, name: str, where: str) -> Array:
    info = next(one for one in archive.infolist() if one.filename.removesuffix(".npy") == name)
    _bound(where, info.file_size)
    with archive.open(info) as file:
        return read_npy(file, info.file_size, f"{where}: {name}")


def _npy_file(path: Path, where: str) -> Array:
    size = path.stat().st_size
    _bound(where, size)
    with path.open("rb") as file:
        return read_npy(file, size, where)


def read_npy(file: IO[bytes], size: int, where: str) -> Array:
    """The array of an open ``.npy`` of ``size`` bytes, as float64.

    The header is read first: :class:`SpecError` for what is no array of real numbers, or where
    the header promises more than there is; never unpickles.
    """
    try:
        version = npy.read_magic(file)
    except ValueError:
        raise SpecError(where, expected="an .npy file", got="other data") from None
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(file)
    else:
        raise SpecError(where, expected="an .npy file of version 1 or 2", got=f"version {version}")
    if dtype.kind not in "fiub":
        raise SpecError(where, expected="an array of real numbers", got=f"an array of {dtype}")
    if any(n < 0 for n in shape) or len(shape) > MAX_AXES:
        raise SpecError(where, expected=f"a shape of at most {MAX_AXES} axes", got=str(shape)[:60])
    count = math.prod(shape)
    _bound(where, 8 * count)
    if count * dtype.itemsize > size:
        raise SpecError(where, expected=f"{count} numbers, as its header says", got="fewer")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise SpecError(where, expected=f"{count} numbers, as its header says", got="fewer")
    array = np.frombuffer(data, dtype=dtype, count=count)
    return array.reshape(shape, order="F" if fortran else "C").astype(np.float64)


def _bound(where: str, size: int) -> None:
    if size > MAX_DATA:
        raise TooLargeError(
            where, expected=f"data of at most {readable(MAX_DATA)}", got=readable(size)
        )


def _guarded(path: Path, where: str, read: Any) -> Any:
    """``read()``, with the errors of damaged files as one of ours."""
    try:
        return read()
    except _BROKEN as error:
        got = " ".join(str(error).split())[:100] or type(error).__name__
        raise SpecError(
            where, expected=f"a {path.suffix} file of arrays", got=f"{path.name}: {got}"
        ) from None


def _csv(path: Path, where: str, columns: int | Sequence[int] | None, skip: int) -> Array:
    """Rows of numbers; one number for ``columns`` gives a vector, a list of them a matrix."""
    _bound(where, path.stat().st_size)
    rows: list[list[float]] = []
    picked = [columns] if isinstance(columns, int) else columns
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if reader.line_num > skip and row:
                    place = f"{where}: {path.name}:{reader.line_num}"
                    rows.append(_numbers(row, picked, place))
                    if len(rows[-1]) != len(rows[0]):
                        raise SpecError(
                            place, expected=f"{len(rows[0])} numbers", got=str(len(rows[-1]))
                        )
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        got = " ".join(str(error).split())[:100]
        raise SpecError(f"{where}: {path.name}", expected="a CSV file in UTF-8", got=got) from None
    if not rows:
        raise SpecError(f"{where}: {path.name}", expected="rows of numbers", got="none")
    array = np.array(rows, dtype=np.float64)
    return array[:, 0] if isinstance(columns, int) else array


def _numbers(row: Sequence[str], columns: Sequence[int] | None, place: str) -> list[float]:
    found = []
    for column in range(len(row)) if columns is None else columns:
        if not 0 <= column < len(row):
            raise SpecError(
                place, expected=f"a column from 0 to {len(row) - 1}", got=f"column {column}"
            )
        text = row[column].strip()
        try:
            number = float(text)
        except ValueError:
            number = None
        if number is None or "_" in text:
            raise SpecError(
                f"{place} (column {column})",
                expected="a number",
                got=repr(text[:40]),
                hint="skip: 1 passes over a line of headings, columns: [0, 1] picks columns",
            )
        found.append(number)
    return found
