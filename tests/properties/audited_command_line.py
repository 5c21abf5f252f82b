"""Whatever is typed: a parsed line or a `UsageError`, and nothing evaluated.

A program of its own: an audit hook cannot be removed, and slows down whatever runs after it.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from flujo_nb.command_line import parse
from flujo_nb.commands import COMMANDS
from tests.properties.watch import Watch

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


watch = Watch(lambda event, arguments: event if event in ACTS else None)


@given(commands, lines)
def parsing_gives_a_line_or_a_usage_error_and_evaluates_nothing(name: str, line: str) -> None:
    command = COMMANDS[name]
    message = ""
    with watch.nothing_happens():
        try:
            parse(line, command.options, command.usage)
        except UsageError as error:
            message = str(error)
    assert "\n" not in message or "\n" in line


if __name__ == "__main__":
    settings.register_profile("audited", derandomize=True, database=None, deadline=None)
    settings.load_profile("audited")
    parsing_gives_a_line_or_a_usage_error_and_evaluates_nothing()
    print("nothing was evaluated")
