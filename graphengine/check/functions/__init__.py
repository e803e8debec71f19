"""The check of derivatives of plain functions, with SciPy's calling conventions.

No graph is known here: values alone are the reference, by extrapolated differences with an error
bar for each entry (see :mod:`~graphengine.check.functions.slopes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphengine.check.claims import TOLERANCE
from graphengine.check.functions.calls import point_of
from graphengine.check.functions.checking import checked
from graphengine.check.functions.subjects import Options, hessian_subject, subject
from graphengine.check.reference import Method
from graphengine.check.report import Report

__all__ = ["check_gradient", "check_hessian", "check_jacobian"]


def check_gradient(
    fun: Callable[..., Any],
    grad: Any,
    x: Any,
    *,
    args: tuple[Any, ...] = (),
    method: Method = "differences",
    points: int = 3,
    seed: int | np.random.Generator = 0,
    tolerance: float = TOLERANCE,
    directions: int | None = None,
) -> Report:
    """Whether ``grad(x, *args)`` is the gradient of ``fun(x, *args)``, and if not, why.

    ``x`` has n entries, ``fun`` returns a number, ``grad`` an array of shape (n,); ``grad=True``
    says that ``fun`` returns both, as in :func:`scipy.optimize.minimize` with ``jac=True``.
    For the other arguments and the verdicts see :func:`check_jacobian`.

    >>> from scipy.optimize import rosen, rosen_der
    >>> check_gradient(rosen, rosen_der, [-1.2, 1.0, 0.7]).verdict
    'right'
    >>> wrong = check_gradient(rosen, lambda x: -rosen_der(x), [-1.2, 1.0, 0.7])
    >>> wrong.verdict, wrong["f/x"].mistakes[0].kind
    ('wrong', 'sign')
    """
    at, options = point_of(x), Options(method, points, seed, tolerance, directions)
    return checked(
        lambda: subject(fun, grad, at, tuple(args), ("f/x", "fun", "grad")), "f/x", at, options
    )


def check_jacobian(
    fun: Callable[..., Any],
    jac: Any,
    x: Any,
    *,
    args: tuple[Any, ...] = (),
    method: Method = "differences",
    points: int = 3,
    seed: int | np.random.Generator = 0,
    tolerance: float = TOLERANCE,
    directions: int | None = None,
) -> Report:
    """Whether ``jac(x, *args)`` is the Jacobian of ``fun(x, *args)``, and if not, why.

    ``x`` has n entries, ``fun`` returns m; ``jac`` a matrix of shape (m, n): a NumPy array, a
    ``scipy.sparse`` array or matrix, or a ``LinearOperator``, as for
    :func:`scipy.optimize.least_squares` and :func:`scipy.optimize.root`.  ``jac=True`` says that
    ``fun`` returns (values, Jacobian).

    Every entry is checked, at ``x`` and at ``points − 1`` points near it, drawn with ``seed``
    (equal seeds give equal reports).  The columns of a sparse Jacobian are moved in groups, and
    what is missing from its pattern is found and named.  With ``directions=k`` only products with
    k random vectors are checked, for operators that are too large.  ``method="complex step"``
    asks for derivatives to full precision, for functions that take complex arguments.

    The claim ``J/x`` is ``wrong`` when an entry is off by more than ``tolerance`` of its size and
    by more than the error bars of the differences; ``undecided`` where these cannot tell, at a
    kink, where values are not finite, and for functions that are not the same at each call;
    ``error`` where a function raises.

    Raises :class:`~graphengine.errors.CheckError` for arguments that make no check possible.

    >>> import scipy.sparse as sp
    >>> fun = lambda x: np.array([x[0] * x[1], x[1] ** 2, x[2]])
    >>> jac = lambda x: sp.csr_array([[x[1], 0, 0], [0, 2 * x[1], 0], [0, 0, 1.0]])
    >>> print(check_jacobian(fun, jac, [1.0, 2.0, 3.0])["J/x"].what)
    entry [0, 1] is missing ([0, 1] is 1)
    """
    at, options = point_of(x), Options(method, points, seed, tolerance, directions)
    return checked(
        lambda: subject(fun, jac, at, tuple(args), ("J/x", "fun", "jac")), "J/x", at, options
    )


def check_hessian(
    fun: Callable[..., Any],
    hess: Any,
    x: Any,
    *,
    args: tuple[Any, ...] = (),
    grad: Any = None,
    method: Method = "differences",
    points: int = 3,
    seed: int | np.random.Generator = 0,
    tolerance: float = TOLERANCE,
    directions: int | None = None,
) -> Report:
    """Whether ``hess(x, *args)`` is the Hessian of ``fun(x, *args)``, and if not, why.

    ``hess`` returns a matrix of shape (n, n) in any of the forms of :func:`check_jacobian`.  It is
    compared with differences of ``grad(x, *args)`` where that is given, which is compared with
    ``fun`` first; ``grad=True`` says that ``fun`` returns (value, gradient).  Without ``grad``,
    ``fun`` may itself be the gradient; else it is differenced twice, which takes 20 n² values.
    For the other arguments and the verdicts see :func:`check_jacobian`.

    >>> from scipy.optimize import rosen, rosen_der, rosen_hess
    >>> check_hessian(rosen, rosen_hess, [-1.2, 1.0, 0.7]).verdict
    'right'
    >>> lower = lambda x: np.tril(rosen_hess(x))
    >>> print(check_hessian(rosen_der, lower, [-1.2, 1.0, 0.7])["hessian"].what)
    the lower triangle is there and the upper one is missing
    """
    at, options = point_of(x), Options(method, points, seed, tolerance, directions)
    return checked(
        lambda: hessian_subject(fun, hess, at, tuple(args), grad, method), "hessian", at, options
    )
