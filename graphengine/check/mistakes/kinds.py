"""Every kind of mistake that a check names: what it means, and an example of it.

An example on a graph is a claim about a spec of the folder ``specs``, as it is right and as
somebody gets it wrong; one for a plain function is a call of a check.  The page of mistakes is
made of them (:mod:`graphengine.catalogue`), and the tests run them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp

from graphengine.check.functions import check_gradient, check_jacobian
from graphengine.check.report import Report

__all__ = ["KINDS", "Example", "Kind", "OnFunction", "OnGraph"]


@dataclass(frozen=True, slots=True)
class OnGraph:
    """A claim about the spec ``specs/<spec>.yaml``: the right formula and a wrong one."""

    spec: str
    claim: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True)
class OnFunction:
    """A check of a plain function; its source is what a reader sees."""

    check: Callable[[], Report]


Example: TypeAlias = OnGraph | OnFunction


class Kind(NamedTuple):
    """What a kind of mistake means, in a sentence, and an example."""

    means: str
    example: Example


def _softmax(claim: str, right: str, wrong: str) -> OnGraph:
    return OnGraph("softmax_regression", claim, right, wrong)


def _batch(claim: str, right: str, wrong: str) -> OnGraph:
    return OnGraph("softmax_minibatch", claim, right, wrong)


# --- plain functions ------------------------------------------------------------------------------


def _tie() -> Report:
    return check_gradient(
        np.max,
        lambda x: np.where(x == np.max(x), 1.0, 0.0),
        [2.0, 5.0, 5.0],
    )


def _pattern_missing() -> Report:
    return check_jacobian(
        lambda x: np.array([x[0] * x[1], x[1] * x[2], x[2] ** 2]),
        lambda x: sp.csr_array([[x[1], x[0], 0], [0, x[2], 0], [0, 0, 2 * x[2]]]),
        [1.0, 2.0, 3.0],
    )


def _pattern_extra() -> Report:
    return check_jacobian(
        lambda x: np.array([x[0] * x[1], x[1] * x[2], x[2] ** 2]),
        lambda x: sp.csr_array([[x[1], x[0], 0], [0, x[2], x[1]], [x[0], 0, 2 * x[2]]]),
        [1.0, 2.0, 3.0],
    )


def _shifted() -> Report:
    return check_jacobian(
        lambda x: np.diff(x**2),
        lambda x: sp.diags_array([-2 * x[:-1], 2 * x[1:]], offsets=[1, 2], shape=(3, 4)),
        [1.0, 2.0, 3.0, 5.0],
    )


# --- the kinds ------------------------------------------------------------------------------------

KINDS: Mapping[str, Kind] = {
    "sign": Kind(
        "The sign of one step is wrong, or that of everything.",
        _softmax("J/W", "outer(p - y, x) + 2 * lam * W", "outer(y - p, x) + 2 * lam * W"),
    ),
    "factor": Kind(
        "A number is left out, taken twice or made up: the 2 of a square, a constant of the "
        "formula, degrees for radians.",
        _softmax("r/W", "2 * W", "W"),
    ),
    "transposed": Kind(
        "A matrix in the formula is transposed, or the gradient is: an outer product with its "
        "factors exchanged.",
        _softmax("J/W", "outer(p - y, x) + 2 * lam * W", "outer(x, p - y) + 2 * lam * W.T"),
    ),
    "jacobian_transposed": Kind(
        "The Jacobian has a column where it should have a row: it is that of the other layout.",
        _softmax("z/x", "W", "W.T"),
    ),
    "kronecker_order": Kind(
        "The columns (or rows) of the Jacobian stand in the order of vec by columns: the Kronecker "
        "product has its factors in the other order.",
        _softmax("z/W", "kron(eye(C), x)", "kron(x, eye(C))"),
    ),
    "missing_path": Kind(
        "Of several ways from the variable to the result, or of several terms of one Jacobian, one "
        "is left out.",
        OnGraph("autoencoder", "L/x", "W1.T @ W2.T @ (2 * e) - 2 * e", "W1.T @ W2.T @ (2 * e)"),
    ),
    "double_counted": Kind(
        "A way, a term or a derivative counts twice.",
        _softmax("J/s", "p - y", "(p - y) * p * (1 - p)"),
    ),
    "missing_jacobian": Kind(
        "The derivative of one node is left out: what comes from above passes unchanged.",
        _softmax("J/W", "outer(p - y, x) + 2 * lam * W", "outer(-y / p, x) + 2 * lam * W"),
    ),
    "wrong_slope": Kind(
        "The derivative of another function stands in place of this one's.",
        OnGraph("activations", "t/z", "diag(1 - t**2)", "diag(t * (1 - t))"),
    ),
    "wrong_argument": Kind(
        "The right derivative is taken at the wrong value: at what comes before the activation for "
        "what comes after it.",
        OnGraph("network_cross_entropy", "L/W3", "outer(yhat - y, h2)", "outer(yhat - y, a2)"),
    ),
    "diagonal_only": Kind(
        "Of a full Jacobian only the diagonal is there.",
        _softmax("p/s", "diag(p) - outer(p, p)", "diag(p * (1 - p))"),
    ),
    "swapped_arguments": Kind(
        "The derivatives with respect to two arguments are exchanged.",
        OnGraph("gates_product", "f/z", "q", "z"),
    ),
    "not_averaged": Kind(
        "The factor 1/N of a mean is missing.",
        _batch("J/b", "sum(P - Y, axis=0) / N", "sum(P - Y, axis=0)"),
    ),
    "averaged_twice": Kind(
        "The factor 1/N of a mean is taken twice.",
        _batch("J/S", "(P - Y) / N", "(P - Y) / N**2"),
    ),
    "not_reduced": Kind(
        "What was broadcast forward is not added up backward: the gradient keeps the axis.",
        _batch("J/b", "sum(P - Y, axis=0) / N", "(P - Y) / N"),
    ),
    "mean_for_sum": Kind(
        "A mean stands where the graph adds up.",
        OnGraph("xor_linear", "J/b", "sum(g - y)", "mean(g - y)"),
    ),
    "last_only": Kind(
        "Where entries add up, only the last of them counts (or only the first).",
        _batch("J/b", "sum(P - Y, axis=0) / N", "(P - Y)[-1] / N"),
    ),
    "treated_as_constant": Kind(
        "A node that depends on the variable is taken for a constant: the mean and the variance of "
        "a normalisation.",
        OnGraph(
            "iris",
            "X/M",
            "(eye(N * d) - (kron(ones(N, N), eye(d)) + diag(vec(X)) @ kron(ones(N, N), eye(d)) "
            "@ diag(vec(X))) / N) @ kron(eye(N), diag(1 / sd))",
            "kron(eye(N), diag(1 / sd))",
        ),
    ),
    "missing_regulariser": Kind(
        "The share of the penalty is missing.",
        _softmax("J/W", "outer(p - y, x) + 2 * lam * W", "outer(p - y, x)"),
    ),
    "regulariser_scale": Kind(
        "The penalty has another weight, sign or form: λW for 2λW, divided by N, L1 for L2.",
        _softmax("J/W", "outer(p - y, x) + 2 * lam * W", "outer(p - y, x) + lam * W"),
    ),
    "regularised_bias": Kind(
        "A parameter that has no penalty gets one: as a rule the bias.",
        _softmax("J/b", "p - y", "p - y + 2 * lam * b"),
    ),
    "one_sided_mask": Kind(
        "A derivative that is switched on and off has the wrong mask: none, only one side of it, "
        "or its opposite.",
        OnGraph("binary_hinge", "loss/s", "diag(-y * (y * s < 1))", "diag(-y)"),
    ),
    "tie": Kind(
        "At a tie, or at a kink, each side gets the whole gradient.",
        OnFunction(_tie),
    ),
    "pattern_missing": Kind(
        "An entry of a sparse Jacobian is missing (or one triangle of a Hessian).",
        OnFunction(_pattern_missing),
    ),
    "pattern_extra": Kind(
        "An entry of a sparse Jacobian should be 0 and is not.",
        OnFunction(_pattern_extra),
    ),
    "shifted": Kind(
        "The right entries stand one place, row, column or diagonal beside their own.",
        OnFunction(_shifted),
    ),
    "reordered": Kind(
        "The right entries stand in another order: by columns for by rows, reversed, blocks "
        "exchanged.",
        _softmax("r/W", "2 * W", "reshape(vec(2 * W.T), [C, d])"),
    ),
    "shape": Kind(
        "The shape is wrong, or the formula cannot be evaluated because shapes do not fit.",
        _softmax("p/s", "diag(p) - outer(p, p)", "p * (1 - p)"),
    ),
    "unknown": Kind(
        "The claim is wrong and no known mistake gives its numbers; the worst entry is told with "
        "the claimed and the right value.",
        _softmax("J/s", "p - y", "sqrt(p) - y"),
    ),
}
"""The kinds, in the order in which they are explained."""
