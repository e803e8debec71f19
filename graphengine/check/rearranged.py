"""Claims whose numbers are right but stand elsewhere: transposed, reordered, not added up.

Each rearrangement takes the claim's array as it was written and brings it to the form that the
right answer has; what comes out is compared like any other claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import TypeAlias

import numpy as np

from graphengine.check.case import Case
from graphengine.check.mistakes.base import place_name
from graphengine.check.report import Mistake
from graphengine.graph import Node
from graphengine.ops.base import Array, Shape

__all__ = ["Rearranged", "rearranged_twice", "rearrangements"]

MOST_BLOCKS = 4

Form: TypeAlias = Callable[[Array, Node, Node], "Array | None"]


@dataclass(frozen=True)
class Rearranged:
    """A rearrangement as a mistake, and the claim with it undone, at every place."""

    mistake: Mistake
    matrices: Sequence[Array]


def rearrangements(case: Case, matrices: Sequence[Array] | None) -> Iterator[Rearranged]:
    """The rearrangements that fit the claim's shape at every place."""
    fits = matrices is not None
    for mistake, form in _forms(case, fits=fits):
        made = []
        for place, array in zip(case.places, case.arrays, strict=True):
            of, wrt = place.graph[case.claim.of], place.graph[case.claim.wrt]
            laid = array if case.layout == "numerator" or of.size == 1 else _swapped(array)
            found = form(laid, of, wrt)
            if found is None or found.size != of.size * wrt.size:
                break
            made.append(np.asarray(found).reshape(of.size, wrt.size))
        else:
            if matrices is None or not all(
                np.array_equal(a, b) for a, b in zip(made, matrices, strict=True)
            ):
                yield Rearranged(mistake, made)


def rearranged_twice(case: Case, first: Rearranged) -> Iterator[Rearranged]:
    """The rearrangements that fit once the first is undone."""
    arrays = first.matrices
    again = replace(case, arrays=arrays, layout="numerator")
    for second in rearrangements(again, arrays):
        if second.mistake.kind != first.mistake.kind:
            yield second


def _swapped(array: Array) -> Array:
    return array.T if array.ndim == 2 else array


def _forms(case: Case, *, fits: bool) -> Iterator[tuple[Mistake, Form]]:
    claim = case.claim
    graph = case.places[0].graph
    of, wrt = graph[claim.of], graph[claim.wrt]
    edge = f"{claim.of}<-{claim.wrt}"
    where = wrt.name if of.size == 1 else edge
    got = case.arrays[0].shape
    if of.size == 1:
        says = f"off the diagonal every entry is there twice: {wrt.name} is taken for symmetric"
        yield Mistake("double_counted", where, says), _symmetric
        yield Mistake("transposed", where, _transposed(claim.of, claim.wrt)), _gradient_transposed
    else:
        says = f"transposed: this is (∂{claim.of}/∂{claim.wrt})ᵀ, the Jacobian of the other layout"
        yield Mistake("jacobian_transposed", edge, says), _jacobian_transposed
        if len(wrt.shape) > 1:
            says = (
                f"the columns stand in the order of the columns of {wrt.name} (vec by columns): "
                f"the Kronecker product has its factors in the other order"
            )
            yield Mistake("kronecker_order", edge, says), _columns_by_columns
        if len(of.shape) > 1:
            says = f"the rows stand in the order of the columns of {of.name} (vec by columns)"
            yield Mistake("kronecker_order", edge, says), _rows_by_columns
            says = "rows and columns stand in the order of columns (vec by columns)"
            same = (("reordered", edge),)
            yield Mistake("kronecker_order", edge, says, same), _both_by_columns
    if of.size > 1 or len([node for node in case.flow(0).inside if node.named]) == 1:
        says = f"the sign of ∂{claim.of}/∂{claim.wrt} is wrong"
        yield Mistake("sign", edge, says), lambda array, of, wrt: -array
        for scale in (2.0, 0.5):
            says = f"{scale:g} times ∂{claim.of}/∂{claim.wrt}"
            yield Mistake("factor", edge, says), _times(1 / scale)
    count = _blocks(wrt) if of.size == 1 else 0
    for order in permutations(range(count)) if 2 < count <= MOST_BLOCKS else ():
        if list(order) != sorted(order):
            says = f"the right entries in another order: the {count} blocks of {wrt.name}"
            yield Mistake("reordered", where, says), _in_blocks(order)
    for says, form in _ORDERS:
        kind = "shifted" if says.startswith("shifted") else "reordered"
        yield Mistake(kind, where, f"the right entries in another order: {says}"), form
    if not fits:
        yield from _sums(of, wrt, got)
        says = (
            f"the shape is {got}, expected {wrt.shape if of.size == 1 else (of.size, wrt.size)}: "
            "the numbers are right"
        )
        yield Mistake("shape", where, says), _same_numbers


def _transposed(of: str, wrt: str) -> str:
    return f"transposed: this is (∂{of}/∂{wrt})ᵀ; an outer product with its factors exchanged?"


def _times(scale: float) -> Form:
    return lambda array, of, wrt: np.asarray(array * scale)


# --- the forms --------------------------------------------------------------------------------


def _gradient_transposed(array: Array, of: Node, wrt: Node) -> Array | None:
    if len(wrt.shape) < 2 or array.shape != wrt.shape[::-1]:
        return None
    return array.T


def _symmetric(array: Array, of: Node, wrt: Node) -> Array | None:
    """Row 64: the derivative of a symmetric matrix, both triangles counted as one variable."""
    if len(wrt.shape) != 2 or array.shape != wrt.shape or len(set(wrt.shape)) > 1:
        return None
    return np.asarray((array + np.diag(np.diagonal(array))) / 2)


def _jacobian_transposed(array: Array, of: Node, wrt: Node) -> Array | None:
    return array.T if array.shape == (wrt.size, of.size) else None


def _columns_by_columns(array: Array, of: Node, wrt: Node) -> Array | None:
    if array.size != of.size * wrt.size:
        return None
    rows = array.reshape(of.size, wrt.size)
    return np.stack([row.reshape(wrt.shape, order="F").ravel() for row in rows])


def _rows_by_columns(array: Array, of: Node, wrt: Node) -> Array | None:
    if array.size != of.size * wrt.size:
        return None
    order = np.arange(of.size).reshape(of.shape, order="F").ravel()
    return np.asarray(array.reshape(of.size, wrt.size)[order])


def _both_by_columns(array: Array, of: Node, wrt: Node) -> Array | None:
    found = _columns_by_columns(array, of, wrt)
    return None if found is None else _rows_by_columns(found, of, wrt)


def _by_columns(array: Array, of: Node, wrt: Node) -> Array | None:
    if array.size != wrt.size * of.size or len(wrt.shape) < 2 or of.size != 1:
        return None
    return array.ravel().reshape(wrt.shape, order="F")


def _reversed(axis: int) -> Form:
    def form(array: Array, of: Node, wrt: Node) -> Array | None:
        if array.shape != wrt.shape or array.ndim <= axis or array.shape[axis] < 2:
            return None
        return np.flip(array, axis)

    return form


def _shifted(axis: int, step: int) -> Form:
    def form(array: Array, of: Node, wrt: Node) -> Array | None:
        if array.shape != wrt.shape or array.ndim <= axis or array.shape[axis] < 3:
            return None
        return np.roll(array, step, axis)

    return form


def _halves(axis: int, *, of_both: bool) -> Form:
    def form(array: Array, of: Node, wrt: Node) -> Array | None:
        target = array if of.size == 1 else array.reshape(of.size, -1)
        axis_ = axis if of.size == 1 else (1 if of_both else 0)
        if target.ndim <= axis_ or target.shape[axis_] % 2 or target.shape[axis_] < 4:
            return None
        half = target.shape[axis_] // 2
        return np.roll(target, half, axis_)

    return form


def _blocks(wrt: Node) -> int:
    """In how many equal slices a vector is used, where it is used in slices alone."""
    graph = wrt.graph
    users = [graph[name] for name in graph.dag.successors(wrt.name)]
    sliced = all(user.op is not None and user.op.name == "getitem" for user in users)
    alike = len({user.shape for user in users}) == 1 and len(wrt.shape) == 1
    count = len(users) if users and sliced and alike else 0
    return count if count and wrt.size == count * users[0].size else 0


def _in_blocks(order: Sequence[int]) -> Form:
    def form(array: Array, of: Node, wrt: Node) -> Array | None:
        if array.shape != wrt.shape or _blocks(wrt) != len(order):
            return None
        return np.asarray(array.reshape(len(order), -1)[list(order)])

    return form


def _rows_reversed(array: Array, of: Node, wrt: Node) -> Array | None:
    return array[::-1] if array.ndim == 2 and array.shape == (of.size, wrt.size) else None


def _columns_reversed(array: Array, of: Node, wrt: Node) -> Array | None:
    fits = array.ndim == 2 and array.shape == (of.size, wrt.size) and of.size > 1
    return array[:, ::-1] if fits else None


_ORDERS: tuple[tuple[str, Form], ...] = (
    ("by columns in place of by rows", _by_columns),
    ("reversed along axis 0", _reversed(0)),
    ("reversed along axis 1", _reversed(1)),
    ("shifted by one along axis 0", _shifted(0, 1)),
    ("shifted by one along axis 0", _shifted(0, -1)),
    ("shifted by one along axis 1", _shifted(1, 1)),
    ("shifted by one along axis 1", _shifted(1, -1)),
    ("the two halves exchanged", _halves(0, of_both=True)),
    ("the rows reversed", _rows_reversed),
    ("the columns reversed", _columns_reversed),
)


def _same_numbers(array: Array, of: Node, wrt: Node) -> Array | None:
    return array if array.size == of.size * wrt.size else None


def _sums(of: Node, wrt: Node, got: Shape) -> Iterator[tuple[Mistake, Form]]:
    """Row 28: axes along which a broadcast was not added up, or a mean or an entry taken."""
    if of.size != 1:
        return
    children = _broadcast_children(wrt)
    edge = place_name(children[0], wrt) if len(children) == 1 else wrt.name
    same = tuple(("not_reduced", place_name(child, wrt)) for child in children)
    for count in range(1, len(got) + 1):
        for axes in combinations(range(len(got)), count):
            left = tuple(n for k, n in enumerate(got) if k not in axes)
            if (
                math.prod(got) > wrt.size
                and math.prod(left) == wrt.size
                and [n for n in left if n > 1] == [n for n in wrt.shape if n > 1]
            ):
                over = "axis" if count == 1 else "axes"
                told = ", ".join(map(str, axes))
                says = f"not added up over {over} {told}: {wrt.name} is broadcast, its shares add"

                def form(array: Array, of: Node, wrt: Node, axes: Shape = axes) -> Array | None:
                    return array.sum(axis=axes) if array.ndim == len(got) else None

                yield Mistake("not_reduced", edge, says, same), form


def _broadcast_children(wrt: Node) -> list[Node]:
    users = [wrt.graph[name] for name in wrt.graph.dag.successors(wrt.name)]
    return [user for user in users if user.size > wrt.size]
