"""NumPy's indices as frozen values: ``x[1:, ::2, 0]``, ``x[[0, 2]]``, ``x[..., None]``.

An index is a tuple of items: a whole number, a :class:`Slice`, ``None`` (a new axis), ``...``, or
a :class:`Table` (an array of positions, or a mask).  It can be hashed and compared, its result's
shape is known without any array, and it prints as formula text.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphengine.errors import OpError, ShapeError
from graphengine.ops.base import Shape, broadcast

__all__ = ["Item", "Key", "Slice", "Table", "freeze", "result_shape", "thaw", "written"]


class Slice(NamedTuple):
    """``start:stop:step`` (a Python slice cannot be hashed before Python 3.12)."""

    start: int | None
    stop: int | None
    step: int | None


class Table(NamedTuple):
    """An array of positions, or a mask, by its bytes."""

    shape: Shape
    mask: bool
    data: bytes

    @property
    def array(self) -> NDArray[Any]:
        """The array (read-only)."""
        return np.frombuffer(self.data, np.bool_ if self.mask else np.intp).reshape(self.shape)

    @property
    def axes(self) -> int:
        """How many axes of the indexed array it consumes."""
        return len(self.shape) if self.mask else 1


Item: TypeAlias = int | Slice | Table | EllipsisType | None
Key: TypeAlias = tuple[Item, ...]


# --- to and from NumPy --------------------------------------------------------------------


def freeze(index: Any) -> Key:
    """Whatever stands in ``x[...]``, as a frozen value; :class:`OpError` for what cannot.

    >>> freeze((slice(1, None), 0)), freeze(())
    ((Slice(start=1, stop=None, step=None), 0), (Ellipsis,))
    """
    if isinstance(index, (Slice, Table)) or not isinstance(index, tuple):
        index = (index,)
    key = tuple(map(_item, index))
    if sum(item is Ellipsis for item in key) > 1:
        raise OpError("an index", expected="... at most once", got=written(key))
    return key or (Ellipsis,)


def _item(given: Any) -> Item:
    if given is None or given is Ellipsis or isinstance(given, (Slice, Table)):
        return given
    if isinstance(given, slice):
        if given.step is not None and _whole(given.step) == 0:
            raise OpError("an index", expected="a step that is not 0", got=f"{given}")
        return Slice(*(_whole(n) for n in (given.start, given.stop, given.step)))
    try:
        array = np.asarray(given)
    except ValueError:
        raise OpError(
            "an index", expected="a rectangular array", got="nested lists of unequal length"
        ) from None
    if array.size == 0 and isinstance(given, (list, tuple)):
        array = array.astype(np.intp)
    kinds = "iub" if array.ndim else "iu"  # x[True] is a slip: a new axis, not a choice
    if array.dtype.kind not in kinds or 0 in array.shape[:-1]:
        raise OpError(
            "an index",
            expected="whole numbers, slices, None, ..., or arrays of whole numbers or of booleans",
            got=f"{given!r:.60}",
            hint="positions that are computed go through take(x, indices, axis)",
        )
    if array.ndim == 0:
        return int(array)
    mask = array.dtype.kind == "b"
    return Table(array.shape, mask, array.astype(np.bool_ if mask else np.intp).tobytes())


def _whole(given: Any) -> int | None:
    try:
        return None if given is None else operator.index(given)
    except TypeError:
        raise OpError("a slice", expected="whole numbers", got=f"{given!r:.60}") from None


def thaw(key: Key) -> tuple[Any, ...]:
    """The index as NumPy takes it.

    >>> thaw(freeze((slice(1, None), [0, 2])))
    (slice(1, None, None), array([0, 2]))
    """
    return tuple(
        slice(*item) if isinstance(item, Slice) else item.array if isinstance(item, Table) else item
        for item in key
    )


def written(key: Key) -> str:
    """The index as formula text, without its brackets.

    >>> written(freeze((slice(1, None), slice(None, None, -2), 0, None, [0, 2])))
    '1:, ::-2, 0, None, [0, 2]'
    """
    return ", ".join(map(_text, key))


def _text(item: Item) -> str:
    if isinstance(item, Slice):
        start, stop, step = ("" if n is None else str(n) for n in item)
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
    if isinstance(item, Table):
        return str(item.array.tolist())
    return "..." if item is Ellipsis else str(item)


# --- shapes -------------------------------------------------------------------------------


def result_shape(key: Key, shape: Shape) -> Shape:
    """The shape of ``x[key]`` for an ``x`` of ``shape``, as NumPy has it.

    Raises :class:`ShapeError` for too many indices and for positions out of range.

    >>> result_shape(freeze((slice(None), [0, 1, 1], None)), (4, 2, 3))
    (4, 3, 1, 3)
    """
    used = sum(_axes(item) for item in key)
    if used > len(shape):
        raise ShapeError("", expected=f"at most {len(shape)} indices", got=str(used))
    dims: list[int] = []
    tables: list[Shape] = []
    places: list[int] = []  # of whole numbers and tables, among the items
    first = axis = 0
    for place, item in enumerate(key if Ellipsis in key else (*key, Ellipsis)):
        if item is None:
            dims.append(1)
        elif item is Ellipsis:
            free = len(shape) - used
            dims += shape[axis : axis + free]
            axis += free
        elif isinstance(item, Slice):
            dims.append(len(range(*slice(*item).indices(shape[axis]))))
            axis += 1
        else:
            first = first if places else len(dims)
            places.append(place)
            tables.append(_table_shape(item, axis, shape))
            axis += _axes(item)
    if any(isinstance(item, Table) for item in key):
        # NumPy puts the tables' axes in their place, or first where a slice stands in between.
        together = places[-1] - places[0] < len(places)
        first = first if together else 0
        dims[first:first] = broadcast(*tables)
    return tuple(dims)


def _axes(item: Item) -> int:
    """How many axes of the array an item consumes."""
    if isinstance(item, Table):
        return item.axes
    return 0 if item is None or item is Ellipsis else 1


def _table_shape(item: int | Table | EllipsisType, axis: int, shape: Shape) -> Shape:
    """The shape of an array of positions, once it is known to fit the axis."""
    if not isinstance(item, Table):
        _in_range([operator.index(item)], axis, shape[axis])  # type: ignore[arg-type]  # not ...
        return ()
    if not item.mask:
        _in_range(
            (n for part in [item.array] if part.size for n in (part.min(), part.max())),
            axis,
            shape[axis],
        )
        return item.shape
    whole = shape[axis : axis + item.axes]
    if whole != item.shape:
        raise ShapeError("", expected=f"a mask of shape {whole}", got=f"one of shape {item.shape}")
    return (int(np.count_nonzero(item.array)),)


def _in_range(positions: Iterable[int], axis: int, size: int) -> None:
    for position in positions:
        if not -size <= position < size:
            raise ShapeError(
                "",
                expected=f"an index on axis {axis}, which has size {size}",
                got=str(position),
                hint=f"positions are {-size} to {size - 1}" if size else "the axis is empty",
            )
