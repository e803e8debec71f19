"""Products of matrices by their parts: ``(a A⁻¹ + P Q) x`` needs neither the inverse nor ``P Q``.

The product of a matrix that is a sum, an inverse or itself a product is distributed where that
takes less work.  (G. H. Golub and C. F. Van Loan, "Matrix Computations", 4th ed. 2013, section 1.1
on the order of products.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphengine.flat import structure
from graphengine.flat.algebra import SOLVES, Algebra, Version
from graphengine.flat.recording import Recorded
from graphengine.flat.structure import is_scalar, size_of
from graphengine.tracing import Traced

__all__ = ["Distribution"]

WORTH = 50_000.0
"""Products that cost less, with what leads to them, stay as they are."""
DEEP, TRIES, EACH = 8, 30, 200
"""How deep in a product others are looked for, how many for the sake of one, and how many calls are
looked at for each of the program before there are enough.
"""


class Distribution(Algebra):
    """An :class:`Algebra` that distributes products, knowing what is computed anyway."""

    def __init__(self, recorded: Recorded) -> None:
        super().__init__(recorded)
        self.distributes = False
        self.there: frozenset[int] = frozenset()
        """What is computed anyway, as far as known."""
        self.looked = 0
        """How many calls were looked at for the sake of choices."""
        self._products: dict[Any, Any] = {}
        self._costs: dict[int, float] = {}
        self._depth = self._tries = 0

    def distributed(self, there: frozenset[int]) -> Version:
        """The program with distributed products, where ``there`` is computed anyway."""
        self.distributes, self.there, self.looked = True, there, 0
        self._products.clear()
        self._costs.clear()
        return self.version()

    # --- what is there ----------------------------------------------------------------------

    def needed_anyway(self, version: Version) -> frozenset[int]:
        """What a version needs however its products are distributed."""
        found: set[int] = set()
        waiting = [x for x in version.results if isinstance(x, Traced)]
        while waiting:
            x = waiting.pop()
            if x.number not in found:
                found.add(x.number)
                product = x.step.call is np.matmul or x.step.call in SOLVES.values()
                waiting += [
                    arg
                    for arg in x.step.args
                    if isinstance(arg, Traced) and not (product and self.structure.spreads(arg))
                ]
        return frozenset(found)

    def used_widely(self, version: Version) -> frozenset[int]:
        """Matrices that are multiplied by as many columns as they have rows or columns: most
        likely they are computed.
        """
        partners: dict[int, dict[int, int]] = defaultdict(dict)
        for k in version.needed:
            step = self.tape.steps[k]
            if step.call is np.matmul and self.tape.results[k].shape:
                for one, other in (step.args, step.args[::-1]):
                    inner = self.structure.multiple(structure.unturned(one)[0])[1]
                    if isinstance(inner, Traced) and self.structure.spreads(inner):
                        width = size_of(other) // (inner.shape[0] or 1)
                        partners[inner.number][id(structure.unturned(other)[0])] = width
        return frozenset(
            k
            for k, widths in partners.items()
            if sum(widths.values()) >= min(self.tape.results[k].shape)
        )

    # --- ways to a product ------------------------------------------------------------------

    def solved(self, a: Any, b: Any) -> Any:
        """``A⁻¹ b``, by the way that takes the least work."""
        return self.product(self.inverse(a), b) if self.distributes else super().solved(a, b)

    def product(self, a: Any, b: Any) -> Any:
        """``a @ b`` of matrices and vectors, by the way that takes the least work."""
        if not self._depth:
            self._tries = 0
        has_parts = self.structure.spreads(a) or self.structure.spreads(b)
        tired = self._depth > DEEP or self._tries > TRIES or self.looked > EACH * len(self.wanted)
        if not self.distributes or not has_parts or tired:
            return self._plain(a, b)
        if self._pair(a, b) not in self._products:
            plain = self._plain(a, b)
            self._keep(a, b, plain)  # while ways that lead back to it are looked for
            if self._heavy(plain):
                self._tries += 1
                self._keep(a, b, min((plain, *self._ways(a, b)), key=self._cost))
        return self._products[self._pair(a, b)]

    def _pair(self, *factors: Any) -> Any:
        return tuple(map(self.structure.key, factors))

    def _keep(self, a: Any, b: Any, found: Any) -> None:
        turned = self.turned(b), self.turned(a)
        self._products[self._pair(*turned)] = self.turned(found)
        self._products[self._pair(a, b)] = found

    def _heavy(self, x: Any) -> bool:
        """Whether ``x`` and what leads to it is so much work that another way may pay."""
        total, seen = 0.0, set[int]()
        level = {x.number} if isinstance(x, Traced) else set()
        for _ in range(DEEP):
            found = [self.tape.results[k] for k in level - self.there - seen]
            seen |= level
            total += sum(max(structure.price(one) - structure.CALL, 0.0) for one in found)
            if total > WORTH:
                return True
            level = {
                arg.number for one in found for arg in one.step.args if isinstance(arg, Traced)
            }
        return False

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
            self.looked += len(seen)
            self._costs[x.number] = sum(structure.price(self.tape.results[k]) for k in seen)
        return self._costs[x.number]

    def _plain(self, a: Any, b: Any) -> Any:
        """The product as it stands, or as the transpose of one; by inverses it is a solve."""
        if self.distributes:
            for one, other, swapped in ((a, b, False), (b, a, True)):
                inner, turned = structure.unturned(one)
                if structure.is_inverse(inner):
                    solved = self.solve(
                        inner, turned ^ swapped, self.turned(other) if swapped else other
                    )
                    return self.turned(solved) if swapped else solved
            left, turned = structure.unturned(a)
            if turned and b.ndim == 2 and self.turned(b) is structure.unturned(b)[0]:
                return self.turned(np.matmul(self.turned(b), left))
        return super().product(a, b)

    def _spread(self, a: Any, b: Any) -> Any:
        """``a @ b`` by the parts of ``a``; None where it has none."""
        if not self.structure.spreads(a):
            return None
        diagonal = self.structure.diagonal(a)
        if diagonal is not None:
            if is_scalar(diagonal):
                return self.scaled(diagonal, b)
            return np.multiply(diagonal.reshape(-1, *(1,) * (b.ndim - 1)), b)
        x, flip = structure.unturned(a)
        call = x.step.call
        number, rest = structure.multiple_of(x)
        if rest is not x:
            return self.scaled(number, self.product(self.turned(rest) if flip else rest, b))
        if not self._pays(x, size_of(b) // b.shape[0]):
            return None
        if call in SOLVES.values():
            return self._spread_solve(x, b, flip=flip)
        args = [self.turned(one) if flip else one for one in x.step.args]
        if call is np.matmul:
            left, right = args[::-1] if flip else args
            return self.product(left, self.product(right, b))
        if call in {np.add, np.subtract}:
            first, second = (self.product(one, b) for one in args)
            return self.added(first, second if call is np.add else self.scaled(-1.0, second))
        outer = structure.outer(x)
        return None if outer is None else _outer_times(*(outer[::-1] if flip else outer), b)

    def _pays(self, a: Any, columns: int, depth: int = 0) -> bool:
        """Whether the product of ``a`` and so many columns may cost less by the parts of ``a``."""
        x = structure.unturned(a)[0]
        there = x.number in self.there
        call, args = x.step.call, x.step.args
        if call is np.matmul:
            (rows, inner), width = args[0].shape, x.shape[1]
            by_parts = inner * (rows + width) * columns
            if by_parts < rows * width * (columns if there else columns + inner):
                return True
        if there:
            return False
        if call in SOLVES.values():
            return bool(size_of(args[0]) > args[0].shape[0] * columns)
        if structure.is_inverse(x) or structure.outer(x) is not None:
            return True
        parts = [
            arg
            for arg in args[::-1]
            if self.structure.spreads(arg) and self.structure.diagonal(arg) is None
        ]
        return depth < DEEP and any(self._pays(part, columns, depth + 1) for part in parts)

    def _spread_solve(self, x: Traced, b: Any, *, flip: bool) -> Any:
        """``A⁻¹ (B b)``, or ``Bᵀ (A⁻ᵀ b)``."""
        right, factor = x.step.args
        trans = bool(x.step.params.get("trans"))
        record = self.tape.record
        call = next(inverse for inverse, solve in SOLVES.items() if solve is x.step.call)
        inverse = record(call, (factor,), {}, factor.shape)
        if flip:
            return self.product(self.turned(right), self.solve(inverse, not trans, b))
        return self.solve(inverse, trans, self.product(right, b))


def _outer_times(column: Any, row: Any, b: Any) -> Any:
    """``u (vᵀ b)``."""
    inner = np.matmul(row, b)
    return np.multiply(column if b.ndim == 1 else column[:, None], inner)
