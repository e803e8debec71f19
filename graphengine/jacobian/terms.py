"""A term: one line of index notation, such as ``∂z_i/∂W_kj = δ_ik x_j``.

A term has *labels*, each with a size.  Every axis of the output and every axis of
the input is given as an :class:`Index`: the label whose value is the position on
that axis, or a table that turns the label's value into the position.  A label on both
sides is a Kronecker delta; a label on one side alone repeats the same numbers; a
label that only factors carry is summed over.  The number at a position is the
coefficient times the product of the factors.

Axes of size 1 carry no information and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphengine.errors import GraphEngineError, RuleError, nearest
from graphengine.tracing import Traced, as_array

Label: TypeAlias = int
Shape: TypeAlias = tuple[int, ...]
Array: TypeAlias = NDArray[np.float64]
Positions: TypeAlias = "range | NDArray[np.intp]"


class Index(NamedTuple):
    """The position on one axis: the label's value, or ``at[value]``."""

    label: Label
    at: Positions | None = None


class Side(NamedTuple):
    """The output or the input of a term: its axes' sizes, and one index for each."""

    view: Shape
    axes: tuple[Index, ...]

    @property
    def labels(self) -> tuple[Label, ...]:
        """The distinct labels, in the order of the axes."""
        return tuple(dict.fromkeys(index.label for index in self.axes))


class Factor(NamedTuple):
    """Numbers with one label for each axis, and how they are written on the board."""

    array: Array
    labels: tuple[Label, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """``coef`` times ``factors``, at the positions that ``out`` and ``into`` give."""

    out: Side
    into: Side
    sizes: Mapping[Label, int]
    factors: tuple[Factor, ...] = ()
    coef: float = 1.0

    @property
    def transposed(self) -> Term:
        """The same numbers with the roles of output and input exchanged."""
        return replace(self, out=self.into, into=self.out)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels that say where entries stand: those of the output, then the input's own."""
        if not self.out.axes and not self.into.axes:
            return ()
        return tuple(dict.fromkeys(self.out.labels + self.into.labels))

    @property
    def entries(self) -> int:
        """How many entries this term writes (those at the same place counted apart)."""
        return math.prod(self.sizes[label] for label in self.labels)

    def scaled(self, scale: float) -> Term:
        """The term times a number."""
        return replace(self, coef=self.coef * scale)


# --- rules: terms before their shapes are known --------------------------------------


class TermRule(NamedTuple):
    """A term as an op writes it: subscripts, and factors that may still be argument names."""

    subscripts: str
    factors: tuple[tuple[Any, str, str], ...]
    coef: float = 1.0


class Rule(tuple[TermRule, ...]):
    """A sum of terms as an op writes it; see :func:`term`."""

    __slots__ = ()

    def __add__(self, other: object) -> Rule:
        if not isinstance(other, Rule):
            return NotImplemented
        return Rule((*self, *other))

    def __neg__(self) -> Rule:
        return -1.0 * self

    def __sub__(self, other: Rule) -> Rule:
        return self + -other

    def __rmul__(self, scale: float) -> Rule:  # type: ignore[override]  # a multiple, not repeats
        return Rule([TermRule(labels, factors, coef * scale) for labels, factors, coef in self])


def term(subscripts: str, /, *factors: tuple[Any, str, str], **named: str) -> Rule:
    """One term of a Jacobian rule, in index notation.

    ``subscripts`` is ``"labels of the output <- labels of the input"``: one letter for
    each axis, ``1`` for an axis of size 1, ``...`` for all further axes on the left,
    which are aligned from the right and broadcast as in NumPy.  Each factor is given as
    ``name="labels"`` when it is an argument of the op (or ``out``, its value), else as
    ``(array, "labels", "text")``, where the text is a formula in which argument names stand in
    braces; an argument's name may stand in place of the array.  Terms add with ``+`` and ``-``
    and may be multiplied by numbers.

    >>> term("i <- ij", x="j")                        # z = W x with respect to W: I ⊗ xᵀ
    (TermRule(subscripts='i <- ij', factors=(('x', 'j', ''),), coef=1.0),)
    >>> softmax = term("i <- i", out="i") - term("i <- j", ("out", "i", ""), ("out", "j", ""))
    >>> [rule.coef for rule in softmax]
    [1.0, -1.0]
    """
    if not factors:
        return _by_name(subscripts, tuple(named.items()))
    by_name = tuple((name, labels, "") for name, labels in named.items())
    return Rule((TermRule(subscripts, by_name + factors),))


@lru_cache(maxsize=4096)
def _by_name(subscripts: str, named: tuple[tuple[str, str], ...]) -> Rule:
    """A term without arrays, which many nodes share."""
    return Rule((TermRule(subscripts, tuple((name, labels, "") for name, labels in named)),))


_FRESH = 1_000  # labels of "1" axes and of "..." axes do not meet those of letters
_ELLIPSIS = 2_000


@lru_cache(maxsize=4096)
def _labels(subscript: str, ndim: int, fresh: int) -> tuple[Label, ...]:
    """The labels of one operand of ``ndim`` axes written as ``subscript``."""
    head, dots, tail = subscript.partition("...")
    free = ndim - len(head) - len(tail)
    if free < 0 or (free > 0 and not dots):
        raise RuleError(
            f"subscript {subscript!r}",
            expected=f"{len(head) + len(tail)} axes",
            got=str(ndim),
            hint="write one letter for each axis, or ... for all further ones",
        )
    middle = tuple(_ELLIPSIS + k for k in range(free - 1, -1, -1))

    def letter(place: int, char: str) -> Label:
        return _FRESH + fresh + place if char == "1" else ord(char)

    return (
        *(letter(k, c) for k, c in enumerate(head)),
        *middle,
        *(letter(k + len(head), c) for k, c in enumerate(tail)),
    )


@lru_cache(maxsize=4096)
def _sides(subscripts: str) -> tuple[str, str]:
    out, arrow, into = subscripts.replace(" ", "").partition("<-")
    if not arrow:
        raise RuleError(f"subscripts {subscripts!r}", expected="'out <- in'", got="no '<-'")
    return out, into


def bind(rule: TermRule, out_shape: Shape, in_shape: Shape, named: Mapping[str, Any]) -> Term:
    """The term that ``rule`` gives for these shapes and these argument values.

    Raises :class:`RuleError` where a label would have two sizes.
    """
    out_subscript, in_subscript = _sides(rule.subscripts)
    sizes: dict[Label, int] = {}
    out = _side(_labels(out_subscript, len(out_shape), 0), out_shape, sizes, rule)
    into = _side(_labels(in_subscript, len(in_shape), 500), in_shape, sizes, rule)
    factors = []
    for given, subscript, text in rule.factors:
        array = real(_named(given, named, rule), f"rule {rule.subscripts!r}")
        labels = _labels(subscript.replace(" ", ""), array.ndim, 0)
        kept = _side(labels, array.shape, sizes, rule)
        if len(kept.view) != array.ndim:
            array = array.reshape(kept.view)
        if isinstance(given, str) and not text:
            text = "{" + given + "}"  # noqa: PLW2901 (the text that the name stands for)
        factors.append(distinct(Factor(array, tuple(i.label for i in kept.axes), text)))
    return Term(out, into, sizes, tuple(factors), rule.coef)


def _named(given: Any, named: Mapping[str, Any], rule: TermRule) -> Any:
    if not isinstance(given, str):
        return given
    if given not in named:
        raise RuleError(
            f"rule {rule.subscripts!r}",
            expected=f"factors named {', '.join(named) or 'by nothing'}, or arrays",
            got=repr(given),
            hint=nearest(given, named),
        )
    return named[given]


def real(given: Any, where: str, error: type[GraphEngineError] = RuleError) -> Array:
    """``given`` as a float64 array (no copy where it is one), or an ``error``."""
    if type(given) is np.ndarray and given.dtype == np.float64:
        return given
    if isinstance(given, Traced):
        return as_array(given, np.float64)
    try:
        array = np.asarray(given)
    except ValueError:
        raise error(where, expected="an array", got="nested lists of unequal length") from None
    if array.dtype.kind not in "fiub":
        raise error(where, expected="real numbers", got=f"{array.dtype} ({given!r:.40})")
    return array.astype(np.float64, copy=False)


def _side(labels: tuple[Label, ...], shape: Shape, sizes: dict[Label, int], rule: TermRule) -> Side:
    if not shape:
        return _SCALAR
    view, index = [], []
    for label, size in zip(labels, shape, strict=True):
        if size == 1:
            continue
        if _FRESH <= label < _ELLIPSIS:
            raise RuleError(
                f"rule {rule.subscripts!r}", expected="size 1 on the axis '1'", got=f"size {size}"
            )
        if sizes.setdefault(label, size) != size:
            raise RuleError(
                f"rule {rule.subscripts!r}",
                expected=f"one size for label {chr(label) if label < _FRESH else '...'!r}",
                got=f"{sizes[label]} and {size}",
            )
        view.append(size)
        index.append(Index(label))
    return Side(tuple(view), tuple(index))


_SCALAR = Side((), ())


def distinct(factor: Factor) -> Factor:
    """The factor with each label once: its diagonal where a label is repeated (a view)."""
    if len(set(factor.labels)) == len(factor.labels):
        return factor
    labels = tuple(dict.fromkeys(factor.labels))
    numbers = {label: k for k, label in enumerate(labels)}
    operands: list[Any] = [factor.array, [numbers[label] for label in factor.labels]]
    array = np.einsum(*operands, list(range(len(labels))))
    return Factor(array, labels, factor.text)


# --- terms from positions and from matrices ------------------------------------------


def compact(at: NDArray[np.intp]) -> Positions:
    """``at`` as a ``range`` where it is one (at most one position counts as one).

    >>> compact(np.array([1, 3, 5])), compact(np.array([0, 2, 1]))
    (range(1, 7, 2), array([0, 2, 1]))
    """
    if isinstance(at, Traced):
        return at
    if len(at) == 0:
        return range(0)
    start = int(at[0])
    step = int(at[1]) - start if len(at) > 1 else 1
    if step != 0 and np.array_equal(at, np.arange(start, start + step * len(at), step)):
        return range(start, start + step * len(at), step)
    return at


def index(label: Label, at: Positions, size: int) -> Index:
    """The index of a label through ``at`` on an axis of ``size``; pure when it is the identity."""
    return Index(label, None if isinstance(at, range) and at == range(size) else at)


def from_positions(positions: NDArray[np.intp], in_shape: Shape) -> Term:
    """The Jacobian of a rearrangement: output entry ``o`` is input entry ``positions[o]``.

    ``positions`` has the shape of the output and holds flat positions in the input: what
    the rearrangement makes of ``arange(size).reshape(in_shape)``.  Each input axis that
    follows one output axis keeps its own index, so slices, swapped axes, diagonals and
    gathers stay structured; anything else becomes one flat table.
    """
    if isinstance(positions, Traced):
        return _one_table(positions, in_shape)
    out_view = tuple(n for n in positions.shape if n != 1)
    in_view = tuple(n for n in in_shape if n != 1)
    positions = positions.reshape(out_view)
    total, size = positions.size, math.prod(in_shape)
    flat = compact(positions.ravel())
    if isinstance(flat, range) and flat == range(size):  # a reshape
        whole = Side((size,), (Index(0),)) if size != 1 else _SCALAR
        return Term(whole, whole, {0: size})
    sizes = dict(enumerate(out_view))
    into: list[Index] = []
    if total:
        for axis, along in enumerate(np.unravel_index(positions, in_view) if in_view else ()):
            found = _follows(np.asarray(along), in_view[axis], sizes, len(out_view))
            if found is None:
                break
            into.append(found)
        else:
            out = Side(out_view, tuple(Index(k) for k in range(len(out_view))))
            return Term(out, Side(in_view, tuple(into)), sizes)
    return _one_table(flat, in_shape)


def _one_table(flat: Positions, in_shape: Shape) -> Term:
    """The Jacobian of a rearrangement by one table of flat positions."""
    table = flat if isinstance(flat, range) else flat.reshape(-1)
    total, size = len(table), math.prod(in_shape)
    out = Side((total,), (Index(0),)) if total != 1 else _SCALAR
    return Term(out, Side((size,), (index(0, table, size),)), {0: total})


def _follows(
    along: NDArray[np.intp], size: int, sizes: dict[Label, int], ndim: int
) -> Index | None:
    """The index of an input axis whose position depends on one output axis at most."""
    first = along[(0,) * ndim]
    if ndim == 0 or np.all(along == first):
        label = max(sizes, default=-1) + 1
        sizes[label] = 1
        return index(label, range(int(first), int(first) + 1), size)
    for axis in range(ndim):
        line = along[(0,) * axis + (slice(None),) + (0,) * (ndim - axis - 1)]
        if np.array_equal(
            along, np.broadcast_to(line.reshape((-1,) + (1,) * (ndim - axis - 1)), along.shape)
        ):
            return index(axis, compact(np.ascontiguousarray(line)), size)
    return None


def from_matrix(matrix: Array, text: str = "") -> Term:
    """The term of a plain matrix, ``size of the output × size of the input``."""
    rows, cols = matrix.shape
    rule = TermRule("i <- j", ((matrix, "ij", text),))
    return bind(rule, (rows,), (cols,), {})


def from_entries(
    shape: tuple[int, int], rows: NDArray[np.intp], cols: NDArray[np.intp], data: Array
) -> Term:
    """The term of a sparse matrix: one label counts its stored entries."""
    out = Side((shape[0],), (index(0, compact(rows), shape[0]),)) if shape[0] != 1 else _SCALAR
    into = Side((shape[1],), (index(0, compact(cols), shape[1]),)) if shape[1] != 1 else _SCALAR
    return Term(out, into, {0: len(data)}, (Factor(data, (0,), ""),))


def flat_positions(side: Side, labels: tuple[Label, ...]) -> NDArray[np.int64]:
    """Flat positions on ``side``, as an array with one axis for each of ``labels``."""
    flat = np.zeros((1,) * len(labels), dtype=np.int64)
    stride = 1
    for size, (label, at) in zip(reversed(side.view), reversed(side.axes), strict=True):
        ones = [1] * len(labels)
        ones[labels.index(label)] = -1
        along = as_array(range(size) if at is None else at, dtype=np.int64)
        flat = flat + along.reshape(ones) * stride
        stride *= size
    return flat


# --- structure ------------------------------------------------------------------------


def structure(terms: Sequence[Term]) -> tuple[Any, ...]:
    """A hashable key: equal keys have their entries at equal places, in equal order."""
    return tuple(_structure(part) for part in terms)


def _structure(part: Term) -> tuple[Any, ...]:
    order = {label: k for k, label in enumerate(part.labels)}
    return (
        tuple(part.sizes[label] for label in order),
        *(
            (side.view, tuple((order[i.label], key_of(i.at)) for i in side.axes))
            for side in (part.out, part.into)
        ),
    )


def key_of(at: Positions | None) -> Any:
    """``at`` as something that compares and hashes."""
    if isinstance(at, Traced):
        return "traced", at.number
    return at if at is None or isinstance(at, range) else at.tobytes()


def fresh(labels: Iterator[int], part: Term) -> Term:
    """The same term with new labels drawn from ``labels``."""
    new = {label: next(labels) for label in part.sizes}
    out, into = (
        Side(side.view, tuple(Index(new[i.label], i.at) for i in side.axes))
        for side in (part.out, part.into)
    )
    return Term(
        out,
        into,
        {new[label]: size for label, size in part.sizes.items()},
        tuple(Factor(f.array, tuple(new[k] for k in f.labels), f.text) for f in part.factors),
        part.coef,
    )
