"""Answers: checked where they are given, kept once they are, and used whenever they come."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from flujo_nb.engine.answers import answer_of
from flujo_nb.engine.errors import (
    AlreadyAnswered,
    AnswerRejected,
    PausedException,
    ResumeError,
)
from flujo_nb.engine.outcomes import Paused, RunStatus
from flujo_nb.engine.results import AnswerRecorded
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Meter, Usage
from tests.engine.fakes import Box, Counts, Wait, boxed, echo, runner_of
from tests.engine.pauses import Calls, asks, questions, resumed, started


class Address(BaseModel):
    street: str
    zip: int = Field(ge=1000)


class Order(BaseModel):
    addresses: list[Address]
    size: Literal["s", "l"] = "s"


class Picky(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _divides(cls, number: int) -> int:
        return 12 // number


@pytest.mark.parametrize("wanted", [None, str, Any, str | int])
def test_an_answer_that_fits_is_given_back(wanted: Any) -> None:
    assert answer_of("x", wanted, "ask") == "x"


def test_an_answer_becomes_what_was_asked_for() -> None:
    given = {"addresses": [{"street": "a", "zip": "2000"}]}
    order = answer_of(given, Order, "ask")
    assert order == Order(addresses=[Address(street="a", zip=2000)])


REFUSED: list[tuple[Any, Any, list[str]]] = [
    (int, "x", ["no int", "the answer: Input should be a valid integer", "found 'x'"]),
    (list[int], [1, "b", "c"], ["no list", "1: ", "2: ", "found 'b'"]),
    (Literal["a", "b"], "c", ["'a' or 'b'", "found 'c'"]),
    (
        Order,
        {"addresses": [{"zip": 1}], "size": "m"},
        ["no Order", "addresses.0.street: Field required", "addresses.0.zip: ", "size: "],
    ),
    (Order, None, ["the answer: "]),
]


@pytest.mark.parametrize(("wanted", "answer", "parts"), REFUSED)
def test_an_answer_that_does_not_fit_is_refused_with_each_field(
    wanted: Any, answer: Any, parts: list[str]
) -> None:
    with pytest.raises(AnswerRejected) as refused:
        answer_of(answer, wanted, "loop/[0]/ask")
    for part in ("at loop/[0]/ask", *parts):
        assert part in str(refused.value)


def test_a_huge_answer_is_not_quoted_whole() -> None:
    with pytest.raises(AnswerRejected) as refused:
        answer_of("x" * 10_000, int, "ask")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("wanted", "answer", "parts"), REFUSED)
def test_a_question_stays_open_after_an_answer_that_was_refused(
    wait: Wait, wanted: Any, answer: Any, parts: list[str]
) -> None:
    calls = Calls()
    runner = Flujo(calls.step("before") >> asks("ask", "?", input_schema=wanted))
    paused = wait(started(runner, "x"))
    for _ in range(2):
        with pytest.raises(AnswerRejected):
            wait(resumed(runner, paused, answer))
    right = {int: 1, Order: {"addresses": []}}.get(wanted, ["1"] if wanted == list[int] else "a")
    assert wait(resumed(runner, paused, right)).success
    assert calls == {"before": 1}


def test_a_validator_that_breaks_refuses_the_answer_and_leaves_the_question_open(
    wait: Wait,
) -> None:
    runner = Flujo(asks("ask", "?", input_schema=Picky))
    paused = wait(started(runner))
    with pytest.raises(AnswerRejected, match="division"):
        wait(resumed(runner, paused, {"number": 0}))
    assert wait(resumed(runner, paused, {"number": 4})).output == Picky.model_construct(number=3)


def test_an_answer_is_validated_once(wait: Wait) -> None:
    """A validator that changes what it sees must not see its own work."""
    runner = Flujo(asks("ask", "?", input_schema=Picky))
    paused = wait(started(runner))
    assert wait(resumed(runner, paused, {"number": 2})).output.number == 6


@pytest.mark.parametrize("option", ["sink_to", "updates_context"])
def test_an_answer_that_the_context_refuses_opens_the_question_again(
    wait: Wait, option: str
) -> None:
    given = {"sink_to": "total"} if option == "sink_to" else {"updates_context": True}
    bad, good = ("many", 2) if option == "sink_to" else ({"total": "many"}, {"total": 2})
    calls = Calls()
    runner = runner_of(calls.step("before") >> asks("ask", "how many?", **given))
    paused = wait(started(runner))
    again = wait(resumed(runner, paused, bad))
    assert again.status is RunStatus.PAUSED, again
    assert questions(again) == ["ask"]
    for part in ("how many?", "Counts.total", "'many'"):
        assert part in again.paused[0].message
    result = wait(resumed(runner, again, good))
    assert result.final_pipeline_context == Counts(total=2)
    assert calls == {"before": 1}


def test_the_same_answer_again_is_fine_and_another_is_not(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(asks() >> calls.step("after"))
    paused = wait(started(runner))
    first = wait(resumed(runner, paused, 1))
    again = wait(resumed(runner, paused, 1))
    assert (again.status, again.output) == (first.status, first.output) == ("completed", "1 after")
    assert calls == {"after": 1}
    with pytest.raises(AlreadyAnswered, match=r"ask was answered with 1, .* found 2"):
        wait(resumed(runner, paused, 2))


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), ("1", 1), ([1], (1,)), (None, 0)])
def test_answers_are_the_same_only_in_type_and_value(
    wait: Wait, one: object, other: object
) -> None:
    runner = Flujo(asks())
    paused = wait(started(runner))
    wait(resumed(runner, paused, one))
    with pytest.raises(AlreadyAnswered):
        wait(resumed(runner, paused, other))


def test_the_answer_none_is_an_answer(wait: Wait) -> None:
    runner = Flujo(asks() >> Step.from_callable(lambda data: data is None, name="is_none"))
    paused = wait(started(runner))
    assert wait(resumed(runner, paused, None)).output is True


# Two answers at once.


def test_two_answers_at_once_are_one_execution(wait: Wait) -> None:
    """The run that is going on takes the other answer too, without losing its wake-up."""
    calls = Calls()

    async def slow(data: object) -> object:
        for _ in range(5):
            await asyncio.sleep(0)
        return data

    branches = {name: asks() >> calls.step(name, slow) for name in "ab"}
    runner = Flujo(Step.parallel("both", branches) >> calls.step("last"))

    async def whole() -> list[Any]:
        paused = await started(runner)
        resumes = (runner.resume_async(paused, name, pause=f"both/:{name}/ask") for name in "ab")
        return list(await asyncio.gather(*resumes))

    result, other = wait(whole())
    assert isinstance(other, AnswerRecorded)
    assert (other.run_id, str(other.path)) == (result.run_id, "both/:b/ask")
    assert (result.status, result.output) == (
        RunStatus.COMPLETED,
        "{'a': 'a', 'b': 'b'} last",
    )
    assert calls == {"a": 1, "b": 1, "last": 1}


@pytest.mark.parametrize("turns", range(8))
def test_an_answer_at_any_moment_of_a_run_is_used(wait: Wait, turns: int) -> None:
    calls = Calls()

    async def slow(data: object) -> object:
        for _ in range(4):
            await asyncio.sleep(0)
        return data

    branches = {name: asks() >> calls.step(name, slow) for name in "ab"}
    runner = Flujo(Step.parallel("both", branches))

    async def whole() -> Any:
        paused = await started(runner)
        first = asyncio.create_task(runner.resume_async(paused, 1, pause="both/:a/ask"))
        for _ in range(turns):
            await asyncio.sleep(0)
        second = await runner.resume_async(paused, 2, pause="both/:b/ask")
        return await first, second

    results = [one for one in wait(whole()) if not isinstance(one, AnswerRecorded)]
    assert results[-1].output == {"a": 1, "b": 2}
    assert calls == {"a": 1, "b": 1}


def test_the_same_question_answered_twice_at_once_is_one_execution(wait: Wait) -> None:
    calls = Calls()

    async def slow(data: object) -> object:
        await asyncio.sleep(0)
        return data

    runner = Flujo(asks() >> calls.step("after", slow))

    async def whole() -> list[Any]:
        paused = await started(runner)
        return list(await asyncio.gather(*(runner.resume_async(paused, "ok") for _ in range(2))))

    result, other = wait(whole())
    assert result.output == "ok"
    assert isinstance(other, AnswerRecorded)
    assert calls == {"after": 1}


def test_a_policy_that_pauses_again_where_it_was_answered_does_not_spin(wait: Wait) -> None:
    calls = Calls()

    async def insist(core: Any, frame: Any) -> Any:
        calls["insist"] += 1
        return Paused(message="still?") if calls["insist"] < 5 else None

    runner = Flujo(Box(name="box"), registry=boxed(insist))
    paused = wait(started(runner))
    again = wait(resumed(runner, paused, "yes"))
    assert (again.status, calls["insist"]) == (RunStatus.PAUSED, 2)


# Agents that ask.


class Asking:
    """An agent that asks when it is told to ask, and else works on what it gets."""

    def __init__(self) -> None:
        self.got: list[object] = []

    async def run(self, data: object, meter: Meter) -> str:
        self.got.append(data)
        assert len(self.got) < 9, "it is asked again and again"
        meter.used = Usage(tokens=2)
        if data == "ask":
            raise PausedException("which one?")
        return f"took {data}"


@pytest.mark.parametrize("deep", [False, True])
def test_an_agent_that_pauses_gets_the_answer_as_its_input(wait: Wait, deep: bool) -> None:
    agent, calls = Asking(), Calls()
    node: Any = calls.step("before", lambda data: data) >> Step(name="agent", agent=agent)
    runner = Flujo(Step.parallel("both", {"one": node}) if deep else node >> echo)
    paused = wait(started(runner, "ask"))
    path = "both/:one/agent" if deep else "agent"
    assert (questions(paused), paused.paused[0].message) == ([path], "which one?")
    result = wait(resumed(runner, paused, "this"))
    assert result.output == ({"one": "took this"} if deep else "took this")
    assert agent.got == ["ask", "this"]
    assert calls == {"before": 1}
    assert result.total_tokens == 4


def test_an_agent_may_pause_again(wait: Wait) -> None:
    agent = Asking()
    runner = Flujo(Step(name="agent", agent=agent))
    paused = wait(started(runner, "ask"))
    again = wait(resumed(runner, paused, "ask"))
    assert again.status is RunStatus.PAUSED
    assert wait(resumed(runner, again, "this")).output == "took this"
    assert agent.got == ["ask", "ask", "this"]


def test_every_error_about_answers_is_one_about_resuming() -> None:
    assert issubclass(AnswerRejected, ResumeError)
    assert issubclass(AnswerRejected, ValueError)
    assert issubclass(AlreadyAnswered, ResumeError)
