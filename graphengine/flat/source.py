"""The text of a program by itself: imports, constants, helpers, buffers, the function."""

from __future__ import annotations

import base64
import inspect
import textwrap
import zlib
from collections import UserString
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from graphengine.flat.program import Program

__all__ = ["Source"]

SHOWN = 64
"""Constants of so many entries are written out, larger ones packed."""


class Source(UserString):
    """The text of a program, written when it is first read."""

    def __init__(self, program: Program, title: str) -> None:
        self._program, self._title = program, title

    @cached_property
    def data(self) -> str:  # type: ignore[override]  # made when it is asked for
        """The text."""
        return _source(self._program, self._title)


def _source(program: Program, title: str) -> str:
    """The whole text, which runs with NumPy and SciPy alone."""
    body = program.function(comments=True)
    blocks = list(_helpers(program))
    blocks += [f"{name} = {_constant(value)}" for name, value in program.constants.items()]
    blocks += program.setup
    text = "\n".join([*blocks, body])
    head = f'"""{_one_line(title)}: flat code."""\n\n'
    return head + _imports(text) + "\n\n" + _spaced(blocks, body)


def _one_line(name: str) -> str:
    plain = name.replace("\\", " ").replace('"', "'")
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def _spaced(blocks: list[str], body: str) -> str:
    return "\n".join(blocks) + ("\n\n\n" if blocks else "") + body


def _imports(text: str) -> str:
    found = []
    if "_unpacked(" in text:
        found += ["import base64", "import zlib", ""]
    if "math." in text:
        found = ["import math", *found] if not found else [found[0], "import math", *found[1:]]
        if found == ["import math"]:
            found.append("")
    if "numba." in text:
        found.append("import numba")
    if "np." in text:
        found.append("import numpy as np")
    if "scipy.special." in text:
        found.append("import scipy.special")
    libraries = [name for name in ("blas", "lapack") if f"{name}." in text]
    if libraries:
        found.append(f"from scipy.linalg import {', '.join(libraries)}")
    if "csr_array" in text:
        found.append("from scipy.sparse import csr_array")
    return "\n".join(found) + "\n"


def array(given):  # type: ignore[no-untyped-def]  # its text stands in programs
    """Real numbers as an array of floats."""
    found = np.asarray(given)
    if found.dtype.kind not in "fiub":
        raise TypeError(f"expected real numbers, got {found.dtype}")
    return found.astype(float)


def _helpers(program: Program) -> Iterator[str]:
    """The text of the functions that the program calls."""
    if not program.numbers_alone:
        yield _headed("def _array(given):", array)
    if any(_packed(value) for value in program.constants.values()):
        yield _headed("def _unpacked(text, dtype, shape):", _unpacked) + "\n"
    for name, function in program.functions.items():
        if hasattr(function, "text"):  # of a compiled loop
            yield f"{function.text}\n"
            continue
        plain = getattr(function, "__wrapped__", function)
        if not inspect.isfunction(plain):
            yield f"{name} = None  # {_one_line(repr(function))}: an op without a text of its own\n"
            continue
        text = textwrap.dedent(inspect.getsource(plain))
        head = text.index("def ")
        rest = text[text.index("(", head) :]
        yield f"def {name}{_untyped(rest)}\n"


def _headed(head: str, function: Callable[..., Any]) -> str:
    """A function's text under this first line."""
    text = inspect.getsource(function)
    return head + text[text.index("\n") :]


def _untyped(text: str) -> str:
    """A function's text from its brackets on, without its types."""
    depth = 0
    for place, char in enumerate(text):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(char, 0)
        if depth == 0:
            head, tail = text[1:place], text[place + 1 :]
            break
    names = [part.partition(":")[0].strip() for part in _split(head)]
    return f"({', '.join(names)}):" + tail[tail.index(":\n") + 1 :].rstrip()


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


# --- constants ----------------------------------------------------------------------------


def _packed(value: Any) -> bool:
    return isinstance(value, csr_array) or np.size(value) > SHOWN


def _constant(value: Any) -> str:
    if isinstance(value, csr_array):
        parts = ", ".join(_constant(part) for part in (value.indices, value.indptr))
        count = len(value.indices)
        return f"csr_array((np.broadcast_to(0.0, {count}), {parts}), shape={value.shape})"
    array = np.ascontiguousarray(value)
    if array.size <= SHOWN:
        shape = f".reshape({array.shape})" if array.ndim > 1 or not array.size else ""
        return f"np.array({array.reshape(-1).tolist()!r}, np.{array.dtype.name}){shape}".replace(
            "inf", "np.inf"
        ).replace("nan", "np.nan")
    text = base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()
    return f"_unpacked({text!r}, {array.dtype.name!r}, {array.shape})"


def _unpacked(text, dtype, shape):  # type: ignore[no-untyped-def]  # its text stands in programs
    """An array from its packed bytes."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype).reshape(shape)
