"""Graphs, and derivations by Python functions, for the tests of the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

import graphengine as ge
from graphengine.check.report import Coverage
from graphengine.check.trust import Place
from graphengine.derivation import Claim, Derivation, Found, Point
from graphengine.jacobian import Layout

Formula = Callable[[Any], Any]


class ByFunctions(Derivation):
    """Claims as functions of the nodes' values (``v.W``)."""

    def __init__(self, claims: Mapping[str, Formula], layout: Layout = "numerator") -> None:
        self.layout = layout
        self.formulas = dict(claims)
        self.claims = tuple(Claim(*name.split("/"), "", f"test:{name}") for name in claims)
        self.evaluated = 0

    def evaluate(self, points: Sequence[Point]) -> list[Found]:
        self.evaluated += len(points)
        found: list[Found] = []
        for point in points:
            values = SimpleNamespace(**point.values, **point.sizes)
            with np.errstate(all="ignore"):
                found.append({name: formula(values) for name, formula in self.formulas.items()})
        return found


class NoSurvey:
    """In place of a Survey: claims are judged at the first points, whatever would show there."""

    def __init__(self, of: str, wrt: str) -> None:
        pass

    def at(self, places: Sequence[Place]) -> Coverage:
        return Coverage()


def softmax_regression(C: int = 3, d: int = 4, scale: float = 1.0) -> ge.Graph:
    """The lecture's example, with the cost multiplied by ``scale``."""
    g = ge.Graph("softmax regression")
    x, y = g.input("x", (d,)), g.input("y", (C,), kind="one_hot")
    W, b = g.parameter("W", (C, d)), g.parameter("b", (C,))
    lam, c = g.constant("lam", 0.1), g.constant("c", scale)
    z = g.node("z", W @ x)
    s = g.node("s", z + b)
    p = g.node("p", ge.softmax(s))
    loss = g.node("l", -ge.log(y @ p))
    r = g.node("r", ge.sum(W**2))
    g.result("J", c * (loss + lam * r))
    return g


def least_squares(m: int = 3, n: int = 4) -> ge.Graph:
    g = ge.Graph("least squares")
    x, y, W = g.input("x", (n,)), g.input("y", (m,)), g.parameter("W", (m, n))
    e = g.node("e", y - W @ x)
    g.result("J", 0.5 * ge.sum(e**2))
    return g
