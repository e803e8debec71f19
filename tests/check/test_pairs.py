"""Two mistakes at once: joint effects without a pass for each pair are those of full passes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import pairs as module
from graphengine.check.backward import Flow, Given
from graphengine.check.mistakes import Catalogue, Mutant
from graphengine.check.pairs import MOST_TRIED, pairs
from graphengine.check.points import sample
from graphengine.check.sides import Above, Below
from graphengine.ops.base import Array


def branches() -> ge.Graph:
    """Two branches that meet, one above the other, and a node that is used twice."""
    g = ge.Graph("branches")
    x, W, V = g.input("x", (3,)), g.parameter("W", (4, 3)), g.parameter("V", (4, 4))
    a = g.node("a", W @ x)
    h = g.node("h", ge.tanh(a))
    left = g.node("left", ge.sigmoid(V @ h))
    side = g.node("side", ge.exp(0.3 * a) * h)
    g.result("J", ge.sum(left * side) + 0.1 * ge.sum(W**2))
    return g


@cache
def flow(of: str, wrt: str, seed: int = 3, given: tuple[tuple[str, str], ...] = ()) -> Flow:
    graph = branches()
    run = graph.run(sample(graph, seed=seed))
    rng = np.random.default_rng(1)
    top, source = graph[of], graph[wrt]
    row = rng.uniform(0.5, 1.5, top.size) if top.size > 1 else np.ones(1)
    fixed = {graph[node]: 1.3 * run.jacobian(above, node).toarray() + 0.2 for above, node in given}
    own = Given(tuple("/".join(one) for one in given), fixed)
    catalogue, sides = Catalogue(run), rng.normal(size=(source.size, 4))
    return Flow(Above(catalogue, top, row, own), Below(catalogue, source, sides, own))


def full(one: Flow, *mutants: Mutant) -> Array | None:
    """What a pass with all these mistakes changes."""
    changed, right = one.matrix(mutants), one.matrix()
    assert right is not None
    return None if changed is None else np.asarray(one.row @ (changed - right) @ one.columns)


CLAIMS = [("J", "W"), ("J", "a"), ("left", "W"), ("side", "a"), ("side", "W")]


def some(one: Flow, count: int) -> list[Mutant]:
    """Mistakes of all kinds from all places on the way."""
    known = [mutant for mutant, effect in one.effects if effect.any()]
    chosen = np.random.default_rng(7).choice(len(known), count, replace=False)
    return [known[k] for k in chosen]


@pytest.mark.parametrize(
    ("of", "wrt", "given"),
    [*((*claim, ()) for claim in CLAIMS), *((*claim, (("J", "h"),)) for claim in CLAIMS[:2])],
)
def test_joint_effects_are_those_of_full_passes(
    of: str, wrt: str, given: tuple[tuple[str, str], ...]
) -> None:
    one = flow(of, wrt, 3, given)
    mutants = some(one, 24)
    effects = np.array([one.effect(mutant) for mutant in mutants])
    joint = effects[:, None] + effects[None] + module._both_ways(one, mutants)
    places = set()
    for a, first in enumerate(mutants):
        for b in range(a):
            if first.key[:3] == mutants[b].key[:3]:
                continue  # two changes of one link are no pair
            exact = full(one, first, mutants[b])
            if exact is not None and _apart(first, mutants[b]):
                size = 1e-9 * (np.max(np.abs(exact)) + np.max(np.abs(effects[[a, b]])))
                says = f"{first.says} / {mutants[b].says}"
                np.testing.assert_allclose(joint[a, b], exact, rtol=1e-9, atol=size, err_msg=says)
                np.testing.assert_array_equal(joint[a, b], joint[b, a])
                places.add((first.where, mutants[b].where))
    assert len(places) > 8


def _apart(one: Mutant, other: Mutant) -> bool:
    """Whether no link is changed by both."""
    links = {(change.child, change.parent) for change in one.changes}
    return not links & {(change.child, change.parent) for change in other.changes}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("sign", "left"), ("missing_jacobian", "h<-a")),  # above each other
        (("missing_jacobian", "h<-a"), ("wrong_argument", "left")),
        (("wrong_slope", "left"), ("wrong_slope", "side")),  # beside each other
        (("missing_regulariser", "J"), ("sign", "h<-a")),
    ],
)
def test_a_pair_is_found_wherever_it_is(one: tuple[str, str], other: tuple[str, str]) -> None:
    first, second = flow("J", "W"), flow("J", "W", 5)

    def named(kind: str, where: str) -> Mutant:
        return next(m for m, e in first.effects if (m.kind, m.where) == (kind, where) and e.any())

    two = named(*one), named(*other)
    there = [second.same(mutant) for mutant in two]
    wanted = [full(first, *two), full(second, *[m for m in there if m is not None])]
    assert wanted[0] is not None
    assert wanted[1] is not None
    found = list(pairs([first, second], [wanted[0], wanted[1]], 1e-6))
    assert found
    assert len(found) <= MOST_TRIED
    ranks = [a.rank + b.rank for a, b in found]
    assert ranks == sorted(ranks)
    for pair in found:
        np.testing.assert_allclose(full(first, *pair), wanted[0], rtol=1e-5)
    assert any({m.key[:3] for m in pair} == {m.key[:3] for m in two} for pair in found)


def test_what_no_pair_gives_is_given_by_none() -> None:
    one = flow("J", "W")
    assert list(pairs([one], [np.array([1.2345, -9.87, 3.21, 0.456])], 1e-6)) == []


def test_a_pair_is_of_two_places_and_each_changes_something() -> None:
    one = flow("J", "W")
    sign, other = some(one, 2)
    wanted = full(one, sign, other)
    assert wanted is not None
    for first, second in pairs([one], [wanted], 1e-6):
        assert first.key[:3] != second.key[:3]
        assert np.any(one.effect(first))
        assert np.any(one.effect(second))


def test_sabotage_without_what_one_brings_down_to_the_other_pairs_are_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = flow("J", "a")

    def named(kind: str, where: str) -> Mutant:
        return next(m for m, e in one.effects if (m.kind, m.where) == (kind, where) and e.any())

    two = named("wrong_slope", "left"), named("missing_jacobian", "h<-a")
    wanted = full(one, *two)
    assert wanted is not None
    assert list(pairs([one], [wanted], 1e-6))
    nothing = np.zeros(4)
    monkeypatch.setattr(module, "_both_ways", lambda flow, mutants: nothing)
    found = list(pairs([one], [wanted], 1e-6))
    assert not any({m.key for m in pair} == {m.key for m in two} for pair in found)
