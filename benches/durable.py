"""What a durable step costs: against commits of the same rows by sqlite alone, and against itself.

A run in a store writes rows; sqlite alone then writes the same rows, with their fences and in the
same transactions, to a file that was made and opened as a store's is. That one's log is emptied
when nothing is measured; a store empties its own when it has grown large, and that counts.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from subprocess import PIPE
from time import perf_counter, process_time, thread_time
from typing import Literal, TextIO, TypeAlias, cast

from pydantic import BaseModel

from benches.containers import fan_out_of, loop_of
from benches.engine import sequence_of
from benches.harness import Costs, Figure, Work, expect
from benches.works import Case
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import LoopStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store import statements as sql
from flujo_nb.engine.store.schema import open_file
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Row, RowKind

Durability: TypeAlias = Literal["normal", "full"]
Groups: TypeAlias = Sequence[Sequence[Row]]

PASSES = 7
STEPS, ITERATIONS, FEW, MANY = 1_000, 10_000, 64, 1_000
MOST, MOST_AT_ONCE = 1.3, 0.3
"""What a step may cost, in commits: one after the other, and many at once."""

MODES: Mapping[Durability, str] = {"normal": "x commit", "full": "x commit, wall"}

MOST_RESUMING_S, MOST_HELD_MS, LOCKED_S = 0.5, 20, 0.4

DURABLE, RAW = "durable", "raw"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for stores, on the disk that temporary files are on."""
    with tempfile.TemporaryDirectory(prefix="flujo-bench-") as name:
        yield Path(name)


class DurableRuns(Work):
    """New runs of a case, kept in ``store``; ``rows`` are those of the last one."""

    def __init__(self, name: str, case: Case, store: SqliteStore) -> None:
        super().__init__(name, case.steps)
        self.rows: Sequence[Row] = ()
        self._case, self._store = case, store
        self._runner = Flujo(case.node, state_backend=store)
        self._numbers = count(1)
        self._run_id = ""
        self._output: object = None

    async def run(self) -> None:
        """Run once, under a new id."""
        self._run_id = f"run {next(self._numbers)}"
        result = await self._runner.run_async(self._case.data, run_id=self._run_id)
        self._output = result.output

    def check(self) -> None:
        """The run gave its output, and the store holds how each of its frames ended."""
        expect(self.name, self._output, self._case.output)
        expect(self.name, self._store.run(self._run_id).status, RunStatus.COMPLETED)
        self.rows = self._store.rows(self._run_id)
        ended = {row.path: row.status for row in self.rows if row.kind == RowKind.FINISHED}
        expect(f"{self.name}: frames", len(ended), self._case.frames)
        expect(f"{self.name}: frames", set(ended.values()), {"success"})
        expect(f"{self.name}: the last frame", self._case.last in ended, True)


class RawCommits(Work):
    """Commits of rows, group by group, by sqlite alone."""

    def __init__(self, name: str, groups: Groups, steps: int, path: Path, mode: Durability):
        super().__init__(name, steps)
        self._groups = groups
        self._connection = open_file(path, mode, 0.0)
        weakref.finalize(self, self._connection.close)
        self._fence = 0
        self._number = self._another_run()

    def _another_run(self) -> int:
        self._fence += 1
        values = (f"run {self._fence}", 0.0, 0.0, b"{}", None, None)
        number = self._connection.execute(sql.NEW_RUN, values).lastrowid or 0
        self._connection.execute(sql.LEND, (self._fence, None, 0.0, 0.0, number))
        return number

    async def run(self) -> None:
        """Commit all rows."""
        execute, number, fence = self._connection.execute, self._number, self._fence
        for rows in self._groups:
            if len(rows) == 1:
                execute(sql.APPEND, (number, *rows[0], fence))
            else:
                values = [(number, *row, fence) for row in rows]
                execute("begin immediate")
                self._connection.executemany(sql.APPEND, values)
                execute("commit")

    def check(self) -> None:
        """All rows are there; the next ones are another run's, and begin with an empty log."""
        name = f"run {self._fence}"
        found = self._connection.execute(sql.ROWS, (name, sql.LAST_SEQ)).fetchall()
        expect(self.name, len(found), sum(map(len, self._groups)))
        self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        self._number = self._another_run()


def as_committed(rows: Sequence[Row]) -> Groups:
    """The rows of a run in which one step follows the other, by transaction.

    What was decided is written with the frame that ended next.
    """
    ends = [n + 1 for n, row in enumerate(rows) if row.kind == RowKind.FINISHED]
    return [rows[start:end] for start, end in pairwise([0, *ends])]


def one_by_one(rows: Sequence[Row]) -> Groups:
    """A transaction for each frame that ended."""
    return [[row] for row in rows if row.kind == RowKind.FINISHED]


class LeastCosts(Costs):
    """Costs whose ratios are those of the cheapest passes.

    How long a disk takes to sync depends on all that is going on: it only ever takes longer.
    """

    def ratio(self, name: str, base: str) -> float:
        """How many times ``base``'s least cost the least of the work called ``name`` is."""
        return min(self._seconds[name]) / min(self._seconds[base])


def compared(case: Case, mode: Durability, at_once: bool = False, passes: int = PASSES) -> float:
    """How many commits a durable step of ``case`` costs.

    In ``normal`` mode by processor time, all threads counted; in ``full`` mode by wall time,
    because there a commit waits for the disk, and of the cheapest passes. ``at_once``: against one
    commit for each frame.
    """
    with folder() as place:
        durable = DurableRuns(DURABLE, case, SqliteStore(place / "runs.db", durability=mode))
        with asyncio.Runner() as runner:
            runner.run(durable.run())
        durable.check()
        groups = one_by_one(durable.rows) if at_once else as_committed(durable.rows)
        raw = RawCommits(RAW, groups, case.steps, place / "raw.db", mode)
        if mode == "normal":
            return Costs([durable, raw], passes, process_time, collects=False).ratio(DURABLE, RAW)
        return LeastCosts([durable, raw], passes, perf_counter, collects=False).ratio(DURABLE, RAW)


def commit_figures(
    passes: int = PASSES, steps: int = STEPS, iterations: int = ITERATIONS, many: int = MANY
) -> Sequence[Figure]:
    """A durable step in each kind of run, against a commit."""
    figures = []
    for mode, measure in MODES.items():
        looped = iterations if mode == "normal" else steps
        for what, case, at_once in (
            (f"sequence of {steps:,}", sequence_of(steps), False),
            (f"loop of {looped:,}", loop_of(looped), False),
            (f"fan-out of {FEW}", fan_out_of(FEW), True),
            (f"fan-out of {many:,}", fan_out_of(many), True),
        ):
            cost = compared(case, mode, at_once, passes)
            goal = MOST_AT_ONCE if at_once else MOST
            figures.append(Figure(f"durable {what}, {mode}", measure, cost, goal))
    return figures


Body: TypeAlias = Callable[..., Awaitable[int]]


def loop_around(body: Body, iterations: int) -> LoopStep[int, int]:
    """A loop around one step, whose numbers go up to ``iterations``."""

    def reached(number: int) -> bool:
        return number >= iterations

    return LoopStep[int, int](
        name="loop",
        loop_body_pipeline=Step.from_callable(body, name="body"),
        exit_condition_callable=reached,
        max_loops=iterations,
    )


class Noticing:
    """The body of a loop's steps; at some numbers it notices what its thread has used so far."""

    def __init__(self, *numbers: int) -> None:
        self.seconds = dict.fromkeys(numbers, 0.0)

    async def plus_one(self, number: int) -> int:
        """One more."""
        if number in self.seconds:
            self.seconds[number] = thread_time()
        return number + 1


def growth_of_loop(iterations: int = ITERATIONS, tries: int = PASSES) -> float:
    """What the last tenth of a loop's durable iterations costs, in first tenths.

    In time of the loop's own thread: the one that empties the log has a rhythm of its own.
    """
    tenth = iterations // 10
    body = Noticing(0, tenth, iterations - 1 - tenth, iterations - 1)
    case = replace(loop_of(iterations), node=loop_around(body.plus_one, iterations))
    ratios = []
    with folder() as place, asyncio.Runner() as runner:
        runs = DurableRuns(DURABLE, case, SqliteStore(place / "runs.db", durability="normal"))
        for _ in range(tries):
            gc.collect()
            gc.disable()
            try:
                runner.run(runs.run())
            finally:
                gc.enable()
            runs.check()
            begun, early, late, ended = body.seconds.values()
            ratios.append((ended - late) / (early - begun))
    return median(ratios)


class Items(BaseModel):
    """A context with a list that grows."""

    items: list[str] = []


async def append_one(number: int, context: Items) -> int:
    """Add an item to the list, as long as any other."""
    context.items.append(f"{number:08}")
    return number + 1


def growth_of_context(early: int = 100, late: int = 2_000) -> float:
    """What the ``late``-th step that appends to a list writes, in bytes of the ``early``-th.

    Medians of twenty steps, with all that their rows hold.
    """
    with folder() as place, asyncio.Runner() as runner:
        store = SqliteStore(place / "runs.db", durability="normal")
        flujo = Flujo(loop_around(append_one, late), context_model=Items, state_backend=store)
        result = runner.run(whole(flujo.run_async(0, run_id="r")))
        rows = [row for row in store.rows("r") if row.path.endswith("/body")]
    items = [f"{number:08}" for number in range(late)]
    expect("a growing list", cast(Items, result.final_pipeline_context).items, items)
    expect("a growing list: rows", len(rows), late)
    sizes = [len(repr(tuple(row))) for row in rows]
    return median(sizes[late - 20 : late]) / median(sizes[max(0, early - 20) : early])


class Failing:
    """The body of a loop's steps; it fails at ``last``, and counts its calls."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.calls = 0

    async def plus_one(self, number: int) -> int:
        """One more, unless that was the last one."""
        self.calls += 1
        if number == self.last:
            raise ValueError(f"{number} is the last")
        return number + 1


def resuming_s(
    iterations: int = ITERATIONS,
    tries: int = PASSES,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Seconds until a loop of ``iterations`` that are recorded has run one more.

    From an unopened store on, as in a new process.
    """
    body = Failing(iterations)
    loop = loop_around(body.plus_one, iterations + 1)
    seconds = []
    with folder() as place, asyncio.Runner() as runner:
        for number in range(tries + 1):
            gc.collect()
            body.calls = 0
            started = clock()
            flujo = Flujo(loop, state_backend=SqliteStore(place / "runs.db", durability="normal"))
            result = runner.run(whole(flujo.run_async(0, run_id="r")))
            seconds.append(clock() - started)
            expect("resuming", result.status, RunStatus.FAILED)
            expect("resuming: steps that ran", body.calls, 1 if number else iterations + 1)
    return median(seconds[1:])


_LOCKS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    connection.execute("begin immediate")
    print("locked", flush=True)
    time.sleep(float(line))
    connection.execute("rollback")
"""


@contextmanager
def locker(path: Path) -> Iterator[Callable[[float], None]]:
    """Another process that locks the database at ``path`` when asked to, for some seconds."""
    command = [sys.executable, "-c", _LOCKS, str(path)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        said, told = cast(TextIO, process.stdout), cast(TextIO, process.stdin)

        def lock(seconds: float) -> None:
            told.write(f"{seconds}\n")
            expect("the other process", said.readline(), "locked\n")

        yield lock


def held_ms(locked_s: float = LOCKED_S) -> float:
    """For how many ms the loop stands still at most, while another process locks the store.

    The run itself waits for as long as the lock is held.
    """

    async def main(place: Path) -> float:
        store = SqliteStore(place, durability="normal")
        flujo = Flujo(sequence_of(20).node, state_backend=store)
        await flujo.run_async(0, run_id="not counted")
        turns: list[float] = []
        with locker(place) as lock:
            lock(0)
            gc.collect()
            lock(locked_s)
            started = perf_counter()
            running = asyncio.ensure_future(whole(flujo.run_async(0, run_id="r")))
            while not running.done():
                turns.append(perf_counter())
                await asyncio.sleep(0.001)
            took = perf_counter() - started
        expect("a locked store", (await running).output, 20)
        expect("a locked store: was waited for", took > 0.75 * locked_s, True)
        return 1e3 * max(after - before for before, after in pairwise(turns))

    with folder() as place:
        return asyncio.run(main(place / "runs.db"))


async def whole(run: Awaitable[PipelineResult]) -> PipelineResult:
    """A run, as a coroutine."""
    return await run


def durable_figures(
    iterations: int = ITERATIONS, appends: int = 2_000, tries: int = PASSES
) -> Sequence[Figure]:
    """What does not grow with a run, and what waits for nobody."""
    early = appends // 20
    resumed, loop = resuming_s(iterations, tries), growth_of_loop(iterations, tries)
    return [
        Figure(f"durable loop of {iterations:,}, last tenth", "x first tenth", loop, 1.2),
        Figure(
            f"step {appends:,} that appends to a list",
            f"x step {early}, bytes",
            growth_of_context(early, appends),
            1.1,
        ),
        Figure(f"resuming a loop of {iterations:,}", "s", resumed, MOST_RESUMING_S),
        Figure("store locked for 400 ms: gap in the loop", "ms", held_ms(), MOST_HELD_MS),
    ]
