"""``%flujo export py``: the module gives what the notebook gave, and holds what that needs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import ModuleType

import pytest
from IPython.core.error import UsageError
from pydantic import BaseModel

from tests.exporting import as_json, by_command, exported, imported, ran
from tests.notebook import Notebook
from tests.notebook_shapes import CONTEXT, COUNT, SHAPES, WORDS, Shape


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_module_gives_what_the_notebook_gave(notebook: Notebook, shape: Shape) -> None:
    exported(notebook, *shape.cells)
    head = notebook.api.head
    assert head is not None
    wanted = as_json(head.output)
    assert as_json(by_command(shape.data)) == wanted
    first = notebook.session.entry_of("f0").record.data

    def given(module: ModuleType) -> object:
        if isinstance(first, BaseModel):
            return vars(module)[type(first).__name__].model_validate(shape.data)
        return shape.data

    module = imported()
    assert as_json(module.run(given(module))) == wanted
    module = imported()  # a step may count its runs in a global
    assert as_json(asyncio.run(module.run_async(given(module)))) == wanted


def test_what_no_step_needs_is_left_out(notebook: Notebook) -> None:
    text = exported(
        notebook,
        "import re, os\nfrom typing import Any, List\nimport sys as system",
        "unused = 1\nprint('hello')\nclass Unused: pass\nused: Any = [2]\nused.index(2)",
        "def other(): return re.sub('a', 'b', 'c')",
        "def helper(words: List[str]):\n    return words[:used[0]]",
        "%%flujo step words -i 'to be'\ndef words(text):\n    return helper(text.split())",
        "words('a b')\nhelper(['a'])",
        "flujo.head",
    )
    own = text.partition("\npipeline = ")[0].partition('"""\n')[2]
    for gone in ("re.", "import os", "sys", "unused", "print", "Unused", "other", "index", "%"):
        assert gone not in own, gone
    assert "from typing import Any, List\n\nfrom flujo_nb import Step\n" in text
    assert "used: Any = [2]" in text


def test_comments_stay(notebook: Notebook) -> None:
    text = exported(
        notebook,
        "# %% a mark of the editor\n# why three\nLIMIT = 3  # words\n\n# far away\n\nother = 1",
        "%%flujo step words -i 'to be'\n# what it does\ndef words(text):\n    # inside\n"
        "    return text.split()[:LIMIT]  # the first\n    # behind",
    )
    assert "# why three\nLIMIT = 3  # words\n" in text
    assert "# what it does\ndef words(text):\n    # inside\n" in text
    assert "[:LIMIT]  # the first\n    # behind\n" in text
    assert "editor" not in text and "far away" not in text


def test_a_name_is_exported_with_the_sessions_context(notebook: Notebook) -> None:
    text = exported(
        notebook,
        CONTEXT,
        "%flujo session --context Desk --init {'limit': 2}",
        "%%flujo step seen -i 1\ndef seen(n, context):\n    context.seen += n\n    return n",
        "%%flujo step other --no-run\ndef other(n, context):\n    return [n, context.seen]",
        name="other",
    )
    assert text.startswith('"""other, from session_')
    assert "def seen(" not in text
    assert by_command(3) == [3, 0]
    assert imported().run(3, context={"seen": 4}) == [3, 4]


def test_names_are_joined(notebook: Notebook) -> None:
    exported(notebook, WORDS, COUNT, name="words >> count")
    assert by_command("a b c") == 3


def test_the_programs_context_is_the_lines_first(notebook: Notebook) -> None:
    text = exported(
        notebook,
        CONTEXT,
        "%flujo session --context Desk --init {'limit':2,'last':Ticket(text='a'),'seen':0}",
        "%%flujo step first -i 1\ndef first(n, context):\n    context.limit = 9\n    return n",
        "%flujo session --init {'limit':5}",
    )
    assert "values={'limit': 2, 'last': {'text': 'a'}}" in text
    assert "# -" not in text


def test_a_secret_of_the_context_has_to_be_given(notebook: Notebook) -> None:
    text = exported(
        notebook,
        "from pydantic import BaseModel, SecretStr\nclass Desk(BaseModel):\n    key: SecretStr\n"
        "    n: int = 0",
        "%flujo session --context Desk --init {'key':SecretStr('hunter2'),'n':3}",
        "%%flujo step first -i 1\ndef first(n, context):\n    return len("
        "context.key.get_secret_value()) + context.n",
    )
    assert "hunter2" not in text
    assert "values={'n': 3}" in text
    assert "# - The first value of the context's key cannot be written down" in text
    assert imported().run(1, context={"key": "abc"}) == 6


def test_resources_have_to_be_given(notebook: Notebook) -> None:
    text = exported(
        notebook,
        "class Client:\n    def ask(self, n):\n        return n * 2\nclient = Client()",
        "%flujo session --resources client",
        "%%flujo step asked -i 2\ndef asked(n, resources):\n    return resources.ask(n)",
    )
    assert "Client" in text.partition("from flujo_nb")[0]
    assert "class Client" not in text

    class Other:
        def ask(self, n: int) -> int:
            return n * 3

    assert imported().run(2, resources=Other()) == 6


def test_a_program_that_asks_prints_the_question(notebook: Notebook) -> None:
    notebook.value(WORDS)
    notebook.run("%%flujo hitl approve --schema bool\nPublish {{ data }}?\nReally?")
    notebook.value("%flujo resume f1 --with True")
    text = exported(notebook)
    assert 'message_for_user="""\\\nPublish {{ data }}?\nReally?""",' in text
    assert "input_schema=bool" in text
    done = ran("pipeline.py", "--input", "a b")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == 'Publish ["a", "b"]?\nReally?\n'


def test_a_program_that_fails_says_where(notebook: Notebook) -> None:
    exported(notebook, WORDS, "%%flujo step first\ndef first(words):\n    return words[0]")
    done = ran("pipeline.py", "--input", "")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "first failed: IndexError: list index out of range\n"


def test_the_input_may_be_in_a_file(notebook: Notebook) -> None:
    exported(notebook, WORDS)
    Path("in.txt").write_text('to "be"\nor', "utf-8")
    done = ran("pipeline.py", "--input-file", "in.txt")
    assert json.loads(done.stdout) == ["to", '"be"', "or"]


def test_a_module_needs_neither_a_kernel_nor_ipython(notebook: Notebook) -> None:
    exported(notebook, WORDS, COUNT)
    code = (
        "import sys, pipeline\n"
        "assert pipeline.run('to be') == 2\n"
        "print({'IPython', 'ipykernel', 'traitlets', 'ipywidgets'} & set(sys.modules))"
    )
    assert ran("-c", code).stdout == "set()\n"


def test_the_newest_definition_counts_and_that_is_said(notebook: Notebook) -> None:
    edited = WORDS.replace("split()", "upper()").replace("-i", "--no-run -i")
    text = exported(notebook, WORDS, edited)
    assert "# - f0 is stale: words was edited. Here is what holds now." in text
    assert by_command("a b") == "A B"


def test_a_pipeline_keeps_the_steps_that_it_was_made_of(notebook: Notebook) -> None:
    edited = WORDS.replace("split()", "upper()").replace("-i", "--no-run -i")
    exported(notebook, WORDS, "%%flujo pipeline p -i 'a b'\nwords", edited)
    assert by_command("a b") == notebook.card("%flujo run p -i 'a b'").output == ["a", "b"]


def test_a_patched_frame_is_told_of(notebook: Notebook) -> None:
    patch = '%%flujo patch f0\n{"output": ["a"]}'
    text = exported(notebook, WORDS, COUNT, patch, "%flujo run count")
    told = " ".join(text.split())
    assert "was patched: what was changed there is not repeated here" in told


def test_own_names_do_not_stand_in_the_way(notebook: Notebook) -> None:
    text = exported(
        notebook,
        "class Step(list):\n    pass\ndef Program(x):\n    return Step([x])\nprogram = 3",
        "%%flujo step pipeline -i 1\ndef pipeline(n):\n    return Program(n + program)",
    )
    assert "from flujo_nb import Step as FlujoStep" in text
    assert by_command(1) == [4]


def test_ruff_finds_nothing(notebook: Notebook) -> None:
    exported(
        notebook,
        "import re, os.path, os\nfrom typing import List, Any\nfrom collections import *",
        CONTEXT,
        "import logging, random\nrandom.seed(3)\nlogging.info('x')",
        "%flujo session --context Desk --init {'limit': 2}",
        "def helper(x: Any) -> List[str]:\n    '''Long.'''\n    return re.split(os.path.sep, x)",
        "%%flujo step words -i 'to/be'\ndef words(text: str, context: Desk):\n"
        "    log = logging.getLogger(str(random.random()))\n"
        "    return Counter(helper(text)), log.name",
        "%%flujo agent told --model test\nSum up\n{{ data }}",
    )
    rules = ("--isolated", "--select", "E,F,I,W", "pipeline.py")
    done = ran("-m", "ruff", "check", *rules)
    assert done.returncode == 0, done.stdout


TOKEN = "ghp_" + "a1" * 18
REFUSED = {
    "a name that nobody defined": (
        ["def helper(x):\n    return x if x else nowhere(x)", "{}helper(x)"],
        "step s needs 'nowhere' in cell 1, which no cell defines: define it in a cell",
    ),
    "an object that no cell made": (
        ["exec('client = object()')", "{}repr(client)[:1]"],
        "step s needs 'client' in cell 2, which no cell defines, and its value (object) cannot",
    ),
    "an object that IPython's syntax made": (
        ["out = %time object()", "{}repr(out)[:1]"],
        "step s needs 'out' in cell 2, but it uses IPython's own syntax (%magic, !command)",
    ),
    "an object that was awaited": (
        ["async def make():\n    return object()", "made = await make()", "{}repr(made)[:1]"],
        "step s needs 'made' in cell 3, but it awaits outside a function",
    ),
    "a function with a magic in it": (
        ["def shell(x):\n    !true\n    return x", "{}shell(x)"],
        "step s needs 'shell' in cell 2, but it uses IPython's own syntax",
    ),
    "a module that no cell imports": (
        ["exec('import json')", "{}json.dumps(x)"],
        "step s needs 'json' in cell 2: import json in a cell, and export again",
    ),
    "what only notebooks have": (
        ["{}len(In) * x"],
        "step s needs 'In' in cell 1, which only a notebook has",
    ),
    "the session": (["{}len(flujo.steps) * x"], "step s needs 'flujo' in cell 1, the notebook's"),
    "a long value": (
        ["exec('rows = list(range(10_000))')", "{}rows[x]"],
        "step s needs 'rows' in cell 2, which no cell defines, and its value (list) cannot",
    ),
    "a function called as the module's own": (
        ["def run(x):\n    return x", "{}run(x)"],
        "run in cell 1 is also what the module's own function is called: rename it",
    ),
    "a secret in a helper": (
        ["KEY = 1\ndef helper(x):\n    key = '" + TOKEN + "'\n    return x", "{}helper(x)"],
        "cell 1, line 3: something looks like a GitHub token, and a file holds no secrets",
    ),
    "a secret in a comment": (
        ["{}x  # " + TOKEN],
        "cell 1, line 3: something looks like a GitHub token",
    ),
    "a secret in a variable": (
        ['exec(\'key = "ghp_" + "a1" * 18\')', "{}key[:x]"],
        "the value of key: something looks like a GitHub token",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_exported_is_told(notebook: Notebook, why: str) -> None:
    cells, told = REFUSED[why]
    for cell in cells:
        notebook.value(cell.replace("{}", "%%flujo step s -i 1\ndef s(x):\n    return "))
    before = notebook.state()
    error = notebook.error("%flujo export py pipeline.py")
    assert isinstance(error, UsageError)
    assert str(error).startswith(told)
    assert "\n" not in str(error) and "ghp_" not in str(error)
    assert not Path("pipeline.py").exists()
    assert notebook.state() == before


def test_a_secret_in_a_prompt_or_the_context_is_refused(notebook: Notebook) -> None:
    notebook.value(f"%%flujo agent a --model test -i 1\nUse {TOKEN}")
    error = str(notebook.error("%flujo export py pipeline.py"))
    assert error.startswith("cell 1: something looks like a GitHub token")
    notebook.value(CONTEXT + "\n    key: str = ''")
    notebook.value("%flujo session --context Desk --init {'limit':1,'key':'ghp_'+'a1'*18}")
    notebook.value(WORDS)
    error = str(notebook.error("%flujo export py pipeline.py"))
    assert error.startswith("the context's first values: something looks like a GitHub token")


def test_there_has_to_be_something_to_export(notebook: Notebook) -> None:
    error = notebook.error("%flujo export py pipeline.py")
    assert "there is no HEAD" in str(error)
    notebook.value(WORDS)
    error = notebook.error("%flujo export py pipeline.py wrds")
    assert "did you mean 'words'?" in str(error)
