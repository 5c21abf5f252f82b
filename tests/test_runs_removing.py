"""``flujo-nb runs delete`` and ``prune``: what goes is what was announced, and nothing else."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flujo_nb.cli import main
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Source
from flujo_nb.exit_codes import PASSED
from flujo_nb.runs_cli import NotDone, prunable
from tests.runs import ASKED, DONE, OWNER, do, ids, keep, row, said, stored

DAY = 86_400.0


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_who_says_yes_is_rid_of_what_was_announced(
    answer: str,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    do(keep(store, "r1", DONE))
    do(keep(store, "r2", DONE))
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    text = said(store, "delete", "r1")
    assert capsys.readouterr().err.startswith("delete 1 run (")
    assert text.splitlines()[1].split()[:2] == ["r1", "completed"]
    assert text.splitlines()[-1].startswith("deleted 1 run, ")
    assert ids(store) == ["r2"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yep\n"])
def test_anything_but_yes_is_no(
    answer: str, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(keep(store, "r1", DONE))
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(NotDone, match="nothing was deleted"):
        said(store, "delete", "r1")
    assert ids(store) == ["r1"]


def test_forks_go_before_what_they_were_forked_from(store: MemoryStore) -> None:
    do(keep(store, "r1", DONE))
    do(keep(store, "r2", DONE, source=Source("r1", 1)))
    do(keep(store, "r3", DONE, source=Source("r2", 1)))
    with pytest.raises(NotDone):
        said(store, "delete", "r1", "--yes")
    assert said(store, "delete", "r2", "r1", "r3", "r1", "--yes").count("deleted 3 runs") == 1
    assert ids(store) == []


def test_what_cannot_go_stays_and_the_others_go(store: MemoryStore) -> None:
    do(keep(store, "r1", DONE))
    do(keep(store, "r2", DONE, status=None, owner=OWNER))
    do(keep(store, "r3", DONE))
    with pytest.raises(NotDone, match="r2"):
        said(store, "delete", "r1", "r2", "r3", "--yes")
    assert ids(store) == ["r2"]


def test_runs_that_were_not_touched_for_so_long(store: MemoryStore) -> None:
    do(keep(store, "r1", DONE))
    do(keep(store, "r2", DONE, status=None, owner=OWNER))
    assert said(store, "prune", "--older-than", "30d", "--yes", later=29 * DAY).startswith(
        "nothing to prune"
    )
    dry = said(store, "prune", "--older-than", "30d", "--dry-run", later=31 * DAY)
    assert dry.splitlines()[1].split()[0] == "r1"
    assert dry.splitlines()[-1].startswith("dry run: 1 run (")
    assert ids(store) == ["r1", "r2"]
    done = said(store, "prune", "--older-than", "30d", "--yes", later=31 * DAY)
    assert done.splitlines()[:-1] == dry.splitlines()[:-1]
    assert ids(store) == ["r2"]


def test_a_run_whose_owner_died_can_be_pruned(store: MemoryStore) -> None:
    dead = replace(this_process(), process_start="1")
    do(keep(store, "r1", DONE, status=None, owner=dead))
    said(store, "prune", "--older-than", "1h", "--yes", later=DAY)
    assert ids(store) == []


def test_a_run_that_was_touched_after_it_was_announced_stays(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(keep(store, "r1", ASKED, status="paused"))
    do(keep(store, "r2", DONE))

    class Meanwhile(Terminal):
        def readline(self, size: int | None = -1, /) -> str:
            do(store.answer("r1", "ask", b"1"))
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Meanwhile())
    with pytest.raises(NotDone, match="touched meanwhile: r1"):
        said(store, "prune", "--older-than", "1h", later=DAY)
    assert ids(store) == ["r1"]


OLD = [
    stored(f"r{n}", updated_at=float(n), size=100, owner=OWNER if n == 2 else None)
    for n in range(6)
]


@pytest.mark.parametrize(
    ("older_than", "down_to", "going"),
    [
        (2.5, None, ["r0", "r1"]),
        (None, 1200, []),
        (None, 700, ["r0", "r1", "r3"]),
        (None, 0, ["r0", "r1", "r3", "r4", "r5"]),
        (2.5, 900, ["r0", "r1"]),
        (1.5, 500, ["r0", "r1", "r3", "r4"]),
        (0.0, None, []),
    ],
)
def test_what_pruning_removes(
    older_than: float | None, down_to: int | None, going: list[str]
) -> None:
    found = prunable(OLD[::-1], 1200, older_than, down_to)
    assert [run.run_id for run in found] == going


def test_what_a_run_that_stays_was_forked_from_is_not_pruned() -> None:
    runs = [
        stored("base", updated_at=1.0),
        stored("old", updated_at=2.0, source=Source("base", 1)),
        stored("other", updated_at=3.0),
        stored("live", updated_at=4.0, source=Source("other", 1), owner=OWNER),
    ]
    assert [run.run_id for run in prunable(runs, 0, 10.0, None)] == ["old", "base"]


def test_removing_from_a_store_on_disk_makes_its_file_smaller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.db"
    digest = b"\x01" * 32
    body = b'{"o":{"$":"bytes","blob":"%s","size":900000}}' % digest.hex().encode()

    async def fill() -> None:
        made = SqliteStore(path)
        await keep(made, "small", DONE)
        await keep(made, "big", row(1, "a", body), blobs={digest: os.urandom(900_000)})
        await made.aclose()

    do(fill())
    assert path.stat().st_size > 900_000
    assert main(["runs", "delete", "big", "--yes", "--store", str(path)]) == PASSED
    assert path.stat().st_size < 500_000
    assert "deleted 1 run, " in capsys.readouterr().out
    assert main(["runs", "prune", "--down-to", "0kB", "--yes", "--store", str(path)]) == PASSED
    assert main(["runs", "list", "--store", str(path)]) == PASSED
    assert capsys.readouterr().out.endswith(f"no runs in {path}\n")
