"""Formula text to nodes, arrays and numbers: a whitelist over Python's syntax tree.

The language is a part of Python's expressions with NumPy's meaning: numbers, names,
``+ - * / ** @``, comparisons, ``.T``, indexing and slicing, lists, and the functions of one table
(the ops, and :data:`FORMULA_ONLY`).  Text is parsed, never run: what is not on the list is refused
with its place.  Shapes are known before arrays are made, and bytes and work are bounded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from graphengine.errors import FormulaError, nearest
from graphengine.formula.budget import Budget
from graphengine.formula.evaluator import Evaluator, Value
from graphengine.formula.source import MAX_DEPTH, scan
from graphengine.graph import Graph, Node
from graphengine.ops import OPS, OpFunction
from graphengine.ops.base import Array

__all__ = ["FORMULA_ONLY", "Formula", "build", "build_within", "parse"]

At: TypeAlias = Callable[[int], str]

FORMULA_ONLY: Mapping[str, str] = {
    "eye(n, m=n)": "The n × m matrix with ones on its diagonal.",
    "ones(n, …)": "An array of ones of the shape n, ….",
    "zeros(n, …)": "An array of zeros of the shape n, ….",
    "pi": "3.14159…, where no node has the name.",
    "e": "2.71828…, where no node has the name.",
    "inf": "Infinity, where no node has the name.",
    "x.T": "The transpose: transpose(x).",
    "x[…]": "Entries and slices, as in NumPy: x[0], x[1:], x[:, -1].",
}
"""What formulas have beside the ops' functions, with one line on each."""

_LIBRARIES = frozenset(
    {"np", "numpy", "jnp", "jax", "torch", "tf", "math", "scipy", "ge", "linalg"}
)
_OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.MatMult, ast.UAdd, ast.USub),
    *(ast.Gt, ast.Lt, ast.GtE, ast.LtE, ast.Eq, ast.NotEq),
)
_ALLOWED = (
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.Attribute,
    ast.Subscript,
    ast.Slice,
    ast.Tuple,
    ast.List,
    ast.Call,
    ast.keyword,
    ast.Name,
    ast.Constant,
)


class Formula:
    """Formula text that has been found to be in the language.

    ``text`` is the text as given, ``place`` where it stands, ``names`` the free names that it
    uses (functions aside), each once, in the order of the text.  Formulas of equal text are
    equal.

    >>> parse("-log(y @ p) + lam * sum(W**2)").names
    ('y', 'p', 'lam', 'W')
    """

    __slots__ = ("_at", "_free", "_shift", "names", "place", "text", "tree")

    def __init__(self, text: str, place: str, tree: ast.expr, at: At, shift: int) -> None:
        self.text, self.place, self.tree, self._at, self._shift = text, place, tree, at, shift
        nodes = list(ast.walk(tree))
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        self._free = sorted(
            (n for n in nodes if isinstance(n, ast.Name) and id(n) not in called),
            key=lambda node: node.col_offset,
        )
        self.names = tuple(dict.fromkeys(node.id for node in self._free))

    def at(self, node: ast.AST) -> str:
        """The place of a part of the formula, as ``file:line:column``."""
        return self._at(getattr(node, "col_offset", 0) + self._shift)

    def part(self, node: ast.AST) -> str:
        """The place and the text of a part, for errors about it."""
        start = getattr(node, "col_offset", 0) + self._shift
        end = (getattr(node, "end_col_offset", 0) or 0) + self._shift
        shown = " ".join(self.text[start:end].split())
        return f"{self._at(start)}: {shown if len(shown) <= 60 else shown[:57] + '…'}"

    def places(self) -> Iterator[tuple[str, str]]:
        """The free names and the place of each one's first use, in the order of the text."""
        seen: set[str] = set()
        for node in self._free:
            if node.id not in seen:
                seen.add(node.id)
                yield node.id, self.at(node)

    def divisions(self) -> Iterator[tuple[str, str, ast.AST]]:
        """The parts ``a / b`` of two names, which may be meant as a claim."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                left, right = node.left, node.right
                if isinstance(left, ast.Name) and isinstance(right, ast.Name):
                    yield left.id, right.id, node

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"<Formula {self.text!r}>"


def parse(text: str, place: str = "formula", *, at: At | None = None) -> Formula:
    """``text`` as a formula.

    ``place`` is where its first character stands, as ``file:line:column``; ``at`` may tell the
    place of any other character from its offset.  Raises :class:`FormulaError` at the place of
    the first thing outside the language.

    >>> parse("W^2")
    Traceback (most recent call last):
    graphengine.errors.FormulaError: formula:1:2: expected a number, a name or an operator, got '^';
    powers are written **
    """
    where = at or _counter(text, place)
    scan(text, where)
    flat = re.sub(r"\s", " ", text)
    shift = len(flat) - len(flat.lstrip())
    try:
        tree = ast.parse(flat[shift:], mode="eval").body
    except SyntaxError as error:
        raise FormulaError(
            where(max((error.offset or 1) - 1, 0) + shift),
            expected="a formula",
            got=(error.msg or "something else").rstrip("."),
        ) from None
    except (RecursionError, MemoryError, ValueError):
        raise _too_deep(where(0)) from None
    formula = Formula(text, place, tree, where, shift)
    _check(formula)
    return formula


def build(
    formula: Formula,
    names: Mapping[str, Node | Array | int | float],
    functions: Mapping[str, OpFunction],
    *,
    graph: Graph,
    limit: int,
) -> Node | Array | int | float:
    """What ``formula`` stands for: nodes in make nodes in ``graph``, numbers stay numbers.

    ``limit`` bounds the bytes of all arrays that the formula stands for, nodes' values
    included.  Raises :class:`TooLargeError` before anything is made, :class:`ShapeError` for
    shapes that do not go together, :class:`FormulaError` for unknown names; each says where.

    >>> from graphengine.ops import functions
    >>> g = Graph()
    >>> names = {"W": g.parameter("W", (3, 4)), "x": g.input("x", 4), "n": 3}
    >>> build(parse("tanh(W @ x) * n"), names, functions(), graph=g, limit=1000).shape
    (3,)
    >>> build(parse("2 * n - 1"), names, functions(), graph=g, limit=1000)
    5
    """
    return build_within(formula, names, functions, graph=graph, budget=Budget(limit))


def build_within(
    formula: Formula,
    names: Mapping[str, Node | Array | int | float],
    functions: Mapping[str, OpFunction],
    *,
    graph: Graph,
    budget: Budget,
) -> Value:
    """:func:`build` with a budget that several formulas share."""
    return Evaluator(formula, names, functions, graph, budget).result()


def _counter(text: str, place: str) -> At:
    """Places counted from ``file:line:column`` of the first character."""
    found = re.fullmatch(r"(.*):(\d+):(\d+)", place, re.DOTALL)
    file, line, column = (found[1], int(found[2]), int(found[3])) if found else (place, 1, 1)

    def at(offset: int) -> str:
        before = text[:offset]
        lines = before.count("\n")
        start = before.rfind("\n") + 1
        return f"{file}:{line + lines}:{(1 if lines else column) + offset - start}"

    return at


def _too_deep(where: str) -> FormulaError:
    return FormulaError(
        where,
        expected=f"at most {MAX_DEPTH} levels of brackets, powers and calls",
        got="more",
        hint="give parts of the formula names of their own",
    )


def _check(formula: Formula) -> None:
    """Refuse everything but the language; the left side of a long sum counts as one level."""
    stack: list[tuple[ast.AST, int]] = [(formula.tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise _too_deep(formula.at(node))
        operators = [*getattr(node, "ops", ()), getattr(node, "op", ast.Add())]
        if isinstance(node, ast.keyword) and node.arg is None:
            raise FormulaError(formula.at(node), expected="a parameter's name", got="**")
        if not isinstance(node, _ALLOWED) or not all(isinstance(o, _OPERATORS) for o in operators):
            raise FormulaError(
                formula.at(node), expected="a formula", got=f"Python's {type(node).__name__}"
            )
        if isinstance(node, ast.BinOp):
            stack += [(node.left, depth), (node.right, depth + 1)]
            continue
        if isinstance(node, ast.Compare) and len(node.ops) > 1:
            raise FormulaError(
                formula.at(node),
                expected="one comparison",
                got=f"{len(node.ops)} in a row",
                hint="multiply two: (a < b) * (b < c)",
            )
        if isinstance(node, ast.Call):
            _check_call(formula, node)
        if isinstance(node, ast.Attribute) and node.attr != "T":
            raise _no_attribute(formula, node)
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes, complex)):
            raise FormulaError(formula.at(node), expected="a number", got=repr(node.value)[:40])
        stack += [
            (child, depth + 1)
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.expr_context, *_OPERATORS))
        ]


def _check_call(formula: Formula, node: ast.Call) -> None:
    if isinstance(node.func, ast.Attribute):
        if node.func.attr == "T":
            raise FormulaError(
                formula.at(node), expected=".T", got=".T(…)", hint="write .T without brackets"
            )
        raise _no_attribute(formula, node.func)
    if not isinstance(node.func, ast.Name):
        raise FormulaError(formula.at(node), expected="a function's name before '('", got="a value")


def _no_attribute(formula: Formula, node: ast.Attribute) -> FormulaError:
    base = node.value
    while isinstance(base, ast.Attribute):
        base = base.value
    got = formula.part(node).removeprefix(f"{formula.at(node)}: ")
    library = isinstance(base, ast.Name) and base.id in _LIBRARIES
    known = [*OPS, "eye", "ones", "zeros", "pi", "e", "inf"]
    if node.attr in {"t", "mT", "H", "transpose"} and not library:
        hint = "the transpose is written .T"
    elif node.attr in {"dot", "matmul", "mm"} and not library:
        hint = "a product of matrices is written A @ B"
    elif node.attr == "shape":
        hint = "sizes have letters of their own, under sizes:"
    elif node.attr in known:
        name = node.attr
        constant = name in {"pi", "e", "inf"}
        arguments = "" if constant else "(…)" if library else f"({_shown(formula, node.value)}, …)"
        hint = f"write {name}{arguments.replace(', …', '') if not library else arguments}"
    else:
        hint = nearest(node.attr, known) if library else ""
    expected = "a function's name" if library else ".T, the only attribute"
    return FormulaError(formula.at(node), expected=expected, got=got, hint=hint)


def _shown(formula: Formula, node: ast.expr) -> str:
    return formula.part(node).removeprefix(f"{formula.at(node)}: ")
