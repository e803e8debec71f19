"""Which calls of a program are computed in one loop.

Calls entry by entry on arrays of one shape belong together unless something else is computed
between them.  A program is copied to a tape on which each group is one step, a :class:`Loop`; what
other steps need of it are steps of their own, :class:`Taken`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphengine.flat.fused_ops import MATH, fits
from graphengine.flat.merging import merge_products, merge_sums, needed, unguarded
from graphengine.flat.recording import Recorded
from graphengine.tracing import Step, Tape, Traced

__all__ = ["Call", "Loop", "Number", "Taken", "grouped"]

NUMBERS = 10
"""So many calls on numbers are worth a compiled function; fewer Python does as fast."""
LARGE = 2**14
"""One call that repeats its operands along so many entries is faster as a loop."""


class Number(NamedTuple):
    """An operand that is a number known beforehand."""

    value: float


class Call(NamedTuple):
    """One call of a loop: operands are numbers, or places among what is given and the calls."""

    function: Any
    args: tuple[int | Number, ...]
    kinds: tuple[str, ...]
    """The kinds of the operands' entries, f, i or b."""
    kind: str
    """That of the result."""


@dataclass(eq=False)
class Loop:
    """Calls that are computed together, for arrays of one shape entry by entry.

    Operands are counted through: first what is given, then the calls.
    """

    shape: tuple[int, ...]
    given: int
    calls: list[Call]
    taken: list[Taken] = field(default_factory=list)


@dataclass(eq=False)
class Taken:
    """What is needed of a loop: the result of one call."""

    place: int
    """Among what is given and the calls."""


Group: TypeAlias = tuple[tuple[int, ...], int]


def grouped(recorded: Recorded) -> tuple[Recorded, list[Traced]]:
    """The program with loops, and those of its results that may be wrong where zero met infinity
    (:func:`graphengine.flat.merging.unguarded`).
    """
    tape, results = recorded.tape, recorded.results
    checked = unguarded(tape, results)
    merge_sums(tape, results)
    merge_products(tape, results)
    grouping = _Grouping(recorded)
    copy = _Copy(recorded, grouping)
    found = copy.program()
    return found, [copy.made[x.number] for x in checked]


# --- which calls belong together ----------------------------------------------------------


class _Grouping:
    """The group of each call that is in one."""

    def __init__(self, recorded: Recorded) -> None:
        self.tape, self.needed = recorded.tape, needed(recorded.results)
        self.users: dict[int, set[int]] = defaultdict(set)
        for k in self.needed:
            for arg in _traced(self.tape.steps[k].args):
                self.users[arg.number].add(k)
        self.results = {x.number for x in _traced(recorded.results)}
        self.of: dict[int, Group] = {}
        self._early()
        self._late()
        self.members: dict[Group, list[int]] = defaultdict(list)
        for k in self.needed:
            if k in self.of:
                self.members[self.of[k]].append(k)
        for group, members in list(self.members.items()):
            if self._worthwhile(group[0], members):
                self.members[group] = self._ordered(members)
                continue
            del self.members[group]
            for k in members:
                del self.of[k]

    def _early(self) -> None:
        """Each call in the first group of its shape that can hold it.

        Groups have depths: a group is computed after those of smaller depth, and after the other
        calls of its own depth; these after groups of smaller depth alone.
        """
        depths: dict[int, int] = {}
        for k in self.needed:
            x = self.tape.results[k]
            fit = fits(x)
            depth = 0
            for arg in _traced(x.step.args):
                group = self.of.get(arg.number)
                later = group is not None and not (fit and group[0] == x.shape)
                depth = max(depth, depths[arg.number] + later)
            depths[k] = depth
            if fit:
                self.of[k] = x.shape, depth

    def _late(self) -> None:
        """Calls that only one later group needs move there, where that stores no more arrays."""
        for k in reversed(self.needed):
            users = self.users[k]
            if k not in self.of or k in self.results or not users or not users <= self.of.keys():
                continue
            target = min((self.of[user] for user in users), key=lambda group: group[1])
            if len({self.of[user] for user in users}) > 1 or target == self.of[k]:
                continue
            if target[0] == self.of[k][0] and self._new(k) <= 1:
                self.of[k] = target

    def _new(self, k: int) -> int:
        """How many arrays would have to be stored if call ``k`` moved to a later group."""
        count = 0
        for arg in {arg.number for arg in _traced(self.tape.steps[k].args)} & self.of.keys():
            others = (self.of.get(user) for user in self.users[arg] if user != k)
            stored = arg in self.results or any(other != self.of[arg] for other in others)
            count += not stored
        return count

    def _worthwhile(self, shape: tuple[int, ...], members: Sequence[int]) -> bool:
        if shape == ():
            return len(members) >= NUMBERS
        if len(members) > 1:
            return True
        x = self.tape.results[members[0]]
        arrays = [arg.shape for arg in _traced(x.step.args) if arg.shape]
        return x.size >= LARGE and len(arrays) > 1 and any(shape != x.shape for shape in arrays)

    def _ordered(self, members: Sequence[int]) -> list[int]:
        """The calls in their order, but functions as soon as there is what they are of.

        A sine and a cosine of the same number then share most of their work, and a function that
        only the backward pass needs is computed while the forward pass waits for its own.
        """
        inside = set(members)
        early: dict[int, list[int]] = defaultdict(list)
        for k in members:
            if self.tape.steps[k].call in MATH:
                (arg,) = _traced(self.tape.steps[k].args)
                early[arg.number if arg.number in inside else -1].append(k)
        moved = {k for calls in early.values() for k in calls}
        found: list[int] = []
        waiting = [k for k in reversed(members) if k not in moved] + early[-1][::-1]
        while waiting:
            k = waiting.pop()
            found.append(k)
            waiting += reversed(early[k])
        return found


def _traced(args: Any) -> list[Traced]:
    return [arg for arg in args if isinstance(arg, Traced)]


# --- the program with loops ---------------------------------------------------------------


class _Copy:
    """Copies a program to a new tape: a group comes where it is first needed."""

    def __init__(self, recorded: Recorded, grouping: _Grouping) -> None:
        self.recorded, self.grouping = recorded, grouping
        self.old, self.tape = recorded.tape, Tape()
        self.tape.sections = recorded.tape.sections
        self.made: dict[int, Traced] = {}
        self.inputs = {}
        for name, x in recorded.inputs.items():
            self.inputs[name] = self.made[x.number] = self.tape.input(name, x.shape)

    def program(self) -> Recorded:
        """The whole program."""
        waiting = [k for k in reversed(self.grouping.needed) if k not in self.grouping.of]
        waiting = [*(x.number for x in _traced(self.recorded.results)), *waiting]
        while waiting:
            k = waiting[-1]
            missing = [] if k in self.made else self._missing(k)
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if k not in self.made:
                self._copy(k)
        names = {self.made[k].number: v for k, v in self.recorded.names.items() if k in self.made}
        results = [self._new(x) for x in self.recorded.results]
        return Recorded(self.tape, self.inputs, results, names)

    def _missing(self, k: int) -> list[int]:
        """What must be there before the call, or the group that it is in."""
        group = self.grouping.of.get(k)
        calls = [k] if group is None else self.grouping.members[group]
        found: dict[int, None] = {}
        for call in calls:
            for arg in _traced(self.old.steps[call].args):
                own = group is not None and self.grouping.of.get(arg.number) == group
                if arg.number not in self.made and not own:
                    found[arg.number] = None
        return sorted(found, reverse=True)

    def _new(self, arg: Any) -> Any:
        return self.made[arg.number] if isinstance(arg, Traced) else arg

    def _copy(self, k: int) -> None:
        group = self.grouping.of.get(k)
        if group is not None:
            self._loop(group[0], self.grouping.members[group])
            return
        old, step = self.old.results[k], self.old.steps[k]
        args = tuple(map(self._new, step.args))
        self.made[k] = self._added(
            Step(step.call, args, step.params, view=step.view, section=step.section), old
        )

    def _added(self, step: Step, like: Traced) -> Traced:
        return self.tape._added(step, like.shape, like.dtype)

    def _loop(self, shape: tuple[int, ...], members: Sequence[int]) -> None:
        """A step for a group, and one for each of its results that is needed elsewhere."""
        inside = set(members)
        given: dict[Any, Any] = {}
        for k in members:
            for arg in self.old.steps[k].args:
                if isinstance(arg, Traced) and arg.number not in inside:
                    given[arg.number] = arg
                elif isinstance(arg, np.ndarray):
                    given[id(arg)] = arg
        order = sorted(given.values(), key=lambda arg: isinstance(arg, Traced) and arg.number)
        places = {_key(arg): place for place, arg in enumerate(order)}
        places |= {k: len(order) + place for place, k in enumerate(members)}
        calls = [_call(self.old.results[k], places) for k in members]
        loop = Loop(shape, len(order), calls)
        section = self.old.steps[members[-1]].section
        args = tuple(map(self._new, order))
        size = (len(members),)  # never a number
        whole = self.tape._added(
            Step(loop, args, {}, view=False, section=section), size, np.dtype(np.float64)
        )
        for k in members:
            if k in self.grouping.results or not self.grouping.users[k] <= inside:
                taken = Taken(places[k])
                loop.taken.append(taken)
                step = Step(taken, (whole,), {}, view=False, section=section)
                self.made[k] = self._added(step, self.old.results[k])


def _key(arg: Any) -> int:
    return arg.number if isinstance(arg, Traced) else id(arg)


def _call(x: Traced, places: dict[int, int]) -> Call:
    args: list[int | Number] = []
    kinds = []
    for arg in x.step.args:
        if isinstance(arg, (Traced, np.ndarray)):
            args.append(places[_key(arg)])
            kinds.append(arg.dtype.kind)
        else:
            args.append(Number(float(arg)))
            kinds.append("f")
    return Call(x.step.call, tuple(args), tuple(kinds), x.dtype.kind)
