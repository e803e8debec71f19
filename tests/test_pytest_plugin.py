"""The plugin for pytest, in runs of pytest within a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import graphengine.check  # imported here, so that runs within this process need not
import graphengine.pytest_plugin
import graphengine.spec

pytest_plugins = ["pytester"]

SPEC = """\
graphengine: 1
name: square
inputs: {x: {shape: [3]}}
nodes: {J: sum(x**2)}
result: J
"""
RIGHT = SPEC + "derivation: {claims: {J/x: 2*x}}\n"
WRONG = SPEC + "derivation: {claims: {J/x: x}}\n"
TWICE = SPEC + "derivation: {claims: {J/x: 3 x}}\n"
PLUGIN = ("-p", "no:graphengine", "-p", "graphengine.pytest_plugin")  # installed or not


@pytest.fixture
def specs(pytester: pytest.Pytester) -> Path:
    """A project with two specs, a test and a YAML file that is no spec."""
    folder = pytester.mkdir("specs")
    for name, text in {"right": RIGHT, "wrong": WRONG}.items():
        (folder / f"{name}.yaml").write_text(text)
    (pytester.path / "other.yaml").write_text("a: 1\n")
    pytester.makepyfile(test_it="def test_it():\n    assert True\n")
    return folder


def run(pytester: pytest.Pytester, *args: str | Path) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGIN, "-W", "error", "-p", "no:cacheprovider", *args)


def outcome(result: pytest.RunResult) -> dict[str, int]:
    return {key: count for key, count in result.parseoutcomes().items() if count}


def test_no_yaml_file_is_collected_unless_asked_for(pytester: pytest.Pytester, specs: Path) -> None:
    result = run(pytester)
    assert outcome(result) == {"passed": 1}
    result.stdout.no_fnmatch_line("*graphengine: spec files*")


@pytest.mark.parametrize("path", ["specs", "specs/", "specs/*.yaml", "**/[rw]*.yaml"])
def test_the_option_takes_folders_and_patterns(
    pytester: pytest.Pytester, specs: Path, path: str
) -> None:
    result = run(pytester, "--graphengine-specs", path, "test_it.py", "-v")
    assert outcome(result) == {"passed": 2, "failed": 1}
    result.stdout.fnmatch_lines(
        [
            "graphengine: spec files: 2",
            "test_it.py::test_it PASSED*",
            "specs/right.yaml::derivation PASSED*",
            "specs/wrong.yaml::derivation FAILED*",
        ]
    )


def test_the_option_takes_files_and_may_be_repeated(pytester: pytest.Pytester, specs: Path) -> None:
    one, two = specs / "right.yaml", "specs/wrong.yaml"
    result = run(pytester, "--graphengine-specs", one)
    assert outcome(result) == {"passed": 2}
    result = run(pytester, "--graphengine-specs", one, "--graphengine-specs", two)
    assert outcome(result) == {"passed": 2, "failed": 1}


@pytest.mark.parametrize("path", ["spec", "specs/*.yml", "empty"])
def test_a_path_without_spec_files_is_refused(
    pytester: pytest.Pytester, specs: Path, path: str
) -> None:
    pytester.mkdir("empty")
    result = run(pytester, "--graphengine-specs", path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --graphengine-specs: expected spec files, got none at '{path}'"]
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), {"passed": 2, "failed": 1}),
        (("specs",), {"passed": 1, "failed": 1}),
        (("specs/right.yaml",), {"passed": 1}),
        (("specs/right.yaml::derivation",), {"passed": 1}),
        (("test_it.py",), {"passed": 1}),
        (("--graphengine-specs", "specs"), {"passed": 2, "failed": 1}),  # nothing runs twice
    ],
)
@pytest.mark.parametrize("testpaths", ["", "testpaths = test_it.py\n"])
def test_patterns_of_the_configuration(
    pytester: pytest.Pytester,
    specs: Path,
    args: tuple[str, ...],
    expected: dict[str, int],
    testpaths: str,
) -> None:
    pytester.makeini(f"[pytest]\n{testpaths}graphengine_specs = specs/*.yaml more/*.yaml\n")
    assert outcome(run(pytester, *args)) == expected


def test_the_message_is_the_report(pytester: pytest.Pytester, specs: Path) -> None:
    result = run(pytester, "--graphengine-specs", "specs/wrong.yaml")
    told = str(graphengine.check.check(specs / "wrong.yaml"))
    assert "wrong" in told
    result.stdout.fnmatch_lines(["*_ derivation of specs/wrong.yaml _*"])
    assert told in "\n".join(line.rstrip() for line in result.outlines)
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_the_report_stands_in_junit_xml(pytester: pytest.Pytester, specs: Path) -> None:
    run(pytester, "--graphengine-specs", "specs/wrong.yaml", "--junit-xml", "out.xml")
    failure = ET.parse(pytester.path / "out.xml").find(".//failure")
    assert failure is not None
    assert "square: 1 claim, wrong" in (failure.text or "")


def test_what_cannot_be_read_is_told_with_its_place(pytester: pytest.Pytester, specs: Path) -> None:
    (specs / "bad.yaml").write_text(TWICE)
    result = run(pytester, "--graphengine-specs", "specs/bad.yaml")
    assert outcome(result) == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["*specs/bad.yaml:6:30: *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_file_that_has_gone_is_told(
    pytester: pytest.Pytester, specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(graphengine.spec, "load", gone)
    result = run(pytester, "--graphengine-specs", "specs/right.yaml")
    result.stdout.fnmatch_lines(["*specs/right.yaml: No such file or directory"])


def test_bugs_keep_their_traceback(
    pytester: pytest.Pytester, specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphengine.check, "check", lambda spec: 1 / 0)
    result = run(pytester, "--graphengine-specs", "specs/right.yaml")
    result.stdout.fnmatch_lines(["*pytest_plugin.py*ZeroDivisionError*"])


def test_without_a_derivation_there_is_nothing_to_check(
    pytester: pytest.Pytester, specs: Path
) -> None:
    (specs / "none.yaml").write_text(SPEC)
    result = run(pytester, "--graphengine-specs", "specs/none.yaml", "-rs")
    assert outcome(result) == {"passed": 1, "skipped": 1}
    result.stdout.fnmatch_lines(["*the spec has no derivation"])


def test_tests_can_be_chosen_by_name(pytester: pytest.Pytester, specs: Path) -> None:
    result = run(pytester, "--graphengine-specs", "specs", "-k", "right", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["specs/right.yaml::derivation", "1/3 tests collected*"])


def test_other_runs_import_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert 'graphengine.pytest_plugin' in sys.modules\n"
        "    assert not {'numpy', 'yaml', 'graphengine.errors'} & {*sys.modules}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *PLUGIN]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugin_is_installed_and_kept_out_of_this_project(
    pytestconfig: pytest.Config,
) -> None:
    (entry,) = entry_points(group="pytest11", name="graphengine")
    assert entry.load() is graphengine.pytest_plugin
    assert not pytestconfig.pluginmanager.has_plugin("graphengine"), "coverage has to start first"
