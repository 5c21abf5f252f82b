"""The one place that makes HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.html import Html, clean, joined, tag, without_controls

TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_content_is_escaped_unless_it_is_markup() -> None:
    assert tag("p", "<b>&\"'") == "<p>&lt;b&gt;&amp;&quot;&#x27;</p>"
    assert tag("p", tag("b", "x"), "<") == "<p><b>x</b>&lt;</p>"


def test_attributes_are_escaped_even_when_they_are_markup() -> None:
    assert tag("a", title='"><script>') == '<a title="&quot;&gt;&lt;script&gt;"></a>'
    assert tag("a", title=Html('"')) == '<a title="&quot;"></a>'


def test_attributes_hold_no_control_characters_and_no_secrets() -> None:
    key = "ghp_" + "a1" * 18
    found = tag("img", alt=f"\x1b\u202e{key} x")
    assert found == '<img alt="«withheld: looks like a GitHub token» x">'


def test_a_secret_with_a_control_character_in_it_is_withheld_all_the_same() -> None:
    key = "ghp_" + "a1" * 9 + "\x00" + "a1" * 9
    assert tag("p", key) == "<p>«withheld: looks like a GitHub token»</p>"


def test_parts_are_joined_with_markup() -> None:
    assert joined((tag("b", "x"), "<"), Html("<br>")) == "<b>x</b><br>&lt;"
    assert isinstance(joined(()), Html)


def test_a_style_comes_first_and_an_underscore_is_dropped() -> None:
    assert tag("a", style="x:y", class_="c") == '<a style="x:y" class="c"></a>'


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x00", "\x07", "\r", "\x7f", "\x9b2J"])
def test_what_steers_a_terminal_is_dropped(text: str) -> None:
    assert not set(without_controls(text)) & set("\x1b\x00\x07\r\x7f\x9b")


@pytest.mark.parametrize("char", TURNING, ids=lambda char: f"U+{ord(char):04X}")
def test_what_turns_the_reading_order_is_dropped(char: str) -> None:
    assert without_controls(f"a{char}b") == "ab"


def test_line_ends_and_tabs_stay() -> None:
    assert without_controls("a\n\tb") == "a\n\tb"


def test_a_lone_surrogate_is_replaced() -> None:
    assert clean("\ud800").encode() == "\ufffd".encode()


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_no_text_becomes_markup(text: str) -> None:
    found = tag("p", text)
    inner = found.removeprefix("<p>").removesuffix("</p>")
    assert not set(inner) & set("<>\"'\x1b")
    found.encode()
