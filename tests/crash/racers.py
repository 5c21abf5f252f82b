"""A long-lived process that runs, resumes and answers runs as it is told on stdin.

Each line is a `Command`; the answer is one line of JSON. A command with ``at`` begins at that
moment of the monotonic clock, which all processes of a machine share, and so at the same time as
others that were told so.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from flujo_nb.engine.errors import FlujoError
from flujo_nb.engine.results import PipelineResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Node, Pipeline, Step
from flujo_nb.engine.store.sqlite import SqliteStore
from tests.crash.broken import Unfenced
from tests.crash.shapes import EFFECTS


class Command(TypedDict, total=False):
    """What a process is told: the flow and run, and either an ``answer`` at ``pause`` or none."""

    flow: str
    run_id: str
    at: float
    fails: bool
    answer: object
    pause: str


class Rules:
    """How steps behave that are told from outside."""

    fails = False
    folder = Path()


RULES = Rules()


def does(name: str) -> Any:
    """A step that tells the side-effect file that it runs, and in which process."""

    async def work(data: int, frame: Any) -> int:
        EFFECTS.add(f"{frame.run_id} {frame.path} {os.getpid()}")
        await asyncio.sleep(0)
        return data + 1

    return Step.from_callable(work, name=name)


async def shaky(data: int, frame: Any) -> int:
    """Fails while it is told to."""
    EFFECTS.add(f"{frame.run_id} {frame.path} {os.getpid()}")
    if RULES.fails:
        raise ValueError("as it was told")
    return data + 1


def held(name: str) -> Any:
    """A step that waits until there is a file of its name."""

    async def work(data: int, frame: Any) -> int:
        EFFECTS.add(f"{frame.run_id} {frame.path} {os.getpid()}")
        while not (RULES.folder / name).exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        return data + 1

    return Step.from_callable(work, name=name)


def resumed() -> Node:
    return Pipeline.of(does("a"), Step.from_callable(shaky), does("b"), does("c"))


def stopped() -> Node:
    return Pipeline.of(does("a"), held("held"), held("kept"), does("b"))


def asking() -> Node:
    branches = {side: Step.human_in_the_loop(f"ask_{side}", "?", int) for side in ("l", "r")}
    total = Step.from_callable(lambda outputs: sum(outputs.values()), name="total")
    return Step.parallel("fan", branches) >> total >> does("z")


FLOWS: Mapping[str, Callable[[], Node]] = {
    "resumed": resumed,
    "stopped": stopped,
    "asking": asking,
}


class Racer:
    """What a process keeps: one store, and one runner for each flow."""

    def __init__(self, store: str, lease_s: float, unfenced: bool) -> None:
        sound = SqliteStore(store, lease_s=lease_s, busy_timeout_s=20.0)
        self._store = Unfenced(sound) if unfenced else sound
        self._runners: dict[str, Flujo] = {}

    async def carry_out(self, command: Command) -> Mapping[str, object]:
        """Do what the command says, and say what came of it."""
        flow = command["flow"]
        if flow not in self._runners:
            self._runners[flow] = Flujo(FLOWS[flow](), state_backend=self._store)
        runner = self._runners[flow]
        RULES.fails = command.get("fails", False)
        while time.monotonic() < command.get("at", 0.0):
            pass
        try:
            given: object
            if "pause" in command:
                run_id, pause = command["run_id"], command["pause"]
                given = await runner.resume_async(run_id, command["answer"], pause=pause)
            else:
                given = await runner.run_async(1, run_id=command["run_id"])
        except FlujoError as error:
            return {"error": type(error).__name__, "message": str(error)}
        if isinstance(given, PipelineResult):
            return {"status": str(given.status), "output": given.output}
        return {"status": "recorded"}


async def main() -> None:
    """Carry out commands until there are no more."""
    folder, lease_s, kind = sys.argv[1:]
    RULES.folder = Path(folder)
    EFFECTS.open(f"{folder}/effects")
    racer = Racer(f"{folder}/runs.db", float(lease_s), kind == "unfenced")
    print(json.dumps({"pid": os.getpid()}), flush=True)
    while line := sys.stdin.readline():
        print(json.dumps(await racer.carry_out(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
