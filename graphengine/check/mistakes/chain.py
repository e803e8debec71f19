"""Mistakes in the chain rule: steps left out, taken twice, taken for constants (catalogue C)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    also_composite,
    diagonal,
    drop,
    mistake,
    scaled,
    with_factor,
)
from graphengine.check.mistakes.changes import Changed
from graphengine.jacobian import Jacobian, term
from graphengine.jacobian.terms import Term


@mistake
def missing_path(link: Link) -> Iterator[Mutant]:
    """Rows 22, 26, 30: one of several ways is left out."""
    if link.op is None:
        return
    says = f"the path {link.where.replace('<-', ' <- ')} is missing"
    if not link.child.named:
        says += f", at {link.child.formula}"
    yield link.mutant("drop", "missing_path", says, drop(link), rank=3)


@mistake
def double_counted(link: Link) -> Iterator[Mutant]:
    """Row 23: one way is counted twice; rows 37, 54: one Jacobian is applied twice."""
    says = f"the path {link.told} is counted twice"
    yield link.mutant("twice", "double_counted", says, scaled(link, 2.0), rank=5)
    if link.alike and not _is_scalar_multiple(link):
        says = f"the Jacobian of {link.told} is applied twice"

        def squared() -> Jacobian:
            return link.jacobian.compose(link.jacobian)

        yield link.mutant("applied", "double_counted", says, squared, rank=4)


def _is_scalar_multiple(link: Link) -> bool:
    """Whether the Jacobian is a number times the identity."""
    return all(not part.factors for part in link.jacobian.terms)


@mistake
def missing_jacobian(link: Link) -> Iterator[Mutant]:
    """Rows 24, 35, 40, 71: the node's own derivative is left out."""
    if link.alike:
        says = f"the derivative at {link.told} is left out: the upstream gradient passes unchanged"
        identity = Changed(link.child.shape)
        yield link.mutant("identity", "missing_jacobian", says, identity, rank=2)


@also_composite
@mistake
def one_term_of_a_jacobian(link: Link) -> Iterator[Mutant]:
    """Rows 26, 46: of the terms of one Jacobian, one is left out, has the wrong sign, or counts
    twice; row 53 is the case where the diagonal is what remains.
    """
    terms = link.jacobian.terms
    if link.op is None or not 2 <= len(terms) <= 4:
        return
    for k, part in enumerate(terms):
        rest = (*terms[:k], *terms[k + 1 :])
        left = len(rest) == 1 and diagonal(rest[0])
        kind = "diagonal_only" if left else "missing_path"
        gone = _one(link, part)
        says = (
            f"only the diagonal: the term {gone} of the Jacobian of {link.told} is missing"
            if left
            else f"the term {gone} of the Jacobian of {link.told} is missing"
        )

        def without(rest: tuple[Term, ...] = rest) -> Jacobian:
            return replace(link.jacobian, terms=rest)

        yield link.mutant(("without", k), kind, says, without, rank=1 if left else 3)
        for scale, name in ((-1.0, "sign"), (2.0, "factor")):
            says = f"the {name} of the term {gone} of the Jacobian of {link.told} is wrong"

            def with_(k: int = k, part: Term = part, scale: float = scale) -> Jacobian:
                changed = (*terms[:k], part.scaled(scale), *terms[k + 1 :])
                return replace(link.jacobian, terms=changed)

            yield link.mutant(("term", k, scale), name, says, with_, rank=4)
        for label, size in part.sizes.items():
            says = f"the term {gone} of the Jacobian of {link.told} is a mean over {size}"

            def mean(k: int = k, part: Term = part, size: int = size) -> Jacobian:
                changed = (*terms[:k], part.scaled(1 / size), *terms[k + 1 :])
                return replace(link.jacobian, terms=changed)

            yield link.mutant(("mean", k, label), "mean_for_sum", says, mean, rank=4)
        if len(part.factors) > 1:
            for f, factor in enumerate(part.factors):
                says = f"a factor of the term {gone} of the Jacobian of {link.told} is left out"
                ones = factor._replace(array=np.ones(factor.array.shape))
                made = partial(with_factor, link.jacobian, k, f, ones)
                yield link.mutant(("ones", k, f), "wrong_slope", says, made, rank=4)


def _one(link: Link, part: Term) -> str:
    alone = replace(link.jacobian.named(link.called), terms=())
    named = link.jacobian.named(link.called).terms
    place = link.jacobian.terms.index(part)
    return replace(alone, terms=(named[place],)).text()


@mistake
def diagonal_only(link: Link) -> Iterator[Mutant]:
    """Row 53: only the diagonal of a full Jacobian; row 54: the diagonal applied once more."""
    if not link.alike or link.child.size < 2:
        return
    if all(diagonal(part) for part in link.jacobian.terms):
        return

    def on_the_diagonal() -> Jacobian:
        shape = link.child.shape
        numbers = link.csr.diagonal().reshape(shape)
        return Jacobian.of(term("... <- ...", (numbers, "...", "")), shape, shape)

    says = f"only the diagonal of the Jacobian of {link.told}"
    yield link.mutant("diagonal", "diagonal_only", says, on_the_diagonal, rank=2)
    says = f"the diagonal of the Jacobian of {link.told} is applied once more"

    def more() -> Jacobian:
        return link.jacobian.compose(on_the_diagonal())

    yield link.mutant("more", "double_counted", says, more, rank=2)
