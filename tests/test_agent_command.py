"""`%%flujo agent` and `%%flujo hitl`: cells, what they show, what they leave, what they refuse."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.completion import candidates
from flujo_nb.errors import StepFailed
from tests.durable import opener
from tests.notebook import Notebook
from tests.shown import pages, shown_by

SET_UP = """\
from enum import Enum
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.usage import RequestUsage
from typing_extensions import TypedDict

class Verdict(BaseModel):
    good: bool
    why: str = ''

@dataclass
class Point:
    x: int

class Row(TypedDict):
    name: str

class Colour(Enum):
    RED = 'red'

class Ctx(BaseModel):
    language: str = 'English'

asked = []

def prompt_of(messages):
    parts = [part for message in messages for part in message.parts]
    asked.append([part.content for part in parts if part.part_kind == 'user-prompt'][-1])
    return asked[-1]

def whole(messages, info):
    return ModelResponse(
        parts=[TextPart(f'to {prompt_of(messages)}')],
        usage=RequestUsage(input_tokens=6, output_tokens=4),
    )

async def pieces(messages, info):
    for word in f'to {prompt_of(messages)} then'.split(' '):
        yield f'{word} '

def failing(messages, info):
    prompt_of(messages)
    raise ValueError('out of order')

def second(messages, info):
    if len(asked) % 2 == 0:
        failing(messages, info)
    return whole(messages, info)

async def half_then_whole(messages, info):
    prompt = prompt_of(messages)
    yield f'attempt {len(asked)} '
    if len(asked) == 1:
        raise ValueError('out of order')
    yield 'is done'

async def judging(messages, info):
    prompt_of(messages)
    yield {0: DeltaToolCall(info.output_tools[0].name, '{"good": true, ')}
    yield {0: DeltaToolCall(json_args='"why": "short"}')}

echo = FunctionModel(whole)
talks = FunctionModel(stream_function=pieces)
broken = FunctionModel(failing)
flaky = FunctionModel(second)
halves = FunctionModel(stream_function=half_then_whole)
judge_model = FunctionModel(stream_function=judging)
"""


@pytest.fixture
def cells(notebook: Notebook) -> Notebook:
    """A notebook with models and classes of a user's."""
    notebook.value(SET_UP)
    return notebook


def asked(notebook: Notebook) -> list[str]:
    found = notebook.shell.user_ns["asked"]
    assert isinstance(found, list)
    return found


def card_rows(text: str) -> Mapping[str, str]:
    rows = [line.strip().split("  ", 1) for line in text.splitlines()[1:] if "  " in line.strip()]
    return {label: value.strip() for label, value in rows}


# Prompts


def test_the_body_is_the_prompt_with_what_placeholders_name(cells: Notebook) -> None:
    cells.value("%flujo session --context Ctx")
    cells.card("%%flujo step rows -i 3\ndef rows(n: int) -> list[dict]:\n    return [{'n': n}]")
    card = cells.card(
        "%%flujo agent tell --model echo\n\n"
        'Say {{ data[0].n }} in {{ context.language }} as {"json": {}}: {{ steps.rows }}\n'
    )
    assert asked(cells) == ['Say 3 in English as {"json": {}}: [{"n": 3}]']
    assert card.output == f"to {asked(cells)[0]}"
    assert (card.name, card.parent) == ("tell", "f0")


def test_the_next_cell_goes_on_from_the_answer(cells: Notebook) -> None:
    cells.card("%%flujo agent one --model echo -i 1\nSay {{ data }}")
    card = cells.card("%%flujo step two\ndef two(text: str) -> str:\n    return text.upper()")
    assert card.output == "TO SAY 1"


def test_what_the_prompt_names_is_never_evaluated(cells: Notebook) -> None:
    body = "{__import__('os').abort()} $HOME `ls` {{ data.__class__ }}"
    error = cells.error(f"%%flujo agent one --model echo -i 1\n{body}")
    assert isinstance(error, StepFailed)
    assert "is no placeholder" in str(error)
    card = cells.card("%%flujo agent one --model echo -i 1\n{1+1} $HOME `ls` {%x%} %time {{")
    assert card.output == "to {1+1} $HOME `ls` {%x%} %time {{"


@pytest.mark.parametrize("path", ["data.zero", "dta", "context.language", "steps.nobody"])
def test_an_unknown_placeholder_fails_before_anything_is_spent(cells: Notebook, path: str) -> None:
    error = cells.error(f"%%flujo agent one --model echo -i {{'one': 1}}\nSay {{{{ {path} }}}}")
    assert isinstance(error, StepFailed)
    assert f"{{{{ {path} }}}} in the input of step 'one'" in str(error)
    assert asked(cells) == []
    assert cells.session.quota.spent.tokens == 0
    assert error.record.outcome.attempts == 1


# Outputs


@pytest.mark.parametrize(
    ("out", "output"),
    [
        ("str", "'success (no tool calls)'"),
        ("int", "0"),
        ("bool", "False"),
        ("Verdict", "Verdict(good=False, why='')"),
        ("Point", "Point(x=0)"),
        ("Row", "{'name': 'a'}"),
        ("Colour", "<Colour.RED: 'red'>"),
        ("list[Verdict]", "[Verdict(good=False, why='')]"),
    ],
)
def test_the_answer_is_of_the_type_that_was_asked_for(
    cells: Notebook, out: str, output: str
) -> None:
    card = cells.card(f"%%flujo agent one --model test --out {out} -i 1\nSay {{{{ data }}}}")
    assert repr(card.output).replace("__main__.", "") == output


def test_the_card_says_which_model_answered_and_what_it_used(cells: Notebook) -> None:
    card = cells.card("%%flujo agent one --model echo -i 1\nSay {{ data }}")
    rows = card_rows(repr(card))
    assert rows["model"] == "function:whole:"
    assert rows["used"] == "10 tokens, $0.0000"
    assert "attempts" not in rows


def test_a_price_that_is_not_known_is_not_told_as_nothing(cells: Notebook) -> None:
    cells.value(
        "class Own(FunctionModel):\n"
        "    @property\n    def system(self):\n        return 'own'\n"
        "own = Own(whole, model_name='some-model')"
    )
    card = cells.card("%%flujo agent one --model own -i 1\nSay {{ data }}")
    rows = card_rows(repr(card))
    assert rows["model"] == "some-model"
    assert rows["used"] == "10 tokens, price unknown"


def test_a_card_that_was_read_back_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    with open_() as first:
        card = first.card("%%flujo agent one --model test -i 1\nSay {{ data }}")
    with open_() as second:
        again = second.view("%flujo show f0")
        for row in ("model", "used", "output"):
            assert card_rows(repr(again))[row] == card_rows(repr(card))[row]


def test_a_step_of_a_function_has_no_model_on_its_card(cells: Notebook) -> None:
    card = cells.card("%%flujo step f -i 1\ndef f(x):\n    return x")
    assert not {"model", "used"} & card_rows(repr(card)).keys()


# What is shown meanwhile


def test_the_text_is_shown_and_stays(cells: Notebook) -> None:
    shown = shown_by(cells, "%%flujo agent one --model talks -i 1\nSay {{ data }}")
    first, *_, last, _card = shown.texts
    assert first.splitlines()[1] == "writing …"
    title, text = last.splitlines()
    assert title.startswith("one completed in ") and "tokens" in title
    assert text == "to Say 1 then "
    assert "to Say 1 then" in pages(shown.sent)[-2]


def test_an_answer_in_fields_is_shown_as_being_written_only(cells: Notebook) -> None:
    shown = shown_by(
        cells, "%%flujo agent one --model judge_model --out Verdict -i 1\nJudge {{ data }}"
    )
    *live, card = list(shown.texts)
    assert live[0].splitlines()[1] == "writing …"
    assert len(live[-1].splitlines()) == 1
    assert not any("good" in text for text in live)
    assert "Verdict(good=True, why='short')" in card


def test_a_model_that_cannot_stream_answers_all_the_same(cells: Notebook) -> None:
    assert cells.card("%%flujo agent one --model echo -i 1\nSay {{ data }}").output == "to Say 1"


def test_what_a_model_writes_is_text(cells: Notebook) -> None:
    cells.value(
        "async def evil(messages, info):\n"
        "    yield '<img src=x onerror=alert(1)> \\x1b[31m sk-abcdefghij'\n"
        "    yield 'klmnopqrstuvwxyz0123 end'\n"
        "evil = FunctionModel(stream_function=evil)"
    )
    shown = shown_by(cells, "%%flujo agent one --model evil\nSay it")
    assert not any("<img" in page for page in pages(shown.sent))
    assert not any("\x1b" in text or "sk-abc" in text for text in shown.everything)
    assert "«withheld: looks like an API key, sk-…» end" in list(shown.texts)[-2]


# Attempts


def test_a_failed_attempt_is_told_to_the_next(cells: Notebook) -> None:
    card = cells.card("%%flujo agent one --model flaky -i 1\nSay {{ data }}")
    first, second = asked(cells)
    assert first == "Say 1"
    assert second.startswith("Say 1\n\nThe previous attempt failed: ")
    assert "out of order" in second
    assert card_rows(repr(card))["attempts"] == "2"


def test_what_a_failed_attempt_had_written_goes_away(cells: Notebook) -> None:
    shown = shown_by(cells, "%%flujo agent one --model halves -i 1\nSay {{ data }}")
    last = list(shown.texts)[-2]
    assert last.splitlines()[1:] == ["attempt 2 is done"]


@pytest.mark.parametrize(("option", "attempts"), [("", 2), ("--retries 0", 1), ("--retries 2", 3)])
def test_a_model_that_fails_is_asked_again_as_often_as_was_said(
    cells: Notebook, option: str, attempts: int
) -> None:
    error = cells.error(f"%%flujo agent one --model broken {option} -i 1\nSay {{{{ data }}}}")
    assert isinstance(error, StepFailed)
    assert "ValueError: out of order" in str(error)
    assert len(asked(cells)) == attempts
    assert cells.session.head is None


# Registering


def test_an_agent_can_be_run_again_and_stand_in_a_pipeline(cells: Notebook) -> None:
    view = cells.view("%%flujo agent tell --model echo --no-run\nSay {{ data }}")
    assert repr(view) == "registered tell\n  next  %flujo run tell -i EXPR"
    assert asked(cells) == []
    assert cells.card("%flujo run tell -i 1").output == "to Say 1"
    card = cells.card("%%flujo pipeline both -i 2 --live\ntell >> tell")
    assert card.output == "to Say to Say 2"
    assert cells.card("f = flujo.frames['f1/tell']\nf").usage.tokens == 10


def test_an_agent_that_asks_for_no_input_is_run_without_one(cells: Notebook) -> None:
    view = cells.view("%%flujo agent tell --model echo --no-run\nSay something")
    assert repr(view) == "registered tell\n  next  %flujo run tell"


def test_the_source_of_an_agent_is_its_prompt(cells: Notebook) -> None:
    cells.view("%%flujo agent tell --model echo --out str --no-run\nSay {{ data }}\n")
    kept = cells.session.steps["tell"]
    assert (kept.command, kept.source.strip()) == ("agent", "Say {{ data }}")


def test_another_prompt_makes_the_frames_of_the_old_one_stale(cells: Notebook) -> None:
    cells.card("%%flujo agent tell --model echo -i 1\nSay {{ data }}")
    assert cells.session.staleness.all() == {}
    cells.view("%%flujo agent tell --model echo --no-run\nSay {{ data }} again")
    assert "f0" in cells.session.staleness.all()


def test_the_same_prompt_is_reused_where_that_is_set(cells: Notebook) -> None:
    cells.run("%config Flujo.reuse = 'same'")
    cell = "%%flujo agent tell --model echo -i 1\nSay {{ data }}"
    cells.card(cell)
    shown = shown_by(cells, cell)
    assert len(asked(cells)) == 1
    assert [text.splitlines()[0].startswith("reused f0") for text in shown.texts] == [True]


REFUSED: Mapping[str, tuple[str, str]] = {
    "no name": ("%%flujo agent --model test\nSay", "which name? usage: %%flujo agent NAME"),
    "no model": ("%%flujo agent one\nSay", "which model? --model test answers offline"),
    "no prompt": ("%%flujo agent one --model test\n  \n", "is the prompt; found nothing"),
    "an unknown model": ("%%flujo agent one --model ecko\nSay", "did you mean 'echo'?"),
    "an unknown type": ("%%flujo agent one --model test --out Verdit\nS", "mean 'Verdict'?"),
    "retries that are no number": (
        "%%flujo agent one --model test --retries -1\nSay",
        "--retries takes a number",
    ),
    "retries without end": ("%%flujo agent one --model test --retries 99999\nS", "3 digits"),
    "no cell": ("%flujo agent one --model test", "takes a cell"),
    "a name that could not be run": ("%%flujo agent a>>b --model test\nSay", "a name is made of"),
    "an unknown option": ("%%flujo agent one --modle test\nSay", "did you mean --model?"),
    "an unknown frame": ("%%flujo agent one --model test --from f7\nSay", "no frame 'f7'"),
    "no question": ("%%flujo hitl ask\n  \n", "is the question; found nothing"),
    "no name of a question": ("%%flujo hitl\nWell?", "which name? usage: %%flujo hitl NAME"),
    "an unknown schema": ("%%flujo hitl ask --schema Verdit\nWell?", "mean 'Verdict'?"),
    "a schema that is no class": ("%%flujo hitl ask --schema asked\nWell?", "found list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_one_line_and_changes_nothing(cells: Notebook, case: str) -> None:
    cell, said = REFUSED[case]
    before = cells.state()
    error = cells.error(cell)
    assert isinstance(error, UsageError)
    assert said in str(error)
    assert "\n" not in str(error)
    assert cells.state() == before


@pytest.mark.parametrize(
    ("model", "missing", "said"),
    [
        ("openai:gpt-5", None, "set the environment variable OPENAI_API_KEY"),
        ("test", "pydantic_ai", "pip install 'flujo-nb[agents]'"),
        ("anthropic:some-model", "anthropic", "pip install 'pydantic-ai-slim[anthropic]'"),
    ],
)
def test_what_is_missing_is_told_in_one_line_that_helps(
    cells: Notebook, monkeypatch: pytest.MonkeyPatch, model: str, missing: str | None, said: str
) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    if missing is not None:
        monkeypatch.setitem(sys.modules, missing, None)
    before = cells.state()
    error = cells.error(f"%%flujo agent one --model {model}\nSay")
    assert isinstance(error, UsageError)
    assert said in str(error)
    assert "\n" not in str(error)
    assert cells.state() == before


def test_completion_knows_the_commands_and_the_types(cells: Notebook) -> None:
    assert candidates(cells.front, "agent one --mo")[1] == ["--model"]
    assert candidates(cells.front, "agent one --out Ver")[1] == ["Verdict"]
    assert candidates(cells.front, "hitl one --schema Ver")[1] == ["Verdict"]
