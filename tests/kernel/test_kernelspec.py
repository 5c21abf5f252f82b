"""Kernels started by the kernelspec ``flujo``: the extension is there in the first cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

from flujo_nb import kernel as spec_module
from flujo_nb.kernel import install, kernels_below
from tests.kernel.harness import Kernel

Start = Callable[[], Kernel]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts kernels by the installed spec, in one folder; each is stopped in the end."""
    kernels = kernels_below(tmp_path / "prefix")
    install(kernels)
    spec = KernelSpecManager(kernel_dirs=[str(kernels)]).get_kernel_spec("flujo")
    started: list[Kernel] = []

    def one() -> Kernel:
        started.append(Kernel(tmp_path, spec))
        return started[-1]

    yield one
    for kernel in started:
        kernel.stop()


def test_the_first_cell_may_be_a_command(start: Start) -> None:
    kernel = start()
    first = kernel.check("%flujo")
    assert "%%flujo step" in str(first.result)
    assert first.stderr == ""
    assert kernel.check("%%flujo step -i 1\ndef up(n):\n    return n + 1").result is not None
    assert kernel.check("flujo.head.output").result == "2"
    assert "awaited" in str(kernel.check("%flujo doctor").result)
    assert kernel.complete("%flujo ru") == ["run"]
    assert kernel.leftovers() == []


def test_the_spec_of_the_package_does_the_same(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, KernelSpec.from_resource_dir(str(Path(spec_module.__file__).parent)))
    try:
        assert "%%flujo step" in str(kernel.check("%flujo").result)
    finally:
        kernel.stop()


def test_the_extensions_that_a_user_configured_are_loaded_too(start: Start, tmp_path: Path) -> None:
    profile = tmp_path / ".ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_kernel_config.py").write_text(
        "c.InteractiveShellApp.extensions = ['autoreload']\n", encoding="utf-8"
    )
    kernel = start()
    kernel.check("%autoreload 0")
    assert "%%flujo step" in str(kernel.check("%flujo").result)


@pytest.mark.parametrize("first", ["%flujo", "len(flujo.frames)", "%load_ext flujo_nb", "1"])
def test_what_was_restored_is_told_in_the_first_cell(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setenv("FLUJO_STORE", "auto")
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    kernel = start()
    kernel.check("%%flujo step -i 1\ndef up(n):\n    return n + 1")
    kernel.stop()
    kernel = start()
    cell = kernel.check(first)
    assert [one.split(" session_")[0] for one in cell.displays] == ["restored session"]
    assert "with 1 frame" in cell.displays[0]
    assert kernel.check("1").displays == []
    assert kernel.check("list(flujo.frames)").result == "['f0']"


def test_unloading_before_the_first_command_leaves_nothing(start: Start) -> None:
    kernel = start()
    kernel.check("%unload_ext flujo_nb")
    hooks = "[f for fs in get_ipython().events.callbacks.values() for f in fs if 'lujo' in repr(f)]"
    assert kernel.check(hooks).result == "[]"
    assert kernel.check("'flujo' in get_ipython().user_ns").result == "False"
    assert kernel.leftovers() == []
