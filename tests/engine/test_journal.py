"""What a run's journal holds: final and open ends, decisions, answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import AlreadyAnswered, PipelineAbortSignal
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.journal import Decision, Journal
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Failure,
    FrameOutcome,
    Paused,
    Success,
)
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.run import Facility
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import BranchFailureStrategy, ImportStep
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.fakes import Counts, Wait, broken, echo
from tests.engine.pauses import Calls, asks

LOOP, FIRST = FramePath.parse("loop"), FramePath.parse("loop/[0]/draft")
SUCCESS = Success(output=1)
FAILURE = Failure(error=ValueError("no"), feedback="no")
OPEN: list[FrameOutcome] = [
    FAILURE,
    Paused(message="?"),
    *(Aborted(reason=reason, message="") for reason in AbortReason),
    BackgroundLaunched(task_id="loop"),
]


# Ends.


def test_a_success_is_final() -> None:
    journal = Journal()
    assert journal.final_outcome(FIRST) is None
    journal.finish(FIRST, SUCCESS)
    assert journal.final_outcome(FIRST) is SUCCESS
    assert journal.final_outcome(LOOP) is None


@pytest.mark.parametrize("outcome", OPEN, ids=lambda one: type(one).__name__)
def test_every_other_end_is_open_and_superseded_when_the_path_runs_again(
    outcome: FrameOutcome,
) -> None:
    journal = Journal()
    journal.finish(FIRST, outcome)
    assert journal.final_outcome(FIRST) is None
    journal.finish(FIRST, SUCCESS)
    assert journal.final_outcome(FIRST) is SUCCESS


def test_a_failure_is_final_once_its_parent_went_on_past_it() -> None:
    journal = Journal()
    journal.finish(FIRST, FAILURE)
    journal.go_past(FIRST)
    assert journal.final_outcome(FIRST) is FAILURE
    assert journal.final_outcome(LOOP) is None


@pytest.mark.parametrize("outcome", OPEN[1:], ids=lambda one: type(one).__name__)
def test_only_failures_can_be_gone_past(outcome: FrameOutcome) -> None:
    journal = Journal()
    journal.finish(FIRST, outcome)
    journal.go_past(FIRST)
    assert journal.final_outcome(FIRST) is None


# Decisions.


def test_a_decision_is_found_under_its_path_name_and_number() -> None:
    journal = Journal()
    one, two, other = Decision(1), Decision(2), Decision("x")
    journal.decide(LOOP, "exit", one, 1)
    journal.decide(LOOP, "exit", two, 2)
    journal.decide(LOOP, "output", other)
    assert journal.decision(LOOP, "exit", 1) is one
    assert journal.decision(LOOP, "exit", 2) is two
    assert journal.decision(LOOP, "output") is other
    for path, name, number in ((LOOP, "exit", None), (LOOP, "exit", 3), (FIRST, "exit", 1)):
        assert journal.decision(path, name, number) is None


def test_a_decision_of_none_is_known() -> None:
    journal = Journal()
    journal.decide(LOOP, "key", Decision(None))
    assert journal.decision(LOOP, "key") == Decision(None)


# Answers.


def test_the_first_answer_holds() -> None:
    journal = Journal()
    journal.answer(FIRST, [1])
    journal.answer(FIRST, [1])
    assert journal.answers == {FIRST: [1]}
    for other in ([1, 2], (1,), [True], [1.0], None):
        with pytest.raises(AlreadyAnswered, match=r"loop/\[0\]/draft was answered with \[1\]"):
            journal.answer(FIRST, other)
    assert journal.answers == {FIRST: [1]}


def test_none_is_an_answer() -> None:
    journal = Journal()
    journal.answer(FIRST, None)
    assert journal.answers == {FIRST: None}
    with pytest.raises(AlreadyAnswered):
        journal.answer(FIRST, 1)


def test_answers_stand_in_the_order_in_which_they_came() -> None:
    journal = Journal()
    for text in ("b", "a", "c"):
        journal.answer(FramePath.parse(text), text.upper())
    assert list(journal.answers.values()) == ["B", "A", "C"]
    assert [(one.path, one.human_response) for one in journal.hitl_history] == [
        ("b", "B"),
        ("a", "A"),
        ("c", "C"),
    ]


def test_nobody_writes_to_the_answers_from_outside() -> None:
    with pytest.raises(TypeError):
        Journal().answers[FIRST] = 1  # type: ignore[index]


# Which runs have one.


def needs_a_journal(node: Any) -> bool:
    return Facility.JOURNAL in ExecutorCore().facilities_of(node, Counts())


class Agent:
    async def run(self, data: object) -> object:
        return data


@pytest.mark.parametrize(
    ("node", "needed"),
    [
        (echo, False),
        (echo >> broken, False),
        (Step.parallel("both", {"a": echo, "b": echo >> broken}), False),
        (asks(), True),
        (Step(name="agent", agent=Agent()), True),
        (echo >> Step.map_over("each", Step.branch_on("b", len, {1: asks()})), True),
        (ImportStep(name="sub", pipeline=echo >> asks()), True),
        (step(name="falls", fallback_step=asks())(echo.agent), True),
    ],
)
def test_a_run_keeps_a_journal_only_when_something_in_it_may_pause(node: Any, needed: bool) -> None:
    assert needs_a_journal(node) is needed


def test_without_a_pause_nobody_holds_a_runs_journal(wait: Wait) -> None:
    node = Step.branch_on("b", lambda data: 1, {1: echo, 2: asks()})
    result = wait(Flujo(node).run_async().result())
    assert result.success
    assert result.resumption is None


# Running again with a journal: what journal.md calls final is not run, everything else is.


async def twice(node: Any, data: object = None, **frame: Any) -> list[FrameOutcome]:
    """The outcomes of two runs with one journal."""
    journal = Journal()
    outcomes = []
    for _ in range(2):
        own = make_execution_frame(node, data, journal=journal, **frame)
        outcomes.append(await ExecutorCore().run_root(own))
    return outcomes


def flaky(error: BaseException) -> Any:
    """A function that raises when it is first called."""
    errors = [error]

    def work(data: object) -> object:
        if errors:
            raise errors.pop()
        return data

    return work


@pytest.mark.parametrize(
    "error",
    [ValueError(), PipelineAbortSignal("enough"), KeyboardInterrupt(), asyncio.CancelledError()],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["sequence", "loop", "branch", "map", "parallel", "import"])
def test_the_frame_that_ended_a_run_and_those_around_it_run_again_and_nothing_else(
    wait: Wait, kind: str, error: BaseException
) -> None:
    calls = Calls()
    body = calls.step("before") >> calls.step("flaky", flaky(error)) >> calls.step("after")
    inner = {
        "sequence": lambda: body,
        "loop": lambda: Step.loop_until("loop", body, lambda output: True),
        "branch": lambda: Step.branch_on("branch", lambda data: 1, {1: body}),
        "map": lambda: step(name="list")(lambda data: [data]) >> Step.map_over("each", body),
        "parallel": lambda: Step.parallel("both", {"one": body}),
        "import": lambda: ImportStep(name="sub", pipeline=body),
    }[kind]()
    first, second = wait(twice(calls.step("first") >> inner >> calls.step("last"), "x"))
    assert isinstance(first, Failure | Aborted)
    assert isinstance(second, Success)
    assert calls == {"first": 1, "before": 1, "flaky": 2, "after": 1, "last": 1}


def fails(data: object) -> None:
    raise ValueError(data)


GONE_PAST: dict[str, tuple[int, Callable[[Calls, Any], Any]]] = {
    "kept": (
        2,  # items
        lambda calls, ask: Step.map_over(
            "each",
            calls.step("fails", lambda data: fails(data) if data == 1 else data) >> ask,
            on_item_failure="keep",
            max_concurrency=2,
        ),
    ),
    "ignored": (
        1,
        lambda calls, ask: Step.parallel(
            "both",
            {"fails": calls.step("fails", fails), "asks": ask},
            on_branch_failure=BranchFailureStrategy.IGNORE,
        ),
    ),
    "skipped": (
        1,
        lambda calls, ask: Pipeline.of(
            ImportStep(name="sub", pipeline=calls.step("fails", fails), on_failure="skip"), ask
        ),
    ),
    "fallen back from": (
        2,  # attempts
        lambda calls, ask: calls.step("fails", fails, fallback_step=ask, max_retries=1),
    ),
}


@pytest.mark.parametrize(("count", "make"), GONE_PAST.values(), ids=GONE_PAST)
def test_a_failure_that_its_parent_went_past_is_not_run_again(
    wait: Wait, count: int, make: Callable[[Calls, Any], Any]
) -> None:
    calls = Calls()
    first, second = wait(twice(make(calls, asks()), [1, 2]))
    assert isinstance(first, Paused)
    assert isinstance(second, Paused)
    assert calls == {"fails": count}
