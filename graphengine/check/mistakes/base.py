"""What a known mistake is: a change of one or a few Jacobians of a graph's own backward pass.

A mistake is a generator of :class:`Mutant` for a :class:`Link`, the place where it may be made:
an edge of the graph, or the way between two named nodes through unnamed ones.  Each stands in the
catalogue with its kind and the rows of evidence it answers; see :data:`LINKS` and :data:`NODES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp

from graphengine.check.mistakes.changes import Changed, Weights
from graphengine.errors import GraphEngineError
from graphengine.graph import Graph, Node
from graphengine.jacobian import Jacobian
from graphengine.jacobian.terms import Factor, Term, key_of
from graphengine.ops.base import Array, Op
from graphengine.run import Run

__all__ = [
    "COMPOSITE",
    "LINKS",
    "ON_THE_WAY",
    "Change",
    "Link",
    "Mutant",
    "Way",
    "also_composite",
    "called",
    "columns_times",
    "composed",
    "diagonal",
    "drop",
    "finite",
    "home",
    "mistake",
    "of_node",
    "on_the_way",
    "one_entry",
    "place_name",
    "rows_times",
    "scaled",
    "sizes_of",
    "slopes",
    "together",
    "usable",
    "with_factor",
]


Catalogued: TypeAlias = Callable[["Link"], Iterable["Mutant"]]
"""A generator of the mistakes of one sort at a link."""


class Change(NamedTuple):
    """``∂child/∂parent`` counts ``made()`` in place of ``right()``."""

    child: Node
    parent: Node
    made: Callable[[], Jacobian]
    right: Callable[[], Jacobian]


@dataclass(frozen=True, eq=False)
class Mutant:
    """One mistake at one place.  ``key`` is the same at every point of one check.

    ``rank`` orders mutants with equal numbers: the smaller, the likelier it is what happened.
    ``says`` is the sentence that tells it.  ``by_sign`` is set where it changes nothing while an
    argument happens to have one sign.  ``generator`` is what made it, at a link.
    """

    key: tuple[object, ...]
    kind: str
    where: str
    says: str
    rank: int
    changes: tuple[Change, ...]
    by_sign: bool = False
    generator: Catalogued | None = None


class Link:
    """The way from ``parent`` to ``child``: an edge (an op and one place), or several at once.

    ``jacobian`` is that of the whole way, ``op``, ``args`` and ``out`` are there for an edge.
    ``unlikely`` is added to the rank of the mistakes that are made here.
    """

    def __init__(
        self,
        run: Run,
        child: Node,
        parent: Node,
        jacobian: Callable[[], Jacobian],
        place: int | None = None,
        *,
        unlikely: int = 0,
    ) -> None:
        self.run, self.child, self.parent, self.place = run, child, parent, place
        self.unlikely = unlikely
        self._make = jacobian
        self.generator: Catalogued | None = None

    @cached_property
    def jacobian(self) -> Jacobian:
        """``∂child/∂parent`` along this way."""
        return self._make()

    def right(self) -> Jacobian:
        """:attr:`jacobian`, as a function."""
        return self.jacobian

    @cached_property
    def csr(self) -> sp.csr_array:
        """The Jacobian as a sparse matrix."""
        return self.jacobian.tocsr()

    @cached_property
    def where(self) -> str:
        """The place in terms of named nodes: ``s<-z``, or the node whose formula this is in."""
        return place_name(self.child, self.parent)

    @cached_property
    def told(self) -> str:
        """The place for a sentence: with the piece of the formula where there is one."""
        inner = "" if self.child.named else f", at {self.child.formula}"
        return f"{self.where.replace('<-', ' <- ')}{inner}"

    @property
    def key(self) -> tuple[object, ...]:
        """What the link is called at every point."""
        return self.child.number, self.parent.number, self.place

    @property
    def op(self) -> Op | None:
        """The edge's op; None for a way of several edges."""
        return self.child.op if self.place is not None else None

    @property
    def given(self) -> Sequence[Node | Array]:
        """The arguments of the op."""
        return self.child.args

    @property
    def called(self) -> Mapping[str, str]:
        """What the op's arguments are called."""
        return self.child.called

    @cached_property
    def args(self) -> list[Array]:
        """The values of the op's arguments."""
        return [self.run.value(a) if isinstance(a, Node) else a for a in self.given]

    @cached_property
    def out(self) -> Array:
        """The child's value."""
        return self.run.value(self.child)

    @property
    def alike(self) -> bool:
        """Whether child and parent have one shape."""
        return self.child.shape == self.parent.shape

    def rule(self, out: Array, args: list[Array]) -> Jacobian:
        """The edge's own rule at other values."""
        assert self.op is not None
        assert self.place is not None
        return self.op.jacobian(self.place, out, args)

    def mutant(
        self,
        name: object,
        kind: str,
        says: str,
        made: Callable[[], Jacobian],
        *,
        rank: int = 3,
        where: str = "",
        by_sign: bool = False,
    ) -> Mutant:
        """A mutant that changes this link alone."""
        change = Change(self.child, self.parent, made, self.right)
        key, rank = (*self.key, kind, name), rank + self.unlikely
        changes = (change,)
        return Mutant(key, kind, where or self.where, says, rank, changes, by_sign, self.generator)

    def mutants(self, generator: Catalogued) -> list[Mutant]:
        """What one generator makes here."""
        self.generator = generator
        made = list(generator(self))
        self.generator = None
        return made

    def takes(self, generator: Catalogued) -> bool:  # noqa: ARG002 (links of several steps ask)
        """Whether the mistakes of a generator can be made here."""
        return True


LINKS: list[Catalogued] = []
"""The mistakes that can be made at a link, in the order of the modules."""

OnTheWay: TypeAlias = Callable[["Way"], Iterable["Mutant"]]
"""A generator of the mistakes of one sort on a whole way."""

ON_THE_WAY: list[OnTheWay] = []
"""The mistakes that change several links at once, or that know what is above."""

COMPOSITE: set[Catalogued] = set()
"""Those that are also made where several steps together are a known function."""


def mistake(generator: Catalogued) -> Catalogued:
    """Register a mistake that can be made at a link."""
    LINKS.append(generator)
    return generator


def also_composite(generator: Catalogued) -> Catalogued:
    """Register a mistake that is also made where steps are taken together."""
    COMPOSITE.add(generator)
    return generator


class Way(NamedTuple):
    """The way from ``wrt`` to ``of``: the nodes inside (``of`` the last), and the links there."""

    run: Run
    of: Node
    wrt: Node
    inside: Sequence[Node]
    edges: Mapping[Node, Sequence[Link]]
    users: Mapping[Node, Sequence[Link]]

    @property
    def reached(self) -> Sequence[Node]:
        """The nodes inside, and ``wrt`` before them."""
        return self.wrt, *self.inside

    def uses(self, node: Node) -> list[Link]:
        """The links from a node to those inside."""
        return [link for link in self.users[node] if link.child in self.inside]


def composed(outer: Link, inner: Link) -> Link:
    """Two steps taken together."""
    made = partial(Jacobian.compose, outer.jacobian, inner.jacobian)
    return Link(outer.run, outer.child, inner.parent, made)


def on_the_way(generator: OnTheWay) -> OnTheWay:
    """Register a mistake that can be made on a whole way."""
    ON_THE_WAY.append(generator)
    return generator


def together(
    changed: Iterable[tuple[Link, Callable[[], Jacobian]]],
    *,
    key: tuple[object, ...],
    kind: str,
    where: str,
    says: str,
    rank: int,
) -> Mutant:
    """The mutant that changes several links."""
    changes = tuple(Change(link.child, link.parent, made, link.right) for link, made in changed)
    return Mutant((*key, kind), kind, where, says, rank, changes)


# --- names ------------------------------------------------------------------------------------


def home(node: Node) -> Node:
    """The named node in whose formula an unnamed one stands (the first, where it is in several)."""
    graph = node.graph
    while not node.named and node.op is not None:
        below = [graph[name] for name in graph.dag.successors(node.name)]
        if not below:
            break
        node = min(below, key=lambda one: one.number)
    return node


def place_name(child: Node, parent: Node) -> str:
    """``child<-parent`` in terms of named nodes; the node alone for what is inside its formula."""
    owner = home(child)
    return f"{owner.name}<-{parent.name}" if parent.named or parent.op is None else owner.name


def called(arg: Node | Array) -> str:
    """What an argument is called in a sentence."""
    return (arg.name if arg.named else arg.formula) if isinstance(arg, Node) else "a number"


# --- changes ----------------------------------------------------------------------------------


def drop(link: Link) -> Changed:
    """No influence."""
    return scaled(link, 0.0)


def scaled(link: Link, scale: float) -> Changed:
    """The Jacobian times a number."""
    return Changed(link.parent.shape, link.right, float(scale))


def slopes(link: Link, weights: Weights) -> Changed:
    """A diagonal Jacobian, between values of one shape."""
    return Changed(link.parent.shape, above=weights)


def rows_times(link: Link, weights: Weights) -> Changed:
    """The Jacobian with weights for its rows, in the shape of the child."""
    return Changed(link.parent.shape, link.right, above=weights)


def columns_times(link: Link, weights: Weights) -> Changed:
    """The Jacobian with weights for its columns, in the shape of the parent."""
    return Changed(link.parent.shape, link.right, below=weights)


def of_node(
    node: Node, links: Iterable[Link], name: object, kind: str, says: str, rank: int
) -> Mutant:
    """The mutant that cuts all ``links``."""
    changes = tuple(Change(link.child, link.parent, drop(link), link.right) for link in links)
    return Mutant((node.number, kind, name), kind, node.name, says, rank, changes)


def sizes_of(graph: Graph) -> Iterator[int]:
    """The different sizes of axes of the graph's nodes, from 2 on."""
    return iter(sorted({size for node in graph.nodes for size in node.shape if size > 1}))


def one_entry(shape: Sequence[int], axis: int, place: int) -> Array:
    """A mask of ``shape`` that is 1 at one place along an axis."""
    mask = np.zeros(shape)
    mask[(slice(None),) * axis + (place,)] = 1.0
    return mask


def diagonal(part: Term) -> bool:
    """Whether a term's entries stand on the diagonal alone."""
    return len(part.out.axes) == len(part.into.axes) and all(
        a.label == b.label and key_of(a.at) == key_of(b.at)
        for a, b in zip(part.out.axes, part.into.axes, strict=True)
    )


def with_factor(jacobian: Jacobian, k: int, f: int, changed: Factor) -> Jacobian:
    """A Jacobian with factor ``f`` of term ``k`` replaced."""
    part = jacobian.terms[k]
    factors = (*part.factors[:f], changed, *part.factors[f + 1 :])
    terms = (*jacobian.terms[:k], replace(part, factors=factors), *jacobian.terms[k + 1 :])
    return replace(jacobian, terms=terms)


def usable(make: Callable[[], Jacobian]) -> Jacobian | None:
    """The Jacobian of a mutant; None where it does not exist or is not finite."""
    try:
        with np.errstate(all="ignore"):
            made = make()
    except (GraphEngineError, ValueError, np.linalg.LinAlgError, ArithmeticError):
        return None
    return made if finite(made) else None


def finite(jacobian: Jacobian) -> bool:
    """Whether all numbers of a Jacobian are."""
    return all(np.isfinite(f.array).all() for part in jacobian.terms for f in part.factors)
