"""Steps that wait for a human: what they ask, what they make of the answer, and where they may be.

How a run goes on with an answer is in ``test_resume.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from flujo_nb.engine.errors import ConfigurationError, TemplateResolutionError
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Failure, Paused, RunStatus
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import (
    BranchFailureStrategy,
    HumanInTheLoopStep,
    ImportStep,
)
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.fakes import Box, Log, Wait, boxed, echo, outcome_of, runner_of
from tests.engine.pauses import Calls, answered, asks, questions, resumed, started, told


class Invoice(BaseModel):
    number: int
    lines: list[str] = []


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


def asked(wait: Wait, node: Any, data: object = None, **options: Any) -> str:
    """The only question of a run."""
    (pause,) = wait(started(runner_of(node, **options), data)).paused
    message: str = pause.message
    return message


# What is asked.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("which one?", "which one?"),
        (7, "7"),
        (None, "null"),
        ({"a": [1]}, '{"a": [1]}'),
        (Invoice(number=3), '{"number":3,"lines":[]}'),
    ],
)
def test_without_a_message_the_question_is_the_input_as_text(
    wait: Wait, data: object, message: str
) -> None:
    assert asked(wait, asks(), data) == message


def test_a_message_is_filled_from_the_input_the_context_and_other_steps(wait: Wait) -> None:
    question = asks("ask", "{{ data.number }} of {{ context.names[0] }}, like {{ steps.echo }}?")
    node = echo >> Step.from_callable(lambda data: Invoice(number=data), name="make") >> question
    given = {"names": ["ann", "bob"]}
    assert asked(wait, node, 4, initial_context_data=given) == "4 of ann, like 4?"


def test_a_message_may_quote_the_answer_before(wait: Wait) -> None:
    runner = runner_of(asks("name", "who?") >> asks("greet", "{{ resume }}, how are you?"))
    result = wait(answered(runner, None, "ann"))
    assert result.paused[0].message == "ann, how are you?"


def test_the_json_of_a_message_is_text(wait: Wait) -> None:
    message = '{"answer": {"a": [1, {}]}} or {data}?'
    assert asked(wait, asks("ask", message.replace("}}", "} }"))) == message.replace("}}", "} }")


def test_a_message_that_cannot_be_filled_fails_the_step_and_says_what_there_is(wait: Wait) -> None:
    outcome = wait(outcome_of(asks("ask", "{{ data.nmber }}?"), Invoice(number=1)))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, TemplateResolutionError)
    for part in ("the message of step 'ask'", "number, lines", "did you mean 'number'"):
        assert part in outcome.feedback


def test_the_pause_of_a_run_without_a_context(wait: Wait) -> None:
    outcome = wait(outcome_of(asks("ask", "go on with {{ data }}?"), 1, journal=Journal()))
    assert isinstance(outcome, Paused)
    assert (outcome.message, outcome.schema) == ("go on with 1?", None)


# What is answered. How answers are refused is in ``test_answers.py``.

SCHEMAS: list[tuple[Any, Any, Any, dict[str, Any]]] = [
    (int, "7", 7, {"type": "integer"}),
    (Literal["a", "b"], "b", "b", {"enum": ["a", "b"], "type": "string"}),
    (list[int], ("1", 2), [1, 2], {"type": "array", "items": {"type": "integer"}}),
    (str | None, None, None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    (Size, "s", Size.SMALL, {"enum": ["s", "l"], "title": "Size", "type": "string"}),
    (dict[str, bool], {"x": True}, {"x": True}, {"type": "object"}),
    (Invoice, {"number": 1}, Invoice(number=1), {"type": "object", "title": "Invoice"}),
]


@pytest.mark.parametrize(("wanted", "answer", "output", "schema"), SCHEMAS)
def test_a_pause_has_the_schema_of_its_answer_and_the_step_gives_that_type(
    wait: Wait, wanted: Any, answer: Any, output: Any, schema: dict[str, Any]
) -> None:
    runner = runner_of(asks("ask", "?", input_schema=wanted))
    paused = wait(started(runner))
    assert schema.items() <= paused.paused[0].schema.items()
    result = wait(resumed(runner, paused, answer))
    assert result.output == output
    assert type(result.output) is type(output)


@pytest.mark.warm("answers with an object that is no data")
def test_without_a_schema_any_answer_will_do_and_is_the_output_as_it_is(wait: Wait) -> None:
    answer = object()
    runner = runner_of(asks("ask", "?"))
    paused = wait(started(runner))
    assert paused.paused[0].schema is None
    assert wait(resumed(runner, paused, answer)).output is answer


def test_a_schema_that_no_answer_can_be_checked_against_is_refused_when_declared() -> None:
    with pytest.raises(ConfigurationError, match="ask"):
        Flujo(asks("ask", "?", input_schema=object())).run()


def test_an_answer_goes_where_the_step_says(wait: Wait) -> None:
    node = asks("ask", "?", input_schema=int, sink_to="total") >> asks("more", updates_context=True)
    result = wait(answered(runner_of(node), None, "5", {"names": ["x"], "by_kind": {"a": 1}}))
    assert result.final_pipeline_context.model_dump() == {
        "total": 5,
        "names": ["x"],
        "by_kind": {"a": 1},
    }


def test_a_model_as_an_answer_updates_the_context_with_what_it_sets(wait: Wait) -> None:
    class Change(BaseModel):
        total: int = 0
        names: list[str] = ["not set"]

    node = asks("ask", "?", input_schema=Change, updates_context=True)
    result = wait(
        answered(runner_of(node, initial_context_data={"names": ["a"]}), None, {"total": 2})
    )
    assert (result.final_pipeline_context.total, result.final_pipeline_context.names) == (2, ["a"])


@pytest.mark.parametrize("option", [{"config": StepConfig(max_retries=1)}, {"fallback_step": echo}])
def test_a_question_has_no_attempts_of_its_own(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"'ask' takes no"):
        HumanInTheLoopStep(name="ask", **option)


# Where a question may be.

Ask = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A pipeline made of ``calls``' steps and of questions, and the answers other than ``ok``."""

    make: Callable[[Calls, Ask], Any]
    answers: Mapping[str, object] = field(default_factory=dict)


async def note(data: object, context: Log) -> object:
    context.items.append(data)
    return data


def stops(output: object, context: object) -> bool:
    return output == "stop" or str(output).startswith("stop ")


def loop(calls: Calls, *body: Any) -> Any:
    return Step.loop_until(
        "loop",
        Pipeline.of(*body),
        calls.counted("exit", stops),
        initial_input_to_loop_body_mapper=calls.counted("first", lambda data, context: data),
        iteration_input_mapper=calls.counted("next", lambda output, context, number: number),
        loop_output_mapper=calls.counted("last", lambda output, context: output),
    )


def branch(calls: Calls, chosen: Any, **options: Any) -> Any:
    key = calls.counted("key", lambda data, context: "on" if data is not None else "off")
    return Step.branch_on("branch", key, {"on": chosen, "off": echo}, **options)


def each(body: Any, items: int = 2, **options: Any) -> Any:
    make = Step.from_callable(lambda data: [f"{data}{n}" for n in range(items)], name="make")
    return make >> Step.map_over("each", body, **options)


def ask_between(calls: Calls, ask: Ask) -> Any:
    return calls.step("before") >> ask("ask") >> calls.step("note", note)


def fails(data: object) -> None:
    raise ValueError(data)


STOPS = {"loop/[0]/ask": "go", "loop/[1]/ask": "stop"}
CASES = {
    "a sequence": Case(ask_between),
    "one after the other": Case(lambda c, ask: ask("ask") >> c.step("between") >> ask("again")),
    "the sole step of a loop": Case(lambda c, ask: loop(c, ask("ask")), STOPS),
    "a loop": Case(lambda c, ask: loop(c, *ask_between(c, ask).steps), STOPS),
    "the last step of a loop": Case(lambda c, ask: loop(c, c.step("before"), ask("ask")), STOPS),
    "a branch": Case(lambda c, ask: branch(c, ask_between(c, ask))),
    "the sole step of a branch": Case(
        lambda c, ask: branch(c, ask("ask"), sink_to="items"), {"branch/:on/ask": ["ok"]}
    ),
    "a branch with mappers": Case(
        lambda c, ask: branch(
            c,
            ask_between(c, ask),
            branch_input_mapper=c.counted("enter", lambda data, context: f"<{data}"),
            branch_output_mapper=c.counted("leave", lambda output, key, context: f"{output}>"),
        )
    ),
    "a branch in a loop": Case(
        lambda c, ask: loop(c, branch(c, ask_between(c, ask))),
        {"loop/[0]/branch/:on/ask": "go", "loop/[1]/branch/:on/ask": "stop"},
    ),
    "a map": Case(lambda c, ask: each(ask_between(c, ask))),
    "the sole step of a map": Case(lambda c, ask: each(ask("ask"))),
    "a concurrent map": Case(lambda c, ask: each(ask_between(c, ask), 3, max_concurrency=2)),
    "an import": Case(
        lambda c, ask: ImportStep(
            name="sub", pipeline=ask_between(c, ask), inherit_context=True, updates_context=True
        )
    ),
    "a runner as a step": Case(
        lambda c, ask: runner_of(ask_between(c, ask), context_model=Log).as_step("sub")
    ),
    "a parallel branch": Case(
        lambda c, ask: Step.parallel(
            "both", {"asks": ask_between(c, ask), "works": c.step("works") >> c.step("goes on")}
        )
    ),
    "several parallel branches": Case(
        lambda c, ask: Step.parallel(
            "both",
            {name: c.step(f"before {name}") >> ask("ask") >> c.step(name) for name in "abc"},
            reduce=c.counted("reduce", lambda results: [one.output for one in results]),
        )
    ),
    "parallel branches one at a time": Case(
        lambda c, ask: Step.parallel(
            "both", {name: c.step(f"{name}1") >> ask("ask") for name in "ab"}, max_concurrency=1
        )
    ),
    "beside a branch that failed": Case(
        lambda c, ask: Step.parallel(
            "both",
            {"asks": ask_between(c, ask), "fails": c.step("fails", fails)},
            on_branch_failure=BranchFailureStrategy.IGNORE,
            reduce=c.counted("reduce", lambda results: [one.feedback for one in results]),
        )
    ),
    "beside an item that failed": Case(
        lambda c, ask: each(
            c.step("before", lambda data: data if data != "x0" else fails(data)) >> ask("ask"),
            3,
            max_concurrency=3,
            on_item_failure="keep",
        )
    ),
    "after an import that was skipped": Case(
        lambda c, ask: (
            ImportStep(name="sub", pipeline=c.step("fails", fails), on_failure="skip") >> ask("ask")
        )
    ),
    "the branches of a router": Case(
        lambda c, ask: Step.dynamic_parallel_branch(
            "route",
            c.step("router", lambda data: ["b", "a"]),
            {name: ask("ask") >> c.step(name) for name in "abc"},
        )
    ),
    "the router": Case(
        lambda c, ask: Step.dynamic_parallel_branch(
            "route", ask("which"), {name: c.step(name) for name in "abc"}
        ),
        {"route/router": ["c", "a"]},
    ),
    "a fallback": Case(lambda c, ask: c.step("fails", fails, fallback_step=ask("ask"))),
    "a loop in a branch in a map": Case(
        lambda c, ask: each(branch(c, loop(c, ask_between(c, ask))), max_concurrency=2),
        {f"each/[{n}]/branch/:on/loop/[{n}]/ask": "stop" for n in range(2)},
    ),
    "a map in a parallel branch in a loop": Case(
        lambda c, ask: loop(
            c,
            Step.parallel(
                "both",
                {"asks": each(ask_between(c, ask), max_concurrency=2), "works": c.step("works")},
                reduce=c.counted("reduce", lambda results: results[0].output[-1]),
            ),
        ),
        {f"loop/[1]/both/:asks/each/[{n}]/ask": "stop" for n in range(2)},
    ),
    "an import in an import": Case(
        lambda c, ask: ImportStep(
            name="outer",
            pipeline=c.step("first") >> ImportStep(name="inner", pipeline=ask_between(c, ask)),
        )
    ),
}


async def answered_from(
    runner: Flujo, answers: Mapping[str, object], newest_first: bool
) -> PipelineResult:
    """A run that gets an answer as often as it asks, to the first open question or the last."""
    result = await started(runner, "x")
    for _ in range(20):
        if result.status is not RunStatus.PAUSED:
            return result
        path = questions(result)[-1 if newest_first else 0]
        result = await resumed(runner, result, answers.get(path, "ok"), pause=path)
    raise AssertionError(f"still asking at {questions(result)}")


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_run_with_questions_ends_as_one_in_which_steps_give_the_answers(
    wait: Wait, case: Case, newest_first: bool
) -> None:
    def at_once(name: str) -> Any:
        return Step.from_callable(
            lambda data, frame: case.answers.get(str(frame.path), "ok"), name=name
        )

    with_humans, without = Calls(), Calls()
    around = Step.from_callable(echo.agent, name="around")
    runner, twin = (
        Flujo(Pipeline.of(around, case.make(calls, ask), echo), context_model=Log)
        for calls, ask in ((with_humans, asks), (without, at_once))
    )
    result = wait(answered_from(runner, case.answers, newest_first))
    expected = wait(twin.run_async("x").result())
    assert expected.success
    assert (result.status, result.final_pipeline_context) == (
        expected.status,
        expected.final_pipeline_context,
    )
    assert told(result.step_history) == told(expected.step_history)
    assert with_humans == without


def test_questions_in_the_children_of_somebody_elses_policy(wait: Wait) -> None:
    calls = Calls()
    first, ask, last = calls.step("first"), asks("ask"), calls.step("last")

    async def run_three(core: Any, frame: Any) -> Any:
        data = frame.data
        for node in (first, ask, last):
            outcome = await core.run(core.child_frame(frame, node, data))
            if isinstance(outcome, Paused):
                return replace(outcome, children=(outcome,))
            data = outcome.output
        return outcome

    runner = Flujo(Box(name="box"), registry=boxed(run_three))
    paused = wait(started(runner, "x"))
    assert wait(resumed(runner, paused, "ok")).output == "ok last"
    assert calls == {"first": 1, "last": 1}


def test_questions_have_the_paths_of_their_frames(wait: Wait) -> None:
    calls = Calls()
    node = each(branch(calls, loop(calls, ask_between(calls, asks))), max_concurrency=2)
    paused = wait(started(Flujo(node), "x"))
    assert questions(paused) == [f"each/[{n}]/branch/:on/loop/[0]/ask" for n in range(2)]
    assert all(isinstance(pause.path, FramePath) for pause in paused.paused)
