"""Training as the lecture has it, with the engine's gradients: descent, batches, the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

from .lecture_specs import Array, at, normals, spec

Cost = Callable[[Array], tuple[float, Array]]


class Record(NamedTuple):
    """What S4's gd() returns; ``costs[k]`` is the cost at ``path[k]``."""

    path: list[Array]
    costs: list[float]
    grads: list[Array]
    hit_max: bool


def gd(func: Cost, x0: Array, eps: float, tol: float, max_iters: int = 1000) -> Record:
    """S4's gradient descent: steps of ``-eps * gradient`` until a step is at most ``tol``.

    The source records the cost before each step (so the first one twice) and does not say what
    ``max_iters`` is; here each point has its own cost.
    """
    cost, g = func(x0)
    path, costs, grads = [x0], [cost], [g]
    for _ in range(max_iters):
        x = path[-1] - eps * grads[-1]
        cost, g = func(x)
        path.append(x)
        costs.append(cost)
        grads.append(g)
        if np.linalg.norm(x - path[-2]) <= tol:
            return Record(path, costs, grads, hit_max=False)
    return Record(path, costs, grads, hit_max=True)


def gradient_descent(
    name: str, theta: Mapping[str, Array], eta: float, max_iterations: int
) -> tuple[dict[str, Array], list[float]]:
    """S1's gradient_descent(): all parameters of a spec at once."""
    now, costs = dict(theta), []
    for _ in range(max_iterations):
        run = at(name, **now)
        costs.append(float(run.value(run.graph.result_node)))
        now = {key: value - eta * run.gradient(key) for key, value in now.items()}
    return now, costs


def parameters(name: str) -> dict[str, Array]:
    found = spec(name)
    names = [node.name for node in found.graph.starts if node.role == "parameter"]
    return {key: found.values[key] for key in names}


def cost_of(name: str, wrt: str) -> Cost:
    def func(x: Array) -> tuple[float, Array]:
        run = at(name, **{wrt: x})
        return float(run.value(run.graph.result_node)), run.gradient(wrt)

    return func


class TestGradientDescent:
    def test_path_costs_and_grads_on_a_bowl(self) -> None:
        values = spec("squared_error_vector").values
        x0, h, eps, tol = values["x"], values["h"], 0.1, 1e-3
        record = gd(cost_of("squared_error_vector", "x"), x0, eps, tol)
        shrink = 1 - 2 * eps
        start = np.linalg.norm(x0 - h)
        steps = int(np.ceil(np.log(tol / (2 * eps * start)) / np.log(shrink))) + 1
        assert not record.hit_max
        assert len(record.path) == len(record.costs) == len(record.grads) == steps + 1
        for k, (x, cost, g) in enumerate(zip(*record[:3], strict=True)):
            assert_allclose(x - h, shrink**k * (x0 - h), rtol=1e-10)
            assert cost == pytest.approx(shrink ** (2 * k) * start**2, rel=1e-10)
            assert_allclose(g, 2 * (x - h), rtol=1e-12)
        last = np.linalg.norm(record.path[-1] - record.path[-2])
        before = np.linalg.norm(record.path[-2] - record.path[-3])
        assert last <= tol < before

    def test_hit_max_when_the_steps_are_too_small(self) -> None:
        start = spec("squared_error_vector").values["x"]
        record = gd(cost_of("squared_error_vector", "x"), start, 1e-4, 1e-9, max_iters=50)
        assert record.hit_max
        assert len(record.grads) == 51
        assert np.all(np.diff(record.costs) < 0)

    def test_costs_grow_when_the_steps_are_too_large(self) -> None:
        start = spec("squared_error_vector").values["x"]
        record = gd(cost_of("squared_error_vector", "x"), start, 1.1, 1e-3, max_iters=20)
        assert record.hit_max
        assert np.all(np.diff(record.costs) > 0)

    def test_the_caller_s_start_is_left_alone(self) -> None:
        start = np.array([1.0, 2.0, 3.0, 4.0])
        gd(cost_of("squared_error_vector", "x"), start, 0.1, 1e-3)
        assert start.tolist() == [1, 2, 3, 4]

    def test_linear_model_of_xor_ends_at_one_half(self) -> None:
        theta = {"w": np.array([0.7, -0.4]), "b": np.array(0.1)}
        theta, costs = gradient_descent("xor_linear", theta, 0.3, 200)
        assert_allclose(theta["w"], 0, atol=1e-8)
        assert float(theta["b"]) == pytest.approx(0.5, abs=1e-8)
        assert costs[-1] == pytest.approx(0.5, rel=1e-12)

    def test_xor_network_goes_back_to_its_solution(self) -> None:
        solution = parameters("xor_network")
        near = {key: value + 0.05 * normals(1, *value.shape) for key, value in solution.items()}
        theta, costs = gradient_descent("xor_network", near, 0.03, 200)
        assert costs[-1] < 1e-3 * costs[0]
        assert_allclose(at("xor_network", **theta).value("g"), [0, 1, 1, 0], atol=0.01)

    def test_three_layer_network_learns_its_example(self) -> None:
        theta, costs = gradient_descent(
            "network_cross_entropy", parameters("network_cross_entropy"), 0.5, 200
        )
        assert costs[-1] < 0.05 * costs[0]
        run = at("network_cross_entropy", **theta)
        assert run.value("yhat").argmax() == run.value("y").argmax() == 0

    def test_steepest_descent_is_against_the_gradient(self) -> None:
        run = at("softmax_minibatch")
        g = run.gradient("W").ravel()
        slopes = [
            (u / np.linalg.norm(u)) @ g for u in normals(5, 200, g.size)
        ]  # directional derivatives
        steepest = -g / np.linalg.norm(g) @ g
        assert steepest == pytest.approx(-np.linalg.norm(g), rel=1e-14)
        assert steepest < min(slopes)

    def test_iris_is_learnt(self) -> None:
        theta, costs = gradient_descent("iris", parameters("iris"), 1.0, 60)
        run = at("iris", **theta)
        assert np.all(np.diff(costs) < 0)
        assert np.mean(run.value("P").argmax(axis=1) == run.value("species")) > 0.95


class TestNumericalGradient:
    @pytest.mark.parametrize("name", ["softmax_minibatch", "relu_svm_net", "binary_hinge"])
    def test_agrees_with_the_gradient(self, name: str) -> None:
        start = parameters(name)
        run = at(name)
        h = 1e-6
        for key, value in start.items():
            numeric = np.zeros_like(value)
            for index in np.ndindex(value.shape):
                costs = []
                for sign in (1, -1):
                    moved = value.copy()
                    moved[index] += sign * h
                    moved_run = at(name, **{key: moved})
                    costs.append(float(moved_run.value(run.graph.result_node)))
                numeric[index] = (costs[0] - costs[1]) / (2 * h)
            assert_allclose(numeric, run.gradient(key), rtol=1e-6, atol=1e-8)

    def test_one_sided_quotient_is_worse_than_it_looks(self) -> None:
        run = at("chain_sin_square")
        errors = []
        for h in (1e-2, 1e-4, 1e-8, 1e-13):
            quotient = (at("chain_sin_square", x=1.3 + h).value("h") - run.value("h")) / h
            errors.append(abs(float(quotient - run.gradient("x"))))
        assert errors[0] > errors[1] > errors[2]
        assert errors[3] > errors[2]


class TestBatches:
    def test_stochastic_gradients_average_to_the_batch_gradient(self) -> None:
        batch = at("softmax_minibatch")
        X, Y, W, b = (batch.value(name) for name in ("X", "Y", "W", "b"))
        found = spec("softmax_minibatch")
        one = found.at({**found.sizes, "N": 1})
        two = found.at({**found.sizes, "N": 2})

        def gradient(rows: list[int]) -> Array:
            graph = {1: one, 2: two}[len(rows)]
            return graph.run({"X": X[rows], "Y": Y[rows], "W": W, "b": b}).gradient("W", of="L")

        singles = [gradient([i]) for i in range(5)]
        assert_allclose(np.mean(singles, axis=0), batch.gradient("W", of="L"), rtol=1e-12)
        pairs = [gradient([i, j]) for i in range(5) for j in range(i)]
        assert_allclose(np.mean(pairs, axis=0), batch.gradient("W", of="L"), rtol=1e-12)
        spread = [
            float(np.mean([np.sum((g - batch.gradient("W", of="L")) ** 2) for g in gradients]))
            for gradients in (singles, pairs)
        ]
        assert spread[1] < spread[0]

    def test_epochs_of_shuffled_mini_batches(self) -> None:
        rng = np.random.default_rng(0)
        found = spec("iris")
        graph = found.at({**found.sizes, "N": 30})
        M, species = found.values["M"], found.values["species"]
        M = (M - M.mean(axis=0)) / M.std(axis=0)
        theta = parameters("iris")
        before = at("iris", **theta).value("J")
        for _ in range(4):
            order = rng.permutation(150)
            for rows in np.split(order, 5):
                run = graph.run({"M": M[rows], "species": species[rows], **theta})
                theta = {key: value - 0.5 * run.gradient(key) for key, value in theta.items()}
        after = at("iris", **theta)
        assert after.value("J") < 0.7 * before
        assert np.mean(after.value("P").argmax(axis=1) == species) > 0.9
