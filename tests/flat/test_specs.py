"""Every file in specs/, compiled: the same numbers as by the graph's run and by the lecture."""

from __future__ import annotations

import numpy as np
import pytest

from graphengine.check.points import points
from tests.lecture_specs import FOLDER, spec

from .programs import agrees

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])
def test_value_and_gradients(name: str, reuse: bool) -> None:
    """At a good point of the spec, with respect to all inputs and parameters."""
    found = spec(name)
    graph = found.graph
    rng = np.random.default_rng(0)
    run = points(found, rng, 1, claims=(), vary_sizes=False)[0].run
    starts = [node.name for node in graph.starts if node.value is None]
    values = {start: np.array(run.value(start)) for start in starts}
    agrees(graph, values, starts if graph.result_node.size == 1 else [], reuse=reuse)
