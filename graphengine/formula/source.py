"""Formula text in tokens, with the slips of the trade named where they stand.

What comes out of :func:`scan` holds nothing but numbers, names, the operators of the language and
balanced brackets, with an operand where one belongs, so that Python's parser can be let on it.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from typing import NamedTuple

from graphengine.errors import FormulaError

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "MAX_TOKENS", "Token", "reserved", "scan"]

MAX_LENGTH = 10_000
"""Characters in a formula."""
MAX_TOKENS = 2_000
"""Numbers, names, operators and brackets in a formula."""
MAX_DEPTH = 50
"""Brackets within brackets, and signs in a row."""

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|//|==|!=|<=|>=|<<|>>|->|:=|\.\.\.|[-+*/@<>()\[\],.:=])",
    re.ASCII,
)
_CLOSING = {")": "(", "]": "["}
_BINARY = frozenset({"*", "/", "**", "@", "==", "!=", "<=", ">=", "<", ">"})
_SIGNS = frozenset("+-")
_FOREIGN = {
    "//": "sizes are whole numbers, and / divides; write a further size for a half",
    "<<": "compare with <",
    ">>": "compare with >",
    "->": "a formula has a value only",
    ":=": "a name is given under nodes: or let:",
}
_CHARACTERS = {
    "^": "powers are written **",
    "²": "write **2",
    "³": "write **3",
    "ᵀ": "the transpose is written .T",
    "⊤": "the transpose is written .T",
    "′": "the transpose is written .T",
    "·": "write * (or @ for the matrix product)",
    "⋅": "write * (or @ for the matrix product)",
    "×": "write * (or @ for the matrix product)",
    "∗": "write *",
    "⊙": "write *",
    "∘": "write *",
    "⊗": "write kron(a, b) or outer(a, b)",
    "−": "write the minus of the keyboard, -",
    "–": "write the minus of the keyboard, -",
    "—": "write the minus of the keyboard, -",
    "÷": "write /",
    "√": "write sqrt(x)",
    "∑": "write sum(x)",
    "Σ": "write sum(x), or a name in ASCII",
    "∏": "write prod(x)",
    "∂": "a derivative is a claim, J/W: give its formula a name under let: and use that",
    "∇": "a derivative is a claim, J/W: give its formula a name under let: and use that",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "∞": "write inf",
    "½": "write 0.5",
    "‖": "write norm(x)",
    "|": "write abs(x) or norm(x)",
    "#": "a comment needs a space before it, and ends the formula",
    "%": "there is no remainder",
    "!": "there is no factorial",
    "&": "multiply conditions: (a > 0) * (b > 0)",
    "~": "write 1 - x",
    "{": "write round brackets",
    "}": "write round brackets",
    '"': "there is no text in formulas",
    "‘": "there is no text in formulas",
    "’": "the transpose is written .T",
    "“": "there is no text in formulas",
    "”": "there is no text in formulas",
    ";": "a formula is one expression",
    "\\": "a formula goes on over lines as it is",
}
_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "ζ": "zeta",
    "η": "eta",
    "θ": "theta",
    "ι": "iota",
    "κ": "kappa",
    "λ": "lam",
    "μ": "mu",
    "ν": "nu",
    "ξ": "xi",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "χ": "chi",
    "ψ": "psi",
    "ω": "omega",
    "Δ": "Delta",
    "Θ": "Theta",
    "Λ": "Lam",
    "Ξ": "Xi",
    "Φ": "Phi",
    "Ψ": "Psi",
    "Ω": "Omega",
    "ϵ": "epsilon",
    "ϕ": "phi",
}
_KEYWORDS = {
    "and": "multiply conditions: (a > 0) * (b > 0)",
    "or": "write maximum(a, b)",
    "not": "write 1 - a",
    "if": "write where(condition, a, b)",
    "else": "write where(condition, a, b)",
    "for": "write sums over axes: sum(x, axis=0)",
    "is": "compare with ==",
}


class Token(NamedTuple):
    """One number, name, operator or bracket, and where it starts."""

    kind: str
    text: str
    offset: int


def reserved(name: str) -> str:
    """What to write for a name that Python keeps for itself, or "".

    >>> reserved("lambda"), reserved("class"), reserved("lam")
    ("write 'lam'", "write 'class_'", '')
    """
    if not keyword.iskeyword(name):
        return ""
    return f"write {'lam' if name == 'lambda' else name + '_'!r}"


def scan(text: str, at: Callable[[int], str]) -> list[Token]:
    """The tokens of ``text``; ``at`` gives the place of an offset.

    Raises :class:`FormulaError` at the first thing that is outside the language.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(
            at(0),
            expected=f"at most {MAX_LENGTH} characters",
            got=f"{len(text)}",
            hint="give parts of the formula names of their own",
        )
    tokens = _tokens(text, at)
    if not tokens:
        raise FormulaError(at(0), expected="a formula", got="nothing")
    if len(tokens) > MAX_TOKENS:
        raise FormulaError(
            at(tokens[MAX_TOKENS].offset),
            expected=f"at most {MAX_TOKENS} numbers, names and signs",
            got=str(len(tokens)),
            hint="give parts of the formula names of their own",
        )
    _Grammar(tokens, at).check()
    return tokens


def _tokens(text: str, at: Callable[[int], str]) -> list[Token]:
    found: list[Token] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _unknown(text, place, at(place), found)
        kind, taken = str(match.lastgroup), match.group()
        if kind == "number":
            _check_number(text, match, at(place))
        elif kind == "name" and keyword.iskeyword(taken) and taken not in {"True", "False", "None"}:
            raise FormulaError(
                at(place),
                expected="a name or a function",
                got=f"{taken!r}, a word that Python keeps for itself",
                hint=_KEYWORDS.get(taken, reserved(taken)),
            )
        elif taken in _FOREIGN:
            raise FormulaError(
                at(place), expected="an operator", got=repr(taken), hint=_FOREIGN[taken]
            )
        if kind != "space":
            found.append(Token(kind, taken, place))
        place = match.end()
    return found


def _unknown(text: str, place: int, where: str, found: list[Token]) -> FormulaError:
    character = text[place]
    hint = _CHARACTERS.get(character, "")
    if character == "'":
        transposed = found and _ends_operand(found[-1]) and text[place - 1 : place].strip()
        hint = "the transpose is written .T" if transposed else "there is no text in formulas"
    elif character == "σ":
        hint = "write sigmoid(x), or 'sigma' for a name"
    elif character in _GREEK:
        hint = f"names are in ASCII: write {_GREEK[character]!r}"
    elif not hint and character.isalpha():
        hint = "names are in ASCII"
    return FormulaError(
        where, expected="a number, a name or an operator", got=repr(character), hint=hint
    )


def _check_number(text: str, match: re.Match[str], where: str) -> None:
    taken, after = match.group(), text[match.end() : match.end() + 1]
    glued = re.match(r"\w+", text[match.end() :], re.ASCII)
    if after == "_" or (glued and re.fullmatch(r"0[xXoObB][0-9a-fA-F_]+", taken + glued[0])):
        raise FormulaError(
            where,
            expected="a decimal number",
            got=repr(taken + (glued[0] if glued else "")),
            hint="digits, a point, and e for powers of ten",
        )
    if re.fullmatch(r"0\d+", taken):
        raise FormulaError(
            where,
            expected="a number without leading zeros",
            got=repr(taken),
            hint=f"write {taken.lstrip('0') or '0'}",
        )
    if float(taken) == float("inf"):
        raise FormulaError(where, expected="a number below 1.8e308", got=repr(taken[:40]))


def _ends_operand(token: Token) -> bool:
    return token.kind in {"number", "name"} or token.text in {")", "]", "..."}


class _Grammar:
    """Whether operands, operators and brackets stand where they belong."""

    def __init__(self, tokens: list[Token], at: Callable[[int], str]) -> None:
        self.tokens, self.at = tokens, at
        self.open: list[tuple[Token, bool]] = []  # brackets, and whether each belongs to a call
        self.signs = 0
        self.last: Token | None = None

    def check(self) -> None:
        for token in self.tokens:
            self.step(token)
            self.last = token
        if self.open:
            bracket = self.open[-1][0]
            raise self.error(
                bracket, f"a bracket that closes {bracket.text!r}", "the end of the formula"
            )
        if self.last is not None and not _ends_operand(self.last):
            raise self.error(self.last, f"an operand after {self.last.text!r}", "the end")

    def error(self, token: Token, expected: str, got: str = "", hint: str = "") -> FormulaError:
        got = got or repr(token.text)
        return FormulaError(self.at(token.offset), expected=expected, got=got, hint=hint)

    @property
    def after_operand(self) -> bool:
        return self.last is not None and _ends_operand(self.last)

    def step(self, token: Token) -> None:
        text = token.text
        self.signs = self.signs + 1 if text in _SIGNS else 0
        if self.signs > MAX_DEPTH:
            raise self.error(token, f"at most {MAX_DEPTH} signs in a row", "more")
        if self.last is not None and self.last.text == "." and token.kind != "name":
            raise self.error(token, "T after '.'")
        if token.kind in {"number", "name"} or text == "...":
            self.operand(token)
        elif text in {"(", "["}:
            self.opening(token)
        elif text in _CLOSING:
            self.closing(token)
        elif text in _BINARY or text == ".":
            if not self.after_operand:
                raise self.error(token, "a number, a name or a bracket")
        elif text in {",", ":", "="}:
            self.separator(token)

    def operand(self, token: Token) -> None:
        if self.last is not None and self.after_operand:
            raise self.error(
                token, f"an operator after {self.last.text!r}", hint=self.product(token.text)
            )

    def product(self, right: str) -> str:
        assert self.last is not None
        left = f"{self.last.text} * {right}" if self.last.kind in {"number", "name"} else "with *"
        return f"a product is written {left}"

    def opening(self, token: Token) -> None:
        call = self.last is not None and self.last.kind == "name"
        if token.text == "(" and self.after_operand and not call:
            assert self.last is not None
            raise self.error(
                token,
                f"an operator after {self.last.text!r}",
                hint=self.product("(…)"),
            )
        if len(self.open) >= MAX_DEPTH:
            raise self.error(token, f"at most {MAX_DEPTH} brackets within brackets", "more")
        self.open.append((token, call if token.text == "(" else self.after_operand))

    def closing(self, token: Token) -> None:
        if not self.open or self.open[-1][0].text != _CLOSING[token.text]:
            inner = f" to close {self.open[-1][0].text!r}" if self.open else ""
            raise self.error(token, f"a bracket{inner}" if inner else "no closing bracket here")
        bracket, call = self.open.pop()
        if self.last is bracket:
            if not (call and token.text == ")") and not (token.text == "]" and not call):
                raise self.error(token, "something between the brackets")
        elif not self.after_operand and not (self.last and self.last.text in {",", ":"}):
            assert self.last is not None
            raise self.error(token, f"an operand after {self.last.text!r}")

    def separator(self, token: Token) -> None:
        inside = self.open[-1] if self.open else None
        if token.text == ",":
            if inside is None:
                raise self.error(token, "one formula", hint="a list is written [a, b]")
            if not self.after_operand and not (self.last and self.last.text == ":"):
                raise self.error(token, "a number, a name or a bracket")
        elif token.text == ":":
            if inside is None or inside[0].text != "[" or not inside[1]:
                raise self.error(token, "a colon only in an index: x[1:3]")
        elif inside is None or not inside[1] or self.last is None or self.last.kind != "name":
            raise self.error(
                token,
                "'=' only before a parameter: sum(x, axis=0)",
                hint="a name is given under nodes: or let:, and == compares",
            )
