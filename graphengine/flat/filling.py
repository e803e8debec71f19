"""Where the numbers of a Jacobian's terms go in the data of its CSR matrix, found once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graphengine.jacobian import Jacobian
from graphengine.jacobian.contraction import DEFAULT_LIMIT, contract, guard
from graphengine.jacobian.patterns import bytes_needed, pattern_of
from graphengine.jacobian.terms import Term
from graphengine.tracing import known

__all__ = ["Fill", "Target", "filled"]

Table: TypeAlias = NDArray[np.intp]

FEW = 9
"""Parts that the places of one array fall into, at most: a square with its edges and corners."""

MANY = 500
"""Places of a part on the average, at least: for fewer a table takes less time than the calls."""


@dataclass(frozen=True)
class Strided:
    """Places that are evenly spaced along each axis: a view of the data."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether they follow one another without gaps."""
        return self.strides == _packed(self.shape)


Places: TypeAlias = Strided | Table


@dataclass(frozen=True)
class Target:
    """Where one array of numbers goes: into the data, or on top of what is there."""

    places: Places
    adds: bool


@dataclass(frozen=True, eq=False)
class Fill:
    """How arrays of numbers become the ``data`` of a matrix.

    ``base`` holds the numbers that never change (None where there are none to keep); ``model`` is
    the matrix without its numbers.
    """

    model: csr_array
    size: int
    base: NDArray[np.float64] | None
    targets: Sequence[Target]

    @property
    def rows(self) -> int | None:
        """How many equal rows of numbers the data is, of which each target has a part of every
        one; None where it is not.
        """
        if self.base is not None or not self.targets:
            return None
        counts = set()
        for target in self.targets:
            if not isinstance(target.places, Strided):
                return None
            axes = [
                (n, step)
                for n, step in zip(target.places.shape, target.places.strides, strict=True)
                if n > 1
            ]
            count, step = max(axes, key=lambda axis: axis[1], default=(1, 1))
            inside = target.places.offset + sum((n - 1) * s for n, s in axes if s != step)
            if count * step != self.size or inside >= step:
                return None
            counts.add(count)
        return counts.pop() if len(counts) == 1 else None

    def turned(self, places: Strided) -> Strided:
        """The places where the data is stored column by column."""
        rows = self.rows or 1
        width = self.size // rows
        strides = tuple(1 if s == width else s * rows for s in places.strides)
        return Strided(places.offset * rows, places.shape, strides)

    def __call__(self) -> Any:
        """The data of a matrix whose numbers never change."""
        return np.zeros(self.size) if self.base is None else self.base.copy()


def filled(jacobian: Jacobian) -> tuple[Fill, list[Any]]:
    """How to fill the matrix of ``jacobian``, and the traced arrays to fill it with."""
    shape, terms = jacobian.shape, jacobian.terms
    guard(bytes_needed(shape, terms), DEFAULT_LIMIT)
    pattern = pattern_of(shape, terms)
    size = len(pattern.model.indices)
    base = np.zeros(size)
    moving: list[tuple[Any, Table]] = []
    start = 0
    for part in terms:
        stop = start + part.entries
        slots = np.arange(start, stop) if pattern.slots is None else pattern.slots[start:stop]
        numbers = contract(part.factors, part.labels, part.sizes, DEFAULT_LIMIT, part.coef)
        if known(numbers):
            np.add.at(base, slots, np.asarray(numbers).reshape(-1))
        else:
            moving.append((numbers, slots.reshape(_sizes(part))))
        start = stop
    values, targets, rest = _targets(_added(moving), base)
    return Fill(pattern.model, size, rest, targets), values


def _sizes(part: Term) -> tuple[int, ...]:
    return tuple(part.sizes[label] for label in part.labels)


def _added(moving: list[tuple[Any, Table]]) -> list[tuple[Any, Table]]:
    """Arrays that go to the same places, added before they go there."""
    found: list[tuple[Any, Table]] = []
    for value, slots in (_sorted_axes(*one) for one in moving):
        for k, (other, places) in enumerate(found):
            if places.shape == slots.shape and np.array_equal(places, slots):
                found[k] = (other + value, places)
                break
        else:
            found.append((value, slots))
    return found


def _sorted_axes(value: Any, slots: Table) -> tuple[Any, Table]:
    """Both with the axes in the order of the places, the last one changing fastest."""
    kept = [axis for axis, n in enumerate(slots.shape) if n > 1]

    def step(axis: int) -> int:
        line = slots[(0,) * axis + (slice(None, 2),) + (0,) * (slots.ndim - axis - 1)]
        return int(line[0] - line[1])

    order = [axis for axis in range(slots.ndim) if axis not in kept] + sorted(kept, key=step)
    return value.transpose(order), slots.transpose(order)


def _targets(
    moving: list[tuple[Any, Table]], base: NDArray[np.float64]
) -> tuple[list[Any], list[Target], NDArray[np.float64] | None]:
    """The largest first, so that the others add to what stands there already."""
    written = np.zeros(len(base), bool)
    fixed = base.copy()
    values: list[Any] = []
    targets: list[Target] = []

    def put(value: Any, slots: Table, *, adds: bool) -> None:
        for part, places in _parts(value, slots):
            targets.append(Target(places, adds))
            values.append(part)

    for value, slots in sorted(moving, key=lambda one: -one[1].size):
        flat = slots.reshape(-1)
        there = np.zeros(len(base), bool)
        there[flat] = True
        if np.count_nonzero(there) < len(flat):
            value, slots = _together(value, flat)  # noqa: PLW2901 (the same numbers, added up)
            flat = slots
        if written[flat].all():
            put(value, slots, adds=True)
        elif not written[flat].any():
            put(_with(value, fixed, slots), slots, adds=False)
        else:
            inside = value.reshape(-1)
            new, old = np.flatnonzero(~written[flat]), np.flatnonzero(written[flat])
            put(_with(inside[new], fixed, flat[new]), flat[new], adds=False)
            put(inside[old], flat[old], adds=True)
        written[flat] = True
    return values, targets, None if written.all() else base


def _with(value: Any, fixed: NDArray[np.float64], slots: Table) -> Any:
    """``value`` and the numbers that never change at the same places."""
    constant = fixed[slots]
    return value + constant if constant.any() else value


def _together(value: Any, flat: Table) -> tuple[Any, Table]:
    """Numbers that go to one place, added up."""
    places, back = np.unique(flat, return_inverse=True)
    return np.bincount(back, value.reshape(-1), minlength=len(places)), places


def _parts(value: Any, slots: Table) -> list[tuple[Any, Places]]:
    """The value and its places; of large ones a few parts whose places are evenly spaced (a grid's
    edges and its inner part), as views are faster than a table.
    """
    boxes = _boxes(value, slots, min(FEW, slots.size // MANY))
    return boxes or [(value.reshape(-1), slots.reshape(-1))]


def _boxes(value: Any, slots: Table, most: int) -> list[tuple[Any, Places]]:
    """Evenly spaced parts, at most so many; none where there would be more."""
    places = _places(slots)
    if isinstance(places, Strided):
        return [(value, places)]
    for axis in range(slots.ndim):
        cuts = _cuts(np.moveaxis(slots, axis, 0))
        found: list[tuple[Any, Places]] = []
        for start, stop in pairwise(cuts) if 2 < len(cuts) <= most + 1 else ():
            part = (slice(None),) * axis + (slice(start, stop),)
            inner = _boxes(value[part], slots[part], most - len(found))
            if not inner:
                break
            found += inner
        else:
            if found:
                return found
    return []


def _cuts(slots: Table) -> list[int]:
    """Where parts along the first axis begin and end in which the places move by equal steps."""
    lines = slots.reshape(len(slots), -1)
    moved = np.diff(lines, axis=0)
    alike = (moved == moved[:, :1]).all(axis=1)
    cuts = [0]
    while cuts[-1] < len(lines):
        start, stop = cuts[-1], cuts[-1] + 1
        while stop < len(lines) and alike[stop - 1] and moved[stop - 1, 0] == moved[start, 0]:
            stop += 1
        cuts.append(stop)
    return cuts


def _places(slots: Table) -> Places:
    """``slots`` as a view of the data where they are evenly spaced along each axis."""
    if slots.size == 0:
        return slots.reshape(-1)
    offset = int(slots.flat[0])
    strides = []
    for axis, n in enumerate(slots.shape):
        line = slots[(0,) * axis + (slice(None),) + (0,) * (slots.ndim - axis - 1)]
        strides.append(int(line[1] - line[0]) if n > 1 else 1)
    even = np.full((1,) * slots.ndim, offset)
    for axis, (n, step) in enumerate(zip(slots.shape, strides, strict=True)):
        even = even + (np.arange(n) * step).reshape((-1,) + (1,) * (slots.ndim - axis - 1))
    if np.array_equal(even, slots):
        return Strided(offset, slots.shape, tuple(strides))
    return slots.reshape(-1)


def _packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))
