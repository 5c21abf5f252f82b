"""Where two values differ, part by part: what ``%flujo diff`` tells, in bounded time.

What counts as different is what `exactly_equal` says, but for arrays and tables, whose own ``==``
gives no answer: they are compared cell by cell, as their library has it. So a dataclass is compared
by its fields alone. Nothing here changes, copies or keeps what it compares.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence, Set
from difflib import SequenceMatcher
from enum import Enum
from itertools import islice
from time import thread_time
from typing import NamedTuple, TypeAlias

from flujo_nb.engine.user_code import caught_inline
from flujo_nb.engine.values import ATOMS, exactly_equal
from flujo_nb.widgets.previews import short

from .table_diff import TableDiff, compared
from .tables import table_of
from .value_parts import NamedTuple as Named
from .value_parts import held_by, hidden_in, surely_equal

_ALIGNED = 300
_CHUNK = 1_024
_DEEPEST = 60
_RUN = 3
_SOME = 100
_OFTEN = 64
_RESERVE = 0.1
_NONE = object()


class How(Enum):
    """What became of a part. A table has a difference of its own; a hidden part is not shown."""

    CHANGED = "changed"
    GONE = "gone"
    NEW = "new"
    MORE_GONE = "more gone"
    MORE_NEW = "more new"
    TABLE = "table"
    HIDDEN = "hidden"
    UNKNOWN = "unknown"


class Item(NamedTuple):
    """The place of an item in both sequences; of several that stand in a row, the last one too."""

    old: int
    new: int
    last: int | None = None


class Key(NamedTuple):
    """The key of an entry of a dict."""

    key: object


Where: TypeAlias = tuple["Item | Key | str", ...]
"""The way to a part: items, keys, and the names of attributes."""


class Difference(NamedTuple):
    """A part at which two values differ, or several (``parts``) of which nothing else is told."""

    where: Where
    how: How
    old: object = None
    new: object = None
    table: TableDiff | None = None
    parts: int = 1


class TooLarge(Exception):
    """There is no time to look at more."""


class Comparison:
    """Compares two values, for ``seconds`` of the processor's time at most."""

    def __init__(self, seconds: float) -> None:
        self._until = thread_time() + seconds
        self._looks = 0
        self._depth = 0
        self._open: set[tuple[int, int]] = set()
        self._differing: dict[tuple[int, int], tuple[object, object]] = {}
        self._tables: dict[tuple[int, int], TableDiff] = {}
        self._alikes: dict[tuple[int, int], int] = {}

    def differences(self, old: object, new: object, where: Where = ()) -> Iterator[Difference]:
        """The parts at which ``old`` and ``new`` differ. Raises `TooLarge`, after some of them."""
        pair = (id(old), id(new))
        if old is new or pair in self._open:  # what differs in a cycle is found further out
            return
        is_open = type(old) is type(new) and len(where) < _DEEPEST
        has_parts = is_open and held_by(old) is not None
        if not has_parts and self.equal(old, new):
            return
        if pair in self._tables:
            yield Difference(where, How.TABLE, old, new, self._tables[pair])
            return
        told = False
        if is_open:
            self._open.add(pair)
            try:
                for one in self._inside(old, new, where):
                    told = True
                    yield one
            finally:
                self._open.discard(pair)
        if not told and not (has_parts and self._same_keys(old, new)):
            yield Difference(where, How.CHANGED, old, new)  # in what only their own == looks at

    def equal(self, old: object, new: object) -> bool:
        """Whether two values are the same in value and type. Raises `TooLarge`."""
        if old is new:
            return True
        if type(old) is not type(new):
            return False
        self._look()
        if type(old) in ATOMS:
            return exactly_equal(old, new)
        pair = (id(old), id(new))
        if pair in self._open:
            return True  # a cycle closes here: what differs is found further out
        if pair in self._differing:
            return False
        self._open.add(pair)
        self._depth += 1
        try:
            same = self._same_inside(old, new, pair)
        finally:
            self._depth -= 1
            self._open.discard(pair)
        if not same:
            self._differing[pair] = (old, new)  # held, so that the ids stay theirs
        return same

    def _look(self, count: int = 1) -> None:
        self._looks += count
        if self._looks >= _OFTEN:
            self._looks = 0
            if thread_time() > self._until:
                raise TooLarge

    def _same_inside(self, old: object, new: object, pair: tuple[int, int]) -> bool:
        if self._depth > _DEEPEST:
            return caught_inline(operator.eq, old, new) is True
        match old, new:
            case (list() | tuple(), list() | tuple()):
                alike = self._alike(old, new)
                if len(old) == len(new) == alike:
                    return True
                self._alikes[pair] = alike
                return False
            case (set() | frozenset(), set() | frozenset()):
                if old != new:
                    return False
                items = {item: item for item in new}
                return all(self.equal(item, items[item]) for item in old)
        tables = table_of(old), table_of(new)
        if tables[0] is not None and tables[1] is not None:
            difference = compared(tables[0], tables[1])
            if not difference.is_empty and tables[0].shape:
                self._tables[pair] = difference
            return difference.is_empty
        if isinstance(old, OrderedDict) and isinstance(new, OrderedDict) and [*old] != [*new]:
            return False
        parts = held_by(old), held_by(new)
        if parts[0] is not None and parts[1] is not None:
            return self._same_parts(parts[0], parts[1])
        return caught_inline(operator.eq, old, new) is True

    def _same_parts(self, old: Mapping[object, object], new: Mapping[object, object]) -> bool:
        if len(old) != len(new):
            return False
        if len(old) <= _CHUNK:  # what is seen at a glance needs no look into what is large
            for key, item in old.items():
                if type(item) in ATOMS and not exactly_equal(item, new.get(key, _NONE)):
                    return False
        keys = [*old], [*new]
        if surely_equal(*keys):
            return self._alike([*old.values()], [*new.values()]) == len(old)
        known = {key: key for key in new}
        return all(
            key in known and self.equal(key, known[key]) and self.equal(item, new[key])
            for key, item in old.items()
        )

    def _same_keys(self, old: object, new: object) -> bool:
        """Whether what holds the same parts holds them in the same way."""
        if not isinstance(old, dict) or not isinstance(new, dict):
            return True
        keys = [*old], [*new]
        if isinstance(old, OrderedDict) and keys[0] != keys[1]:
            return False
        known = {key: key for key in keys[1]}
        return surely_equal(*keys) or all(self.equal(key, known[key]) for key in keys[0])

    def _alike(
        self, old: Sequence[object], new: Sequence[object], *, end: bool = False, start: int = 0
    ) -> int:
        """How many items are equal at the beginning of two sequences, or at their end.

        Those before ``start`` are left out at the end.
        """
        size = min(len(old), len(new)) - start
        for done in range(0, size, _CHUNK):
            upto = min(done + _CHUNK, size)
            left = old[len(old) - upto : len(old) - done] if end else old[done:upto]
            right = new[len(new) - upto : len(new) - done] if end else new[done:upto]
            self._look(_OFTEN)
            if surely_equal(left, right):
                continue
            pairs = list(zip(left, right, strict=True))
            for number, (one, two) in enumerate(reversed(pairs) if end else pairs):
                if not self.equal(one, two):
                    return done + number
        return size

    # What differs inside

    def _inside(self, old: object, new: object, where: Where) -> Iterator[Difference]:
        """The differences of the parts of two values of one type."""
        match old, new:
            case (list(), list()):
                yield from self._of_items(old, new, where)
            case (tuple(), tuple()) if not isinstance(old, Named):
                yield from self._of_items(old, new, where)
            case (set() | frozenset(), set() | frozenset()):
                yield from self._of_sets(old, new, where)
            case _:
                parts = held_by(old), held_by(new)
                if parts[0] is not None and parts[1] is not None:
                    hidden = None if isinstance(old, dict) else hidden_in(old) | hidden_in(new)
                    yield from self._of_parts(parts[0], parts[1], where, hidden)

    def _of_parts(
        self,
        old: Mapping[object, object],
        new: Mapping[object, object],
        where: Where,
        hidden: Set[object] | None,
    ) -> Iterator[Difference]:
        """What differs in dicts, or in objects: of these ``hidden`` names what is not shown."""
        items = iter(old.items())
        while chunk := list(islice(items, _CHUNK)):
            self._look(_OFTEN)
            others = [new.get(key, _NONE) for key, _ in chunk]
            if surely_equal([one for _, one in chunk], others):
                continue
            for (key, one), two in zip(chunk, others, strict=True):
                here = _below(where, key, hidden)
                if hidden is not None and key in hidden:
                    if two is _NONE or not self.equal(one, two):
                        yield Difference(here, How.HIDDEN)
                elif two is _NONE:
                    self._look()
                    yield Difference(here, How.GONE, one)
                else:
                    yield from self._with_reserve(one, two, here)
        for key, two in new.items():
            if key not in old:
                self._look()
                is_hidden = hidden is not None and key in hidden
                how = How.HIDDEN if is_hidden else How.NEW
                yield Difference(_below(where, key, hidden), how, None, None if is_hidden else two)

    def _with_reserve(self, old: object, new: object, where: Where) -> Iterator[Difference]:
        """As `differences`; a part that is too large leaves some time for others beside it."""
        until = self._until
        self._until -= _RESERVE * max(0, until - thread_time())
        try:
            yield from self.differences(old, new, where)
        except TooLarge:
            if thread_time() > until:
                raise
            yield Difference(where, How.UNKNOWN, old, new)
        finally:
            self._until = until

    def _of_sets(self, old: Set[object], new: Set[object], where: Where) -> Iterator[Difference]:
        for how, items in ((How.GONE, old - new), (How.NEW, new - old)):
            for item in sorted(islice(items, _SOME), key=short):
                yield _gone_or_new(how, where, item)
            if len(items) > _SOME:
                yield _more(how, where, len(items) - _SOME)

    def _of_items(
        self, old: Sequence[object], new: Sequence[object], where: Where
    ) -> Iterator[Difference]:
        """What differs in lists: where items came or went, the others keep their partners."""
        start = self._alikes.get((id(old), id(new)), 0)
        end = self._alike(old, new, end=True, start=start)
        left, right = range(start, len(old) - end), range(start, len(new) - end)
        blocks = [(left, right)]
        if left and right and max(len(left), len(right)) <= _ALIGNED:
            blocks = self._aligned(old, new, left, right)
        for gone, come in blocks:
            both = min(len(gone), len(come))
            yield from self._by_place(old, new, gone[:both], come[:both], where)
            yield from _run(How.GONE, old, gone[both:], where)
            yield from _run(How.NEW, new, come[both:], where)

    def _aligned(
        self, old: Sequence[object], new: Sequence[object], left: range, right: range
    ) -> list[tuple[range, range]]:
        """The parts of two lists that stand for each other, unless places tell as much."""
        keys = [_key_of(old[n]) for n in left], [_key_of(new[n]) for n in right]
        changes = SequenceMatcher(None, *keys, autojunk=False).get_opcodes()
        if len(left) == len(right):
            moved = sum(max(b - a, d - c) for tag, a, b, c, d in changes if tag != "equal")
            if moved >= sum(map(operator.ne, *keys)):
                return [(left, right)]
        return [(left[a:b], right[c:d]) for _, a, b, c, d in changes]

    def _by_place(
        self,
        old: Sequence[object],
        new: Sequence[object],
        left: range,
        right: range,
        where: Where,
    ) -> Iterator[Difference]:
        """What differs in items that stand for each other one by one."""
        for done in range(0, len(left), _CHUNK):
            one, two = left[done : done + _CHUNK], right[done : done + _CHUNK]
            self._look(_OFTEN)
            if surely_equal(old[one.start : one.stop], new[two.start : two.stop]):
                continue
            for a, b in zip(one, two, strict=True):
                yield from self.differences(old[a], new[b], (*where, Item(a, b)))


def _below(where: Where, key: object, hidden: Set[object] | None) -> Where:
    """The way to a part of what has keys, or (when some may be hidden) attributes."""
    return (*where, Key(key) if hidden is None else str(key))


def _key_of(item: object) -> object:
    """What tells an item from others, for finding its partner."""
    return (type(item), item) if type(item) in ATOMS else short(item, _CHUNK)


def _run(how: How, items: Sequence[object], places: range, where: Where) -> Iterator[Difference]:
    """Items in a row that went or came; what is behind the first of them, together."""
    for place in places[:_RUN]:
        yield _gone_or_new(how, (*where, Item(place, place)), items[place])
    rest = places[_RUN:]
    if rest:
        yield _more(how, (*where, Item(rest[0], rest[0], rest[-1])), len(rest))


def _gone_or_new(how: How, where: Where, item: object) -> Difference:
    return Difference(where, how, item) if how is How.GONE else Difference(where, how, None, item)


def _more(how: How, where: Where, count: int) -> Difference:
    how = How.MORE_GONE if how is How.GONE else How.MORE_NEW
    return Difference(where, how, parts=count)
