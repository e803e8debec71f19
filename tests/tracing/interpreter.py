"""Runs a tape on numbers, call by call, and holds what it says of each result to the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from graphengine.tracing import Step, Tape, Traced, placed

Array = NDArray[Any]


def evaluate(tape: Tape, inputs: Mapping[str, Array]) -> list[Any]:
    """The result of every call of the tape, by its number."""
    values: list[Any] = []
    for step, result in zip(tape.steps, tape.results, strict=True):
        args = [values[arg.number] if isinstance(arg, Traced) else arg for arg in step.args]
        with np.errstate(all="ignore"):
            found = inputs[step.args[0]] if step.call is None else _called(step, args)
        if step.call is not np.linalg.slogdet:  # a pair of arrays
            said = result.shape, result.dtype
            assert (np.shape(found), np.asarray(found).dtype) == said, f"{step} said {said}"
        if step.call is not None and not step.view:
            assert not any(np.may_share_memory(found, arg) for arg in args if _is_array(arg)), step
        values.append(found)
    return values


def _is_array(arg: Any) -> bool:
    return isinstance(arg, np.ndarray)


def _called(step: Step, args: list[Any]) -> Any:
    """One call.  The operations that are no functions are spelled out here."""
    params = step.params
    if step.call == "getitem":
        tables = [args[1 + one[1]] if isinstance(one, tuple) else one for one in params["key"]]
        return args[0][tuple(tables)]
    if step.call == "astype":
        return np.asarray(args[0]).astype(params["dtype"])
    if step.call == "item":
        return args[0][params["place"]]
    if step.call == "placed":
        return placed(args[0], params["shape"], params["key"])
    if step.call in {"concatenate", "stack"}:
        return getattr(np, step.call)(args, **params)
    return step.call(*args, **params)


def numbers(found: Any, inputs: Mapping[str, Array]) -> Any:
    """The numbers of what tracing has given: a traced array, or what was known at once."""
    return evaluate(found.tape, inputs)[found.number] if isinstance(found, Traced) else found


def inputs_of(tape: Tape, *arrays: Array) -> tuple[list[Traced], dict[str, Array]]:
    """Traced arrays in place of these, and their numbers by name."""
    named = {f"x{k}": array for k, array in enumerate(arrays)}
    return [tape.input(name, array.shape) for name, array in named.items()], named


def same(function: Callable[..., Any], *arrays: Any, rtol: float = 1e-14) -> Any:
    """Trace ``function`` of these arrays, and compare with what NumPy makes of them.

    The result is what was traced: for those who ask how it was written down.
    """
    given = [np.asarray(array, float) for array in arrays]
    traced, inputs = inputs_of(Tape(), *given)
    with np.errstate(all="ignore"):
        found = function(*traced)
        want = np.asarray(function(*given))
    got = np.asarray(numbers(found, inputs))
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    assert_allclose(got, want, rtol=rtol, atol=0)
    assert not isinstance(found, Traced) or (found.shape, found.dtype) == (want.shape, want.dtype)
    return found


def calls(found: Traced) -> list[str]:
    """The names of the calls that lead to ``found``, each once, in their order."""
    waiting, seen = [found], {found.number}
    while waiting:
        for arg in waiting.pop().step.args:
            if isinstance(arg, Traced) and arg.number not in seen:
                seen.add(arg.number)
                waiting.append(arg)
    steps = [found.tape.steps[number] for number in sorted(seen)]
    return [step.name for step in steps if step.call is not None]
