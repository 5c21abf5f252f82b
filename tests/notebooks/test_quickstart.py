"""The quickstart, executed as ``make demo`` does it, on the packages of this environment."""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import distributions
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from flujo_nb.execute import CellEnded, CellStarted, Execution, execute, frames_of, report_of

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"


class NoOne:
    """A listener that does not listen."""

    def started(self, cell: CellStarted) -> None:
        pass

    def ended(self, cell: CellEnded) -> None:
        pass


@pytest.fixture(scope="module")
def execution() -> Execution:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return asyncio.run(execute(notebook, NOTEBOOK.parent, NoOne()))


def cell(execution: Execution, cell_id: str) -> NotebookNode:
    return next(one for one in execution.notebook.cells if one.id == cell_id)


def installed() -> set[str]:
    """The packages of this environment, each once."""
    names = (one.metadata.get("Name") for one in distributions())
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names if name}


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [one for one in notebook.cells if one.cell_type == "code"]
    assert [(one.execution_count, one.outputs) for one in code] == [(None, [])] * len(code)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({one.id for one in notebook.cells}) == len(notebook.cells)


def test_its_frames_continue_from_each_other(execution: Execution) -> None:
    assert execution.passed
    shown = [
        (one.id, frame.id, frame.name, frame.status, frame.origin)
        for one in execution.notebook.cells
        if one.cell_type == "code"
        for frame in frames_of(one)
    ]
    assert shown == [
        ("collect", "f0", "collect", "completed", "-i"),
        ("normalise", "f1", "normalise", "completed", "f0.output"),
        ("classify", "f2", "classify", "completed", "f1.output"),
        ("failed-frame", "f3", "report", "failed", "f2.output"),
        ("report-step", "f4", "report", "completed", "f2.output (report failed after it)"),
        ("pipeline", "f5", "audit", "completed", "-i"),
    ]


def test_its_failing_cell_names_the_frame_and_the_line(execution: Execution) -> None:
    failing = cell(execution, "fails")
    (error,) = failing.outputs
    lines = "\n".join(error.traceback).splitlines()
    own = next(line.strip() for line in failing.source.splitlines() if "finding.license" in line)
    assert error.output_type == "error"
    assert len(lines) <= 12
    assert "c[4]/report" in lines[0]
    assert own in [line.strip() for line in lines]
    assert any("HEAD is still f2" in line for line in lines)


def test_its_counts_add_up_to_the_packages_that_are_installed(execution: Execution) -> None:
    total, kinds = report_of(execution.notebook).splitlines()[0].split(" packages: ")
    assert int(total) == len(installed())
    assert sum(int(one.split()[0]) for one in kinds.split(", ")) == len(installed())


def test_its_table_adds_up_too(execution: Execution) -> None:
    table = cell(execution, "result").outputs[-1].data["text/html"]
    counts = [int(number) for number in re.findall(r"<td>(\d+)</td>", table)]
    assert sum(counts) == len(installed())


def test_its_chart_has_no_background_of_its_own(execution: Execution) -> None:
    (chart,) = cell(execution, "chart").outputs
    assert "image/png" in chart.data
    assert "needs_background" not in str(chart.metadata)
