"""What the steps of earlier cells gave, for placeholders (``{{ steps.NAME }}``) of a later one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.placeholders import steps_named
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.steps import AnyStep, Node, name_of

from .border import copied
from .head import Entry, line_of
from .targets import all_nodes

if TYPE_CHECKING:
    from .session import Session


def outputs_named(session: Session, node: Node, parent: str | None) -> Mapping[str, object]:
    """Copies of the newest outputs on the line of ``parent`` that placeholders of ``node`` name.

    Raises `UsageError` for one that was made and is gone. One that nobody made is left out: a step
    beside it may make it yet.
    """
    wanted = {name for one in all_nodes(node) for name in steps_named(one.templates)}
    found: dict[str, object] = {}
    if not wanted or parent is None:
        return found
    entry = session.entry_of(parent)
    for one in line_of(entry, session.entries):
        for record in _newest_first(session, one):
            step = record.outcome.step
            name = record.name if step is None else name_of(step)
            if name not in wanted or name in found:
                continue
            if record.absent is not None:
                raise UsageError(session.recaller.how_to_get(record))
            if isinstance(record.outcome, Success):
                found[name] = copied(record.output).value
        if found.keys() == wanted:
            break
    return found


def newest_of(session: Session, step: AnyStep) -> FrameRecord:
    """The newest record of ``step`` as it is defined now: on HEAD's line, or else anywhere.

    Raises `UsageError` when there is none with an output.
    """
    own = (step.name, *(digest for _, digest in session.targets.definitions_in(step)[-1:]))
    edited: Entry | None = None
    line = session.line()
    for entry in (*line, *reversed(session.entries)):
        told = entry.command.definitions
        if own not in told:
            if edited is None and step.name in dict(told):
                edited = entry
            continue
        for record in _newest_first(session, entry):
            made = record.outcome.step
            if record.has_output and made is not None and name_of(made) == step.name:
                return record
    because = f"{step.name} was edited since {edited.id}" if edited else f"no {step.name} has run"
    raise UsageError(f"{because}: run the steps up to it first, with --until {step.name}")


def _newest_first(session: Session, entry: Entry) -> Iterator[FrameRecord]:
    whole = entry.record
    yield whole
    yield from reversed(list(session.all_inside(whole)))
