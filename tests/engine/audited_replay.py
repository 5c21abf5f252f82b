"""Records runs of each kind (``record STORE``), or replays them while nothing may run (``replay``).

A program of its own, since an audit hook cannot be removed. It prints what came of each run as
JSON; in a replay whatever touches the guard, or opens a socket, is told of too.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_nb.engine.cache_manager import CacheEntry
from flujo_nb.engine.results import PipelineResult, StepResult
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import ImportStep
from flujo_nb.engine.steps import Node, Pipeline, Step
from flujo_nb.engine.store.sqlite import SqliteStore

FREE_OF_SOCKETS = {"socket.gethostname"}


class Guard:
    """Counts what runs, and refuses it when nothing may run."""

    def __init__(self) -> None:
        self.is_closed = False
        self.touched: list[str] = []

    def touch(self, name: str) -> None:
        """Somebody runs."""
        self.touched.append(name)
        if self.is_closed:
            raise AssertionError(f"{name} was called")

    def listen(self, event: str, args: tuple[object, ...]) -> None:
        """The audit hook."""
        if self.is_closed and event.startswith("socket.") and event not in FREE_OF_SOCKETS:
            self.touched.append(event)
            raise AssertionError(f"{event} {args}")


GUARD = Guard()


def plus_one(data: Any) -> Any:
    return data + 1


def guarded(name: str, function: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of one argument that touches the guard."""

    def call(data: Any) -> Any:
        GUARD.touch(name)
        return function(data)

    return call


def does(name: str, function: Callable[[Any], Any] = plus_one, **options: Any) -> Any:
    """A step that touches the guard."""

    async def work(data: Any) -> Any:
        GUARD.touch(name)
        await asyncio.sleep(0)
        return function(data)

    return Step.from_callable(work, name=name, **options)


class Researcher:
    """An agent with a tool."""

    async def look_up(self, data: int) -> int:
        """The tool."""
        GUARD.touch("tool")
        return data * 10

    async def run(self, data: int) -> int:
        """Ask the tool."""
        GUARD.touch("agent")
        return await self.look_up(data)


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """A model that calls its tool, then says what that gave."""
    GUARD.touch("model")
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("find", {"what": "ten"})])
    return ModelResponse(parts=[TextPart("found")])


def find(what: str) -> str:
    """The tool of an agent of pydantic-ai."""
    GUARD.touch("tool of the model")
    return what


class Known:
    """A cache that knows every key."""

    def get(self, key: str) -> object:
        """The same entry for all keys."""
        GUARD.touch("cache")
        return CacheEntry(7, None, {})

    def set(self, key: str, value: object) -> None:
        """Keep nothing."""
        GUARD.touch("cache")


def fails(data: Any) -> Any:
    raise ValueError(f"cannot use {data}")


def sequence() -> Node:
    return Pipeline.of(*(does(name) for name in "abc"))


def loop() -> Node:
    inside = does("tick") >> does("tock")
    return does("a") >> Step.loop_until(
        "loop",
        inside,
        guarded("exit", lambda out: out > 7),
        iteration_input_mapper=guarded("mapper", plus_one),
    )


def mapped(at_once: int) -> Callable[[], Node]:
    def make() -> Node:
        each = Step.map_over("each", does("x"), max_concurrency=at_once)
        return does("items", lambda n: [n, n + 1, n + 2]) >> each >> does("sum", sum)

    return make


def parallel() -> Node:
    branches = {"l": does("l"), "r": does("r1") >> does("r2")}
    return Step.parallel("fan", branches, reduce=guarded("reduce", lambda outputs: len(outputs)))


def router() -> Node:
    branches = {name: does(f"to_{name}") for name in ("red", "green", "blue")}
    chosen = does("choose", lambda n: ["red", "blue"])
    return Step.dynamic_parallel_branch("route", chosen, branches) >> does("z", len)


def conditional() -> Node:
    branches: dict[Any, Any] = {"even": does("even"), "odd": does("odd")}
    chosen = guarded("condition", lambda n: "odd" if n % 2 else "even")
    return Step.branch_on("pick", chosen, branches) >> does("z")


def nested() -> Node:
    turns = Step.loop_until("turns", does("turn"), guarded("exit", lambda out: out > 4))
    fan = Step.parallel("fan", {"loop": does("before") >> turns, "side": does("side")})
    inner = does("first") >> fan >> does("join", lambda outputs: sum(outputs.values()))
    return does("a") >> ImportStep(name="sub", pipeline=inner) >> does("z")


def cache() -> Node:
    return does("a") >> Step.cached(does("b")) >> Step.cached(does("hit"), Known())


def fallback() -> Node:
    shaky = does("shaky", fails, fallback_step=does("spare"))
    return does("a") >> shaky >> does("z")


def retried() -> Node:
    tries = iter(range(9))

    def second_time(data: int) -> int:
        return data if next(tries) else fails(data)

    return does("a") >> does("shaky", second_time, max_retries=2) >> does("z")


def failed() -> Node:
    return does("a") >> does("broken", fails) >> does("z")


def hitl() -> Node:
    return does("a") >> Step.human_in_the_loop("ask", "go on?", int) >> does("z")


def background() -> Node:
    return does("a") >> does("behind", execution_mode="background") >> does("z")


def agent() -> Node:
    return does("a") >> Step(name="research", agent=Researcher()) >> does("z")


def adapted() -> Node:
    researcher = Agent(FunctionModel(answer), system_prompt="You find things.", tools=[find])
    return Step(name="research", agent=researcher) >> does("z", len)


SHAPES: Mapping[str, Callable[[], Node]] = {
    "sequence": sequence,
    "loop": loop,
    "map": mapped(1),
    "map, at once": mapped(3),
    "parallel": parallel,
    "router": router,
    "conditional": conditional,
    "nested": nested,
    "cache": cache,
    "fallback": fallback,
    "retried": retried,
    "failed": failed,
    "hitl": hitl,
    "hitl, unanswered": hitl,
    "background": background,
    "agent with a tool": agent,
    "agent of pydantic-ai": adapted,
}
INPUTS: Mapping[str, object] = {"agent of pydantic-ai": "what is ten?"}


def told(result: PipelineResult) -> dict[str, object]:
    """All that a result says, times included."""

    def one(step: StepResult) -> list[object]:
        inside = list(map(one, step.step_history))
        output, latency = repr(step.output), step.latency_s
        return [str(step.path), step.name, step.success, output, step.attempts, latency, inside]

    return {
        "status": str(result.status),
        "output": repr(result.output),
        "paused": [str(pause.path) for pause in result.paused],
        "tokens": result.total_tokens,
        "history": list(map(one, result.step_history)),
    }


async def recorded(name: str, store: SqliteStore) -> PipelineResult:
    """A run of a shape, to its end."""
    async with Flujo(SHAPES[name](), state_backend=store) as runner:
        result = await runner.run_async(INPUTS.get(name, 1), run_id=name)
        if name == "hitl":
            gone_on = await runner.resume_async(name, 40)
            assert isinstance(gone_on, PipelineResult)
            return gone_on
        return result


async def main(what: str, path: str) -> dict[str, object]:
    """Record or replay all shapes."""
    store, found = SqliteStore(path, durability="normal"), {}
    if what == "record":
        for name in SHAPES:
            GUARD.touched.clear()
            result = told(await recorded(name, store))
            found[name] = {"told": result, "ran": list(GUARD.touched)}
        return found
    sys.addaudithook(GUARD.listen)
    GUARD.is_closed = True
    for name, make in SHAPES.items():
        GUARD.touched.clear()
        result = told(await Flujo(make(), state_backend=store).replay(name))
        found[name] = {"told": result, "ran": list(GUARD.touched)}
    GUARD.touched.clear()
    await Flujo(sequence(), state_backend=store).run_async(1)
    with suppress(AssertionError):
        socket.socket()
    found["what a guard is told"] = list(GUARD.touched)
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
