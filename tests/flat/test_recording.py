"""What is recorded: numbers go a shorter way, which leaves the same calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphengine as ge
from graphengine.flat.merging import needed
from graphengine.flat.recording import TracedRun, gradients
from graphengine.graph import Graph, Node
from graphengine.jacobian import term
from graphengine.ops import OPS
from graphengine.ops.base import Op
from graphengine.tracing import Tape

from .programs import close

ENTRY_BY_ENTRY = sorted(
    name for name, op in OPS.items() if issubclass(op, ge.Elementwise) and not op.variadic
)


def text(graph: Graph) -> str:
    wrt = [node.name for node in graph.starts if node.value is None]
    return str(graph.compile(wrt=wrt).source)


@pytest.fixture
def by_jacobians(monkeypatch: pytest.MonkeyPatch) -> Callable[[Graph], str]:
    """The text of a graph of which every pull-back goes by way of a Jacobian."""

    def found(graph: Graph) -> str:
        with monkeypatch.context() as patched:
            patched.setattr(
                TracedRun,
                "_pulled",
                lambda run, node, place, args, row: run._pulled_by_jacobian(node, place, row),
            )
            patched.setattr(TracedRun, "_seed", lambda run, top: np.ones(top.shape))
            return text(graph)

    return found


@pytest.mark.parametrize("name", ENTRY_BY_ENTRY)
def test_numbers_are_recorded_as_by_jacobians(
    name: str, by_jacobians: Callable[[Graph], str]
) -> None:
    """Each op twice: of inputs and of what was computed from them; with constants beside them."""
    op, arrays = next(OPS[name].examples(np.random.default_rng(1)))
    numbers = [float(array.flat[0]) for array in arrays]
    g = ge.Graph()
    inputs = [g.input(f"a{k}") for k in range(len(numbers))]
    y = g.node("y", op(*inputs))
    z = op(*[node * y for node in inputs])
    for place, node in enumerate(inputs):
        z = z + 1.5 * op(*numbers[:place], node, *numbers[place + 1 :])
    g.result("J", z / y - 2 * inputs[0] + 3)
    assert text(g) == by_jacobians(g)


def test_numbers_that_meet_arrays(by_jacobians: Callable[[Graph], str]) -> None:
    g = ge.Graph()
    x, y, w = g.input("x"), g.input("y"), g.parameter("w", (3,))
    v = g.node("v", ge.stack([x * y, ge.tanh(x), y]))
    g.result("J", (v @ w) ** 2 * ge.exp(-x) + ge.max(v) * y)
    assert text(g) == by_jacobians(g)


def test_one_op_of_one_value_twice(by_jacobians: Callable[[Graph], str]) -> None:
    g = ge.Graph()
    x = g.input("x")
    g.result("J", ge.sin(x) * ge.sin(x) + x * x * x)
    assert text(g) == by_jacobians(g)
    assert text(g).count("math.sin(x)") == 1


def test_the_gradient_of_an_input_itself() -> None:
    g = ge.Graph()
    x, y = g.input("x"), g.input("y")
    g.result("J", x * 1.0)
    assert g.compile(["x", "y"], "J", of=x)(x=2.0) == (2.0, 1.0, 0.0)
    recorded = gradients(g, [g["J"]], x, [x, y])
    assert all(isinstance(one, np.ndarray) for one in recorded.results[1:])


class Stubborn(Op):
    """Twice ``x``, whose rule asks for the number."""

    name = "stubborn"

    def forward(self, x: Any) -> Any:
        return 2.0 * x

    def shape(self, x: Any) -> Any:
        return x

    def d_x(self, out: Any, x: Any) -> Any:
        return term("... <- ...", (2.0 if float(x) < 1e9 else 2.5, "...", "2"))

    @classmethod
    def examples(cls, rng: Any) -> Iterator[Any]:
        yield cls(), (np.array(1.0),)


def test_a_rule_of_numbers_that_cannot_be_traced_is_called() -> None:
    g = ge.Graph()
    x = g.input("x")
    g.result("J", ge.sin(Stubborn()(x) * x))
    f = g.compile("x")
    run = g.run({"x": 0.7})
    close(np.array(f(0.7)), np.array([run.value("J"), run.gradient("x")]))
    assert str(f.source).count("# ∂J.1/∂x") == 1


def test_sections_name_each_share_once() -> None:
    g = ge.Graph()
    x, y = g.input("x"), g.input("y")
    a = g.node("a", x * y)
    g.result("J", a * a)
    tape = gradients(g, [], g["J"], [x, y]).tape
    shares = [(part.node.name, part.place) for part in tape.sections[1:] if part.parent is not None]
    assert shares == [("J", 0), ("J", 1), ("a", 0), ("a", 1)]
    assert [part.notation() for part in tape.sections[1:] if part.parent is not None] == [
        "a",
        "a",
        "y",
        "x",
    ]


def chain(length: int) -> tuple[Graph, Node]:
    g = ge.Graph()
    x = g.input("x")
    y = x
    for _ in range(length // 4):
        y = 0.5 * ge.tanh(2.0 * ge.sin(y))
    return g, g.result("J", y)


def test_a_long_chain_of_numbers_and_its_text() -> None:
    g, _ = chain(8_000)
    f = g.compile("x")
    run = g.run({"x": 0.8})
    close(np.array(f(0.8)), np.array([run.value("J"), run.gradient("x")]))
    lines = str(f.source).splitlines()
    assert max(map(len, lines)) < 200
    short = str(chain(400)[0].compile("x").source).splitlines()
    assert len(lines) - 20 * len(short) < len(short)  # no call for all is made for each


def test_the_calls_that_results_need() -> None:
    tape = Tape()
    x, y = tape.input("x", ()), tape.input("y", (2,))
    a = np.sin(x)
    b = a * y
    np.cos(y)
    c = np.exp(b)
    assert needed([c, 3.0, np.ones(2)]) == [x.number, y.number, a.number, b.number, c.number]
    assert needed([a, a]) == [x.number, a.number]
    assert needed([np.ones(2)]) == needed([]) == []
