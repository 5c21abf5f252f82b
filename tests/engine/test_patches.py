"""What a fork changes at its frame. Whole forks are in ``test_durable_runner.py``."""

from __future__ import annotations

import datetime
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, RootModel, SecretStr

from flujo_nb.engine.errors import NotPatchable, ResumeError
from flujo_nb.engine.patches import checked_patch, merged, patched
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.values import exactly_equal
from tests.engine.durable import KEY, durable
from tests.engine.fakes import Counts, Wait
from tests.engine.pauses import Calls


# The examples of RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_is_a_json_merge_patch(value: Any, patch: Any, result: Any) -> None:
    assert merged(value, patch) == result


def test_what_is_patched_is_not_changed() -> None:
    value: Any = {"a": {"b": 1}}
    merged(value, {"a": {"b": 2}})
    assert value == {"a": {"b": 1}}


class Currency(Enum):
    EURO = "eur"
    YEN = "jpy"


class Item(BaseModel):
    name: str
    price: Decimal = Decimal(1)


class Invoice(BaseModel):
    total: int
    names: list[str] = []
    due: datetime.date | None = None
    first: Item | None = None
    items: list[Item] = []
    currency: Currency = Currency.EURO
    token: SecretStr = SecretStr("hidden")
    notes: dict[str, object] = {}


class Opaque:
    """No data: a client, say."""


@dataclass
class Point:
    x: int
    y: int = 0
    label: str = field(default="made", init=False)


INVOICE = Invoice(
    total=1,
    due=datetime.date(2026, 1, 2),
    first=Item(name="tea", price=Decimal("2.50")),
    items=[Item(name="tea")],
    notes={"seen": datetime.date(2026, 1, 1), "by": ("a", "b")},
)


def changed(**values: Any) -> Invoice:
    return INVOICE.model_copy(update=values)


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ({"total": 2}, changed(total=2)),
        ({"names": ["a"]}, changed(names=["a"])),
        ({"due": None}, changed(due=None)),
        ({"due": "2026-03-04"}, changed(due=datetime.date(2026, 3, 4))),
        ({"first": {"price": 3}}, changed(first=Item(name="tea", price=Decimal(3)))),
        ({"first": None}, changed(first=None)),
        ({"items": [{"name": "x"}]}, changed(items=[Item(name="x")])),
        ({"currency": "jpy"}, changed(currency=Currency.YEN)),
        ({"token": "other"}, changed(token=SecretStr("other"))),
        (
            {"notes": {"seen": "2026-05-06", "new": 1}},
            changed(notes={"seen": datetime.date(2026, 5, 6), "by": ("a", "b"), "new": 1}),
        ),
        ({"notes": {"by": None}}, changed(notes={"seen": datetime.date(2026, 1, 1)})),
    ],
    ids=str,
)
def test_a_model_is_patched_as_a_model(patch: Any, result: Invoice) -> None:
    assert exactly_equal(patched(INVOICE, patch), result)


def test_what_is_not_patched_stays_what_it_is() -> None:
    found: Any = patched(INVOICE, {"total": 2, "notes": {"n": 1}})
    assert found.first is INVOICE.first and found.notes["by"] is INVOICE.notes["by"]
    assert found.token.get_secret_value() == "hidden"
    assert INVOICE.total == 1 and "n" not in INVOICE.notes


def test_a_field_that_is_removed_has_its_default_again() -> None:
    assert patched(Invoice(total=1, names=["a"]), {"names": None}) == Invoice(total=1)


@pytest.mark.parametrize(
    ("patch", "where", "why"),
    [
        ({"total": "many"}, "output.total", "integer"),
        ({"total": None}, "output.total", "required"),
        ({"totl": 2}, "output", "Invoice has no field 'totl'; it has total, names"),
        ({"first": {"name": 3}}, "output.first.name", "string"),
        ({"first": {"cost": 3}}, "output.first", "Item has no field 'cost'"),
        ({"items": [{"name": 1}]}, "output.items.0.name", "string"),
        ({"notes": {"seen": "soon"}}, "output.notes.seen", "date"),
        ("text", "output", "dictionary"),
        ([1], "output", "dictionary"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_by_its_place(patch: Any, where: str, why: str) -> None:
    with pytest.raises(ResumeError, match=f"does not fit {re.escape(where)}: .*{why}") as caught:
        patched(INVOICE, patch, "output")
    assert "hidden" not in str(caught.value) and "many" not in str(caught.value)


class Called(BaseModel):
    model_config = ConfigDict(extra="allow")

    own: int = Field(alias="ownName")
    other: int = Field(default=0, validation_alias=AliasChoices("otherName", "o"))


def test_fields_are_known_by_their_names_and_by_what_they_are_called_outside() -> None:
    value = Called(ownName=1, otherName=2, more="m")
    found: Any = patched(value, {"own": 3, "more": "n", "new": [1]})
    assert (found.own, found.other, found.more, found.new) == (3, 2, "n", [1])
    found = patched(value, {"ownName": 4, "otherName": 5, "more": None})
    assert (found.own, found.other, found.model_extra) == (4, 5, {})


def test_a_root_model_is_patched_as_its_root() -> None:
    changed = patched(RootModel[dict[str, int]]({"a": 1}), {"b": 2})
    assert isinstance(changed, RootModel) and changed.root == {"a": 1, "b": 2}
    assert patched(RootModel[list[int]]([1]), [2]).root == [2]  # type: ignore[attr-defined]
    with pytest.raises(ResumeError, match=r"does not fit value: .*list"):
        patched(RootModel[list[int]]([1]), {"a": 1})


def test_a_dataclass_is_patched_as_one() -> None:
    assert patched(Point(1, 2), {"x": 3}) == Point(3, 2)
    assert patched([Point(1, 2)], [{"x": 3}]) == [Point(3)]
    with pytest.raises(ResumeError, match=r"value\.x: .*integer"):
        patched(Point(1, 2), {"x": "far"})
    with pytest.raises(ResumeError, match="has no field 'z'; it has x, y"):
        patched(Point(1, 2), {"z": 1})


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        (1, 2, 2),
        ("a", "b", "b"),
        ([1], [2, 3], [2, 3]),
        ((1, 2), [3], (3,)),
        ({1}, [3], {3}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": "text"}, {"a": "text"}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": None}, {"a": {"b": 1, "c": None}}, {"a": {"b": 1}}),
        ({"a": "text"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({1: "a", "k": (1,)}, {"1": "b"}, {1: "b", "k": (1,)}),
        ([Item(name="a")], [{"name": "b"}], [Item(name="b")]),
        ({"a": [Item(name="a")]}, {"a": [{"name": "b"}]}, {"a": [Item(name="b")]}),
        (OrderedDict(a=1), {"b": 2}, OrderedDict(a=1, b=2)),
        (Decimal("1.5"), "2.5", Decimal("2.5")),
    ],
    ids=str,
)
def test_a_plain_value_keeps_its_type(value: Any, patch: Any, result: Any) -> None:
    assert exactly_equal(patched(value, patch), result)


@pytest.mark.parametrize("value", [1, "a", [1], {"a": 1}, (1,), Decimal(1)], ids=repr)
def test_another_type_is_no_patch(value: Any) -> None:
    with pytest.raises(ResumeError, match="does not fit value: "):
        patched(value, "text" if not isinstance(value, str) else [1])


@pytest.mark.parametrize("patch", ["x", [1], {"a": 1}], ids=str)
@pytest.mark.parametrize("value", [threading.Lock(), Opaque(), [Opaque()]])
def test_what_is_no_data_cannot_be_patched(value: object, patch: Any) -> None:
    with pytest.raises(NotPatchable, match=r"output \(\w+\) is neither plain data nor a model"):
        patched(value, patch, "output")


def test_beside_what_cannot_be_patched_something_else_can() -> None:
    lock = threading.Lock()
    found: Any = patched({"lock": lock, "n": 1}, {"n": 2})
    assert found == {"lock": lock, "n": 2}
    with pytest.raises(NotPatchable, match=r"value\.lock \(lock\)"):
        patched(found, {"lock": 1})


def test_nothing_becomes_whatever_the_patch_says() -> None:
    assert patched(None, {"a": 1}) == {"a": 1}
    assert patched(None, 3) == 3
    assert patched(None, {"a": {"b": None}}) == {"a": {}}


@pytest.mark.parametrize("patch", [{}, {"data": 1, "output": 2}, {"input": 1}], ids=str)
def test_a_patch_names_one_part(patch: Any) -> None:
    with pytest.raises(ResumeError, match=r'\{"data": …\}'):
        checked_patch(patch)


@pytest.mark.parametrize("part", ["data", "context", "output"])
def test_each_part_can_be_named(part: str) -> None:
    assert checked_patch({part: 1}) == {part: 1}


# In runs.


async def sums(data: Any, context: Counts) -> int:
    context.total += 1
    context.names.append(str(data))
    return context.total


def pipeline(calls: Calls) -> Any:
    return calls.step("a") >> calls.step("b", sums) >> calls.step("c")


def forked(wait: Wait, at: str, patch: Any, **options: Any) -> tuple[Any, Calls]:
    """The result of a fork of a run of three steps, and what was called for it."""

    async def main() -> Any:
        runner = durable(pipeline(calls), MemoryStore())
        await runner.run_async("x", run_id="r")
        calls.clear()
        return await runner.fork("r", at, patch=patch, **options)

    calls = Calls()
    return wait(main()), calls


def test_an_input_is_patched_for_its_frame_only(wait: Wait) -> None:
    result, calls = forked(wait, "b", {"data": "y"})
    assert result.final_pipeline_context == Counts(total=1, names=["y"])
    assert result.output == "1 c"
    assert calls == {"b": 1, "c": 1}


def test_an_output_stands_in_for_the_work(wait: Wait) -> None:
    result, calls = forked(wait, "b", {"output": 7})
    assert result.output == "7 c"
    assert calls == {"c": 1}
    assert result.final_pipeline_context == Counts(total=1, names=["x a"])


def test_a_patched_context_is_that_of_all_that_follows(wait: Wait) -> None:
    result, calls = forked(wait, "b", {"context": {"total": 10, "by_kind": {"k": 1}}})
    assert result.output == "11 c"
    expected = Counts(total=11, names=["x a"], by_kind={"k": 1})
    assert result.final_pipeline_context == expected
    assert calls == {"b": 1, "c": 1}


@pytest.mark.parametrize(
    "patch", [{"data": [1]}, {"context": {"total": "many"}}, {"output": "seven"}], ids=str
)
def test_a_patch_that_does_not_fit_runs_nothing(wait: Wait, patch: Any) -> None:
    async def main() -> None:
        store = MemoryStore()
        runner = durable(pipeline(calls), store)
        await runner.run_async("x", run_id="r")
        calls.clear()
        with pytest.raises(ResumeError, match=r"does not fit .* \(at b\)"):
            await runner.fork("r", "b", run_id="f", patch=patch)
        assert store.run("f").owner is None

    calls = Calls()
    wait(main())
    assert calls == {}


def test_a_patch_holds_when_the_fork_is_resumed(wait: Wait) -> None:
    async def main() -> Any:
        store = MemoryStore()
        await durable(pipeline(calls), store).run_async("x", run_id="r")
        runner = durable(pipeline(calls), store)
        await runner.fork("r", "b", run_id="f", patch={"data": "y"})
        again = durable(pipeline(calls), store)
        result = await again.run_async(run_id="f")
        assert result.restored
        return result

    calls = Calls()
    assert wait(main()).final_pipeline_context.names == ["y"]


@pytest.mark.parametrize("patch", [{"nothing": 1}, {"data": KEY}])
def test_a_patch_that_is_refused_makes_no_run(wait: Wait, patch: Any) -> None:
    async def main() -> list[str]:
        store = MemoryStore()
        runner = durable(pipeline(calls), store)
        await runner.run_async("x", run_id="r")
        with pytest.raises(Exception, match="patch"):
            await runner.fork("r", "b", run_id="f", patch=patch)
        return [run.run_id for run in store.runs()]

    calls = Calls()
    assert wait(main()) == ["r"]
