"""Parameters of ops: their declared types, and values that are checked against them."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphengine.ops.base import Op

__all__ = ["declared", "described", "fits", "in_words", "plain"]

_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    type(None): "None",
}


def declared(
    op: type[Op], places: tuple[Any, ...], parameters: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and declared type of each parameter given, by place or by name."""
    hints = _hints(op)  # type: ignore[arg-type]  # a class can be hashed
    for name, value in [*zip(hints, places, strict=False), *parameters.items()]:
        if name in hints:
            yield name, value, hints[name]


@functools.cache
def _hints(op: type[Op]) -> dict[str, Any]:
    """The declared types of an op's parameters, in their order; what cannot be read is free."""
    try:
        hints = typing.get_type_hints(op)
    except (NameError, TypeError, AttributeError):  # names of the module of a caller's own op
        hints = {}
    fields = dataclasses.fields(op)  # type: ignore[arg-type]  # each op is one
    return {field.name: hints.get(field.name, Any) for field in fields}


def fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the declared type ``hint``.

    >>> fits((1, 2), tuple[int, ...]), fits(1, float), fits(True, int), fits(None, int | None)
    (True, True, False, True)
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return any(fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1] is Ellipsis:
            return all(fits(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(fits, value, inner))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in {bool, type(None)}:
        return isinstance(value, hint)
    return True


def plain(value: Any) -> Any:
    """A parameter as frozen values: lists become tuples, NumPy's numbers Python's own.

    >>> plain([1, [2, 3]])
    (1, (2, 3))
    """
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def in_words(hint: Any) -> str:
    """A declared type in words.

    >>> in_words(int | tuple[int, ...] | None)
    'a whole number or a list of whole numbers or None'
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(map(in_words, inner))
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"a list [{', '.join(map(in_words, inner))}]"
    if origin is tuple:
        return f"a list of {in_words(inner[0]).removeprefix('a ')}s"
    return _WORDS.get(hint, str(hint))


def described(value: Any) -> str:
    """A parameter's value as formula text, shortened."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(described, value[:8])) + ("…" if len(value) > 8 else "") + "]"
    return repr(value)
