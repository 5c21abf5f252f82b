"""``%flujo help``: all commands, or one with its options and an example."""

from __future__ import annotations

from collections.abc import Mapping

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View, table_view, text_view
from flujo_nb.errors import unknown
from flujo_nb.front import Front

from .command import Command, only_word


def help_command(commands: Mapping[str, Command]) -> Command:
    """The command that explains ``commands``."""

    async def explain(front: Front, parsed: Parsed, body: str) -> View:
        wanted = only_word(parsed)
        if wanted is None:
            rows = [(command.magic, command.summary) for command in commands.values()]
            return table_view("flujo-nb", ("", ""), rows, ("%flujo help step",))
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
    )


def help_text(command: Command) -> str:
    """A command's purpose, usage, options, and an example that works as it stands."""
    names = [_names(option) for option in command.options]
    width = max(map(len, names), default=0)
    lines = [command.summary, "", f"  {command.usage}"]
    if names:
        lines += [
            "",
            *(f"  {n:<{width}}  {o.help}" for n, o in zip(names, command.options, strict=True)),
        ]
    lines += ["", "example", "", *(f"  {line}" for line in command.example.splitlines())]
    return "\n".join(lines)


def _names(option: Option) -> str:
    return f"{', '.join(option.names)}{f' {option.value}' if option.value else ''}"
