"""A stored run as JSON: whole, exact, and as its schema says."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from typing import cast

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.engine.stores import Row, Source, StoredRun
from flujo_nb.run_export import export_lines, iso, json_text, run_facts
from tests.house.tree import ROOT
from tests.runs import OWNER, row, stored

SCHEMA = json.loads((ROOT / "docs/run-export.schema.json").read_text(encoding="utf-8"))


def document(
    run: StoredRun,
    *rows: Row,
    answers: Mapping[str, bytes] | None = None,
    blobs: Mapping[str, bytes] | None = None,
) -> dict[str, object]:
    """The parsed export, which is as the schema says."""

    def read(digest: str) -> bytes:
        return (blobs or {})[digest]

    readers = None if blobs is None else {one: partial(read, one) for one in blobs}
    text = "\n".join(export_lines(run, rows, answers or {}, readers))
    assert text.isascii()
    made = json.loads(text, parse_constant=pytest.fail)
    jsonschema.validate(made, SCHEMA, format_checker=jsonschema.FormatChecker())
    return cast(dict[str, object], made)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_run_without_anything() -> None:
    made = document(stored(rows=0, last_seq=0))
    assert list(made) == ["format", "run", "answers", "entries"]
    assert (made["format"], made["answers"], made["entries"]) == (1, [], [])


def test_what_is_known_of_the_run() -> None:
    run = stored(owner=OWNER, source=Source("r0", 7), status="running")
    assert document(run)["run"] == {
        "run_id": "r1",
        "status": "running",
        "created": "2023-11-14T22:13:20.250000Z",
        "updated": "2023-11-14T22:15:00.000000Z",
        "about": {"pipeline": "triage", "version": "2"},
        "owner": "notebook, process 12 on ada",
        "source": {"run_id": "r0", "upto": 7},
        "rows": 2,
        "last_seq": 2,
        "answered": 0,
        "size": 812,
        "usage": {"cost_usd": 0.012, "tokens": 1234, "requests": 2},
    }


def test_entries_and_answers_in_their_order_with_bodies_as_they_are() -> None:
    paused = row(2, "ask", b'{"q":{"message":"Go?","schema":null}}', status="paused")
    made = document(
        stored(),
        row(1, body='{"o":{"name":"Zoë"},"l":0.25}'.encode(), cost_micros=12_000, tokens=10),
        paused._replace(definition=None, input=None, started=None, name=None),
        answers={"ask": b'"yes"'},
    )
    assert made["answers"] == [{"pause": "ask", "body": "yes"}]
    first, second = cast(list[dict[str, object]], made["entries"])
    assert first == {
        "seq": 1,
        "path": "draft",
        "kind": "finished",
        "name": "draft",
        "status": "success",
        "definition": "01" * 16,
        "input": "ff" * 16,
        "started": 0,
        "at": "2023-11-14T22:13:21.000000Z",
        "usage": {"cost_usd": 0.012, "tokens": 10, "requests": 0},
        "body": {"o": {"name": "Zoë"}, "l": 0.25},
    }
    nothing = (second["definition"], second["input"], second["started"], second["name"])
    assert nothing == (None, None, None, None)
    assert second["body"] == {"q": {"message": "Go?", "schema": None}}


def test_each_entry_has_a_line_of_its_own() -> None:
    lines = list(export_lines(stored(), [row(1), row(2), row(3)], {}))
    assert [json.loads(line.rstrip(","))["seq"] for line in lines[5:-1]] == [1, 2, 3]


def test_blobs_are_there_only_when_asked_for_and_read_one_by_one() -> None:
    assert "blobs" not in document(stored())
    content = bytes(range(256))
    made = document(stored(), row(), blobs={"ab" * 32: content, "cd" * 32: b""})
    blobs = cast(dict[str, str], made["blobs"])
    assert base64.b64decode(blobs["ab" * 32]) == content
    assert blobs["cd" * 32] == ""
    read: list[str] = []

    def reader(digest: str) -> bytes:
        read.append(digest)
        return b""

    blobs_of = {digest: partial(reader, digest) for digest in ("ab" * 32, "cd" * 32)}
    lines = export_lines(stored(), [row()], {}, blobs_of)
    while '"blobs": {' not in next(lines):
        pass
    assert read == []
    assert len(list(lines)) == 3
    assert read == ["ab" * 32, "cd" * 32]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"o":NaN}', b'{"o":-Infinity}', b'{"o":1e999}', b"[" * 100_000]
)
def test_a_body_that_is_no_json_comes_as_its_bytes(body: bytes) -> None:
    made = document(stored(about=body), row(body=body), answers={"ask": body})
    (entry,) = cast(list[dict[str, object]], made["entries"])
    (answer,) = cast(list[dict[str, object]], made["answers"])
    for one in (entry, answer):
        assert one["body"] is None
        assert base64.b64decode(cast(str, one["unreadable"])) == body
    assert cast(dict[str, object], made["run"])["about"] is None


def test_numbers_keep_all_their_digits() -> None:
    body = b'{"o":[12345678901234567890123456789,1.50,1E5,"\\ud800"]}'
    assert json_text(body) == body.decode()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_json_comes_back_equal(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        code = json_text(text.encode("utf-8", "surrogatepass"))
        if code is None:  # a lone surrogate that was not escaped is no UTF-8
            assert any("\ud800" <= char <= "\udfff" for char in text)
        else:
            assert code.isascii()
            assert json.loads(code) == value


def test_hostile_names_stay_data() -> None:
    name = '","x": 1} \x1b[31m \u202e \ud800'
    made = document(stored(name), row(path=name, name=name), answers={name: b"1"})
    (entry,) = cast(list[dict[str, object]], made["entries"])
    assert (entry["path"], entry["name"]) == (name, name)
    assert cast(dict[str, object], made["run"])["run_id"] == name
    assert cast(list[dict[str, object]], made["answers"])[0]["pause"] == name


def test_times_have_always_the_same_form() -> None:
    assert [iso(0), iso(1.5)] == ["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:01.500000Z"]


def test_the_list_and_the_export_tell_the_same_of_a_run() -> None:
    assert run_facts(stored()) == document(stored())["run"]
