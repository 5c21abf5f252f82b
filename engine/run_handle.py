"""A run that was asked for: awaited for its result, or read as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import TypeAlias

from .errors import ConfigurationError
from .hooks import AnyEvent, ChunkArrived, FrameFinished, Hook
from .outcomes import Chunk, FrameOutcome
from .results import PipelineResult

RunItem: TypeAlias = FrameOutcome | Chunk | PipelineResult
_Start: TypeAlias = Callable[[tuple[Hook, ...], bool], Coroutine[None, None, PipelineResult]]


class RunHandle:
    """A run that starts when it is first awaited or iterated over."""

    def __init__(self, start: _Start, stream: bool) -> None:
        self._start = start
        self._stream = stream
        self._started = False

    def __await__(self) -> Generator[None, None, PipelineResult]:
        return self.result().__await__()

    async def result(self) -> PipelineResult:
        """Run to the end and return how it ended."""
        self._begin()
        return await self._start((), self._stream)

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
        task = asyncio.create_task(self._start((hook,), True))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (item := await queue.get()) is not None:
                yield item
            yield await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def _begin(self) -> None:
        if self._started:
            raise ConfigurationError("this run was started before; call run_async again")
        self._started = True
