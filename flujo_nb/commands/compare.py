"""``%flujo diff`` and ``graph``: two frames side by side, and what a step is made of."""

from __future__ import annotations

from IPython.core.error import UsageError

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View
from flujo_nb.front import Front

from .command import ANY_WORDS, Command

_DIFF = "%flujo diff FRAME [FRAME]"
_GRAPH = "%flujo graph [NAME [>> NAME …]] [--mermaid]"


async def diff(front: Front, parsed: Parsed, body: str) -> View:
    """What differs between two frames."""
    from flujo_nb.diffs.comparing import compared  # noqa: PLC0415  # when asked for

    if not parsed.words:
        raise UsageError(f"which frames? usage: {_DIFF}")
    if len(parsed.words) > 2:
        raise UsageError(f"two frames are compared; found {len(parsed.words)}; usage: {_DIFF}")
    return compared(front, *parsed.words)


async def graph(front: Front, parsed: Parsed, body: str) -> View:
    """A step or pipeline; what HEAD's command ran when none is named."""
    from flujo_nb.graphs.drawing import drawn  # noqa: PLC0415  # the same

    target = " >> ".join(part.strip() for part in " ".join(parsed.words).split(">>"))
    return drawn(front, target, as_mermaid="--mermaid" in parsed.flags)


COMPARE = (
    Command(
        name="diff",
        summary="what differs between two frames, field by field; with one, from it to HEAD",
        usage=_DIFF,
        example="%flujo diff f0 f1",
        handler=diff,
        word=ANY_WORDS,
        completes=("frame",),
    ),
    Command(
        name="graph",
        summary="what a step or pipeline is made of, and how its steps ended the last time",
        usage=_GRAPH,
        example="%flujo graph counted",
        handler=graph,
        options=(Option(("--mermaid",), "as a mermaid flowchart"),),
        word=ANY_WORDS,
        completes=("step",),
    ),
)
