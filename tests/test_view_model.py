"""What a card is made of: small texts, whatever the record holds."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd  # type: ignore[import-untyped]
from pydantic import BaseModel, Field, SecretStr

from flujo_nb.engine.outcomes import Failure, RunStatus, Success
from flujo_nb.engine.path import FramePath, Segment, SegmentKind
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.usage import Usage
from flujo_nb.widgets.previews import Preview
from flujo_nb.widgets.view_model import context_changes, frame_view


def raised(*_: object) -> str:
    raise RuntimeError("not to be looked at")


class Item(BaseModel):
    name: str = "x"
    inner: object = None


class Account(BaseModel):
    user: str = "ann"
    token: str = Field("hunter2", repr=False)
    password: SecretStr = SecretStr("hunter2")


def thing(name: str = "Thing", **members: object) -> object:
    """An instance of a class of its own with these members."""
    return type(name, (), members)()


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
    failure = Failure(error=ValueError(), feedback="ValueError: " + "x" * 1_000_000)
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
