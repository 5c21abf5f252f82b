"""The versions of ipykernel and IPython that the front is tried on, each pair in its environment.

Environments are kept in ``build/matrix`` and made again when what is asked of them changes. They
hold the runtime dependencies only; the code is that of this checkout.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec

from tests.house.tree import ROOT
from tests.kernel.harness import Kernel

IS_WHOLE = bool(os.environ.get("FLUJO_MATRIX"))
"""Whether every pair is tried, and a table is printed: ``make matrix``."""

_HOME = ROOT / "build" / "matrix"
_TEST = re.compile(r"test_matrix\.py::\w+\[(?P<pair>[^-]+)-(?P<group>[^:\]]+)")


@dataclass(frozen=True)
class Pair:
    """What an environment is asked for; without requirements it is the one that runs the tests."""

    name: str
    requirements: Sequence[str] = ()
    is_pinned: bool = True

    @property
    def prefix(self) -> Path:
        """Its environment."""
        return _HOME / self.name if self.requirements else Path(sys.prefix)

    def versions(self) -> str:
        """What its environment has, which a name such as ``newest`` does not tell."""
        where = {"base": str(self.prefix), "platbase": str(self.prefix)}
        found = metadata.distributions(path=[sysconfig.get_path("purelib", vars=where)])
        told = {one.name.lower(): one.version for one in found}
        return ", ".join(f"{name} {told.get(name, '-')}" for name in ("ipykernel", "ipython"))

    def ready(self) -> Path:
        """Its interpreter, when the environment is as it should be; made if it is not."""
        folder, python = self.prefix, self.prefix / "bin" / "python"
        if not self.requirements:
            return python
        pins = _pins() if self.is_pinned else []
        recipe = "\n".join((sys.version, *self.requirements, *_runtime(), "", *pins, ""))
        stamp = folder / "made_of.txt"
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != recipe:
            _run(sys.executable, "-m", "venv", "--clear", "--without-pip", folder)
            constraints = folder / "constraints.txt"
            constraints.write_text("\n".join(pins), encoding="utf-8")
            pip = (sys.executable, "-m", "pip", "--python", python, "install", "-qq")
            _run(*pip, "-c", constraints, *self.requirements, *_runtime())
            stamp.write_text(recipe, encoding="utf-8")
        return python


OLD = Pair("6.31+8.29", ("ipykernel==6.31.*", "ipython==8.29.*"))
OWN = Pair("own")
PAIRS = (
    Pair("6.31+8.20", ("ipykernel==6.31.*", "ipython==8.20.*")),
    OLD,
    Pair("7.1+9.0", ("ipykernel==7.1.*", "ipython==9.0.*")),
    Pair("7.3+9.18", ("ipykernel==7.3.*", "ipython==9.18.*")),
    OWN,
    Pair("newest", ("ipykernel", "ipython"), is_pinned=False),
)
TRIED = PAIRS if IS_WHOLE else (OLD, OWN)


@contextmanager
def kernel_of(python: Path, folder: Path, *options: str) -> Iterator[Kernel]:
    """A kernel of an environment, with the code of this checkout.

    A coroutine that nobody awaits is told in its ``stderr``.
    """
    launcher = (str(python), "-W", "error:coroutine:RuntimeWarning", "-m", "ipykernel_launcher")
    spec = KernelSpec(
        argv=[*launcher, *options, "-f", "{connection_file}"],
        language="python",
        env={"PYTHONPATH": str(ROOT)},
    )
    kernel = Kernel(folder, spec)
    try:
        yield kernel
        assert kernel.leftovers() == []
        assert never_awaited(kernel) == []
    finally:
        kernel.stop()


def never_awaited(kernel: Kernel) -> list[str]:
    """The coroutines that a kernel has thrown away without awaiting them."""
    kernel.check("import gc\n_ = gc.collect()")
    return re.findall(r"coroutine '(.*)' was never awaited", kernel.stderr)


def table(reports: Sequence[pytest.TestReport]) -> Iterator[str]:
    """How many of each group of scenarios passed, for each pair, and what the pairs are."""
    counts: dict[tuple[str, str], list[bool]] = {}
    for report in reports:
        found = _TEST.search(report.nodeid)
        if found is not None and (report.when == "call" or report.failed):
            passed = counts.setdefault((found["group"], found["pair"]), [])
            passed.append(report.passed)
    groups = list(dict.fromkeys(group for group, _ in counts))
    pairs = [pair for pair in PAIRS if any(name == pair.name for _, name in counts)]
    width = max((len(group) for group in groups), default=0)
    yield " ".join(("", " " * width, *(f"{pair.name:>10}" for pair in pairs)))
    for group in groups:
        cells = (counts.get((group, pair.name), []) for pair in pairs)
        texts = (f"{sum(cell)} of {len(cell)}" if cell else "-" for cell in cells)
        yield " ".join(("", f"{group:<{width}}", *(f"{text:>10}" for text in texts)))
    for pair in pairs:
        yield f" {pair.name:<{width}} {pair.versions()}"


def _runtime() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def _pins() -> list[str]:
    """The lock, without the two whose versions are what the environments differ in."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith(("#", "ipykernel==", "ipython=="))]


def _run(*command: str | Path) -> None:
    """Run a command; when it fails, so does the test, with what it printed."""
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if ran.returncode:
        told = "\n".join(ran.stdout.splitlines()[-12:])
        words = " ".join(str(word) for word in command)
        pytest.fail(f"no environment for the matrix; is there an index?\n$ {words}\n{told}", False)
