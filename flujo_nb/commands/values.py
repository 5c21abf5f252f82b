"""``%flujo put`` and ``load``: outputs as variables, and the cells of steps to be edited."""

from __future__ import annotations

import keyword
from unicodedata import normalize

from IPython.core.error import UsageError

from flujo_nb.border import copied, shared_notes
from flujo_nb.command_line import Parsed
from flujo_nb.display import View, table_view, text_view
from flujo_nb.errors import unknown
from flujo_nb.front import Front
from flujo_nb.targets import Registered
from flujo_nb.widgets.previews import preview

from .command import ANY_WORDS, Command, only_word

_PUT = "%flujo put FRAME NAME"
_LOAD = "%flujo load NAME"
_SESSION = "flujo"


async def put(front: Front, parsed: Parsed, body: str) -> View:
    """Put a copy of a frame's output into a variable."""
    if len(parsed.words) != 2:
        raise UsageError(f"which frame, and into which variable? usage: {_PUT}")
    frame_id, name = parsed.words[0], normalize("NFKC", parsed.words[1])  # as Python reads it
    variables = front.shell.user_ns
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"{name} cannot be the name of a variable; usage: {_PUT}")
    if name.startswith("_") or name == _SESSION or name in front.shell.user_ns_hidden:
        raise UsageError(f"{name} is not free: choose another name; usage: {_PUT}")
    output = copied(front.session.succeeded_record(frame_id).output)
    rows = [(name, str(preview(output.value)))]
    if name in variables:
        rows.append(("replaced", str(preview(variables[name]))))
    rows += [("note", note) for note in shared_notes("output", output)]
    variables[name] = output.value
    title = f"{name} is a copy of {frame_id}.output"
    return table_view(title, ("", ""), rows, (f"%flujo run STEP -i {name}", "%flujo frames"))


async def load(front: Front, parsed: Parsed, body: str) -> View:
    """Write the cell of a step, a pipeline or an agent into the next cell."""
    name = only_word(parsed)
    if name is None:
        raise UsageError(f"which step? usage: {_LOAD}")
    registered = front.session.steps.get(name)
    if registered is None:
        error = unknown("step that a cell registered, called", name, front.session.steps)
        raise UsageError(
            f"{error}; the cell that defines it has to run first (--no-run registers only)"
        )
    cell = _cell_of(registered)
    front.shell.set_next_input(cell)
    shown = "\n".join(f"  {line}".rstrip() for line in cell.splitlines())
    return text_view(f"the next cell is that of {name}; run it when it is edited\n\n{shown}")


def _cell_of(registered: Registered) -> str:
    """The text of the cell that registered something."""
    first = f"%%flujo {registered.command} {registered.line}".rstrip()
    return f"{first}\n{registered.source}".rstrip("\n")


VALUES = (
    Command(
        name="put",
        summary="put a copy of a frame's output into a variable",
        usage=_PUT,
        example="%flujo put f0 found",
        handler=put,
        word=ANY_WORDS,
        completes=("frame",),
        after=("step",),
    ),
    Command(
        name="load",
        summary="write the cell of a step into the next cell, to edit it",
        usage=_LOAD,
        example="%flujo load words",
        handler=load,
        word="name",
        completes=("registered step",),
        after=("step",),
    ),
)
