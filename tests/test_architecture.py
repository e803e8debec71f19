"""The house keeps its order: imports point one way, nothing runs text, everything is documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "graphengine"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}

LAYERS = [
    {"__main__"},
    {"cli", "pytest_plugin", "testing"},
    {"grading"},
    {"formats"},
    {"catalogue"},
    {"check"},
    {"picture"},
    {"board"},
    {"spec"},
    {"submission"},
    {"derivation"},
    {"files"},
    {"formula"},
    {"problems"},
    {"flat"},
    {"run", "lecture", "picture"},
    {"graph"},
    {"elimination"},
    {"node"},
    {"ops"},
    {"jacobian"},
    {"tracing"},
    {"errors", "tables"},
]
"""From the top down: a module may import what stands below it, and its own package."""

RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

UPWARD = {("graph", "run"), ("graph", "flat"), ("graph", "problems")}
"""Imports inside functions that point up: ``Graph.run`` makes a Run, which knows graphs."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


OURS = {module_of(path) for path in SOURCES}


class Import(NamedTuple):
    """``module`` imports ``target``; ``late`` when that is inside a function."""

    module: str
    target: str
    late: bool


def part_of(module: str) -> str:
    """``graphengine.ops.base`` is a part of ``ops``; the package itself is "" (public names)."""
    return [*module.split("."), ""][1]


def imports() -> Iterator[Import]:
    """All imports of the package's own modules, but those for the type checker alone."""
    for path, tree in TREES.items():
        yield from _imports(tree, module_of(path), late=False)


def _imports(tree: ast.AST, module: str, *, late: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = inside if node.module == "graphengine" else inside & OURS
            names = sorted(modules) or [node.module or ""]
        for name in names:
            if name.split(".")[0] == "graphengine" and name != "graphengine.__version__":
                yield Import(module, name, late)
        inner = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _imports(node, module, late=inner)


IMPORTS = list(imports())


# --- imports ------------------------------------------------------------------------------


def test_every_module_has_its_place() -> None:
    parts = {part_of(module_of(path)) for path in SOURCES} - {""}
    assert parts == set(RANK), "new modules are given a place in LAYERS"


def test_imports_point_one_way() -> None:
    wrong = [
        one
        for one in IMPORTS
        if one.module != "graphengine"  # the public names, imported when they are first used
        and part_of(one.module) != part_of(one.target)
        and RANK[part_of(one.module)] >= RANK[part_of(one.target)]
        and not (one.late and (part_of(one.module), part_of(one.target)) in UPWARD)
    ]
    assert not wrong


def test_exceptions_are_still_needed() -> None:
    used = {(part_of(one.module), part_of(one.target)) for one in IMPORTS if one.late}
    assert used >= UPWARD


def test_the_package_itself_imports_nothing_at_once() -> None:
    assert [one for one in IMPORTS if one.module == "graphengine" and not one.late] == []


def test_modules_import_each_other_in_no_circle() -> None:
    graph = nx.DiGraph((one.module, one.target) for one in IMPORTS if not one.late)
    assert list(nx.simple_cycles(graph)) == []


def test_late_imports_say_why() -> None:
    for path, tree in TREES.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, (ast.Import, ast.ImportFrom)):
                        text = " ".join(lines[node.lineno - 1 : node.end_lineno])
                        assert "# noqa: PLC0415 (" in text, f"{path}:{node.lineno}"


@pytest.mark.parametrize("heavy", ["numpy", "scipy", "networkx"])
def test_the_command_line_starts_without_heavy_modules(heavy: str) -> None:
    code = f"import sys, graphengine.cli; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --- text is never run --------------------------------------------------------------------

BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "code", "codeop"}
RUNS_PROGRAMS = {PACKAGE / "flat" / "__init__.py", PACKAGE / "flat" / "fused.py"}
"""Here ``exec`` makes functions of flat code: the project's own text, written from the tape of what
the ops do, never from a spec; of a graph it holds names that were checked, and numbers."""
RUNS_SUBMISSIONS = PACKAGE / "submission" / "runner.py"
"""The one module that runs somebody's Python file, in a process of its own."""


def test_nothing_evaluates_text_or_unpickles() -> None:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            place = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Name):
                allowed = {"exec"} if path in RUNS_PROGRAMS else set()
                assert node.id not in BUILTINS - allowed, place
            elif isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & MODULES, place
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in MODULES, place
            elif isinstance(node, ast.keyword):
                given = ast.unparse(node.value)
                assert not (node.arg in {"allow_pickle", "shell"} and given != "False"), place
            elif isinstance(node, ast.Attribute):
                assert node.attr not in {"system", "popen", "full_load", "unsafe_load"}, place


def test_files_are_run_in_the_child_process_alone() -> None:
    for path, tree in TREES.items():
        if path == RUNS_SUBMISSIONS:
            continue
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                assert not name.startswith("runpy"), path
                assert not name.startswith("importlib.util"), path
    for one in IMPORTS:
        assert one.target != "graphengine.submission.runner"


# --- documentation ------------------------------------------------------------------------


def public(tree: ast.AST, *, methods: bool) -> Iterator[ast.AST]:
    """Classes and functions without an underscore, and their methods."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if node.name.startswith("_"):
            continue
        yield node
        protocol = isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        if isinstance(node, ast.ClassDef) and methods and not protocol:  # it says who explains them
            yield from public(node, methods=methods)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = TREES[path]
    assert ast.get_docstring(tree), path
    rules = path.parent.name == "ops"  # forward and the rules are explained by their class
    for node in public(tree, methods=not rules):
        assert isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name}"


# --- tools --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--quiet"],
        ["ruff", "format", "--check", "--quiet", "graphengine", "tests", "benchmarks"],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_the_tools_have_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
