"""The lecture's passes: what they compute, in which order, and the four holes closed."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

import graphengine as ge
from graphengine.errors import GraphError, TooLargeError, ValuesError
from graphengine.graph import Graph, Node
from graphengine.lecture import (
    AllGradientsComputed,
    BackOp,
    BackPropagateChain,
    CheckAllNodesComputed,
    ComputeBranch,
    EvaluateChain,
    EvaluateGraphFn,
    GetChildren,
    GetJacobian,
    GetNodeFn,
    GetParents,
    GetResultNode,
    GetStartNodes,
    PerformBackPass,
    Visit,
)
from graphengine.ops.elementwise import Exp
from tests.strategies import Array, Scene, scenes

RNG = np.random.default_rng(23)


def with_values(graph: Graph, **values: Any) -> nx.DiGraph[str]:
    """The DiGraph with start values, as the lecture wants them before the pass."""
    G = graph.dag
    for name, value in values.items():
        G.nodes[name]["value"] = np.asarray(value, dtype=float)
    return G


def evaluated(graph: Graph, **values: Any) -> nx.DiGraph[str]:
    """The DiGraph after both passes."""
    G = with_values(graph, **values)
    EvaluateGraphFn(G)
    PerformBackPass(G)
    return G


def worked() -> tuple[Graph, dict[str, Array]]:
    """S0's example, its one-node steps named as in the lecture."""
    g = ge.Graph("S0")
    x, W = g.input("x", (4,)), g.parameter("W", (3, 4))
    b, y = g.parameter("b", (3,)), g.input("y", (3,))
    lam = g.constant("lam", 0.1)
    z = g.node("z", ge.matvec(W, x))
    s = g.node("s", z + b)
    p = g.node("p", ge.softmax(s))
    q = g.node("q", y @ p)
    m = g.node("m", ge.log(q))
    loss = g.node("l", -m)
    r = g.node("r", ge.sum_of_squares(W))
    t = g.node("t", lam * r)
    g.result("J", loss + t)
    values = {
        "x": RNG.normal(size=4),
        "W": RNG.normal(size=(3, 4)),
        "b": RNG.normal(size=3),
        "y": np.array([0.0, 0.0, 1.0]),
    }
    return g, values


# --- S0's example -------------------------------------------------------------------------

FORWARD = ["z", "s", "p", "q", "m", "l", "r", "t", "J"]
"""By hand.  Start nodes in order: x (z waits for nothing else, for W has its value: z; then s,
since b has its value; p; q; m; l; J waits for t); W (z is computed; r; t; J); b, y, lam: nothing.
"""

BACKWARD = [
    # J = l + t: first l's branch down to its end …
    *["J", "J<-l", "l", "l<-m", "m", "m<-q", "q", "q<-y", "y", "q<-p", "p", "p<-s", "s"],
    *["s<-z", "z", "z<-W", "z<-x", "x"],  # W waits for r
    *["s<-b", "b"],
    # … then t's.
    *["J<-t", "t", "t<-lam", "lam", "t<-r", "r", "r<-W", "W"],
]
"""By hand: a node is visited when all its children are done; then its parents, in order."""


def short(visit: Visit) -> str:
    return visit.node if visit.parent is None else f"{visit.node}<-{visit.parent}"


def test_order_of_the_visits() -> None:
    g, values = worked()
    G = with_values(g, **values)
    record: list[Visit] = []
    EvaluateGraphFn(G, record=record)
    assert [short(visit) for visit in record] == FORWARD
    assert {visit.what for visit in record} == {"value"}
    record.clear()
    PerformBackPass(G, record=record)
    assert [short(visit) for visit in record] == BACKWARD
    for visit in record:
        assert visit.what == ("Grad" if visit.parent is None else "Jacobian")


def test_jacobians_of_the_edges() -> None:
    g, v = worked()
    G = evaluated(g, **v)
    p, W, x, y = G.nodes["p"]["value"], v["W"], v["x"], v["y"]
    table: dict[tuple[str, str], Any] = {
        ("J", "l"): [[1.0]],
        ("J", "t"): [[1.0]],
        ("t", "r"): [[0.1]],
        ("r", "W"): 2 * W.reshape(1, -1),
        ("p", "s"): np.diag(p) - np.outer(p, p),
        ("s", "b"): np.eye(3),
        ("s", "z"): np.eye(3),
        ("z", "W"): np.kron(np.eye(3), x),
        ("z", "x"): W,
        ("q", "p"): y.reshape(1, -1),
        ("m", "q"): [[1 / (y @ p)]],
        ("l", "m"): [[-1.0]],
    }
    for (child, parent), expected in table.items():
        matrix = G.edges[parent, child]["Jacobian"]
        assert isinstance(matrix, sp.csr_array)
        assert np.allclose(matrix.toarray(), expected, rtol=1e-14, atol=1e-17), (child, parent)
    to_p = (
        G.edges["m", "l"]["Jacobian"]
        @ G.edges["q", "m"]["Jacobian"]
        @ G.edges["p", "q"]["Jacobian"]
    )
    assert np.allclose(to_p.toarray(), -y / (y @ p), rtol=1e-14)
    assert G.edges["W", "z"]["Jacobian"].nnz == 3 * 4
    for i in range(3):  # I_C ⊗ xᵀ as the lecture writes its entries, counted from 1
        for j in range(12):
            entry = x[j - i * 4] if i * 4 <= j < (i + 1) * 4 else 0.0
            assert G.edges["W", "z"]["Jacobian"][i, j] == entry


def test_gradients_of_the_worked_example() -> None:
    g, v = worked()
    G = evaluated(g, **v)
    p, y = G.nodes["p"]["value"], v["y"]
    row = -y / (y @ p) @ (np.diag(p) - np.outer(p, p))
    expected = {
        "b": row,
        "z": row,
        "W": np.outer(row, v["x"]) + 2 * 0.1 * v["W"],
        "x": row @ v["W"],
        "lam": np.sum(v["W"] ** 2),
        "r": 0.1,
        "J": 1.0,
        "p": -y / (y @ p),
    }
    for name, gradient in expected.items():
        found = G.nodes[name]["Grad"]
        assert found.shape == (1, np.size(gradient))
        assert np.allclose(found, np.reshape(gradient, (1, -1)), rtol=1e-13, atol=1e-16), name
    assert all(G.nodes[n]["computed"] and G.nodes[n]["GradComputed"] for n in G)


def test_helpers_under_the_lectures_names() -> None:
    g, values = worked()
    G = with_values(g, **values)
    assert GetStartNodes(G) == ["x", "W", "b", "y", "lam"]
    assert GetChildren("W", G) == ["z", "r"]
    assert GetParents("z", G) == ["W", "x"]
    assert GetResultNode(G) == "J"
    assert not CheckAllNodesComputed(["x"], G)
    EvaluateGraphFn(G)
    assert CheckAllNodesComputed(["x", "z", "J"], G)
    assert CheckAllNodesComputed([], G)
    assert not AllGradientsComputed(["J"], G)
    f_z = GetNodeFn("z", G)
    assert np.array_equal(f_z([2 * values["W"], values["x"]]), 2 * values["W"] @ values["x"])
    assert np.array_equal(GetJacobian("z", "x", G).toarray(), values["W"])
    PerformBackPass(G)
    assert AllGradientsComputed(list(G), G)


def test_a_branch_is_computed_as_far_as_values_go() -> None:
    g, values = worked()
    G = with_values(g, **values)
    for name in ("x", "W"):
        G.nodes[name]["computed"] = True
    record: list[Visit] = []
    ComputeBranch("W", G, record=record)
    assert [visit.node for visit in record] == ["z", "r"]  # b and lam are not computed yet
    G.nodes["lam"]["computed"] = True
    ComputeBranch("r", G, record=record)
    assert [visit.node for visit in record] == ["z", "r", "t"]


# --- a literal transcription --------------------------------------------------------------


class Literal:
    """The pseudo-code as it stands, recursive, every path walked; dense matrices.

    Closed in the plainest way: a node's children are those that lead to the result, the Jacobian
    with respect to a parent is the sum over its places, and a gradient is taken when all its
    children's gradients and Jacobians are there.
    """

    def __init__(self, G: nx.DiGraph[str]) -> None:
        self.G, self.value, self.Grad = G, {}, {}  # type: ignore[var-annotated]  # by name
        self.Jacobian: dict[tuple[str, str], Array] = {}
        self.leads = {*nx.ancestors(G, G.graph["result"]), G.graph["result"]}
        for n in G:
            if G.in_degree(n) == 0:
                self.value[n] = np.asarray(G.nodes[n]["value"], dtype=float)

    def f(self, n: str) -> Any:
        args = self.G.nodes[n]["args"]
        return self.G.nodes[n]["op"].value(
            *(self.value[a] if isinstance(a, str) else a for a in args)
        )

    def EvaluateGraphFn(self) -> None:
        for s in [n for n in self.G if self.G.in_degree(n) == 0]:
            self.ComputeBranch(s)

    def ComputeBranch(self, s: str) -> None:
        for n in self.G.successors(s):
            if n not in self.value and all(p in self.value for p in self.G.predecessors(n)):
                self.value[n] = self.f(n)
                self.ComputeBranch(n)

    def BackOp(self, s: str) -> None:
        C_s = [c for c in self.G.successors(s) if c in self.leads]
        if s == self.G.graph["result"]:
            self.Grad[s] = np.eye(self.value[s].size)
        elif all(c in self.Grad and (s, c) in self.Jacobian for c in C_s):
            self.Grad[s] = 0
            for c in C_s:
                self.Grad[s] = self.Grad[s] + self.Grad[c] @ self.Jacobian[s, c]
        for p in self.G.predecessors(s):
            self.Jacobian[p, s] = self.d(s, p)
            self.BackOp(p)

    def d(self, s: str, p: str) -> Array:
        args = self.G.nodes[s]["args"]
        values = [self.value[a] if isinstance(a, str) else a for a in args]
        places = [k for k, a in enumerate(args) if isinstance(a, str) and a == p]
        op = self.G.nodes[s]["op"]
        found: Array = sum(op.jacobian(k, self.value[s], values).toarray() for k in places)
        return found


@settings(max_examples=60)
@given(scenes(most=6))
def test_a_literal_transcription_gives_the_same(scene: Scene) -> None:
    graph, values, top = scene
    graph.result(top.name)
    G = evaluated(graph, **values)
    literal = Literal(G)
    literal.EvaluateGraphFn()
    literal.BackOp(top.name)
    assert set(literal.Grad) == {n for n in G if G.nodes[n]["GradComputed"]} == literal.leads
    for n in G:
        assert np.array_equal(literal.value[n], G.nodes[n]["value"])
    for n, gradient in literal.Grad.items():
        found = G.nodes[n]["Grad"]
        found = found if isinstance(found, np.ndarray) else found.toarray()
        scale = np.max(np.abs(gradient), initial=1.0)
        assert np.allclose(found, gradient, rtol=0, atol=1e-13 * scale)
    for (p, s), matrix in literal.Jacobian.items():
        assert np.array_equal(G.edges[p, s]["Jacobian"].toarray(), matrix)


@settings(max_examples=60)
@given(scenes())
def test_the_two_engines_agree(scene: Scene) -> None:
    graph, values, top = scene
    graph.result(top.name)
    record: list[Visit] = []
    G = with_values(graph, **values)
    EvaluateGraphFn(G, record=record)
    run = graph.run(values)
    assert Counter(visit.node for visit in record) == Counter(n.name for n in graph if n.op)
    record.clear()
    PerformBackPass(G, record=record)
    leads = {*nx.ancestors(G, top.name), top.name}
    edges = [(p, c) for p, c in G.edges if c in leads]
    jacobians = Counter((v.parent, v.node) for v in record if v.what == "Jacobian")
    assert jacobians == Counter(edges)  # each edge once
    assert Counter(v.node for v in record if v.what == "Grad") == Counter(leads)
    for node in graph:
        if node.name in leads:
            expected = run.jacobian(top, node).toarray()
            found = G.nodes[node.name]["Grad"]
            found = found if isinstance(found, np.ndarray) else found.toarray()
            scale = np.max(np.abs(expected), initial=1.0)
            assert np.allclose(found, expected, rtol=0, atol=1e-12 * scale)
        else:
            assert "Grad" not in G.nodes[node.name]
            assert not G.nodes[node.name]["GradComputed"]


# --- the four holes -----------------------------------------------------------------------


def diamonds(count: int) -> Graph:
    """``y ← y/2 + y/2``, ``count`` times: 2**count paths."""
    g = ge.Graph()
    y: Node = g.input("x")
    for k in range(count):
        left, right = g.node(f"a{k}", 0.5 * y), g.node(f"b{k}", y * 0.5)
        y = g.node(f"y{k}", left + right)
    g.result(y.name)
    return g


def test_hole_1_each_jacobian_is_computed_once() -> None:
    g = diamonds(12)
    G = with_values(g, x=3.0)
    record: list[Visit] = []
    EvaluateGraphFn(G, record=record)
    assert len(record) == 36
    record.clear()
    PerformBackPass(G, record=record)
    assert sum(visit.what == "Jacobian" for visit in record) == G.number_of_edges() == 48
    assert sum(visit.what == "Grad" for visit in record) == len(G) == 37
    assert G.nodes["x"]["Grad"] == 1.0
    walked = 0

    def BackOp_of_the_text(s: str) -> None:  # what the text says costs this much
        nonlocal walked
        for p in G.predecessors(s):
            walked += 1
            BackOp_of_the_text(p)

    BackOp_of_the_text("y11")
    assert walked == 4 * (2**12 - 1)


def test_hole_1_two_thousand_stacked_diamonds() -> None:
    G = evaluated(diamonds(2000), x=3.0)
    assert G.nodes["y1999"]["value"] == 3.0
    assert G.nodes["x"]["Grad"] == 1.0


def test_hole_2_nodes_that_do_not_lead_to_the_result() -> None:
    g = ge.Graph()
    x, w = g.input("x", (2,)), g.parameter("w", (2,))
    z = g.node("z", x * w)
    g.node("prediction", ge.greater(z, 0.0))
    J = g.result("J", ge.sum(z**2))
    g.node("after", J * 2)
    aside = g.input("aside")
    g.node("lonely", aside + 1)
    record: list[Visit] = []
    G = with_values(g, x=[1.0, 2.0], w=[3.0, -1.0], aside=5.0)
    EvaluateGraphFn(G)
    PerformBackPass(G, record=record)
    assert G.nodes["after"]["value"] == 26.0
    assert G.nodes["lonely"]["value"] == 6.0
    assert np.array_equal(G.nodes["w"]["Grad"], [[6.0, -8.0]])
    for name in ("prediction", "after", "aside", "lonely"):
        assert "Grad" not in G.nodes[name]
        assert name not in {visit.node for visit in record}
    assert np.array_equal(G.nodes["J"]["Grad"], [[1.0]])


def test_hole_3_a_chain_deeper_than_the_stack() -> None:
    g = ge.Graph()
    y: Node = g.input("x")
    for _ in range(10_000):
        y = ge.sin(y) * 1.5
    g.result("y", y)
    record: list[Visit] = []
    G = with_values(g, x=0.25)
    EvaluateGraphFn(G, record=record)
    order = [visit.node for visit in record]
    assert order == [node.name for node in g][1:]
    record.clear()
    PerformBackPass(G, record=record)
    assert [v.node for v in record if v.what == "Grad"] == [*reversed(order), "x"]
    assert np.allclose(G.nodes["x"]["Grad"], g.run({"x": 0.25}).gradient("x"), rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "slope"),
    [
        (lambda x: x * x, lambda x: 2 * x),
        (lambda x: x + x, lambda x: np.full_like(x, 2.0)),
        (lambda x: x - x, np.zeros_like),
        (lambda x: x / x, np.zeros_like),
        (lambda x: ge.concatenate([x, x, x])[:3], np.ones_like),
    ],
)
def test_hole_4_a_parent_taken_more_than_once(make: Any, slope: Any) -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.node("z", make(x))
    g.result("J", ge.sum(g["z"]))
    at = np.array([1.0, 2.0, 4.0])
    G = evaluated(g, x=at)
    assert np.allclose(G.nodes["x"]["Grad"], slope(at).reshape(1, -1), rtol=1e-15, atol=1e-15)


def test_hole_4_inner_product_with_itself() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.result("J", x @ x)
    G = evaluated(g, x=[1.0, 2.0, 4.0])
    assert np.array_equal(G.edges["x", "J"]["Jacobian"].toarray(), [[2.0, 4.0, 8.0]])


def test_a_node_waits_for_the_jacobians_of_all_its_children() -> None:
    """x is reached by z and by the result itself, whose own edge to x comes later."""
    g = ge.Graph()
    x = g.input("x", (2,))
    z = g.node("z", x * 3)
    g.result("J", ge.sum(z - x, keepdims=True))
    assert np.array_equal(evaluated(g, x=[1.0, 2.0]).nodes["x"]["Grad"], [[2.0, 2.0]])
    h = ge.Graph()
    x = h.input("x", (2,))
    h.result("J", h.node("z", x * 3) - x)
    record: list[Visit] = []
    G = with_values(h, x=[1.0, 2.0])
    EvaluateGraphFn(G)
    PerformBackPass(G, record=record)
    assert [short(visit) for visit in record] == ["J", "J<-z", "z", "z<-x", "J<-x", "x"]
    assert np.array_equal(G.nodes["x"]["Grad"].toarray(), 2 * np.eye(2))


# --- results that are no number -----------------------------------------------------------


def test_a_vector_result_gives_the_full_jacobian() -> None:
    g, values = worked()
    g.result("p")
    G = evaluated(g, **values)
    p, W, x = G.nodes["p"]["value"], values["W"], values["x"]
    slope = np.diag(p) - np.outer(p, p)
    expected = {"s": slope, "b": slope, "x": slope @ W, "W": np.kron(slope, x), "p": np.eye(3)}
    for name, matrix in expected.items():
        found = G.nodes[name]["Grad"]
        assert sp.issparse(found)
        assert np.allclose(found.toarray(), matrix, rtol=1e-13, atol=1e-16)
    assert "Grad" not in G.nodes["y"]


def test_a_result_with_one_entry_starts_with_1_in_any_shape() -> None:
    g = ge.Graph()
    x = g.input("x", (1, 1))
    g.result("J", x * x)
    G = evaluated(g, x=[[3.0]])
    assert np.array_equal(G.nodes["J"]["Grad"], [[1.0]])
    assert np.array_equal(G.nodes["x"]["Grad"], [[6.0]])


def test_the_result_may_be_a_start_node() -> None:
    g = ge.Graph()
    g.input("x", (2,))
    g.node("z", g["x"] * 2)
    g.result("x")
    G = evaluated(g, x=[1.0, 2.0])
    assert np.array_equal(G.nodes["x"]["Grad"].toarray(), np.eye(2))
    assert "Grad" not in G.nodes["z"]


def test_zero_gradients_stay_zero_behind_infinite_slopes() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    safe = g.node("safe", ge.where(ge.greater(x, 0.0), ge.log(x), 0.0))
    g.result("J", ge.sum(safe))
    G = evaluated(g, x=[0.0, 1.0, 2.0])
    assert np.array_equal(G.nodes["x"]["Grad"], [[0.0, 1.0, 0.5]])
    g.result("safe")
    G = evaluated(g, x=[0.0, 1.0, 2.0])
    assert np.array_equal(G.nodes["x"]["Grad"].toarray(), np.diag([0.0, 1.0, 0.5]))


def test_infinities_of_both_signs_warn_of_nothing() -> None:
    g = ge.Graph()
    x = g.input("x", (1,))
    g.result("J", ge.sqrt(x) - ge.sqrt(x) + 1e300 * x * 1e300)
    G = evaluated(g, x=[0.0])
    assert np.isnan(G.nodes["x"]["Grad"])


# --- twice --------------------------------------------------------------------------------


def test_calling_twice_gives_the_same() -> None:
    g, values = worked()
    G = evaluated(g, **values)
    first = {n: G.nodes[n]["Grad"].copy() for n in G}
    PerformBackPass(G)
    EvaluateGraphFn(G)
    PerformBackPass(G)
    for n in G:
        assert np.array_equal(G.nodes[n]["Grad"], first[n])


def test_new_values_replace_the_old() -> None:
    g, values = worked()
    G = evaluated(g, **values)
    other = {**values, "W": values["W"] + 1.0}
    again = evaluated(g, **other)
    assert again is G
    run = g.run(other)
    assert np.allclose(G.nodes["W"]["Grad"].reshape(3, 4), run.gradient("W"), rtol=1e-13)


def test_another_result_leaves_nothing_of_the_first() -> None:
    g, values = worked()
    G = evaluated(g, **values)
    G.graph["result"] = "r"
    PerformBackPass(G)
    assert np.array_equal(G.nodes["W"]["Grad"], 2 * values["W"].reshape(1, -1))
    assert [n for n in G if "Grad" in G.nodes[n]] == ["W", "r"]
    assert [edge for edge in G.edges if "Jacobian" in G.edges[edge]] == [("W", "r")]


# --- the chain ----------------------------------------------------------------------------


def test_h_of_the_lecture() -> None:
    """``h(x) = sin(x²)``, ``h' = 2x cos(x²)``."""
    g = ge.Graph()
    x = g.input("x")
    g.node("y1", ge.square(x))
    g.result("y2", ge.sin(g["y1"]))
    G = with_values(g, x=1.3)
    y = EvaluateChain(G)
    assert np.allclose(y, [1.69, np.sin(1.69)], rtol=1e-15)
    assert np.allclose(BackPropagateChain(G), 2.6 * np.cos(1.69), rtol=1e-14)
    EvaluateGraphFn(G)
    PerformBackPass(G)
    assert np.array_equal(BackPropagateChain(G), G.nodes["x"]["Grad"])


def test_the_chain_is_the_general_pass_on_a_chain() -> None:
    g = ge.Graph()
    y: Node = g.input("x", (3,))
    for k in range(6):
        y = g.node(f"y{k}", ge.tanh(RNG.normal(size=(3, 3)) @ y))
    g.result("end", ge.softmax(y))
    at = RNG.normal(size=3)
    G = evaluated(g, x=at)
    general = G.nodes["x"]["Grad"].toarray()
    values = [G.nodes[n]["value"] for n in list(G)[1:]]
    record = EvaluateChain(G)
    assert all(np.array_equal(a, b) for a, b in zip(record, values, strict=True))
    found = BackPropagateChain(G)
    assert not isinstance(found, np.ndarray)
    assert np.allclose(found.toarray(), general, rtol=1e-13)


def test_a_chain_of_one_node() -> None:
    g = ge.Graph()
    g.input("x")
    G = with_values(g, x=2.0)
    assert EvaluateChain(G) == []
    assert BackPropagateChain(G) == 1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda g, x: ge.exp(x) + x,
        lambda g, x: x * g.input("y"),
        lambda g, x: None,
    ],
)
def test_what_is_no_chain(make: Any) -> None:
    g = ge.Graph()
    x = g.input("x")
    if make(g, x) is None:
        g = ge.Graph()
    for use in (EvaluateChain, BackPropagateChain):
        with pytest.raises(GraphError, match=r"a chain: expected each node .* use EvaluateGraphFn"):
            use(g.dag)


# --- errors -------------------------------------------------------------------------------


def test_start_values_that_are_missing_or_do_not_fit() -> None:
    g, values = worked()
    G = with_values(g, **{k: v for k, v in values.items() if k != "b"})
    with pytest.raises(ValuesError) as error:
        EvaluateGraphFn(G)
    assert str(error.value) == (
        "start node 'b': expected a value before the pass, got none; set G.nodes['b'][\"value\"]"
    )
    G.nodes["b"]["value"] = np.ones(4)
    with pytest.raises(ValuesError, match=r"start node 'b': expected shape \(3,\), got \(4,\)"):
        EvaluateGraphFn(G)
    G.nodes["b"]["value"] = "three"
    with pytest.raises(ValuesError, match="start node 'b': expected real numbers"):
        EvaluateGraphFn(G)
    G.nodes["b"]["value"] = [1, 2, 3]
    EvaluateGraphFn(G)
    assert G.nodes["b"]["value"].dtype == np.float64


def test_the_backward_pass_wants_the_forward_pass_and_a_result() -> None:
    g, values = worked()
    G = with_values(g, **values)
    with pytest.raises(ValuesError, match=r"node 'J': .* call EvaluateGraphFn\(G\) first"):
        PerformBackPass(G)
    EvaluateGraphFn(G)
    G.graph["result"] = "JJ"
    with pytest.raises(GraphError, match="got 'JJ'"):
        PerformBackPass(G)
    G.graph["result"] = "loss"
    with pytest.raises(GraphError, match="expected a result that is a node"):
        BackOp("J", G)
    del G.graph["result"]
    with pytest.raises(GraphError, match="expected a result node, got none"):
        PerformBackPass(G)


def test_a_matrix_above_the_limit_names_the_edge() -> None:
    g = ge.Graph()
    x = g.input("x", (2000,))
    g.result("J", g.node("p", ge.softmax(x)) @ np.ones(2000))
    G = with_values(g, x=np.zeros(2000))
    EvaluateGraphFn(G)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match=r"edge p <- x: .*at most 1 MiB, got 45\.8 MiB"):
            PerformBackPass(G, limit=2**20)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_product_above_the_limit_is_refused() -> None:
    g = ge.Graph()
    x = g.input("x", (300,))
    wide = g.node("wide", ge.sum(x, keepdims=True) + np.zeros(300))
    g.result("end", wide * 2)
    G = with_values(g, x=np.zeros(300))
    EvaluateGraphFn(G)
    with pytest.raises(TooLargeError, match="at most 512 KiB"):
        PerformBackPass(G, limit=2**19)
    PerformBackPass(G)
    assert G.nodes["x"]["Grad"].nnz == 300 * 300


def test_an_op_that_refuses_its_values_names_the_node() -> None:
    g = ge.Graph()
    s, label = g.input("s", (3,)), g.input("label")
    g.result("J", g.node("loss", ge.svm_loss(s, label)))
    values: dict[str, Any] = {"s": [1.0, 2.0, 3.0], "label": 0.5}
    with pytest.raises(ValuesError, match="node 'loss': ") as mine:
        evaluated(g, **values)
    with pytest.raises(ValuesError, match="node 'loss': ") as of_the_run:
        g.run(values)
    assert str(mine.value) == str(of_the_run.value)


def test_a_node_of_fixed_numbers_is_a_start_node() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    fixed = g.node("fixed", ge.exp(g.add(Exp(), [np.array([0.0, 1.0])])))
    g.result("J", x @ fixed)
    G = evaluated(g, x=[1.0, 2.0])
    assert GetStartNodes(G) == ["x", "fixed.1"]
    assert np.allclose(G.nodes["x"]["Grad"], np.exp(np.exp([[0.0, 1.0]])), rtol=1e-15)
    assert np.array_equal(g.run({"x": [1.0, 2.0]}).value("J"), G.nodes["J"]["value"])


def test_back_op_at_the_result_is_the_pass() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    g.node("monitor", x * 5)
    g.result("J", ge.sum(x))
    G = evaluated(g, x=[1.0, 2.0])
    record: list[Visit] = []
    BackOp("J", G, record=record)
    assert np.array_equal(G.nodes["x"]["Grad"], [[1.0, 1.0]])
    assert {visit.node for visit in record} == {"J", "x"}
