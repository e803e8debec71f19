"""Jacobians in index notation: sums of terms, never larger than they must be.

A Jacobian of ``y`` with respect to ``x`` is in numerator layout: ``size y`` rows, ``size x``
columns, tensors raveled in C order, so that ``vec(W)`` stacks the rows of ``W``.  It is a sum
of terms (:mod:`graphengine.jacobian.terms`), from which everything follows: products with
vectors, the sparse matrix, composition, and what is written on the board.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from graphengine.errors import RuleError, ShapeError, ValuesError
from graphengine.jacobian.composition import compose, merge
from graphengine.jacobian.contraction import DEFAULT_LIMIT, guard, human
from graphengine.jacobian.formulas import named_text
from graphengine.jacobian.notation import latex, text
from graphengine.jacobian.patterns import bytes_needed, matrix, sparse_product, traced_product
from graphengine.jacobian.products import pull
from graphengine.jacobian.terms import (
    Array,
    Rule,
    Shape,
    Term,
    bind,
    from_entries,
    from_matrix,
    from_positions,
    key_of,
    real,
    structure,
    term,
)
from graphengine.tracing import as_array, known, traced

__all__ = ["DEFAULT_LIMIT", "Jacobian", "Layout", "Rule", "human", "term"]

Layout: TypeAlias = Literal["numerator", "denominator"]


@dataclass(frozen=True, slots=True, eq=False)
class Jacobian:
    """``∂out/∂in`` as a sum of terms; ``out_shape`` and ``in_shape`` are those of the two values.

    >>> x = np.array([1.0, 2.0])
    >>> J = Jacobian.of(term("i <- ij", x="j"), (3,), (3, 2), {"x": x})
    >>> J.shape, J.nnz, str(J)
    ((3, 6), 6, 'I₃ ⊗ xᵀ')
    >>> J.pull(np.array([1.0, 0.0, -1.0]))
    array([[ 1.,  2.],
           [ 0.,  0.],
           [-1., -2.]])
    """

    out_shape: Shape
    in_shape: Shape
    terms: tuple[Term, ...]

    # --- making one -------------------------------------------------------------------

    @classmethod
    def of(
        cls, rule: object, out_shape: Shape, in_shape: Shape, named: Mapping[str, Any] | None = None
    ) -> Jacobian:
        """The Jacobian that ``rule`` gives for these shapes.

        ``rule`` is a sum of :func:`term` (whose names are looked up in ``named``), a plain
        array or a ``scipy.sparse`` matrix of ``size out × size in`` (an array may also have
        the shape ``out_shape + in_shape``), a ready Jacobian, or 0 for no influence.
        Raises :class:`RuleError` when it does not fit.
        """
        if isinstance(rule, Rule):
            if 0 in out_shape or 0 in in_shape:
                return cls(out_shape, in_shape, ())
            terms = tuple(bind(part, out_shape, in_shape, named or {}) for part in rule)
            return cls(out_shape, in_shape, terms)
        if isinstance(rule, Jacobian):
            if (rule.out_shape, rule.in_shape) != (out_shape, in_shape):
                raise RuleError(
                    "a Jacobian rule",
                    expected=f"shapes {out_shape} and {in_shape}",
                    got=f"{rule.out_shape} and {rule.in_shape}",
                )
            return rule
        if isinstance(rule, (int, float)) and rule == 0:
            return cls(out_shape, in_shape, ())
        shape = math.prod(out_shape), math.prod(in_shape)
        if sp.issparse(rule):
            found = sp.coo_array(rule)
            found.sum_duplicates()
            _expect(found.shape, [shape])
            if not found.nnz:
                return cls(out_shape, in_shape, ())
            rows, cols = (np.asarray(part, dtype=np.intp) for part in found.coords)
            part = from_entries(shape, rows, cols, real(found.data, "a Jacobian rule"))
            return cls(out_shape, in_shape, (part,))
        array = real(rule, "a Jacobian rule")
        _expect(array.shape, [shape, out_shape + in_shape])
        if 0 in shape:
            return cls(out_shape, in_shape, ())
        return cls(out_shape, in_shape, (from_matrix(array.reshape(shape)),))

    @classmethod
    def rearrangement(cls, positions: NDArray[np.intp], in_shape: Shape) -> Jacobian:
        """The Jacobian of an op that moves entries: ``positions`` holds where each came from.

        >>> positions = np.arange(6).reshape(2, 3)[:, 1]      # the op, run on positions
        >>> Jacobian.rearrangement(positions, (2, 3)).toarray()
        array([[0., 1., 0., 0., 0., 0.],
               [0., 0., 0., 0., 1., 0.]])
        """
        if positions.size == 0 or 0 in in_shape:
            return cls(positions.shape, in_shape, ())
        return cls(positions.shape, in_shape, (from_positions(positions, in_shape),))

    @classmethod
    def identity(cls, shape: Shape) -> Jacobian:
        """The Jacobian of a value with respect to itself."""
        return cls.of(term("... <- ..."), shape, shape)

    @classmethod
    def zero(cls, out_shape: Shape, in_shape: Shape) -> Jacobian:
        """The Jacobian between two values of which one does not influence the other."""
        return cls(out_shape, in_shape, ())

    # --- what it is -------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: the sizes of the output and of the input."""
        return math.prod(self.out_shape), math.prod(self.in_shape)

    @property
    def nnz(self) -> int:
        """The number of entries that the pattern stores (some may happen to be zero).

        An upper bound where terms overlap in part, and where one term has several entries at
        one place (a sum over a gather with repeats); exact otherwise.
        """
        return _count(self.terms)

    @property
    def nbytes(self) -> int:
        """An upper bound for the bytes of the CSR matrix."""
        return bytes_needed(self.shape, self.terms)

    def same_pattern(self, other: Jacobian) -> bool:
        """Whether both store entries at the same places."""
        if self.shape != other.shape:
            return False
        if structure(self.terms) == structure(other.terms):
            return True
        mine, theirs = (part.tocsr() for part in (self, other))
        return np.array_equal(mine.indptr, theirs.indptr) and np.array_equal(
            mine.indices, theirs.indices
        )

    # --- products with vectors ----------------------------------------------------------

    def pull(self, row: ArrayLike, limit: int = DEFAULT_LIMIT) -> Array:
        """The pull-back: the row gradient ``row`` times this matrix, in the shape of the input.

        ``row`` has the shape of the output, or is flat.  The matrix is never formed.
        """
        given = _flexible(row, self.out_shape, "pull")
        if not self.terms:
            return np.zeros(self.in_shape)
        total = pull(self.terms[0], given, self.in_shape, limit)
        for part in self.terms[1:]:
            with np.errstate(invalid="ignore"):  # ∞ − ∞ shows in the result
                total = as_array(total + pull(part, given, self.in_shape, limit))
        if known(total) and not (total.flags.writeable and not np.may_share_memory(total, given)):
            total = total.copy()  # what an identity passes on is still the caller's
        return total

    def push(self, column: ArrayLike, limit: int = DEFAULT_LIMIT) -> Array:
        """The push-forward: this matrix times ``column``, in the shape of the output."""
        return self.T.pull(_flexible(column, self.in_shape, "push"), limit)

    # --- matrices -----------------------------------------------------------------------

    def tocsr(self, layout: Layout = "numerator", limit: int = DEFAULT_LIMIT) -> sp.csr_array:
        """The matrix, ``size out × size in``, or its transpose in denominator layout.

        Raises :class:`TooLargeError`, before anything is allocated, above ``limit`` bytes.
        """
        if layout == "denominator":
            return self.T.tocsr(limit=limit)
        return matrix(self.out_shape, self.in_shape, self.terms, limit)

    def toarray(self, layout: Layout = "numerator", limit: int = DEFAULT_LIMIT) -> Array:
        """The matrix as a plain array; ``layout`` and ``limit`` as in :meth:`tocsr`."""
        guard(math.prod(self.shape) * 8, limit)
        return np.asarray(self.tocsr(layout, limit).toarray())

    def tensor(self, layout: Layout = "numerator", limit: int = DEFAULT_LIMIT) -> Array:
        """The tensor of shape ``out_shape + in_shape`` (``in_shape + out_shape`` in denominator
        layout, where ``∂z/∂W`` of ``z = W x`` is ``m × n × m``).
        """
        shapes = (self.out_shape, self.in_shape)
        first, last = shapes if layout == "numerator" else shapes[::-1]
        return self.toarray(layout, limit).reshape(first + last)

    # --- algebra ------------------------------------------------------------------------

    @property
    def T(self) -> Jacobian:
        """The Jacobian with output and input exchanged."""
        return Jacobian(self.in_shape, self.out_shape, tuple(t.transposed for t in self.terms))

    def compose(self, inner: Jacobian, limit: int = DEFAULT_LIMIT) -> Jacobian:
        """The chain rule: ``∂out/∂mid`` (this one) times ``∂mid/∂in`` (``inner``).

        The product keeps its structure; terms that cannot be merged symbolically are
        multiplied as sparse matrices.
        """
        if self.in_shape != inner.out_shape:
            raise ShapeError(
                "a product of Jacobians",
                expected=f"an inner Jacobian of a value of shape {self.in_shape}",
                got=str(inner.out_shape),
            )
        found: list[Term] = []
        rest: sp.csr_array | None = None
        for left in self.terms:
            for right in inner.terms:
                part = compose(left, right, limit)
                if part is not None:
                    found += part
                    continue
                if any(map(traced, (f.array for f in (*left.factors, *right.factors)))):
                    sizes = (*self.shape, inner.shape[1])
                    planned = traced_product(sizes, left, right, limit)
                    found += [] if planned is None else [planned]
                    continue
                a = matrix(self.out_shape, self.in_shape, (left,), limit)
                b = matrix(inner.out_shape, inner.in_shape, (right,), limit)
                product = sparse_product(a, b, limit)
                rest = product if rest is None else rest + product
        if rest is not None:
            found += Jacobian.of(rest, self.out_shape, inner.in_shape).terms
        return Jacobian(self.out_shape, inner.in_shape, merge(found, limit))

    def __matmul__(self, inner: object) -> Jacobian:
        if not isinstance(inner, Jacobian):
            return NotImplemented
        return self.compose(inner)

    def plus(self, other: Jacobian, limit: int = DEFAULT_LIMIT) -> Jacobian:
        """The sum; terms whose entries stand at the same places are added into one."""
        if (self.out_shape, self.in_shape) != (other.out_shape, other.in_shape):
            raise ShapeError(
                "a sum of Jacobians",
                expected=f"shapes {self.out_shape} and {self.in_shape}",
                got=f"{other.out_shape} and {other.in_shape}",
            )
        terms = merge(self.terms + other.terms, limit)
        return Jacobian(self.out_shape, self.in_shape, terms)

    def __add__(self, other: object) -> Jacobian:
        if not isinstance(other, Jacobian):
            return NotImplemented
        return self.plus(other)

    def __mul__(self, scale: object) -> Jacobian:
        if not isinstance(scale, (int, float)):
            return NotImplemented
        terms = tuple(part.scaled(float(scale)) for part in self.terms)
        return Jacobian(self.out_shape, self.in_shape, terms)

    __rmul__ = __mul__

    def __neg__(self) -> Jacobian:
        return self * -1.0

    def __sub__(self, other: object) -> Jacobian:
        if not isinstance(other, Jacobian):
            return NotImplemented
        return self.plus(-other)

    # --- on the board -------------------------------------------------------------------

    def named(self, names: Mapping[str, str]) -> Jacobian:
        """The same Jacobian with the op's arguments called ``names`` for good, in products too."""
        terms = tuple(
            replace(
                part,
                factors=tuple(f._replace(text=named_text(f.text, names)) for f in part.factors),
            )
            for part in self.terms
        )
        return Jacobian(self.out_shape, self.in_shape, terms)

    def text(self, names: Mapping[str, str] | None = None, layout: Layout = "numerator") -> str:
        """What is written on the board, such as ``I₃ ⊗ xᵀ`` or ``diag(p) − p pᵀ``.

        ``names`` says what the op's arguments are called (``{"x": "h1"}``).
        """
        return text(self._laid_out(layout), names or {})

    def latex(self, names: Mapping[str, str] | None = None, layout: Layout = "numerator") -> str:
        r"""The same for a formula in LaTeX, such as ``I_{3} \otimes x^\top``."""
        return latex(self._laid_out(layout), names or {})

    def _laid_out(self, layout: Layout) -> Sequence[Term]:
        return self.terms if layout == "numerator" else self.T.terms

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Jacobian {self.shape[0]} × {self.shape[1]}: {self.text()}>"


def _expect(got: tuple[int, ...], allowed: list[tuple[int, ...]]) -> None:
    if tuple(got) not in allowed:
        raise RuleError(
            "a Jacobian rule",
            expected=" or ".join(f"shape {shape}" for shape in dict.fromkeys(allowed)),
            got=f"shape {tuple(got)}",
            hint="rows are the output's entries, columns the input's (numerator layout)",
        )


def _flexible(values: ArrayLike, shape: Shape, what: str) -> Array:
    array = real(values, what, ValuesError)
    if array.size != math.prod(shape) or array.shape not in (shape, (array.size,), (1, array.size)):
        raise ShapeError(what, expected=f"shape {shape} or flat", got=f"shape {array.shape}")
    return array.reshape(shape)


def _count(terms: Sequence[Term]) -> int:
    """Entries of the union of the terms: those inside another term are counted once."""
    kept: list[Term] = []
    for part in sorted(terms, key=lambda one: -one.entries):
        if not any(_covers(other, part) for other in kept):
            kept.append(part)
    return sum(part.entries for part in kept)


def _covers(large: Term, small: Term) -> bool:
    """Whether every place of ``small`` is one of ``large``, as the diagonal is of the block."""
    if (large.out.view, large.into.view) != (small.out.view, small.into.view):
        return False
    became: dict[int, Any] = {}
    pairs = zip(large.out.axes + large.into.axes, small.out.axes + small.into.axes, strict=True)
    for a, b in pairs:
        if a.at is None:  # a whole axis has every slice and every gather of it
            found = (b.label, key_of(b.at))
        elif key_of(a.at) == key_of(b.at):
            found = (b.label, None)
        else:
            return False
        if became.setdefault(a.label, found) != found:
            return False
    return True
