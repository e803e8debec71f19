"""The formula language: values against NumPy, refusals with their places, budgets."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphengine.errors import (
    FormulaError,
    GraphEngineError,
    OpError,
    ShapeError,
    TooLargeError,
)
from graphengine.formula import FORMULA_ONLY, Formula, build, build_within, parse
from graphengine.formula import _check as check_whitelist
from graphengine.formula.budget import Budget
from graphengine.graph import Graph, Node
from graphengine.ops import functions
from graphengine.ops.base import Elementwise, numbers, slope
from tests import fuzz

RNG = np.random.default_rng(0)
VALUES = {
    "W": RNG.standard_normal((3, 4)),
    "x": RNG.standard_normal(4),
    "y": np.array([0.0, 1.0, 0.0]),
    "A": RNG.standard_normal((3, 3)) + 3 * np.eye(3),
    "lam": np.array(0.1),
    "label": np.array([2.0, 0.0]),
}
W, x, y, A = (VALUES[name] for name in "WxyA")
SIZES = {"C": 3, "d": 4}
FUNCTIONS = functions()
BAD = Path(__file__).parent / "bad" / "formulas.txt"


def made(text: str, *, limit: int = 1 << 30, place: str = "formula") -> Any:
    """What a formula stands for, with the names of VALUES and SIZES."""
    graph = Graph("g")
    names: dict[str, Any] = dict(SIZES)
    for name, value in VALUES.items():
        names[name] = graph.input(name, value.shape)
    return build(parse(text, place), names, FUNCTIONS, graph=graph, limit=limit)


def value(text: str) -> Any:
    """The value of a formula at VALUES."""
    found = made(text)
    if not isinstance(found, Node):
        return found
    return found.graph.run(VALUES).value(found)


EXPECTED = {
    "W @ x + y": W @ x + y,
    "y @ W": y @ W,
    "-log(y @ softmax_of) ".replace("softmax_of", "(W @ x)**2"): -np.log(y @ (W @ x) ** 2),
    "x**2 - 3 * x / 2": x**2 - 1.5 * x,
    "-x**2": -(x**2),
    "2**-x": 2**-x,
    "2**3**0.5 * x": 2**3**0.5 * x,
    "--x": x,
    "+x": x,
    "x - 1 - 2": x - 3,
    "x / 2 / 4": x / 8,
    "W.T @ y": W.T @ y,
    "(W @ x).T": W @ x,
    "x[0]": x[0],
    "x[-1]": x[-1],
    "x[C]": x[3],
    "x[d - C:]": x[1:],
    "x[::-1]": x[::-1],
    "x[:d-1:2]": x[:3:2],
    "W[:, 0]": W[:, 0],
    "W[1, 1:]": W[1, 1:],
    "W[..., 0]": W[..., 0],
    "x[:, None] * y": x[:, None] * y,
    "W[[0, 2]]": W[[0, 2]],
    "W[[0, 2], [1, 3]]": W[[0, 2], [1, 3]],
    "W[label]": W[[2, 0]],
    "x[[True, False, True, False]]": x[[0, 2]],
    "W[0][1]": W[0, 1],
    "x > 0": (x > 0).astype(float),
    "x <= 0": (x <= 0).astype(float),
    "(x >= 0) * (x != 2) + (x == 1) + (x < -1)": ((x >= 0) * 1 + (x < -1) * 1.0),
    "sum(W)": W.sum(),
    "sum(W, axis=0)": W.sum(0),
    "sum(W, 1, True)": W.sum(1, keepdims=True),
    "sum(W, axis=[0, -1])": W.sum(),
    "sum(W, axis=None, keepdims=False)": W.sum(),
    "concatenate([x, y, [1, 2]], axis=0)": np.concatenate([x, y, [1, 2]]),
    "stack([x, x**2, [1, 2, 3, 4]], axis=1)": np.stack([x, x**2, np.arange(1.0, 5)], 1),
    "reshape(W, [d, C])": W.reshape(4, 3),
    "kron(eye(C), x)": np.kron(np.eye(3), x),
    "outer(y, x)": np.outer(y, x),
    "diag(y) - outer(y, y)": np.diag(y) - np.outer(y, y),
    "where(x > 0, x, 0.1 * x)": np.where(x > 0, x, 0.1 * x),
    "maximum(0, x)": np.maximum(0, x),
    "solve(A, y)": np.linalg.solve(A, y),
    "trace(inv(A) @ A)": 3.0,
    "eye(C, d)": np.eye(3, 4),
    "eye(2) @ ones(2)": np.ones(2),
    "ones(2, C)": np.ones((2, 3)),
    "zeros([2, C])": np.zeros((2, 3)),
    "ones(0)": np.ones(0),
    "[[1, 2], [3, -4]]": np.array([[1, 2], [3, -4.0]]),
    "[1, C] + (2, d)": np.array([3, 7.0]),
    "[]": np.zeros(0),
    "pi * e": math.pi * math.e,
    "exp(1) - e": 0.0,
    "sqrt(2 * pi)": math.sqrt(2 * math.pi),
    "maximum(-inf, 2)": 2.0,
    "1 < 2": 1.0,
    "C == d": 0.0,
    "C * d - 1": 11,
    "C / d": 0.75,
    "2**10": 1024,
    "2**-1": 0.5,
    "2**100": 2.0**100,
    "9007199254740993": 9007199254740992.0,
    "(-8)**3": -512,
    ".5 + 1. + 1e-3": 1.501,
    "  x\n  + 1\t": x + 1,
    "sum(ones(2, 3))": 6.0,
}


@pytest.mark.parametrize("text", EXPECTED)
def test_values_are_those_of_numpy(text: str) -> None:
    found = value(text)
    np.testing.assert_allclose(found, EXPECTED[text], rtol=1e-12, atol=1e-15)
    assert np.shape(found) == np.shape(EXPECTED[text])


@pytest.mark.parametrize(
    ("text", "kind"),
    [("2 * C", int), ("C / 3", float), ("10**20", float), ("exp(0)", float), ("-0.0", float)],
)
def test_numbers_stay_numbers(text: str, kind: type) -> None:
    assert type(made(text)) is kind


def test_nodes_are_those_that_operators_make() -> None:
    graph, other = Graph("g"), Graph("g")
    names: dict[str, Any] = {
        "W": graph.parameter("W", (3, 4)),
        "x": graph.input("x", 4),
        "one": np.ones(3),
    }
    found = build(parse("sum((W @ x + one)**2)"), names, FUNCTIONS, graph=graph, limit=1000)
    assert isinstance(found, Node)
    graph.node("J", found)
    V, u = other.parameter("W", (3, 4)), other.input("x", 4)
    other.node("J", FUNCTIONS["sum"]((V @ u + np.ones(3)) ** 2))
    assert graph == other


def test_the_names_of_a_formula() -> None:
    formula = parse("-log(y @ p) + lam * sum(W[:C]**2, axis=0) + y + e")
    assert formula.names == ("y", "p", "lam", "W", "C", "e")
    assert [place for _, place in formula.places()][:2] == ["formula:1:6", "formula:1:10"]
    assert formula == parse(formula.text, "elsewhere:1:1")
    assert formula != parse("y")
    assert hash(formula) == hash(parse(formula.text))
    assert repr(parse("W @ x")) == "<Formula 'W @ x'>"


def test_a_node_may_have_the_name_of_a_constant() -> None:
    graph = Graph()
    node = graph.input("e", ())
    assert build(parse("e"), {"e": node}, FUNCTIONS, graph=graph, limit=99) is node
    assert build(parse("e"), {}, FUNCTIONS, graph=graph, limit=99) == math.e


def test_numpy_scalars_are_numbers() -> None:
    names = {"n": np.float64(2.5)}
    assert build(parse("n * 2"), names, FUNCTIONS, graph=Graph(), limit=9) == 5.0


# --- refusals -----------------------------------------------------------------------------


def bad() -> Iterator[tuple[str, str]]:
    for line in BAD.read_text("utf-8").splitlines():
        text, _, error = line.partition("\t")
        yield text, error


def test_the_corpus_is_large() -> None:
    assert len(list(bad())) > 150


@pytest.mark.parametrize(("text", "error"), list(bad()))
def test_refused_with_place_and_hint(text: str, error: str) -> None:
    graph = Graph("g")
    names: dict[str, Any] = {
        "W": graph.parameter("W", (3, 4)),
        "x": graph.input("x", 4),
        "y": graph.input("y", 3, kind="one_hot"),
        "C": 3,
        "d": 4,
        "lam": graph.constant("lam", 0.1),
        "k": graph.input("k", ()),
    }
    with pytest.raises(GraphEngineError) as caught:
        build(parse(text, "s.yaml:3:6"), names, FUNCTIONS, graph=graph, limit=1 << 31)
    assert f"{type(caught.value).__name__} {caught.value}" == error


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_nothing_is_no_formula(text: str) -> None:
    with pytest.raises(FormulaError, match="formula:1:1: expected a formula, got nothing"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 60 + "x" + ")" * 60,
        "(" * 5000,
        "-" * 60 + "x",
        "x" + ".T" * 60,
        "x" + "[0]" * 60,
        "x**" * 60 + "x",
        "x+" * 1100 + "x",
        "x" * 10_001,
        "[" * 9999,
        "sum(" * 70 + "x" + ")" * 70,
        "9" * 5000,
        "x," * 4000,
    ],
)
def test_long_and_deep_formulas_are_refused_at_once(text: str) -> None:
    with pytest.raises(FormulaError):
        made(text)


@pytest.mark.parametrize(
    "text",
    [
        *("lambda: 0", "{x}", "{x: 1}", "(yield)", "f'{x}'", "'x'", "b'x'", "1j", "x if y else z"),
        *(
            "[i for i in x]",
            "{i for i in x}",
            "(i for i in x)",
            "x is y",
            "x in y",
            "x % y",
            "x // y",
        ),
        *(
            "x << y",
            "x | y",
            "x and y",
            "not x",
            "~x",
            "f(*x)",
            "f(**x)",
            "(z := 1)",
            "x.y",
            "x()()",
        ),
        *("x < y < z", "f(x)(y)", "(lambda: x)()", "x.T()", "x.__class__", "[*x]", "x[*y]"),
        *("(await x)", "f'{x!r:{y}}'", "{**x}"),
    ],
)
def test_the_whitelist_holds_by_itself(text: str) -> None:
    tree = ast.parse(text, mode="eval").body
    formula = Formula(text, "s.yaml:1:1", tree, lambda offset: f"s.yaml:1:{offset + 1}", 0)
    with pytest.raises(FormulaError, match=r"s.yaml:1:\d+: expected"):
        check_whitelist(formula)


def test_what_pythons_parser_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RecursionError, MemoryError, ValueError("digits")):

        def fails(*_: Any, error: Any = error, **__: Any) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(ast, "parse", fails)
            with pytest.raises(FormulaError, match="at most 50 levels"):
                parse("x")


def test_long_sums_do_not_recurse() -> None:
    np.testing.assert_allclose(value("+".join(["x"] * 900)), 900 * x)
    np.testing.assert_allclose(value("-" * 40 + "x"), x)
    assert value("(" * 40 + "C" + ")" * 40) == 3


def test_no_warning_escapes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in ("1if x else 2", "0xfor", "'\\d'", "1_", "x is 1", "[1](2)", "log(0) * x"):
            try:
                made(text)
            except GraphEngineError:
                continue
            assert text == "log(0) * x"


def test_places_over_several_lines() -> None:
    with pytest.raises(FormulaError) as caught:
        made("x\n   + zz", place="s.yaml:7:9")
    assert caught.value.where == "s.yaml:8:6"
    with pytest.raises(ShapeError) as wrong:
        made("  lam *\n (W\n@ y)", place="s.yaml:7:9")
    assert wrong.value.where == "s.yaml:8:3: W @ y"
    with pytest.raises(FormulaError) as named:
        made("x + zz", place="my formula")
    assert named.value.where == "my formula:1:5"
    at = parse("x + zz", "here", at=lambda offset: f"character {offset}")
    assert [place for _, place in at.places()] == ["character 0", "character 4"]


# --- budgets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "ones(10**6, 10**6)",
        "eye(10**9)",
        "zeros(10**15)",
        "x * ones(10**9, 1)",
        "broadcast_to(x, [10**12, 4])",
        "repeat(x, 10**15)",
        "kron(kron(kron(W, W), kron(W, W)), kron(W, kron(W, kron(W, W))))",
        "one_hot([0, 1], 10**12)",
        "outer(ones(10**4), ones(10**5))",
        "ones(3000, 3000) + ones(3000, 3000) + ones(3000, 3000) + ones(3000, 3000)",
        "sum(ones(4000, 1000) @ ones(1000, 4000))",
        "sum(inv(eye(4000)))",
        "x" + "[None]" * 30,
    ],
)
def test_too_large_is_refused_before_it_is_made(text: str) -> None:
    with pytest.raises(TooLargeError):
        made(text)


def test_all_arrays_of_one_formula_count() -> None:
    assert isinstance(made("x + x", limit=32), Node)
    with pytest.raises(TooLargeError, match="0 bytes left"):
        made("x + x + x + x", limit=64)
    budget = Budget(100)
    build_within(parse("ones(5)"), {}, {}, graph=Graph(), budget=budget)
    assert budget.bytes == 60
    with pytest.raises(TooLargeError):
        build_within(parse("ones(8)"), {}, {}, graph=Graph(), budget=budget)


def test_the_work_of_nodes_is_bounded() -> None:
    graph = Graph()
    B = graph.input("B", (3000, 3000))
    with pytest.raises(TooLargeError, match="more multiplications"):
        build(parse("B @ B"), {"B": B}, FUNCTIONS, graph=graph, limit=1 << 40)
    assert len(graph) == 1


# --- parameters and ops of one's own ------------------------------------------------------


class Odd(Elementwise):
    """An op whose shape rule, parameters and values may fail."""

    name = "odd"
    how: str = ""
    many: Unknown = None  # noqa: F821 (what cannot be read is not checked)

    def shape(self, x: Any) -> Any:
        if self.many is not None:
            raise KeyError("inside")
        return x

    def forward(self, x: Any) -> Any:
        if x.ndim == 1:
            raise ZeroDivisionError("in the op")
        return x[0] if x.ndim == 2 else x

    def d_x(self, out: Any, x: Any) -> Any:
        return slope(np.ones_like(x))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Any:
        yield cls(), (numbers(rng, 3, 3, 3),)


class Pair(Elementwise):
    """An op with a parameter of two numbers."""

    name = "pair"
    two: tuple[int, float] = (1, 2.0)

    def forward(self, x: Any) -> Any:
        return self.two[0] * x

    def d_x(self, out: Any, x: Any) -> Any:
        return slope(np.full_like(x, self.two[0]))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Any:
        yield cls(), (numbers(rng, 3),)


def test_what_an_op_raises_has_a_place() -> None:
    known = functions([Odd, Pair])

    def own(text: str) -> Any:
        return build(parse(text), {}, known, graph=Graph(), limit=1000)

    with pytest.raises(FormulaError, match=r"formula:1:5: odd\(\[1\]\): .*in the op"):
        own("1 + odd([1])")
    with pytest.raises(FormulaError, match="expected arguments that fit, got 'inside'"):
        own("odd([1], many=1)")
    with pytest.raises(ShapeError, match=r"expected shape \(2, 2\), got \(2,\)"):
        own("odd([[1, 2], [3, 4]])")
    assert own("pair(2, two=[1, 2])") == 2.0
    with pytest.raises(
        OpError, match=r"two= as a list \[a whole number, a number\], got two=\[1\]"
    ):
        own("pair(2, two=[1])")
    with pytest.raises(OpError, match=r"got two=\[1, True\]"):
        own("pair(2, two=[1, True])")
    with pytest.raises(OpError, match="got two=1"):
        own("pair(2, two=1)")
    with pytest.raises(FormulaError, match="the function 'transpose' in the table"):
        build(parse("x.T"), {"x": np.ones(2)}, {}, graph=Graph(), limit=99)


def test_library_errors_keep_their_kind() -> None:
    with pytest.raises(OpError, match=r"s.yaml:3:6: sum\(W, axs=1\)"):
        made("sum(W, axs=1)", place="s.yaml:3:6")


def test_the_table_of_what_formulas_add() -> None:
    assert set(FORMULA_ONLY) == {
        *("eye(n, m=n)", "ones(n, …)", "zeros(n, …)", "pi", "e", "inf", "x.T", "x[…]"),
    }
    assert all(about.endswith(".") for about in FORMULA_ONLY.values())


# --- properties ---------------------------------------------------------------------------

plain_numbers = st.one_of(
    st.integers(0, 20).map(str), st.floats(0.1, 9.0).map(lambda n: repr(round(n, 3)))
)
expressions = st.recursive(
    plain_numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}) * ({t[1]})"),
        inner.map(lambda t: f"-({t})"),
        inner.map(lambda t: f"({t})**2"),
    ),
    max_leaves=12,
)


@given(expressions)
def test_arithmetic_is_pythons(text: str) -> None:
    try:
        expected = float(eval(text, {"__builtins__": {}}))  # the reference, on our own text
    except OverflowError:
        expected = math.inf
    if math.isfinite(expected):
        assert value(text) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        where = parse(text).at(ast.Constant(1))
    except FormulaError as error:
        where = error.where
    assert re.fullmatch(r"formula:\d+:\d+", where)


def test_fuzz_shortly() -> None:
    count = fuzz.fuzz_formulas(1, lambda tried: tried < 1500)
    assert not count.failures, count.failures[0]
    assert count.tried == 1500
    assert count.accepted > 50
    assert count.slowest < 2.0
