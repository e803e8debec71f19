"""Runs: values, gradients and Jacobians at one point, by both directions of accumulation."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

import graphengine as ge
from graphengine.elimination import between, eliminated
from graphengine.errors import (
    GraphError,
    OpError,
    RuleError,
    ShapeError,
    TooLargeError,
    ValuesError,
)
from graphengine.graph import Graph, Node
from graphengine.jacobian import Jacobian, term
from graphengine.ops.base import Op
from graphengine.run import Run
from tests.strategies import Array, Scene, scenes

RNG = np.random.default_rng(17)


def softmax_regression() -> tuple[Graph, dict[str, Array]]:
    g = ge.Graph("softmax regression")
    x, y = g.input("x", (4,)), g.input("y", (3,))
    W, b = g.parameter("W", (3, 4)), g.parameter("b", (3,))
    lam = g.constant("lam", 0.1)
    z = g.node("z", W @ x)
    s = g.node("s", z + b)
    p = g.node("p", ge.softmax(s))
    loss = g.node("l", -ge.log(y @ p))
    r = g.node("r", ge.sum(W**2))
    g.result("J", loss + lam * r)
    values = {
        "x": RNG.normal(size=4),
        "y": np.array([0.0, 1.0, 0.0]),
        "W": RNG.normal(size=(3, 4)),
        "b": RNG.normal(size=3),
    }
    return g, values


# --- an independent reference -------------------------------------------------------------


def complex_value(graph: Graph, values: dict[str, Any], of: Node, moved: Node, x: Any) -> Any:
    """The value of ``of`` where ``moved`` is ``x``: every op's forward, one after the other."""
    found: dict[Node, Any] = {}
    for node in graph.nodes:
        if node is moved:
            found[node] = x
        elif node.op is None:
            found[node] = values.get(node.name, node.value)
        else:
            found[node] = node.op.forward(
                *(found[arg] if isinstance(arg, Node) else arg for arg in node.args)
            )
    return found[of]


def reference(graph: Graph, values: dict[str, Any], of: Node, wrt: Node) -> Array:
    """``∂of/∂vec(wrt)`` by complex step, from values alone."""
    at = np.asarray(graph.run(values).value(wrt), dtype=complex)
    matrix = np.zeros((of.size, wrt.size))
    for column in range(wrt.size):
        x = at.copy()
        x.reshape(-1)[column] += 1e-30j
        moved = complex_value(graph, values, of, wrt, x)
        matrix[:, column] = np.asarray(np.imag(moved) / 1e-30).reshape(-1)
    return matrix


def close(found: Any, expected: Any) -> bool:
    scale = np.max(np.abs(expected), initial=1.0)
    return bool(np.allclose(found, expected, rtol=0, atol=1e-11 * scale))


# --- the worked example -------------------------------------------------------------------


def test_gradients_of_the_worked_example() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    p = run.value("p")
    row = -v["y"] / (v["y"] @ p) @ (np.diag(p) - np.outer(p, p))
    assert close(run.gradient("b"), row)
    assert close(run.gradient("W"), np.outer(row, v["x"]) + 0.2 * v["W"])
    assert close(run.gradient("x"), row @ v["W"])
    assert close(run.gradient("lam"), np.sum(v["W"] ** 2))
    assert close(run.gradient("J"), 1.0)
    assert close(run.gradient("W", of="r"), 2 * v["W"])
    assert close(run.gradient("W", of=g["l"]), np.outer(row, v["x"]))


def test_jacobian_between_any_two_nodes_of_the_worked_example() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    for of in g:
        for wrt in g:
            matrix = run.jacobian(of, wrt)
            assert isinstance(matrix, sp.csr_array)
            assert matrix.has_canonical_format
            assert close(matrix.toarray(), reference(g, v, of, wrt)), (of, wrt)
            denominator = run.jacobian(of.name, wrt.name, "denominator")
            assert np.array_equal(denominator.toarray(), matrix.toarray().T)
            if of.size == 1:
                assert close(run.gradient(wrt, of).reshape(1, -1), matrix.toarray())


def test_edges_of_the_worked_example() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    assert str(run.local("z", "W")) == "I₃ ⊗ xᵀ"
    assert str(run.local("p", "s")) == "diag(p) − p pᵀ"
    assert str(run.local("r", g["r.1"])) == "1₁₂ᵀ"
    assert run.local("J", "l").toarray() == 1.0
    with pytest.raises(
        GraphError, match=r"edge J <- W: expected a parent of 'J' \(l, J\.1\), got 'W'"
    ):
        run.local("J", "W")
    with pytest.raises(GraphError, match="it has none"):
        run.local("W", "x")


# --- values -------------------------------------------------------------------------------


def test_values_of_the_worked_example() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    s = v["W"] @ v["x"] + v["b"]
    p = np.exp(s) / np.exp(s).sum()
    assert close(run.value("p"), p)
    assert close(run.value("J"), -np.log(p[1]) + 0.1 * np.sum(v["W"] ** 2))
    assert run.value("lam") == 0.1
    for node in g:
        value = run.value(node)
        assert isinstance(value, np.ndarray)
        assert value.dtype == np.float64
        assert value.shape == node.shape


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": None}, "graph 'softmax regression': expected values for all inputs and parameters"),
        ({"x": None, "b": None}, "got none for x, b"),
        ({"z": np.ones(3)}, "value of 'z': expected the name of a start node, got a computed node"),
        ({"w": np.ones(3)}, "value of 'w': expected the name of a start node, got no such node"),
        ({"lamb": 1.0}, "did you mean 'lam'"),
        ({"x": np.ones(3)}, "value of 'x': expected shape (4,), got shape (3,)"),
        ({"x": np.ones((4, 1))}, "value of 'x': expected shape (4,), got shape (4, 1)"),
        ({"x": 1.0}, "value of 'x': expected shape (4,), got shape ()"),
        ({"x": [1j] * 4}, "value of 'x': expected real numbers, got complex numbers"),
        ({"x": "four"}, "value of 'x': expected real numbers"),
        ({"x": [1.0, [2.0]]}, "value of 'x': expected numbers, got nested lists"),
        ({3: 1.0}, "value of 3: expected the name of a start node, got no such node"),
    ],
)
def test_values_that_do_not_fit(change: dict[str, Any], says: str) -> None:
    g, v = softmax_regression()
    values = {name: value for name, value in {**v, **change}.items() if value is not None}
    with pytest.raises(ValuesError) as error:
        g.run(values)
    assert says in str(error.value)


def test_a_constant_may_be_replaced() -> None:
    g, v = softmax_regression()
    run = g.run({**v, "lam": 0.0})
    assert close(run.value("J"), run.value("l"))
    assert g.run(v).value("lam") == 0.1


def test_values_are_copied_and_never_changed() -> None:
    g, v = softmax_regression()
    given_values = {name: value.copy() for name, value in v.items()}
    run = g.run(given_values)
    before = run.gradient("W").copy()
    given_values["W"][:] = 77.0
    assert np.array_equal(run.value("W"), v["W"])
    assert np.array_equal(run.jacobian("J", "W").toarray().ravel(), before.ravel())
    g.run(v).gradient("x")
    for name, value in v.items():
        assert value.flags.writeable
        assert np.array_equal(value, g.run(v).value(name))


def test_integers_lists_and_other_layouts_are_values() -> None:
    g = ge.Graph()
    x = g.input("x", (2, 3))
    g.result("J", ge.sum(x**2))
    whole = np.arange(6).reshape(2, 3)
    large = np.zeros((4, 6))
    large[::2, ::-2] = whole
    for given_value in (whole, whole.tolist(), whole.astype(np.float32), large[::2, ::-2]):
        run = g.run({"x": given_value})
        assert run.value("J") == 55.0
        assert np.array_equal(run.gradient("x"), 2.0 * whole)


def test_results_are_read_only() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    results = [run.value(node) for node in g] + [run.gradient(node) for node in g]
    results.append(run.gradient("W", of="s") if g["s"].size == 1 else run.gradient("b", of="r"))
    for result in results:
        assert isinstance(result, np.ndarray)
        with pytest.raises(ValueError, match="read-only"):
            result[...] = 0.0
    matrix = run.jacobian("s", "W")
    matrix.data[:] = 0.0  # a matrix is the caller's own
    assert run.jacobian("s", "W").toarray().any()


def test_gradients_are_asked_for_again_without_another_pass() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    assert run.gradient("W") is run.gradient("W")
    assert run.gradient("W") is run.gradient(g["W"], of="J")


def test_nodes_newer_than_the_run() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    late = g.node("late", g["s"] * 2)
    for ask in (
        lambda: run.value("late"),
        lambda: run.gradient("late"),
        lambda: run.jacobian(late, "b"),
        lambda: run.local("late", "s"),
        lambda: run.structured("J", late),
    ):
        with pytest.raises(
            GraphError, match=r"node 'late': .* got a newer one; run the graph again"
        ):
            ask()
    assert np.array_equal(g.run(v).jacobian("late", "b").toarray(), 2 * np.eye(3))
    assert close(run.gradient("J"), 1.0)


def test_unknown_nodes() -> None:
    g, v = softmax_regression()
    run = g.run(v)
    with pytest.raises(GraphError, match="'soft'"):
        run.value("soft")
    with pytest.raises(GraphError, match="graph 'softmax regression'"):
        run.gradient("bias")


# --- gradients ----------------------------------------------------------------------------


def test_nodes_without_influence_have_zero_gradients() -> None:
    g = ge.Graph()
    x, unused = g.input("x", (2,)), g.input("unused", (3, 2))
    monitor = g.node("monitor", ge.exp(x))
    J = g.result("J", ge.sum(x**2))
    later = g.node("later", J * unused)
    run = g.run({"x": [1.0, 2.0], "unused": np.ones((3, 2))})
    for node in (unused, monitor, later):
        gradient = run.gradient(node)
        assert np.array_equal(gradient, np.zeros(node.shape))
        assert gradient.shape == node.shape
        matrix = run.jacobian("J", node)
        assert (matrix.shape, matrix.nnz) == ((1, node.size), 0)
    assert run.structured("monitor", "J").terms == ()
    assert run.jacobian("x", "monitor").shape == (2, 2)


def test_only_one_entry_has_a_gradient() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    g.node("z", x * 2)
    g.node("one", ge.sum(x, keepdims=True))
    run = g.run({"x": [1.0, 2.0]})
    with pytest.raises(ShapeError) as error:
        run.gradient("x", of="z")
    assert str(error.value) == (
        "gradient of 'z': expected a node with one entry, got shape (2,); "
        "ask for run.jacobian('z', …)"
    )
    assert g["one"].shape == (1,)
    assert np.array_equal(run.gradient("x", of="one"), [1.0, 1.0])
    assert np.array_equal(run.gradient("one", of="one"), [1.0])


SHARED: list[tuple[str, Callable[[Any], Any], Callable[[Array], Array]]] = [
    ("x * x", lambda x: ge.sum(x * x), lambda x: 2 * x),
    ("x + x", lambda x: ge.sum(x + x), lambda x: np.full_like(x, 2.0)),
    ("x - x", lambda x: ge.sum(x - x), np.zeros_like),
    ("x / x", lambda x: ge.sum(x / x), np.zeros_like),
    ("xᵀx", lambda x: x @ x, lambda x: 2 * x),
    ("x³", lambda x: ge.sum(x * x * x), lambda x: 3 * x**2),
    ("xˣ", lambda x: ge.sum(x**x), lambda x: x**x * (np.log(x) + 1)),
    ("outer(x, x)", lambda x: ge.sum(ge.outer(x, x)), lambda x: np.full_like(x, 2 * x.sum())),
    ("concatenate", lambda x: ge.sum(ge.concatenate([x, x]) ** 2), lambda x: 4 * x),
    ("maximum(x, x)", lambda x: ge.sum(ge.maximum(x, x)), np.ones_like),
    (
        "diamond",
        lambda x: ge.sum((2 * x) * ge.exp(2 * x)),
        lambda x: 2 * np.exp(2 * x) * (1 + 2 * x),
    ),
]


@pytest.mark.parametrize(("make", "slope"), [s[1:] for s in SHARED], ids=[s[0] for s in SHARED])
def test_a_parent_taken_more_than_once(
    make: Callable[[Any], Any], slope: Callable[[Array], Array]
) -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.result("J", make(x))
    at = np.array([0.5, 1.25, 2.0])
    run = g.run({"x": at})
    assert close(run.gradient("x"), slope(at))
    assert close(run.jacobian("J", "x").toarray(), slope(at).reshape(1, -1))


def test_an_edge_taken_twice_is_the_sum_over_its_places() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    z = g.node("z", x * x)
    at = np.array([1.0, 2.0, 3.0])
    run = g.run({"x": at})
    assert str(run.local(z, x)) == "2 diag(x)"
    assert np.array_equal(run.local(z, x).toarray(), np.diag(2 * at))


def test_zero_gradients_stay_zero_behind_infinite_slopes() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    safe = ge.where(ge.greater(x, 0.0), ge.log(x), 0.0)
    g.result("J", ge.sum(safe))
    g.node("root", ge.sum(0.0 * ge.sqrt(x)))
    run = g.run({"x": [0.0, 1.0, 2.0]})
    assert np.array_equal(run.gradient("x"), [0.0, 1.0, 0.5])
    assert np.array_equal(run.jacobian("J", "x").toarray(), [[0.0, 1.0, 0.5]])
    assert np.array_equal(run.gradient("x", of="root"), np.zeros(3))
    matrix = run.structured(safe, "x").toarray()
    assert np.array_equal(matrix, np.diag([0.0, 1.0, 0.5]))


def test_infinite_slopes_of_both_signs_warn_of_nothing() -> None:
    g = ge.Graph()
    x = g.input("x", (1,))
    g.result("J", ge.sum(ge.sqrt(x) - ge.sqrt(x)))
    run = g.run({"x": [0.0]})
    assert np.isnan(run.gradient("x"))
    assert np.isnan(run.jacobian("J", "x").toarray())


class ByJacobians(Run):
    """A run with a rule of its own: numbers go by way of Jacobians, as arrays do."""

    def rule(self, node: Node, place: int) -> Jacobian:
        return super().rule(node, place)


def numbers(seed: int) -> tuple[Graph, dict[str, float]]:
    """A graph of numbers, some of which meet in one vector."""
    g = ge.Graph()
    x, y, c = g.input("x"), g.input("y"), g.constant("c", 0.7)
    a = ge.tanh(x * y) + c / y
    b = g.node("b", 2.0 * a**3 - ge.exp(-y) * a)
    v = g.node("v", ge.stack([a, b, x * b]))
    g.result("J", ge.sum(v**2) * ge.sigmoid(b) + b)
    g.node("one", ge.reshape(b * b, (1,)))
    rng = np.random.default_rng(seed)
    return g, {"x": rng.normal(), "y": 1.0 + rng.random()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("of", ["J", "b", "one"])
def test_gradients_of_numbers_are_those_by_jacobians(seed: int, of: str) -> None:
    g, values = numbers(seed)
    run, other = g.run(values), ByJacobians(g, values)
    for wrt in ("x", "y", "c", "b", "J"):
        found, expected = run.gradient(wrt, of), other.gradient(wrt, of)
        assert found.shape == ()
        assert found.dtype == np.float64
        assert not found.flags.writeable
        assert found.tobytes() == expected.tobytes()
        assert run.gradient(wrt, of) is found


def test_zero_times_an_infinite_slope_is_zero_for_numbers_too() -> None:
    g = ge.Graph()
    x = g.input("x")
    g.result("J", ge.where(ge.greater(x, 0.0), ge.log(x), 0.0) + 0.0 * ge.sqrt(x))
    assert g.run({"x": 0.0}).gradient("x") == 0.0
    g.node("K", ge.sqrt(x) - ge.sqrt(x))
    assert np.isnan(g.run({"x": 0.0}).gradient("x", "K"))
    g.node("huge", x * 1e300 * 1e300)
    assert g.run({"x": 2.0}).gradient("x", "huge") == np.inf


# --- both directions ----------------------------------------------------------------------


def both_ways(run: Run, of: Node, wrt: Node) -> Iterator[Jacobian]:
    """``∂of/∂wrt`` accumulated from the output down, and from the input up."""
    nodes = between(of, [wrt])
    if not nodes:
        return
    reached = {wrt, *nodes}
    edges = {(n, p): run.local(n, p) for n in nodes for p in n.parents if p in reached}
    for order in (nodes[-2::-1], nodes[:-1]):
        yield eliminated(edges, order, run.limit).jacobians[of, wrt]


@settings(max_examples=50)
@given(scenes())
def test_random_graphs_against_complex_step(scene: Scene) -> None:
    graph, values, top = scene
    run = graph.run(values)
    for wrt in graph.nodes[: top.number + 1]:
        expected = reference(graph, values, top, wrt)
        assert close(run.jacobian(top, wrt).toarray(), expected)
        for found in both_ways(run, top, wrt):
            assert (found.out_shape, found.in_shape) == (top.shape, wrt.shape)
            assert close(found.toarray(), expected)


@settings(max_examples=50)
@given(scenes())
def test_gradients_of_random_graphs_against_complex_step(scene: Scene) -> None:
    graph, values, top = scene
    weights = np.random.default_rng(0).normal(size=top.shape)
    J = graph.result("J", ge.sum(top * weights))
    run = graph.run(values)
    for node in graph:
        gradient = run.gradient(node)
        assert gradient.shape == node.shape
        assert close(gradient.reshape(1, -1), reference(graph, values, J, node))


# --- limits -------------------------------------------------------------------------------


def test_matrices_above_the_limit_name_the_nodes() -> None:
    g = ge.Graph()
    x = g.input("x", (1000,))
    s = g.node("s", ge.sum(x))
    g.node("wide", s * np.ones(1000))
    run = g.run({"x": np.ones(1000)}, limit=2**20)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError) as error:
            run.jacobian("wide", "x")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    message = str(error.value)
    assert message.startswith("∂wide/∂x: ")
    assert message.count("∂wide/∂x") == 1
    assert "at most 1 MiB, got 11.4 MiB" in message
    assert "pull, push" in message
    assert np.array_equal(run.gradient("x", of="s"), np.ones(1000))
    assert g.run({"x": np.ones(1000)}).jacobian("wide", "x").nnz == 10**6


def test_the_limit_holds_between_the_ends_too() -> None:
    g = ge.Graph()
    x = g.input("x", (400,))
    dense = RNG.normal(size=(400, 400))
    s = g.node("s", ge.sum(dense @ (dense @ x), keepdims=True) * np.ones(1))
    h = g.node("h", dense @ (dense @ x))
    run = g.run({"x": np.ones(400)}, limit=2**20)
    assert run.jacobian(s, x).nnz == 400
    with pytest.raises(TooLargeError, match=r"∂h/∂x: .*at most 1 MiB, got 1\.22 MiB"):
        run.structured(h, x)


def test_products_with_vectors_need_no_matrix() -> None:
    """The Jacobian of 10⁵ outputs by 10⁵ inputs is never formed."""
    n = 10**5
    g = ge.Graph()
    x = g.input("x", (n,))
    g.result("J", ge.sum(ge.softmax(x) * np.arange(float(n))))
    run = g.run({"x": np.zeros(n)})
    gradient = run.gradient("x")
    assert abs(gradient.sum()) < 1e-9
    assert np.argmax(gradient) == n - 1
    assert run.structured("J", "x").nnz == n


# --- ops that do not keep their word ------------------------------------------------------


class Careless(Op):
    """Whose forward, shape and rule may disagree."""

    name = "careless"
    value_shape: tuple[int, ...] = (2,)
    kind: str = "float64"
    rule_shape: tuple[int, ...] = (2, 2)

    def forward(self, x: Any) -> Any:
        return np.ones(self.value_shape, dtype=self.kind)

    def shape(self, x: Any) -> Any:
        return (2,)

    def d_x(self, out: Any, x: Any) -> Any:
        return np.zeros(self.rule_shape) if self.rule_shape else term("i <- jk")

    @classmethod
    def examples(cls, rng: Any) -> Iterator[Any]:
        yield cls(), (np.ones(2),)


def careless(**parameters: Any) -> Run:
    g = ge.Graph()
    g.node("y", Careless(**parameters)(g.input("x", (2,))))
    g.result("J", ge.sum(g["y"]))
    return g.run({"x": [1.0, 2.0]})


def test_a_value_of_another_shape_is_refused() -> None:
    with pytest.raises(OpError) as error:
        careless(value_shape=(3,))
    assert error.value.where == "node 'y': careless"
    assert "(2,)" in error.value.expected
    assert "(3,)" in error.value.got


def test_values_become_float64_or_are_refused() -> None:
    assert careless(kind="int32").value("y").dtype == np.float64
    with pytest.raises(ValuesError, match="node 'y': expected real numbers, got complex"):
        careless(kind="complex128")


class CarelessNumber(Careless):
    """The same of numbers."""

    name = "careless_number"

    def shape(self, x: Any) -> Any:
        return ()


@pytest.mark.parametrize("shape", [(3, 2), ()])
def test_a_rule_that_does_not_fit_numbers_names_the_node(shape: tuple[int, ...]) -> None:
    g = ge.Graph()
    g.result("y", CarelessNumber(value_shape=(), rule_shape=shape)(g.input("x")))
    run = g.run({"x": 1.0})
    for ask in (lambda: run.gradient("x"), lambda: run.jacobian("y", "x")):
        with pytest.raises(RuleError, match=r"∂y/∂"):
            ask()


@pytest.mark.parametrize("shape", [(3, 2), ()])
def test_a_rule_that_does_not_fit_names_the_node(shape: tuple[int, ...]) -> None:
    run = careless(rule_shape=shape)
    for ask in (
        lambda: run.gradient("x"),
        lambda: run.jacobian("y", "x"),
        lambda: run.local("y", "x"),
    ):
        with pytest.raises(RuleError, match="∂y/∂"):
            ask()
