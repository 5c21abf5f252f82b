"""How many attempts may be in flight at once: the slots themselves, and runs that share them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from flujo_nb.engine import agent_orchestrator
from flujo_nb.engine.attempt_slots import AttemptSlots
from flujo_nb.engine.cache_manager import CacheManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Aborted, Failure, FrameOutcome, Success
from flujo_nb.engine.rates import Pace
from flujo_nb.engine.steps import Node, Pipeline, Step
from flujo_nb.engine.usage import Quota, Usage, UsageEstimate, UsageLimits
from tests.engine import behind
from tests.engine.fakes import Wait, settled

MANY = 12


class Gauge:
    """Steps that say how many of them are in flight, and in which order they began."""

    def __init__(self, turns: int = 3) -> None:
        self.now = self.most = 0
        self.begun: list[Any] = []
        self._turns = turns
        self._lock = threading.Lock()

    def _begin(self, data: Any) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.begun.append(data)

    async def work(self, data: Any) -> Any:
        self._begin(data)
        for _ in range(self._turns):
            await asyncio.sleep(0)
        self.now -= 1
        return data

    def in_thread(self, data: Any) -> Any:
        self._begin(data)
        threading.Event().wait(0.002)
        with self._lock:
            self.now -= 1
        return data

    async def run(self, data: Any) -> Any:
        """As an agent."""
        return await self.work(data)


async def outcomes_of(slots: AttemptSlots | None, *nodes: Node) -> Sequence[FrameOutcome]:
    """How runs of ``nodes`` end that are in flight together, each on a core of its own."""
    cores = [ExecutorCore(slots=slots) for _ in nodes]
    return await asyncio.gather(
        *(
            behind.run(core, node, number)
            for number, (core, node) in enumerate(zip(cores, nodes, strict=True))
        )
    )


def each_of(work: Any, count: int = MANY) -> Node:
    """A map of a step, or of a function, over so many items, all of them at once."""
    body = work if isinstance(work, Step) else Step.from_callable(work, name="work")
    items: Step[Any, Any] = Step.from_callable(lambda data: list(range(count)), name="items")
    return items >> Step.map_over("each", body, max_concurrency=count)


# The slots themselves.


def test_no_more_than_so_many_are_taken_and_the_first_who_waits_is_the_first(wait: Wait) -> None:
    async def main() -> None:
        slots, gauge = AttemptSlots(2), Gauge()
        bounded = slots.around(gauge.work)
        assert await asyncio.gather(*map(bounded, range(MANY))) == list(range(MANY))
        assert (gauge.most, gauge.begun) == (2, list(range(MANY)))
        assert slots._lanes == {}

    wait(main())


def test_nobody_overtakes_who_waits(wait: Wait) -> None:
    async def main() -> None:
        slots, begun = AttemptSlots(1), list[str]()

        async def work(name: str) -> None:
            begun.append(name)
            await _turns()

        first = asyncio.ensure_future(slots.around(work)("first"))
        second = asyncio.ensure_future(slots.around(work)("second"))
        await asyncio.sleep(0)
        slots.allow(2)
        await slots.around(work)("third")  # asks before the loop turns
        await asyncio.gather(first, second)
        assert begun == ["first", "second", "third"]

    wait(main())


def test_more_may_be_allowed_and_any_number(wait: Wait) -> None:
    async def main() -> None:
        slots, go = AttemptSlots(1), asyncio.Event()
        begun: list[int] = []

        async def work(number: int) -> None:
            begun.append(number)
            await go.wait()

        tasks = [asyncio.ensure_future(slots.around(work)(n)) for n in range(6)]
        for most, expected in ((None, 0), (1, 1), (3, 3), (2, 3), (4, 4), (None, 6)):
            if expected:
                slots.allow(most)
            await settled()
            assert len(begun) == (expected or 1)
        go.set()
        await asyncio.gather(*tasks)
        assert slots._lanes == {}

    wait(main())


@pytest.mark.parametrize("seed", range(20))
def test_who_is_cancelled_leaves_nothing_behind(wait: Wait, seed: int) -> None:
    chance = random.Random(seed)

    async def main() -> None:
        slots, most = AttemptSlots(3), 3
        tasks = [asyncio.ensure_future(slots.around(_napping)(n)) for n in range(40)]
        for _ in range(60):
            chance.choice(tasks).cancel()
            if chance.random() < 0.1:
                most += 1
                slots.allow(most)
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            for lane in slots._lanes.values():
                assert 0 <= lane.taken <= most
        await asyncio.gather(*tasks, return_exceptions=True)
        assert slots._lanes == {}

    wait(main())


async def _napping(_: int) -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def test_loops_do_not_wait_for_one_another() -> None:
    slots, done = AttemptSlots(1), list[int]()

    async def inner() -> None:
        await slots.around(asyncio.sleep)(0)
        done.append(1)

    async def outer() -> None:
        async def blocked() -> None:  # as a cell is by the bridge
            thread = threading.Thread(target=lambda: asyncio.run(inner()), daemon=True)
            thread.start()
            thread.join(5)

        await asyncio.gather(slots.around(blocked)(), slots.around(asyncio.sleep)(0))

    asyncio.run(outer())
    assert done == [1]
    assert slots._lanes == {}


def test_a_loop_that_was_left_is_forgotten(wait: Wait) -> None:
    slots = AttemptSlots(1)
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(slots.around(_forever)()) for _ in range(2)]
    loop.run_until_complete(_turns())
    assert [lane.taken for lane in slots._lanes.values()] == [1]
    loop.close()
    slots.allow(2)  # its loop is closed

    async def main() -> None:
        await slots.around(asyncio.sleep)(0)

    wait(main())
    assert slots._lanes == {}
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()  # type: ignore[union-attr]


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


async def _turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


# In runs.


@pytest.mark.parametrize("most", [1, 2, 5])
def test_maps_branches_and_agents_of_several_runs_share_them(wait: Wait, most: int) -> None:
    gauge = Gauge()
    agents = Step(name="agent", agent=gauge)
    branches = {f"b{n}": Step.from_callable(gauge.work, name=f"b{n}") for n in range(4)}
    nodes = [each_of(gauge.work), Step.parallel("all", branches), agents, each_of(gauge.work)]
    ended = wait(outcomes_of(AttemptSlots(most), *nodes))
    assert all(isinstance(one, Success) for one in ended)
    assert gauge.most == most
    assert len(gauge.begun) == 2 * MANY + 5


def test_without_a_bound_all_are_in_flight(wait: Wait) -> None:
    gauge = Gauge()
    wait(outcomes_of(None, each_of(gauge.work)))
    assert gauge.most == MANY


def test_synchronous_steps_in_threads_have_slots_too(wait: Wait) -> None:
    gauge = Gauge()
    wait(outcomes_of(AttemptSlots(2), each_of(gauge.in_thread)))
    assert gauge.most == 2 and len(gauge.begun) == MANY


def test_what_works_in_the_background_has_a_slot_too(wait: Wait) -> None:
    async def main() -> None:
        gauge, slots = Gauge(turns=10), AttemptSlots(1)
        core = ExecutorCore(slots=slots)
        await behind.run(core, behind.behind(gauge.work) >> Step.from_callable(gauge.work))
        await behind.ended(core)
        assert (gauge.most, len(gauge.begun)) == (1, 2)
        assert slots._lanes == {}

    wait(main())


def test_who_waits_holds_nothing_of_the_budget(wait: Wait) -> None:
    async def one(data: Any, frame: Any) -> Any:
        await asyncio.sleep(0)
        return data

    limited = Step.from_callable(one, name="one", estimate=UsageEstimate(tokens=6))

    async def main(slots: AttemptSlots | None) -> FrameOutcome:
        quota = Quota(UsageLimits(total_tokens_limit=10))
        frame = make_execution_frame(each_of(limited, 4), quota=quota)
        return await ExecutorCore(slots=slots).run_root(frame)

    assert isinstance(wait(main(AttemptSlots(1))), Success)
    assert isinstance(wait(main(None)), Aborted)


def test_the_time_limit_of_an_attempt_begins_with_its_slot(wait: Wait) -> None:
    @step(timeout_s=0.2)
    async def slow(data: Any) -> Any:
        await asyncio.sleep(0.06)
        return data

    [ended] = wait(outcomes_of(AttemptSlots(1), each_of(slow, 6)))
    assert isinstance(ended, Success)


def test_between_two_attempts_the_slot_is_free(wait: Wait) -> None:
    order: list[str] = []

    @step(max_retries=1, retry_delay_s=0.01)
    async def again(data: Any, frame: Any) -> Any:
        order.append(f"again {frame.attempt}")
        if frame.attempt == 1:
            raise ValueError("once more")
        return data

    @step
    async def other(data: Any) -> Any:
        order.append("other")
        return data

    ended = wait(outcomes_of(AttemptSlots(1), again, other))
    assert all(isinstance(one, Success) for one in ended)
    assert order == ["again 1", "other", "again 2"]


def test_a_step_that_waits_for_its_rate_has_no_slot_and_keeps_its_rate(
    wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, order = [0.0], list[tuple[str, float]]()
    sleep = asyncio.sleep

    async def passing(delay_s: float) -> None:
        for _ in range(20):  # all others come as far as they can
            await sleep(0)
        clock[0] += delay_s

    monkeypatch.setattr(agent_orchestrator, "monotonic", lambda: clock[0])
    monkeypatch.setattr(agent_orchestrator.asyncio, "sleep", passing)

    async def main() -> None:
        async def noted(data: Any) -> Any:
            order.append(("paced", clock[0]))
            return data

        async def other(data: Any) -> Any:
            order.append(("other", clock[0]))
            await sleep(0)
            return data

        paced = Step.from_callable(noted, name="paced", rate="1/s")
        others = Pipeline(tuple(Step.from_callable(other, name=f"other {n}") for n in range(9)))
        ended = await outcomes_of(AttemptSlots(1), each_of(paced, 3), others)
        assert all(isinstance(one, Success) for one in ended)

    wait(main())
    starts = [at for name, at in order if name == "paced"]
    assert len(starts) == 3
    assert all(later - earlier >= 1 for earlier, later in pairwise(starts))
    assert order.count(("other", 0.0)) == 9


def test_a_pace_can_be_asked_without_taking_a_turn() -> None:
    pace = Pace(agent_orchestrator.rate_of("1/s", "here"))
    assert [pace.free_at(5.0), pace.next_start(5.0), pace.free_at(5.5)] == [5.0, 5.0, 6.0]
    assert [pace.free_at(5.5), pace.free_at(7.0)] == [6.0, 7.0]


def test_who_waits_for_a_cached_value_has_no_slot(wait: Wait) -> None:
    gauge = Gauge()
    cached = Step.cached(Step.from_callable(gauge.work, name="work"))
    items: Step[Any, Any] = Step.from_callable(lambda data: [1, 1, 1, 2], name="items")
    node = items >> Step.map_over("each", cached, max_concurrency=4)

    async def main() -> FrameOutcome:
        core = ExecutorCore(cache=CacheManager(), slots=AttemptSlots(1))
        return await behind.run(core, node)

    outcome = wait(main())
    assert outcome.output == [1, 1, 1, 2]
    assert sorted(gauge.begun) == [1, 2]


def test_a_run_that_is_cancelled_while_it_waits_gives_back_what_it_had(wait: Wait) -> None:
    async def main() -> None:
        slots, go = AttemptSlots(1), asyncio.Event()
        begun: list[int] = []

        async def hold(data: Any) -> Any:
            begun.append(data)
            await go.wait()
            return data

        holding = Step.from_callable(hold, name="hold", estimate=UsageEstimate(tokens=1))
        quota = Quota(UsageLimits(total_tokens_limit=100))
        core = ExecutorCore(slots=slots)

        def run(data: int) -> asyncio.Task[FrameOutcome]:
            return asyncio.ensure_future(
                core.run_root(make_execution_frame(holding, data, quota=quota))
            )

        first, second, third = run(1), run(2), run(3)
        await settled()
        assert begun == [1]
        second.cancel()
        assert isinstance(await second, Aborted)
        assert [len(lane.waiting) for lane in slots._lanes.values()] == [1]
        go.set()
        assert [(await one).output for one in (first, third)] == [1, 3]  # type: ignore[union-attr]
        assert begun == [1, 3]
        assert slots._lanes == {}
        assert quota.spent == Usage()

    wait(main())


def test_an_attempt_that_fails_gives_its_slot_back(wait: Wait) -> None:
    async def broken(data: Any) -> None:
        raise ValueError("no")

    slots = AttemptSlots(1)
    ended = wait(outcomes_of(slots, *(Step.from_callable(broken, name="no") for _ in range(3))))
    assert all(isinstance(one, Failure) for one in ended)
    assert slots._lanes == {}
