"""Gauss-Newton matrices, and matrices side by side: against products and joins of SciPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import graphengine as ge
from graphengine.errors import TooLargeError
from graphengine.graph import Graph
from graphengine.problems.matrices import Normal, SideBySide

from .reference import by_run, numbers

each_kind = pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "fresh"])


@each_kind
def test_gauss_newton(graph: Graph, values: dict[str, Any], reuse: bool) -> None:
    problem = graph.residual_problem(["W", "b", "a"], values=values, reuse=reuse)
    for seed in range(3):
        x = numbers(seed, problem.size)
        now = {**values, **problem.unpack(x)}
        residual, jacobian = by_run(graph, now, "r", ["W", "b", "a"])
        found = problem.gauss_newton(x)
        assert found.matrix.toarray() == pytest.approx(jacobian.T @ jacobian, rel=1e-12)
        assert found.gradient == pytest.approx(jacobian.T @ residual, rel=1e-12)
        half = graph.objective(["W", "b", "a"], _half_square(graph), values)
        assert found.gradient == pytest.approx(half.jac(x), rel=1e-12)


def _half_square(graph: Graph) -> str:
    if "half" not in graph:
        graph.node("half", 0.5 * ge.sum(graph["r"] ** 2))
    return "half"


def test_gauss_newton_converges_on_a_curve() -> None:
    """Undamped steps: for an exact fit the error is squared at each."""
    g = ge.Graph("growth")
    t, y = g.input("t", (30,)), g.input("y", (30,))
    p = g.parameter("p", (3,))
    g.result("r", p[0] / (1 + ge.exp(-p[1] * (t - p[2]))) - y)
    times, true = np.linspace(0, 10, 30), np.array([4.0, 1.3, 5.0])
    data = true[0] / (1 + np.exp(-true[1] * (times - true[2])))
    problem = g.residual_problem("p", values={"t": times, "y": data})
    x, errors = np.array([3.0, 1.0, 4.5]), []
    for _ in range(8):
        matrix, gradient = problem.gauss_newton(x)
        matrix.setdiag(matrix.diagonal() + 0.0)  # nothing has to be stored anew
        x = x - np.linalg.solve(matrix.toarray(), gradient)
        errors.append(np.abs(x - true).max())
    assert errors[-1] < 1e-12
    assert any(0 < after < 10 * before**2 < 1e-3 for before, after in itertools.pairwise(errors))


def patterns() -> dict[str, sp.csr_array]:
    rng = np.random.default_rng(5)

    def sparse(rows: int, columns: int, density: float) -> sp.csr_array:
        return sp.csr_array(sp.random_array((rows, columns), density=density, rng=rng))

    repeated = sp.csr_array(sp.kron(sparse(60, 40, 0.1), np.ones((3, 2))))
    return {
        "sparse": sparse(50, 30, 0.1),
        "repeated rows": repeated,
        "repeated rows, apart": repeated[rng.permutation(180)],
        "pairs of rows": sp.csr_array(sp.kron(sp.eye_array(40), np.ones((2, 3)))),
        "many rows alike": sp.csr_array(sp.kron(sp.eye_array(40), np.ones((9, 5)))),
        "full": sp.csr_array(rng.normal(size=(20, 12))),
        "one full row": sp.csr_array(sp.vstack([np.ones((1, 30)), sp.eye_array(30)])),
        "diagonal": sp.csr_array(sp.eye_array(50)),
        "no entries": sp.csr_array((4, 3)),
        "no rows": sp.csr_array((0, 3)),
        "no columns": sp.csr_array((3, 0)),
        "a number": sp.csr_array([[2.0]]),
    }


@each_kind
@pytest.mark.parametrize("name", patterns())
def test_squares(name: str, reuse: bool) -> None:
    matrix = patterns()[name]
    matrix.sort_indices()
    square = Normal(matrix, reuse=reuse)
    places = (np.abs(matrix) > 0).astype(float)
    diagonal = sp.eye_array(matrix.shape[1])
    want = sp.csr_array(places.T @ places + diagonal)
    want.sort_indices()
    for seed in range(2):
        matrix.data = numbers(seed, matrix.nnz)
        found = square(matrix)
        found.check_format()
        np.testing.assert_allclose(found.toarray(), (matrix.T @ matrix).toarray(), 1e-13, 1e-13)
        assert np.array_equal(found.toarray(), found.toarray().T)  # to the last bit
        assert np.array_equal(found.indices, want.indices)
        assert np.array_equal(found.indptr, want.indptr)


def test_squares_that_are_too_large_are_refused() -> None:
    matrix = sp.csr_array(np.ones((1, 8500)))
    with pytest.raises(TooLargeError, match=r"JᵀJ: expected at most 2(\.0)? GiB.*lsmr"):
        Normal(matrix, reuse=True)


@pytest.mark.parametrize(
    "names",
    [["sparse"], ["diagonal", "sparse"], ["full", "full"], ["full", "sparse"], ["sparse"] * 3],
)
def test_side_by_side(names: list[str]) -> None:
    parts = [patterns()[name][:15] for name in names]
    for part in parts:
        part.sort_indices()
    joined = SideBySide(parts)
    for _ in range(2):
        found = joined(parts)
        found.check_format()
        assert found.has_canonical_format
        assert np.array_equal(found.toarray(), sp.hstack(parts).toarray())
        for part in parts:
            part.data = part.data + 1.0
