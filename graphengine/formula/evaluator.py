"""The value of a formula's tree: nodes from nodes, numbers from numbers, arrays within a budget."""

from __future__ import annotations

import ast
import dataclasses
import math
import operator
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphengine.errors import FormulaError, GraphEngineError, ShapeError, nearest, plural
from graphengine.formula.budget import Budget
from graphengine.graph import Graph, Node
from graphengine.ops import OpFunction
from graphengine.ops.base import Array, Op, as_value
from graphengine.ops.parameters import described
from graphengine.ops.rearrangement import pick

if TYPE_CHECKING:
    from graphengine.formula import Formula

__all__ = ["CONSTANTS", "FILLED", "MAX_WHOLE", "Evaluator", "Value"]

Value: TypeAlias = "Node | Array | int | float"

CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e, "inf": math.inf}
"""Names that stand for numbers where no node has them."""
FILLED = frozenset({"eye", "ones", "zeros"})
"""Functions that take sizes and give arrays."""
MAX_WHOLE = 2**53
"""Whole numbers beyond this are floats."""

_BINARY: Mapping[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "power",
    ast.MatMult: "matmul",
}
_COMPARISONS: Mapping[type[ast.AST], str] = {
    ast.Gt: "greater",
    ast.Lt: "less",
    ast.GtE: "greater_equal",
    ast.LtE: "less_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
_OTHER_NAMES = {
    "ln": "log",
    "log2": "log(x) / log(2)",
    "log10": "log(x) / log(10)",
    "identity": "eye",
    "I": "eye(n)",
    "pow": "x**y",
    "max0": "relu",
    "sgn": "sign",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "inner": "dot",
    "kronecker": "kron",
    "concat": "concatenate",
    "hstack": "concatenate",
    "vstack": "concatenate or stack",
    "array": "the list alone: [1, 2]",
    "len": "the letter of the size",
    "T": "x.T",
    "tr": "trace",
    "expit": "sigmoid",
    "logistic": "sigmoid",
    "heaviside": "x > 0",
    "indicator": "x > 0",
    "sumsq": "sum_of_squares",
    "normsq": "sum_of_squares",
    "diagonal": "diag",
    "flatten": "vec",
    "ravel": "vec",
}


class Evaluator:
    """One formula with what its names stand for."""

    def __init__(
        self,
        formula: Formula,
        names: Mapping[str, Value],
        functions: Mapping[str, OpFunction],
        graph: Graph,
        budget: Budget,
    ) -> None:
        self.formula, self.names, self.functions = formula, names, functions
        self.graph, self.budget = graph, budget

    def result(self) -> Value:
        """The formula's value."""
        return self.operand(self.formula.tree)

    def error(self, node: ast.AST, expected: str, got: str, hint: str = "") -> FormulaError:
        """An error at the place of ``node``."""
        return FormulaError(self.formula.at(node), expected=expected, got=got, hint=hint)

    # --- operands and parameters ----------------------------------------------------------

    def operand(self, node: ast.expr) -> Value:
        """A node, an array or a number; lists of numbers become arrays."""
        if isinstance(node, (ast.List, ast.Tuple)):
            return self.literal(node)
        found = self.value(node)
        if found is None or isinstance(found, bool):
            raise self.error(node, "a number or an array", f"{found}, which is for parameters only")
        return typing.cast("Value", found)

    def literal(self, node: ast.List | ast.Tuple) -> Array:
        """A list of numbers, nested to any depth, as an array."""

        def numbers(part: ast.expr) -> Any:
            if isinstance(part, (ast.List, ast.Tuple)):
                return [numbers(one) for one in part.elts]
            found = self.operand(part)
            if not isinstance(found, (int, float)):
                what = "a node" if isinstance(found, Node) else "an array"
                raise self.error(part, "numbers in the list", what, "write stack([a, b])")
            return found

        try:
            return as_value(numbers(node), self.formula.part(node))
        except GraphEngineError as error:
            if isinstance(error, FormulaError):
                raise
            raise self.error(node, "lists of equal length", "unequal ones") from None

    def parameter(self, node: ast.expr) -> Any:
        """A parameter's value: numbers, True, False, None, lists of them as tuples."""
        if isinstance(node, (ast.List, ast.Tuple)):
            return tuple(self.parameter(one) for one in node.elts)
        found = self.value(node)
        if isinstance(found, (Node, np.ndarray)):
            what = "a node" if isinstance(found, Node) else "an array"
            raise self.error(node, "numbers for a parameter", what)
        return found

    def whole(self, node: ast.expr, what: str) -> int:
        """A whole number: an index or a size."""
        found = self.parameter(node)
        if isinstance(found, bool) or not isinstance(found, int):
            raise self.error(node, f"a whole number for {what}", described(found))
        return found

    # --- the tree -------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Any:
        """What a part of the formula stands for."""
        return _PARTS[type(node)](self, node)

    def constant(self, node: ast.Constant) -> Any:
        """A number; True, False and None, which are for parameters."""
        found = node.value
        if isinstance(found, int) and not isinstance(found, bool) and found > MAX_WHOLE:
            return float(found)
        if found is Ellipsis:
            raise self.error(node, "a number or a name", "...", "... stands in an index: x[..., 0]")
        return found

    def compared(self, node: ast.Compare) -> Value:
        """1 where the comparison holds, else 0."""
        name = _COMPARISONS[type(node.ops[0])]
        args = self.operand(node.left), self.operand(node.comparators[0])
        return self.applied(self.op(name, node), args, node)

    def transposed(self, node: ast.Attribute) -> Value:
        """``x.T``."""
        return self.applied(self.op("transpose", node), (self.operand(node.value),), node)

    def shown(self, node: ast.AST) -> str:
        """The text of ``node``."""
        return self.formula.part(node).removeprefix(f"{self.formula.at(node)}: ")

    def named(self, node: ast.Name) -> Any:
        """What a name stands for."""
        if node.id in self.names:
            found = self.names[node.id]
            return found.item() if isinstance(found, np.generic) else found
        if node.id in CONSTANTS:
            return CONSTANTS[node.id]
        if node.id in self.functions or node.id in FILLED:
            raise self.error(node, "a value", f"the function {node.id!r}", f"write {node.id}(…)")
        raise self.error(
            node,
            "a known name",
            repr(node.id),
            nearest(node.id, [*self.names, *CONSTANTS])
            or nearest(node.id, self.functions)
            or f"known are {', '.join([*self.names][:12])}",
        )

    def binary(self, node: ast.BinOp) -> Any:
        """A chain of operators, from the left; long sums do not recurse."""
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        left: Any = self.operand(chain[-1].left)
        for one in reversed(chain):
            right = self.operand(one.right)
            name = _BINARY[type(one.op)]
            products = name == "matmul"
            if isinstance(left, (int, float)) and isinstance(right, (int, float)) and not products:
                left = self.arithmetic(name, left, right, one)
            else:
                left = self.applied(self.op(name, one), (left, right), one)
        return left

    def unary(self, node: ast.UnaryOp) -> Any:
        """A sign."""
        found = self.operand(node.operand)
        if isinstance(node.op, ast.UAdd):
            return found
        if isinstance(found, (int, float)):
            return -found
        return self.applied(self.op("negative", node), (found,), node)

    def arithmetic(self, name: str, left: float, right: float, node: ast.AST) -> int | float:
        """Numbers stay numbers; whole ones beyond 2**53 become floats."""
        try:
            found = _ARITHMETIC[name](left, right)
        except ZeroDivisionError:
            raise self.error(node, "a number", "a division by zero") from None
        except OverflowError:
            found = math.inf
        if isinstance(found, complex):
            raise self.error(node, "a real number", "the root of a negative one")
        if math.isfinite(left) and math.isfinite(right) and not math.isfinite(found):
            raise self.error(node, "a number below 1.8e308", self.shown(node))
        return float(found) if abs(found) > MAX_WHOLE else found

    def indexed(self, node: ast.Subscript) -> Any:
        """``x[…]``."""
        base = self.operand(node.value)
        if isinstance(base, (int, float)):
            raise self.error(node, "an array before '['", "a number")
        given = node.slice
        parts = given.elts if isinstance(given, ast.Tuple) else [given]
        index = tuple(self.index(part) for part in parts)
        if any(isinstance(item, Node) for item in index):
            op, more = self.guarded(node, pick, index)
            return self.applied(op, (base, *more), node)
        return self.applied(self.made("getitem", (index,), {}, node), (base,), node)

    def index(self, node: ast.expr) -> Any:
        """One index: a whole number, a slice, None, ..., a list of positions, a node of them."""
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if end is None else self.whole(end, "a slice") for end in ends))
        if isinstance(node, ast.Constant) and (node.value is None or node.value is Ellipsis):
            return node.value
        if isinstance(node, ast.Compare):
            raise self.error(node, "positions", "a condition", "multiply by it: x * (x > 0)")
        if isinstance(node, (ast.List, ast.Tuple)):
            return self.parameter(node)
        found = self.value(node)
        return found if isinstance(found, (Node, np.ndarray)) else self.whole(node, "an index")

    # --- functions ------------------------------------------------------------------------

    def called(self, node: ast.Call) -> Any:
        """A function of the table, or eye, ones, zeros."""
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in self.functions:
            return self.function(name, node)
        if name in FILLED:
            return self.filled(name, node)
        known = [*self.functions, *FILLED]
        if name in self.names:
            kind = "a number" if isinstance(self.names[name], (int, float)) else "a value"
            raise self.error(
                node,
                "a function before '('",
                f"{name!r}, {kind}",
                f"a product is written {name} * (…)",
            )
        other = _OTHER_NAMES.get(name)
        hint = f"write {other}" if other else nearest(name, known)
        raise self.error(node, "a known function", repr(name), hint)

    def function(self, name: str, node: ast.Call) -> Any:
        """An op on its arguments, which come before its parameters."""
        op = self.functions[name].op
        first, rest = list(node.args), []
        if not op.variadic:
            first, rest = first[: len(op.arguments)], first[len(op.arguments) :]
        elif first and isinstance(first[0], (ast.List, ast.Tuple)):
            first, rest = first[0].elts, first[1:]
        fields = [field.name for field in dataclasses.fields(op)]  # type: ignore[arg-type]  # each is
        if len(rest) > len(fields):
            takes = (*op.arguments, *fields)
            raise self.error(
                node, f"{plural(len(takes), 'argument')} ({', '.join(takes)})", str(len(node.args))
            )
        parameters: dict[str, Any] = {}
        for keyword in node.keywords:
            assert keyword.arg is not None
            if keyword.arg in op.arguments:
                raise self.error(
                    keyword.value,
                    f"{name}({', '.join(op.arguments)}, …), arguments by their place",
                    f"{keyword.arg}=",
                )
            if keyword.arg in parameters:
                raise self.error(keyword.value, f"{keyword.arg}= once", f"{keyword.arg}= again")
            parameters[keyword.arg] = self.parameter(keyword.value)
        places = tuple(self.parameter(one) for one in rest)
        args = [self.operand(one) for one in first]
        return self.applied(self.made(name, places, parameters, node), args, node)

    def op(self, name: str, node: ast.AST) -> Op:
        """The op of an operator."""
        return self.made(name, (), {}, node)

    def made(
        self, name: str, places: tuple[Any, ...], parameters: Mapping[str, Any], node: ast.AST
    ) -> Op:
        """The op of that name with these parameters, whose types are checked."""
        if name not in self.functions:
            raise self.error(node, f"the function {name!r} in the table", "a table without it")
        function = self.functions[name]
        return typing.cast("Op", self.guarded(node, function.make, places, parameters))

    def filled(self, name: str, node: ast.Call) -> Array:
        """eye, ones and zeros."""
        if node.keywords:
            raise self.error(node, f"sizes in {name}(…)", f"{node.keywords[0].arg}=")
        given = node.args
        if len(given) == 1 and isinstance(given[0], (ast.List, ast.Tuple)) and name != "eye":
            given = given[0].elts
        shape = tuple(self.whole(one, "a size") for one in given)
        if any(size < 0 for size in shape):
            raise self.error(node, "sizes from 0", str(min(shape)))
        if name != "eye":
            self.budget.array(lambda: self.formula.part(node), shape, constant=True)
            return np.ones(shape) if name == "ones" else np.zeros(shape)
        if len(shape) not in {1, 2}:
            raise self.error(node, "eye(n) or eye(n, m)", f"{len(shape)} sizes")
        self.budget.array(lambda: self.formula.part(node), (shape[0], shape[-1]), constant=True)
        return np.eye(shape[0], shape[-1])

    def applied(self, op: Op, args: Sequence[Value], node: ast.AST) -> Value:
        """``op`` on operands: a node if one is a node, else the value, folded now."""
        shapes = [arg.shape if isinstance(arg, Node) else np.shape(arg) for arg in args]
        self.guarded(node, op.check_arity, len(args))
        shape = self.guarded(node, op.shape, *shapes)
        made = any(isinstance(arg, Node) for arg in args)
        self.budget.op(lambda: self.formula.part(node), op, shapes, shape, constant=not made)
        if made:
            return typing.cast("Value", self.guarded(node, self.graph.add, op, args))
        value = self.guarded(node, op.value, *(as_value(arg, "") for arg in args))
        if value.shape != shape:
            raise ShapeError(
                self.formula.part(node), expected=f"shape {shape}", got=f"{value.shape}"
            )
        return float(value) if value.ndim == 0 else value

    def guarded(self, node: ast.AST, function: Any, *args: Any) -> Any:
        """``function(*args)``, with the formula's place in front of what it refuses."""
        try:
            return function(*args)
        except GraphEngineError as error:
            raise error.located(self.formula.part(node)) from None
        except Exception as error:  # a caller's own op may raise anything
            got = " ".join(str(error).split())[:120] or type(error).__name__
            raise FormulaError(
                self.formula.part(node), expected="arguments that fit", got=got
            ) from error


def _power(left: float, right: float) -> Any:
    """``left ** right``, as a float where a whole number would be long."""
    whole = isinstance(left, int) and isinstance(right, int) and right > 0
    if whole and right * max(abs(int(left)), 1).bit_length() > 60:
        return float(left) ** right
    return left**right


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": _power,
}
_PARTS: Mapping[type[ast.AST], Callable[[Evaluator, Any], Any]] = {
    ast.BinOp: Evaluator.binary,
    ast.UnaryOp: Evaluator.unary,
    ast.Compare: Evaluator.compared,
    ast.Attribute: Evaluator.transposed,
    ast.Subscript: Evaluator.indexed,
    ast.Call: Evaluator.called,
    ast.Name: Evaluator.named,
    ast.Constant: Evaluator.constant,
    ast.List: Evaluator.literal,
    ast.Tuple: Evaluator.literal,
}
