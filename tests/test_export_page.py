"""``%flujo export html``: a page of the session that loads nothing and runs nothing."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from tests.durable import opener
from tests.full_session import FILLING, fill
from tests.markup import tree_of
from tests.notebook import Notebook, fresh_notebook
from tests.notebook_shapes import CONTEXT, COUNT, WORDS

MAP = (
    "%%flujo pipeline sizes --from f0\nfrom flujo_nb import Step\n"
    "Step.map_over('each', Step.from_callable(len, name='size'))"
)
HARMLESS = "harmless"
HARMFUL = "</style></title><script src='//x.example'>alert(1)</script><img src=x onerror=a()>\"'&"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def page(notebook: Notebook) -> str:
    notebook.view("%flujo export html page.html --force")
    return Path("page.html").read_text("utf-8")


def text_of(html: str) -> str:
    """What a reader sees."""
    body = html.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_an_empty_session(notebook: Notebook) -> None:
    html = page(notebook)
    tree_of(html)
    assert "no frames yet" in text_of(html)


def test_a_summary_a_lineage_and_the_card_of_each_frame(notebook: Notebook) -> None:
    notebook.value(CONTEXT)
    notebook.value("%flujo session --context Desk --init {'limit':2}")
    notebook.value(WORDS)
    notebook.value(COUNT)
    notebook.value(MAP)
    notebook.run("%%flujo step boom\ndef boom(n):\n    raise ValueError('no <b>')")
    html = page(notebook)
    told = text_of(html)
    assert f"flujo session {notebook.session.run_id} frames 4" in told
    assert "3 completed, 1 failed" in told
    assert "HEAD f2 sizes" in told
    assert "Desk(seen=0, limit=2, last=None)" in told
    lineage = told[told.index("Lineage") : told.index("Frames")]
    order = ["f0 words", "f1 count", "f2 sizes", "HEAD", "f3 boom", "failed in"]
    assert sorted(order, key=lineage.index) == order
    assert told.count("list of 6: ['to', ") == 3
    assert "ValueError: no <b>" in told
    assert html.count("<article>") == 4


def test_what_turns_off_from_heads_line_stands_inside_it(notebook: Notebook) -> None:
    double = "%%flujo step double\ndef double(n):\n    return n * 2"
    for cell in (WORDS, COUNT, double, "%flujo back f0", MAP):
        notebook.value(cell)
    lines = [one for one in tree_of(page(notebook)) if one in ("ul", "li", "article")]
    inside = ["ul", "li", "li"]  # f1 and f2 inside f0, and then f3
    assert lines == ["ul", "li", *inside, "li", *["article"] * 4]


def test_nothing_is_loaded_and_nothing_runs(notebook: Notebook) -> None:
    notebook.value(WORDS)
    html = page(notebook)
    head = html.partition("<body>")[0]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', head)
    assert policy is not None
    assert unescape(policy[1]) == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    )
    assert head.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta')
    assert not re.search(r"https?:|//\w|url\(|@import|<script|<link|<iframe|\bon\w+=", html)


def test_it_is_made_for_light_and_dark(notebook: Notebook) -> None:
    html = page(notebook)
    assert "color-scheme: light dark" in html
    assert "@media (prefers-color-scheme: dark)" in html


def filled(text: str, name: str | None = None) -> str:
    with fresh_notebook() as notebook:
        fill(notebook, text, name)
        for cell in FILLING:
            notebook.run(cell)
        return page(notebook)


def test_no_data_becomes_markup() -> None:
    assert tree_of(filled(HARMFUL)) == tree_of(filled(HARMLESS))


def test_no_secret_is_on_it() -> None:
    secret = "ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA2bC4"
    assert secret[4:16] not in filled(secret, HARMLESS)


def test_what_is_gone_after_a_restart_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    with open_() as notebook:
        notebook.value(WORDS)
        notebook.value("%%flujo step client\ndef client(n): return object()")
    with open_() as notebook:
        told = text_of(page(notebook))
    assert "flujo session of a.ipynb" in told
    assert "HEAD none" in told
    assert "output not here live only output (object) is not saved" in told
