"""Products of a term with vectors: gather on one side, scatter on the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphengine.jacobian.contraction import DEFAULT_LIMIT
from graphengine.jacobian.products import as_key, gather, pull, scatter
from graphengine.jacobian.terms import Index, Side, bind, flat_positions
from tests.strategies import dense_of_term, random_like, rules, seeds, shapes

AT = st.sampled_from(
    [
        None,
        range(4),
        range(3, -1, -1),
        range(0, 4, 2),
        range(3, 0, -2),
        range(2, 3),
        np.array([0, 0, 3]),
        np.array([2, 0, 1, 3]),
    ]
)


@st.composite
def sides(draw: st.DrawFn) -> tuple[Side, dict[int, int]]:
    """Sides of axes of size 4, with labels that may stand on several axes."""
    axes: list[Index] = []
    sizes: dict[int, int] = {}
    for _ in range(draw(st.integers(0, 3))):
        at: Any = draw(AT)
        count = 4 if at is None else len(at)
        same = [label for label, size in sizes.items() if size == count]
        label = draw(st.sampled_from([*same, len(sizes)]))
        sizes[label] = count
        axes.append(Index(label, at))
    return Side((4,) * len(axes), tuple(axes)), sizes


@given(sides(), seeds)
def test_gather_takes_the_entries_of_the_side(case: Any, seed: int) -> None:
    side, sizes = case
    values = random_like(seed, side.view)
    found = gather(side, values)
    assert found.labels == side.labels
    where = flat_positions(side, found.labels)
    assert np.array_equal(found.array, values.ravel()[where].reshape(found.array.shape))
    assert found.array.shape == tuple(sizes[label] for label in found.labels)


@given(sides(), seeds)
def test_scatter_is_the_adjoint_of_gather(case: Any, seed: int) -> None:
    side, sizes = case
    values = random_like(seed, side.view)
    cotangent = random_like(seed + 1, tuple(sizes[label] for label in side.labels))
    added = scatter(side, side.labels, cotangent)
    assert added.size == values.size
    assert np.sum(added.ravel() * values.ravel()) == np.sum(gather(side, values).array * cotangent)


@given(st.data(), seeds)
def test_pull_is_row_times_matrix(data: st.DataObject, seed: int) -> None:
    out_shape, in_shape = data.draw(shapes()), data.draw(shapes())
    part = bind(data.draw(rules(out_shape, in_shape))[0], out_shape, in_shape, {})
    row = random_like(seed, out_shape)
    found = pull(part, row, in_shape, DEFAULT_LIMIT)
    assert found.shape == in_shape
    assert np.array_equal(found.ravel(), row.ravel() @ dense_of_term(part))


@pytest.mark.parametrize(
    "at",
    [
        range(5),
        range(1, 4),
        range(4, -1, -1),
        range(4, -1, -3),
        range(3, 1, -1),
        range(0),
        range(2, 3),
    ],
)
def test_ranges_are_slices(at: range) -> None:
    key = as_key(at)
    assert isinstance(key, slice)
    assert list(np.arange(5)[key]) == list(at)


def test_gathering_by_slices_copies_nothing() -> None:
    values = np.arange(12.0).reshape(3, 4)
    side = Side((3, 4), (Index(0, range(2, -1, -1)), Index(1, range(1, 3))))
    assert np.shares_memory(gather(side, values).array, values)
