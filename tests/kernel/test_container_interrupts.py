"""Interrupting a step inside each kind of container, in each form in which a cell can run it."""

from __future__ import annotations

import re
import time

import pytest

from tests.kernel.harness import Cell, Kernel

LIMIT_S = 0.5
TRIES = 3  # a loaded machine may be late once
LATE_S = 3.0

STEPS = f"""
import asyncio, itertools, time
from flujo_nb import CacheStep, Flujo, ImportStep, Step, step
late = []

@step
def spins(x):
    print("started", flush=True)
    end = time.monotonic() + {LATE_S}
    while time.monotonic() < end:
        pass
    late.append(x)
    return x

@step
def sleeps(x):
    print("started", flush=True)
    time.sleep({LATE_S})
    late.append(x)

@step
async def waits(x):
    print("started", flush=True)
    await asyncio.sleep({LATE_S})

@step
async def one(x):
    return x

@step
async def tiny(x):
    if x == 0:
        print("started", flush=True)
    return 1

COUNT = 2_000_000

def times(count, name, body):
    asked = itertools.count(1)
    return Step.loop_until(name, body, lambda x: next(asked) % count == 0, count)
"""
AROUND = {
    "sequence": "one >> {0} >> one",
    "loop": "Step.loop_until('outer', {0}, bool)",
    "loop of a sequence": "Step.loop_until('outer', one >> {0}, bool)",
    "map": "Step.map_over('outer', {0})",
    "parallel, one at a time": (
        "Step.parallel('outer', {{'a': {0}, 'b': one}}, max_concurrency=1)"
    ),
    "conditional": "Step.branch_on('outer', lambda x: 1, {{1: {0}}})",
    "router": "Step.dynamic_parallel_branch('outer', lambda x: 'a', {{'a': {0}, 'b': one}})",
    "import": "ImportStep(name='outer', pipeline=one >> {0})",
    "cached": "CacheStep(name='outer', wrapped_step={0})",
    "containers in each other": (
        "Step.loop_until('outer', Step.map_over('inner', Step.branch_on("
        "'route', lambda x: 1, {{1: {0}}})), bool)"
    ),
}
SIDE_BY_SIDE = {
    "parallel": "Step.parallel('outer', {{'a': {0}, 'b': {0}, 'c': one}})",
    "map": "Step.map_over('outer', {0}, max_concurrency=3)",
    "router": "Step.dynamic_parallel_branch('outer', lambda x: ['a', 'b'], {{'a': {0}, 'b': {0}}})",
    "map in parallel": "Step.parallel('outer', {{'a': Step.map_over('inner', {0}), 'c': one}})",
}
FORMS = {
    "magic": "%flujo run outer -i [1]",
    "awaited": "await flujo.run(outer, input=[1])",
    "gather": "await asyncio.gather(flujo.run(one, input=1), flujo.run(outer, input=[1]))",
    "bridge": "def call():\n    %flujo run outer -i [1]\ncall()",
    "run_sync": "flujo.run_sync(outer, input=[1])",
}
RUNNERS = {
    "awaited": "await Flujo(outer).run_async([1])",
    "gather": (
        "await asyncio.gather(*(Flujo(node).run_async([1]).result() for node in (one, outer)))"
    ),
}


@pytest.fixture(scope="module")
def loaded(kernel: Kernel) -> Kernel:
    """A kernel with the extension and the steps."""
    kernel.check("%load_ext flujo_nb")
    kernel.check(STEPS)
    return kernel


def ended(kernel: Kernel, node: str, code: str) -> Cell:
    """A cell that runs ``node`` and was interrupted in it, soon enough; the next one works."""
    took = []
    for _ in range(TRIES):
        kernel.check(f"late.clear()\nouter = {node}")
        running = kernel.start(code)
        kernel.wait_for(running, "started")
        took.append(kernel.interrupted(running))
        assert running.status == "error"
        assert kernel.check("await flujo.run(one, input=3)\nflujo.head.output").result == "3"
        if took[-1] <= LIMIT_S:
            return running
    raise AssertionError(f"each press took longer than {LIMIT_S} s: {took}")


def assert_recorded(kernel: Kernel, cell: Cell) -> None:
    """The run's frame stands among the newest as interrupted, and the cell said so."""
    assert cell.error is not None
    assert "Interrupted" in cell.error.text
    recorded = kernel.check("[frame.status for frame in flujo.frames.values()][-3:]").result
    assert "'interrupted'" in str(recorded)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_a_synchronous_step(loaded: Kernel, around: str, form: str) -> None:
    cell = ended(loaded, around.format("spins"), form)
    assert_recorded(loaded, cell)
    assert cell.error is not None
    assert re.search(r" at c\[\d+\]/.*(spins|cached)", cell.error.text)
    assert loaded.check("late").result == "[]"
    assert loaded.leftovers() == []


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("around", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
def test_a_step_that_awaits(loaded: Kernel, around: str, form: str) -> None:
    cell = ended(loaded, around.format("waits"), form)
    assert_recorded(loaded, cell)
    assert loaded.leftovers() == []


@pytest.mark.parametrize("form", [FORMS["awaited"], FORMS["bridge"]], ids=["awaited", "bridge"])
@pytest.mark.parametrize("name", ["parallel", "router"])
def test_synchronous_steps_in_threads(loaded: Kernel, name: str, form: str) -> None:
    """Nothing can stop a thread: the cell ends, and what comes later is dropped."""
    cell = ended(loaded, SIDE_BY_SIDE[name].format("sleeps"), form)
    assert_recorded(loaded, cell)
    before = loaded.check("len(flujo.frames), flujo.head.id").result
    time.sleep(LATE_S)
    assert loaded.check("len(late)").result in ("1", "2")  # started before the interrupt
    assert loaded.check("len(flujo.frames), flujo.head.id").result == before
    assert loaded.leftovers() == []


ENDLESS = {
    "loop": ("Step.loop_until('outer', tiny, lambda x: False, COUNT)", "0"),
    "loop of a sequence": ("Step.loop_until('outer', tiny >> one, lambda x: False, COUNT)", "0"),
    "map": ("Step.map_over('outer', tiny)", "range(COUNT)"),
    "map, three at once": ("Step.map_over('outer', tiny, max_concurrency=3)", "range(COUNT)"),
    "short loops in short loops": (
        "times(60, 'outer', times(60, 'third', times(60, 'inner', times(60, 'innermost', tiny))))",
        "0",
    ),
}
CALLS = {
    "awaited": "await flujo.run(outer, input={0})",
    "bridge": "flujo.run_sync(outer, input={0})",
    "awaited runner": "await Flujo(outer).run_async({0})",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("name", ENDLESS)
def test_many_steps_that_never_suspend(loaded: Kernel, name: str, call: str) -> None:
    node, data = ENDLESS[name]
    ended(loaded, node, call.format(data))
    assert loaded.leftovers() == []


@pytest.mark.parametrize("form", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("name", ["loop", "router", "containers in each other"])
def test_a_synchronous_step_of_a_runner(loaded: Kernel, name: str, form: str) -> None:
    ended(loaded, AROUND[name].format("spins"), form)
    assert loaded.check("late").result == "[]"
    assert loaded.leftovers() == []


@pytest.mark.parametrize("form", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("name", ["parallel", "map in parallel"])
def test_a_step_of_a_runner_that_awaits(loaded: Kernel, name: str, form: str) -> None:
    ended(loaded, SIDE_BY_SIDE[name].format("waits"), form)
    assert loaded.leftovers() == []
