"""What a user declares: steps and pipelines. Data without behaviour."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Generic,
    Literal,
    Never,
    Self,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Unpack,
    cast,
)

from .agents import runnable
from .errors import ConfigurationError, PipelineTypeError, StepSealed
from .path import Segment, step_segment
from .rates import rate_of
from .signatures import CallKind, CallShape, agent_shape, call_shape, may_flow, type_names
from .step_config import (
    NO_PROCESSORS,
    Agent,
    AgentProcessors,
    JSONValue,
    Plugin,
    StepConfig,
    StepOptions,
    Validator,
)

InT_contra = TypeVar("InT_contra", contravariant=True)
OutT_co = TypeVar("OutT_co", covariant=True)
NextT = TypeVar("NextT")


if TYPE_CHECKING:
    from .step_kinds import (
        CacheStep,
        ConditionalStep,
        DynamicParallelRouterStep,
        HumanInTheLoopStep,
        ImportStep,
        LoopStep,
        MapStep,
        ParallelStep,
    )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Step(Generic[InT_contra, OutT_co]):
    """One piece of work with a name: a function, or (as an `AgentStep`) an agent.

    ``updates_context`` merges the output (a dict or a model) into the context; ``sink_to`` stores
    it at a dotted path of the context. Both are validated by the context's model.

    ``input`` stands in for what the step before gave: text, or a structure of it, with
    ``{{ data.field }}`` placeholders. ``processors`` change input and output, ``plugins`` (with
    their priorities, the highest first) and ``validators`` check the output of each attempt;
    ``fallback_step`` works on the input when all attempts have failed. ``rate`` bounds how often
    attempts start, like ``"60/min"``. ``validation`` makes the step one that checks: what fails
    a plugin or validator fails it (``"strict"``), or is only noted in its metadata (``"lenient"``).

    Before a step first enters a pipeline or a run, `add_plugin` and `fallback` change it in place.
    """

    name: str
    agent: Callable[..., object] | Agent | None = None
    config: StepConfig = StepConfig()
    plugins: Sequence[tuple[Plugin, int]] = ()
    validators: Sequence[Validator] = ()
    processors: AgentProcessors = NO_PROCESSORS
    fallback_step: AnyStep | None = None
    updates_context: bool = False
    sink_to: str | None = None
    input: JSONValue = None
    rate: str | None = None
    validation: Literal["strict", "lenient"] | None = None
    meta: Mapping[str, JSONValue] = field(default_factory=dict)
    shape: CallShape | None = field(init=False, default=None)
    sealed: bool = field(init=False, default=False)
    announced: bool = field(init=False, default=False)

    default_retries = 0
    is_sequence: ClassVar[bool] = False

    # The forms of `flujo_nb.engine.dsl`, which knows the kinds of steps that this module does not.
    review: ClassVar[Callable[..., AnyStep]]
    solution: ClassVar[Callable[..., AnyStep]]
    validate_step: ClassVar[Callable[..., AnyStep]]
    human_in_the_loop: ClassVar[Callable[..., HumanInTheLoopStep[object, object]]]
    loop_until: ClassVar[Callable[..., LoopStep[object, object]]]
    refine_until: ClassVar[Callable[..., LoopStep[object, object]]]
    branch_on: ClassVar[Callable[..., ConditionalStep[object, object]]]
    parallel: ClassVar[Callable[..., ParallelStep[object, object]]]
    dynamic_parallel_branch: ClassVar[Callable[..., DynamicParallelRouterStep[object, object]]]
    map_over: ClassVar[Callable[..., MapStep[object, object]]]
    gather: ClassVar[Callable[..., AnyStep]]
    cached: ClassVar[Callable[..., CacheStep[object, object]]]
    folds: ClassVar[bool] = False
    is_container: ClassVar[bool] = False
    asks: ClassVar[bool] = False

    @property
    def inner(self) -> Sequence[Node]:
        """What the step may run inside: branches, bodies, its fallback."""
        return () if self.fallback_step is None else (self.fallback_step,)

    @property
    def deciders(self) -> Sequence[Callable[..., object] | None]:
        """The functions that the step asks; their second argument may be the context."""
        return ()

    def hands_on(self, after_first: bool) -> bool:
        """Whether what is inside gets the step's input, or the output before, as it is."""
        return True

    @property
    def templates(self) -> Sequence[JSONValue]:
        """Everything of the step that may hold placeholders."""
        return (self.input,)

    @property
    def own_segments(self) -> tuple[Segment, ...]:
        """What the step adds to the path of a run's root or of its first place in a container."""
        return (step_segment(self.name),)

    def __new__(cls, **declared: object) -> Self:
        """Make an `AgentStep` of ``Step(agent=…)`` when the agent has a ``run``."""
        if cls.__hash__ is not object.__hash__:  # a subclass declared without eq=False
            cls.__hash__ = object.__hash__  # type: ignore[method-assign]
            cls.__eq__ = object.__eq__  # type: ignore[method-assign]
        for name in (
            declared.keys() & StepConfig.model_fields.keys() - cls.__dataclass_fields__.keys()
        ):
            told = f"config=StepConfig({name}={declared[name]!r:.40})"
            raise ConfigurationError(f"how a step is run is its configuration: give {told}")
        if cls is Step and isinstance(declared.get("agent"), Agent):
            return cast(Self, super().__new__(AgentStep))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError("a step needs a name; found an empty one")
        if self.fallback_step is not None:
            self._check_fallback(self.fallback_step)
        object.__setattr__(self, "shape", self._shape())
        announced = self.once or bool(self.config.estimate.usage())
        object.__setattr__(self, "announced", announced)
        if self.keeps_the_loop and self.config.timeout_s is not None:
            raise ConfigurationError(
                f"step {self.name!r}: timeout_s cannot be kept for a synchronous function on the "
                "loop; leave out thread=False"
            )
        if self.rate is not None:
            rate_of(self.rate, f"step {self.name!r}")

    @property
    def in_background(self) -> bool:
        """Whether the run goes on while the step works."""
        return self.config.execution_mode == "background"

    @property
    def once(self) -> bool:
        """Whether the step may run once only."""
        return self.config.at_most_once

    @property
    def keeps_the_loop(self) -> bool:
        """Whether the step is a synchronous function that was told not to leave the loop."""
        is_sync = self.shape is not None and self.shape.kind is CallKind.SYNC
        return is_sync and self.config.thread is False

    def _shape(self) -> CallShape | None:
        return call_shape(self.agent, self.name) if callable(self.agent) else None

    @property
    def work(self) -> Callable[..., object] | None:
        """The function that an attempt calls."""
        return self.agent if callable(self.agent) else None

    def seal(self) -> None:
        """Let nothing change the step from now on, or what it runs inside."""
        if not self.sealed:
            object.__setattr__(self, "sealed", True)
            for node in self.inner:
                node.seal()

    def add_plugin(self, plugin: Plugin, priority: int = 0) -> Self:
        """Have ``plugin`` check the output too. Raises `StepSealed` when the step is in use."""
        return self._changed("plugins", (*self.plugins, (plugin, priority)))

    def fallback(self, other: AnyStep) -> Self:
        """Have ``other`` do the work when this step fails; `StepSealed` when it is in use."""
        self._check_fallback(other)
        return self._changed("fallback_step", other)

    def _check_fallback(self, given: object) -> None:
        if not isinstance(given, Step):
            what = f"the fallback of step {self.name!r}"
            raise ConfigurationError(f"{what} is a step; found {given!r:.60}")

    def _changed(self, name: str, value: object) -> Self:
        if self.sealed:
            raise StepSealed(
                f"step {self.name!r} is part of a pipeline or a run and no longer changes: set "
                f"{name} before that, or make a new one with dataclasses.replace"
            )
        object.__setattr__(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def max_retries(self) -> int:
        """The number of attempts after the first."""
        retries = 0 if self.once else self.config.max_retries
        return self.default_retries if retries is None else retries

    def __rshift__(
        self, other: Step[OutT_co, NextT] | Pipeline[OutT_co, NextT]
    ) -> Pipeline[InT_contra, NextT]:
        return Pipeline.of(self, other) if is_node(other) else NotImplemented

    @classmethod
    def from_callable(
        cls, function: Callable[..., object] | Agent, **options: Unpack[StepOptions]
    ) -> Self:
        """A step of a function or an agent; its name is the function's unless given.

        Options that `StepConfig` knows stand for its fields and win over ``config``.
        """
        if is_node(function):
            raise ConfigurationError(f"{function!r} is a step already; use it as it is")
        given: dict[str, object] = {**options}
        own = {key: given[key] for key in StepConfig.model_fields if key in given}
        rest = {key: value for key, value in given.items() if key not in own}
        base = options.get("config") or StepConfig()
        rest["config"] = StepConfig.model_validate({**dict(base), **own}) if own else base
        rest["name"] = options.get("name") or _name_of(function)
        return cls(agent=function, **rest)  # type: ignore[arg-type]  # as StepOptions says

    from_mapper = from_callable

    async def arun(self, data: object = None, **injected: object) -> object:
        """Call the step's function or agent directly, as a test of it does: no attempts, no run."""
        if self.work is None:
            raise ConfigurationError(f"step {self.name!r} has no function or agent to call")
        given = self.work(data, **injected)
        return await given if inspect.isawaitable(given) else given


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AgentStep(Step[InT_contra, OutT_co]):
    """A step that an agent works on: an object with ``async run(data, …)``."""

    default_retries = 1
    runner: Agent = field(init=False)

    def _shape(self) -> CallShape | None:
        if isinstance(self.agent, type):
            name = self.agent.__name__
            raise ConfigurationError(
                f"an agent is an object; found the class {name}: make one, {name}(…)"
            )
        if not isinstance(self.agent, Agent):
            raise ConfigurationError(
                f"step {self.name!r}: an agent is an object with `async run`; "
                f"found {type(self.agent).__name__}"
            )
        object.__setattr__(self, "runner", runnable(self.agent))
        return agent_shape(self.runner.run, self.name)

    @property
    def work(self) -> Callable[..., object] | None:
        """The agent's ``run``."""
        return self.runner.run


AnyStep: TypeAlias = Step[Never, object]


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline(Generic[InT_contra, OutT_co]):
    """Steps one after the other; each gets the output of the one before. Made with ``>>``."""

    steps: tuple[AnyStep, ...]
    is_sequence: ClassVar[bool] = True
    in_background: ClassVar[bool] = False
    folds: ClassVar[bool] = True
    is_container: ClassVar[bool] = False
    asks: ClassVar[bool] = False
    templates: ClassVar[Sequence[JSONValue]] = ()
    shape: ClassVar[CallShape | None] = None
    announced: ClassVar[bool] = False
    once: ClassVar[bool] = False
    own_segments: ClassVar[tuple[Segment, ...]] = ()
    deciders: ClassVar[Sequence[Callable[..., object] | None]] = ()
    as_step: ClassVar[Callable[..., ImportStep[object, object]]]

    @property
    def inner(self) -> Sequence[Node]:
        """The steps."""
        return self.steps

    def hands_on(self, after_first: bool) -> bool:
        """As steps in a row do."""
        return True

    def seal(self) -> None:
        """Let nothing change the steps from now on."""
        for one in self.steps:
            one.seal()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        for one in self.steps:
            if not isinstance(one, Step):
                raise ConfigurationError(
                    f"a pipeline is made of steps; found {type(one).__name__}: {one!r:.60}"
                )
        if not self.steps:
            raise ConfigurationError("a pipeline needs at least one step")
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            _check_neighbours(before, after)
        self.seal()

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


def _check_neighbours(before: AnyStep, after: AnyStep) -> None:
    if before.shape is None or after.shape is None or after.shape.data is None:
        return
    if after.input is not None or after.processors.prompt_processors:
        return
    if before.plugins or before.processors.output_processors:
        return
    given, wanted = before.shape.output_type, after.shape.input_type
    if before.in_background:  # the next one gets its input
        given = before.shape.input_type
    if given is not None and wanted is not None and not may_flow(given, wanted):
        raise PipelineTypeError(
            f"{after.name!r} takes {type_names(wanted)}, but {before.name!r} before it "
            f"returns {type_names(given)}"
        )


def _name_of(function: Callable[..., object] | Agent) -> str:
    name: str = getattr(function, "__name__", type(function).__name__)
    return name
