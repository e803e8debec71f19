"""Every number and formula of the worked examples of S4, and the data sets, from the specs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

import graphengine as ge

from .lecture_specs import FOLDER, at, beside, jacobian, normals, spec

SCORES = np.array([[2.1, 3.4, -2.0], [0.2, 5.1, 1.7], [2.3, 3.1, -1.2]])


class TestScores:
    def test_softmax_losses(self) -> None:
        run = at("softmax_loss_scores")
        assert_allclose(run.value("a"), SCORES, atol=0)
        assert [round(float(loss), 2) for loss in run.value("loss")] == [1.54, 0.04, 4.68]
        assert_allclose(run.gradient("a").sum(axis=1), 0, atol=1e-15)

    def test_a_shift_of_all_scores_changes_nothing(self) -> None:
        shifted = at("softmax_loss_scores", a=SCORES - SCORES.max(axis=1, keepdims=True))
        run = at("softmax_loss_scores")
        assert_allclose(run.value("loss"), shifted.value("loss"), rtol=1e-13)
        assert_allclose(run.gradient("a"), shifted.gradient("a"), rtol=1e-12)

    def test_scores_of_a_thousand(self) -> None:
        a = np.array(
            [[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 999.0], [-1000.0, -1000.0, -1000.0]]
        )
        run = at("softmax_loss_scores", a=a)
        assert_allclose(run.value("loss"), [0, np.log1p(np.exp(-1)), np.log(3)], rtol=1e-12)
        tail = expit(-1)
        slopes = [[0, 0, 0], [0, -tail, tail], [1 / 3, 1 / 3, -2 / 3]]
        assert_allclose(run.gradient("a"), np.array(slopes) / 3, rtol=1e-12)
        wrong = at("softmax_loss_scores", a=a, y=np.eye(3)[[1, 0, 0]])
        assert_allclose(wrong.value("loss")[0], 1000 + 1000, rtol=1e-15)

    def test_softmax_shifted_by_its_largest_score(self) -> None:
        run = at("softmax_shift", a=[1000.0, -1000.0, 999.0, 1000.0])
        p = np.array([1, 0, np.exp(-1), 1]) / (2 + np.exp(-1))
        assert_allclose(run.value("p"), p, rtol=1e-14)
        assert_allclose(
            jacobian(run, "p", "a"), np.diag(p) - np.outer(p, p), rtol=1e-12, atol=1e-16
        )

    def test_log_likelihood_is_near_zero_when_the_true_class_wins(self) -> None:
        one_hot = np.eye(3)
        won = at("softmax_loss_scores", a=20 * one_hot, y=one_hot)
        assert np.all(won.value("loss") < 1e-8)
        lost = at("softmax_loss_scores", a=20 * one_hot, y=one_hot[[1, 2, 0]])
        assert_allclose(lost.value("loss"), 20, rtol=1e-8)

    def test_svm_losses(self) -> None:
        run = at("svm_loss_scores")
        assert_allclose(run.value("a"), SCORES, atol=0)
        assert_allclose(run.value("loss"), [2.3, 0, 9.8], rtol=1e-15, atol=1e-15)
        assert_allclose(3 * run.gradient("a"), [[-1, 1, 0], [0, 0, 0], [1, 1, -2]], atol=1e-15)

    def test_bounds_of_the_multi_class_hinge(self) -> None:
        for seed in range(20):
            a = normals(seed, 3, 3) * 3
            winners = a.argmax(axis=1)
            right = at("svm_loss_scores", a=a, y=winners).value("loss")
            assert np.all((right >= 0) & (right <= 2))
            wrong = at("svm_loss_scores", a=a, y=(winners + 1) % 3).value("loss")
            assert np.all(wrong >= 1)

    def test_bounds_of_the_binary_hinge(self) -> None:
        run = at("binary_hinge")
        s, y, loss = run.value("s"), run.value("y"), run.value("loss")
        assert_allclose(loss, np.maximum(0, 1 - y * s), rtol=1e-15)
        same = np.sign(s) == y
        assert same.any()
        assert (~same).any()
        assert np.all((loss[same] >= 0) & (loss[same] <= 1))
        assert_allclose(loss[~same], 1 + np.abs(s[~same]), rtol=1e-15)


class TestNetworks:
    @pytest.mark.parametrize(
        ("name", "weights", "biases", "neurons"),
        [("network_26", 20, 6, 6), ("network_46", 36, 10, 10)],
    )
    def test_number_of_parameters(self, name: str, weights: int, biases: int, neurons: int) -> None:
        parameters = [n for n in spec(name).graph.starts if n.role == "parameter"]
        assert sum(n.size for n in parameters if len(n.shape) == 2) == weights
        assert sum(n.size for n in parameters if len(n.shape) == 1) == biases == neurons
        assert sum(n.size for n in parameters) == weights + biases
        assert sum(at(name).jacobian("z", n).shape[1] for n in parameters) == weights + biases

    @pytest.mark.parametrize("name", ["network_26", "network_46"])
    def test_forward_pass_of_the_source(self, name: str) -> None:
        run = at(name)
        value = run.value("x")
        layers = 2 if name == "network_26" else 3
        for layer in range(1, layers + 1):
            value = run.value(f"W{layer}") @ value + run.value(f"b{layer}")
            if layer < layers:
                value = value * (value > 0)
        assert_allclose(run.value("z"), value, rtol=1e-14)

    def test_linear_layers_are_one_linear_map(self) -> None:
        found = spec("linear_network")
        values = {node.name: normals(7, *node.shape) for node in found.graph.starts}
        run = found.graph.run(values)
        x, W1, b1, W2, b2, W3, b3 = (
            values[name] for name in ("x", "W1", "b1", "W2", "b2", "W3", "b3")
        )
        W, b = W3 @ W2 @ W1, b3 + W3 @ b2 + W3 @ W2 @ b1
        assert_allclose(run.value("z"), W @ x + b, rtol=1e-12)
        assert_allclose(jacobian(run, "z", "x"), W, rtol=1e-12)

    def test_xor_network(self) -> None:
        run = at("xor_network")
        assert_allclose(run.value("X"), [[0, 0], [0, 1], [1, 0], [1, 1]], atol=0)
        assert_allclose(run.value("g"), [0, 1, 1, 0], atol=0)
        assert_allclose(run.value("g"), run.value("y"), atol=0)
        assert np.count_nonzero(run.value("A") == 0) == 3
        assert run.value("J") == 0
        for name in ("W", "c", "w", "b"):
            assert not run.gradient(name).any()

    def test_xor_by_a_linear_model(self) -> None:
        run = at("xor_linear")
        assert_allclose(run.value("g"), 0.5, atol=0)
        assert run.value("J") == 0.5
        assert not run.gradient("w").any()
        assert run.gradient("b") == 0

    @pytest.mark.parametrize("w", [-1.0, 0.3, 2.0])
    def test_xor_on_the_line_where_the_first_gradient_vanishes(self, w: float) -> None:
        run = at("xor_linear", w=[w, w], b=(1 - 3 * w) / 2)
        assert_allclose(run.gradient("w"), 0, atol=1e-14)
        assert run.gradient("b") == pytest.approx(-2 * w, rel=1e-13)

    def test_autoencoder_s_input_has_two_paths(self) -> None:
        run = at("autoencoder")
        M = run.value("W2") @ run.value("W1") - np.eye(4)
        assert_allclose(run.gradient("x"), 2 * M.T @ M @ run.value("x"), rtol=1e-12)


class TestActivations:
    def test_values(self) -> None:
        run = at("activations")
        z = run.value("z")
        expected = {
            "s": 1 / (1 + np.exp(-z)),
            "t": np.tanh(z),
            "r": z * (z > 0),
            "sp": np.log(1 + np.exp(z)),
            "leaky": z * (z > 0) + 0.1 * z * (z < 0),
            "pre": np.maximum(0.25 * z, z),
            "el": z * (z > 0) + 0.2 * (np.exp(z) - 1) * (z < 0),
        }
        for name, value in expected.items():
            assert_allclose(run.value(name), value, rtol=1e-14, err_msg=name)

    def test_tanh_is_a_sigmoid_of_twice_the_argument(self) -> None:
        run = at("activations")
        assert_allclose(run.value("twice"), run.value("t"), rtol=1e-14)
        assert np.abs(2 * run.value("s") - 1 - run.value("t")).max() > 0.1

    def test_maximum_is_not_the_elu_for_large_arguments(self) -> None:
        run = at("activations")
        z, elu = run.value("z"), run.value("el")
        by_maximum = np.maximum(0.2 * (np.exp(z) - 1), z)
        assert_allclose(by_maximum[:-1], elu[:-1], rtol=1e-14)
        assert (z[-1], elu[-1]) == (5, 5)
        assert by_maximum[-1] > 29
        assert 0.2 * (np.exp(2.6) - 1) < 2.6
        assert 0.2 * (np.exp(2.7) - 1) > 2.7

    def test_maximum_is_not_the_prelu_for_slopes_above_one(self) -> None:
        run = at("activations", slope=3.0)
        z = run.value("z")
        assert_allclose(run.value("pre"), np.where(z > 0, z, 3 * z), rtol=1e-15)
        assert np.any(np.maximum(3 * z, z) != run.value("pre"))

    def test_slopes_at_the_kink(self) -> None:
        run = at("activations", z=np.zeros(6))
        slopes = {
            name: np.unique(np.diag(jacobian(run, name, "z"))) for name in ("r", "leaky", "pre")
        }
        assert [float(found.item()) for found in slopes.values()] == [0, 0.1, 0.25]

    def test_saturation(self) -> None:
        run = at("activations", z=[-1000.0, -40.0, 0.0, 1.0, 40.0, 1000.0])
        for name in ("s", "t"):
            slopes = np.diag(jacobian(run, name, "z"))
            assert np.all(np.abs(slopes[[0, 1, 4, 5]]) < 1e-15)
        assert np.diag(jacobian(run, "s", "z"))[2] == 0.25
        assert np.diag(jacobian(run, "t", "z"))[2] == 1
        assert_allclose(np.diag(jacobian(run, "r", "z"))[3:], 1, atol=0)

    def test_one_sigmoid_unit_moves_its_weights_the_same_way(self) -> None:
        run = at("sigmoid_unit")
        assert np.all(run.value("x") > 0)
        assert np.all(run.gradient("w") > 0)
        near = at("sigmoid_unit", w=np.zeros(3), b=1e-6)
        assert float(near.value("f")) == pytest.approx(0.5 + 1e-6 / 4, rel=1e-15)
        assert float(near.gradient("b")) == pytest.approx(0.25, rel=1e-10)

    def test_maxout_with_a_zero_part_is_the_relu(self) -> None:
        run = at("maxout", W1=np.zeros((4, 3)), b1=np.zeros(4))
        assert_allclose(run.value("m"), np.maximum(0, run.value("v")), atol=0)
        assert_allclose(run.value("m"), ge.relu(run.value("v")), atol=0)
        both = at("maxout")
        assert np.any(both.value("u") > both.value("v"))
        assert np.any(both.value("u") < both.value("v"))

    def test_cross_entropy_learns_where_squared_error_does_not(self) -> None:
        name = "cross_entropy_vs_squared_error"
        run = at(name, **beside(name, "saturated"))
        assert (run.value("z")[0], run.value("y")[0]) == (-50, 1)
        assert run.gradient("z", of="CE")[0] == -1
        assert abs(run.gradient("z", of="SE")[0]) < 1e-20
        assert run.gradient("z", of="SE")[0] < 0
        assert run.value("CE") > 50
        assert_allclose(run.gradient("z", of="CE"), expit(run.value("z")) - run.value("y"))

    def test_squared_errors_at_minus_50_and_minus_40_are_equal(self) -> None:
        costs = [
            at("cross_entropy_vs_squared_error", z=[z, 0, 0, 0], y=[1, 0, 0, 0]).value("SE")
            for z in (-50.0, -40.0)
        ]
        assert costs[0] == costs[1] == 1 + 3 / 4

    def test_cross_entropy_from_extreme_scores(self) -> None:
        run = at("cross_entropy_vs_squared_error", z=[-1000, 1000, -1000, 1000], y=[1, 0, 0, 1])
        assert run.value("CE") == 2000
        assert_allclose(run.gradient("z", of="CE"), [-1, 1, 0, 0], atol=0)

    @pytest.mark.parametrize("x", [-3.0, 0.0, 0.7, 5.0])
    def test_softplus_by_its_graph(self, x: float) -> None:
        run = at("softplus_graph", x=x)
        assert run.value("y") == pytest.approx(float(ge.softplus(x)), rel=1e-13)
        assert run.gradient("a") == run.gradient("b") == 1 / run.value("a")
        assert run.gradient("x") == pytest.approx(expit(x), rel=1e-14)


class TestVectorsAndTensors:
    def test_layouts_of_a_linear_map(self) -> None:
        run = at("linear_map")
        W = run.value("W")
        assert_allclose(run.jacobian("y", "x").toarray(), W, atol=0)
        assert_allclose(run.jacobian("y", "x", "denominator").toarray(), W.T, atol=0)

    def test_chain_rule_in_both_layouts(self) -> None:
        run = at("vector_chain_rule")
        forward = jacobian(run, "z", "y") @ jacobian(run, "y", "x")
        assert_allclose(jacobian(run, "z", "x"), forward, rtol=1e-13)
        back = (
            run.jacobian("y", "x", "denominator").toarray()
            @ run.jacobian("z", "y", "denominator").toarray()
        )
        assert back.shape == (4, 2)
        assert_allclose(run.jacobian("z", "x", "denominator").toarray(), back, rtol=1e-13)

    def test_squared_error(self) -> None:
        run = at("squared_error_vector")
        x, h = run.value("x"), run.value("h")
        assert run.value("eps") == pytest.approx(np.sum((x - h) ** 2), rel=1e-15)
        assert_allclose(run.gradient("x"), 2 * (x - h), rtol=1e-15)
        assert_allclose(jacobian(run, "y", "x"), np.eye(4), atol=0)

    def test_tensor_of_least_squares_slice_by_slice(self) -> None:
        run = at("least_squares")
        x, (m, n) = run.value("x"), run.value("W").shape
        tensor = run.jacobian("z", "W", "denominator").toarray().reshape(m, n, m)
        for k in range(m):
            expected = np.zeros((m, n))
            expected[k] = -x
            assert_allclose(tensor[:, :, k], expected, atol=0)
        assert_allclose(np.tensordot(tensor, run.value("z"), 1), run.gradient("W"), rtol=1e-14)
        assert_allclose(run.gradient("W"), -np.outer(run.value("z"), x), rtol=1e-14)

    def test_least_squares_over_all_examples(self) -> None:
        run = at("least_squares_batch")
        X, Y, W = run.value("X"), run.value("Y"), run.value("W")
        one = spec("least_squares").at({"m": 2, "n": 3})
        by_example = [
            one.run({"x": x, "y": y, "W": W}).gradient("W") for x, y in zip(X.T, Y.T, strict=True)
        ]
        assert_allclose(run.gradient("W"), np.sum(by_example, axis=0), rtol=1e-12)
        best = Y @ X.T @ np.linalg.inv(X @ X.T)
        at_best = at("least_squares_batch", W=best)
        assert_allclose(at_best.gradient("W"), 0, atol=1e-13)
        assert at_best.value("L") < run.value("L")
        assert np.linalg.matrix_rank(np.outer(X[:, 0], X[:, 0])) == 1

    def test_matrix_product(self) -> None:
        run = at("matmul_wx")
        W, X, dY = run.value("W"), run.value("X"), run.value("dY")
        assert_allclose(run.gradient("X"), W.T @ dY, rtol=1e-14)
        assert_allclose(run.gradient("W"), dY @ X.T, rtol=1e-14)

    def test_relu_layer(self) -> None:
        run = at("relu_layer")
        a, h, z, W, x = (run.value(name) for name in ("a", "h", "z", "W", "x"))
        assert 0 < np.count_nonzero(a > 0) < 4
        dc = (a > 0) * 2 * (h - z)
        assert_allclose(run.gradient("c"), dc, rtol=1e-14)
        assert_allclose(run.gradient("x"), W.T @ dc, rtol=1e-14)
        assert_allclose(run.gradient("W"), np.outer(dc, x), rtol=1e-14)

    @pytest.mark.parametrize("name", ["hessian_quadratic", "hessian_logsumexp"])
    def test_hessian_is_symmetric_and_the_jacobian_of_the_gradient(self, name: str) -> None:
        run = at(name)
        x, H = run.value("x"), jacobian(run, "grad", "x")
        assert_allclose(run.gradient("x", of="f"), run.value("grad"), rtol=1e-13)
        assert_allclose(H, H.T, rtol=1e-13)
        h = 1e-4
        for j, step in enumerate(h * np.eye(len(x))):
            above, below = at(name, x=x + step), at(name, x=x - step)
            slope = (above.gradient("x", of="f") - below.gradient("x", of="f")) / (2 * h)
            assert_allclose(H[:, j], slope, rtol=1e-6, atol=1e-8)


class TestRealData:
    def test_iris_is_fisher_s(self) -> None:
        M, species = spec("iris").values["M"], spec("iris").values["species"]
        assert M.shape == (150, 4)
        assert_allclose(M.sum(axis=0), [876.5, 458.6, 563.7, 179.9], rtol=1e-13)
        assert_allclose(M[34], [4.9, 3.1, 1.5, 0.2], atol=0)
        assert_allclose(M[37], [4.9, 3.6, 1.4, 0.1], atol=0)
        assert_allclose(M.min(axis=0), [4.3, 2.0, 1.0, 0.1], atol=0)
        assert_allclose(M.max(axis=0), [7.9, 4.4, 6.9, 2.5], atol=0)
        assert np.bincount(species.astype(int)).tolist() == [50, 50, 50]
        header = (FOLDER / "data" / "iris.csv").read_text("utf-8").splitlines()[0]
        assert header == "sepal_length,sepal_width,petal_length,petal_width,species"

    def test_iris_is_standardised_inside_the_graph(self) -> None:
        run = at("iris")
        assert_allclose(run.value("X").mean(axis=0), 0, atol=1e-13)
        assert_allclose(run.value("X").std(axis=0), 1, rtol=1e-12)
        correct = np.mean(run.value("P").argmax(axis=1) == run.value("species"))
        assert correct > 0.7
        assert_allclose(run.gradient("M").sum(axis=0), 0, atol=1e-14)

    def test_digits_are_images_of_digits(self) -> None:
        run = at("digits")
        images, labels = run.value("images"), run.value("labels")
        assert images.shape == (300, 64)
        assert (images.min(), images.max()) == (0, 16)
        assert_allclose(images, np.round(images), atol=0)
        assert labels[:10].tolist() == list(range(10))
        assert np.all(np.bincount(labels.astype(int), minlength=10) >= 29)
        inside = images.reshape(300, 8, 8)
        assert inside[:, :, 2:6].mean() > 3 * inside[:, :, [0, 7]].mean()

    def test_jacobian_of_the_hidden_layer_is_block_diagonal(self) -> None:
        run = at("digits")
        found = run.jacobian("S", "H")
        assert found.shape == (300 * 10, 300 * 32)
        assert found.nnz == 300 * 10 * 32
        assert_allclose(found[10:20, 32:64].toarray(), run.value("W2"), atol=0)
