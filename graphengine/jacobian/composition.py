"""The product of two terms: unify the labels in the middle, sum what is no longer free."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphengine.jacobian.contraction import contract, guard, times
from graphengine.jacobian.products import as_key
from graphengine.jacobian.terms import (
    Factor,
    Index,
    Label,
    Positions,
    Shape,
    Side,
    Term,
    compact,
    distinct,
    fresh,
    structure,
)


def compose(left: Term, right: Term, limit: int) -> Term | None:
    """``left @ right`` as one term; None where only a sparse product keeps it small.

    ``left`` leads from the middle to the output, ``right`` from the input to the middle.
    The result has no entries (``entries == 0``) when the two touch no common position.
    """
    if not (left.sizes or right.sizes):  # numbers
        factors = (*left.factors, *right.factors)
        return _summed(Term(left.out, right.into, {}, factors, left.coef * right.coef), limit)
    numbers = itertools.count()
    left, right = fresh(numbers, left), fresh(numbers, right)
    same = _same_view(left, right, numbers)
    if same is None:
        return None
    left, right = same
    work = _Unification(left, right, numbers)
    for a, b in zip(left.into.axes, right.out.axes, strict=True):
        if not work.meet(a, b):
            return None
    product = work.result()
    if product.entries > math.prod(product.out.view) * math.prod(product.into.view):
        return None
    return _summed(product, limit)


def merge(terms: Sequence[Term], limit: int) -> tuple[Term, ...]:
    """Terms whose entries stand at the same places, added into one."""
    if len(terms) < 2:
        return tuple(terms)
    groups: dict[object, list[Term]] = {}
    for part in terms:
        if part.entries:
            groups.setdefault(structure([part]), []).append(part)
    return tuple(group[0] if len(group) == 1 else _added(group, limit) for group in groups.values())


def _added(group: list[Term], limit: int) -> Term:
    """The sum of terms of one structure, as one term with one factor."""
    first = group[0]
    if all(part.factors == () for part in group):
        return Term(first.out, first.into, first.sizes, (), sum(part.coef for part in group))
    guard(first.entries * 8, limit)
    total = np.zeros(tuple(first.sizes[label] for label in first.labels))
    for part in group:
        total += part.coef * contract(part.factors, part.labels, part.sizes, limit)
    return Term(first.out, first.into, first.sizes, (Factor(total, first.labels),))


# --- one view of the middle -----------------------------------------------------------


def _same_view(left: Term, right: Term, numbers: itertools.count[int]) -> tuple[Term, Term] | None:
    """The two terms with the axes of the middle split until they are the same."""
    if left.into.view == right.out.view:
        return left, right
    view = _refined(left.into.view, right.out.view)
    if view is None:
        return None
    return _split(left.transposed, view, numbers).transposed, _split(right, view, numbers)


def _refined(a: Shape, b: Shape) -> Shape | None:
    """The coarsest axes that both views are groupings of; None where there are none."""
    ends = sorted(set(_ends(a)) | set(_ends(b)))
    view = []
    for low, high in itertools.pairwise([1, *ends]):
        if high % low:
            return None
        view.append(high // low)
    return tuple(reversed(view))


def _ends(view: Shape) -> list[int]:
    return list(itertools.accumulate(reversed(view), lambda x, y: x * y))


def _split(part: Term, view: Shape, numbers: itertools.count[int]) -> Term:
    """``part`` with the axes of its output split to ``view``."""
    pieces = list(view)
    index: list[Index] = []
    for size, old in zip(part.out.view, part.out.axes, strict=True):
        group: list[int] = []
        while math.prod(group) != size:
            group.append(pieces.pop(0))
        if len(group) == 1:
            index.append(old)
        elif old.at is None and _splittable(part, old.label):
            labels = tuple(next(numbers) for _ in group)
            part = _split_label(part, old.label, labels, tuple(group))
            index = [*index, *(Index(label) for label in labels)]
        else:
            at = np.arange(size) if old.at is None else np.asarray(old.at, dtype=np.intp)
            for piece, along in zip(group, np.unravel_index(at, group), strict=True):
                found = compact(np.asarray(along))
                index.append(Index(old.label, None if found == range(piece) else found))
    return Term(Side(view, tuple(index)), part.into, part.sizes, part.factors, part.coef)


def _splittable(part: Term, label: Label) -> bool:
    """Whether ``label`` stands once on the output and as a whole axis everywhere else."""
    once = sum(index.label == label for index in part.out.axes) == 1
    return once and all(i.at is None for i in part.into.axes if i.label == label)


def _split_label(part: Term, label: Label, labels: tuple[Label, ...], group: Shape) -> Term:
    view: list[int] = []
    index: list[Index] = []
    for size, old in zip(part.into.view, part.into.axes, strict=True):
        if old.label == label:
            view += group
            index += [Index(new) for new in labels]
        else:
            view.append(size)
            index.append(old)
    factors = []
    for factor in part.factors:
        if label in factor.labels:
            k = factor.labels.index(label)
            shape = factor.array.shape
            array = factor.array.reshape(shape[:k] + group + shape[k + 1 :])
            factors.append(Factor(array, factor.labels[:k] + labels + factor.labels[k + 1 :]))
        else:
            factors.append(factor)
    sizes = {key: size for key, size in part.sizes.items() if key != label}
    sizes |= dict(zip(labels, group, strict=True))
    return Term(part.out, Side(tuple(view), tuple(index)), sizes, tuple(factors), part.coef)


# --- unification ----------------------------------------------------------------------


class _Unification:
    """Labels made equal one by one, in the factors and on the two outer sides."""

    def __init__(self, left: Term, right: Term, numbers: itertools.count[int]) -> None:
        self.out, self.into = left.out, right.into
        self.factors = [*left.factors, *right.factors]
        self.coef = left.coef * right.coef
        self.sizes = {**left.sizes, **right.sizes}
        self.numbers = numbers
        # What became of each label of the middle: another label, perhaps through a table.
        self.became: dict[Label, Index] = {}

    def meet(self, a: Index, b: Index) -> bool:
        """Make position ``a`` equal to position ``b``; False if that would repeat entries."""
        a, b = self._now(a), self._now(b)
        if a == b and a.at is None:
            return True
        if b.at is None and a.label != b.label:
            self._replace(b.label, a)
        elif a.at is None and a.label != b.label:
            self._replace(a.label, b)
        else:
            return self._join(a, b)
        return True

    def result(self) -> Term:
        """What the two terms have become."""
        used = {label for side in (self.out, self.into) for label in side.labels}
        used = used.union(*(factor.labels for factor in self.factors))
        loose = math.prod(
            size for label, size in self.sizes.items() if label not in used | set(self.became)
        )
        return Term(
            self.out,
            self.into,
            {label: size for label, size in self.sizes.items() if label in used},
            tuple(self.factors),
            self.coef * loose,
        )

    def _now(self, index: Index) -> Index:
        while index.label in self.became:
            index = _through(index, self.became[index.label])
        return index

    def _replace(self, old: Label, new: Index) -> None:
        self.became[old] = new
        self.out, self.into = (
            Side(
                side.view,
                tuple(_through(i, new) if i.label == old else i for i in side.axes),
            )
            for side in (self.out, self.into)
        )
        self.factors = [_renamed(factor, old, new) for factor in self.factors]

    def _join(self, a: Index, b: Index) -> bool:
        """Both come through tables: keep the pairs of entries that meet."""
        left = np.asarray(range(self.sizes[a.label]) if a.at is None else a.at)
        right = np.asarray(range(self.sizes[b.label]) if b.at is None else b.at)
        if a.label == b.label:  # an entry meets itself
            rows = cols = np.flatnonzero(left == right)
        else:
            if len(np.unique(left)) < len(left) and len(np.unique(right)) < len(right):
                return False
            rows, cols = _matches(left, right)
        label = next(self.numbers)
        self.sizes[label] = len(rows)
        self._replace(a.label, Index(label, _whole(compact(rows), self.sizes[a.label])))
        if a.label != b.label:
            self._replace(b.label, Index(label, _whole(compact(cols), self.sizes[b.label])))
        return True


def _whole(at: Positions, size: int) -> Positions | None:
    return None if isinstance(at, range) and at == range(size) else at


def _through(old: Index, new: Index) -> Index:
    """``old`` after its label has become ``new``."""
    if old.at is None:
        return new
    if new.at is None:
        return Index(new.label, old.at)
    if isinstance(old.at, range) and isinstance(new.at, range):
        return Index(new.label, compact(np.asarray(old.at)[as_key(new.at)]))
    return Index(new.label, compact(np.asarray(old.at)[np.asarray(new.at, dtype=np.intp)]))


def _renamed(factor: Factor, old: Label, new: Index) -> Factor:
    if old not in factor.labels:
        return factor
    array = factor.array
    if new.at is not None:
        array = array[(slice(None),) * factor.labels.index(old) + (as_key(new.at),)]
    labels = tuple(new.label if label == old else label for label in factor.labels)
    return distinct(Factor(array, labels, factor.text))


def _matches(
    left: NDArray[np.intp], right: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs ``(i, j)`` with ``left[i] == right[j]``, by ``i``."""
    order = np.argsort(right, kind="stable")
    low = np.searchsorted(right[order], left, side="left")
    counts = np.searchsorted(right[order], left, side="right") - low
    rows = np.repeat(np.arange(len(left)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return rows, order[np.repeat(low, counts) + np.arange(len(rows)) - starts]


# --- summing --------------------------------------------------------------------------


def _summed(part: Term, limit: int) -> Term:
    """``part`` without labels that stand on neither side, and with like factors multiplied."""
    free = set(part.labels)
    factors = list(part.factors)
    while True:
        label = next((k for f in factors for k in f.labels if k not in free), None)
        if label is None:
            break
        group = [f for f in factors if label in f.labels]
        rest = [f for f in factors if label not in f.labels]
        needed = free.union(*(f.labels for f in rest))
        keep = tuple(k for k in dict.fromkeys(k for f in group for k in f.labels) if k in needed)
        guard(math.prod(part.sizes[k] for k in keep) * 8, limit)
        factors = [*rest, Factor(contract(group, keep, part.sizes, limit), keep)]
    merged: dict[frozenset[Label], Factor] = {}
    for factor in factors:
        key = frozenset(factor.labels)
        other = merged.get(key)
        if other is None:
            merged[key] = factor
        else:
            place = [factor.labels.index(k) for k in other.labels]
            array = times(other.array, factor.array.transpose(place))
            merged[key] = Factor(array, other.labels)
    sizes = {label: part.sizes[label] for label in part.labels}
    return Term(part.out, part.into, sizes, tuple(merged.values()), part.coef)
