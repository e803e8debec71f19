"""The Jacobian problems of the bench: all contenders at small sizes against the complex step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.jacobians import contenders as by
from benchmarks.jacobians import crosscountry, p3, p4, p5, p10, p11, patterns
from benchmarks.measuring import TOLERANCE, difference, worst
from benchmarks.problem import BY_HAND, HAND, OURS, Contender, LeftOut, Problem
from graphengine import Graph

MODULES = (p3, p4, p5, p10, p11, crosscountry)
SMALL = [one for module in MODULES for one in module.small()]
FOR_PEERS = [one for one in SMALL if one.name.startswith("P") and str(p3.SHORT + 1) not in one.size]
"""What peers compile takes a second each: one problem of each kind."""
SIGHT = p11.sight_of(3, 5, 12)


class Case(NamedTuple):
    """A function of NumPy arrays, and what the bench says of its derivative."""

    function: Callable[..., Any]
    values: dict[str, Any]
    wrt: Sequence[str]
    graph: Callable[[], Any]
    plain: Callable[..., Sequence[Any]]
    by_hand: Callable[..., Callable[[], Sequence[Any]]]


def _bundle_by_hand(cameras: Any, points: Any, seen: Any) -> Any:
    return p11.bundle_by_hand.by_hand(p11.patterns(SIGHT, 3, 5), SIGHT, cameras, points)


def _crossing(values: dict[str, Any], name: str) -> Case:
    words = (getattr(crosscountry, name + end) for end in ("", "_graph", "_plain", "_by_hand"))
    function, graph, plain, by_hand = words
    return Case(function, values, list(values)[:1], partial(graph, values), plain, by_hand)


def _cases() -> dict[str, Case]:
    rng = np.random.default_rng(3)
    chain = crosscountry.named(crosscountry.maps_of(6, 2, 5, 2, 6))
    A, B, D, E = crosscountry.maps_of(6, 2, 5, 2, 4)
    sides = {"A": A, "B": B, "C": rng.normal(size=B.shape), "D": D, "E": E}
    weights = ["W1", "b1", "W2", "b2", "X"]
    return {
        "layer": Case(
            p3.function, p3.values_of(3, 4), ["W"], lambda: p3.graph_of(3, 4), p3.plain, p3.by_hand
        ),
        "long layer": Case(
            p3.function,
            p3.values_of(2, p3.SHORT + 1),
            ["W"],
            lambda: p3.graph_of(2, p3.SHORT + 1),
            p3.plain,
            p3.by_hand,
        ),
        "Bratu": Case(
            p4.bratu,
            p4.bratu_values(4),
            ["u"],
            lambda: p4.bratu_graph(4),
            p4.bratu_plain,
            p4.bratu_by_hand,
        ),
        "Brusselator": Case(
            p4.brusselator,
            p4.brusselator_values(5),
            ["w"],
            lambda: p4.brusselator_graph(5),
            p4.brusselator_plain,
            p4.brusselator_by_hand,
        ),
        "network": Case(
            p5.function,
            p5.values_of(3, 4, 5, 2),
            weights,
            lambda: p5.graph_of(3, 4, 5, 2),
            p5.plain,
            p5.by_hand,
        ),
        "attention": Case(
            p10.function,
            p10.values_of(5, 3),
            ["Q", "K", "V"],
            lambda: p10.graph_of(5, 3),
            p10.plain,
            p10.by_hand,
        ),
        "bundle": Case(
            partial(p11.function, SIGHT),
            p11.values_of(3, 5, 12),
            ["cameras", "points"],
            lambda: p11.graph_of(SIGHT, 3, 5),
            lambda cameras, points, seen: p11.plain(SIGHT, cameras, points),
            _bundle_by_hand,
        ),
        "waists": _crossing({"x": rng.normal(size=6), **chain}, "waists"),
        "diamond": _crossing({"x": rng.normal(size=6), **sides}, "diamond"),
        "modes": _crossing({"u": rng.normal(size=7), "M": rng.normal(size=(7, 2))}, "modes"),
        "batch": _crossing({"X": rng.normal(size=(3, 6)), **chain}, "batch"),
    }


CASES = _cases()


def complex_step(case: Case) -> list[Any]:
    """``Im f(x + ih) / h``, a column for each number: no rule of differentiation is used."""
    found = []
    for name in case.wrt:
        given = {key: np.asarray(value, dtype=complex) for key, value in case.values.items()}
        columns = []
        for place in np.ndindex(given[name].shape):
            given[name][place] += 1e-30j
            columns.append(case.function(np, *given.values()).imag.ravel() / 1e-30)
            given[name][place] -= 1e-30j
        found.append(np.stack(columns, axis=1))
    return found


# --- the references and the code by hand --------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_plain_derivatives_against_the_complex_step(name: str) -> None:
    case = CASES[name]
    assert worst(case.plain(*case.values.values()), complex_step(case)) < 1e-13


@pytest.mark.parametrize("name", CASES)
def test_code_by_hand_follows_its_values(name: str) -> None:
    """A call after the values have changed shows whether something is kept that must not be."""
    case = CASES[name]._replace(values={key: one.copy() for key, one in CASES[name].values.items()})
    call = case.by_hand(*case.values.values())
    assert worst(call(), complex_step(case)) < 1e-13
    for value in case.values.values():
        np.multiply(value, 0.75, out=value)
    assert worst(call(), complex_step(case)) < 1e-13


@pytest.mark.parametrize("name", CASES)
def test_code_by_hand_returns_canonical_matrices(name: str) -> None:
    """What it returns is as good as any CSR: sorted, nothing twice, no entry that is always 0."""
    case = CASES[name]
    for found, exact in zip(case.by_hand(*case.values.values())(), complex_step(case), strict=True):
        assert found.has_canonical_format
        assert found.nnz == np.count_nonzero(exact)


@pytest.mark.parametrize("name", CASES)
def test_graphs_say_what_the_functions_say(name: str) -> None:
    case = CASES[name]
    graph = case.graph()
    value = graph.run(case.values).value(graph.result_node.name)
    np.testing.assert_allclose(value, case.function(np, *case.values.values()), rtol=1e-12)


def test_the_groups_of_cameras_do_not_matter() -> None:
    """More cameras than one group, and a camera that sees nothing."""
    sight, values = p11.sight_of(25, 30, 200), p11.values_of(25, 30, 200)
    sight = sight._replace(camera=np.where(sight.camera == 7, 8, sight.camera))
    given = values["cameras"], values["points"]
    call = p11.bundle_by_hand.by_hand(p11.patterns(sight, 25, 30), sight, *given)
    assert worst(call(), p11.plain(sight, *given)) < 1e-13


def test_blocks_of_rows_of_the_grid_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = p4.brusselator_values(11)
    monkeypatch.setattr(p4, "CACHED", 33)
    assert worst(p4.brusselator_by_hand(**values)(), p4.brusselator_plain(**values)) < 1e-13


# --- the contenders -----------------------------------------------------------------------


def _each(problems: Sequence[Problem], names: Callable[[str], bool]) -> list[Any]:
    return [
        pytest.param(problem, one, id=f"{problem.name} {problem.size}: {one.name}")
        for problem in problems
        for one in problem.contenders
        if names(one.name)
    ]


def _own(name: str) -> bool:
    return name in (*OURS, *BY_HAND) or name.startswith("compiled")


def _error(problem: Problem, one: Contender) -> float:
    for name in one.needs:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    if (
        one.name == "compiled, fused"
        and "fused" not in signature(Graph.compile_jacobian).parameters
    ):
        pytest.skip("no compiled loops for Jacobians")
    try:
        call = one.make()
    except LeftOut as reason:
        pytest.skip(str(reason))
    call()
    return worst(one.read(call()), problem.reference())


@pytest.mark.parametrize(("problem", "one"), _each(SMALL, _own))
def test_own_contenders(problem: Problem, one: Contender) -> None:
    assert _error(problem, one) < 1e-12


@pytest.mark.filterwarnings("ignore")  # what peers warn about is theirs
@pytest.mark.parametrize(("problem", "one"), _each(FOR_PEERS, lambda name: not _own(name)))
def test_peers(
    problem: Problem, one: Contender, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # CasADi writes its C where it is
    assert _error(problem, one) < TOLERANCE


@pytest.mark.parametrize("module", MODULES)
def test_problems_at_the_sizes_of_the_table(module: Any) -> None:
    found = list(module.problems())
    assert len({(one.name, one.size) for one in found}) == len(found)
    for one in found:
        names = [contender.name for contender in one.contenders]
        assert len(set(names)) == len(names)
        assert names[0] == HAND
        assert one.target == 1.25


def test_dense_jacobians_are_asked_for_on_small_grids_alone() -> None:
    names = {
        one.size: {contender.name for contender in one.contenders}
        for one in p4.problems()
        if one.name == "P4 Bratu"
    }
    assert {"autograd", "JAX", "torch.func"} <= names["64²"]
    assert not {"autograd", "JAX", "torch.func"} & names["256²"]


@pytest.mark.parametrize("module", [p3, p4, p5, p10, p11])
def test_growth_counts_the_nonzeros(module: Any) -> None:
    growth = module.growth()
    size = growth.sizes[0]
    found = growth.problem(size).reference()
    counts = [part.nnz if sp.issparse(part) else np.count_nonzero(part) for part in found]
    assert growth.amount(size) == sum(counts)
    assert growth.amount(growth.sizes[-1]) >= 900 * growth.amount(size)


# --- cross-country orders -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["waists", "diamond", "modes"])
def test_a_third_of_the_multiplications_of_forward_and_of_reverse(name: str) -> None:
    problem = next(one for one in crosscountry.problems() if one.name == name)
    contender = next(one for one in problem.contenders if one.name == "compiled, reuse")
    facts = contender.make().facts
    assert 3 * facts["multiplications"] <= min(facts["forward"], facts["reverse"])


def test_multiplications_of_a_chain_with_a_waist() -> None:
    """``n → k → n → k → n`` without slopes: ``2 k n²`` more for either way than across."""
    n, k = 40, 3
    problem = crosscountry.waists_problem(n, k, n, k, n)
    contender = next(one for one in problem.contenders if one.name == "compiled, reuse")
    facts = contender.make().facts
    products = k * n * n + k * n * k + k * k * n
    assert products <= facts["multiplications"] <= products + 8 * n * k
    assert min(facts["forward"], facts["reverse"]) >= 3 * k * n * n


# --- patterns -----------------------------------------------------------------------------


def test_block_rows_is_a_block_diagonal() -> None:
    blocks = np.random.default_rng(0).normal(size=(3, 2, 4))
    found = patterns.as_blocks(blocks)
    np.testing.assert_array_equal(found.toarray(), sp.block_diag(list(blocks)).toarray())
    assert found.has_canonical_format


@pytest.mark.parametrize(("rows", "inner", "columns"), [(7, 3, 5), (300, 2, 400), (4, 30, 6)])
@pytest.mark.parametrize("turn", [False, True])
def test_products_by_blas(rows: int, inner: int, columns: int, turn: bool) -> None:
    """In one piece and in blocks; factors that lie in either order."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(rows, inner)), rng.normal(size=(inner, columns))
    if turn:
        left, right = np.asfortranarray(left), np.asfortranarray(right)
    out = np.full((rows, columns), np.nan)
    patterns.multiply(left, right, out)()
    np.testing.assert_allclose(out, left @ right, rtol=1e-13, atol=1e-13)


def test_outer_products_follow_their_factors() -> None:
    rng = np.random.default_rng(0)
    left, right, out = rng.normal(size=(2, 5)), rng.normal(size=(2, 3)), np.full((2, 5, 3), np.nan)
    fill = patterns.outer_products(left, right, out)
    fill()
    left *= 2
    fill()
    np.testing.assert_array_equal(out, left[:, :, None] * right[:, None, :])


def test_matrices_counted_by_columns_are_read() -> None:
    """A function of two matrices, its value a matrix: rows and columns are put in C order."""
    rng = np.random.default_rng(0)
    J = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 2, 2))
    by_columns = [part.transpose(1, 0, 3, 2).reshape(6, -1) for part in J]
    found = patterns.by_column(np.hstack(by_columns), (2, 3), [(4, 5), (2, 2)])
    for part, expected in zip(found, J, strict=True):
        np.testing.assert_array_equal(part.toarray(), expected.reshape(6, -1))


def test_a_wrong_pattern_is_seen() -> None:
    """The comparison of the bench would not let a missing entry pass."""
    expected = sp.csr_array(np.diag([1.0, 2.0]))
    assert difference(sp.csr_array(np.diag([1.0, 0.0])), expected) == 1.0
    assert difference(expected.toarray(), expected) == 0.0
    assert difference(expected[:1], expected) == math.inf


def test_a_task_as_a_function_of_one_vector() -> None:
    values = p5.values_of(3, 4, 5, 2)
    task = by.Task(lambda: p5.graph_of(3, 4, 5, 2), p5.function, values, ["b1", "X"])
    x = task.vector()
    assert x.shape == (5 + 12,)
    np.testing.assert_array_equal(task.flat(np)(x), task.value().ravel())
    x[5] += 1.0  # the first entry of X
    assert np.count_nonzero(task.flat(np)(x) - task.value().ravel()) == 2
