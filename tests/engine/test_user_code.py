"""The border to user code: what crosses it, and what stands below it."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import StepExited, StepInterrupted
from flujo_nb.engine.user_code import (
    Raised,
    caught,
    caught_inline,
    run_in_thread,
    run_inline,
    stands_in_user_code,
)
from tests.engine.fakes import Wait, outcome_of

FATAL = [KeyboardInterrupt, SystemExit, asyncio.CancelledError, StopIteration, MemoryError]


def raising(error: type[BaseException]) -> None:
    raise error


async def raising_async(error: type[BaseException]) -> None:
    raise error


def test_an_inline_call_returns_and_raises_as_the_function_does() -> None:
    assert run_inline(max, 1, 2) == 2
    assert run_inline(dict, a=1) == {"a": 1}
    with pytest.raises(ValueError, match="x"):
        run_inline(int, "x")


def test_an_inline_call_lets_no_interrupt_or_exit_through() -> None:
    with pytest.raises(StepInterrupted) as interrupted:
        run_inline(raising, KeyboardInterrupt)
    assert isinstance(interrupted.value.__cause__, KeyboardInterrupt)
    with pytest.raises(StepExited) as exited:
        run_inline(sys.exit, 3)
    assert exited.value.code == 3


@pytest.mark.parametrize("error", [*FATAL, ValueError, GeneratorExit])
def test_whatever_an_inline_function_raises_comes_back(error: type[BaseException]) -> None:
    raised = caught_inline(raising, error)
    assert isinstance(raised, Raised)
    assert isinstance(raised.error, error)


@pytest.mark.parametrize(
    "error", [e for e in [*FATAL, ValueError, GeneratorExit] if e is not StopIteration]
)
def test_whatever_a_coroutine_raises_comes_back(wait: Wait, error: type[BaseException]) -> None:
    raised = wait(caught(raising_async(error)))
    assert isinstance(raised, Raised)
    assert isinstance(raised.error, error)


def test_a_guarded_coroutine_can_be_closed() -> None:
    closed = []

    async def body() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append("body")

    async def main() -> None:
        work = caught(body())
        work.send(None)
        work.close()

    asyncio.run(main())
    assert closed == ["body"]


def test_a_thread_gets_the_context_variables_and_gives_its_result(wait: Wait) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    def work(given: int) -> tuple[int, str, bool]:
        return given, variable.get(), threading.current_thread() is threading.main_thread()

    async def main() -> object:
        variable.set("set")
        return await run_in_thread(work, 5)

    assert wait(main()) == (5, "set", False)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_thread_raises_arrives(wait: Wait, error: type[BaseException]) -> None:
    raised = wait(caught(run_in_thread(raising, error)))
    assert isinstance(raised, Raised)
    assert isinstance(raised.error, error)


def test_a_thread_that_is_no_longer_waited_for_goes_on_and_its_result_is_dropped(
    wait: Wait,
) -> None:
    go_on, done = threading.Event(), threading.Event()

    def work() -> str:
        go_on.wait(5)
        done.set()
        return "late"

    async def main() -> None:
        task = asyncio.create_task(run_in_thread(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not done.is_set()
        go_on.set()
        await asyncio.to_thread(done.wait, 5)

    wait(main())
    assert done.is_set()


def test_a_thread_may_end_after_its_loop() -> None:
    go_on = threading.Event()

    async def main() -> None:
        asyncio.create_task(run_in_thread(go_on.wait, 5))  # noqa: RUF006  # dropped on purpose
        await asyncio.sleep(0)

    asyncio.run(main())
    before = threading.active_count()
    go_on.set()
    deadline = time.monotonic() + 5
    while threading.active_count() >= before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() < before


def test_it_is_told_what_stands_in_user_code(wait: Wait) -> None:
    seen = {}

    def look(name: str, *, awaited: bool = False) -> None:
        seen[name] = stands_in_user_code(sys._getframe(1), awaited=awaited)

    def deep() -> None:
        def deeper() -> None:
            look("deep")

        deeper()

    async def coroutine() -> None:
        look("coroutine")
        look("coroutine, awaited ones count", awaited=True)

    look("outside")
    run_inline(deep)
    assert caught_inline(lambda: look("caught")) is None
    wait(caught(coroutine()))
    assert seen == {
        "outside": False,
        "deep": True,
        "caught": True,
        "coroutine": False,
        "coroutine, awaited ones count": True,
    }
    assert not stands_in_user_code(None)


def test_closing_what_waits_in_a_step_does_not_run_the_step_again(wait: Wait) -> None:
    calls = []

    @step(max_retries=3)
    async def work(data: object) -> None:
        calls.append(1)
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        run = outcome_of(work)
        run.send(None)
        run.close()

    wait(main())
    assert calls == [1]
