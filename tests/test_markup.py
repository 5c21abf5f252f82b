"""No text becomes markup, wherever it stands and whatever shows it: a sample of the payloads.

``tests/properties/test_markup.py`` tries all of them.
"""

from __future__ import annotations

import pytest

from flujo_nb.commands import COMMANDS
from tests.commands_table import CALLS, SHARES
from tests.looked_at import SAMPLE, assert_means_nothing
from tests.markup import NotWellFormed, tree_of
from tests.payloads import harmless, payloads, texts_of


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_called_with_each_of_its_options(name: str) -> None:
    assert name in CALLS, "tests/commands_table.py says how each command is called"
    words = {word.partition("=")[0] for cell in CALLS[name] for word in cell.split()}
    not_given = [one.key for one in COMMANDS[name].options if not words & set(one.names)]
    assert not_given == [], "tests/commands_table.py gives each option in some cell"


def test_no_command_is_called_that_is_none() -> None:
    assert set(CALLS) <= set(COMMANDS)


@pytest.mark.parametrize("number", range(len(SAMPLE)))
def test_no_text_becomes_markup(number: int) -> None:
    assert_means_nothing(SAMPLE[number], share=number % SHARES)


def test_payloads_are_different_and_always_the_same() -> None:
    found = payloads(500)
    assert len(set(found)) == 500 and found == payloads(500)
    texts = list(texts_of(found))
    assert all(any(one in text for text in texts) for one in found)
    assert not set("".join(map(harmless, found))) & set("<>&\"'\x1b")


@pytest.mark.parametrize(
    "page",
    [
        "<b>x",
        "<b>x</i></b>",
        "<b>x</b></b>",
        "<p>a < b</p>",
        "<p>it's</p>",
        "<p>a & b</p>",
        "<p>&copy;</p>",
        "<p>&#60;</p>",
        "<!-- x --><p></p>",
        "<?x?>",
        "<![CDATA[x]]>",
        '<p onclick="x"></p>',
        "<p title='x'></p>",
        "<p title=x></p>",
        '<p title="a" title="b"></p>',
        '<p id="x"></p>',
        '<a href="javascript:x">x</a>',
        '<img src="//x.example/a.png">',
        '<img src="data:image/svg+xml,%3Csvg%3E%3Cscript/%3E%3C/svg%3E">',
        '<p title="&#60;"></p>',
        '<p title="<"></p>',
        "<script></script>x<",
        "<p <b>",
    ],
)
def test_what_data_could_have_brought_is_found(page: str) -> None:
    with pytest.raises(NotWellFormed):
        tree_of(page)


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ("<b>x</b>", "<b>a longer text</b>", True),
        ('<b title="x">x</b>', '<b title="y">x</b>', True),
        ('<b style="x:y">x</b>', '<b style="x:z">x</b>', False),
        ("<b>x</b>", "<b>x<i>y</i></b>", False),
        ("<b>x</b>", "<b>x</b><b></b>", False),
        (
            '<img src="data:image/svg+xml,%3Csvg width=%2212%22/%3E">',
            '<img src="data:image/svg+xml;base64,PHN2ZyB3aWR0aD0iOTkiLz4=">',
            True,
        ),
        (
            '<img src="data:image/svg+xml,%3Csvg width=%2212%22/%3E">',
            '<img src="data:image/svg+xml,%3Csvg height=%2212%22/%3E">',
            False,
        ),
    ],
)
def test_trees_differ_by_more_than_texts_and_sizes(one: str, other: str, are_equal: bool) -> None:
    assert (tree_of(one) == tree_of(other)) is are_equal
