"""The pull-back of one number: what a rule's terms say where nothing has an axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphengine.jacobian.terms import Rule
from graphengine.tracing import Traced, guarded

__all__ = ["pull_number"]


def pull_number(  # noqa: C901 (calls in place of branches would take longer than the rest)
    row: Any, rule: object, arguments: Sequence[str], args: Sequence[Any], out: Any
) -> Any:
    """``row`` times the slope of a number with respect to a number, as ``rule`` gives it: numbers
    of Python, or traced ones.

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
    total: Any = None
    for subscripts, factors, coef in rule:
        if not _between_numbers(subscripts):
            return None
        part = row
        if coef != 1.0:
            part = _times(float(coef), row)
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
                if type(number) is not Traced:
                    number = number.item()
            if labels not in _WITHOUT_AXES:
                return None
            part = _times(part, number)
        total = part if total is None else total + part
    return total


def _times(left: Any, right: Any) -> Any:
    """The product, in which zero times anything is zero."""
    product = left * right
    if type(product) is not float:
        return guarded(left, right, product)
    return 0.0 if product != product and (left == 0.0 or right == 0.0) else product  # noqa: PLR0124 (nan)


_KINDS = {np.ndarray, np.float64, Traced}
_FLOAT = np.dtype(np.float64)
_WITHOUT_AXES = frozenset({"", "..."})


@lru_cache(maxsize=4096)
def _between_numbers(subscripts: str) -> bool:
    """Whether output and input may be numbers."""
    out, arrow, into = subscripts.replace(" ", "").partition("<-")
    return bool(arrow) and out in _WITHOUT_AXES and into in _WITHOUT_AXES
