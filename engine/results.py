"""What a run returns, made for reading: the tree of step results and their totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from .outcomes import RunStatus
from .path import FramePath


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step of a run as its caller reads it. Usage includes everything that ran inside.

    ``latency_s`` is in seconds, ``cost_usd`` in dollars.
    """

    name: str
    path: FramePath = FramePath()
    output: object = None
    success: bool = True
    attempts: int = 1
    latency_s: float = 0.0
    token_counts: int = 0
    cost_usd: float = 0.0
    feedback: str | None = None
    step_history: Sequence[StepResult] = ()


@dataclass(frozen=True, slots=True)
class HookError:
    """A hook raised; the run went on."""

    hook: str
    event: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """How a run ended. Totals count every attempt of every step, failed ones included."""

    run_id: str
    status: RunStatus
    output: object = None
    step_history: Sequence[StepResult] = ()
    total_cost_usd: float = 0.0
    total_tokens: int = 0
    final_pipeline_context: BaseModel | None = None
    hook_errors: Sequence[HookError] = ()

    @property
    def success(self) -> bool:
        """Whether the run completed."""
        return self.status is RunStatus.COMPLETED
