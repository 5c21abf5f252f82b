"""The short forms that `Step` offers for its kinds: ``Step.parallel(…)``, ``Step.loop_until(…)``.

They stand here because `flujo_nb.engine.steps` cannot know the kinds, which are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Never, TypedDict, Unpack

from pydantic import BaseModel

from .errors import BranchNotFound, ConfigurationError
from .merging import MergeFunction, MergeStrategy
from .path import BranchKey
from .step_config import Agent, CacheBackend, JSONValue, StepConfig, StepOptions
from .step_kinds import (
    BranchFailureStrategy,
    CacheStep,
    ConditionalStep,
    Decider,
    DynamicParallelRouterStep,
    HumanInTheLoopStep,
    ImportStep,
    LoopStep,
    MapStep,
    ParallelStep,
)
from .steps import AnyPipeline, AnyStep, Node, Pipeline, Step

Worker = Agent | Callable[..., object]


class ContainerOptions(TypedDict, total=False):
    """What every container takes beside its own parameters."""

    config: StepConfig
    updates_context: bool
    sink_to: str
    meta: Mapping[str, JSONValue]


class BranchingOptions(ContainerOptions, total=False):
    """What the containers with branches take."""

    reduce: Decider
    context_include_keys: Sequence[str]
    merge_strategy: MergeStrategy | MergeFunction
    on_branch_failure: BranchFailureStrategy
    field_mapping: Mapping[str, Sequence[str]]
    max_concurrency: int


class RefinementCheck(BaseModel):
    """A critic's verdict in `refine_until`: whether the work is done, and what is amiss."""

    is_complete: bool
    feedback: object = None


def review(agent: Worker, **options: Unpack[StepOptions]) -> AnyStep:
    """A step called ``review``."""
    options.setdefault("name", "review")
    return Step.from_callable(agent, **options)


def solution(agent: Worker, **options: Unpack[StepOptions]) -> AnyStep:
    """A step called ``solution``."""
    options.setdefault("name", "solution")
    return Step.from_callable(agent, **options)


def validate_step(agent: Worker, *, strict: bool = True, **options: Unpack[StepOptions]) -> AnyStep:
    """A step called ``validate`` that checks: strictly (it fails) or leniently (it notes)."""
    options.setdefault("name", "validate")
    options["validation"] = "strict" if strict else "lenient"
    return Step.from_callable(agent, **options)


def human_in_the_loop(
    name: str,
    message_for_user: str | None = None,
    input_schema: type | None = None,
    **options: Unpack[ContainerOptions],
) -> HumanInTheLoopStep[object, object]:
    """A step that pauses the run until a human has answered."""
    return HumanInTheLoopStep(
        name=name, message_for_user=message_for_user, input_schema=input_schema, **options
    )


def loop_until(
    name: str,
    loop_body_pipeline: Node,
    exit_condition_callable: Decider,
    max_loops: int = 5,
    *,
    initial_input_to_loop_body_mapper: Decider | None = None,
    iteration_input_mapper: Decider | None = None,
    loop_output_mapper: Decider | None = None,
    **options: Unpack[ContainerOptions],
) -> LoopStep[object, object]:
    """A step that runs its body until a condition holds; see `LoopStep`."""
    return LoopStep(
        name=name,
        loop_body_pipeline=loop_body_pipeline,
        exit_condition_callable=exit_condition_callable,
        max_loops=max_loops,
        initial_input_to_loop_body_mapper=initial_input_to_loop_body_mapper,
        iteration_input_mapper=iteration_input_mapper,
        loop_output_mapper=loop_output_mapper,
        **options,
    )


def branch_on(
    name: str,
    condition_callable: Decider,
    branches: Mapping[BranchKey, Node],
    default_branch_pipeline: Node | None = None,
    *,
    branch_input_mapper: Decider | None = None,
    branch_output_mapper: Decider | None = None,
    **options: Unpack[ContainerOptions],
) -> ConditionalStep[object, object]:
    """A step that runs one of its branches; see `ConditionalStep`."""
    return ConditionalStep(
        name=name,
        condition_callable=condition_callable,
        branches=branches,
        default_branch_pipeline=default_branch_pipeline,
        branch_input_mapper=branch_input_mapper,
        branch_output_mapper=branch_output_mapper,
        **options,
    )


def parallel(
    name: str, branches: Mapping[str, Node], **options: Unpack[BranchingOptions]
) -> ParallelStep[object, object]:
    """A step that runs its branches side by side; see `ParallelStep`."""
    return ParallelStep(name=name, branches=branches, **options)


def dynamic_parallel_branch(
    name: str,
    router_agent: Step[Never, object] | Worker,
    branches: Mapping[str, Node],
    **options: Unpack[BranchingOptions],
) -> DynamicParallelRouterStep[object, object]:
    """A step that runs the branches that a router names; see `DynamicParallelRouterStep`."""
    return DynamicParallelRouterStep(
        name=name, router_agent=router_agent, branches=branches, **options
    )


def map_over(
    name: str,
    pipeline_to_run: Node,
    iterable_input: str | None = None,
    *,
    max_concurrency: int = 1,
    on_item_failure: Literal["propagate", "keep"] = "propagate",
    **options: Unpack[ContainerOptions],
) -> MapStep[object, object]:
    """A step that runs its body on each item; see `MapStep`."""
    return MapStep(
        name=name,
        pipeline_to_run=pipeline_to_run,
        iterable_input=iterable_input,
        max_concurrency=max_concurrency,
        on_item_failure=on_item_failure,
        **options,
    )


def gather(name: str, *, wait_for: Sequence[str]) -> AnyStep:
    """A step that picks the outputs of the branches ``wait_for`` from those of a parallel step."""
    wanted = tuple(wait_for)

    def pick(outputs: Mapping[str, object]) -> dict[str, object]:
        missing = [branch for branch in wanted if branch not in outputs]
        if missing:
            raise BranchNotFound(
                f"step {name!r} waits for {', '.join(missing)}; its input has "
                f"{', '.join(map(str, outputs)) or 'no outputs'}"
            )
        return {branch: outputs[branch] for branch in wanted}

    return Step.from_callable(pick, name=name)


def cached(
    wrapped_step: AnyStep,
    cache_backend: CacheBackend | None = None,
    *,
    context_keys: Sequence[str] = (),
) -> CacheStep[object, object]:
    """A step that reuses what ``wrapped_step`` gave on the same input; see `CacheStep`."""
    if not isinstance(wrapped_step, Step):
        raise ConfigurationError(
            f"Step.cached takes a step; found {type(wrapped_step).__name__}: {wrapped_step!r:.60}"
        )
    return CacheStep(
        name=wrapped_step.name,
        wrapped_step=wrapped_step,
        cache_backend=cache_backend,
        context_keys=context_keys,
    )


def refine_until(
    name: str,
    generator_pipeline: Node,
    critic_pipeline: Node,
    max_refinements: int = 5,
    feedback_mapper: Callable[[object, RefinementCheck], object] | None = None,
) -> LoopStep[object, object]:
    """A loop of work and criticism, which gives the work that the critic found complete.

    The generator gets ``{"original_input": …, "feedback": …}``, or what
    ``feedback_mapper(original_input, check)`` makes of it after the first round. The critic gets
    the work and gives a `RefinementCheck`; anything else counts as complete.
    """
    judge: ParallelStep[object, object] = ParallelStep(
        name=f"{name}_judge",
        branches={"work": Step.from_callable(_same, name="work"), "check": critic_pipeline},
    )

    def next_input(
        both: Mapping[str, object], context: object, number: int, data: object
    ) -> object:
        check = both["check"]
        if not isinstance(check, RefinementCheck):
            raise TypeError("a critic that was not satisfied gives a RefinementCheck")
        if feedback_mapper is not None:
            return feedback_mapper(data, check)
        return {"original_input": data, "feedback": check.feedback}

    return LoopStep(
        name=name,
        loop_body_pipeline=Pipeline.of(generator_pipeline, judge),
        exit_condition_callable=_is_complete,
        max_loops=max_refinements,
        initial_input_to_loop_body_mapper=_first_input,
        iteration_input_mapper=next_input,
        loop_output_mapper=_work_of,
    )


def as_step(
    pipeline: AnyPipeline, name: str, *, inherit_context: bool = True
) -> ImportStep[object, object]:
    """A pipeline as one step of another; its output is a `PipelineResult`."""
    return ImportStep(
        name=name,
        pipeline=pipeline,
        inherit_context=inherit_context,
        updates_context=inherit_context,
        gives_result=True,
    )


async def _same(data: object) -> object:
    return data


def _first_input(data: object) -> object:
    return {"original_input": data, "feedback": None}


def _is_complete(both: Mapping[str, object]) -> bool:
    check = both["check"]
    return not isinstance(check, RefinementCheck) or check.is_complete


def _work_of(both: Mapping[str, object]) -> object:
    return both["work"]


Step.review = review
Step.solution = solution
Step.validate_step = validate_step
Step.human_in_the_loop = human_in_the_loop
Step.loop_until = loop_until
Step.refine_until = refine_until
Step.branch_on = branch_on
Step.parallel = parallel
Step.dynamic_parallel_branch = dynamic_parallel_branch
Step.map_over = map_over
Step.gather = gather
Step.cached = cached
Pipeline.as_step = as_step
