"""What a session notes of its frames in a store: how each came about, and how it ended."""

from __future__ import annotations

from pydantic import BaseModel

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.path import FramePath

from .head import CellKey, Command, Ended, Saved


class NotedCell(BaseModel):
    """A `CellKey`, but for the number of its execution, which only its own kernel knew."""

    command: str
    name: str
    cell_id: str | None
    ordinal: int


class NotedCommand(BaseModel):
    """A `Command` as it is saved. ``context`` numbers the frame whose noted context it has."""

    id: str
    name: str
    path: str
    frame: str
    origin: str
    parent: str | None = None
    cell: NotedCell | None = None
    notes: tuple[str, ...] = ()
    target: str | None = None
    has_parents_data: bool = False
    has_parents_context: bool = False
    resumes: str | None = None
    forks: str | None = None
    has_input: bool = False
    context: int | None = None


class NotedEnd(BaseModel):
    """An `Ended` as it is saved."""

    status: RunStatus
    duration_s: float
    feedback: str | None = None
    notes: tuple[str, ...] = ()
    live_only: tuple[str, ...] = ()
    digest: str | None = None
    input_digest: str | None = None
    shown: str | None = None


class Noted(BaseModel):
    """All that a session noted of one frame."""

    command: NotedCommand
    ended: NotedEnd


def command_of(noted: NotedCommand) -> Command:
    """The command that was noted, by another kernel."""
    cell = noted.cell
    key = None
    if cell is not None:
        key = CellKey(cell.command, cell.name, cell.cell_id, -1, cell.ordinal)
    return Command(
        id=noted.id,
        name=noted.name,
        path=FramePath.parse(noted.path),
        frame=FramePath.parse(noted.frame),
        origin=noted.origin,
        parent=noted.parent,
        cell=key,
        notes=noted.notes,
        target=noted.target,
        has_parents_data=noted.has_parents_data,
        has_parents_context=noted.has_parents_context,
        resumes=noted.resumes,
        forks=noted.forks,
    )


def ended_of(noted: NotedEnd) -> Ended:
    """How its frame ended."""
    saved = Saved(noted.live_only, noted.digest, noted.input_digest)
    return Ended(
        status=noted.status,
        duration_s=noted.duration_s,
        feedback=noted.feedback,
        notes=noted.notes,
        saved=saved,
        shown=noted.shown,
    )


def as_noted(command: Command) -> NotedCommand:
    """A command, to be saved."""
    cell = command.cell
    key = cell and NotedCell(
        command=cell.command, name=cell.name, cell_id=cell.cell_id, ordinal=cell.ordinal
    )
    return NotedCommand(
        id=command.id,
        name=command.name,
        path=str(command.path),
        frame=str(command.frame),
        origin=command.origin,
        parent=command.parent,
        cell=key,
        notes=command.notes,
        target=command.target,
        has_parents_data=command.has_parents_data,
        has_parents_context=command.has_parents_context,
        resumes=command.resumes,
        forks=command.forks,
    )
