"""Views of traced arrays: reshape, transpose, broadcast, indexing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from graphengine.tracing.tape import Shape, Traced, Untraceable, as_array, handles, tape_of

# --- the same entries in another order -----------------------------------------------------


@handles(np.reshape)
def reshaped(x: Traced, shape: Any, order: str = "C") -> Traced:
    """``np.reshape`` in C order."""
    if order != "C":
        raise Untraceable(f"reshape in order {order!r}")
    sizes = _sizes(shape)
    if -1 in sizes:
        rest = -math.prod(sizes)
        sizes = tuple(x.size // rest if n == -1 else n for n in sizes)
    if math.prod(sizes) != x.size:
        raise ValueError(f"shape {x.shape} as {sizes}")
    while x.step.call is np.reshape:
        x = x.step.args[0]
    if sizes == x.shape:
        return x
    return x.tape.record(np.reshape, (x,), {"shape": sizes}, sizes, x.dtype, view=True)


@handles(np.transpose)
def transposed(x: Traced, axes: Any = None) -> Traced:
    """``np.transpose``."""
    order = tuple(range(x.ndim))[::-1] if axes is None else _axes(axes, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(f"axes {axes} of {x.ndim}")
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


@handles(np.broadcast_to)
def repeated(x: Traced, shape: Any) -> Traced:
    """``np.broadcast_to``."""
    sizes = _sizes(shape)
    if sizes == x.shape:
        return x
    if np.broadcast_shapes(x.shape, sizes) != sizes:
        raise ValueError(f"shape {x.shape} repeated to {sizes}")
    return x.tape.record(np.broadcast_to, (x,), {"shape": sizes}, sizes, x.dtype, view=True)


@handles(np.ravel)
def _raveled(x: Traced, order: str = "C") -> Traced:
    return reshaped(x, -1, order)


@handles(np.matrix_transpose)
def _matrix_transposed(x: Traced) -> Traced:
    return _swapped(x, -1, -2)


@handles(np.swapaxes)
def _swapped(x: Traced, axis1: int, axis2: int) -> Traced:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transposed(x, order)


@handles(np.expand_dims)
def _expanded(x: Traced, axis: Any) -> Traced:
    ndim = x.ndim + (len(axis) if isinstance(axis, tuple) else 1)
    new = _axes(axis, ndim)
    sizes = iter(x.shape)
    return reshaped(x, tuple(1 if k in new else next(sizes) for k in range(ndim)))


@handles(np.squeeze)
def _squeezed(x: Traced, axis: Any = None) -> Traced:
    ones = [k for k, n in enumerate(x.shape) if n == 1]
    gone = ones if axis is None else axes_of(axis, x.ndim)
    return reshaped(x, tuple(n for k, n in enumerate(x.shape) if k not in gone))


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes (None: all) counted from the front, in their order."""
    return tuple(range(ndim)) if axis is None else tuple(sorted(_axes(axis, ndim)))


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    found: tuple[int, ...] = normalize_axis_tuple(axis, ndim)
    return found


def _sizes(shape: Any) -> Shape:
    return tuple(map(int, shape)) if isinstance(shape, (tuple, list)) else (int(shape),)


# --- indexing -----------------------------------------------------------------------------


@handles("getitem")
def picked(x: Any, key: Any) -> Traced:
    """``x[key]``: positions may be traced themselves.

    The step has ``x`` and the tables of positions as arguments; in its ``key`` the pair
    ``("array", k)`` stands for the table number k.
    """
    arrays: list[Any] = []
    plan, dummy = [], []
    for item in key if isinstance(key, tuple) else (key,):
        plan.append(item)
        dummy.append(item)
        if isinstance(item, (Traced, np.ndarray, list)):
            array = as_array(item, np.intp if isinstance(item, list) and not item else None)
            plan[-1], dummy[-1] = ("array", len(arrays)), _positions(array)
            arrays.append(array)
    shape = np.broadcast_to(np.int8(0), x.shape)[tuple(dummy)].shape
    if not arrays and all(map(_whole, plan)):
        return reshaped(x, shape)
    args, params = (x, *arrays), {"key": tuple(plan)}
    return tape_of(args).record("getitem", args, params, shape, x.dtype, view=not arrays)


def _positions(table: Any) -> Any:
    """A table for the sake of its shape: whatever the positions are, that of the result is one."""
    if not isinstance(table, Traced):
        return table
    if table.dtype.kind not in "iu":
        raise Untraceable("a mask decides the shape of the result")
    return np.zeros(table.shape, np.intp)


def _whole(item: Any) -> bool:
    """Whether an item keeps a whole axis, or puts one of size 1 in."""
    return item is Ellipsis or item is None or (isinstance(item, slice) and item == slice(None))
