"""What becomes of a step that may run once only, when nobody knows whether it did its work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .errors import StepInDoubt, ValueNotSaved
from .failure_builder import FailureBuilder
from .frame import AnyFrame
from .outcomes import Failure, FailureKind, FrameOutcome, Paused, StepOutcome, make_success
from .step_config import JSONValue
from .steps import name_of
from .usage import NO_METADATA


class Verdict(BaseModel):
    """The answer to the question what to do with a step that is in doubt.

    ``run_again``: it is run again; ``take``: ``value`` is its output; ``fail``: it has failed.
    """

    model_config = ConfigDict(extra="forbid")

    action: Literal["run_again", "take", "fail"]
    value: object = None


_SCHEMA: Mapping[str, JSONValue] = Verdict.model_json_schema()


def is_in_doubt(outcome: StepOutcome) -> bool:
    """Whether a step that ended so may have done its work unseen, and the run can still ask."""
    return isinstance(outcome, Failure) and outcome.kind is FailureKind.TIMEOUT


def is_undecided(outcome: StepOutcome) -> bool:
    """Whether a step that may run once only is in doubt still: it did not end so by itself."""
    if isinstance(outcome, Paused):
        return is_question(outcome.schema)
    return isinstance(outcome, Failure) and isinstance(outcome.error, StepInDoubt | ValueNotSaved)


def was_asked_about(outcome: FrameOutcome | None) -> bool:
    """Whether a human was asked what to do with a step that ended so, and not by the step."""
    if isinstance(outcome, Paused):
        return is_question(outcome.schema)
    return isinstance(outcome, Failure) and isinstance(outcome.error, StepInDoubt)


def is_question(schema: Mapping[str, JSONValue] | None) -> bool:
    """Whether a pause with that schema asks what to do with a step, and was not the step's own."""
    return schema == _SCHEMA


def question(frame: AnyFrame) -> Paused:
    """The pause that asks what to do with the step of ``frame``."""
    return Paused(
        message=(
            f"{name_of(frame.step)} may run once only; it began, and nobody knows how it ended. "
            "Run it again, take a value as its output, or let it fail?"
        ),
        schema=_SCHEMA,
        step=frame.step,
        segments=frame.segments,
        index=frame.index,
    )


def follow(verdict: Verdict, frame: AnyFrame, failures: FailureBuilder) -> StepOutcome | None:
    """The outcome that ``verdict`` gives the step; ``None``: it is run again."""
    match verdict.action:
        case "run_again":
            return None
        case "take":
            return make_success(
                frame.step,
                frame.segments,
                frame.index,
                1,
                0.0,
                None,
                (),
                NO_METADATA,
                verdict.value,
                None,
            )
        case "fail":
            told = f"it began once, nobody knows how it ended, and it was to fail (at {frame.path})"
            return failures.build(frame, StepInDoubt(told))
