"""Good points: where a mistake shows and rounding does not.

Numbers have both signs, sizes between 0.3 and 2, and are neither equal nor near 0 or 1; sizes of
axes are unequal and change from point to point, a batch has at least 3; no op stands at a kink
and every value is finite.  Start nodes that are not ``real`` keep to their kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import networkx as nx
import numpy as np

from graphengine.errors import CheckError, GraphEngineError
from graphengine.graph import Graph, Node
from graphengine.ops.base import Array, Op, Shape
from graphengine.run import Run

__all__ = ["Drawn", "HasSizes", "clearance", "draw", "points", "sample"]

NEAR = 1e-3
"""An op is at a kink where its margin is less than this, relative to its largest argument.

With many entries some are always nearer than that; from 50 entries on it is 0.05 / entries.
"""
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
    def values(self) -> Mapping[str, Array]: ...  # noqa: D102
    @property
    def sizes(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def free_sizes(self) -> Iterable[str]: ...  # noqa: D102
    def at(self, sizes: Mapping[str, int]) -> Graph: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Drawn:
    """A point: sizes, the graph at these sizes, values of its start nodes, and the run there.

    ``troubles`` says, by node, what could not be avoided: a kink, a value that is not finite.
    ``clearance`` is the smallest relative margin of all kinks.
    """

    sizes: Mapping[str, int]
    graph: Graph
    values: Mapping[str, Array]
    run: Run
    troubles: Mapping[str, str] = field(default_factory=dict)
    clearance: float = math.inf


# --- values of one start node -----------------------------------------------------------------


@dataclass(frozen=True)
class _Regime:
    """How real numbers are drawn; later ones keep graphs with logarithms and roots finite."""

    scale: float = 1.0
    positive: bool = False


_REGIMES = (
    _Regime(),
    _Regime(scale=0.4),
    _Regime(positive=True),
    _Regime(scale=0.4, positive=True),
    _Regime(scale=0.1),
)


def _magnitudes(rng: np.random.Generator, shape: Shape) -> Array:
    """Between 0.3 and 2, and not near 1."""
    u = rng.uniform(0.0, 1.6, shape)
    return 0.3 + u + np.where(u > 0.6, 0.1, 0.0)


def _signs(rng: np.random.Generator, shape: Shape) -> Array:
    """−1 and 1, both of them where there are two entries."""
    size = math.prod(shape)
    signs = rng.choice([-1.0, 1.0], size)
    if size > 1:
        signs[:2] = [-1.0, 1.0]
    return rng.permutation(signs).reshape(shape)


def _real(rng: np.random.Generator, shape: Shape) -> Array:
    return _magnitudes(rng, shape) * _signs(rng, shape)


def _one_hot(rng: np.random.Generator, shape: Shape) -> Array:
    classes = shape[-1]
    return np.asarray(np.eye(classes)[_labels(rng, shape[:-1], classes)])


def _labels(
    rng: np.random.Generator, shape: Shape, classes: int
) -> np.ndarray[Shape, np.dtype[np.intp]]:
    """Every class as often as every other, as far as it goes, in random order."""
    size = math.prod(shape)
    if size == 1:
        return rng.integers(0, classes, shape)
    return rng.permutation((np.arange(size) + rng.integers(classes)) % classes).reshape(shape)


def _probability(rng: np.random.Generator, shape: Shape) -> Array:
    weights = _magnitudes(rng, shape)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _symmetric(rng: np.random.Generator, shape: Shape) -> Array:
    upper = np.triu(_real(rng, shape))
    return np.asarray(upper + np.swapaxes(np.triu(upper, 1), -1, -2))


def _positive_definite(rng: np.random.Generator, shape: Shape) -> Array:
    """Eigenvalues between 0.5 and 2.5 in random directions."""
    turned, _ = np.linalg.qr(rng.normal(size=shape))
    product = (
        turned * rng.uniform(0.5, 2.5, (*shape[:-2], 1, shape[-1])) @ np.swapaxes(turned, -1, -2)
    )
    return np.asarray((product + np.swapaxes(product, -1, -2)) / 2)


_SAMPLERS: Mapping[str, Callable[[np.random.Generator, Shape], Array]] = {
    "real": _real,
    "positive": _magnitudes,
    "one_hot": _one_hot,
    "probability": _probability,
    "symmetric": _symmetric,
    "positive_definite": _positive_definite,
    "binary": lambda rng, shape: (_signs(rng, shape) + 1) / 2,
    "sign": _signs,
}
_LAST_AXIS = {"one_hot", "probability"}
_SQUARE = {"symmetric", "positive_definite"}


def _value(node: Node, rng: np.random.Generator, regime: _Regime, scale: float) -> Array:
    shape = node.shape
    if node.kind in _LAST_AXIS and not (shape and shape[-1]):
        raise _unfit(node, "a last axis")
    if node.kind in _SQUARE and (len(shape) < 2 or shape[-1] != shape[-2]):
        raise _unfit(node, "two last axes of equal size")
    if node.kind == "label":
        return _labels(rng, shape, _classes(node)).astype(float)
    array = _SAMPLERS[node.kind](rng, shape)
    if node.kind == "real":
        array = array * (scale * regime.scale)
        return np.abs(array) if regime.positive else array
    return array


def _unfit(node: Node, expected: str) -> CheckError:
    return CheckError(
        f"node {node.name!r}",
        expected=f"{expected}, for kind {node.kind!r}",
        got=f"shape {node.shape}",
        hint="change the node's kind or its shape",
    )


def _classes(label: Node) -> int:
    """How many classes a label may name: what the ops that take it have room for."""
    same, bounds = {label}, []
    for node in label.graph.nodes[label.number + 1 :]:
        taken = [
            place for place, arg in enumerate(node.args) if arg in same and isinstance(arg, Node)
        ]
        if not taken or node.op is None:
            continue
        if hasattr(node.op, "classes"):
            bounds.append(int(node.op.classes))
        elif node.op.family == "rearrangement" and node.op.argument(taken[0]) not in node.op.fixed:
            same.add(node)
        elif any(node.op.argument(place) in node.op.fixed for place in taken):
            others = [arg.shape for place, arg in enumerate(node.args) if place not in taken]
            axis = getattr(node.op, "axis", -1)
            bounds += [shape[-1 if axis is None else axis] for shape in others if shape]
    return min(bounds, default=3)


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
    tops: Iterable[str] | None = None,
    like: Mapping[str, Array] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Drawn:
    """A good point of ``graph``: drawn again until all is finite and away from kinks.

    Only nodes that one of ``tops`` (default: any node) depends on are looked at.  Real start
    nodes in ``like`` get the magnitude of the values there; wide ones without get smaller
    numbers, so that sums over them do not saturate what follows.  When no try succeeds, the
    one with the fewest troubles is returned.
    """
    watched = _watched(graph, tops)
    starts = [node for node in graph.starts if node.role != "constant"]
    scales = {node: _scale(node, (like or {}).get(node.name)) for node in starts}
    entries = 1 + sum(node.size for node in graph.nodes)
    best: Drawn | None = None
    broken = 0
    for _ in range(max(6, min(40, WORK // entries))):
        regime = _REGIMES[min(broken // 6, len(_REGIMES) - 1)]
        values = {node.name: _value(node, rng, regime, scales[node]) for node in starts}
        run = graph.run(values)
        troubles, margin, finite = _inspect(run, watched)
        broken += not finite
        if best is None or len(troubles) < len(best.troubles):
            best = Drawn(dict(sizes or {}), graph, values, run, troubles, margin)
        if not troubles:
            break
    assert best is not None
    return best


def _scale(node: Node, like: Array | None) -> float:
    if like is not None and np.any(like):
        return float(np.sqrt(np.mean(np.square(like[like != 0]))))
    width = node.shape[-1] if node.shape else 1
    return math.sqrt(min(1.0, 8 / max(width, 1)))


def _watched(graph: Graph, tops: Iterable[str] | None) -> list[Node]:
    if tops is None:
        return graph.nodes
    names: set[str] = set()
    for top in tops:
        names |= {top, *nx.ancestors(graph.dag, top)}
    return [node for node in graph.nodes if node.name in names]


def _inspect(run: Run, nodes: Sequence[Node]) -> tuple[dict[str, str], float, bool]:
    """What is wrong with a point, the smallest relative margin, and whether all is finite."""
    troubles: dict[str, str] = {}
    broken: set[Node] = set()
    smallest = math.inf
    for node in nodes:
        what = f"{node.name} = {node.formula}" if node.formula else node.name
        if any(parent in broken for parent in node.parents):
            broken.add(node)
        elif not np.isfinite(run.value(node)).all():
            broken.add(node)
            troubles[node.name] = f"{what} is not finite"
        elif node.op is not None:
            args = [run.value(arg) if isinstance(arg, Node) else arg for arg in node.args]
            margin, near = clearance(node.op, args)
            smallest = min(smallest, margin)
            if margin < near:
                troubles[node.name] = f"{what} is at a kink or a tie"
    return troubles, smallest, not broken


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
    tops = {of for of, _ in claims} or None
    if isinstance(source, Graph):
        return _fixed(source, rng, count, tops, {}, {}, _work(source, claims))
    found: list[Drawn] = []
    work = _work(source.graph, claims)
    own = dict(source.sizes)
    if vary_sizes and tuple(source.free_sizes):
        if work <= OWN_WORK:
            found += _fixed(source.graph, rng, 1, tops, source.values, own, work)
        for sizes, graph in _resized(source, rng, count - len(found)):
            found.append(draw(graph, rng, tops=tops, sizes=sizes))
    if len(found) < count and (work <= OWN_WORK or not found):
        left = count - len(found)
        found += _fixed(source.graph, rng, left, tops, source.values, own, work)
    return found


def _fixed(
    graph: Graph,
    rng: np.random.Generator,
    count: int,
    tops: Iterable[str] | None,
    like: Mapping[str, Array],
    sizes: Mapping[str, int],
    work: int,
) -> list[Drawn]:
    fitting = max(1, min(count, WORK // max(work, 1)))
    return [draw(graph, rng, tops=tops, like=like, sizes=sizes) for _ in range(fitting)]


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
