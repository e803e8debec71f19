"""Every op of the table, on its own examples: forward, Jacobians, notation, graphs, sabotage.

An op that is added to the library is picked up with no edit here.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

import graphengine as ge
from graphengine import lecture
from graphengine.check.reference import numeric_jacobian
from graphengine.jacobian import Jacobian
from graphengine.ops import FAMILIES, OPS, function
from graphengine.ops.base import ATOM, Op, Written

Array = NDArray[Any]
NEAR = 1e-4
"""Examples nearer to a kink than this are compared with numbers beside the kink."""


class Example(NamedTuple):
    """An op with arguments, one of the op's own examples."""

    name: str
    op: Op
    args: tuple[Array, ...]

    def at(self, place: int, x: Any) -> Any:
        """The value as a function of one argument."""
        return self.op.forward(*self.args[:place], x, *self.args[place + 1 :])

    @property
    def free(self) -> list[int]:
        """The places of the arguments that have a derivative."""
        return [k for k in range(len(self.args)) if self.op.argument(k) not in self.op.fixed]

    def jacobian(self, place: int) -> Jacobian:
        """The op's own rule."""
        return self.op.jacobian(place, self.op.value(*self.args), self.args)


def examples() -> Iterator[Example]:
    for name, cls in OPS.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        for op, args in cls.examples(rng):
            yield Example(name, op, args)


EXAMPLES = list(examples())
IDS = [
    f"{one.name}-{k}-{'-'.join('x'.join(map(str, a.shape)) or 'number' for a in one.args)}"
    for k, one in enumerate(EXAMPLES)
]
each_op = pytest.mark.parametrize("name", OPS)


def examples_of(name: str) -> list[int]:
    """The numbers of the examples of one op."""
    return [k for k, example in enumerate(EXAMPLES) if example.name == name]


@contextlib.contextmanager
def at(k: int) -> Iterator[Example]:
    """The example, which is named where something in the block fails."""
    try:
        yield EXAMPLES[k]
    except BaseException as error:
        error.add_note(f"in example {IDS[k]}")
        raise


# --- the table ----------------------------------------------------------------------------


def test_the_table_holds_every_op_of_the_families() -> None:
    for module in FAMILIES:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Op) and value.name:
                assert OPS[value.name] is value


@each_op
def test_examples_are_many_sided(name: str) -> None:
    """A non-square one (or unequal sizes), and each op has its function."""
    shapes = [arg.shape for one in EXAMPLES if one.name == name for arg in one.args]
    assert len({shape for shape in shapes if math.prod(shape) > 1}) >= 1
    assert getattr(ge, name).op is OPS[name]
    assert (OPS[name].__doc__ or "").strip()


# --- forward ------------------------------------------------------------------------------


@each_op
def test_forward_gives_the_shape_that_shape_says(name: str) -> None:
    for k in examples_of(name):
        with at(k) as example:
            value = example.op.value(*example.args)
            assert value.shape == example.op.shape_of(*(arg.shape for arg in example.args))
            assert value.dtype == np.float64
            assert np.array_equal(value, example.op(*example.args), equal_nan=True)


def strided(array: Array) -> Array:
    """The same numbers, every second of a larger array and backwards in memory."""
    large = np.full(tuple(2 * n for n in array.shape), 77.0)
    every_second: tuple[Any, ...] = (slice(None, None, -2),) * array.ndim
    view: Array = large[*every_second, ...]
    view[...] = array
    return view


def fortran(array: Array) -> Array:
    return np.array(array, order="F")


def locked(array: Array) -> Array:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


@each_op
def test_forward_changes_nothing_and_takes_any_layout(name: str) -> None:
    for k in examples_of(name):
        with at(k) as example:
            op, args = example.op, example.args
            kept = [arg.copy() for arg in args]
            value = op.value(*args).copy()
            for layout in (strided, fortran, locked):
                given = [layout(arg) for arg in args]
                again = op.value(*given)
                assert np.allclose(again, value, rtol=1e-14, atol=0, equal_nan=True)
                assert np.array_equal(op.value(*given), again, equal_nan=True)
                for place in example.free:
                    mine = example.jacobian(place).toarray()
                    other = op.jacobian(place, again, given).toarray()
                    assert np.allclose(other, mine, rtol=1e-12, atol=1e-14, equal_nan=True)
            for arg, before in zip(args, kept, strict=True):
                assert np.array_equal(arg, before, equal_nan=True)


# --- Jacobians against numbers ------------------------------------------------------------


@functools.cache
def beside_kinks(k: int) -> Example:
    """The example, or one beside it where it stands at a kink or a tie."""
    example = EXAMPLES[k]
    rng = np.random.default_rng(k)
    for _ in range(20):
        if example.op.margin(*example.args) > NEAR:
            return example
        args = tuple(
            np.asarray(a + rng.uniform(-0.05, 0.05, a.shape)) if place in example.free else a
            for place, a in enumerate(EXAMPLES[k].args)
        )
        example = example._replace(args=args)
    raise AssertionError(f"{example.name}: every point is a kink")


@functools.cache
def numbers(k: int, place: int) -> tuple[Array, Array]:
    """The matrix from values alone, and how far each entry may be off."""
    example = beside_kinks(k)
    with np.errstate(all="ignore"):
        found, bar = numeric_jacobian(
            lambda x: example.at(place, x), example.args[place], analytic=example.op.analytic
        )
    rounding = 1e-9 * np.max(np.abs(found), initial=0.0) + 1e-12
    return found, 10 * bar + rounding


def differs(k: int, place: int, matrix: Array) -> bool:
    """The check of this file: whether ``matrix`` is not the example's Jacobian."""
    found, bar = numbers(k, place)
    assert matrix.shape == found.shape
    assert np.isfinite(bar).all(), "differences do not settle: neither a kink nor smooth"
    return bool(np.any(~(np.abs(matrix - found) <= bar)))


def argument_cases() -> list[Any]:
    return [
        pytest.param(k, place, id=f"{IDS[k]}-{one.op.argument(place)}{place}")
        for k, one in enumerate(EXAMPLES)
        for place in one.free
    ]


each_argument = pytest.mark.parametrize(("k", "place"), argument_cases())


@each_argument
def test_jacobian_against_numbers(k: int, place: int) -> None:
    assert not differs(k, place, beside_kinks(k).jacobian(place).toarray())


@pytest.mark.parametrize(
    "k",
    [k for k, one in enumerate(EXAMPLES) if one.op.margin(*one.args) <= NEAR],
    ids=IDS.__getitem__,
)
def test_jacobian_at_a_kink_lies_between_those_beside_it(k: int) -> None:
    example = EXAMPLES[k]
    rng = np.random.default_rng(k)
    for place in example.free:
        beside = []
        for _ in range(60):
            args = tuple(
                np.asarray(a + rng.uniform(-1e-4, 1e-4, a.shape)) if p in example.free else a
                for p, a in enumerate(example.args)
            )
            beside.append(example._replace(args=args).jacobian(place).toarray())
        found = example.jacobian(place).toarray()
        assert np.all(found >= np.min(beside, axis=0) - 1e-3)
        assert np.all(found <= np.max(beside, axis=0) + 1e-3)


@each_op
def test_fixed_arguments_have_no_derivative(name: str) -> None:
    for k in examples_of(name):
        with at(k) as example:
            out = example.op.value(*example.args)
            for place in set(range(len(example.args))) - set(example.free):
                jacobian = example.op.jacobian(place, out, example.args)
                assert jacobian.terms == ()
                assert jacobian.shape == (out.size, example.args[place].size)


# --- sabotage -----------------------------------------------------------------------------


def sabotaged(right: Jacobian) -> Iterator[tuple[str, Array]]:
    """What slips in the rule would give."""
    matrix = right.toarray()
    yield "sign", -matrix
    yield "factor 2", 2 * matrix
    yield "factor ½", 0.5 * matrix
    yield "left out", np.zeros_like(matrix)
    yield "one entry too many", matrix + np.eye(*matrix.shape)
    yield "rolled labels", np.roll(matrix, 1, axis=1)
    yield "rolled rows", np.roll(matrix, 1, axis=0)
    if matrix.shape[0] == matrix.shape[1]:
        yield "transposed", matrix.T
    for k in range(len(right.terms) if len(right.terms) > 1 else 0):
        rest = right.terms[:k] + right.terms[k + 1 :]
        yield f"without term {k}", Jacobian(right.out_shape, right.in_shape, rest).toarray()
    for axes in {right.in_shape} if len(right.in_shape) > 1 else ():
        tensor = matrix.reshape(len(matrix), *axes)
        yield "input axes swapped", tensor.swapaxes(-1, -2).reshape(matrix.shape)
    if matrix.size:
        slight = matrix.copy()
        slight.flat[np.argmax(np.abs(matrix))] *= 1 + 1e-4
        yield "one entry slightly off", slight


@each_op
def test_sabotage_is_noticed(name: str) -> None:
    """Each slip that changes the matrix is told, and every argument has an example that tells."""
    told: dict[str, set[str]] = {}
    derivative = set()
    for k in examples_of(name):
        example = beside_kinks(k)
        for place in example.free:
            right = example.jacobian(place)
            matrix = right.toarray()
            argument = f"{example.op.argument(place)} at {place}"
            scale = np.max(np.abs(matrix), initial=0.0)
            if scale > 0:
                derivative.add(argument)
            for kind, wrong in sabotaged(right):
                noticed = differs(k, place, wrong)
                if noticed:
                    told.setdefault(argument, set()).add(kind)
                if np.any(np.abs(wrong - matrix) > 1e-5 * scale + 1e-9):
                    assert noticed, f"{kind} of {argument} in {IDS[k]}"
    for argument, kinds in told.items():
        assert "one entry too many" in kinds, argument
        if argument in derivative:
            assert kinds >= {"sign", "factor 2", "factor ½", "left out"}, argument
    assert bool(told) == any(EXAMPLES[k].free for k in examples_of(name))


# --- products -----------------------------------------------------------------------------


@each_op
def test_fast_paths_agree_with_the_matrix(name: str) -> None:
    for k in examples_of(name):
        with at(k) as example:
            rng = np.random.default_rng(5)
            for place in example.free:
                jacobian = example.jacobian(place)
                matrix = jacobian.toarray()
                tol: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13, "equal_nan": True}
                row, column = (
                    rng.normal(size=jacobian.out_shape),
                    rng.normal(size=jacobian.in_shape),
                )
                assert np.allclose(jacobian.pull(row).ravel(), row.ravel() @ matrix, **tol)
                assert np.allclose(jacobian.push(column).ravel(), matrix @ column.ravel(), **tol)
                sparse = jacobian.tocsr()
                assert isinstance(sparse, sp.csr_array)
                assert sparse.has_canonical_format
                assert sparse.nnz <= jacobian.nnz
                assert np.array_equal(jacobian.T.toarray(), matrix.T, equal_nan=True)
                left = rng.normal(size=(2, jacobian.shape[0]))
                right = rng.normal(size=(jacobian.shape[1], 3))
                before = Jacobian.of(left, (2,), jacobian.out_shape)
                after = Jacobian.of(right, jacobian.in_shape, (3,))
                assert np.allclose((before @ jacobian).toarray(), left @ matrix, **tol)
                assert np.allclose((jacobian @ after).toarray(), matrix @ right, **tol)
                assert np.allclose(
                    (before @ jacobian @ after).toarray(), left @ matrix @ right, **tol
                )
                square = jacobian @ jacobian.T
                assert np.allclose(square.toarray(), matrix @ matrix.T, **tol)


# --- notation -----------------------------------------------------------------------------


@each_op
def test_notation(name: str) -> None:
    for k in examples_of(name):
        with at(k) as example:
            names = {example.op.argument(place): f"v{place}" for place in range(len(example.args))}
            for place in range(len(example.args)):
                jacobian = example.jacobian(place)
                for one in (jacobian, jacobian.T):
                    text = one.text({**names, "out": "w"})
                    latex = one.latex({**names, "out": "w"})
                    assert text.strip()
                    assert latex.strip()
                    assert "?" not in text + latex
                    assert balanced(latex)


def balanced(latex: str) -> bool:
    depth = 0
    for char in latex.replace(r"\{", "").replace(r"\}", ""):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth < 0:
            return False
    return depth == 0


@each_op
def test_written_as_a_formula(name: str) -> None:
    for k in examples_of(name):
        with at(k) as example:
            names = [f"v{place}" for place in range(len(example.args))]
            written = example.op.written(*(Written(name, ATOM) for name in names))
            tree = ast.parse(written.text, mode="eval")
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert used >= set(names)


# --- in a graph ---------------------------------------------------------------------------


@each_op
def test_in_a_graph_by_both_engines(name: str) -> None:
    for k in examples_of(name):
        with at(k) as example:
            graph = ge.Graph()
            nodes = [
                graph.parameter(f"v{place}", arg.shape) for place, arg in enumerate(example.args)
            ]
            out = graph.node("out", graph.add(example.op, nodes))
            rng = np.random.default_rng(9)
            weights = rng.normal(size=out.shape)
            graph.result("J", function("sum")(out * weights))
            values = {node.name: arg for node, arg in zip(nodes, example.args, strict=True)}
            run = graph.run(values)
            value = run.value("out")
            assert np.array_equal(value, example.op.value(*example.args), equal_nan=True)
            dag = graph.dag
            for node, arg in zip(nodes, example.args, strict=True):
                dag.nodes[node.name]["value"] = arg
            lecture.EvaluateGraphFn(dag)
            lecture.PerformBackPass(dag)
            assert np.array_equal(dag.nodes["out"]["value"], value, equal_nan=True)
            for place, node in enumerate(nodes):
                gradient = run.gradient(node)
                assert gradient.shape == node.shape
                total = np.zeros(node.size)
                if place in example.free:
                    matrix = example.jacobian(place).toarray()
                    total = weights.ravel() @ matrix
                scale = np.max(np.abs(total), initial=1e-300)
                assert np.allclose(gradient.ravel(), total, rtol=0, atol=1e-12 * scale + 1e-15)
                lectured = dag.nodes[node.name]["Grad"]
                assert lectured.shape == (1, node.size)
                assert np.allclose(
                    lectured.ravel(), gradient.ravel(), rtol=0, atol=1e-12 * scale + 1e-15
                )
                assert np.array_equal(
                    run.jacobian("out", node).toarray(), example.jacobian(place).toarray()
                )


@each_op
def test_gradient_in_a_graph_against_numbers(name: str) -> None:
    """One argument is a node, the others are fixed numbers."""
    for k in examples_of(name):
        example = beside_kinks(k)
        for place in example.free:
            graph = ge.Graph()
            x = graph.parameter("x", example.args[place].shape)
            args = [x if p == place else arg for p, arg in enumerate(example.args)]
            out = graph.add(example.op, args)
            weights = np.random.default_rng(k).normal(size=out.shape)
            graph.result("J", function("sum")(weights * out))
            gradient = graph.run({"x": example.args[place]}).gradient("x")
            found, bar = numbers(k, place)
            allowed = np.abs(weights.ravel()) @ bar + 1e-15
            off = np.abs(gradient.ravel() - weights.ravel() @ found)
            assert np.all(off <= allowed), f"argument {place} of {IDS[k]}"
