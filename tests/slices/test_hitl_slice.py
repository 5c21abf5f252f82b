"""The behaviour of a `HumanInTheLoopStep`, whoever runs it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.errors import AnswerRejected
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import HumanInTheLoopStep
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Counts, echo
from tests.slices import loose
from tests.slices.parts import add, dear, tokens
from tests.slices.runs import Runs, implementations, paths_in

pytestmark = implementations(loose.Hitl)


def ask(**options: Any) -> Any:
    return HumanInTheLoopStep(name="ask", **options)


class Answer(BaseModel):
    total: int
    names: list[str] = []


def test_it_pauses_with_its_input_as_the_question(runs: Runs) -> None:
    paused = runs(echo >> ask() >> echo, "which one?")
    assert (paused.status, paused.success, paused.output) == (RunStatus.PAUSED, False, None)
    (pause,) = paused.paused
    assert (str(pause.path), pause.message, pause.schema) == ("ask", "which one?", None)
    assert paths_in(paused.step_history) == ["echo", "ask"]
    assert not paused.step_history[-1].success


def test_its_message_is_filled(runs: Runs) -> None:
    given = {"initial_context_data": {"total": 3}}
    paused = runs(ask(message_for_user="{{ data }} of {{ context.total }}?"), 1, **given)
    assert paused.paused[0].message == "1 of 3?"


def test_its_output_is_the_answer(runs: Runs) -> None:
    result = runs.resume(runs(add >> ask() >> add, 1), 5)
    assert (result.status, result.output) == (RunStatus.COMPLETED, 6)
    assert paths_in(result.step_history) == ["add", "ask", "add#1"]
    assert all(one.success for one in result.step_history)


def test_an_answer_is_of_the_type_that_was_asked_for(runs: Runs) -> None:
    paused = runs(ask(input_schema=Answer), "?")
    assert paused.paused[0].schema == Answer.model_json_schema()
    with pytest.raises(AnswerRejected, match="total"):
        runs.resume(paused, {"names": ["a"]})
    assert runs.resume(paused, {"total": "3"}).output == Answer(total=3)


def test_the_answer_may_go_into_the_context(runs: Runs) -> None:
    result = runs.resume(runs(ask(sink_to="names"), "?"), ["a"])
    assert result.final_pipeline_context == Counts(names=["a"])
    whole = ask(input_schema=Answer, updates_context=True)
    result = runs.resume(runs(whole, "?"), {"total": 4, "names": ["b"]})
    assert result.final_pipeline_context == Counts(total=4, names=["b"])


def test_several_are_asked_one_after_the_other(runs: Runs) -> None:
    other = HumanInTheLoopStep(name="other", message_for_user="and {{ data }}?")
    paused = runs(ask() >> add >> other, 0)
    assert [str(one.path) for one in paused.paused] == ["ask"]
    paused = runs.resume(paused, 5)
    assert [(str(one.path), one.message) for one in paused.paused] == [("other", "and 6?")]
    assert runs.resume(paused, 7).output == 7


def test_it_asks_at_every_depth(runs: Runs) -> None:
    node = Step.map_over("map", Step.branch_on("if", lambda data: "a", {"a": ask() >> add}))
    paused = runs(node, ["x"])
    assert [(str(one.path), one.message) for one in paused.paused] == [("map/[0]/if/:a/ask", "x")]
    assert runs.resume(paused, 1).output == [2]


def test_what_was_spent_before_it_counts_after_it(runs: Runs) -> None:
    node = dear >> ask() >> dear
    result = runs.resume(runs(node, "x", usage_limits=tokens(4)), "y")
    assert (result.output, result.total_tokens) == ("y", 4)


def test_the_hooks_hear_of_it(runs: Runs) -> None:
    paused = runs(add >> ask(), 1)
    assert runs.events[3:] == ["started ask", "paused ask", "paused "]
    runs.resume(paused, 2)
    assert runs.events == ["started ", "restored add", "started ask", "completed ask", "completed "]
