"""A problem of the speed bench, and those who solve it.

Each module of a family (``benchmarks/gradients``, ``benchmarks/jacobians``) has a function
``problems() -> Iterator[Problem]`` at the sizes of the table, and may have ``small()``, the same at
sizes for tests, and ``growth() -> Growth`` for the measurement of growth.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

FAMILIES = ("gradients", "jacobians")

HAND = "hand-written"
"""The contender to which ratios are taken."""

REUSE = "compiled, reuse"
"""The contender whose ratio is compared with the target."""

ONE = "compiled, one function"
"""Of many small graphs alike."""

OURS = ("run", "compiled", REUSE, ONE, "compiled, fused", "lecture")
"""The contenders that are this package."""

FUSED_BY_HAND = "fused loop by hand"

BY_HAND = (HAND, FUSED_BY_HAND)
"""The contenders that a person wrote: no library differentiates.  A name may go on, as in
"hand-written, backwards"."""


class LeftOut(Exception):
    """Raised by a contender's ``make``: it is not measured, for the reason given."""


@dataclass(frozen=True)
class Contender:
    """One way to solve a problem.

    ``make`` imports what it needs and builds; it returns the call that is timed, which may have an
    attribute ``facts``, a mapping that goes into the record.  ``read`` turns the call's result into
    the arrays that are compared with the problem's reference.  ``needs`` names the modules without
    which the contender is left out.
    """

    name: str
    make: Callable[[], Callable[[], Any]]
    read: Callable[[Any], Sequence[Any]] = list
    needs: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is this package, or code by hand: no peer."""
        return self.name in OURS or self.name.startswith(BY_HAND)


@dataclass(frozen=True)
class Problem:
    """A derivative at one size.

    ``reference`` gives the arrays of the plainly hand-written derivative: each contender's answer
    is compared with them (relative 1e-9) before it is timed.  ``target`` is the ratio of "compiled,
    reuse" to "hand-written" that is to be reached (``math.inf``: none).
    """

    name: str
    size: str
    reference: Callable[[], Sequence[Any]]
    contenders: Sequence[Contender]
    target: float


@dataclass(frozen=True)
class Growth:
    """One problem at sizes over some decades; ``amount`` counts the ``unit`` at a size."""

    name: str
    unit: str
    sizes: Sequence[int]
    problem: Callable[[int], Problem]
    amount: Callable[[int], int] = int


def modules() -> Iterator[ModuleType]:
    """The modules of all families, in the order of their numbers."""
    folder = Path(__file__).parent
    found = [path for family in FAMILIES for path in (folder / family).glob("p*.py")]
    numbered = [path for path in found if path.stem[1:].isdigit()]
    for path in sorted(numbered, key=lambda path: int(path.stem[1:])):
        yield importlib.import_module(f"benchmarks.{path.parent.name}.{path.stem}")


def problems() -> Iterator[Problem]:
    """All problems at the sizes of the table."""
    for module in modules():
        yield from module.problems()
