"""``%flujo back``, ``resume``, ``fork`` and ``patch``: where HEAD stands, going on with frames."""

from __future__ import annotations

from IPython.core.error import UsageError

from flujo_nb import going_on
from flujo_nb.cell_body import current_cell
from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View
from flujo_nb.front import Front
from flujo_nb.head import Given
from flujo_nb.patching import read_changes
from flujo_nb.questions import Text

from .command import BUDGET, Command, limits_of, only_word

_BACK = "%flujo back FRAME"
_FORK = "%flujo fork FRAME [--as NAME]"
_PATCH = '%%flujo patch FRAME, and below {"output": …}, {"data": …} or {"context": …}'


async def back(front: Front, parsed: Parsed, body: str) -> View:
    """Move HEAD to a frame; nothing is run."""
    return await going_on.back(front, _frame_in(parsed, _BACK))


async def resume(front: Front, parsed: Parsed, body: str) -> View:
    """Go on with a frame that paused, failed or was interrupted."""
    expression = parsed.values.get("--with")
    if expression is not None and body.strip():
        raise UsageError("give the answer in the cell or behind --with, not both")
    answer: Given | Text | None = Text(body) if body.strip() else None
    if expression is not None:
        answer = Given(front.evaluate(expression, "--with"))
    budget = parsed.values.get(BUDGET.key)
    return await going_on.resume(
        front,
        only_word(parsed),
        answer,
        keep="--keep" in parsed.flags,
        limits=None if budget is None else limits_of(budget.split(",")),
    )


async def fork(front: Front, parsed: Parsed, body: str) -> View:
    """Run a frame's command again, on a line of its own."""
    return await going_on.fork(front, _frame_in(parsed, _FORK), parsed.values.get("--as"))


async def patch(front: Front, parsed: Parsed, body: str) -> View:
    """Make a frame that differs from another by a JSON merge patch."""
    frame = _frame_in(parsed, _PATCH)
    cell = current_cell(front.shell)
    head = None if cell is None else cell.head_of(body)
    changes = read_changes(body, 0 if head is None else head.count("\n"))
    return await going_on.patch(front, frame, changes)


def _frame_in(parsed: Parsed, usage: str) -> str:
    frame = only_word(parsed)
    if frame is None:
        raise UsageError(f"which frame? usage: {usage}")
    return frame


MOVE = (
    Command(
        name="back",
        summary="move HEAD to a frame; nothing is run",
        usage=_BACK,
        example="%flujo back f0",
        handler=back,
        word="frame",
        completes=("frame",),
        after=("step",),
    ),
    Command(
        name="resume",
        summary="go on with a frame that paused, failed or was interrupted",
        usage="%flujo resume [FRAME] [--with EXPR] [--keep] [--budget LIMITS]; or %%flujo resume: "
        "the answer below",
        example="%flujo resume f0 --with True",
        handler=resume,
        options=(
            Option(("--with",), "the answer: a Python expression, evaluated once", "EXPR"),
            Option(("--keep",), "what is recorded stands, although its steps were edited"),
            BUDGET,
        ),
        may_have_body=True,
        word="frame",
        completes=("open frame",),
        after=("hitl",),
    ),
    Command(
        name="fork",
        summary="run a frame again; of one inside it (f3/loop/[2]/draft) from there",
        usage=_FORK,
        example="%flujo fork f0",
        handler=fork,
        options=(Option(("--as",), "the name of the new frame", "NAME"),),
        word="frame",
        completes=("frame",),
        after=("step",),
    ),
    Command(
        name="patch",
        summary="a frame with another output, input or context; the rest of its command runs",
        usage=_PATCH,
        example='%%flujo patch f0\n{"output": ["to", "see"]}',
        handler=patch,
        has_body=True,
        word="frame",
        completes=("frame",),
        after=("step",),
    ),
)
