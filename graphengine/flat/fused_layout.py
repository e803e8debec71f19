"""Where the values of a loop's calls are kept until another stretch of calls reads them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from graphengine.flat.fused_groups import Call, Loop, Number
from graphengine.flat.fused_repeats import Stretch

__all__ = ["Address", "Before", "Fixed", "Here", "Layout", "Moving", "Source"]


class Here(NamedTuple):
    """Made in the same repeat."""

    place: int


class Before(NamedTuple):
    """Made in the repeat before, where it stands at ``place``; the first repeat reads ``first``."""

    place: int
    first: int


class Fixed(NamedTuple):
    """The same for all repeats: given, or made in another stretch."""

    place: int


class Moving(NamedTuple):
    """Given, or made in another stretch, and ``step`` places further in each repeat."""

    place: int
    step: int


Source: TypeAlias = Number | Here | Before | Fixed | Moving


class Address(NamedTuple):
    """A row of what is kept: ``base`` in the first repeat, ``step`` further in each."""

    base: int
    step: int


class Layout:
    """The stretches of a loop, where their operands come from, and the rows of what is kept.

    A row holds one number, or one for each entry that is computed at a time.  What only the next
    repeat reads, or calls after the last one, is in no row here: whoever writes the text has it at
    hand (:attr:`last` says of which places).
    """

    def __init__(self, loop: Loop, stretches: Sequence[Stretch]) -> None:
        self.loop, self.stretches = loop, stretches
        self.starts = [stretch.start for stretch in stretches]
        self.last: dict[int, None] = {}
        self.moves = False
        """Whether what is given is read by moving operands."""
        self._kept: dict[int, set[int]] = defaultdict(set)
        self._whole: set[int] = set()
        self._read()
        self.rows = 0
        self._rows: dict[int, int] = {}
        self._number_rows()

    def call(self, place: int) -> Call:
        """The call whose result stands at ``place``."""
        return self.loop.calls[place - self.loop.given]

    def of(self, place: int) -> int:
        """The number of the stretch that makes what stands at ``place``; −1: it is given."""
        return -1 if place < self.loop.given else bisect_right(self.starts, place) - 1

    # --- where operands come from -----------------------------------------------------------

    def sources(self, stretch: Stretch, place: int) -> Iterator[Source]:
        """Where the operands of the call at ``place``, in the first repeat, come from."""
        row = place - stretch.start
        for column, arg in enumerate(self.call(place).args):
            step = 0 if stretch.steps is None else int(stretch.steps[row, column])
            if isinstance(arg, Number):
                yield arg
            elif arg >= stretch.start:
                yield Here(arg)
            elif step == 0:
                yield Fixed(arg)
            elif step == stretch.period and arg >= stretch.start - stretch.period:
                yield Before(arg + stretch.period, arg)
            else:
                yield Moving(arg, step)

    def numbers(self, stretch: Stretch, place: int, column: int) -> list[float]:
        """The numbers that the call takes in each repeat."""
        places = range(place, stretch.stop, stretch.period)
        args = (self.call(one).args[column] for one in places)
        return [arg.value for arg in args if isinstance(arg, Number)]

    # --- what is kept -----------------------------------------------------------------------

    def _read(self) -> None:
        for stretch in self.stretches:
            for place in range(stretch.start, stretch.start + stretch.period):
                for source in self.sources(stretch, place):
                    if isinstance(source, Fixed):
                        self._fixed(source.place)
                    elif isinstance(source, Before):
                        self.last[source.place] = None
                        self._fixed(source.first)
                    elif isinstance(source, Moving):
                        self._moving(source)
        for taken in self.loop.taken:
            self._fixed(taken.place)

    def _fixed(self, place: int) -> None:
        number = self.of(place)
        if number < 0:
            return
        stretch = self.stretches[number]
        turn, row = divmod(place - stretch.start, stretch.period)
        if turn == stretch.count - 1:
            self.last[stretch.start + row] = None
        else:
            self._kept[number].add(row)

    def _moving(self, source: Moving) -> None:
        number = self.of(source.place)
        if number < 0:
            self.moves = True
            return
        stretch = self.stretches[number]
        if stretch.count == 1 or source.step % stretch.period:
            self._whole.add(number)
        else:
            self._kept[number].add((source.place - stretch.start) % stretch.period)

    def _number_rows(self) -> None:
        for number, stretch in enumerate(self.stretches):
            if number in self._whole:
                for row in range(stretch.period):
                    self._rows[stretch.start + row] = self.rows + row
                self.rows += stretch.period * stretch.count
            else:
                for row in sorted(self._kept[number]):
                    self._rows[stretch.start + row] = self.rows
                    self.rows += stretch.count

    def kept(self, stretch: Stretch, place: int) -> Address | None:
        """Where the result of the call at ``place`` of the first repeat is kept in each repeat."""
        base = self._rows.get(place)
        if base is None:
            return None
        if stretch.count == 1:
            return Address(base, 0)
        return Address(base, stretch.period if self.of(place) in self._whole else 1)

    def address(self, place: int, step: int = 0) -> Address | None:
        """Where ``place``, and what is ``step`` further each time, is kept; None where it is the
        last of its kind, which is at hand.
        """
        number = self.of(place)
        stretch = self.stretches[number]
        turn, row = divmod(place - stretch.start, stretch.period)
        if step == 0 and turn == stretch.count - 1:
            return None
        if number in self._whole:
            return Address(self._rows[stretch.start] + place - stretch.start, step)
        return Address(self._rows[stretch.start + row] + turn, step // stretch.period)

    def name(self, place: int) -> str:
        """What the result of the call is called, in every repeat."""
        stretch = self.stretches[self.of(place)]
        return f"t{stretch.start + (place - stretch.start) % stretch.period - self.loop.given + 1}"
