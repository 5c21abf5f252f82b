"""What a prompt and a question become: models and types are found by name, and never evaluated."""

from __future__ import annotations

import json
import sys
from enum import Enum
from types import GenericAlias

import pytest
from IPython.core.error import UsageError
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models import Model, known_model_names
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from typing_extensions import TypedDict

from flujo_nb.agent_cells import agent_step, question_step, type_named
from flujo_nb.engine.step_kinds import HumanInTheLoopStep
from flujo_nb.engine.steps import AgentStep, AnyStep
from tests.notebook import Notebook

KNOWN = next(name for name in known_model_names() if name.startswith("openai:"))


class Verdict(BaseModel):
    good: bool


class Row(TypedDict):
    name: str


class Colour(Enum):
    RED = "red"


class NotForModels:
    """A class of which nothing is known."""


def fast(messages: object, info: object) -> ModelResponse:
    return ModelResponse(parts=[TextPart("fast")])


@pytest.fixture
def named(notebook: Notebook) -> Notebook:
    notebook.shell.user_ns |= {
        "Verdict": Verdict,
        "Row": Row,
        "Colour": Colour,
        "NotForModels": NotForModels,
        "fast": FunctionModel(fast),
        "number": 3,
        "json": json,
    }
    return notebook


def made(notebook: Notebook, model: str = "test", output: str = "str") -> AnyStep:
    return agent_step(notebook.front, "judge", model, "Judge {{ data }}", output, None)


def model_of(step: AnyStep) -> Model:
    agent = step.agent
    assert isinstance(agent, Agent)
    assert isinstance(agent.model, Model)
    return agent.model


# Types


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("str", str),
        ("int", int),
        ("float", float),
        ("bool", bool),
        ("list", list),
        ("dict", dict),
        ("Verdict", Verdict),
        ("Row", Row),
        ("Colour", Colour),
        ("json.JSONDecoder", json.JSONDecoder),
        ("list[Verdict]", GenericAlias(list, (Verdict,))),
        ("list[list[int]]", GenericAlias(list, (GenericAlias(list, (int,)),))),
    ],
)
def test_a_type_is_found_by_its_name(named: Notebook, name: str, found: object) -> None:
    assert type_named(named.front, "--out", name) == found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Verdit", "there is no type 'Verdit'; did you mean 'Verdict'?"),
        ("list[Verdit]", "there is no type 'Verdit'; did you mean 'Verdict'?"),
        ("number", "a class of yours, such as a pydantic model; found int"),
        ("json.dumps", "found function"),
        ("json.dmps", "there is no 'dmps'"),
        ("Verdict.__init__.__globals__", "there is no '__init__'"),
        ("__import__('os')", "there is no type"),
        ("int or Verdict", "there is no type"),
        ("list[]", "there is no type"),
        ("dict[str,int]", "there is no type"),
    ],
)
def test_what_is_no_type_is_refused_in_a_line(named: Notebook, name: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        type_named(named.front, "--out", name)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("output", ["NotForModels", "list[NotForModels]"])
def test_a_class_that_no_answer_can_be_checked_against_is_refused(
    named: Notebook, output: str
) -> None:
    with pytest.raises(UsageError, match=r"--out .*NotForModels") as error:
        made(named, output=output)
    assert "\n" not in str(error.value)


# Models


def test_test_is_the_offline_model(named: Notebook) -> None:
    assert isinstance(model_of(made(named)), TestModel)


def test_a_variable_that_holds_a_model_is_that_model(named: Notebook) -> None:
    assert model_of(made(named, "fast")) is named.shell.user_ns["fast"]


def test_a_variable_called_test_is_the_model_if_it_holds_one(named: Notebook) -> None:
    named.shell.user_ns["test"] = 3
    assert isinstance(model_of(made(named)), TestModel)
    named.shell.user_ns["test"] = named.shell.user_ns["fast"]
    assert isinstance(model_of(made(named)), FunctionModel)


def test_a_provider_s_name_is_its_model(named: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert model_of(made(named, "openai:gpt-5")).model_id == "openai:gpt-5"


def refused(notebook: Notebook, model: str) -> str:
    with pytest.raises(UsageError) as error:
        made(notebook, model)
    said = str(error.value)
    assert "\n" not in said
    return said


def test_a_missing_key_is_told_by_the_variable_to_set(
    named: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    said = refused(named, "openai:gpt-5")
    assert said.startswith(
        "--model openai:gpt-5: set the environment variable OPENAI_API_KEY, for example with "
    )


def test_one_of_two_variables_is_named_as_such(
    named: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    said = refused(named, "vercel:some/model")
    assert "variable VERCEL_AI_GATEWAY_API_KEY or VERCEL_OIDC_TOKEN, for" in said


def test_the_missing_package_of_a_provider_is_told_by_what_to_install(
    named: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "groq", None)
    said = refused(named, "groq:some-model")
    assert said == (
        "--model groq:some-model: its package is missing: pip install 'pydantic-ai-slim[groq]'"
    )


def test_without_pydantic_ai_one_line_says_what_to_install(
    named: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    assert refused(named, "test").startswith(
        "an agent needs pydantic-ai: pip install 'flujo-nb[agents]'"
    )


@pytest.mark.parametrize(
    ("model", "meant"),
    [
        ("fsat", "'fast'"),
        ("tset", "'test'"),
        (KNOWN.replace("openai", "opnai"), f"'{KNOWN}'"),
        (KNOWN.partition(":")[2], f"{KNOWN.partition(':')[2]}'"),
    ],
)
def test_an_unknown_model_is_told_with_the_nearest(named: Notebook, model: str, meant: str) -> None:
    said = refused(named, model)
    assert said.startswith(f"--model {model}: there is no such model; did you mean ")
    assert f"{meant}? else give" in said


def test_a_model_that_is_like_no_other_is_told_with_what_there_may_be(named: Notebook) -> None:
    said = refused(named, "§§§")
    assert "did you mean" not in said
    assert "openai:gpt-5, a variable that holds a model, or test (offline)" in said


@pytest.mark.parametrize("model", ["number", "Verdict", "json"])
def test_a_variable_that_holds_no_model_is_refused(named: Notebook, model: str) -> None:
    assert refused(named, model).startswith(f"--model {model}: a model of pydantic-ai; found ")


# Steps


def test_an_agent_s_step_has_its_prompt_its_model_and_its_type(named: Notebook) -> None:
    step = agent_step(named.front, "judge", "fast", "Judge {{ data }}", "Verdict", 3)
    assert isinstance(step, AgentStep)
    assert (step.name, step.input, step.max_retries) == ("judge", "Judge {{ data }}", 3)
    assert isinstance(step.agent, Agent)
    assert (step.agent.name, step.agent.output_type) == ("judge", Verdict)


def test_an_agent_has_one_retry_unless_told(named: Notebook) -> None:
    assert made(named).max_retries == 1


def test_a_question_s_step_has_its_message_and_the_type_of_its_answer(named: Notebook) -> None:
    step = question_step(named.front, "ask", "Publish {{ data }}?", "Verdict")
    assert isinstance(step, HumanInTheLoopStep)
    assert (step.message_for_user, step.input_schema) == ("Publish {{ data }}?", Verdict)
    assert question_step(named.front, "ask", "Publish?", None).name == "ask"


def test_a_question_refuses_a_type_that_no_answer_can_be_checked_against(named: Notebook) -> None:
    with pytest.raises(UsageError, match="--schema NotForModels: "):
        question_step(named.front, "ask", "Publish?", "NotForModels")
