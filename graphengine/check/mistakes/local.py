"""Mistakes inside one rule: another function's slope, another value, a layout (catalogue B, D, F)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graphengine.check.mistakes.base import Change, Link, Mutant, finite, mistake
from graphengine.errors import GraphEngineError
from graphengine.graph import Node
from graphengine.jacobian import Jacobian, term
from graphengine.jacobian.terms import Factor, Term
from graphengine.ops import OPS
from graphengine.ops.base import Array, Elementwise
from graphengine.run import Run

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
    "1 / f(x)": lambda out, x: 1 / out,
    "1 / x²": lambda out, x: 1 / x**2,
    "x²": lambda out, x: x**2,
    "1 where x > 0": lambda out, x: np.where(x > 0, 1.0, 0.0),
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
        "1 / (2 x)": lambda out, x: 0.5 / x,
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
    },
    "sin": {"cos(x), with f in place of x": lambda out, x: np.cos(out)},
    "elu": {
        "1 where x > 0, else exp(x)": lambda out, x: np.where(x > 0, 1.0, np.exp(x)),
        "1 where x > 0, else f(x)": lambda out, x: np.where(x > 0, 1.0, out),
        "1 where x > 0, else exp(x) − 1": lambda out, x: np.where(x > 0, 1.0, np.expm1(x)),
    },
    "abs": {"1": lambda out, x: np.ones(x.shape)},
}

_ACTIVATIONS = ("tanh", "sigmoid", "softplus", "swish", "relu", "gelu", "elu", "sin", "cos", "exp")
_ACTIVATIONS += ("log", "square", "sqrt", "reciprocal", "arctan", "sinh", "cosh", "expm1", "log1p")


def _diagonal(link: Link, made: Callable[[], Array]) -> Callable[[], Jacobian]:
    shape = link.child.shape

    def jacobian() -> Jacobian:
        with np.errstate(all="ignore"):
            slopes = np.asarray(made(), dtype=float)
        return Jacobian.of(term("... <- ...", (slopes, "...", "")), shape, shape)

    return jacobian


@mistake
def wrong_slope(link: Link) -> Iterator[Mutant]:
    """Rows 37, 39, 42, 48: another function's derivative."""
    if not _entrywise(link):
        return
    own = link.op.name if link.op is not None else ""
    x, out = link.run.value(link.parent), link.out
    unlikely = 3 if link.op is not None and link.op.family == "arithmetic" else 0
    not_own = f"is not that of {own or link.child.formula}"
    for name, slope in {**_SLOPES, **_OWN.get(own, {})}.items():
        says = f"the slope {name} at {link.told} {not_own}"
        made = _diagonal(link, lambda slope=slope: slope(out, x))  # type: ignore[misc]  # bound now
        rank = 3 if name in _OWN.get(own, ()) else 4
        yield link.mutant(name, "wrong_slope", says, made, rank=rank + unlikely)
    for other in _ACTIVATIONS:
        if other != own:
            says = f"the derivative of {other} in place of that of {own or 'this'} at {link.told}"

            def made_(other: str = other) -> Jacobian:
                op = OPS[other]()
                return op.jacobian(0, op.value(x), [x])

            yield link.mutant(("of", other), "wrong_slope", says, made_, rank=3 + unlikely)
    if x.ndim:
        says = f"the Jacobian of a softmax in place of the slopes at {link.told}"
        softmax = OPS["softmax"]()
        yield link.mutant(
            "softmax", "wrong_slope", says, lambda: softmax.jacobian(0, out, [x]), rank=4
        )


def _entrywise(link: Link) -> bool:
    """Whether the link is a function of each entry, with numbers for other arguments."""
    if not link.alike:
        return False
    if link.op is None:
        terms = link.jacobian.terms
        return bool(terms) and all(part.out.axes == part.into.axes for part in terms)
    if link.op.name == "softmax":
        return True
    nodes = sum(isinstance(arg, Node) for arg in link.child.args)
    return isinstance(link.op, Elementwise) and (nodes == 1 or link.op.name == "prelu")


@mistake
def one_side(link: Link) -> Iterator[Mutant]:
    """Rows 7, 42: the slope right on one side of 0 only, or with the sign of the argument."""
    x = link.run.value(link.parent)
    cases: Mapping[str, tuple[str, str, Callable[[], Array]]] = {
        "times": ("wrong_slope", "the argument itself as a factor too much", lambda: x),
    }
    if link.alike and (_entrywise(link) or isinstance(link.op, Elementwise)):
        cases = {
            **cases,
            "sign": ("sign", "the absolute value in place of the value", lambda: np.sign(x)),
            "above": ("one_sided_mask", "nothing where the argument is negative", lambda: x > 0),
            "below": ("one_sided_mask", "nothing where the argument is positive", lambda: x < 0),
            "by out": ("double_counted", "the value itself as a factor too much", lambda: link.out),
        }
    for name, (kind, told, mask) in cases.items():

        def made(mask: Callable[[], Array] = mask) -> Jacobian:
            shape = link.parent.shape
            rule = term("... <- ...", (np.asarray(mask(), dtype=float), "...", ""))
            return link.jacobian.compose(Jacobian.of(rule, shape, shape))

        yield link.mutant(name, kind, f"{told} at {link.told}", made, rank=5)


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
    for name, slopes in cases.items():
        says = f"the power rule at {link.told}: {name}"
        yield link.mutant(name, "wrong_slope", says, _diagonal(link, slopes), rank=2)


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
    for name, (kind, slopes) in cases.items():
        says = f"{name}, for the derivative at {link.told}"

        def made(slopes: Callable[[], Array] = slopes) -> Jacobian:
            rule = term("... <- ...", (np.asarray(slopes(), dtype=float), "...", ""))
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
    for name, slopes in cases.items():
        says = f"a one-sided mask at {link.told}: {name}"
        yield link.mutant(name, "one_sided_mask", says, _diagonal(link, slopes), rank=1)


@mistake
def quotient_rule(link: Link) -> Iterator[Mutant]:
    """Row 48: the derivative of a quotient in its denominator."""
    if link.op is None or link.op.name != "divide" or link.place != 1:
        return
    x, y = link.args
    cases: Mapping[str, Callable[[], Array]] = {
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
    for name, slopes in cases.items():
        says = f"the quotient rule at {link.told}: {name}"

        def made(slopes: Callable[[], Array] = slopes) -> Jacobian:
            rule = term("... <- ...", (np.asarray(slopes()), "...", ""))
            return Jacobian.of(rule, link.child.shape, link.parent.shape)

        kind = "missing_jacobian" if name.startswith("as if") else "wrong_slope"
        yield link.mutant(name, kind, says, made, rank=3)


@mistake
def not_one(link: Link) -> Iterator[Mutant]:
    """The derivative of a sum taken for that of a product: a value where a 1 belongs."""
    if link.op is None or link.op.name not in {"add", "subtract"} or len(link.args) != 2:
        return
    for k in (0, 1):
        given = link.child.args[k]
        if isinstance(given, Node):
            says = f"{_called(given)} in place of 1, as if of a product, at {link.told}"

            def made(k: int = k) -> Jacobian:
                value = np.broadcast_to(link.args[k], link.child.shape)
                rule = term("... <- ...", (value, "...", ""))
                return Jacobian.of(rule, link.child.shape, link.parent.shape)

            yield link.mutant(("value", k), "wrong_slope", says, made, rank=4)


@mistake
def factor_left_out(link: Link) -> Iterator[Mutant]:
    """Rows 24, 71: what multiplies in the rule of an entrywise product is left out."""
    if link.op is None or len(link.args) < 2:
        return
    for k, part in enumerate(link.jacobian.terms):
        for f, factor in enumerate(part.factors):
            says = f"a factor of the derivative at {link.told} is left out"

            def made(k: int = k, f: int = f, factor: Factor = factor) -> Jacobian:
                ones = factor._replace(array=np.ones(factor.array.shape))
                return _with_factor(link.jacobian, k, f, ones)

            yield link.mutant(("ones", k, f), "missing_jacobian", says, made, rank=3)


# --- the right derivative at the wrong value --------------------------------------------------


_BILINEAR = {"multiply", "matmul", "matvec", "outer", "dot", "kron", "add", "subtract"}


@mistake
def wrong_argument(link: Link) -> Iterator[Mutant]:
    """Rows 25, 33, 37, 38, 51: the rule at the node's own value, at the pre- or the post-activation,
    or at another node of the same shape.
    """
    if link.op is None or not link.jacobian.terms or not any(t.factors for t in link.jacobian.terms):
        return
    for k, arg in enumerate(link.args):
        if k == link.place and link.op.name in _BILINEAR:
            continue  # its rule does not look at it
        given = link.child.args[k]
        for name, value, rank, other in _stand_ins(link, given, arg.shape):
            told = f"{name} in place of {_called(given)}"
            says = f"the derivative at {link.told} is taken at the wrong value: {told}"
            kinds = ["wrong_argument"]
            sums = isinstance(given, Node) and given.op is not None
            if sums and given.op.name in {"add", "subtract"} and other in given.parents:
                kinds.insert(1 if given.named else 0, "missing_path")

            def again(k: int = k, value: Array = value) -> Jacobian:
                args = [*link.args[:k], value, *link.args[k + 1 :]]
                assert link.op is not None
                return link.rule(link.op.value(*args), args)

            def kept(k: int = k, value: Array = value) -> Jacobian:
                return link.rule(link.out, [*link.args[:k], value, *link.args[k + 1 :]])

            if other is link.parent and len(link.args) == 2:
                says = (
                    f"{name} in place of {_called(given)} at {link.told}: the derivative "
                    "with respect to one factor is the other one"
                )
                yield link.mutant(("own", k), "swapped_arguments", says, again, rank=1)
                continue
            for kind in kinds:
                yield link.mutant(("at", k, name), kind, says, again, rank=rank)
                if _uses_out(link):
                    yield link.mutant(("half", k, name), kind, says, kept, rank=rank + 1)
    if _uses_out(link):
        for k, arg in enumerate(link.args):
            if arg.shape == link.out.shape:
                says = (
                    f"the derivative at {link.told} is taken at the wrong value: "
                    f"{_called(link.child.args[k])} in place of {link.child.name}"
                )
                yield link.mutant(
                    ("in", k),
                    "wrong_argument",
                    says,
                    lambda arg=arg: link.rule(arg, link.args),  # type: ignore[misc]  # bound now
                    rank=2,
                )


def _uses_out(link: Link) -> bool:
    return len(link.args) == 1 or link.op is None or link.op.name in {"power", "divide", "solve"}


def _called(arg: Node | Array) -> str:
    return (arg.name if arg.named else arg.formula) if isinstance(arg, Node) else "a number"


StandIn = tuple[str, Array, int, "Node | None"]


def _stand_ins(
    link: Link, given: Node | Array, shape: tuple[int, ...]
) -> Iterator[StandIn]:
    """Values that could be put in place of an argument's: their name, the nearest first.

    They are nodes of the same shape or the transposed one; the slope of an activation for its
    value; and an inner node computed again with its own argument replaced.
    """
    graph, run = link.child.graph, link.run
    near: list[Node] = []
    if isinstance(given, Node):
        near = [link.child, *given.parents]
        near += [graph[name] for name in graph.dag.successors(given.name)]
    seen = {given} if isinstance(given, Node) else set()
    for nodes, rank in ((near, 2), (graph.named.values(), 6)):
        for node in nodes:
            fits = node.shape == shape or (len(shape) == 2 and node.shape == shape[::-1])
            fits |= node is link.parent and isinstance(link.op, Elementwise)
            if node not in seen and fits and node.role != "constant":
                seen.add(node)
                value = run.value(node)
                name = node.name if node.named else node.formula
                if value.shape == shape[::-1] and len(shape) == 2:
                    value = value.T
                elif value.shape != shape:
                    value = np.broadcast_to(value, np.broadcast_shapes(value.shape, shape))
                yield name, value, rank, node
    if not isinstance(given, Node) or given.op is None:
        return
    if given.op.family == "activations":
        value = run.value(given)
        yield f"{given.name} (1 - {given.name})", value * (1 - value), 5, None
        yield f"1 - {given.name}²", 1 - value**2, 5, None
    if not given.named:
        yield from _computed_again(run, given)


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
                name = f"{_called(given)} with {other.name} for {_called(arg)}"
                try:
                    yield name, given.op.value(*args), 4, None
                except GraphEngineError:  # an inverse that does not exist
                    continue


# --- layouts ----------------------------------------------------------------------------------


@mistake
def transposed(link: Link) -> Iterator[Mutant]:
    """Rows 13, 61, 62, 70: a matrix in the rule transposed, reversed, shifted, or left out."""
    if link.op is None:
        return
    named = link.jacobian.named(link.child.called).terms
    for k, part in enumerate(link.jacobian.terms):
        for f, factor in enumerate(part.factors):
            name = named[k].factors[f].text or "a factor"
            for kind, changed, told, rank in _rearranged(part, factor):
                says = f"{name} {told} in the Jacobian of {link.told}"

                def made(k: int = k, f: int = f, changed: Factor = changed) -> Jacobian:
                    return _with_factor(link.jacobian, k, f, changed)

                yield link.mutant((told, k, f), kind, says, made, rank=rank)


def _rearranged(part: Term, factor: Factor) -> Iterator[tuple[str, Factor, str, int]]:
    array, labels = factor.array, factor.labels
    for a in range(array.ndim):
        for b in range(a + 1, array.ndim):
            if array.shape[a] == array.shape[b]:
                yield "transposed", factor._replace(array=np.swapaxes(array, a, b)), "transposed", 2
        if array.shape[a] > 2 and array.ndim <= 3:
            flipped = np.flip(array, a)
            yield "reordered", factor._replace(array=flipped), f"reversed (axis {a})", 6
            for step in (1, -1):
                rolled = np.roll(array, step, a)
                yield "shifted", factor._replace(array=rolled), f"shifted by {step} (axis {a})", 6
    shared = set(labels) & set(part.out.labels) & set(part.into.labels)
    if array.ndim and (shared == set(labels) or len(part.factors) > 1) and array.ndim == 1:
        yield "missing_jacobian", factor._replace(array=np.ones(array.shape)), "left out", 4
    if array.ndim == 2 and array.shape[0] == array.shape[1]:
        yield "missing_jacobian", factor._replace(array=np.eye(array.shape[0])), "left out", 4


def _with_factor(jacobian: Jacobian, k: int, f: int, changed: Factor) -> Jacobian:
    part = jacobian.terms[k]
    factors = (*part.factors[:f], changed, *part.factors[f + 1 :])
    terms = (*jacobian.terms[:k], replace(part, factors=factors), *jacobian.terms[k + 1 :])
    return replace(jacobian, terms=terms)


@mistake
def whole_transposed(link: Link) -> Iterator[Mutant]:
    """Rows 11, 13: the whole Jacobian of a step transposed."""
    if link.alike and 1 < link.child.size <= 400 and link.child.shape:
        if all(p.out.axes == p.into.axes for p in link.jacobian.terms):
            return
        says = f"the Jacobian of {link.told} transposed"
        yield link.mutant("T", "transposed", says, lambda: link.jacobian.T, rank=3)


@mistake
def matrix_functions(link: Link) -> Iterator[Mutant]:
    """Rows 62, 63: the inverse, the determinant or a transpose left out of a matrix derivative."""
    if link.op is None or link.op.name not in {"logdet", "logdet_pd", "det", "inv"}:
        return
    A, out = link.args[0], link.out
    cases: Mapping[str, Callable[[], Any]] = {}
    if link.op.name == "inv":
        shapes = link.child.shape, link.parent.shape
        inner = ("...ij <- ...kl", ("...ik", "...lj"))
        cases = {
            "A for its inverse": lambda: -term(inner[0], (A, inner[1][0], ""), (A, inner[1][1], "")),
            "the inverse once": lambda: -term(inner[0], (out, "...ik", ""), (np.eye(A.shape[-1]), "lj", "")),
            "the inverse once, on the right": lambda: -term(
                inner[0], (np.eye(A.shape[-1]), "ik", ""), (out, "...lj", "")
            ),
            "minus the square of the entries": lambda: -term("...ij <- ...ij", (out**2, "...ij", "")),
            "the transpose of the inverse on both sides": lambda: -term(
                inner[0], (out, "...ki", ""), (out, "...jl", "")
            ),
        }
    else:
        shapes = link.child.shape, link.parent.shape
        cases = {
            "A for its inverse": lambda: term("... <- ...ij", (A, "...ij", "")),
            "the inverse without the determinant": lambda: term(
                "... <- ...ij", (np.linalg.inv(A), "...ji", "")
            ),
            "the identity": lambda: term("... <- ...ii"),
            "the inverse times the determinant": lambda: term(
                "... <- ...ij", (np.linalg.det(A)[..., None, None] * np.linalg.inv(A), "...ji", "")
            ),
            "the inverse entry by entry": lambda: term("... <- ...ij", (1 / A, "...ij", "")),
        }
    for name, rule in cases.items():
        says = f"{name} in the Jacobian of {link.told}"
        kind = "factor" if "determinant" in name else "wrong_slope"
        kind = "transposed" if "transpose" in name else kind

        def made(rule: Callable[[], Any] = rule) -> Jacobian:
            return Jacobian.of(rule(), *shapes)

        yield link.mutant(name, kind, says, made, rank=4)


@mistake
def repeated(link: Link) -> Iterator[Mutant]:
    """Row 68: the copies of a repeat added up in groups of the wrong kind."""
    if link.op is None or link.op.name not in {"repeat", "reshape", "vec"}:
        return
    x = link.args[0]
    positions = np.arange(x.size).reshape(x.shape)
    if link.op.name == "repeat":
        count = max(1, link.out.size // max(x.size, 1))
        tiled = np.tile(positions.ravel(), count)
    else:
        tiled = positions.ravel("F")
    if tiled.size != link.out.size:
        return
    says = f"the entries at {link.told} in another order (columns for rows)"
    made = Jacobian.rearrangement(tiled.reshape(link.out.shape), x.shape)
    yield link.mutant("order", "reordered", says, lambda: made, rank=3)


def swapped(links: list[Link]) -> Iterator[Mutant]:
    """Row 46: the partial derivatives of two arguments exchanged."""
    for k, one in enumerate(links):
        for two in links[k + 1 :]:
            if one.parent is two.parent or one.parent.shape != two.parent.shape:
                continue
            says = (
                f"the derivatives of {one.child.name if one.child.named else one.child.formula} "
                f"with respect to {one.parent.name} and {two.parent.name} are exchanged"
            )
            changes = (
                Change(one.child, one.parent, lambda two=two: two.jacobian, lambda one=one: one.jacobian),  # type: ignore[misc]  # bound now
                Change(two.child, two.parent, lambda one=one: one.jacobian, lambda two=two: two.jacobian),  # type: ignore[misc]  # bound now
            )
            for mine, theirs in ((one, two), (two, one)):
                said = (
                    f"the derivative of {mine.told.partition(' <- ')[0]} with respect to "
                    f"{theirs.parent.name} in place of that with respect to {mine.parent.name}"
                )
                yield mine.mutant(
                    ("for", theirs.place),
                    "swapped_arguments",
                    said,
                    lambda theirs=theirs: theirs.jacobian,  # type: ignore[misc]  # bound now
                    rank=3,
                )
            key = (one.child.number, "swapped", one.place, two.place)
            yield Mutant(key, "swapped_arguments", one.where.partition("<-")[0], says, 3, changes)


def usable(make: Callable[[], Jacobian]) -> Jacobian | None:
    """The Jacobian of a mutant; None where it does not exist or is not finite."""
    try:
        with np.errstate(all="ignore"):
            made = make()
    except (GraphEngineError, ValueError, np.linalg.LinAlgError, ArithmeticError):
        return None
    return made if finite(made) else None
