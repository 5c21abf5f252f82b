"""The policy of steps that wait for a human."""

from __future__ import annotations

from time import perf_counter
from typing import TypeAlias, cast

from ..answers import answer_of
from ..context import ContextUpdate
from ..failure_builder import feedback_of
from ..frame import AnyFrame
from ..outcomes import Paused, StepOutcome, make_success
from ..output_sinks import with_output
from ..placeholders import filled_text
from ..policy import BoundPolicy, Call, ExecutorPort
from ..roots import roots_of
from ..run import Facility
from ..step_body import needs_of_step
from ..step_kinds import HumanInTheLoopStep
from ..steps import Node
from ..usage import NO_METADATA
from ..user_code import Raised, caught_inline
from ..values import own_copy

AnyHitl: TypeAlias = HumanInTheLoopStep[object, object]


class HitlStepExecutor(BoundPolicy):
    """Runs a `HumanInTheLoopStep`: pauses, and on a resumed run gives the answer."""

    handles = HumanInTheLoopStep

    def needs(self, step: Node) -> Facility:
        """A journal, which holds the answers, and what the message asks for."""
        return needs_of_step(step) | Facility.JOURNAL

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        declared = cast(AnyHitl, step)
        schema = declared.answer_schema

        async def call(frame: AnyFrame) -> StepOutcome:
            started = perf_counter()
            path, journal = frame.path, frame.run.journal
            refused = ""
            if journal is not None and path in journal.answers:
                taken = caught_inline(
                    _taken, core, declared, frame, own_copy(journal.answers[path])
                )
                if not isinstance(taken, Raised):
                    answer, update = taken
                    return make_success(
                        declared,
                        frame.segments,
                        frame.index,
                        1,
                        perf_counter() - started,
                        None,
                        (),
                        NO_METADATA,
                        answer,
                        update,
                    )
                journal.reopen(path)
                refused = f" (refused: {feedback_of(taken.error)})"
            message = caught_inline(message_of, core, declared, frame)
            if isinstance(message, Raised):
                return core.failures.build(frame, message.error)
            return Paused(
                message=f"{message}{refused}",
                schema=schema,
                step=declared,
                segments=frame.segments,
                index=frame.index,
                latency_s=perf_counter() - started,
            )

        return call


def _taken(
    core: ExecutorPort, step: AnyHitl, frame: AnyFrame, given: object
) -> tuple[object, ContextUpdate | None]:
    """The answer as the step asks for it, and what it makes of the context."""
    answer = answer_of(given, step.input_schema, str(frame.path))
    return answer, with_output(core, step, frame.context, None, answer)


def message_of(core: ExecutorPort, step: AnyHitl, frame: AnyFrame) -> str:
    """The question: the step's message with its placeholders filled, or its input as text."""
    template = "{{ data }}" if step.message_for_user is None else step.message_for_user
    return filled_text(template, roots_of(core, frame), f"the message of step {step.name!r}")
