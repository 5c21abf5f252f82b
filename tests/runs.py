"""Stored runs and rows as a store gives them, stores that hold some, and the command on those."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TypeVar

from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.stores import Owner, Row, Source, Store, StoredRun
from flujo_nb.runs_cli import Desk, add_runs

OWNER = Owner("ada", "boot", "ns", 12, "99", "notebook")


def stored(run_id: str = "r1", **other: object) -> StoredRun:
    facts: dict[str, object] = {
        "status": "completed",
        "created_at": 1_700_000_000.25,
        "updated_at": 1_700_000_100.0,
        "about": b'{"pipeline":"triage","version":"2"}',
        "owner": None,
        "source": None,
        "rows": 2,
        "last_seq": 2,
        "answered": 0,
        "size": 812,
        "cost_micros": 12_000,
        "tokens": 1234,
        "requests": 2,
    }
    return StoredRun(run_id, **{**facts, **other})  # type: ignore[arg-type]


def row(seq: int = 1, path: str = "draft", body: bytes = b"{}", **other: object) -> Row:
    facts: dict[str, object] = {
        "kind": "finished",
        "name": path,
        "status": "success",
        "definition": b"\x01" * 16,
        "input": b"\xff" * 16,
        "started": seq - 1,
        "at": 1_700_000_000.0 + seq,
        "cost_micros": 0,
        "tokens": 0,
        "requests": 0,
    }
    return Row(seq=seq, path=path, body=body, **{**facts, **other})  # type: ignore[arg-type]


T = TypeVar("T")

DONE = row(1, "draft", b'{"o":"text"}')
ASKED = row(1, "ask", b'{"q":{"message":"Go?","schema":null}}', status="paused")


def do(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)


async def keep(
    store: Store,
    run_id: str,
    *rows: Row,
    status: str | None = "completed",
    source: Source | None = None,
    owner: Owner | None = None,
    blobs: Mapping[bytes, bytes] | None = None,
) -> None:
    """Put a run into a store; without a ``status`` its owner keeps it."""
    about = b'{"pipeline":"triage"}'
    lease = await store.create(run_id, about, owner or this_process(), source)
    if rows:
        await store.append(lease, rows, blobs or {})
    if status is not None:
        await store.rest(lease, status, (), {})


def ids(store: Store) -> list[str]:
    return sorted(run.run_id for run in store.runs())


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_runs(parser.add_subparsers())
    return parser.parse_args(["runs", *words])


def said(store: Store, *words: str, later: float = 0.0, loop: asyncio.Runner | None = None) -> str:
    """What the command prints, ``later`` seconds from now."""

    def used() -> int:
        return sum(run.size for run in store.runs())

    options = parsed(*words)
    with asyncio.Runner() as own:
        desk = Desk(store, used, loop or own, time.time() + later)
        return "\n".join(options.work(desk, options))


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}
