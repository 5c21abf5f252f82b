"""What is kept of frames: their ends in the journal, their outputs by name; what is told of them.

Which steps run again is in ``test_journal.py``.
"""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.failure_builder import FailureBuilder
from flujo_nb.engine.frame import child_frame, make_execution_frame
from flujo_nb.engine.hooks import (
    AnyEvent,
    FrameFinished,
    FrameRestored,
    FrameStarted,
    RunFinished,
    RunStarted,
)
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Chunk, Failure, Paused, StepOutcome, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.recorder import Recorder
from flujo_nb.engine.run import Facility
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Pipeline, Step
from flujo_nb.engine.usage import Metered, Quota, Usage
from tests.engine.fakes import Box, Counts, Wait, boxed, echo, names_in, outcome_of, runner_of
from tests.engine.pauses import Calls, asks, resumed, started

PIPELINE = echo >> Step.from_callable(lambda data: data, name="other")
SUCCESS = Success(output=1)


def frame_of(node: Any = echo, **options: Any) -> Any:
    return make_execution_frame(node, "x", journal=Journal(), **options)


async def recorded(frame: Any, outcome: StepOutcome) -> StepOutcome:
    async def proceed(frame: Any) -> StepOutcome:
        return outcome

    return await Recorder(FailureBuilder(), ContextUpdateManager()).record(frame, proceed)


async def not_reached(frame: Any) -> StepOutcome:
    raise AssertionError("it ran again")


# The journal.


def test_a_frame_without_a_journal_just_runs(wait: Wait) -> None:
    assert wait(recorded(make_execution_frame(echo), SUCCESS)) is SUCCESS


def test_a_frame_that_ended_is_given_back_as_it_was(wait: Wait) -> None:
    frame = frame_of()
    assert wait(recorded(frame, SUCCESS)) is SUCCESS
    recorder = Recorder(FailureBuilder(), ContextUpdateManager())
    assert wait(recorder.record(frame, not_reached)) is SUCCESS


def test_an_open_end_is_noted_and_runs_again(wait: Wait) -> None:
    frame = frame_of()
    for end in (Failure(error=ValueError(), feedback=""), Paused(message="?")):
        assert wait(recorded(frame, end)) is end
    assert frame.run.journal.final_outcome(frame.path) is None
    assert wait(recorded(frame, SUCCESS)) is SUCCESS
    assert frame.run.journal.final_outcome(frame.path) is SUCCESS


def test_a_pipeline_that_adds_nothing_to_the_path_has_no_entry_of_its_own(wait: Wait) -> None:
    """Its entry would be its parent's."""
    parent = frame_of(Box(name="box"))
    inner = child_frame(parent, PIPELINE, "x")
    assert inner.path == parent.path
    wait(recorded(inner, SUCCESS))
    assert parent.run.journal.final_outcome(parent.path) is None


def test_a_pipeline_at_the_root_or_under_an_index_has_one(wait: Wait) -> None:
    root = frame_of(PIPELINE)
    wait(recorded(root, SUCCESS))
    assert root.run.journal.final_outcome(FramePath()) is SUCCESS
    item = child_frame(root, PIPELINE, "x", index=0)
    wait(recorded(item, SUCCESS))
    assert root.run.journal.final_outcome(FramePath.parse("[0]")) is SUCCESS


def test_a_chunk_is_no_end(wait: Wait) -> None:
    frame = frame_of()
    wait(recorded(frame, Chunk("x", frame.path)))
    assert frame.run.journal.final_outcome(frame.path) is None


def test_a_frame_that_is_given_back_costs_nothing_and_copies_no_context(wait: Wait) -> None:
    async def spends(data: object) -> Metered:
        return Metered(data, Usage(tokens=3))

    step = Step.from_callable(spends, name="spends")
    journal, context, quota = Journal(), Counts(), Quota()
    outcomes = [
        wait(outcome_of(step, "x", journal=journal, context=context, quota=quota)) for _ in range(2)
    ]
    assert outcomes[0] is outcomes[1]
    assert quota.spent == Usage(tokens=3)


# Outputs by name.


async def outputs_of(
    node: Any, data: object = "x", journal: Journal | None = None
) -> dict[str, object]:
    """What a run kept by name."""
    frame = make_execution_frame(node, data, journal=journal, facilities=Facility.OUTPUTS)
    await ExecutorCore().run_root(frame)
    return frame.run.outputs


def test_the_newest_output_of_each_name_is_kept(wait: Wait) -> None:
    calls = Calls()
    node = Step.map_over("each", calls.step("inside")) >> Step.from_callable(len, name="count")
    assert wait(outputs_of(node, ["a", "b"])) == {
        "inside": "b inside",
        "each": ["a inside", "b inside"],
        "count": 2,
    }


@pytest.mark.parametrize(
    "work", [lambda data: 1 / 0, lambda data: (_ for _ in ())], ids=["raised", "unusable"]
)
def test_only_outputs_of_steps_that_succeeded_are_kept(wait: Wait, work: Any) -> None:
    node = echo >> Step.from_callable(work, name="fails")
    assert wait(outputs_of(node)) == {"echo": "x"}


def test_what_is_given_back_is_kept_with_all_that_is_inside(wait: Wait) -> None:
    calls = Calls()
    node = Step.parallel("both", {"a": calls.step("one") >> calls.step("two"), "b": echo})
    journal = Journal()
    first = wait(outputs_of(node, journal=journal))
    again = wait(outputs_of(node, journal=journal))
    assert first == again
    assert first.keys() == {"one", "two", "echo", "both"}
    assert calls == {"one": 1, "two": 1}


def test_runs_in_which_nobody_asks_by_name_keep_no_outputs(wait: Wait) -> None:
    seen = []

    def look(data: object, frame: Any) -> None:
        seen.append(frame.run.outputs)

    wait(runner_of(echo >> Step.from_callable(look)).run_async("x").result())
    assert seen == [{}]


# What a resumed run tells.


class Heard:
    """The events of runs, one list a run."""

    def __init__(self) -> None:
        self.runs: list[list[AnyEvent]] = []

    def listen(self, event: AnyEvent) -> None:
        if isinstance(event, RunStarted):
            self.runs.append([])
        self.runs[-1].append(event)

    def paths(self, *kinds: type) -> list[str]:
        """Where events of these kinds happened in the newest run."""
        return [str(event.path) for event in self.runs[-1] if isinstance(event, kinds)]


def test_a_resumed_run_tells_of_restored_frames_and_of_those_that_run(wait: Wait) -> None:
    heard, calls = Heard(), Calls()
    inside = {"a": calls.step("one") >> asks() >> calls.step("two"), "b": calls.step("three")}
    node = calls.step("first") >> Step.parallel("both", inside) >> calls.step("last")
    runner = Flujo(node, hooks=[heard.listen])
    paused = wait(started(runner))
    assert heard.paths(FrameRestored) == []
    wait(resumed(runner, paused, "ok"))
    assert heard.paths(FrameRestored) == ["first", "both/:a/one", "both/:b/three"]
    ran = ["", "both", "both/:a", "both/:a/ask", "both/:a/two", "last"]
    assert sorted(heard.paths(FrameStarted)) == sorted(heard.paths(FrameFinished)) == ran
    numbers = [event.sequence for event in heard.runs[-1]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    restored = next(one for one in heard.runs[-1] if isinstance(one, FrameRestored))
    assert isinstance(restored.outcome, Success)
    finished = heard.runs[-1][-1]
    assert isinstance(finished, RunFinished)
    assert names_in(finished.result.step_history) == ["first", "both", "last"]


def test_a_container_that_is_restored_is_told_of_once(wait: Wait) -> None:
    heard, calls = Heard(), Calls()
    node = Step.map_over("each", calls.step("inside")) >> asks()
    runner = Flujo(node, hooks=[heard.listen])
    paused = wait(started(runner, ["a", "b"]))
    wait(resumed(runner, paused, "ok"))
    assert heard.paths(FrameRestored) == ["each"]


def test_a_kept_failure_is_restored_as_what_it_was(wait: Wait) -> None:
    def odd(data: int) -> int:
        if data % 2:
            raise ValueError(data)
        return data

    heard = Heard()
    body = Step.from_callable(odd, name="odd") >> asks()
    node = Step.map_over("each", body, on_item_failure="keep", max_concurrency=2)
    runner = Flujo(node, hooks=[heard.listen])
    paused = wait(started(runner, [1, 2]))
    result = wait(resumed(runner, paused, "ok"))
    assert heard.paths(FrameRestored) == ["each/[0]", "each/[1]/odd"]
    assert result.output[0].feedback == "ValueError: 1"
    assert result.output[1] == "ok"


def test_a_completed_run_that_is_answered_again_is_restored_whole(wait: Wait) -> None:
    heard = Heard()
    runner = runner_of(asks() >> echo, hooks=[heard.listen])
    paused = wait(started(runner))
    first = wait(resumed(runner, paused, "ok"))
    again = wait(resumed(runner, paused, "ok"))
    assert heard.paths(FrameRestored) == [""]
    assert heard.paths(FrameStarted, FrameFinished) == []
    assert again.output == first.output
    assert again.final_pipeline_context == first.final_pipeline_context


def test_a_policy_of_somebody_else_is_not_called_for_what_stands_in_the_journal(
    wait: Wait,
) -> None:
    calls = Calls()

    async def run(core: Any, frame: Any) -> Success:
        calls["box"] += 1
        return Success(output=frame.data)

    node: Any = Pipeline.of(Box(name="box"), asks())
    runner = Flujo(node, registry=boxed(run))
    paused = wait(started(runner, "x"))
    wait(resumed(runner, paused, "ok"))
    assert calls == {"box": 1}
