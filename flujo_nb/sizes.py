"""How much memory values take: an estimate that looks into containers, quick for large ones."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice

from pydantic import BaseModel

from flujo_nb.engine.outcomes import Chunk, FrameOutcome, Success
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.engine.values import ATOMS, state_of

_LOOKED_AT = 1_000
"""Of a longer container so many items are measured, and the rest are taken to be like them."""

_DEEPEST = 40


class Sizes:
    """Measures several values; what they share is counted once."""

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}

    def size_of(self, value: object, depth: int = 0) -> int:
        """The bytes that ``value`` takes, without what was counted before."""
        if id(value) in self._seen or depth > _DEEPEST:
            return 0
        self._seen[id(value)] = value  # held, so that its id stays its own
        size = _own_size(value)
        if type(value) in ATOMS:
            return size
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            inside = caught_inline(self._inside, value, depth)  # a class of the user's may raise
            return size if isinstance(inside, Raised) else size + inside
        if isinstance(value, BaseModel):
            return size + self.size_of(state_of(value), depth + 1)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            held = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
            return size + self._items(held, len(held), depth)
        return size

    def _inside(self, value: Collection[object], depth: int) -> int:
        items = value.items() if isinstance(value, Mapping) else value
        return self._items(items, len(value), depth)

    def _items(self, items: Iterable[object], count: int, depth: int) -> int:
        measured = sum(self.size_of(item, depth + 1) for item in islice(items, _LOOKED_AT))
        return measured if count <= _LOOKED_AT else measured * count // _LOOKED_AT


def record_size(record: FrameRecord) -> int:
    """The bytes that a record holds of its own: not its context's, as far as that is unchanged."""
    sizes = Sizes()
    sizes.size_of(record.context)
    held = (record.data, record.output, record.context_after, *_held_by(record.outcome))
    return sum(map(sizes.size_of, held))


def _held_by(outcome: FrameOutcome) -> Sequence[object]:
    """The outputs and updates inside an outcome."""
    own: list[object] = [outcome.output, outcome.update] if isinstance(outcome, Success) else []
    for child in outcome.children:
        own += [child.data] if isinstance(child, Chunk) else _held_by(child)
    return own


def _own_size(value: object) -> int:
    """What the object itself takes; of arrays and tables that is all of it."""
    size = caught_inline(sys.getsizeof, value, 64)
    told: object = caught_inline(getattr, value, "nbytes", 0)
    known = 64 if isinstance(size, Raised) else size
    return max(known, told) if type(told) is int else known


def size_text(size: int) -> str:
    """``812 B``, ``1.2 kB``, ``34 MB``."""
    number, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if number < 1_000:
            break
        number, unit = number / 1_000, larger
    return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
