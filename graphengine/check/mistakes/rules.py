"""Mistakes with the rules of differentiation: powers, quotients, sums, one function in another
(catalogue C, D).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    Way,
    called,
    composed,
    mistake,
    on_the_way,
    slopes,
)
from graphengine.check.mistakes.slopes import entrywise
from graphengine.graph import Node
from graphengine.jacobian import Jacobian, term
from graphengine.ops.base import Array


@mistake
def power_rule(link: Link) -> Iterator[Mutant]:
    """Row 48: the exponent not lowered, or the base and the exponent confused."""
    if link.op is None or link.op.name != "power" or link.place != 0 or not link.alike:
        return
    x, p = link.args
    cases: Mapping[str, Callable[[], Array]] = {
        "the exponent is not lowered": lambda: p * x**p,
        "the exponent is lowered twice": lambda: p * x ** (p - 2),
        "the power itself, not differentiated": lambda: x**p,
        "as if of an exponential": lambda: link.out * np.log(np.abs(x)),
    }
    for name, weights in cases.items():
        says = f"the power rule at {link.told}: {name}"
        yield link.mutant(name, "wrong_slope", says, slopes(link, weights), rank=2)


@mistake
def row_of_logarithms(link: Link) -> Iterator[Mutant]:
    """Row 55: of a sum of logarithms, the derivative without the weights or not differentiated."""
    x = link.run.value(link.parent)
    if link.child.size != 1 or not link.child.named or x.size < 2 or np.any(x <= 0):
        return
    cases: Mapping[str, tuple[str, Callable[[], Array]]] = {
        "−1/x for every entry": ("missing_jacobian", lambda: -1 / x),
        "1/x for every entry": ("missing_jacobian", lambda: 1 / x),
        "−log x, not differentiated": ("wrong_slope", lambda: -np.log(x)),
        "log x, not differentiated": ("wrong_slope", lambda: np.log(x)),
    }
    for name, (kind, gradient) in cases.items():
        says = f"{name}, for the derivative at {link.told}"

        def made(gradient: Callable[[], Array] = gradient) -> Jacobian:
            return Jacobian.of(gradient().reshape(1, -1), link.child.shape, link.parent.shape)

        yield link.mutant(("row", name), kind, says, made, rank=5)


@mistake
def quadratic(link: Link) -> Iterator[Mutant]:
    """Row 48 for a sum of squares: as if of a norm, not differentiated, averaged."""
    x = link.run.value(link.parent)
    if link.child.size != 1 or x.size < 2 or not np.any(x):
        return
    row = link.csr.toarray().reshape(x.shape)
    scale = float(np.sum(row * x) / np.sum(x * x))
    if scale == 0 or not np.allclose(row, scale * x, rtol=1e-9):
        return
    norm = float(np.sqrt(np.sum(x * x)))
    half = scale / 2
    cases: Mapping[str, tuple[str, Callable[[], Array]]] = {
        "the absolute values": ("sign", lambda: scale * np.abs(x)),
        "divided by the norm, as if of the norm": ("wrong_slope", lambda: half * x / norm),
        "times the norm": ("wrong_slope", lambda: scale * x * norm),
        "half of it, times the norm": ("wrong_slope", lambda: half * x * norm),
        "the norm for every entry": ("missing_jacobian", lambda: scale * norm * np.ones(x.shape)),
        "the squares, not differentiated": ("wrong_slope", lambda: half * x**2),
        "the number 2 for every entry": ("missing_jacobian", lambda: scale * np.ones(x.shape)),
        "the sign": ("wrong_slope", lambda: half * np.sign(x)),
        "a mean in place of the sum": ("mean_for_sum", lambda: scale * x / x.size),
    }
    for name, (kind, gradient) in cases.items():
        says = f"{name}, for the gradient of the sum of squares at {link.told}"

        def made(gradient: Callable[[], Array] = gradient) -> Jacobian:
            return Jacobian.of(gradient().reshape(1, -1), link.child.shape, link.parent.shape)

        yield link.mutant(name, kind, says, made, rank=4)


@mistake
def quotient_rule(link: Link) -> Iterator[Mutant]:
    """Row 48: the derivative of a quotient in its denominator."""
    if link.op is None or link.op.name != "divide":
        return
    x, y = link.args
    cases: Mapping[str, Callable[[], Array]] = {}
    constant = not isinstance(link.given[1], Node) or link.given[1].role == "constant"
    if link.place == 0:
        cases = {"the denominator for one over it": lambda: y + 0 * x}
    if link.place == 0 and not constant:
        cases = {
            **cases,
            "one over the square of the denominator": lambda: 1 / y**2 + 0 * x,
            "minus one over the square of the denominator": lambda: -1 / y**2 + 0 * x,
        }
    if link.place == 1:
        cases = {
            "as if multiplied": lambda: x + 0 * y,
            "as if multiplied, with the minus": lambda: -x + 0 * y,
            "the denominator is not squared": lambda: -x / y,
            "the quotient itself": lambda: x / y,
            "the numerator is left out": lambda: -1 / y**2 + 0 * x,
            "not differentiated": lambda: np.ones(link.child.shape),
            "the denominator is cubed": lambda: -x / y**3,
            "differentiated twice": lambda: -2 * x / y**3,
            "integrated": lambda: x * np.log(np.abs(y)),
        }
    for name, weights in cases.items():
        says = f"the quotient rule at {link.told}: {name}"

        def made(weights: Callable[[], Array] = weights) -> Jacobian:
            rule = term("... <- ...", (np.asarray(weights()), "...", ""))
            return Jacobian.of(rule, link.child.shape, link.parent.shape)

        kind = "missing_jacobian" if name.startswith("as if") else "wrong_slope"
        kind = "factor" if link.place == 0 and constant else kind
        yield link.mutant(name, kind, says, made, rank=3)


@mistake
def exponent_rule(link: Link) -> Iterator[Mutant]:
    """Row 48: the derivative of a power in its exponent."""
    if link.op is None or link.op.name != "power" or link.place != 1:
        return
    x, n = link.args
    cases: Mapping[str, tuple[tuple[str, ...], Callable[[], Array]]] = {
        "as if of the base": (("swapped_arguments", "wrong_slope"), lambda: n * x ** (n - 1)),
        "the logarithm of the base is left out": (
            ("missing_jacobian", "factor", "wrong_slope"),
            lambda: link.out,
        ),
        "the logarithm of the exponent": (("wrong_argument",), lambda: link.out * np.log(n)),
        "the logarithm alone": (("missing_jacobian",), lambda: np.log(x) + 0 * n),
    }
    for name, (kinds, weights) in cases.items():
        says = f"the derivative of a power in its exponent at {link.told}: {name}"

        def made(weights: Callable[[], Array] = weights) -> Jacobian:
            rule = term("... <- ...", (np.asarray(weights()), "...", ""))
            return Jacobian.of(rule, link.child.shape, link.parent.shape)

        for kind in kinds:
            yield link.mutant(name, kind, says, made, rank=3)


@mistake
def not_one(link: Link) -> Iterator[Mutant]:
    """The derivative of a sum taken for that of a product: a value where a 1 belongs."""
    if link.op is None or link.op.name not in {"add", "subtract"} or len(link.args) != 2:
        return
    for k in (0, 1):
        given = link.given[k]
        if isinstance(given, Node):
            says = f"{called(given)} in place of 1, as if of a product, at {link.told}"

            def made(k: int = k) -> Jacobian:
                value = np.broadcast_to(link.args[k], link.child.shape)
                rule = term("... <- ...", (value, "...", ""))
                return Jacobian.of(rule, link.child.shape, link.parent.shape)

            yield link.mutant(("value", k), "wrong_slope", says, made, rank=4)


@on_the_way
def slope_of_a_slope(way: Way) -> Iterator[Mutant]:
    """Row 25: ``f'(g'(x))`` for ``f'(g(x)) g'(x)``."""
    for outer, inner in _steps(way):
        if not (entrywise(outer) and entrywise(inner)) or outer.op is None or inner.op is None:
            continue
        if len(outer.args) == 1:
            both = composed(outer, inner)
            made = slopes(both, partial(_slopes_at_slopes, outer, inner))
            says = (
                f"the derivative of {outer.op.name} is taken at the derivative of "
                f"{inner.op.name}, at {outer.told}"
            )
            yield both.mutant("nested", "wrong_argument", says, made, where=outer.where, rank=4)


@on_the_way
def slope_at_the_weights(way: Way) -> Iterator[Mutant]:
    """Row 38: ``W * f'(W)`` for ``W diag(f'(a))``: the slope taken at the weights after it."""
    for outer, inner in _steps(way):
        if outer.op is None or outer.op.name not in {"matmul", "matvec"} or outer.place is None:
            continue
        weights = outer.given[1 - outer.place]
        if inner.op is None or inner.op.family != "activations" or len(inner.args) > 1:
            continue
        if isinstance(weights, Node) and len(weights.shape) == 2:
            both = composed(outer, inner)
            made = partial(_weighed, outer, inner)
            says = f"the slope at {inner.told} is taken at the weights {called(weights)}"
            yield both.mutant("weighed", "wrong_argument", says, made, where=inner.where, rank=4)


def _steps(way: Way) -> Iterator[tuple[Link, Link]]:
    """Two steps one after the other."""
    for node in way.inside:
        for outer in way.edges[node]:
            for inner in way.edges[outer.parent]:
                if inner.parent in way.reached:
                    yield outer, inner


def _slopes_at_slopes(outer: Link, inner: Link) -> Array:
    return _slope(outer, inner.jacobian.pull(np.ones(inner.child.shape)))


def _slope(link: Link, x: Array) -> Array:
    """The slope of a link's function at other values."""
    assert link.op is not None
    return link.op.jacobian(0, link.op.value(x), [x]).pull(np.ones(x.shape))


def _weighed(outer: Link, inner: Link) -> Jacobian:
    assert outer.place is not None
    args = list(outer.args)
    weights = args[1 - outer.place]
    args[1 - outer.place] = weights * _slope(inner, weights)
    return outer.rule(outer.out, args)
