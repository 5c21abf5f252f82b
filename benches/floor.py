"""The floor: frame → dispatch → policy → quota → history, really done, and nothing more.

It has no attempts, no failures, no injection, no contexts and no events, so it is about the least
that an engine of this design can cost in Python. The engine is compared with it. Its sequences,
loops, maps, fan-outs, conditions and caches are the plainest that give the same outputs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from time import perf_counter
from typing import Protocol, TypeAlias


@dataclass(frozen=True)
class FloorStep:
    """A function with a name."""

    name: str
    function: Callable[..., Awaitable[object]]


@dataclass(frozen=True, eq=False)
class FloorSequence:
    """Steps one after the other."""

    steps: Sequence[FloorNode]


@dataclass(frozen=True, eq=False)
class FloorLoop:
    """A body that runs until ``exits`` holds for its output, ``max_loops`` times at the most."""

    body: FloorNode
    exits: Callable[..., bool]
    max_loops: int


@dataclass(frozen=True, eq=False)
class FloorMap:
    """A body that runs on each item of the input: one after the other, or in a task each."""

    body: FloorNode
    at_once: bool = False


@dataclass(frozen=True, eq=False)
class FloorFanOut:
    """Branches that run at once, in a task each."""

    branches: Mapping[str, FloorNode]


@dataclass(frozen=True, eq=False)
class FloorChoice:
    """Branches of which one runs: the one whose key ``chooses`` gives."""

    chooses: Callable[..., int]
    branches: Mapping[int, FloorNode]


@dataclass(frozen=True, eq=False)
class FloorCached:
    """A step that runs once for each input; ``kept`` holds what it gave, the newest last."""

    step: FloorStep
    kept: OrderedDict[str, object] = field(default_factory=OrderedDict)


FloorNode: TypeAlias = (
    FloorStep | FloorSequence | FloorLoop | FloorMap | FloorFanOut | FloorChoice | FloorCached
)


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
    """One execution of a node, with what an execution is given."""

    __slots__ = ("attempt", "budget", "context", "data", "index", "node", "parent", "resources")

    def __init__(
        self,
        parent: Frame | None,
        index: int,
        node: FloorNode,
        data: object,
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
        self, node: FloorNode, output: object, latency_s: float, children: Sequence[Record]
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


class LoopPolicy:
    """The body on its own output, until the condition holds."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run a loop's frame."""
        loop, data, budget = frame.node, frame.data, frame.budget
        assert type(loop) is FloorLoop
        children: list[Record] = []
        started = perf_counter()
        for index in range(loop.max_loops):
            child = Frame(frame, index, loop.body, data, frame.context, frame.resources, budget, 1)
            record = await core.run(child)
            children.append(record)
            data = record.output
            if loop.exits(data):
                return Record(loop, data, perf_counter() - started, children)
        raise RuntimeError("the condition did not hold")


class MapPolicy:
    """The body on each item."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run a map's frame."""
        mapped, items, budget = frame.node, frame.data, frame.budget
        assert type(mapped) is FloorMap
        assert isinstance(items, Sequence)
        body, context, resources = mapped.body, frame.context, frame.resources
        started = perf_counter()
        runs = (
            core.run(Frame(frame, index, body, item, context, resources, budget, 1))
            for index, item in enumerate(items)
        )
        children = await asyncio.gather(*runs) if mapped.at_once else [await run for run in runs]
        output = [record.output for record in children]
        return Record(mapped, output, perf_counter() - started, children)


class FanOutPolicy:
    """All branches on the same input."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run a fan-out's frame."""
        fan, data, budget = frame.node, frame.data, frame.budget
        assert type(fan) is FloorFanOut
        context, resources = frame.context, frame.resources
        started = perf_counter()
        children = await asyncio.gather(
            *(
                core.run(Frame(frame, index, branch, data, context, resources, budget, 1))
                for index, branch in enumerate(fan.branches.values())
            )
        )
        pairs = zip(fan.branches, children, strict=True)
        output = {name: record.output for name, record in pairs}
        return Record(fan, output, perf_counter() - started, children)


class ChoicePolicy:
    """The branch that is chosen."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run a choice's frame."""
        choice, data = frame.node, frame.data
        assert type(choice) is FloorChoice
        started = perf_counter()
        branch = choice.branches[choice.chooses(data)]
        context, resources = frame.context, frame.resources
        child = Frame(frame, 0, branch, data, context, resources, frame.budget, 1)
        record = await core.run(child)
        latency = perf_counter() - started
        return Record(choice, record.output, latency, (record,))


class CachedPolicy:
    """What is kept for the step and its input, or else what the step gives."""

    async def execute(self, core: FloorCore, frame: Frame) -> Record:
        """Run a cached step's frame."""
        cached, data = frame.node, frame.data
        assert type(cached) is FloorCached
        started = perf_counter()
        hashed = blake2b(cached.step.name.encode(), digest_size=32)
        hashed.update(f"{type(data).__qualname__} {data!r}".encode())
        key = hashed.hexdigest()
        children: tuple[Record, ...] = ()
        if key in cached.kept:
            cached.kept.move_to_end(key)
        else:
            context, resources = frame.context, frame.resources
            child = Frame(frame, 0, cached.step, data, context, resources, frame.budget, 1)
            children = (await core.run(child),)
            cached.kept[key] = children[0].output
        latency = perf_counter() - started
        return Record(cached, cached.kept[key], latency, children)


class Dispatcher:
    """Finds the policy of a frame's node by its type."""

    def __init__(self) -> None:
        self._policies: dict[type[FloorNode], FloorPolicy] = {
            FloorStep: StepPolicy(),
            FloorSequence: SequencePolicy(),
            FloorLoop: LoopPolicy(),
            FloorMap: MapPolicy(),
            FloorFanOut: FanOutPolicy(),
            FloorChoice: ChoicePolicy(),
            FloorCached: CachedPolicy(),
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

    async def run_root(self, node: FloorNode, data: object, limit: int) -> Record:
        """One run, with a budget of its own."""
        return await self.run(Frame(None, 0, node, data, None, None, Budget(limit), 1))
