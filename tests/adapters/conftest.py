"""No test here sends a request to anybody, but for those that ask for the server of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic_ai.models import override_allow_model_requests

from tests.adapters.openai_server import OpenAIServer
from tests.engine.conftest import wait

__all__ = ["wait"]


@pytest.fixture(autouse=True)
def _no_requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYDANTIC_AI_NO_BANNER", "1")
    with override_allow_model_requests(False):
        yield


@pytest.fixture
def server(_no_requests: None) -> Iterator[OpenAIServer]:
    """A server of this process that speaks OpenAI's chat completions."""
    with OpenAIServer() as server, override_allow_model_requests(True):
        yield server
