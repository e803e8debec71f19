"""What is written on the board: ``I₃ ⊗ xᵀ``, ``diag(p) − p pᵀ``, in text and in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphengine.jacobian.formulas import formula, named_text
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
        for part in map(self.folded, terms):
            body = self.term(part)
            negative = part.coef < 0
            if not parts:
                parts.append((self.style.minus if negative else "") + body)
            else:
                parts.append(f" {self.style.minus if negative else self.style.plus} {body}")
        return "".join(parts)

    def folded(self, part: Term) -> Term:
        """``part`` with factors that are written as numbers in its coefficient."""
        kept, coef = [], part.coef
        for factor in part.factors:
            written = named_text(factor.text, self.names)
            if factor.labels or not written or re.search("[A-Za-z_]", written):
                kept.append(factor)
            else:
                coef *= float(factor.array)
        return replace(part, factors=tuple(kept), coef=coef)

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
        numbers = [factor for factor in factors if not factor.labels]
        if len(factors) == len(numbers) == 1 and not out and not into:
            body = self.formula(factors[0])
            return self.wrap(body) if re.search(r" [+−-] |^[−-]", body) else body
        scalars = [self.bracketed(factor) for factor in numbers]
        factors = [factor for factor in factors if factor.labels]
        permuted = out != into and sorted(out) == sorted(into) and len(set(out)) == len(out)
        if permuted and not factors:
            commuted = ",".join(str(sizes[label]) for label in out)
            return self.joined([*scalars, self.style.commute.format(n=self.sub(commuted))])
        try:
            body = self.joined_pieces(self.pieces(out, into, factors, sizes))
        except _NoForm:
            if out[:1] == into[:1] and out and out[0] not in out[1:] + into[1:]:
                inner = [_without(factor, out[0]) for factor in factors]
                body = self.style.block.format(self.kronecker(out[1:], into[1:], inner, sizes))
            elif len(into) == 2 and into[0] != into[1]:  # a form of the transposed input
                body = self.joined_pieces(self.pieces(out, into[::-1], factors, sizes))
                turned = self.sub(f"{sizes[into[1]]},{sizes[into[0]]}")
                body = f"({body})" if self.style.kron in body else body
                body = self.joined([body, self.style.commute.format(n=turned)])
            else:
                raise
        return self.joined([*scalars, body])

    def joined_pieces(self, pieces: list[tuple[str, str]]) -> str:
        """The Kronecker product of ``pieces``; an outer product as ``u vᵀ``."""
        columns = [body for kind, body in pieces if kind == "column"]
        rows = [body for kind, body in pieces if kind == "row"]
        if columns and rows and len(columns) + len(rows) == len(pieces):
            return self.joined([self.product_of(columns), self.product_of(rows)])
        return self.style.kron.join(body for _, body in pieces)

    def pieces(
        self,
        out: list[Label],
        into: list[Label],
        factors: list[Factor],
        sizes: Mapping[Label, int],
    ) -> list[tuple[str, str]]:
        """Kind (row, column, matrix) and text of the Kronecker factors, in their order."""
        group = _groups([*out, *into], factors)
        found: list[tuple[str, str]] = []
        plain: tuple[str, int] = ("", 1)  # identities and ones beside each other are one

        def flush() -> None:
            kind, size = plain
            if kind == "identity":
                found.append(("matrix", self.style.identity.format(n=self.sub(str(size)))))
            elif kind:
                ones = self.style.ones.format(n=self.sub(str(size)))
                found.append((kind, ones if kind == "column" else self.transposed(ones)))

        for key in _merged_order([group[k] for k in out], [group[k] for k in into]):
            rows = [label for label in out if group[label] == key]
            cols = [label for label in into if group[label] == key]
            inside = [factor for factor in factors if group[factor.labels[0]] == key]
            kind = "identity" if rows == cols else "column" if not cols else "row"
            if not inside and len(rows) <= 1 and len(cols) <= 1:
                size = sizes[(rows or cols)[0]]
                if kind != plain[0]:
                    flush()
                    plain = (kind, 1)
                plain = (kind, plain[1] * size)
                continue
            flush()
            plain = ("", 1)
            found.append(self.group(rows, cols, inside, sizes))
        flush()
        return found

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
        """Kind (row, column, matrix) and text of one connected group of labels."""
        distinct = len(set(rows)) == len(rows) and len(set(cols)) == len(cols)
        if rows == cols and distinct and factors:
            return "matrix", self.style.diag.format(self.product(factors, rows))
        if not cols or not rows:
            body = self.vector(rows or cols, factors, sizes)
            return ("column", body) if not cols else ("row", self.transposed(body))
        if not distinct or (not factors):
            raise _NoForm
        if rows[0] == cols[0]:
            batch = rows[0]
            inner = [_without(factor, batch) for factor in factors]
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
            if len(once) == 1 and len(labels) == 2:
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

        tables: list[object] = []

        def side(given: Side) -> str:
            return " ".join(_position(index, letters, tables) for index in given.axes) or "·"

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
        if not factor.text:  # numbers that are a product of several
            return r"\ldots" if self.style.latex else "…"
        filled = named_text(factor.text, self.names)
        return formula(filled, latex=self.style.latex)

    def bracketed(self, factor: Factor) -> str:
        return self.wrap(self.formula(factor))

    def wrap(self, body: str) -> str:
        return body if _is_one(body) else f"({body})"

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


def _is_one(body: str) -> bool:
    """Whether ``body`` is one name, number or call, so that it needs no brackets."""
    if re.fullmatch(r"[\w.\\{}^ᵀ⁻¹²³…]+", body):
        return True
    if re.fullmatch(r"\\frac\{[^{}]*\}\{[^{}]*\}", body):
        return True
    if not (re.match(r"\\?\w+(\{\w+\})?\(", body) and body.endswith(")")):
        return False
    depth = 0
    for place, char in enumerate(body):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == ")" and depth == 0:
            return place == len(body) - 1
    return False


def _without(factor: Factor, label: Label) -> Factor:
    """``factor`` as it is written for one value of ``label`` (only its text is used)."""
    return Factor(factor.array, tuple(k for k in factor.labels if k != label), factor.text)


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


def _position(index: Index, letters: Mapping[Label, str], tables: list[object]) -> str:
    """The position on one axis; tables are called σ, τ, … in the order in which they come."""
    letter = letters[index.label]
    if index.at is None:
        return letter
    if isinstance(index.at, range):
        if len(index.at) == 1:
            return str(index.at.start)
        head = letter if index.at.step == 1 else f"{index.at.step}{letter}"
        return f"{head}+{index.at.start}" if index.at.start else head
    place = next((k for k, table in enumerate(tables) if table is index.at), len(tables))
    if place == len(tables):
        tables.append(index.at)
    return f"{'στρπφψ'[place % 6]}({letter})"
