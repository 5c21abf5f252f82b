"""A real kernel, driven synchronously: what a front end sees of a cell, and nothing else."""

from __future__ import annotations

import os
import queue
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

LEFTOVERS = """
import asyncio as _asyncio, signal as _signal, threading as _threading
print(
    [t for t in _asyncio.all_tasks() if 'flujo' in repr(t)],
    [t.name for t in _threading.enumerate() if 'flujo' in t.name],
    getattr(_signal.getsignal(_signal.SIGINT), '__qualname__', _signal.getsignal(_signal.SIGINT)),
)
"""
CLEAN = "[] [] "
OWN_HANDLERS = {
    "": "default_int_handler",
    "await _asyncio.sleep(0)": "IPythonKernel._cancel_on_sigint.<locals>.handle_sigint",
}


@dataclass(frozen=True)
class Error:
    """The ``error`` output of a cell."""

    name: str
    value: str
    traceback: tuple[str, ...]

    @property
    def text(self) -> str:
        """The traceback without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(self.traceback))


@dataclass
class Cell:
    """A cell that was sent to the kernel, and what has come back for it so far."""

    msg_id: str
    code: str
    sent: float = field(default_factory=time.monotonic)
    outputs: list[Mapping[str, object]] = field(default_factory=list)
    error: Error | None = None
    status: str | None = None
    duration: float = 0.0
    idle: bool = False

    @property
    def stdout(self) -> str:
        return self._stream("stdout")

    @property
    def stderr(self) -> str:
        return self._stream("stderr")

    @property
    def result(self) -> str | None:
        """The text of what the cell displays as its value."""
        return next(iter(self._bundles("execute_result")), None)

    @property
    def displays(self) -> list[str]:
        return self._bundles("display_data")

    def _stream(self, name: str) -> str:
        return "".join(str(out["text"]) for out in self.outputs if out.get("name") == name)

    def _bundles(self, kind: str) -> list[str]:
        bundles = [out["data"] for out in self.outputs if out["output_type"] == kind]
        return [str(bundle["text/plain"]) for bundle in bundles if isinstance(bundle, Mapping)]


class Kernel:
    """An ipykernel in a process of its own, working in ``folder``.

    ``spec`` says how it is started; if not given, with this interpreter. ``stderr`` is all that
    it has written there, whatever cell it belongs to.
    """

    def __init__(self, folder: Path, spec: KernelSpec | None = None) -> None:
        self.stderr = ""
        self._manager = KernelManager()
        self._manager._kernel_spec = spec or KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            language="python",
        )
        environment = {**os.environ, "IPYTHONDIR": str(folder / ".ipython")}
        self._manager.start_kernel(cwd=str(folder), env=environment)
        self._client: BlockingKernelClient = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self._cells: dict[str, Cell] = {}

    def run(self, code: str, timeout: float = 30.0, cell_id: str | None = None) -> Cell:
        """Run a cell to its end: kernels up to 7.3 lose a request that comes before the reply."""
        return self.finish(self.start(code, cell_id), timeout)

    def check(self, code: str, timeout: float = 30.0, cell_id: str | None = None) -> Cell:
        """Run a cell that must not fail."""
        cell = self.run(code, timeout, cell_id)
        assert cell.error is None, "\n".join(cell.error.traceback)
        return cell

    def start(self, code: str, cell_id: str | None = None) -> Cell:
        """Send a cell, with its id if the front end is one that sends ids."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        metadata = {} if cell_id is None else {"cellId": cell_id}
        message = self._client.session.msg("execute_request", content, metadata=metadata)
        self._client.shell_channel.send(message)
        cell = Cell(message["header"]["msg_id"], code)
        self._cells[cell.msg_id] = cell
        return cell

    def complete(self, code: str) -> list[str]:
        """What Tab offers at the end of ``code``."""
        reply = self._client.complete(code, reply=True, timeout=30)
        return list(reply["content"]["matches"])

    def finish(self, cell: Cell, timeout: float = 30.0) -> Cell:
        """Wait until the cell has replied and the kernel is idle."""
        self._read_until(lambda: cell.idle, timeout, cell)
        cell.duration = time.monotonic() - cell.sent
        while cell.status is None:
            reply = self._client.get_shell_msg(timeout=timeout)
            answered = self._cells.get(reply["parent_header"].get("msg_id", ""))
            if answered is not None:
                answered.status = reply["content"]["status"]
        return cell

    def wait_for(self, cell: Cell, text: str, timeout: float = 30.0) -> None:
        """Wait until the cell has printed ``text``."""
        self._read_until(lambda: text in cell.stdout, timeout, cell)

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def interrupted(self, cell: Cell, timeout: float = 30.0) -> float:
        """Interrupt a running cell; the seconds until it ended."""
        pressed = time.monotonic()
        self.interrupt()
        self.finish(cell, timeout)
        return time.monotonic() - pressed

    def is_alive(self) -> bool:
        return bool(self._manager.is_alive())

    def leftovers(self) -> list[str]:
        """What is left of runs: tasks, threads, a handler of SIGINT that is not the kernel's."""
        left = []
        for how, handler in OWN_HANDLERS.items():
            cell = self.check(LEFTOVERS + how)
            if cell.stdout.strip() != CLEAN + handler:
                left.append(cell.stdout.strip())
        return left

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def _read_until(self, over: Callable[[], bool], timeout: float, cell: Cell) -> None:
        deadline = time.monotonic() + timeout
        while not over():
            try:
                message = self._client.get_iopub_msg(timeout=deadline - time.monotonic())
            except queue.Empty:
                raise TimeoutError(f"after {timeout} s: {cell}") from None
            self._take(message)

    def _take(self, message: Mapping[str, Any]) -> None:
        cell = self._cells.get(message["parent_header"].get("msg_id", ""))
        kind, content = message["msg_type"], message["content"]
        if kind == "stream" and content["name"] == "stderr":
            self.stderr += content["text"]
        if cell is None:
            return
        if kind == "status":
            cell.idle = content["execution_state"] == "idle"
        elif kind in {"stream", "display_data", "execute_result", "update_display_data"}:
            cell.outputs.append({"output_type": kind, **content})
        elif kind == "error":
            cell.error = Error(content["ename"], content["evalue"], tuple(content["traceback"]))
