"""Mistakes in the multi-class SVM loss: shares, counts, margins (catalogue E)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from graphengine.check.mistakes.base import Link, Mutant, mistake
from graphengine.jacobian import Jacobian, term
from graphengine.ops.base import Array
from graphengine.ops.losses import softmax


@mistake
def margins(link: Link) -> Iterator[Mutant]:
    """The multi-class SVM: the share of the own class, or of the others, left out."""
    if link.op is None or link.op.name != "svm_loss" or link.place != 0:
        return
    for kind, told, gradient in _gradients(link):
        rule = term("... <- ...i", (gradient, "...i", ""))
        made = partial(Jacobian.of, rule, link.child.shape, link.parent.shape)
        yield link.mutant(told, kind, f"{told}, at {link.told}", made, rank=2)


def _gradients(link: Link) -> Iterator[tuple[str, str, Array]]:
    """What people take for the gradient: its kind, the words, and the numbers."""
    scores, label = link.args
    own = np.zeros(scores.shape)
    np.put_along_axis(own, label.astype(int)[..., None], 1.0, axis=-1)
    delta = float(getattr(link.op, "delta", 1.0))
    margin = scores - (scores * own).sum(axis=-1, keepdims=True) + delta

    def rows(broken: Array, share: float = -1.0) -> Array:
        others = np.where(broken, 1.0, 0.0) * (1 - own)
        return np.asarray(others + share * own * others.sum(axis=-1, keepdims=True))

    right = rows(margin > 0)
    others = right * (1 - own)
    yield "one_sided_mask", "the share of the own class is missing", others
    yield "missing_path", "the share of the other classes is missing", right * own
    told = "the own class gets −1, not minus the number of broken margins"
    yield "factor", told, np.where(own > 0, np.sign(right), right)
    yield "sign", "the share of the own class has the wrong sign", rows(margin > 0, 1.0)
    yield "one_sided_mask", "every class counts, not only broken margins", rows(margin > -np.inf)
    yield "wrong_argument", "margins without delta", rows(margin - delta > 0)
    yield "wrong_argument", "scores in place of margins", rows(scores > 0)
    yield "wrong_argument", "margins without the own score", rows(scores + delta > 0)
    yield "wrong_slope", "a softmax, less the own class", softmax(scores) - own
    told = "the margins themselves, not their masks"
    yield "wrong_slope", told, np.maximum(margin, 0.0) * (1 - own)
    told = "−1 for the own class, whatever the number of broken margins"
    yield "factor", told, others - own
    yield "one_sided_mask", "the margins that hold, not the broken ones", rows(margin < 0)
    yield "factor", "the own class is counted among the broken margins", right - own
    told = "the broken margins of all examples, for the own class"
    yield "not_reduced", told, others - own * others.sum()
    yield "wrong_slope", "the margins as factors, besides their masks", right * margin
