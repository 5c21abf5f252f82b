"""Objects recognised when they are seen again, and let go meanwhile where that can be."""

from __future__ import annotations

import itertools
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
_Way: TypeAlias = Callable[[], object]

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


_PROCESS = os.urandom(8)
_COUNT = itertools.count()


def new_name() -> bytes:
    """A name that nothing else has, in this process or another."""
    return b"%s %d %d" % (_PROCESS, os.getpid(), next(_COUNT))  # a fork counts on from here
