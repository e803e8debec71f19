"""Every op, compiled in a small graph: the same numbers as by the graph's run and by the lecture.

An op that is added to the library is picked up with no edit here.
"""

from __future__ import annotations

import pytest

from graphengine.ops import OPS

from .programs import agrees, around, examples


@pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reuse"])
@pytest.mark.parametrize("name", OPS)
def test_value_and_gradients(name: str, reuse: bool) -> None:
    for op, args in examples(name):
        graph, values, free = around(op, args)
        try:
            agrees(graph, values, free, reuse=reuse)
        except BaseException as error:
            error.add_note(f"{op} of {[arg.shape for arg in args]}")
            raise
