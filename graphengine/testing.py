"""Checks as assertions, for pytest and other test runners: the message of a failure is the report.

Only ``right`` passes: what could not be decided is a failure too, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from graphengine.check import check, check_op
from graphengine.check.functions import check_gradient, check_hessian, check_jacobian
from graphengine.check.report import Report

if TYPE_CHECKING:
    from graphengine.derivation import Derivation
    from graphengine.graph import Graph
    from graphengine.ops.base import Op
    from graphengine.spec import Spec

__all__ = [
    "assert_derivation",
    "assert_gradient",
    "assert_hessian",
    "assert_jacobian",
    "assert_op",
]


def assert_gradient(fun: Callable[..., Any], grad: Any, x: Any, **options: Any) -> None:
    """Fail unless :func:`~graphengine.check.functions.check_gradient` finds the gradient right.

    >>> from scipy.optimize import rosen, rosen_der
    >>> assert_gradient(rosen, rosen_der, [-1.2, 1.0, 0.7])
    >>> try:
    ...     assert_gradient(rosen, lambda x: 2 * rosen_der(x), [-1.2, 1.0, 0.7], points=1)
    ... except AssertionError as error:
    ...     print(error)
    rosen: 1 claim, wrong; the first to look at: f/x
     claim  verdict  error  what
    ────────────────────────────────────────────────────────────
     f/x    wrong     0.50  everything is 2 times the right one
    1 point, seed 0, tolerance 1e-07, reference checked by differences
    x: wrong, error 5.0e-01
    """
    _passed(check_gradient(fun, grad, x, **options))


def assert_jacobian(fun: Callable[..., Any], jac: Any, x: Any, **options: Any) -> None:
    """Fail unless :func:`~graphengine.check.functions.check_jacobian` finds the Jacobian right."""
    _passed(check_jacobian(fun, jac, x, **options))


def assert_hessian(fun: Callable[..., Any], hess: Any, x: Any, **options: Any) -> None:
    """Fail unless :func:`~graphengine.check.functions.check_hessian` finds the Hessian right."""
    _passed(check_hessian(fun, hess, x, **options))


def assert_derivation(
    source: Graph | Spec | str | PathLike[str],
    derivation: Derivation | Mapping[str, str] | str | PathLike[str] | None = None,
    **options: Any,
) -> None:
    """Fail unless :func:`~graphengine.check.check` finds every claim of a derivation right.

    >>> import graphengine as ge
    >>> g = ge.Graph("square")
    >>> x = g.input("x", (3,))
    >>> J = g.result("J", ge.sum(x**2))
    >>> assert_derivation(g, {"J/x": "2 * x"})
    """
    _passed(check(source, derivation, **options))


def assert_op(op: type[Op] | Op, *args: Any, **options: Any) -> None:
    """Fail unless :func:`~graphengine.check.check_op` finds the Jacobian rules of an op right."""
    _passed(check_op(op, *args, **options))


def _passed(report: Report) -> None:
    __tracebackhide__ = True  # pytest shows the caller's line
    if report.verdict != "right":
        raise AssertionError(str(report))
