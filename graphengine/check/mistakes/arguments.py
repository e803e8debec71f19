"""Mistakes in what a rule is applied to: another value, or the other argument (catalogue C, D)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice

import numpy as np

from graphengine.check.mistakes.base import (
    Change,
    Link,
    Mutant,
    also_composite,
    called,
    mistake,
    with_factor,
)
from graphengine.check.mistakes.standins import StandIn, stand_ins
from graphengine.errors import GraphEngineError
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.jacobian.terms import Factor
from graphengine.ops.base import Array, Op

EXAMPLES = 8
"""So many of an op's examples show what its rule looks at."""

_BILINEAR = {"multiply", "matmul", "matvec", "outer", "dot", "kron", "add", "subtract"}


@also_composite
@mistake
def wrong_argument(link: Link) -> Iterator[Mutant]:
    """Rows 25, 33, 38, 51: the rule at the pre- or the post-activation, or at another value."""
    if link.op is None:
        return
    if link.op.name != "take" and not any(part.factors for part in link.jacobian.terms):
        return
    for k, arg in enumerate(link.args):
        if k != link.place or link.op.name not in _BILINEAR:  # those do not look at their own
            for stand_in in stand_ins(link, link.given[k], arg.shape):
                yield from _at(link, k, stand_in)


def _at(link: Link, k: int, stand_in: StandIn) -> Iterator[Mutant]:
    """The rule with another value for the argument at ``k``."""
    given = link.given[k]

    def again() -> Jacobian:
        args = [*link.args[:k], stand_in.value, *link.args[k + 1 :]]
        assert link.op is not None
        return link.rule(link.op.value(*args), args)

    def kept() -> Jacobian:
        return link.rule(link.out, [*link.args[:k], stand_in.value, *link.args[k + 1 :]])

    told = f"{stand_in.name} in place of {called(given)}"
    product = link.op is not None and link.op.name in _BILINEAR
    if product and stand_in.node in _own(link.parent):
        says = f"{told} at {link.told}: the derivative by one factor is the other one"
        yield link.mutant(("own", k), "swapped_arguments", says, again, rank=1)
        return
    says = f"the derivative at {link.told} is taken at the wrong value: {told}"
    halves = _uses_out(link) and _looks_at_both(link)
    which = stand_in.key if stand_in.node is None else stand_in.node.number
    for kind in _kinds(given, stand_in):
        yield link.mutant(("at", k, which), kind, says, again, rank=stand_in.rank)
        if halves:
            rank = stand_in.rank + 1
            yield link.mutant(("half", k, which), kind, says, kept, rank=rank)


def _own(parent: Node) -> tuple[Node, ...]:
    """A parent, and what it is a rearrangement of."""
    moved = parent.op is not None and parent.op.family in {"rearrangement", "linalg"}
    return (parent, *parent.parents) if moved and len(parent.parents) == 1 else (parent,)


def _kinds(given: Node | Array, stand_in: StandIn) -> list[str]:
    """A sum with a part left out is also a missing path, a product with one a missing factor; of
    two weights that add up to one, the other's.
    """
    if _of_one(given, stand_in.node) or _of_one(stand_in.node, given):
        return [stand_in.kind, "swapped_arguments"]
    if not isinstance(given, Node) or given.op is None or stand_in.node not in given.parents:
        return [stand_in.kind]
    others = {"add": "missing_path", "subtract": "missing_path", "multiply": "factor"}
    if given.op.name not in others:
        return [stand_in.kind]
    kinds = [stand_in.kind, others[given.op.name]]
    return kinds if given.named else kinds[::-1]


def _of_one(weight: object, other: object) -> bool:
    """Whether one is 1 less the other."""
    if not isinstance(weight, Node) or weight.op is None or weight.op.name != "subtract":
        return False
    whole, part = weight.args
    return part is other and not isinstance(whole, Node) and bool(np.all(whole == 1))


@mistake
def several_steps_elsewhere(link: Link) -> Iterator[Mutant]:
    """Rows 25, 33: the derivative of a formula of several steps, taken at another value."""
    if link.op is not None or not link.parent.named:
        return
    for other in link.parent.parents:
        if other.shape == link.parent.shape and other.named:
            says = f"the derivative at {link.told} is taken at the wrong value: {other.name} in "
            says += f"place of {link.parent.name}"
            made = partial(_elsewhere, link, link.run.value(other))
            yield link.mutant(("elsewhere", other.number), "wrong_argument", says, made, rank=3)


@mistake
def derivative_by_another(link: Link) -> Iterator[Mutant]:
    """Row 46: of a formula of several steps, the derivative in another of its arguments."""
    if link.op is not None or not link.parent.named:
        return
    graph, child = link.child.graph, link.child
    for other in graph.named.values():
        if other is link.parent or other.shape != link.parent.shape or other.number >= child.number:
            continue
        if any(arg is other for arg in _inside(child)):
            says = f"the derivative in {other.name} in place of that in {link.parent.name} at "
            made = partial(_elsewhere, link, link.run.value(link.parent), other)
            key = ("another", other.number)
            for kind in ("swapped_arguments", "wrong_slope"):
                yield link.mutant(key, kind, says + link.told, made, rank=4)


def _inside(child: Node) -> Iterator[Node]:
    """The named and the start nodes that a node's formula holds."""
    stack = [arg for arg in child.args if isinstance(arg, Node)]
    while stack:
        node = stack.pop()
        if node.named or node.op is None:
            yield node
        else:
            stack += [arg for arg in node.args if isinstance(arg, Node)]


def _elsewhere(link: Link, value: Array, wrt: Node | None = None) -> Jacobian:
    """The Jacobian of the link's formula (in ``wrt``) with this value for the parent."""
    source = link.parent if wrt is None else wrt
    values: dict[Node, Array] = {link.parent: value}
    stack = [link.child]
    while stack:
        node = stack[-1]
        if node.op is None or (node.named and node is not link.child):
            values.setdefault(node, link.run.value(node))
        waiting = [] if node in values else [a for a in node.args if isinstance(a, Node)]
        waiting = [arg for arg in waiting if arg not in values]
        stack += waiting
        if not waiting:
            stack.pop()
            if node not in values and node.op is not None:
                values[node] = node.op.value(*_given(node, values))
    left = {link.child: Jacobian.identity(link.child.shape)}
    found = Jacobian.zero(link.child.shape, link.parent.shape)
    while left:
        node = max(left, key=lambda one: one.number)
        above = left.pop(node)
        for place, arg in enumerate(node.args):
            if not isinstance(arg, Node) or node.op is None:
                continue
            part = above.compose(node.op.jacobian(place, values[node], _given(node, values)))
            if arg is source:
                found = found + part
            elif not arg.named and arg.op is not None:
                left[arg] = left[arg] + part if arg in left else part
    return found


def _given(node: Node, values: Mapping[Node, Array]) -> list[Array]:
    return [values[arg] if isinstance(arg, Node) else arg for arg in node.args]


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


@also_composite
@mistake
def input_for_output(link: Link) -> Iterator[Mutant]:
    """Rows 37, 38: a rule in terms of the value, with the argument in its place."""
    if not _uses_out(link) or not any(part.factors for part in link.jacobian.terms):
        return
    graph = link.child.graph
    starts = [one for one in graph.starts if one.role == "input"]
    nodes = [*link.given, *link.child.parents, *starts]
    for k, given in enumerate(dict.fromkeys(one for one in nodes if isinstance(one, Node))):
        if given.shape == link.out.shape:
            name = called(given)
            says = f"the derivative at {link.told} is taken at the wrong value: {name} in place of "
            says += link.child.name
            made = partial(link.rule, link.run.value(given), link.args)
            yield link.mutant(("in", k), "wrong_argument", says, made, rank=2)


def _looks_at_both(link: Link) -> bool:
    """Whether the rule looks at the value and at the arguments, of which one may be another."""
    if link.op is None:
        return False
    return _both(type(link.op), link.place or 0)  # type: ignore[arg-type]  # the class, not an op


@cache
def _both(kind: type[Op], place: int) -> bool:
    """The same, tried on the op's own examples."""
    by_value = by_arguments = False
    for op, args in islice(kind.examples(np.random.default_rng(0)), EXAMPLES):
        try:
            with np.errstate(all="ignore"):
                out = op.value(*args)
                row = np.ones(out.shape)
                moved = [arg * 1.1 + 0.01 for arg in args]
                right = op.jacobian(place, out, args).pull(row)
                first = op.jacobian(place, out * 1.1 + 0.01, args).pull(row)
                second = op.jacobian(place, out, moved).pull(row)
        except (GraphEngineError, ValueError, np.linalg.LinAlgError):
            continue
        by_value |= not np.array_equal(first, right, equal_nan=True)
        by_arguments |= not np.array_equal(second, right, equal_nan=True)
    return by_value and by_arguments


def _uses_out(link: Link) -> bool:
    """Whether the rule may look at the op's own value."""
    if link.op is None:
        return False
    return len(link.args) == 1 or link.op.name in {"power", "divide", "solve"}


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
