"""The check of hand-derived gradients: good points, a checked reference, a verdict for each."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from graphengine.check.claims import TOLERANCE, order
from graphengine.check.judging import judge
from graphengine.check.ops import check_op
from graphengine.check.points import points as good_points
from graphengine.check.report import ClaimResult, Entry, Mistake, Report, Verdict
from graphengine.check.trust import Place
from graphengine.derivation import Derivation, FormulaDerivation
from graphengine.errors import CheckError
from graphengine.graph import Graph
from graphengine.ops.base import Op

if TYPE_CHECKING:
    from graphengine.spec import Spec

__all__ = ["ClaimResult", "Entry", "Mistake", "Report", "Verdict", "check", "check_op"]

File: TypeAlias = str | os.PathLike[str]


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
    limit = TOLERANCE if tolerance is None else tolerance
    if points < 1 or not 0 < limit < 1:
        raise CheckError(
            "check",
            expected="at least 1 point and a tolerance between 0 and 1",
            got=f"points={points}, tolerance={limit}",
        )
    if isinstance(source, (str, os.PathLike)):
        from graphengine.spec import load  # noqa: PLC0415 (graphs need no YAML)

        source = load(Path(source), ops=ops)
    claimed = _derivation(source, derivation)
    graph = source if isinstance(source, Graph) else source.graph
    known = [
        (claim.of, claim.wrt)
        for claim in claimed.claims
        if claim.of in graph and claim.wrt in graph
    ]
    for_points, for_places = np.random.default_rng(seed).spawn(2)
    drawn = good_points(source, for_points, points, claims=known, vary_sizes=vary_sizes)
    places = [
        Place(one, rng, limit) for one, rng in zip(drawn, for_places.spawn(len(drawn)), strict=True)
    ]
    results = judge(claimed, places, limit)
    return Report(
        source.name,
        results,
        path="" if isinstance(source, Graph) else str(source.path or ""),
        first=_first(results, [f"{of}/{wrt}" for of, wrt in order(graph, known)]),
        points=tuple(place.drawn.sizes for place in places),
        seed=seed if isinstance(seed, int) else None,
        tolerance=limit,
    )


def _derivation(
    source: Graph | Spec, given: Derivation | Mapping[str, str] | File | None
) -> Derivation:
    if given is None and not isinstance(source, Graph):
        given = source.derivation
    if isinstance(given, (str, os.PathLike)):
        from graphengine.spec import Spec, load_derivation  # noqa: PLC0415 (graphs need no YAML)

        spec = Spec.of(source) if isinstance(source, Graph) else source
        given = load_derivation(Path(given), spec)
    elif isinstance(given, Mapping):
        given = FormulaDerivation(given)
        graph = source if isinstance(source, Graph) else source.graph
        given.check(graph, () if isinstance(source, Graph) else source.sizes)
    if given is None or not given.claims:
        raise CheckError(
            f"check of {source.name!r}",
            expected="a derivation with claims",
            got="none",
            hint="write them in the spec under derivation:, or bring a submission",
        )
    return given


def _first(results: Sequence[ClaimResult], judged: Sequence[str]) -> str:
    """The first claim that is not right: unknown nodes first, then in the graph's order."""
    bad = [result.claim for result in results if result.verdict != "right"]
    return min(bad, key=lambda name: judged.index(name) if name in judged else -1, default="")


class _Callable(ModuleType):
    """``graphengine.check`` is this package and the function: once the package is imported,
    Python sets the attribute of that name to the package, and ``ge.check(spec)`` must still work.
    """

    __call__ = staticmethod(check)


sys.modules[__name__].__class__ = _Callable
