"""What problems are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphengine.graph import Graph

Array = NDArray[np.float64]


def numbers(seed: int, *shape: int) -> Array:
    """Numbers for a test."""
    return np.random.default_rng(seed).normal(size=shape)


def by_run(graph: Graph, values: dict[str, Any], of: str, wrt: list[str]) -> tuple[Array, Array]:
    """Value and Jacobian from the graph's own run."""
    run = graph.run({"K": np.eye(2), **values})
    blocks = [run.jacobian(of, name).toarray() for name in wrt]
    return run.value(of).ravel(), np.hstack(blocks)
