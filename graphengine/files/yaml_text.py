"""YAML text as a tree with places: a strict part of YAML 1.2, bounded in size and depth.

PyYAML's events are read one by one, with scalar rules of our own: ``true``, ``false``, ``null``,
decimal numbers; all else (``no``, ``0x1F``, ``1_000``, ``12:30``, dates) is text.  Anchors,
aliases, tags, duplicate keys, merge keys, further documents and keys that are no text are refused,
each as ``file:line:column``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from graphengine.errors import SpecError

__all__ = ["MAX_BYTES", "Item", "Listing", "Mapping", "Scalar", "find", "parse", "read_text"]

MAX_BYTES = 1 << 20
"""Size of a file of text."""
MAX_DEPTH = 32
"""Lists and mappings within each other."""
MAX_NODES = 20_000
"""Scalars, lists and mappings in a file."""

_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?(?:0|[1-9]\d{0,14})", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_CONTROL = re.compile(
    "\r(?!\n)|[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_QUOTE = "text that starts with this character stands in quotes"
_PROBLEMS = (
    (r"found character '(\\t)' .*", "YAML", r"a tab", "indent with spaces"),
    (r"found character '(.*)' that cannot start any token", "YAML", r"'\1'", _QUOTE),
    (
        r"mapping values are not allowed here",
        "one ':' in a line",
        "a second one",
        "text that holds ': ' stands in quotes, and keys of a mapping start in one column",
    ),
    (
        r"sequence entries are not allowed here",
        "YAML",
        "'- '",
        "text that starts with '- ' stands in quotes",
    ),
    (
        r"expected <block end>, but found (.*)",
        "the end of the line or a key",
        r"\1",
        "a formula that starts with a bracket or a quote stands in quotes as a whole",
    ),
    (
        r"expected ('.' or '.'), but got (.*)",
        r"\1",
        r"\2",
        "within { } and [ ], text that holds a comma or a bracket stands in quotes",
    ),
    (r"could not find expected ':'", "':' after the key", "none", ""),
    (
        r"expected alphabetic or numeric character, but found .*",
        "YAML",
        "'*', '&' or '%' by itself",
        "a formula that starts with a bracket or a quote stands in quotes as a whole",
    ),
    (
        r"found unknown escape character '(.)'",
        "an escape that YAML has",
        r"'\\\1'",
        "in single quotes a backslash is itself",
    ),
    (r"expected (.*), but found (.*)", r"\1", r"\2", ""),
    (r"found unexpected end of stream", "a quote that closes the text", "none", ""),
)
"""What PyYAML says of text that is no YAML: expected, got, hint."""
_OPENED = ("could not find expected ':'", "found unexpected end of stream")
"""Problems that are shown where the key or the quote starts."""
_WORDS = {
    "<stream end>": "the end of the file",
    "<scalar>": "text",
    "<document start>": "the end of the file",
    "<block mapping start>": "a deeper line",
    "'\\x00'": "the end of the file",
}


class Placed:
    """Something that stands at a place in a file."""

    __slots__ = ("column", "file", "line")

    def __init__(self, file: str, line: int, column: int) -> None:
        self.file, self.line, self.column = file, line, column

    @property
    def place(self) -> str:
        """``file:line:column``."""
        return f"{self.file}:{self.line}:{self.column}"


class Scalar(Placed):
    """Text, and what it stands for by the rules above where it is not in quotes."""

    __slots__ = ("_end", "_source", "_start", "plain", "style", "text")

    def __init__(self, file: str, source: str, event: yaml.ScalarEvent) -> None:
        mark = _start(event)
        super().__init__(file, mark.line + 1, mark.column + 1)
        self.text, self.style = event.value, event.style
        self._source, self._start = source, mark.index
        self._end = event.end_mark.index if event.end_mark else len(source)
        self.plain: Any = self._resolved() if event.style is None else self.text

    def _resolved(self) -> Any:
        text = self.text
        if text in {"true", "false"}:
            return text == "true"
        if text in {"null", "~", ""}:
            return None
        number = _NUMBER.fullmatch(text)
        if _NOT_FINITE.fullmatch(text) or (number and abs(float(text)) == float("inf")):
            raise SpecError(self.place, expected="a finite number", got=text[:40])
        if _WHOLE.fullmatch(text):
            return int(text)
        return float(text) if number else text

    def at(self, offset: int) -> str:
        """``file:line:column`` of the character at ``offset`` of the text.

        Quotes and lines that YAML folded are counted as they stand in the file; after an escape
        in double quotes the place is that of the whole text.
        """
        source, start = self._source, self._start
        if self.style in {"|", ">"}:
            start = source.find("\n", start, self._end) + 1 or self._end
        elif self.style is not None:
            start += 1
        here = start
        for character in self.text[: offset + 1]:
            if character.isspace():
                continue
            found = source.find(character, here, self._end)
            if found < 0 or (self.style == '"' and "\\" in source[here : found + 1]):
                return self.place
            start, here = found, found + 1
        if self.text and offset >= len(self.text):
            start = here
        lines = source.count("\n", 0, start)
        return f"{self.file}:{lines + 1}:{start - source.rfind(chr(10), 0, start)}"


class Mapping(Placed):
    """Keys and what stands under them."""

    __slots__ = ("items", "keys")

    def __init__(self, file: str, line: int, column: int) -> None:
        super().__init__(file, line, column)
        self.items: dict[str, Item] = {}
        self.keys: dict[str, Scalar] = {}

    @property
    def plain(self) -> dict[str, Any]:
        """The mapping as a dict of plain values."""
        return {key: item.plain for key, item in self.items.items()}


class Listing(Placed):
    """A list."""

    __slots__ = ("items",)

    def __init__(self, file: str, line: int, column: int) -> None:
        super().__init__(file, line, column)
        self.items: list[Item] = []

    @property
    def plain(self) -> list[Any]:
        """The list as plain values."""
        return [item.plain for item in self.items]


Item: TypeAlias = Scalar | Mapping | Listing


def _start(event: yaml.Event) -> yaml.Mark:
    assert isinstance(event.start_mark, yaml.Mark)
    return event.start_mark


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a file in UTF-8, at most ``limit`` bytes; :class:`SpecError` for all else."""
    try:
        if path.exists() and not path.is_file():
            raise SpecError(str(path), expected="a file", got="something else")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        raise SpecError(str(path), expected="a file that can be read", got=got.lower()) from None
    if len(data) > limit:
        raise SpecError(
            str(path),
            expected=f"at most {limit} bytes",
            got="more",
            hint="large arrays go into .npz, .npy or .csv files beside it",
        )
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise SpecError(
            f"{path}:1:1",
            expected="UTF-8 without a byte order mark",
            got="one",
            hint="save the file as UTF-8 without BOM",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        where = f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        raise SpecError(
            where,
            expected="UTF-8",
            got=f"byte 0x{data[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from None


def parse(text: str, file: str) -> Mapping:
    """The one document of ``text``, a mapping; :class:`SpecError` for anything else."""
    control = _CONTROL.search(text)
    if control:
        where = control.start()
        raise SpecError(
            f"{file}:{text.count(chr(10), 0, where) + 1}:{where - text.rfind(chr(10), 0, where)}",
            expected="text",
            got=f"the control character U+{ord(control[0]):04X}",
        )
    root = _Builder(file, text).document()
    if not isinstance(root, Mapping):
        raise SpecError(
            root.place if root else f"{file}:1:1",
            expected="a mapping (graphengine: 1, name: …)",
            got=_what(root) if root else "an empty file",
        )
    return root


def _what(item: Item) -> str:
    return {Scalar: "text", Mapping: "a mapping", Listing: "a list"}[type(item)]


def _unreadable(where: str, problem: str) -> SpecError:
    problem = " ".join(problem.split())[:120]
    for pattern, *parts in _PROBLEMS:
        found = re.fullmatch(pattern, problem)
        if found:
            expected, got, hint = (found.expand(part) for part in parts)
            got = _WORDS.get(got.replace("'<", "<").replace(">'", ">"), got)
            return SpecError(where, expected=expected, got=got, hint=hint)
    return SpecError(where, expected="YAML", got=problem)


class _Builder:
    """The tree from the events, without recursion."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.open: list[Mapping | Listing] = []
        self.keys: list[Scalar | None] = []  # the key that waits for its value, for each of them
        self.root: Item | None = None
        self.count = 0

    def document(self) -> Item | None:
        documents = 0
        for event in self.events():
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(event, "one document", "a second one")
                if event.version or event.tags:
                    raise self.error(event, "no directives", "one (%YAML or %TAG)")
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()
                self.keys.pop()
            elif isinstance(event, (yaml.NodeEvent, yaml.AliasEvent)):
                self.node(event)
        return self.root

    def events(self) -> Iterator[yaml.Event]:
        """PyYAML's events; what it cannot read is an error at its place."""
        loader = yaml.SafeLoader(self.text)
        try:
            while loader.check_event():
                yield loader.get_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs
        except yaml.MarkedYAMLError as error:
            problem = error.problem or error.context or "something else"
            mark = error.context_mark if problem in _OPENED else error.problem_mark
            line, column = (mark.line, mark.column) if mark else (loader.line, loader.column)
            raise _unreadable(f"{self.file}:{line + 1}:{column + 1}", problem) from None
        except (yaml.YAMLError, ValueError, IndexError, OverflowError) as error:
            where = f"{self.file}:{loader.line + 1}:{loader.column + 1}"
            got = "a character or an escape that stands for none"
            raise SpecError(where, expected="YAML", got=got) from error
        finally:
            loader.dispose()

    def error(self, event: yaml.Event, expected: str, got: str, hint: str = "") -> SpecError:
        mark = _start(event)
        where = f"{self.file}:{mark.line + 1}:{mark.column + 1}"
        return SpecError(where, expected=expected, got=got, hint=hint)

    def node(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self.error(event, "no aliases", f"*{event.anchor}", _QUOTE)
        if event.anchor is not None:
            raise self.error(event, "no anchors", f"&{event.anchor}", _QUOTE)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self.error(event, "no tags", f"{tag}"[:60], _QUOTE)
        self.count += 1
        if self.count > MAX_NODES:
            raise self.error(
                event,
                f"at most {MAX_NODES} values in a file",
                "more",
                "large arrays go into .npz, .npy or .csv files beside it",
            )
        if isinstance(event, yaml.ScalarEvent):
            self.scalar(Scalar(self.file, self.text, event), event)
            return
        if len(self.open) >= MAX_DEPTH:
            raise self.error(event, f"at most {MAX_DEPTH} levels", "more")
        kind = Mapping if isinstance(event, yaml.MappingStartEvent) else Listing
        mark = _start(event)
        item = kind(self.file, mark.line + 1, mark.column + 1)
        self.put(item, event)
        self.open.append(item)
        self.keys.append(None)

    def scalar(self, scalar: Scalar, event: yaml.Event) -> None:
        if _CONTROL.search(scalar.text):
            raise self.error(event, "text", "a control character by its escape")
        top = self.open[-1] if self.open else None
        if not isinstance(top, Mapping) or self.keys[-1] is not None:
            self.put(scalar, event)
            return
        key = scalar.text
        if not isinstance(scalar.plain, str):
            got = key if key else "nothing"
            raise self.error(event, "text as key", got, "put it in quotes" if key else "")
        if key == "<<" and scalar.style is None:
            raise self.error(event, "no merge keys", "<<")
        if key in top.items:
            first = top.keys[key]
            raise self.error(
                event, "each key once", f"{key!r} again", f"the first is in line {first.line}"
            )
        self.keys[-1] = top.keys[key] = scalar

    def put(self, item: Item, event: yaml.Event) -> None:
        if not self.open:
            self.root = item
            return
        top, key = self.open[-1], self.keys[-1]
        if isinstance(top, Listing):
            top.items.append(item)
        elif key is None:
            raise self.error(event, "text as key", _what(item))
        else:
            top.items[key.text] = item
            self.keys[-1] = None


def find(root: Item, path: Sequence[str | int]) -> tuple[Item, Scalar | None]:
    """The item at ``path`` and its key; steps that lead nowhere are passed over."""
    item: Item = root
    key: Scalar | None = None
    for step in path:
        if isinstance(item, Mapping) and step in item.items:
            key = item.keys[str(step)]
            item = item.items[str(step)]
        elif isinstance(item, Listing) and isinstance(step, int) and step < len(item.items):
            item, key = item.items[step], None
    return item, key
