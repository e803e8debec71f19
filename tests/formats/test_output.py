"""Text for other programs, and files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphengine.formats.output import PARTIAL, legal, printable, write_whole


def test_legal_keeps_text_and_replaces_what_xml_cannot_hold() -> None:
    kept = "tab\tline\nreturn\r é ∂ ᵀ 😀 \x85 \ufffd"
    assert legal(kept) == kept
    for code in (0, 1, 8, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F, 0x80, 0x9F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF):
        assert legal(f"a{chr(code)}b") == "a\ufffdb", hex(code)


def test_printable_is_one_line() -> None:
    assert printable("a\nb\r\x1b[31m\udcff é") == r"a\nb\r\x1b[31m\udcff é"


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_whole(path, "one\n")
    write_whole(path, "two ∂\n")
    assert path.read_bytes() == "two ∂\n".encode()
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_whole(path, "one\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")
    assert path.read_text("utf-8") == "one\n"
    assert list(tmp_path.glob(PARTIAL)) == []
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "no" / "where.json", "")
    assert caught.value.filename == str(tmp_path / "no" / "where.json")
