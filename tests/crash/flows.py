"""The program that is killed: it runs or resumes one flow shape, and prints how that ended.

``python -m tests.crash.flows SHAPE --store PATH --run-id ID --effects FILE [--answer]``. It ends
with 0 and the result as JSON, or with 3 and the error when the store raised one. With ``--serve``
it runs one command line after the other (see `tests.crash.program`), each in a process forked for
it, which saves the start of an interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from pydantic import BaseModel

from flujo_nb.engine.errors import StoreError
from flujo_nb.engine.results import PipelineResult, StepResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.store import database
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Store
from tests.crash.broken import BROKEN
from tests.crash.shapes import EFFECTS, SHAPES

STORE_FAILED = 3
LIMIT_S = 30
PR_SET_PTRACER = 0x59616D61
ANYBODY = ctypes.c_ulong(-1)


def plain(value: Any) -> Any:
    """A result, or what is in one, as JSON without what may differ from run to run."""
    match value:
        case PipelineResult():
            return {
                "status": str(value.status),
                "output": plain(value.output),
                "history": plain(value.step_history),
                "tokens": value.total_tokens,
                "context": plain(value.final_pipeline_context),
                "paused": sorted(str(pause.path) for pause in value.paused),
            }
        case StepResult():
            return {
                "name": value.name,
                "path": str(value.path),
                "output": plain(value.output),
                "success": value.success,
                "feedback": value.feedback,
                "tokens": value.token_counts,
                "metadata": plain(value.metadata),
                "inside": plain(value.step_history),
            }
        case BaseModel():
            return plain(value.model_dump(exclude={"run_id"}))
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case str() | int() | float() | None:
            return value
        case Sequence():
            return [plain(one) for one in value]
    return repr(value)


class Aside:
    """The one thread on which the store commits when it finds the disk slow."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def begin(self) -> None:
        """Start the thread now, so that it can be traced from its first call on."""
        self._pool.submit(int).result()

    def take_commits(self) -> None:
        """Have every commit that may go to another thread go to this one."""
        database._SLOW_S = -1.0
        asyncio.get_running_loop().set_default_executor(self._pool)


ASIDE = Aside()


async def carried_out(given: argparse.Namespace) -> PipelineResult:
    """Run or resume; with ``--answer`` every question is answered as the shape says."""
    shape = SHAPES[given.shape]
    if given.aside:
        ASIDE.take_commits()
    store: str | Store = given.store
    if given.broken is not None:
        store = BROKEN[given.broken](SqliteStore(given.store))
    async with Flujo(shape.make(), state_backend=store, **shape.options) as runner:
        result = await runner.run_async(shape.data, run_id=given.run_id)
        for pause in result.paused if given.answer else ():
            path = str(pause.path)
            gone_on = await runner.resume_async(given.run_id, shape.answers[path], pause=path)
            assert isinstance(gone_on, PipelineResult), gone_on
            result = gone_on
        return result


def main(argv: Sequence[str]) -> int:
    """Carry out one command line; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.flows")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--store", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--effects", required=True)
    parser.add_argument("--answer", action="store_true")
    parser.add_argument("--aside", action="store_true", help="commit on another thread")
    parser.add_argument("--broken", choices=BROKEN)
    given = parser.parse_args(argv)
    EFFECTS.open(given.effects)
    try:
        result = asyncio.run(carried_out(given))
    except StoreError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), flush=True)
        return STORE_FAILED
    print(json.dumps(plain(result), sort_keys=True), flush=True)
    return 0


def warmed_up() -> None:
    """Run one flow, so that what is done once in a process is done before it forks."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        places = ["--store", f"{folder}/runs.db", "--effects", f"{folder}/effects"]
        assert main(["context", "--run-id", "warm", *places]) == 0
    gc.freeze()


def serve(work: Callable[[Sequence[str]], int]) -> None:
    """Run the command lines that come on stdin; tell on stdout of each its pid and its end."""
    library = ctypes.CDLL(None)
    for line in sys.stdin:
        asked = json.loads(line)
        gate, opens = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(opens)
            library.prctl(PR_SET_PTRACER, ANYBODY, 0, 0, 0)
            signal.alarm(LIMIT_S)  # one that hangs is killed, and so found
            out = os.open(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(out, 1)
            os.dup2(out, 2)
            if "--aside" in asked["argv"]:
                ASIDE.begin()
            os.read(gate, 1)  # until whoever traces this process is ready
            code = 1
            try:
                code = work(asked["argv"])
            finally:
                if sys.exc_info()[0] is not None:
                    traceback.print_exc()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(gate)
        print(json.dumps({"pid": pid}), flush=True)
        sys.stdin.readline()
        os.close(opens)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        warmed_up()
        serve(main)
    else:
        sys.exit(main(sys.argv[1:]))
