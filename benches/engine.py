"""What a step costs: alone, in sequences, with a hook that listens, with contexts of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from pydantic import BaseModel

from benches.floor import FloorCore, FloorSequence, FloorStep, Record
from benches.harness import PASSES, Costs, Figure, Work, expect
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import AnyEvent, Event, Hook
from flujo_nb.engine.outcomes import FrameOutcome, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_history_tracker import StepHistoryTracker
from flujo_nb.engine.steps import Node, Pipeline, Step, steps_of
from flujo_nb.engine.usage import UsageLimits

LIMITS = UsageLimits(total_tokens_limit=1_000_000)
STEPS_PER_PASS = 4_000
AWAIT, FLOOR = "await", "floor"


async def plus_one(number: int) -> int:
    """The body of every step. It counts, so that a step which was left out shows."""
    return number + 1


def plus_one_sync(number: int) -> int:
    """The same, synchronous."""
    return number + 1


async def plus_one_in_context(number: int, context: Ledger) -> int:
    """The same, and it counts in the context too."""
    context.count += 1
    return number + 1


class Ledger(BaseModel):
    """A context: a number that steps count in, and rows that they leave alone."""

    count: int = 0
    rows: list[dict[str, str]] = []


def ledger_of(megabytes: int) -> Ledger:
    """A ledger whose rows hold ``megabytes`` of text."""
    text = "x" * 1_000
    return Ledger(rows=[{"text": text + str(n)} for n in range(megabytes * 1_000)])


def sequence_of(length: int, function: Callable[..., object]) -> Pipeline[int, int]:
    """A pipeline of ``length`` steps, each with a name of its own."""
    return Pipeline(tuple(Step.from_callable(function, name=f"s{n}") for n in range(length)))


class BareAwaits(Work):
    """What all is compared with: the same body, awaited."""

    def __init__(self, times: int = 30_000) -> None:
        super().__init__(AWAIT, times)
        self._number = 0

    async def run(self) -> None:
        """Await the body ``steps`` times."""
        number = 0
        for _ in range(self.steps):
            number = await plus_one(number)
        self._number = number

    def check(self) -> None:
        """Each await added one."""
        expect(self.name, self._number, self.steps)


class FloorRuns(Work):
    """Runs of the floor: of one step when ``length`` is ``None``, else of a sequence."""

    def __init__(self, length: int | None, times: int) -> None:
        super().__init__(FLOOR if length is None else f"{FLOOR} {length}", (length or 1) * times)
        one = FloorStep("s0", plus_one)
        self._node = one if length is None else FloorSequence([one] * length)
        self._length, self._times = length, times
        self._core = FloorCore()
        self._records: list[Record] = []

    async def run(self) -> None:
        """Run ``times`` times."""
        for _ in range(self._times):
            self._records.append(await self._core.run_root(self._node, 0, 1_000_000))

    def check(self) -> None:
        """Each run has a record for each step, and each step added one."""
        expect(self.name, len(self._records), self._times)
        for record in self._records:
            expect(self.name, record.output, self._length or 1)
            expect(self.name, len(record.children), self._length or 0)
        self._records = []


class Listening:
    """A hook that gets every event and keeps it."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def listen(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)  # type: ignore[arg-type]  # every event is one of the union


class FrameRuns(Work):
    """Runs of a step or sequence through `ExecutorCore.run_root`, with a quota that has limits."""

    def __init__(
        self,
        name: str,
        node: Node,
        times: int,
        *,
        context: Ledger | None = None,
        counts: bool = False,
        listening: Listening | None = None,
    ) -> None:
        self.names = [one.name for one in steps_of(node)]
        super().__init__(name, len(self.names) * times)
        self._node, self._times = node, times
        self._ledger, self._counts, self._listening = context, counts, listening
        self._context: BaseModel | None = context
        self._hooks = () if listening is None else (Hook.of(listening.listen),)
        self._core = ExecutorCore()
        self._outcomes: list[FrameOutcome] = []

    async def run(self) -> None:
        """Make a root frame and run it, ``times`` times."""
        for _ in range(self._times):
            frame = make_execution_frame(
                self._node, 0, context=self._context, limits=LIMITS, hooks=self._hooks
            )
            self._outcomes.append(await self._core.run_root(frame))

    def check(self) -> None:
        """Each run has the children and the output, stands where it should, and was told of."""
        expect(self.name, len(self._outcomes), self._times)
        inside = len(self.names) if isinstance(self._node, Pipeline) else 0
        for outcome in self._outcomes:
            expect(self.name, type(outcome), Success)
            expect(self.name, len(outcome.children), inside)
            self._check_output(outcome)
        results = StepHistoryTracker().results(self._outcomes[-1], FramePath())
        expect(self.name, [str(result.path) for result in results], self.names)
        expect(self.name, all(result.success for result in results), True)
        if self._listening is not None:
            frames = self._times * (inside + 1)
            expect(f"{self.name}: events", len(self._listening.events), 2 * frames)
            self._listening.events.clear()
        self._outcomes = []

    def _check_output(self, outcome: FrameOutcome) -> None:
        assert isinstance(outcome, Success)
        expect(self.name, outcome.output, len(self.names))
        if self._ledger is not None:
            after = ContextUpdateManager().merge(self._ledger, outcome.update)
            expect(f"{self.name}: counted", after.count, len(self.names) if self._counts else 0)
            expect(f"{self.name}: the context before", self._ledger.count, 0)


class RunnerRuns(Work):
    """Runs of a step or sequence through `Flujo.run_async`."""

    def __init__(self, name: str, node: Node, times: int) -> None:
        self.names = [one.name for one in steps_of(node)]
        super().__init__(name, len(self.names) * times)
        self._times = times
        self._flujo = Flujo(node, usage_limits=LIMITS)
        self._results: list[PipelineResult] = []

    async def run(self) -> None:
        """Run ``times`` times; nobody reads the history."""
        for _ in range(self._times):
            self._results.append(await self._flujo.run_async(0))

    def check(self) -> None:
        """Each run succeeded, with every step in its history."""
        expect(self.name, len(self._results), self._times)
        for result in self._results:
            expect(self.name, (result.success, result.output), (True, len(self.names)))
        history = self._results[-1].step_history
        expect(self.name, [str(one.path) for one in history], self.names)
        expect(self.name, all(one.success for one in history), True)
        self._results = []


def one_step_figures(passes: int = PASSES, times: int = 1_000) -> Sequence[Figure]:
    """A run of one step: alone, with cold caches, as a cell runs it; and run after run."""
    step = Step[int, int].from_callable(plus_one, name="s0")
    core, runner, hook = "run_root", "Flujo.run_async", "run_root, hook listening"

    def works(count: int) -> Sequence[Work]:
        return (
            BareAwaits(),
            FloorRuns(None, count),
            FrameRuns(core, step, count),
            RunnerRuns(runner, step, count),
            FrameRuns(hook, step, count, listening=Listening()),
        )

    # Some microseconds at a time: reading the processor time would take as long.
    alone = Costs(works(1), 3 * passes, perf_counter)
    in_a_row = Costs(works(times), passes)
    figures = [Figure("one run of one step, floor", "x await", alone.ratio(FLOOR, AWAIT))]
    for name, goal in ((core, 1.75), (runner, 1.75), (hook, None)):
        what = f"one run of one step, {name}"
        figures.append(Figure(what, "x floor", alone.ratio(name, FLOOR), goal))
    figures.append(
        Figure("runs of one step in a row, floor", "x await", in_a_row.ratio(FLOOR, AWAIT))
    )
    for name in (core, runner, hook):
        what = f"runs of one step in a row, {name}"
        figures.append(Figure(what, "x floor", in_a_row.ratio(name, FLOOR)))
    return figures


def sequence_figures(passes: int = PASSES, steps: int = STEPS_PER_PASS) -> Sequence[Figure]:
    """Sequences of 10, 100 and 1,000 steps: async, sync, and with a hook that listens."""
    lengths = (10, 100, 1_000)
    works: list[Work] = [BareAwaits()]
    for length in lengths:
        times = max(1, steps // length)
        plain = sequence_of(length, plus_one)
        works += [
            FloorRuns(length, times),
            FrameRuns(f"async {length}", plain, times),
            FrameRuns(f"sync {length}", sequence_of(length, plus_one_sync), times),
            RunnerRuns(f"runner {length}", plain, times),
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
            Figure(f"{what}, hook listening", "x await", costs.ratio(f"hook {length}", AWAIT)),
        ]
    for kind in ("async", "sync", "runner", "hook"):
        growth = costs.ratio(f"{kind} 1000", f"{kind} 10")
        figures.append(Figure(f"growth from 10 to 1,000 steps, {kind}", "x", growth, 1.2))
    return figures


def context_figures(passes: int = PASSES, steps: int = STEPS_PER_PASS) -> Sequence[Figure]:
    """Steps that take a context, and steps that do not, when it is small and when it is large."""
    plain, counting = sequence_of(100, plus_one), sequence_of(10, plus_one_in_context)
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
