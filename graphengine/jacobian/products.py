"""A term times a vector, without its matrix: the pull-back, and transposed the push-forward."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from graphengine.jacobian.contraction import contract
from graphengine.jacobian.terms import (
    Array,
    Factor,
    Label,
    Positions,
    Shape,
    Side,
    Term,
    distinct,
    flat_positions,
)
from graphengine.tracing import as_array, placed


def pull(part: Term, row: Array, in_shape: Shape, limit: int) -> Array:
    """``row`` (in the output's shape) times the term's matrix, in the shape of the input."""
    operands = (gather(part.out, row), *part.factors)
    labels = part.into.labels
    values = contract(operands, labels, part.sizes, limit, part.coef)
    return scatter(part.into, labels, values).reshape(in_shape)


def gather(side: Side, values: Array) -> Factor:
    """The entries of ``values`` that ``side`` reaches, with one axis for each of its labels."""
    array = values.reshape(side.view)
    for axis, (_, at) in enumerate(side.axes):
        if at is not None:
            array = array[(slice(None),) * axis + (as_key(at),)]
    return distinct(Factor(array, tuple(index.label for index in side.axes)))


def as_key(at: Positions) -> slice | NDArray[np.intp]:
    """``at`` for NumPy's indexing: a slice for a range (no copy), the table itself otherwise."""
    if not isinstance(at, range):
        return as_array(at)
    stop = at.stop if at.stop >= 0 else None
    return slice(at.start, stop, at.step) if len(at) else slice(0, 0)


def scatter(side: Side, labels: tuple[Label, ...], values: Array) -> Array:
    """The inverse of :func:`gather`: add ``values`` up at the positions of ``side``."""
    plain = all(index.at is None for index in side.axes) and len(labels) == len(side.axes)
    if plain:
        return values
    if len(labels) == len(side.axes) and all(
        index.at is None or isinstance(index.at, range) for index in side.axes
    ):
        key = tuple(slice(None) if i.at is None else as_key(i.at) for i in side.axes)
        return as_array(placed(values, side.view, key))
    flat = flat_positions(side, labels)
    places = np.broadcast_to(flat, values.shape).reshape(-1)
    sums = np.bincount(places, values.reshape(-1), minlength=math.prod(side.view))
    return as_array(sums, np.float64)
