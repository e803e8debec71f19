"""Mistakes in what a rule is applied to: another value, or the other argument (catalogue C, D)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from graphengine.check.mistakes.base import Change, Link, Mutant, called, mistake, with_factor
from graphengine.errors import GraphEngineError
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.jacobian.terms import Factor
from graphengine.ops.base import Array, Elementwise
from graphengine.run import Run

_BILINEAR = {"multiply", "matmul", "matvec", "outer", "dot", "kron", "add", "subtract"}


@mistake
def wrong_argument(link: Link) -> Iterator[Mutant]:
    """Rows 25, 33, 38, 51: the rule at the pre- or the post-activation, or at another value."""
    if link.op is None or not any(part.factors for part in link.jacobian.terms):
        return
    for k, arg in enumerate(link.args):
        if k != link.place or link.op.name not in _BILINEAR:  # those do not look at their own
            for stand_in in _stand_ins(link, link.child.args[k], arg.shape):
                yield from _at(link, k, stand_in)


def _at(link: Link, k: int, stand_in: StandIn) -> Iterator[Mutant]:
    """The rule with another value for the argument at ``k``."""
    given = link.child.args[k]

    def again() -> Jacobian:
        args = [*link.args[:k], stand_in.value, *link.args[k + 1 :]]
        assert link.op is not None
        return link.rule(link.op.value(*args), args)

    def kept() -> Jacobian:
        return link.rule(link.out, [*link.args[:k], stand_in.value, *link.args[k + 1 :]])

    told = f"{stand_in.name} in place of {called(given)}"
    if stand_in.node is link.parent and len(link.args) == 2:
        says = f"{told} at {link.told}: the derivative by one factor is the other one"
        yield link.mutant(("own", k), "swapped_arguments", says, again, rank=1)
        return
    says = f"the derivative at {link.told} is taken at the wrong value: {told}"
    which = stand_in.name if stand_in.node is None else stand_in.node.number
    for kind in _kinds(given, stand_in):
        yield link.mutant(("at", k, which), kind, says, again, rank=stand_in.rank)
        if _uses_out(link):
            rank = stand_in.rank + 1
            yield link.mutant(("half", k, which), kind, says, kept, rank=rank)


def _kinds(given: Node | Array, stand_in: StandIn) -> list[str]:
    """A sum with a part left out is also a missing path."""
    if not isinstance(given, Node) or given.op is None or stand_in.node is None:
        return ["wrong_argument"]
    if given.op.name not in {"add", "subtract"} or stand_in.node not in given.parents:
        return ["wrong_argument"]
    kinds = ["wrong_argument", "missing_path"]
    return kinds if given.named else kinds[::-1]


@mistake
def own_factor(link: Link) -> Iterator[Mutant]:
    """Row 46: of a product, the derivative by one factor is taken to be that factor itself."""
    if link.op is None or link.op.name not in _BILINEAR - {"add", "subtract", "multiply"}:
        return
    value = link.run.value(link.parent)
    for k, part in enumerate(link.jacobian.terms):
        labels = tuple(index.label for index in part.into.axes)
        if len(part.factors) != 1 or len(set(labels)) < len(labels) or not labels:
            continue
        if any(index.at is not None for index in part.into.axes):
            continue
        own = Factor(value.reshape(part.into.view), labels)

        def made(k: int = k, own: Factor = own) -> Jacobian:
            return with_factor(link.jacobian, k, 0, own)

        says = f"{link.parent.name} itself in place of the other factor at {link.told}"
        yield link.mutant(("itself", k), "swapped_arguments", says, made, rank=3)


@mistake
def input_for_output(link: Link) -> Iterator[Mutant]:
    """Rows 37, 38: a rule in terms of the value, with the argument in its place."""
    if not _uses_out(link) or not any(part.factors for part in link.jacobian.terms):
        return
    for k, arg in enumerate(link.args):
        if arg.shape == link.out.shape:
            name = called(link.child.args[k])
            says = f"the derivative at {link.told} is taken at the wrong value: {name} in place of "
            says += link.child.name
            made = partial(link.rule, arg, link.args)
            yield link.mutant(("in", k), "wrong_argument", says, made, rank=2)


def _uses_out(link: Link) -> bool:
    """Whether the rule may look at the op's own value."""
    if link.op is None:
        return False
    return len(link.args) == 1 or link.op.name in {"power", "divide", "solve"}


class StandIn(NamedTuple):
    """A value in place of an argument's, its name, how likely it is, and the node that has it."""

    name: str
    value: Array
    rank: int
    node: Node | None = None


def _stand_ins(link: Link, given: Node | Array, shape: tuple[int, ...]) -> Iterator[StandIn]:
    """Values that could be put in place of an argument's: their name, the nearest first.

    They are nodes of the same shape or the transposed one; the slope of an activation for its
    value; and an inner node computed again with its own argument replaced.
    """
    graph, run = link.child.graph, link.run
    near: list[Node] = []
    if isinstance(given, Node):
        near = [link.child, *given.parents]
        near += [graph[name] for name in graph.dag.successors(given.name)]
    seen = {given} if isinstance(given, Node) else set()
    for nodes, rank in ((near, 2), (graph.named.values(), 6)):
        for node in nodes:
            fits = node.shape == shape or (len(shape) == 2 and node.shape == shape[::-1])
            fits |= node is link.parent and isinstance(link.op, Elementwise)
            if node not in seen and fits and node.role != "constant":
                seen.add(node)
                value = run.value(node)
                if value.shape == shape[::-1] and len(shape) == 2:
                    value = value.T
                elif value.shape != shape:
                    value = np.broadcast_to(value, np.broadcast_shapes(value.shape, shape))
                yield StandIn(called(node), value, rank, node)
    if isinstance(given, Node) and given.op is not None:
        yield from _altered(run, given)


def _altered(run: Run, given: Node) -> Iterator[StandIn]:
    """A computed argument with a sign changed, its slope, or computed from other values."""
    assert given.op is not None
    if given.op.name in {"add", "subtract"}:
        a, b = (run.value(one) if isinstance(one, Node) else one for one in given.args)
        other = a + b if given.op.name == "subtract" else a - b
        told = [called(one) for one in given.args]
        signed = (" + " if given.op.name == "subtract" else " - ").join(told)
        yield StandIn(signed, other, 3)
    if given.op.family == "activations":
        value = run.value(given)
        yield StandIn(f"{given.name} (1 - {given.name})", value * (1 - value), 5)
        yield StandIn(f"1 - {given.name}²", 1 - value**2, 5)
        yield StandIn(f"{given.name} > 0", (value > 0) * 1.0, 5)
    if not given.named:
        yield from _computed_again(run, given)


def _computed_again(run: Run, given: Node) -> Iterator[StandIn]:
    """An inner node with one argument replaced by what that one was made of, or left out."""
    values = [run.value(a) if isinstance(a, Node) else a for a in given.args]
    assert given.op is not None
    for k, arg in enumerate(given.args):
        if not isinstance(arg, Node):
            continue
        for other in arg.parents:
            if other.shape == arg.shape:
                args = [*values[:k], run.value(other), *values[k + 1 :]]
                name = f"{called(given)} with {other.name} for {called(arg)}"
                try:
                    yield StandIn(name, given.op.value(*args), 4)
                except GraphEngineError:  # an inverse that does not exist
                    continue


def swapped(links: Sequence[Link], reached: Sequence[Node]) -> Iterator[Mutant]:
    """Row 46: the partial derivatives of two arguments exchanged."""
    for k, one in enumerate(links):
        for two in links[k + 1 :]:
            if one.parent is two.parent or one.parent.shape != two.parent.shape:
                continue
            says = (
                f"the derivatives of {one.child.name if one.child.named else one.child.formula} "
                f"with respect to {one.parent.name} and {two.parent.name} are exchanged"
            )
            changes = (
                Change(one.child, one.parent, two.right, one.right),
                Change(two.child, two.parent, one.right, two.right),
            )
            for mine, theirs in ((one, two), (two, one)):
                if mine.parent not in reached:
                    continue
                said = (
                    f"the derivative of {mine.told.partition(' <- ')[0]} with respect to "
                    f"{theirs.parent.name} in place of that with respect to {mine.parent.name}"
                )
                yield mine.mutant(
                    ("for", theirs.place),
                    "swapped_arguments",
                    said,
                    theirs.right,
                    rank=3,
                )
            key = (one.child.number, "swapped", one.place, two.place)
            yield Mutant(key, "swapped_arguments", one.where.partition("<-")[0], says, 3, changes)
