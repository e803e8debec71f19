"""One step of the chain rule times a number that nobody named beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphengine.check.backward import Flow
from graphengine.check.case import NEAR, Case, Matrices, close
from graphengine.check.constants import Factor, named_factor
from graphengine.check.mistakes import Mutant
from graphengine.check.report import Mistake

__all__ = ["factor_of_all", "factor_on_a_link"]

SIDES = {"above": "negative", "below": "positive"}
"""Which side the masks of one side alone leave out."""
CUTS = ("no penalty", "drop", *SIDES)
"""What the mistakes that leave something out are called, those to try first in front."""


def factor_on_a_link(case: Case, matrices: Matrices, *, minus: bool) -> tuple[Mistake, ...] | None:
    """One link times a number that is the same, or has the same meaning, at every place.

    ``minus`` asks for factors with a wrong sign besides, which are two mistakes.
    """
    flow = case.flow(case.first)
    cuts = [mutant for mutant, _ in flow.effects if mutant.key[-1] in CUTS]
    for mutant in sorted(cuts, key=lambda one: CUTS.index(str(one.key[-1]))):
        scales = _scales(case, matrices, mutant)
        found = {k: scale for k, scale in enumerate(scales) if scale is not None}
        runs = [case.places[k].run for k in found]
        name = named_factor(list(found.values()), runs) if found else None
        if name is None or name.minus != minus or not _scaled(case, matrices, mutant, scales):
            continue
        sign = Mistake("sign", mutant.where, f"the sign is wrong at {_at(mutant)}")
        made = _factor(
            mutant, name, ((name.kind, case.claim.wrt),) if _is_all(flow, mutant) else ()
        )
        return (sign, made) if minus else (made,)
    return None


def _at(mutant: Mutant) -> str:
    return mutant.where.replace("<-", " <- ")


def _is_all(flow: Flow, mutant: Mutant) -> bool:
    """Whether nothing is left of the derivative without it: the factor may stand anywhere."""
    effect = flow.effect(mutant)
    return effect is not None and close(-effect, flow.value, flow)


def _factor(mutant: Mutant, name: Factor, same_as: tuple[tuple[str, str], ...]) -> Mistake:
    """A factor at what a mutant leaves out."""
    says = f"a factor: {name.text} times the right derivative at {_at(mutant)}"
    cut = str(mutant.key[-1])
    if cut in SIDES:
        says += f", where the argument is {SIDES[cut]}"
        return Mistake("wrong_slope", mutant.where, says)
    own = name.text in mutant.where.split("<-")
    kind = "double_counted" if own else name.kind
    kind = "regulariser_scale" if mutant.kind == "missing_regulariser" else kind
    return Mistake(kind, mutant.where, says, same_as)


def _scales(case: Case, matrices: Matrices, mutant: Mutant) -> list[float | None]:
    """The number at each place that makes the claim of the right derivative; none: there is none.

    By what both condense to.  Where nothing passes the link any number does: None.
    """
    found: list[float | None] = []
    for k, matrix in enumerate(matrices):
        flow = case.flow(k)
        here = flow.same(mutant)
        effect = flow.effect(here) if here is not None else None
        if effect is None:
            return []
        wanted = flow.claim(matrix) - flow.value
        if not np.any(effect) and mutant.key[-1] in SIDES and close(effect, wanted, flow):
            found.append(None)
            continue
        if not np.any(effect):
            return []
        scale = 1 - float(wanted @ effect) / float(effect @ effect)
        if not close((1 - scale) * effect, wanted, flow):
            return []
        found.append(scale)
    return found


def _scaled(case: Case, matrices: Matrices, mutant: Mutant, scales: Sequence[float | None]) -> bool:
    """Whether the claims are what these factors make, entry by entry."""
    for k, (matrix, scale) in enumerate(zip(matrices, scales, strict=True)):
        flow = case.flow(k)
        here = flow.same(mutant)
        right, without = flow.matrix(), flow.matrix([here]) if here is not None else None
        if right is None or without is None:
            return False
        made = right if scale is None else without + scale * (right - without)
        if not case.agrees(k, matrix, made):
            return False
    return True


def factor_of_all(case: Case, matrices: Matrices) -> tuple[Mistake, ...] | None:
    """The whole derivative times a number, where it passes through no single link."""
    scales = []
    for k, matrix in enumerate(matrices):
        right = case.references[k].matrix
        size = float(np.sum(right * right))
        if size == 0:
            return None
        scale = float(np.sum(matrix * right)) / size
        if not case.agrees(k, matrix, scale * right):
            return None
        scales.append(scale)
    name = named_factor(scales, [place.run for place in case.places])
    if name is None or name.minus:
        return None
    says = f"a factor: {name.text} times the right derivative"
    uses = len(list(case.places[0].graph.dag.successors(case.claim.wrt)))
    kind = "mean_for_sum" if abs(scales[0] * uses - 1) < NEAR and uses > 1 else name.kind
    return (Mistake(kind, case.claim.wrt, says, (("factor", case.claim.wrt),)),)
