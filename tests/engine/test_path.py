"""Segments and paths: rendering, parsing, what is refused."""

from __future__ import annotations

from enum import Enum

import pytest

from flujo_nb.engine.path import (
    FramePath,
    Segment,
    SegmentKind,
    branch_key_of,
    branch_segment,
    step_segment,
)

RENDERED = [
    (step_segment("draft"), "draft"),
    (step_segment("words", 1), "words#1"),
    (Segment(SegmentKind.INDEX, 2), "[2]"),
    (branch_segment("billing"), ":billing"),
    (branch_segment(1), ":=1"),
    (branch_segment(True), ":=true"),
    (Segment(SegmentKind.IMPORT), "import"),
    (Segment(SegmentKind.CACHED), "cached"),
    (Segment(SegmentKind.ROUTER), "router"),
    (Segment(SegmentKind.BACKGROUND), "background"),
    (Segment(SegmentKind.FALLBACK, 1), "fallback[1]"),
    (Segment(SegmentKind.COMMAND, 7), "c[7]"),
]


@pytest.mark.parametrize(("segment", "text"), RENDERED)
def test_every_kind_has_its_text_form_and_is_read_back(segment: Segment, text: str) -> None:
    assert str(segment) == text
    assert Segment.parse(text) == segment


@pytest.mark.parametrize(
    "name",
    [
        "import",
        "router",
        "c[7]",
        "[2]",
        ":billing",
        "a/b",
        "words#1",
        "100 %",
        "%69mport",
        "naïve",
        "…",
        "fallback",
        "c",
        ".",
        "..",
        "a\nb",
        "\ud800",
        "\ud83d\ude00",
        "😀",
    ],
)
def test_a_step_may_have_any_name(name: str) -> None:
    path = FramePath((step_segment(name), step_segment(name, 3)))
    assert FramePath.parse(str(path)) == path
    assert str(path).count("/") == 1


def test_a_step_named_like_a_keyword_differs_from_the_keyword() -> None:
    assert str(step_segment("import")) != str(Segment(SegmentKind.IMPORT))


def test_the_path_of_the_design_page_is_read() -> None:
    text = "triage/loop/[2]/route/:billing/draft"
    path = FramePath.parse(text)
    assert str(path) == text
    assert [segment.kind for segment in path] == [
        SegmentKind.STEP,
        SegmentKind.STEP,
        SegmentKind.INDEX,
        SegmentKind.STEP,
        SegmentKind.BRANCH,
        SegmentKind.STEP,
    ]


def test_the_empty_path_has_the_empty_text() -> None:
    assert str(FramePath()) == ""
    assert FramePath.parse("") == FramePath()


@pytest.mark.parametrize("text", ["a//b", "/a", "a/", "draft#0", "[x]", "[-1]", "a[1]", "#1"])
def test_what_no_path_renders_as_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no segment"):
        FramePath.parse(text)


@pytest.mark.parametrize("key", ["1", 1, 1.0, True, False, None, "true", "", "=1", "a/b", -0.5])
def test_a_branch_key_comes_back_with_its_type(key: str | float | None) -> None:
    segment = Segment.parse(str(branch_segment(key)))
    found = branch_key_of(segment)
    assert (type(found), found) == (type(key), key)


def test_branch_keys_of_different_types_are_different_branches() -> None:
    texts = {str(branch_segment(key)) for key in (1, "1", 1.0, True, "true", None, "null")}
    assert len(texts) == 7


def test_a_member_of_a_string_enum_is_its_value() -> None:
    class Kind(str, Enum):  # noqa: UP042  # StrEnum has another text
        BILL = "bill"

    segment = branch_segment(Kind.BILL)
    assert str(segment) == ":bill"
    assert branch_key_of(segment) == "bill"


def test_paths_are_extended_with_a_slash() -> None:
    path = FramePath() / step_segment("a") / step_segment("b")
    assert str(path) == "a/b"
    assert repr(path) == "FramePath('a/b')"
    assert hash(path) == hash(FramePath.parse("a/b"))
