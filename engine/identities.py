"""Objects recognised when they are seen again, and let go meanwhile where that can be."""

from __future__ import annotations

import itertools
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, TypeAlias, TypeVar

from .value_keys import NotKeyable, encoded, is_plain

T = TypeVar("T")
_Way: TypeAlias = Callable[[], object]

MAX_CONSTANT = 65_536
"""The bytes up to which a constant counts by value, and the parts of what is looked into."""

MAX_PINNED = 128
"""How many objects that cannot be weakly referenced a `Sightings` keeps alive."""


def held(value: object) -> _Way:
    """A way to ``value`` that lets it go, unless it cannot be weakly referenced."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


class Sightings(Generic[T]):
    """What was noted of each object when it was first seen.

    An object that cannot be weakly referenced is remembered for a while if ``pins``; otherwise
    it is new each time.
    """

    def __init__(self, pins: bool) -> None:
        self._known: dict[int, tuple[_Way, T]] = {}
        self._pinned: OrderedDict[int, tuple[object, T]] = OrderedDict()
        self._max_pinned = MAX_PINNED if pins else 0

    def of(self, value: object, take: Callable[[], T]) -> T:
        """The note on ``value``; ``take()`` at its first sight."""
        where = id(value)
        if where in self._pinned:
            self._pinned.move_to_end(where)
            return self._pinned[where][1]
        known = self._known.get(where)
        if known is not None and known[0]() is value:
            return known[1]
        note = take()

        def forget(gone: weakref.ref[object]) -> None:
            if where in self._known and self._known[where][0] is gone:
                del self._known[where]

        try:
            self._known[where] = weakref.ref(value, forget), note
        except TypeError:
            self._pinned[where] = value, note
            while len(self._pinned) > self._max_pinned:
                self._pinned.popitem(last=False)
        return note


def as_first_seen(value: object) -> bytes:
    """A hash of what ``value`` held when it was first met; raises `NotKeyable`."""
    return _hash_of(value) if is_plain(value) else _STATES.of(value, lambda: _hash_of(value))


def first_held(owner: object, key: str, value: object) -> bytes:
    """A hash of what ``key`` of ``owner`` held when it was first met; ``value`` is what it does."""
    notes = _HELD.of(owner, dict)
    if key not in notes:
        try:
            notes[key] = _hash_of(value)
        except NotKeyable:
            notes[key] = new_name()
    return notes[key]


def own_name(value: object) -> bytes:
    """A name that stands for ``value`` and nothing else."""
    return _NAMES.of(value, new_name)


def _hash_of(value: object) -> bytes:
    return blake2b(encoded(value, MAX_CONSTANT), digest_size=32).digest()


_STATES: Sightings[bytes] = Sightings(pins=True)
_NAMES: Sightings[bytes] = Sightings(pins=False)
_HELD: Sightings[dict[str, bytes]] = Sightings(pins=False)
_PROCESS = os.urandom(8)
_COUNT = itertools.count()


def new_name() -> bytes:
    """A name that nothing else has, in this process or another."""
    return b"%s %d %d" % (_PROCESS, os.getpid(), next(_COUNT))  # a fork counts on from here
