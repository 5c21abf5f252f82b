"""State outside of a run: loaded before a step that takes the context, saved after it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.context import ContextUpdate, PipelineContext, SetValue
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.hooks import FrameFinished, Hook
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Aborted, AbortReason, Failure, FailureKind, Success
from flujo_nb.engine.references import (
    ContextReference,
    ProviderFailed,
    ReferenceNotLoaded,
    UnknownProvider,
)
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import ParallelStep
from flujo_nb.engine.steps import Node, Step
from flujo_nb.engine.usage import Metered, Usage
from tests.engine.behind import behind, ended, run
from tests.engine.fakes import Wait, broken, echo


class Store:
    """A provider that keeps values in a dict, and notes what it was asked."""

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.asked: list[str] = []

    def load(self, key: str) -> Any:
        self.asked.append(f"load {key}")
        return self.values[key]

    def save(self, key: str, value: Any) -> None:
        self.asked.append(f"save {key}")
        self.values[key] = value


class AsyncStore(Store):
    """The same, async."""

    async def load(self, key: str) -> Any:
        await asyncio.sleep(0)
        return super().load(key)

    async def save(self, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        super().save(key, value)


class Inner(BaseModel):
    notes: ContextReference[list[str]] = ContextReference("store", "notes")


class Talk(BaseModel):
    history: ContextReference[list[str]] = ContextReference("store", "ann")
    inner: Inner | None = None
    turns: int = 0


async def on(
    store: Any, node: Node, data: Any = None, context: BaseModel | None = None, **frame: Any
) -> Any:
    """Run ``node`` with ``store`` as its only provider."""
    given = Talk() if context is None else context
    core = frame.pop("core", None) or ExecutorCore()
    return await run(core, node, data, context=given, state_providers={"store": store}, **frame)


@step
def read(data: object, context: Talk) -> list[str]:
    return list(context.history.value)


@step
def append(data: str, context: Talk) -> None:
    context.history.value.append(data)
    context.turns += 1


@step
def assign(data: str, context: Talk) -> None:
    context.history.value = [data]


@pytest.mark.parametrize("kind", [Store, AsyncStore])
def test_a_step_that_takes_the_context_sees_the_value(wait: Wait, kind: type[Store]) -> None:
    store = kind(ann=["hello"])
    assert wait(on(store, read)).output == ["hello"]
    assert store.asked == ["load ann"]


def test_a_step_that_does_not_take_the_context_loads_nothing(wait: Wait) -> None:
    store = Store()
    assert isinstance(wait(on(store, echo >> echo)), Success)
    assert store.asked == []


@pytest.mark.parametrize(
    ("change", "value"), [(append, ["hello", "you"]), (assign, ["you"])], ids=["in place", "set"]
)
@pytest.mark.parametrize("kind", [Store, AsyncStore])
def test_what_a_step_made_of_the_value_is_saved(
    wait: Wait, kind: type[Store], change: Any, value: list[str]
) -> None:
    store = kind(ann=["hello"])
    outcome = wait(on(store, change >> read, "you"))
    assert (store.values["ann"], outcome.output) == (value, value)
    assert store.asked == ["load ann", "save ann", "load ann"]


def test_what_cannot_be_copied_is_saved_once_it_was_looked_at(wait: Wait) -> None:
    lock = threading.Lock()
    store = Store(ann=lock)

    @step
    def look(data: object, context: Talk) -> bool:
        return context.history.value is lock

    assert wait(on(store, look)).output
    assert store.asked == ["load ann", "save ann"]


def test_the_value_is_in_no_update_no_dump_and_no_comparison(wait: Wait) -> None:
    @step
    def dump(data: str, context: Talk) -> Any:
        context.history.value.append(data)
        context.turns = 3
        return context.model_dump()

    outcome = wait(on(Store(ann=["secret"]), dump, "more"))
    assert outcome.update == ContextUpdate((SetValue(("turns",), 3),))
    place = {"provider_id": "store", "key": "ann"}
    assert outcome.output == {"history": place, "inner": None, "turns": 3}
    assert "secret" not in repr(outcome)


def test_references_are_found_in_models_inside(wait: Wait) -> None:
    store = Store(ann=[], notes=["n"])

    @step
    def note(data: str, context: Talk) -> None:
        assert context.inner is not None
        context.inner.notes.value.append(data)

    outcome = wait(on(store, note, "m", Talk(inner=Inner())))
    assert outcome.update is None
    assert store.values["notes"] == ["n", "m"]
    assert store.asked == ["load ann", "load notes", "save notes"]


def test_several_are_loaded_and_saved_at_once(wait: Wait) -> None:
    class Meeting(Store):
        """Both calls of a kind must be under way before either ends."""

        def __init__(self) -> None:
            super().__init__(ann=[], notes=[])
            self.barriers = {"load": asyncio.Barrier(2), "save": asyncio.Barrier(2)}

        async def load(self, key: str) -> Any:
            await self.barriers["load"].wait()
            return self.values[key]

        async def save(self, key: str, value: Any) -> None:
            await self.barriers["save"].wait()

    @step
    def both(data: str, context: Talk) -> None:
        assert context.inner is not None
        context.inner.notes.value = context.history.value = [data]

    async def main() -> None:
        assert isinstance(await on(Meeting(), both, "x", Talk(inner=Inner())), Success)

    wait(main())


def test_readers_beside_a_writer_save_nothing(wait: Wait) -> None:
    store = AsyncStore(ann=["hello"])
    both = ParallelStep[Any, Any](name="both", branches={"w": append, "r": read, "s": read})
    assert isinstance(wait(on(store, both, "you")), Success)
    assert store.values["ann"] == ["hello", "you"]
    assert [one for one in store.asked if "save" in one] == ["save ann"]


# Failures.


@pytest.mark.parametrize("retries", [0, 1])
def test_each_attempt_starts_from_what_was_loaded(wait: Wait, retries: int) -> None:
    tries = []

    def flaky(data: str, context: Talk) -> None:
        context.history.value.append(data)
        tries.append(data)
        if len(tries) == 1:
            raise ValueError("once")

    store = Store(ann=["hello"])
    config = StepConfig(max_retries=retries)
    outcome = wait(on(store, Step.from_callable(flaky, config=config), "you"))
    if retries:
        assert isinstance(outcome, Success)
        assert store.values["ann"] == ["hello", "you"]
    else:
        assert isinstance(outcome, Failure)
        assert store.asked == ["load ann"]


def test_an_attempt_that_failed_saves_nothing_though_another_succeeds(wait: Wait) -> None:
    tries = []

    def flaky(data: str, context: Talk) -> None:
        tries.append(data)
        if len(tries) == 1:
            context.history.value.append(data)
            raise ValueError("once")

    store = Store(ann=["hello"])
    config = StepConfig(max_retries=1)
    assert isinstance(wait(on(store, Step.from_callable(flaky, config=config), "x")), Success)
    assert store.asked == ["load ann"]


def test_an_unknown_provider_is_an_error_that_names_the_known(wait: Wait) -> None:
    context = Talk(history=ContextReference("shop", "ann"), inner=Inner())
    store = Store(notes=[])
    outcome = wait(on(store, read, None, context))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, UnknownProvider)
    assert "history" in outcome.feedback
    assert "'shop', and the run has 'store' (at read)" in outcome.feedback
    assert store.asked == []


@pytest.mark.parametrize("kind", [Store, AsyncStore])
def test_an_error_of_a_provider_is_the_steps(wait: Wait, kind: type[Store]) -> None:
    outcome = wait(on(kind(), read))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ProviderFailed)
    assert isinstance(outcome.error.__cause__, KeyError)
    assert outcome.kind is FailureKind.CONTEXT
    assert "the state provider 'store' could not load 'ann': KeyError('ann')" in outcome.feedback


def test_what_could_not_be_saved_was_not_done(wait: Wait) -> None:
    class Full(Store):
        def save(self, key: str, value: Any) -> None:
            raise OSError("no space left")

    told = []

    @step
    def spend(data: str, context: Talk) -> Metered:
        context.history.value = []
        context.turns += 1
        return Metered(data, Usage(tokens=3))

    hook = Hook(lambda event: told.append(event.outcome), (FrameFinished,))
    outcome = wait(on(Full(ann=["a"]), spend >> broken, "x", hooks=(hook,)))
    assert isinstance(outcome, Failure)
    assert "could not save 'ann': OSError('no space left')" in outcome.feedback
    assert [type(one) for one in told] == [Failure, Failure]
    assert told[0].usage == Usage(tokens=3)


def test_an_interrupted_provider_interrupts_the_run(wait: Wait) -> None:
    class Interrupted(Store):
        def load(self, key: str) -> Any:
            raise KeyboardInterrupt

    for context in (Talk(), Talk(inner=Inner())):  # one and two references
        outcome = wait(on(Interrupted(), read, None, context))
        assert isinstance(outcome, Aborted)
        assert outcome.reason is AbortReason.INTERRUPTED


def test_a_run_that_is_cancelled_while_it_loads_leaves_nothing_behind(wait: Wait) -> None:
    class Hanging(Store):
        async def load(self, key: str) -> Any:
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(on(Hanging(), read, None, Talk(inner=Inner())))
        await asyncio.sleep(0.001)
        task.cancel()
        outcome = await task
        assert isinstance(outcome, Aborted)

    wait(main())


# The reference itself.


def test_a_step_may_refer_to_another_place(wait: Wait) -> None:
    @step
    def turn(data: str, context: Talk) -> None:
        context.history.value.append("last words")
        context.history = ContextReference("store", data)

    store = Store(ann=["a"], bob=["b"])
    assert wait(on(store, turn >> read, "bob")).output == ["b"]
    assert store.asked == ["load ann", "load bob"]


def test_a_reference_that_is_put_elsewhere_takes_no_value_along(wait: Wait) -> None:
    class Two(Talk):
        other: ContextReference[list[str]] | None = None

    @step
    def share(data: str, context: Two) -> None:
        context.history.value.append(data)
        context.other = context.history

    store = Store(ann=["a"])
    context = Two()
    outcome = wait(on(store, share, "b", context))
    assert store.asked == ["load ann", "save ann"]
    assert store.values["ann"] == ["a", "b"]
    after = ContextUpdateManager().merge(context, outcome.update)
    assert after.other == after.history == ContextReference("store", "ann")
    with pytest.raises(ReferenceNotLoaded):
        _ = after.other.value


def test_the_value_ends_with_the_step(wait: Wait) -> None:
    kept: list[Any] = []

    @step
    def keep(data: object, context: Talk) -> None:
        kept.append(context.history)
        _ = context.history.value

    wait(on(Store(ann=["a"]), keep))
    for reference in (*kept, Talk().history):
        with pytest.raises(ReferenceNotLoaded, match="takes the context"):
            _ = reference.value
        with pytest.raises(ReferenceNotLoaded):
            reference.value = []


def test_outputs_may_go_to_the_context_beside_a_changed_value(wait: Wait) -> None:
    def count(data: str, context: Talk) -> dict[str, int]:
        context.history.value.append(data)
        return {"turns": 7}

    store = Store(ann=[])
    outcome = wait(on(store, Step.from_callable(count, updates_context=True), "x"))
    assert outcome.update == ContextUpdate((SetValue(("turns",), 7),))
    assert store.values["ann"] == ["x"]


# Runs.


def test_a_recorded_step_loads_nothing(wait: Wait) -> None:
    store, journal = Store(ann=["a"]), Journal()
    for _ in range(2):
        wait(on(store, append >> broken, "b", journal=journal))
    assert store.asked == ["load ann", "save ann"]


def test_a_task_in_the_background_has_its_own(wait: Wait) -> None:
    store, core = AsyncStore(ann=["a"]), ExecutorCore()

    async def main() -> None:
        await on(store, behind(append.agent) >> echo, "b", core=core)
        assert isinstance((await ended(core)).outcome, Success)

    wait(main())
    assert store.values["ann"] == ["a", "b"]
    assert store.asked == ["load ann", "save ann"]


def test_a_context_still_shows_its_run(wait: Wait) -> None:
    class Shown(PipelineContext):
        history: ContextReference[list[str]] = ContextReference("store", "ann")

    @step
    def look(data: object, context: Shown) -> tuple[str, int]:
        return context.run_id, len(context.history.value)

    assert wait(on(Store(ann=["a"]), look, None, Shown())).output == ("r", 1)
