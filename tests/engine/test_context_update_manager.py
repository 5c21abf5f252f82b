"""Isolate, diff, merge."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from flujo_nb.engine.context import AppendValues, ContextUpdate, DeleteKey, SetValue
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.decorators import step
from flujo_nb.engine.errors import ContextError, ContextUpdateError
from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.values import exactly_equal
from tests.engine.fakes import Counts, Log, Wait, outcome_of, runner_of

CONTEXTS = ContextUpdateManager()


class Inner(BaseModel):
    model_config = ConfigDict(extra="allow")
    tags: list[str] = []


class Whole(BaseModel):
    number: int = 0
    inner: Inner = Field(default_factory=Inner)
    table: dict[Any, Any] = {}
    items: list[Any] = []


def changed(base: BaseModel, work: Any) -> ContextUpdate | None:
    """The update of a step that does ``work`` on its context."""
    context = CONTEXTS.isolate(base)
    work(context)
    return CONTEXTS.diff(base, context)


CHANGES = [
    (lambda c: setattr(c, "number", 1), [SetValue(("number",), 1)]),
    (lambda c: setattr(c, "number", True), [SetValue(("number",), True)]),
    (lambda c: setattr(c, "number", 0), []),
    (lambda c: c.items, []),
    (lambda c: c.model_dump(), []),
    (lambda c: c.items.append("b"), [AppendValues(("items",), ("b",))]),
    (lambda c: c.items.insert(0, "b"), [SetValue(("items",), ["b", "a"])]),
    (lambda c: setattr(c, "items", ["a"]), []),
    (lambda c: setattr(c, "items", ("a",)), [SetValue(("items",), ("a",))]),
    (lambda c: c.table.update(k=2), [SetValue(("table", "k"), 2)]),
    (lambda c: c.table.update(new=1), [SetValue(("table", "new"), 1)]),
    (lambda c: c.table.pop("k"), [DeleteKey(("table", "k"))]),
    (lambda c: c.table["deep"].append(2), [AppendValues(("table", "deep"), (2,))]),
    (lambda c: c.inner.tags.append("u"), [AppendValues(("inner", "tags"), ("u",))]),
    (lambda c: setattr(c.inner, "more", 1), [SetValue(("inner", "more"), 1)]),
    (lambda c: delattr(c.inner, "extra"), [DeleteKey(("inner", "extra"))]),
]


def whole() -> Whole:
    inner = Inner.model_validate({"tags": ["t"], "extra": [1]})
    return Whole(inner=inner, table={"k": 1, "deep": [1]}, items=["a"])


@pytest.mark.parametrize(("work", "changes"), CHANGES)
def test_an_update_names_the_paths_that_were_written(work: Any, changes: list[Any]) -> None:
    update = changed(whole(), work)
    assert exactly_equal([] if update is None else list(update.changes), changes)


@pytest.mark.parametrize("work", [work for work, _ in CHANGES])
def test_merging_an_update_gives_what_the_step_had(work: Any) -> None:
    base = whole()
    expected = base.model_copy(deep=True)
    work(expected)
    merged = CONTEXTS.merge(base, changed(base, work))
    assert exactly_equal(merged, expected)
    assert type(merged) is Whole
    assert exactly_equal(base, whole())


def test_merging_shares_what_the_update_does_not_name() -> None:
    base = whole()
    merged = CONTEXTS.merge(base, changed(base, lambda c: c.table.update(k=2)))
    assert merged.items is base.items
    assert merged.table["deep"] is base.table["deep"]
    assert merged.table is not base.table
    assert CONTEXTS.merge(base, None) is base


def test_a_reference_that_a_step_keeps_does_not_reach_the_update() -> None:
    base, kept = whole(), []

    def work(context: Whole) -> None:
        context.items.append(["new"])
        context.table["own"] = {"a": []}
        kept.extend([context.items[-1], context.table["own"], context.items])

    update = changed(base, work)
    kept[0].append("late")
    kept[1]["a"].append("late")
    kept[2].append("late")
    merged = CONTEXTS.merge(base, update)
    assert merged.items == ["a", ["new"]]
    assert merged.table["own"] == {"a": []}


def test_deleting_a_field_of_the_context_is_not_lost() -> None:
    base = whole()

    def work(context: Whole) -> None:
        del context.items

    merged = CONTEXTS.merge(base, changed(base, work))
    assert "items" not in vars(merged)
    assert base.items == ["a"]


def test_extras_of_the_context_can_come_and_go() -> None:
    base = Inner.model_validate({"gone": 1, "stays": [1]})

    def work(context: Any) -> None:
        del context.gone
        context.new = 2
        context.stays.append(2)

    merged = CONTEXTS.merge(base, changed(base, work))
    assert merged.__pydantic_extra__ == {"stays": [1, 2], "new": 2}


def test_private_attributes_are_part_of_the_context() -> None:
    class Private(BaseModel):
        _seen: list[int] = PrivateAttr(default_factory=list)

    base = Private()
    merged = CONTEXTS.merge(base, changed(base, lambda c: c._seen.append(1)))
    assert (base._seen, merged._seen) == ([], [1])


@pytest.mark.parametrize("extra", ["forbid", "allow"])
def test_a_cached_property_is_no_change_and_is_not_kept(extra: Any) -> None:
    class Cached(BaseModel):
        model_config = ConfigDict(extra=extra)
        number: int = 0

        @functools.cached_property
        def twice(self) -> int:
            return self.number * 2

    def work(context: Cached) -> None:
        assert context.twice == context.number * 2

    base = Cached()
    assert changed(base, work) is None

    def count(context: Cached) -> None:
        work(context)
        context.number += 1

    merged = CONTEXTS.merge(base, changed(base, count))
    assert merged.model_dump() == {"number": 1}
    assert merged.twice == 2


def test_what_cannot_be_kept_in_a_context_names_its_field(wait: Wait) -> None:
    calls = []

    @step(max_retries=3)
    def work(data: object, context: Log) -> None:
        calls.append(1)
        context.items.append(threading.Lock())

    outcome = wait(outcome_of(work, context=Log()))
    assert isinstance(outcome.error, ContextError)
    assert "items" in outcome.feedback
    assert calls == [1]


def test_a_context_may_hold_a_cycle(wait: Wait) -> None:
    ring: list[Any] = []
    ring.append(ring)

    @step
    def look(data: object, context: Log) -> int:
        return len(context.items)

    outcome = wait(outcome_of(look, context=Log.model_construct(items=[ring])))
    assert isinstance(outcome, Success), outcome.feedback


def test_the_net_update_leads_from_the_first_context_to_the_last() -> None:
    base = whole()
    one = CONTEXTS.merge(base, changed(base, lambda c: c.items.append("b")))
    two = CONTEXTS.merge(one, changed(one, lambda c: c.table.pop("k")))
    back = CONTEXTS.merge(two, changed(two, lambda c: c.items.pop()))
    assert CONTEXTS.net(base, base) is None
    net = CONTEXTS.net(base, back)
    assert net is not None
    assert list(net.changes) == [DeleteKey(("table", "k"))]


def test_merging_into_a_working_copy_changes_it_in_place() -> None:
    base = whole()
    context = CONTEXTS.isolate(base)
    context.number = 5
    update = changed(base, lambda c: c.items.append(["new"]))
    assert update is not None
    CONTEXTS.merge_into(context, update)
    assert (context.number, context.items) == (5, ["a", ["new"]])
    context.items[-1].append("mine")
    assert update == ContextUpdate((AppendValues(("items",), (["new"],)),))


@pytest.mark.parametrize("output", [5, "text", ["total"], None])
def test_an_output_that_updates_the_context_is_a_mapping_or_a_model(output: object) -> None:
    with pytest.raises(ContextUpdateError, match=f"found {type(output).__name__}"):
        CONTEXTS.update_of_output(Counts(), output)


def test_an_output_is_validated_by_the_context() -> None:
    update = CONTEXTS.update_of_output(Counts(), {"total": "3"})
    assert update == ContextUpdate((SetValue(("total",), 3),))
    with pytest.raises(ContextUpdateError, match=r"Counts\.total: .*valid integer.*found 'many'"):
        CONTEXTS.update_of_output(Counts(), {"total": "many"})
    with pytest.raises(ContextUpdateError, match="no field 'totl'; it has total, names, by_kind"):
        CONTEXTS.update_of_output(Counts(), {"totl": 1})


def test_a_model_gives_the_fields_that_were_set() -> None:
    update = CONTEXTS.update_of_output(Counts(total=3), Counts(names=["a"]))
    assert update == ContextUpdate((AppendValues(("names",), ("a",)),))


def test_an_output_stays_the_steps_own() -> None:
    output = {"names": ["a"]}
    update = CONTEXTS.update_of_output(Counts(), output)
    output["names"].append("late")
    assert CONTEXTS.merge(Counts(), update).names == ["a"]


def test_a_validator_of_the_context_cannot_reach_the_base() -> None:
    class Logging(BaseModel):
        number: int = 0
        log: list[int] = []

        @model_validator(mode="after")
        def _note(self) -> Logging:
            self.log.append(self.number)
            return self

    base = Logging()
    CONTEXTS.update_of_output(base, {"number": 3})
    CONTEXTS.update_of_sink(base, "number", 3)
    assert base.log == [0]


@pytest.mark.parametrize(
    ("path", "output", "change"),
    [
        ("number", "3", SetValue(("number",), 3)),
        ("inner.tags", ["t", "u"], AppendValues(("inner", "tags"), ("u",))),
        ("inner.more", 1, SetValue(("inner", "more"), 1)),
        ("table.k", 2, SetValue(("table", "k"), 2)),
        ("table.new", 2, SetValue(("table", "new"), 2)),
    ],
)
def test_a_sink_is_a_dotted_path(path: str, output: object, change: object) -> None:
    update = CONTEXTS.update_of_sink(whole(), path, output)
    assert update is not None
    assert list(update.changes) == [change]


@pytest.mark.parametrize("path", ["missing", "inner.tags.0", "missing.more", "table.missing.more"])
def test_a_sink_that_leads_nowhere_is_an_error_that_names_it(path: str) -> None:
    with pytest.raises(ContextUpdateError):
        CONTEXTS.update_of_sink(whole(), path, 1)


def test_a_sink_into_a_dict_is_validated_by_the_context_too() -> None:
    assert CONTEXTS.update_of_sink(Counts(), "by_kind.mit", 1) is not None
    with pytest.raises(ContextUpdateError, match="by_kind"):
        CONTEXTS.update_of_sink(Counts(), "by_kind.mit", "many")


def test_a_context_that_a_step_returns_is_an_ordinary_model(wait: Wait) -> None:
    kept = []

    @step
    def work(data: object, context: Counts) -> Counts:
        context.names.append("a")
        kept.append(context)
        return context

    @step
    def meddle(data: Counts, context: Counts) -> None:
        data.names.append("through the output")
        kept[0].names.append("through a kept reference")

    result = wait(runner_of(work).run_async().result())
    assert type(result.output) is Counts
    assert result.output == Counts(names=["a"])
    after = wait(runner_of(work >> meddle).run_async().result()).final_pipeline_context
    assert after == Counts(names=["a"])
