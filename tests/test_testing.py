"""Checks as assertions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess

import graphengine as ge
from graphengine.ops import OPS
from graphengine.ops.base import Op
from graphengine.testing import (
    assert_derivation,
    assert_gradient,
    assert_hessian,
    assert_jacobian,
    assert_op,
)

SPECS = Path(__file__).parent.parent / "specs"
X = [-1.2, 1.0, 0.7]


def test_what_is_right_passes() -> None:
    assert_gradient(rosen, rosen_der, X)
    assert_jacobian(rosen_der, rosen_hess, X)
    assert_hessian(rosen, rosen_hess, X, grad=rosen_der)
    assert_derivation(SPECS / "softmax_regression.yaml")
    assert_op(OPS["multiply"])
    assert ge.testing.assert_gradient is assert_gradient


def test_the_message_of_a_failure_is_the_report() -> None:
    wrong: Any = lambda x: -rosen_der(x)  # noqa: E731 (one line)
    with pytest.raises(AssertionError) as caught:
        assert_gradient(rosen, wrong, X, seed=3)
    assert str(caught.value) == str(ge.check_gradient(rosen, wrong, X, seed=3))
    assert "everything is −1 times the right one" in str(caught.value)
    with pytest.raises(AssertionError, match="the upper one is missing"):
        assert_hessian(rosen, lambda x: np.tril(rosen_hess(x)), X)
    with pytest.raises(AssertionError, match="1/2 times"):
        assert_jacobian(rosen_der, lambda x: rosen_hess(x) / 2, X)


def test_options_and_arguments_are_passed_on() -> None:
    assert_gradient(lambda x, a: a * rosen(x), lambda x, a: a * rosen_der(x), X, args=(3.0,))
    with pytest.raises(ge.GraphEngineError, match="points=0"):
        assert_jacobian(rosen_der, rosen_hess, X, points=0)


def test_what_is_undecided_fails_and_says_why() -> None:
    with pytest.raises(AssertionError, match="kink"):
        assert_gradient(lambda x: abs(x[0]), np.sign, [0.0])


def test_derivations_and_ops(monkeypatch: pytest.MonkeyPatch) -> None:
    g = ge.Graph("square")
    x = g.input("x", (3,))
    g.result("J", ge.sum(x**2))
    assert_derivation(g, {"J/x": "2 * x"})
    with pytest.raises(AssertionError, match="J/x"):
        assert_derivation(g, {"J/x": "x"}, seed=1)
    multiply: type[Op] = OPS["multiply"]
    rule = multiply.d_x if hasattr(multiply, "d_x") else multiply.d_a
    name = rule.__name__
    monkeypatch.setattr(multiply, name, lambda self, *args: -rule(self, *args))
    with pytest.raises(AssertionError, match="op multiply"):
        assert_op(multiply)
