"""check_op: right rules pass, each kind of wrong op is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from graphengine.check import check_op
from graphengine.check import ops as module
from graphengine.errors import CheckError, OpError
from graphengine.jacobian import Jacobian, term
from graphengine.ops import OPS
from graphengine.ops.base import Elementwise, Op, broadcast, slope


@pytest.mark.parametrize("name", sorted(OPS))
def test_the_rules_of_the_library_are_right(name: str) -> None:
    report = check_op(OPS[name])
    assert report.verdict == "right", str(report)


class Bilinear(Op):
    """``xᵀ A y`` with rules that a test breaks."""

    name = "bilinear"

    def forward(self, A: Any, x: Any, y: Any) -> Any:
        return x @ A @ y

    def shape(self, A: Any, x: Any, y: Any) -> Any:
        return ()

    def d_A(self, out: Any, A: Any, x: Any, y: Any) -> Any:
        return term("<- ij", x="i", y="j")

    def d_x(self, out: Any, A: Any, x: Any, y: Any) -> Any:
        return term("<- i", A="ij", y="j")

    def d_y(self, out: Any, A: Any, x: Any, y: Any) -> Any:
        return term("<- j", A="ij", x="i")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Any]:
        yield cls(), (rng.normal(size=(2, 3)), rng.normal(size=2), rng.normal(size=3))
        yield cls(), (rng.normal(size=(1, 1)), rng.normal(size=1), rng.normal(size=1))


def test_a_right_custom_op_has_one_right_claim_for_each_argument() -> None:
    report = check_op(Bilinear)
    assert [(claim.claim, claim.verdict) for claim in report.claims] == [
        ("bilinear/A", "right"),
        ("bilinear/x", "right"),
        ("bilinear/y", "right"),
    ]
    assert (report.spec, report.reference, len(report.points)) == ("op bilinear", "complex step", 2)
    assert str(report) == str(check_op(Bilinear))


@pytest.mark.parametrize("factor", [-1.0, 2.0, 0.0, 1 + 1e-6])
@pytest.mark.parametrize("argument", ["A", "x", "y"])
def test_a_wrong_rule_is_wrong_at_that_argument(
    monkeypatch: pytest.MonkeyPatch, argument: str, factor: float
) -> None:
    rule = getattr(Bilinear, f"d_{argument}")
    monkeypatch.setattr(
        Bilinear, f"d_{argument}", lambda self, out, *args: factor * rule(self, out, *args)
    )
    report = check_op(Bilinear)
    wrong = [claim.claim for claim in report.claims if claim.verdict == "wrong"]
    assert wrong == [f"bilinear/{argument}"]
    assert report.first == f"bilinear/{argument}"
    result = report[wrong[0]]
    assert result.worst is not None
    assert result.worst.claimed == pytest.approx(factor * result.worst.reference)
    assert result.relative_error == pytest.approx(abs(factor - 1) / max(abs(factor), 1), rel=1e-3)
    assert "the rule gives" in result.what
    assert "shapes (" in result.what


def test_a_rule_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bilinear, "d_x", lambda self, out, A, x, y: np.zeros((5, 5)))
    result = check_op(Bilinear)["bilinear/x"]
    assert result.verdict == "error"
    assert "expected shape (1, 2)" in result.what


def test_forward_and_shape_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bilinear, "shape", lambda self, A, x, y: (1,))
    result = check_op(Bilinear)["bilinear"]
    assert result.verdict == "wrong"
    assert result.mistakes[0].kind == "shape"
    assert "forward gives shape (), shape says (1,)" in result.what


def test_forward_must_not_change_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Op, A: Any, x: Any, y: Any) -> Any:
        x *= 2
        return x @ A @ y

    monkeypatch.setattr(Bilinear, "forward", forward)
    result = check_op(Bilinear)["bilinear"]
    assert result.verdict == "wrong"
    assert "changes its argument x in place" in result.what


def test_shapes_that_an_example_does_not_have_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bilinear, "shape", lambda self, A, x, y: broadcast((2,), (3,)))
    assert check_op(Bilinear)["bilinear"].verdict == "error"


class Folded(Elementwise):
    """``|x|``, whose author does not know that complex step does not see it."""

    name = "folded"
    slope_left: float = -1.0

    def forward(self, x: Any) -> Any:
        return np.abs(x)

    def d_x(self, out: Any, x: Any) -> Any:
        return slope(np.where(x > 0, 1.0, self.slope_left))

    def margin(self, x: Any) -> float:
        return float(np.min(np.abs(x), initial=np.inf))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Any]:
        yield cls(), (np.array([1.0, -2.0, 0.5]),)
        yield cls(), (np.array([1.0, 0.0]),)


def test_differences_take_over_where_complex_step_does_not_hold() -> None:
    report = check_op(Folded)
    assert report["folded/x"].verdict == "right"
    assert report["folded/x"].reference == "differences"
    assert report["folded/x"].points == 1  # the other example is at the kink


def test_an_op_with_parameters_is_checked_at_its_classs_examples_or_where_asked() -> None:
    result = check_op(Folded(slope_left=1.0))["folded/x"]
    assert result.verdict == "wrong"
    assert result.worst is not None
    assert (result.worst.claimed, result.worst.index) == (1.0, (1, 1))
    assert check_op(Folded(slope_left=1.0), [3.0, 4.0]).verdict == "right"
    assert check_op(Folded, [3.0, 4.0]).verdict == "right"
    at_kink = check_op(Folded(), [0.0])["folded/x"]
    assert at_kink.verdict == "undecided"
    assert "kink" in at_kink.what


def test_complex_forward_that_raises_is_left_to_differences() -> None:
    class Rounded(Elementwise):
        """A function that refuses complex numbers."""

        name = "rounded"

        def forward(self, x: Any) -> Any:
            if np.iscomplexobj(x):
                raise TypeError("complex")
            return x**3

        def d_x(self, out: Any, x: Any) -> Any:
            return slope(3 * x**2)

        @classmethod
        def examples(cls, rng: np.random.Generator) -> Iterator[Any]:
            yield cls(), (np.array([1.0, -2.0, 0.5]),)

    assert check_op(Rounded)["rounded/x"].reference == "differences"
    assert check_op(Rounded).verdict == "right"


def test_products_with_vectors_must_agree_with_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    pull = Jacobian.pull
    monkeypatch.setattr(Jacobian, "pull", lambda self, *args: 1.5 * pull(self, *args))
    result = check_op(Bilinear)["bilinear/A"]
    assert result.verdict == "wrong"
    assert "pull differs from the product with the explicit matrix" in result.what


def test_an_op_without_derivatives_and_an_op_without_examples() -> None:
    class Chosen(Op):
        """A class index as a number: no argument has a derivative."""

        name = "chosen"
        fixed = frozenset({"label"})

        def forward(self, label: Any) -> Any:
            return 1.0 * label

        def shape(self, label: Any) -> Any:
            return label

        @classmethod
        def examples(cls, rng: np.random.Generator) -> Iterator[Any]:
            yield cls(), (np.array([1.0, 2.0]),)

    report = check_op(Chosen)
    assert [(claim.claim, claim.verdict) for claim in report.claims] == [("chosen", "right")]

    class Never(Chosen):
        """No examples."""

        name = "never"

        @classmethod
        def examples(cls, rng: np.random.Generator) -> Iterator[Any]:
            yield from ()

    with pytest.raises(CheckError, match="call check_op"):
        check_op(Never)
    with pytest.raises(OpError, match="expected 3 arguments"):
        check_op(Bilinear, [1.0])


def test_examples_that_a_parameter_refuses_are_passed_over() -> None:
    report = check_op(OPS["sum"](axis=1))
    assert report.verdict == "right"
    assert 0 < len(report.points) < len(list(OPS["sum"].examples(np.random.default_rng(0))))


def test_sabotage_without_the_comparison_wrong_rules_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Bilinear.d_A
    monkeypatch.setattr(Bilinear, "d_A", lambda self, out, *args: -rule(self, out, *args))
    assert check_op(Bilinear).verdict == "wrong"
    compare = module.compare
    monkeypatch.setattr(
        module,
        "compare",
        lambda claimed, reference, *rest, **more: compare(claimed, claimed, *rest, **more),
    )
    assert check_op(Bilinear).verdict == "right"
