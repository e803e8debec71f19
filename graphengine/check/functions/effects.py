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
        self.vector = np.random.default_rng(0).uniform(0.5, 1.0, x.size)
        self.product: Array | None = None
        try:
            self.first = subject.claimed(x)
            if isinstance(self.first, LinearOperator):
                self.product = np.array(self.first @ self.vector)
            self.kept = _copies(self.first)
            self.repeated = self._repeated(*(_copies(subject.claimed(x)) for _ in range(2)))
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
        if self.first is not None and not self.changeable and self._used_again(elsewhere):
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
        try:
            self.subject.claimed(elsewhere)
            if self.product is not None:
                return not same(self.product, np.array(self.first @ self.vector))
        except Exception:  # noqa: BLE001 (the user's function may not be defined elsewhere)
            return False
        now = live(self.first)
        return any(
            not np.array_equal(one, then, equal_nan=True)
            for one, then in zip(now, self.kept, strict=True)
        )

    def _repeated(self, second: Sequence[Array], third: Sequence[Array]) -> Mistake | None:
        """What two more calls at x make of the first."""
        claim, name = self.subject.form.claim, self.subject.claimed.name
        calls = [
            call
            for call in zip(self.kept, second, third, strict=False)
            if call[0].dtype.kind == "f" and call[0].shape == call[1].shape == call[2].shape
        ]
        if all(same(one, two) for one, two, _ in calls):
            return None
        if all(same(two - one, three - two) for one, two, three in calls):
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
