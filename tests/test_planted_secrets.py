"""Twenty secrets, planted wherever data can be: none is shown, logged, stored or exported.

What a user's own code prints is the user's. A store holds the names of steps, as parts of paths:
where it is looked through, the names are others. ``tests/kernel/test_planted_secrets.py`` executes
a notebook with them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from flujo_nb.cli import main
from flujo_nb.engine.store.secrets import looks_like
from flujo_nb.exit_codes import PASSED
from tests.commands_table import AFTER_A_RESTART, all_shown
from tests.durable import opener
from tests.full_session import FILLING, fill
from tests.notebook import fresh_notebook
from tests.planted import SECRETS, found_in
from tests.shown import Shown, shown_by

IN_ONE_LINE = [one for one in SECRETS if "\n" not in one]
PASSWORD = "CorrectHorseBatteryStaple7"


def each(secrets: Sequence[str]) -> pytest.MarkDecorator:
    """Each of these; all but the first in thorough tests only."""
    marks = [() if number == 0 else pytest.mark.thorough for number in range(len(secrets))]
    kinds = [f"{number}, {looks_like(one)}" for number, one in enumerate(secrets)]
    every = zip(secrets, marks, kinds, strict=True)
    return pytest.mark.parametrize("secret", [pytest.param(o, marks=m, id=k) for o, m, k in every])


def leaks(told: Iterable[Shown], secret: str) -> list[tuple[str, str]]:
    """The cells that show a piece of a secret, and where."""
    every = ((one.cell, found_in("\n".join(one.everything), secret)) for one in told)
    return [(cell, found) for cell, found in every if found is not None]


def files_with(folder: Path, secret: str) -> list[tuple[str, str]]:
    """The files in a folder that hold a piece of a secret, and where."""
    every = (
        (one.suffix, found_in(one.read_bytes(), secret))
        for one in folder.rglob("*")
        if one.is_file()
    )
    return [(kind, found) for kind, found in every if found is not None]


def test_the_secrets_are_of_all_kinds_that_are_known() -> None:
    kinds = [looks_like(one) for one in SECRETS]
    assert None not in kinds and len(set(kinds)) == 10 and len(set(SECRETS)) == 20


@pytest.mark.parametrize("form", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_piece_of_a_secret_is_found(form: str) -> None:
    for secret in SECRETS:
        part = secret.splitlines()[-1 if "END" not in secret else 2][-14:-1]
        assert found_in(f"xx{part}yy".encode(form), secret) is not None
        assert found_in("".join(reversed(secret)), secret) is None


@each(IN_ONE_LINE)
def test_no_secret_is_shown_logged_or_exported_whatever_it_names(
    secret: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with chdir(tmp_path), fresh_notebook() as notebook:
        told = list(all_shown(notebook, secret))
    assert leaks(told, secret) == []
    assert any("withheld" in text for one in told for text in one.texts)
    assert found_in(caplog.text, secret) is None
    assert files_with(tmp_path, secret) == []


@each(SECRETS)
def test_no_secret_is_stored_and_none_is_shown_of_a_store(
    secret: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    store = tmp_path / ".flujo" / "flujo.db"
    caplog.set_level(logging.DEBUG)
    with open_() as notebook:
        told = list(all_shown(notebook, secret, "thing"))
        assert [one.raised for one in told if one.raised is not None and not one.error] == []
        assert store.with_name("flujo.db-wal").stat().st_size > 100_000
        assert files_with(tmp_path, secret) == []
    with open_() as notebook:
        told += [shown_by(notebook, cell) for cell in AFTER_A_RESTART]
    assert leaks(told, secret) == []
    capsys.readouterr()
    for words in (
        *(("list",), ("list", "--json"), ("show", "thing", "--all"), ("export", "thing")),
        *(("export", "thing", "--blobs"), ("export", "thing", "--output", "run.json")),
    ):
        assert main(["runs", *words, "--store", str(store)]) == PASSED
    printed = capsys.readouterr()
    assert "thing" in printed.out
    assert found_in(printed.out + printed.err, secret) is None
    assert found_in(caplog.text, secret) is None
    assert files_with(tmp_path, secret) == []


class Account(BaseModel):
    name: str = "ann"
    password: SecretStr = SecretStr("")
    key: SecretBytes = SecretBytes(b"")
    more: dict[str, SecretStr] = {}


@dataclass
class Login:
    password: SecretStr


WITH_FIELDS = (
    "from flujo_nb import Step\nfrom pydantic import SecretStr\nfrom types import SimpleNamespace",
    "%flujo session --context Account --init account --resources SimpleNamespace(key=secret)",
    "%%flujo step given -i account\ndef given(x): return x",
    "%%flujo step several\ndef several(x): return [x.password, {'key': x.key}, x.more]",
    "%%flujo step login -i Login(secret)\ndef login(x): return x",
    "%%flujo step kept -i account\n"
    "def kept(x, context, resources):\n"
    "    context.password, context.more = resources.key, {'new': resources.key}\n"
    "    return context",
    "%%flujo step changed -i account\ndef changed(x): return x.model_copy(update={'key': None})",
    "%%flujo step fails -i account\ndef fails(x): raise ValueError(x, x.password, Login(secret))",
    "asks = Step.human_in_the_loop('asks', 'Is it {{ data }}?', Account)",
    "%flujo run asks -i account",
    "%flujo resume --with account",
    "%flujo run asks -i account",
    "%flujo resume --with 7",
    "%flujo run given -i account.password+1",
    "%flujo session --init secret",
    *(f"%flujo {name}" for name in ("", "frames", "steps", "session", "stale", "doctor", "why f0")),
    *("%flujo show f0", "%flujo show f1", "%flujo diff f0 f3", "%flujo diff f0 f4", "%flujo why"),
    *("%flujo put f0 found", "%flujo graph given", "%%flujo check f0\nframe.output is None"),
    *("%flujo export json a.json", "%flujo export html a.html", "%flujo export py a.py given"),
    '%%flujo patch f0\n{"output": {"name": "bob"}}',
)


def test_no_value_of_a_secret_field_is_shown_logged_stored_or_exported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret, open_ = SecretStr(PASSWORD), opener(tmp_path, monkeypatch)
    account = Account(password=secret, key=SecretBytes(PASSWORD.encode()), more={"a": secret})
    names = {"Account": Account, "Login": Login, "account": account, "secret": secret}
    caplog.set_level(logging.DEBUG)
    with open_() as notebook:
        notebook.shell.user_ns.update(names)
        told = [shown_by(notebook, cell) for cell in WITH_FIELDS]
        ended = [entry.status.value for entry in notebook.session.entries]
        assert files_with(tmp_path, PASSWORD) == []
    assert ended.count("completed") >= 7 and ended.count("failed") == 1
    with open_() as notebook:
        notebook.shell.user_ns.update(names)
        notebook.run("%flujo session --resources secret")
        told += [shown_by(notebook, cell) for cell in AFTER_A_RESTART]
        run_id = notebook.session.run_id
    assert leaks(told, PASSWORD) == []
    for words in (("show", run_id, "--all"), ("export", run_id), ("list",)):
        main(["runs", *words, "--store", str(tmp_path / ".flujo" / "flujo.db")])
    printed = capsys.readouterr()
    assert found_in(printed.out + printed.err + caplog.text, PASSWORD) is None
    assert files_with(tmp_path, PASSWORD) == []


@pytest.mark.parametrize("colors", ["nocolor", "linux", "neutral"])
def test_a_whole_traceback_shows_no_secret(colors: str) -> None:
    with fresh_notebook() as notebook:
        notebook.run(f"%colors {colors}\n%config Flujo.short_errors = False")
        for secret in SECRETS[::3]:
            body = f"key = {secret!r}\ndef fails(x): raise OSError(key) from KeyError({secret!r})"
            shown = shown_by(notebook, f"%%flujo step fails -i 1\n{body}")
            assert "Traceback" in shown.printed and "withheld" in shown.printed
            assert leaks([shown], secret) == []
        shown = shown_by(notebook, "%%flujo step fails -i 1\ndef fails(x): raise OSError('plain')")
        assert ("\x1b[" in shown.printed) is (colors != "nocolor")


IN_PYTHON = (
    "await flujo.run('missing')",
    "flujo.run_sync('missing')",
    "await flujo.resume()",
    "await flujo.resume('f13')",
    "await flujo.fork('f1/missing')",
    "await flujo.patch('f11', output=text)",
    "flujo.frames['f1/missing']",
    "flujo['missing']",
    "flujo[name + 'x']",
    "flujo.configure(context=odd)",
    "flujo.diff('f0', 'missing')",
    "flujo",
    "flujo.head",
    "print(flujo.frames['f0'], flujo.run('missing'))",
)


def test_no_secret_is_shown_by_the_python_api() -> None:
    secret = SECRETS[8]
    with fresh_notebook() as notebook:
        fill(notebook, secret)
        for cell in FILLING:
            notebook.run(cell)
        told = [shown_by(notebook, cell) for cell in IN_PYTHON]
    assert [one.cell for one in told if not (one.raised or one.sent or one.printed)] == []
    assert leaks(told, secret) == []
    assert [one.cell for one in told if found_in(str(one.raised), secret)] == []
