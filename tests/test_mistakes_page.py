"""The page of mistakes: what it says of each kind, and of each mistake, is what a check says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphengine import catalogue
from graphengine.check import Checker, ClaimResult
from graphengine.check.mistakes import Catalogue
from graphengine.check.mistakes.base import LINKS
from graphengine.check.mistakes.kinds import KINDS, OnGraph
from graphengine.check.mistakes.rows import ROWS, rows_of
from graphengine.spec import load

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "MISTAKES.md"


# --- the page -------------------------------------------------------------------------------------


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text("utf-8")
    assert catalogue.filled(text) == text, "run: python -m graphengine.catalogue MISTAKES.md"


def test_the_pages_code_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    block = re.search(r"```python\n(import.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block
    exec(compile(block[1], "MISTAKES.md", "exec"), {})
    assert capsys.readouterr().out == re.findall(r"# (.*)", block[1])[0] + "\n"


@pytest.fixture(scope="module")
def checkers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checker]:
    """The checker of a spec of the folder, or of one of the small ones below."""
    folder, known = tmp_path_factory.mktemp("small"), {}

    def checker(name: str) -> Checker:
        if name not in known:
            path = ROOT / "specs" / f"{name}.yaml"
            if name in SMALL:
                path = folder / f"{name}.yaml"
                path.write_text(f"graphengine: 1\nname: {name}\n{SMALL[name]}", "utf-8")
            known[name] = Checker(path)
        return known[name]

    return checker


@pytest.mark.parametrize("kind", KINDS)
def test_each_example_is_told_as_its_kind(kind: str, checkers: Callable[[str], Checker]) -> None:
    example = KINDS[kind].example
    if isinstance(example, OnGraph):
        checker = checkers(example.spec)
        assert checker.check({example.claim: example.right}).verdict == "right"
        found = checker.check({example.claim: example.wrong}).claims[0]
    else:
        found = catalogue.examined(example)
    assert found.verdict == "wrong"
    assert [one.kind for one in found.mistakes] == [kind]
    assert found.certain == (kind != "unknown")


def test_every_kind_that_the_check_names_is_explained() -> None:
    named = set()
    for path in (ROOT / "graphengine" / "check").rglob("*.py"):
        called = r"\b(?:Mistake|mistake|Slip|Factor)\(\s*\"([a-z_]+)\""
        named |= set(re.findall(called, path.read_text("utf-8")))
    for name in ("softmax_minibatch", "activations", "relu_svm_net", "gp_latent_variable"):
        spec = load(ROOT / "specs" / f"{name}.yaml")
        run = spec.graph.run({key: np.asarray(value) for key, value in spec.values.items()})
        for links in Catalogue(run).edges.values():
            named |= {mutant.kind for link in links for mutant in Catalogue(run).at(link)}
    assert len(named) > 20
    assert named <= set(KINDS)


def test_rows_of_the_code_are_rows_of_the_table() -> None:
    numbers: set[int] = set()
    for generator in LINKS:
        for text in re.findall(r"[Rr]ows? ([\d, ]+)", generator.__doc__ or ""):
            numbers |= set(map(int, re.findall(r"\d+", text)))
    assert numbers
    assert numbers <= set(ROWS)
    assert list(ROWS) == list(range(1, 75))


def test_rows_name_kinds_or_say_why_not() -> None:
    for row in ROWS.values():
        assert {*row.graph, *row.function} <= set(KINDS)
        assert row.graph or row.function or row.note
    assert set(rows_of("tie")) == {43}


def named(found: ClaimResult) -> set[str]:
    """The kinds that explain a claim, alone or with the same numbers."""
    assert found.verdict in {"wrong", "error"}
    kinds = {one.kind for one in found.mistakes}
    return kinds | {kind for one in found.mistakes for kind, _ in one.same_as}


# --- on graphs ------------------------------------------------------------------------------------

SOFTMAX, BATCH = "softmax_regression", "softmax_minibatch"

SMALL = {
    "square": """
sizes: {n: 4}
inputs: {x: {shape: [n]}}
parameters: {A: {shape: [n, n]}}
nodes: {h: A @ x, J: sum(h**2) / 2}
result: J""",
    "scaled": """
sizes: {n: 4}
inputs: {x: {shape: [n]}, c: {shape: [n]}}
nodes: {y: c * x, J: sum(y**2)}
result: J""",
    "halves": """
inputs: {c: {shape: [6]}}
parameters: {x: {shape: [6]}}
nodes: {J: c @ x**2}
result: J""",
    "step": """
sizes: {n: 4}
inputs: {x: {shape: [n]}, c: {shape: [n]}}
nodes: {u: x > 0, J: c @ u + x @ x}
result: J""",
    "recurrent": """
sizes: {n: 3}
inputs: {h0: {shape: [n]}, c: {shape: [n]}}
parameters: {W: {shape: [n, n]}}
nodes: {h1: tanh(W @ h0), h2: tanh(W @ h1), J: c @ h2}
result: J""",
    "implicit": """
sizes: {n: 4}
inputs: {b: {shape: [n]}, c: {shape: [n]}}
parameters: {A: {shape: [n, n]}}
nodes: {t: "solve(A, b)", J: c @ t}
result: J""",
    "leaky": """
sizes: {n: 5}
inputs: {x: {shape: [n]}, c: {shape: [n]}}
nodes: {h: "leaky_relu(x, 0.1)", J: c @ h}
result: J""",
    "angle": """
sizes: {n: 4}
inputs: {x: {shape: [n]}, y: {shape: [n]}, c: {shape: [n]}}
nodes: {t: arctan(y / x), J: c @ t}
result: J""",
    "exponential": """
sizes: {n: 4}
inputs: {x: {shape: [n]}}
nodes: {y: exp(x**2), J: sum(y)}
result: J""",
    "epsilon": """
sizes: {N: 5, d: 3}
inputs: {X: {shape: [N, d]}}
constants: {eps: 0.01}
nodes: {v: "var(X, axis=0)", s: sqrt(v + eps), J: sum((X / s)**3)}
result: J""",
    "matrices": """
sizes: {n: 4}
inputs: {A: {shape: [n, n]}}
parameters: {X: {shape: [n, n]}}
nodes: {t: trace(A @ X), u: logdet(X), v: det(X), Y: inv(X), w: sum(A * Y), J: t + u + v + w}
result: J""",
    "symmetric": """
sizes: {n: 4}
inputs: {c: {shape: []}}
parameters: {S: {shape: [n, n], kind: positive_definite}}
nodes: {J: c * logdet_pd(S)}
result: J""",
    "factorised": """
sizes: {n: 3}
inputs: {G: {shape: [n, n]}}
parameters: {A: {shape: [n, n], kind: positive_definite}}
nodes: {L: cholesky(A), J: sum(G * L)}
result: J""",
    "diagonal": """
sizes: {n: 4}
inputs: {c: {shape: [n]}}
parameters: {A: {shape: [n, n]}}
nodes: {d: diag(A), J: c @ d}
result: J""",
    "repeated": """
sizes: {n: 3}
inputs: {c: {shape: [3 * n]}}
parameters: {x: {shape: [n]}}
nodes: {y: "repeat(x, 3)", J: c @ y**2}
result: J""",
    "padded": """
sizes: {n: 4}
inputs: {c: {shape: [n + 2]}}
parameters: {x: {shape: [n]}}
nodes: {y: "concatenate([zeros(2), x])", J: c @ y**2}
result: J""",
    "convolution": """
sizes: {n: 5}
inputs: {x: {shape: [n + 2]}, c: {shape: [n]}}
parameters: {w: {shape: [3]}}
nodes: {y: "w[0] * x[0:n] + w[1] * x[1:n+1] + w[2] * x[2:n+2]", J: c @ y}
result: J""",
    "dropout": """
sizes: {n: 5}
inputs: {x: {shape: [n]}, m: {shape: [n], kind: binary}, c: {shape: [n]}}
constants: {keep: 0.8}
nodes: {h: tanh(x), y: m * h / keep, J: c @ y}
result: J""",
}

GRAPHS = [
    (1, BATCH, "J/W", "(P - Y).T @ X + 2 * lam * W", "not_averaged"),
    (2, BATCH, "J/b", "mean(P - Y, axis=0) / N", "averaged_twice"),
    (3, BATCH, "J/W", "(P - Y).T @ X / (N * C) + 2 * lam * W", "mean_for_sum"),
    (4, SOFTMAX, "r/W", "W", "factor"),
    (5, SOFTMAX, "J/s", "y - p", "sign"),
    (6, "least_squares", "z/W", "kron(eye(m), x)", "sign"),
    (7, SOFTMAX, "r/W", "2 * abs(W)", "sign"),
    (8, "digits", "J/images", "(softmax(S) - Y) / N @ W2 * (1 - H**2) @ W1", "factor"),
    (9, "scaled", "J/x", "2 * y", "missing_jacobian"),
    (10, "least_squares", "eps/W", "-2 * outer(z, x)", "factor"),
    (11, SOFTMAX, "z/W", "kron(eye(C), x).T", "jacobian_transposed"),
    (12, SOFTMAX, "J/W", "reshape(vec(outer(x, p - y) + 2 * lam * W.T), [C, d])", "reordered"),
    (13, "square", "J/x", "A @ h", "transposed"),
    (13, SOFTMAX, "J/x", "W @ (p - y)", "shape"),
    (14, SOFTMAX, "J/W", "outer(x, p - y) + 2 * lam * W.T", "transposed"),
    (15, SOFTMAX, "z/W", "kron(x, eye(C))", "kronecker_order"),
    (16, "halves", "J/x", "concatenate([(2 * c * x)[3:], (2 * c * x)[:3]])", "reordered"),
    (18, SOFTMAX, "J/b", "(p - y)[:, None]", "shape"),
    (22, "autoencoder", "L/x", "W1.T @ W2.T @ (2 * e)", "missing_path"),
    (23, "autoencoder", "L/x", "W1.T @ W2.T @ (2 * e) - 4 * e", "double_counted"),
    (24, SOFTMAX, "J/s", "-y / p", "missing_jacobian"),
    (25, "chain_sin_square", "h/x", "2 * x * cos(x)", "wrong_argument"),
    (26, "hessian_quadratic", "f/x", "A @ x / 2 + b", "missing_path"),
    (27, "iris", "X/M", "kron(eye(N), diag(1 / sd))", "treated_as_constant"),
    (28, BATCH, "J/b", "(P - Y) / N", "not_reduced"),
    (29, "xor_linear", "J/b", "mean(g - y)", "mean_for_sum"),
    (29, BATCH, "J/b", "(P - Y)[-1] / N", "last_only"),
    (30, "recurrent", "J/W", "outer(c * (1 - h2**2), h1)", "missing_path"),
    (31, SOFTMAX, "J/x", "zeros(d)", "treated_as_constant"),
    (32, "step", "u/x", "diag(c)", "unknown"),
    (33, "chain_of_functions", "y1/x", "2 * y1", "wrong_argument"),
    (34, SOFTMAX, "J/W", "W", "missing_jacobian"),
    (35, SOFTMAX, "J/x", "sum(W, axis=0)", "missing_jacobian"),
    (36, "implicit", "J/A", "outer(inv(A).T @ c, t)", "sign"),
    (37, "activations", "s/z", "diag(sigmoid(s) * (1 - sigmoid(s)))", "wrong_argument"),
    (38, "activations", "t/z", "diag(1 - z**2)", "wrong_argument"),
    (39, "activations", "t/z", "diag(t * (1 - t))", "wrong_slope"),
    (40, "relu_layer", "l/a", "2 * (h - z)", "missing_jacobian"),
    (41, "relu_layer", "l/a", "2 * (h - z) * (h - z > 0)", "wrong_slope"),
    (42, "leaky", "J/x", "c * (x > 0)", "wrong_slope"),
    (46, "gates_product", "f/z", "z", "swapped_arguments"),
    (47, "angle", "J/x", "c * x / sqrt(x**2 + y**2)", "unknown"),
    (48, "chain_of_functions", "y3/y2", "y2 * exp(y2 - 1)", "wrong_slope"),
    (48, "exponential", "J/x", "2 * x * exp(x**2 - 1)", "factor"),
    (48, "exponential", "J/x", "exp(x**2)", "missing_jacobian"),
    (51, "epsilon", "s/v", "diag(1 / (2 * sqrt(v)))", "wrong_argument"),
    (53, SOFTMAX, "p/s", "diag(p * (1 - p))", "diagonal_only"),
    (54, SOFTMAX, "J/s", "(p - y) * p * (1 - p)", "double_counted"),
    (55, SOFTMAX, "J/p", "p - y", "double_counted"),
    (56, SOFTMAX, "J/W", "outer(p - y, x)", "missing_regulariser"),
    (57, SOFTMAX, "J/W", "outer(p - y, x) + lam * W", "regulariser_scale"),
    (58, BATCH, "J/W", "((P - Y).T @ X + 2 * lam * W) / N", "regulariser_scale"),
    (59, SOFTMAX, "J/b", "p - y + 2 * lam * b", "regularised_bias"),
    (60, SOFTMAX, "J/W", "outer(p - y, x) + lam * sign(W)", "regulariser_scale"),
    (60, SOFTMAX, "J/W", "outer(p - y, x) - 2 * lam * W", "regulariser_scale"),
    (61, "matrices", "t/X", "A", "transposed"),
    (62, "matrices", "u/X", "inv(X)", "transposed"),
    (62, "matrices", "v/X", "inv(X).T", "factor"),
    (63, "matrices", "w/X", "Y.T @ A @ Y.T", "sign"),
    (63, "matrices", "w/X", "-Y.T @ A", "missing_jacobian"),
    (64, "symmetric", "J/S", "c * (2 * inv(S) - diag(diag(inv(S))))", "double_counted"),
    (65, "factorised", "J/A", "A @ A.T * G", "unknown"),
    (66, "diagonal", "J/A", "outer(c, ones(n))", "unknown"),
    (68, "repeated", "J/x", "sum(reshape(2 * c * y, [3, n]), axis=0)", "reordered"),
    (69, "padded", "J/x", "(2 * c * y)[2:-0]", "shape"),
    (70, "convolution", "J/w", "stack([c @ x[2:n+2], c @ x[1:n+1], c @ x[0:n]])", "reordered"),
    (71, "dropout", "J/x", "c * (1 - h**2) / keep", "missing_jacobian"),
    (71, "dropout", "J/x", "c * m * (1 - h**2)", "factor"),
]


@pytest.mark.parametrize(("row", "spec", "claim", "wrong", "kind"), GRAPHS)
def test_a_mistake_on_a_graph(
    row: int, spec: str, claim: str, wrong: str, kind: str, checkers: Callable[[str], Checker]
) -> None:
    assert kind in named(checkers(spec).check({claim: wrong}).claims[0])
    assert kind in ROWS[row].graph


def test_every_row_on_graphs_has_its_case() -> None:
    shown = {(row, kind) for row, *_, kind in GRAPHS}
    assert shown == {(number, kind) for number, row in ROWS.items() for kind in row.graph}
