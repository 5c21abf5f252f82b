"""What a step costs inside loops, maps, branches and caches, and whether that grows."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from time import perf_counter
from typing import TypeAlias

from benches.floor import (
    FloorCached,
    FloorChoice,
    FloorCore,
    FloorFanOut,
    FloorLoop,
    FloorMap,
    FloorSequence,
    FloorStep,
)
from benches.harness import PASSES, Costs, Figure, Work, expect
from benches.works import (
    AWAIT,
    FLOOR,
    BareAwaits,
    Case,
    FloorRuns,
    FrameRuns,
    Listening,
    ledger_of,
    plus_one,
)
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.path import BranchKey
from flujo_nb.engine.step_kinds import (
    CacheStep,
    ConditionalStep,
    LoopStep,
    MapStep,
    ParallelStep,
)
from flujo_nb.engine.steps import Node, Pipeline, Step

ITERATIONS, BRANCHES, CACHED = 10_000, 1_000, 100
MOST_KEPT = 200
"""The bytes that an iteration may keep."""

Body: TypeAlias = Callable[[int], Awaitable[int]]

ENGINE, JOURNAL, HOOK = "engine", "journal", "hook listening"


async def other(number: int) -> int:
    """1 of 0, and 0 of 1: an output that takes no memory of its own."""
    return 1 - number


async def sleeping(number: int) -> int:
    """The body of a step that waits."""
    await asyncio.sleep(0.01)
    return number + 1


def step_of(name: str, body: Body = plus_one) -> Step[int, int]:
    """A step called ``name``."""
    return Step.from_callable(body, name=name)


def parity(number: int) -> int:
    """The key of a branch: 0 or 1."""
    return number % 2


def loop_of(iterations: int) -> Case:
    """A loop around one step."""

    def reached(number: int) -> bool:
        return number >= iterations

    return Case(
        LoopStep[int, int](
            name="loop",
            loop_body_pipeline=step_of("body"),
            exit_condition_callable=reached,
            max_loops=iterations,
        ),
        FloorLoop(FloorStep("body", plus_one), reached, iterations),
        steps=iterations,
        frames=iterations + 1,
        last=f"loop/[{iterations - 1}]/body",
        output=iterations,
    )


def toggling(iterations: int) -> Case:
    """A loop whose outputs take no memory. Its condition counts, over all runs."""
    asked = count(1)

    def reached(_: int) -> bool:
        return next(asked) % iterations == 0

    return Case(
        LoopStep[int, int](
            name="loop",
            loop_body_pipeline=step_of("body", other),
            exit_condition_callable=reached,
            max_loops=iterations,
        ),
        FloorLoop(FloorStep("body", other), reached, iterations),
        steps=iterations,
        frames=iterations + 1,
        last=f"loop/[{iterations - 1}]/body",
        output=iterations % 2,
    )


def routed(iterations: int) -> Case:
    """A loop around a choice of two branches, which are taken in turn."""

    def reached(number: int) -> bool:
        return number >= iterations

    branches: dict[BranchKey, Node] = {0: step_of("even"), 1: step_of("odd")}
    route = ConditionalStep[int, int](name="route", condition_callable=parity, branches=branches)
    choice = FloorChoice(parity, {0: FloorStep("even", plus_one), 1: FloorStep("odd", plus_one)})
    last = iterations - 1
    return Case(
        LoopStep[int, int](
            name="loop",
            loop_body_pipeline=route,
            exit_condition_callable=reached,
            max_loops=iterations,
        ),
        FloorLoop(choice, reached, iterations),
        steps=iterations,
        frames=2 * iterations + 1,
        last=f"loop/[{last}]/route/:={last % 2}/{'odd' if last % 2 else 'even'}",
        output=iterations,
    )


def map_of(items: int, at_once: int = 1) -> Case:
    """A map of one step over ``items`` items, ``at_once`` of them in flight."""
    return Case(
        MapStep[list[int], list[int]](
            name="map", pipeline_to_run=step_of("body"), max_concurrency=at_once
        ),
        FloorMap(FloorStep("body", plus_one), at_once > 1),
        steps=items,
        frames=items + 1,
        last=f"map/[{items - 1}]/body",
        output=list(range(1, items + 1)),
        data=list(range(items)),
    )


def fan_out_of(branches: int, body: Body = plus_one) -> Case:
    """Branches of one step each."""
    names = [f"b{n}" for n in range(branches)]
    return Case(
        ParallelStep[int, dict[str, int]](
            name="fan", branches={name: step_of("body", body) for name in names}
        ),
        FloorFanOut({name: FloorStep("body", body) for name in names}),
        steps=branches,
        frames=branches + 1,
        last=f"fan/:{names[-1]}/body",
        output=dict.fromkeys(names, 1),
    )


def cached(length: int) -> Case:
    """A sequence of steps whose results are known."""
    names = [f"c{n}" for n in range(length)]
    return Case(
        Pipeline(tuple(CacheStep(name=name, wrapped_step=step_of("body")) for name in names)),
        FloorSequence([FloorCached(FloorStep(name, plus_one)) for name in names]),
        steps=length,
        frames=length + 1,  # of a hit there is no frame inside
        last=names[-1],
        output=length,
    )


def known(case: Case) -> ExecutorCore:
    """A core that knows the results of the case's steps. Its floor knows them then, too."""
    core = ExecutorCore()
    with asyncio.Runner() as runner:
        runner.run(core.run_root(make_execution_frame(case.node, case.data)))
        runner.run(FloorCore().run_root(case.floor, case.data, 0))
    return core


class BareGather(Work):
    """What sleeping branches are compared with: a task for each."""

    def __init__(self, tasks: int) -> None:
        super().__init__(AWAIT, tasks)
        self._outputs: list[int] = []

    async def run(self) -> None:
        """Sleep in all tasks at once."""
        self._outputs = await asyncio.gather(*(sleeping(0) for _ in range(self.steps)))

    def check(self) -> None:
        """Each added one."""
        expect(self.name, self._outputs, [1] * self.steps)


def kept_per_step(case: Case, recorded: bool) -> float:
    """The bytes that a run's outcome (and journal, if it is ``recorded``) holds, by step."""
    runs = FrameRuns(f"{JOURNAL if recorded else ENGINE}, memory", case, recorded=recorded)
    with asyncio.Runner() as runner:
        runner.run(runs.run())  # not counted: here plans are made
        runs.check()
        gc.collect()
        tracemalloc.start()
        try:
            runner.run(runs.run())
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        runs.check()
    return held / case.steps


def _compared(
    what: str, case: Case, passes: int, *, core: ExecutorCore | None = None, hook: bool = False
) -> Sequence[Figure]:
    """One case against the floor and the bare await; with a journal, and with a hook."""
    works: list[Work] = [
        BareAwaits(),
        FloorRuns(FLOOR, case),
        FrameRuns(ENGINE, case, core=core),
        FrameRuns(JOURNAL, case, core=core, recorded=True),
    ]
    if hook:
        works.append(FrameRuns(HOOK, case, listening=Listening()))
    costs = Costs(works, passes)
    figures = [
        Figure(f"{what}, floor", "x await", costs.ratio(FLOOR, AWAIT)),
        Figure(what, "x await", costs.ratio(ENGINE, AWAIT)),
        Figure(what, "x floor", costs.ratio(ENGINE, FLOOR), 1.6),
        Figure(f"{what}, {JOURNAL}", "x await", costs.ratio(JOURNAL, AWAIT)),
    ]
    if hook:
        figures.append(Figure(f"{what}, {HOOK}", "x await", costs.ratio(HOOK, AWAIT)))
    return figures


def container_figures(
    passes: int = PASSES, iterations: int = ITERATIONS, branches: int = BRANCHES
) -> Sequence[Figure]:
    """Each kind of container, of many steps that only compute."""
    hits = cached(CACHED)
    core = known(hits)
    at_once = map_of(branches, at_once=branches)
    return [
        *_compared(f"loop of {iterations:,}", loop_of(iterations), passes, hook=True),
        *_compared(f"loop of {iterations:,}, routed", routed(iterations), passes),
        *_compared(f"fan-out of {branches:,}", fan_out_of(branches), passes, hook=True),
        *_compared(f"map of {branches:,}", map_of(branches), passes),
        *_compared(f"map of {branches:,}, all at once", at_once, passes),
        *_compared("cached hit", hits, passes, core=core),
    ]


def sleeping_figures(passes: int = PASSES, branches: int = BRANCHES) -> Sequence[Figure]:
    """Branches that wait 10 ms, all at once: the whole of it, in wall time."""
    case = fan_out_of(branches, sleeping)
    works = (
        BareGather(branches),
        FloorRuns(FLOOR, case),
        FrameRuns(ENGINE, case),
        FrameRuns(JOURNAL, case, recorded=True),
    )
    costs = Costs(works, passes, perf_counter)
    what = f"fan-out of {branches:,} x sleep 10 ms"
    return [
        Figure(f"{what}, floor", "x gather", costs.ratio(FLOOR, AWAIT)),
        Figure(what, "x gather", costs.ratio(ENGINE, AWAIT)),
        Figure(what, "x floor", costs.ratio(ENGINE, FLOOR), 1.6),
        Figure(f"{what}, {JOURNAL}", "x gather", costs.ratio(JOURNAL, AWAIT)),
    ]


def growth_figures(
    passes: int = PASSES // 3, iterations: int = ITERATIONS, branches: int = BRANCHES
) -> Sequence[Figure]:
    """The cost of a step among many against that of one among few, with no garbage collected."""
    lengths = (iterations // 100, iterations, 10 * iterations)
    few, many = fan_out_of(10), fan_out_of(branches)
    works: list[Work] = []
    for kind in (ENGINE, JOURNAL):
        recorded = kind == JOURNAL
        works += [
            FrameRuns(f"{kind} {one}", loop_of(one), max(1, iterations // one), recorded=recorded)
            for one in lengths
        ]
        works.append(FrameRuns(f"{kind} fan 10", few, branches // 10, recorded=recorded))
        works.append(FrameRuns(f"{kind} fan", many, recorded=recorded))
    costs = Costs(works, passes, collects=False)
    figures = []
    for kind in (ENGINE, JOURNAL):
        for one in lengths[1:]:
            what = f"growth from {lengths[0]:,} to {one:,} iterations, {kind}"
            ratio = costs.ratio(f"{kind} {one}", f"{kind} {lengths[0]}")
            figures.append(Figure(what, "x", ratio, 1.2))
        what = f"growth from 10 to {branches:,} branches, {kind}"
        figures.append(Figure(what, "x", costs.ratio(f"{kind} fan", f"{kind} fan 10"), 1.2))
    return figures


def collected_figures(passes: int = PASSES // 3, iterations: int = ITERATIONS) -> Sequence[Figure]:
    """The same with garbage collected: of the growth that is left, the floor has some as well."""
    few, many = iterations // 100, 10 * iterations
    works: list[Work] = []
    for one, times in ((few, 100), (many, 1)):
        case = loop_of(one)
        works.append(FloorRuns(f"{FLOOR} {one}", case, times))
        works.append(FrameRuns(f"{ENGINE} {one}", case, times))
        works.append(FrameRuns(f"{JOURNAL} {one}", case, times, recorded=True))
    costs = Costs(works, passes)
    what = f"growth from {few:,} to {many:,} iterations, collecting"
    return [
        Figure(f"{what}, {kind}", "x", costs.ratio(f"{kind} {many}", f"{kind} {few}"))
        for kind in (FLOOR, ENGINE, JOURNAL)
    ]


def beside_figures(
    passes: int = PASSES, iterations: int = ITERATIONS, branches: int = BRANCHES
) -> Sequence[Figure]:
    """Containers of steps that take no context, beside a large one."""
    works = [
        FrameRuns(f"{name} {megabytes}", case, context=ledger_of(megabytes))
        for name, case in (("loop", loop_of(iterations)), ("fan-out", fan_out_of(branches)))
        for megabytes in (0, 10)
    ]
    costs = Costs(works, passes)
    return [
        Figure(
            f"{name} that takes no context, 10 MB",
            "x none",
            costs.ratio(f"{name} 10", f"{name} 0"),
            1.1,
        )
        for name in ("loop", "fan-out")
    ]


def memory_figures(iterations: int = ITERATIONS) -> Sequence[Figure]:
    """What an iteration leaves behind, apart from its output; and with a number for an output."""
    figures = []
    for told, make, recorded, most in (
        ("", toggling, False, MOST_KEPT),
        (", and a number each", loop_of, False, None),
        (f", {JOURNAL}", toggling, True, None),
    ):
        for many in (iterations, 10 * iterations):
            kept = kept_per_step(make(many), recorded)
            figures.append(Figure(f"kept of {many:,} iterations{told}", "bytes each", kept, most))
    return figures
