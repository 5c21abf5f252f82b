"""What notebooks return every day, in runs of a store: no step fails, nothing comes back changed.

A restart is a new runner on a store that was opened anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import requests
from matplotlib.figure import Figure
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression

from flujo_nb.engine.outcome_codec import live_parts, tree_of
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Node, Pipeline, Step
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Row
from flujo_nb.engine.unsaved import LivePart, Unsaved
from tests.engine.fakes import Log, Wait, echo

pytestmark = pytest.mark.warm("is about values that are only in memory")

mpl.use("agg")


def drawn() -> Figure:
    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    return figure


LIVE_ONLY: Mapping[str, Callable[[], Any]] = {
    "figure": drawn,
    "model": lambda: LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
    "connection": lambda: sqlite3.connect(":memory:"),
    "response": requests.Response,
    "lambda": lambda: lambda x: x,
    "model in a dict": lambda: {"scores": [1.0], "models": [LogisticRegression()]},
    "frame of objects": lambda: pd.DataFrame({"a": [object(), 1]}),
    "frame of lambdas": lambda: pd.DataFrame({"a": [len]}),
}
SAVED: Mapping[str, Callable[[], Any]] = {
    "text": lambda: "plain",
    "array": lambda: np.arange(6, dtype=np.int16).reshape(2, 3),
    "frame": lambda: pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.5, None]}),
}
EITHER: Mapping[str, Callable[[], Any]] = {
    "mixed cells": lambda: pd.DataFrame({"a": [1, "x", None]}),
    "list cells": lambda: pd.DataFrame({"a": [[1, 2], [], [3]]}),
    "categoricals": lambda: pd.DataFrame({"a": pd.Categorical(["x", "y", "x"], ["z", "y", "x"])}),
    "ordered": lambda: pd.DataFrame({"a": pd.Categorical([2, 1], [1, 2], ordered=True)}),
    "intervals": lambda: pd.DataFrame({"a": pd.cut([1, 5, 9], 3)}),
    "interval index": lambda: pd.DataFrame({"a": [1, 2]}, pd.interval_range(0, 2)),
    "mixed columns": lambda: pd.DataFrame({1: [1], "b": [2]}),
    "two levels": lambda: pd.DataFrame({("a", 1): [1], ("b", 2): [2]}),
    "dates": lambda: pd.DataFrame({"a": pd.date_range("2024-01-01", periods=2, tz="Europe/Paris")}),
    "nothing": pd.DataFrame,
    "twice a name": lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "attributes": lambda: with_attributes(pd.DataFrame({"a": [1]})),
    "series": lambda: pd.Series([1, 2], name="n", index=["x", "y"]),
    "grouped index": lambda: pd.DataFrame({"k": ["a", "a"], "v": [1, 2]}).groupby("k").sum(),
    "object array": lambda: np.array([1, "x", None], dtype=object),
    "structured array": lambda: np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    "numpy scalar": lambda: np.float32(1.5),
}
"""Saved or not: whatever is said to be saved is what it was."""
ALL = {**LIVE_ONLY, **SAVED, **EITHER}


def with_attributes(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs["source"] = "a file"
    return frame


def assert_same(one: Any, other: Any) -> None:
    """Equal and of the same type, cell by cell."""
    assert type(one) is type(other)
    if isinstance(one, pd.DataFrame):
        assert one.attrs == other.attrs
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_column_type=True)
        for name in range(one.shape[1]):
            assert one.iloc[:, name].dtype == other.iloc[:, name].dtype
            assert list(map(type, one.iloc[:, name])) == list(map(type, other.iloc[:, name]))
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        assert list(map(type, one.flat)) == list(map(type, other.flat))
    else:
        assert one == other


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """The store in a file, opened anew."""
    store = SqliteStore(path, durability="normal")
    try:
        yield store
    finally:
        await store.aclose()


class World:
    """What runs; the steps are the same after a restart."""

    def __init__(self, make: Callable[[], Any], path: Path, persist: str) -> None:
        self.path = path
        self.persist = persist
        self.made = self.used = 0
        self.given: Any = None
        self.is_broken = False
        self.rows: Sequence[Row] = ()

        def produce(data: object) -> Any:
            self.made += 1
            return make()

        def use(data: Any) -> str:
            self.used += 1
            self.given = data
            if self.is_broken:
                raise ValueError("not yet")
            return type(data).__name__

        self.node: Node = Step.from_callable(produce) >> Step.from_callable(use)

    async def run(self) -> PipelineResult:
        """Begin the run, or go on with it in a new runner, with the store opened anew."""
        async with opened(self.path) as store:
            result = await Flujo(self.node, state_backend=store, persist=self.persist).run_async(
                "x", run_id="r"
            )
            self.rows = store.rows("r")
            _ = list(result.step_history)  # what was saved is read when somebody looks at it
        return result

    def parts(self) -> Sequence[LivePart]:
        """What of the first step's output is not saved, as its newest row says."""
        trees = [tree_of(row) for row in self.rows if row.path == "produce"]
        assert bool(live_parts(trees[-1])) == ("o" not in trees[-1])
        return live_parts(trees[-1])


@pytest.mark.parametrize("name", ALL)
def test_no_step_fails_and_its_row_says_what_is_not_saved(
    name: str, tmp_path: Path, wait: Wait
) -> None:
    world = World(ALL[name], tmp_path / "runs.db", "auto")
    result = wait(world.run())
    assert result.status is RunStatus.COMPLETED
    assert result.output == type(world.given).__name__
    parts = world.parts()
    assert name not in SAVED or not parts
    assert name not in LIVE_ONLY or parts
    for part in parts:
        assert part.where.startswith("output")
        assert str(part).startswith(f"{part.where} ({part.kind}) is not saved: ")
        assert len(part.reason) > 10
    again = wait(world.run())
    assert (again.restored, again.output, world.made, world.used) == (True, result.output, 1, 1)
    produced = again.step_history[0].output
    if parts:
        assert isinstance(produced, Unsaved)
        assert (produced.path, produced.part) == ("produce", parts[0])
    else:
        assert_same(produced, ALL[name]())


@pytest.mark.parametrize("name", ALL)
def test_a_step_that_needs_the_value_after_a_restart_gets_it(
    name: str, tmp_path: Path, wait: Wait
) -> None:
    """What is saved, from the store; what is not, from its producer, which runs again."""
    world = World(ALL[name], tmp_path / "runs.db", "auto")
    world.is_broken = True
    assert wait(world.run()).status is RunStatus.FAILED
    first, is_saved = world.given, not world.parts()
    world.is_broken = False
    result = wait(world.run())
    assert (result.status, world.used) == (RunStatus.COMPLETED, 2)
    assert world.given is not first
    if is_saved:
        assert world.made == 1
        assert_same(world.given, first)
    else:
        assert world.made == 2
        assert type(world.given) is type(first)


@pytest.mark.parametrize("name", ALL)
def test_where_saving_is_required_the_step_fails_with_the_path(
    name: str, tmp_path: Path, wait: Wait
) -> None:
    required = World(ALL[name], tmp_path / "required.db", "require")
    result = wait(required.run())
    auto = World(ALL[name], tmp_path / "auto.db", "auto")
    wait(auto.run())
    parts = auto.parts()
    if not parts:
        assert (result.status, required.used) == (RunStatus.COMPLETED, 1)
        return
    assert (result.status, required.used) == (RunStatus.FAILED, 0)
    failed = result.step_history[-1]
    assert (failed.name, failed.success) == ("produce", False)
    assert str(failed.path) == "produce"
    assert parts[0].where in failed.feedback
    assert parts[0].kind in failed.feedback
    again = wait(required.run())  # the failed step runs again, as any that failed does
    assert (again.status, required.made, required.used) == (RunStatus.FAILED, 2, 0)


def test_a_producer_that_may_run_once_only_is_held_instead(tmp_path: Path, wait: Wait) -> None:
    calls: list[object] = []
    broken = [True]

    def fit(data: object) -> Any:
        calls.append(data)
        return LogisticRegression()

    def use(model: Any) -> str:
        if broken:
            raise ValueError("not yet")
        return type(model).__name__

    node = Step.from_callable(fit, at_most_once=True) >> Step.from_callable(use)

    async def go_on(*answer: object) -> Any:
        async with opened(tmp_path / "runs.db") as store:
            flujo = Flujo(node, state_backend=store, persist="auto")
            if answer:
                return await flujo.resume_async("r", *answer)
            return await flujo.run_async("x", run_id="r")

    assert wait(go_on()).status is RunStatus.FAILED
    broken.clear()
    held = wait(go_on())
    assert (held.status, calls) == (RunStatus.PAUSED, ["x"])
    assert [str(pause.path) for pause in held.paused] == ["fit"]
    result = wait(go_on({"action": "run_again"}))
    assert (result.output, calls) == ("LogisticRegression", ["x", "x"])


def test_a_value_in_the_context_is_made_again(tmp_path: Path, wait: Wait) -> None:
    made: list[str] = []
    broken = [True]

    def define(data: object, context: Log) -> object:
        made.append("function")
        context.items.append(lambda number: number + 1)
        return data

    def ask(data: object, context: Log) -> object:
        if broken:
            raise ValueError("not yet")
        return context.items[0](41)

    node = Step.from_callable(define) >> Step.from_callable(ask)

    async def go_on() -> Any:
        async with opened(tmp_path / "runs.db") as store:
            flujo = Flujo(node, context_model=Log, state_backend=store, persist="auto")
            return await flujo.run_async("x", run_id="r")

    assert wait(go_on()).status is RunStatus.FAILED
    broken.clear()
    result = wait(go_on())
    assert (result.status, result.output, len(made)) == (RunStatus.COMPLETED, 42, 2)


class Holder(BaseModel, arbitrary_types_allowed=True):
    model: object
    score: float


def test_the_path_leads_to_the_part(tmp_path: Path, wait: Wait) -> None:
    def fit(data: object) -> dict[str, Holder]:
        return {"best": Holder(model=LogisticRegression(), score=0.5)}

    async def main() -> Any:
        async with opened(tmp_path / "runs.db") as store:
            return await Flujo(Step.from_callable(fit), state_backend=store).run_async(1)

    failed = wait(main()).step_history[-1]
    assert "output['best'].model" in failed.feedback
    assert "LogisticRegression" in failed.feedback


def refuse(data: Any) -> Any:
    raise ValueError("never")


class Places:
    """Containers around a step whose output is never saved; it counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

        def make(data: Any) -> Callable[[], Any]:
            self.calls += 1
            return lambda: data

        self.make = Step.from_callable(make, name="make")

    def node(self, name: str) -> Node:
        """The container of that name."""
        branches: Mapping[Any, Node] = {True: self.make}
        nodes: Mapping[str, Node] = {
            "sequence": Pipeline.of(self.make),
            "map": Step.map_over("around", self.make),
            "map at once": Step.map_over("around", self.make, max_concurrency=2),
            "parallel": Step.parallel("around", {"one": self.make, "two": echo}),
            "loop": Step.loop_until("around", self.make, lambda out: True),
            "branch": Step.branch_on("around", lambda data: True, branches),
            "import": ImportStep(name="around", pipeline=self.make),
            "fallback": Step.from_callable(refuse, name="shaky", fallback_step=self.make),
            "cache": Step.cached(self.make),
        }
        return nodes[name]


def told(value: Any) -> Any:
    """What functions in a value give."""
    if isinstance(value, list):
        return list(map(told, value))
    if isinstance(value, dict):
        return {key: told(one) for key, one in value.items()}
    return value() if callable(value) else value


OUTPUTS: Mapping[str, object] = {
    "map": [1, 2],
    "map at once": [1, 2],
    "parallel": {"one": [1, 2], "two": [1, 2]},
}


@pytest.mark.parametrize(
    "name",
    ["sequence", "map", "map at once", "parallel", "loop", "branch", "import", "fallback", "cache"],
)
def test_what_containers_gave_is_made_again_inside_them(
    name: str, tmp_path: Path, wait: Wait
) -> None:
    places, is_broken = Places(), [True]

    def use(data: Any) -> Any:
        if is_broken:
            raise ValueError("not yet")
        return told(data)

    node = places.node(name) >> Step.from_callable(use)

    async def go_on() -> Any:
        async with opened(tmp_path / "runs.db") as store:
            flujo = Flujo(node, state_backend=store, persist="auto")
            return await flujo.run_async([1, 2], run_id="r")

    assert wait(go_on()).status is RunStatus.FAILED
    made = places.calls
    is_broken.clear()
    result = wait(go_on())
    assert (result.status, result.output) == (RunStatus.COMPLETED, OUTPUTS.get(name, [1, 2]))
    assert places.calls == 2 * made
