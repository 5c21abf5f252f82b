"""Outcomes as the bodies of rows, and back."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import from_json

from flujo_nb.engine import outcome_codec
from flujo_nb.engine.context import AppendValues, ContextUpdate, DeleteKey, SetValue
from flujo_nb.engine.errors import MaxLoopsReached, StepExited, ValueNotSaved
from flujo_nb.engine.outcome_codec import (
    Body,
    LivePart,
    OutcomeCodec,
    Place,
    RecordedError,
    Unsaved,
    inside_of,
    live_parts,
    paths_inside,
    status_of_row,
    tree_of,
    withheld,
)
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Chunk,
    Failure,
    FailureKind,
    FrameOutcome,
    Paused,
    Success,
)
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.usage import Usage
from tests.engine.durable import KEY, row
from tests.engine.fakes import echo

UPDATE = ContextUpdate(
    (
        SetValue(("total",), 3),
        AppendValues(("names",), ("a", {"b": 1})),
        DeleteKey(("by_kind", "odd")),
        SetValue(("by_kind", 7), (1, 2)),
    )
)


def codec(requires: bool = True) -> OutcomeCodec:
    return OutcomeCodec(Codec(TypeTable()), requires)


def back(outcome: FrameOutcome, requires: bool = True, usage: Usage | None = None) -> Any:
    """The outcome that is read of the row that it makes."""
    body = codec(requires).body_of(outcome)
    written = row(1, status=status_of_row(outcome), body=body.end())
    place = Place(tree_of(written), echo, (), 2, ())
    return codec().outcome_of(written, place, usage, body.blobs.__getitem__)


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_a_success_comes_back_with_all_that_it_says() -> None:
    success = Success(
        output={"a": (1, 2)}, update=UPDATE, attempts=3, latency_s=0.1, metadata={"m": [1]}
    )
    read = back(success, usage=Usage(tokens=2))
    assert type(read) is Success
    assert (read.output, read.update, read.attempts, read.latency_s, read.metadata) == (
        {"a": (1, 2)},
        UPDATE,
        3,
        0.1,
        {"m": [1]},
    )
    assert (read.usage, read.step, read.index, read.segments) == (Usage(tokens=2), echo, 2, ())


def test_what_is_as_always_takes_no_room() -> None:
    assert codec().body_of(Success()).end() == b'{"o":null}'
    read = back(Success())
    assert (read.output, read.update, read.attempts, read.latency_s) == (None, None, 1, 0.0)
    assert (dict(read.metadata), read.usage, list(read.children)) == ({}, None, [])


@pytest.mark.parametrize("latency", [1e-7, 0.1 + 0.2, 12345.678901234567])
def test_times_come_back_exactly(latency: float) -> None:
    assert back(Success(latency_s=latency)).latency_s == latency


def test_a_failure_comes_back_with_what_was_said_of_its_error() -> None:
    error = raised(KeyError("rows"))
    failure = Failure(error=error, feedback="KeyError: 'rows'", kind=FailureKind.TYPE, output=[1])
    read = back(failure)
    assert (read.feedback, read.kind, read.output) == ("KeyError: 'rows'", FailureKind.TYPE, [1])
    assert isinstance(read.error, RecordedError)
    assert (read.error.kind, str(read.error)) == ("KeyError", "'rows'")
    assert "raise error" in read.error.told


def test_an_error_of_the_engine_comes_back_as_its_own_class() -> None:
    read = back(Failure(error=MaxLoopsReached("5 times"), feedback=""))
    assert type(read.error) is MaxLoopsReached
    assert str(read.error) == "5 times"
    exited = back(Failure(error=StepExited(3), feedback=""))
    assert type(exited.error) is StepExited
    assert "sys.exit(3)" in str(exited.error)


def test_a_recorded_error_is_recorded_as_it_was() -> None:
    once = back(Failure(error=raised(KeyError("rows")), feedback=""))
    twice = back(once)
    assert (twice.error.kind, twice.error.told) == (once.error.kind, once.error.told)


def test_an_error_that_cannot_say_what_it_is_is_recorded() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    read = back(Failure(error=raised(Mute()), feedback="Mute"))
    assert (read.error.kind, str(read.error)) == ("Mute", "")


def test_of_a_long_traceback_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_codec, "MAX_TRACEBACK", 30)
    told = back(Failure(error=raised(KeyError("the last line")), feedback="")).error.told
    assert len(told) == 30
    assert told.endswith("KeyError: 'the last line'\n")


def test_a_pause_comes_back_with_its_question() -> None:
    read = back(Paused(message="which?", schema={"type": "integer"}, metadata={"items": 2}))
    assert type(read) is Paused
    assert (read.message, read.schema, read.metadata) == (
        "which?",
        {"type": "integer"},
        {"items": 2},
    )
    assert back(Paused(message="?")).schema is None


@pytest.mark.parametrize("reason", list(AbortReason))
def test_an_abort_comes_back_with_its_reason(reason: AbortReason) -> None:
    read = back(Aborted(reason=reason, message="enough"))
    assert type(read) is Aborted
    assert (read.reason, read.message) == (reason, "enough")


def test_a_launch_comes_back_with_its_task() -> None:
    read = back(BackgroundLaunched(task_id="job/background"))
    assert type(read) is BackgroundLaunched
    assert read.task_id == "job/background"


@pytest.mark.parametrize("text", ["half \ud800", "nul \0", 'quote " \\ \n', "é𝔸"])
def test_texts_of_every_kind_are_recorded(text: str) -> None:
    read = back(Failure(error=ValueError(text), feedback=text))
    assert read.feedback == text.replace("\ud800", "\\ud800")
    assert back(Paused(message=text)).message == read.feedback
    assert back(Aborted(reason=AbortReason.SIGNAL, message=text)).message == read.feedback


# Secrets.


@pytest.mark.parametrize(
    "outcome",
    [
        Failure(error=raised(ValueError(f"with {KEY}")), feedback=f"with {KEY}"),
        Paused(message=f"use {KEY}?"),
        Aborted(reason=AbortReason.SIGNAL, message=f"no {KEY}"),
        Success(metadata={"key": KEY, "n": 1}),
        Failure(error=ValueError(), feedback="", output=KEY),
        BackgroundLaunched(task_id="t", metadata={"key": [KEY]}),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_what_looks_like_a_key_is_never_written(outcome: FrameOutcome) -> None:
    assert KEY.encode() not in codec().body_of(outcome).end()
    back(outcome)


def test_a_text_without_a_secret_is_itself() -> None:
    assert withheld("plain") == "plain"
    assert KEY not in withheld(KEY)
    assert "API key" in withheld(KEY)


def test_of_metadata_what_can_be_saved_is() -> None:
    assert back(Success(metadata={"n": 1, "f": len, "t": "x"})).metadata == {"n": 1, "t": "x"}
    assert back(Success(metadata={"f": len})).metadata == {}


# What cannot be saved.


def test_what_has_to_be_saved_is_an_error_with_its_place() -> None:
    with pytest.raises(ValueNotSaved, match=r"output\['f'\]"):
        codec().body_of(Success(output={"f": len}))
    with pytest.raises(ValueNotSaved, match="context"):
        codec().body_of(Success(update=ContextUpdate((SetValue(("x",), len),))))


def test_what_need_not_be_saved_is_said_to_be_missing() -> None:
    body = codec(False).body_of(Success(output=[len], attempts=2))
    assert body.output is None
    [part] = body.live
    assert part.where == "output[0]"
    tree = tree_of(row(1, body=body.end()))
    assert live_parts(tree) == (part,)
    read = back(Success(output=[len], attempts=2), requires=False)
    assert read.output == Unsaved("a", part)
    assert read.attempts == 2
    assert part.where in str(part) and part.reason in str(part)


def test_an_update_that_need_not_be_saved_is_said_to_be_missing() -> None:
    update = ContextUpdate((SetValue(("x",), len),))
    body = codec(False).body_of(Success(output=1, update=update))
    [part] = body.live
    assert part.where.startswith("context")
    read = back(Success(output=1, update=update), requires=False)
    assert (read.output, read.update) == (1, None)


def test_a_large_output_is_saved_only_where_it_has_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_codec, "MAX_AUTO_BYTES", 100)
    large = Success(output="x" * 101)
    assert back(large).output == "x" * 101
    read = back(large, requires=False)
    assert isinstance(read.output, Unsaved)
    assert read.output.part.where == "output"
    assert back(Success(output="x" * 90), requires=False).output == "x" * 90


def test_a_failure_is_recorded_though_its_output_cannot_be() -> None:
    assert back(Failure(error=ValueError(), feedback="", output=[len])).output is None


# Decisions.


def test_a_decision_comes_back_with_what_it_changed() -> None:
    body = codec().decision_body({"k": (1, True)}, UPDATE)
    tree: Any = from_json(body.end())
    assert codec().decision_of(tree, body.blobs.__getitem__) == ({"k": (1, True)}, UPDATE)
    tree = from_json(codec().decision_body(None, None).end())
    assert codec().decision_of(tree, {}.__getitem__) == (None, None)


@pytest.mark.parametrize("requires", [False, True])
def test_a_decision_that_cannot_be_saved_is_an_error(requires: bool) -> None:
    with pytest.raises(ValueNotSaved, match="decision"):
        codec(requires).decision_body(len, None)
    with pytest.raises(ValueNotSaved, match="context"):
        codec(requires).decision_body(1, ContextUpdate((SetValue(("x",), len),)))


# Children.


def below(text: str) -> Any:
    segments = FramePath.parse(text).segments
    if text.startswith("["):
        return Success(segments=segments[1:], index=int(str(segments[0].key)))
    return Success(segments=segments)


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "b", "a#1"],
        ["[0]/x", "[1]/x", "[2]/x"],
        ["[0]", "[1]"],
        ["[0]/x", "[2]/x"],
        ["[1]/x", "[0]/x"],
        ["[0]/x", "[1]/y"],
        [":b/y", ":a"],
        ["fallback[1]"],
        [],
    ],
    ids=str,
)
def test_where_children_stand_comes_back_in_their_order(texts: list[str]) -> None:
    code = inside_of([below(text) for text in texts])
    assert paths_inside(code) == texts


def test_children_in_a_row_take_no_room() -> None:
    code = inside_of([below(f"[{number}]/x") for number in range(10_000)])
    assert code == [10_000, "/x"]


def test_chunks_are_no_children() -> None:
    code = inside_of([below("a"), Chunk("x", FramePath()), below("b")])
    assert paths_inside(code) == ["a", "b"]


def test_a_body_is_json_whatever_is_added() -> None:
    body = Body()
    body.add(b"x", b"1")
    body.add(b"y", b'"z"')
    body.live.append(LivePart("output", "list", 'a "reason"'))
    assert from_json(body.end()) == {"x": 1, "y": "z", "live": [["output", "list", 'a "reason"']]}
    assert from_json(Body().end()) == {}
