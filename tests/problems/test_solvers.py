"""SciPy's solvers on graphs: the results of functions written by hand, and worked examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.optimize import NonlinearConstraint, least_squares, minimize, root

import graphengine as ge
from graphengine.graph import Graph
from graphengine.spec import load
from tests.lecture_specs import FOLDER

from .reference import Array, numbers

each_kind = pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "fresh"])

# --- a curve ------------------------------------------------------------------------------

TIMES = np.linspace(0.0, 4.0, 40)
DATA = 3 * np.exp(-1.1 * TIMES) + 0.5 + 0.05 * numbers(0, 40)
DATA[::9] += 1.5  # outliers, for robust losses


def decay() -> Graph:
    g = ge.Graph("decay")
    t, y = g.input("t", (40,)), g.input("y", (40,))
    a, k, c = g.parameter("a"), g.parameter("k"), g.parameter("c")
    r = g.node("r", a * ge.exp(-k * t) + c - y)
    g.result("J", 0.5 * ge.sum(r**2))
    return g


VALUES = {"t": TIMES, "y": DATA, "a": 1.0, "k": 3.0, "c": 0.0}


def residual(x: Array) -> Array:
    return np.asarray(x[0] * np.exp(-x[1] * TIMES) + x[2] - DATA)


def jacobian(x: Array) -> Array:
    e = np.exp(-x[1] * TIMES)
    return np.stack([e, -x[0] * TIMES * e, np.ones(40)], axis=1)


def value(x: Array) -> float:
    return float(0.5 * residual(x) @ residual(x))


def gradient(x: Array) -> Array:
    return np.asarray(residual(x) @ jacobian(x))


@each_kind
@pytest.mark.parametrize(
    ("method", "loss", "dense"),
    [
        ("lm", "linear", True),
        *itertools.product(("trf", "dogbox"), ("linear", "soft_l1", "cauchy"), (True, False)),
    ],
)
def test_least_squares(method: str, loss: str, dense: bool, reuse: bool) -> None:
    """Robust losses scale the residual and the Jacobian in place."""
    problem = decay().residual_problem(["a", "k", "c"], "r", VALUES, dense=dense, reuse=reuse)
    settings = {"method": method, "loss": loss, "f_scale": 0.1, "xtol": 1e-12, "ftol": 1e-12}
    found = least_squares(problem.fun, problem.x0, problem.jac, **settings)
    want = least_squares(residual, problem.x0, jacobian, **settings)
    assert found.success
    assert found.x == pytest.approx(want.x, rel=1e-5)
    assert found.fun == pytest.approx(residual(found.x), abs=1e-12)
    assert found.cost == pytest.approx(want.cost, rel=1e-9)


METHODS: dict[str, dict[str, Any]] = {
    "CG": {},
    "BFGS": {},
    "Newton-CG": {},
    "L-BFGS-B": {},
    "TNC": {},
    "SLSQP": {},
    "trust-constr": {},
    "trust-ncg": {"hess": "2-point"},
    "trust-krylov": {"hess": "2-point"},
}


@each_kind
@pytest.mark.parametrize("method", METHODS)
def test_minimize(method: str, reuse: bool) -> None:
    """With a gradient in a buffer CG, BFGS, Newton-CG and the trust-region methods go astray."""
    problem = decay().objective(["a", "k", "c"], values=VALUES, reuse=reuse)
    settings = METHODS[method]
    want = minimize(value, problem.x0, jac=gradient, method=method, **settings)
    for fun, jac in ((problem.fun, problem.jac), (problem.fun_and_jac, True)):
        found = minimize(fun, problem.x0, jac=jac, method=method, **settings)
        assert found.success, found.message
        assert found.nfev <= want.nfev + 5
        assert np.abs(gradient(found.x)).max() < 10 * np.abs(gradient(want.x)).max() + 1e-6
        assert found.fun == pytest.approx(want.fun, rel=1e-6)


@each_kind
def test_a_constraint_with_a_sparse_jacobian(reuse: bool) -> None:
    """trust-constr takes differences of the constraint's Jacobians."""
    g = ge.Graph("on a sphere")
    x = g.parameter("x", (6,))
    g.node("J", ge.sum((x - np.arange(6.0)) ** 2))
    g.result("c", ge.reshape(x**2, (3, 2)) @ np.ones(2))
    values = {"x": np.ones(6)}
    objective = g.objective("x", "J", values, reuse=reuse)
    circle = g.residual_problem("x", values=values, reuse=reuse)
    constraint = NonlinearConstraint(circle.fun, 1.0, 1.0, jac=circle.jac)
    found = minimize(
        objective.fun,
        objective.x0,
        jac=objective.jac,
        method="trust-constr",
        constraints=[constraint],
        options={"gtol": 1e-5},
    )
    pairs = np.arange(6.0).reshape(3, 2)
    want = pairs / np.linalg.norm(pairs, axis=1, keepdims=True)
    assert found.success
    assert found.x == pytest.approx(want.ravel(), abs=1e-4)


@each_kind
@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_root(method: str, reuse: bool) -> None:
    """A discrete boundary value problem (Moré, Garbow and Hillstrom, 1981, number 28)."""
    n = 10
    h, t = 1 / (n + 1), np.arange(1, n + 1) / (n + 1)
    g = ge.Graph("boundary value problem")
    x = g.parameter("x", (n,))
    zero = np.zeros(1)
    around = ge.concatenate([zero, x[:-1]]) + ge.concatenate([x[1:], zero])
    g.result("r", 2 * x - around + 0.5 * h**2 * (x + t + 1) ** 3)
    problem = g.residual_problem("x", values={"x": t * (t - 1)}, dense=True, reuse=reuse)
    found = root(problem.fun, problem.x0, jac=problem.jac, method=method)
    exact = 2 / (2 - t) - t - 1  # of the differential equation
    assert found.success
    assert np.abs(problem.fun(found.x)).max() < 1e-12
    assert found.x == pytest.approx(exact, abs=2e-3)


@each_kind
@pytest.mark.parametrize("method", ["BDF", "Radau", "LSODA", "RK45"])
def test_a_stiff_equation(method: str, reuse: bool) -> None:
    """Van der Pol's; Radau with one buffer for all right-hand sides takes 25 times as long."""
    g = ge.Graph("van der Pol")
    y, mu = g.parameter("y", (2,)), g.input("mu")
    g.result("dy", ge.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]))
    problem = g.residual_problem(
        "y", values={"y": [2.0, 0.0], "mu": 20.0}, dense=method == "LSODA", reuse=reuse
    )
    settings: dict[str, Any] = {"method": method, "t_span": (0.0, 30.0), "rtol": 1e-6}

    def by_hand(t: float, y: Array) -> list[float]:
        return [y[1], 20 * (1 - y[0] ** 2) * y[1] - y[0]]

    def its_jacobian(t: float, y: Array) -> list[list[float]]:
        return [[0, 1], [-40 * y[0] * y[1] - 1, 20 * (1 - y[0] ** 2)]]

    ours, theirs = (
        ({}, {}) if method == "RK45" else ({"jac": problem.jac_ivp}, {"jac": its_jacobian})
    )
    found = solve_ivp(problem.fun_ivp, y0=problem.x0, **settings, **ours)
    want = solve_ivp(by_hand, y0=problem.x0, **settings, **theirs)
    assert found.success
    assert found.y[:, -1] == pytest.approx(want.y[:, -1], rel=1e-3)
    assert found.nfev <= 1.1 * want.nfev


# --- worked examples ----------------------------------------------------------------------


def called(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[int]]:
    count = [0]

    def call(*args: Any) -> Any:
        count[0] += 1
        return function(*args)

    return call, count


def bundle(cameras: int, points: int) -> tuple[Graph, dict[str, Any]]:
    """Cameras in the plane, each seeing all points on a line, and where to start.

    A camera is an angle and a place.
    """
    camera = np.repeat(np.arange(cameras), points)
    point = np.tile(np.arange(points), cameras)
    g = ge.Graph("bundle adjustment in the plane")
    c, X = g.parameter("cameras", (cameras, 3)), g.parameter("points", (points, 2))
    of_camera, of_point = g.input("of_camera", (len(camera),)), g.input("of_point", (len(camera),))
    seen = g.input("seen", (len(camera),))
    at, p = g.node("at", ge.take(c, of_camera)), g.node("p", ge.take(X, of_point))
    cos, sin = ge.cos(at[:, 0]), ge.sin(at[:, 0])
    across = g.node("across", cos * p[:, 0] + sin * p[:, 1] + at[:, 1])
    depth = g.node("depth", cos * p[:, 1] - sin * p[:, 0] + at[:, 2])
    g.result("r", across / depth - seen)
    true = {"cameras": np.stack([numbers(0, cameras) / 3, *(numbers(1, 2, cameras) / 5)], axis=1)}
    true["cameras"][:, 2] += 5.0
    true["points"] = numbers(2, points, 2)
    tables = {"of_camera": camera, "of_point": point}
    start = {name: array + 0.02 * numbers(3, *array.shape) for name, array in true.items()}
    exact = g.run({**tables, **true, "seen": np.zeros(len(camera))}).value("r")
    return g, {**tables, **start, "seen": exact}


def test_bundle_adjustment() -> None:
    """Sparse throughout; the tables of positions are inputs with fixed values."""
    graph, values = bundle(6, 30)
    problem = graph.residual_problem(["cameras", "points"], values=values)
    matrix = problem.jac(problem.x0)
    assert (matrix.shape, matrix.nnz) == ((180, 78), 180 * 5)
    found = least_squares(problem.fun, problem.x0, problem.jac, method="trf", tr_solver="lsmr")
    fun, calls = called(problem.fun)
    by_differences = least_squares(fun, problem.x0, method="trf")
    assert found.cost < 1e-9
    assert by_differences.cost < 1e-9
    assert found.nfev < 30
    assert calls[0] > 78 * by_differences.njev


def test_bundle_adjustment_by_gauss_newton() -> None:
    """Damped (Levenberg-Marquardt), with the factors of the sparse JᵀJ."""
    graph, values = bundle(6, 30)
    problem = graph.residual_problem(["cameras", "points"], values=values)
    x, damping = problem.x0, 1e-3
    for _ in range(30):
        matrix, slope = problem.gauss_newton(x)
        matrix.setdiag(matrix.diagonal() * (1 + damping) + 1e-12)
        step = sp.linalg.spsolve(matrix.tocsc(), -slope)
        if np.sum(problem.fun(x + step) ** 2) < np.sum(problem.fun(x) ** 2):
            x, damping = x + step, damping / 10
        else:
            damping *= 10
    assert np.abs(problem.fun(x)).max() < 1e-10


def brusselator(n: int, alpha: float = 0.1) -> tuple[Graph, Array]:
    """E. Hairer, G. Wanner, "Solving Ordinary Differential Equations II", 1996, IV.10."""
    g = ge.Graph("Brusselator")
    t, w = g.input("t"), g.parameter("w", (2, n, n))
    after, before = np.roll(np.arange(n), -1), np.roll(np.arange(n), 1)
    around = w[:, after] + w[:, before] + w[:, :, after] + w[:, :, before]
    spread = g.node("spread", alpha * n**2 * (around - 4 * w))
    u, v = g.node("u", w[0]), g.node("v", w[1])
    reaction = g.node("reaction", u**2 * v)
    x, y = np.meshgrid(np.arange(n) / n, np.arange(n) / n, indexing="ij")
    spot = 5.0 * ((x - 0.3) ** 2 + (y - 0.6) ** 2 <= 0.01)
    heated = spot * ge.sigmoid(50 * (t - 1.1))  # from t = 1.1 on
    g.result("dw", ge.stack([1 + reaction - 4.4 * u + heated, 3.4 * u - reaction]) + spread)
    return g, np.stack([22 * y * (1 - y) ** 1.5, 27 * x * (1 - x) ** 1.5])


def test_brusselator() -> None:
    """BDF with the exact sparse Jacobian; by differences it needs a call for each unknown."""
    n = 10
    graph, start = brusselator(n)
    problem = graph.residual_problem("w", values={"w": start}, time="t")
    settings = {"t_span": (0.0, 2.0), "y0": problem.x0, "method": "BDF", "rtol": 1e-5, "atol": 1e-7}
    fun, exact_calls = called(problem.fun_ivp)
    found = solve_ivp(fun, jac=problem.jac_ivp, **settings)
    fun, calls = called(problem.fun_ivp)
    by_differences = solve_ivp(fun, **settings)
    pattern = problem.jac_ivp(0.0, problem.x0)
    fun, grouped_calls = called(problem.fun_ivp)
    by_groups = solve_ivp(fun, jac_sparsity=pattern, **settings)
    assert found.success
    assert pattern.nnz == 6 * 2 * n * n
    for other in (by_differences, by_groups):
        assert found.y[:, -1] == pytest.approx(other.y[:, -1], rel=1e-4)
    assert calls[0] >= exact_calls[0] + 2 * n * n
    assert grouped_calls[0] > exact_calls[0]


def test_softmax_regression_on_iris() -> None:
    """L-BFGS-B from zero; at the minimum the gradient written by hand is zero."""
    spec = load(FOLDER / "iris.yaml")
    values = {**spec.values, "W": np.zeros((3, 4)), "b": np.zeros(3)}
    problem = spec.graph.objective(["W", "b"], values=values)
    settings = {"method": "L-BFGS-B", "options": {"gtol": 1e-8, "ftol": 1e-15}}
    found = minimize(problem.fun, problem.x0, jac=problem.jac, **settings)

    M, species = values["M"], np.asarray(values["species"], int)
    X = (M - M.mean(axis=0)) / M.std(axis=0)

    def by_hand(x: Array) -> tuple[float, Array]:
        W, b = x[:12].reshape(3, 4), x[12:]
        S = X @ W.T + b
        S = S - S.max(axis=1, keepdims=True)
        P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
        G = (P - np.eye(3)[species]) / 150
        loss = -np.log(P[np.arange(150), species]).mean() + 0.01 * (W**2).sum()
        return loss, np.concatenate([(G.T @ X + 0.02 * W).ravel(), G.sum(axis=0)])

    want = minimize(by_hand, problem.x0, jac=True, **settings)
    assert np.abs(by_hand(found.x)[1]).max() < 1e-6
    assert found.fun == pytest.approx(want.fun, rel=1e-9)
    parts = problem.unpack(found.x)
    right = (X @ parts["W"].T + parts["b"]).argmax(axis=1) == species
    assert right.mean() > 0.95
