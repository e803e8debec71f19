"""Flat code in buffers: every array has its place before the first call, and nothing is allocated.

A buffer is given to another array when the last call that reads it is done; an entry-by-entry call
writes over an operand that nothing reads afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphengine.flat.factors import IN_PLACE
from graphengine.flat.filling import Fill, Strided, Target
from graphengine.flat.merging import AddMatMul, AddOuter, merge_products, merge_steps
from graphengine.flat.program import Writer
from graphengine.flat.recording import Recorded
from graphengine.flat.writing import ATOM, Text, is_number, number
from graphengine.tracing import Step, Traced

__all__ = ["BufferedWriter"]

BROADCAST = 2**12
"""From so many entries on it matters how NumPy repeats operands."""
SHORT, ROW, SMALL, EACH = 200, 2700, 64, 1024
BLOCKED = 2**15
"""Products are added to larger matrices in blocks of so many entries."""
MANY, LEAST = 16, 1000
"""From ``LEAST`` small arrays on, ``MANY`` times as many as each has entries, it pays to run along
them."""
"""Products over rows of fewer than ``SHORT`` entries are fastest by einsum.  Up to ``ROW`` NumPy
copies rows into its own buffer first, unless that is made ``SMALL``."""

_REDUCE = {
    np.sum: "np.add.reduce",
    np.max: "np.maximum.reduce",
    np.min: "np.minimum.reduce",
    np.prod: "np.multiply.reduce",
    np.any: "np.logical_or.reduce",
    np.all: "np.logical_and.reduce",
}
_WITH_OUT = frozenset({np.cumsum, np.einsum, "concatenate", "stack"})


class BufferedWriter(Writer):
    """A :class:`Writer` whose arrays live in buffers."""

    def __init__(self, recorded: Recorded, name: str) -> None:
        merge_steps(recorded.tape, recorded.results)
        merge_products(recorded.tape, recorded.results)
        super().__init__(recorded, name)
        self.buffers: dict[int, str] = {}
        self.last: dict[int, float] = {}
        self.roots = {k: self._root(self.tape.results[k]) for k in self.needed}
        self.last = self._last_reads()
        self.roots = {k: self._root(self.tape.results[k]) for k in self.needed}
        self.last = self._last_reads()
        self.free: dict[tuple[int, str], list[str]] = {}
        self.sizes: dict[str, tuple[int, str]] = {}
        self.places = self._placed()
        self._hoisted: dict[str, str] = {}
        self._data: dict[int, str] = {}
        self._turned: dict[int, str] = {}
        self._tables: dict[tuple[int, int], Any] = {}

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
                places = target.places
                if target.adds or not isinstance(places, Strided):
                    continue
                while value.step.call in {np.reshape, np.transpose} and places is not None:
                    if self.uses[value.number] != 1:
                        places = None
                        break
                    places, value = _seen_from(value, places)  # noqa: PLW2901 (up the views)
                if places is not None and self.uses[value.number] == 1 and self.can_fill(value):
                    found[value.number] = (x, places)
        return found

    @staticmethod
    def can_fill(x: Traced) -> bool:
        """Whether the call can write its result into an array that is given."""
        call = x.step.call
        if is_number(x) or call is None or (call is np.mean and not np.size(x.step.args[0])):
            return False
        return (
            isinstance(call, np.ufunc) or call in _REDUCE or call in _WITH_OUT
            or call in {np.where, "astype", np.mean, AddOuter, AddMatMul}
            or _table(x) is not None
        )

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
        turned = ".T" if x.ndim == 2 else f".transpose({x.ndim - 1}, {', '.join(map(str, range(x.ndim - 1)))})"
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

    def over(self, x: Traced) -> str | None:
        """The operand that an entry-by-entry call may write over."""
        adds = x.step.call in {AddOuter, AddMatMul, *IN_PLACE}
        if not adds and (not isinstance(x.step.call, np.ufunc) or x.step.call is np.matmul):
            return None
        args = [arg for arg in x.step.args if isinstance(arg, Traced)]
        first = [arg for arg in x.step.args[:1] if isinstance(arg, Traced)]
        for arg in first if adds else args:
            root = self.roots[arg.number]
            others = [a for a in args if a is not arg and self.roots[a.number] is root]
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

    # --- statements ---------------------------------------------------------------------------

    def call(self, x: Traced) -> None:
        """One call: into its place, over an operand, or into a buffer."""
        step = x.step
        if isinstance(step.call, Fill):
            self.fill(x, step.call)
        elif self.sees(x):
            self.see(x)
        elif is_number(x):
            self.number(x)
        elif step.call == "placed":
            self.keep(x)
        elif step.call in IN_PLACE:
            step.call(self, x)
        elif self.can_fill(x):
            self.into(x, self.home(x))
        else:
            self.assign(x, self.expression(x), None)
        self.release(x.number)

    def see(self, x: Traced) -> None:
        """A view: made once where it is one of a buffer."""
        text = self.expression(x)
        if self.roots[x.number].number in self.buffers or self._is_place(x):
            text = Text(self.hoisted(text.text), ATOM)
        self.texts[x.number] = text

    def _is_place(self, x: Traced) -> bool:
        return self.roots[x.number].number in self.places

    def number(self, x: Traced) -> None:
        """A Python number: computed at once where it is read from arrays."""
        text = self.expression(x)
        plain = all(is_number(arg) for arg in x.step.args if isinstance(arg, Traced))
        if plain and self.uses[x.number] == 1 and len(text.text) < 60:
            self.texts[x.number] = text
        else:
            self.assign(x, text, self.recorded.names.get(x.number))

    def keep(self, x: Traced) -> None:
        """Zeros with values in some places: the zeros are written once."""
        flat = self.names.numbered("b")
        self.program.setup.append(f"{flat} = np.zeros({x.size})")
        whole = self.hoisted(f"{flat}.reshape({', '.join(map(str, x.shape))})")
        key = ", ".join(_slice(item) for item in x.step.params["key"])
        inside = self.hoisted(f"{whole}[{key}]")
        self.line(f"{inside}[...] = {self.operand(x.step.args[0]).text}", x)
        self.texts[x.number] = Text(whole, ATOM)

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

    def into(self, x: Traced, home: str) -> None:
        """The statement that writes the result of a call into ``home``."""
        for text in self.statements(x, home):
            self.line(text, x)
        self.texts[x.number] = Text(home, ATOM)

    def statements(self, x: Traced, home: str) -> Iterator[str]:
        """The text of a call with the array that it writes into."""
        step = x.step
        args = [self.operand(arg).text for arg in step.args]
        given = ", ".join(args)
        if step.call in {AddOuter, AddMatMul}:
            yield from self._added(x, home, args)
        elif step.call is np.matmul and self._flat_product(x):
            yield f"np.dot({given}, out={home})"
        elif isinstance(step.call, np.ufunc):
            outer = _outer(x) if _broadcasts(x) and x.shape[-1] < SHORT else None
            if outer is not None:
                yield self._outer_products(x, home, *outer)
                return
            if _broadcasts(x) and x.shape[-1] < SHORT and step.call is np.multiply:
                yield f"np.einsum({self._letters(x)}, out={home})"
                return
            text = f"{self.called(step.call)}({given}, out={home})"
            yield from _small_buffer(text) if _broadcasts(x) and _long(x) else [text]
        elif step.call == "getitem":
            yield self.taken(x, home)
        elif step.call is np.where:
            if args[2] != home:
                yield f"np.copyto({home}, {args[2]})"
            yield f"np.copyto({home}, {args[1]}, where={args[0]})"
        elif step.call == "astype":
            yield f'np.copyto({home}, {args[0]}, casting="unsafe")'
        elif step.call is np.mean:
            count = np.size(step.args[0]) / max(x.size, 1)
            yield f"np.add.reduce({given}, {_axis(step.params)}, out={home})"
            yield f"np.multiply({home}, {number(1.0 / count)}, out={home})"
        elif step.call in _REDUCE:
            yield f"{_REDUCE[step.call]}({given}, {_axis(step.params)}, out={home})"
        else:
            text = self.expression(x).text
            yield f"{text[:-1]}, out={home})"

    def _outer_products(self, x: Traced, home: str, many: int, column: int) -> str:
        """One outer product for each of ``many``: a matrix product with one inner index runs at
        the speed of writing.
        """
        width = x.shape[-1]
        rows = x.size // many // width
        columns = self._list(x.step.args[column], (many, rows, 1))
        right = self._list(x.step.args[1 - column], (many, width, 1))
        out = self.hoisted(f"[c.T for c in {home}.reshape({many}, {rows}, {width})]")
        return (
            f"for _a, _b, _c in zip({columns}, {right}, {out}): "
            "blas.dgemm(1.0, _b, _a, 0.0, _c, trans_b=1, overwrite_c=1)"
        )

    def _list(self, x: Traced, shape: tuple[int, ...]) -> str:
        """The matrices of ``x`` in another shape, one after another; made once of a buffer."""
        text = f"{self.operand(x).within(ATOM)}.reshape{shape}"
        mine = self.roots[x.number].number in self.buffers or self._is_place(x)
        return self.hoisted(f"list({text})") if mine and self.in_order(x) else text

    def _letters(self, x: Traced) -> str:
        """A product that broadcasts, for ``np.einsum``: axes of size 1 have no letter."""
        subscripts, operands = [], []
        for arg in x.step.args:
            own = range(x.ndim - arg.ndim, x.ndim)
            kept = [k for k, n in zip(own, arg.shape, strict=True) if n == x.shape[k] != 1]
            subscripts.append("".join(chr(ord("a") + k) for k in kept))
            operands.append(self._squeezed(arg, [x.shape[k] for k in kept]))
        out = "".join(chr(ord("a") + k) for k in range(x.ndim) if x.shape[k] != 1)
        return f"{','.join(subscripts)}->{out}'".join(["'", ", " + ", ".join(operands)])

    def _squeezed(self, x: Traced, sizes: list[int]) -> str:
        """The text of ``x`` without its axes of size 1."""
        while x.step.call is np.reshape and [n for n in x.step.args[0].shape if n != 1] == sizes:
            x = x.step.args[0]
        if list(x.shape) == sizes:
            return self.operand(x).text
        view = f"{self.operand(x).within(ATOM)}.reshape({', '.join(map(str, sizes))})"
        return self.hoisted(view) if self.roots[x.number].number in self.buffers else view

    def _flat_product(self, x: Traced) -> bool:
        """Whether ``np.dot`` does it: no stacks, and a result without gaps."""
        return max(np.ndim(arg) for arg in x.step.args) <= 2 and x.number not in self.places

    def taken(self, x: Traced, home: str) -> str:
        """Entries at the positions of a table, which are known to be in range."""
        axis, table = _table(x) or (0, np.zeros(0, np.intp))
        source = x.step.args[0]
        text, places = self.operand(source), self.constant(self._positive(table, source.shape[axis]))
        if axis == 0 and self.long_inside(x):
            order = ", ".join(map(str, (*range(1, source.ndim), 0)))
            view = f"{text.within(ATOM)}.transpose({order})"
            mine = self.roots[source.number].number in self.buffers
            inner = ", ".join(map(str, (*x.shape[1:], x.shape[0])))
            raw = self.hoisted(f"{self.buffers[x.number]}.reshape({inner})")
            text, axis, home = Text(self.hoisted(view) if mine else view, ATOM), x.ndim - 1, raw
        return f'np.take({text.text}, {places.text}, {axis}, {home}, "clip")'

    def _positive(self, table: Any, size: int) -> Any:
        """The table with positions counted from the front; one array for each table."""
        key = (id(table), size)
        if key not in self._tables:
            self._tables[key] = np.where(table < 0, table + size, table).astype(np.intp)
        return self._tables[key]

    def _added(self, x: Traced, home: str, args: list[str]) -> Iterator[str]:
        """A matrix, or a multiple of it, and a product on top of it."""
        step = x.step
        scale = step.args[3]
        if step.call is AddOuter and scale != 1.0 and x.size >= BLOCKED:
            yield self._in_blocks(x, home, args)
            return
        if scale != 1.0:
            yield f"np.multiply({number(scale)}, {args[0]}, out={home})"
        elif args[0] != home:
            yield f"np.copyto({home}, {args[0]})"
        yield self.added(step, home)

    def _in_blocks(self, x: Traced, home: str, args: list[str]) -> str:
        """The same block by block: each is added to while it is in the cache."""
        column, row = (self.flat(arg) for arg in x.step.args[1:3])
        rows = max(1, BLOCKED // x.shape[1])
        one = f"_k : _k + {rows}"
        return (
            f"for _k in range(0, {x.shape[0]}, {rows}): "
            f"blas.dger(1.0, {row}, {column}[{one}], overwrite_a=1, "
            f"a=np.multiply({number(x.step.args[3])}, {args[0]}[{one}], out={home}[{one}]).T)"
        )

    def added(self, step: Step, home: str) -> str:
        """A product that BLAS adds to what stands in ``home`` (its transpose is in Fortran order)."""
        _, left, right, _ = step.args
        turned = self.hoisted(f"{home}.T")
        if step.call is AddOuter:
            column, row = (self.flat(arg) for arg in (left, right))
            return f"blas.dger(1.0, {row}, {column}, a={turned}, overwrite_a=1)"
        (b, trans_a), (a, trans_b) = self.turned(right), self.turned(left)
        flags = "".join(f", trans_{k}=1" for k, t in (("a", trans_a), ("b", trans_b)) if t)
        return f"blas.dgemm(1.0, {b}, {a}, beta=1.0, c={turned}, overwrite_c=1{flags})"

    def flat(self, x: Traced) -> str:
        """A vector of what has one axis that is not of size 1."""
        if x.step.call is np.reshape and len(np.shape(x.step.args[0])) == 1:
            return self.operand(x.step.args[0]).text
        text = self.operand(x)
        return text.text if x.ndim == 1 else f"{text.within(ATOM)}.reshape(-1)"

    def turned(self, x: Any) -> tuple[str, bool]:
        """The transpose as BLAS takes it: an array in Fortran order, and whether to turn it."""
        text = self.operand(x).within(ATOM)
        if isinstance(x, Traced) and x.step.call is np.transpose:
            return text, True
        view = f"{text}.T"
        mine = isinstance(x, Traced) and self.roots[x.number].number in self.buffers
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
            rows = fill.rows
            if rows is not None and rows >= max(LEAST, MANY * (fill.size // rows)):
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

    def fill(self, x: Traced, fill: Fill) -> None:
        """What was not computed in its place is copied there."""
        data = self.data(x)
        for value, target in zip(x.step.args, fill.targets, strict=True):
            if self.roots[value.number].number not in self.places or target.adds:
                self.put(x, data, value, target)
        turned = self._turned.get(x.number)
        if turned is not None and fill.rows is not None:
            width = fill.size // fill.rows
            rows = self.hoisted(f"{data}.reshape({fill.rows}, {width})")
            columns = self.hoisted(f"{turned}.reshape({width}, {fill.rows}).T")
            self.line(f"np.copyto({rows}, {columns})", x)
        self.texts[x.number] = Text(data, ATOM)

    def put(self, x: Traced, data: str, value: Traced, target: Target) -> None:
        """One value copied to its places in ``data``."""
        if isinstance(target.places, np.ndarray):
            super().put(x, data, value, target)
            return
        view, text = self.place(x, target.places), self.texts[value.number].text
        call = f"np.add({view}, {text}, out={view})" if target.adds else f"np.copyto({view}, {text})"
        self.line(call, x)

    def finish(self) -> None:
        """What is returned: the buffers; inputs that are results are copied into one."""
        for x in self.recorded.results:
            if isinstance(x, Traced) and x.shape and self.roots[x.number].step.call is None:
                home = self.buffer(x)
                self.line(f"np.copyto({home}, {self.texts[x.number].text})", x)
                self.texts[x.number] = Text(home, ATOM)
        shown = [
            self.texts[x.number].text
            if isinstance(x, Traced)
            else self.constant(np.asarray(x)).text
            for x in self.recorded.results
        ]
        self.returns(shown)


def _table(x: Traced) -> tuple[int, Any] | None:
    """The axis and the table of ``x`` where it picks whole slices by one table that is known."""
    if x.step.call != "getitem" or x.step.view or len(x.step.args) != 2:
        return None
    table, plan = x.step.args[1], x.step.params["key"]
    if isinstance(table, Traced) or table.dtype.kind != "i" or table.ndim != 1:
        return None
    axis = next(k for k, item in enumerate(plan) if isinstance(item, tuple))
    others = [item for k, item in enumerate(plan) if k != axis]
    if any(not isinstance(item, slice) or item != slice(None) for item in others):
        return None
    return axis, table


def _same_axes(x: Traced) -> bool:
    """Whether a reshape moves axes of size 1 alone."""
    old, new = np.shape(x.step.args[0]), x.shape
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def _axis(params: Any) -> str:
    axis = params["axis"]
    one = isinstance(axis, tuple) and len(axis) == 1
    text = f"axis={axis[0] if one else axis}"
    if params["keepdims"]:
        text += ", keepdims=True"
    if "initial" in params:
        text += f", initial={number(params['initial'])}"
    return text


def _slice(item: Any) -> str:
    parts = (item.start, item.stop, item.step)
    return ":".join("" if n is None else str(n) for n in parts)


def _broadcasts(x: Traced) -> bool:
    """Whether two arrays are combined of which at least one is repeated."""
    args = x.step.args
    if x.size < BROADCAST or x.step.call is np.matmul or len(args) != 2 or 1 in x.shape:
        return False
    if not all(isinstance(arg, Traced) and arg.shape for arg in args):
        return False
    return any(arg.shape != x.shape for arg in args)


def _outer(x: Traced) -> tuple[int, int] | None:
    """How many outer products ``x`` is, and which operand holds their columns; None if it is none.

    Both vary along the first axes, one alone along those that follow, the other alone along the
    last.
    """
    if x.step.call is not np.multiply:
        return None
    full = [(1,) * (x.ndim - arg.ndim) + arg.shape for arg in x.step.args]
    for column, row in ((0, 1), (1, 0)):
        u, w = full[column], full[row]
        first = next((k for k, n in enumerate(w) if n != x.shape[k]), x.ndim)
        if (
            u == (*x.shape[:-1], 1)
            and w == (*x.shape[:first], *(1,) * (x.ndim - 1 - first), x.shape[-1])
            and first < x.ndim - 1
        ):
            many = math.prod(x.shape[:first])
            return (many, column) if x.size // many >= EACH else None
    return None


def _long(x: Traced) -> bool:
    return SHORT <= x.shape[-1] < ROW


def _small_buffer(text: str) -> list[str]:
    return [f"_size = np.setbufsize({SMALL})", text, "np.setbufsize(_size)"]


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
