"""A problem of the speed bench, and those who solve it.

Each module of a family (``benchmarks/gradients``, ``benchmarks/jacobians``) has a function
``problems() -> Iterator[Problem]`` at the sizes of the table, and may have ``small()``, the same at
sizes for tests, and ``growing(n) -> Problem`` for the measurement of growth.
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

OURS = ("run", "compiled", "compiled, reuse", "compiled, fused", "lecture")
"""The contenders that are this package."""


@dataclass(frozen=True)
class Contender:
    """One way to solve a problem.

    ``make`` imports what it needs and builds; it returns the call that is timed.  ``read`` turns the
    call's result into the arrays that are compared with the problem's reference.  ``needs`` names
    the modules without which the contender is left out.
    """

    name: str
    make: Callable[[], Callable[[], Any]]
    read: Callable[[Any], Sequence[Any]] = list
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """A derivative at one size.

    ``reference`` gives the arrays of the plainly hand-written derivative: each contender's answer
    is compared with them (relative 1e-9) before it is timed.  ``target`` is the ratio of "compiled,
    reuse" to "hand-written" that is to be reached.
    """

    name: str
    size: str
    reference: Callable[[], Sequence[Any]]
    contenders: Sequence[Contender]
    target: float


def modules() -> Iterator[ModuleType]:
    """The modules of all families, in the order of their numbers."""
    folder = Path(__file__).parent
    found = [path for family in FAMILIES for path in (folder / family).glob("p*.py")]
    for path in sorted(found, key=lambda path: (int(path.stem[1:].partition("_")[0]), path)):
        yield importlib.import_module(f"benchmarks.{path.parent.name}.{path.stem}")


def problems() -> Iterator[Problem]:
    """All problems at the sizes of the table."""
    for module in modules():
        yield from module.problems()
