"""Every op's forward function and Jacobian rules, traced and run from the tape.

An op that is added to the library is picked up with no edit here.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from numpy.testing import assert_allclose

from graphengine.ops import OPS
from graphengine.ops.base import Op
from graphengine.tracing import Tape, Traced, as_array

from .interpreter import Array, evaluate, inputs_of, numbers

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of examples without entries
each_op = pytest.mark.parametrize("name", OPS)


def examples(name: str) -> list[tuple[Op, list[Array]]]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    found = OPS[name].examples(rng)
    return [(op, [np.asarray(arg, float) for arg in args]) for op, args in found]


def close(got: object, want: Array) -> None:
    """Equal to 1e-12 of each entry, or of the largest where entries cancel."""
    assert np.shape(got) == want.shape
    finite = np.abs(want[np.isfinite(want)])
    assert_allclose(got, want, rtol=1e-12, atol=1e-15 * np.max(finite, initial=0.0))


@each_op
def test_forward(name: str) -> None:
    for op, args in examples(name):
        traced, inputs = inputs_of(Tape(), *args)
        found = as_array(op.forward(*traced), np.float64)
        close(numbers(found, inputs), op.value(*args))


@each_op
def test_pull_back_to_every_argument(name: str) -> None:
    rng = np.random.default_rng(1)
    for op, args in examples(name):
        out = op.value(*args)
        row = rng.normal(size=out.shape)
        for place in range(len(args)):
            if op.argument(place) in op.fixed:
                continue
            traced, inputs = inputs_of(Tape(), *args, row)
            value = as_array(op.forward(*traced[:-1]), np.float64)
            found = op.jacobian(place, value, traced[:-1]).pull(traced[-1])
            close(numbers(found, inputs), op.jacobian(place, out, args).pull(row))


@each_op
def test_some_arguments_are_known(name: str) -> None:
    """The first argument alone is traced, then all others alone."""
    for op, args in examples(name):
        out, row = op.value(*args), np.ones(op.value(*args).shape)
        for free in {0} & set(range(len(args))), set(range(1, len(args))):
            traced, inputs = inputs_of(Tape(), *args)
            pairs = enumerate(zip(traced, args, strict=True))
            mixed = [x if k in free else arg for k, (x, arg) in pairs]
            value = as_array(op.forward(*mixed), np.float64)
            close(numbers(value, inputs), out)
            for place in free:
                if op.argument(place) not in op.fixed:
                    found = op.jacobian(place, value, mixed).pull(row)
                    close(numbers(found, inputs), op.jacobian(place, out, args).pull(row))


@each_op
def test_tracing_again_adds_nothing(name: str) -> None:
    """Every call stands on the tape once."""
    for op, args in examples(name):
        tape = Tape()
        traced, inputs = inputs_of(tape, *args)
        first = op.forward(*traced)
        length = len(tape.steps)
        again = op.forward(*traced)
        assert len(tape.steps) == length
        if isinstance(first, Traced):
            assert again is first
        evaluate(tape, inputs)
