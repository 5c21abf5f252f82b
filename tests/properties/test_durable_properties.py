"""Runs in a store: however they are nested and wherever they are killed, they end as unkilled.

A pipeline is made of one plan for each process, as a restarted program makes it anew. The twin of
a run is the same plan run to its end in a store that nobody kills. Output, context, history and
totals are the same; what was recorded as a success is recorded once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flujo_nb.engine.errors import StoreFailed
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.runner import Flujo
from tests.engine.durable import Mortal
from tests.engine.pauses import asks, told
from tests.properties.test_resume_properties import (
    Maker,
    Plan,
    State,
    answer_at,
    at_once,
    plans,
)

MOST_ROUNDS = 60


def runner(plan: Plan, store: Mortal, ask: Any = at_once) -> tuple[Flujo, Maker]:
    """Another process: its own program and runner, on the same store."""
    maker = Maker(ask)
    return Flujo(maker.make(plan), context_model=State, state_backend=store), maker


async def twin(plan: Plan) -> tuple[Any, Counter[str], int]:
    """The end of the run that nobody kills, how often what was called, and the commits."""
    store = Mortal()
    unkilled, maker = runner(plan, store)
    result = await unkilled.run_async(1, run_id="r")
    assert result.success
    return told([result]), maker.calls, len(store.batches)


def check_recorded_once(store: Mortal) -> None:
    counted = Counter(store.finished)
    assert not [path for path, times in counted.items() if times > 1]


@settings(max_examples=60)
@given(plans, st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_a_run_that_is_killed_ends_as_its_twin_does(plan: Plan, kills: list[int]) -> None:
    async def killed() -> None:
        store = Mortal()
        total: Counter[str] = Counter()
        for kill in kills:
            store.left = 1 + kill % commits  # of a resume, that it is one is the first commit
            doomed, maker = runner(plan, store)
            with suppress(StoreFailed):
                await doomed.run_async(1, run_id="r")
            total += maker.calls
            store.revive()
        recorded = set(store.finished)
        heir, maker = runner(plan, store)
        result = await heir.run_async(1, run_id="r")
        assert told([result]) == expected
        assert not result.unvisited
        assert not recorded & maker.calls.keys(), "what was recorded ran again"
        check_recorded_once(store)
        again, maker = runner(plan, store)
        replayed = await again.replay("r")
        assert told([replayed]) == expected
        assert not maker.calls
        assert all(calls.get(one, 0) for one in total)

    expected, calls, commits = asyncio.run(twin(plan))
    asyncio.run(killed())


@settings(max_examples=60)
@given(plans, st.randoms(use_true_random=False))
def test_a_run_that_is_answered_from_other_processes_ends_as_its_twin(plan: Plan, rng: Any) -> None:
    async def answered() -> None:
        store = Mortal()
        first, _ = runner(plan, store, asks)
        result: Any = await first.run_async(1, run_id="r")
        for _ in range(MOST_ROUNDS):
            if result.status is not RunStatus.PAUSED:
                break
            path = str(rng.choice(list(result.paused)).path)
            if rng.random() < 0.5:
                store.left = rng.randrange(1, 6)
            other, _ = runner(plan, store, asks)
            try:
                result = await other.resume_async("r", answer_at(path), pause=path)
            except StoreFailed:
                store.revive()
                other, _ = runner(plan, store, asks)
                result = await other.run_async(run_id="r")
            store.left = None
        else:
            return  # too many questions for a test
        # A question is no step of the twin's, so the digests differ; what came of it does not.
        assert told([result]) == expected
        check_recorded_once(store)

    expected, _, _ = asyncio.run(twin(plan))
    asyncio.run(answered())
