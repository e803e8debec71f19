"""What explains a wrong claim: the mistake and its place, two mistakes, doubt, nothing known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import Checker, ClaimResult, check
from graphengine.check.mistakes import base, chain, rules, scale
from graphengine.derivation import FormulaDerivation
from tests.check.derivations import ByFunctions, Formula, least_squares, softmax_regression

SPECS = Path(__file__).parents[2] / "specs"


@cache
def lecture() -> Checker:
    """The lecture's example at sizes that vary: ``J = l + lam r``, softmax of ``W x + b``."""
    return Checker(SPECS / "softmax_regression.yaml")


def told(result: ClaimResult) -> set[tuple[str, str]]:
    """The kinds and places of the one mistake that is named."""
    (mistake,) = result.mistakes
    return {(mistake.kind, mistake.where), *mistake.same_as}


NAMED = [
    ("l/p", "y / (y @ p)", "sign", "l<-p"),
    ("l/p", "-y / (y @ s)", "wrong_argument", "l"),
    ("l/p", "-y / (y @ p) / log(2)", "factor", "l<-p"),
    ("p/s", "diag(p * (1 - p))", "diagonal_only", "p<-s"),
    ("p/s", "-outer(p, p)", "missing_path", "p<-s"),
    ("p/s", "outer(p, p) - diag(p)", "sign", "p<-s"),
    ("p/s", "diag(s) - outer(s, s)", "wrong_argument", "p<-s"),
    ("p/s", "eye(C)", "missing_jacobian", "p<-s"),
    ("z/W", "kron(x, eye(C))", "kronecker_order", "z<-W"),
    ("z/W", "-kron(eye(C), x)", "sign", "z<-W"),
    ("z/W", "kron(eye(C), x).T", "jacobian_transposed", "z<-W"),
    ("z/x", "W.T", "jacobian_transposed", "z<-x"),
    ("r/W", "W", "factor", "r<-W"),
    ("r/W", "W**2", "wrong_slope", "r<-W"),
    ("J/r", "lam**2", "factor", "J<-r"),
    ("J/s", "y - p", "sign", "p<-s"),
    ("J/s", "p", "missing_path", "p<-s"),
    ("J/s", "(p - y) * p * (1 - p)", "double_counted", "p<-s"),
    ("J/s", "-y / (y @ p)", "missing_jacobian", "p<-s"),
    ("J/W", "outer(p - y, x)", "missing_regulariser", "r"),
    ("J/W", "outer(p - y, x) + lam * W", "regulariser_scale", "r"),
    ("J/W", "outer(p - y, x) + 2 * W", "factor", "J<-r"),
    ("J/W", "outer(p - y, x) - 2 * lam * W", "regulariser_scale", "r"),
    ("J/W", "outer(p - y, x) + lam * sign(W)", "regulariser_scale", "r"),
    ("J/W", "outer(x, p - y) + 2 * lam * W.T", "transposed", "W"),
    ("J/W", "2 * lam * W", "missing_path", "z<-W"),
    ("J/W", "zeros(C, d)", "treated_as_constant", "W"),
    ("J/W", "(outer(p - y, x) + 2 * lam * W) / C", "mean_for_sum", "W"),
    ("J/W", "p - y", "missing_jacobian", "z<-W"),
    ("J/x", "p - y", "missing_jacobian", "z<-x"),
    ("J/b", "1.37 * (p - y)", "factor", "s<-b"),
    ("J/b", "p - y + 2 * lam * b", "regularised_bias", "b"),
    ("J/b", "1.37 * (p - y) + b**2", "unknown", "b"),
    ("J/x", "(p - y) @ W + x", "unknown", "x"),
]


@pytest.mark.parametrize(("claim", "formula", "kind", "where"), NAMED)
def test_a_mistake_is_named_with_its_place(claim: str, formula: str, kind: str, where: str) -> None:
    result = lecture().check({claim: formula})[claim]
    assert result.verdict == "wrong"
    assert (kind, where) in told(result), str(result)
    assert not result.alternatives
    assert result.certain == (kind != "unknown")
    assert result.what.startswith(result.mistakes[0].says)


def test_what_is_unknown_shows_the_worst_entry_with_both_values() -> None:
    result = lecture().check({"J/b": "1.37 * (p - y) + b**2"})["J/b"]
    assert result.worst is not None
    index, claimed, right = result.worst.index[0], result.worst.claimed, result.worst.reference
    assert f"entry [{index}]: claimed {claimed:.6g}, right is {right:.6g}" in result.what


# --- two mistakes -------------------------------------------------------------------------------

TWO = [
    ("J/W", "outer(y - p, x) + lam * W", {"sign", "regulariser_scale"}),
    ("J/W", "outer(y - p, x)", {"sign", "missing_regulariser"}),
    ("J/W", "outer(p, x) + lam * W", {"missing_path", "regulariser_scale"}),
    ("J/W", "outer(x, p - y) + lam * W.T", {"transposed", "regulariser_scale"}),
    ("J/W", "outer((p - y) * p * (1 - p), x)", {"double_counted", "missing_regulariser"}),
    ("J/b", "-y / (y @ p) + 2 * lam * b", {"missing_jacobian", "regularised_bias"}),
    ("p/s", "-diag(p * (1 - p))", {"sign", "diagonal_only"}),
    ("z/W", "-kron(x, eye(C))", {"sign", "kronecker_order"}),
    ("J/x", "-p @ W", {"sign", "missing_path"}),
]


@pytest.mark.parametrize(("claim", "formula", "kinds"), TWO)
def test_two_mistakes_are_named_together(claim: str, formula: str, kinds: set[str]) -> None:
    result = lecture().check({claim: formula})[claim]
    assert {mistake.kind for mistake in result.mistakes} == kinds, str(result)
    assert len(result.mistakes) == 2
    assert not result.alternatives
    assert all(mistake.says in result.what for mistake in result.mistakes)


# --- doubt --------------------------------------------------------------------------------------


def test_several_fits_are_all_listed_and_none_is_certain() -> None:
    result = lecture().check({"J/s": "-p * (1 - p)"})["J/s"]
    assert result.alternatives
    assert not result.certain
    assert "either" in result.what
    for fit in (result.mistakes, *result.alternatives):
        assert " and ".join(mistake.says for mistake in fit) in result.what


def test_a_far_fetched_mistake_is_told_as_a_guess() -> None:
    result = lecture().check({"J/b": "s"})["J/b"]
    assert ("missing_jacobian", "s") in told(result)
    assert "perhaps" in result.what
    assert not result.certain


@pytest.mark.parametrize("formula", ["3", "0.7234", "-17 / 3"])
def test_a_single_number_that_is_off_is_explained_as_a_guess(formula: str) -> None:
    result = lecture().check({"J/l": formula})["J/l"]
    assert result.verdict == "wrong"
    assert result.mistakes
    assert not result.certain


def test_a_mistake_with_a_reason_of_its_own_is_certain_even_for_a_single_number() -> None:
    result = lecture().check({"J/r": "1"})["J/r"]
    assert ("factor", "J<-r") in told(result)
    assert result.certain


@pytest.mark.parametrize(
    ("formula", "kind"),
    [
        ("sum(G, axis=0)", "not_averaged"),
        ("sum(G, axis=0) / N**2", "averaged_twice"),
        ("sum(G, axis=0) / 7", "unknown"),
    ],
)
def test_a_factor_must_have_its_meaning_at_all_sizes(formula: str, kind: str) -> None:
    """Divided by 7 in place of N is no mean at any size, and no fixed factor either."""
    derivation = FormulaDerivation({"J/b": formula}, {"G": "P - Y"})
    result = minibatch().check(derivation)["J/b"]
    assert result.mistakes[0].kind == kind, str(result)


@cache
def minibatch() -> Checker:
    return Checker(SPECS / "softmax_minibatch.yaml")


# --- scale --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize(
    ("kinds", "formula"),
    [
        ({"missing_regulariser"}, lambda v: v.c * np.outer(v.p - v.y, v.x)),
        (
            {"sign", "regulariser_scale"},
            lambda v: v.c * (np.outer(v.y - v.p, v.x) + v.lam * v.W),
        ),
        ({"factor"}, lambda v: np.outer(v.p - v.y, v.x) + 2 * v.lam * v.W),  # c left out
    ],
)
def test_diagnoses_do_not_depend_on_scale(kinds: set[str], formula: Formula, size: float) -> None:
    result = scaled(3.0 * size).check(ByFunctions({"J/W": formula}))["J/W"]
    assert result.verdict == "wrong"
    assert {mistake.kind for mistake in result.mistakes} == kinds, str(result)


@cache
def scaled(size: float) -> Checker:
    return Checker(softmax_regression(scale=size))


def near_cancelling() -> Checker:
    g = ge.Graph()
    x, a, tiny = g.input("x", (3,)), g.input("a", (3,)), g.constant("tiny", 1e-9)
    b = g.node("b", a * (1 + tiny))
    g.result("J", ge.sum(b * x - a * x))
    return Checker(g)


def test_what_nearly_cancels_is_told_apart_by_what_is_left() -> None:
    checker = near_cancelling()
    cases: Mapping[str, tuple[str, Formula]] = {
        "missing_path": ("J<-x", lambda v: v.b),
        "sign": ("J", lambda v: v.a + v.b),
        "treated_as_constant": ("x", lambda v: 0 * v.x),
    }
    for kind, (where, formula) in cases.items():
        result = checker.check(ByFunctions({"J/x": formula}))["J/x"]
        assert (kind, where) in told(result), str(result)
    double = checker.check(ByFunctions({"J/x": lambda v: 2 * v.a * v.tiny}))["J/x"]
    assert ("factor", "J") in told(double)


# --- constants that drown the term they stand before --------------------------------------------


def ridge(lam: float) -> Checker:
    g = ge.Graph("ridge")
    X, y, w = g.input("X", (5, 3)), g.input("y", (5,)), g.parameter("w", (3,))
    weight = g.constant("lam", lam)
    e = g.node("e", X @ w - y)
    r = g.node("r", ge.sum(w**2))
    g.result("J", ge.mean(e**2) + weight * r)
    return Checker(g)


def data(v: Any) -> Any:
    return 2 * v.e @ v.X / 5


@pytest.mark.parametrize("lam", [1e-9, 1e-4, 2.0, 1e6])
def test_mistakes_in_a_term_with_a_tiny_or_huge_factor(lam: float) -> None:
    checker = ridge(lam)
    cases: Mapping[str, Formula] = {
        "missing_regulariser": data,
        "regulariser_scale": lambda v: data(v) + v.lam * v.w,
        "not_averaged": lambda v: 5 * data(v) + 2 * v.lam * v.w,
        "averaged_twice": lambda v: data(v) / 5 + 2 * v.lam * v.w,
    }
    for kind, formula in cases.items():
        result = checker.check(ByFunctions({"J/w": formula}))["J/w"]
        assert (result.verdict, result.mistakes[0].kind) == ("wrong", kind), str(result)
        assert result.certain
    right = checker.check(ByFunctions({"J/w": lambda v: data(v) + 2 * v.lam * v.w}))["J/w"]
    assert (right.verdict, right.what) == ("right", "")


@pytest.mark.parametrize("lam", [1e-9, 1e-4, 1e6])
def test_a_constant_s_number_written_out_is_right_with_a_note(lam: float) -> None:
    checker = ridge(lam)
    written = checker.check(ByFunctions({"J/w": lambda v: data(v) + 2 * lam * v.w}))["J/w"]
    assert written.verdict == "right"
    assert "the claim has numbers for them" in written.what
    twice = checker.check(ByFunctions({"J/w": lambda v: data(v) + 4 * lam * v.w}))["J/w"]
    assert twice.verdict == "wrong"


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "formula", "kind", "where"),
    [
        ("J/W", lambda v: -np.outer(v.x, v.e), "transposed", "W"),
        ("e/W", lambda v: -np.kron(np.eye(3), v.x).T, "jacobian_transposed", "e<-W"),
        ("e/x", lambda v: -v.W.T, "jacobian_transposed", "e<-x"),
        ("J/W", lambda v: -np.outer(v.e, v.x).reshape(2, 6), "shape", "W"),
        ("J/x", lambda v: v.e, "missing_jacobian", "e<-x"),
        ("J/W", lambda v: np.zeros((2, 2)), "shape", "W"),
    ],
)
def test_wrong_shapes_are_looked_into(name: str, formula: Formula, kind: str, where: str) -> None:
    result = check(least_squares(), ByFunctions({name: formula}))[name]
    assert (result.verdict, result.relative_error) == ("wrong", None)
    assert (kind, where) in told(result), str(result)


def test_a_broadcast_that_is_not_added_up() -> None:
    g = ge.Graph()
    X, W, b = g.input("X", (5, 4)), g.parameter("W", (4, 3)), g.parameter("b", (3,))
    Z = g.node("Z", X @ W + b)
    g.result("J", ge.sum(Z**2))
    checker = Checker(g)
    result = checker.check(ByFunctions({"J/b": lambda v: 2 * v.Z}))["J/b"]
    assert ("not_reduced", "Z<-b") in told(result)
    for kind, formula in {
        "mean_for_sum": lambda v: 2 * v.Z.mean(0),
        "last_only": lambda v: 2 * v.Z[-1],
    }.items():
        result = checker.check(ByFunctions({"J/b": formula}))["J/b"]
        assert (kind, "Z<-b") in told(result), str(result)


# --- sabotage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generator", "claim", "formula", "kind"),
    [
        (scale.sign, "J/W", "outer(y - p, x) + 2 * lam * W", "sign"),
        (rules.power_rule, "r/W", "W**2", "wrong_slope"),
        (chain.missing_jacobian, "J/s", "-y / (y @ p)", "missing_jacobian"),
        (chain.one_term_of_a_jacobian, "p/s", "-outer(p, p)", "missing_path"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_sabotage_a_mistake_left_out_of_the_catalogue_is_not_named(
    generator: base.Catalogued,
    claim: str,
    formula: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = lecture().check({claim: formula})[claim]
    assert before.certain
    kept = [one for one in base.LINKS if one is not generator]
    assert len(kept) == len(base.LINKS) - 1
    monkeypatch.setattr("graphengine.check.mistakes.catalogue.LINKS", kept)
    after = Checker(SPECS / "softmax_regression.yaml").check({claim: formula})[claim]
    assert after.verdict == "wrong"
    assert not (after.certain and after.mistakes == before.mistakes), str(after)


def test_sabotage_at_one_point_alone_the_factor_has_a_false_meaning() -> None:
    """Divided by 7 in place of N: where N is 3 alone, any size or number would do."""
    derivation = FormulaDerivation({"J/b": "sum(G, axis=0) / 7"}, {"G": "P - Y"})
    alone = Checker(SPECS / "softmax_minibatch.yaml", points=3, vary_sizes=False)
    assert alone.check(derivation)["J/b"].mistakes[0].kind == "factor"
    assert minibatch().check(derivation)["J/b"].mistakes[0].kind == "unknown"
