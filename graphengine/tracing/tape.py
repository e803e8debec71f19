"""The tape, and the arrays without numbers that write on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

Shape: TypeAlias = tuple[int, ...]
DType: TypeAlias = np.dtype[Any]
Handler = TypeVar("Handler", bound=Callable[..., Any])

FLOAT, BOOL, INT = (np.dtype(kind) for kind in (np.float64, np.bool_, np.intp))


class Untraceable(Exception):
    """What was to be traced asks for numbers: a branch on a value, a function without a handler."""


# --- handlers -----------------------------------------------------------------------------

HANDLED: dict[Any, Callable[..., Any]] = {}
"""What stands for NumPy's functions on traced arrays: filled when the package is imported.

A method of a ufunc is found by the pair of both, an operation that is no function by its name.
"""


def handles(*functions: Any) -> Callable[[Handler], Handler]:
    """A decorator: what stands for these functions of NumPy."""

    def decorated(handler: Handler) -> Handler:
        HANDLED.update(dict.fromkeys(functions, handler))
        return handler

    return decorated


def handled(function: Any, *args: Any, **params: Any) -> Any:
    """What stands for ``function``, called.

    What it does not take, and what NumPy itself would refuse, is :class:`Untraceable`: whoever
    runs it on numbers meets NumPy's own answer.
    """
    try:
        return HANDLED[function](*args, **params)
    except (TypeError, ValueError, LookupError) as error:
        raise Untraceable(f"{function}: {error}") from error


def tape_of(args: Iterable[Any]) -> Tape:
    """The tape of the traced arrays among ``args``."""
    for arg in args:
        if isinstance(arg, Traced):
            return arg.tape
    raise Untraceable("no traced array")


# --- the tape -----------------------------------------------------------------------------


class Step:
    """One call of a tape: ``call(*args, **params)``, or an input of the program (no ``call``).

    ``call`` is a function, or the name of an operation that is none: ``getitem``, ``astype``,
    ``item``, ``placed``, ``concatenate``, ``stack``.  ``args`` are traced arrays, arrays and
    numbers; ``view`` says that the result is a view of the first of them; ``section`` is the part
    of the program that it belongs to.
    """

    __slots__ = ("args", "call", "params", "section", "view")

    def __init__(
        self,
        call: Any,
        args: tuple[Any, ...],
        params: Mapping[str, Any],
        *,
        view: bool,
        section: int,
    ) -> None:
        self.call, self.args, self.params = call, args, params
        self.view, self.section = view, section

    @property
    def name(self) -> str:
        """The name of the function, or of the input."""
        return str(self.args[0] if self.call is None else getattr(self.call, "__name__", self.call))

    def __repr__(self) -> str:
        given = [*map(str, self.args), *(f"{name}={value}" for name, value in self.params.items())]
        return self.name if self.call is None else f"{self.name}({', '.join(given)})"


class Tape:
    """The calls recorded so far, each once."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.results: list[Traced] = []
        self.sections: list[Any] = [None]
        self.facts: list[Any] = []
        """What is seen of the numbers of each result (:mod:`graphengine.tracing.infinite`)."""
        self._known: dict[Any, Traced] = {}
        self._held: list[Any] = []  # what keys name by its identity must stay alive

    def section(self, what: Any) -> None:
        """What is recorded from now on belongs to ``what``."""
        self.sections.append(what)

    def input(self, name: str, shape: Shape) -> Traced:
        """An array that the program is given."""
        return self._added(Step(None, (name,), {}, view=False, section=0), shape, FLOAT)

    def record(
        self,
        call: Any,
        args: Sequence[Any],
        params: Mapping[str, Any],
        shape: Shape,
        dtype: DType = FLOAT,
        *,
        view: bool = False,
    ) -> Traced:
        """The result of a call, whose shape and type the caller knows."""
        key = (
            call,
            tuple([arg.number if type(arg) is Traced else self._key(arg) for arg in args]),
            _frozen(params) if params else (),
        )
        found = self._known.get(key)
        if found is None:
            step = Step(call, tuple(args), params, view=view, section=len(self.sections) - 1)
            found = self._known[key] = self._added(step, shape, dtype)
        return found

    def _added(self, step: Step, shape: Shape, dtype: DType) -> Traced:
        found = Traced(self, len(self.steps), shape, dtype)
        self.steps.append(step)
        self.results.append(found)
        return found

    def _key(self, arg: Any) -> Any:
        if isinstance(arg, np.ndarray):
            if arg.size <= _COMPARED:
                return arg.shape, str(arg.dtype), arg.tobytes()
            self._held.append(arg)
            return id(arg), "array"
        if isinstance(arg, float):
            return arg.hex()
        return type(arg), arg


_COMPARED = 64
"""Arrays of so many entries are compared by their numbers, larger ones by their identity."""


def _frozen(params: Mapping[str, Any]) -> Any:
    return tuple(sorted((name, _plain(value)) for name, value in params.items()))


def _plain(value: Any) -> Any:
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    return value if isinstance(value, (int, float, str, type(None))) else str(value)


# --- traced arrays ------------------------------------------------------------------------

_METHODS = {
    name: getattr(np, name)
    for name in (
        *("all", "any", "argmax", "argmin", "cumsum", "diagonal", "dot", "max", "mean", "min"),
        *("prod", "ravel", "repeat", "squeeze", "sum", "swapaxes", "take", "trace"),
    )
} | {"flatten": np.ravel}
"""Methods of arrays that are functions of NumPy with the array in front."""


class Traced(NDArrayOperatorsMixin):
    """An array of a tape: its shape and type are known, its numbers are not."""

    __slots__ = ("dtype", "number", "shape", "tape")
    __array_priority__ = 1000.0

    def __init__(self, tape: Tape, number: int, shape: Shape, dtype: DType) -> None:
        self.tape, self.number, self.shape, self.dtype = tape, number, shape, dtype

    @property
    def step(self) -> Step:
        """The call that makes it."""
        return self.tape.steps[self.number]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def real(self) -> Traced:
        """The array itself: traced arrays are real."""
        return self

    @property
    def T(self) -> Traced:
        """The array with its axes reversed."""
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a number has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<traced {self.number}: {self.dtype} {self.shape}>"

    # --- what asks for numbers, or changes them ---------------------------------------------

    def _refused(self, *_: Any, **__: Any) -> Any:
        raise Untraceable("a traced array has no numbers")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __iter__ = __complex__ = _refused
    __setitem__ = _refused

    __hash__ = object.__hash__

    # --- methods of arrays ------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return partial(_METHODS[name], self)
        if name.startswith("_"):  # protocols that NumPy asks for
            raise AttributeError(name)
        raise Untraceable(f"a traced array has no {name}")

    def reshape(self, *shape: Any, order: str = "C") -> Traced:
        """The array in another shape."""
        sizes = shape[0] if len(shape) == 1 else shape
        found: Traced = handled(np.reshape, self, sizes, order)
        return found

    def transpose(self, *axes: Any) -> Traced:
        """The array with its axes in another order."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        found: Traced = handled(np.transpose, self, order or None)
        return found

    def astype(self, dtype: DTypeLike, *, copy: bool = True) -> Traced:
        """The array as another type; a copy is made where needed alone."""
        del copy
        if dtype is np.float64 and self.dtype is FLOAT:
            return self
        wanted = np.dtype(dtype)
        if wanted == self.dtype:
            return self
        return self.tape.record("astype", (self,), {"dtype": wanted.name}, self.shape, wanted)

    def copy(self) -> Traced:
        """The array itself: nothing changes it."""
        return self

    def __getitem__(self, key: Any) -> Traced:
        found: Traced = handled("getitem", self, key)
        return found

    # --- NumPy's protocols ------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **params: Any) -> Any:
        if (ufunc, method) in HANDLED:
            return handled((ufunc, method), *args, **params)
        if method != "__call__" or params or ufunc.nout != 1 or ufunc.signature is not None:
            raise Untraceable(f"{ufunc.__name__}.{method}")
        return handled("ufunc", ufunc, *args)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        del types
        return handled(func, *args, **kwargs)


# --- for those whose code is traced -------------------------------------------------------


def traced(*args: Any) -> bool:
    """Whether any of these is a traced array."""
    return any(isinstance(arg, Traced) for arg in args)


def known(*args: Any) -> bool:
    """Whether the numbers of all of these are at hand."""
    return not traced(*args)


def as_array(given: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """``np.asarray``, which leaves traced arrays what they are."""
    if isinstance(given, Traced):
        return given if dtype is None else given.astype(dtype)  # type: ignore[return-value]  # stands for one
    return np.asarray(given, dtype)


def recorded(
    shape: Callable[..., Shape], dtype: DType = FLOAT
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: with traced arguments the function is recorded as one call.

    ``shape`` gives the result's shape from the same arguments.  For functions that branch on
    numbers or fill arrays in place; flat code holds their text.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            first = next((arg for arg in args if isinstance(arg, Traced)), None)
            if first is None:
                return function(*args)
            return first.tape.record(called, args, {}, shape(*args), dtype)

        called.__name__, called.__doc__ = function.__name__, function.__doc__
        called.__wrapped__ = function  # type: ignore[attr-defined]  # for its text
        called.__module__ = function.__module__
        return called

    return decorated


def placed(values: Any, shape: Shape, key: tuple[Any, ...]) -> Any:
    """Zeros of ``shape`` with ``values`` at ``key`` (slices)."""
    if isinstance(values, Traced):
        return values.tape.record("placed", (values,), {"shape": shape, "key": key}, shape)
    whole = np.zeros(shape)
    whole[key] = values
    return whole
