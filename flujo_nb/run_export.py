"""A stored run as one JSON document that other programs can read: ``docs/runs.md`` describes it.

Bodies go in as the JSON that they are, byte for byte where they are ASCII. The text that comes out
is ASCII throughout, so that it means the same in every terminal, file and encoding.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NoReturn

from .engine.step_config import JSONValue
from .engine.stores import Row, StoredRun
from .engine.usage import Usage

FORMAT = 1
"""The version of the document; it changes when a reader of the one before could be misled."""

_NOT_ASCII = re.compile(r"[^\x00-\x7e]")


def export_lines(
    run: StoredRun,
    rows: Iterable[Row],
    answers: Mapping[str, bytes],
    blobs: Mapping[str, Callable[[], bytes]] | None = None,
) -> Iterator[str]:
    """The lines of the document: each answer, entry and blob has a line of its own.

    ``blobs`` gives the bytes of each digest (hex) when asked; ``None`` leaves the member out.
    """
    yield f'{{"format": {FORMAT},'
    yield f'"run": {json.dumps(run_facts(run))},'
    pairs = ({"pause": pause} for pause in answers)
    yield from _array("answers", map(_with_body, pairs, answers.values()))
    entries = (_with_body(entry_facts(row), row.body) for row in rows)
    if blobs is None:
        yield from _array("entries", entries, closing="]}")
        return
    yield from _array("entries", entries)
    members = (
        f"{json.dumps(digest)}: {json.dumps(base64.b64encode(read()).decode())}"
        for digest, read in blobs.items()
    )
    yield '"blobs": {'
    yield from _separated(members)
    yield "}}"


def run_facts(run: StoredRun) -> dict[str, JSONValue]:
    """The member ``run`` of the document: what is known of a run without its entries."""
    source = run.source
    return {
        "run_id": run.run_id,
        "status": run.status,
        "created": iso(run.created_at),
        "updated": iso(run.updated_at),
        "about": parsed(run.about),
        "owner": None if run.owner is None else str(run.owner),
        "source": None if source is None else {"run_id": source.run_id, "upto": source.upto},
        "rows": run.rows,
        "last_seq": run.last_seq,
        "answered": run.answered,
        "size": run.size,
        "usage": _usage(run.cost_micros, run.tokens, run.requests),
    }


def entry_facts(row: Row) -> dict[str, JSONValue]:
    """An entry of the document, all but its body."""
    return {
        "seq": row.seq,
        "path": row.path,
        "kind": row.kind,
        "name": row.name,
        "status": row.status,
        "definition": None if row.definition is None else row.definition.hex(),
        "input": None if row.input is None else row.input.hex(),
        "started": row.started,
        "at": iso(row.at),
        "usage": _usage(row.cost_micros, row.tokens, row.requests),
    }


def parsed(body: bytes) -> JSONValue:
    """The value of a body; ``None`` where it is no JSON."""
    text = json_text(body)
    if text is None:
        return None
    value: JSONValue = json.loads(text)
    return value


def json_text(body: bytes) -> str | None:
    """A body as ASCII JSON, or ``None`` when it is none. NaN and infinities are none."""
    try:
        text = body.decode()
        json.loads(text, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    # What is not ASCII stands inside strings, where its escape means the same.
    return text if text.isascii() else _NOT_ASCII.sub(_escape, text)


def iso(at: float) -> str:
    """A time in ISO 8601, in UTC, to the microsecond: ``2025-03-01T12:00:00.000000Z``."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _with_body(facts: Mapping[str, JSONValue], body: bytes) -> str:
    """A JSON object of ``facts`` and the body; one that is no JSON becomes ``unreadable``."""
    text = json_text(body)
    if text is None:
        return json.dumps({**facts, "body": None, "unreadable": base64.b64encode(body).decode()})
    return f'{json.dumps(facts)[:-1]}, "body": {text}}}'


def _array(name: str, members: Iterable[str], closing: str = "],") -> Iterator[str]:
    yield f'"{name}": ['
    yield from _separated(members)
    yield closing


def _separated(members: Iterable[str]) -> Iterator[str]:
    waiting: str | None = None
    for member in members:
        if waiting is not None:
            yield f"{waiting},"
        waiting = member
    if waiting is not None:
        yield waiting


def _usage(cost_micros: int, tokens: int, requests: int) -> dict[str, JSONValue]:
    used = Usage(cost_micros, tokens, requests)
    return {"cost_usd": used.cost_usd, "tokens": tokens, "requests": requests}


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # what reads it could write it as Infinity
        raise ValueError(f"{digits} is out of range")
    return number


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
