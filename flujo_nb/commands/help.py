"""``%flujo help``: all commands by family, or one with its options and an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View, table_text, table_view, text_view
from flujo_nb.errors import unknown
from flujo_nb.front import Front

from .command import Command, only_word

_FIRST_STEPS = """\
Run steps on frames that the kernel keeps. Each cell continues from the frame of the one before.

1. `%%flujo step -i 'some input'` in the first line of a cell that defines a function: it runs.
2. `%%flujo step` in the next cell: its function is given what the one before returned.
3. `%flujo frames` lists what was kept, `%flujo show f0` shows one frame.
4. `%flujo back f0` continues from there; a cell that is run again replaces what it gave before.
5. `%flujo help step` explains a command, with an example to paste.
"""

Families = Mapping[str, Sequence[Command]]


def help_command(families: Families) -> Command:
    """The command that explains those of ``families``."""

    async def explain(front: Front, parsed: Parsed, body: str) -> View:
        wanted = only_word(parsed)
        if wanted is None:
            header = ("", "", "")
            return table_view("flujo-nb", header, _rows(families), ("%flujo help step",))
        commands = {one.name: one for family in families.values() for one in family}
        if wanted not in commands:
            raise unknown("command", wanted, commands)
        return text_view(help_text(commands[wanted]))

    return Command(
        name="help",
        summary="all commands, or one with an example",
        usage="%flujo help [COMMAND]",
        example="%flujo help run",
        handler=explain,
        word="command",
        completes=("command",),
        after=(),
    )


def overview_text(families: Families) -> str:
    """What ``%flujo?`` shows: how to begin, and all commands."""
    return f"{_FIRST_STEPS}\n{table_text(('', '', ''), _rows(families))}"


def _rows(families: Families) -> list[tuple[str, str, str]]:
    return [
        (family if number == 0 else "", command.magic, command.summary)
        for family, commands in families.items()
        for number, command in enumerate(commands)
    ]


def help_text(command: Command) -> str:
    """A command's purpose, usage, options, and an example that works as it stands."""
    names = [option_text(option) for option in command.options]
    width = max(map(len, names), default=0)
    lines = [command.summary, "", f"  {command.usage}"]
    if names:
        lines += [
            "",
            *(f"  {n:<{width}}  {o.help}" for n, o in zip(names, command.options, strict=True)),
        ]
    lines += ["", example_title(command), ""]
    lines += [f"  {line}".rstrip() for line in command.example.splitlines()]
    return "\n".join(lines)


def example_title(command: Command) -> str:
    """``example``, and the commands whose examples it stands on."""
    *others, last = command.after or ("",)
    names = f"{', '.join(others)} and {last}" if others else last
    return f"example, behind {'those' if others else 'that'} of {names}" if last else "example"


def option_text(option: Option) -> str:
    """An option with its names and what follows it: ``-i, --input EXPR``."""
    return f"{', '.join(option.names)}{f' {option.value}' if option.value else ''}"
