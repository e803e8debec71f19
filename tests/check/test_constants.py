"""What a factor is: known numbers, sizes, scalars of the graph, and numbers without a meaning."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphengine as ge
from graphengine.check.constants import Factor, named_factor
from graphengine.run import Run


def runs() -> list[Run]:
    """Two sizes of one graph, with a temperature."""
    found = []
    for n, d, t in ((5, 3, 0.7), (4, 7, 1.9)):
        g = ge.Graph()
        X, w = g.input("X", (n, d)), g.parameter("w", (d,))
        tau = g.input("tau")
        s = g.node("s", X @ w / tau)
        g.result("J", ge.sum(s**2))
        rng = np.random.default_rng(n)
        found.append(g.run({"X": rng.normal(size=(n, d)), "w": rng.normal(size=d), "tau": t}))
    return found


RUNS = runs()


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (2.0, "2"),
        (0.5, "1/2"),
        (math.pi / 180, "pi/180 (degrees for radians)"),
        (math.log(2), "log(2)"),
        (1 / math.log(10), "1/log(10)"),
        (1000.0, "1000"),
        (1.37, "1.37"),
        (0.12345678, "0.123457"),
    ],
)
@pytest.mark.parametrize("minus", [False, True])
def test_a_constant_is_called_by_its_name(scale: float, text: str, minus: bool) -> None:
    found = named_factor([-scale if minus else scale] * 2, RUNS)
    assert found is not None
    assert found.kind == "factor"
    if text[0] in "01" and "." in text:  # a number without a name keeps its sign
        assert found == Factor("factor", f"-{text}" if minus else text)
    else:
        assert found == Factor("factor", text, minus)


def test_minus_one_is_a_sign() -> None:
    assert named_factor([-1.0, -1.0], RUNS) == Factor("sign", "-1")


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([5.0, 4.0], "not_averaged", "the size 5 of axis 0 of X"),
        ([3.0, 7.0], "not_averaged", "the size 3 of axis 1 of X"),
        ([1 / 5, 1 / 4], "mean_for_sum", "1 over the size 5 of axis 0 of X"),
        ([1 / 15, 1 / 28], "mean_for_sum", "1 over the 15 entries of X"),
        ([0.7, 1.9], "factor", "tau"),
        ([1 / 0.7, 1 / 1.9], "factor", "1/tau"),
        ([0.49, 3.61], "factor", "tau²"),
        ([math.sqrt(0.7), math.sqrt(1.9)], "factor", "sqrt(tau)"),
    ],
)
def test_what_follows_a_size_or_a_scalar_is_named_after_it(
    values: list[float], kind: str, words: str
) -> None:
    found = named_factor(values, RUNS)
    assert found == Factor(kind, words)
    assert named_factor([-value for value in values], RUNS) == Factor(kind, words, minus=True)


@pytest.mark.parametrize(
    "values",
    [
        [5.0, 7.0],  # the batch at one point, the width at the other
        [1.37, 1.41],
        [2.0, 3.0],
        [0.0, 0.0],
        [math.nan, 1.0],
        [math.inf, math.inf],
        [0.7, 1.9 * (1 + 1e-5)],
    ],
)
def test_what_has_no_meaning_at_both_points_has_none(values: list[float]) -> None:
    assert named_factor(values, RUNS) is None


def test_one_point_gives_no_new_number_a_meaning() -> None:
    assert named_factor([1.37], RUNS[:1]) is None
    assert named_factor([2.0], RUNS[:1]) == Factor("factor", "2")


def test_a_factor_next_to_one_is_no_size() -> None:
    """There are nodes with one entry: 1 over their size is no explanation of 1.0000005."""
    assert named_factor([1 + 5e-7, 1 + 5e-7], RUNS) == Factor("factor", "1.0000005")
    assert named_factor([1 + 5e-7], RUNS[:1]) is None


def test_a_known_number_goes_before_a_size_that_happens_to_equal_it() -> None:
    g = ge.Graph()
    x = g.input("x", (2,))
    g.result("J", ge.sum(x))
    same = [g.run({"x": [1.0, 2.0]}), g.run({"x": [0.5, -1.0]})]
    assert named_factor([2.0, 2.0], same) == Factor("factor", "2")
