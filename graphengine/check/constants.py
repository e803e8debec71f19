"""Numbers that a factor may be: constants people forget, sizes, and scalars of the graph."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from graphengine.run import Run

__all__ = ["Factor", "named_factor"]

CLOSE = 1e-6
"""Relative distance within which two numbers count as the same."""

_KNOWN = {
    "2": 2.0,
    "1/2": 0.5,
    "3": 3.0,
    "1/3": 1 / 3,
    "4": 4.0,
    "1/4": 0.25,
    "pi": math.pi,
    "2 pi": 2 * math.pi,
    "pi/180 (degrees for radians)": math.pi / 180,
    "180/pi (radians for degrees)": 180 / math.pi,
    "log(2)": math.log(2),
    "1/log(2)": 1 / math.log(2),
    "log(10)": math.log(10),
    "1/log(10)": 1 / math.log(10),
    "10": 10.0,
    "1/10": 0.1,
    "100": 100.0,
    "1/100": 0.01,
    "1000": 1000.0,
    "1/1000": 0.001,
}


class Factor(NamedTuple):
    """What a factor is: the kind of mistake, its name, and whether it has a minus besides."""

    kind: str
    text: str
    minus: bool = False


def named_factor(scales: Sequence[float], runs: Sequence[Run]) -> Factor | None:
    """What a factor with these values at these points is; None where it has no meaning.

    A factor that follows a size of the graph, or a scalar node's value, is named after it; one
    that is the same everywhere by its number.

    >>> named_factor([2.0, 2.0], []).text
    '2'
    """
    found = np.asarray(scales)
    if not np.isfinite(found).all() or np.any(found == 0):
        return None
    if _same(found, -np.ones(len(found))):
        return Factor("sign", "-1")
    constant = _same(found, np.full(len(found), found[0]))
    if _same(found, np.ones(len(found))):  # no size and no node: a number that is off
        return Factor("factor", f"{found[0]:.9g}") if len(found) > 1 else None
    if constant:
        known = [text for text, value in _KNOWN.items() if abs(abs(found[0]) / value - 1) < CLOSE]
        if known:
            return Factor("factor", known[0], bool(found[0] < 0))
    for factor, values in _of_graph(runs):
        if _same(found, values):
            return factor
        if _same(found, -values):
            return factor._replace(minus=True)
    if constant and len(found) > 1:
        return Factor("factor", f"{found[0]:.6g}")
    return None


def _same(one: np.ndarray[tuple[int], np.dtype[np.float64]], two: object) -> bool:
    return bool(np.allclose(one, np.asarray(two), rtol=CLOSE, atol=0.0))


def _of_graph(
    runs: Sequence[Run],
) -> Iterator[tuple[Factor, np.ndarray[tuple[int], np.dtype[np.float64]]]]:
    """Sizes and scalar nodes, their inverses, squares and roots."""
    if not runs:
        return
    graphs = [run.graph for run in runs]
    for k, node in enumerate(graphs[0].nodes):
        for axis, _ in enumerate(node.shape):
            try:
                sizes = np.array([graph.nodes[k].shape[axis] for graph in graphs], dtype=float)
            except IndexError:
                continue
            name = f"the size {graphs[0].nodes[k].shape[axis]} of axis {axis} of {node.name}"
            yield Factor("not_averaged", name), sizes
            yield Factor("mean_for_sum", f"1 over {name}"), 1 / sizes
            if np.all(sizes > 1):  # the two ways to divide in a variance
                yield Factor("factor", f"n/(n − 1), n being {name}"), sizes / (sizes - 1)
                yield Factor("factor", f"(n − 1)/n, n being {name}"), (sizes - 1) / sizes
        totals = np.array([graph.nodes[k].size for graph in graphs], dtype=float)
        name = f"the {graphs[0].nodes[k].size} entries of {node.name}"
        yield Factor("mean_for_sum", f"1 over {name}"), 1 / totals
    for node in graphs[0].named.values():
        if node.size == 1:
            values = np.array([float(run.value(node.name).reshape(())) for run in runs])
            if np.any(values == 0):
                continue
            size = np.abs(values)
            yield Factor("factor", node.name), values
            yield Factor("factor", f"1/{node.name}"), 1 / values
            yield Factor("factor", f"{node.name}²"), values**2
            yield Factor("factor", f"1/{node.name}²"), 1 / values**2
            yield Factor("factor", f"sqrt({node.name})"), np.sqrt(size)
            yield Factor("factor", f"1/sqrt({node.name})"), 1 / np.sqrt(size)
