"""Step type to policy."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.agent_orchestrator import AgentOrchestrator
from flujo_nb.engine.errors import PolicyNotFound
from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.policies.simple import SimpleStepExecutor
from flujo_nb.engine.policy_registry import PolicyRegistry
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.fakes import Box, Wait, echo, outcome_of, registry_with


class Crate(Box):
    """A kind of box."""


class Answering:
    """Runs boxes by answering with its own name."""

    handles: type = Box

    def __init__(self, name: str) -> None:
        self.name = name

    async def execute(self, core: Any, frame: Any) -> Success:
        return Success(output=self.name)


def test_a_policy_serves_subclasses_until_they_have_their_own(wait: Wait) -> None:
    registry = registry_with(Answering("boxes"))
    assert wait(outcome_of(Crate(name="c"), registry=registry)).output == "boxes"
    registry.register(Answering("crates"), handles=Crate)
    assert wait(outcome_of(Crate(name="c"), registry=registry)).output == "crates"
    assert wait(outcome_of(Box(name="b"), registry=registry)).output == "boxes"


def test_the_later_registration_replaces_the_earlier(wait: Wait) -> None:
    registry = registry_with(Answering("first"), Answering("second"))
    assert wait(outcome_of(Box(name="b"), registry=registry)).output == "second"


def test_a_registration_reaches_later_runners_only(wait: Wait) -> None:
    registry = registry_with(Answering("first"))
    runner = Flujo(Box(name="b"), registry=registry)
    registry.register(Answering("second"))
    assert wait(runner.run_async().result()).output == "first"
    assert wait(Flujo(Box(name="b"), registry=registry).run_async().result()).output == "second"


def test_a_miss_is_loud_and_lists_what_there_is() -> None:
    registry = PolicyRegistry([Answering("boxes")])
    with pytest.raises(PolicyNotFound, match="no policy runs Step; there are policies for Box"):
        registry.table().policy_of(Step)


def test_a_miss_is_an_error_of_the_caller_before_anything_runs(wait: Wait) -> None:
    registry = PolicyRegistry([Answering("boxes")])
    with pytest.raises(PolicyNotFound):
        wait(outcome_of(Pipeline.from_step(Box(name="b")), registry=registry))


def test_a_built_in_policy_with_an_execute_of_ones_own_is_used(wait: Wait) -> None:
    seen = []

    class Audited(SimpleStepExecutor):
        async def execute(self, core: Any, frame: Any) -> Any:
            seen.append(frame.data)
            return await super().execute(core, frame)

    registry = registry_with(Audited(AgentOrchestrator()))
    assert wait(outcome_of(echo, 5, registry=registry)).output == 5
    assert seen == [5]
