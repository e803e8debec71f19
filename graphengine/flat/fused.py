"""Flat code with compiled loops: ``graph.compile(..., fused=True)``.

From the same tape as the plain program: calls entry by entry on arrays of one shape become one
loop, long rows of calls on numbers one function, which numba compiles (S. K. Lam, A. Pitrou and
S. Seibert, "Numba: a LLVM-based Python JIT compiler", LLVM-HPC 2015).  Everything else stays a call
of NumPy.  numba comes with ``pip install graphengine[fast]``.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from graphengine.errors import GraphEngineError
from graphengine.flat.buffers import BufferedWriter
from graphengine.flat.fused_arrays import Memory, arrays_text
from graphengine.flat.fused_groups import Loop, Taken, grouped
from graphengine.flat.fused_math import TEXTS, USES
from graphengine.flat.fused_numbers import Kernel, numbers_text
from graphengine.flat.program import Line, Program, Writer
from graphengine.flat.recording import Recorded
from graphengine.flat.writing import ATOM, Text, is_number
from graphengine.tracing import Traced

__all__ = ["FusedWriter", "loops", "require_numba"]


def require_numba() -> Any:
    """The module, or the package's own error that says where it comes from."""
    try:
        import numba  # noqa: PLC0415 (an extra)
    except ImportError:
        raise GraphEngineError(
            "fused=True",
            expected="numba",
            got="no module of that name",
            hint="pip install graphengine[fast]",
        ) from None
    return numba


class Helper(NamedTuple):
    """A function that loops call, by its text alone."""

    text: str


class FusedWriter(BufferedWriter):
    """A :class:`BufferedWriter` with loops.

    Without ``reuse`` the arrays are made in each call.  What loops keep for themselves is made
    once: a loop holds the interpreter's lock.
    """

    def __init__(self, recorded: Recorded, name: str, *, reuse: bool) -> None:
        require_numba()
        program, checked = grouped(recorded)
        super().__init__(program, name.lstrip("_- "))  # loops call functions with such names
        self.checked = checked
        self.reuse = reuse
        self.once: list[str] = []
        self.vectors: dict[str, str] = {}

    @staticmethod
    def can_fill(x: Traced) -> bool:
        """Whether the call can write its result into an array that is given."""
        if isinstance(x.step.call, Taken):
            return not is_number(x)
        return BufferedWriter.can_fill(x)

    def long_inside(self, x: Traced) -> bool:
        """No: loops run along the last axis."""
        del x
        return False

    def write(self) -> Program:
        """The whole program."""
        program = super().write()
        if not self.reuse:
            program.lines[:0] = [Line(text, 0) for text in program.setup]
            program.setup.clear()
        program.setup[:0] = self.once
        if len(program.lines) == 1:  # returned as it comes, in numbers of the right kind
            names, _, called = program.lines[0].text.partition(" = ")
            if called and program.returned in {names, f"({names})"}:
                program.lines.clear()
                program.returned, program.witness = called, ""
        return program

    def finish(self) -> None:
        """What is returned: buffers, or results that share nothing."""
        if self.reuse:
            super().finish()
        else:
            Writer.finish(self)

    def call(self, x: Traced) -> None:
        """One call, or a loop with all that is taken of it."""
        loop = x.step.call
        if not isinstance(loop, Loop):
            super().call(x)
            return
        outs = [
            self.tape.results[k]
            for k in self.needed
            if isinstance(self.tape.steps[k].call, Taken) and self.tape.steps[k].args[0] is x
        ]
        if loop.shape == ():
            self.numbers(x, loop, outs)
        else:
            self.arrays(x, loop, outs)
        self.release(x.number)

    # --- numbers ----------------------------------------------------------------------------

    def numbers(self, x: Traced, loop: Loop, outs: list[Traced]) -> None:
        """Calls on numbers: a function that takes and returns numbers."""
        kernel = numbers_text(
            self.names.numbered("_loop"), loop, [arg.dtype.kind for arg in x.step.args]
        )
        args = [self.operand(arg).text for arg in x.step.args]
        if kernel.packed:
            args = [f"np.array(({', '.join(args)},), float)"]
        args += self._kept(kernel)
        names = [self._name(out) for out in outs]
        if kernel.listed:
            listed = self.names.numbered("list")
            room = self.names.numbered("w")
            self.once.append(f"{room} = np.empty({len(outs)})")
            self.line(f"{kernel.name}({', '.join([*args, room])})", x)
            self.line(f"{listed} = {room}.tolist()", x)
            names = [f"{listed}[{k}]" for k in range(len(outs))]
        else:
            self.line(f"{', '.join(names)} = {kernel.name}({', '.join(args)})", x)
        for taken, name in zip(outs, names, strict=True):
            self.texts[taken.number] = Text(name, ATOM)
        self._add(kernel)

    def _name(self, x: Traced) -> str:
        name = self.recorded.names.get(x.number)
        return self.names.new(name) if name else self.names.numbered("t")

    def _kept(self, kernel: Kernel) -> list[str]:
        """What the function is called with at the end: tables of numbers, room to keep some."""
        found = [self.constant(table).text for table in kernel.tables.values()]
        for size in kernel.rooms.values():
            room = self.names.numbered("w")
            self.once.append(f"{room} = np.empty({size})")
            found.append(room)
        return found

    def _add(self, kernel: Kernel) -> None:
        for name in _in_order(kernel.helpers):
            self.program.functions.setdefault(name, Helper(TEXTS[name]))
        self.program.functions[kernel.name] = kernel

    # --- arrays -----------------------------------------------------------------------------

    def arrays(self, x: Traced, loop: Loop, outs: list[Traced]) -> None:
        """Calls on arrays: a function that fills arrays."""
        args: list[str] = []
        given: list[Memory | str] = []
        for arg in x.step.args:
            text, memory = self._given(arg, loop.shape)
            args.append(text)
            given.append(memory)
        homes = []
        for out in outs:
            text, memory = self._home(out)
            args.append(text)
            homes.append(memory)
        kernel = arrays_text(self.names.numbered("_loop"), loop, given, homes)
        called = f"({', '.join([*args, *self._kept(kernel)])})"
        if kernel.text.startswith("def "):  # with sines
            self.line(f"if {kernel.name}{called}:", x)
            self.line(f"    {kernel.name}_far{called}", x)
        else:
            self.line(f"{kernel.name}{called}", x)
        self._add(kernel)

    def _given(self, arg: Any, shape: tuple[int, ...]) -> tuple[str, Memory | str]:
        """An operand's text, and where its entries are, or the kind of a number."""
        kind = arg.dtype.kind
        if not isinstance(arg, Traced):
            return self._flat(arg), _memory(kind, _bytes(arg.shape), shape)._replace(ndim=1)
        if is_number(arg):
            return self.operand(arg).text, kind
        root = self.roots[arg.number]
        base = _bytes(root.shape)
        view = _view(arg, root, base)
        if view is None:
            return self._copied(arg), _memory(kind, _bytes(arg.shape), shape)
        memory = _memory(kind, view, shape, base)
        if root.number in self.buffers:
            return self.buffers[root.number], memory._replace(ndim=1)
        if root.step.call is None:
            name = self.texts[root.number].text
            self.program.in_order.add(name)
            return name, memory
        return self._copied(root), memory

    def _copied(self, x: Traced) -> str:
        """The text of an array that may have gaps, without them."""
        return f"np.ascontiguousarray({self.operand(x).text}, np.{x.dtype.name})"

    def _flat(self, array: Any) -> str:
        """A name for a constant array as a vector without gaps."""
        constant = self.constant(array).text
        if constant not in self.vectors:
            name = self.vectors[constant] = self.names.numbered("v")
            self.once.append(f"{name} = np.ascontiguousarray({constant}).reshape(-1)")
        return self.vectors[constant]

    def _home(self, x: Traced) -> tuple[str, Memory]:
        """Where a result goes: to its places in a matrix's data, or into a buffer."""
        place = self.places.get(x.number)
        if place is None:
            self.texts[x.number] = Text(self.buffer(x), ATOM)
            memory = _memory(x.dtype.kind, _bytes(x.shape), x.shape)
            return self.buffers[x.number], memory._replace(ndim=1)
        self.texts[x.number] = Text(self.place(*place), ATOM)
        matrix, places = place
        data, turned = self.data(matrix), self._turned.get(matrix.number)
        if turned is not None:
            data, places = turned, matrix.step.call.turned(places)
        return data, Memory("f", 1, places.offset, places.strides)


# --- places -------------------------------------------------------------------------------


def _memory(kind: str, view: Any, shape: tuple[int, ...], base: Any = None) -> Memory:
    """Where the entries of a view of ``base`` are, by the axes of a loop over ``shape``.

    The arrays stand for the real ones, with one byte for each entry.
    """
    whole = view if base is None else base
    offset = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return Memory(kind, whole.ndim, offset, np.broadcast_to(view, shape).strides)


def _bytes(shape: tuple[int, ...]) -> Any:
    return np.empty(shape, np.int8)


def _view(x: Traced, root: Traced, base: Any) -> Any:
    """The view of ``base`` that ``x`` is of ``root``; None where it is none."""
    steps = []
    while x is not root:
        steps.append(x.step)
        x = x.step.args[0]
    view = base
    for step in reversed(steps):
        if step.call is np.reshape:
            view = view.reshape(step.params["shape"])
        elif step.call is np.transpose:
            view = view.transpose(step.params["axes"])
        elif step.call is np.broadcast_to:
            view = np.broadcast_to(view, step.params["shape"])
        elif step.call is np.diagonal:
            view = np.diagonal(view, **step.params)
        elif step.call == "getitem":
            view = view[step.params["key"]]
        else:
            return None
    return view if np.may_share_memory(view, base) else None


# --- compiling ----------------------------------------------------------------------------


def loops(program: Program) -> dict[str, Any]:
    """The compiled functions of a program by name."""
    found: dict[str, Any] = {}
    for name, function in program.functions.items():
        if isinstance(function, Kernel):
            found |= _compiled(name, function.text, function.signature)
    return found


@lru_cache(maxsize=512)
def _compiled(name: str, text: str, signature: str) -> dict[str, Any]:
    """The function of a text, compiled for these types, and the one for large arguments, which is
    compiled when it is called.
    """
    namespace = dict(_helpers())
    exec(text, namespace)  # noqa: S102 (the text is the project's own)
    function = namespace[name]
    function.compile(signature)
    (found,) = function.overloads.values()
    far = f"{name}_far"
    # The entry point looks at no types: programs call it with what they have checked.
    return {name: found.entry_point} | ({far: namespace[far]} if far in namespace else {})


@cache
def _helpers() -> dict[str, Any]:
    """What the texts of loops use."""
    namespace: dict[str, Any] = {"np": np, "math": math, "numba": require_numba()}
    for text in TEXTS.values():
        exec(text, namespace)  # noqa: S102 (the text is the project's own)
    return namespace


def _in_order(names: list[str]) -> list[str]:
    """Functions with those that they call."""
    found = set(names)
    for name in reversed(TEXTS):
        if name in found:
            found.update(USES[name])
    return [name for name in TEXTS if name in found]
