"""Mistakes in the slope of one function: another's, a power's, one side only (catalogue D)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from graphengine.check.mistakes.base import (
    Link,
    Mutant,
    also_composite,
    columns_times,
    diagonal,
    mistake,
    rows_times,
    slopes,
)
from graphengine.graph import Node
from graphengine.jacobian import Jacobian, term
from graphengine.ops import OPS
from graphengine.ops.base import Array, Elementwise

Slope = Callable[[Array, Array], Array]

_SLOPES: Mapping[str, Slope] = {
    "f(x), the function itself": lambda out, x: out,
    "x": lambda out, x: x,
    "1 - f(x)": lambda out, x: 1 - out,
    "f(x) (1 - f(x))": lambda out, x: out * (1 - out),
    "f(x) (1 + f(x))": lambda out, x: out * (1 + out),
    "1 - f(x)²": lambda out, x: 1 - out**2,
    "1 + f(x)²": lambda out, x: 1 + out**2,
    "1 - x²": lambda out, x: 1 - x**2,
    "x (1 - x)": lambda out, x: x * (1 - x),
    "f(x)²": lambda out, x: out**2,
    "−f(x)², as of 1/x": lambda out, x: -(out**2),
    "1 / f(x)": lambda out, x: 1 / out,
    "−1 / f(x)": lambda out, x: -1 / out,
    "1 / x²": lambda out, x: 1 / x**2,
    "1 / (2 x)": lambda out, x: 0.5 / x,
    "x²": lambda out, x: x**2,
    "1 where x > 0": lambda out, x: np.where(x > 0, 1.0, 0.0),
    "1 where x > 0, else 0.01": lambda out, x: np.where(x > 0, 1.0, 0.01),
    "1 where x > 0, else 0.1": lambda out, x: np.where(x > 0, 1.0, 0.1),
    "1 where x < 0": lambda out, x: np.where(x < 0, 1.0, 0.0),
    "sign(x)": lambda out, x: np.sign(x),
}
"""Slopes that people write for another function's, in terms of the value and the argument."""

_OWN: Mapping[str, Mapping[str, Slope]] = {
    "exp": {
        "x exp(x − 1), as if of a power": lambda out, x: x * np.exp(x - 1),
        "x exp(x)": lambda out, x: x * out,
    },
    "log": {"log(x)/x": lambda out, x: out / x},
    "sqrt": {
        "sqrt(x) / 2": lambda out, x: 0.5 * out,
        "2 sqrt(x)": lambda out, x: 2 * out,
    },
    "sigmoid": {"the slope's root sqrt(f (1 − f))": lambda out, x: np.sqrt(out * (1 - out))},
    "softplus": {
        "σ(−x)": lambda out, x: 1 / (1 + np.exp(x)),
        "1 − σ(x), negated": lambda out, x: -1 / (1 + np.exp(x)),
        "σ(x)(1 − σ(x))": lambda out, x: 1 / (1 + np.exp(-x)) / (1 + np.exp(x)),
    },
    "swish": {
        "σ(x)": lambda out, x: 1 / (1 + np.exp(-x)),
        "x σ(x)(1 − σ(x))": lambda out, x: x / (1 + np.exp(-x)) / (1 + np.exp(x)),
        "σ(x)(1 − σ(x))": lambda out, x: 1 / (1 + np.exp(-x)) / (1 + np.exp(x)),
        "σ(x) + x x (1 − x)": lambda out, x: 1 / (1 + np.exp(-x)) + x * x * (1 - x),
        "σ(x) − x σ(x)(1 − σ(x)), with a wrong sign": lambda out, x: (
            1 / (1 + np.exp(-x)) - x / (1 + np.exp(-x)) / (1 + np.exp(x))
        ),
        "σ(x) + f (1 − f)": lambda out, x: 1 / (1 + np.exp(-x)) + out * (1 - out),
    },
    "sin": {"cos(x), with f in place of x": lambda out, x: np.cos(out)},
    "elu": {
        "1 where x > 0, else exp(x)": lambda out, x: np.where(x > 0, 1.0, np.exp(x)),
        "1 where x > 0, else f(x)": lambda out, x: np.where(x > 0, 1.0, out),
        "1 where x > 0, else exp(x) − 1": lambda out, x: np.where(x > 0, 1.0, np.expm1(x)),
        "1 where x > 0, else as if of a power": lambda out, x: np.where(
            x > 0, 1.0, out / np.expm1(x) * x * np.exp(x - 1)
        ),
    },
    "abs": {"1": lambda out, x: np.ones(x.shape)},
}

_ACTIVATIONS = (
    "tanh",
    "sigmoid",
    "softplus",
    "swish",
    "relu",
    "gelu",
    "elu",
    "sin",
    "cos",
    "exp",
    "log",
    "square",
    "sqrt",
    "reciprocal",
    "arctan",
    "sinh",
    "cosh",
    "expm1",
    "log1p",
)


@mistake
def wrong_slope(link: Link) -> Iterator[Mutant]:
    """Rows 37, 39, 42, 48: another function's derivative."""
    if not entrywise(link) and not (link.alike and link.child.shape and link.op is None):
        return
    own = link.op.name if link.op is not None else ""
    x, out = link.run.value(link.parent), link.out
    unlikely = 3 if link.op is not None and link.op.family == "arithmetic" else 0
    not_own = f"is not that of {own or link.child.formula}"
    for name, slope in _SLOPES.items():
        if name not in _OWN.get(own, ()):
            says = f"the slope {name} at {link.told} {not_own}"
            made = slopes(link, partial(slope, out, x))
            rank = (5 if name.startswith("−") else 4) + unlikely
            yield link.mutant(name, "wrong_slope", says, made, rank=rank)
            if name.startswith("−f(x)²"):  # the inner derivative is left out
                yield link.mutant(name, "missing_jacobian", says, made, rank=rank)
    for other in _ACTIVATIONS:
        if other != own:
            says = f"the derivative of {other} in place of that of {own or 'this'} at {link.told}"
            made = slopes(link, partial(_slope_of, other, x))
            yield link.mutant(("of", other), "wrong_slope", says, made, rank=3 + unlikely)
    if x.ndim:
        says = f"the Jacobian of a softmax in place of the slopes at {link.told}"
        softmax = OPS["softmax"]()
        yield link.mutant(
            "softmax", "wrong_slope", says, lambda: softmax.jacobian(0, out, [x]), rank=4
        )
        labels = "abcdefgh"[: x.ndim]
        pair = term(f"{labels} <- {labels[:-1]}z", (out, labels, ""), (out, labels[:-1] + "z", ""))
        says = f"− f fᵀ, without the diagonal, for the Jacobian of {link.told}"
        shape = link.child.shape
        yield link.mutant(
            "pairs", "missing_path", says, lambda: -Jacobian.of(pair, shape, shape), rank=5
        )


@also_composite
@mistake
def own_slope(link: Link) -> Iterator[Mutant]:
    """Rows 39, 48: what people get wrong in the slope of one function."""
    if link.op is None or link.place != 0 or not link.alike or link.op.name not in _OWN:
        return
    for name, slope in _OWN[link.op.name].items():
        says = f"the slope {name} at {link.told} is not that of {link.op.name}"
        made = slopes(link, partial(slope, link.out, link.args[0]))
        yield link.mutant(name, "wrong_slope", says, made, rank=3)


def _slope_of(name: str, x: Array) -> Array:
    """The slopes of an op of one entry."""
    op = OPS[name]()
    return op.jacobian(0, op.value(x), [x]).pull(np.ones(x.shape))


def entrywise(link: Link) -> bool:
    """Whether the link is a function of each entry, with numbers for other arguments."""
    if not link.alike:
        return False
    if link.op is None:
        terms = link.jacobian.terms
        return bool(terms) and all(diagonal(part) for part in terms)
    if link.op.name == "softmax":
        return True
    nodes = sum(isinstance(arg, Node) for arg in link.given)
    return isinstance(link.op, Elementwise) and (nodes == 1 or link.op.name == "prelu")


@mistake
def one_side(link: Link) -> Iterator[Mutant]:
    """Rows 7, 42: the slope right on one side of 0 only, or with the sign of the argument."""
    x = link.run.value(link.parent)
    cases: Mapping[str, tuple[str, str, Callable[[], Array]]] = {
        "times": ("wrong_slope", "the argument itself as a factor too much", lambda: x),
    }
    if link.alike and (entrywise(link) or isinstance(link.op, Elementwise)):
        cases = {
            **cases,
            "sign": ("sign", "the absolute value in place of the value", lambda: np.sign(x)),
            "above": ("one_sided_mask", "nothing where the argument is negative", lambda: x > 0),
            "below": ("one_sided_mask", "nothing where the argument is positive", lambda: x < 0),
            "by out": ("double_counted", "the value itself as a factor too much", lambda: link.out),
        }
    for name, (kind, told, mask) in cases.items():
        made = columns_times(link, mask)
        masks = name in {"sign", "above"}
        yield link.mutant(name, kind, f"{told} at {link.told}", made, rank=5, by_sign=masks)


@mistake
def slope_of_nothing(link: Link) -> Iterator[Mutant]:
    """Row 39: the slope of an activation where the graph has none."""
    if link.op is None or link.op.name not in {"add", "matmul", "matvec"} or not link.child.named:
        return
    out = link.out
    cases: Mapping[str, Callable[[], Array]] = {
        "a sigmoid": lambda: out * (1 - out),
        "a tanh": lambda: 1 - out**2,
        "a ReLU": lambda: out > 0,
    }
    for name, weights in cases.items():
        made = rows_times(link, weights)
        says = f"the slope of {name} at {link.told}, where the graph has no activation"
        yield link.mutant(("none", name), "wrong_slope", says, made, rank=5)


@mistake
def learnt_slope(link: Link) -> Iterator[Mutant]:
    """A leaky ReLU: the slope of the negative side elsewhere, negated, or another number."""
    if link.op is None or link.op.name not in {"prelu", "leaky_relu"}:
        return
    x = link.args[0]
    slope = link.args[1] if len(link.args) > 1 else np.asarray(getattr(link.op, "slope", 0.0))
    if link.place == 0:
        cases: Mapping[str, tuple[str, Callable[[], Array]]] = {
            "the two sides exchanged": ("wrong_slope", lambda: np.where(x > 0, slope, 1.0)),
            "the negative side with the wrong sign": (
                "sign",
                lambda: np.where(x > 0, 1.0, -slope),
            ),
            "0.01 on the negative side": ("wrong_slope", lambda: np.where(x > 0, 1.0, 0.01)),
            "the argument on the negative side": (
                "swapped_arguments",
                lambda: np.where(x > 0, 0.0, x),
            ),
        }
    else:
        cases = {
            "the argument everywhere": ("one_sided_mask", lambda: x + 0 * slope),
            "the argument on the positive side": (
                "one_sided_mask",
                lambda: np.maximum(x, 0.0) + 0 * slope,
            ),
            "1 on the negative side": ("missing_jacobian", lambda: (x < 0) + 0 * slope),
        }
    for name, (kind, weights) in cases.items():
        says = f"{name}, for the derivative at {link.told}"

        def made(weights: Callable[[], Array] = weights) -> Jacobian:
            rule = term("... <- ...", (np.asarray(weights(), dtype=float), "...", ""))
            return Jacobian.of(rule, link.child.shape, link.parent.shape)

        yield link.mutant(name, kind, says, made, rank=3)


@mistake
def one_sided_mask(link: Link) -> Iterator[Mutant]:
    """Row 42 and clip: only one side of a mask."""
    if link.op is None or link.op.name != "clip" or link.place != 0 or not link.alike:
        return
    x, low, high = link.args
    cases: Mapping[str, Callable[[], Array]] = {
        "the upper bound is forgotten": lambda: np.where(x >= low, 1.0, 0.0),
        "the lower bound is forgotten": lambda: np.where(x <= high, 1.0, 0.0),
    }
    for name, weights in cases.items():
        says = f"a one-sided mask at {link.told}: {name}"
        yield link.mutant(name, "one_sided_mask", says, slopes(link, weights), rank=1)
