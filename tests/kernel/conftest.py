"""Kernels for the tests of this folder, and the check that nothing of a run is left in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel
from tests.kernel.matrix import IS_WHOLE, table


def _kernel(folder: Path) -> Iterator[Kernel]:
    kernel = Kernel(folder)
    try:
        yield kernel
        assert kernel.leftovers() == []
    finally:
        kernel.stop()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for all tests of a module."""
    yield from _kernel(tmp_path_factory.mktemp("kernel"))


@pytest.fixture
def fresh_kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel for one test alone."""
    yield from _kernel(tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of the matrix, when all of it was run."""
    if IS_WHOLE:
        every = [report for reports in terminalreporter.stats.values() for report in reports]
        for line in table([one for one in every if isinstance(one, pytest.TestReport)]):
            terminalreporter.line(line)
