"""What formulas may cost: bytes of arrays and multiplications, counted before any is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphengine.errors import TooLargeError
from graphengine.ops.base import Op, Shape

__all__ = ["MAX_AXES", "Budget", "readable", "work"]

Where: TypeAlias = Callable[[], str]

WORK = 20_000_000_000
"""Multiplications that the formulas of one graph may ask for (some seconds at worst)."""
CONSTANT_BYTES = 256 << 20
"""Bytes of the arrays that formulas make of numbers alone, when they are read."""
CONSTANT_WORK = 2_000_000_000
"""Multiplications for those."""
MAX_AXES = 26
"""Axes that an array may have: one index letter for each."""

_PRODUCTS = frozenset({"matmul", "matvec", "dot"})
_FACTORISATIONS = frozenset({"inv", "det", "logdet", "logdet_pd", "cholesky", "solve"})


@dataclass
class Budget:
    """What is left of the bytes and the work that a caller allows, for the values of nodes and
    (tighter, for they are computed at once) for arrays made of numbers alone.
    """

    bytes: int
    work: int = WORK
    constant_bytes: int = CONSTANT_BYTES
    constant_work: int = CONSTANT_WORK

    def array(self, where: Where, shape: Shape, *, constant: bool = False) -> None:
        """Take a float64 array of ``shape``; :class:`TooLargeError` if it does not fit.

        ``where`` tells the place for the error, if there is one.
        """
        if len(shape) > MAX_AXES:
            raise TooLargeError(
                where(), expected=f"at most {MAX_AXES} axes", got=f"{len(shape)} axes"
            )
        size = 8 * math.prod(shape)
        left = min(self.bytes, self.constant_bytes) if constant else self.bytes
        if size > left:
            what = "arrays made of numbers alone" if constant else "arrays"
            raise TooLargeError(
                where(),
                expected=f"{what} that fit in the {readable(left)} left of the limit",
                got=f"shape {shape}: {readable(size)}",
            )
        self.bytes -= size
        if constant:
            self.constant_bytes -= size

    def op(
        self, where: Where, op: Op, shapes: Sequence[Shape], shape: Shape, *, constant: bool = False
    ) -> None:
        """Take the value of ``op`` on arguments of ``shapes``, and the work of computing it."""
        self.array(where, shape, constant=constant)
        cost = work(op, shapes, shape)
        left = min(self.work, self.constant_work) if constant else self.work
        if cost > left:
            raise TooLargeError(
                where(),
                expected=f"at most {left:.1e} more multiplications",
                got=f"{cost:.1e} for arguments of shapes {' and '.join(map(str, shapes))}",
            )
        self.work -= cost
        if constant:
            self.constant_work -= cost


def work(op: Op, shapes: Sequence[Shape], shape: Shape) -> int:
    """Multiplications of ``op``, roughly: the entries touched, for products and factorisations
    the usual counts.

    >>> from graphengine.ops import OPS
    >>> work(OPS["matmul"](), [(3, 4), (4, 5)], (3, 5))
    60
    """
    made = math.prod(shape)
    first = shapes[0] if shapes else ()
    if op.name in _PRODUCTS and first:
        return made * first[-1]
    if op.name in _FACTORISATIONS and first:
        return (math.prod(first) + made) * first[-1]
    return made + sum(map(math.prod, shapes))


def readable(size: int) -> str:
    """A number of bytes with its unit.

    >>> readable(2 << 30), readable(7), readable(8 * 10**12)
    ('2.0 GiB', '7 bytes', '7.3 TiB')
    """
    if size < 1024:
        return f"{size} bytes"
    number = float(min(size, 10**300))
    units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    for unit in units:
        number /= 1024
        if number < 1024 or unit == units[-1]:
            return f"{number:.1f} {unit}" if number < 1e6 else f"{number:.0e} {unit}"
    raise AssertionError
