"""What a step can be made of and how it is run: agents, configuration, processors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Literal,
    Protocol,
    Self,
    TypeAlias,
    TypedDict,
    runtime_checkable,
)

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .usage import UsageEstimate

if TYPE_CHECKING:
    from .steps import AnyStep

JSONValue: TypeAlias = "str | int | float | bool | Mapping[str, JSONValue] | list[JSONValue] | None"


@runtime_checkable
class Agent(Protocol):
    """Anything with an async ``run`` that takes the input first."""

    @property
    def run(self) -> Callable[..., object]:
        """The call that gives the output."""


@runtime_checkable
class StreamingAgent(Agent, Protocol):
    """An agent that can also give its output in chunks, as they come."""

    @property
    def stream(self) -> Callable[..., object]:
        """An async generator function with the parameters of ``run``.

        Its output is the chunks joined, unless the last thing it gives is a
        `flujo_nb.engine.usage.Metered`: that is the output, and no chunk.
        """


class StepConfig(BaseModel):
    """How a step is run.

    ``max_retries`` is the number of attempts after the first (default: 1 for agents, 0 for
    functions); before each of them ``retry_delay_s`` seconds pass, doubled each time (and spread
    by up to a half) when ``backoff`` is set. ``timeout_s`` bounds one attempt, in seconds;
    ``thread`` sends a synchronous function to a worker thread (``False`` keeps it on the loop);
    ``estimate`` is reserved from the budget before each attempt. ``temperature``, ``top_k`` and
    ``top_p`` reach an agent whose ``run`` names them.

    With ``at_most_once`` a step has no retries and no fallback, and when nobody knows whether it
    did its work (a time-out, an interrupt, a crash) the run pauses and asks what to do. ``pure``
    says whether the step does nothing but compute its output. ``pure=False`` says that it does
    more, so that nothing recorded may stand for it when it is asked for again.

    ``execution_mode="background"`` lets the run go on while the step works; ``share`` is the part
    of the budget that is set aside for it (without one it draws on the run's own);
    ``on_close`` says what closing the runner does with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_retries: Annotated[int, Field(ge=0)] | None = None
    retry_delay_s: Annotated[float, Field(ge=0)] = 0.0
    backoff: bool = False
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    thread: bool | None = None
    estimate: UsageEstimate = UsageEstimate()
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    preserve_fallback_diagnostics: bool = False
    execution_mode: Literal["sync", "background"] = "sync"
    share: UsageEstimate | None = None
    on_close: Literal["await", "cancel", "detach"] = "await"
    at_most_once: bool = False
    pure: bool | None = None

    @model_validator(mode="after")
    def _once_is_once(self) -> Self:
        if self.at_most_once and self.max_retries:
            raise ValueError(f"at_most_once means no retries; found max_retries={self.max_retries}")
        return self


Processor: TypeAlias = "Callable[..., object] | ProcessorObject"
"""Changes a value on its way: ``(data)`` or ``(data, context)``, synchronous or async."""


@runtime_checkable
class ProcessorObject(Protocol):
    """A processor that is an object."""

    @property
    def process(self) -> Callable[..., object]:
        """``(data)`` or ``(data, context)``, synchronous or async."""


@dataclass(frozen=True, slots=True)
class AgentProcessors:
    """What is done to a step's input before the call, and to its output after it, in order."""

    prompt_processors: Sequence[Processor] = ()
    output_processors: Sequence[Processor] = ()


NO_PROCESSORS = AgentProcessors()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """A validator's verdict. ``score`` is between 0 and 1; by default it follows ``is_valid``."""

    is_valid: bool
    score: float | None = None
    diff: Mapping[str, object] | None = None
    feedback: str | None = None
    validator_name: str | None = None
    metadata: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if self.score is None:
            object.__setattr__(self, "score", 1.0 if self.is_valid else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOutcome:
    """A plugin's verdict on an output.

    ``redirect_to`` is an agent that shall work on the original input instead; ``new_solution``
    takes the output's place. Either is checked by all plugins again.
    """

    success: bool
    feedback: str | None = None
    redirect_to: Agent | Callable[..., object] | None = None
    new_solution: object = None


@runtime_checkable
class Validator(Protocol):
    """Checks an output."""

    @property
    def validate(self) -> Callable[..., object]:
        """``(output)`` or ``(output, context=…)``, synchronous or async; a `ValidationResult`."""


@runtime_checkable
class Plugin(Protocol):
    """Checks an output and may send it elsewhere."""

    @property
    def validate(self) -> Callable[..., object]:
        """Takes a dict (``{"output": …}`` when the output is none); a `PluginOutcome`.

        ``context`` and ``resources`` are given when it names them as keyword-only parameters.
        """


@runtime_checkable
class CacheBackend(Protocol):
    """Where a `CacheStep` keeps what its step gave: one `CacheEntry` a key, as it is given."""

    @property
    def get(self) -> Callable[[str], object]:
        """The value of a key, or ``None``; may be async."""

    @property
    def set(self) -> Callable[[str, object], object]:
        """Keep a value under a key; may be async."""


class StepOptions(TypedDict, total=False):
    """What `Step.from_callable` and ``@step`` take: fields of `Step` and of `StepConfig`."""

    name: str | None
    config: StepConfig
    plugins: Sequence[tuple[Plugin, int]]
    validators: Sequence[Validator]
    processors: AgentProcessors
    fallback_step: AnyStep
    updates_context: bool
    sink_to: str
    input: JSONValue
    rate: str
    validation: Literal["strict", "lenient"]
    meta: Mapping[str, JSONValue]
    max_retries: int
    retry_delay_s: float
    backoff: bool
    timeout_s: float
    thread: bool
    execution_mode: Literal["sync", "background"]
    share: UsageEstimate
    on_close: Literal["await", "cancel", "detach"]
    estimate: UsageEstimate
    at_most_once: bool
    pure: bool | None
