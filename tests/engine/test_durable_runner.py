"""Runs that a store keeps: killed at every commit, forked at every frame, gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flujo_nb.engine.errors import (
    LeaseLost,
    NoSuchRun,
    ResumeError,
    RunExists,
    StoreFailed,
)
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Step
from flujo_nb.engine.store.memory import MemoryStore
from tests.engine.durable import Mortal, Slow, dies, durable, works
from tests.engine.fakes import Counts, Wait
from tests.engine.pauses import (
    Calls,
    broken_at,
    spends,
    told,
)

# Killed at every commit.


def adds(calls: Calls, name: str) -> Any:
    async def work(data: object, context: Counts) -> str:
        calls[name] += 1
        context.total += 1
        context.names.append(str(data))
        return f"{data}+"

    return Step.from_callable(work, name=name)


Make = Callable[[Calls], Any]
SHAPES: dict[str, Make] = {
    "sequence": lambda c: works(c, "a") >> adds(c, "b") >> works(c, "a"),
    "loop": lambda c: (
        Step.loop_until(
            "loop",
            adds(c, "one") >> works(c, "two"),
            c.counted("exit", lambda data, context: context.total == 3),
            initial_input_to_loop_body_mapper=c.counted("first", str.upper),
            iteration_input_mapper=c.counted("next", lambda data, context, n: f"{n}"),
            loop_output_mapper=c.counted("out", lambda data: f"{data}!"),
        )
        >> works(c, "z")
    ),
    "map": lambda c: (
        c.step("items", lambda data: [1, 2, 3])
        >> Step.map_over(
            "each",
            c.step("check", broken_at(2)) >> works(c, "after"),
            on_item_failure="keep",
            max_concurrency=2,
        )
        >> c.step("count", len)
    ),
    "set": lambda c: (
        c.step("items", lambda data: {"c", "a", "b"}) >> Step.map_over("each", works(c, "x"))
    ),
    "parallel": lambda c: (
        Step.parallel(
            "both",
            {
                "a": works(c, "a") >> adds(c, "a2"),
                "b": works(c, "b"),
                "c": c.step("c", broken_at("x")),
            },
            on_branch_failure="ignore",
            reduce=c.counted("reduce", lambda results: [one.output for one in results]),
        )
        >> c.step("count", len)
    ),
    "conditional": lambda c: (
        Step.branch_on("if", c.counted("key", len), {1: works(c, "a") >> adds(c, "b")})
        >> works(c, "z")
    ),
    "router": lambda c: (
        Step.dynamic_parallel_branch(
            "route",
            c.step("names", lambda data: ["b", "a"]),
            {"a": works(c, "a"), "b": adds(c, "b"), "never": works(c, "never")},
        )
        >> works(c, "z")
    ),
    "import": lambda c: (
        ImportStep(
            name="sub",
            pipeline=works(c, "a") >> adds(c, "b"),
            inherit_context=True,
            updates_context=True,
        )
        >> ImportStep(name="lost", pipeline=c.step("fails", broken_at("x a+")), on_failure="skip")
        >> works(c, "z")
    ),
    "cache": lambda c: Step.cached(works(c, "a")) >> Step.cached(adds(c, "b")) >> works(c, "z"),
    "fallback": lambda c: (
        c.step("fails", broken_at("x"), fallback_step=works(c, "other")) >> works(c, "z")
    ),
    "quota": lambda c: spends("one", 3) >> spends("two", 2) >> works(c, "z"),
    "nested": lambda c: (
        c.step("items", lambda data: ["u", "v"])
        >> Step.map_over(
            "each",
            Step.parallel(
                "both",
                {
                    "a": Step.loop_until("loop", works(c, "turn"), lambda data: len(data) > 9),
                    "b": Step.branch_on("if", lambda data: 1, {1: works(c, "b")}),
                },
            )
            >> works(c, "after"),
            max_concurrency=2,
        )
        >> works(c, "z")
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_that_is_killed_anywhere_ends_as_its_twin(shape: str, wait: Wait) -> None:
    """And what was recorded is run no second time."""
    make = SHAPES[shape]

    async def twin() -> tuple[Any, int]:
        store = Mortal()
        result = await durable(make(Calls()), store).run_async("x", run_id="r")
        assert result.success
        return told([result]), len(store.batches)

    async def killed(left: int) -> None:
        store = await dies(make(Calls()), "x", left)
        ended = store.finished
        heirs = durable(make(Calls()), store)
        result = await heirs.run_async("x", run_id="r")
        assert told([result]) == expected, left
        assert not result.unvisited
        assert sorted(set(store.finished)) == sorted(store.finished), left
        assert store.finished[: len(ended)] == ended
        assert store.run("r").status == RunStatus.COMPLETED
        assert told([await heirs.replay("r")]) == expected, left

    expected, commits = wait(twin())
    assert commits > 2
    for left in range(commits + 1):
        wait(killed(left))


@pytest.mark.parametrize("shape", ["sequence", "loop", "parallel", "import", "nested"])
def test_a_run_is_forked_at_every_frame(shape: str, wait: Wait) -> None:
    """A fork that changes nothing ends as its source; what finished before it does not run."""
    make = SHAPES[shape]

    async def main() -> None:
        store = Mortal()
        calls = Calls()
        runner = durable(make(calls), store)
        expected = told([await runner.run_async("x", run_id="r")])
        rows = {row.path: row for row in store.rows("r") if row.kind == "finished"}
        for number, (path, row) in enumerate(rows.items()):
            began = min(
                one.started or 0
                for one in rows.values()
                if one.path == path or one.path.startswith(f"{path}/") or not path
            )
            batches = len(store.batches)
            fork = await runner.fork("r", path, run_id=f"f{number}")
            assert told([fork]) == expected, path
            ran = {one.path for batch in store.batches[batches:] for one in batch}
            before = {
                one.path for one in rows.values() if one.seq <= began and one.status == "success"
            }
            assert path in ran
            assert ran.isdisjoint(before), path
            assert row in store.rows("r")

    wait(main())


def test_a_fork_of_a_fork_keeps_what_each_kept(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        calls = Calls()
        runner = durable(calls.step("a") >> calls.step("b") >> calls.step("c"), store)
        await runner.run_async("x", run_id="r")
        await runner.fork("r", "b", run_id="f", patch={"data": "y"})
        assert calls == {"a": 1, "b": 2, "c": 2}
        result = await runner.fork("f", "c", run_id="g")
        assert result.output == "y b c"
        assert calls == {"a": 1, "b": 2, "c": 3}
        result = await runner.fork("g", "b", run_id="h")
        assert result.output == "x a b c"
        assert told([await runner.replay("h")]) == told([result])

    wait(main())


def test_a_fork_needs_a_frame_and_a_new_name(wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        runner = durable(Calls().step("a"), store)
        await runner.run_async("x", run_id="r")
        with pytest.raises(ResumeError, match="nothing is recorded at 'b' in run r; there is a"):
            await runner.fork("r", "b")
        with pytest.raises(RunExists):
            await runner.fork("r", "a", run_id="r")
        with pytest.raises(NoSuchRun):
            await runner.fork("nowhere", "a")
        assert [run.run_id for run in store.runs()] == ["r"]

    wait(main())


# Durable before dependent.


def test_what_a_step_depends_on_is_in_the_store_before_it_starts(wait: Wait) -> None:
    async def main() -> None:
        store = Slow()
        ends: list[list[str]] = []

        async def look(data: object) -> object:
            ends.append([row.path for row in store.rows("r") if row.kind == "finished"])
            return data

        body = Step.from_callable(look, name="x") >> Step.from_callable(look, name="y")
        inside = {"a": body, "b": Step.from_callable(look, name="z")}
        node = Step.parallel("both", inside) >> Step.from_callable(look, name="last")
        await durable(node, store).run_async("x", run_id="r")
        assert [set(one) for one in ends[:2]] == [set(), set()]
        assert "both/:a/x" in ends[2]
        assert set(ends[3]) == {"both", "both/:a", "both/:a/x", "both/:a/y", "both/:b/z"}

    wait(main())


def test_frames_in_flight_share_commits(wait: Wait) -> None:
    async def main() -> int:
        store = Mortal()

        async def nap(data: object) -> object:
            await asyncio.sleep(0.01)
            return data

        each = Step.map_over("each", Step.from_callable(nap, name="nap"), max_concurrency=200)
        await durable(each, store).run_async(list(range(200)))
        return len(store.batches)

    assert wait(main()) < 20


@pytest.mark.parametrize("shape", SHAPES)
def test_a_store_that_fails_ends_the_run_and_the_run_goes_on_when_it_works(
    shape: str, wait: Wait
) -> None:
    """In the same process, with the same runner."""
    make = SHAPES[shape]

    async def main() -> None:
        commits = Mortal()
        expected = await durable(make(Calls()), commits).run_async("x")
        for left in range(len(commits.batches)):
            store = Mortal(left)
            runner = durable(make(Calls()), store)
            for _ in range(2):
                with pytest.raises(StoreFailed) as failed:
                    await runner.run_async("x", run_id="r")
            assert failed.value.result is None
            rows = store.rows("r")
            store.left = None
            result = await runner.run_async("x", run_id="r")
            assert told([result.output]) == told([expected.output]), left
            assert result.final_pipeline_context == expected.final_pipeline_context
            assert store.rows("r")[: len(rows)] == rows

    wait(main())


def test_the_error_of_a_store_says_how_far_the_run_came(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        store = Mortal(2)
        runner = durable(calls.step("a") >> calls.step("b") >> calls.step("c"), store)
        with pytest.raises(StoreFailed) as failed:
            await runner.run_async("x", run_id="r")
        assert failed.value.result is not None
        names = [(one.name, one.success) for one in failed.value.result.step_history]
        assert names == [("a", True), ("b", False)]
        assert calls == {"a": 1, "b": 1}

    wait(main())


def test_a_run_that_was_taken_over_writes_nothing_and_says_by_whom(wait: Wait) -> None:
    async def main() -> None:
        calls = Calls()
        store = Mortal()

        async def robbed(data: object) -> object:
            calls["b"] += 1
            if calls["b"] == 1:
                store.seize()
            return data

        node = works(calls, "a") >> Step.from_callable(robbed, name="b") >> works(calls, "c")
        runner = durable(node, store)
        with pytest.raises(LeaseLost, match="thief"):
            await runner.run_async("x", run_id="r")
        assert store.finished == ["a"]
        store.revive()
        assert (await runner.run_async("x", run_id="r")).output == "x a c"
        assert calls == {"a": 1, "b": 2, "c": 1}

    wait(main())
