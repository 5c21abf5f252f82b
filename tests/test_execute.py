"""Executing notebooks: each option that nbclient is given is in force, and nothing is left over."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from flujo_nb.display import FRAME_MIME
from flujo_nb.execute import (
    CellEnd,
    CellEnded,
    CellStarted,
    Execution,
    KernelNotStarted,
    error_of,
    execute,
    first_line,
    frames_of,
    report_of,
)

SLEEP = "import time; time.sleep(60)"
FRAME = {
    "id": "f0",
    "parent": None,
    "name": "words",
    "status": "completed",
    "origin": "-i",
    "path": "c[1]/words",
    "run_id": "session_1",
    "duration_s": 0.5,
    "usage": {"cost_usd": 0, "tokens": 0},
}


class Log:
    """A listener that remembers, and says when the second cell has started."""

    def __init__(self) -> None:
        self.starts: list[CellStarted] = []
        self.ends: list[CellEnded] = []
        self.second = asyncio.Event()

    def started(self, cell: CellStarted) -> None:
        self.starts.append(cell)
        if cell.number == 2:
            self.second.set()

    def ended(self, cell: CellEnded) -> None:
        self.ends.append(cell)


def notebook_of(*sources: str, tags: tuple[str, ...] = ()) -> NotebookNode:
    return new_notebook(cells=[new_code_cell(one, metadata={"tags": tags}) for one in sources])


def run(
    notebook: NotebookNode, folder: Path, log: Log | None = None, cell_timeout: int | None = None
) -> Execution:
    return asyncio.run(execute(notebook, folder, log or Log(), cell_timeout=cell_timeout))


def printed(notebook: NotebookNode) -> str:
    return "".join(
        o.text for cell in notebook.cells for o in cell.get("outputs", ()) if "text" in o
    )


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def foreign_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed kernel called ``python3`` that is not this interpreter: it does not even run."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [sys.executable, "-c", "raise SystemExit('foreign kernel')", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))


@pytest.mark.kernel
@pytest.mark.usefixtures("foreign_kernel")
def test_the_kernel_is_this_interpreter_whatever_is_installed(tmp_path: Path) -> None:
    notebook = notebook_of("import sys; print(sys.executable)")
    assert run(notebook, tmp_path).passed
    assert printed(notebook).strip() == sys.executable


@pytest.mark.kernel
def test_cells_run_in_the_folder_and_the_kernel_says_nothing_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook = notebook_of("import os; print(os.path.realpath('.'))")
    run(notebook, tmp_path)
    assert printed(notebook).strip() == str(tmp_path.resolve())
    assert capfd.readouterr() == ("", "")
    assert notebook.metadata.language_info.pygments_lexer == "ipython3"


@pytest.mark.kernel
def test_a_folder_too_deep_for_sockets_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert run(notebook_of("1"), tmp_path).passed
    assert list(deep.iterdir()) == []


@pytest.mark.kernel
def test_the_listener_hears_of_each_cell_and_of_each_frame_once(tmp_path: Path) -> None:
    notebook = notebook_of(
        "%load_ext flujo_nb",
        "\n%%flujo step -i 'to be'\ndef words(text: str) -> list[str]:\n    return text.split()",
        "%flujo show",
    )
    notebook.cells.insert(1, new_markdown_cell("Words."))
    notebook.cells.append(new_code_cell(" "))
    notebook.cells.append(new_code_cell(SLEEP, metadata={"tags": ["skip-execution"]}))
    log = Log()
    assert run(notebook, tmp_path, log).passed
    assert [(one.number, one.count) for one in log.starts] == [(1, 3), (2, 3), (3, 3)]
    assert log.starts[1].first_line == "%%flujo step -i 'to be'"
    shown = [[(f.id, f.name, f.status, f.origin) for f in one.frames] for one in log.ends]
    assert shown == [[], [("f0", "words", "completed", "-i")], []]
    assert [one.end for one in log.ends] == [CellEnd.OK] * 3


@pytest.mark.kernel
def test_a_failing_cell_ends_the_execution(tmp_path: Path) -> None:
    notebook = notebook_of("print('before')", "1 / 0", "print('after')")
    log = Log()
    assert not run(notebook, tmp_path, log).passed
    assert log.ends[-1].end is CellEnd.FAILED
    assert log.ends[-1].error[-1] == "ZeroDivisionError: division by zero"
    assert printed(notebook) == "before\n"


@pytest.mark.kernel
def test_a_tagged_cell_may_fail_and_need_not(tmp_path: Path) -> None:
    log = Log()
    assert run(notebook_of("1 / 0", "1", tags=("raises-exception",)), tmp_path, log).passed
    assert [one.end for one in log.ends] == [CellEnd.ALLOWED, CellEnd.OK]


@pytest.mark.kernel
def test_a_misused_command_fails_its_cell_with_what_it_said(tmp_path: Path) -> None:
    log = Log()
    assert not run(notebook_of("%load_ext flujo_nb", "%flujo rn"), tmp_path, log).passed
    assert log.ends[-1].error == ("UsageError: there is no command 'rn'; did you mean 'run'?",)


@pytest.mark.kernel
def test_a_cell_that_takes_too_long_is_ended_with_its_kernel(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook = notebook_of("import os; print(os.getpid())", SLEEP)
    log, began = Log(), time.monotonic()
    assert not run(notebook, tmp_path, log, cell_timeout=1).passed
    assert time.monotonic() - began < 20
    assert log.ends[-1].error == ("it took longer than 1 s, and its kernel was ended",)
    assert not is_running(int(printed(notebook)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.kernel
def test_a_kernel_that_dies_fails_its_cell(tmp_path: Path) -> None:
    log = Log()
    assert not run(notebook_of("import os; os._exit(1)", "1"), tmp_path, log).passed
    assert [one.error for one in log.ends] == [("the kernel died while it ran",)]


@pytest.mark.kernel
def test_a_kernel_that_does_not_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"argv": [sys.executable, "-c", "", "{connection_file}"], "language": "python"}
    monkeypatch.setattr("flujo_nb.execute.get_kernel_dict", lambda: spec)
    with pytest.raises(KernelNotStarted, match="the kernel did not start: "):
        run(notebook_of("1"), tmp_path)


@pytest.mark.kernel
def test_cancelling_ends_the_kernel_at_once(tmp_path: Path) -> None:
    notebook = notebook_of("import os; print(os.getpid())", SLEEP)

    async def cancelled() -> None:
        log = Log()
        task = asyncio.create_task(execute(notebook, tmp_path, log))
        await asyncio.wait_for(log.second.wait(), 30)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert not is_running(int(printed(notebook)))


def test_the_error_of_a_cell_is_its_traceback_without_colours() -> None:
    lines = ["\x1b[31mBoom in a\x1b[0m", "  kept: f3\x07"]
    cell = new_code_cell(outputs=[new_output("error", ename="E", evalue="v", traceback=lines)])
    assert error_of(cell, {}) == ("Boom in a", "  kept: f3")


def test_a_cell_without_an_error_output_says_what_the_kernel_replied() -> None:
    assert error_of(new_code_cell(), {"ename": "E", "evalue": "why"}) == ("E: why",)


def test_the_report_is_the_text_of_the_tagged_cells_without_pictures() -> None:
    outputs = [
        new_output("stream", name="stdout", text="89 packages\n"),
        new_output("display_data", {"image/png": "…", "text/plain": "<Figure>"}),
        new_output("execute_result", {"text/plain": "a  b", "text/html": "<table>"}),
        new_output("display_data", {"text/html": "<p>"}),
    ]
    tagged = new_code_cell("1", metadata={"tags": ["report"]}, outputs=outputs)
    other = new_code_cell("1", outputs=outputs)
    text = new_markdown_cell("report", metadata={"tags": ["report"]})
    assert report_of(new_notebook(cells=[other, text, tagged])) == "89 packages\na  b"


def test_frames_are_read_from_the_outputs() -> None:
    shown = new_output("execute_result", {FRAME_MIME: FRAME, "text/plain": "f0"})
    (frame,) = frames_of(new_code_cell(outputs=[new_output("stream", text="x"), shown]))
    assert (frame.id, frame.origin, frame.duration_s) == ("f0", "-i", 0.5)


def test_the_first_line_is_the_first_that_says_something() -> None:
    assert first_line("\n\n  x = 1\ny") == "x = 1"
    assert first_line("") == ""
