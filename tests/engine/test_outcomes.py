"""The closed union of outcomes."""

from __future__ import annotations

import typing
from dataclasses import FrozenInstanceError, fields

import pytest

from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Chunk,
    Failure,
    FrameOutcome,
    Paused,
    RunStatus,
    StepOutcome,
    Success,
    make_success,
    status_of,
)
from tests.engine.fakes import echo

ENDS: list[tuple[FrameOutcome, RunStatus]] = [
    (Success(), RunStatus.COMPLETED),
    (BackgroundLaunched(task_id="a"), RunStatus.COMPLETED),
    (Failure(error=ValueError(), feedback="no"), RunStatus.FAILED),
    (Paused(message="ok?"), RunStatus.PAUSED),
    (Aborted(reason=AbortReason.INTERRUPTED, message=""), RunStatus.INTERRUPTED),
    (Aborted(reason=AbortReason.QUOTA, message=""), RunStatus.ABORTED),
    (Aborted(reason=AbortReason.SIGNAL, message=""), RunStatus.ABORTED),
]


@pytest.mark.parametrize(("outcome", "status"), ENDS)
def test_every_end_has_a_status(outcome: FrameOutcome, status: RunStatus) -> None:
    assert status_of(outcome) is status


def test_every_member_of_the_union_is_covered() -> None:
    assert {type(outcome) for outcome, _ in ENDS} == set(typing.get_args(FrameOutcome))
    assert set(typing.get_args(StepOutcome)) - {Chunk} == set(typing.get_args(FrameOutcome))


def test_an_outcome_does_not_change_and_equals_only_itself() -> None:
    success = Success(output=1)
    with pytest.raises(FrozenInstanceError):
        success.output = 2  # type: ignore[misc]
    assert success != Success(output=1)


def test_the_quick_constructor_takes_every_field_in_order() -> None:
    given = (echo, (), 3, 2, 0.5, None, (), {}, "out", None)
    success = make_success(*given)
    assert type(success) is Success
    assert tuple(getattr(success, field.name) for field in fields(Success)) == given
