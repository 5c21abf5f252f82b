"""What is kept, for how long, and that nothing stays of runs that others waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any

import pytest

from flujo_nb.engine.cache_manager import CacheEntry, CacheManager, MemoryCache, Ran
from flujo_nb.engine.context import AppendValues, ContextUpdate, DeleteKey, SetValue
from flujo_nb.engine.errors import ConfigurationError, StepInterrupted
from flujo_nb.engine.outcomes import Failure, StepOutcome, Success
from flujo_nb.engine.user_code import Raised
from tests.engine.fakes import Wait

FAILED = Failure(error=ValueError("no"), feedback="no")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def keys_in(cache: MemoryCache, keys: str) -> str:
    return "".join(key for key in keys if cache.get(key) is not None)


def test_a_memory_cache_drops_what_was_not_used_for_longest() -> None:
    cache = MemoryCache(max_entries=3)
    for key in "abc":
        cache.set(key, key)
    cache.get("a")
    cache.set("b", "new")
    cache.set("d", "d")
    assert len(cache) == 3
    assert keys_in(cache, "abcd") == "abd"
    assert cache.get("b") == "new"


def test_a_memory_cache_forgets_in_time() -> None:
    clock = Clock()
    cache = MemoryCache(ttl_s=10, clock=clock)
    cache.set("a", 1)
    clock.now += 6
    cache.set("b", 2)
    assert cache.get("a") == 1
    clock.now += 4  # being read does not make an entry newer
    assert keys_in(cache, "ab") == "b"
    assert len(cache) == 1
    cache.set("a", 3)
    assert cache.get("a") == 3
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize("options", [{"max_entries": 0}, {"ttl_s": 0}, {"ttl_s": float("nan")}])
def test_a_memory_cache_that_keeps_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="one entry or more, for more than 0 seconds"):
        MemoryCache(**options)


def test_a_copy_of_an_entry_shares_nothing_that_can_change() -> None:
    changes = (
        SetValue(("a",), [1]),
        AppendValues(("b",), ([2],)),
        DeleteKey(("c", "d")),
    )
    entry = CacheEntry([0], ContextUpdate(changes), MappingProxyType({"notes": [3]}))
    copy = entry.copy()
    assert copy == CacheEntry([0], ContextUpdate(changes), {"notes": [3]})
    shared = {id(one) for one in (entry.output, changes[0].value, changes[1].values[0])}
    first, second, _ = copy.update.changes
    assert not shared & {id(copy.output), id(first.value), id(second.values[0])}
    assert copy.metadata["notes"] is not entry.metadata["notes"]
    plain = CacheEntry("text")
    assert plain.copy() is plain


class Work:
    """A run that waits to be let go, and then ends as it is told to, one end after the other."""

    def __init__(self, *ends: StepOutcome) -> None:
        self.ends = list(ends)
        self.started = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> StepOutcome:
        self.started += 1
        await self.may_end.wait()
        return self.ends.pop(0)


def idle(manager: CacheManager) -> bool:
    return manager._flights == {}


def recalled(manager: CacheManager, work: Callable[[], Awaitable[StepOutcome]]) -> Any:
    return asyncio.create_task(_recalled(manager, work))


async def _recalled(manager: CacheManager, work: Callable[[], Awaitable[StepOutcome]]) -> Any:
    return await manager.recall(manager.backend, "key", work)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_misses_on_one_key_run_once(wait: Wait) -> None:
    manager = CacheManager()

    async def main() -> list[Any]:
        work = Work(Success(output=[1]))
        tasks = [recalled(manager, work) for _ in range(50)]
        await turns()
        work.may_end.set()
        found = await asyncio.gather(*tasks)
        assert work.started == 1
        return found

    leader, *others = wait(main())
    assert isinstance(leader, Ran)
    assert [one.output for one in others] == [[1]] * 49
    assert len({id(one.output) for one in others}) == 49
    assert idle(manager)


def test_when_a_leader_does_not_succeed_the_next_one_leads(wait: Wait) -> None:
    manager = CacheManager()

    async def main() -> list[Any]:
        work = Work(FAILED, FAILED, Success(output=1))
        tasks = [recalled(manager, work) for _ in range(5)]
        work.may_end.set()
        found = await asyncio.gather(*tasks)
        assert work.started == 3
        return found

    found = wait(main())
    assert [type(one) for one in found] == [Ran, Ran, Ran, CacheEntry, CacheEntry]
    assert [one.outcome for one in found[:2]] == [FAILED, FAILED]
    assert idle(manager)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_whoever_is_cancelled_leaves_nothing_behind(wait: Wait, cancelled: int) -> None:
    manager = CacheManager()

    async def main() -> list[Any]:
        work = Work(Success(output=1), Success(output=1))
        tasks = [recalled(manager, work) for _ in range(3)]
        await turns()
        tasks[cancelled].cancel()
        await turns()
        work.may_end.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = wait(main())
    gone = found.pop(cancelled)
    assert isinstance(gone.error if isinstance(gone, Raised) else gone, asyncio.CancelledError)
    assert [type(one) for one in found] == [Ran, CacheEntry]
    assert idle(manager)


def test_all_may_be_cancelled_at_once(wait: Wait) -> None:
    manager = CacheManager()

    async def main() -> None:
        work = Work(Success(output=1))
        tasks = [recalled(manager, work) for _ in range(3)]
        await turns()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    wait(main())
    assert idle(manager)


def test_a_waiter_that_is_cancelled_as_it_is_told_does_not_lead(wait: Wait) -> None:
    manager = CacheManager()

    async def main() -> list[Any]:
        work = Work(FAILED, Success(output=1))
        tasks = [recalled(manager, work) for _ in range(3)]
        await turns()
        work.may_end.set()
        asyncio.get_running_loop().call_soon(tasks[1].cancel)  # right after the leader's end
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = wait(main())
    assert first.outcome is FAILED
    assert isinstance(second.error, asyncio.CancelledError)
    assert third.outcome.output == 1
    assert idle(manager)


def test_keys_and_backends_do_not_wait_for_one_another(wait: Wait) -> None:
    manager, other = CacheManager(), MemoryCache()

    async def main() -> None:
        work = Work(*(Success(output=number) for number in range(3)))
        tasks = [
            asyncio.create_task(manager.recall(backend, key, work))
            for backend, key in [(manager.backend, "a"), (manager.backend, "b"), (other, "a")]
        ]
        await turns()
        assert work.started == 3
        work.may_end.set()
        await asyncio.wait(tasks)

    wait(main())
    assert idle(manager)


def test_a_manager_outlives_its_loops() -> None:
    manager = CacheManager()

    async def succeed() -> StepOutcome:
        return Success(output=1)

    async def never() -> StepOutcome:
        await asyncio.Event().wait()
        raise AssertionError

    loop = asyncio.new_event_loop()
    left = loop.create_task(_recalled(manager, never))
    waits = loop.create_task(_recalled(manager, never))
    loop.run_until_complete(turns())
    loop.close()
    assert isinstance(asyncio.run(_recalled(manager, succeed)), Ran)
    assert isinstance(asyncio.run(_recalled(manager, succeed)), CacheEntry)
    assert idle(manager)
    for task in (left, waits):
        task._log_destroy_pending = False
        task.get_coro().close()
    assert idle(manager)


def test_a_loop_does_not_wait_for_one_that_is_blocked() -> None:
    """As over the bridge: the kernel's loop stands still until the other one has ended."""
    manager = CacheManager()

    async def succeed() -> StepOutcome:
        return Success(output=1)

    async def lead() -> StepOutcome:
        thread = threading.Thread(target=lambda: asyncio.run(_recalled(manager, succeed)))
        thread.start()
        thread.join(timeout=5)
        assert not thread.is_alive()
        return Success(output=2)

    found = asyncio.run(_recalled(manager, lead))
    assert isinstance(found, Ran)
    assert found.outcome.output == 2
    assert idle(manager)


class Backend:
    """Keeps entries in a dict; raises or gives what it is told to."""

    def __init__(self, got: Any = None, was_set: Any = None) -> None:
        self.got = got
        self.was_set = was_set
        self.kept: dict[str, object] = {}

    async def get(self, key: str) -> object:
        await asyncio.sleep(0)
        if isinstance(self.got, BaseException):
            raise self.got
        return self.kept.get(key) if self.got is None else self.got

    def set(self, key: str, value: object) -> None:
        if isinstance(self.was_set, BaseException):
            raise self.was_set
        self.kept[key] = value


async def twice(backend: Backend) -> tuple[list[Any], int]:
    """What two that run at once are given, and how often the work ran."""
    manager, work = CacheManager(backend), Work(Success(output=1), Success(output=2))
    work.may_end.set()
    found = await asyncio.gather(*(recalled(manager, work) for _ in range(2)))
    assert idle(manager)
    return found, work.started


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        (Backend(got=OSError("disk")), "Backend.get raised OSError('disk')"),
        (Backend(was_set=OSError("disk")), "Backend.set raised OSError('disk')"),
        (Backend(got="an entry of another format"), "Backend.get gave str, no CacheEntry"),
        (Backend(got=asyncio.CancelledError()), "Backend.get raised CancelledError()"),
        (Backend(), None),
    ],
)
def test_a_backend_in_trouble_keeps_nobody_from_running(
    wait: Wait, backend: Backend, told: str | None
) -> None:
    (first, second), started = wait(twice(backend))
    assert (first.outcome.output, first.not_cached_because) == (1, told)
    assert second.output == 1
    assert started == 1


def test_an_interrupt_in_a_backend_is_no_trouble_of_the_backend(wait: Wait) -> None:
    for backend in (Backend(got=StepInterrupted()), Backend(was_set=StepInterrupted())):
        (first, *_), _ = wait(twice(backend))
        assert isinstance(first, Raised)
        assert isinstance(first.error, StepInterrupted)


def test_what_cannot_be_copied_is_not_kept(wait: Wait) -> None:
    (first, second), started = wait(twice_uncopied())
    assert first.not_cached_because == second.not_cached_because
    assert first.not_cached_because.startswith("what it gave cannot be copied: cannot pickle")
    assert started == 2


async def twice_uncopied() -> tuple[list[Any], int]:
    manager, work = CacheManager(), Work(*(Success(output=threading.Lock()) for _ in range(2)))
    work.may_end.set()
    found = await asyncio.gather(*(recalled(manager, work) for _ in range(2)))
    return found, work.started
