"""A step that may run once only was at work when its process was killed: the run asks first."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import PipelineResult
from tests.engine import paying
from tests.engine.fakes import Wait
from tests.engine.paying import EFFECTS, effects_of, runner
from tests.engine.store_processes import process, told

RUNS: Mapping[str, tuple[str, object]] = {
    **dict.fromkeys(("again", "taken", "failed", "unasked", "twice"), ("sequence", 4)),
    "mapped": ("map", [1, 2]),
    "side": ("parallel", 4),
}
PAYS = {"sequence": "pay", "map": "each/[0]/pay", "parallel": "fan/:p/pay"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with runs whose process was killed while each of them paid."""
    path = tmp_path_factory.mktemp("killed") / "runs.db"
    with process(paying.run_all, RUNS, path) as (one, pipe):
        assert {told(pipe) for _ in RUNS} == set(RUNS)
        one.kill()
        one.join()
    return path


@pytest.fixture(autouse=True)
def _effects(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EFFECTS, "path", effects_of(store))


async def gone_on(store: Path, run_id: str, *answer: object) -> PipelineResult:
    """The run as this process goes on with it, once it was answered if it is to be."""
    flow, _ = RUNS[run_id]
    async with runner(flow, store) as flujo:
        result = await flujo.run_async(run_id=run_id)
    if not answer:
        return result
    assert result.status is RunStatus.PAUSED
    async with runner(flow, store) as flujo:
        again = await flujo.resume_async(run_id, *answer)
    assert isinstance(again, PipelineResult)
    return again


def questions(result: PipelineResult) -> list[str]:
    return [str(pause.path) for pause in result.paused]


@pytest.mark.parametrize("run_id", ["unasked", "mapped", "side"])
def test_nothing_runs_again_before_somebody_decides(store: Path, wait: Wait, run_id: str) -> None:
    at = PAYS[RUNS[run_id][0]]
    for _ in range(3):
        result = wait(gone_on(store, run_id))
        assert (result.status, questions(result)) == (RunStatus.PAUSED, [at])
        assert "may run once only" in result.paused[0].message
        assert EFFECTS.of(run_id).count(at) == 1
        assert "deliver" not in EFFECTS.of(run_id)
    with closing(sqlite3.connect(store)) as connection:
        begun = connection.execute("select distinct path from entry where kind = 'started'")
        assert (at,) in begun.fetchall()


def test_it_runs_once_more_when_that_is_the_answer(store: Path, wait: Wait) -> None:
    result = wait(gone_on(store, "again", {"action": "run_again"}))
    assert (result.status, result.output) == (RunStatus.COMPLETED, 40)
    assert EFFECTS.of("again") == ["order", "pay", "pay", "deliver"]


def test_a_value_is_taken_as_its_output(store: Path, wait: Wait) -> None:
    result = wait(gone_on(store, "taken", {"action": "take", "value": 7}))
    assert (result.status, result.output) == (RunStatus.COMPLETED, 7)
    assert EFFECTS.of("taken") == ["order", "pay", "deliver"]
    again = wait(gone_on(store, "taken"))
    assert (again.output, again.restored) == (7, True)


def test_it_fails_when_that_is_the_answer(store: Path, wait: Wait) -> None:
    result = wait(gone_on(store, "failed", {"action": "fail"}))
    assert result.status is RunStatus.FAILED
    assert "nobody knows how it ended" in result.step_history[-1].feedback
    assert EFFECTS.of("failed") == ["order", "pay"]


def test_items_after_it_run_once_the_question_is_answered(store: Path, wait: Wait) -> None:
    result = wait(gone_on(store, "mapped", {"action": "take", "value": 5}))
    assert (result.status, result.output) == (RunStatus.COMPLETED, [5, 20])
    assert EFFECTS.of("mapped") == ["order", "each/[0]/pay", "each/[1]/pay", "deliver"]


def test_a_second_death_in_it_is_a_second_question(store: Path, wait: Wait) -> None:
    with process(paying.run_again, "twice", store) as (one, pipe):
        assert told(pipe) == "twice"
        one.kill()
        one.join()
    asked = wait(gone_on(store, "twice"))
    assert (asked.status, questions(asked)) == (RunStatus.PAUSED, ["pay"])
    assert EFFECTS.of("twice") == ["order", "pay", "pay"]
    result = wait(gone_on(store, "twice", {"action": "take", "value": 40}))
    assert (result.status, result.output) == (RunStatus.COMPLETED, 40)
    assert EFFECTS.of("twice") == ["order", "pay", "pay", "deliver"]
