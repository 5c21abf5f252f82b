"""Sessions that outlive their kernel: where they are kept, how they are bound, what is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.sessions import StoreUnusable
from tests.durable import Open, opener, said

SEED = "%%flujo step seed -i [1, 2]\ndef seed(x):\n    return x"
GROW = "%%flujo step grow\ndef grow(x):\n    return [*x, len(x)]"
BOOM = "%%flujo step boom\ndef boom(x):\n    raise ValueError('no')"
CONTEXT = "from pydantic import BaseModel\nclass Ctx(BaseModel):\n    seen: list[int] = []"
LOCK = "%%flujo step lock\ndef lock(x):\n    import threading\n    return {'a': threading.Lock()}"


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    return opener(tmp_path, monkeypatch)


def test_loading_and_looking_make_nothing(kernels: Open, tmp_path: Path) -> None:
    with kernels() as notebook:
        for line in ("", "frames", "show", "session", "session list", "steps", "doctor"):
            notebook.view(f"%flujo {line}")
        assert list(tmp_path.iterdir()) == []


def test_the_first_frame_makes_the_store_and_says_where_once(
    kernels: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        assert f"kept in {tmp_path / '.flujo' / 'flujo.db'}" in said(capsys)
        notebook.run(GROW)
        assert "kept in" not in said(capsys)
        assert (tmp_path / ".flujo" / ".gitignore").read_text() == "*\n"
        assert (tmp_path / ".flujo").stat().st_mode & 0o777 == 0o700
        assert str(tmp_path) in repr(notebook.view("%flujo"))


def test_a_bound_session_is_restored_without_head_and_says_so_when_it_is_loaded(
    kernels: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        notebook.run(GROW)
        notebook.run(BOOM)
        run_id = notebook.session.run_id
    said(capsys)
    with kernels() as notebook:
        line = f"restored session {run_id} with 3 frames, and no HEAD; go on with  "
        assert f"{line}%flujo back f1  or  %flujo resume f2" in said(capsys)
        assert (notebook.session.run_id, notebook.session.head) == (run_id, None)
        entries = notebook.session.entries
        assert [(one.id, one.name, one.status.value, one.parent) for one in entries] == [
            ("f0", "seed", "completed", None),
            ("f1", "grow", "completed", "f0"),
            ("f2", "boom", "failed", "f1"),
        ]


def test_restored_frames_are_what_they_were(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(
            "from pydantic import BaseModel\nclass Ctx(BaseModel):\n    seen: list[int] = []"
        )
        notebook.run("%flujo session --context Ctx")
        cell = "def {0}(x, context):\n    context.seen.append(len(x))\n    return [*x, '{0}']"
        notebook.run(f"%%flujo step a -i []\n{cell.format('a')}")
        notebook.run(f"%%flujo step b\n{cell.format('b')}")
        before = [notebook.api.frames[one] for one in ("f0", "f1")]
        kept = [(one.data, one.output, one.context, one.context_after) for one in before]
        json = [one._json for one in before]
    with kernels() as notebook:
        notebook.run(
            "from pydantic import BaseModel\nclass Ctx(BaseModel):\n    seen: list[int] = []"
        )
        again = [notebook.api.frames[one] for one in ("f0", "f1")]
        found = [
            (one.data, one.output, repr(one.context), repr(one.context_after)) for one in again
        ]
        assert found == [(*one[:2], *map(repr, one[2:])) for one in kept]
        assert [{**one._json, "duration_s": 0} for one in again] == [
            {**one, "duration_s": 0} for one in json
        ]
        assert json[1]["digest"] is not None and json[1]["digest"] != json[0]["digest"]


def test_loading_a_session_decodes_nothing_and_needs_no_class(kernels: Open) -> None:
    invoice = "from pydantic import BaseModel\nclass Invoice(BaseModel):\n    total: int"
    with kernels() as notebook:
        notebook.run(invoice)
        notebook.run("%%flujo step bill\ndef bill():\n    return Invoice(total=3)")
    with kernels() as notebook:
        assert "bill" in repr(notebook.view("%flujo frames"))
        shown = repr(notebook.card("%flujo show f0"))
        assert "run the cell that defines" in shown and "Invoice" in shown
        assert isinstance(error := notebook.error("%flujo back f0"), UsageError)
        assert "Invoice" in str(error)
        assert notebook.session.head is None
        notebook.run(invoice)
        assert repr(notebook.card("%flujo back f0").output) == "Invoice(total=3)"


def test_a_step_goes_on_from_a_restored_frame(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
    with kernels() as notebook:
        notebook.run("%flujo back f0")
        card = notebook.card(GROW)
        assert (card.id, card.parent, card.output, card.path) == (
            "f1",
            "f0",
            [1, 2, 2],
            "c[2]/grow",
        )


def test_a_cell_that_runs_again_after_a_restart_runs_from_its_parent(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(SEED, "A")
        notebook.run(GROW, "B")
    with kernels() as notebook:
        notebook.run("%flujo back f1")
        again = notebook.card(GROW, "B")
        assert (again.parent, again.output) == ("f0", [1, 2, 2])


def test_without_a_name_of_the_notebook_each_kernel_begins_a_session_and_others_are_listed(
    kernels: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = []
    for _ in range(2):
        with kernels(None) as notebook:
            notebook.run(SEED)
            ids.append(notebook.session.run_id)
    assert "restored" not in said(capsys)
    with kernels(None) as notebook:
        listed = repr(notebook.view("%flujo session list"))
        assert all(run_id in listed for run_id in ids)
        assert "[1, 2]" in repr(notebook.view(f"%flujo session list {ids[0]}"))
        assert f"restored session {ids[0]}" in repr(notebook.view(f"%flujo session use {ids[0]}"))
        assert notebook.card("%flujo back f0").output == [1, 2]


def test_other_notebooks_in_the_folder_have_sessions_of_their_own(kernels: Open) -> None:
    with kernels("a.ipynb") as notebook:
        notebook.run(SEED)
    with kernels("b.ipynb") as notebook:
        assert notebook.session.entries == []
        notebook.run(SEED)
    with kernels("a.ipynb") as notebook:
        assert len(notebook.session.entries) == 1


def test_a_second_kernel_on_one_notebook_gets_a_new_session_and_reads_the_first(
    kernels: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        first = notebook.session.run_id
        # This process has the session, so that for a second kernel it is another's.
        two = type(notebook.front.sessions)(
            notebook.front.settings, notebook.shell.user_ns, notebook.front.say
        )
        said(capsys)
        second = notebook.during(lambda: two.ready(records=False))
        assert f"session {first} of this notebook is at work in another kernel" in said(capsys)
        assert second.run_id != first
        looked = notebook.during(lambda: two.looked_at(first))
        assert looked.entries[0].record.output == [1, 2]
        notebook.during(two.close)


def test_a_new_session_leaves_the_old_one_in_the_store(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        old = notebook.session.run_id
        notebook.view("%flujo session new")
        assert (notebook.session.run_id != old, notebook.session.entries) == (True, [])
        assert "seed" in notebook.session.steps
        notebook.view(f"%flujo session use {old}")
        assert "is the one at work" in str(notebook.error(f"%flujo session use {old}"))
        assert [one.name for one in notebook.session.entries] == ["seed"]


def test_unloading_gives_the_session_back_and_leaves_nothing(kernels: Open, tmp_path: Path) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        run_id = notebook.session.run_id
        notebook.unload()
        assert "flujo store flujo.db" not in [one.name for one in threading.enumerate()]
        handles = [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
        assert not any("flujo.db" in str(one.readlink()) for one in handles)
        assert SqliteStore(tmp_path / ".flujo/flujo.db").run(run_id).owner is None
        notebook.load()
        assert len(notebook.session.entries) == 1


def test_runs_at_once_and_where_await_is_not_allowed(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        notebook.run(GROW)
        notebook.run("%flujo back f0")
        gathered = "import asyncio\nawait asyncio.gather(*(flujo.run('grow') for _ in range(5)))"
        notebook.value(gathered)
        assert notebook.value("def f():\n    return flujo.run_sync('grow')\nf().output")
        ids = [one.id for one in notebook.session.entries]
    with kernels() as notebook:
        assert sorted(ids) == [one.id for one in notebook.session.entries]
        assert all(one.record.output for one in notebook.session.entries)


def test_what_was_used_counts_on_after_a_restart(kernels: Open) -> None:
    pay = "%%flujo step pay\nfrom flujo_nb import Metered, Usage\n"
    with kernels() as notebook:
        notebook.run(pay + "def pay(): return Metered(1, Usage(tokens=70))")
    with kernels() as notebook:
        assert "70 tokens" in repr(notebook.view("%flujo"))


def test_what_is_not_saved_is_said_and_is_here_until_the_kernel_ends(kernels: Open) -> None:
    with kernels() as notebook:
        card = notebook.card(LOCK.replace("lock(x)", "lock()"))
        assert "live only" in repr(card) and "(lock) is not saved" in repr(card)
        assert card._json["live_only"]
        assert notebook.card("%%flujo step use\ndef use(x):\n    return sorted(x)").output == ["a"]
    with kernels() as notebook:
        shown = repr(notebook.card("%flujo show f0"))
        assert "not here" in shown and "(lock) is not saved" in shown
        assert notebook.card("%flujo show f1").output == ["a"]
        for line in ("back f0", "run use --from f0"):
            notebook.run("%%flujo step use --no-run\ndef use(x):\n    return sorted(x)")
            error = notebook.error(f"%flujo {line}")
            assert isinstance(error, UsageError)
            assert "run its cell (%%flujo step lock) again" in str(error)
        assert notebook.session.head is None


def test_frames_and_cards_offer_nothing_that_is_gone(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.card(LOCK.replace("lock(x)", "lock()"))
    with kernels() as notebook:
        assert "live only" in repr(notebook.view("%flujo frames"))
        assert "%flujo back f0" not in repr(notebook.card("%flujo show f0"))


def test_before_the_first_frame_the_place_is_told_where_it_will_be(
    kernels: Open, tmp_path: Path
) -> None:
    with kernels() as notebook:
        for line in ("", "session", "doctor"):
            told = repr(notebook.view(f"%flujo {line}"))
            assert f"in {tmp_path / '.flujo/flujo.db'}, from the first frame on" in told
            assert "in memory" not in told
        notebook.run("%config Flujo.store = None")
        assert "in memory only" in repr(notebook.view("%flujo session"))


def test_a_session_whose_kernel_was_killed_is_free(kernels: Open, tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom tests.notebook import fresh_notebook\n"
        "with fresh_notebook() as notebook:\n"
        f"    notebook.run({SEED!r})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    here = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(here), "JPY_SESSION_NAME": ""},
        check=False,
    )
    with kernels(None) as notebook:
        told = repr(notebook.view("%flujo session list"))
        assert "its kernel has ended" in told and "at work" not in told
        assert "%flujo session use session_" in told
        assert "which has ended" in repr(notebook.view("%flujo doctor"))


def test_a_named_store_that_cannot_be_used_stays_an_error(kernels: Open, tmp_path: Path) -> None:
    (tmp_path / "mine.db").write_text("no database " * 99)
    with kernels() as notebook:
        notebook.run(SEED)
        notebook.run("%config Flujo.store = 'mine.db'")
        session, entries = notebook.session, list(notebook.session.entries)
        notebook.run(CONTEXT)
        error = notebook.error("%flujo session new --context Ctx")
        assert isinstance(error, StoreUnusable)
        assert (notebook.session, session.entries) == (session, entries)  # nothing is lost
        assert session.initial_context is None
        assert notebook.card("%flujo run seed").output == [1, 2]
        assert notebook.session is session
    with kernels("b.ipynb") as notebook:
        notebook.run("%config Flujo.store = 'mine.db'")
        assert isinstance(notebook.error(SEED), StoreUnusable)


def test_a_new_session_that_cannot_be_set_up_leaves_the_current_one(kernels: Open) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        notebook.run(CONTEXT)
        before = notebook.state()
        for options in ("--context Ctx --init {'seen': 'no'}", "--context Gone", "--init 1/0"):
            notebook.error(f"%flujo session new {options}")
            assert notebook.state() == before
        notebook.view("%flujo session new --context Ctx --init {'seen': [1]}")
        assert repr(notebook.session.initial_context) == "Ctx(seen=[1])"
        assert notebook.session.entries == []


def test_a_new_session_in_another_store_is_not_put_off(
    kernels: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        notebook.run("%config Flujo.store = 'mine.db'")
        said(capsys)
        notebook.run("%flujo session new")
        told = said(capsys)
        assert "next session" not in told and str(tmp_path / "mine.db") in told
        notebook.run("%flujo run seed -i [3]")
        assert "next session" not in said(capsys)
        old = SqliteStore(tmp_path / ".flujo/flujo.db").runs()
        assert [one.owner for one in old] == [None]
        assert len(SqliteStore(tmp_path / "mine.db").runs()) == 1


def test_doctor_tells_of_a_store_that_was_removed(kernels: Open, tmp_path: Path) -> None:
    with kernels() as notebook:
        notebook.run(SEED)
        shutil.rmtree(tmp_path / ".flujo")
        assert "was removed" in repr(notebook.view("%flujo doctor"))


def test_old_sessions_are_removed_and_that_is_said(
    kernels: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels("a.ipynb") as notebook:
        notebook.run(SEED)
    monkeypatch.setattr("flujo_nb.session_store.MAX_DAYS", -1)
    with kernels("b.ipynb") as notebook:
        notebook.run(SEED)
        assert "1 old run removed" in said(capsys)
        assert repr(notebook.view("%flujo session list")).startswith("1 session")


def test_loading_opens_no_store_and_imports_nothing_for_one() -> None:
    code = (
        "import sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "before = set(sys.modules)\nimport flujo_nb.magics as m\n"
        "s = InteractiveShell.instance()\nm.load(s)\n"
        "print(sorted(n for n in set(sys.modules) - before "
        "if n in ('flujo_nb.session_store', 'flujo_nb.replaying', 'numpy', 'jupyter_client')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_restored_frames_are_listed_with_what_they_gave_and_nothing_is_decoded(
    kernels: Open,
) -> None:
    invoice = "from pydantic import BaseModel\nclass Invoice(BaseModel):\n    note: str"
    secret = "ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA2bC4"
    with kernels() as notebook:
        notebook.run(invoice)
        notebook.run("%%flujo step bill\ndef bill():\n    return Invoice(note='n' * 90)")
        notebook.run(f"%%flujo step login -i 0\ndef login(x):\n    return '{secret}'")
        notebook.run(BOOM)
        run_id = notebook.session.run_id
        entries = notebook.session.entries
        assert [one.ended.shown for one in entries] == [
            f"Invoice(note='{'n' * 33}…",
            None,  # a text that looks like a secret is not saved
            None,
        ]
    with kernels() as notebook:
        for line in ("frames", f"session list {run_id}"):
            told = repr(notebook.view(f"%flujo {line}"))
            assert f"  Invoice(note='{'n' * 33}…" in told  # its class is not here
            assert "live only" in told and "no" in told and secret not in told
