"""Checkers of gradients side by side, on the derivations of the bench (``tests/bench``).

``python -m benchmarks.checkers [NAME ...]`` prints what each detects, what it takes for wrong
although it is right, and what it says; all contenders in one run on the same cases, at their own
default tolerances.  Needs the ``bench`` extra; a peer that is not installed is left out.

The cases are the claims about a gradient of a scalar result.  A peer gets the graph's value as a
function of the variable (all else fixed) and the claimed gradient, at a point drawn by
:mod:`graphengine.check.points`, which keeps away from kinks: a favour to the peers.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.optimize import check_grad
from scipy.optimize._numdiff import check_derivative

from benchmarks.timing import machine, shown
from graphengine.check.points import draw
from graphengine.derivation import FormulaDerivation, Point
from graphengine.errors import GraphEngineError
from graphengine.graph import Graph, Node
from graphengine.ops.base import Array
from tests.bench import cases

# --- one case -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Problem:
    """A function of an array, a point, and the gradient that is claimed there."""

    value: Callable[[Array], float]
    x: Array
    claimed: Array


Peer = Callable[[Problem], str]
"""Says what is wrong, or nothing; exceptions count as saying so."""


def function(graph: Graph, known: Mapping[Node, Array], wrt: Node) -> Callable[[Array], float]:
    """The result as a function of one node, the others that it is not computed from fixed."""
    top, below = graph.result_node, {wrt}
    moved = []
    for node in graph.nodes:
        if node is not wrt and below.intersection(node.parents):
            below.add(node)
            moved.append(node)

    def value(x: Array) -> float:
        found = {**known, wrt: np.asarray(x, dtype=np.float64).reshape(wrt.shape)}
        for node in moved:
            assert node.op is not None
            args = (found[arg] if isinstance(arg, Node) else arg for arg in node.args)
            found[node] = node.op.value(*args)
        return float(found[top].reshape(()))

    return value


@lru_cache(maxsize=8)
def drawn(file: Path, of: str, wrt: str) -> tuple[Point, Mapping[Node, Array]]:
    """A good point of a spec at its own sizes, and the values of all nodes there."""
    spec = cases.spec_of(file)
    run = draw(
        spec.graph, np.random.default_rng(0), claims=[(of, wrt)], like=spec.values, sizes=spec.sizes
    ).run
    values = {node: run.value(node) for node in spec.graph.nodes}
    named = {name: values[node] for name, node in spec.graph.named.items()}
    return Point(spec.sizes, spec.graph, named), values


def problem(file: Path, case: cases.Case) -> Problem | None:
    """The problem for the peers; None for claims that are not about a gradient of the result, or
    one of more than :data:`MOST` entries.
    """
    (claim,) = case.claims
    of, wrt = claim.split("/")
    graph = cases.spec_of(file).graph
    try:
        top = graph.result_node
    except GraphEngineError:
        return None
    if graph[of] is not top or top.size != 1 or graph[wrt].size > MOST:
        return None
    point, values = drawn(file, of, wrt)
    made = FormulaDerivation(case.claims, case.let, functions=cases.spec_of(file).functions)
    claimed = made.evaluate([point])[0][claim]
    if isinstance(claimed, GraphEngineError) or not np.isfinite(claimed).all():
        return None
    x = values[graph[wrt]]
    if not case.mistakes and claimed.size == x.size:
        claimed = claimed.reshape(x.shape)  # a right one may be a row or flat: not so for peers
    return Problem(function(graph, values, graph[wrt]), x, claimed)


# --- peers --------------------------------------------------------------------------------


def flat(one: Problem) -> tuple[Callable[[Array], float], Callable[[Array], Array], Array]:
    """As SciPy takes it: a matrix and its gradient become vectors, a vector stays as it is."""
    claimed = one.claimed.ravel() if one.x.ndim != 1 else one.claimed
    return one.value, lambda _: claimed, one.x.ravel()


def scipy_check_grad(one: Problem, *, limit: float) -> str:
    """SciPy names no tolerance; ``limit`` is the caller's."""
    error = float(check_grad(*flat(one)))
    return "" if error < limit else f"{error:.6g}"


def scipy_check_derivative(one: Problem) -> str:
    """ "On the order of 1e-6 or lower", says its documentation."""
    error = float(check_derivative(*flat(one)))
    return "" if error < 1e-6 else f"{error:.6g}"


def torch_gradcheck(one: Problem, *, fast: bool) -> str:
    import torch

    class Claim(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: Any) -> Any:
            return torch.tensor(one.value(x.detach().numpy()), dtype=torch.float64)

        @staticmethod
        def backward(_: Any, upstream: Any) -> Any:
            return upstream * torch.from_numpy(np.array(one.claimed))

    x = torch.tensor(np.array(one.x), dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(Claim.apply, (x,), fast_mode=fast)
    return ""


def jax_check_grads(one: Problem) -> str:
    from jax.test_util import check_grads

    value, now = jax_value()
    now[:] = [one]
    check_grads(value, (one.x,), order=1, modes=("rev",))
    return ""


@cache
def jax_value() -> tuple[Callable[[Any], Any], list[Problem]]:
    """The value of the problem in a list: JAX compiles one function, once for each shape."""
    import jax

    jax.config.update("jax_enable_x64", True)  # noqa: FBT003 (it has no keyword)
    number = jax.ShapeDtypeStruct((), np.float64)
    now: list[Problem] = []

    def outside(x: Any) -> Any:
        return np.float64(now[0].value(np.asarray(x)))

    @jax.custom_vjp
    def value(x: Any) -> Any:
        return jax.pure_callback(outside, number, x)

    value.defvjp(lambda x: (value(x), None), lambda _, up: (up * now[0].claimed,))
    return value, now


def autograd_check_grads(one: Problem) -> str:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    value = primitive(one.value)
    defvjp(value, lambda *_: lambda upstream: upstream * one.claimed)
    np.random.seed(0)  # noqa: NPY002 (it draws its direction there)
    check_grads(value, modes=["rev"], order=1)(np.array(one.x))
    return ""


PEERS: Mapping[str, tuple[str, Peer]] = {
    "scipy.optimize.check_grad < 1e-6": ("scipy", partial(scipy_check_grad, limit=1e-6)),
    "scipy.optimize.check_grad < 1e-4": ("scipy", partial(scipy_check_grad, limit=1e-4)),
    "scipy check_derivative < 1e-6": ("scipy", scipy_check_derivative),
    "torch gradcheck": ("torch", partial(torch_gradcheck, fast=False)),
    "torch gradcheck, fast_mode": ("torch", partial(torch_gradcheck, fast=True)),
    "jax check_grads": ("jax", jax_check_grads),
    "autograd check_grads": ("autograd", autograd_check_grads),
}
OURS = "graphengine.check"
MOST = 3000
"""Entries of the variable: a difference for each of more than these takes minutes a case."""


def installed() -> dict[str, Peer]:
    found = {}
    for name, (package, peer) in PEERS.items():
        try:
            version(package)
        except PackageNotFoundError:
            print(f"{name} is left out: {package} is not installed")
        else:
            found[name] = peer
    return found


def said(peer: Peer, one: Problem) -> str:
    """What a peer says against a claim; nothing when it lets it pass."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return peer(one)
    except Exception as error:  # noqa: BLE001 (the peers say it with exceptions of all kinds)
        return f"{type(error).__name__}: {error}"


# --- the comparison -----------------------------------------------------------------------


@dataclass
class Score:
    """What one contender did."""

    detected: int = 0
    alarms: int = 0
    named: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    alarmed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def compare(files: Iterable[Path]) -> tuple[dict[str, Score], Counter[str]]:
    """The scores by contender, and how many cases there are of each sort."""
    peers = installed()
    scores = {name: Score() for name in (OURS, *peers)}
    counts: Counter[str] = Counter()
    for file in files:
        for wrong, case in _all(file):
            one = problem(file, case)
            if one is None:
                counts["left out"] += 1
                continue
            counts["wrong" if wrong else "right"] += 1
            for name, peer in peers.items():
                start = time.perf_counter()
                against = said(peer, one)
                scores[name].seconds.append(time.perf_counter() - start)
                _note(scores[name], case, against=bool(against), wrong=wrong)
            _ours(scores[OURS], file, case, wrong=wrong)
        print(f"  {file.stem}", file=sys.stderr)
    return scores, counts


def _all(file: Path) -> Iterator[tuple[bool, cases.Case]]:
    for case in cases.right(file):
        yield False, case
    for case in cases.wrong(file):
        yield True, case


def _ours(score: Score, file: Path, case: cases.Case, *, wrong: bool) -> None:
    start = time.perf_counter()
    report = cases.report(file, case)
    score.seconds.append(time.perf_counter() - start)
    result = report.claims[0]
    _note(score, case, against=result.verdict != "right", wrong=wrong)
    score.named += wrong and cases.outcome(report, case) == "right"


def _note(score: Score, case: cases.Case, *, against: bool, wrong: bool) -> None:
    if wrong:
        score.detected += against
        if not against:
            kinds = (" or ".join(sorted(kinds)) for kinds, _ in case.mistakes)
            score.missed[" and ".join(kinds)] += 1
    elif against:
        score.alarms += 1
        score.alarmed.append(f"{case.file} {case.name}")


EXAMPLE = ("softmax_regression", "J/W", "outer(g, x)")


def example(peers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What each says of one wrong claim: the penalty's gradient left out."""
    name, claim, formula = EXAMPLE
    file = cases.HERE / f"{name}.yaml"
    case = cases.Case(name, claim, {claim: formula}, {"g": "p - y"}, claim=claim)
    one = problem(file, case)
    assert one is not None
    yield OURS, cases.report(file, case)[claim].what
    for peer in peers:
        yield peer, said(PEERS[peer][1], one)


def main(names: list[str]) -> None:
    files = [file for file in cases.FILES if not names or file.stem in names]
    scores, counts = compare(files)
    found = [f"{name} {version(name)}" for name in ("torch", "jax", "autograd") if _has(name)]
    print(", ".join([machine(), *found]))
    print(
        f"\n{counts['wrong']} wrong and {counts['right']} right claims from {len(files)} graphs "
        f"({counts['left out']} others: no gradients of a number, or over {MOST} entries)\n"
    )
    print("| checker | detects | of | false alarms | of | names the mistake | median time |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, score in scores.items():
        named = str(score.named) if name == OURS else "–"
        print(
            f"| {name} | {score.detected} | {counts['wrong']} | {score.alarms} "
            f"| {counts['right']} | {named} | {shown(median(score.seconds))} |"
        )
    print("\nMissed, by the kind of mistake:")
    for name, score in scores.items():
        missed = ", ".join(f"{kind} {count}" for kind, count in score.missed.most_common(8))
        print(f"- {name}: {missed or 'none'}")
    print("\nFalse alarms, the first five:")
    for name, score in scores.items():
        print(f"- {name}: {'; '.join(score.alarmed[:5]) or 'none'}")
    name, claim, formula = EXAMPLE
    print(f"\nWhat they say of {claim} = {formula} in {name} (2 lam W is missing):")
    for peer, says in example(list(scores)[1:]):
        print(f"- {peer}:")
        lines = says.strip().splitlines()
        shorter = [*lines[:8], "…"] if len(lines) > 9 else lines
        print("\n".join(f"      {line}" for line in shorter))


def _has(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
