"""``%flujo run … --bg``: runs beside the cells that follow, paused and cancelled by others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.engine.errors import StoreFailed
from flujo_nb.engine.outcomes import RunStatus
from tests.durable import opener
from tests.notebook import Notebook, fresh_notebook

STEPS = """
import asyncio, threading
from flujo_nb import Step
ran, go = [], asyncio.Event()
async def wait(n):
    ran.append('wait')
    await go.wait()
    return n + 1
def sync(n):
    ran.append(threading.current_thread() is threading.main_thread())
    return n
def after(n):
    ran.append('after')
    return n * 10
async def boom(n):
    await asyncio.sleep(0)
    raise ValueError('no ' * 3)
waiting, then = Step.from_callable(wait), Step.from_callable(after)
both = waiting >> then
"""


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    with fresh_notebook() as notebook:
        notebook.run(STEPS)
        yield notebook


async def shown(notebook: Notebook, cell: str) -> str:
    result = await notebook.ran(cell)
    error = result.error_before_exec or result.error_in_exec
    return str(error) if error is not None else repr(result.result)


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not met():  # noqa: ASYNC110  # what is waited for is no event of ours
            await asyncio.sleep(0.001)


def at_rest(notebook: Notebook) -> Callable[[], bool]:
    return lambda: not list(notebook.session.background)


def test_cells_go_on_beside_it_and_head_stays(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        assert "f0 both runs in the background   ← -i" in await shown(
            notebook, "%flujo run both -i 1 --bg"
        )
        assert "background  f0 both, for" in await shown(notebook, "%flujo")
        await shown(notebook, "%flujo run then -i 7")
        await shown(notebook, "go.set()")
        await until(at_rest(notebook))

    notebook.during(work)
    ids = [one.id for one in notebook.session.entries]
    assert ids == ["f1", "f0"]
    assert notebook.session.head is notebook.session.entry_of("f1")
    card = notebook.card("%flujo show f0")
    assert card.output == 20 and "HEAD stays where it is" in repr(card)
    assert "f0 both completed\n  next  %flujo show f0" in capsys.readouterr().out


def test_synchronous_steps_leave_the_loop_free(notebook: Notebook) -> None:
    async def work() -> None:
        await shown(notebook, "%flujo run sync -i 1 --bg")
        await until(at_rest(notebook))

    notebook.run("one = Step.from_callable(sync, name='sync')\nsync = one")
    notebook.during(work)
    assert notebook.value("ran") == [False]


def test_cancelled_it_is_recorded_and_can_be_resumed(notebook: Notebook) -> None:
    async def work() -> None:
        await shown(notebook, "%flujo run then >> waiting -i 1 --bg")
        await until(lambda: notebook.shell.user_ns["ran"] == ["after", "wait"])
        assert "f0 then >> waiting is cancelled" in await shown(notebook, "%flujo cancel")

    notebook.during(work)
    entry = notebook.session.entry_of("f0")
    assert entry.status is not RunStatus.COMPLETED and notebook.session.head is None
    notebook.run("go.set()")
    assert notebook.card("%flujo resume f0").output == 11
    assert notebook.value("ran") == ["after", "wait", "wait"]


def test_paused_it_stops_behind_the_step_at_work(notebook: Notebook) -> None:
    async def work() -> None:
        await shown(notebook, "%flujo run both -i 1 --bg")
        told = await shown(notebook, "%flujo pause f0")
        assert "f0 both pauses when the step at work has ended" in told
        await shown(notebook, "go.set()")
        await until(at_rest(notebook))

    notebook.during(work)
    assert notebook.value("ran") == ["wait"]
    card = notebook.card("%flujo resume f0")
    assert (card.output, notebook.value("ran")) == (20, ["wait", "after"])


def test_its_failure_is_said_and_kept(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        await shown(notebook, "failing = Step.from_callable(boom)")
        await shown(notebook, "%flujo run failing -i 1 --bg")
        await until(at_rest(notebook))

    notebook.during(work)
    assert notebook.session.entry_of("f0").status is RunStatus.FAILED
    assert "f0 failing failed: ValueError: no no no" in capsys.readouterr().out


def test_several_run_at_once_and_are_named(notebook: Notebook) -> None:
    async def work() -> None:
        for number in range(3):
            await shown(notebook, f"%flujo run waiting -i {number} --bg")
        assert "which one? f0 waiting, f1 waiting, f2 waiting" in await shown(
            notebook, "%flujo cancel"
        )
        assert "did you mean 'f1'" in await shown(notebook, "%flujo cancel f11")
        await shown(notebook, "%flujo cancel f1")
        await shown(notebook, "go.set()")
        await until(at_rest(notebook))

    notebook.during(work)
    done = {one.id: one.succeeded for one in notebook.session.entries}
    assert done == {"f0": True, "f1": False, "f2": True}
    assert notebook.card("%flujo show f2").output == 3


def test_a_session_with_one_at_work_is_not_exchanged(notebook: Notebook) -> None:
    async def work() -> None:
        await shown(notebook, "%flujo run waiting -i 1 --bg")
        before = notebook.session
        told = await shown(notebook, "%flujo session new")
        assert told == "f0 waiting runs in the background: %flujo cancel f0 ends it"
        assert notebook.session is before
        await shown(notebook, "%flujo cancel f0")

    notebook.during(work)


def test_what_cannot_be_planned_is_told_at_once(notebook: Notebook) -> None:
    error = notebook.error("%flujo run nothing --bg")

    assert isinstance(error, UsageError) and list(notebook.session.background) == []


def test_where_the_kernels_loop_is_not_at_hand_it_is_refused(notebook: Notebook) -> None:
    told = str(notebook.error("def f():\n    %flujo run then -i 1 --bg\nf()"))

    assert "--bg needs a cell that runs on the kernel's own loop" in told
    assert notebook.session.entries == []


def test_stored_it_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = opener(tmp_path, monkeypatch)
    with opened() as notebook:
        notebook.run(STEPS)

        async def work() -> None:
            await shown(notebook, "%flujo run both -i 1 --bg")
            await shown(notebook, "%flujo run then -i 7")
            await shown(notebook, "go.set()")
            await until(at_rest(notebook))

        notebook.during(work)
    with opened() as notebook:
        notebook.run(STEPS)
        assert "restored" not in repr(notebook.view("%flujo frames"))
        assert [one.id for one in notebook.session.entries] == ["f0", "f1"]
        assert notebook.card("%flujo show f0").output == 20
        assert notebook.view("%flujo replay f0")


def test_leaving_ends_it_and_nothing_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = opener(tmp_path, monkeypatch)
    for store in ("auto", "off"):
        monkeypatch.setenv("FLUJO_STORE", store)
        with opened() as notebook:
            notebook.run(STEPS)

            async def work(notebook: Notebook = notebook) -> None:
                await shown(notebook, "%flujo run both -i 1 --bg")
                await shown(notebook, "%unload_ext flujo_nb")
                await shown(notebook, "go.set()")
                async with asyncio.timeout(20):
                    while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110
                        await asyncio.sleep(0.001)

            notebook.during(work)
            assert notebook.value("ran") == ["wait"]
            notebook.load()


def test_another_store_waits_for_the_next_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opener(tmp_path, monkeypatch)() as notebook:
        notebook.run(STEPS)

        async def work() -> None:
            await shown(notebook, "%flujo run both -i 1 --bg")
            await shown(notebook, "%config Flujo.store = None")
            await shown(notebook, "%flujo run then -i 7")
            await shown(notebook, "go.set()")
            await until(at_rest(notebook))

        notebook.during(work)
        assert [one.id for one in notebook.session.entries] == ["f1", "f0"]
        assert notebook.session.keeper.is_stored


def test_a_budget_that_is_set_meanwhile_binds_it(notebook: Notebook) -> None:
    notebook.run(
        "from flujo_nb import Metered, Usage, UsageEstimate\n"
        "def pay(n):\n    ran.append('pay')\n    return Metered(n, Usage.of(tokens=1000))\n"
        "paid = Step.from_callable(pay, estimate=UsageEstimate(tokens=1000))"
    )

    async def work() -> None:
        await shown(notebook, "%flujo run waiting >> paid -i 1 --bg")
        await shown(notebook, "%flujo budget tokens=500")
        await shown(notebook, "go.set()")
        await until(at_rest(notebook))

    notebook.during(work)
    assert notebook.value("ran") == ["wait"]
    assert notebook.session.entry_of("f0").status is RunStatus.ABORTED


def test_a_recorded_frame_is_given_in_the_background_too(notebook: Notebook) -> None:
    notebook.run("%config Flujo.reuse = 'same'")
    notebook.card("%flujo run then -i 1")
    notebook.card("%flujo run then -i 2")
    card = notebook.card("%flujo run then -i 1 --bg")

    assert (card.id, notebook.value("ran")) == ("f0", ["after", "after"])
    assert notebook.session.head is notebook.session.entry_of("f1")


def test_its_failure_says_nothing_of_heads_line(notebook: Notebook) -> None:
    async def work() -> None:
        await shown(notebook, "failing = Step.from_callable(boom)")
        await shown(notebook, "%flujo run then -i 1")
        await shown(notebook, "%flujo run failing -i 1 --bg")
        await until(at_rest(notebook))
        await shown(notebook, "%config Flujo.after_failure = 'refuse'")
        assert "← f0.output   " in await shown(notebook, "%flujo run then --on-head")
        assert "f1 failing failed" in await shown(notebook, "%flujo")
        assert "failing" not in await shown(notebook, "%flujo")

    notebook.during(work)


def test_where_the_store_is_gone_it_goes_on_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opener(tmp_path, monkeypatch)() as notebook:
        notebook.run(STEPS)
        notebook.card("%flujo run then -i 1")

        async def refuse(*_: object) -> None:
            raise StoreFailed("the disk is full")

        monkeypatch.setattr(type(notebook.session.keeper), "began", refuse)

        async def work() -> None:
            told = await shown(notebook, "%flujo run then -i 2 --bg")
            assert "runs in the background" in told
            await until(at_rest(notebook))

        notebook.during(work)
        assert notebook.session.entries[-1].succeeded and not notebook.session.keeper.is_stored
