"""A graph as SciPy's solvers want it: functions of one flat vector, and their derivatives.

:class:`ResidualProblem` has ``fun`` and ``jac`` for ``scipy.optimize.least_squares`` and ``root``
and for ``scipy.integrate.solve_ivp``, and Gauss-Newton matrices; :class:`Objective` has ``fun`` and
``jac`` for ``scipy.optimize.minimize``.

Solvers keep what they are given, and change it: ``CG``, ``BFGS``, ``Newton-CG`` and most
trust-region methods take differences of gradients, ``Radau``, ``BDF`` and ``RK45`` compare
right-hand sides, ``least_squares`` with a robust ``loss`` scales residual and Jacobian in place.
With results in buffers that the next call fills they fail, or take many times the evaluations.
Every array that is handed out here is therefore new; only the positions of a sparse matrix are
shared, and read-only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from graphengine.errors import ShapeError
from graphengine.graph import Graph, Node
from graphengine.ops.base import Array
from graphengine.problems.matrices import Normal, SideBySide
from graphengine.problems.vectors import FlatProblem, Names, Values

if TYPE_CHECKING:
    from graphengine.flat import Compiled, CompiledJacobian
    from graphengine.flat.plans import Plan

__all__ = ["GaussNewton", "Objective", "ResidualProblem"]


class GaussNewton(NamedTuple):
    """``JᵀJ`` and ``Jᵀr``: the step that solves ``matrix @ step = -gradient`` makes the linear
    model ``r + J step`` as small as it can be.
    """

    matrix: sp.csr_array
    """Symmetric; its diagonal is always stored, for ``setdiag`` to damp it in place."""
    gradient: Array
    """Of half the sum of squares."""


class ResidualProblem(FlatProblem):
    """A node as a function of one vector; see :meth:`graphengine.Graph.residual_problem`.

    >>> import graphengine as ge
    >>> from scipy.optimize import least_squares
    >>> g = ge.Graph("decay")
    >>> t, y = g.input("t", (3,)), g.input("y", (3,))
    >>> a, k = g.parameter("a"), g.parameter("k")
    >>> r = g.result("r", a * ge.exp(-k * t) - y)
    >>> values = {"t": [0, 1, 2], "y": [4, 2, 1], "a": 1, "k": 1}
    >>> problem = g.residual_problem(["a", "k"], values=values)
    >>> found = least_squares(problem.fun, problem.x0, problem.jac)
    >>> {name: round(float(value), 6) for name, value in problem.unpack(found.x).items()}
    {'a': 4.0, 'k': 0.693147}
    """

    def __init__(
        self,
        graph: Graph,
        wrt: Names,
        of: str | Node | None = None,
        values: Values | None = None,
        *,
        time: str | Node | None = None,
        dense: bool = False,
        reuse: bool = True,
    ) -> None:
        super().__init__(graph, wrt, of, values, time)
        self.dense, self._reuse = dense, reuse
        self.function: Compiled = self.graph.compile(reuse=reuse)
        """The compiled residual, of the parameters (and the time) by name."""
        self.jacobian: CompiledJacobian = self.graph.compile_jacobian(
            self.of, list(self.wrt), reuse=reuse
        )
        """The compiled Jacobians, one for each parameter."""
        self._joined: SideBySide | None = None
        self._normal: Normal | None = None

    @property
    def plan(self) -> Plan:
        """The order in which the Jacobian is accumulated, and what it costs."""
        return self.jacobian.plan

    def fun(self, x: ArrayLike) -> Array:
        """The residual at ``x``, as a vector."""
        return self._residual(self.checked(x), None)

    def jac(self, x: ArrayLike) -> Any:
        """``∂of/∂x`` at ``x``: a ``csr_array``, or an array where the problem is ``dense``."""
        return self._shown(self._matrix(self.checked(x), None)[0])

    def fun_ivp(self, t: float, y: ArrayLike) -> Array:
        """The right-hand side of ``dy/dt = of(t, y)``, for ``solve_ivp``."""
        return self._residual(self._state(y), t)

    def jac_ivp(self, t: float, y: ArrayLike) -> Any:
        """``∂of/∂y`` at the time ``t``, as :meth:`jac` gives it."""
        return self._shown(self._matrix(self._state(y), t)[0])

    def gauss_newton(self, x: ArrayLike) -> GaussNewton:
        """``JᵀJ``, a symmetric ``csr_array``, and ``Jᵀr`` at ``x``.

        The places of its entries are found at the first call; later ones compute numbers alone.
        Raises :class:`TooLargeError` where that takes more than 2 GiB.
        """
        array = self.checked(x)
        matrix, fixed = self._matrix(array, None)
        if fixed and self._normal is None:
            self._normal = Normal(matrix, reuse=self._reuse)
        product = self._normal(matrix) if fixed and self._normal else _squared(matrix)
        return GaussNewton(product, matrix.T @ self._residual(array, None))

    def _residual(self, x: Array, t: float | None) -> Array:
        found = np.asarray(self.function(*self.arguments(self.function, x, t)))
        return found.flatten() if self._reuse else found.reshape(-1)

    def _matrix(self, x: Array, t: float | None) -> tuple[sp.csr_array, bool]:
        """The Jacobian, and whether its pattern is the one that was found once."""
        parts = self.jacobian(*self.arguments(self.jacobian, x, t))
        if any(part.indices.flags.writeable for part in parts):
            # Compiled code has given up (at a division by zero, say), and the graph's own run has
            # computed these; it may store other entries.
            return sp.csr_array(sp.hstack(parts)), False
        if self._joined is None:
            self._joined = SideBySide(parts)
        return self._joined(parts), True

    def _shown(self, matrix: sp.csr_array) -> Any:
        return matrix.toarray() if self.dense else matrix

    def _state(self, y: ArrayLike) -> Array:
        """``y``, of which there is a derivative for each number."""
        size = self.graph[self.of].size
        if size != self.size:
            raise ShapeError(
                f"d({', '.join(self.wrt)})/dt",
                expected=f"a right-hand side of {self.size} numbers",
                got=f"{self.of!r}, which has {size}",
            )
        return self.checked(y)


class Objective(FlatProblem):
    """A number as a function of one vector; see :meth:`graphengine.Graph.objective`.

    >>> import graphengine as ge
    >>> from scipy.optimize import minimize
    >>> g = ge.Graph("bowl")
    >>> x, y = g.parameter("x"), g.parameter("y", (2,))
    >>> J = g.result("J", (x - 3) ** 2 + ge.sum((y - x) ** 2))
    >>> problem = g.objective(["x", "y"], values={"x": 0, "y": [0, 0]})
    >>> found = minimize(problem.fun, problem.x0, jac=problem.jac, method="L-BFGS-B")
    >>> problem.unpack(found.x)["y"].round(3)
    array([3., 3.])
    """

    def __init__(
        self,
        graph: Graph,
        wrt: Names,
        of: str | Node | None = None,
        values: Values | None = None,
        *,
        reuse: bool = True,
    ) -> None:
        super().__init__(graph, wrt, of, values)
        top = self.graph[self.of]
        if top.size != 1:
            raise ShapeError(
                f"objective {self.of!r}",
                expected="a node with one entry",
                got=f"shape {top.shape}",
                hint="residual_problem takes a vector; the sum of its squares is a number",
            )
        self.function: Compiled = self.graph.compile(wrt=self.wrt, reuse=reuse)
        """The compiled value and gradients, of the parameters by name."""
        self._last: tuple[bytes, float, Array] | None = None

    def fun(self, x: ArrayLike) -> float:
        """The value at ``x``."""
        return self._both(x)[0]

    def jac(self, x: ArrayLike) -> Array:
        """The gradient at ``x``, as a vector."""
        return self._both(x)[1].copy()

    def fun_and_jac(self, x: ArrayLike) -> tuple[float, Array]:
        """Both, for ``minimize(…, jac=True)``."""
        value, gradient = self._both(x)
        return value, gradient.copy()

    def _both(self, x: ArrayLike) -> tuple[float, Array]:
        """Value and gradient; those found last where ``x`` has the same numbers, bit for bit."""
        array = self.checked(x)
        key = array.tobytes()  # a copy: solvers change x in place
        if self._last is None or key != self._last[0]:
            value, *parts = self.function(*self.arguments(self.function, array, None))
            gradient = np.concatenate([np.reshape(part, -1) for part in parts])
            self._last = key, np.asarray(value).item(), gradient
        return self._last[1:]


def _squared(matrix: sp.csr_array) -> sp.csr_array:
    """``JᵀJ`` with its diagonal, in no hurry."""
    zeros = sp.diags_array(np.zeros(matrix.shape[1]), format="csr")
    return sp.csr_array(matrix.T @ matrix + zeros)
