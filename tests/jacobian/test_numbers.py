"""Pull-backs of numbers, against those by Jacobians: the same to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.jacobian import Jacobian, term
from graphengine.jacobian.numbers import pull_number
from graphengine.ops import OPS

HARD = (0.0, -0.0, 1.5, -2.25, 1e-300, 1e300, np.inf, -np.inf, np.nan)


def by_jacobian(rule: Any, row: float, named: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return Jacobian.of(rule, (), (), named).pull(row)


def same(found: Any, expected: Any) -> bool:
    """Equal to the last bit, and in the sign of zeros."""
    return np.array(found).tobytes() == np.array(expected).tobytes() or bool(
        np.isnan(found) and np.isnan(expected)
    )


@pytest.mark.parametrize("row", HARD)
@pytest.mark.parametrize("x", HARD)
def test_products_are_those_of_the_jacobian(row: float, x: float) -> None:
    named = {"x": np.array(x), "y": np.array(0.3), "out": np.array(-7.7)}
    for rule in (
        term("... <- ..."),
        -term("... <- ..."),
        0.0 * term(" <- ", x=""),
        1.7 * term("... <- ...", x="...", y="..."),
        2 * term("... <- ...", x="...") - term("... <- ...", (np.float64(x), "", "a"), out="..."),
        term("... <- ...", (x, "...", ""), y="...") + term("<-", x="...", out=""),
    ):
        found = pull_number(row, rule, ["x", "y"], [named["x"], named["y"]], named["out"])
        assert found is not None
        assert same(found, by_jacobian(rule, row, named))


@pytest.mark.parametrize(
    "rule",
    [
        np.ones((1, 1)),
        0,
        term("i <- i"),
        term("...i <- ..."),
        term("no arrow"),
        term("... <- ...", z="..."),
        term("... <- ...", x="i"),
        term("... <- ...", (np.ones(1), "...", "")),
        term("... <- ...", (np.float32(1.5), "...", "")),
        term("... <- ...", (1.5j, "...", "")),
        term("... <- ...", ([2.0], "...", "")),
        term("... <- ...") + term("... <- ...", (3, "...", "")),
    ],
)
def test_what_is_no_sum_of_numbers_is_left_to_the_jacobian(rule: Any) -> None:
    assert pull_number(2.0, rule, ["x"], [np.array(3.0)], np.array(4.0)) is None


ENTRY_BY_ENTRY = sorted(
    name for name, op in OPS.items() if issubclass(op, ge.Elementwise) and not op.variadic
)


@pytest.mark.parametrize("name", ENTRY_BY_ENTRY)
def test_pull_backs_of_every_op_on_numbers(name: str) -> None:
    """Its arguments are the first entries of an example's."""
    op, arrays = next(OPS[name].examples(np.random.default_rng(3)))
    args = [np.array(array.flat[0]) for array in arrays]
    out = op.value(*args)
    for place in range(len(args)):
        with np.errstate(all="ignore"):
            found = op.pull_number(place, out, args, -0.7)
        expected = op.jacobian(place, out, args).pull(-0.7)
        if op.jacobian(place, out, args).terms:
            assert found is not None
            assert same(found, expected)
        else:
            assert found in {None, 0.0}


def test_arguments_without_a_derivative_have_slope_zero() -> None:
    fixed = [op for op in OPS.values() if op.fixed and not op.variadic]
    assert fixed
    for kind in fixed:
        op, args = next(iter(kind.examples(np.random.default_rng(0))))
        place = next(k for k, name in enumerate(kind.arguments) if name in kind.fixed)
        assert op.pull_number(place, op.value(*args), args, 5.0) == 0.0


def test_rules_of_one_text_are_one_rule() -> None:
    assert term("... <- ...", x="...") is term("... <- ...", x="...")
    assert term("... <- ...", x="...") != term("... <- ...", y="...")
    assert ge.term is term
