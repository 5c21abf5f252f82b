"""Which steps share what is cached, and where that is kept."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.cache_manager import CacheEntry, MemoryCache
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import ConfigurationError
from flujo_nb.engine.outcomes import Aborted, Success
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import LoopStep
from flujo_nb.engine.steps import Node, Pipeline, Step
from tests.engine.caching import HIT, Client, Shelf, cached, metadata_of, runs
from tests.engine.fakes import Wait, broken, outcome_of
from tests.engine.pauses import Calls


def test_a_step_that_was_redefined_runs_again(wait: Wait) -> None:
    backend = MemoryCache()

    def make(version: int) -> Node:
        if version == 1:

            @step(name="draft")
            def one(data: str) -> str:
                return f"{data} one"

            return one

        @step(name="draft")
        def two(data: str) -> str:
            return f"{data} two"

        return two

    found = [
        runs(wait, Flujo(Step.cached(make(version), backend)), "a")[0] for version in (1, 2, 1)
    ]
    assert [one.output for one in found] == ["a one", "a two", "a one"]
    assert metadata_of(found[2]) == HIT


def test_a_helper_that_was_redefined_makes_the_same_step_run_again(wait: Wait) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    code = "def help(data): return [data, {}]\ndef work(data): return help(data)"
    exec(code.format(1), names)  # noqa: S102  # as a kernel does
    runner = Flujo(cached(names["work"]))
    exec(code.format(2).splitlines()[0], names)  # noqa: S102
    assert [one.output for one in runs(wait, runner, 1, 1)] == [[1, 2]] * 2
    exec(code.format(3).splitlines()[0], names)  # noqa: S102
    assert [one.output for one in runs(wait, runner, 1, 1)] == [[1, 3]] * 2


def test_a_cell_that_is_run_again_unchanged_changes_nothing(wait: Wait) -> None:
    names: dict[str, Any] = {"__name__": "__main__", "seen": [], "count": 0, "backend": Shelf()}
    code = "def work(data):\n  global count\n  count += 1\n  seen.append(data)\n  return data"
    for again in (code, f"\n# a comment\n{code}"):
        exec(again, names)  # noqa: S102  # as a kernel does
        runner = Flujo(Step.cached(Step.from_callable(names["work"]), names["backend"]))
        assert runs(wait, runner, 1)[0].output == 1
    assert (names["seen"], names["count"]) == ([1], 1)


def test_a_container_is_cached_whole_and_its_bodies_count(wait: Wait) -> None:
    calls, backend = Calls(), MemoryCache()

    def loop(word: str) -> Node:
        async def add(data: str) -> str:
            calls[word] += 1
            return f"{data} {word}"

        body = Pipeline.of(Step.from_callable(add), calls.step("end"))
        loop = LoopStep(name="loop", loop_body_pipeline=body, exit_condition_callable=bool)
        return Step.cached(loop, backend)

    found = [runs(wait, Flujo(loop(word)), "a")[0] for word in ("one", "two", "one")]
    assert [one.output for one in found] == ["a one end", "a two end", "a one end"]
    assert (calls["one"], calls["two"]) == (1, 1)
    assert list(found[2].step_history[0].step_history) == []


class StubAgent:
    """Gives one reply after the other, and keeps count."""

    def __init__(self, *replies: object) -> None:
        self.replies = list(replies)
        self.calls = 0

    async def run(self, data: object) -> object:
        self.calls += 1
        return self.replies[self.calls - 1]


def test_an_agent_that_keeps_count_of_its_calls_is_cached(wait: Wait) -> None:
    agent, backend = StubAgent("one", "two"), MemoryCache()
    for _ in range(2):
        runner = Flujo(Step.cached(Step(name="draft", agent=agent), backend))
        assert [one.output for one in runs(wait, runner, 1, 1)] == ["one", "one"]
    assert agent.calls == 1


def test_agents_that_differ_do_not_share(wait: Wait) -> None:
    backend = MemoryCache()
    steps = [Step(name="draft", agent=StubAgent(reply)) for reply in ("one", "two")]
    found = [runs(wait, Flujo(Step.cached(one, backend)), 1)[0].output for one in steps]
    assert found == ["one", "two"]


def test_what_a_fallback_gave_is_kept_as_the_steps(wait: Wait) -> None:
    calls = Calls()
    primary = Step.from_callable(
        lambda data: 1 / 0, name="draft", fallback_step=calls.step("spare")
    )
    first, second = runs(wait, Flujo(Step.cached(primary)), "a", "a")
    assert (first.output, second.output) == ("a spare", "a spare")
    assert calls == {"spare": 1}
    assert metadata_of(second)["cache_hit"] is True
    assert metadata_of(second)["fallback_triggered"] is True


# Backends.


def test_a_backend_of_a_users_own_keeps_entries_under_texts(wait: Wait) -> None:
    calls, shelf = Calls(), Shelf()
    for _ in range(2):
        (found,) = runs(wait, Flujo(Step.cached(calls.step("draft"), shelf)), "a")
    ((key, entry),) = shelf.kept.items()
    assert isinstance(key, str)
    assert entry == CacheEntry("a draft")
    assert metadata_of(found) == HIT


def test_a_backend_that_raises_is_named_and_the_step_runs(wait: Wait) -> None:
    class Broken(Shelf):
        async def get(self, key: str) -> object:
            raise OSError("disk")

    (found,) = runs(wait, Flujo(Step.cached(Calls().step("draft"), Broken())), "a")
    assert found.output == "a draft"
    assert metadata_of(found) == {
        "cached": False,
        "not_cached_because": "Broken.get raised OSError('disk')",
    }


def test_an_interrupt_in_a_backend_ends_the_run_and_the_step_is_told_of(wait: Wait) -> None:
    class Interrupted(Shelf):
        async def set(self, key: str, value: object) -> None:
            raise KeyboardInterrupt

    node = Step.cached(Calls().step("draft"), Interrupted())
    outcome = wait(outcome_of(node, "a"))
    assert isinstance(outcome, Aborted)
    assert [type(child) for child in outcome.children] == [Success]


def test_a_cache_that_is_too_small_runs_steps_again(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(Step.cached(calls.step("draft"), MemoryCache(max_entries=1)))
    runs(wait, runner, "a", "b", "a", "a")
    assert calls == {"draft": 3}


def test_what_is_declared_wrongly_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="context_keys is a list of names; found 'total'"):
        Step.cached(broken, context_keys="total")
    with pytest.raises(ConfigurationError, match="`get` and `set`; found Client"):
        Step.cached(broken, Client())
