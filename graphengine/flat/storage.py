"""Where the arrays of a program lie: in buffers, or at their places in the data of a matrix.

A buffer is given to another array when the last call that reads it is done; an entry-by-entry call
writes over an operand that nothing reads afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from graphengine.flat.factors import IN_PLACE
from graphengine.flat.filling import Fill, Strided
from graphengine.flat.merging import AddMatMul, AddOuter, merge_products, merge_steps
from graphengine.flat.program import Writer
from graphengine.flat.recording import Recorded
from graphengine.flat.statements import can_fill
from graphengine.flat.writing import ATOM, is_number
from graphengine.tracing import Traced

__all__ = ["Storage"]

MANY, LEAST = 16, 1000
"""From ``LEAST`` small arrays on, ``MANY`` times as many as each has entries, it pays to run along
them."""
_MOVES = frozenset({np.reshape, np.transpose})


class Storage(Writer):
    """A :class:`Writer` that knows for each array where it lies, and who reads it last."""

    def __init__(self, recorded: Recorded, name: str) -> None:
        merge_steps(recorded.tape, recorded.results)
        merge_products(recorded.tape, recorded.results)
        super().__init__(recorded, name)
        self.buffers: dict[int, str] = {}
        self.last: dict[int, float] = {}
        for _ in range(2):  # which arrays are results decides how they lie, and what shows them
            self.roots = {k: self._root(self.tape.results[k]) for k in self.needed}
            self.last = self._last_reads()
        self.free: dict[tuple[int, str], list[str]] = {}
        self.sizes: dict[str, tuple[int, str]] = {}
        self.places = self._placed()
        self._hoisted: dict[str, str] = {}
        self._data: dict[int, str] = {}
        self._turned: dict[int, str] = {}
        self.tables: dict[tuple[int, int], Any] = {}

    # --- who reads what ---------------------------------------------------------------------

    def _root(self, x: Traced) -> Traced:
        """The array whose memory ``x`` shows."""
        while self.sees(x):
            x = x.step.args[0]
        return x

    def sees(self, x: Traced) -> bool:
        """Whether ``x`` is a view of an array's memory: a Python number has none, and what is not
        in order is copied by a reshape.
        """
        if not x.step.view or is_number(x) or is_number(x.step.args[0]):
            return False
        return x.step.call is not np.reshape or _same_axes(x) or self.in_order(x.step.args[0])

    def in_order(self, x: Traced) -> bool:
        """Whether ``x`` shows all of its memory in C order."""
        while x.step.view:
            if x.step.call is not np.reshape:
                return False
            if not self.sees(x):
                return True  # a copy
            x = x.step.args[0]
        return not self.long_inside(x)

    def _last_reads(self) -> dict[int, float]:
        """The number of the last call that reads each array; infinite for results."""
        found: dict[int, float] = {}
        for k in self.needed:
            step = self.tape.steps[k]
            if not self.sees(self.tape.results[k]):
                for arg in step.args:
                    if isinstance(arg, Traced):
                        found[self.roots[arg.number].number] = k
        for x in self.recorded.results:
            if isinstance(x, Traced):
                found[self.roots[x.number].number] = math.inf
        return found

    def _placed(self) -> dict[int, tuple[Traced, Strided]]:
        """Values that can be computed in their places in a matrix's data."""
        found: dict[int, tuple[Traced, Strided]] = {}
        for k in self.needed:
            x = self.tape.results[k]
            if not isinstance(x.step.call, Fill):
                continue
            for value, target in zip(x.step.args, x.step.call.targets, strict=True):
                if not target.adds and isinstance(target.places, Strided):
                    calls = {np.transpose} if _by_columns(x.step.call) else _MOVES
                    inner, places = self._behind(value, target.places, calls)
                    if places is None or not self.can_fill(inner):
                        continue
                    blas = inner.step.call in {AddOuter, AddMatMul, *IN_PLACE}
                    if not blas or _gapless(x.step.call, places):  # it would write into a copy
                        found[inner.number] = (x, places)
        return found

    def _behind(
        self, value: Traced, places: Strided, calls: Collection[Any]
    ) -> tuple[Traced, Strided | None]:
        """The array that ``value`` is a view of by ``calls``, and its places; None where it has
        others too, or is used elsewhere.
        """
        seen: Strided | None = places
        while value.step.call in calls and seen is not None:
            if self.uses[value.number] != 1:
                return value, None
            seen, value = _seen_from(value, seen)
        return value, seen if self.uses[value.number] == 1 else None

    @staticmethod
    def can_fill(x: Traced) -> bool:
        """Whether the call can write its result into an array that is given."""
        return can_fill(x)

    def in_buffer(self, x: Traced) -> bool:
        """Whether ``x`` shows a buffer."""
        return self.roots[x.number].number in self.buffers

    def in_place(self, x: Traced) -> bool:
        """Whether ``x`` shows places in a matrix's data."""
        return self.roots[x.number].number in self.places

    # --- buffers ------------------------------------------------------------------------------

    def buffer(self, x: Traced) -> str:
        """A buffer for ``x``: one that is free, or a new one."""
        size = (x.size, x.dtype.name)
        waiting = self.free.get(size)
        if waiting:
            flat = waiting.pop()
        else:
            flat = self.names.numbered("b")
            self.sizes[flat] = size
            self.program.setup.append(f"{flat} = np.empty({x.size}, np.{x.dtype.name})")
        self.buffers[x.number] = flat
        return self.shaped(flat, x)

    def shaped(self, flat: str, x: Traced) -> str:
        """A name for a buffer in the shape of ``x``; a long first axis lies innermost."""
        if x.ndim == 1:
            return flat
        shape = x.shape
        if not self.long_inside(x):
            return self.hoisted(f"{flat}.reshape({', '.join(map(str, shape))})")
        inner = ", ".join(map(str, (*shape[1:], shape[0])))
        axes = ", ".join(map(str, (x.ndim - 1, *range(x.ndim - 1))))
        turned = ".T" if x.ndim == 2 else f".transpose({axes})"
        return self.hoisted(self.hoisted(f"{flat}.reshape({inner})") + turned)

    def long_inside(self, x: Traced) -> bool:
        """Whether ``x``, many small arrays, lies in memory with its long first axis innermost, so
        that calls run along it.
        """
        return (
            x.ndim > 1
            and x.shape[0] >= MANY * math.prod(x.shape[1:])
            and x.shape[0] >= LEAST
            and x.step.call not in {np.matmul, AddOuter, AddMatMul, None, *IN_PLACE}
            and not x.step.view
            and self.last.get(x.number) != math.inf
        )

    def hoisted(self, text: str) -> str:
        """A name for a view of buffers, made once."""
        found = self._hoisted.get(text)
        if found is None:
            found = self._hoisted[text] = self.names.numbered("v")
            self.program.setup.append(f"{found} = {text}")
        return found

    def release(self, k: int) -> None:
        """Free the buffers that call ``k`` read last."""
        for arg in self.tape.steps[k].args:
            if isinstance(arg, Traced):
                root = self.roots[arg.number].number
                flat = self.buffers.get(root)
                if flat is not None and self.last.get(root) == k:
                    del self.buffers[root]
                    self.free.setdefault(self.sizes[flat], []).append(flat)

    def gapless(self, x: Traced) -> bool:
        """Whether what a call writes into lies in memory without gaps, in C order."""
        place = self.places.get(x.number)
        if place is not None:
            return _gapless(place[0].step.call, place[1])
        return not self.long_inside(x)

    def over(self, x: Traced) -> str | None:
        """The operand that an entry-by-entry call may write over."""
        adds = x.step.call in {AddOuter, AddMatMul, *IN_PLACE}
        if not adds and (not isinstance(x.step.call, np.ufunc) or x.step.call is np.matmul):
            return None
        args = [arg for arg in x.step.args if isinstance(arg, Traced)]
        first = [arg for arg in x.step.args[:1] if isinstance(arg, Traced)]
        for arg in first if adds else args:
            root = self.roots[arg.number]
            rest = x.step.args[1:] if adds else [a for a in args if a is not arg]
            others = [a for a in rest if isinstance(a, Traced) and self.roots[a.number] is root]
            if (
                self.last.get(root.number) == x.number
                and root.number in self.buffers
                and arg.shape == x.shape
                and arg.dtype == x.dtype
                and (self.in_order(arg) or (arg is root and self.long_inside(arg)))
                and self.long_inside(arg) == self.long_inside(x)
                and not others
            ):
                return self.buffers[root.number]
        return None

    def home(self, x: Traced) -> str:
        """Where a call writes its result."""
        place = self.places.get(x.number)
        if place is not None:
            return self.place(*place)
        flat = self.over(x)
        if flat is None:
            return self.buffer(x)
        root = next(r for r, name in self.buffers.items() if name == flat)
        del self.buffers[root]
        self.buffers[x.number] = flat
        return self.shaped(flat, x)

    def turned(self, x: Any) -> tuple[str, bool]:
        """The transpose as BLAS takes it: an array in Fortran order, and whether to turn it."""
        text = self.operand(x).within(ATOM)
        if isinstance(x, Traced) and x.step.call is np.transpose:
            return text, True
        view = f"{text}.T"
        mine = isinstance(x, Traced) and self.in_buffer(x)
        return (self.hoisted(view) if mine else view), False

    # --- matrices -----------------------------------------------------------------------------

    def data(self, matrix: Traced) -> str:
        """The data of a matrix, which is there from the start."""
        fill: Fill = matrix.step.call
        name = self._data.get(matrix.number)
        if name is None:
            name = self._data[matrix.number] = self.names.numbered("data")
            made = f"np.empty({fill.size})"
            if fill.base is not None:
                made = f"{self.constant(fill.base).text}.copy()"
            self.program.setup.append(f"{name} = {made}")
            if _by_columns(fill):
                self._turned[matrix.number] = f"{name}_turned"
                self.program.setup.append(f"{name}_turned = np.empty({fill.size})")
        return name

    def place(self, matrix: Traced, places: Strided) -> str:
        """A name for places in a matrix's data, or where that is filled column by column."""
        data = self.data(matrix)
        turned = self._turned.get(matrix.number)
        if turned is None:
            return self.hoisted(self.view(data, places))
        return self.hoisted(self.view(turned, matrix.step.call.turned(places)))


def _same_axes(x: Traced) -> bool:
    """Whether a reshape moves axes of size 1 alone."""
    old, new = np.shape(x.step.args[0]), x.shape
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def _seen_from(value: Traced, places: Strided) -> tuple[Strided | None, Traced]:
    """The places of what ``value`` is a view of."""
    inner = value.step.args[0]
    if not isinstance(inner, Traced):
        return None, value
    if value.step.call is np.reshape and places.whole:
        shape = inner.shape
        strides = tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))
        return Strided(places.offset, shape, strides), inner
    if value.step.call is np.transpose:
        axes = value.step.params["axes"]
        back = sorted(range(len(axes)), key=axes.__getitem__)
        strides = tuple(places.strides[k] for k in back)
        return Strided(places.offset, inner.shape, strides), inner
    return None, inner


def _by_columns(fill: Fill) -> bool:
    """Whether a matrix of many equal rows is filled column by column."""
    rows = fill.rows
    return rows is not None and rows >= max(LEAST, MANY * (fill.size // rows))


def _gapless(fill: Fill, places: Strided) -> bool:
    """Whether places in a matrix's data lie one after another in memory."""
    return places.whole and not _by_columns(fill)
