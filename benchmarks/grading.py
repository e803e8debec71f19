"""Grading a class: 1,000 YAML submissions to the digits spec, right and wrong ones mixed.

``python -m benchmarks.grading [COUNT]`` writes the submissions to a temporary folder, grades them
and prints a row for RESULTS.md.  The same submissions are made on every machine.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.timing import machine
from graphengine.grading import Grading, grade
from graphengine.grading.run import cores

SPEC = Path(__file__).parent.parent / "specs" / "digits.yaml"

RIGHT: Mapping[str, tuple[str, ...]] = {
    "J/S": ("G", "(softmax(S) - Y) / N", "softmax(S) / N - Y / N"),
    "J/b2": ("sum(G, axis=0)", "ones(N) @ G", "G.T @ ones(N)"),
    "J/W2": ("G.T @ H + 2 * lam * W2", "(H.T @ G).T + lam * W2 + lam * W2"),
    "J/H": ("dH", "G @ W2", "(W2.T @ G.T).T"),
    "J/A": ("dA", "dH * (1 - H**2)", "dH * (1 - tanh(A)**2)", "dH - H * H * dH"),
    "J/b1": ("sum(dA, axis=0)", "ones(N) @ dA"),
    "J/W1": ("dA.T @ X + 2 * lam * W1", "2 * lam * W1 + (X.T @ dA).T"),
    "J/images": ("dA @ W1 / 16", "(W1.T @ dA.T).T / 16"),
}
"""Forms of each right claim; G, dH and dA stand under ``let``."""
WRONG: Mapping[str, tuple[str, ...]] = {
    "J/S": ("softmax(S) - Y", "-G", "softmax(S) / N", "2 * G"),
    "J/b2": ("mean(G, axis=0)", "-sum(G, axis=0)", "sum(G, axis=0) + 2 * lam * b2", "G[-1]"),
    "J/W2": ("G.T @ H", "G.T @ H + lam * W2", "G.T @ A + 2 * lam * W2", "-G.T @ H + 2 * lam * W2"),
    "J/H": ("G @ W2 * (1 - H**2)", "-dH", "N * dH"),
    "J/A": ("dH", "dH * (1 - H)", "dH * H * (1 - H)", "dH * (1 - A**2)", "dH * (1 + H**2)"),
    "J/b1": ("mean(dA, axis=0)", "sum(dH, axis=0)", "dA[-1]"),
    "J/W1": ("dA.T @ X", "dH.T @ X + 2 * lam * W1", "dA.T @ images + 2 * lam * W1"),
    "J/images": ("dA @ W1", "dH @ W1 / 16", "-dA @ W1 / 16", "dA @ W1 / 256"),
}
"""Claims that people get wrong."""
LET = "  let: {G: (softmax(S) - Y) / N, dH: G @ W2, dA: dH * (1 - H**2)}\n"


def submissions(count: int) -> Iterator[tuple[str, str]]:
    """Names and texts: four of ten all right, four with one wrong claim, two with two or three."""
    rng = random.Random(0)
    for number in range(count):
        mistakes = (0, 0, 0, 0, 1, 1, 1, 1, 2, 3)[number % 10]
        wrong = rng.sample(sorted(WRONG), mistakes)
        claims = "".join(
            f'    {claim}: "{rng.choice(WRONG[claim] if claim in wrong else forms)}"\n'
            for claim, forms in RIGHT.items()
        )
        yield f"student{number:04}.yaml", f"derivation:\n{LET}  claims:\n{claims}"


def measured(count: int) -> tuple[float, Grading]:
    """Seconds for all, the start of the workers included, and the grades."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "submissions"
        folder.mkdir()
        for file, text in submissions(count):
            (folder / file).write_text(text, "utf-8")
        start = time.perf_counter()
        found = grade(SPEC, folder, Path(name) / "grades")
        return time.perf_counter() - start, found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seconds, found = measured(count)
    wrong = [n.claims for n in found.grades]
    named = Counter(one.certain for claims in wrong for one in claims if one.standing == "wrong")
    spent = sorted(one.seconds for one in found.grades)
    print(machine())
    print(f"| {count} YAML submissions of the digits spec, {cores()} cores | {seconds:.1f} s |")
    print(f"| a second | {count / seconds:.1f} |")
    print(f"| of one: median, 95 %, slowest | {spent[count // 2]:.3f} s, ", end="")
    print(f"{spent[count * 95 // 100]:.3f} s, {spent[-1]:.3f} s |")
    print(f"| wrong claims, with exactly one explanation | {named.total()}, {named[True]} |")
    print(f"| that could not be judged | {sum(bool(one.error) for one in found.grades)} |")


if __name__ == "__main__":
    main()
