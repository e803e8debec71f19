"""Families of ops that move entries: the Jacobian is found by running the op on positions."""

from __future__ import annotations

import dataclasses
import operator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphengine.errors import OpError
from graphengine.jacobian import Jacobian, Rule
from graphengine.jacobian.terms import Index, Side, Term
from graphengine.ops.base import ATOM, Array, Op, Shape, Written
from graphengine.tracing import INT, known, recorded

__all__ = ["Moving", "Rearrangement", "along", "places", "whole"]


class Moving(Op):
    """An op whose parameters are whole numbers: sizes, axes, counts."""

    family = "rearrangement"

    def __post_init__(self) -> None:
        """Make the parameters plain whole numbers; :class:`OpError` for anything else."""
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if given is not None or field.default is not None:
                several = "tuple" in str(field.type)
                value = _plain(given, f"{self.name}: {field.name}", several=several)
                object.__setattr__(self, field.name, value)

    def written(self, *args: Written) -> Written:
        """``reshape(x, [2, 3])``: what has no default stands in its place, the rest has a name."""
        given = ", ".join(arg.text for arg in args)
        shown = ["[" + given + "]" if self.variadic else given]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            text = str(list(value)) if isinstance(value, tuple) else str(value)
            if field.default is dataclasses.MISSING:
                shown.append(text)
            elif value != field.default:
                shown.append(f"{field.name}={text}")
        return Written(f"{self.name}({', '.join(shown)})", ATOM)


class Rearrangement(Moving):
    """An op of one argument each of whose output entries is one entry of the input."""

    def d_x(self, out: Array, x: Array) -> Rule | Jacobian:
        """A 1 in each row, where the entry came from."""
        cached = out.size + max(x.shape, default=1) <= _SMALL
        return (_moved if cached else _moved.__wrapped__)(self, x.shape)


_SMALL = 2**17  # entries; what is larger is not held


@lru_cache(maxsize=64)
def _moved(op: Rearrangement, in_shape: Shape) -> Jacobian:
    """The Jacobian of a rearrangement: its forward function, run on positions.

    The positions on each axis are repeated along the others without being stored, so that the
    work is that of the output.
    """
    total: NDArray[np.intp] = np.asarray(op.forward(np.broadcast_to(np.intp(0), in_shape)))
    stride = 1
    for axis in reversed(range(len(in_shape))):
        place = np.arange(in_shape[axis]).reshape((-1,) + (1,) * (len(in_shape) - axis - 1))
        if in_shape[axis] != 1:
            total = total + stride * np.asarray(op.forward(np.broadcast_to(place, in_shape)))
        stride *= in_shape[axis]
    return Jacobian.rearrangement(total, in_shape)


def along(inner: Jacobian, axis: int, shape: Shape) -> Jacobian:
    """``I ⊗ inner ⊗ I``: ``inner`` acts on one axis of an array of ``shape``, whose other axes
    stay as they are.

    >>> swap = Jacobian.rearrangement(np.array([1, 0]), (2,))
    >>> along(swap, 1, (1, 2)).toarray()
    array([[0., 1.],
           [1., 0.]])
    """
    before, after = shape[:axis], shape[axis + 1 :]
    out, into = (before + middle + after for middle in (inner.out_shape, inner.in_shape))
    if 0 in out or 0 in into:
        return Jacobian.zero(out, into)
    return Jacobian(out, into, tuple(_along(part, axis, shape) for part in inner.terms))


def _along(part: Term, axis: int, shape: Shape) -> Term:
    start = max(part.sizes, default=-1) + 1
    others = {start + k: n for k, n in enumerate(shape) if k != axis and n != 1}
    before = tuple(label for label in others if label < start + axis)
    after = tuple(label for label in others if label > start + axis)

    def side(inner: Side) -> Side:
        view = tuple(others[k] for k in before), tuple(others[k] for k in after)
        index = tuple(Index(k) for k in before), tuple(Index(k) for k in after)
        return Side(view[0] + inner.view + view[1], index[0] + inner.axes + index[1])

    return dataclasses.replace(
        part, out=side(part.out), into=side(part.into), sizes={**part.sizes, **others}
    )


def _plain(given: Any, where: str, *, several: bool) -> int | tuple[int, ...]:
    """A whole number, or a tuple of them where ``several`` may stand."""
    try:
        if several and isinstance(given, (tuple, list, np.ndarray)):
            return tuple(operator.index(one) for one in given)
        return operator.index(given)
    except TypeError:
        expected = "whole numbers" if several else "a whole number"
        raise OpError(where, expected=expected, got=f"{given!r:.60}") from None


@recorded(lambda given, *_: given.shape, INT)
def whole(given: Array, low: int, high: int) -> NDArray[np.intp]:
    """``given`` as whole numbers from ``low`` to ``high`` − 1."""
    found = np.asarray(given).astype(np.intp)
    if np.any((found != given) | (found < low) | (found >= high)):
        raise IndexError(f"expected whole numbers from {low} to {high - 1}")
    return found


def places(given: Array, low: int, high: int, where: str) -> NDArray[np.intp]:
    """``given`` as whole numbers from ``low`` up to ``high`` − 1; :class:`OpError` otherwise."""
    if not known(given):
        return whole(given, low, high)  # type: ignore[no-any-return]  # stands for an array
    array = np.asarray(given)
    wrong = ~((array == np.floor(array)) & (array >= low) & (array < high))
    if wrong.any():
        at = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise OpError(
            where,
            expected=f"whole numbers from {low} to {high - 1}",
            got=f"{float(array[at]):g}" + (f" at {list(at)}" if at else ""),
        )
    found: NDArray[np.intp] = array.astype(np.intp)
    return found
