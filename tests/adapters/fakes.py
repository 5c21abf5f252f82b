"""How tests drive an adapted agent without an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.usage import RequestUsage

from flujo_nb.adapters.pydantic_ai import adapted
from flujo_nb.engine.frame import AnyFrame, make_execution_frame
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Meter, Metered, UsageLimits

BOTH_WAYS = pytest.mark.parametrize("how", ["run", "stream"])
"""For `run_or_streamed`."""


class Verdict(BaseModel):
    good: bool
    reason: str


def given(
    resources: object = None,
    feedback: str | None = None,
    meter: Meter | None = None,
    limits: UsageLimits | None = None,
) -> dict[str, Any]:
    """What the engine gives an agent by name."""
    frame: AnyFrame = make_execution_frame(Step(name="agent"), limits=limits)
    return {
        "frame": frame,
        "resources": resources,
        "feedback": feedback,
        "meter": meter or Meter(),
    }


async def run(agent: Any, data: object = "hello", **rest: Any) -> Metered:
    return await adapted(agent).run(data, **given(**rest))


async def streamed(agent: Any, data: object = "hello", **rest: Any) -> list[Any]:
    return [item async for item in adapted(agent).stream(data, **given(**rest))]


async def run_or_streamed(how: str, agent: Any, **rest: Any) -> Metered:
    """The outcome of either way, which is the same."""
    if how == "run":
        return await run(agent, **rest)
    return (await streamed(agent, **rest))[-1]


class Scripted:
    """A model that gives the parts of ``replies`` one after the other, and keeps what it was asked.

    Streamed, a text comes in words.
    """

    def __init__(self, *replies: str | ToolCallPart) -> None:
        self.replies = list(replies)
        self.asked: list[list[ModelMessage]] = []
        self.infos: list[AgentInfo] = []
        self.model = FunctionModel(self._whole, stream_function=self._pieces)

    def _next(self, messages: list[ModelMessage], info: AgentInfo) -> str | ToolCallPart:
        self.asked.append(messages)
        self.infos.append(info)
        return self.replies.pop(0)

    def _whole(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        reply = self._next(messages, info)
        return ModelResponse(parts=[TextPart(reply) if isinstance(reply, str) else reply])

    async def _pieces(self, messages: list[ModelMessage], info: AgentInfo) -> Any:
        reply = self._next(messages, info)
        if isinstance(reply, str):
            for number, word in enumerate(reply.split(" ")):
                yield f" {word}" if number else word
        else:
            yield {0: DeltaToolCall(reply.tool_name, reply.args_as_json_str())}


def prompts_of(scripted: Scripted, request: int = 0) -> list[Any]:
    """What the user says in what the model was asked."""
    parts = [part for message in scripted.asked[request] for part in message.parts]
    return [part.content for part in parts if isinstance(part, UserPromptPart)]


class Answering:
    """A model that answers a prompt with what a function makes of it, for ten tokens.

    Streamed, a text comes in words, and after the first it waits for ``go_on``. What it is asked
    to give as tools' arguments (a structured output) is a mapping.
    """

    def __init__(self, answer: Callable[[str], str | Mapping[str, object]]) -> None:
        self.answer = answer
        self.prompts: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.model = FunctionModel(self._whole, stream_function=self._pieces)

    def agent(self, **options: Any) -> Agent[Any, Any]:
        return Agent(self.model, **options)

    def _whole(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        reply = self._answer(messages)
        part = (
            TextPart(reply)
            if isinstance(reply, str)
            else ToolCallPart(info.output_tools[0].name, dict(reply))
        )
        return ModelResponse(parts=[part], usage=RequestUsage(input_tokens=6, output_tokens=4))

    async def _pieces(self, messages: list[ModelMessage], info: AgentInfo) -> Any:
        for number, word in enumerate(str(self._answer(messages)).split(" ")):
            if number:
                await self.go_on.wait()
            yield f" {word}" if number else word

    def _answer(self, messages: list[ModelMessage]) -> str | Mapping[str, object]:
        parts = [part for message in messages for part in message.parts]
        prompt = str([part.content for part in parts if isinstance(part, UserPromptPart)][-1])
        self.prompts.append(prompt)
        return self.answer(prompt)
