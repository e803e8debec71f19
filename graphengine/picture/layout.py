"""Where the nodes of a picture stand: in columns, with few crossings, near their neighbours."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphengine.node import Node

__all__ = ["HEIGHT", "Spot", "arranged"]

HEIGHT = 40.0
"""Of a node's box."""

_BEND, _GAP = 4.0, 16.0  # the room of a line that passes by, and between things in a column


@dataclass(eq=False, slots=True)
class Spot:
    """A place in a column: the box of a node, or (without one) where lines pass by."""

    node: Node | None
    column: int
    width: float = 0.0
    height: float = _BEND
    x: float = 0.0  # the middle
    y: float = 0.0
    left: list[Spot] = field(default_factory=list)
    right: list[Spot] = field(default_factory=list)
    ends: tuple[float, float] = (0.0, 0.0)  # left and right edge of the column


def arranged(
    parents: Mapping[Node, Sequence[Node]], width: Callable[[Node], float]
) -> list[list[Spot]]:
    """The nodes in columns from left to right, each with its place; lines have bends there.

    ``parents`` maps each node to those that it has lines from, ``width`` tells a box's width.
    """
    columns = _columns(parents, width)
    _sort(columns)
    _place(columns)
    return columns


def _columns(
    parents: Mapping[Node, Sequence[Node]], width: Callable[[Node], float]
) -> list[list[Spot]]:
    """The nodes in columns, each right of its parents; lines over several columns get bends.

    A node without parents stands just left of the first that uses it.  Lines from one node share
    their bends.
    """
    depth: dict[Node, int] = {}
    first: dict[Node, int] = {}
    for node in sorted(parents, key=lambda one: one.number):
        depth[node] = 1 + max((depth[parent] for parent in parents[node]), default=-1)
        for parent in parents[node]:
            first[parent] = min(first.get(parent, depth[node]), depth[node])
    for node, above in parents.items():
        if not above:
            depth[node] = first.get(node, 1) - 1
    used = {column: place for place, column in enumerate(sorted(set(depth.values())))}
    spots = {node: Spot(node, used[column], width(node), HEIGHT) for node, column in depth.items()}
    columns: list[list[Spot]] = [[] for _ in used]
    for spot in spots.values():
        columns[spot.column].append(spot)
    bends: dict[tuple[Node, int], Spot] = {}
    for node, above in parents.items():
        for parent in above:
            last = spots[parent]
            for column in range(last.column + 1, spots[node].column):
                if (parent, column) not in bends:
                    bends[parent, column] = Spot(None, column)
                    columns[column].append(bends[parent, column])
                    _join(last, bends[parent, column])
                last = bends[parent, column]
            _join(last, spots[node])
    return columns


def _join(left: Spot, right: Spot) -> None:
    left.right.append(right)
    right.left.append(left)


def _sort(columns: list[list[Spot]], sweeps: int = 16) -> None:
    """Order each column by the middle of its neighbours, to and fro; the fewest crossings win.

    Sugiyama, Tagawa, Toda: Methods for visual understanding of hierarchical system structures,
    1981.
    """
    best, fewest = [[*column] for column in columns], _crossings(columns)
    for sweep in range(sweeps):
        forward = sweep % 2 == 0
        for column in columns if forward else reversed(columns):
            place = {spot: index for one in columns for index, spot in enumerate(one)}
            middle = {}
            for spot in column:
                beside = spot.left if forward else spot.right
                middle[spot] = float(np.mean([place[one] for one in beside or [spot]]))
            column.sort(key=middle.__getitem__)
        if (found := _crossings(columns)) < fewest:
            best, fewest = [[*column] for column in columns], found
    columns[:] = best


def _crossings(columns: Sequence[Sequence[Spot]]) -> int:
    place = {spot: index for one in columns for index, spot in enumerate(one)}
    count = 0
    for column in columns:
        ends: list[int] = []
        for spot in column:
            found = sorted(place[one] for one in spot.right)
            count += sum(len(ends) - bisect_right(ends, end) for end in found)
            for end in found:
                insort(ends, end)
    return count


def _place(columns: Sequence[Sequence[Spot]], sweeps: int = 40) -> None:
    """Give each spot its x and y: near its neighbours, without overlaps, bends most of all."""
    for column in columns:
        for index, spot in enumerate(column):
            spot.y = (index - len(column) / 2) * (HEIGHT + _GAP)
    for sweep in range(sweeps):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            _settle(column)
    left = 0.0
    for column in columns:
        width = max(spot.width for spot in column)
        for spot in column:
            spot.x, spot.ends = left + width / 2, (left, left + width)
        left += width + 40.0 + 3.0 * min(sum(len(spot.right) for spot in column), 14)


def _settle(column: Sequence[Spot]) -> None:
    """The y nearest to the neighbours' (least squares) that keep order and distances.

    With the distances taken off, this is a regression on rising values: neighbours in the wrong
    order are pooled.
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, count
    offsets: list[float] = []
    for index, spot in enumerate(column):
        offset = 0.0
        if index:
            before = column[index - 1]
            offset = offsets[-1] + (before.height + spot.height) / 2 + _GAP
        offsets.append(offset)
        mean, weight, count = _wish(spot) - offset, 4.0 if spot.node is None else 1.0, 1
        while pools and pools[-1][0] > mean:
            other, heavy, many = pools.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + many
        pools.append((mean, weight, count))
    fitted = [mean for mean, _, count in pools for _ in range(count)]
    for spot, mean, offset in zip(column, fitted, offsets, strict=True):
        spot.y = mean + offset


def _wish(spot: Spot) -> float:
    """The mean of the neighbours' y; from bend to bend a line would be straight."""
    beside = [*spot.left, *spot.right]
    if not beside:
        return spot.y
    straight = [8.0 if spot.node is None and one.node is None else 1.0 for one in beside]
    return float(np.average([one.y for one in beside], weights=straight))
