"""The plugin for pytest: spec files become tests, one for each, which pass when all is right.

Files are collected only where they are asked for: on the command line, where the option takes a
file, a folder (all YAML files in it) or a pattern and may be repeated, ::

    pytest --graphengine-specs specs/

or in the configuration, with patterns relative to pytest's root folder, ::

    [tool.pytest.ini_options]
    graphengine_specs = "specs/*.yaml"

With the latter, ``pytest specs/mine.yaml`` runs one of them.  Nothing of the engine is imported
before such a test runs.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from graphengine.check import Report

__all__ = ["SpecFile", "SpecItem", "pytest_addoption", "pytest_configure"]

_SUFFIXES = {".yaml", ".yml"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--graphengine-specs`` and the setting ``graphengine_specs``."""
    parser.getgroup("graphengine", "derivations in spec files").addoption(
        "--graphengine-specs",
        action="append",
        default=[],
        metavar="PATH",
        help="Also check the derivations of these spec files: a file, a folder or a pattern; "
        "may be repeated.",
    )
    parser.addini(
        "graphengine_specs",
        "Patterns, relative to the root folder, of spec files to check (specs/*.yaml).",
        type="args",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect spec files if any are asked for; other runs are left alone.

    Raises :class:`pytest.UsageError` for a path on the command line that matches no file.
    """
    wanted: list[str] = config.getoption("graphengine_specs")
    patterns: list[str] = config.getini("graphengine_specs")
    if not (wanted or patterns):
        return
    here = config.invocation_params.dir
    asked = [path for one in wanted for path in _asked(one, here)]
    matched = [path for pattern in patterns for path in _matches(pattern, config.rootpath)]
    config.pluginmanager.register(_Specs([*asked, *matched]), "graphengine-specs")
    if config.args_source is not config.ArgsSource.TESTPATHS:
        matched = []  # what to collect is said: folders on the command line, or the one it is in
    config.args += [str(path) for path in dict.fromkeys([*asked, *matched])]


def _asked(text: str, here: Path) -> list[Path]:
    """The files that a value of the option stands for."""
    path = here / text
    if path.is_dir():
        found = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES and one.is_file())
    else:
        found = [path] if path.is_file() else _matches(text, here)
    if not found:
        raise pytest.UsageError(f"--graphengine-specs: expected spec files, got none at {text!r}")
    return [_plain(path) for path in found]


def _matches(pattern: str, folder: Path) -> list[Path]:
    found = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207 (absolute ones too)
    return [path for path in (_plain(folder / one) for one in sorted(found)) if path.is_file()]


def _plain(path: Path) -> Path:
    """The path as pytest has it: absolute, links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)


class _Specs:
    """Collects the files that are asked for."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = frozenset(files)

    def pytest_report_header(self) -> str:
        """How many files there are: a pattern that matches nothing is seen."""
        return f"graphengine: spec files: {len(self.files)}"

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """A spec file that was asked for."""
        if file_path not in self.files:
            return None
        return SpecFile.from_parent(parent, path=file_path)


class SpecFile(pytest.File):
    """A spec file, with one test: that its derivation is right."""

    def collect(self) -> Iterator[pytest.Item]:
        """The test; the file is read when it runs."""
        yield SpecItem.from_parent(self, name="derivation")


class SpecItem(pytest.Item):
    """Passes when all claims are right, and is skipped where there are none."""

    def runtest(self) -> None:
        """Check the derivation."""
        from graphengine.check import check  # noqa: PLC0415 (heavy, and of no use to other tests)
        from graphengine.spec import load  # noqa: PLC0415 (the same)

        spec = load(self.path)
        if spec.derivation is None or not spec.derivation.claims:
            pytest.skip("the spec has no derivation")
        report = check(spec)
        if report.exit_status:
            raise NotRightError(report)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> str | Any:
        """The report, or the line that says what cannot be read and where; tracebacks of bugs."""
        from graphengine.errors import GraphEngineError  # noqa: PLC0415 (coverage starts first)

        error = excinfo.value
        if isinstance(error, NotRightError):
            return str(error.report)
        if isinstance(error, GraphEngineError):
            return str(error)
        if isinstance(error, OSError):
            return f"{error.filename}: {error.strerror}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """What heads a failure: the file and its test."""
        return self.path, None, f"derivation of {self.nodeid.split('::')[0]}"


class NotRightError(Exception):
    """A derivation is not right throughout; ``report`` says more."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report
