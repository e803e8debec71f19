"""Every number and every formula of the lecture's worked examples (S0 to S3), from the specs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

from graphengine.lecture import BackPropagateChain, EvaluateChain

from .lecture_specs import Array, at, jacobian, normals, spec


class TestS0SoftmaxRegression:
    def test_each_edge_has_the_jacobian_of_the_table(self) -> None:
        run = at("softmax_regression")
        y, W, p = (run.value(name) for name in "yWp")
        C, d = W.shape
        assert_allclose(run.gradient("l", of="J"), 1)
        assert_allclose(run.gradient("r", of="J"), 0.1)
        assert_allclose(jacobian(run, "r", "W"), 2 * W.reshape(1, C * d))
        assert_allclose(run.gradient("p", of="l"), -y / (y @ p))
        assert_allclose(jacobian(run, "s", "b"), np.eye(C), atol=0)
        assert_allclose(jacobian(run, "s", "z"), np.eye(C), atol=0)
        assert_allclose(jacobian(run, "z", "x"), W)

    def test_softmax_entry_by_entry(self) -> None:
        run = at("softmax_regression")
        p, found = run.value("p"), jacobian(run, "p", "s")
        for i in range(3):
            for j in range(3):
                entry = p[i] * (1 - p[i]) if i == j else -p[i] * p[j]
                assert found[i, j] == pytest.approx(entry, rel=1e-14)

    def test_scores_entry_by_entry_with_the_lecture_s_indices(self) -> None:
        run = at("softmax_regression")
        x, found = run.value("x"), jacobian(run, "z", "W")
        C, d = run.value("W").shape
        assert found.shape == (C, C * d)
        for i in range(1, C + 1):
            for j in range(1, C * d + 1):
                inside = (i - 1) * d + 1 <= j <= i * d
                assert found[i - 1, j - 1] == (x[j - (i - 1) * d - 1] if inside else 0)

    def test_the_gradient_is_carried_as_on_the_last_slide(self) -> None:
        run = at("softmax_regression")
        x, y, W, p = (run.value(name) for name in "xyWp")
        g = np.ones((1, 1))
        g = g @ (-y / (y @ p))[None, :]
        assert_allclose(run.gradient("p"), g[0], rtol=1e-13)
        g = g @ (np.diag(p) - np.outer(p, p))
        assert_allclose(run.gradient("s"), g[0], rtol=1e-13)
        g = g @ np.eye(3)
        assert_allclose(run.gradient("b"), g[0], rtol=1e-13)
        assert_allclose(run.gradient("z"), g[0], rtol=1e-13)
        assert_allclose(run.gradient("W"), g.T @ x[None, :] + 2 * 0.1 * W, rtol=1e-13)

    def test_mini_batch_by_the_loop_over_its_examples(self) -> None:
        batch = at("softmax_minibatch")
        X, Y, W, b = (batch.value(name) for name in ("X", "Y", "W", "b"))
        dL_db, dL_dW = np.zeros_like(b), np.zeros_like(W)
        for x, y in zip(X, Y, strict=True):
            one = at("softmax_regression", x=x, y=y, W=W, b=b)
            dL_db += one.gradient("b", of="l")
            dL_dW += one.gradient("W", of="l")
        dL_db /= len(X)
        dL_dW /= len(X)
        assert_allclose(batch.gradient("b"), dL_db, rtol=1e-12)
        assert_allclose(batch.gradient("W"), dL_dW + 2 * 0.1 * W, rtol=1e-12)

    def test_svm_loss_is_the_sum_over_the_wrong_classes(self) -> None:
        run = at("svm_regression")
        s, right = run.value("s"), 2
        terms = [max(0.0, s[j] - s[right] + 1) for j in range(4) if j != right]
        assert run.value("l") == pytest.approx(sum(terms), rel=1e-14)
        assert sum(term > 0 for term in terms) >= 1


class TestS0ChainRule:
    @pytest.mark.parametrize("x", [-2.0, -0.3, 0.0, 1.3, 4.0])
    def test_sine_of_the_square(self, x: float) -> None:
        run = at("chain_sin_square", x=x)
        assert run.value("h") == np.sin(x**2)
        assert run.gradient("x") == pytest.approx(2 * x * np.cos(x**2), rel=1e-15)

    def test_record_and_aggregate(self) -> None:
        found = spec("chain_of_functions")
        G = found.graph.dag
        G.nodes["x"]["value"] = found.values["x"]
        record = EvaluateChain(G)
        x, y = 0.7, [float(value) for value in record]
        assert_allclose(y[0], x**2)
        assert_allclose(y[1], np.sin(y[0]))
        assert_allclose(y[4], np.log(2) + y[1])
        g = 1.0
        for local in (1 / y[3], 2, np.exp(y[1]), np.cos(y[0]), 2 * x):
            g *= local
        assert float(BackPropagateChain(G)[0, 0]) == pytest.approx(g, rel=1e-14)
        assert at("chain_of_functions").gradient("x") == pytest.approx(g, rel=1e-14)

    def test_two_branches_add_up(self) -> None:
        run = at("two_branches")
        sums = sum(
            (run.gradient(z, of="s") @ jacobian(run, z, "x") for z in ("z1", "z2")), np.zeros(3)
        )
        assert_allclose(run.gradient("x"), sums, rtol=1e-13)
        stacked = run.gradient("v") @ jacobian(run, "v", "x")
        assert_allclose(stacked, sums, rtol=1e-13)


class TestS1Networks:
    @pytest.mark.parametrize("truth", [0, 1])
    def test_back_propagation_layer_by_layer(self, truth: int) -> None:
        e = np.eye(2)[truth]
        run = at("network_cross_entropy", y=e)
        h = {0: run.value("x"), 1: run.value("h1"), 2: run.value("h2")}
        yhat = run.value("yhat")
        assert run.value("L") == pytest.approx(-np.log(yhat[truth]), rel=1e-15)
        assert_allclose(run.gradient("yhat"), -e / yhat[truth], rtol=1e-14)
        grad_a = -(e - yhat)
        for k in (3, 2, 1):
            W = run.value(f"W{k}")
            assert_allclose(run.gradient(f"a{k}"), grad_a, rtol=1e-12)
            assert_allclose(run.gradient(f"W{k}"), np.outer(grad_a, h[k - 1]), rtol=1e-12)
            assert_allclose(run.gradient(f"b{k}"), grad_a, rtol=1e-12)
            if k > 1:
                grad_h = W.T @ grad_a
                assert_allclose(run.gradient(f"h{k - 1}"), grad_h, rtol=1e-12)
                grad_a = grad_h * h[k - 1] * (1 - h[k - 1])

    def test_one_weight_of_a_deep_but_thin_network(self) -> None:
        run = at("deep_thin_network")
        path = ["W1", "a1", "h1", "a2", "h2", "a3", "yhat", "L"]
        product = 1.0
        for parent, child in pairwise(path):
            product *= float(run.gradient(parent, of=child))
        assert run.gradient("W1") == pytest.approx(product, rel=1e-14)

    def test_squared_error_is_averaged_over_the_examples(self) -> None:
        found = spec("network_squared_error")
        values = {node.name: normals(3, *node.shape) for node in found.graph.starts}
        run = found.graph.run(values)
        residual = run.value("Yhat") - run.value("Y")
        assert run.value("L") == pytest.approx(np.mean(np.sum(residual**2, axis=1)), rel=1e-14)
        assert_allclose(run.gradient("b3"), 2 * residual.mean(axis=0), rtol=1e-12)

    def test_slopes_of_the_activations(self) -> None:
        run = at("logistic_and_tanh")
        z = run.value("z")
        assert_allclose(run.value("g"), expit(z), rtol=1e-15)
        assert_allclose(run.value("t"), np.tanh(z), rtol=1e-14)
        slopes = np.diag(jacobian(run, "g", "z")), np.diag(jacobian(run, "t", "z"))
        assert_allclose(slopes[0], expit(z) * (1 - expit(z)), rtol=1e-13)
        assert_allclose(slopes[1], 1 - np.tanh(z) ** 2, rtol=1e-12)


class TestS2Gates:
    def test_product(self) -> None:
        run = at("gates_product")
        assert run.value("q") == 3
        assert run.value("f") == -12
        assert [float(run.gradient(name)) for name in "xyz"] == [-4, -4, 3]
        assert run.gradient("q") == -4

    def test_product_at_the_point_of_s4(self) -> None:
        run = at("gates_product", x=2.0, y=3.0, z=4.0)
        assert [float(run.value(name)) for name in "qf"] == [5, 20]
        assert [float(run.gradient(name)) for name in "zqxy"] == [5, 4, 4, 4]

    @pytest.mark.parametrize(
        ("name", "result"), [("gates_sigmoid", "L"), ("gates_sigmoid_chain", "f")]
    )
    def test_logistic_unit_as_one_node_and_gate_by_gate(self, name: str, result: str) -> None:
        run = at(name)
        assert run.value("s3") == 1
        assert round(float(run.value(result)), 2) == 0.73
        of_w = [round(float(run.gradient(w)), 2) for w in ("w0", "w1", "w2")]
        of_x = [round(float(run.gradient(x)), 2) for x in ("x0", "x1")]
        assert of_w == [-0.20, -0.39, 0.20]
        assert of_x == [0.39, -0.59]

    def test_gate_by_gate_along_the_chain(self) -> None:
        run = at("gates_sigmoid_chain")
        shown = {name: round(float(run.value(name)), 2) for name in ("n", "e", "a", "f")}
        assert shown == {"n": -1, "e": 0.37, "a": 1.37, "f": 0.73}
        back = {name: round(float(run.gradient(name)), 2) for name in ("a", "e", "n", "s3")}
        assert back == {"a": -0.53, "e": -0.53, "n": -0.20, "s3": 0.20}

    def test_slope_printed_in_the_source_is_even(self) -> None:
        printed = (1 - 1 / (1 + np.exp(1))) * (1 / (1 + np.exp(1)))
        assert at("gates_sigmoid").gradient("s3") == pytest.approx(printed, rel=1e-15)
        assert round(printed, 1) == 0.2

    def test_flat_code(self) -> None:
        w0, x0, w1, x1, w2 = 2.0, -1.0, -3.0, -2.0, -3.0
        s0 = w0 * x0
        s1 = w1 * x1
        s2 = s0 + s1
        s3 = s2 + w2
        L = 1 / (1 + np.exp(-s3))
        grad_L = 1.0
        grad_s3 = grad_L * (1 - L) * L
        grad_w2 = grad_s3
        grad_s2 = grad_s3
        grad_s0 = grad_s2
        grad_s1 = grad_s2
        grad_w1 = grad_s1 * x1
        grad_x1 = grad_s1 * w1
        grad_w0 = grad_s0 * x0
        grad_x0 = grad_s0 * w0
        run = at("gates_sigmoid")
        flat = {"w0": grad_w0, "x0": grad_x0, "w1": grad_w1, "x1": grad_x1, "w2": grad_w2}
        for name, gradient in flat.items():
            assert run.gradient(name) == pytest.approx(gradient, rel=1e-15)

    def test_patterns_in_gradient_flow(self) -> None:
        run = at("gates_add_copy_mul_max")
        assert run.gradient("copy1") == run.gradient("p") == run.gradient("added")
        assert run.gradient("x") == run.gradient("copy1") + run.gradient("copy2")
        upstream = run.gradient("multiplied")
        assert run.gradient("copy2") == upstream * run.value("q")
        assert run.gradient("q") == upstream * run.value("copy2")
        assert run.gradient("added") == run.gradient("routed")
        assert run.gradient("u") == 0
        routed = at("gates_add_copy_mul_max", u=9.0)
        assert routed.gradient("added") == 0
        assert routed.gradient("u") == routed.gradient("routed")


class TestS2VectorsAndMatrices:
    def test_relu(self) -> None:
        run = at("relu_vector")
        assert run.jacobian("z", "x").nnz <= 4
        assert_allclose(jacobian(run, "z", "x"), np.diag([1, 0, 1, 0]), atol=0)
        assert_allclose(run.gradient("x"), [4, 0, 5, 0], atol=0)

    def test_matrix_product(self) -> None:
        run = at("matmul_xw")
        X, W, dY = run.value("X"), run.value("W"), run.value("dY")
        assert_allclose(run.value("Y"), [[-1, -1, 2, 6], [5, 2, 11, 7]], atol=0)
        assert_allclose(run.gradient("X"), dY @ W.T, atol=0)
        assert_allclose(run.gradient("W"), X.T @ dY, atol=0)

    def test_flat_svm_formula_has_a_minus(self) -> None:
        found = spec("linear_svm")
        X, W, Y = normals(1, 4, 5), normals(2, 3, 5), np.eye(3)[[0, 2, 1, 2]]
        run = found.graph.run({"X": X, "W": W, "Y": Y})

        def loss(sign: float) -> float:
            total = 0.0
            for x, y in zip(X, Y.argmax(axis=1), strict=True):
                total += sum(max(0.0, W[j] @ x + sign * W[y] @ x + 1) for j in {0, 1, 2} - {y})
            return total / 4 + 0.1 * float(np.sum(W**2))

        assert run.value("L") == pytest.approx(loss(-1), rel=1e-13)
        assert run.value("L") != pytest.approx(loss(+1), rel=1e-2)

    def test_hidden_units_as_a_matrix_product(self) -> None:
        run = at("hidden_sigmoid_net")
        value = {node.name: float(run.value(node)) for node in run.graph.starts}
        x = np.array([1, value["x1"], value["x2"]])
        hidden = np.array([[value[f"wh{i}{j}"] for i in range(3)] for j in (1, 2)])
        out = np.array([value["wo01"], value["wo11"], value["wo21"]])
        z = expit(hidden @ x)
        residual = out @ [1, *z] - value["t"]
        assert run.value("L") == pytest.approx(residual**2 / 2, rel=1e-14)
        expected = np.outer(residual * out[1:] * z * (1 - z), x)
        for j in (1, 2):
            for i in range(3):
                assert run.gradient(f"wh{i}{j}") == pytest.approx(expected[j - 1, i], rel=1e-12)

    def test_two_layer_net_is_the_mean_of_its_examples_and_two_penalties(self) -> None:
        run = at("relu_svm_net")
        X, W1, W2 = run.value("X"), run.value("W1"), run.value("W2")
        losses = []
        for x, y in zip(X, (0, 2, 1), strict=True):
            s = W2 @ np.maximum(0, W1 @ x)
            losses.append(sum(max(0.0, s[j] - s[y] + 1) for j in range(3) if j != y))
        assert_allclose(run.value("Li"), losses, rtol=1e-13)
        total = np.mean(losses) + 0.1 * np.sum(W1**2) + 0.05 * np.sum(W2**2)
        assert run.value("L") == pytest.approx(total, rel=1e-14)


class TestS3:
    def test_regularised_logistic_unit(self) -> None:
        x, t, w, b, beta = 1.4, 0.2, 0.9, -0.5, 0.3
        run = at("logistic_unit")
        y = expit(w * x + b)
        assert run.value("Lreg") == pytest.approx((y - t) ** 2 / 2 + beta * w**2 / 2, rel=1e-15)
        slope = y * (1 - y)
        assert run.gradient("w") == pytest.approx((y - t) * slope * x + beta * w, rel=1e-14)
        assert run.gradient("b") == pytest.approx((y - t) * slope, rel=1e-14)
        assert run.gradient("w") == run.gradient("q1") + run.gradient("q2")

    def test_squared_distance_through_tied_weights(self) -> None:
        run = at("squared_distance")
        x, W = run.value("x"), run.value("W")
        m = W.T @ W @ x - x
        assert run.value("L") == pytest.approx(m @ m, rel=1e-14)
        assert_allclose(run.gradient("m"), 2 * m, rtol=1e-13)
        assert_allclose(jacobian(run, "m", "g"), np.eye(4), atol=0)
        assert_allclose(run.gradient("g"), 2 * m, rtol=1e-13)
        M = W.T @ W - np.eye(4)
        assert_allclose(run.gradient("x"), 2 * M.T @ M @ x, rtol=1e-12)

    def test_likelihood_of_the_latent_variable_model(self) -> None:
        run = at("gp_latent_variable")
        A, B, K = run.value("A"), run.value("B"), run.value("K")
        alpha, D = 1.5, 3
        assert_allclose(K, alpha * A @ A.T + np.eye(4) / 2.0, rtol=1e-15)
        Ki = np.linalg.inv(K)
        assert run.value("L1") == pytest.approx(-D / 2 * np.log(np.linalg.det(K)), rel=1e-12)
        assert run.value("L2") == pytest.approx(-np.trace(Ki @ B @ B.T) / 2, rel=1e-12)
        assert_allclose(run.gradient("K", of="L1"), -D / 2 * Ki.T, rtol=1e-11, atol=1e-13)
        of_A = {"L1": -alpha * D * Ki @ A, "L2": alpha * Ki @ B @ B.T @ Ki @ A}
        for part, gradient in of_A.items():
            assert_allclose(run.gradient("A", of=part), gradient, rtol=1e-11, atol=1e-13)
        assert_allclose(run.gradient("A"), of_A["L1"] + of_A["L2"], rtol=1e-11, atol=1e-13)

    def test_the_two_paths_of_the_latent_variable_add_up(self) -> None:
        run = at("gp_latent_variable")
        A, dQ = run.value("A"), run.gradient("Q")
        by_A, by_At = dQ @ A, run.gradient("At").T
        assert_allclose(by_A, by_At, rtol=1e-11, atol=1e-13)
        assert_allclose(run.gradient("A"), by_A + by_At, rtol=1e-11, atol=1e-13)

    def test_swish_network(self) -> None:
        run = at("swish_net")
        x, W1, b1, W2 = (run.value(name) for name in ("x", "W1", "b1", "W2"))
        z1 = W1 @ x + b1
        h1 = z1 * expit(z1)
        z2 = W2 @ h1 + run.value("b2")
        assert run.value("L") == pytest.approx(z2 @ z2, rel=1e-14)
        assert_allclose(run.gradient("z2"), 2 * z2, rtol=1e-13)
        assert_allclose(run.gradient("u"), 2 * z2, rtol=1e-13)
        assert_allclose(run.gradient("h1"), W2.T @ (2 * z2), rtol=1e-13)
        assert_allclose(run.gradient("W2"), np.outer(2 * z2, h1), rtol=1e-13)
        dz1 = run.gradient("z1")
        assert_allclose(dz1, W2.T @ (2 * z2) * swish_slope(z1), rtol=1e-12)
        assert_allclose(run.gradient("W1"), np.outer(dz1, x), rtol=1e-13)
        assert_allclose(run.gradient("x"), W1.T @ dz1, rtol=1e-13)


def swish_slope(z: Array) -> Array:
    """The derivative of ``z σ(z)`` by the complex step."""
    moved = z + 1e-30j
    return np.asarray(np.imag(moved / (1 + np.exp(-moved))) / 1e-30)
