"""What the rows of a run come to."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.journal_image import (
    CRASHED,
    ESTIMATE,
    ONCE,
    PAST,
    Image,
    began_at,
    is_at_or_below,
    kept_rows,
)
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.stores import Row, Source
from flujo_nb.engine.usage import FREE, Usage
from tests.engine.durable import row


def past(seq: int, path: str = "a") -> Row:
    return row(seq, path, "decision", name=PAST)


def finality(*rows: Row) -> bool:
    image = Image(rows)
    return image.is_final(image.finished["a"])


# Final or open.


def test_a_success_is_final() -> None:
    assert finality(row(1))


@pytest.mark.parametrize("status", ["failure", "paused", "aborted", "launched"])
def test_every_other_end_is_open(status: str) -> None:
    assert not finality(row(1, status=status))


def test_a_failure_is_final_once_its_parent_went_past_it() -> None:
    assert finality(row(1, status="failure"), past(2))
    assert not finality(row(1, status="failure"), past(2, "b"))


def test_only_failures_can_be_gone_past() -> None:
    assert not finality(row(1, status="paused"), past(2))


def test_a_failure_after_its_parent_went_on_is_another_one() -> None:
    assert not finality(row(1, status="failure"), past(2), row(3, status="failure"))


@pytest.mark.parametrize("newest", ["success", "failure"])
def test_the_newest_row_of_a_path_holds(newest: str) -> None:
    older = "failure" if newest == "success" else "success"
    assert finality(row(1, status=older), row(2, status=newest)) is (newest == "success")


def test_the_newest_number_is_known() -> None:
    assert Image([row(1), row(7)]).last_seq == 7
    assert Image().last_seq == 0


# What was used.


def test_usage_is_that_of_all_rows_superseded_ones_included() -> None:
    rows = [row(1, status="failure", spent=Usage(tokens=3)), row(2, spent=Usage(tokens=4))]
    image = Image(rows)
    assert image.spent == Usage(tokens=7)
    assert image.uncertain == FREE


@pytest.mark.parametrize(
    ("then", "uncertain"),
    [
        ([], Usage(tokens=9)),
        ([row(2, spent=Usage(tokens=4))], FREE),
        ([row(2, status="paused")], FREE),
        ([row(2, kind="attempt", spent=Usage(tokens=4))], FREE),
        ([row(2, "b")], Usage(tokens=9)),
    ],
)
def test_what_a_frame_was_expected_to_use_is_uncertain_until_it_says(
    then: list[Row], uncertain: Usage
) -> None:
    began = row(1, kind="started", status=ESTIMATE, spent=Usage(tokens=9))
    image = Image([began, *then])
    assert image.uncertain == uncertain
    assert image.spent == sum((Usage(tokens=one.tokens) for one in then), FREE)


def test_what_was_used_below_a_path_counts_what_may_have_been() -> None:
    image = Image(
        [
            row(1, "i/import/x", spent=Usage(tokens=1)),
            row(2, "i", "attempt", spent=Usage(tokens=2)),
            row(3, "i2", spent=Usage(tokens=4)),
            row(4, "i/import/y", "started", status=ESTIMATE, spent=Usage(tokens=8)),
        ]
    )
    assert image.spent_below("i") == Usage(tokens=11)
    assert image.spent_below("") == Usage(tokens=15)


def test_the_attempts_of_a_frame_are_those_since_it_began() -> None:
    rows = [
        row(1, kind="attempt", spent=Usage(tokens=1)),
        row(2, "b", "attempt", spent=Usage(tokens=2)),
        row(3, kind="attempt", spent=Usage(tokens=3)),
        row(4, kind="attempt", spent=Usage(tokens=4)),
        row(5, started=2),
        row(6, kind="attempt", spent=Usage(tokens=5)),
    ]
    assert Image(rows).attempts_of(rows[4]) == [Usage(tokens=3), Usage(tokens=4)]


# Crashes.


def resumed(seq: int, status: str | None = CRASHED) -> Row:
    return row(seq, "", "resumed", status=status)


def test_resumes_after_crashes_are_counted_until_something_new_is_final() -> None:
    assert Image([resumed(1), resumed(2)]).fruitless == 2
    assert Image([resumed(1), row(2), resumed(3)]).fruitless == 1
    assert Image([resumed(1), row(2, status="failure"), resumed(3)]).fruitless == 2


def test_resumes_after_an_orderly_end_are_not_counted() -> None:
    assert Image([resumed(1), resumed(2, None)]).fruitless == 1


# Work behind the run, and steps that may run once only.


@pytest.mark.parametrize(
    ("after", "is_open"),
    [
        ([], True),
        ([row(2, "job/background", status="failure")], True),
        ([row(2, "job/background")], False),
    ],
)
def test_what_was_launched_is_open_until_it_succeeds(after: list[Row], is_open: bool) -> None:
    image = Image([row(1, "job", status="launched", started=None), *after])
    expected = [FramePath.parse("job/background")] if is_open else []
    assert list(image.open_behind()) == expected


@pytest.mark.parametrize(
    ("end", "doubtful"),
    [(None, True), ("success", False), ("failure", False), ("paused", False), ("aborted", True)],
)
def test_a_step_that_began_is_in_doubt_until_its_own_end(end: str | None, doubtful: bool) -> None:
    ends = [] if end is None else [row(2, status=end)]
    assert Image([row(1, kind="started", status=ONCE), *ends]).is_in_doubt("a") is doubtful


def test_a_step_that_may_run_again_is_never_in_doubt() -> None:
    assert not Image([row(1, kind="started", status=ESTIMATE)]).is_in_doubt("a")


# Questions.


def asking(*rows: Row) -> list[str]:
    return [one.path for one in Image(rows).asking()]


def test_it_is_the_innermost_paused_frames_that_ask() -> None:
    rows = [row(n, path, status="paused") for n, path in enumerate(["p/:a/x", "p/:b", "p", ""], 1)]
    assert asking(*rows) == ["p/:a/x", "p/:b"]


def test_a_question_that_was_answered_and_done_with_asks_no_more() -> None:
    assert asking(row(1, status="paused"), row(2, "", status="paused"), row(3)) == []


@pytest.mark.parametrize("end", ["failure", "success", "aborted"])
def test_a_question_is_withdrawn_when_what_is_around_it_ended_later(end: str) -> None:
    rows = [row(1, "p/:a/x", status="paused"), row(2, "p", status=end)]
    assert asking(*rows) == []
    assert asking(*(one._replace(seq=3 - one.seq) for one in reversed(rows))) == ["p/:a/x"]


def test_a_question_behind_the_run_stands_however_the_run_ends() -> None:
    assert asking(row(1, "job/background", status="paused"), row(2, "")) == ["job/background"]


def test_an_answer_is_to_the_newest_form_of_its_question() -> None:
    image = Image([row(1, kind="superseded"), row(2, kind="superseded")])
    assert image.pause_id("a") == "a@2"
    assert image.pause_id("b") == "b"
    answers = {"a": b"1", "a@1": b"2", "a@2": b"3", "b": b"4", "b@1": b"5"}
    assert image.answered(answers) == {"a": b"3", "b": b"4"}


# Forks.


@pytest.mark.parametrize(
    ("path", "above", "inside"),
    [
        ("a/b", "a", True),
        ("a", "a", True),
        ("ab", "a", False),
        ("a", "a/b", False),
        ("a/b", "", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_what_stands_inside_a_frame(path: str, above: str, inside: bool) -> None:
    assert is_at_or_below(path, above) is inside


def test_a_frame_began_before_its_first_end() -> None:
    rows = [row(5, "a"), row(6, "b", started=5), row(9, "b", started=8)]
    assert began_at(rows, "b") == 5
    assert began_at(rows, "c") is None


def test_a_frame_that_never_ended_began_when_something_inside_it_did() -> None:
    assert began_at([row(4, "l/[0]/x", started=3)], "l") == 3
    assert began_at([row(4, "x", "started", status=ONCE)], "x") == 3


def test_a_container_that_a_crash_went_through_began_before_what_it_then_had() -> None:
    rows = [row(4, "l/[0]/x", started=3), row(5, "", "resumed"), row(7, "l", started=5)]
    assert began_at(rows, "l") == 3


def test_what_a_run_was_begun_with_is_before_its_root() -> None:
    rows = [row(1, "", "decision", name="request"), row(2, "a", started=1), row(3, "", started=1)]
    assert began_at(rows, "") == 1


def kept(*rows: Row, upto: int) -> list[tuple[str, str]]:
    return [(one.kind, one.path) for one in kept_rows(rows, Source("r", upto))]


def test_a_fork_keeps_final_ends_and_decisions() -> None:
    rows: list[Any] = [
        row(1, "", "decision", name="request"),
        row(2, "a"),
        row(3, "b", status="failure"),
        past(4, "b"),
        row(5, "c", status="failure"),
        row(6, "d", "attempt"),
        row(7, "d", status="paused"),
        row(8, "", "resumed"),
        row(9, "e"),
    ]
    expected = [("decision", ""), ("finished", "a"), ("finished", "b"), ("decision", "b")]
    assert kept(*rows, upto=8) == expected
    assert kept(*rows, upto=9) == [*expected, ("finished", "e")]


def test_a_failure_that_was_gone_past_only_later_is_not_kept() -> None:
    assert kept(row(1, "b", status="failure"), past(2, "b"), upto=1) == []


@pytest.mark.parametrize(
    ("ends", "doubtful"),
    [([row(3)], True), ([], True), ([row(3, status="failure")], False)],
    ids=["it worked", "nobody knows", "it raised"],
)
def test_what_may_run_once_and_did_is_in_doubt_in_a_fork(ends: list[Row], doubtful: bool) -> None:
    rows = kept_rows([row(2, kind="started", status=ONCE), *ends], Source("r", 1))
    image = Image(rows)
    assert image.is_in_doubt("a") is doubtful
    assert image.last_seq <= 1


def test_what_ran_once_before_a_fork_is_no_question() -> None:
    rows = [row(1, kind="started", status=ONCE), row(2), row(3, "b")]
    assert not Image(kept_rows(rows, Source("r", 2))).is_in_doubt("a")
