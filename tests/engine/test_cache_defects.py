"""Defects of flujo 0.6.11 around its caches that this engine does not have."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from pydantic import BaseModel

from flujo_nb.engine.cache_manager import CacheManager, MemoryCache
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import CacheStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Wait, runner_of


class Order(BaseModel):
    customer: str = ""
    total: int = 0


# flujo breaks the last line: it caches every step without being asked, and runs this one once.
def test_defect_1_a_step_that_nobody_cached_runs_each_time(wait: Wait) -> None:
    seen: list[int] = []

    async def send(data: int) -> None:
        seen.append(data)

    runner = Flujo(Step.from_callable(send))
    for _ in range(3):
        wait(runner.run_async(1).result())
    assert seen == [1, 1, 1]


# flujo breaks the last line: its keys name a step, not its function, so both give "up".
def test_defect_1_two_functions_under_one_name_do_not_share(wait: Wait) -> None:
    async def up(data: int) -> str:
        return "up"

    async def down(data: int) -> str:
        return "down"

    backend = MemoryCache()
    found = []
    for function in (up, down):
        node = Step.cached(Step.from_callable(function, name="go"), backend)
        found.append(wait(Flujo(node).run_async(1).result()).output)
    assert found == ["up", "down"]


# flujo breaks the last line: no field of the context can be declared as input, so both are "ann".
def test_defect_1_what_a_step_reads_of_the_context_can_be_input(wait: Wait) -> None:
    async def greet(data: int, context: Order) -> str:
        return context.customer

    node = Step.cached(Step.from_callable(greet), MemoryCache(), context_keys=["customer"])
    found = [
        wait(
            runner_of(node, context_model=Order, initial_context_data={"customer": name})
            .run_async(1)
            .result()
        ).output
        for name in ("ann", "bob")
    ]
    assert found == ["ann", "bob"]


# flujo breaks the last two lines: the hit brings the whole context of the first run along, which
# ends the second one as customer "ann" and under the first one's run id.
def test_defect_2_a_hit_brings_no_other_runs_context(wait: Wait) -> None:
    async def bill(data: int, context: Order) -> int:
        context.total += data
        return data

    node = Step.cached(Step.from_callable(bill), MemoryCache())
    results: list[Any] = [
        wait(
            runner_of(node, context_model=Order, initial_context_data={"customer": name})
            .run_async(5, run_id=f"run of {name}")
            .result()
        )
        for name in ("ann", "bob")
    ]
    assert results[1].step_history[0].metadata["cache_hit"] is True
    assert results[1].final_pipeline_context == Order(customer="bob", total=5)
    assert results[1].run_id == "run of bob"


# flujo breaks the last line: it keeps a lock for every key that was ever asked for.
def test_a_defect_seen_in_code_nothing_grows_with_the_keys_that_were_asked_for(wait: Wait) -> None:
    async def same(data: int) -> int:
        await asyncio.sleep(0)
        return data

    manager = CacheManager(MemoryCache(max_entries=3))
    node: CacheStep[Any, Any] = Step.cached(Step.from_callable(same))

    async def main() -> None:
        core = ExecutorCore(cache=manager)
        for data in range(500):
            frames = [make_execution_frame(node, data) for _ in range(2)]
            await asyncio.gather(*map(core.run_root, frames))

    def held() -> int:
        gc.collect()
        return len(gc.get_objects())

    wait(main())
    before = held()
    wait(main())
    assert manager._flights == {}
    assert held() < before + 250
