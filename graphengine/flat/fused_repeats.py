"""Repeats in a list of calls: stretches that a loop can run through.

A stretch repeats with a period when each call and the one a period later are the same function of
operands that keep still, or move by the same step each time.  Forward and backward passes through a
deep graph are of this kind: the forward pass reads what the repeat before made, the backward pass
also reads the forward pass from its end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphengine.flat.fused_groups import Loop, Number

__all__ = ["Stretch", "stretches"]

LONGEST, TRIED, SEEN = 4096, 12, 4
"""The longest period, how many periods are tried at a place, how many calls must be the same for a
period to be tried."""
TIMES, CALLS = 4, 16
"""So many repeats, of so many calls together, are worth a loop."""
PARTS = 8
"""Repeats that read what was made long before are cut into at most so many parts."""

Table = NDArray[np.intp]


@dataclass(frozen=True)
class Stretch:
    """Calls one after another: ``count`` times ``period`` of them, from place ``start`` on.

    Places count what is given to the loop, too.  ``steps`` says how far operands move from one
    repeat to the next.
    """

    start: int
    period: int
    count: int = 1
    steps: Table | None = None

    @property
    def stop(self) -> int:
        """The place after the last call."""
        return self.start + self.period * self.count


def stretches(loop: Loop, *, longest: int, arrays: bool) -> list[Stretch]:
    """All calls of a loop in stretches; those without repeats are at most ``longest`` calls long.

    Where what is given are ``arrays``, operands of it must keep still.
    """
    return _Finder(loop, arrays=arrays).found(longest)


class _Finder:
    """The calls as tables: what is called, and the places of the operands (−1: a number)."""

    def __init__(self, loop: Loop, *, arrays: bool) -> None:
        self.given, self.count, self.arrays = loop.given, len(loop.calls), arrays
        width = max(len(call.args) for call in loop.calls)
        self.places: Table = np.full((self.count, width), -1, np.intp)
        known: dict[Any, int] = {}
        codes = []
        for row, call in enumerate(loop.calls):
            for column, arg in enumerate(call.args):
                if not isinstance(arg, Number):
                    self.places[row, column] = arg
            alike = (call.function, *call.kinds, *(isinstance(arg, Number) for arg in call.args))
            codes.append(known.setdefault(alike, len(known)))
        self.codes: Table = np.array(codes, np.intp)
        self.text = self.codes.tobytes()  # whose parts are compared at once
        self.next = self._next(codes)

    def _next(self, codes: Sequence[int]) -> list[int]:
        """Of each call the next place at which the same few calls stand; 0 where there is none."""
        seen: dict[tuple[int, ...], int] = {}
        found = [0] * self.count
        for k in range(self.count - SEEN, -1, -1):
            few = tuple(codes[k : k + SEEN])
            found[k] = seen.get(few, 0)
            seen[few] = k
        return found

    # --- periods ----------------------------------------------------------------------------

    def repeats(self) -> Iterator[Stretch]:
        """Stretches with repeats, from the front, as long as they are."""
        k = 0
        while k < self.count:
            best = max(self._candidates(k), key=_worth, default=None)
            if best is None:
                k += 1
                continue
            yield best
            k = best.stop - self.given

    def _candidates(self, k: int) -> Iterator[Stretch]:
        other = k
        for _ in range(TRIED):
            other = self.next[other]
            if not other or other - k > LONGEST:
                return
            found = self._repeated(k, other - k)
            if found is not None:
                yield found

    def _repeated(self, k: int, period: int) -> Stretch | None:
        """The calls from ``k`` on with this period, if they repeat often enough."""
        times = (self.count - k) // period
        if times < TIMES or not self._looks_so(k, period):
            return None
        first = self.places[k : k + period]
        steps = np.where(first >= 0, self.places[k + period : k + 2 * period] - first, 0)
        if not self._possible(k, period, first, steps):
            return None
        codes = self.codes[k : k + period]
        count = 1
        while count < times:  # in growing bites: most periods fail soon
            bite = min(times - count, max(1, count))
            low, high = k + count * period, k + (count + bite) * period
            turns = np.arange(count, count + bite)[:, None, None]
            same = self.codes[low:high].reshape(bite, -1) == codes
            expected = first + turns * steps
            moved = self.places[low:high].reshape(bite, *first.shape) == expected
            if self.arrays:  # an operand that moves may come to what is given
                moved &= (expected >= self.given) | (steps == 0)
            right = same.all(axis=1) & moved.all(axis=(1, 2))
            count += bite if right.all() else int(np.argmin(right))
            if not right.all():
                break
        if count < TIMES or count * period < CALLS:
            return None
        lags = self._lags(k, period, count, first, steps)
        if 1 < lags <= TRIED:  # each of the larger repeats reads only what the one before made
            return self._repeated(k, period * lags)
        if lags > 1 and count > PARTS * lags:
            return None
        return Stretch(k + self.given, period, count, steps)

    def _looks_so(self, k: int, period: int) -> bool:
        """Whether the same functions are called in the first repeats."""
        size = self.codes.itemsize
        span = (TIMES - 1) * period * size
        low, high = k * size, (k + period) * size
        return self.text[low : low + span] == self.text[high : high + span]

    def _possible(self, k: int, period: int, first: Table, steps: Table) -> bool:
        start = k + self.given
        still, inside = steps == 0, first >= start
        if np.any(inside & (steps != period)):  # the first repeat would be read by all
            return False
        return not (self.arrays and np.any(~still & (first >= 0) & (first < self.given)))

    def _lags(self, k: int, period: int, count: int, first: Table, steps: Table) -> int:
        """How many repeats back the calls read what repeats made, at most."""
        start = k + self.given
        own = (steps == period) & (first >= 0) & (first < start) & (first + count * period > start)
        return int(np.max(-((first[own] - start) // period), initial=0))

    # --- all calls --------------------------------------------------------------------------

    def found(self, longest: int) -> list[Stretch]:
        """Repeats, cut where the operands of one come from two stretches, and what is between."""
        done: list[Stretch] = [Stretch(0, self.given)] if self.given else []
        for stretch in self.repeats():
            self._between(done, stretch.start, longest)
            for part in self._cut(stretch, done):
                if part.count < TIMES:
                    self._between(done, part.stop, longest)
                else:
                    done.append(part)
        self._between(done, self.given + self.count, longest)
        return done[1:] if self.given else done

    def _between(self, done: list[Stretch], stop: int, longest: int) -> None:
        """Calls up to ``stop`` one after another."""
        start = done[-1].stop if done else 0
        while start < stop:
            size = min(longest, stop - start)
            done.append(Stretch(start, size))
            start += size

    def _cut(self, stretch: Stretch, done: Sequence[Stretch]) -> Iterator[Stretch]:
        """Parts in which each moving operand comes from one stretch of ``done``."""
        steps, start, period = stretch.steps, stretch.start, stretch.period
        assert steps is not None
        row = start - self.given
        first = self.places[row : row + period]
        moving = (first >= 0) & (steps != 0) & (first < start)
        pairs = list(zip(first[moving].tolist(), steps[moving].tolist(), strict=True))
        turn = 0
        while turn < stretch.count:
            size = stretch.count - turn
            starts = [one.start for one in done]  # with the parts so far
            for begin, step in pairs:
                place = begin + turn * step
                if step == period and place >= start + (turn - 1) * period:
                    continue  # made by the repeat before
                source = bisect_right(starts, place) - 1
                low = starts[source]
                high = starts[source + 1] if source + 1 < len(starts) else done[-1].stop
                room = (high - 1 - place) // step if step > 0 else (place - low) // -step
                size = min(size, room + 1)
            yield Stretch(start + turn * period, period, size, steps)
            turn += size


def _worth(stretch: Stretch) -> float:
    """Calls covered; a longer period must cover clearly more."""
    return stretch.period * stretch.count - 0.5 * stretch.period
