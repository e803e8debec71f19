"""Numeric derivatives to check Jacobians against: complex step, and differences with an error bar.

They know nothing of Jacobian rules: a function, a point and a direction are enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphengine.errors import GraphEngineError
from graphengine.graph import Graph, Node
from graphengine.ops import OPS
from graphengine.ops.base import Op
from graphengine.run import Run

__all__ = [
    "Along",
    "Directional",
    "complex_step",
    "continues",
    "differences",
    "numeric_jacobian",
    "path",
]

Array: TypeAlias = NDArray[np.float64]
Function: TypeAlias = Callable[[NDArray[np.complex128] | Array], NDArray[np.complex128] | Array]
Method: TypeAlias = Literal["complex step", "differences"]

_EPS = float(np.finfo(float).eps)
_STEP = 0.1
_LEVELS = 10
_SHRINK = 4.0


def complex_step(fun: Function, x: Array, direction: Array, step: float = 1e-30) -> Array:
    """``∂fun/∂x · direction`` to full precision, for a ``fun`` that continues to complex arguments.

    It silently gives 0 through ``abs``, real parts and comparisons: use it only where every
    operation is analytic.  (Squire and Trapp, 1998.)

    >>> complex_step(np.sin, np.array([0.0]), np.array([2.0]))
    array([2.])
    """
    found: Array = np.asarray(np.imag(fun(x + 1j * step * direction)) / step, dtype=float)
    return found


def differences(fun: Function, x: Array, direction: Array) -> tuple[Array, Array]:
    """``∂fun/∂x · direction`` by extrapolated central differences, and the error to expect.

    The first step moves the entries of ``x`` by about a tenth of their size; nine more
    follow, each a quarter of the one before, and the best extrapolation of each entry is kept
    (C. Ridders, Advances in Engineering Software 4, 1982, 75-76).  The error adds the gap between
    extrapolations to the rounding of the values divided by the step, and is infinite where the
    differences do not settle.  A kink nearer than the last step (4e-7) is not seen: stay away.

    >>> value, error = differences(np.sin, np.array([0.0]), np.array([2.0]))
    >>> bool(abs(value[0] - 2) <= error[0] < 1e-9)
    True
    """
    moved = float(np.max(np.abs(direction), initial=0.0))
    shape = np.shape(fun(x))
    if moved == 0.0 or math.prod(shape) == 0:
        return np.zeros(shape), np.zeros(shape)
    size = _reach(x, direction) * moved
    best, error = np.full(shape, np.nan), np.full(shape, np.inf)
    above: list[Array] = []
    constant = np.ones(shape, dtype=bool)
    with np.errstate(all="ignore"):
        for level in range(_LEVELS):
            h = _STEP * size / moved / _SHRINK**level
            high, low = np.asarray(fun(x + h * direction)), np.asarray(fun(x - h * direction))
            slope = np.asarray((high - low) / (2 * h), dtype=float)
            constant &= high == low
            values = np.maximum(np.abs(high), np.abs(low))
            rounding = 2 * _EPS * (values + np.abs(slope) * size / moved) / h
            row = [slope]
            for order, coarse in enumerate(above, 1):
                last = row[-1]
                finer = last + (last - coarse) / (_SHRINK ** (2 * order) - 1)
                gap = np.maximum(np.abs(finer - last), np.abs(finer - coarse)) + rounding
                better = gap < error
                best, error = np.where(better, finer, best), np.where(better, gap, error)
                row.append(finer)
            above = row
    return np.where(constant, 0.0, best), np.where(constant, 0.0, error)


def _reach(x: Array, direction: Array) -> float:
    """How far to go along ``direction`` to change ``x`` by its own size.

    Where it moves small entries beside large ones: the geometric mean of what the smallest and
    what the largest ask for, since either may set the scale of the function.
    """
    sizes, moves = np.abs(x), np.abs(direction)
    largest = (float(np.max(sizes, initial=0.0)) or 1.0) / float(np.max(moves))
    moving = (moves > 0) & (sizes > 0)
    smallest = float(np.min(sizes[moving] / moves[moving], initial=largest))
    return math.sqrt(smallest * largest)


def numeric_jacobian(fun: Function, x: Array, *, analytic: bool) -> tuple[Array, Array]:
    """``∂fun/∂x`` as a matrix ``size fun × size x``, column by column, with an error for each
    entry.

    By complex step where ``analytic``, by differences elsewhere.
    """
    rows = math.prod(np.shape(fun(x)))
    matrix = np.zeros((rows, x.size))
    error = np.zeros((rows, x.size))
    for column in range(x.size):
        direction = np.zeros(x.shape)
        direction.flat[column] = 1.0
        if analytic:
            found, bar = complex_step(fun, x, direction), np.zeros(rows)
        else:
            found, bar = differences(fun, x, direction)
        matrix[:, column], error[:, column] = found.reshape(rows), bar.reshape(rows)
    return matrix, error


# --- along a graph ---------------------------------------------------------------------------


class Directional(NamedTuple):
    """A derivative along one direction, in the shape of the value, with its error bar."""

    value: Array
    error: Array
    method: Method


def path(graph: Graph, of: Node, wrt: Node) -> tuple[Node, ...]:
    """The nodes on paths from ``wrt`` (left out) to ``of``, parents first; none: no influence."""
    after, before = {wrt}, {of}
    nodes = graph.nodes[wrt.number + 1 : of.number + 1]
    for node in nodes:
        if not after.isdisjoint(node.parents):
            after.add(node)
    for node in reversed(nodes):
        if node in before:
            before.update(node.parents)
    return tuple(node for node in nodes if node in after and node in before)


def continues(op: Op) -> bool:
    """Whether ``op`` is one of the library's that continue to complex arguments.

    What somebody else's op says of itself is not relied on: complex step would not notice.
    """
    return op.analytic and OPS.get(op.name) is type(op)


class Along:
    """The value of ``of`` as a function of the value of ``wrt``, all else as in ``run``."""

    def __init__(self, run: Run, of: Node, wrt: Node) -> None:
        self.run, self.of, self.wrt = run, of, wrt
        self.between = path(run.graph, of, wrt)

    def __call__(self, x: Any) -> Any:
        """The value of ``of`` where ``wrt`` is ``x``."""
        moved: dict[Node, Any] = {self.wrt: x}
        for node in self.between:
            assert node.op is not None
            moved[node] = node.op.value(*(self._argument(arg, moved) for arg in node.args))
        return moved.get(self.of, self.run.value(self.of))

    def _argument(self, arg: Node | Array, moved: Mapping[Node, Any]) -> Any:
        if not isinstance(arg, Node):
            return arg
        return moved[arg] if arg in moved else self.run.value(arg)

    def derivative(self, direction: Array, *, method: Method | None = None) -> Directional:
        """The derivative along ``direction``, from values alone.

        By complex step where every op on the way :func:`continues`, by differences
        elsewhere; ``method`` asks for one of them.  The error is infinite where the
        ops refuse what they are given (a label that is not whole).
        """
        x = self.run.value(self.wrt)
        if method is None:
            smooth = all(continues(node.op) for node in self.between if node.op)
            method = "complex step" if smooth else "differences"
        shape = self.of.shape
        try:
            if method == "differences":
                return Directional(*differences(self, x, direction), method)
            return Directional(complex_step(self, x, direction), np.zeros(shape), method)
        except (GraphEngineError, TypeError, ValueError, IndexError):
            return Directional(np.full(shape, np.nan), np.full(shape, np.inf), method)
