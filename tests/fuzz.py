"""Fuzz the formula parser and the spec loader: whatever comes in, only GraphEngineError comes out.

python tests/fuzz.py formula --seconds 60 --seed 0
python tests/fuzz.py loader --seconds 60 --seed 0

Prints how many inputs were tried, how many were accepted and the slowest one; the exit status is
1 if any input raised something else, which is printed with its traceback.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from graphengine.errors import GraphEngineError
from graphengine.formula import build, parse
from graphengine.graph import Graph
from graphengine.ops import functions
from graphengine.spec import load, load_derivation

HERE = Path(__file__).parent
FORMULAS = [
    "W @ x + b",
    "-log(y @ softmax(W @ x + b)) + lam * sum(W**2)",
    "outer(x, x)[:, 0] * (x > 0) - x.T / C",
    "concatenate([x, y], axis=0)",
    "where(x >= 0, x, 0.5 * x**2)",
    "kron(eye(C), x) @ vec(W)",
    "sum(W, axis=1, keepdims=True) / ones(C, 1)",
    "reshape(W, [d, C])[1:, ::-1]",
    "inv(W @ W.T + eye(C) * 1e-3)",
    "one_hot([0, 1], C) @ W[:2, None]",
    "-(y / (y @ x[:3])) @ (diag(y) - outer(y, y))",
    "9**9**9 + ones(10**6, 10**6)",
]
"""Formulas to start from."""
PIECES = [
    *"+-*/@()[],.:=<>^'\"#%!&|~{}\\;?$ \t\n²·λ∂−√",
    *("**", "==", "!=", ">=", "//", ":=", "->", "...", ".T", ".sum()", "np.exp", "W", "x", "y"),
    *("C", "d", "lam", "e", "pi", "inf", "True", "None", "lambda", "if", "else", "and", "not"),
    *("0", "1", "2.5", "1e400", "10**9", "0x1F", "1_0", "007", "1j", ".5", "9" * 30, "-1"),
    *("exp(", "sum(", "axis=", "eye(", "ones(", "reshape(", "[0]", "[:, 1]", "take(", "clip(", "["),
    *("concatenate(", "stack([", "broadcast_to(", "repeat(", "one_hot(", "softmax(", "import os"),
    *("__class__", "\0", "\x85", "\ufeff", "\ud800", "é", "𝔁", "ﬁ", "x" * 300, "(" * 60, "-" * 60),
]
YAML = [
    *"-:?{}[],&*!|>'\"%@`#~\n\t ",
    *("- ", ": ", "? ", "<<: ", "&a ", "*a ", "!!str ", "---\n", "...\n", "%YAML 1.1\n", "|\n"),
    *(">-\n", "true", "null", "~", ".inf", ".nan", "1e999", "0o17", "1_000", "12:30", "no", "'"),
    *('"', '"\\x', '"\\U00110000"', '"\\ud800"', "[" * 40, "{" * 40, "- " * 40, "\0", "\x85"),
    *("\u2028", "\ufeff", "{file: data/iris.csv}", "{file: ../x.npy}", "[[1], 2]", "kind: real"),
    *("{op: sum, parents: [x], axis: 0}", "derivation:\n", "  claims: {J/W: x}\n", "result: J\n"),
]
"""Pieces of YAML to put anywhere."""


@dataclass
class Count:
    """What a run of the fuzzer found."""

    tried: int = 0
    accepted: int = 0
    slowest: float = 0.0
    slowest_input: str = ""
    failures: list[str] = field(default_factory=list)

    def add(self, shown: str, attempt: Callable[[], object]) -> None:
        """Try one input."""
        start = time.perf_counter()
        try:
            attempt()
            self.accepted += 1
        except GraphEngineError as error:
            str(error)
        except Exception:  # noqa: BLE001 (anything else is a finding)
            self.failures.append(f"{shown[:2000]!r}\n{traceback.format_exc()}")
        self.tried += 1
        spent = time.perf_counter() - start
        if spent > self.slowest:
            self.slowest, self.slowest_input = spent, shown[:200]


def mutated(rng: random.Random, text: str, pieces: list[str]) -> str:
    """``text`` with a few random edits."""
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at = rng.randint(0, len(text))
        end = min(len(text), at + rng.choice([0, 1, 1, 2, 5, 20]))
        kind = rng.random()
        if kind < 0.5:
            text = text[:at] + rng.choice(pieces) + text[end:]
        elif kind < 0.7:
            text = text[:at] + text[end:]
        elif kind < 0.85:
            text = text[:at] + text[at:end] * rng.choice([2, 3, 50]) + text[end:]
        else:
            other = rng.randint(0, len(text))
            text = text[:at] + text[other : other + rng.randint(0, 30)] + text[at:]
    return text


def grown(rng: random.Random, depth: int) -> str:
    """A formula of the grammar, at random."""
    if depth <= 0 or rng.random() < 0.15:
        return rng.choice(["W", "x", "y", "b", "C", "d", "lam", "0", "1", "2.5", "1e-3", "pi"])
    one, two = grown(rng, depth - 1), grown(rng, depth - 1)
    name = rng.choice(list(functions()))
    return rng.choice(
        [
            f"{one} {rng.choice(['+', '-', '*', '/', '**', '@', '<', '=='])} {two}",
            f"({one}) {rng.choice(['*', '@', '**'])} ({two})",
            f"-{one}",
            f"({one}).T",
            f"({one})[{rng.choice(['0', ':', '1:', '::-1', '...', two, '[0, 1]', ':, 0'])}]",
            f"{name}({one})",
            f"{name}({one}, {two})",
            f"{name}([{one}, {two}])",
            f"{name}({one}, {rng.choice(['axis=0', 'keepdims=True', 'axis=-9', 'shape=[2]'])})",
            f"[{one}, {two}]",
            f"eye({one})",
            f"ones({one}, {two})",
        ]
    )


def formulas(rng: random.Random) -> Iterator[str]:
    """Inputs for the formula parser."""
    while True:
        kind = rng.random()
        if kind < 0.4:
            yield mutated(rng, rng.choice(FORMULAS), PIECES)
        elif kind < 0.65:
            yield grown(rng, rng.randint(1, 5))
        elif kind < 0.75:
            yield mutated(rng, grown(rng, 3), PIECES)
        elif kind < 0.95:
            yield "".join(rng.choices(PIECES, k=rng.randint(1, 30)))
        elif kind < 0.98:
            top = rng.choice([127, 70000])
            yield "".join(chr(rng.randint(0, top)) for _ in range(rng.randint(1, 200)))
        else:
            yield rng.choice(PIECES) * rng.choice([10, 1000, 20000])


def fuzz_formulas(seed: int, more: Callable[[int], bool]) -> Count:
    """Parse and build formulas as long as ``more(count)``."""
    rng, count, known = random.Random(seed), Count(), functions()
    inputs = formulas(rng)
    while more(count.tried):
        text = next(inputs)

        def attempt(text: str = text) -> None:
            graph = Graph("fuzz")
            names = {
                "x": graph.input("x", (4,)),
                "y": graph.input("y", (3,)),
                "W": graph.parameter("W", (3, 4)),
                "b": graph.parameter("b", (3,)),
                "lam": graph.constant("lam", 0.1),
                "folded": np.ones((2, 2)),
                "C": 3,
                "d": 4,
            }
            build(parse(text), names, known, graph=graph, limit=1 << 20)

        count.add(text, attempt)
    return count


def fuzz_loader(seed: int, more: Callable[[int], bool]) -> Count:
    """Load mutated spec files and submissions as long as ``more(count)``."""
    rng, count = random.Random(seed), Count()
    good = [path.read_bytes() for path in sorted((HERE.parent / "specs").glob("*.yaml"))]
    bad = [path.read_bytes() for path in sorted((HERE / "bad").glob("*.yaml"))]
    python = [path.read_bytes() for path in sorted((HERE / "bad").glob("*.py"))]
    spec = load(HERE.parent / "specs" / "softmax_regression.yaml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for path in (HERE / "bad" / "data").iterdir():
            (folder / "data" / path.name).write_bytes(path.read_bytes())
        while more(count.tried):
            suffix = rng.choice(["yaml"] * 8 + ["py"] + ["submission.yaml"])
            data = rng.choice(python if suffix == "py" else rng.choice([good, good, bad]))
            kind = rng.random()
            if kind < 0.85:
                text = data.decode("utf-8", "surrogateescape")
                text = mutated(rng, text, PIECES if rng.random() < 0.3 else YAML)
                if rng.random() < 0.2:
                    lines = text.splitlines(keepends=True)
                    rng.shuffle(lines)
                    text = "".join(lines)
                data = text.encode("utf-8", "surrogatepass" if rng.random() < 0.5 else "replace")
            elif kind < 0.95:
                data = "".join(rng.choices(YAML, k=rng.randint(1, 60))).encode()
            else:
                data = rng.randbytes(rng.randint(0, 300))
            path = folder / f"input.{suffix}"
            path.write_bytes(data)
            attempt = (
                (lambda path=path: load(path))
                if suffix == "yaml"
                else (lambda path=path: load_derivation(path, spec))
            )
            count.add(f"{suffix}: {data!r}", attempt)
    return count


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["formula", "loader"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    end = time.monotonic() + given.seconds
    fuzz = fuzz_formulas if given.what == "formula" else fuzz_loader
    count = fuzz(given.seed, lambda _: time.monotonic() < end)
    for failure in count.failures[:20]:
        sys.stdout.write(f"{failure}\n")
    sys.stdout.write(
        f"{given.what}: {count.tried} inputs in {given.seconds:g} s (seed {given.seed}), "
        f"{count.accepted} accepted, {len(count.failures)} failures, "
        f"slowest {count.slowest:.2f} s: {count.slowest_input!r:.120}\n"
    )
    return 1 if count.failures else 0


if __name__ == "__main__":
    sys.exit(main())
