"""Values for one start node, by its kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from graphengine.errors import CheckError
from graphengine.graph import Node
from graphengine.ops.base import Array, Shape

__all__ = ["REGIMES", "Regime", "value"]


@dataclass(frozen=True)
class Regime:
    """How real numbers are drawn; later ones keep graphs with logarithms and roots finite."""

    scale: float = 1.0
    positive: bool = False


REGIMES = (
    Regime(),
    Regime(scale=0.4),
    Regime(positive=True),
    Regime(scale=0.4, positive=True),
    Regime(scale=0.1),
)


def _magnitudes(rng: np.random.Generator, shape: Shape) -> Array:
    """Between 0.3 and 2, and not near 1."""
    u = rng.uniform(0.0, 1.6, shape)
    return 0.3 + u + np.where(u > 0.6, 0.1, 0.0)


def _signs(rng: np.random.Generator, shape: Shape) -> Array:
    """−1 and 1, both of them where there are two entries."""
    size = math.prod(shape)
    signs = rng.choice([-1.0, 1.0], size)
    if size > 1:
        signs[:2] = [-1.0, 1.0]
    return rng.permutation(signs).reshape(shape)


def _real(rng: np.random.Generator, shape: Shape) -> Array:
    return _magnitudes(rng, shape) * _signs(rng, shape)


def _one_hot(rng: np.random.Generator, shape: Shape) -> Array:
    classes = shape[-1]
    return np.asarray(np.eye(classes)[_labels(rng, shape[:-1], classes)])


def _labels(
    rng: np.random.Generator, shape: Shape, classes: int
) -> np.ndarray[Shape, np.dtype[np.intp]]:
    """Every class as often as every other, as far as it goes, in random order."""
    size = math.prod(shape)
    if size == 1:
        return rng.integers(0, classes, shape)
    return rng.permutation((np.arange(size) + rng.integers(classes)) % classes).reshape(shape)


def _probability(rng: np.random.Generator, shape: Shape) -> Array:
    weights = _magnitudes(rng, shape)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _symmetric(rng: np.random.Generator, shape: Shape) -> Array:
    upper = np.triu(_real(rng, shape))
    return np.asarray(upper + np.swapaxes(np.triu(upper, 1), -1, -2))


def _positive_definite(rng: np.random.Generator, shape: Shape) -> Array:
    """Eigenvalues between 0.5 and 2.5 in random directions."""
    turned, _ = np.linalg.qr(rng.normal(size=shape))
    product = (
        turned * rng.uniform(0.5, 2.5, (*shape[:-2], 1, shape[-1])) @ np.swapaxes(turned, -1, -2)
    )
    return np.asarray((product + np.swapaxes(product, -1, -2)) / 2)


_SAMPLERS: Mapping[str, Callable[[np.random.Generator, Shape], Array]] = {
    "real": _real,
    "positive": _magnitudes,
    "one_hot": _one_hot,
    "probability": _probability,
    "symmetric": _symmetric,
    "positive_definite": _positive_definite,
    "binary": lambda rng, shape: (_signs(rng, shape) + 1) / 2,
    "sign": _signs,
}
_LAST_AXIS = {"one_hot", "probability"}
_SQUARE = {"symmetric", "positive_definite"}


def value(node: Node, rng: np.random.Generator, regime: Regime, scale: float) -> Array:
    """A value of ``node``'s kind and shape; ``scale`` multiplies real numbers.

    Raises :class:`CheckError` for a kind that does not fit the shape.
    """
    shape = node.shape
    if node.kind in _LAST_AXIS and not (shape and shape[-1]):
        raise _unfit(node, "a last axis")
    if node.kind in _SQUARE and (len(shape) < 2 or shape[-1] != shape[-2]):
        raise _unfit(node, "two last axes of equal size")
    if node.kind == "label":
        return _labels(rng, shape, _classes(node)).astype(float)
    array = _SAMPLERS[node.kind](rng, shape)
    if node.kind == "real":
        array = array * (scale * regime.scale)
        return np.abs(array) if regime.positive else array
    return array


def _unfit(node: Node, expected: str) -> CheckError:
    return CheckError(
        f"node {node.name!r}",
        expected=f"{expected}, for kind {node.kind!r}",
        got=f"shape {node.shape}",
        hint="change the node's kind or its shape",
    )


def _classes(label: Node) -> int:
    """How many classes a label may name: what the ops that take it have room for."""
    same, bounds = {label}, []
    for node in label.graph.nodes[label.number + 1 :]:
        taken = [
            place for place, arg in enumerate(node.args) if isinstance(arg, Node) and arg in same
        ]
        if not taken or node.op is None:
            continue
        if hasattr(node.op, "classes"):
            bounds.append(int(node.op.classes))
        elif node.op.family == "rearrangement" and node.op.argument(taken[0]) not in node.op.fixed:
            same.add(node)
        elif any(node.op.argument(place) in node.op.fixed for place in taken):
            others = [arg.shape for place, arg in enumerate(node.args) if place not in taken]
            axis = getattr(node.op, "axis", -1)
            bounds += [shape[-1 if axis is None else axis] for shape in others if shape]
    return max(1, min(bounds, default=3))
