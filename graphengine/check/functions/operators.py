"""Linear operators: whether the product with the transpose belongs to the product."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphengine.check.functions.calls import same
from graphengine.check.functions.matrices import matrix_of
from graphengine.check.functions.subjects import Subject
from graphengine.check.report import Mistake
from graphengine.errors import TooLargeError
from graphengine.ops.base import Array

__all__ = ["adjoint_mistake"]

_BASIS = 64
_RANDOM = 3


def adjoint_mistake(subject: Subject, operator: Any) -> Mistake | None:
    """What is wrong with an operator beside its numbers: it is not linear, or ``rmatvec`` is not
    the product with its transpose.  None where nothing is, or there is no ``rmatvec``.

    Up to 64 rows are compared each; above, random combinations of all of them, to which every
    entry contributes.
    """
    form, rng = subject.form, np.random.default_rng(0)
    u, v = rng.normal(size=(2, form.cols))
    if not same(np.array(operator @ (2 * u + v)), 2 * np.array(operator @ u) + operator @ v):
        return Mistake("unknown", form.claim, "matvec is not linear in its argument")
    try:
        matrix = matrix_of(operator, form).csr()
    except TooLargeError:
        return None
    rows = np.eye(form.rows) if form.rows <= _BASIS else rng.normal(size=(_RANDOM, form.rows))
    try:
        given = [np.array(operator.rmatvec(row), dtype=float).ravel() for row in rows]
    except NotImplementedError:
        return None
    except Exception as error:  # noqa: BLE001 (rmatvec is the user's)
        return Mistake("unknown", form.claim, f"rmatvec raises {type(error).__name__}: {error}")
    expected = [matrix.T @ row for row in rows]
    sizes = [abs(matrix).T @ np.abs(row) for row in rows]
    if all(
        _close(got, right, size) for got, right, size in zip(given, expected, sizes, strict=True)
    ):
        return None
    says = "rmatvec is not the product with the transpose of what matvec multiplies by"
    if all(
        _close(-got, right, size) for got, right, size in zip(given, expected, sizes, strict=True)
    ):
        return Mistake("sign", form.claim, f"{says}: it has the other sign")
    if form.rows == form.cols:
        plain = [matrix @ row for row in rows]
        sizes = [abs(matrix) @ np.abs(row) for row in rows]
        if all(_close(got, own, size) for got, own, size in zip(given, plain, sizes, strict=True)):
            return Mistake("jacobian_transposed", form.claim, f"{says}, but with the matrix itself")
    return Mistake("unknown", form.claim, says)


def _close(given: Array, expected: Array, size: Array) -> bool:
    room = 1e-9 * (size + np.max(size, initial=0.0) * 1e-3)
    return given.shape == expected.shape and bool(np.all(np.abs(given - expected) <= room))
