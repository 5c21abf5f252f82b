"""What a command is, and the options that several share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from IPython.core.error import UsageError
from pydantic import ValidationError

from flujo_nb.command_line import EXPRESSION, Option, Parsed, parse
from flujo_nb.engine.usage import UsageLimits
from flujo_nb.errors import unknown
from flujo_nb.front import Front
from flujo_nb.head import Given, Request
from flujo_nb.live import live_options
from flujo_nb.run_options import RunOptions

Handler: TypeAlias = Callable[[Front, Parsed, str], Awaitable[object]]
"""Gets the front, the parsed line and the cell's body (empty for a line magic)."""


ANY_WORDS = "…"

_LIMITS = {
    "cost": "total_cost_usd_limit",
    "tokens": "total_tokens_limit",
    "requests": "total_requests_limit",
}


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
    after: tuple[str, ...] = ("step", "pipeline")
    """The commands whose examples are pasted before its own."""

    @property
    def magic(self) -> str:
        """How the command is typed."""
        return f"{'%%' if self.has_body else '%'}flujo {self.name}"

    def parse(self, line: str) -> Parsed:
        """The rest of a command line taken apart; `UsageError` when it does not fit."""
        if line.split()[:1] in (["--help"], ["-h"]):
            raise UsageError(f"%flujo help {self.name} tells all of it")
        parsed = parse(line, self.options, self.usage)
        if len(parsed.words) > (self.word is not None) and self.word != ANY_WORDS:
            takes = "no word" if self.word is None else f"one {self.word}"
            found = " ".join(parsed.words)
            hint = f"{self._bracketed(parsed)}usage: {self.usage}"
            raise UsageError(f"{self.magic} takes {takes}; found {found}; {hint}")
        return parsed

    def _bracketed(self, parsed: Parsed) -> str:
        """How an expression with blanks is written, where an option that takes one is given."""
        given = [
            min(one.names, key=len)
            for one in self.options
            if one.value == EXPRESSION and one.key in parsed.values
        ]
        said = "an expression with blanks stands in brackets: "
        return f'{said}{given[0]} ("x" * 500); ' if given else ""


INPUT = Option(("-i", "--input"), "the input: a Python expression, evaluated once", "EXPR")
FROM = Option(("--from",), "continue from this frame, not from HEAD", "FRAME")
ON_HEAD = Option(("--on-head",), "a cell that runs again continues from HEAD all the same")
NO_RUN = Option(("--no-run",), "register only")
LIVE = Option(("--live",), "show how the run stands while it works")
START = (INPUT, FROM, ON_HEAD)
"""Where a run starts."""

BUDGET = Option(("--budget",), "what it may use: cost=0.5,tokens=20000,requests=10", "LIMITS")
NO_CACHE = Option(("--no-cache",), "look up nothing that was kept before; run it all")


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


HOW = (BUDGET, NO_CACHE, LIVE)
"""How a run is carried out."""


def options_of(front: Front, parsed: Parsed, name: str, *, is_live: bool = False) -> RunOptions:
    """How a run that is called ``name`` is carried out, as its command line says.

    ``is_live`` has the cell show how the run stands, as ``--live`` does.
    """
    budget = parsed.values.get(BUDGET.key)
    options = RunOptions(
        limits=None if budget is None else limits_of(budget.split(",")),
        uses_cache=NO_CACHE.key not in parsed.flags,
    )
    is_live = is_live or LIVE.key in parsed.flags
    return live_options(front, name, options) if is_live else options


def limits_of(words: Sequence[str]) -> UsageLimits:
    """The limits in ``cost=0.5``, ``tokens=20000``, ``requests=10``; `UsageError` for others.

    Costs are in dollars.
    """
    given: dict[str, str] = {}
    for word in words:
        name, _, value = word.strip().partition("=")
        if name not in _LIMITS:
            raise unknown("limit", name, _LIMITS)
        if name in given:
            raise UsageError(f"{name} is given twice")
        given[name] = value
    try:
        return UsageLimits.model_validate_strings(
            {_LIMITS[name]: value for name, value in given.items()}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = next(one for one, field in _LIMITS.items() if field == first["loc"][0])
        raise UsageError(
            f"{name}={given[name]}: {first['msg'].lower()}; write cost=0.5 (dollars), "
            "tokens=20000, requests=10"
        ) from error


def only_word(parsed: Parsed) -> str | None:
    """The word of a command that takes one, if it is there."""
    return parsed.words[0] if parsed.words else None
