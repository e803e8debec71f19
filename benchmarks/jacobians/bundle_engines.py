"""P11 in the words of engines with a symbolic graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from benchmarks.jacobians.contenders import run_on_shared_memory

Array = Any


def mapped_by_casadi(sight: Any, given: Sequence[Array]) -> Any:
    """The Jacobian of one observation as a scalar graph, mapped over all."""
    import casadi as ca

    camera, point = ca.SX.sym("camera", 9), ca.SX.sym("point", 3)
    turn, shift = camera[:3], camera[3:6]
    angle = ca.norm_2(turn)
    axis = turn / angle
    rotated = ca.cos(angle) * point + ca.sin(angle) * ca.cross(axis, point)
    rotated += (1 - ca.cos(angle)) * ca.dot(axis, point) * axis
    P = rotated + shift
    p = -P[:2] / P[2]
    n = ca.dot(p, p)
    out = camera[6] * (1 + camera[7] * n + camera[8] * n**2) * p
    # Transposed: results lie column by column, an observation's rows one after another.
    parts = [ca.jacobian(out, camera).T, ca.jacobian(out, point).T]
    one = ca.Function("one", [camera, point], parts).map(len(sight.camera))
    cameras, points = (
        ca.MX.sym(name, *array.T.shape) for name, array in zip("cp", given, strict=True)
    )
    gathered = [cameras[:, sight.camera.tolist()], points[:, sight.point.tolist()]]
    whole = ca.Function("all", [cameras, points], list(one(*gathered)))
    sizes = [whole.nnz_out(place) for place in (0, 1)]
    return run_on_shared_memory(whole, [array.ravel() for array in given], sizes)


@dataclass(frozen=True)
class _Words:
    """The engine's ops on columns of numbers."""

    engine: Any
    count: int

    def product(self, *parts: Any) -> Any:
        return reduce(self.engine.make_multiply, parts)

    def total(self, *parts: Any) -> Any:
        return reduce(self.engine.make_add, parts)

    def power(self, child: Any, exponent: float) -> Any:
        return self.engine.make_power(child, exponent)

    def minus(self, child: Any) -> Any:
        return self.engine.make_neg(child)

    def ones(self, size: int) -> Any:
        return self.engine.make_parameter(size, 1, -1, self.count, np.ones(size))

    def at(self, child: Any, places: Array) -> Any:
        return self.engine.make_index(child, len(places), 1, np.asarray(places, dtype=np.int32))

    def rotation(self, turn: Sequence[Any], size: int) -> list[list[Any]]:
        """Entries of the rotations, by Rodrigues' formula."""
        squares = [self.power(one, 2.0) for one in turn]
        angle = self.power(self.total(*squares), 0.5)
        axis = [self.product(one, self.power(angle, -1.0)) for one in turn]
        cos, sin = self.engine.make_cos(angle), self.engine.make_sin(angle)
        versine = self.total(self.ones(size), self.minus(cos))
        rows = []
        for i in range(3):
            row = [self.product(versine, axis[i], axis[j]) for j in range(3)]
            before, after = (i + 1) % 3, (i + 2) % 3
            row[i] = self.total(row[i], cos)
            row[before] = self.total(row[before], self.minus(self.product(sin, axis[after])))
            row[after] = self.total(row[after], self.product(sin, axis[before]))
            rows.append(row)
        return rows


def with_sparsediffpy(sight: Any, values: Mapping[str, Array]) -> Any:
    """A rotation for each camera, number by number; then columns over the observations."""
    C, N = len(values["cameras"]), len(sight.camera)

    def formula(engine: Any, count: int, cameras: Any, points: Any) -> Any:
        by = _Words(engine, count)
        R = by.rotation([by.at(cameras, np.arange(C) * 9 + k) for k in range(3)], C)
        t0, t1, t2, f, k1, k2 = (by.at(cameras, sight.camera * 9 + k) for k in range(3, 9))
        X = [by.at(points, sight.point * 3 + k) for k in range(3)]
        P = []
        for row, shift in zip(R, (t0, t1, t2), strict=True):
            entries = [by.at(entry, sight.camera) for entry in row]
            P.append(by.total(shift, *map(by.product, entries, X)))
        depth = by.minus(by.power(P[2], -1.0))
        p = [by.product(P[0], depth), by.product(P[1], depth)]
        n = by.total(by.power(p[0], 2.0), by.power(p[1], 2.0))
        bent = by.total(by.product(k1, n), by.product(k2, by.power(n, 2.0)))
        scale = by.product(f, by.total(by.ones(N), bent))
        return engine.make_hstack([by.product(scale, one) for one in p])

    return formula
