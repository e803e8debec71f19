"""Linear algebra: products, inverses, determinants, factorisations.

The rules in index notation are worked out in K. B. Petersen and M. S. Pedersen, "The Matrix
Cookbook" (2012), sections 2.1 to 2.2; that of the Cholesky factor in I. Murray,
"Differentiation of the Cholesky decomposition" (arXiv:1602.07527, 2016).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphengine.errors import ShapeError
from graphengine.jacobian import Jacobian, Rule, term
from graphengine.ops.base import (
    ATOM,
    Array,
    Example,
    Op,
    Shape,
    Written,
    axes_of,
    broadcast,
    letters,
    numbers,
)
from graphengine.ops.matrices import (
    cofactors,
    definite,
    inverse,
    lower_factor,
    regular,
    singular,
)
from graphengine.ops.moving import Rearrangement
from graphengine.tracing import as_array, known

# --- products -----------------------------------------------------------------------------


class MatVec(Op):
    """``z = W x``: ``W`` of shape (C, d), ``x`` (d,), ``z`` (C,); stacks of both are broadcast."""

    name = "matvec"
    family = "linalg"

    def forward(self, W: Array, x: Array) -> Array:
        """The product."""
        return as_array(np.matmul(W, x[..., None])[..., 0])

    def shape(self, W: Shape, x: Shape) -> Shape:
        """``(..., C, d)`` times ``(..., d)`` is ``(..., C)``."""
        if len(W) < 2 or not x or W[-1] != x[-1]:
            raise ShapeError(
                "", expected="a matrix and a vector, (C, d) and (d,)", got=f"{W} and {x}"
            )
        return broadcast(W[:-2], x[:-1]) + W[-2:-1]

    def d_W(self, out: Array, W: Array, x: Array) -> Rule:
        """``x_j`` on ``i <- ij``, that is ``I_C ⊗ xᵀ``."""
        return term("...i <- ...ij", x="...j")

    def d_x(self, out: Array, W: Array, x: Array) -> Rule:
        """``W``."""
        return term("...i <- ...j", W="...ij")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """One product, size 1, stacks of both, of either, a transposed view, empty."""
        yield cls(), (numbers(rng, 3, 4), numbers(rng, 4))
        yield cls(), (numbers(rng, 1, 1), numbers(rng, 1))
        yield cls(), (numbers(rng, 4, 2, 3), numbers(rng, 4, 3))
        yield cls(), (numbers(rng, 2, 3), numbers(rng, 4, 3))
        yield cls(), (numbers(rng, 4, 1, 2, 3), numbers(rng, 3))
        yield cls(), (numbers(rng, 4, 3).T[:, ::-1], numbers(rng, 4)[::-1])
        yield cls(), (numbers(rng, 2, 0), numbers(rng, 0))


class Outer(Op):
    """``Z_ij = x_i y_j`` of two vectors."""

    name = "outer"
    family = "linalg"

    def forward(self, x: Array, y: Array) -> Array:
        """The product."""
        return np.outer(x, y)

    def shape(self, x: Shape, y: Shape) -> Shape:
        """``(n,)`` and ``(m,)`` make ``(n, m)``."""
        _vectors(x, y)
        return x + y

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """``y_j`` on ``ij <- i``, that is ``I ⊗ y``."""
        return term("ij <- i", y="j")

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """``x_i`` on ``ij <- j``, that is ``x ⊗ I``."""
        return term("ij <- j", x="i")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Unequal lengths, size 1, backwards, empty."""
        yield cls(), (numbers(rng, 3), numbers(rng, 2))
        yield cls(), (numbers(rng, 1), numbers(rng, 4))
        yield cls(), (numbers(rng, 4)[::-2], numbers(rng, 3))
        yield cls(), (numbers(rng, 0), numbers(rng, 2))


class Dot(Op):
    """``Σ x_i y_i`` of two vectors."""

    name = "dot"
    family = "linalg"

    def forward(self, x: Array, y: Array) -> Array:
        """The product."""
        return as_array(np.dot(x, y))

    def shape(self, x: Shape, y: Shape) -> Shape:
        """A number."""
        _vectors(x, y)
        if x != y:
            raise ShapeError("", expected="vectors of one length", got=f"{x} and {y}")
        return ()

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """``yᵀ``."""
        return term("<- i", y="i")

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """``xᵀ``."""
        return term("<- i", x="i")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Several, size 1, backwards, none."""
        yield cls(), (numbers(rng, 4), numbers(rng, 4))
        yield cls(), (numbers(rng, 1), numbers(rng, 1))
        yield cls(), (numbers(rng, 3)[::-1], numbers(rng, 6)[::2])
        yield cls(), (numbers(rng, 0), numbers(rng, 0))


class Kron(Op):
    """The Kronecker product as in NumPy: ``A_ij B_kl`` at row ``(i, k)``, column ``(j, l)``.

    Where one has fewer axes, axes of size 1 are put in front.
    """

    name = "kron"
    family = "linalg"

    def forward(self, A: Array, B: Array) -> Array:
        """The product."""
        return as_array(np.kron(A, B))

    def shape(self, A: Shape, B: Shape) -> Shape:
        """Sizes multiply, axis by axis."""
        A, B = _same_ndim(A, B)
        return tuple(a * b for a, b in zip(A, B, strict=True))

    def d_A(self, out: Array, A: Array, B: Array) -> Jacobian:
        """``B_kl`` on ``ikjl <- ij``."""
        return self._rule(out, A.shape, B, "{B}", 0)

    def d_B(self, out: Array, A: Array, B: Array) -> Jacobian:
        """``A_ij`` on ``ikjl <- kl``."""
        return self._rule(out, B.shape, A, "{A}", 1)

    @staticmethod
    def _rule(out: Array, in_shape: Shape, other: Array, text: str, place: int) -> Jacobian:
        """Every axis of the output is split into one of ``A`` and one of ``B``."""
        own, rest = _same_ndim(in_shape, other.shape)
        both = letters(2 * len(own))
        mine, theirs = both[place::2], both[1 - place :: 2]
        pairs = zip(own, rest, strict=True) if place == 0 else zip(rest, own, strict=True)
        view = tuple(n for pair in pairs for n in pair)
        rule = term(f"{both} <- {mine}", (other.reshape(rest), theirs, text))
        return Jacobian(out.shape, in_shape, Jacobian.of(rule, view, own).terms)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Two matrices, vectors, a matrix and a vector, a number, size 1, Fortran order, empty."""
        yield cls(), (numbers(rng, 2, 3), numbers(rng, 3, 2))
        yield cls(), (numbers(rng, 3), numbers(rng, 2))
        yield cls(), (np.eye(3), numbers(rng, 4))
        yield cls(), (numbers(rng), numbers(rng, 2, 2))
        yield cls(), (numbers(rng, 1, 2), numbers(rng, 2, 1))
        yield cls(), (np.asfortranarray(numbers(rng, 2, 3)), numbers(rng, 2, 2)[::-1])
        yield cls(), (numbers(rng, 2, 0), numbers(rng, 1, 3))


# --- entries of matrices ------------------------------------------------------------------


class Transpose(Rearrangement):
    """``x`` with its axes in the order ``axes`` (None: reversed, ``x.T``)."""

    name = "transpose"
    family = "linalg"
    axes: tuple[int, ...] | None = None

    def forward(self, x: Array) -> Array:
        """The same entries."""
        return np.transpose(x, self.axes)

    def shape(self, x: Shape) -> Shape:
        """The sizes in the new order."""
        if self.axes is None:
            return x[::-1]
        order = axes_of(self.axes, len(x))
        if len(order) < len(x):
            raise ShapeError("", expected=f"all {len(x)} axes", got=f"axes={list(self.axes)}")
        return tuple(x[k] for k in order)

    def written(self, *args: Written) -> Written:
        """``x.T``, or ``transpose(x, axes=[1, 0])``."""
        if self.axes is None:
            return Written(f"{args[0].within(ATOM)}.T", ATOM)
        return super().written(*args)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, given axes, a vector, size 1, a view, empty."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls((1, 2, 0)), (numbers(rng, 2, 3, 4),)
        yield cls((-1, 0, 1)), (numbers(rng, 2, 1, 3)[::-1],)
        yield cls(), (numbers(rng, 3),)
        yield cls(), (numbers(rng, 1, 1),)
        yield cls(), (numbers(rng, 0, 2),)


class Diag(Rearrangement):
    """``diag(x)``: the diagonal matrix of a vector, or the diagonal of a matrix."""

    name = "diag"
    family = "linalg"

    def forward(self, x: Array) -> Array:
        """A matrix of a vector, a vector of a matrix."""
        return np.diag(x)

    def shape(self, x: Shape) -> Shape:
        """``(n,)`` makes ``(n, n)``; ``(n, m)`` makes ``(min(n, m),)``."""
        if len(x) not in {1, 2}:
            raise ShapeError("", expected="a vector or a matrix", got=str(x))
        return x * 2 if len(x) == 1 else (min(x),)

    def d_x(self, out: Array, x: Array) -> Rule | Jacobian:
        """A 1 where the entry is, or came from: ``ii <- i``, ``i <- ii``."""
        return term("ii <- i") if x.ndim == 1 else super().d_x(out, x)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Both ways, non-square both ways, size 1, empty."""
        yield cls(), (numbers(rng, 3),)
        yield cls(), (numbers(rng, 3, 3),)
        yield cls(), (numbers(rng, 2, 4),)
        yield cls(), (np.asfortranarray(numbers(rng, 3, 2)),)
        yield cls(), (numbers(rng, 1),)
        yield cls(), (numbers(rng, 1, 1),)
        yield cls(), (numbers(rng, 0),)


class _Square(Op):
    """A function of square matrices, one or a stack of them."""

    family = "linalg"

    def shape(self, A: Shape) -> Shape:
        """``(..., n, n)`` makes ``(...)``: one number for each matrix."""
        return _square(A)[:-2]


class Trace(_Square):
    """``Σ A_ii``."""

    name = "trace"

    def forward(self, A: Array) -> Array:
        """The sum of the diagonal."""
        return as_array(np.trace(A, axis1=-2, axis2=-1))

    def d_A(self, out: Array, A: Array) -> Rule:
        """Ones on the diagonal: ``vec(I)ᵀ``."""
        return term("... <- ...ii")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a stack, size 1, a view, empty."""
        yield cls(), (numbers(rng, 3, 3),)
        yield cls(), (numbers(rng, 4, 2, 2),)
        yield cls(), (numbers(rng, 1, 1),)
        yield cls(), (numbers(rng, 3, 3)[::-1],)
        yield cls(), (numbers(rng, 0, 0),)


# --- inverses and determinants ------------------------------------------------------------


class Inv(_Square):
    """``Y = A⁻¹``; :class:`OpError` for a singular matrix."""

    name = "inv"

    def forward(self, A: Array) -> Array:
        """The inverse."""
        return inverse(A, self.name)

    def shape(self, A: Shape) -> Shape:
        """The same shape."""
        return _square(A)

    def d_A(self, out: Array, A: Array) -> Rule:
        """``dY = −Y dA Y``: ``−Y_ik Y_lj`` on ``ij <- kl``, that is ``−Y ⊗ Yᵀ``."""
        return -term("...ij <- ...kl", ("out", "...ik", ""), ("out", "...lj", ""))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a stack, size 1, one of condition 1000, a view, empty."""
        yield cls(), (regular(rng, 3),)
        yield cls(), (regular(rng, 2, 4),)
        yield cls(), (regular(rng, 1),)
        yield cls(), (regular(rng, 3, smallest=2e-3),)
        yield cls(), (np.asfortranarray(regular(rng, 3))[::-1],)
        yield cls(), (np.zeros((0, 0)),)


class Det(_Square):
    """``det A``; its gradient, the cofactors, is right for singular matrices too."""

    name = "det"

    def forward(self, A: Array) -> Array:
        """The determinant."""
        return as_array(np.linalg.det(A))

    def d_A(self, out: Array, A: Array) -> Rule:
        """``det(A) A⁻ᵀ``."""
        return term("... <- ...ij", (cofactors(A), "...ij", "{out} * inv({A}).T"))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a stack, size 1, singular ones of rank n−1 and n−2, a view, empty."""
        yield cls(), (regular(rng, 3),)
        yield cls(), (regular(rng, 2, 4),)
        yield cls(), (regular(rng, 1),)
        yield cls(), (np.array([[1.0, 2.0], [2.0, 4.0]]),)
        yield cls(), (np.outer([1.0, 2.0, -1.0], [2.0, 0.5, 1.0]),)
        yield cls(), (regular(rng, 3, smallest=1e-6)[:, ::-1],)
        yield cls(), (np.zeros((0, 0)),)


class LogDet(_Square):
    """``log |det A|``; :class:`OpError` for a singular matrix."""

    name = "logdet"

    def forward(self, A: Array) -> Array:
        """From the factors of an LU decomposition: no overflow."""
        sign, log = np.linalg.slogdet(A)
        if known(sign) and np.any(sign == 0):
            raise singular(A, self.name)
        if np.iscomplexobj(A):  # |det| continued from its sign on the real line
            return as_array(log + np.log(sign * np.sign(sign.real)))
        return as_array(log)

    def d_A(self, out: Array, A: Array) -> Rule:
        """``A⁻ᵀ``."""
        return term("... <- ...ij", (inverse(A, self.name), "...ji", "inv({A})"))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a stack, size 1, a negative determinant, nearly singular, empty."""
        yield cls(), (regular(rng, 3),)
        yield cls(), (regular(rng, 2, 4),)
        yield cls(), (np.array([[-0.3]]),)
        yield cls(), (regular(rng, 4)[::-1],)
        yield cls(), (regular(rng, 3, smallest=2e-3),)
        yield cls(), (np.zeros((0, 0)),)


class _PositiveDefinite(_Square):
    """A function of the symmetric part ``S = (A + Aᵀ) / 2``, which must be positive definite."""

    analytic = False  # the factorisation reads one triangle, and takes the other for its conjugate


class LogDetPD(_PositiveDefinite):
    """``log det S`` of the symmetric part ``S = (A + Aᵀ) / 2``, by its Cholesky factor.

    :class:`OpError` where ``S`` is not positive definite.
    """

    name = "logdet_pd"

    def forward(self, A: Array) -> Array:
        """Twice the sum of the logarithms of the factor's diagonal."""
        L = lower_factor(A, self.name)
        return as_array(2 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(axis=-1))

    def d_A(self, out: Array, A: Array) -> Rule:
        """``S⁻¹``, which is symmetric."""
        P = np.linalg.inv(lower_factor(A, self.name))
        symmetric = known(A) and np.array_equal(A, np.matrix_transpose(A))
        text = "inv({A})" if symmetric else "inv(({A} + {A}.T) / 2)"
        return term("... <- ...ij", (np.matrix_transpose(P) @ P, "...ij", text))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Symmetric, a stack, with an antisymmetric part, size 1, a reversed view, empty."""
        yield cls(), (definite(rng, 3),)
        yield cls(), (definite(rng, 2, 4),)
        skew = np.triu(numbers(rng, 3, 3))
        yield cls(), (definite(rng, 3) + skew - skew.T,)
        yield cls(), (definite(rng, 1),)
        yield cls(), (definite(rng, 4, smallest=0.3)[::-1, ::-1],)
        yield cls(), (np.zeros((0, 0)),)


class Cholesky(_PositiveDefinite):
    """The lower ``L`` with ``L Lᵀ = S``, the symmetric part ``S = (A + Aᵀ) / 2``.

    :class:`OpError` where ``S`` is not positive definite.
    """

    name = "cholesky"

    def forward(self, A: Array) -> Array:
        """The lower factor."""
        return lower_factor(A, self.name)

    def shape(self, A: Shape) -> Shape:
        """The same shape."""
        return _square(A)

    def d_A(self, out: Array, A: Array) -> Rule:
        """``dL = L Φ(L⁻¹ dS L⁻ᵀ)``, where ``Φ`` keeps the lower triangle and halves the diagonal.

        With ``P = L⁻¹`` and ``G_ijk = Σ_m L_im Φ_mj P_mk``, ``∂L_ij/∂S_kl = G_ijk P_jl``; half of
        it stands at ``kl`` and half at ``lk``.
        """
        n = A.shape[-1]
        P = np.linalg.inv(out)
        phi = np.tril(np.ones((n, n))) - np.eye(n) / 2
        G = np.einsum("...im,mj,...mk->...ijk", out, phi, P, optimize=True)
        return 0.5 * (
            term("...ij <- ...kl", (G, "...ijk", "G"), (P, "...jl", "inv({out})"))
            + term("...ij <- ...kl", (G, "...ijl", "G"), (P, "...jk", "inv({out})"))
        )

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Symmetric, a stack, with an antisymmetric part, size 1, a reversed view, empty."""
        return ((cls(), args) for _, args in LogDetPD.examples(rng))


class Solve(Op):
    """``A⁻¹ b``: ``A`` of shape (n, n), ``b`` a vector (n,) or a matrix (n, k) of columns.

    Stacks of both are broadcast as in NumPy: a ``b`` with more than one axis is a stack of
    matrices.  :class:`OpError` for a singular matrix.
    """

    name = "solve"
    family = "linalg"

    def forward(self, A: Array, b: Array) -> Array:
        """The solution."""
        try:
            return as_array(np.linalg.solve(A, b))
        except np.linalg.LinAlgError:
            raise singular(A, self.name) from None

    def shape(self, A: Shape, b: Shape) -> Shape:
        """The shape of ``b``, broadcast over the stack."""
        rows = b[-2:-1] if len(b) > 1 else b
        if rows != _square(A)[-1:]:
            raise ShapeError(
                "",
                expected=f"a vector ({A[-1]},) or columns ({A[-1]}, k)",
                got=str(b),
                hint="a stack of vectors is solve(A, b[..., None])[..., 0]" if len(b) > 1 else "",
            )
        return A[:-2] + b if len(b) == 1 else broadcast(A[:-2], b[:-2]) + b[-2:]

    def d_A(self, out: Array, A: Array, b: Array) -> Rule:
        """``dx = −A⁻¹ dA x``: ``−A⁻¹_ij x_k`` on ``i <- jk``, that is ``−A⁻¹ ⊗ xᵀ``."""
        c = "c" if b.ndim > 1 else ""
        Y = (inverse(A, self.name), "...ij", "inv({A})")
        return -term(f"...i{c} <- ...jk", Y, ("out", f"...k{c}", ""))

    def d_b(self, out: Array, A: Array, b: Array) -> Rule:
        """``A⁻¹``; for columns ``A⁻¹ ⊗ I``."""
        labels = "...i <- j" if b.ndim == 1 else "...ic <- ...jc"
        return term(labels, (inverse(A, self.name), "...ij", "inv({A})"))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A vector, columns, stacks of both, of either, size 1, condition 1000, views, empty."""
        yield cls(), (regular(rng, 3), numbers(rng, 3))
        yield cls(), (regular(rng, 3), numbers(rng, 3, 2))
        yield cls(), (regular(rng, 2, 4), numbers(rng, 4, 2, 3))
        yield cls(), (regular(rng, 2, 4), numbers(rng, 2))
        yield cls(), (regular(rng, 2), numbers(rng, 4, 2, 1))
        yield cls(), (regular(rng, 1), numbers(rng, 1))
        yield cls(), (regular(rng, 3, smallest=2e-3), numbers(rng, 3))
        yield cls(), (regular(rng, 3).T[::-1], numbers(rng, 2, 3).T)
        yield cls(), (np.zeros((0, 0)), np.zeros(0))


# --- helpers ------------------------------------------------------------------------------


def _vectors(x: Shape, y: Shape) -> None:
    if len(x) != 1 or len(y) != 1:
        raise ShapeError("", expected="two vectors", got=f"{x} and {y}", hint="use @ for matrices")


def _square(A: Shape) -> Shape:
    if len(A) < 2 or A[-1] != A[-2]:
        raise ShapeError("", expected="a square matrix, or a stack of them", got=str(A))
    return A


def _same_ndim(A: Shape, B: Shape) -> tuple[Shape, Shape]:
    """Both shapes with axes of size 1 in front of the shorter one."""
    ndim = max(len(A), len(B))
    return (1,) * (ndim - len(A)) + A, (1,) * (ndim - len(B)) + B
