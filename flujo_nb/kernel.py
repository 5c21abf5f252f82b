"""The kernelspec ``flujo``: ipykernel as it is, with this extension loaded before the first cell.

A wheel carries it for its own environment; here it is written into any other folder of Jupyter's,
for this interpreter, and removed. What is not ours is never touched.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_data_dir
from pydantic import BaseModel, ValidationError

from .engine.errors import FlujoError

NAME = "flujo"

_KERNEL, _LOGO = "kernel.json", "logo-svg.svg"
_HERE = Path(__file__).parent
_KERNELS = Path("share", "jupyter", "kernels")
_NEEDED = ("ipykernel_launcher", "flujo_nb")
_MISSING = (
    "import sys, importlib.util as u; print(*(n for n in sys.argv[1:] if u.find_spec(n) is None))"
)
_PATIENCE = 10.0
_REMOVE = f"jupyter kernelspec remove {NAME}"


class SpecNotChanged(FlujoError):
    """A kernelspec was not written or not removed. What was there is there still."""


class Spec(BaseModel, extra="allow"):
    """What a ``kernel.json`` says, as far as it is looked at here."""

    argv: list[str]
    display_name: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it loads this extension the way that ours does."""
        return set(_stock().argv[1:]) <= set(self.argv)


def kernels_below(prefix: Path) -> Path:
    """Where Jupyter looks for kernels in an environment, or in any other prefix."""
    return prefix.absolute() / _KERNELS


def kernels_of_user() -> Path:
    """Where Jupyter looks for the kernels of the user who runs this."""
    return Path(jupyter_data_dir(), "kernels")


def install(kernels: Path) -> Path:
    """Write the spec into a folder of kernels, or anew; the folder that it has there.

    Raises `SpecNotChanged` when another kernel has the name, or the system refuses.
    """
    folder = kernels / NAME
    _check_ours(folder)
    stock = _stock()
    told = {  # what ipykernel can do depends on its version, which is known here
        **get_kernel_dict(),
        "argv": [sys.executable, *stock.argv[1:]],
        "display_name": stock.display_name,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = Spec.model_validate(told).model_dump_json(indent=1)
        (folder / _KERNEL).write_text(f"{text}\n", encoding="utf-8")
        (folder / _LOGO).write_bytes((_HERE / _LOGO).read_bytes())
    except OSError as error:
        raise SpecNotChanged(f"{folder} was not written: {error.strerror}") from error
    return folder


def uninstall(kernels: Path) -> bool:
    """Remove the spec from a folder of kernels; whether it was there.

    Files that we did not write stay. Raises as `install`.
    """
    folder = kernels / NAME
    if not _check_ours(folder):
        return False
    try:
        for name in (_LOGO, _KERNEL):
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise SpecNotChanged(f"{folder} was not removed: {error.strerror}") from error
    return True


def found() -> Path | None:
    """The folder of the kernel that Jupyter starts under our name, if there is one."""
    folder = KernelSpecManager().find_kernel_specs().get(NAME)
    return None if folder is None else Path(folder)


def option_for(kernels: Path) -> str | None:
    """The option of ``flujo-nb install`` that names a folder of kernels, if one does."""
    if kernels == kernels_of_user():
        return "--user"
    if kernels == kernels_below(Path(sys.prefix)):
        return "--sys-prefix"
    prefix = Path(*kernels.parts[:-3])
    return f"--prefix {shlex.quote(str(prefix))}" if kernels == kernels_below(prefix) else None


def health() -> str:
    """Whether the kernel is installed and can start; what to do when it cannot."""
    folder = found()
    if folder is None:
        return "flujo is not installed, and need not be: %load_ext flujo_nb does the same"
    spec = _read(folder)
    if spec is None or not spec.is_ours:
        return f"{folder} is another kernel: it does not load flujo_nb"
    gone = _gone(spec.argv[0])
    if gone is None:
        return f"flujo runs {spec.argv[0]}"
    option = option_for(folder.parent)
    mend = _REMOVE if option is None else f"flujo-nb install {option}"
    return f"{folder} runs {gone}; to mend that: {mend}"


def _gone(program: str) -> str | None:
    """What a spec needs and does not find: its program, or packages there."""
    path = Path(program)
    if program == sys.executable or not path.is_absolute():  # Jupyter takes its own Python then
        return None
    if not path.exists():
        return f"{program}, which is gone"
    try:
        # In the program's folder, because Python looks for packages where it is started.
        asked = subprocess.run(
            [program, "-c", _MISSING, *_NEEDED],
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"{program}, which does not run"
    missing = asked.stdout.split()
    return f"{program}, where {' and '.join(missing)} cannot be found" if missing else None


def _check_ours(folder: Path) -> bool:
    """Whether ``folder`` is a kernel. Raises `SpecNotChanged` when it is not ours."""
    spec = _read(folder)
    if folder.is_symlink():
        raise SpecNotChanged(f"{folder} is a link to elsewhere, and stays; to remove it: {_REMOVE}")
    if not (folder / _KERNEL).exists():
        return False
    if spec is None or not spec.is_ours:
        whose = f" {spec.display_name!r}" if spec is not None and spec.display_name else ""
        raise SpecNotChanged(
            f"{folder} is another kernel{whose}, and stays; to remove it: {_REMOVE}"
        )
    return True


def _read(folder: Path) -> Spec | None:
    try:
        return Spec.model_validate_json((folder / _KERNEL).read_bytes())
    except (OSError, ValidationError):
        return None


def _stock() -> Spec:
    return Spec.model_validate_json((_HERE / _KERNEL).read_bytes())
