"""Traced arrays joined, and entries of them picked by position; what they say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphengine.tracing.elementwise import type_of
from graphengine.tracing.tape import (
    FLOAT,
    HANDLED,
    INT,
    Traced,
    Untraceable,
    as_array,
    handles,
    known,
    tape_of,
)
from graphengine.tracing.views import axes_of, picked, reshaped

HANDLED.update(
    {
        np.shape: lambda x: x.shape,
        np.ndim: lambda x: x.ndim,
        np.iscomplexobj: lambda x: False,
        np.real: lambda x: x,
        np.copy: lambda x: x,
    }
)


@handles(np.size)
def _size(x: Traced, axis: int | None = None) -> int:
    return x.size if axis is None else x.shape[axis]


# --- joins --------------------------------------------------------------------------------


@handles(np.concatenate)
def _concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Traced:
    parts = tuple(as_array(array) for array in arrays)
    if axis is None:
        return _concatenate([part.reshape(-1) for part in parts])
    shapes = [part.shape for part in parts]
    (place,) = axes_of(axis, len(shapes[0]))
    rests = {(*shape[:place], *shape[place + 1 :]) for shape in shapes}
    if len(rests) > 1:
        raise ValueError(f"shapes {shapes} along axis {axis}")
    shape = (*shapes[0][:place], sum(s[place] for s in shapes), *shapes[0][place + 1 :])
    dtype = np.result_type(*map(type_of, parts))
    return tape_of(parts).record("concatenate", parts, {"axis": place}, shape, dtype)


@handles(np.stack)
def _stack(arrays: Sequence[Any], axis: int = 0) -> Traced:
    parts = tuple(as_array(array) for array in arrays)
    if len({part.shape for part in parts}) > 1:
        raise ValueError("shapes that differ")
    (place,) = axes_of(axis, parts[0].ndim + 1)
    shape = (*parts[0].shape[:place], len(parts), *parts[0].shape[place:])
    dtype = np.result_type(*map(type_of, parts))
    return tape_of(parts).record("stack", parts, {"axis": place}, shape, dtype)


# --- entries by position ------------------------------------------------------------------


def taken(x: Any, indices: Any, axis: int) -> Any:
    """``np.take``: the positions may be traced alone (NumPy asks the array alone)."""
    return np.take(x, indices, axis) if known(indices) else _take(x, indices, axis)


@handles(np.take)
def _take(x: Any, indices: Any, axis: int | None = None) -> Traced:
    whole = as_array(x)
    if axis is None:
        return _take(whole.reshape(-1), indices, 0)
    (place,) = axes_of(axis, whole.ndim)
    return picked(whole, (slice(None),) * place + (as_array(indices),))


@handles(np.take_along_axis)
def _take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Traced:
    args = as_array(x), as_array(indices)
    if axis is None:
        return _take_along_axis(args[0].reshape(-1), indices, 0)
    (place,) = axes_of(axis, args[0].ndim)
    if args[0].ndim != args[1].ndim or args[1].dtype.kind not in "iu":
        raise ValueError("whole numbers, as many axes as the array")
    stack, count = list(args[0].shape), args[1].shape[place]
    stack[place] = count
    shape = np.broadcast_shapes(tuple(stack), args[1].shape)
    return tape_of(args).record(np.take_along_axis, args, {"axis": place}, shape, args[0].dtype)


@handles(np.repeat)
def _repeat(x: Any, repeats: Any, axis: int | None = None) -> Traced:
    if not known(repeats):
        raise Untraceable("the numbers of repeats decide the shape of the result")
    if axis is None:
        return _repeat(reshaped(x, -1), repeats, 0)
    (place,) = axes_of(axis, x.ndim)
    table = np.repeat(np.arange(x.shape[place]), repeats)
    return picked(x, (slice(None),) * place + (table,))


@handles(np.bincount)
def _bincount(places: Any, weights: Any = None, minlength: int = 0) -> Traced:
    """Traced positions are taken to be less than ``minlength``."""
    size = minlength
    if known(places) and np.size(places):
        size = max(size, int(np.max(places)) + 1)
    args, params = (places, weights), {"minlength": size}
    dtype = FLOAT if weights is not None and np.size(places) else INT  # as NumPy has it
    return tape_of(args).record(np.bincount, args, params, (size,), dtype)


# --- diagonals ----------------------------------------------------------------------------


@handles(np.diagonal)
def _diagonal(x: Traced, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Traced:
    params = {"offset": offset, "axis1": axis1, "axis2": axis2}
    shape = np.broadcast_to(np.int8(0), x.shape).diagonal(offset, axis1, axis2).shape
    return x.tape.record(np.diagonal, (x,), params, shape, x.dtype, view=True)


@handles(np.trace)
def _trace(x: Traced, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return np.sum(_diagonal(x, offset, axis1, axis2), axis=-1)


@handles(np.diag)
def _diag(x: Traced, k: int = 0) -> Traced:
    if x.ndim == 2:
        return _diagonal(x, k)
    (size,) = x.shape
    n = size + abs(k)
    return x.tape.record(np.diag, (x,), {"k": k} if k else {}, (n, n), x.dtype)
