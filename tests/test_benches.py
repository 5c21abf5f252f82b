"""The benchmarks measure what they say: a step that was skipped gives no figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from benches.containers import (
    BareGather,
    beside_figures,
    cached,
    collected_figures,
    container_figures,
    fan_out_of,
    growth_figures,
    kept_per_step,
    known,
    loop_of,
    map_of,
    memory_figures,
    routed,
    sleeping,
    sleeping_figures,
    toggling,
)
from benches.engine import RunnerRuns, one_step, one_step_figures, sequence_of
from benches.harness import Costs, Figure, Work, WrongResult, table
from benches.works import BareAwaits, Case, FloorRuns, FrameRuns, Listening, ledger_of

CASES: dict[str, Callable[[], Case]] = {
    "one step": one_step,
    "sequence": lambda: sequence_of(3),
    "loop": lambda: loop_of(3),
    "loop without outputs": lambda: toggling(3),
    "routed": lambda: routed(4),
    "map": lambda: map_of(3),
    "map, at once": lambda: map_of(3, at_once=3),
    "fan-out": lambda: fan_out_of(3),
    "fan-out of steps that wait": lambda: fan_out_of(3, sleeping),
}


async def same(number: int) -> int:
    return number


async def refuses(number: int) -> int:
    raise ValueError(number)


class Halved(Work):
    """Runs, and loses half of what came out."""

    def __init__(self, kept: list[int]) -> None:
        super().__init__("halved", 2)
        self._kept = kept

    async def run(self) -> None:
        self._kept.append(1)

    def check(self) -> None:
        if len(self._kept) != self.steps:
            raise WrongResult("one of two")


@pytest.mark.parametrize(
    "figures",
    [
        lambda: one_step_figures(passes=1, times=2),
        lambda: container_figures(passes=1, iterations=4, branches=3),
        lambda: sleeping_figures(passes=1, branches=3),
        lambda: growth_figures(passes=1, iterations=100, branches=20),
        lambda: collected_figures(passes=1, iterations=100),
        lambda: beside_figures(passes=1, iterations=10, branches=10),
        lambda: memory_figures(iterations=10),
    ],
)
def test_the_smallest_benchmark_gives_its_figures(
    figures: Callable[[], Sequence[Figure]],
) -> None:
    found = figures()
    assert all(figure.value > 0 for figure in found)
    assert len({(figure.what, figure.measure) for figure in found}) == len(found)


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_engine_and_floor_give_what_a_case_says(make: Callable[[], Case]) -> None:
    case = make()
    works = [
        FloorRuns("floor", case, 2),
        FrameRuns("engine", case, 2),
        FrameRuns("journal", case, 2, recorded=True),
        FrameRuns("hook", case, 2, listening=Listening()),
        FrameRuns("beside a context", case, 2, context=ledger_of(0)),
    ]
    costs = Costs(works, passes=1)
    assert all(costs.ratio(work.name, work.name) == 1 for work in works)


@pytest.mark.parametrize(
    "work", [lambda: BareAwaits(3), lambda: BareGather(3), lambda: RunnerRuns("r", one_step(), 2)]
)
def test_work_that_is_done_has_a_cost(work: Callable[[], Work]) -> None:
    one = work()
    assert Costs([one], passes=1).ratio(one.name, one.name) == 1


def test_a_hit_runs_no_step() -> None:
    case = cached(3)
    with pytest.raises(WrongResult, match="frames: found 7, wanted 4"):
        Costs([FrameRuns("nothing is known", case)], passes=1)
    with pytest.raises(WrongResult, match="records: found 7, wanted 4"):
        Costs([FloorRuns("nothing is known", case)], passes=1)
    core = known(case)
    Costs([FrameRuns("hits", case, core=core), FloorRuns("hits of the floor", case)], passes=1)


WRONG: dict[str, Callable[[], Work]] = {
    "a step does not count": lambda: FrameRuns("sequence", sequence_of(3, same), 2),
    "a step fails": lambda: FrameRuns("sequence", sequence_of(3, refuses), 2),
    "a branch does not count": lambda: FrameRuns("fan", fan_out_of(3, same)),
    "the floor's does not": lambda: FloorRuns("fan", fan_out_of(3, same)),
    "a frame is missing": lambda: FrameRuns("loop", replace(loop_of(3), frames=5)),
    "a record is missing": lambda: FloorRuns("loop", replace(loop_of(3), frames=5)),
    "the last stands elsewhere": lambda: FrameRuns("loop", replace(loop_of(3), last="loop/body")),
    "the context stays": lambda: FrameRuns(
        "sequence", sequence_of(2), 2, context=ledger_of(0), counts=True
    ),
    "a run does not count": lambda: RunnerRuns("runner", one_step(same), 2),
    "half is lost": lambda: Halved([]),
}


@pytest.mark.parametrize("work", WRONG.values(), ids=WRONG)
def test_a_wrong_result_is_refused(work: Callable[[], Work]) -> None:
    with pytest.raises(WrongResult):
        Costs([work()], passes=1)


def test_what_iterations_leave_behind_is_counted() -> None:
    """A journal holds more of an iteration; nothing is held by a wrong run."""
    assert 0 < kept_per_step(loop_of(300), recorded=False) < kept_per_step(loop_of(300), True)
    with pytest.raises(WrongResult):
        kept_per_step(replace(loop_of(3), output=4), recorded=False)


def test_the_table_is_aligned_and_tells_whether_goals_hold() -> None:
    lines = table([Figure("a", "x", 1.5, 2), Figure("longer", "x", 12, 2), Figure("b", "ms", 1)])
    ends = list(zip(lines.splitlines()[1:], ("1.50", "12.00", "1.00"), strict=True))
    assert [line.split()[-1] for line in lines.splitlines()] == ["holds", "yes", "NO", "1.00"]
    assert len({line.index(figure) + len(figure) for line, figure in ends}) == 1
