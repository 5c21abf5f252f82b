"""Executing notebooks in fresh kernels, as ``flujo-nb run`` does: no printing, no files."""

from __future__ import annotations

import asyncio
import enum
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from pydantic import BaseModel

from .display import FRAME_MIME
from .engine.errors import FlujoError
from .html import plain

REPORT_TAG = "report"
"""The tag of the cells whose text is the notebook's result."""

_ALLOWED_TAG = "raises-exception"
_SKIPPED_TAG = "skip-execution"
_SOCKET_PATH = 90
"""What a socket's path may have on every system, with room for its number."""


class FrameLine(BaseModel, frozen=True):
    """What a frame's output in a notebook says about it."""

    id: str
    name: str
    status: str
    origin: str
    run_id: str
    duration_s: float


class KernelNotStarted(FlujoError):
    """There is no kernel to execute a notebook in."""


class CellEnd(enum.Enum):
    """How a cell ended."""

    OK = "ok"
    FAILED = "failed"
    ALLOWED = "failed, as its tag allows"


@dataclass(frozen=True, slots=True)
class CellStarted:
    """A cell is being executed: the ``number``-th of ``count``."""

    number: int
    count: int
    first_line: str


@dataclass(frozen=True, slots=True)
class CellEnded:
    """A cell was executed. ``frames`` are those that no cell before it has shown."""

    end: CellEnd
    seconds: float
    frames: Sequence[FrameLine] = ()
    error: Sequence[str] = ()


class Listener(Protocol):
    """Who is told of each cell as it starts and as it ends."""

    def started(self, cell: CellStarted) -> None:
        """A cell is about to be executed."""

    def ended(self, cell: CellEnded) -> None:
        """The cell that was started last has ended."""


@dataclass(frozen=True, slots=True)
class Execution:
    """An executed notebook, with the outputs up to where it ended, and whether it passed."""

    notebook: NotebookNode
    passed: bool


async def execute(
    notebook: NotebookNode, folder: Path, listener: Listener, *, cell_timeout: int | None = None
) -> Execution:
    """Execute ``notebook`` in ``folder`` with a kernel of its own, which runs this interpreter.

    ``cell_timeout`` bounds each cell, in seconds. It ends at the first cell that fails without
    the tag ``raises-exception``. The outputs are written into ``notebook``.
    """
    watch = _Watch(notebook, listener)
    with _kernel_manager() as manager:
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=cell_timeout,
            on_cell_execute=watch.on_execute,
            on_cell_executed=watch.on_executed,
        )
        try:
            async with _kernel_of(client, manager, folder):
                for index, cell in enumerate(notebook.cells):
                    await client.async_execute_cell(cell, index)
                client.set_widgets_metadata()
        except CellExecutionError:
            return Execution(notebook, passed=False)  # the listener knows of it
        except CellTimeoutError:
            watch.broken_off(f"it took longer than {cell_timeout} s, and its kernel was ended")
            return Execution(notebook, passed=False)
        except DeadKernelError:
            if _is_cancelled():  # nbclient takes that for a death as well
                raise asyncio.CancelledError from None
            watch.broken_off("the kernel died while it ran")
            return Execution(notebook, passed=False)
    return Execution(notebook, passed=True)


@asynccontextmanager
async def _kernel_of(
    client: NotebookClient, manager: AsyncKernelManager, folder: Path
) -> AsyncIterator[None]:
    """A kernel for ``client``, which is gone afterwards.

    nbclient's own way takes over the signals of the process, and fails when one comes.
    """
    try:
        await client.async_start_new_kernel(cwd=str(folder))
        kernel = await client.async_start_new_kernel_client()
    except RuntimeError as error:
        raise KernelNotStarted(f"the kernel did not start: {error}") from error
    at_once = False
    try:
        info = await client.async_wait_for_reply(await ensure_async(kernel.kernel_info()))
        if info is not None:
            client.nb.metadata["language_info"] = info["content"]["language_info"]
        yield
    except (CellTimeoutError, DeadKernelError):
        at_once = True  # a kernel that is busy or dead does not answer a request
        raise
    finally:
        kernel.stop_channels()
        await manager.shutdown_kernel(now=at_once)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def _kernel_manager() -> Iterator[AsyncKernelManager]:
    """The manager of a kernel that runs this interpreter, whatever kernels are installed.

    Its sockets lie in a private folder where the system can do that; else they are local ports.
    """
    with tempfile.TemporaryDirectory(prefix="flujo-", ignore_cleanup_errors=True) as folder:
        connection = Path(folder, "kernel.json")
        private = sys.platform != "win32" and len(str(connection)) <= _SOCKET_PATH
        yield _ThisInterpreter(
            connection_file=str(connection),
            transport="ipc" if private else "tcp",
        )


class _ThisInterpreter(AsyncKernelManager):
    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


class _Watch:
    """Tells a listener what nbclient's hooks say."""

    def __init__(self, notebook: NotebookNode, listener: Listener) -> None:
        self._listener = listener
        self._count = sum(map(is_executed, notebook.cells))
        self._number = 0
        self._began = 0.0
        self._shown: set[tuple[str, str]] = set()

    def on_execute(self, cell: NotebookNode, cell_index: int) -> None:
        self._number += 1
        self._began = time.monotonic()
        self._listener.started(CellStarted(self._number, self._count, first_line(cell.source)))

    def on_executed(
        self, cell: NotebookNode, cell_index: int, execute_reply: Mapping[str, Mapping[str, str]]
    ) -> None:
        reply = execute_reply["content"]
        frames = [one for one in frames_of(cell) if (one.run_id, one.id) not in self._shown]
        self._shown.update((one.run_id, one.id) for one in frames)
        if reply["status"] == "ok":
            self._ended(CellEnd.OK, frames)
        elif _ALLOWED_TAG in tags_of(cell):
            self._ended(CellEnd.ALLOWED, frames, error_of(cell, reply))
        else:
            self._ended(CellEnd.FAILED, frames, error_of(cell, reply))

    def broken_off(self, because: str) -> None:
        """The cell that was started last has no reply: ``because``."""
        self._ended(CellEnd.FAILED, (), (because,))

    def _ended(self, end: CellEnd, frames: Sequence[FrameLine], error: Sequence[str] = ()) -> None:
        seconds = time.monotonic() - self._began
        self._listener.ended(CellEnded(end, seconds, frames, error))


def is_executed(cell: NotebookNode) -> bool:
    """Whether executing the notebook executes this cell."""
    is_code = cell.cell_type == "code" and bool(cell.source.strip())
    return is_code and _SKIPPED_TAG not in tags_of(cell)


def tags_of(cell: NotebookNode) -> Sequence[str]:
    """A cell's tags."""
    tags: Sequence[str] = cell.metadata.get("tags", ())
    return tags


def first_line(source: str) -> str:
    """The first line of a cell that says something."""
    return next((line.strip() for line in source.splitlines() if line.strip()), "")


def frames_of(cell: NotebookNode) -> list[FrameLine]:
    """The frames that a cell's outputs show."""
    bundles = [output.get("data", {}) for output in cell.outputs]
    return [FrameLine.model_validate(one[FRAME_MIME]) for one in bundles if FRAME_MIME in one]


def error_of(cell: NotebookNode, reply: Mapping[str, str]) -> tuple[str, ...]:
    """The lines of a failed cell's error.

    A misused command leaves no error output, but what it said on stderr.
    """
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if errors:
        text = "\n".join(errors[-1].traceback)
    else:
        text = _stream_text(cell, "stderr") or f"{reply.get('ename')}: {reply.get('evalue')}"
    return tuple(plain(text).strip("\n").splitlines())


def report_of(notebook: NotebookNode) -> str:
    """What the cells with the tag ``report`` printed and displayed as text."""
    cells = [cell for cell in notebook.cells if is_executed(cell) and REPORT_TAG in tags_of(cell)]
    texts = [_output_text(output) for cell in cells for output in cell.outputs]
    return "\n".join(text.strip("\n") for text in map(plain, texts) if text.strip())


def _stream_text(cell: NotebookNode, name: str) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == name)


def _output_text(output: NotebookNode) -> str:
    if output.output_type == "stream":
        return str(output.text)
    data: Mapping[str, str] = output.get("data", {})
    is_picture = any(kind.startswith("image/") for kind in data)
    return "" if is_picture else data.get("text/plain", "")
