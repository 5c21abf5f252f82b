"""The steps that contain others, wait for a human, or reuse what ran before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import ClassVar, Literal, TypeAlias

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from .declarations import (
    check_branches,
    check_count,
    check_functions,
    check_inner,
    check_one_of,
    check_step,
    member_of,
)
from .errors import ConfigurationError
from .merging import MergeFunction, MergeStrategy
from .path import BranchKey
from .step_config import Agent, CacheBackend, JSONValue, StepConfig
from .steps import AnyStep, InT_contra, Node, OutT_co, Step
from .usage import UsageLimits

Decider: TypeAlias = Callable[..., object]
"""A user's function that a container asks. It may take fewer arguments than are offered."""


class BranchFailureStrategy(Enum):
    """What a failed branch means for its siblings."""

    PROPAGATE = "propagate"
    IGNORE = "ignore"


_OWN_CONFIG = ("execution_mode", "share", "on_close")
_OF_ATTEMPTS = (
    "agent",
    "plugins",
    "validators",
    "processors",
    "fallback_step",
    "input",
    "rate",
    "validation",
)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ContainerStep(Step[InT_contra, OutT_co]):
    """A step that runs others, and has no attempts of its own.

    What belongs to attempts (retries, validators, a fallback …) is declared on the steps inside.
    """

    is_container: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        defaults = {one.name: one.default for one in fields(Step)}
        given = [name for name in _OF_ATTEMPTS if getattr(self, name) != defaults[name]]
        own = {name: getattr(self.config, name) for name in _OWN_CONFIG}
        if self.config != StepConfig.model_validate(own):
            given.append("config")
        if given:
            raise ConfigurationError(
                f"{type(self).__name__} {self.name!r} takes no {', '.join(given)}: a container has "
                "no attempts of its own; declare it on the steps inside"
            )
        check_inner(self, self.inner)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LoopStep(ContainerStep[InT_contra, OutT_co]):
    """Runs its body at least once, and again until the exit condition holds.

    ``exit_condition_callable(output, context)`` is asked after each iteration;
    ``iteration_input_mapper(output, context, iteration)`` (the number of the iteration that ended,
    from 1) makes the next input, which without it is the output. ``max_loops`` iterations without
    an exit fail the step.
    """

    loop_body_pipeline: Node
    exit_condition_callable: Decider
    max_loops: int = 5
    initial_input_to_loop_body_mapper: Decider | None = None
    iteration_input_mapper: Decider | None = None
    loop_output_mapper: Decider | None = None
    folds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "max_loops", self.max_loops)
        check_functions(
            self,
            "exit_condition_callable",
            exit_condition_callable=self.exit_condition_callable,
            initial_input_to_loop_body_mapper=self.initial_input_to_loop_body_mapper,
            iteration_input_mapper=self.iteration_input_mapper,
            loop_output_mapper=self.loop_output_mapper,
        )

    def hands_on(self, after_first: bool) -> bool:
        """Unless a mapper stands between."""
        first, following = self.initial_input_to_loop_body_mapper, self.iteration_input_mapper
        return (following if after_first else first) is None

    @property
    def deciders(self) -> Sequence[Decider | None]:
        """The exit condition and the mappers."""
        return (
            self.exit_condition_callable,
            self.initial_input_to_loop_body_mapper,
            self.iteration_input_mapper,
            self.loop_output_mapper,
        )

    @property
    def inner(self) -> Sequence[Node]:
        """The body."""
        return (self.loop_body_pipeline,)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MapStep(ContainerStep[InT_contra, OutT_co]):
    """Runs its body on each item of an iterable; gives the results in the items' order.

    The items are the context's field ``iterable_input``, or the step's input without one. All
    items start from the step's context; what they change merges in item order.
    """

    pipeline_to_run: Node
    iterable_input: str | None = None
    max_concurrency: int = 1
    on_item_failure: Literal["propagate", "keep"] = "propagate"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "max_concurrency", self.max_concurrency)
        check_one_of(self, "on_item_failure", self.on_item_failure, ("propagate", "keep"))

    def hands_on(self, after_first: bool) -> bool:
        """It hands on one item at a time."""
        return False

    @property
    def inner(self) -> Sequence[Node]:
        """The body."""
        return (self.pipeline_to_run,)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class BranchingStep(ContainerStep[InT_contra, OutT_co]):
    """A step with named branches that may run at the same time.

    ``reduce(results)`` or ``(results, context)`` makes the output of the branches' results, which
    is otherwise a dict of their outputs; a failed branch that was ignored stands in it as its
    `StepResult`. ``field_mapping`` names, for a branch, the only fields it may merge;
    ``context_include_keys`` the only ones that branches see.
    """

    branches: Mapping[str, Node]
    reduce: Decider | None = None
    context_include_keys: Sequence[str] | None = None
    merge_strategy: MergeStrategy | MergeFunction = MergeStrategy.CONTEXT_UPDATE
    on_branch_failure: BranchFailureStrategy = BranchFailureStrategy.PROPAGATE
    field_mapping: Mapping[str, Sequence[str]] | None = None
    max_concurrency: int | None = None

    def __post_init__(self) -> None:
        check_branches(self, self.branches, of_names=True)
        object.__setattr__(self, "branches", dict(self.branches))
        super().__post_init__()
        check_functions(self, reduce=self.reduce)
        failing = member_of(
            self, "on_branch_failure", self.on_branch_failure, BranchFailureStrategy
        )
        object.__setattr__(self, "on_branch_failure", failing)
        if not callable(self.merge_strategy):
            merging = member_of(self, "merge_strategy", self.merge_strategy, MergeStrategy)
            object.__setattr__(self, "merge_strategy", merging)
        for unknown in {*(self.field_mapping or ())} - {*self.branches}:
            raise ConfigurationError(
                f"{type(self).__name__} {self.name!r}: field_mapping names the branch {unknown!r}; "
                f"there are {', '.join(self.branches)}"
            )
        for branch, names in (self.field_mapping or {}).items():
            if isinstance(names, str):
                raise ConfigurationError(
                    f"{type(self).__name__} {self.name!r}: field_mapping lists fields for each "
                    f"branch; {branch!r} has the text {names!r}"
                )
        if self.max_concurrency is not None:
            check_count(self, "max_concurrency", self.max_concurrency)

    @property
    def deciders(self) -> Sequence[Decider | None]:
        """The reducer."""
        return (self.reduce,)

    @property
    def inner(self) -> Sequence[Node]:
        """The branches."""
        return tuple(self.branches.values())


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ParallelStep(BranchingStep[InT_contra, OutT_co]):
    """Runs all its branches on the same input."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DynamicParallelRouterStep(BranchingStep[InT_contra, OutT_co]):
    """Asks a router which of its branches to run, by name, and runs those.

    ``router_agent`` is a step, an agent or a function that gives one name or several.
    """

    router_agent: AnyStep | Agent | Callable[..., object]
    router: AnyStep = field(init=False)

    def __post_init__(self) -> None:
        asked = self.router_agent
        if not isinstance(asked, Step | Agent):
            check_functions(self, router_agent=asked)
        router = asked if isinstance(asked, Step) else Step(name=f"{self.name}_router", agent=asked)
        object.__setattr__(self, "router", router)
        super().__post_init__()

    @property
    def inner(self) -> Sequence[Node]:
        """The router and the branches."""
        return (self.router, *self.branches.values())


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ConditionalStep(ContainerStep[InT_contra, OutT_co]):
    """Runs the branch whose key ``condition_callable(data, context)`` gives, or the default one."""

    condition_callable: Decider
    branches: Mapping[BranchKey, Node]
    default_branch_pipeline: Node | None = None
    branch_input_mapper: Decider | None = None
    branch_output_mapper: Decider | None = None

    def __post_init__(self) -> None:
        check_branches(self, self.branches, of_names=False)
        object.__setattr__(self, "branches", dict(self.branches))
        super().__post_init__()
        check_functions(
            self,
            "condition_callable",
            condition_callable=self.condition_callable,
            branch_input_mapper=self.branch_input_mapper,
            branch_output_mapper=self.branch_output_mapper,
        )

    def hands_on(self, after_first: bool) -> bool:
        """Unless a mapper stands between."""
        return self.branch_input_mapper is None

    @property
    def deciders(self) -> Sequence[Decider | None]:
        """The condition and the mappers."""
        return (self.condition_callable, self.branch_input_mapper, self.branch_output_mapper)

    @property
    def inner(self) -> Sequence[Node]:
        """The branches."""
        default = self.default_branch_pipeline
        return (*self.branches.values(), *(() if default is None else (default,)))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class HumanInTheLoopStep(ContainerStep[InT_contra, OutT_co]):
    """Pauses the run until a human has answered; its output is the answer.

    ``message_for_user`` may hold placeholders; without one it is the input as text.
    ``input_schema`` is the type that an answer is validated against.
    """

    message_for_user: str | None = None
    input_schema: type | None = None
    is_container: ClassVar[bool] = False
    asks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            _ = self.answer_schema
        except PydanticUserError as error:
            raise ConfigurationError(
                f"HumanInTheLoopStep {self.name!r}: no answer can be checked against "
                f"{self.input_schema!r}: {error.message}"
            ) from error

    @property
    def answer_schema(self) -> Mapping[str, JSONValue] | None:
        """The JSON schema of an answer; ``None`` when any will do."""
        wanted = self.input_schema
        return None if wanted is None else TypeAdapter(wanted).json_schema()

    @property
    def templates(self) -> Sequence[JSONValue]:
        """The message."""
        return (self.message_for_user,)


UNDEFINING = {"undefining": True}
"""The metadata of a field that says nothing of what a step does."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CacheStep(ContainerStep[InT_contra, OutT_co]):
    """Runs its step, unless a step of the same definition has run on the same input before.

    ``context_keys`` names the fields of the context that count as input too; others do not, nor do
    the run's resources, nor what placeholders of steps inside a container name. What the step
    changed in its context is replayed as it was recorded: a counter that went from 5 to 6 is set
    to 6 again.

    Without a ``cache_backend`` results are kept in memory, for as long as the runner or session.
    """

    wrapped_step: AnyStep
    cache_backend: CacheBackend | None = field(default=None, metadata=UNDEFINING)
    context_keys: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_step(self, "wrapped_step", self.wrapped_step)
        keys = self.context_keys
        if isinstance(keys, str):
            raise ConfigurationError(
                f"CacheStep {self.name!r}: context_keys is a list of names; found {keys!r}"
            )
        object.__setattr__(self, "context_keys", tuple(keys))
        backend = self.cache_backend
        if backend is not None and not isinstance(backend, CacheBackend):
            raise ConfigurationError(
                f"CacheStep {self.name!r}: a cache_backend is an object with `get` and `set`; "
                f"found {type(backend).__name__}"
            )

    @property
    def inner(self) -> Sequence[Node]:
        """The step."""
        return (self.wrapped_step,)


@dataclass(frozen=True, slots=True)
class OutputMapping:
    """Where a value goes from an imported pipeline's context: dotted paths in both contexts."""

    child: str
    parent: str


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ImportStep(ContainerStep[InT_contra, OutT_co]):
    """Runs another pipeline as one step.

    Its context is a copy of the parent's (``inherit_context``) or a new one, of ``context_model``
    if that is given. Its input is the step's, and stands (as far as its context has such fields)
    as text in ``initial_prompt``, in ``import_artifacts`` under ``input_scratchpad_key``, or in
    both. ``outputs`` lists
    what flows back into the parent's context; without it everything does when ``updates_context``
    is set, and nothing otherwise. ``usage_limits`` bound it within the parent's budget.
    """

    pipeline: Node
    inherit_context: bool = False
    context_model: type[BaseModel] | None = None
    initial_context_data: Mapping[str, object] | None = None
    input_to: Literal["initial_prompt", "import_artifacts", "both"] = "initial_prompt"
    input_scratchpad_key: str = "initial_input"
    outputs: Sequence[OutputMapping] | None = None
    on_failure: Literal["abort", "skip", "continue_with_default"] = "abort"
    usage_limits: UsageLimits | None = None
    gives_result: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of(
            self, "on_failure", self.on_failure, ("abort", "skip", "continue_with_default")
        )
        ways = ("initial_prompt", "import_artifacts", "both")
        check_one_of(self, "input_to", self.input_to, ways)

    @property
    def inner(self) -> Sequence[Node]:
        """The pipeline."""
        return (self.pipeline,)
