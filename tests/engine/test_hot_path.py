"""What a step costs, as ratios of processor time measured side by side in one run."""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import perf_counter, process_time
from typing import Any

import pytest
from pydantic import BaseModel

from benches.containers import (
    MOST_KEPT,
    BareGather,
    cached,
    fan_out_of,
    kept_per_step,
    known,
    loop_of,
    map_of,
    routed,
    sleeping,
    toggling,
)
from benches.harness import Costs, Work
from benches.works import AWAIT, Case, FloorRuns, FrameRuns, ledger_of
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_history_tracker import StepHistoryTracker
from flujo_nb.engine.steps import AnyPipeline, Pipeline, Step
from flujo_nb.engine.usage import UsageLimits

pytestmark = pytest.mark.warm("measures what runs cost that keep nothing")

LIMITS = UsageLimits(total_cost_usd_limit=1.0, total_tokens_limit=10**6, total_requests_limit=10**6)
Run = Callable[[], Awaitable[object]]


class Heavy(BaseModel):
    """A context of about 10 MB."""

    total: int = 0
    rows: list[dict[str, str]] = []


HEAVY = Heavy(rows=[{"name": f"package {i}", "licence": "x" * 60} for i in range(40_000)])


async def trivial(data: int) -> int:
    return data + 1


def trivial_sync(data: int) -> int:
    return data + 1


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def costs(works: dict[str, tuple[int, Run]], rounds: int = 41) -> dict[str, float]:
    """The processor time of one step of each kind of work: medians of interleaved repeats."""

    async def main() -> dict[str, float]:
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, (steps, work) in works.items():
                started = process_time()
                await work()
                times[name].append((process_time() - started) / steps)
        return {name: statistics.median(found[3:]) for name, found in times.items()}

    return asyncio.run(main())


def least(measure: Callable[[], float], wanted: float, tries: int = 3) -> float:
    """The ratio that ``measure`` finds, again when another process disturbed the first."""
    found = measure()
    for _ in range(tries - 1):
        if found <= wanted:
            break
        found = min(found, measure())
    return found


def sequence(count: int, function: Callable[..., Any] = trivial) -> AnyPipeline:
    return Pipeline(
        tuple(Step.from_callable(function, name=f"step {number}") for number in range(count))
    )


def bare(count: int) -> tuple[int, Run]:
    async def work() -> None:
        data = 0
        for _ in range(count):
            data = await trivial(data)
        assert data == count

    return count, work


def through_core(
    pipeline: AnyPipeline, context: BaseModel | None = None, core: ExecutorCore | None = None
) -> tuple[int, Run]:
    """Runs with a budget that has limits; every step must have run and left its record."""
    count, used = len(pipeline.steps), core or ExecutorCore()

    async def work() -> None:
        frame = make_execution_frame(pipeline, 0, limits=LIMITS, context=context)
        outcome = await used.run_root(frame)
        assert isinstance(outcome, Success)
        assert outcome.output == len(outcome.children) == count

    return count, work


def test_the_record_that_is_timed_is_the_whole_history() -> None:
    pipeline = sequence(100)
    frame = make_execution_frame(pipeline, 0, limits=LIMITS)
    outcome = asyncio.run(ExecutorCore().run_root(frame))
    results = StepHistoryTracker().results(outcome, FramePath())
    assert [result.output for result in results] == list(range(1, 101))
    assert [str(result.path) for result in results] == [f"step%20{i}" for i in range(100)]


def test_a_step_of_a_hundred_costs_at_most_twenty_awaits() -> None:
    def ratio() -> float:
        found = costs({"bare": bare(1000), "sequence": through_core(sequence(100))})
        return found["sequence"] / found["bare"]

    assert least(ratio, 20) <= 20


def test_a_runner_adds_little_to_each_step_of_a_result_that_nobody_reads() -> None:
    """A run's own cost (its context, id and result) is shared by its hundred steps."""
    runner = Flujo(sequence(100), usage_limits=LIMITS)

    async def work() -> None:
        assert (await runner.run_async(0)).output == 100

    def ratio() -> float:
        found = costs({"bare": bare(1000), "runner": (100, work)})
        return found["runner"] / found["bare"]

    assert least(ratio, 25) <= 25


def test_the_cost_of_a_step_does_not_grow_with_the_sequence() -> None:
    works = {f"{n}": through_core(sequence(n)) for n in (10, 100, 1000)}

    def ratio() -> float:
        found = costs(works, rounds=23)
        return found["1000"] / min(found["10"], found["100"])

    assert least(ratio, 1.5) <= 1.5


def test_a_synchronous_step_is_no_dearer_than_an_async_one() -> None:
    works = {
        "async": through_core(sequence(100)),
        "sync": through_core(sequence(100, trivial_sync)),
    }

    def ratio() -> float:
        found = costs(works)
        return found["sync"] / found["async"]

    assert least(ratio, 1.25) <= 1.25


def test_a_step_that_does_not_take_the_context_does_not_pay_for_it() -> None:
    pipeline = sequence(100)
    works = {
        "none": through_core(pipeline),
        "heavy": through_core(pipeline, HEAVY),
    }

    def ratio() -> float:
        found = costs(works)
        return found["heavy"] / found["none"]

    assert least(ratio, 1.25) <= 1.25


def test_a_step_that_touches_a_small_field_does_not_pay_for_the_large_one() -> None:
    def count(data: int, context: Heavy) -> int:
        context.total += 1
        return data + 1

    pipeline = sequence(20, count)
    works = {
        "light": through_core(pipeline, Heavy()),
        "heavy": through_core(pipeline, HEAVY),
    }

    def ratio() -> float:
        found = costs(works, rounds=13)
        return found["heavy"] / found["light"]

    assert least(ratio, 1.5) <= 1.5


# What stands in containers: against the floor, or against itself, with each result checked.


def check_ratio(name: str, base: str, works: Sequence[Work], most: float, passes: int = 7) -> None:
    """A step of ``name`` costs at most ``most`` times what one of ``base`` costs."""

    def ratio() -> float:
        return Costs(works, passes, collects=False).ratio(name, base)

    assert least(ratio, most, tries=5) <= most


INSIDE: dict[str, tuple[Callable[[], Case], int, float]] = {
    "loop": (lambda: loop_of(1000), 1, 1.75),
    "loop, routed": (lambda: routed(1000), 1, 1.75),
    "map": (lambda: map_of(500), 2, 1.8),
    "map, all at once": (lambda: map_of(500, at_once=500), 2, 1),
    "fan-out": (lambda: fan_out_of(500), 2, 1),
}
"""Cases, how often each runs at a time, and the most that a step may cost, in steps of the floor.

The goal is 1.6 (``benches/README.md``); a gate leaves room for what else the machine does.
"""


@pytest.mark.parametrize(("make", "times", "most"), INSIDE.values(), ids=INSIDE)
def test_a_step_in_a_container_costs_little_more_than_the_floors(
    make: Callable[[], Case], times: int, most: float
) -> None:
    case = make()
    works = FloorRuns("floor", case, times), FrameRuns("engine", case, times)
    check_ratio("engine", "floor", works, most)


def test_a_hit_costs_little_more_than_the_floors() -> None:
    case = cached(100)
    works = FloorRuns("floor", case, 5), FrameRuns("engine", case, 5, core=known(case))
    check_ratio("engine", "floor", works, 2.6)


def test_branches_that_wait_do_it_together() -> None:
    case = fan_out_of(1000, sleeping)

    def ratio() -> float:
        works = BareGather(1000), FrameRuns("engine", case)
        return Costs(works, 5, perf_counter).ratio("engine", AWAIT)

    assert least(ratio, 2) <= 2


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "journal"])
@pytest.mark.parametrize(
    ("few", "many", "times"),
    [
        (lambda: loop_of(100), lambda: loop_of(10_000), 100),
        (lambda: fan_out_of(10), lambda: fan_out_of(1000), 100),
        (lambda: map_of(10), lambda: map_of(1000), 100),
    ],
    ids=["loop", "fan-out", "map"],
)
def test_the_cost_of_a_step_does_not_grow_with_the_container(
    few: Callable[[], Case], many: Callable[[], Case], times: int, recorded: bool
) -> None:
    works = (
        FrameRuns("few", few(), times, recorded=recorded),
        FrameRuns("many", many(), recorded=recorded),
    )
    check_ratio("many", "few", works, 1.3, passes=5)


def test_the_cost_of_an_iteration_does_not_grow_up_to_the_hundred_thousandth() -> None:
    works = FrameRuns("few", loop_of(100), 100), FrameRuns("many", loop_of(100_000))
    check_ratio("many", "few", works, 1.3, passes=3)


def test_an_iteration_leaves_little_behind_apart_from_its_output() -> None:
    early, late = (kept_per_step(toggling(many), recorded=False) for many in (10_000, 100_000))
    assert early <= MOST_KEPT
    assert late <= early * 1.01


@pytest.mark.parametrize(
    "make", [lambda: loop_of(1000), lambda: fan_out_of(1000)], ids=["loop", "fan-out"]
)
def test_a_container_whose_steps_take_no_context_does_not_pay_for_it(
    make: Callable[[], Case],
) -> None:
    case = make()
    works = (
        FrameRuns("light", case, 2, context=ledger_of(0)),
        FrameRuns("heavy", case, 2, context=ledger_of(10)),
    )
    check_ratio("heavy", "light", works, 1.25)


def test_a_journal_makes_an_iteration_at_most_three_and_a_half_times_as_dear() -> None:
    """For a path, a look-up and two entries: how the iteration ended, and that another follows."""
    case = loop_of(1000)
    works = FrameRuns("plain", case), FrameRuns("recorded", case, recorded=True)
    check_ratio("recorded", "plain", works, 3.5)
