"""Which agents have one digest."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.models.test import TestModel

from flujo_nb.adapters.definition import digest_of
from flujo_nb.adapters.pydantic_ai import adapted
from tests.adapters.fakes import Verdict
from tests.house.tree import ROOT


def plain_tool(number: int) -> int:
    return number


def other_tool(number: str) -> str:
    return number


def greeting(city: str) -> str:
    return f"Greet {city}."


def agent_of(**changed: Any) -> Agent[Any, Any]:
    made = {
        "model": "openai:gpt-4o",
        "instructions": "Be brief.",
        "system_prompt": "You are a judge.",
        "output_type": Verdict,
        "tools": [plain_tool],
        "model_settings": {"temperature": 0.5},
        "defer_model_check": True,
    }
    return Agent(**made | changed)


def test_equal_agents_have_equal_digests() -> None:
    assert digest_of(agent_of()) == digest_of(agent_of())
    assert digest_of(WrapperAgent(agent_of())) == digest_of(agent_of())
    assert adapted(agent_of()).definition_digest() == digest_of(agent_of())


def test_a_digest_is_the_same_in_every_process() -> None:
    code = (
        "from tests.adapters.test_definition import agent_of, digest_of\n"
        "print(digest_of(agent_of()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr) == (digest_of(agent_of()), "")


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "openai:gpt-4o-mini"},
        {"model": TestModel()},
        {"model": TestModel(settings={"temperature": 0.1})},
        {"instructions": "Be long."},
        {"instructions": lambda: "Be brief."},
        {"instructions": ["Be brief.", partial(greeting, "Bern")]},
        {"system_prompt": "You are a poet."},
        {"output_type": str},
        {"output_type": [Verdict, str]},
        {"tools": []},
        {"tools": [other_tool]},
        {"tools": [plain_tool, other_tool]},
        {"model_settings": {"temperature": 0.6}},
    ],
)
def test_each_part_of_the_definition_counts(changed: dict[str, Any]) -> None:
    assert digest_of(agent_of(**changed)) != digest_of(agent_of())


def test_what_a_function_was_given_beforehand_counts() -> None:
    bern, basel = (agent_of(instructions=partial(greeting, city)) for city in ("Bern", "Basel"))
    assert digest_of(bern) != digest_of(basel)


def test_a_function_without_source_counts_by_its_name() -> None:
    first, second = (agent_of(instructions=function) for function in (time.ctime, time.asctime))
    assert digest_of(first) != digest_of(second)


def test_what_is_added_by_decorators_counts() -> None:
    agent = agent_of()
    digests = [digest_of(agent)]

    @agent.instructions
    def more() -> str:
        return "And kind."

    digests.append(digest_of(agent))

    @agent.output_validator
    def check(output: Any) -> Any:
        return output

    digests.append(digest_of(agent))
    agent.tool_plain(other_tool)
    digests.append(digest_of(agent))
    assert len(set(digests)) == len(digests)
