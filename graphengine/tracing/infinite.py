"""Zero times infinity is zero: where a product may meet it, the product is a guarded one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphengine.tracing.tape import Step, Traced, known, recorded, traced


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
    return guarded_product(left, right) if meets_infinity(left, right) else product


def meets_infinity(*factors: Any) -> bool:
    """Whether in a product of these zero may meet infinity."""
    for k, one in enumerate(factors):
        others = factors[:k] + factors[k + 1 :]
        if facts(one).infinite and not all(known(o) and facts(o).away for o in others):
            return True
    return False


# --- what can be seen of the entries ------------------------------------------------------


class Facts(NamedTuple):
    """What can be seen of all entries of an array, whatever finite numbers, not huge, come in."""

    infinite: bool = False
    """One may be infinite, or not a number."""
    away: bool = False
    """None is zero (if no product underflows)."""
    positive: bool = False
    """All are positive (if no product underflows)."""
    not_negative: bool = False
    """None is negative."""


def facts(x: Any) -> Facts:
    """What can be seen of ``x``: an array, traced or not, or a number."""
    if not isinstance(x, Traced):
        return _of_numbers(x)
    seen: list[Facts] = x.tape.facts
    if x.number < len(seen):
        return seen[x.number]
    for k in range(len(seen), x.number + 1):  # the arguments of a call come before it
        seen.append(_of_result(x.tape.results[k]))  # noqa: PERF401 (later ones look up this one)
    return seen[x.number]


def _of_numbers(given: Any) -> Facts:
    if isinstance(given, float):
        return Facts(not math.isfinite(given), given != 0, given > 0, given >= 0)
    array = np.asarray(given)
    if array.dtype.kind not in "fiub":
        return Facts()
    return Facts(
        not np.isfinite(array).all(),
        bool((array != 0).all()),
        bool((array > 0).all()),
        bool((array >= 0).all()),
    )


_LARGEST_POWER = 30
"""Higher powers overflow for numbers that are not huge."""

_NOTHING = Facts()
"""Nothing can be seen."""

_MIXES = frozenset({np.add, np.subtract, np.multiply, np.divide, np.negative})
"""What nothing can be seen of their result of unless something can of all arguments."""

_MOVES = frozenset({np.reshape, np.transpose, np.broadcast_to, "getitem"})
_FINITE = frozenset({np.heaviside, np.sign, np.tanh, np.arctan})
_KEEPS_SIGN = frozenset({np.sum, np.mean, np.sqrt})
_NEVER_NEGATIVE = frozenset({np.square, np.absolute})
_GROWS = frozenset({np.exp, np.expm1, np.exp2})
_POLES = frozenset(
    {np.log, np.log1p, np.log2, np.log10, np.arctanh, np.reciprocal, np.sinh, np.cosh}
)


def _of_result(x: Traced) -> Facts:
    call, args = x.step.call, x.step.args
    if call is None or call in _FINITE or x.dtype.kind != "f":
        return _NOTHING
    if call is np.where:
        args = args[1:]
    elif call in _MOVES:
        args = args[:1]
    given = [facts(arg) for arg in args]
    # Of numbers Python raises an error where an array becomes infinite; by infinity may be divided.
    infinite = any(one.infinite for one in (given[:1] if call is np.divide else given))
    infinite = infinite or (x.shape != () and _has_pole(call, args, given))
    if not infinite and call in _MIXES and _NOTHING in given:
        return _NOTHING
    positive, not_negative = _signs(x.step, args, given)
    return Facts(infinite, positive or _away(call, given), positive, not_negative)


def _has_pole(call: Any, args: Sequence[Any], given: Sequence[Facts]) -> bool:
    """Whether the call may make infinite numbers of finite ones that are not huge."""
    if call in _GROWS:
        return not _bounded(args[0])
    if call is np.divide:
        return not given[1].away
    if call is np.power:
        if traced(args[1]) or np.any(np.abs(args[1]) > _LARGEST_POWER):
            return True
        return not (given[1].not_negative or given[0].away)
    return call in _POLES


def _signs(step: Step, args: Sequence[Any], given: Sequence[Facts]) -> tuple[bool, bool]:
    """Whether all entries of the result are positive, and whether none is negative."""
    call = step.call
    positive = all(one.positive for one in given)
    not_negative = all(one.not_negative for one in given)
    if call in {np.exp, np.cosh}:  # an exponential may be too small for a number
        return call is np.cosh, True
    if call in _NEVER_NEGATIVE:
        return given[0].away, True
    if call is np.add:
        return not_negative and any(one.positive for one in given), not_negative
    if call in _KEEPS_SIGN:
        return (positive and np.size(args[0]) > 0) or _with_one(step), not_negative
    if call is np.power:
        return given[0].positive, given[0].not_negative
    if call in {np.multiply, np.divide, np.where, *_MOVES}:
        return positive, not_negative
    return False, False


def _with_one(step: Step) -> bool:
    """Whether it is a sum of exponentials from which the largest exponent was taken off: one of
    them is 1.
    """
    inner = step.args[0]
    if step.call is not np.sum or not traced(inner) or inner.step.call is not np.exp:
        return False
    exponent = inner.step.args[0].step
    if exponent.call is not np.subtract or not _is_largest(exponent.args[1], exponent.args[0]):
        return False
    return bool(step.params["axis"] in {None, _largest(exponent.args[1]).step.params["axis"]})


def _away(call: Any, given: Sequence[Facts]) -> bool:
    """Whether no entry is zero, of either sign."""
    return call in {np.multiply, np.negative, np.where, *_MOVES} and all(one.away for one in given)


# --- warnings -----------------------------------------------------------------------------

_SILENT = frozenset(
    {"absolute", "add", "arcsinh", "arctan", "arctan2", "cbrt", "ceil", "copysign", "cos", "floor"}
    | {"heaviside", "hypot", "matmul", "maximum", "minimum", "multiply", "negative", "positive"}
    | {"rint", "sign", "signbit", "sin", "square", "subtract", "tanh", "trunc", "vecdot"}
    | {"equal", "not_equal", "greater", "greater_equal", "less", "less_equal"}
    | {"isfinite", "isinf", "isnan", "logical_and", "logical_not", "logical_or", "logical_xor"}
    | {"bitwise_and", "bitwise_or", "bitwise_xor", "invert", "ndtr", "expit", "erf"}
)
"""Ufuncs that never warn of moderate numbers."""

_HUGE = 1e100
"""Products with larger numbers may overflow, and what is infinite may not be added."""

_LOGARITHM = 700.0
"""The exponential of numbers up to this is finite."""


def warns(x: Traced) -> bool:
    """Whether NumPy may warn when it computes the array ``x`` of finite numbers that are not huge:
    a division by zero, a logarithm of zero, an exponential that overflows, a huge constant.
    """
    call, args = x.step.call, x.step.args
    if not isinstance(call, np.ufunc):
        return call is guarded_product
    if x.shape == () and call.signature is None:  # of numbers
        return False
    if any(known(arg) and np.any(np.abs(arg) > _HUGE) for arg in args):
        return True
    if call is np.divide:
        return not facts(args[1]).away
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
    found = _largest(x)
    return traced(found) and found.step.call is np.max and found.step.args[0] is of


def _largest(x: Any) -> Any:
    """What ``x`` shows, if it is finite."""
    while isinstance(x, Traced) and x.step.call in {np.where, *_MOVES}:
        x = x.step.args[1 if x.step.call is np.where else 0]
    return x
