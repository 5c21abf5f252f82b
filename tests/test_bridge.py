"""The bridge, without a kernel: what comes back over it, and what it ends."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback

import pytest

from flujo_nb.bridge import run_bridged
from flujo_nb.engine.errors import StepExited, StepInterrupted
from flujo_nb.engine.user_code import run_inline

COLOUR = contextvars.ContextVar("COLOUR", default="none")


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_a_value_comes_back() -> None:
    assert run_bridged(lambda: double(2)) == 4


def test_under_a_running_loop() -> None:
    async def outer() -> int:
        return run_bridged(lambda: double(3))

    assert asyncio.run(outer()) == 6


def test_from_an_inline_call_on_a_bridge() -> None:
    async def outer() -> int:
        return run_inline(lambda: run_bridged(lambda: double(4)))

    assert run_bridged(outer) == 8


def test_from_another_thread() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(run_bridged(lambda: double(5))))
    thread.start()
    thread.join()
    assert found == [10]


def test_it_works_in_a_copy_of_the_context() -> None:
    async def look() -> str:
        colour = COLOUR.get()
        COLOUR.set("changed")
        return colour

    COLOUR.set("red")
    assert run_bridged(look) == "red"
    assert COLOUR.get() == "red"


def test_an_error_is_raised_with_a_traceback_of_its_own() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        run_bridged(fails)
    files = {frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert not any("asyncio" in file or "concurrent" in file for file in files)


@pytest.mark.parametrize(
    ("error", "converted"), [(KeyboardInterrupt(), StepInterrupted), (SystemExit(3), StepExited)]
)
def test_what_would_end_a_loop_is_converted(
    error: BaseException, converted: type[Exception]
) -> None:
    async def ends() -> None:
        raise error

    with pytest.raises(converted):
        run_bridged(ends)


def test_tasks_that_are_left_behind_are_cancelled() -> None:
    ended: list[str] = []

    async def lasting() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cleaned")

    async def leaves() -> None:
        leaves.task = asyncio.create_task(lasting())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run_bridged(leaves)
    assert ended == ["cleaned"]
    assert not [t for t in threading.enumerate() if t.name == "flujo-bridge"]
