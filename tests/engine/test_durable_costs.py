"""What a durable step costs: against a commit of the same rows, and against itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import process_time

import pytest

from benches.containers import fan_out_of, loop_of
from benches.durable import (
    MOST_AT_ONCE,
    MOST_HELD_MS,
    MOST_RESUMING_S,
    commit_figures,
    compared,
    durable_figures,
    growth_of_context,
    growth_of_loop,
    held_ms,
    resuming_s,
)
from benches.engine import sequence_of
from benches.harness import WrongResult
from benches.works import Case

pytestmark = pytest.mark.warm("measures what runs cost in stores of their own")


def least(measure: Callable[[], float], wanted: float, tries: int = 6) -> float:
    """The figure that ``measure`` finds, again when something else disturbed the first."""
    found = measure()
    for _ in range(tries - 1):
        if found <= wanted:
            break
        found = min(found, measure())
    return found


CASES: dict[str, Callable[[int], Case]] = {"sequence": sequence_of, "loop": loop_of}


@pytest.mark.thorough
@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_a_step_that_a_power_cut_leaves_costs_little_more_than_its_commit(
    make: Callable[[int], Case],
) -> None:
    """The goal is 1.3 (``benches/README.md``); a gate leaves room for what else uses the disk."""
    case = make(400)
    assert least(lambda: compared(case, "full", passes=5), 1.5) <= 1.5


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_a_step_that_the_death_of_its_process_leaves_costs_two_commits(
    make: Callable[[int], Case],
) -> None:
    """The goal is 1.3 (``benches/README.md``): the engine's part is about as much as sqlite's."""
    case = make(600)
    assert least(lambda: compared(case, "normal", passes=9), 2.5) <= 2.5


@pytest.mark.thorough
def test_frames_in_flight_together_share_commits() -> None:
    case = fan_out_of(500)
    found = least(lambda: compared(case, "full", at_once=True, passes=3), MOST_AT_ONCE)
    assert found <= MOST_AT_ONCE


def test_the_cost_of_a_durable_step_does_not_grow_up_to_the_ten_thousandth() -> None:
    assert least(lambda: growth_of_loop(10_000, tries=1), 1.2) <= 1.2


def test_a_step_that_appends_to_a_long_list_writes_as_much_as_to_a_short_one() -> None:
    assert growth_of_context(100, 2_000) <= 1.05


def test_a_loop_of_ten_thousand_recorded_iterations_goes_on_in_half_a_second() -> None:
    """By processor time, which is all it takes: it waits for nothing but its turn."""

    def seconds() -> float:
        return resuming_s(10_000, tries=3, clock=process_time)

    assert least(seconds, MOST_RESUMING_S, tries=3) <= MOST_RESUMING_S


def test_a_store_that_another_process_locks_does_not_stop_the_loop() -> None:
    assert least(held_ms, MOST_HELD_MS, tries=3) <= MOST_HELD_MS


def test_the_smallest_benchmark_gives_its_figures() -> None:
    figures = [
        *commit_figures(passes=1, steps=3, iterations=4, many=5),
        *durable_figures(iterations=100, appends=40, tries=1),
    ]
    assert all(figure.value > 0 for figure in figures)
    assert len({(figure.what, figure.measure) for figure in figures}) == len(figures)


@pytest.mark.parametrize(
    "case",
    [
        replace(sequence_of(3), output=4),
        replace(sequence_of(3), frames=5),
        replace(sequence_of(3), last="s4"),
    ],
    ids=["output", "frames", "last"],
)
def test_a_wrong_result_gives_no_figure(case: Case) -> None:
    with pytest.raises(WrongResult):
        compared(case, "normal", passes=1)
