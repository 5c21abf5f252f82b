"""Agents of other libraries: one table, and an import on first use."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flujo_nb.engine.agents import ADAPTERS, runnable
from flujo_nb.engine.errors import StepSignatureError
from flujo_nb.engine.step_config import PluginOutcome
from flujo_nb.engine.steps import AgentStep, Step
from tests.engine.fakes import Wait, outcome_of

ADAPTER = """
loaded = "once"


class Adapted:
    def __init__(self, agent):
        self.agent = agent

    async def run(self, data, *, resources=None):
        return f"adapted {await self.agent.run(data, history=[])} {resources}"


def adapted(agent):
    return Adapted(agent)
"""


class Own:
    """An agent as the engine knows them."""

    async def run(self, data: object) -> object:
        return data


def foreign(module: str = "a_library.deep.inside", base: type = object) -> Any:
    """An agent of a class of another library, whose ``run`` the engine cannot call."""

    async def run(self: object, data: object, history: list[object]) -> str:
        return f"{data}!"

    return type("Foreign", (base,), {"run": run, "__module__": module})()


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an adapter module for ``a_library``, not imported yet."""
    name = "adapter_of_a_library"
    (tmp_path / f"{name}.py").write_text(ADAPTER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ADAPTERS, "a_library", name)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_an_agent_of_no_known_library_is_taken_as_it_is(adapter: str) -> None:
    own = Own()
    assert runnable(own) is own
    assert runnable(foreign("another_library")).__class__.__name__ == "Foreign"
    assert adapter not in sys.modules


def test_an_adapter_is_imported_when_an_agent_of_its_library_is_first_seen(adapter: str) -> None:
    agent = foreign()
    made: Any = runnable(agent)
    assert adapter in sys.modules
    assert made.agent is agent
    assert type(runnable(foreign("a_library"))) is type(made)


def test_a_users_subclass_of_a_librarys_agent_is_adapted_too(adapter: str) -> None:
    base = type(foreign())
    made: Any = runnable(foreign("users.module", base))
    assert made.__class__.__name__ == "Adapted"


def test_a_library_with_a_name_that_begins_alike_is_another(adapter: str) -> None:
    agent = foreign("a_library_of_mine")
    assert runnable(agent) is agent


def test_a_step_runs_the_adapted_agent_and_shows_the_given_one(wait: Wait, adapter: str) -> None:
    agent = foreign()
    step: Any = Step(name="x", agent=agent)
    assert isinstance(step, AgentStep)
    assert step.agent is agent
    outcome = wait(outcome_of(step, "hi", resources="db"))
    assert outcome.output == "adapted hi! db"


def test_the_agent_that_a_plugin_redirects_to_is_adapted_too(wait: Wait, adapter: str) -> None:
    class Redirects:
        def validate(self, data: object) -> PluginOutcome:
            done = "adapted" in str(data)
            return PluginOutcome(success=done, redirect_to=None if done else foreign())

    step: Any = Step(name="x", agent=Own(), plugins=[(Redirects(), 0)])
    assert wait(outcome_of(step, "hi")).output == "adapted hi! None"


def test_without_an_adapter_a_run_that_asks_for_more_is_refused_when_declared() -> None:
    with pytest.raises(StepSignatureError, match="'history'"):
        Step(name="x", agent=foreign())


def test_every_adapter_of_this_package_is_a_module_that_exists() -> None:
    assert ADAPTERS
    assert [name for name in ADAPTERS.values() if find_spec(name) is None] == []
