"""From records to small values that can be shown: pure functions, with limits.

Nothing here keeps a payload: a view holds texts, so that a notebook's output history does not.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.engine.values import exactly_equal, state_of
from pydantic import BaseModel

PREVIEW = 96
"""How many characters of a value a card shows."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A value in one line: its kind (``list of 61``) and how it begins."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.kind else self.text


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of the context before and after a frame."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ChildLine:
    """A frame inside another, in one line."""

    id: str
    name: str
    status: RunStatus
    duration: str
    output: Preview


@dataclass(frozen=True, slots=True)
class FrameView:
    """All that a card says about a frame."""

    id: str
    name: str
    status: RunStatus
    origin: str
    path: str
    run_id: str
    parent: str | None
    duration_s: float
    cost_usd: float
    tokens: int
    attempts: int
    input: Preview
    output: Preview | None
    context: Sequence[FieldChange]
    children: Sequence[ChildLine]
    notes: Sequence[str]
    feedback: str | None
    is_head: bool

    @property
    def duration(self) -> str:
        """The duration for people."""
        return duration_text(self.duration_s)

    def as_json(self) -> dict[str, object]:
        """The small form that programs assert on (``application/vnd.flujo.frame+json``)."""
        return {
            "id": self.id,
            "parent": self.parent,
            "name": self.name,
            "status": self.status.value,
            "origin": self.origin,
            "path": self.path,
            "run_id": self.run_id,
            "duration_s": self.duration_s,
            "usage": {"cost_usd": self.cost_usd, "tokens": self.tokens},
        }


def frame_view(
    record: FrameRecord,
    *,
    origin: str,
    notes: Sequence[str] = (),
    children: Sequence[FrameRecord] = (),
    is_head: bool = False,
) -> FrameView:
    """What a card says about ``record``, which got its input from ``origin``."""
    return FrameView(
        id=record.id,
        name=record.name,
        status=record.status,
        origin=origin,
        path=str(record.path),
        run_id=record.run_id,
        parent=record.parent.id if record.parent is not None else None,
        duration_s=record.duration_s,
        cost_usd=record.usage.cost_usd,
        tokens=record.usage.tokens,
        attempts=record.outcome.attempts,
        input=preview(record.data),
        output=preview(record.output) if record.succeeded else None,
        context=context_changes(record.context, record.context_after),
        children=[_child_line(child) for child in children],
        notes=notes,
        feedback=record.feedback,
        is_head=is_head,
    )


def _child_line(child: FrameRecord) -> ChildLine:
    return ChildLine(
        id=child.id,
        name=child.name,
        status=child.status,
        duration=duration_text(child.duration_s),
        output=preview(child.output) if child.succeeded else Preview("", child.feedback or ""),
    )


def context_changes(before: BaseModel | None, after: BaseModel | None) -> Sequence[FieldChange]:
    """The fields that a frame changed, in the model's order."""
    if before is None or after is None or before is after:
        return ()
    old, new = state_of(before), state_of(after)
    return [
        FieldChange(name, short(old.get(name), 40), short(value, 40))
        for name, value in new.items()
        if name not in old or not exactly_equal(old[name], value)
    ]


def preview(value: object) -> Preview:
    """``value`` in one line, whatever its size."""
    kind = type(value).__name__
    if isinstance(value, list | tuple | dict | set | frozenset):
        return Preview(f"{kind} of {len(value)}", short(value))
    if isinstance(value, str | bytes) and len(value) > PREVIEW:
        return Preview(f"{kind} of {len(value):,}", short(value))
    shape: object = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return Preview(f"{kind} {' x '.join(map(str, shape))}", short(value))
    return Preview("", short(value))


def short(value: object, limit: int = PREVIEW) -> str:
    """The beginning of ``repr(value)`` in one line, without making all of it."""
    text = _Short(limit).repr(value)
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def duration_text(seconds: float) -> str:
    """``<0.1 ms``, ``0.4 ms``, ``12 ms``, ``3.1 s``, ``2 min 05 s``."""
    if seconds < 0.0001:
        return "<0.1 ms"
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


class _Short(reprlib.Repr):
    """A ``repr`` that looks into models and dataclasses and stops early in each."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 6
        self.maxlevel = 4
        self.maxstring = self.maxother = limit
        self.maxlong = 40

    def repr1(self, x: object, level: int) -> str:
        if isinstance(x, BaseModel):
            return self._fields(type(x).__name__, [(n, state_of(x)[n]) for n in vars(x)], level)
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            pairs = [(f.name, getattr(x, f.name, ...)) for f in dataclasses.fields(x) if f.repr]
            return self._fields(type(x).__name__, pairs, level)
        return super().repr1(x, level)

    def _fields(self, name: str, pairs: Sequence[tuple[str, object]], level: int) -> str:
        if level <= 0:
            return f"{name}(…)"
        shown = ", ".join(f"{n}={self.repr1(v, level - 1)}" for n, v in pairs[: self.maxlist])
        return f"{name}({shown}{', …' if len(pairs) > self.maxlist else ''})"

    def repr_instance(self, x: object, level: int) -> str:
        text = caught_inline(repr, x)
        if isinstance(text, Raised):
            return f"<{type(x).__name__} without a repr>"
        return text if len(text) <= self.maxother else f"{text[: self.maxother]}…"
