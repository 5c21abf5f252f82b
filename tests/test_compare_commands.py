"""``%flujo diff`` and ``graph`` in cells: what they compare and draw, refuse, and leave alone."""

from __future__ import annotations

import base64
from pathlib import Path
from xml.etree import ElementTree

import pytest
from IPython.core.error import UsageError

from flujo_nb.display import View
from tests.durable import opener
from tests.notebook import Notebook
from tests.test_display import EVIL, Page, html_of, text_of

WORDS = "%%flujo step words -i 'to be or not'\ndef words(text, context):\n    {}"
SPLIT = "context.n += 1\n    return text.split()"
UPPER = "context.n += 2\n    return text.upper().split()[:3]"
COUNT = "%%flujo step count\ndef count(words): return len(words)"
CONTEXT = """\
from pydantic import BaseModel
class Ctx(BaseModel):
    n: int = 0
%flujo session --context Ctx
"""


@pytest.fixture
def line(notebook: Notebook) -> Notebook:
    """A notebook with ``f0`` words, ``f1`` count on it, and a failure behind that, ``f2``."""
    notebook.value(CONTEXT)
    notebook.value(WORDS.format(SPLIT))
    notebook.value(COUNT)
    notebook.error("%%flujo step boom\ndef boom(n): raise ValueError('no')")
    return notebook


def lines(view: View) -> list[str]:
    return [" ".join(one.split()) for one in text_of(view).splitlines()]


def test_two_frames_from_the_left_to_the_right(line: Notebook) -> None:
    line.value(WORDS.format(UPPER))
    told = lines(line.view("%flujo diff f0 f3"))
    assert told[0] == "f0 words → f3 words"
    assert told[1:7] == [
        "output list of 4 → list of 3",
        *("~ [0] 'to' → 'TO'", "~ [1] 'be' → 'BE'", "~ [2] 'or' → 'OR'", "- [3] 'not'"),
        "context Ctx",
    ]
    assert "~ n 1 → 2" in told
    assert "definition words edited" in told
    assert "- return text.split()" in told and "+ return text.upper().split()[:3]" in told
    assert "the same input" in told
    assert told[-1] == "next %flujo show f3 · %flujo why f3 · %flujo back f0"
    assert lines(line.view("%flujo diff f3 f0"))[0] == "f3 words → f0 words"


def test_one_frame_is_compared_with_head_and_head_with_its_parent(line: Notebook) -> None:
    assert lines(line.view("%flujo diff f0"))[0] == "f0 words → f1 count"
    assert lines(line.view("%flujo diff f1"))[0] == "f0 words → f1 count"
    assert lines(line.view("%flujo diff f2"))[0] == "f2 boom → f1 count"


def test_frames_inside_commands(line: Notebook) -> None:
    line.value("%flujo run words >> count -i 'a b c'")
    line.value("%flujo run words >> count -i 'a b'")
    told = lines(line.view("%flujo diff f3/words f4/words"))
    assert told[0] == "f3/words words → f4/words words"
    assert "- [2] 'c'" in told
    assert "the same context, definition" in told


def test_nothing_that_differs_is_one_line(line: Notebook) -> None:
    line.value("%flujo run words -i 'to be or not'")
    told = lines(line.view("%flujo diff f0 f3"))
    assert told == [
        "nothing differs between f0 words and f3 words: "
        "output, input, context, definition are the same",
        "next %flujo show f3 · %flujo why f3 · %flujo back f0",
    ]


def test_a_frame_that_failed(line: Notebook) -> None:
    told = lines(line.view("%flujo diff f1 f2"))
    assert "output f2 failed: it has none" in told
    assert "~ status completed → failed" in told
    assert "~ because nothing → ValueError: no" in told


def test_a_step_inside_a_pipeline_that_was_edited_is_found(line: Notebook) -> None:
    line.value("%flujo run words >> count -i 'a b'")
    line.value("%%flujo step count --no-run\ndef count(words): return len(list(words))")
    line.value("%flujo run words >> count -i 'a b'")
    told = lines(line.view("%flujo diff f3 f4"))
    assert "definition count edited" in told
    assert "+ def count(words): return len(list(words))" in told
    assert "the same output, input, context" in told
    assert "definition count edited" in lines(line.view("%flujo diff f3/count f4/count"))
    assert "the same" in lines(line.view("%flujo diff f3/words f4/words"))[0]


REFUSED = {
    "no frame": ("%flujo diff", "which frames? usage: %flujo diff FRAME [FRAME]"),
    "three frames": ("%flujo diff f0 f1 f2", "found 3; usage:"),
    "an unknown frame": ("%flujo diff f0 f9", "there is no frame 'f9'"),
    "an unknown frame alone": ("%flujo diff f9", "there is no frame 'f9'"),
    "an unknown frame inside": (
        "%flujo diff f0 f1/cnt",
        "there is no frame inside f1 called 'cnt'",
    ),
    "an option": ("%flujo diff f0 --all", "there is no option --all"),
    "a body": ("%%flujo diff f0\nx", "takes no cell"),
    "an unknown step to draw": ("%flujo graph wrods", "did you mean 'words'?"),
    "nothing behind the arrows": ("%flujo graph words >>", "NAME >> NAME"),
    "an unknown option of graph": ("%flujo graph words --mermaids", "did you mean --mermaid?"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_one_line_and_changes_nothing(line: Notebook, case: str) -> None:
    cell, said = REFUSED[case]
    before = line.state()
    error = line.error(cell)
    assert isinstance(error, UsageError)
    assert said in str(error) and "\n" not in str(error)
    assert line.state() == before


def test_head_without_a_parent_and_no_head_are_told(notebook: Notebook) -> None:
    notebook.error("%%flujo step boom\ndef boom(n): raise ValueError('no')")
    assert "there is no HEAD to compare f0 with" in str(notebook.error("%flujo diff f0"))
    assert "there is no HEAD; say what to draw" in str(notebook.error("%flujo graph"))
    notebook.value("%%flujo step one\ndef one(): return 1")
    error = notebook.error("%flujo diff f1")
    assert isinstance(error, UsageError)
    assert str(error) == (
        "f1 one is HEAD and continued from no frame; name two: %flujo diff f1 FRAME"
    )


def test_a_value_that_was_released_is_not_compared(line: Notebook) -> None:
    line.session.max_memory = 0
    line.session.trim()
    told = lines(line.view("%flujo diff f0 f1"))
    assert any(one.startswith("output not here of f0: value released") for one in told)
    assert not any(one.startswith("~ [") for one in told)


def test_looking_changes_nothing_and_keeps_nothing_alive(line: Notebook) -> None:
    before = line.state()
    for cell in ("%flujo diff f0 f1", "%flujo graph words >> count", "%flujo graph --mermaid"):
        line.view(cell)
    assert line.state() == before


def test_the_same_from_python(line: Notebook) -> None:
    assert repr(line.api.diff("f0", "f1")) == repr(line.view("%flujo diff f0 f1"))
    assert repr(line.api.diff("f0")) == repr(line.view("%flujo diff f0"))
    with pytest.raises(UsageError, match="there is no frame 'f9'"):
        line.api.diff("f9")


def test_definitions_of_another_kernel_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    step = "%%flujo step a -i 1\ndef a(x): return x + {}"
    with open_() as first:
        first.value(step.format(1))
    with open_() as second:
        second.value(step.format(2))
        second.value("%flujo back f1")
        for cell in ("%flujo diff f0 f1", "%flujo diff f0"):
            told = lines(second.view(cell))
            assert "- def a(x): return x + 1" in told and "+ def a(x): return x + 2" in told
        assert "output 2 → 3" in told
        tree = lines(second.view("%flujo graph"))
        assert tree[0] == "a completed"


ELEMENTS = {
    *("div", "details", "summary", "b", "span", "code", "pre", "img"),
    *("table", "tbody", "tr", "th", "td"),
}


def assert_harmless(view: View) -> Page:
    page = Page(html_of(view))
    assert set(page.tags) <= ELEMENTS
    assert page.attributes <= {"style", "src", "alt"}
    for text in (html_of(view), text_of(view)):
        assert not set(text) & set("\x1b\u202e")
    assert "<script" not in html_of(view)
    return page


def test_nothing_of_data_names_and_definitions_reaches_the_page_unescaped(
    notebook: Notebook,
) -> None:
    notebook.shell.user_ns["EVIL"] = EVIL
    notebook.value(
        "from flujo_nb import Step\n"
        "from pydantic import BaseModel\n"
        "class Ctx(BaseModel, extra='allow'):\n    text: str = ''\n"
        "class Bad:\n"
        "    def __init__(self, n): self.n = n\n"
        "    def __repr__(self): return f'{EVIL}{self.n}'\n"
        "Bad.__name__ = EVIL\n"
        "%flujo session --context Ctx"
    )
    notebook.run("evil = Step(name=EVIL, agent=lambda x: x)")
    notebook.run("fan = Step.parallel(EVIL, {EVIL: evil, 'b': evil >> evil})")
    many = "{'i': Bad(%d), EVIL: [EVIL * %d], 't': f'a\\n{EVIL}\\n%d', Bad(0): 1}"
    for n in (1, 2):
        notebook.run(f"await flujo.run(evil, input={many % (n, n, n)})")
    assert len(notebook.session.entries) == 2
    diff = notebook.view("%flujo diff f0 f1")
    assert "~" in text_of(diff)
    page = assert_harmless(diff)
    assert "<script>alert(1)</script>" in page.text
    assert_harmless(notebook.view("%flujo graph"))
    assert_harmless(notebook.view("%flujo graph fan"))
    source = notebook.view("%flujo graph fan --mermaid")._repr_mimebundle_()["text/vnd.mermaid"]
    assert "<script" not in str(source) and "\x1b" not in str(source)


def test_no_secret_is_shown(notebook: Notebook) -> None:
    secret = "sk-abcdefghijklmnop1234567890"
    notebook.shell.user_ns["secret"] = secret
    notebook.value("%%flujo step a --no-run\ndef a(x): return x")
    notebook.value("%flujo run a -i {'k': secret, secret: 1, 't': f'a\\n{secret}', 'l': [secret]}")
    notebook.value("%flujo run a -i {'k': secret + '9', 't': f'a\\n{secret}9', 'l': []}")
    view = notebook.view("%flujo diff f0 f1")
    notebook.run(f"from flujo_nb import Step\nbad = Step(name={secret!r}, agent=lambda x: x)")
    graph = notebook.view("%flujo graph a >> bad")
    assert "withheld" in text_of(view) and "withheld" in text_of(graph)
    for one in (view, graph, notebook.view("%flujo graph a >> bad --mermaid")):
        for text in map(str, one._repr_mimebundle_().values()):
            assert "abcdefgh" not in text
    assert "abcdefgh" not in svg_in(graph)


# Graphs


def svg_in(view: View) -> str:
    source = html_of(view).partition('src="data:image/svg+xml;base64,')[2].partition('"')[0]
    return base64.b64decode(source).decode()


def test_a_graph_is_a_tree_and_a_picture(line: Notebook) -> None:
    view = line.view("%flujo graph words >> count")
    assert lines(view) == [
        "words >> count",
        "├─ words completed",
        "└─ count completed",
        "next %flujo run words >> count · %flujo graph words >> count --mermaid",
    ]
    root = ElementTree.fromstring(svg_in(view))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["words", "completed", "count", "completed"]
    assert "├─ words" in html_of(view).partition('alt="')[2].partition('"')[0]
    assert "├─ words" in Page(html_of(view)).text


def test_the_graph_of_head_shows_how_its_steps_ended_the_last_time(line: Notebook) -> None:
    assert lines(line.view("%flujo graph"))[:2] == ["count completed", "last f1 completed"]
    line.error("%flujo run words >> boom -i 'a'")
    assert lines(line.view("%flujo graph words>>boom"))[1:4] == [
        *("├─ words completed", "└─ boom failed", "last f3 failed")
    ]
    line.value("%%flujo step boom --no-run\ndef boom(n): return 1")
    line.value("%flujo run words >> boom -i 'a'")
    assert lines(line.view("%flujo graph"))[1:4] == [
        *("├─ words completed", "└─ boom completed", "last f4 completed")
    ]


def test_what_never_ran_has_no_status(notebook: Notebook) -> None:
    notebook.value("%%flujo step words --no-run\ndef words(text): return text")
    assert lines(notebook.view("%flujo graph words"))[0] == "words"


def test_what_ran_and_has_no_name_any_more_is_drawn(notebook: Notebook) -> None:
    notebook.value("from flujo_nb import Step\nawait flujo.run(Step(name='x', agent=lambda x: 1))")
    assert lines(notebook.view("%flujo graph")) == [
        *("x completed", "last f0 completed", "next %flujo show f0")
    ]


def test_mermaid_is_an_output_of_its_own(line: Notebook) -> None:
    bundle = line.view("%flujo graph words >> count --mermaid")._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/vnd.mermaid"}
    assert str(bundle["text/vnd.mermaid"]).startswith("flowchart TD\n")
    assert "n1 --> n2" in str(bundle["text/plain"])
