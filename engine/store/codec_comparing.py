"""Whether a value that was read back is the one that was written: in type, content and order."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import cast

from pydantic import SecretBytes, SecretStr

from ..errors import ValueNotSaved
from ..user_code import Raised
from ..values import shown
from .codec_classes import named_tuple_fields, state
from .codec_forms import FORMS
from .codec_tables import PLAIN, UserCodec, called, library_codec, user_codec_for
from .type_table import is_named_tuple

SAMPLES = 1000
"""At about how many places, evenly spaced from first to last, a long container is sampled."""

_SEQUENCES = (list, tuple, deque)
_TABLES = (dict, OrderedDict, Counter, defaultdict, MappingProxyType)


class Comparison:
    """Compares one value with what was read back of it.

    Where ``sampled``, containers of more than `SAMPLES` items are compared at so many of them, and
    in their length; arrays and tables of libraries always in all.
    """

    def __init__(self, where: str, sampled: bool) -> None:
        self._trail = [where]
        self._sampled = sampled

    def check(self, value: object, again: object) -> None:
        """Raise `ValueNotSaved` at the first part that did not come back as it was."""
        kind = type(value)
        if type(again) is not kind:
            self._refuse(value, f"it comes back as a {type(again).__qualname__}")
        if kind in PLAIN:
            if value != again and value == value:
                self._refuse(value, f"it comes back as {shown(again)}")
            if kind is float and repr(value) != repr(again):
                self._refuse(value, f"it comes back as {shown(again)}")
        elif isinstance(value, _SEQUENCES) and kind in _SEQUENCES:
            self._check_items(value, value, cast(Sequence[object], again))
        elif kind in _TABLES:
            self._check_table(value, cast(Mapping[object, object], again))
        elif isinstance(value, set | frozenset):
            self._check_members(value, cast(Set[object], again))
        elif (user := user_codec_for(kind)) is not None:
            self._check_by_user(user, value, again)
        elif isinstance(value, Enum):
            if value is not again:
                self._refuse(value, f"it comes back as {shown(again)}")
        elif is_named_tuple(kind):
            self._check_fields(value, again)
        else:
            self._check_other(kind, value, again)

    def _refuse(self, value: object, reason: str) -> None:
        raise ValueNotSaved("".join(self._trail), type(value).__qualname__, reason)

    def _places(self, count: int) -> Iterable[int]:
        if not self._sampled or count <= SAMPLES:
            return range(count)
        return sorted({*range(0, count, -(-count // SAMPLES)), count - 1})

    def _check_items(self, value: object, items: Sequence[object], again: Sequence[object]) -> None:
        if len(items) != len(again):
            self._refuse(value, f"{len(items)} items come back as {len(again)}")
        if isinstance(value, deque) and value.maxlen != cast(deque[object], again).maxlen:
            self._refuse(value, "its maxlen is lost")
        for place in self._places(len(items)):
            self._trail.append(f"[{place}]")
            self.check(items[place], again[place])
            self._trail.pop()

    def _check_table(self, value: object, again: Mapping[object, object]) -> None:
        table = cast(Mapping[object, object], value)
        if len(table) != len(again):
            self._refuse(value, f"{len(table)} items come back as {len(again)}")
        if isinstance(value, defaultdict):
            factory = cast("defaultdict[object, object]", again).default_factory
            if value.default_factory is not factory:
                self._refuse(value, "its default_factory is lost")
        left, right = list(table.items()), list(again.items())
        for place in self._places(len(left)):
            key, item = left[place]
            self._trail.append(f"[{shown(key, 40)}]")
            self.check(key, right[place][0])
            self.check(item, right[place][1])
            self._trail.pop()

    def _check_members(self, value: Set[object], again: Set[object]) -> None:
        if len(value) != len(again):
            self._refuse(value, f"{len(value)} members come back as {len(again)}")
        others = {item: item for item in again}
        unmatched = []
        for item in value:
            if item in others:
                self.check(item, others.pop(item))
            else:
                unmatched.append(item)  # NaN is in it, which does not equal itself
        for item, other in zip(unmatched, others, strict=True):
            if len(unmatched) > 1 and repr(item) != repr(other):
                self._refuse(value, "its members with NaN cannot be told apart")
            self.check(item, other)

    def _check_fields(self, value: object, again: object) -> None:
        names = named_tuple_fields(type(value))
        both = zip(names, cast(Sequence[object], value), cast(Sequence[object], again), strict=True)
        for name, part, other in both:
            self._trail.append(f".{name}")
            self.check(part, other)
            self._trail.pop()

    def _check_other(self, kind: type, value: object, again: object) -> None:
        if isinstance(value, SecretStr | SecretBytes):
            other = cast(SecretStr, again)
            if value.get_secret_value() != other.get_secret_value():
                self._refuse(value, "the secret comes back as another")
        elif kind in (bytes, bytearray, re.Pattern, Fraction, range):
            if value != again:
                self._refuse(value, "it comes back as another")
        elif kind is slice:
            left, right = (cast("list[object]", FORMS[kind].apart(one)) for one in (value, again))
            self._check_items(value, left, right)
        elif kind in FORMS:
            if repr(value) != repr(again):
                self._refuse(value, f"it comes back as {shown(again)}")
        elif (library := library_codec(kind.__module__.partition(".")[0])) is not None:
            difference = called(library.difference, value, again)
            if difference is not None:
                self._refuse(value, f"it does not come back as it is: {_told(difference)}")
        else:
            self._check_state(value, again)

    def _check_state(self, value: object, again: object) -> None:
        held, other = state(value), state(again)
        given, then = (
            one.fields.keys() if one.given is None else one.given for one in (held, other)
        )
        if given != then:
            self._refuse(value, "which fields were set is lost")
        for part, back in (
            (held.fields, other.fields),
            (held.extra or {}, other.extra or {}),
            (held.private or {}, other.private or {}),
        ):
            if list(part) != list(back):
                self._refuse(value, f"{', '.join(part)} come back as {', '.join(back)}")
            for name, item in part.items():
                self._trail.append(f".{name}")
                self.check(item, back[name])
                self._trail.pop()

    def _check_by_user(self, user: UserCodec, value: object, again: object) -> None:
        first, second = (called(user.encode, one) for one in (value, again))
        if isinstance(first, Raised) or isinstance(second, Raised):
            self._refuse(value, "its codec raises for what it decoded")
        self.check(first, second)


def _told(difference: str | Raised) -> str:
    return shown(difference.error) if isinstance(difference, Raised) else difference
