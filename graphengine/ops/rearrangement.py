"""Ops that move entries: their Jacobian is found by running them on positions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from graphengine.errors import OpError, ShapeError
from graphengine.jacobian import DEFAULT_LIMIT, Jacobian, Rule, term
from graphengine.jacobian.contraction import guard
from graphengine.jacobian.terms import Index, Side, Term
from graphengine.ops import indexing
from graphengine.ops.base import (
    ATOM,
    Array,
    Example,
    Op,
    Operand,
    Shape,
    Written,
    axes_of,
    broadcast,
    numbers,
)
from graphengine.ops.moving import Moving, Rearrangement, along, places
from graphengine.ops.selection import Comparison
from graphengine.tracing import as_array, taken

# --- one array ----------------------------------------------------------------------------


class Alias(Rearrangement):
    """``x`` under a second name."""

    name = "alias"

    def forward(self, x: Array) -> Array:
        """The value itself."""
        return x

    def shape(self, x: Shape) -> Shape:
        """The same shape."""
        return x

    def d_x(self, out: Array, x: Array) -> Rule:
        """The identity, axis by axis."""
        return term("... <- ...")

    def written(self, *args: Written) -> Written:
        """``x``."""
        return args[0]

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a number, nothing."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls(), (numbers(rng),)
        yield cls(), (numbers(rng, 0, 2),)


class Reshape(Rearrangement):
    """``x`` in ``new_shape``, its entries in C order; one size may be −1 and follows from the
    others.
    """

    name = "reshape"
    new_shape: int | tuple[int, ...]

    def forward(self, x: Array) -> Array:
        """The same entries."""
        return np.reshape(x, self.new_shape)

    def shape(self, x: Shape) -> Shape:
        """The new shape, which must have as many entries."""
        sizes = self.new_shape if isinstance(self.new_shape, tuple) else (self.new_shape,)
        known, size = math.prod(n for n in sizes if n != -1), math.prod(x)
        if sizes.count(-1) == 1 and known > 0 and size % known == 0:
            sizes = tuple(size // known if n == -1 else n for n in sizes)
        if any(n < 0 for n in sizes) or math.prod(sizes) != size:
            raise ShapeError(
                "",
                expected=f"a shape of {size} entries" + (", with one -1 at most" * (-1 in sizes)),
                got=str(sizes),
            )
        return sizes

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """To a matrix, a free size, to and from a number, Fortran order, backwards, empty."""
        yield cls((3, 2)), (numbers(rng, 6),)
        yield cls((2, -1, 2)), (numbers(rng, 4, 3),)
        yield cls(()), (numbers(rng, 1, 1),)
        yield cls(1), (numbers(rng),)
        yield cls(-1), (np.asfortranarray(numbers(rng, 3, 2)),)
        yield cls((4, 3)), (numbers(rng, 2, 6)[::-1, ::-1],)
        yield cls((3, 0)), (numbers(rng, 0, 2),)


class Vec(Rearrangement):
    """``vec(x)``: the rows one after another, as NumPy ravels."""

    name = "vec"

    def forward(self, x: Array) -> Array:
        """The same entries."""
        return np.reshape(x, -1)

    def shape(self, x: Shape) -> Shape:
        """``(size,)``."""
        return (math.prod(x),)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a number, three axes in Fortran order, nothing."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls(), (numbers(rng),)
        yield cls(), (np.asfortranarray(numbers(rng, 2, 3, 2)),)
        yield cls(), (numbers(rng, 3, 0),)


class SwapAxes(Rearrangement):
    """``x`` with the axes ``a`` and ``b`` exchanged."""

    name = "swapaxes"
    a: int
    b: int

    def forward(self, x: Array) -> Array:
        """The same entries."""
        return np.swapaxes(x, self.a, self.b)

    def shape(self, x: Shape) -> Shape:
        """The shape with two sizes exchanged."""
        ((a,), (b,)) = axes_of(self.a, len(x)), axes_of(self.b, len(x))
        sizes = list(x)
        sizes[a], sizes[b] = x[b], x[a]
        return tuple(sizes)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, three axes, from the end, an axis with itself, size 1, empty."""
        yield cls(0, 1), (numbers(rng, 2, 3),)
        yield cls(0, -1), (numbers(rng, 2, 3, 4),)
        yield cls(-2, -1), (numbers(rng, 2, 1, 3)[:, :, ::-1],)
        yield cls(1, 1), (numbers(rng, 2, 2),)
        yield cls(0, 1), (numbers(rng, 0, 3),)


class GetItem(Rearrangement):
    """``x[key]``: NumPy's indexing with numbers, slices, new axes, ``...``, index arrays, masks.

    ``key`` may be given as NumPy takes it and is frozen (:mod:`graphengine.ops.indexing`).  As a
    function, ``getitem(x, key)`` takes a tuple of indices: ``x[[0, 2]]`` is
    ``getitem(x, ([0, 2],))``.  An index out of range is a :class:`ShapeError`.

    >>> GetItem((slice(1, None), 0))(np.arange(6.0).reshape(3, 2))
    array([2., 4.])
    """

    name = "getitem"
    key: Any

    def __post_init__(self) -> None:
        """Freeze the index."""
        object.__setattr__(self, "key", indexing.freeze(self.key))

    def forward(self, x: Array) -> Array:
        """The entries picked."""
        picked: Array = x[indexing.thaw(self.key)]
        return picked

    def shape(self, x: Shape) -> Shape:
        """What NumPy's rules say."""
        return indexing.result_shape(self.key, x)

    def written(self, *args: Written) -> Written:
        """``x[1:, ::2, 0]``."""
        return Written(f"{args[0].within(ATOM)}[{indexing.written(self.key)}]", ATOM)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Numbers, slices both ways, new axes, repeated and paired positions, masks, nothing."""
        yield cls(1), (numbers(rng, 2, 3),)
        yield cls((slice(1, None), slice(None, None, 2), 0)), (numbers(rng, 3, 4, 2),)
        yield cls((..., slice(None, None, -2), None)), (numbers(rng, 2, 5),)
        yield cls(()), (numbers(rng),)
        yield cls((0, -1)), (numbers(rng, 1, 1),)
        yield cls([2, 0, 2, -1]), (numbers(rng, 3, 2),)
        yield cls(([0, 1, 1], [2, 0, 2])), (numbers(rng, 2, 3),)
        yield cls(([[0], [1]], slice(None), [1, 0, 1])), (numbers(rng, 2, 3, 2),)
        yield cls((slice(None), [True, False, True])), (np.asfortranarray(numbers(rng, 2, 3)),)
        yield cls(slice(2, 2)), (numbers(rng, 3, 2),)


class BroadcastTo(Rearrangement):
    """``x`` repeated to ``new_shape``, as NumPy broadcasts."""

    name = "broadcast_to"
    new_shape: int | tuple[int, ...]

    def forward(self, x: Array) -> Array:
        """The same entries, repeated (a view)."""
        return np.broadcast_to(x, self.new_shape)

    def shape(self, x: Shape) -> Shape:
        """The new shape, to which the old one must broadcast."""
        sizes = self.new_shape if isinstance(self.new_shape, tuple) else (self.new_shape,)
        if any(n < 0 for n in sizes):
            raise ShapeError("", expected="sizes from 0", got=str(sizes))
        if broadcast(x, sizes) != sizes:
            raise ShapeError("", expected=f"a shape that {x} broadcasts to", got=str(sizes))
        return sizes

    def d_x(self, out: Array, x: Array) -> Rule:
        """The identity, repeated along what is new: nothing needs to be laid out."""
        return term("... <- ...")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """New axes, axes of size 1, a number, size 1, to nothing."""
        yield cls((2, 3)), (numbers(rng, 3),)
        yield cls((2, 4, 3)), (numbers(rng, 2, 1, 3),)
        yield cls(3), (numbers(rng),)
        yield cls((1, 1)), (numbers(rng, 1),)
        yield cls((0, 2)), (numbers(rng, 1, 2),)


class Repeat(Rearrangement):
    """Each entry ``repeats`` times (a number, or one for each position) along ``axis``; of the
    raveled array where ``axis`` is None.
    """

    name = "repeat"
    repeats: int | tuple[int, ...]
    axis: int | None = None

    def forward(self, x: Array) -> Array:
        """The entries, repeated."""
        return np.repeat(x, self.repeats, self.axis)

    def shape(self, x: Shape) -> Shape:
        """The axis is as long as the repeats add up to."""
        x = x if self.axis is not None else (math.prod(x),)
        (axis,) = axes_of(self.axis or 0, len(x))
        counts = self.repeats if isinstance(self.repeats, tuple) else (self.repeats,)
        if len(counts) not in {1, x[axis]} or any(n < 0 for n in counts):
            raise ShapeError(
                "", expected=f"one count from 0, or {x[axis]}", got=f"repeats={self.repeats}"
            )
        size = sum(counts) if len(counts) == x[axis] else x[axis] * counts[0]
        return (*x[:axis], size, *x[axis + 1 :])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Raveled, an axis, unequal counts, a number, size 1, none."""
        yield cls(2), (numbers(rng, 2, 3),)
        yield cls(3, axis=1), (numbers(rng, 2, 3),)
        yield cls((2, 0, 1), axis=-1), (numbers(rng, 2, 3),)
        yield cls(4), (numbers(rng),)
        yield cls(1, axis=0), (numbers(rng, 1, 1),)
        yield cls(0, axis=0), (numbers(rng, 2, 2),)


class Take(Moving):
    """``x`` at ``indices`` along ``axis``; ``indices`` may be computed, and has any shape.

    ``indices`` has no derivative.  Negative ones count from the end; :class:`OpError` for one
    that is not a whole number or out of range.
    """

    name = "take"
    fixed = frozenset({"indices"})
    axis: int = 0

    def forward(self, x: Array, indices: Array) -> Array:
        """The entries picked."""
        size = x.shape[self.axis]
        return as_array(taken(x, places(indices, -size, size, "take: indices"), self.axis))

    def shape(self, x: Shape, indices: Shape) -> Shape:
        """``x``'s shape with that of ``indices`` in place of the axis."""
        (axis,) = axes_of(self.axis, len(x))
        return x[:axis] + indices + x[axis + 1 :]

    def d_x(self, out: Array, x: Array, indices: Array) -> Jacobian:
        """A 1 where the entry came from, on this axis; the other axes stay."""
        axis = self.axis % x.ndim
        size = x.shape[axis]
        at = places(indices, -size, size, "take: indices") % max(size, 1)
        return along(Jacobian.rearrangement(at, (size,)), axis, x.shape)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Repeated and negative, a table of indices, one, another axis, size 1, none."""
        yield cls(), (numbers(rng, 4, 3), np.array([3.0, 0.0, 0.0, -1.0]))
        yield cls(axis=1), (numbers(rng, 2, 3, 2), np.array([[2.0, 0.0], [1.0, 2.0]]))
        yield cls(axis=-1), (numbers(rng, 2, 3)[:, ::-1], np.array(1.0))
        yield cls(), (numbers(rng, 1), np.array([0.0]))
        yield cls(axis=1), (numbers(rng, 2, 3), np.zeros(0))


class CumSum(Moving):
    """``out_i = Σ_{j ≤ i} x_j`` along ``axis``.

    Its Jacobian is the lower triangle of ones: n(n+1)/2 entries for each line, so an axis longer
    than about 10,000 passes the default limit of memory (:class:`TooLargeError`).
    """

    name = "cumsum"
    axis: int = 0

    def forward(self, x: Array) -> Array:
        """The running sums."""
        return np.cumsum(x, axis=self.axis)

    def shape(self, x: Shape) -> Shape:
        """The same shape."""
        axes_of(self.axis, len(x))
        return x

    def d_x(self, out: Array, x: Array) -> Jacobian:
        """Ones on and below the diagonal of this axis; the other axes stay."""
        axis = self.axis % x.ndim
        size = x.shape[axis]
        triangle = (_triangle if size <= _SHORT else _triangle.__wrapped__)(size)
        return along(triangle, axis, x.shape)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A vector, each axis, size 1, nothing, backwards."""
        yield cls(), (numbers(rng, 4),)
        yield cls(axis=1), (numbers(rng, 2, 3),)
        yield cls(axis=-2), (numbers(rng, 2, 3, 2),)
        yield cls(), (numbers(rng, 1, 1),)
        yield cls(), (numbers(rng, 0, 2),)
        yield cls(), (numbers(rng, 3, 2)[::-1],)


_SHORT = 1024  # positions; the triangle of a longer axis is not held


@lru_cache(maxsize=16)
def _triangle(size: int) -> Jacobian:
    """The lower triangle of ones: one label counts its entries."""
    if size < 2:
        return Jacobian.identity((size,))
    count = size * (size + 1) // 2
    guard(count * 4 * np.dtype(np.intp).itemsize, DEFAULT_LIMIT, f"the Jacobian of {size} sums")
    rows, cols = (as_array(part, dtype=np.intp) for part in np.tril_indices(size))
    out, into = (Side((size,), (Index(0, part),)) for part in (rows, cols))
    return Jacobian((size,), (size,), (Term(out, into, {0: count}),))


# --- several arrays -----------------------------------------------------------------------


class Concatenate(Moving):
    """The arrays one after another along ``axis``, which they all have."""

    name = "concatenate"
    axis: int = 0

    def forward(self, *xs: Array) -> Array:
        """The joined array."""
        return np.concatenate(xs, self.axis)

    def shape(self, *xs: Shape) -> Shape:
        """The sizes on the axis add up; all others are equal."""
        (axis,) = axes_of(self.axis, len(xs[0]))
        others = [(len(x), x[:axis], x[axis + 1 :]) for x in xs]
        if any(other != others[0] for other in others):
            raise ShapeError(
                "",
                expected=f"shapes that differ on axis {axis} alone",
                got=" and ".join(map(str, xs)),
            )
        return (*xs[0][:axis], sum(x[axis] for x in xs), *xs[0][axis + 1 :])

    def d_xs(self, position: int, out: Array, *xs: Array) -> Jacobian:
        """The identity, on this argument's stretch of the axis."""
        axis = self.axis % out.ndim
        start = sum(x.shape[axis] for x in xs[:position])
        stop = start + xs[position].shape[axis]
        inner = Jacobian.rearrangement(np.arange(start, stop), (out.shape[axis],)).T
        return along(inner, axis, out.shape)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Vectors, another axis, one alone, size 1, an empty one between."""
        yield cls(), (numbers(rng, 2), numbers(rng, 3))
        yield cls(axis=1), (numbers(rng, 2, 3), numbers(rng, 2, 1), numbers(rng, 2, 2))
        yield cls(axis=-1), (numbers(rng, 2, 3),)
        yield cls(), (numbers(rng, 1), numbers(rng, 1))
        yield cls(), (numbers(rng, 2, 3), numbers(rng, 0, 3), np.asfortranarray(numbers(rng, 4, 3)))


class Stack(Moving):
    """Arrays of one shape along a new ``axis``."""

    name = "stack"
    axis: int = 0

    def forward(self, *xs: Array) -> Array:
        """The stacked array."""
        return np.stack(xs, self.axis)

    def shape(self, *xs: Shape) -> Shape:
        """One axis more, as long as there are arrays."""
        (axis,) = axes_of(self.axis, len(xs[0]) + 1)
        if any(x != xs[0] for x in xs):
            raise ShapeError("", expected="one shape", got=" and ".join(map(str, xs)))
        return (*xs[0][:axis], len(xs), *xs[0][axis:])

    def d_xs(self, position: int, out: Array, *xs: Array) -> Jacobian:
        """The identity, at this argument's place on the new axis."""
        axis = self.axis % out.ndim
        inner = Jacobian.rearrangement(as_array(position), (len(xs),)).T
        return along(inner, axis, out.shape)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Numbers, a new last axis, a new axis in the middle, one alone, empty."""
        yield cls(), (numbers(rng), numbers(rng), numbers(rng))
        yield cls(axis=-1), (numbers(rng, 3), numbers(rng, 3))
        yield cls(axis=1), (numbers(rng, 2, 3), numbers(rng, 2, 3)[::-1])
        yield cls(), (numbers(rng, 1),)
        yield cls(), (numbers(rng, 0), numbers(rng, 0))


class OneHot(Moving):
    """A last axis of size ``classes``: 1 at the label, 0 elsewhere.

    ``labels`` are whole numbers from 0 to ``classes`` − 1 (:class:`OpError` otherwise) and have
    no derivative.

    >>> OneHot(3)([2, 0])
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """

    name = "one_hot"
    fixed = frozenset({"labels"})
    classes: int

    def forward(self, labels: Array) -> Array:
        """Zeros and ones."""
        at = places(labels, 0, self.classes, "one_hot: labels")
        return as_array(at[..., None] == np.arange(self.classes), dtype=np.float64)

    def shape(self, labels: Shape) -> Shape:
        """One axis more."""
        if self.classes < 0:
            raise ShapeError("", expected="classes from 0", got=f"classes={self.classes}")
        return (*labels, self.classes)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A batch, one label, one class, a table of labels, none."""
        yield cls(3), (np.array([2.0, 0.0, 2.0, 1.0]),)
        yield cls(4), (np.array(3.0),)
        yield cls(1), (np.zeros(1),)
        yield cls(2), (np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]),)
        yield cls(2), (np.zeros(0),)


# --- x[...] -------------------------------------------------------------------------------


def pick(key: Any) -> tuple[Op, tuple[Any, ...]]:
    """The op of ``x[key]`` and its arguments after ``x``: ``getitem``, or ``take`` for an index
    that is computed, a node or an array of floats.

    A computed index stands alone or beside ``:`` and ``...``; :class:`OpError` otherwise, and for
    a comparison, whose shape as a mask would depend on the values.
    """
    items = key if isinstance(key, tuple) else (key,)
    place = next((k for k, item in enumerate(items) if _computed(item)), None)
    if place is None:
        return GetItem(key), ()
    index, rest = items[place], items[:place] + items[place + 1 :]
    if isinstance(getattr(index, "op", None), Comparison):
        raise OpError(
            "an index",
            expected="positions",
            got="a comparison, whose shape as a mask is not known before a run",
            hint="use where(condition, x, 0)",
        )
    if not all(_whole_axes(item) for item in rest):
        raise OpError(
            "an index",
            expected="only ':' and '...' beside a computed index",
            got=f"{len(items)} indices",
            hint="use take(x, indices, axis), or sum(x * one_hot(labels, n), axis=-1)",
        )
    from_end = any(item is Ellipsis for item in items[:place])
    return Take(place - len(items) if from_end else place), (index,)


def _computed(item: Any) -> bool:
    return isinstance(item, Operand) or (isinstance(item, np.ndarray) and item.dtype.kind == "f")


def _whole_axes(item: Any) -> bool:
    return item is Ellipsis or (isinstance(item, slice) and item == slice(None))
