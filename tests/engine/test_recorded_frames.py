"""Frames made of rows: what is restored equals what was given when it ran."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.hooks import AnyEvent, FrameFinished, FrameRestored, FrameStarted
from flujo_nb.engine.journal_image import Image
from flujo_nb.engine.merging import Merge
from flujo_nb.engine.outcome_codec import OutcomeCodec
from flujo_nb.engine.outcomes import Chunk, FrameOutcome, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.recorded_frames import RecordedFrames, own_part
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Pipeline, Step, name_of
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.usage import Usage
from tests.engine.durable import durable, row
from tests.engine.fakes import Wait, echo
from tests.engine.pauses import Calls, broken_at, spends, told


def frames_of(*rows: Any) -> RecordedFrames:
    return RecordedFrames(Image(rows), OutcomeCodec(Codec(TypeTable()), True), {}.__getitem__)


def test_a_frame_that_did_not_end_is_none() -> None:
    assert frames_of(row(1)).outcome_at(FramePath.parse("b")) is None


def test_a_frame_can_be_looked_at_without_its_program() -> None:
    frames = frames_of(
        row(1, "box/:a/x", body=b'{"o":1}'), row(2, "box", body=b'{"o":2,"c":[":a/x"]}')
    )
    outcome: Any = frames.outcome_at(FramePath.parse("box"))
    assert outcome.output == 2
    [child] = outcome.children
    assert (child.output, name_of(child.step)) == (1, "x")
    assert FramePath(child.segments) == FramePath.parse(":a/x")


def test_children_are_made_when_they_are_asked_for() -> None:
    rows = [row(n + 1, f"l/[{n}]/x", body=b'{"o":%d}' % n) for n in range(5)]
    rows[2] = rows[2]._replace(body=b"no JSON")
    outcome: Any = frames_of(*rows, row(6, "l", body=b'{"c":[5,"/x"]}')).outcome_at(
        FramePath.parse("l")
    )
    children = outcome.children
    assert len(children) == 5
    assert (children[1].output, children[1].index) == (1, 1)
    assert [one.output for one in children[3:]] == [3, 4]
    assert children[-1].output == 4
    with pytest.raises(ValueError, match="line 1 column 2"):
        children[2]


def test_a_child_that_was_never_recorded_is_none_of_the_children() -> None:
    outcome: Any = frames_of(row(1, "l/[1]"), row(2, "l", body=b'{"c":[3,""]}')).outcome_at(
        FramePath.parse("l")
    )
    assert [one.index for one in outcome.children] == [1]


def test_usage_is_that_of_all_attempts() -> None:
    rows = [
        row(1, kind="attempt", spent=Usage(tokens=2)),
        row(2, started=0, spent=Usage(tokens=3)),
    ]
    outcome: Any = frames_of(*rows).outcome_at(FramePath.parse("a"))
    assert outcome.usage == Usage(tokens=5)
    free: Any = frames_of(row(1)).outcome_at(FramePath.parse("a"))
    assert free.usage is None


@pytest.mark.parametrize("text", ["a", "[3]", "[3]/a", ":k/a", "", "fallback[1]"])
def test_a_part_of_a_path_is_split(text: str) -> None:
    path = FramePath.parse(text)
    segments, index = own_part(path.segments)
    assert index == (3 if text.startswith("[") else None)
    assert str(FramePath(segments)) == text.removeprefix("[3]").removeprefix("/")


# Whole runs.


class State(BaseModel):
    total: Annotated[int, Merge.add] = 0
    names: Annotated[list[str], Merge.append] = []


def stateful(node: Any, store: MemoryStore, **options: Any) -> Flujo:
    return durable(node, store, context_model=State, **options)


class Heard:
    def __init__(self) -> None:
        self.restored: list[FrameRestored] = []
        self.others: list[str] = []

    def listen(self, event: AnyEvent) -> None:
        if isinstance(event, FrameRestored):
            self.restored.append(event)
        elif isinstance(event, FrameStarted | FrameFinished):
            self.others.append(str(event.path))


async def counts(data: object, context: State) -> str:
    context.total += 1
    context.names.append(str(data))
    return f"{data}+"


def adds(name: str) -> Any:
    return Step.from_callable(counts, name=name)


def retried(data: object, frame: Any) -> str:
    if frame.attempt == 1:
        raise ValueError("once more")
    return f"{data} again"


def kept(name: str) -> Any:
    body = Step.from_callable(broken_at("b"), name="check") >> adds("add")
    each = Step.map_over(name, body, on_item_failure="keep", max_concurrency=2)
    return Step.from_callable(lambda data: ["a", "b", "c"], name="items") >> each


CONTAINERS: dict[str, Any] = {
    "sequence": adds("one") >> spends("two", 3) >> adds("one"),
    "retries": Step.from_callable(retried, name="retried", max_retries=1),
    "loop": Step.loop_until(
        "loop", adds("one") >> spends("two", 2), lambda data, context: context.total > 2
    ),
    "map": Step.from_callable(lambda data: ["a", "b"], name="items")
    >> Step.map_over("each", adds("one")),
    "kept items": kept("each"),
    "parallel": Step.parallel(
        "both",
        {"b": adds("one") >> adds("two"), "a": spends("three", 1), "c": adds("one")},
        field_mapping={"b": ["total"], "c": ["names"]},
    ),
    "ignored branch": Step.parallel(
        "both",
        {"a": adds("one"), "b": Step.from_callable(broken_at("x"), name="fails")},
        on_branch_failure="ignore",
    ),
    "conditional": Step.branch_on("choose", lambda data: 1, {1: adds("one"), "1": adds("two")}),
    "default branch": Step.branch_on(
        "choose", lambda data: "no", {"a": adds("one")}, default_branch_pipeline=adds("two")
    ),
    "router": Step.dynamic_parallel_branch(
        "route", lambda data: ["b", "a"], {"a": spends("one", 1), "b": adds("two")}
    ),
    "import": ImportStep(
        name="sub",
        pipeline=adds("one") >> spends("two", 1),
        inherit_context=True,
        updates_context=True,
    ),
    "skipped import": ImportStep(
        name="sub",
        pipeline=echo >> Step.from_callable(broken_at("x"), name="fails"),
        on_failure="skip",
    ),
    "cache": Step.cached(adds("one")) >> Step.cached(spends("two", 1)),
    "fallback": Step.from_callable(
        broken_at("x"), name="fails", fallback_step=spends("other", 2), max_retries=1
    ),
    "sunk": Step.from_callable(lambda data: 5, name="sunk", sink_to="total"),
}
CONTAINERS["nested"] = Step.loop_until(
    "outer",
    Step.parallel("wide", {"a": kept("each"), "b": Step.branch_on("k", len, {1: adds("t")})})
    >> Step.from_callable(lambda data: "x", name="back"),
    lambda data: True,
)


def same(live: FrameOutcome | Chunk, restored: FrameOutcome | Chunk) -> None:
    """Assert that both say the same, down to the last child."""
    assert not isinstance(live, Chunk)
    assert not isinstance(restored, Chunk)
    assert type(live) is type(restored)
    for name in ("segments", "index", "attempts", "latency_s", "usage"):
        assert getattr(live, name) == getattr(restored, name), name
    assert told([live.metadata]) == told([restored.metadata])
    assert (live.step is None) == (restored.step is None)
    if live.step is not None and restored.step is not None:
        assert name_of(live.step) == name_of(restored.step)
        assert type(live.step) is type(restored.step)
    if isinstance(live, Success) and isinstance(restored, Success):
        assert told([live.output]) == told([restored.output])
        assert live.update == restored.update
    assert len(live.children) == len(restored.children)
    for one, other in zip(live.children, restored.children, strict=True):
        same(one, other)


class Finished:
    """The outcomes of frames as they finish."""

    def __init__(self) -> None:
        self.outcomes: dict[str, FrameOutcome] = {}

    def listen(self, event: FrameFinished) -> None:
        self.outcomes[str(event.path)] = event.outcome


@pytest.mark.parametrize("kind", CONTAINERS)
def test_what_is_restored_is_what_was_given(kind: str, wait: Wait) -> None:
    async def main() -> None:
        store, node = MemoryStore(), CONTAINERS[kind]
        finished, heard = Finished(), Heard()
        live = await stateful(node, store, hooks=[finished.listen]).run_async("x", run_id="r")
        assert live.success
        restored = await stateful(node, store, hooks=[heard.listen]).run_async("x", run_id="r")
        assert restored.restored
        assert told([restored]) == told([live])
        assert restored.total_cost_usd == live.total_cost_usd
        assert heard.others == []
        [event] = heard.restored
        same(finished.outcomes[str(event.path)], event.outcome)

    wait(main())


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_replay_gives_what_was_given(kind: str, wait: Wait) -> None:
    async def main() -> None:
        store, node = MemoryStore(), CONTAINERS[kind]
        live = await stateful(node, store).run_async("x", run_id="r")
        assert live.success
        rows = store.rows("r")
        replayed = await stateful(node, store).replay("r")
        assert told([replayed]) == told([live])
        assert store.rows("r") == rows

    wait(main())


@pytest.mark.parametrize("kind", CONTAINERS)
def test_each_container_is_restored_inside_a_run_that_goes_on(kind: str, wait: Wait) -> None:
    async def main() -> None:
        store = MemoryStore()
        node = Pipeline.of(CONTAINERS[kind], Step.from_callable(broken_once, name="last"))
        calls["fails"] = 1
        live = await stateful(node, store).run_async("x", run_id="r")
        assert not live.success
        heard = Heard()
        runner = stateful(node, store, hooks=[heard.listen])
        again = await runner.run_async("x", run_id="r")
        assert again.success
        direct = await stateful(node, MemoryStore()).run_async("x")
        assert told([again]) == told([direct])
        assert set(heard.others) == {"", "last"}

    def broken_once(data: object) -> object:
        calls["fails"] -= 1
        if calls["fails"] == 0:
            raise ValueError("once")
        return "end"

    calls = Calls()
    wait(main())
