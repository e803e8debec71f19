"""From a tape to a program: which calls are needed, what they are called, in which lines."""

from __future__ import annotations

import itertools
import keyword
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from graphengine.flat.filling import Fill, Strided, Target
from graphengine.flat.merging import merge_sums, needed, unguarded
from graphengine.flat.recording import Part, Recorded
from graphengine.flat.writing import ATOM, Text, expression, is_number, needs_names, number
from graphengine.tracing import Traced, warns

__all__ = ["Line", "Program", "Writer"]

WIDTH = 92
"""Longer expressions are cut into several lines."""


class Line(NamedTuple):
    """One statement, and the section of the tape that it belongs to."""

    text: str
    section: int


@dataclass
class Program:
    """A function's text in its parts."""

    name: str
    inputs: Mapping[str, Traced]
    """The arguments' names and shapes."""
    setup: list[str] = field(default_factory=list)
    """Statements that run once: buffers, and views of them."""
    lines: list[Line] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    """The text of each result."""
    returned: str = "()"
    constants: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, Any] = field(default_factory=dict)
    sections: Sequence[Any] = ()
    in_order: set[str] = field(default_factory=set)
    """Inputs that are to be arrays without gaps."""
    warns: bool = False
    """Whether a call may warn of what its result shows: an infinity, or no number."""
    given: Sequence[str] = ()
    """What the arguments are called outside: names that the text needs for itself are taken too."""
    witness: str = ""
    """A result of a program of numbers: it is a float if they all were."""

    @property
    def numbers_alone(self) -> bool:
        """Whether there is no array among the inputs: then they are taken as they come."""
        return all(x.shape == () for x in self.inputs.values())

    # --- text -------------------------------------------------------------------------------

    def checks(self) -> Iterator[str]:
        """Statements that turn the inputs into arrays of the right shape."""
        if self.numbers_alone:
            return
        for name, x in self.inputs.items():
            if x.shape == ():
                yield f"{name} = float({name})"
            else:
                yield f"if {name}.__class__ is not np.ndarray or {name}.dtype != float:"
                yield f"    {name} = _array({name})"
                yield f"if {name}.shape != {x.shape}:"
                said = f"{name}: expected shape {x.shape}, got {{{name}.shape}}"
                yield f'    raise ValueError(f"{said}")'
            if name in self.in_order:
                yield f"if not {name}.flags.c_contiguous:"
                yield f"    {name} = np.ascontiguousarray({name})"

    def body(self, *, comments: bool) -> Iterator[str]:
        """The statements, under comments that say what they compute."""
        section = 0
        for line in self.lines:
            if comments and line.section != section:
                said = comment(self.sections[line.section])
                if said:
                    yield said
                section = line.section
            yield line.text
        yield f"return {self.returned}"

    def function(self, *, comments: bool = False, guarded: bool = False) -> str:
        """The text of the function alone; ``guarded`` hands what fails to ``_otherwise``."""
        body = [*self.checks(), *self.body(comments=comments)]
        if guarded and self.witness:
            test = f"if {self.witness}.__class__ is not float:"
            body[-1:] = [test, '    raise TypeError("not a float")', body[-1]]
        if not self.numbers_alone and self.warns:
            checks = list(self.checks())
            inner = indented("\n".join(body[len(checks) :]))
            body = [*checks, 'with np.errstate(all="ignore"):', inner]
        if guarded:
            inner = indented("\n".join(body))
            given = ", ".join(self.inputs)
            body = ["try:", inner, "except _FAILED:", f"    return _otherwise({given})"]
        inner = ", ".join(f"{name}=None" for name in self.inputs)
        text = indented("\n".join(body)) + "\n"
        if tuple(self.given) == tuple(self.inputs):
            return f"def {self.name}({inner}):\n{text}"
        outer = ", ".join(f"{name}=None" for name in self.given)
        call = f"    return _{self.name}({', '.join(self.given)})\n"
        return f"def _{self.name}({inner}):\n{text}\n\ndef {self.name}({outer}):\n{call}"


def indented(text: str) -> str:
    """The lines of ``text``, none of which is empty, further to the right."""
    return "    " + text.replace("\n", "\n    ")


def comment(part: Part | None) -> str:
    """What a section computes, on one line."""
    if part is None:
        return ""
    if part.parent is None:
        text = f"{part.node.name} = {part.node.formula}" if part.node.named else part.node.formula
    else:
        text = f"∂{part.node.name}/∂{part.parent.name}: {part.notation()}"
    line = re.sub(r"\s+", " ", text)
    return "# " + (line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")


# --- names --------------------------------------------------------------------------------

_TAKEN = frozenset(
    {"np", "math", "scipy", "blas", "lapack", "numba", "base64", "zlib", "csr_array"}
    | {"float", "int", "bool", "abs", "list", "zip", "range"}
    | {"ValueError", "TypeError", "FloatingPointError"}
    | {"_array", "_csr", "_unpacked", "_size", "_FAILED", "_otherwise"}
)


class Names:
    """Names of a program, each given once."""

    def __init__(self) -> None:
        self._used = set(_TAKEN)
        self._counts: dict[str, itertools.count[int]] = {}

    def new(self, wish: str) -> str:
        """``wish`` as a name of Python, with a number where it is taken."""
        plain = wish
        if not (wish.isascii() and wish.isidentifier()):
            plain = re.sub(r"\W", "_", wish, flags=re.ASCII)
        if not plain or plain[0].isdigit() or plain.startswith("_"):
            plain = "v" + plain
        while plain in self._used or keyword.iskeyword(plain):
            count = self._counts.setdefault(wish, itertools.count(2))
            plain = f"{re.sub(r'[^A-Za-z0-9_]', '_', wish) or 'v'}_{next(count)}"
        self._used.add(plain)
        return plain

    def own(self, wish: str) -> str:
        """A name that begins with ``_``, as that of no node does."""
        name, count = f"_{wish}", itertools.count(2)
        while name in self._used:
            name = f"_{wish}_{next(count)}"
        self._used.add(name)
        return name

    def numbered(self, letter: str) -> str:
        """The next of ``t1``, ``t2`` and so on."""
        count = self._counts.setdefault(letter + "#", itertools.count(1))
        name = f"{letter}{next(count)}"
        while name in self._used:
            name = f"{letter}{next(count)}"
        self._used.add(name)
        return name


# --- lines --------------------------------------------------------------------------------


class Writer:
    """Writes the calls that results need, in their order: each is a statement, or stands inside
    the one statement that uses it.
    """

    def __init__(self, recorded: Recorded, name: str) -> None:
        self.recorded, self.tape = recorded, recorded.tape
        self.checked = unguarded(recorded.tape, recorded.results)
        merge_sums(recorded.tape, recorded.results)
        self.names = Names()
        inputs = {self.names.new(key): x for key, x in recorded.inputs.items()}
        self.program = Program(
            self.names.new(name or "graph"),
            inputs,
            sections=self.tape.sections,
            given=tuple(recorded.inputs),
        )
        if tuple(inputs) != self.program.given:
            self.names.own(self.program.name)  # of the function inside, with these arguments
        self.texts: dict[int, Text] = {
            x.number: Text(key, ATOM) for key, x in self.program.inputs.items()
        }
        self.needed = needed(recorded.results)
        self.program.warns = any(warns(self.tape.results[k]) for k in self.needed)
        self.uses = self._uses()
        self._constants: dict[int, str] = {}
        self._functions: dict[Any, str] = {}

    def _uses(self) -> Counter[int]:
        """How many calls and results use each number; those needed by name count twice."""
        found: Counter[int] = Counter()
        for k in self.needed:
            step = self.tape.steps[k]
            number_of_names = needs_names(step) and is_number(self.tape.results[k])
            weight = 2 if number_of_names else 1
            for arg in step.args:
                if isinstance(arg, Traced):
                    found[arg.number] += weight
        for x in self.recorded.results:
            if isinstance(x, Traced):
                found[x.number] += 1
        return found

    def write(self) -> Program:
        """The whole program."""
        for k in self.needed:
            if k not in self.texts:
                self.call(self.tape.results[k])
        self.check()
        self.finish()
        return self.program

    def call(self, x: Traced) -> None:
        """One call: as a statement where it has a name or is used several times."""
        if isinstance(x.step.call, Fill):
            self.fill(x, x.step.call)
            return
        text = self.expression(x)
        name = self.recorded.names.get(x.number)
        if x.step.view and name is None and len(text.text) < WIDTH // 2:
            self.texts[x.number] = text
            return
        if name is None and self.uses[x.number] == 1 and len(text.text) < WIDTH // 2:
            self.texts[x.number] = text
            return
        self.assign(x, text, name)

    def assign(self, x: Traced, text: Text, name: str | None) -> None:
        """A statement that gives ``x`` a name."""
        called = self.names.new(name) if name else self.names.numbered("t")
        self.program.lines.append(Line(f"{called} = {text.text}", x.step.section))
        self.texts[x.number] = Text(called, ATOM)

    def check(self) -> None:
        """Refuse results that are not numbers where zero may have met infinity on the way."""
        sums = [
            text if is_number(x) else f"{text}.sum()"
            for x in dict.fromkeys(self.checked)
            for text in [self.texts[x.number].within(ATOM)]
        ]
        if sums:
            x = self.checked[-1]
            self.line(f"if not math.isfinite({' + '.join(sums)}):", x)
            self.line('    raise FloatingPointError("zero times infinity, or a result that is")', x)

    def line(self, text: str, x: Traced) -> None:
        """One more statement, which belongs to ``x``."""
        self.program.lines.append(Line(text, x.step.section))

    def fill(self, x: Traced, fill: Fill) -> None:
        """The data of a matrix: an array for all of it, and each value written to its places."""
        data = self.names.numbered("data")
        made = f"np.empty({fill.size})"
        if fill.base is not None:
            made = f"{self.constant(fill.base).text}.copy()"
        self.line(f"{data} = {made}", x)
        for value, target in zip(x.step.args, fill.targets, strict=True):
            self.put(x, data, value, target)
        self.texts[x.number] = Text(data, ATOM)

    def put(self, x: Traced, data: str, value: Traced, target: Target) -> None:
        """One value written to its places in ``data``."""
        text, sign = self.texts[value.number].text, "+=" if target.adds else "="
        places = target.places
        if isinstance(places, np.ndarray):
            self.line(f"{data}[{self.constant(places).text}] {sign} {text}", x)
        else:
            self.line(f"{self.view(data, places)}[...] {sign} {text}", x)

    @staticmethod
    def view(data: str, places: Strided) -> str:
        """The view of ``data`` at evenly spaced places."""
        if places.whole:
            stop = places.offset + math.prod(places.shape)
            sizes = ", ".join(map(str, places.shape))
            flat = f"{data}[{places.offset}:{stop}]"
            return flat if len(places.shape) < 2 else f"{flat}.reshape({sizes})"
        strides = tuple(8 * n for n in places.strides)
        return f"np.ndarray({places.shape}, float, {data}, {8 * places.offset}, {strides})"

    def finish(self) -> None:
        """What is returned: results that share nothing with each other or with the inputs."""
        shown, seen = [], set()
        inputs = {x.number for x in self.recorded.inputs.values()}
        for x in self.recorded.results:
            if not isinstance(x, Traced):
                text = self.constant(np.asarray(x))
                shown.append(text.text if np.ndim(x) == 0 else f"{text.text}.copy()")
                continue
            root, locked = x, False
            while root.step.view:
                locked = locked or root.step.call in {np.broadcast_to, np.diagonal}  # read-only
                root = root.step.args[0]
            text = self.texts[x.number]
            shared = locked or root.number in inputs or root.number in seen
            seen.add(root.number)
            shown.append(f"{text.within(ATOM)}.copy()" if shared and x.shape else text.text)
        self.returns(shown)

    def returns(self, shown: list[str]) -> None:
        """Return these, or the one of them."""
        if self.program.numbers_alone:
            self.witness(shown)
        self.program.results = shown
        self.program.returned = shown[0] if len(shown) == 1 else "(" + ", ".join(shown) + ")"

    def witness(self, shown: list[str]) -> None:
        """Give a name to a result that shows whether all numbers were floats."""
        for k, x in enumerate(self.recorded.results):
            if isinstance(x, Traced) and is_number(x) and x.dtype.kind == "f":
                if not shown[k].isidentifier():
                    self.assign(x, Text(shown[k], ATOM), None)
                    shown[k] = self.texts[x.number].text
                self.program.witness = shown[k]
                return

    # --- parts of a line --------------------------------------------------------------------

    def expression(self, x: Traced) -> Text:
        """The text of the call that makes ``x``."""
        return expression(x, [self.operand(arg) for arg in x.step.args], self.called)

    def operand(self, arg: Any) -> Text:
        """The text of an argument: a name, an expression that stands inside, a constant."""
        if isinstance(arg, Traced):
            return self.texts[arg.number]
        if isinstance(arg, np.ndarray):
            return self.constant(arg)
        if isinstance(arg, str):
            return Text(repr(arg), ATOM)
        text = number(arg)
        return Text(text, ATOM if not text.startswith("-") else ATOM - 2)

    def constant(self, array: Any) -> Text:
        """The name of a constant array; a number as it is."""
        if array.ndim == 0:
            return self.operand(array.item())
        name = self._constants.get(id(array))
        if name is None:
            name = self._constants[id(array)] = self.names.numbered("c")
            self.program.constants[name] = array
        return Text(name, ATOM)

    def called(self, function: Any) -> str:
        """The name of a function in the program."""
        if isinstance(function, str):
            return self._own(_placed) if function == "placed" else f"np.{function}"
        if isinstance(function, np.ufunc):
            return _ufunc(function)
        module = getattr(function, "__module__", "") or ""
        if module.startswith("numpy"):
            return ("np.linalg." if "linalg" in module else "np.") + str(function.__name__)
        return self._own(function)

    def _own(self, function: Any) -> str:
        if function not in self._functions:
            given = getattr(function, "__name__", type(function).__name__).lstrip("_")
            name = self._functions[function] = self.names.own(given)
            self.program.functions[name] = function
        return self._functions[function]


def _ufunc(function: np.ufunc) -> str:
    name = function.__name__
    return f"np.{name}" if getattr(np, name, None) is function else f"scipy.special.{name}"


def _placed(values: Any, shape: Any, key: Any) -> Any:
    """Zeros with ``values`` at ``key``."""
    whole = np.zeros(shape)
    whole[key] = values
    return whole
