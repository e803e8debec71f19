"""Submissions in Python: a function for each claim, run in a child process with limits.

The file is read as a syntax tree to learn its functions and what they take, without running it.
It runs in one child process for each :meth:`PythonDerivation.evaluate`, with a limit on time and,
where the system has such limits (not on Windows), on memory and on the size of files; the child
and what it started are killed at the end.  What comes back is read as numbers, never unpickled.

This is a limit and not a sandbox: the code can read and write what the user who runs it can.
Run the submissions of people you do not trust in a container or under another account.
"""

from __future__ import annotations

import ast
import json
import math
import re
import stat
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphengine.derivation import Claim, Derivation, Found, Point
from graphengine.errors import GraphEngineError, SpecError, SubmissionError, nearest
from graphengine.files import yaml_text
from graphengine.files.arrays import read_npy
from graphengine.formula.budget import readable
from graphengine.graph import Graph
from graphengine.jacobian import Layout
from graphengine.ops.base import Array
from graphengine.submission.child import run_limited
from graphengine.submission.scratch import scratch_folder

__all__ = ["PythonDerivation"]

TIME_LIMIT = 10.0
"""Seconds for all functions at all points, the start of Python included."""
MEMORY_LIMIT = 2 << 30
"""Bytes of address space of the child process."""
OUTPUT_LIMIT = 256 << 20
"""Bytes of one returned array."""
_RUNNER = Path(__file__).with_name("runner.py")


class Step(NamedTuple):
    """One call: the function's name, the names of its arguments, whether it is a claim."""

    name: str
    arguments: tuple[str, ...]
    claim: Claim | None
    line: int


class PythonDerivation(Derivation):
    """Claims as functions ``d<of>_d<wrt>`` of a Python file.

    The arguments of a function are named after nodes of the graph, letters of sizes, or earlier
    functions of the file, whose value they then have; a parameter with a default value and another
    name keeps its default.  ``layout = "denominator"`` at the top level chooses that layout.
    ``printed`` holds what the last run printed.
    """

    def __init__(
        self,
        path: Path,
        text: str,
        steps: Sequence[Step],
        layout: Layout,
        *,
        time_limit: float = TIME_LIMIT,
        memory_limit: int = MEMORY_LIMIT,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        self.path, self.text, self.layout = path, text, layout
        self.steps = tuple(steps)
        self.claims = tuple(step.claim for step in self.steps if step.claim is not None)
        self.time_limit, self.memory_limit = time_limit, memory_limit
        self.output_limit = output_limit
        self.printed = ""

    @classmethod
    def load(
        cls,
        path: str | Path,
        graph: Graph,
        sizes: Iterable[str] = (),
        *,
        time_limit: float = TIME_LIMIT,
        memory_limit: int = MEMORY_LIMIT,
    ) -> PythonDerivation:
        """Read the functions of a file without running it.

        Raises :class:`SubmissionError` with ``file:line:column`` for a file that is no Python,
        for functions whose arguments are unknown, and where no function is a claim.
        """
        path = Path(path)
        try:
            text = yaml_text.read_text(path)
        except SpecError as error:
            raise SubmissionError(
                error.where, expected=error.expected, got=error.got, hint=error.hint
            ) from None
        tree = _tree(path, text)
        steps = _Functions(path, tree, graph, set(sizes)).steps()
        return cls(
            path,
            text,
            steps,
            _layout(path, tree),
            time_limit=time_limit,
            memory_limit=memory_limit,
        )

    def evaluate(self, points: Sequence[Point]) -> list[Found]:
        """Run the functions at all points, in one child process; see the module's text.

        A function that raises, returns no real numbers, or is not reached within the limits has a
        :class:`SubmissionError` with the file and the line in place of its value.
        """
        with scratch_folder() as folder:
            self._write(folder, points)
            command = [sys.executable, "-I", "-B", str(_RUNNER), str(folder)]
            ending, self.printed = run_limited(command, folder, self.time_limit, self.memory_limit)
            return self._read(folder, len(points), ending)

    # --- the job --------------------------------------------------------------------------

    def _write(self, folder: Path, points: Sequence[Point]) -> None:
        (folder / "submission.py").write_text(self.text, "utf-8", newline="\n")
        used = {name for step in self.steps for name in step.arguments}
        for number, point in enumerate(points):
            arrays: dict[str, Any] = {
                f"v_{name}": np.asarray(point.values[name], dtype=np.float64)
                for name in used
                if name in point.values
            }
            np.savez(folder / f"point{number}.npz", **arrays)
        job = {
            "steps": [(s.name, s.arguments, s.claim is not None) for s in self.steps],
            "points": [dict(point.sizes) for point in points],
            "time_limit": self.time_limit,
            "memory_limit": self.memory_limit,
            "output_limit": self.output_limit,
        }
        (folder / "job.json").write_text(json.dumps(job), "utf-8")

    # --- what came back -------------------------------------------------------------------

    def _read(self, folder: Path, points: int, ending: str) -> list[Found]:
        lines = list(_log(folder / "log.jsonl"))
        for line in lines:
            if line.get("kind") == "file":
                error = self._error(line, 0)
                return [{claim.name: error for claim in self.claims} for _ in range(points)]
        ended = {_key(line): line for line in lines if line.get("kind") == "end"}
        started = {_key(line) for line in lines if line.get("kind") == "start"}
        found: list[Found] = []
        for point in range(points):
            values: Found = {}
            for place, step in enumerate(self.steps):
                if step.claim is None:
                    continue
                end = ended.get((point, place))
                file = folder / f"r{point}_{place}.npy"
                if end is None:
                    running = (point, place) in started or (not started and not lines)
                    values[step.claim.name] = self._unfinished(step, ending, running=running)
                elif "error" in end:
                    values[step.claim.name] = self._error(end, step.line)
                else:
                    values[step.claim.name] = self._array(file, step)
            found.append(values)
        return found

    def _error(self, line: Mapping[str, Any], start: int) -> SubmissionError:
        where = line.get("line") or start
        text = _printable(line.get("error"))
        hint = ""
        if text.startswith("MemoryError"):
            hint = f"the memory limit is {readable(self.memory_limit)}"
        elif text.startswith("OSError: [Errno 27]"):
            hint = f"files may have {readable(self.output_limit)}"
        returned = line.get("returned") is True
        return SubmissionError(
            f"{self.path}:{where}" if isinstance(where, int) and where else str(self.path),
            expected="an array of real numbers" if returned else "a value",
            got=text,
            hint=hint,
        )

    def _unfinished(self, step: Step, ending: str, *, running: bool) -> SubmissionError:
        last = [line for line in _printable(self.printed[-300:], newlines=True).split("\n") if line]
        return SubmissionError(
            f"{self.path}:{step.line}",
            expected="a value",
            got=f"none: {'it' if running else 'before it, the program'} {ending or 'ended'}",
            hint=f"it printed: {last[-1][:120]}" if last and running else "",
        )

    def _array(self, file: Path, step: Step) -> Array | GraphEngineError:
        where = f"{self.path}:{step.line}"
        try:
            status = file.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > self.output_limit + 1024:
                raise SubmissionError(where, expected="an array", got="another file in its place")
            with file.open("rb") as opened:
                return read_npy(opened, status.st_size, where)
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            return SubmissionError(where, expected="an array", got=_printable(str(error)))
        except GraphEngineError as error:
            return SubmissionError(error.where, expected=error.expected, got=error.got)


def _log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the child's log that are what they should be."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return
        with path.open("rb") as file:
            data = file.read(16 << 20)
    except OSError:
        return
    for line in data.split(b"\n"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def _key(line: Mapping[str, Any]) -> tuple[Any, Any]:
    point, step = line.get("point"), line.get("step")
    return (point, step) if isinstance(point, int) and isinstance(step, int) else (None, None)


def _printable(text: Any, *, newlines: bool = False) -> str:
    """Text without what would steer a terminal."""
    return "".join(
        c if c.isprintable() or (newlines and c == "\n") else "�" for c in str(text)[:300]
    )


# --- reading the file ---------------------------------------------------------------------


def _tree(path: Path, text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        raise SubmissionError(
            f"{path}:{error.lineno or 1}:{error.offset or 1}",
            expected="Python",
            got=_printable(error.msg),
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        got = _printable(error) or type(error).__name__
        raise SubmissionError(str(path), expected="Python", got=got) from None


def _layout(path: Path, tree: ast.Module) -> Layout:
    found: Layout = "numerator"
    for part in tree.body:
        targets = part.targets if isinstance(part, ast.Assign) else []
        targets = [part.target] if isinstance(part, ast.AnnAssign) else targets
        if not any(isinstance(one, ast.Name) and one.id == "layout" for one in targets):
            continue
        assert isinstance(part, (ast.Assign, ast.AnnAssign))
        value = part.value.value if isinstance(part.value, ast.Constant) else None
        if value not in {"numerator", "denominator"}:
            raise SubmissionError(
                f"{path}:{part.lineno}:{part.col_offset + 1}",
                expected='layout = "numerator" or layout = "denominator"',
                got=_printable(ast.unparse(part))[:60],
            )
        found = "denominator" if value == "denominator" else "numerator"
    return found


class _Functions:
    """The functions of a file: which are claims, and what each takes.

    A function whose name looks like a claim's, but not with two nodes, is a mistake unless the
    file uses it.
    """

    def __init__(self, path: Path, tree: ast.Module, graph: Graph, sizes: set[str]) -> None:
        self.path, self.graph, self.sizes = path, graph, sizes
        self.found: dict[str, ast.FunctionDef] = {}
        for part in tree.body:
            if isinstance(part, ast.AsyncFunctionDef):
                raise self.error(part, "def", f"async def {part.name}")
            if isinstance(part, ast.FunctionDef):
                if part.name in self.found:
                    raise self.error(part, "each function once", f"{part.name} again")
                self.found[part.name] = part
        self.order = {name: place for place, name in enumerate(self.found)}
        walked = list(ast.walk(tree))
        self.used = {part.id for part in walked if isinstance(part, ast.Name)}
        self.used |= {part.arg for part in walked if isinstance(part, ast.arg)}

    def error(self, part: ast.AST, expected: str, got: str, hint: str = "") -> SubmissionError:
        where = f"{self.path}:{getattr(part, 'lineno', 1)}:{getattr(part, 'col_offset', 0) + 1}"
        return SubmissionError(where, expected=expected, got=got, hint=hint)

    def steps(self) -> list[Step]:
        """The claims and what they need, in the order of the file."""
        claims = {name: self.claim(part) for name, part in self.found.items()}
        needed = [name for name, claim in claims.items() if claim is not None]
        if not needed:
            raise SubmissionError(
                f"{self.path}:1:1",
                expected="functions d<of>_d<wrt>, such as dJ_dW(x, W)",
                got=f"the functions {', '.join(self.found)}"[:200] if self.found else "none",
            )
        taken: dict[str, tuple[str, ...]] = {}
        while needed:
            name = needed.pop()
            if name not in taken:
                taken[name] = tuple(self.arguments(self.found[name]))
                needed += [one for one in taken[name] if one in self.found]
        return [
            Step(name, taken[name], claims[name], self.found[name].lineno)
            for name in sorted(taken, key=self.order.__getitem__)
        ]

    def claim(self, part: ast.FunctionDef) -> Claim | None:
        """The claim that a function makes by its name, if it does."""
        name = part.name
        if name in self.graph or name in self.sizes:
            raise self.error(part, "a name that no node or size has", name, f"write {name}_")
        splits = [
            (name[1 : found.start()], name[found.end() :])
            for found in re.finditer("(?=_d)..", name)
        ]
        splits = [(of, wrt) for of, wrt in splits if of and wrt] if name[:1] == "d" else []
        fitting = [(of, wrt) for of, wrt in splits if of in self.graph and wrt in self.graph]
        place = f"{self.path}:{part.lineno}:{part.col_offset + 1}"
        if len(fitting) == 1:
            return Claim(*fitting[0], source=name, place=place)
        if fitting:
            both = " and ".join(f"{of}/{wrt}" for of, wrt in fitting)
            raise self.error(part, "one claim", f"{name}, which reads as {both}")
        for of, wrt in splits if name not in self.used else ():
            for known, other in ((of, wrt), (wrt, of)):
                near = nearest(other, self.graph.named)
                if known in self.graph or (near and nearest(known, self.graph.named)):
                    raise self.error(
                        part,
                        "d<of>_d<wrt> with two nodes",
                        f"{name}, where {other!r} is no node",
                        near,
                    )
        return None

    def arguments(self, part: ast.FunctionDef) -> Iterator[str]:
        """The names that a function's arguments stand for, those in place before those by name."""
        given = part.args
        if given.vararg or given.kwarg or given.kwonlyargs:
            raise self.error(part, "arguments by place", f"{part.name} with *, *args or **kwargs")
        places = [*given.posonlyargs, *given.args]
        optional = len(places) - len(given.defaults)
        for place, argument in enumerate(places):
            name = argument.arg
            earlier = self.order.get(name, math.inf) < self.order[part.name]
            if earlier or name in self.graph or name in self.sizes:
                yield name
            elif place >= optional:
                return  # it and those after it keep their default values
            else:
                known = [*self.graph.named, *self.sizes, *self.found]
                later = name in self.found
                raise self.error(
                    argument,
                    "the name of a node, a size or an earlier function",
                    f"{name!r}{', a later function' if later else ''}",
                    "move it up" if later else nearest(name, known),
                )
