"""The check of hand-derived gradients: good points, a checked reference, a verdict for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from graphengine.check.checker import Checker, File
from graphengine.check.ops import check_op
from graphengine.check.report import ClaimResult, Coverage, Entry, Mistake, Report, Verdict
from graphengine.derivation import Derivation
from graphengine.graph import Graph
from graphengine.ops.base import Op

if TYPE_CHECKING:
    from graphengine.spec import Spec

__all__ = [
    "Checker",
    "ClaimResult",
    "Coverage",
    "Entry",
    "Mistake",
    "Report",
    "Verdict",
    "check",
    "check_op",
]


def check(
    source: Graph | Spec | File,
    derivation: Derivation | Mapping[str, str] | File | None = None,
    *,
    points: int = 5,
    seed: int | np.random.Generator = 0,
    tolerance: float | None = None,
    vary_sizes: bool = True,
    ops: Sequence[type[Op]] = (),
) -> Report:
    """Judge each claim of a derivation by the graph's own Jacobians, at several good points.

    ``source`` is a graph, a spec, or the path of a spec file; ``derivation`` a derivation, a
    mapping of claims to formulas (``{"J/W": "outer(g, x)"}``), or the path of a submission; by
    default the spec's own.  ``points`` counts the points, ``tolerance`` is the relative error of
    a right claim (:data:`~graphengine.check.claims.TOLERANCE`), ``vary_sizes`` lets the sizes of
    a spec change from point to point, ``ops`` are the caller's own, for files.  Equal seeds give
    equal reports.

    Claims are judged each on its own: see :func:`~graphengine.check.judging.judge` for what the
    verdicts mean, and :func:`~graphengine.check.claims.compare` for how errors are measured.

    Raises :class:`CheckError` when there is nothing to judge, and what reading a file raises.

    >>> import graphengine as ge
    >>> g = ge.Graph("least squares")
    >>> x, y, W = g.input("x", (4,)), g.input("y", (3,)), g.parameter("W", (3, 4))
    >>> e = g.node("e", y - W @ x)
    >>> J = g.result("J", 0.5 * ge.sum(e**2))
    >>> report = check(g, {"J/e": "e", "e/W": "-kron(eye(3), x)", "J/W": "outer(e, x)"})
    >>> [(claim.claim, claim.verdict) for claim in report.claims]
    [('J/e', 'right'), ('e/W', 'right'), ('J/W', 'wrong')]
    >>> report.first, report["J/W"].relative_error
    ('J/W', 2.0)
    """
    checker = Checker(
        source, points=points, seed=seed, tolerance=tolerance, vary_sizes=vary_sizes, ops=ops
    )
    return checker.check(derivation)


class _Callable(ModuleType):
    """``graphengine.check`` is this package and the function: once the package is imported,
    Python sets the attribute of that name to the package, and ``ge.check(spec)`` must still work.
    """

    __call__ = staticmethod(check)


sys.modules[__name__].__class__ = _Callable
