"""A failed check, and a step's cell that is loaded, as nbclient and a front end see them."""

from __future__ import annotations

import nbclient
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from tests.kernel.harness import Kernel

CELLS = (
    "%load_ext flujo_nb",
    "%%flujo step -i 'to be'\ndef words(text):\n    return text.split()",
    "%%flujo check f0\nlen(frame.output) == 2",
    "%flujo load words\nprint(get_ipython().payload_manager.read_payload())",
    "%%flujo check f0\nlen(frame.output) == 3\nframe.output[9]",
)


def test_nbclient_stops_at_a_failed_check_and_front_ends_are_given_the_next_cell() -> None:
    notebook = new_notebook(cells=[new_code_cell(one) for one in CELLS])
    with pytest.raises(CellExecutionError) as caught:
        nbclient.execute(notebook, timeout=60)
    assert caught.value.ename == "CheckFailed"
    *_, green, loading, red = notebook.cells
    assert "1 check holds for f0 words" in green.outputs[0].data["text/plain"]
    (payload,) = [one.text for one in loading.outputs if one.output_type == "stream"]
    assert "'source': 'set_next_input'" in payload
    assert "'%%flujo step\\ndef words(text):\\n    return text.split()'" in payload
    (error,) = red.outputs
    assert [line for line in error.traceback if "words" not in line] == [
        "  len(frame.output) == 3",
        "    2 == 3 is false",
        "  frame.output[9]",
        "    IndexError: list index out of range",
        "  next: %flujo show f0",
    ]


def test_an_interrupt_ends_a_check_that_hangs(kernel: Kernel) -> None:
    for cell in CELLS[:2]:
        kernel.check(cell)
    hangs = "print('started', flush=True) or __import__('time').sleep(30)"
    running = kernel.start(f"%%flujo check f0\n{hangs} is None")
    kernel.wait_for(running, "started")
    assert kernel.interrupted(running) < 10
    assert running.error is not None and running.error.name == "CellInterrupted"
    assert kernel.leftovers() == []
