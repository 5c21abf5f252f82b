"""Stored runs as text: units, tables, and nothing that steers a terminal or tells a secret."""

from __future__ import annotations

import time

import pytest

from flujo_nb.engine.stores import Source, StoredRun
from flujo_nb.engine.usage import Usage
from flujo_nb.run_views import (
    age_of,
    bytes_of,
    command,
    counted,
    list_text,
    pipeline_of,
    show_text,
    size_text,
    used_text,
    when_text,
)
from tests.runs import OWNER, row, stored

NOW = 1_700_000_000.25 + 3 * 3600
KEY = "sk-" + "a1B2c3D4" * 3


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("90m", 5_400), ("0.5 h", 1_800)]
)
def test_ages(text: str, seconds: float) -> None:
    assert age_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5MB", 1_500_000), ("500kB", 500_000), ("0B", 0), ("7 kB", 7_000)],
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1w", "1e9d", "٣d", "1d2h", "9" * 400])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(ValueError, match="days, hours, minutes"):
        age_of(text)


@pytest.mark.parametrize("text", ["", "2", "2gb", "2GiB", "-2GB", "GB", "2G", "nanGB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="kB, MB or GB"):
        bytes_of(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (1_000, "1.0 kB"),
        (34_000_000, "34 MB"),
        (2_100_000_000, "2.1 GB"),
        (5_000_000_000_000, "5000 GB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3_599, "59 min ago"),
        (7_300, "2 h ago"),
    ],
)
def test_times_of_the_last_day_are_relative(ago: float, text: str) -> None:
    assert when_text(NOW - ago, NOW) == text


def test_other_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        assert when_text(1_700_000_000, 1_700_086_400) == "2023-11-14 23:13"
        assert when_text(1_700_000_000, 1_699_999_000) == "2023-11-14 23:13"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_was_used_and_how_many() -> None:
    assert used_text(Usage()) == ""
    assert used_text(Usage(99)) == "<$0.0001"
    assert used_text(Usage(12_000, 1_234)) == "$0.0120, 1,234 tokens"
    assert [counted(n, "row") for n in (0, 1, 1_234)] == ["", "1 row", "1,234 rows"]


@pytest.mark.parametrize(
    ("about", "text"),
    [
        (b'{"pipeline":"triage"}', "triage"),
        (b'{"pipeline":"triage","version":"2"}', "triage 2"),
        (b'{"pipeline":{"name":"triage","version":"2","x":1}}', "triage 2"),
        (b'{"pipeline":7}', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"\xff", ""),
    ],
)
def test_the_pipelines_name_as_far_as_it_is_told(about: bytes, text: str) -> None:
    assert pipeline_of(stored(about=about)) == text


def test_the_list_is_a_quiet_table_that_ends_with_what_to_type() -> None:
    runs = [
        stored("r2", status="running", owner=OWNER, cost_micros=0, tokens=0),
        stored("r1", status="paused", answered=1, rows=1_204, size=34_000),
    ]
    assert list_text(runs, {"r1": 2}, "/x/flujo.db", NOW).splitlines() == [
        "run  status   started  rows   questions           used                   size   pipeline"
        "  owner",
        "r2   running  3 h ago  2                                                 812 B  triage 2"
        "  notebook, process 12 on ada",
        "r1   paused   3 h ago  1,204  2 open, 1 answered  $0.0120, 1,234 tokens  34 kB  triage 2",
        "",
        "next  flujo-nb runs show r2",
    ]


def test_columns_that_are_empty_are_left_out() -> None:
    run = stored(cost_micros=0, tokens=0, about=b"{}")
    header, *_ = list_text([run], {}, "/x", NOW).splitlines()
    assert header.split() == ["run", "status", "started", "rows", "size"]


def test_a_store_without_runs() -> None:
    assert list_text([], {}, "/x/flujo.db", NOW) == "no runs in /x/flujo.db"


def test_suggested_commands_can_be_typed_as_they_stand() -> None:
    assert command("show", "a b") == "flujo-nb runs show 'a b'"
    assert command("list", store="my runs.db") == "flujo-nb runs list --store 'my runs.db'"
    assert "\x1b" not in command("show", "a\x1b[31m")


def run_of(**facts: object) -> StoredRun:
    return stored("r1", **facts)


def test_a_run_with_everything() -> None:
    run = run_of(
        status="paused",
        source=Source("r0", 7),
        about=b'{"pipeline":"triage","version":"2","limits":null,"note":"by hand"}',
    )
    rows = [
        row(1, "", b'{"v":{"data":[1,2],"context":{}}}', kind="decision", name="request"),
        row(2, "", b'{"v":["source"]}', kind="decision", name="definition 0011"),
        row(1, "", kind="resumed", status=None),
        row(2, "draft", b'{"o":"text","l":0.25,"n":2}', tokens=10),
        row(3, "route", b'{"v":"billing"}', kind="decision", status=None, name="branch"),
        row(4, "route/:billing/ask", b'{"q":{"message":"Refund?","schema":null}}', status="paused"),
        row(5, "route", b'{"q":{"message":"","schema":null}}', status="paused"),
    ]
    assert show_text(run, rows, {}, NOW).splitlines() == [
        "r1   paused",
        "  pipeline  triage 2",
        "  started   3 h ago",
        "  touched   2 h ago",
        "  forked    from r0, with its rows up to 7",
        "  kept      2 rows, 812 B",
        "  used      $0.0120, 1,234 tokens",
        "  resumed   once",
        "  given     [1, 2]",
        "  note      by hand",
        "",
        "frame                status               took    used       output",
        "draft                success, 2 attempts  250 ms  10 tokens  'text'",
        "route                paused",
        "  · decision branch                                          'billing'",
        "  :billing/ask       paused                                  Refund?",
        "",
        "questions",
        "  open      route/:billing/ask",
        "            Refund?",
        "",
        "next  flujo-nb runs export r1",
    ]


def test_answers_stand_below_their_questions() -> None:
    rows = [row(1, "ask", b'{"q":{"message":"Go?","schema":null}}', status="paused")]
    text = show_text(run_of(), rows, {"ask": b'"yes"'}, NOW)
    assert "  answered  ask\n            Go?\n            → 'yes'\n" in text


def test_a_run_without_rows_has_no_tables() -> None:
    text = show_text(run_of(rows=0), [], {}, NOW)
    assert "no rows" in text
    assert "frame" not in text
    assert "questions" not in text


def test_hidden_frames_are_counted_and_there_is_a_way_to_see_them() -> None:
    rows = [row(n + 1, f"map/[{n}]", b'{"o":1}') for n in range(100)]
    text = show_text(run_of(), rows, {}, NOW, store="x.db")
    assert "  … 80 more  80 success" in text
    assert "next  flujo-nb runs show r1 --all --store x.db · flujo-nb runs export r1" in text
    whole = show_text(run_of(), rows, {}, NOW, all_frames=True)
    assert "more" not in whole
    assert "--all" not in whole


HOSTILE = "a\x1b[31m\x9b2J\u202eb\r\nc\x00"


def test_no_data_steers_the_terminal() -> None:
    run = stored(
        HOSTILE,
        status=HOSTILE,
        source=Source(HOSTILE, 1),
        about=b'{"pipeline":"p\\u001b[2J","x\\u001b":"y\\u202e"}',
        owner=OWNER.__class__(HOSTILE, "", "", 1, "", HOSTILE),
    )
    body = b'{"q":{"message":"m\\u001b[2J\\u202e","schema":null}}'
    rows = [
        row(1, f"s{HOSTILE}", body, status="paused"),
        row(2, "d", b'{"\\u001b":"\\u001b"}', kind=HOSTILE, name=HOSTILE, status=HOSTILE),
    ]
    for text in (
        list_text([run], {}, HOSTILE, NOW),
        list_text([], {}, HOSTILE, NOW),
        show_text(run, rows, {HOSTILE: b'"\\u001b"'}, NOW, store=HOSTILE),
    ):
        assert all(char == "\n" or char.isprintable() for char in text)


def test_keys_are_not_shown() -> None:
    code = f'"{KEY}"'.encode()
    rows = [
        row(1, "a", b'{"q":{"message":%s,"schema":null}}' % code, status="paused"),
        row(2, "b", b'{"e":{"type":"X","message":%s}}' % code, status="failure"),
        row(3, "c", b'{"o":{"key":%s}}' % code),
    ]
    about = b'{"pipeline":"p","token":%s}' % code
    text = show_text(run_of(about=about), rows, {"a": code}, NOW)
    assert KEY[:12] not in text
    assert text.count("withheld") == 6
