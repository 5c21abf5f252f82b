"""Frames that are changed by way of their run's journal: one in memory, one in a store."""

from __future__ import annotations

from threading import Lock
from typing import Any

import pytest

from flujo_nb.engine.context import PipelineContext
from flujo_nb.engine.errors import NotPatchable, PausedException, ResumeError, ValueGone
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.hooks import AnyEvent, FrameFinished, FrameRestored, FrameStarted, Hook
from flujo_nb.engine.journal import Journal, Patch
from flujo_nb.engine.outcomes import Aborted, AbortReason, FrameOutcome, Paused, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.step_definitions import StepDefinitions
from flujo_nb.engine.steps import Node, Step
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.secrets import SecretBook
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.stored_journal import StoredJournal
from flujo_nb.engine.unsaved import LivePart, Unsaved
from flujo_nb.engine.usage import Usage, UsageEstimate
from tests.engine.durable import works
from tests.engine.fakes import Counts, Wait
from tests.engine.pauses import Calls


async def journal_of(kind: str) -> Journal:
    if kind == "memory":
        return Journal()
    store, types = MemoryStore(), TypeTable()
    types.add(Counts)
    types.add(PipelineContext)
    codec = Codec(types, SecretBook(b"k" * 16))
    lease = await store.create("r", b"{}", this_process())
    return StoredJournal(store, "r", codec, lease=lease, definitions=StepDefinitions())


@pytest.fixture(params=["memory", "stored"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def run(
    node: Node, journal: Journal, data: object = "x", events: list[AnyEvent] | None = None
) -> FrameOutcome:
    core, context = ExecutorCore(), Counts()

    def hear(event: AnyEvent) -> None:
        if events is not None:
            events.append(event)

    frame = make_execution_frame(
        node,
        data,
        context=context,
        journal=journal,
        facilities=core.facilities_of(node, context),
        hooks=() if events is None else (Hook.of(hear),),
        run_id="r",
    )
    return await core.run_root(frame)


def changed(journal: Journal, path: str, before: FrameOutcome | None = None, **changes: Any) -> Any:
    """``journal``, which changes the frame at ``path``."""
    journal.patches[FramePath.parse(path).segments] = Patch(changes, before)
    return journal


def test_an_output_stands_in_for_the_work_and_is_told_as_that(wait: Wait, kind: str) -> None:
    async def main() -> None:
        events: list[AnyEvent] = []
        journal = changed(await journal_of(kind), "a", output="given")
        named = works(calls, "c", input="{{ steps.a }}, {{ data }}")
        node = works(calls, "a") >> works(calls, "b") >> named
        outcome: Any = await run(node, journal, events=events)
        assert outcome.output == "given, given b c"
        told = [type(one) for one in events if getattr(one, "path", None) == FramePath.parse("a")]
        assert told == [FrameRestored]
        assert any(isinstance(one, FrameStarted) for one in events)
        assert any(isinstance(one, FrameFinished) for one in events)
        if kind == "stored":
            journal.read()
        assert journal.outcome_at(FramePath.parse("a")).output == "given"

    calls = Calls()
    wait(main())
    assert calls == {"b": 1, "c": 1}


def test_what_it_changed_in_the_context_is_kept_and_what_it_used_is_not(
    wait: Wait, kind: str
) -> None:
    async def counts(data: object, context: Counts) -> int:
        context.total += 1
        return context.total

    async def main() -> None:
        step: Any = Step.from_callable(counts, name="a") >> works(Calls(), "b")
        first: Any = await run(step, await journal_of(kind))
        before = first.children[0]
        used = Success(output=before.output, update=before.update, usage=Usage(tokens=5))
        journal = changed(await journal_of(kind), "a", used, output=7)
        outcome: Any = await run(step, journal)
        assert outcome.output == "7 b"
        assert outcome.children[0].update == before.update is not None
        assert outcome.children[0].usage is None
        assert outcome.children[0].output == 7 and before.output == 1

    wait(main())


def test_a_step_that_may_run_once_is_not_asked_about_when_its_output_is_given(
    wait: Wait, kind: str
) -> None:
    async def main() -> None:
        journal = changed(await journal_of(kind), "a", output="given")
        await journal.start(FramePath.parse("a"), True)
        node = works(calls, "a", at_most_once=True) >> works(calls, "b")
        outcome: Any = await run(node, journal)
        assert outcome.output == "given b"

    calls = Calls()
    wait(main())
    assert calls == {"b": 1}


def test_an_input_is_that_of_its_frame_only(wait: Wait, kind: str) -> None:
    async def main() -> None:
        journal = changed(await journal_of(kind), "b", data="other")
        node = works(calls, "a") >> works(calls, "b", estimate=UsageEstimate(tokens=1))
        outcome: Any = await run(node, journal)
        assert outcome.output == "other b"
        again: Any = await run(node, changed(Journal(), "a", data="y"))
        assert again.output == "y a b"

    calls = Calls()
    wait(main())
    assert calls == {"a": 2, "b": 2}


def test_a_frame_that_is_final_is_not_changed_any_more(wait: Wait, kind: str) -> None:
    async def main() -> None:
        journal = await journal_of(kind)
        node = works(calls, "a") >> works(calls, "b")
        await run(node, journal)
        if isinstance(journal, StoredJournal):
            journal.read()
        outcome: Any = await run(node, changed(journal, "a", output="given"))
        assert outcome.output == "x a b"

    calls = Calls()
    wait(main())
    assert calls == {"a": 1, "b": 1}


def test_an_answer_is_not_changed_by_what_its_frame_was_given(wait: Wait, kind: str) -> None:
    given: list[object] = []

    async def asking(data: object) -> object:
        given.append(data)
        if data != "the answer":
            raise PausedException("well?")
        return data

    async def main() -> None:
        journal = changed(await journal_of(kind), "a", data="other")
        node: Any = Step.from_callable(asking, name="a")
        assert isinstance(await run(node, journal), Paused)
        if isinstance(journal, StoredJournal):
            await journal.put_answer(FramePath.parse("a"), "the answer")
        else:
            journal.answer(FramePath.parse("a"), "the answer")
        outcome: Any = await run(node, journal)
        assert outcome.output == "the answer"

    wait(main())
    assert given == ["other", "the answer"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data": [1]}, ResumeError),
        ({"context": {"total": "many"}}, ResumeError),
        ({"context": {"totl": 1}}, ResumeError),
    ],
    ids=str,
)
def test_what_does_not_fit_runs_nothing_and_is_told_with_its_place(
    wait: Wait, kind: str, changes: Any, error: type[Exception]
) -> None:
    async def main() -> None:
        journal = changed(await journal_of(kind), "a", **changes)
        outcome = await run(works(calls, "a") >> works(calls, "b"), journal)
        assert isinstance(outcome, Aborted) and outcome.reason is AbortReason.HELD
        assert isinstance(outcome.error, error) and "(at a)" in outcome.message

    calls = Calls()
    wait(main())
    assert calls == {}


def test_what_is_no_data_cannot_be_changed(wait: Wait, kind: str) -> None:
    async def main() -> None:
        journal = changed(await journal_of(kind), "a", Success(output=Lock()), output={"x": 1})
        outcome = await run(works(Calls(), "a"), journal)
        assert isinstance(outcome, Aborted) and isinstance(outcome.error, NotPatchable)

    wait(main())


def test_a_value_that_is_gone_has_to_be_made_again_first(wait: Wait, kind: str) -> None:
    async def main() -> None:
        gone = Unsaved("made", LivePart("output", "lock", "no codec"))
        for changes, data in (({"data": {"n": 1}}, gone), ({"output": {"n": 1}}, "x")):
            journal = changed(await journal_of(kind), "a", Success(output=gone), **changes)
            outcome = await run(works(calls, "a"), journal, data)
            assert isinstance(outcome, Aborted) and isinstance(outcome.error, ValueGone)
            assert outcome.error.paths == ("made",)

    calls = Calls()
    wait(main())
    assert calls == {}


def test_a_patched_context_still_shows_its_run(wait: Wait, kind: str) -> None:
    async def look(data: object, context: PipelineContext) -> object:
        return context.initial_prompt, dict(context.step_outputs), context.run_id

    async def main() -> None:
        core = ExecutorCore()
        journal = changed(await journal_of(kind), "b", context={"initial_prompt": "other"})
        node = works(Calls(), "a") >> Step.from_callable(look, name="b")
        context = PipelineContext(initial_prompt="own")
        frame = make_execution_frame(
            node,
            "x",
            context=context,
            journal=journal,
            facilities=core.facilities_of(node, context),
            run_id="r",
        )
        outcome: Any = await core.run_root(frame)
        assert outcome.output == ("other", {"a": "x a"}, "r")

    wait(main())


def test_a_frame_without_a_context_has_none_to_change(wait: Wait, kind: str) -> None:
    async def main() -> None:
        journal = changed(await journal_of(kind), "a", context={"total": 1})
        frame = make_execution_frame(works(Calls(), "a"), journal=journal, run_id="r")
        outcome = await ExecutorCore().run_root(frame)
        assert isinstance(outcome, Aborted) and "no context" in outcome.message

    wait(main())
