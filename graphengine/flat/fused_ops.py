"""Calls that compiled loops can hold, and how they are written there: one entry at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphengine.flat.writing import number
from graphengine.tracing import Traced
from graphengine.tracing.tape import BOOL, FLOAT, INT

__all__ = ["MATH", "WAVES", "fits", "helpers", "literal", "statement"]

_ARITHMETIC: dict[Any, str] = {
    np.add: "{0} + {1}",
    np.subtract: "{0} - {1}",
    np.multiply: "{0} * {1}",
    np.divide: "{0} / {1}",
    np.negative: "-{0}",
    np.square: "{0} * {0}",
    np.reciprocal: "1.0 / {0}",
    np.absolute: "abs({0})",
    np.sqrt: "math.sqrt({0})",
    np.floor: "np.floor({0})",
    np.maximum: "{0} if ({0} > {1}) | ({0} != {0}) else {1}",
    np.minimum: "{0} if ({0} < {1}) | ({0} != {0}) else {1}",
    np.heaviside: "1.0 if {0} > 0.0 else 0.0 if {0} < 0.0 else {0} if {0} != {0} else {1}",
    np.sign: "1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else {0}",
}
_COMPARISONS: dict[Any, str] = {
    np.greater: "{0} > {1}",
    np.less: "{0} < {1}",
    np.greater_equal: "{0} >= {1}",
    np.less_equal: "{0} <= {1}",
    np.equal: "{0} == {1}",
    np.not_equal: "{0} != {1}",
    np.isfinite: "math.isfinite({0})",
    np.isnan: "math.isnan({0})",
    np.signbit: "math.copysign(1.0, {0}) < 0.0",
}
_LOGIC: dict[Any, str] = {
    np.bitwise_and: "{0} & {1}",
    np.bitwise_or: "{0} | {1}",
    np.bitwise_xor: "{0} ^ {1}",
    np.logical_and: "{0} & {1}",
    np.logical_or: "{0} | {1}",
    np.invert: "not {0}",
    np.logical_not: "not {0}",
}
MATH: dict[Any, str] = {
    np.exp: "exp",
    np.expm1: "expm1",
    np.log: "log",
    np.log1p: "log1p",
    np.tanh: "tanh",
    np.sin: "sin",
    np.cos: "cos",
}
"""Functions that have a text of their own, without branches, which processors run on several
entries at once (:mod:`graphengine.flat.fused_math`)."""
WAVES = frozenset({np.sin, np.cos})
"""Those whose text of their own holds for moderate numbers alone."""

_QUICK = frozenset({np.sin, np.cos, np.tanh})
"""Those with a text for one number after another, too."""

_OF_NUMBERS: dict[Any, str] = {
    np.tan: "math.tan({0})",
    np.arcsin: "math.asin({0})",
    np.arccos: "math.acos({0})",
    np.arctan: "math.atan({0})",
    np.sinh: "math.sinh({0})",
    np.cosh: "math.cosh({0})",
    np.power: "math.pow({0}, {1})",
}
"""Functions of the C library alone: for arrays NumPy's own loops are as fast, or faster."""


_TYPES = frozenset({FLOAT, BOOL, INT})


def fits(x: Traced) -> bool:
    """Whether a loop can hold the call that makes ``x``."""
    call, args = x.step.call, x.step.args
    kinds = [_kind(arg) for arg in args]
    if "" in kinds or not kinds or not x.size:
        return False
    if call in _ARITHMETIC or call in MATH or (call in _OF_NUMBERS and x.shape == ()):
        return x.dtype == FLOAT and set(kinds) <= {"f", "n"}
    if call in _COMPARISONS:
        return set(kinds) <= {"f", "n"} or (len(kinds) == 2 and set(kinds) <= {"i", "n"})
    if call in _LOGIC:
        return set(kinds) == {"b"}
    if call is np.where:
        return kinds[0] == "b" and x.dtype == FLOAT and set(kinds[1:]) <= {"f", "n"}
    return call == "astype" and x.dtype == FLOAT and kinds[0] in {"b", "f", "i"}


def _kind(arg: Any) -> str:
    """The kind of an operand: f, i, b as NumPy has them, n for a number; "" for what is none."""
    if isinstance(arg, (Traced, np.ndarray)):
        known = arg.dtype in _TYPES
        return arg.dtype.kind if known and (isinstance(arg, Traced) or arg.ndim) else ""
    return "n" if type(arg) in {float, int} else ""


def statement(call: Any, operands: list[str], kind: str, *, exact: bool) -> str:
    """The expression of one entry; ``kind`` is that of the first operand.

    ``exact`` takes the functions for one number after another; else those without branches, by
    which several entries are computed at once.
    """
    if call is np.where:
        return "{1} if {0} else {2}".format(*operands)
    if call == "astype":
        return f"1.0 if {operands[0]} else 0.0" if kind == "b" else f"float({operands[0]})"
    if call in MATH:
        return f"{_function(call, exact=exact)}({operands[0]})"
    for table in (_ARITHMETIC, _COMPARISONS, _LOGIC, _OF_NUMBERS):
        if call in table:
            return table[call].format(*operands)
    raise AssertionError(call)


def helpers(call: Any, *, exact: bool) -> tuple[str, ...]:
    """The functions with a text of their own that the expression calls."""
    name = _function(call, exact=exact) if call in MATH else "math."
    return () if name.startswith("math.") else (name,)


def _function(call: Any, *, exact: bool) -> str:
    if not exact:
        return f"_{MATH[call]}"
    return f"_{MATH[call]}1" if call in _QUICK else f"math.{MATH[call]}"


def literal(value: Any) -> str:
    """A number as an operand."""
    text = number(float(value))
    return f"({text})" if text.startswith("-") else text
