"""Ufuncs on traced arrays, and ``where``; trivial products are simplified at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from graphengine.tracing.tape import FLOAT, DType, Shape, Traced, Untraceable, handles, tape_of

# --- operands -----------------------------------------------------------------------------


class Repeated:
    """An array that repeats one number."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape = array, array.shape
        self.number = float(array.flat[0])


def operand(arg: Any) -> Any:
    """An argument of an elementwise call: numbers as Python's own, one that repeats as such."""
    if type(arg) is Traced or type(arg) is float:
        return arg
    array = np.asarray(arg)
    if array.dtype.kind not in "fiub":
        raise Untraceable(f"an operand of type {array.dtype}")
    if array.ndim and array.size and array.dtype == FLOAT and _repeats(array):
        return Repeated(array)
    return array if array.ndim else array.item()


def _repeats(array: Any) -> bool:
    first = array.flat[0]
    if not np.all(array == first):
        return False
    return bool(first != 0 or np.all(np.signbit(array) == np.signbit(first)))


def type_of(arg: Any) -> Any:
    """What decides the type of a result: an array's type, or a number of Python."""
    return arg.dtype if isinstance(arg, (Traced, np.ndarray)) else arg


@cache
def _result_type(ufunc: np.ufunc, types: tuple[Any, ...]) -> DType:
    """The type that ``ufunc`` makes of arrays (``np.dtype``) and of Python's numbers (``type``)."""
    args = [np.empty(0, kind) if isinstance(kind, np.dtype) else kind(1) for kind in types]
    found: DType = ufunc(*args).dtype
    return found


def is_number(arg: Any) -> TypeGuard[float]:
    """Whether ``arg`` is a number of Python."""
    return isinstance(arg, (float, int))


# --- calls --------------------------------------------------------------------------------


@handles("ufunc")
def elementwise(ufunc: np.ufunc, *args: Any) -> Any:
    """A ufunc applied to traced arrays."""
    operands = tuple([operand(arg) for arg in args])
    shape: Shape = ()
    if not _all_numbers(operands):
        shape = np.broadcast_shapes(*(np.shape(arg) for arg in operands))
        if shape and math.prod(shape) == 1:
            return elementwise(ufunc, *map(_only_entry, operands)).reshape(shape)
        operands = unrepeated(operands, shape)
    simpler = _SIMPLER.get(ufunc)
    plain = simpler(operands) if simpler else None
    if plain is not None:
        return plain
    kinds = tuple([type(arg) if is_number(arg) else arg.dtype for arg in operands])
    return tape_of(operands).record(ufunc, operands, {}, shape, _result_type(ufunc, kinds))


def _all_numbers(operands: tuple[Any, ...]) -> bool:
    """Whether none of these is an array of other than no axes."""
    for arg in operands:
        if type(arg) is not float and (type(arg) is not Traced or arg.shape):
            return False
    return True


@handles(np.where)
def _where(condition: Any, x: Any, y: Any) -> Any:
    given = tuple(map(operand, (condition, x, y)))
    shape = np.broadcast_shapes(*map(np.shape, given))
    if shape and math.prod(shape) == 1:
        return np.where(*map(_only_entry, given)).reshape(shape)
    args = unrepeated(given, shape)
    dtype = np.result_type(*(type_of(arg) for arg in args[1:]))
    if is_number(given[0]):
        chosen = given[1] if given[0] else given[2]
        if isinstance(chosen, Traced) and (chosen.shape, chosen.dtype) == (shape, dtype):
            return chosen
    return tape_of(args).record(np.where, args, {}, shape, dtype)


def _only_entry(arg: Any) -> Any:
    """Of arrays with one entry numbers are computed with."""
    if isinstance(arg, Traced):
        return arg.reshape(())
    return arg if is_number(arg) else arg.number if isinstance(arg, Repeated) else arg.item()


# --- simpler calls ------------------------------------------------------------------------

Simpler: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""The result of a call where nothing is to be computed, or less; None where it is as it stands."""


def _multiplied(args: tuple[Any, ...]) -> Any:
    """``1 · x``, ``−1 · x``, ``a (b x)``, ``a (−x)``; numbers stand in front."""
    number, x = args if is_number(args[0]) else args[::-1]
    if not is_number(number) or not _is_float(x):
        return None
    if number == 1:
        return x
    if number == -1:
        return elementwise(np.negative, x)
    inner = x.step
    if inner.call is np.negative:
        return elementwise(np.multiply, -number, inner.args[0])
    if inner.call is np.multiply and is_number(inner.args[0]):
        product = number * inner.args[0]
        if _moderate(product):
            return elementwise(np.multiply, product, inner.args[1])
    return elementwise(np.multiply, number, x) if number is args[1] else None


def _negated(args: tuple[Any, ...]) -> Any:
    """``−(−x)``, ``−(a x)``."""
    inner = args[0].step
    if inner.call is np.negative:
        return inner.args[0]
    if inner.call is np.multiply and is_number(inner.args[0]) and _is_float(args[0]):
        return elementwise(np.multiply, -inner.args[0], inner.args[1])
    return None


def _raised(args: tuple[Any, ...]) -> Any:
    """``x¹``, ``x²``."""
    x, power = args
    if not _is_float(x) or not is_number(power) or power not in {1, 2}:
        return None
    return x if power == 1 else elementwise(np.square, x)


def _divided(args: tuple[Any, ...]) -> Any:
    """``x / 1``; of numbers, the logistic function by one exponential: it overflows where the
    result is next to nothing, of which Python raises an error.
    """
    x, divisor = args
    if is_number(divisor):
        return x if _is_float(x) and divisor == 1 else None
    if not _is_float(x) or x.shape or x.step.call is not np.exp:
        return None
    least = x.step.args[0].step
    if least.call is not np.minimum or not is_number(least.args[1]) or least.args[1] != 0:
        return None
    argument = least.args[0]  # a tape records equal calls once
    if divisor is not 1.0 + np.exp(np.minimum(argument, -argument)):
        return None
    return 1.0 / (1.0 + np.exp(-argument))


_SIMPLER: dict[np.ufunc, Simpler] = {
    np.multiply: _multiplied,
    np.negative: _negated,
    np.power: _raised,
    np.divide: _divided,
}


def _is_float(x: Any) -> bool:
    return isinstance(x, Traced) and x.dtype == FLOAT


def _moderate(number: float) -> bool:
    """Whether a product of two numbers may stand for both: neither overflow nor loss of digits."""
    return 1e-200 < abs(number) < 1e200


# --- repeats ------------------------------------------------------------------------------


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
