"""Every file in specs/: it loads, runs, its claims are right, and both engines agree.

A new file is tested without an edit here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from graphengine.check import check
from graphengine.check.points import sample
from graphengine.derivation import FormulaDerivation
from graphengine.formula import Formula
from graphengine.jacobian import Layout
from graphengine.lecture import EvaluateGraphFn, PerformBackPass, Visit
from graphengine.run import Run
from graphengine.spec import Spec, load

from .lecture_specs import FOLDER, Array, spec

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))

EXAMPLES = {
    "S0: linear scores, softmax, cross-entropy, L2": ["softmax_regression"],
    "S0: mini-batch": ["softmax_minibatch"],
    "S0: multi-class SVM loss": ["svm_regression"],
    "S0: sin(x²), chains": ["chain_sin_square", "chain_of_functions"],
    "S0: two branches": ["two_branches"],
    "S1: multi-layer networks": ["network_cross_entropy", "network_squared_error"],
    "S1: deep but thin": ["deep_thin_network"],
    "S1: σ' and tanh'": ["logistic_and_tanh"],
    "S2: (x + y) z": ["gates_product"],
    "S2: logistic unit, one node and gate by gate": ["gates_sigmoid", "gates_sigmoid_chain"],
    "S2: add, copy, mul, max": ["gates_add_copy_mul_max"],
    "S2: ReLU's Jacobian": ["relu_vector"],
    "S2: Y = X W": ["matmul_xw"],
    "S2: nets and the flat SVM formula": ["hidden_sigmoid_net", "relu_svm_net", "linear_svm"],
    "S3 (a)": ["logistic_unit"],
    "S3 (b)": ["squared_distance"],
    "S3 (c)": ["gp_latent_variable"],
    "S3 (d)": ["swish_net"],
    "S4: softmax loss, shift": ["softmax_loss_scores", "softmax_shift"],
    "S4: SVM losses": ["svm_loss_scores", "binary_hinge"],
    "S4: networks": ["network_26", "network_46", "linear_network", "autoencoder"],
    "S4: XOR": ["xor_network", "xor_linear"],
    "S4: activations": ["activations", "maxout", "sigmoid_unit"],
    "S4: cross-entropy against squared error": ["cross_entropy_vs_squared_error"],
    "S4: softplus by graph": ["softplus_graph"],
    "S4: layouts, vector chain rule": ["linear_map", "vector_chain_rule"],
    "S4: squared error, least squares": [
        "squared_error_vector",
        "least_squares",
        "least_squares_batch",
    ],
    "S4: Y = W X": ["matmul_wx"],
    "S4: ReLU layer": ["relu_layer"],
    "S4: Hessian": ["hessian_quadratic", "hessian_logsumexp"],
    "real data": ["iris", "digits"],
}


def point(name: str) -> dict[str, Array]:
    """The spec's own point, or a random one."""
    found = spec(name)
    return dict(found.values) or sample(found.graph, seed=0)


def said(found: Spec) -> tuple[Layout, Mapping[str, Formula], list[tuple[str, str]]]:
    """The derivation as plain data."""
    derivation = found.derivation
    assert isinstance(derivation, FormulaDerivation)
    claims = [(claim.name, claim.source) for claim in derivation.claims]
    return derivation.layout, derivation.let, claims


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_worked_example_has_its_spec(example: str) -> None:
    assert set(EXAMPLES[example]) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestSpec:
    def test_says_what_it_is(self, name: str) -> None:
        found = spec(name)
        assert found.name.strip()
        assert len(found.about) > 40
        assert re.search(r"\bS[0-4]\b", found.about), "which source?"

    def test_runs_at_its_point(self, name: str) -> None:
        found = spec(name)
        run = found.graph.run(point(name))
        assert np.isfinite(run.value(found.graph.result_node)).all()
        for node in found.graph.starts:
            assert np.isfinite(run.jacobian(found.graph.result_node, node).data).all()

    def test_all_claims_are_right(self, name: str) -> None:
        found = spec(name)
        report = check(found, found.derivation)
        assert report.exit_status == 0, str(report)
        assert len(report.claims) >= 2
        assert all(claim.verdict == "right" for claim in report.claims)

    def test_twice_each_claim_is_wrong(self, name: str) -> None:
        found = spec(name)
        layout, let, claims = said(found)
        twice = {claim: f"2 * ({source})" for claim, source in claims}
        report = check(found, FormulaDerivation(twice, let, layout=layout))
        assert [claim.claim for claim in report.claims if claim.verdict != "wrong"] == []

    def test_saved_and_loaded_it_is_equal(self, name: str, tmp_path: Path) -> None:
        found = spec(name)
        found.save(tmp_path / "again.yaml")
        again = load(tmp_path / "again.yaml")
        assert again.graph == found.graph
        assert (again.name, again.about) == (found.name, found.about)
        assert again.sizes == found.sizes
        assert said(again) == said(found)
        assert again.values.keys() == found.values.keys()
        for key, value in found.values.items():
            assert_array_equal(again.values[key], value)

    def test_the_lecture_s_passes_agree_with_the_run(self, name: str) -> None:
        found, values = spec(name), point(name)
        G, run = found.graph.dag, found.graph.run(values)
        for key, value in values.items():
            G.nodes[key]["value"] = value
        EvaluateGraphFn(G)
        visits: list[Visit] = []
        PerformBackPass(G, record=visits)
        assert len(set(visits)) == len(visits), "each gradient and each Jacobian once"
        result = found.graph.result_node
        for n in [result.name, *nx.ancestors(G, result.name)]:
            assert_array_equal(G.nodes[n]["value"], run.value(n))
            error = np.abs(as_dense(G.nodes[n]["Grad"]) - expected(run, n)).max(initial=0.0)
            assert error <= 1e-12 * contributions(G, n), n


def expected(run: Run, node: str) -> Array:
    """What ``Grad`` is to be: the gradient as a row, or the Jacobian of a vector result."""
    result = run.graph.result_node
    if result.size == 1:
        return run.gradient(node).reshape(1, -1)
    return np.asarray(run.jacobian(result, node).toarray())


def contributions(G: nx.DiGraph[str], node: str) -> float:
    """How large the numbers are that add up to ``Grad``: what rounding is relative to."""
    leads = [c for c in G.successors(node) if "Jacobian" in G.edges[node, c]]
    if not leads:
        return 1.0
    total = sum(
        abs(sp.csr_array(G.nodes[c]["Grad"])) @ abs(G.edges[node, c]["Jacobian"]) for c in leads
    )
    return float(total.max())


def as_dense(grad: object) -> Array:
    return grad if isinstance(grad, np.ndarray) else np.asarray(grad.toarray())  # type: ignore[attr-defined]  # a csr_array


def test_data_stays_in_the_folder() -> None:
    assert {path.suffix for path in FOLDER.iterdir() if path.is_file()} == {".yaml"}
    for path in (FOLDER / "data").iterdir():
        assert path.suffix in {".csv", ".npz", ".yaml"}
        assert path.stat().st_size < 100_000
