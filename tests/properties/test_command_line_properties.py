"""Whatever is typed: tokens that lose nothing, and nothing evaluated."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from flujo_nb.command_line import parse, tokens_of
from tests.house.tree import ROOT

lines = st.text() | st.lists(st.sampled_from([*"'\"()[]{}\\ \t=-$!%>"]) | st.text(max_size=3)).map(
    "".join
)


def test_parsing_evaluates_nothing() -> None:
    program = [sys.executable, "-m", "tests.properties.audited_command_line"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "nothing was evaluated\n"


@given(lines)
def test_no_character_is_lost_but_blanks_between_tokens(line: str) -> None:
    try:
        tokens = tokens_of(line)
    except UsageError:
        return
    assert "".join("".join(tokens).split()) == "".join(line.split())


@given(st.recursive(st.integers() | st.text(), st.lists, max_leaves=10))
def test_the_repr_of_plain_data_is_one_token(value: object) -> None:
    assert tokens_of(f"a {value!r} b") == ["a", repr(value), "b"]


@given(st.lists(st.text("abc123_./", min_size=1)))
def test_words_come_back(words: list[str]) -> None:
    assert parse(" ".join(words), (), "").words == words
