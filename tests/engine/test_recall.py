"""Whether what is recorded stands for a frame now: edits, other inputs, values that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.errors import DefinitionChanged, InputChanged, ReplayMismatch, ValueGone
from flujo_nb.engine.outcomes import Failure, RunStatus, Success
from flujo_nb.engine.recall import check_same_end
from flujo_nb.engine.recorded_run import Begun
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.unsaved import LivePart, Unsaved, check_is_there, unsaved_in
from tests.engine.durable import durable
from tests.engine.fakes import Wait
from tests.engine.pauses import Calls

GONE = Unsaved("make", LivePart("output", "function", "code is not data"))
BEGUN = Begun("a/b", "b", b"", b"", 0)


def text_step(name: str, make: Any) -> Any:
    return Step.from_callable(make, name=name)


def first(data: str) -> str:
    return f"{data} first"


def first_edited(data: str) -> str:
    return f"{data} edited"


def second(data: str) -> str:
    return f"{data} second"


class Last:
    """The last step of a run: fails until it is told not to."""

    def __init__(self) -> None:
        self.works = False
        self.got: list[object] = []

    def __call__(self, data: object) -> object:
        self.got.append(data)
        if not self.works:
            raise ValueError("not yet")
        return data


async def failed(node: Any, data: object = "x", **options: Any) -> MemoryStore:
    """The store of a run of ``node`` that failed."""
    store = MemoryStore()
    result = await durable(node, store, **options).run_async(data, run_id="r")
    assert result.status is RunStatus.FAILED
    return store


def pipeline(make: Any, last: Any, name: str = "one") -> Any:
    return text_step(name, make) >> text_step("two", second) >> text_step("last", last)


def last_edited(data: object) -> object:
    return f"{data} at last"


def never(data: object) -> None:
    raise ValueError("not yet")


def test_nothing_runs_when_a_recorded_step_was_edited(wait: Wait) -> None:
    async def main() -> None:
        store = await failed(pipeline(first, never))
        ends = [row for row in store.rows("r") if row.kind == "finished"]
        last = Last()
        runner = durable(pipeline(first_edited, last), store)
        with pytest.raises(DefinitionChanged) as caught:
            await runner.run_async("x", run_id="r")
        assert caught.value.paths == ("one",)
        told = str(caught.value)
        assert "Nothing has run" in told
        assert "- agent = function first\n" in told and "+ agent = function first_edited\n" in told
        assert "keep=True" in told and "fork(…, at='one')" in told
        assert last.got == []
        assert [row for row in store.rows("r") if row.kind == "finished"] == ends
        assert store.run("r").owner is None
        assert store.run("r").status == RunStatus.FAILED

    wait(main())


def test_what_is_recorded_stands_when_that_is_wanted(wait: Wait) -> None:
    async def main() -> Any:
        store = await failed(pipeline(first, never))
        return await durable(pipeline(first_edited, last_edited), store).run_async(
            run_id="r", keep=True
        )

    assert wait(main()).output == "x first second at last"


def test_the_step_that_failed_may_be_edited(wait: Wait) -> None:
    async def main() -> Any:
        store = await failed(pipeline(first, never))
        return await durable(pipeline(first, last_edited), store).run_async(run_id="r")

    assert wait(main()).output == "x first second at last"


def test_an_edited_step_is_run_again_by_a_fork(wait: Wait) -> None:
    async def main() -> Any:
        store = await failed(pipeline(first, never))
        return await durable(pipeline(first_edited, last_edited), store).fork("r", "one")

    assert wait(main()).output == "x edited second at last"


def test_a_step_that_was_put_between_runs_and_what_follows_gets_another_input(wait: Wait) -> None:
    async def main() -> None:
        store = await failed(pipeline(first, never))
        between = Step.from_callable(lambda data: f"{data} between", name="between")
        node = text_step("one", first) >> between >> text_step("two", second)
        runner = durable(node >> text_step("last", last_edited), store)
        with pytest.raises(InputChanged, match="two is recorded") as caught:
            await runner.run_async(run_id="r")
        assert "x first" in str(caught.value) and "x first between" in str(caught.value)
        assert store.run("r").owner is None
        result = await runner.run_async(run_id="r", keep=True)
        assert result.output == "x first second at last"

    wait(main())


def test_a_step_that_is_gone_is_told_of(wait: Wait) -> None:
    async def main() -> None:
        store = await failed(pipeline(first, never))
        node = text_step("two", second) >> text_step("last", last_edited)
        with pytest.raises(InputChanged, match="'x first' → 'x'"):
            await durable(node, store).run_async(run_id="r")
        result = await durable(node, store).run_async(run_id="r", keep=True)
        assert result.unvisited == ["one"]
        assert result.output == "x first second at last"

    wait(main())


def test_a_step_that_was_renamed_runs_anew(wait: Wait) -> None:
    async def main() -> None:
        store = await failed(pipeline(first, never))
        result = await durable(pipeline(first, last_edited, "uno"), store).run_async(run_id="r")
        assert result.unvisited == ["one"]
        assert result.output == "x first second at last"

    wait(main())


def test_a_list_that_changed_is_another_definition(wait: Wait) -> None:
    async def main() -> None:
        store = await failed(mapped((1, 2, 3)), "x")
        with pytest.raises(DefinitionChanged):
            await durable(mapped((1, 5, 3)), store).run_async(run_id="r")
        result = await durable(mapped((1, 5, 3), last_edited), store).run_async(
            run_id="r", keep=True
        )
        assert result.output == "[1, 2, 3] at last"

    def mapped(items: tuple[int, ...], last: Any = never) -> Any:
        def make(data: object) -> list[int]:
            return list(items)

        each = Step.map_over("each", Step.from_callable(lambda item: item, name="item"))
        return Step.from_callable(make, name="make") >> each >> text_step("last", last)

    wait(main())


def test_the_children_of_a_container_are_a_part_of_it(wait: Wait) -> None:
    """Their bodies are not: each has a definition of its own."""

    async def main() -> None:
        store = await failed(around(text_step("one", first)))
        with pytest.raises(DefinitionChanged) as caught:
            await durable(around(text_step("uno", first)), store).run_async(run_id="r")
        assert caught.value.paths == ("box",)
        with pytest.raises(DefinitionChanged) as caught:
            await durable(around(text_step("one", first_edited)), store).run_async(run_id="r")
        assert caught.value.paths == ("box/:a/one",)

    def around(child: Any) -> Any:
        return Step.parallel("box", {"a": child}) >> text_step("last", never)

    wait(main())


# Replays.


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (
            pipeline(first_edited, last_edited),
            r"another definition than recorded: one\n(.|\n)*edited",
        ),
        (pipeline(first, last_edited, "uno"), r"the run\n(.|\n)*'uno'"),
        (
            pipeline(first, last_edited) >> text_step("more", second),
            r"the run\n(.|\n)*\+ steps\[3\] = 'more'",
        ),
        (
            text_step("two", second) >> text_step("last", last_edited),
            r"the run\n(.|\n)*- steps\[0\] = 'one'",
        ),
        (
            text_step("one", first) >> text_step("two", second),
            r"the run\n(.|\n)*- steps\[2\] = 'last'",
        ),
    ],
    ids=["edited", "renamed", "added", "removed", "cut"],
)
def test_a_replay_shows_the_first_difference(wait: Wait, node: Any, told: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        await durable(pipeline(first, last_edited), store).run_async("x", run_id="r")
        with pytest.raises(ReplayMismatch, match=told):
            await durable(node, store).replay("r")
        assert store.run("r").status == RunStatus.COMPLETED

    wait(main())


# What is gone.


@pytest.mark.parametrize("value", [GONE, [1, GONE], (GONE,), {"a": GONE}], ids=type)
def test_a_value_that_is_gone_is_found(value: object) -> None:
    assert unsaved_in(value) is GONE
    with pytest.raises(ValueGone, match=r"make: output \(function\) is not saved") as caught:
        check_is_there(value)
    assert caught.value.path == "make"


@pytest.mark.parametrize("value", [None, "text", [1, [2]], {"a": 1}], ids=str)
def test_a_value_that_is_there_is_not_taken_for_one_that_is_gone(value: object) -> None:
    check_is_there(value)
    assert unsaved_in(value) is None


def test_two_ends_are_the_same_when_kind_and_output_are() -> None:
    check_same_end(Success(output=[1]), Success(output=[1]), BEGUN)
    failure = Failure(error=ValueError(), feedback="")
    check_same_end(failure, Failure(error=KeyError(), feedback="other"), BEGUN)
    with pytest.raises(ReplayMismatch, match="a/b ends with Success, and Failure is recorded"):
        check_same_end(failure, Success(), BEGUN)
    with pytest.raises(ReplayMismatch, match="a/b gives another output: output: 1 → True"):
        check_same_end(Success(output=1), Success(output=True), BEGUN)


@pytest.mark.parametrize("gone", ["before", "now"])
def test_an_output_that_is_gone_is_not_compared(gone: str) -> None:
    values = (GONE, 1) if gone == "before" else (1, [GONE])
    check_same_end(Success(output=values[0]), Success(output=values[1]), BEGUN)


def test_calls_are_counted(wait: Wait) -> None:
    """A recorded step that stands is not called: the digest is all that is looked at."""

    async def main() -> None:
        store = await failed(counted(never))
        await durable(counted(last_edited), store).run_async(run_id="r")
        assert calls == {"one": 1}

    def counted(last: Any) -> Any:
        return calls.step("one") >> text_step("last", last)

    calls = Calls()
    wait(main())
