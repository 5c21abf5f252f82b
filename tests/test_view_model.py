"""From records to what is shown: small, fast, and safe from what values do when looked at."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel, Field, SecretStr

from flujo_nb.engine.outcomes import Failure, RunStatus, Success
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.usage import Usage
from flujo_nb.widgets.view_model import (
    PREVIEW,
    Preview,
    context_changes,
    duration_text,
    frame_view,
    preview,
    short,
)

LONGEST = 2 * PREVIEW
MILLION = 1_000_000


def raised(*_: object) -> str:
    raise RuntimeError("not to be looked at")


def left(*_: object) -> str:
    raise SystemExit


def many_lines(_: object) -> str:
    return "\n".join(map(str, range(MILLION)))


class Item(BaseModel):
    name: str = "x"
    inner: object = None


class Account(BaseModel):
    user: str = "ann"
    token: str = Field("hunter2", repr=False)
    password: SecretStr = SecretStr("hunter2")


@dataclasses.dataclass
class Plain:
    user: str = "ann"
    token: str = dataclasses.field(default="hunter2", repr=False)


def thing(name: str = "Thing", **members: object) -> object:
    """An instance of a class of its own with these members."""
    return type(name, (), members)()


def itself() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


def model_in_itself() -> Item:
    item = Item()
    item.inner = item
    return item


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (1, "1"),
        ("text", "'text'"),
        ([1, 2], "list of 2: [1, 2]"),
        ((1,), "tuple of 1: (1,)"),
        ({"a": 1}, "dict of 1: {'a': 1}"),
        ({3}, "set of 1: {3}"),
        (list(range(9)), "list of 9: [0, 1, 2, 3, 4, 5, ...]"),
        (Item(), "Item(name='x', inner=None)"),
        (np.zeros((2, 3)), "ndarray 2 x 3: array([[0., 0., 0.], [0., 0., 0.]])"),
    ],
)
def test_a_preview_tells_the_kind_and_the_beginning(value: object, shown: str) -> None:
    assert str(preview(value)) == shown


def test_a_dict_is_shown_in_its_own_order() -> None:
    assert short({"second": 2, "first": 1}) == "{'second': 2, 'first': 1}"


LARGE: dict[str, Callable[[], object]] = {
    "list": lambda: list(range(3 * MILLION)),
    "str": lambda: "x" * 50 * MILLION,
    "bytes": lambda: b"x" * 50 * MILLION,
    "bytearray": lambda: bytearray(50 * MILLION),
    "dict": lambda: dict.fromkeys(map(str, range(MILLION))),
    "set": lambda: set(map(str, range(MILLION))),
    "deque": lambda: deque(range(MILLION)),
    "Counter": lambda: Counter(range(MILLION)),
    "OrderedDict": lambda: OrderedDict.fromkeys(range(MILLION)),
    "defaultdict": lambda: defaultdict(int, dict.fromkeys(range(MILLION), 1)),
    "array": lambda: np.zeros((1000, 1000)),
    "data frame": lambda: pd.DataFrame({"a": range(MILLION)}),
    "model": lambda: Item(inner=list(range(MILLION))),
    "list of str": lambda: ["x" * 10 * MILLION] * 10,
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
def test_a_preview_of_something_large_is_short_and_fast(make: Callable[[], object]) -> None:
    value = make()
    took: list[float] = []
    for _ in range(3):
        began = time.process_time()
        shown = str(preview(value))
        took.append(time.process_time() - began)
    assert min(took) < 0.02
    assert len(shown) < LONGEST
    assert "\n" not in shown


STRANGE: dict[str, Callable[[], object]] = {
    "repr raises": lambda: thing(__repr__=raised),
    "repr exits": lambda: thing(__repr__=left),
    "repr of a million lines": lambda: thing(__repr__=many_lines),
    "repr gives no text": lambda: thing(__repr__=lambda self: 3),
    "in a list": lambda: [thing(__repr__=raised)],
    "in a model": lambda: Item(inner=thing(__repr__=raised)),
    "shape raises": lambda: thing(shape=property(raised)),
    "length raises": lambda: type("L", (list,), {"__len__": raised})(),
    "an int of 5,000 digits": lambda: 10**5000,
    "such an int in a list": lambda: [10**5000],
    "a class called array": lambda: thing("array"),
    "a class called deque": lambda: thing("deque"),
    "a class called list": lambda: thing("list"),
    "a list in itself": itself,
    "a model in itself": model_in_itself,
    "ten thousand lists": lambda: nested(10_000),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE.keys())
def test_a_preview_of_something_strange_is_one_short_line(make: Callable[[], object]) -> None:
    shown = str(preview(make()))
    assert 0 < len(shown) < LONGEST
    assert "\n" not in shown


@pytest.mark.parametrize("value", [Account(), Plain(), [Account()]])
def test_what_a_class_keeps_out_of_its_repr_is_not_shown(value: object) -> None:
    assert "hunter2" not in str(preview(value))
    assert "ann" in str(preview(value))


def test_what_a_class_keeps_out_of_its_repr_is_not_shown_when_it_changes() -> None:
    changes = context_changes(Account(), Account(token="hunter3"))
    assert "hunter" not in repr(changes)


def test_changes_of_a_context_are_told_field_by_field() -> None:
    before, after = Item(), Item(name="y")
    (change,) = context_changes(before, after)
    assert (change.name, change.before, change.after) == ("name", "'x'", "'y'")
    assert context_changes(before, before) == ()
    assert context_changes(None, after) == ()
    assert context_changes(before, None) == ()


def test_a_change_of_the_type_alone_is_a_change() -> None:
    assert [c.name for c in context_changes(Item(inner=1), Item(inner=True))] == ["inner"]


def test_fields_that_cannot_be_compared_count_as_changed() -> None:
    before = Item(inner=pd.DataFrame({"a": [1]}))
    after = Item(inner=pd.DataFrame({"b": [1, 2]}))
    assert [c.name for c in context_changes(before, after)] == ["inner"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "<0.1 ms"),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (3.14, "3.1 s"),
        (59.99, "60.0 s"),
        (125, "2 min 05 s"),
    ],
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert duration_text(seconds) == shown


def record(**given: object) -> FrameRecord:
    values: dict[str, object] = {
        "id": "f1",
        "name": "words",
        "path": FramePath((Segment(SegmentKind.COMMAND, 2),)),
        "run_id": "r",
        "data": "a b",
        "context": None,
        "outcome": Success(output=["a"], latency_s=0.5, usage=Usage.of(tokens=3, cost_usd=0.25)),
        "output": ["a"],
    }
    return FrameRecord(**{**values, **given})  # type: ignore[arg-type]


def test_a_view_of_a_record() -> None:
    view = frame_view(record(), origin="-i", notes=("note",), is_head=True)
    assert (view.id, view.name, view.status) == ("f1", "words", RunStatus.COMPLETED)
    assert (view.origin, view.path, view.parent) == ("-i", "c[2]", None)
    assert (view.input, view.output) == (Preview("", "'a b'"), Preview("list of 1", "['a']"))
    assert (view.duration, view.tokens, view.cost_usd) == ("500 ms", 3, 0.25)


def test_the_output_of_a_failed_frame_is_not_none_but_missing() -> None:
    error = ValueError("no")
    view = frame_view(record(outcome=Failure(error=error, feedback="no"), output=None), origin="")
    assert view.output is None
    assert view.feedback == "no"
    assert frame_view(record(output=None), origin="").output == Preview("", "None")


def test_the_reason_of_a_failure_is_short_whatever_the_error_says() -> None:
    failure = Failure(error=ValueError(), feedback="ValueError: " + "x" * MILLION)
    view = frame_view(record(outcome=failure), origin="")
    assert view.feedback is not None
    assert len(view.feedback) < 1000


def test_the_form_for_programs_is_json() -> None:
    view = frame_view(record(parent="f0"), origin="f0.output")
    found = view.as_json()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        "id",
        "parent",
        "name",
        "status",
        "origin",
        "path",
        "run_id",
        "duration_s",
        "usage",
        "digest",
        "input_digest",
        "stale",
        "live_only",
    }
    assert (found["parent"], found["status"]) == ("f0", "completed")
    assert found["usage"] == {"cost_usd": 0.25, "tokens": 3}


def test_a_view_holds_texts_only() -> None:
    view = frame_view(record(), origin="-i", children=[record(id="f1/a")])
    held = [getattr(view, field.name) for field in dataclasses.fields(view)]
    assert not any(isinstance(one, FrameRecord | Success) for one in held)
