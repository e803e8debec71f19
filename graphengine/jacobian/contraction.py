"""Products of labelled arrays, summed over the labels that are not kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from graphengine.errors import TooLargeError
from graphengine.jacobian.terms import Array, Factor, Label
from graphengine.tracing import as_array, guarded, known, traced

DEFAULT_LIMIT = 2 * 1024**3
"""Bytes that an explicit array may take unless the caller says otherwise (2 GiB)."""


def contract(
    operands: Sequence[Factor],
    keep: tuple[Label, ...],
    sizes: Mapping[Label, int],
    limit: int = DEFAULT_LIMIT,
    coef: float = 1.0,
) -> Array:
    """``coef`` times the product of ``operands``, summed over all labels but ``keep``.

    The axes of the result are those of ``keep``; a label of it that no operand has is repeated
    (a view).  Products over a summed label are matrix products.  In all products zero times
    anything is zero: a zero gradient stays zero behind an infinite or undefined slope, such as
    that of a square root at zero, or of the branch that ``where`` did not take.
    Raises :class:`TooLargeError` before an array passes ``limit`` bytes.
    """
    rest = list(operands) or [Factor(np.ones(()), ())]
    with np.errstate(invalid="ignore", over="ignore"):
        if coef != 1.0:  # into the smallest of them
            k = min(range(len(rest)), key=lambda place: rest[place].array.size)
            rest[k] = Factor(times(np.asarray(coef), rest[k].array), rest[k].labels)
        while len(rest) > 1:
            left, right, others = _cheapest_pair(rest, keep, sizes)
            needed = set(keep).union(*(operand.labels for operand in others))
            rest = [_pair(left, right, needed, keep, sizes, limit), *others]
        found = _sum_out(rest[0], set(keep))
    return expand(found, keep, sizes)


def expand(operand: Factor, keep: tuple[Label, ...], sizes: Mapping[Label, int]) -> Array:
    """``operand`` with one axis for each label of ``keep``, repeated where it has none (a view)."""
    if operand.labels == keep:
        return operand.array
    place = {label: k for k, label in enumerate(operand.labels)}
    array = operand.array.transpose([place[label] for label in keep if label in place])
    ones = tuple(sizes[label] if label in place else 1 for label in keep)
    return np.broadcast_to(array.reshape(ones), tuple(sizes[label] for label in keep))


def times(left: Array, right: Array) -> Array:
    """The product entry by entry, in which zero times anything is zero."""
    product: Array = as_array(left * right)
    if traced(left, right):
        return as_array(guarded(left, right, product))
    if not math.isfinite(product.sum()):
        broken = np.isnan(product)
        product = np.where(broken & ((left == 0) | (right == 0)), 0.0, product)
    return product


def _matmul(left: Array, right: Array) -> Array:
    """The matrix product, in which zero times anything is zero."""
    product: Array = left @ right
    if known(product) and not math.isfinite(product.sum()):
        finite = np.isfinite(left).all(axis=tuple(range(left.ndim - 1)))
        finite &= np.isfinite(right).swapaxes(-1, -2).all(axis=tuple(range(right.ndim - 1)))
        product = left[..., finite] @ right[..., finite, :]
        for k in np.flatnonzero(~finite):
            product = product + times(left[..., k, None], right[..., None, k, :])
    return product


def _sum_out(operand: Factor, needed: set[Label]) -> Factor:
    axes = tuple(k for k, label in enumerate(operand.labels) if label not in needed)
    if not axes:
        return operand
    labels = tuple(label for label in operand.labels if label in needed)
    return Factor(as_array(operand.array.sum(axis=axes)), labels)


def _cheapest_pair(
    operands: list[Factor], keep: tuple[Label, ...], sizes: Mapping[Label, int]
) -> tuple[Factor, Factor, list[Factor]]:
    """The two operands whose product is smallest beside them, and the others."""
    if len(operands) == 2:
        return operands[0], operands[1], []

    def growth(i: int, j: int) -> tuple[int, int]:
        others = [operands[k].labels for k in range(len(operands)) if k not in (i, j)]
        needed = set(keep).union(*others)
        both = set(operands[i].labels) | set(operands[j].labels)
        size = math.prod(sizes[label] for label in both & needed)
        return size - operands[i].array.size - operands[j].array.size, i

    pairs = [(i, j) for i in range(len(operands)) for j in range(i + 1, len(operands))]
    i, j = min(pairs, key=lambda pair: growth(*pair))
    return operands[i], operands[j], [o for k, o in enumerate(operands) if k not in (i, j)]


def _pair(
    left: Factor,
    right: Factor,
    needed: set[Label],
    keep: tuple[Label, ...],
    sizes: Mapping[Label, int],
    limit: int,
) -> Factor:
    both = {*left.labels, *right.labels}
    if not both <= needed:
        left = _sum_out(left, needed | set(right.labels))
        right = _sum_out(right, needed | set(left.labels))
        both = {*left.labels, *right.labels}
    if both <= needed:
        guard(math.prod(sizes[label] for label in both) * 8, limit)
        order = tuple(label for label in keep if label in both)
        order += tuple(
            label for label in dict.fromkeys(left.labels + right.labels) if label not in order
        )
        return Factor(times(align(left, order), align(right, order)), order)
    shared = [label for label in left.labels if label in right.labels]
    summed = tuple(label for label in shared if label not in needed)
    batch = tuple(label for label in shared if label in needed)
    if batch and len(shared) == len(left.labels) == len(right.labels):  # dot products
        product = Factor(times(left.array, align(right, left.labels)), left.labels)
        return _sum_out(product, needed)
    rows = tuple(label for label in left.labels if label not in shared)
    cols = tuple(label for label in right.labels if label not in shared)
    guard(math.prod(sizes[label] for label in (*batch, *rows, *cols)) * 8, limit)
    labels = (*batch, *rows, *cols)
    inner = math.prod(sizes[label] for label in (*rows, *cols, *summed))
    if batch and inner <= TINY and traced(left.array, right.array):
        found = tuple(k for k in keep if k in labels)
        found += tuple(k for k in labels if k not in found)
        return Factor(_by_letters(left, right, found), found)
    shape = [math.prod(sizes[label] for label in part) for part in (batch, rows, cols, summed)]
    a = expand(left, (*batch, *rows, *summed), sizes)
    b = expand(right, (*batch, *summed, *cols), sizes)
    if batch:
        a, b = a.reshape(shape[0], shape[1], shape[3]), b.reshape(shape[0], shape[3], shape[2])
    else:
        a, b = a.reshape(shape[1], shape[3]), b.reshape(shape[3], shape[2])
    return Factor(_matmul(a, b).reshape(tuple(sizes[label] for label in labels)), labels)


TINY = 256
"""Flat code sums products of so few numbers by einsum: matrices so small are not for BLAS."""


def _by_letters(left: Factor, right: Factor, labels: tuple[Label, ...]) -> Array:
    """The products summed over what is not in ``labels``."""
    number = {label: k for k, label in enumerate(dict.fromkeys(left.labels + right.labels))}
    operands: list[object] = []
    for operand in (left, right):
        operands += [operand.array, [number[label] for label in operand.labels]]
    return as_array(np.einsum(*operands, [number[label] for label in labels]))  # type: ignore[call-overload]  # the form with lists


def align(operand: Factor, order: tuple[Label, ...]) -> Array:
    """``operand`` with axes in ``order``, of size 1 where it has no such label (a view)."""
    if operand.labels == order:
        return operand.array
    place = {label: k for k, label in enumerate(operand.labels)}
    array = operand.array.transpose([place[label] for label in order if label in place])
    return array.reshape(
        tuple(operand.array.shape[place[label]] if label in place else 1 for label in order)
    )


def guard(size: int, limit: int, what: str = "an explicit Jacobian") -> None:
    """Refuse ``size`` bytes above ``limit`` before anything is allocated."""
    if size > limit:
        raise TooLargeError(
            what,
            expected=f"at most {human(limit)}",
            got=human(size),
            hint="raise limit=, take a gradient or products (pull, push) instead, "
            "or ask for fewer rows or columns",
        )


def human(size: int) -> str:
    """A number of bytes for people.

    >>> human(2 * 1024**3), human(1536)
    ('2 GiB', '1.5 KiB')
    """
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 1024 or unit == "EiB":
            return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
