"""The text of a compiled function for calls on numbers, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphengine.flat.fused_groups import Loop, Number
from graphengine.flat.fused_layout import (
    Address,
    Before,
    Fixed,
    Here,
    Layout,
    Moving,
    Source,
)
from graphengine.flat.fused_math import FAR
from graphengine.flat.fused_ops import MATH, WAVES, helpers, literal, statement
from graphengine.flat.fused_repeats import Stretch, stretches

__all__ = ["Kernel", "numbers_text"]

SEPARATE = 16
"""Up to so many numbers are arguments, or results, of their own; more are in one array."""
CHUNK, MANY = 256, 16
"""What does not wait for the repeat before is computed for ``CHUNK`` repeats at once, where there
are ``MANY``."""
WHOLE = 10**9
LETTERS = {"f": "float64", "b": "boolean", "i": "intp"}


@dataclass
class Kernel:
    """A compiled function's text, and what it is called with besides what is given."""

    name: str
    text: str
    signature: str
    """The types of its arguments, as numba writes them."""
    packed: bool = False
    """Whether what is given, numbers, comes in one array."""
    listed: bool = False
    """Whether what is taken, numbers, goes to one array."""
    rooms: dict[str, int] = field(default_factory=dict)
    """Arrays in which it keeps numbers on the way, and of how many."""
    tables: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Numbers that differ from repeat to repeat."""
    helpers: list[str] = field(default_factory=list)


def numbers_text(name: str, loop: Loop, kinds: Sequence[str]) -> Kernel:
    """A function of the numbers that are given, of these kinds, that returns those that are taken.

    It raises an ArithmeticError where one of them is not finite.
    """
    layout = Layout(loop, stretches(loop, longest=WHOLE, arrays=False))
    return _NumbersText(name, layout, kinds).kernel()


class _NumbersText:
    """Writes the stretches one after another."""

    def __init__(self, name: str, layout: Layout, kinds: Sequence[str]) -> None:
        self.layout, self.loop, self.kinds = layout, layout.loop, kinds
        self.kernel_ = Kernel(name, "", "")
        self.packed = layout.moves or len(kinds) > SEPARATE
        if layout.rows:
            self.kernel_.rooms["w"] = layout.rows
        self.lines: list[str] = []

    def kernel(self) -> Kernel:
        """The text and the types."""
        for stretch in self.layout.stretches:
            self.stretch(stretch)
        self.lines += self.results()
        made = self.kernel_
        params = [("x", "float64[::1]")] if self.packed else list(self._given())
        made.packed, made.listed = self.packed, len(self.loop.taken) > SEPARATE
        params += [(table, "float64[::1]") for table in made.tables]
        params += [(room, "float64[::1]") for room in made.rooms]
        if made.listed:
            params.append(("out", "float64[::1]"))
        made.signature = f"({', '.join(kind for _, kind in params)}{',' * (len(params) == 1)})"
        head = f"def {made.name}({', '.join(name for name, _ in params)}):"
        made.text = (
            "\n".join(['@numba.njit(error_model="numpy")', head, *_inside(self.lines)]) + "\n"
        )
        return made

    def _given(self) -> Iterator[tuple[str, str]]:
        for place, kind in enumerate(self.kinds):
            yield f"x{place + 1}", LETTERS[kind]

    def results(self) -> Iterator[str]:
        """What is returned, or written to an array."""
        places = [taken.place for taken in self.loop.taken]
        names = [self.operand(Fixed(place)) for place in places]
        floats = [
            name
            for place, name in zip(places, names, strict=True)
            if self.layout.call(place).kind == "f"
        ]
        if floats:
            yield f"if not math.isfinite({' + '.join(floats)}):"
            yield '    raise ArithmeticError("a result that is not finite")'
        if len(names) <= SEPARATE:
            yield f"return {', '.join(names)}"
        else:
            yield from (f"out[{place}] = {name}" for place, name in enumerate(names))

    # --- stretches --------------------------------------------------------------------------

    def stretch(self, stretch: Stretch) -> None:
        """The calls of a stretch, in a loop where there are repeats."""
        places = range(stretch.start, stretch.start + stretch.period)
        if stretch.count == 1:
            self.lines += self.body(stretch, places, exact=True)
            return
        carried = self._carried(stretch)
        self.lines += [
            f"c{name[1:]} = {self.operand(Fixed(first))}" for name, first in carried.items()
        ]
        self.lines += self._split(stretch, carried) or [
            f"for k in range({stretch.count}):",
            *_inside(self.body(stretch, places, exact=True)),
            *_inside(f"c{name[1:]} = {name}" for name in carried),
        ]

    def _carried(self, stretch: Stretch) -> dict[str, int]:
        """The results that the next repeat reads, and what the first one reads in their place."""
        found = {}
        for place in range(stretch.start, stretch.start + stretch.period):
            for source in self.layout.sources(stretch, place):
                if isinstance(source, Before):
                    found[self.layout.name(source.place)] = source.first
        return found

    def body(self, stretch: Stretch, places: Iterable[int], *, exact: bool) -> Iterator[str]:
        """One statement for each call, and one for each result that is kept."""
        for place in places:
            call, name = self.layout.call(place), self.layout.name(place)
            operands = [
                self._number(stretch, place, column)
                if isinstance(source, Number)
                else self.operand(source)
                for column, source in enumerate(self.layout.sources(stretch, place))
            ]
            yield f"{name} = {statement(call.function, operands, call.kinds[0], exact=exact)}"
            self._need(helpers(call.function, exact=exact))
            if call.function in WAVES and not exact:
                yield f"far |= abs({operands[0]}) > {FAR}"
            kept = self.layout.kept(stretch, place)
            if kept is not None:
                yield f"w[{row_text(kept)}] = {name}"

    def _need(self, names: Iterable[str]) -> None:
        self.kernel_.helpers += [one for one in names if one not in self.kernel_.helpers]

    def _number(self, stretch: Stretch, place: int, column: int) -> str:
        numbers = self.layout.numbers(stretch, place, column)
        return number_text(self.kernel_, numbers)

    def operand(self, source: Source) -> str:
        """The text of an operand that is no number known beforehand."""
        if isinstance(source, Here):
            return self.layout.name(source.place)
        if isinstance(source, Before):
            return f"c{self.layout.name(source.place)[1:]}"
        assert isinstance(source, (Fixed, Moving))
        step = source.step if isinstance(source, Moving) else 0
        if self.layout.of(source.place) < 0:
            if self.packed:
                return f"x[{row_text(Address(source.place, step))}]"
            return f"x{source.place + 1}"
        kept = self.layout.address(source.place, step)
        if kept is None:
            return self.layout.name(source.place)
        return loaded(f"w[{row_text(kept)}]", self.layout.call(source.place).kind)

    # --- what does not wait -----------------------------------------------------------------

    def _split(self, stretch: Stretch, carried: dict[str, int]) -> list[str]:
        """A loop of two parts: what does not wait for the repeat before is computed for several
        repeats at once.  Empty where that does not pay.
        """
        free = self._free(stretch)
        if stretch.count < MANY or not any(self.layout.call(p).function in MATH for p in free):
            return []
        waiting = [
            place
            for place in range(stretch.start, stretch.start + stretch.period)
            if place not in free
        ]
        read = self._read(stretch, waiting, free)
        # In an array of its own: within one, stores might change what is loaded next, and nothing
        # would be computed at once.
        rows = {place: f"p[{CHUNK * k} + k - low]" for k, place in enumerate(read)}
        if rows:
            rooms = self.kernel_.rooms
            rooms["p"] = max(rooms.get("p", 0), CHUNK * len(rows))
        stored = [f"{row} = {self.layout.name(place)}" for place, row in rows.items()]
        again = [
            f"{self.layout.name(place)} = {loaded(row, self.layout.call(place).kind)}"
            for place, row in rows.items()
        ]
        ahead = "for k in range(low, high):"
        first = [ahead, *_inside([*self.body(stretch, free, exact=False), *stored])]
        if any(self.layout.call(place).function in WAVES for place in free):
            exactly = [ahead, *_inside([*self.body(stretch, free, exact=True), *stored])]
            first = ["far = False", *first, "if far:", *_inside(exactly)]
        rest = [*again, *self.body(stretch, waiting, exact=True)]
        rest += [f"c{name[1:]} = {name}" for name in carried]
        second = [ahead, *_inside(rest)] if waiting else []
        return [
            f"for low in range(0, {stretch.count}, {CHUNK}):",
            f"    high = min(low + {CHUNK}, {stretch.count})",
            *_inside([*first, *second]),
        ]

    def _free(self, stretch: Stretch) -> dict[int, None]:
        """The calls that do not wait for the repeat before."""
        found: dict[int, None] = {}
        for place in range(stretch.start, stretch.start + stretch.period):
            waits = (
                isinstance(source, Before)
                or (isinstance(source, Here) and source.place not in found)
                for source in self.layout.sources(stretch, place)
            )
            if not any(waits):
                found[place] = None
        return found

    def _read(
        self, stretch: Stretch, waiting: Iterable[int], free: dict[int, None]
    ) -> dict[int, None]:
        """The results of ``free`` that those that wait read."""
        found: dict[int, None] = {}
        for place in waiting:
            for source in self.layout.sources(stretch, place):
                if isinstance(source, (Here, Before)) and source.place in free:
                    found[source.place] = None
        return found


# --- parts of a line ----------------------------------------------------------------------


def row_text(address: Address, turn: str = "k") -> str:
    """The number of a row in repeat ``turn``."""
    base, step = address
    if step == 0:
        return str(base)
    size = turn if abs(step) == 1 else f"{abs(step)} * {turn}"
    return f"{base} {'+' if step > 0 else '-'} {size}" if base or step < 0 else size


def loaded(text: str, kind: str) -> str:
    """What was kept as a number."""
    return f"({text} != 0.0)" if kind == "b" else text


def number_text(kernel: Kernel, numbers: list[float]) -> str:
    """A number that is the same in all repeats, or the entry of a table."""
    if len({number.hex() for number in numbers}) == 1:
        return literal(numbers[0])
    for name, table in kernel.tables.items():
        if table.tolist() == numbers:
            return f"{name}[k]"
    name = f"n{len(kernel.tables) + 1}"
    kernel.tables[name] = np.array(numbers)
    return f"{name}[k]"


def _inside(lines: Iterable[Any]) -> list[str]:
    return [f"    {line}" for line in lines]
