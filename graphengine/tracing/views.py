"""Views of traced arrays: reshape, transpose, broadcast, indexing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphengine.tracing.tape import HANDLED, Shape, Traced, handles, tape_of


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, in their order."""
    given = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(int(k) % ndim for k in given))


def reshaped(x: Traced, shape: Any) -> Traced:
    """``np.reshape`` in C order."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (int(shape),)
    if -1 in sizes:
        rest = math.prod(n for n in sizes if n != -1)
        sizes = tuple(x.size // rest if n == -1 else n for n in sizes)
    while x.step.call is np.reshape:
        x = x.step.args[0]
    if sizes == x.shape:
        return x
    return x.tape.record(np.reshape, (x,), {"shape": sizes}, sizes, x.dtype, view=True)


def transposed(x: Traced, axes: Any) -> Traced:
    """``np.transpose``."""
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple(int(k) % x.ndim for k in axes)
    if x.step.call is np.transpose:
        inner = x.step.params["axes"]
        order, x = tuple(inner[k] for k in order), x.step.args[0]
    if order == tuple(range(x.ndim)):
        return x
    shape = tuple(x.shape[k] for k in order)
    moved = [k for k in order if x.shape[k] != 1]
    if moved == sorted(moved):  # axes of size 1 alone change their places
        return reshaped(x, shape)
    return x.tape.record(np.transpose, (x,), {"axes": order}, shape, x.dtype, view=True)


def repeated(x: Any, shape: Any) -> Traced:
    """``np.broadcast_to``."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (int(shape),)
    if sizes == x.shape:
        return x  # type: ignore[no-any-return]  # a traced array
    found: Traced = x.tape.record(
        np.broadcast_to, (x,), {"shape": sizes}, sizes, x.dtype, view=True
    )
    return found


@handles("getitem")
def picked(x: Any, key: Any) -> Traced:
    """``x[key]``: positions may be traced themselves."""
    items = key if isinstance(key, tuple) else (key,)
    arrays, plan, dummy = [], [], []
    for item in items:
        if isinstance(item, (Traced, np.ndarray, list)):
            array = item if isinstance(item, Traced) else np.asarray(item)
            plan.append(("array", len(arrays)))
            arrays.append(array)
            dummy.append(np.zeros(array.shape, np.intp) if isinstance(array, Traced) else array)
        else:
            plan.append(item)
            dummy.append(item)
    shape = np.empty(x.shape, np.int8)[tuple(dummy)].shape if x.size or arrays else _of(x, dummy)
    if not arrays and shape == x.shape and all(_whole(item) for item in items):
        return x  # type: ignore[no-any-return]  # a traced array
    tape = tape_of((x, *arrays))
    dtype = x.dtype
    params = {"key": tuple(plan)}
    return tape.record("getitem", (x, *arrays), params, shape, dtype, view=not arrays)


def _of(x: Any, key: list[Any]) -> Shape:
    return np.empty(x.shape, np.int8)[tuple(key)].shape


def _whole(item: Any) -> bool:
    return item is Ellipsis or (isinstance(item, slice) and item == slice(None))


HANDLED.update(
    {
        np.reshape: lambda x, shape=None, order="C", **_: reshaped(x, shape),
        np.ravel: lambda x, order="C": reshaped(x, -1),
        np.transpose: lambda x, axes=None: transposed(x, axes),
        np.matrix_transpose: lambda x: transposed(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)),
        np.broadcast_to: lambda x, shape, subok=False: repeated(x, shape),
    }
)


@handles(np.swapaxes)
def _swapaxes(x: Traced, axis1: int, axis2: int) -> Traced:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transposed(x, order)


@handles(np.expand_dims)
def _expand_dims(x: Traced, axis: Any) -> Traced:
    axes = axis if isinstance(axis, tuple) else (axis,)
    ndim = x.ndim + len(axes)
    new = {k % ndim for k in axes}
    sizes = iter(x.shape)
    return reshaped(x, tuple(1 if k in new else next(sizes) for k in range(ndim)))


@handles(np.squeeze)
def _squeeze(x: Traced, axis: Any = None) -> Traced:
    gone = {k for k, n in enumerate(x.shape) if n == 1} if axis is None else axes_of(axis, x.ndim)
    return reshaped(x, tuple(n for k, n in enumerate(x.shape) if k not in gone))
