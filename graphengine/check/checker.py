"""A check that is prepared once and may judge many derivations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from graphengine.check.claims import TOLERANCE, order
from graphengine.check.coverage import Survey, telling
from graphengine.check.judging import judge
from graphengine.check.points import points as good_points
from graphengine.check.report import ClaimResult, Coverage, Report
from graphengine.check.trust import Place
from graphengine.derivation import Derivation, FormulaDerivation
from graphengine.errors import CheckError
from graphengine.graph import Graph
from graphengine.ops.base import Op

if TYPE_CHECKING:
    from graphengine.spec import Spec

__all__ = ["Checker", "File"]

File: TypeAlias = str | os.PathLike[str]
Pair: TypeAlias = tuple[str, str]
MOST_KEPT = 8
"""Points are kept for so many different sets of claims."""
CANDIDATES = 12
EXTRA_POINTS = 3
"""Of so many candidates so many points are added where known mistakes would not show at the first
ones: those at which nodes have signs that they had nowhere yet."""


@dataclass(frozen=True)
class _Prepared:
    """The points for one set of claims, and what would show there."""

    places: Sequence[Place]
    coverage: Mapping[Pair, Coverage]


class Checker:
    """What :func:`graphengine.check` does, with the points, the references and the known mistakes
    kept for further derivations of the same claims.

    ``check(source, derivation, ...)`` and ``Checker(source, ...).check(derivation)`` give equal
    reports.

    Without ``coverage`` nobody asks whether known mistakes would show at the points, and no points
    are added: it is faster for single claims.  The other arguments are those of
    :func:`graphengine.check`; of a generator as ``seed`` the numbers are drawn once.

    >>> import graphengine as ge
    >>> g = ge.Graph("square")
    >>> x = g.input("x", (3,))
    >>> J = g.result("J", ge.sum(x**2))
    >>> checker = Checker(g)
    >>> [checker.check({"J/x": text}).verdict for text in ("2 * x", "x + x", "x")]
    ['right', 'right', 'wrong']
    """

    def __init__(
        self,
        source: Graph | Spec | File,
        *,
        points: int = 5,
        seed: int | np.random.Generator = 0,
        tolerance: float | None = None,
        vary_sizes: bool = True,
        ops: Sequence[type[Op]] = (),
        coverage: bool = True,
    ) -> None:
        self.points, self.vary_sizes, self.coverage = points, vary_sizes, coverage
        self.tolerance = TOLERANCE if tolerance is None else tolerance
        if points < 1 or not 0 < self.tolerance < 1:
            raise CheckError(
                "check",
                expected="at least 1 point and a tolerance between 0 and 1",
                got=f"points={points}, tolerance={self.tolerance}",
            )
        if isinstance(source, (str, os.PathLike)):
            from graphengine.spec import load  # noqa: PLC0415 (graphs need no YAML)

            source = load(Path(source), ops=ops)
        self.source = source
        self.graph = source if isinstance(source, Graph) else source.graph
        self.seed = seed if isinstance(seed, int) else None
        self._entropy = seed if isinstance(seed, int) else int(seed.integers(2**62))
        self._prepared: dict[frozenset[Pair], _Prepared] = {}

    def check(self, derivation: Derivation | Mapping[str, str] | File | None = None) -> Report:
        """The report on one derivation; see :func:`graphengine.check`."""
        source = self.source
        claimed = _derivation(source, derivation)
        known = [
            (claim.of, claim.wrt)
            for claim in claimed.claims
            if claim.of in self.graph and claim.wrt in self.graph
        ]
        prepared = self._prepare(known)
        results = tuple(
            replace(result, coverage=prepared.coverage[claim.of, claim.wrt])
            if (claim.of, claim.wrt) in prepared.coverage
            else result
            for claim, result in zip(
                claimed.claims, judge(claimed, prepared.places, self.tolerance), strict=True
            )
        )
        return Report(
            source.name,
            results,
            path="" if isinstance(source, Graph) else str(source.path or ""),
            first=_first(results, [f"{of}/{wrt}" for of, wrt in order(self.graph, known)]),
            points=tuple(place.drawn.sizes for place in prepared.places),
            seed=self.seed,
            tolerance=self.tolerance,
            graph=self.graph,
        )

    def _prepare(self, known: Sequence[Pair]) -> _Prepared:
        """The points for these claims; more of them where a mistake would not show at the first."""
        key = frozenset(known)
        if key not in self._prepared:
            claims = sorted(key)
            for_points, for_more = np.random.default_rng(self._entropy).spawn(2)
            places = self._places(for_points, self.points, claims)
            surveys = {pair: Survey(*pair) for pair in (claims if self.coverage else ())}
            shown = {pair: survey.at(places) for pair, survey in surveys.items()}
            if any(found.hidden for found in shown.values()):
                candidates = self._places(for_more, CANDIDATES, claims)
                more = telling(places, candidates, EXTRA_POINTS)
                again = {pair: survey.at(more) for pair, survey in surveys.items()}
                if any(again[pair].visible > shown[pair].visible for pair in claims):
                    places, shown = [*places, *more], again
            self._prepared[key] = _Prepared(places, shown)
            if len(self._prepared) > MOST_KEPT:
                del self._prepared[next(iter(self._prepared))]  # the oldest
        return self._prepared[key]

    def _places(self, rng: np.random.Generator, count: int, claims: Sequence[Pair]) -> list[Place]:
        drawing, trying = rng.spawn(2)
        drawn = good_points(self.source, drawing, count, claims=claims, vary_sizes=self.vary_sizes)
        generators = trying.spawn(len(drawn))
        return [Place(one, rng, self.tolerance) for one, rng in zip(drawn, generators, strict=True)]


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
