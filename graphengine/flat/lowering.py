"""From the matrix algebra's choice to the program that is written.

Solves with one factor whose right-hand sides are ready become one call.  What one call of NumPy
does as well is left to NumPy.  For buffers the calls become those that work in place, on rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphengine.flat import factors, structure
from graphengine.flat.algebra import Algebra, Version
from graphengine.flat.distribution import Distribution
from graphengine.flat.filling import Fill
from graphengine.flat.merging import needed
from graphengine.flat.recording import Recorded
from graphengine.flat.structure import is_scalar, shape_of
from graphengine.tracing import Tape, Traced

__all__ = ["simplified"]

PASSES = 4
"""How often the products are chosen anew, knowing what the choice before had to compute."""

_SOLVES: dict[Any, Any] = {
    factors.cholesky_solve: factors.solve_cholesky,
    factors.lu_solve: factors.solve_lu,
    factors.triangular_solve: factors.solve_triangular,
}
"""The calls, and those that work in place."""

_OF_FACTOR = frozenset({*_SOLVES, factors.cholesky_inverse, np.diagonal})
"""What reads one triangle of a Cholesky factor alone."""


LONG = 200
"""Programs of more calls are left as they are: all ways through them are not worth looking for."""


def simplified(recorded: Recorded, *, reuse: bool = False) -> Recorded:
    """A program for the same results by less work; ``reuse``: for arrays in buffers."""
    found = _best_version(recorded)
    if found is None:
        return recorded
    return (_InPlace if reuse else _Lowering)(recorded, *found).program()


def _best_version(recorded: Recorded) -> tuple[Algebra, Version] | None:
    """The cheapest way to the results, and the tape that it is on; None where there is nothing to
    simplify.  The order of the products in a Jacobian is that of its plan.
    """
    planned = any(isinstance(x, Traced) and isinstance(x.step.call, Fill) for x in recorded.results)
    if len(needed(recorded.results)) > LONG or not structure.matters(
        recorded, products=not planned
    ):
        return None
    algebra = Distribution(recorded)
    first = algebra.version()
    if algebra.has_better_factors(first):
        first = algebra.version()
    found = [first]
    certain = algebra.needed_anyway(first)
    there = certain | algebra.used_widely(first)
    for _ in range(0 if planned else PASSES):
        found.append(algebra.distributed(there))
        there = certain | (first.needed & found[-1].needed)
        if not algebra.looked or there == algebra.there or found[-1].needed == found[-2].needed:
            break
    return algebra, min(found, key=lambda one: one.cost)


class _Lowering:
    """Copies the calls that a version needs onto a new tape, in the program's order."""

    def __init__(self, recorded: Recorded, algebra: Algebra, version: Version) -> None:
        self.recorded, self.algebra, self.version = recorded, algebra, version
        self.tape = Tape()
        self.inputs = {name: self.tape.input(name, x.shape) for name, x in recorded.inputs.items()}
        self.made: dict[int, Any] = {
            algebra.inputs[name].number: x for name, x in self.inputs.items()
        }
        self.steps = [algebra.tape.results[k] for k in sorted(version.needed)]
        self.users: dict[int, list[Traced]] = defaultdict(list)
        for x in self.steps:
            for arg in _traced(x.step.args):
                self.users[arg.number].append(x)
        self.shown = {x.number for x in _traced(version.results)}
        self.groups = self._groups()
        self.pieces: dict[int, Any] = {}
        self.calls: dict[Any, Callable[[Traced], Any]] = {
            **dict.fromkeys(_SOLVES, self.solve),
            factors.lu_inverse: lambda x: self.by_numpy(x, np.linalg.inv),
            factors.lu_slogdet: lambda x: self.by_numpy(x, np.linalg.slogdet),
        }

    def used_once(self, x: Traced) -> bool:
        """Whether one call alone reads ``x``."""
        return len(self.users[x.number]) == 1 and x.number not in self.shown

    def _groups(self) -> dict[int, list[Traced]]:
        """For each solve those that one call does: equally many solves lead to all of them."""
        levels: dict[int, int] = {}
        together: dict[Any, list[Traced]] = defaultdict(list)
        for x in self.steps:
            level = max((levels[arg.number] for arg in _traced(x.step.args)), default=0)
            if x.step.call in _SOLVES:
                factor = x.step.args[1].number
                together[x.step.call, factor, str(x.step.params), level].append(x)
                level += 1
            levels[x.number] = level
        return {x.number: group for group in together.values() for x in group}

    # --- the new tape -----------------------------------------------------------------------

    def program(self) -> Recorded:
        """The whole program."""
        images, old = self.version.images, self.recorded.tape
        for k in sorted(images):
            image = images[k]
            if isinstance(image, Traced) and image.number in self.version.needed:
                start = len(self.tape.steps)
                self.emit(image)
                for step in self.tape.steps[start:]:
                    step.section = old.steps[k].section
        self.tape.sections = old.sections
        results = [self.get(x) for x in self.version.results]
        names: dict[int, str] = {}
        for k, name in self.recorded.names.items():
            image = images.get(k)
            made = self.made.get(image.number) if isinstance(image, Traced) else None
            if isinstance(made, Traced):
                names.setdefault(made.number, name)
        return Recorded(self.tape, self.inputs, results, names)

    def emit(self, x: Traced) -> None:
        """``x`` and what it needs, on the new tape."""
        waiting = [x]
        while waiting:
            one = waiting[-1]
            missing = [arg for arg in self.arguments(one) if arg.number not in self.made]
            waiting += missing
            if not missing:
                waiting.pop()
                if one.number not in self.made:
                    self.made[one.number] = self.make(one)

    def arguments(self, x: Traced) -> Iterator[Traced]:
        """What must stand on the tape before ``x``."""
        for one in self.groups.get(x.number, [x]):
            yield from _traced(one.step.args)

    def get(self, x: Any) -> Any:
        """What stands for ``x`` on the new tape."""
        return self.made[x.number] if isinstance(x, Traced) else x

    def make(self, x: Traced) -> Any:
        """The call that makes ``x``, from arguments on the new tape."""
        special = self.calls.get(x.step.call)
        return self.plain(x, x.step.call, x.step.args) if special is None else special(x)

    def plain(self, x: Traced, call: Any, args: Sequence[Any]) -> Traced:
        """A call that makes ``x``."""
        given = [self.get(arg) for arg in args]
        return self.tape.record(call, given, x.step.params, x.shape, x.dtype, view=x.step.view)

    # --- factors ----------------------------------------------------------------------------

    def alone(self, factor: Traced) -> bool:
        """Whether one call uses a factor."""
        users = self.users[factor.number]
        return len({self.groups.get(x.number, [x])[0].number for x in users}) == 1

    def by_numpy(self, x: Traced, call: Any) -> Traced:
        """``call`` of the matrix itself where nothing else uses its factors."""
        (factor,) = x.step.args
        return self.plain(
            x, *((call, factor.step.args) if self.alone(factor) else (x.step.call, (factor,)))
        )

    def solve(self, x: Traced) -> Any:
        """The solution, or its part of that of several right-hand sides."""
        group = self.groups[x.number]
        if x.number not in self.pieces:
            if len(group) == 1:
                self.pieces[x.number] = self.solved(x, self.get(x.step.args[0]))
            else:
                self._join(group)
        return self.pieces[x.number]

    def _join(self, group: list[Traced]) -> None:
        rights = [self.get(one.step.args[0]) for one in group]
        columns = [right if right.ndim == 2 else right.reshape(-1, 1) for right in rights]
        whole = self.solved(group[0], self.beside(columns))
        start = 0
        for one, right in zip(group, rights, strict=True):
            stop = start + (right.shape[1] if right.ndim == 2 else 1)
            self.pieces[one.number] = self.columns(whole, start, stop if right.ndim == 2 else None)
            start = stop

    @staticmethod
    def beside(matrices: list[Any]) -> Any:
        """One matrix of the columns of all."""
        return np.concatenate(matrices, axis=1)

    @staticmethod
    def columns(x: Any, start: int, stop: int | None) -> Any:
        """Some columns of ``x``, or one as a vector."""
        return x[:, start] if stop is None else x[:, start:stop]

    def solved(self, x: Traced, right: Any) -> Any:
        """The solution for ``right`` by the call that makes ``x``."""
        call, factor, params = x.step.call, x.step.args[1], x.step.params
        if call is factors.lu_solve and self.alone(factor):
            matrix = self.get(factor.step.args[0])
            matrix = np.transpose(matrix) if params["trans"] else matrix
            return self.tape.record(np.linalg.solve, (matrix, right), {}, right.shape)
        return self.tape.record(call, (right, self.get(factor)), params, right.shape)


class _InPlace(_Lowering):
    """For buffers: factors in place of their matrices, solutions of their right-hand sides."""

    def __init__(self, recorded: Recorded, algebra: Algebra, version: Version) -> None:
        super().__init__(recorded, algebra, version)
        self.uppers: dict[int, Traced] = {}
        self.diagonals = self._diagonals()
        self.grams = dict(self._grams())
        self.calls |= {
            np.linalg.cholesky: self.cholesky,
            factors.cholesky_inverse: self.inverted,
            factors.lu: lambda x: self.plain(x, factors.factor_lu, x.step.args),
            factors.lu_inverse: lambda x: self.plain(x, factors.invert_lu, x.step.args),
            factors.lu_slogdet: lambda x: self.plain(x, x.step.call, x.step.args),
        }

    def _diagonals(self) -> dict[int, tuple[Traced, Any]]:
        """Sums of a matrix and a diagonal one: the matrix and the diagonal."""
        found = {}
        diagonal = self.algebra.structure.diagonal
        for x in self.steps:
            if x.ndim != 2 or x.step.call not in {np.add, np.subtract}:
                continue
            a, b = x.step.args
            pairs = [(a, b)] if x.step.call is np.subtract else [(a, b), (b, a)]
            for whole, other in pairs:
                d = diagonal(other) if shape_of(other) == shape_of(whole) == x.shape else None
                if d is not None and isinstance(whole, Traced) and diagonal(whole) is None:
                    found[x.number] = whole, -d if x.step.call is np.subtract else d
                    break
        return found

    def _grams(self) -> Iterator[tuple[int, tuple[Any, Any]]]:
        """Multiples of ``A Aᵀ`` of which a Cholesky factorisation alone reads one triangle."""
        for x in self.steps:
            if x.step.call is not np.linalg.cholesky or x.ndim != 2:
                continue
            inner = x.step.args[0]
            while self.used_once(inner) and inner.number in self.diagonals:
                inner = self.diagonals[inner.number][0]
            number, product = self.algebra.structure.multiple(inner)
            if not isinstance(product, Traced) or product.step.call is not np.matmul:
                continue
            one = inner
            while self.used_once(one) and one is not product:
                one = next(arg for arg in one.step.args if not is_scalar(arg))
            a, b = product.step.args
            if self.used_once(one) and self.algebra.turned(a) is b:
                yield inner.number, (number, a)

    def arguments(self, x: Traced) -> Iterator[Traced]:
        """What must stand on the tape before ``x``."""
        for special in (self.grams, self.diagonals):
            if x.number in special:
                yield from _traced(special[x.number])
                return
        yield from super().arguments(x)

    def make(self, x: Traced) -> Any:
        """The call that makes ``x``, from arguments on the new tape."""
        if x.number in self.grams:
            return self.plain_matrix(x, factors.gram, self.grams[x.number])
        if x.number in self.diagonals:
            return self.plain_matrix(x, factors.add_to_diagonal, self.diagonals[x.number])
        return super().make(x)

    def plain_matrix(self, x: Traced, call: Any, args: Sequence[Any]) -> Traced:
        """A call without options that makes ``x``."""
        return self.tape.record(call, [self.get(arg) for arg in args], {}, x.shape)

    def cholesky(self, x: Traced) -> Any:
        """The lower factor, as the transpose of the upper one that is made."""
        if not _one_matrix(x):
            return self.plain(x, x.step.call, x.step.args)
        read = all(one.step.call in _OF_FACTOR for one in self.users[x.number])
        clean = int(not read or x.number in self.shown)
        given = [self.get(arg) for arg in x.step.args]
        upper = self.tape.record(factors.factor_cholesky, given, {"clean": clean}, x.shape)
        self.uppers[x.number] = upper
        return np.transpose(upper)

    def inverted(self, x: Traced) -> Any:
        """The inverse from the upper factor."""
        upper = self.uppers[x.step.args[0].number]
        return self.tape.record(factors.invert_cholesky, (upper,), {}, x.shape)

    @staticmethod
    def beside(matrices: list[Any]) -> Any:
        """One matrix of the columns of all, which are rows in memory."""
        return np.transpose(np.concatenate([np.transpose(one) for one in matrices], axis=0))

    @staticmethod
    def columns(x: Any, start: int, stop: int | None) -> Any:
        """Some columns of ``x``, or one as a vector."""
        rows = np.transpose(x)
        return rows[start] if stop is None else np.transpose(rows[start:stop])

    def solved(self, x: Traced, right: Any) -> Any:
        """The solution, row by row."""
        step = x.step
        factor = self.uppers.get(step.args[1].number, self.get(step.args[1]))
        rows = right.reshape(1, -1) if right.ndim == 1 else np.transpose(right)
        params = {} if step.call is factors.cholesky_solve else step.params
        found = self.tape.record(_SOLVES[step.call], (rows, factor), params, rows.shape)
        return found.reshape(-1) if right.ndim == 1 else np.transpose(found)


def _traced(args: Sequence[Any]) -> Iterator[Traced]:
    return (arg for arg in args if isinstance(arg, Traced))


def _one_matrix(x: Traced) -> bool:
    return x.ndim == 2 and x.size > 0
