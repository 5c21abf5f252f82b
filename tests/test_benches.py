"""The benchmarks measure what they say: a step that was skipped gives no figure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benches.engine import (
    BareAwaits,
    FloorRuns,
    FrameRuns,
    Listening,
    RunnerRuns,
    ledger_of,
    one_step_figures,
    plus_one,
    sequence_of,
)
from benches.harness import Costs, Figure, Work, WrongResult, table
from flujo_nb.engine.steps import Step


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


def test_the_smallest_benchmark_gives_its_figures() -> None:
    figures = one_step_figures(passes=1, times=2)
    assert all(figure.value > 0 for figure in figures)
    assert [figure.measure for figure in figures].count("x floor") == 6


@pytest.mark.parametrize(
    "work",
    [
        lambda: BareAwaits(3),
        lambda: FloorRuns(None, 2),
        lambda: FloorRuns(3, 2),
        lambda: FrameRuns("sequence", sequence_of(3, plus_one), 2, listening=Listening()),
        lambda: FrameRuns("context", sequence_of(2, plus_one), 2, context=ledger_of(0)),
        lambda: RunnerRuns("runner", Step.from_callable(plus_one), 2),
    ],
)
def test_work_that_is_done_has_a_cost(work: Callable[[], Work]) -> None:
    one = work()
    assert Costs([one], passes=1).ratio(one.name, one.name) == 1


@pytest.mark.parametrize(
    "work",
    [
        lambda: FrameRuns("a step does not count", sequence_of(3, same), 2),
        lambda: FrameRuns("a step fails", sequence_of(3, refuses), 2),
        lambda: FrameRuns(
            "the context stays", sequence_of(2, plus_one), 2, context=ledger_of(0), counts=True
        ),
        lambda: RunnerRuns("a step does not count", Step.from_callable(same), 2),
        lambda: Halved([]),
    ],
)
def test_a_wrong_result_is_refused(work: Callable[[], Work]) -> None:
    with pytest.raises(WrongResult):
        Costs([work()], passes=1)


def test_the_table_is_aligned_and_tells_whether_goals_hold() -> None:
    lines = table([Figure("a", "x", 1.5, 2), Figure("longer", "x", 12, 2), Figure("b", "ms", 1)])
    ends = list(zip(lines.splitlines()[1:], ("1.50", "12.00", "1.00"), strict=True))
    assert [line.split()[-1] for line in lines.splitlines()] == ["holds", "yes", "NO", "1.00"]
    assert len({line.index(figure) + len(figure) for line, figure in ends}) == 1
