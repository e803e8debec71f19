"""Good points: kinds, signs, sizes, kinks, and the same numbers for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphengine as ge
from graphengine.check import points as module
from graphengine.check.points import clearance, draw, points, sample
from graphengine.errors import CheckError, SpecError
from graphengine.graph import KINDS
from graphengine.ops import OPS
from graphengine.ops.base import Array


class Sized:
    """A graph for any sizes, as a spec is one."""

    def __init__(
        self,
        build: Callable[[Mapping[str, int]], ge.Graph],
        sizes: Mapping[str, int],
        free: tuple[str, ...],
        values: Mapping[str, Array] | None = None,
    ) -> None:
        self.build, self.sizes, self.free_sizes = build, sizes, free
        self.values = values or {}
        self.graph = build(sizes)

    def at(self, sizes: Mapping[str, int]) -> ge.Graph:
        return self.build(sizes)


def layer(sizes: Mapping[str, int]) -> ge.Graph:
    g = ge.Graph()
    X = g.input("X", (sizes["N"], sizes["d"]))
    W = g.parameter("W", (sizes["d"], sizes["k"]))
    g.result("J", ge.sum(ge.relu(X @ W)))
    return g


# --- kinds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=20)
@given(n=st.integers(1, 6), m=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_each_kind_is_what_it_says(kind: str, n: int, m: int, seed: int) -> None:
    shape = (n, m, m) if kind in {"symmetric", "positive_definite"} else (n, m)
    g = ge.Graph()
    x = g.input("x", shape, kind=kind)  # type: ignore[arg-type]
    g.result("J", ge.sum(x))
    value = sample(g, seed=seed)["x"]
    assert value.shape == shape
    assert value.dtype == np.float64
    size = np.abs(value)
    match kind:
        case "real" | "positive":
            assert np.all((size >= 0.3) & (size <= 2.0) & ~((size > 0.9) & (size < 1.0)))
            assert len(np.unique(size)) == value.size
            if value.size > 1:
                assert (value.min() < 0) == (kind == "real")
                assert value.max() > 0
        case "one_hot":
            assert set(np.unique(value)) <= {0.0, 1.0}
            assert np.array_equal(value.sum(axis=-1), np.ones(n))
            counts = value.sum(axis=0)
            assert counts.max() - counts.min() <= 1  # all classes, as evenly as it goes
        case "probability":
            assert value.min() > 0
            assert np.allclose(value.sum(axis=-1), 1)
        case "label":
            assert set(np.unique(value)) <= {0.0, 1.0, 2.0}
        case "symmetric":
            assert np.array_equal(value, np.swapaxes(value, -1, -2))
        case "positive_definite":
            assert np.array_equal(value, np.swapaxes(value, -1, -2))
            eigenvalues = np.linalg.eigvalsh(value)
            assert eigenvalues.min() > 0.49
            assert eigenvalues.max() < 2.51
        case "binary" | "sign":
            allowed = {0.0, 1.0} if kind == "binary" else {-1.0, 1.0}
            assert set(np.unique(value)) == allowed or value.size == 1
            assert set(np.unique(value)) <= allowed
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("one_hot", ()), ("probability", (3, 0)), ("symmetric", (3,)), ("positive_definite", (2, 3))],
)
def test_a_kind_that_does_not_fit_its_shape_is_refused(kind: str, shape: tuple[int, ...]) -> None:
    g = ge.Graph()
    g.result("J", ge.sum(g.input("x", shape, kind=kind)))  # type: ignore[arg-type]
    with pytest.raises(CheckError, match=f"node 'x': expected .*{kind}"):
        sample(g)


def _labels(use: Callable[[ge.Graph, ge.Node], ge.Node], count: int = 12) -> Array:
    g = ge.Graph()
    g.result("J", ge.sum(use(g, g.input("t", (count,), kind="label"))))
    return sample(g, seed=4)["t"]


@pytest.mark.parametrize(
    ("use", "classes"),
    [
        (lambda g, t: ge.one_hot(t, 5), 5),
        (lambda g, t: ge.svm_loss(g.input("s", (12, 4)), t), 4),
        (lambda g, t: ge.take(g.input("E", (7, 2)), t), 7),
        (lambda g, t: ge.take(g.input("E", (7, 2)), t, axis=1), 2),
        (lambda g, t: ge.one_hot(ge.reshape(t, (3, 4))[:, 1:], 6), 6),
        (lambda g, t: ge.one_hot(t, 5) @ ge.take(g.input("E", (4, 5)), t).T, 4),
        (lambda g, t: ge.equal(t, 1.0) * g.input("x"), 3),
    ],
)
def test_labels_are_all_the_classes_that_the_graph_has_room_for(
    use: Callable[[ge.Graph, ge.Node], ge.Node], classes: int
) -> None:
    assert set(_labels(use)) == set(range(classes))


def test_a_single_label_is_one_of_the_classes() -> None:
    g = ge.Graph()
    g.result("J", ge.sum(ge.one_hot(g.input("t", (), kind="label"), 4)))
    assert {float(sample(g, seed=seed)["t"]) for seed in range(30)} == {0.0, 1.0, 2.0, 3.0}


# --- one point ----------------------------------------------------------------------------------


def test_constants_keep_their_value_and_are_not_drawn() -> None:
    g = ge.Graph()
    lam = g.constant("lam", 0.1)
    g.result("J", lam * ge.sum(g.input("x", (2,))))
    drawn = draw(g, np.random.default_rng(0))
    assert set(drawn.values) == {"x"}
    assert drawn.run.value("lam") == 0.1


def test_points_are_away_from_kinks() -> None:
    g = layer({"N": 6, "d": 3, "k": 4})
    for seed in range(20):
        drawn = draw(g, np.random.default_rng(seed))
        scores = drawn.values["X"] @ drawn.values["W"]
        assert not drawn.troubles
        assert np.min(np.abs(scores)) >= 1e-3 * np.max(np.abs(scores))
        assert drawn.clearance == pytest.approx(np.min(np.abs(scores)) / np.max(np.abs(scores)))


def test_a_wide_layer_may_be_nearer_to_its_kinks_than_a_narrow_one() -> None:
    g = layer({"N": 100, "d": 20, "k": 30})
    drawn = draw(g, np.random.default_rng(0))
    assert not drawn.troubles
    assert 0 < drawn.clearance < 1e-3


def test_a_kink_that_cannot_be_avoided_is_named() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.node("a", x - x)
    g.node("h", ge.relu(g["a"]))
    g.result("J", ge.sum(g["h"]))
    drawn = draw(g, np.random.default_rng(0))
    assert drawn.troubles == {"h": "h = relu(a) is at a kink or a tie"}


def test_a_value_that_cannot_be_finite_is_named_where_it_first_appears() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.node("a", -ge.square(x))
    g.node("l", ge.log(g["a"]))
    g.result("J", ge.sum(g["l"]))
    assert draw(g, np.random.default_rng(0)).troubles == {"l": "l = log(a) is not finite"}


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: ge.log(ge.sum(x)),
        lambda x: ge.sum(ge.sqrt(x)),
        lambda x: ge.sum(ge.arcsin(x)),
        lambda x: ge.sum(ge.log1p(-x)),
        lambda x: ge.sum(ge.arccos(x) * ge.log(x)),
    ],
)
def test_numbers_become_positive_or_small_where_the_graph_needs_it(
    formula: Callable[[ge.Node], ge.Node],
) -> None:
    g = ge.Graph()
    g.result("J", formula(g.input("x", (5,))))
    drawn = draw(g, np.random.default_rng(0))
    assert not drawn.troubles
    assert np.isfinite(drawn.run.gradient("x")).all()


def test_nodes_beside_the_claims_do_not_matter() -> None:
    g = ge.Graph()
    x = g.input("x", (3,))
    g.node("monitor", ge.log(-ge.square(x)))
    g.result("J", ge.sum(x))
    assert draw(g, np.random.default_rng(0)).troubles
    assert not draw(g, np.random.default_rng(0), claims=[("J", "x")]).troubles


def test_kinks_matter_between_the_two_nodes_of_a_claim_alone() -> None:
    g = ge.Graph()
    x, y = g.input("x", (4,)), g.input("y", (4,), kind="binary")
    g.result("J", ge.sum(x * ge.equal(y, 1.0)))
    assert draw(g, np.random.default_rng(0)).troubles
    assert not draw(g, np.random.default_rng(0), claims=[("J", "x")]).troubles
    assert draw(g, np.random.default_rng(0), claims=[("J", "x"), ("J", "y")]).troubles


def test_a_branch_that_is_not_taken_may_be_anything() -> None:
    g = ge.Graph()
    x = g.input("x", (6,))
    g.result("J", ge.sum(ge.where(ge.greater(x, 0.0), ge.log(x), x)))
    drawn = draw(g, np.random.default_rng(0))
    assert not drawn.troubles
    assert drawn.values["x"].min() < 0 < drawn.values["x"].max()


def test_magnitudes_follow_the_values_that_are_given_and_the_width() -> None:
    g = ge.Graph()
    x, W = g.input("x", (300,)), g.parameter("W", (2, 300))
    g.result("J", ge.sum(W @ x))
    drawn = draw(g, np.random.default_rng(0), like={"x": np.array([0.0, 50.0, -50.0])})
    assert np.min(np.abs(drawn.values["x"])) >= 0.3 * 50
    assert np.max(np.abs(drawn.values["x"])) <= 2.0 * 50
    assert np.max(np.abs(drawn.values["W"])) <= 2.0 * np.sqrt(8 / 300)
    plain = draw(g, np.random.default_rng(0), like={"x": np.zeros(3)})
    assert np.max(np.abs(plain.values["x"])) <= 2.0 * np.sqrt(8 / 300)


def test_equal_seeds_draw_equal_points() -> None:
    g = layer({"N": 3, "d": 4, "k": 2})
    one, other, third = (sample(g, seed=seed) for seed in (7, 7, 8))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not np.array_equal(one["X"], third["X"])
    by_generator = sample(g, seed=np.random.default_rng(7))
    assert np.array_equal(one["X"], by_generator["X"])


def test_clearance_is_relative_and_leaves_labels_and_infinities_aside() -> None:
    margin, near = clearance(OPS["relu"](), [np.array([0.01, -4.0])])
    assert margin == pytest.approx(0.0025)
    assert near == pytest.approx(1e-3)
    assert clearance(OPS["relu"](), [np.zeros(2)])[0] == 0
    assert clearance(OPS["tanh"](), [np.zeros(2)]) == (np.inf, 0.0)
    high = clearance(OPS["clip"](), [np.array([2.0]), np.array(-1.0), np.array(np.inf)])[0]
    assert high == pytest.approx(1.5)
    scores, label = np.array([0.5, 0.2, -3.0]), np.array(2.0)
    assert clearance(OPS["svm_loss"](), [scores, label])[0] <= 5.0 / 3.0
    assert clearance(OPS["relu"](), [np.ones(1000)])[1] == pytest.approx(5e-5)


# --- several points -----------------------------------------------------------------------------


def test_sizes_change_from_point_to_point_and_are_unequal() -> None:
    spec = Sized(layer, {"N": 4, "d": 4, "k": 4}, ("N", "d", "k"))
    found = points(spec, np.random.default_rng(0), 6)
    assert len(found) == 6
    assert found[0].sizes == {"N": 4, "d": 4, "k": 4}  # the spec's own, since they are small
    chosen = [tuple(drawn.sizes.values()) for drawn in found]
    assert len(set(chosen)) == 6
    for drawn in found[1:]:
        sizes = list(drawn.sizes.values())
        assert len(set(sizes)) == 3
        assert min(sizes) >= 2
        assert drawn.sizes["N"] >= 3  # a batch
        assert drawn.values["X"].shape == (drawn.sizes["N"], drawn.sizes["d"])
    assert any(drawn.sizes["d"] == 2 or drawn.sizes["k"] == 2 for drawn in found)


def test_sizes_that_are_fixed_stay_and_no_free_one_equals_them() -> None:
    spec = Sized(layer, {"N": 3, "d": 5, "k": 2}, ("N", "k"))
    for drawn in points(spec, np.random.default_rng(1), 5)[1:]:
        assert drawn.sizes["d"] == 5
        assert 5 not in (drawn.sizes["N"], drawn.sizes["k"])


def test_a_batch_has_at_least_3() -> None:
    spec = Sized(layer, {"N": 4, "d": 5, "k": 6}, ("N",))
    for seed in range(5):
        found = points(spec, np.random.default_rng(seed), 6)
        assert len({drawn.sizes["N"] for drawn in found}) >= 5  # of 3, 4, 7, 8, 9
        assert min(drawn.sizes["N"] for drawn in found) >= 3


def test_own_sizes_are_left_out_where_they_are_large() -> None:
    spec = Sized(layer, {"N": 3, "d": 3072, "k": 4}, ("N", "d", "k"))
    cheap = points(spec, np.random.default_rng(0), 5, claims=[("J", "W")])
    assert cheap[0].sizes["d"] == 3072
    large = points(spec, np.random.default_rng(0), 5, claims=[("J", "W"), ("W", "W")])
    assert len(large) == 5
    assert all(drawn.sizes["d"] < 20 for drawn in large)


def test_fixed_sizes_mean_fewer_points_where_these_are_large() -> None:
    small = Sized(layer, {"N": 3, "d": 2, "k": 4}, ())
    assert len(points(small, np.random.default_rng(0), 5)) == 5
    large = Sized(layer, {"N": 300, "d": 64, "k": 32}, ())
    claims = [("J", "X"), ("J", "W")]
    assert len(points(large, np.random.default_rng(0), 5, claims=claims)) == 5
    claims.append(("X", "X"))
    assert len(points(large, np.random.default_rng(0), 5, claims=claims)) == 1
    free = Sized(layer, {"N": 3, "d": 2, "k": 4}, ("d",))
    own = points(free, np.random.default_rng(0), 4, vary_sizes=False)
    assert [drawn.sizes for drawn in own] == [{"N": 3, "d": 2, "k": 4}] * 4
    assert len({drawn.values["X"].tobytes() for drawn in own}) == 4


def test_a_graph_without_a_spec_has_its_own_sizes() -> None:
    found = points(layer({"N": 3, "d": 2, "k": 4}), np.random.default_rng(0), 3)
    assert [drawn.sizes for drawn in found] == [{}, {}, {}]


def test_sizes_that_the_formulas_refuse_are_not_used() -> None:
    def picky(sizes: Mapping[str, int]) -> ge.Graph:
        if sizes["d"] % 2:
            raise SpecError("nodes", expected="an even d", got=str(sizes["d"]))
        return layer({**sizes, "N": 3, "k": 2})

    found = points(Sized(picky, {"d": 4}, ("d",)), np.random.default_rng(0), 5)
    assert len(found) == 5
    assert {drawn.sizes["d"] for drawn in found} >= {2, 4, 6}
    assert all(drawn.sizes["d"] % 2 == 0 for drawn in found)


def test_sabotage_without_a_look_at_kinks_points_are_at_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tests above rest on the margins: with none, nothing keeps points away."""
    monkeypatch.setattr(module, "NEAR", 0.0)
    g = layer({"N": 6, "d": 3, "k": 4})
    near = [draw(g, np.random.default_rng(seed)).clearance for seed in range(200)]
    assert min(near) < 1e-3
