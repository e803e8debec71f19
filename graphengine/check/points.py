"""Good points: where a mistake shows and rounding does not.

Numbers have both signs, sizes between 0.3 and 2, and are neither equal nor near 0 or 1; sizes of
axes are unequal and change from point to point, a batch has at least 3; no op stands at a kink
and every value is finite.  Start nodes that are not ``real`` keep to their kind.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import networkx as nx
import numpy as np

from graphengine.check.kinds import REGIMES, value
from graphengine.check.reference import path
from graphengine.errors import GraphEngineError
from graphengine.graph import Graph, Node
from graphengine.ops.base import Array, Op
from graphengine.run import Run

__all__ = ["Drawn", "HasSizes", "clearance", "draw", "points", "sample"]

NEAR = 1e-3
"""An op is at a kink where its margin is less than this, relative to its largest argument.

With many entries some are always nearer than that; from 50 entries on it is 0.05 / entries.
"""
DROWNING = 3e-3
"""Terms with a constant factor below this are also looked at with a larger one."""
OWN_WORK = 500_000
"""A spec whose sizes are free is also checked at its own sizes where that takes at most so many
numbers (values of nodes, entries of claims)."""
WORK = 5_000_000
"""All points of a graph whose sizes are fixed take together at most so many, or there is one."""


class HasSizes(Protocol):
    """A graph for any sizes: a spec.  See :class:`graphengine.spec.Spec`."""

    @property
    def graph(self) -> Graph: ...  # noqa: D102 (see the class)
    @property
    def values(self) -> Mapping[str, Array]: ...  # noqa: D102 (see the class)
    @property
    def sizes(self) -> Mapping[str, int]: ...  # noqa: D102 (see the class)
    @property
    def free_sizes(self) -> Iterable[str]: ...  # noqa: D102 (see the class)
    def at(self, sizes: Mapping[str, int]) -> Graph: ...  # noqa: D102 (see the class)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A point: sizes, the graph at these sizes, values of its start nodes, and the run there.

    ``troubles`` says, by node, what could not be avoided: a kink, a value that is not finite.
    ``clearance`` is the smallest relative margin of all kinks.  ``rescaled`` says that tiny or
    huge constants have another value here, so that no term drowns.
    """

    sizes: Mapping[str, int]
    graph: Graph
    values: Mapping[str, Array]
    run: Run
    troubles: Mapping[str, str] = field(default_factory=dict)
    clearance: float = math.inf
    rescaled: bool = False


# --- a point --------------------------------------------------------------------------------


def sample(graph: Graph, *, seed: int | np.random.Generator = 0) -> dict[str, Array]:
    """Values for the inputs and parameters of ``graph`` at a good point; constants keep theirs.

    >>> import graphengine as ge
    >>> g = ge.Graph()
    >>> x, y = g.input("x", (3,)), g.input("y", (4, 2), kind="one_hot")
    >>> {name: value.shape for name, value in sample(g, seed=1).items()}
    {'x': (3,), 'y': (4, 2)}

    Raises :class:`CheckError` for a kind that does not fit its node's shape.
    """
    return dict(draw(graph, np.random.default_rng(seed)).values)


def draw(
    graph: Graph,
    rng: np.random.Generator,
    *,
    claims: Sequence[tuple[str, str]] = (),
    like: Mapping[str, Array] | None = None,
    sizes: Mapping[str, int] | None = None,
    rescale: bool = False,
) -> Drawn:
    """A good point of ``graph``: drawn again until all is finite and away from kinks.

    With ``claims``, pairs (of, wrt), only the first of each must be finite, and only what lies
    between the two must be away from kinks; without, all nodes.  Real start nodes in ``like``
    get the magnitude of the values there; wide ones without get smaller numbers, so that sums
    over them do not saturate what follows.  With ``rescale`` constants that are tiny or huge
    numbers get values near 1.  When no try succeeds, the
    one with the fewest troubles is returned.
    """
    tops, smooth = _watched(graph, claims)
    starts = [node for node in graph.starts if node.role != "constant"]
    scales = {node: _scale(node, (like or {}).get(node.name)) for node in starts}
    tiny = [node for node in graph.starts if _drowns(node)] if rescale else []
    entries = 1 + sum(node.size for node in graph.nodes)
    best: Drawn | None = None
    broken = 0
    for _ in range(max(6, min(40, WORK // entries))):
        regime = REGIMES[min(broken // 6, len(REGIMES) - 1)]
        values = {node.name: value(node, rng, regime, scales[node]) for node in starts}
        values |= {node.name: _near_one(node, rng) for node in tiny}
        run = graph.run(values)
        troubles, margin, whole = _inspect(run, tops, smooth)
        broken += not whole
        if best is None or len(troubles) < len(best.troubles):
            moved = bool(tiny)
            best = Drawn(dict(sizes or {}), graph, values, run, troubles, margin, moved)
        if not troubles:
            break
    assert best is not None
    return best


def _drowns(node: Node) -> bool:
    """Whether a constant is a number whose terms are far smaller or larger than the others."""
    if node.role != "constant" or node.shape or node.value is None:
        return False
    return 0 < abs(float(node.value)) < DROWNING or abs(float(node.value)) > 1 / DROWNING


def _near_one(node: Node, rng: np.random.Generator) -> Array:
    assert node.value is not None
    return np.asarray(np.sign(node.value) * rng.uniform(0.3, 0.9))


def _scale(node: Node, like: Array | None) -> float:
    if like is not None and np.any(like):
        return float(np.sqrt(np.mean(np.square(like[like != 0]))))
    width = node.shape[-1] if node.shape else 1
    return math.sqrt(min(1.0, 8 / max(width, 1)))


def _watched(
    graph: Graph, claims: Sequence[tuple[str, str]]
) -> tuple[list[Node], Collection[Node]]:
    """The nodes whose values must be finite, and those that must be away from kinks."""
    if not claims:
        parents = {parent for node in graph.nodes for parent in node.parents}
        return [node for node in graph.nodes if node not in parents], graph.nodes
    smooth: set[Node] = set()
    for of, wrt in claims:
        smooth.update(path(graph, graph[of], graph[wrt]))
    return [graph[of] for of in dict.fromkeys(of for of, _ in claims)], smooth


def _inspect(
    run: Run, tops: Sequence[Node], smooth: Collection[Node]
) -> tuple[dict[str, str], float, bool]:
    """What is wrong with a point, the smallest relative margin, and whether all is finite."""
    troubles: dict[str, str] = {}
    for top in tops:
        if not np.isfinite(run.value(top)).all():
            troubles |= {node.name: f"{_what(node)} is not finite" for node in _origins(run, top)}
    whole = not troubles
    smallest = math.inf
    for node in smooth:
        if node.op is not None:
            args = [run.value(arg) if isinstance(arg, Node) else arg for arg in node.args]
            margin, near = clearance(node.op, args)
            smallest = min(smallest, margin)
            if margin < near:
                troubles.setdefault(node.name, f"{_what(node)} is at a kink or a tie")
    return troubles, smallest, whole


def _origins(run: Run, top: Node) -> list[Node]:
    """The nodes above ``top``, itself included, at which values stop being finite."""
    names = {top.name, *nx.ancestors(run.graph.dag, top.name)}
    broken = {
        node
        for node in run.graph.nodes
        if node.name in names and not np.isfinite(run.value(node)).all()
    }
    return [node for node in broken if not broken.intersection(node.parents)]


def _what(node: Node) -> str:
    return f"{node.name} = {node.formula}" if node.formula else node.name


def clearance(op: Op, args: Sequence[Array]) -> tuple[float, float]:
    """How far ``args`` are from a kink of ``op`` relative to the largest of them (arguments
    without a derivative aside), and how far they must be.
    """
    margin = op.margin(*args)
    if margin == math.inf:
        return margin, 0.0
    free = [np.abs(arg) for k, arg in enumerate(args) if op.argument(k) not in op.fixed]
    largest = max((float(np.max(a[np.isfinite(a)], initial=0.0)) for a in free), default=0.0)
    entries = max((arg.size for arg in free), default=1)
    return margin / (largest or 1.0), min(NEAR, 0.05 / max(entries, 1))


# --- several points -----------------------------------------------------------------------------


def points(
    source: Graph | HasSizes,
    rng: np.random.Generator,
    count: int,
    *,
    claims: Sequence[tuple[str, str]] = (),
    vary_sizes: bool = True,
) -> list[Drawn]:
    """``count`` good points of a graph, or of a spec at sizes that change from point to point.

    ``claims`` are the pairs (of, wrt) that will be compared: they say which nodes matter and
    how much work a point is.  The spec's own sizes are the first point where that is cheap.
    Where sizes are fixed all points are at the graph's own, and fewer when they are large.
    """
    if isinstance(source, Graph):
        return _fixed(source, rng, count, claims, {}, {})
    found: list[Drawn] = []
    work = _work(source.graph, claims)
    own = dict(source.sizes)
    if vary_sizes and tuple(source.free_sizes):
        if work <= OWN_WORK:
            found += _fixed(source.graph, rng, 1, claims, source.values, own)
        for sizes, graph in _resized(source, rng, count - len(found)):
            rescale = len(found) % 2 == 1
            found.append(draw(graph, rng, claims=claims, sizes=sizes, rescale=rescale))
    if len(found) < count and (work <= OWN_WORK or not found):
        left = count - len(found)
        found += _fixed(source.graph, rng, left, claims, source.values, own)
    return found


def _fixed(
    graph: Graph,
    rng: np.random.Generator,
    count: int,
    claims: Sequence[tuple[str, str]],
    like: Mapping[str, Array],
    sizes: Mapping[str, int],
) -> list[Drawn]:
    fitting = max(1, min(count, WORK // max(_work(graph, claims), 1)))
    # The magnitudes of the given values may saturate a graph: every other point has its own.
    return [
        draw(
            graph,
            rng,
            claims=claims,
            like=like if k % 2 == 0 else None,
            sizes=sizes,
            rescale=k % 2 == 1,
        )
        for k in range(fitting)
    ]


def _work(graph: Graph, claims: Sequence[tuple[str, str]]) -> int:
    return sum(node.size for node in graph.nodes) + sum(
        graph[of].size * graph[wrt].size for of, wrt in claims
    )


def _resized(
    spec: HasSizes, rng: np.random.Generator, count: int
) -> Iterator[tuple[dict[str, int], Graph]]:
    """The spec at ``count`` different choices of sizes from 2 on, no two letters alike."""
    free = sorted(spec.free_sizes)
    fixed = {size for letter, size in spec.sizes.items() if letter not in free}
    pool = [n for n in range(2, 3 + len(fixed) + max(4, count, len(free))) if n not in fixed]
    seen = {tuple(spec.sizes[letter] for letter in free)}
    for _ in range(20 * count):
        if len(seen) > count:
            return
        chosen = tuple(int(n) for n in rng.permutation(pool)[: len(free)])
        if chosen in seen:
            continue
        sizes = {**spec.sizes, **dict(zip(free, chosen, strict=True))}
        try:
            graph = spec.at(sizes)
        except GraphEngineError:  # formulas may ask for more than a size that is at least 2
            continue
        if not _small_batch(graph):
            seen.add(chosen)
            yield sizes, graph


def _small_batch(graph: Graph) -> bool:
    """Whether an input of several axes has fewer than 3 along its first one."""
    return any(
        node.role == "input" and len(node.shape) > 1 and node.shape[0] < 3 for node in graph.starts
    )
