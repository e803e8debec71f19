"""The blocks of the documentation that are made from the code.

The README's tables list ops, formula functions and input kinds; the page of mistakes shows an
example of each kind with what a check says of it, which is found by running it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from graphengine.formula import FORMULA_ONLY
from graphengine.node import KINDS
from graphengine.ops import OPS
from graphengine.ops.base import Op

if TYPE_CHECKING:
    from graphengine.check import Checker, ClaimResult
    from graphengine.check.mistakes.kinds import Example

__all__ = ["FunctionRow", "examined", "filled", "functions", "markdown"]

SPECS = Path(__file__).parent.parent / "specs"


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


# --- the page of mistakes -------------------------------------------------------------------------


def examined(example: Example, checkers: dict[str, Checker] | None = None) -> ClaimResult:
    """What the check says of an example's wrong claim.

    ``checkers`` keeps what was prepared for a spec, by its name.
    """
    # the command line lists functions without loading the check
    from graphengine.check import Checker  # noqa: PLC0415 (see above)
    from graphengine.check.mistakes.kinds import OnFunction  # noqa: PLC0415 (see above)

    if isinstance(example, OnFunction):
        return example.check().claims[0]
    known = {} if checkers is None else checkers
    if example.spec not in known:
        known[example.spec] = Checker(SPECS / f"{example.spec}.yaml")
    return known[example.spec].check({example.claim: example.wrong}).claims[0]


def _mistakes() -> str:
    """Each kind with its meaning, an example, and what the check says of it."""
    from graphengine.check.mistakes.kinds import KINDS  # noqa: PLC0415 (loads the whole check)
    from graphengine.check.mistakes.rows import rows_of  # noqa: PLC0415 (the same)

    checkers: dict[str, Checker] = {}
    parts = []
    for kind, (means, example) in KINDS.items():
        found = examined(example, checkers)
        rows = list(rows_of(kind))
        word = "Row" if len(rows) == 1 else "Rows"
        listed = f" ({word} {', '.join(map(str, rows))} below.)" if rows else ""
        told = found.mistakes[0]
        parts += [
            f"### {kind}",
            textwrap.fill(means + listed, 100),
            _shown(example),
            f"The check says **{found.standing}**, `{told.kind}` at `{told.where}`:",
            f"```text\n{textwrap.fill(found.what, 100)}\n```",
        ]
    return "\n\n".join(parts)


def _shown(example: Example) -> str:
    """The formulas of a claim, or the source of a call."""
    from graphengine.check.mistakes.kinds import OnGraph  # noqa: PLC0415 (as above)

    if isinstance(example, OnGraph):
        return (
            f"`{example.claim}` in [`{example.spec}`](specs/{example.spec}.yaml):\n\n```yaml\n"
            f"right: {example.right}\nwrong: {example.wrong}\n```"
        )
    body = textwrap.dedent(inspect.getsource(example.check).partition("\n")[2])
    return f"```python\n{body.strip().replace('return check_', 'ge.check_', 1)}\n```"


def _rows() -> str:
    """What each mistake of the evidence is named, or why it is not."""
    from graphengine.check.mistakes.rows import ROWS  # noqa: PLC0415 (loads the whole check)

    def listed(kinds: Sequence[str]) -> str:
        return ", ".join(f"`{kind}`" for kind in kinds) or "–"

    return _table(
        ("", "mistake", "on a graph", "in a plain function", "notes"),
        [
            (
                str(number),
                row.mistake,
                listed(row.graph),
                listed(row.function),
                "; ".join(filter(None, [row.note, "`check_op` finds it" if row.op else ""])),
            )
            for number, row in ROWS.items()
        ],
    )


PAGE: Mapping[str, Callable[[], str]] = {"mistakes": _mistakes, "rows": _rows}
"""The blocks of the page of mistakes; they run checks, and are made where a text has them."""


def filled(text: str) -> str:
    """``text`` with each block ``<!-- name -->`` … ``<!-- end name -->`` made anew."""
    blocks = {name: lambda made=made: made for name, made in markdown().items()} | dict(PAGE)
    for name, make in blocks.items():
        if f"<!-- {name} -->" in text:
            made = make()
            text = re.sub(
                f"(<!-- {name} -->\n).*?(\n<!-- end {name} -->)",
                lambda found, made=made: found[1] + made + found[2],  # type: ignore[misc]  # bound now
                text,
                flags=re.DOTALL,
            )
    return text


if __name__ == "__main__":  # python -m graphengine.catalogue README.md MISTAKES.md
    for given in map(Path, sys.argv[1:]):
        given.write_text(filled(given.read_text("utf-8")), "utf-8")
