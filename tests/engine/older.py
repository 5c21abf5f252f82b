"""Policies with argument lists: how they are registered and run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import FlujoDeprecationWarning
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.policy_registry import PolicyRegistry
from flujo_nb.engine.results import PipelineResult, StepResult
from flujo_nb.engine.usage import Metered, Usage, UsageLimits
from tests.engine.fakes import Box, Wait, runner_of

BOX = Box(name="box")
LIMIT = UsageLimits(total_tokens_limit=10)
Execute: TypeAlias = Callable[..., Awaitable[Any] | Any]


def older(execute: Execute) -> PolicyRegistry:
    """A registry in which ``execute``, which takes an argument list, runs every `Box`."""
    registry = built_in_policies()
    with pytest.warns(FlujoDeprecationWarning):
        registry.register(type("Old", (), {"handles": Box, "execute": staticmethod(execute)})())
    return registry


def ran(wait: Wait, execute: Execute, data: object = None, **options: Any) -> PipelineResult:
    """The result of a `Box` that ``execute`` runs."""
    runner = runner_of(BOX, registry=older(execute), **options)
    result: PipelineResult = wait(runner.run_async(data).result())
    return result


def paths(result: PipelineResult) -> list[str]:
    """The paths of the children of a run's only step."""
    return [str(child.path) for child in result.step_history[0].step_history]


def result_of(*outputs: object, **facts: Any) -> StepResult:
    """What an older policy returns."""
    return StepResult(name="box", output=outputs, **facts)


@step
def costs(data: object) -> Metered:
    """Takes three tokens."""
    return Metered(data, Usage(0, 3, 1))
