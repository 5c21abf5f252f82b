"""What a cell costs: ``%flujo run`` of a step against the same work awaited in a bare cell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from benches.harness import Figure, WrongResult, expect

ROOT = Path(__file__).resolve().parent.parent
CELLS = 60
TIMEOUT_S = 60
FRAME_MIME = "application/vnd.flujo.frame+json"

SETUP = """
%load_ext flujo_nb
from flujo_nb import step

async def body(number: int) -> int:
    return number + 1

@step
async def plus_one(number: int) -> int:
    return number + 1
"""
BARE = "await body({})"
RUN = "%flujo run plus_one -i {}"


@dataclass(frozen=True)
class Answer:
    """What a cell displayed as its value, and how long that took until the kernel was idle."""

    seconds: float
    shown: Mapping[str, object]


@contextmanager
def kernel() -> Iterator[BlockingKernelClient]:
    """A client of a fresh kernel, on this interpreter, that works in an empty folder."""
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(  # what is installed elsewhere does not matter
        argv=[
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--log-level=ERROR",
        ],
        language="python",
    )
    with TemporaryDirectory() as folder:
        manager.start_kernel(cwd=folder, env={**os.environ, "IPYTHONDIR": folder})
        client = manager.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=TIMEOUT_S)
            yield client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


def ask(client: BlockingKernelClient, code: str) -> Answer:
    """Run a cell. Returns when there is the reply and the kernel is idle, so none overlap."""
    shown: Mapping[str, object] = {}
    started = perf_counter()
    sent = client.execute(code)
    while True:
        message = client.get_iopub_msg(timeout=TIMEOUT_S)
        if message["parent_header"].get("msg_id") != sent:
            continue
        content = message["content"]
        if message["msg_type"] == "execute_result":
            shown = content["data"]
        elif message["msg_type"] == "error":
            raise WrongResult(f"{code}: {content['ename']}: {content['evalue']}")
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            break
    reply = client.get_shell_msg(timeout=TIMEOUT_S)
    seconds = perf_counter() - started
    expect(code, reply["parent_header"].get("msg_id"), sent)
    expect(code, reply["content"]["status"], "ok")
    return Answer(seconds, shown)


def cell_figures(cells: int = CELLS) -> Sequence[Figure]:
    """Both kinds of cell in turn, in one kernel."""
    bare, run = [], []
    with kernel() as client:
        ask(client, SETUP)
        ask(client, BARE.format(0))  # not counted
        ask(client, RUN.format(0))
        for number in range(1, cells + 1):
            answer = ask(client, BARE.format(number))
            expect("a bare cell", answer.shown.get("text/plain"), str(number + 1))
            bare.append(answer.seconds)
            answer = ask(client, RUN.format(number))
            check_card(answer.shown, number)
            run.append(answer.seconds)
    more = median(one - other for one, other in zip(run, bare, strict=True))
    return [
        Figure("cell with a bare await", "ms", 1_000 * median(bare)),
        Figure("cell with %flujo run", "ms", 1_000 * median(run)),
        Figure("cell with %flujo run", "ms more", 1_000 * more, 5),
    ]


def check_card(shown: Mapping[str, object], number: int) -> None:
    """Raise `WrongResult` unless ``shown`` is the card of the next frame, with its output."""
    card, text = shown.get(FRAME_MIME), str(shown.get("text/plain"))
    told = card if isinstance(card, Mapping) else {}
    expect("the frame's id", told.get("id"), f"f{number}")
    expect("the frame's status", told.get("status"), "completed")
    rows = [line.split() for line in text.splitlines()]
    expect("the frame's output", ["output", str(number + 1)] in rows, True)
