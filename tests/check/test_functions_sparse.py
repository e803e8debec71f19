"""Large sparse Jacobians: checked in full by groups of columns, missing entries found and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import rosen, rosen_der, rosen_hess
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import graphengine as ge
from graphengine.check.functions.columns import Columns
from graphengine.check.functions.grouping import groups_of
from tests.check.functions import Array, stencil, without

FUN, JAC = stencil(20)
X = np.random.default_rng(0).normal(size=400)


def missing(*entries: tuple[int, int], points: int = 1) -> ge.Report:
    return ge.check_jacobian(FUN, lambda x: without(JAC(x), *entries), X, points=points)


def test_bratus_equation_is_right_in_few_groups() -> None:
    for form in (sp.csr_array, sp.csc_matrix, sp.coo_array):
        report = ge.check_jacobian(FUN, lambda x, f=form: f(JAC(x)), X)
        assert report.verdict == "right", report
        assert report.notes[1] == "all 1,920 entries of 400 columns, moved in 7 groups"
    assert ge.check_jacobian(FUN, lambda x: aslinearoperator(JAC(x)), X).verdict == "right"


@pytest.mark.parametrize("entry", [(0, 0), (0, 1), (1, 0), (399, 399), (205, 225), (399, 379)])
def test_an_entry_missing_from_the_pattern_is_found(entry: tuple[int, int]) -> None:
    for report in (missing(entry), missing(entry, points=2)):
        result = report["J/x"]
        assert [mistake.kind for mistake in result.mistakes] == ["pattern_missing"]
        assert f"entry {list(entry)} is missing" in result.what
        assert result.worst is not None
        assert result.worst.index == entry
        right = JAC(X)[entry] if report.notes[0].count("near") == 0 else result.worst.reference
        assert result.worst.reference == pytest.approx(right, rel=1e-8)
        assert result.worst.claimed == 0


def test_every_single_missing_entry_is_found_on_a_small_grid() -> None:
    fun, jac = stencil(9)  # 81 columns: groups are made
    x = X[:81]
    rows, cols = jac(x).tocoo().coords
    for k in range(0, rows.size, 7):
        entry = int(rows[k]), int(cols[k])
        result = ge.check_jacobian(fun, lambda x, e=entry: without(jac(x), e), x, points=1)["J/x"]
        assert f"entry {list(entry)} is missing" in result.what


def test_several_missing_entries_of_one_row_are_all_found() -> None:
    entries = ((205, 185), (205, 204), (205, 205), (205, 206), (205, 225))
    result = missing(*entries)["J/x"]
    assert "[205, 185], [205, 204], [205, 205], [205, 206], [205, 225] are missing" in result.what


def test_a_whole_missing_diagonal_is_found() -> None:
    result = ge.check_jacobian(
        FUN, lambda x: sp.csr_array(sp.tril(JAC(x)) + sp.triu(JAC(x), 2)), X, points=1
    )["J/x"]
    assert [mistake.kind for mistake in result.mistakes] == ["pattern_missing"]
    assert "[0, 1], [1, 2]" in result.what
    assert "375 more" in result.what  # of 380


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_a_missing_entry_of_another_size_is_found(size: float) -> None:
    def fun(x: Array) -> Array:
        values = FUN(x)
        values[17] += size * np.sin(x[333])
        return values

    result = ge.check_jacobian(fun, JAC, X, points=1)["J/x"]
    assert "entry [17, 333] is missing" in result.what


def test_entries_in_a_wrong_column_of_the_same_group_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = next(members for members in groups_of(JAC(X)) if members.size > 2)
    right, other = int(group[0]), int(group[1])

    def moved(x: Array) -> Any:
        parts = JAC(x).tocoo()
        rows, cols = parts.coords
        cols = np.where((cols == right) & (rows == right), other, cols)
        return sp.csr_array((parts.data, (rows, cols)), shape=parts.shape)

    assert groups_of(moved(X)), "the pattern is another one"
    result = ge.check_jacobian(FUN, moved, X, points=1)["J/x"]
    assert [mistake.kind for mistake in result.mistakes] == ["pattern_missing", "pattern_extra"]
    assert f"[{right}, {right}]" in result.what
    assert f"[{right}, {other}]" in result.what
    # with equal steps for all columns the sums over groups are as they should be
    monkeypatch.setattr(Columns, "steps", lambda self, sizes: np.ones(self.x.size))
    same = [m for m in groups_of(moved(X)) if right in m and other in m]
    if same:
        assert ge.check_jacobian(FUN, moved, X, points=1).verdict == "right"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda J: -J, "sign"),
        (lambda J: 2 * J, "factor"),
        (lambda J: sp.diags_array(J.diagonal()), "diagonal_only"),
        (sp.tril, "pattern_missing"),
        (lambda J: J[:, ::-1], "reordered"),
        (lambda J: J[::-1], "reordered"),
        (lambda J: sp.hstack([sp.csr_array((144, 1)), J[:, :-1]]), "shifted"),
        (lambda J: J + sp.csr_array(([5.0], ([3], [100])), shape=J.shape), "pattern_extra"),
    ],
)
def test_mistakes_in_a_sparse_jacobian(change: Any, kind: str) -> None:
    fun, jac = stencil(12)
    result = ge.check_jacobian(fun, lambda x: sp.csr_array(change(jac(x))), X[:144], points=2)[
        "J/x"
    ]
    assert result.verdict == "wrong"
    assert result.mistakes[0].kind == kind
    assert not result.alternatives


def test_a_large_sparse_hessian_is_checked_by_its_gradient() -> None:
    x = np.random.default_rng(1).uniform(0.5, 1.5, 500)
    hess = lambda x: sp.csr_array(rosen_hess(x))  # noqa: E731 (one line)
    report = ge.check_hessian(rosen, hess, x, grad=rosen_der, points=1)
    assert report.verdict == "right", report
    assert report.notes[1].endswith("moved in 3 groups")
    lower = lambda x: sp.csr_array(np.tril(rosen_hess(x)))  # noqa: E731 (one line)
    result = ge.check_hessian(rosen_der, lower, x, points=1)["hessian"]
    assert "the upper one is missing" in result.what


def test_five_point_stencil_of_65536_unknowns_in_full() -> None:
    fun, jac = stencil(256)
    x = np.random.default_rng(0).normal(size=65_536)
    report = ge.check_jacobian(fun, jac, x, points=1)
    assert report.verdict == "right", report
    assert report.notes[1] == "all 326,656 entries of 65,536 columns, moved in 7 groups"
    entry = (40_000, 40_256)
    result = ge.check_jacobian(fun, lambda x: without(jac(x), entry), x, points=1)["J/x"]
    assert "entry [40000, 40256] is missing ([40000, 40256] is -1)" in result.what


# --- random directions ------------------------------------------------------------------------


@pytest.mark.parametrize("points", [1, 3])
@pytest.mark.parametrize("count", [1, 4])
def test_directions_pass_what_is_right_and_nothing_else(count: int, points: int) -> None:
    options: dict[str, Any] = {"directions": count, "points": points}
    report = ge.check_jacobian(FUN, JAC, X, **options)
    assert report.verdict == "right", report
    assert "only" in report.notes[0]
    assert "not each entry" in report.notes[0]
    for change, kind in ((lambda J: -J, "sign"), (lambda J: 2 * J, "factor")):
        report = ge.check_jacobian(FUN, lambda x, c=change: c(JAC(x)), X, **options)
        assert report["J/x"].mistakes[0].kind == kind
    swapped = lambda x: JAC(x)[:, [1, 0, *range(2, 400)]]  # noqa: E731 (one line)
    for wrong in (swapped, lambda x: without(JAC(x), (205, 225)), lambda x: sp.tril(JAC(x))):
        assert ge.check_jacobian(FUN, wrong, X, **options).verdict == "wrong"


def test_one_entry_with_the_other_sign_cannot_pass_one_direction() -> None:
    x = np.random.default_rng(2).normal(size=40)
    for k in range(40):
        flipped = np.where(np.arange(40) == k, -1, 1)
        grad = lambda x, f=flipped: f * rosen_der(x)  # noqa: E731 (one line)
        assert ge.check_gradient(rosen, grad, x, directions=1, points=1).verdict == "wrong"
    assert ge.check_gradient(rosen, rosen_der, x, directions=1, points=1).verdict == "right"


def test_directions_check_what_is_too_large_for_a_matrix() -> None:
    n = 3000
    fun = lambda x: np.sin(x) * np.sum(x)  # noqa: E731 (one line)

    def jac(x: Array, sign: float = 1.0) -> LinearOperator:
        def matvec(v: Array) -> Array:
            v = v.ravel()
            return sign * (np.cos(x) * v * np.sum(x) + np.sin(x) * np.sum(v))

        return LinearOperator((n, n), matvec=matvec, dtype=float)

    x = np.linspace(-1, 2, n)
    assert ge.check_jacobian(fun, jac, x, directions=2).verdict == "right"
    assert ge.check_jacobian(fun, lambda x: jac(x, -1.0), x, directions=2).verdict == "wrong"
