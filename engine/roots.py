"""What the placeholders of a step can begin with."""

from __future__ import annotations

from .frame import AnyFrame
from .placeholders import Roots
from .policy import ExecutorPort


def roots_of(core: ExecutorPort, frame: AnyFrame) -> Roots:
    """The roots for a step's frame: its input, its context, others' outputs, the newest answer."""
    answers = frame.run.hitl_history
    return {
        "data": frame.data,
        "context": {} if frame.context is None else core.contexts.isolate(frame.context),
        "steps": frame.run.outputs,
        "resume": answers[-1].human_response if answers else None,
    }
