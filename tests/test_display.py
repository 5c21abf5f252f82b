"""Cards and tables: what they say, and that data cannot say more than it should."""

from __future__ import annotations

import gc
import json
import weakref
from html.parser import HTMLParser

import pytest

from flujo_nb.display import FRAME_MIME, FrameCard, View, table_view, text_view
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.html import Html
from flujo_nb.widgets.previews import Preview
from flujo_nb.widgets.view_model import ChildLine, FieldChange, FrameView
from tests.notebook import Notebook

EVIL = "<script>alert(1)</script>\"'\x1b[31m\u202e&"
VOID = frozenset({"br", "hr", "img"})


class Page(HTMLParser):
    """Reads a fragment; fails when an element is not closed where it should be."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(fragment)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def html_of(view: View) -> str:
    found = view._repr_mimebundle_()["text/html"]
    assert isinstance(found, str)
    assert not isinstance(found, Html)
    return found


def text_of(view: View) -> str:
    found = view._repr_mimebundle_()["text/plain"]
    assert isinstance(found, str)
    return found


def assert_harmless(view: View) -> None:
    """Well formed, made of few elements, and without anything that data could steer."""
    page = Page(html_of(view))
    assert set(page.tags) <= {
        *("div", "details", "summary", "b", "span", "code", "pre"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert page.attributes <= {"style", "open"}
    for text in (html_of(view), text_of(view), repr(view)):
        assert not set(text) & set("\x1b\u202e")
    assert "<script" not in html_of(view)


def evil_view(status: RunStatus = RunStatus.COMPLETED) -> FrameView:
    """A view in which every text that can come from data is as bad as it can be."""
    bad = Preview(EVIL, EVIL)
    return FrameView(
        id="f1",
        name=EVIL,
        status=status,
        origin=EVIL,
        path=EVIL,
        run_id=EVIL,
        parent=EVIL,
        duration_s=0.1,
        cost_usd=1,
        tokens=2,
        attempts=3,
        input=bad,
        output=bad,
        context=[FieldChange(EVIL, EVIL, EVIL)],
        children=[ChildLine(f"f1/{EVIL}", EVIL, status, "1 ms", bad)],
        notes=[EVIL],
        feedback=EVIL,
        is_head=False,
    )


@pytest.mark.parametrize("status", list(RunStatus))
def test_nothing_in_a_card_reaches_the_page_unescaped(
    notebook: Notebook, status: RunStatus
) -> None:
    card = FrameCard(evil_view(status), notebook.session)
    assert_harmless(card)
    assert Page(html_of(card)).text.count("<script>alert(1)</script>") >= 10


def test_nothing_in_a_table_or_a_text_reaches_the_page_unescaped() -> None:
    assert_harmless(table_view(EVIL, (EVIL, ""), [(EVIL, EVIL)], (EVIL,)))
    assert_harmless(table_view(EVIL, (), (), (EVIL,)))
    assert_harmless(text_view(EVIL))


@pytest.mark.parametrize(
    "command", ["%flujo", "%flujo frames", "%flujo steps", "%flujo session", "%flujo show"]
)
def test_no_command_lets_names_reprs_and_errors_reach_the_page_unescaped(
    notebook: Notebook, command: str
) -> None:
    notebook.shell.user_ns["EVIL"] = EVIL
    notebook.run(
        "from flujo_nb import Step\n"
        "from pydantic import BaseModel\n"
        "class Bad:\n    def __repr__(self): return EVIL\n"
        "class Ctx(BaseModel):\n    text: str = EVIL\n"
        "Bad.__name__ = EVIL\n"
        "def boom(x): raise ValueError(EVIL)\n"
        "%flujo session --context Ctx --resources Bad()"
    )
    notebook.run("%%flujo step evil\ndef f(x) -> str:\n    '<script>'\n    return Bad()")
    notebook.run("await flujo.run(Step(name=EVIL, agent=lambda x: Bad()), input=Bad())")
    notebook.run("await flujo.run(Step(name=EVIL, agent=boom))")
    assert len(notebook.session.entries) == 3
    assert_harmless(notebook.view(command))


def test_a_traceback_carries_no_control_characters_of_the_error(notebook: Notebook) -> None:
    notebook.shell.user_ns["EVIL"] = EVIL
    error = notebook.error("%%flujo step\ndef boom():\n    raise ValueError(EVIL)")
    lines = error._render_traceback_()  # type: ignore[attr-defined]
    assert not set("".join(lines)) & set("\x1b\u202e")


SEED = "%%flujo step seed\ndef seed():\n    return 1"
STARTS = {
    "nothing": (SEED, "← nothing (input None)"),
    "head": ("%%flujo step b\ndef b(x): return x", "← f0.output"),
    "given": ("%%flujo step b -i 3\ndef b(x): return x", "← -i"),
    "from": ("%%flujo step b --from f0\ndef b(x): return x", "← f0.output"),
    "given, from": ("%%flujo step b -i 3 --from f0\ndef b(x): return x", "← -i, context of f0"),
    "again": (SEED, "← nothing (input None)"),
    "on head": ("%%flujo step b --on-head\ndef b(x): return x", "← f0.output"),
}


@pytest.mark.parametrize("start", STARTS)
def test_the_first_line_names_the_input(notebook: Notebook, start: str) -> None:
    if start != "nothing":
        notebook.run(SEED)
    cell, origin = STARTS[start]
    card = notebook.card(cell)
    assert f"   {origin}   " in text_of(card).splitlines()[0]
    summary = html_of(card).partition("</summary>")[0]
    assert origin in Page(f"{summary}</summary></details></div>").text


def test_a_card_has_its_frame_as_json(notebook: Notebook) -> None:
    notebook.run(SEED)
    card = notebook.card("%%flujo step b\ndef b(x): return x")
    found = card._repr_mimebundle_()[FRAME_MIME]
    assert json.loads(json.dumps(found)) == found
    assert isinstance(found, dict)
    assert (found["id"], found["parent"], found["status"]) == ("f1", "f0", "completed")


def test_views_that_are_no_frames_have_none(notebook: Notebook) -> None:
    assert set(notebook.view("%flujo")._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_a_card_holds_no_payload(notebook: Notebook) -> None:
    notebook.run("class Big:\n    pass")
    card = notebook.card("%%flujo step big\ndef big(x=None):\n    return Big()")
    shown = notebook.view("%flujo frames")
    payload = weakref.ref(notebook.session.entries[0].record.output)
    assert payload() is not None
    notebook.session.head, notebook.session.max_memory = None, 0
    assert notebook.session.trim() == ["f0"]
    gc.collect()
    assert payload() is None
    assert "Big" in repr(card) and "Big" in repr(shown)


def test_a_record_holds_its_output_once(notebook: Notebook) -> None:
    notebook.run("%%flujo step\ndef big(x=None):\n    return [0] * 1000")
    held = sum(type(one) is list and one == [0] * 1000 for one in gc.get_objects())
    assert held == 1


def test_a_card_of_a_long_error_is_short(notebook: Notebook) -> None:
    notebook.run("%%flujo step\ndef boom():\n    raise ValueError('x' * 1_000_000)")
    lengths = [len(repr(notebook.view(line))) for line in ("%flujo show f0", "%flujo frames")]
    assert max(lengths) < 5000
