"""NumPy's functions on traced arrays: reductions, products, linear algebra, joins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphengine.tracing.tape import (
    BOOL,
    FLOAT,
    HANDLED,
    INT,
    Shape,
    Traced,
    Untraceable,
    handles,
    tape_of,
)
from graphengine.tracing.views import axes_of, picked, reshaped


def _reduction(call: Any, dtype: np.dtype[Any] | None = FLOAT) -> Callable[..., Any]:
    def reduced(
        x: Traced, axis: Any = None, *_: Any, keepdims: Any = False, initial: Any = None, **__: Any
    ) -> Any:
        axes = axes_of(axis, x.ndim)
        keep = keepdims is True
        count = math.prod(x.shape[k] for k in axes)
        shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape) if keep or k not in axes)
        if count == 1 and dtype is not BOOL and call is not np.mean:
            return reshaped(x, shape)
        params: dict[str, Any] = {"axis": None if len(axes) == x.ndim else axes, "keepdims": keep}
        if count == 0 and isinstance(initial, (int, float)):
            params["initial"] = float(initial)
        return x.tape.record(call, (x,), params, shape, x.dtype if dtype is None else dtype)

    return reduced


def _reduced_ufunc(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``reduce`` of a ufunc, whose axis is the first one unless it is given."""
    return lambda x, axis=0, dtype=None, out=None, keepdims=False, **_: function(
        x, axis, keepdims=keepdims
    )


_sum, _max, _min = (_reduction(call) for call in (np.sum, np.max, np.min))
HANDLED.update(
    {
        np.sum: _sum,
        np.max: _max,
        np.min: _min,
        np.prod: _reduction(np.prod),
        np.mean: _reduction(np.mean),
        np.any: _reduction(np.any, BOOL),
        np.all: _reduction(np.all, BOOL),
        (np.add, "reduce"): _reduced_ufunc(_sum),
        (np.maximum, "reduce"): _reduced_ufunc(_max),
        (np.minimum, "reduce"): _reduced_ufunc(_min),
        np.shape: lambda x: x.shape,
        np.ndim: lambda x: x.ndim,
        np.size: lambda x, axis=None: x.size,
        np.iscomplexobj: lambda x: False,
        np.real: lambda x: x,
        np.copy: lambda x, **_: x,
    }
)


@handles((np.matmul, "__call__"))
def _matmul(a: Any, b: Any) -> Traced:
    left, right = np.shape(a), np.shape(b)
    if len(left) == len(right) == 2 and 1 in {left[0], right[1]} and left[1] > 1:
        row = a.reshape(-1) if left[0] == 1 else a  # a row and a column as vectors
        column = b.reshape(-1) if right[1] == 1 else b
        return reshaped(_matmul(row, column), (left[0], right[1]))
    stack = np.broadcast_shapes(left[:-2], right[:-2])
    shape = stack + left[-2:-1] + (right[-1:] if len(right) > 1 else ())
    return tape_of((a, b)).record(np.matmul, (a, b), {}, shape)


def _like(call: Any, names: str = "") -> Callable[..., Any]:
    """A function whose result has the shape of its first argument."""

    def called(x: Traced, *args: Any, **params: Any) -> Traced:
        given = {**dict(zip(names.split(), args, strict=False)), **params}
        return x.tape.record(call, (x,), given, x.shape)

    return called


for _function in (np.linalg.inv, np.linalg.cholesky):
    handles(_function)(_like(_function))
handles(np.cumsum)(_like(np.cumsum, "axis"))
handles(np.linalg.det)(lambda x: x.tape.record(np.linalg.det, (x,), {}, x.shape[:-2]))


@handles(np.linalg.slogdet)
def _slogdet(x: Traced) -> tuple[Traced, Traced]:
    """Sign and logarithm: two calls, of which the one that is not needed is left out."""
    pair = x.tape.record(np.linalg.slogdet, (x,), {}, (2, *x.shape[:-2]))
    sign, log = (x.tape.record("item", (pair,), {"place": place}, x.shape[:-2]) for place in (0, 1))
    return sign, log


@handles(np.linalg.solve)
def _solve(a: Any, b: Any) -> Traced:
    left, right = np.shape(a), np.shape(b)
    stack = left[:-2] if len(right) == 1 else np.broadcast_shapes(left[:-2], right[:-2])
    shape = stack + (right if len(right) == 1 else right[-2:])
    return tape_of((a, b)).record(np.linalg.solve, (a, b), {}, shape)


@handles(np.dot)
def _dot(a: Any, b: Any) -> Traced:
    """Of vectors and matrices, as the matrix product has it."""
    if np.ndim(a) > 2 or np.ndim(b) > 2 or 0 in {np.ndim(a), np.ndim(b)}:
        raise Untraceable("dot")
    return _matmul(a, b)


@handles(np.outer)
def _outer(a: Any, b: Any) -> Traced:
    found: Traced = a[:, None] * b[None, :]
    return found


@handles(np.trace)
def _trace(x: Traced, offset: int = 0, axis1: int = 0, axis2: int = 1, **_: Any) -> Traced:
    return _diagonal(x, offset, axis1, axis2).sum(-1)


@handles(np.diagonal)
def _diagonal(x: Traced, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Traced:
    params = {"offset": offset, "axis1": axis1, "axis2": axis2}
    shape = np.empty(x.shape, np.int8).diagonal(offset, axis1, axis2).shape
    return x.tape.record(np.diagonal, (x,), params, shape, x.dtype, view=True)


@handles(np.diag)
def _diag(x: Traced, k: int = 0) -> Traced:
    if x.ndim == 2:
        return _diagonal(x, k)
    n = x.size + abs(k)
    return x.tape.record(np.diag, (x,), {"k": k} if k else {}, (n, n))


@handles(np.kron)
def _kron(a: Any, b: Any) -> Traced:
    left, right = np.shape(a), np.shape(b)
    ndim = max(len(left), len(right))
    pairs = zip((1,) * (ndim - len(left)) + left, (1,) * (ndim - len(right)) + right, strict=True)
    return tape_of((a, b)).record(np.kron, (a, b), {}, tuple(m * n for m, n in pairs))


@handles(np.einsum)
def _einsum(*operands: Any, optimize: bool = False) -> Traced:
    """Also in the form with lists of labels, which is turned into letters."""
    if not isinstance(operands[0], str):
        *pairs, out = operands
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        subscripts = ["".join(letters[k] for k in labels) for labels in pairs[1::2]]
        text = ",".join(subscripts) + "->" + "".join(letters[k] for k in out)
        operands = (text, *pairs[::2])
    text, *arrays = operands
    dummies = [np.empty((1,) * np.ndim(array)) for array in arrays]
    ndim = np.einsum(text, *dummies).ndim
    sizes: dict[str, int] = {}
    heads, arrow, tail = text.partition("->")
    stack: Shape = ()
    for labels, array in zip(heads.split(","), arrays, strict=True):
        plain = labels.replace("...", "")
        own = np.shape(array)
        stack = np.broadcast_shapes(stack, own[: len(own) - len(plain)])
        sizes.update(zip(plain, own[len(own) - len(plain) :], strict=True))
    assert arrow, "the result's labels are written out"
    shape = stack + tuple(sizes[k] for k in tail.replace("...", ""))
    assert len(shape) == ndim
    params = {"optimize": True} if len(arrays) > 2 else {}
    return tape_of(arrays).record(np.einsum, (text, *arrays), params, shape)


@handles(np.concatenate)
def _concatenate(arrays: Sequence[Any], axis: int = 0, **_: Any) -> Traced:
    shapes = [np.shape(array) for array in arrays]
    axis %= len(shapes[0])
    shape = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    return tape_of(arrays).record("concatenate", tuple(arrays), {"axis": axis}, shape)


@handles(np.stack)
def _stack(arrays: Sequence[Any], axis: int = 0, **_: Any) -> Traced:
    shape = list(np.shape(arrays[0]))
    axis %= len(shape) + 1
    shape.insert(axis, len(arrays))
    return tape_of(arrays).record("stack", tuple(arrays), {"axis": axis}, tuple(shape))


@handles(np.take)
def _take(x: Any, indices: Any, axis: int = 0, **_: Any) -> Traced:
    axis %= len(np.shape(x))
    whole = x if isinstance(x, Traced) else np.asarray(x)
    return picked(whole, (slice(None),) * axis + (indices,))


@handles(np.take_along_axis)
def _take_along_axis(x: Any, indices: Any, axis: int = -1) -> Traced:
    args, params = (x, indices), {"axis": axis}
    shape = list(np.shape(x))
    shape[axis] = np.shape(indices)[axis]
    return tape_of(args).record(np.take_along_axis, args, params, tuple(shape))


@handles(np.repeat)
def _repeat(x: Traced, repeats: Any, axis: int | None = None) -> Traced:
    source = reshaped(x, -1) if axis is None else x
    along = 0 if axis is None else axis % x.ndim
    table = np.repeat(np.arange(source.shape[along]), repeats)
    return picked(source, (slice(None),) * along + (table,))


@handles(np.bincount)
def _bincount(places: Any, weights: Any = None, minlength: int = 0) -> Traced:
    args, params = (places, weights), {"minlength": minlength}
    return tape_of(args).record(np.bincount, args, params, (minlength,))


for _function in (np.argmax, np.argmin):

    def _argument(x: Traced, axis: int, _call: Any = _function, **_: Any) -> Traced:
        shape = tuple(n for k, n in enumerate(x.shape) if k != axis % x.ndim)
        return x.tape.record(_call, (x,), {"axis": axis}, shape, INT)

    handles(_function)(_argument)
