"""How values of Python's own types are written that JSON has no form for.

A form is a tag, a way to take a value apart into plainer ones, and the way back, which refuses
data that no value was taken apart into. Only exact types have forms: an instance of a subclass is
not silently turned into its base.
"""

from __future__ import annotations

import base64
import datetime
import functools
import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import (
    Path,
    PosixPath,
    PurePath,
    PurePosixPath,
    PureWindowsPath,
    WindowsPath,
)
from types import EllipsisType, MappingProxyType
from typing import NamedTuple, cast
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones


class NoForm(Exception):
    """A value of a type that has a form, but not for this value; the text says why."""


class Form(NamedTuple):
    """The form of one type.

    ``apart`` gives a plainer value, ``together`` makes the value of it again. ``pairs`` is the
    index at which keys and their values begin to alternate in a list that ``apart`` gave (``None``
    when it gives none); where ``members`` is true its items have no order.
    """

    tag: str
    apart: Callable[..., object]
    together: Callable[..., object]
    pairs: int | None = None
    members: bool = False


def text_of(value: object) -> str:
    """``value``, which must be a string."""
    if type(value) is not str:
        raise TypeError(f"a string was expected, found {type(value).__name__}")
    return value


def items_of(value: object, count: int | None = None) -> list[object]:
    """``value``, which must be a list, of ``count`` items."""
    if type(value) is not list:
        raise TypeError(f"a list was expected, found {type(value).__name__}")
    if count is not None and len(value) != count:
        raise ValueError(f"{count} items were expected, found {len(value)}")
    return cast(list[object], value)


def number_of(value: object) -> int:
    """``value``, which must be an int."""
    if type(value) is not int:
        raise TypeError(f"an int was expected, found {type(value).__name__}")
    return value


def pairs_of(flat: Sequence[object]) -> Iterable[tuple[object, object]]:
    """The keys and values that alternate in ``flat``."""
    return zip(flat[::2], flat[1::2], strict=True)


def flat(table: Mapping[object, object]) -> list[object]:
    """The keys and values of ``table``, alternating."""
    return [part for pair in table.items() for part in pair]


def _distinct(given: object, kind: Callable[[list[object]], object]) -> object:
    """A set of the items of a list; they must differ."""
    items = items_of(given)
    made = kind(items)
    if len(cast(set[object], made)) != len(items):
        raise ValueError("members of a set are equal")
    return made


_FACTORIES: dict[str, type] = {
    one.__name__: one for one in (list, dict, set, int, float, str, tuple, bool)
}


def _defaultdict_apart(value: defaultdict[object, object]) -> list[object]:
    factory = value.default_factory
    if factory is None:
        return [None, *flat(value)]
    for name, known in _FACTORIES.items():
        if factory is known:
            return [name, *flat(value)]
    raise NoForm(f"its default_factory is none of {', '.join(_FACTORIES)}")


def _defaultdict_together(given: object) -> object:
    name, *rest = items_of(given)
    factory = None if name is None else _FACTORIES[text_of(name)]
    return defaultdict(factory, pairs_of(rest))


def _deque_together(given: object) -> object:
    longest, *rest = items_of(given)
    return deque(rest, None if longest is None else number_of(longest))


def _counter_together(given: object) -> object:
    made: Counter[object] = Counter()
    for key, count in pairs_of(items_of(given)):
        dict.__setitem__(cast(dict[object, object], made), key, count)
    return made


def _delta_apart(value: datetime.timedelta) -> list[object]:
    return [value.days, value.seconds, value.microseconds]


def _delta_together(given: object) -> datetime.timedelta:
    days, seconds, micros = map(number_of, items_of(given, 3))
    return datetime.timedelta(days, seconds, micros)


def _zone_apart(zone: datetime.tzinfo | None) -> object:
    if zone is None:
        return None
    if type(zone) is ZoneInfo and type(zone.key) is str:
        _SEEN_ZONES.add(zone.key)
        return zone.key
    if type(zone) is datetime.timezone:
        offset = zone.utcoffset(None)
        named = repr(zone) != repr(datetime.timezone(offset))
        return [*_delta_apart(offset), zone.tzname(None) if named else None]
    raise NoForm(f"its time zone is a {type(zone).__qualname__}; use zoneinfo or timezone")


_SEEN_ZONES: set[str] = set()


@functools.cache
def _zones() -> set[str]:
    """The zones that there are: `ZoneInfo` would look for any other, also among modules.

    Looking takes 70 ms, so what was seen in values of this process is known without.
    """
    return available_timezones()


def _zone_together(given: object) -> datetime.tzinfo | None:
    if given is None:
        return None
    if type(given) is str:
        if given not in _SEEN_ZONES and given not in _zones():
            raise ValueError(f"the time zone {given!r:.60} is not known here")
        return ZoneInfo(given)
    *offset, name = items_of(given, 4)
    delta = _delta_together(offset)
    return datetime.timezone(delta) if name is None else datetime.timezone(delta, text_of(name))


def _moment_apart(value: datetime.datetime | datetime.time) -> list[object]:
    bare = value.replace(tzinfo=None, fold=0).isoformat()
    return [bare, value.fold, _zone_apart(value.tzinfo)]


def _datetime_together(given: object) -> object:
    bare, fold, zone = items_of(given, 3)
    made = datetime.datetime.fromisoformat(text_of(bare))
    return made.replace(tzinfo=_zone_together(zone), fold=number_of(fold))


def _time_together(given: object) -> object:
    bare, fold, zone = items_of(given, 3)
    made = datetime.time.fromisoformat(text_of(bare))
    return made.replace(tzinfo=_zone_together(zone), fold=number_of(fold))


def _pattern_together(given: object) -> object:
    pattern, flags = items_of(given, 2)
    silent = number_of(flags) & ~re.DEBUG  # which would print
    try:
        if type(pattern) is bytes:
            return re.compile(pattern, silent)
        return re.compile(text_of(pattern), silent)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error


def _fraction_together(given: object) -> object:
    above, below = map(number_of, items_of(given, 2))
    return Fraction(above, below)


def _complex_together(given: object) -> object:
    real, imaginary = items_of(given, 2)
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError("two floats were expected")
    return complex(real, imaginary)


def _range_together(given: object) -> object:
    return range(*map(number_of, items_of(given, 3)))


_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def wide_float(value: float) -> str:
    """The name of a float that is not finite."""
    return repr(value)


def _path_form(kind: type[PurePath]) -> Form:
    def made(given: object) -> object:
        return kind(text_of(given))

    return Form(kind.__name__, str, made)


def _not_here(name: str) -> Callable[[object], object]:
    def refuse(_: object) -> object:
        raise ValueError(f"a {name} cannot be made on this system")

    return refuse


def surrogates(value: str) -> str:
    """Text with lone surrogates, as text without."""
    return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()


FORMS: dict[type, Form] = {
    tuple: Form("tuple", list, lambda given: tuple(items_of(given))),
    set: Form("set", list, lambda given: _distinct(given, set), members=True),
    frozenset: Form("frozenset", list, lambda given: _distinct(given, frozenset), members=True),
    OrderedDict: Form(
        "OrderedDict", flat, lambda given: OrderedDict(pairs_of(items_of(given))), pairs=0
    ),
    Counter: Form("Counter", flat, _counter_together, pairs=0),
    defaultdict: Form("defaultdict", _defaultdict_apart, _defaultdict_together, pairs=1),
    deque: Form("deque", lambda value: [value.maxlen, *value], _deque_together),
    MappingProxyType: Form(
        "mappingproxy",
        flat,
        lambda given: MappingProxyType(dict(pairs_of(items_of(given)))),
        pairs=0,
    ),
    EllipsisType: Form("Ellipsis", lambda _: None, lambda _: ...),
    complex: Form("complex", lambda value: [value.real, value.imag], _complex_together),
    Decimal: Form("Decimal", str, lambda given: Decimal(text_of(given))),
    Fraction: Form(
        "Fraction", lambda value: [value.numerator, value.denominator], _fraction_together
    ),
    range: Form("range", lambda value: [value.start, value.stop, value.step], _range_together),
    slice: Form(
        "slice",
        lambda value: [value.start, value.stop, value.step],
        lambda given: slice(*items_of(given, 3)),
    ),
    UUID: Form("UUID", lambda value: value.hex, lambda given: UUID(hex=text_of(given))),
    datetime.date: Form(
        "date",
        lambda value: value.isoformat(),
        lambda given: datetime.date.fromisoformat(text_of(given)),
    ),
    datetime.timedelta: Form("timedelta", _delta_apart, _delta_together),
    datetime.datetime: Form("datetime", _moment_apart, _datetime_together),
    datetime.time: Form("time", _moment_apart, _time_together),
    datetime.timezone: Form("timezone", _zone_apart, _zone_together),
    ZoneInfo: Form("ZoneInfo", _zone_apart, _zone_together),
    re.Pattern: Form("Pattern", lambda value: [value.pattern, value.flags], _pattern_together),
    PurePosixPath: _path_form(PurePosixPath),
    PureWindowsPath: _path_form(PureWindowsPath),
    type(Path()): _path_form(type(Path())),
}
"""By exact type."""

READERS: dict[str, Callable[[object], object]] = {
    **{one.__name__: _not_here(one.__name__) for one in (PosixPath, WindowsPath)},
    **{form.tag: form.together for form in FORMS.values()},
    "dict": lambda given: dict(pairs_of(items_of(given))),
    "float": lambda given: _FLOATS[text_of(given)],
    "int": lambda given: int(text_of(given), 16),
    "str": lambda given: base64.b64decode(text_of(given), validate=True).decode(
        "utf-8", "surrogatepass"
    ),
}
"""What makes a value of the decoded content of a tag."""
