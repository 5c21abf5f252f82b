"""Runs that go on beside the user's cells (``%flujo run … --bg``): begun, paused, cancelled.

Each is a task on the kernel's own loop. It never moves HEAD.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from IPython.core.error import UsageError

from flujo_nb.engine.errors import PipelineAbortSignal
from flujo_nb.engine.hooks import FrameStarted, Hook

from .command_run import CommandRun
from .errors import unknown
from .head import Entry
from .run_options import RunOptions

MAX_ENDING_S = 10.0
"""How long a run that was cancelled is waited for."""

Make = Callable[[RunOptions], CommandRun]


class BackgroundRun:
    """A run in the background, which `begin` begins. ``began`` is on the monotonic clock."""

    def __init__(self, options: RunOptions) -> None:
        self.began = monotonic()
        self.stops: str | None = None
        """Why no further frame of it is to start."""
        self._begun = asyncio.Event()
        hooks = (*options.hooks, Hook(self._hear, (FrameStarted,)))
        self._options = replace(options, in_background=True, hooks=hooks)
        self._run: CommandRun | None = None
        self._task: asyncio.Task[Entry] | None = None

    async def begin(self, make: Make, ended: Callable[[BackgroundRun, Entry | None], None]) -> None:
        """Begin the run that ``make`` gives; ``ended`` is told what it left.

        Raises what planning it raises: then nothing has begun.
        """

        async def whole() -> Entry:
            entry: Entry | None = None
            try:
                self._run = make(self._options)
                entry = await self._run.carried_out()
            finally:
                ended(self, entry)
            return entry

        task = self._task = asyncio.get_running_loop().create_task(whole())
        begun = asyncio.ensure_future(self._begun.wait())
        await asyncio.wait([task, begun], return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if task.done() and not self._begun.is_set():
            task.result()  # it says why it cannot begin

    @property
    def id(self) -> str:
        """The id that its frame has, or will have."""
        return "" if self._run is None else self._run.command.id

    @property
    def name(self) -> str:
        """What is run."""
        return "" if self._run is None else self._run.command.name

    def cancel(self) -> None:
        """End it where it stands."""
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    async def over(self) -> bool:
        """Whether it has ended, once it has or `MAX_ENDING_S` have passed."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=MAX_ENDING_S)
        return self._task is None or self._task.done()

    def _hear(self, event: FrameStarted) -> None:
        self._begun.set()
        if self.stops is not None:
            raise PipelineAbortSignal(self.stops)


class BackgroundRuns:
    """The runs of one session that are at work in the background, the oldest first."""

    def __init__(self) -> None:
        self._runs: list[BackgroundRun] = []
        self._untold: list[str] = []
        self._is_left = False

    async def launch(
        self, make: Make, options: RunOptions, ended: Callable[[Entry], None]
    ) -> BackgroundRun:
        """Begin a run; raises what planning it raises. ``ended`` gets what it leaves."""
        launched = BackgroundRun(options)
        self._runs.append(launched)

        def is_over(run: BackgroundRun, entry: Entry | None) -> None:
            self._runs.remove(run)
            if entry is not None and not self._is_left:
                because = "" if entry.ended.feedback is None else f": {entry.ended.feedback}"
                self._untold.append(f"{entry.id} {entry.name} {entry.status.value}{because}")
                ended(entry)

        await launched.begin(make, is_over)
        return launched

    def __iter__(self) -> Iterator[BackgroundRun]:
        return iter(tuple(self._runs))

    def untold(self) -> Sequence[str]:
        """How runs ended since this was last asked, a line for each."""
        told, self._untold = self._untold, []
        return told

    def leave(self) -> None:
        """Cancel them all; nobody is told any more."""
        self._is_left = True
        for one in self:
            one.cancel()

    def one(self, frame_id: str | None) -> BackgroundRun:
        """The run whose frame that is, or the only one. Raises `UsageError`."""
        if frame_id is None:
            if len(self._runs) == 1:
                return self._runs[0]
            if not self._runs:
                raise UsageError(
                    "nothing runs in the background: %flujo run NAME --bg begins a run there; a "
                    "running cell is stopped by the interrupt button"
                )
            raise UsageError(f"which one? {', '.join(f'{one.id} {one.name}' for one in self)}")
        for one in self:
            if one.id == frame_id:
                return one
        raise unknown("run in the background", frame_id, [one.id for one in self])
