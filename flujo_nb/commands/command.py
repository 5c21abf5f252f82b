"""What a command is, and the options that several share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from IPython.core.error import UsageError

from flujo_nb.command_line import Option, Parsed, parse
from flujo_nb.front import Front
from flujo_nb.head import Given, Request

Handler: TypeAlias = Callable[[Front, Parsed, str], Awaitable[object]]
"""Gets the front, the parsed line and the cell's body (empty for a line magic)."""


ANY_WORDS = "…"


@dataclass(frozen=True, slots=True)
class Command:
    """A word after ``%flujo`` (or, with a body, ``%%flujo``)."""

    name: str
    summary: str
    usage: str
    example: str
    handler: Handler
    options: tuple[Option, ...] = ()
    has_body: bool = False
    may_have_body: bool = False
    word: str | None = None
    """What the one word is that it takes; ``None``: it takes none; ``…``: any number."""
    completes: tuple[str, ...] = ()
    """What its words may be: ``step``, ``frame``, ``open frame``, ``session``, ``command``."""

    @property
    def magic(self) -> str:
        """How the command is typed."""
        return f"{'%%' if self.has_body else '%'}flujo {self.name}"

    def parse(self, line: str) -> Parsed:
        """The rest of a command line taken apart; `UsageError` when it does not fit."""
        parsed = parse(line, self.options, self.usage)
        if len(parsed.words) > (self.word is not None) and self.word != ANY_WORDS:
            takes = "no word" if self.word is None else f"one {self.word}"
            found = " ".join(parsed.words)
            raise UsageError(f"{self.magic} takes {takes}; found {found}; usage: {self.usage}")
        return parsed


INPUT = Option(("-i", "--input"), "the input: a Python expression, evaluated once", "EXPR")
FROM = Option(("--from",), "continue from this frame, not from HEAD", "FRAME")
ON_HEAD = Option(("--on-head",), "a cell that runs again continues from HEAD all the same")
NO_RUN = Option(("--no-run",), "register only")
START = (INPUT, FROM, ON_HEAD)
"""Where a run starts."""


def request_of(front: Front, parsed: Parsed, command: str, name: str) -> Request:
    """Where a run of ``name`` starts, as its command line says. Evaluates ``-i``."""
    source = parsed.values.get("--from")
    record = front.session.succeeded_record(source) if source is not None else None
    expression = parsed.values.get("--input")
    given = None if expression is None else Given(front.evaluate(expression, "-i"))
    return Request(
        cell=front.cell_key(command, name),
        given=given,
        source=record,
        on_head="--on-head" in parsed.flags,
        target=name,
    )


def only_word(parsed: Parsed) -> str | None:
    """The word of a command that takes one, if it is there."""
    return parsed.words[0] if parsed.words else None
