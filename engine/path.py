"""Where a frame stands in its run.

A `FramePath` is a tuple of segments. Its text form is ``/``-joined; every segment's kind can be
told from its first characters, so parsing gives back exactly the path that was rendered:

========== ============================= =====================
kind       key                           text
========== ============================= =====================
step       name; earlier namesakes       ``draft``, ``words#1``
index      number of an iteration, item  ``[2]``
branch     a string                      ``:billing``
branch     any other JSON scalar         ``:=1``, ``:=true``
import …   none                          ``import``
fallback   depth                         ``fallback[1]``
command    number of a session's command ``c[7]``
========== ============================= =====================

Characters other than letters, digits, ``_``, ``-`` and ``.`` are percent-escaped (UTF-8); a step
named like a keyword has its first character escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .sealed import draft_of

BranchKey = str | int | float | bool | None
"""What a decider may return to choose a branch; the type counts (``1`` and ``"1"`` differ)."""


class SegmentKind(StrEnum):
    """What a segment of a path stands for: strings, because those are hashed in C."""

    STEP = "step"
    INDEX = "index"
    BRANCH = "branch"
    IMPORT = "import"
    CACHED = "cached"
    ROUTER = "router"
    BACKGROUND = "background"
    FALLBACK = "fallback"
    COMMAND = "c"


_KEYWORDS = {
    kind.value: kind
    for kind in (
        SegmentKind.IMPORT,
        SegmentKind.CACHED,
        SegmentKind.ROUTER,
        SegmentKind.BACKGROUND,
    )
}
_NUMBERED = re.compile(r"(fallback|c)?\[(\d+)\]", re.ASCII)
_STEP = re.compile(r"([^#\[\]:/]+)(?:#([1-9]\d*))?", re.ASCII)


class Segment(NamedTuple):
    """One part of a path: its kind, its key, and how many earlier siblings share both.

    The key is a step's name, a number, or a branch's key as text (see `branch_segment`).
    """

    kind: SegmentKind
    key: str | int | None = None
    ordinal: int = 0

    def __str__(self) -> str:
        match self.kind:
            case SegmentKind.STEP:
                name = _escaped(str(self.key))
                if name in _KEYWORDS:
                    name = f"%{ord(name[0]):02X}{name[1:]}"
                return f"{name}#{self.ordinal}" if self.ordinal else name
            case SegmentKind.INDEX:
                return f"[{self.key}]"
            case SegmentKind.BRANCH:
                return f":{self.key}"
            case SegmentKind.FALLBACK | SegmentKind.COMMAND:
                return f"{self.kind.value}[{self.key}]"
            case _:
                return str(self.kind.value)

    @classmethod
    def parse(cls, text: str) -> Segment:
        """The segment that renders as ``text``; `ValueError` when none does."""
        if text in _KEYWORDS:
            return cls(_KEYWORDS[text])
        if numbered := _NUMBERED.fullmatch(text):
            kinds = {None: SegmentKind.INDEX, "c": SegmentKind.COMMAND}
            kind = kinds.get(numbered[1], SegmentKind.FALLBACK)
            return cls(kind, int(numbered[2]))
        if text.startswith(":"):
            return cls(SegmentKind.BRANCH, text[1:])
        if step := _STEP.fullmatch(text):
            return cls(SegmentKind.STEP, _unescaped(step[1]), int(step[2] or 0))
        raise ValueError(f"{text!r} is no segment of a frame path")


_text_of = lru_cache(maxsize=4096)(Segment.__str__)


@lru_cache(maxsize=4096)
def text_of_segments(segments: tuple[Segment, ...]) -> str:
    """A part of a path as text: that of a step, which many frames have in common."""
    return "/".join(map(str, segments))


class _Rendered:
    """Holds a path's text, once somebody has asked: no field, it says nothing new."""

    __slots__ = ("_text",)
    _text: str | None


@dataclass(frozen=True, slots=True)
class FramePath(_Rendered):
    """A frame's place in its run, unique there. ``str()`` renders it, `parse` reads it back."""

    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", None)

    def __str__(self) -> str:
        try:
            text = self._text
        except AttributeError:  # of a copy: only fields are copied
            text = None
        if text is None:
            index = SegmentKind.INDEX
            parts = [f"[{one[1]}]" if one[0] is index else _text_of(one) for one in self.segments]
            text = "/".join(parts)
            object.__setattr__(self, "_text", text)
        return text

    def __repr__(self) -> str:
        return f"FramePath({str(self)!r})"

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __truediv__(self, segment: Segment) -> FramePath:
        return FramePath((*self.segments, segment))

    @classmethod
    def parse(cls, text: str) -> FramePath:
        """The path that renders as ``text``; `ValueError` names the segment that is none."""
        return cls(tuple(map(Segment.parse, text.split("/"))) if text else ())


path_of_segments: Callable[[tuple[Segment, ...]], FramePath] = draft_of(FramePath)
"""`FramePath`, for the hot path."""


def index_segment(number: int) -> Segment:
    """The segment of iteration or item ``number``."""
    return tuple.__new__(Segment, (SegmentKind.INDEX, number, 0))  # half the price of the class


@lru_cache(maxsize=4096)
def step_segment(name: str, ordinal: int = 0) -> Segment:
    """The segment of a step called ``name`` with ``ordinal`` earlier namesakes in its sequence."""
    return Segment(SegmentKind.STEP, name, ordinal)


def branch_segment(key: BranchKey) -> Segment:
    """The segment of the branch chosen by ``key``; equal only for keys of one type."""
    # str.join, because an enum's member that is a string formats as its name.
    text = _escaped("".join(key)) if isinstance(key, str) else f"={_escaped(json.dumps(key))}"
    return Segment(SegmentKind.BRANCH, text)


def branch_key_of(segment: Segment) -> BranchKey:
    """The key that `branch_segment` was given."""
    text = str(segment.key)
    if not text.startswith("="):
        return _unescaped(text)
    key: BranchKey = json.loads(_unescaped(text[1:]))
    return key


def _escaped(text: str) -> str:
    if text.isalnum():
        return text
    return "".join(
        char
        if char.isalnum() or char in "_-."
        else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in text
    )


def _unescaped(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogatepass")
