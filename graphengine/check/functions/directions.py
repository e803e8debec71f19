"""The check along a few random directions, for derivatives too large to be checked in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from graphengine.check.constants import named_factor
from graphengine.check.functions.calls import Raised
from graphengine.check.functions.columns import Columns, Found, reach
from graphengine.check.functions.entries import entry, judged
from graphengine.check.functions.matrices import form_of, shape_mistake
from graphengine.check.functions.subjects import Options, Subject, finite
from graphengine.check.report import ClaimResult, Mistake
from graphengine.errors import CheckError
from graphengine.ops.base import Array

__all__ = ["along_directions"]


def along_directions(
    subject: Subject, points: Sequence[Array], rng: np.random.Generator, options: Options
) -> ClaimResult:
    """The verdict from products with random vectors.

    Their entries have random signs and random sizes (half to one and a half times how far x is
    moved), so that no two entries, and no sign, can make up for each other.
    """
    if subject.second:
        raise CheckError(
            "check_hessian",
            expected="the gradient as grad=..., for a check along directions",
            got="values alone",
        )
    claim = subject.form.claim
    shown: list[tuple[float, ClaimResult]] = []
    pairs: list[tuple[Array, Array, Array]] = []
    decided = 0
    for x in points:
        try:
            value = subject.claimed(x)
            mistake = shape_mistake(value, subject.form)
            if mistake is not None:
                return ClaimResult(claim, "wrong", mistakes=(mistake,))
            if not finite(subject.values, x):
                says = f"{subject.values.name}(x) is not finite"
                shown.append((0.0, ClaimResult(claim, "undecided", says=says)))
                continue
            result, pair = _at(subject, x, value, rng, options)
        except Raised as error:
            return ClaimResult(claim, "error", says=str(error))
        decided += 1
        pairs.append(pair)
        shown.append((result.relative_error or 0.0, result))
    for verdict in ("wrong", "undecided", "right"):
        found = [one for one in shown if one[1].verdict == verdict]
        if found and (verdict != "undecided" or shown[0][1].verdict == "undecided"):
            worst = max(found, key=lambda one: one[0])[1]
            break
    mistakes = (_mistake(claim, pairs),) if worst.verdict == "wrong" else ()
    return ClaimResult(
        claim,
        worst.verdict,
        relative_error=worst.relative_error,
        points=decided,
        worst=worst.worst,
        mistakes=mistakes,
        says=worst.says,
        reference=f"{options.method} along {options.directions} random directions",
    )


def _at(
    subject: Subject, x: Array, value: Any, rng: np.random.Generator, options: Options
) -> tuple[ClaimResult, tuple[Array, Array, Array]]:
    columns = Columns(subject.values, x, rng, options.method)
    claim, m = subject.form.claim, subject.form.rows
    if options.method == "complex step" and (doubt := columns.trouble()):
        empty = np.zeros(0)
        return ClaimResult(claim, "undecided", says=doubt), (empty, empty, empty)
    claimed, parts = [], []
    every = [np.arange(x.size)]
    for _ in range(options.directions or 0):
        weights = rng.uniform(0.5, 1.5, x.size) * rng.choice([-1.0, 1.0], x.size)
        step = reach(x) * weights
        claimed.append(_product(value, step, m))
        parts.append(columns.slopes(every, step))
    product = np.concatenate(claimed)
    flat = [np.concatenate([getattr(p, name)[0] for p in parts]) for name in parts[0].__slots__]
    slope, error, left, right, kink, size, noise = flat
    rows, zeros = np.tile(np.arange(m), len(parts)), np.zeros(product.size, dtype=np.intp)
    size = np.maximum(size, np.abs(np.nan_to_num(slope)))
    found = Found(rows, zeros, slope, error, left, right, kink, np.ones(product.size), size, noise)
    verdict = judged(product, found, tolerance=options.tolerance, digits=np.finfo(float).eps)
    worst = verdict.worst(product, found)
    says, named = "", "right"
    if verdict.wrong.any():
        named = "wrong"
    elif (verdict.kink | verdict.hidden).any():
        named = "undecided"
        says = (
            f"{subject.values.name} has a kink at x"
            if verdict.kink.any()
            else "differences along these directions are too noisy"
        )
    index = () if subject.form.gradient else (int(rows[worst]),)
    result = ClaimResult(
        claim,
        "right" if named == "right" else "wrong" if named == "wrong" else "undecided",
        relative_error=float(np.max(verdict.error, initial=0.0)),
        worst=entry(index, product[worst], slope[worst]),
        says=says,
    )
    return result, (product, slope, verdict.bar)


def _product(value: Any, step: Array, rows: int) -> Array:
    """The claim times a vector."""
    if form_of(value) == "array":
        return np.asarray(np.asarray(value, dtype=float).reshape(rows, step.size) @ step)
    if isinstance(value, LinearOperator):
        return np.asarray(value @ step, dtype=float).reshape(rows)
    return np.asarray(value @ step, dtype=float).reshape(rows)


def _mistake(claim: str, pairs: Sequence[tuple[Array, Array, Array]]) -> Mistake:
    """A factor common to all products, where there is one."""
    scales = []
    for product, slope, bar in pairs:
        size = float(slope @ slope)
        ratio = float(product @ slope) / size if size else np.nan
        scales.append(ratio)
        with np.errstate(all="ignore"):
            if not np.all(
                np.abs(product - ratio * slope) <= 1e-6 * np.abs(product) + bar * (1 + abs(ratio))
            ):
                scales[-1] = np.nan
    factor = named_factor(scales, ()) if scales else None
    if factor is None:
        says = "products with random vectors differ; ask for the check in full to see where"
        return Mistake("unknown", claim, says)
    if factor.kind == "sign":
        return Mistake("sign", claim, "the sign is wrong: everything is −1 times the right one")
    shown = f"−{factor.text}" if factor.minus else factor.text
    return Mistake(factor.kind, claim, f"everything is {shown} times the right one")
