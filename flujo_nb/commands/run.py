"""``%flujo run``: run something that is registered."""

from __future__ import annotations

from dataclasses import replace

from IPython.core.error import UsageError

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View
from flujo_nb.earlier_outputs import newest_of
from flujo_nb.engine.steps import Node, name_of, steps_of
from flujo_nb.front import Front
from flujo_nb.head import Request
from flujo_nb.run_beside import run_beside

from .command import ANY_WORDS, HOW, START, Command, options_of, request_of

_USAGE = (
    "%flujo run NAME [>> NAME …] [-i EXPR] [--from FRAME] [--on-head] [--until STEP] "
    "[--only STEP] [--as NAME] [--budget LIMITS] [--no-cache] [--live] [--bg]"
)


async def run(front: Front, parsed: Parsed, body: str) -> View:
    """Run a step, or several joined with ``>>``, or a part of them."""
    words = " ".join(parsed.words)
    if not words:
        raise UsageError(f"run what? usage: {_USAGE}")
    target = " >> ".join(part.strip() for part in words.split(">>"))
    until, only = parsed.values.get("--until"), parsed.values.get("--only")
    if until is not None and only is not None:
        raise UsageError("--until runs the steps up to one, --only that one: give one of the two")
    is_part = until is not None or only is not None
    whole = front.session.resolve(target, front.shell.user_ns)
    if is_part:
        target += f"[:{until}]" if until is not None else f"[{only}]"
    node = front.session.resolve(target, front.shell.user_ns)
    name = parsed.values.get("--as", name_of(node) if is_part else target)
    request = replace(request_of(front, parsed, "run", target), target=target)
    if only is not None and request.source is None and request.given is None:
        request = _behind_what_was_recorded(front, request, whole, only)
    options = options_of(front, parsed, name)
    if "--bg" in parsed.flags:
        return await run_beside(front, node, name, request, options)
    return await front.run(node, name, request, options)


def _behind_what_was_recorded(front: Front, request: Request, whole: Node, only: str) -> Request:
    """``request``, from the newest frame of the step that stands before the one called ``only``."""
    steps = list(steps_of(whole))
    place = [one.name for one in steps].index(only)
    if place == 0:
        return request
    return replace(request, source=newest_of(front.session, steps[place - 1]))


RUN = (
    Command(
        name="run",
        summary="run a step, or several joined with >>, on HEAD",
        usage=_USAGE,
        example="%flujo run words -i 'to be or not to be'",
        handler=run,
        options=(
            *START,
            Option(("--until",), "run the steps up to this one", "STEP"),
            Option(
                ("--only",),
                "run this step, on what is recorded of the one before it, if any",
                "STEP",
            ),
            Option(("--as",), "the name of the frame", "NAME"),
            *HOW,
            Option(("--bg",), "let cells go on beside it; HEAD stays where it is"),
        ),
        word=ANY_WORDS,
        completes=("step",),
        after=("step",),
    ),
)
