"""The catalogue of mistakes: every one can be made somewhere, and is what it says it is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import graphengine as ge
from graphengine.check.mistakes import Catalogue, base
from graphengine.check.mistakes.kinds import KINDS
from graphengine.check.points import points
from graphengine.check.trust import Place
from tests.bench import cases

GRAPHS = ("attention", "convolution", "gaussian_likelihood", "iris", "relu_svm_net", "activations")
GRAPHS += ("logdet", "network_cross_entropy", "binary_hinge", "linear_svm")
GRAPHS += ("bundle_adjustment", "squared_distance", "gates_sigmoid_chain", "maxout", "rnn")
GRAPHS += ("weibull_fit", "collaborative_bias", "gaussian_mixture")
GRAPHS += ("svm_loss_scores", "two_branches", "softmax_loss_scores", "chain_sin_square")


def further() -> Catalogue:
    """Ops that no graph of the bench has."""
    g = ge.Graph("further")
    x = g.parameter("x", (3,))
    c = g.node("c", ge.clip(x, -0.5, 0.5))
    R = g.node("R", ge.repeat(c, repeats=2))
    g.result("J", ge.sum(R**2))
    return Catalogue(g.run({"x": [0.1, -0.9, 0.7]}))


@cache
def catalogue(name: str) -> Catalogue:
    spec = cases.spec_of(cases.HERE / f"{name}.yaml")
    drawn = points(spec, np.random.default_rng(0), 2)[-1]
    return Catalogue(drawn.run)


@pytest.mark.parametrize("generator", base.LINKS, ids=lambda one: one.__name__)
def test_every_mistake_can_be_made_somewhere(generator: base.Catalogued) -> None:
    for name in (*GRAPHS, ""):
        found = catalogue(name) if name else further()
        for links in (*found.edges.values(), *found.ways.values()):
            for link in links:
                for mutant in generator(link):
                    assert mutant.says
                    return
    pytest.fail("no graph of the bench has a place for it")


@pytest.mark.parametrize("generator", base.ON_THE_WAY, ids=lambda one: one.__name__)
def test_every_mistake_on_a_whole_way_can_be_made_somewhere(generator: base.OnTheWay) -> None:
    for name in GRAPHS:
        file, known = cases.HERE / f"{name}.yaml", catalogue(name)
        for claim in sorted({case.claim for case in cases.wrong(file)}):
            of, wrt = (known.run.graph[node] for node in claim.split("/"))
            if any(mutant.says for mutant in generator(known.way(of, wrt))):
                return
    pytest.fail("no graph of the bench has a place for it")


@pytest.mark.parametrize("name", GRAPHS)
def test_mutants_have_shapes_kinds_and_keys_of_their_own(name: str) -> None:
    file = cases.HERE / f"{name}.yaml"
    claims = {case.claim for case in cases.wrong(file)}
    found = catalogue(name)
    graph = found.run.graph
    for claim in sorted(claims)[:4]:
        of, wrt = claim.split("/")
        mutants = list(found.between(graph[of], graph[wrt]))
        keys = [mutant.key for mutant in mutants]
        assert len(set(keys)) == len(keys), _twice(keys)
        for mutant in mutants:
            assert mutant.kind in KINDS
            for change in mutant.changes:
                made = found.made(change)
                if made is not None:
                    assert made.out_shape == change.child.shape, mutant.says
                    assert made.in_shape == change.parent.shape, mutant.says


def _twice(keys: list[tuple[object, ...]]) -> object:
    return next(key for key in keys if keys.count(key) > 1)


@pytest.mark.parametrize("name", ["softmax_regression", "rnn", "layer_norm"])
def test_keys_are_the_same_at_all_points(name: str) -> None:
    file = cases.HERE / f"{name}.yaml"
    of, wrt = next(iter(cases.wrong(file))).claim.split("/")
    drawn = points(cases.spec_of(file), np.random.default_rng(0), 3, claims=[(of, wrt)])
    places = [Place(one, np.random.default_rng(k), 1e-7) for k, one in enumerate(drawn)]
    keys = [{mutant.key for mutant, _ in place.flow(of, wrt).effects} for place in places]
    assert len(set.intersection(*keys)) > 0.6 * max(map(len, keys))
