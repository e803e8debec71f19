"""Where the entries of a sum of terms stand in a CSR matrix: computed once, then only filled."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from graphengine.jacobian.contraction import contract, guard
from graphengine.jacobian.terms import (
    Array,
    Label,
    Shape,
    Side,
    Term,
    flat_positions,
    from_entries,
    structure,
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A CSR matrix whose numbers are to be filled in, and the slot of each entry of each term.

    ``slots`` is None when the entries of the one term are the data as they stand; ``needed``
    are the bytes of the matrix, overlapping terms counted apart.
    """

    model: csr_array
    slots: NDArray[np.intp] | None
    needed: int

    @property
    def nbytes(self) -> int:
        """Bytes that the pattern holds."""
        slots = 0 if self.slots is None else self.slots.nbytes
        return int(self.model.indptr.nbytes + self.model.indices.nbytes + slots)

    def fill(self, terms: Sequence[Term], limit: int) -> csr_array:
        """The matrix of ``terms``, whose structure is the one this pattern was made for."""
        data = np.empty(sum(part.entries for part in terms))
        start = 0
        for part in terms:
            _write(part, data[start : start + part.entries], limit)
            start += part.entries
        if self.slots is not None:
            size = len(self.model.indices)
            data = np.bincount(self.slots, data, minlength=size).astype(float, copy=False)
        # A copy of the model, for the constructor's checks would cost more than the numbers.
        made = copy(self.model)
        made.data, made.indices, made.indptr = data, made.indices.copy(), made.indptr.copy()
        return made


class PatternCache:
    """The patterns used last, up to a number of bytes: a memo of a pure function."""

    def __init__(self, limit: int = 256 * 1024**2) -> None:
        self.limit, self._held = limit, 0
        self._patterns: OrderedDict[Hashable, Pattern] = OrderedDict()

    def get(self, shape: tuple[int, int], terms: Sequence[Term], limit: int) -> Pattern:
        """The pattern for terms of this structure, made now if it is not held.

        Raises :class:`TooLargeError` for a matrix above ``limit`` bytes, before it is made.
        """
        key = (shape, structure(terms))
        found = self._patterns.get(key)
        guard(bytes_needed(shape, terms) if found is None else found.needed, limit)
        if found is None:
            found = pattern_of(shape, terms)
            if found.nbytes > self.limit:
                return found
            self._patterns[key] = found
            self._held += found.nbytes
            while self._held > self.limit:
                self._held -= self._patterns.popitem(last=False)[1].nbytes
        else:
            self._patterns.move_to_end(key)
        return found


patterns = PatternCache()


def matrix(out_shape: Shape, in_shape: Shape, terms: Sequence[Term], limit: int) -> csr_array:
    """``terms`` as a CSR matrix of shape ``(size out, size in)``, refused above ``limit`` bytes."""
    shape = math.prod(out_shape), math.prod(in_shape)
    return patterns.get(shape, terms, limit).fill(terms, limit)


def sparse_product(left: csr_array, right: csr_array, limit: int) -> csr_array:
    """``left @ right``, refused above ``limit`` bytes; stored zeros times anything are zero."""
    most = int(np.diff(right.indptr)[left.indices].sum())
    guard(min(most, left.shape[0] * right.shape[1]) * (8 + left.indices.itemsize), limit)
    product = left @ right
    if not math.isfinite(product.data.sum()):
        left, right = left.copy(), right.copy()
        left.eliminate_zeros()
        right.eliminate_zeros()
        product = left @ right
    return product


def traced_product(shape: tuple[int, int, int], left: Term, right: Term, limit: int) -> Term | None:
    """``left @ right`` of sizes ``(out, middle, in)`` by the patterns alone, where the numbers are
    only known later; None where there is no entry.
    """
    rows, middle, columns = shape
    (a, x), (b, y) = (
        _planned((rows, middle), left, limit),
        _planned((middle, columns), right, limit),
    )
    counts = np.diff(b.indptr)[a.indices]
    guard(int(counts.sum()) * 32, limit)
    first = np.repeat(np.arange(len(a.indices)), counts)
    skipped = np.repeat(np.cumsum(counts) - counts, counts)
    second = np.repeat(b.indptr[a.indices], counts) + np.arange(len(first)) - skipped
    row = np.repeat(np.arange(rows), np.diff(a.indptr))[first]
    places, back = np.unique(row * columns + b.indices[second], return_inverse=True)
    if not len(places):
        return None
    total: Any = np.bincount(back, x[first] * y[second], minlength=len(places))
    out, into = np.divmod(places, columns)
    return from_entries((rows, columns), out, into, total)


def _planned(shape: tuple[int, int], part: Term, limit: int) -> tuple[csr_array, Any]:
    """The pattern of a term and its numbers in that order."""
    pattern = pattern_of(shape, (part,))
    found = contract(part.factors, part.labels, part.sizes, limit, part.coef)
    numbers: Any = found.reshape(-1)
    if pattern.slots is not None:
        size = len(pattern.model.indices)
        numbers = np.bincount(pattern.slots, numbers, minlength=size)
    return pattern.model, numbers


def bytes_needed(shape: tuple[int, int], terms: Sequence[Term]) -> int:
    """Bytes of the CSR matrix: data and column of each entry, and the row pointers."""
    width = _index_type(shape, terms)().itemsize
    return sum(part.entries for part in terms) * (8 + width) + (shape[0] + 1) * width


def _index_type(shape: tuple[int, int], terms: Sequence[Term]) -> type[np.int32] | type[np.int64]:
    largest = max(*shape, sum(part.entries for part in terms))
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


def _write(part: Term, data: Array, limit: int) -> None:
    """Write the numbers of a term into ``data``, in the order of its labels."""
    values = contract(part.factors, part.labels, part.sizes, limit, part.coef)
    np.copyto(data.reshape(values.shape), values)


def pattern_of(shape: tuple[int, int], terms: Sequence[Term]) -> Pattern:
    """The pattern of ``terms``, made anew."""
    kind = _index_type(shape, terms)
    found = _direct(shape, terms[0], kind) if len(terms) == 1 else None
    indptr, indices, slots = found or _merged(shape, terms, kind)
    model = csr_array((np.broadcast_to(0.0, len(indices)), indices, indptr), shape=shape)
    model.has_canonical_format = True  # sorted, each place once
    model.data = np.empty(0)  # filled in copies
    return Pattern(model, slots, bytes_needed(shape, terms))


_Arrays: TypeAlias = tuple[NDArray[Any], NDArray[Any], "NDArray[np.intp] | None"]


def _merged(
    shape: tuple[int, int], terms: Sequence[Term], kind: type[np.int32] | type[np.int64]
) -> _Arrays:
    """Row pointers and columns of all places that a term has, and the place of each entry."""
    none = np.zeros(0, dtype=np.int64)
    rows = np.concatenate([none, *(_positions(part.out, part) for part in terms)])
    cols = np.concatenate([none, *(_positions(part.into, part) for part in terms)])
    places, slots = np.unique(rows * shape[1] + cols, return_inverse=True)
    row, col = np.divmod(places, max(shape[1], 1))
    indptr = np.zeros(shape[0] + 1, dtype=kind)
    np.cumsum(np.bincount(row, minlength=shape[0]), out=indptr[1:])
    return indptr, col.astype(kind), slots.reshape(-1)


def _direct(
    shape: tuple[int, int], part: Term, kind: type[np.int32] | type[np.int64]
) -> _Arrays | None:
    """The pattern of a term whose entries come in the order of CSR as they stand, else None."""
    own = tuple(label for label in part.into.labels if label not in part.out.labels)
    if not (_increasing(part.out, part.out.labels) and _increasing(part.into, own)):
        return None
    width = math.prod(part.sizes[label] for label in own)
    counts = np.zeros(shape[0], dtype=np.int64)
    counts[flat_positions(part.out, part.out.labels).reshape(-1)] = width
    indptr = np.zeros(shape[0] + 1, dtype=kind)
    np.cumsum(counts, out=indptr[1:])
    return indptr, _positions(part.into, part).astype(kind), None


def _increasing(side: Side, labels: tuple[Label, ...]) -> bool:
    """Whether positions on this side grow strictly as ``labels`` count up, the last one fastest."""
    found = []
    for label, at in side.axes:
        if label not in labels:
            continue
        rising = at is None or bool(np.all(np.diff(at) > 0))
        if not rising or label in found:
            return False
        found.append(label)
    return tuple(found) == labels


def _positions(side: Side, part: Term) -> NDArray[np.int64]:
    labels = part.labels
    sizes = tuple(part.sizes[label] for label in labels)
    return np.broadcast_to(flat_positions(side, labels), sizes).reshape(-1)
