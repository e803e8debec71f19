"""The specs of the worked examples, and their graphs at a point, for the tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphengine.run import Run
from graphengine.spec import Spec, load, load_values

Array = NDArray[np.float64]

FOLDER = Path(__file__).parent.parent / "specs"


@cache
def spec(name: str) -> Spec:
    """The spec of that name; loaded once."""
    return load(FOLDER / f"{name}.yaml")


def at(name: str, **values: Any) -> Run:
    """A spec's graph at its own point, with some values replaced."""
    found = spec(name)
    return found.graph.run({**found.values, **values})


def beside(name: str, values: str) -> dict[str, Array]:
    """Another point of a spec, from a file in the folder of data."""
    return load_values(FOLDER / "data" / f"{values}.yaml", spec(name))


def jacobian(run: Run, of: str, wrt: str) -> Array:
    """``∂of/∂vec(wrt)`` as a dense matrix, in numerator layout."""
    return np.asarray(run.jacobian(of, wrt).toarray())


def normals(seed: int, *shape: int) -> Array:
    """Numbers for a test."""
    return np.random.default_rng(seed).normal(size=shape)
