"""What a runner decides when it starts, or goes on with, a run."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from .errors import ConfigurationError, ResumeError
from .in_doubt import Verdict, is_question
from .outcomes import RunStatus
from .path import FramePath
from .results import BackgroundTask, Pause, PipelineResult
from .step_config import JSONValue
from .step_history_tracker import StepHistoryTracker
from .step_kinds import HumanInTheLoopStep
from .steps import Node, Pipeline, steps_of

NO_ANSWER = object()
"""Stands for an answer that was not given; ``None`` is one."""


def slice_of(pipeline: Node, until: str | None, only: str | None) -> Node:
    """The part of ``pipeline`` that is to be run: up to a step, or only one."""
    if until is None and only is None:
        return pipeline
    steps = list(steps_of(pipeline))
    names = [one.name for one in steps]
    name = until if only is None else only
    if name not in names or (until is not None and only is not None):
        raise ConfigurationError(
            f"give `until` or `only`, the name of one of {', '.join(names)}; found "
            f"until={until!r}, only={only!r}"
        )
    at = names.index(name)
    return Pipeline(tuple(steps[: at + 1] if only is None else steps[at : at + 1]))


def goes_on(result: PipelineResult) -> bool:
    """Whether a run left something to go on with."""
    open_behind = any(task.is_open for task in result.background)
    return bool(result.paused) or open_behind or result.status is RunStatus.FAILED


def open_pauses(history: StepHistoryTracker, tasks: Sequence[BackgroundTask]) -> Sequence[Pause]:
    """The questions that wait in the background."""
    return [
        pause
        for task in tasks
        if task.outcome is not None
        for pause in history.open_pauses(task.outcome, FramePath(task.path.segments[:-1]))
    ]


def choose_pause(
    run_id: str,
    status: str,
    asked: Sequence[Pause],
    answered: Container[FramePath],
    wanted: FramePath | str | None,
) -> Pause:
    """The question at ``wanted``, or the only one that is not ``answered``.

    Raises `ResumeError`, with the questions, when there is none or no telling which.
    """
    if wanted is not None:
        for one in asked:
            if str(one.path) == str(wanted):
                return one
        raise ResumeError(f"nothing asks at {wanted}; there are {listed(asked) or 'no questions'}")
    waiting = [one for one in asked if one.path not in answered] or asked
    if len(waiting) == 1:
        return waiting[0]
    if not waiting:
        raise ResumeError(f"run {run_id} is {status} and asks nothing; resume it without an answer")
    raise ResumeError(f"say which question is answered, as pause=PATH: {listed(asked)}")


def listed(pauses: Sequence[Pause]) -> str:
    """Questions, each with its path."""
    return "; ".join(f"{one.path}: {one.message}" for one in pauses)


def wanted_by(pause: Pause) -> type | None:
    """The type of the answer that a question asks for."""
    if isinstance(pause.step, HumanInTheLoopStep):
        return pause.step.input_schema
    return Verdict if is_question(pause.schema) else None


def schema_of(step: Node) -> Mapping[str, JSONValue] | None:
    """The JSON schema of the answers that a step asks for; ``None`` when any will do."""
    return step.answer_schema if isinstance(step, HumanInTheLoopStep) else None


def why_not(result: PipelineResult) -> str:
    """Why a run cannot go on."""
    stands = f"run {result.run_id} is {result.status.value}"
    if result.success:
        return f"{stands}, and there is nothing to go on with"
    return (
        f"{stands} and kept no journal to go on from: a run keeps one when one of its steps asks a "
        "human, is an agent or works in the background"
    )
