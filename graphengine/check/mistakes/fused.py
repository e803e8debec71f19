"""Mistakes inside ops that do several steps at once, such as a loss from scores (catalogue E)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    also_composite,
    mistake,
)
from graphengine.graph import Node
from graphengine.jacobian import Jacobian, Rule, term
from graphengine.ops.activations import sigmoid
from graphengine.ops.base import Array
from graphengine.ops.losses import LogSoftmax, Softmax, softmax


class Slip(NamedTuple):
    """What somebody takes for the gradient of a number (of each example) in one argument."""

    kind: str
    says: str
    gradient: Callable[..., Array]


def _spread(x: Array) -> Array:
    p = softmax(x)
    return np.asarray(p * (1 - p))


def _slope(z: Array) -> Array:
    return np.asarray(sigmoid(z) * (1 - sigmoid(z)))


def _binary(p: Array, y: Array) -> Array:
    return np.asarray((p - y) / (p * (1 - p)))


def _broken(s: Array, y: Array) -> Array:
    return np.asarray((1 - y * s > 0) * 1.0)


_LAST_AXIS: Mapping[tuple[str, int], tuple[Slip, ...]] = {
    ("softmax_cross_entropy", 0): (
        Slip("double_counted", "(p − y) p (1 − p)", lambda s, y: (softmax(s) - y) * _spread(s)),
        Slip("missing_path", "p, without the target", lambda s, y: softmax(s)),
        Slip("missing_path", "−y, without the normaliser", lambda s, y: -y),
        Slip("missing_jacobian", "−y / p, without the softmax", lambda s, y: -y / softmax(s)),
        Slip("diagonal_only", "−y (1 − p), the diagonal alone", lambda s, y: -y * (1 - softmax(s))),
        Slip("wrong_slope", "y − p p", lambda s, y: y - softmax(s) ** 2),
        Slip("wrong_argument", "s − y, with s for the softmax", lambda s, y: s - y),
        Slip("missing_jacobian", "1 − y, with 1 for the softmax", lambda s, y: 1 - y + 0 * s),
        Slip(
            "wrong_argument",
            "the softmax of the softmax, less y",
            lambda s, y: softmax(softmax(s)) - y,
        ),
        Slip("wrong_slope", "log of the softmax, less y", lambda s, y: np.log(softmax(s)) - y),
    ),
    ("cross_entropy", 0): (
        Slip("double_counted", "p − y: the softmax is in it already", lambda p, y: p - y),
        Slip("missing_jacobian", "−y, without 1/p", lambda p, y: -y + 0 * p),
        Slip("missing_jacobian", "−1/p, without y", lambda p, y: -1 / p + 0 * y),
        Slip("wrong_slope", "−y log p", lambda p, y: -y * np.log(p)),
    ),
    ("logsumexp", 0): (
        Slip("missing_jacobian", "exp(x), without the normaliser", np.exp),
        Slip("missing_jacobian", "1 / Σ exp(x), without exp(x)", lambda x: softmax(x) / np.exp(x)),
        Slip("double_counted", "p (1 − p)", _spread),
        Slip("missing_jacobian", "1 for every entry", lambda x: np.ones(x.shape)),
        Slip("wrong_argument", "the softmax of the softmax", lambda x: softmax(softmax(x))),
        Slip("wrong_slope", "log of the softmax", lambda x: np.log(softmax(x))),
        Slip("wrong_slope", "1 for the largest", lambda x: 1.0 * (x == np.max(x, -1)[..., None])),
    ),
    ("norm", 0): (
        Slip("wrong_slope", "x, not divided by the norm", lambda x: x),
        Slip("factor", "2 x", lambda x: 2 * x),
        Slip("wrong_slope", "x / |x|²", lambda x: x / np.sum(x * x, axis=-1, keepdims=True)),
        Slip("wrong_slope", "sign(x)", np.sign),
    ),
    ("var", 0): (Slip("treated_as_constant", "2 x / n, without the mean", lambda x: 2 * x),),
}
_ALL: Mapping[tuple[str, int], tuple[Slip, ...]] = {
    ("squared_error", 0): (
        Slip("sign", "2 |x − y|", lambda x, y: 2 * np.abs(x - y)),
        Slip("wrong_slope", "(x − y)², not differentiated", lambda x, y: (x - y) ** 2),
        Slip("wrong_argument", "2 x, without y", lambda x, y: 2 * x + 0 * y),
        Slip("missing_jacobian", "2", lambda x, y: 2 + 0 * (x - y)),
    ),
    ("sum_of_squares", 0): (
        Slip("sign", "2 |x|", lambda x: 2 * np.abs(x)),
        Slip("wrong_slope", "x², not differentiated", lambda x: x**2),
        Slip("missing_jacobian", "2", lambda x: 2 + 0 * x),
    ),
    ("max", 0): (
        Slip("not_reduced", "1 for every entry", lambda x: np.ones(x.shape)),
        Slip("mean_for_sum", "1/n for every entry", lambda x: np.full(x.shape, 1 / x.size)),
        Slip("wrong_slope", "1 for all but the largest", lambda x: (x < np.max(x)) * 1.0),
        Slip("wrong_slope", "1 for the smallest", lambda x: (x == np.min(x)) * 1.0),
        Slip("wrong_slope", "a softmax", softmax),
    ),
    ("min", 0): (
        Slip("not_reduced", "1 for every entry", lambda x: np.ones(x.shape)),
        Slip("wrong_slope", "1 for the largest", lambda x: (x == np.max(x)) * 1.0),
    ),
    ("logsumexp", 0): (
        Slip("wrong_slope", "1 for the largest", lambda x: (x == np.max(x)) * 1.0),
        Slip("missing_jacobian", "exp(x), without the normaliser", np.exp),
    ),
}
_ENTRYWISE: Mapping[tuple[str, int], tuple[Slip, ...]] = {
    ("sigmoid_cross_entropy", 0): (
        Slip("double_counted", "(σ − y) σ (1 − σ)", lambda z, y: (sigmoid(z) - y) * _slope(z)),
        Slip("missing_path", "σ, without the target", lambda z, y: sigmoid(z) + 0 * y),
        Slip("missing_jacobian", "without the slope of σ", lambda z, y: _binary(sigmoid(z), y)),
        Slip("missing_path", "σ − 1, of y log σ alone", lambda z, y: y * (sigmoid(z) - 1)),
        Slip("wrong_argument", "z − y, with z for σ(z)", lambda z, y: z - y),
        Slip("sign", "−y (1 − σ) − (1 − y) σ", lambda z, y: 2 * y * sigmoid(z) - sigmoid(z) - y),
    ),
    ("binary_cross_entropy", 0): (
        Slip("double_counted", "p − y: the sigmoid is in it already", lambda p, y: p - y),
        Slip("missing_path", "−y / p alone", lambda p, y: -y / p),
        Slip("missing_path", "(1 − y) / (1 − p) alone", lambda p, y: (1 - y) / (1 - p)),
        Slip("sign", "−y / p − (1 − y)/(1 − p)", lambda p, y: -y / p - (1 - y) / (1 - p)),
    ),
    ("hinge", 0): (
        Slip("one_sided_mask", "−y everywhere, without the margin", lambda s, y: -y + 0 * s),
        Slip("missing_jacobian", "−1 where the margin is broken", lambda s, y: -_broken(s, y)),
        Slip("wrong_argument", "−y where s < 1", lambda s, y: -y * (s < 1)),
        Slip("wrong_argument", "−y where y s < 0", lambda s, y: -y * (y * s < 0)),
        Slip("one_sided_mask", "−y where y s > 1", lambda s, y: -y * (y * s > 1)),
        Slip("swapped_arguments", "−s where y s < 1", lambda s, y: -s * _broken(s, y)),
        Slip("wrong_slope", "−y times the loss", lambda s, y: -y * np.maximum(0.0, 1 - y * s)),
    ),
    ("relu", 0): (Slip("missing_jacobian", "x where x > 0", lambda x: np.maximum(x, 0.0)),),
}


_TABLES = ((_LAST_AXIS, "... <- ...i"), (_ENTRYWISE, "... <- ..."), (_ALL, "1 <- ..."))


@also_composite
@mistake
def slips(link: Link) -> Iterator[Mutant]:
    """Rows 53, 54, 55 in one op: the steps of a loss mixed up."""
    if link.op is None or link.place is None:
        return
    key = link.op.name, link.place
    for table, labels in _TABLES:
        for slip in table.get(key, ()):
            if labels.endswith("i") and not _over_the_last_axis(link):
                continue
            if table is _ALL and link.child.size > 1:
                continue

            def made(slip: Slip = slip, labels: str = labels) -> Jacobian:
                gradient = np.asarray(slip.gradient(*link.args), dtype=float)
                if labels.startswith("1"):
                    return Jacobian.of(gradient.reshape(1, -1), link.child.shape, link.parent.shape)
                rule: Rule = term(labels, (gradient, labels.partition("<-")[2].strip(), ""))
                return Jacobian.of(rule, link.child.shape, link.parent.shape)

            says = f"{slip.says}, for the derivative at {link.told}"
            yield link.mutant((labels, slip.says), slip.kind, says, made, rank=3)


@also_composite
@mistake
def softmax_indices(link: Link) -> Iterator[Mutant]:
    """Row 53: the indices of ``p_i δ_ij − p_i p_j`` mixed up."""
    if link.op is None or link.op.name != "softmax" or not link.child.shape:
        return
    p, last = link.out, "...i <- ...i"
    total = np.broadcast_to(np.sum(p**2, axis=-1, keepdims=True), p.shape)
    first = term(last, (p, "...i", ""))
    cases: Mapping[str, tuple[str, Rule]] = {
        "p_i (δ_ij − p_i)": ("reordered", first - term("...i <- ...j", (p**2, "...i", ""))),
        "p_i δ_ij − p_j p_j": ("reordered", first - term("...i <- ...j", (p**2, "...j", ""))),
        "diag(p) − pᵀp I": ("diagonal_only", first - term(last, (total, "...i", ""))),
    }
    for told, (kind, rule) in cases.items():
        says = f"{told} for the Jacobian at {link.told}"
        made = partial(Jacobian.of, rule, link.child.shape, link.parent.shape)
        yield link.mutant(told, kind, says, made, rank=3)


@also_composite
@mistake
def softmax_for_its_logarithm(link: Link) -> Iterator[Mutant]:
    """Row 53: the Jacobian of a softmax in place of that of its logarithm."""
    if isinstance(link.op, LogSoftmax):
        own = Softmax(axis=link.op.axis)
        says = f"the Jacobian of the softmax in place of that of its logarithm at {link.told}"
        made = partial(own.jacobian, 0, np.exp(link.out), link.args)
        for kind in ("wrong_slope", "double_counted"):
            yield link.mutant("of the softmax", kind, says, made, rank=3)


@also_composite
@mistake
def softmax_of_pieces(link: Link) -> Iterator[Mutant]:
    """Row 25: the softmax of each block of a concatenation by itself."""
    parent = link.parent
    if link.op is None or link.op.name != "logsumexp" or link.child.size > 1:
        return
    if parent.op is None or parent.op.name != "concatenate" or len(parent.shape) != 1:
        return
    parts = [link.run.value(arg) if isinstance(arg, Node) else arg for arg in parent.args]
    row = np.concatenate([softmax(part) for part in parts]).reshape(1, -1)
    says = f"the softmax of each block of {parent.name} by itself, for the derivative at "
    made = partial(Jacobian.of, row, link.child.shape, parent.shape)
    yield link.mutant("pieces", "wrong_argument", says + link.told, made, rank=3)


@also_composite
@mistake
def along_another_axis(link: Link) -> Iterator[Mutant]:
    """Row 12: a softmax along another axis inside a loss of several examples."""
    fused = {"logsumexp", "softmax_cross_entropy"}
    if link.op is None or link.op.name not in fused or link.place != 0:
        return
    x = link.args[0]
    if x.ndim < 2 or not _over_the_last_axis(link):
        return
    for axis in range(x.ndim - 1):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        gradient = e / e.sum(axis=axis, keepdims=True)
        if len(link.args) > 1:
            gradient = gradient - link.args[1]
        rule = term("... <- ...i", (gradient, "...i", ""))
        says = f"a softmax along axis {axis} in place of the last one, at {link.told}"
        made = partial(Jacobian.of, rule, link.child.shape, link.parent.shape)
        for kind in ("reordered", "wrong_argument"):
            yield link.mutant(("axis", axis), kind, says, made, rank=3)


def _over_the_last_axis(link: Link) -> bool:
    return bool(link.parent.shape) and link.child.shape == link.parent.shape[:-1]
