"""How large the numbers are that add up to a derivative, and what rounding does to it.

A derivative is a sum over paths, and every Jacobian on a path is a sum of terms.  Where the
contributions nearly cancel, a right claim differs from the reference by the rounding of the
*contributions*, which may be far more than the rounding of what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from graphengine.graph import Graph, Node
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Array, Op
from graphengine.run import Run

__all__ = ["Contributions", "Rounded", "absolute", "matrix", "off"]


def matrix(run: Run, of: Node, wrt: Node) -> Array:
    """``∂of/∂wrt`` as a plain matrix; a gradient where ``of`` has one entry.

    Raises :class:`~graphengine.errors.TooLargeError` above the run's limit.
    """
    if of.size == 1:
        return run.gradient(wrt, of).reshape(1, wrt.size)
    return run.structured(of, wrt).toarray(limit=run.limit)


def absolute(jacobian: Jacobian) -> Jacobian:
    """The sum of the absolute values of a Jacobian's terms."""
    terms = tuple(
        replace(
            part,
            factors=tuple(factor._replace(array=np.abs(factor.array)) for factor in part.factors),
            coef=abs(part.coef),
        )
        for part in jacobian.terms
    )
    return replace(jacobian, terms=terms)


class Contributions(Run):
    """A run whose derivatives add up the absolute values of all contributions.

    Every factor of every term of every Jacobian is replaced by its absolute value, so that
    nothing cancels.  For ``J = (a − b) x`` by two paths, ``∂J/∂x`` is ``|a| + |b|``.
    """

    def rule(self, node: Node, place: int) -> Jacobian:
        """The Jacobian of ``node`` with respect to its argument at ``place``, in absolute value."""
        return absolute(super().rule(node, place))


class Rounded(Run):
    """A run in which the value of every node is off by a few units in the last place.

    The errors are drawn from ``rng``, up to ``units`` times the machine's epsilon.  What is not
    rounded stays exact: whole numbers at start nodes (labels, one-hot rows, masks), and entries
    that an op copies from its arguments (the larger of two is still equal to one of them).
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, Array],
        rng: np.random.Generator,
        *,
        units: float = 4.0,
        limit: int | None = None,
    ) -> None:
        super().__init__(graph, values, limit=limit)
        for node in graph.nodes:
            if node.op is None:
                array = self._values[node.number]
                exact = array == np.rint(array)
            else:
                args = self._arguments(node)
                array = node.op.value(*args)
                exact = _copied(node.op, array, args)
            self._values[node.number] = np.where(exact, array, off(array, rng, units))
            self._values[node.number].setflags(write=False)


def _copied(op: Op, array: Array, args: Sequence[Array]) -> Array:
    """Which entries of an op's value are no result of a computation (but for a sign)."""
    if op.family in {"rearrangement", "selection"}:
        return np.ones(array.shape, dtype=bool)
    return np.isin(np.abs(array), np.abs(np.concatenate([arg.ravel() for arg in args])))


def off(array: Array, rng: np.random.Generator, units: float = 4.0) -> Array:
    """``array`` with random relative errors of about ``units`` in the last place."""
    sizes = units * np.finfo(float).eps * rng.uniform(0.5, 1.0, array.shape)
    errors = sizes * rng.choice([-1.0, 1.0], array.shape)  # never so small that nothing changes
    with np.errstate(all="ignore"):
        return np.asarray(array * (1 + errors))
