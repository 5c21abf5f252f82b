"""The policy of steps that run another pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import TypeAlias, cast

from pydantic import BaseModel, ValidationError

from ..context import ContextUpdate
from ..errors import ContextInheritanceError
from ..frame import AnyFrame, planned_child
from ..outcomes import BackgroundLaunched, Failure, StepOutcome, Success, make_success, status_of
from ..output_sinks import with_sink
from ..passing import ended, passed_on
from ..path import FramePath, Segment, SegmentKind
from ..placeholders import rendered
from ..policy import BoundPolicy, Call, ExecutorPort
from ..references import may_have_references
from ..results import PipelineResult
from ..run import Facility
from ..step_history_tracker import total_usage
from ..step_kinds import ImportStep
from ..steps import Node
from ..usage import FREE, Quota, UsageLimits
from ..user_code import Raised, caught_inline
from ..values import cloned, state_of

AnyImport: TypeAlias = ImportStep[object, object]


class ImportStepExecutor(BoundPolicy):
    """Runs an `ImportStep`: its pipeline, on a context and a part of the budget of its own."""

    handles = ImportStep

    def needs(self, step: Node) -> Facility:
        """The loading of what its own context refers to."""
        model = cast(AnyImport, step).context_model
        loads = model is not None and may_have_references(model)
        return Facility.REFERENCES if loads else Facility.NONE

    def bind(self, core: ExecutorPort, step: Node) -> Call:
        """The step's call."""
        return _Import(core, cast(AnyImport, step)).run


class _Import:
    def __init__(self, core: ExecutorPort, step: AnyImport) -> None:
        self.core = core
        self.step = step
        self.segments = (Segment(SegmentKind.IMPORT), *step.pipeline.own_segments)

    async def run(self, frame: AnyFrame) -> StepOutcome:
        started = perf_counter()
        context = caught_inline(self._context_of, frame)
        if isinstance(context, Raised):
            return self.core.failures.build(frame, context.error)
        node = self.step.pipeline
        child = planned_child(frame, frame, self.segments, None, node, frame.data, context, 1, None)
        if self.step.usage_limits is None:
            outcome = await self.core.calls(frame)[node](child)
        else:
            outcome = await self._within(frame, child, self.step.usage_limits)
        done = caught_inline(self._done, frame, child, outcome, started)
        if isinstance(done, Raised):
            latency = perf_counter() - started
            return self.core.failures.build(
                frame, done.error, latency_s=latency, children=(outcome,)
            )
        return done

    async def _within(self, frame: AnyFrame, child: AnyFrame, limits: UsageLimits) -> StepOutcome:
        """Run ``child`` on a part of the budget; after a pause on what was left of that part."""
        journal, path = frame.run.journal, frame.path
        spent = FREE if journal is None else journal.spent_at(path)
        quota = Quota(limits, frame.quota, spent)
        outcome = await self.core.calls(frame)[child.step](replace(child, quota=quota))
        if journal is not None:
            journal.spend(path, quota.spent)
        return outcome

    def _context_of(self, frame: AnyFrame) -> BaseModel | None:
        """The context that the pipeline starts with."""
        step, parent = self.step, frame.context
        model = step.context_model or (None if parent is None else type(parent))
        if model is None:
            return None
        if step.inherit_context and parent is not None and type(parent) is model:
            return self._inherited(parent, frame.data)
        given: dict[str, object] = {
            name: cloned(value) for name, value in (step.initial_context_data or {}).items()
        }
        if parent is not None:
            held = state_of(parent)
            names = {*model.model_fields} & {*held}
            if not step.inherit_context:
                names &= {"import_artifacts"}
            shared = {name: held[name] for name in names}
            given = {**shared, **given}
        return _made(model, {**given, **self._input_fields(model, given, frame.data)}, step)

    def _inherited(self, parent: BaseModel, data: object) -> BaseModel:
        """The parent's own context, not validated anew, with what this step sets in it."""
        contexts, start = self.core.contexts, dict(self.step.initial_context_data or {})
        whole = caught_inline(type(parent).model_validate, start)
        if not isinstance(whole, Raised):  # by the names of fields, whatever aliases they have
            start = {name: state_of(whole)[name] for name in whole.model_fields_set}
        given = {**start, **self._input_fields(type(parent), state_of(parent), data)}
        return contexts.merge(parent, contexts.update_of_output(parent, given) if given else None)

    def _input_fields(
        self, model: type[BaseModel], given: Mapping[str, object], data: object
    ) -> dict[str, object]:
        """Where the input also stands in a context of ``model``."""
        step, fields = self.step, model.model_fields
        own: dict[str, object] = {}
        if step.input_to in ("initial_prompt", "both") and "initial_prompt" in fields:
            own["initial_prompt"] = rendered(data)
        if step.input_to in ("import_artifacts", "both") and "import_artifacts" in fields:
            artifacts = given.get("import_artifacts")
            kept = artifacts if isinstance(artifacts, Mapping) else {}
            own["import_artifacts"] = {**kept, step.input_scratchpad_key: data}
        return own

    def _done(
        self, frame: AnyFrame, child: AnyFrame, outcome: StepOutcome, started: float
    ) -> StepOutcome:
        """The step's outcome when that of its pipeline is ``outcome``."""
        step = self.step
        output: object
        update: ContextUpdate | None = None
        metadata: dict[str, object] = {}
        match outcome:
            case Success():
                output = (
                    self._result_of(frame.path, child, outcome)
                    if step.gives_result
                    else outcome.output
                )
                update = self._returned(frame.context, child.context, outcome.update)
            case BackgroundLaunched():
                output = child.data
            case Failure() if step.on_failure != "abort":
                output = None if step.on_failure == "skip" else {}
                metadata["import_failed"] = outcome.feedback
                self.core.go_past(child)
            case _:
                return passed_on(ended(outcome), frame, (outcome,), perf_counter() - started)
        return make_success(
            step,
            frame.segments,
            frame.index,
            1,
            perf_counter() - started,
            None,
            (outcome,),
            metadata,
            output,
            with_sink(self.core, step, frame.context, update, output),
        )

    def _returned(
        self, parent: BaseModel | None, before: BaseModel | None, update: ContextUpdate | None
    ) -> ContextUpdate | None:
        """What flows back into the parent's context: what was asked for, and nothing else."""
        step, contexts = self.step, self.core.contexts
        if parent is None or before is None:
            return None
        after = contexts.merge(before, update)
        if step.outputs is not None:
            merged = parent
            for mapping in step.outputs:
                value = _value_at(after, mapping.child)
                if value is not _MISSING:
                    sunk = contexts.update_of_sink(merged, mapping.parent, value)
                    merged = contexts.merge(merged, sunk)
            return contexts.net(parent, merged)
        if not step.updates_context or update is None:
            return None
        if type(parent) is type(before):
            fits = caught_inline(contexts.merge, parent, update)
            if not isinstance(fits, Raised):
                return update
        # Of another shape than the parent's: the fields that both have, as they are now.
        changed = {str(change.path[0]) for change in update.changes}
        shared = {name: state_of(after)[name] for name in changed & {*state_of(parent)}}
        return contexts.update_of_output(parent, shared)

    def _result_of(self, above: FramePath, child: AnyFrame, outcome: Success) -> PipelineResult:
        used = total_usage(outcome)
        context = child.context
        return PipelineResult(
            run_id=child.run_id,
            status=status_of(outcome),
            output=outcome.output,
            step_history=self.core.history.results(outcome, above, context),
            total_cost_usd=used.cost_usd,
            total_tokens=used.tokens,
            final_pipeline_context=context and self.core.contexts.merge(context, outcome.update),
        )


_MISSING = object()


def _value_at(context: BaseModel, path: str) -> object:
    """The value at a dotted path of fields and keys; `_MISSING` when there is none."""
    value: object = context
    for part in path.split("."):
        held = state_of(value) if isinstance(value, BaseModel) else value
        if not isinstance(held, Mapping) or part not in held:
            return _MISSING
        value = held[part]
    return value


def _made(model: type[BaseModel], given: Mapping[str, object], step: AnyImport) -> BaseModel:
    """A context of ``model``; a blank one, which its steps fill, need not be whole."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        if step.context_model is None and not step.inherit_context:
            return model.model_construct(None, **given)
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False)
        )
        raise ContextInheritanceError(
            f"{step.name!r} cannot start on a {model.__name__}: {told}; give the fields in "
            "initial_context_data, or inherit a context that has them"
        ) from error
