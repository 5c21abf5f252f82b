"""From records to small values that can be shown: pure functions, with limits.

Nothing here keeps a payload: a view holds texts, so that a notebook's output history does not.
What looks like a secret is withheld from every text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from flujo_nb.engine.outcomes import RunStatus, Success
from flujo_nb.engine.path import SegmentKind
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.results import BackgroundTask
from flujo_nb.engine.step_history_tracker import feedback_in
from flujo_nb.engine.usage import Quota
from flujo_nb.engine.values import exactly_equal, state_of

from .previews import (
    FEEDBACK,
    PREVIEW,
    Preview,
    clipped,
    duration_text,
    hidden_fields,
    preview,
    short,
    veiled,
)

CHILDREN = 8
"""How many frames inside another it lists."""


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
    model: str | None = None
    has_price: bool = True

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
            "run_id": veiled(self.run_id),
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
    model = record.outcome.metadata.get("model")
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
        model=clipped(model, PREVIEW) if isinstance(model, str) else None,
        has_price=record.outcome.metadata.get("price") != "unknown",
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
    old, new, hidden = state_of(before), state_of(after), hidden_fields(after)
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


def budget_lines(quota: Quota) -> Sequence[str]:
    """What is spent, reserved and left of each limit of a budget; nothing where there is none."""
    limits, spent, reserved = quota.limits, quota.spent, quota.reserved
    lines = []
    if limits.total_cost_usd_limit is not None:
        limit = limits.total_cost_usd_limit
        left = limit - spent.cost_usd - reserved.cost_usd
        parts = f"${spent.cost_usd:.4f} spent", f"${reserved.cost_usd:.4f} reserved"
        rest = f"${left:.4f} left of" if left >= 0 else f"${-left:.4f} over"
        lines.append(f"{', '.join(parts)}, {rest} ${limit:g}")
    for what, most, used, held in (
        ("tokens", limits.total_tokens_limit, spent.tokens, reserved.tokens),
        ("requests", limits.total_requests_limit, spent.requests, reserved.requests),
    ):
        if most is not None:
            left_over = most - used - held
            rest = f"{left_over:,} left of" if left_over >= 0 else f"{-left_over:,} over"
            lines.append(f"{used:,} spent, {held:,} reserved, {rest} {most:,} {what}")
    return lines
