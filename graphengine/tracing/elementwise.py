"""Ufuncs on traced arrays, and ``where``; trivial products are simplified at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphengine.tracing.tape import BOOL, FLOAT, Shape, Traced, Untraceable, handles, tape_of

_TO_BOOL = frozenset(
    {"greater", "less", "greater_equal", "less_equal", "equal", "not_equal", "isfinite", "isnan"}
    | {"isinf", "signbit", "logical_and", "logical_or", "logical_not", "logical_xor"}
)
_KEEPS_TYPE = frozenset(
    {"bitwise_and", "bitwise_or", "bitwise_xor", "invert", "add", "subtract", "multiply"}
    | {"maximum", "minimum", "negative", "absolute", "remainder", "floor_divide", "sign"}
)


def operand(arg: Any) -> Any:
    """An argument of an elementwise call: numbers as Python's own."""
    if isinstance(arg, Traced):
        return arg
    array = np.asarray(arg)
    if array.dtype.kind not in "fiub":
        raise Untraceable(f"an operand of type {array.dtype}")
    if array.ndim and array.size and array.dtype.kind == "f" and np.all(array == array.flat[0]):
        return Repeated(array)
    return array if array.ndim else array.item()


class Repeated:
    """One number, repeated."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape = array, array.shape
        self.number = float(array.flat[0])


@handles("ufunc")
def elementwise(ufunc: np.ufunc, *args: Any) -> Traced:
    """A ufunc applied to traced arrays."""
    operands = tuple(map(operand, args))
    shape = np.broadcast_shapes(*(np.shape(arg) for arg in operands))
    operands = unrepeated(operands, shape)
    plain = _simpler(ufunc, operands, shape)
    if plain is not None:
        return plain
    dtype = BOOL if ufunc.__name__ in _TO_BOOL else FLOAT
    if ufunc.__name__ in _KEEPS_TYPE:
        dtype = np.result_type(*(type_of(arg) for arg in operands))
    return tape_of(operands).record(ufunc, operands, {}, shape, dtype)


def type_of(arg: Any) -> Any:
    return arg.dtype if isinstance(arg, (Traced, np.ndarray)) else arg


def _simpler(ufunc: np.ufunc, args: tuple[Any, ...], shape: Shape) -> Traced | None:
    """The result where nothing is to be computed, or less: ``x · 1``, ``−1 · x``, ``a (b x)``."""
    if ufunc is np.multiply:
        number, x = (args[0], args[1]) if isinstance(args[0], (float, int)) else args[::-1]
        if not isinstance(number, (float, int)) or not isinstance(x, Traced) or x.dtype != FLOAT:
            return None
        if number == 1:
            return x
        if number == -1:
            return elementwise(np.negative, x)
        inner = x.step
        if inner.call is np.multiply and isinstance(inner.args[0], (float, int)):
            return elementwise(np.multiply, number * inner.args[0], inner.args[1])
        if inner.call is np.negative:
            return elementwise(np.multiply, -number, inner.args[0])
        if number is args[1]:
            return elementwise(np.multiply, number, x)  # numbers stand in front
    if ufunc is np.negative and isinstance(args[0], Traced):
        inner = args[0].step
        if inner.call is np.negative:
            return inner.args[0]  # type: ignore[no-any-return]  # a traced array
        if inner.call is np.multiply and isinstance(inner.args[0], (float, int)):
            return elementwise(np.multiply, -inner.args[0], inner.args[1])
    if ufunc is np.power and isinstance(args[1], (float, int)) and args[1] in {1, 2}:
        return args[0] if args[1] == 1 else elementwise(np.square, args[0])
    if ufunc is np.divide and isinstance(args[1], (int, float)) and args[1] == 1:
        return args[0] if shape == np.shape(args[0]) else None
    return None


def unrepeated(args: tuple[Any, ...], shape: Shape) -> tuple[Any, ...]:
    """The operands without axes of size 1 and repeats that the call makes anyway."""
    found = list(args)
    for place in range(len(args)):
        others = [np.shape(o) for k, o in enumerate(found) if k != place]
        while (inner := _inner(found[place])) is not None:
            if np.broadcast_shapes(np.shape(inner), *others) != shape:
                break
            found[place] = inner
        if isinstance(found[place], Repeated):
            found[place] = found[place].array
    return tuple(found)


def _inner(arg: Any) -> Any:
    """What ``arg`` repeats, or puts axes of size 1 in front of; None where it does not."""
    if isinstance(arg, Repeated):
        return arg.number
    if not isinstance(arg, Traced):
        return None
    call = arg.step.call
    if call is np.broadcast_to:
        return arg.step.args[0]
    if call is np.reshape:
        inner = arg.step.args[0]
        rest = len(arg.shape) - len(inner.shape)
        if rest > 0 and arg.shape == (1,) * rest + inner.shape:
            return inner
    return None


@handles(np.where)
def _where(condition: Any, x: Any, y: Any) -> Traced:
    args = tuple(map(operand, (condition, x, y)))
    shape = np.broadcast_shapes(*map(np.shape, args))
    if isinstance(args[0], (bool, int, float)):
        chosen = args[1] if args[0] else args[2]
        if np.shape(chosen) == shape:
            return chosen  # type: ignore[no-any-return]  # a traced array
    dtype = np.result_type(*(type_of(arg) for arg in args[1:]))
    args = unrepeated(args, shape)
    return tape_of(args).record(np.where, args, {}, shape, dtype)
