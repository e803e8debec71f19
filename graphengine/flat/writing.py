"""Calls as text: what a person would write for them in NumPy, or in plain Python for numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphengine.tracing import Step, Traced

__all__ = ["ATOM", "Text", "expression", "is_number", "needs_names"]


class Text(NamedTuple):
    """An expression and how tightly its outermost operator binds (Python's order)."""

    text: str
    level: int

    def within(self, level: int) -> str:
        """The text as an operand of an operator of ``level``, in brackets where needed."""
        return self.text if self.level >= level else f"({self.text})"


CHOICE, NOT, COMPARISON, OR, XOR, AND, SUM, PRODUCT, SIGN, POWER, ATOM = range(11)

_INFIX: dict[Any, tuple[str, int]] = {
    np.add: ("+", SUM),
    np.subtract: ("-", SUM),
    np.multiply: ("*", PRODUCT),
    np.divide: ("/", PRODUCT),
    np.matmul: ("@", PRODUCT),
    np.greater: (">", COMPARISON),
    np.less: ("<", COMPARISON),
    np.greater_equal: (">=", COMPARISON),
    np.less_equal: ("<=", COMPARISON),
    np.equal: ("==", COMPARISON),
    np.not_equal: ("!=", COMPARISON),
    np.bitwise_and: ("&", AND),
    np.bitwise_or: ("|", OR),
    np.bitwise_xor: ("^", XOR),
    np.remainder: ("%", PRODUCT),
}

_METHODS = {np.sum: "sum", np.max: "max", np.min: "min", np.mean: "mean", np.prod: "prod"} | {
    np.any: "any",
    np.all: "all",
    np.argmax: "argmax",
    np.argmin: "argmin",
    np.cumsum: "cumsum",
}

_NUMBERS = {
    np.exp: "math.exp({0})",
    np.log: "math.log({0})",
    np.log1p: "math.log1p({0})",
    np.expm1: "math.expm1({0})",
    np.sqrt: "math.sqrt({0})",
    np.sin: "math.sin({0})",
    np.cos: "math.cos({0})",
    np.tan: "math.tan({0})",
    np.arcsin: "math.asin({0})",
    np.arccos: "math.acos({0})",
    np.arctan: "math.atan({0})",
    np.sinh: "math.sinh({0})",
    np.cosh: "math.cosh({0})",
    np.tanh: "math.tanh({0})",
    np.power: "math.pow({0}, {1})",
    np.absolute: "abs({0})",
    np.isfinite: "math.isfinite({0})",
    np.isnan: "math.isnan({0})",
    np.floor: "float(math.floor({0}))",
}
_CHOICES = {
    np.maximum: "{0} if {0} > {1} or {0} != {0} else {1}",
    np.minimum: "{0} if {0} < {1} or {0} != {0} else {1}",
    np.heaviside: "1.0 if {0} > 0.0 else 0.0 if {0} < 0.0 else {0} if {0} != {0} else {1}",
    np.sign: "1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else {0}",
    np.where: "{1} if {0} else {2}",
}
_OTHERS = {
    np.square: ("{0} * {0}", PRODUCT),
    np.reciprocal: ("1.0 / {0}", PRODUCT),
    np.signbit: ("math.copysign(1.0, {0}) < 0.0", COMPARISON),
}


def is_number(x: Traced) -> bool:
    """Whether ``x`` is computed as a Python number."""
    return x.shape == ()


def needs_names(step: Step) -> bool:
    """Whether the text of the call has an operand twice, so that it should be a name."""
    return step.call in _CHOICES or step.call in _OTHERS


def expression(x: Traced, args: Sequence[Text], called: Callable[[Any], str]) -> Text:
    """The text of the call that makes ``x``, from those of its arguments.

    ``called`` gives the name under which a function that is not NumPy's stands in the program.
    """
    step = x.step
    if is_number(x) and _takes_numbers(step):
        if step.call == "astype":
            kind = {"f": "float", "b": "bool"}.get(x.dtype.kind, "int")
            return Text(f"{kind}({args[0].text})", ATOM)
        if isinstance(step.call, _FUNCTIONS):
            found = _of_numbers(step, args)
            if found is not None:
                return found
    found = _of_arrays(x, args, called)
    if not is_number(x) or x.dtype.kind != "f":
        return found
    return Text(f"float({found.text})", ATOM)


_FUNCTIONS = (np.ufunc, type(np.where))


def _takes_numbers(step: Step) -> bool:
    """Whether none of the arguments has axes."""
    return all(not isinstance(arg, (Traced, np.ndarray)) or arg.shape == () for arg in step.args)


def _of_numbers(step: Step, args: Sequence[Text]) -> Text | None:
    call = step.call
    if call in _INFIX or call in {np.negative, np.invert}:
        return _infix(call, args, {np.invert: ("not ", NOT)})
    if call in _NUMBERS:
        return Text(_NUMBERS[call].format(*(arg.text for arg in args)), ATOM)
    if call in _CHOICES:
        return Text(_CHOICES[call].format(*(arg.within(OR) for arg in args)), CHOICE)
    if call in _OTHERS:
        text, level = _OTHERS[call]
        return Text(text.format(*(arg.within(ATOM) for arg in args)), level)
    return None


def _infix(call: Any, args: Sequence[Text], signs: dict[Any, tuple[str, int]]) -> Text:
    if call in _INFIX:
        sign, level = _INFIX[call]
        left, right = args
        first = OR if level == COMPARISON else level  # comparisons do not chain
        return Text(f"{left.within(first)} {sign} {right.within(level + 1)}", level)
    sign, level = signs.get(call, ("-", SIGN))
    return Text(sign + args[0].within(level), level)


def _of_arrays(x: Traced, args: Sequence[Text], called: Callable[[Any], str]) -> Text:
    step = x.step
    call, params = step.call, step.params
    if call is np.vdot or (call is np.matmul and is_number(x)):
        flat = [_raveled(arg, text) for arg, text in zip(step.args, args, strict=True)]
        return Text(f"{flat[0]}.dot({flat[1]})", ATOM)
    if call in _INFIX or call in {np.negative, np.invert}:
        return _infix(call, args, {np.invert: ("~", SIGN)})
    if call in _METHODS:
        return _method(step, args[0], _METHODS[call])
    if call is np.reshape:
        return _reshaped(step, args[0])
    if call in {np.transpose, "getitem", "astype", "item"}:
        return Text(args[0].within(ATOM) + _of_itself(step, args), ATOM)
    given = [arg.text for arg in args]
    if call in {"concatenate", "stack"}:
        given = ["[" + ", ".join(given) + "]"]
    if call == "placed":
        key = ", ".join(_slice(item) for item in params["key"])
        given += [repr(params["shape"]), f"np.s_[{key},]"]
        params = {}
    given += [f"{name}={value!r}" for name, value in params.items()]
    return Text(f"{called(call)}({', '.join(given)})", ATOM)


def _of_itself(step: Step, args: Sequence[Text]) -> str:
    """What stands behind an array of which other entries, another order or type are asked."""
    call, params = step.call, step.params
    if call == "getitem":
        return f"[{_key(params['key'], args[1:])}]"
    if call == "astype":
        return f".astype(np.{params['dtype']})"
    if call == "item":
        return f"[{params['place']}]"
    axes = params["axes"]
    turned = axes == tuple(range(len(axes)))[::-1]
    return ".T" if turned else f".transpose({', '.join(map(str, axes))})"


def _raveled(arg: Any, text: Text) -> str:
    return text.within(ATOM) + ("" if np.ndim(arg) == 1 else ".ravel()")


def _method(step: Step, operand: Text, name: str) -> Text:
    given = []
    for key, value in step.params.items():
        if key == "axis" and value is not None:
            one = isinstance(value, tuple) and len(value) == 1
            given.append(f"axis={value[0] if one else value}")
        elif key == "keepdims" and value:
            given.append("keepdims=True")
        elif key == "initial":
            given.append("initial=" + number(value))
    return Text(f"{operand.within(ATOM)}.{name}({', '.join(given)})", ATOM)


def _reshaped(step: Step, operand: Text) -> Text:
    """``x[:, None]`` where axes of size 1 are put in, else ``x.reshape(...)``."""
    old, new = np.shape(step.args[0]), step.params["shape"]
    if old == ():
        return Text(f"np.full({new}, {operand.text})", ATOM)
    if new == ():
        return Text(f"{operand.within(ATOM)}.item()", ATOM)
    if tuple(n for n in new if n != 1) == old and 1 not in old:
        key = ", ".join("None" if n == 1 else ":" for n in new)
        return Text(f"{operand.within(ATOM)}[{key}]", ATOM)
    sizes = ", ".join(map(str, new)) if len(new) > 1 else str(new[0])
    return Text(f"{operand.within(ATOM)}.reshape({sizes})", ATOM)


def _key(plan: Sequence[Any], arrays: Sequence[Text]) -> str:
    return ", ".join(
        arrays[item[1]].text
        if isinstance(item, tuple)
        else "..."
        if item is Ellipsis
        else _slice(item)
        for item in plan
    ) + ("," if len(plan) == 1 and not isinstance(plan[0], tuple) else "")


def _slice(item: Any) -> str:
    if not isinstance(item, slice):
        return str(item)
    start, stop = ("" if n is None else str(n) for n in (item.start, item.stop))
    return f"{start}:{stop}" + (f":{item.step}" if item.step not in {None, 1} else "")


def number(value: Any) -> str:
    """A number as text."""
    if isinstance(value, float) and value != value:  # noqa: PLR0124 (nan)
        return "math.nan"
    if isinstance(value, float) and value in {np.inf, -np.inf}:
        return "math.inf" if value > 0 else "-math.inf"
    return repr(value)
