"""The one value that an execution is: a step, what goes into it, and where it stands.

A frame never changes. It has two parts: what all frames of a run share (`Run`, made once, read
through properties) and what is its own. Frames are made here and nowhere else.

Adding an execution parameter is one line: a field with a default on `ExecutionFrame`. Children and
retries inherit every field that their maker does not set; ``dataclasses.replace`` sets it on a
root. What needs no field of its own goes into ``extensions``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from .context import PipelineContext, show
from .errors import ConfigurationError, ContextTypeError
from .hooks import Hook
from .journal import Journal
from .outcomes import OnChunk
from .path import (
    FramePath,
    Segment,
    SegmentKind,
    index_segment,
    path_of_segments,
    step_segment,
    text_of_segments,
)
from .references import StateProviders
from .run import NO_EXTENSIONS, NO_PROVIDERS, Extensions, Facility, Run
from .sealed import draft_of
from .steps import AnyStep, Node, Step, name_of, steps_of
from .usage import Quota, UsageLimits

ContextT = TypeVar("ContextT", bound=BaseModel)


class _Placed:
    """Holds what a frame's path is, once somebody has asked: no field, it says nothing new."""

    __slots__ = ("_path",)
    _path: FramePath | None


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class ExecutionFrame(_Placed, Generic[ContextT]):
    """One execution of a step (or pipeline): the only argument of every policy.

    ``context`` belongs to nobody who runs: a step that asks for it gets an isolated copy.
    ``segments`` and ``index`` are this frame's part of its path. ``attempt`` counts from 1;
    ``feedback`` is why the attempt before failed. ``concurrent`` says that other frames of the
    run may be in flight beside this one, so that nothing synchronous should hold the loop.
    """

    run: Run
    step: Node
    data: object = None
    context: ContextT | None = None
    quota: Quota
    parent: ExecutionFrame[ContextT] | None = None
    segments: tuple[Segment, ...] = ()
    index: int | None = None
    attempt: int = 1
    feedback: str | None = None
    concurrent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "_path", None)

    def __repr__(self) -> str:
        return f"<ExecutionFrame {self.path} of {self.run_id}, attempt {self.attempt}>"

    @property
    def path(self) -> FramePath:
        """Where the frame stands in its run; made when first read, from its parent's."""
        path = self._path
        if path is None:
            segments = () if self.parent is None else self.parent.path.segments
            if self.index is not None:
                segments = (*segments, index_segment(self.index))
            path = path_of_segments(segments + self.segments)
            object.__setattr__(self, "_path", path)
        return path

    @property
    def path_text(self) -> str:
        """``str(path)``, made of the parent's: cheaper where the path itself is not needed."""
        if self.parent is None:
            return str(self.path)
        own, above = text_of_segments(self.segments), str(self.parent.path)
        if self.index is not None:
            own = f"[{self.index}]/{own}" if own else f"[{self.index}]"
        return f"{above}/{own}" if above and own else above or own

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self.run.run_id

    @property
    def idempotency_key(self) -> str:
        """What a step may give to another system, so that doing it twice counts once."""
        return f"{self.run_id}:{self.path}"

    @property
    def resources(self) -> object:
        """What the run was given for its steps: clients, models, connections."""
        return self.run.resources

    @property
    def limits(self) -> UsageLimits:
        """The limits of the budget that the frame draws on."""
        return self.quota.limits

    @property
    def stream(self) -> bool:
        """Whether agents that can stream shall."""
        return self.run.stream

    @property
    def on_chunk(self) -> OnChunk | None:
        """Who gets the chunks of streaming steps, as they arrive."""
        return self.run.on_chunk

    @property
    def extensions(self) -> Extensions:
        """Further parameters of the run, by name."""
        return self.run.extensions


AnyFrame: TypeAlias = ExecutionFrame[BaseModel]
Segments: TypeAlias = tuple[Segment, ...]

planned_child: Callable[
    [AnyFrame, AnyFrame, Segments, int | None, Node, object, BaseModel | None, int, str | None],
    AnyFrame,
] = draft_of(
    ExecutionFrame,
    ("parent", "segments", "index", "step", "data", "context", "attempt", "feedback"),
)
"""A child by position, the parent twice: for containers whose plan makes their paths unique."""

branch_frame: Callable[
    [
        AnyFrame,
        AnyFrame,
        Segments,
        int | None,
        Node,
        object,
        BaseModel | None,
        int,
        str | None,
        bool,
    ],
    AnyFrame,
] = draft_of(
    ExecutionFrame,
    ("parent", "segments", "index", "step", "data", "context", "attempt", "feedback", "concurrent"),
)
"""As `planned_child`, for containers that have several children in flight."""

BACKGROUND = (Segment(SegmentKind.BACKGROUND),)
"""Where the body of a step in the background stands, below the frame that launched it."""


def background_frame(launching: AnyFrame, body: Node, data: object, quota: Quota) -> AnyFrame:
    """The frame of ``body``, which works behind the run of the frame that launches it."""
    run, context = launching.run.apart(), launching.context
    if isinstance(context, PipelineContext):
        context = show(copy(context), run)
    return replace(
        launching,
        run=run,
        parent=launching,
        segments=BACKGROUND,
        index=None,
        step=body,
        data=data,
        context=context,
        quota=quota,
        concurrent=True,
    )


hydrated_frame: Callable[[AnyFrame, BaseModel], AnyFrame] = draft_of(ExecutionFrame, ("context",))
"""The same frame on a context whose references are loaded."""

retry_frame: Callable[[AnyFrame, int, str | None], AnyFrame] = draft_of(
    ExecutionFrame, ("attempt", "feedback")
)
"""The frame of another attempt, with its number and the feedback of the one before."""


_ANY_ROOT: AnyFrame = ExecutionFrame(run=Run(), step=Step(name="none"), quota=Quota())
"""Where a root gets the fields that its maker does not set: their defaults."""

_root_frame: Callable[
    [AnyFrame, Run, Node, object, BaseModel | None, Quota, tuple[Segment, ...]], AnyFrame
] = draft_of(ExecutionFrame, ("run", "step", "data", "context", "quota", "segments"))


def planned_steps(steps: Iterable[AnyStep]) -> tuple[tuple[tuple[Segment, ...], AnyStep], ...]:
    """Each step with its own part of the path: its name, numbered among its namesakes."""
    seen: Counter[str] = Counter()
    planned = []
    for one in steps:
        planned.append(((step_segment(one.name, seen[one.name]),), one))
        seen[one.name] += 1
    return tuple(planned)


def make_execution_frame(
    step: Node,
    data: object = None,
    *,
    context: ContextT | None = None,
    resources: object = None,
    limits: UsageLimits | None = None,
    quota: Quota | None = None,
    stream: bool = False,
    on_chunk: OnChunk | None = None,
    run_id: str | None = None,
    path: FramePath = FramePath(),  # noqa: B008  # immutable
    extensions: Extensions = NO_EXTENSIONS,
    hooks: tuple[Hook, ...] = (),
    journal: Journal | None = None,
    facilities: Facility = Facility.NONE,
    state_providers: StateProviders = NO_PROVIDERS,
) -> ExecutionFrame[ContextT]:
    """The root frame of a run.

    ``quota`` is a budget that other runs may share; without one, ``limits`` make a new one (no
    limits: a quota that grants everything). ``path`` is where the run's paths begin; below it a
    lone step stands under its name, as in a sequence. With a ``journal`` what stands in it is
    not run again; ``facilities`` are what the pipeline needs (`ExecutorCore.facilities_of`).
    Raises `ContextTypeError` when the context is not a pydantic model.
    """
    if context is not None and not isinstance(context, BaseModel):
        raise ContextTypeError(
            f"a context is an instance of a pydantic model; found {type(context).__name__}: "
            f"{name_of(step)} cannot start"
        )
    if quota is not None and limits is not None:
        raise ConfigurationError("give limits or a quota, not both: a quota has its own limits")
    run = Run(
        run_id,
        resources,
        stream,
        on_chunk,
        extensions,
        hooks,
        journal,
        facilities,
        state_providers,
    )
    step.seal()
    # Flags are dear to look at, and most runs need none.
    shows = run.facilities and Facility.OUTPUTS in run.facilities
    if shows and isinstance(context, PipelineContext):
        context = show(copy(context), run)
    own_quota = quota if quota is not None else Quota(limits)
    segments = path.segments + step.own_segments
    root = _root_frame(_ANY_ROOT, run, step, data, context, own_quota, segments)
    return cast(ExecutionFrame[ContextT], root)


def child_frame(
    parent: AnyFrame,
    step: Node,
    data: object,
    *,
    context: BaseModel | None = None,
    segments: tuple[Segment, ...] | None = None,
    index: int | None = None,
    concurrent: bool = False,
) -> AnyFrame:
    """A child of ``parent`` that inherits whatever is not given, the context too.

    Without ``segments`` a step stands under its name, numbered after earlier children of that
    name, and a pipeline adds none. A fallback's are ``(Segment(SegmentKind.FALLBACK, depth),)``.
    Raises `DuplicatePath` when another frame of the run has the same path.
    """
    path = parent.path
    if index is not None:
        path = path / index_segment(index)
    if segments is None:
        segments = tuple(parent.run.free_segment(path, str(one.key)) for one in step.own_segments)
    own = FramePath((*path.segments, *segments))
    if index is None and not segments:
        # It adds nothing to the path, so its steps stand among the parent's other children.
        for inner, _ in planned_steps(steps_of(step)):
            parent.run.claim(FramePath((*own.segments, *inner)))
    else:
        parent.run.claim(own)
    given = parent.context if context is None else context
    concurrent = concurrent or parent.concurrent
    return branch_frame(parent, parent, segments, index, step, data, given, 1, None, concurrent)
