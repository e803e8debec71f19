"""The backward pass of the check against dense matrices, multiplied out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import graphengine as ge
from graphengine.check.backward import Flow, Given, Step
from graphengine.check.mistakes import Catalogue, Mutant
from graphengine.check.points import sample
from graphengine.check.sides import Above, Below
from graphengine.ops.base import Array
from graphengine.run import Run


def network() -> Run:
    """Two paths from W to J, one of them a penalty, and a batch."""
    g = ge.Graph("network")
    X, y = g.input("X", (4, 3)), g.input("y", (4, 2))
    W, b = g.parameter("W", (2, 3)), g.parameter("b", (2,))
    A = g.node("A", X @ W.T + b)
    H = g.node("H", ge.tanh(A))
    E = g.node("E", H - y)
    r = g.node("r", ge.sum(W**2))
    g.result("J", ge.mean(E**2) + 0.3 * r)
    return g.run(sample(g, seed=3))


RUN = network()
CATALOGUE = Catalogue(RUN)


def flow(of: str, wrt: str, given: Given | None = None, columns: int = 4) -> Flow:
    rng = np.random.default_rng(1)
    top, source = RUN.graph[of], RUN.graph[wrt]
    row = rng.normal(size=top.size) if top.size > 1 else np.ones(1)
    sides = rng.normal(size=(source.size, columns))
    given = given or Given()
    return Flow(Above(CATALOGUE, top, row, given), Below(CATALOGUE, source, sides, given))


CLAIMS = [("J", "W"), ("J", "b"), ("J", "A"), ("H", "W"), ("E", "A"), ("A", "X"), ("r", "W")]


def found(one: Flow, mutants: tuple[Mutant, ...] = ()) -> Array:
    matrix = one.matrix(mutants)
    assert matrix is not None
    return matrix


@pytest.mark.parametrize(("of", "wrt"), CLAIMS)
def test_without_changes_it_is_the_graph_s_own(of: str, wrt: str) -> None:
    one = flow(of, wrt)
    exact = RUN.jacobian(of, wrt).toarray()
    np.testing.assert_allclose(found(one), exact, atol=1e-14)
    condensed = one.row @ exact @ one.columns
    np.testing.assert_allclose(one.value, condensed, atol=1e-12)
    np.testing.assert_allclose(one.claim(exact), condensed, atol=1e-12)


@pytest.mark.parametrize(("of", "wrt"), CLAIMS)
def test_effects_are_what_a_full_pass_changes(of: str, wrt: str) -> None:
    one = flow(of, wrt)
    right = found(one)
    for mutant, effect in one.effects:
        changed = one.row @ (found(one, (mutant,)) - right) @ one.columns
        np.testing.assert_allclose(effect, changed, atol=1e-9, err_msg=mutant.says)


def test_a_changed_link_is_the_chain_rule_with_another_matrix() -> None:
    """∂J/∂W with the slope of H left out, by dense matrices."""
    one = flow("J", "W")
    (mutant,) = [
        m
        for m, _ in one.effects
        if m.kind == "missing_jacobian" and m.where == "H<-A" and "identity" in m.key
    ]
    dense = {
        (child, parent): RUN.jacobian(child, parent).toarray()
        for child, parent in [("J", "H"), ("A", "W"), ("J", "r"), ("r", "W")]
    }
    by_hand = dense["J", "H"] @ dense["A", "W"] + dense["J", "r"] @ dense["r", "W"]
    np.testing.assert_allclose(found(one, (mutant,)), by_hand, atol=1e-13)


def test_changed_links_against_gradients_written_out_in_numpy() -> None:
    """∂J/∂W of ``mean((tanh(X Wᵀ + b) − y)²) + 0.3 sum(W²)`` with one slip each."""
    X, W, A, H, E = (RUN.value(name) for name in "XWAHE")
    up, penalty = 2 * E / E.size, 0.6 * W
    slope = 1 - H**2
    by_hand = {
        ("sign", "H<-A"): -(up * slope).T @ X + penalty,
        ("missing_jacobian", "H<-A"): up.T @ X + penalty,
        ("wrong_argument", "H<-A"): (up * (1 - A**2)).T @ X + penalty,
        ("wrong_slope", "H<-A"): (up * H * (1 - H)).T @ X + penalty,
        ("double_counted", "H<-A"): (up * slope**2).T @ X + penalty,
        ("not_averaged", "J"): E.size * (up * slope).T @ X + penalty,
        ("averaged_twice", "J"): (up * slope).T @ X / E.size + penalty,
        ("missing_regulariser", "r"): (up * slope).T @ X,
        ("factor", "r<-W"): (up * slope).T @ X + penalty / 2,
        ("regulariser_scale", "r"): (up * slope).T @ X - penalty,
    }
    one = flow("J", "W")
    for place, expected in by_hand.items():
        fits = [
            mutant
            for mutant, _ in one.effects
            if (mutant.kind, mutant.where) == place
            and np.allclose(found(one, (mutant,)), expected.reshape(1, -1), rtol=1e-12)
        ]
        assert fits, place
    assert np.allclose(found(one), ((up * slope).T @ X + penalty).reshape(1, -1), rtol=1e-12)


def test_a_derivative_that_is_not_finite_condenses_without_a_warning() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    J = g.result("J", ge.sum(ge.sqrt(x)))
    columns = np.array([[1.0, -1.0], [0.5, 2.0]])
    catalogue = Catalogue(g.run({"x": [0.0, 0.0]}))
    one = Flow(Above(catalogue, J, np.ones(1)), Below(catalogue, x, columns))
    assert not np.isfinite(one.value).any()


def test_an_author_s_own_derivative_takes_the_place_of_the_right_one() -> None:
    own = np.arange(1.0, 9.0).reshape(1, 8)
    given = Given(("J/A",), {RUN.graph["A"]: own})
    penalty = RUN.jacobian("J", "r").toarray() @ RUN.jacobian("r", "W").toarray()
    by_hand = own @ RUN.jacobian("A", "W").toarray() + penalty
    np.testing.assert_allclose(found(flow("J", "W", given)), by_hand, atol=1e-13)


def test_an_author_s_own_step_is_used_on_every_way_through_it() -> None:
    graph = RUN.graph
    own = np.eye(8) * 0.5
    step = Step(graph["H"], graph["A"], own - RUN.jacobian("H", "A").toarray())
    by_hand = RUN.jacobian("J", "H").toarray() @ own @ RUN.jacobian("A", "b").toarray()
    np.testing.assert_allclose(found(flow("J", "b", Given(("H/A",), {}, (step,)))), by_hand)


def test_effects_beside_an_author_s_own_derivative() -> None:
    given = Given(("J/A",), {RUN.graph["A"]: np.linspace(1, 2, 8).reshape(1, 8)})
    one = flow("J", "W", given)
    right = found(one)
    for mutant, effect in one.effects:
        matrix = one.matrix((mutant,))
        if matrix is None:
            assert not effect.any(), "it cannot be made here, and nothing of it would pass"
            continue
        changed = one.row @ (matrix - right) @ one.columns
        np.testing.assert_allclose(effect, changed, atol=1e-9, err_msg=mutant.says)
