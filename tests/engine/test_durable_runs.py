"""The runs of a pipeline in a store: who may go on with one, and when nobody should."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from flujo_nb.engine.errors import (
    DefinitionChanged,
    NoSuchRun,
    ResumeError,
    RunHeld,
    RunInputMismatch,
    RunSetAside,
    SecretNeeded,
    StoreFailed,
    ValueNotSaved,
)
from flujo_nb.engine.journal_image import MOST_RESUMES
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.usage import UsageLimits
from tests.engine.durable import KEY, Mortal, dies, durable, works
from tests.engine.fakes import Wait
from tests.engine.pauses import Calls, asks, questions, started

# Crashes, again and again.


async def crashes(store: Mortal, node: Any, **options: Any) -> None:
    """The run is gone on with, and its process killed after it noted that and nothing else."""
    store.left = 1
    with pytest.raises(StoreFailed):
        await durable(node, store).run_async(run_id="r", **options)
    store.revive()


def test_a_run_whose_resumes_come_to_nothing_is_set_aside(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = works(calls, "a") >> works(calls, "b")
        store = await dies(node, "x", 2)
        for _ in range(MOST_RESUMES - 1):
            await crashes(store, node)
        assert calls == {"a": 1, "b": MOST_RESUMES}
        for _ in range(2):
            with pytest.raises(RunSetAside, match=r"the last time after a.*anyway=True"):
                await durable(node, store).run_async(run_id="r")
            assert store.run("r").status == "set_aside"
            assert store.run("r").owner is None
        assert calls == {"a": 1, "b": MOST_RESUMES}
        await crashes(store, node, anyway=True)
        with pytest.raises(RunSetAside):
            await durable(node, store).run_async(run_id="r")
        result = await durable(node, store).run_async(run_id="r", anyway=True)
        assert result.output == "x a b"

    wait(main())


def test_what_is_recorded_on_the_way_starts_the_count_anew(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = works(calls, "a") >> works(calls, "b") >> works(calls, "c")
        store = await dies(node, "x", 1)
        for left in (1, 1, 1, 2, 1, 1, 1):
            store.left = left
            with pytest.raises(StoreFailed):
                await durable(node, store).run_async(run_id="r")
            store.revive()
        assert (await durable(node, store).run_async(run_id="r")).output == "x a b c"

    wait(main())


def test_an_orderly_end_is_no_crash(wait: Wait) -> None:
    async def main() -> None:
        def fails(data: object) -> None:
            raise ValueError("no")

        store = MemoryStore()
        node = Step.from_callable(fails, name="fails")
        for _ in range(2 * MOST_RESUMES):
            assert not (await durable(node, store).run_async("x", run_id="r")).success

    wait(main())


def test_a_store_that_failed_under_a_living_process_is_no_crash(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        node = works(calls, "a") >> works(calls, "b")
        store = Mortal(2)
        runner = durable(node, store)
        for _ in range(2 * MOST_RESUMES):
            with pytest.raises(StoreFailed):
                await runner.run_async("x", run_id="r")
            store.left = 1
        store.left = None
        assert (await runner.run_async("x", run_id="r")).output == "x a b"

    wait(main())


# One owner.


def test_a_run_that_somebody_executes_is_held(wait: Wait) -> None:
    async def main() -> None:
        store, me = MemoryStore(), this_process()
        await store.create("r", b"{}", replace(me, label="other"))
        runner = durable(Calls().step("a"), store)
        with pytest.raises(RunHeld, match="other"):
            await runner.run_async("x", run_id="r")
        assert store.rows("r") == []

    wait(main())


def test_who_asks_twice_in_one_process_runs_it_once(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()

        async def nap(data: object) -> object:
            calls["nap"] += 1
            await asyncio.sleep(0.01)
            return data

        runner = durable(Step.from_callable(nap, name="nap"), MemoryStore())
        runs = (runner.run_async("x", run_id="r").result() for _ in range(3))
        ends = await asyncio.gather(*runs, return_exceptions=True)
        held = [end for end in ends if isinstance(end, RunHeld)]
        assert len(held) == 2
        assert calls == {"nap": 1}

    wait(main())


@pytest.mark.parametrize("error", [DefinitionChanged, RunInputMismatch])
def test_a_run_that_is_refused_is_left_as_it_was(error: type[Exception], wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        store = MemoryStore()
        await started(durable(works(calls, "a") >> asks(), store), "x", run_id="r")
        edited = Step.from_callable(lambda data: 1, name="a") >> asks()
        node = edited if error is DefinitionChanged else works(calls, "a") >> asks()
        runner = durable(node, store)
        with pytest.raises(error):
            await runner.run_async("x" if error is DefinitionChanged else "y", run_id="r")
        assert store.run("r").status == RunStatus.PAUSED
        assert store.run("r").owner is None
        assert not any(row.kind == "resumed" for row in store.rows("r"))

    wait(main())


def test_runs_that_are_not_there_are_errors(wait: Wait) -> None:
    runner = durable(Calls().step("a"), MemoryStore())
    for call in (runner.resume_async("r", 1), runner.replay("r"), runner.fork("r", "a")):
        with pytest.raises(NoSuchRun, match="'r'"):
            wait(call)


# What a run is begun with.


class Typed(BaseModel):
    name: str = "n"
    tags: set[str] = set()


def test_input_and_context_come_back_as_what_they_were(wait: Wait) -> None:
    async def main() -> None:
        seen: list[object] = []

        async def look(data: Typed, context: Typed) -> Typed:
            seen.append((data, context.model_copy()))
            if len(seen) == 1:
                raise ValueError("once")
            return data

        store = MemoryStore()
        given = Typed(name="given", tags={"b", "a"})
        options: Any = {"context_model": Typed, "initial_context_data": {"tags": {"x"}}}
        node = Step.from_callable(look, name="look")
        await durable(node, store, **options).run_async(given, run_id="r")
        other = durable(node, store, context_model=Typed)
        assert (await other.run_async(run_id="r")).output == given
        assert seen == [(given, Typed(tags={"x"}))] * 2

    wait(main())


@pytest.mark.parametrize("data", [len, {"k": [KEY]}], ids=["function", "key"])
def test_an_input_that_cannot_be_saved_begins_no_run(data: object, wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(ValueNotSaved, match="input"):
            await durable(Calls().step("a"), store).run_async(data, run_id="r")
        assert store.runs() == []

    wait(main())


def test_an_input_that_need_not_be_saved_is_given_again(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()

        def use(function: Any) -> int:
            calls["use"] += 1
            if calls["use"] == 1:
                raise ValueError("once")
            return int(function("abc"))

        store = MemoryStore()
        node = Step.from_callable(use, name="use")
        await durable(node, store, persist="auto").run_async(len, run_id="r")
        result = await durable(node, store, persist="auto").run_async(len, run_id="r")
        assert result.output == 3

    wait(main())


def test_limits_are_told_with_the_run(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        options: Any = {"usage_limits": UsageLimits(total_tokens_limit=7), "pipeline_name": "mine"}
        await durable(Calls().step("a"), store, **options).run_async("x", run_id="r")
        about = store.run("r").about
        assert b'"total_tokens_limit":7' in about
        assert b'"pipeline":"mine"' in about

    wait(main())


# Secrets.


def stands_in(folder: Path, text: str) -> bool:
    """Whether ``text`` is anywhere in the files of a store."""
    files = list(folder.iterdir())
    assert files
    return any(text.encode() in file.read_bytes() for file in files)


class Login(BaseModel):
    token: SecretStr = SecretStr("")


def test_a_secret_is_kept_as_a_reference_and_supplied_again(
    wait: Wait, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = "correct horse battery staple"
    monkeypatch.delenv("TOKEN", raising=False)

    async def main() -> None:
        path = tmp_path / "runs.db"
        store = SqliteStore(path)
        node = asks(message="go on?") >> Step.from_callable(login, name="login")
        options: Any = {"context_model": Login, "initial_context_data": {"token": secret}}
        await started(durable(node, store, **options), "x", run_id="r")
        await store.aclose()
        assert not stands_in(tmp_path, secret)
        store = SqliteStore(path)
        with pytest.raises(SecretNeeded):
            await durable(node, store, context_model=Login).resume_async("r", "ok")
        monkeypatch.setenv("TOKEN", secret)
        result: Any = await durable(node, store, context_model=Login).run_async(run_id="r")
        assert result.output == len(secret)
        await store.aclose()

    async def login(data: object, context: Login) -> int:
        return len(context.token.get_secret_value())

    wait(main())


def test_what_looks_like_a_key_is_in_no_row(wait: Wait, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "runs.db"
        store = SqliteStore(path)

        def fails(data: object) -> None:
            raise ValueError(f"bad key {KEY}")

        node = Step.parallel(
            "both",
            {
                "a": Step.from_callable(fails, name="fails"),
                "b": asks("b", f"use {KEY}?"),
                "c": Step.from_callable(lambda data: KEY, name="gives"),
            },
            on_branch_failure="ignore",
        )
        result = await durable(node, store, persist="auto").run_async("x", run_id="r")
        assert questions(result) == ["both/:b/b"]
        with pytest.raises(ValueNotSaved):
            await durable(node, store).resume_async("r", KEY)
        await store.aclose()
        assert not stands_in(tmp_path, KEY)

    wait(main())


# Answers.


def test_a_question_that_was_withdrawn_takes_no_answer(wait: Wait) -> None:
    async def main() -> None:
        def fails(data: object) -> None:
            raise ValueError("no")

        store = MemoryStore()
        inside = {"a": asks("x"), "b": Step.from_callable(fails, name="fails")}
        node = Step.parallel("both", inside, max_concurrency=1)
        result = await durable(node, store).run_async("x", run_id="r")
        assert result.status is RunStatus.FAILED
        assert result.paused == ()
        with pytest.raises(ResumeError, match="asks nothing"):
            await durable(node, store).resume_async("r", 1)

    wait(main())


def test_a_run_that_asks_nothing_takes_no_answer(wait: Wait) -> None:
    async def main() -> None:
        runner = durable(Calls().step("a"), MemoryStore())
        await runner.run_async("x", run_id="r")
        with pytest.raises(ResumeError, match="is completed and asks nothing"):
            await runner.resume_async("r", 1)

    wait(main())
