"""Interrupting a cell: it ends soon, leaves nothing running, and the next cell works."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel

TOY = (Path(__file__).parent / "toy.py").read_text()
SOON = 0.5

BUSY_BODY = "print('begun', flush=True)\nbusy(30)"
NESTED_BODY = "def f():\n    %toy busy\nf()"
BRIDGED_BODY = "(lambda: get_ipython().run_cell_magic('toy', 'body', {!r}))()"
RUNNING = {
    "await": "%toy nap",
    "sync step": "%toy busy",
    "time.sleep": "%toy sleep 30",
    "child of gather": "%toy gather",
    "a task of the user's": "async def f():\n    %toy nap\nawait asyncio.create_task(f())",
    "body": f"%%toy body\n{BUSY_BODY}",
    "body, await": "%%toy body\nprint('begun', flush=True)\nawait asyncio.sleep(30)",
    "body with await": f"%%toy body\nawait asyncio.sleep(0)\n{BUSY_BODY}",
    "call in a body": "%%toy body\nx = 1\n%toy nap",
    "bridge, await": "def f():\n    %toy nap\nf()",
    "bridge, sync step": "def f():\n    %toy busy\nf()",
    "bridge, child of gather": "def f():\n    %toy gather\nf()",
    "bridge in an awaited cell": "await asyncio.sleep(0)\ndef f():\n    %toy busy\nf()",
    "bridge, body": BRIDGED_BODY.format(BUSY_BODY),
    "bridge in a body": f"%%toy body\n{NESTED_BODY}",
    "bridge in a bridge": BRIDGED_BODY.format(NESTED_BODY),
    "bridge in an inline step": (
        "await guarded(lambda: working(lambda _: run_bridged(lambda: napping(30)), 0))"
    ),
    "run_bridged": "run_bridged(lambda: napping(30))",
    "guarded": "await guarded(lambda: napping(30))",
    "gather of runs": (
        "await asyncio.gather(guarded(lambda: napping(30)), guarded(lambda: working(busy, 30)))"
    ),
    "run in a run": "await guarded(lambda: guarded(lambda: napping(30)))",
    "run in a bridge": "run_bridged(lambda: guarded(lambda: napping(30)))",
    "many short steps": "await guarded(many)",
    "many short steps in a bridge": "run_bridged(many)",
}
SHORT = "async def short():\n    print('begun', flush=True)\n    await asyncio.sleep(0.001)\n"
# Here an interrupt may find the cell between two runs: then the kernel stops it in its own way.
LOOPING = {
    "many short runs": SHORT + "for _ in range(10**5): await guarded(short)",
    "many short runs on bridges": SHORT + "for _ in range(10**5): run_bridged(short)",
    "many short runs in inline steps": (
        SHORT + "def step(): run_bridged(short)\n"
        "async def steps():\n"
        "    for _ in range(10**5): run_inline(step)\n"
        "await guarded(steps)"
    ),
}


@pytest.fixture(scope="module", autouse=True)
def toy(kernel: Kernel) -> None:
    kernel.check(TOY)


@pytest.mark.parametrize("code", RUNNING.values(), ids=RUNNING)
def test_interrupt_ends_the_cell(kernel: Kernel, code: str) -> None:
    cell = kernel.start(code)
    kernel.wait_for(cell, "begun")
    took = kernel.interrupted(cell)
    assert cell.error is not None and "Interrupted" in cell.error.name
    assert cell.status == "error"
    assert took <= SOON
    assert kernel.leftovers() == []
    assert kernel.check("1 + 1").result == "2"


@pytest.mark.parametrize("code", LOOPING.values(), ids=LOOPING)
def test_interrupt_ends_a_cell_that_loops(kernel: Kernel, code: str) -> None:
    cell = kernel.start(code)
    kernel.wait_for(cell, "begun")
    took = kernel.interrupted(cell)
    assert cell.status == "error"
    assert took <= SOON
    assert kernel.leftovers() == []


@pytest.mark.parametrize("code", ["%toy nap", "def f():\n    %toy nap\nf()"])
def test_the_error_is_short(kernel: Kernel, code: str) -> None:
    cell = kernel.start(code)
    kernel.wait_for(cell, "begun")
    kernel.interrupted(cell)
    assert cell.error is not None
    assert cell.error.traceback == ("interrupted",)


@pytest.mark.parametrize("code", ["%toy nap", "%toy busy", "run_bridged(lambda: napping(30))"])
def test_clean_up_is_awaited(kernel: Kernel, code: str) -> None:
    kernel.check("cleaned.clear()")
    cell = kernel.start(code)
    kernel.wait_for(cell, "begun")
    kernel.interrupted(cell)
    assert kernel.check("len(cleaned)").result == "1"


def test_one_c_call_in_a_bridge_is_waited_for(kernel: Kernel) -> None:
    cell = kernel.start("def f():\n    %toy sleep 1.2\nf()")
    kernel.wait_for(cell, "begun")
    kernel.interrupt()
    kernel.finish(cell)
    assert cell.error is not None and cell.error.name == "CellInterrupted"
    assert 1.1 < cell.duration < 1.2 + SOON
    assert kernel.leftovers() == []


def test_a_thread_that_cannot_be_stopped_is_told(kernel: Kernel) -> None:
    cell = kernel.start("run_bridged(lambda: working(sleepy, 2), limit=0.3)")
    kernel.wait_for(cell, "begun")
    assert kernel.interrupted(cell) < 0.3 + SOON
    assert cell.error is not None and "is still running" in cell.error.value
    time.sleep(2)
    assert kernel.leftovers() == []


STUBBORN = """
async def stubborn(seconds):
    print('begun', flush=True)
    try:
        await asyncio.sleep(30)
    finally:
        for _ in range(2):
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                print('cut', flush=True)
        cleaned.append('stubborn')
"""


def test_the_limit_of_a_clean_up(kernel: Kernel) -> None:
    kernel.check(STUBBORN + "cleaned.clear()")
    cell = kernel.start("await guarded(lambda: stubborn(1), limit=0.2)")
    kernel.wait_for(cell, "begun")
    assert kernel.interrupted(cell) < 0.2 + SOON
    assert cell.error is not None and "clean-up has not ended" in cell.error.value
    assert kernel.check("await asyncio.sleep(2.2)\ncleaned").result == "['stubborn']"


def test_a_second_press_cuts_the_clean_up(kernel: Kernel) -> None:
    kernel.check(STUBBORN)
    cell = kernel.start("await guarded(lambda: stubborn(30))")
    kernel.wait_for(cell, "begun")
    kernel.interrupt()
    time.sleep(0.2)
    kernel.interrupt()
    kernel.wait_for(cell, "cut")
    pressed = time.monotonic()
    kernel.finish(cell)
    assert time.monotonic() - pressed < 1.0 + SOON
    assert cell.error is not None and "clean-up has not ended" in cell.error.value
    kernel.check("for t in asyncio.all_tasks() - {asyncio.current_task()}:\n    t.cancel()")


BLOCKING = """
from flujo_nb.engine.user_code import caught

async def blocking():
    print('begun', flush=True)
    busy(30)

async def step():
    return await caught(blocking())
"""


@pytest.mark.parametrize("call", ["await guarded(step)", "run_bridged(step)"])
def test_a_coroutine_that_blocks_needs_a_second_press(kernel: Kernel, call: str) -> None:
    kernel.check(BLOCKING)
    cell = kernel.start(call)
    kernel.wait_for(cell, "begun")
    kernel.interrupt()
    time.sleep(0.7)
    assert not cell.idle
    assert kernel.interrupted(cell) <= SOON
    assert kernel.leftovers() == []


def test_a_step_that_swallows_the_interrupt_keeps_its_value(kernel: Kernel) -> None:
    cell = kernel.start("print(await guarded(lambda: working(swallowing, 30)))")
    kernel.wait_for(cell, "begun")
    assert kernel.interrupted(cell) <= SOON
    assert cell.error is None
    assert "partial" in cell.stdout
    assert "caught the interrupt" in cell.stderr


def test_a_run_that_goes_on_after_a_swallowed_interrupt_is_cancelled(kernel: Kernel) -> None:
    kernel.check("async def going_on():\n    await working(swallowing, 30)\n    await napping(30)")
    cell = kernel.start("await guarded(going_on)")
    kernel.wait_for(cell, "begun")
    assert kernel.interrupted(cell) <= 1.0 + SOON
    assert cell.error is not None and cell.error.name == "StepInterrupted"


def test_an_outer_cancellation_cancels_and_travels_on(kernel: Kernel) -> None:
    kernel.check("cleaned.clear()")
    cell = kernel.check(
        "task = asyncio.create_task(guarded(lambda: napping(30)))\n"
        "await asyncio.sleep(0.05)\n"
        "task.cancel()\n"
        "await asyncio.wait([task])\n"
        "task.cancelled(), cleaned"
    )
    assert cell.result == "(True, ['nap'])"


def test_a_timeout_around_a_run(kernel: Kernel) -> None:
    cell = kernel.run("await asyncio.wait_for(guarded(lambda: napping(30)), 0.1)")
    assert cell.error is not None and cell.error.name == "TimeoutError"


def test_a_run_in_the_background_takes_no_interrupt_of_a_later_cell(kernel: Kernel) -> None:
    kernel.check("background = asyncio.create_task(guarded(lambda: napping(30)))")
    kernel.check("await asyncio.sleep(0.05)")
    cell = kernel.start("%toy nap")
    kernel.wait_for(cell, "begun")
    assert kernel.interrupted(cell) <= SOON
    assert kernel.check("background.done()").result == "False"
    kernel.check("background.cancel()\nawait asyncio.wait([background])")


@pytest.mark.parametrize("code", ["raise KeyboardInterrupt", "raise SystemExit(3)"])
@pytest.mark.parametrize("call", ["await guarded(ending)", "run_bridged(ending)"])
def test_nothing_that_ends_a_loop_leaves_a_run(kernel: Kernel, code: str, call: str) -> None:
    kernel.check(f"async def ending():\n    {code}")
    cell = kernel.run(call)
    assert cell.error is not None
    assert cell.error.name in {"StepInterrupted", "StepExited"}
    assert kernel.is_alive() and kernel.leftovers() == []
