"""However the project is installed, its packages are found, and the user's own stay theirs.

Each installation is made from a copy of the tree in an environment of its own, without network.
The third-party packages are those of the environment that runs the tests; its own installation
of this project must not be what is found, so every test asks where the code came from.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from tests.house.tree import ROOT, ignored

pytestmark = pytest.mark.install

ENVIRONMENT = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
WHOSE = 'WHOSE = "the user\'s"\n'
WHERE = """
import json, engine, widgets, flujo_nb, flujo_nb.engine, flujo_nb.widgets
from flujo_nb.engine import frame
print(json.dumps({
    "files": [flujo_nb.__file__, flujo_nb.engine.__file__, flujo_nb.widgets.__file__,
              frame.__file__],
    "users": [engine.WHOSE, widgets.WHOSE],
}))
"""
# What Jupyter does with the kernelspec, and what its first cell finds.
FIRST_CELL = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="flujo")
try:
    cell = "%flujo\\nimport sys\\nprint(sys.executable)"
    assert client.execute_interactive(cell, timeout=60)["content"]["status"] == "ok"
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; when it fails, the test fails with what it printed."""
    ran = subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the tree, since building writes into it."""
    return Path(shutil.copytree(ROOT, tmp_path / "source", ignore=ignored))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a new environment, which sees the third-party packages of this one."""
    folder = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=tmp_path)
    interpreter = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(interpreter, "-c", code, cwd=tmp_path).strip())
    # This adds the folder alone: its .pth files, and so its editable installation, stay unread.
    (own / "third_party.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return interpreter


@pytest.fixture
def user_folder(tmp_path: Path) -> Path:
    """Where a user works, with modules of the user's own under the names of our folders."""
    folder = tmp_path / "user"
    (folder / "widgets").mkdir(parents=True)
    for module in ("engine.py", "widgets/__init__.py"):
        (folder / module).write_text(WHOSE, encoding="utf-8")
    return folder


def install(python: Path, *what: str | Path, cwd: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    alone = ("--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed")
    run(*pip, "-qq", *alone, *what, cwd=cwd)


def kernels(python: Path, cwd: Path) -> dict[str, str]:
    """The program of each kernel that Jupyter lists in an environment."""
    words = ("-m", "jupyter_client.kernelspecapp", "list", "--json")
    listed = json.loads(run(python, *words, cwd=cwd, JUPYTER_DATA_DIR=str(cwd / "nothing")))
    return {name: one["spec"]["argv"][0] for name, one in listed["kernelspecs"].items()}


def check(python: Path, user_folder: Path, home: Path, **environment: str) -> None:
    """All our code comes from one place, and the user's modules are the user's."""
    found = json.loads(run(python, "-c", WHERE, cwd=user_folder, **environment))
    assert [file for file in found["files"] if not Path(file).is_relative_to(home)] == []
    assert found["users"] == ["the user's", "the user's"]


@pytest.mark.parametrize("mode", ["default", "strict", "compat"])
def test_editable(mode: str, source: Path, python: Path, user_folder: Path) -> None:
    settings = () if mode == "default" else ("--config-settings", f"editable_mode={mode}")
    install(python, *settings, "-e", source, cwd=source)
    check(python, user_folder, source)
    assert "flujo" not in kernels(python, user_folder)  # no editable installation carries files
    run(python.with_name("flujo-nb"), "install", cwd=user_folder)
    assert kernels(python, user_folder)["flujo"] == str(python)
    run(python.with_name("flujo-nb"), "uninstall", cwd=user_folder)
    assert "flujo" not in kernels(python, user_folder)


def test_uninstalled_clone(source: Path, python: Path, user_folder: Path) -> None:
    check(python, user_folder, source, PYTHONPATH=str(source))


def test_wheel(source: Path, python: Path, user_folder: Path, tmp_path: Path) -> None:
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path)
    run(*build, source, cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    data, spec = (
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.data",
        "share/jupyter/kernels/flujo",
    )
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "flujo_nb",
        data,
    }
    assert {"flujo_nb/py.typed", "flujo_nb/engine/frame.py", "flujo_nb/kernel.json"} <= set(names)
    assert [name for name in names if name.startswith(data)] == [
        f"{data}/data/{spec}/{name}" for name in ("kernel.json", "logo-svg.svg")
    ]
    assert any(name.endswith("/LICENSE") for name in names)

    install(python, wheel, cwd=tmp_path)
    shutil.rmtree(source)
    check(python, user_folder, python.parents[1])
    cells = (
        "%load_ext flujo_nb",
        '%%flujo step\ndef hello():\n    return "hi"',
        "import engine, widgets\nassert engine.WHOSE == widgets.WHOSE",
        f"import flujo_nb\nassert flujo_nb.__file__.startswith({str(python.parents[1])!r})",
    )
    run_cells(python, user_folder, cells)

    folder = python.parents[1] / spec
    assert kernels(python, user_folder)["flujo"] == "python"  # Jupyter puts its own there
    assert run(python, "-c", FIRST_CELL, cwd=user_folder).splitlines()[-1] == str(python)
    pip = (sys.executable, "-m", "pip", "--python", python, "uninstall", "--yes")
    run(*pip, "flujo-nb", cwd=tmp_path)
    assert not folder.exists()
    assert "flujo" not in kernels(python, user_folder)


def run_cells(python: Path, folder: Path, cells: tuple[str, ...]) -> None:
    """Run cells, none of which may fail, in a kernel of this interpreter."""
    with kernel(python, folder) as client:
        for cell in cells:
            reply = client.execute_interactive(cell, timeout=30, output_hook=lambda _: None)
            content = reply["content"]
            assert content["status"] == "ok", f"{cell}: {content['ename']}: {content['evalue']}"


@contextmanager
def kernel(python: Path, folder: Path) -> Iterator[BlockingKernelClient]:
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        language="python",
    )
    manager.start_kernel(cwd=str(folder), env=ENVIRONMENT | {"IPYTHONDIR": str(folder / "ipython")})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
