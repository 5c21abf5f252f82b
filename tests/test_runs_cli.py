"""``flujo-nb runs``: what it finds, what it removes, what it writes, and how it says no."""

from __future__ import annotations

import asyncio
import io
import json
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from flujo_nb import Flujo, Step, step
from flujo_nb.cli import main
from flujo_nb.engine.errors import StoreBusy, StoreError
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.exit_codes import FAILED, MISUSED, PASSED
from flujo_nb.runs_cli import NotDone, write
from tests.house.tree import ROOT
from tests.runs import ASKED, DONE, OWNER, contents, do, keep, row, said


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with three runs, where the command looks for one."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / ".flujo"
    place.mkdir(mode=0o700)

    async def fill() -> None:
        made = SqliteStore(place / "flujo.db")
        await keep(made, "r1", DONE)
        await keep(made, "r2", ASKED, status="paused")
        await keep(made, "r3", DONE, row(2, "send", b'{"e":{}}', status="failure"), status="failed")
        await made.aclose()

    do(fill())
    return place / "flujo.db"


# What is printed, and where.


def test_the_list_of_the_store_in_this_folder(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "list"]) == PASSED
    out, err = capsys.readouterr()
    header, *runs, gap, following = out.splitlines()
    assert header.split()[:4] == ["run", "status", "started", "rows"]
    assert [line.split()[:2] for line in runs] == [
        ["r3", "failed"],
        ["r2", "paused"],
        ["r1", "completed"],
    ]
    assert "1 open" in runs[1]
    assert (gap, following, err) == ("", "next  flujo-nb runs show r3", "")


def test_a_store_that_was_named_is_named_in_what_to_type_next(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "list", "--store", str(path)]) == PASSED
    assert capsys.readouterr().out.endswith(f"next  flujo-nb runs show r3 --store {path}\n")


def test_the_list_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", "--json"]) == PASSED
    made = json.loads(capsys.readouterr().out)
    assert made["format"] == 1
    listed = [(run["run_id"], run["status"], run["open_questions"]) for run in made["runs"]]
    assert listed == [("r3", "failed", 0), ("r2", "paused", 1), ("r1", "completed", 0)]


def test_one_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "show", "r2"]) == PASSED
    out, err = capsys.readouterr()
    assert out.startswith("r2   paused\n  pipeline  triage\n")
    assert "\nquestions\n  open      ask\n            Go?\n" in out
    assert err == ""


def test_looking_changes_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(path.parent)
    for words in (["list"], ["show", "r1"], ["export", "r1", "--blobs"]):
        assert main(["runs", *words]) == PASSED
    assert contents(path.parent) == before


def test_the_question_is_open_until_somebody_answered(store: MemoryStore) -> None:
    do(keep(store, "r1", ASKED, status="paused"))
    assert "1 open" in said(store, "list")
    do(store.answer("r1", "ask", b'"yes"'))
    text = said(store, "list")
    assert "open" not in text
    assert "1 answered" in text
    assert "→ 'yes'" in said(store, "show", "r1")


def test_who_executes_a_run_is_named_and_who_died_doing_it_is_not(store: MemoryStore) -> None:
    dead = replace(this_process(), process_start="1")
    do(keep(store, "r1", DONE, status=None, owner=OWNER))
    do(keep(store, "r2", DONE, status=None, owner=dead))
    lines = {line.split()[0]: line for line in said(store, "list").splitlines() if line}
    assert lines["r1"].split()[1] == "running"
    assert lines["r1"].endswith(str(OWNER))
    assert lines["r2"].split()[1] == "crashed"
    assert str(dead) not in lines["r2"]
    assert f"  owner     {OWNER}\n" in said(store, "show", "r1")
    assert said(store, "show", "r2").startswith("r2   crashed\n")


def test_a_run_of_the_engine_from_its_pause_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.db"

    @step
    def draft(text: str) -> tuple[str, int]:
        return text, len(text)

    ask = Step.human_in_the_loop(name="ask", message_for_user="Publish?")

    def shown() -> str:
        assert main(["runs", "show", "night", "--store", str(path)]) == PASSED
        return capsys.readouterr().out

    async def go() -> tuple[str, str]:
        runner = Flujo(draft >> ask, state_backend=path)
        await runner.run_async("hello", run_id="night")
        paused = await asyncio.to_thread(shown)
        await runner.resume_async("night", "yes")
        await runner.aclose()
        return paused, await asyncio.to_thread(shown)

    paused, done = do(go())
    assert paused.startswith("night   paused\n")
    assert "  given     'hello'\n" in paused
    assert re.search(r"^draft +success .*\('hello', 5\)$", paused, re.M)
    assert "  open      ask\n            Publish?\n" in paused
    assert done.startswith("night   completed\n")
    assert "  answered  ask\n            Publish?\n            → 'yes'\n" in done
    assert main(["runs", "export", "night", "--blobs", "--store", str(path)]) == PASSED
    schema = json.loads((ROOT / "docs/run-export.schema.json").read_text(encoding="utf-8"))
    made = json.loads(capsys.readouterr().out)
    jsonschema.validate(made, schema)
    kinds = {entry["kind"] for entry in made["entries"]}
    assert {"decision", "finished", "resumed"} <= kinds


# What cannot be done.


@pytest.mark.parametrize("words", [["list"], ["show", "r1"], ["export", "r1"], ["delete", "r1"]])
def test_a_store_that_does_not_exist_is_not_made(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs", *words]) == MISUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "flujo-nb: there is no store .flujo/flujo.db: name one with --store PATH, or go to the "
        "folder that has .flujo/flujo.db\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_store(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", "--store", str(path.parent)]) == MISUSED
    assert f"--store {path}" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"SQLite format 3\x00" + b"\x07" * 4080])
def test_a_file_that_is_no_store_is_refused_and_keeps_every_byte(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "runs.db"
    place.write_bytes(content)
    for words in (["list"], ["prune", "--older-than", "0d", "--yes"]):
        assert main(["runs", *words, "--store", str(place)]) == FAILED
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"flujo-nb: {place}")
        assert err.count("\n") == 1
    assert contents(tmp_path) == {"runs.db": content}


def test_an_unknown_run_and_the_nearest(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["show", "r22"], ["export", "r22"], ["delete", "r1", "r22", "--yes"]):
        assert main(["runs", *words]) == FAILED
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (
            f"flujo-nb: there is no run 'r22' in {path}; did you mean 'r2'? "
            "All of them: flujo-nb runs list\n"
        )
    assert main(["runs", "show", "\x1b[31mzzz"]) == FAILED
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "did you mean" not in err
    assert main(["runs", "show", "r1"]) == PASSED


class Locked(MemoryStore):
    """A store that another process holds; it counts who tries."""

    tries = 0

    async def delete(self, run_id: str) -> int:
        self.tries += 1
        raise StoreBusy("x.db is locked by process 7. Run again when it is done.")


def test_a_store_that_is_locked_is_tried_once(capsys: pytest.CaptureFixture[str]) -> None:
    store = Locked()
    do(keep(store, "r1", DONE))
    do(keep(store, "r2", DONE))
    with pytest.raises(NotDone, match=r"^x\.db is locked by process 7\."):
        said(store, "delete", "r1", "r2", "--yes")
    assert store.tries == 1


@pytest.mark.parametrize(
    ("words", "said_so"),
    [
        (["prune"], "--older-than 30d, --down-to 2GB, or both"),
        (["delete", "r1"], "--yes"),
        (["prune", "--older-than", "0d"], "--yes"),
        (["export", "r1", "--output", "no/such/file.json"], "name a file in a folder"),
        (["export", "r1", "--output", "."], "name a file in a folder"),
        (["export", "r1", "--output", ".flujo/flujo.db"], "would overwrite the store"),
        (["export", "r1", "--output", ".flujo/flujo.db-wal"], "would overwrite the store"),
    ],
)
def test_what_cannot_be_meant_is_said_and_nothing_is_done(
    words: list[str],
    said_so: str,
    path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    before = contents(path.parent)
    assert main(["runs", *words]) == MISUSED
    assert said_so in capsys.readouterr().err
    assert contents(path.parent) == before


@pytest.mark.parametrize(
    "words", [[], ["drop"], ["list", "--since"], ["prune", "--older-than", "1w"]]
)
def test_wrong_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["runs", *words])
    assert exit_.value.code == MISUSED
    assert "usage: flujo-nb" in capsys.readouterr().err


# Exporting.


def test_an_export_to_stdout_and_to_a_file_is_the_same(
    path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["runs", "export", "r3"]) == PASSED
    out, err = capsys.readouterr()
    made = json.loads(out)
    assert [entry["path"] for entry in made["entries"]] == ["draft", "send"]
    assert err == ""
    target = tmp_path / "r3.json"
    target.write_text("old")
    assert main(["runs", "export", "r3", "--output", str(target)]) == PASSED
    assert target.read_text() == out
    assert capsys.readouterr().out.startswith(f"{target}   ")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == [".flujo", "r3.json"]


def test_an_export_with_blobs(store: MemoryStore) -> None:
    digest = b"\x01" * 32
    body = b'{"o":{"$":"bytes","blob":"%s","size":3}}' % digest.hex().encode()
    do(keep(store, "r1", row(1, "a", body), blobs={digest: b"abc"}))
    made = json.loads(said(store, "export", "r1", "--blobs"))
    assert made["blobs"] == {digest.hex(): "YWJj"}
    assert "blobs" not in json.loads(said(store, "export", "r1"))


def test_a_failed_export_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "r1.json"
    target.write_text("old")

    def broken() -> object:
        yield "{"
        raise StoreError("gone")

    with pytest.raises(StoreError):
        write(target, broken())  # type: ignore[arg-type]
    assert contents(tmp_path) == {"r1.json": b"old"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotDone, match=r"r1\.json was not written: No such file"):
        write(tmp_path / "no" / "r1.json", ["{}"])


def test_a_reader_that_has_enough_is_no_error(path: Path) -> None:
    command = [sys.executable, "-m", "flujo_nb.cli", "runs", "list", "--store", str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == PASSED
