"""Claims that no known mistake gives, but that are something known all the same.

What is left over may be a multiple of the variable (a penalty), and the claim may be the derivative
with respect to another node, that of another node, or no derivative at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from graphengine.check.case import NEAR, Case, Matrices
from graphengine.check.mistakes import penalty_name, regularisers
from graphengine.check.mistakes.base import home
from graphengine.check.reference import path
from graphengine.check.report import Mistake
from graphengine.check.trust import Place
from graphengine.graph import Node
from graphengine.ops.base import Array

__all__ = ["another_shape", "multiple_of_the_variable", "nothing", "something_else"]


def multiple_of_the_variable(case: Case, matrices: Matrices) -> tuple[Mistake, ...] | None:
    """What is left over is a multiple of the variable, or of its sign."""
    wrt = case.claim.wrt
    coefficients = []
    for k, matrix in enumerate(matrices):
        place = case.places[k]
        if place.graph[case.claim.of].size != 1 or matrix.size < 2:
            return None  # a single number is a multiple of any other
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
    l1 = any(abs(second) > NEAR for _, second in coefficients)
    return _own_penalty(case, l1=l1) or (None if l1 else _no_penalty(case))


def _own_penalty(case: Case, *, l1: bool) -> tuple[Mistake, ...] | None:
    """The variable has a penalty, which is another one here."""
    place, wrt = case.places[0], case.claim.wrt
    inside = place.flow(case.claim.of, wrt).inside
    found = regularisers(place.graph, place.graph[case.claim.of], inside)
    if not found or place.graph[wrt].role != "parameter":
        return None
    form = f"sign({wrt}), as of an L1 penalty" if l1 else f"another multiple of {wrt}"
    says = f"the regulariser has another form: {form}"
    return (Mistake("regulariser_scale", penalty_name(found[0], inside), says),)


def _no_penalty(case: Case) -> tuple[Mistake, ...] | None:
    """The variable has no penalty, though other parameters have."""
    place, wrt = case.places[0], case.claim.wrt
    if place.graph[wrt].role != "parameter":
        return None
    for other in place.graph.nodes:
        if other.role != "parameter" or other.name == wrt:
            continue
        way = place.flow(case.claim.of, other.name).inside
        top = regularisers(place.graph, place.graph[case.claim.of], way)
        if top:
            says = f"{wrt} is regularised here, but not in the graph: a multiple of {wrt} too much"
            same = (("regularised_bias", penalty_name(top[0], way)),)
            return (Mistake("regularised_bias", wrt, says, same),)
    return None


def something_else(case: Case, matrices: Matrices) -> tuple[Mistake, ...] | None:
    """The claim is the derivative with respect to another node, or of another one, or a value."""
    k = case.first
    place = case.places[k]
    of, wrt = case.claim.of, case.claim.wrt
    for kind, says, where, make in _others(place, of, wrt):
        if all(
            case.agrees(j, matrix, _shaped(make(case.places[j]), matrix))
            for j, matrix in sorted(enumerate(matrices), key=lambda pair: pair[0] != k)
        ):
            same = (
                ()
                if kind == "missing_jacobian"
                else (("wrong_slope", f"{_user(place, wrt)}<-{wrt}"),)
            )
            return (Mistake(kind, where, says, same),)
    return None


def nothing(case: Case) -> Mistake:
    """A claim of zeros."""
    wrt = case.claim.wrt
    user = _user(case.places[0], wrt)
    edge = f"{user}<-{wrt}"
    same = [(kind, at) for kind in ("treated_as_constant", "missing_path") for at in (edge, user)]
    says = f"the derivative is not zero: {wrt} is treated as a constant"
    return Mistake("treated_as_constant", wrt, says, tuple(same))


def _user(place: Place, wrt: str) -> str:
    """The named node that uses ``wrt`` first."""
    graph = place.graph
    users = [home(graph[name]) for name in graph.dag.successors(wrt)]
    return min(users, key=lambda node: node.number).name


def another_shape(case: Case) -> tuple[Mistake, ...] | None:
    """A claim of the wrong shape that is the derivative with respect to another node."""
    of, wrt = case.claim.of, case.claim.wrt
    first = case.places[0].graph
    if first[of].size != 1:
        return None
    inside = [node for node in case.flow(0).inside if node.named]  # the nearest on the way first
    for node in dict.fromkeys([*inside, *first.named.values()]):
        if node.name in {of, wrt} or node.shape != case.arrays[0].shape:
            continue
        if all(
            place.graph[node.name].size == array.size
            and case.near(array.reshape(1, -1), place.matrix(of, node.name))
            for place, array in zip(case.places, case.arrays, strict=True)
        ):
            child, parent = (
                (node, first[wrt]) if node.number > first[wrt].number else (first[wrt], node)
            )
            where = _step(child, parent)
            says = f"this is ∂{of}/∂{node.name}: the step between {node.name} and {wrt} is missing"
            return (Mistake("missing_jacobian", where, says),)
    return None


def _step(child: Node, parent: Node) -> str:
    """The edge between two named nodes; the child alone where other named ones lie between."""
    between = path(child.graph, child, parent)
    if between and not any(node.named for node in between if node is not child):
        return f"{child.name}<-{parent.name}"
    return child.name


def _shaped(found: Array | None, like: Array) -> Array | None:
    return found.reshape(like.shape) if found is not None and found.size == like.size else None


Maker: TypeAlias = Callable[[Place], Array]


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
            where = _step(child, parent)
            says = f"this is ∂{of}/∂{node.name}: " + (
                f"the Jacobian of {node.name} <- {wrt} is left out"
                if above
                else f"the Jacobian of {wrt} <- {node.name} is in it already"
            )
            yield kind, says, where, partial(_matrix, of, node.name)
        if node in inside:
            says = f"the derivatives above {node.name} are left out: this is ∂{node.name}/∂{wrt}"
            yield "missing_jacobian", says, node.name, partial(_summed, node.name, wrt)
    for node in graph.named.values():
        if node.shape == source.shape and top.size == 1:
            says = f"this is the value of {node.name}, not a derivative"
            yield "missing_jacobian", says, wrt, partial(_value, node.name)


def _matrix(of: str, wrt: str, place: Place) -> Array:
    return place.matrix(of, wrt)


def _summed(of: str, wrt: str, place: Place) -> Array:
    return place.summed(of, wrt)


def _value(name: str, place: Place) -> Array:
    return place.run.value(name)
