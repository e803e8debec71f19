from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from graphengine.errors import ShapeError, ValuesError
from graphengine.ops import function
from tests.ops.reference import dense, exact, exact_slope, jacobian, margin, slopes, value

SCORES = np.array([[2.1, 3.4, -2.0], [0.2, 5.1, 1.7], [2.3, 3.1, -1.2]])
LABELS = np.array([0.0, 1.0, 2.0])
ONE_HOT = np.eye(3)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape)


def probabilities(*shape: int) -> np.ndarray:
    return scipy.special.softmax(random(*shape), axis=-1)


# --- softmax ------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_scipy_agrees_in_every_layout(axis):
    whole = random(4, 3, 8) * 10
    for x in (whole, whole[::2, :, ::-3], whole.transpose(2, 0, 1)):
        before = x.copy()
        assert_allclose(value("softmax", x, axis=axis), scipy.special.softmax(x, axis), rtol=1e-13)
        expected = scipy.special.log_softmax(x, axis)
        assert_allclose(value("log_softmax", x, axis=axis), expected, rtol=1e-13, atol=1e-15)
        assert_array_equal(x, before)


def test_the_lecture_s_jacobian_of_softmax():
    """S0: ∂p/∂s = diag(p) − p pᵀ."""
    s = random(4)
    p = np.exp(s) / np.exp(s).sum()
    found = jacobian("softmax", s)
    assert_allclose(found.toarray(), np.diag(p) - np.outer(p, p), rtol=1e-14)
    assert str(found) == "diag(out) − out outᵀ"
    assert str(jacobian("log_softmax", s)) == "I₄ − 1₄ exp(out)ᵀ"


@pytest.mark.parametrize(("shape", "axis"), [((5, 3), -1), ((3, 5), 0), ((2, 3, 4), 1)])
def test_softmax_of_a_batch_has_one_block_for_each_example(shape, axis):
    x = random(*shape)
    found = jacobian("softmax", x, axis=axis)
    classes = shape[axis]
    assert found.nnz == found.tocsr().nnz == x.size * classes
    tensor = np.moveaxis(found.tensor(), (axis % x.ndim, x.ndim + axis % x.ndim), (-2, -1))
    p = np.moveaxis(value("softmax", x, axis=axis), axis, -1)
    for one in np.ndindex(p.shape[:-1]):
        for other in np.ndindex(p.shape[:-1]):
            block = np.diag(p[one]) - np.outer(p[one], p[one]) if one == other else 0
            assert_allclose(tensor[one + other], np.broadcast_to(block, (classes,) * 2), rtol=1e-13)


def test_softmax_far_from_0():
    x = [[1000.0, -1000.0, 1000.0], [-1000.0, -1000.0, -1001.0]]
    e = 1 / (2 + np.exp(-1.0))
    assert_allclose(value("softmax", x), [[0.5, 0.0, 0.5], [e, e, e / np.e]], rtol=1e-13)
    found = value("log_softmax", x)
    assert_allclose(found[0], [-np.log(2), -2000 - np.log(2), -np.log(2)], rtol=1e-15)
    assert np.isfinite(dense("softmax", x)).all()
    assert_array_equal(dense("log_softmax", x)[1, :3], [-0.5, 1.0, -0.5])


def test_softmax_takes_minus_infinity_for_probability_0():
    x = [-np.inf, 0.0, 0.0]
    assert_array_equal(value("softmax", x), [0.0, 0.5, 0.5])
    assert_array_equal(value("log_softmax", x), [-np.inf, -np.log(2), -np.log(2)])
    assert_allclose(dense("softmax", x), [[0, 0, 0], [0, 0.25, -0.25], [0, -0.25, 0.25]])
    assert np.isnan(value("softmax", [-np.inf, -np.inf])).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_wants_an_axis(name):
    with pytest.raises(ShapeError, match="at least one axis, got a number"):
        function(name)(1.0)
    with pytest.raises(ShapeError, match="from -1 to 0"):
        function(name)([1.0, 2.0], axis=1)


# --- cross-entropy ------------------------------------------------------------------------


def test_the_lecture_s_cross_entropy():
    """S0: l = −log(yᵀ p), ∂l/∂p = −yᵀ / (yᵀ p) for a one-hot y; S1: −e_ℓ / ŷ_ℓ."""
    p, y = probabilities(4), np.eye(4)[2]
    assert_allclose(value("cross_entropy", p, y), -np.log(y @ p), rtol=1e-15)
    assert_allclose(dense("cross_entropy", p, y), [-y / (y @ p)], rtol=1e-15)
    assert str(jacobian("cross_entropy", p, y)) == "−(y / p)ᵀ"


def test_cross_entropy_of_a_class_that_is_neither_expected_nor_predicted():
    p, y = [0.0, 0.25, 0.75], [0.0, 1.0, 0.0]
    assert value("cross_entropy", p, y) == -np.log(0.25)
    assert_array_equal(dense("cross_entropy", p, y), [[0.0, -4.0, 0.0]])
    assert_array_equal(
        dense("cross_entropy", p, y, wrt=1), [[np.inf, -np.log(0.25), -np.log(0.75)]]
    )
    certain = value("cross_entropy", [0.0, 1.0], [0.0, 1.0])
    assert certain == 0.0
    assert not np.signbit(certain)


def test_cross_entropy_of_a_class_that_was_excluded_is_infinite():
    assert value("cross_entropy", [0.0, 1.0], [1.0, 0.0]) == np.inf
    assert_array_equal(dense("cross_entropy", [0.0, 1.0], [1.0, 0.0]), [[-np.inf, 0.0]])


def test_cross_entropy_of_a_batch_broadcasts_its_targets():
    p, y = probabilities(5, 3), np.array([0.2, 0.3, 0.5])
    assert_allclose(value("cross_entropy", p, y), -np.log(p) @ y, rtol=1e-14)
    gradient = jacobian("cross_entropy", p, y, wrt=1).pull(np.ones(5))
    assert_allclose(gradient, -np.log(p).sum(axis=0), rtol=1e-14)


@pytest.mark.parametrize("name", ["cross_entropy", "softmax_cross_entropy"])
@pytest.mark.parametrize("shapes", [((5, 3), (5,)), ((3,), (1,)), ((), (3,)), ((3,), ())])
def test_targets_of_another_number_of_classes_are_refused(name, shapes):
    with pytest.raises(ShapeError, match="the same number of classes"):
        function(name)(*(np.ones(shape) for shape in shapes))
    with pytest.raises(ShapeError, match="broadcast"):
        function(name)(np.ones((4, 3)), np.ones((5, 3)))


def test_the_lecture_s_softmax_losses():
    """S4: cat, car, bird: 1.54, 0.04, 4.68."""
    found = value("softmax_cross_entropy", SCORES, ONE_HOT)
    assert_array_equal(np.round(found, 2), [1.54, 0.04, 4.68])
    classic = np.log(np.exp(SCORES).sum(axis=1)) - np.diag(SCORES)
    assert_allclose(found, classic, rtol=1e-14)


def test_the_lecture_s_gradient_of_the_scores():
    """S1: ∇_a = −(e_ℓ − ŷ); it is the chain of the two steps."""
    s, y = random(4), np.eye(4)[1]
    found = jacobian("softmax_cross_entropy", s, y)
    p = value("softmax", s)
    assert_allclose(found.toarray(), [p - y], rtol=1e-13, atol=1e-16)
    chain = jacobian("cross_entropy", p, y) @ jacobian("softmax", s)
    assert_allclose(found.toarray(), chain.toarray(), rtol=1e-13, atol=1e-16)
    assert str(found) == "(softmax(s) − y)ᵀ"


def test_targets_need_not_add_up_to_1():
    s, y = random(3), np.array([0.5, 2.0, -1.0])
    log_p = s - np.log(np.exp(s).sum())
    assert_allclose(value("softmax_cross_entropy", s, y), -y @ log_p, rtol=1e-14)
    p = np.exp(log_p)
    found = jacobian("softmax_cross_entropy", s, y)
    assert_allclose(found.toarray(), [1.5 * p - y], rtol=1e-13)
    assert str(found) == "(softmax(s) sum(y) − y)ᵀ"
    assert_allclose(dense("softmax_cross_entropy", s, y, wrt=1), [-log_p], rtol=1e-14)


def test_scores_of_a_thousand():
    s = np.array([[1000.0, -1000.0], [1000.0, -1000.0]])
    assert_array_equal(value("softmax_cross_entropy", s, np.eye(2)), [0.0, 2000.0])
    gradient = jacobian("softmax_cross_entropy", s, np.eye(2)).pull(np.ones(2))
    assert_array_equal(gradient, [[0.0, 0.0], [1.0, -1.0]])


def test_a_class_that_is_excluded_adds_nothing_where_it_is_not_expected():
    s, y = [-np.inf, 0.0, 1000.0], [0.0, 1.0, 0.0]
    assert value("softmax_cross_entropy", s, y) == 1000.0
    assert_array_equal(dense("softmax_cross_entropy", s, y), [[0.0, -1.0, 1.0]])


# --- multi-class SVM ----------------------------------------------------------------------


def test_the_lecture_s_svm_losses():
    """S4: cat, car, bird: 2.3, 0, 9.8."""
    assert_allclose(value("svm_loss", SCORES, LABELS), [2.3, 0.0, 9.8], rtol=1e-14)
    expected = [[-1, 1, 0], [0, 0, 0], [1, 1, -2]]
    gradient = jacobian("svm_loss", SCORES, LABELS).pull(np.ones(3))
    assert_array_equal(gradient, expected)
    assert jacobian("svm_loss", SCORES, LABELS, wrt=1).nnz == 0


@given(seed=st.integers(0, 2**31), delta=st.sampled_from([0.0, 0.5, 1.0, -0.5]))
@settings(max_examples=40)
def test_svm_loss_is_the_sum_of_its_definition(seed, delta):
    rng = np.random.default_rng(seed)
    s, label = rng.normal(size=(2, 3, 4)), rng.integers(0, 4, (2, 3)).astype(float)
    expected = np.zeros((2, 3))
    slope = np.zeros((2, 3, 4))
    for n in np.ndindex(2, 3):
        y = int(label[n])
        for j in range(4):
            if j != y and s[n][j] - s[n][y] + delta > 0:
                expected[n] += s[n][j] - s[n][y] + delta
                slope[n][j] += 1
                slope[n][y] -= 1
    assert_allclose(value("svm_loss", s, label, delta=delta), expected, rtol=1e-13, atol=1e-14)
    found = jacobian("svm_loss", s, label, delta=delta).pull(np.ones((2, 3)))
    assert_array_equal(found, slope)


def test_a_class_that_just_meets_the_margin_has_slope_0():
    s = [2.0, 1.0, 1.5]
    assert_array_equal(dense("svm_loss", s, 0.0), [[-1.0, 0.0, 1.0]])
    assert margin("svm_loss", s, 0.0) == 0.0
    assert margin("svm_loss", s, 0.0, delta=0.75) == 0.25
    assert margin("svm_loss", [[5.0]], [0.0]) == np.inf


@pytest.mark.parametrize(
    ("label", "shown"), [(3.0, "3"), (-1.0, "-1"), (0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf")]
)
def test_labels_that_are_no_class_are_refused(label, shown):
    with pytest.raises(ValuesError, match=f"whole numbers from 0 to 2, got {shown};"):
        value("svm_loss", SCORES, [0.0, label, 1.0])
    with pytest.raises(ValuesError, match=f"got {shown};"):
        value("svm_loss", SCORES[0], label)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), ()), ((), ()), ((3, 0), (3,))])
def test_svm_loss_wants_one_label_for_each_example(shapes):
    with pytest.raises(ShapeError, match="a class index for each example"):
        function("svm_loss")(*(np.zeros(shape) for shape in shapes))


# --- losses entry by entry ----------------------------------------------------------------


def binary(p, y):
    return -y * mp.log(p) - (1 - y) * mp.log(1 - p)


def logistic_loss(z, y):
    return mp.log(1 + mp.exp(z)) - y * z


@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("p", [1e-300, 1e-9, 0.25, 0.5, 1 - 1e-9])
def test_binary_cross_entropy_is_mpmath_s(p, y):
    assert_allclose(value("binary_cross_entropy", p, y), exact(binary, p, y), rtol=1e-14)
    for wrt in (0, 1):
        found = dense("binary_cross_entropy", p, y, wrt=wrt)
        assert_allclose(found, [[exact_slope(binary, p, y, wrt=wrt)]], rtol=1e-13, atol=1e-15)


def test_binary_cross_entropy_of_what_is_certain():
    p, y = [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]
    assert_array_equal(value("binary_cross_entropy", p, y), [0.0, 0.0, np.inf, np.inf])
    found = slopes("binary_cross_entropy", p, y)
    assert_array_equal(found, [1.0, -1.0, -np.inf, np.inf])


@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("z", [-1000.0, -40.0, -1.0, 0.0, 1e-9, 2.0, 40.0, 700.0, 1000.0])
def test_sigmoid_cross_entropy_is_mpmath_s(z, y):
    assert_allclose(value("sigmoid_cross_entropy", z, y), exact(logistic_loss, z, y), rtol=1e-14)
    for wrt in (0, 1):
        found = dense("sigmoid_cross_entropy", z, y, wrt=wrt)
        expected = exact_slope(logistic_loss, z, y, wrt=wrt)
        assert_allclose(found, [[expected]], rtol=1e-13, atol=2e-16)


def test_the_two_binary_losses_are_one_through_the_sigmoid():
    z, y = np.linspace(-5, 5, 11), np.linspace(0, 1, 11)
    p = value("sigmoid", z)
    loss = value("binary_cross_entropy", p, y)
    assert_allclose(value("sigmoid_cross_entropy", z, y), loss, rtol=1e-13)
    chain = slopes("binary_cross_entropy", p, y) * slopes("sigmoid", z)
    assert_allclose(slopes("sigmoid_cross_entropy", z, y), chain, rtol=1e-12, atol=1e-15)


def test_the_lecture_s_vanishing_gradient():
    """S4: at z = −50 and y = 1 the squared error of a σ has lost its gradient, this has not."""
    z, y = -50.0, 1.0
    s = value("sigmoid", z)
    assert_allclose(dense("sigmoid_cross_entropy", z, y), [[s - 1]], rtol=1e-15)
    squared = dense("squared_error", s, y) @ dense("sigmoid", z)
    assert_allclose(squared, [[-2 * (y - s) * s * (1 - s)]], rtol=1e-15)
    assert -1e-20 < squared[0, 0] < 0
    assert dense("sigmoid_cross_entropy", z, y) == -1.0


def test_the_lecture_s_hinge():
    """S4: max(0, 1 − y s); where y s = 1 the slope is 0."""
    s, y = [0.5, 1.0, 2.0, -0.5, -1.0, 0.0], [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]
    assert_array_equal(value("hinge", s, y), [0.5, 0.0, 0.0, 0.5, 0.0, 1.0])
    assert_array_equal(slopes("hinge", s, y), [-1.0, 0.0, 0.0, 1.0, 0.0, 1.0])
    assert_array_equal(slopes("hinge", s, y, wrt=1), [-0.5, 0.0, 0.0, 0.5, 0.0, 0.0])
    assert margin("hinge", s, y) == 0.0
    assert margin("hinge", [0.5, 3.0], 1.0) == 0.5
    assert np.isnan(value("hinge", np.nan, 1.0))


def test_the_lecture_s_squared_error():
    """S1 and S4: ε = ‖x − h‖², ∇_x ε = 2 (x − h)."""
    x, h = random(4), np.arange(4.0)
    assert_allclose(value("squared_error", x, h), np.sum((x - h) ** 2), rtol=1e-15)
    found = jacobian("squared_error", x, h)
    assert_allclose(found.toarray(), [2 * (x - h)], rtol=1e-15)
    assert_allclose(dense("squared_error", x, h, wrt=1), [-2 * (x - h)], rtol=1e-15)
    assert str(found) == "2 (x − y)ᵀ"


def test_squared_error_is_a_number_and_broadcasts():
    x, y = random(2, 1, 3), random(4, 1)
    assert value("squared_error", x, y).shape == ()
    difference = x - y
    expected = 2 * difference.sum(axis=1, keepdims=True)
    assert_allclose(dense("squared_error", x, y), expected.reshape(1, 6), rtol=1e-13)
    expected = -2 * difference.sum(axis=(0, 2))
    assert_allclose(dense("squared_error", x, y, wrt=1), expected.reshape(1, 4), rtol=1e-13)
    with pytest.raises(ShapeError, match="broadcast"):
        function("squared_error")([1.0, 2.0], [1.0, 2.0, 3.0])
