"""P11 by hand: observations sorted by camera, so that a camera's numbers need no copies.

Each number of an observation is an array over a group of cameras, with a row for each camera.  A
product of small matrices for each camera ends it: it takes the derivatives back to the rotation
and to the point, and turns arrays of numbers into rows of numbers, which are put in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any

GROUP = 10
"""Cameras at a time: few calls, and what is between fits into the cache, by trying."""


def turned(cameras: Array, R: Array, L: Array) -> None:
    """Fill rotations ``R`` and ``L`` with ``∂(R x)/∂r = −[R x]ₓ L`` for rotation vectors ``r``.

    Both are ``a 1 + b [r]ₓ + c r rᵀ``; the nine entries come first.  See J. Solà, J. Deray,
    D. Atchuthan, "A micro Lie theory for state estimation in robotics" (arXiv:1812.01537), (145).
    """
    x, y, z = r = cameras[:, :3].T
    square = x * x + y * y + z * z
    angle = np.sqrt(square)
    cos, first = np.cos(angle), np.sin(angle) / angle
    second = (1 - cos) / square
    xx, yy, zz = r * r
    xy, xz, yz = x * y, x * z, y * z
    for M, a, b, c in ((R, cos, first, second), (L, first, second, (1 - first) / square)):
        M[0], M[4], M[8] = a + c * xx, a + c * yy, a + c * zz
        for upper, lower, even, odd in ((1, 3, xy, z), (6, 2, xz, y), (5, 7, yz, x)):
            even, odd = c * even, b * odd  # noqa: PLW2901 (one line for each pair of entries)
            M[upper], M[lower] = even - odd, even + odd


def by_hand(patterns: Sequence[Any], sight: Any, cameras: Array, points: Array) -> Any:
    """The call that fills both matrices."""
    C, N = len(cameras), len(sight.camera)
    counts = np.bincount(sight.camera, minlength=C)
    M = int(counts.max())
    order = np.argsort(sight.camera, kind="stable")
    slot = np.empty(N, dtype=np.intp)
    slot[order] = np.arange(N) - np.repeat(np.cumsum(counts) - counts, counts)
    place = sight.camera * M + slot  # where an observation stands among the rows of all cameras
    which = np.zeros((C, M), dtype=np.intp)
    which[sight.camera, slot] = sight.point

    numbers, coordinates = np.empty((24, C)), np.empty((3, len(points)))
    to_camera, to_point = np.zeros((C, 9, 2, 2, 9)), np.zeros((C, 3, 2, 2, 3))
    for row in (0, 1):
        to_camera[:, range(3, 9), row, row, range(3, 9)] = 1.0
    rows_camera, rows_point = np.empty((C * M, 18)), np.empty((C * M, 6))
    steps = []
    for start in range(0, C, GROUP):
        some = slice(start, min(start + GROUP, C))
        steps.append(
            _step(
                which[some],
                coordinates,
                numbers[:, some, None],
                (to_camera.reshape(C, 18, 18)[some], to_point.reshape(C, 6, 6)[some]),
                (rows_camera.reshape(C, M, 18)[some], rows_point.reshape(C, M, 6)[some]),
            )
        )
    in_camera, in_point = patterns[0].data.reshape(N, 18), patterns[1].data.reshape(N, 6)
    R, L = numbers[:9], numbers[9:18]

    def call() -> Sequence[Any]:
        turned(cameras, R, L)
        numbers[18:] = cameras[:, 3:].T
        np.copyto(coordinates, points.T)
        of_R, of_L = R.T.reshape(C, 3, 3), L.T.reshape(C, 3, 3)
        for row in (0, 1):
            to_camera[:, :3, row, row, :3] = of_L
            to_point[:, :, row, row] = of_R
        # With a buffer longer than a row NumPy copies the factors into it first.
        before = np.setbufsize(64)
        for step in steps:
            step()
        np.setbufsize(before)
        np.take(rows_camera, place, axis=0, out=in_camera, mode="clip")
        np.take(rows_point, place, axis=0, out=in_point, mode="clip")
        return patterns

    return call


def _step(
    which: Array, coordinates: Array, numbers: Array, ends: Sequence[Array], out: Sequence[Array]
) -> Callable[[], None]:
    """The observations of some cameras, as arrays with a row for each camera."""
    shape = which.shape
    mul, add, sub = np.multiply, np.add, np.subtract
    X = np.empty((3, *shape))
    x0, x1, x2 = X
    y0, y1, y2, depth, n, s, h, w = np.empty((8, *shape))
    p, q, v = np.empty((3, 2, *shape))
    S = np.empty((9, 2, *shape))  # in the rotated point, in the shift, in the lens; both rows
    e0, e1, e2, a, b, c, d_f, d_k1, d_k2 = S
    p0, p1 = p
    R, (t0, t1, t2, f, k1, k2) = numbers[:9], numbers[18:]
    sides = [S.reshape(18, *shape).transpose(1, 2, 0), S[3:6].reshape(6, *shape).transpose(1, 2, 0)]

    def step() -> None:
        np.take(coordinates, which, axis=1, out=X, mode="clip")
        for i, y in enumerate((y0, y1, y2)):
            mul(R[3 * i], x0, y)
            add(y, mul(R[3 * i + 1], x1, w), y)
            add(y, mul(R[3 * i + 2], x2, w), y)
        add(y0, t0, p0)
        add(y1, t1, p1)
        np.divide(-1.0, add(y2, t2, depth), depth)
        mul(p, depth, p)
        mul(p, p, q)
        add(q[0], q[1], n)
        mul(k2, n, h)
        add(h, k1, s)
        add(h, s, h)
        add(mul(s, n, s), 1, s)  # s = 1 + k₁ n + k₂ n²
        mul(h, mul(2 * f, depth, w), h)  # its derivative in n, twice, times f / depth
        mul(p, s, d_f)
        mul(p, mul(f, n, w), d_k1)
        mul(d_k1, n, d_k2)
        mul(s, mul(f, depth, w), s)
        mul(p, h, q)
        mul(q, p0, a)
        mul(q, p1, b)
        add(a[0], s, a[0])
        add(b[1], s, b[1])
        add(mul(a, p0, c), mul(b, p1, v), c)
        sub(mul(c, y1, e0), mul(b, y2, v), e0)
        sub(mul(a, y2, e1), mul(c, y0, v), e1)
        sub(mul(b, y0, e2), mul(a, y1, v), e2)
        for side, end, rows in zip(sides, ends, out, strict=True):
            np.matmul(side, end, out=rows)

    return step
