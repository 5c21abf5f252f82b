"""Iterations: what follows after each, and the shell that runs them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeAlias

from .context import ContextUpdate
from .deciders import CONTEXT, Question, decided
from .errors import MaxLoopsReached
from .frame import AnyFrame, planned_child
from .journal import Decision
from .outcomes import BackgroundLaunched, Failure, StepOutcome, Success, make_success
from .output_sinks import with_output
from .passing import YIELD_EVERY, ended, passed_on, turn
from .policy import ExecutorPort
from .step_kinds import Decider, LoopStep
from .steps import steps_of
from .user_code import Raised, caught_inline


@dataclass(frozen=True, slots=True)
class Continue:
    """Another iteration follows."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The loop has done its work."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The loop was to end by now."""

    reason: str


LoopDecision: TypeAlias = Continue | Stop | Fail
CONTINUE, STOP = Continue(), Stop()


def decide_loop(exits: bool, iterations: int, max_loops: int) -> LoopDecision:
    """What follows after ``iterations`` of them, when the exit condition said ``exits``."""
    if exits:
        return STOP
    return CONTINUE if iterations < max_loops else Fail("max_loops")


AnyLoop: TypeAlias = LoopStep[object, object]


class LoopExecutor:
    """Runs the iterations of a step, each on the context that the one before left."""

    def __init__(self, core: ExecutorPort, step: AnyLoop) -> None:
        self.core = core
        self.step = step
        inside = tuple(steps_of(step.loop_body_pipeline))
        # A body of one step stands where it would stand in a pipeline, without one around it.
        self.body = inside[0] if len(inside) == 1 else step.loop_body_pipeline
        self.segments = self.body.own_segments
        self.exit = Question("exit", step.exit_condition_callable, 2)
        self.first = _question("first_input", step.initial_input_to_loop_body_mapper, 2)
        self.next = _question("next_input", step.iteration_input_mapper, 4)
        self.last = _question("output", step.loop_output_mapper, 2)

    async def run(self, frame: AnyFrame) -> StepOutcome:
        """Run ``frame``."""
        now = _Progress(self, frame)
        if self.first is not None:
            asked = await self.first.ask(self.core, frame, now.context, now.data, CONTEXT)
            now.take_input(asked, "initial_input_mapper_error")
        body, segments, max_loops = self.body, self.segments, self.step.max_loops
        call, run, children = self.core.calls(frame)[body], frame.run, now.children
        while now.ended is None:
            number = len(children)
            outcome = await call(
                planned_child(frame, frame, segments, number, body, now.data, now.context, 1, None)
            )
            children.append(outcome)
            number += 1
            if type(outcome) is Success and outcome.update is None:
                now.data = outcome.output
            elif not now.take_outcome(outcome):
                break
            run.busy += 1
            if run.busy >= YIELD_EVERY and (cut := await turn(run)) is not None:
                now.fail("stopped", cut.error)
                break
            if now.may_ask_at_once:
                answer = self.exit.alone(now.data)
                exits = answer if type(answer) is bool else now.take_exit(await decided(answer))
            else:
                asked = await self.exit.ask(
                    self.core, frame, now.context, now.data, CONTEXT, number=number
                )
                exits = now.take_exit(asked)
            decision = decide_loop(exits, number, max_loops)
            if decision is not CONTINUE:
                now.end(decision)
            elif self.next is not None and now.ended is None:
                context, data = now.context, now.data
                asked = await self.next.ask(
                    self.core, frame, context, data, CONTEXT, number, frame.data, number=number
                )
                now.take_input(asked, "iteration_input_mapper_error")
        if now.has_exited and self.last is not None:
            asked = await self.last.ask(self.core, frame, now.context, now.data, CONTEXT)
            now.take_input(asked, "loop_output_mapper_error")
        return now.outcome()


_BY_CONDITION = "condition"


class _Progress:
    """Where one run of a loop stands."""

    __slots__ = (
        "cause",
        "children",
        "context",
        "data",
        "ended",
        "frame",
        "loop",
        "may_ask_at_once",
        "started",
    )

    def __init__(self, loop: LoopExecutor, frame: AnyFrame) -> None:
        self.started = perf_counter()
        self.loop = loop
        self.frame = frame
        self.data = frame.data
        self.context = frame.context
        self.children: list[StepOutcome] = []
        self.ended: str | None = None
        self.cause: BaseException | None = None
        without_context = not loop.exit.takes_context or frame.context is None
        self.may_ask_at_once = without_context and frame.run.journal is None

    @property
    def has_exited(self) -> bool:
        """Whether the exit condition has held."""
        return self.ended == _BY_CONDITION

    def take_outcome(self, outcome: StepOutcome) -> bool:
        """Go on from an iteration's outcome (true), or end as it did."""
        if type(outcome) is Success:
            self.data = outcome.output
            return outcome.update is None or self._merge(outcome.update, "merge_error")
        if type(outcome) is not BackgroundLaunched:
            self.ended = "body_step_error" if isinstance(outcome, Failure) else "stopped"
            return False
        return True

    def take_exit(self, asked: Decision | Raised) -> bool:
        """Whether the exit condition holds."""
        if isinstance(asked, Raised):
            return self.fail("exit_condition_error", asked.error)
        if asked.update is not None and not self._merge(asked.update, "exit_condition_error"):
            return False
        value = asked.value
        holds = value if type(value) is bool else caught_inline(bool, value)
        if isinstance(holds, Raised):
            return self.fail("exit_condition_error", holds.error)
        return holds

    def end(self, decision: LoopDecision) -> None:
        """End the loop, unless something has ended it already."""
        if self.ended is not None:
            return
        match decision:
            case Stop():
                self.ended = _BY_CONDITION
            case Fail(reason=reason):
                error = MaxLoopsReached(
                    f"reached max_loops: the exit condition of {self.loop.step.name!r} did not "
                    f"hold after {len(self.children)} iterations (at {self.frame.path})"
                )
                self.fail(reason, error)

    def take_input(self, asked: Decision | Raised, reason: str) -> bool:
        """Go on with what a mapper made of the data; ``reason`` is said if it raised."""
        if isinstance(asked, Raised):
            return self.fail(reason, asked.error)
        self.data = asked.value
        return asked.update is None or self._merge(asked.update, reason)

    def fail(self, reason: str, error: BaseException) -> bool:
        """End the loop with ``error``. False: it does not go on, and nothing holds."""
        self.ended, self.cause = reason, self.loop.core.failures.cause_of(error)
        return False

    def _merge(self, update: ContextUpdate, reason: str) -> bool:
        if self.context is None:
            return True
        merged = caught_inline(self.loop.core.contexts.merge, self.context, update)
        if isinstance(merged, Raised):
            return self.fail(reason, merged.error)
        self.context = merged
        return True

    def _metadata(self) -> dict[str, object]:
        return {"exit_reason": self.ended, "iterations": len(self.children)}

    def _update(self) -> ContextUpdate | None:
        base, context = self.frame.context, self.context
        contexts = self.loop.core.contexts
        update = None if base is None or context is None else contexts.net(base, context)
        return with_output(self.loop.core, self.loop.step, base, update, self.data)

    def outcome(self) -> StepOutcome:
        """How the loop ended."""
        frame, core, step = self.frame, self.loop.core, self.loop.step
        latency = perf_counter() - self.started
        if self.has_exited:
            sunk = caught_inline(self._update)
            if not isinstance(sunk, Raised):
                return make_success(
                    step,
                    frame.segments,
                    frame.index,
                    len(self.children),
                    latency,
                    None,
                    self.children,
                    self._metadata(),
                    self.data,
                    sunk,
                )
            self.fail("merge_error", sunk.error)
        metadata = self._metadata()
        if self.cause is None:
            passed = passed_on(ended(self.children[-1]), frame, self.children, latency, metadata)
            if isinstance(passed, Failure):
                feedback = f"Loop body failed: {passed.feedback}"
                return replace(passed, feedback=feedback, attempts=len(self.children))
            return passed
        failed = core.failures.build(
            frame,
            self.cause,
            attempts=len(self.children),
            latency_s=latency,
            children=self.children,
        )
        if isinstance(failed, Failure) and self.ended == "max_loops":
            return replace(failed, metadata=metadata, output=self.data)
        return replace(failed, metadata=metadata)


def _question(name: str, function: Decider | None, offered: int) -> Question | None:
    return None if function is None else Question(name, function, offered)
