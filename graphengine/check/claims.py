"""One claim at one point: which shapes it may have, and how far its numbers are off."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from graphengine.check.reference import path
from graphengine.check.report import Entry, Mistake
from graphengine.graph import Graph
from graphengine.jacobian import Layout
from graphengine.ops.base import Array, Shape

__all__ = ["TOLERANCE", "Comparison", "accepted", "as_matrix", "compare", "order", "shape_mistake"]

TOLERANCE = 1e-7
"""The relative error that a right claim may have where nothing cancels.

Rounding in float64 stays below 1e-12 at good points; constants that the author typed with eight
digits (``0.69314718`` for ``log(2)``) stay below 1e-7; the mistakes people make start near 1e-2.
"""
ROUNDING = 1e-12
"""Rounding allowed relative to the contributions that add up to an entry: some 5,000 units in
the last place, for sums of many numbers in any order."""
SPILL = 64 * float(np.finfo(float).eps)
"""Rounding allowed in every entry relative to the largest contribution to any entry, for claims
that get a zero as the difference of two products."""


# --- shapes -----------------------------------------------------------------------------------


def accepted(of: Shape, wrt: Shape, layout: Layout) -> tuple[Shape, ...]:
    """The shapes that a claim about ``∂of/∂wrt`` may have, the usual one first.

    The matrix ``size of × size wrt`` (its transpose in denominator layout), the tensor
    ``of + wrt`` (``wrt + of``); for a scalar ``of`` also the shape of ``wrt``, flat, or as
    a row (a column); for a scalar ``wrt`` the shape of ``of``, flat, or as a column (a row).

    >>> accepted((), (3, 4), "numerator"), accepted((3,), (4,), "denominator")
    (((3, 4), (12,), (1, 12)), ((4, 3),))
    """
    m, n = math.prod(of), math.prod(wrt)
    numerator = layout == "numerator"
    whole = [(m, n) if numerator else (n, m), of + wrt if numerator else wrt + of]
    if m == 1:
        whole = [wrt, (n,), *whole]
    elif n == 1:
        whole = [of, (m,), *whole]
    return tuple(dict.fromkeys(whole))


def as_matrix(array: Array, of: Shape, wrt: Shape, layout: Layout) -> Array | None:
    """A claim's numbers as the matrix ``size of × size wrt``; None where its shape is not one of
    :func:`accepted`.
    """
    if array.shape not in accepted(of, wrt, layout):
        return None
    m, n = math.prod(of), math.prod(wrt)
    return array.reshape(m, n) if layout == "numerator" else array.reshape(n, m).T


def shape_mistake(claim: str, got: Shape, of: Shape, wrt: Shape, layout: Layout) -> Mistake:
    """What is wrong with a shape that is not one of :func:`accepted`."""
    shapes = accepted(of, wrt, layout)
    says = f"the shape is {got}, expected {shapes[0]}"
    if len(shapes) > 1:
        says += f" (or {', '.join(map(str, shapes[1:]))})"
    if len(got) > 1 and got[::-1] in shapes:
        says += ": exactly the transposed one"
    elif got in accepted(of, wrt, "denominator" if layout == "numerator" else "numerator"):
        says += f": the one of the other layout, this derivation is in {layout} layout"
    above, _, wrt_name = claim.partition("/")
    where = wrt_name if math.prod(of) == 1 else f"{above}<-{wrt_name}"
    return Mistake("shape", where, says)


# --- numbers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a claim is off at one point; ``worst`` is None for claims without entries."""

    error: float
    worst: Entry | None


def compare(
    claimed: Array,
    reference: Array,
    contributions: Array,
    *,
    tolerance: float,
    noise: Array | float = 0.0,
    shape: Shape | None = None,
    layout: Layout = "numerator",
) -> Comparison:
    """The largest relative error of the entries of ``claimed``, and the entry that has it.

    An entry's error is its difference from the reference, divided by the largest of

        |reference|,    |claimed|    and
        (ROUNDING · contributions + SPILL · largest contribution + noise) / tolerance

    so that it is above ``tolerance`` exactly when the difference is more than ``tolerance`` of the
    larger number and more than the rounding that is allowed.  Where nothing cancels this is the
    plain relative error, at any scale: 2 for a wrong sign, 1 for what is missing or should not be
    there.  Where contributions cancel, rounding *of the contributions* is allowed, and ``noise``,
    the rounding that was measured.  An entry that is not finite has an infinite error.

    Of the entries with the largest error the one with the largest difference is shown, with its
    index in the claim as it was written: ``shape`` and ``layout`` are those of the claim.
    """
    if claimed.size == 0:
        return Comparison(0.0, None)
    with np.errstate(all="ignore"):
        gap = np.abs(claimed - reference)
        allowed = ROUNDING * contributions + SPILL * np.max(contributions) + noise
        larger = np.maximum(np.abs(reference), np.abs(claimed))
        error = np.where(gap == 0, 0.0, gap / np.maximum(larger, allowed / tolerance))
    finite = np.isfinite(claimed)
    error = np.where(finite, error, np.inf)
    shown = np.where(error >= np.max(error), np.where(finite, gap, np.inf), -1.0)
    row, col = np.unravel_index(int(np.argmax(shown)), error.shape)
    m, n = error.shape
    flat = row * n + col if layout == "numerator" else col * m + row
    index = np.unravel_index(flat, error.shape if shape is None else shape)
    worst = Entry(
        tuple(int(k) for k in index),
        float(claimed[row, col]) + 0.0,  # −0 is shown as 0
        float(reference[row, col]) + 0.0,
    )
    return Comparison(float(error[row, col]), worst)


# --- order ----------------------------------------------------------------------------------------


def order(graph: Graph, claims: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs (of, wrt) in the order of the graph, in which the first wrong step is looked for.

    First the local Jacobians (no named node lies between the two), as the forward pass meets
    them; then derivatives with respect to computed nodes, those nearest to the result first, as
    the backward pass meets them; last those with respect to start nodes.
    """

    def key(claim: tuple[str, str]) -> tuple[int, int, int]:
        of, wrt = (graph[name] for name in claim)
        between = path(graph, of, wrt)
        if between and not any(node.named for node in between if node is not of):
            return 0, of.number, wrt.number
        return 1 + (wrt.role != "op"), -wrt.number, -of.number

    return sorted(claims, key=key)
