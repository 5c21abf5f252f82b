"""Writes the commands and settings of the notebook front into `docs/notebook.md`.

What stands between the markers is made from `flujo_nb`; the rest of the page is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flujo_nb.commands import FAMILIES
from flujo_nb.commands.command import Command
from flujo_nb.commands.help import example_title
from flujo_nb.settings import Flujo

PAGE = Path(__file__).resolve().parent.parent / "docs" / "notebook.md"


def renewed(page: str) -> str:
    """``page`` with what is generated as it is now."""
    for name, lines in (("commands", _commands()), ("settings", _settings())):
        before, _, rest = page.partition(_begin(name))
        _, _, after = rest.partition(_end(name))
        page = "\n".join([before + _begin(name), *lines, _end(name) + after])
    return page


def _begin(name: str) -> str:
    return f"<!-- {name}: written by tools/command_reference.py -->"


def _end(name: str) -> str:
    return f"<!-- end of {name} -->"


def _commands() -> Iterator[str]:
    yield from ("| | | |", "|---|---|---|")
    for family, commands in FAMILIES.items():
        for number, one in enumerate(commands):
            link = f"[`{one.magic}`](#flujo-{one.name})"
            yield f"| {family if number == 0 else ''} | {link} | {_cell(one.summary)} |"
    for commands in FAMILIES.values():
        for one in commands:
            yield from _command(one)


def _command(command: Command) -> Iterator[str]:
    summary = command.summary
    yield from ("", f"### `{command.magic}`", "", f"{summary[0].upper()}{summary[1:]}.", "")
    yield from ("```", command.usage, "```", "")
    if command.options:
        yield from ("| option | |", "|---|---|")
        for option in command.options:
            *names, last = option.names
            value = f" {option.value}" if option.value else ""
            shown = ", ".join(f"`{one}`" for one in (*names, last + value))
            yield f"| {shown} | {_cell(option.help)} |"
        yield ""
    title = example_title(command)
    yield from (f"{title[0].upper()}{title[1:]}:", "", "```", command.example, "```")


def _settings() -> Iterator[str]:
    yield from ("| setting | default | |", "|---|---|---|")
    for name, trait in Flujo.class_traits(config=True).items():
        yield f"| `{name}` | `{trait.default_value!r}` | {_cell(trait.help or '')} |"


def _cell(text: str) -> str:
    """``text`` in a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
