"""The product of two terms: unify the labels in the middle, sum what is no longer free."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from graphengine.jacobian.contraction import align, contract, guard, times
from graphengine.jacobian.products import as_key
from graphengine.jacobian.terms import (
    Array,
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
    index,
    structure,
)
from graphengine.tracing import as_array, traced


def compose(left: Term, right: Term, limit: int) -> tuple[Term, ...] | None:
    """``left @ right`` as one term; None where only a sparse product keeps it small.

    ``left`` leads from the middle to the output, ``right`` from the input to the middle.
    There is no term when the two touch no common position.
    """
    if not (left.sizes or right.sizes):  # numbers
        factors = (*left.factors, *right.factors)
        return (_summed(Term(left.out, right.into, {}, factors, left.coef * right.coef), limit),)
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
    if 0 in work.sizes.values():
        return ()
    if work.entries > math.prod(work.out.view) * math.prod(work.into.view):
        return None
    return (_summed(work.result(limit), limit),)


def merge(terms: Sequence[Term], limit: int) -> tuple[Term, ...]:
    """Terms whose entries stand at the same places, added into one."""
    if len(terms) < 2:
        return tuple(terms)
    groups: dict[object, list[Term]] = {}
    for part in terms:
        groups.setdefault(structure([part]), []).append(part)
    return tuple(group[0] if len(group) == 1 else _added(group, limit) for group in groups.values())


def _added(group: list[Term], limit: int) -> Term:
    """The sum of terms of one structure, as one term with one factor."""
    first = group[0]
    if len({_numbers(part) for part in group}) == 1:
        return replace(first, coef=sum(part.coef for part in group))
    guard(first.entries * 8, limit)
    sizes = {label: first.sizes[label] for label in first.labels}
    with np.errstate(invalid="ignore"):  # ∞ − ∞ shows in the result
        total = reduce(
            np.add,
            (contract(one.factors, one.labels, one.sizes, limit, one.coef) for one in group),
        )
    return Term(first.out, first.into, sizes, (Factor(total, first.labels),))


def _numbers(part: Term) -> tuple[object, ...]:
    """A key: terms of one structure and equal keys differ by their coefficients alone."""
    order = {label: k for k, label in enumerate(part.labels)}
    return tuple((id(f.array), tuple(order.get(k, -1 - k) for k in f.labels)) for f in part.factors)


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
    axes: list[Index] = []
    for size, old in zip(part.out.view, part.out.axes, strict=True):
        group: list[int] = []
        while math.prod(group) != size:
            group.append(pieces.pop(0))
        if len(group) == 1:
            axes.append(old)
        elif old.at is None and _splittable(part, old.label):
            labels = tuple(next(numbers) for _ in group)
            part = _split_label(part, old.label, labels, tuple(group))
            axes += map(Index, labels)
        else:
            at = np.arange(size) if old.at is None else np.asarray(old.at, dtype=np.intp)
            tables = zip(group, np.unravel_index(at, group), strict=True)
            axes += (index(old.label, compact(np.asarray(along)), n) for n, along in tables)
    return Term(Side(view, tuple(axes)), part.into, part.sizes, part.factors, part.coef)


def _splittable(part: Term, label: Label) -> bool:
    """Whether ``label`` stands once on the output and as a whole axis everywhere else."""
    once = [i.label for i in part.out.axes].count(label) == 1
    return once and all(i.at is None for i in part.into.axes if i.label == label)


def _split_label(part: Term, label: Label, labels: tuple[Label, ...], group: Shape) -> Term:
    view: list[int] = []
    axes: list[Index] = []
    for size, old in zip(part.into.view, part.into.axes, strict=True):
        if old.label == label:
            view += group
            axes += map(Index, labels)
        else:
            view.append(size)
            axes.append(old)
    factors = []
    for factor in part.factors:
        if label in factor.labels:
            k = factor.labels.index(label)
            shape = factor.array.shape
            array = factor.array.reshape(shape[:k] + group + shape[k + 1 :])
            new = factor.labels[:k] + labels + factor.labels[k + 1 :]
            factors.append(Factor(array, new, factor.text))
        else:
            factors.append(factor)
    sizes = {key: size for key, size in part.sizes.items() if key != label}
    sizes |= dict(zip(labels, group, strict=True))
    return Term(part.out, Side(tuple(view), tuple(axes)), sizes, tuple(factors), part.coef)


# --- unification ----------------------------------------------------------------------


class _Operand(NamedTuple):
    """A factor whose entries are yet to be looked up: one index for each axis of the array."""

    array: Array
    axes: tuple[Index, ...]
    text: str


class _Unification:
    """Labels made equal one by one, in the factors and on the two outer sides."""

    def __init__(self, left: Term, right: Term, numbers: itertools.count[int]) -> None:
        self.out, self.into = left.out, right.into
        self.operands = [
            _Operand(array, tuple(map(Index, labels)), text)
            for array, labels, text in (*left.factors, *right.factors)
        ]
        self.coef = left.coef * right.coef
        self.sizes = {**left.sizes, **right.sizes}
        self.numbers = numbers
        # What became of each label of the middle: another label, perhaps through a table.
        self.became: dict[Label, Index] = {}

    def meet(self, a: Index, b: Index) -> bool:
        """Make position ``a`` equal to position ``b``; False if that would repeat entries."""
        a, b = self._now(a), self._now(b)
        if a.label == b.label:
            if not (a.at is None and b.at is None):
                self._meet_itself(a, b)
        elif b.at is None:
            self._replace(b.label, a)
        elif a.at is None:
            self._replace(a.label, b)
        else:
            return self._join(a.label, np.asarray(a.at), b.label, np.asarray(b.at))
        return True

    @property
    def entries(self) -> int:
        """How many entries the product writes."""
        return math.prod(self.sizes[k] for k in {*self.out.labels, *self.into.labels})

    def result(self, limit: int) -> Term:
        """What the two terms have become.  Only now are the factors' entries looked up."""
        self._straighten()
        factors = tuple(_looked_up(operand, self.sizes, limit) for operand in self.operands)
        used = {*self.out.labels, *self.into.labels}.union(*(factor.labels for factor in factors))
        loose = math.prod(
            size for label, size in self.sizes.items() if label not in used | set(self.became)
        )
        return Term(
            _simplest(self.out),
            _simplest(self.into),
            {label: size for label, size in self.sizes.items() if label in used},
            factors,
            self.coef * loose,
        )

    def _straighten(self) -> None:
        """Count a label that runs through all of one axis, in another order, by that axis."""
        indexes = self.out.axes + self.into.axes
        sizes = self.out.view + self.into.view
        for index_, size in zip(indexes, sizes, strict=True):
            label, at = index_
            if at is None or isinstance(at, range) or traced(at) or len(at) != size:
                continue
            if [other.label for other in indexes].count(label) != 1:
                continue
            back = np.full(size, -1, dtype=np.intp)
            back[at] = np.arange(size)
            if back.min() >= 0:  # at[back] counts up: each position is met once
                self._restrict(label, back, next(self.numbers))

    def _now(self, index: Index) -> Index:
        while index.label in self.became:
            index = _through(index, self.became[index.label])
        return index

    def _replace(self, old: Label, new: Index) -> None:
        def replaced(axes: tuple[Index, ...]) -> tuple[Index, ...]:
            return tuple(_through(i, new) if i.label == old else i for i in axes)

        self.became[old] = new
        self.out = Side(self.out.view, replaced(self.out.axes))
        self.into = Side(self.into.view, replaced(self.into.axes))
        self.operands = [one._replace(axes=replaced(one.axes)) for one in self.operands]

    def _meet_itself(self, a: Index, b: Index) -> None:
        """One label on two axes, through tables: keep the values where the tables agree."""
        size = self.sizes[a.label]
        left, right = (np.asarray(range(size) if i.at is None else i.at) for i in (a, b))
        self._restrict(a.label, np.flatnonzero(left == right), next(self.numbers))

    def _join(self, a: Label, left: NDArray[np.intp], b: Label, right: NDArray[np.intp]) -> bool:
        """Both come through tables: keep the pairs of values that meet."""
        if len(np.unique(left)) < len(left) and len(np.unique(right)) < len(right):
            return False
        rows, cols = _matches(left, right)
        label = next(self.numbers)
        self._restrict(a, rows, label)
        self._restrict(b, cols, label)
        return True

    def _restrict(self, old: Label, at: NDArray[np.intp], label: Label) -> None:
        """Let ``old`` run through ``at`` alone, counted by ``label``."""
        self.sizes[label] = len(at)
        self._replace(old, index(label, compact(at), self.sizes[old]))


def _through(old: Index, new: Index) -> Index:
    """``old`` after its label has become ``new``."""
    if old.at is None:
        return new
    if new.at is None:
        return Index(new.label, old.at)
    return Index(new.label, compact(as_array(old.at)[as_key(new.at)]))


def _simplest(side: Side) -> Side:
    """``side`` with every table that is the identity left out."""
    axes = zip(side.axes, side.view, strict=True)
    return Side(side.view, tuple(i if i.at is None else index(i.label, i.at, n) for i, n in axes))


def _looked_up(operand: _Operand, sizes: Mapping[Label, int], limit: int) -> Factor:
    array, axes, text = operand
    labels = tuple(i.label for i in axes)
    moved = [k for k, i in enumerate(axes) if i.at is not None]
    if moved:
        guard(math.prod(sizes[label] for label in labels) * 8, limit)
        # Slices first: they are free, and leave less to look up.
        for k in sorted(moved, key=lambda k: not isinstance(axes[k].at, range)):
            array = array[(slice(None),) * k + (as_key(cast("Positions", axes[k].at)),)]
    return distinct(Factor(array, labels, "" if moved else text))


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
    free = {label: k for k, label in enumerate(part.labels)}
    factors = list(part.factors)
    while True:
        label = next((k for f in factors for k in f.labels if k not in free), None)
        if label is None:
            break
        group = [f for f in factors if label in f.labels]
        rest = [f for f in factors if label not in f.labels]
        needed = set(free).union(*(f.labels for f in rest))
        found = dict.fromkeys(k for f in group for k in f.labels if k in needed)
        # In the order of the matrix, so that the numbers need not be moved at the end.
        keep = tuple(sorted(found, key=lambda k: free.get(k, len(free))))
        guard(math.prod(part.sizes[k] for k in keep) * 8, limit)
        group, rest = _absorbed(group, rest, math.prod(part.sizes[k] for k in keep))
        factors = [*rest, Factor(contract(group, keep, part.sizes, limit), keep)]
    merged: dict[frozenset[Label], Factor] = {}
    for factor in factors:
        key = frozenset(factor.labels)
        other = merged.get(key)
        if other is None:
            merged[key] = factor
        else:
            place = [factor.labels.index(k) for k in other.labels]
            with np.errstate(invalid="ignore", over="ignore"):
                array = times(other.array, factor.array.transpose(place))
            merged[key] = Factor(array, other.labels, _product_text(other, factor))
    sizes = {label: part.sizes[label] for label in part.labels}
    return Term(part.out, part.into, sizes, tuple(merged.values()), part.coef)


def _absorbed(
    group: list[Factor], rest: list[Factor], size: int
) -> tuple[list[Factor], list[Factor]]:
    """``rest`` without factors that can be multiplied into one of ``group`` which is smaller than
    their product: ``diag(d) (A B)`` is ``(diag(d) A) B``.
    """
    left = []
    for factor in rest:
        fits = [
            k
            for k, one in enumerate(group)
            if one.array.size < size and factor.labels and set(factor.labels) <= set(one.labels)
        ]
        if not fits:
            left.append(factor)
            continue
        k = min(fits, key=lambda place: group[place].array.size)
        with np.errstate(invalid="ignore", over="ignore"):
            array = times(group[k].array, align(factor, group[k].labels))
        group = [*group[:k], Factor(array, group[k].labels), *group[k + 1 :]]
    return group, left


def _product_text(left: Factor, right: Factor) -> str:
    """The text of two factors multiplied entry by entry; none where one has none."""
    known = left.text and right.text and left.labels == right.labels
    short = len(left.text) + len(right.text) < 200  # a deep chain is not to be read
    return f"({left.text}) * ({right.text})" if known and short else ""
