"""What a container does for its children leaves its own frame, and their siblings, alone."""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.dsl import branch_on, dynamic_parallel_branch, loop_until, map_over, parallel
from flujo_nb.engine.frame import AnyFrame, ExecutionFrame
from flujo_nb.engine.merging import Merge
from flujo_nb.engine.outcomes import StepOutcome, Success
from flujo_nb.engine.step_kinds import CacheStep, ImportStep
from flujo_nb.engine.steps import Node, Pipeline, Step
from tests.engine.fakes import Box, Counts, Wait, boxed, outcome_of, runner_of

MARK: ContextVar[str] = ContextVar("mark", default="none")


class Tally(BaseModel):
    total: Annotated[int, Merge.add] = 0
    names: list[Any] = []
    by_kind: dict[str, int] = {}


BASE = Tally(total=7, names=["base"], by_kind={"base": 1})


def branches(kids: Sequence[Node]) -> dict[str, Node]:
    return {f"b{number}": kid for number, kid in enumerate(kids)}


def until(count: int) -> Callable[[object], bool]:
    """An exit condition that holds when it is asked for the ``count``-th time."""
    asked = itertools.count(1)
    return lambda output: next(asked) == count


Make = Callable[[Sequence[Node]], Node]
APART: dict[str, Make] = {
    "map": lambda kids: map_over("outer", kids[0]),
    "map, two at once": lambda kids: map_over("outer", kids[0], max_concurrency=2),
    "map, all at once": lambda kids: map_over("outer", kids[0], max_concurrency=9),
    "parallel": lambda kids: parallel("outer", branches(kids)),
    "parallel, two at once": lambda kids: parallel("outer", branches(kids), max_concurrency=2),
    "parallel, one at a time": lambda kids: parallel("outer", branches(kids), max_concurrency=1),
    "router": lambda kids: dynamic_parallel_branch(
        "outer", lambda _: ["b0", "b1", "b2"], branches(kids)
    ),
}
"""Containers whose children begin alike, whatever their siblings did."""

IN_TURN: dict[str, Make] = {
    "sequence": lambda kids: Pipeline.of(*kids),
    "loop": lambda kids: loop_until("outer", kids[0], until(3)),
}
"""Containers whose children begin with what the one before left."""

SINGLE: dict[str, Make] = {
    "conditional": lambda kids: branch_on("outer", lambda _: 1, {1: kids[0]}),
    "import, inherited": lambda kids: ImportStep(
        name="outer", pipeline=kids[0], inherit_context=True, updates_context=True
    ),
    "import": lambda kids: ImportStep(name="outer", pipeline=kids[0]),
    "cached": lambda kids: CacheStep(name="outer", wrapped_step=kids[0]),  # type: ignore[arg-type]
}
ALL = {**APART, **IN_TURN, **SINGLE}


def frozen(frame: AnyFrame) -> dict[str, object]:
    """Everything of a frame: which objects it holds, and the bytes of what they hold."""
    held: dict[str, object] = {one.name: id(getattr(frame, one.name)) for one in fields(frame)}
    held["bytes"] = pickle.dumps((frame.data, frame.context))
    held["json"] = "" if frame.context is None else frame.context.model_dump_json()
    held["path"] = str(frame.path)
    return held


@dataclass
class Recording:
    """What boxes saw: each changes its context and a variable, sleeping in between or not."""

    frames: list[AnyFrame] = field(default_factory=list)
    before: list[dict[str, object]] = field(default_factory=list)
    contexts: list[dict[str, Any]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    rest: Callable[[], Awaitable[None]] | None = None

    async def run(self, core: Any, frame: AnyFrame) -> Success:
        own = core.contexts.isolate(frame.context)
        self.frames.append(frame)
        self.before.append(frozen(frame))
        self.contexts.append(own.model_dump())
        self.marks.append(MARK.get())
        name = str(frame.path)
        MARK.set(name)
        own.total += 1
        own.names.append(name)
        own.by_kind[name] = 1
        if self.rest is not None:
            await self.rest()
        return Success(output=frame.data, update=core.contexts.diff(frame.context, own))


@dataclass
class Outer:
    """A policy that runs the container under test as a child, and looks at its frame."""

    container: Node
    recording: Recording
    parent: AnyFrame | None = None
    before: dict[str, object] = field(default_factory=dict)
    after: dict[str, object] = field(default_factory=dict)

    async def run(self, core: Any, frame: AnyFrame) -> StepOutcome:
        if frame.step.name != "outermost":
            return await self.recording.run(core, frame)
        self.parent = core.child_frame(frame, self.container, frame.data)
        self.before = frozen(self.parent)
        outcome: StepOutcome = await core.run(self.parent)
        self.after = frozen(self.parent)
        return outcome


async def a_turn() -> None:
    await asyncio.sleep(0)


KIDS = [Box(name=f"kid{number}") for number in range(3)]
RESTS = {"at once": None, "suspended": a_turn}


def watched(wait: Wait, make: Make, rest: Any = None) -> tuple[Outer, Any]:
    """Run a container over boxes that look at their frames; what was seen, and the outcome."""
    outer = Outer(make(KIDS), Recording(rest=rest))
    work = outcome_of(
        Box(name="outermost"),
        [[1], [2], [3]],
        context=BASE.model_copy(deep=True),
        registry=boxed(outer.run),
    )
    return outer, wait(work)


def ancestors(frame: AnyFrame) -> Iterator[ExecutionFrame[Any]]:
    above = frame.parent
    while above is not None:
        yield above
        above = above.parent


@pytest.mark.parametrize("rest", RESTS.values(), ids=RESTS)
@pytest.mark.parametrize("name", ALL)
def test_children_have_frames_of_their_own_and_their_parents_stays_as_it_was(
    wait: Wait, name: str, rest: Any
) -> None:
    outer, outcome = watched(wait, ALL[name], rest)
    frames = outer.recording.frames
    assert isinstance(outcome, Success)
    assert len(frames) == (1 if name in SINGLE else 3)
    assert outer.after == outer.before
    for frame in frames:
        assert frame is not outer.parent
        assert outer.parent in ancestors(frame)
    assert len({id(frame) for frame in frames}) == len(frames)
    assert len({str(frame.path) for frame in frames}) == len(frames)
    assert [frozen(frame) for frame in frames] == outer.recording.before


@pytest.mark.parametrize("rest", RESTS.values(), ids=RESTS)
@pytest.mark.parametrize("make", APART.values(), ids=APART)
def test_siblings_begin_alike(wait: Wait, make: Make, rest: Any) -> None:
    outer, outcome = watched(wait, make, rest)
    assert isinstance(outcome, Success)
    assert outer.recording.contexts == [BASE.model_dump()] * 3


@pytest.mark.parametrize("make", IN_TURN.values(), ids=IN_TURN)
def test_those_in_turn_begin_with_what_the_one_before_left(wait: Wait, make: Make) -> None:
    outer, outcome = watched(wait, make)
    assert isinstance(outcome, Success)
    assert [seen["total"] for seen in outer.recording.contexts] == [7, 8, 9]


@pytest.mark.parametrize("rest", RESTS.values(), ids=RESTS)
@pytest.mark.parametrize("make", APART.values(), ids=APART)
def test_context_variables_of_siblings_are_their_own(wait: Wait, make: Make, rest: Any) -> None:
    async def main() -> tuple[list[str], str]:
        outer = Outer(make(KIDS), Recording(rest=rest))
        registry = boxed(outer.run)
        await outcome_of(Box(name="outermost"), [1, 2, 3], context=Tally(), registry=registry)
        return outer.recording.marks, MARK.get()

    assert wait(main()) == (["none"] * 3, "none")


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_child_that_is_undone_leaves_nothing(wait: Wait, make: Make) -> None:
    """A failure after all the changes: the parent's context and frame know nothing of it."""

    async def fail() -> None:
        raise ValueError("after all")

    outer, outcome = watched(wait, make, fail)
    assert not isinstance(outcome, Success)
    assert outer.after == outer.before
    assert [frozen(frame) for frame in outer.recording.frames] == outer.recording.before


GIVEN_TO_SEVERAL: dict[str, Make] = {
    name: APART[name] for name in ("parallel", "parallel, one at a time", "router")
}


@pytest.mark.parametrize("make", GIVEN_TO_SEVERAL.values(), ids=GIVEN_TO_SEVERAL)
def test_what_several_are_given_is_each_ones_own(wait: Wait, make: Make) -> None:
    seen: list[list[int]] = []

    async def grow(data: dict[str, list[int]]) -> None:
        seen.append(list(data["rows"]))
        data["rows"].append(1)

    kids = [Step.from_callable(grow, name=f"grow{number}") for number in range(3)]
    data: dict[str, list[int]] = {"rows": []}
    assert wait(runner_of(make(kids)).run_async(data).result()).success
    assert seen == [[], [], []]
    assert data == {"rows": []}


def test_what_an_import_was_not_asked_for_does_not_flow_back(wait: Wait) -> None:
    _, outcome = watched(wait, SINGLE["import"])
    assert outcome.update is None


def test_items_of_the_context_are_copies(wait: Wait) -> None:
    async def grow(data: list[int]) -> list[int]:
        data.append(9)
        return data

    items = map_over("outer", Step.from_callable(grow), iterable_input="names")
    context = Counts.model_construct(names=[[1], [2]])
    outcome = wait(outcome_of(items, None, context=context))
    assert outcome.output == [[1, 9], [2, 9]]
    assert context.names == [[1], [2]]


def test_a_step_may_run_itself_again(wait: Wait) -> None:
    """A policy of others that recurses on its own step: each level has a frame of its own."""
    frames: list[AnyFrame] = []

    async def down(core: Any, frame: AnyFrame) -> StepOutcome:
        frames.append(frame)
        if frame.data == 0:
            return Success(output="bottom")
        outcome: StepOutcome = await core.run(core.child_frame(frame, frame.step, frame.data - 1))
        return outcome

    box = Box(name="box")
    outcome = wait(outcome_of(box, 50, registry=boxed(down), context=Counts()))
    assert outcome.output == "bottom"
    assert [frame.data for frame in frames] == list(range(50, -1, -1))
    assert len({frame.path for frame in frames}) == 51
    assert {id(frame.step) for frame in frames} == {id(box)}


def test_one_that_runs_itself_for_ever_is_a_failed_step(wait: Wait) -> None:
    async def down(core: Any, frame: AnyFrame) -> StepOutcome:
        outcome: StepOutcome = await core.run(core.child_frame(frame, frame.step, None))
        return outcome

    outcome = wait(outcome_of(Box(name="box"), registry=boxed(down)))
    assert "RecursionError" in outcome.feedback
