"""What rows say about frames: the tree, how each ended, what was decided, what was asked."""

from __future__ import annotations

import json
from itertools import count

import pytest

from flujo_nb.engine.step_config import JSONValue
from flujo_nb.engine.stores import Row
from flujo_nb.engine.usage import Usage
from flujo_nb.run_frames import Gap, Question, ShownFrame, frames_of, given_to, questions_of
from tests.runs import row


def rows_of(*facts: tuple[str, str, JSONValue]) -> list[Row]:
    """Rows by path, what they are (``kind`` or ``finished:status``) and body."""
    made: list[Row] = []
    for seq, (path, what, body) in zip(count(1), facts):
        kind, _, status = what.partition(":")
        code = json.dumps(body).encode()
        made.append(row(seq, path, code, kind=kind, status=status or None))
    return made


def frames(*rows: Row) -> list[ShownFrame]:
    lines = frames_of(rows)
    shown = [line for line in lines if isinstance(line, ShownFrame)]
    assert len(shown) == len(lines)
    return shown


def test_frames_stand_below_those_around_them_in_the_order_of_their_first_rows() -> None:
    rows = rows_of(
        ("b", "finished:success", {"o": 1}),
        ("loop/[0]/x", "finished:success", {"o": 2}),
        ("loop/[0]", "finished:success", {"o": 3}),
        ("loop/[1]/x", "finished:failure", {}),
        ("a", "finished:success", {"o": 4}),
        ("loop", "finished:success", {"o": 5, "c": [2, "/x"]}),
    )
    lines = frames(*rows)
    assert [(line.label, line.depth, line.status, line.preview) for line in lines] == [
        ("b", 0, "success", "1"),
        ("loop", 0, "success", "5"),
        ("[0]", 1, "success", "3"),
        ("x", 2, "success", "2"),
        ("[1]/x", 1, "failure", ""),
        ("a", 0, "success", "4"),
    ]


def test_what_a_session_notes_of_its_commands_is_no_decision_of_a_frame() -> None:
    own = ("frame#0", "input#0", "context#12", "ended#0", "head")
    told = ("ahead", "frame#1x", "inputs#1")
    rows = [
        row(seq, "", b'{"v":{"id":"f0"}}', kind="decision", name=name)
        for seq, name in enumerate((*own, *told), 1)
    ]
    inside = [row(20, "c[1]/a", b'{"v":1}', kind="decision", name=name) for name in own[:1]]
    (root, step) = frames(*rows, *inside, row(21, "c[1]/a", b'{"o":1}', status="success"))
    assert [note.name for note in root.notes] == list(told)
    assert [note.name for note in step.notes] == ["frame#0"]
    only = frames(*rows[: len(own)], row(21, "c[1]/a", b'{"o":1}', status="success"))
    assert [line.label for line in only] == ["c[1]/a"]


def test_the_newest_end_of_a_path_is_shown_and_all_of_them_are_paid() -> None:
    first = row(1, "a", b'{"e":{"type":"Boom","message":"no"}}', status="failure", tokens=5)
    second = row(2, "a", b'{"o":1,"l":0.25,"n":3}', tokens=7, cost_micros=10)
    (line,) = frames(first, second)
    assert (line.status, line.earlier_ends, line.attempts, line.seconds) == ("success", 1, 3, 0.25)
    assert line.usage == Usage(10, 12)


def test_a_frame_that_began_and_did_not_end() -> None:
    lines = frames(
        *rows_of(
            ("a", "started", {}),
            ("a", "finished:success", {"o": 1}),
            ("b", "finished:failure", {"e": {"type": "Boom", "message": "no"}}),
            ("b", "started:at_most_once", {}),
        )
    )
    assert [(line.status, line.preview) for line in lines] == [("success", "1"), ("started", "")]


@pytest.mark.parametrize(
    ("what", "body", "preview"),
    [
        ("finished:success", {"o": [1, 2]}, "[1, 2]"),
        ("finished:success", {"o": None, "l": 1}, "None"),
        ("finished:success", {"l": 0.1, "n": 2, "m": {}, "u": []}, ""),
        (
            "finished:success",
            {"live": [["output.model", "sklearn.LogisticRegression", "no codec"]]},
            "live only: output.model (sklearn.LogisticRegression)",
        ),
        (
            "finished:failure",
            {"e": {"type": "ValueError", "message": "one\ntwo", "traceback": "…"}, "o": 1},
            "ValueError: one two",
        ),
        ("finished:failure", {"e": {"type": "KeyError", "message": ""}}, "KeyError"),
        ("finished:failure", {"e": "gone"}, "'gone'"),
        ("finished:paused", {"q": {"message": "Go?", "schema": None}}, "Go?"),
        ("finished:aborted", {"a": {"reason": "quota", "message": "too dear"}}, "too dear"),
        ("finished:launched", {"t": "a/background"}, "{'t': 'a/background'}"),
        ("finished:new", {"of": "later", "l": 1}, "{'of': 'later'}"),
        ("finished:success", [1], "{'body': [1]}"),
    ],
)
def test_what_a_line_says_of_a_body(what: str, body: JSONValue, preview: str) -> None:
    (line,) = frames(*rows_of(("a", what, body)))
    assert line.preview == preview


def test_a_body_that_is_no_json_is_no_reason_to_stop() -> None:
    (line,) = frames(row(1, "a", b"\xff"))
    assert (line.status, line.preview) == ("success", "{'body': None}")


def test_decisions_attempts_and_unknown_kinds_are_notes_of_their_frame() -> None:
    rows = rows_of(
        ("route", "decision", {"v": "billing"}),
        ("route/:billing/a", "attempt:failure", {"e": {"type": "Boom", "message": "no"}}),
        ("route/:billing/a", "novelty", {"x": 1}),
    )
    rows[1] = rows[1]._replace(tokens=9, name="1")
    lines = {line.path: line for line in frames(*rows)}
    (decision,) = lines["route"].notes
    assert (decision.kind, decision.name, decision.preview) == ("decision", "route", "'billing'")
    attempt, novelty = lines["route/:billing/a"].notes
    assert (attempt.status, attempt.usage, attempt.preview) == ("failure", Usage(0, 9), "Boom: no")
    assert (novelty.kind, novelty.preview) == ("novelty", "{'x': 1}")


def test_of_many_notes_the_newest_are_listed() -> None:
    rows = rows_of(*(("a", "decision", {"v": n}) for n in range(12)))
    (line,) = frames(*rows)
    assert [note.preview for note in line.notes] == ["7", "8", "9", "10", "11"]
    assert line.more_notes == 7


def test_of_many_frames_the_first_and_the_last_are_listed_and_the_rest_is_counted() -> None:
    facts = [(f"map/[{n}]", "finished:success", {"o": n}) for n in range(1000)]
    facts[500] = ("map/[500]", "finished:failure", {})
    facts[501] = ("map/[501]", "started", {})
    facts[502] = ("map/[502]/x", "finished:success", {})
    facts.append(("map/[502]/y", "finished:success", {}))
    lines = frames_of(rows_of(*facts), 3)
    shown = [line.path for line in lines if isinstance(line, ShownFrame)]
    assert shown == ["map", *(f"map/[{n}]" for n in (0, 1, 2, 997, 998, 999))]
    (gap,) = (line for line in lines if isinstance(line, Gap))
    assert gap == Gap(1, {"success": 991, "failure": 1, "started": 1, "not ended": 1})
    assert len(frames_of(rows_of(*facts), None)) == 1003


def test_a_gap_is_never_made_for_a_single_frame() -> None:
    facts = [(f"map/[{n}]", "finished:success", {"o": n}) for n in range(7)]
    assert not any(isinstance(line, Gap) for line in frames_of(rows_of(*facts), 3))


def test_a_tree_deeper_than_pythons_stack() -> None:
    path = "/".join(["a"] * 5000)
    (line,) = frames(row(1, path))
    assert (line.depth, line.label) == (0, path)
    both = frames(row(1, path), *(row(n, "/".join(["a"] * n)) for n in range(2, 3000)))
    assert [one.depth for one in both] == list(range(2999))


def test_the_runs_own_end_comes_first_and_its_other_rows_are_no_frame() -> None:
    rows = rows_of(("", "resumed", {}), ("a", "finished:success", {"o": 1}))
    assert [line.path for line in frames(*rows)] == ["a"]
    ended = rows_of(("a", "finished:success", {"o": 1}), ("", "finished:success", {"o": 2}))
    lines = [(line.path, line.label, line.preview) for line in frames(*ended)]
    assert lines == [("", "", "2"), ("a", "a", "1")]


def test_what_was_decided_for_the_whole_run_is_told_of_it() -> None:
    rows = rows_of(
        ("", "decision", {"v": {"data": {"x": 1}, "context": {}}}),
        ("", "decision", {"v": ["text"]}),
        ("", "resumed:crashed", {}),
        ("", "decision", {"v": "left"}),
    )
    rows[0] = rows[0]._replace(name="request")
    rows[1] = rows[1]._replace(name="definition 00ff")
    assert given_to(rows) == "{'x': 1}"
    assert given_to(rows[1:]) is None
    (line,) = frames(*rows)
    assert (line.path, [note.preview for note in line.notes]) == ("", ["'left'"])
    assert frames(*rows[:3]) == []


def test_parts_of_a_path_that_are_no_frames_have_no_lines_unless_they_fork() -> None:
    rows = rows_of(
        ("both/:a/import/x", "finished:success", {"o": 1}),
        ("both/:b/y", "finished:success", {"o": 2}),
        ("both/:b/z", "finished:success", {"o": 3}),
    )
    assert [(line.label, line.depth, line.status) for line in frames(*rows)] == [
        ("both", 0, ""),
        (":a/import/x", 1, "success"),
        (":b", 1, ""),
        ("y", 2, "success"),
        ("z", 2, "success"),
    ]


def test_questions_that_stand_and_questions_that_were_answered() -> None:
    question: JSONValue = {"q": {"message": "Publish?", "schema": None}}
    rows = rows_of(
        ("both/:a/ask", "finished:paused", question),
        ("both/:b/ask", "finished:paused", {"q": {"message": "Sure?", "schema": None}}),
        ("both", "finished:paused", {"q": {"message": "around", "schema": None}}),
    )
    assert questions_of(rows, {"both/:a/ask": b'"yes"'}) == [
        Question("both/:a/ask", "Publish?", "answered", "'yes'"),
        Question("both/:b/ask", "Sure?", "open"),
    ]
    went_on = [*rows, *rows_of(("both/:b/ask", "finished:success", {"o": 1}))]
    assert [one.state for one in questions_of(went_on, {"both/:a/ask": b"1"})] == ["answered"]


def test_an_answer_that_was_refused_leaves_its_question_open() -> None:
    rows = rows_of(
        ("ask", "finished:paused", {"q": {"message": "How many?", "schema": None}}),
        ("ask", "superseded", {}),
    )
    assert questions_of(rows, {"ask": b'"many"'}) == [
        Question("ask", "How many?", "refused", "'many'"),
        Question("ask", "How many?", "open"),
    ]


def test_an_answer_to_a_question_that_no_row_tells_of() -> None:
    assert questions_of([], {"gone": b"\xff"}) == [Question("gone", "", "answered", "None")]
