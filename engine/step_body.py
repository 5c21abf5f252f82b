"""How a step's function is called: worked out once for each step."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import AsyncGeneratorType, GeneratorType
from typing import TypeAlias, cast

from pydantic import BaseModel

from .context_view import plain_of, view_of
from .errors import MissingAgentError, NonRetryableError, TypeMismatchError, UnusableOutput
from .frame import AnyFrame, Facility
from .outcomes import Chunk
from .placeholders import mentions_steps
from .signatures import CallKind, CallShape, agent_shape, type_names
from .step_config import StreamingAgent
from .steps import AnyStep, Node
from .usage import Metered
from .user_code import Raised, caught, caught_inline, run_in_thread, run_inline
from .values import ATOMS

BodyCall: TypeAlias = Callable[[AnyFrame, BaseModel | None], Awaitable[object]]
_Arguments: TypeAlias = tuple[tuple[object, ...], dict[str, object]]

PLAIN_OUTPUTS = ATOMS | {list, dict, tuple, set, frozenset}
"""Types of outputs that `finished` need not look at."""


def needs_of_step(step: Node) -> Facility:
    """What a run of ``step`` needs because of what it asks for: the context, others' outputs."""
    needs = Facility.NONE
    if any(map(mentions_steps, step.templates)):
        needs |= Facility.OUTPUTS
    shape = step.shape
    if shape is not None and "context" in shape.injected:
        needs |= Facility.CONTEXT
    return needs


@dataclass(frozen=True, slots=True)
class Body:
    """A step's function with everything that its signature asks for.

    ``call`` takes the frame and, when ``takes_context``, the isolated context of the attempt.
    """

    call: BodyCall
    takes_context: bool
    in_thread: bool


def body_of(step: AnyStep) -> Body:
    """The body of ``step``; `MissingAgentError` when it has none."""
    function, shape = function_of(step)
    in_thread = shape.kind is CallKind.SYNC and runs_in_thread(step)
    takes_context = "context" in shape.injected
    match shape.kind:
        case CallKind.STREAM:
            call = _streaming(function, shape)
        case CallKind.ASYNC:
            call = _awaited(function, shape)
        case CallKind.SYNC if in_thread:
            call = _threaded(function, shape)
        case CallKind.SYNC:
            call = _inline(function, shape)
    if isinstance(step.agent, StreamingAgent) and callable(step.agent.stream):
        streamed = agent_shape(step.agent.stream, step.name)
        call = _streaming_on_request(call, _streaming(step.agent.stream, streamed))
        takes_context = takes_context or "context" in streamed.injected
    return Body(call, takes_context, in_thread)


def function_of(step: AnyStep) -> tuple[Callable[..., object], CallShape]:
    """The function behind a step and how to call it; `MissingAgentError` when there is none."""
    work, shape = step.work, step.shape
    if work is None or shape is None:
        raise MissingAgentError(
            f"step {step.name!r} has nothing to run: give it a function or an agent, or register "
            f"a policy for {type(step).__name__}"
        )
    return work, shape


def runs_in_thread(step: AnyStep) -> bool:
    """Whether a synchronous step leaves the loop: it says so, or has a time limit to keep."""
    if step.config.thread is None:
        return step.config.timeout_s is not None
    return step.config.thread


def check_input(step: AnyStep, frame: AnyFrame) -> None:
    """Raise `TypeMismatchError` when the input is not of the type that ``step`` declares."""
    wanted = step.shape.input_type if step.shape is not None else None
    if wanted is None or isinstance(frame.data, wanted):
        return
    found = type(frame.data)
    again = any(found.__qualname__ == one.__qualname__ for one in wanted)
    hint = "; its class was defined again since: run the step that made it again" if again else ""
    raise TypeMismatchError(
        f"{step.name!r} takes {type_names(wanted)}, and its input is {type_names((found,))}{hint}"
    )


def plain_output(output: object) -> object:
    """The output; a context that a step returned as it got it becomes an ordinary model."""
    return plain_of(output) if isinstance(output, BaseModel) else output


def _arguments(shape: CallShape, frame: AnyFrame, context: BaseModel | None) -> _Arguments:
    named: dict[str, object] = {}
    for name in shape.injected:
        match name:
            case "context":
                named[name] = context
            case "resources":
                named[name] = frame.resources
            case "feedback":
                named[name] = frame.feedback
            case "frame":
                named[name] = _given_frame(frame, context)
    if shape.data is None:
        return (), named
    if shape.data:
        named[shape.data] = frame.data
        return (), named
    return (frame.data,), named


def _given_frame(frame: AnyFrame, context: BaseModel | None) -> AnyFrame:
    """The frame for user code: with a copy of the context, which nobody may write to."""
    if frame.context is None:
        return frame
    return replace(frame, context=view_of(frame.context) if context is None else context)


def _awaited(function: Callable[..., object], shape: CallShape) -> BodyCall:
    async def call(frame: AnyFrame, context: BaseModel | None) -> object:
        positional, named = _arguments(shape, frame, context)
        return await finished(function(*positional, **named))

    return call


def _inline(function: Callable[..., object], shape: CallShape) -> BodyCall:
    async def call(frame: AnyFrame, context: BaseModel | None) -> object:
        positional, named = _arguments(shape, frame, context)
        return await finished(run_inline(function, *positional, **named))

    return call


def _threaded(function: Callable[..., object], shape: CallShape) -> BodyCall:
    async def call(frame: AnyFrame, context: BaseModel | None) -> object:
        positional, named = _arguments(shape, frame, context)
        return await finished(await run_in_thread(function, *positional, **named))

    return call


def _streaming(function: Callable[..., object], shape: CallShape) -> BodyCall:
    async def call(frame: AnyFrame, context: BaseModel | None) -> object:
        positional, named = _arguments(shape, frame, context)
        chunks: list[object] = []
        source = cast(AsyncGenerator[object, None], function(*positional, **named))
        async with aclosing(source):
            async for data in source:
                chunks.append(data)
                await _give_chunk(frame, data)
        return _joined(chunks)

    return call


def _streaming_on_request(whole: BodyCall, streamed: BodyCall) -> BodyCall:
    def call(frame: AnyFrame, context: BaseModel | None) -> Awaitable[object]:
        return (streamed if frame.stream else whole)(frame, context)

    return call


async def _give_chunk(frame: AnyFrame, data: object) -> None:
    events, on_chunk = frame.run.events, frame.on_chunk
    if events is None and on_chunk is None:
        return
    chunk = Chunk(data, frame.path, frame.attempt)
    if events is not None:
        await events.chunk_arrived(chunk)
    if on_chunk is not None:
        given: object = caught_inline(on_chunk, chunk)
        if inspect.isawaitable(given):
            given = await caught(given)
        if isinstance(given, Raised):
            if not isinstance(given.error, Exception):
                raise given.error
            # Not the step's fault, so no reason to pay for another attempt.
            raise NonRetryableError(f"on_chunk raised {given.error!r}") from given.error


def _joined(chunks: list[object]) -> object:
    """What a stream comes to: text or bytes joined, anything else as a list."""
    if chunks and all(isinstance(chunk, str) for chunk in chunks):
        return "".join(cast(list[str], chunks))
    if chunks and all(isinstance(chunk, bytes) for chunk in chunks):
        return b"".join(cast(list[bytes], chunks))
    return chunks


async def finished(output: object) -> object:
    """The output that ``output`` stands for: awaited if it must be, refused if it cannot be."""
    if type(output) in PLAIN_OUTPUTS:
        return output
    if isinstance(output, Metered):
        return Metered(await finished(output.output), output.usage)
    if inspect.isawaitable(output):
        awaited: object = await output
        return await finished(awaited)
    if isinstance(output, GeneratorType | AsyncGeneratorType):
        raise UnusableOutput(
            "the step returned a generator, which can be read only once: return a list, "
            "or make the step's own function an async generator to stream"
        )
    return output
