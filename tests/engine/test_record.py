"""A frame with its outcome and lineage."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Failure,
    FrameOutcome,
    RunStatus,
    Success,
)
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.record import FrameRecord, children_of
from flujo_nb.engine.step_history_tracker import path_of
from flujo_nb.engine.steps import Node, Step
from flujo_nb.engine.unsaved import LivePart, Unsaved
from flujo_nb.engine.usage import Usage
from tests.engine.fakes import Counts, Wait, broken, echo, outcome_of

COMMAND = FramePath((Segment(SegmentKind.COMMAND, 3),))


@step
def double(number: int) -> int:
    return 2 * number


@step
def counted(number: int, context: Counts) -> int:
    context.total += number
    return number


def record_of(outcome: FrameOutcome, **given: Any) -> FrameRecord:
    values: dict[str, Any] = {
        "id": "f3",
        "name": "it",
        "path": COMMAND,
        "run_id": "r",
        "data": 1,
        "context": None,
    }
    return FrameRecord(outcome=outcome, **{**values, **given})


def inside(wait: Wait, node: Node, data: object, context: Any = None) -> list[FrameRecord]:
    outcome = wait(outcome_of(node, data, context=context, path=COMMAND))
    path = path_of(outcome, FramePath())
    record = record_of(outcome, data=data, context=context, path=path)
    return list(children_of(record, ContextUpdateManager()))


def below(record: FrameRecord) -> list[FrameRecord]:
    return list(children_of(record, ContextUpdateManager()))


def test_what_a_record_tells_of_its_outcome() -> None:
    ended = record_of(Success(output=2, latency_s=0.5, usage=Usage(tokens=3)))
    assert (ended.status, ended.succeeded, ended.feedback) == (RunStatus.COMPLETED, True, None)
    assert (ended.duration_s, ended.usage) == (0.5, Usage(tokens=3))
    failed = record_of(Failure(error=ValueError(), feedback="why"))
    assert (failed.status, failed.succeeded, failed.feedback) == (RunStatus.FAILED, False, "why")
    stopped = record_of(Aborted(reason=AbortReason.INTERRUPTED, message="stopped"))
    assert (stopped.status, stopped.feedback) == (RunStatus.INTERRUPTED, "stopped")


def test_an_output_that_is_not_here_is_missing_with_its_reason() -> None:
    gone = record_of(Success(), absent="live only")
    assert (gone.succeeded, gone.has_output, gone.absent) == (True, False, "live only")


def test_of_a_frame_that_was_read_back_nobody_knows_what_its_children_were_given() -> None:
    segments = (Segment(SegmentKind.STEP, "a"),)
    outcome = Success(output=2, children=[Success(output=2, segments=segments)])
    (child,) = below(record_of(outcome, data=4))
    assert (child.id, child.name, child.output, child.has_data) == ("f3/a", "a", 2, False)


def test_a_frame_inside_whose_output_was_only_in_memory_says_so() -> None:
    gone = Unsaved("c[3]/a", LivePart("output", "lock", "no codec knows it"))
    segments = (Segment(SegmentKind.STEP, "a"),)
    (child,) = below(record_of(Success(children=[Success(output=gone, segments=segments)])))
    assert (child.output, child.has_output) == (None, False)
    assert child.absent == "live only: output (lock) is not saved: no codec knows it"


def test_a_lone_step_has_no_frames_inside(wait: Wait) -> None:
    assert inside(wait, double, 1) == []


def test_the_frames_inside_a_pipeline_with_what_they_were_given(wait: Wait) -> None:
    first, second = inside(wait, double >> echo, 4)
    assert (first.id, first.name, first.data, first.output) == ("f3/double", "double", 4, 8)
    assert (second.id, second.name, second.data, second.output) == ("f3/echo", "echo", 8, 8)
    assert str(second.path) == "c[3]/echo"
    assert second.parent == first.id


def test_the_first_frame_inside_continues_from_where_the_pipeline_did(wait: Wait) -> None:
    outcome = wait(outcome_of(double >> echo, 4, path=COMMAND))
    first, _ = children_of(record_of(outcome, data=4, parent="f2"), ContextUpdateManager())
    assert first.parent == "f2"


def test_contexts_are_those_that_the_frames_before_made(wait: Wait) -> None:
    start = Counts(total=1)
    first, second = inside(wait, counted >> counted, 4, start)
    assert (first.context, first.context_after) == (start, Counts(total=5))
    assert (second.context, second.context_after) == (Counts(total=5), Counts(total=9))


def test_two_frames_of_one_step_have_two_ids(wait: Wait) -> None:
    first, second = inside(wait, double >> double, 1)
    assert first.id != second.id
    assert second.output == 4


def test_behind_a_failure_there_is_nothing(wait: Wait) -> None:
    first, second = inside(wait, double >> broken >> echo, 1)
    assert first.succeeded
    assert (second.status, second.data, second.output) == (RunStatus.FAILED, 2, None)
    assert second.context_after is None


def failing(_: object) -> None:
    raise ValueError


IN_PLACE: dict[str, tuple[Node, str]] = {
    "a branch of a parallel step": (Step.parallel("it", {"a": double}), "f3/it/:a/double"),
    "a chosen branch": (Step.branch_on("it", str, {"4": double}), "f3/it/:4/double"),
    "a step behind a cache": (Step.cached(double), "f3/double/cached"),
    "a fallback": (
        Step.from_callable(failing, name="it", fallback_step=double),
        "f3/it/fallback[1]",
    ),
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_what_a_container_gives_on_is_the_childs_input(wait: Wait, case: str) -> None:
    node, name = IN_PLACE[case]
    (child,) = inside(wait, node, 4)
    assert (child.id, child.data, child.output, child.has_data) == (name, 4, 8, True)


def test_iterations_are_given_what_the_one_before_left(wait: Wait) -> None:
    loop = Step.loop_until("it", counted >> double, lambda n: n > 10, max_loops=9)
    first, second = inside(wait, loop, 4, Counts(total=1))
    assert [one.id for one in (first, second)] == ["f3/it/[0]", "f3/it/[1]"]
    assert (first.data, second.data, second.output) == (4, 8, 16)
    assert (second.context, second.context_after) == (Counts(total=5), Counts(total=13))
    deep, _ = below(second)
    assert (deep.id, deep.data, deep.context) == ("f3/it/[1]/counted", 8, Counts(total=5))
    assert second.parent == first.id


def test_branches_all_start_from_the_containers_context(wait: Wait) -> None:
    both = Step.parallel("it", {"a": counted, "b": double})
    first, second = inside(wait, both, 4, Counts(total=1))
    assert (first.context, first.context_after) == (Counts(total=1), Counts(total=5))
    assert (second.context, second.parent) == (Counts(total=1), None)


def mapped(data: int, *_: object) -> int:
    return data + 1


def test_an_input_that_was_not_kept_is_not_made_up(wait: Wait) -> None:
    for node, data in (
        (Step.map_over("it", double >> echo), [1]),
        (Step.branch_on("it", str, {"1": double >> echo}, branch_input_mapper=mapped), 1),
        (
            Step.loop_until(
                "it", double >> echo, lambda n: True, initial_input_to_loop_body_mapper=mapped
            ),
            1,
        ),
    ):
        (child,) = inside(wait, node, data)
        assert (child.has_data, child.data) == (False, None)
        first, second = below(child)
        assert (first.has_data, first.data) == (False, None)
        assert (second.has_data, second.data) == (True, first.output)


@step(execution_mode="background")
def behind(number: int) -> int:
    return number


def launched(data: object, **given: Any) -> list[FrameRecord]:
    outcome = BackgroundLaunched(step=behind, task_id="c[3]/behind/background")
    after = Success(step=double, segments=double.own_segments, output=2)
    around = Success(step=behind >> double, children=(outcome, after), output=2)
    return below(record_of(around, data=data, **given))


def test_a_step_in_the_background_passes_its_input_on() -> None:
    first, second = launched(1)
    assert (first.succeeded, first.output, second.data) == (True, 1, 1)
    first, second = launched(None, has_data=False)
    assert (first.has_output, second.has_data) == (False, False)
