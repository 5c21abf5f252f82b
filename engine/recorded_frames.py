"""Frames as a journal recorded them: outcomes made from rows when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import cast, overload

from .journal_image import Image
from .outcome_codec import OutcomeCodec, Place, paths_inside, tree_of
from .outcomes import FrameOutcome, StepOutcome
from .path import FramePath, Segment, SegmentKind
from .steps import Node, Pipeline, Step, name_of
from .stores import Row
from .usage import Usage

_OF_PIPELINES = (SegmentKind.INDEX, SegmentKind.BRANCH, SegmentKind.IMPORT)


class RecordedFrames:
    """The finished frames of an image."""

    def __init__(self, image: Image, outcomes: OutcomeCodec, blob: Callable[[bytes], bytes]):
        self.image = image
        self._outcomes = outcomes
        self._blob = blob

    def outcome_of(
        self, row: Row, step: Node | None, segments: tuple[Segment, ...], index: int | None
    ) -> FrameOutcome:
        """How the frame of ``row`` ended; its place in the program is given, as far as known.

        Raises `ValueNotRead`.
        """
        tree = tree_of(row)
        inside: Sequence[StepOutcome] = ()
        if "c" in tree:
            inside = _Inside(self, row.path, step, paths_inside(tree["c"]))
        usage: Usage | None = None
        if row.cost_micros or row.tokens or row.requests or row.path in self.image.attempts:
            own = Usage(row.cost_micros, row.tokens, row.requests)
            usage = sum(self.image.attempts_of(row), own) or None
        if "s" in tree:
            usage = Usage(**cast(Mapping[str, int], tree["s"])) or None
        return self._outcomes.outcome_of(
            row, Place(tree, step, segments, index, inside), usage, self._blob
        )

    def outcome_at(self, path: FramePath, step: Node | None = None) -> FrameOutcome | None:
        """How the frame at ``path`` ended, if it did: as a root's, whose own part is the whole."""
        row = self.image.finished.get(str(path))
        if row is None:
            return None
        return self.outcome_of(row, step or stand_in(row, path.segments), path.segments, None)


class _Inside(Sequence[StepOutcome]):
    """The frames inside one, each made when it is asked for."""

    def __init__(
        self, frames: RecordedFrames, above: str, parent: Node | None, paths: Sequence[str]
    ) -> None:
        self._frames = frames
        self._parent = parent
        prefix = f"{above}/" if above else ""
        finished = frames.image.finished
        self._at = [(one, f"{prefix}{one}") for one in paths if f"{prefix}{one}" in finished]

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> StepOutcome: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StepOutcome]: ...
    def __getitem__(self, index: int | slice) -> StepOutcome | Sequence[StepOutcome]:
        if isinstance(index, slice):
            return [self._made(*one) for one in self._at[index]]
        return self._made(*self._at[index])

    def _made(self, below: str, path: str) -> StepOutcome:
        row = self._frames.image.finished[path]
        segments, number = own_part(FramePath.parse(below).segments)
        step = _node_inside(self._parent, row.name, segments) or stand_in(row, segments)
        return self._frames.outcome_of(row, step, segments, number)


def stand_in(row: Row, segments: tuple[Segment, ...]) -> Node:
    """A step (or pipeline) of that name, where the program of a recorded frame is not at hand."""
    name = row.name or row.path or "run"
    if not segments or segments[-1].kind in _OF_PIPELINES:
        return _pipeline_called(name)
    return _step_called(name)


@lru_cache
def _step_called(name: str) -> Node:
    return Step(name=name)


@lru_cache
def _pipeline_called(name: str) -> Node:
    return Pipeline(tuple(Step(name=one) for one in name.split(" >> ")))


def own_part(segments: tuple[Segment, ...]) -> tuple[tuple[Segment, ...], int | None]:
    """A frame's own segments and its index, when ``segments`` are its part of a path."""
    if segments and segments[0].kind is SegmentKind.INDEX:
        return segments[1:], int(str(segments[0].key))
    return segments, None


def _node_inside(
    parent: Node | None, name: str | None, segments: tuple[Segment, ...]
) -> Node | None:
    """The step or pipeline called ``name`` inside ``parent``, whose frame ends in ``segments``."""
    if parent is None:
        return None
    found: list[Node] = []
    for inner in parent.inner:
        found += [one for one in (inner, *inner.inner) if name_of(one) == name]
    last = segments[-1].kind if segments else SegmentKind.INDEX
    for one in found:
        if one.is_sequence == (last in _OF_PIPELINES):
            return one
    return found[0] if found else None
