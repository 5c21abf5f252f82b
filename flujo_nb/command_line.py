"""Reading a command line: words, options, and one Python expression where an option takes one.

Nothing is evaluated here. An expression goes up to the first blank outside quotes and brackets, so
``-i 'a b'``, ``-i [1, 2]`` and ``-i rows[0]`` are one value each.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from IPython.core.error import UsageError

EXPRESSION = "EXPR"
"""The value of an option that is a Python expression: quotes belong to it."""

_OPENING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command. ``value`` names what follows it; a flag takes nothing."""

    names: tuple[str, ...]
    help: str
    value: str | None = None

    @property
    def key(self) -> str:
        """The name that the parsed value is found under: the longest one."""
        return max(self.names, key=len)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command line taken apart."""

    words: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)


def tokens_of(line: str) -> list[str]:
    """The parts of ``line`` between blanks that stand outside quotes and brackets.

    Quotes stay where they are: they belong to an expression. Raises `UsageError` when a quote or
    bracket is never closed.
    """
    tokens: list[str] = []
    closing: list[str] = []
    current, quote = "", ""
    escaped = False
    for char in line:
        if quote:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in _OPENING:
            closing.append(_OPENING[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char.isspace() and not closing:
            if current:
                tokens.append(current)
            current = ""
            continue
        current += char
    if quote or closing:
        raise UsageError(f"{quote or closing[-1]} is missing at the end of: {line.strip()}")
    return [*tokens, current] if current else tokens


def parse(line: str, options: Sequence[Option], usage: str) -> Parsed:
    """Take ``line`` apart by what ``options`` there are.

    Raises `UsageError` with ``usage`` for an option that does not exist, lacks its value, or is
    given twice.
    """
    known = {name: option for option in options for name in option.names}
    parsed = Parsed()
    tokens = iter(tokens_of(line))
    for token in tokens:
        name, equals, attached = token.partition("=")
        if not token.startswith("-") or token == "-":
            parsed.words.append(token)
            continue
        option = known.get(name)
        if option is None:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"usage: {usage}"
            raise UsageError(f"there is no option {name}; {hint}")
        if option.key in parsed.values or option.key in parsed.flags:
            raise UsageError(f"{name} is given twice; usage: {usage}")
        if option.value is None:
            if equals:
                raise UsageError(f"{name} takes no value; usage: {usage}")
            parsed.flags.add(option.key)
            continue
        value = attached if equals else next(tokens, None)
        if not value or (value in known and not equals):
            raise UsageError(f"{name} needs {option.value}; usage: {usage}")
        is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        takes_text = option.value != EXPRESSION
        parsed.values[option.key] = value[1:-1] if takes_text and is_quoted else value
    return parsed
