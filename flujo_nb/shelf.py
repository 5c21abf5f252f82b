"""The records of a session that are in memory, and which of them go when there are too many.

HEAD's record stays. Of the others those go first that can be read back, and among them those that
do not stand on HEAD's line; what cannot be read back goes last, and is gone then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flujo_nb.engine.record import FrameRecord


@dataclass(frozen=True, slots=True)
class _Held:
    record: FrameRecord
    size: int
    is_saved: bool


class Shelf:
    """Records by their ids. ``released`` are the ids of those that are gone for good."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self.released: set[str] = set()
        self.size = 0

    def put(self, record: FrameRecord, size: int, is_saved: bool) -> None:
        """Keep a record of ``size`` bytes; ``is_saved`` says that it can be read back."""
        before = self._held.pop(record.id, None)
        self._held[record.id] = _Held(record, size, is_saved)
        self.size += size - (0 if before is None else before.size)

    def get(self, frame_id: str) -> FrameRecord | None:
        """The record of that id, if it is in memory."""
        held = self._held.get(frame_id)
        return None if held is None else held.record

    def __len__(self) -> int:
        return len(self._held)

    def trim(self, limit: int, line: Sequence[str]) -> Sequence[str]:
        """Let records go until those left take at most ``limit`` bytes.

        ``line`` is HEAD's, the newest first. Returns the ids of those that are gone for good.
        """
        if self.size <= limit:
            return ()
        head, on_line = line[:1], set(line)
        gone: list[str] = []
        in_order = sorted(
            self._held.items(), key=lambda one: (not one[1].is_saved, one[0] in on_line)
        )
        for frame_id, held in in_order:  # the sort is stable: the oldest of a kind come first
            if self.size <= limit:
                break
            if frame_id in head or not held.size:
                continue
            del self._held[frame_id]
            self.size -= held.size
            if not held.is_saved:
                self.released.add(frame_id)
                gone.append(frame_id)
        return gone
