"""Mistakes that change several steps at once: time steps, slices, gates, what comes from above."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import Checker
from graphengine.check.backward import Flow
from graphengine.check.mistakes import Catalogue
from graphengine.check.points import sample
from graphengine.check.sides import Above, Below
from tests.check.derivations import ByFunctions, Formula


def steps() -> ge.Graph:
    """Three steps of ``s ← tanh(A s + x_t)``, each with a loss."""
    g = ge.Graph("steps")
    X, s0, A = g.input("X", (3, 2)), g.input("s0", (2,)), g.parameter("A", (2, 2))
    c = g.input("c", (2,))
    s, losses = s0, []
    for t in range(3):
        z = g.node(f"z{t + 1}", A @ s + X[t])
        s = g.node(f"s{t + 1}", ge.tanh(z))
        losses.append(g.node(f"l{t + 1}", ge.sum(c * s)))
    g.result("J", losses[0] + losses[1] + losses[2])
    return g


def slices() -> ge.Graph:
    """Two taps of a filter, and a gate."""
    g = ge.Graph("slices")
    x, W, c = g.input("x", (6,)), g.parameter("W", (2, 3, 5)), g.input("c", (3,))
    u = g.node("u", W[0] @ x[0:5])
    v = g.node("v", W[1] @ x[1:6])
    m = g.node("m", ge.maximum(u, v))
    q = g.node("q", u * v)
    g.result("J", ge.sum(c * m) + ge.sum(q**2))
    return g


def halves() -> ge.Graph:
    """A vector in three blocks."""
    g = ge.Graph("blocks")
    a, c = g.input("a", (6,)), g.input("c", (2,))
    i, f, o = (g.node(name, a[k : k + 2]) for name, k in (("i", 0), ("f", 2), ("o", 4)))
    g.result("J", ge.sum(c * ge.tanh(i) * ge.sigmoid(f) * o))
    return g


GRAPHS = {"steps": steps, "slices": slices, "blocks": halves}


@pytest.mark.parametrize(
    ("name", "wrt"),
    [("steps", "A"), ("steps", "s1"), ("slices", "W"), ("slices", "x"), ("slices", "u")],
)
def test_effects_of_all_mistakes_are_what_a_full_pass_changes(name: str, wrt: str) -> None:
    graph = GRAPHS[name]()
    catalogue = Catalogue(graph.run(sample(graph, seed=2)))
    top, source = graph["J"], graph[wrt]
    columns = np.random.default_rng(1).normal(size=(source.size, 4))
    flow = Flow(Above(catalogue, top, np.ones(1)), Below(catalogue, source, columns))
    right = flow.matrix()
    assert right is not None
    several = 0
    for mutant, effect in flow.effects:
        matrix = flow.matrix((mutant,))
        assert matrix is not None
        changed = ((matrix - right) @ columns).ravel()
        np.testing.assert_allclose(effect, changed, atol=1e-9, err_msg=mutant.says)
        several += len(mutant.changes) > 1
    assert several > 0


@cache
def checker(name: str) -> Checker:
    return Checker(GRAPHS[name](), points=4, coverage=False)


def backward(v: object) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """The gradients with respect to z1, z2, z3, by hand."""
    found: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    above = np.zeros(2)
    for t in (3, 2, 1):
        above = (1 - getattr(v, f"s{t}") ** 2) * (v.c + above)
        found.insert(0, above)
        above = v.A.T @ above
    return found


def outer(v: object, *names: str) -> object:
    pairs = zip(backward(v), names, strict=True)
    return sum(np.outer(d, getattr(v, name)) for d, name in pairs)


NAMED: list[tuple[str, str, Formula, str, str]] = [
    ("steps", "J/A", lambda v: outer(v, "s1", "s2", "s3"), "shifted", "A"),
    ("steps", "J/A", lambda v: outer(v, "s2", "s1", "s0"), "reordered", "A"),
    ("steps", "J/A", lambda v: outer(v, "s0", "s0", "s0"), "shifted", "A"),
    ("steps", "J/A", lambda v: outer(v, "s1", "s2", "s0"), "shifted", "A"),
    ("slices", "m/x", lambda v: _spread(v, 1.0, 1.0), "missing_jacobian", "m"),
    ("slices", "m/x", lambda v: _spread(v, 0.5, 0.5), "wrong_slope", "m"),
    ("slices", "m/u", lambda v: np.eye(3) / 2, "wrong_slope", "m<-u"),
    ("slices", "m/u", lambda v: np.diag(np.sign(v.u - v.v)), "wrong_slope", "m<-u"),
    ("slices", "q/u", lambda v: np.outer(v.v, np.ones(3)), "not_reduced", "q<-u"),
    ("blocks", "J/a", lambda v: _blocks(v, 1, 0, 2), "reordered", "a"),
    ("blocks", "J/a", lambda v: _blocks(v, 2, 0, 1), "reordered", "a"),
    ("blocks", "J/o", lambda v: (v.c * np.tanh(v.i) / (1 + np.exp(-v.f)))[::-1], "reordered", "o"),
]


def _spread(v: object, first: float, second: float) -> object:
    W = v.W
    made = np.zeros((3, 6))
    made[:, 0:5] += first * W[0]
    made[:, 1:6] += second * W[1]
    return made


def _blocks(v: object, *order: int) -> object:
    c, i, f, o = (getattr(v, name) for name in "cifo")
    t, s = np.tanh(i), 1 / (1 + np.exp(-f))
    parts = (c * (1 - t**2) * s * o, c * t * s * (1 - s) * o, c * t * s)
    return np.concatenate([parts[k] for k in order])


@pytest.mark.parametrize(("name", "claim", "formula", "kind", "where"), NAMED)
def test_they_are_named(name: str, claim: str, formula: Formula, kind: str, where: str) -> None:
    result = checker(name).check(ByFunctions({claim: formula}))[claim]
    (mistake,) = result.mistakes
    assert (kind, where) in {(mistake.kind, mistake.where), *mistake.same_as}, str(result)
