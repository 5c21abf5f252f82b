"""What importing the engine brings along, and what it says under its bare name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.tree import ROOT

HEAVY = (
    "IPython",
    "anywidget",
    "ipykernel",
    "ipywidgets",
    "jupyter_client",
    "matplotlib",
    "nbclient",
    "nbconvert",
    "nbformat",
    "numpy",
    "pandas",
    "traitlets",
)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_engine_brings_no_notebook_library_along() -> None:
    ran = python(
        "import pkgutil, sys, importlib, flujo_nb.engine as engine\n"
        "for found in pkgutil.walk_packages(engine.__path__, 'flujo_nb.engine.'):\n"
        "    importlib.import_module(found.name)\n"
        f"print(*sorted(sys.modules.keys() & {set(HEAVY)!r}))"
    )
    assert (ran.stderr, ran.stdout.strip()) == ("", "")


@pytest.mark.parametrize("name", ["engine", "widgets"])
def test_a_bare_import_says_what_to_import_instead(name: str) -> None:
    ran = python(f"import {name}")
    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"import flujo_nb.{name} instead" in last
