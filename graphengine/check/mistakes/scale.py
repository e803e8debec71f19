"""Mistakes of scale and sign: a minus, a constant, a mean (catalogue A)."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from functools import partial
from typing import Any

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    Way,
    mistake,
    on_the_way,
    one_entry,
    rows_times,
    scaled,
    sizes_of,
)
from graphengine.check.mistakes.changes import Changed
from graphengine.graph import Node

_SQUARES = {"square", "sum_of_squares", "squared_error", "power", "var", "norm"}
_MEANS = {"mean", "var"}
_PRODUCTS = {"multiply", "divide", "matmul", "matvec"}
NEAR = 1e-9
"""Numbers this close to whole ones are whole."""


@mistake
def sign(link: Link) -> Iterator[Mutant]:
    """Rows 5, 6, 36, 63: the sign of one step."""
    op = link.op.name if link.op else ""
    minus = op == "negative" or (op == "subtract" and link.place == 1)
    minus |= op in {"inv", "solve", "reciprocal", "cos", "arccos", "divide"}
    rank = 1 if minus else 4
    says = f"the sign is wrong at {link.told}"
    yield link.mutant(-1, "sign", says, scaled(link, -1.0), rank=rank)


@mistake
def factor(link: Link) -> Iterator[Mutant]:
    """Rows 4, 10: the factor of a square lost, or one kept that is not there."""
    op = link.op.name if link.op else ""
    square = op in _SQUARES
    for scale, rank in ((0.5, 2 if square else 7), (2.0, 6)):
        says = f"a factor: {scale:g} times the right derivative at {link.told}"
        yield link.mutant(scale, "factor", says, scaled(link, scale), rank=rank)
    if op == "power" and link.place == 0:
        power = link.args[1]
        if power.ndim == 0 and power not in (0.0, 0.5, 1.0, 2.0):
            says = f"the factor {float(power):g} that the exponent leaves is missing at {link.told}"
            made = scaled(link, 1 / float(power))
            yield link.mutant("exponent", "factor", says, made, rank=1)


@mistake
def fixed_factor(link: Link) -> Iterator[Mutant]:
    """Rows 4, 8, 58, 71: a number in a product left out, or taken twice."""
    if link.op is None or link.op.name not in _PRODUCTS or link.place is None:
        return
    other = link.given[1 - link.place]
    is_number = not isinstance(other, Node)
    if not is_number and not (isinstance(other, Node) and other.role == "constant"):
        return
    value: Any = link.args[1 - link.place]
    if value.ndim or value in (0.0, 1.0, -1.0):
        return
    scale = float(value) if link.op.name != "divide" else 1 / float(value)
    name = f"{float(value):g}" if is_number else getattr(other, "name", "")
    counts = {n for shape in _shapes(link) for n in (*shape, math.prod(shape))}
    mean = is_number and link.op.name == "divide" and float(value) in counts
    mean |= is_number and link.op.name == "multiply" and round(1 / float(value), 9) in counts
    if mean:
        missing = f"not averaged: the division by {round(max(scale, 1 / scale))} at {link.told} is"
        for kind, told, factor in (
            ("not_averaged", "missing", 1 / scale),
            ("averaged_twice", "done twice", scale),
        ):
            yield link.mutant("mean", kind, f"{missing} {told}", scaled(link, factor), rank=1)
    says = f"the factor {name} is missing at {link.told}"
    yield link.mutant("out", "factor", says, scaled(link, 1 / scale), rank=1)
    says = f"the factor {name} is taken twice at {link.told}"
    yield link.mutant("twice", "factor", says, scaled(link, scale), rank=3)


def _shapes(link: Link) -> Iterator[tuple[int, ...]]:
    """The shapes of what the parent was made of, through one op."""
    yield link.parent.shape
    for node in link.parent.parents:
        yield node.shape


@mistake
def mean(link: Link) -> Iterator[Mutant]:
    """Rows 1, 2, 3: the mean not taken, taken twice, or over more than the batch."""
    if link.op is None or link.op.name not in _MEANS:
        return
    count = link.parent.size // max(link.child.size, 1)
    if count < 2:
        return
    at = link.told
    says = f"not averaged: the factor 1/{count} of the mean is missing at {at}"
    yield link.mutant("not", "not_averaged", says, scaled(link, count), rank=1)
    says = f"averaged twice: 1/{count}² for 1/{count} at {at}"
    yield link.mutant("twice", "averaged_twice", says, scaled(link, 1 / count), rank=1)


@on_the_way
def mean_on_one_path(way: Way) -> Iterator[Mutant]:
    """Row 1: of several terms under a mean, or over N, one is not averaged."""
    sizes = set(sizes_of(way.of.graph))
    for node in way.inside:
        count = _averages_over(node, sizes)
        terms = list(_terms(way, way.edges[node][0])) if count > 1 else []
        for part in terms if len(terms) > 1 else ():
            if part.parent in way.reached:
                says = f"not averaged: the factor 1/{count} is missing on the path {part.told}"
                key = ("mean", node.number)
                yield part.mutant(key, "not_averaged", says, scaled(part, count), rank=2)


def _averages_over(node: Node, sizes: Container[int]) -> int:
    """The number of things that a node is the mean of, or is divided by; 0 where there is none."""
    name = node.op.name if node.op is not None else ""
    if name == "mean" and isinstance(node.args[0], Node):
        return node.args[0].size // max(node.size, 1)
    if name in {"divide", "multiply"} and isinstance(node.args[0], Node):
        number = node.args[1]
        if not isinstance(number, Node) and number.ndim == 0 and number > 0:
            count = float(number) if name == "divide" else 1 / float(number)
            return round(count) if abs(count - round(count)) < NEAR and round(count) in sizes else 0
    return 0


def _terms(way: Way, link: Link) -> Iterator[Link]:
    """The links to the terms of the sum at the parent, through sums and factors that are given."""
    top = link.parent
    name = top.op.name if top.op is not None else ""
    links = way.edges.get(top, ())
    if name in {"add", "subtract"}:
        for part in links:
            yield from _terms(way, part)
    elif name in {"negative", "multiply"} and not top.named and len(links) > 0:
        rest = [part for part in links if part.parent.role != "constant"]
        yield from _terms(way, rest[0]) if len(rest) == 1 else (link,)
    else:
        yield link


@mistake
def mean_for_sum(link: Link) -> Iterator[Mutant]:
    """Rows 3, 29: a mean where the graph adds up."""
    op = link.op.name if link.op else ""
    adds = op in {"sum", "sum_of_squares", "squared_error"}
    count = link.parent.size // max(link.child.size, 1)
    sizes = list(
        dict.fromkeys([*([count] if adds and count > 1 else []), *sizes_of(link.child.graph)])
    )
    for size in sizes:
        ours = adds and size == count
        says = f"a mean over {size} where the graph adds up, at {link.told}"
        letter = _letter(link, size)
        rank = 1 if ours else 8
        made = scaled(link, 1 / size)
        yield link.mutant(("over", letter), "mean_for_sum", says, made, rank=rank)
        if not ours:
            says = f"a factor 1/{size} too much at {link.told}"
            yield link.mutant(("per", letter), "factor", says, made, rank=7)
            says = f"a factor {size} too much at {link.told}"
            made = scaled(link, size)
            yield link.mutant(("times", letter), "factor", says, made, rank=7)


def _letter(link: Link, size: int) -> object:
    """The axis that a size belongs to, which is the same at every point."""
    graph = link.child.graph
    for node in graph.nodes:
        for axis, one in enumerate(node.shape):
            if one == size:
                return node.number, axis
    return link.parent.number, "all"


@mistake
def over_a_batch(link: Link) -> Iterator[Mutant]:
    """Rows 29, 30: what has to be added up over an axis is averaged, or only the last is taken."""
    for axis in summed_axes(link):
        size = link.child.shape[axis]
        says = f"the sum over the {size} entries of axis {axis} of {link.child.name} became a mean"
        yield link.mutant(
            ("mean", axis), "mean_for_sum", f"{says} at {link.told}", scaled(link, 1 / size), rank=2
        )
        for which, number in (("last", -1), ("first", 0)):
            says = (
                f"only the {which} of the {size} entries along axis {axis} counts where they add "
                f"up, at {link.told}"
            )
            made, rank = _only(link, axis, number), 2 if number else 5
            yield link.mutant((which, axis), "last_only", says, made, rank=rank)


def summed_axes(link: Link) -> list[int]:
    """The axes of the child over which a pull-back to the parent adds up."""
    if link.op is None or not link.child.shape or link.parent.role == "constant":
        return []
    found: set[int] | None = None
    for part in link.jacobian.terms:
        if len(part.out.view) != sum(n != 1 for n in link.child.shape):
            return []
        into = part.into.labels
        here = {k for k, index in enumerate(part.out.axes) if index.label not in into}
        found = here if found is None else found & here
    real = [k for k, n in enumerate(link.child.shape) if n != 1]
    return [real[k] for k in sorted(found or ())]


def _only(link: Link, axis: int, number: int) -> Changed:
    """The Jacobian whose rows count at one position of an axis of the child alone."""
    return rows_times(link, partial(one_entry, link.child.shape, axis, number))
