"""Flows with a step that may run once only, and a process that is killed while that step works."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from flujo_nb.engine.frame import AnyFrame
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.steps import Node, Step
from flujo_nb.engine.store.sqlite import SqliteStore


class Effects:
    """What steps did outside, one line each, in a file that outlives their process.

    With a ``pipe`` every payment is told there, and then never comes to its end.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.pipe: Connection | None = None

    def add(self, frame: AnyFrame) -> None:
        """The step of ``frame`` did something."""
        assert self.path is not None
        with self.path.open("a") as file:
            file.write(f"{frame.run_id} {frame.path}\n")
            file.flush()
            os.fsync(file.fileno())

    def of(self, run_id: str) -> Sequence[str]:
        """Where steps of a run did something, in order."""
        assert self.path is not None
        pairs = (line.split() for line in self.path.read_text().splitlines())
        return [path for run, path in pairs if run == run_id]


EFFECTS = Effects()


async def order(data: object, frame: AnyFrame) -> object:
    EFFECTS.add(frame)
    return data


async def pay(data: int, frame: AnyFrame) -> int:
    EFFECTS.add(frame)
    if EFFECTS.pipe is not None:
        EFFECTS.pipe.send(frame.run_id)
        await asyncio.sleep(60)
    return data * 10


async def deliver(data: object, frame: AnyFrame) -> object:
    EFFECTS.add(frame)
    return data


def paid() -> Node:
    return Step.from_callable(pay, at_most_once=True)


def around(node: Node) -> Node:
    return Step.from_callable(order) >> node >> Step.from_callable(deliver)


FLOWS: Mapping[str, Node] = {
    "sequence": around(paid()),
    "map": around(Step.map_over("each", paid())),
    "parallel": around(Step.parallel("fan", {"p": paid(), "q": Step.from_callable(deliver)})),
}


@asynccontextmanager
async def runner(flow: str, path: Path) -> AsyncIterator[Flujo]:
    """A new runner of a flow, on a store that is opened anew."""
    store = SqliteStore(path)
    try:
        yield Flujo(FLOWS[flow], state_backend=store)
    finally:
        await store.aclose()


def run_all(runs: Mapping[str, tuple[str, object]], store: Path, pipe: Connection) -> None:
    """Run flows (run id: flow and input) until something ends this process."""
    EFFECTS.path, EFFECTS.pipe = effects_of(store), pipe

    async def main() -> None:
        one = SqliteStore(store)
        await asyncio.gather(
            *(
                Flujo(FLOWS[flow], state_backend=one).run_async(data, run_id=run_id)
                for run_id, (flow, data) in runs.items()
            )
        )

    asyncio.run(main())


def run_again(run_id: str, store: Path, pipe: Connection) -> None:
    """Go on with a run by running its step once more, until something ends this process."""
    EFFECTS.path, EFFECTS.pipe = effects_of(store), pipe
    asyncio.run(resumed(run_id, store))


async def resumed(run_id: str, store: Path) -> None:
    """Go on until the step's question, and answer that it is to be run again."""
    async with runner("sequence", store) as flujo:
        await flujo.run_async(run_id=run_id)
        await flujo.resume_async(run_id, {"action": "run_again"})


def effects_of(store: Path) -> Path:
    """The file of the side effects of the runs in a store."""
    return store.with_suffix(".effects")
