"""What all tests share: marks by folder, the heap between modules, a notebook without a kernel."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cold import IS_COLD, chill
from tests.durable import Kernels, opener
from tests.notebook import Notebook, fresh_notebook

HERE = Path(__file__).parent
# Sessions of tests are kept in memory, also in the kernels that tests start, unless one says else.
os.environ["FLUJO_STORE"] = "off"
# Real processes, restarts of sessions, kills at every commit, measurements.
SLOW = (
    "engine/test_at_most_once_kill.py",
    "engine/test_database.py",
    "engine/test_durable_costs.py",
    "engine/test_durable_runner.py",
    "engine/test_hot_path.py",
    "engine/test_nesting_depth.py",
    "engine/test_ordinary_values_in_runs.py",
    "engine/test_sqlite.py",
    "test_compare_commands.py",
    "test_cut_off.py",
    "test_digest_edits.py",
    "test_export_command.py",
    "test_export_module.py",
    "test_exported_line.py",
    "test_frame_diff.py",
    "test_going_on.py",
    "test_graph_picture.py",
    "test_help_examples.py",
    "test_interrupted_writes.py",
    "test_live_cells.py",
    "test_markup.py",
    "test_max_concurrency.py",
    "test_notebook_doc.py",
    "test_ordinary_values.py",
    "test_patch_command.py",
    "test_patches_told.py",
    "test_planted_secrets.py",
    "test_program.py",
    "test_recall.py",
    "test_run_all.py",
    "test_sessions.py",
    "test_table_diff.py",
    "test_value_diff.py",
)
# They measure, or send signals, which a busy machine delays.
ALONE = (
    "engine/test_durable_costs.py",
    "engine/test_hot_path.py",
    "kernel/test_awaiting.py",
    "kernel/test_container_interrupts.py",
    "kernel/test_front.py",
    "kernel/test_front_costs.py",
    "kernel/test_interrupts.py",
    "kernel/test_interrupts_more.py",
    "test_benches.py",
    "test_interrupted_writes.py",
    "test_interrupts.py",
)
MARKED = {
    "alone": tuple(HERE / file for file in ALONE),
    "kernel": (HERE / "kernel", HERE / "notebooks"),
    "thorough": (
        *(HERE / folder for folder in ("properties", "slices", "adapters", "crash")),
        *(HERE / file for file in SLOW),
    ),
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what ``-m`` leaves out: that took longer than the tests that are left."""
    left_out = (mark for mark in MARKED if f"not {mark}" in config.option.markexpr)
    paths = [path for mark in left_out for path in MARKED[mark]]
    return any(collection_path.is_relative_to(path) for path in paths) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark, folders in MARKED.items():
            if any(item.path.is_relative_to(folder) for folder in folders):
                item.add_marker(mark)


@pytest.fixture(scope="module", autouse=True)
def _what_was_imported_is_no_garbage() -> None:
    """Keep what there is before a module's tests out of every later garbage collection.

    IPython collects whenever a shell ends, which hundreds of tests do: walking through all that
    was ever imported each time took longer than the tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["restarted", "in memory"])
def kernels(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kernels]:
    """A notebook that begins with the module's ``CELLS``, with a store and without one."""
    restarts = request.param == "restarted"
    made = Kernels(opener(tmp_path, monkeypatch), restarts, request.module.CELLS)
    yield made
    made.close()


@pytest.fixture
def stored(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kernels]:
    """The same, with a store."""
    made = Kernels(opener(tmp_path, monkeypatch), True, request.module.CELLS)
    yield made
    made.close()


@pytest.fixture(autouse=IS_COLD)
def _cold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In cold mode every test is, unless it says why it cannot."""
    mark = request.node.get_closest_marker("warm")
    if mark is None:
        chill(monkeypatch)
    else:
        request.node.user_properties.append(("warm", mark.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How often runs were killed, and commands fed payloads; which tests were not cold, and why."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    told = [one for report in reports for one in report.user_properties]
    kills = sum(int(str(count)) for name, count in told if name == "kills")
    if kills:
        terminalreporter.line(f"{kills} kills at writes and syncs of stores")
    payloads = sum(int(str(count)) for name, count in told if name == "payloads")
    if payloads:
        terminalreporter.line(f"{payloads} payloads fed to commands")
    if IS_COLD:
        reasons = Counter(str(reason) for name, reason in told if name == "warm")
        terminalreporter.line(f"cold mode: {reasons.total()} of {len(reports)} tests were warm")
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"  {count:>3} {reason}")


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """A notebook without a kernel, with the extension loaded."""
    with fresh_notebook() as one:
        yield one
