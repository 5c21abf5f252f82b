"""Which frames are out of date, and why.

A frame is stale when a step that it ran is defined otherwise now, when the frame that it continued
from was made again by its cell or was patched, or when that one is stale. Nothing that is stale
runs again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .head import CellKey, Entry
from .targets import Definitions


@dataclass(frozen=True, slots=True)
class _Newer:
    """A frame that was made in the place of another, and where it stands among all."""

    position: int
    told: str


def stale_frames(
    entries: Sequence[Entry], definitions_now: Callable[[str | None], Definitions]
) -> Mapping[str, str]:
    """Why each stale frame is: by its id, the oldest first.

    ``entries`` are a session's, oldest first; ``definitions_now`` says what the steps in a target
    are now, and nothing for one that is not registered here.
    """
    known: dict[str | None, Definitions] = {}
    newer = _made_again(entries)
    found: dict[str, str] = {}
    for position, entry in enumerate(entries):
        target = entry.command.target
        if target not in known:
            known[target] = definitions_now(target)
        parent = (entry.parent or "").partition("/")[0]
        edited = edited_since(entry.command.definitions, known[target])
        if edited is not None:
            found[entry.id] = edited
        elif parent in newer and newer[parent].position > position:
            found[entry.id] = newer[parent].told
        elif parent in found:
            found[entry.id] = f"{parent} is stale"
    return found


def edited_since(then: Definitions, now: Definitions) -> str | None:
    """What of the steps that were run is other now; ``None`` when nothing is, or who knows."""
    if not then or not now or then == now:
        return None
    if [name for name, _ in then] != [name for name, _ in now]:
        return "it is made of other steps now"
    names = dict.fromkeys(
        name for (name, old), (_, new) in zip(then, now, strict=True) if old != new
    )
    verb = "was" if len(names) == 1 else "were"
    return f"{', '.join(names)} {verb} edited"


def _made_again(entries: Sequence[Entry]) -> Mapping[str, _Newer]:
    """The frames in whose place there is a newer one, with the newest."""
    places: dict[tuple[object, ...], list[tuple[int, str]]] = {}
    found: dict[str, _Newer] = {}
    for position, entry in enumerate(entries):
        command = entry.command
        if not entry.succeeded:
            continue
        if command.patch is not None and command.forks is not None:
            told = f"{command.forks} was patched: {entry.id}"
            found[command.forks] = _Newer(position, told)
        elif command.cell is not None and command.forks is None:
            place = (entry.parent, *_place_of(command.cell))
            places.setdefault(place, []).append((position, entry.id))
    for *earlier, (position, newest) in places.values():
        for _, one in earlier:
            found[one] = _Newer(position, f"{one} was made again: {newest}")
    return found


def _place_of(cell: CellKey) -> tuple[object, ...]:
    """What is the same of a cell's command each time that it runs."""
    if cell.cell_id is not None:
        return cell.cell_id, cell.ordinal
    return cell.command, cell.name, cell.ordinal
