"""One step of the chain rule times a number that nobody named beforehand."""

from __future__ import annotations

import numpy as np

from graphengine.check.case import NEAR, Case, Matrices, close
from graphengine.check.constants import named_factor
from graphengine.check.mistakes import Mutant
from graphengine.check.report import Mistake

__all__ = ["factor_of_all", "factor_on_a_link"]


def factor_on_a_link(case: Case, matrices: Matrices, *, minus: bool) -> tuple[Mistake, ...] | None:
    """One link times a number that is the same, or has the same meaning, at every place.

    ``minus`` asks for factors with a wrong sign besides, which are two mistakes.
    """
    k = case.smallest
    flow = case.flow(k)
    wanted = flow.claim(matrices[k]) - flow.value
    cuts = [pair for pair in flow.effects if pair[0].key[-1] in {"drop", "no penalty"}]
    for mutant, effect in sorted(cuts, key=lambda pair: pair[0].key[-1] == "drop"):
        through = -effect
        size = float(through @ through)
        if size == 0:
            continue
        scale = 1 + float(wanted @ through) / size
        if not close((scale - 1) * through, wanted, flow):
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
        kind = "double_counted" if own else name.kind
        kind = "regulariser_scale" if mutant.kind == "missing_regulariser" else kind
        found = Mistake(kind, mutant.where, says)
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
