"""Random programs of all families of ops, at several points, from arrays that lie in many ways.

The ways that are meant for large arrays are also taken for small ones here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphengine as ge
from graphengine.errors import GraphEngineError
from graphengine.flat import distribution, merging, statements, storage, structure
from graphengine.graph import Graph, Node
from graphengine.run import Run

from .programs import Array, plain

COUNT = 70
"""Programs for each test."""
LARGEST = 200
"""Entries of a node."""
ORDERS: Any = ["auto", "forward", "reverse"]


@pytest.fixture(autouse=True, scope="module", params=["as they are", "small ones count as large"])
def _limits(request: pytest.FixtureRequest) -> Iterator[None]:
    lower: Mapping[Any, dict[str, float]] = {
        merging: {"LARGE": 2},
        storage: {"MANY": 1, "LEAST": 3},
        statements: {"BROADCAST": 4, "SHORT": 8, "ROW": 20, "EACH": 4, "BLOCKED": 12},
        structure: {"CALL": 1.0, "ENTRY": 0.1},
        distribution: {"WORTH": 0.0},
    }
    with pytest.MonkeyPatch.context() as patch:
        for module, limits in lower.items() if request.param != "as they are" else ():
            for name, value in limits.items():
                patch.setattr(module, name, value)
        yield


# --- programs -----------------------------------------------------------------------------


class Scene(NamedTuple):
    graph: Graph
    nodes: list[Node]
    seed: int


Rule = Callable[[Node, Node, np.random.Generator], Node]


def _axis(a: Node, rng: np.random.Generator) -> int:
    return int(rng.integers(-a.ndim, a.ndim))


def _picked(a: Node, rng: np.random.Generator) -> Node:
    """Slices along one axis, by a table with repeats or by an order of them all."""
    axis = int(rng.integers(a.ndim))
    n = a.shape[axis]
    table = rng.permutation(n) if rng.random() < 0.5 else rng.integers(-n, n, 3)
    return a[(*[slice(None)] * axis, table)]


def _square(a: Node) -> Any:
    """A matrix with an inverse."""
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(a.shape)
    return ge.tanh(a) * (0.3 / a.shape[0]) + 2 * np.eye(a.shape[0])


def _positive(a: Node) -> Any:
    return _square(a) @ _square(a).T


OF_ONE: list[Callable[[Node], Node]] = [
    *(ge.tanh, ge.sin, ge.sigmoid, ge.square, ge.softplus, ge.relu, ge.abs, ge.gelu, ge.expm1),
    lambda a: -a,
    lambda a: 0.5 * a + 1.0,
    lambda a: 1.0 / (2.0 + ge.cos(a)),
    lambda a: ge.clip(a, -0.5, 0.7),
    lambda a: 0.1 * a**3,
]
OF_TWO: list[Callable[[Node, Node], Node]] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (2.0 + b * b),
    lambda a, b: ge.where(a > b, a, 2.0 * b),
    ge.maximum,
    lambda a, b: a @ b,
    lambda a, b: a @ b.T,
    lambda a, b: a.T @ b,
    lambda a, b: a[..., :, None] * b[..., None, :],
    lambda a, b: 0.5 * a + b @ b.T,
    lambda a, b: a - ge.outer(b, b),
    lambda a, b: ge.concatenate([a, b, a], axis=0),
    lambda a, b: ge.stack([a, b], axis=-1),
    lambda a, b: ge.solve(_square(a), b),
    lambda a, b: ge.solve(_positive(a), b),
    lambda a, b: ge.inv(_positive(a)) @ b,
    lambda a, b: ge.solve(ge.cholesky(_positive(a)), b),
    lambda a, b: ge.logdet_pd(_positive(a)) * b,
]
MOVED: list[Rule] = [
    lambda a, b, rng: a.T,
    lambda a, b, rng: ge.transpose(a, axes=tuple(rng.permutation(a.ndim).tolist())),
    lambda a, b, rng: ge.reshape(a, (a.shape[-1], -1)),
    lambda a, b, rng: ge.reshape(a.T, (-1, *a.shape[:-1])),
    lambda a, b, rng: ge.vec(a),
    lambda a, b, rng: a[::-1],
    lambda a, b, rng: a[..., ::2],
    lambda a, b, rng: a[None],
    lambda a, b, rng: _picked(a, rng),
    lambda a, b, rng: ge.broadcast_to(a, np.broadcast_shapes(a.shape, b.shape)),
]
REDUCED: list[Rule] = [
    lambda a, b, rng: ge.sum(a, axis=_axis(a, rng)),
    lambda a, b, rng: ge.sum(a, axis=_axis(a, rng), keepdims=True),
    lambda a, b, rng: ge.mean(a, axis=_axis(a, rng)),
    lambda a, b, rng: ge.max(a, axis=_axis(a, rng)),
    lambda a, b, rng: ge.logsumexp(a, axis=_axis(a, rng)),
    lambda a, b, rng: ge.norm(a, axis=_axis(a, rng)),
    lambda a, b, rng: ge.softmax(a, axis=_axis(a, rng)),
    lambda a, b, rng: ge.sum(a * a),
]
RULES: list[Rule] = [
    *((lambda a, b, rng, f=f: f(a)) for f in OF_ONE),  # type: ignore[misc]  # bound at once
    *((lambda a, b, rng, f=f: f(a, b)) for f in OF_TWO for _ in range(2)),  # type: ignore[misc]
    *MOVED,
    *REDUCED,
]


def program(seed: int) -> Scene:
    """Up to four start nodes, perhaps a constant, and what can be made of them."""
    rng = np.random.default_rng(seed)
    graph = Graph("random")
    n, m, k = rng.choice([1, 2, 3, 4, 5], 3).tolist()
    pool = [(), (n,), (n, m), (n, n), (m, n), (1, m), (k, n), (k, n, m), (k, 1, m), (n, m, 1)]
    starts = [
        graph.parameter(f"x{place}", pool[rng.integers(len(pool))])
        for place in range(rng.integers(1, 5))
    ]
    nodes: list[Node] = [*starts]
    if rng.random() < 0.5:
        nodes.append(graph.constant("c", rng.uniform(-1, 1, pool[rng.integers(len(pool))])))
    made: list[Node] = []
    for _ in range(60):
        recent = nodes[-4:] if rng.random() < 0.6 else nodes
        a, b = recent[rng.integers(len(recent))], nodes[rng.integers(len(nodes))]
        try:
            node = RULES[rng.integers(len(RULES))](a, b, rng)
        except (GraphEngineError, ValueError, IndexError):
            continue  # shapes that do not fit
        if node.size <= LARGEST and node.op is not None:
            made.append(graph.node(f"n{len(made)}", node) if rng.random() < 0.3 else node)
            nodes.append(made[-1])
        if len(made) == 14:
            break
    return Scene(graph, made or starts, seed)


# --- points -------------------------------------------------------------------------------


def laid_out(value: Array, kind: int) -> Any:
    """The same numbers in memory as others have them: by columns, with gaps, backwards."""
    if value.ndim == 0:
        return plain(value)
    if kind == 1:
        return np.asfortranarray(value)
    if kind == 2:
        return np.repeat(value, 2, axis=-1)[..., ::2]
    return value[::-1].copy()[::-1] if kind == 3 else value.copy()


def points(scene: Scene) -> Iterator[tuple[dict[str, Any], Run]]:
    """Two points and the first one again: what a call leaves behind shows in the next."""
    for turn, seed in enumerate((scene.seed, scene.seed + 1, scene.seed)):
        rng = np.random.default_rng(seed)
        values = {
            x.name: rng.uniform(-1.2, 1.2, x.shape) for x in scene.graph.starts if x.value is None
        }
        given_values = {
            name: laid_out(value, (turn + scene.seed) % 4) for name, value in values.items()
        }
        yield given_values, scene.graph.run(values)


def called(function: Any, values: Mapping[str, Any]) -> Any:
    """What a function returns; it leaves its arguments as they are."""
    kept = {name: np.copy(value) for name, value in values.items()}
    found = function(**{name: values[name] for name in function.inputs})
    assert all(np.array_equal(values[name], value) for name, value in kept.items())
    return found


def near(got: Any, want: Array, scale: float, what: str) -> None:
    """The same shape, and numbers to 1e-12 of a scale."""
    assert np.shape(got) == want.shape, what
    assert np.max(np.abs(got - want), initial=0.0) <= 1e-12 * scale, what


# --- tests --------------------------------------------------------------------------------


def values_and_gradients(scene: Scene) -> None:
    graph, nodes, seed = scene
    weights = np.random.default_rng(seed).normal(size=nodes[-1].shape)
    other = nodes[len(nodes) // 2]
    graph.result("J", ge.sum(nodes[-1] * weights) + ge.sum(ge.tanh(other)))
    wrt = [node.name for node in graph.nodes if node.named and node.value is None]
    outputs = ["J", *(node.name for node in nodes if node.named)]
    for reuse in (False, True):
        f = graph.compile(wrt=wrt, outputs=outputs, reuse=reuse)
        for values, run in points(scene):
            found = called(f, values)
            want = [*map(run.value, outputs), *map(run.gradient, wrt)]
            scale = max(np.max(np.abs(one), initial=1.0) for one in want)
            for name, got, one in zip([*outputs, *wrt], found, want, strict=True):
                near(got, one, scale, f"{name}, {reuse=}")


def jacobians(scene: Scene) -> None:
    graph, nodes, seed = scene
    top = nodes[-1] if nodes[-1].named else graph.node("top", nodes[-1])
    wrt = [node.name for node in graph.starts if node.value is None]
    order = ORDERS[seed % 3]
    for reuse in (False, True):
        jf = graph.compile_jacobian(top, wrt, order=order, reuse=reuse)
        for values, run in points(scene):
            for name, got in zip(wrt, called(jf, values), strict=True):
                want = run.jacobian(top, name).toarray()
                assert got.has_canonical_format
                scale = np.max(np.abs(want), initial=1.0)
                near(got.toarray(), want, scale, f"{name}, {order}, {reuse=}")


@pytest.mark.parametrize("check", [values_and_gradients, jacobians])
def test_random_programs(check: Callable[[Scene], None]) -> None:
    for seed in range(COUNT):
        try:
            check(program(seed))
        except Exception as error:
            error.add_note(f"program {seed}")
            raise
