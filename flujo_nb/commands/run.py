"""``%flujo run``: run something that is registered."""

from __future__ import annotations

from IPython.core.error import UsageError

from flujo_nb.command_line import Parsed
from flujo_nb.display import View
from flujo_nb.front import Front

from .command import ANY_WORDS, START, Command, request_of

_USAGE = "%flujo run NAME [>> NAME …] [-i EXPR] [--from FRAME] [--on-head]"


async def run(front: Front, parsed: Parsed, body: str) -> View:
    """Run a step, or several joined with ``>>``."""
    target = " ".join(parsed.words)
    if not target:
        raise UsageError(f"run what? usage: {_USAGE}")
    node = front.session.resolve(target, front.shell.user_ns)
    name = " >> ".join(part.strip() for part in target.split(">>"))
    return await front.run(node, name, request_of(front, parsed, "run", name))


RUN = (
    Command(
        name="run",
        summary="run a step, or several joined with >>, on HEAD",
        usage=_USAGE,
        example="%flujo run words -i 'to be or not to be'",
        handler=run,
        options=START,
        word=ANY_WORDS,
        completes=("step",),
    ),
)
