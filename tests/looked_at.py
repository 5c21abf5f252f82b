"""Whether what is shown of a session full of one text is what is shown of one full of another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import cache
from itertools import chain
from tempfile import TemporaryDirectory

from flujo_nb.html import without_controls
from tests.commands_table import TYPED, VARYING, all_shown
from tests.markup import tree_of
from tests.notebook import Notebook, fresh_notebook
from tests.payloads import harmless, payloads, texts_of
from tests.shown import Bundle, Shown, pages

PAYLOADS = payloads(500)
ALL = texts_of(PAYLOADS)
SAMPLE = texts_of(PAYLOADS[::10])

Trees = list[Sequence[str]]
_MERMAID = "text/vnd.mermaid"
_LABEL = re.compile(r'"[^"\n]*"')


def assert_means_nothing(text: str, share: int | None = None) -> None:
    """``text`` brings no element, no attribute, and no control character to any page.

    ``share`` as for `cells`.
    """
    expected, known = _expected(harmless(text), share), _vocabulary()
    with _notebook() as notebook:
        for n, shown in enumerate(all_shown(notebook, text, share=share)):
            assert_looked_at(shown)
            trees = trees_of(shown.bundles)
            if shown.cell in VARYING or TYPED in shown.cell:  # what is typed may be refused
                assert set(chain(*trees)) <= known, shown.cell
            else:
                assert trees == expected[n], shown.cell


def assert_looked_at(shown: Shown) -> None:
    """It is something, well formed, and nothing in it steers a terminal."""
    assert shown.sent or shown.error, shown.cell
    assert shown.raised is None or shown.error, (shown.cell, shown.raised)
    told = [*shown.texts, *pages(shown.sent)]
    assert [one for one in told if one != without_controls(one)] == [], shown.cell
    trees_of(shown.sent)


def trees_of(bundles: Sequence[Bundle]) -> Trees:
    """The trees of the pages, and the lines of diagrams without their labels."""
    diagrams = [str(one[_MERMAID]) for one in bundles if _MERMAID in one]
    lines = [_LABEL.sub('""', diagram).split("\n") for diagram in diagrams]
    return [*(tree_of(page) for page in pages(bundles)), *lines]


@cache
def _expected(text: str, share: int | None) -> Sequence[Trees]:
    with _notebook() as notebook:
        return [trees_of(shown.bundles) for shown in all_shown(notebook, text, share=share)]


@cache
def _vocabulary() -> set[str]:
    """The elements and attributes of all that is shown of harmless texts, short and long."""
    texts = ("harmless", "x x\n" * 9, "x" * 400)
    return {part for text in texts for tree in chain(*_expected(text, None)) for part in tree}


@contextmanager
def _notebook() -> Iterator[Notebook]:
    """A notebook in a folder of its own: commands write files."""
    with TemporaryDirectory() as folder, chdir(folder), fresh_notebook() as notebook:
        yield notebook
