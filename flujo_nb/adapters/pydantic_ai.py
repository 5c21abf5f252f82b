"""Agents of pydantic-ai as steps.

Such an agent runs as it is: its model, tools, output type and its own retries, which all belong to
one attempt of the step. This module says how a step's input becomes a prompt, and what of a run is
kept: its usage and price, its messages, and its text as it arrives.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypedDict, TypeGuard

from pydantic_ai import ModelSettings, RunContext
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability, WrapToolExecuteHandler
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import (
    AgentStreamEvent,
    CachePoint,
    ModelMessagesTypeAdapter,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextContent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    UserContent,
    is_multi_modal_content,
)
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.run import AgentRunResult, AgentRunResultEvent
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RunUsage
from pydantic_core import PydanticSerializationError, to_json

from flujo_nb.engine.definition_parts import MadeOf
from flujo_nb.engine.errors import (
    PricingNotConfiguredError,
    RateLimited,
    StepExited,
    StepInterrupted,
    TypeMismatchError,
)
from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.usage import Meter, Metered, Usage
from flujo_nb.engine.user_code import Raised, caught

from .definition import AgentDefinition
from .prices import first_unpriced, has_unpriced

AnyAgent: TypeAlias = AbstractAgent[Any, Any]
Prompt: TypeAlias = str | Sequence[UserContent] | None


def adapted(agent: AnyAgent) -> PydanticAgent:
    """``agent`` as the engine runs it."""
    return PydanticAgent(agent)


class _RunOptions(TypedDict):
    deps: object
    model_settings: ModelSettings
    capabilities: Sequence[AbstractCapability[Any]]
    usage: RunUsage


class PydanticAgent:
    """An agent of pydantic-ai as the engine runs it. It keeps nothing of a run."""

    def __init__(self, agent: AnyAgent) -> None:
        self._agent = agent
        self._definition = AgentDefinition(agent)

    async def run(
        self,
        data: object,
        *,
        frame: AnyFrame,
        resources: object,
        feedback: str | None,
        meter: Meter,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Metered:
        """Run the agent on ``data``; the run's ``resources`` are its dependencies.

        A retry has the prompt with ``feedback`` below it. The messages of the attempt before are
        not there: an attempt that raised has left none, and other frames share this object.
        """
        prompt = _prompt(data, feedback)
        settings = _settings(temperature, top_k, top_p)
        options = self._options(frame, resources, meter, settings)
        with _measured(options["usage"], meter):
            return _finished(await self._agent.run(prompt, **options))

    async def stream(
        self,
        data: object,
        *,
        frame: AnyFrame,
        resources: object,
        feedback: str | None,
        meter: Meter,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> AsyncGenerator[object, None]:
        """As `run`, with the text that the model writes as it arrives.

        An agent whose output cannot be text gives its output at the end only: until it is whole,
        it is not valid, and its JSON is for nobody to read. So does one whose model cannot stream.
        """
        prompt = _prompt(data, feedback)
        settings = _settings(temperature, top_k, top_p)
        options = self._options(frame, resources, meter, settings)
        gives_text = _may_be_text(self._agent.output_json_schema())
        with _measured(options["usage"], meter):
            if not _can_stream(self._agent.model):
                yield _finished(await self._agent.run(prompt, **options))
                return
            async with self._agent.run_stream_events(prompt, **options) as events:
                async for event in events:
                    if isinstance(event, AgentRunResultEvent):
                        yield _finished(event.result)
                    elif gives_text and (text := _text_of(event)):
                        yield text

    def definition_digest(self) -> str:
        """A digest of what the agent is (`flujo_nb.adapters.definition`)."""
        return self._definition.digest()

    def definition_parts(self) -> MadeOf:
        """What the agent is made of, as far as it counts."""
        return self._definition.parts()

    def _options(
        self, frame: AnyFrame, resources: object, meter: Meter, settings: ModelSettings
    ) -> _RunOptions:
        must_be_priced = frame.limits.total_cost_usd_limit is not None
        return {
            "deps": None if self._agent.deps_type is type(None) else resources,
            "model_settings": settings,
            "capabilities": [_Border(must_be_priced, meter)],
            "usage": RunUsage(),
        }


class _Border(AbstractCapability[Any]):
    """What a step adds to every run of its agent.

    Under a limit on costs no model is asked whose price is unknown. What each answer used is told
    at once. And a tool that exits or is interrupted raises an ordinary exception: pydantic-ai calls
    tools in tasks of their own, which the exceptions of Python would leave, and the event loop with
    them.
    """

    def __init__(self, must_be_priced: bool, meter: Meter) -> None:
        self._must_be_priced = must_be_priced
        self._meter = meter

    async def prepare_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Refuse a model without a known price, before it is asked."""
        unpriced = first_unpriced(request_context.model) if self._must_be_priced else None
        if unpriced is not None:
            raise PricingNotConfiguredError(unpriced.system, unpriced.model_name)
        return request_context

    async def after_model_request(
        self,
        ctx: RunContext[Any],
        *,
        request_context: ModelRequestContext,
        response: ModelResponse,
    ) -> ModelResponse:
        """Tell what the run has used so far."""
        self._meter.used = _usage_of(ctx.usage)
        return response

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> object:
        """Call a tool."""
        done = await caught(handler(args))
        match done:
            case Raised(error=SystemExit() as exit_):
                raise StepExited(exit_.code) from exit_
            case Raised(error=KeyboardInterrupt() as interrupt):
                raise StepInterrupted from interrupt
            case Raised(error=error):
                raise error
        return done


@contextmanager
def _measured(used: RunUsage, meter: Meter) -> Iterator[None]:
    """Book what a run ``used`` however it ends, and tell the engine how long it shall wait."""
    try:
        yield
    except ModelAPIError as error:
        if error.retry_after is None:
            raise
        raise RateLimited(str(error), error.retry_after) from error
    finally:
        meter.used = _usage_of(used)


def _usage_of(used: RunUsage) -> Usage:
    return Usage.of(
        cost_usd=float(used.cost or 0), tokens=used.total_tokens, requests=used.requests
    )


def _finished(result: AgentRunResult[object]) -> Metered:
    """The output of a run; its conversation and its model stand in the metadata."""
    messages = result.new_messages()
    metadata = {
        "messages": ModelMessagesTypeAdapter.dump_python(messages, mode="json"),
        "model": result.response.model_name,
    }
    if has_unpriced(messages):
        metadata["price"] = "unknown"
    return Metered(result.output, _usage_of(result.usage), metadata)


def _settings(temperature: float | None, top_k: int | None, top_p: float | None) -> ModelSettings:
    settings = ModelSettings()
    if temperature is not None:
        settings["temperature"] = temperature
    if top_k is not None:
        settings["top_k"] = top_k
    if top_p is not None:
        settings["top_p"] = top_p
    return settings


def _prompt(data: object, feedback: str | None) -> Prompt:
    """What the model is asked: the input, and why the attempt before failed."""
    prompt = _content(data)
    if feedback is None:
        return prompt
    told = f"The previous attempt failed: {feedback}"
    match prompt:
        case None:
            return told
        case str():
            return f"{prompt}\n\n{told}"
        case _:
            return [*prompt, told]


def _content(data: object) -> Prompt:
    """Text and content that pydantic-ai knows as they are; everything else as JSON.

    A list of nothing but texts is data (what a map gave, say): as content the texts would run
    into each other.
    """
    if data is None or isinstance(data, str):
        return data
    if _is_content(data):
        return [data]
    if isinstance(data, list | tuple) and any(map(_is_content, data)):
        return data
    try:
        return to_json(data).decode()
    except PydanticSerializationError as error:
        raise TypeMismatchError(
            "an agent takes text, user content of pydantic-ai or what JSON can hold, and its "
            f"input is {type(data).__name__}: {error}"
        ) from error


def _is_content(value: object) -> TypeGuard[UserContent]:
    """Whether a prompt can hold ``value`` beside text: an image, a document, a mark."""
    return is_multi_modal_content(value) or isinstance(value, TextContent | CachePoint)


def _text_of(event: AgentStreamEvent) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _can_stream(model: Model | str | None) -> bool:
    """Whether ``model`` gives its answer in pieces; one that is only named is taken to."""
    match model:
        case FunctionModel():
            return model.stream_function is not None
        case WrapperModel():
            return _can_stream(model.wrapped)
        case FallbackModel():
            return all(map(_can_stream, model.models))
        case Model():
            return type(model).request_stream is not Model.request_stream
        case _:
            return True


def _may_be_text(schema: Mapping[str, object]) -> bool:
    """Whether ``str`` is an output, or one of several, by the schema of an agent's output."""
    options = schema.get("anyOf")
    return {"type": "string"} in (options if isinstance(options, list) else [schema])
