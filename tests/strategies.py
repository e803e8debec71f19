"""Random Jacobians with the dense matrix that their definition gives, and random graphs.

All numbers are small whole numbers (times powers of 2), so that sums come out exactly in any
order and tests may ask for equality.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphengine as ge
from graphengine.errors import ShapeError
from graphengine.graph import Graph, Node
from graphengine.jacobian import Jacobian, Rule, term
from graphengine.jacobian.terms import Side, Term

Array = NDArray[np.float64]
Shape = tuple[int, ...]
Draw = st.DrawFn


class Case(NamedTuple):
    """A Jacobian and the matrix that it stands for."""

    jacobian: Jacobian
    dense: Array


# --- definitions --------------------------------------------------------------------------


def dense_of_rule(
    rule: Rule, out_shape: Shape, in_shape: Shape, named: Mapping[str, Any] | None = None
) -> Array:
    """The matrix of a rule by its definition: one entry for each value of all labels, added up."""
    total = np.zeros((math.prod(out_shape), math.prod(in_shape)))
    for subscripts, factors, coef in rule:
        left, right = subscripts.replace(" ", "").split("<-")
        arrays = [(named or {})[a] if isinstance(a, str) else np.asarray(a) for a, _, _ in factors]
        operands = [(left, out_shape), (right, in_shape)]
        operands += [(f[1].replace(" ", ""), a.shape) for f, a in zip(factors, arrays, strict=True)]
        axes = [_axes(subscript, len(shape)) for subscript, shape in operands]
        sizes: dict[str, int] = {}
        for names, (_, shape) in zip(axes, operands, strict=True):
            for name, size in zip(names, shape, strict=True):
                if size != 1:
                    assert sizes.setdefault(name, size) == size
        at, count = _all_values(sizes)
        rows, cols, *rest = (
            _flat([at[n] if s != 1 else 0 for n, s in zip(names, shape, strict=True)], shape, count)
            for names, (_, shape) in zip(axes, operands, strict=True)
        )
        number = np.full(count, coef)
        for array, place in zip(arrays, rest, strict=True):
            number = number * array.ravel()[place]
        np.add.at(total, (rows, cols), number)
    return total


def _all_values(sizes: Mapping[Any, int]) -> tuple[dict[Any, NDArray[np.intp]], int]:
    """Each label's value in every combination of the labels' values, and how many there are."""
    count = math.prod(sizes.values())
    grid = np.indices(tuple(sizes.values())).reshape(len(sizes), count)
    return dict(zip(sizes, grid, strict=True)), count


def _axes(subscript: str, ndim: int) -> list[str]:
    """The name of each axis; those of ``...`` are counted from the right."""
    head, dots, tail = subscript.partition("...")
    free = ndim - len(head) - len(tail) if dots else 0
    return [*head, *(f"...{k}" for k in range(free, 0, -1)), *tail]


def _flat(places: Sequence[Any], shape: Shape, count: int) -> NDArray[np.intp]:
    """``count`` positions in the raveled array: rows are stacked (C order)."""
    flat = np.zeros(count, dtype=np.intp)
    for place, size in zip(places, shape, strict=True):
        flat = flat * size + place
    return flat


def dense_of_term(part: Term) -> Array:
    """The matrix of a term by its definition, on the term's own views."""
    used = {*part.out.labels, *part.into.labels, *(k for f in part.factors for k in f.labels)}
    at, count = _all_values({name: part.sizes[name] for name in sorted(used)})
    total = np.zeros((math.prod(part.out.view), math.prod(part.into.view)))

    def place(side: Side) -> Any:
        where = [at[k] if table is None else np.asarray(table)[at[k]] for k, table in side.axes]
        return _flat(where, side.view, count)

    number = np.full(count, part.coef)
    for array, labels, _ in part.factors:
        number = number * array[tuple(at[k] for k in labels)]
    np.add.at(total, (place(part.out), place(part.into)), number)
    return total


# --- Jacobians ----------------------------------------------------------------------------


def whole_numbers(rng: np.random.Generator, *shape: int) -> Array:
    """Whole numbers from −3 to 3, so that products and sums are exact."""
    return rng.integers(-3, 4, size=shape).astype(float)


def shapes(max_dims: int = 3, sizes: Sequence[int] = (1, 2, 3)) -> st.SearchStrategy[Shape]:
    """Shapes of a few axes."""
    return st.lists(st.sampled_from(sizes), max_size=max_dims).map(tuple)


seeds = st.integers(0, 2**32 - 1)
coefs = st.sampled_from([1.0, -1.0, 2.0, 0.5, -3.0])


@st.composite
def rules(draw: Draw, out_shape: Shape, in_shape: Shape) -> Rule:
    """A term for these shapes: labels repeated, shared, missing, summed; factors of any labels."""
    rng = np.random.default_rng(draw(seeds))
    letters = iter("abcdefghijklmnop")
    of_size: dict[int, list[str]] = {}

    def label(size: int) -> str:
        if size == 1:  # carries no information, whatever its name
            return draw(st.sampled_from(["1", "z", *itertools.chain(*of_size.values())]))
        known = of_size.setdefault(size, [])
        if known and draw(st.integers(0, 2)) > 0:
            return draw(st.sampled_from(known))
        known.append(next(letters))
        return known[-1]

    out = "".join(map(label, out_shape))
    into = "".join(map(label, in_shape))
    factors = []
    for _ in range(draw(st.integers(0, 3))):
        sizes = draw(st.lists(st.sampled_from([1, *of_size, 2]), max_size=3))
        subscript = "".join(map(label, sizes))
        factors.append((whole_numbers(rng, *sizes), subscript, ""))
    return draw(coefs) * term(f"{out} <- {into}", *factors)


@st.composite
def positions(draw: Draw, out_shape: Shape, in_shape: Shape) -> NDArray[np.intp]:
    """What a rearrangement makes of positions: slices, steps, gathers with repeats, reshapes."""
    rng = np.random.default_rng(draw(seeds))
    size = math.prod(in_shape)
    if math.prod(out_shape) == size and draw(st.booleans()):
        return np.arange(size).reshape(out_shape)
    if draw(st.integers(0, 3)) == 0:
        return rng.integers(0, size, out_shape).astype(np.intp)
    along = []
    for n in in_shape:
        axis = draw(st.integers(-1, len(out_shape) - 1))
        count = 1 if axis < 0 else out_shape[axis]
        table = rng.integers(0, n, count)
        steps = [s for s in (1, 2, 3) if (count - 1) * s < n]
        if len(steps) > 0 and draw(st.booleans()):
            step = draw(st.sampled_from(steps))
            table = np.arange(count) * step + draw(st.integers(0, n - 1 - (count - 1) * step))
            if draw(st.booleans()):
                table = table[::-1]
        ones = [1] * len(out_shape)
        if axis >= 0:
            ones[axis] = count
        along.append(np.broadcast_to(table.reshape(ones), out_shape))
    flat = np.ravel_multi_index(tuple(along), in_shape) if in_shape else np.zeros(out_shape)
    return np.asarray(flat, dtype=np.intp).reshape(out_shape)


def dense_of_positions(where: NDArray[np.intp], in_shape: Shape) -> Array:
    """The matrix of a rearrangement by its definition."""
    dense = np.zeros((where.size, math.prod(in_shape)))
    for row, column in enumerate(where.ravel()):
        dense[row, column] = 1.0
    return dense


@st.composite
def single(draw: Draw, out_shape: Shape, in_shape: Shape) -> Case:
    """One Jacobian of any make: index notation, rearrangement, plain, sparse."""
    rows, cols = math.prod(out_shape), math.prod(in_shape)
    kind = draw(st.sampled_from(["rule", "rule", "gather", "scatter", "plain", "sparse"]))
    rng = np.random.default_rng(draw(seeds))
    if kind == "gather" and cols:
        where = draw(positions(out_shape, in_shape))
        return Case(Jacobian.rearrangement(where, in_shape), dense_of_positions(where, in_shape))
    if kind == "scatter" and rows:
        where = draw(positions(in_shape, out_shape))
        return Case(
            Jacobian.rearrangement(where, out_shape).T, dense_of_positions(where, out_shape).T
        )
    if kind == "plain":
        dense = whole_numbers(rng, rows, cols)
        return Case(Jacobian.of(dense, out_shape, in_shape), dense)
    if kind == "sparse" and rows and cols:
        count = draw(st.integers(0, 6))
        places = rng.integers(0, rows, count), rng.integers(0, cols, count)
        data = whole_numbers(rng, count)
        dense = np.zeros((rows, cols))
        np.add.at(dense, places, data)
        given = sp.coo_array((data, places), shape=(rows, cols))
        form = draw(st.sampled_from(["coo", "csr", "csc"]))
        return Case(Jacobian.of(given.asformat(form), out_shape, in_shape), dense)
    rule = draw(rules(out_shape, in_shape))
    return Case(Jacobian.of(rule, out_shape, in_shape), dense_of_rule(rule, out_shape, in_shape))


@st.composite
def cases(draw: Draw, out_shape: Shape | None = None, in_shape: Shape | None = None) -> Case:
    """A Jacobian, perhaps a sum of several or a multiple, with its matrix by definition."""
    out_shape = draw(shapes()) if out_shape is None else out_shape
    in_shape = draw(shapes()) if in_shape is None else in_shape
    found = draw(single(out_shape, in_shape))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        other = draw(single(out_shape, in_shape))
        found = Case(found.jacobian + other.jacobian, found.dense + other.dense)
    if draw(st.booleans()):
        scale = draw(coefs)
        found = Case(scale * found.jacobian, scale * found.dense)
    return found


MIDDLES: tuple[Shape, ...] = ((12,), (3, 4), (4, 3), (2, 6), (6, 2), (2, 2, 3), (1, 12), (2, 3, 2))
"""Shapes of one size whose axes meet in many ways."""


@st.composite
def chains(draw: Draw, length: int) -> list[Case]:
    """Jacobians that may be multiplied, output first; where sizes meet, shapes are regrouped."""
    pool = st.one_of(shapes(), st.sampled_from(MIDDLES))
    ends = [draw(pool) for _ in range(length + 1)]
    found = []
    for out_shape, in_shape in itertools.pairwise(ends):
        one = draw(cases(out_shape, in_shape))
        if draw(st.integers(0, 2)) == 0:  # the same numbers under another shape of the input
            shape = draw(st.sampled_from(MIDDLES)) if math.prod(in_shape) == 12 else in_shape
            turn = np.arange(math.prod(in_shape)).reshape(in_shape)
            inner = Jacobian.rearrangement(turn, shape)
            back = Jacobian.rearrangement(turn.reshape(shape), in_shape)
            one = Case(one.jacobian @ inner @ back, one.dense)
        found.append(one)
    return found


def random_like(seed: int, shape: Shape) -> Array:
    """Whole numbers of a shape."""
    return whole_numbers(np.random.default_rng(seed), *shape)


def subsets(items: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """All subsets, smallest first."""
    for count in range(len(items) + 1):
        yield from itertools.combinations(items, count)


# --- graphs -------------------------------------------------------------------------------


class Scene(NamedTuple):
    """A graph of smooth ops with values for its start nodes."""

    graph: Graph
    values: dict[str, Array]
    top: Node


@st.composite
def scenes(draw: Draw, most: int = 10) -> Scene:
    """Random graphs: shared nodes, parents taken twice, regrouped axes, several sinks."""
    rng = np.random.default_rng(draw(seeds))
    graph = Graph("random")
    nodes: list[Node] = []
    values = {}
    for k in range(draw(st.integers(1, 3))):
        shape = draw(shapes())
        values[f"x{k}"] = rng.uniform(-1.5, 1.5, shape)
        make = draw(st.sampled_from([graph.input, graph.parameter]))
        nodes.append(make(f"x{k}", shape))
    for k in range(draw(st.integers(1, most))):
        node = draw(expressions(nodes, rng))
        if draw(st.booleans()):
            node = graph.node(f"n{k}", node)
        nodes.append(node)
    top = nodes[-1] if nodes[-1].named else graph.node("last", nodes[-1])
    return Scene(graph, values, top)


@st.composite
def expressions(draw: Draw, nodes: list[Node], rng: np.random.Generator) -> Node:
    """One more node; entries stay of moderate size, and are few."""
    a, b = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
    kind = draw(st.sampled_from(["slope", "pair", "product", "move", "reduce", "rows"]))
    found: list[Any] = []
    if kind == "pair":
        with contextlib.suppress(ShapeError):
            found = [a + b, a * b, b - a, a / (2 + ge.cos(b))]
    elif kind == "product":
        with contextlib.suppress(ShapeError):
            found = [ge.tanh(a @ b)]
        if a.ndim == b.ndim == 1:
            found.append(ge.outer(a, b))
        if a.ndim:
            found.append(rng.normal(size=(2, a.shape[-2] if a.ndim > 1 else a.shape[0])) @ a)
    elif kind == "move":
        found = [a.T, ge.vec(a), a[..., None], ge.broadcast_to(a, (2, *a.shape))]
        if a.ndim:
            found += [a[::-1], a[rng.integers(0, a.shape[0], 2)], ge.concatenate([a, a])]
    elif kind == "reduce" and a.ndim:
        axis = draw(st.integers(-a.ndim, a.ndim - 1))
        found = [ge.sum(a, axis=axis), ge.mean(a, axis=axis), ge.logsumexp(a, axis=axis)]
    elif kind == "rows" and a.ndim:
        found = [ge.softmax(a)]
    found = [node for node in found if node.size <= 40]
    node: Node = draw(st.sampled_from(found or [ge.tanh(a), ge.sin(a), ge.sigmoid(a), a * a, -a]))
    return node
