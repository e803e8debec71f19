"""The shapes of a picture: boxes, lines, marks and texts as SVG.

Every shape carries its own colours, and nothing has an id: two pictures may stand in one page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from graphengine.node import Node, literal
from graphengine.picture.layout import HEIGHT, Spot

__all__ = ["box_width", "document"]

_RED, _GREY, _INK = "#e5383b", "#7d8590", "#1f2328"  # red and grey are seen on white and on black
_LOOKS: Mapping[str, tuple[str, str]] = {  # fill, outline
    "input": ("#dbeafe", "#3b6fb6"),
    "parameter": ("#dcf3e1", "#2f855a"),
    "constant": ("#eceff2", "#6b7280"),
    "op": ("#fdf6e3", "#8a6d1f"),
}
_FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_LETTERS = 26  # of a name or a formula; the rest is in the tooltip
_NAME, _BELOW = 13.0, 11.0  # sizes of letters
_ADVANCE = 0.62  # width of a letter in these fonts, in units of its size
_MARGIN = 22.0


def box_width(node: Node) -> float:
    """The width of a node's box, which holds its name and what stands beneath."""
    widths = (len(_cut(node.name)) * _NAME, len(_cut(_below(node))) * _BELOW)
    return max(44.0, _ADVANCE * max(widths) + 22.0)


def document(
    name: str,
    parents: Mapping[Node, Sequence[Node]],
    columns: Sequence[Sequence[Spot]],
    nodes: Mapping[Node, str],
    lines: Mapping[tuple[Node, Node], str],
) -> str:
    """The whole SVG element.

    ``parents`` are those of all nodes, also of those that do not stand in ``columns``; ``nodes``
    and ``lines`` (child, parent) hold the marks' texts.
    """
    every = [spot for column in columns for spot in column]
    spots = {spot.node: spot for spot in every if spot.node is not None}
    left, right = -_MARGIN, max((spot.ends[1] for spot in every), default=0.0) + _MARGIN
    top = min((spot.y - spot.height / 2 for spot in every), default=0.0) - _MARGIN
    low = max((spot.y + spot.height / 2 for spot in every), default=0.0) + _MARGIN
    shapes = [*_lines(spots, parents, lines), *_boxes(spots, parents, nodes)]
    if len(spots) < len(parents):
        right, low = max(right, 320.0), low + 14
        text = f"{len(spots)} of {len(parents)} named nodes; ⋯ stands for others"
        shapes.append(_text(0, low - 12, text, _BELOW, anchor="start", fill=_GREY))
    width, height = right - left, low - top
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img"'
        f' aria-label="{_escaped(name)}" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="{left:.1f} {top:.1f} {width:.1f} {height:.1f}" font-family="{_FONT}">'
        f"{''.join(shapes)}</svg>"
    )


def _lines(
    spots: Mapping[Node, Spot],
    parents: Mapping[Node, Sequence[Node]],
    marked: Mapping[tuple[Node, Node], str],
) -> list[str]:
    """The edges, the marked ones on top."""
    plain, red = [], []
    for child, spot in spots.items():
        above = [parent for parent in parents[child] if parent in spots]
        above += [parent for one, parent in marked if one is child and parent not in above]
        routes = sorted((_route(spots[parent], spot) for parent in above), key=lambda r: r[-2].y)
        step = min(9.0, (HEIGHT - 12) / max(len(above) - 1, 1))
        for index, route in enumerate(routes):
            parent = route[0].node
            assert parent is not None
            end = spot.y + (index - (len(routes) - 1) / 2) * step
            text = marked.get((child, parent))
            if text is None:
                plain.append(_line(route, end, _GREY, 1.3))
            else:
                dashes = "" if parent in parents[child] else ' stroke-dasharray="7 4"'
                red.append(f"<g>{_title(text)}{_line(route, end, _RED, 3.0, dashes)}</g>")
    return plain + red


def _line(route: Sequence[Spot], end: float, colour: str, width: float, dashes: str = "") -> str:
    """A line along a route to the height ``end``, with its head; wide ones have a badge."""
    path, (x, y) = _path(route, end)
    tip = route[-1].x - route[-1].width / 2
    head = f"M{tip - 8:.1f} {end - 4:.1f}L{tip:.1f} {end:.1f}L{tip - 8:.1f} {end + 4:.1f}z"
    made = (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashes}/>'
        f'<path d="{head}" fill="{colour}" stroke="{colour}" stroke-width="{width / 2:g}"/>'
    )
    if width < 2:
        return made
    near = f'<path d="{path}" fill="none" stroke-width="14" pointer-events="stroke"/>'
    return made + near + _badge(x, y)  # the tooltip opens near the line too


def _route(parent: Spot, child: Spot) -> list[Spot]:
    """The spots from a node to its child: bends of the parent, then the child."""
    route = [parent]
    while route[-1].column + 1 < child.column:
        route.append(next(one for one in route[-1].right if one.node is None))
    return [*route, child]


def _path(route: Sequence[Spot], end: float) -> tuple[str, tuple[float, float]]:
    """The line along a route, straight within columns; and the middle of its last curve."""
    x, y = route[0].x + route[0].width / 2, route[0].y
    path = f"M{x:.1f} {y:.1f}"
    middle = (x, y)
    for one, other in pairwise(route):
        to = other.y if other is not route[-1] else end
        start, stop = one.ends[1], other.ends[0]
        half = (start + stop) / 2
        path += f"H{start:.1f}C{half:.1f} {y:.1f} {half:.1f} {to:.1f} {stop:.1f} {to:.1f}"
        middle, y = (half, (y + to) / 2), to
    last = route[-1]
    return f"{path}H{last.x - last.width / 2 - 5:.1f}", middle


def _boxes(
    spots: Mapping[Node, Spot],
    parents: Mapping[Node, Sequence[Node]],
    marked: Mapping[Node, str],
) -> Iterable[str]:
    """The nodes: a pill for an input, corners for a parameter, dashes for a constant."""
    children = [parent for above in parents.values() for parent in above]
    shown = [parent for node in spots for parent in parents[node]]
    for node, spot in spots.items():
        text = marked.get(node)
        fill, outline = _LOOKS[node.role]
        last = node.op is not None and node not in children
        width = 3.0 if text is not None else 2.2 if last else 1.2
        outline = outline if text is None else _RED
        corner = {"input": HEIGHT / 2, "op": 7.0}.get(node.role, 0.0)
        dashes = ' stroke-dasharray="5 3"' if node.role == "constant" else ""
        x, y = spot.x - spot.width / 2, spot.y - HEIGHT / 2
        yield (
            f"<g>{_title(_about(node) if text is None else text)}"
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{spot.width:.1f}" height="{HEIGHT:g}"'
            f' rx="{corner:g}" fill="{fill}" stroke="{outline}" stroke-width="{width:g}"{dashes}/>'
            + _text(spot.x, spot.y - 3, _cut(node.name), _NAME)
            + _text(spot.x, spot.y + 12, _cut(_below(node)), _BELOW)
        )
        if any(parent not in spots for parent in parents[node]):
            yield _text(x - 9, y + HEIGHT, "⋯", _NAME, fill=_GREY)
        if children.count(node) > shown.count(node):
            yield _text(x + spot.width + 9, y + HEIGHT, "⋯", _NAME, fill=_GREY)
        yield ("" if text is None else _badge(x + spot.width - 3, y + 2)) + "</g>"


def _badge(x: float, y: float) -> str:
    """A mark that is seen without colours too."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="{_RED}"/>' + _text(
        x, y + 4, "!", _NAME, fill="#ffffff"
    )


def _text(
    x: float, y: float, text: str, size: float, *, anchor: str = "middle", fill: str = _INK
) -> str:
    bold = "" if size == _BELOW else ' font-weight="bold"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{bold} fill="{fill}"'
        f' text-anchor="{anchor}">{_escaped(text)}</text>'
    )


def _title(text: str) -> str:
    return f"<title>{_escaped(text)}</title>"


def _escaped(text: str) -> str:
    """Text as XML has it, without the characters that XML does not know."""
    return html.escape(re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text))


def _below(node: Node) -> str:
    """What stands beneath a name: the formula, the value of a constant number, or the shape."""
    if node.op is not None:
        return node.formula
    if node.value is not None and node.value.ndim == 0:
        return f"{float(node.value):.6g}"
    return f"{node.role} {' × '.join(map(str, node.shape)) or 'number'}"


def _about(node: Node) -> str:
    """The tooltip of a node: its formula (or role) in full, and its shape."""
    what = node.formula or node.role
    if node.value is not None and node.value.size <= 9:
        what += f" {literal(node.value)}"
    return f"{node.name}: {what}, shape {node.shape}"


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
