"""What people put in place of the value at which a derivative is taken (catalogue C, D)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from graphengine.check.mistakes.base import Link, called
from graphengine.errors import GraphEngineError
from graphengine.graph import Node
from graphengine.ops.activations import sigmoid
from graphengine.ops.base import Array, Elementwise
from graphengine.ops.losses import softmax
from graphengine.run import Run

__all__ = ["StandIn", "stand_ins"]

_PRODUCTS = {"matmul", "matvec", "dot", "outer", "multiply"}
NEAREST = 2
"""The rank of what stands next to the value."""


class StandIn(NamedTuple):
    """A value in place of an argument's, its name, how likely it is, and the node that has it."""

    name: str
    value: Array
    rank: int
    node: Node | None = None
    kind: str = "wrong_argument"
    which: object = None

    @property
    def key(self) -> object:
        """What it is called at every point."""
        return self.which or self.name


def stand_ins(link: Link, given: Node | Array, shape: tuple[int, ...]) -> Iterator[StandIn]:
    """Values that could be put in place of an argument's: their name, the nearest first.

    They are nodes of the same shape or the transposed one; the slope of an activation for its
    value; and an inner node computed again with its own argument replaced.
    """
    graph, run = link.child.graph, link.run
    near: list[Node] = []
    parents = given.parents if isinstance(given, Node) else ()
    if isinstance(given, Node):
        near = [link.child, *parents]
        near += [graph[name] for name in graph.dag.successors(given.name)]
    seen = {given} if isinstance(given, Node) else set()
    fixed = isinstance(given, Node) and given.role == "constant"
    for nodes, rank in ((near, NEAREST), (graph.named.values(), 6)):
        for node in nodes:
            fits = node.shape == shape or (len(shape) == 2 and node.shape == shape[::-1])
            fits |= node is link.parent and isinstance(link.op, Elementwise)
            fits |= rank == NEAREST and _spreads(node, shape) and node in parents
            if node not in seen and fits and (node.role == "constant") == fixed:
                seen.add(node)
                value = run.value(node)
                if value.shape != shape and value.shape == shape[::-1] and len(shape) == 2:
                    value = value.T
                elif value.shape != shape:
                    value = np.broadcast_to(value, np.broadcast_shapes(value.shape, shape))
                yield StandIn(called(node), value, rank, node)
    if isinstance(given, Node):
        if given.op is not None:
            yield from _altered(run, given)
        yield from _another_function(link, given)
        if link.op is not None and link.op.name in _PRODUCTS:
            yield from _multiplied(link, given)


def _altered(run: Run, given: Node) -> Iterator[StandIn]:
    """A computed argument with a sign changed, its slope, or computed from other values."""
    assert given.op is not None
    if given.op.name in {"add", "subtract"}:
        a, b = (run.value(one) if isinstance(one, Node) else one for one in given.args)
        other = a + b if given.op.name == "subtract" else a - b
        told = [called(one) for one in given.args]
        signed = (" + " if given.op.name == "subtract" else " - ").join(told)
        yield StandIn(signed, other, 3)
        for name, more in ((told[0], a), (told[1], b)):
            sign = -1 if given.op.name == "subtract" and more is b else 1
            twice = np.broadcast_to(run.value(given) + sign * more, given.shape)
            yield StandIn(f"{called(given)} with {name} twice", twice, 5)
    yield from _without_a_part(run, given)
    if given.op.family == "activations":
        value = run.value(given)
        yield StandIn(f"{given.name} (1 - {given.name})", value * (1 - value), 5)
        yield StandIn(f"1 - {given.name}²", 1 - value**2, 5)
        yield StandIn(f"{given.name} > 0", (value > 0) * 1.0, 5)
    if not given.named:
        yield from _computed_again(run, given)


def _spreads(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether a node's value is broadcast to ``shape``."""
    try:
        return np.broadcast_shapes(node.shape, shape) == shape
    except ValueError:
        return False


def _without_a_part(run: Run, given: Node) -> Iterator[StandIn]:
    """A sum of several with one of them left out or negated, a product with a factor left out."""
    value = run.value(given)
    for op, (inner, inverse) in _OF_PARTS.items():
        parts = list(_parts(given, inner, inverse))
        if given.op is None or given.op.name not in inner or len(parts) < 2:
            continue
        for number, (part, sign) in enumerate(parts):
            x, name = run.value(part), f"{called(given)} without {called(part)}"
            if op == "multiply":
                with np.errstate(all="ignore"):
                    left = value / x if sign > 0 else value * x
                yield StandIn(name, left, 4, which=("without", number))
            elif len(parts) > 2:
                told = f"{called(given)} with another sign of {called(part)}"
                yield StandIn(name, value - sign * x, 4, which=("without", number))
                yield StandIn(told, value - 2 * sign * x, 4, which=("negated", number))


_OF_PARTS = {
    "add": (("add", "subtract", "negative"), "subtract"),
    "multiply": (("multiply", "divide", "negative"), "divide"),
}


def _parts(node: Node, inner: tuple[str, ...], inverse: str, sign: int = 1) -> Iterator[Any]:
    """The terms of a sum with their signs, or the factors of a product with their exponents."""
    if node.op is None or node.op.name not in inner:
        yield node, sign
        return
    for place, arg in enumerate(node.args):
        turned = (node.op.name == inverse and place == 1) or (
            node.op.name == "negative" and inverse == "subtract"
        )
        if isinstance(arg, Node):
            deeper = arg.named and arg.op is not None
            if deeper:
                yield arg, -sign if turned else sign
            else:
                yield from _parts(arg, inner, inverse, -sign if turned else sign)


def _computed_again(run: Run, given: Node) -> Iterator[StandIn]:
    """An inner node with one argument replaced by what that one was made of, or left out."""
    values = [run.value(a) if isinstance(a, Node) else a for a in given.args]
    assert given.op is not None
    for k, arg in enumerate(given.args):
        if not isinstance(arg, Node):
            continue
        for other in arg.parents:
            if other.shape == arg.shape:
                args = [*values[:k], run.value(other), *values[k + 1 :]]
                name = f"{called(given)} with {other.name} for {called(arg)}"
                try:
                    yield StandIn(name, given.op.value(*args), 4)
                except GraphEngineError:  # an inverse that does not exist
                    continue


def _another_function(link: Link, given: Node) -> Iterator[StandIn]:
    """A function of the argument that the graph does not have there."""
    value, name = link.run.value(given), called(given)
    with np.errstate(all="ignore"):
        if link.op is not None and link.op.name in {"logsumexp", "softmax"}:
            yield StandIn(f"the softmax of {name}", softmax(value), 5)
        if link.op is None or link.op.name not in _PRODUCTS:
            return
        yield StandIn(f"sigmoid({name})", sigmoid(value), 6, which="sigmoid")
        yield StandIn(f"tanh({name})", np.tanh(value), 6, which="tanh")
        yield StandIn(f"sqrt({name})", np.sqrt(np.abs(value)), 6, kind="wrong_slope", which="root")
        yield StandIn(f"{name}²", value**2, 6, kind="wrong_slope", which="square")
        if value.ndim == 2 and value.shape[0] == value.shape[1]:
            try:
                yield StandIn(f"the inverse of {name}", np.linalg.inv(value), 5, which="inverse")
            except np.linalg.LinAlgError:
                return


def _multiplied(link: Link, given: Node) -> Iterator[StandIn]:
    """The argument, or what the product is, multiplied by a matrix of the product once more."""
    run, shape = link.run, given.shape
    matrices = [arg for arg in link.given if isinstance(arg, Node) and len(arg.shape) == 2]
    for matrix in matrices:
        M, name = run.value(matrix), called(matrix)
        for which, value in (("child", link.out), ("given", run.value(given))):
            what = called(link.child) if which == "child" else called(given)
            products = (
                (f"{name}ᵀ {what}", M.T, value),
                (f"{name} {what}", M, value),
                (f"{what} {name}", value, M),
                (f"{what} {name}ᵀ", value, M.T),
            )
            for number, (told, left, right) in enumerate(products):
                if left.ndim and right.ndim and left.shape[-1] == right.shape[0]:
                    product = left @ right
                    if product.shape == shape:
                        yield StandIn(told, product, 5, which=(which, matrix.number, number))
