"""Whether what is recorded of a frame stands for it now, and what to say when it does not."""

from __future__ import annotations

from collections.abc import Sequence

from .differences import first_difference, value_difference
from .errors import DefinitionChanged, InputChanged, ReplayMismatch
from .frame import AnyFrame
from .outcomes import FrameOutcome, Success
from .recorded_run import Begun
from .steps import Node, name_of
from .stored_journal import StoredJournal
from .stores import Row
from .unsaved import unsaved_in
from .value_keys import class_name


def recalled(journal: StoredJournal, begun: Begun, row: Row, frame: AnyFrame) -> FrameOutcome:
    """How the frame ended, as ``row`` tells.

    Raises `DefinitionChanged` when its step is another one now, and `InputChanged` when it is
    given something else (in a replay, `ReplayMismatch` for both).
    """
    if row.definition is not None and not journal.keeps:
        if row.definition != begun.definition:
            raise _changed_definition(journal, begun, row, frame)
        if row.input != begun.input and unsaved_in(frame.data) is None:
            raise _changed_input(journal, begun, row, frame)
    return journal.outcome_of(row, frame.step, frame.segments, frame.index)


def check_decided(journal: StoredJournal, begun: Begun, frame: AnyFrame) -> None:
    """Raise `InputChanged` when a container that is to go on decided things on another input."""
    decided_on = journal.image.inputs.get(begun.path)
    if decided_on is None or decided_on == begun.input or journal.keeps:
        return
    if unsaved_in(frame.data) is None:
        raise InputChanged(
            f"{begun.path} was cut off, and gets another input now than the one on which it had "
            "decided how to go on. Either let what is recorded stand (keep=True), or run it again: "
            f"fork(…, at={begun.path!r})"
        )


def not_recorded(begun: Begun) -> ReplayMismatch:
    """The error of a replay that comes to a frame that was never run."""
    return ReplayMismatch(
        f"{begun.path or 'the run'} ({begun.name}) is not recorded: a replay runs nothing. The "
        "step is new or renamed, or the run had not come so far; resume or fork it instead"
    )


def not_decided(frame: AnyFrame, name: str) -> ReplayMismatch:
    """The error of a replay that comes to a decision which could not be saved, or is new."""
    return ReplayMismatch(
        f"what {name!r} of {frame.path} decided is not recorded, and a replay asks nobody: its "
        "value could not be saved, or the step has it only now"
    )


def check_same_end(recorded: FrameOutcome, now: FrameOutcome, begun: Begun) -> None:
    """Raise `ReplayMismatch` when a container comes to another end than the recorded one."""
    if type(recorded) is not type(now):
        found = f"{type(now).__name__}, and {type(recorded).__name__} is recorded"
        raise ReplayMismatch(f"{begun.path or 'the run'} ends with {found}")
    if isinstance(recorded, Success) and isinstance(now, Success):
        if unsaved_in(recorded.output) is not None or unsaved_in(now.output) is not None:
            return
        told = value_difference(recorded.output, now.output, "output")
        if told is not None:
            raise ReplayMismatch(f"{begun.path or 'the run'} gives another output: {told}")


def edited(journal: StoredJournal, nodes: Sequence[Node]) -> None:
    """Raise `DefinitionChanged` when a step of ``nodes`` is recorded, and is another one now.

    Steps are told by their names here, so that nothing has to run to see that: a name that is not
    among ``nodes`` belongs to a step that is gone.
    """
    now: dict[str, set[bytes]] = {}
    for node in nodes:
        now.setdefault(name_of(node), set()).add(journal.definition_of(node))
    changed = [
        row
        for row in journal.image.finished.values()
        if row.definition is not None
        and row.path
        and journal.image.is_final(row)
        and row.name in now
        and row.definition not in now[row.name]
    ]
    if changed and not journal.keeps:
        first = changed[0]
        lines = journal.lines_of(first.definition or b"")
        node = next(one for one in nodes if name_of(one) == first.name)
        told = first_difference(lines, journal.definitions.of(node).lines)
        raise _edited(journal, [row.path for row in changed], told)


def _edited(journal: StoredJournal, paths: Sequence[str], told: str) -> Exception:
    where = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
    if journal.replaying:
        return ReplayMismatch(f"another definition than recorded: {where}\n{told}")
    return DefinitionChanged(
        f"edited since they were recorded: {where}. Nothing has run.\n{told}\n"
        f"Either let what is recorded stand (keep=True), or run again from there: "
        f"fork(…, at={paths[0]!r})",
        tuple(paths),
    )


def _changed_definition(
    journal: StoredJournal, begun: Begun, row: Row, frame: AnyFrame
) -> Exception:
    lines = journal.lines_of(row.definition or b"")
    told = first_difference(lines, journal.definitions.of(frame.step).lines)
    return _edited(journal, [begun.path or "the run"], told)


def _changed_input(journal: StoredJournal, begun: Begun, row: Row, frame: AnyFrame) -> Exception:
    """The error, with the first difference as far as the recorded input can still be found."""
    told = f"a {class_name(type(frame.data))} that is not the recorded one"
    for before in journal.inputs_of(row):
        told = value_difference(before, frame.data, "input") or told
    if journal.replaying:
        return ReplayMismatch(f"{begun.path} gets another input than recorded: {told}")
    return InputChanged(
        f"{begun.path} is recorded, and gets another input now: {told}. Either let what is "
        f"recorded stand (keep=True), or run again from there: fork(…, at={begun.path!r})"
    )
