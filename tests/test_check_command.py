"""``%%flujo check``: a cell that is green while all holds, and red when something does not."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from flujo_nb.checking import CheckFailed
from tests.notebook import Notebook

WORDS = "%%flujo step -i 'to be'\ndef words(text):\n    return text.split()"
BOOM = "%%flujo step\ndef boom(words):\n    raise ValueError('no')"
SECRET = "ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA2bC4"


@pytest.fixture
def made(notebook: Notebook) -> Notebook:
    """A notebook with the frames f0, words, and f1, which is made of it."""
    notebook.run(WORDS)
    notebook.run("%%flujo step\ndef count(words):\n    return len(words)")
    return notebook


def test_what_holds_is_listed(made: Notebook) -> None:
    view = made.view(
        "%%flujo check f0\n# the words\nframe.output == ['to', 'be']\nlen(frame.data) == 5"
    )
    assert repr(view).splitlines() == [
        "2 checks hold for f0 words",
        "frame.output == ['to', 'be']",
        "len(frame.data) == 5",
        "  next  %flujo show f0",
    ]


def test_the_frame_is_head_or_else_the_newest(made: Notebook) -> None:
    assert repr(made.view("%%flujo check\nframe.id == 'f1'")).startswith("1 check holds for f1")
    made.run("%flujo back f0")
    assert repr(made.view("%%flujo check\nframe.id == 'f0'")).startswith("1 check holds for f0")


def test_a_frame_that_failed_can_be_checked(notebook: Notebook) -> None:
    notebook.run(BOOM)
    assert repr(notebook.view("%%flujo check\nframe.status == 'failed'"))


def test_a_frame_inside_another(made: Notebook) -> None:
    made.run("%flujo run words >> count -i 'a b c'")
    made.view("%%flujo check f2/words\nframe.output == ['a', 'b', 'c']\nframe.name == 'words'")


def test_all_that_a_card_knows_and_the_users_variables(made: Notebook) -> None:
    made.run("limit = 0.5\ndef short(words): return len(words) < 3")
    made.view(
        "%%flujo check f1\n"
        "frame.parent == 'f0'\n"
        "frame.path == 'c[2]/count'\n"
        "frame.usage.cost_usd < limit\n"
        "short(frame.data) and all(len(one) < limit * 10 for one in frame.data)\n"
        "frame.context is None and frame.context_after is None"
    )


def test_nothing_is_left_behind_and_nothing_is_recorded(made: Notebook) -> None:
    variables, before = dict(made.shell.user_ns), made.state()
    made.view("%%flujo check f0\n(found := frame.output) == ['to', 'be']\nlen(found) == 2")
    made.error("%%flujo check f0\n(found := frame.output) == []")
    names = {name for name in made.shell.user_ns if not name.startswith("_")}
    assert names == {name for name in variables if not name.startswith("_")}
    assert made.state() == before


def test_a_variable_called_frame_stays(made: Notebook) -> None:
    made.run("frame = 'mine'")
    made.view("%%flujo check f0\nframe.id == 'f0'")
    made.error("%%flujo check f0\nframe.id == 'f1'")
    assert made.shell.user_ns["frame"] == "mine"


def test_a_check_cannot_change_the_frame(made: Notebook) -> None:
    made.view("%%flujo check f0\nframe.output.append('x') is None\nframe.output == ['to', 'be']")


def test_everything_that_fails_is_told_in_a_few_lines(
    made: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    error = made.error(
        "%%flujo check f0\nlen(frame.output) == 3\nframe.id == 'f0'\nframe.output[9]\nnope"
    )
    assert isinstance(error, CheckFailed)
    told = [
        "3 of 4 checks failed for f0 words   completed",
        "  len(frame.output) == 3",
        "    2 == 3 is false",
        "  frame.output[9]",
        "    IndexError: list index out of range",
        "  nope",
        "    NameError: name 'nope' is not defined",
        "  next: %flujo show f0",
    ]
    assert str(error).splitlines() == told
    assert capsys.readouterr().out.splitlines() == told


def test_an_output_that_is_gone_is_told(made: Notebook) -> None:
    made.run("%config Flujo.max_memory = 0")
    made.run("%flujo run words -i 'a b'")
    error = made.error("%%flujo check f0\nframe.output == []")
    assert isinstance(error, CheckFailed)
    assert "UsageError: f0 words: value released" in str(error)


def test_no_secret_is_shown(made: Notebook) -> None:
    view = made.view(f"%%flujo check f0\nframe.output != {SECRET!r}")
    error = made.error(f"%%flujo check f0\nframe.output == [{SECRET!r}]\n{{}}[{SECRET!r}]")
    for shown in (repr(view._repr_mimebundle_()), str(error)):
        assert "withheld" in shown and SECRET[:12] not in shown


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%flujo check f0\nx = 1", "line 2: x = 1 is no expression"),
        ("# what holds\n%%flujo check f0\n\nframe.output ==", "line 4: invalid syntax"),
        ("%%flujo check f0\n# nothing", "line 2: there is nothing to check"),
        ("%%flujo check f7\nframe", "there is no frame 'f7'"),
        ("%%flujo check f0/count\nframe", "there is no frame inside f0 called 'count'"),
        ("%%flujo check f0 f1\nframe", "takes one frame"),
        ("%flujo check f0", "takes a cell"),
    ],
)
def test_misuse_is_one_line(made: Notebook, cell: str, said: str) -> None:
    error = made.error(cell)
    assert isinstance(error, UsageError)
    assert said in str(error) and "\n" not in str(error)


def test_a_cell_that_is_no_check_evaluates_nothing(made: Notebook) -> None:
    made.run("seen = []")
    made.error("%%flujo check f0\nseen.append(1) is None\nx = 1")
    made.error("%%flujo check f7\nseen.append(1) is None")
    assert made.shell.user_ns["seen"] == []


def test_there_is_nothing_to_check_yet(notebook: Notebook) -> None:
    error = notebook.error("%%flujo check\nframe")
    assert isinstance(error, UsageError) and "no frames yet" in str(error)


def test_a_body_that_is_nested_too_deeply_is_told_in_a_line(made: Notebook) -> None:
    error = made.error(f"%%flujo check\n{'not ' * 5_000}x")
    assert isinstance(error, UsageError) and "line 2: it is nested too deeply" in str(error)
