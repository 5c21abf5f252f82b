"""Commands: what they answer, what they refuse, and that a refusal changes nothing."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from flujo_nb.commands import COMMANDS
from tests.notebook import Notebook

LIMIT = 12

SET_UP = """\
from typing import Any
from pydantic import BaseModel
from flujo_nb import step

class Ctx(BaseModel):
    n: int = 0

class Needs(BaseModel):
    n: int

def raises():
    raise ValueError("line\\n" * 1000)

not_a_model = 3
"""


@pytest.fixture
def busy(notebook: Notebook) -> Notebook:
    """A notebook with steps, frames, a context, and a failure behind HEAD."""
    notebook.run(SET_UP)
    notebook.run("%flujo session --context Ctx --init {'n': 1} --resources [1]")
    notebook.run("%%flujo step seed -i 1\ndef seed(x) -> int:\n    return x")
    notebook.run("%%flujo step text --no-run\ndef text(x: str) -> str:\n    return x")
    notebook.run("%%flujo step boom\ndef boom(x):\n    raise ValueError")
    return notebook


USAGE = {
    "an unknown command": ("%flujo rum seed", "did you mean 'run'?"),
    "an unknown step": ("%flujo run sead", "did you mean 'seed'?"),
    "an unknown step in a line of them": ("%flujo run seed >> sead", "did you mean 'seed'?"),
    "nothing behind the arrows": ("%flujo run seed >>", "NAME >> NAME"),
    "nothing to run": ("%flujo run", "usage: %flujo run"),
    "an unknown option": ("%flujo run seed --form f0", "did you mean --from?"),
    "a value that is missing": ("%flujo run seed --from", "--from needs FRAME"),
    "an unclosed bracket": ("%flujo run seed -i [1", "] is missing"),
    "an unclosed quote": ("%flujo run seed -i 'a", "' is missing"),
    "an expression in several words": ("%flujo run seed -i 1 if x else 2", ""),
    "an expression that does not compile": ("%flujo run seed -i 1+", "invalid syntax"),
    "an unknown frame": ("%flujo run seed --from f7", "there is no frame 'f7'"),
    "an unknown frame inside": ("%flujo show f0/x", "there is no frame inside f0"),
    "a failed frame": ("%flujo run seed --from f1", "f1 boom failed: it has no output"),
    "a frame too many": ("%flujo show f0 f1", "takes one frame"),
    "a body too many": ("%%flujo frames\nx", "takes no cell"),
    "a body too few": ("%flujo step", "takes a cell"),
    "a name too many": ("%%flujo step a b\ndef f(): pass", "takes one name"),
    "a body without a function": ("%%flujo step a\nx = 1", "defines a function"),
    "a generator": ("%%flujo step\ndef g(x):\n    yield x", "generator"),
    "a parameter that no step gets": ("%%flujo step\ndef g(x, y): pass", "asks for 'y'"),
    "a body without a pipeline": ("%%flujo pipeline p\n3", "found int"),
    "types that do not fit": ("%flujo run seed >> text", "'text' takes str"),
    "types that do not fit, in a cell": ("%%flujo pipeline p\nseed >> text", "'text' takes str"),
    "a context that is no model": ("%flujo session --context not_a_model", "a pydantic model"),
    "a context that is not defined": ("%flujo session --context Cxt", "no variable 'Cxt'"),
    "a model that cannot start": ("%flujo session --context Needs", "Needs cannot start: n"),
    "values that do not fit": ("%flujo session --init {'n': 'x'}", "Ctx cannot start: n"),
    "values that are no dict": ("%flujo session --init 3", "a dict or a model"),
    "an unknown command to explain": ("%flujo help rum", "did you mean 'run'?"),
    "a word that frames does not take": ("%flujo frames f0", ""),
    "a word that status does not take": ("%flujo status all", ""),
    "a word that steps does not take": ("%flujo steps all", ""),
    "a word that session does not take": ("%flujo session news", "did you mean 'new'?"),
    "a session that is not there": ("%flujo session use session_1", "no session 'session_1'"),
    "a frame to go back to that failed": ("%flujo back f1", "it has no output to go on from"),
    "a frame to go back to that is inside another": ("%flujo back f0/seed", "stands on a command"),
    "no frame to go back to": ("%flujo back", "usage: %flujo back"),
    "a frame to resume that completed": ("%flujo resume f0", "nothing to resume"),
    "an answer to a frame that asks nothing": ("%flujo resume f1 --with 1", "asks nothing"),
    "no frame to fork": ("%flujo fork", "usage: %flujo fork"),
    "a frame to replay that is not stored": ("%flujo replay f0", "only what a store keeps"),
    "an unknown frame to replay": ("%flujo replay f7", "there is no frame 'f7'"),
    "a name that could not be run": ("%%flujo step a>>b --no-run\ndef f(x): pass", ""),
    "a rest of an expression for a name": ("%%flujo step -i [1] [0]\ndef f(x): pass", ""),
}


@pytest.mark.parametrize("case", USAGE)
def test_misuse_is_one_line_and_changes_nothing(busy: Notebook, case: str) -> None:
    cell, said = USAGE[case]
    before = busy.state()
    error = busy.error(cell)
    assert isinstance(error, UsageError)
    assert said in str(error)
    assert "\n" not in str(error)
    assert busy.state() == before


RAISING = {
    "an input that raises": "%flujo run seed -i raises()",
    "values that raise": "%flujo session --init raises()",
    "resources that raise": "%flujo session --context Ctx --init {'n': 5} --resources raises()",
    "an input that raises, in a cell": "%%flujo step seed -i raises()\ndef seed(x): return -x",
    "a body that raises": "%%flujo step seed\nraises()\ndef seed(x): return -x",
    "a body that does not compile": "%%flujo step seed\ndef seed(x) return -x",
    "a pipeline's body that raises": "%%flujo pipeline seed\nraises()",
    "a pipeline's body that does not compile": "%%flujo pipeline seed\nseed >>",
}


@pytest.mark.parametrize("case", RAISING)
def test_what_raises_before_the_run_changes_nothing(busy: Notebook, case: str) -> None:
    before = busy.state()
    busy.error(RAISING[case])
    assert busy.state() == before


# A body is the user's own cell: it is told as IPython tells of any cell.
@pytest.mark.parametrize("case", [case for case in RAISING if "body" not in case])
def test_what_raises_before_the_run_is_told_in_a_few_lines(
    busy: Notebook, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    busy.run(RAISING[case])
    assert len(capsys.readouterr().out.splitlines()) <= LIMIT


def test_a_failed_run_is_told_in_a_few_lines(
    busy: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    busy.run("%%flujo step boom\ndef boom(x):\n    return raises()")
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= LIMIT
    assert "c[3]/boom" in shown
    assert 'raise ValueError("line' in shown


def test_the_full_traceback_on_request(busy: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    busy.run("%config Flujo.short_errors = False")
    capsys.readouterr()
    busy.run("%%flujo step boom\ndef boom(x):\n    return raises()")
    assert "Traceback" in capsys.readouterr().out


def test_a_step_is_registered_under_its_functions_name(notebook: Notebook) -> None:
    notebook.run("%%flujo step --no-run\ndef first(): return 1\ndef last(): return 2")
    assert list(notebook.session.steps) == ["last"]
    assert notebook.card("%flujo run last").output == 2


def test_a_step_that_failed_stays_registered_so_that_it_can_be_looked_at(busy: Notebook) -> None:
    assert "boom" in busy.session.steps


def test_no_run_registers_and_runs_nothing(notebook: Notebook) -> None:
    view = notebook.view("%%flujo step a --no-run\ndef a(): return 1")
    assert "registered a" in repr(view)
    assert notebook.session.entries == []


def test_a_step_object_and_a_decorated_function_are_steps_too(notebook: Notebook) -> None:
    notebook.run("from flujo_nb import step, Step")
    assert notebook.card("%%flujo step\n@step(name='own')\ndef a(): return 1").name == "own"
    assert notebook.card("%%flujo step b\nStep.from_callable(lambda: 2)").name == "b"


def test_a_pipeline_of_registered_steps_and_of_variables(notebook: Notebook) -> None:
    notebook.run("%%flujo step one --no-run\ndef one(): return 1")
    notebook.run("from flujo_nb import step\n@step\ndef add(x): return x + 1")
    card = notebook.card("%%flujo pipeline both\none >> add")
    assert (card.name, card.output) == ("both", 2)
    assert notebook.card("%flujo run both >> add -i 0").output == 3
    assert notebook.card("%flujo run both>>add -i 0").output == 3


def test_a_context_reaches_steps_and_moves_with_the_frames(notebook: Notebook) -> None:
    notebook.run(SET_UP)
    notebook.run("%flujo session --context Ctx --init {'n': 3}")
    card = notebook.card(
        "%%flujo step grow -i 4\ndef grow(x, context):\n    context.n += x\n    return x"
    )
    assert repr(card.context) == "Ctx(n=3)"
    assert repr(card.context_after) == "Ctx(n=7)"
    assert "n: 3 → 7" in repr(card)
    assert repr(notebook.card("%flujo run grow --on-head").context) == "Ctx(n=7)"
    assert repr(notebook.card("%flujo run grow -i 1").context) == "Ctx(n=3)"
    assert repr(notebook.card("%flujo run grow -i 1 --from f0").context) == "Ctx(n=7)"


def test_looking_changes_nothing(busy: Notebook) -> None:
    before = busy.state()
    for line in ("", "status", "frames", "show", "show f0", "show f1", "steps", "session", "help"):
        busy.view(f"%flujo {line}")
    assert busy.state() == before


def test_the_first_look_at_an_empty_session(notebook: Notebook) -> None:
    for line in ("", "status", "frames", "show", "steps", "session", "help"):
        assert repr(notebook.view(f"%flujo {line}"))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_usage_options_and_an_example(notebook: Notebook, name: str) -> None:
    shown = repr(notebook.view(f"%flujo help {name}"))
    command = COMMANDS[name]
    assert command.usage in shown
    assert all(option in shown for one in command.options for option in one.names)


def test_an_unknown_step_in_a_pipelines_cell_is_told_with_the_nearest(busy: Notebook) -> None:
    before = busy.state()
    error = busy.error("%%flujo pipeline p\nsead >> text")
    assert isinstance(error, UsageError)
    assert "did you mean 'seed'?" in str(error)
    assert busy.state() == before


def test_an_expression_with_blanks_is_told_where_brackets_stand(notebook: Notebook) -> None:
    said = str(notebook.error('%%flujo step -i "x" * 500\ndef one(x):\n    return x'))
    assert 'an expression with blanks stands in brackets: -i ("x" * 500); usage: ' in said
    assert "brackets" not in str(notebook.error("%%flujo step a b\ndef one(x):\n    return x"))


@pytest.mark.parametrize("line", ["%flujo run --help", "%flujo run -h", "%flujo run --help x"])
def test_a_command_that_is_asked_for_help_names_it(notebook: Notebook, line: str) -> None:
    error = notebook.error(line)
    assert isinstance(error, UsageError) and str(error) == "%flujo help run tells all of it"


def test_steps_shows_what_a_prompt_and_a_question_begin_with(notebook: Notebook) -> None:
    notebook.run("%%flujo agent title --model test --no-run\n\nA title for {{ data }}\nIn short.")
    notebook.run("%%flujo hitl publish --no-run\nPublish it?")
    assert repr(notebook.view("%flujo steps")).splitlines()[2:4] == [
        "title    agent     A title for {{ data }}",
        "publish  question  Publish it?",
    ]


def test_why_shows_of_an_agent_its_model_and_not_its_messages(notebook: Notebook) -> None:
    notebook.run("%%flujo agent title --model test -i 'x'\nA title for {{ data }}")
    told = repr(notebook.view("%flujo why f0"))
    assert "f0: model: 'test'" in told and "messages" not in told


def test_status_tells_once_of_each_run_that_ended_in_the_background(notebook: Notebook) -> None:
    async def begun_and_shown() -> list[str]:
        await notebook.ran("from flujo_nb import step\n\n@step\ndef one(x):\n    return x")
        await notebook.ran("%flujo run one -i 1 --bg")
        for run in notebook.session.background:
            await run.over()
        return [repr((await notebook.ran("%flujo")).result) for _ in range(2)]

    first, second = notebook.during(begun_and_shown)
    assert "\nended    f0 one completed\n" in first
    assert "f0 one completed" not in second
