"""How many attempts may be in flight at once, over all runs that share the slots."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Lane:
    """What is in flight on one loop, and who waits there, the first one first."""

    loop: AbstractEventLoop
    taken: int = 0
    waiting: dict[Future[None], None] = field(default_factory=dict)


class AttemptSlots:
    """Lets ``most`` attempts be in flight on a loop (``None``: any number); others wait in turn.

    Loops do not wait for one another: one may be blocked until the other has ended.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._lanes: dict[AbstractEventLoop, Lane] = {}

    def allow(self, most: int | None) -> None:
        """Let ``most`` be in flight from now on; what is in flight already goes on."""
        self.most = most
        for lane in list(self._lanes.values()):
            with suppress(RuntimeError):  # its loop was closed
                lane.loop.call_soon_threadsafe(self._hand_out, lane)

    def around(self, attempt: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """``attempt``, which has a slot while it is in flight."""

        async def bounded(*args: P.args, **kwargs: P.kwargs) -> T:
            lane = await self.take()
            try:
                return await attempt(*args, **kwargs)
            finally:
                self.give_back(lane)

        return bounded

    async def take(self) -> Lane:
        """Wait for a slot, which is to be given back to its lane.

        Who waits holds nothing, and leaves nothing behind when it is cancelled.
        """
        lane = self._lane()
        if not lane.waiting and self._has_room(lane):
            lane.taken += 1
            return lane
        turn: Future[None] = lane.loop.create_future()
        lane.waiting[turn] = None
        try:
            await turn
        except BaseException:
            if turn in lane.waiting:
                del lane.waiting[turn]
            elif not turn.cancelled():  # its turn came while it was being cancelled
                self.give_back(lane)
            raise
        return lane

    def give_back(self, lane: Lane) -> None:
        """Let the next one have a slot that was taken."""
        lane.taken -= 1
        self._hand_out(lane)
        self._drop_when_empty(lane)

    def _lane(self) -> Lane:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            for other in list(self._lanes):
                if other.is_closed():  # with attempts that will never end
                    self._lanes.pop(other, None)
            lane = self._lanes[loop] = Lane(loop)
        return lane

    def _has_room(self, lane: Lane) -> bool:
        return self.most is None or lane.taken < self.most

    def _hand_out(self, lane: Lane) -> None:
        while lane.waiting and self._has_room(lane) and not lane.loop.is_closed():
            turn = next(iter(lane.waiting))
            del lane.waiting[turn]
            if not turn.done():
                lane.taken += 1
                turn.set_result(None)

    def _drop_when_empty(self, lane: Lane) -> None:
        if not lane.taken and not lane.waiting:
            self._lanes.pop(lane.loop, None)
