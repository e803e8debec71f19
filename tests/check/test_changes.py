"""Changed Jacobians multiply as the Jacobians that they make do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from graphengine.check.mistakes.changes import Changed
from graphengine.jacobian import Jacobian
from graphengine.ops.base import Array

RNG = np.random.default_rng(0)
DENSE = RNG.normal(size=(6, 8))
RIGHT = Jacobian.of(DENSE, (2, 3), (4, 2))
SQUARE = Jacobian.of(RNG.normal(size=(6, 6)), (2, 3), (2, 3))
ABOVE, BELOW, ALIKE = (RNG.normal(size=shape) for shape in ((2, 3), (4, 2), (2, 3)))
ORDER = RNG.permutation(8).reshape(4, 2)


def given(value: Array) -> Callable[[], Array]:
    return partial(np.asarray, value)


CASES = {
    "a number": (Changed((4, 2), lambda: RIGHT, -2.5), -2.5 * DENSE),
    "nothing": (Changed((4, 2), lambda: RIGHT, 0.0), 0 * DENSE),
    "rows": (Changed((4, 2), lambda: RIGHT, above=given(ABOVE)), ABOVE.reshape(-1, 1) * DENSE),
    "columns": (Changed((4, 2), lambda: RIGHT, below=given(BELOW)), DENSE * BELOW.reshape(-1)),
    "both": (
        Changed((4, 2), lambda: RIGHT, 3.0, given(ABOVE), given(BELOW)),
        3 * ABOVE.reshape(-1, 1) * DENSE * BELOW.reshape(-1),
    ),
    "another order": (Changed((4, 2), lambda: RIGHT, order=given(ORDER)), DENSE[:, ORDER.ravel()]),
    "the identity": (Changed((2, 3)), np.eye(6)),
    "half the identity": (Changed((2, 3), scale=0.5), 0.5 * np.eye(6)),
    "slopes": (Changed((2, 3), above=given(ALIKE)), np.diag(ALIKE.reshape(-1))),
    "a broadcast slope": (Changed((2, 3), above=given(ALIKE[0])), np.diag(np.tile(ALIKE[0], 2))),
}


@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_the_matrix(name: str) -> None:
    changed, dense = CASES[name]
    right = DENSE if changed.right is not None else np.eye(6)
    row, columns = RNG.normal(size=6), RNG.normal(size=(dense.shape[1], 3))
    np.testing.assert_allclose(changed().toarray(), dense, atol=1e-14)
    np.testing.assert_allclose(changed.pull(row, row @ right), row @ dense, atol=1e-13)
    np.testing.assert_allclose(changed.push(columns, right @ columns), dense @ columns, atol=1e-13)


def test_what_is_not_finite_is_told() -> None:
    with_hole = np.where(ABOVE > 0, ABOVE, np.nan)
    assert CASES["both"][0].finite
    assert not Changed((4, 2), lambda: RIGHT, above=given(with_hole)).finite
    assert not Changed((2, 3), below=lambda: 1 / np.zeros((2, 3))).finite


def test_only_a_multiple_of_the_right_one_is_a_number() -> None:
    numbers = {name for name, (changed, _) in CASES.items() if changed.is_number}
    assert numbers == {"a number"}
