"""The check of an op: its Jacobian rules against its own forward function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphengine.check.claims import TOLERANCE, Comparison, compare
from graphengine.check.contributions import absolute, off
from graphengine.check.points import clearance
from graphengine.check.reference import complex_step, differences, numeric_jacobian
from graphengine.check.report import ClaimResult, Mistake, Report
from graphengine.check.trust import ROUNDED_RUNS, ROUNDING_FACTOR, some_direction
from graphengine.errors import CheckError, GraphEngineError
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Array, Op, as_value

__all__ = ["check_op"]


def check_op(
    op: type[Op] | Op,
    *args: Any,
    seed: int | np.random.Generator = 0,
    tolerance: float = TOLERANCE,
) -> Report:
    """Whether an op's Jacobian rules are right: the report has one claim for each argument.

    A class is checked at its own examples; an op (an instance) at ``args``, or at those of its
    class's examples that it can take.  Each rule is compared with numeric derivatives of
    ``forward`` (complex step where it holds, else differences), ``pull`` and ``push`` with the
    explicit matrix, and ``forward`` with ``shape``.  Examples at a kink, or with values that are
    not finite, decide nothing about derivatives.

    Raises :class:`CheckError` when there is nothing to check at.

    >>> from graphengine.ops import OPS
    >>> print(check_op(OPS["multiply"]).summary)
    op multiply: 2 claims, right
    """
    rng = np.random.default_rng(seed)
    cases = list(_cases(op, args, rng))
    if not cases:
        raise CheckError(
            f"check of op {op.name!r}",
            expected="arguments to check it at",
            got="no example that it can take",
            hint="call check_op(op, *args)",
        )
    results = [*_forward_problems(op.name, cases)]
    for name in dict.fromkeys(op.arguments):
        if name not in op.fixed:
            found = [
                _Case(case, place, rng, tolerance)
                for case in cases
                for place in range(len(case[1]))
                if case[0].argument(place) == name
            ]
            results.append(_result(f"{op.name}/{name}", found, tolerance))
    if not results:
        results.append(ClaimResult(op.name, "right", points=len(cases)))
    return Report(
        f"op {op.name}",
        tuple(results),
        first=next((result.claim for result in results if result.verdict != "right"), ""),
        points=tuple({} for _ in cases),
        seed=seed if isinstance(seed, int) else None,
        tolerance=tolerance,
    )


def _cases(
    op: type[Op] | Op, args: Sequence[Any], rng: np.random.Generator
) -> Iterator[tuple[Op, tuple[Array, ...]]]:
    if isinstance(op, type) and not args:
        yield from op.examples(rng)
        return
    one = op() if isinstance(op, type) else op
    if args:
        one.check_arity(len(args))
        yield one, tuple(as_value(a, f"{one.name}: argument {k + 1}") for k, a in enumerate(args))
        return
    for _, example in type(one).examples(rng):
        try:
            one.check_arity(len(example))
            one.shape_of(*(arg.shape for arg in example))
        except GraphEngineError:
            continue
        yield one, example


def _forward_problems(
    name: str, cases: Sequence[tuple[Op, tuple[Array, ...]]]
) -> Iterator[ClaimResult]:
    """Arguments that ``forward`` changes, and shapes that it gives but ``shape`` does not say."""
    for op, args in cases:
        before = [arg.copy() for arg in args]
        try:
            value, shape = op.value(*args), op.shape_of(*(arg.shape for arg in args))
        except GraphEngineError as error:
            yield ClaimResult(name, "error", says=f"{error} (at {_shapes(args)})")
            return
        for place, (arg, copy) in enumerate(zip(args, before, strict=True)):
            if not np.array_equal(arg, copy, equal_nan=True):
                says = f"forward changes its argument {op.argument(place)} in place"
                yield ClaimResult(name, "wrong", says=says)
                return
        if value.shape != shape:
            says = f"forward gives shape {value.shape}, shape says {shape} (at {_shapes(args)})"
            yield ClaimResult(name, "wrong", mistakes=(Mistake("shape", name, says),))
            return


class _Case:
    """One rule at one example."""

    def __init__(
        self,
        case: tuple[Op, tuple[Array, ...]],
        place: int,
        rng: np.random.Generator,
        tolerance: float,
    ) -> None:
        self.op, self.args = case
        self.place, self.rng, self.tolerance = place, rng, tolerance
        self.error = self.method = ""
        self.comparison: Comparison | None = None
        self.inconsistent = ""
        self.shapes = _shapes(self.args)
        try:
            self._run()
        except GraphEngineError as error:
            self.error = str(error)

    def _run(self) -> None:
        out = self.op.value(*self.args)
        jacobian = self.op.jacobian(self.place, out, self.args)
        matrix = jacobian.toarray()
        margin, near = clearance(self.op, self.args)
        if margin >= near and np.isfinite(out).all() and np.isnan(matrix).any():
            self.inconsistent = "the rule gives NaN where the value is finite"
        if not (np.isfinite(out).all() and np.isfinite(matrix).all()):
            return
        self.inconsistent = _inconsistent(jacobian, matrix, self.rng)
        if margin < near:
            return
        numeric, bar, self.method = self._numeric()
        if not np.isfinite(bar).all():
            return
        self.comparison = compare(
            matrix,
            numeric,
            absolute(jacobian).toarray(),
            tolerance=self.tolerance,
            noise=bar + self._rounding(out, matrix),
        )

    def _numeric(self) -> tuple[Array, Array, str]:
        fun, at = self._function(), self.args[self.place]
        analytic = self.op.analytic and self._continues(fun, at)
        matrix, bar = numeric_jacobian(fun, at, analytic=analytic)
        return matrix, bar, "complex step" if analytic else "differences"

    def _function(self) -> Callable[[Any], Any]:
        before, after = self.args[: self.place], self.args[self.place + 1 :]
        return lambda x: self.op.value(*before, x, *after)

    def _continues(self, fun: Callable[[Any], Any], at: Array) -> bool:
        """Whether complex step agrees with differences along one direction."""
        direction = some_direction(at, self.rng)
        try:
            found = complex_step(fun, at, direction)
        except (TypeError, ValueError, np.linalg.LinAlgError):
            return False
        value, bar = differences(fun, at, direction)
        allowed = bar + 1e-6 * np.max(np.abs(value), initial=0.0)
        return bool(np.all(np.abs(found - value) <= allowed))

    def _rounding(self, out: Array, matrix: Array) -> Array:
        """What the rule makes of arguments and values that are off in the last places."""
        spread = np.zeros(matrix.shape)
        for _ in range(ROUNDED_RUNS):
            args = [
                arg if self.op.argument(k) in self.op.fixed else off(arg, self.rng)
                for k, arg in enumerate(self.args)
            ]
            moved = self.op.jacobian(self.place, off(out, self.rng), args).toarray()
            spread = np.maximum(spread, np.abs(moved - matrix))
        return ROUNDING_FACTOR * np.where(np.isfinite(spread), spread, 0.0)


def _inconsistent(jacobian: Jacobian, matrix: Array, rng: np.random.Generator) -> str:
    """Which product with a vector differs from the explicit matrix."""
    row = rng.uniform(0.5, 1.0, jacobian.out_shape)
    column = rng.uniform(0.5, 1.0, jacobian.in_shape)
    size = np.abs(matrix)
    for what, found, exact, scale in (
        ("pull", jacobian.pull(row).ravel(), row.ravel() @ matrix, row.ravel() @ size),
        ("push", jacobian.push(column).ravel(), matrix @ column.ravel(), size @ column.ravel()),
    ):
        if not np.all(np.abs(found - exact) <= 1e-12 * (scale + np.max(scale, initial=0.0))):
            return f"{what} differs from the product with the explicit matrix"
    return ""


def _result(claim: str, cases: Sequence[_Case], tolerance: float) -> ClaimResult:
    """One verdict from all examples of one argument."""
    methods = " and ".join(dict.fromkeys(case.method for case in cases if case.method))
    for case in cases:
        if case.error:
            says = f"{case.error} (at {case.shapes})"
            return ClaimResult(claim, "error", says=says, reference=methods)
    for case in cases:
        if case.inconsistent:
            says = f"{case.inconsistent} (at {case.shapes})"
            return ClaimResult(claim, "wrong", says=says, reference=methods)
    decided = [(case.comparison, case) for case in cases if case.comparison is not None]
    if not decided:
        says = "every example is at a kink or not finite"
        return ClaimResult(claim, "undecided", says=says, reference=methods)
    worst, case = max(decided, key=lambda pair: pair[0].error)
    says = ""
    if worst.error > tolerance and worst.worst is not None:
        row, col = worst.worst.index
        says = (
            f"entry [{row}, {col}]: the rule gives {worst.worst.claimed:.6g}, "
            f"{case.method} {worst.worst.reference:.6g} (at {case.shapes})"
        )
    return ClaimResult(
        claim,
        "wrong" if says else "right",
        relative_error=worst.error,
        points=len(decided),
        worst=worst.worst,
        says=says,
        reference=methods,
    )


def _shapes(args: Sequence[Array]) -> str:
    return "shapes " + ", ".join(str(arg.shape) for arg in args)
