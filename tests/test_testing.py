"""The stand-ins for tests, used as a user's tests would."""

from __future__ import annotations

import asyncio

import pytest

from flujo_nb import Flujo, PluginOutcome, Step, StepConfig
from flujo_nb.testing import DummyPlugin, StubAgent, gather_result


def test_a_stub_gives_its_outputs_in_order_and_keeps_its_inputs() -> None:
    agent = StubAgent(["one", "two"])
    runner = Flujo(Step(name="draft", agent=agent))
    assert [runner.run(1).output, runner.run(2).output] == ["one", "two"]
    assert agent.inputs == [1, 2]


def test_a_stub_raises_the_outputs_that_are_exceptions() -> None:
    agent = StubAgent([ValueError("once"), "then"])
    result = Flujo(Step(name="draft", agent=agent)).run("x")
    assert (result.output, result.step_history[0].attempts) == ("then", 2)


def test_a_stub_without_outputs_left_says_so() -> None:
    config = StepConfig(max_retries=0)
    result = Flujo(Step(name="draft", agent=StubAgent([]), config=config)).run("x")
    assert result.step_history[0].feedback is not None
    assert "has 0 outputs, and was called 1 times" in result.step_history[0].feedback


def test_a_plugin_gives_its_verdicts_in_order() -> None:
    refused = PluginOutcome(success=False, feedback="too short")
    plugin = DummyPlugin([refused, PluginOutcome(success=True)])
    agent = StubAgent(["a", "a longer one"])
    result = Flujo(Step(name="draft", agent=agent, plugins=[(plugin, 0)])).run("x")
    assert result.output == "a longer one"
    assert [checked["output"] for checked in plugin.checked] == ["a", "a longer one"]


def test_a_plugin_without_verdicts_left_says_so() -> None:
    with pytest.raises(IndexError, match="has 0 outcomes, and was asked 1 times"):
        asyncio.run(DummyPlugin([]).validate({}))


def test_gathering_reads_a_run_to_its_end() -> None:
    result = asyncio.run(gather_result(Flujo(Step(name="draft", agent=StubAgent(["x"]))), 1))
    assert result.output == "x"
