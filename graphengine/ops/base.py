"""What an op is: a forward function, one Jacobian rule for each argument, and its own examples.

An op is one class in one place::

    class MatVec(Op):
        "z = W x."
        name = "matvec"

        def forward(self, W, x): return W @ x
        def shape(self, W, x): ...                        # shapes in, shape out
        def d_W(self, out, W, x): return term("i <- ij", x="j")      # I ⊗ xᵀ
        def d_x(self, out, W, x): return term("i <- j", W="ij")      # W

        @classmethod
        def examples(cls, rng): ...

Annotated fields of the class are the op's parameters (``axis: int = -1``).  A class without a
rule for one of its arguments, or without examples, is refused when it is defined; every test
that sweeps the ops takes its examples from there.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from graphengine.errors import GraphEngineError, OpError, ShapeError, ValuesError, plural
from graphengine.jacobian import Jacobian, Rule
from graphengine.jacobian.numbers import pull_number
from graphengine.jacobian.terms import TermRule
from graphengine.tracing import as_array

FLOAT = np.dtype(np.float64)
Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Example: TypeAlias = "tuple[Op, tuple[Array, ...]]"


class Written(NamedTuple):
    """Formula text and how tightly its outermost operator binds (Python's order)."""

    text: str
    level: int

    def within(self, level: int) -> str:
        """The text as an operand of an operator of ``level``, in brackets where needed."""
        return self.text if self.level >= level else f"({self.text})"


SUM, PRODUCT, SIGN, POWER, ATOM = 1, 2, 3, 4, 5


class Operand(ABC):
    """What an op may be applied to beside numbers: a node of a graph."""

    __slots__ = ()

    @abstractmethod
    def _apply(self, op: Op, args: Sequence[Any]) -> Operand:
        """The node that ``op`` makes of ``args``, at least one of which is an operand."""


@dataclass_transform(frozen_default=True)
class Op:
    """One kind of node: see the module's text.  Instances are frozen and compare by value."""

    name: ClassVar[str] = ""
    """The op's name in formulas and specs; a class without one is a family, not an op."""
    family: ClassVar[str] = "custom"
    """The heading that the op stands under in the table of ops."""
    fixed: ClassVar[frozenset[str]] = frozenset()
    """Arguments without a derivative by their nature: labels, positions, conditions."""
    analytic: ClassVar[bool] = True
    """Whether ``forward`` continues to complex arguments, so that complex step holds."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """The names of the arguments; made from the signature of ``forward``."""
    variadic: ClassVar[bool] = False
    """Whether the one argument stands for any number of them; made from the signature."""
    _rules: ClassVar[tuple[str, ...]] = ()
    """The names of the arguments' rules; none for an argument without a derivative."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        documented = bool(cls.__doc__)  # a dataclass gives itself a text
        dataclasses.dataclass(frozen=True)(cls)
        if not cls.name:
            return
        parameters = list(inspect.signature(cls.forward).parameters.values())[1:]
        cls.arguments = tuple(parameter.name for parameter in parameters)
        cls._rules = tuple("" if name in cls.fixed else f"d_{name}" for name in cls.arguments)
        cls.variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        missing = [
            method
            for method in ("forward", "shape", "examples")
            if inspect.getattr_static(cls, method) is inspect.getattr_static(Op, method)
        ]
        missing += [
            f"d_{name}"
            for name in cls.arguments
            if name not in cls.fixed and not hasattr(cls, f"d_{name}") and "forward" not in missing
        ]
        if missing or not documented:
            raise OpError(
                f"op {cls.__name__!r}",
                expected="forward, shape, examples, a docstring and a rule for each argument",
                got="no " + ", ".join(missing or ["docstring"]),
                hint="an argument without a derivative is listed in 'fixed'",
            )

    # --- what an op says of itself --------------------------------------------------------

    def forward(self, *args: Any, **_: Any) -> Any:
        """The value, from the values of the arguments.  Arguments are never changed."""
        raise OpError(f"op {type(self).__name__!r}", expected="a forward function")

    def shape(self, *shapes: Any, **_: Any) -> Shape:
        """The shape of the value, from the shapes of the arguments.

        Raises :class:`ShapeError` where they do not go together.
        """
        raise OpError(f"op {type(self).__name__!r}", expected="a shape rule")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Ops of this class with arguments: a non-square one, a size-1 one, a hard one."""
        raise OpError(f"op {cls.__name__!r}", expected="examples")

    def margin(self, *args: Any, **_: Any) -> float:
        """How far the arguments are from the nearest kink or tie (infinite where smooth)."""
        return math.inf

    def written(self, *args: Written) -> Written:
        """The op as formula text."""
        shown = [
            f"{field.name}={_literal(getattr(self, field.name))}"
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # made one in __init_subclass__
            if getattr(self, field.name) != field.default
        ]
        given = [arg.text for arg in args]
        if self.variadic:
            given = ["[" + ", ".join(given) + "]"]
        return Written(f"{self.name}({', '.join(given + shown)})", ATOM)

    # --- use ------------------------------------------------------------------------------

    def __call__(self, *args: Any) -> Any:
        """Apply the op: to nodes, which makes a node, or to numbers, which gives the value."""
        self.check_arity(len(args))
        for arg in args:
            if isinstance(arg, Operand):
                return arg._apply(self, args)
        values = [as_value(arg, f"{self.name}: argument {k + 1}") for k, arg in enumerate(args)]
        self.shape_of(*(value.shape for value in values))
        return self.value(*values)

    def value(self, *args: Array) -> Array:
        """The value as an array, without warnings: what is not finite shows in the result."""
        with np.errstate(all="ignore"):
            return as_array(self.forward(*args))

    def shape_of(self, *shapes: Shape) -> Shape:
        """:meth:`shape`, with the op's name in front of its errors."""
        try:
            return self.shape(*shapes)
        except ShapeError as error:
            raise error.located(f"{self.name}({', '.join(map(str, shapes))})") from None

    def check_arity(self, count: int) -> None:
        """Raise :class:`OpError` unless the op takes ``count`` arguments."""
        if self.variadic:
            if count == 0:
                raise OpError(self.name, expected="at least 1 argument", got="none")
        elif count != len(self.arguments):
            raise OpError(
                self.name,
                expected=f"{plural(len(self.arguments), 'argument')} ({', '.join(self.arguments)})",
                got=str(count),
            )

    def argument(self, position: int) -> str:
        """The name of the argument at ``position``."""
        return self.arguments[0] if self.variadic else self.arguments[position]

    def pull_number(self, position: int, out: Array, args: Sequence[Array], row: Any) -> Any:
        """``row`` times ``∂out/∂args[position]``, both numbers, without a Jacobian; None where
        :meth:`jacobian` is needed for it, or says what is wrong.

        ``row`` is a number of Python or a traced one, and so is the result.  Whoever calls this
        sees to NumPy's warnings.
        """
        if self.variadic:
            return None
        name = self._rules[position]
        if not name:
            return 0.0
        try:
            rule = getattr(self, name)(out, *args)
        except GraphEngineError:
            return None
        return pull_number(row, rule, self.arguments, args, out)

    def jacobian(self, position: int, out: Array, args: Sequence[Array]) -> Jacobian:
        """``∂out/∂args[position]`` at these values: ``size out`` rows, ``size of the argument``
        columns.
        """
        name = self.argument(position)
        shapes = np.shape(out), np.shape(args[position])
        if name in self.fixed:
            return Jacobian.zero(*shapes)
        rule = getattr(self, f"d_{name}")
        with np.errstate(all="ignore"):
            if self.variadic:
                return Jacobian.of(rule(position, out, *args), *shapes, {"out": out})
            named = dict(zip(self.arguments, args, strict=True), out=out)
            return Jacobian.of(rule(out, *args), *shapes, named)


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)


def as_value(given: Any, where: str) -> Array:
    """``given`` as a float64 array (no copy where it is one).

    Raises :class:`ValuesError` for what is not real numbers.
    """
    if type(given) is np.ndarray and given.dtype == FLOAT:
        return given
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ValuesError(
            where, expected="numbers", got="nested lists of unequal length"
        ) from error
    if array.dtype.kind not in "fiub":
        got = "complex numbers" if array.dtype.kind == "c" else f"{array.dtype} ({given!r:.40})"
        raise ValuesError(where, expected="real numbers", got=got)
    return array.astype(np.float64, copy=False)


# --- helpers for families -----------------------------------------------------------------


def slope(array: Array, text: str = "") -> Rule:
    """The rule of an elementwise op: ``diag(array)``, broadcast to the output."""
    return Rule((TermRule("... <- ...", ((array, "...", text),)),))


class Elementwise(Op):
    """A function of each entry on its own; several arguments are broadcast."""

    def shape(self, *shapes: Shape) -> Shape:
        """The shape that the arguments broadcast to."""
        return broadcast(*shapes)


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's broadcast of ``shapes``; :class:`ShapeError` where there is none."""
    largest: Shape = ()  # most often all are numbers, or of one shape; NumPy takes its time
    for shape in shapes:
        if shape and shape != largest:
            if largest:
                break
            largest = shape
    else:
        return largest
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(
            "",
            expected="shapes that broadcast",
            got=" and ".join(map(str, shapes)),
            hint="axes are aligned from the right and must be equal or 1",
        ) from None


def letters(ndim: int) -> str:
    """One index letter for each of ``ndim`` axes."""
    return "abcdefghijklmnopqrstuvwxyz"[:ndim]


def axes_of(axis: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    """The axes that ``axis`` names (None: all), counted from the front; :class:`ShapeError`."""
    given = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    found = []
    for one in given:
        if not -ndim <= one < ndim:
            raise ShapeError("", expected=f"an axis from {-ndim} to {ndim - 1}", got=f"axis={one}")
        found.append(one % ndim)
    if len(set(found)) < len(found):
        raise ShapeError("", expected="each axis once", got=f"axis={axis}")
    return tuple(found)


def numbers(rng: np.random.Generator, *shape: int, low: float = 0.2, high: float = 2.0) -> Array:
    """Numbers of both signs for examples, away from zero and from each other."""
    size = math.prod(shape)
    sizes = np.linspace(low, high, size) if size > 1 else np.full(size, (low + high) / 2)
    signs = rng.choice([-1.0, 1.0], size=size)
    return np.asarray(rng.permutation(sizes) * signs).reshape(shape)


def positive(rng: np.random.Generator, *shape: int, low: float = 0.2, high: float = 2.0) -> Array:
    """Positive numbers for examples, away from each other."""
    return np.abs(numbers(rng, *shape, low=low, high=high))
