"""The engine on its own: imports, deep graphs, the lecture's passes, explicit Jacobians.

``python -m benchmarks.engine`` prints the table that stands in RESULTS.md.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import graphengine as ge
from benchmarks.timing import machine, medians, shown
from graphengine import Jacobian, lecture, term

SPECS = Path(__file__).parent.parent / "specs"


def imports() -> Iterator[tuple[str, str]]:
    """Wall time of fresh processes, above that of one that does nothing."""

    def process(*args: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, *args], check=True, capture_output=True)

    found = medians(
        {
            "nothing": process("-c", "pass"),
            "graphengine --help": process("-m", "graphengine", "--help"),
            "graphengine --version": process("-m", "graphengine", "--version"),
            "import graphengine; graphengine.Graph": process(
                "-c", "import graphengine; graphengine.Graph"
            ),
            "import numpy, scipy.sparse, networkx": process(
                "-c", "import numpy, scipy.sparse, networkx"
            ),
        }
    )
    bare = found.pop("nothing")
    for name, seconds in found.items():
        yield name, f"{shown(seconds)} ({shown(seconds - bare)} above an empty Python)"


def chain() -> Iterator[tuple[str, str]]:
    """A chain of 100,000 scalar nodes."""
    length = 100_000

    def build() -> ge.Graph:
        graph = ge.Graph("chain")
        node = graph.input("x")
        for _ in range(length // 2):
            node = ge.tanh(node) * 0.999
        graph.result("y", node)
        return graph

    graph = build()
    run = graph.run({"x": 0.5})
    dag = graph.dag
    dag.nodes["x"]["value"] = 0.5
    lecture.EvaluateGraphFn(dag)

    diamonds = ge.Graph("diamonds")
    node = diamonds.input("x")
    for _ in range(2_000):
        node = 0.6 * ge.sin(node) + 0.4 * node
    diamonds.result("y", node)
    stacked = diamonds.dag
    stacked.nodes["x"]["value"] = 0.5

    def both(pass_dag: Any) -> None:
        lecture.EvaluateGraphFn(pass_dag)
        lecture.PerformBackPass(pass_dag)

    found = medians(
        {
            "build": build,
            "evaluate": lambda: graph.run({"x": 0.5}),
            "gradient": lambda: graph.run({"x": 0.5}).gradient("x"),
            "Jacobian": lambda: run.jacobian("y", "x"),
            "lecture": lambda: both(dag),
            "diamonds": lambda: both(stacked),
        },
        rounds=7,
    )
    yield "chain of 100,000 scalar nodes: build", shown(found["build"])
    yield "the same: evaluate", shown(found["evaluate"])
    yield "the same: evaluate and take the gradient", shown(found["gradient"])
    yield "the same: Jacobian by composition", shown(found["Jacobian"])
    yield "the same: the lecture's two passes, explicit matrices", shown(found["lecture"])
    yield "2,000 stacked diamonds: the lecture's two passes", shown(found["diamonds"])


def passes() -> Iterator[tuple[str, str]]:
    """S0's example at the size of CIFAR-10."""
    C, d = 10, 3072
    rng = np.random.default_rng(0)
    graph = ge.Graph("softmax regression")
    x, y = graph.input("x", (d,)), graph.input("y", (C,))
    W, b = graph.parameter("W", (C, d)), graph.parameter("b", (C,))
    lam = graph.constant("lam", 0.1)
    z = graph.node("z", W @ x)
    p = graph.node("p", ge.softmax(graph.node("s", z + b)))
    loss = graph.node("l", -ge.log(y @ p))
    graph.result("J", loss + lam * graph.node("r", ge.sum(W**2)))
    values = {
        "x": rng.normal(size=d),
        "y": np.eye(C)[3],
        "W": rng.normal(size=(C, d)) * 0.01,
        "b": rng.normal(size=C),
    }
    dag = graph.dag
    for name, value in values.items():
        dag.nodes[name]["value"] = value

    def explicit() -> None:
        lecture.EvaluateGraphFn(dag)
        lecture.PerformBackPass(dag)

    def never_formed() -> Any:
        run = graph.run(values)
        return run.gradient("W"), run.gradient("b")

    found = medians({"lecture": explicit, "run": never_formed}, rounds=15)
    gradient = never_formed()[0]
    assert np.allclose(dag.nodes["W"]["Grad"].reshape(C, d), gradient, rtol=1e-12)
    yield f"softmax regression, C = {C}, d = {d}: the lecture's passes", shown(found["lecture"])
    yield "the same: run and gradients, no matrix formed", shown(found["run"])


def kronecker() -> Iterator[tuple[str, str]]:
    """``I ⊗ xᵀ`` as CSR, pattern known, against ``scipy.sparse.kron``."""
    C, d = 256, 1024
    x = np.random.default_rng(0).normal(size=d)
    jacobian = Jacobian.of(term("i <- ij", x="j"), (C,), (C, d), {"x": x})
    row = x[None, :]

    def theirs() -> Any:
        return sp.kron(sp.eye_array(C, format="csr"), row, format="csr")

    assert abs(jacobian.tocsr() - theirs()).max() == 0
    found = medians({"ours": jacobian.tocsr, "kron": theirs}, rounds=51)
    ratio = found["kron"] / found["ours"]
    yield f"I ⊗ xᵀ to CSR, C = {C}, d = {d}, pattern known", shown(found["ours"])
    yield "the same by scipy.sparse.kron", f"{shown(found['kron'])} ({ratio:.1f} times ours)"


def digits() -> Iterator[tuple[str, str]]:
    """The digits network's outputs with respect to its first weight matrix, batch of 64."""
    batch = 64
    spec = ge.load(SPECS / "digits.yaml")
    run = spec.at({**spec.sizes, "N": batch}).run(
        {
            name: value[:batch] if value.shape[:1] == (spec.sizes["N"],) else value
            for name, value in spec.values.items()
        }
    )
    of, wrt = "S", "W1"
    matrix = run.jacobian(of, wrt)
    found = medians({"jacobian": lambda: run.jacobian(of, wrt)}, rounds=9)
    tracemalloc.start()
    run.jacobian(of, wrt)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stored = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    yield (
        f"digits, ∂{of}/∂{wrt}, batch of {batch}: {matrix.shape[0]} × {matrix.shape[1]}",
        (
            f"{shown(found['jacobian'])}, {matrix.nnz:,} nonzeros, "
            f"peak {peak / 2**20:.1f} MiB for a matrix of {stored / 2**20:.1f} MiB"
        ),
    )


def main() -> None:
    """Print the table."""
    print(f"{machine()}\n\n| what | measured |\n| --- | --- |")
    for part in (imports, chain, passes, kronecker, digits):
        for what, measured in part():
            print(f"| {what} | {measured} |", flush=True)


if __name__ == "__main__":
    main()
