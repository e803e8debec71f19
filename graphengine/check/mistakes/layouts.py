"""Mistakes in the factors of one rule: transposed, reversed, left out (catalogue B, F)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from graphengine.check.mistakes.base import (
    Change,
    Link,
    Mutant,
    also_composite,
    diagonal,
    mistake,
    rows_times,
    with_factor,
)
from graphengine.graph import Node
from graphengine.jacobian import Jacobian, term
from graphengine.jacobian.terms import Factor, Term
from graphengine.ops.base import Array, Op


@mistake
def factor_left_out(link: Link) -> Iterator[Mutant]:
    """Rows 24, 71: what multiplies in the rule of an entrywise product is left out."""
    if link.op is None:
        yield from _nothing_but_ones(link)
        return
    if len(link.args) < 2:
        return
    for k, part in enumerate(link.jacobian.terms):
        for f, factor in enumerate(part.factors):
            says = f"a factor of the derivative at {link.told} is left out"

            def made(k: int = k, f: int = f, factor: Factor = factor) -> Jacobian:
                ones = factor._replace(array=np.ones(factor.array.shape))
                return with_factor(link.jacobian, k, f, ones)

            yield link.mutant(("ones", k, f), "missing_jacobian", says, made, rank=3)


def _nothing_but_ones(link: Link) -> Iterator[Mutant]:
    """A whole step with 1 for everything that multiplies in it, its sign too."""
    terms = link.jacobian.terms
    if len(terms) == 1 and terms[0].factors and link.parent.size > 1:
        bare = replace(link.jacobian, terms=(replace(terms[0], factors=(), coef=1.0),))
        says = f"the derivative at {link.told} is left out: 1 wherever it has an entry"
        yield link.mutant("bare", "missing_jacobian", says, lambda: bare, rank=4)


@mistake
def transposed(link: Link) -> Iterator[Mutant]:
    """Rows 13, 61, 62, 70: a matrix in the rule transposed, reversed, shifted, or left out."""
    if link.op is None:
        return
    named = link.jacobian.named(link.called).terms
    for k, part in enumerate(link.jacobian.terms):
        for f, factor in enumerate(part.factors):
            name = named[k].factors[f].text or "a factor"
            for kind, changed, told, rank in _rearranged(part, factor):
                says = f"{name} {told} in the Jacobian of {link.told}"

                def made(k: int = k, f: int = f, changed: Factor = changed) -> Jacobian:
                    return with_factor(link.jacobian, k, f, changed)

                yield link.mutant((told, k, f), kind, says, made, rank=rank)


def _rearranged(part: Term, factor: Factor) -> Iterator[tuple[str, Factor, str, int]]:
    array, labels = factor.array, factor.labels
    for a in range(array.ndim):
        for b in range(a + 1, array.ndim):
            if array.shape[a] == array.shape[b]:
                told = "transposed" if array.ndim == 2 else f"transposed (axes {a} and {b})"
                yield "transposed", factor._replace(array=np.swapaxes(array, a, b)), told, 2
        if array.shape[a] > 2 and array.ndim <= 3:
            flipped = np.flip(array, a)
            yield "reordered", factor._replace(array=flipped), f"reversed (axis {a})", 6
            for step in (1, -1):
                rolled = np.roll(array, step, a)
                yield "shifted", factor._replace(array=rolled), f"shifted by {step} (axis {a})", 6
    shared = set(labels) & set(part.out.labels) & set(part.into.labels)
    if array.ndim and (shared == set(labels) or len(part.factors) > 1) and array.ndim == 1:
        yield "missing_jacobian", factor._replace(array=np.ones(array.shape)), "left out", 4
    if np.any(array < 0):
        yield "sign", factor._replace(array=np.abs(array)), "without its signs", 5
    if array.ndim == 2 and array.shape[0] == array.shape[1]:
        yield "missing_jacobian", factor._replace(array=np.eye(array.shape[0])), "left out", 4


@mistake
def whole_transposed(link: Link) -> Iterator[Mutant]:
    """Rows 11, 13: the whole Jacobian of a step transposed."""
    if link.alike and 1 < link.child.size <= 400 and link.child.shape:
        if all(diagonal(p) for p in link.jacobian.terms):
            return
        says = f"the Jacobian of {link.told} transposed"
        made = link.jacobian.T
        for kind in ("transposed", "jacobian_transposed"):
            yield link.mutant("T", kind, says, lambda: made, rank=3)


@also_composite
@mistake
def matrix_functions(link: Link) -> Iterator[Mutant]:
    """Rows 62, 63: the inverse, the determinant or a transpose left out of a matrix derivative."""
    if link.op is None or link.op.name not in {"logdet", "logdet_pd", "det", "inv"}:
        return
    A, out = link.args[0], link.out
    cases: Mapping[str, Callable[[], Any]] = {}
    if link.op.name == "inv":
        shapes = link.child.shape, link.parent.shape
        inner = ("...ij <- ...kl", ("...ik", "...lj"))
        cases = {
            "A for its inverse": lambda: (
                -term(inner[0], (A, inner[1][0], ""), (A, inner[1][1], ""))
            ),
            "the inverse once": lambda: (
                -term(inner[0], (out, "...ik", ""), (np.eye(A.shape[-1]), "lj", ""))
            ),
            "the inverse once, on the right": lambda: (
                -term(inner[0], (np.eye(A.shape[-1]), "ik", ""), (out, "...lj", ""))
            ),
            "minus the square of the entries": lambda: (
                -term("...ij <- ...ij", (out**2, "...ij", ""))
            ),
            "−1/x² entry by entry": lambda: -term("...ij <- ...ij", (A**-2, "...ij", "")),
            "the transpose of the inverse on both sides": lambda: (
                -term(inner[0], (out, "...ki", ""), (out, "...jl", ""))
            ),
        }
    else:
        shapes = link.child.shape, link.parent.shape
        cases = {
            "A for its inverse": lambda: term("... <- ...ij", (A, "...ij", "")),
            "the inverse without the determinant": lambda: term(
                "... <- ...ij", (np.linalg.inv(A), "...ji", "")
            ),
            "the identity": lambda: term("... <- ...ii"),
            "the inverse times the determinant": lambda: term(
                "... <- ...ij", (np.linalg.det(A)[..., None, None] * np.linalg.inv(A), "...ji", "")
            ),
            "the inverse entry by entry": lambda: term("... <- ...ij", (1 / A, "...ij", "")),
        }
    for name, rule in cases.items():
        says = f"{name} in the Jacobian of {link.told}"
        kind = "factor" if "determinant" in name else "wrong_slope"
        kind = "transposed" if "transpose" in name else kind

        def made(rule: Callable[[], Any] = rule) -> Jacobian:
            return Jacobian.of(rule(), *shapes)

        yield link.mutant(name, kind, says, made, rank=4)


@mistake
def solved(link: Link) -> Iterator[Mutant]:
    """Row 63: of the solution of ``A X = B`` by ``B``: A for its inverse, or nothing."""
    if link.op is None or link.op.name != "solve" or link.place != 1:
        return
    A = link.args[0]
    if A.ndim != 2:
        return
    eye = np.eye(A.shape[-1])
    column = "" if len(link.parent.shape) == 1 else "k"
    for told, kind, matrix in (
        ("A for its inverse", "wrong_argument", A),
        ("the transpose of A for its inverse", "wrong_argument", A.T),
        ("the identity for the inverse", "missing_jacobian", eye),
    ):
        rule = term(f"i{column} <- j{column}", (matrix, "ij", ""))
        says = f"{told}, for the derivative at {link.told}"
        made = partial(Jacobian.of, rule, link.child.shape, link.parent.shape)
        yield link.mutant(told, kind, says, made, rank=3)


@mistake
def repeated(link: Link) -> Iterator[Mutant]:
    """Row 68: the copies of a repeat added up in groups of the wrong kind."""
    if link.op is None or link.op.name not in {"repeat", "reshape", "vec"}:
        return
    x = link.args[0]
    positions = np.arange(x.size).reshape(x.shape)
    if link.op.name == "repeat":
        count = max(1, link.out.size // max(x.size, 1))
        tiled = np.tile(positions.ravel(), count)
    else:
        tiled = positions.ravel("F")
    if tiled.size != link.out.size:
        return
    says = f"the entries at {link.told} in another order (columns for rows)"
    made = Jacobian.rearrangement(tiled.reshape(link.out.shape), x.shape)
    yield link.mutant("order", "reordered", says, lambda: made, rank=3)


@mistake
def picked_twice(link: Link) -> Iterator[Mutant]:
    """Row 17: what is picked several times gets one share alone, or the mean of its shares."""
    if link.op is None or link.op.name != "take" or link.place != 0:
        return
    says = f"what is picked several times at {link.told} gets only the share of the "
    for which in ("last", "first"):
        made = rows_times(link, partial(_one_pick, link, which))
        for kind in ("last_only", "missing_path"):
            yield link.mutant((which, "pick"), kind, f"{says}{which} pick", made, rank=3)
    says = f"what is picked several times at {link.told} gets the mean of the shares"
    made = rows_times(link, partial(_mean_of_picks, link))
    yield link.mutant("mean pick", "mean_for_sum", says, made, rank=4)


def _picks(link: Link) -> Array:
    """The position in the parent that each entry of the child was picked from."""
    places = np.arange(1.0, link.parent.size + 1).reshape(link.parent.shape)
    return np.asarray(link.jacobian.push(places)).reshape(-1).round().astype(int) - 1


def _one_pick(link: Link, which: str) -> Array:
    picks = _picks(link)
    order = picks[::-1] if which == "last" else picks
    first = np.unique(order, return_index=True)[1]
    mask = np.zeros(picks.size)
    mask[picks.size - 1 - first if which == "last" else first] = 1.0
    return mask.reshape(link.child.shape)


def _mean_of_picks(link: Link) -> Array:
    picks = _picks(link)
    counts = np.bincount(picks, minlength=link.parent.size)
    return np.asarray(1.0 / counts[picks]).reshape(link.child.shape)


@mistake
def upstream_transposed(link: Link) -> Iterator[Mutant]:
    """Row 13: the upstream gradient of a square matrix is taken transposed."""
    shape = link.child.shape
    if link.op is None or len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        return
    turned = Jacobian.rearrangement(np.arange(link.child.size).reshape(shape).T, shape)
    says = f"the upstream gradient is taken transposed at {link.told}"
    yield link.mutant("upstream", "transposed", says, lambda: turned.compose(link.jacobian), rank=3)


@also_composite
@mistake
def another_axis(link: Link) -> Iterator[Mutant]:
    """Row 12: a function along one axis (a softmax) taken along another, or over everything."""
    axis = getattr(link.op, "axis", None)
    x = link.run.value(link.parent)
    if link.op is None or link.op.family != "losses" or not isinstance(axis, int) or x.ndim < 2:
        return
    for other in range(x.ndim):
        if other == axis % x.ndim:
            continue
        op: Op = replace(cast("Any", link.op), axis=other)
        says = f"along axis {other} in place of axis {axis % x.ndim}, at {link.told}"
        for name, out in (("value", op.value(x)), ("sum", link.out)):

            def made(op: Op = op, out: Array = out) -> Jacobian:
                return op.jacobian(0, out, [x])

            for kind in ("reordered", "wrong_slope"):
                yield link.mutant((name, other), kind, says, made, rank=3)
    if link.op.name == "softmax":
        p = link.out.ravel()
        says = f"one softmax over all entries, at {link.told}"

        def whole() -> Jacobian:
            return Jacobian.of(np.diag(p) - np.outer(p, p), link.child.shape, link.parent.shape)

        yield link.mutant("whole", "wrong_slope", says, whole, rank=4)


def blocks_exchanged(links: Sequence[Link], reached: Sequence[Node]) -> Iterator[Mutant]:
    """Row 16: the blocks of a concatenation in the opposite order."""
    op = links[0].op if links else None
    if op is None or op.name not in {"concatenate", "stack"}:
        return
    args = links[0].args[::-1]
    out = op.value(*args)
    changes = []
    for link in links:
        if link.parent in reached and link.place is not None:
            place = len(args) - 1 - link.place
            made = partial(op.jacobian, place, out, args)
            changes.append(Change(link.child, link.parent, made, link.right))
    says = f"the blocks of {links[0].told.partition(' <- ')[0]} in the opposite order"
    where = links[0].where.partition("<-")[0]
    key = (links[0].child.number, "blocks", None, "reordered")
    yield Mutant(key, "reordered", where, says, 3, tuple(changes))
