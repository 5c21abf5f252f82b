"""What a kernel keeps: the steps, the records, and HEAD, which the next command continues from.

A session is one run; each command's frame stands in it at ``c[k]``. The session knows nothing of
IPython's shell: commands give it values and show what it returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from uuid import uuid4

from IPython.core.error import UsageError
from pydantic import BaseModel, ValidationError

from flujo_nb.engine.background_task_manager import BackgroundTaskManager
from flujo_nb.engine.cache_manager import CacheManager
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.errors import ConfigurationError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import (
    BackgroundLaunched,
    Chunk,
    FrameOutcome,
    StepOutcome,
    Success,
)
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.record import FrameRecord, children_of
from flujo_nb.engine.results import BackgroundTask
from flujo_nb.engine.step_config import Agent
from flujo_nb.engine.steps import AnyPipeline, Node, Pipeline, is_node
from flujo_nb.engine.usage import Quota, UsageLimits
from flujo_nb.engine.values import ATOMS

from .border import Copied, Copier, copied
from .errors import unknown
from .head import Entry, Request, Start, decide_start, failed_after


@dataclass(frozen=True, slots=True)
class Registered:
    """A step or pipeline under the name that commands know it by, with the cell text it is from."""

    name: str
    node: Node
    source: str


_inside: ContextVar[str | None] = ContextVar("flujo_inside", default=None)
"""The path of the command whose step is running, if one is."""


class Session:
    """The state that commands work on. It changes only when a command has done all it had to."""

    def __init__(self) -> None:
        self.run_id = f"session_{uuid4().hex[:12]}"
        self.steps: dict[str, Registered] = {}
        self.entries: list[Entry] = []
        self.head: FrameRecord | None = None
        self.initial_context: BaseModel | None = None
        self.resources: object = None
        self.registry = built_in_policies()
        self.contexts = ContextUpdateManager()
        self.total = Quota()
        self.quota = self.total
        self.tasks = BackgroundTaskManager()
        self.cache = CacheManager()
        self._commands = 0

    # Steps

    def register(self, name: str, node: Node, source: str) -> Registered:
        """Keep ``node`` under ``name``; an earlier one of that name is replaced."""
        registered = self.steps[name] = Registered(name, node, source)
        return registered

    def resolve(self, target: str, namespace: Mapping[str, object]) -> Node:
        """What ``target`` (names joined with ``>>``) stands for.

        A name is a registered step or pipeline, or a variable in ``namespace`` that holds one.
        Raises `UsageError` for a name that is neither.
        """
        nodes = [self._named(name.strip(), namespace) for name in target.split(">>")]
        try:
            joined: AnyPipeline = Pipeline.of(*nodes)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        return nodes[0] if len(nodes) == 1 else joined

    def _named(self, name: str, namespace: Mapping[str, object]) -> Node:
        if name in self.steps:
            return self.steps[name].node
        variable = namespace.get(name)
        if is_node(variable):
            return variable
        if not name:
            raise UsageError("expected NAME or NAME >> NAME")
        if is_agent(variable):
            raise UsageError(no_step(name))
        raise unknown("step", name, [*self.steps, *nodes_in(namespace)])

    # Settings

    def configure(
        self,
        *,
        context: type[BaseModel] | BaseModel | None = None,
        init: Mapping[str, object] | BaseModel | None = None,
        resources: object = None,
        limits: UsageLimits | None = None,
    ) -> None:
        """Set what new lines start with; what is not given stays as it is.

        ``context`` is the model of the context, or an instance of it; ``init`` are the values that
        it starts with. Raises `UsageError`, and changes nothing, when they do not fit.
        """
        initial = _initial_context(context, init, self.initial_context)
        self.initial_context = initial
        if resources is not None:
            self.resources = resources
        if limits is not None:
            self.quota = Quota(limits, self.total)  # what was used stays in the total

    # Records

    def record(self, frame_id: str) -> FrameRecord:
        """The record called ``frame_id``: ``f3``, or ``f3/words`` for a frame inside it."""
        number, _, inner = frame_id.partition("/")
        found = next((e.record for e in self.entries if e.record.id == number), None)
        if found is None:
            raise unknown("frame", number, [entry.record.id for entry in self.entries])
        if not inner or inner == "/".join(map(str, found.path.segments[1:])):
            return found
        inside = self._inside(found, frame_id)
        if inside is None:
            known = [child.id.partition("/")[2] for child in self.all_inside(found)]
            raise unknown(f"frame inside {number} called", inner, known)
        return inside

    def _inside(self, record: FrameRecord, frame_id: str) -> FrameRecord | None:
        for child in self.children(record):
            # A branch or an iteration of one step has no frame of its own: the step stands there.
            if child.id == frame_id or child.id.startswith(f"{frame_id}/"):
                return child
            if frame_id.startswith(f"{child.id}/"):
                return self._inside(child, frame_id)
        return None

    def succeeded_record(self, frame_id: str) -> FrameRecord:
        """The record called ``frame_id``; `UsageError` when it has no output to go on from."""
        record = self.record(frame_id)
        if not record.succeeded:
            raise UsageError(
                f"{record.id} {record.name} {record.status.value}: it has no output to go on from"
            )
        return record

    def children(self, record: FrameRecord) -> Sequence[FrameRecord]:
        """The records of the frames directly inside ``record``."""
        return children_of(record, self.contexts)

    def all_inside(self, record: FrameRecord) -> Iterator[FrameRecord]:
        """The records of the frames inside ``record``, at any depth, in the order of their ends."""
        for child in self.children(record):
            yield from self.all_inside(child)
            yield child

    def tasks_below(self, record: FrameRecord) -> Sequence[BackgroundTask]:
        """What ``record`` left in the background, and how it stands now."""
        if not _left_work(record.outcome):
            return ()
        own = record.path.segments
        told = self.tasks.tasks_of(self.run_id)
        return [task for task in told if task.path.segments[: len(own)] == own]

    def entry(self, record: FrameRecord) -> Entry:
        """How ``record`` came about; a frame inside a command has no command of its own."""
        found = next((e for e in self.entries if e.record is record), None)
        return found or Entry(record, None, "its place in the pipeline")

    def newest(self) -> FrameRecord | None:
        """HEAD, or else the newest record, or ``None``."""
        if self.head is None and self.entries:
            return self.entries[-1].record
        return self.head

    def failed_after_head(self) -> FrameRecord | None:
        """The newest record, when it continued from HEAD and did not succeed."""
        return failed_after(self.head, self.entries)

    # Runs

    async def run(
        self, node: Node, name: str, request: Request, *, refuse_after_failure: bool = False
    ) -> Entry:
        """Run ``node`` where ``request`` says, and keep the record of how that ended.

        HEAD moves to the record when it succeeded and nobody else has moved HEAD meanwhile; a run
        that a step of another one starts never moves it. An interrupt is recorded like any other
        end; whoever asked for the run lets it travel on. With ``refuse_after_failure`` a run that
        would go on from HEAD behind another step's failure is a `UsageError`.
        """
        inside = _inside.get()
        head = self.head
        start = decide_start(request, head, self.entries, self.initial_context)
        if refuse_after_failure and start.behind is not None and start.behind.name != name:
            raise UsageError(
                f"{start.behind.id} {start.behind.name} {start.behind.status.value}, and "
                "Flujo.after_failure is 'refuse': run it again, or say --from"
            )
        data = copied(start.data)
        core = ExecutorCore(self.registry, self.tasks, self.cache)
        facilities = core.facilities_of(node, start.context)
        frame = make_execution_frame(
            node,
            copied(data.value).value,
            context=start.context,
            facilities=facilities,
            resources=self.resources,
            quota=self.quota,
            run_id=self.run_id,
            path=FramePath((Segment(SegmentKind.COMMAND, self._commands + 1),)),
        )
        core.plan(frame)
        self._commands += 1  # only now: what cannot be planned changes nothing
        token = _inside.set(str(frame.path))
        try:
            outcome = await core.run_root(frame)
        finally:
            _inside.reset(token)
        side_line: tuple[str, ...] = ()
        if inside is not None:
            side_line = (f"ran inside {inside}: HEAD stays where it is",)
        elif self.head is not head:
            side_line = ("another run moved HEAD meanwhile: this one stands on a side line",)
        entry = self._recorded(name, frame.path, start, data, outcome, request, side_line)
        if entry.record.succeeded and not side_line:
            self.head = entry.record
        return entry

    def _recorded(
        self,
        name: str,
        path: FramePath,
        start: Start,
        data: Copied,
        outcome: FrameOutcome,
        request: Request,
        side_line: tuple[str, ...],
    ) -> Entry:
        copier, output, after = Copier(), Copied(None), None
        if isinstance(outcome, Success):
            output = copier.copied(outcome.output)  # before its children's: the notes are its own
            if start.context is not None:
                after = self.contexts.merge(start.context, outcome.update)
        elif isinstance(outcome, BackgroundLaunched):
            output, after = copier.copied(data.value), start.context
        outcome = kept(outcome, copier)
        record = FrameRecord(
            id=f"f{len(self.entries)}",
            name=name,
            path=path,
            run_id=self.run_id,
            data=data.value,
            context=start.context,
            outcome=outcome,
            output=output.value,
            context_after=after,
            parent=start.parent,
        )
        notes = (
            *start.notes,
            *_shared_notes("input", data),
            *_shared_notes("output", output),
            *side_line,
        )
        entry = Entry(record, request.cell, start.origin, notes)
        self.entries.append(entry)
        return entry


def kept(outcome: FrameOutcome, copier: Copier) -> FrameOutcome:
    """``outcome`` with copies of its outputs, its children's too: what a record holds."""
    if isinstance(outcome, Success) and not outcome.children and type(outcome.output) in ATOMS:
        return outcome  # there is nothing in it to copy
    children = [one if isinstance(one, Chunk) else kept(one, copier) for one in outcome.children]
    if isinstance(outcome, Success):
        output = copier.copied(outcome.output).value
        return replace(outcome, output=output, children=children)
    return replace(outcome, children=children)


def _left_work(outcome: StepOutcome) -> bool:
    """Whether a frame left something in the background, itself or inside."""
    if isinstance(outcome, Chunk):
        return False
    return isinstance(outcome, BackgroundLaunched) or any(map(_left_work, outcome.children))


def is_agent(value: object) -> bool:
    """Whether ``value`` is an agent that no step has been made of."""
    return isinstance(value, Agent) and not isinstance(value, type) and not is_node(value)


def no_step(name: str) -> str:
    """What to do with an agent called ``name`` where a step is wanted."""
    return f"{name!r} is an agent, not a step: use Step(name={name!r}, agent={name})"


def nodes_in(namespace: Mapping[str, object]) -> list[str]:
    """The variables that hold a step or a pipeline."""
    return [
        name for name, value in namespace.items() if not name.startswith("_") and is_node(value)
    ]


def _initial_context(
    context: type[BaseModel] | BaseModel | None,
    init: Mapping[str, object] | BaseModel | None,
    current: BaseModel | None,
) -> BaseModel | None:
    if context is None and init is None:
        return current
    given: object = current if context is None else context
    if isinstance(init, BaseModel):
        given, init = init, None
    if isinstance(given, BaseModel):
        model, values = type(given), {**dict(given), **(init or {})}
    elif isinstance(given, type) and issubclass(given, BaseModel):
        model, values = given, dict(init or {})
    else:
        found = "nothing" if given is None else repr(given)[:60]
        raise UsageError(f"a context is a pydantic model (class Ctx(BaseModel): …); found {found}")
    try:
        return model.model_validate(copied(values).value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or model.__name__
        raise UsageError(
            f"{model.__name__} cannot start: {where}: {first['msg']}; give values with --init "
            "{'field': …}"
        ) from error


def _shared_notes(what: str, value: Copied) -> Sequence[str]:
    if not value.shared:
        return ()
    names = ", ".join(value.shared)
    return (f"{what} shared, not copied: {names}; changing it changes the frame",)
