"""Notebook workflows on immutable execution frames.

In a notebook: ``%load_ext flujo_nb``, then ``%flujo help``. In a program: the names below.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

# In a source checkout `engine/` and `widgets/` lie beside this package, not inside it.
if not (Path(__file__).parent / "engine").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

from .engine.context import PipelineContext
from .engine.executor_core import ExecutorCore, built_in_policies
from .engine.frame import ExecutionFrame, make_execution_frame
from .engine.outcomes import (
    Aborted,
    BackgroundLaunched,
    Chunk,
    Failure,
    Paused,
    StepOutcome,
    Success,
)
from .engine.path import FramePath
from .engine.policy import ExecutorPort, StepPolicy
from .engine.policy_registry import PolicyRegistry
from .engine.results import PipelineResult, StepResult
from .engine.runner import Flujo
from .engine.steps import AgentStep, Pipeline, Step, StepConfig, step
from .engine.usage import Metered, Quota, Usage, UsageEstimate, UsageLimits

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "Aborted",
    "AgentStep",
    "BackgroundLaunched",
    "Chunk",
    "ExecutionFrame",
    "ExecutorCore",
    "ExecutorPort",
    "Failure",
    "Flujo",
    "FramePath",
    "Metered",
    "Paused",
    "Pipeline",
    "PipelineContext",
    "PipelineResult",
    "PolicyRegistry",
    "Quota",
    "Step",
    "StepConfig",
    "StepOutcome",
    "StepPolicy",
    "StepResult",
    "Success",
    "Usage",
    "UsageEstimate",
    "UsageLimits",
    "built_in_policies",
    "load_ipython_extension",
    "make_execution_frame",
    "step",
    "unload_ipython_extension",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%load_ext flujo_nb`` calls. Loading twice is harmless."""
    from .magics import load  # noqa: PLC0415  # the engine needs no IPython

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%unload_ext flujo_nb`` calls. Leaves nothing behind."""
    from .magics import unload  # noqa: PLC0415

    unload(shell)
