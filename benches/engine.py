"""What a step costs: alone, in sequences, with a hook that listens, with contexts of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from benches.floor import FloorSequence, FloorStep
from benches.harness import PASSES, Costs, Figure, Work, expect
from benches.works import (
    AWAIT,
    FLOOR,
    LIMITS,
    BareAwaits,
    Case,
    FloorRuns,
    FrameRuns,
    Ledger,
    Listening,
    ledger_of,
    plus_one,
)
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Pipeline, Step, steps_of

STEPS_PER_PASS = 4_000


def plus_one_sync(number: int) -> int:
    """The body of every step, synchronous."""
    return number + 1


async def plus_one_in_context(number: int, context: Ledger) -> int:
    """The same, and it counts in the context too."""
    context.count += 1
    return number + 1


def one_step(function: Callable[..., object] = plus_one) -> Case:
    """A run of one step."""
    step: Step[int, int] = Step.from_callable(function, name="s0")
    return Case(step, FloorStep("s0", plus_one), steps=1, frames=1, last="s0", output=1)


def sequence_of(length: int, function: Callable[..., object] = plus_one) -> Case:
    """A run of a pipeline of ``length`` steps, each with a name of its own."""
    names = [f"s{n}" for n in range(length)]
    return Case(
        Pipeline(tuple(Step.from_callable(function, name=name) for name in names)),
        FloorSequence([FloorStep(name, plus_one) for name in names]),
        steps=length,
        frames=length + 1,
        last=names[-1],
        output=length,
    )


class RunnerRuns(Work):
    """Runs of a step or sequence through `Flujo.run_async`."""

    def __init__(self, name: str, case: Case, times: int) -> None:
        super().__init__(name, case.steps * times)
        self._case, self._times = case, times
        self._flujo = Flujo(case.node, usage_limits=LIMITS)
        self._results: list[PipelineResult] = []

    async def run(self) -> None:
        """Run ``times`` times; nobody reads the history."""
        for _ in range(self._times):
            self._results.append(await self._flujo.run_async(self._case.data))

    def check(self) -> None:
        """Each run succeeded, with every step in its history."""
        expect(self.name, len(self._results), self._times)
        for result in self._results:
            expect(self.name, (result.success, result.output), (True, self._case.output))
        history = self._results[-1].step_history
        names = [one.name for one in steps_of(self._case.node)]
        expect(self.name, [str(one.path) for one in history], names)
        expect(self.name, all(one.success for one in history), True)
        self._results = []


def one_step_figures(passes: int = PASSES, times: int = 1_000) -> Sequence[Figure]:
    """A run of one step: alone, with cold caches, as a cell runs it; and run after run."""
    step = one_step()
    core, runner, hook = "run_root", "Flujo.run_async", "run_root, hook listening"
    journal = "run_root, journal"

    def works(count: int) -> Sequence[Work]:
        return (
            BareAwaits(),
            FloorRuns(FLOOR, step, count),
            FrameRuns(core, step, count),
            RunnerRuns(runner, step, count),
            FrameRuns(journal, step, count, recorded=True),
            FrameRuns(hook, step, count, listening=Listening()),
        )

    # Some microseconds at a time: reading the processor time would take as long.
    alone = Costs(works(1), 3 * passes, perf_counter)
    in_a_row = Costs(works(times), passes)
    figures = [Figure("one run of one step, floor", "x await", alone.ratio(FLOOR, AWAIT))]
    for name, goal in ((core, 1.75), (runner, 1.75), (journal, None), (hook, None)):
        what = f"one run of one step, {name}"
        figures.append(Figure(what, "x floor", alone.ratio(name, FLOOR), goal))
    figures.append(
        Figure("runs of one step in a row, floor", "x await", in_a_row.ratio(FLOOR, AWAIT))
    )
    for name in (core, runner, journal, hook):
        what = f"runs of one step in a row, {name}"
        figures.append(Figure(what, "x floor", in_a_row.ratio(name, FLOOR)))
    return figures


def sequence_figures(passes: int = PASSES, steps: int = STEPS_PER_PASS) -> Sequence[Figure]:
    """Sequences of 10, 100 and 1,000 steps: async, sync, and with a hook that listens."""
    lengths = (10, 100, 1_000)
    works: list[Work] = [BareAwaits()]
    for length in lengths:
        times = max(1, steps // length)
        plain = sequence_of(length)
        works += [
            FloorRuns(f"{FLOOR} {length}", plain, times),
            FrameRuns(f"async {length}", plain, times),
            FrameRuns(f"sync {length}", sequence_of(length, plus_one_sync), times),
            RunnerRuns(f"runner {length}", plain, times),
            FrameRuns(f"journal {length}", plain, times, recorded=True),
            FrameRuns(f"hook {length}", plain, times, listening=Listening()),
        ]
    costs = Costs(works, passes)
    figures: list[Figure] = []
    for length in lengths:
        what, floor = f"sequence of {length:,}", f"{FLOOR} {length}"
        most = 20 if length >= 100 else None  # in ten steps the run itself weighs
        figures += [
            Figure(f"{what}, floor", "x await", costs.ratio(floor, AWAIT)),
            Figure(f"{what}, async", "x await", costs.ratio(f"async {length}", AWAIT), most),
            Figure(f"{what}, async", "x floor", costs.ratio(f"async {length}", floor), 1.6),
            Figure(f"{what}, sync", "x async", costs.ratio(f"sync {length}", f"async {length}"), 1),
            Figure(
                f"{what}, Flujo.run_async", "x await", costs.ratio(f"runner {length}", AWAIT), most
            ),
            Figure(f"{what}, journal", "x await", costs.ratio(f"journal {length}", AWAIT)),
            Figure(f"{what}, hook listening", "x await", costs.ratio(f"hook {length}", AWAIT)),
        ]
    for kind in ("async", "sync", "runner", "journal", "hook"):
        growth = costs.ratio(f"{kind} 1000", f"{kind} 10")
        figures.append(Figure(f"growth from 10 to 1,000 steps, {kind}", "x", growth, 1.2))
    return figures


def context_figures(passes: int = PASSES, steps: int = STEPS_PER_PASS) -> Sequence[Figure]:
    """Steps that take a context, and steps that do not, when it is small and when it is large."""
    plain, counting = sequence_of(100), sequence_of(10, plus_one_in_context)
    small, middle, large = ledger_of(0), ledger_of(1), ledger_of(10)

    def counted(name: str, context: Ledger) -> FrameRuns:
        return FrameRuns(name, counting, max(1, steps // 40), context=context, counts=True)

    works: Sequence[Work] = (
        BareAwaits(),
        FrameRuns("none", plain, max(1, steps // 100)),
        FrameRuns("10 MB beside", plain, max(1, steps // 100), context=large),
        counted("small", small),
        counted("1 MB", middle),
        counted("10 MB", large),
    )
    costs = Costs(works, passes)
    takes = "step that takes a context"
    return [
        Figure(f"{takes}, small", "x await", costs.ratio("small", AWAIT)),
        Figure(f"{takes}, 1 MB", "x small", costs.ratio("1 MB", "small"), 1.1),
        Figure(f"{takes}, 10 MB", "x small", costs.ratio("10 MB", "small"), 1.1),
        Figure("step that takes none, 10 MB", "x none", costs.ratio("10 MB beside", "none"), 1.1),
    ]
