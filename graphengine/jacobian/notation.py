"""What is written on the board: ``I₃ ⊗ xᵀ``, ``diag(p) − p pᵀ``, in text and in LaTeX."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphengine.jacobian.terms import Factor, Index, Label, Side, Term


def text(terms: Sequence[Term], names: Mapping[str, str]) -> str:
    """The sum of ``terms`` in Unicode text."""
    return _Board(_TEXT, names).sum(terms)


def latex(terms: Sequence[Term], names: Mapping[str, str]) -> str:
    """The sum of ``terms`` in LaTeX."""
    return _Board(_LATEX, names).sum(terms)


@dataclass(frozen=True)
class _Style:
    """How the parts of a Jacobian are written."""

    minus: str
    plus: str
    identity: str
    ones: str
    kron: str
    transpose: str
    diag: str
    vec: str
    block: str
    commute: str
    juxtapose: str
    delta: str
    latex: bool


_TEXT = _Style(
    minus="−",
    plus="+",
    identity="I{n}",
    ones="1{n}",
    kron=" ⊗ ",
    transpose="{}ᵀ",
    diag="diag({})",
    vec="vec({})",
    block="blockdiag({})",
    commute="K{n}",
    juxtapose=" ",
    delta="[{out} ← {into}: {body}]",
    latex=False,
)
_LATEX = _Style(
    minus="-",
    plus="+",
    identity="I{n}",
    ones=r"\mathbf{{1}}{n}",
    kron=r" \otimes ",
    transpose=r"{}^\top",
    diag=r"\operatorname{{diag}}({})",
    vec=r"\operatorname{{vec}}({})",
    block=r"\operatorname{{blockdiag}}({})",
    commute="K{n}",
    juxtapose=r"\,",
    delta=r"\left[{out} \leftarrow {into}:\ {body}\right]",
    latex=True,
)


class _NoForm(Exception):
    """A term without a matrix form, which is shown in index notation."""


@dataclass(frozen=True)
class _Board:
    style: _Style
    names: Mapping[str, str]

    def sum(self, terms: Sequence[Term]) -> str:
        if not terms:
            return "0"
        parts: list[str] = []
        for part in terms:
            body = self.term(part)
            negative = part.coef < 0
            if not parts:
                parts.append((self.style.minus if negative else "") + body)
            else:
                parts.append(f" {self.style.minus if negative else self.style.plus} {body}")
        return "".join(parts)

    def term(self, part: Term) -> str:
        """One term without its sign."""
        scale = self.number(abs(part.coef)) if abs(part.coef) != 1.0 else ""
        try:
            body = self.matrix(part)
        except _NoForm:
            body = self.index_notation(part)
        if not body:
            return scale or "1"
        if scale and body.startswith("1 / "):
            return scale + body[1:]
        return f"{scale}{self.style.juxtapose}{body}" if scale else body

    # --- matrix form ------------------------------------------------------------------

    def matrix(self, part: Term) -> str:
        indexes = part.out.axes + part.into.axes
        if any(index.at is not None for index in indexes):
            raise _NoForm
        out = [index.label for index in part.out.axes]
        into = [index.label for index in part.into.axes]
        return self.kronecker(out, into, list(part.factors), part.sizes)

    def kronecker(
        self,
        out: list[Label],
        into: list[Label],
        factors: list[Factor],
        sizes: Mapping[Label, int],
    ) -> str:
        """The Kronecker product of the groups of labels that factors connect."""
        scalars = [self.bracketed(factor) for factor in factors if not factor.labels]
        factors = [factor for factor in factors if factor.labels]
        if (
            not factors
            and sorted(out) == sorted(into)
            and out != into
            and len(set(out)) == len(out)
        ):
            numbers = ",".join(str(sizes[label]) for label in out)
            return self.joined([*scalars, self.style.commute.format(n=self.sub(numbers))])
        group = _groups([*out, *into], factors)
        order = _merged_order([group[k] for k in out], [group[k] for k in into])
        pieces: list[tuple[str, str]] = []  # (kind, text)
        for key in order:
            rows = [label for label in out if group[label] == key]
            cols = [label for label in into if group[label] == key]
            inside = [factor for factor in factors if group[factor.labels[0]] == key]
            kind, body = self.group(rows, cols, inside, sizes)
            if kind == "identity" and pieces and pieces[-1][0] == "identity":
                pieces[-1] = (kind, str(int(pieces[-1][1]) * int(body)))
            else:
                pieces.append((kind, body))
        written = [
            self.style.identity.format(n=self.sub(body)) if kind == "identity" else body
            for kind, body in pieces
        ]
        columns = [body for kind, body in pieces if kind == "column"]
        rows_ = [body for kind, body in pieces if kind == "row"]
        if columns and rows_ and len(columns) + len(rows_) == len(pieces):  # u vᵀ
            return self.joined([*scalars, self.product_of(columns), self.product_of(rows_)])
        return self.joined([*scalars, self.style.kron.join(written)] if written else scalars)

    def product_of(self, parts: list[str]) -> str:
        body = self.style.kron.join(parts)
        return f"({body})" if len(parts) > 1 else body

    def group(
        self,
        rows: list[Label],
        cols: list[Label],
        factors: list[Factor],
        sizes: Mapping[Label, int],
    ) -> tuple[str, str]:
        """Kind (identity, row, column, matrix) and text of one connected group of labels."""
        size = math.prod(sizes[label] for label in dict.fromkeys(rows + cols))
        distinct = len(set(rows)) == len(rows) and len(set(cols)) == len(cols)
        if rows == cols and distinct:
            if not factors:
                return "identity", str(size)
            return "matrix", self.style.diag.format(self.product(factors, rows))
        if not cols or not rows:
            body = self.vector(rows or cols, factors, sizes)
            return ("column", body) if not cols else ("row", self.transposed(body))
        if not distinct or (not factors):
            raise _NoForm
        if rows[0] == cols[0]:
            batch = rows[0]
            inner = [
                Factor(f.array, tuple(k for k in f.labels if k != batch), f.text) for f in factors
            ]
            return "matrix", self.style.block.format(
                self.kronecker(rows[1:], cols[1:], inner, sizes)
            )
        if len(rows) == 1 and len(cols) == 1:
            left = [f for f in factors if f.labels == (rows[0],)]
            right = [f for f in factors if f.labels == (cols[0],)]
            middle = [f for f in factors if len(f.labels) == 2]
            if len(middle) == 1:
                body = self.bracketed(middle[0])
                if middle[0].labels == (cols[0], rows[0]):
                    body = self.transposed(body)
                ends = [
                    self.style.diag.format(self.product(part, part[0].labels)) if part else ""
                    for part in (left, right)
                ]
                return "matrix", self.joined([ends[0], body, ends[1]])
        if len(factors) == 1 and factors[0].labels == (*rows, *cols):
            return "matrix", self.bracketed(factors[0])
        raise _NoForm

    def vector(self, labels: list[Label], factors: list[Factor], sizes: Mapping[Label, int]) -> str:
        """The text of a column that only one side has."""
        once = list(dict.fromkeys(labels))
        if not factors:
            if once == labels:
                return self.style.ones.format(
                    n=self.sub(str(math.prod(sizes[label] for label in labels)))
                )
            if len(once) == 1:
                identity = self.style.identity.format(n=self.sub(str(sizes[once[0]])))
                return self.style.vec.format(identity)
            raise _NoForm
        if once != labels:
            raise _NoForm
        if len(factors) == 1 and list(factors[0].labels) == labels[::-1] and len(labels) == 2:
            return self.style.vec.format(self.transposed(self.bracketed(factors[0])))
        body = self.product(factors, labels)
        return self.style.vec.format(body) if len(labels) > 1 else self.wrap(body)

    def product(self, factors: Sequence[Factor], labels: Iterable[Label]) -> str:
        """Factors over the same labels, multiplied entry by entry."""
        if any(list(factor.labels) != list(labels) for factor in factors):
            raise _NoForm
        if len(factors) == 1:
            return self.formula(factors[0])
        mark = r" \odot " if self.style.latex else " ⊙ "
        return mark.join(self.bracketed(factor) for factor in factors)

    # --- index notation -----------------------------------------------------------------

    def index_notation(self, part: Term) -> str:
        labels = dict.fromkeys((*part.labels, *(k for f in part.factors for k in f.labels)))
        letters = dict(zip(labels, _LETTERS, strict=False))
        body = self.style.juxtapose.join(
            self.bracketed(f) + "_" + self.subscripts(letters[k] for k in f.labels)
            if f.labels
            else self.bracketed(f)
            for f in part.factors
        )

        def side(given: Side) -> str:
            return " ".join(_position(index, letters) for index in given.axes) or "·"

        arrow = r"\leftarrow" if self.style.latex else "←"
        if not body:
            return f"[{side(part.out)} {arrow} {side(part.into)}]"
        return self.style.delta.format(out=side(part.out), into=side(part.into), body=body)

    def subscripts(self, letters: Iterable[str]) -> str:
        found = "".join(letters)
        return "{" + found + "}" if self.style.latex else found

    # --- small parts ----------------------------------------------------------------------

    def joined(self, parts: Sequence[str]) -> str:
        return self.style.juxtapose.join(part for part in parts if part)

    def formula(self, factor: Factor) -> str:
        if not factor.text:
            return "J"
        names = {key: _bare(value) for key, value in self.names.items()}
        filled = re.sub(r"\{(\w+)\}", lambda m: names.get(m[1], m[1]), factor.text)
        return formula(filled, latex=self.style.latex)

    def bracketed(self, factor: Factor) -> str:
        return self.wrap(self.formula(factor))

    def wrap(self, body: str) -> str:
        simple = re.fullmatch(r"[\w.\\{}^ᵀ⁻¹²³]+|\w+\(.*\)", body)
        return body if simple else f"({body})"

    def transposed(self, body: str) -> str:
        mark = self.style.transpose.format("")
        return body.removesuffix(mark) if body.endswith(mark) else body + mark

    def sub(self, number: str) -> str:
        if self.style.latex:
            return "_{" + number + "}"
        return number.translate(str.maketrans("0123456789,", "₀₁₂₃₄₅₆₇₈₉,"))

    def number(self, value: float) -> str:
        return f"{value:.6g}"


_LETTERS = "ijklmnopqrstuvwxyzabcdefghIJKLMNOPQRSTUVWXYZABCDEFGH"


def _bare(name: str) -> str:
    """A node's name as one operand: a formula in it is put in brackets."""
    return name if re.fullmatch(r"[\w.]+", name) else f"({name})"


def _groups(labels: Sequence[Label], factors: Sequence[Factor]) -> dict[Label, Label]:
    """Each label's group: labels that a factor connects are in one."""
    group = {label: label for label in labels}
    for factor in factors:
        if any(label not in group for label in factor.labels):
            raise _NoForm
        keys = {group[label] for label in factor.labels}
        first = min(keys)
        group = {label: first if key in keys else key for label, key in group.items()}
    return group


def _merged_order(out: list[Label], into: list[Label]) -> list[Label]:
    """One order of groups that both sides follow; no form if there is none."""
    first, second = (list(dict.fromkeys(side)) for side in (out, into))
    for side, order in ((out, first), (into, second)):
        if sorted(side, key=order.index) != side:
            raise _NoForm
    shared = [key for key in first if key in second]
    if shared != [key for key in second if key in first]:
        raise _NoForm
    merged: list[Label] = []
    for key in [*shared, None]:  # between shared groups: columns, then rows
        for side in (first, second):
            while side and side[0] != key:
                merged.append(side.pop(0))
        if key is not None:
            merged.append(key)
            first.pop(0)
            second.pop(0)
    return merged


def _position(index: Index, letters: Mapping[Label, str]) -> str:
    letter = letters[index.label]
    if index.at is None:
        return letter
    if isinstance(index.at, range):
        if len(index.at) == 1:
            return str(index.at.start)
        head = letter if index.at.step == 1 else f"{index.at.step}{letter}"
        return f"{head}+{index.at.start}" if index.at.start else head
    return f"σ({letter})"


# --- formulas -----------------------------------------------------------------------------

_SUPER = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_GREEK = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu", "nu"}
    | {"xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"}
)
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
    return 3 if isinstance(node, ast.UnaryOp) else 5


def _text_of(node: ast.expr, level: int) -> str:
    mine = _level(node)
    match node:
        case ast.BinOp(left, ast.Pow(), ast.Constant(int(n))):
            body = _text_of(left, 5) + str(n).translate(_SUPER)
        case ast.BinOp(left, ast.Pow(), ast.UnaryOp(ast.USub(), ast.Constant(int(n)))):
            body = _text_of(left, 5) + f"-{n}".translate(_SUPER)
        case ast.BinOp(left, op, right):
            mark = {
                ast.Add: " + ",
                ast.Sub: " − ",
                ast.Mult: " ",
                ast.MatMult: " ",
                ast.Div: " / ",
                ast.Pow: "^",
            }.get(type(op), " ? ")
            body = _text_of(left, mine) + mark + _text_of(right, mine + 1)
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
        case ast.BinOp(left, op, right):
            mark = {ast.Add: " + ", ast.Sub: " - ", ast.Mult: r"\,", ast.MatMult: r"\,"}.get(
                type(op), r"\ ?\ "
            )
            body = _latex_of(left, mine) + mark + _latex_of(right, mine + 1)
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
