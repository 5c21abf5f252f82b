"""Live lines of cells: when one is sent, where it stands, and what it says of what is spent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher

from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.path import FramePath, step_segment
from flujo_nb.engine.steps import AnyStep, Step
from flujo_nb.engine.usage import Usage
from flujo_nb.errors import StepFailed
from flujo_nb.head import Given, Request
from flujo_nb.live import EVERY_S, live_options
from flujo_nb.run_options import RunOptions
from tests.notebook import Notebook


class Sent(CapturingDisplayPublisher):
    """What is displayed, with the time of each sending."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell)
        self.times: list[float] = []

    def publish(self, data: Any, *rest: Any, **more: Any) -> None:
        self.times.append(time.monotonic())
        super().publish(data, *rest, **more)

    @property
    def lines(self) -> list[str]:
        return [one["data"]["text/plain"] for one in self.outputs]


@pytest.fixture
def sent(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Sent:
    publisher = Sent(notebook.shell)
    monkeypatch.setattr(notebook.shell, "display_pub", publisher)
    notebook.shell.user_ns["shown"] = lambda: publisher.lines[-1]
    return publisher


def is_one_place(sent: Sent) -> bool:
    """Whether all that was sent stands in one place of the cell."""
    ids = {one["transient"]["display_id"] for one in sent.outputs}
    updates = [one["update"] for one in sent.outputs]
    return len(ids) == 1 and updates == [False] + [True] * (len(updates) - 1)


THREE = """\
%%flujo pipeline three -i [] --live
from flujo_nb import step

@step
def a(seen):
    return [*seen, shown()]

@step
def b(seen):
    return [*seen, shown()]

@step
def c(seen):
    return [*seen, shown()]

a >> b >> c
"""


def test_a_line_is_sent_before_each_synchronous_step(notebook: Notebook, sent: Sent) -> None:
    card = notebook.card(THREE)
    assert isinstance(card.output, list)
    for name, line in zip("abc", card.output, strict=True):
        assert line.startswith(f"three running   c[1]/{name} since ")
    assert is_one_place(sent)
    assert sent.lines[-1].startswith("three completed in ")
    assert sent.lines[-1].endswith("   3 finished")


def test_a_step_by_itself_is_told_before_it_works(notebook: Notebook, sent: Sent) -> None:
    card = notebook.card("%%flujo step f --live\ndef f():\n    return shown()")
    assert str(card.output).startswith("f running   c[1]/f since ")


def test_without_live_nothing_is_sent_and_nothing_watches(notebook: Notebook, sent: Sent) -> None:
    seen = "frame.run.events, frame.run.stream, frame.quota.in_flight"
    card = notebook.card(f"%%flujo step f\ndef f(data, *, frame):\n    return [{seen}]")
    assert card.output == [None, False, None]
    assert sent.outputs == []


STREAMS = """\
%%flujo step talk --live
import asyncio

async def talk():
    for number in range(600):
        yield f"{number} "
        await asyncio.sleep(0.001)
"""


def test_at_most_five_updates_a_second_are_sent(notebook: Notebook, sent: Sent) -> None:
    notebook.card(STREAMS)
    assert is_one_place(sent)
    took = sent.times[-1] - sent.times[0]
    assert 3 <= len(sent.outputs) <= took * 5 + 2
    middle = sent.lines[1].splitlines()[1]
    assert middle.startswith("0 1 2 ") and len(middle) < len(sent.lines[-1].splitlines()[1])
    assert sent.lines[-1].splitlines()[1].endswith("598 599 ")


def test_what_has_not_changed_is_not_sent_again(notebook: Notebook, sent: Sent) -> None:
    notebook.card(
        "%%flujo step wait --live\nimport asyncio\nasync def wait():\n    await asyncio.sleep(0.7)"
    )
    assert len(sent.outputs) == 2


def test_nothing_is_sent_after_the_end(notebook: Notebook, sent: Sent) -> None:
    async def main() -> int:
        await notebook.ran(STREAMS)
        count = len(sent.outputs)
        await asyncio.sleep(2 * EVERY_S)
        return count

    assert notebook.during(main) == len(sent.outputs)


def test_a_failed_run_leaves_its_last_line(notebook: Notebook, sent: Sent) -> None:
    error = notebook.error("%%flujo step f --live\ndef f():\n    raise ValueError('no')")
    assert isinstance(error, StepFailed)
    assert sent.lines[-1].startswith("f failed in ")


def test_what_cannot_start_shows_nothing(notebook: Notebook, sent: Sent) -> None:
    notebook.error("%%flujo step f --live --from f7\ndef f(x):\n    return x")
    assert sent.outputs == []


def test_a_frame_that_is_reused_shows_no_line(notebook: Notebook, sent: Sent) -> None:
    notebook.run("%config Flujo.reuse = 'same'")
    cell = "%%flujo step f -i 1 --live\ndef f(x):\n    return x"
    notebook.card(cell)
    count = len(sent.outputs)
    assert repr(notebook.card(cell)).startswith("reused f0")
    assert len(sent.outputs) == count


def test_over_the_bridge_it_is_shown_too(notebook: Notebook, sent: Sent) -> None:
    notebook.run(
        "cell = 'def g():\\n    return shown()'\n"
        "def call():\n    get_ipython().run_cell_magic('flujo', 'step g --live', cell)\n"
        "call()"
    )
    assert sent.lines[0].startswith("g running   c[1]/g since ")
    assert sent.lines[-1].startswith("g completed in ")


def test_a_terminal_gets_the_last_state_only(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run("%%flujo step f --live\ndef f():\n    return 1")
    shown = capsys.readouterr().out
    assert "running" not in shown
    assert shown.count("f completed in ") == 1


# What is spent


class Spends:
    """An agent that says what it used before it has ended."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    async def run(self, data: object, *, meter: Any) -> object:
        meter.used = Usage(tokens=self.tokens)
        await asyncio.sleep(2.2 * EVERY_S)
        return data


def run_live(notebook: Notebook, name: str, tokens: int) -> Any:
    step: AnyStep = Step(name=name, agent=Spends(tokens))
    request = Request(given=Given(1))
    return notebook.front.run(step, name, request, live_options(notebook.front, name))


def test_what_an_attempt_in_flight_used_is_told(notebook: Notebook, sent: Sent) -> None:
    notebook.during(lambda: run_live(notebook, "spends", 77))
    running = [line for line in sent.lines if "running" in line]
    assert "77 tokens" in running[-1]
    assert sent.lines[-1].endswith("   77 tokens")


def test_runs_at_once_tell_what_each_of_them_spends(notebook: Notebook, sent: Sent) -> None:
    async def both() -> None:
        await asyncio.gather(run_live(notebook, "a", 77), run_live(notebook, "b", 5))

    notebook.during(both)
    told: Mapping[str, str] = {line.split()[0]: line for line in sent.lines}
    assert told["a"].endswith("   77 tokens") and told["b"].endswith("   5 tokens")
    assert notebook.session.quota.spent.tokens == 82


def test_the_other_options_stand(notebook: Notebook) -> None:
    given = RunOptions(uses_cache=False, in_background=True)
    options = live_options(notebook.front, "f", given)
    assert not options.uses_cache and options.in_background
    assert options.hooks


def test_a_run_that_is_broken_off_is_told_as_interrupted(notebook: Notebook, sent: Sent) -> None:
    options = live_options(notebook.front, "f")
    path, step = FramePath((step_segment("f"),)), Step.from_callable(lambda data: data, name="f")
    event = FrameStarted(run_id="r", path=path, sequence=0, at_s=0.0, step=step, data=None)

    async def begins() -> None:
        options.hooks[0].listener(event)

    async def main() -> None:
        await asyncio.create_task(begins())
        await asyncio.sleep(2 * EVERY_S)

    notebook.during(main)
    assert [line.partition("   ")[0] for line in sent.lines] == ["f running", "f interrupted"]
