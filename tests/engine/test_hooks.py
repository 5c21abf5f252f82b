"""Events and the hooks that listen to them: they observe, and alter nothing."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Union

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import ConfigurationError, PipelineAbortSignal, StepInterrupted
from flujo_nb.engine.hooks import (
    AnyEvent,
    AttemptFailed,
    ChunkArrived,
    Event,
    FrameFinished,
    FrameRestored,
    FrameStarted,
    Hook,
    RunFinished,
    RunStarted,
)
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Wait, broken, echo, echo_async, names_in

ALL = (
    RunStarted,
    FrameStarted,
    AttemptFailed,
    ChunkArrived,
    FrameFinished,
    FrameRestored,
    RunFinished,
)
# In a run that is not resumed nothing is restored.
IN_A_RUN = tuple(event for event in ALL if event is not FrameRestored)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="flujo_nb")


@step(max_retries=1)
async def stumbling(data: object, frame: Any) -> AsyncIterator[str]:
    yield f"try {frame.attempt}"
    if frame.attempt == 1:
        raise ValueError("once more")


class Recorder:
    """Listens to everything and keeps it."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def listen(self, event: AnyEvent) -> None:
        self.events.append(event)

    def lines(self) -> list[str]:
        return [f"{type(event).__name__} {event.path}".strip() for event in self.events]


def test_one_ordered_stream_tells_the_whole_run(wait: Wait) -> None:
    recorder = Recorder()
    result = wait(
        Flujo(echo >> stumbling, hooks=[recorder.listen]).run_async(1, run_id="r").result()
    )
    assert recorder.lines() == [
        "RunStarted",
        "FrameStarted",
        "FrameStarted echo",
        "FrameFinished echo",
        "FrameStarted stumbling",
        "ChunkArrived stumbling",
        "AttemptFailed stumbling",
        "ChunkArrived stumbling",
        "FrameFinished stumbling",
        "FrameFinished",
        "RunFinished",
    ]
    assert [event.sequence for event in recorder.events] == list(range(11))
    assert {event.run_id for event in recorder.events} == {"r"}
    times = [event.at_s for event in recorder.events]
    assert times == sorted(times)
    finished = recorder.events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.result.output == result.output == "try 2"


def test_hooks_hear_an_event_in_their_order_async_and_sync_alike(wait: Wait) -> None:
    heard = []

    async def first(event: FrameFinished) -> None:
        await asyncio.sleep(0)
        heard.append("first")

    def second(event: FrameFinished) -> None:
        heard.append("second")

    wait(Flujo(echo, hooks=[first, second]).run_async(1).result())
    assert heard == ["first", "second"]


def on_nothing_said(event):  # type: ignore[no-untyped-def]
    """A hook without annotation."""


def on_union(event: FrameStarted | FrameFinished) -> None: ...
def on_old_union(event: Union[FrameStarted, FrameFinished]) -> None: ...  # noqa: UP007
def on_base(event: Event) -> None: ...
def on_any(event: Any) -> None: ...
def on_one(event: ChunkArrived) -> None: ...
def on_second_parameter(prefix: str, event: ChunkArrived) -> None: ...


class OnMethod:
    def hear(self, event: RunStarted) -> None: ...


class OnCall:
    def __call__(self, event: RunFinished) -> None: ...


@pytest.mark.parametrize(
    ("listener", "events"),
    [
        (on_nothing_said, ALL),
        (on_base, ALL),
        (on_any, ALL),
        (on_one, (ChunkArrived,)),
        (on_union, (FrameStarted, FrameFinished)),
        (on_old_union, (FrameStarted, FrameFinished)),
        (OnMethod().hear, (RunStarted,)),
        (OnCall(), (RunFinished,)),
        (functools.partial(on_second_parameter, "x"), (ChunkArrived,)),
    ],
    ids=["none", "base", "Any", "one", "union", "Union", "method", "object", "partial"],
)
def test_an_annotation_chooses_the_events(
    listener: Callable[..., None], events: tuple[type[AnyEvent], ...]
) -> None:
    assert Hook.of(listener).events == events


def on_int(event: int) -> None: ...
def on_unknown(event: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def on_none() -> None: ...


@pytest.mark.parametrize(
    ("listener", "words"),
    [(on_int, "no event"), (on_unknown, "Missing"), (on_none, "takes no parameter")],
)
def test_a_hook_that_can_hear_nothing_is_refused(listener: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Flujo(echo, hooks=[listener])


async def cancelled() -> None:
    """What awaiting a task does that somebody cancelled."""
    task = asyncio.get_running_loop().create_future()
    task.cancel()
    await task


RAISED = [ValueError, SystemExit, ExceptionGroup]


def raiser(event_type: type[AnyEvent], error: type[BaseException], *, awaited: bool) -> Any:
    arguments = ("several", [ValueError()]) if error is ExceptionGroup else ()

    def sync(event: Any) -> None:
        raise error(*arguments)

    async def waiting(event: Any) -> None:
        if error is asyncio.CancelledError:
            await cancelled()
        raise error(*arguments)

    hook = waiting if awaited else sync
    hook.__annotations__["event"] = event_type
    return hook


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("error", [*RAISED, asyncio.CancelledError])
@pytest.mark.parametrize("event_type", [e for e in IN_A_RUN if e is not ChunkArrived])
def test_a_hook_that_raises_alters_nothing_and_is_reported(
    wait: Wait, event_type: type[AnyEvent], error: type[BaseException], awaited: bool
) -> None:
    hook = raiser(event_type, error, awaited=awaited)
    result = wait(Flujo(echo >> echo_async >> broken, hooks=[hook]).run_async(1).result())
    assert result.status is RunStatus.FAILED
    assert names_in(result.step_history) == ["echo", "echo_async", "broken"]
    assert result.step_history[-1].feedback == "ValueError: cannot use 1"
    assert result.hook_errors
    assert {found.event for found in result.hook_errors} == {event_type.__name__}
    assert "raiser" in result.hook_errors[0].hook


def test_a_hook_that_raises_does_not_keep_others_from_hearing(wait: Wait) -> None:
    recorder = Recorder()
    hooks = [raiser(FrameStarted, ValueError, awaited=False), recorder.listen]
    wait(Flujo(echo, hooks=hooks).run_async(1).result())
    assert "FrameStarted echo" in recorder.lines()


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("event_type", IN_A_RUN)
def test_an_interrupt_in_a_hook_ends_the_run_as_interrupted(
    wait: Wait, event_type: type[AnyEvent], awaited: bool
) -> None:
    hook = raiser(event_type, KeyboardInterrupt, awaited=awaited)
    runner = Flujo(stumbling, hooks=[hook])
    with pytest.raises(StepInterrupted):
        wait(runner.run_async(1).result())


@pytest.mark.parametrize(
    ("event_type", "ran"),
    [
        (RunStarted, []),
        (FrameStarted, []),
        (FrameFinished, ["echo"]),
        (AttemptFailed, ["echo", "broken_often"]),
    ],
)
def test_an_abort_signal_ends_the_run_as_aborted(
    wait: Wait, event_type: type[AnyEvent], ran: list[str]
) -> None:
    calls = []

    @step
    def echo_called(data: object) -> object:
        calls.append("echo")
        return data

    @step(max_retries=5)
    def broken_often(data: object) -> None:
        calls.append("broken_often")
        raise ValueError

    hook = raiser(event_type, PipelineAbortSignal, awaited=False)
    result = wait(Flujo(echo_called >> broken_often, hooks=[hook]).run_async(1).result())
    assert result.status is RunStatus.ABORTED
    assert calls == ran


def test_every_frame_that_started_also_finished_when_a_hook_aborts(wait: Wait) -> None:
    recorder = Recorder()

    def abort(event: FrameStarted) -> None:
        if str(event.path) == "echo_async":
            raise PipelineAbortSignal("enough")

    wait(Flujo(echo >> echo_async, hooks=[abort, recorder.listen]).run_async(1).result())
    ends = [type(event).__name__ for event in recorder.events if str(event.path) == "echo_async"]
    assert ends == ["FrameStarted", "FrameFinished"]


def test_a_run_that_cannot_start_tells_nothing(wait: Wait) -> None:

    recorder = Recorder()
    with pytest.raises(ConfigurationError):
        wait(Flujo(Step(name="empty"), hooks=[recorder.listen]).run_async(1).result())
    assert recorder.lines() == []


def test_two_runs_of_one_runner_do_not_mix(wait: Wait) -> None:
    recorder = Recorder()

    @step
    async def slow(data: object) -> object:
        await asyncio.sleep(0)
        return data

    runner = Flujo(slow >> echo, hooks=[recorder.listen])

    async def both() -> None:
        await asyncio.gather(*(runner.run_async(i, run_id=f"r{i}").result() for i in range(2)))

    wait(both())
    for run_id in ("r0", "r1"):
        own = [event.sequence for event in recorder.events if event.run_id == run_id]
        assert own == list(range(8))


def test_a_failure_in_a_hook_is_logged_with_its_name(
    wait: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="flujo_nb")
    hook = raiser(FrameStarted, ValueError, awaited=False)
    wait(Flujo(echo, hooks=[hook]).run_async(1).result())
    assert "raiser" in caplog.text
    assert "FrameStarted" in caplog.text
