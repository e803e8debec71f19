"""Sums, products, extremes, means along axes of traced arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from graphengine.tracing.elementwise import elementwise
from graphengine.tracing.infinite import facts
from graphengine.tracing.tape import HANDLED, INT, DType, Traced, Untraceable, handles
from graphengine.tracing.views import axes_of, reshaped

_JOINED = {np.sum: np.add, np.prod: np.multiply, np.max: np.maximum, np.min: np.minimum}
"""How ``initial`` comes in."""

_NEUTRAL = {np.sum: 0.0, np.prod: 1.0, np.max: -math.inf, np.min: math.inf}


@cache
def _result_type(call: Any, dtype: DType) -> DType:
    """The type of a reduction of an array of ``dtype``."""
    found: DType = call(np.ones(1, dtype)).dtype
    return found


def _reduction(call: Any) -> Callable[..., Any]:
    """The handler of one reduction."""

    def reduced(
        x: Traced,
        axis: Any = None,
        dtype: None = None,
        out: None = None,
        *,
        keepdims: bool = False,
        initial: float | None = None,
    ) -> Any:
        if dtype is not None or out is not None:
            raise Untraceable(f"{call.__name__} of another type, or into an array")
        axes = axes_of(axis, x.ndim)
        shape = tuple(
            1 if k in axes else n for k, n in enumerate(x.shape) if keepdims or k not in axes
        )
        if keepdims and len(axes) == x.ndim > 0:
            return reduced(x, None, initial=initial).reshape(shape)
        params = {"axis": None if len(axes) == x.ndim else axes, "keepdims": bool(keepdims)}
        kind = _result_type(call, x.dtype)
        count = math.prod(x.shape[k] for k in axes)
        if count == 0 and initial is not None:
            return x.tape.record(call, (x,), {**params, "initial": float(initial)}, shape, kind)
        plain = count == 1 and kind == x.dtype
        found = reshaped(x, shape) if plain else x.tape.record(call, (x,), params, shape, kind)
        if initial is None or _says_nothing(call, initial, x):
            return found
        return elementwise(_JOINED[call], found, float(initial))

    return reduced


def _says_nothing(call: Any, initial: float, x: Traced) -> bool:
    """Whether the reduction of a nonempty ``x`` is the same without ``initial``."""
    if initial == _NEUTRAL[call]:
        return True
    return call is np.max and initial == 0 and facts(x).not_negative


def _first_axis(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``reduce`` of a ufunc, whose axis is the first one unless it is given."""
    return lambda x, axis=0, dtype=None, out=None, **others: function(x, axis, dtype, out, **others)


_CALLS = (np.sum, np.max, np.min, np.prod, np.mean, np.any, np.all)
HANDLED.update({call: _reduction(call) for call in _CALLS})
HANDLED.update(
    {
        (np.add, "reduce"): _first_axis(HANDLED[np.sum]),
        (np.multiply, "reduce"): _first_axis(HANDLED[np.prod]),
        (np.maximum, "reduce"): _first_axis(HANDLED[np.max]),
        (np.minimum, "reduce"): _first_axis(HANDLED[np.min]),
    }
)


@handles(np.cumsum)
def _cumsum(x: Traced, axis: int | None = None) -> Traced:
    if axis is None:
        return _cumsum(reshaped(x, -1), 0)
    (place,) = axes_of(axis, x.ndim)
    kind = _result_type(np.cumsum, x.dtype)
    return x.tape.record(np.cumsum, (x,), {"axis": place}, x.shape, kind)


def _argument(call: Any) -> Callable[..., Traced]:
    """The handler of ``argmax`` or ``argmin``."""

    def found(x: Traced, axis: int | None = None) -> Traced:
        if axis is None:
            return found(reshaped(x, -1), 0)
        (place,) = axes_of(axis, x.ndim)
        shape = tuple(n for k, n in enumerate(x.shape) if k != place)
        return x.tape.record(call, (x,), {"axis": place}, shape, INT)

    return found


HANDLED.update({call: _argument(call) for call in (np.argmax, np.argmin)})
