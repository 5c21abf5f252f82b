"""What a journal notes of a run in a store, and when that is durable."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_nb.engine.context import ContextUpdate, SetValue
from flujo_nb.engine.errors import AlreadyAnswered, ResumeError, ValueNotSaved
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.journal import Decision
from flujo_nb.engine.outcome_codec import tree_of
from flujo_nb.engine.outcomes import BackgroundLaunched, Failure, Paused, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.recorded_run import Persist
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.stored_journal import StoredJournal
from flujo_nb.engine.usage import Usage
from flujo_nb.engine.user_code import Raised
from tests.engine.durable import KEY, Mortal
from tests.engine.fakes import Wait, echo

A, B = FramePath.parse("a"), FramePath.parse("b")


async def journal_on(store: Mortal, persist: Persist = Persist.REQUIRE) -> StoredJournal:
    lease = await store.create("r", b"{}", this_process())
    return StoredJournal(store, "r", Codec(TypeTable()), persist, lease)


async def reader_on(store: Mortal) -> StoredJournal:
    """The journal of another process, which only reads."""
    journal = StoredJournal(store, "r", Codec(TypeTable()))
    journal.read()
    return journal


def rows(store: Mortal, *kinds: str) -> list[Any]:
    return [
        row
        for row in store.rows("r")
        if row.kind in kinds and not (row.name or "").startswith("definition")
    ]


def test_a_frame_that_ended_is_one_row(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        begun = journal.begin("a", echo, {"k": 1})
        update = ContextUpdate((SetValue(("total",), 1),))
        ended = Success(output=[1], update=update, usage=Usage(1, 2, 3))
        journal.finish_frame(begun, ended)
        assert rows(store, "finished") == []
        await journal.writer.commit()
        [row] = rows(store, "finished")
        assert (row.path, row.name, row.status) == ("a", "echo", "success")
        assert (row.cost_micros, row.tokens, row.requests) == (1, 2, 3)
        assert row.started == begun.started < row.seq
        assert row.definition == journal.definition_of(echo)
        assert row.input == journal.digest_of({"k": 1})
        assert tree_of(row)["o"] == [1]
        read: Any = (await reader_on(store)).final_outcome(A)
        assert (read.output, read.update, read.usage) == ([1], update, Usage(1, 2, 3))

    wait(main())


def test_what_a_step_is_is_noted_once_a_run(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        for path in ("a", "b"):
            journal.finish_frame(journal.begin(path, echo, 1), Success())
        await journal.writer.commit()
        [name] = [row.name for row in store.rows("r") if row.kind == "decision"]
        assert name is not None
        assert name.startswith("definition ")
        lines = (await reader_on(store)).lines_of(journal.definition_of(echo))
        assert any("echo" in line for line in lines)
        assert (await reader_on(store)).lines_of(b"other") == ()

    wait(main())


def test_equal_inputs_have_one_digest_and_others_another(wait: Wait) -> None:
    async def main() -> None:
        journal = await journal_on(Mortal())
        digests = [
            journal.begin("a", echo, data).input
            for data in ({"k": 1}, {"k": 1}, {"k": True}, None, len, print, Mortal())
        ]
        assert digests[0] == digests[1]
        assert digests[4] == digests[5]  # of what cannot be saved, only the type is known
        assert len(set(digests)) == 5

    wait(main())


def test_what_a_step_gave_is_what_the_next_one_gets(wait: Wait) -> None:
    """Its digest is taken once: the encoding that is saved is the one that is looked at."""

    async def main() -> None:
        journal = await journal_on(Mortal())
        output = [1, 2]
        journal.finish_frame(journal.begin("a", echo, None), Success(output=output))
        assert journal.begin("b", echo, output).input == journal.digest_of([1, 2])

    wait(main())


def test_a_failed_attempt_is_durable_and_is_not_counted_twice(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        begun = journal.begin("a", echo, 1)
        await journal.attempted(A, Usage(tokens=2))
        await journal.attempted(A, Usage(tokens=3))
        assert [row.tokens for row in rows(store, "attempt")] == [2, 3]
        journal.finish_frame(begun, Success(usage=Usage(tokens=9)))
        await journal.writer.commit()
        assert rows(store, "finished")[0].tokens == 4
        read: Any = (await reader_on(store)).final_outcome(A)
        assert read.usage == Usage(tokens=9)

    wait(main())


@pytest.mark.parametrize("once", [True, False])
def test_a_beginning_is_durable_when_it_is_noted(once: bool, wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        await journal.start(A, once, Usage(tokens=2))
        reader = await reader_on(store)
        assert reader.is_in_doubt(A) is once
        assert reader.image.uncertain == Usage(tokens=2)

    wait(main())


def test_a_decision_is_noted_with_its_number_and_rides_with_the_next_entry(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        update = ContextUpdate((SetValue(("total",), 1),))
        assert journal.decide(A, "exit", Decision({"k": (1,)}, update), 2) is None
        assert journal.decide(A, "first", Decision(None)) is None
        assert rows(store, "decision") == []
        journal.finish_frame(journal.begin("a/[0]", echo, 1), Success())
        await journal.writer.commit()
        reader = await reader_on(store)
        assert reader.decision(A, "exit", 2) == Decision({"k": (1,)}, update)
        assert reader.decision(A, "first") == Decision(None)
        for path, name, number in ((A, "exit", 1), (A, "exit", None), (B, "exit", 2)):
            assert reader.decision(path, name, number) is None

    wait(main())


def test_a_decision_that_cannot_be_saved_is_an_error_only_where_it_has_to_be(wait: Wait) -> None:
    async def main(persist: Persist) -> Raised | None:
        store = Mortal()
        journal = await journal_on(store, persist)
        noted = journal.decide(A, "key", Decision(len))
        await journal.writer.commit()
        assert rows(store, "decision") == []
        return noted

    raised = wait(main(Persist.REQUIRE))
    assert isinstance(raised.error, ValueNotSaved)
    assert wait(main(Persist.AUTO)) is None


def test_a_failure_is_final_once_it_was_gone_past(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        failure = Failure(error=ValueError("x"), feedback="ValueError: x")
        journal.finish_frame(journal.begin("a", echo, 1), failure)
        await journal.writer.commit()
        assert (await reader_on(store)).final_outcome(A) is None
        journal.go_past(A)
        await journal.writer.commit()
        read: Any = (await reader_on(store)).final_outcome(A)
        assert read.feedback == "ValueError: x"

    wait(main())


def test_a_launch_is_open_until_its_work_succeeds(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        body = FramePath.parse("job/background")
        journal.launch(body)
        await journal.writer.commit()
        reader = await reader_on(store)
        launched: Any = reader.outcome_at(FramePath.parse("job"))
        assert isinstance(launched, BackgroundLaunched)
        assert launched.task_id == "job/background"
        assert list(reader.image.open_behind()) == [body]
        journal.finish_frame(journal.begin("job/background", echo, 1), Success())
        await journal.writer.commit()
        assert list((await reader_on(store)).image.open_behind()) == []

    wait(main())


def test_what_cannot_be_saved_stays_in_memory_until_it_is_released(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store, Persist.AUTO)
        ended = Success(output=[len])
        journal.finish_frame(journal.begin("a", echo, 1), ended)
        await journal.writer.commit()
        journal.read()
        assert journal.final_outcome(A) is ended
        [part] = journal.live_only(A)
        assert part.where == "output[0]"
        journal.release(B)
        assert journal.outcome_at(A) is ended
        journal.release(A)
        assert journal.final_outcome(A) is not ended
        assert journal.gave_unsaved

    wait(main())


def test_what_has_to_be_saved_and_cannot_be_notes_nothing(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)
        with pytest.raises(ValueNotSaved, match=r"output\[0\]"):
            journal.finish_frame(journal.begin("a", echo, 1), Success(output=[len]))
        await journal.writer.commit()
        assert rows(store, "finished") == []

    wait(main())


# Answers.


async def asked() -> tuple[Mortal, StoredJournal]:
    store = Mortal()
    journal = await journal_on(store)
    journal.finish_frame(journal.begin("a", echo, 1), Paused(message="?"))
    await journal.writer.commit()
    return store, journal


def test_the_first_answer_holds(wait: Wait) -> None:
    async def main() -> None:
        store, _ = await asked()
        first, second = await reader_on(store), await reader_on(store)
        await first.put_answer(A, {"k": 1})
        await first.put_answer(A, {"k": 1})
        await second.put_answer(A, {"k": 1})
        for other in ({"k": True}, 2):
            with pytest.raises(AlreadyAnswered, match="'k': 1"):
                await second.put_answer(A, other)
        assert (await reader_on(store)).answers == {A: {"k": 1}}

    wait(main())


def test_an_answer_that_was_refused_may_be_given_again_and_otherwise(wait: Wait) -> None:
    async def main() -> None:
        store, journal = await asked()
        await journal.put_answer(A, "many")
        journal.reopen(A)
        assert journal.answers == {}
        await journal.writer.commit()
        reader = await reader_on(store)
        assert reader.answers == {}
        await reader.put_answer(A, 5)
        assert dict(store.answers("r")).keys() == {"a", "a@1"}
        journal.take_answers(store.answers("r"))
        assert journal.answers == {A: 5}

    wait(main())


@pytest.mark.parametrize("answer", [len, KEY, "x" * 5_000_000], ids=["function", "key", "large"])
def test_an_answer_that_cannot_be_kept_is_refused(answer: object, wait: Wait) -> None:
    async def main() -> None:
        store, journal = await asked()
        with pytest.raises((ValueNotSaved, ResumeError)):
            await journal.put_answer(A, answer)
        assert store.answers("r") == {}

    wait(main())


def test_nobody_rests_with_an_answer_unseen(wait: Wait) -> None:
    async def main() -> None:
        store, journal = await asked()
        await (await reader_on(store)).put_answer(A, 7)
        assert not await journal.rest("paused", [A])
        assert journal.writer.lease is not None
        assert journal.answers == {A: 7}
        assert await journal.rest("paused", [A])
        assert journal.writer.lease is None
        assert store.run("r").status == "paused"
        assert await journal.rest("failed")  # it has been given back
        assert store.run("r").status == "paused"

    wait(main())


def test_an_answer_to_a_question_that_was_opened_again_is_news(wait: Wait) -> None:
    async def main() -> None:
        store, journal = await asked()
        await journal.put_answer(A, 1)
        journal.reopen(A)
        assert await journal.rest("paused", [A])
        other = await journal_on_again(store)
        await (await reader_on(store)).put_answer(A, 2)
        assert not await other.rest("paused", [A])
        assert other.answers == {A: 2}

    async def journal_on_again(store: Mortal) -> StoredJournal:
        lease = await store.take("r", this_process())
        journal = StoredJournal(store, "r", Codec(TypeTable()), lease=lease)
        journal.read()
        return journal

    wait(main())


# Cold.


def test_what_the_store_holds_of_a_frame_is_read_back(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store, Persist.AUTO)
        frame = make_execution_frame(Step.from_callable(lambda data: data, name="a"), 1)
        output = [1]
        begun = journal.begin("a", frame.step, 1)
        journal.finish_frame(begun, Success(output=output))
        await journal.writer.commit()
        read: Any = journal.read_back(begun, frame, Success(output=output))
        assert read.output == [1]
        assert read.output is not output
        live = Success(output=len)
        journal.finish_frame(begun, live)
        await journal.writer.commit()
        assert journal.read_back(begun, frame, live) is live

    wait(main())


def test_frames_that_end_together_keep_their_numbers(wait: Wait) -> None:
    async def main() -> None:
        store = Mortal()
        journal = await journal_on(store)

        async def one(number: int) -> None:
            begun = journal.begin(f"[{number}]", echo, number)
            await asyncio.sleep(0)
            journal.finish_frame(begun, Success(output=number))
            await journal.writer.commit(concurrent=True)

        await asyncio.gather(*map(one, range(30)))
        assert [row.seq for row in store.rows("r")] == list(range(1, 32))
        assert len(store.batches) == 1

    wait(main())
