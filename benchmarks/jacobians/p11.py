"""P11: the Jacobian of a bundle-adjustment residual in the cameras and in the points.

A camera has nine numbers: a rotation vector, a translation, a focal length and two coefficients of
radial distortion (S. Agarwal, N. Snavely, S. Seitz, R. Szeliski, "Bundle adjustment in the large",
ECCV 2010).  Which camera sees which point is known beforehand, and listed by point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

import graphengine as ge
from benchmarks.jacobians import bundle_by_hand, bundle_engines
from benchmarks.jacobians import contenders as by
from benchmarks.jacobians.patterns import with_rows
from benchmarks.problem import HAND, Contender, Growth, Problem

Array = Any

SKEW = np.zeros((3, 3, 3))
"""``[k]ₓ = k · SKEW``: the matrix of the cross product."""
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    SKEW[_k, _i, _j], SKEW[_k, _j, _i] = -1.0, 1.0


class Sight(NamedTuple):
    """Which camera and which point each observation is of."""

    camera: Array
    point: Array


def sight_of(cameras: int, points: int, observations: int) -> Sight:
    """Each point is seen at least once, by cameras at random; listed by point."""
    rng = np.random.default_rng(1)
    more = rng.integers(points, size=observations - points)
    point = np.sort(np.concatenate([np.arange(points), more]))
    return Sight(rng.integers(cameras, size=observations), point)


def values_of(cameras: int, points: int, observations: int) -> dict[str, Any]:
    """Points around the origin, cameras six units off."""
    rng = np.random.default_rng(0)
    turns = rng.normal(size=(cameras, 3)) / 2
    places = rng.normal(size=(cameras, 3)) / 5 - [0, 0, 6]
    lenses = [500, 0, 0] + rng.normal(size=(cameras, 3)) * [50, 0.01, 0.01]
    return {
        "cameras": np.concatenate([turns, places, lenses], axis=1),
        "points": rng.normal(size=(points, 3)),
        "seen": rng.normal(size=(observations, 2)) * 50,
    }


def graph_of(sight: Sight, cameras: int, points: int) -> ge.Graph:
    """A rotation for each camera by Rodrigues' formula, then an observation in each row."""
    count = len(sight.camera)
    graph = ge.Graph("bundle adjustment")
    c, X = graph.parameter("cameras", (cameras, 9)), graph.parameter("points", (points, 3))
    seen = graph.input("seen", (count, 2))
    angle = graph.node("angle", ge.norm(c[:, :3], axis=1, keepdims=True))
    axis = graph.node("axis", c[:, :3] / angle)
    cos, sin = ge.cos(angle)[:, :, None], ge.sin(angle)[:, :, None]
    cross = ge.reshape(axis @ SKEW.reshape(3, 9), (cameras, 3, 3))
    twice = axis[:, :, None] * axis[:, None, :]
    R = graph.node("R", cos * np.eye(3) + sin * cross + (1 - cos) * twice)
    P = graph.node("P", ge.matvec(R[sight.camera], X[sight.point]) + c[:, 3:6][sight.camera])
    p = graph.node("p", -P[:, :2] / P[:, 2:])
    n = graph.node("n", ge.sum(p**2, axis=1, keepdims=True))
    lens = c[:, 6:][sight.camera]
    scale = lens[:, 0:1] * (1 + lens[:, 1:2] * n + lens[:, 2:3] * n**2)
    graph.result("r", scale * p - seen)
    return graph


def rotations(np: Any, turns: Any) -> Any:
    """The matrices of rotation vectors, along the last axis."""
    angle = np.sqrt((turns**2).sum(-1))[..., None]
    axis = turns / angle
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    cross = (axis @ np.asarray(SKEW.reshape(3, 9))).reshape(*turns.shape, 3)
    return cos * np.eye(3) + sin * cross + (1 - cos) * (axis[..., :, None] * axis[..., None, :])


def projected(R: Any, shift: Any, lens: Any, point: Any) -> Any:
    """Where points are seen, an observation in each row, or of one observation."""
    P = (R * point[..., None, :]).sum(-1) + shift
    p = -P[..., :2] / P[..., 2:]
    n = (p**2).sum(-1)[..., None]
    return lens[..., 0:1] * (1 + lens[..., 1:2] * n + lens[..., 2:3] * n**2) * p


def function(sight: Sight, np: Any, cameras: Any, points: Any, seen: Any) -> Any:
    turns, shifts, lenses = cameras[:, :3], cameras[:, 3:6], cameras[:, 6:]
    R, each = rotations(np, turns)[sight.camera], sight.camera
    return projected(R, shifts[each], lenses[each], points[sight.point]) - seen


def of_one(np: Any, camera: Any, point: Any) -> Any:
    """For Jacobians of one observation, mapped over all."""
    return projected(rotations(np, camera[:3]), camera[3:6], camera[6:], point)


# --- the results --------------------------------------------------------------------------


def patterns(sight: Sight, cameras: int, points: int) -> list[sp.csr_array]:
    """Nine numbers in each row in the cameras, three in the points."""
    found = []
    for each, size, count in ((sight.camera, 9, cameras), (sight.point, 3, points)):
        own = each[:, None] * size + np.arange(size)
        found.append(with_rows(np.repeat(own, 2, axis=0), count * size))
    return found


def read_blocks(sight: Sight, cameras: int, points: int, blocks: Sequence[Any]) -> list[Any]:
    """Jacobians of one observation each, in their places."""
    results = patterns(sight, cameras, points)
    for result, block in zip(results, blocks, strict=True):
        result.data[...] = np.asarray(block).reshape(-1)
    return results


def plain(sight: Sight, cameras: Any, points: Any) -> list[Any]:
    """The derivatives as on paper.

    Those of a rotation: G. Gallego, A. Yezzi, "A compact formula for the derivative of a 3-D
    rotation in exponential coordinates", J. Math. Imaging Vis. 51 (2015).
    """
    turns, one = cameras[:, :3], np.eye(3)
    R = rotations(np, turns)
    crosses = turns @ SKEW.reshape(3, 9)
    rest = np.cross(turns[:, None, :], (one - R).transpose(0, 2, 1)) @ SKEW.reshape(3, 9)
    by_turn = (turns[:, :, None] * crosses[:, None, :] + rest).reshape(-1, 3, 3, 3)
    by_turn = by_turn / (turns**2).sum(axis=1)[:, None, None, None] @ R[:, None]
    each, X = sight.camera, points[sight.point]
    P = np.einsum("nij,nj->ni", R[each], X) + cameras[each, 3:6]
    p, (f, k1, k2) = -P[:, :2] / P[:, 2:], cameras[each, 6:].T
    n = (p**2).sum(axis=1)
    s = 1 + k1 * n + k2 * n**2
    by_p = (f * s)[:, None, None] * np.eye(2)
    by_p += (2 * f * (k1 + 2 * k2 * n))[:, None, None] * p[:, :, None] * p[:, None, :]
    A = by_p @ (np.concatenate([np.tile(-np.eye(2), (len(p), 1, 1)), -p[:, :, None]], axis=2))
    A /= P[:, 2, None, None]
    in_turn = np.einsum("nai,nkij,nj->nak", A, by_turn[each], X, optimize=True)
    in_lens = p[:, :, None] * np.stack([s, f * n, f * n**2], axis=1)[:, None, :]
    in_camera = np.concatenate([in_turn, A, in_lens], axis=2)
    return read_blocks(sight, len(cameras), len(points), [in_camera, A @ R[each]])


# --- the problem --------------------------------------------------------------------------


def problem(cameras: int, points: int, observations: int) -> Problem:
    """Dense Jacobians are not asked for: that in the points alone would take 4.8 GB."""
    sight, values = (
        sight_of(cameras, points, observations),
        values_of(cameras, points, observations),
    )
    build = partial(graph_of, sight, cameras, points)
    task = by.Task(build, partial(function, sight), values, ["cameras", "points"])
    read = partial(read_blocks, sight, cameras, points)

    def gathered(of_cameras: Any, of_points: Any) -> Sequence[Any]:
        return of_cameras[sight.camera], of_points[sight.point]

    given = [values["cameras"], values["points"]]
    each = by.Mapped(of_one, given, [0, 0], (0, 1), read, gathered)
    by_hand = partial(bundle_by_hand.by_hand, patterns(sight, cameras, points), sight)
    engine = bundle_engines.with_sparsediffpy(sight, values)
    casadi = partial(bundle_engines.mapped_by_casadi, sight, given)
    return Problem(
        "P11",
        f"{cameras} cameras, {points:,} points, {observations:,} observations",
        lambda: plain(sight, *given),
        [
            Contender(HAND, lambda: by_hand(*given)),
            *by.ours(task),
            by.jax_mapped(each, "jacrev"),
            by.torch_mapped(each, "jacrev"),
            by.sparsejac(task, "jacfwd", lambda: plain(sight, *given)),
            by.asdex(task),
            Contender("CasADi", casadi, read, ("casadi",)),
            by.sparsediffpy(task, engine, ["cameras", "points"]),
        ],
        target=1.25,
    )


def problems() -> Iterator[Problem]:
    yield problem(50, 5_000, 20_000)


def small() -> Iterator[Problem]:
    yield problem(3, 5, 12)


def growth() -> Growth:
    """Four observations of each point, 24 nonzeros each."""
    return Growth(
        "P11",
        "nonzeros",
        [60, 600, 6_000, 60_000],
        lambda n: problem(max(2, n // 400), n // 4, n),
        lambda n: 24 * n,
    )
