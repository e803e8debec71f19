"""Which entries of a folder are submissions, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphengine.errors import CheckError
from graphengine.grading.folder import MAX_NAME, file_name, submissions


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    return folder


def names(folder: Path) -> list[str]:
    return [one.name for one in submissions(folder)[0]]


def test_files_and_folders_with_one_file(tmp_path: Path) -> None:
    fill(tmp_path, "ben.py", "anna.yaml", "cara.yml", "dora.smith/my work.yaml", "notes.txt")
    fill(tmp_path, ".hidden.yaml", "__pycache__/x.py", "dora.smith/notes.txt", "dora.smith/.x.py")
    found, passed = submissions(tmp_path)
    assert [one.name for one in found] == ["anna", "ben", "cara", "dora.smith"]
    assert [one.path.name for one in found] == ["anna.yaml", "ben.py", "cara.yml", "my work.yaml"]
    assert passed == ("notes.txt",)
    assert all(len(one.content) == 64 and not one.error for one in found)
    assert len({one.content for one in found}) == 4


def test_folders_without_one_file_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "two/a.py", "two/b.yaml", "none/readme.txt")
    found, _ = submissions(tmp_path)
    assert [one.error for one in found] == [
        "none: expected one submission in a folder, got none",
        "two: expected one submission in a folder, got a.py, b.yaml",
    ]


def test_what_is_somebody_elses_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "spec.yaml", "anna.yaml", "grades/x.yaml")
    found, _ = submissions(tmp_path, {tmp_path / "spec.yaml", tmp_path / "grades"})
    assert [one.name for one in found] == ["anna"]


def test_no_submissions(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"expected submissions \(.yaml, .yml, .py"):
        submissions(tmp_path)
    with pytest.raises(FileNotFoundError):
        submissions(tmp_path / "nowhere")


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "subs", "anna.yaml")
    secret = fill(tmp_path, "secret.yaml", "away/x.yaml", "deep/x.yaml")
    (folder / "ben.yaml").symlink_to(secret / "secret.yaml")
    (folder / "cara").symlink_to(secret / "away")
    fill(folder, "dora/readme.txt")
    (folder / "dora" / "x.yaml").symlink_to(secret / "deep" / "x.yaml")
    (folder / "emil.yaml").symlink_to(folder / "anna.yaml")
    (folder / "fred.yaml").symlink_to(folder / "gone.yaml")
    (folder / "gina.yaml").symlink_to(folder / "gina.yaml")
    errors = {one.name: one.error for one in submissions(folder)[0]}
    assert errors["anna"] == errors["emil"] == ""
    for name in ("ben", "cara", "dora"):
        assert errors[name].endswith("expected no link out of the folder, got one"), name
    assert "no such file" in errors["fred"]
    assert errors["gina"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "anna.yaml")
    (found,), _ = submissions(tmp_path)
    assert found.error == "anna.yaml: expected a file, got something else"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["anna.py", "anna.yaml", "ben.py"], ["anna.py", "anna.yaml", "ben"]),
        (["anna.py", "anna/x.py"], ["anna", "anna.py"]),
        (["Anna.py", "anna.yaml"], ["Anna.py", "anna.yaml"]),
        (["a.py", "a.yaml", "a.py.yml"], ["a.py", "a.py.yml", "a.yaml"]),
        (["ﬁ.py", "fi.py"], ["fi.py", "ﬁ.py (2)"]),
        (["é.py", "e\u0301.py"], ["e\u0301.py", "é.py (2)"]),
    ],
)
def test_no_two_names_are_alike(given: list[str], wanted: list[str], tmp_path: Path) -> None:
    assert sorted(names(fill(tmp_path, *given))) == sorted(wanted)


def test_strange_names(tmp_path: Path) -> None:
    fill(tmp_path, "a b.py", "line\nbreak.py", "=1+1.py", "x..py", "ﷺ.py", "-rf.py", "q\"'.py")
    (tmp_path / os.fsdecode(b"\xff.py")).write_text("x", "utf-8")
    found = names(tmp_path)
    assert set(found) == {"a b", r"line\nbreak", "=1+1", "x.", "ﷺ", "-rf", "q\"'", r"\udcff"}
    files = [file_name(name, ".json") for name in found]
    assert len(set(files)) == 8
    for name in files:
        assert "/" not in name
        assert not name.startswith(".")
        (tmp_path / name).write_text("", "utf-8")


def test_file_names_stay_apart_and_short() -> None:
    long = ["a" * 300, "a" * 299 + "b", "é" * 300]
    made = [file_name(name, ".json") for name in [*long, "a/b", "a%2Fb", "", "."]]
    assert len(set(made)) == len(made)
    assert all(len(name.encode()) <= MAX_NAME + 18 for name in made)
    assert made[3:] == ["a%2Fb.json", "a%252Fb.json", "%.json", "%2E.json"]
