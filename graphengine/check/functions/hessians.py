"""The numeric Hessian of a function: from its gradient, or from its values alone."""

from __future__ import annotations

import numpy as np

from graphengine.check.functions.calls import Raised, Values
from graphengine.check.functions.columns import Columns, Found, reach
from graphengine.check.functions.entries import BARS
from graphengine.check.functions.jacobians import Measured
from graphengine.check.functions.matrices import Form
from graphengine.check.functions.slopes import STEPS, Slopes, curvatures
from graphengine.errors import TooLargeError
from graphengine.ops.base import Array

__all__ = [
    "SECOND_LIMIT",
    "asymmetry",
    "by_values",
    "gradient_belongs",
    "stepped_gradient",
]

SECOND_LIMIT = 200
"""Entries of x up to which a Hessian is measured from values: it takes 20 n² of them."""


def stepped_gradient(values: Values, x: Array) -> Array:
    """The gradient by complex step.  Raises :class:`Raised` where the function does not take it."""
    found = np.empty(x.size)
    for k in range(x.size):
        moved = x.astype(complex)
        moved[k] += 1e-30j
        found[k] = values.complex(moved)[0].imag / 1e-30
    return found


def asymmetry(found: Found, n: int, name: str) -> str:
    """A sentence on two entries that should be equal and are not; "" where there are none."""
    keys, mirrored = found.rows * n + found.cols, found.cols * n + found.rows
    at = np.minimum(np.searchsorted(keys, mirrored), keys.size - 1) if keys.size else keys
    with np.errstate(all="ignore"):
        gap = np.abs(found.value - found.value[at])
        allowed = BARS * (found.error + found.error[at]) + 1e-6 * np.abs(found.value)
    off = (keys[at] == mirrored) & (gap > allowed) & ~found.kink & ~found.kink[at]
    if not off.any():
        return ""
    worst = int(np.argmax(np.where(off, gap, -1.0)))
    i, j = int(found.rows[worst]), int(found.cols[worst])
    return (
        f"{name} is not the gradient of any function: its Jacobian is not symmetric "
        f"([{i}, {j}] is {found.value[worst]:.6g}, [{j}, {i}] {found.value[at[worst]]:.6g}); "
        "check it first, with check_gradient"
    )


def by_values(
    values: Values, x: Array, rng: np.random.Generator, form: Form, part: float = 1.0
) -> Measured:
    """The Hessian by second differences along x[i], x[i] + x[j] and x[i] − x[j].

    ``part`` makes all steps smaller.

    Raises :class:`TooLargeError` above :data:`SECOND_LIMIT` entries.
    """
    n = x.size
    if n > SECOND_LIMIT:
        raise TooLargeError(
            f"claim {form.claim}",
            expected=f"at most {SECOND_LIMIT} entries of x where only values are given",
            got=str(n),
            hint="give the gradient too: grad=...",
        )
    step = part * reach(x) * rng.uniform(0.7, 1.4, n)
    upper, lower = np.triu_indices(n, 1)
    ones = np.arange(n)
    alone = _second(values, x, step, ones, ones, 0.0)
    plus = _second(values, x, step, upper, lower, 1.0)
    minus = _second(values, x, step, upper, lower, -1.0)
    size = np.full(n, np.max(alone.reach, initial=0.0))
    rows, cols = np.divmod(np.arange(n * n), n)
    moved = step[rows] * step[cols]

    def spread(diagonal: Array, off: Array) -> Array:
        square = np.zeros((n, n), dtype=off.dtype)
        square[ones, ones] = diagonal
        square[upper, lower] = square[lower, upper] = off
        return square.ravel()

    kink = spread(alone.kink, plus.kink | minus.kink)
    value = spread(alone.value, (plus.value - minus.value) / 4) / moved
    found = Found(
        rows,
        cols,
        value,
        spread(alone.error, (plus.error + minus.error) / 4) / moved,
        np.where(kink, -np.inf, value),
        np.where(kink, np.inf, value),
        kink,
        moved,
        size[rows],
        np.zeros(rows.size),
    )
    return Measured(found, n, np.zeros(0, dtype=np.intp))


def _second(
    values: Values, x: Array, step: Array, first: np.ndarray, second: np.ndarray, sign: float
) -> Slopes:
    """Second derivatives along ``x[first] + sign · x[second]``, each an array of one axis."""
    high = np.empty((len(STEPS), first.size, 1))
    low = np.empty_like(high)
    for k, (i, j) in enumerate(zip(first, second, strict=True)):
        direction = np.zeros(x.size)
        direction[i] = step[i]
        if sign:
            direction[j] = sign * step[j]
        for level, h in enumerate(STEPS):
            high[level, k, 0] = values.or_nan(x + h * direction)[0]
            low[level, k, 0] = values.or_nan(x - h * direction)[0]
    found = curvatures(high, low, values(x))
    return Slopes(*(getattr(found, name)[:, 0] for name in Slopes.__slots__))


def gradient_belongs(fun: Values, gradient: Values, x: Array, rng: np.random.Generator) -> str:
    """Why ``gradient`` is not that of ``fun``, from three random directions; "" where it may be."""
    columns = Columns(fun, x, rng)
    for _ in range(3):
        step = columns.steps(reach(x)) * rng.choice([-1.0, 1.0], x.size)
        found = columns.slopes([np.arange(x.size)], step)
        value, error = float(found.value[0, 0]), float(found.error[0, 0])
        try:
            given = float(gradient(x) @ step)
        except Raised:
            continue
        room = BARS * error + 1e-6 * float(np.abs(gradient(x)) @ np.abs(step))
        if np.isfinite(error) and not found.kink[0, 0] and abs(given - value) > room:
            return (
                f"{gradient.name} is not the gradient of {fun.name}: along one direction it says "
                f"{given:.6g}, differences {value:.6g}; check it first, with check_gradient"
            )
    return ""
