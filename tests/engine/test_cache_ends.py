"""Cached steps that end otherwise, cost something, or run several times at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flujo_nb.engine.cache_manager import CacheManager, MemoryCache
from flujo_nb.engine.dsl import human_in_the_loop, map_over, parallel
from flujo_nb.engine.errors import (
    PausedException,
    PipelineAbortSignal,
    StepInterrupted,
)
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Aborted, Failure, Paused, RunStatus, Success
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import CacheStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate, UsageLimits
from tests.engine.caching import HIT, cached, metadata_of, runs
from tests.engine.fakes import Wait
from tests.engine.pauses import Calls, resumed, started


def test_a_failure_is_not_kept(wait: Wait) -> None:
    calls = Calls()

    def work(data: int) -> int:
        calls["work"] += 1
        if calls["work"] == 1:
            raise ValueError("not yet")
        return data

    first, second, third = runs(wait, Flujo(cached(work)), 1, 1, 1)
    assert [one.success for one in (first, second, third)] == [False, True, True]
    assert first.step_history[0].feedback == "ValueError: not yet"
    assert metadata_of(third) == HIT


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no"), Failure),
        (PausedException("may I?"), Paused),
        (PipelineAbortSignal("enough"), Aborted),
        (StepInterrupted(), Aborted),
        (SystemExit(1), Failure),
    ],
)
def test_every_other_end_is_passed_on_and_not_kept(
    wait: Wait, error: BaseException, kind: type
) -> None:
    calls = Calls()

    def end(data: object) -> object:
        calls["end"] += 1
        raise error

    node = cached(end)
    manager = CacheManager()

    async def main() -> None:
        for _ in range(2):
            core = ExecutorCore(cache=manager)
            outcome = await core.run_root(make_execution_frame(node, 1))
            assert type(outcome) is kind
            assert outcome.step is node
            assert [type(child) for child in outcome.children] == [kind]

    wait(main())
    assert calls == {"end": 2}
    assert manager._flights == {}
    assert isinstance(manager.backend, MemoryCache)
    assert len(manager.backend) == 0


def test_an_answer_is_kept_once_the_step_that_asks_has_ended(wait: Wait) -> None:
    asks = human_in_the_loop("ask", "{{ data }}?", int)
    runner = Flujo(Step.cached(asks))

    async def main() -> None:
        paused = await started(runner, "how many")
        assert [str(pause.path) for pause in paused.paused] == ["ask/cached"]
        assert (await resumed(runner, paused, "3")).output == 3
        again = await runner.run_async("how many")
        assert (again.status, again.output) == (RunStatus.COMPLETED, 3)
        assert (await started(runner, "how few")).paused[0].message == "how few?"

    wait(main())


def test_a_hit_stands_in_the_journal_like_any_step(wait: Wait) -> None:
    calls = Calls()
    backend = MemoryCache()
    node = Step.cached(calls.step("draft"), backend) >> human_in_the_loop("ask", "{{ data }}?")
    runner = Flujo(node)

    async def main() -> None:
        await started(runner, "a")
        paused = await started(runner, "a")
        backend.clear()  # what is recorded needs no cache
        result = await resumed(runner, paused, "yes")
        assert dict(result.step_history[0].metadata) == HIT

    wait(main())
    assert calls == {"draft": 1}


# Budgets.


def using(tokens: int, calls: Calls) -> Step[Any, Any]:
    """A step that reserves and uses so many tokens, and is not done at once."""

    async def use(data: object) -> Metered:
        calls["use"] += 1
        await asyncio.sleep(0.002)
        return Metered(data, Usage(tokens=tokens))

    return Step.from_callable(use, config=StepConfig(estimate=UsageEstimate(tokens=tokens)))


def test_a_hit_costs_nothing(wait: Wait) -> None:
    runner = Flujo(Step.cached(using(10, Calls())), usage_limits=UsageLimits(total_tokens_limit=10))
    first, second = runs(wait, runner, 1, 1)
    assert (first.total_tokens, second.total_tokens) == (10, 0)
    assert [one.step_history[0].token_counts for one in (first, second)] == [10, 0]


@pytest.mark.parametrize("concurrency", [None, 1, 2])
def test_branches_that_do_the_same_do_it_once_on_the_budget_of_one(
    wait: Wait, concurrency: int | None
) -> None:
    calls = Calls()
    same = Step.cached(using(10, calls))
    options: dict[str, Any] = {} if concurrency is None else {"max_concurrency": concurrency}
    node = parallel("all", {str(number): same for number in range(8)}, **options)
    runner = Flujo(node, usage_limits=UsageLimits(total_tokens_limit=10))
    (result,) = runs(wait, runner, 1)
    assert result.output == {str(number): 1 for number in range(8)}
    assert (calls["use"], result.total_tokens) == (1, 10)


def test_items_that_are_equal_are_worked_on_once(wait: Wait) -> None:
    calls = Calls()
    node = map_over("all", Step.cached(using(1, calls)), max_concurrency=4)
    (result,) = runs(wait, Flujo(node), [1, 2, 1, 2, 1, True])
    assert result.output == [1, 2, 1, 2, 1, True]
    assert (calls["use"], result.total_tokens) == (3, 3)


# Several runs at once.


def slow(calls: Calls, ends: Sequence[object] = ()) -> CacheStep[Any, Any]:
    """A cached step that takes a while and then ends in the ways ``ends``, and at last well."""
    left = list(ends)

    async def work(data: object) -> object:
        calls["work"] += 1
        await asyncio.sleep(0.002)
        end = left.pop(0) if left else data
        if isinstance(end, BaseException):
            raise end
        return end

    return cached(work)


def test_runs_that_need_the_same_run_it_once(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(slow(calls))

    async def main() -> list[Any]:
        return await asyncio.gather(*(runner.run_async([1]).result() for _ in range(20)))

    found = wait(main())
    assert calls == {"work": 1}
    assert [one.output for one in found] == [[1]] * 20
    assert len({id(one.output) for one in found}) == 20


def test_cores_that_share_a_manager_run_it_once(wait: Wait) -> None:
    """As commands of a notebook do, which have a core each."""
    calls, manager = Calls(), CacheManager()
    node = slow(calls)

    async def main() -> list[Any]:
        cores = [ExecutorCore(cache=manager) for _ in range(5)]
        frames = [make_execution_frame(node, 1) for _ in cores]
        return await asyncio.gather(
            *(core.run_root(frame) for core, frame in zip(cores, frames, strict=True))
        )

    assert [type(one) for one in wait(main())] == [Success] * 5
    assert calls == {"work": 1}


def test_when_the_first_fails_the_next_one_runs(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(slow(calls, [ValueError("no"), PausedException("may I?")]))

    async def main() -> list[Any]:
        return await asyncio.gather(*(runner.run_async(1).result() for _ in range(5)))

    found = wait(main())
    assert [one.status.value for one in found] == ["failed", "paused", *["completed"] * 3]
    assert calls == {"work": 3}


@pytest.mark.parametrize("cancelled", [0, 2])
def test_a_run_that_is_cancelled_lets_the_others_go_on(wait: Wait, cancelled: int) -> None:
    calls = Calls()
    runner = Flujo(slow(calls))

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(runner.run_async(1).result()) for _ in range(4)]
        await asyncio.sleep(0.001)
        tasks[cancelled].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = wait(main())
    assert isinstance(found.pop(cancelled), asyncio.CancelledError)
    assert [one.output for one in found] == [1, 1, 1]
    assert calls == {"work": 2 if cancelled == 0 else 1}


def test_a_runner_may_be_used_on_one_loop_after_another() -> None:
    calls = Calls()
    runner = Flujo(slow(calls))
    assert [runner.run(1).output for _ in range(3)] == [1, 1, 1]
    assert calls == {"work": 1}
