"""Steps one after the other."""

from __future__ import annotations

from typing import Any

from flujo_nb.engine.context import ContextUpdate, DeleteKey
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import PausedException
from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.outcomes import BackgroundLaunched, Failure, Paused, StepOutcome, Success
from flujo_nb.engine.runner import Flujo
from tests.engine.fakes import (
    Box,
    Counts,
    Wait,
    boxed,
    broken,
    echo,
    names_in,
    outcome_of,
    runner_of,
)


@step
def count(data: int, context: Counts) -> int:
    context.total += data
    context.names.append(str(data))
    return data + 1


def test_each_step_gets_the_output_and_the_context_of_the_one_before(wait: Wait) -> None:
    result = wait(runner_of(count >> count >> count).run_async(1).result())
    assert result.output == 4
    assert result.final_pipeline_context == Counts(total=6, names=["1", "2", "3"])


def test_none_is_passed_on_as_none(wait: Wait) -> None:
    assert wait(outcome_of(echo >> echo, None)).output is None


def test_the_first_failure_ends_the_sequence_and_what_was_done_stands(wait: Wait) -> None:
    result = wait(runner_of(count >> broken >> count).run_async(1).result())
    assert names_in(result.step_history) == ["count", "broken"]
    assert not result.success
    assert result.output is None
    assert result.final_pipeline_context == Counts(total=1, names=["1"])


def test_a_failed_sequence_ends_as_its_step_did(wait: Wait) -> None:
    outcome = wait(outcome_of(echo >> broken, 1))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ValueError)
    assert outcome.feedback == outcome.children[-1].feedback == "ValueError: cannot use 1"


def test_a_pause_ends_the_sequence(wait: Wait) -> None:
    @step
    def ask(data: object) -> None:
        raise PausedException("may I?")

    outcome = wait(outcome_of(echo >> ask >> echo, 1))
    assert isinstance(outcome, Paused)
    assert outcome.message == "may I?"
    assert len(outcome.children) == 2


def test_a_launched_step_hands_its_input_on(wait: Wait) -> None:
    async def launch(core: Any, frame: AnyFrame) -> BackgroundLaunched:
        return BackgroundLaunched(task_id=str(frame.path))

    outcome = wait(outcome_of(Box(name="later") >> echo, 5, registry=boxed(launch)))
    assert isinstance(outcome, Success)
    assert outcome.output == 5


def test_paths_are_the_same_in_every_run_and_unique_in_each(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    runner = Flujo(echo >> echo >> echo, hooks=[hear])
    for _ in range(2):
        wait(runner.run_async(1).result())
    assert paths[:4] == paths[4:] == ["", "echo", "echo#1", "echo#2"]


def test_a_nested_pipeline_merges_what_its_steps_changed(wait: Wait) -> None:
    async def nest(core: Any, frame: AnyFrame) -> StepOutcome:
        return await core.run(core.child_frame(frame, count >> count, frame.data))

    box = Box(name="box")
    context = Counts()
    outcome = wait(outcome_of(box >> count, 1, registry=boxed(nest), context=context))
    assert outcome.output == 4
    assert [str(change.path[0]) for change in outcome.update.changes] == ["total", "names"]
    assert context == Counts()


def test_no_two_frames_of_a_run_have_one_path(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    async def nest(core: Any, frame: AnyFrame) -> StepOutcome:
        await core.run(core.child_frame(frame, echo, frame.data))
        return await core.run(core.child_frame(frame, echo >> count, frame.data))

    runner = runner_of(Box(name="box"), registry=boxed(nest), hooks=[hear])
    result = wait(runner.run_async(1).result())
    steps = [path for path in paths if path not in ("", "box")]
    assert not result.success or len(set(steps)) == len(steps)


def test_an_update_that_does_not_fit_is_a_failure_with_its_history(wait: Wait) -> None:
    async def run(core: Any, frame: AnyFrame) -> Success:
        return Success(update=ContextUpdate((DeleteKey(("by_kind", "missing")),)))

    outcome = wait(outcome_of(echo >> Box(name="box"), 1, registry=boxed(run), context=Counts()))
    assert isinstance(outcome, Failure)
    assert len(outcome.children) == 2
