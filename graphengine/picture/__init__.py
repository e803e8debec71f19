"""A picture of a graph: its named nodes in columns, from the start nodes to the result, as SVG."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

from graphengine.errors import GraphEngineError, GraphError, nearest
from graphengine.graph import Graph
from graphengine.node import Node
from graphengine.picture.drawing import box_width, document
from graphengine.picture.layout import arranged

__all__ = ["svg"]

MOST, PART = 60, 30
"""So many nodes are readable in one picture; of larger graphs a part of so many is drawn."""


def svg(
    graph: Graph,
    marks: Mapping[str, str] | None = None,
    *,
    edges: Mapping[tuple[str, str], str] | None = None,
) -> str:
    """The picture of ``graph`` as one SVG element, to be shown in a page or written to a file.

    Each named node stands there with its formula; unnamed nodes belong to the named node that
    they serve, as in :func:`graphengine.board.edge_rows`.  ``marks`` maps a node's name, or
    ``child<-parent``, and ``edges`` maps ``(child, parent)`` to a text: these are drawn in red,
    with the text as tooltip.  A marked pair with no edge of its own, but a path, is drawn dashed.
    Of a graph with more than 60 named nodes the 30 nearest to the marks are drawn (to the result
    where there are none); ``⋯`` beside a node tells that neighbours are left out.

    Raises :class:`GraphError` for marks on what the graph does not have.

    >>> import graphengine as ge
    >>> g = ge.Graph("least squares")
    >>> x, y, w = g.input("x", 3), g.input("y"), g.parameter("w", 3)
    >>> J = g.result("J", (w @ x - y) ** 2)
    >>> picture = svg(g, {"J": "a factor 2 is missing", "J<-w": "transposed"})
    >>> picture.startswith("<svg "), "<title>a factor 2 is missing</title>" in picture
    (True, True)
    """
    parents, owners = _folded(graph)
    nodes, lines = _marked(graph, parents, owners, marks or {}, edges or {})
    near = _near(parents, [*nodes, *(end for line in lines for end in line)])
    drawn = {node: [one for one in above if one in near] for node, above in parents.items()}
    drawn = {node: above for node, above in drawn.items() if node in near}
    for child, parent in lines:
        if parent not in drawn[child]:
            drawn[child].append(parent)
    return document(graph.name, parents, arranged(drawn, box_width), nodes, lines)


def _folded(graph: Graph) -> tuple[dict[Node, list[Node]], dict[Node, Node]]:
    """The parents of each drawn node among them, and whose formula each other node stands in."""
    shown = set(graph.named.values())
    with suppress(GraphEngineError):  # several results, or none
        shown.add(graph.result_node)
    parents: dict[Node, list[Node]] = {}
    owners: dict[Node, Node] = {}
    for node in sorted(shown, key=lambda one: one.number):
        found: dict[Node, None] = {}
        stack, seen = [*reversed(node.parents)], {node}
        while stack:
            parent = stack.pop()
            if parent in seen:
                continue
            seen.add(parent)
            if parent in shown:
                found[parent] = None
            else:
                owners.setdefault(parent, node)
                stack += reversed(parent.parents)
        parents[node] = list(found)
    return parents, owners


def _marked(
    graph: Graph,
    parents: Mapping[Node, Sequence[Node]],
    owners: Mapping[Node, Node],
    marks: Mapping[str, str],
    edges: Mapping[tuple[str, str], str],
) -> tuple[dict[Node, str], dict[tuple[Node, Node], str]]:
    """The marks of nodes, and those of edges (child, parent)."""

    def node_of(name: str) -> Node:
        with suppress(GraphEngineError):
            node = graph[name.strip()]
            node = owners.get(node, node)
            if node in parents:
                return node
        raise GraphError(
            f"picture of {graph.name!r}",
            expected="marks on nodes (J) and edges (J<-W)",
            got=repr(name),
            hint=nearest(name, graph.named),
        )

    nodes: dict[Node, str] = {}
    lines: dict[tuple[Node, Node], str] = {}
    places = [(where.split("<-"), text) for where, text in marks.items()]
    places += [([*pair], text) for pair, text in edges.items()]
    for ends, text in places:
        found = [node_of(end) for end in ends]
        if len(found) == 1 or (len(found) == 2 and found[0] is found[1]):
            nodes[found[0]] = _joined(nodes.get(found[0]), text)
            continue
        for child, parent in pairwise(found):
            if not _above(parents, child, parent):
                raise GraphError(
                    f"picture of {graph.name!r}",
                    expected=f"an edge or a path to {child.name!r}",
                    got=f"{child.name}<-{parent.name}",
                    hint="the child stands first: J<-W",
                )
            lines[child, parent] = _joined(lines.get((child, parent)), text)
    return nodes, lines


def _joined(known: str | None, text: str) -> str:
    return text if known is None or known == text else f"{known}\n{text}"


def _above(parents: Mapping[Node, Sequence[Node]], child: Node, wanted: Node) -> bool:
    """Whether ``wanted`` is among the ancestors of ``child``."""
    stack, seen = [*parents[child]], set()
    while stack:
        node = stack.pop()
        if node is wanted:
            return True
        if node not in seen:
            seen.add(node)
            stack += parents[node]
    return False


def _near(parents: Mapping[Node, Sequence[Node]], marked: Iterable[Node]) -> set[Node]:
    """All nodes; of more than :data:`MOST` the marked ones and what is nearest to them."""
    if len(parents) <= MOST:
        return set(parents)
    around: dict[Node, list[Node]] = {node: list(above) for node, above in parents.items()}
    for node, above in parents.items():
        for parent in above:
            around[parent].append(node)
    near = dict.fromkeys(marked) or dict.fromkeys([[*parents][-1]])
    seeds, queue = set(near), deque(near)
    while queue and len(near) < PART:
        node = queue.popleft()
        if node.op is None and node not in seeds:
            continue  # a parameter that is used everywhere makes far nodes no neighbours
        for other in around[node]:
            if other not in near and len(near) < PART:
                near[other] = None
                queue.append(other)
    return set(near)
