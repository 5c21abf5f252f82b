"""The floor: frame → dispatch → policy → quota → history, really done, and nothing more.

It has no attempts, no failures, no injection, no contexts and no events, so it is about the least
that an engine of this design can cost in Python. The engine is compared with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol


@dataclass(frozen=True)
class FloorStep:
    """A function with a name."""

    name: str
    function: Callable[[int], Awaitable[int]]


@dataclass(frozen=True, eq=False)
class FloorSequence:
    """Steps one after the other."""

    steps: Sequence[FloorStep]


Node = FloorStep | FloorSequence


class Budget:
    """Tokens that may be used: reserved before a step, reconciled after it."""

    __slots__ = ("limit", "reserved", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0
        self.spent = 0

    def reserve(self, tokens: int) -> bool:
        """Set ``tokens`` aside; false when they do not fit."""
        if self.spent + self.reserved + tokens > self.limit:
            return False
        self.reserved += tokens
        return True

    def reconcile(self, reserved: int, used: int) -> None:
        """Give back what was reserved and book what was used."""
        self.reserved -= reserved
        self.spent += used


class Frame:
    """One execution of a step or a sequence, with what an execution is given."""

    __slots__ = ("attempt", "budget", "context", "data", "index", "node", "parent", "resources")

    def __init__(
        self,
        parent: Frame | None,
        index: int,
        node: Node,
        data: int,
        context: object,
        resources: object,
        budget: Budget,
        attempt: int,
    ) -> None:
        self.parent = parent
        self.index = index
        self.node = node
        self.data = data
        self.context = context
        self.resources = resources
        self.budget = budget
        self.attempt = attempt


class Record:
    """What came out of a frame, and of the frames inside it."""

    __slots__ = ("children", "latency_s", "node", "output")

    def __init__(
        self, node: Node, output: int, latency_s: float, children: Sequence[Record]
    ) -> None:
        self.node = node
        self.output = output
        self.latency_s = latency_s
        self.children = children


class FloorPolicy(Protocol):
    """Runs the frames of one kind of node."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run ``frame``."""


class StepPolicy:
    """Reserve, call, reconcile, record."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run a step's frame."""
        step, budget = frame.node, frame.budget
        assert type(step) is FloorStep
        if not budget.reserve(0):
            raise RuntimeError("the budget is spent")
        started = perf_counter()
        output = await step.function(frame.data)
        latency = perf_counter() - started
        budget.reconcile(0, 0)
        return Record(step, output, latency, ())


class SequencePolicy:
    """Each step on the output of the one before."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run a sequence's frame."""
        sequence, data, budget = frame.node, frame.data, frame.budget
        assert type(sequence) is FloorSequence
        children: list[Record] = []
        started = perf_counter()
        for index, step in enumerate(sequence.steps):
            child = Frame(frame, index, step, data, frame.context, frame.resources, budget, 1)
            record = await core.run(child)
            children.append(record)
            data = record.output
        return Record(sequence, data, perf_counter() - started, children)


class Dispatcher:
    """Finds the policy of a frame's node by its type."""

    def __init__(self) -> None:
        self._policies: dict[type[Node], FloorPolicy] = {
            FloorStep: StepPolicy(),
            FloorSequence: SequencePolicy(),
        }

    def dispatch(self, core: FloorCore, frame: Frame) -> Awaitable[Record]:
        """Run ``frame`` by its policy."""
        return self._policies[type(frame.node)].execute(core, frame)


class FloorCore:
    """Runs frames."""

    def __init__(self) -> None:
        self._dispatcher = Dispatcher()

    def run(self, frame: Frame) -> Awaitable[Record]:
        """Run ``frame``."""
        return self._dispatcher.dispatch(self, frame)

    async def run_root(self, node: Node, data: int, limit: int) -> Record:
        """One run, with a budget of its own."""
        return await self.run(Frame(None, 0, node, data, None, None, Budget(limit), 1))
