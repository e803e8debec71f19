"""What can be seen of matrices on a tape: symmetry, diagonals, multiples, what a call costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphengine.flat.factors import (
    cholesky_inverse,
    cholesky_solve,
    lu,
    lu_inverse,
    lu_slogdet,
    lu_solve,
    triangular_solve,
)
from graphengine.flat.merging import needed
from graphengine.flat.recording import Recorded
from graphengine.tracing import Traced

__all__ = [
    "Structure",
    "is_inverse",
    "is_plain",
    "is_product",
    "is_scalar",
    "matters",
    "multiple_of",
    "outer",
    "price",
    "shape_of",
    "size_of",
    "unturned",
]

CALL, ENTRY = 5_000.0, 4.0
"""What a call, and an entry that it reads or writes, cost beside one multiplication."""

_LINALG = frozenset({np.linalg.inv, np.linalg.solve, np.linalg.slogdet, np.linalg.cholesky})
_SOLVES = frozenset({cholesky_solve, lu_solve, triangular_solve})
_INVERSES = frozenset({cholesky_inverse, lu_inverse, np.linalg.inv})
_SWAPS = frozenset({np.add, np.multiply, np.maximum, np.minimum, np.hypot, np.logaddexp})
_FLOAT: Any = np.dtype(np.float64)


def matters(recorded: Recorded, *, products: bool) -> bool:
    """Whether there are factorisations in a program, or ``products`` of products."""
    seen = Structure(lambda x: x)
    for k in needed(recorded.results):
        x = recorded.tape.results[k]
        if x.ndim == 2:
            seen.spreads(x)
        if x.step.call in _LINALG and x.step.args[0].ndim == 2:
            return True
        if products and x.step.call is np.matmul and any(map(seen.spreads, x.step.args)):
            return True
    return False


# --- of one call --------------------------------------------------------------------------


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array; that of a number is ``()``."""
    return x.shape if isinstance(x, (Traced, np.ndarray)) else ()


def size_of(x: Any) -> int:
    """How many entries ``x`` has."""
    return math.prod(shape_of(x))


def is_scalar(x: Any) -> bool:
    """Whether ``x`` is a number, known or traced."""
    return shape_of(x) == ()


def is_plain(x: Any) -> bool:
    """Whether the rules are for ``x``: numbers, vectors and matrices of float64 with entries."""
    if not isinstance(x, (Traced, np.ndarray)):
        return isinstance(x, (int, float))
    return bool(x.dtype == _FLOAT and x.ndim <= 2 and 0 not in x.shape)


def is_product(x: Any) -> bool:
    """Whether ``x`` is the product of two matrices."""
    if not isinstance(x, Traced) or x.step.call is not np.matmul:
        return False
    return all(len(shape_of(arg)) == 2 for arg in x.step.args)


def is_inverse(x: Any) -> bool:
    """Whether ``x`` is an inverse that a factor stands for."""
    return isinstance(x, Traced) and x.step.call in _INVERSES


def unturned(x: Any) -> tuple[Any, bool]:
    """What ``x`` is the transpose of, and True; ``x`` and False where it is none."""
    if isinstance(x, Traced) and x.ndim == 2 and x.step.call is np.transpose:
        return x.step.args[0], True
    return x, False


def multiple_of(x: Traced) -> tuple[Any, Any]:
    """A number and what it multiplies to make ``x``; ``(1, x)`` where there is none."""
    rest = _multiplied(x)
    args = x.step.args
    if rest is x:
        return 1.0, x
    if x.step.call is np.negative:
        return -1.0, rest
    number = args[1] if args[0] is rest else args[0]
    return (1.0 / number if x.step.call is np.divide else number), rest


def _multiplied(x: Traced) -> Any:
    """What ``x`` is a multiple of; it itself where it is none."""
    call, args = x.step.call, x.step.args
    if call is np.negative:
        return args[0]
    if call in {np.multiply, np.divide}:
        pairs = (args, args[::-1]) if call is np.multiply else (args[::-1],)
        for number, rest in pairs:
            zero = call is np.divide and not isinstance(number, Traced) and np.all(number == 0)
            if is_scalar(number) and shape_of(rest) == x.shape != () and not zero:
                return rest
    return x


def outer(x: Traced) -> tuple[Any, Any] | None:
    """The two vectors whose outer product ``x`` is; None where it is none."""
    if x.step.call is not np.multiply or x.ndim != 2:
        return None
    rows, columns = x.shape
    for column, row in (x.step.args, x.step.args[::-1]):
        if shape_of(column) == (rows, 1) and shape_of(row) in {(columns,), (1, columns)}:
            return column.reshape(-1), row.reshape(-1)
    return None


# --- of what leads to it ------------------------------------------------------------------


class Structure:
    """What is known of matrices, each looked at once; ``turned`` gives the transpose."""

    def __init__(self, turned: Callable[[Any], Any]) -> None:
        self._transpose = turned
        self._symmetric: dict[Any, bool] = {}
        self._spreads: dict[Any, bool] = {}
        self._constants: dict[int, Any] = {}

    def look(self, x: Any) -> None:
        """Look at ``x`` after all that leads to it: long sums are not gone through at once."""
        if len(shape_of(x)) == 2:
            self.symmetric(x)
            self.spreads(x)

    def symmetric(self, x: Any) -> bool:
        """Whether it can be seen that ``x`` is symmetric."""
        if len(shape_of(x)) != 2 or x.shape[0] != x.shape[1]:
            return False
        key = self.key(x)
        if key not in self._symmetric:
            self._symmetric[key] = False  # while it is looked at
            known = not isinstance(x, Traced)
            self._symmetric[key] = np.array_equal(x, x.T) if known else self._by_call(x)
        return self._symmetric[key]

    def key(self, x: Any) -> Any:
        """What ``x`` is known by."""
        if isinstance(x, Traced):
            return x.number
        self._constants[id(x)] = x  # alive as long as its identity is a key
        return "array", id(x)

    def _by_call(self, x: Traced) -> bool:
        call, args = x.step.call, x.step.args
        if call in {np.diag, cholesky_inverse}:
            return True
        if is_product(x):
            return self._mirrored_product(*args)
        if call in {np.transpose, lu_inverse, lu}:
            return self.symmetric(args[0])
        if isinstance(call, np.ufunc) or call is np.where:
            if all(is_scalar(arg) or self.symmetric(arg) for arg in args):
                return True
            return call in _SWAPS and self._mirrored(*args)
        return False

    def _mirrored(self, a: Any, b: Any) -> bool:
        """Whether one is the transpose of the other, also as a column and a row."""
        for column, row in ((a, b), (b, a)):
            if (
                len(shape_of(row)) == 1
                and isinstance(row, Traced)
                and shape_of(column) == (*row.shape, 1)
            ):
                return row.reshape(-1, 1) is column
        return (
            shape_of(a) == shape_of(b)[::-1] and len(shape_of(a)) == 2 and self._is_transpose(a, b)
        )

    def _is_transpose(self, a: Any, b: Any) -> bool:
        if isinstance(a, Traced) != isinstance(b, Traced):
            return False
        if isinstance(a, Traced):
            return self._transpose(a) is b
        return np.array_equal(a, b.T)

    def _mirrored_product(self, a: Any, b: Any) -> bool:
        """``A Aᵀ``, ``A S Aᵀ``, and multiples."""
        a, b = self.multiple(a)[1], self.multiple(b)[1]
        if self._is_transpose(a, b):
            return True
        if is_product(a) and self.symmetric(a.step.args[1]):
            return self._is_transpose(self.multiple(a.step.args[0])[1], b)
        if is_product(b) and self.symmetric(b.step.args[0]):
            return self._is_transpose(a, self.multiple(b.step.args[1])[1])
        return False

    def multiple(self, x: Any) -> tuple[Any, Any]:
        """All numbers that stand in front of ``x``, multiplied, and what they multiply."""
        total: Any = 1.0
        while isinstance(x, Traced):
            inner, flip = unturned(x)
            number, rest = multiple_of(inner) if isinstance(inner, Traced) else (1.0, inner)
            if rest is inner:
                break
            total, x = number * total, self._transpose(rest) if flip else rest
        return total, x

    def diagonal(self, x: Any) -> Any:
        """The diagonal of a diagonal matrix, as a vector, or as a number where it repeats one;
        None of other matrices.
        """
        if len(shape_of(x)) != 2 or x.shape[0] != x.shape[1]:
            return None
        if isinstance(x, Traced):
            if x.step.call is np.diag:
                return x.step.args[0]
            number, rest = self.multiple(x)
            inner = None if rest is x else self.diagonal(rest)
            return None if inner is None else number * inner
        entries = np.diagonal(x)
        if np.count_nonzero(x) != np.count_nonzero(entries):
            return None
        same = bool(np.all(entries == entries[0]))
        return float(entries[0]) if same else entries.copy()

    def spreads(self, x: Any) -> bool:
        """Whether products with ``x`` have a cheaper way to look for."""
        if len(shape_of(x)) != 2 or 0 in x.shape:
            return False
        key = self.key(x)
        if key not in self._spreads:
            known = not isinstance(x, Traced)
            self._spreads[key] = self.diagonal(x) is not None if known else self._has_parts(x)
        return self._spreads[key]

    def _has_parts(self, x: Traced) -> bool:
        call, args = x.step.call, x.step.args
        if call in _INVERSES or call in _SOLVES or call is np.diag or is_product(x):
            return True
        if call is np.transpose:
            return self.spreads(args[0])
        if call in {np.add, np.subtract}:
            return all(shape_of(arg) == x.shape for arg in args) and any(map(self.spreads, args))
        rest = _multiplied(x)
        return self.spreads(rest) if rest is not x else outer(x) is not None


# --- costs --------------------------------------------------------------------------------


def _size(x: Any) -> int:
    return int(x.shape[0]) ** 3


def _right(step: Any) -> int:
    """Entries of the right-hand sides times the size of the matrix."""
    return math.prod(map(int, step.args[0].shape)) * int(step.args[0].shape[0])


_MULTIPLICATIONS: dict[Any, Callable[[Any], float]] = {
    np.matmul: lambda s: size_of(s.args[0]) * (s.args[1].shape[1] if s.args[1].ndim > 1 else 1),
    np.linalg.cholesky: lambda s: _size(s.args[0]) / 6,
    np.linalg.inv: lambda s: _size(s.args[0]),
    np.linalg.slogdet: lambda s: _size(s.args[0]) / 3,
    lu: lambda s: _size(s.args[0]) / 3,
    cholesky_inverse: lambda s: _size(s.args[0]) / 3,
    lu_inverse: lambda s: 2 * _size(s.args[0]) / 3,
    lu_slogdet: lambda _: 0.0,
    cholesky_solve: _right,
    lu_solve: _right,
    triangular_solve: lambda s: _right(s) / 2,
}


def price(x: Traced) -> float:
    """What the call that makes ``x`` costs, in multiplications."""
    step = x.step
    if step.call is None or step.view or step.call == "item":
        return 0.0
    if x.shape == () and all(map(is_scalar, step.args)):
        return CALL / 50
    plain = all(map(is_plain, step.args))
    count = _MULTIPLICATIONS.get(step.call, lambda _: 0.0)(step) if plain else 0.0
    return count + ENTRY * (x.size + sum(map(size_of, step.args))) + CALL
