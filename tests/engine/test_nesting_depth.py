"""Containers in containers: how deep they may stand, and what each level takes of the stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from flujo_nb.engine.decorators import step
from flujo_nb.engine.dsl import branch_on, human_in_the_loop, map_over
from flujo_nb.engine.errors import NestingTooDeep
from flujo_nb.engine.hooks import Event, Hook
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.run import Facility
from flujo_nb.engine.steps import AnyStep, Node, Step
from tests.engine.containers import KINDS, Kind, fed, given_back, nested
from tests.engine.fakes import Counts, Wait, echo, echo_async, outcome_of, runner_of

DEEPEST = 50
FRAMES_A_LEVEL = 9
PAIRS = list(combinations(KINDS, 2))


@step
def bottom(data: int, context: Counts) -> int:
    context.names.append("bottom")
    return data + 1


ASK = human_in_the_loop("ask", "{{ data }}?")


def hear(event: Event) -> None: ...


def all_facilities() -> dict[str, Any]:
    """Each brings an interceptor around every frame, whether or not the step makes use of it."""
    return {
        "hooks": (Hook.of(hear),),
        "journal": Journal(),
        "facilities": Facility.OUTPUTS | Facility.REFERENCES,
    }


def stack_at_the_bottom(wait: Wait, kind: Kind, depth: int, **options: Any) -> int:
    """How many of Python's calls are open below ``depth`` containers."""
    counted: list[int] = []

    @step
    def count(data: object) -> None:
        frame, calls = sys._getframe(), 0
        while (above := frame.f_back) is not None:
            frame, calls = above, calls + 1
        counted.append(calls)

    node = nested([kind], count, depth)
    wait(outcome_of(node, fed([kind], 1, depth), context=Counts(), **options))
    return counted[0]


@pytest.mark.parametrize("make", [dict, all_facilities], ids=["alone", "with all facilities"])
@pytest.mark.parametrize("name", KINDS)
def test_a_level_takes_at_most_nine_calls(wait: Wait, name: str, make: Any) -> None:
    shallow = stack_at_the_bottom(wait, KINDS[name], 2, **make())
    deep = stack_at_the_bottom(wait, KINDS[name], DEEPEST, **make())
    assert deep - shallow <= FRAMES_A_LEVEL * (DEEPEST - 2)


@pytest.mark.parametrize("names", PAIRS, ids=" and ".join)
def test_pairs_of_containers_stand_in_each_other_25_times(
    wait: Wait, names: tuple[str, str]
) -> None:
    kinds = [KINDS[name] for name in names]
    node, data = nested(kinds, bottom, DEEPEST), fed(kinds, 1, DEEPEST)
    result = wait(runner_of(node).run_async(data).result())
    assert result.output == given_back(kinds, 1, 2, DEEPEST)
    assert result.final_pipeline_context.names == ["bottom"]


async def answered_at_the_bottom(kind: Kind, depth: int, leaf: Node) -> Any:
    runner = runner_of(nested([kind], leaf, depth), hooks=[hear])
    paused = await runner.run_async(fed([kind], 1, depth))
    assert paused.status is RunStatus.PAUSED
    return await runner.resume_async(paused, 2)


@pytest.mark.parametrize("name", KINDS)
def test_a_question_stands_below_50_containers(wait: Wait, name: str) -> None:
    result = wait(answered_at_the_bottom(KINDS[name], DEEPEST, ASK))
    assert result.output == given_back([KINDS[name]], 1, 2, DEEPEST)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "cached"])
def test_a_question_stands_below_50_containers_with_a_sequence_in_each(
    wait: Wait, name: str
) -> None:
    kind = KINDS[name]
    sequence = Kind(lambda child, name: kind.around(echo_async >> child, name), kind.feed)
    result = wait(answered_at_the_bottom(sequence, DEEPEST, bottom >> ASK))
    assert result.output == given_back([kind], 1, 2, DEEPEST)
    assert result.final_pipeline_context.names == ["bottom"]


def test_what_runs_side_by_side_stands_as_deep(wait: Wait) -> None:
    """Two items in flight at each level, of which one goes deeper."""

    def around(child: Node, name: str) -> AnyStep:
        ends = branch_on(f"{name} ends", lambda data: data is None, {True: echo, False: child})
        return map_over(name, ends, max_concurrency=2)

    kinds = [Kind(around, lambda wanted: [wanted, None], lambda _, made: [made, None])]
    node, data = nested(kinds, bottom, DEEPEST // 2), fed(kinds, 1, DEEPEST // 2)
    result = wait(runner_of(node).run_async(data).result())
    assert result.output == given_back(kinds, 1, 2, DEEPEST // 2)


def all_steps(node: Node) -> Iterator[AnyStep]:
    if isinstance(node, Step):
        yield node
    for inner in node.inner:
        yield from all_steps(inner)


@pytest.mark.parametrize("name", KINDS)
def test_deeper_is_refused_before_anything_ran(wait: Wait, name: str) -> None:
    heard: list[object] = []
    kinds = [KINDS[name]]
    node = nested(kinds, Step.from_callable(lambda data: heard.append(data), name="leaf"), 51)
    sealed = [one.sealed for one in all_steps(node)]
    runner = runner_of(node, hooks=[lambda event: heard.append(event)])
    for _ in range(2):
        with pytest.raises(NestingTooDeep, match=r"51 containers .* 'c0' .* 50 may"):
            wait(runner.run_async(fed(kinds, 1, 51)).result())
    assert heard == []
    assert [one.sealed for one in all_steps(node)] == sealed


def test_far_deeper_is_refused_as_kindly(wait: Wait) -> None:
    runner = runner_of(nested([KINDS["loop"]], echo, 10 * DEEPEST))
    with pytest.raises(NestingTooDeep, match="make one pipeline of some"):
        wait(runner.run_async(1).result())


def test_a_part_of_what_is_too_deep_can_be_run(wait: Wait) -> None:
    inside = nested([KINDS["conditional"]], echo, DEEPEST)
    with pytest.raises(NestingTooDeep):
        wait(runner_of(KINDS["loop"].around(inside, "outer")).run_async(1).result())
    assert wait(runner_of(inside).run_async(1).result()).output == 1


def test_one_step_stands_at_every_level(wait: Wait) -> None:
    @step
    def plus_one(data: int) -> int:
        return data + 1

    node: Node = plus_one
    for level in range(DEEPEST):
        node = plus_one >> KINDS["loop"].around(node, f"c{level}") >> plus_one
    assert wait(runner_of(node).run_async(0).result()).output == 2 * DEEPEST + 1


def test_a_long_pipeline_is_not_deep(wait: Wait) -> None:
    node: Any = echo
    for number in range(2 * DEEPEST):
        node = node >> KINDS["loop"].around(echo, f"c{number}")
    assert wait(runner_of(node).run_async(1).result()).output == 1
