"""What is differentiated: a function with its claimed derivative, at one point after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphengine.check.functions.calls import Called, Raised, Values
from graphengine.check.functions.columns import Columns, merged
from graphengine.check.functions.entries import judged
from graphengine.check.functions.grouping import Indices
from graphengine.check.functions.hessians import (
    asymmetry,
    by_values,
    gradient_belongs,
    stepped_gradient,
)
from graphengine.check.functions.jacobians import Measured, measured
from graphengine.check.functions.matrices import Form, Matrix
from graphengine.check.functions.steps import claimed_at
from graphengine.check.reference import Method
from graphengine.errors import CheckError
from graphengine.ops.base import Array

__all__ = ["Claimed", "Options", "Subject", "hessian_subject", "subject"]


_FINER = 1e-2


@dataclass(frozen=True)
class Options:
    """How a check is made: see :func:`~graphengine.check.functions.check_jacobian`."""

    method: Method = "differences"
    points: int = 3
    seed: int | np.random.Generator = 0
    tolerance: float = 1e-7
    directions: int | None = None

    def __post_init__(self) -> None:
        wrong = ""
        if self.method not in {"differences", "complex step"}:
            wrong = f"method={self.method!r}"
        elif self.points < 1 or not 0 < self.tolerance < 1:
            wrong = f"points={self.points}, tolerance={self.tolerance}"
        elif self.directions is not None and self.directions < 1:
            wrong = f"directions={self.directions}"
        if wrong:
            raise CheckError(
                "check",
                expected="method 'differences' or 'complex step', at least 1 point, a tolerance "
                "between 0 and 1, and at least 1 direction if any",
                got=wrong,
            )


class Claimed:
    """The derivative as the user's function returns it."""

    def __init__(self, called: Called, *, paired: bool) -> None:
        self.called, self.paired = called, paired
        self.name = f"the derivative of {called.name}" if paired else called.name

    def __call__(self, x: Array) -> Any:
        """The claim at x.  Raises :class:`Raised` where the function raises."""
        value = self.called(x)
        return value[1] if self.paired else value


@dataclass(frozen=True)
class Subject:
    """A function and the claim about its derivative.

    ``values`` is what is differenced; ``second`` is set for a Hessian that is measured from
    values alone, ``function`` for one whose gradient is given, ``stepped`` for one whose gradient
    comes by complex step and is differenced.
    """

    spec: str
    form: Form
    values: Values
    claimed: Claimed
    second: bool = False
    function: Values | None = None
    symmetric: bool = False
    stepped: bool = False

    def columns(self, x: Array, rng: np.random.Generator, method: Method) -> Columns:
        """The columns of the numeric Jacobian at x."""
        return Columns(self.values, x, rng, "differences" if self.stepped else method)

    def measure(
        self,
        x: Array,
        claimed: Matrix,
        rng: np.random.Generator,
        options: Options,
        beside: Indices | None,
    ) -> tuple[Measured | None, str]:
        """The numeric derivative at x, and why it cannot be relied on."""
        if self.second:
            return self._by_values(x, claimed, rng, options.tolerance), ""
        if self.function is not None and (
            doubt := gradient_belongs(self.function, self.values, x, rng)
        ):
            return None, doubt
        columns = self.columns(x, rng, options.method)
        if columns.method == "complex step" and (doubt := columns.trouble()):
            return None, doubt
        made = measured(columns, claimed, options.tolerance, beside)
        doubt = ""
        if self.symmetric:
            doubt = asymmetry(made.found, self.form.cols, self.values.name)
        return made, doubt

    def _by_values(
        self, x: Array, claimed: Matrix, rng: np.random.Generator, tolerance: float
    ) -> Measured:
        """The Hessian from values; with smaller steps too before anything is called wrong."""
        made = by_values(self.values, x, rng, self.form)
        stated, _ = claimed_at(claimed, made.found.rows, made.found.cols)
        verdict = judged(stated, made.found, tolerance=tolerance, digits=claimed.digits)
        if not verdict.wrong.any():
            return made
        finer = by_values(self.values, x, rng, self.form, _FINER)
        return replace(made, found=merged(made.found, finer.found))

    @property
    def called(self) -> tuple[Called, ...]:
        """All functions of the user's."""
        functions = [self.values.called, self.claimed.called]
        if self.function is not None:
            functions.append(self.function.called)
        return tuple({id(one.fun): one for one in functions}.values())


def subject(
    fun: Callable[..., Any],
    derivative: Any,
    x: Array,
    args: tuple[Any, ...],
    names: tuple[str, str, str],
) -> Subject:
    """A function with its gradient or Jacobian; ``names`` are those of the claim, the function
    and the derivative.

    Raises :class:`CheckError` for what is no function, or has values of the wrong shape, and
    :class:`~graphengine.check.functions.calls.Raised` where the function raises at x.
    """
    claim, name, other = names
    called = Called(_function(fun, name), args, name)
    paired = derivative is True
    values = Values(called, x, paired=paired)
    gradient = other == "grad"
    if gradient and values.size != 1:
        raise CheckError(
            f"{name}(x)",
            expected="one number, to have a gradient",
            got=f"shape {values.shape}",
            hint="check_jacobian is for functions of several values",
        )
    claimed = Claimed(
        called if paired else Called(_function(derivative, other), args, other), paired=paired
    )
    form = Form(claim, values.size, x.size, gradient)
    return Subject(_named(fun), form, values, claimed)


def hessian_subject(
    fun: Callable[..., Any],
    hess: Any,
    x: Array,
    args: tuple[Any, ...],
    grad: Any,
    method: Method,
) -> Subject:
    """A function, or a gradient, with its Hessian; errors as in :func:`subject`."""
    claimed = Claimed(Called(_function(hess, "hess"), args, "hess"), paired=False)
    form = Form("hessian", x.size, x.size)
    called = Called(_function(fun, "fun"), args, "fun")
    values = Values(called, x, paired=grad is True)
    if grad is not None:
        if grad is True:
            given: Callable[..., Any] = lambda x, *args: fun(x, *args)[1]  # noqa: E731 (one expression)
        else:
            given = _function(grad, "grad")
        gradient = Values(Called(given, args, "grad"), x)
        _fits(gradient, x, "grad")
        return Subject(_named(fun), form, gradient, claimed, function=values, symmetric=True)
    if values.shape == (x.size,) and (x.size > 1):
        return Subject(_named(fun), form, values, claimed, symmetric=True)
    if values.shape == (1,) and x.size == 1:
        raise CheckError(
            "fun(x)",
            expected="a plain number (a function) where x has one entry",
            got="shape (1,), which may be a function or a gradient",
            hint="return a float, or give the gradient as grad=...",
        )
    if values.size != 1:
        raise CheckError(
            "fun(x)",
            expected=f"one number, or a gradient of shape ({x.size},)",
            got=f"shape {values.shape}",
        )
    if method == "complex step":
        gradient_of = Called(lambda x: stepped_gradient(values, x), (), "fun by complex step")
        try:
            stepped = Values(gradient_of, x)
        except Raised as error:
            raise CheckError(
                "check_hessian", expected="a fun that takes complex arguments", got=str(error)
            ) from error
        return Subject(_named(fun), form, stepped, claimed, symmetric=True, stepped=True)
    return Subject(_named(fun), form, values, claimed, second=True)


def _fits(gradient: Values, x: Array, name: str) -> None:
    if gradient.size != x.size:
        raise CheckError(
            f"{name}(x)", expected=f"a gradient of shape ({x.size},)", got=f"shape {gradient.shape}"
        )


def _function(fun: Any, name: str) -> Callable[..., Any]:
    if not callable(fun):
        hint = "" if name == "fun" else "True stands for a fun that returns (value, derivative)"
        raise CheckError(
            name,
            expected="a function of x",
            got=repr(fun) if isinstance(fun, str) else f"a {type(fun).__name__}",
            hint=hint,
        )
    made: Callable[..., Any] = fun
    return made


def _named(fun: Callable[..., Any]) -> str:
    name = getattr(fun, "__name__", type(fun).__name__)
    return "function" if name == "<lambda>" else str(name)


def finite(values: Values, x: Array) -> bool:
    """Whether the function is defined and finite at x."""
    try:
        return bool(np.isfinite(values(x)).all())
    except Raised:
        return False
