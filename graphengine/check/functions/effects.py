"""Side effects of the user's functions: x changed, arrays used again, sums that go on growing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from graphengine.check.functions.calls import Raised, live, same
from graphengine.check.functions.columns import reach
from graphengine.check.functions.operators import adjoint_mistake
from graphengine.check.functions.subjects import Subject
from graphengine.check.report import Mistake
from graphengine.ops.base import Array

__all__ = ["Watched"]


class Watched:
    """What the derivative returned at first, to see what later calls make of it.

    ``changeable`` tells that the derivative at x is not the same at each call.
    """

    def __init__(self, subject: Subject, x: Array) -> None:
        self.subject, self.x = subject, x
        self.first: Any = None
        self.repeated: Mistake | None = None
        try:
            self.first = subject.claimed(x)
            self.kept = _copies(self.first)
            self.repeated = self._twice(_copies(subject.claimed(x)))
        except Raised:
            self.kept = []

    @property
    def changeable(self) -> bool:
        """Whether another call at x gave another result."""
        return self.repeated is not None

    def mistakes(self, elsewhere: Array) -> tuple[Mistake, ...]:
        """The side effects of all calls so far, and of another one at ``elsewhere``."""
        subject, claim = self.subject, self.subject.form.claim
        says = [
            f"{one.name} changes x in place: work on a copy"
            for one in subject.called
            if one.changes_x
        ]
        if subject.values.reuses_its_array:
            says.append(_reused(subject.values.name))
        if self.first is not None and self._used_again(elsewhere):
            says.append(_reused(subject.claimed.name))
        made = [Mistake("unknown", claim, text) for text in says]
        if self.repeated is not None:
            made.append(self.repeated)
        if isinstance(self.first, LinearOperator) and not made:
            made += [one for one in (adjoint_mistake(subject, self.first),) if one]
        return tuple(made)

    def _used_again(self, elsewhere: Array) -> bool:
        """Whether the first result changes when the derivative is asked for somewhere else."""
        if np.array_equal(elsewhere, self.x):
            elsewhere = self.x + 0.01 * reach(self.x)
        operator = isinstance(self.first, LinearOperator)
        if operator:
            vector = np.random.default_rng(0).uniform(0.5, 1.0, self.x.size)
        try:
            before = np.array(self.first @ vector) if operator else None
            self.subject.claimed(elsewhere)
            if operator:
                return not same(before, np.array(self.first @ vector))
        except Exception:  # noqa: BLE001 (the user's function may not be defined elsewhere)
            return False
        now = live(self.first)
        return any(
            not np.array_equal(one, then, equal_nan=True)
            for one, then in zip(now, self.kept, strict=True)
        )

    def _twice(self, again: Sequence[Array]) -> Mistake | None:
        """What a second call at x makes of the first."""
        claim, name = self.subject.form.claim, self.subject.claimed.name
        pairs = [pair for pair in zip(self.kept, again, strict=False) if pair[0].dtype.kind == "f"]
        if all(same(then, now) for then, now in pairs):
            return None
        if all(same(2 * then, now) for then, now in pairs):
            says = f"{name} adds to what it found before: its sums are not set to zero at each call"
            return Mistake("double_counted", claim, says)
        says = f"{name}(x) gives another result when it is called again at the same x"
        return Mistake("unknown", claim, says)


def _copies(value: Any) -> list[Array]:
    return [array.copy() for array in live(value)]


def _reused(name: str) -> str:
    return (
        f"{name} returns the same array at each call: what was kept from one call changes at the "
        "next; return a copy"
    )
