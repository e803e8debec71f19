"""From the tree of a spec file to its plan, values and derivation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphengine.derivation import FormulaDerivation, check_claim, named_claim
from graphengine.errors import SpecError, ValuesError, nearest, plural
from graphengine.files import yaml_text
from graphengine.files.arrays import inside, load_array
from graphengine.files.yaml_text import Item, Listing, Scalar
from graphengine.formula import Formula, parse
from graphengine.formula.evaluator import FILLED
from graphengine.formula.source import reserved
from graphengine.graph import Graph, Kind
from graphengine.ops import OpFunction
from graphengine.ops.base import Array
from graphengine.spec.plan import Plan, StartPlan
from graphengine.spec.schema import FileSource, LongNode, Rubric, SpecFile, validated

__all__ = ["Reader", "checked_points", "checked_value", "derivation_of", "values_of"]


class Reader:
    """One spec file: names, shapes, formulas first, then values and derivation for the graph.

    Raises :class:`SpecError` and :class:`FormulaError` at the first thing that is wrong.
    """

    def __init__(
        self, path: Path, root: yaml_text.Mapping, functions: Mapping[str, OpFunction]
    ) -> None:
        self.path, self.root, self.functions = path, root, functions
        self.file = validated(SpecFile, root)
        self.places: dict[str, str] = {}

    def section(self, name: str) -> yaml_text.Mapping:
        """The mapping under a key of the file; an empty one where there is none."""
        found = self.root.items.get(name)
        if isinstance(found, yaml_text.Mapping):
            return found
        return yaml_text.Mapping(self.root.file, self.root.line, self.root.column)

    def check_name(self, name: str, section: str, place: str) -> None:
        """A name is given once, and is no word that means something else."""
        if reserved(name):
            raise SpecError(
                place,
                expected="a name",
                got=f"{name!r}, a word that Python keeps for itself",
                hint=reserved(name),
            )
        if name in self.functions or name in FILLED:
            raise SpecError(
                place,
                expected="a name that is no function's",
                got=repr(name),
                hint=f"write {name + '_'!r}",
            )
        if name in self.places:
            raise SpecError(
                place,
                expected="each name once",
                got=f"{name!r} again under {section}:",
                hint=f"the first is at {self.places[name]}",
            )
        self.places[name] = place

    def plan(self) -> Plan:
        """All but values and derivation."""
        for section in ("sizes", "inputs", "parameters", "constants", "nodes"):
            for name, key in self.section(section).keys.items():
                self.check_name(name, section, key.place)
        starts = [
            *self.starts("inputs", "input"),
            *self.starts("parameters", "parameter"),
            *self.constants(),
        ]
        nodes = {name: self.node(item) for name, item in self.section("nodes").items.items()}
        result = self.file.result
        if result is not None and result not in nodes:
            what = f"{result!r}, a start node" if result in self.places else repr(result)
            raise SpecError(
                self.root.items["result"].place,
                expected="the name of a node",
                got=what,
                hint=nearest(result, nodes),
            )
        return Plan(
            name=self.file.name or self.path.stem,
            about=self.file.about,
            sizes=self.file.sizes,
            starts=tuple(starts),
            nodes=nodes,
            result=result,
            places=self.places,
        )

    def starts(self, section: str, role: Any) -> Iterable[StartPlan]:
        """Inputs or parameters."""
        given = getattr(self.file, section)
        for name, item in self.section(section).items.items():
            shape: list[int | Formula] = []
            listed = item.items.get("shape") if isinstance(item, yaml_text.Mapping) else None
            for size in listed.items if isinstance(listed, Listing) else ():
                assert isinstance(size, Scalar)
                formula = _parse(size)
                if isinstance(size.plain, int):
                    if size.plain < 0:
                        raise SpecError(size.place, expected="a size from 0", got=size.text)
                    shape.append(size.plain)
                else:
                    shape.append(formula)
            kind: Kind = given[name].kind if given[name] else "real"
            yield StartPlan(name, role, tuple(shape), kind, place=self.places[name])

    def constants(self) -> Iterable[StartPlan]:
        """Constants with their values."""
        for name, item in self.section("constants").items.items():
            value = _array(item, name, self.path.parent)
            yield StartPlan(name, "constant", value=value, place=self.places[name])

    def node(self, item: Item) -> Formula:
        """A node's formula; the long form becomes one."""
        if isinstance(item, Scalar):
            return _parse(item)
        assert isinstance(item, yaml_text.Mapping)
        return _long_form(item, self.functions)

    def values(self, graph: Graph) -> dict[str, Array]:
        """The values of start nodes that the file gives."""
        return values_of(self.section("values"), graph, self.path.parent)

    def derivation(self, graph: Graph, limit: int) -> FormulaDerivation | None:
        """The derivation that the file gives, checked against ``graph``."""
        found = self.root.items.get("derivation")
        if self.file.derivation is None or found is None:
            return None
        return derivation_of(found, graph, self.file.sizes, self.functions, limit)

    def points(self, graph: Graph) -> dict[str, float]:
        """The points of claims that the file gives, by the claim's name."""
        places = {key: item.place for key, item in self.section("points").keys.items()}
        return checked_points(self.file.points, graph, places)

    @property
    def rubric(self) -> Rubric:
        """The rubric that the file gives, or the usual one."""
        return self.file.rubric or Rubric()


def _parse(item: Scalar) -> Formula:
    return parse(item.text, item.place, at=item.at)


def _long_form(item: yaml_text.Mapping, known: Mapping[str, OpFunction]) -> Formula:
    """``{op: f, parents: [a, b], axis: 0}`` as the formula ``f(a, b, axis=0)``, whose parts stand
    where they stand in the file.
    """
    op, parents = item.items["op"], item.items["parents"]
    assert isinstance(op, Scalar)
    assert isinstance(parents, Listing)
    if op.text not in known:
        raise SpecError(
            op.place, expected="the name of an op", got=repr(op.text), hint=nearest(op.text, known)
        )
    pieces: list[tuple[str, Item]] = [(f"{op.text}(", op)]
    variadic = known[op.text].op.variadic
    if variadic:
        pieces.append(("[", parents))
    for number, parent in enumerate(parents.items):
        assert isinstance(parent, Scalar)
        if isinstance(parent.plain, str) and not re.fullmatch(r"[A-Za-z_]\w*", parent.text):
            raise SpecError(
                parent.place,
                expected="the name of a node, or a number",
                got=repr(parent.text),
                hint="give the part a node of its own, or write the node as a formula",
            )
        pieces += [(", ", parents)] if number else []
        pieces.append((parent.text, parent))
    if variadic:
        pieces.append(("]", parents))
    for name, value in item.items.items():
        if name not in LongNode.model_fields:
            comma = ", " if parents.items or variadic else ""
            pieces += [(f"{comma}{name}=", item.keys[name]), *_parameter(value)]
    pieces.append((")", item))
    return _pieced(pieces, op.place)


def _parameter(item: Item) -> Iterable[tuple[str, Item]]:
    """A parameter's text: numbers, true, false, null, formulas of sizes, lists."""
    if isinstance(item, Listing):
        yield "[", item
        for number, one in enumerate(item.items):
            yield from [(", ", item)] if number else []
            yield from _parameter(one)
        yield "]", item
    elif isinstance(item, Scalar):
        if isinstance(item.plain, str):
            _parse(item)
            yield item.text, item
        else:
            yield repr(item.plain), item
    else:
        raise SpecError(
            item.place, expected="a number, true, false, null or a list", got="a mapping"
        )


def _pieced(pieces: Iterable[tuple[str, Item]], place: str) -> Formula:
    text, starts = "", []
    for piece, item in pieces:
        starts.append((len(text), item))
        text += piece

    def at(offset: int) -> str:
        start, item = [one for one in starts if one[0] <= offset][-1]
        return item.at(offset - start) if isinstance(item, Scalar) else item.place

    return parse(text, place, at=at)


# --- values -------------------------------------------------------------------------------


def values_of(root: Item, graph: Graph, folder: Path) -> dict[str, Array]:
    """The values that a mapping gives to start nodes, of the right shape."""
    assert isinstance(root, yaml_text.Mapping)
    found = {}
    for name, item in root.items.items():
        _check_start(graph, name, root.keys[name].place)
        array = _array(item, name, folder)
        found[name] = checked_value(graph, name, array, f"{item.place}: value of {name!r}")
    return found


def _check_start(graph: Graph, name: str, where: str) -> None:
    starts = [node.name for node in graph.starts]
    if name not in starts:
        raise ValuesError(
            where,
            expected="the name of a start node",
            got=f"{name!r}, a computed node" if name in graph else repr(name),
            hint=nearest(name, starts),
        )


def checked_value(graph: Graph, name: str, value: Array, where: str) -> Array:
    """``value``; :class:`ValuesError` unless it fits the start node ``name``."""
    _check_start(graph, name, where)
    shape = graph[name].shape
    if value.shape != shape:
        raise ValuesError(where, expected=f"shape {shape}", got=f"shape {value.shape}")
    return value


def _array(item: Item, name: str, folder: Path) -> Array:
    """Numbers written out, or from the file that is named."""
    if not isinstance(item, yaml_text.Mapping):
        return np.asarray(_nested(item), dtype=np.float64)
    source = validated(FileSource, item)
    where = item.items["file"].place
    return load_array(
        inside(folder, source.file, where),
        where,
        key=source.key,
        name=name,
        columns=source.columns,
        skip=source.skip or 0,
    )


def _nested(item: Item) -> Any:
    """Lists of equal length, nested, of numbers."""
    if isinstance(item, Listing):
        rows = [_nested(one) for one in item.items]
        for one, row in zip(item.items, rows, strict=True):
            if np.shape(row) != np.shape(rows[0]):
                raise SpecError(
                    one.place,
                    expected=f"lists of equal length ({_length(rows[0])}, as in the first)",
                    got=_length(row),
                )
        return rows
    plain = item.plain
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        got = repr(item.text[:40]) if isinstance(item, Scalar) and item.text else "nothing"
        if isinstance(item, yaml_text.Mapping):
            got = "a mapping"
        raise SpecError(item.place, expected="a number or a list of numbers", got=got)
    return plain


def _length(row: Any) -> str:
    return plural(len(row), "number") if isinstance(row, list) else "a number"


# --- derivations --------------------------------------------------------------------------


def derivation_of(
    item: Item,
    graph: Graph,
    sizes: Mapping[str, int],
    known: Mapping[str, OpFunction],
    limit: int,
) -> FormulaDerivation:
    """The derivation that a mapping (already checked) gives, its names those of ``graph``."""
    assert isinstance(item, yaml_text.Mapping)
    parts: dict[str, dict[str, Formula]] = {"let": {}, "claims": {}}
    places: dict[str, str] = {}
    for part, formulas in parts.items():
        inner = item.items.get(part)
        if isinstance(inner, yaml_text.Mapping):
            for name, text in inner.items.items():
                assert isinstance(text, Scalar)
                places[name] = inner.keys[name].place
                formulas[name] = _parse(text)
    layout: Any = item.items["layout"].plain if "layout" in item.items else "numerator"
    found = FormulaDerivation(
        parts["claims"], parts["let"], layout=layout, places=places, functions=known, limit=limit
    )
    found.check(graph, sizes)
    return found


# --- grades -------------------------------------------------------------------------------


def checked_points(
    given: Mapping[str, float], graph: Graph, places: Mapping[str, str]
) -> dict[str, float]:
    """The points by the names of claims; each is about two nodes of ``graph`` and stands once."""
    points: dict[str, float] = {}
    first: dict[str, str] = {}
    for key, score in given.items():
        place = places.get(key, f"points of {key!r}")
        claim = named_claim(key, place, key)
        check_claim(claim, graph)
        if claim.name in points:
            raise SpecError(
                place,
                expected="each claim once",
                got=f"{claim.name} again",
                hint=f"the first is at {first[claim.name]}",
            )
        points[claim.name], first[claim.name] = float(score), place
    return points
