"""Which agents have one digest."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from pydantic_ai import Agent, Tool
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.capabilities import AbstractCapability, Hooks, ProcessHistory
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.output import TextOutput
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.toolsets import FunctionToolset

from flujo_nb.adapters.definition import AgentDefinition
from flujo_nb.adapters.pydantic_ai import adapted
from flujo_nb.engine.differences import first_difference
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_definitions import StepDefinition, StepDefinitions
from flujo_nb.engine.steps import Step
from tests.adapters.fakes import Scripted, Verdict, run
from tests.engine.caching import metadata_of, runs
from tests.engine.cells import cell
from tests.engine.fakes import Wait
from tests.house.tree import ROOT


def plain_tool(number: int) -> int:
    return number


def other_tool(number: str) -> str:
    return number


def greeting(city: str) -> str:
    return f"Greet {city}."


def digest_of(agent: Any) -> str:
    return AgentDefinition(agent).digest()


def in_step(agent: Any) -> StepDefinition:
    return StepDefinitions().of(Step(name="judge", agent=agent))


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
        {"tools": [Tool(plain_tool, prepare=lambda ctx, told: told)]},
        {"tools": [Tool(plain_tool, args_validator=print)]},
        {"tools": [Tool(plain_tool, requires_approval=True)]},
        {"toolsets": [FunctionToolset([other_tool])]},
        {"toolsets": [FunctionToolset([other_tool]).filtered(lambda ctx, told: True)]},
        {"toolsets": [FunctionToolset([other_tool]).prefixed("b")]},
        {"toolsets": [lambda ctx: None]},
        {"capabilities": [ProcessHistory(lambda messages: messages)]},
        {"output_type": TextOutput(greeting)},
        {"retries": 3},
        {"end_strategy": "exhaustive"},
        {"model": FallbackModel(TestModel(), TestModel(custom_output_text="a"))},
        {"model": FallbackModel(TestModel(), TestModel(custom_output_text="b"))},
        {"model_settings": {"temperature": 0.6}},
    ],
)
def test_each_part_of_the_definition_counts(changed: dict[str, Any]) -> None:
    assert digest_of(agent_of(**changed)) != digest_of(agent_of())
    assert in_step(agent_of(**changed)).digest != in_step(agent_of()).digest


def test_in_a_step_what_only_this_process_knows_does_not_count() -> None:
    def asking(client: object) -> Agent[Any, Any]:
        def ask(number: int) -> str:
            return f"{client} {number}"

        return agent_of(tools=[ask])

    one, two = (asking(object()) for _ in range(2))
    assert digest_of(one) != digest_of(two)
    assert in_step(one).digest == in_step(two).digest
    assert "not tracked: client (object)" in in_step(one).lines


def test_a_step_tells_the_model_the_prompts_and_the_tools_of_its_agent() -> None:
    lines = in_step(agent_of()).lines
    for told in ("'openai:gpt-4o'", "'You are a judge.'", "'Be brief.'", "function plain_tool"):
        assert any(line.endswith(f" = {told}") for line in lines)
    changed = first_difference(lines, in_step(agent_of(instructions="Be long.")).lines)
    assert changed.splitlines()[1:] == [
        "- agent._instructions[0].instruction = 'Be brief.'",
        "+ agent._instructions[0].instruction = 'Be long.'",
    ]


def test_in_a_step_an_agent_that_is_overridden_is_another() -> None:
    agent = agent_of()
    node, definitions = Step[Any, Any](name="judge", agent=agent), StepDefinitions()
    first = definitions.of(node)
    with agent.override(model=TestModel()):
        assert definitions.of(node).digest != first.digest
    assert definitions.of(node).digest == first.digest
    assert definitions.of(node) is definitions.of(node)


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


def tool_of(source: str) -> Any:
    """A function ``tool`` as a cell of a notebook defines it."""
    return cell(source)["tool"]


TOOL = """
RATE = {rate}
def make(factor):
    def scaled(x):
        {doc}
        return x * {inside} * factor * RATE
    return scaled
scaled = make({factor})
def tool(number: int) -> int:
    return scaled(number)
"""


def made(source: str = TOOL, rate: int = 1, doc: str = "", inside: int = 1, factor: int = 1) -> str:
    return source.format(rate=rate, doc=doc, inside=inside, factor=factor)


PLACES = ["tools", "instructions", "output_type"]


@pytest.mark.parametrize("place", PLACES)
def test_what_a_function_of_an_agent_uses_counts(place: str) -> None:
    def of(**edited: Any) -> str:
        function = tool_of(made(**edited))
        return digest_of(agent_of(**{place: [function]}))

    assert of() == of()
    assert len({of(), of(rate=2), of(inside=2), of(factor=2)}) == 4


@pytest.mark.parametrize("place", PLACES)
def test_how_a_function_of_an_agent_is_written_does_not_count(place: str) -> None:
    def of(source: str) -> str:
        return digest_of(agent_of(**{place: [tool_of(source)]}))

    assert of(made(doc="'Scale a number.'")) == of(made())
    assert of(made().replace("(x):", "( x ):  # scales\n\n")) == of(made())


def test_the_docstring_of_a_tool_counts_because_the_model_reads_it() -> None:
    told, silent = "def tool(n: int) -> int:\n 'Doubles.'\n return n", "def tool(n: int): return n"
    assert digest_of(agent_of(tools=[tool_of(told)])) != digest_of(
        agent_of(tools=[tool_of(silent)])
    )


def test_a_cached_agent_runs_again_when_what_its_tool_uses_is_edited(wait: Wait) -> None:
    names = cell(made())
    agent = Agent(TestModel(), tools=[names["tool"]])
    runner = Flujo(Step.cached(Step(name="agent", agent=agent)))

    def hits(count: int = 1) -> list[bool]:
        return ["cache_hit" in metadata_of(result) for result in runs(wait, runner, *"x" * count)]

    assert hits(2) == [False, True]
    for edit in ("RATE = 2", "def scaled(x): return x", "def scaled(x): return RATE"):
        exec(edit, names)  # noqa: S102  # as a kernel does
        assert (edit, hits(2)) == (edit, [False, True])
    agent.tool_plain(other_tool)
    assert hits(2) == [False, True]
    agent.output_validator(lambda output: output)
    assert hits(2) == [False, True]


class Rates:
    def __init__(self, rate: int) -> None:
        self.rate = rate

    def scaled(self, number: int) -> int:
        return number * self.rate


def test_the_object_of_a_method_counts() -> None:
    rates = Rates(1)
    agent = agent_of(tools=[rates.scaled])
    known = AgentDefinition(agent)
    before = known.digest()
    assert before == digest_of(agent_of(tools=[Rates(1).scaled]))
    rates.rate = 2
    assert known.digest() == digest_of(agent_of(tools=[Rates(2).scaled])) != before


@dataclass
class Tone(AbstractCapability[Any]):
    tone: str

    def get_instructions(self) -> str:
        return f"Be {self.tone}."


@dataclass
class Bounds:
    most: int
    names: set[str]

    def clipped(self, number: int) -> int:
        return min(number, self.most)


def test_what_is_changed_in_place_counts() -> None:
    tone, hooks, settings = Tone("kind"), Hooks[Any](), {"temperature": 0.5}
    tool = Tool(plain_tool)
    bounds = Bounds(3, {"a"})
    agent = agent_of(
        capabilities=[tone, hooks],
        model_settings=settings,
        tools=[tool, bounds.clipped],
    )
    known = AgentDefinition(agent)
    digests = [known.digest()]
    tone.tone = "stern"
    digests.append(known.digest())
    hooks.on.before_run(print)
    digests.append(known.digest())
    settings["temperature"] = 0.6
    digests.append(known.digest())
    bounds.most = 4
    digests.append(known.digest())
    bounds.names.add("b")
    digests.append(known.digest())
    tool.description = "Gives it back."
    digests.append(known.digest())
    agent.model = TestModel()
    digests.append(known.digest())
    assert len({*digests}) == len(digests)
    assert known.digest() == digests[-1]


def test_what_overrides_a_part_counts_while_it_does() -> None:
    agent = agent_of()
    known = AgentDefinition(agent)
    before = known.digest()
    for part in ({"model": TestModel()}, {"tools": []}, {"instructions": "Be long."}):
        with agent.override(**part):
            assert known.digest() != before
        assert known.digest() == before


def test_running_an_agent_does_not_change_what_it_is(wait: Wait) -> None:
    models = [TestModel(), FunctionModel(Scripted("ok", "ok")._whole)]
    for agent in [Agent(model, tools=[plain_tool]) for model in models]:
        known = AgentDefinition(agent)
        before = known.digest()
        wait(run(agent))
        assert known.digest() == before == digest_of(agent)


def test_a_model_counts_by_its_name_and_address_and_not_by_its_connection() -> None:
    def of(name: str, url: str) -> str:
        provider = OpenAIProvider(base_url=url, api_key="none")
        return digest_of(Agent(OpenAIChatModel(name, provider=provider)))

    here, there = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"
    assert of("a", here) == of("a", here)
    assert len({of("a", here), of("a", there), of("b", here)}) == 3


def test_an_agent_that_is_more_than_a_wrapper_counts_with_what_it_adds() -> None:
    class Polite(WrapperAgent[Any, Any]):
        pass

    assert digest_of(Polite(agent_of())) != digest_of(agent_of())


PARTS = {
    "_instructions": {"instructions": "Be long."},
    "_system_prompts": {"system_prompt": "You are a poet."},
    "_function_toolset": {"tools": [other_tool]},
    "_root_capability": {"capabilities": [Tone("kind")]},
    "_max_tool_retries": {"retries": 3},
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_counts_under_whatever_name_the_library_holds_it(name: str) -> None:
    def of(**changed: Any) -> str:
        agent = agent_of(**changed)
        vars(agent)["_of_another_version"] = vars(agent).pop(name)
        return digest_of(agent)

    assert of() == of() != of(**PARTS[name])
