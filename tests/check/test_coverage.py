"""Coverage: a mistake that would not show at the points is told, and further points are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import Checker, check, checker
from graphengine.check.coverage import Survey, telling
from graphengine.check.mistakes import Catalogue
from graphengine.check.points import Drawn
from graphengine.check.report import Coverage
from graphengine.check.trust import Place
from tests.check.derivations import softmax_regression


def place(graph: ge.Graph, *, troubles: dict[str, str] | None = None, **values: Any) -> Place:
    """A point with these values."""
    given = {name: np.asarray(value, dtype=float) for name, value in values.items()}
    drawn = Drawn({}, graph, given, graph.run(given), troubles or {})
    return Place(drawn, np.random.default_rng(0), 1e-7)


def rectified() -> ge.Graph:
    g = ge.Graph()
    x, c = g.input("x", (4,)), g.input("c", (4,))
    h = g.node("h", ge.relu(x))
    g.result("J", ge.sum(c * h))
    return g


C = [0.7, -1.3, 2.1, 0.4]


def says(found: Coverage) -> str:
    return "\n".join(found.hidden)


# --- what hides ---------------------------------------------------------------------------------


def test_where_all_arguments_are_positive_a_wrong_sign_for_negative_ones_is_hidden() -> None:
    survey = Survey("J", "x")
    g = rectified()
    positive = survey.at([place(g, x=[1.0, 2.0, 0.5, 0.7], c=C)])
    assert "∂J/∂x: the absolute value in place of the value at h <- x" in says(positive)
    assert positive.visible == positive.total - len(positive.hidden)
    mixed = survey.at([place(g, x=[1.0, -2.0, 0.5, -0.7], c=C)])
    assert mixed.visible > positive.visible
    left_out = "the derivative at h <- x is left out"
    alone = Survey("J", "x").at([place(g, x=[1.0, -2.0, 0.5, -0.7], c=C)])
    assert left_out not in says(mixed)
    assert left_out not in says(alone)


def test_where_nothing_comes_from_above_everything_below_is_hidden() -> None:
    g = ge.Graph()
    a, x = g.input("a"), g.input("x", (3,))
    b = g.node("b", ge.sum(ge.tanh(x)))
    g.result("J", a * b)
    survey = Survey("J", "x")
    nothing = survey.at([place(g, a=0.0, x=[0.3, -1.2, 0.8])])
    assert nothing.visible < nothing.total
    assert "the derivative at b <- x, at tanh(x) is left out" in says(nothing)
    more = survey.at([place(g, a=1.7, x=[0.3, -1.2, 0.8])])
    assert more.visible > nothing.visible
    assert len(more.hidden) < len(nothing.hidden)


def average(n: int) -> ge.Graph:
    g = ge.Graph()
    X, w = g.input("X", (n, 3)), g.parameter("w", (3,))
    g.result("J", ge.mean((X @ w) ** 2))
    return g


def test_the_mean_over_one_example_is_no_mistake_to_make() -> None:
    rng = np.random.default_rng(0)
    found = {
        n: Survey("J", "w").at([place(average(n), X=rng.normal(size=(n, 3)), w=[0.5, -1.1, 0.8])])
        for n in (1, 4)
    }
    assert found[1].total < found[4].total
    assert "averaged" not in says(found[1])
    names = {
        mutant.kind
        for mutant, _ in place(average(4), X=rng.normal(size=(4, 3)), w=[0.5, -1.1, 0.8])
        .flow("J", "w")
        .effects
    }
    assert {"not_averaged", "averaged_twice"} <= names


def test_a_symmetric_matrix_hides_its_transpose() -> None:
    g = ge.Graph()
    x, W = g.input("x", (3,)), g.parameter("W", (3, 3))
    g.result("J", ge.sum((W @ x) ** 3))
    S = np.random.default_rng(0).normal(size=(3, 3))
    at = [1.3, 0.2, -0.5]
    survey = Survey("J", "x")
    symmetric = survey.at([place(g, x=at, W=S + S.T)])
    both = survey.at([place(g, x=at, W=S)])
    assert both.total > symmetric.total
    assert both.visible > symmetric.visible
    assert not both.hidden


def test_points_with_kinks_and_infinite_derivatives_show_nothing() -> None:
    g = rectified()
    assert Survey("J", "x").at([place(g, x=C, c=C, troubles={"h": "a kink"})]) == Coverage()
    root = ge.Graph()
    x = root.input("x", (3,))
    root.result("J", ge.sum(ge.sqrt(x)))
    assert Survey("J", "x").at([place(root, x=[0.0, 0.0, 1.0])]) == Coverage()


def test_what_was_visible_stays_so_and_a_second_look_does_not_count_twice() -> None:
    g = rectified()
    survey = Survey("J", "x")
    at = place(g, x=[1.0, -2.0, 0.5, -0.7], c=C)
    first = survey.at([at])
    assert survey.at([at]) == first == survey.coverage


# --- further points -----------------------------------------------------------------------------


def test_the_telling_points_are_those_with_signs_not_met_yet() -> None:
    g = rectified()
    positive = place(g, x=[1.0, 2.0, 0.5, 0.7], c=C)
    again = place(g, x=[1.1, 2.0, 0.5, 0.7], c=C)
    negative = place(g, x=[-1.0, -2.0, -0.5, -0.7], c=C)
    assert telling([positive], [again, negative], 1) == [negative]
    assert telling([positive], [again, negative], 5) == [negative, again]


def test_more_points_are_drawn_only_where_they_show_more() -> None:
    report = check(softmax_regression(), {"p/s": "diag(p) - outer(p, p)"})
    assert len(report.points) >= 5
    assert report.coverage.visible <= report.coverage.total
    g = ge.Graph()
    x = g.input("x", (3,), kind="positive")
    g.result("J", ge.sum(ge.relu(x) ** 2))
    positive = check(g, {"J/x": "2 * x"})
    assert positive.coverage.hidden  # whatever is drawn
    assert len(positive.points) == 5


def test_a_graph_of_few_good_points_gets_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    g = ge.Graph()
    x = g.input("x")
    h = g.node("h", ge.relu(x) + 0.1 * x)
    g.result("J", h * x)
    claims = {"J/x": "h + x * (1 * (x > 0) + 0.1)"}
    for seed in range(4):
        few = check(g, claims, points=1, seed=seed)
        signs = Checker(g, points=1, seed=seed)
        signs.check(claims)
        assert few.verdict == "right"
        assert 1 <= len(few.points) <= 1 + checker.EXTRA_POINTS
        assert few.coverage.visible > 0.8 * few.coverage.total
    monkeypatch.setattr(checker, "EXTRA_POINTS", 0)
    alone = [check(g, claims, points=1, seed=seed).coverage.visible for seed in range(4)]
    monkeypatch.undo()
    more = [check(g, claims, points=1, seed=seed).coverage.visible for seed in range(4)]
    assert sum(more) > sum(alone)


# --- the numbers of a report --------------------------------------------------------------------


def test_right_and_wrong_claims_have_the_coverage_of_their_derivative() -> None:
    g = softmax_regression()
    checker_ = Checker(g)
    right = checker_.check({"J/b": "c * (p - y)", "p/s": "diag(p) - outer(p, p)"})
    wrong = checker_.check({"J/b": "c * (y - p)", "p/s": "diag(p)"})
    for claim in ("J/b", "p/s"):
        assert right[claim].coverage == wrong[claim].coverage
        assert right[claim].coverage.total > 50
    assert right.coverage == right["J/b"].coverage + right["p/s"].coverage
    assert right.coverage.visible > 0.95 * right.coverage.total


def test_sabotage_without_mistakes_there_is_nothing_to_cover() -> None:
    g = rectified()
    at = place(g, x=[1.0, -2.0, 0.5, -0.7], c=C)
    full = Survey("J", "x").at([at])
    bare = place(g, x=[1.0, -2.0, 0.5, -0.7], c=C)
    bare.catalogue = Catalogue(bare.run, generators=())
    assert Survey("J", "x").at([bare]).total < 0.2 * full.total
