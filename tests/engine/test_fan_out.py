"""Children side by side: how many at once, what stops them, and that none is left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import map_over, parallel
from flujo_nb.engine.errors import StepCancelledItself
from flujo_nb.engine.fan_out import FannedOut, FanOut
from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    Failure,
    Outcome,
    StepOutcome,
    Success,
)
from flujo_nb.engine.run import Run
from flujo_nb.engine.step_kinds import BranchFailureStrategy
from flujo_nb.engine.steps import AnyStep, Node, Step
from flujo_nb.engine.usage import UsageEstimate, UsageLimits
from tests.engine.containers import failing_late, napping
from tests.engine.fakes import (
    Box,
    Counts,
    Wait,
    boxed,
    echo,
    echo_async,
    outcome_of,
    runner_of,
    settled,
)

IGNORE = BranchFailureStrategy.IGNORE
durations = st.lists(st.integers(0, 4), min_size=1, max_size=12)
limits = st.none() | st.integers(1, 14)


@pytest.fixture(autouse=True)
def _nothing_goes_unheard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No error of a task that nobody looked at, which asyncio tells when the task is collected."""
    caplog.set_level(logging.WARNING, logger="asyncio")
    yield
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def run(work: Any) -> Any:
    """For hypothesis, which takes no fixtures that are made once for all examples."""

    async def whole() -> Any:
        async with asyncio.timeout(3):
            result = await work
        assert await settled() == set()
        return result

    return asyncio.run(whole())


def aborts(outcome: StepOutcome) -> list[AbortReason]:
    """The reasons of all aborted frames of a tree, from the top down."""
    assert isinstance(outcome, Outcome)
    own = [outcome.reason] if isinstance(outcome, Aborted) else []
    return own + [reason for child in outcome.children for reason in aborts(child)]


def kinds(outcomes: Sequence[StepOutcome]) -> list[str]:
    return [type(one).__name__ for one in outcomes]


class Counter:
    """Children that take some turns of the loop, and how many were in flight at once."""

    def __init__(self, turns: Sequence[int]) -> None:
        self.turns = turns
        self.now = self.most = 0
        self.started: list[int] = []

    async def work(self, number: int) -> int:
        self.started.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(self.turns[number]):
            await asyncio.sleep(0)
        self.now -= 1
        return number

    async def start(self, number: int) -> StepOutcome:
        return Success(output=await self.work(number))


def never(outcome: StepOutcome) -> bool:
    return False


@given(durations, limits)
def test_the_limit_holds_at_every_instant_and_each_child_runs_once(
    turns: list[int], limit: int | None
) -> None:
    counter = Counter(turns)
    fanned: FannedOut = run(FanOut(Run(), len(turns), counter.start, never, limit).run())
    assert fanned.cut is None
    assert [one.output for one in fanned.outcomes if isinstance(one, Success)] == [
        *range(len(turns))
    ]
    assert sorted(counter.started) == [*range(len(turns))]
    assert counter.most <= (limit or len(turns))


@given(st.integers(1, 40), limits)
def test_the_limit_is_reached_when_children_wait(count: int, limit: int | None) -> None:
    counter = Counter([12] * count)
    run(FanOut(Run(), count, counter.start, never, limit).run())
    assert counter.most == min(count, limit or count)


@given(durations, st.integers(1, 14), st.sampled_from(["map", "parallel"]))
def test_the_order_in_which_children_end_never_matters(
    turns: list[int], limit: int, container: str
) -> None:
    counter = Counter(turns)

    def kid(number: int) -> AnyStep:
        async def work(data: object, context: Counts) -> int:
            own = number if number >= 0 else int(str(data))
            context.names.append(f"n{own}")
            context.by_kind[f"n{own}"] = own
            return await counter.work(own)

        return Step.from_callable(work, name=f"kid{number}")

    whole = [*range(len(turns))]
    node: Node = map_over("outer", kid(-1), max_concurrency=limit)
    if container == "parallel":
        branches = {str(number): kid(number) for number in whole}
        node = parallel("outer", branches, max_concurrency=limit)
    result = run(runner_of(node).run_async(whole).result())
    made = result.output if container == "map" else list(result.output.items())
    assert made == (whole if container == "map" else [(str(number), number) for number in whole])
    after = result.final_pipeline_context
    assert after.names == [f"n{number}" for number in whole]
    assert list(after.by_kind.items()) == [(f"n{number}", number) for number in whole]
    assert counter.most <= limit


def test_a_failure_cancels_the_unfinished_and_waits_for_their_clean_up(wait: Wait) -> None:
    log: list[str] = []
    node = parallel("outer", {"done": echo_async, "naps": napping(log), "fails": failing_late})
    outcome = wait(outcome_of(node))
    assert isinstance(outcome, Failure)
    assert kinds(outcome.children) == ["Success", "Aborted", "Failure"]
    assert aborts(outcome) == [AbortReason.CANCELLED]
    assert log == ["began", "cleaned up"]


def test_what_is_cancelled_with_its_siblings_is_so_all_the_way_down(wait: Wait) -> None:
    naps = napping([])
    deep = map_over("map", echo >> parallel("inner", {"naps": naps, "naps too": naps}))
    node = parallel("outer", {"deep": deep, "fails": failing_late})
    outcome = wait(outcome_of(node, [1, 2]))
    assert isinstance(outcome, Failure)
    assert set(aborts(outcome)) == {AbortReason.CANCELLED}
    assert len(aborts(outcome)) == 5


def test_what_had_not_begun_never_does(wait: Wait) -> None:
    began: list[int] = []

    async def work(data: int) -> None:
        began.append(data)
        await asyncio.sleep(0)
        if data == 1:
            raise ValueError("enough")
        await asyncio.sleep(5)

    node = map_over("outer", Step.from_callable(work), max_concurrency=3)
    outcome = wait(outcome_of(node, [*range(50)]))
    assert isinstance(outcome, Failure)
    assert outcome.children[1].error.args == ("enough",)
    assert len(began) <= 4
    assert len(outcome.children) == len(began)


def test_a_branch_that_cancels_itself_has_failed(wait: Wait) -> None:
    async def cancel(data: object) -> None:
        raise asyncio.CancelledError

    node = parallel("outer", {"cancels": Step.from_callable(cancel), "naps": napping([])})
    outcome = wait(outcome_of(node))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, StepCancelledItself)
    ignoring = parallel(
        "outer", {"cancels": Step.from_callable(cancel), "good": echo}, on_branch_failure=IGNORE
    )
    assert wait(runner_of(ignoring).run_async(1).result()).output["good"] == 1


def test_a_branch_that_swallows_its_cancellation_keeps_what_it_made(wait: Wait) -> None:
    @step
    async def stubborn(data: object) -> str:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(0.002)
        return "made"

    outcome = wait(outcome_of(parallel("outer", {"fails": failing_late, "stays": stubborn}), 1))
    assert isinstance(outcome, Failure)
    assert [getattr(one, "output", None) for one in outcome.children] == [None, "made"]


def test_several_failures_are_all_told(wait: Wait) -> None:
    @step
    async def fails_when_cancelled(data: object) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            raise KeyError("clean-up") from None

    node = parallel("outer", {"one": failing_late, "two": fails_when_cancelled})
    outcome = wait(outcome_of(node, 1))
    assert isinstance(outcome, Failure)
    assert "branch 'one' failed: ValueError: late" in outcome.feedback
    assert "branch 'two' failed: KeyError: 'clean-up'" in outcome.feedback


CUT: dict[str, Callable[[AnyStep], Node]] = {
    "parallel": lambda naps: parallel("outer", {"one": naps, "two": naps, "done": echo_async}),
    "ignoring": lambda naps: parallel(
        "outer", {"one": naps, "two": naps}, on_branch_failure=IGNORE
    ),
    "map": lambda naps: map_over("outer", naps, max_concurrency=3),
    "keeping": lambda naps: map_over("outer", naps, max_concurrency=2, on_item_failure="keep"),
    "one at a time": lambda naps: map_over("outer", naps),
}


@pytest.mark.parametrize("make", CUT.values(), ids=CUT)
def test_a_cancellation_from_outside_ends_all(wait: Wait, make: Callable[[AnyStep], Node]) -> None:
    log: list[str] = []

    async def main() -> Any:
        task = asyncio.create_task(outcome_of(make(napping(log)), [1, 2, 3]))
        await asyncio.sleep(0.002)
        task.cancel()
        return await task

    outcome = wait(main())
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.INTERRUPTED
    assert {type(one) for one in outcome.children} <= {Aborted, Success}
    assert log.count("began") == log.count("cleaned up") >= 1


def test_the_run_that_was_cancelled_raises_it(wait: Wait) -> None:
    node = parallel("outer", {"one": napping([]), "two": echo_async})

    async def main() -> None:
        task = asyncio.create_task(runner_of(node).run_async().result())
        await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wait(main())


MARK: ContextVar[object] = ContextVar("mark", default="none")


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("turns", [0, 1])
def test_a_context_variable_that_one_sets_is_not_seen_by_another(
    wait: Wait, limit: int, turns: int
) -> None:
    seen: list[object] = []

    async def start(number: int) -> StepOutcome:
        seen.append(MARK.get())
        MARK.set(number)
        for _ in range(turns * (number % 3)):
            await asyncio.sleep(0)
        return Success(output=MARK.get())

    fanned: FannedOut = wait(FanOut(Run(), 50, start, never, limit).run())
    assert seen == ["none"] * 50
    assert [one.output for one in fanned.outcomes if isinstance(one, Success)] == [*range(50)]


def test_context_variables_whose_values_cannot_be_compared(wait: Wait) -> None:
    class Array:
        def __eq__(self, other: object) -> Any:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = object.__hash__

    async def main() -> Any:
        MARK.set(Array())

        async def work(data: object) -> object:
            MARK.set(Array())
            return data

        node = map_over("outer", Step.from_callable(work), max_concurrency=2)
        return await outcome_of(node, [1, 2, 3])

    assert wait(main()).output == [1, 2, 3]


def test_a_thousand_branches_flat(wait: Wait) -> None:
    branches = {
        f"b{number}": Step.from_callable(echo_async.agent, name="b") for number in range(1000)
    }
    result = wait(runner_of(parallel("outer", branches)).run_async(3).result())
    assert result.output == dict.fromkeys(branches, 3)
    assert list(result.output) == list(branches)


def test_a_thousand_that_sleep_do_so_together(wait: Wait) -> None:
    each = 0.01

    async def nap(data: int) -> int:
        await asyncio.sleep(each)
        return data

    node = map_over("outer", Step.from_callable(nap), max_concurrency=1000)
    began = time.perf_counter()
    result = wait(runner_of(node).run_async([*range(1000)]).result())
    took = time.perf_counter() - began
    assert result.output == [*range(1000)]
    assert took < 1000 * each / 10


def test_an_abort_of_one_ends_all_and_counts_for_all(wait: Wait) -> None:
    log: list[str] = []
    limits = UsageLimits(total_requests_limit=1)

    @step(estimate=UsageEstimate(requests=2))
    async def dear(data: object) -> None: ...

    node = parallel("outer", {"naps": napping(log), "done": echo_async, "dear": echo_async >> dear})
    outcome = wait(outcome_of(node, 1, limits=limits))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.QUOTA
    assert kinds(outcome.children) == ["Aborted", "Success", "Aborted"]
    assert log == ["began", "cleaned up"]


@pytest.mark.parametrize("container", ["parallel", "map"])
def test_no_container_takes_an_abort_for_a_success(wait: Wait, container: str) -> None:
    """Not even a cancellation that a policy of others reports without there being one."""

    async def gone(core: object, frame: AnyFrame) -> Aborted:
        return Aborted(reason=AbortReason.CANCELLED, message="gone")

    box = Box(name="box")
    node: Node = map_over("outer", box, max_concurrency=2)
    if container == "parallel":
        node = parallel("outer", {"box": box, "good": echo_async})
    outcome = wait(outcome_of(node, [1, 2], registry=boxed(gone)))
    assert isinstance(outcome, Aborted)
    assert outcome.reason is AbortReason.CANCELLED
    assert outcome.message == "gone"


@pytest.mark.parametrize("limit", [1, 2, None])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_error_of_the_engines_own_is_never_lost(
    wait: Wait, number: int, limit: int | None
) -> None:
    """What user code raises comes as an outcome; a policy of others may raise all the same."""
    error = RuntimeError("an outcome was due")

    async def start(own: int) -> StepOutcome:
        await asyncio.sleep(0.001 * (own == 0))
        if own == number:
            raise error
        await asyncio.sleep(0.002)
        return Success()

    fanned: FannedOut = wait(FanOut(Run(), 4, start, never, limit).run())
    assert fanned.cut is error
    assert fanned.outcomes[number] is None
