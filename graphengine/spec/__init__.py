"""Spec files: YAML to graphs, values and derivations, and back.

Text from a file is data: it is parsed, checked and bounded, and never run.  See
:func:`json_schema` for the format, and :mod:`graphengine.formula` for the language of formulas.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from graphengine.derivation import Derivation, FormulaDerivation
from graphengine.errors import GraphEngineError, SpecError, SubmissionError, nearest
from graphengine.files import yaml_text
from graphengine.files.arrays import load_npz
from graphengine.graph import Graph
from graphengine.jacobian import DEFAULT_LIMIT
from graphengine.ops import OPS, OpFunction, functions
from graphengine.ops.base import Array, Op, as_value
from graphengine.spec.plan import Plan
from graphengine.spec.reading import (
    Reader,
    checked_points,
    checked_value,
    derivation_of,
    values_of,
)
from graphengine.spec.schema import Rubric, SubmissionFile, ValuesFile, json_schema, validated
from graphengine.spec.writing import save
from graphengine.submission import PythonDerivation

__all__ = ["Rubric", "Spec", "json_schema", "load", "load_derivation", "load_values"]


class Spec:
    """A graph with sizes as letters, and perhaps a point to run it at and a derivation.

    ``graph`` is the graph at the spec's own ``sizes``; ``values`` may be empty, ``derivation``
    None.  ``points`` are those of claims in a grade, by name (empty: 1 for each), ``rubric`` says
    how partial credit is given.  Made by :func:`load`, or from a graph by :meth:`of`.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan | None,
        *,
        values: Mapping[str, Array],
        derivation: Derivation | None,
        points: Mapping[str, float] | None = None,
        rubric: Rubric | None = None,
        path: Path | None = None,
        ops: Iterable[type[Op]] = (),
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.graph, self.plan, self.derivation, self.path = graph, plan, derivation, path
        self.name, self.about = graph.name, graph.about
        self.values = dict(values)
        self.points, self.rubric = dict(points or {}), rubric or Rubric()
        self.sizes: dict[str, int] = dict(plan.sizes) if plan else {}
        self.ops, self.limit = tuple(ops), limit

    def __repr__(self) -> str:
        return f"<Spec {self.name!r}: {len(self.graph)} nodes>"

    @classmethod
    def of(
        cls,
        graph: Graph,
        values: Mapping[str, ArrayLike] | None = None,
        derivation: Derivation | None = None,
        *,
        points: Mapping[str, float] | None = None,
        rubric: Rubric | None = None,
    ) -> Spec:
        """The spec of a graph made in Python; its sizes are numbers.

        Raises :class:`ValuesError` for values that do not fit the graph, :class:`SpecError` for
        points of claims that are not about two of its nodes.

        >>> g = Graph("square")
        >>> y = g.node("y", g.input("x", (2,)) ** 2)
        >>> Spec.of(g, {"x": [1, 2]}).values["x"]
        array([1., 2.])
        """
        given = {
            name: as_value(value, f"value of {name!r}") for name, value in (values or {}).items()
        }
        for name, value in given.items():
            checked_value(graph, name, value, f"value of {name!r}")
        used = {type(node.op) for node in graph.nodes if node.op is not None}
        own = [op for op in used if OPS.get(op.name) is not op]
        if isinstance(derivation, FormulaDerivation):
            derivation.check(graph)
        scores = checked_points(points or {}, graph, {})
        return cls(
            graph,
            None,
            values=given,
            derivation=derivation,
            points=scores,
            rubric=rubric,
            ops=own,
        )

    @functools.cached_property
    def functions(self) -> Mapping[str, OpFunction]:
        """The functions that its formulas may use."""
        return functions(self.ops)

    def at(self, sizes: Mapping[str, int]) -> Graph:
        """The same graph at other sizes; letters that are not given keep their size.

        Raises :class:`SpecError` for an unknown letter, and what building the graph raises where
        a constant, a literal or a formula holds a size fixed.
        """
        for name, size in sizes.items():
            if name not in self.sizes:
                raise SpecError(
                    f"size {name!r}",
                    expected=f"one of {', '.join(self.sizes) or 'no sizes'}",
                    got=repr(name),
                    hint=nearest(name, self.sizes),
                )
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
                raise SpecError(f"size {name!r}", expected="a whole number from 1", got=repr(size))
        if self.plan is None or all(self.sizes[name] == size for name, size in sizes.items()):
            return self.graph
        wanted = {**self.sizes, **{name: int(size) for name, size in sizes.items()}}
        return self.plan.build(wanted, self.functions, self.limit)

    @functools.cached_property
    def free_sizes(self) -> tuple[str, ...]:
        """The letters that can be made larger, each by itself, with the graph still fitting."""
        return tuple(name for name in self.sizes if self._is_free(name))

    def _is_free(self, name: str) -> bool:
        try:
            self.at({name: self.sizes[name] + 1})
            self.at({name: self.sizes[name] + 2})
        except GraphEngineError:
            return False
        return True

    def save(self, path: str | Path) -> None:
        """Write the spec as YAML that loads to an equal graph; larger arrays into an ``.npz``
        beside it.

        Nothing half is left behind: what was written is loaded and compared first.  Raises
        :class:`SpecError` for what a spec cannot say, such as a derivation in Python.
        """
        save(self, Path(path), lambda made: load(made, ops=self.ops, limit=self.limit))


def load(path: str | Path, *, ops: Iterable[type[Op]] = (), limit: int = DEFAULT_LIMIT) -> Spec:
    """Read a spec file.

    ``ops`` are ops of the caller's own that its formulas may use; ``limit`` bounds the bytes of
    all values of the graph together, and those of the derivation's formulas at one point.

    Raises :class:`SpecError`, :class:`FormulaError` and others with ``file:line:column``.
    """
    path = Path(path)
    root = yaml_text.parse(yaml_text.read_text(path), str(path))
    given = tuple(ops)
    reader = Reader(path, root, functions(given))
    plan = reader.plan()
    graph = plan.build(plan.sizes, reader.functions, limit)
    return Spec(
        graph,
        plan,
        values=reader.values(graph),
        derivation=reader.derivation(graph, limit),
        points=reader.points(graph),
        rubric=reader.rubric,
        path=path,
        ops=given,
        limit=limit,
    )


def load_derivation(path: str | Path, spec: Spec) -> Derivation:
    """Read a submission: a YAML file with ``derivation:`` alone, or a Python file (``.py``).

    Nothing of a Python file is run here; see :class:`graphengine.submission.PythonDerivation`.
    """
    path = Path(path)
    if path.suffix == ".py":
        return PythonDerivation.load(path, spec.graph, spec.sizes)
    root = yaml_text.parse(yaml_text.read_text(path), str(path))
    if "nodes" in root.items and "derivation" in root.items:
        raise SubmissionError(
            root.keys["nodes"].place,
            expected="a derivation alone",
            got="a whole spec",
            hint="leave derivation: with what stands under it, or check the spec by itself",
        )
    validated(SubmissionFile, root)
    return derivation_of(
        root.items["derivation"], spec.graph, spec.sizes, spec.functions, spec.limit
    )


def load_values(path: str | Path, spec: Spec) -> dict[str, Array]:
    """Read values for ``spec``'s start nodes: an ``.npz``, or YAML (``name: numbers``)."""
    path = Path(path)
    if path.suffix == ".npz":
        return {
            name: checked_value(spec.graph, name, array, f"{path}: {name}")
            for name, array in load_npz(path, str(path)).items()
        }
    root = yaml_text.parse(yaml_text.read_text(path), str(path))
    if list(root.items) == ["values"] and "values" not in spec.graph:
        validated(ValuesFile, root)
        inner = root.items["values"]
        assert isinstance(inner, yaml_text.Mapping)
        root = inner
    return values_of(root, spec.graph, path.parent)
