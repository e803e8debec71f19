"""What the Jacobian of a link is changed to, in a form that need not be made to multiply by it.

Most mistakes are a number, a slope or a mask: a row times such a Jacobian is that row, or its
product with the right Jacobian, times a number or entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphengine.jacobian import Jacobian, term
from graphengine.ops.base import Array, Shape

__all__ = ["Changed", "Weights", "diagonal_of", "pushed"]

Weights: TypeAlias = Callable[[], Array]


@dataclass(frozen=True)
class Changed:
    """``scale · diag(above) · right · diag(below)``; without ``right`` the identity is there.

    ``above`` has the shape of the child, ``below`` that of the parent, ``shape``; weights that are
    not given are 1.  ``order`` gives for each column the place of the one that stands there.
    """

    shape: Shape
    right: Callable[[], Jacobian] | None = None
    scale: float = 1.0
    above: Weights | None = None
    below: Weights | None = None
    order: Weights | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is the right Jacobian times a number that is not 0."""
        weights = (self.above, self.below, self.order)
        return self.right is not None and self.scale != 0 and weights == (None, None, None)

    def __call__(self) -> Jacobian:
        """The Jacobian itself."""
        made = Jacobian.identity(self.shape) if self.right is None else self.right()
        if self.scale == 0:
            return Jacobian.zero(made.out_shape, made.in_shape)
        if self.above is not None:
            made = diagonal_of(self._above, made.out_shape).compose(made)
        if self.below is not None:
            made = made.compose(diagonal_of(self._below, made.in_shape))
        if self.order is not None:
            back = np.argsort(self._order).reshape(self.shape)
            made = made.compose(Jacobian.rearrangement(back, self.shape))
        return made * self.scale if self.scale != 1 else made

    def pull(self, row: Array, right: Array) -> Array:
        """``row`` (flat) times the Jacobian; ``right`` is ``row`` times the right one."""
        found = row if self.right is None else right
        if self.above is not None:
            weighed = row * self._above
            found = weighed if self.right is None else self.right().pull(weighed).reshape(-1)
        if self.below is not None:
            found = found * self._below
        if self.order is not None:
            found = found[self._order]
        return self.scale * found if self.scale != 1 else found

    def push(self, columns: Array, right: Array) -> Array:
        """The Jacobian times ``columns``; ``right`` is the right one times them."""
        found = columns if self.right is None else right
        if self.order is not None:
            columns = columns[np.argsort(self._order)]
            found = columns if self.right is None else pushed(self.right(), columns)
        if self.below is not None:
            weighed = columns * self._below[:, None]
            found = weighed if self.right is None else pushed(self.right(), weighed)
        if self.above is not None:
            found = found * self._above[:, None]
        return self.scale * found if self.scale != 1 else found

    @cached_property
    def finite(self) -> bool:
        """Whether all its numbers are, the right ones left aside."""
        weights = [self._above] if self.above is not None else []
        weights += [self._below] if self.below is not None else []
        return all(bool(np.isfinite(one).all()) for one in weights)

    @cached_property
    def _above(self) -> Array:
        assert self.above is not None
        return self._flat(self.above, None if self.right is not None else self.shape)

    @cached_property
    def _below(self) -> Array:
        assert self.below is not None
        return self._flat(self.below, self.shape)

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        assert self.order is not None
        return np.asarray(self.order()).reshape(-1).astype(np.intp)

    @staticmethod
    def _flat(make: Weights, shape: Shape | None) -> Array:
        with np.errstate(all="ignore"):
            made = np.asarray(make(), dtype=float)
        return made.reshape(-1) if shape is None else np.broadcast_to(made, shape).reshape(-1)


def diagonal_of(weights: Array, shape: Shape) -> Jacobian:
    """The Jacobian that multiplies entry by entry."""
    return Jacobian.of(term("... <- ...", (weights.reshape(shape), "...", "")), shape, shape)


def pushed(jacobian: Jacobian, columns: Array) -> Array:
    """A Jacobian times columns."""
    return np.stack([jacobian.push(column).reshape(-1) for column in columns.T], axis=-1)
