"""Pictures of records: ratios per problem, and growth; with matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.problem import FUSED_BY_HAND, HAND, REUSE
from benchmarks.records import Record, peers, ratios, seconds_of, timed
from benchmarks.timing import digits, shown, slope

COLOURS = {
    REUSE: "#1b6ca8",
    "compiled": "#5fa3d3",
    "compiled, fused": "#0b3d63",
    "run": "#c3dcef",
    FUSED_BY_HAND: "#7a7a7a",
    HAND: "#b0b0b0",
}
"""This package in blue, code by hand in grey; peers are orange."""

PEER = "#e08a2e"
MOST_PEERS = 3
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
"""Behind numbers, so that no line crosses them."""


def bars(records: Sequence[Record], folder: Path) -> Iterator[Path]:
    """For each number of threads: a panel for each problem, the ratios as bars."""
    for threads in sorted({record["threads"] for record in records}):
        chosen = [one for one in records if one["threads"] == threads and ratios(one["contenders"])]
        across = 4
        down = max(1, -(-len(chosen) // across))
        figure = Figure(figsize=(4.2 * across, 2.7 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for panel, record in zip(panels, chosen, strict=False):
            _bars(panel, record)
        for panel in panels[len(chosen) :]:
            panel.set_axis_off()
        many = f"{threads} thread{'s' * (threads > 1)}"
        figure.suptitle(f"Time of one call over that of hand-written NumPy and SciPy, {many}")
        path = folder / f"ratios_{threads}.png"
        figure.savefig(path, dpi=110)
        yield path


def _bars(panel: Any, record: Record) -> None:
    found = ratios(record["contenders"])
    own = [name for name in COLOURS if name in found and name != HAND]
    best = [row["name"] for row in peers(record["contenders"])[:MOST_PEERS]]
    names = sorted([*own, *best], key=found.__getitem__)
    values = [found[name] for name in names]
    places = range(len(names))
    panel.barh(places, values, color=[COLOURS.get(name, PEER) for name in names], height=0.7)
    panel.set_yticks(places, names, fontsize=8)
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlim(min(0.5, 0.6 * min(values, default=1)), max(4.0, 6 * max(values, default=1)))
    panel.axvline(1, color="black", linewidth=1)
    if record["target"]:
        panel.axvline(record["target"], color="black", linewidth=0.8, linestyle=":")
    for place, value in zip(places, values, strict=True):
        panel.text(value * 1.08, place, digits(value), va="center", fontsize=8, bbox=PAPER)
    base = seconds_of(record["contenders"], HAND) or 0.0
    title = f"{record['name']}, {record['size']}\nby hand {shown(base)}"
    panel.set_title(title, fontsize=9, loc="left")
    panel.tick_params(axis="x", labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)


# --- growth -------------------------------------------------------------------------------

LINES: Sequence[tuple[str, str, str, str, str]] = (
    ("time", REUSE, "seconds", "a call, compiled", "#1b6ca8"),
    ("time", REUSE, "made", "build and compile", "#0b3d63"),
    ("time", "run", "seconds", "a call, run", "#8fbfe0"),
    ("time", HAND, "seconds", "a call, hand-written", "#7a7a7a"),
    ("memory", REUSE, "peak", "at the peak of a call, compiled", "#1b6ca8"),
    ("memory", REUSE, "built", "of building and compiling", "#0b3d63"),
    ("memory", "run", "peak", "at the peak of a call, run", "#8fbfe0"),
    ("memory", HAND, "peak", "at the peak of a call, hand-written", "#7a7a7a"),
)
"""What is drawn: the panel, the contender, the key of its row, the words, the colour."""


BELOW = (0.5, -0.15)
"""Where the legend stands, in the panel's own units."""


def growth(records: Sequence[Record], folder: Path) -> Iterator[Path]:
    """For each problem: time and memory against what grows, on logarithmic axes."""
    ordered = sorted(records, key=lambda one: (one["name"], one["amount"]))
    for name, group in groupby(ordered, key=lambda one: str(one["name"])):
        found = list(group)
        figure = Figure(figsize=(11, 5), layout="constrained")
        panels = dict(zip(("time", "memory"), figure.subplots(1, 2), strict=True))
        for place, contender, key, words, colour in LINES:
            _line(panels[place], found, contender, key, words, colour)
        for place, panel in panels.items():
            panel.set(xscale="log", yscale="log", xlabel=found[0]["unit"])
            panel.set_ylabel("seconds" if place == "time" else "bytes (tracemalloc)")
            panel.grid(visible=True, which="major", alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
            if panel.lines:
                panel.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=BELOW)
        figure.suptitle(f"{name}: time and memory against {found[0]['unit']}")
        path = folder / f"growth_{name.lower().replace(' ', '_')}.png"
        figure.savefig(path, dpi=110)
        yield path


def _line(
    panel: Any, records: Sequence[Record], contender: str, key: str, words: str, colour: str
) -> None:
    points = [
        (record["amount"], row[key])
        for record in records
        for row in record["contenders"]
        if row["name"] == contender and timed(row) and (row[key] or 0) > 0
    ]
    if len(points) > 1:
        amounts, values = zip(*points, strict=True)
        label = f"{words}: slope {slope(amounts, values):.2f}"
        panel.plot(amounts, values, "o-", color=colour, markersize=4, linewidth=1.4, label=label)
