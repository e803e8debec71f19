"""The pull-back of one number: what a rule's terms say where nothing has an axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphengine.jacobian.terms import Rule

__all__ = ["pull_number"]


def pull_number(  # noqa: C901, PLR0912 (calls in place of branches would take longer than the rest)
    row: float, rule: object, arguments: Sequence[str], args: Sequence[Any], out: Any
) -> float | None:
    """``row`` times the slope of a number with respect to a number, as ``rule`` gives it.

    ``arguments`` are the names of ``args`` in the rule.  None where it is no sum of terms whose
    factors are numbers, or does not fit: then a :class:`~graphengine.jacobian.Jacobian` of it says
    more.  The products are those of :meth:`~graphengine.jacobian.Jacobian.pull`, in the same
    order; in them zero times anything is zero.

    >>> from graphengine.jacobian import term
    >>> pull_number(3.0, 2.0 * term("... <- ...", x="..."), ["x"], [np.array(5.0)], None)
    30.0
    """
    if type(rule) is not Rule:
        return None
    total: float | None = None
    for subscripts, factors, coef in rule:
        if not _between_numbers(subscripts):
            return None
        part = row
        if coef != 1.0:
            part *= float(coef)
            if part != part and (row == 0.0 or coef == 0.0):  # noqa: PLR0124 (nan)
                part = 0.0
        for given, labels, _ in factors:
            number = given
            if type(given) is str:
                if given in arguments:
                    number = args[arguments.index(given)]
                elif given == "out":
                    number = out
            if type(number) is not float:
                if type(number) not in _KINDS or number.shape or number.dtype != _FLOAT:
                    return None
                number = number.item()
            if labels not in _WITHOUT_AXES:
                return None
            product = part * number
            if product != product and (part == 0.0 or number == 0.0):  # noqa: PLR0124 (nan)
                product = 0.0
            part = product
        total = part if total is None else total + part
    return total


_KINDS = {np.ndarray, np.float64}
_FLOAT = np.dtype(np.float64)
_WITHOUT_AXES = frozenset({"", "..."})


@lru_cache(maxsize=4096)
def _between_numbers(subscripts: str) -> bool:
    """Whether output and input may be numbers."""
    out, arrow, into = subscripts.replace(" ", "").partition("<-")
    return bool(arrow) and out in _WITHOUT_AXES and into in _WITHOUT_AXES
