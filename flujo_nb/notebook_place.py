"""Which notebook a kernel works for, in which folder, and whether a store may lie there.

A kernel knows the file of its notebook only when the front end names it: JupyterLab and Notebook
in ``JPY_SESSION_NAME``, VS Code in the variable ``__vsc_ipynb_file__``. A name that the process
which started this kernel has too was inherited: it is of the notebook that *that* one works for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER, FILE = ".flujo", "flujo.db"
_NAMED_BY = "JPY_SESSION_NAME"
_VS_CODE = "__vsc_ipynb_file__"

_FAR = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse", "fuseblk", "glusterfs", "gpfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf", "vmhgfs"),
    }
)
_LOCAL_FUSE = "fuse.fuse-overlayfs"
"""The root of a container that runs without privileges; it lies on this machine's disk."""


@dataclass(frozen=True, slots=True)
class NotebookPlace:
    """The folder of a notebook, and its file if the front end named it."""

    folder: Path
    notebook: Path | None = None


def place_of(
    names: Mapping[str, object],
    environment: Mapping[str, str] = os.environ,
    parents: Mapping[str, str] | None = None,
) -> NotebookPlace:
    """Where the notebook of this kernel lies, whose variables are ``names``.

    ``parents`` is the environment of the process that started the kernel.
    """
    here = Path.cwd()
    named: object = names.get(_VS_CODE)
    if not isinstance(named, str):
        named = environment.get(_NAMED_BY, "")
        above = _environment_above() if parents is None else parents
        if named == above.get(_NAMED_BY):
            named = ""
    if not named.endswith(".ipynb"):
        return NotebookPlace(here)
    notebook = here / named  # an absolute path stays one
    if not notebook.parent.is_dir():  # the front end runs on another machine
        notebook = here / notebook.name
    return NotebookPlace(notebook.parent, notebook)


def default_path(place: NotebookPlace) -> Path:
    """Where the default store lies."""
    return place.folder / FOLDER / FILE


def make_folder(place: NotebookPlace) -> str | None:
    """Make the folder of the default store; why that may not be, if so."""
    try:
        unfit = why_unfit(place.folder)
        if unfit is not None:
            return unfit
        folder = place.folder / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        return f"{place.folder / FOLDER}: {error.strerror or error}"
    return None


def _environment_above() -> Mapping[str, str]:
    """The environment that this process's parent was started with, where the system tells."""
    try:
        text = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return {}
    pairs = [one.partition(b"=") for one in text.split(b"\0")]
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def why_unfit(folder: Path, mounts: str | None = None) -> str | None:
    """Why the default store should not lie in ``folder``; ``None``: it may.

    ``mounts`` is a table of mounts as in ``/proc/self/mounts``. A file system of another machine,
    or of another process, promises too little of locks and of shared memory.
    """
    kind = _kind_of_mount(folder.resolve(), _mounts() if mounts is None else mounts)
    is_fuse = kind.startswith("fuse.") and kind != _LOCAL_FUSE
    if kind in _FAR or is_fuse:
        return f"{folder} is on a {kind} mount"
    own = folder / FOLDER
    if own.is_symlink():
        return f"{own} is a symbolic link"
    if own.exists() and not own.is_dir():
        return f"{own} is no folder"
    if hasattr(os, "geteuid") and own.exists() and own.stat().st_uid != os.geteuid():
        return f"{own} belongs to another user"
    if not os.access(own if own.exists() else folder, os.W_OK | os.X_OK):
        return f"{folder} is read-only"
    return None


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(errors="surrogateescape")
    except OSError:
        return ""


def _kind_of_mount(folder: Path, mounts: str) -> str:
    """The type of the file system that ``folder`` is on, or nothing."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), parts[1]))
        if folder.is_relative_to(point) and len(point.parts) >= best:  # the later one covers
            best, kind = len(point.parts), parts[2]
    return kind
