"""Verdicts: what is right is right at every scale, what is wrong is wrong, doubt is doubt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.check import (
    Checker,
    ClaimResult,
    Report,
    check,
    checker,
    judging,
    trust,
)
from graphengine.check.claims import TOLERANCE
from graphengine.check.reference import Along
from graphengine.derivation import Found, Point
from graphengine.errors import CheckError, FormulaError
from graphengine.ops import OPS
from graphengine.ops.base import Elementwise, slope
from tests.check.derivations import (
    ByFunctions,
    Formula,
    NoSurvey,
    least_squares,
    softmax_regression,
)


@pytest.fixture(autouse=True)
def _first_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "Survey", NoSurvey)


def verdicts(report: Report) -> dict[str, str]:
    return {claim.claim: claim.verdict for claim in report.claims}


def one(graph: ge.Graph, name: str, formula: Formula, **more: Any) -> ClaimResult:
    return check(graph, ByFunctions({name: formula}), **more)[name]


def softmax_jacobian(v: Any) -> Any:
    return np.diag(v.p) - np.outer(v.p, v.p)


def g_long(v: Any) -> Any:
    return -(v.y / (v.y @ v.p)) @ softmax_jacobian(v)


SCALES = [1e-8, 1.0, 1e8]
RIGHT: dict[str, list[Formula]] = {
    "J/W": [
        lambda v: v.c * (np.outer(v.p - v.y, v.x) + 2 * v.lam * v.W),
        lambda v: v.c * (np.outer(g_long(v), v.x) + 2 * v.lam * v.W),
        lambda v: v.c * ((g_long(v) @ np.kron(np.eye(3), v.x)) + 2 * v.lam * v.W.ravel()),
        lambda v: v.c * (np.einsum("i,j->ij", v.p, v.x) - np.outer(v.y, v.x) + v.lam * (v.W + v.W)),
    ],
    "J/b": [
        lambda v: v.c * (v.p - v.y),
        lambda v: (v.c * g_long(v)).reshape(1, -1),
        lambda v: v.c * (np.exp(v.s) / np.sum(np.exp(v.s)) - v.y),
        lambda v: v.c * (1 / np.exp(v.s - v.s[:, None]).sum(1) - v.y),
    ],
    "p/s": [
        softmax_jacobian,
        lambda v: v.p[:, None] * (np.eye(3) - v.p),
        lambda v: np.diag(v.p * (1 - v.p)) - (np.outer(v.p, v.p) * (1 - np.eye(3))),
    ],
    "z/W": [
        lambda v: np.kron(np.eye(3), v.x),
        lambda v: np.einsum("ij,k->ijk", np.eye(3), v.x),
    ],
    "J/x": [lambda v: v.c * (v.p - v.y) @ v.W, lambda v: v.c * (v.W.T @ v.p - v.W.T @ v.y)],
    "r/W": [lambda v: 2 * v.W, lambda v: (v.W + v.W).reshape(1, -1)],
    "l/p": [lambda v: -v.y / (v.y @ v.p), lambda v: -v.y / v.p],
    "J/y": [lambda v: -v.c * v.p / (v.y @ v.p)],
    "r/x": [lambda v: np.zeros(4)],
}
WRONG: dict[str, list[tuple[str, Formula]]] = {
    "J/W": [
        ("missing_regulariser", lambda v: v.c * np.outer(v.p - v.y, v.x)),
        ("regulariser_scale", lambda v: v.c * (np.outer(v.p - v.y, v.x) + v.lam * v.W)),
        ("sign", lambda v: v.c * (np.outer(v.y - v.p, v.x) + 2 * v.lam * v.W)),
        ("missing_path", lambda v: v.c * (np.outer(v.p, v.x) + 2 * v.lam * v.W)),
        (
            "unknown",
            lambda v: v.c * 1e-3 + v.c * (np.outer(v.p - v.y, v.x) + 2 * v.lam * v.W),
        ),
        (
            "factor",
            lambda v: v.c * (np.outer(v.p - v.y, v.x) + 2 * v.lam * v.W) * (1 + 1e-6),
        ),
        ("treated_as_constant", lambda v: np.zeros((3, 4))),
    ],
    "J/b": [
        ("sign", lambda v: v.c * (v.y - v.p)),
        ("double_counted", lambda v: v.c * (v.p - v.y) * v.p * (1 - v.p)),
        ("missing_jacobian", lambda v: v.c * -v.y / v.p),
        ("", lambda v: np.full(3, np.nan)),
        ("regularised_bias", lambda v: v.c * (v.p - v.y) + 2 * v.c * v.lam * v.b),
    ],
    "p/s": [
        ("diagonal_only", lambda v: np.diag(v.p * (1 - v.p))),
        ("diagonal_only", lambda v: np.diag(v.p)),
        ("sign", lambda v: np.outer(v.p, v.p) - np.diag(v.p)),
    ],
    "z/W": [
        ("kronecker_order", lambda v: np.kron(v.x, np.eye(3))),
        ("reordered", lambda v: np.kron(np.eye(3), v.x[::-1])),
    ],
    "r/x": [("unknown", lambda v: np.full(4, 1e-30))],
}


@cache
def softmax(scale: float) -> Checker:
    return Checker(softmax_regression(scale=scale))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("name", "formula"), [(name, formula) for name, forms in RIGHT.items() for formula in forms]
)
def test_right_claims_are_right_in_every_form_and_at_every_scale(
    name: str, formula: Formula, scale: float
) -> None:
    result = softmax(scale).check(ByFunctions({name: formula}))[name]
    assert result.verdict == "right", result
    assert result.relative_error is not None
    assert result.relative_error < 1e-10
    assert result.points == 5
    assert result.what == ""


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("name", "kind", "formula"),
    [(name, kind, formula) for name, forms in WRONG.items() for kind, formula in forms],
)
def test_wrong_claims_are_wrong_and_explained_at_every_scale(
    name: str, kind: str, formula: Formula, scale: float
) -> None:
    result = softmax(scale).check(ByFunctions({name: formula}))[name]
    assert result.verdict == "wrong", result
    assert result.relative_error is not None
    assert result.relative_error > TOLERANCE
    assert result.worst is not None
    assert [mistake.kind for mistake in result.mistakes] == ([kind] if kind else [])
    assert result.what
    if kind in {"", "unknown"}:
        assert "claimed" in result.what
        assert not result.certain


def test_a_wrong_gradient_of_size_1e_minus_7_is_wrong() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.result("J", 1e-7 * ge.sum(ge.sin(x)))
    assert one(g, "J/x", lambda v: 1e-7 * np.cos(v.x)).verdict == "right"
    assert one(g, "J/x", lambda v: -1e-7 * np.cos(v.x)).verdict == "wrong"
    assert one(g, "J/x", lambda v: 0 * v.x).verdict == "wrong"


def test_a_small_contribution_that_is_missing_is_missed() -> None:
    g = ge.Graph()
    x, W = g.input("x", (3,)), g.parameter("W", (2, 3))
    g.result("J", ge.sum(ge.square(W @ x)) + 1e-5 * ge.sum(W**2))

    def data(v: Any) -> Any:
        return 2 * np.outer(v.W @ v.x, v.x)

    assert one(g, "J/W", lambda v: data(v) + 2e-5 * v.W).verdict == "right"
    assert one(g, "J/W", data).verdict == "wrong"


# --- cancellation -------------------------------------------------------------------------------


def test_a_right_claim_whose_contributions_nearly_cancel_is_right() -> None:
    g = ge.Graph()
    x, a, tiny = g.input("x", (3,)), g.input("a", (3,)), g.constant("tiny", 1e-9)
    b = g.node("b", a * (1 + tiny))
    g.result("J", ge.sum(b * x - a * x))
    assert one(g, "J/x", lambda v: v.a * v.tiny).verdict == "right"
    assert one(g, "J/x", lambda v: v.b - v.a).verdict == "right"
    assert one(g, "J/x", lambda v: 2 * v.a * v.tiny).verdict == "wrong"
    assert one(g, "J/x", lambda v: 0 * v.x).verdict == "wrong"


def test_a_right_claim_through_a_residual_that_nearly_vanishes_is_right() -> None:
    """The rounding of the residual is not in the contributions: it has to be measured."""
    g = ge.Graph()
    x, W = g.input("x", (4,)), g.parameter("W", (3, 4))
    y = g.node("y", (W * 3) @ (x / 3) * (1 + 1e-10))
    e = g.node("e", y - W @ x)
    g.result("J", 0.5 * ge.sum(e**2))

    def other_order(v: Any) -> Any:
        return (v.y - (v.W[:, ::-1] * v.x[::-1]).sum(1)) @ np.eye(3)

    gap = 1e-16 / 1e-10
    assert TOLERANCE > 1e-10
    for seed in range(3):
        assert one(g, "J/e", other_order, seed=seed).verdict == "right"
        assert one(g, "J/e", lambda v: -other_order(v), seed=seed).verdict == "wrong"
    assert gap > TOLERANCE  # without the measurement a right claim would be beyond the tolerance


def test_rounding_as_large_as_the_derivative_decides_nothing() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.result("J", ge.sum(ge.tanh(x * x + 40.0)))

    def stable(v: Any) -> Any:
        return 8 * v.x * np.exp(-2 * (v.x**2 + 40))

    result = one(g, "J/x", stable)
    assert result.verdict == "undecided"
    assert "rounding" in result.what
    assert one(g, "J/x", lambda v: v.x).verdict == "wrong"


def test_the_slope_that_is_lost_in_part_is_still_good_enough() -> None:
    """σ' = σ (1 − σ) has lost ten digits: numeric derivatives see it, and nobody is to blame."""
    g = ge.Graph()
    x = g.input("x", (3,))
    z = g.node("z", x * x * 0.1 + 22.0)
    g.node("h", ge.sigmoid(-z))
    q = g.node("q", ge.sigmoid(z))
    g.node("toward_0", ge.sum(g["h"]))
    g.result("J", ge.sum(q))

    def stable(v: Any) -> Any:
        return np.exp(-v.z) / (1 + np.exp(-v.z)) ** 2

    report = check(
        g,
        ByFunctions(
            {
                "J/z": stable,  # the reference has lost digits
                "toward_0/z": lambda v: -v.q * (1 - v.q),  # the claim has
                "toward_0/x": lambda v: -0.2 * v.x * v.q * (1 - v.q),
                "J/x": lambda v: 0.2 * v.x * v.h,
                "toward_0/q": lambda v: stable(v) * 1.001,
            }
        ),
    )
    found = verdicts(report)
    assert found.pop("toward_0/q") == "wrong"  # no influence at all
    assert set(found.values()) == {"right"}, str(report)
    assert report["toward_0/z"].relative_error < 1.0  # type: ignore[operator]
    for name in ("J/z", "toward_0/z"):
        assert (
            one(g, name, lambda v, s=1 if name == "J/z" else -1: 1.01 * s * stable(v)).verdict
            == "wrong"
        )


def test_lost_digits_of_the_reference_are_no_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    derivative = Along.derivative

    def exact_only(self: Along, direction: Any, **more: Any) -> Any:
        assert more.get("method") != "differences"
        return derivative(self, direction, **more)

    monkeypatch.setattr(Along, "derivative", exact_only)
    g = ge.Graph()
    z = g.input("z", (3,))
    g.result("J", ge.sum(ge.sigmoid(z * z * 0.1 + 22.0)))
    result = one(g, "J/z", lambda v: 0.2 * v.z * np.exp(-0.1 * v.z**2 - 22))
    assert (result.verdict, result.reference) == ("right", "complex step")


def test_sabotage_without_measured_rounding_the_right_claim_is_condemned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "ROUNDING_FACTOR", 0.0)
    g = ge.Graph()
    x = g.input("x", (3,))
    g.result("J", ge.sum(ge.sigmoid(x * x + 20.0)))

    def stable(v: Any) -> Any:
        t = np.exp(-(v.x**2) - 20)
        return 2 * v.x * t / (1 + t) ** 2

    assert one(g, "J/x", stable).verdict == "wrong"
    monkeypatch.undo()
    assert one(g, "J/x", stable).verdict == "right"


def test_sabotage_a_tolerance_of_its_own_accord_hides_mistakes() -> None:
    """The tests above rest on the tolerance: a lax one lets a factor of 2 in a penalty through."""
    g = softmax_regression()

    def factor(v: Any) -> Any:
        return np.outer(v.p - v.y, v.x) + 2.02 * v.lam * v.W

    assert one(g, "J/W", factor).verdict == "wrong"
    assert one(g, "J/W", factor, tolerance=0.5).verdict == "right"


# --- shapes and layouts -------------------------------------------------------------------------


def test_a_wrong_shape_is_wrong_with_a_mistake_that_says_so() -> None:
    result = one(least_squares(), "J/W", lambda v: np.outer(v.x, v.e)[:, :2])
    assert result.verdict == "wrong"
    assert result.relative_error is None
    assert [(mistake.kind, mistake.where) for mistake in result.mistakes] == [("shape", "W")]
    assert result.what == "the shape is (4, 2), expected (3, 4) (or (12,), (1, 12))"


def test_right_numbers_in_a_wrong_shape_are_told_as_such() -> None:
    result = one(least_squares(), "J/W", lambda v: -np.outer(v.x, v.e))
    assert (result.verdict, result.relative_error) == ("wrong", None)
    assert [(mistake.kind, mistake.where) for mistake in result.mistakes] == [("transposed", "W")]


def test_denominator_layout() -> None:
    g = softmax_regression()
    right = {
        "z/x": lambda v: v.W.T,
        "z/W": lambda v: np.kron(np.eye(3), v.x).T,
        "J/W": lambda v: np.outer(v.p - v.y, v.x) + 2 * v.lam * v.W,
        "J/b": lambda v: (v.p - v.y)[:, None],
        "p/s": softmax_jacobian,
    }
    assert set(verdicts(check(g, ByFunctions(right, "denominator"))).values()) == {"right"}
    numerator = check(g, ByFunctions(right))
    assert verdicts(numerator) == {
        "z/x": "wrong",
        "z/W": "wrong",
        "J/W": "right",
        "J/b": "wrong",
        "p/s": "right",
    }


def test_the_tensor_of_either_layout() -> None:
    g = least_squares()

    def tensor(v: Any) -> Any:
        return -np.einsum("ij,k->ijk", np.eye(3), v.x)

    assert one(g, "e/W", tensor).verdict == "right"
    swapped = ByFunctions({"e/W": lambda v: tensor(v).transpose(1, 2, 0)}, "denominator")
    assert check(g, swapped).verdict == "right"
    assert check(g, ByFunctions({"e/W": tensor}, "denominator")).verdict == "wrong"


# --- errors -------------------------------------------------------------------------------------


class Failing(ByFunctions):
    """One claim has an error in place of a value, one is left out, one is not numbers."""

    def evaluate(self, points: Sequence[Point]) -> list[Found]:
        found = super().evaluate(points)
        for values in found:
            values["J/x"] = FormulaError("file:3:4", expected="a known name", got="'q'")
            del values["J/y"]
            values["e/x"] = "text"  # type: ignore[assignment]
        return found


def test_a_claim_without_a_value_is_an_error_and_the_others_count() -> None:
    nothing: Formula = lambda v: None  # noqa: E731
    derivation = Failing(
        {"J/x": nothing, "J/e": lambda v: v.e, "J/y": nothing, "e/x": nothing, "q/x": nothing}
    )
    report = check(least_squares(), derivation)
    assert verdicts(report) == {
        "J/x": "error",
        "J/e": "right",
        "J/y": "error",
        "e/x": "error",
        "q/x": "error",
    }
    assert report["J/x"].what == "file:3:4: expected a known name, got 'q'"
    assert report["q/x"].what == "the graph has no node 'q'"
    assert report.verdict == "error"
    assert report.first == "q/x"


# --- kinks and values that are not finite -------------------------------------------------------


def test_a_kink_that_cannot_be_avoided_is_undecided_for_the_claims_across_it_alone() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    a = g.node("a", x - x)
    h = g.node("h", ge.relu(a))
    g.result("J", ge.sum(h) + ge.sum(x))
    report = check(
        g,
        ByFunctions(
            {
                "J/x": lambda v: np.ones(3),
                "J/a": lambda v: np.zeros(3),
                "J/h": lambda v: np.ones(3),
                "a/x": lambda v: np.zeros((3, 3)),
            }
        ),
    )
    assert verdicts(report) == {
        "J/x": "undecided",
        "J/a": "undecided",
        "J/h": "right",
        "a/x": "right",
    }
    assert report["J/x"].what == "h = relu(a) is at a kink or a tie"
    assert report["J/x"].points == 0
    assert report["J/x"].relative_error is None


def test_a_value_that_is_not_finite_is_undecided() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    a = g.node("a", -ge.square(x))
    g.result("J", ge.sum(ge.log(a)))
    report = check(g, ByFunctions({"J/x": lambda v: 2 / v.x, "a/x": lambda v: np.diag(-2 * v.x)}))
    assert verdicts(report) == {"J/x": "undecided", "a/x": "right"}
    assert "log(a)" in report["J/x"].what
    assert "not finite" in report["J/x"].what


def test_a_derivative_that_is_not_finite_is_undecided() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    a = g.node("a", x - x)
    g.result("J", ge.sum(ge.sqrt(a)))
    result = one(g, "J/a", lambda v: np.full(3, np.inf))
    assert result.verdict == "undecided"


@pytest.mark.parametrize(("bad", "verdict"), [(1, "right"), (2, "right"), (3, "undecided")])
def test_half_of_the_points_must_decide(
    monkeypatch: pytest.MonkeyPatch, bad: int, verdict: str
) -> None:
    left = iter(["at a kink"] * bad)
    monkeypatch.setattr(trust.Place, "_trouble", lambda self, along: next(left, ""))
    result = one(least_squares(), "J/e", lambda v: v.e)
    assert (result.verdict, result.points) == (verdict, 5 - bad)
    assert result.what == ("" if verdict == "right" else "at a kink")


def test_one_point_where_it_is_wrong_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(["at a kink"] * 4)
    monkeypatch.setattr(trust.Place, "_trouble", lambda self, along: next(left, ""))
    assert one(least_squares(), "J/e", lambda v: -v.e).verdict == "wrong"


def test_too_large_a_jacobian_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CheckError("∂e/∂W", expected="at most 2 GiB", got="3 GiB")

    monkeypatch.setattr(trust, "matrix", refuse)
    result = one(least_squares(), "J/e", lambda v: v.e)
    assert result.verdict == "undecided"
    assert result.what == "∂e/∂W: expected at most 2 GiB, got 3 GiB"


# --- a reference that is wrong ------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0, 1 + 1e-5])
@pytest.mark.parametrize("op", ["softmax", "log", "matmul"])
def test_a_wrong_rule_makes_claims_undecided_never_wrong(
    monkeypatch: pytest.MonkeyPatch, op: str, factor: float
) -> None:
    cls = OPS[op]
    names = [f"d_{name}" for name in cls.arguments]
    for name in names:
        rule = getattr(cls, name)
        monkeypatch.setattr(
            cls, name, lambda self, out, *args, rule=rule: factor * rule(self, out, *args)
        )
    claims = {
        "J/W": lambda v: v.c * (np.outer(v.p - v.y, v.x) + 2 * v.lam * v.W),
        "J/s": lambda v: v.c * (v.p - v.y),
        "J/x": lambda v: np.zeros(7),
        "p/s": softmax_jacobian,
        "l/p": lambda v: 3 * -v.y / v.p,  # wrong
        "z/W": lambda v: np.kron(np.eye(3), v.x),
    }
    found = verdicts(check(softmax_regression(), ByFunctions(claims), points=2))
    assert found.pop("J/x") == "wrong"  # a shape needs no reference
    through = {
        "softmax": {"J/W", "J/s", "p/s"},
        "log": {"J/W", "J/s", "l/p"},
        "matmul": {"J/W", "J/s", "l/p", "z/W"},
    }[op]
    if (op, factor) == ("matmul", -1.0):
        through.remove("J/W")  # two products on the way: two signs
    for name, verdict in found.items():
        right = "wrong" if name == "l/p" else "right"
        assert verdict == ("undecided" if name in through else right), name


def test_doubt_gives_both_numbers_and_names_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = OPS["tanh"].d_x
    monkeypatch.setattr(OPS["tanh"], "d_x", lambda self, out, x: 1.5 * rule(self, out, x))
    g = ge.Graph()
    x = g.input("x", (2,))
    h = g.node("h", ge.tanh(ge.exp(x)))
    g.result("J", ge.sum(h**2))
    result = one(g, "J/x", lambda v: 2 * v.h * (1 - v.h**2) * np.exp(v.x))
    assert result.verdict == "undecided"
    assert "the graph's Jacobian gives" in result.what
    assert "complex step" in result.what
    assert "the rule of 'tanh' at h <- h.1 is suspect" in result.what


def test_doubt_at_one_point_is_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = OPS["tanh"].d_x

    def sometimes(self: Any, out: Any, x: Any) -> Any:
        return (2.0 if x[0] > 0 else 1.0) * rule(self, out, x)

    monkeypatch.setattr(OPS["tanh"], "d_x", sometimes)
    g = ge.Graph()
    g.result("J", ge.sum(ge.tanh(g.input("x", (3,)))))
    for sign in (1, -1):
        result = one(g, "J/x", lambda v, s=sign: s * (1 - np.tanh(v.x) ** 2), points=8)
        assert result.verdict == "undecided"
        assert "the graph's Jacobian gives" in result.what


def test_sabotage_a_reference_that_nobody_checks_condemns_right_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = OPS["softmax"].d_x
    monkeypatch.setattr(OPS["softmax"], "d_x", lambda self, out, x: 2.0 * rule(self, out, x))
    monkeypatch.setattr(trust, "DIRECTIONS", 0)
    assert one(softmax_regression(), "p/s", softmax_jacobian).verdict == "wrong"


class Magnitude(Elementwise):
    """``|x|`` by somebody who does not say that it does not continue to complex numbers."""

    name = "magnitude"
    factor: float = 1.0

    def forward(self, x: Any) -> Any:
        return np.abs(x)

    def d_x(self, out: Any, x: Any) -> Any:
        return slope(self.factor * np.sign(x))

    def margin(self, x: Any) -> float:
        return float(np.min(np.abs(x)))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Any:
        yield cls(), (np.array([1.0, -2.0]),)


def test_custom_ops_are_checked_by_differences() -> None:
    def graph(factor: float) -> ge.Graph:
        g = ge.Graph()
        x = g.input("x", (4,))
        g.result("J", ge.sum(ge.square(g.add(Magnitude(factor), (x,)))))
        return g

    def right(v: Any) -> Any:
        return 2 * v.x

    result = one(graph(1.0), "J/x", right)
    assert (result.verdict, result.reference) == ("right", "differences")
    assert one(graph(1.0), "J/x", lambda v: -2 * v.x).verdict == "wrong"
    for factor in (0.0, -1.0):  # complex step would give 0
        assert one(graph(factor), "J/x", right).verdict == "undecided"
        assert one(graph(factor), "J/x", lambda v, f=factor: f * 2 * v.x).verdict == "undecided"


def test_differences_take_over_where_an_op_of_the_library_drops_imaginary_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OPS["square"], "forward", lambda self, x: np.abs(x) ** 2)
    g = ge.Graph()
    g.result("J", ge.sum(ge.square(g.input("x", (3,)))))
    result = one(g, "J/x", lambda v: 2 * v.x)
    assert (result.verdict, result.reference) == ("right", "differences")


def test_differences_bear_the_near_kinks_of_a_wide_layer() -> None:
    g = ge.Graph()
    X, W = g.input("X", (500, 6)), g.parameter("W", (6, 100))
    h = g.node("h", g.add(Magnitude(), (X @ W,)))
    g.result("J", ge.sum(h * h) + ge.sum(h))
    result = one(g, "J/W", lambda v: v.X.T @ (2 * v.X @ v.W + np.sign(v.X @ v.W)), points=2)
    assert (result.verdict, result.reference) == ("right", "differences")


def test_differences_that_do_not_settle_decide_nothing() -> None:
    class Noise(Elementwise):
        """Never twice the same."""

        name = "noise"

        def forward(self, x: Any) -> Any:
            return x + np.random.default_rng().normal(size=np.shape(x))

        def d_x(self, out: Any, x: Any) -> Any:
            return slope(np.ones_like(x))

        @classmethod
        def examples(cls, rng: np.random.Generator) -> Any:
            yield cls(), (np.array([1.0, -2.0]),)

    g = ge.Graph()
    g.result("J", ge.sum(g.add(Noise(), (g.input("x", (4,)),))))
    result = one(g, "J/x", lambda v: np.ones(4))
    assert result.verdict == "undecided"
    assert "do not settle" in result.what


# --- economy ------------------------------------------------------------------------------------


def test_right_claims_are_evaluated_once_at_each_point_and_wrong_ones_at_few_more() -> None:
    g = least_squares()
    right = ByFunctions({"J/e": lambda v: v.e})
    check(g, right)
    assert right.evaluated == 5
    wrong = ByFunctions({f"J/{name}": lambda v: np.zeros(1) for name in "e"})
    check(g, wrong)
    assert wrong.evaluated == 5  # a shape
    sign = ByFunctions({"J/e": lambda v: -v.e, "J/y": lambda v: -v.e, "J/x": lambda v: v.e @ v.W})
    assert set(verdicts(check(g, sign)).values()) == {"wrong"}
    assert sign.evaluated == 5 + trust.ROUNDED_RUNS  # at the one point that is wrong


def test_the_worst_entry_does_not_depend_on_the_other_claims() -> None:
    g = softmax_regression()
    alone = one(g, "J/b", lambda v: v.y - v.p)
    claims = {"J/x": lambda v: np.ones(4), "J/W": lambda v: v.W, "J/b": lambda v: v.y - v.p}
    assert check(g, ByFunctions(claims))["J/b"] == alone


def test_a_claim_that_fails_where_rounding_is_measured_is_still_judged() -> None:
    class Once(ByFunctions):
        """No value the second time."""

        def evaluate(self, points: Sequence[Point]) -> list[Found]:
            again = self.evaluated > 0
            found = super().evaluate(points)
            return [{"J/e": CheckError("again")} for _ in found] if again else found

    derivation = Once({"J/e": lambda v: 2 * v.e})
    assert check(least_squares(), derivation)["J/e"].verdict == "wrong"
    assert derivation.evaluated == 5 + trust.ROUNDED_RUNS
