"""Rearrangements: each form undone gives the right answer back, and only where it fits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import Checker, ClaimResult
from graphengine.check.case import Case
from graphengine.check.rearranged import Rearranged, rearrangements
from graphengine.derivation import Claim
from graphengine.jacobian import Layout
from graphengine.ops.base import Array
from tests.check.derivations import ByFunctions


@cache
def layer() -> Checker:
    """``Y = A B + b``: matrices on both sides, a broadcast, and a number above them."""
    g = ge.Graph("layer")
    A, B, b = g.input("A", (4, 3)), g.parameter("B", (3, 5)), g.parameter("b", (5,))
    S = g.parameter("S", (5, 5))
    Y = g.node("Y", A @ B + b)
    Q = g.node("Q", Y @ S)
    g.result("J", ge.sum(Q**3))
    return Checker(g, points=3)


def right(v: Any, name: str) -> Array:
    """The derivatives by hand."""
    upper = 3 * v.Q**2
    return {
        "J/B": v.A.T @ upper @ v.S.T,
        "J/b": (upper @ v.S.T).sum(0),
        "J/S": v.Y.T @ upper,
        "J/Y": upper @ v.S.T,
        "Y/B": np.kron(v.A, np.eye(5)),
        "Y/A": np.kron(np.eye(4), v.B.T),
        "Q/Y": np.kron(np.eye(4), v.S.T),
    }[name]


def result(
    name: str, change: Callable[[Array, Any], Any], layout: Layout = "numerator"
) -> ClaimResult:
    claims = {name: lambda v: change(right(v, name), v)}
    return layer().check(ByFunctions(claims, layout))[name]


@pytest.mark.parametrize("name", ["J/B", "J/b", "J/S", "J/Y", "Y/B", "Y/A", "Q/Y"])
def test_the_derivatives_by_hand_are_right(name: str) -> None:
    assert result(name, lambda found, v: found).verdict == "right"


def by_columns(found: Array, rows: tuple[int, ...] = (), columns: tuple[int, ...] = ()) -> Array:
    """The Jacobian of somebody who stacks columns where ravel() stacks rows."""
    m, n = found.shape
    order = [np.arange(k).reshape(s or (k,)).ravel("F") for k, s in ((m, rows), (n, columns))]
    return found[np.ix_(*order)]


CASES: list[tuple[str, Callable[[Array, Any], Any], str, str]] = [
    ("J/B", lambda g, v: g.T, "transposed", "B"),
    ("J/S", lambda g, v: g.T, "transposed", "S"),
    ("J/B", lambda g, v: g.ravel("F"), "reordered", "B"),
    ("J/B", lambda g, v: g[::-1], "reordered", "B"),
    ("J/B", lambda g, v: g[:, ::-1], "reordered", "B"),
    ("J/B", lambda g, v: np.roll(g, 1, 0), "shifted", "B"),
    ("J/B", lambda g, v: np.roll(g, -1, 1), "shifted", "B"),
    ("J/b", lambda g, v: g[::-1], "reordered", "b"),
    ("J/b", lambda g, v: np.roll(g, 1), "shifted", "b"),
    ("J/S", lambda g, v: 2 * g - np.diag(np.diag(g)), "double_counted", "S"),
    ("Y/B", lambda g, v: g.T, "jacobian_transposed", "Y<-B"),
    ("Y/A", lambda g, v: g.T, "jacobian_transposed", "Y<-A"),
    ("Y/B", lambda g, v: by_columns(g, columns=(3, 5)), "kronecker_order", "Y<-B"),
    ("Y/B", lambda g, v: by_columns(g, rows=(4, 5)), "kronecker_order", "Y<-B"),
    ("Y/B", lambda g, v: by_columns(g, (4, 5), (3, 5)), "kronecker_order", "Y<-B"),
    ("Y/A", lambda g, v: by_columns(g, (4, 5), (4, 3)), "kronecker_order", "Y<-A"),
    ("Y/A", lambda g, v: g[::-1], "reordered", "Y<-A"),
    ("Y/A", lambda g, v: np.roll(g, 10, 0), "reordered", "Y<-A"),
    ("Y/A", lambda g, v: -g, "sign", "Y<-A"),
    ("J/b", lambda g, v: 3 * v.Q**2 @ v.S.T, "not_reduced", "Y<-b"),
    ("J/B", lambda g, v: g.reshape(5, 3), "shape", "B"),
]


@pytest.mark.parametrize(("name", "change", "kind", "where"), CASES)
def test_a_rearranged_claim_is_named(
    name: str, change: Callable[[Array, Any], Any], kind: str, where: str
) -> None:
    found = result(name, change)
    assert found.verdict == "wrong"
    (mistake,) = found.mistakes
    assert (kind, where) in {(mistake.kind, mistake.where), *mistake.same_as}, str(found)
    assert not found.alternatives


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("Y/B", lambda g, v: g, "jacobian_transposed"),
        ("Q/Y", lambda g, v: g, "jacobian_transposed"),
        ("Y/B", lambda g, v: by_columns(g, columns=(3, 5)).T, "kronecker_order"),
    ],
)
def test_in_denominator_layout_the_other_one_is_transposed(
    name: str, change: Callable[[Array, Any], Any], kind: str
) -> None:
    assert result(name, lambda g, v: g.T, "denominator").verdict == "right"
    found = result(name, change, "denominator")
    (mistake,) = found.mistakes
    assert (kind, name.replace("/", "<-")) in {
        (mistake.kind, mistake.where),
        *mistake.same_as,
    }, str(found)


def test_a_rearrangement_and_a_mistake_are_told_together() -> None:
    found = result("J/B", lambda g, v: -g.T)
    assert {mistake.kind for mistake in found.mistakes} == {"transposed", "sign"}


# --- the forms themselves -----------------------------------------------------------------------


def forms(name: str, made: Callable[[Array], Array]) -> list[Rearranged]:
    """The rearrangements that fit a claim at the points of the checker."""
    layer().check(ByFunctions({name: lambda v: right(v, name)}))
    kept = next(
        one for pairs, one in layer()._prepared.items() if pairs == {tuple(name.split("/"))}
    )
    places = list(kept.places)
    of, wrt = name.split("/")
    references = [place.reference(place.graph[of], place.graph[wrt]) for place in places]
    arrays = [
        made(r.matrix.reshape(p.graph[wrt].shape) if p.graph[of].size == 1 else r.matrix)
        for r, p in zip(references, places, strict=True)
    ]
    case = Case(Claim(of, wrt, "", ""), "numerator", places, arrays, references, 1e-7, {})
    fitting = arrays[0].shape in {(p.graph[of].size, p.graph[wrt].size) for p in places}
    fitting |= arrays[0].shape == places[0].graph[wrt].shape
    matrices = None
    if fitting:
        matrices = [a.reshape(r.matrix.shape) for a, r in zip(arrays, references, strict=True)]
    found = list(rearrangements(case, matrices))
    for one in found:
        assert len(one.matrices) == len(places)
        for matrix, reference in zip(one.matrices, references, strict=True):
            assert matrix.shape == reference.matrix.shape
    return [
        one
        for one in found
        if all(np.allclose(m, r.matrix) for m, r in zip(one.matrices, references, strict=True))
    ]


@pytest.mark.parametrize("name", ["J/B", "J/b", "Y/B", "Y/A", "Q/Y"])
def test_the_right_answer_is_no_rearrangement_of_itself(name: str) -> None:
    assert forms(name, lambda g: g) == []


def test_undoing_gives_the_right_answer_back() -> None:
    assert [one.mistake.kind for one in forms("J/B", lambda g: g.T)] == ["transposed", "reordered"]
    assert [one.mistake.kind for one in forms("Y/A", lambda g: g.T)] == ["jacobian_transposed"]
    assert [one.mistake.kind for one in forms("J/b", lambda g: g[::-1])] == ["reordered"]
    assert forms("J/B", lambda g: g + 1.0) == []


def test_random_orders_are_not_explained() -> None:
    order = np.random.default_rng(0).permutation(15)
    found = result("J/B", lambda g, v: g.ravel()[order].reshape(3, 5))
    assert [mistake.kind for mistake in found.mistakes] == ["unknown"]
