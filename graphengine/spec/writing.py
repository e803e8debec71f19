"""Specs written as YAML: what was written is loaded and compared before it takes its place."""

from __future__ import annotations

import json
import math
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphengine.derivation import FormulaDerivation
from graphengine.errors import GraphEngineError, SpecError
from graphengine.files import yaml_text
from graphengine.formula.source import MAX_LENGTH
from graphengine.graph import Node
from graphengine.ops.base import ATOM, SIGN, Array, Written
from graphengine.ops.rearrangement import Alias
from graphengine.spec.schema import Rubric

if TYPE_CHECKING:
    from graphengine.spec import Spec

__all__ = ["save"]

MAX_INLINE = 64
"""Entries of an array that is written into the YAML; larger ones go into the ``.npz``."""

_PLAIN = re.compile(r"-?[A-Za-z_(][^:#\"'{}\n]*", re.ASCII)


def save(spec: Spec, path: Path, load: Callable[[Path], Spec]) -> None:
    """Write ``spec`` to ``path``, and its larger arrays to an ``.npz`` beside it.

    ``load`` reads what was written, before it takes its place.
    """
    arrays: dict[str, Array] = {}
    text = "\n".join(_lines(spec, f"{path.stem}.npz", arrays)) + "\n"
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise _unsayable(spec, "text that is no Unicode") from None
    if len(data) > yaml_text.MAX_BYTES:
        raise _unsayable(spec, f"{len(data)} bytes of text (at most {yaml_text.MAX_BYTES})")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as name:
            made = Path(name) / path.name
            made.write_bytes(data)
            numbers = made.with_suffix(".npz")
            if arrays:
                _write_npz(numbers, arrays)
            _compare(spec, made, load)
            if arrays:
                numbers.replace(path.with_suffix(".npz"))
            made.replace(path)
    except OSError as error:
        got = (error.strerror or str(error)).lower()
        raise SpecError(str(path), expected="a file that can be written", got=got) from None


def _unsayable(spec: Spec, got: str, hint: str = "") -> SpecError:
    return SpecError(f"spec {spec.name!r}", expected="what a spec file can say", got=got, hint=hint)


def _write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """As ``np.savez``, which would take some names for its own arguments."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _compare(spec: Spec, made: Path, load: Callable[[Path], Spec]) -> None:
    """Load what was written; :class:`SpecError` unless it is equal."""
    try:
        found = load(made)
    except GraphEngineError as error:
        where = error.where.replace(str(made), made.name)
        raise _unsayable(
            spec, f"at {where}: {error.got or error.expected}", "give its unnamed parts names"
        ) from None
    same = found.graph == spec.graph and found.sizes == spec.sizes
    same = same and _written(found) == _written(spec)
    same = same and (found.points, found.rubric) == (spec.points, spec.rubric)
    same = same and found.values.keys() == spec.values.keys()
    same = same and all(
        np.array_equal(found.values[name], value, equal_nan=True)
        for name, value in spec.values.items()
    )
    if not same:
        raise _unsayable(
            spec,
            "a graph that would load as another one",
            "numbers alone cannot be a node: make them a constant",
        )


def _written(spec: Spec) -> Any:
    given = spec.derivation
    if not isinstance(given, FormulaDerivation):
        return None
    return given.layout, given.let, given.formulas


# --- text ---------------------------------------------------------------------------------


def _lines(spec: Spec, file: str, arrays: dict[str, Array]) -> Iterator[str]:
    graph, plan = spec.graph, spec.plan
    yield "graphengine: 1"
    yield f"name: {_text(spec.name)}"
    if spec.about:
        yield f"about: {_text(spec.about)}"
    if spec.sizes:
        yield f"sizes: {{{', '.join(f'{name}: {size}' for name, size in spec.sizes.items())}}}"
    shapes = {start.name: start.shape for start in plan.starts} if plan else {}
    for section, role in (("inputs", "input"), ("parameters", "parameter")):
        yield from _section(
            section,
            {
                node.name: _start(node, shapes.get(node.name, node.shape))
                for node in graph.starts
                if node.role == role
            },
        )
    yield from _section(
        "constants",
        {
            node.name: _numbers(node.name, node.value, file, arrays)
            for node in graph.starts
            if node.value is not None
        },
    )
    formulas = {name: formula.text for name, formula in plan.nodes.items()} if plan else None
    named = {name: node for name, node in graph.named.items() if node.role == "op"}
    yield from _section(
        "nodes", {name: _text(text) for name, text in (formulas or _formulas(spec, named)).items()}
    )
    if graph._result is not None:
        yield f"result: {_text(graph._result.name)}"
    yield from _section(
        "values",
        {name: _numbers(name, value, file, arrays) for name, value in spec.values.items()},
    )
    if spec.derivation is not None:
        yield from _derivation(spec)
    yield from _section("points", {name: _score(score) for name, score in spec.points.items()})
    yield from _rubric(spec.rubric)


def _section(name: str, entries: Mapping[str, str], indent: str = "") -> Iterator[str]:
    if entries:
        yield f"{indent}{name}:"
        for key, value in entries.items():
            yield f"{indent}  {_text(key)}: {value}"


def _derivation(spec: Spec) -> Iterator[str]:
    given = spec.derivation
    if not isinstance(given, FormulaDerivation):
        raise _unsayable(spec, "a derivation in Python", "it stays in its own file")
    yield "derivation:"
    yield f"  layout: {given.layout}"
    yield from _section("let", {key: _text(f.text) for key, f in given.let.items()}, "  ")
    yield from _section("claims", {key: _text(f.text) for key, f in given.formulas.items()}, "  ")


def _rubric(rubric: Rubric) -> Iterator[str]:
    given = {
        name: _score(getattr(rubric, name))
        for name, field in Rubric.model_fields.items()
        if name != "mistakes" and getattr(rubric, name) != field.default
    }
    if given or rubric.mistakes:
        yield "rubric:"
    for name, score in given.items():
        yield f"  {name}: {score}"
    kinds: dict[str, str] = {kind: _score(score) for kind, score in rubric.mistakes.items()}
    yield from _section("mistakes", kinds, "  ")


def _score(score: float) -> str:
    return str(int(score)) if score.is_integer() else repr(score)


def _start(node: Node, shape: Any) -> str:
    sizes = [str(size) if isinstance(size, int) else _text(size.text, flow=True) for size in shape]
    kind = "" if node.kind == "real" else f", kind: {node.kind}"
    return f"{{shape: [{', '.join(sizes)}]{kind}}}"


def _text(text: str, *, flow: bool = False) -> str:
    """Text as a YAML scalar: plain where that is safe, else in double quotes."""
    plain = (
        _PLAIN.fullmatch(text) and text == text.strip() and text not in {"true", "false", "null"}
    )
    if plain and not (flow and re.search(r"[\[\],]", text)):
        return text
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _numbers(name: str, value: Array | None, file: str, arrays: dict[str, Array]) -> str:
    assert value is not None
    lists = bool(value.size) or value.shape == (0,)
    if value.size <= MAX_INLINE and lists and np.isfinite(value).all():
        return _listed(value.tolist())
    key = name
    while key in arrays and not np.array_equal(arrays[key], value, equal_nan=True):
        key += "_"
    arrays[key] = value
    return f"{{file: {json.dumps(file, ensure_ascii=False)}, key: {_text(key)}}}"


def _listed(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_listed, value)) + "]"
    return repr(value)


# --- formulas of a graph made in Python ---------------------------------------------------


def _formulas(spec: Spec, named: Mapping[str, Node]) -> dict[str, str]:
    return {name: _formula(spec, node) for name, node in named.items()}


def _formula(spec: Spec, top: Node) -> str:
    """The op of a named node, with unnamed arguments written out; bounded, without recursion."""
    done: dict[Node, Written] = {}
    stack = [top]
    while stack:
        node = stack[-1]
        waiting = [arg for arg in node.args if _inner(arg) and arg not in done]
        if waiting:
            stack += [arg for arg in waiting if isinstance(arg, Node)]
            continue
        stack.pop()
        if node in done or node.op is None:
            continue
        args = [_operand(arg, done) for arg in node.args]
        if sum(len(arg.text) for arg in args) > MAX_LENGTH:
            raise _unsayable(
                spec,
                f"a formula for {top.name!r} of more than {MAX_LENGTH} characters",
                "give its unnamed parts names with graph.node(…), and arrays with "
                "graph.constant(…)",
            )
        written = node.op.written(*args)
        plain = isinstance(node.args[0], Node) and node.args[0].named and node is top
        if isinstance(node.op, Alias) and not plain:
            written = Written(f"alias({args[0].text})", ATOM)
        done[node] = written
    return done[top].text


def _inner(arg: Node | Array) -> bool:
    return isinstance(arg, Node) and not arg.named and arg.op is not None


def _operand(arg: Node | Array, done: Mapping[Node, Written]) -> Written:
    if isinstance(arg, Node):
        return done[arg] if _inner(arg) else Written(arg.name, ATOM)
    if arg.size == 0:
        return Written(f"zeros({', '.join(map(str, arg.shape))})", ATOM)
    text = _literal(arg.tolist())
    return Written(text, SIGN if text.startswith("-") else ATOM)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if value == 0 and math.copysign(1.0, value) < 0:
        return "-0.0"
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15
    return str(int(value)) if whole else repr(value)
