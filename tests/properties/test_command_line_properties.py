"""Whatever is typed: a parsed line or a `UsageError`, and nothing evaluated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from flujo_nb.command_line import parse, tokens_of
from flujo_nb.commands import COMMANDS

ACTS = frozenset(
    {"compile", "exec", "import", "open", "os.system", "subprocess.Popen", "object.__getattr__"}
)
commands = st.sampled_from(sorted(COMMANDS))
pieces = st.sampled_from(
    [
        *"'\"()[]{}\\ \t=-$!%>",
        "-i ",
        "--input=",
        "--from ",
        "--on-head ",
        "f0",
        "{__import__('os').system('x')}",
        "$HOME",
        "`ls`",
    ]
)
lines = st.text() | st.lists(pieces | st.text(max_size=3)).map("".join)


class Watch:
    """An audit hook, which cannot be removed, that listens while it is told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.listening = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.listening and event in ACTS:
            self.seen.append(event)

    @contextmanager
    def nothing_happens(self) -> Iterator[None]:
        self.seen.clear()
        self.listening = True
        try:
            yield
        finally:
            self.listening = False
        assert self.seen == []


watch = Watch()


@given(commands, lines)
def test_parsing_gives_a_line_or_a_usage_error_and_evaluates_nothing(name: str, line: str) -> None:
    command = COMMANDS[name]
    message = ""
    with watch.nothing_happens():
        try:
            parse(line, command.options, command.usage)
        except UsageError as error:
            message = str(error)
    assert "\n" not in message or "\n" in line


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
