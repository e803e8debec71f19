"""Arrays without numbers that write down what is done to them.

An op's forward function and Jacobian rules are NumPy code.  Run on :class:`Traced` arrays they
leave the list of calls that would compute the result: a :class:`Tape`, from which flat code is
written (:mod:`graphengine.flat`).  Shapes and types are exact, and what does not depend on traced
arrays is computed at once.  A call that stands on the tape already is not written twice.

>>> import numpy as np
>>> tape = Tape()
>>> x = tape.input("x", (2, 3))
>>> np.exp(x - x.max(axis=1, keepdims=True))
<traced 3: float64 (2, 3)>
>>> [step.name for step in tape.steps]
['x', 'max', 'subtract', 'exp']
"""

from graphengine.tracing import (  # noqa: F401 (what they hold is registered by importing them)
    elementwise,
    picking,
    products,
    reductions,
    views,
)
from graphengine.tracing.infinite import guarded, guarded_product, meets_infinity, warns
from graphengine.tracing.picking import taken
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
    "guarded_product",
    "known",
    "meets_infinity",
    "placed",
    "recorded",
    "taken",
    "traced",
    "warns",
]
