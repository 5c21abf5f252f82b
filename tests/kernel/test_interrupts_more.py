"""Interrupts at bad moments: in a clean-up, under a reserve, while the store writes, at the end.

Whatever the moment is: the frame is recorded, the budget is whole, HEAD stands, nothing is left
running, and the session goes on. The session is kept in the default store.
"""

from __future__ import annotations

import json
import queue
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.harness import Cell, Kernel

SOON_S = 1.5
POSTPONED_S = 1.2
STEPS = (Path(__file__).parent / "interrupted_steps.py").read_text()


@dataclass(frozen=True)
class Facts:
    """How a session stands."""

    head: str | None
    frames: list[list[str]]
    is_free: bool
    spent: int
    ran: list[object]
    cleaned: list[object]


@dataclass
class Interrupted:
    """A kernel with a session, and what to do and to look at in it."""

    kernel: Kernel
    store: Path

    def facts(self) -> Facts:
        return Facts(**json.loads(self.kernel.check("facts()").stdout))

    def press(self, code: str, *gaps: float, mark: str = "begun") -> Cell:
        """Interrupt a cell once it has printed ``mark``, and again after each of ``gaps``."""
        running = self.kernel.start(code)
        self.kernel.wait_for(running, mark)
        self.kernel.interrupt()
        for gap in gaps:
            time.sleep(gap)
            self.kernel.interrupt()
        try:
            return self.kernel.finish(running)
        except queue.Empty:  # the last press met the kernel between the cell's end and its reply
            assert running.idle and self.kernel.is_alive()
            running.status = "ok" if running.error is None else "error"
            return running

    def slowly(self, code: str, number: int, *gaps: float) -> Cell:
        """Interrupt a cell while the store is at its ``number``-th write."""
        self.kernel.check(f"writes.update(count=0, slow={number})")
        cell = self.press(code, *gaps, mark="writing")
        self.kernel.check("writes.update(slow=0)")
        return cell

    def let_pass(self, cell: Cell) -> None:
        """Wait until an interrupt that came too late for ``cell`` stops no other run."""
        assert cell.error is None
        assert "came too late" in cell.stderr
        time.sleep(POSTPONED_S)

    def look(self, before: Facts, cell: Cell, *, is_stored: bool = True) -> Facts:
        """One more frame is recorded as interrupted, and nothing else has changed."""
        assert cell.status == "error" and cell.error is not None
        assert "Interrupted" in cell.error.text, cell.error.text
        after = self.sound()
        assert after.head == before.head
        assert after.frames[:-1] == before.frames
        assert after.frames[-1][2] == "interrupted"
        assert f"kept: {after.frames[-1][0]} (interrupted)" in cell.error.text
        shown = self.kernel.check("%flujo frames").result or ""
        assert re.search(rf"^{after.frames[-1][0]} .* interrupted ", shown, re.MULTILINE)
        return after

    def sound(self) -> Facts:
        """Nothing is left running or reserved, and the store tells what the kernel tells."""
        assert self.kernel.is_alive()
        self.kernel.check("await quiet()")
        left = [one.replace("'flujo store flujo.db'", "") for one in self.kernel.leftovers()]
        assert all(one.startswith("[] [] ") and one.count("[") == 2 for one in left), left
        assert self.kernel.check("1 + 1").result == "2"
        found = self.facts()
        assert found.is_free
        told = self.kernel.check(
            "get_ipython().run_line_magic('flujo', f'session list {session().run_id}')"
        )
        rows = re.findall(r"^(f\d+) +(\S.*?) {2,}(\w+) ", told.result or "", re.MULTILINE)
        assert [list(row) for row in rows] == found.frames, told.result
        return found

    def goes_on(self, code: str) -> str:
        """What a cell shows that must complete."""
        cell = self.kernel.check(code)
        assert "completed" in (cell.result or ""), cell.result
        return cell.result or ""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interrupted]:
    """A kernel with the extension, the default store, and the steps."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLUJO_STORE", "auto")
        patch.setenv("JPY_SESSION_NAME", str(folder / "a.ipynb"))
        kernel = Kernel(folder)
    try:
        kernel.check("%load_ext flujo_nb")
        kernel.check(STEPS)
        yield Interrupted(kernel, folder / ".flujo" / "flujo.db")
        kernel.check("%unload_ext flujo_nb")
        assert kernel.leftovers() == []
    finally:
        kernel.stop()


@pytest.fixture
def one(loaded: Interrupted) -> Interrupted:
    """A new session, with a frame on HEAD."""
    loaded.kernel.check(
        "ran.clear(); cleaned.clear(); waits_s[0] = cleans_s[0] = 30\n"
        "%flujo session new\n"
        "%flujo run begin -i 1"
    )
    return loaded


FORMS = {
    "magic": "%flujo run {0}",
    "awaited": "await flujo.run({0})",
    "bridge": "def call():\n    %flujo run {0}\ncall()",
    "run_sync": "flujo.run_sync({0})",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_clean_up_that_awaits_is_let_end(one: Interrupted, form: str) -> None:
    before = one.facts()
    one.kernel.check("cleans_s[0] = 0.4")
    cell = one.press(form.format("cleans"))
    assert one.look(before, cell).cleaned == [1]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_second_press_during_the_clean_up_cuts_it(one: Interrupted, form: str) -> None:
    before = one.facts()
    running = one.kernel.start(form.format("cleans"))
    one.kernel.wait_for(running, "begun")
    one.kernel.interrupt()
    one.kernel.wait_for(running, "cleaning")
    one.kernel.interrupt()
    try:
        one.kernel.finish(running, SOON_S)
    except TimeoutError:  # of two signals that come at once the system delivers one
        assert one.kernel.interrupted(running) < SOON_S
    assert one.look(before, running).cleaned == []


def test_a_press_long_after_the_first_cuts_a_clean_up_too(one: Interrupted) -> None:
    before = one.facts()
    running = one.kernel.start("%flujo run cleans")
    one.kernel.wait_for(running, "begun")
    one.kernel.interrupt()
    time.sleep(2.2)
    assert not running.idle
    assert one.kernel.interrupted(running) < SOON_S
    assert one.look(before, running).cleaned == []


@pytest.mark.parametrize("name", ["waits", "spins", "cleans", "streams", "fan"])
@pytest.mark.parametrize("gap", [0.01, 0.1])
def test_three_presses_in_quick_succession(one: Interrupted, name: str, gap: float) -> None:
    before = one.facts()
    given = " -i range(50)" if name == "fan" else ""
    one.look(before, one.press(f"%flujo run {name}{given}", gap, gap))
    one.goes_on("%flujo run begin -i 2")


@pytest.mark.parametrize("presses", [1, 2])
@pytest.mark.parametrize(
    ("name", "limits", "reserve", "used"),
    [
        ("costly", "total_tokens_limit=1000, total_cost_usd_limit=2.0", "tokens=100", 0),
        ("asked", "total_tokens_limit=1000", "tokens=100", 7),
        ("Step.parallel('both', {'a': costly, 'b': asked})", "total_tokens_limit=1000", "=200", 7),
    ],
)
def test_a_budget_is_whole_when_what_had_reserved_is_interrupted(
    one: Interrupted, name: str, limits: str, reserve: str, used: int, presses: int
) -> None:
    one.kernel.check(f"flujo.configure(limits=UsageLimits({limits}))")
    one.kernel.check(f"node = paid >> {name}")
    before = one.facts()
    cell = one.press("%flujo run node", *[0.1] * (presses - 1))
    assert reserve in cell.stdout
    after = one.look(before, cell)
    assert after.spent == 10 + used
    left = 1000 - 10 - used
    one.kernel.check(
        f"@step(estimate=UsageEstimate(tokens={left}))\ndef fills(x):\n    return x\n"
        f"@step(estimate=UsageEstimate(tokens={left + 1}))\ndef exceeds(x):\n    return x"
    )
    one.goes_on("%flujo run fills -i 1")
    refused = one.kernel.run("%flujo run exceeds -i 1")
    assert refused.error is not None and "Token limit of 1000" in refused.error.text
    one.kernel.check("waits_s[0] = 0")
    one.goes_on(f"%flujo resume {after.frames[-1][0]}")
    assert one.facts().ran == ["paid"]


WRITES = {"waits": 3, "paid >> begin": 5, "several": 7, "streams": 3}
"""How often the store writes for a run of them: how it begins, each frame, how it ended."""


@pytest.mark.parametrize("gaps", [(), (0.02, 0.02)], ids=["one press", "three"])
@pytest.mark.parametrize(
    ("name", "number"), [(name, 1 + n) for name, count in WRITES.items() for n in range(count)]
)
def test_a_press_while_the_store_writes(
    one: Interrupted, name: str, number: int, gaps: Sequence[float]
) -> None:
    """A frame is recorded as interrupted; at the last write it is too late, and completed."""
    one.kernel.check("waits_s[0] = 0")
    before = one.facts()
    given = " -i range(50)" if name == "several" else ""
    cell = one.slowly(f"%flujo run {name}{given}", number, *gaps)
    if number < WRITES[name]:
        one.look(before, cell)
        one.goes_on("%flujo resume")
    else:
        one.let_pass(cell)
    after = one.sound()
    assert after.frames[-1][2] == "completed"
    assert after.head == after.frames[-1][0]
    assert len(after.ran) == len(set(map(str, after.ran)))
    one.goes_on("%flujo run begin")


def test_a_press_while_another_process_holds_the_store(one: Interrupted) -> None:
    one.kernel.check("waits_s[0] = 0.3")
    before = one.facts()
    running = one.kernel.start("%flujo run waits")
    one.kernel.wait_for(running, "begun")
    with closing(sqlite3.connect(one.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(0.8)  # the step has ended, and its end cannot be written
        one.kernel.interrupt()
        time.sleep(0.3)
        other.execute("ROLLBACK")
    one.look(before, one.kernel.finish(running))
    one.goes_on("%flujo resume")
    assert one.facts().ran == ["waits"]


@pytest.mark.parametrize("number", range(1, 6))
def test_a_press_while_a_question_is_written(one: Interrupted, number: int) -> None:
    before = one.facts()
    cell = one.slowly("%flujo run paid >> ask", number)
    assert cell.error is not None
    after = one.sound()
    assert after.head == before.head
    if after.frames[-1][2] == "interrupted":
        one.look(before, cell)
        paused = one.kernel.run("%flujo resume")
        assert paused.error is not None and "asks: Go?" in paused.error.text
    one.goes_on("%flujo resume --with True")
    assert one.sound().ran == ["paid"]


@pytest.mark.parametrize("number", range(1, 7))
def test_a_press_while_an_answer_is_gone_on_with(one: Interrupted, number: int) -> None:
    one.kernel.check("waits_s[0] = 0")
    paused = one.kernel.run("%flujo run paid >> ask >> waits")
    assert paused.error is not None and "asks: Go?" in paused.error.text
    before = one.facts()
    cell = one.slowly("%flujo resume --with 5", number)
    if cell.error is not None:
        after = one.sound()
        assert after.head == before.head
        # Whether the answer came to be written decides whether it is still asked for.
        again = one.kernel.run("%flujo resume")
        if "waits for an answer" in again.stderr:
            again = one.kernel.run("%flujo resume --with 5")
        assert "completed" in (again.result or ""), (again.stderr, again.error)
    else:
        one.let_pass(cell)
    assert one.sound().ran == ["paid", "waits"]
    assert one.kernel.check("flujo.head.output").result == "5"


def test_a_press_during_a_resumed_run(one: Interrupted) -> None:
    paused = one.kernel.run("%flujo run paid >> ask >> waits")
    assert paused.error is not None and "asks: Go?" in paused.error.text
    for command in ("resume --with 5", "resume", "resume"):
        before = one.facts()
        one.look(before, one.press(f"%flujo {command}"))
    one.kernel.check("waits_s[0] = 0")
    one.goes_on("%flujo resume")
    assert one.kernel.check("flujo.head.output").result == "5"
    assert one.sound().ran == ["paid", "waits"]


def test_a_press_during_a_fan_out_of_fifty(one: Interrupted) -> None:
    """What has finished is not run again; a thread that cannot be stopped may have finished."""
    before = one.facts()
    cell = one.press("%flujo run fan -i range(50)")
    after = one.look(before, cell)
    time.sleep(0.4)
    finished = [number for number in range(50) if number <= 20 and number % 10 != 9]
    assert set(finished) <= set(after.ran)
    one.kernel.check("waits_s[0] = 0")
    one.goes_on("%flujo resume")
    assert one.kernel.check("flujo.head.output == list(range(50))").result == "True"
    ran = one.sound().ran
    assert [ran.count(number) for number in finished] == [1] * len(finished)
    assert set(ran) == set(range(50))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_press_while_a_step_streams(one: Interrupted, form: str) -> None:
    before = one.facts()
    cell = one.press(form.format("streams"))
    assert one.look(before, cell).cleaned == ["stream"]
    one.kernel.check("waits_s[0] = 0")
    one.goes_on("%flujo resume")
    assert one.kernel.check("len(flujo.head.output.split())").result == "1000"


def test_a_press_at_the_end_of_a_run(one: Interrupted) -> None:
    """It ends the run, or the cell behind it, or comes too late: all say the same of it."""
    ends = set()
    for number in range(18):
        before = one.facts()
        after_s = 0.047 + 0.0005 * number
        cell = one.kernel.run(f"%flujo run pressed -i {after_s}\nawait asyncio.sleep(0.3)")
        if "came too late" in cell.stderr:
            time.sleep(POSTPONED_S)
        after = one.sound()
        assert after.frames[:-1] == before.frames
        newest, _, status = after.frames[-1]
        ends.add(status)
        if status == "interrupted":
            assert cell.error is not None and after.head == before.head
        else:
            assert status == "completed" and after.head == newest
            assert (cell.error is None) == ("came too late" in cell.stderr)
    assert ends == {"completed", "interrupted"}
    one.goes_on("%flujo run begin")
