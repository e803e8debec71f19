"""Known functions that a graph takes in several steps are found, and their mistakes named."""

from __future__ import annotations

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import Checker
from graphengine.check.mistakes import Catalogue
from graphengine.check.points import sample
from tests.check.derivations import ByFunctions


def written_out() -> ge.Graph:
    """A softmax, a sigmoid, a log-determinant and losses, each in steps of its own."""
    g = ge.Graph("written out")
    a, y = g.input("a", (4,)), g.input("y", (4,), kind="one_hot")
    e = g.node("e", ge.exp(a))
    p = g.node("p", e / ge.sum(e))
    g.node("loss", -ge.sum(y * ge.log(p)))
    g.node("f", 1 / (1 + ge.exp(-a)))
    g.node("plus", ge.log(1 + ge.exp(a)))
    K = g.input("K", (3, 3), kind="positive_definite")
    L = g.node("L", ge.cholesky(K))
    g.node("h", 2 * ge.sum(ge.log(ge.diag(L))))
    S = g.input("S", (5, 3))
    g.node("lse", ge.log(ge.sum(ge.exp(S), axis=1)))
    g.node("other", ge.sin(a) * e)
    return g


def known(graph: ge.Graph) -> dict[tuple[str, str], str]:
    catalogue = Catalogue(graph.run(sample(graph, seed=1)))
    return {
        (child.name, link.parent.name): link.op.name
        for child, links in catalogue.composites.items()
        for link in links
    }


def test_each_is_found_by_its_values_and_nothing_else_is() -> None:
    assert known(written_out()) == {
        ("p", "a"): "softmax",
        ("loss", "a"): "softmax_cross_entropy",
        ("loss", "p"): "cross_entropy",
        ("f", "a"): "sigmoid",
        ("plus", "a"): "softplus",
        ("h", "K"): "logdet",
        ("lse", "S"): "logsumexp",
    }


def test_an_op_by_itself_is_not_recognised_again() -> None:
    g = ge.Graph()
    a = g.input("a", (4,))
    g.node("p", ge.softmax(a))
    g.result("J", ge.logsumexp(a))
    assert not known(g)


def test_the_steps_in_between_are_its_places() -> None:
    catalogue = Catalogue((g := written_out()).run(sample(g, seed=1)))
    (link,) = catalogue.composites[g["p"]]
    assert link.where == "p<-a"
    assert set(link.places) == {"p<-e", "e<-a", "p"}
    dense = catalogue.run.jacobian("p", "a").toarray()
    np.testing.assert_allclose(link.jacobian.toarray(), dense, atol=1e-14)


CHECKER = Checker(written_out(), points=3, coverage=False)


@pytest.mark.parametrize(
    ("claim", "formula", "kind", "where"),
    [
        ("p/a", lambda v: np.diag(v.p * (1 - v.p)), "diagonal_only", "p<-e"),
        ("p/a", lambda v: np.diag(v.a) - np.outer(v.a, v.a), "wrong_argument", "p<-a"),
        ("p/a", lambda v: np.diag(v.p) - np.outer(v.p**2, np.ones(4)), "reordered", "p<-a"),
        ("loss/a", lambda v: v.a - v.y, "wrong_argument", "loss<-p"),
        ("loss/a", lambda v: (v.p - v.y) * v.p * (1 - v.p), "double_counted", "loss<-a"),
        ("f/a", lambda v: np.diag(v.a * (1 - v.a)), "wrong_argument", "f<-a"),
        ("f/a", lambda v: np.outer(v.f, 1 - v.f), "not_reduced", "f<-a"),
        ("h/K", lambda v: np.linalg.det(v.K) * np.linalg.inv(v.K), "factor", "h<-K"),
        ("lse/S", lambda v: np.kron(np.eye(5), np.ones(3)) * np.exp(v.S).ravel(), "*", "lse<-S"),
    ],
)
def test_the_mistakes_of_the_known_function_are_named(
    claim: str, formula: object, kind: str, where: str
) -> None:
    result = CHECKER.check(ByFunctions({claim: formula}))[claim]  # type: ignore[dict-item]
    (mistake,) = result.mistakes
    names = {(mistake.kind, mistake.where), *mistake.same_as}
    kind = "missing_jacobian" if kind == "*" else kind
    assert (kind, where) in names, str(result)
