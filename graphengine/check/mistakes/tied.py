"""Mistakes with what is used several times: time steps, slices, weights (catalogue C)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    Way,
    of_node,
    on_the_way,
    one_entry,
    rows_times,
    together,
)
from graphengine.check.mistakes.scale import summed_axes
from graphengine.graph import Node
from graphengine.jacobian import Jacobian

Order = Sequence[int]


@on_the_way
def uses_mixed_up(way: Way) -> Iterator[Mutant]:
    """Rows 16, 30, 70: each use has the factor of another one: shifted, reversed, all the same."""
    for base in way.reached:
        if not base.named:
            continue
        for number, links in enumerate(_groups(way, base)):
            for told, kinds, order in _orders(len(links)):
                pairs = [(link, links[k].right) for link, k in zip(links, order, strict=True)]
                says = f"the factors of the {len(links)} uses of {base.name} are {told}"
                for kind in kinds:
                    yield together(
                        pairs,
                        key=(base.number, "uses", number, told),
                        kind=kind,
                        where=base.name,
                        says=says,
                        rank=4,
                    )
            yield from _moved_on(base, number, links)


def _groups(way: Way, base: Node) -> Iterator[Sequence[Link]]:
    """Uses of one node, or of slices of it, by the same op at the same place."""
    direct = way.uses(base)
    slices = [link.child for link in direct if link.child.op and link.child.op.name == "getitem"]
    found: dict[object, list[Link]] = {}
    for link in (*direct, *(use for part in slices for use in way.uses(part))):
        if link.op is not None:
            sliced = link.parent is not base
            key = (link.op.name, link.place, link.child.shape, link.parent.shape, sliced)
            found.setdefault(key, []).append(link)
    for links in found.values():
        if len(links) > 1:
            yield sorted(links, key=lambda link: link.child.number)


def _orders(count: int) -> Iterator[tuple[str, tuple[str, ...], Order]]:
    backwards = tuple(range(count))[::-1]
    if count == 2:
        yield "exchanged", ("swapped_arguments", "reordered", "shifted"), backwards
    else:
        yield "in the opposite order", ("reordered",), backwards
        yield "those of the next one each", ("shifted",), (*range(1, count), 0)
        yield "those of the one before each", ("shifted",), (count - 1, *range(count - 1))
    yield "all that of the first", ("shifted", "wrong_argument"), (0,) * count
    yield "all that of the last", ("shifted", "wrong_argument"), (count - 1,) * count


def _moved_on(base: Node, number: int, links: Sequence[Link]) -> Iterator[Mutant]:
    """The other factors moved by one step, with the one before the first or after the last."""
    others = [_other(link) for link in links]
    if any(other is None for other in others):
        return
    nodes = [other for other in others if other is not None]
    if len(set(nodes)) < len(nodes):
        return
    for extra in _after(nodes):
        told = f"those of the next step each, {extra.name} the last"
        yield _with_others(base, number, links, [*nodes[1:], extra], told)
    for extra in _before(nodes):
        told = f"those of the step before each, {extra.name} the first"
        yield _with_others(base, number, links, [extra, *nodes[:-1]], told)


def _with_others(
    base: Node, number: int, links: Sequence[Link], others: Sequence[Node], told: str
) -> Mutant:
    pairs = [(link, _at(link, other)) for link, other in zip(links, others, strict=True)]
    return together(
        pairs,
        key=(base.number, "uses", number, tuple(node.number for node in others)),
        kind="shifted",
        where=base.name,
        says=f"the other factors at the {len(links)} uses of {base.name} are {told}",
        rank=4,
    )


def _at(link: Link, other: Node) -> Callable[[], Jacobian]:
    """The link's rule with another node in place of the other argument."""
    assert link.place is not None
    args = list(link.args)
    args[1 - link.place] = link.run.value(other)
    op = link.op
    assert op is not None
    return lambda: link.rule(op.value(*args), args)


def _other(link: Link) -> Node | None:
    """The other argument of a product of two."""
    if link.op is None or link.op.name not in {"matmul", "matvec", "multiply", "outer", "dot"}:
        return None
    if link.place is None or len(link.given) != 2:
        return None
    other = link.given[1 - link.place]
    return other if isinstance(other, Node) else None


def _after(nodes: Sequence[Node]) -> list[Node]:
    """The node that would be next in a sequence of time steps."""
    last = nodes[-1]
    later = [
        node
        for node in last.graph.named.values()
        if node.number > last.number and node.shape == last.shape and node not in nodes
    ]
    alike = [node for node in later if node.op is not None and type(node.op) is type(last.op)]
    return alike[:1]


def _before(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that may be before the first of a sequence: start nodes, or the same op's."""
    first = nodes[0]
    earlier = [
        node
        for node in first.graph.named.values()
        if node.number < first.number and node.shape == first.shape and node not in nodes
    ]
    starts = [node for node in earlier if node.role == "input"]
    alike = [node for node in earlier if node.op is not None and type(node.op) is type(first.op)]
    return [*starts, *alike[-1:]]


@on_the_way
def one_use_alone(way: Way) -> Iterator[Mutant]:
    """Row 30: of a node that is used several times (a tied weight) one use counts alone."""
    for node in way.reached:
        links = way.uses(node)
        if len(links) < 3:
            continue
        for k, kept in enumerate(links):
            kind = "last_only" if k == len(links) - 1 else "missing_path"
            says = f"of the {len(links)} uses of {node.name} only that in {kept.told} counts"
            rest = [link for link in links if link is not kept]
            made = of_node(node, rest, ("only", k), kind, says, 3)
            yield made
            for j, link in enumerate(rest):  # the same numbers under the other names
                key = (*made.key, j)
                yield replace(made, key=key, kind="missing_path", where=link.where, rank=4)


@on_the_way
def last_of_each_use(way: Way) -> Iterator[Mutant]:
    """Rows 29, 30: at every use of a node only the last entry (or the first) counts."""
    for base in way.reached:
        links = way.uses(base) if base.named else []
        found: dict[int, list[tuple[Link, int]]] = {}
        for link in links:
            for axis in summed_axes(link):
                found.setdefault(link.child.shape[axis], []).append((link, axis))
        for size, several in found.items():
            if len(several) < 2 or len({link for link, _ in several}) < len(several):
                continue
            for which, place in (("last", -1), ("first", 0)):
                pairs = [
                    (link, rows_times(link, partial(one_entry, link.child.shape, axis, place)))
                    for link, axis in several
                ]
                yield together(
                    pairs,
                    key=(base.number, "each", several[0][1], which),
                    kind="last_only",
                    where=base.name,
                    says=f"of {size} entries that add up only the {which} counts, at all uses of "
                    f"{base.name}",
                    rank=3,
                )
