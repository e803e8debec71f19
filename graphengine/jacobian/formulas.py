"""Formulas as they are written on the board, in Unicode text and in LaTeX."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

__all__ = ["formula", "named_text"]


def named_text(source: str, names: Mapping[str, str]) -> str:
    """A formula with the names in braces filled in.

    >>> named_text("1 - {out}**2", {"out": "h"}), named_text("{x} * 2", {"x": "a + b"})
    ('1 - h**2', '(a + b) * 2')
    """

    def name(found: re.Match[str]) -> str:
        called = names.get(found[1], found[1])
        return called if re.fullmatch(r"[\w.]+", called) else f"({called})"

    return re.sub(r"\{(\w+)\}", name, source)


_SUPER = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_GREEK = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu", "nu"}
    | {"xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"}
)
_COMPARISONS: dict[type[ast.AST], str] = {
    ast.Gt: " > ",
    ast.Lt: " < ",
    ast.GtE: " ≥ ",
    ast.LtE: " ≤ ",
    ast.Eq: " = ",
    ast.NotEq: " ≠ ",
}
_SIGNS = _COMPARISONS | {
    ast.Add: " + ",
    ast.Sub: " − ",
    ast.Mult: " ",
    ast.MatMult: " ",
    ast.Div: " / ",
    ast.Pow: "^",
}
_LATEX_SIGNS = _COMPARISONS | {
    ast.Add: " + ",
    ast.Sub: " - ",
    ast.Mult: r"\,",
    ast.MatMult: r"\,",
    ast.GtE: r" \ge ",
    ast.LtE: r" \le ",
    ast.NotEq: r" \ne ",
}
_FUNCTIONS = {"log", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "det", "max", "min"}


def formula(source: str, *, latex: bool = False) -> str:
    r"""A formula as it is written on the board.

    >>> formula("1 - h**2"), formula("-y / (y @ p)")
    ('1 − h²', '−y / (y p)')
    >>> print(formula("lam * sqrt(x1)", latex=True))
    \lambda\,\sqrt{x_{1}}
    """
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError:
        return source
    return (_latex_of if latex else _text_of)(tree, 0)


def _level(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp):
        return {ast.Add: 1, ast.Sub: 1, ast.Pow: 4}.get(type(node.op), 2)
    return {ast.UnaryOp: 3, ast.Compare: 0}.get(type(node), 5)


def _text_of(node: ast.expr, level: int) -> str:
    mine = _level(node)
    match node:
        case ast.BinOp(left, ast.Pow(), ast.Constant(int(n))):
            body = _text_of(left, 5) + str(n).translate(_SUPER)
        case ast.BinOp(left, ast.Pow(), ast.UnaryOp(ast.USub(), ast.Constant(int(n)))):
            body = _text_of(left, 5) + f"-{n}".translate(_SUPER)
        case ast.BinOp(left, op, right) | ast.Compare(left, [op], [right]):
            body = _text_of(left, mine) + _SIGNS[type(op)] + _text_of(right, mine + 1)
        case ast.UnaryOp(ast.USub(), operand):
            body = "−" + _text_of(operand, 2)
        case ast.Attribute(value, "T"):
            body = _text_of(value, 5) + "ᵀ"
        case ast.Call(func, args):
            body = f"{ast.unparse(func)}({', '.join(_text_of(arg, 0) for arg in args)})"
        case ast.Constant(value) if isinstance(value, (int, float)):
            body = f"{value:.6g}"
        case _:
            body = ast.unparse(node)
    return f"({body})" if mine < level else body


def _latex_of(node: ast.expr, level: int) -> str:
    mine = _level(node)
    match node:
        case ast.BinOp(left, ast.Div(), right):
            return rf"\frac{{{_latex_of(left, 0)}}}{{{_latex_of(right, 0)}}}"
        case ast.BinOp(left, ast.Pow(), right):
            body = f"{_latex_of(left, 5)}^{{{_latex_of(right, 0)}}}"
        case ast.BinOp(left, op, right) | ast.Compare(left, [op], [right]):
            body = _latex_of(left, mine) + _LATEX_SIGNS[type(op)] + _latex_of(right, mine + 1)
        case ast.UnaryOp(ast.USub(), operand):
            body = "-" + _latex_of(operand, 2)
        case ast.Attribute(value, "T"):
            body = _latex_of(value, 5) + r"^\top"
        case ast.Call(ast.Name("sqrt"), [arg]):
            return rf"\sqrt{{{_latex_of(arg, 0)}}}"
        case ast.Call(ast.Name(name), args):
            head = f"\\{name}" if name in _FUNCTIONS else rf"\operatorname{{{_escape(name)}}}"
            body = f"{head}({', '.join(_latex_of(arg, 0) for arg in args)})"
        case ast.Name(name):
            body = _latex_name(name)
        case ast.Constant(value) if isinstance(value, (int, float)):
            body = f"{value:.6g}"
        case _:
            body = rf"\mathrm{{{_escape(ast.unparse(node))}}}"
    return f"({body})" if mine < level else body


def _escape(name: str) -> str:
    return name.replace("_", r"\_")


def _latex_name(name: str) -> str:
    head, number = re.fullmatch(r"(.*?)_?(\d*)", name).groups()  # type: ignore[union-attr]  # always matches
    head = {"lam": "lambda"}.get(head, head)
    if head in _GREEK:
        head = "\\" + head
    elif len(head) > 1:
        head = rf"\mathrm{{{_escape(head)}}}"
    return f"{head}_{{{number}}}" if number else head
