"""The text of a compiled function for calls on arrays of one shape, entry by entry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from graphengine.flat.fused_groups import Loop, Number
from graphengine.flat.fused_layout import Address, Before, Fixed, Here, Layout, Moving, Source
from graphengine.flat.fused_math import FAR
from graphengine.flat.fused_numbers import LETTERS, Kernel, loaded, number_text, row_text
from graphengine.flat.fused_ops import WAVES, helpers, statement
from graphengine.flat.fused_repeats import Stretch, stretches

__all__ = ["Memory", "arrays_text"]

LONGEST = 100
"""So many calls stand in one loop over the entries at most."""
CACHE = 3000
"""What is kept for the entries that are computed at a time: so many numbers, that a processor's
nearest cache holds."""
LEAST, MOST = 16, 256
"""So many entries are computed at a time."""


class Memory(NamedTuple):
    """Where the entries of an array are: in a flat array at evenly spaced places, by the loop's
    axes.
    """

    kind: str
    ndim: int
    """The axes of the array that is handed over, which has no gaps."""
    offset: int
    strides: tuple[int, ...]


def arrays_text(
    name: str, loop: Loop, given: Sequence[Memory | str], taken: Sequence[Memory]
) -> Kernel:
    """A function that computes the arrays that are taken from what is given: arrays, or numbers of
    a kind.

    Where there are sines, it returns whether it met arguments too large for it: the function whose
    name ends in ``_far`` takes them.
    """
    loop_layout = Layout(loop, stretches(loop, longest=LONGEST, arrays=True))
    return _ArraysText(name, loop_layout, given, taken).kernel()


class _ArraysText:
    """Writes loops over the entries, in chunks where several stretches hand entries on."""

    def __init__(
        self, name: str, layout: Layout, given: Sequence[Memory | str], taken: Sequence[Memory]
    ) -> None:
        self.layout, self.loop = layout, layout.loop
        self.kernel_ = Kernel(name, "", "")
        arrays = [one for one in (*given, *taken) if isinstance(one, Memory)]
        self.sizes, strides = merged_axes(self.loop.shape, [one.strides for one in arrays])
        moved = iter(one._replace(strides=own) for one, own in zip(arrays, strides, strict=True))
        self.given = [next(moved) if isinstance(one, Memory) else one for one in given]
        self.homes = list(moved)
        self.straight = len(layout.stretches) == 1 and layout.stretches[0].count == 1
        self.hands = {
            place: layout.rows + k for k, place in enumerate(() if self.straight else layout.last)
        }
        """The rows of the last results of their kind."""
        rows = layout.rows + len(self.hands)
        most = max(LEAST, min(MOST, CACHE // max(rows, 1) // LEAST * LEAST))
        self.chunk = min(self.sizes[-1], most)
        if rows:
            self.kernel_.rooms["w"] = rows * self.chunk
        self.waves = any(call.function in WAVES for call in self.loop.calls)

    def kernel(self) -> Kernel:
        """The text and the types."""
        inner = self._entries() if self.straight else self._chunks()
        body = list(inner)
        for axis in reversed(range(len(self.sizes) - 1)):
            body = [f"for i{axis} in range({self.sizes[axis]}):", *_inside(body)]
        params, flat = self._params()
        if self.waves:
            body = ["far = False", *body, "return far"]
        made = self.kernel_
        made.signature = f"({', '.join(kind for _, kind in params)}{',' * (len(params) == 1)})"
        head = f"def {made.name}({', '.join(one for one, _ in params)}):"
        lines = ['@numba.njit(error_model="numpy")', head, *_inside([*flat, *body])]
        if self.waves:
            lines = [
                f"def {made.name}_by(_sin, _cos):",
                *_inside([*lines, f"return {made.name}"]),
                "",
                f"{made.name} = {made.name}_by(_sin, _cos)",
                f"{made.name}_far = {made.name}_by(math.sin, math.cos)",
            ]
            made.helpers += [one for one in ("_sin", "_cos") if one not in made.helpers]
        made.text = "\n".join(lines) + "\n"
        return made

    def _params(self) -> tuple[list[tuple[str, str]], list[str]]:
        """The arguments with their types, and statements that make them flat."""
        params, flat = [], []
        for place, one in enumerate(self.given):
            name = f"x{place + 1}"
            if not isinstance(one, Memory):
                params.append((name, LETTERS[one]))
                continue
            if one.ndim > 1:
                flat.append(f"{name} = a{place + 1}.reshape(-1)")
                name = f"a{place + 1}"
            params.append((name, f"{LETTERS[one.kind]}[{':,' * (one.ndim - 1)}::1]"))
        for place, one in enumerate(self.homes):
            params.append((f"y{place + 1}", f"{LETTERS[one.kind]}[::1]"))
        params += [(table, "float64[::1]") for table in self.kernel_.tables]
        params += [(room, "float64[::1]") for room in self.kernel_.rooms]
        return params, flat

    # --- one stretch ------------------------------------------------------------------------

    def _entries(self) -> list[str]:
        (stretch,) = self.layout.stretches
        lines = [*_once(self._body(stretch)), *self._taken(stretch)]
        return [f"for j in range({self.sizes[-1]}):", *_inside(lines)]

    def _taken(self, stretch: Stretch) -> Iterator[str]:
        """Results of the stretch that are taken, written where they belong."""
        for k, (taken, home) in enumerate(zip(self.loop.taken, self.homes, strict=True)):
            if stretch.start <= taken.place < stretch.stop:
                yield f"y{k + 1}[{self._place(home)}] = {self.layout.name(taken.place)}"

    def _place(self, memory: Memory) -> str:
        """The text of an entry's place."""
        parts = [str(memory.offset)] if memory.offset else []
        for axis, (size, stride) in enumerate(zip(self.sizes, memory.strides, strict=True)):
            innermost = axis == len(self.sizes) - 1
            index = f"i{axis}" if not innermost else "j" if self.straight else "(low + j)"
            if stride and size > 1:
                parts.append(index if stride == 1 else f"{stride} * {index}")
        return " + ".join(parts).replace("+ -", "- ") or "0"

    # --- several stretches ------------------------------------------------------------------

    def _chunks(self) -> list[str]:
        lines: list[str] = []
        for stretch in self.layout.stretches:
            lines += self._stretch(stretch)
        lines += self._last()
        size = self.sizes[-1]
        if self.chunk == size:
            return ["low = 0", *lines]
        head = [
            f"for start in range(0, {size}, {self.chunk}):",
            f"    low = min(start, {size - self.chunk})  # the last chunk overlaps",
        ]
        return [*head, *_inside(lines)]

    def _stretch(self, stretch: Stretch) -> Iterator[str]:
        each = f"for j in range({self.chunk}):"
        first: dict[str, None] = {}
        for place in range(stretch.start, stretch.start + stretch.period):
            for source in self.layout.sources(stretch, place):
                if isinstance(source, Before):
                    row = self._row(Address(self.hands[source.place], 0))
                    first[f"w[{row}] = {self._operand(Fixed(source.first))}"] = None
        if first:
            yield each
            yield from _inside(first)
        body = [each, *_inside([*_once(self._body(stretch)), *self._kept(stretch)])]
        if stretch.count == 1:
            yield from body
            yield from _inside(self._taken(stretch))
        else:
            yield f"for k in range({stretch.count}):"
            yield from _inside(body)

    def _kept(self, stretch: Stretch) -> Iterator[str]:
        """Statements that keep results for other stretches and the next repeat."""
        for place in range(stretch.start, stretch.start + stretch.period):
            name, kept = self.layout.name(place), self.layout.kept(stretch, place)
            if kept is not None:
                yield f"w[{self._row(kept)}] = {name}"
            if place in self.hands:
                yield f"w[{self._row(Address(self.hands[place], 0))}] = {name}"

    def _last(self) -> Iterator[str]:
        """What is taken of stretches with repeats."""
        lines = []
        for k, (taken, home) in enumerate(zip(self.loop.taken, self.homes, strict=True)):
            if self.layout.stretches[self.layout.of(taken.place)].count > 1:
                value = self._operand(Fixed(taken.place))
                lines.append(f"y{k + 1}[{self._place(home)}] = {value}")
        if lines:
            yield f"for j in range({self.chunk}):"
            yield from _inside(lines)

    def _row(self, address: Address) -> str:
        """The place of an entry of a row."""
        if address.step == 0:
            return f"{address.base * self.chunk} + j"
        return f"({row_text(address)}) * {self.chunk} + j"

    # --- statements -------------------------------------------------------------------------

    def _body(self, stretch: Stretch) -> Iterator[str]:
        """Statements for one entry; operands from memory are given names first."""
        for place in range(stretch.start, stretch.start + stretch.period):
            call, operands = self.layout.call(place), []
            for column, source in enumerate(self.layout.sources(stretch, place)):
                if isinstance(source, Number):
                    numbers = self.layout.numbers(stretch, place, column)
                    operands.append(number_text(self.kernel_, numbers))
                    continue
                text = self._operand(source)
                if "[" in text:
                    name = self._name(source)
                    yield f"{name} = {text}"
                    text = name
                operands.append(text)
            for one in helpers(call.function, exact=False):
                if one not in self.kernel_.helpers:
                    self.kernel_.helpers.append(one)
            yield (
                f"{self.layout.name(place)} = "
                f"{statement(call.function, operands, call.kinds[0], exact=False)}"
            )
            if call.function in WAVES:
                yield f"far |= abs({operands[0]}) > {FAR}"

    def _name(self, source: Source) -> str:
        """A name for an operand from memory."""
        assert not isinstance(source, (Number, Here))
        if isinstance(source, Before):
            return f"c{self.layout.name(source.place)[1:]}"
        letter = "m" if isinstance(source, Moving) else "r"
        return f"{letter}{source.place + 1}"

    def _operand(self, source: Source) -> str:
        """The text of an operand: a name, or an entry of an array."""
        if isinstance(source, Here):
            return self.layout.name(source.place)
        if isinstance(source, Before):
            return self._kind(Address(self.hands[source.place], 0), source.place)
        assert isinstance(source, (Fixed, Moving))
        place, step = source.place, source.step if isinstance(source, Moving) else 0
        if self.layout.of(place) < 0:
            one = self.given[place]
            return (
                f"x{place + 1}[{self._place(one)}]" if isinstance(one, Memory) else f"x{place + 1}"
            )
        address = self.layout.address(place, step)
        if address is None:
            stretch = self.layout.stretches[self.layout.of(place)]
            first = stretch.start + (place - stretch.start) % stretch.period
            address = Address(self.hands[first], 0)
        return self._kind(address, place)

    def _kind(self, address: Address, place: int) -> str:
        return loaded(f"w[{self._row(address)}]", self.layout.call(place).kind)


# --- axes ---------------------------------------------------------------------------------


def merged_axes(
    shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]
) -> tuple[list[int], list[tuple[int, ...]]]:
    """The axes of a loop, where those along which all arrays go on evenly are one.

    >>> merged_axes((2, 3, 4), [(12, 4, 1), (0, 4, 1)])
    ([2, 12], [(12, 1), (0, 1)])
    """
    kept = [axis for axis, n in enumerate(shape) if n > 1]
    sizes: list[int] = []
    columns: list[list[int]] = []
    for axis in kept:
        steps = [own[axis] for own in strides]
        if columns and all(a == b * shape[axis] for a, b in zip(columns[-1], steps, strict=True)):
            sizes[-1] *= shape[axis]
            columns[-1] = steps
        else:
            sizes.append(shape[axis])
            columns.append(steps)
    if not sizes:
        sizes, columns = [math.prod(shape)], [[0] * len(strides)]
    return sizes, [tuple(column[k] for column in columns) for k in range(len(strides))]


def _once(lines: Iterable[str]) -> dict[str, None]:
    """The lines without those that stand there already."""
    return dict.fromkeys(lines)


def _inside(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
