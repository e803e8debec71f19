"""What a compiled function takes and gives: names, places, shapes, fresh arrays or buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import graphengine as ge
from graphengine.errors import GraphEngineError, GraphError, ShapeError, ValuesError
from graphengine.graph import Graph
from tests.strategies import Scene, scenes

from .programs import Array, agrees, alone, close, several

each_kind = pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])


def layer() -> tuple[Graph, dict[str, Array]]:
    """Two nodes between a matrix, two vectors and a loss."""
    g = ge.Graph("layer")
    W, x = g.parameter("W", (2, 3)), g.input("x", (3,))
    b = g.parameter("b", (2,))
    rate = g.constant("rate", 0.5)
    z = g.node("z", W @ x + b)
    a = g.node("a", ge.tanh(z))
    g.result("J", rate * ge.sum(a**2))
    rng = np.random.default_rng(5)
    return g, {"W": rng.normal(size=(2, 3)), "x": rng.normal(size=3), "b": rng.normal(size=2)}


# --- arguments ----------------------------------------------------------------------------


@each_kind
def test_values_by_name_in_any_order_and_by_place(reuse: bool) -> None:
    g, values = layer()
    f = agrees(g, values, ["b", "W"], reuse=reuse)
    assert f.inputs == ("W", "x", "b")
    want = [np.copy(one) for one in several(f(**values))]
    for found in (
        f(*values.values()),
        f(values["W"], b=values["b"], x=values["x"]),
        f(**dict(reversed(values.items()))),
    ):
        for got, one in zip(found, want, strict=True):
            assert np.array_equal(got, one)


@each_kind
def test_lists_and_other_layouts_are_taken(reuse: bool) -> None:
    g, values = layer()
    f = g.compile(wrt=["W", "x"], reuse=reuse)
    want = [np.copy(one) for one in f(**values)]
    large = np.zeros((3, 4, 6))
    large[0, ::2, ::-2] = values["W"]
    for W in (values["W"].tolist(), np.asfortranarray(values["W"]), large[0, ::2, ::-2]):
        for got, one in zip(f(W, tuple(values["x"]), values["b"]), want, strict=True):
            close(got, one)
    whole = {"W": np.ones((2, 3), int), "x": [1, 0, True], "b": np.zeros(2, np.float32)}
    run = g.run(whole)
    value, grad_W, grad_x = f(**whole)
    close(value, run.value("J"))
    close(grad_W, run.gradient("W"))
    close(grad_x, run.gradient("x"))


@each_kind
def test_read_only_values_are_taken(reuse: bool) -> None:
    g, values = layer()
    f = g.compile(wrt=["W", "x", "b"], reuse=reuse)
    want = [np.copy(one) for one in f(**values)]
    for value in values.values():
        value.setflags(write=False)
    for got, one in zip(f(**values), want, strict=True):
        assert np.array_equal(got, one)


@each_kind
@pytest.mark.parametrize(
    "call",
    [
        lambda f, v: f(v["W"].T, v["x"], v["b"]),
        lambda f, v: f(v["W"], v["x"], v["b"][:1]),
        lambda f, v: f(v["W"], v["x"], v["b"][:, None]),
        lambda f, v: f(v["W"], v["x"], 1.0),
        lambda f, v: f(v["W"], v["x"], []),
        lambda f, v: f(v["W"], v["x"], "no"),
        lambda f, v: f(v["W"], v["x"], ["a", "b"]),
        lambda f, v: f(v["W"], v["x"], [1.0, [2.0]]),
        lambda f, v: f(v["W"], v["x"], [1j, 2.0]),
        lambda f, v: f(v["W"], v["x"], {"b": 1}),
    ],
)
def test_values_that_do_not_fit(call: Callable[..., Any], reuse: bool) -> None:
    """The errors are those of the graph's own run, and say which value is wrong."""
    g, values = layer()
    with pytest.raises(ValuesError, match=r"'[Wb]'"):
        call(g.compile(wrt="W", reuse=reuse), values)


@each_kind
@pytest.mark.parametrize("b", [["1", "2"], np.array(["1", "2"]), np.array([1.0, None])], ids=repr)
def test_text_that_reads_as_numbers_is_none(b: Any, reuse: bool) -> None:
    g, values = layer()
    with pytest.raises(ValuesError):
        g.run({**values, "b": b})
    with pytest.raises(ValuesError, match="'b'"):
        g.compile(wrt="W", reuse=reuse)(**{**values, "b": b})


@each_kind
@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda f, v: f(), "W, x, b"),
        (lambda f, v: f(v["W"], v["x"]), "b"),
        (lambda f, v: f(W=v["W"], b=v["b"]), "x"),
        (lambda f, v: f(v["W"], v["x"], None), "b"),
    ],
)
def test_values_that_are_missing(call: Callable[..., Any], names: str, reuse: bool) -> None:
    g, values = layer()
    with pytest.raises(ValuesError, match=f"'layer'.*got none for {names}$"):
        call(g.compile(wrt="W", reuse=reuse), values)


@each_kind
@pytest.mark.parametrize(
    "call",
    [
        lambda f, v: f(**v, c=1.0),
        lambda f, v: f(**v, rate=1.0),
        lambda f, v: f(**v, J=1.0),
        lambda f, v: f(*v.values(), 1.0),
        lambda f, v: f(v["W"], **v),
    ],
)
def test_values_that_nothing_is_called(call: Callable[..., Any], reuse: bool) -> None:
    """What a function's head refuses is Python's to say."""
    g, values = layer()
    with pytest.raises(TypeError, match=r"layer\(\) (got|takes)"):
        call(g.compile(wrt="W", reuse=reuse), values)


@each_kind
@pytest.mark.parametrize("given_value", ["one", [1.0], (1.0,), 1j, object, np.ones(1)], ids=repr)
def test_numbers_that_are_none(given_value: Any, reuse: bool) -> None:
    """Programs of numbers alone take their arguments as they come, but numbers only."""
    h = ge.Graph("sum")
    h.result("f", h.input("x") + h.input("y"))
    f = h.compile(reuse=reuse)
    with pytest.raises(ValuesError, match="'x'"):
        f(given_value, given_value)
    with pytest.raises(ValuesError, match="'y'"):
        f(1.0, given_value)
    with pytest.raises(ValuesError, match="got none for y"):
        f(1.0, None)


@each_kind
@pytest.mark.parametrize("kind", [int, np.float64, np.array, np.int64, np.float32, bool])
def test_numbers_of_any_kind(kind: Callable[..., Any], reuse: bool) -> None:
    g = ge.Graph("gates")
    x, y = g.input("x"), g.input("y")
    g.result("f", ge.sigmoid(x * y) / (x + 1.0) + ge.log(x) * ge.where(x > y, x**2, y))
    f = g.compile(wrt=["x", "y"], reuse=reuse)
    given = {"x": kind(1), "y": kind(1)}
    run = g.run(given)
    for got, want in zip(
        f(**given), [run.value("f"), run.gradient("x"), run.gradient("y")], strict=True
    ):
        close(got, np.asarray(want))


# --- what is asked for --------------------------------------------------------------------


@each_kind
def test_outputs(reuse: bool) -> None:
    """In their order, before the gradients; one alone is no tuple."""
    g, values = layer()
    run = g.run(values)
    f = g.compile(wrt="W", outputs=["a", "J", "z"], reuse=reuse)
    a, J, z, grad_W = f(**values)
    for got, want in zip((a, J, z), map(run.value, ("a", "J", "z")), strict=True):
        close(got, want)
    close(grad_W, run.gradient("W"))
    assert isinstance(g.compile(reuse=reuse)(**values), float)
    close(g.compile(outputs="z", reuse=reuse)(**values), run.value("z"))
    close(g.compile(outputs=[g["z"]], reuse=reuse)(**values), run.value("z"))
    close(g.compile(wrt=["b"], outputs=[], reuse=reuse)(**values), run.gradient("b"))
    assert len(g.compile(wrt=["b"], reuse=reuse)(**values)) == 2


@each_kind
def test_gradients_of_another_node_and_with_respect_to_any(reuse: bool) -> None:
    g, values = layer()
    g.node("first", g["z"][0])
    run = g.run(values)
    f = g.compile(wrt=["W", "z", "first"], of="first", outputs=["first"], reuse=reuse)
    first, *found = f(**values)
    close(first, run.value("first"))
    for got, name in zip(found, ["W", "z", "first"], strict=True):
        close(got, run.gradient(name, of="first"))
    _, *found = g.compile(wrt=["a", "z", "J", "rate", "b"], reuse=reuse)(**values)
    for got, name in zip(found, ["a", "z", "J", "rate", "b"], strict=True):
        close(got, run.gradient(name))


@each_kind
def test_without_influence(reuse: bool) -> None:
    """The gradient is zero, and what the results do not need is neither computed nor looked at."""
    g, values = layer()
    aside = g.input("aside", (4,))
    g.node("unused", ge.log(aside))
    values["aside"] = -np.ones(4)
    f = g.compile(wrt=["aside", "W"], reuse=reuse)
    named = {name: values[name] for name in f.inputs}
    _, grad_aside, _ = f(**named)
    close(grad_aside, np.zeros(4))
    assert "log" not in str(f.source)


@each_kind
def test_a_graph_without_inputs(reuse: bool) -> None:
    g = ge.Graph("known")
    c = g.constant("c", [1.0, 2.0])
    g.result("J", ge.sum(c**2))
    f = g.compile(wrt="c", outputs=["J", "c"], reuse=reuse)
    value, c_again, grad = f()
    assert value == 5.0
    close(c_again, np.array([1.0, 2.0]))
    close(grad, np.array([2.0, 4.0]))


@each_kind
def test_start_nodes_as_results(reuse: bool) -> None:
    g = ge.Graph("identity")
    x = g.input("x", (2, 2))
    t = g.input("t")
    g.result("J", ge.sum(x) * t)
    f = g.compile(wrt=["x", "t"], outputs=["x", "t", "J"], reuse=reuse)
    x_again, t_again, J, grad_x, grad_t = f([[1.0, 2.0], [3.0, 4.0]], 0.5)
    assert np.array_equal(x_again, [[1.0, 2.0], [3.0, 4.0]])
    assert (t_again, J, grad_t) == (0.5, 5.0, 10.0)
    assert np.array_equal(grad_x, np.full((2, 2), 0.5))


@pytest.mark.parametrize(
    ("question", "error"),
    [
        (lambda g: g.compile(wrt="V"), GraphError),
        (lambda g: g.compile(wrt=["W", "W"]), GraphError),
        (lambda g: g.compile(outputs=["z", "nothing"]), GraphError),
        (lambda g: g.compile(wrt="W", of="z"), ShapeError),
        (lambda g: g.compile(wrt="W", of="y"), GraphError),
    ],
)
def test_questions_that_make_no_sense(
    question: Callable[[Graph], Any], error: type[GraphEngineError]
) -> None:
    with pytest.raises(error):
        question(layer()[0])


def test_a_graph_without_a_result() -> None:
    g = ge.Graph("two sinks")
    x = g.input("x", (3,))
    g.node("a", ge.sum(x))
    g.node("b", ge.sum(x**2))
    with pytest.raises(GraphError):
        g.compile(wrt="x")
    value, grad = g.compile(wrt="x", of="b", outputs="a")([1.0, 2.0, 3.0])
    assert value == 6.0
    assert np.array_equal(grad, [2.0, 4.0, 6.0])


# --- fresh results, and buffers -----------------------------------------------------------


def shares(found: Any, others: Any) -> bool:
    arrays = [one for one in others if isinstance(one, np.ndarray)]
    return isinstance(found, np.ndarray) and any(np.shares_memory(found, one) for one in arrays)


def passing_on() -> tuple[Graph, dict[str, Array]]:
    """Gradients that are passed on as they are, values that are views of each other."""
    g = ge.Graph("passing on")
    x, y = g.input("x", (2, 3)), g.input("y", (2, 3))
    m = g.input("m", (2, 2))
    turned = g.node("turned", x.T)
    flat = g.node("flat", ge.reshape(turned, (6,)))
    total = g.node("total", x + y)
    again = g.node("again", g.node("copy", total))
    diagonal = g.node("diagonal", ge.diag(m))
    part = g.node("part", x[:, 1:])
    J = ge.sum(flat) + ge.sum(again) + ge.sum(diagonal * [1.0, 2.0]) + ge.sum(part * part)
    g.result("J", J)
    rng = np.random.default_rng(6)
    return g, {name: rng.normal(size=g[name].shape) for name in ("x", "y", "m")}


def test_fresh_results_share_nothing() -> None:
    """Not with the inputs, not with each other, not with the results of the next call; all may be
    written to.
    """
    for g, values in (layer(), passing_on()):
        nodes = [node.name for node in g.nodes if node.named]
        f = g.compile(wrt=nodes, outputs=nodes)
        found, again = f(**values), f(**values)
        want = [np.copy(one) for one in found]
        for k, one in enumerate(found):
            assert not shares(one, values.values())
            assert not shares(one, found[:k] + found[k + 1 :])
            assert not shares(one, again)
        for one in again:
            if isinstance(one, np.ndarray):
                assert one.flags.writeable
                one[...] = np.nan
        for first, second in zip(f(**values), want, strict=True):
            assert np.array_equal(first, second)


def test_reused_results_are_filled_again() -> None:
    for g, values in (layer(), passing_on()):
        nodes = [node.name for node in g.nodes if node.named]
        f = g.compile(wrt=nodes, outputs=nodes, reuse=True)
        fresh = g.compile(wrt=nodes, outputs=nodes)
        found = f(**values)
        for one, want in zip(found, fresh(**values), strict=True):
            close(one, np.asarray(want))
        assert not any(shares(one, values.values()) for one in found)
        others = {name: value + 1.0 for name, value in values.items()}
        again = f(**others)
        for one, new, want in zip(found, again, fresh(**others), strict=True):
            close(new, np.asarray(want))
            if isinstance(one, np.ndarray) and g.name == "layer":  # some views must be copied
                assert one is new or np.shares_memory(one, new)


def test_two_compiled_functions_share_no_buffers() -> None:
    g, values = layer()
    f, h = (g.compile(wrt=["W", "b"], reuse=True) for _ in range(2))
    first = f(**values)
    kept = [np.copy(one) for one in first]
    h(values["W"] + 1.0, values["x"], values["b"])
    for one, want in zip(first, kept, strict=True):
        assert np.array_equal(one, want)


@each_kind
def test_after_an_error_all_goes_on(reuse: bool) -> None:
    g, values = layer()
    f = g.compile(wrt=["W"], reuse=reuse)
    want = [np.copy(one) for one in f(**values)]
    with pytest.raises(ValuesError):
        f(values["W"], values["x"], "no")
    bufsize = np.getbufsize()
    for got, one in zip(f(**values), want, strict=True):
        assert np.array_equal(got, one)
    assert np.getbufsize() == bufsize


def test_fresh_results_may_be_changed() -> None:
    """A gradient that repeats one number is an array of its own, not a view."""
    g = ge.Graph("repeated")
    x, y = g.parameter("x", (1, 2)), g.parameter("y", (3, 1))
    g.result("J", ge.sum(ge.tanh(ge.sum(x, axis=1))) + ge.sum(ge.exp(ge.sum(y))))
    for grad in g.compile(wrt=["x", "y"])(np.ones((1, 2)), np.ones((3, 1)))[1:]:
        np.subtract(grad, 1.0, out=grad)


def test_constants_times_a_number() -> None:
    """The product of two known vectors is known."""
    g = ge.Graph("known")
    s = g.parameter("s")
    g.result("J", (s * g.constant("c", np.ones(3))) @ g.constant("d", np.arange(3.0)))
    f = g.compile(wrt="s")
    assert f(2.0) == (6.0, 3.0)
    assert "_Forward" not in str(f.source)


# --- random graphs ------------------------------------------------------------------------


@given(scenes())
def test_random_graphs(scene: Scene) -> None:
    """Shared nodes, parents taken twice, regrouped axes; the result is a sum over the last node."""
    graph, values, top = scene
    graph.result("J", ge.sum(top * np.linspace(0.5, 1.5, top.size).reshape(top.shape)))
    starts = [node.name for node in graph.starts]
    needed = graph.compile(wrt=starts).inputs
    for reuse in (False, True):
        f = graph.compile(wrt=starts, reuse=reuse)
        run = graph.run(values)
        given_values = [float(v) if not v.ndim else v for v in (values[name] for name in needed)]
        for program in (f, f, alone(f.source)):
            value, *found = program(*given_values)
            close(value, run.value("J"), "J", rtol=1e-11)
            for name, got in zip(starts, found, strict=True):
                close(got, run.gradient(name), name, rtol=1e-11)


@given(scenes(most=6))
def test_every_node_of_a_random_graph(scene: Scene) -> None:
    graph, values, top = scene
    graph.result("J", ge.sum(top))
    named = [node.name for node in graph.nodes if node.named]
    run = graph.run(values)
    for reuse in (False, True):
        f = graph.compile(wrt=named, outputs=named, reuse=reuse)
        found = f(**{name: values[name] for name in f.inputs})
        for name, got in zip(named, found[: len(named)], strict=True):
            assert np.array_equal(np.shape(got), run.value(name).shape)
            assert np.allclose(got, run.value(name), rtol=1e-12, atol=1e-12)
        for name, got in zip(named, found[len(named) :], strict=True):
            assert np.allclose(got, run.gradient(name), rtol=1e-11, atol=1e-11)
