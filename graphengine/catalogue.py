"""The tables of the documentation, made from the code: ops, formula functions, input kinds."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from graphengine.formula import FORMULA_ONLY
from graphengine.node import KINDS
from graphengine.ops import OPS
from graphengine.ops.base import Op

__all__ = ["FunctionRow", "functions", "markdown"]


class FunctionRow(NamedTuple):
    """One function of the formula language (and of the Python API)."""

    family: str
    call: str
    about: str


def functions() -> list[FunctionRow]:
    """All functions: the ops by family, then what the formula language adds."""
    rows = [FunctionRow(op.family, _call(op), _first_sentence(op)) for op in OPS.values()]
    return rows + [FunctionRow("formula only", call, about) for call, about in FORMULA_ONLY.items()]


def _call(op: type[Op]) -> str:
    parameters = [
        field.name if field.default is dataclasses.MISSING else f"{field.name}={field.default!r}"
        for field in dataclasses.fields(op)  # type: ignore[arg-type]  # each op is one
    ]
    arguments = [f"[{op.arguments[0]}, …]"] if op.variadic else list(op.arguments)
    return f"{op.name}({', '.join(arguments + parameters)})"


def _first_sentence(op: type[Op]) -> str:
    return " ".join((op.__doc__ or "").strip().split("\n\n")[0].split())


def markdown() -> dict[str, str]:
    """The tables as Markdown, by the name of the README's block that holds them."""
    rows = functions()
    return {
        "functions": _table(
            ("family", "function", "what it is"),
            [(row.family, f"`{row.call}`", row.about.replace("``", "`")) for row in rows],
        ),
        "kinds": _table(
            ("kind", "values"), [(f"`{kind}`", about) for kind, about in KINDS.items()]
        ),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def filled(text: str) -> str:
    """``text`` with each block ``<!-- name -->`` … ``<!-- end name -->`` made anew."""
    for name, made in markdown().items():
        text = re.sub(
            f"(<!-- {name} -->\n).*?(\n<!-- end {name} -->)",
            lambda found, made=made: found[1] + made + found[2],  # type: ignore[misc]  # bound now
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":  # python -m graphengine.catalogue README.md
    for given in map(Path, sys.argv[1:]):
        given.write_text(filled(given.read_text("utf-8")), "utf-8")
