"""Mistakes with indices: a delta left out, the diagonal alone, entries in another place
(catalogue B, G).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    also_composite,
    columns_times,
    diagonal,
    mistake,
    rows_times,
)
from graphengine.check.mistakes.changes import Changed
from graphengine.jacobian import Jacobian, term
from graphengine.jacobian.terms import Factor, Label, Term
from graphengine.ops.base import Array

MOST_TERMS = 2


@also_composite
@mistake
def delta_left_out(link: Link) -> Iterator[Mutant]:
    """``kron(ones, x)`` for ``kron(eye, x)``: an axis that is on both sides is left free."""
    terms = link.jacobian.terms
    if link.op is None or not 1 <= len(terms) <= MOST_TERMS:
        return
    for k, part in enumerate(terms):
        for label in _shared(part):
            for which, factors in _freed(part, label):
                says = (
                    f"the delta is left out at {link.told}: each entry of {link.parent.name} "
                    "counts for all entries along an axis, not for its own alone"
                )
                made = partial(_with_free_axis, link.jacobian, k, label, factors)
                rank = 6 if which == "into" else 4
                for kind in ("not_reduced", "wrong_slope"):
                    yield link.mutant(("free", k, label, which), kind, says, made, rank=rank)


def _shared(part: Term) -> list[Label]:
    """The labels of axes, longer than one, that stand once on each side."""
    out = [index.label for index in part.out.axes if index.at is None]
    into = [index.label for index in part.into.axes if index.at is None]
    one = [label for label in out if out.count(label) == into.count(label) == 1]
    return [label for label in one if part.sizes[label] > 1]


def _freed(part: Term, label: Label) -> Iterator[tuple[str, tuple[Factor, ...]]]:
    """The factors once the label's two sides are apart: which of the sides they go with."""
    free = _free(part)
    own = [factor for factor in part.factors if label in factor.labels]
    yield "out", part.factors
    if own:
        moved = tuple(_renamed(factor, label, free) for factor in part.factors)
        yield "into", moved
    if len(own) == 1 and diagonal(part):
        yield "both", (*part.factors, _renamed(own[0], label, free))


@also_composite
@mistake
def slope_taken_apart(link: Link) -> Iterator[Mutant]:
    """``outer(f, 1 − f)``, a full matrix, for the slopes ``f (1 − f)``."""
    if link.op is None or link.op.name != "sigmoid" or len(link.child.shape) != 1:
        return
    f = link.out
    shapes = link.child.shape, link.parent.shape
    for told, left, right in (("f (1 − f)ᵀ", f, 1 - f), ("(1 − f) fᵀ", 1 - f, f)):
        says = f"{told}, a full matrix, for the slopes at {link.told}"
        made = partial(Jacobian.of, term("i <- j", (left, "i", ""), (right, "j", "")), *shapes)
        for kind in ("wrong_slope", "not_reduced"):
            yield link.mutant(told, kind, says, made, rank=4)


def _free(part: Term) -> Label:
    return max(part.sizes) + 1


def _renamed(factor: Factor, old: Label, new: Label) -> Factor:
    labels = tuple(new if label == old else label for label in factor.labels)
    return factor._replace(labels=labels)


def _with_free_axis(
    jacobian: Jacobian, k: int, label: Label, factors: tuple[Factor, ...]
) -> Jacobian:
    part = jacobian.terms[k]
    free = _free(part)
    axes = tuple(i._replace(label=free) if i.label == label else i for i in part.into.axes)
    changed = replace(
        part,
        into=part.into._replace(axes=axes),
        sizes={**part.sizes, free: part.sizes[label]},
        factors=factors,
    )
    return replace(jacobian, terms=(*jacobian.terms[:k], changed, *jacobian.terms[k + 1 :]))


@mistake
def diagonal_of_a_matrix(link: Link) -> Iterator[Mutant]:
    """Only the diagonal of a square matrix counts: a product entry by entry for a trace."""
    for node, weigh, which in (
        (link.child, rows_times, "upstream gradient"),
        (link.parent, columns_times, "gradient"),
    ):
        square = len(node.shape) == 2 and node.shape[0] == node.shape[1] > 1
        if link.op is None or not square or (node is link.child and link.alike):
            continue
        eye = np.eye(node.shape[0])
        says = f"only the diagonal of the {which} counts at {link.told}"
        made = weigh(link, partial(np.asarray, eye))
        yield link.mutant(("eye", which), "diagonal_only", says, made, rank=4)


@mistake
def entries_elsewhere(link: Link) -> Iterator[Mutant]:
    """Rows 11, 12, 15, 21: the entries of a gradient in another order, on one way."""
    shape = link.parent.shape
    if link.op is None or not link.parent.named or link.parent.size < 2:
        return
    places = np.arange(link.parent.size).reshape(shape)
    for kind, told, order, rank in _orders(places, whole=link.child.size == 1):
        says = f"the gradient with respect to {link.parent.name} is {told}, at {link.told}"
        if kind == "kronecker_order":
            says += ": a Kronecker product with its factors in the other order?"
        made = Changed(shape, link.right, order=order)
        yield link.mutant(("order", told), kind, says, made, rank=rank)


def _orders(places: Array, *, whole: bool) -> Iterator[tuple[str, str, Callable[[], Array], int]]:
    """Orders of the entries: the kind, the words, the positions, and the rank."""
    if places.ndim == 1:
        yield "reordered", "reversed", partial(np.flip, places), 5
        if places.size > 2:
            for step in (1, -1):
                yield "shifted", f"shifted by {step}", partial(np.roll, places, step), 6
    elif places.ndim == 2 and min(places.shape) > 1:
        if places.shape[0] == places.shape[1]:
            yield "transposed", "transposed", partial(np.transpose, places), 4
        else:
            kind = "reordered" if whole else "kronecker_order"
            by_columns = partial(np.reshape, places.ravel("F"), places.shape)
            yield kind, "in the order of its columns (vec by columns)", by_columns, 4
