"""What was wrong in the code of flujo 0.6.11 (11.2): state left behind, and options never read.

Locks that are never dropped (the cache's) are in ``test_cache_manager.py``.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator, Sized
from contextvars import copy_context
from dataclasses import fields
from typing import Any

import pytest

from flujo_nb.engine.errors import PolicyContractError
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Failure, RunStatus
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import BranchFailureStrategy, ImportStep
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.fakes import Box, Counts, Wait, boxed, broken, echo, outcome_of, runner_of
from tests.engine.pauses import Calls, asks, resumed, spends, started
from tests.house.tree import modules, place, syntax

ONE = spends("one", 1)


def kinds() -> list[Any]:
    """A step of each kind, each with something inside."""
    return [
        Step.loop_until("loop", ONE, lambda output, context: context.total is not None),
        Step.branch_on("branch", lambda data, context: 1, {1: ONE}),
        Step.parallel("parallel", {"a": ONE, "b": echo}),
        Step.dynamic_parallel_branch("route", lambda data: ["a"], {"a": ONE, "b": echo}),
        Step.map_over("map", ONE, "names", max_concurrency=2),
        ImportStep(name="import", pipeline=ONE, inherit_context=True),
        Step.cached(spends("cached", 1)),
        Step.from_callable(broken.agent, name="falls", fallback_step=echo, max_retries=1),
        asks(),
    ]


def every_step(node: Any) -> Iterator[Any]:
    yield node
    for inner in node.inner:
        yield from every_step(inner)


# State.


def test_defect_11_2_no_context_variable_is_set_by_a_run(wait: Wait) -> None:
    seen: list[set[str]] = []
    look = Step.from_callable(
        lambda data: seen.append({variable.name for variable in copy_context()}), name="look"
    )

    async def whole() -> set[str]:
        before = {variable.name for variable in copy_context()}
        node = Pipeline.of(*kinds()[:-1], look)
        assert (await runner_of(node).run_async("x")).success
        assert {variable.name for variable in copy_context()} == before
        return before

    # 0.6.11: the quota stands in one, which is set for each frame and never reset.
    assert seen == [wait(whole())]


def test_defect_11_2_a_run_leaves_no_mark_on_steps(wait: Wait) -> None:
    node = Pipeline.of(*kinds())
    runner = runner_of(node, initial_context_data={"names": ["a", "b"]})
    before = [(one, dict(vars(one))) for one in every_step(node)]
    paused = wait(started(runner, "x"))
    assert wait(resumed(runner, paused, "ok")).success
    # 0.6.11: loops and maps keep their state on the step objects.
    assert [(one, dict(vars(one))) for one in every_step(node)] == before


def test_defect_11_2_a_run_leaves_no_mark_on_the_core(wait: Wait) -> None:
    core = ExecutorCore()
    node = Pipeline.of(*kinds()[:6], broken)

    def state() -> dict[str, object]:
        return {
            f"{part} {name}": (id(value), len(value) if isinstance(value, Sized) else None)
            for part, owner in {"core": core, **vars(core)}.items()
            for name, value in getattr(owner, "__dict__", {}).items()
        }

    async def run() -> None:
        context = Counts(names=["a"])
        frame = make_execution_frame(node, "x", context=context)
        assert isinstance(await core.run_root(frame), Failure)

    wait(run())  # which plans the pipeline
    before = state()
    wait(run())
    # 0.6.11: flags of loops and of the cache stand on the core, and calls clear its tracker.
    assert state() == before


def test_defect_11_2_runners_of_one_pipeline_share_nothing(wait: Wait) -> None:
    calls = Calls()
    node = calls.step("before") >> asks() >> calls.step("after")
    one, other = Flujo(node), Flujo(node)

    async def both() -> list[Any]:
        paused = [await started(runner, name) for runner, name in ((one, "a"), (other, "b"))]
        return [
            await resumed(runner, result, answer)
            for runner, result, answer in zip((other, one), reversed(paused), "xy", strict=True)
        ]

    results = wait(both())
    assert [result.output for result in results] == ["x after", "y after"]
    assert [result.step_history[0].output for result in results] == ["b before", "a before"]
    assert len({result.run_id for result in results}) == 2


def test_defect_11_2_fallbacks_of_siblings_do_not_reset_each_other(wait: Wait) -> None:
    calls = Calls()

    def failing(name: str) -> Any:
        async def fail(data: object) -> None:
            await asyncio.sleep(0)
            raise ValueError(name)

        return calls.step(name, fail)

    circle = failing("a").fallback(failing("b"))
    circle.fallback_step.fallback(circle)
    good = failing("c").fallback(failing("d").fallback(echo))
    node = Step.parallel(
        "both",
        {"circle": circle, "good": good >> Step.from_callable(str, name="text")},
        on_branch_failure=BranchFailureStrategy.IGNORE,
    )
    outcome = wait(outcome_of(node, 1))
    # 0.6.11: a sibling's step resets the chain, so that the circle is not found.
    assert outcome.output["good"] == "1"
    ended = outcome.children[0]
    assert isinstance(ended, Failure)
    assert "the fallback of 'b' leads back to 'a'" in ended.feedback
    assert calls == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_defect_11_2_a_policy_without_an_outcome_is_not_run_again(wait: Wait) -> None:
    calls = Calls()

    async def nothing(core: Any, frame: Any) -> None:
        calls["box"] += 1

    outcome = wait(outcome_of(Box(name="box"), 1, registry=boxed(nothing)))
    # 0.6.11: three places run a step again that gave no outcome, side effects included.
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, PolicyContractError)
    assert calls == {"box": 1}


@pytest.mark.parametrize(
    "text",
    [
        "Usage limit exceeded",
        "Token limit of 5 exceeded: 6 would be used",
        "Strict pricing is enabled",
        "the run is paused",
        "no terminal outcome",
        "PipelineAbortSignal: interrupted, cancelled",
    ],
)
def test_defect_11_2_the_text_of_an_error_decides_nothing(wait: Wait, text: str) -> None:
    def fail(data: object) -> None:
        raise ValueError(text)

    result = wait(runner_of(Step.from_callable(fail)).run_async().result())
    # 0.6.11: such a text makes a breach, a pause or a configuration error of it.
    assert (result.status, result.step_history[0].feedback) == (
        RunStatus.FAILED,
        f"ValueError: {text}",
    )


# Options.

NOTES = {"meta"}
"""What a user notes on a step for its readers; nothing acts upon it."""


def options() -> set[tuple[str, str]]:
    """Every option that a step or its configuration can be declared with."""
    declared = {("StepConfig", name) for name in StepConfig.model_fields}
    waiting: list[type[Any]] = [Step]
    while waiting:
        kind = waiting.pop()
        if not kind.__module__.startswith("flujo_nb."):
            continue  # a test's own
        waiting.extend(kind.__subclasses__())
        declared |= {(kind.__name__, one.name) for one in fields(kind) if one.init}
    return declared


def read_names() -> set[str]:
    """The attributes that the packages read, but for checks of the option where it is declared."""
    names = set()
    for path in modules("engine", "flujo_nb"):
        for node in ast.walk(syntax(path)):
            match node:
                case ast.FunctionDef(name="__post_init__"):
                    node.body.clear()
                case ast.Attribute(attr=name, ctx=ast.Load()):
                    names.add(name)
    return names


def test_defect_11_2_every_option_is_read() -> None:
    # 0.6.11: five options of steps, and most methods of its quota manager, are never used.
    read = read_names() | NOTES
    assert sorted(option for option in options() if option[1] not in read) == []
    assert len(options()) > 60


# Names.

OF_AN_APPLICATION = re.compile(
    r"ValidityBranch|ValidateAndRepair|test_fallback|review_status|overall_score|operation_count"
    r"|hitl_data|user_input|yaml|scratchpad(?!_key)|unittest|\bMock",
    re.IGNORECASE,
)


def test_defect_11_2_the_engine_knows_no_application_and_no_test() -> None:
    # 0.6.11: names of steps and fields of one application, and checks for mocks, are in its core.
    found = [
        f"{place(path)}:{number}: {line.strip()}"
        for path in modules("engine")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OF_AN_APPLICATION.search(line)
    ]
    assert found == []
