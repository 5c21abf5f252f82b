"""Which frames are out of date, and why.

A frame is stale when a step that it ran is defined otherwise now, when the frame that it continued
from was made again by its cell or was patched, or when that one is stale. Nothing that is stale
runs again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .head import CellKey, Entry
from .targets import Definitions


class Staleness:
    """Tells which of ``entries``, a session's, oldest first, are out of date.

    The list may grow. ``definitions_now`` says what the steps in a target are now, and nothing
    for one that is not registered here.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        definitions_now: Callable[[str | None], Definitions],
    ) -> None:
        self._entries = entries
        self._definitions_now = definitions_now
        self._positions: dict[str, int] = {}
        self._places: dict[str, tuple[object, ...]] = {}
        self._newest: dict[tuple[object, ...], tuple[str, int]] = {}
        self._patched: dict[str, str] = {}
        self._reused: list[tuple[int, Entry, CellKey]] = []

    def reused(self, entry: Entry, cell: CellKey, after: int) -> None:
        """Note that ``entry`` stood for a run in ``cell``, when there were ``after`` frames."""
        self._reused.append((after, entry, cell))

    def all(self) -> Mapping[str, str]:
        """Why each stale frame is, by its id, the oldest first."""
        self._look()
        edits = _Edits(self._definitions_now)
        found: dict[str, str] = {}
        roots: dict[str, str] = {}
        for entry in self._entries:
            why = edits.of(entry) or self._newer_parent(entry)
            parent = _number(entry.parent)
            if why is not None:
                roots[entry.id], found[entry.id] = entry.id, why
            elif parent in roots:
                root = roots[entry.id] = roots[parent]
                found[entry.id] = f"{root} is stale: {found[root]}"
        return found

    def why(self, entry: Entry) -> str | None:
        """Why one frame is stale; ``None`` when it is not."""
        self._look()
        edits = _Edits(self._definitions_now)
        told: str | None = None
        one: Entry | None = entry
        while one is not None:
            why = edits.of(one) or self._newer_parent(one)
            if why is not None:
                told = why if one is entry else f"{one.id} is stale: {why}"
                break
            one = self._parent(one)
        return told

    def _parent(self, entry: Entry) -> Entry | None:
        position = self._positions.get(_number(entry.parent))
        return None if position is None else self._entries[position]

    def _newer_parent(self, entry: Entry) -> str | None:
        """What was made in the place of the frame that ``entry`` continued from, since then."""
        parent = _number(entry.parent)
        newest, when = self._newest.get(self._places.get(parent, ()), (parent, 0))
        if newest != parent and when > self._positions[entry.id]:
            return f"{parent} was made again: {newest}"
        patched = self._patched.get(parent)
        if patched is not None and self._positions[patched] > self._positions[entry.id]:
            forked = self._entries[self._positions[patched]].command.forks
            return f"{forked} was patched: {patched}"
        return None

    def _look(self) -> None:
        """Take in the frames that are new, and those that stood for others meanwhile."""
        for position in range(len(self._positions), len(self._entries)):
            self._take_reused(position)
            entry = self._entries[position]
            command = entry.command
            self._positions[entry.id] = position
            if not entry.succeeded:
                continue
            if command.patch is not None:
                self._patched[_number(command.forks)] = entry.id
            elif command.cell is not None and command.forks is None:
                place = (entry.parent, *_place_of(command.cell))
                self._places[entry.id] = place
                self._newest[place] = entry.id, position
        self._take_reused(len(self._entries))

    def _take_reused(self, until: int) -> None:
        while self._reused and self._reused[0][0] <= until:
            after, entry, cell = self._reused.pop(0)
            self._newest[entry.parent, *_place_of(cell)] = entry.id, after


class _Edits:
    """What of the steps that frames ran is other now; each target is looked at once."""

    def __init__(self, definitions_now: Callable[[str | None], Definitions]) -> None:
        self._definitions_now = definitions_now
        self._known: dict[str | None, Definitions] = {}

    def of(self, entry: Entry) -> str | None:
        target = entry.command.target
        if target not in self._known:
            self._known[target] = self._definitions_now(target)
        return edited_since(entry.command.definitions, self._known[target])


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


def _number(frame_id: str | None) -> str:
    """The id of the command's frame that a frame is, or stands in."""
    return (frame_id or "").partition("/")[0]


def _place_of(cell: CellKey) -> tuple[object, ...]:
    """What is the same of a cell's command each time that it runs."""
    if cell.cell_id is not None:
        return cell.cell_id, cell.ordinal
    return cell.command, cell.name, cell.ordinal
