"""Graphs as pictures and as mermaid: well formed whatever the names, and nothing runs over."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.steps import Pipeline, Step
from flujo_nb.graphs.graph import Box, Branch, Form, Graph, graph_of
from flujo_nb.graphs.graph_mermaid import encoded, mermaid_text
from flujo_nb.graphs.graph_picture import svg_of

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert(1)</script>\"'`]}|--> end %%{init}%% \x00\x1b[31m\u202e&#60;\ud800\ufffe"
STATUSES = [None, *RunStatus]


def step(name: str) -> Step[object, object]:
    return Step.from_callable(lambda x: x, name=name)


def everything(name: str, status: RunStatus | None = None) -> Graph:
    """Each form of box, with ``name`` wherever there is a name."""
    one = Box(name, name, Form.STEP, status)
    row = [Branch("", [one, one])]
    return Graph(
        name,
        [
            one,
            Box(name, "", Form.STEP, status, asks=True),
            Box(name, form=Form.MORE),
            Box(name, name, Form.LOOP, status, row),
            Box(name, name, Form.BODY, status, row),
            Box(name, name, Form.FORK, status, [Branch(name, [one]), Branch("", [one, one])]),
            Box(name, name, Form.FALLBACK, status, [Branch(name, [one])]),
        ],
    )


def shape(graph: Graph) -> list[tuple[str, list[str]]]:
    """The elements of a picture, and the names of their attributes."""
    return [(one.tag, sorted(one.keys())) for one in ElementTree.fromstring(svg_of(graph)).iter()]


@pytest.mark.parametrize("status", STATUSES)
def test_the_picture_is_well_formed_and_data_add_nothing_to_it(status: RunStatus | None) -> None:
    assert shape(everything(EVIL, status)) == shape(everything("x" * 60, status))
    names = {key for _, keys in shape(everything(EVIL, status)) for key in keys}
    assert names.isdisjoint({"id", "name", "href", "class", "style", "onload"})
    tags = {tag.removeprefix(SVG) for tag, _ in shape(everything(EVIL, status))}
    assert tags == {"svg", "g", "rect", "path", "text"}


def test_the_picture_has_a_background_of_its_own() -> None:
    root = ElementTree.fromstring(svg_of(graph_of(step("a"))))
    paper = root[0]
    assert (paper.tag, paper.get("fill")) == (f"{SVG}rect", "#ffffff")
    assert float(paper.get("width", 0)) >= float(root.get("width", 0)) - 1
    assert "currentColor" not in svg_of(graph_of(step("a")))


@pytest.mark.parametrize("status", list(RunStatus))
def test_a_status_is_a_word_and_a_border(status: RunStatus) -> None:
    plain, drawn = (svg_of(graph_of(step("a"), one)) for one in ({}, {("a",): status}))
    assert status.value in drawn and status.value not in plain
    borders = [set(re.findall(r'stroke="(#\w+)"', one)) for one in (plain, drawn)]
    assert borders[0] != borders[1]


def overlong(graph: Graph) -> list[str]:
    """The texts that are wider than their boxes, in the widest of the fonts that one may meet."""
    found = []
    for group in ElementTree.fromstring(svg_of(graph)).iter(f"{SVG}g"):
        frame = group.find(f"{SVG}rect")
        for text in group.findall(f"{SVG}text") if frame is not None else ():
            weight = "bold" if text.get("font-weight") else "normal"
            font = FontProperties(family="DejaVu Sans", weight=weight, size=text.get("font-size"))
            shown = text.text or ""
            width, *_ = text_to_path.get_text_width_height_descent(shown, font, ismath=False)
            if frame is not None and width > float(frame.get("width", 0)):
                found.append(shown)
    return found


@pytest.mark.parametrize("char", [chr(n) for n in range(32, 127)] + ["é", "Ω", "Ж", "…", "·"])
def test_no_name_runs_over_its_box(char: str) -> None:
    for size in (1, 9, 12, 15, 18, 40):
        name = char * size
        boxes = [Box(name), Box(name, name), Box("a", name), Box(name, form=Form.MORE)]
        assert overlong(Graph("", boxes)) == []


@pytest.mark.parametrize("name", ["W" * 80, "i" * 80, "文" * 80, "📄" * 80, "a b" * 30, "a"])
def test_a_box_is_neither_too_wide_nor_too_narrow(name: str) -> None:
    root = ElementTree.fromstring(svg_of(graph_of(Pipeline.of(step(name), step(name)))))
    widths = [float(one.get("width", 0)) for one in root.iter(f"{SVG}rect")][1:]
    assert all(84 <= width <= 230 for width in widths)


def test_a_picture_is_as_large_as_what_is_in_it() -> None:
    root = ElementTree.fromstring(svg_of(everything("name")))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert root.get("viewBox") == f"0 0 {width:.0f} {height:.0f}"
    for x, y, right, bottom in boxes(root, 0, 0):
        assert min(x, y) >= 0 and right <= width and bottom <= height


def boxes(
    element: ElementTree.Element, x: float, y: float
) -> list[tuple[float, float, float, float]]:
    """Where rectangles lie, in the coordinates of the whole."""
    moved = re.match(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
    if moved is not None:
        x, y = x + float(moved[1]), y + float(moved[2])
    found = []
    if element.tag == f"{SVG}rect":
        at = [float(element.get(name, 0)) for name in ("x", "y", "width", "height")]
        found.append((x + at[0], y + at[1], x + at[0] + at[2], y + at[1] + at[3]))
    return [*found, *(one for child in element for one in boxes(child, x, y))]


def test_siblings_do_not_lie_on_each_other() -> None:
    graph = graph_of(Step.parallel("p", {name: step(name * 9) >> step("b") for name in "abc"}))
    root = ElementTree.fromstring(svg_of(graph))
    leaves = [one for one in boxes(root, 0, 0) if one[3] - one[1] == 32]
    assert len(leaves) == 6
    for n, one in enumerate(leaves):
        for other in leaves[n + 1 :]:
            assert (
                one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            )


def test_the_picture_is_small() -> None:
    assert len(svg_of(graph_of(Pipeline.of(*(step(f"s{n}") for n in range(200)))))) < 10_000


examples = settings(derandomize=True, database=None, deadline=None, max_examples=200)
names = st.text(st.characters(), min_size=1, max_size=60)


@examples
@given(names)
def test_any_name_gives_a_picture(name: str) -> None:
    assert shape(everything(name or "x")) is not None


@examples
@given(names)
def test_no_name_steers_a_flowchart(name: str) -> None:
    def skeleton(graph: Graph) -> list[str]:
        return [re.sub(r'"[^"]*"', '""', line) for line in mermaid_text(graph).split("\n")]

    assert skeleton(everything(name)) == skeleton(everything("plain"))


def test_what_could_be_markup_is_a_number() -> None:
    assert encoded("to_be or-not, 2 · …") == "to_be or-not, 2 · …"
    assert encoded('"<b>#1. `x`') == "#34;#60;b#62;#35;1#46; #96;x#96;"
    assert encoded("_x_ -y") == "#95;x#95; #45;y"
    assert set(encoded(EVIL)).isdisjoint("<>\"'`[]{}|%&\x00\x1b\u202e")
    assert encoded("a\n  b") == "a b"


def test_a_flowchart_joins_what_follows_and_leads_back_from_a_loop() -> None:
    loop = Step.loop_until("l", step("a") >> step("b"), lambda x: True)
    both = Step.parallel("p", {"x": step("c"), "y": step("d")})
    lines = [line.strip() for line in mermaid_text(graph_of(loop >> both)).splitlines()]
    assert lines[0] == "flowchart TD"
    for line in (
        *('n2["a"]', 'n3["b"]', "n2 --> n3", 'n3 -. "again" .-> n2', "end", "n3 --> n4"),
        *('n4{{"p<br/>in parallel"}}', 'n4 -->|"x"| n5', 'n4 -->|"y"| n6'),
    ):
        assert line in lines, line
