"""What is written on the board, and that it means what the Jacobian is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graphengine.jacobian import Jacobian, Rule, term
from graphengine.jacobian.notation import formula
from tests.strategies import Array, Case, cases, chains, rules, shapes

# --- the board of the lecture -------------------------------------------------------------

BOARD = [
    (term("i <- i"), (3,), (3,), "I₃", "I_{3}"),
    (term("i <- ij", x="j"), (3,), (3, 4), "I₃ ⊗ xᵀ", r"I_{3} \otimes x^\top"),
    (term("i <- j", W="ij"), (3,), (4,), "W", "W"),
    (term("i <- j", W="ji"), (3,), (4,), "Wᵀ", r"W^\top"),
    (term("ik <- ij", B="jk"), (3, 5), (3, 4), "I₃ ⊗ Bᵀ", r"I_{3} \otimes B^\top"),
    (term("ik <- jk", A="ij"), (3, 5), (4, 5), "A ⊗ I₅", r"A \otimes I_{5}"),
    (2.0 * term("<- ij", W="ij"), (), (3, 4), "2 vec(W)ᵀ", r"2\,\operatorname{vec}(W)^\top"),
    (-term("<- i", x="i"), (), (3,), "−xᵀ", r"-x^\top"),
    (
        term("i <- i", p="i") - term("i <- j", ("p", "i", ""), ("p", "j", "")),
        (3,),
        (3,),
        "diag(p) − p pᵀ",
        r"\operatorname{diag}(p) - p\,p^\top",
    ),
    (
        term("ni <- ni", p="ni") - term("ni <- nj", ("p", "ni", ""), ("p", "nj", "")),
        (6, 3),
        (6, 3),
        "diag(p) − blockdiag(p pᵀ)",
        r"\operatorname{diag}(p) - \operatorname{blockdiag}(p\,p^\top)",
    ),
    (
        term("i <- i", ("h", "i", "1 - {h}**2")),
        (3,),
        (3,),
        "diag(1 − h²)",
        r"\operatorname{diag}(1 - h^{2})",
    ),
    (
        -term("ij <- kl", ("Y", "ik", ""), ("Y", "lj", "")),
        (3, 3),
        (3, 3),
        "−Y ⊗ Yᵀ",
        r"-Y \otimes Y^\top",
    ),
    (term("<- ii"), (), (3, 3), "vec(I₃)ᵀ", r"\operatorname{vec}(I_{3})^\top"),
    (term("ji <- ij"), (4, 3), (3, 4), "K₄,₃", "K_{4,3}"),
    (term("ij <- j"), (2, 3), (3,), "1₂ ⊗ I₃", r"\mathbf{1}_{2} \otimes I_{3}"),
    (term("<- i"), (), (5,), "1₅ᵀ", r"\mathbf{1}_{5}^\top"),
    (term("<- "), (), (), "1", "1"),
    (0.5 * term("<- ", c=""), (), (), "0.5 c", r"0.5\,c"),
    (0, (2,), (3,), "0", "0"),
]
SIZES = {"i": 3, "j": 4, "k": 5, "l": 3, "n": 6}


def on_board(rule: Any, out_shape: Any, in_shape: Any) -> Jacobian:
    """The Jacobian of a rule whose factors are named: all numbers are 1."""
    named: dict[str, Array] = {}
    for subscripts, factors, _ in rule or ():
        out, into = subscripts.replace(" ", "").split("<-")
        sizes = (
            SIZES | dict(zip(out, out_shape, strict=True)) | dict(zip(into, in_shape, strict=True))
        )
        for name, labels, _ in factors:
            named[name] = np.ones([sizes[label] for label in labels])
    return Jacobian.of(rule, out_shape, in_shape, named)


@pytest.mark.parametrize(("rule", "out_shape", "in_shape", "text", "latex"), BOARD)
def test_board(rule: Any, out_shape: Any, in_shape: Any, text: str, latex: str) -> None:
    jacobian = on_board(rule, out_shape, in_shape)
    assert jacobian.text() == str(jacobian) == text
    assert jacobian.latex() == latex
    assert text in repr(jacobian)


def test_denominator_layout_is_the_transpose() -> None:
    jacobian = on_board(term("ik <- jk", A="ij"), (3, 5), (4, 5))
    assert jacobian.text(layout="denominator") == jacobian.T.text() == "Aᵀ ⊗ I₅"
    assert jacobian.latex(layout="denominator") == r"A^\top \otimes I_{5}"


def test_names_of_the_arguments() -> None:
    jacobian = on_board(term("i <- ij", x="j"), (3,), (3, 4))
    assert jacobian.text({"x": "h1"}) == "I₃ ⊗ h1ᵀ"
    assert jacobian.latex({"x": "h1"}) == r"I_{3} \otimes h_{1}^\top"
    assert jacobian.text({"x": "a + b"}) == "I₃ ⊗ (a + b)ᵀ"
    slope = on_board(term("i <- i", ("h", "i", "1 - {h}**2")), (3,), (3,))
    assert slope.text({"h": "a - b"}) == "diag(1 − (a − b)²)"


def test_index_notation_where_there_is_no_matrix_form() -> None:
    where = np.arange(12).reshape(3, 4)
    picked = Jacobian.rearrangement(where[1:, [0, 0, 2]], (3, 4))
    assert picked.text() == "[i j ← i+1 σ(j)]"
    summed = on_board(term("i <- j", A="ik", B="kj"), (3,), (4,))
    assert summed.text() == "[i ← j: A_ik B_kj]"
    assert summed.latex() == r"\left[i \leftarrow j:\ A_{ik}\,B_{kj}\right]"


def test_many_axes_have_letters() -> None:
    shape = (2,) * 13
    turned = Jacobian.rearrangement(np.arange(2**13).reshape(shape)[::-1], shape)
    assert turned.text().startswith("[i j k")
    joined = Jacobian.of(term("abcdefghijklm <- nopqrstuvwxyz"), shape, shape)
    crossed = Jacobian(shape, shape, (turned @ joined @ turned).terms)
    assert crossed.text()


# --- it means what it says ----------------------------------------------------------------

TOKEN = re.compile(
    r"\s*(?:(?P<ones>1[₀-₉]+)|(?P<identity>I[₀-₉]+)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<call>diag|vec)\(|(?P<name>[A-Z])|(?P<mark>[⊗⊙ᵀ()−+])|(?P<commute>κ))"
)
DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


class Reader:
    """A reader of the board: ``expression := [−] product (± product)*`` and so on."""

    def __init__(self, text: str, named: Mapping[str, Array]) -> None:
        self.named = named
        self.tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text):
            match = TOKEN.match(text, place)
            assert match, text[place:]
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind]))
            place = match.end()

    def peek(self) -> str:
        return self.tokens[0][1] if self.tokens else ""

    def expression(self) -> Array:
        negative = self.peek() == "−" and bool(self.tokens.pop(0))
        total = self.kronecker() * (-1 if negative else 1)
        while self.peek() in {"−", "+"}:
            sign = -1 if self.tokens.pop(0)[1] == "−" else 1
            total = total + sign * self.kronecker()
        return total

    def kronecker(self) -> Array:
        found = self.product()
        while self.peek() == "⊗":
            self.tokens.pop(0)
            found = np.asarray(np.kron(found, self.product()))
        return found

    def product(self) -> Array:
        found: Array = self.atom()
        while self.tokens and self.peek() not in {"⊗", ")", "−", "+"}:
            if self.peek() == "⊙":
                self.tokens.pop(0)
                found = found * self.atom()
                continue
            other = self.atom()
            plain = 1 in {found.size, other.size} and found.shape[1] != other.shape[0]
            found = found * other if plain or found.size == 1 else found @ other
        return found

    def atom(self) -> Array:
        kind, text = self.tokens.pop(0)
        if kind == "number":
            found = np.array([[float(text)]])
        elif kind == "ones":
            found = np.ones((int(text[1:].translate(DIGITS)), 1))
        elif kind == "identity":
            found = np.eye(int(text[1:].translate(DIGITS)))
        elif kind == "name":
            array = self.named[text]
            found = array.reshape(-1, 1) if array.ndim < 2 else array
        else:
            assert kind == "call" or text == "("
            found = self.expression()
            assert self.tokens.pop(0)[1] == ")"
            if text == "diag":
                found = np.diag(found.ravel())
            elif text == "vec":
                found = found.reshape(-1, 1)
        while self.peek() == "ᵀ":
            self.tokens.pop(0)
            found = found.T
        return found


@st.composite
def named_rules(draw: st.DrawFn) -> tuple[Rule, Any, Any]:
    out_shape, in_shape = draw(shapes()), draw(shapes())
    total = draw(rules(out_shape, in_shape))
    if draw(st.booleans()):
        total = total + draw(rules(out_shape, in_shape))
    names = iter("ABCDEFGH")
    renamed = Rule(
        one._replace(factors=tuple((a, k, "{" + next(names) + "}") for a, k, _ in one.factors))
        for one in total
    )
    return renamed, out_shape, in_shape


@settings(max_examples=150)
@given(named_rules())
def test_the_board_means_the_matrix(case: tuple[Rule, Any, Any]) -> None:
    jacobian = Jacobian.of(*case)
    text = jacobian.text()
    assume(not re.search(r"\[|K|blockdiag", text))  # those forms are tested above by hand
    factors = [factor for part in jacobian.terms for factor in part.factors]
    assume(all(factor.array.ndim < 3 for factor in factors))
    named = {factor.text.strip("{}"): factor.array for factor in factors}
    assert np.array_equal(Reader(text, named).expression(), jacobian.toarray()), text


@given(cases())
def test_every_jacobian_can_be_written(case: Case) -> None:
    for jacobian in (case.jacobian, case.jacobian.T):
        assert jacobian.text()
        latex = jacobian.latex()
        assert latex
        assert latex.count("{") == latex.count("}")
        assert latex.count(r"\left[") == latex.count(r"\right]")


@given(chains(2))
def test_every_product_can_be_written(chain: list[Case]) -> None:
    product = chain[0].jacobian @ chain[1].jacobian
    assert product.text()
    assert product.latex().count("{") == product.latex().count("}")


# --- formulas -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text", "latex"),
    [
        ("1 - h**2", "1 − h²", "1 - h^{2}"),
        ("x**-1", "x⁻¹", "x^{-1}"),
        ("x**n", "x^n", "x^{n}"),
        ("(a + b) * c", "(a + b) c", r"(a + b)\,c"),
        ("a - (b - c)", "a − (b − c)", "a - (b - c)"),
        ("-y / (y @ p)", "−y / (y p)", r"\frac{-y}{y\,p}"),
        ("-(a + b)", "−(a + b)", "-(a + b)"),
        ("(-x)**2", "(−x)²", "(-x)^{2}"),
        ("A.T @ x", "Aᵀ x", r"A^\top\,x"),
        ("(A @ B).T", "(A B)ᵀ", r"(A\,B)^\top"),
        ("sqrt(x)", "sqrt(x)", r"\sqrt{x}"),
        ("log(x) + softmax(s)", "log(x) + softmax(s)", r"\log(x) + \operatorname{softmax}(s)"),
        ("lam * x1", "lam x1", r"\lambda\,x_{1}"),
        ("alpha_2", "alpha_2", r"\alpha_{2}"),
        ("loss_w", "loss_w", r"\mathrm{loss\_w}"),
        ("0.10", "0.1", "0.1"),
        ("x > 0", "x > 0", "x > 0"),
        ("x[0]", "x[0]", r"\mathrm{x[0]}"),
        ("not a formula (", "not a formula (", "not a formula ("),
    ],
)
def test_formulas(source: str, text: str, latex: str) -> None:
    assert formula(source) == text
    assert formula(source, latex=True) == latex


def test_a_transposed_input_is_commuted() -> None:
    X = np.arange(6.0).reshape(2, 3)
    jacobian = Jacobian.of(term("ij <- jk", X="ik"), (2, 4), (4, 3), {"X": X})
    assert jacobian.text() == "(X ⊗ I₄) K₃,₄"
    commutation = Jacobian.of(term("kj <- jk"), (3, 4), (4, 3)).toarray()
    assert np.array_equal(jacobian.toarray(), np.kron(X, np.eye(4)) @ commutation)


def test_a_stack_of_products_is_block_diagonal() -> None:
    x = np.arange(6.0).reshape(2, 3)
    jacobian = Jacobian.of(term("ni <- nij", x="nj"), (2, 4), (2, 4, 3), {"x": x})
    assert jacobian.text() == "blockdiag(I₄ ⊗ xᵀ)"


def test_tables_have_letters_of_their_own() -> None:
    positions = np.arange(12).reshape(4, 3)[[2, 0, 1], [0, 2, 2]]
    assert Jacobian.rearrangement(positions, (4, 3)).text() == "[i ← σ(i) τ(i)]"


def test_products_keep_the_names_of_their_factors() -> None:
    h = np.array([0.1, 0.2])
    outer = Jacobian.of(term("i <- i", (h, "i", "1 - {out}**2")), (2,), (2,)).named({"out": "h"})
    inner = Jacobian.of(term("i <- i", (h, "i", "{x}")), (2,), (2,)).named({"x": "a + b"})
    assert (outer @ inner).text() == "diag((1 − h²) (a + b))"


def test_factors_written_as_numbers_are_the_coefficient() -> None:
    half = Jacobian.of(
        2.0 * term("<- i", (np.array(0.5), "", "1 / {y}"), x="i"), (), (3,), {"x": np.ones(3)}
    )
    assert half.text({"y": "2"}) == "xᵀ"
    assert (-half).text({"y": "2", "x": "h"}) == "−hᵀ"
    assert half.text() == "2 (1 / y) xᵀ"
