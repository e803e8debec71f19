"""Which mistake was made: the change of the graph's own backward pass that gives the claim.

Every candidate must give the claim's numbers, to the tolerance of a right claim, at every point.
Those with the fewest assumptions come first: one known mistake anywhere on the way, or a
rearrangement of the right answer (transposed, reordered, not added up), with the reference or with
the author's own earlier values; an unknown factor or a known vector that is left over; a
rearrangement and a mistake; two mistakes; a factor with a wrong sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from graphengine.check.backward import NOTHING, Flow, Given
from graphengine.check.case import NEAR, Case, Matrices, close
from graphengine.check.factors import factor_of_all, factor_on_a_link
from graphengine.check.leftovers import (
    another_shape,
    multiple_of_the_variable,
    nothing,
    something_else,
)
from graphengine.check.mistakes import Mutant
from graphengine.check.pairs import is_number, pairs
from graphengine.check.rearranged import Rearranged, rearranged_twice, rearrangements
from graphengine.check.report import Mistake
from graphengine.ops.base import Array

__all__ = ["Diagnosis", "diagnose", "follows"]

MOST_SHOWN = 4
LIKELY = 4
"""Mistakes of a higher rank, and pairs whose ranks add up to more, are told as a guess."""
REARRANGED = 2
"""The rank of a rearrangement."""
DOUBTFUL = 6
"""Beside a mistake of this rank, or a higher one, two likelier ones are looked for."""


class Diagnosis(NamedTuple):
    """The mistakes that explain a claim, other explanations, and the author's values they need.

    ``sure`` is False where a mistake is far-fetched, or the claim is a single number, which
    something or other always gives.
    """

    mistakes: tuple[Mistake, ...]
    alternatives: tuple[tuple[Mistake, ...], ...] = ()
    given: Given = NOTHING
    sure: bool = True


def follows(case: Case, matrices: Matrices, given: Sequence[Given]) -> bool:
    """Whether the claim is what the author's own earlier values lead to."""
    return all(
        case.agrees(k, matrix, case.flow(k, given).matrix()) for k, matrix in enumerate(matrices)
    )


def diagnose(
    case: Case, matrices: Matrices | None, given: Sequence[Sequence[Given]]
) -> Diagnosis | None:
    """What explains the claim; None where nothing known does.

    ``matrices`` is None where the claim's shape is not one that it may have.  ``given`` are the
    author's own earlier values that may stand in place of the reference: one choice at a time, and
    for each choice one for every place.
    """
    asked = _Question(case, matrices, given)
    for stage in (asked.one, asked.left_over, asked.rearranged_and_one, asked.two, asked.last):
        found = stage()
        if found is not None:
            return found
    return None


class _Question:
    """One claim to be explained, in stages of more and more assumptions."""

    def __init__(
        self, case: Case, matrices: Matrices | None, given: Sequence[Sequence[Given]]
    ) -> None:
        self.case, self.matrices, self.given = case, matrices, given
        self.several = matrices is None or matrices[0].size > 1
        self.held: tuple[int, Diagnosis] | None = None

    @cached_property
    def forms(self) -> list[Rearranged]:
        """The claim with each rearrangement that fits undone."""
        return list(rearrangements(self.case, self.matrices))

    def one(self) -> Diagnosis | None:
        """One known mistake, or a rearrangement, beside the reference or the author's values."""
        if self.matrices is not None and not any(map(np.any, self.matrices)):
            return Diagnosis((nothing(self.case),))
        for base in ((), *self.given):
            fits = [] if self.matrices is None else _one_mistake(self.case, self.matrices, base)
            forms = [f.mistake for f in self.forms if follows(self.case, f.matrices, base)]
            found = [_told(mutant) for mutant in fits]
            likely = bool(fits) and fits[0].rank <= REARRANGED
            found = [*found, *forms] if likely or not forms else [*forms, *found]
            if found:
                sure = bool(forms) or fits[0].rank <= (LIKELY if self.several else LIKELY - 1)
                own = base[0] if base else NOTHING
                made = Diagnosis((_merged(found[0], found[1:]),), given=own, sure=sure)
                if sure or fits[0].rank < DOUBTFUL or is_number(fits[0]) or base:
                    return made
                self._hold(fits[0].rank, made)
                return None
        return None

    def _hold(self, rank: int, found: Diagnosis) -> None:
        """Keep what is not sure until it is known that nothing likelier fits."""
        if self.held is None or rank < self.held[0]:
            self.held = rank, found

    def left_over(self) -> Diagnosis | None:
        """An unknown factor, a multiple of the variable, another derivative."""
        if self.matrices is None:
            found = another_shape(self.case)
        elif self.held is not None and not self.several:
            return None
        else:
            found = factor_on_a_link(self.case, self.matrices, minus=False)
            found = found or multiple_of_the_variable(self.case, self.matrices)
            if found is None and self.several:
                found = factor_of_all(self.case, self.matrices)
        return None if found is None else Diagnosis(found, sure=self.several)

    def rearranged_and_one(self) -> Diagnosis | None:
        """A rearrangement and a known mistake."""
        for form in self.forms:
            inner = _one_mistake(self.case, form.matrices, ())
            if inner:
                told = [_told(mutant) for mutant in inner]
                outer = _merged(form.mistake, self._links_rearranged(form, inner[0]))
                found = Diagnosis(_one_of_two(outer, _merged(told[0], told[1:])))
                if inner[0].rank < LIKELY - 1 or self.matrices is None:
                    return found
                self._hold(inner[0].rank + REARRANGED, found._replace(sure=False))
        return None

    def _links_rearranged(self, form: Rearranged, inner: Mutant) -> list[Mistake]:
        """The same rearrangement at single links that gives the same numbers."""
        if self.matrices is None:
            return []
        k = self.case.first
        alike = [
            mutant
            for mutant, _ in self.case.flow(k).effects
            if mutant.kind == form.mistake.kind and mutant.key[:3] != inner.key[:3]
        ]
        fits = [one for one in alike if _fits(self.case, self.matrices, (), (one, inner), k)]
        return [_told(mutant) for mutant in fits]

    def two(self) -> Diagnosis | None:
        """Two known mistakes."""
        if self.matrices is None:
            return None
        rank, fits = _two_mistakes(self.case, self.matrices)
        if self.held is not None:
            held, known = self.held
            if not fits or rank >= held:
                return known
            return Diagnosis(fits[0], (known.mistakes, *fits[1 : MOST_SHOWN - 1]), sure=False)
        if self.several and not (fits and rank < LIKELY):
            other = something_else(self.case, self.matrices)
            if other is not None:
                return Diagnosis(other, tuple(fits[:MOST_SHOWN]))
        if not fits:
            return None
        sure = self.several and rank < LIKELY
        return Diagnosis(fits[0], tuple(fits[1:MOST_SHOWN]), sure=sure)

    def last(self) -> Diagnosis | None:
        """A factor with a wrong sign; a factor and a rearrangement; anything for single numbers."""
        if self.matrices is not None:
            found = factor_on_a_link(self.case, self.matrices, minus=True)
            found = found or something_else(self.case, self.matrices)
            if found is not None:
                return Diagnosis(found, sure=self.several)
        for form in self.forms:
            constant = factor_on_a_link(self.case, form.matrices, minus=False)
            constant = constant or factor_of_all(self.case, form.matrices)
            if constant is not None:
                return Diagnosis((form.mistake, *constant))
        for form in self.forms if self.matrices is None else ():
            for two in rearranged_twice(self.case, form):
                if follows(self.case, two.matrices, ()):
                    return Diagnosis((form.mistake, two.mistake))
        return None


def _one_of_two(outer: Mistake, inner: Mistake) -> tuple[Mistake, ...]:
    """A rearrangement and a mistake; what is not added up takes the penalty along in each row."""
    if outer.kind == "not_reduced" and inner.kind == "regulariser_scale":
        return (outer,)
    return outer, inner


def _told(mutant: Mutant) -> Mistake:
    return Mistake(mutant.kind, mutant.where, mutant.says)


def _merged(best: Mistake, rest: Sequence[Mistake]) -> Mistake:
    """One sentence for mistakes that no number can tell apart."""
    same = dict.fromkeys((one.kind, one.where) for one in rest)
    for one in (best, *rest):
        same |= dict.fromkeys(one.same_as)
    same.pop((best.kind, best.where), None)
    alike = [one for one in rest if one.kind == best.kind and _words(one) == _words(best)]
    places = dict.fromkeys(one.where for one in alike if one.where != best.where)
    others = [where.replace("<-", " <- ") for where in places]
    says = best.says
    if others:
        says += f" (or, with the same numbers, at {', '.join(others[:MOST_SHOWN])})"
    return replace(best, says=says, same_as=tuple(same))


def _words(mistake: Mistake) -> str:
    """What is said, up to the place."""
    return mistake.says.split(f" {mistake.where.replace('<-', ' <- ')}", maxsplit=1)[0]


# --- one known mistake ------------------------------------------------------------------------


def _one_mistake(case: Case, matrices: Matrices, given: Sequence[Given]) -> list[Mutant]:
    """The known mistakes that give the claim at all places, the likeliest first.

    The first of them is compared in full, the others by what they condense to.
    """
    k = case.first
    flow = case.flow(k, given)
    wanted = flow.claim(matrices[k]) - flow.value
    near = [mutant for mutant, effect in flow.effects if close(effect, wanted, flow)]
    near.sort(key=lambda mutant: mutant.rank)
    while near and not _fits(case, matrices, given, near[:1], k):
        near = near[1:]
    return near[:1] + [m for m in near[1:] if _condensed_fits(case, matrices, given, m, k)]


def _condensed_fits(
    case: Case, matrices: Matrices, given: Sequence[Given], mutant: Mutant, first: int
) -> bool:
    """Whether a mistake gives what the claim condenses to at every place."""
    for k, matrix in enumerate(matrices):
        if k == first:
            continue
        flow = case.flow(k, given)
        here = flow.same(mutant)
        effect = flow.effect(here) if here is not None else None
        if effect is None or not close(effect, flow.claim(matrix) - flow.value, flow):
            return False
    return True


def _fits(
    case: Case,
    matrices: Matrices,
    given: Sequence[Given],
    mutants: Sequence[Mutant],
    first: int,
) -> bool:
    """Whether these mistakes together give the claim at every place."""
    for k in sorted(range(len(matrices)), key=lambda k: k != first):
        flow = case.flow(k, given)
        here = mutants if k == first else [flow.same(mutant) for mutant in mutants]
        if any(one is None for one in here):
            return False
        if not case.agrees(k, matrices[k], flow.matrix([one for one in here if one is not None])):
            return False
    return True


# --- two known mistakes -----------------------------------------------------------------------


def _two_mistakes(case: Case, matrices: Matrices) -> tuple[int, list[tuple[Mistake, ...]]]:
    """The pairs of mistakes that give the claim, and the rank of the likeliest."""
    chosen = case.telling
    k = case.first
    flows = [case.flow(j) for j in chosen]
    wanted = [flow.claim(matrices[j]) - flow.value for flow, j in zip(flows, chosen, strict=True)]
    names = _Names(flows[0])
    fits: dict[frozenset[object], list[tuple[Mutant, ...]]] = {}
    for two in pairs(flows, wanted, NEAR):
        if _fits(case, matrices, (), two, k):
            key = frozenset(names.effect[one] for one in two)
            fits.setdefault(key, []).append(two)
    groups = sorted(fits.values(), key=lambda group: _rank(group[0]))
    best = _rank(groups[0][0]) if groups else 0
    return best, [_merged_pair(group, names) for group in groups if _rank(group[0]) <= best + 2]


class _Names:
    """Which mistakes change the derivative alike, by what they change it by."""

    def __init__(self, flow: Flow) -> None:
        self.effect = {mutant: _rounded(effect) for mutant, effect in flow.effects}
        self._alike: dict[tuple[object, ...], list[Mutant]] = {}
        self._numbers: dict[object, list[Mutant]] = {}
        for mutant, effect in self.effect.items():
            self._alike.setdefault((mutant.key[:3], effect), []).append(mutant)
            if is_number(mutant):
                self._numbers.setdefault(effect, []).append(mutant)

    def at_one_place(self, mutant: Mutant) -> list[Mutant]:
        """The mistakes at the same link with the same effect, the likeliest first; a number may
        as well stand at another link on the way.
        """
        effect = self.effect[mutant]
        found = self._alike[mutant.key[:3], effect]
        if is_number(mutant):
            found = [*found, *(one for one in self._numbers[effect] if one not in found)]
        return sorted(found, key=lambda one: (one is not mutant, one.rank))


def _rank(mutants: Sequence[Mutant]) -> int:
    return sum(one.rank for one in mutants)


def _rounded(effect: Array) -> tuple[float, ...]:
    """An effect as a key: equal for mistakes that change the derivative alike."""
    return tuple(float(f"{number:.6g}") for number in effect)


def _merged_pair(group: list[tuple[Mutant, ...]], names: _Names) -> tuple[Mistake, ...]:
    """Pairs of mistakes with the same two effects, as one."""
    best, merged = group[0], []
    for place, one in enumerate(best):
        partner = best[1 - place]
        alike = names.at_one_place(one)
        for fit in group[1:]:
            for other in fit:
                if partner in fit and other is not partner:
                    alike += names.at_one_place(other)
        told = [_told(other) for other in alike]
        merged.append(_merged(told[0], told[1:]))
    return tuple(merged)
