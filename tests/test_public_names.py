"""The package's public names: there, documented, and imported only when used."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import graphengine as ge
from graphengine.ops import OPS


@pytest.mark.parametrize("name", ge.__all__)
def test_each_name_is_there(name: str) -> None:
    value = getattr(ge, name)
    assert value.__doc__ or isinstance(value, str)
    assert name in dir(ge)


def test_all_is_sorted_and_has_each_name_once() -> None:
    assert ge.__all__ == sorted(set(ge.__all__))


@pytest.mark.parametrize("name", OPS)
def test_each_op_is_a_function(name: str) -> None:
    assert getattr(ge, name).op is OPS[name]
    assert name in dir(ge)


def test_an_op_applied_to_numbers_gives_the_value() -> None:
    assert np.array_equal(ge.sum([[1, 2], [3, 4]], axis=0), [4, 6])


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sofmax'"):
        ge.sofmax  # noqa: B018 (the access is what is tested)


def test_check_is_the_function_also_after_its_package_was_imported() -> None:
    code = (
        "import graphengine.check.points, graphengine as ge\n"
        "from graphengine import check\n"
        "assert callable(check) and callable(ge.check), ge.check"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
