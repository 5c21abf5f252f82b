"""``%flujo session --max-concurrency N``: attempts in flight over all runs of a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from IPython.core.error import UsageError

from tests.notebook import Notebook, fresh_notebook

STEPS = """\
import asyncio
from flujo_nb import Step, step

now = most = 0
begun = []

async def work(n):
    global now, most
    now, most = now + 1, max(most, now + 1)
    begun.append(n)
    for _ in range(5):
        await asyncio.sleep(0)
    now -= 1
    return n

one = Step.from_callable(work, name="one")
each = Step.map_over("each", one, max_concurrency=20)
both = Step.parallel("both", {"a": one, "b": one, "c": one})
behind = Step.from_callable(work, name="behind", execution_mode="background")

@step
async def outer(n: int) -> int:
    card = await flujo.run(each, input=[n, n])
    return sum(card.output)

@step
def bridged(n: int) -> int:
    return flujo.run_sync(one, input=n).output
"""


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    with fresh_notebook() as notebook:
        notebook.value(STEPS)
        yield notebook


def most(notebook: Notebook) -> object:
    """How many attempts were in flight at once since the last time."""
    return notebook.value("was, most = most, 0\nwas")


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not met():  # noqa: ASYNC110  # nobody sets an event here
            await asyncio.sleep(0.001)


def at_rest(notebook: Notebook) -> Callable[[], bool]:
    return lambda: not list(notebook.session.background)


def test_it_bounds_a_map_and_none_lifts_it(notebook: Notebook) -> None:
    notebook.value("%flujo run each -i list(range(9))")
    assert most(notebook) == 9
    told = repr(notebook.view("%flujo session --max-concurrency 3"))
    assert "attempts   at most 3 in flight" in told
    assert notebook.card("%flujo run each -i list(range(9))").output == list(range(9))
    assert most(notebook) == 3
    assert "at most 3 in flight" in repr(notebook.view("%flujo session"))
    assert "any number in flight" in repr(notebook.view("%flujo session --max-concurrency none"))
    notebook.value("%flujo run each -i list(range(9))")
    assert most(notebook) == 9


def test_cells_and_runs_in_the_background_share_it(notebook: Notebook) -> None:
    async def work() -> None:
        await notebook.ran("%flujo run each -i list(range(6)) --bg")
        await notebook.ran("%flujo run both -i 1 --bg")
        await notebook.ran("%flujo run behind >> each -i list(range(6))")
        await until(at_rest(notebook))
        await notebook.session.tasks.drain()

    notebook.value("%flujo session --max-concurrency 2")
    notebook.during(work)
    assert most(notebook) == 2
    assert len(notebook.session.entries) == 3
    assert all(entry.succeeded for entry in notebook.session.entries)
    assert notebook.session.slots._lanes == {}


def test_what_a_step_runs_needs_no_slot_of_its_own(notebook: Notebook) -> None:
    notebook.value("%flujo session --max-concurrency 1")
    assert notebook.card("%flujo run outer -i 4").output == 8
    assert notebook.card("%flujo run bridged -i 4").output == 4
    assert notebook.session.slots._lanes == {}


def test_on_the_bridge_it_works_while_others_wait_on_the_kernels_loop(notebook: Notebook) -> None:
    async def work() -> None:
        await notebook.ran("%flujo run each -i list(range(4)) --bg")
        await until(lambda: notebook.shell.user_ns["begun"])
        result = await notebook.ran(
            "def f():\n    x = %flujo run one -i 7\n    return x\nf().output"
        )
        assert result.result == 7
        await until(at_rest(notebook))

    notebook.value("%flujo session --max-concurrency 1")
    notebook.during(work)
    assert notebook.session.entry_of("f0").succeeded
    assert notebook.session.slots._lanes == {}


def test_a_run_that_is_cancelled_while_it_waits_leaves_the_slots_as_they_were(
    notebook: Notebook,
) -> None:
    async def work() -> None:
        await notebook.ran("%flujo run stay -i 1 --bg")
        await notebook.ran("%flujo run one -i 2 --bg")
        await until(lambda: notebook.shell.user_ns["begun"])
        await notebook.ran("%flujo cancel f1")
        await notebook.ran("go.set()")
        await until(at_rest(notebook))

    notebook.value("%flujo session --max-concurrency 1")
    notebook.value(
        "go = asyncio.Event()\nasync def stay(n):\n    begun.append(n)\n    await go.wait()"
    )
    notebook.value("stay = Step.from_callable(stay)")
    notebook.during(work)
    assert notebook.value("begun") == [1]
    assert notebook.session.entry_of("f0").succeeded
    assert not notebook.session.entry_of("f1").succeeded
    assert notebook.session.slots._lanes == {}
    assert notebook.card("%flujo run one -i 3").output == 3


def test_more_may_be_allowed_while_runs_wait(notebook: Notebook) -> None:
    async def work() -> None:
        await notebook.ran("%flujo run stay -i 1 --bg")
        await notebook.ran("%flujo run stay -i 2 --bg")
        await until(lambda: notebook.shell.user_ns["begun"] == [1])
        await notebook.ran("%flujo session --max-concurrency none")
        await until(lambda: notebook.shell.user_ns["begun"] == [1, 2])
        await notebook.ran("go.set()")
        await until(at_rest(notebook))

    notebook.value("%flujo session --max-concurrency 1")
    notebook.value(
        "go = asyncio.Event()\nasync def stay(n):\n    begun.append(n)\n    await go.wait()"
    )
    notebook.value("stay = Step.from_callable(stay)")
    notebook.during(work)


def test_a_new_session_keeps_it_and_may_have_another(notebook: Notebook) -> None:
    notebook.value("flujo.configure(max_concurrency=4)")
    assert "at most 4 in flight" in repr(notebook.view("%flujo session new"))
    assert "at most 2 in flight" in repr(notebook.view("%flujo session new --max-concurrency 2"))
    notebook.value("flujo.configure(max_concurrency='none')")
    assert "any number in flight" in repr(notebook.view("%flujo session"))


@pytest.mark.parametrize(
    "given", ["0", "-1", "1.5", "two", "None", "NONE", "1e3", "\u0661", "1_0", "''", "9" * 40]
)
def test_another_number_changes_nothing(notebook: Notebook, given: str) -> None:
    notebook.value("from flujo_nb import PipelineContext")
    notebook.value("%flujo session --max-concurrency 2")
    before = notebook.state()
    option = f"--max-concurrency={given}"
    error = notebook.error(f"%flujo session --context PipelineContext {option}")
    assert isinstance(error, UsageError)
    assert "max_concurrency is a whole number from 1 on, or none for no bound; found" in str(error)
    assert notebook.state() == before
    assert notebook.session.slots.most == 2


@pytest.mark.parametrize("given", ["0", "-3", "True", "2.0", "'2 '", "[1]"])
def test_python_is_told_the_same(notebook: Notebook, given: str) -> None:
    error = notebook.error(f"flujo.configure(resources=1, max_concurrency={given})")
    assert isinstance(error, UsageError) and "a whole number from 1 on" in str(error)
    assert notebook.session.resources is None and notebook.session.slots.most is None
