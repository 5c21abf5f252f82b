"""The flow shapes that are killed: each step tells the side-effect file first that it runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel

from flujo_nb.engine.cache_manager import CacheEntry
from flujo_nb.engine.merging import Merge
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Node, Pipeline, Step
from flujo_nb.engine.usage import Metered, Usage, UsageEstimate, UsageLimits


class Effects:
    """The file to which every execution of a step adds its path, before it does anything else."""

    def __init__(self) -> None:
        self._fd = -1

    def open(self, path: str) -> None:
        """Write to the file at ``path`` from now on."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, line: str) -> None:
        """Add a line; it is there for all processes as soon as this returns."""
        os.write(self._fd, f"{line}\n".encode())


EFFECTS = Effects()


class State(BaseModel):
    """The context of the flows that have one."""

    log: Annotated[list[str], Merge.append] = []
    total: Annotated[int, Merge.add] = 0


@dataclass(frozen=True)
class Shape:
    """A flow with its input.

    ``options`` are those of its runner; ``answers`` what its pauses are answered with, by path.
    Nothing orders what runs in the containers at the paths ``concurrent`` (``""`` is the whole
    run), nor what runs ``behind`` the run. Frames in ``in_doubt`` never run twice. A crash
    counts as up to ``uncertain`` tokens: what was reserved for the step in flight.
    """

    make: Callable[[], Node]
    data: object = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, object] = field(default_factory=dict)
    concurrent: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    in_doubt: tuple[str, ...] = ()
    uncertain: int = 0


def plus(number: int) -> Callable[[Any], Any]:
    """A function that adds."""
    return lambda data: data + number


plus_one = plus(1)


def does(name: str, function: Callable[[Any], Any] = plus_one, **options: Any) -> Any:
    """A step that adds its path to the side effects, lets others run, and calls ``function``."""

    async def work(data: Any, frame: Any) -> Any:
        EFFECTS.add(str(frame.path))
        await asyncio.sleep(0)
        return function(data)

    return Step.from_callable(work, name=name, **options)


def logs(name: str) -> Any:
    """A step that makes the context's list longer by one, and its total greater."""

    async def work(data: int, context: State, frame: Any) -> int:
        EFFECTS.add(str(frame.path))
        context.log.append(f"{name} {data}")
        context.total += data
        return data + 1

    return Step.from_callable(work, name=name)


def spends(name: str, tokens: int) -> Any:
    """A step that says what it will use, and uses a little less."""

    async def work(data: int, frame: Any) -> Metered:
        EFFECTS.add(str(frame.path))
        return Metered(data + 1, Usage(cost_micros=tokens, tokens=tokens, requests=1))

    return Step.from_callable(work, name=name, estimate=UsageEstimate(tokens=tokens + 5))


def fails(name: str, **options: Any) -> Any:
    """A step that raises each time."""

    async def work(data: int, frame: Any) -> int:
        EFFECTS.add(str(frame.path))
        raise ValueError(f"{name} never works")

    return Step.from_callable(work, name=name, **options)


class Known:
    """A cache that knows every key, so that a hit does not depend on what a process remembers."""

    def get(self, key: str) -> object:
        """The same entry for all keys."""
        return CacheEntry(7, None, {})

    def set(self, key: str, value: object) -> None:
        """Keep nothing."""


def sequence() -> Node:
    return Pipeline.of(*(does(name) for name in "abcdef"))


def loop() -> Node:
    body = does("tick") >> does("tock")
    return does("a") >> Step.loop_until("loop", body, lambda out: out > 7) >> does("z")


def mapped(max_concurrency: int) -> Callable[[], Node]:
    def make() -> Node:
        each = Step.map_over("each", does("x") >> does("y"), max_concurrency=max_concurrency)
        return does("items", lambda n: [n, n + 1, n + 2, n + 3]) >> each >> does("sum", sum)

    return make


def parallel() -> Node:
    branches = {"l": does("l"), "m": does("m1") >> does("m2"), "r": does("r")}
    total = does("total", lambda outputs: sum(outputs.values()))
    return does("a") >> Step.parallel("fan", branches) >> total


def router() -> Node:
    branches = {name: does(f"to_{name}") for name in ("red", "green", "blue")}
    chosen = does("choose", lambda n: ["red", "blue"])
    return does("a") >> Step.dynamic_parallel_branch("route", chosen, branches) >> does("z", len)


def conditional() -> Node:
    branches: dict[Any, Any] = {"even": does("even"), "odd": does("odd1") >> does("odd2")}
    pick = Step.branch_on("pick", lambda n: "odd" if n % 2 else "even", branches)
    return does("a", plus(2)) >> pick >> does("z")


def nested() -> Node:
    turns = Step.loop_until("turns", does("turn"), lambda out: out > 6)
    fan = Step.parallel("fan", {"loop": does("before") >> turns, "side": does("side")})
    inner = does("first") >> fan >> does("join", lambda outputs: sum(outputs.values()))
    return does("a") >> ImportStep(name="sub", pipeline=inner) >> does("z")


def hitl() -> Node:
    ask = Step.human_in_the_loop("ask", "go on?", int)
    return does("a") >> does("b") >> ask >> does("c") >> does("d")


def asks_twice() -> Node:
    branches = {
        side: does(f"to_{side}") >> Step.human_in_the_loop(f"ask_{side}", "how many?", int)
        for side in ("l", "r")
    }
    return Step.parallel("fan", branches) >> does("z", lambda outputs: sum(outputs.values()))


def cache() -> Node:
    hit = Step.cached(does("hit"), Known())
    return does("a") >> Step.cached(does("b")) >> does("c") >> hit >> Step.cached(does("e"))


def background() -> Node:
    behind = does("behind", execution_mode="background")
    return does("a") >> behind >> does("c") >> does("d")


def fallback() -> Node:
    shaky = fails("shaky", fallback_step=does("spare", plus(10)))
    return does("a") >> shaky >> does("z")


def quota() -> Node:
    return Pipeline.of(does("a"), spends("b", 10), spends("c", 20), does("d"), spends("e", 30))


def imports() -> Node:
    inner = logs("i") >> logs("j")
    into = ImportStep(name="sub", pipeline=inner, inherit_context=True, updates_context=True)
    return logs("a") >> into >> logs("z")


def context() -> Node:
    body = logs("grow") >> does("step")
    return Step.loop_until("loop", body, lambda out, context: len(context.log) > 4) >> logs("z")


def once() -> Node:
    pay = does("pay", plus(100), at_most_once=True)
    return does("a") >> pay >> does("b") >> does("c")


WITH_STATE = {"context_model": State}
SHAPES: Mapping[str, Shape] = {
    "sequence": Shape(sequence),
    "loop": Shape(loop),
    "map": Shape(mapped(1)),
    "map3": Shape(mapped(3), concurrent=("each",)),
    "parallel": Shape(parallel, concurrent=("fan",)),
    "router": Shape(router, concurrent=("route",)),
    "conditional": Shape(conditional),
    "nested": Shape(nested, concurrent=("sub/import/fan",)),
    "hitl": Shape(hitl, answers={"ask": 40}),
    "asks_twice": Shape(
        asks_twice, answers={"fan/:l/ask_l": 3, "fan/:r/ask_r": 4}, concurrent=("fan",)
    ),
    "cache": Shape(cache),
    "background": Shape(background, behind=("behind",)),
    "fallback": Shape(fallback),
    "quota": Shape(
        quota, options={"usage_limits": UsageLimits(total_tokens_limit=1000)}, uncertain=35
    ),
    "import": Shape(imports, options=WITH_STATE),
    "context": Shape(context, options=WITH_STATE),
    "once": Shape(once, answers={"pay": {"action": "take", "value": 102}}, in_doubt=("pay",)),
}
