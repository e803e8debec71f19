"""Which mistake was made: the change of the graph's own backward pass that gives the claim.

Every candidate must give the claim's numbers, to the tolerance of a right claim, at every point.
In the order of the number of assumptions: one known mistake anywhere on the way; a rearrangement of
the right answer (transposed, reordered, not summed); the same beside the author's own earlier
values; two mistakes; an unknown number on one link; what is left in the span of known vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from graphengine.check.backward import NOTHING, Flow, Given
from graphengine.check.claims import compare
from graphengine.check.constants import named_factor
from graphengine.check.mistakes import Mutant, called, regularisers
from graphengine.check.mistakes.base import place_name
from graphengine.check.pairs import pairs
from graphengine.check.rearranged import Rearranged, rearrangements
from graphengine.check.report import Mistake
from graphengine.check.trust import Place, Reference
from graphengine.derivation import Claim
from graphengine.ops.base import Array

__all__ = ["Case", "Diagnosis", "diagnose", "follows"]

NEAR = 1e-6
"""Condensed numbers that agree to this are looked at in full."""
MOST_SHOWN = 4


class Diagnosis(NamedTuple):
    """The mistakes that explain a claim, other explanations, and the author's values they need."""

    mistakes: tuple[Mistake, ...]
    alternatives: tuple[tuple[Mistake, ...], ...] = ()
    given: Given = NOTHING


@dataclass(frozen=True)
class Case:
    """One wrong claim: its numbers at the places that decide, and the references there."""

    claim: Claim
    layout: str
    places: Sequence[Place]
    arrays: Sequence[Array]
    references: Sequence[Reference]
    tolerance: float
    noise: Mapping[int, Array]

    def flow(self, k: int, given: Sequence[Given] = ()) -> Flow:
        """The backward pass at place ``k``, perhaps with the author's own values in it."""
        return self.places[k].flow(self.claim.of, self.claim.wrt, given[k] if given else NOTHING)

    def agrees(self, k: int, claimed: Array, found: Array | None) -> bool:
        """Whether ``claimed`` has the numbers of ``found`` at place ``k``."""
        if found is None or found.shape != claimed.shape or not np.isfinite(found).all():
            return False
        reference = self.references[k]
        if reference.matrix.shape != found.shape:
            return False
        sizes = np.maximum(reference.contributions, np.abs(found))
        noise = self.noise.get(k, 0.0)
        found_ = compare(claimed, found, sizes, tolerance=self.tolerance, noise=noise)
        return found_.error <= self.tolerance

    def near(self, k: int, claimed: Array, found: Array) -> bool:
        """Whether ``claimed`` has the numbers of ``found``, whatever it is the derivative of."""
        sizes = np.abs(found)
        return compare(claimed, found, sizes, tolerance=self.tolerance).error <= self.tolerance

    @property
    def smallest(self) -> int:
        """The place with the least work."""
        graphs = [place.graph for place in self.places]
        return int(np.argmin([sum(node.size for node in graph.nodes) for graph in graphs]))


Matrices = Sequence[Array]
"""A claim as matrices ``size of × size wrt``, one for each place."""


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
    forms = list(rearrangements(case, matrices))
    for base in ((), *given):
        fits = _one_mistake(case, matrices, base) if matrices is not None else []
        whole = [form.mistake for form in forms if follows(case, form.matrices, base)]
        found = [*fits, *whole]
        if found:
            best, rest = found[0], found[1:]
            return Diagnosis((_merged(best, rest),), given=base[0] if base else NOTHING)
    if matrices is not None:
        found_ = _constant(case, matrices, minus=False) or _penalty(case, matrices)
        if found_ is None and matrices[0].size > 1:
            found_ = _something_else(case, matrices)
        if found_ is not None:
            return Diagnosis(found_)
    else:
        other = _another_shape(case)
        if other is not None:
            return Diagnosis((other,))
    for form in forms:
        inner = _one_mistake(case, form.matrices, ())
        if inner:
            return Diagnosis((form.mistake, _merged(inner[0], inner[1:])))
    if matrices is not None:
        two = _two_mistakes(case, matrices)
        if two:
            return Diagnosis(two[0], tuple(two[1:MOST_SHOWN]))
        found_ = _constant(case, matrices, minus=True) or _something_else(case, matrices)
        if found_ is not None:
            return Diagnosis(found_)
        for form in forms:
            constant = _constant(case, form.matrices, minus=False)
            if constant is not None:
                return Diagnosis((form.mistake, *constant))
    return None


def _merged(best: Mistake, rest: Sequence[Mistake]) -> Mistake:
    """One sentence for mistakes that no number can tell apart."""
    same = dict.fromkeys((one.kind, one.where) for one in rest)
    same.pop((best.kind, best.where), None)
    for one in rest:
        for pair in one.same_as:
            same.setdefault(pair)
    others = [where.replace("<-", " <- ") for kind, where in same if kind == best.kind]
    says = best.says
    if others:
        says += f" (or, with the same numbers, at {', '.join(others[:MOST_SHOWN])})"
    return replace(best, says=says, same_as=tuple(same))


# --- one known mistake ------------------------------------------------------------------------


def _close(effect: Array, wanted: Array, size: float) -> bool:
    gap = float(np.max(np.abs(effect - wanted), initial=0.0))
    return gap <= NEAR * float(np.max(np.abs(wanted), initial=0.0)) + 1e-12 * size


def _one_mistake(case: Case, matrices: Matrices, given: Sequence[Given]) -> list[Mistake]:
    """The known mistakes that give the claim at all places, the likeliest first."""
    k = case.smallest
    flow = case.flow(k, given)
    wanted = flow.claim(matrices[k]) - flow.value
    size = _size(flow)
    near = [mutant for mutant, effect in flow.effects if _close(effect, wanted, size)]
    near.sort(key=lambda mutant: mutant.rank)
    fitting = [mutant for mutant in near if _fits(case, matrices, given, (mutant,), k)]
    return [Mistake(mutant.kind, mutant.where, mutant.says) for mutant in fitting]


def _size(flow: Flow) -> float:
    """The size of the condensed derivative, for what counts as rounding."""
    return float(np.max(np.abs(flow.value), initial=0.0))


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


def _two_mistakes(case: Case, matrices: Matrices) -> list[tuple[Mistake, ...]]:
    k = case.smallest
    others = [j for j in range(len(matrices)) if j != k]
    chosen = [k, *others[:2]]
    flows = [case.flow(j) for j in chosen]
    wanted = [flow.claim(matrices[j]) - flow.value for flow, j in zip(flows, chosen, strict=True)]
    names = _Names(flows[0])
    fits: dict[frozenset[object], list[tuple[Mutant, ...]]] = {}
    for two in pairs(flows, wanted, NEAR):
        if _fits(case, matrices, (), two, k):
            key = frozenset(names.effect[one] for one in two)
            fits.setdefault(key, []).append(two)
    groups = sorted(fits.values(), key=lambda group: _rank(group[0]))
    return [
        _merged_pair(group, names) for group in groups if _rank(group[0]) <= _rank(groups[0][0]) + 2
    ]


class _Names:
    """Which mistakes change the derivative alike, by what they change it by."""

    def __init__(self, flow: Flow) -> None:
        self.effect = {mutant: _rounded(effect) for mutant, effect in flow.effects}
        self._alike: dict[tuple[object, ...], list[Mutant]] = {}
        for mutant, effect in self.effect.items():
            self._alike.setdefault((mutant.key[:3], effect), []).append(mutant)

    def at_one_place(self, mutant: Mutant) -> list[Mutant]:
        """The mistakes at the same link with the same effect, the likeliest first."""
        found = self._alike[mutant.key[:3], self.effect[mutant]]
        return sorted(found, key=lambda one: one.rank)


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
        told = [Mistake(other.kind, other.where, other.says) for other in alike]
        merged.append(_merged(told[0], told[1:]))
    return tuple(merged)


# --- an unknown number ------------------------------------------------------------------------


def _constant(case: Case, matrices: Matrices, *, minus: bool) -> tuple[Mistake, ...] | None:
    """One link times a number that is the same, or has the same meaning, at every place."""
    k = case.smallest
    flow = case.flow(k)
    wanted = flow.claim(matrices[k]) - flow.value
    for mutant, effect in flow.effects:
        if mutant.key[-1] != "drop":
            continue
        through = -effect
        size = float(through @ through)
        if size == 0:
            continue
        scale = 1 + float(wanted @ through) / size
        if not _close((scale - 1) * through, wanted, _size(flow)):
            continue
        scales = _scales(case, matrices, mutant)
        if scales is None:
            continue
        graphs = [place.run for place in case.places]
        name = named_factor(scales, graphs)
        if name is None or name.minus != minus:
            continue
        at = mutant.where.replace("<-", " <- ")
        says = f"a factor: {name.text} times the right derivative at {at}"
        own = name.text in mutant.where.split("<-")
        found = Mistake("double_counted" if own else name.kind, mutant.where, says)
        sign = Mistake("sign", mutant.where, f"the sign is wrong at {at}")
        return (sign, found) if minus else (found,)
    return None


def _scales(case: Case, matrices: Matrices, mutant: Mutant) -> list[float] | None:
    """The number at each place that makes the claim of the right derivative, if there is one."""
    found = []
    for k, matrix in enumerate(matrices):
        flow = case.flow(k)
        here = flow.same(mutant)
        right, without = flow.matrix(), flow.matrix([here]) if here is not None else None
        if right is None or without is None:
            return None
        through = right - without
        size = float(np.sum(through * through))
        if size == 0:
            return None
        scale = float(np.sum((matrix - without) * through)) / size
        if not case.agrees(k, matrix, without + scale * through):
            return None
        found.append(scale)
    return found


# --- known vectors ----------------------------------------------------------------------------


def _penalty(case: Case, matrices: Matrices) -> tuple[Mistake, ...] | None:
    """What is left over is a multiple of the variable, or of its sign."""
    wrt = case.claim.wrt
    coefficients = []
    for k, matrix in enumerate(matrices):
        place = case.places[k]
        if place.graph[case.claim.of].size != 1:
            return None
        value = place.run.value(wrt).reshape(-1)
        basis = np.stack([value, np.sign(value)], axis=1)
        if len(value) < 3:
            basis = basis[:, :1]
        left = (matrix - case.references[k].matrix).reshape(-1)
        found, *_ = np.linalg.lstsq(basis, left, rcond=None)
        remade = case.references[k].matrix + (basis @ found).reshape(1, -1)
        if not case.agrees(k, matrix, remade):
            return None
        coefficients.append([*found, 0.0][:2])
    place = case.places[0]
    of, wrt_ = place.graph[case.claim.of], place.graph[wrt]
    inside = place.flow(case.claim.of, wrt, NOTHING).inside
    found_ = regularisers(place.graph, of, inside)
    if wrt_.role != "parameter":
        return None
    if found_:
        where = called(found_[0], inside)
        l1 = any(abs(b) > NEAR for _, b in coefficients)
        says = "the regulariser has another form: " + (
            "sign(" + wrt + ") as of an L1 penalty" if l1 else f"another multiple of {wrt}"
        )
        return (Mistake("regulariser_scale", where, says),)
    if any(abs(b) > NEAR for _, b in coefficients):
        return None
    others = [node for node in place.graph.nodes if node.role == "parameter" and node is not wrt_]
    for other in others:
        way = place.flow(case.claim.of, other.name).inside
        top = regularisers(place.graph, of, way)
        if top:
            where = called(top[0], way)
            says = f"{wrt} is regularised here, but not in the graph: a multiple of {wrt} too much"
            same = (("regularised_bias", wrt),)
            return (Mistake("regularised_bias", where, says, same),)
    return None


def _something_else(case: Case, matrices: Matrices) -> tuple[Mistake, ...] | None:
    """The claim is the derivative with respect to another node, or of another one, or a value."""
    k = case.smallest
    place = case.places[k]
    of, wrt = case.claim.of, case.claim.wrt
    for kind, says, where, make in _others(place, of, wrt):
        if all(
            case.agrees(j, matrix, _shaped(make(case.places[j]), matrix))
            for j, matrix in sorted(enumerate(matrices), key=lambda pair: pair[0] != k)
        ):
            return (Mistake(kind, where, says),)
    return None


def _another_shape(case: Case) -> Mistake | None:
    """A claim of the wrong shape that is the derivative with respect to another node."""
    of, wrt = case.claim.of, case.claim.wrt
    first = case.places[0].graph
    if first[of].size != 1:
        return None
    for node in first.named.values():
        if node.name in {of, wrt} or node.shape != case.arrays[0].shape:
            continue
        if all(
            place.graph[node.name].size == array.size
            and case.near(k, array.reshape(1, -1), place.matrix(of, node.name))
            for k, (place, array) in enumerate(zip(case.places, case.arrays, strict=True))
        ):
            child, parent = (node, first[wrt]) if node.number > first[wrt].number else (first[wrt], node)
            where = place_name(child, parent) if parent in child.parents else child.name
            says = f"this is ∂{of}/∂{node.name}: the step between {node.name} and {wrt} is missing"
            return Mistake("missing_jacobian", where, says)
    return None


def _shaped(found: Array | None, like: Array) -> Array | None:
    return found.reshape(like.shape) if found is not None and found.size == like.size else None


Maker = Callable[[Place], "Array | None"]


def _others(place: Place, of: str, wrt: str) -> Iterator[tuple[str, str, str, Maker]]:
    graph = place.graph
    top, source = graph[of], graph[wrt]
    inside = place.flow(of, wrt).inside
    below = [node for node in graph.named.values() if node.number < source.number]
    for node in (*reversed(inside), *reversed(below)):
        if not node.named or node is top:
            continue
        if node.shape == source.shape:
            above = node in inside
            kind = "missing_jacobian" if above else "double_counted"
            child, parent = (node, source) if above else (source, node)
            where = place_name(child, parent) if parent in child.parents else child.name
            says = f"this is ∂{of}/∂{node.name}: " + (
                f"the Jacobian of {node.name} <- {wrt} is left out"
                if above
                else f"the Jacobian of {wrt} <- {node.name} is in it already"
            )
            yield kind, says, where, lambda at, name=node.name: at.matrix(of, name)  # type: ignore[misc]  # bound now
        if node in inside:
            says = f"the derivatives above {node.name} are left out: this is ∂{node.name}/∂{wrt}"
            yield "missing_jacobian", says, node.name, lambda at, name=node.name: at.summed(name, wrt)  # type: ignore[misc]  # bound now
    for node in graph.named.values():
        if node.shape == source.shape and top.size == 1:
            says = f"this is the value of {node.name}, not a derivative"
            yield "missing_jacobian", says, wrt, lambda at, name=node.name: at.run.value(name)  # type: ignore[misc]  # bound now
