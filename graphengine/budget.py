"""What formulas may cost: bytes of arrays and multiplications, counted before any is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphengine.errors import TooLargeError
from graphengine.ops.base import Op, Shape

__all__ = ["DEFAULT_WORK", "MAX_AXES", "Budget", "readable", "work"]

DEFAULT_WORK = 100_000_000_000
"""Multiplications that the formulas of one file may ask for (some minutes at worst)."""
MAX_AXES = 26
"""Axes that an array may have: one index letter for each."""

_PRODUCTS = frozenset({"matmul", "matvec", "dot"})
_FACTORISATIONS = frozenset({"inv", "det", "logdet", "logdet_pd", "cholesky", "solve"})


@dataclass
class Budget:
    """What is left of the bytes and the work that a caller allows."""

    bytes: int
    work: int = DEFAULT_WORK

    def array(self, where: str, shape: Shape) -> None:
        """Take a float64 array of ``shape``; :class:`TooLargeError` if it does not fit."""
        if len(shape) > MAX_AXES:
            raise TooLargeError(
                where, expected=f"at most {MAX_AXES} axes", got=f"{len(shape)} axes"
            )
        size = 8 * math.prod(shape)
        if size > self.bytes:
            raise TooLargeError(
                where,
                expected=f"arrays that fit in the {readable(self.bytes)} left of the limit",
                got=f"shape {shape}: {readable(size)}",
            )
        self.bytes -= size

    def op(self, where: str, op: Op, shapes: Sequence[Shape], shape: Shape) -> None:
        """Take the value of ``op`` on arguments of ``shapes``, and the work of computing it."""
        self.array(where, shape)
        cost = work(op, shapes, shape)
        if cost > self.work:
            raise TooLargeError(
                where,
                expected=f"at most {self.work:.1e} more multiplications",
                got=f"{cost:.1e} for arguments of shapes {' and '.join(map(str, shapes))}",
            )
        self.work -= cost


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
