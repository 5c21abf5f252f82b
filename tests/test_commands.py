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
    "a word that session does not take": ("%flujo session new", ""),
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


NEEDED = {
    "pipeline": (
        "%%flujo step words -i 'to be'\ndef words(text): return text.split()",
        "%%flujo step count --no-run\ndef count(words): return len(words)",
        "%flujo run words -i 'to be or not'",
    ),
    "run": ("%%flujo step words --no-run\ndef words(text): return text.split()",),
    "session": ("from flujo_nb import PipelineContext",),
}


def example_of(notebook: Notebook, name: str) -> str:
    """The example in a command's help, indented as it stands there."""
    return repr(notebook.view(f"%flujo help {name}")).rpartition("example\n\n")[2]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("step", "pipeline")])
def test_the_example_in_help_works_as_pasted(notebook: Notebook, name: str) -> None:
    for cell in NEEDED.get(name, ()):
        notebook.value(cell)
    assert repr(notebook.view(example_of(notebook, name)))


def test_the_example_of_step_works_as_the_first_cell_that_is_pasted(notebook: Notebook) -> None:
    assert notebook.card(example_of(notebook, "step")).name == "words"


def test_the_example_of_pipeline_works_behind_those_of_step_and_run(notebook: Notebook) -> None:
    notebook.run(example_of(notebook, "step"))
    notebook.run("%%flujo step count --no-run\ndef count(words):\n    return len(words)")
    notebook.run(example_of(notebook, "run"))
    assert notebook.card(example_of(notebook, "pipeline")).name == "counted"


def test_an_unknown_step_in_a_pipelines_cell_is_told_with_the_nearest(busy: Notebook) -> None:
    before = busy.state()
    error = busy.error("%%flujo pipeline p\nsead >> text")
    assert isinstance(error, UsageError)
    assert "did you mean 'seed'?" in str(error)
    assert busy.state() == before


STEPS = """\
import asyncio
from flujo_nb import Flujo, Step, UsageLimits, step

@step
def up(n: int) -> int:
    return n + 1

@step
def two(n: int) -> int:
    return 2 * n

class Writer:
    async def run(self, data):
        return data

writer = Writer()
both = Step.parallel("both", {"a": up, "b": up >> two})
loop = Step.loop_until("loop", up, lambda n: n > 11, max_loops=20)
each = Step.map_over("each", up)
cached = Step.cached(up)
unkeyed = Step.cached(Step.from_callable(lambda x: 1, name="one"))
ask = Step.human_in_the_loop("ask", "Publish {{ data }}?", input_schema=bool)

@step(execution_mode="background")
async def behind(n: int) -> int:
    await asyncio.sleep(0.01)
    if n < 0:
        raise ValueError("negative")
    return n + 1
"""


@pytest.fixture
def kinds(notebook: Notebook) -> Notebook:
    """A notebook with steps of several kinds in variables."""
    notebook.value(STEPS)
    return notebook


@pytest.mark.parametrize(("given", "ends"), [(1, "completed"), (-1, "failed")])
def test_a_step_in_the_background_is_no_failure_and_tells_how_it_stands(
    kinds: Notebook, given: int, ends: str
) -> None:
    async def whole() -> list[str]:
        launched = await kinds.ran(f"%flujo run behind -i {given}")
        meanwhile = await kinds.ran("%flujo frames")
        await kinds.session.tasks.drain()
        return [repr(one.result) for one in (launched, meanwhile, await kinds.ran("%flujo show"))]

    launched, meanwhile, shown = kinds.during(whole)
    assert "works in the background (c[1]/behind/background)" in launched
    assert "works in the background" in meanwhile
    assert f"{ends} in the background: " in shown
    assert ("2 (c[1]" if given == 1 else "negative") in shown
    assert kinds.session.head is kinds.session.entries[0].record
    assert kinds.session.head.output == given


def test_a_run_that_asks_a_human_says_what_and_how_to_answer(kinds: Notebook) -> None:
    error = kinds.error("%flujo run up >> ask -i 1")
    lines = str(error).splitlines()
    assert len(lines) <= 6
    for said in ("paused at c[1]/ask", "asks: Publish 2?", "answer: boolean", "resume_async"):
        assert said in str(error)


def test_a_name_that_is_not_imported_is_told_as_that(notebook: Notebook) -> None:
    error = notebook.error("%%flujo pipeline\nStep.cached(up)")
    assert "from flujo_nb import Step" in str(error)


def test_an_unknown_name_in_a_pipelines_cell_is_told_with_steps_only(kinds: Notebook) -> None:
    error = str(kinds.error("%%flujo pipeline\nzzzzzzzz >> two"))
    assert "there are: up, two, both" in error
    assert "__name__" not in error and "Writer" not in error


@pytest.mark.parametrize(
    "cell",
    [
        "%flujo run writer",
        "%flujo run up >> writer",
        "%%flujo pipeline\nwriter",
        "%%flujo pipeline\nup >> two >> writer",
    ],
)
def test_an_agent_in_the_place_of_a_step(kinds: Notebook, cell: str) -> None:
    error = kinds.error(cell)
    assert isinstance(error, UsageError)
    assert "Step(name='writer', agent=writer)" in str(error)


@pytest.mark.parametrize(
    ("target", "given", "inside", "shown"),
    [
        ("both", 1, ":a up", "f0/both/:a/up"),
        ("both", 1, ":b up >> two", "f0/both/:b/two"),
        ("loop", 1, "[2] up", "f0/loop/[2]/up"),
        ("each", [1, 2], "[1] up", "f0/each/[1]/up"),
        ("both >> each", 1, "both", "f0/both/:b/up"),
    ],
)
def test_the_frames_inside_containers_can_be_looked_at(
    kinds: Notebook, target: str, given: object, inside: str, shown: str
) -> None:
    kinds.run(f"%flujo run {target} -i {given}")
    assert inside in repr(kinds.view("%flujo show f0"))
    assert kinds.card(f"%flujo show {shown}").id == shown


def test_a_branch_of_one_step_is_that_step_and_a_lone_step_is_its_frame(kinds: Notebook) -> None:
    kinds.run("%flujo run both -i 1")
    assert kinds.card("%flujo show f0/both/:a").id == "f0/both/:a/up"
    assert kinds.card("%flujo show f0/both").id == "f0"
    assert "did you mean" in str(kinds.error("%flujo show f0/both/:c"))


def test_what_a_container_counts_is_named(kinds: Notebook) -> None:
    loop = repr(kinds.card("%flujo run loop -i 1"))
    assert "iterations  11" in loop and "attempts" not in loop
    assert "… and 3 more" in loop
    each = repr(kinds.card("%flujo run each -i [1,2]"))
    assert "items   2" in each
    assert "input   not kept" in repr(kinds.card("%flujo show f1/each/[0]/up"))


def test_a_card_says_whether_the_cache_gave_the_output(kinds: Notebook) -> None:
    assert "from the cache" not in repr(kinds.card("%flujo run cached -i 1"))
    assert "from the cache" in repr(kinds.card("%flujo run cached -i 1"))
    assert "not cached: " in repr(kinds.card("%flujo run unkeyed -i asyncio.Event()"))


def test_a_step_without_its_input_is_told_how_to_get_one(kinds: Notebook) -> None:
    cell = "%%flujo step more --no-run\ndef more(n: int): return n"
    assert "%flujo run more -i EXPR" in repr(kinds.view(cell))
    assert "-i EXPR" not in repr(kinds.view("%%flujo step one --no-run\ndef one(): return 1"))
    assert "-i EXPR" in str(kinds.error("%flujo run more"))
    kinds.run("%%flujo step odd --no-run\ndef odd(): return 'x'")
    assert "-i EXPR" not in str(kinds.error("%flujo run odd >> more"))
    kinds.run("%flujo run up -i 1")
    assert "-i EXPR" not in repr(kinds.view(cell))


def test_the_budget_of_a_session(kinds: Notebook) -> None:
    kinds.run("from flujo_nb import Metered, Usage\nbudget = UsageLimits(total_tokens_limit=60)")
    kinds.run("%%flujo step pay --no-run\ndef pay(n): return Metered(n, Usage(tokens=70))")
    kinds.value("%flujo run pay -i 1")
    kinds.run("flujo.configure(limits=budget)")
    shown = repr(kinds.view("%flujo"))
    assert "used     70 tokens" in shown and "0 of 60 tokens" in shown
    kinds.value("%flujo run pay -i 1")
    assert "70 of 60 tokens" in repr(kinds.view("%flujo"))
    assert "next: flujo.configure(limits=" in str(kinds.error("%flujo run pay -i 1"))
    assert kinds.session.total.spent.tokens == 140
