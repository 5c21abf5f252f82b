"""``%flujo put``, ``load`` and ``cache``."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from tests.notebook import Notebook

WORDS = "%%flujo step -i 'to be'\ndef words(text):\n    return text.split()"
COUNT = "%%flujo step --no-run\ndef count(words):\n    return len(words)"
CACHED = """\
from flujo_nb import Step

ran = []

def looked_up(key):
    ran.append(key)
    return [key]

class Own:
    def get(self, key):
        return None

    def set(self, key, value):
        pass

cached = Step.cached(Step.from_callable(looked_up))
elsewhere = Step.cached(Step.from_callable(looked_up, name="elsewhere"), Own())
"""
SECRET = "ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA2bC4"


@pytest.fixture
def made(notebook: Notebook) -> Notebook:
    """A notebook with the frames f0, words, and f1, in which words and count stand."""
    notebook.run(WORDS)
    notebook.run(COUNT)
    notebook.run("%flujo run words >> count -i 'a b c'")
    return notebook


# put


def test_put_gives_a_copy(made: Notebook) -> None:
    view = made.view("%flujo put f0 found")
    assert repr(view).splitlines() == [
        "found is a copy of f0.output",
        "found  list of 2: ['to', 'be']",
        "  next  %flujo run STEP -i found · %flujo frames",
    ]
    made.run("found.append('x')")
    assert made.api.frames["f0"].output == ["to", "be"]
    assert made.card("%flujo run count -i found").output == 3


def test_put_of_a_frame_inside_another(made: Notebook) -> None:
    made.view("%flujo put f1/words found")
    assert made.shell.user_ns["found"] == ["a", "b", "c"]


def test_put_says_what_it_replaced(made: Notebook) -> None:
    made.run("found = {'mine': 1}")
    assert "replaced  dict of 1: {'mine': 1}" in repr(made.view("%flujo put f1 found"))
    assert made.shell.user_ns["found"] == 3


def test_put_takes_a_name_as_python_reads_it(made: Notebook) -> None:
    made.view("%flujo put f1 ﬁnd_ñ")
    assert made.value("find_ñ") == 3


def test_put_says_what_is_shared(made: Notebook) -> None:
    made.run("%%flujo step\nimport threading\ndef lock(x):\n    return [threading.Lock()]")
    assert "output shared, not copied: lock" in repr(made.view("%flujo put f2 held"))


def test_put_shows_no_secret(made: Notebook) -> None:
    made.run(f"%flujo run words -i '{SECRET}'\nfound = '{SECRET}'")
    shown = repr(made.view("%flujo put f2 found")._repr_mimebundle_())
    assert "withheld" in shown and SECRET[:12] not in shown
    assert made.shell.user_ns["found"] == [SECRET]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("put", "usage: %flujo put FRAME NAME"),
        ("put f0", "usage: %flujo put FRAME NAME"),
        ("put f0 a b", "usage: %flujo put FRAME NAME"),
        ("put f7 a", "there is no frame 'f7'"),
        ("put f0/count a", "there is no frame inside f0 called 'count'"),
        ("put f2 a", "f2 boom failed: it has no output"),
        ("put f0 a-b", "a-b cannot be the name of a variable"),
        ("put f0 a.b", "a.b cannot be"),
        ("put f0 a[0]", "a[0] cannot be"),
        ("put f0 1", "1 cannot be"),
        ("put f0 class", "class cannot be"),
        ("put f0 None", "None cannot be"),
        ("put f0 flujo", "flujo is not free"),
        ("put f0 \uff46lujo", "flujo is not free"),
        ("put f0 _", "_ is not free"),
        ("put f0 _own", "_own is not free"),
        ("put f0 __builtins__", "__builtins__ is not free"),
        ("put f0 get_ipython", "get_ipython is not free"),
        ("put f0 In", "In is not free"),
        ("put f0 __import__('os').system('x')", "cannot be"),
    ],
)
def test_put_refuses_in_one_line_and_changes_nothing(made: Notebook, line: str, said: str) -> None:
    made.run("%%flujo step\ndef boom(x):\n    raise ValueError")
    names, before = set(made.shell.user_ns), made.state()
    error = made.error(f"%flujo {line}")
    assert isinstance(error, UsageError)
    assert said in str(error) and "\n" not in str(error)
    assert made.state() == before
    assert {name for name in made.shell.user_ns if not name.startswith("_")} <= names


def test_put_of_an_output_that_is_gone_says_how_to_get_it(made: Notebook) -> None:
    made.run("%config Flujo.max_memory = 0")
    made.run("%flujo run words -i 'a'")
    error = made.error("%flujo put f0 found")
    assert isinstance(error, UsageError)
    assert "value released" in str(error) and "again to have it" in str(error)
    assert "found" not in made.shell.user_ns


# load


def loaded(notebook: Notebook, name: str) -> str:
    """The text that the next cell is given."""
    notebook.view(f"%flujo load {name}")
    text = notebook.shell.rl_next_input
    assert isinstance(text, str)
    return text


def test_load_gives_the_cell_of_a_step(made: Notebook) -> None:
    assert loaded(made, "words") == "%%flujo step\ndef words(text):\n    return text.split()"


def test_what_is_loaded_registers_the_same_again(made: Notebook) -> None:
    made.run("%%flujo step other --no-run\n\ndef words(text):\n    return text\n\n")
    made.run("%%flujo pipeline both --no-run\nother >> words")
    for name in ("other", "both"):
        node = made.session.steps[name].node
        text = loaded(made, name)
        assert text.startswith(f"%%flujo {'step' if name == 'other' else 'pipeline'} {name}\n")
        made.run(text.replace("\n", " --no-run\n", 1))
        again = made.session.steps[name].node
        assert again is not node
        assert made.session.targets.definitions_in(again) == made.session.targets.definitions_in(
            node
        )


@pytest.mark.parametrize(
    "cell",
    [
        "%%flujo agent titled --model test --out str --retries 2\nA title for {{ data }}.",
        "%%flujo hitl agreed --schema bool\nPublish {{ data }}?",
    ],
)
def test_load_gives_what_a_prompt_and_a_question_are_made_of(made: Notebook, cell: str) -> None:
    first, _, text = cell.partition("\n")
    made.run(f"{first} --on-head -i 'x' --no-run\n{text}")
    assert loaded(made, first.split()[2]) == cell


def test_load_shows_the_cell_too_for_front_ends_that_cannot_be_given_one(made: Notebook) -> None:
    assert repr(made.view("%flujo load words")).splitlines() == [
        "the next cell is that of words; run it when it is edited",
        "",
        "  %%flujo step",
        "  def words(text):",
        "      return text.split()",
    ]


def test_load_shows_no_secret_but_gives_the_cell_as_it_was(made: Notebook) -> None:
    made.run(f"%%flujo step keyed --no-run\ndef keyed(x):\n    return '{SECRET}'")
    assert SECRET in loaded(made, "keyed")
    assert SECRET[:12] not in repr(made.view("%flujo load keyed")._repr_mimebundle_())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("load", "usage: %flujo load NAME"),
        ("load word", "did you mean 'words'?"),
        ("load own", "there is no step that a cell registered, called 'own'"),
        ("load words count", "takes one name"),
    ],
)
def test_load_refuses_in_one_line(made: Notebook, line: str, said: str) -> None:
    made.run("from flujo_nb import step\n@step\ndef own(x): return x")
    error = made.error(f"%flujo {line}")
    assert isinstance(error, UsageError)
    assert said in str(error) and "\n" not in str(error)
    assert "rl_next_input" not in vars(made.shell)


# cache


def test_cache_tells_what_is_kept_and_clear_forgets_it(notebook: Notebook) -> None:
    notebook.run(CACHED)
    notebook.run("%%flujo pipeline kept --no-run\ncached >> Step.from_callable(len)")
    for _ in range(3):
        notebook.run("%flujo run kept -i 'a'")
    assert repr(notebook.view("%flujo cache")).splitlines() == [
        "1 result of cached steps, in memory",
        "given  2 times, instead of running a step",
        "steps  looked_up",
        "  next  %flujo cache clear · %flujo steps",
    ]
    assert "forgot 1 result" in repr(notebook.view("%flujo cache clear"))
    assert "forgot 0 results" in repr(notebook.view("%flujo cache clear"))
    notebook.run("%flujo run kept -i 'a'")
    assert notebook.shell.user_ns["ran"] == ["a", "a"]


def test_a_cache_of_a_steps_own_is_left_alone_and_told(notebook: Notebook) -> None:
    notebook.run(CACHED)
    notebook.run("%%flujo pipeline --no-run kept\ncached >> elsewhere")
    told = "not here  elsewhere has a cache of its own, a Own: clear leaves it alone"
    assert told in repr(notebook.view("%flujo cache"))
    assert told in repr(notebook.view("%flujo cache clear"))


def test_an_empty_cache(notebook: Notebook) -> None:
    assert repr(notebook.view("%flujo cache")).splitlines() == [
        "0 results of cached steps, in memory",
        "given  0 times, instead of running a step",
        "  next  %flujo steps",
    ]


def test_looking_forgets_nothing(notebook: Notebook) -> None:
    notebook.run(CACHED)
    notebook.run("%flujo run cached -i 'a'")
    for _ in range(2):
        assert repr(notebook.view("%flujo cache")).startswith("1 result ")
    error = notebook.error("%flujo cache clean")
    assert isinstance(error, UsageError) and "did you mean 'clear'?" in str(error)
    assert len(notebook.session.cached) == 1


def test_a_step_that_no_cell_registered_yet_is_told_how(made: Notebook) -> None:
    said = str(made.error("%flujo load own"))
    assert said.endswith("the cell that defines it has to run first (--no-run registers only)")
