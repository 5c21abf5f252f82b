"""What a user declares: steps and pipelines. Data without behaviour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import (
    Annotated,
    ClassVar,
    Concatenate,
    Generic,
    Never,
    Protocol,
    Self,
    TypeAlias,
    TypeGuard,
    TypeVar,
    cast,
    overload,
    runtime_checkable,
)

from pydantic import BaseModel, ConfigDict, Field

from .errors import ConfigurationError
from .path import Segment, step_segment
from .signatures import CallKind, CallShape, call_shape, may_flow, type_names
from .usage import UsageEstimate

InT_contra = TypeVar("InT_contra", contravariant=True)
OutT_co = TypeVar("OutT_co", covariant=True)
InT = TypeVar("InT")
OutT = TypeVar("OutT")
NextT = TypeVar("NextT")

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
        """An async generator function with the parameters of ``run``."""


class StepConfig(BaseModel):
    """How a step is run.

    ``max_retries`` is the number of attempts after the first (default: 1 for agents, 0 for
    functions); ``timeout_s`` bounds one attempt, in seconds; ``thread`` sends a synchronous
    function to a worker thread (``False`` keeps it on the loop); ``estimate`` is reserved from the
    budget before each attempt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_retries: Annotated[int, Field(ge=0)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    thread: bool | None = None
    estimate: UsageEstimate = UsageEstimate()


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Step(Generic[InT_contra, OutT_co]):
    """One piece of work with a name: a function, or (as an `AgentStep`) an agent.

    ``updates_context`` merges the output (a dict or a model) into the context; ``sink_to`` stores
    it at a dotted path of the context. Both are validated by the context's model.
    """

    name: str
    agent: Callable[..., object] | Agent | None = None
    config: StepConfig = StepConfig()
    updates_context: bool = False
    sink_to: str | None = None
    meta: Mapping[str, JSONValue] = field(default_factory=dict)
    shape: CallShape | None = field(init=False, default=None)

    default_retries = 0
    is_sequence: ClassVar[bool] = False

    @property
    def own_segments(self) -> tuple[Segment, ...]:
        """What the step adds to the path of a run's root or of its first place in a container."""
        return (step_segment(self.name),)

    def __new__(cls, **declared: object) -> Self:
        """Make an `AgentStep` of ``Step(agent=…)`` when the agent has a ``run``."""
        if cls.__hash__ is not object.__hash__:  # a subclass declared without eq=False
            cls.__hash__ = object.__hash__  # type: ignore[method-assign]
            cls.__eq__ = object.__eq__  # type: ignore[method-assign]
        if cls is Step and isinstance(declared.get("agent"), Agent):
            return cast(Self, super().__new__(AgentStep))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError("a step needs a name; found an empty one")
        object.__setattr__(self, "shape", self._shape())

        if self.keeps_the_loop and self.config.timeout_s is not None:
            raise ConfigurationError(
                f"step {self.name!r}: timeout_s cannot be kept for a synchronous function on the "
                "loop; leave out thread=False"
            )

    @property
    def keeps_the_loop(self) -> bool:
        """Whether the step is a synchronous function that was told not to leave the loop."""
        is_sync = self.shape is not None and self.shape.kind is CallKind.SYNC
        return is_sync and self.config.thread is False

    def _shape(self) -> CallShape | None:
        return call_shape(self.agent, self.name) if callable(self.agent) else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def max_retries(self) -> int:
        """The number of attempts after the first."""
        retries = self.config.max_retries
        return self.default_retries if retries is None else retries

    def __rshift__(
        self, other: Step[OutT_co, NextT] | Pipeline[OutT_co, NextT]
    ) -> Pipeline[InT_contra, NextT]:
        return Pipeline.of(self, other) if is_node(other) else NotImplemented

    @classmethod
    def from_callable(
        cls,
        function: Callable[..., object],
        *,
        name: str | None = None,
        config: StepConfig | None = None,
        updates_context: bool = False,
        sink_to: str | None = None,
        meta: Mapping[str, JSONValue] | None = None,
    ) -> Self:
        """A step of a function, synchronous or async; its name is the function's unless given."""
        return cls(
            name=name or _name_of(function),
            agent=function,
            config=config or StepConfig(),
            updates_context=updates_context,
            sink_to=sink_to,
            meta=meta or {},
        )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AgentStep(Step[InT_contra, OutT_co]):
    """A step that an agent works on: an object with ``async run(data, …)``."""

    default_retries = 1

    def _shape(self) -> CallShape | None:
        if not isinstance(self.agent, Agent):
            raise ConfigurationError(
                f"step {self.name!r}: an agent is an object with `async run`; "
                f"found {type(self.agent).__name__}"
            )
        return call_shape(self.agent.run, self.name)


AnyStep: TypeAlias = Step[Never, object]


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline(Generic[InT_contra, OutT_co]):
    """Steps one after the other; each gets the output of the one before. Made with ``>>``."""

    steps: tuple[AnyStep, ...]
    is_sequence: ClassVar[bool] = True
    own_segments: ClassVar[tuple[Segment, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for one in self.steps:
            if not is_node(one):
                raise ConfigurationError(
                    f"a pipeline is made of steps; found {type(one).__name__}: {one!r:.60}"
                )
        if not self.steps:
            raise ConfigurationError("a pipeline needs at least one step")
        by_name: dict[str, AnyStep] = {}
        for one in self.steps:
            if by_name.setdefault(one.name, one) is not one:
                raise ConfigurationError(
                    f"two different steps of this pipeline are called {one.name!r}; "
                    "give one of them another name"
                )
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            _check_neighbours(before, after)

    @classmethod
    def of(cls, *parts: AnyStep | AnyPipeline) -> Self:
        """One flat pipeline of steps and pipelines."""
        return cls(tuple(one for part in parts for one in steps_of(part)))

    @classmethod
    def from_step(cls, only: AnyStep) -> Self:
        """A pipeline of one step."""
        return cls((only,))

    def __rshift__(
        self, other: Step[OutT_co, NextT] | Pipeline[OutT_co, NextT]
    ) -> Pipeline[InT_contra, NextT]:
        return Pipeline.of(self, other) if is_node(other) else NotImplemented

    def __repr__(self) -> str:
        return f"<Pipeline {name_of(self)}>"


def is_node(value: object) -> TypeGuard[Node]:
    """Whether ``value`` is a step or a pipeline."""
    return isinstance(value, Step | Pipeline)


AnyPipeline: TypeAlias = Pipeline[Never, object]
Node: TypeAlias = AnyStep | AnyPipeline
"""What a frame can stand for."""


def steps_of(node: Node) -> Iterable[AnyStep]:
    """The steps that ``node`` is, or is made of."""
    return node.steps if isinstance(node, Pipeline) else (node,)


def name_of(node: Node) -> str:
    """A step's name; for a pipeline, its steps' names joined with ``>>``."""
    return " >> ".join(one.name for one in steps_of(node))


class PipelineTypeError(ConfigurationError, ValueError):
    """Two neighbouring steps declare types that do not fit."""


def _check_neighbours(before: AnyStep, after: AnyStep) -> None:
    if before.shape is None or after.shape is None or after.shape.data is None:
        return
    given, wanted = before.shape.output_type, after.shape.input_type
    if given is not None and wanted is not None and not may_flow(given, wanted):
        raise PipelineTypeError(
            f"{after.name!r} takes {type_names(wanted)}, but {before.name!r} before it "
            f"returns {type_names(given)}"
        )


def _name_of(function: Callable[..., object]) -> str:
    name: str = getattr(function, "__name__", type(function).__name__)
    return name


@overload
def step(function: Callable[[], Awaitable[OutT]], /) -> Step[object, OutT]: ...
@overload
def step(function: Callable[[], OutT], /) -> Step[object, OutT]: ...
@overload
def step(function: Callable[Concatenate[InT, ...], Awaitable[OutT]], /) -> Step[InT, OutT]: ...
@overload
def step(function: Callable[Concatenate[InT, ...], OutT], /) -> Step[InT, OutT]: ...
@overload
def step(
    *,
    name: str | None = None,
    config: StepConfig | None = None,
    max_retries: int | None = None,
    timeout_s: float | None = None,
    thread: bool | None = None,
    updates_context: bool = False,
    sink_to: str | None = None,
) -> StepDecorator: ...
def step(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    config: StepConfig | None = None,
    max_retries: int | None = None,
    timeout_s: float | None = None,
    thread: bool | None = None,
    updates_context: bool = False,
    sink_to: str | None = None,
) -> AnyStep | StepDecorator:
    """Make a `Step` of the function below it: ``@step`` or ``@step(timeout_s=5)``.

    ``max_retries``, ``timeout_s`` and ``thread`` stand for the fields of `StepConfig` of that name
    and win over ``config``.
    """
    own = {"max_retries": max_retries, "timeout_s": timeout_s, "thread": thread}
    given = {key: value for key, value in own.items() if value is not None}
    base = config or StepConfig()
    whole = StepConfig.model_validate({**dict(base), **given})
    decorate = StepDecorator(name, whole, updates_context, sink_to)
    return decorate if function is None else decorate(function)


@dataclass(frozen=True, slots=True)
class StepDecorator:
    """What ``@step(…)`` with options returns."""

    name: str | None
    config: StepConfig
    updates_context: bool
    sink_to: str | None

    @overload
    def __call__(self, function: Callable[[], Awaitable[OutT]], /) -> Step[object, OutT]: ...
    @overload
    def __call__(self, function: Callable[[], OutT], /) -> Step[object, OutT]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[InT, ...], Awaitable[OutT]], /
    ) -> Step[InT, OutT]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[InT, ...], OutT], /) -> Step[InT, OutT]: ...
    def __call__(self, function: Callable[..., object], /) -> AnyStep:
        """The step of ``function``."""
        return Step.from_callable(
            function,
            name=self.name,
            config=self.config,
            updates_context=self.updates_context,
            sink_to=self.sink_to,
        )
