"""The store of a kernel's sessions: the default one gives way, one that was named is strict."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flujo_nb.engine.errors import StoreFailed
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.errors import RunAborted
from flujo_nb.sessions import StoreUnusable
from tests.durable import Open, opener, said

SEED = "%%flujo step seed -i [1, 2]\ndef seed(x):\n    return x"
GROW = "%%flujo step grow\ndef grow(x):\n    return [*x, len(x)]"


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    return opener(tmp_path, monkeypatch)


UNFIT = {
    "a folder that is a link": lambda folder: (folder / ".flujo").symlink_to("/tmp"),
    "a file in its place": lambda folder: (folder / ".flujo").write_text(""),
    "a file that is no store": lambda folder: _damaged(folder, b"x" * 5000),
    "a folder in the place of the file": lambda folder: (folder / ".flujo/flujo.db").mkdir(
        parents=True
    ),
}


def _damaged(folder: Path, content: bytes) -> None:
    (folder / ".flujo").mkdir(mode=0o700)
    (folder / ".flujo/flujo.db").write_bytes(content)


@pytest.mark.parametrize("case", UNFIT)
def test_the_default_store_never_stops_a_cell(
    kernels: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    UNFIT[case](tmp_path)
    with kernels() as notebook:
        assert notebook.card(SEED).output == [1, 2]
        assert notebook.card(GROW).parent == "f0"
        assert said(capsys).count("kept in memory only: ") == 1
        assert "in memory only" in repr(notebook.view("%flujo"))


def test_a_file_that_was_refused_is_left_as_it_is(kernels: Open, tmp_path: Path) -> None:
    _damaged(tmp_path, b"x" * 5000)
    with kernels() as notebook:
        notebook.run(SEED)
        assert "is damaged" in repr(notebook.view("%flujo doctor"))
    assert (tmp_path / ".flujo/flujo.db").read_bytes() == b"x" * 5000


def test_a_folder_that_is_read_only_keeps_the_session_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    folder = Path("/proc") if os.geteuid() == 0 else tmp_path  # root writes nearly everywhere
    with opener(folder, monkeypatch)() as notebook:
        assert notebook.card(SEED).output == [1, 2]
        assert "kept in memory only: " in said(capsys)


def test_a_store_that_fails_at_work_is_left_and_the_session_goes_on(
    kernels: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        store = notebook.front.sessions.store
        assert store is not None
        notebook.during(store.store.aclose)
        said(capsys)
        assert notebook.card(GROW).output == [1, 2, 2]
        assert "kept in memory only: " in said(capsys)
        assert notebook.card(GROW).output == [1, 2, 2]


def test_a_store_that_is_busy_when_it_is_needed_keeps_the_session_in_memory(
    kernels: Open,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
    monkeypatch.setattr("flujo_nb.session_store.BUSY_S", 0.05)
    with closing(sqlite3.connect(tmp_path / ".flujo/flujo.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        with kernels("b.ipynb") as notebook:
            assert notebook.card(SEED).output == [1, 2]
            assert "locked" in said(capsys)
        other.execute("rollback")
    with kernels() as notebook:
        assert len(notebook.session.entries) == 1


def test_a_step_whose_end_could_not_be_saved_is_not_acknowledged_and_the_next_one_runs(
    kernels: Open, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        store = notebook.front.sessions.store
        assert store is not None
        append, calls = store.store.append, []

        async def full(*given: object) -> None:
            calls.append(given)
            if len(calls) > 1:  # the first notes that the command begins
                raise StoreFailed("the disk is full")
            await append(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(store.store, "append", full)
        error = notebook.error(GROW)
        assert isinstance(error, RunAborted) and "the disk is full" in str(error)
        assert notebook.session.head is notebook.session.entries[0]
        assert "kept in memory only: the disk is full" in said(capsys)
        assert notebook.card(GROW).output == [1, 2, 2]
        assert notebook.api.frames["f0"].output == [1, 2]


def test_a_store_that_was_named_is_strict(kernels: Open, tmp_path: Path) -> None:
    (tmp_path / "mine.db").write_bytes(b"no store at all, but some text")
    with kernels() as notebook:
        notebook.run("%config Flujo.store = 'mine.db'")
        error = notebook.error(SEED)
        assert isinstance(error, StoreUnusable)
        assert "mine.db" in str(error)
        assert notebook.session.entries == []
        assert "is damaged" in repr(notebook.view("%flujo doctor"))
    assert not (tmp_path / ".flujo").exists()


def test_a_store_that_was_named_is_used(kernels: Open, tmp_path: Path) -> None:
    with kernels() as notebook:
        notebook.run("%config Flujo.store = 'mine.db'")
        notebook.run(SEED)
    assert [run.status for run in SqliteStore(tmp_path / "mine.db").runs()] == ["completed"]
    assert not (tmp_path / ".flujo").exists()


def test_no_store_at_all(kernels: Open, tmp_path: Path) -> None:
    with kernels() as notebook:
        notebook.run("%config Flujo.store = None")
        notebook.run(SEED)
        assert "in memory only" in repr(notebook.view("%flujo session"))
    assert list(tmp_path.iterdir()) == []


def test_another_store_holds_from_the_next_session_on_when_there_are_frames(
    kernels: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        notebook.run("%config Flujo.store = None")
        said(capsys)
        assert notebook.card(GROW).parent == "f0"
        assert "%flujo session new" in said(capsys)
        assert notebook.session.keeper.is_stored
        notebook.view("%flujo session new")
        notebook.run(SEED)
        assert not notebook.session.keeper.is_stored


def test_doctor_tells_where_the_newest_rows_are(kernels: Open) -> None:
    with kernels(None) as notebook:
        notebook.run(SEED)
        told = repr(notebook.view("%flujo doctor"))
        assert ": whole: " in told and " in the file, and " in told
        assert " in its write-ahead log, where the newest rows are" in told


def test_a_restored_session_names_the_frame_that_head_was(kernels: Open) -> None:
    with kernels() as notebook:
        for cell in (SEED, GROW, "%flujo back f0"):
            notebook.run(cell)
    with kernels() as notebook:
        told = repr(notebook.view("%flujo"))
        assert "HEAD     none: %flujo back f0 goes on from there" in told
