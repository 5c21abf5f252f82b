"""What is measured: runs of the same work by the engine, by the floor, and by a bare await."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from benches.floor import FloorCore, FloorNode, Record
from benches.harness import Work, WrongResult, expect
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import AnyEvent, Event, Hook
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Chunk, FrameOutcome, StepOutcome, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.step_history_tracker import path_of
from flujo_nb.engine.steps import Node
from flujo_nb.engine.usage import UsageLimits

LIMITS = UsageLimits(total_tokens_limit=1_000_000)
AWAIT, FLOOR = "await", "floor"


async def plus_one(number: int) -> int:
    """The body of every step. It counts, so that a step which was left out shows."""
    return number + 1


class Ledger(BaseModel):
    """A context: a number that steps count in, and rows that they leave alone."""

    count: int = 0
    rows: list[dict[str, str]] = []


def ledger_of(megabytes: int) -> Ledger:
    """A ledger whose rows hold ``megabytes`` of text."""
    text = "x" * 1_000
    return Ledger(rows=[{"text": text + str(n)} for n in range(megabytes * 1_000)])


@dataclass(frozen=True)
class Case:
    """The same work for the engine and for the floor, and what must come out of either.

    Costs are those of one of ``steps``. ``frames`` counts all frames of a run, and ``last`` is
    the path of the last one.
    """

    node: Node
    floor: FloorNode
    steps: int
    frames: int
    last: str
    output: object
    data: object = 0


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
    """Runs of the floor."""

    def __init__(self, name: str, case: Case, times: int = 1) -> None:
        super().__init__(name, case.steps * times)
        self._case, self._times = case, times
        self._core = FloorCore()
        self._records: list[Record] = []

    async def run(self) -> None:
        """Run ``times`` times."""
        for _ in range(self._times):
            run = self._core.run_root(self._case.floor, self._case.data, 1_000_000)
            self._records.append(await run)

    def check(self) -> None:
        """Each run has the output, and a record for each frame."""
        expect(self.name, len(self._records), self._times)
        for record in self._records:
            expect(self.name, record.output, self._case.output)
            expect(f"{self.name}: records", _records_in(record), self._case.frames)
        self._records = []


def _records_in(record: Record) -> int:
    return 1 + sum(map(_records_in, record.children))


class Listening:
    """A hook that gets every event and keeps it."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def listen(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)  # type: ignore[arg-type]  # every event is one of the union


class FrameRuns(Work):
    """Runs of a node through `ExecutorCore.run_root`, with a quota that has limits."""

    def __init__(
        self,
        name: str,
        case: Case,
        times: int = 1,
        *,
        context: Ledger | None = None,
        counts: bool = False,
        listening: Listening | None = None,
        recorded: bool = False,
        core: ExecutorCore | None = None,
    ) -> None:
        super().__init__(name, case.steps * times)
        self._case, self._times = case, times
        self._ledger, self._counts, self._listening = context, counts, listening
        self._context: BaseModel | None = context
        self._hooks = () if listening is None else (Hook.of(listening.listen),)
        self._recorded = recorded
        self._core = core or ExecutorCore()
        self._ended: list[tuple[FrameOutcome, Journal | None]] = []

    async def run(self) -> None:
        """Make a root frame and run it, ``times`` times."""
        for _ in range(self._times):
            journal = Journal() if self._recorded else None
            frame = make_execution_frame(
                self._case.node,
                self._case.data,
                context=self._context,
                limits=LIMITS,
                hooks=self._hooks,
                journal=journal,
            )
            self._ended.append((await self._core.run_root(frame), journal))

    def check(self) -> None:
        """Each run has the frames and the output; was recorded, and was told of."""
        expect(self.name, len(self._ended), self._times)
        for outcome, journal in self._ended:
            if not isinstance(outcome, Success):
                raise WrongResult(f"{self.name}: {outcome}")
            expect(self.name, outcome.output, self._case.output)
            kinds = [type(one) for one in _frames_of(outcome)]
            expect(f"{self.name}: frames", len(kinds), self._case.frames)
            expect(f"{self.name}: frames", set(kinds), {Success})
            path, last = _last_in(outcome)
            expect(f"{self.name}: the last frame", str(path), self._case.last)
            if journal is not None:
                expect(f"{self.name}: its record", journal.final_outcome(path), last)
            self._check_context(outcome)
        if self._listening is not None:
            told = len(self._listening.events)
            expect(f"{self.name}: events", told, 2 * self._case.frames * self._times)
            self._listening.events.clear()
        self._ended = []

    def _check_context(self, outcome: Success) -> None:
        if self._ledger is not None:
            after = ContextUpdateManager().merge(self._ledger, outcome.update)
            expect(f"{self.name}: counted", after.count, self._case.steps if self._counts else 0)
            expect(f"{self.name}: the context before", self._ledger.count, 0)


def _frames_of(outcome: StepOutcome) -> Iterator[StepOutcome]:
    yield outcome
    if not isinstance(outcome, Chunk):
        for child in outcome.children:
            yield from _frames_of(child)


def _last_in(outcome: FrameOutcome) -> tuple[FramePath, FrameOutcome]:
    """The last frame of a run, and its path."""
    path = path_of(outcome, FramePath())
    while outcome.children:
        last = outcome.children[-1]
        if isinstance(last, Chunk):
            raise WrongResult(f"a frame ended with {last}")
        outcome, path = last, path_of(last, path)
    return path, outcome
