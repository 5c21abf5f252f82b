"""Runs with questions: however they are nested and answered, they end as if nobody had asked.

A pipeline is made twice of one plan. In the twin a step stands where the other asks, and gives the
same answer at once. Output, context, history, totals and how often each step and each function of
a container was called, path by path, are the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from flujo_nb.engine.merging import Merge
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import BranchFailureStrategy, ImportStep
from flujo_nb.engine.steps import Pipeline, Step
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.pauses import asks, told

MOST_ANSWERS = 200


class State(BaseModel):
    total: Annotated[int, Merge.add] = 0
    log: Annotated[list[str], Merge.append] = []
    seen: Annotated[int, Merge.max] = 0


@dataclass(frozen=True)
class Plan:
    """A step or a container, with the plans of what it holds; ``number`` chooses its options."""

    kind: str
    number: int
    inner: tuple[Plan, ...] = ()


def choice(text: object, count: int) -> int:
    """A number below ``count`` that depends on the text alone."""
    return crc32(str(text).encode()) % count


def answer_at(path: str) -> int:
    return choice(path, 100)


@dataclass(frozen=True)
class Last:
    """What the last iteration of a loop gives."""

    value: object


class Maker:
    """Makes the steps of a plan, and counts their calls."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self.calls: Counter[str] = Counter()
        self._ask = ask
        self._made = 0

    def make(self, plan: Plan) -> Any:
        self._made += 1
        name = f"{plan.kind}{self._made}"
        inner = [self.make(one) for one in plan.inner]
        make: Callable[[str, int, list[Any]], Any] = getattr(self, f"_{plan.kind}")
        return make(name, plan.number, inner)

    def _counted(self, name: str, decide: Callable[..., Any]) -> Callable[..., Any]:
        def counted(data: object, context: State) -> Any:
            self.calls[name] += 1
            context.log.append(name)
            return decide(data)

        return counted

    def _ask_human(self, name: str, number: int, inner: list[Any]) -> Any:
        return self._ask(name, sink_to="seen" if number % 2 else None)

    def _work(self, name: str, number: int, inner: list[Any]) -> Any:
        async def work(data: object, context: State, frame: Any) -> Metered:
            self.calls[str(frame.path)] += 1
            for _ in range(number):
                await asyncio.sleep(0)
            context.total += number
            context.log.append(str(frame.path))
            return Metered(choice((name, data), 1000), Usage(tokens=number))

        return Step.from_callable(work, name=name)

    def _sequence(self, name: str, number: int, inner: list[Any]) -> Any:
        return Pipeline.of(*inner)

    def _branch(self, name: str, number: int, inner: list[Any]) -> Any:
        key = self._counted(f"{name} key", lambda data: choice(data, len(inner)))
        return Step.branch_on(name, key, dict(enumerate(inner)))

    def _loop(self, name: str, number: int, inner: list[Any]) -> Any:
        def tick(data: object, frame: Any) -> object:
            self.calls[str(frame.path)] += 1
            turn = frame.parent.index
            return Last(data) if turn == number % 3 else data

        return Step.loop_until(
            name,
            Pipeline.of(*inner, Step.from_callable(tick, name=f"{name}_tick", thread=False)),
            self._counted(f"{name} exit", lambda data: isinstance(data, Last)),
            iteration_input_mapper=self._counted(f"{name} next", lambda data: choice(data, 7)),
            loop_output_mapper=self._counted(f"{name} output", lambda data: data.value),
        )

    def _map(self, name: str, number: int, inner: list[Any]) -> Any:
        """Items of which one fails and is kept."""

        def check(data: object, frame: Any) -> object:
            self.calls[str(frame.path)] += 1
            if frame.parent.index == 1:
                raise ValueError("item 1")
            return data

        def items(data: object) -> list[object]:
            return [choice((name, data, item), 50) for item in range(number % 4)]

        each = Step.map_over(
            name,
            Pipeline.of(*inner, Step.from_callable(check, name=f"{name}_check", thread=False)),
            max_concurrency=1 + number % 3,
            on_item_failure="keep",
        )
        last = Step.from_callable(lambda data: len(data), name=f"{name}_len", thread=False)
        return Step.from_callable(items, name=f"{name}_items", thread=False) >> each >> last

    def _parallel(self, name: str, number: int, inner: list[Any]) -> Any:
        """Branches of which one fails and is ignored."""

        async def fail(data: object, frame: Any) -> None:
            self.calls[str(frame.path)] += 1
            raise ValueError(name)

        branches = {str(at): one for at, one in enumerate(inner)}
        branches["fails"] = Step.from_callable(fail, name=f"{name}_fails")
        return Step.parallel(
            name,
            branches,
            on_branch_failure=BranchFailureStrategy.IGNORE,
            max_concurrency=(None, 1, 2)[number % 3],
            reduce=self._counted(
                f"{name} reduce", lambda results: choice([one.output for one in results], 90)
            ),
        )

    def _sub(self, name: str, number: int, inner: list[Any]) -> Any:
        inherits = bool(number % 2)
        return ImportStep(
            name=name,
            pipeline=Pipeline.of(*inner),
            inherit_context=inherits,
            updates_context=inherits or number == 2,
        )


numbers = st.integers(0, 4)
leaves = st.builds(Plan, st.sampled_from(["ask_human", "ask_human", "ask_human", "work"]), numbers)
plans = st.recursive(
    leaves,
    lambda inner: st.builds(
        Plan,
        st.sampled_from(["sequence", "branch", "loop", "map", "parallel", "sub"]),
        numbers,
        st.lists(inner, min_size=1, max_size=2).map(tuple),
    ),
    max_leaves=8,
)


def at_once(name: str, **declared: Any) -> Any:
    async def answer(data: object, frame: Any) -> int:
        return answer_at(str(frame.path))

    return Step.from_callable(answer, name=name, **declared)


async def answered(runner: Flujo, rng: Random) -> Any:
    """The end of a run in which a random one of the open questions is answered at a time."""
    result = await runner.run_async(1)
    for _ in range(MOST_ANSWERS):
        if result.status is not RunStatus.PAUSED:
            return result
        path = str(rng.choice(list(result.paused)).path)
        result = await runner.resume_async(result, answer_at(path), pause=path)
    raise AssertionError(f"still asking: {result.paused}")


@settings(max_examples=100)
@given(plans, st.randoms(use_true_random=False))
def test_a_run_ends_as_its_twin_without_questions_does(plan: Plan, rng: Random) -> None:
    human, twin = Maker(asks), Maker(at_once)
    result = asyncio.run(answered(Flujo(human.make(plan), context_model=State), rng))
    expected = asyncio.run(Flujo(twin.make(plan), context_model=State).run_async(1).result())
    assert expected.success
    assert told([result]) == told([expected])
    assert human.calls == twin.calls
