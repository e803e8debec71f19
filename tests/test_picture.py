"""Pictures are read back as XML, and what is seen in them is measured."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

import graphengine as ge
from graphengine.errors import GraphError
from graphengine.graph import Graph
from graphengine.picture import svg

SPECS = Path(__file__).parent.parent / "specs"
SVG = "{http://www.w3.org/2000/svg}"
RED = "#e5383b"


class Box(NamedTuple):
    name: str
    below: str
    title: str
    x: float
    y: float
    width: float
    height: float
    look: dict[str, str]


def boxes(picture: str) -> dict[str, Box]:
    found = {}
    for group in ET.fromstring(picture).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is None:
            continue
        name, below = [text.text or "" for text in group.findall(f"{SVG}text")][:2]
        numbers = [float(rect.attrib[key]) for key in ("x", "y", "width", "height")]
        found[name] = Box(
            name, below, group.findtext(f"{SVG}title") or "", *numbers, dict(rect.attrib)
        )
    return found


def tips(picture: str, box: Box) -> list[tuple[float, float]]:
    """The heads of arrows that touch the left side of a box."""
    heads = re.findall(r'd="M\S+ \S+L(\S+) (\S+?)L[^"]*z"', picture)
    points = [(float(x), float(y)) for x, y in heads]
    return [(x, y) for x, y in points if abs(x - box.x) < 0.2 and box.y <= y <= box.y + box.height]


def red_lines(picture: str) -> dict[str, str]:
    """The dashes of the red lines, by their tooltips."""
    return {
        group.findtext(f"{SVG}title") or "": path.get("stroke-dasharray", "")
        for group in ET.fromstring(picture).iter(f"{SVG}g")
        if (path := group.find(f"{SVG}path")) is not None and path.get("stroke") == RED
    }


def chain(count: int) -> Graph:
    g = Graph("chain")
    w, x = g.parameter("w"), g.input("x0")
    for k in range(1, count + 1):
        x = g.node(f"x{k}", w * ge.sin(x))
    g.result("J", x**2)
    return g


@pytest.fixture
def graph() -> Graph:
    g = Graph("net")
    x, y = g.input("x", 4), g.input("y", 3)
    W, lam = g.parameter("W", (3, 4)), g.constant("lam", 0.25)
    p = g.node("p", ge.softmax(W @ x))
    r = g.node("r", ge.sum(W**2))
    g.result("J", -ge.log(y @ p) + lam * r)
    return g


def test_named_nodes_stand_there_with_what_they_are(graph: Graph) -> None:
    found = boxes(svg(graph))
    assert {name: box.below for name, box in found.items()} == {
        "x": "input 4",
        "y": "input 3",
        "W": "parameter 3 × 4",
        "lam": "0.25",
        "p": "softmax(W @ x)",
        "r": "sum(W**2)",
        "J": "-log(y @ p) + lam * r",
    }
    assert found["J"].title == "J: -log(y @ p) + lam * r, shape ()"
    assert found["lam"].title == "lam: constant 0.25, shape ()"


def test_roles_differ_in_shape_and_tint(graph: Graph) -> None:
    looks = {name: box.look for name, box in boxes(svg(graph)).items()}
    seen = {
        tuple(looks[name].get(key) for key in ("rx", "fill", "stroke-dasharray"))
        for name in ("x", "W", "lam", "p")
    }
    assert len(seen) == 4
    assert len({looks[name]["fill"] for name in ("x", "W", "lam", "p")}) == 4


def test_each_named_edge_has_an_arrow_and_unnamed_nodes_are_folded_in(graph: Graph) -> None:
    picture = svg(graph)
    found = boxes(picture)
    arrows = {name: len(tips(picture, box)) for name, box in found.items()}
    assert arrows == {"x": 0, "y": 0, "W": 0, "lam": 0, "p": 2, "r": 1, "J": 4}
    assert picture.count('z"') == 7


def test_a_node_is_right_of_its_parents(graph: Graph) -> None:
    found = boxes(svg(graph))
    for parent, child in [("x", "p"), ("W", "p"), ("W", "r"), ("p", "J"), ("lam", "J")]:
        assert found[parent].x + found[parent].width < found[child].x


def test_marks_are_red_with_their_text(graph: Graph) -> None:
    picture = svg(graph, {"p": "no slope", "J<-r": "no path"}, edges={("p", "W"): "transposed"})
    found = boxes(picture)
    assert found["p"].title == "no slope"
    assert (found["p"].look["stroke"], found["p"].look["stroke-width"]) == (RED, "3")
    assert found["r"].look["stroke"] != RED
    assert red_lines(picture) == {"no path": "", "transposed": ""}
    assert picture.count(">!</text>") == 3
    assert RED not in svg(graph)


def test_two_marks_on_one_place_are_both_told(graph: Graph) -> None:
    picture = svg(graph, {"J<-r": "a", "p": "b"}, edges={("J", "r"): "c"})
    assert list(red_lines(picture)) == ["a\nc"]


def test_a_marked_pair_without_an_edge_is_dashed(graph: Graph) -> None:
    picture = svg(graph, {"J<-x": "reordered"})
    assert red_lines(picture) == {"reordered": "7 4"}
    assert len(tips(picture, boxes(picture)["J"])) == 5


def test_marks_on_unnamed_nodes_sit_where_their_formula_stands(graph: Graph) -> None:
    found = boxes(svg(graph, {"p.1": "inner", "r<-r.1": "inner edge"}))
    assert {name: box.title for name, box in found.items() if box.look["stroke"] == RED} == {
        "p": "inner",
        "r": "inner edge",
    }


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("lamb", r"marks on nodes \(J\) and edges \(J<-W\), got 'lamb'; did you mean 'lam'"),
        ("J<-q", "got 'q'"),
        ("W<-J", "expected an edge or a path to 'W', got W<-J; the child stands first"),
    ],
)
def test_marks_on_what_is_not_there(graph: Graph, mark: str, message: str) -> None:
    with pytest.raises(GraphError, match="picture of 'net'") as caught:
        svg(graph, {mark: "x"})
    assert re.search(message, str(caught.value))


def test_texts_are_escaped() -> None:
    g = Graph('<"a" & b>')
    g.result("J", ge.where(g.input("x") < 2, 1.0, 2.0))
    picture = svg(g, {"J": '<b>&\x00</b> "it\'s" ∂J'})
    assert boxes(picture)["J"].title == '<b>&</b> "it\'s" ∂J'
    assert ET.fromstring(picture).get("aria-label") == '<"a" & b>'


def test_nothing_comes_from_outside_and_nothing_has_an_id(graph: Graph) -> None:
    picture = svg(graph, {"J": "x", "J<-r": "y"})
    assert re.findall(r"\b(?:id|href|class|src)=|url\(|<style|<script", picture) == []
    assert re.findall("https?://[^\"']*", picture) == ["http://www.w3.org/2000/svg"]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_lines_are_seen_on_light_and_dark_pages(graph: Graph, page: str) -> None:
    picture = svg(graph, {"J<-r": "y"})
    paths = ET.fromstring(picture).iter(f"{SVG}path")
    colours = {path.attrib["stroke"] for path in paths if "stroke" in path.attrib}
    assert len(colours) == 2
    assert min(contrast(colour, page) for colour in colours) > 3
    for rect in ET.fromstring(picture).iter(f"{SVG}rect"):
        assert contrast(rect.attrib["fill"], "#1f2328") > 10


def test_texts_fit_into_their_boxes() -> None:
    g = Graph("long")
    x = g.input("a_name_of_a_rather_remarkable_length", (1000, 20000))
    g.node("WWWWWWWWWWWWWWWWWWWW", ge.sum(ge.tanh(x) * ge.exp(x) + ge.sin(x)))
    font = FontProperties(family="DejaVu Sans Mono")
    bold = FontProperties(family="DejaVu Sans Mono", weight="bold")
    for box in boxes(svg(g)).values():
        assert TextPath((0, 0), box.name, 13, prop=bold).get_extents().width < box.width - 8
        assert TextPath((0, 0), box.below, 11, prop=font).get_extents().width < box.width - 8
        assert box.name.endswith("…") == box.name.startswith("a_name")
    assert any("a_name_of_a_rather_remarkable_length" in b.title for b in boxes(svg(g)).values())


def overlap(one: Box, other: Box) -> bool:
    return (
        abs(2 * one.x + one.width - 2 * other.x - other.width) < one.width + other.width
        and abs(one.y - other.y) < one.height
    )


def crossed(picture: str, found: dict[str, Box]) -> list[str]:
    """Boxes that a line runs through: within a column it is level, from H to the next C."""
    bad = []
    for path in re.findall(r'd="(M[^"]*H[^"]*)" fill="none" stroke="', picture):
        steps = re.findall(r"([MHC])([^MHC]*)", path)
        x = y = 0.0
        for letter, text in steps:
            numbers = [float(number) for number in text.split()]
            if letter == "H":
                to = numbers[0]
                bad += [
                    box.name
                    for box in found.values()
                    if box.y < y < box.y + box.height
                    and x < box.x + box.width - 1 < to + 1
                    and box.x > x
                ]
                x = to
            else:
                x, y = numbers[-2:]
    return bad


@pytest.mark.parametrize("spec", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.stem)
def test_nothing_overlaps_in_any_spec(spec: Path) -> None:
    graph = ge.load(spec).graph
    picture = svg(graph)
    found = boxes(picture)
    assert len(found) == len(graph.named)
    assert not [pair for pair in itertools.combinations(found.values(), 2) if overlap(*pair)]
    assert crossed(picture, found) == []
    left, top, width, height = map(float, ET.fromstring(picture).attrib["viewBox"].split())
    for box in found.values():
        assert left < box.x < box.x + box.width < left + width
        assert top < box.y < box.y + box.height < top + height


def test_lines_that_need_not_cross_do_not() -> None:
    g = Graph("parallel")
    starts = [g.input(f"x{k}") for k in range(6)]
    middle = [g.node(f"a{k}", ge.sin(x)) for k, x in reversed([*enumerate(starts)])]
    for k, node in enumerate(middle):
        g.node(f"b{k}", ge.cos(node))
    found = boxes(svg(g))
    rows = [[f"x{k}", f"a{k}", f"b{5 - k}"] for k in range(6)]
    heights = sorted([found[name].y for name in row] for row in rows)
    assert all(
        low < high
        for one, other in itertools.pairwise(heights)
        for low, high in zip(one, other, strict=True)
    )


def test_sixty_nodes_are_all_there_and_of_more_a_part() -> None:
    assert len(boxes(svg(chain(57)))) == 60
    picture = svg(chain(200), {"x100": "here"})
    found = boxes(picture)
    assert len(found) == 30
    assert {f"x{k}" for k in range(87, 115)} <= set(found)
    assert "w" in found, "a parameter beside the mark"
    assert "30 of 203 named nodes" in picture
    assert picture.count(">⋯</text>") == 3, "before the first, after the last, after w"


def test_without_marks_the_part_is_that_of_the_result() -> None:
    found = boxes(svg(chain(200)))
    assert {"J", "x200", "w"} <= set(found)
    assert "x100" not in found


def test_marked_nodes_are_drawn_however_many_they_are() -> None:
    found = boxes(svg(chain(200), {f"x{k}": "here" for k in range(1, 100, 2)}))
    assert sum(box.look["stroke"] == RED for box in found.values()) == 50


def test_a_result_without_a_name_and_an_empty_graph() -> None:
    g = Graph("unnamed")
    ge.sum(g.input("x", 3) ** 2)
    assert [box.below for box in boxes(svg(g)).values()] == ["input 3", "sum(x**2)"]
    assert boxes(svg(Graph("empty"))) == {}


def test_equal_graphs_have_equal_pictures(graph: Graph) -> None:
    assert svg(graph, {"p": "a"}) == svg(graph, {"p": "a"})
