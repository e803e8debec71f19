"""Mistakes at gates: the larger of two, one of several pieces (catalogue D)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    Way,
    mistake,
    on_the_way,
    slopes,
    together,
)
from graphengine.check.mistakes.changes import Changed
from graphengine.ops.base import Array

_GATES = {"maximum", "minimum", "maxout"}


@mistake
def half_a_gate(link: Link) -> Iterator[Mutant]:
    """Row 43: half of the gradient, whichever is larger; a mask of something else."""
    if link.op is None or link.op.name not in _GATES or not link.alike:
        return
    says = f"half of the gradient passes at {link.told}, whichever is larger"
    half = Changed(link.child.shape, scale=0.5)
    yield link.mutant("half", "wrong_slope", says, half, rank=3)
    out = link.out
    others = [arg for k, arg in enumerate(link.args) if k != link.place]
    masks: Mapping[str, Callable[[], Array]] = {
        "1 where the result is positive": lambda: out > 0,
        "1 where the result is negative": lambda: out < 0,
    }
    if len(others) == 1 and link.place is not None:
        own, other = link.args[link.place], others[0]
        masks = {
            **masks,
            "the sign of the difference": lambda: np.sign(own - other),
            "the sign of the difference, negated": lambda: np.sign(other - own),
            "the difference itself": lambda: own - other,
        }
    for name, weights in masks.items():
        says = f"{name}, for the derivative at {link.told}"
        yield link.mutant(("mask", name), "wrong_slope", says, slopes(link, weights), rank=4)


@on_the_way
def gates_open(way: Way) -> Iterator[Mutant]:
    """Row 43: every branch of a gate passes the gradient, all of it or equal shares."""
    for node in way.inside:
        links = [link for link in way.edges[node] if link.parent in way.reached]
        if node.op is None or node.op.name not in _GATES or len(links) < 2:
            continue
        if not all(link.alike for link in links):
            continue
        cases = (
            (1.0, "the whole gradient passes to each branch", "missing_jacobian"),
            (1 / len(links), "an equal share of the gradient passes to each branch", "wrong_slope"),
        )
        for scale, told, kind in cases:
            yield together(
                [(link, Changed(node.shape, scale=scale)) for link in links],
                key=(node.number, "gates", scale),
                kind=kind,
                where=links[0].where.partition("<-")[0],
                says=f"{told} at {links[0].told.partition(' <- ')[0]}",
                rank=3,
            )
