"""Text of an agent in a real kernel: it arrives while the run goes on, in one place of the cell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from flujo_nb.execute import CellEnded, CellStarted, execute
from tests.kernel.harness import Cell, Kernel

MODEL = """\
import asyncio
from pathlib import Path
from pydantic_ai.models.function import FunctionModel

async def pieces(messages, info):
    yield 'the first words '
    while not Path('go on').exists():
        await asyncio.sleep(0.02)
    yield 'and the last'

talks = FunctionModel(stream_function=pieces)
"""
AGENT = "%%flujo agent tell --model talks -i 1\nSay {{ data }}"


def shown(cell: Cell) -> list[tuple[str, str, str]]:
    """What was displayed in the cell: how, in which place, and its text."""
    found = []
    for out in cell.outputs:
        kind, transient, data = out["output_type"], out.get("transient"), out.get("data")
        if isinstance(transient, Mapping) and "display_id" in transient:
            assert isinstance(data, Mapping)
            found.append((str(kind), str(transient["display_id"]), str(data["text/plain"])))
    return found


@pytest.fixture
def talking(fresh_kernel: Kernel) -> Kernel:
    """A kernel with a model that waits between its first words and its last."""
    fresh_kernel.check("%load_ext flujo_nb")
    fresh_kernel.check(MODEL)
    return fresh_kernel


def wait_for_text(kernel: Kernel, cell: Cell, text: str) -> None:
    kernel._read_until(lambda: any(text in one[2] for one in shown(cell)), 60, cell)


def test_text_arrives_before_the_run_ends_in_one_place(talking: Kernel, tmp_path: Path) -> None:
    cell = talking.start(AGENT)
    wait_for_text(talking, cell, "the first words")
    assert not cell.idle and cell.result is None
    (tmp_path / "go on").touch()
    talking.finish(cell)
    assert cell.error is None
    kinds = [kind for kind, _, _ in shown(cell)]
    assert kinds == ["display_data"] + ["update_display_data"] * (len(kinds) - 1)
    assert len({place for _, place, _ in shown(cell)}) == 1
    *_, running, last_of_all = [text for _, _, text in shown(cell)]
    assert running.startswith("tell running   c[1]/tell since ")
    assert running.splitlines()[1] == "the first words "
    first, text = last_of_all.splitlines()
    assert first.startswith("tell completed in ")
    assert text == "the first words and the last"
    assert str(cell.result).startswith("f0 tell   ← -i   completed")


def test_an_interrupt_leaves_what_was_written(talking: Kernel) -> None:
    cell = talking.start(AGENT)
    wait_for_text(talking, cell, "the first words")
    talking.interrupted(cell)
    assert cell.status == "error"
    first, text = shown(cell)[-1][2].splitlines()
    assert first.startswith("tell interrupted in ")
    assert text == "the first words "
    assert talking.check("flujo.frames['f0'].status").result == "'interrupted'"


def test_over_the_bridge_it_arrives_in_the_same_cell(talking: Kernel, tmp_path: Path) -> None:
    line, _, body = AGENT.removeprefix("%%flujo ").partition("\n")
    cell = talking.start(
        f"def call():\n    get_ipython().run_cell_magic('flujo', {line!r}, {body!r})\ncall()"
    )
    wait_for_text(talking, cell, "the first words")
    assert not cell.idle
    (tmp_path / "go on").touch()
    talking.finish(cell)
    assert cell.error is None
    assert shown(cell)[-1][2].splitlines()[1] == "the first words and the last"


def test_loading_and_plain_steps_import_no_agents(fresh_kernel: Kernel) -> None:
    fresh_kernel.check("%load_ext flujo_nb")
    fresh_kernel.check("%%flujo step --live\ndef one():\n    return 1")
    loaded = fresh_kernel.check("import sys; 'pydantic_ai' in sys.modules")
    assert loaded.result == "False"


class Quiet:
    """Listens to nothing."""

    def started(self, cell: CellStarted) -> None: ...

    def ended(self, cell: CellEnded) -> None: ...


def test_under_nbclient_the_last_state_stands_in_the_notebook(tmp_path: Path) -> None:
    new: Any = nbformat.v4
    notebook = new.new_notebook(
        cells=[
            new.new_code_cell("%load_ext flujo_nb"),
            new.new_code_cell(MODEL + "Path('go on').touch()"),
            new.new_code_cell(AGENT),
        ]
    )
    done = asyncio.run(execute(notebook, tmp_path, Quiet(), cell_timeout=120))
    assert done.passed
    live, card = done.notebook.cells[2].outputs
    assert live["data"]["text/plain"].splitlines()[1] == "the first words and the last"
    assert live["data"]["text/plain"].startswith("tell completed in ")
    assert card["data"]["text/plain"].startswith("f0 tell")
