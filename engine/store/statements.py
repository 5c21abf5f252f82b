"""The statements of a store in sqlite: constant texts, so that each is compiled once.

An entry's id is its run's number shifted left by 32 bits, plus its seq: rows of one run lie side
by side, in order, and a row costs one page of the log.
"""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter

from ..errors import StoreRefused
from ..stores import Owner, Row, Source, StoredRun

_OWNERS = TypeAdapter(Owner)

LAST_SEQ: Final = (1 << 32) - 1

RUN_NUMBER: Final = "select number from run where id = ?"
NEW_RUN: Final = (
    "insert into run (id, status, created_at, updated_at, about, source, upto)"
    " values (?, 'running', ?, ?, ?, ?, ?)"
)
OWNER_OF: Final = "select number, owner, expires from run where id = ?"
KEY: Final = "select value from key"
NEXT_FENCE: Final = "update counter set value = value + 1 where name = 'fence'"
FENCE: Final = "select value from counter where name = 'fence'"
LEND: Final = (
    "update run set status = 'running', fence = ?, owner = ?, expires = ?, updated_at = ?"
    " where number = ?"
)
RENEW: Final = "update run set expires = ? where number = ? and fence = ?"
HELD: Final = "select number from run where id = ? and fence = ?"
REST: Final = (
    "update run set status = ?, updated_at = ?, fence = null, owner = null, expires = null"
    " where number = ?"
)
TOUCH: Final = "update run set updated_at = ? where number = ?"

APPEND: Final = (
    "insert into entry select (?1 << 32) + ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14"
    " where exists (select 1 from run where number = ?1 and fence = ?15)"
)


def _append_all(count: int) -> str:
    """The statement that writes ``count`` rows or none: run's number, fence, then row by row."""
    rows = []
    for first in range(3, 3 + 13 * count, 13):
        values = ", ".join(f"?{number}" for number in range(first + 1, first + 13))
        rows.append(
            f"select (?1 << 32) + ?{first}, {values}"
            " where exists (select 1 from run where number = ?1 and fence = ?2)"
        )
    return "insert into entry " + " union all ".join(rows)


APPEND_FEW: Final = {count: _append_all(count) for count in range(1, 5)}
"""By the number of rows; decisions ride with the frame that ends next."""

ADD_BLOB: Final = "insert or ignore into blob (digest, body) values (?, ?)"
USE_BLOB: Final = "insert or ignore into blob_use (run, digest) values (?, ?)"
BLOB: Final = "select body from blob where digest = ?"
ADD_ANSWER: Final = "insert or ignore into answer (run, pause, body, at) values (?, ?, ?, ?)"
ANSWER: Final = "select body from answer where run = ? and pause = ?"
ANSWERS: Final = "select pause, body from answer where run = ? order by at"

NO_ROW: Final = Row._make([None] * len(Row._fields))
# These tell a run without rows or answers, by one row of nulls, from one that is not there.
ROWS: Final = (
    "select entry.id & 4294967295, path, kind, name, entry.status, definition, input, started, at,"
    " cost_micros, tokens, requests, body"
    " from run left join entry on entry.id > run.number << 32"
    " and entry.id <= (run.number << 32) + ?2 where run.id = ?1 order by entry.id"
)
RUN_ANSWERS: Final = (
    "select pause, body from run left join answer on answer.run = run.number where run.id = ?"
    " order by answer.at"
)

_TOLD: Final = """
select run.id, run.status, run.created_at, max(run.updated_at, ifnull(max(entry.at), 0)),
    run.about, run.owner, (select id from run as base where base.number = run.source), run.upto,
    count(entry.id), ifnull(max(entry.id) & 4294967295, 0),
    (select count(*) from answer where answer.run = run.number),
    length(run.about) + ifnull(sum(length(entry.path) + length(entry.body)), 0)
        + (select ifnull(sum(length(body)), 0) from answer where answer.run = run.number)
        + (select ifnull(sum(length(blob.body)), 0) from blob_use
            join blob on blob.digest = blob_use.digest where blob_use.run = run.number),
    ifnull(sum(cost_micros) filter (where kind <> 'started'), 0),
    ifnull(sum(tokens) filter (where kind <> 'started'), 0),
    ifnull(sum(requests) filter (where kind <> 'started'), 0)
from run left join entry
    on entry.id > run.number << 32 and entry.id < (run.number + 1) << 32
"""
TOLD_RUN: Final = _TOLD + "where run.id = ? group by run.number"
TOLD_RUNS: Final = _TOLD + "group by run.number order by run.created_at desc, run.number desc"

FORK_OF: Final = "select id from run where source = ?"
DROP: Final = (
    "delete from entry where id > ?1 << 32 and id < (?1 + 1) << 32",
    "delete from answer where run = ?",
    "delete from blob where digest in (select digest from blob_use where run = ?1)"
    " and not exists (select 1 from blob_use"
    " where blob_use.digest = blob.digest and blob_use.run <> ?1)",
    "delete from blob_use where run = ?",
    "delete from run where number = ?",
)
USED: Final = (
    "select (page_count - freelist_count) * page_size"
    " from pragma_page_count, pragma_freelist_count, pragma_page_size"
)
FREE_PAGES: Final = "pragma freelist_count"
SHRINK: Final = "pragma incremental_vacuum(1024)"


def owner_text(owner: Owner) -> str:
    """An owner as its column holds it: a JSON object."""
    return _OWNERS.dump_json(owner).decode()


def owner_of(text: str | None) -> Owner | None:
    """The owner of that text, if there is one."""
    if text is None:
        return None
    try:
        return _OWNERS.validate_json(text, strict=True)
    except ValueError as error:
        raise StoreRefused(f"The store is damaged: {text[:200]!r} is no owner of a run.") from error


def told(
    run_id: str,
    status: str,
    created_at: float,
    updated_at: float,
    about: bytes,
    owner: str | None,
    source: str | None,
    upto: int,
    *counts: int,
) -> StoredRun:
    """A row of `TOLD_RUN` or `TOLD_RUNS` as a value."""
    base = Source(source, upto) if source is not None else None
    held_by = owner_of(owner)
    return StoredRun(run_id, status, created_at, updated_at, about, held_by, base, *counts)


def pair(pause: str | None, body: bytes) -> tuple[str | None, bytes]:
    """A row of `RUN_ANSWERS` as a value."""
    return pause, body
