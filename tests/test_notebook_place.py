"""Which notebook a kernel works for, and where the default store may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from flujo_nb.notebook_place import make_folder, place_of, why_unfit

NAMED = "JPY_SESSION_NAME"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_name_the_folder_is_the_kernels() -> None:
    place = place_of({}, {}, {})
    assert (place.folder, place.notebook) == (Path.cwd(), None)


@pytest.mark.parametrize("front", ["jupyter", "vs code"])
def test_a_notebook_that_is_named(tmp_path: Path, front: str) -> None:
    (tmp_path / "sub").mkdir()
    name = str(tmp_path / "sub" / "a.ipynb")
    names = {"__vsc_ipynb_file__": name} if front == "vs code" else {}
    environment = {NAMED: name} if front == "jupyter" else {}
    place = place_of(names, environment, {})
    assert (place.folder, place.notebook) == (tmp_path / "sub", Path(name))


def test_a_name_without_its_folder_is_in_this_one(tmp_path: Path) -> None:
    for name in ("a.ipynb", "/nowhere/a.ipynb"):
        assert place_of({}, {NAMED: name}, {}).notebook == tmp_path / "a.ipynb"


def test_a_console_is_no_notebook() -> None:
    assert place_of({}, {NAMED: "console-1-6a2f"}, {}).notebook is None


def test_a_name_that_was_inherited_is_anothers(tmp_path: Path) -> None:
    named = {NAMED: str(tmp_path / "a.ipynb")}
    assert place_of({}, named, named).notebook is None


MOUNTS = """\
overlay / overlay rw 0 0
server:/home /far nfs4 rw 0 0
/dev/sda1 {0} ext4 rw 0 0
sshfs /remote\\040disk fuse.sshfs rw 0 0
fuse-overlayfs /rootless fuse.fuse-overlayfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/far/sub", "nfs4 mount"),
        ("/remote disk/sub", "fuse.sshfs mount"),
        ("/farther", "read-only"),
        ("/rootless/sub", "read-only"),
    ],
)
def test_file_systems_of_others_are_unfit(tmp_path: Path, folder: str, said: str) -> None:
    assert said in str(why_unfit(Path(folder), MOUNTS.format(tmp_path)))


def test_a_folder_on_a_disk_is_fit(tmp_path: Path) -> None:
    assert why_unfit(tmp_path, MOUNTS.format(tmp_path)) is None
    assert why_unfit(tmp_path) is None


def test_the_folder_is_made_for_its_owner_and_hidden_from_git(tmp_path: Path) -> None:
    assert make_folder(place_of({}, {}, {})) is None
    assert (tmp_path / ".flujo").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".flujo" / ".gitignore").read_text() == "*\n"
    assert make_folder(place_of({}, {}, {})) is None


def test_what_is_in_its_place_stays(tmp_path: Path) -> None:
    (tmp_path / ".flujo").write_text("mine")
    assert "is no folder" in str(make_folder(place_of({}, {}, {})))
    assert (tmp_path / ".flujo").read_text() == "mine"
