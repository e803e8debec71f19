"""What an op is: classes that are refused, ops of one's own, arity, shapes, values, parameters."""

from __future__ import annotations

import fractions
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine import lecture
from graphengine.errors import (
    GraphEngineError,
    GraphError,
    OpError,
    RuleError,
    ShapeError,
    ValuesError,
)
from graphengine.jacobian import Rule, term
from graphengine.ops import OPS, OpFunction, function, functions, table
from graphengine.ops.base import (
    ATOM,
    PRODUCT,
    SUM,
    Array,
    Elementwise,
    Op,
    Shape,
    Written,
    as_value,
    axes_of,
    broadcast,
    letters,
    numbers,
    positive,
    slope,
)
from graphengine.ops.losses import Softmax
from graphengine.ops.reductions import Sum


class Affine(Op):
    """``scale W x + shift``: a matrix times a vector, with two parameters."""

    name = "affine"
    scale: float
    shift: float = 0.0

    def forward(self, W: Array, x: Array) -> Array:
        return self.scale * (W @ x) + self.shift

    def shape(self, W: Shape, x: Shape) -> Shape:
        if len(W) != 2 or len(x) != 1 or W[1] != x[0]:
            raise ShapeError("", expected="a matrix and a vector that fit", got=f"{W} and {x}")
        return W[:1]

    def d_W(self, out: Array, W: Array, x: Array) -> Rule:
        return self.scale * term("i <- ij", x="j")

    def d_x(self, out: Array, W: Array, x: Array) -> Rule:
        return self.scale * term("i <- j", W="ij")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        yield cls(2.0), (rng.normal(size=(2, 3)), rng.normal(size=3))


class Plain(Elementwise):
    """What the classes below leave parts out of; without a name it is a family."""

    def forward(self, x: Array) -> Array:
        return 2 * x

    def d_x(self, out: Array, x: Array) -> Rule:
        return slope(np.full(x.shape, 2.0), "2")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[tuple[Op, tuple[Array, ...]]]:
        yield cls(), (rng.normal(size=3),)


# --- classes ------------------------------------------------------------------------------


def parts(**changed: Any) -> dict[str, Any]:
    """The body of a complete op class, with parts changed or left out (None)."""

    def forward(self: Any, x: Array) -> Array:
        return x

    def shape(self: Any, x: Shape) -> Shape:
        return x

    def d_x(self: Any, out: Array, x: Array) -> Rule:
        return term("... <- ...")

    def examples(cls: Any, rng: Any) -> Iterator[Any]:
        yield cls(), (np.ones(3),)

    body = {
        "name": "whole",
        "__doc__": "The same.",
        "forward": forward,
        "shape": shape,
        "d_x": d_x,
        "examples": classmethod(examples),
        "__module__": __name__,
    }
    return {key: value for key, value in {**body, **changed}.items() if value is not None}


def test_a_complete_class_is_an_op() -> None:
    whole: Any = type("Whole", (Op,), parts())
    assert (whole.arguments, whole.variadic, whole.family) == (("x",), False, "custom")
    assert whole() == whole()
    assert hash(whole()) == hash(whole())


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        ("forward", "no forward"),
        ("shape", "no shape"),
        ("d_x", "no d_x"),
        ("examples", "no examples"),
        ("__doc__", "no docstring"),
    ],
)
def test_an_incomplete_class_is_refused(left_out: str, says: str) -> None:
    with pytest.raises(OpError) as error:
        type("Part", (Op,), parts(**{left_out: None}))
    assert error.value.where == "op 'Part'"
    assert says in error.value.got
    assert "forward, shape, examples, a docstring and a rule" in error.value.expected
    assert "'fixed'" in error.value.hint


def test_an_argument_without_derivative_is_listed_in_fixed() -> None:
    held: Any = type("Held", (Op,), parts(d_x=None, fixed=frozenset({"x"})))
    jacobian = held().jacobian(0, np.ones(3), [np.ones(3)])
    assert jacobian.terms == ()
    assert jacobian.shape == (3, 3)


def test_a_class_without_a_name_is_a_family() -> None:
    family: Any = type("Family", (Op,), {"__doc__": "Nothing yet.", "__module__": __name__})
    for call in (family().forward, family().shape, lambda: family.examples(None)):
        with pytest.raises(OpError, match="op 'Family'"):
            call()
    assert family().margin() == math.inf


def test_ops_are_frozen_and_compare_by_value() -> None:
    assert Affine(2.0) == Affine(2.0, 0.0) != Affine(2.0, 1.0)
    assert len({Sum(axis=0), Sum(axis=0), Sum(axis=1)}) == 2
    with pytest.raises(AttributeError):
        Affine(2.0).scale = 3.0  # type: ignore[misc]  # what is tested


def test_the_table_wants_one_class_for_each_name() -> None:
    def module_of(*classes: Any) -> ModuleType:
        module = ModuleType("made")
        for cls in classes:
            cls.__module__ = "made"
            setattr(module, cls.__name__, cls)
        return module

    one, other = (type(label, (Op,), parts()) for label in ("One", "Other"))
    assert table([module_of(one)]) == {"whole": one}
    with pytest.raises(OpError, match="op 'whole': expected one class, got two"):
        table([module_of(one, other)])
    imported = module_of(one)
    one.__module__ = "elsewhere"
    assert table([imported]) == {}


# --- an op of one's own -------------------------------------------------------------------


def test_an_op_of_ones_own_in_a_graph() -> None:
    rng = np.random.default_rng(0)
    W, x = rng.normal(size=(2, 3)), rng.normal(size=3)
    g = ge.Graph()
    node = g.node("z", Affine(3.0, shift=1.0)(g.parameter("W", (2, 3)), g.input("x", (3,))))
    g.result("J", ge.sum(node**2))
    run = g.run({"W": W, "x": x})
    z = 3 * W @ x + 1
    assert np.allclose(run.value("z"), z, rtol=1e-15)
    assert np.allclose(run.gradient("W"), np.outer(6 * z, x), rtol=1e-13)
    assert np.allclose(run.jacobian("z", "W").toarray(), np.kron(3 * np.eye(2), x), rtol=1e-15)
    assert run.local("z", "W").text() == "3 I₂ ⊗ xᵀ"
    assert node.formula == "affine(W, x, scale=3.0, shift=1.0)"
    G = g.dag
    G.nodes["W"]["value"], G.nodes["x"]["value"] = W, x
    lecture.EvaluateGraphFn(G)
    lecture.PerformBackPass(G)
    assert np.allclose(G.nodes["x"]["Grad"], 6 * z @ W, rtol=1e-13)


def test_an_op_of_ones_own_among_the_functions() -> None:
    known = functions([Affine])
    assert set(known) == {*OPS, "affine"}
    affine = known["affine"]
    value = affine(np.eye(2), [1.0, 2.0], 2.0, shift=1.0)
    assert np.array_equal(value, [3.0, 5.0])
    assert repr(affine) == "<op affine>"
    assert affine.__doc__ == Affine.__doc__
    assert functions([Affine, Affine])["affine"].op is Affine


def test_a_name_that_is_taken_is_refused() -> None:
    taken: Any = type("Taken", (Op,), parts(name="softmax"))
    with pytest.raises(
        OpError, match=r"op 'Taken': expected a name that no other op has, got 'softmax'"
    ):
        functions([taken])
    one, other = (type(label, (Op,), parts()) for label in ("One", "Other"))
    with pytest.raises(OpError, match="op 'Other'"):
        functions([one, other])
    with pytest.raises(OpError, match="op 'Plain'"):
        functions([Plain])


def test_a_rule_may_be_an_array_or_a_sparse_matrix() -> None:
    import scipy.sparse as sp  # noqa: PLC0415 (for this test alone)

    def dense(self: Any, out: Array, x: Array) -> Any:
        return np.diag(np.cos(x))

    def sparse(self: Any, out: Array, x: Array) -> Any:
        return sp.diags_array(np.cos(x))

    def forward(self: Any, x: Array) -> Array:
        return np.sin(x)

    x = np.array([0.5, 1.0, 2.0])
    for rule in (dense, sparse):
        op: Any = type("Sine", (Op,), parts(d_x=rule, forward=forward))()
        assert np.allclose(op.jacobian(0, np.sin(x), [x]).toarray(), np.diag(np.cos(x)), rtol=1e-15)


@pytest.mark.parametrize(
    "rule", [np.ones((2, 2)), 1.5, "W", None, term("i <- ij"), term("i <- j", y="ij")]
)
def test_a_rule_that_does_not_fit_is_a_rule_error(rule: Any) -> None:
    op: Any = type("Bad", (Op,), parts(d_x=lambda self, out, x: rule))()
    with pytest.raises(RuleError):
        op.jacobian(0, np.ones(3), [np.ones(3)])


# --- arity and shapes ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_wrong_number_of_arguments(count: int) -> None:
    with pytest.raises(OpError) as error:
        Affine(1.0)(*[np.ones(2)] * count)
    assert str(error.value) == f"affine: expected 2 arguments (W, x), got {count}"


def test_variadic_ops_take_at_least_one() -> None:
    with pytest.raises(OpError, match="expected at least 1 argument, got none"):
        function("concatenate")([])
    assert np.array_equal(function("concatenate")([[1.0], [2.0, 3.0]]), [1.0, 2.0, 3.0])
    assert function("stack")([[1.0], [2.0]], 1).shape == (1, 2)
    assert np.array_equal(
        function("maxout")(np.array([1.0, 5.0]), np.array([4.0, 2.0])), [4.0, 5.0]
    )


def test_shape_errors_have_four_parts() -> None:
    with pytest.raises(ShapeError) as error:
        function("matmul")(np.ones((2, 3)), np.ones((2, 3)))
    assert error.value.where.startswith("matmul((2, 3), (2, 3))")
    assert error.value.expected == "equal inner sizes"
    assert error.value.got == "(2, 3) @ (2, 3): 3 and 2"
    assert error.value.hint.startswith("the last axis on the left meets")
    with pytest.raises(ShapeError, match=r"add\(\(2,\), \(3,\)\)"):
        function("add")([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ([(2, 3), (3,)], (2, 3)),
        ([(), (4,)], (4,)),
        ([(2, 1), (1, 3)], (2, 3)),
        ([(0, 3), (1,)], (0, 3)),
        ([], ()),
        ([(), ()], ()),
        ([(2,), (), (2,)], (2,)),
        ([(1,), (1, 1), ()], (1, 1)),
        ([(3,), (3,), (2, 3)], (2, 3)),
        ([(3,), (3,), (2, 1)], (2, 3)),
    ],
)
def test_broadcast(shapes: list[Shape], found: Shape) -> None:
    assert broadcast(*shapes) == found == np.broadcast_shapes(*shapes)


def test_broadcast_that_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"got \(2,\) and \(3,\); axes are aligned from the right"):
        broadcast((2,), (3,))


@pytest.mark.parametrize(
    ("axis", "ndim", "found"),
    [(None, 3, (0, 1, 2)), (-1, 3, (2,)), ((0, -1), 3, (0, 2)), ((), 2, ()), (None, 0, ())],
)
def test_axes(axis: Any, ndim: int, found: tuple[int, ...]) -> None:
    assert axes_of(axis, ndim) == found


@pytest.mark.parametrize("axis", [3, -4, (0, 3), (0, 0), (0, -3)])
def test_axes_that_are_not_there_or_named_twice(axis: Any) -> None:
    with pytest.raises(ShapeError, match=r"axis="):
        axes_of(axis, 3)


def test_letters() -> None:
    assert letters(3) == "abc"
    assert letters(0) == ""


# --- values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        3,
        True,
        [1, 2],
        (1.5, 2),
        np.float32(1.5),
        np.arange(3, dtype=np.uint8),
        np.ones(2, dtype=bool),
    ],
)
def test_real_numbers_of_all_kinds_are_values(given: Any) -> None:
    found = as_value(given, "x")
    assert found.dtype == np.float64
    assert np.array_equal(found, np.asarray(given, dtype=float))


def test_a_float64_array_is_taken_as_it_is() -> None:
    array = np.arange(3.0)
    assert as_value(array, "x") is array


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (1j, "complex numbers"),
        (np.ones(2, dtype=complex), "complex numbers"),
        ("1.5", "<U3 ('1.5')"),
        (["a", "b"], "<U1 (['a', 'b'])"),
        ([[1.0], [2.0, 3.0]], "nested lists of unequal length"),
        (None, "object (None)"),
        ({1: 2}, "object ({1: 2})"),
        (fractions.Fraction(1, 2), "object (Fraction(1, 2))"),
        (np.array(["2024-01-01"], dtype="datetime64[D]"), "datetime64[D]"),
    ],
)
def test_what_is_not_real_numbers_is_refused(given: Any, got: str) -> None:
    with pytest.raises(ValuesError) as error:
        as_value(given, "value of 'x'")
    assert error.value.where == "value of 'x'"
    assert got in error.value.got
    with pytest.raises(ValuesError, match="add: argument 2"):
        function("add")(1.0, given)


def test_an_op_called_on_numbers_gives_the_value() -> None:
    assert Affine(2.0)([[1, 2]], [3, 4]) == [22.0]
    assert Affine(2.0).value(np.array([[1.0, 2.0]]), np.array([3.0, 4.0])) == [22.0]
    with np.errstate(all="raise"):  # what is not finite shows in the result, and warns of nothing
        assert np.array_equal(function("log")([0.0, 1.0]), [-np.inf, 0.0])


# --- parameters ---------------------------------------------------------------------------


def test_parameters_by_place_and_by_name() -> None:
    x = np.arange(6.0).reshape(2, 3)
    total = function("sum")
    for found in (
        total(x, 0),
        total(x, axis=0),
        total(x, 0, False),
        total(x, axis=0, keepdims=False),
    ):
        assert np.array_equal(found, [3.0, 5.0, 7.0])
    assert total(x, (0, 1), keepdims=True).shape == (1, 1)
    assert total.make(([0, 1],), {}) == Sum(axis=(0, 1))  # lists become tuples
    assert OpFunction(Affine).make((), {"scale": 2.0}) == Affine(2.0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: function("sum")([1.0], axes=0),
            "sum: expected parameters axis, keepdims, got axes=",
        ),
        (lambda: function("sum")([1.0], axes=0), "did you mean 'axis'?"),
        (lambda: function("sum")([1.0], 0, axis=0), "got axis= twice"),
        (
            lambda: function("sum")([1.0], 0, False, 3),
            "expected arguments x, axis, keepdims, got 1 more",
        ),
        (lambda: function("exp")([1.0], axis=0), "exp: expected no parameters, got axis="),
        (lambda: function("exp")([1.0], [1.0]), "exp: expected arguments x, got 1 more"),
        (lambda: OpFunction(Affine)([[1.0]], [1.0]), "affine: expected parameter scale=, got none"),
    ],
)
def test_parameters_that_an_op_does_not_have(call: Any, says: str) -> None:
    with pytest.raises(OpError) as error:
        call()
    assert says in str(error.value)


def test_functions_of_nodes_make_nodes() -> None:
    g = ge.Graph()
    x = g.input("x", (2, 3))
    node = function("softmax")(x, axis=0)
    assert node.op == Softmax(axis=0)
    assert node.shape == (2, 3)
    mixed = function("maximum")([[0.0]], x)
    assert mixed.parents == (x,)
    with pytest.raises(GraphError):
        ge.Graph().node("y", x)


# --- text ---------------------------------------------------------------------------------


def test_written_shows_what_differs_from_the_default() -> None:
    x = Written("x", ATOM)
    assert Sum().written(x) == Written("sum(x)", ATOM)
    assert Sum(axis=0, keepdims=True).written(x).text == "sum(x, axis=0, keepdims=True)"
    assert Sum(axis=(0, 1)).written(x).text == "sum(x, axis=[0, 1])"
    assert OPS["stack"]().written(x, Written("y + 1", SUM)).text == "stack([x, y + 1])"


def test_brackets_where_they_are_needed() -> None:
    assert Written("a + b", SUM).within(SUM) == "a + b"
    assert Written("a + b", SUM).within(PRODUCT) == "(a + b)"
    assert Written("a", ATOM).within(PRODUCT) == "a"


# --- example numbers ----------------------------------------------------------------------


def test_example_numbers_are_apart_from_zero_and_each_other() -> None:
    rng = np.random.default_rng(0)
    found = numbers(rng, 4, 5)
    assert found.shape == (4, 5)
    sizes = np.sort(np.abs(found).ravel())
    assert sizes[0] == 0.2
    assert sizes[-1] == 2.0
    assert np.min(np.diff(sizes)) > 0.09
    assert 0 < np.count_nonzero(found < 0) < 20
    assert np.all(positive(rng, 3, low=1.0) >= 1.0)
    assert numbers(rng).shape == ()
    assert numbers(rng, 0).size == 0


def test_errors_are_of_one_tree() -> None:
    for error in (OpError, ShapeError, ValuesError, RuleError):
        assert issubclass(error, GraphEngineError)
