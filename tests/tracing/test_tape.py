"""The tape: each call once, sections, functions recorded whole; what cannot be traced."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from graphengine.tracing import INT, Step, Tape, Traced, Untraceable, as_array, known, recorded
from graphengine.tracing import traced as any_traced

from .interpreter import Array, calls, evaluate, inputs_of, same


def input_of(*shape: int) -> Traced:
    return Tape().input("x", shape)


# --- each call once -----------------------------------------------------------------------


def test_equal_calls_are_one() -> None:
    x = input_of(2, 3)
    assert np.exp(x) is np.exp(x)
    assert x + 1.0 is x + 1.0
    assert x[0, 1:] is x[0, 1:]
    assert x[[1, 0]] is x[np.array([1, 0])]
    assert x.sum(axis=-1) is x.sum(axis=1)
    assert x * np.arange(3.0) is x * np.arange(3.0)  # small arrays by their numbers
    assert np.einsum("ij,kj->ik", x, x) is np.einsum("i j, k j -> i k", x, x)
    assert len(x.tape.steps) == len(x.tape.results) == 8


def test_unequal_calls_are_two() -> None:
    x = input_of(2, 3)
    for one, other in (
        (x + 1.0, x + 1),
        (x + 1, x + True),
        (x + 0.0, x + -0.0),
        (x + 1, 1 + x),
        (x[0], x[1]),
        (x[0], x[0:1]),
        (x[0:1], x[0:2]),
        (x[:, 0], x[..., 0, None]),
        (x.sum(axis=0), x.sum(axis=1)),
        (x.sum(axis=0), x.sum(axis=0, keepdims=True)),
        (x.astype(int), x.astype(bool)),
        (x * np.arange(3.0), x * np.arange(3)),
        (x * np.zeros((1, 3)), x * np.arange(3.0)[None]),
    ):
        assert one is not other


def test_large_arrays_are_told_apart_by_identity() -> None:
    x = input_of(100)
    large = np.linspace(0.0, 1.0, 100)
    assert x * large is x * large
    assert x * large is not x * large.copy()


def test_arrays_that_are_gone_are_not_mistaken_for_new_ones() -> None:
    """New arrays may come to stand where old ones stood."""
    x = input_of(100)
    found = [x * np.linspace(0.0, k, 100) for k in range(2, 50)]
    assert len({id(one) for one in found}) == 48


def test_numbers_that_are_not_numbers_are_one() -> None:
    x = input_of(3)
    assert x + math.nan is x + math.nan
    assert x + math.inf is not x + -math.inf


def test_sections() -> None:
    tape = Tape()
    x = tape.input("x", (2,))
    before = x + 1
    tape.section("first")
    inside = x + 2
    tape.section("second")
    assert x + 2 is inside
    after = x + 3
    sections = [tape.sections[one.step.section] for one in (x, before, inside, after)]
    assert sections == [None, None, "first", "second"]


def test_steps_say_what_they_do() -> None:
    x = input_of(2, 3)
    assert repr(x) == "<traced 0: float64 (2, 3)>"
    assert repr(x.step) == x.step.name == "x"
    assert repr(x.sum(axis=0).step) == f"sum({x}, axis=(0,), keepdims=False)"
    assert x[0].step.name == "getitem"


def test_what_is_known_is_computed_at_once() -> None:
    x = input_of(2, 3)
    assert isinstance(np.shape(x), tuple)
    assert np.array_equal(np.zeros(x.shape) + x.size, np.full((2, 3), 6.0))
    assert len(x.tape.steps) == 1


# --- helpers ------------------------------------------------------------------------------


def test_traced_and_known() -> None:
    x = input_of(2)
    assert any_traced(x)
    assert any_traced(1.0, x)
    assert not any_traced(1.0, np.ones(2))
    assert not any_traced()
    assert known(np.ones(2), 1)
    assert not known(np.ones(2), x)


def test_as_array() -> None:
    x = input_of(2)
    assert as_array(x) is x
    assert as_array(x, float) is x
    assert as_array(x, np.intp).dtype == np.intp
    assert as_array([1, 2]).dtype == np.intp
    assert as_array([1, 2], float).dtype == float
    numbers = np.ones(2)
    assert as_array(numbers) is numbers


@recorded(lambda x, power, *_: (*x.shape, power))
def powers(x: Array, power: int, first: float = 1.0) -> Array:
    """The powers of each entry, filled in place."""
    found = np.ones((*x.shape, power))
    found[..., 0] = first
    for k in range(1, power):
        found[..., k] = found[..., k - 1] * x
    return found


@recorded(np.shape, INT)
def signs(x: Array) -> Array:
    return np.array([1 if one > 0 else -1 for one in x])


def test_recorded_functions_are_one_call() -> None:
    found = same(lambda x: 2 * powers(x + 1, 3).sum(), [1.0, 2.0])
    assert calls(found) == ["add", "powers", "sum", "multiply"]
    assert same(signs, [1.0, -2.0, 0.0]).dtype == INT
    same(lambda x: powers(np.array([1.0, 2.0]), 3, x), 5.0)


def test_recorded_functions_keep_their_names() -> None:
    assert powers.__name__ == "powers"
    assert powers.__module__ == __name__
    assert "filled in place" in (powers.__doc__ or "")
    assert powers.__wrapped__(np.array([2.0]), 2).tolist() == [[1.0, 2.0]]  # type: ignore[attr-defined]  # what it holds


def test_recorded_functions_of_numbers_are_called() -> None:
    assert np.array_equal(powers(np.array([2.0]), 3), [[1.0, 2.0, 4.0]])
    x = input_of(2)
    assert powers(x, 3) is powers(x, 3)
    assert powers(x, 3) is not powers(x, 4)


# --- what asks for numbers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        bool,
        float,
        int,
        complex,
        list,
        sorted,
        max,
        sum,
        operator.index,
        math.exp,
        np.asarray,
        np.array,
        np.ascontiguousarray,
        np.float64,
        lambda x: x if x > 0 else -x,
        lambda x: x and 1,
        lambda x: 1.0 in x,
        lambda x: range(3)[x],
        lambda x: np.ones(3)[x],
        lambda x: [one for one in x],  # noqa: C416 (it iterates)
        lambda x: np.array([x, 1.0]),
        lambda x: np.array([x, x]),
        lambda x: np.float64(1.0) if np.any(x) else None,
        np.linalg.eigvalsh,
        scipy.linalg.expm,
        lambda x: np.fromiter(x, float),
        lambda x: x.tolist(),
        lambda x: x.item(),
        lambda x: x.imag,
        lambda x: x.flat,
        lambda x: x.sort(),
        lambda x: x.fill(1.0),
        lambda x: x.nonzero(),
        lambda x: x.flags,
        lambda x: x.nbytes,
        lambda x: x.view(np.int64),
    ],
)
@pytest.mark.parametrize("shape", [(), (1,), (3, 3)], ids=str)
def test_untraceable(ask: Callable[[Traced], Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(Untraceable):
        ask(input_of(*shape))


def test_protocols_that_are_not_there() -> None:
    """Whoever asks whether there is such a method is answered as always."""
    x = input_of(2)
    assert not hasattr(x, "__array_interface__")
    assert not hasattr(x, "_repr_html_")
    assert copy.copy(x).number == x.number
    assert hash(x) == hash(x)
    assert x in {x}


def test_what_is_computed_in_between_stays_on_the_tape() -> None:
    (x,), inputs = inputs_of(Tape(), np.ones(3))
    with pytest.raises(Untraceable):
        float(np.exp(x).sum())
    assert [step.name for step in x.tape.steps] == ["x0", "exp", "sum"]
    evaluate(x.tape, inputs)


def test_a_step_of_an_unnamed_callable() -> None:
    """Whatever can be called and compared may be recorded."""

    class Doubled:
        def __call__(self, x: Array) -> Array:
            return 2 * x

    double = Doubled()
    (x,), inputs = inputs_of(Tape(), np.ones(3))
    found = x.tape.record(double, (x,), {}, (3,))
    assert x.tape.record(double, (x,), {}, (3,)) is found
    assert isinstance(found.step, Step)
    assert evaluate(x.tape, inputs)[found.number].tolist() == [2.0, 2.0, 2.0]
