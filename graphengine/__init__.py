"""Explicit Jacobians on computational graphs, and the check of hand-derived gradients.

The public names: :class:`Graph` and its :class:`Node`, :class:`Jacobian`, :class:`Op` with
:func:`term` for ops of one's own, :func:`load` and :class:`Spec` for spec files, :func:`check`
and its :class:`Report`, :func:`check_gradient` and its like for plain functions,
:class:`ResidualProblem` and :class:`Objective` for SciPy's solvers,
:mod:`~graphengine.testing` for assertions, the errors, and every op of the library as a function
(``ge.softmax``).

Names are imported when they are first used, so that ``graphengine --help`` need not wait for
NumPy, SciPy and networkx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphengine import testing
    from graphengine.check import Report, check, check_op
    from graphengine.check.functions import check_gradient, check_hessian, check_jacobian
    from graphengine.errors import GraphEngineError
    from graphengine.graph import Graph
    from graphengine.jacobian import Jacobian, term
    from graphengine.node import Node
    from graphengine.ops.base import Elementwise, Op, slope
    from graphengine.problems import Objective, ResidualProblem
    from graphengine.run import Run
    from graphengine.spec import Spec, load, load_derivation

__version__ = "0.1.0"

_MODULES = {
    "Elementwise": "graphengine.ops.base",
    "Graph": "graphengine.graph",
    "GraphEngineError": "graphengine.errors",
    "Jacobian": "graphengine.jacobian",
    "Node": "graphengine.node",
    "Objective": "graphengine.problems",
    "Op": "graphengine.ops.base",
    "Report": "graphengine.check",
    "ResidualProblem": "graphengine.problems",
    "Run": "graphengine.run",
    "Spec": "graphengine.spec",
    "check": "graphengine.check",
    "check_gradient": "graphengine.check.functions",
    "check_hessian": "graphengine.check.functions",
    "check_jacobian": "graphengine.check.functions",
    "check_op": "graphengine.check",
    "load": "graphengine.spec",
    "load_derivation": "graphengine.spec",
    "slope": "graphengine.ops.base",
    "term": "graphengine.jacobian",
}

__all__ = [
    "Elementwise",
    "Graph",
    "GraphEngineError",
    "Jacobian",
    "Node",
    "Objective",
    "Op",
    "Report",
    "ResidualProblem",
    "Run",
    "Spec",
    "__version__",
    "check",
    "check_gradient",
    "check_hessian",
    "check_jacobian",
    "check_op",
    "load",
    "load_derivation",
    "slope",
    "term",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "testing":
        return import_module("graphengine.testing")
    if not name.startswith("_"):
        from graphengine.ops import OPS, function  # noqa: PLC0415 (heavy, see above)

        if name in OPS:
            globals()[name] = found = function(name)  # from now on found without asking here
            return found
    raise AttributeError(f"module 'graphengine' has no attribute {name!r}")


def __dir__() -> list[str]:
    from graphengine.ops import OPS  # noqa: PLC0415 (heavy, see above)

    return sorted([*__all__, *OPS])
