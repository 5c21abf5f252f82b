"""What models cost, by the price list of genai-prices."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel

OFFLINE = ("test:", "function:")
"""How the ids of pydantic-ai's own test models begin, which cost nothing."""


def first_unpriced(model: Model) -> Model | None:
    """The model without a known price among those that ``model`` may send a request to."""
    match model:
        case TestModel() | FunctionModel():
            return None
        case WrapperModel():
            return first_unpriced(model.wrapped)
        case FallbackModel():
            return next(filter(None, map(first_unpriced, model.models)), None)
        case _:
            return None if _is_listed(model) else model


def has_unpriced(messages: Iterable[ModelMessage]) -> bool:
    """Whether one of the responses in ``messages`` was paid for at an unknown price."""
    return any(
        isinstance(one, ModelResponse)
        and one.usage.cost is None
        and not (one.model_id or "").startswith(OFFLINE)
        for one in messages
    )


def _is_listed(model: Model) -> bool:
    """Whether an answer of ``model`` would get a price: asked of one that used nothing."""
    try:
        url = model.base_url
    except (AttributeError, UserError):  # a few providers know theirs only once they are connected
        url = None
    empty = ModelResponse(
        parts=[], model_name=model.model_name, provider_name=model.system, provider_url=url
    )
    try:
        empty.cost()
    except LookupError:
        return False
    return True
