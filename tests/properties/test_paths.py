"""Paths: they come back from their text, and are the same in every run."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.engine.hooks import FrameFinished, FrameStarted
from flujo_nb.engine.path import (
    BranchKey,
    FramePath,
    Segment,
    SegmentKind,
    branch_key_of,
    branch_segment,
    step_segment,
)
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Pipeline, Step

any_text = st.text(st.characters(exclude_categories=()), max_size=6)
awkward = st.sampled_from(
    [
        "import",
        "cached",
        "router",
        "background",
        "fallback[1]",
        "c[7]",
        "[2]",
        ":a",
        "a#1",
        "%69",
        "\ud800",
        "\udfff\ud800",
        "a/b",
        "…",
        "²",
        "\x00",
    ]
)
names = awkward | any_text.filter(bool)
numbers = st.integers(0, 10**6)
branch_keys = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text | awkward
)
numbered = st.sampled_from([SegmentKind.INDEX, SegmentKind.FALLBACK, SegmentKind.COMMAND])
bare = st.sampled_from(
    [SegmentKind.IMPORT, SegmentKind.CACHED, SegmentKind.ROUTER, SegmentKind.BACKGROUND]
)
segments = (
    st.tuples(names, numbers).map(lambda made: step_segment(*made))
    | branch_keys.map(branch_segment)
    | st.tuples(numbered, numbers).map(lambda made: Segment(*made))
    | bare.map(Segment)
)
paths = st.lists(segments, max_size=5).map(lambda made: FramePath(tuple(made)))


@given(paths)
def test_a_path_comes_back_from_its_text(path: FramePath) -> None:
    assert FramePath.parse(str(path)) == path


@given(paths, paths)
def test_different_paths_have_different_texts(left: FramePath, right: FramePath) -> None:
    assert (str(left) == str(right)) == (left == right)


@given(branch_keys, branch_keys)
def test_a_branch_key_comes_back_with_its_type(key: BranchKey, other: BranchKey) -> None:
    found = branch_key_of(Segment.parse(str(branch_segment(key))))
    assert (type(found), repr(found)) == (type(key), repr(key))
    same = type(key) is type(other) and repr(key) == repr(other)
    assert (branch_segment(key) == branch_segment(other)) == same


@given(any_text)
def test_any_text_is_a_path_or_a_value_error(text: str) -> None:
    try:
        path = FramePath.parse(text)
    except ValueError:
        return
    assert FramePath.parse(str(path)) == path


@given(st.lists(names, min_size=1, max_size=6))
def test_the_paths_of_a_run_are_unique_and_the_same_in_every_run(chosen: list[str]) -> None:
    steps = {name: Step.from_callable(lambda data: data, name=name) for name in chosen}
    heard: list[str] = []

    def hear(event: FrameStarted | FrameFinished) -> None:
        if isinstance(event, FrameStarted):
            heard.append(str(event.path))

    runner = Flujo(Pipeline(tuple(steps[name] for name in chosen)), hooks=[hear])
    results = [asyncio.run(runner.run_async(1).result()) for _ in range(2)]
    once, again = heard[: len(chosen) + 1], heard[len(chosen) + 1 :]
    assert once == again
    assert len(set(once)) == len(once)
    assert [str(one.path) for one in results[0].step_history] == once[1:]
