"""What a kernel keeps: the steps, the records, and HEAD, which the next command continues from.

A session is one run; its k-th command's frame stands in it at ``c[k]``. A command that goes on with
an earlier one's frame makes a record of its own, at the same place. The session knows nothing of
IPython's shell: commands give it values and show what it returns.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.attempt_slots import AttemptSlots
from flujo_nb.engine.background_task_manager import BackgroundTaskManager
from flujo_nb.engine.cache_manager import CacheManager, MemoryCache
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.errors import StoreError
from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.record import FrameRecord, children_of
from flujo_nb.engine.results import BackgroundTask
from flujo_nb.engine.steps import Node
from flujo_nb.engine.usage import Quota, UsageLimits
from flujo_nb.widgets.previews import clipped

from .background import BackgroundRuns
from .border import copied
from .command_run import CommandRun, is_inside_a_step
from .errors import unknown
from .head import (
    CellKey,
    Command,
    Entry,
    Request,
    Start,
    decide_start,
    failed_after,
    line_of,
    refuse,
)
from .initial_context import initial_context
from .keeper import Keeper, MemoryKeeper
from .kept_frames import left_work
from .patching import as_patched
from .recall import Recaller
from .run_options import PLAIN, RunOptions
from .sizes import record_size
from .staleness import Staleness
from .targets import Registered, Targets

MB = 1_000_000
MAX_MEMORY = 512 * MB


class Session:
    """The state that commands work on. It changes only when a command has done all it had to."""

    def __init__(self, targets: Targets | None = None, run_id: str | None = None) -> None:
        self.run_id = run_id or f"session_{uuid4().hex[:12]}"
        self.targets = targets or Targets()
        self.keeper: Keeper = MemoryKeeper()
        self.head: Entry | None = None
        self.initial_context: BaseModel | None = None
        self.resources: object = None
        self.registry = built_in_policies()
        self.contexts = ContextUpdateManager()
        self.quota = Quota()
        self.slots = AttemptSlots()
        self.tasks = BackgroundTaskManager()
        self.background = BackgroundRuns()
        self.cached = MemoryCache()
        self.cache = CacheManager(self.cached)
        self.max_memory = MAX_MEMORY
        self.recaller = Recaller(self)
        self.entries: list[Entry] = []
        self.staleness = Staleness(self.entries, self.targets.definitions_now)
        self.left_head: str | None = None
        """Where HEAD stood when another kernel left the session."""
        self.commands = 0
        self.frames = 0
        self.store_error: StoreError | None = None
        """Why the end of the newest frame could not be noted."""

    # Steps

    @property
    def steps(self) -> dict[str, Registered]:
        """The registered steps and pipelines by name."""
        return self.targets.steps

    def resolve(self, target: str, namespace: Mapping[str, object]) -> Node:
        """What ``target`` stands for; see `Targets.resolve`."""
        return self.targets.resolve(target, namespace)

    # Settings

    def configure(
        self,
        *,
        context: type[BaseModel] | BaseModel | None = None,
        init: Mapping[str, object] | BaseModel | None = None,
        resources: object = None,
        limits: UsageLimits | None = None,
        max_concurrency: int | str | None = None,
    ) -> None:
        """Set what new lines start with; what is not given stays as it is.

        ``context`` is the model of the context, or an instance of it; ``init`` are the values that
        it starts with. ``max_concurrency`` bounds the attempts in flight, over all runs that begin
        from now on (``"none"``: any number). Raises `UsageError`, and changes nothing, when they
        do not fit.
        """
        initial = initial_context(context, init, self.initial_context)
        if max_concurrency is not None:
            self.slots.allow(_most_of(max_concurrency))
        self.initial_context = initial
        if resources is not None:
            self.resources = resources
        if limits is not None:
            self.limit(limits)

    def limit(self, limits: UsageLimits) -> None:
        """Have the session use no more than ``limits``, what it used already included."""
        self.quota.limit(limits)

    # Records

    def entry_of(self, frame_id: str) -> Entry:
        """The entry of the command whose frame, or a frame inside it, is called ``frame_id``."""
        number = frame_id.partition("/")[0]
        found = next((entry for entry in reversed(self.entries) if entry.id == number), None)
        if found is None:
            raise unknown("frame", number, [entry.id for entry in self.entries])
        return found

    def record(self, frame_id: str) -> FrameRecord:
        """The record called ``frame_id``: ``f3``, or ``f3/words`` for a frame inside it."""
        number, _, inner = frame_id.partition("/")
        found = self.entry_of(frame_id).record
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
        if not record.has_output:
            raise UsageError(self.recaller.how_to_get(record))
        return record

    def children(self, record: FrameRecord) -> Sequence[FrameRecord]:
        """The records of the frames directly inside ``record``. Raises `ValueNotRead`."""
        children = children_of(record, self.contexts)
        command = self.entry_of(record.id).command
        if command.patch is None:
            return children
        return [as_patched(one, command) for one in children]

    def all_inside(self, record: FrameRecord) -> Iterator[FrameRecord]:
        """The records of the frames inside ``record``, at any depth, in the order of their ends."""
        for child in self.children(record):
            yield from self.all_inside(child)
            yield child

    def tasks_below(self, record: FrameRecord) -> Sequence[BackgroundTask]:
        """What ``record`` left in the background, and how it stands now."""
        if not left_work(record.outcome):
            return ()
        own = record.path.segments
        told = self.tasks.tasks_of(self.run_id)
        return [task for task in told if task.path.segments[: len(own)] == own]

    def newest(self) -> Entry | None:
        """HEAD, or else the newest frame, or ``None``."""
        if self.head is None and self.entries:
            return self.entries[-1]
        return self.head

    def failed_after_head(self) -> Entry | None:
        """The newest frame, when it continued from HEAD and did not succeed."""
        return None if self.head is None else failed_after(self.head, self.entries)

    def line(self) -> Sequence[Entry]:
        """HEAD and the frames that it continued from, newest first."""
        return () if self.head is None else list(line_of(self.head, self.entries))

    def trim(self) -> Sequence[str]:
        """Keep to the limit of memory; the ids of the frames whose values are gone for good."""
        gone = self.recaller.shelf.trim(self.max_memory, [one.id for one in self.line()])
        for entry in self.entries if gone else ():
            if entry.id in gone:
                self.keeper.release(entry)
        return gone

    async def move(self, entry: Entry, record: FrameRecord) -> None:
        """Move HEAD to ``entry``, whose record is ``record``, to stay in memory."""
        if self.recaller.shelf.get(entry.id) is None:
            self._shelve(entry, record)
        self.head = entry
        await self.keeper.moved(entry.id)

    async def reuse(self, entry: Entry, cell: CellKey | None) -> None:
        """Let the frame of ``entry`` stand for a run in ``cell`` too; HEAD moves as with a run."""
        after = len(self.entries)
        if cell is not None:
            self.stood_for(entry, cell, after)
        if not is_inside_a_step():
            self.head = entry
        await self.keeper.reused(entry.id, cell, after, is_head=self.head is entry)

    def stood_for(self, entry: Entry, cell: CellKey, after: int) -> None:
        """Know that ``entry`` stood for a run in ``cell``, when there were ``after`` frames."""
        if cell not in entry.cells:
            entry.cells.append(cell)
        self.staleness.reused(entry, cell, after)

    def _shelve(self, entry: Entry, record: FrameRecord) -> None:
        if entry.command.has_parents_data:
            record = replace(record, data=None, has_data=False)  # its parent's record has it
        self.recaller.shelf.put(record, record_size(record), self.keeper.is_saved(entry))

    # Runs

    def start_of(self, request: Request, name: str, *, refuse_after_failure: bool = False) -> Start:
        """Where a run of ``name`` starts.

        With ``refuse_after_failure`` one that would go on from HEAD behind another step's failure
        is a `UsageError`; behind another step's open question it always is.
        """
        start = decide_start(
            request, self.head, self.entries, self.initial_context, self.succeeded_record
        )
        refuse(start, name, refuse_after_failure)
        return start

    def run(
        self,
        node: Node,
        name: str,
        request: Request,
        start: Start,
        options: RunOptions = PLAIN,
    ) -> CommandRun:
        """A run of ``node`` from ``start``, to be carried out at once: it has the next id.

        HEAD moves to its record when it succeeded and nobody else has moved HEAD meanwhile; a run
        that a step of another one starts, or that is in the background, never moves it. An
        interrupt is recorded like any other end; whoever asked for the run lets it travel on.
        """
        path = (Segment(SegmentKind.COMMAND, self.commands + 1),)
        command = Command(
            id=f"f{self.frames}",
            name=name,
            path=FramePath(path),
            frame=FramePath((*path, *node.own_segments)),
            origin=start.origin,
            parent=start.parent,
            cell=request.cell,
            notes=(*start.notes, *self.targets.new_writes(node)),
            target=request.target,
            has_parents_data=start.has_parents_data,
            has_parents_context=start.parent is not None,
            definitions=self.targets.definitions_in(node),
            limits=options.limits,
            head=None if self.head is None else self.head.id,
            in_background=options.in_background,
        )
        data = start.data if start.has_parents_data else copied(start.data).value
        return CommandRun(self, node, command, data, start.context, options)

    async def begin(self, command: Command, frame: AnyFrame, data: object) -> None:
        """Note that ``command`` begins; its frame is given a copy of ``data``."""
        self.frames += 1
        if command.resumes is None:
            self.commands += 1
        await self.keeper.began(command, frame, data)

    async def enter(self, entry: Entry, record: FrameRecord, may_be_head: bool) -> Entry:
        """Keep how a command's frame ended."""
        self.entries.append(entry)
        self._shelve(entry, record)  # at once: others may ask for it while its end is noted
        if entry.succeeded and may_be_head:
            self.head = entry
        try:
            await _to_its_end(self.keeper.ended(entry, is_head=self.head is entry))
        except StoreError as error:
            self.store_error = error
        self.trim()
        return entry


async def _to_its_end(noting: Coroutine[None, None, None]) -> None:
    """Note how a frame ended; an interrupt that comes meanwhile is too late."""
    task = asyncio.ensure_future(noting)
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None:
                own.uncancel()
    task.result()


def _most_of(max_concurrency: int | str) -> int | None:
    """How many attempts may be in flight; raises `UsageError`."""
    text = str(max_concurrency)
    if text == "none":
        return None
    if re.fullmatch(r"[1-9][0-9]{0,8}", text, re.ASCII) is None:
        raise UsageError(
            "max_concurrency is a whole number from 1 on, or none for no bound; found "
            f"{clipped(text, 40)}"
        )
    return int(text)
