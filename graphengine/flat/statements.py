"""Calls of NumPy and BLAS that write into an array that is given, as a person would write them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from graphengine.flat.merging import AddMatMul, AddOuter
from graphengine.flat.writing import ATOM, Text, is_number, number
from graphengine.tracing import Traced

if TYPE_CHECKING:
    from graphengine.flat.storage import Storage

__all__ = ["can_fill", "slice_text", "statements"]

BROADCAST = 2**12
"""From so many entries on it matters how NumPy repeats operands."""
SHORT, ROW, SMALL, EACH = 200, 2700, 64, 1024
"""Products over rows of fewer than ``SHORT`` entries are fastest by einsum, or from ``EACH``
entries on by BLAS.  Up to ``ROW`` NumPy copies rows into its own buffer first, unless that is made
``SMALL``."""
BLOCKED = 2**15
"""Products are added to larger matrices in blocks of so many entries."""

_REDUCE = {
    np.sum: "np.add.reduce",
    np.max: "np.maximum.reduce",
    np.min: "np.minimum.reduce",
    np.prod: "np.multiply.reduce",
    np.any: "np.logical_or.reduce",
    np.all: "np.logical_and.reduce",
}
_WITH_OUT = frozenset({np.cumsum, np.einsum, "concatenate", "stack"})


def can_fill(x: Traced) -> bool:
    """Whether the call can write its result into an array that is given."""
    call = x.step.call
    if is_number(x) or call is None or (call is np.mean and not np.size(x.step.args[0])):
        return False
    return (
        isinstance(call, np.ufunc)
        or call in _REDUCE
        or call in _WITH_OUT
        or call in {np.where, "astype", np.mean, AddOuter, AddMatMul}
        or _table(x) is not None
    )


def statements(writer: Storage, x: Traced, home: str) -> Iterator[str]:
    """The text of a call with the array ``home`` that it writes into."""
    step = x.step
    args = [writer.operand(arg).text for arg in step.args]
    given = ", ".join(args)
    if step.call in {AddOuter, AddMatMul}:
        yield from _added(writer, x, home, args)
    elif step.call is np.matmul and _flat_product(writer, x):
        yield f"np.dot({given}, out={home})"
    elif isinstance(step.call, np.ufunc):
        yield from _entry_by_entry(writer, x, home, given)
    elif step.call == "getitem":
        yield _taken(writer, x, home)
    elif step.call is np.where:
        if args[2] != home:
            yield f"np.copyto({home}, {args[2]})"
        yield f"np.copyto({home}, {args[1]}, where={args[0]})"
    elif step.call == "astype":
        yield f'np.copyto({home}, {args[0]}, casting="unsafe")'
    elif step.call is np.mean:
        count = np.size(step.args[0]) / max(x.size, 1)
        yield f"np.add.reduce({given}, {_axis(step.params)}, out={home})"
        yield f"np.multiply({home}, {number(1.0 / count)}, out={home})"
    elif step.call in _REDUCE:
        yield f"{_REDUCE[step.call]}({given}, {_axis(step.params)}, out={home})"
    else:
        yield f"{writer.expression(x).text[:-1]}, out={home})"


# --- entry by entry -----------------------------------------------------------------------


def _entry_by_entry(writer: Storage, x: Traced, home: str, given: str) -> Iterator[str]:
    repeats = _broadcasts(x)
    if repeats and x.shape[-1] < SHORT and x.step.call is np.multiply:
        outer = _outer(x) if writer.gapless(x) else None
        if outer is not None:
            yield _outer_products(writer, x, home, *outer)
        else:
            yield f"np.einsum({_letters(writer, x)}, out={home})"
        return
    text = f"{writer.called(x.step.call)}({given}, out={home})"
    if repeats and SHORT <= x.shape[-1] < ROW:
        yield from (f"_size = np.setbufsize({SMALL})", text, "np.setbufsize(_size)")
    else:
        yield text


def _broadcasts(x: Traced) -> bool:
    """Whether two arrays are combined of which at least one is repeated."""
    args = x.step.args
    if x.size < BROADCAST or x.step.call is np.matmul or len(args) != 2 or 1 in x.shape:
        return False
    if not all(isinstance(arg, Traced) and arg.size > 1 for arg in args):
        return False
    return any(arg.shape != x.shape for arg in args)


def _outer(x: Traced) -> tuple[int, int] | None:
    """How many outer products the product ``x`` is, and which operand holds their columns; None if
    it is none.

    Both vary along the first axes, one alone along those that follow, the other alone along the
    last.
    """
    full = [(1,) * (x.ndim - arg.ndim) + arg.shape for arg in x.step.args]
    for column, row in ((0, 1), (1, 0)):
        u, w = full[column], full[row]
        first = next((k for k, n in enumerate(w) if n != x.shape[k]), x.ndim)
        if (
            u == (*x.shape[:-1], 1)
            and w == (*x.shape[:first], *(1,) * (x.ndim - 1 - first), x.shape[-1])
            and first < x.ndim - 1
        ):
            many = math.prod(x.shape[:first])
            return (many, column) if x.size // many >= EACH else None
    return None


def _outer_products(writer: Storage, x: Traced, home: str, many: int, column: int) -> str:
    """One outer product for each of ``many``: a matrix product with one inner index runs at the
    speed of writing.
    """
    width = x.shape[-1]
    rows = x.size // many // width
    columns = _list(writer, x.step.args[column], (many, rows, 1))
    right = _list(writer, x.step.args[1 - column], (many, width, 1))
    out = writer.hoisted(f"[c.T for c in {home}.reshape({many}, {rows}, {width})]")
    return (
        f"for _a, _b, _c in zip({columns}, {right}, {out}): "
        "blas.dgemm(1.0, _b, _a, 0.0, _c, trans_b=1, overwrite_c=1)"
    )


def _list(writer: Storage, x: Traced, shape: tuple[int, ...]) -> str:
    """The matrices of ``x`` in another shape, one after another; made once of a buffer."""
    text = f"{writer.operand(x).within(ATOM)}.reshape{shape}"
    stays = (writer.in_buffer(x) or writer.in_place(x)) and writer.in_order(x)
    return writer.hoisted(f"list({text})") if stays else text


def _letters(writer: Storage, x: Traced) -> str:
    """A product that broadcasts, for ``np.einsum``: axes of size 1 have no letter."""
    subscripts, operands = [], []
    for arg in x.step.args:
        own = range(x.ndim - arg.ndim, x.ndim)
        kept = [k for k, n in zip(own, arg.shape, strict=True) if n == x.shape[k] != 1]
        subscripts.append("".join(chr(ord("a") + k) for k in kept))
        operands.append(_squeezed(writer, arg, [x.shape[k] for k in kept]))
    out = "".join(chr(ord("a") + k) for k in range(x.ndim) if x.shape[k] != 1)
    return f"'{','.join(subscripts)}->{out}', {', '.join(operands)}"


def _squeezed(writer: Storage, x: Traced, sizes: list[int]) -> str:
    """The text of ``x`` without its axes of size 1."""
    while x.step.call is np.reshape and [n for n in x.step.args[0].shape if n != 1] == sizes:
        x = x.step.args[0]
    if list(x.shape) == sizes:
        return writer.operand(x).text
    view = f"{writer.operand(x).within(ATOM)}.reshape({', '.join(map(str, sizes))})"
    return writer.hoisted(view) if writer.in_buffer(x) else view


# --- products -----------------------------------------------------------------------------


def _flat_product(writer: Storage, x: Traced) -> bool:
    """Whether ``np.dot`` does it: no stacks, and a result without gaps."""
    return max(np.ndim(arg) for arg in x.step.args) <= 2 and x.number not in writer.places


def _added(writer: Storage, x: Traced, home: str, args: list[str]) -> Iterator[str]:
    """A matrix, or a multiple of it, and a product on top of it."""
    scale = x.step.args[3]
    if x.step.call is AddOuter and scale != 1.0 and x.size >= BLOCKED:
        yield _in_blocks(writer, x, home, args)
        return
    if scale != 1.0:
        yield f"np.multiply({number(scale)}, {args[0]}, out={home})"
    elif args[0] != home:
        yield f"np.copyto({home}, {args[0]})"
    yield _on_top(writer, x, home)


def _in_blocks(writer: Storage, x: Traced, home: str, args: list[str]) -> str:
    """The same block by block: each is added to while it is in the cache."""
    column, row = (_vector(writer, arg) for arg in x.step.args[1:3])
    rows = max(1, BLOCKED // x.shape[1])
    one = f"_k : _k + {rows}"
    return (
        f"for _k in range(0, {x.shape[0]}, {rows}): "
        f"blas.dger(1.0, {row}, {column}[{one}], overwrite_a=1, "
        f"a=np.multiply({number(x.step.args[3])}, {args[0]}[{one}], out={home}[{one}]).T)"
    )


def _on_top(writer: Storage, x: Traced, home: str) -> str:
    """A product that BLAS adds to what stands in ``home`` (its transpose is in Fortran order)."""
    _, left, right, _ = x.step.args
    turned = writer.hoisted(f"{home}.T")
    if x.step.call is AddOuter:
        column, row = (_vector(writer, arg) for arg in (left, right))
        return f"blas.dger(1.0, {row}, {column}, a={turned}, overwrite_a=1)"
    (b, trans_a), (a, trans_b) = writer.turned(right), writer.turned(left)
    flags = "".join(f", trans_{k}=1" for k, t in (("a", trans_a), ("b", trans_b)) if t)
    return f"blas.dgemm(1.0, {b}, {a}, beta=1.0, c={turned}, overwrite_c=1{flags})"


def _vector(writer: Storage, x: Traced) -> str:
    """A vector of what has one axis that is not of size 1."""
    if x.step.call is np.reshape and len(np.shape(x.step.args[0])) == 1:
        return writer.operand(x.step.args[0]).text
    text = writer.operand(x)
    return text.text if x.ndim == 1 else f"{text.within(ATOM)}.reshape(-1)"


# --- entries by position ------------------------------------------------------------------


def _table(x: Traced) -> tuple[int, Any] | None:
    """The axis and the table of ``x`` where it picks whole slices by one table that is known."""
    if x.step.call != "getitem" or x.step.view or len(x.step.args) != 2:
        return None
    table, plan = x.step.args[1], x.step.params["key"]
    if isinstance(table, Traced) or table.dtype.kind != "i" or table.ndim != 1:
        return None
    axis = next(k for k, item in enumerate(plan) if isinstance(item, tuple))
    others = [item for k, item in enumerate(plan) if k != axis]
    if any(not isinstance(item, slice) or item != slice(None) for item in others):
        return None
    return axis, table


def _taken(writer: Storage, x: Traced, home: str) -> str:
    """Entries at the positions of a table, which are known to be in range."""
    axis, table = _table(x) or (0, np.zeros(0, np.intp))
    source = x.step.args[0]
    text = writer.operand(source)
    places = writer.constant(_positive(writer, table, source.shape[axis]))
    if axis == 0 and writer.long_inside(x) and x.number in writer.buffers:
        order = ", ".join(map(str, (*range(1, source.ndim), 0)))
        view = f"{text.within(ATOM)}.transpose({order})"
        inner = ", ".join(map(str, (*x.shape[1:], x.shape[0])))
        home = writer.hoisted(f"{writer.buffers[x.number]}.reshape({inner})")
        text, axis = (
            Text(writer.hoisted(view) if writer.in_buffer(source) else view, ATOM),
            x.ndim - 1,
        )
    return f'np.take({text.text}, {places.text}, {axis}, {home}, "clip")'


def _positive(writer: Storage, table: Any, size: int) -> Any:
    """The table with positions counted from the front; one array for each table."""
    key = (id(table), size)
    if key not in writer.tables:
        writer.tables[key] = np.where(table < 0, table + size, table).astype(np.intp)
    return writer.tables[key]


# --- arguments ----------------------------------------------------------------------------


def _axis(params: Any) -> str:
    axis = params["axis"]
    one = isinstance(axis, tuple) and len(axis) == 1
    text = f"axis={axis[0] if one else axis}"
    if params["keepdims"]:
        text += ", keepdims=True"
    if "initial" in params:
        text += f", initial={number(params['initial'])}"
    return text


def slice_text(item: Any) -> str:
    """A slice as it stands between brackets."""
    parts = (item.start, item.stop, item.step)
    return ":".join("" if n is None else str(n) for n in parts)
