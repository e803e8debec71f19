"""Matrix algebra on a recorded program: what a person does before writing the formulas down.

Symmetric matrices are their own transposes, solves and inverses share one factorisation, and the
product of a matrix that is a sum, an inverse or itself a product is distributed where that takes
less work: ``(a A⁻¹ + P Q) x`` needs neither the inverse nor ``P Q``.  All rules are exact in real
arithmetic.  (G. H. Golub and C. F. Van Loan, "Matrix Computations", 4th ed. 2013, section 1.1 on
the order of products, chapters 3 and 4 on factors in place of inverses.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from graphengine.flat.structure import Structure, is_scalar
from graphengine.tracing import Tape, Traced

__all__ = ["Algebra", "Version"]

BUDGET = 300_000
"""Calls looked at for the sake of choices; beyond it products stay as they are."""
WORTH = 50_000.0
"""Products that cost less, with all that leads to them, stay as they are."""
DEEP = 100
"""Sums and products nested deeper stay as they are."""

_SOLVES: dict[Any, Any] = {
    cholesky_inverse: cholesky_solve,
    lu_inverse: lu_solve,
    np.linalg.inv: triangular_solve,  # recorded of Cholesky factors alone
}

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
        self.factored: frozenset[int] = frozenset()
        """The matrices whose Cholesky factor the program needs anyway."""
        self.there: frozenset[int] = frozenset()
        """What is computed anyway, as far as known."""
        self._wanted = needed(recorded.results)
        self._spreads = False
        self._products: dict[Any, Any] = {}
        self._costs: dict[int, float] = {}
        self._sums: dict[int, Terms] = {}
        self._turned: dict[Any, Any] = {}
        self._work = self._depth = 0
        self._rules: dict[Any, Callable[..., Any]] = {
            np.transpose: lambda x, a: self.turned(a) if x.ndim == 2 else None,
            np.add: self._add,
            np.subtract: self._subtract,
            np.multiply: self._multiply,
            np.divide: self._divide,
            np.matmul: lambda x, a, b: self.product(a, b) if x.ndim else None,
            np.linalg.inv: lambda _, a: self.inverse(a),
            np.linalg.solve: lambda _, a, b: self._solved(a, b),
            np.linalg.slogdet: lambda _, a: self._slogdet(a),
            "item": self._item,
        }

    # --- the program, rebuilt ---------------------------------------------------------------

    def version(self, *, spreads: bool) -> Version:
        """The program by the rules; products are distributed where it ``spreads``."""
        self._spreads, self._work = spreads, 0
        self._products.clear()
        self._costs.clear()
        steps, old = self.recorded.tape.steps, self.recorded.tape.results
        inputs = self.recorded.inputs
        images: dict[int, Any] = {inputs[name].number: x for name, x in self.inputs.items()}
        for k in self._wanted:
            if k not in images:
                args = [images[a.number] if isinstance(a, Traced) else a for a in steps[k].args]
                images[k] = self._image(old[k], args)
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

    def cholesky_of(self, version: Version) -> frozenset[int]:
        """The matrices that a version factors."""
        found = (self.tape.results[k] for k in version.needed)
        return frozenset(
            x.step.args[0].number
            for x in found
            if x.step.call is np.linalg.cholesky and structure.is_plain(x)
        )

    def needed_anyway(self, version: Version) -> frozenset[int]:
        """What a version needs however its products are distributed."""
        found: set[int] = set()
        waiting = [x for x in version.results if isinstance(x, Traced)]
        while waiting:
            x = waiting.pop()
            if x.number not in found:
                found.add(x.number)
                product = x.step.call is np.matmul or x.step.call in _SOLVES.values()
                waiting += [
                    arg
                    for arg in x.step.args
                    if isinstance(arg, Traced) and not (product and self.structure.spreads(arg))
                ]
        return frozenset(found)

    # --- sums -------------------------------------------------------------------------------

    def turned(self, x: Any) -> Any:
        """The transpose; of a vector it is itself."""
        if np.ndim(x) < 2 or self.structure.symmetric(x):
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
                if np.size(right) <= min(np.size(left), x.size - 1):
                    return np.matmul(left, np.multiply(number, right))
                if np.size(left) < x.size:
                    return np.matmul(np.multiply(number, left), right)
            return np.multiply(number, x)
        return x

    def _shared(self, a: Any, b: Any) -> bool:
        ours = {one.number for _, one in self.terms(a) if isinstance(one, Traced)}
        return any(isinstance(one, Traced) and one.number in ours for _, one in self.terms(b))

    def _add(self, x: Traced, a: Any, b: Any) -> Any:
        same = np.shape(a) == np.shape(b) == x.shape != ()
        return self.added(a, b) if same and self._shared(a, b) else None

    def _subtract(self, x: Traced, a: Any, b: Any) -> Any:
        same = np.shape(a) == np.shape(b) == x.shape != ()
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

    def _solved(self, a: Any, b: Any) -> Any:
        inverse = self.inverse(a)
        if self._spreads:
            return self.product(inverse, b)
        return self.solve(*structure.unturned(inverse), b)

    def solve(self, inverse: Any, turned: bool, right: Any) -> Any:  # noqa: FBT001 (a fact, not a switch)
        """``A⁻¹ right`` without the inverse, with ``turned`` ``A⁻ᵀ right``."""
        number, right = self.structure.multiple(right)
        (factor,) = inverse.step.args
        call = _SOLVES[inverse.step.call]
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

    # --- products ---------------------------------------------------------------------------

    def product(self, a: Any, b: Any) -> Any:
        """``a @ b`` of matrices and vectors, by the way that takes the least work."""
        if isinstance(b, Traced) and b.step.call is np.linalg.inv and self.turned(b) is a:
            (factor,) = b.step.args  # L⁻ᵀ L⁻¹
            return self.tape.record(cholesky_inverse, (factor,), {}, b.shape)
        shaped = self.structure.spreads(a) or self.structure.spreads(b)
        if not self._spreads or not shaped or self._work > BUDGET or self._depth > DEEP:
            return self._plain(a, b)
        if self._pair(a, b) not in self._products:
            plain = self._plain(a, b)
            self._keep(a, b, plain)  # while ways that lead back to it are looked for
            if self._cost(plain) > WORTH:
                self._keep(a, b, min((plain, *self._ways(a, b)), key=self._cost))
        return self._products[self._pair(a, b)]

    def _pair(self, *factors: Any) -> Any:
        return tuple(map(self.structure.key, factors))

    def _keep(self, a: Any, b: Any, found: Any) -> None:
        turned = self.turned(b), self.turned(a)
        self._products[self._pair(*turned)] = self.turned(found)
        self._products[self._pair(a, b)] = found

    def _ways(self, a: Any, b: Any) -> Iterator[Any]:
        """``a @ b`` by the parts of ``a``, and by those of ``b``."""
        self._depth += 1
        by_left = self._spread(a, b)
        if by_left is not None:
            yield by_left
        by_right = self._spread(self.turned(b), self.turned(a))
        if by_right is not None:
            yield self.turned(by_right)
        self._depth -= 1

    def _cost(self, x: Any) -> float:
        """Of all that leads to ``x`` and is not computed anyway."""
        if not isinstance(x, Traced):
            return 0.0
        if x.number not in self._costs:
            seen: set[int] = set()
            waiting = [x]
            while waiting:
                one = waiting.pop()
                if one.number not in self.there and one.number not in seen:
                    seen.add(one.number)
                    waiting += [arg for arg in one.step.args if isinstance(arg, Traced)]
            self._work += len(seen)
            self._costs[x.number] = sum(structure.price(self.tape.results[k]) for k in seen)
        return self._costs[x.number]

    def _plain(self, a: Any, b: Any) -> Any:
        """The product as it stands, or as the transpose of one; by inverses it is a solve."""
        if self._spreads:
            for one, other, swapped in ((a, b, False), (b, a, True)):
                inner, turned = structure.unturned(one)
                if structure.is_inverse(inner):
                    solved = self.solve(
                        inner, turned ^ swapped, self.turned(other) if swapped else other
                    )
                    return self.turned(solved) if swapped else solved
            left, turned = structure.unturned(a)
            if turned and np.ndim(b) == 2 and self.turned(b) is structure.unturned(b)[0]:
                return self.turned(np.matmul(self.turned(b), left))
        return np.matmul(a, b)

    def _spread(self, a: Any, b: Any) -> Any:
        """``a @ b`` by the parts of ``a``; None where it has none."""
        if not self.structure.spreads(a):
            return None
        diagonal = self.structure.diagonal(a)
        if diagonal is not None:
            if is_scalar(diagonal):
                return self.scaled(diagonal, b)
            return np.multiply(diagonal.reshape(-1, *(1,) * (np.ndim(b) - 1)), b)
        x, flip = structure.unturned(a)
        call = x.step.call
        if call in _SOLVES.values():
            return self._spread_solve(x, b, flip=flip)
        args = [self.turned(one) if flip else one for one in x.step.args]
        if call is np.matmul:
            left, right = args[::-1] if flip else args
            return self.product(left, self.product(right, b))
        number, rest = structure.multiple_of(x)
        if rest is not x:
            return self.scaled(number, self.product(self.turned(rest) if flip else rest, b))
        if call in {np.add, np.subtract}:
            first, second = (self.product(one, b) for one in args)
            return self.added(first, second if call is np.add else self.scaled(-1.0, second))
        outer = structure.outer(x)
        return None if outer is None else _outer_times(*(outer[::-1] if flip else outer), b)

    def _spread_solve(self, x: Traced, b: Any, *, flip: bool) -> Any:
        """``A⁻¹ (B b)``, or ``Bᵀ (A⁻ᵀ b)``; None where ``A⁻¹ B`` is there, or is the smaller."""
        if x.number in self.there or np.size(b) >= x.size:
            return None
        right, factor = x.step.args
        trans = bool(x.step.params.get("trans"))
        record = self.tape.record
        call = next(inverse for inverse, solve in _SOLVES.items() if solve is x.step.call)
        inverse = record(call, (factor,), {}, factor.shape)
        if flip:
            return self.product(self.turned(right), self.solve(inverse, not trans, b))
        return self.solve(inverse, trans, self.product(right, b))


def _outer_times(column: Any, row: Any, b: Any) -> Any:
    """``u (vᵀ b)``."""
    inner = np.matmul(row, b)
    return np.multiply(column if np.ndim(b) == 1 else column[:, None], inner)


def _negative(number: Any) -> bool:
    return not isinstance(number, Traced) and number < 0
