"""All mistakes that can be made in one backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial

import numpy as np

from graphengine.board import edge_jacobians
from graphengine.check.mistakes.arguments import swapped
from graphengine.check.mistakes.base import (
    LINKS,
    ON_THE_WAY,
    Catalogued,
    Change,
    Link,
    Mutant,
    Way,
    drop,
    home,
    of_node,
    scaled,
    usable,
)
from graphengine.check.mistakes.changes import Changed, pushed
from graphengine.check.mistakes.layouts import blocks_exchanged
from graphengine.check.mistakes.penalties import averages, other_weights, penalty_name, regularisers
from graphengine.check.mistakes.recognised import Known, Recognised, recognised
from graphengine.check.reference import path
from graphengine.graph import Node
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Array
from graphengine.run import Run

__all__ = ["Catalogue"]

_STATISTICS = {"mean", "var", "norm", "max", "min", "logsumexp", "sum", "sum_of_squares"}


FAR_FETCHED = 3
"""Added to the rank of mistakes with several named steps at once."""


class Catalogue:
    """All mistakes that can be made in the backward pass of one run.

    ``generators`` are the mistakes at a link; leaving one out is how the tests show that each is
    needed.
    """

    def __init__(self, run: Run, generators: Sequence[Catalogued] | None = None) -> None:
        self.run = run
        self.generators = LINKS if generators is None else generators
        self._mutants: dict[object, list[Mutant]] = {}
        self._parts: dict[object, dict[object, Mutant]] = {}
        self._idle: dict[Change, bool] = {}
        self._made: dict[Change, Jacobian | None] = {}
        self._paths: dict[tuple[Node, Node], tuple[Node, ...]] = {}
        self._links: dict[tuple[Node, Node], Sequence[Link]] = {}
        self._named: dict[tuple[Node, Node], Mapping[tuple[object, ...], Link]] = {}

    def made(self, change: Change) -> Jacobian | None:
        """The Jacobian of a changed link, made once; None where it does not exist."""
        if change not in self._made:
            self._made[change] = usable(change.made)
        return self._made[change]

    def pulled(self, change: Change, row: Array, right: Array) -> Array | None:
        """A row times a changed Jacobian, flat; ``right`` is the row times the right one."""
        if isinstance(change.made, Changed):
            return change.made.pull(row, right) if change.made.finite else None
        made = self.made(change)
        return None if made is None else made.pull(row).reshape(-1)

    def pushed(self, change: Change, columns: Array, right: Array) -> Array | None:
        """A changed Jacobian times columns; ``right`` is the right one times them."""
        if isinstance(change.made, Changed):
            return change.made.push(columns, right) if change.made.finite else None
        made = self.made(change)
        return None if made is None else pushed(made, columns)

    @cached_property
    def edges(self) -> Mapping[Node, list[Link]]:
        """The links of one op each, by their child."""
        found: dict[Node, list[Link]] = {}
        for node in self.run.graph.nodes:
            found[node] = [
                Link(self.run, node, arg, partial(self.run.rule, node, place), place)
                for place, arg in enumerate(node.args)
                if isinstance(arg, Node)
            ]
        return found

    @cached_property
    def ways(self) -> Mapping[Node, list[Link]]:
        """The links between named nodes through unnamed ones, by their child."""
        found: dict[Node, list[Link]] = {}
        for child in self.run.graph.named.values():
            inner = [
                arg for arg in child.args if isinstance(arg, Node) and not arg.named and arg.op
            ]
            given = [arg for arg in child.args if isinstance(arg, Node)]
            parents = {arg for arg in given if given.count(arg) > 1 and arg not in inner}
            while inner:
                for arg in inner.pop().args:
                    if isinstance(arg, Node):
                        (parents.add if arg.named or arg.op is None else inner.append)(arg)
            found[child] = [
                Link(self.run, child, parent, partial(self._way, child, parent))
                for parent in sorted(parents, key=lambda one: one.number)
            ]
        return found

    def _way(self, child: Node, parent: Node) -> Jacobian:
        return edge_jacobians(self.run, child)[parent]

    @cached_property
    def composites(self) -> Mapping[Node, list[Recognised]]:
        """The links of several steps that are a known function together, by their child."""
        named = [*self.run.graph.named.values()]
        known = Known(self.run)
        return {child: list(recognised(known, child, self.path)) for child in named}

    @cached_property
    def users(self) -> Mapping[Node, list[Link]]:
        """The links of one op each, by their parent."""
        found: dict[Node, list[Link]] = {node: [] for node in self.run.graph.nodes}
        for links in self.edges.values():
            for link in links:
                found[link.parent].append(link)
        return found

    def path(self, of: Node, wrt: Node) -> tuple[Node, ...]:
        """The nodes on the way from ``wrt`` (left out) to ``of``, parents first."""
        if (of, wrt) not in self._paths:
            self._paths[of, wrt] = path(self.run.graph, of, wrt)
        return self._paths[of, wrt]

    def between(self, of: Node, wrt: Node) -> Iterator[Mutant]:
        """The mistakes on the way from ``wrt`` to ``of``."""
        for link in self.links(of, wrt):
            yield from self.at(link)
        yield from self.further(of, wrt)

    def links(self, of: Node, wrt: Node) -> Sequence[Link]:
        """The links on the way; after those of single steps the way itself, and known functions."""
        if (of, wrt) not in self._links:
            inside = self.path(of, wrt)
            reached = {wrt, *inside}
            found = [
                link
                for node in inside
                for link in (*self.edges[node], *self.ways.get(node, ()))
                if link.parent in reached
            ]
            if of.shape == wrt.shape:
                make = partial(self.run.structured, of, wrt)
                whole = Link(self.run, of, wrt, make, unlikely=FAR_FETCHED)
                if all(link.key != whole.key for link in found):
                    found.append(whole)
            for node in inside:
                links = self.composites[node] if node.named else ()
                found += [link for link in links if link.parent in reached]
            self._links[of, wrt] = found
        return self._links[of, wrt]

    def way(self, of: Node, wrt: Node) -> Way:
        """The way from ``wrt`` to ``of``, for the mistakes that change several links."""
        return Way(self.run, of, wrt, self.path(of, wrt), self.edges, self.users)

    def link(self, of: Node, wrt: Node, key: tuple[object, ...]) -> Link | None:
        """The link on the way that is called so."""
        if (of, wrt) not in self._named:
            self._named[of, wrt] = {link.key: link for link in self.links(of, wrt)}
        return self._named[of, wrt].get(key)

    def further(self, of: Node, wrt: Node) -> Iterator[Mutant]:
        """The mistakes on the way that change several links, or that know what is above."""
        inside = self.path(of, wrt)
        reached = [wrt, *inside]
        for node in inside:
            yield from swapped(self.edges[node], reached)
            yield from blocks_exchanged(self.edges[node], reached)
        yield from self.constants(of, reached)
        yield from self.penalties(of, inside)
        yield from self.weights(of, wrt, inside)
        way = self.way(of, wrt)
        for generator in ON_THE_WAY:
            yield from generator(way)

    def at(self, link: Link) -> Sequence[Mutant]:
        """The mistakes at one link."""
        if link.key not in self._mutants:
            made = [
                mutant
                for one in self.generators
                if link.takes(one)
                for mutant in self._by_generator(one, link).values()
            ]
            self._mutants[link.key] = made
        return self._mutants[link.key]

    def known(self, link: Link, like: Mutant) -> Mutant | None:
        """The same mistake at one link here; None where it cannot be made."""
        if like.generator is None:
            return None
        return self._by_generator(like.generator, link).get(like.key)

    def _by_generator(self, one: Catalogued, link: Link) -> Mapping[object, Mutant]:
        key = (link.key, one)
        if key not in self._parts:
            self._parts[key] = {mutant.key: mutant for mutant in link.mutants(one)}
        return self._parts[key]

    def changes_nothing(self, mutant: Mutant) -> bool:
        """Whether each changed Jacobian of a mutant is the right one at this point."""
        return all(self._is_right(change) for change in mutant.changes)

    def _is_right(self, change: Change) -> bool:
        if change not in self._idle:
            right = change.right()
            row = np.cos(np.arange(1.0, right.shape[0] + 1))
            expected = right.pull(row).reshape(-1)
            made = self.pulled(change, row, expected)
            self._idle[change] = made is None or np.allclose(made, expected, rtol=1e-9, atol=0.0)
        return self._idle[change]

    def constants(self, of: Node, reached: Sequence[Node]) -> Iterator[Mutant]:
        """Rows 27, 31: a node taken for a constant, or all statistics of a layer at once."""
        statistics: list[Link] = []
        for node in reached:
            if node is of:
                continue
            links = [
                link
                for child in self._children(node)
                if child in reached
                for link in self.edges[child]
                if link.parent is node
            ]
            reduces = node.op is not None and node.op.name in _STATISTICS
            reduces = reduces and self._is_broadcast(node, reached)
            statistics += links if reduces else []
            name = node.name if node.named else node.formula
            says = f"{name} is treated as a constant"
            made = of_node(
                node, links, "constant", "treated_as_constant", says, 2 if reduces else 6
            )
            if made is not None and links:
                yield made
        nodes = list(dict.fromkeys(link.parent for link in statistics))
        if len(nodes) > 1:
            names = " and ".join(node.name if node.named else node.formula for node in nodes)
            says = f"{names} are treated as constants"
            for node in nodes:  # one for each name, with the same numbers
                made = of_node(node, statistics, "all", "treated_as_constant", says, 2)
                if made is not None:
                    yield made

    def penalties(self, of: Node, inside: Sequence[Node]) -> Iterator[Mutant]:
        """Rows 56, 57, 58, 60: the regulariser left out, or weighted by another number."""
        for node in regularisers(self.run.graph, of, inside):
            links = [
                link
                for child in self._children(node)
                if child in inside
                for link in self.edges[child]
                if link.parent is node
            ]
            for link in links:
                where = penalty_name(node, inside)
                name = where if where != home(node).name else node.formula
                says = f"the regulariser is missing: the path through {name}"
                yield link.mutant(
                    "no penalty", "missing_regulariser", says, drop(link), rank=0, where=where
                )
                others = other_weights(self.run, link)
                scales = [(-1.0, 0), (0.5, 0), (2.0, 0), *averages(self.run.graph), *others]
                for scale, letter in scales:
                    told = "with the wrong sign" if scale < 0 else f"times {scale:g}"
                    says = f"the regulariser {name} is weighted wrongly: {told}"
                    yield link.mutant(
                        ("penalty", letter or scale),
                        "regulariser_scale",
                        says,
                        scaled(link, scale),
                        rank=0,
                        where=where,
                    )

    def weights(self, of: Node, wrt: Node, inside: Sequence[Node]) -> Iterator[Mutant]:
        """Rows 59, 60: a parameter regularised that is not; the sign for the value (L1 for L2)."""
        if wrt.role != "parameter" or of.size != 1:
            return
        own, graph = regularisers(self.run.graph, of, inside), self.run.graph
        if own:
            weight = self._weight(of, wrt)
            where, value = penalty_name(own[0], inside), self.run.value(wrt)
            for scale, name in ((1.0, "lam sign"), (0.5, "half")):
                if weight is not None:
                    says = (
                        f"the regulariser has another form: sign({wrt.name}), as of an L1 penalty"
                    )
                    made = weight * (scale * np.sign(value) - value)
                    yield self._added(of, wrt, made, "regulariser_scale", where, says, name)
            return
        for other in graph.starts:
            way = self.path(of, other) if other.role == "parameter" else ()
            top = regularisers(graph, of, way)
            weight = self._weight(of, other) if top else None
            if weight is None:
                continue
            for scale in (1.0, 0.5):
                says = f"{wrt.name} is regularised here, but not in the graph"
                made = scale * weight * self.run.value(wrt)
                where = penalty_name(top[0], way)
                key = (other.number, scale)
                yield self._added(of, wrt, made, "regularised_bias", wrt.name, says, key)
                yield self._added(of, wrt, made, "regularised_bias", where, says, (*key, "at"))

    def _weight(self, of: Node, wrt: Node) -> float | None:
        """The number that the penalties multiply ``wrt`` by, where their gradient is one."""
        total = np.zeros(wrt.shape)
        for node in regularisers(self.run.graph, of, self.path(of, wrt)):
            outer = float(self.run.gradient(node, of).reshape(()))
            total = total + outer * self.run.gradient(wrt, node)
        value = self.run.value(wrt)
        with np.errstate(all="ignore"):
            ratio = total / value
        first = float(ratio.flat[0]) if ratio.size else 0.0
        return first if first and np.allclose(ratio, first, rtol=1e-9) else None

    def _added(
        self, of: Node, wrt: Node, row: Array, kind: str, where: str, says: str, name: object
    ) -> Mutant:
        """The mutant that adds a row to ``∂of/∂wrt``."""
        made = Jacobian.of(row.reshape(1, -1), of.shape, wrt.shape)
        nothing = Jacobian.zero(of.shape, wrt.shape)
        change = Change(of, wrt, lambda: made, lambda: nothing)
        key = (("added", of.number), wrt.number, kind, name)
        return Mutant(key, kind, where, says, 1, (change,))

    def _is_broadcast(self, node: Node, reached: Sequence[Node]) -> bool:
        """Whether a node, or what is made of it entry by entry, is used by a larger one."""
        left = [node]
        while left:
            for child in self._children(left.pop()):
                if child in reached and child.size > node.size:
                    return True
                if child in reached and child.size == node.size:
                    left.append(child)
        return False

    def _children(self, node: Node) -> list[Node]:
        graph = self.run.graph
        return [graph[name] for name in graph.dag.successors(node.name)]
