"""From records to small values that can be shown: pure functions, with limits.

Nothing here keeps a payload: a view holds texts, so that a notebook's output history does not.
What looks like a secret is withheld from every text.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import cast

from pydantic import BaseModel

from flujo_nb.engine.outcomes import RunStatus, Success
from flujo_nb.engine.path import SegmentKind
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.results import BackgroundTask
from flujo_nb.engine.step_history_tracker import feedback_in
from flujo_nb.engine.store.secrets import SIGNS, looks_like
from flujo_nb.engine.usage import Quota
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.engine.values import exactly_equal, state_of

PREVIEW = 96
"""How many characters of a value a card shows."""

SHOWN = 48
"""How many characters of a value a table of frames shows."""

FEEDBACK = 300
"""How many characters of an error it shows."""

CHILDREN = 8
"""How many frames inside another it lists."""

_SEARCHED = 20_000
"""How many characters of a text are looked through: more than is ever shown of it."""


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
    more_children: int = 0
    attempts_are: str = "attempts"
    background: Sequence[str] = ()
    live_only: Sequence[str] = ()
    absent: str | None = None
    digest: str | None = None
    input_digest: str | None = None
    stale: str | None = None
    budget: Sequence[str] = ()
    is_reused: bool = False

    @property
    def duration(self) -> str:
        """The duration for people; nothing where the kernel's end cut the frame off."""
        is_cut_off = self.status is RunStatus.INTERRUPTED and not self.duration_s
        return "" if is_cut_off else duration_text(self.duration_s)

    @property
    def can_go_on(self) -> bool:
        """Whether there is an output to go on from."""
        return self.status is RunStatus.COMPLETED

    def as_json(self) -> dict[str, object]:
        """The small form that programs assert on (``application/vnd.flujo.frame+json``)."""
        return {
            "id": veiled(self.id),
            "parent": None if self.parent is None else veiled(self.parent),
            "name": self.name,
            "status": self.status.value,
            "origin": self.origin,
            "path": self.path,
            "run_id": self.run_id,
            "duration_s": self.duration_s,
            "usage": {"cost_usd": self.cost_usd, "tokens": self.tokens},
            "digest": self.digest,
            "input_digest": self.input_digest,
            "stale": None if self.stale is None else veiled(self.stale),
            "live_only": list(self.live_only),
        }


def frame_view(
    record: FrameRecord,
    *,
    origin: str,
    notes: Sequence[str] = (),
    children: Sequence[FrameRecord] = (),
    tasks: Sequence[BackgroundTask] = (),
    is_head: bool = False,
    live_only: Sequence[str] = (),
    digest: str | None = None,
    input_digest: str | None = None,
    stale: str | None = None,
    budget: Sequence[str] = (),
) -> FrameView:
    """What a card says about ``record``, which got its input from ``origin``.

    ``tasks`` are those that it left in the background, ``live_only`` the parts of its values that
    are not saved; the digests are those of what it came to and of its input. ``stale`` says why
    it is out of date, if it is, and ``budget`` what of it is reserved, spent and left.
    """
    return FrameView(
        id=record.id,
        name=veiled(record.name),
        status=record.status,
        origin=veiled(origin),
        path=veiled(str(record.path)),
        run_id=record.run_id,
        parent=record.parent,
        duration_s=record.duration_s,
        cost_usd=record.usage.cost_usd,
        tokens=record.usage.tokens,
        attempts=record.outcome.attempts,
        input=preview(record.data) if record.has_data else Preview("", "not kept"),
        output=preview(record.output) if record.has_output else None,
        context=context_changes(record.context, record.context_after),
        children=[_child_line(record, child) for child in children[:CHILDREN]],
        more_children=max(len(children) - CHILDREN, 0),
        attempts_are=_attempts_are(record),
        background=[_task_line(task) for task in tasks],
        notes=(*map(veiled, notes), *_cache_notes(record)),
        feedback=None if record.feedback is None else clipped(record.feedback, FEEDBACK),
        is_head=is_head,
        live_only=[clipped(part, FEEDBACK) for part in live_only],
        absent=None if record.absent is None else clipped(record.absent, FEEDBACK),
        digest=digest,
        input_digest=input_digest,
        stale=None if stale is None else clipped(stale, FEEDBACK),
        budget=budget,
    )


def _attempts_are(record: FrameRecord) -> str:
    """What a container counts as its attempts."""
    outcome = record.outcome
    if outcome.step is None or not outcome.step.is_container:
        return "attempts"
    return next((one for one in ("iterations", "items") if one in outcome.metadata), "attempts")


def _cache_notes(record: FrameRecord) -> Iterator[str]:
    outcome = record.outcome
    if outcome.step is None or not outcome.step.is_container:
        return
    if outcome.metadata.get("cache_hit"):
        yield "from the cache"
    because = outcome.metadata.get("not_cached_because")
    if because is not None:
        yield clipped(f"not cached: {because}", FEEDBACK)


def _task_line(task: BackgroundTask) -> str:
    match task.outcome:
        case None:
            how = "works in the background"
        case Success(output=output):
            how = f"completed in the background: {preview(output)}"
        case ended:
            how = f"{task.status.value} in the background: {feedback_in(ended) or ''}"
    return clipped(f"{how} ({task.path})", FEEDBACK)


def _child_line(record: FrameRecord, child: FrameRecord) -> ChildLine:
    """A child by its name, behind what tells it from its siblings: a branch's key, a number."""
    because = Preview("", clipped(child.feedback or "", PREVIEW))
    below = child.path.segments[len(record.path.segments) :]
    place = [str(one) for one in below if one.kind is not SegmentKind.STEP]
    return ChildLine(
        id=child.id,
        name=clipped(" ".join((*place, child.name)), PREVIEW),
        status=child.status,
        duration=duration_text(child.duration_s),
        output=preview(child.output) if child.has_output else because,
    )


def context_changes(before: BaseModel | None, after: BaseModel | None) -> Sequence[FieldChange]:
    """The fields that a frame changed, in the model's order."""
    if before is None or after is None or before is after:
        return ()
    old, new, hidden = state_of(before), state_of(after), _hidden_fields(after)
    changed = [
        name
        for name, value in new.items()
        if name not in old or not exactly_equal(old[name], value)
    ]
    return [
        FieldChange(name, "…", "…")
        if name in hidden
        else FieldChange(name, short(old.get(name), 40), short(new[name]))
        for name in changed
    ]


def preview(value: object) -> Preview:
    """``value`` in one line, whatever its size."""
    kind = type(value).__name__
    if type(value) in (list, tuple, dict, set, frozenset):
        return Preview(f"{kind} of {len(cast(Sized, value))}", short(value))
    if isinstance(value, str | bytes) and len(value) > PREVIEW:
        return Preview(f"{kind} of {len(value):,}", short(value))
    shape: object = caught_inline(getattr, value, "shape", None)
    if isinstance(shape, tuple) and shape and all(type(part) is int for part in shape):
        # Asked for with a default: an error's traceback would keep the value alive for a while.
        columns: object = caught_inline(getattr, value, "columns", None)
        named = None if columns is None else caught_inline(_names_of, columns)
        text = clipped(named, PREVIEW) if isinstance(named, str) else short(value)
        return Preview(f"{kind} {' x '.join(map(str, shape))}", text)
    return Preview("", short(value))


def _names_of(columns: object) -> str:
    """The names of a data frame's columns; raises for what is no list of names."""
    return ", ".join(map(str, cast(Iterable[object], columns)))


def short(value: object, limit: int = PREVIEW) -> str:
    """The beginning of ``repr(value)`` in one line, without making all of it."""
    return clipped(" ".join(_shown(value, limit, depth=4).split()), limit)


def clipped(text: str, limit: int) -> str:
    """``text`` without secrets, or its beginning and ``…``."""
    text = veiled(text[:_SEARCHED])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def veiled(text: str) -> str:
    """``text`` without what looks like a secret: without the words with it, or all of it."""
    if not any(sign in text for sign in SIGNS):
        return text
    kind = looks_like(text)
    if kind is None:
        return text
    told = _WORD.sub(lambda word: _without_secret(word[0]), text)
    return told if looks_like(told) is None else withheld(kind)


def withheld(kind: str) -> str:
    """What is shown in the place of a secret."""
    return f"«withheld: looks like {kind}»"


_WORD = re.compile(r"\S+")


def _without_secret(word: str) -> str:
    kind = looks_like(word)
    return word if kind is None else withheld(kind)


def _shown(value: object, limit: int, depth: int) -> str:
    """A ``repr`` that looks into containers and models and stops early in each.

    Containers are known by their exact type; anything else is asked for its own ``repr``.
    """
    match value:
        case str():
            return repr(veiled(value[:_SEARCHED])[:limit])
        case bytes() | bytearray():
            kind = looks_like(value[:_SEARCHED].decode("latin-1"))
            return repr(value[:limit]) if kind is None else withheld(kind)
        case int() if value.bit_length() > _LONG_INT:
            return f"an int of {value.bit_length():,} bits"
        case dict() if type(value) in _DICTS:
            return _joined("{", "}", _pairs(value, limit, depth), len(value), depth)
        case list() if type(value) is list:
            return _joined("[", "]", _items(value, limit, depth), len(value), depth)
        case tuple() if type(value) is tuple:
            closing = ",)" if len(value) == 1 else ")"
            return _joined("(", closing, _items(value, limit, depth), len(value), depth)
        case set() | frozenset() if type(value) in (set, frozenset) and value:
            return _joined("{", "}", _items(value, limit, depth), len(value), depth)
        case deque() if type(value) is deque:
            return _joined("deque([", "])", _items(value, limit, depth), len(value), depth)
    named = _fields_of(value)
    if named is not None:
        parts = (f"{name}={_shown(item, limit, depth - 1)}" for name, item in named[:_ITEMS])
        return _joined(f"{type(value).__name__}(", ")", parts, len(named), depth)
    text = caught_inline(repr, value)
    told = f"<{type(value).__name__} without a repr>" if isinstance(text, Raised) else text
    return veiled(told[:_SEARCHED])


_ITEMS = 6
_LONG_INT = 400
_DICTS = (dict, Counter, OrderedDict, defaultdict)


def _items(values: Iterable[object], limit: int, depth: int) -> Iterator[str]:
    return (_shown(item, limit, depth - 1) for item in islice(values, _ITEMS))


def _pairs(table: Mapping[object, object], limit: int, depth: int) -> Iterator[str]:
    return (
        f"{_shown(key, limit, depth - 1)}: {_shown(item, limit, depth - 1)}"
        for key, item in islice(table.items(), _ITEMS)
    )


def _joined(opening: str, closing: str, parts: Iterable[str], count: int, depth: int) -> str:
    if depth <= 0:
        return f"{opening}…{closing}"
    more = ", ..." if count > _ITEMS else ""
    return f"{opening}{', '.join(parts)}{more}{closing}"


def _fields_of(value: object) -> list[tuple[str, object]] | None:
    """The fields that a model or dataclass shows in its own ``repr``, if it is one."""
    if isinstance(value, BaseModel):
        state, hidden = state_of(value), _hidden_fields(value)
        return [(name, item) for name, item in state.items() if name not in hidden]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name, ...)) for f in dataclasses.fields(value) if f.repr]
    return None


def _hidden_fields(model: BaseModel) -> set[str]:
    private = set(model.__pydantic_private__ or {})
    return private | {name for name, field in type(model).model_fields.items() if not field.repr}


def budget_lines(quota: Quota) -> Sequence[str]:
    """What is spent, reserved and left of each limit of a budget; nothing where there is none."""
    limits, spent, reserved = quota.limits, quota.spent, quota.reserved
    lines = []
    if limits.total_cost_usd_limit is not None:
        limit = limits.total_cost_usd_limit
        left = max(limit - spent.cost_usd - reserved.cost_usd, 0.0)
        parts = f"${spent.cost_usd:.4f} spent", f"${reserved.cost_usd:.4f} reserved"
        lines.append(f"{', '.join(parts)}, ${left:.4f} left of ${limit:g}")
    for what, most, used, held in (
        ("tokens", limits.total_tokens_limit, spent.tokens, reserved.tokens),
        ("requests", limits.total_requests_limit, spent.requests, reserved.requests),
    ):
        if most is not None:
            left_over = max(most - used - held, 0)
            lines.append(
                f"{used:,} spent, {held:,} reserved, {left_over:,} left of {most:,} {what}"
            )
    return lines


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
