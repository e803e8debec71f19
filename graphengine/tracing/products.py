"""Products and linear algebra of traced arrays."""

from __future__ import annotations

import math
import string
from typing import Any, NamedTuple

import numpy as np

from graphengine.tracing.elementwise import elementwise, type_of
from graphengine.tracing.tape import (
    Shape,
    Traced,
    Untraceable,
    as_array,
    handles,
    tape_of,
    traced,
)
from graphengine.tracing.views import reshaped

# --- products -----------------------------------------------------------------------------


@handles((np.matmul, "__call__"))
def _matmul(a: Any, b: Any) -> Any:
    left, right = np.shape(a), np.shape(b)
    if left[-1] != right[-2:][0]:
        raise ValueError(f"shapes {left} and {right}")
    if len(left) == len(right) == 2 and 1 in {left[0], right[1]} and left[1] > 1:
        row = a.reshape(-1) if left[0] == 1 else a  # a row and a column as vectors
        column = b.reshape(-1) if right[1] == 1 else b
        return reshaped(_matmul(row, column), (left[0], right[1]))
    if len(left) == len(right) == 1:
        return _dot_product(a, b)
    stack = np.broadcast_shapes(left[:-2], right[:-2])
    shape = stack + left[-2:-1] + (right[-1:] if len(right) > 1 else ())
    inner = math.prod(left[-2:]) * (right[-1] if len(right) > 1 else 1)
    if len(left) > 1 < len(right) and math.prod(stack) > 1 and inner <= TINY:
        return _recorded(np.einsum, ("...ij,...jk->...ik", a, b), shape)
    return _recorded(np.matmul, (a, b), shape)


TINY = 256
"""Stacks of products of so few numbers are summed by einsum."""


def _dot_product(a: Any, b: Any) -> Any:
    """Of two vectors: numbers that multiply them stand in front."""
    if not traced(a, b):
        return float(np.dot(a, b))  # what was in front alone is not known
    for vector, other, first in ((a, b, True), (b, a, False)):
        number, rest = _multiple(vector)
        if rest is not None:
            inner = _dot_product(rest, other) if first else _dot_product(other, rest)
            return elementwise(np.multiply, number, inner)
    if isinstance(a, Traced) and isinstance(b, Traced) and b.number < a.number:
        a, b = b, a  # one order, so that it is computed once
    return _recorded(np.matmul, (a, b), ())


def _multiple(x: Any) -> tuple[Any, Any]:
    """A number and what it multiplies to make ``x``; (1, None) where there is none."""
    if not isinstance(x, Traced):
        return 1, None
    call, args = x.step.call, x.step.args
    if call is np.negative:
        return -1, args[0]
    if call is np.multiply:
        for number, rest in (args, args[::-1]):
            if np.shape(number) == () and np.shape(rest) == x.shape:
                return number, rest
    return 1, None


@handles(np.dot)
def _dot(a: Any, b: Any) -> Any:
    """Of vectors and matrices, as the matrix product has it."""
    if not {np.ndim(a), np.ndim(b)} <= {1, 2}:
        raise Untraceable("dot of numbers or of stacks")
    return _matmul(as_array(a), as_array(b))


@handles(np.outer)
def _outer(a: Any, b: Any) -> Any:
    column, row = as_array(a).reshape(-1), as_array(b).reshape(-1)
    return elementwise(np.multiply, column[:, None], row[None, :])


@handles(np.kron)
def _kron(a: Any, b: Any) -> Traced:
    left, right = np.shape(a), np.shape(b)
    ndim = max(len(left), len(right))
    pairs = zip((1,) * (ndim - len(left)) + left, (1,) * (ndim - len(right)) + right, strict=True)
    return _recorded(np.kron, (a, b), tuple(m * n for m, n in pairs))


def _recorded(call: Any, args: tuple[Any, ...], shape: Shape) -> Traced:
    """A product whose type is that of its factors."""
    args = tuple(arg if isinstance(arg, str) else as_array(arg) for arg in args)
    dtype = np.result_type(*(type_of(arg) for arg in args if not isinstance(arg, str)))
    return tape_of(args).record(call, args, {}, shape, dtype)


# --- sums of products ---------------------------------------------------------------------


@handles(np.einsum)
def _einsum(*given: Any, optimize: bool = False) -> Any:
    """Also in the form with lists of labels, which is turned into letters."""
    del optimize  # the flat code decides: on for more than two arrays
    text, *arrays = given if isinstance(given[0], str) else _with_letters(*given)
    text = text.replace(" ", "")
    heads, arrow, tail = text.partition("->")
    if not arrow:
        raise Untraceable("einsum without the labels of its result")
    arrays = [as_array(array) for array in arrays]
    if len(arrays) == 1:
        return _of_one(arrays[0], heads, tail)
    sizes: dict[str, int] = {}
    stack: Shape = ()
    for labels, array in zip(heads.split(","), arrays, strict=True):
        first, dots, last = labels.partition("...")
        own = array.shape
        middle = own[len(first) : len(own) - len(last)] if dots else ()
        stack = np.broadcast_shapes(stack, middle)
        rest = own[: len(first)] + own[len(first) + len(middle) :]
        for label, size in zip(first + last, rest, strict=True):
            (sizes[label],) = np.broadcast_shapes((sizes.get(label, 1),), (size,))
    first, dots, last = tail.partition("...")
    shape = (*(sizes[k] for k in first), *(stack if dots else ()), *(sizes[k] for k in last))
    params = {"optimize": True} if len(arrays) > 2 else {}
    dtype = np.result_type(*map(type_of, arrays))
    return tape_of(arrays).record(np.einsum, (text, *arrays), params, shape, dtype)


def _of_one(x: Any, labels: str, out: str) -> Any:
    """Diagonals, sums and another order of the axes: views, where nothing is summed."""
    if len(labels) != x.ndim or "." in labels:
        raise Untraceable(f"einsum of {labels!r}")
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if x.shape[first] != x.shape[second]:
                raise ValueError(f"one size for {label!r}")
            x = np.diagonal(x, axis1=first, axis2=second)
            labels = "".join(k for n, k in enumerate(labels) if n not in {first, second}) + label
    gone = tuple(n for n, k in enumerate(labels) if k not in out)
    if gone:
        x = np.sum(x, axis=gone)
    labels = "".join(k for k in labels if k in out)
    return x.transpose([labels.index(k) for k in out])


def _with_letters(*given: Any) -> list[Any]:
    """Arrays and lists of labels by turns, the result's at the end, as text and arrays."""
    *pairs, out = given
    heads = ["".join(string.ascii_letters[k] for k in labels) for labels in pairs[1::2]]
    tail = "".join(string.ascii_letters[k] for k in out)
    return [",".join(heads) + "->" + tail, *pairs[::2]]


# --- linear algebra -----------------------------------------------------------------------


@handles(np.linalg.inv)
def _inv(x: Traced) -> Traced:
    return x.tape.record(np.linalg.inv, (x,), {}, _square(x))


@handles(np.linalg.cholesky)
def _cholesky(x: Traced) -> Traced:
    return x.tape.record(np.linalg.cholesky, (x,), {}, _square(x))


@handles(np.linalg.det)
def _det(x: Traced) -> Traced:
    return x.tape.record(np.linalg.det, (x,), {}, _square(x)[:-2])


class SignAndLog(NamedTuple):
    """What ``slogdet`` returns."""

    sign: Traced
    logabsdet: Traced


@handles(np.linalg.slogdet)
def _slogdet(x: Traced) -> SignAndLog:
    """Sign and logarithm: two calls, of which the one that is not needed is left out."""
    stack = _square(x)[:-2]
    pair = x.tape.record(np.linalg.slogdet, (x,), {}, (2, *stack))
    return SignAndLog(*(x.tape.record("item", (pair,), {"place": k}, stack) for k in (0, 1)))


@handles(np.linalg.solve)
def _solve(a: Any, b: Any) -> Traced:
    args = as_array(a), as_array(b)
    left, right = _square(args[0]), args[1].shape
    if len(right) == 1:
        return tape_of(args).record(np.linalg.solve, args, {}, left[:-2] + right)
    shape = np.broadcast_shapes(left[:-2], right[:-2]) + right[-2:]
    return tape_of(args).record(np.linalg.solve, args, {}, shape)


def _square(x: Any) -> Shape:
    """The shape of a stack of square matrices."""
    shape: Shape = x.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"square matrices, not {shape}")
    return shape
