"""The handler of SIGINT on a bare loop: what it stops, and that the former one comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator

import pytest

from flujo_nb.awaiting import guarded, run_bridged
from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.user_code import run_inline

Work = Callable[[], Coroutine[None, None, object]]


@pytest.fixture(autouse=True)
def former_handler() -> Iterator[None]:
    """A handler that no test may reach, and that must be in force again after each."""
    reached: list[int] = []

    def handler(signum: int, frame: object) -> None:
        reached.append(signum)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is handler
        assert reached == []
    finally:
        signal.signal(signal.SIGINT, before)


def press(after: float) -> None:
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()


async def on_a_loop(work: Work) -> object:
    press(0.1)
    result = await guarded(work)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return result


def on_the_bridge(work: Work) -> object:
    press(0.1)
    return run_bridged(work)


WAYS = [lambda work: asyncio.run(on_a_loop(work)), on_the_bridge]


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def busy_step() -> None:
    run_inline(busy, 10)


async def short_steps() -> None:
    for _ in range(10_000):
        run_inline(busy, 0.001)


async def nap() -> None:
    await asyncio.sleep(10)


async def inner_runs() -> None:
    await asyncio.gather(guarded(nap), guarded(nap))


@pytest.mark.parametrize("way", WAYS, ids=["loop", "bridge"])
@pytest.mark.parametrize("work", [nap, busy_step, short_steps, inner_runs])
def test_it_stops(work: Work, way: Callable[[Work], object]) -> None:
    begun = time.monotonic()
    with pytest.raises(StepInterrupted):
        way(work)
    assert time.monotonic() - begun < 0.6


@pytest.mark.parametrize("way", WAYS, ids=["loop", "bridge"])
def test_an_interrupt_that_comes_too_late(
    way: Callable[[Work], object], capsys: pytest.CaptureFixture[str]
) -> None:
    async def unstoppable() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "kept"
        return "slept"

    assert way(unstoppable) == "kept"
    assert "too late" in capsys.readouterr().err
    with pytest.raises(StepInterrupted, match="before it began"):
        run_bridged(nap)


def test_an_interrupt_that_a_step_catches(capsys: pytest.CaptureFixture[str]) -> None:
    def catching() -> str:
        try:
            busy(10)
        except KeyboardInterrupt:
            return "partial"
        return "whole"

    async def training() -> str:
        return run_inline(catching)

    for way in WAYS:
        assert way(training) == "partial"
        assert "caught the interrupt" in capsys.readouterr().err


def test_an_interrupt_that_stopped_one_of_several_runs_came_in_time() -> None:
    async def unstoppable() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

    async def cell() -> None:
        press(0.1)
        await asyncio.gather(guarded(unstoppable), guarded(nap))

    with pytest.raises(StepInterrupted):
        asyncio.run(cell())
    assert run_bridged(lambda: asyncio.sleep(0, "the next run runs")) == "the next run runs"


def test_the_error_of_the_work_is_passed_on() -> None:
    class Recorded(StepInterrupted):
        pass

    async def recording() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise Recorded("f3 was kept") from None

    with pytest.raises(Recorded, match="f3 was kept"):
        asyncio.run(on_a_loop(recording))


def test_the_cell_may_go_on_after_it() -> None:
    async def cell() -> str:
        press(0.1)
        try:
            await guarded(nap)
        except StepInterrupted:
            await asyncio.sleep(0.01)
        return "went on"

    assert asyncio.run(cell()) == "went on"


def test_runs_on_other_threads_just_run() -> None:
    results: list[object] = []

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    thread = threading.Thread(target=lambda: results.append(asyncio.run(guarded(work))))
    thread.start()
    thread.join()
    assert results == ["done"]


def test_an_outer_cancellation_waits_for_the_clean_up() -> None:
    events: list[str] = []

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.05)
            events.append("cleaned")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(guarded(slow_to_end), 0.05)
        events.append("cancelled")

    asyncio.run(main())
    assert events == ["cleaned", "cancelled"]


def test_an_outer_cancellation_does_not_wait_for_ever() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.3)

    async def main() -> None:
        task = asyncio.create_task(guarded(stubborn, limit=0.05))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert "goes on" in caught.value.__notes__[0]
        await asyncio.sleep(0.4)

    asyncio.run(main())
