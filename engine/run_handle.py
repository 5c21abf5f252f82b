"""A run that was asked for: awaited for its result, or read as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import ClassVar, TypeAlias

from .errors import ConfigurationError
from .hooks import AnyEvent, ChunkArrived, FrameFinished, Hook
from .outcomes import Chunk, FrameOutcome
from .results import PipelineResult

RunItem: TypeAlias = FrameOutcome | Chunk | PipelineResult
Carrier: TypeAlias = Callable[
    [Callable[[], Coroutine[None, None, PipelineResult]]], Awaitable[PipelineResult]
]
_Start: TypeAlias = Callable[[tuple[Hook, ...], bool], Coroutine[None, None, PipelineResult]]


async def plainly(work: Callable[[], Coroutine[None, None, PipelineResult]]) -> PipelineResult:
    """Await the work: how runs are carried out where nothing special is to be done for them."""
    return await work()


class RunHandle:
    """A run that starts when it is first awaited or iterated over.

    ``carry`` is how all runs of the process are carried out. A kernel sets it to what makes them
    stop when the user interrupts: only there does a signal have to find its way to a run.
    """

    carry: ClassVar[Carrier] = staticmethod(plainly)

    def __init__(self, start: _Start, stream: bool) -> None:
        self._start = start
        self._stream = stream
        self._started = False

    def __await__(self) -> Generator[None, None, PipelineResult]:
        return self.result().__await__()

    async def result(self) -> PipelineResult:
        """Run to the end and return how it ended."""
        self._begin()
        return await type(self).carry(lambda: self._start((), self._stream))

    async def __aiter__(self) -> AsyncGenerator[RunItem, None]:
        self._begin()
        queue: asyncio.Queue[FrameOutcome | Chunk | None] = asyncio.Queue()

        def listen(event: AnyEvent) -> None:
            match event:
                case ChunkArrived(chunk=chunk):
                    queue.put_nowait(chunk)
                case FrameFinished(outcome=outcome):
                    queue.put_nowait(outcome)

        hook = Hook(listen, (ChunkArrived, FrameFinished))
        task = asyncio.create_task(self._carried(hook))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (item := await queue.get()) is not None:
                yield item
            yield await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # who leaves early does not ask how it ended

    async def _carried(self, hook: Hook) -> PipelineResult:
        return await type(self).carry(lambda: self._start((hook,), True))

    def _begin(self) -> None:
        if self._started:
            raise ConfigurationError("this run was started before; call run_async again")
        self._started = True
