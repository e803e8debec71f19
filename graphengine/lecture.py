"""The lecture's two passes, line for line, on a ``networkx.DiGraph``.

The names are those of the lecture (DD2424, lecture 3), and so is what is left behind::

    G.nodes[n]["value"], G.nodes[n]["computed"]             the forward pass
    G.nodes[n]["Grad"], G.nodes[n]["GradComputed"]          the backward pass
    G.edges[p, c]["Jacobian"]                               ∂c/∂p, a scipy.sparse array

``G`` comes from :attr:`graphengine.Graph.dag`; the values of the start nodes stand in
``G.nodes[s]["value"]`` before the pass, and ``G.graph["result"]`` names the result node.  ``Grad``
is a row, ``1 × size``; for a result that is no number the pass starts with the identity in place
of 1, and ``Grad`` is the full Jacobian, ``size of the result × size`` (sparse).

Five things that the pseudo-code leaves open are closed, none of which changes a result:

1. ``BackOp`` goes on to the parents only when the node's own gradient is ready, so that each
   Jacobian is computed once (read literally, every path is walked: exponential on diamonds).
2. "Children" in the backward pass are those that lead to the result; a node that does not
   lead to it is not visited.
3. The order of visits is that of the recursion, but the recursion has a stack of its own, so
   that a graph may be as deep as memory allows.
4. Where a child takes the same parent several times, the edge's Jacobian is the sum over the
   places.
5. A node that is reached on a longer path first (``x`` in ``z(x) - x``) waits until the Jacobians
   of all its children with respect to it are there, not their gradients alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

import networkx as nx
import numpy as np
import scipy.sparse as sp

from graphengine.errors import GraphEngineError, GraphError, TooLargeError, ValuesError, nearest
from graphengine.jacobian import DEFAULT_LIMIT
from graphengine.jacobian.patterns import sparse_product
from graphengine.ops.base import Array, as_value

__all__ = [
    "AllGradientsComputed",
    "BackOp",
    "BackPropagateChain",
    "CheckAllNodesComputed",
    "ComputeBranch",
    "EvaluateChain",
    "EvaluateGraphFn",
    "GetChildren",
    "GetJacobian",
    "GetNodeFn",
    "GetParents",
    "GetResultNode",
    "GetStartNodes",
    "PerformBackPass",
    "Visit",
]

DAG: TypeAlias = "nx.DiGraph[str]"
Visits: TypeAlias = "list[Visit]"
Row: TypeAlias = "Array | sp.csr_array"
_Recursion: TypeAlias = Generator["_Recursion", None, None]


class Visit(NamedTuple):
    """One thing that a pass computed: the ``"value"`` or ``"Grad"`` of a node, or the
    ``"Jacobian"`` of ``node`` with respect to ``parent``.
    """

    what: str
    node: str
    parent: str | None = None


# --- the forward pass ---------------------------------------------------------------------


def EvaluateGraphFn(G: DAG, *, record: Visits | None = None) -> None:
    """Compute the value of every node (lecture, "Generic Forward Pass").

    ``record`` collects the visits in their order.  Raises :class:`ValuesError` for a start node
    without a value, or with one of the wrong shape.
    """
    _forget(G, "computed")
    S = GetStartNodes(G)
    for s in S:
        _set_start_value(s, G)
    for s in S:
        ComputeBranch(s, G, record=record)


def ComputeBranch(s: str, G: DAG, *, record: Visits | None = None) -> None:
    """Compute all nodes below ``s`` whose parents are computed."""
    _recurse(_ComputeBranch(s, G, record))


def _ComputeBranch(s: str, G: DAG, record: Visits | None) -> _Recursion:
    C_s = GetChildren(s, G)
    for n in C_s:
        if not G.nodes[n].get("computed", False):
            P_n = GetParents(n, G)
            if CheckAllNodesComputed(P_n, G):
                f_n = GetNodeFn(n, G)
                G.nodes[n]["value"] = f_n([G.nodes[p]["value"] for p in P_n])
                G.nodes[n]["computed"] = True
                _note(record, Visit("value", n))
                yield _ComputeBranch(n, G, record)


# --- the backward pass --------------------------------------------------------------------


def PerformBackPass(G: DAG, *, record: Visits | None = None, limit: int = DEFAULT_LIMIT) -> None:
    """Compute the gradient of the result with respect to every node that leads to it.

    The values must be there (:func:`EvaluateGraphFn`).  Raises :class:`TooLargeError` when the
    matrix of an edge would take more than ``limit`` bytes.
    """
    J = GetResultNode(G)
    if not G.nodes[J].get("computed", False):
        raise ValuesError(
            f"node {J!r}",
            expected="a value before the backward pass",
            got="none",
            hint="call EvaluateGraphFn(G) first",
        )
    _forget(G, "GradComputed")
    for _, _, edge in G.edges(data=True):
        edge.pop("Jacobian", None)
    for n in G:  # what a pass with another result left behind
        G.nodes[n].pop("Grad", None)
    BackOp(J, G, record=record, limit=limit)


def BackOp(s: str, G: DAG, *, record: Visits | None = None, limit: int = DEFAULT_LIMIT) -> None:
    """Compute the gradient of ``s``, once those of its children are there; go on to its parents."""
    result = GetResultNode(G)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite shows in the result
        _recurse(_BackOp(s, G, frozenset({*nx.ancestors(G, result), result}), record, limit))


def _BackOp(s: str, G: DAG, leads: frozenset[str], record: Visits | None, limit: int) -> _Recursion:
    C_s = [c for c in GetChildren(s, G) if c in leads]
    if s == GetResultNode(G):
        G.nodes[s]["Grad"] = _one(s, G)
    elif AllGradientsComputed(C_s, G) and all("Jacobian" in G.edges[s, c] for c in C_s):
        Grad: Any = 0
        for c in C_s:
            Grad = Grad + _times(G.nodes[c]["Grad"], G.edges[s, c]["Jacobian"], limit)
        G.nodes[s]["Grad"] = Grad
    else:
        return  # the last child to come back here will find all of them computed
    G.nodes[s]["GradComputed"] = True
    _note(record, Visit("Grad", s))
    for p in GetParents(s, G):
        G.edges[p, s]["Jacobian"] = GetJacobian(s, p, G, limit=limit)
        _note(record, Visit("Jacobian", s, p))
        yield _BackOp(p, G, leads, record, limit)


# --- the pass on a chain ------------------------------------------------------------------


def EvaluateChain(G: DAG) -> list[Array]:
    """The record ``y_1 … y_n`` of a graph that is a chain (lecture, "Forward Pass" for chains)."""
    x, *f = _chain(G)
    _set_start_value(x, G)
    y = [G.nodes[x]["value"]]
    for j in f:
        y.append(GetNodeFn(j, G)([y[-1]]))
        G.nodes[j]["value"] = y[-1]
    return y[1:]


def BackPropagateChain(G: DAG, *, limit: int = DEFAULT_LIMIT) -> Row:
    """``dy_n/dx`` of a chain that has been evaluated: start with 1, multiply from the end down."""
    chain = _chain(G)
    g = _one(chain[-1], G)
    for j in range(len(chain) - 1, 0, -1):
        g = _times(g, GetJacobian(chain[j], chain[j - 1], G, limit=limit), limit)
    return g


def _chain(G: DAG) -> list[str]:
    order = list(nx.topological_sort(G))
    links = all(G.has_edge(a, b) for a, b in itertools.pairwise(order))
    if not order or not links or G.number_of_edges() != len(order) - 1:
        raise GraphError(
            "a chain",
            expected="each node to have one parent and one child",
            got=f"{len(order)} nodes and {G.number_of_edges()} edges",
            hint="use EvaluateGraphFn and PerformBackPass, which take any graph",
        )
    return order


# --- the lecture's helpers ----------------------------------------------------------------


def GetStartNodes(G: DAG) -> list[str]:
    """The nodes without parents."""
    return [n for n in G if G.in_degree(n) == 0]


def GetChildren(n: str, G: DAG) -> list[str]:
    """The nodes that take the value of ``n``."""
    return list(G.successors(n))


def GetParents(n: str, G: DAG) -> list[str]:
    """The nodes whose values the function of ``n`` takes, each once."""
    return list(G.predecessors(n))


def GetResultNode(G: DAG) -> str:
    """The node with the value of the cost function: ``G.graph["result"]``."""
    if "result" not in G.graph:
        raise GraphError(
            "the backward pass",
            expected="a result node",
            got="none",
            hint='set G.graph["result"], or name it with g.result(name)',
        )
    result = str(G.graph["result"])
    if result not in G:
        raise GraphError(
            "the backward pass",
            expected="a result that is a node",
            got=repr(result),
            hint=nearest(result, G),
        )
    return result


def GetNodeFn(n: str, G: DAG) -> Callable[[Sequence[Array]], Array]:
    """The function of ``n``, from the values of its parents (in the order of GetParents)."""
    op, args, parents = G.nodes[n]["op"], G.nodes[n]["args"], GetParents(n, G)

    def f_n(P_n: Sequence[Array]) -> Array:
        value = dict(zip(parents, P_n, strict=True))
        try:
            result: Array = op.value(*(value[a] if isinstance(a, str) else a for a in args))
        except GraphEngineError as error:
            raise error.located(f"node {n!r}") from None
        return result

    return f_n


def GetJacobian(s: str, p: str, G: DAG, *, limit: int = DEFAULT_LIMIT) -> sp.csr_array:
    """``∂f_s(P_s)/∂p`` at the values of the forward pass: ``size s × size p``."""
    node = G.nodes[s]
    values = [G.nodes[a]["value"] if isinstance(a, str) else a for a in node["args"]]
    first, *rest = G.edges[p, s]["positions"]
    jacobian = node["op"].jacobian(first, node["value"], values)
    for place in rest:
        jacobian = jacobian + node["op"].jacobian(place, node["value"], values)
    try:
        matrix: sp.csr_array = jacobian.tocsr(limit=limit)
    except TooLargeError as error:
        raise error.located(f"edge {s} <- {p}") from None
    return matrix


def CheckAllNodesComputed(P_n: Sequence[str], G: DAG) -> bool:
    """Whether all these nodes have their values."""
    return all(G.nodes[p].get("computed", False) for p in P_n)


def AllGradientsComputed(C_s: Sequence[str], G: DAG) -> bool:
    """Whether all these nodes have their gradients."""
    return all(G.nodes[c].get("GradComputed", False) for c in C_s)


# --- plumbing -----------------------------------------------------------------------------


def _recurse(first: _Recursion) -> None:
    """Run a recursive generator in the recursion's own order, on a stack of our own."""
    stack = [first]
    while stack:
        call = next(stack[-1], None)
        if call is None:
            stack.pop()
        else:
            stack.append(call)


def _note(record: Visits | None, visit: Visit) -> None:
    if record is not None:
        record.append(visit)


def _forget(G: DAG, mark: str) -> None:
    for n in G:
        G.nodes[n][mark] = False


def _set_start_value(s: str, G: DAG) -> None:
    node = G.nodes[s]
    if node.get("op") is not None:
        node["value"] = GetNodeFn(s, G)([])
    elif "value" not in node:
        raise ValuesError(
            f"start node {s!r}",
            expected="a value before the pass",
            got="none",
            hint=f'set G.nodes[{s!r}]["value"]',
        )
    value = as_value(node["value"], f"start node {s!r}")
    shape = node.get("shape", value.shape)
    if value.shape != shape:
        raise ValuesError(f"start node {s!r}", expected=f"shape {shape}", got=f"{value.shape}")
    node["value"] = value
    node["computed"] = True


def _one(s: str, G: DAG) -> Row:
    size = np.size(G.nodes[s]["value"])
    return np.ones((1, 1)) if size == 1 else sp.eye_array(size, format="csr")


def _times(Grad: Row, Jacobian: sp.csr_array, limit: int) -> Row:
    """Row times matrix; a zero gradient stays zero behind an infinite slope."""
    if not isinstance(Grad, np.ndarray):
        return sparse_product(Grad, Jacobian, limit)
    entries = np.repeat(Grad[0], np.diff(Jacobian.indptr))
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = np.where(entries == 0, 0.0, entries * Jacobian.data)
    row = np.bincount(Jacobian.indices, numbers, minlength=Jacobian.shape[1])
    return row.reshape(1, -1)
