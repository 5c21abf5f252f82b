"""Every kind of step in one pipeline, each kind run by another's policy, or all of them."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import PipelineResult, StepResult
from flujo_nb.engine.step_kinds import ImportStep, OutputMapping
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.fakes import Counts, Wait, echo
from tests.engine.pauses import Calls, asks
from tests.slices import loose, third_party
from tests.slices.parts import count, note, say, tokens
from tests.slices.runs import Runs, registry_of

LOOSE = [one for one in vars(loose).values() if hasattr(one, "handles")]
THIRD = [one for one in vars(third_party).values() if hasattr(one, "handles")]
SETS = {"all loose": LOOSE, "all of a third party": THIRD} | {
    f"{one.__module__.rpartition('.')[2]}.{one.__name__}": [one] for one in (*LOOSE, *THIRD)
}


class Writer:
    async def run(self, data: object) -> Metered:
        return Metered(f"{data} written", Usage(0, 3, 1))


def everything(calls: Calls) -> Any:
    """A pipeline of every kind of step, most of them in others, with two questions at once."""

    @step
    def mark(data: object, context: Counts) -> object:
        context.total += 1
        return data

    def enough(data: object, context: Counts) -> bool:
        return context.total >= 2

    item = calls.step("item", lambda data: data + 1) >> note
    inside = Step.branch_on(
        "if",
        lambda data, context: len(data) > 1,
        {True: Step.map_over("map", item), False: echo},
    )
    both = Step.parallel(
        "both",
        {
            "work": inside >> asks("first", "first?"),
            "say": say,
            "ask": calls.step("before", lambda data: data) >> asks("second", "second?"),
        },
    )
    route = Step.dynamic_parallel_branch("route", lambda data: ["a"], {"a": echo, "b": echo})
    imported = ImportStep(
        name="imp", pipeline=count >> count, outputs=[OutputMapping("by_kind", "by_kind")]
    )
    broken = calls.step("broken", lambda data: data.missing, fallback_step=echo)
    return (
        Step.loop_until("loop", mark >> broken, enough)
        >> both
        >> Step.from_callable(lambda data: str(data), name="text")
        >> route
        >> imported
        >> Step(name="agent", agent=Writer())
    )


def told(history: Any) -> list[tuple[object, ...]]:
    """What step results say, without what only the built-in policies tell."""

    def one(result: StepResult) -> tuple[object, ...]:
        facts = (result.name, str(result.path), result.output, result.success, result.attempts)
        return *facts, result.token_counts, told(result.step_history)

    return [one(result) for result in history]


def seen(runs: Runs) -> tuple[Any, ...]:
    """All that can be seen of a run of everything, which pauses and goes on twice."""
    calls = Calls()
    stages: list[Any] = []
    result: PipelineResult = runs(everything(calls), [1, 2], usage_limits=tokens(3))
    for answer in (None, "one", "two"):
        if answer is not None:
            result = runs.resume(result, answer, result.paused[0].path)
        pauses = [(str(one.path), one.message) for one in result.paused]
        stages.append((result.status, pauses, told(result.step_history), sorted(runs.events)))
    return stages, result.output, result.final_pipeline_context, result.total_tokens, dict(calls)


def test_what_the_built_in_policies_make_of_everything(wait: Wait) -> None:
    stages, output, context, spent, calls = seen(Runs(registry_of(), wait))
    pauses = [[path for path, _ in one[1]] for one in stages]
    assert pauses == [["both/:work/first", "both/:ask/second"], ["both/:ask/second"], []]
    assert [one[0] for one in stages] == [
        *(RunStatus.PAUSED, RunStatus.PAUSED, RunStatus.COMPLETED)
    ]
    assert output == "{'a': \"{'work': 'one', 'say': '[1, 2]a[1, 2]b', 'ask': 'two'}\"} written"
    assert context == Counts(total=2, names=["2", "3"])
    assert (spent, calls) == (3, {"broken": 2, "item": 2, "before": 1})


@pytest.mark.parametrize("policies", SETS.values(), ids=SETS)
def test_nobody_can_tell_who_runs_what(wait: Wait, policies: list[type]) -> None:
    assert seen(Runs(registry_of(*policies), wait)) == seen(Runs(registry_of(), wait))
