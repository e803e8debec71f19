"""``+ - * / ** @`` and the unary minus: what operators mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphengine.errors import ShapeError
from graphengine.jacobian import Rule, term
from graphengine.ops.base import (
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Array,
    Elementwise,
    Example,
    Op,
    Shape,
    Written,
    broadcast,
    numbers,
    positive,
    slope,
)
from graphengine.tracing import as_array, known

_IDENTITY, _OPPOSITE = term("... <- ..."), -term("... <- ...")
_TIMES_X, _TIMES_Y = term("... <- ...", x="..."), term("... <- ...", y="...")


class _Infix(Elementwise):
    """Two operands with a sign between them."""

    family = "arithmetic"
    sign = ""
    level = SUM

    def written(self, *args: Written) -> Written:
        """``x + y``, with brackets where Python's order needs them."""
        left, right = args
        return Written(
            f"{left.within(self.level)} {self.sign} {right.within(self.level + 1)}", self.level
        )

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Equal shapes, broadcast both ways, numbers, size 1, empty."""
        yield cls(), (numbers(rng, 2, 3), positive(rng, 2, 3))
        yield cls(), (numbers(rng, 4, 1, 3), positive(rng, 2, 1))
        yield cls(), (numbers(rng), positive(rng, 3))
        yield cls(), (numbers(rng, 1), positive(rng, 1, 1))
        yield cls(), (numbers(rng, 0, 3), positive(rng, 3))


class Add(_Infix):
    """``x + y``, broadcast."""

    name = "add"
    sign = "+"

    def forward(self, x: Array, y: Array) -> Array:
        """The sum."""
        return x + y

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """The identity, summed where ``x`` was repeated."""
        return _IDENTITY

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """The identity, summed where ``y`` was repeated."""
        return _IDENTITY


class Subtract(_Infix):
    """``x - y``, broadcast."""

    name = "subtract"
    sign = "-"

    def forward(self, x: Array, y: Array) -> Array:
        """The difference."""
        return x - y

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """The identity."""
        return _IDENTITY

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """Minus the identity."""
        return _OPPOSITE


class Multiply(_Infix):
    """``x * y`` entry by entry, broadcast."""

    name = "multiply"
    sign = "*"
    level = PRODUCT

    def forward(self, x: Array, y: Array) -> Array:
        """The product."""
        return x * y

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """``diag(y)``."""
        return _TIMES_Y

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """``diag(x)``."""
        return _TIMES_X


class Divide(_Infix):
    """``x / y`` entry by entry, broadcast."""

    name = "divide"
    sign = "/"
    level = PRODUCT

    def forward(self, x: Array, y: Array) -> Array:
        """The quotient."""
        return x / y

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """``diag(1 / y)``."""
        return slope(1 / y, "1 / {y}")

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """``-diag(x / y²)``."""
        return -slope(x / y / y, "{x} / {y}**2")


class Power(_Infix):
    """``x ** y`` entry by entry; ``0 ** 0`` is 1 and has slope 0 in ``x``."""

    name = "power"
    sign = "**"
    level = POWER

    def forward(self, x: Array, y: Array) -> Array:
        """The power."""
        return np.power(x, y)

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """``diag(y x**(y-1))``; 0 where the exponent is 0."""
        exponent = np.where(y == 0, 1.0, y)
        array = np.where(y == 0, 0.0, y * np.power(x, exponent - 1))
        if known(y) and y.ndim == 0 and y == 2:
            return 2.0 * term("... <- ...", x="...")
        if known(y) and y.ndim == 0 and float(y).is_integer():
            n = int(y)
            return slope(array, "{x}" if n == 2 else f"{n} * {{x}}**{n - 1}")
        return slope(array, "{y} * {x}**({y} - 1)")

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """``diag(x**y log x)``; 0 where the base is 0 and the exponent positive."""
        safe = np.where(x == 0, 1.0, x)
        array = np.where(x == 0, np.where(y > 0, 0.0, -np.inf), np.power(safe, y) * np.log(safe))
        return slope(array, "{x}**{y} * log({x})")

    def written(self, *args: Written) -> Written:
        """``x**y``; the exponent binds from the right."""
        base, exponent = args
        return Written(f"{base.within(POWER + 1)}**{exponent.within(POWER)}", POWER)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Positive bases; whole and literal exponents on bases of both signs; zeros."""
        yield cls(), (positive(rng, 2, 3), numbers(rng, 3))
        yield cls(), (positive(rng, 4, 1), numbers(rng))
        yield cls(), (positive(rng, 1), numbers(rng, 1, 1))
        yield cls(), (positive(rng, 0, 2), numbers(rng, 2))


class Negative(Elementwise):
    """``-x``."""

    name = "negative"
    family = "arithmetic"

    def forward(self, x: Array) -> Array:
        """The negative."""
        return -x

    def d_x(self, out: Array, x: Array) -> Rule:
        """Minus the identity."""
        return _OPPOSITE

    def written(self, *args: Written) -> Written:
        """``-x``."""
        return Written(f"-{args[0].within(SIGN)}", SIGN)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A matrix, a number, nothing."""
        yield cls(), (numbers(rng, 2, 3),)
        yield cls(), (numbers(rng),)
        yield cls(), (numbers(rng, 0),)


class MatMul(Op):
    """``A @ B`` as in NumPy: vectors, matrices, and stacks of matrices, broadcast."""

    name = "matmul"
    family = "arithmetic"

    def forward(self, A: Array, B: Array) -> Array:
        """The matrix product."""
        return as_array(np.matmul(A, B))

    def shape(self, A: Shape, B: Shape) -> Shape:
        """``(..., n, k) @ (..., k, m)`` is ``(..., n, m)``; vectors lose their axis."""
        if not A or not B:
            raise ShapeError(
                "", expected="two arrays", got="a number", hint="write * for a product with one"
            )
        inner = (A[-1], B[-2] if len(B) > 1 else B[0])
        if inner[0] != inner[1]:
            raise ShapeError(
                "",
                expected="equal inner sizes",
                got=f"{A} @ {B}: {inner[0]} and {inner[1]}",
                hint="the last axis on the left meets the last but one (or only one) on the right",
            )
        stack = broadcast(A[:-2], B[:-2])
        return stack + A[-2:-1] + (B[-1:] if len(B) > 1 else ())

    def d_A(self, out: Array, A: Array, B: Array) -> Rule:
        """``z_ik = Σ_j A_ij B_jk``: ``B_jk`` on ``ik <- ij``, that is ``I ⊗ Bᵀ``."""
        left, right, result = self._labels(A, B)
        return term(f"{result} <- {left}", B=right)

    def d_B(self, out: Array, A: Array, B: Array) -> Rule:
        """``A_ij`` on ``ik <- jk``, that is ``A ⊗ I``."""
        left, right, result = self._labels(A, B)
        return term(f"{result} <- {right}", A=left)

    @staticmethod
    def _labels(A: Array, B: Array) -> tuple[str, str, str]:
        left = "...ij" if A.ndim > 1 else "j"
        right = "...jk" if B.ndim > 1 else "j"
        dots = "..." if A.ndim > 2 or B.ndim > 2 else ""
        return (
            left if dots else left.replace("...", ""),
            right if dots else right.replace("...", ""),
            dots + ("i" if A.ndim > 1 else "") + ("k" if B.ndim > 1 else ""),
        )

    def written(self, *args: Written) -> Written:
        """``A @ B``."""
        left, right = args
        return Written(f"{left.within(PRODUCT)} @ {right.within(PRODUCT + 1)}", PRODUCT)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Matrix and vector both ways, matrices, dot product, stacks, size 1, empty."""
        yield cls(), (numbers(rng, 3, 4), numbers(rng, 4))
        yield cls(), (numbers(rng, 3), numbers(rng, 3, 2))
        yield cls(), (numbers(rng, 2, 3), numbers(rng, 3, 4))
        yield cls(), (numbers(rng, 5), numbers(rng, 5))
        yield cls(), (numbers(rng, 4, 2, 3), numbers(rng, 4, 3, 2))
        yield cls(), (numbers(rng, 4, 1, 2, 3), numbers(rng, 5, 3, 2))
        yield cls(), (numbers(rng, 4, 2, 3), numbers(rng, 3))
        yield cls(), (numbers(rng, 3), numbers(rng, 4, 3, 2))
        yield cls(), (numbers(rng, 1, 1), numbers(rng, 1, 1))
        yield cls(), (numbers(rng, 0, 3), numbers(rng, 3, 2))
