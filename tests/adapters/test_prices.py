"""Which models have a price."""

from __future__ import annotations

import pytest
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import RequestUsage

from flujo_nb.adapters.prices import first_unpriced, has_unpriced

LISTED, UNLISTED = "gpt-4o", "a-model-of-the-house"


def openai(name: str, url: str = "http://127.0.0.1:1/v1") -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=url, api_key="none"))


@pytest.mark.parametrize(
    "model",
    [
        TestModel(),
        FunctionModel(lambda messages, info: ModelResponse(parts=[])),
        openai(LISTED),
        WrapperModel(openai(LISTED)),
        FallbackModel(openai(LISTED), TestModel()),
        openai("meta-llama/Llama-3.3-70B-Instruct-Turbo", "https://api.together.xyz/v1"),
    ],
    ids=lambda model: model.model_id,
)
def test_models_of_known_price(model: Model) -> None:
    assert first_unpriced(model) is None


@pytest.mark.parametrize(
    "model",
    [
        openai(UNLISTED),
        WrapperModel(openai(UNLISTED)),
        FallbackModel(openai(LISTED), openai(UNLISTED)),
        WrapperModel(FallbackModel(TestModel(), WrapperModel(openai(UNLISTED)))),
    ],
    ids=lambda model: model.model_id,
)
def test_the_first_model_of_unknown_price_is_named(model: Model) -> None:
    found = first_unpriced(model)
    assert found is not None
    assert (found.system, found.model_name) == ("openai", UNLISTED)


def test_one_response_without_a_cost_makes_the_price_unknown() -> None:
    free = ModelResponse(parts=[], model_id="test:test")
    paid = ModelResponse(parts=[], model_id="openai:gpt-4o", usage=RequestUsage(cost=1))
    unknown = ModelResponse(parts=[], model_id="openai:gpt-4o")
    assert not has_unpriced([ModelRequest(parts=[]), free, paid])
    assert has_unpriced([free, paid, unknown])
