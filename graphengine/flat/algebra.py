"""Matrix algebra on a recorded program: what a person does before writing the formulas down.

Symmetric matrices are their own transposes, and solves and inverses share one factorisation.  All
rules are exact in real arithmetic.  (G. H. Golub and C. F. Van Loan, "Matrix Computations", 4th ed.
2013, chapters 3 and 4 on factors in place of inverses.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphengine.flat import structure
from graphengine.flat.factors import (
    cholesky_inverse,
    cholesky_solve,
    lu,
    lu_inverse,
    lu_slogdet,
    lu_solve,
    triangular_solve,
)
from graphengine.flat.merging import needed
from graphengine.flat.recording import Recorded
from graphengine.flat.structure import Structure, is_scalar, shape_of, size_of
from graphengine.tracing import Tape, Traced

__all__ = ["SOLVES", "Algebra", "Version"]

SOLVES: dict[Any, Any] = {
    cholesky_inverse: cholesky_solve,
    lu_inverse: lu_solve,
    np.linalg.inv: triangular_solve,  # recorded of Cholesky factors alone
}
"""What takes the place of an inverse in a product."""

Terms = Sequence[tuple[Any, Any]]
"""Numbers, known or traced, and what they multiply."""


class Version(NamedTuple):
    """One way to compute a program's results."""

    images: dict[int, Any]
    """What stands for each of the program's calls."""
    results: Sequence[Any]
    needed: frozenset[int]
    cost: float


class Algebra:
    """Rebuilds a program on a tape of its own, by the rules."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.tape = Tape()
        self.inputs = {name: self.tape.input(name, x.shape) for name, x in recorded.inputs.items()}
        self.structure = Structure(self.turned)
        self.factored: set[int] = set()
        """The matrices whose Cholesky factor the program needs anyway."""
        self.wanted = needed(recorded.results)
        self._sums: dict[int, Terms] = {}
        self._turned: dict[Any, Any] = {}
        self._rules: dict[Any, Callable[..., Any]] = {
            np.transpose: lambda x, a: self.turned(a) if x.ndim == 2 else None,
            np.add: self._add,
            np.subtract: self._subtract,
            np.multiply: self._multiply,
            np.divide: self._divide,
            np.matmul: lambda x, a, b: self.product(a, b) if x.ndim else None,
            np.linalg.inv: lambda _, a: self.inverse(a),
            np.linalg.cholesky: lambda _, a: self.factored.add(a.number),
            np.linalg.solve: lambda _, a, b: self.solved(a, b),
            np.linalg.slogdet: lambda _, a: self._slogdet(a),
            "item": self._item,
        }

    # --- the program, rebuilt ---------------------------------------------------------------

    def version(self) -> Version:
        """The program by the rules."""
        steps, old = self.recorded.tape.steps, self.recorded.tape.results
        inputs = self.recorded.inputs
        images: dict[int, Any] = {inputs[name].number: x for name, x in self.inputs.items()}
        for k in self.wanted:
            if k not in images:
                args = [images[a.number] if isinstance(a, Traced) else a for a in steps[k].args]
                images[k] = self._image(old[k], args)
                self.structure.look(images[k])
        results = [images[x.number] if isinstance(x, Traced) else x for x in self.recorded.results]
        wanted = needed(results)
        cost = sum(structure.price(self.tape.results[k]) for k in wanted)
        return Version(images, results, frozenset(wanted), cost)

    def _image(self, x: Traced, args: Sequence[Any]) -> Any:
        """What stands for ``x``, whose arguments are these."""
        step = x.step
        rule = self._rules.get(step.call)
        if rule is not None and all(map(structure.is_plain, (x, *args))):
            found = rule(x, *args)
            if found is not None:
                return found
        return self.tape.record(step.call, args, step.params, x.shape, x.dtype, view=step.view)

    def has_better_factors(self, version: Version) -> bool:
        """Whether a version factors a matrix twice, as its Cholesky factor was met too late."""
        steps = (self.tape.steps[k] for k in version.needed)
        return any(
            step.call is lu and step.args[0].number in self.factored
            for step in steps
            if isinstance(step.args[0], Traced)
        )

    # --- sums -------------------------------------------------------------------------------

    def turned(self, x: Any) -> Any:
        """The transpose; of a vector it is itself."""
        if len(shape_of(x)) < 2 or self.structure.symmetric(x):
            return x
        if isinstance(x, Traced):
            return np.transpose(x)
        key = self.structure.key(x)
        if key not in self._turned:  # one array for each, as the tape knows them by identity
            self._turned[key] = x.T
            self._turned[self.structure.key(self._turned[key])] = x
        return self._turned[key]

    def terms(self, x: Any) -> Terms:
        """What adds up to ``x``, as far as the rules made it."""
        return self._sums.get(x.number, [(1.0, x)]) if isinstance(x, Traced) else [(1.0, x)]

    def scaled(self, number: Any, x: Any) -> Any:
        """``number * x``."""
        if isinstance(number, float) and number == 1:
            return x
        return self.sum([(number * coef, one) for coef, one in self.terms(x)])

    def added(self, x: Any, y: Any) -> Any:
        """``x + y``."""
        return self.sum([*self.terms(x), *self.terms(y)])

    def sum(self, terms: Terms) -> Any:
        """The sum of the terms, those of one array together, products last (BLAS adds them)."""
        together: dict[Any, tuple[Any, Any]] = {}
        for coef, x in terms:
            key = x.number if isinstance(x, Traced) else ("array", id(x))
            together[key] = (together[key][0] + coef if key in together else coef, x)
        found = sorted(together.values(), key=lambda term: structure.is_product(term[1]))
        if len(found) > 1 and _negative(found[0][0]):
            found.sort(key=lambda term: (structure.is_product(term[1]), _negative(term[0])))
        (coef, x), *others = found
        total = self._multiple(coef, x)
        for coef, x in others:
            if _negative(coef) and not structure.is_product(x):
                total = total - self._multiple(-coef, x)
            else:
                total = total + self._multiple(coef, x)
        if isinstance(total, Traced) and (others or total is not x):
            self._sums[total.number] = found
        return total

    def _multiple(self, number: Any, x: Any) -> Any:
        """``number * x``: of a product its smaller factor is multiplied."""
        if not is_scalar(number) or isinstance(number, Traced) or number != 1:
            if structure.is_product(x):
                left, right = x.step.args
                if size_of(right) <= min(size_of(left), x.size - 1):
                    return np.matmul(left, np.multiply(number, right))
                if size_of(left) < x.size:
                    return np.matmul(np.multiply(number, left), right)
            return np.multiply(number, x)
        return x

    def _shared(self, a: Any, b: Any) -> bool:
        ours = {one.number for _, one in self.terms(a) if isinstance(one, Traced)}
        return any(isinstance(one, Traced) and one.number in ours for _, one in self.terms(b))

    def _add(self, x: Traced, a: Any, b: Any) -> Any:
        same = shape_of(a) == shape_of(b) == x.shape != ()
        return self.added(a, b) if same and self._shared(a, b) else None

    def _subtract(self, x: Traced, a: Any, b: Any) -> Any:
        same = shape_of(a) == shape_of(b) == x.shape != ()
        if not same or a is b or not self._shared(a, b):
            return None
        return self.added(a, self.scaled(-1.0, b))

    def _multiply(self, x: Traced, a: Any, b: Any) -> Any:
        number, rest = (a, b) if is_scalar(a) else (b, a)
        known_sum = isinstance(rest, Traced) and rest.number in self._sums
        return self.scaled(number, rest) if x.shape and is_scalar(number) and known_sum else None

    def _divide(self, x: Traced, a: Any, b: Any) -> Any:
        known_sum = isinstance(a, Traced) and a.number in self._sums
        if not x.shape or not known_sum or isinstance(b, Traced) or not is_scalar(b) or b == 0:
            return None
        return self.scaled(1.0 / b, a)

    # --- inverses ---------------------------------------------------------------------------

    def inverse(self, a: Any) -> Any:
        """``A⁻¹``, by the factor that there is."""
        if isinstance(a, Traced):
            if a.step.call is np.transpose:
                return self.turned(self.inverse(a.step.args[0]))
            if a.step.call is np.linalg.cholesky:
                return self.tape.record(np.linalg.inv, (a,), {}, a.shape)
            if a.number in self.factored:
                factor = self.tape.record(np.linalg.cholesky, (a,), {}, a.shape)
                return self.tape.record(cholesky_inverse, (factor,), {}, a.shape)
        factors = self.tape.record(lu, (a,), {}, a.shape)
        return self.tape.record(lu_inverse, (factors,), {}, a.shape)

    def solved(self, a: Any, b: Any) -> Any:
        """``A⁻¹ b`` by the factor that there is."""
        return self.solve(*structure.unturned(self.inverse(a)), b)

    def solve(self, inverse: Any, turned: bool, right: Any) -> Any:  # noqa: FBT001 (a fact, not a switch)
        """``A⁻¹ right`` without the inverse, with ``turned`` ``A⁻ᵀ right``."""
        number, right = self.structure.multiple(right)
        (factor,) = inverse.step.args
        call = SOLVES[inverse.step.call]
        trans = turned and not self.structure.symmetric(inverse)
        if call is triangular_solve and trans and isinstance(right, Traced):
            inner = right.step  # L⁻ᵀ (L⁻¹ b)
            if inner.call is call and inner.args[1] is factor and not inner.params["trans"]:
                call, right = cholesky_solve, inner.args[0]
        params = {} if call is cholesky_solve else {"trans": int(trans)}
        return self.scaled(number, self.tape.record(call, (right, factor), params, right.shape))

    def _slogdet(self, a: Any) -> Any:
        if isinstance(a, Traced) and a.number in self.factored:
            return None
        factors = self.tape.record(lu, (a,), {}, a.shape)
        return self.tape.record(lu_slogdet, (factors,), {}, (2,))

    def _item(self, x: Traced, pair: Traced) -> Any:
        """The logarithm of the determinant from a Cholesky factor."""
        step = pair.step
        if step.call is not np.linalg.slogdet or step.args[0].number not in self.factored:
            return None
        if x.step.params["place"] != 1:
            return None
        factor = self.tape.record(np.linalg.cholesky, step.args, {}, step.args[0].shape)
        return 2 * np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum()

    def product(self, a: Any, b: Any) -> Any:
        """``a @ b`` of matrices and vectors."""
        if isinstance(b, Traced) and b.step.call is np.linalg.inv and self.turned(b) is a:
            (factor,) = b.step.args  # L⁻ᵀ L⁻¹
            return self.tape.record(cholesky_inverse, (factor,), {}, b.shape)
        return np.matmul(a, b)


def _negative(number: Any) -> bool:
    return not isinstance(number, Traced) and number < 0
