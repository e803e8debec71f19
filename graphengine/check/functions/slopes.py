"""Slopes of sampled functions: extrapolated differences, their error bars, kinks.

Many functions of one variable t are differentiated at t = 0 together: along direction g,
component i.  Everything comes from the same samples at ±0.1, ±0.1/4, …, ±4e-7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphengine.ops.base import Array

Flags: TypeAlias = NDArray[np.bool_]

__all__ = ["STEPS", "Slopes", "curvatures", "precision", "slopes"]

STEPS = 0.1 / 4.0 ** np.arange(10)
"""The steps, relative to how far a direction is meant to reach: sin and exp settle at the first
few, functions that vary quickly at later ones."""
FINE = 5
"""From this step on (1e-4) smooth functions are polynomials of low degree to rounding, so that
what is left over is the noise of the function."""
_SHRINK = 4.0
_MARGIN = 20.0
"""A jump of the slope is believed when it is this many times the noise."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """What the samples say, each array (directions, components).

    ``value`` is the slope, ``error`` its bar (infinite where nothing settles or samples are not
    finite), ``left`` and ``right`` the one-sided slopes, ``kink`` where they differ (there
    ``error`` is theirs), ``reach`` the least mean slope over any of the steps: the size that a
    slope would naturally have, and ``noise`` how far values are off.
    """

    value: Array
    error: Array
    left: Array
    right: Array
    kink: Flags
    reach: Array
    noise: Array


def precision(*samples: Array) -> Array:
    """The machine epsilon of what computed the samples (steps, directions, components), for
    each component: that of single precision where all samples are numbers of single precision.
    """
    single = np.ones(samples[0].shape[-1], dtype=bool)
    axes = tuple(range(samples[0].ndim - 1))
    with np.errstate(all="ignore"):
        for sample in samples:
            single &= np.all(
                (sample.astype(np.float32) == sample) | ~np.isfinite(sample), axis=axes
            )
    return np.where(single, np.finfo(np.float32).eps, np.finfo(np.float64).eps)


def slopes(high: Array, low: Array, here: Array, jitter: Array | float = 0.0) -> Slopes:
    """The slopes of functions whose samples are ``high`` (t = steps) and ``low`` (t = −steps).

    ``high`` and ``low`` are (steps, directions, components), ``here`` holds the values at t = 0,
    ``jitter`` how far the same call gave different values.

    The extrapolation is Ridders' (Advances in Engineering Software 4, 1982, 75-76); the noise is
    measured by what is left of the samples at the smallest steps when all low powers of the step
    are taken out, as in Moré and Wild's difference tables (SIAM J. Sci. Comput. 33, 2011).
    """
    with np.errstate(all="ignore"):
        odd, even = (high - low) / 2, (high + low) / 2 - here
        noise = _noise(odd, even, high, low, here) + jitter
        value, error = _extrapolated(odd, np.maximum(np.abs(high), np.abs(low)), noise, 1)
        moved = np.maximum(np.abs(high - here), np.abs(low - here))
        flat = np.all(moved[3:] == 0, axis=0) & np.isfinite(here)
        steps = STEPS[:, None, None]
        mean = np.where(np.isfinite(moved), moved / steps, np.inf)
        reach = np.nan_to_num(np.min(mean, axis=0), posinf=0.0)
        left, right, sides, kink = _sides(odd, even, noise)
    kink &= ~flat
    # what is constant to the last digit may have a slope that moves less than that
    unseen = noise / STEPS[np.argmax(np.cumprod((moved == 0)[::-1], axis=0)[::-1], axis=0)]
    value, error = np.where(flat, 0.0, value), np.where(flat, unseen, error)
    # values that change as much from step to step as over all steps are no smooth function here
    heard = np.max(np.where(np.isfinite(moved), moved, 0.0), axis=(0, 1))
    rough = (noise > 0.01 * heard) & (noise > 1e3 * np.finfo(float).eps * np.abs(here))
    error = np.where(rough & ~flat, np.inf, error)
    return Slopes(value, np.where(kink, sides, error), left, right, kink, reach, noise)


def curvatures(high: Array, low: Array, here: Array) -> Slopes:
    """The second derivatives at t = 0 of the functions that :func:`slopes` takes.

    Where they jump there is a kink, whose sides are not told apart (−∞ and ∞).
    """
    with np.errstate(all="ignore"):
        odd, even = (high - low) / 2, (high + low) / 2 - here
        noise = _noise(odd, even, high, low, here)
        size = np.maximum(np.maximum(np.abs(high), np.abs(low)), np.abs(here))
        value, error = _extrapolated(2 * even, size, noise, 2)
        reach = np.max(np.nan_to_num(2 * np.abs(even) / STEPS[:, None, None] ** 2)[:3], axis=0)
        # of the odd part, t taken out: t|t| is left where the second derivative jumps, else t³
        part = (odd[:-1] - 4 * odd[1:]) / STEPS[:-1, None, None] ** 2
        jump = (4 * part[1:] - part[:-1]) / 3
        doubt = _MARGIN * 6 * noise / STEPS[1:-1, None, None] ** 2
        clear = (doubt < 0.05 * (np.abs(value) + np.abs(jump))) & np.isfinite(jump)
        last = len(clear) - 1 - np.argmax(clear[::-1], axis=0)
        ends = [
            np.take_along_axis(jump, at[None], axis=0)[0] for at in (last, np.maximum(last - 1, 0))
        ]
        kink = (
            np.any(clear, axis=0)
            & (np.abs(ends[0]) > np.take_along_axis(doubt, last[None], axis=0)[0])
            & (np.abs(ends[0]) > 1e-3 * np.abs(value))
            & (np.abs(ends[0]) > 0.8 * np.abs(ends[1]))
        )
    flat = np.all(even[2:] == 0, axis=0) & np.all(odd[2:] == 0, axis=0)
    return Slopes(
        np.where(flat, 0.0, value),
        np.where(flat, noise, error),
        np.where(kink, -np.inf, value),
        np.where(kink, np.inf, value),
        kink & ~flat,
        reach,
        noise,
    )


def _noise(odd: Array, even: Array, high: Array, low: Array, here: Array) -> Array:
    """How far values are off: measured at the smallest steps, and at least their last digits.

    Of the even part |t|, t² are taken out (a kink at 0 is no noise), of the odd one t and t³.
    """
    left_over = [
        np.abs(even[FINE:-2] - 20 * even[FINE + 1 : -1] + 64 * even[FINE + 2 :]) / 65,
        np.abs(odd[FINE:-2] - 68 * odd[FINE + 1 : -1] + 256 * odd[FINE + 2 :]) / 187,
    ]
    measured = 2 * np.max(np.nan_to_num(np.concatenate(left_over), nan=0.0, posinf=0.0), axis=0)
    # one component has one noise; where few samples happen to show none, the others tell
    measured = np.maximum(measured, 0.5 * np.median(measured, axis=0))
    digits = precision(high, low) * np.abs(here)
    return np.asarray(np.maximum(np.maximum(measured, _stairs(high, low, here)), digits))


def _stairs(high: Array, low: Array, here: Array) -> Array:
    """The height of steps in functions that are constant at fine scale and not at coarse scale.

    Values rounded to a few decimals do not change at all over the smallest steps, and their slope
    is not 0.  Constant over most of the steps means constant.
    """
    moved = np.maximum(np.abs(high - here), np.abs(low - here))
    last = len(STEPS) - 1 - np.argmax((moved != 0)[::-1], axis=0)  # the smallest that shows one
    jump = np.take_along_axis(moved, last[None], axis=0)[0]
    size = np.maximum(np.abs(here), np.max(np.abs(high[FINE:]), axis=0))
    stair = (last > 3) & (last < len(STEPS) - 1) & (jump > 5000 * np.finfo(float).eps * size)
    return np.where(stair & np.any(moved != 0, axis=0), jump, 0.0)


def _extrapolated(part: Array, size: Array, noise: Array, power: int) -> tuple[Array, Array]:
    """The limit of ``part / step**power`` for steps to 0, and its error bar."""
    best, error = np.full(part.shape[1:], np.nan), np.full(part.shape[1:], np.inf)
    above: list[Array] = []
    units = 2 * np.finfo(float).eps
    for level, h in enumerate(STEPS):
        slope = part[level] / h**power
        rounding = (2 * noise + units * (size[level] + np.abs(slope) * h ** (power - 1))) / h**power
        row = [slope]
        for order, coarse in enumerate(above, 1):
            last = row[-1]
            finer = last + (last - coarse) / (_SHRINK ** (2 * order) - 1)
            gap = np.maximum(np.abs(finer - last), np.abs(finer - coarse)) + rounding
            better = gap < error
            best, error = np.where(better, finer, best), np.where(better, gap, error)
            row.append(finer)
        above = row
    # a limit that the smallest steps contradict is that of coarser features
    apart = np.abs(best - slope)
    return best, np.where(apart > 10 * rounding + 3 * error, np.maximum(apart, error), error)


def _sides(odd: Array, even: Array, noise: Array) -> tuple[Array, Array, Array, Flags]:
    """The one-sided slopes, their error, and where they differ.

    right − left is 2·even/h, which tends to 0 with h where the function is smooth.  It is looked
    at the smallest step where noise does not hide it, and one step before that: where it does
    not shrink there is a kink (or worse) at 0, or nearer than the step.
    """
    h = STEPS[:, None, None]
    middle, half = odd / h, even / h
    half_limit = (4 * half[1:] - half[:-1]) / 3  # the term linear in h taken out
    middle_limit = (16 * middle[1:] - middle[:-1]) / 15
    doubt = _MARGIN * noise / h[1:]
    seen = np.abs(middle_limit) + np.abs(half_limit)
    clear = (doubt < 0.05 * seen) & np.isfinite(seen)
    clear[:3] = False
    at = len(clear) - 1 - np.argmax(clear[::-1], axis=0)
    before = np.maximum(at - 1, 0)

    def pick(array: Array, level: NDArray[np.intp]) -> Array:
        return np.asarray(np.take_along_axis(array, level[None], axis=0)[0])

    jump, coarser = pick(half_limit, at), pick(half_limit, before)
    kink = (
        np.any(clear, axis=0)
        & (np.abs(jump) > pick(doubt, at))
        & (np.abs(jump) > 1e-5 * pick(seen, at))
        & (np.abs(jump) > 0.8 * np.abs(coarser))
        & (jump * coarser > 0)
    )
    slope = pick(middle_limit, at)
    error = pick(doubt, at) + np.abs(jump - coarser) + np.abs(slope - pick(middle_limit, before))
    return slope - jump, slope + jump, error, kink
