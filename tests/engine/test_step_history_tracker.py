"""Results, totals and the frame that ended a run, read off outcomes."""

from __future__ import annotations

from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Chunk,
    Failure,
    Paused,
    Success,
)
from flujo_nb.engine.path import FramePath, Segment, SegmentKind, step_segment
from flujo_nb.engine.step_history_tracker import (
    StepHistoryTracker,
    deepest_end,
    feedback_in,
    path_of,
    total_usage,
)
from flujo_nb.engine.usage import Usage
from tests.engine.fakes import Box, echo, names_in

ROOT = FramePath()
A, B = (step_segment("a"),), (step_segment("b"),)
BOX = Box(name="box")


def test_a_pipeline_gives_the_results_of_its_steps() -> None:
    inner = Success(step=echo, segments=B, output=2, usage=Usage(1_000_000, 3))
    box = Success(step=BOX, segments=A, output=3, children=[inner], attempts=2, latency_s=0.5)
    whole = Success(step=echo >> echo, children=[box])
    results = StepHistoryTracker().results(whole, ROOT)
    assert names_in(results) == ["box"]
    (result,) = results
    assert (str(result.path), result.output, result.success) == ("a", 3, True)
    assert (result.attempts, result.latency_s) == (2, 0.5)
    assert (result.cost_usd, result.token_counts) == (1.0, 3)
    assert [str(child.path) for child in result.step_history] == ["a/b"]


def test_a_nested_pipeline_adds_no_level() -> None:
    inner = Success(step=echo >> echo, children=[Success(step=echo, segments=B)], index=1)
    box = Success(step=BOX, segments=A, children=[inner])
    (result,) = StepHistoryTracker().results(box, ROOT)
    assert [str(child.path) for child in result.step_history] == ["a/[1]/b"]


def test_a_step_that_did_not_succeed_says_why_and_has_no_output() -> None:
    failure = Failure(step=echo, segments=A, error=ValueError(), feedback="ValueError: no")
    (result,) = StepHistoryTracker().results(failure, ROOT)
    assert (result.success, result.output, result.feedback) == (False, None, "ValueError: no")


def test_feedback_of_each_end() -> None:
    assert feedback_in(Success()) is None
    assert feedback_in(Paused(message="may I?")) == "may I?"
    assert feedback_in(Aborted(reason=AbortReason.QUOTA, message="over")) == "over"
    assert not feedback_in(BackgroundLaunched(task_id="a"))


def test_usage_is_the_sum_of_everything_inside() -> None:
    one, two = Usage(tokens=1), Usage(tokens=2, requests=1)
    inner = Failure(error=ValueError(), feedback="", usage=two)
    whole = Success(usage=one, children=[Success(children=[inner]), Chunk("c", ROOT)])
    assert total_usage(whole) == Usage(tokens=3, requests=1)


def test_paths_are_made_from_the_outcomes_own_part() -> None:
    above = FramePath.parse("map")
    assert str(path_of(Success(segments=A, index=2), above)) == "map/[2]/a"
    assert path_of(Success(), above) == above
    assert Segment(SegmentKind.INDEX, 2) in path_of(Success(index=2), above)


def test_the_frame_that_ended_a_run_is_the_deepest_that_did_not_succeed() -> None:
    error = ValueError()
    culprit = Failure(step=echo, segments=B, error=error, feedback="no")
    box = Failure(step=BOX, segments=A, error=error, feedback="no", children=[culprit])
    done = Success(step=echo, segments=B)
    whole = Failure(error=error, feedback="no", children=[done, box])
    outcome, path = deepest_end(whole, ROOT)
    assert outcome is culprit
    assert str(path) == "a/b"


def test_a_frame_that_failed_by_itself_ended_the_run() -> None:
    done = Success(step=echo, segments=B)
    launched = BackgroundLaunched(step=echo, segments=B, task_id="a/b")
    box = Failure(
        step=BOX, segments=A, error=ValueError(), feedback="no", children=[done, launched]
    )
    outcome, path = deepest_end(box, ROOT)
    assert outcome is box
    assert str(path) == "a"
