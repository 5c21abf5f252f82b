"""What an import costs, and loading the extension: each time in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benches.harness import Figure, WrongResult, expect

ROOT = Path(__file__).resolve().parent.parent
PASSES = 7

PYDANTIC = "import pydantic"
MODEL = "a first pydantic model"
ENGINE = "import flujo_nb.engine"
BOTH = "that and asyncio"
_MODEL = "from pydantic import BaseModel\nclass Model(BaseModel):\n    field: int = 0"
PROGRAMS = {
    PYDANTIC: PYDANTIC,
    MODEL: _MODEL,
    BOTH: f"import asyncio\n{_MODEL}",
    ENGINE: ENGINE,
}
LOADED = {
    PYDANTIC: "False False False",
    MODEL: "False True False",
    BOTH: "False True True",
    ENGINE: "True True True",
}

IMPORT = """
import sys, time
started = time.process_time()
{program}
print(time.process_time() - started)
wanted = "flujo_nb.engine.frame", "pydantic.main", "asyncio"
print(*(name in sys.modules for name in wanted))
"""

LAZY = ("anywidget", "ipywidgets", "matplotlib", "nbclient", "nbformat", "pandas")
"""What only some commands need: loading the extension must not import it."""

LOAD = """
import sys, time
import ipykernel.ipkernel, ipykernel.zmqshell
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
started = time.perf_counter()
shell.run_line_magic("load_ext", "flujo_nb")
print(time.perf_counter() - started)
print("flujo" in shell.magics_manager.magics["line"])
print(*(set(sys.modules) - before))
"""


class Processes:
    """Runs programs with this interpreter in the project's folder, all with one bytecode cache.

    Whatever the environment says about bytecode, an import here is one that was done before.
    """

    def __init__(self, folder: Path) -> None:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        cache = {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        self._environment = {**kept, **cache, "IPYTHONDIR": str(folder / "ipython")}

    def lines_of(self, program: str) -> list[str]:
        """What ``program`` prints."""
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise WrongResult(f"a process failed: {done.stderr.strip()}")
        return done.stdout.splitlines()

    def import_seconds(self, what: str) -> float:
        """The processor time of an import."""
        seconds, loaded = self.lines_of(IMPORT.format(program=PROGRAMS[what]))
        expect(what, loaded, LOADED[what])
        return float(seconds)

    def load_seconds(self) -> tuple[float, set[str]]:
        """The time of ``%load_ext flujo_nb``, and the modules that it imported."""
        seconds, present, loaded = self.lines_of(LOAD)
        expect("the magic is there", present, "True")
        return float(seconds), set(loaded.split())


def import_figures(passes: int = PASSES) -> Sequence[Figure]:
    """The engine against pydantic.

    ``import pydantic`` alone loads next to nothing: its names load what they need when they are
    first used. So the engine is also compared with what any program's first model costs,
    without and with the event loop.
    """
    with TemporaryDirectory() as folder:
        processes = Processes(Path(folder))
        for what in PROGRAMS:
            processes.import_seconds(what)  # not counted: here bytecode is written
        taken = [{what: processes.import_seconds(what) for what in PROGRAMS} for _ in range(passes)]
    figures = [Figure(ENGINE, "ms", 1_000 * median(one[ENGINE] for one in taken))]
    goals = {PYDANTIC: 1.3, MODEL: 1.3, BOTH: None}
    for other, goal in goals.items():
        ratio = median(one[ENGINE] / one[other] for one in taken)
        figures.append(Figure(ENGINE, f"x {other}", ratio, goal))
    return figures


def load_figures(passes: int = PASSES) -> Sequence[Figure]:
    """``%load_ext flujo_nb``, where ipykernel is loaded already as it is in every notebook."""
    with TemporaryDirectory() as folder:
        processes = Processes(Path(folder))
        _, loaded = processes.load_seconds()  # not counted: here bytecode is written
        seconds = [processes.load_seconds()[0] for _ in range(passes)]
    early = [name for name in LAZY if name in loaded]
    return [
        Figure("%load_ext flujo_nb", "s", median(seconds), 0.3),
        Figure(f"  loaded too early: {', '.join(early) or 'nothing'}", "modules", len(early), 0),
    ]
