"""``%flujo`` at every place of a cell: a value or a clear error, and nothing left un-awaited."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.harness import Kernel
from tests.kernel.matrix import OWN, kernel_of, never_awaited
from tests.kernel.places import PLACES, REFUSED, Place, check_place, check_refused, frames
from tests.kernel.scenarios import SOON, prepared

WAY = (
    "from flujo_nb.magics import _extensions\n"
    "(front,) = [one.front for one in _extensions.values()]\n"
    "print(front.way().kind)"
)
OF_THE_API = {name for name, place in PLACES.items() if "%flujo" not in place.code}
# What these raise is told, but does not end the cell: IPython's way, or asyncio's.
ENDING_NO_CELL = {"%%capture", "run_cell in a task", "a callback of the loop"}
# A signal reaches the main thread only, and what is captured does not show when to press.
NOT_PRESSED = {"a thread", "%%capture"}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with the extension and the steps."""
    with kernel_of(OWN.ready(), tmp_path_factory.mktemp("places")) as one:
        yield prepared(one)


@pytest.fixture(autouse=True)
def awaited(kernel: Kernel) -> Iterator[None]:
    """No test leaves a coroutine that nobody awaits."""
    yield
    assert never_awaited(kernel) == []


@pytest.mark.parametrize("name", PLACES)
def test_a_call_works_in_every_place(kernel: Kernel, name: str) -> None:
    check_place(kernel, PLACES[name])
    if name not in OF_THE_API:
        assert kernel.check(WAY).stdout == f"{PLACES[name].way}\n"


@pytest.mark.parametrize("name", PLACES)
def test_an_error_is_short_and_changes_nothing_in_every_place(kernel: Kernel, name: str) -> None:
    place = PLACES[name]
    kernel.check("%flujo run inc -i 40")
    head, before = kernel.check("flujo.head.id").result, frames(kernel)
    cell = kernel.run(place.with_step("boom").replace("return x + 1", "raise ValueError('no 1')"))
    assert kernel.check("flujo.head.id").result == head
    assert frames(kernel) == before + 1
    told = cell.error.text if cell.error is not None else kernel.stderr
    assert "failed at c[" in told and "ValueError: no 1" in told
    if name not in ENDING_NO_CELL:
        assert cell.status == "error"
        assert len(told.splitlines()) <= 7


@pytest.mark.parametrize("step", ["waits", "spins"])
@pytest.mark.parametrize(
    "name",
    [name for name, place in PLACES.items() if "inc" in place.code and name not in NOT_PRESSED],
)
def test_an_interrupt_stops_it_in_every_place(kernel: Kernel, name: str, step: str) -> None:
    cell = kernel.start(PLACES[name].with_step(step))
    kernel.wait_for(cell, "started")
    assert kernel.interrupted(cell) <= SOON
    if name != "a callback of the loop":  # its errors go to the loop, and the cell goes on
        assert cell.error is not None and "interrupted" in cell.error.text.lower()
    assert kernel.is_alive() and kernel.leftovers() == []
    assert kernel.check("flujo.frames[list(flujo.frames)[-1]].status").result == "'interrupted'"


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_inside_an_expression_it_says_what_to_write(kernel: Kernel, code: str) -> None:
    check_refused(kernel, code)


def test_calls_in_a_loop_are_one_frame_each(kernel: Kernel) -> None:
    before = frames(kernel)
    cell = kernel.check(
        "for n in range(2):\n"
        "    %flujo run inc -i n\n"
        "    def f():\n"
        "        %flujo run inc -i n+10\n"
        "    f()"
    )
    assert cell.stdout.splitlines() == ["inc of 0", "inc of 10", "inc of 1", "inc of 11"]
    assert frames(kernel) == before + 4


def test_a_cell_that_rerun_runs_is_bridged(kernel: Kernel) -> None:
    before = frames(kernel)
    kernel.check("%flujo run inc -i 1")
    assert "inc of 1" in kernel.check("%rerun -l 1").stdout
    assert frames(kernel) == before + 2
    assert kernel.check(WAY).stdout == "bridge\n"


@pytest.mark.parametrize("head", ["", "%%capture captured\n"])
def test_a_call_through_run_cell_is_bridged_where_a_loop_runs(kernel: Kernel, head: str) -> None:
    before = frames(kernel)
    kernel.check(f"_ = shell.run_cell({head + '%flujo run inc -i 1'!r})")
    assert frames(kernel) == before + 1
    assert kernel.check(WAY).stdout == "bridge\n"


@pytest.mark.parametrize("code", ["flujo.run('inc', input=1)", "def f(): flujo.run('inc')\nf()"])
def test_a_run_that_nobody_awaits_has_not_begun(kernel: Kernel, code: str) -> None:
    before = frames(kernel)
    shown = kernel.check(code).result
    assert shown in (None, "<not run yet: await it, or use flujo.run_sync>")
    assert (shown is None) == code.startswith("def")
    assert frames(kernel) == before


@pytest.mark.parametrize("head", ["%%time", "%%timeit -n1 -r1"])
def test_an_await_that_ipython_refuses_runs_nothing(kernel: Kernel, head: str) -> None:
    before = frames(kernel)
    cell = kernel.run(f"{head}\nawait flujo.run('inc', input=1)")
    assert cell.error is not None and "'await' outside function" in cell.error.text
    assert frames(kernel) == before


@pytest.mark.parametrize("runner", ["off", "sync"])
@pytest.mark.parametrize(
    "code",
    [
        "%flujo run inc -i 1",
        "x = %flujo run inc -i 1",
        "for _ in 'a':\n    %flujo run inc -i 1",
        "%%flujo step -i 1\nasync def own(x):\n    print('inc of', x)\n    return x + 1",
    ],
)
def test_without_autoawait_it_works_too(kernel: Kernel, code: str, runner: str) -> None:
    kernel.check(f"%autoawait {runner}")
    try:
        check_place(kernel, Place(code, "bridge"))
        assert kernel.check(WAY).stdout == "bridge\n"
    finally:
        kernel.check("%autoawait asyncio")


@pytest.mark.parametrize("runner", ["off", "sync"])
def test_a_cell_may_switch_autoawait_itself(kernel: Kernel, runner: str) -> None:
    try:
        check_place(kernel, Place(f"%autoawait {runner}\n%flujo run inc -i 1", "bridge"))
    finally:
        kernel.check("%autoawait asyncio")


def test_a_lost_coroutine_would_be_seen(kernel: Kernel) -> None:
    """The check that all others rely on can fail."""
    kernel.check("async def lost(): pass\n_x = lost()\ndel _x")
    assert never_awaited(kernel) == ["lost"]
    kernel.stderr = ""
