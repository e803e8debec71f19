"""Two calls that one call does as well: the sum of a product, a product that is added."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphengine.tracing import Step, Tape, Traced, guarded_product, meets_infinity

__all__ = [
    "AddMatMul",
    "AddOuter",
    "merge_products",
    "merge_steps",
    "merge_sums",
    "needed",
    "one_thread",
    "unguarded",
]

LARGE = 256
"""Matrices of fewer entries are added as they are: a call of BLAS costs more than a temporary."""


class AddOuter:
    """``c A + u vᵀ``: BLAS adds an outer product to a matrix in place."""


class AddMatMul:
    """``c A + B C``: BLAS adds a matrix product to a matrix in place."""


def one_thread() -> bool:
    """Whether BLAS runs on one thread, as far as the environment says so.

    With several, SciPy's BLAS brings its own beside NumPy's, and those of one spin while the other
    computes: a product of 40 µs takes 8 ms.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        if name in os.environ:
            return os.environ[name] == "1"
    return os.cpu_count() == 1


def needed(results: Sequence[Any]) -> list[int]:
    """The numbers of the calls that lead to ``results``, in their order."""
    shown = [x for x in results if isinstance(x, Traced)]
    if not shown:
        return []
    steps = shown[0].tape.steps
    marks = bytearray(len(steps))
    for x in shown:
        marks[x.number] = True
    for k in range(len(steps) - 1, -1, -1):  # the arguments of a call come before it
        if marks[k]:
            for arg in steps[k].args:
                if type(arg) is Traced:
                    marks[arg.number] = True
    return [k for k, mark in enumerate(marks) if mark]


def _steps(tape: Tape, results: Sequence[Any]) -> Iterator[tuple[Traced, Counter[int]]]:
    """The calls that are needed, and how often each number is used."""
    wanted = needed(results)
    uses = Counter(
        arg.number for k in wanted for arg in tape.steps[k].args if isinstance(arg, Traced)
    )
    uses.update(x.number for x in results if isinstance(x, Traced))
    for k in wanted:
        yield tape.results[k], uses


def _replaced(tape: Tape, x: Traced, call: Any, args: tuple[Any, ...]) -> None:
    tape.steps[x.number] = Step(call, args, {}, view=False, section=x.step.section)


def unguarded(tape: Tape, results: Sequence[Any]) -> list[Traced]:
    """Let guarded products be plain ones; the results that they and matrix products lead to are to
    be checked: where zero met infinity they are not numbers.
    """
    tainted: set[int] = set()
    for k in needed(results):
        step = tape.steps[k]
        guarded = step.call is guarded_product
        if guarded:
            _replaced(tape, tape.results[k], np.multiply, step.args)
        elif step.call in {np.matmul, np.einsum}:
            guarded = meets_infinity(*(arg for arg in step.args if not isinstance(arg, str)))
        if guarded or (
            tainted and any(isinstance(arg, Traced) and arg.number in tainted for arg in step.args)
        ):
            tainted.add(k)
    return [x for x in results if isinstance(x, Traced) and x.number in tainted]


def merge_sums(tape: Tape, results: Sequence[Any]) -> None:
    """The sum of all entries of ``a * b``, or of ``a**2``, becomes ``np.vdot``."""
    if all(tape.steps[k].call is not np.sum for k in needed(results)):
        return
    for x, uses in _steps(tape, results):
        step = x.step
        if step.call is not np.sum or step.params.get("axis") is not None or x.shape:
            continue
        inner = step.args[0]
        if not isinstance(inner, Traced) or uses[inner.number] != 1:
            continue
        call, args = inner.step.call, inner.step.args
        if call is np.square:
            _replaced(tape, x, np.vdot, (args[0], args[0]))
        elif call is np.multiply and np.shape(args[0]) == np.shape(args[1]):
            _replaced(tape, x, np.vdot, args)


def merge_products(tape: Tape, results: Sequence[Any]) -> None:
    """``A + u vᵀ`` and ``A + B C`` become one call of SciPy's BLAS, where the product is used
    nowhere else, and BLAS runs on :func:`one_thread`.
    """
    if not one_thread():
        return
    for x, uses in _steps(tape, results):
        if x.step.call is not np.add or x.ndim != 2 or x.size < LARGE:
            continue
        first, second = x.step.args
        for matrix, product in ((first, second), (second, first)):
            merged = _product(product, x) if _fits(matrix, product, x, uses) else None
            if merged is not None:
                number, base = _multiple(matrix, uses)
                _replaced(tape, x, merged[0], (base, *merged[1:], number))
                break


def _multiple(matrix: Any, uses: Counter[int]) -> tuple[float, Any]:
    """A number and the matrix that it multiplies, where that product is used nowhere else."""
    if isinstance(matrix, Traced) and matrix.step.call is np.multiply and uses[matrix.number] == 1:
        number, base = matrix.step.args
        if isinstance(number, float) and isinstance(base, Traced):
            return number, base
    return 1.0, matrix


def merge_steps(tape: Tape, results: Sequence[Any]) -> None:
    """A step of zeros and ones that only multiplies arrays becomes a comparison, which is faster.

    (Where its argument is not a number the step is none either; the comparison is false.)
    """
    found: dict[int, Traced] = {}
    for x, _ in _steps(tape, results):
        if x.step.call is np.heaviside and x.shape and x.step.args[1] == 0.0:
            found[x.number] = x
    for x, _ in _steps(tape, results):
        for arg in x.step.args:
            fits = x.step.call is np.multiply and all(np.shape(one) for one in x.step.args)
            if isinstance(arg, Traced) and not fits:
                found.pop(arg.number, None)
    for result in results:
        if isinstance(result, Traced):
            found.pop(result.number, None)
    for x in found.values():
        _replaced(tape, x, np.greater, (x.step.args[0], 0.0))
        x.dtype = np.dtype(bool)


def _fits(matrix: Any, product: Any, x: Traced, uses: Counter[int]) -> bool:
    return (
        isinstance(product, Traced)
        and isinstance(matrix, (Traced, np.ndarray))
        and uses[product.number] == 1
        and np.shape(matrix) == x.shape == product.shape
    )


def _product(product: Traced, x: Traced) -> tuple[Any, ...] | None:
    step = product.step
    if step.call is np.matmul and all(np.ndim(arg) == 2 for arg in step.args):
        return AddMatMul, *step.args
    if step.call is not np.multiply or not all(isinstance(arg, Traced) for arg in step.args):
        return None
    shapes = [arg.shape for arg in step.args]
    column, row = (x.shape[0], 1), (x.shape[1],)
    for one, other in ((0, 1), (1, 0)):
        if shapes[one] == column and shapes[other] in {row, (1, *row)}:
            return AddOuter, step.args[one], step.args[other]
    return None
