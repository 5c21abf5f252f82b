"""How a step's function is called: worked out once for each step."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import AsyncGeneratorType, GeneratorType
from typing import TypeAlias, cast

from pydantic import BaseModel

from .agents import runnable
from .context_view import plain_of, view_of
from .errors import (
    MissingAgentError,
    NonRetryableError,
    StepSignatureError,
    TypeMismatchError,
    UnusableOutput,
)
from .frame import AnyFrame
from .outcomes import Chunk
from .placeholders import mentions_steps
from .run import Facility
from .signatures import CallKind, CallShape, agent_shape, call_shape, type_names
from .step_config import Agent, StepConfig, StreamingAgent
from .steps import AnyStep, Node
from .usage import FREE, NO_METADATA, Meter, Metered, Usage
from .user_code import Raised, caught, caught_inline, message_of, run_in_thread, run_inline
from .values import ATOMS

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


class Trial:
    """One attempt: what its calls are given beside the frame, and what it has come to so far.

    ``meter`` is that of the call in flight, and ``spent`` what all calls have used, known however
    the attempt ends; ``thread_runs`` says that a thread has not returned. ``metadata`` are the
    newest output's. ``made`` is an output that a validator may refuse.
    """

    __slots__ = (
        "context",
        "data",
        "made",
        "metadata",
        "meter",
        "resources",
        "spent",
        "thread_runs",
    )

    def __init__(self, data: object, resources: object) -> None:
        self.data = data
        self.context: BaseModel | None = None
        self.resources = resources
        self.meter: Meter | None = None
        self.spent = FREE
        self.thread_runs = False
        self.metadata = NO_METADATA
        self.made: object = None


BodyCall: TypeAlias = Callable[[AnyFrame, Trial], Awaitable[object]]
_Arguments: TypeAlias = tuple[tuple[object, ...], dict[str, object]]
_Prepare: TypeAlias = Callable[[AnyFrame, Trial], _Arguments]


@dataclass(frozen=True, slots=True)
class Body:
    """A step's function with everything that its signature asks for.

    What ``call`` gives goes through `finished` when it is awaited.
    """

    call: BodyCall
    injected: frozenset[str]


def body_of(step: AnyStep, agent: Agent | None = None) -> Body:
    """The body of ``step``; `MissingAgentError` when it has none.

    ``agent`` is whose ``run`` the step's function is, for one that can also stream.
    """
    function, shape = function_of(step)
    call, injected = _call_of(function, shape, step), frozenset(shape.injected)
    if isinstance(agent, StreamingAgent) and callable(agent.stream):
        streamed = agent_shape(agent.stream, step.name)
        if streamed.kind is CallKind.ASYNC:
            raise StepSignatureError(
                f"step {step.name!r}: an agent's `stream` is an async generator function "
                f"(`async def` with `yield`); {type(agent).__name__}'s yields nothing"
            )
        prepare = _preparing(streamed, _options_for(agent.stream, streamed, step.config))
        call = _streaming_on_request(call, _streaming(agent.stream, prepare))
        injected |= frozenset(streamed.injected)
    return Body(call, injected)


def body_of_other(other: Agent | Callable[..., object], step: AnyStep) -> Body:
    """The body that a plugin puts in the place of ``step``'s: an agent's or a function."""
    if isinstance(other, Agent):
        function = runnable(other).run
        shape = agent_shape(function, step.name)
    elif callable(other):
        function, shape = other, call_shape(other, step.name)
    else:
        raise MissingAgentError(
            f"a plugin of step {step.name!r} redirects to what is neither an agent nor a function: "
            f"{other!r:.60}"
        )
    return Body(_call_of(function, shape, step), frozenset(shape.injected))


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
    """Whether a synchronous step always leaves the loop: it says so, or has a time limit to keep.

    One that says nothing leaves it in frames that have others in flight beside them.
    """
    if step.config.thread is None:
        return step.config.timeout_s is not None
    return step.config.thread


def check_input(step: AnyStep, data: object) -> None:
    """Raise `TypeMismatchError` when ``data`` is not of the type that ``step`` declares."""
    wanted = step.shape.input_type if step.shape is not None else None
    if wanted is None or isinstance(data, wanted):
        return
    found = type(data)
    again = any(found.__qualname__ == one.__qualname__ for one in wanted)
    hint = "; its class was defined again since: run the step that made it again" if again else ""
    raise TypeMismatchError(
        f"{step.name!r} takes {type_names(wanted)}, and its input is {type_names((found,))}{hint}"
    )


def plain_output(output: object) -> object:
    """The output; a context that a step returned as it got it becomes an ordinary model."""
    return plain_of(output) if isinstance(output, BaseModel) else output


def _call_of(function: Callable[..., object], shape: CallShape, step: AnyStep) -> BodyCall:
    prepare = _preparing(shape, _options_for(function, shape, step.config))
    match shape.kind:
        case CallKind.STREAM:
            return _streaming(function, prepare)
        case CallKind.ASYNC:
            return _awaited(function, prepare)
        case CallKind.SYNC if runs_in_thread(step):
            return _threaded(function, prepare)
        case CallKind.SYNC if step.config.thread is None:
            return _inline_when_alone(_inline(function, prepare), _threaded(function, prepare))
        case CallKind.SYNC:
            return _inline(function, prepare)


def _options_for(
    function: Callable[..., object], shape: CallShape, config: StepConfig
) -> dict[str, object]:
    """The options of ``config`` that ``function`` names; one that is not set keeps its default."""
    known = {"temperature": config.temperature, "top_k": config.top_k, "top_p": config.top_p}
    asked = [name for name in known if name in shape.injected]
    if not asked:
        return {}
    declared = inspect.signature(function).parameters
    return {
        name: known[name]
        for name in asked
        if known[name] is not None or declared[name].default is declared[name].empty
    }


_NOTHING_NAMED: dict[str, object] = {}


def _preparing(shape: CallShape, options: Mapping[str, object]) -> _Prepare:
    if shape.data == "" and not shape.injected:
        return lambda frame, trial: ((trial.data,), _NOTHING_NAMED)

    def prepare(frame: AnyFrame, trial: Trial) -> _Arguments:
        named = {**options}
        for name in shape.injected:
            match name:
                case "context":
                    named[name] = trial.context
                case "resources":
                    named[name] = trial.resources
                case "feedback":
                    named[name] = frame.feedback
                case "frame":
                    named[name] = _given_frame(frame, trial.context)
                case "meter":
                    named[name] = trial.meter
        if shape.data is None:
            return (), named
        if shape.data:
            named[shape.data] = trial.data
            return (), named
        return (trial.data,), named

    return prepare


def _given_frame(frame: AnyFrame, context: BaseModel | None) -> AnyFrame:
    """The frame for user code: with a copy of the context, which nobody may write to."""
    if frame.context is None:
        return frame
    return replace(frame, context=view_of(frame.context) if context is None else context)


def _awaited(function: Callable[..., object], prepare: _Prepare) -> BodyCall:
    # Not async itself: one coroutine less on the way to the step's own.
    def call(frame: AnyFrame, trial: Trial) -> Awaitable[object]:
        positional, named = prepare(frame, trial)
        return cast(Awaitable[object], function(*positional, **named))

    return call


def _inline(function: Callable[..., object], prepare: _Prepare) -> BodyCall:
    async def call(frame: AnyFrame, trial: Trial) -> object:
        positional, named = prepare(frame, trial)
        return run_inline(function, *positional, **named)

    return call


def _threaded(function: Callable[..., object], prepare: _Prepare) -> BodyCall:
    async def call(frame: AnyFrame, trial: Trial) -> object:
        positional, named = prepare(frame, trial)
        trial.thread_runs = True
        output = await caught(run_in_thread(function, *positional, **named))
        if isinstance(output, Raised):
            told = message_of(output.error).lower()
            if "thread" in told or "event loop" in told:
                output.error.add_note(_BOUND_TO_A_THREAD)
            raise output.error
        trial.thread_runs = False
        return output

    return call


_BOUND_TO_A_THREAD = (
    "This step ran in a worker thread. When it uses what is bound to one thread, declare it with "
    "thread=False: then it stays on the loop."
)


def _inline_when_alone(inline: BodyCall, threaded: BodyCall) -> BodyCall:
    def call(frame: AnyFrame, trial: Trial) -> Awaitable[object]:
        return (threaded if frame.concurrent else inline)(frame, trial)

    return call


def _streaming(function: Callable[..., object], prepare: _Prepare) -> BodyCall:
    async def call(frame: AnyFrame, trial: Trial) -> object:
        positional, named = prepare(frame, trial)
        chunks: list[object] = []
        whole: Metered | None = None
        source = cast(AsyncGenerator[object, None], function(*positional, **named))
        async with aclosing(source):
            async for data in source:
                if whole is not None:
                    raise UnusableOutput(
                        "the step's stream went on after a Metered, which is its output and "
                        f"therefore its last piece; found {data!r:.60}"
                    )
                if isinstance(data, Metered):
                    whole = data
                    continue
                chunks.append(data)
                await give_chunk(frame, data)
        return _joined(chunks) if whole is None else whole

    return call


def _streaming_on_request(whole: BodyCall, streamed: BodyCall) -> BodyCall:
    def call(frame: AnyFrame, trial: Trial) -> Awaitable[object]:
        return (streamed if frame.stream else whole)(frame, trial)

    return call


async def give_chunk(frame: AnyFrame, data: object) -> None:
    """Tell all who listen that the frame put out ``data``."""
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
        if not isinstance(output.usage, Usage):
            raise unusable_usage(output.usage)
        if type(output.output) in PLAIN_OUTPUTS:
            return output
        return replace(output, output=await finished(output.output))
    if inspect.isawaitable(output):
        awaited: object = await output
        return await finished(awaited)
    if isinstance(output, GeneratorType | AsyncGeneratorType):
        raise UnusableOutput(
            "the step returned a generator, which can be read only once: return a list, "
            "or make the step's own function an async generator to stream"
        )
    return output


def unusable_usage(used: object) -> UnusableOutput:
    """The error for a step that told what it used as something else than a `Usage`."""
    return UnusableOutput(
        f"what a step used is told as a Usage, such as Usage.of(tokens=3); found {used!r:.60}"
    )
