"""Completion of ``%flujo`` lines: commands, options, names of steps, ids of frames."""

from __future__ import annotations

import re
from collections.abc import Iterable

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)
from IPython.core.interactiveshell import InteractiveShell

from .commands import COMMANDS
from .front import Front
from .targets import nodes_in

_CALL = re.compile(r"(?:^|[=\s(])%{1,2}flujo(?P<rest>\s.*)$")


_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*$")
_EXPRESSIONS = {
    name
    for command in COMMANDS.values()
    for option in command.options
    if option.value == "EXPR"
    for name in option.names
}


def candidates(front: Front, rest: str) -> tuple[str, list[str]]:
    """The word that is being typed at the end of ``rest``, and what it may become.

    In an expression that is the name of a variable.
    """
    words = rest.split()
    typed = "" if rest[-1:].isspace() or not words else words.pop()
    if words and words[-1] in _EXPRESSIONS:
        named = _NAME.search(typed)
        begun = named[0] if named is not None else ""
        return begun, sorted(name for name in front.names() if begun and name.startswith(begun))
    joined, arrows, last = typed.rpartition(">>")
    found = [name for name in _possible(front, words, last) if name.startswith(last)]
    return typed, sorted(f"{joined}{arrows}{name}" for name in found)


def _possible(front: Front, before: list[str], typed: str) -> Iterable[str]:
    if not before:
        return COMMANDS
    command = COMMANDS.get(before[0])
    if command is None:
        return ()
    if before[0] == "session" and before[-1] in ("use", "list"):
        return [] if front.sessions.store is None else front.sessions.store.ids()
    if before[-1] in ("--from", "--before"):
        return _frames(front)
    if before[-1] in ("--until", "--only"):
        return [one.name for one in front.session.steps.values()]
    if before[-1] in ("--context", "--out", "--schema"):
        return front.models()
    if typed.startswith("-"):
        return [name for option in command.options for name in option.names]
    names: list[str] = []
    for kind in command.completes:
        match kind:
            case "step":
                names += [*front.session.steps, *nodes_in(front.shell.user_ns)]
            case "frame":
                names += _frames(front)
            case "open frame":
                names += [one.id for one in front.session.entries if not one.succeeded]
            case "running frame":
                names += [one.id for one in front.session.background]
            case "limit":
                names += ["cost=", "tokens=", "requests=", "none"]
            case "session":
                names += ["list", "new", "use"]
            case "registered step":
                names += front.session.steps
            case "cache":
                names += ["clear"]
            case "command":
                names += COMMANDS
    return dict.fromkeys(names)


def _frames(front: Front) -> list[str]:
    session = front.session
    found: list[str] = []
    for entry in session.entries:
        held = session.recaller.shelf.get(entry.id)  # nothing is read back for a Tab
        inside = [] if held is None else session.children(held)
        found += [entry.id, *(child.id for child in inside)]
    return found


class Completion:
    """The matcher that a shell's completer asks."""

    def __init__(self, shell: InteractiveShell, front: Front) -> None:
        self._shell = shell

        @context_matcher(identifier="flujo", priority=100)  # type: ignore[untyped-decorator]
        def matcher(context: CompletionContext) -> SimpleMatcherResult:
            call = _CALL.search(context.line_with_cursor[: context.cursor_position])
            if call is None:
                return {"completions": [], "suppress": False}
            typed, found = candidates(front, call["rest"])
            # With nothing to offer, the word itself: an empty answer would let the others speak.
            names = found or [typed]
            return {
                "completions": [SimpleCompletion(name, type="flujo") for name in names],
                "matched_fragment": typed,
                "suppress": True,
            }

        self._matcher = matcher

    def install(self) -> None:
        """Ask this matcher too."""
        self._shell.Completer.custom_matchers.append(self._matcher)

    def uninstall(self) -> None:
        """No longer."""
        self._shell.Completer.custom_matchers.remove(self._matcher)
