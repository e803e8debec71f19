"""Arrays without numbers that write down what is done to them.

An op's forward function and Jacobian rules are NumPy code.  Run on :class:`Traced` arrays they
leave the list of calls that would compute the result: a :class:`Tape`, from which flat code is
written (:mod:`graphengine.flat`).  Shapes are exact, and what does not depend on traced arrays is
computed at once.  A call that stands on the tape already is not written twice.
"""

from graphengine.tracing import elementwise, functions, views
from graphengine.tracing.infinite import guarded
from graphengine.tracing.tape import (
    INT,
    Step,
    Tape,
    Traced,
    Untraceable,
    as_array,
    known,
    placed,
    recorded,
    traced,
)

__all__ = [
    "INT",
    "Step",
    "Tape",
    "Traced",
    "Untraceable",
    "as_array",
    "guarded",
    "known",
    "placed",
    "recorded",
    "traced",
]
