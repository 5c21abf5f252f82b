"""The kernelspec ``flujo``: where it is written, what it says, and what is never touched."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_core import paths

from flujo_nb import kernel
from flujo_nb.cli import FAILED, MISUSED, PASSED, main
from flujo_nb.kernel import SpecNotChanged, health, install, uninstall
from tests.notebook import Notebook

FOREIGN = {"argv": ["flujo", "{connection_file}"], "display_name": "Mine", "language": "flujo"}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The prefix of an environment in which Jupyter, and nobody else, looks for kernels."""
    prefix = tmp_path / "environment"
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(paths, "ENV_JUPYTER_PATH", [str(prefix / "share" / "jupyter")])
    monkeypatch.setattr(paths, "SYSTEM_JUPYTER_PATH", [])
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    return prefix


@pytest.fixture
def kernels(environment: Path) -> Path:
    """The folder of the environment's kernels."""
    return environment / "share" / "jupyter" / "kernels"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    printed, errors = capsys.readouterr()
    return printed + errors


def saved(folder: Path, spec: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def program(path: Path, *lines: str) -> str:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def spec_of(argv0: str) -> dict[str, object]:
    """Ours, for another program."""
    spec = KernelSpec.from_resource_dir(str(install(Path(argv0).parent / "any")))
    return {**spec.to_dict(), "argv": [argv0, *spec.argv[1:]]}


def test_the_spec_of_the_package_leaves_the_program_to_jupyter() -> None:
    spec = json.loads((Path(kernel.__file__).parent / "kernel.json").read_text(encoding="utf-8"))
    assert spec["argv"][:3] == ["python", "-m", "ipykernel_launcher"]
    assert spec["display_name"] == "Python 3 (Flujo)"
    assert spec["language"] == "python"


def test_it_is_written_for_this_interpreter(kernels: Path) -> None:
    folder = install(kernels)
    assert folder == kernels / "flujo"
    assert sorted(path.name for path in folder.iterdir()) == ["kernel.json", "logo-svg.svg"]
    spec = KernelSpec.from_resource_dir(str(folder))
    assert spec.argv[:3] == [sys.executable, "-m", "ipykernel_launcher"]
    assert "--IPKernelApp.extra_extensions=flujo_nb" in spec.argv
    assert spec.metadata == get_kernel_dict()["metadata"]


def test_it_is_written_anew_over_itself(kernels: Path) -> None:
    before = everything(install(kernels))
    saved(kernels / "flujo", spec_of(str(kernels / "gone")))
    assert everything(kernels / "flujo") != before
    assert everything(install(kernels)) == before


def test_a_folder_without_a_kernel_in_it_is_free(kernels: Path) -> None:
    (kernels / "flujo").mkdir(parents=True)
    assert not uninstall(kernels)
    install(kernels)
    assert uninstall(kernels)


@pytest.mark.parametrize("spec", [FOREIGN, {"argv": 3}, ["no", "spec"]])
def test_another_kernel_of_the_name_is_left_alone(kernels: Path, spec: object) -> None:
    saved(kernels / "flujo", spec)
    before = everything(kernels)
    for change in (install, uninstall):
        with pytest.raises(SpecNotChanged, match=r"flujo is another kernel.*and stays"):
            change(kernels)
    assert everything(kernels) == before


def test_a_link_is_left_alone(kernels: Path, tmp_path: Path) -> None:
    elsewhere = install(tmp_path / "elsewhere")
    kernels.mkdir(parents=True)
    (kernels / "flujo").symlink_to(elsewhere)
    before = everything(elsewhere)
    for change in (install, uninstall):
        with pytest.raises(SpecNotChanged, match="is a link to elsewhere, and stays"):
            change(kernels)
    assert everything(elsewhere) == before
    assert (kernels / "flujo").is_symlink()


def test_what_is_removed_is_what_was_written(kernels: Path) -> None:
    saved(kernels / "python3", FOREIGN)
    before = everything(kernels)
    install(kernels)
    assert uninstall(kernels)
    assert everything(kernels) == before
    assert not uninstall(kernels)


def test_files_that_somebody_added_stay(kernels: Path) -> None:
    folder = install(kernels)
    (folder / "logo-64x64.png").write_bytes(b"theirs")
    assert uninstall(kernels)
    assert everything(folder) == {"logo-64x64.png": b"theirs"}


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ([], "environment/share/jupyter/kernels"),
        (["--sys-prefix"], "environment/share/jupyter/kernels"),
        (["--user"], "user/kernels"),
        (["--prefix", "{}/a b"], "a b/share/jupyter/kernels"),
    ],
)
def test_the_command_says_where_and_what_is_next(
    words: Sequence[str], where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [one.format(tmp_path) for one in words]
    folder = tmp_path / where / "flujo"
    assert main(["install", *words]) == PASSED
    told = said(capsys).splitlines()
    assert told[0].split(maxsplit=1) == ["kernelspec", str(folder)]
    assert told[1].split(maxsplit=1) == ["interpreter", sys.executable]
    assert told[-1].startswith("next: choose the kernel 'Python 3 (Flujo)'")
    elsewhere = f"JUPYTER_PATH={shlex.quote(str(folder.parents[1]))}"
    assert (elsewhere in told[2]) == ("--prefix" in words)
    assert main(["install", *words]) == PASSED
    assert said(capsys).splitlines() == told

    assert main(["uninstall", *words]) == PASSED
    assert said(capsys) == f"removed {folder}\n"
    assert not folder.exists()
    assert main(["uninstall", *words]) == PASSED
    assert said(capsys) == f"there is no kernel flujo in {folder.parent}\n"


def test_one_that_stands_in_front_is_named(
    kernels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "no")
    first = install(tmp_path / "user" / "kernels")
    assert main(["install"]) == PASSED
    remove = "to remove that:  flujo-nb uninstall --user"
    assert f"Jupyter finds {first} first; {remove}\n" in said(capsys)
    assert main(["uninstall"]) == PASSED
    assert said(capsys).splitlines() == [
        f"removed {kernels / 'flujo'}",
        f"Jupyter finds one in {first}; {remove}",
    ]


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_the_command_is_kind_about_another_kernel(
    command: str, kernels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(kernels / "flujo", FOREIGN)
    assert main([command]) == FAILED
    assert said(capsys) == (
        f"flujo-nb: {folder} is another kernel 'Mine', and stays; "
        "to remove it: jupyter kernelspec remove flujo\n"
    )


def test_a_place_that_cannot_be_written_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["install", "--prefix", str(tmp_path / "file")]) == FAILED
    told = said(capsys)
    assert told.startswith(f"flujo-nb: {tmp_path / 'file'}") and told.count("\n") == 1
    assert "was not written: Not a directory" in told


@pytest.mark.parametrize("words", [["--user", "--sys-prefix"], ["--user", "--prefix", "x"]])
def test_one_place_at_a_time(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["install", *words])
    assert exit_.value.code == MISUSED
    assert "not allowed with" in said(capsys)


def test_health(kernels: Path, tmp_path: Path) -> None:
    assert "is not installed, and need not be" in health()
    install(kernels)
    assert health() == f"flujo runs {sys.executable}"
    saved(kernels / "flujo", FOREIGN)
    assert health() == f"{kernels / 'flujo'} is another kernel: it does not load flujo_nb"


@pytest.mark.skipif(os.name == "nt", reason="its programs are shell scripts")
@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        (None, "which is gone"),
        (["exit 3"], "which does not run"),
        (["echo flujo_nb"], "where flujo_nb cannot be found"),
        (["echo ipykernel_launcher flujo_nb"], "where ipykernel_launcher and flujo_nb cannot"),
    ],
)
def test_doctor_tells_of_a_spec_whose_program_or_package_is_gone(
    notebook: Notebook, kernels: Path, tmp_path: Path, lines: list[str] | None, gone: str
) -> None:
    path = tmp_path / "python"
    saved(kernels / "flujo", spec_of(str(path)))
    if lines is not None:
        program(path, *lines)
    told = repr(notebook.view("%flujo doctor"))
    assert f"{kernels / 'flujo'} runs {path}, {gone}" in told
    assert "to mend that: flujo-nb install --sys-prefix" in told


def test_doctor_asks_the_program_itself(kernels: Path, tmp_path: Path) -> None:
    path = tmp_path / "python"
    program(path, f'exec {shlex.quote(sys.executable)} "$@"')
    saved(kernels / "flujo", spec_of(str(path)))
    assert health() == f"flujo runs {path}"
    program(path, f'exec {shlex.quote(sys.executable)} -S "$@"')  # sees no packages
    assert "where ipykernel_launcher and flujo_nb cannot be found" in health()
