"""``flujo-nb install`` and ``uninstall``: the kernelspec ``flujo`` in a folder of Jupyter's."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from .kernel import (
    NAME,
    found,
    install,
    kernels_below,
    kernels_of_user,
    option_for,
    uninstall,
)

_WORDS = {
    "install": "add the kernel 'Python 3 (Flujo)' to Jupyter, for this interpreter",
    "uninstall": "remove the kernel that 'flujo-nb install' added",
}


def add_kernel(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> Iterator[argparse.ArgumentParser]:
    """Add ``install`` and ``uninstall`` to the commands of ``flujo-nb``."""
    for name, told in _WORDS.items():
        parser = commands.add_parser(
            name,
            help=told,
            description=f"{told[0].upper()}{told[1:]}. Exit code: 0 done, 1 not done.",
        )
        place = parser.add_mutually_exclusive_group()
        add = place.add_argument
        add("--user", action="store_true", help="where Jupyter looks for you alone")
        add("--sys-prefix", action="store_true", help="in this environment (the default)")
        add("--prefix", type=Path, metavar="P", help="in P/share/jupyter/kernels")
        parser.set_defaults(removes=name == "uninstall")
        yield parser


def kernel_lines(parsed: argparse.Namespace) -> Iterator[str]:
    """Do what the command line says; gives the lines for stdout. Raises `SpecNotChanged`."""
    user: bool = parsed.user
    prefix: Path | None = parsed.prefix
    removes: bool = parsed.removes
    kernels = kernels_of_user() if user else kernels_below(prefix or Path(sys.prefix))
    return _removed(kernels) if removes else _added(kernels)


def _added(kernels: Path) -> Iterator[str]:
    folder = install(kernels)
    yield f"kernelspec   {folder}"
    yield f"interpreter  {sys.executable}"
    first = found()
    if first is None:
        path = shlex.quote(str(kernels.parent))
        yield f"Jupyter does not look there: start it with JUPYTER_PATH={path}"
    elif first != folder:
        yield f"Jupyter finds {first} first{_ways_to_remove(first)}"
    yield "next: choose the kernel 'Python 3 (Flujo)' in a notebook, and begin with  %flujo help"


def _removed(kernels: Path) -> Iterator[str]:
    if uninstall(kernels):
        yield f"removed {kernels / NAME}"
    else:
        yield f"there is no kernel {NAME} in {kernels}"
    other = found()
    if other is not None:
        yield f"Jupyter finds one in {other}{_ways_to_remove(other)}"


def _ways_to_remove(folder: Path) -> str:
    option = option_for(folder.parent)
    return "" if option is None else f"; to remove that:  flujo-nb uninstall {option}"
