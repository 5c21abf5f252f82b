"""How a container ends when a child ended it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.errors import PolicyContractError
from flujo_nb.engine.frame import child_frame, make_execution_frame
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Chunk,
    Failure,
    FailureKind,
    Paused,
    Success,
)
from flujo_nb.engine.passing import YIELD_EVERY, ended, passed_on
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.step_history_tracker import deepest_end, total_usage
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import NO_METADATA, Usage
from tests.engine.fakes import Box, Log, Wait, broken, echo, outcome_of

ERROR = ValueError("no")
ENDS: list[Any] = [
    Failure(error=ERROR, feedback="no", kind=FailureKind.TIMEOUT, output="so far"),
    Paused(message="which?", schema={"type": "integer"}),
    *(Aborted(reason=reason, message=reason.value) for reason in AbortReason),
]
OWN = {"step", "segments", "index", "attempts", "latency_s", "usage", "children", "metadata"}


def told(outcome: Any) -> dict[str, object]:
    """What the outcome says of how it came about, without whose it is."""
    names = {name for cls in type(outcome).__mro__ for name in getattr(cls, "__slots__", ())}
    return {name: getattr(outcome, name) for name in names - OWN}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{type(end).__name__} {end}"[:20])
def test_a_childs_end_becomes_the_containers_own(end: Any) -> None:
    root = make_execution_frame(Box(name="box"))
    frame = child_frame(root, Box(name="inner"), None, index=3)
    children = (Success(), end)
    passed = passed_on(end, frame, children, 1.5, {"exit_reason": "stopped"})
    assert type(passed) is type(end)
    expected = told(end)
    if isinstance(end, Paused):
        expected["schema"] = None  # it is the child that asks
    assert told(passed) == expected
    assert (passed.step, passed.segments, passed.index) == (frame.step, frame.segments, 3)
    assert (passed.attempts, passed.latency_s, passed.usage) == (1, 1.5, None)
    assert passed.children is children
    assert passed.metadata == {"exit_reason": "stopped"}


def test_what_the_child_used_is_counted_once_and_stays_with_it() -> None:
    used = Usage(tokens=3)
    end = Failure(error=ERROR, feedback="no", usage=used, attempts=4, metadata={"of": "child"})
    passed = passed_on(end, make_execution_frame(Box(name="box")), (end,), 0.0)
    assert total_usage(passed) == used
    assert (passed.attempts, passed.metadata) == (1, NO_METADATA)
    assert (end.attempts, end.usage) == (4, used)


@pytest.mark.parametrize("end", [*ENDS, Success(output=1), BackgroundLaunched(task_id="x")])
def test_every_outcome_but_a_chunk_is_an_end(end: Any) -> None:
    assert ended(end) is end


def test_a_chunk_is_no_end_and_the_error_says_whose_it_is() -> None:
    with pytest.raises(PolicyContractError, match=r"a Chunk .*both/:a/draft"):
        ended(Chunk("x", FramePath.parse("both/:a/draft")))


@pytest.mark.parametrize(
    "make",
    [
        lambda body: body >> echo,
        lambda body: Step.loop_until("c", body, lambda output: True),
        lambda body: Step.branch_on("c", lambda data: 1, {1: body}),
        lambda body: Step.map_over("c", body),
        lambda body: Step.parallel("c", {"a": body, "b": echo}),
        lambda body: Step.dynamic_parallel_branch("c", lambda data: "a", {"a": body}),
    ],
    ids=["sequence", "loop", "branch", "map", "parallel", "router"],
)
def test_the_frame_that_ended_a_run_is_found_in_what_its_containers_passed_on(
    wait: Wait, make: Any
) -> None:
    outcome = wait(outcome_of(make(broken), [1]))
    deepest, path = deepest_end(outcome, FramePath())
    assert isinstance(deepest, Failure)
    assert deepest.step is broken
    assert str(path).endswith("broken")


@pytest.mark.parametrize(
    "make",
    [
        lambda body, count: Step.loop_until(
            "c", body, lambda output: output == count, max_loops=count
        ),
        lambda body, count: Step.map_over("c", body, "items"),
        lambda body, count: Step.map_over("c", body, "items", max_concurrency=2),
    ],
    ids=["loop", "map", "concurrent map"],
)
def test_a_container_of_steps_that_never_suspend_lets_the_loop_turn(wait: Wait, make: Any) -> None:
    """Else an interrupt or a widget would wait for its end."""
    count = YIELD_EVERY * 4

    async def body(data: int) -> int:
        return data + 1

    async def turns() -> int:
        node = make(Step.from_callable(body), count)
        run = asyncio.create_task(outcome_of(node, 0, context=Log(items=list(range(count)))))
        counted = 0
        while not run.done():
            await asyncio.sleep(0)
            counted += 1
        assert isinstance(run.result(), Success), run.result()
        return counted

    assert wait(turns()) >= 4
