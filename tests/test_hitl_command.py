"""`%%flujo hitl`: a cell that asks a human, and what becomes of the answer."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from flujo_nb.errors import RunAborted
from tests.notebook import Notebook

SET_UP = """\
from pydantic import BaseModel
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel

class Verdict(BaseModel):
    good: bool
    why: str = ''

asked = []

def whole(messages, info):
    asked.append(messages[-1].parts[-1].content)
    return ModelResponse(parts=[TextPart(f'to {asked[-1]}')])

echo = FunctionModel(whole)
"""


@pytest.fixture
def cells(notebook: Notebook) -> Notebook:
    """A notebook with a model and a class of a user's."""
    notebook.value(SET_UP)
    return notebook


def asked_of_a_human(notebook: Notebook, cell: str) -> RunAborted:
    error = notebook.error(cell)
    assert isinstance(error, RunAborted)
    return error


def test_a_question_pauses_the_run_with_what_its_placeholders_name(cells: Notebook) -> None:
    cells.card("%%flujo step rows -i 3\ndef rows(n: int) -> int:\n    return n")
    error = asked_of_a_human(
        cells, "%%flujo hitl ask --schema Verdict\nPublish {{ data }} of {{ steps.rows }}?"
    )
    first, question, answer, *_ = str(error).splitlines()
    assert first.startswith("ask paused at c[2]/ask   ← f0.output")
    assert question == "  asks: Publish 3 of 3?"
    assert answer.startswith("  answer: Verdict with good, why; for example  --with {'good': True}")
    card = cells.card("%flujo resume --with {'good': True}")
    assert repr(card.output) == "Verdict(good=True, why='')"
    assert cells.session.head is not None and cells.session.head.id == card.id


def test_an_answer_of_another_type_is_refused_and_the_question_stands(cells: Notebook) -> None:
    asked_of_a_human(cells, "%%flujo hitl ask --schema bool\nPublish?")
    assert isinstance(cells.error("%flujo resume --with {'good': 3}"), UsageError)
    assert cells.card("%flujo resume --with True").output is True


def test_a_question_takes_any_answer_unless_told(cells: Notebook) -> None:
    asked_of_a_human(cells, "%%flujo hitl ask\nWell?")
    assert cells.card("%%flujo resume\nwell enough").output == "well enough"


def test_a_question_can_stand_in_a_pipeline(cells: Notebook) -> None:
    view = cells.view("%%flujo hitl ask --schema bool --no-run\nPublish {{ data }}?")
    assert repr(view).startswith("registered ask\n")
    assert cells.session.steps["ask"].command == "hitl"
    cells.view("%%flujo agent tell --model echo --no-run\nSay {{ data }}")
    error = asked_of_a_human(cells, "%flujo run tell >> ask -i 1")
    assert "asks: Publish to Say 1?" in str(error)
    cells.card("%flujo resume --with False")
    assert cells.shell.user_ns["asked"] == ["Say 1"]


def test_run_all_stops_at_an_open_question(cells: Notebook) -> None:
    asked_of_a_human(cells, "%%flujo hitl ask\nWell?")
    error = cells.error("%%flujo agent tell --model echo\nSay {{ data }}")
    assert isinstance(error, UsageError)
    assert "waits for an answer" in str(error)
    assert cells.shell.user_ns["asked"] == []
