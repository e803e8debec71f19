"""Zero times infinity is zero: where a product may meet it, the product is a guarded one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphengine.tracing.tape import Traced, known, recorded, traced


@recorded(lambda left, right: np.broadcast_shapes(np.shape(left), np.shape(right)))
def guarded_product(left: Any, right: Any) -> Any:
    """``left * right``, in which zero times anything is zero."""
    product = np.asarray(left * right)
    if not np.isfinite(product.sum()):
        zero = np.isnan(product) & ((left == 0) | (right == 0))
        product = np.where(zero, 0.0, product)
    return product


def guarded(left: Any, right: Any, product: Any) -> Any:
    """``product`` of ``left`` and ``right``, by a function in which zero times anything is zero
    where one of them may be infinite.
    """
    for one, other in ((left, right), (right, left)):
        if _infinite(one) and not (known(other) and np.all(np.asarray(other) != 0)):
            return guarded_product(left, right)
    return product


_BOTH = (math.inf, -math.inf)
_GROWS = frozenset({np.exp, np.expm1, np.sinh, np.cosh})
_POSITIVE = frozenset({np.exp, np.cosh})
_NEVER_NEGATIVE = frozenset({np.square, np.absolute, *_POSITIVE})
_MOVED = frozenset({np.reshape, np.transpose, np.broadcast_to, "getitem"})
_KEEPS_SIGN = frozenset({np.sum, np.mean, np.sqrt, *_MOVED})


def _infinite(x: Any) -> bool:
    """Whether a slope may be infinite though what it is a function of is finite.

    Quotients and logarithms, also multiplied by what is known and moved.  A gradient that comes
    down is not followed to where it came from, and for numbers Python raises an error.
    """
    while isinstance(x, Traced):
        call, args = x.step.call, x.step.args
        if not x.shape:  # of numbers Python says it, but for a constant that is infinite
            return call is np.where and any(isinstance(a, float) and a in _BOTH for a in args[1:])
        if call in _GROWS:
            return not _bounded(args[0])
        if call is np.divide:
            return not _away_from_zero(args[1])
        if call in {np.log, np.log1p, np.reciprocal}:
            return True
        if call is np.power:
            return not (known(args[1]) and np.all(np.asarray(args[1]) >= 0))
        if call is np.where:
            return any(map(_infinite, args[1:]))
        if call is np.multiply and not all(map(traced, args)):
            x = args[0] if traced(args[0]) else args[1]
        elif call in _MOVED or call is np.negative:
            x = args[0]
        else:
            return False
    return False


def _away_from_zero(x: Any) -> bool:
    """Whether it can be seen that no entry is zero."""
    if known(x):
        return bool(np.all(np.asarray(x) != 0))
    call, args = x.step.call, x.step.args
    if call is np.multiply:
        return all(map(_away_from_zero, args))
    if call in _MOVED or call is np.negative:
        return _away_from_zero(args[0])
    return _positive(x)


def _positive(x: Any) -> bool:
    """Whether it can be seen that every entry is positive (if it does not underflow)."""
    if known(x):
        return bool(np.all(np.asarray(x) > 0))
    call, args = x.step.call, x.step.args
    if call in _POSITIVE:
        return True
    if call in {np.multiply, np.divide}:
        return all(map(_positive, args))
    if call is np.add:
        return any(map(_positive, args)) and all(map(never_negative, args))
    return call in _KEEPS_SIGN and args[0].size > 0 and _positive(args[0])


def never_negative(x: Any) -> bool:
    """Whether it can be seen that no entry is negative."""
    if known(x):
        return bool(np.all(np.asarray(x) >= 0))
    call, args = x.step.call, x.step.args
    if call in _NEVER_NEGATIVE:
        return True
    if call in {np.add, np.divide, np.multiply}:
        return all(map(never_negative, args))
    return call in _KEEPS_SIGN and never_negative(args[0])


_SILENT = frozenset(
    {"absolute", "add", "arcsinh", "arctan", "arctan2", "cbrt", "ceil", "copysign", "cos", "floor"}
    | {"heaviside", "hypot", "matmul", "maximum", "minimum", "multiply", "negative", "positive"}
    | {"rint", "sign", "signbit", "sin", "square", "subtract", "tanh", "trunc", "vecdot"}
    | {"equal", "not_equal", "greater", "greater_equal", "less", "less_equal"}
    | {"isfinite", "isinf", "isnan", "logical_and", "logical_not", "logical_or", "logical_xor"}
    | {"bitwise_and", "bitwise_or", "bitwise_xor", "invert", "ndtr", "expit", "erf"}
)
"""Ufuncs that never warn of moderate numbers."""

_LOGARITHM = 700.0
"""The exponential of numbers up to this is finite."""


def warns(x: Traced) -> bool:
    """Whether NumPy may warn when it computes the array ``x`` of finite numbers that are not huge:
    a division by zero, a logarithm of zero, an exponential that overflows.
    """
    call, args = x.step.call, x.step.args
    if all(np.shape(arg) == () for arg in args) or not isinstance(call, np.ufunc):
        return call is guarded_product
    if call is np.divide:
        return not _away_from_zero(args[1])
    if call is np.exp:
        return not _bounded(args[0])
    return call.__name__ not in _SILENT


def _bounded(x: Any) -> bool:
    """Whether it can be seen that no entry is large: the largest was taken off, or a minimum."""
    call, args = x.step.call, x.step.args
    if call is np.minimum:
        bounds = [arg for arg in args if known(arg)]
        return any(np.all(arg <= _LOGARITHM) for arg in bounds) or _negated_pair(*args)
    return call is np.subtract and _is_largest(args[1], args[0])


def _negated_pair(a: Any, b: Any) -> bool:
    pairs = (a, b), (b, a)
    return any(traced(x) and x.step.call is np.negative and x.step.args[0] is y for x, y in pairs)


def _is_largest(x: Any, of: Any) -> bool:
    """Whether ``x`` is the largest entry of each row of ``of``, or of all."""
    while isinstance(x, Traced) and x.step.call in {np.where, *_MOVED}:
        x = x.step.args[1 if x.step.call is np.where else 0]
    return isinstance(x, Traced) and x.step.call is np.max and x.step.args[0] is of
