"""Every op, compiled in a small graph: the same numbers as by the graph's run and by the lecture.

An op that is added to the library is picked up with no edit here.
"""

from __future__ import annotations

import pytest

from graphengine.ops import OPS

from .programs import NO_ASTYPE, NO_ENTRIES, agrees, around, examples, wrong

CASES = [(name, reuse) for name in OPS for reuse in (False, True)]
WRONG = {
    NO_ASTYPE: [(name, reuse) for name in ("maxout", "where", "clip") for reuse in (False, True)],
    NO_ENTRIES: [("mean", True), ("var", True)],
}


@pytest.mark.parametrize(("name", "reuse"), wrong(CASES, WRONG))
def test_value_and_gradients(name: str, reuse: bool) -> None:
    for op, args in examples(name):
        graph, values, free = around(op, args)
        try:
            agrees(graph, values, free, reuse=reuse)
        except BaseException as error:
            error.add_note(f"{op} of {[arg.shape for arg in args]}")
            raise
