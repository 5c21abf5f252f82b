"""What was edited between a crash and resuming: what stands, what runs, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.errors import (
    DefinitionChanged,
    InputChanged,
    RunInputMismatch,
    StepInterrupted,
)
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Node, Pipeline, Step

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_has_run() -> Iterator[None]:
    RAN.clear()
    yield
    RAN.clear()


async def a(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    return data + 1


async def a_edited(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    return data + 100


async def b(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    return data * 2


async def last(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    return data + 1000


async def killed(data: int, frame: Any) -> int:
    """Stands for a step in flight when its process died."""
    RAN.append(str(frame.path))
    raise KeyboardInterrupt


async def failing(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    raise ValueError("not yet")


async def same(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    return data


def named(name: str, function: Callable[..., Any]) -> Any:
    return Step.from_callable(function, name=name)


def steps(**functions: Callable[..., Any]) -> Node:
    """A sequence of steps with these names and functions."""
    return Pipeline.of(*(named(name, function) for name, function in functions.items()))


class Runs:
    """One run in one store, by one runner after the other: as after restarts."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def __call__(self, node: Node, data: object = 1, **options: Any) -> PipelineResult:
        """How the run ends with ``node``; what ran before is forgotten."""
        RAN.clear()
        how = {name: options.pop(name) for name in ("keep", "anyway") if name in options}

        async def whole() -> PipelineResult:
            async with Flujo(node, state_backend=self._store, **options) as runner:
                return await runner.run_async(data, run_id="one", **how)

        return asyncio.run(whole())

    def dies(self, node: Node, data: object = 1, **options: Any) -> Sequence[str]:
        """What ran until a step failed, or interrupted everything."""
        with suppress(StepInterrupted):
            assert self(node, data, **options).status is RunStatus.FAILED
        return list(RAN)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs.db")


ENDS = pytest.mark.parametrize("end", [killed, failing], ids=["killed", "failed"])


@ENDS
def test_what_was_not_edited_stands(runs: Runs, end: Callable[..., Any]) -> None:
    assert runs.dies(steps(a=a, b=b, last=end)) == ["a", "b", "last"]
    result = runs(steps(a=a, b=b, last=last))
    assert (result.status, result.output, RAN) == (RunStatus.COMPLETED, 1004, ["last"])


@ENDS
def test_an_edited_recorded_step_is_refused_and_nothing_runs(
    runs: Runs, end: Callable[..., Any]
) -> None:
    runs.dies(steps(a=a, b=b, last=end))
    with pytest.raises(DefinitionChanged) as refused:
        runs(steps(a=a_edited, b=b, last=last))
    assert refused.value.paths == ("a",)
    assert "keep" in str(refused.value) and "fork" in str(refused.value)
    assert RAN == []


def test_all_edited_recorded_steps_are_named(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, last=failing))
    with pytest.raises(DefinitionChanged) as refused:
        runs(steps(a=a_edited, b=same, last=last))
    assert refused.value.paths == ("a", "b")


def test_keeping_lets_the_recorded_outcome_stand(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, last=failing))
    result = runs(steps(a=a_edited, b=b, last=last), keep=True)
    assert (result.output, RAN) == (1004, ["last"])


def test_a_refused_run_goes_on_with_what_it_was(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, last=failing))
    with pytest.raises(DefinitionChanged):
        runs(steps(a=a_edited, b=b, last=last))
    assert runs(steps(a=a, b=b, last=last)).output == 1004


@ENDS
def test_an_edited_failed_step_runs(runs: Runs, end: Callable[..., Any]) -> None:
    runs.dies(steps(a=a, b=end, last=last))
    result = runs(steps(a=a, b=b, last=last))
    assert (result.output, RAN) == (1004, ["b", "last"])


def test_an_edited_step_in_a_container_is_refused(runs: Runs) -> None:
    def flow(first: Callable[..., Any], end: Callable[..., Any]) -> Node:
        fan = Step.parallel("fan", {"l": named("l", first), "r": named("r", same)})
        return fan >> named("last", end)

    async def total(data: Any, frame: Any) -> int:
        RAN.append(str(frame.path))
        return sum(data.values())

    runs.dies(flow(a, failing))
    with pytest.raises(DefinitionChanged) as refused:
        runs(flow(a_edited, total))
    assert refused.value.paths == ("fan/:l/l",)
    assert RAN == []
    assert runs(flow(a_edited, total), keep=True).output == 3


def test_an_inserted_step_that_changes_nothing_runs_and_the_rest_stands(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, last=failing))
    result = runs(steps(a=a, new=same, b=b, last=last))
    assert (result.output, RAN) == (1004, ["new", "last"])


def test_an_inserted_step_that_changes_the_value_is_noticed_at_its_successor(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, last=failing))
    with pytest.raises(InputChanged, match=r"\bb\b"):
        runs(steps(a=a, new=a_edited, b=b, last=last))
    assert RAN == ["new"]


def test_a_removed_step_is_reported_and_stays_in_the_store(runs: Runs) -> None:
    runs.dies(steps(a=a, b=same, c=b, last=failing))
    result = runs(steps(a=a, c=b, last=last))
    assert (result.output, RAN) == (1004, ["last"])
    assert tuple(map(str, result.unvisited)) == ("b",)
    assert runs(steps(a=a, b=same, c=b, last=last)).output == 1004
    assert RAN == []


def test_a_removed_step_whose_value_is_missed_is_noticed_at_its_successor(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, c=same, last=failing))
    with pytest.raises(InputChanged, match=r"\bc\b"):
        runs(steps(a=a, c=same, last=last))
    assert RAN == []


def test_a_renamed_step_runs_under_its_new_name(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, last=failing))
    result = runs(steps(a=a, better=b, last=last))
    assert (result.output, RAN) == (1004, ["better", "last"])
    assert tuple(map(str, result.unvisited)) == ("b",)


def test_a_moved_step_keeps_what_it_gave(runs: Runs) -> None:
    runs.dies(steps(a=a, b=same, c=same, last=failing))
    result = runs(steps(a=a, c=same, b=same, last=last))
    assert (result.output, RAN) == (1002, ["last"])


class Items(BaseModel):
    """A context with a list to map over."""

    items: list[int] = []


def over_context(function: Callable[..., Any]) -> Node:
    each = Step.map_over("each", named("work", function), iterable_input="items")
    return named("a", same) >> each


async def fails_at_three(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    if data == 3:
        raise ValueError("three")
    return data * 10


async def tenfold(data: int, frame: Any) -> int:
    RAN.append(str(frame.path))
    return data * 10


def test_a_map_goes_on_with_the_list_that_it_began_with(runs: Runs) -> None:
    def of(*items: int) -> dict[str, Any]:
        return {"context_model": Items, "initial_context_data": {"items": list(items)}}

    runs.dies(over_context(fails_at_three), **of(1, 2, 3, 4))
    assert RAN == ["a", "each/[0]/work", "each/[1]/work", "each/[2]/work"]
    with pytest.raises(DefinitionChanged):  # the items before the failed one ran the old body
        runs(over_context(tenfold), **of(1, 2, 3, 4, 5))
    result = runs(over_context(tenfold), keep=True, **of(1, 2, 3, 4, 5))
    assert (result.output, RAN) == ([10, 20, 30, 40], ["each/[2]/work", "each/[3]/work"])


def over_input(function: Callable[..., Any], *before: Any) -> Node:
    first = named("items", items_of)
    return Pipeline.of(first, *before, Step.map_over("each", named("work", function)))


async def items_of(data: int, frame: Any) -> list[int]:
    RAN.append(str(frame.path))
    return [data, data + 1, data + 2]


async def longer(data: list[int], frame: Any) -> list[int]:
    RAN.append(str(frame.path))
    return [0, *data]


def test_a_map_whose_own_input_changed_is_refused(runs: Runs) -> None:
    runs.dies(over_input(fails_at_three))
    with pytest.raises(InputChanged, match="each"):
        runs(over_input(fails_at_three, named("longer", longer)))
    assert RAN == ["longer"]


def test_another_input_of_the_run_is_refused(runs: Runs) -> None:
    runs.dies(steps(a=a, b=b, last=failing), 1)
    with pytest.raises(RunInputMismatch):
        runs(steps(a=a, b=b, last=last), 2)
    assert RAN == []
    assert runs(steps(a=a, b=b, last=last), None).output == 1004


def test_a_completed_run_gives_its_record(runs: Runs) -> None:
    first = runs(steps(a=a, b=b))
    again = runs(steps(a=a, b=b))
    assert (again.status, again.output, RAN) == (RunStatus.COMPLETED, first.output, [])


def test_a_changed_option_of_a_container_is_an_edit_of_the_container(runs: Runs) -> None:
    def flow(most: int, end: Callable[..., Any]) -> Node:
        body = named("turn", a)
        loop = Step.loop_until("loop", body, lambda out: out > 2, max_loops=most)
        return loop >> named("last", end)

    runs.dies(flow(5, failing))
    with pytest.raises(DefinitionChanged) as refused:
        runs(flow(9, last))
    assert refused.value.paths == ("loop",)
