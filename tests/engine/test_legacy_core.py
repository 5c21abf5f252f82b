"""Children of policies with argument lists, and what such a policy cannot undo."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import (
    PausedException,
    StepInterrupted,
    UsageLimitExceededError,
)
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, Paused
from flujo_nb.engine.results import StepResult
from flujo_nb.engine.steps import Pipeline, Step
from flujo_nb.engine.usage import UsageEstimate
from tests.engine.fakes import Box, Wait, broken, echo, names_in, outcome_of, runner_of
from tests.engine.older import BOX, LIMIT, costs, older, paths, ran, result_of
from tests.engine.pauses import Calls, asks, questions, resumed, started


@step
async def pause(data: object) -> Any:
    await asyncio.sleep(0)
    raise PausedException(f"{data}?")


@step
async def endless(data: object) -> Any:
    await asyncio.sleep(60)


# Where children stand.


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ({}, "box/echo"),
        ({"index": 2}, "box/[2]/echo"),
        ({"branch": "a b"}, "box/:a%20b/echo"),
        ({"branch": None}, "box/:=null/echo"),
        ({"index": 0, "branch": 1}, "box/[0]/:=1/echo"),
        ({"place": "import"}, "box/import/echo"),
        ({"place": "router"}, "box/router"),
        ({"place": "cached"}, "box/cached"),
        ({"fallback_depth": 1}, "box/fallback[1]"),
        ({"_fallback_depth": 2}, "box/fallback[2]"),
        ({"fallback_depth": 0, "stream": False, "resources": 1, "limits": None}, "box/echo"),
    ],
)
@pytest.mark.parametrize("as_frame", [False, True])
def test_a_child_stands_where_its_policy_says(
    wait: Wait, place: dict[str, Any], path: str, as_frame: bool
) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        if as_frame:
            core.make_execution_frame(echo, "never run", index=9)
            return result_of(await core.execute(core.make_execution_frame(echo, data, **place)))
        return result_of(await core.execute(echo, data, **place))

    result = ran(wait, execute, 1)
    assert paths(result) == [path]
    assert str(result.output[0].path) == path


@pytest.mark.warm("a child that has no frame of its own leaves no row")
@pytest.mark.parametrize(
    ("node", "place", "found"),
    [
        (echo, {}, ["box/echo", "box/echo#1", "box/echo#2"]),
        (echo, {"index": 1}, ["box/[1]/echo", "box/[1]/echo#1", "box/[1]/echo#2"]),
        (echo, {"branch": "a"}, ["box/:a/echo", "box/:a/[1]/echo", "box/:a/[2]/echo"]),
        (echo, {"place": "cached"}, ["box/cached", "box/cached/[1]", "box/cached/[2]"]),
        (Pipeline.of(echo, echo), {}, ["box", "box/[1]", "box/[2]"]),
        (Pipeline.of(echo, echo), {"index": 0}, ["box/[0]", "box/[0]/[1]", "box/[0]/[2]"]),
        (Pipeline.of(echo, echo), {"branch": "a"}, ["box/:a", "box/:a/[1]", "box/:a/[2]"]),
    ],
)
def test_what_runs_again_has_a_place_of_its_own(
    wait: Wait, node: Any, place: dict[str, Any], found: list[str]
) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        first = core.make_execution_frame(node, data, **place)
        return result_of(
            *[await core.execute(first) for _ in range(2)], await core.execute(node, data, **place)
        )

    result = ran(wait, execute, 1)
    inside = ["", ""] if node is echo else ["/echo", "/echo#1"]
    every = [path + end for path in found for end in (inside if node is not echo else [""])]
    assert paths(result) == every
    assert [one.output for one in result.output] == [1, 1, 1]


def test_a_fallback_of_a_fallback_is_one_deeper(wait: Wait) -> None:
    depths = []

    async def execute(
        core: Any, step: Any, data: Any, fallback_depth: int, _fallback_depth: int
    ) -> StepResult:
        depths.append((fallback_depth, _fallback_depth))
        if fallback_depth == 2:
            return result_of(await core.execute(echo, data, fallback_depth=fallback_depth))
        return result_of(await core.execute(step, data, fallback_depth=fallback_depth + 1))

    result = ran(wait, execute)
    assert depths == [(0, 0), (1, 1), (2, 2)]
    deepest = result.step_history[0].step_history[0].step_history[0].step_history[0]
    assert str(deepest.path) == "box/fallback[1]/fallback[2]/echo"


@pytest.mark.parametrize(
    ("place", "told"),
    [({"idx": 1}, "found 'idx'"), ({"place": "step"}, "router, import, cached; found 'step'")],
)
def test_a_place_that_there_is_not_is_an_error(
    wait: Wait, place: dict[str, Any], told: str
) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        return result_of(await core.execute(echo, data, **place))

    assert told in (ran(wait, execute).step_history[0].feedback or "")


# Children in flight together.


def test_children_in_flight_together_stand_in_the_order_in_which_they_were_begun(
    wait: Wait,
) -> None:
    @step
    async def sleep(data: int) -> int:
        await asyncio.sleep(data / 1000)
        return data

    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        works = (core.execute(sleep, n, branch=str(n)) for n in (5, 1, 3))
        return result_of(*[one.output for one in await asyncio.gather(*works)])

    result = ran(wait, execute)
    assert result.output == (5, 1, 3)
    assert paths(result) == ["box/:5/sleep", "box/:1/sleep", "box/:3/sleep"]


def test_beside_a_pause_children_run_to_their_own_end(wait: Wait) -> None:
    calls = Calls()

    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        work = calls.step("a") >> calls.step("b") >> calls.step("c")
        nodes = {"ask": pause, "work": work, "other": echo >> echo >> pause}
        works = (core.execute(node, key, branch=key) for key, node in nodes.items())
        return result_of(*await asyncio.gather(*works))

    paused = ran(wait, execute)
    assert [(str(one.path), one.message) for one in paused.paused] == [
        *(("box/:ask/pause", "ask?"), ("box/:other/pause", "other?"))
    ]
    assert paused.step_history[0].feedback == "ask?; other?"
    assert calls == {"a": 1, "b": 1, "c": 1}


@pytest.mark.warm("what a policy makes of a cancelled child is not what that child recorded")
@pytest.mark.parametrize("how", ["raises", "returns", "fails"])
def test_beside_anything_else_they_are_cancelled(wait: Wait, how: str) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        left = [asyncio.create_task(core.execute(endless, data))]
        await asyncio.sleep(0)
        if how == "raises":
            raise ValueError("no")
        return result_of(left, success=how == "returns", feedback="no")

    result = ran(wait, execute)
    assert result.success is (how == "returns")
    (child,) = result.step_history[0].step_history
    assert (child.success, child.feedback) == (False, "cancelled by its policy")


def test_a_policy_may_cancel_its_children_by_a_group(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        async def fail() -> None:
            child = await core.execute(broken, data)
            raise ValueError(child.feedback)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(core.execute(endless, data))
                group.create_task(fail())
        except ExceptionGroup as failed:
            return result_of(success=False, feedback=str(failed.exceptions[0]))
        return result_of()

    result = ran(wait, execute)
    assert result.step_history[0].feedback == "ValueError: cannot use None"
    assert names_in(result.step_history[0].step_history) == ["endless", "broken"]


def test_a_policy_may_give_a_child_its_time(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        with suppress(TimeoutError):
            await asyncio.wait_for(core.execute(endless, data), 0.01)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await core.execute(endless, data)
        return result_of((await core.execute(echo, data)).output)

    result = ran(wait, execute, 1)
    assert (result.success, result.output) == (True, (1,))


def test_a_cancelled_run_takes_its_children_along(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        works = [core.execute(endless, data) for _ in range(3)]
        return result_of(*await asyncio.gather(*works, return_exceptions=True))

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(BOX, registry=older(execute)))
        await asyncio.sleep(0.005)
        task.cancel()
        return await task

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert [child.reason for child in outcome.children] == [AbortReason.INTERRUPTED] * 3


def test_a_run_that_is_cancelled_after_a_pause_takes_the_others_along(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        works = [core.execute(node, data) for node in (pause, endless)]
        return result_of(*await asyncio.gather(*works))

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(BOX, registry=older(execute)))
        await asyncio.sleep(0.03)
        task.cancel()
        return await task

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert [type(child) for child in outcome.children] == [Paused, Aborted]


def test_a_synchronous_child_beside_others_does_not_hold_the_loop(wait: Wait) -> None:
    meeting = threading.Barrier(2, timeout=2)
    meet = Step.from_callable(lambda data: meeting.wait() >= 0, name="meet")

    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        works = (core.execute(meet, data, index=number) for number in range(2))
        return result_of(*[one.output for one in await asyncio.gather(*works)])

    assert ran(wait, execute).output == (True, True)


# What a policy cannot undo.


async def swallow(core: Any, step: Any, data: Any) -> StepResult:
    """Run a child, and make a success of whatever comes."""
    with suppress(Exception):
        await core.execute(step.meta["child"], data)
    return result_of("swallowed")


def with_child(node: Any) -> Box:
    return Box(name="box", meta={"child": node})


def test_a_pause_of_a_child_cannot_be_swallowed(wait: Wait) -> None:
    async def main() -> tuple[object, ...]:
        runner = runner_of(with_child(asks("ask")), registry=older(swallow))
        paused = await started(runner, "x")
        result = await resumed(runner, paused, "yes")
        return questions(paused), result.output

    assert wait(main()) == (["box/ask"], ("swallowed",))


def test_a_failure_does_not_hide_a_pause_unless_a_child_failed(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        nodes = [pause, broken] if data else [pause, echo]
        ends = await asyncio.gather(
            *(core.execute(node, data) for node in nodes), return_exceptions=True
        )
        return result_of(success=data == 2, feedback=f"{len(ends)} ends")

    assert isinstance(wait(outcome_of(BOX, 0, registry=older(execute))), Paused)
    failed = wait(outcome_of(BOX, 1, registry=older(execute)))
    assert isinstance(failed, Failure)
    assert failed.feedback == "2 ends"
    assert isinstance(wait(outcome_of(BOX, 2, registry=older(execute))), Paused)


def test_an_interrupt_of_a_child_cannot_be_swallowed(wait: Wait) -> None:
    @step
    def interrupt(data: object) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(StepInterrupted):
        wait(runner_of(with_child(interrupt), registry=older(swallow)).run_async(1).result())


def test_a_breach_of_its_own_cannot_be_swallowed(wait: Wait) -> None:
    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        with suppress(Exception), core.reserve(UsageEstimate(tokens=11)):
            pass
        return result_of()

    with pytest.raises(UsageLimitExceededError, match="Token limit of 10"):
        ran(wait, execute, usage_limits=LIMIT)


def test_a_breach_of_a_child_that_was_cancelled_counts_too(wait: Wait) -> None:
    @step
    async def late(data: object) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            raise UsageLimitExceededError("late")

    async def execute(core: Any, step: Any, data: Any) -> StepResult:
        with suppress(TimeoutError):
            await asyncio.wait_for(core.execute(late, data), 0.01)
        return result_of("swallowed")

    with pytest.raises(UsageLimitExceededError, match="late"):
        ran(wait, execute)


@pytest.mark.warm("what a policy makes of a cancelled child is not what that child recorded")
def test_what_stopped_a_child_is_not_counted_twice(wait: Wait) -> None:
    node = costs >> Step.from_callable(echo.agent, name="dear", estimate=UsageEstimate(tokens=9))
    runner = runner_of(with_child(node), registry=older(swallow), usage_limits=LIMIT)
    with pytest.raises(UsageLimitExceededError) as breach:
        wait(runner.run_async(1).result())
    partial = breach.value.result
    assert partial is not None
    assert (partial.total_tokens, partial.step_history[0].token_counts) == (3, 3)
