"""``%flujo export``: which file is written, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.sizes import size_text
from tests.notebook import Notebook
from tests.notebook_shapes import WORDS

KINDS = ("py", "json", "html")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def busy(notebook: Notebook) -> Notebook:
    notebook.value(WORDS)
    return notebook


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_says_what_was_written(busy: Notebook, kind: str) -> None:
    shown = repr(busy.view(f"%flujo export {kind} out.{kind}"))
    size = size_text(Path(f"out.{kind}").stat().st_size)
    assert shown.startswith(f"wrote out.{kind}, {size}\n")
    assert "\n  next  " in shown
    assert os.listdir() == [f"out.{kind}"]  # noqa: PTH208  # nothing is left beside it


def test_the_module_names_its_pipeline_and_how_to_run_it(busy: Notebook) -> None:
    shown = repr(busy.view("%flujo export py out.py"))
    assert "pipeline  words_step\n" in shown
    assert shown.endswith("next  !python out.py --input DATA · from out import run")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_overwritten_only_when_that_is_said(busy: Notebook, kind: str) -> None:
    path = Path(f"out.{kind}")
    path.write_text("mine", "utf-8")
    error = busy.error(f"%flujo export {kind} {path}")
    assert isinstance(error, UsageError)
    assert str(error) == f"{path} is there already: another name, or --force"
    assert path.read_text("utf-8") == "mine"
    busy.view(f"%flujo export {kind} {path} --force")
    assert path.read_text("utf-8") != "mine"


def test_a_file_has_the_mode_of_an_ordinary_one(busy: Notebook) -> None:
    former = os.umask(0o027)
    try:
        busy.view("%flujo export py out.py")
    finally:
        os.umask(former)
    assert stat.S_IMODE(Path("out.py").stat().st_mode) == 0o640


def test_folders_quotes_and_blanks(busy: Notebook) -> None:
    Path("a b").mkdir()
    busy.view("%flujo export py 'a b/my pipeline.py'")
    assert Path("a b/my pipeline.py").is_file()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "export what? usage: %flujo export py|json|html FILE"),
        ("pi out.py", "there is no kind of export 'pi'; did you mean 'py'?"),
        ("py", "which file? usage: "),
        ("py out.txt", "out.txt: the name of the file ends with .py, as out.py"),
        ("html out", "out: the name of the file ends with .html, as out.html"),
        ("json .json", ".json: the name of the file ends with .json"),
        ("py gone/out.py", "gone/out.py: there is no folder gone"),
        ("py ~/out.py", "~/out.py: there is no folder ~"),
        ("py $HOME/out.py", "$HOME/out.py: there is no folder $HOME"),
        ("py folder.py", "folder.py is a folder"),
        ("html out.html f0", "a page is of the whole session; found f0"),
        ("py out.py --forc", "there is no option --forc; did you mean --force?"),
    ],
)
def test_misuse_is_one_line_and_writes_nothing(busy: Notebook, line: str, told: str) -> None:
    Path("folder.py").mkdir()
    before = busy.state()
    error = busy.error(f"%flujo export {line}".rstrip())
    assert isinstance(error, UsageError)
    assert str(error).startswith(told)
    assert "\n" not in str(error)
    assert os.listdir() == ["folder.py"]  # noqa: PTH208
    assert busy.state() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_told(busy: Notebook) -> None:
    Path("shut").mkdir(mode=0o500)
    error = busy.error("%flujo export py shut/out.py")
    assert str(error) == "shut/out.py was not written: Permission denied"


def test_a_file_that_cannot_be_written_is_told(
    busy: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    error = busy.error("%flujo export py out.py")
    assert str(error) == "out.py was not written: No space left on device"
    assert os.listdir() == []  # noqa: PTH208
