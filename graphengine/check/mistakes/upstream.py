"""Mistakes in what comes from above: a factor too much, a value for a gradient (catalogue C, E)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from graphengine.check.mistakes.base import (
    Change,
    Link,
    Mutant,
    Way,
    columns_times,
    home,
    on_the_way,
    one_entry,
    rows_times,
    slopes,
    together,
)
from graphengine.check.mistakes.slopes import entrywise
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Array, Elementwise
from graphengine.ops.losses import softmax


@on_the_way
def masked_from_above(way: Way) -> Iterator[Mutant]:
    """Row 41: the mask of an activation by the sign of the upstream gradient."""
    for node in way.inside if way.of.size == 1 else ():
        links = way.edges[node]
        if len(links) != 1 or not isinstance(node.op, Elementwise) or node is way.of:
            continue
        link = links[0]
        if not link.alike or node.op.family not in {"activations", "selection"}:
            continue
        says = f"masked by the sign of the upstream gradient at {link.told}"
        mask = partial(_positive, way, node)
        made, instead = rows_times(link, mask), slopes(link, mask)
        for kind in ("wrong_slope", "wrong_argument"):
            yield link.mutant("upstream", kind, says, made, rank=5)
            yield link.mutant("upstream instead", kind, says, instead, rank=5)


def _positive(way: Way, node: Node) -> Array:
    return (way.run.gradient(node, way.of) > 0) * 1.0


@on_the_way
def factor_too_much(way: Way) -> Iterator[Mutant]:
    """Rows 41, 54: the whole gradient at a node times a slope, a label, or the node itself."""
    for node in way.reached:
        links = way.uses(node) if node.named and node is not way.of else []
        if not links or node.size < 2:
            continue
        for told, kind, weights in (
            *_weights(way, node, several=len(links) > 1),
            *_slopes(links if len(links) > 1 else ()),
        ):
            yield together(
                [(link, columns_times(link, weights)) for link in links],
                key=(node.number, "times", told),
                kind=kind,
                where=node.name,
                says=f"the gradient at {node.name} is multiplied by {told}",
                rank=5,
            )


def _weights(
    way: Way, node: Node, *, several: bool
) -> Iterator[tuple[str, str, Callable[[], Array]]]:
    x = way.run.value(node)
    for other in node.graph.starts:
        if other.shape == node.shape and other is not node and other.role == "input":
            value = partial(way.run.value, other)
            yield other.name, "one_sided_mask", value
    if several:
        yield "itself", "double_counted", lambda: x
        yield "p (1 − p), p its softmax", "double_counted", lambda: softmax(x) * (1 - softmax(x))
        yield "its sign, 1 or 0", "one_sided_mask", lambda: x > 0


def _slopes(links: Sequence[Link]) -> Iterator[tuple[str, str, Callable[[], Array]]]:
    """The slope of one use, on all of them."""
    for link in links:
        if link.alike and entrywise(link):
            yield f"the slope of {link.told}", "double_counted", partial(_slope, link)


def _slope(link: Link) -> Array:
    return link.jacobian.pull(np.ones(link.child.shape))


@on_the_way
def not_differentiated(way: Way) -> Iterator[Mutant]:
    """Rows 34, 48: what a sum adds up, in place of its derivative."""
    if way.of.size != 1:
        return
    for node in way.inside:
        if node.op is None or node.op.name not in {"sum", "mean"}:
            continue
        inner = way.edges[node][0].parent
        for wrt in way.reached:
            if wrt.named and wrt.shape == inner.shape and wrt is not inner and wrt.size > 1:
                change = Change(way.of, wrt, partial(_added_up, way, inner, wrt), _no(way, wrt))
                says = f"what {home(node).name} adds up, not differentiated, for its derivative in "
                for kind in ("missing_jacobian", "wrong_slope"):
                    key = (node.number, wrt.number, "added up", kind)
                    yield Mutant(key, kind, home(node).name, says + wrt.name, 5, (change,))


def _no(way: Way, node: Node) -> Callable[[], Jacobian]:
    return partial(_none, way.of, node)


def _added_up(way: Way, inner: Node, wrt: Node) -> Jacobian:
    """The difference that it makes to the derivative of the whole."""
    own = way.run.gradient(inner, way.of)
    right = way.run.structured(inner, wrt).pull(own)
    row = own * way.run.value(inner) - right
    return Jacobian.of(row.reshape(1, -1), way.of.shape, wrt.shape)


@on_the_way
def value_for_gradient(way: Way) -> Iterator[Mutant]:
    """Row 34: the value of a node in place of the gradient with respect to it."""
    if way.of.size != 1:
        return
    for node in way.inside:
        if not node.named or node is way.of or node.size < 2:
            continue
        left = partial(_less_the_gradient, way, node)
        says = f"the value of {node.name} in place of the gradient with respect to it"
        change = Change(way.of, node, left, _no(way, node))
        for kind in ("missing_jacobian", "wrong_argument"):
            key = (way.of.number, node.number, "value", kind)
            yield Mutant(key, kind, node.name, says, 5, (change,))


def _less_the_gradient(way: Way, node: Node) -> Jacobian:
    row = way.run.value(node) - way.run.gradient(node, way.of)
    return Jacobian.of(row.reshape(1, -1), way.of.shape, node.shape)


def _none(of: Node, node: Node) -> Jacobian:
    return Jacobian.zero(of.shape, node.shape)


@on_the_way
def last_of_a_node(way: Way) -> Iterator[Mutant]:
    """Row 29: of the gradient at a node only the last entry along an axis (or the first)."""
    for node in way.inside:
        links = way.uses(node) if node.named and node is not way.of else []
        for axis, size in enumerate(node.shape if links else ()):
            for which, place in (("last", -1), ("first", 0)):
                if size < 2:
                    continue
                mask = partial(one_entry, node.shape, axis, place)
                yield together(
                    [(link, columns_times(link, mask)) for link in links],
                    key=(node.number, "entry", axis, which),
                    kind="last_only",
                    where=node.name,
                    says=f"of the {size} entries along axis {axis} of the gradient at {node.name} "
                    f"only the {which} counts",
                    rank=4,
                )


@on_the_way
def count_left_out(way: Way) -> Iterator[Mutant]:
    """A sum over what is switched on or off: one of them in place of their number."""
    if way.of.size != 1:
        return
    for node in way.inside:
        if node.op is None or node.op.name not in {"add", "subtract"}:
            continue
        for link in way.edges[node]:
            if link.parent not in way.reached or link.parent.size >= node.size:
                continue
            says = f"one, not the number of those that are switched on, at {link.told}"
            made = rows_times(link, partial(_one_over_count, way, node, link.parent))
            for kind in ("factor", "one_sided_mask"):
                yield link.mutant("count", kind, says, made, rank=5)


def _one_over_count(way: Way, node: Node, parent: Node) -> Array:
    """One over the number of entries that are not 0 along the axes that are added up."""
    gradient = way.run.gradient(node, way.of)
    shape = (1,) * (len(node.shape) - len(parent.shape)) + parent.shape
    axes = tuple(k for k, (m, n) in enumerate(zip(node.shape, shape, strict=True)) if m != n)
    count = np.count_nonzero(gradient, axis=axes, keepdims=True)
    return np.broadcast_to(1 / np.maximum(count, 1), node.shape)
